/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Work queue entries: what a request needs, how an entry is filled and how the
 * ring is published. For both ways of posting: post.c and wr.c.
 */
#ifndef __PVHCA_WQE_H__
#define __PVHCA_WQE_H__

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <util/compiler.h>
#include <util/mmio.h>

#include "pvhca.h"
#include "ring.h"

/* By the numbers of enum ibv_qp_type, so that no type needs to be looked up. */
enum {
	PVHCA_ON_RC = 1 << IBV_QPT_RC,
	PVHCA_ON_UC = 1 << IBV_QPT_UC,
	PVHCA_ON_UD = 1 << IBV_QPT_UD,
};

enum {
	PVHCA_USES_REMOTE = 1 << 0, /* remote_addr, rkey */
	PVHCA_USES_IMM = 1 << 1,
	PVHCA_USES_INV = 1 << 2,
	PVHCA_USES_ATOMIC = 1 << 3,
	PVHCA_USES_BIND = 1 << 4,
	PVHCA_MAY_INLINE = 1 << 5,
	PVHCA_NO_DATA = 1 << 6,
	PVHCA_USES_RARE = PVHCA_USES_IMM | PVHCA_USES_INV | PVHCA_USES_ATOMIC |
		PVHCA_USES_BIND,
};

/**
 * struct pvhca_send_op - an opcode
 * @opcode: enum pvhca_wqe_opcode
 * @on: PVHCA_ON_*; 0: not offered
 * @uses: PVHCA_USES_* and the like
 * @segment: bytes before the SGEs
 */
struct pvhca_send_op {
	uint8_t opcode;
	uint8_t on;
	uint8_t uses;
	uint8_t segment;
};

#define PVHCA_SEND_OPS (IBV_WR_SEND_WITH_INV + 1)
extern const struct pvhca_send_op pvhca_send_ops[PVHCA_SEND_OPS];

static inline unsigned int pvhca_transport(enum ibv_qp_type type)
{
	return (unsigned int)type <= IBV_QPT_UD ? 1u << type : 0;
}

/* ---------------------------------- rings --------------------------------- */

static inline bool pvhca_queue_full(const struct pvhca_queue *q, uint32_t pi)
{
	return pi - __atomic_load_n(&q->ci, __ATOMIC_ACQUIRE) >= q->max_wr;
}

/* How many entries may be posted from @pi on. */
static inline uint32_t pvhca_queue_room(const struct pvhca_queue *q,
					uint32_t pi)
{
	return q->max_wr - (pi - __atomic_load_n(&q->ci, __ATOMIC_ACQUIRE));
}

static inline void *pvhca_queue_entry(const struct pvhca_queue *q, uint32_t pi)
{
	return q->entries + ((size_t)(pi & q->mask) << q->log_stride);
}

/**
 * pvhca_commit() - publish the entries of a queue, unlock and announce them
 * @q: locked
 * @pi: behind the last entry; q->pi: there is none
 * @page: of the context
 * @slot: of the queue
 * @doorbell: of the queue
 *
 * Once the entries are published another thread may poll their completions and
 * destroy the queue. It waits for the lock; nothing of the queue may be read once
 * that is given up. So all that announces the work is passed by value. Each thread
 * announces its own work, without a lock, so that an exit to the host holds up
 * nobody else.
 */
static inline void pvhca_commit(struct pvhca_queue *q, uint32_t pi,
				struct pvhca_context_page *page, uint32_t slot,
				void *doorbell)
{
	bool published = pi != q->pi;

	if (likely(published)) {
		q->pi = pi;
		pvhca_store32_release(q->shared_pi, pi);
	}
	pvhca_unlock(&q->lock);
	if (likely(published) && unlikely(pvhca_ring_notify(page, slot)))
		mmio_write32_le(doorbell, 0);
}

/* Under the lock of the send queue. Return: 0 or EINVAL. */
static inline int pvhca_state_may_send(const struct pvhca_qp *qp)
{
	switch (qp->state) {
	case IBV_QPS_RESET:
	case IBV_QPS_INIT:
	case IBV_QPS_RTR:
		return EINVAL;
	default:
		return 0; /* in error states what is posted comes back flushed */
	}
}

/* Under the lock of the send queue. Return: 0, EIO or EINVAL. */
static inline int pvhca_may_post_send(const struct pvhca_qp *qp)
{
	return pvhca_alive(qp->ctx->page) ? pvhca_state_may_send(qp) : EIO;
}

/* --------------------------------- entries -------------------------------- */

/* All of enum ibv_send_flags but IBV_SEND_INLINE, which a request may do without. */
static inline uint8_t pvhca_wqe_flags(unsigned int send_flags)
{
	/* Bits 1 and 2 stand one place higher than in the entry, bit 0 two lower. */
	_Static_assert(IBV_SEND_SIGNALED == PVHCA_WQE_F_SIGNALED << 1 &&
			       IBV_SEND_SOLICITED ==
				       PVHCA_WQE_F_SOLICITED << 1 &&
			       IBV_SEND_FENCE << 2 == PVHCA_WQE_F_FENCE,
		       "flags are moved, not looked up");
	return (send_flags & (IBV_SEND_SIGNALED | IBV_SEND_SOLICITED)) >> 1 |
		(send_flags & IBV_SEND_FENCE) << 2;
}

/* Begins an entry; fields that are not written later are 0. */
static inline void pvhca_wqe_start(struct pvhca_sq_wqe *wqe,
				   const struct pvhca_qp *qp, uint8_t opcode,
				   unsigned int send_flags)
{
	memset(wqe, 0, sizeof(*wqe));
	wqe->opcode = opcode;
	wqe->flags = pvhca_wqe_flags(send_flags) |
		(qp->sq_sig_all ? PVHCA_WQE_F_SIGNALED : 0);
}

static inline void pvhca_wqe_set_remote(struct pvhca_sq_wqe *wqe, uint64_t addr,
					uint32_t rkey)
{
	wqe->remote_addr = htole64(addr);
	wqe->rkey = htole32(rkey);
}

static inline void pvhca_wqe_set_ud(struct pvhca_sq_wqe *wqe, struct ibv_ah *ah,
				    uint32_t qpn, uint32_t qkey)
{
	wqe->ah = htole32(to_pvhca_ah(ah)->ah);
	wqe->remote_qpn = htole32(qpn);
	wqe->remote_qkey = htole32(qkey);
}

static inline void pvhca_wqe_set_atomic(void *to, uint64_t compare_add,
					uint64_t swap)
{
	struct pvhca_atomic_seg *seg = to;

	seg->compare_add = htole64(compare_add);
	seg->swap = htole64(swap);
}

/*
 * @rkey: the window's new one.
 * Return: 0, or EINVAL for a region that has no handle to name it by. A bind of
 * nothing, with or without region, takes away the memory that the window had.
 */
static inline int pvhca_wqe_set_bind(void *to, struct ibv_mw *ibmw,
				     uint32_t rkey,
				     const struct ibv_mw_bind_info *info)
{
	struct pvhca_bind_seg *seg = to;
	uint32_t mr_handle = 0;

	if (info->mr) {
		if (!to_pvhca_mr(info->mr)->bindable)
			return EINVAL;
		mr_handle = to_pvhca_mr(info->mr)->handle;
	} else if (info->addr || info->length) {
		return EINVAL;
	}

	seg->addr = htole64(info->addr);
	seg->length = htole64(info->length);
	seg->mr_handle = htole32(mr_handle);
	seg->mw_handle = htole32(to_pvhca_mw(ibmw)->handle);
	seg->rkey = htole32(rkey);
	seg->access = htole32(info->mw_access_flags);
	return 0;
}

static inline void pvhca_write_sge(struct pvhca_sge *to,
				   const struct ibv_sge *from)
{
	to->addr = htole64(from->addr);
	to->length = htole32(from->length);
	to->lkey = htole32(from->lkey);
}

static inline void pvhca_write_sges(void *to, const struct ibv_sge *list,
				    size_t num)
{
	struct pvhca_sge *sge = to;

	for (; num; num--)
		pvhca_write_sge(sge++, list++);
}

/* SGEs that fit into an entry of the operation. */
static inline uint32_t pvhca_max_sge(const struct pvhca_queue *sq,
				     const struct pvhca_send_op *op)
{
	uint32_t room, max;

	if (op->uses & PVHCA_NO_DATA)
		return 0;
	/* Entries have room for max_sge, and a segment takes some of it. */
	if (likely(!op->segment))
		return sq->max_sge;
	room = (1u << sq->log_stride) - PVHCA_SQ_WQE_DATA - op->segment;
	max = room / sizeof(struct pvhca_sge);
	return max < sq->max_sge ? max : sq->max_sge;
}

/**
 * pvhca_add_inline() - append inline data to those of an entry
 * @to: where inline data go
 * @max: bytes that fit there
 * @len: bytes that are there
 *
 * Return: whether there was room.
 */
static inline bool pvhca_add_inline(uint8_t *to, uint32_t max, uint32_t *len,
				    const void *addr, size_t length)
{
	if (length > max - *len)
		return false;
	if (length)
		memcpy(to + *len, addr, length);
	*len += length;
	return true;
}

static inline void pvhca_wqe_set_inline(struct pvhca_sq_wqe *wqe, uint32_t len)
{
	wqe->flags |= PVHCA_WQE_F_INLINE;
	wqe->num_sge = 0;
	wqe->inline_len = htole32(len);
}

#endif /* __PVHCA_WQE_H__ */
