// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting to send and receive queues.
 *
 * A chain of work requests is written entry by entry, published with one store
 * of the producer index and announced once. The first request that cannot be
 * posted ends the chain; what stands before it is posted.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <ccan/array_size.h>
#include <util/compiler.h>
#include <util/mmio.h>

#include "pvhca.h"
#include "ring.h"

enum {
	ON_RC = 1 << 0,
	ON_UC = 1 << 1,
	ON_UD = 1 << 2,
};

enum {
	USES_REMOTE = 1 << 0, /* remote_addr, rkey */
	USES_IMM = 1 << 1,
	USES_INV = 1 << 2,
	USES_ATOMIC = 1 << 3,
	MAY_INLINE = 1 << 4,
	NO_DATA = 1 << 5,
};

struct send_op {
	uint8_t opcode; /* enum pvhca_wqe_opcode */
	uint8_t on; /* 0: not offered */
	uint8_t uses;
};

static const struct send_op send_ops[] = {
	[IBV_WR_SEND] = { PVHCA_WQE_SEND, ON_RC | ON_UC | ON_UD, MAY_INLINE },
	[IBV_WR_SEND_WITH_IMM] = { PVHCA_WQE_SEND_IMM, ON_RC | ON_UC | ON_UD,
				   USES_IMM | MAY_INLINE },
	[IBV_WR_SEND_WITH_INV] = { PVHCA_WQE_SEND_INV, ON_RC,
				   USES_INV | MAY_INLINE },
	[IBV_WR_RDMA_WRITE] = { PVHCA_WQE_WRITE, ON_RC | ON_UC,
				USES_REMOTE | MAY_INLINE },
	[IBV_WR_RDMA_WRITE_WITH_IMM] = { PVHCA_WQE_WRITE_IMM, ON_RC | ON_UC,
					 USES_REMOTE | USES_IMM | MAY_INLINE },
	[IBV_WR_RDMA_READ] = { PVHCA_WQE_READ, ON_RC, USES_REMOTE },
	[IBV_WR_ATOMIC_CMP_AND_SWP] = { PVHCA_WQE_ATOMIC_CMP_SWP, ON_RC,
					USES_ATOMIC },
	[IBV_WR_ATOMIC_FETCH_AND_ADD] = { PVHCA_WQE_ATOMIC_FETCH_ADD, ON_RC,
					  USES_ATOMIC },
	[IBV_WR_LOCAL_INV] = { PVHCA_WQE_LOCAL_INV, ON_RC | ON_UC,
			       USES_INV | NO_DATA },
};

#define SEND_FLAGS                                                             \
	(IBV_SEND_FENCE | IBV_SEND_SIGNALED | IBV_SEND_SOLICITED |             \
	 IBV_SEND_INLINE)

static unsigned int transport(const struct pvhca_qp *qp)
{
	switch (qp->vqp.qp.qp_type) {
	case IBV_QPT_RC:
		return ON_RC;
	case IBV_QPT_UC:
		return ON_UC;
	case IBV_QPT_UD:
		return ON_UD;
	default:
		return 0;
	}
}

static const struct send_op *find_op(const struct pvhca_qp *qp,
				     const struct ibv_send_wr *wr)
{
	const struct send_op *op;

	if ((unsigned int)wr->opcode >= ARRAY_SIZE(send_ops))
		return NULL;
	op = &send_ops[wr->opcode];
	return op->on & transport(qp) ? op : NULL;
}

static bool queue_full(const struct pvhca_queue *q, uint32_t pi)
{
	return pi - __atomic_load_n(&q->ci, __ATOMIC_ACQUIRE) >= q->max_wr;
}

static void *queue_entry(const struct pvhca_queue *q, uint32_t pi)
{
	return q->entries + ((size_t)(pi & q->mask) << q->log_stride);
}

static void write_sges(void *to, const struct ibv_sge *list, int num)
{
	struct pvhca_sge *sge = to;
	int i;

	for (i = 0; i < num; i++) {
		sge[i].addr = htole64(list[i].addr);
		sge[i].length = htole32(list[i].length);
		sge[i].lkey = htole32(list[i].lkey);
	}
}

/* Copies the data of a request; false if they are longer than max. */
static bool write_inline(uint8_t *to, const struct ibv_send_wr *wr,
			 uint32_t max, uint32_t *len)
{
	const struct ibv_sge *sge = wr->sg_list;
	uint32_t n = 0;
	int i;

	for (i = 0; i < wr->num_sge; i++) {
		if (sge[i].length > max - n)
			return false;
		memcpy(to + n, (void *)(uintptr_t)sge[i].addr, sge[i].length);
		n += sge[i].length;
	}
	*len = n;
	return true;
}

static uint8_t wqe_flags(const struct pvhca_qp *qp, const struct ibv_send_wr *wr)
{
	uint8_t flags = 0;

	if (qp->sq_sig_all || wr->send_flags & IBV_SEND_SIGNALED)
		flags |= PVHCA_WQE_F_SIGNALED;
	if (wr->send_flags & IBV_SEND_SOLICITED)
		flags |= PVHCA_WQE_F_SOLICITED;
	if (wr->send_flags & IBV_SEND_FENCE)
		flags |= PVHCA_WQE_F_FENCE;
	if (wr->send_flags & IBV_SEND_INLINE)
		flags |= PVHCA_WQE_F_INLINE;
	return flags;
}

/* Writes the segment of an atomic operation and returns what it takes. */
static size_t write_atomic(uint8_t *to, struct pvhca_sq_wqe *wqe,
			   const struct ibv_send_wr *wr)
{
	struct pvhca_atomic_seg *seg = (struct pvhca_atomic_seg *)to;

	wqe->remote_addr = htole64(wr->wr.atomic.remote_addr);
	wqe->rkey = htole32(wr->wr.atomic.rkey);
	seg->compare_add = htole64(wr->wr.atomic.compare_add);
	seg->swap = wr->opcode == IBV_WR_ATOMIC_CMP_AND_SWP ?
			    htole64(wr->wr.atomic.swap) : 0;
	return sizeof(*seg);
}

static int write_ud(struct pvhca_sq_wqe *wqe, const struct ibv_send_wr *wr)
{
	if (!wr->wr.ud.ah)
		return EINVAL;
	wqe->ah = htole32(to_pvhca_ah(wr->wr.ud.ah)->ah);
	wqe->remote_qpn = htole32(wr->wr.ud.remote_qpn);
	wqe->remote_qkey = htole32(wr->wr.ud.remote_qkey);
	return 0;
}

/* Data or SGE list of a request, behind what seg bytes of a segment take. */
static int write_data(const struct pvhca_qp *qp, struct pvhca_sq_wqe *wqe,
		      uint8_t *to, size_t seg, const struct send_op *op,
		      const struct ibv_send_wr *wr)
{
	size_t room = (1u << qp->sq.log_stride) - PVHCA_SQ_WQE_DATA - seg;
	uint32_t len;

	if ((uint32_t)wr->num_sge > qp->sq.max_sge)
		return EINVAL;

	if (wr->send_flags & IBV_SEND_INLINE) {
		if (!(op->uses & MAY_INLINE) ||
		    !write_inline(to, wr, qp->max_inline, &len))
			return EINVAL;
		wqe->inline_len = htole32(len);
		return 0;
	}

	if (op->uses & NO_DATA)
		return 0;
	if ((uint32_t)wr->num_sge > room / sizeof(struct pvhca_sge))
		return EINVAL;
	write_sges(to + seg, wr->sg_list, wr->num_sge);
	wqe->num_sge = htole16(wr->num_sge);
	return 0;
}

/* Writes one send queue entry. Return: 0 or EINVAL, and then it is not valid. */
static int write_send(const struct pvhca_qp *qp, uint8_t *entry,
		      const struct ibv_send_wr *wr)
{
	const struct send_op *op = find_op(qp, wr);
	struct pvhca_sq_wqe wqe = {};
	size_t seg = 0;
	int err;

	if (!op || wr->send_flags & ~SEND_FLAGS)
		return EINVAL;

	wqe.opcode = op->opcode;
	wqe.flags = wqe_flags(qp, wr);
	if (op->uses & USES_IMM)
		wqe.imm_data = wr->imm_data;
	if (op->uses & USES_INV)
		wqe.inv_rkey = htole32(wr->invalidate_rkey);
	if (op->uses & USES_REMOTE) {
		wqe.remote_addr = htole64(wr->wr.rdma.remote_addr);
		wqe.rkey = htole32(wr->wr.rdma.rkey);
	}
	if (op->uses & USES_ATOMIC)
		seg = write_atomic(entry + PVHCA_SQ_WQE_DATA, &wqe, wr);
	if (qp->vqp.qp.qp_type == IBV_QPT_UD) {
		err = write_ud(&wqe, wr);
		if (err)
			return err;
	}

	err = write_data(qp, &wqe, entry + PVHCA_SQ_WQE_DATA, seg, op, wr);
	if (err)
		return err;
	memcpy(entry, &wqe, sizeof(wqe));
	return 0;
}

/* Writes one receive queue entry for place @tag. Return: 0 or EINVAL. */
static int write_recv(const struct pvhca_queue *rq, uint8_t *entry,
		      uint16_t tag, const struct ibv_recv_wr *wr)
{
	struct pvhca_rq_wqe wqe = {};

	if ((uint32_t)wr->num_sge > rq->max_sge)
		return EINVAL;

	wqe.num_sge = htole16(wr->num_sge);
	wqe.tag = htole16(tag);
	memcpy(entry, &wqe, sizeof(wqe));
	write_sges(entry + PVHCA_RQ_WQE_DATA, wr->sg_list, wr->num_sge);
	return 0;
}

/* Called under the queue's lock, before it is given up. */
static bool publish(struct pvhca_queue *q, uint32_t pi)
{
	if (pi == q->pi)
		return false;
	q->pi = pi;
	pvhca_store32_release(q->shared_pi, pi);
	return true;
}

/*
 * Each poster announces what it published itself, so this needs no lock and an
 * exit to the host holds up nobody else.
 */
static void announce(struct pvhca_qp *qp)
{
	if (unlikely(pvhca_ring_notify(qp->ctx->page, qp->slot)))
		mmio_write32_le(qp->doorbell, 0);
}

static int may_post_send(const struct pvhca_qp *qp)
{
	if (!pvhca_alive(qp->ctx->page))
		return EIO;
	switch (qp->state) {
	case IBV_QPS_RESET:
	case IBV_QPS_INIT:
	case IBV_QPS_RTR:
		return EINVAL;
	default:
		return 0; /* in error states what is posted comes back flushed */
	}
}

static int may_post_recv(const struct pvhca_qp *qp)
{
	if (!pvhca_alive(qp->ctx->page))
		return EIO;
	return qp->state == IBV_QPS_RESET ? EINVAL : 0;
}

/**
 * pvhca_post_send() - ibv_post_send(3)
 *
 * Return: 0; EINVAL: request, or state of the QP; ENOMEM: queue is full; EIO:
 * the device is gone. *@bad_wr is the first request that was not posted.
 */
int pvhca_post_send(struct ibv_qp *ibqp, struct ibv_send_wr *wr,
		    struct ibv_send_wr **bad_wr)
{
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	struct pvhca_queue *sq = &qp->sq;
	bool published;
	uint32_t pi;
	int err;

	pthread_spin_lock(&sq->lock);
	pi = sq->pi;
	err = may_post_send(qp);
	for (; wr && !err; wr = wr->next) {
		err = queue_full(sq, pi) ?
			      ENOMEM : write_send(qp, queue_entry(sq, pi), wr);
		if (err)
			break;
		sq->wrid[pi & sq->mask] = wr->wr_id;
		pi++;
	}
	published = publish(sq, pi);
	pthread_spin_unlock(&sq->lock);

	if (published)
		announce(qp);
	if (err)
		*bad_wr = wr;
	return err;
}

/**
 * pvhca_post_recv() - ibv_post_recv(3)
 *
 * Returns as pvhca_post_send().
 */
int pvhca_post_recv(struct ibv_qp *ibqp, struct ibv_recv_wr *wr,
		    struct ibv_recv_wr **bad_wr)
{
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	struct pvhca_queue *rq = &qp->rq;
	bool published;
	uint32_t pi;
	int err;

	pthread_spin_lock(&rq->lock);
	pi = rq->pi;
	err = may_post_recv(qp);
	for (; wr && !err; wr = wr->next) {
		err = queue_full(rq, pi) ?
			      ENOMEM : write_recv(rq, queue_entry(rq, pi),
						  pi & rq->mask, wr);
		if (err)
			break;
		rq->wrid[pi & rq->mask] = wr->wr_id;
		pi++;
	}
	published = publish(rq, pi);
	pthread_spin_unlock(&rq->lock);

	if (published)
		announce(qp);
	if (err)
		*bad_wr = wr;
	return err;
}
