// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>

#include "columns.h"
#include "format.h"
#include "suite.h"

static const struct {
	char *(*format)(double number);
	double number;
	const char *text;
} numbers[] = {
	{ format_count, 0, "0" },
	{ format_count, 99999, "99999" },
	{ format_count, 99999.4, "99999" },
	{ format_count, 100000, "100k" },
	{ format_count, 999499, "999k" },
	{ format_count, 999999, "1.00M" },
	{ format_count, 1234567, "1.23M" },
	{ format_count, 12345678, "12.3M" },
	{ format_count, 9999000, "10.0M" },
	{ format_count, 1e12, "1.00T" },
	{ format_count, 18446744073709551615.0, "18.4E" },
	{ format_bytes, 0, "0 B" },
	{ format_bytes, 1023, "1023 B" },
	{ format_bytes, 1024, "1.00 KiB" },
	{ format_bytes, 1536, "1.50 KiB" },
	{ format_bytes, 1048575, "1.00 MiB" },
	{ format_bytes, 64.0 * (1ull << 30), "64.0 GiB" },
	{ format_bytes, 18446744073709551615.0, "16.0 EiB" },
	{ format_rate, 0, "0" },
	{ format_rate, 0.5, "0.5" },
	{ format_rate, 9.94, "9.9" },
	{ format_rate, 9.96, "10" },
	{ format_rate, 250000, "250k" },
};

START_TEST(numbers_are_rounded)
{
	char *text = numbers[_i].format(numbers[_i].number);

	ck_assert_str_eq(text, numbers[_i].text);
	g_free(text);
}
END_TEST

static const struct {
	const char *name, *text;
} names[] = {
	{ "", "" },
	{ "vm-1 (test)", "vm-1 (test)" },
	{ "B\xc3\xbc"
	  "cher",
	  "B\xc3\xbc"
	  "cher" },
	{ "\x1b[2Jx\n\t\x7f", "?[2Jx???" },
	{ "\xc2\x9b"
	  "2J",
	  "?2J" }, /* CSI in one character */
	{ "\xff\xc3", "??" },
	{ "\xe2\x80\xae"
	  "x",
	  "?x" }, /* right-to-left override */
};

START_TEST(names_do_not_reach_the_terminal_as_commands)
{
	char *text = format_printable(names[_i].name);

	ck_assert_str_eq(text, names[_i].text);
	g_free(text);
}
END_TEST

START_TEST(columns_are_as_wide_as_what_is_in_them)
{
	struct columns *columns = columns_new("rlr", "ID", "NAME", "N");
	char *text;

	columns_add(columns, "1");
	columns_add(columns,
		    "b\xc3\xbc"
		    "g");
	columns_add(columns, "22");
	columns_add(columns, "100");
	columns_add(columns, "x");
	columns_add(columns, "3");
	text = columns_text(columns, " ");
	ck_assert_str_eq(text,
			 "  ID  NAME   N\n"
			 "   1  b\xc3\xbc"
			 "g   22\n"
			 " 100  x      3\n");
	g_free(text);
	columns_free(columns);
}
END_TEST

START_TEST(lines_do_not_end_in_blanks)
{
	struct columns *columns = columns_new("rlll", "ID", "NAME", "TEXT", "");
	char *text;

	columns_add(columns, "");
	columns_add(columns, "all");
	columns_add(columns, "");
	columns_add(columns, "");
	text = columns_text(columns, "");
	ck_assert_str_eq(text, "ID  NAME  TEXT\n    all\n");
	g_free(text);
	columns_free(columns);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("ctl_format");

	tcase_add_loop_test(tc, numbers_are_rounded, 0, G_N_ELEMENTS(numbers));
	tcase_add_loop_test(tc, names_do_not_reach_the_terminal_as_commands, 0,
			    G_N_ELEMENTS(names));
	tcase_add_test(tc, columns_are_as_wide_as_what_is_in_them);
	tcase_add_test(tc, lines_do_not_end_in_blanks);
	return suite_run("ctl_format", tc);
}
