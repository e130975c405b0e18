// SPDX-License-Identifier: GPL-2.0-or-later
/* Eventfds whose other owner is hostile. */
#include "lib/shared_event.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "suite.h"

#define FULL	0xfffffffffffffffeull
#define THREADS 4
#define SIGNALS 5000

static int fd;

/* _i: without asynchronous I/O, as on a kernel that has none. */
static void setup(void)
{
	fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	close(fd);
}

static void init(int without)
{
	if (!without)
		ck_assert_int_eq(shared_event_init(), 0);
}

/* As the other process does it. */
static uint64_t take(void)
{
	eventfd_t count;

	return eventfd_read(fd, &count) ? 0 : count;
}

START_TEST(signals_are_counted)
{
	init(_i);
	for (int i = 0; i < 3000; i++)
		shared_event_signal(fd);
	ck_assert_uint_eq(take(), 3000);
}
END_TEST

START_TEST(a_full_count_blocks_nobody)
{
	init(_i);
	ck_assert_int_eq(eventfd_write(fd, FULL), 0);
	ck_assert(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	for (int i = 0; i < 1000; i++)
		shared_event_signal(fd);
	ck_assert_uint_ge(take(), FULL);
}
END_TEST

static void *signal_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < SIGNALS; i++)
		shared_event_signal(fd);
	return NULL;
}

START_TEST(many_threads_signal_and_none_is_lost)
{
	pthread_t thread[THREADS];

	init(0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, signal_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(take(), THREADS * SIGNALS);
}
END_TEST

/* The other owner fills the count and makes room again, as fast as it can. */
static _Atomic bool stop;

static void *fill_and_empty(void *arg)
{
	eventfd_t count;

	(void)arg;
	while (!stop) {
		fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
		eventfd_read(fd, &count);
		if (eventfd_write(fd, FULL))
			continue;
		fcntl(fd, F_SETFL, O_RDWR);
	}
	return NULL;
}

START_TEST(a_count_that_is_filled_again_and_again_blocks_nobody)
{
	pthread_t thread;

	init(0);
	ck_assert_int_eq(pthread_create(&thread, NULL, fill_and_empty, NULL), 0);
	for (int i = 0; i < 20000; i++)
		shared_event_signal(fd);
	stop = true;
	/* Should it wait for us in its read. */
	shared_event_signal(fd);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(each_signal_wakes_once_whatever_is_left_in_the_count)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC), semaphore = eventfd(7, EFD_SEMAPHORE);

	init(0);
	ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, semaphore, &event), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(epoll_wait(epoll, &event, 1, 1000), 1);
		ck_assert_int_eq(epoll_wait(epoll, &event, 1, 0), 0);
		shared_event_signal(semaphore);
	}
	close(epoll);
	close(semaphore);
}
END_TEST

START_TEST(what_is_no_eventfd_is_told)
{
	int memory = memfd_create("anon_inode:[eventfd]", MFD_CLOEXEC), pipes[2];

	ck_assert(shared_event_is_one(fd));
	ck_assert(!shared_event_is_one(memory));
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert(!shared_event_is_one(pipes[0]));
	close(pipes[0]);
	close(pipes[1]);
	close(memory);
	ck_assert(!shared_event_is_one(memory));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("shared_event");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, signals_are_counted, 0, 2);
	tcase_add_loop_test(tc, a_full_count_blocks_nobody, 0, 2);
	tcase_add_test(tc, many_threads_signal_and_none_is_lost);
	tcase_add_test(tc, a_count_that_is_filled_again_and_again_blocks_nobody);
	tcase_add_test(tc, each_signal_wakes_once_whatever_is_left_in_the_count);
	tcase_add_test(tc, what_is_no_eventfd_is_told);
	return suite_run("shared_event", tc);
}
