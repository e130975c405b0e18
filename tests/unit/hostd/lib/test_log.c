// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "suite.h"

static int out[2];

static void setup(void)
{
	ck_assert_int_eq(pipe(out), 0);
	dup2(out[1], STDERR_FILENO);
	close(out[1]);
}

/* What was written to standard error, up to now. */
static const char *written(void)
{
	static char text[4096];
	ssize_t n;

	close(STDERR_FILENO);
	n = read(out[0], text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

START_TEST(less_important_messages_are_left_out)
{
	ck_assert_int_eq(log_init("warning"), 0);
	g_message("quiet");
	g_info("quiet");
	g_warning("loud %d", 1);
	g_critical("louder");
	ck_assert_str_eq(written(), "pvhcad: warning: loud 1\npvhcad: error: louder\n");
}
END_TEST

START_TEST(debug_shows_all)
{
	ck_assert_int_eq(log_init("error"), 0);
	ck_assert_int_eq(log_init("debug"), 0);
	g_debug("detail");
	g_info("info");
	ck_assert_str_eq(written(), "pvhcad: debug: detail\npvhcad: info: info\n");
}
END_TEST

START_TEST(an_unknown_level_is_refused)
{
	ck_assert_int_eq(log_init("loud"), -EINVAL);
}
END_TEST

START_TEST(a_long_message_is_cut_but_ends_its_line)
{
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init("message");
	g_message("%s", text);
	ck_assert_uint_lt(strlen(written()), 1100);
	ck_assert_ptr_nonnull(strchr(written(), '\0'));
}
END_TEST

START_TEST(a_limited_message_tells_how_many_were_left_out)
{
	struct log_limit limit = { 0 };
	unsigned int left_out = 99;

	ck_assert(log_allowed(&limit, &left_out));
	ck_assert_uint_eq(left_out, 0);
	for (int i = 0; i < 5; i++)
		ck_assert(!log_allowed(&limit, &left_out));
	limit.next_ns = 0;
	ck_assert(log_allowed(&limit, &left_out));
	ck_assert_uint_eq(left_out, 5);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, less_important_messages_are_left_out);
	tcase_add_test(tc, debug_shows_all);
	tcase_add_test(tc, an_unknown_level_is_refused);
	tcase_add_test(tc, a_long_message_is_cut_but_ends_its_line);
	tcase_add_test(tc, a_limited_message_tells_how_many_were_left_out);
	return suite_run("log", tc);
}
