/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing completions into guests' CQs, and the events for them.
 */
#ifndef HOSTD_VM_CQ_H
#define HOSTD_VM_CQ_H

#include "vm/objects.h"

struct pass;

/* Set up and tear down the ring part of a CQ whose buffer, log_entries and ceq are set. 0 or a negative errno. */
int cq_init(struct cq *cq);
void cq_fini(struct cq *cq);

/*
 * A QP that can have n completions outstanding begins and ends to use the CQ.
 * 0 or -ENOMEM. The session's thread.
 */
int cq_reserve(struct cq *cq, uint32_t n);
void cq_unreserve(struct cq *cq, uint32_t n);

/*
 * Write a completion, or keep it until the guest makes room. cqe->flags without the phase
 * bit. solicited: the sender asked for an event. In a pass, which looks at the guest's
 * request for an event at the end of its pass. Returns false when the guest has more work
 * outstanding than its queues hold (it broke the protocol): its QP is to be stopped.
 */
bool cq_push(struct pass *pass, struct cq *cq, const struct pvhca_cqe *cqe, bool solicited);

/* Of a completion, little endian: CLOCK_MONOTONIC in ns, or 0 if the CQ has no timestamps. */
uint64_t cq_timestamp(const struct cq *cq);

/* After a batch: raise the event if the guest asked for one. */
void cq_notify(struct cq *cq);

/*
 * Try to deliver what is held back. True when nothing is left. In a worker.
 */
bool cq_retry(struct cq *cq);

/*
 * Go on in another buffer (struct pvhca_cmd_resize_cq); *old is the one of before, which
 * nobody uses any more and the caller frees. PVHCA_ST_INVALID: what the guest has not
 * polled does not fit; all is as before.
 */
int cq_resize(struct cq *cq, struct ring_buffer *buffer, uint32_t log_entries,
	      struct ring_buffer **old);

/* Drop what is held back for a QP that is being reset or destroyed. */
void cq_forget(struct cq *cq, uint32_t qpn);

#endif
