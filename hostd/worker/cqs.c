// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CQs that a worker looks after
 *
 * Dirty ones got completions in this pass, at whose end the guest's wish for an
 * event is looked at. Blocked ones hold completions back until the guest makes room.
 */
#include <stdlib.h>

#include "vm/cq.h"
#include "lib/log.h"
#include "session/session.h"
#include "worker/private.h"

void worker_flush_dirty(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < worker->num_dirty; i++)
		cq_notify(worker->dirty[i]);
	worker->num_dirty = 0;
}

void worker_cq_dirty(struct worker *worker, struct cq *cq)
{
	if (worker->num_dirty == WORKER_DIRTY_MAX)
		worker_flush_dirty(worker);
	worker->dirty[worker->num_dirty++] = cq;
}

void worker_cq_blocked(struct cq *cq)
{
	struct worker *worker = cq->session->worker;
	struct cq **blocked;

	pthread_mutex_lock(&worker->blocked_lock);
	if (cq->listed)
		goto unlock;
	if (worker->num_blocked == worker->max_blocked) {
		blocked = realloc(worker->blocked, (worker->max_blocked + 64) * sizeof(*blocked));
		if (!blocked) {
			/* The next completion of this CQ tries again. */
			g_warning("no memory to look after a full CQ");
			goto unlock;
		}
		worker->blocked = blocked;
		worker->max_blocked += 64;
	}
	worker->blocked[worker->num_blocked++] = cq;
	cq->listed = true;
	if (!pthread_equal(pthread_self(), worker->thread))
		worker_wake(worker);
unlock:
	pthread_mutex_unlock(&worker->blocked_lock);
}

void worker_del_cq(struct cq *cq)
{
	struct worker *worker = cq->session->worker;
	unsigned int i;

	pthread_mutex_lock(&worker->blocked_lock);
	for (i = 0; cq->listed && i < worker->num_blocked; i++) {
		if (worker->blocked[i] != cq)
			continue;
		worker->blocked[i] = worker->blocked[--worker->num_blocked];
		cq->listed = false;
	}
	pthread_mutex_unlock(&worker->blocked_lock);
}

void worker_retry_blocked(struct worker *worker)
{
	unsigned int i = 0;

	/* An outdated look only puts the retry off to the next pass. */
	if (!__atomic_load_n(&worker->num_blocked, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&worker->blocked_lock);
	while (i < worker->num_blocked) {
		if (cq_retry(worker->blocked[i])) {
			worker->blocked[i]->listed = false;
			worker->blocked[i] = worker->blocked[--worker->num_blocked];
		} else {
			i++;
		}
	}
	pthread_mutex_unlock(&worker->blocked_lock);
}
