// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * When a worker finds nothing to do. In most tests the test itself is the worker; a sleep
 * that nothing ends is ended by the time limit, as a failure.
 */
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "lib/clock.h"
#include "suite.h"
#include "vm/cq_blocked.h"
#include "worker/private.h"
#include "worker/rig.h"

static struct worker *worker;
static struct guest *guest;

static void setup(void)
{
	rig_setup();
	worker = rig_worker();
	guest = guest_start(0);
	guest_qp(guest, 0);
	guest_qp(guest, 4095);
	/* What the attaching has left. */
	worker_rest(worker);
}

static void teardown(void)
{
	guest_stop(guest);
	rig_worker_free();
}

static void spin_limit(unsigned int us)
{
	const struct config config = { .workers = 1, .spin_us = us };

	worker_sleep_init(worker, &config);
	worker->few_cpus = false;
}

START_TEST(what_is_announced_already_is_found_without_a_wakeup)
{
	guest_announce(guest, _i ? 4095 : 0);
	worker_rest(worker);
	ck_assert_uint_eq(guest_need_kick(guest), 0);
	ck_assert_uint_ne(guest->page.summary, 0);
}
END_TEST

START_TEST(what_pvhcad_asked_for_again_is_found_without_a_wakeup)
{
	context_again(&guest->context, 4095);
	worker_rest(worker);
	ck_assert_uint_eq(guest_need_kick(guest), 0);
}
END_TEST

static bool expect_need_kick(struct guest *who)
{
	ck_assert_uint_eq(guest_need_kick(who), UINT64_MAX);
	return true;
}

START_TEST(guests_are_told_to_ring_before_the_last_look)
{
	struct guest *second = guest_start(1);
	uint64_t arms;

	worker_rest(worker);
	arms = guest->arms;
	rig.on_arm = expect_need_kick;
	worker_rest(worker);
	ck_assert_uint_eq(guest->arms, arms + 1);
	/* The engine had something after all, so they need not ring. */
	ck_assert_uint_eq(guest_need_kick(guest), 0);
	ck_assert_uint_eq(guest_need_kick(second), 0);
	guest_stop(second);
}
END_TEST

/* Between the look at what is announced and the sleep. */
static bool post_meanwhile(struct guest *who)
{
	guest_announce(who, 4095);
	return false;
}

START_TEST(a_post_after_the_last_look_rings)
{
	rig.on_arm = post_meanwhile;
	worker_rest(worker);
	ck_assert_uint_eq(guest->vm.counters.doorbells, 1);
	ck_assert_uint_eq(guest_need_kick(guest), 0);
}
END_TEST

START_TEST(each_sessions_engine_is_armed)
{
	struct guest *second = guest_start(1);
	uint64_t arms[2];

	worker_rest(worker);
	arms[0] = guest->arms;
	arms[1] = second->arms;
	guest_announce(guest, 0);
	worker_rest(worker);
	ck_assert_uint_eq(guest->arms, arms[0] + 1);
	ck_assert_uint_eq(second->arms, arms[1] + 1);
	guest_stop(second);
}
END_TEST

START_TEST(a_wakeup_ends_the_sleep_and_is_used_up)
{
	eventfd_t count;

	worker_wake(worker);
	worker_wake(worker);
	worker_rest(worker);
	ck_assert_int_lt(eventfd_read(worker->wake_fd, &count), 0);
	ck_assert_uint_eq(guest->vm.counters.doorbells, 0);
}
END_TEST

/* QEMU can hold its lock; worker/assign.c. */
START_TEST(a_doorbell_is_not_read_and_wakes_each_time_it_is_rung)
{
	eventfd_t count;

	for (unsigned int times = 1; times <= 3; times++) {
		eventfd_write(guest->vm.doorbell_fds[0], 1);
		worker_rest(worker);
		ck_assert_uint_eq(guest->vm.counters.doorbells, times);
	}
	ck_assert_int_eq(eventfd_read(guest->vm.doorbell_fds[0], &count), 0);
	ck_assert_uint_eq(count, 3);
}
END_TEST

START_TEST(an_event_of_the_engine_ends_the_sleep)
{
	struct guest *second = guest_new(1);

	second->fabric_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ck_assert_int_eq(worker_attach(&second->vm), 0);
	worker_rest(worker);
	eventfd_write(second->fabric_fd, 1);
	worker_rest(worker);
	ck_assert_uint_eq(second->events, 1);
	ck_assert_uint_eq(guest->events, 0);
	guest_leave(second);
	guest_free(second);
}
END_TEST

/* epoll may return what was there before its session went. */
START_TEST(an_event_of_a_session_that_has_gone_is_ignored)
{
	int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	eventfd_t count;

	ck_assert_int_eq(worker_listen(worker, fd, 77, SOURCE_FABRIC), 0);
	worker_rest(worker);
	ck_assert_uint_eq(guest->events, 0);
	ck_assert_int_eq(eventfd_read(fd, &count), 0);
	worker_unlisten(worker, fd);
	close(fd);
}
END_TEST

static void wait_until(uint32_t slot, uint64_t deadline)
{
	context_qp(&guest->context, slot)->deadline_ns = deadline;
	context_timed(&guest->context, slot, deadline);
}

START_TEST(a_deadline_ends_the_sleep_and_not_before)
{
	uint64_t deadline = clock_ns() + 5 * NS_PER_MS;

	wait_until(0, deadline + NS_PER_S);
	wait_until(4095, deadline);
	worker_rest(worker);
	ck_assert_uint_ge(clock_ns(), deadline);
	ck_assert_uint_eq(guest_need_kick(guest), 0);
}
END_TEST

START_TEST(with_a_deadline_that_has_passed_there_is_no_sleep)
{
	wait_until(4095, clock_ns());
	worker_rest(worker);
	wait_until(0, 0);
	worker_rest(worker);
}
END_TEST

START_TEST(while_a_cq_is_held_back_the_worker_wakes_of_itself)
{
	struct cq cq = { .vm = &guest->vm };

	cq_blocked_add(&cq);
	worker_rest(worker);
	worker_rest(worker);
	cq_blocked_del(&cq);
}
END_TEST

/* ------------------------------- what it learns ---------------------------- */

START_TEST(after_short_sleeps_it_polls_longer_up_to_the_limit)
{
	const uint64_t limit = 100 * NS_PER_S; /* a sleep is short beside it */
	uint64_t before;

	spin_limit(100 * 1000 * 1000);
	ck_assert_uint_lt(worker->spin_ns, NS_PER_MS);
	while (worker->spin_ns < limit) {
		before = worker->spin_ns;
		worker_wake(worker);
		worker_rest(worker);
		if (before <= limit / 2)
			ck_assert_uint_eq(worker->spin_ns, 2 * before);
	}
	ck_assert_uint_eq(worker->spin_ns, limit);
	worker_wake(worker);
	worker_rest(worker);
	ck_assert_uint_eq(worker->spin_ns, limit);
}
END_TEST

START_TEST(after_long_sleeps_it_polls_less_down_to_a_minimum)
{
	uint64_t before, minimum;

	spin_limit(1000);
	minimum = worker->spin_ns;
	worker->spin_ns = NS_PER_MS;
	for (int i = 0; i < 10; i++) {
		before = worker->spin_ns;
		wait_until(0, clock_ns() + 3 * NS_PER_MS);
		worker_rest(worker);
		guest->context.timed_due_ns = UINT64_MAX;
		ck_assert_uint_eq(worker->spin_ns, before / 2 > minimum ? before / 2 : minimum);
	}
	ck_assert_uint_eq(worker->spin_ns, minimum);
}
END_TEST

START_TEST(without_a_spin_time_it_learns_none)
{
	spin_limit(0);
	for (int i = 0; i < 3; i++) {
		worker_wake(worker);
		worker_rest(worker);
		ck_assert_uint_eq(worker->spin_ns, 0);
	}
}
END_TEST

START_TEST(where_processors_are_many_it_gives_way_to_nobody)
{
	worker->give_way = true;
	ck_assert(!worker_poll_politely(worker, 0));
}
END_TEST

/* A call for each look would take ten times as long as the look. */
START_TEST(where_processors_are_few_it_lets_others_go_first_now_and_then)
{
	const uint64_t work = clock_ns();
	uint64_t yielded;

	worker->few_cpus = true;
	worker->pass.now = work + 1000;
	worker_poll_politely(worker, work);
	ck_assert_uint_eq(worker->yielded_ns, 0);
	worker->pass.now = work + 10 * NS_PER_US;
	worker_poll_politely(worker, work);
	yielded = worker->yielded_ns;
	ck_assert_uint_ge(yielded, work);
	worker->pass.now = yielded + 1000;
	worker_poll_politely(worker, work);
	ck_assert_uint_eq(worker->yielded_ns, yielded);
	worker->pass.now = yielded + 10 * NS_PER_US;
	worker_poll_politely(worker, work);
	ck_assert_uint_gt(worker->yielded_ns, yielded);
}
END_TEST

/* ----------------------------------- naps ---------------------------------- */

static void may_nap(unsigned int in_flight)
{
	spin_limit(0);
	worker->few_cpus = true;
	worker->give_way = true;
	guest->in_flight = in_flight;
}

START_TEST(while_the_engine_has_much_to_do_it_naps_and_nobody_rings)
{
	uint64_t polls = guest->polls, arms = guest->arms;

	may_nap(100);
	rig.poll_found = 1;
	for (uint64_t i = 1; i < 30; i++) {
		worker_rest(worker);
		ck_assert_uint_eq(guest->polls, polls + i);
		ck_assert_uint_eq(guest_need_kick(guest), 0);
	}
	ck_assert_uint_eq(guest->arms, arms);
}
END_TEST

START_TEST(after_naps_in_vain_it_sleeps)
{
	uint64_t arms = guest->arms;
	unsigned int naps = 0;

	may_nap(100);
	worker_wake(worker);
	while (guest->arms == arms) {
		worker_rest(worker);
		ck_assert_uint_lt(++naps, 100);
	}
	ck_assert_uint_gt(naps, 2);
	/* And naps anew after that. */
	worker_rest(worker);
	ck_assert_uint_eq(guest->arms, arms + 1);
}
END_TEST

START_TEST(with_little_in_flight_or_own_processors_it_sleeps)
{
	uint64_t arms = guest->arms;

	may_nap(1);
	worker_wake(worker);
	worker_rest(worker);
	ck_assert_uint_eq(guest->arms, arms + 1);
	may_nap(100);
	worker->few_cpus = false;
	worker_wake(worker);
	worker_rest(worker);
	ck_assert_uint_eq(guest->arms, arms + 2);
	worker->few_cpus = true;
	worker->give_way = false;
	worker_wake(worker);
	worker_rest(worker);
	ck_assert_uint_eq(guest->arms, arms + 3);
}
END_TEST

/* How many sends the engine completes during the next nap. */
static unsigned int completes;

static unsigned int complete_some(struct pass *pass, struct vm *vm)
{
	(void)pass;
	(void)vm;
	guest->in_flight -= completes;
	return completes;
}

static uint64_t nap_after(unsigned int completed)
{
	guest->in_flight = 800;
	completes = completed;
	worker_rest(worker);
	return worker->nap_ns;
}

START_TEST(a_nap_gets_as_long_as_some_completions_take)
{
	uint64_t first;

	may_nap(800);
	rig.ops.vm_poll = complete_some;
	first = worker->nap_ns;
	ck_assert_uint_eq(nap_after(1), 2 * first);
	ck_assert_uint_eq(nap_after(150), 2 * first);
	ck_assert_uint_eq(nap_after(799), first);
	ck_assert_uint_eq(nap_after(799), first);
	for (int i = 0; i < 20; i++)
		nap_after(1);
	ck_assert_uint_le(worker->nap_ns, 100 * NS_PER_MS);
}
END_TEST

/* --------------------------------- its thread ------------------------------ */

static const struct config one_worker = { .workers = 1 };

static void setup_thread(void)
{
	rig_setup();
	ck_assert_int_eq(worker_start_all(&one_worker), 0);
	guest = guest_start(0);
}

static void teardown_thread(void)
{
	guest_stop(guest);
	worker_stop_all();
}

/* One that was lost leaves the last posts unserved for ever. */
START_TEST(no_wakeup_is_lost)
{
	for (uint32_t slot = 0; slot < 4; slot++)
		guest_qp(guest, slot * 1000);
	for (uint64_t i = 0; i < 3000; i++) {
		guest_announce(guest, i % 4 * 1000);
		while (atomic_load(&guest->served) <= i)
			if (i % 3)
				sched_yield();
	}
}
END_TEST

START_TEST(a_worker_that_sleeps_keeps_nobody_waiting)
{
	while (!guest_need_kick(guest))
		usleep(100);
	usleep(1000);
	synchronize_rcu();
}
END_TEST

START_TEST(a_cq_that_another_thread_holds_back_wakes_the_worker)
{
	struct cq cq = { .vm = &guest->vm };

	rig.cq_has_room = true;
	for (int i = 0; i < 100; i++) {
		cq_blocked_add(&cq);
		while (__atomic_load_n(&guest->vm.blocked_cqs->num, __ATOMIC_ACQUIRE))
			usleep(50);
	}
}
END_TEST

START_TEST(workers_stop_whether_they_sleep_or_not)
{
	guest_stop(guest);
	for (int i = 0; i < 50; i++) {
		worker_stop_all();
		ck_assert_int_eq(worker_start_all(&one_worker), 0);
		if (i % 2)
			usleep(200);
	}
	guest = guest_start(0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sleep"), *thread = tcase_create("thread");
	Suite *suite = suite_create("worker sleep");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_is_announced_already_is_found_without_a_wakeup, 0, 2);
	tcase_add_test(tc, what_pvhcad_asked_for_again_is_found_without_a_wakeup);
	tcase_add_test(tc, guests_are_told_to_ring_before_the_last_look);
	tcase_add_test(tc, a_post_after_the_last_look_rings);
	tcase_add_test(tc, each_sessions_engine_is_armed);
	tcase_add_test(tc, a_wakeup_ends_the_sleep_and_is_used_up);
	tcase_add_test(tc, a_doorbell_is_not_read_and_wakes_each_time_it_is_rung);
	tcase_add_test(tc, an_event_of_the_engine_ends_the_sleep);
	tcase_add_test(tc, an_event_of_a_session_that_has_gone_is_ignored);
	tcase_add_test(tc, a_deadline_ends_the_sleep_and_not_before);
	tcase_add_test(tc, with_a_deadline_that_has_passed_there_is_no_sleep);
	tcase_add_test(tc, while_a_cq_is_held_back_the_worker_wakes_of_itself);
	tcase_add_test(tc, after_short_sleeps_it_polls_longer_up_to_the_limit);
	tcase_add_test(tc, after_long_sleeps_it_polls_less_down_to_a_minimum);
	tcase_add_test(tc, without_a_spin_time_it_learns_none);
	tcase_add_test(tc, where_processors_are_many_it_gives_way_to_nobody);
	tcase_add_test(tc, where_processors_are_few_it_lets_others_go_first_now_and_then);
	tcase_add_test(tc, while_the_engine_has_much_to_do_it_naps_and_nobody_rings);
	tcase_add_test(tc, after_naps_in_vain_it_sleeps);
	tcase_add_test(tc, with_little_in_flight_or_own_processors_it_sleeps);
	tcase_add_test(tc, a_nap_gets_as_long_as_some_completions_take);
	suite_add_tcase(suite, tc);

	tcase_set_timeout(thread, 60);
	tcase_add_checked_fixture(thread, setup_thread, teardown_thread);
	tcase_add_test(thread, no_wakeup_is_lost);
	tcase_add_test(thread, a_worker_that_sleeps_keeps_nobody_waiting);
	tcase_add_test(thread, a_cq_that_another_thread_holds_back_wakes_the_worker);
	tcase_add_test(thread, workers_stop_whether_they_sleep_or_not);
	suite_add_tcase(suite, thread);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
