// SPDX-License-Identifier: GPL-2.0-or-later
/* What is asked; how it is served, tests/link/test_metrics.py tests. */
#include <string.h>

#include "lib/log.h"
#include "stats/metrics.h"
#include "suite.h"

static const struct {
	const char *request;
	unsigned int status;
	bool head;
} requests[] = {
	{ "GET /metrics HTTP/1.0\r\n\r\n", 200, false },
	{ "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", 200, false },
	{ "GET /metrics?x=y HTTP/1.1\r\n\r\n", 200, false },
	{ "GET /metrics HTTP/1.0\n\n", 200, false },
	{ "HEAD /metrics HTTP/1.0\r\n\r\n", 200, true },
	{ "GET / HTTP/1.0\r\n\r\n", 404, false },
	{ "GET /metricsx HTTP/1.0\r\n\r\n", 404, false },
	{ "GET /metrics/ HTTP/1.0\r\n\r\n", 404, false },
	{ "POST /metrics HTTP/1.0\r\n\r\n", 405, false },
	{ "get /metrics HTTP/1.0\r\n\r\n", 405, false },
	{ "GET /metrics HTTP/2.0\r\n\r\n", 400, false },
	{ "GET /metrics\r\n\r\n", 400, false },
	{ "GET  /metrics HTTP/1.0\r\n\r\n", 400, false },
	{ "\r\n\r\n", 400, false },
	{ "\n", 400, false },
	{ "x\r\n\r\n", 400, false },
	{ "G", 0, false },
	{ "GET /metrics HTTP/1.0\r\n", 0, false },
	{ "GET /metrics HTTP/1.0\r\nHost: a\r\n\r", 0, false },
};

START_TEST(the_first_line_counts)
{
	size_t length = strlen(requests[_i].request);
	/* Of that length exactly, for the address sanitizer. */
	char *request = g_memdup2(requests[_i].request, length);
	unsigned int status;
	bool head;

	status = metrics_request(request, length, &head);
	ck_assert_msg(status == requests[_i].status, "%u for %s", status, requests[_i].request);
	if (status)
		ck_assert_int_eq(head, requests[_i].head);
	g_free(request);
}
END_TEST

START_TEST(a_nul_is_no_request)
{
	static const char request[] = "GET /metrics\0 HTTP/1.0\r\n\r\n";
	bool head;

	ck_assert_uint_eq(metrics_request(request, sizeof(request) - 1, &head), 400);
}
END_TEST

START_TEST(a_header_without_end_is_too_large)
{
	static char request[4096];
	bool head;

	memset(request, 'x', sizeof(request));
	ck_assert_uint_eq(metrics_request(request, sizeof(request) - 1, &head), 0);
	ck_assert_uint_eq(metrics_request(request, sizeof(request), &head), 431);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("metrics_server");

	tcase_add_loop_test(tc, the_first_line_counts, 0, G_N_ELEMENTS(requests));
	tcase_add_test(tc, a_nul_is_no_request);
	tcase_add_test(tc, a_header_without_end_is_too_large);
	return suite_run("metrics_server", tc);
}
