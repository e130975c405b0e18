// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "lib/log.h"
#include "stats/metrics.h"
#include "stats/stats.h"
#include "suite.h"

static struct stats_session told[4];
static unsigned int told_count;

struct stats_session *stats_sessions(unsigned int *count)
{
	*count = told_count;
	return g_memdup2(told, sizeof(told));
}

static void tell(unsigned int id, const char *name, uint64_t messages)
{
	struct stats_session *vm = &told[told_count++];

	memset(vm, 0, sizeof(*vm));
	vm->id = id;
	vm->greeted = true;
	g_strlcpy(vm->name, name, sizeof(vm->name));
	vm->state = "enabled";
	vm->network = "default";
	vm->values.messages = messages;
}

static char *text_of(void)
{
	size_t length;
	char *text = metrics_text("loopback", &length);

	ck_assert_uint_eq(length, strlen(text));
	return text;
}

static unsigned int occurrences(const char *text, const char *what)
{
	unsigned int count = 0;

	for (text = strstr(text, what); text; text = strstr(text + 1, what))
		count++;
	return count;
}

START_TEST(a_counter_has_help_type_and_a_sample_per_session)
{
	char *text;

	tell(1, "one", 7);
	tell(2, "two", UINT64_MAX);
	text = text_of();
	ck_assert_ptr_nonnull(
		strstr(text,
		       "# HELP pvhca_messages_total send queue entries taken\n"
		       "# TYPE pvhca_messages_total counter\n"
		       "pvhca_messages_total{session=\"1\",vm=\"one\"} 7\n"
		       "pvhca_messages_total{session=\"2\",vm=\"two\"} 18446744073709551615\n"
		       "# HELP "));
	ck_assert_ptr_nonnull(strstr(text, "\npvhca_sessions 2\n"));
	g_free(text);
}
END_TEST

START_TEST(each_counter_and_object_is_a_metric)
{
	char *text;

	tell(1, "one", 0);
	text = text_of();
#define COUNTER_IS_THERE(name, help)                                         \
	ck_assert_uint_eq(occurrences(text, "\npvhca_" #name "_total{"), 1); \
	ck_assert_uint_eq(occurrences(text, "# TYPE pvhca_" #name "_total counter\n"), 1);
#define GAUGE_IS_THERE(name, help)                                     \
	ck_assert_uint_eq(occurrences(text, "\npvhca_" #name "{"), 1); \
	ck_assert_uint_eq(occurrences(text, "# TYPE pvhca_" #name " gauge\n"), 1);
#define QUOTA_IS_THERE(name, help) \
	ck_assert_uint_eq(occurrences(text, "\npvhca_" #name "_quota{"), 1);
	COUNTERS(COUNTER_IS_THERE)
	OBJECTS(GAUGE_IS_THERE)
	AMOUNTS(GAUGE_IS_THERE)
	OBJECTS(QUOTA_IS_THERE)
	g_free(text);
}
END_TEST

START_TEST(names_are_escaped)
{
	char *text;

	tell(1, "a\"b\\c\nd\xff", 1);
	text = text_of();
	ck_assert_ptr_nonnull(strstr(
		text,
		"pvhca_messages_total{session=\"1\",vm=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\"} 1\n"));
	ck_assert(g_utf8_validate(text, -1, NULL));
	g_free(text);
}
END_TEST

START_TEST(who_has_not_said_a_name_is_counted_only)
{
	char *text;

	tell(1, "one", 1);
	tell(2, "", 0);
	told[1].greeted = false;
	text = text_of();
	ck_assert_ptr_nonnull(strstr(text, "\npvhca_sessions 2\n"));
	ck_assert_ptr_null(strstr(text, "session=\"2\""));
	g_free(text);
}
END_TEST

START_TEST(without_sessions_there_is_no_sample_of_one)
{
	char *text = text_of();

	ck_assert_ptr_nonnull(strstr(text, "\npvhca_sessions 0\n"));
	ck_assert_ptr_null(strstr(text, "session=\""));
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
	g_free(text);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("metrics");

	tcase_add_test(tc, a_counter_has_help_type_and_a_sample_per_session);
	tcase_add_test(tc, each_counter_and_object_is_a_metric);
	tcase_add_test(tc, names_are_escaped);
	tcase_add_test(tc, who_has_not_said_a_name_is_counted_only);
	tcase_add_test(tc, without_sessions_there_is_no_sample_of_one);
	return suite_run("metrics", tc);
}
