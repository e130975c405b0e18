/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Completion queue entries: taking the next one, retiring the work it stands for,
 * and what its fields mean. For both ways of polling: poll.c and cq_ex.c.
 */
#ifndef __PVHCA_CQE_H__
#define __PVHCA_CQE_H__

#include <endian.h>

#include <ccan/array_size.h>
#include <util/compiler.h>
#include <util/mmio.h>

#include "pvhca.h"
#include "ring.h"

/* In place of the QP number: the QP is gone, nobody wants this completion. */
#define PVHCA_QPN_SKIP 0xffffffffu

static inline struct pvhca_cqe *pvhca_cq_entry(const struct pvhca_cq *cq,
					       uint32_t ci)
{
	return &cq->entries[ci & ((1u << cq->log_entries) - 1)];
}

static inline struct pvhca_qp *pvhca_cq_find_qp(struct pvhca_cq *cq,
						uint32_t qpn)
{
	struct pvhca_qp *qp = cq->last_qp;

	if (likely(qp && qp->vqp.qp.qp_num == qpn))
		return qp;
	if (qpn == PVHCA_QPN_SKIP)
		return NULL;
	qp = pvhca_qp_table_find(&cq->ctx->qp_table, qpn);
	if (qp)
		cq->last_qp = qp;
	return qp;
}

/*
 * Has this thread locked the CQ by ibv_start_poll()? Then it may make and destroy
 * QPs before it ends the poll. Others may change the word meanwhile, but only this
 * thread writes its own name.
 */
static inline bool pvhca_cq_polled_by_me(const struct pvhca_cq *cq)
{
	return __atomic_load_n(&cq->poller, __ATOMIC_RELAXED) ==
		(uintptr_t)pthread_self();
}

static inline void pvhca_cq_set_poller(struct pvhca_cq *cq, uintptr_t thread)
{
	__atomic_store_n(&cq->poller, thread, __ATOMIC_RELAXED);
}

/* Takes the next completion that somebody wants. CQ is locked. */
static inline bool pvhca_cq_next(struct pvhca_cq *cq,
				 struct pvhca_completion *c)
{
	const struct pvhca_cqe *cqe;

	for (;;) {
		cqe = pvhca_cq_entry(cq, cq->ci);
		if (!pvhca_cqe_valid(cqe, cq->ci, cq->log_entries, &c->word))
			return false;
		cq->ci++;
		c->cqe = cqe;
		c->qp = pvhca_cq_find_qp(cq, le32toh(cqe->qpn));
		if (likely(c->qp))
			return true;
	}
}

/* Gives the host the entries below ci back, and tells it if it waits for them. */
static inline void pvhca_cq_release(struct pvhca_cq *cq)
{
	pvhca_store32_release(&cq->header->ci, cq->ci);
	if (unlikely(pvhca_load32(&cq->header->flags) & PVHCA_CQ_F_BLOCKED))
		mmio_write32_le(cq->doorbell, 0);
}

/*
 * The wr_id of the entry at @place, which is retired with all before it:
 * unsignaled sends have no completion of their own.
 */
static inline uint64_t pvhca_retire(struct pvhca_queue *q, uint32_t place)
{
	uint32_t ci = q->ci;
	uint64_t wr_id;

	place &= q->mask;
	wr_id = q->wrid[place];
	ci += ((place - ci) & q->mask) + 1;
	__atomic_store_n(&q->ci, ci, __ATOMIC_RELEASE);
	return wr_id;
}

/* The wr_id of the receive with @tag, which may be used for another one then. */
static inline uint64_t pvhca_srq_retire(struct pvhca_srq *srq, uint16_t tag)
{
	uint64_t wr_id;

	tag &= srq->q.mask;
	pvhca_lock(&srq->q.lock);
	wr_id = srq->q.wrid[tag];
	if (likely(srq->num_free < srq->q.max_wr))
		srq->free_tags[srq->num_free++] = tag;
	pvhca_unlock(&srq->q.lock);
	return wr_id;
}

static inline bool pvhca_cqe_is_recv(uint32_t word)
{
	return PVHCA_CQE_WORD_OPCODE(word) >= PVHCA_CQE_RECV;
}

/* Retires the work of a completion; to be called once. Return: its wr_id. */
static inline uint64_t pvhca_complete(const struct pvhca_completion *c)
{
	uint16_t index = le16toh(c->cqe->wqe_index);
	struct pvhca_qp *qp = c->qp;

	if (!pvhca_cqe_is_recv(c->word))
		return pvhca_retire(&qp->sq, index);
	if (unlikely(qp->vqp.qp.srq))
		return pvhca_srq_retire(to_pvhca_srq(qp->vqp.qp.srq), index);
	return pvhca_retire(&qp->rq, index);
}

/* ---------------------------------- fields -------------------------------- */

static inline enum ibv_wc_status
pvhca_wc_status(const struct pvhca_completion *c)
{
	return (enum ibv_wc_status)PVHCA_CQE_WORD_STATUS(c->word);
}

static inline bool pvhca_wc_ok(const struct pvhca_completion *c)
{
	return likely(PVHCA_CQE_WORD_STATUS(c->word) == IBV_WC_SUCCESS);
}

/* A status other than success, or a flag that stands for a field. */
#define PVHCA_CQE_WORD_TELLS                                             \
	(0xffu << 8 |                                                    \
	 (uint32_t)(PVHCA_CQE_F_GRH | PVHCA_CQE_F_IMM | PVHCA_CQE_F_INV) \
		 << 24)

/* It succeeded, and has nothing to tell that most have not. */
static inline bool pvhca_wc_plain(const struct pvhca_completion *c)
{
	return likely(!(c->word & PVHCA_CQE_WORD_TELLS));
}

static inline enum ibv_wc_opcode
pvhca_wc_opcode(const struct pvhca_completion *c)
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
	unsigned int opcode = PVHCA_CQE_WORD_OPCODE(c->word);

	return opcode < ARRAY_SIZE(ops) ? ops[opcode] : IBV_WC_SEND;
}

static inline unsigned int pvhca_wc_flags(const struct pvhca_completion *c)
{
	unsigned int flags = PVHCA_CQE_WORD_FLAGS(c->word);
	unsigned int wc_flags = 0;

	if (!pvhca_wc_ok(c))
		return 0;
	if (flags & PVHCA_CQE_F_GRH)
		wc_flags |= IBV_WC_GRH;
	if (flags & PVHCA_CQE_F_IMM)
		wc_flags |= IBV_WC_WITH_IMM;
	else if (flags & PVHCA_CQE_F_INV)
		wc_flags |= IBV_WC_WITH_INV;
	return wc_flags;
}

/* Immediate data, big endian, or invalidated rkey, in the byte order of the CPU. */
static inline __be32 pvhca_wc_imm_data(const struct pvhca_completion *c)
{
	unsigned int flags = pvhca_wc_flags(c);

	if (flags & IBV_WC_WITH_IMM)
		return c->cqe->imm_data;
	if (flags & IBV_WC_WITH_INV)
		return (__force __be32)le32toh(c->cqe->inv_rkey);
	return 0;
}

static inline uint32_t pvhca_wc_byte_len(const struct pvhca_completion *c)
{
	return pvhca_wc_ok(c) ? le32toh(c->cqe->byte_len) : 0;
}

static inline uint32_t pvhca_wc_vendor_err(const struct pvhca_completion *c)
{
	return pvhca_wc_ok(c) ? 0 : le32toh(c->cqe->vendor_err);
}

#endif /* __PVHCA_CQE_H__ */
