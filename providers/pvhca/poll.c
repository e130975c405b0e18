// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Polling, arming, locking and cleaning completion queues.
 */
#include <errno.h>

#include "cqe.h"

/* Until the resize is over; the CQ is locked, but not meanwhile. */
static void wait_resized(struct pvhca_cq *cq)
{
	while (cq->resizing) {
		pvhca_unlock(&cq->lock);
		pthread_mutex_lock(&cq->resize_lock);
		pthread_mutex_unlock(&cq->resize_lock);
		pvhca_lock(&cq->lock);
	}
}

/* Locks a CQ for its ring; a thread that resizes it has set resizing instead. */
void pvhca_lock_cq(struct pvhca_cq *cq)
{
	pvhca_lock(&cq->lock);
	if (unlikely(cq->resizing))
		wait_resized(cq);
}

void pvhca_unlock_cq(struct pvhca_cq *cq)
{
	pvhca_unlock(&cq->lock);
}

static inline void fill_wc(struct ibv_wc *wc, const struct pvhca_completion *c)
{
	wc->wr_id = pvhca_complete(c);
	wc->opcode = pvhca_wc_opcode(c);
	if (pvhca_wc_plain(c)) {
		wc->status = IBV_WC_SUCCESS;
		wc->vendor_err = 0;
		wc->byte_len = le32toh(c->cqe->byte_len);
		wc->imm_data = 0;
		wc->wc_flags = 0;
	} else {
		wc->status = pvhca_wc_status(c);
		wc->vendor_err = pvhca_wc_vendor_err(c);
		wc->byte_len = pvhca_wc_byte_len(c);
		wc->imm_data = pvhca_wc_imm_data(c);
		wc->wc_flags = pvhca_wc_flags(c);
	}
	wc->qp_num = c->qp->vqp.qp.qp_num;
	wc->src_qp = le32toh(c->cqe->src_qp);
	wc->pkey_index = le16toh(c->cqe->pkey_index);
	wc->slid = 0;
	wc->sl = PVHCA_CQE_WORD_SL(c->word);
	wc->dlid_path_bits = 0;
}

/**
 * pvhca_poll_cq() - ibv_poll_cq(3)
 *
 * Return: number of completions; -EIO for an empty queue of a device that is
 * gone, so that nobody polls it for ever.
 */
int pvhca_poll_cq(struct ibv_cq *ibcq, int num_entries, struct ibv_wc *wc)
{
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	const struct pvhca_context_page *page = cq->ctx->page;
	struct pvhca_completion c;
	uint32_t first;
	int n = 0;

	pvhca_lock_cq(cq);
	first = cq->ci;
	while (n < num_entries && pvhca_cq_next(cq, &c))
		fill_wc(&wc[n++], &c);
	if (cq->ci != first)
		pvhca_cq_release(cq);
	pvhca_unlock_cq(cq);

	if (n == 0 && !pvhca_alive(page))
		return -EIO;
	return n;
}

/**
 * pvhca_req_notify_cq() - ibv_req_notify_cq(3)
 *
 * The barrier pairs with that of pvhcad between writing an entry and reading
 * the counts: either pvhcad sees the request, or the caller's next poll sees
 * the entry. Another thread may have got the event and destroyed the CQ as soon
 * as it is unlocked.
 *
 * Return: 0, or EIO when the device is gone.
 */
int pvhca_req_notify_cq(struct ibv_cq *ibcq, int solicited_only)
{
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	const struct pvhca_context_page *page = cq->ctx->page;
	__le32 *count;

	pvhca_lock_cq(cq);
	count = solicited_only ? &cq->header->arm_solicited :
				 &cq->header->arm_any;
	pvhca_store32(count, pvhca_load32(count) + 1);
	pvhca_full_barrier();
	pvhca_unlock_cq(cq);

	return pvhca_alive(page) ? 0 : EIO;
}

/**
 * pvhca_cq_clean() - make a CQ forget a QP
 * @cq: locked by the caller
 * @qp: for which the host writes no more completions
 *
 * Its completions stay where they are, marked to be skipped; receives of an SRQ
 * that they stand for are retired, as the SRQ outlives the QP. The walk ends at the first entry
 * that is not valid, a lap later at the latest.
 */
void pvhca_cq_clean(struct pvhca_cq *cq, struct pvhca_qp *qp)
{
	struct pvhca_completion c = { .qp = qp };
	struct pvhca_cqe *cqe;
	uint32_t i;

	if (cq->last_qp == qp)
		cq->last_qp = NULL;
	for (i = cq->ci;; i++) {
		cqe = pvhca_cq_entry(cq, i);
		if (!pvhca_cqe_valid(cqe, i, cq->log_entries, &c.word))
			break;
		if (le32toh(cqe->qpn) != qp->vqp.qp.qp_num)
			continue;
		c.cqe = cqe;
		if (qp->vqp.qp.srq && pvhca_cqe_is_recv(c.word))
			pvhca_complete(&c);
		cqe->qpn = htole32(PVHCA_QPN_SKIP);
	}
}

/* Not if this thread has locked it already: see pvhca_cq_polled_by_me(). */
static void lock_one(struct pvhca_cq *cq)
{
	if (!pvhca_cq_polled_by_me(cq))
		pvhca_lock(&cq->lock);
}

static void unlock_one(struct pvhca_cq *cq)
{
	if (!pvhca_cq_polled_by_me(cq))
		pvhca_unlock(&cq->lock);
}

/* Locks the CQs of a QP, which may be one and the same, in the order of address. */
static void lock_both(struct pvhca_cq *a, struct pvhca_cq *b)
{
	if (a == b) {
		lock_one(a);
	} else if ((uintptr_t)a < (uintptr_t)b) {
		lock_one(a);
		lock_one(b);
	} else {
		lock_one(b);
		lock_one(a);
	}
}

/* The same for their rings: neither is being resized then. */
void pvhca_lock_cqs(struct pvhca_cq *a, struct pvhca_cq *b)
{
	struct pvhca_cq *busy;

	for (;;) {
		lock_both(a, b);
		if (likely(!a->resizing && !b->resizing))
			return;
		busy = a->resizing ? a : b;
		pvhca_unlock_cqs(a, b);
		pthread_mutex_lock(&busy->resize_lock);
		pthread_mutex_unlock(&busy->resize_lock);
	}
}

void pvhca_unlock_cqs(struct pvhca_cq *a, struct pvhca_cq *b)
{
	unlock_one(a);
	if (a != b)
		unlock_one(b);
}
