// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Polling, arming and cleaning completion queues.
 */
#include <endian.h>
#include <errno.h>

#include <ccan/array_size.h>
#include <util/compiler.h>
#include <util/mmio.h>

#include "pvhca.h"
#include "ring.h"

/* In place of the QP number: the QP is gone, nobody wants this completion. */
#define QPN_SKIP 0xffffffffu

static struct pvhca_cqe *cq_entry(const struct pvhca_cq *cq, uint32_t ci)
{
	return &cq->entries[ci & ((1u << cq->log_entries) - 1)];
}

static struct pvhca_qp *find_qp(struct pvhca_cq *cq, uint32_t qpn)
{
	struct pvhca_qp *qp = cq->last_qp;

	if (likely(qp && qp->vqp.qp.qp_num == qpn))
		return qp;
	if (qpn == QPN_SKIP)
		return NULL;
	qp = pvhca_qp_table_find(&cq->ctx->qp_table, qpn);
	if (qp)
		cq->last_qp = qp;
	return qp;
}

/*
 * The wr_id of the entry at @place, which is retired with all before it:
 * unsignaled sends have no completion of their own.
 */
static uint64_t retire(struct pvhca_queue *q, uint32_t place)
{
	uint32_t ci = q->ci;
	uint64_t wr_id;

	place &= q->mask;
	wr_id = q->wrid[place];
	ci += ((place - ci) & q->mask) + 1;
	__atomic_store_n(&q->ci, ci, __ATOMIC_RELEASE);
	return wr_id;
}

static enum ibv_wc_opcode wc_opcode(unsigned int opcode)
{
	static const enum ibv_wc_opcode ops[] = {
		[PVHCA_CQE_SEND] = IBV_WC_SEND,
		[PVHCA_CQE_WRITE] = IBV_WC_RDMA_WRITE,
		[PVHCA_CQE_READ] = IBV_WC_RDMA_READ,
		[PVHCA_CQE_COMP_SWAP] = IBV_WC_COMP_SWAP,
		[PVHCA_CQE_FETCH_ADD] = IBV_WC_FETCH_ADD,
		[PVHCA_CQE_BIND_MW] = IBV_WC_BIND_MW,
		[PVHCA_CQE_LOCAL_INV] = IBV_WC_LOCAL_INV,
		[PVHCA_CQE_RECV] = IBV_WC_RECV,
		[PVHCA_CQE_RECV_WRITE_IMM] = IBV_WC_RECV_RDMA_WITH_IMM,
	};

	return opcode < ARRAY_SIZE(ops) ? ops[opcode] : IBV_WC_SEND;
}

static void fill_wc(struct ibv_wc *wc, const struct pvhca_cqe *cqe,
		    uint32_t word, struct pvhca_qp *qp)
{
	unsigned int opcode = PVHCA_CQE_WORD_OPCODE(word);
	unsigned int status = PVHCA_CQE_WORD_STATUS(word);
	unsigned int flags = PVHCA_CQE_WORD_FLAGS(word);
	bool recv = opcode >= PVHCA_CQE_RECV;

	wc->wr_id = retire(recv ? &qp->rq : &qp->sq, le16toh(cqe->wqe_index));
	wc->qp_num = qp->vqp.qp.qp_num;
	wc->opcode = wc_opcode(opcode);
	wc->vendor_err = 0;
	wc->byte_len = 0;
	wc->imm_data = 0;
	wc->wc_flags = 0;
	wc->src_qp = le32toh(cqe->src_qp);
	wc->pkey_index = le16toh(cqe->pkey_index);
	wc->slid = 0;
	wc->sl = PVHCA_CQE_WORD_SL(word);
	wc->dlid_path_bits = 0;

	if (unlikely(status != IBV_WC_SUCCESS)) {
		wc->status = status;
		wc->vendor_err = le32toh(cqe->vendor_err);
		return;
	}

	wc->status = IBV_WC_SUCCESS;
	wc->byte_len = le32toh(cqe->byte_len);
	if (flags & PVHCA_CQE_F_GRH)
		wc->wc_flags |= IBV_WC_GRH;
	if (flags & PVHCA_CQE_F_IMM) {
		wc->wc_flags |= IBV_WC_WITH_IMM;
		wc->imm_data = cqe->imm_data;
	} else if (flags & PVHCA_CQE_F_INV) {
		wc->wc_flags |= IBV_WC_WITH_INV;
		wc->invalidated_rkey = le32toh(cqe->inv_rkey);
	}
}

/* Gives the host the entries below ci back, and tells it if it waits for them. */
static void release_entries(struct pvhca_cq *cq)
{
	pvhca_store32_release(&cq->header->ci, cq->ci);
	if (unlikely(pvhca_load32(&cq->header->flags) & PVHCA_CQ_F_BLOCKED))
		mmio_write32_le(cq->doorbell, 0);
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
	struct pvhca_cqe *cqe;
	struct pvhca_qp *qp;
	uint32_t first;
	uint32_t word;
	int n = 0;

	pthread_spin_lock(&cq->lock);
	first = cq->ci;
	while (n < num_entries) {
		cqe = cq_entry(cq, cq->ci);
		if (!pvhca_cqe_valid(cqe, cq->ci, cq->log_entries, &word))
			break;
		cq->ci++;
		qp = find_qp(cq, le32toh(cqe->qpn));
		if (likely(qp))
			fill_wc(&wc[n++], cqe, word, qp);
	}
	if (cq->ci != first)
		release_entries(cq);
	pthread_spin_unlock(&cq->lock);

	if (n == 0 && !pvhca_alive(cq->ctx->page))
		return -EIO;
	return n;
}

/**
 * pvhca_req_notify_cq() - ibv_req_notify_cq(3)
 *
 * The barrier pairs with that of pvhcad between writing an entry and reading
 * the counts: either pvhcad sees the request, or the caller's next poll sees
 * the entry.
 *
 * Return: 0, or EIO when the device is gone.
 */
int pvhca_req_notify_cq(struct ibv_cq *ibcq, int solicited_only)
{
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	__le32 *count = solicited_only ? &cq->header->arm_solicited :
					 &cq->header->arm_any;

	pthread_spin_lock(&cq->lock);
	pvhca_store32(count, pvhca_load32(count) + 1);
	pvhca_full_barrier();
	pthread_spin_unlock(&cq->lock);

	return pvhca_alive(cq->ctx->page) ? 0 : EIO;
}

/**
 * pvhca_cq_clean() - make a CQ forget a QP
 * @cq: locked by the caller, or NULL
 * @qpn: of a QP for which the host writes no more completions
 *
 * Its completions stay where they are, marked to be skipped. The walk ends at
 * the first entry that is not valid, a lap later at the latest.
 */
void pvhca_cq_clean(struct pvhca_cq *cq, uint32_t qpn)
{
	struct pvhca_cqe *cqe;
	uint32_t word;
	uint32_t i;

	if (!cq)
		return;
	if (cq->last_qp && cq->last_qp->vqp.qp.qp_num == qpn)
		cq->last_qp = NULL;
	for (i = cq->ci;; i++) {
		cqe = cq_entry(cq, i);
		if (!pvhca_cqe_valid(cqe, i, cq->log_entries, &word))
			break;
		if (le32toh(cqe->qpn) == qpn)
			cqe->qpn = htole32(QPN_SKIP);
	}
}

/* Locks the CQs of a QP, which may be one and the same, in the order of address. */
void pvhca_lock_cqs(struct pvhca_cq *a, struct pvhca_cq *b)
{
	if (a == b) {
		pthread_spin_lock(&a->lock);
	} else if ((uintptr_t)a < (uintptr_t)b) {
		pthread_spin_lock(&a->lock);
		pthread_spin_lock(&b->lock);
	} else {
		pthread_spin_lock(&b->lock);
		pthread_spin_lock(&a->lock);
	}
}

void pvhca_unlock_cqs(struct pvhca_cq *a, struct pvhca_cq *b)
{
	pthread_spin_unlock(&a->lock);
	if (a != b)
		pthread_spin_unlock(&b->lock);
}
