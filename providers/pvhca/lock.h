/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The lock of a queue: a spin lock, or nothing where the application has promised
 * that one thread at a time uses the queue (thread domain, single-threaded CQ).
 */
#ifndef __PVHCA_LOCK_H__
#define __PVHCA_LOCK_H__

#include <pthread.h>
#include <stdbool.h>

#include <util/compiler.h>

struct pvhca_lock {
	pthread_spinlock_t spin;
	bool one_thread;
};

static inline void pvhca_lock_init(struct pvhca_lock *lock, bool one_thread)
{
	pthread_spin_init(&lock->spin, PTHREAD_PROCESS_PRIVATE);
	lock->one_thread = one_thread;
}

static inline void pvhca_lock(struct pvhca_lock *lock)
{
	if (likely(!lock->one_thread))
		pthread_spin_lock(&lock->spin);
}

static inline void pvhca_unlock(struct pvhca_lock *lock)
{
	if (likely(!lock->one_thread))
		pthread_spin_unlock(&lock->spin);
}

/*
 * Waits until it is free. A thread may still be on its way out of a post or of a
 * request for an event when another thread has seen the completion or the event
 * and destroys the queue. The first does not look at the queue once it unlocked.
 */
static inline void pvhca_lock_destroy(struct pvhca_lock *lock)
{
	pvhca_lock(lock);
	pvhca_unlock(lock);
	pthread_spin_destroy(&lock->spin);
}

#endif /* __PVHCA_LOCK_H__ */
