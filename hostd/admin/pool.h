/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for commands that take long, shared by all VMs. They are made when they are
 * needed and end when they are not. Their number is bounded, and no VM can have them all.
 */
#ifndef HOSTD_ADMIN_POOL_H
#define HOSTD_ADMIN_POOL_H

#include <stdbool.h>

#include <urcu/list.h>

#define POOL_THREADS	64 /* in all */
#define POOL_THREADS_VM 8  /* for one VM at a time */

/**
 * struct pool_client - a VM, to the pool
 * @run: carries out one thing that is to be done, or nothing, in a thread of the pool;
 *	may call pool_want()
 * @node, @queued: in the pool's queue
 * @wanted: threads that would have something to do
 * @running: threads it has
 *
 * All but @run is under the pool's lock.
 */
struct pool_client {
	void (*run)(struct pool_client *client);
	struct cds_list_head node;
	bool queued;
	unsigned int wanted;
	unsigned int running;
};

void pool_join(struct pool_client *client, void (*run)(struct pool_client *client));
/* It wants nothing any more. Returns when no thread is in its run(). */
void pool_leave(struct pool_client *client);
/*
 * So many things are to be done. False: it has no thread, and there is none to be had now:
 * the caller does one of them itself and asks again, or one will come later.
 */
bool pool_want(struct pool_client *client, unsigned int wanted);
/* End all threads. No client is left. */
void pool_stop(void);

#endif
