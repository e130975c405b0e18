// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "suite.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "vm/pass.h"

#define CQS  1000
#define CEQS 100

static struct cq cqs[CQS];
static unsigned int looked[CQS], looks, order[CQS];
static struct pass pass;

static struct ceq ceqs[CEQS];
static unsigned int interrupted[CEQS], looks_before;
static bool armed;

void events_interrupt(struct vm *vm, uint32_t vector)
{
	(void)vm;
	interrupted[vector]++;
	looks_before = looks;
}

void cq_notify(struct pass *of, struct cq *cq)
{
	ck_assert_ptr_eq(of, &pass);
	if (armed)
		pass_add_ceq(of, cq->ceq);
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

/* All CQs have an event, in so many event queues in turn. */
static void raise_all(unsigned int queues)
{
	for (unsigned int i = 0; i < queues; i++)
		ceqs[i].vector = i;
	armed = true;
	for (unsigned int i = 0; i < CQS; i++) {
		cqs[i].ceq = &ceqs[i % queues];
		pass_add_cq(&pass, &cqs[i]);
	}
	pass_end(&pass);
}

START_TEST(all_events_of_a_turn_have_one_interrupt_behind_them)
{
	raise_all(1);
	ck_assert_uint_eq(interrupted[0], 1);
	ck_assert_uint_eq(looks_before, CQS);
	pass_end(&pass);
	ck_assert_uint_eq(interrupted[0], 1);
}
END_TEST

START_TEST(each_event_queue_has_an_interrupt_of_its_own)
{
	raise_all(PASS_CEQS);
	for (unsigned int i = 0; i < PASS_CEQS; i++)
		ck_assert_uint_eq(interrupted[i], 1);
}
END_TEST

START_TEST(of_more_event_queues_than_a_turn_holds_none_goes_without)
{
	ck_assert_uint_gt(CEQS, PASS_CEQS);
	raise_all(CEQS);
	for (unsigned int i = 0; i < CEQS; i++)
		ck_assert_uint_ge(interrupted[i], 1);
	ck_assert_uint_eq(pass.num_ceqs, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pass");

	tcase_add_test(tc, cqs_are_looked_at_when_the_pass_ends_and_not_before);
	tcase_add_test(tc, the_next_pass_begins_with_none);
	tcase_add_test(tc, more_cqs_than_a_pass_holds_are_each_looked_at_once);
	tcase_add_test(tc, all_events_of_a_turn_have_one_interrupt_behind_them);
	tcase_add_test(tc, each_event_queue_has_an_interrupt_of_its_own);
	tcase_add_test(tc, of_more_event_queues_than_a_turn_holds_none_goes_without);
	return suite_run("pass", tc);
}
