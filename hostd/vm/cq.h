/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing completions into guests' CQs, and the events for them.
 */
#ifndef HOSTD_VM_CQ_H
#define HOSTD_VM_CQ_H

#include <endian.h>

#include "lib/clock.h"
#include "rdma/pvhca-abi.h"
#include "vm/objects.h"

struct pass;

/*
 * Set up and tear down the ring part of a CQ. Its buffer, log_entries and ceq are set.
 * cq_init: 0 or a negative errno.
 */
int cq_init(struct cq *cq);
void cq_fini(struct cq *cq);

/*
 * A QP begins, and ends, to use the CQ. It can have n completions outstanding. Returns 0
 * or -ENOMEM. The session's thread.
 */
int cq_reserve(struct cq *cq, uint32_t n);
void cq_unreserve(struct cq *cq, uint32_t n);

/*
 * Write a completion, or keep it until the guest makes room. held: the queue's, which it is of,
 * qp->send_held or recv_held. cqe->flags is without the
 * phase bit. solicited: the sender asked for an event. The turn looks at its end whether
 * the guest wants an event. Returns false when the guest has more work outstanding than
 * its queues hold: it broke the protocol, and the caller stops its QP.
 */
bool cq_push(struct pass *pass, struct cq *cq, struct cq_held *held, const struct pvhca_cqe *cqe,
	     bool solicited);

/* The sender asked for an event; in cqe->flags of cq_push_many(), and never seen by the guest. */
#define CQ_F_SOLICITED (1 << 6)

/* Likewise several of one queue, in order. False: not all of them could be kept. */
bool cq_push_many(struct pass *pass, struct cq *cq, struct cq_held *held,
		  const struct pvhca_cqe *cqes, unsigned int count);

/* The timestamp of a completion, little endian: CLOCK_MONOTONIC in ns, or 0 if the CQ has none. */
static inline uint64_t cq_timestamp(const struct cq *cq)
{
	return cq->flags & PVHCA_CREATE_CQ_TIMESTAMPS ? htole64(clock_ns()) : 0;
}

/*
 * After a batch: raise the event if the guest asked for one. pass: that of a worker, and the interrupt comes
 * when the turn ends; NULL: at once.
 */
void cq_notify(struct pass *pass, struct cq *cq);

/*
 * Try to deliver the completions that are held back, as many as the turn allows. True when none
 * is left. In a worker.
 */
bool cq_retry(struct pass *pass, struct cq *cq);

/*
 * Go on in another buffer (struct pvhca_cmd_resize_cq). The session's thread. *old is the buffer of before: it
 * is not used any more, and the caller frees it. PVHCA_ST_INVALID: the entries that the
 * guest has not polled do not fit, and all is as before.
 */
int cq_resize(struct cq *cq, struct ring_buffer *buffer, uint32_t log_entries,
	      struct ring_buffer **old);

/*
 * A QP is being reset or destroyed: drop the completions that one of its queues holds back.
 * However many there are, the CQ's lock is held for a moment only.
 */
void cq_forget(struct cq *cq, struct cq_held *held);

#endif
