// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMs that want a thread stand in a queue, each once. A thread takes the first, does one
 * thing for it and puts it at the end again if more is wanted. So VMs are served in turn.
 *
 * A thing may take seconds, so turns alone do not keep threads for others. A VM gets
 * another thread only while it has less than a quarter of what is free. So each VM that
 * takes all it can leaves four fifths of what those before it left, or more. If there is
 * none left at all, a VM's own thread does the work, as pool_want() tells it.
 */
#include "admin/pool.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "lib/log.h"

#define SHARE	     4 /* of free threads for each that a VM has */
#define IDLE_SECONDS 5 /* a thread that has nothing to do for that long ends */

enum seat_state {
	SEAT_FREE,
	SEAT_TAKEN,
	SEAT_LEFT, /* its thread has ended, and is to be joined */
};

/**
 * pool - all under its lock
 * @work: signalled when a client is queued; @left: when a client has a thread less
 * @queued: clients in the queue
 * @threads: that there are; @busy of these are in a run()
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, left;
	struct cds_list_head queue;
	unsigned int queued, threads, busy;
	bool stopping;
	struct {
		pthread_t thread;
		enum seat_state state;
	} seat[POOL_THREADS];
} pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.left = PTHREAD_COND_INITIALIZER,
	.queue = CDS_LIST_HEAD_INIT(pool.queue),
};

/* ------------------------------ the queue; lock held ----------------------- */

static bool may_have_another(const struct pool_client *client)
{
	return !client->running ||
		(client->running < POOL_THREADS_VM &&
		 client->running * SHARE < POOL_THREADS - pool.busy);
}

static void enqueue(struct pool_client *client)
{
	if (client->queued || !client->wanted || !may_have_another(client))
		return;
	cds_list_add_tail(&client->node, &pool.queue);
	client->queued = true;
	pool.queued++;
}

static void dequeue(struct pool_client *client)
{
	cds_list_del(&client->node);
	client->queued = false;
	pool.queued--;
}

/* ------------------------------- a thread ---------------------------------- */

static void *pool_main(void *arg);

/* One more thread. With the lock held. */
static bool start_thread(void)
{
	unsigned int i = 0;

	while (i < POOL_THREADS && pool.seat[i].state == SEAT_TAKEN)
		i++;
	if (i == POOL_THREADS)
		return false;
	if (pool.seat[i].state == SEAT_LEFT)
		pthread_join(pool.seat[i].thread, NULL); /* it only has to return */
	pool.seat[i].state = SEAT_FREE;
	if (pthread_create(&pool.seat[i].thread, NULL, pool_main, &pool.seat[i].state))
		return false;
	pool.seat[i].state = SEAT_TAKEN;
	pool.threads++;
	return true;
}

/* Have the queue looked at. False: all threads are busy. With the lock held. */
static bool find_thread(void)
{
	/* Those that are about to look at the queue, too. */
	unsigned int free = pool.threads - pool.busy;

	pthread_cond_signal(&pool.work);
	return free >= pool.queued || start_thread() || free;
}

/* With the lock held, which is not held in run(). */
static void serve(struct pool_client *client)
{
	dequeue(client);
	client->wanted--;
	client->running++;
	pool.busy++;
	enqueue(client);
	if (pool.queued)
		find_thread();
	pthread_mutex_unlock(&pool.lock);
	client->run(client);
	pthread_mutex_lock(&pool.lock);
	client->running--;
	pool.busy--;
	enqueue(client);
	pthread_cond_broadcast(&pool.left);
}

/* False: the thread is not needed. With the lock held. */
static bool wait_for_work(void)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	while (!pool.queued && !pool.stopping && err != ETIMEDOUT)
		err = pthread_cond_clockwait(&pool.work, &pool.lock, CLOCK_MONOTONIC, &until);
	return pool.queued && !pool.stopping;
}

static void *pool_main(void *arg)
{
	enum seat_state *state = arg;

	pthread_setname_np(pthread_self(), "command");
	pthread_mutex_lock(&pool.lock);
	while (wait_for_work())
		serve(cds_list_first_entry(&pool.queue, struct pool_client, node));
	pool.threads--;
	*state = SEAT_LEFT;
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/* --------------------------------- clients --------------------------------- */

void pool_join(struct pool_client *client, void (*run)(struct pool_client *client))
{
	*client = (struct pool_client){ .run = run };
}

void pool_leave(struct pool_client *client)
{
	pthread_mutex_lock(&pool.lock);
	client->wanted = 0;
	if (client->queued)
		dequeue(client);
	while (client->running)
		pthread_cond_wait(&pool.left, &pool.lock);
	pthread_mutex_unlock(&pool.lock);
}

bool pool_want(struct pool_client *client, unsigned int wanted)
{
	bool served;

	pthread_mutex_lock(&pool.lock);
	client->wanted = wanted;
	enqueue(client);
	served = !client->queued || find_thread() || client->running;
	pthread_mutex_unlock(&pool.lock);
	return served;
}

void pool_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stopping = true;
	pthread_cond_broadcast(&pool.work);
	for (unsigned int i = 0; i < POOL_THREADS; i++) {
		if (pool.seat[i].state == SEAT_FREE)
			continue;
		pthread_mutex_unlock(&pool.lock);
		pthread_join(pool.seat[i].thread, NULL);
		pthread_mutex_lock(&pool.lock);
		pool.seat[i].state = SEAT_FREE;
	}
	pool.stopping = false;
	pthread_mutex_unlock(&pool.lock);
}
