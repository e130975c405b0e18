/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The queue pair that was served last, looked at itself
 *
 * A guest announces work by bits in its context's page (rdma/pvhca-ring.h). To see the bits,
 * to take them, and then to read the queue's index are three to four trips of a line of the
 * cache, one after the other. Work mostly comes where work came last. So for a while after a
 * queue pair was served the worker reads its indexes in each pass, which is one trip, and
 * leaves its bit alone: the guest sees the bit set, and need not write it either.
 *
 * The bits stay the truth. No worker sleeps while one is set, all are taken when nothing new
 * came for RECENT_NS, and at once if others are set besides or a command waits for that
 * (worker_settle()). Where an engine takes receives this is not done: there the bits also
 * order receives and sends.
 */
#ifndef HOSTD_WORKER_RECENT_H
#define HOSTD_WORKER_RECENT_H

#include "lib/clock.h"
#include "vm/objects.h"

#define RECENT_NS (10 * NS_PER_US)

static inline uint32_t recent_index(const struct work_queue *queue)
{
	return queue->entries ? work_queue_index_posted(queue) : 0;
}

/* A queue pair is about to be served: what is posted from here on is new. Its lock is held. */
static inline void recent_note(struct context *context, const struct qp *qp, uint64_t now)
{
	struct recent *recent = &context->recent;

	recent->slot = qp->slot;
	recent->sq_pi = recent_index(&qp->sq);
	recent->rq_pi = recent_index(&qp->rq);
	recent->until_ns = now + RECENT_NS;
	context->watched = true;
}

/* Was something posted on it? It is watched. */
static inline bool recent_has_news(struct context *context, uint64_t now)
{
	const struct recent *recent = &context->recent;
	const struct qp *qp = context_qp(context, recent->slot);

	if (qp &&
	    (recent_index(&qp->sq) != recent->sq_pi || recent_index(&qp->rq) != recent->rq_pi))
		return true;
	if (!qp || now >= recent->until_ns)
		context->watched = false;
	return false;
}

/* Nothing is announced but what is watched already. */
static inline bool recent_is_all(struct context *context)
{
	const struct shared_slots pending = context_pending_slots(context);
	const uint32_t slot = context->recent.slot;
	uint64_t bits = le64toh(atomic_load_explicit(pending.summary, memory_order_relaxed));

	if (bits != 1ull << slot / 64)
		return false;
	bits = le64toh(atomic_load_explicit(&pending.words[slot / 64], memory_order_relaxed));
	return bits == 1ull << slot % 64 &&
		!atomic_load_explicit(&context->settling, memory_order_relaxed);
}

#endif
