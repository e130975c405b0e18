// SPDX-License-Identifier: GPL-2.0-or-later
/* What pvhcad tells, as pvhcactl understands it, and rates from two of these. */
#include <math.h>
#include <string.h>

#include "ctl.h"
#include "rates.h"
#include "sample.h"
#include "suite.h"

static struct ctl_sample *parse(const char *text)
{
	GError *error = NULL;
	struct ctl_sample *sample = sample_parse(text, strlen(text), &error);

	ck_assert_msg(sample, "%s", error ? error->message : "");
	return sample;
}

static const char *const three =
	"{ \"version\": \"9\", \"fabric\": \"verbs\", \"news\": {}, \"sessions\": ["
	"{ \"id\": 7, \"name\": \"b\", \"uuid\": \"ABCD\", \"state\": \"idle\","
	"  \"messages\": 5, \"quota\": { \"qps\": 64 } },"
	"{ \"id\": 3, \"name\": \"a\", \"messages\": \"many\", \"qps\": 2.5 },"
	"{ \"id\": 9, \"name\": \"b\" } ],"
	"\"totals\": { \"messages\": 5 } }";

START_TEST(sessions_are_in_order)
{
	struct ctl_sample *sample = parse(three);

	ck_assert_uint_eq(sample->count, 3);
	ck_assert_uint_eq(sample->sessions[0].id, 3);
	ck_assert_uint_eq(sample->sessions[2].id, 9);
	ck_assert_str_eq(sample->version, "9");
	ck_assert_ptr_eq(sample_find(sample, 7), &sample->sessions[1]);
	ck_assert_ptr_null(sample_find(sample, 8));
	ck_assert_uint_eq(sample->totals[FIELD_messages].value, 5);
	sample_free(sample);
}
END_TEST

START_TEST(what_is_missing_or_of_another_kind_is_unknown)
{
	struct ctl_sample *sample = parse(three);
	const struct ctl_session *a = &sample->sessions[0];
	const struct ctl_session *b = &sample->sessions[1];

	ck_assert(b->values[FIELD_messages].known);
	ck_assert(b->quota[FIELD_qps].known);
	ck_assert_uint_eq(b->quota[FIELD_qps].value, 64);
	ck_assert(!b->values[FIELD_receives].known);
	ck_assert(!a->values[FIELD_messages].known);
	ck_assert(!a->values[FIELD_qps].known);
	ck_assert_str_eq(a->state, "");
	ck_assert_str_eq(a->uuid, "");
	sample_free(sample);
}
END_TEST

static const char *const wrong[] = {
	"",
	"{",
	"null",
	"[]",
	"12",
	"{}",
	"{ \"sessions\": {} }",
	"{ \"sessions\": [ 1 ] }",
	"{ \"sessions\": [ {} ] }",
	"{ \"sessions\": [ { \"id\": \"1\" } ] }",
	"SSH-2.0-x\r\n",
};

START_TEST(another_answer_is_an_error)
{
	GError *error = NULL;

	ck_assert_ptr_null(sample_parse(wrong[_i], strlen(wrong[_i]), &error));
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->code, CTL_FAILED);
	g_error_free(error);
}
END_TEST

static const struct {
	const char *vm;
	unsigned int count;
	uint64_t first;
} selections[] = {
	{ "a", 1, 3 },	  { "b", 2, 7 }, /* two adapters of one VM */
	{ "abcd", 1, 7 },		 /* UUID */
	{ "9", 1, 9 },			 /* session */
	{ "", 0, 0 },	  { "A", 0, 0 }, { "4", 0, 0 }, { "+9", 0, 0 },
};

START_TEST(a_vm_is_a_name_or_uuid_or_session)
{
	struct ctl_sample *sample = parse(three);
	unsigned int count = selections[_i].count;

	ck_assert_int_eq(sample_select(sample, selections[_i].vm), count > 0);
	if (count) {
		ck_assert_uint_eq(sample->count, count);
		ck_assert_uint_eq(sample->sessions[0].id, selections[_i].first);
	}
	sample_free(sample);
}
END_TEST

START_TEST(a_name_wins_over_a_session_number)
{
	struct ctl_sample *sample =
		parse("{ \"sessions\": ["
		      "{ \"id\": 1, \"name\": \"2\" }, { \"id\": 2, \"name\": \"x\" } ] }");

	ck_assert(sample_select(sample, "2"));
	ck_assert_uint_eq(sample->count, 1);
	ck_assert_uint_eq(sample->sessions[0].id, 1);
	sample_free(sample);
}
END_TEST

/* ---------------------------------- rates ---------------------------------- */

static struct ctl_session session(uint64_t messages)
{
	struct ctl_session session = { .id = 1, .name = "vm", .uuid = "" };

	session.values[FIELD_messages] = (struct ctl_number){ true, messages };
	session.values[FIELD_qps] = (struct ctl_number){ true, 1 };
	return session;
}

START_TEST(a_rate_is_the_difference_per_second)
{
	struct ctl_session before = session(100), now = session(350);
	struct rates rates;

	now.values[FIELD_qps].value = 0; /* no counter: may fall */
	rates_between(&before, &now, 0.5, &rates);
	ck_assert(rates.known);
	ck_assert(fabs(rates.values[FIELD_messages] - 500) < 1e-9);
	ck_assert(rates.values[FIELD_qps] == 0);
}
END_TEST

START_TEST(differences_are_exact_where_counters_are_large)
{
	struct ctl_session before = session(UINT64_MAX - 1);
	struct ctl_session now = session(UINT64_MAX);
	struct rates rates;

	rates_between(&before, &now, 1, &rates);
	ck_assert(rates.values[FIELD_messages] == 1);
}
END_TEST

START_TEST(without_two_looks_there_is_no_rate)
{
	struct ctl_session before = session(5), now = session(5);
	struct rates rates;

	rates_between(NULL, &now, 1, &rates);
	ck_assert(!rates.known);
	rates_between(&before, &now, 0, &rates);
	ck_assert(!rates.known);
	rates_between(&before, &now, -1, &rates);
	ck_assert(!rates.known);
}
END_TEST

START_TEST(a_session_of_another_daemon_is_another)
{
	struct ctl_session before = session(5), now = session(4);
	struct rates rates;

	rates_between(&before, &now, 1, &rates);
	ck_assert(!rates.known);
	now = session(6);
	now.name = "other";
	rates_between(&before, &now, 1, &rates);
	ck_assert(!rates.known);
	now.name = before.name;
	now.uuid = "x";
	rates_between(&before, &now, 1, &rates);
	ck_assert(!rates.known);
}
END_TEST

START_TEST(sums_are_of_what_is_known)
{
	struct ctl_session before = session(1), now = session(3);
	struct rates sum = { 0 }, known, unknown;

	rates_between(NULL, &now, 1, &unknown);
	rates_sum(&sum, &unknown);
	ck_assert(!sum.known);
	rates_between(&before, &now, 1, &known);
	rates_sum(&sum, &known);
	rates_sum(&sum, &known);
	ck_assert(sum.known);
	ck_assert(sum.values[FIELD_messages] == 4);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("ctl_sample");

	tcase_add_test(tc, sessions_are_in_order);
	tcase_add_test(tc, what_is_missing_or_of_another_kind_is_unknown);
	tcase_add_loop_test(tc, another_answer_is_an_error, 0, G_N_ELEMENTS(wrong));
	tcase_add_loop_test(tc, a_vm_is_a_name_or_uuid_or_session, 0, G_N_ELEMENTS(selections));
	tcase_add_test(tc, a_name_wins_over_a_session_number);
	tcase_add_test(tc, a_rate_is_the_difference_per_second);
	tcase_add_test(tc, differences_are_exact_where_counters_are_large);
	tcase_add_test(tc, without_two_looks_there_is_no_rate);
	tcase_add_test(tc, a_session_of_another_daemon_is_another);
	tcase_add_test(tc, sums_are_of_what_is_known);
	return suite_run("ctl_sample", tc);
}
