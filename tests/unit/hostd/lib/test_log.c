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

/* Lines in what was written that contain the text. */
static unsigned int count(const char *lines, const char *text)
{
	unsigned int n = 0;

	while ((lines = strstr(lines, text))) {
		lines += strlen(text);
		n++;
	}
	return n;
}

static void flood(struct log_source *source, unsigned int lines)
{
	for (unsigned int i = 0; i < lines; i++)
		log_from(source, G_LOG_LEVEL_WARNING, "line");
}

START_TEST(a_source_has_so_many_lines_and_then_one_says_that_others_are_left_out)
{
	_Atomic uint64_t dropped = 0;
	struct log_source source = { .dropped = &dropped };
	const char *text;

	log_init("message");
	flood(&source, 10 * LOG_BURST);
	text = written();
	/* Time goes on meanwhile. */
	ck_assert_uint_ge(count(text, "line"), LOG_BURST);
	ck_assert_uint_lt(count(text, "warning: line"), 2 * LOG_BURST);
	ck_assert_uint_ge(count(text, "more lines like these are left out"), 1);
	ck_assert_uint_eq(dropped + count(text, "warning: line"), 10 * LOG_BURST);
}
END_TEST

START_TEST(the_next_line_tells_how_many_were_left_out)
{
	struct log_source source = { 0 };

	log_init("message");
	source.left_out[0] = 7;
	log_from(&source, G_LOG_LEVEL_WARNING, "line");
	log_from(&source, G_LOG_LEVEL_WARNING, "line");
	ck_assert_str_eq(written(),
			 "pvhcad: warning: line (7 lines before this one were left out)\n"
			 "pvhcad: warning: line\n");
}
END_TEST

START_TEST(details_take_no_line_of_what_is_important)
{
	struct log_source source = { 0 };
	unsigned int i;

	log_init("info");
	for (i = 0; i < 2 * LOG_BURST; i++)
		log_from(&source, G_LOG_LEVEL_INFO, "detail");
	log_from(&source, G_LOG_LEVEL_WARNING, "important");
	ck_assert_ptr_nonnull(strstr(written(), "warning: important\n"));
}
END_TEST

START_TEST(what_is_not_shown_takes_no_line)
{
	struct log_source source = { 0 };

	log_init("message");
	for (unsigned int i = 0; i < 2 * LOG_BURST; i++)
		log_from(&source, G_LOG_LEVEL_INFO, "detail");
	ck_assert_uint_eq(source.due_ns[1], 0);
	ck_assert_str_eq(written(), "");
}
END_TEST

START_TEST(a_source_within_another_begins_with_what_that_can_spare)
{
	struct log_source door = { 0 }, vm;
	unsigned int lines, all = 0;

	log_init("message");
	for (unsigned int i = 0; i < 4 * LOG_BURST; i++) {
		vm = (struct log_source){ 0 };
		log_source_start(&vm, &door);
		flood(&vm, LOG_BURST);
		lines = LOG_BURST - vm.left_out[0];
		ck_assert_uint_le(lines, LOG_START + 1);
		all += lines;
	}
	ck_assert_uint_ge(all, LOG_BURST);
	ck_assert_uint_lt(all, 2 * LOG_BURST);
}
END_TEST

START_TEST(without_a_source_there_is_no_limit)
{
	log_init("message");
	for (unsigned int i = 0; i < 2 * LOG_BURST; i++)
		log_from(NULL, G_LOG_LEVEL_WARNING, "x");
	ck_assert_uint_eq(count(written(), "warning: x\n"), 2 * LOG_BURST);
}
END_TEST

START_TEST(one_that_is_shared_goes_with_the_last)
{
	struct log_source *source = log_source_new();

	ck_assert_ptr_eq(log_source_hold(source), source);
	log_source_drop(source);
	ck_assert_uint_eq(source->due_ns[0], 0);
	log_source_drop(source);
	log_source_drop(NULL);
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
	tcase_add_test(tc, a_source_has_so_many_lines_and_then_one_says_that_others_are_left_out);
	tcase_add_test(tc, the_next_line_tells_how_many_were_left_out);
	tcase_add_test(tc, details_take_no_line_of_what_is_important);
	tcase_add_test(tc, what_is_not_shown_takes_no_line);
	tcase_add_test(tc, a_source_within_another_begins_with_what_that_can_spare);
	tcase_add_test(tc, without_a_source_there_is_no_limit);
	tcase_add_test(tc, one_that_is_shared_goes_with_the_last);
	return suite_run("log", tc);
}
