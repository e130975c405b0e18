// SPDX-License-Identifier: GPL-2.0-or-later
/* Which worker has whom, while workers run. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "suite.h"
#include "worker/rig.h"

#define WORKERS 3

/* The linker leads pvhcad's own calls here (--wrap). */
void *__wrap_calloc(size_t n, size_t size);
void *__real_calloc(size_t n, size_t size);
unsigned int __wrap_sleep(unsigned int seconds);

static _Atomic int calls_until_none = -1; /* < 0: never; 0: all fail from now on */
static unsigned int sleeps;
static void (*on_sleep)(void);

void *__wrap_calloc(size_t n, size_t size)
{
	if (!calls_until_none)
		return NULL;
	if (calls_until_none > 0)
		calls_until_none--;
	return __real_calloc(n, size);
}

unsigned int __wrap_sleep(unsigned int seconds)
{
	(void)seconds;
	sleeps++;
	if (on_sleep)
		on_sleep();
	return 0;
}

static void setup(void)
{
	const struct config config = { .workers = WORKERS };

	rig_setup();
	ck_assert_int_eq(worker_start_all(&config), 0);
}

static void teardown(void)
{
	worker_stop_all();
}

/* Waits, however long it takes. */
static void until_served(struct guest *guest, uint64_t times)
{
	while (atomic_load(&guest->served) < times)
		usleep(100);
}

static struct guest *attached(unsigned int id)
{
	struct guest *guest = guest_new(id);

	ck_assert_int_eq(worker_attach(&guest->vm), 0);
	return guest;
}

static void detached(struct guest *guest)
{
	guest_leave(guest);
	ck_assert_ptr_null(guest->vm.worker);
	guest_free(guest);
}

START_TEST(a_session_goes_to_the_worker_with_the_fewest)
{
	struct guest *guest[2 * WORKERS], *more;
	struct worker *worker;

	for (unsigned int i = 0; i < 2 * WORKERS; i++)
		guest[i] = attached(i);
	for (unsigned int i = 0; i < WORKERS; i++) {
		for (unsigned int j = 0; j < i; j++)
			ck_assert_ptr_ne(guest[i]->vm.worker, guest[j]->vm.worker);
		ck_assert_ptr_eq(guest[i]->vm.worker, guest[WORKERS + i]->vm.worker);
	}
	worker = guest[1]->vm.worker;
	detached(guest[1]);
	more = attached(10);
	ck_assert_ptr_eq(more->vm.worker, worker);
	guest[1] = more;
	for (unsigned int i = 0; i < 2 * WORKERS; i++)
		detached(guest[i]);
}
END_TEST

START_TEST(each_session_is_given_its_workers_doorbell)
{
	struct guest *guest[WORKERS];

	for (unsigned int i = 0; i < WORKERS; i++) {
		guest[i] = attached(i);
		ck_assert_uint_eq(guest[i]->vm.doorbell, i * PVHCA_DB_STRIDE);
		eventfd_write(guest[i]->vm.doorbell_fds[i], 5);
		while (!atomic_load(&guest[i]->vm.counters.doorbells))
			usleep(100);
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		detached(guest[i]);
}
END_TEST

START_TEST(workers_share_doorbells_where_there_are_fewer)
{
	struct guest *guest[WORKERS];

	for (unsigned int i = 0; i < WORKERS; i++) {
		guest[i] = guest_new(i);
		guest[i]->vm.num_doorbells = 2;
		ck_assert_int_eq(worker_attach(&guest[i]->vm), 0);
		ck_assert_uint_eq(guest[i]->vm.doorbell, i % 2 * PVHCA_DB_STRIDE);
		eventfd_write(guest[i]->vm.doorbell_fds[i % 2], 1);
		while (!atomic_load(&guest[i]->vm.counters.doorbells))
			usleep(100);
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		detached(guest[i]);
}
END_TEST

START_TEST(a_context_is_polled_from_its_adding_to_its_removal)
{
	struct guest *guest = attached(0);

	guest_qp(guest, 9);
	guest_announce(guest, 9);
	ck_assert_int_eq(worker_add_context(&guest->context), 0);
	until_served(guest, 1);
	worker_del_context(&guest->context);
	guest_announce(guest, 9);
	worker_wake(guest->vm.worker);
	/* Two sessions' changes later its worker has made passes. */
	guest_leave(guest);
	ck_assert_int_eq(worker_attach(&guest->vm), 0);
	ck_assert_uint_eq(guest->served, 1);
	ck_assert_uint_ne(guest->page.summary, 0);
	detached(guest);
}
END_TEST

START_TEST(the_fabrics_descriptor_wakes_the_worker_until_the_session_goes)
{
	struct guest *guest = guest_new(0);

	guest->fabric_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_eq(worker_attach(&guest->vm), 0);
	for (uint64_t i = 1; i < 10; i++) {
		eventfd_write(guest->fabric_fd, 1);
		while (atomic_load(&guest->events) < i)
			usleep(100);
	}
	guest_leave(guest);
	/* Nobody listens: it can be listened to anew. */
	ck_assert_int_eq(worker_attach(&guest->vm), 0);
	detached(guest);
}
END_TEST

/* ---------------------------------- failures ------------------------------- */

/* As it was: whoever comes next goes to the first worker, and is served. */
static void expect_nothing_left(void)
{
	struct guest *guest[WORKERS];

	for (unsigned int i = 0; i < WORKERS; i++) {
		guest[i] = guest_start(10 + i);
		ck_assert_uint_eq(guest[i]->vm.doorbell, i * PVHCA_DB_STRIDE);
		guest_qp(guest[i], 1);
		guest_announce(guest[i], 1);
		until_served(guest[i], 1);
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		guest_stop(guest[i]);
}

START_TEST(a_doorbell_that_cannot_be_listened_to_fails_the_attaching)
{
	struct guest *guest = guest_new(0);
	int fd = guest->vm.doorbell_fds[0];

	guest->vm.doorbell_fds[0] = open("/proc/self/exe", O_RDONLY);
	ck_assert_int_eq(worker_attach(&guest->vm), -EPERM);
	ck_assert_ptr_null(guest->vm.worker);
	close(guest->vm.doorbell_fds[0]);
	guest->vm.doorbell_fds[0] = fd;
	expect_nothing_left();
	guest_free(guest);
}
END_TEST

START_TEST(a_fabrics_descriptor_that_cannot_be_listened_to_frees_the_doorbell)
{
	struct guest *guest = guest_new(0);

	guest->fabric_fd = open("/proc/self/exe", O_RDONLY);
	ck_assert_int_eq(worker_attach(&guest->vm), -EPERM);
	ck_assert_ptr_null(guest->vm.worker);
	close(guest->fabric_fd);
	guest->fabric_fd = -1;
	/* -EEXIST if the doorbell were still listened to. */
	ck_assert_int_eq(worker_attach(&guest->vm), 0);
	detached(guest);
	expect_nothing_left();
}
END_TEST

START_TEST(an_attaching_without_memory_fails_and_leaves_nothing)
{
	struct guest *guest = guest_new(0);

	calls_until_none = _i;
	ck_assert_int_eq(worker_attach(&guest->vm), -ENOMEM);
	calls_until_none = -1;
	ck_assert_ptr_null(guest->vm.worker);
	expect_nothing_left();
	guest_free(guest);
}
END_TEST

START_TEST(a_context_without_memory_is_not_added)
{
	struct guest *guest = attached(0);

	calls_until_none = _i;
	ck_assert_int_eq(worker_add_context(&guest->context), -ENOMEM);
	calls_until_none = -1;
	guest_qp(guest, 0);
	ck_assert_int_eq(worker_add_context(&guest->context), 0);
	guest_announce(guest, 0);
	until_served(guest, 1);
	worker_del_context(&guest->context);
	detached(guest);
}
END_TEST

/* Of the array of workers, or of one of them. */
START_TEST(workers_that_cannot_all_start_leave_none_behind)
{
	const struct config config = { .workers = WORKERS };

	worker_stop_all();
	calls_until_none = _i;
	ck_assert_int_eq(worker_start_all(&config), -ENOMEM);
	calls_until_none = -1;
	ck_assert_int_eq(worker_start_all(&config), 0);
	expect_nothing_left();
}
END_TEST

static struct guest *other;

static void memory_comes_back(void)
{
	if (sleeps < 3)
		return;
	calls_until_none = -1;
	/* Others go on meanwhile, and what they change is not lost. */
	other = guest_start(5);
}

START_TEST(a_removal_waits_for_memory_and_keeps_nobody_away)
{
	struct guest *guest = guest_start(0), *neighbour[WORKERS - 1];

	for (unsigned int i = 0; i < WORKERS - 1; i++)
		neighbour[i] = attached(1 + i);
	guest_qp(guest, 1);
	calls_until_none = 0;
	on_sleep = memory_comes_back;
	worker_del_context(&guest->context);
	ck_assert_uint_eq(sleeps, 3);
	ck_assert_ptr_eq(other->vm.worker, guest->vm.worker);
	guest_announce(guest, 1);
	guest_qp(other, 1);
	guest_announce(other, 1);
	until_served(other, 1);
	ck_assert_uint_eq(guest->served, 0);
	guest_stop(other);
	detached(guest);
	for (unsigned int i = 0; i < WORKERS - 1; i++)
		detached(neighbour[i]);
}
END_TEST

/* ----------------------------------- races --------------------------------- */

#define COMERS 4
#define TURNS  100

/* A session's thread: what it had is gone as soon as it is detached. */
static void *come_and_go(void *arg)
{
	unsigned int id = (uintptr_t)arg;

	for (unsigned int turn = 0; turn < TURNS; turn++) {
		struct guest *guest = guest_start(id);

		guest_qp(guest, turn);
		guest_announce(guest, turn);
		if (turn % 2)
			until_served(guest, 1);
		guest_stop(guest);
	}
	return NULL;
}

START_TEST(sessions_come_and_go_while_passes_run)
{
	struct guest *guest = guest_start(100);
	pthread_t thread[COMERS];

	guest_qp(guest, 0);
	for (uintptr_t i = 0; i < COMERS; i++)
		pthread_create(&thread[i], NULL, come_and_go, (void *)i);
	for (uint64_t i = 1; i < 500; i++) {
		guest_announce(guest, 0);
		until_served(guest, i);
	}
	for (unsigned int i = 0; i < COMERS; i++)
		pthread_join(thread[i], NULL);
	guest_stop(guest);
	expect_nothing_left();
}
END_TEST

/* --------------------------------- settling -------------------------------- */

START_TEST(settled_means_served)
{
	struct guest *guest = guest_start(0);

	for (uint32_t slot = 0; slot < 100; slot++)
		guest_qp(guest, slot);
	for (uint32_t slot = 0; slot < 100; slot++)
		guest_announce(guest, slot);
	worker_settle(&guest->context);
	ck_assert_uint_ge(guest->served, 100);
	/* What pvhcad itself asked for counts as well; nobody rings for it. */
	context_again(&guest->context, 7);
	worker_settle(&guest->context);
	ck_assert_uint_ge(guest->served, 101);
	guest_stop(guest);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("assign");

	tcase_set_timeout(tc, 100);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_session_goes_to_the_worker_with_the_fewest);
	tcase_add_test(tc, each_session_is_given_its_workers_doorbell);
	tcase_add_test(tc, workers_share_doorbells_where_there_are_fewer);
	tcase_add_test(tc, a_context_is_polled_from_its_adding_to_its_removal);
	tcase_add_test(tc, the_fabrics_descriptor_wakes_the_worker_until_the_session_goes);
	tcase_add_test(tc, a_doorbell_that_cannot_be_listened_to_fails_the_attaching);
	tcase_add_test(tc, a_fabrics_descriptor_that_cannot_be_listened_to_frees_the_doorbell);
	tcase_add_loop_test(tc, an_attaching_without_memory_fails_and_leaves_nothing, 0, 7);
	tcase_add_loop_test(tc, a_context_without_memory_is_not_added, 0, 2);
	tcase_add_loop_test(tc, workers_that_cannot_all_start_leave_none_behind, 0, 1 + WORKERS);
	tcase_add_test(tc, a_removal_waits_for_memory_and_keeps_nobody_away);
	tcase_add_test(tc, sessions_come_and_go_while_passes_run);
	tcase_add_test(tc, settled_means_served);
	return suite_run("worker assign", tc);
}
