// SPDX-License-Identifier: GPL-2.0-or-later
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "suite.h"
#include "vm/cq.h"
#include "vm/cq_blocked.h"
#include "vm/pass.h"
#include "vm/vm.h"

#define CQS 200 /* more than one step of the list */

static struct cq_blocked_list list;
static struct pass pass;
static struct vm vm;
static struct cq cqs[CQS];
static bool has_room[CQS];
static unsigned int tries[CQS];

bool cq_retry(struct pass *in, struct cq *cq)
{
	ck_assert_ptr_eq(in, &pass);
	tries[cq - cqs]++;
	return has_room[cq - cqs];
}

static void setup(void)
{
	cq_blocked_init(&list, pthread_self(), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	vm.blocked_cqs = &list;
	for (unsigned int i = 0; i < CQS; i++)
		cqs[i].vm = &vm;
}

static void teardown(void)
{
	close(list.wake_fd);
	cq_blocked_fini(&list);
}

static void retry_for(int64_t ns)
{
	pass_begin_turn(&pass, ns, 0);
	cq_blocked_retry(&pass, &list);
}

static void retry(void)
{
	retry_for(PASS_UNLIMITED);
}

static unsigned int wakeups(void)
{
	eventfd_t count = 0;

	return eventfd_read(list.wake_fd, &count) ? 0 : count;
}

static void *add_all(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < CQS; i++)
		cq_blocked_add(&cqs[i]);
	return NULL;
}

static void in_a_thread(void *(*fn)(void *arg))
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, fn, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static unsigned int tries_in_all(void)
{
	unsigned int all = 0;

	for (unsigned int i = 0; i < CQS; i++) {
		all += tries[i];
		tries[i] = 0;
	}
	return all;
}

START_TEST(a_cq_is_tried_until_it_has_delivered_all)
{
	retry();
	ck_assert_uint_eq(tries_in_all(), 0);
	cq_blocked_add(&cqs[7]);
	for (int i = 0; i < 3; i++) {
		retry();
		ck_assert_uint_eq(tries[7], 1);
		ck_assert_uint_eq(tries_in_all(), 1);
	}
	has_room[7] = true;
	retry();
	ck_assert_uint_eq(tries_in_all(), 1);
	retry();
	ck_assert_uint_eq(tries_in_all(), 0);
}
END_TEST

START_TEST(a_cq_stands_on_the_list_once_and_may_come_back)
{
	for (int round = 0; round < 3; round++) {
		has_room[1] = false;
		cq_blocked_add(&cqs[1]);
		cq_blocked_add(&cqs[1]);
		retry();
		ck_assert_uint_eq(tries_in_all(), 1);
		has_room[1] = true;
		retry();
		ck_assert_uint_eq(tries_in_all(), 1);
	}
}
END_TEST

START_TEST(each_of_many_is_tried_once_while_some_leave)
{
	add_all(NULL);
	for (unsigned int i = 0; i < CQS; i++)
		has_room[i] = i % 3;
	retry();
	for (unsigned int i = 0; i < CQS; i++)
		ck_assert_uint_eq(tries[i], 1);
	retry();
	for (unsigned int i = 0; i < CQS; i++)
		ck_assert_uint_eq(tries[i], i % 3 ? 1 : 2);
}
END_TEST

START_TEST(a_cq_that_is_destroyed_is_not_tried_any_more)
{
	add_all(NULL);
	cq_blocked_del(&cqs[0]);
	cq_blocked_del(&cqs[50]);
	cq_blocked_del(&cqs[CQS - 1]);
	retry();
	ck_assert_uint_eq(tries[0] + tries[50] + tries[CQS - 1], 0);
	ck_assert_uint_eq(tries_in_all(), CQS - 3);
	/* One that is not there is no matter. */
	cq_blocked_del(&cqs[50]);
	retry();
	ck_assert_uint_eq(tries_in_all(), CQS - 3);
}
END_TEST

START_TEST(others_wake_the_worker_and_it_does_not_wake_itself)
{
	cq_blocked_add(&cqs[0]);
	ck_assert_uint_eq(wakeups(), 0);
	in_a_thread(add_all);
	ck_assert_uint_eq(wakeups(), CQS - 1);
	/* All are there, and looked after, already. */
	in_a_thread(add_all);
	ck_assert_uint_eq(wakeups(), 0);
}
END_TEST

/* However many CQs a guest leaves no room in, a turn tries a part, and each has its try. */
START_TEST(a_turn_tries_as_many_as_it_has_time_for_and_the_next_goes_on)
{
	add_all(NULL);
	for (unsigned int i = 0; i < CQS; i += 10) {
		retry_for(10 * PASS_VISIT_NS);
		ck_assert_uint_eq(tries_in_all(), 10);
	}
	for (unsigned int i = 0; i < CQS; i += 10)
		retry_for(10 * PASS_VISIT_NS);
	for (unsigned int i = 0; i < CQS; i++)
		ck_assert_uint_eq(tries[i], 1);
	/* All have room: they leave one turn after the other. */
	memset(has_room, true, sizeof(has_room));
	for (unsigned int i = 0; i < CQS; i += 10) {
		ck_assert_uint_eq(list.num, CQS - i);
		retry_for(10 * PASS_VISIT_NS);
	}
	ck_assert_uint_eq(list.num, 0);
}
END_TEST

static void *add_and_del(void *arg)
{
	(void)arg;
	for (int round = 0; round < 50; round++) {
		add_all(NULL);
		for (unsigned int i = 0; i < CQS; i++)
			cq_blocked_del(&cqs[i]);
	}
	return NULL;
}

START_TEST(cqs_may_come_and_go_while_the_worker_tries_them)
{
	pthread_t thread[2];

	for (unsigned int i = 0; i < CQS; i++)
		has_room[i] = i % 2;
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, add_and_del, NULL);
	for (int i = 0; i < 2000; i++)
		retry();
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	tries_in_all();
	retry();
	ck_assert_uint_eq(tries_in_all(), 0);
	for (unsigned int i = 0; i < CQS; i++)
		ck_assert(!cqs[i].listed);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("cq_blocked");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_cq_is_tried_until_it_has_delivered_all);
	tcase_add_test(tc, a_cq_stands_on_the_list_once_and_may_come_back);
	tcase_add_test(tc, each_of_many_is_tried_once_while_some_leave);
	tcase_add_test(tc, a_cq_that_is_destroyed_is_not_tried_any_more);
	tcase_add_test(tc, others_wake_the_worker_and_it_does_not_wake_itself);
	tcase_add_test(tc, a_turn_tries_as_many_as_it_has_time_for_and_the_next_goes_on);
	tcase_add_test(tc, cqs_may_come_and_go_while_the_worker_tries_them);
	return suite_run("cq_blocked", tc);
}
