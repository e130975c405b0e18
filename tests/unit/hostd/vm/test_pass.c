// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "suite.h"
#include "vm/cq.h"
#include "vm/pass.h"

#define CQS 1000

static struct cq cqs[CQS];
static unsigned int looked[CQS], looks, order[CQS];
static struct pass pass;

void cq_notify(struct pass *notifying, struct cq *cq)
{
	ck_assert_ptr_eq(notifying, &pass);
	ck_assert_uint_lt(looks, CQS);
	order[looks++] = cq - cqs;
	looked[cq - cqs]++;
}

START_TEST(cqs_are_looked_at_when_the_pass_ends_and_not_before)
{
	pass_add_cq(&pass, &cqs[3]);
	pass_add_cq(&pass, &cqs[1]);
	ck_assert_uint_eq(looks, 0);
	pass_end(&pass);
	ck_assert_uint_eq(looks, 2);
	ck_assert_uint_eq(order[0], 3);
	ck_assert_uint_eq(order[1], 1);
}
END_TEST

START_TEST(the_next_pass_begins_with_none)
{
	pass_add_cq(&pass, &cqs[0]);
	pass_end(&pass);
	pass_end(&pass);
	ck_assert_uint_eq(looks, 1);
	pass_add_cq(&pass, &cqs[5]);
	pass_end(&pass);
	ck_assert_uint_eq(looks, 2);
	ck_assert_uint_eq(looked[5], 1);
}
END_TEST

START_TEST(more_cqs_than_a_pass_holds_are_each_looked_at_once)
{
	ck_assert_int_gt(CQS, 3 * PASS_CQS);
	for (unsigned int i = 0; i < CQS; i++) {
		pass_add_cq(&pass, &cqs[i]);
		ck_assert_uint_le(pass.num_cqs, PASS_CQS);
	}
	pass_end(&pass);
	for (unsigned int i = 0; i < CQS; i++) {
		ck_assert_uint_eq(looked[i], 1);
		ck_assert_uint_eq(order[i], i);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pass");

	tcase_add_test(tc, cqs_are_looked_at_when_the_pass_ends_and_not_before);
	tcase_add_test(tc, the_next_pass_begins_with_none);
	tcase_add_test(tc, more_cqs_than_a_pass_holds_are_each_looked_at_once);
	return suite_run("pass", tc);
}
