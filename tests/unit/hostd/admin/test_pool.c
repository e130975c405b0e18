// SPDX-License-Identifier: GPL-2.0-or-later
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "admin/pool.h"
#include "suite.h"

#define CLIENTS 12

/* Things to be done, each of which waits until the gate is open. */
static struct counted {
	struct pool_client client; /* first: container of it */
	_Atomic int inside, done;
} counted[CLIENTS];

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void run(struct pool_client *client)
{
	struct counted *own = (struct counted *)client;

	atomic_fetch_add(&own->inside, 1);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	atomic_fetch_sub(&own->inside, 1);
	atomic_fetch_add(&own->done, 1);
}

static void setup(void)
{
	for (int i = 0; i < CLIENTS; i++)
		pool_join(&counted[i].client, run);
}

static void teardown(void)
{
	for (int i = 0; i < CLIENTS; i++)
		pool_leave(&counted[i].client);
	pool_stop();
}

static int all_inside(void)
{
	int sum = 0;

	for (int i = 0; i < CLIENTS; i++)
		sum += atomic_load(&counted[i].inside);
	return sum;
}

/* Check's own time limit ends it if it never comes. */
static void wait_until_inside(int count)
{
	while (all_inside() < count)
		usleep(100);
}

START_TEST(all_that_is_wanted_is_done)
{
	ck_assert(pool_want(&counted[0].client, 100));
	while (atomic_load(&counted[0].done) < 100)
		usleep(100);
	pool_leave(&counted[0].client);
	ck_assert_int_eq(counted[0].done, 100);
}
END_TEST

START_TEST(one_client_has_its_share_and_no_more)
{
	pthread_mutex_lock(&gate);
	ck_assert(pool_want(&counted[0].client, 100));
	wait_until_inside(POOL_THREADS_VM);
	usleep(10000);
	ck_assert_int_eq(counted[0].inside, POOL_THREADS_VM);
	pthread_mutex_unlock(&gate);
}
END_TEST

START_TEST(many_that_want_much_leave_threads_for_another)
{
	pthread_mutex_lock(&gate);
	for (int i = 0; i < CLIENTS - 1; i++)
		ck_assert(pool_want(&counted[i].client, 100));
	for (int i = 0; i < CLIENTS - 1; i++)
		while (!atomic_load(&counted[i].inside))
			usleep(100);
	ck_assert_int_lt(all_inside(), POOL_THREADS);
	ck_assert(pool_want(&counted[CLIENTS - 1].client, 1));
	while (!atomic_load(&counted[CLIENTS - 1].inside))
		usleep(100);
	pthread_mutex_unlock(&gate);
}
END_TEST

START_TEST(who_leaves_is_not_run_any_more)
{
	int done;

	ck_assert(pool_want(&counted[0].client, 1000));
	pool_leave(&counted[0].client);
	done = counted[0].done;
	ck_assert_int_eq(counted[0].inside, 0);
	usleep(10000);
	ck_assert_int_eq(counted[0].done, done);
}
END_TEST

START_TEST(it_can_be_stopped_and_used_again)
{
	for (int i = 1; i < 5; i++) {
		ck_assert(pool_want(&counted[0].client, 1));
		while (atomic_load(&counted[0].done) < i)
			usleep(100);
		pool_leave(&counted[0].client);
		pool_stop();
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pool");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_that_is_wanted_is_done);
	tcase_add_test(tc, one_client_has_its_share_and_no_more);
	tcase_add_test(tc, many_that_want_much_leave_threads_for_another);
	tcase_add_test(tc, who_leaves_is_not_run_any_more);
	tcase_add_test(tc, it_can_be_stopped_and_used_again);
	return suite_run("pool", tc);
}
