// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/log.h"
#include "stats/metrics.h"
#include "suite.h"

static struct metrics_address parsed;

START_TEST(a_path_is_a_unix_socket)
{
	ck_assert_ptr_null(metrics_address_parse("/run/x:1", &parsed));
	ck_assert_str_eq(parsed.path, "/run/x:1");
}
END_TEST

START_TEST(loopback_is_taken)
{
	struct sockaddr_in *in4 = (void *)&parsed.inet;
	struct sockaddr_in6 *in6 = (void *)&parsed.inet;

	ck_assert_ptr_null(metrics_address_parse("127.0.0.1:9474", &parsed));
	ck_assert_ptr_null(parsed.path);
	ck_assert_int_eq(in4->sin_family, AF_INET);
	ck_assert_uint_eq(ntohs(in4->sin_port), 9474);
	ck_assert_uint_eq(parsed.length, sizeof(*in4));
	ck_assert_ptr_null(metrics_address_parse("127.1.2.3:1", &parsed));
	ck_assert_ptr_null(metrics_address_parse("[::1]:65535", &parsed));
	ck_assert_int_eq(in6->sin6_family, AF_INET6);
	ck_assert_uint_eq(ntohs(in6->sin6_port), 65535);
	ck_assert_uint_eq(parsed.length, sizeof(*in6));
}
END_TEST

static const char *const outside[] = {
	"0.0.0.0:9474", "10.0.0.1:9474",  "128.0.0.1:9474",
	"[::]:9474",	"[fe80::1]:9474", "[::ffff:127.0.0.1]:9474",
};

START_TEST(what_is_not_loopback_is_not)
{
	const char *wrong = metrics_address_parse(outside[_i], &parsed);

	ck_assert_ptr_nonnull(wrong);
	ck_assert_ptr_nonnull(strstr(wrong, "not a loopback address"));
}
END_TEST

static const char *const nonsense[] = {
	"",
	":",
	"9474",
	"localhost:9474",
	"127.0.0.1",
	"127.0.0.1:",
	"127.0.0.1:0",
	"127.0.0.1:65536",
	"127.0.0.1:-1",
	"127.0.0.1:+1",
	"127.0.0.1:80x",
	"127.0.0.1: 80",
	"127.1:80",
	"127.0.0.1.1:80",
	"::1:9474",
	"[::1]",
	"[::1]:",
	"[::1]:0",
	"[::1:80",
	"::1]:80",
	"[]:80",
	"[::1%lo]:80",
	"relative/path",
	"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:80",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1",
};

START_TEST(what_is_no_address_is_told)
{
	ck_assert_msg(metrics_address_parse(nonsense[_i], &parsed), "\"%s\"", nonsense[_i]);
}
END_TEST

START_TEST(a_path_must_fit)
{
	char path[200];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	ck_assert_ptr_nonnull(metrics_address_parse(path, &parsed));
	path[107] = '\0';
	ck_assert_ptr_null(metrics_address_parse(path, &parsed));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("metrics_address");

	tcase_add_test(tc, a_path_is_a_unix_socket);
	tcase_add_test(tc, loopback_is_taken);
	tcase_add_loop_test(tc, what_is_not_loopback_is_not, 0, G_N_ELEMENTS(outside));
	tcase_add_loop_test(tc, what_is_no_address_is_told, 0, G_N_ELEMENTS(nonsense));
	tcase_add_test(tc, a_path_must_fit);
	return suite_run("metrics_address", tc);
}
