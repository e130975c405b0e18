// SPDX-License-Identifier: GPL-2.0-or-later
#include "suite.h"

#include <string.h>

#include "lib/text.h"

START_TEST(a_text_grows_as_it_is_written)
{
	struct text text = { 0 };
	size_t length;
	char *data;

	for (int i = 0; i < 10000; i++)
		text_add(&text, "%d,", i % 10);
	data = text_end(&text, &length);
	ck_assert_uint_eq(length, 20000);
	ck_assert_uint_eq(strlen(data), length);
	ck_assert(!strncmp(data, "0,1,2,", 6));
	ck_assert_ptr_null(text.data);
	free(data);
}
END_TEST

START_TEST(a_text_that_failed_is_none)
{
	struct text text = { 0 };
	size_t length;

	text_add(&text, "begin");
	text.failed = true;
	text_add(&text, "more");
	ck_assert_ptr_null(text_end(&text, &length));
	ck_assert(!text.failed);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("text");

	tcase_add_test(tc, a_text_grows_as_it_is_written);
	tcase_add_test(tc, a_text_that_failed_is_none);
	return suite_run("text", tc);
}
