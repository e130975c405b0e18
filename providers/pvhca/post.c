// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting to send, receive and shared receive queues.
 *
 * A chain of work requests is written entry by entry, published with one store
 * of the producer index and announced once. The first request that cannot be
 * posted ends the chain; those before it are posted. A chain without requests
 * is posted whatever the state, as there is none that could be refused.
 */
#include <ccan/array_size.h>

#include "wqe.h"

#define ALL	  (PVHCA_ON_RC | PVHCA_ON_UC | PVHCA_ON_UD)
#define CONNECTED (PVHCA_ON_RC | PVHCA_ON_UC)

const struct pvhca_send_op pvhca_send_ops[PVHCA_SEND_OPS] = {
	[IBV_WR_SEND] = {
		.opcode = PVHCA_WQE_SEND,
		.on = ALL,
		.uses = PVHCA_MAY_INLINE,
	},
	[IBV_WR_SEND_WITH_IMM] = {
		.opcode = PVHCA_WQE_SEND_IMM,
		.on = ALL,
		.uses = PVHCA_USES_IMM | PVHCA_MAY_INLINE,
	},
	[IBV_WR_SEND_WITH_INV] = {
		.opcode = PVHCA_WQE_SEND_INV,
		.on = CONNECTED,
		.uses = PVHCA_USES_INV | PVHCA_MAY_INLINE,
	},
	[IBV_WR_RDMA_WRITE] = {
		.opcode = PVHCA_WQE_WRITE,
		.on = CONNECTED,
		.uses = PVHCA_USES_REMOTE | PVHCA_MAY_INLINE,
	},
	[IBV_WR_RDMA_WRITE_WITH_IMM] = {
		.opcode = PVHCA_WQE_WRITE_IMM,
		.on = CONNECTED,
		.uses = PVHCA_USES_REMOTE | PVHCA_USES_IMM | PVHCA_MAY_INLINE,
	},
	[IBV_WR_RDMA_READ] = {
		.opcode = PVHCA_WQE_READ,
		.on = PVHCA_ON_RC,
		.uses = PVHCA_USES_REMOTE,
	},
	[IBV_WR_ATOMIC_CMP_AND_SWP] = {
		.opcode = PVHCA_WQE_ATOMIC_CMP_SWP,
		.on = PVHCA_ON_RC,
		.uses = PVHCA_USES_ATOMIC,
		.segment = sizeof(struct pvhca_atomic_seg),
	},
	[IBV_WR_ATOMIC_FETCH_AND_ADD] = {
		.opcode = PVHCA_WQE_ATOMIC_FETCH_ADD,
		.on = PVHCA_ON_RC,
		.uses = PVHCA_USES_ATOMIC,
		.segment = sizeof(struct pvhca_atomic_seg),
	},
	[IBV_WR_LOCAL_INV] = {
		.opcode = PVHCA_WQE_LOCAL_INV,
		.on = CONNECTED,
		.uses = PVHCA_USES_INV | PVHCA_NO_DATA,
	},
	[IBV_WR_BIND_MW] = {
		.opcode = PVHCA_WQE_BIND_MW,
		.on = CONNECTED,
		.uses = PVHCA_USES_BIND | PVHCA_NO_DATA,
		.segment = sizeof(struct pvhca_bind_seg),
	},
};

/* Bits that have no meaning are ignored, as by other adapters; this one has. */
#define REFUSED_FLAGS IBV_SEND_IP_CSUM

static const struct pvhca_send_op *find_op(const struct pvhca_qp *qp,
					   const struct ibv_send_wr *wr)
{
	const struct pvhca_send_op *op;

	if ((unsigned int)wr->opcode >= ARRAY_SIZE(pvhca_send_ops))
		return NULL;
	op = &pvhca_send_ops[wr->opcode];
	return op->on & pvhca_transport(qp->vqp.qp.qp_type) ? op : NULL;
}

/* Copies the data of a request; false if they are longer than max. */
static bool write_inline(uint8_t *to, const struct ibv_send_wr *wr,
			 uint32_t max, uint32_t *len)
{
	const struct ibv_sge *sge = wr->sg_list;
	int i;

	*len = 0;
	for (i = 0; i < wr->num_sge; i++)
		if (!pvhca_add_inline(to, max, len,
				      (void *)(uintptr_t)sge[i].addr,
				      sge[i].length))
			return false;
	return true;
}

static void write_atomic(void *to, struct pvhca_sq_wqe *wqe,
			 const struct ibv_send_wr *wr)
{
	bool swap = wr->opcode == IBV_WR_ATOMIC_CMP_AND_SWP;

	pvhca_wqe_set_remote(wqe, wr->wr.atomic.remote_addr,
			     wr->wr.atomic.rkey);
	pvhca_wqe_set_atomic(to, wr->wr.atomic.compare_add,
			     swap ? wr->wr.atomic.swap : 0);
}

/* Windows of type 1 are bound by ibv_bind_mw() alone. */
static int write_bind(void *to, const struct ibv_send_wr *wr)
{
	if (!wr->bind_mw.mw || wr->bind_mw.mw->type != IBV_MW_TYPE_2)
		return EINVAL;
	return pvhca_wqe_set_bind(to, wr->bind_mw.mw, wr->bind_mw.rkey,
				  &wr->bind_mw.bind_info);
}

/* What few operations ask for; @to: where a segment goes. */
static int write_rare(struct pvhca_sq_wqe *wqe, void *to,
		      const struct pvhca_send_op *op,
		      const struct ibv_send_wr *wr)
{
	if (op->uses & PVHCA_USES_IMM)
		wqe->imm_data = wr->imm_data;
	if (op->uses & PVHCA_USES_INV)
		wqe->inv_rkey = htole32(wr->invalidate_rkey);
	if (op->uses & PVHCA_USES_ATOMIC)
		write_atomic(to, wqe, wr);
	if (op->uses & PVHCA_USES_BIND)
		return write_bind(to, wr);
	return 0;
}

/* What the opcode asks for besides data. */
static inline int write_op(struct pvhca_sq_wqe *wqe, void *to,
			   const struct pvhca_send_op *op,
			   const struct ibv_send_wr *wr)
{
	if (op->uses & PVHCA_USES_REMOTE)
		pvhca_wqe_set_remote(wqe, wr->wr.rdma.remote_addr,
				     wr->wr.rdma.rkey);
	if (unlikely(op->uses & PVHCA_USES_RARE))
		return write_rare(wqe, to, op, wr);
	return 0;
}

/* Data or SGE list of a request. */
static inline int write_data(const struct pvhca_qp *qp,
			     struct pvhca_sq_wqe *wqe, uint8_t *to,
			     const struct pvhca_send_op *op,
			     const struct ibv_send_wr *wr)
{
	uint32_t len;

	if (op->uses & PVHCA_NO_DATA)
		return (uint32_t)wr->num_sge > qp->sq.max_sge ? EINVAL : 0;

	if (wr->send_flags & IBV_SEND_INLINE) {
		if ((uint32_t)wr->num_sge > qp->sq.max_sge)
			return EINVAL;
		if (!(op->uses & PVHCA_MAY_INLINE) ||
		    !write_inline(to, wr, qp->max_inline, &len))
			return EINVAL;
		pvhca_wqe_set_inline(wqe, len);
		return 0;
	}

	if ((uint32_t)wr->num_sge > pvhca_max_sge(&qp->sq, op))
		return EINVAL;
	pvhca_write_sges(to + op->segment, wr->sg_list, wr->num_sge);
	wqe->num_sge = htole16(wr->num_sge);
	return 0;
}

/* Writes what every entry has, and its one SGE to @to. */
static inline void write_entry(const struct pvhca_qp *qp,
			       struct pvhca_sq_wqe *wqe, uint8_t opcode,
			       uint64_t remote_addr, uint32_t rkey, void *to,
			       const struct ibv_send_wr *wr)
{
	wqe->opcode = opcode;
	wqe->flags = pvhca_wqe_flags(wr->send_flags) |
		(qp->sq_sig_all ? PVHCA_WQE_F_SIGNALED : 0);
	wqe->num_sge = htole16(1);
	wqe->inline_len = 0;
	wqe->imm_data = 0;
	wqe->rkey = htole32(rkey);
	wqe->remote_addr = htole64(remote_addr);
	wqe->reserved = 0;
	pvhca_write_sge(to, wr->sg_list);
}

/* Return: whether the entry has room for it. */
static inline bool write_plain_atomic(const struct pvhca_qp *qp, uint8_t *entry,
				      uint8_t opcode,
				      const struct ibv_send_wr *wr)
{
	uint8_t *segment = entry + PVHCA_SQ_WQE_DATA;
	uint8_t *sge = segment + sizeof(struct pvhca_atomic_seg);

	if (sge + sizeof(struct pvhca_sge) > entry + (1u << qp->sq.log_stride))
		return false;
	pvhca_wqe_set_atomic(
		segment, wr->wr.atomic.compare_add,
		opcode == PVHCA_WQE_ATOMIC_CMP_SWP ? wr->wr.atomic.swap : 0);
	write_entry(qp, (struct pvhca_sq_wqe *)entry, opcode,
		    wr->wr.atomic.remote_addr, wr->wr.atomic.rkey, sge, wr);
	return true;
}

/*
 * Writes the entry of a request as most are: a write, send, read or atomic of a
 * reliable connection, of one SGE. Return: whether it is one; else write_send()
 * takes it.
 */
static inline bool write_plain(const struct pvhca_qp *qp, uint8_t *entry,
			       const struct ibv_send_wr *wr)
{
	struct pvhca_sq_wqe *wqe = (struct pvhca_sq_wqe *)entry;
	uint8_t *data = entry + PVHCA_SQ_WQE_DATA;
	uint8_t opcode;

	if (wr->num_sge != 1 ||
	    wr->send_flags & (IBV_SEND_INLINE | REFUSED_FLAGS))
		return false;
	switch (wr->opcode) {
	case IBV_WR_RDMA_WRITE:
		opcode = PVHCA_WQE_WRITE;
		break;
	case IBV_WR_RDMA_READ:
		opcode = PVHCA_WQE_READ;
		break;
	case IBV_WR_SEND:
		write_entry(qp, wqe, PVHCA_WQE_SEND, 0, 0, data, wr);
		return true;
	case IBV_WR_ATOMIC_CMP_AND_SWP:
		return write_plain_atomic(qp, entry, PVHCA_WQE_ATOMIC_CMP_SWP,
					  wr);
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		return write_plain_atomic(qp, entry, PVHCA_WQE_ATOMIC_FETCH_ADD,
					  wr);
	default:
		return false;
	}
	write_entry(qp, wqe, opcode, wr->wr.rdma.remote_addr, wr->wr.rdma.rkey,
		    data, wr);
	return true;
}

/* Writes one send queue entry. Return: 0 or EINVAL, and then it is not valid. */
static int write_send(const struct pvhca_qp *qp, uint8_t *entry,
		      const struct ibv_send_wr *wr)
{
	const struct pvhca_send_op *op = find_op(qp, wr);
	uint8_t *data = entry + PVHCA_SQ_WQE_DATA;
	struct pvhca_sq_wqe wqe;
	int err;

	if (!op || wr->send_flags & REFUSED_FLAGS)
		return EINVAL;

	pvhca_wqe_start(&wqe, qp, op->opcode, wr->send_flags);
	err = write_op(&wqe, data, op, wr);
	if (err)
		return err;
	if (qp->vqp.qp.qp_type == IBV_QPT_UD) {
		if (!wr->wr.ud.ah)
			return EINVAL;
		pvhca_wqe_set_ud(&wqe, wr->wr.ud.ah, wr->wr.ud.remote_qpn,
				 wr->wr.ud.remote_qkey);
	}
	err = write_data(qp, &wqe, data, op, wr);
	if (err)
		return err;
	memcpy(entry, &wqe, sizeof(wqe));
	return 0;
}

/* Writes one entry of a receive queue or SRQ. Return: 0 or EINVAL. */
static int write_recv(const struct pvhca_queue *rq, uint8_t *entry,
		      uint16_t tag, const struct ibv_recv_wr *wr)
{
	struct pvhca_rq_wqe wqe = {};

	if ((uint32_t)wr->num_sge > rq->max_sge)
		return EINVAL;

	wqe.num_sge = htole16(wr->num_sge);
	wqe.tag = htole16(tag);
	memcpy(entry, &wqe, sizeof(wqe));
	pvhca_write_sges(entry + PVHCA_RQ_WQE_DATA, wr->sg_list, wr->num_sge);
	return 0;
}

static int may_post_recv(const struct pvhca_qp *qp)
{
	if (!pvhca_alive(qp->ctx->page))
		return EIO;
	return qp->state == IBV_QPS_RESET || qp->vqp.qp.srq ? EINVAL : 0;
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
	bool plain = qp->vqp.qp.qp_type == IBV_QPT_RC && sq->max_sge;
	uint32_t pi, place, room;
	uint8_t *entry;
	int err;

	pvhca_lock(&sq->lock);
	pi = sq->pi;
	room = pvhca_queue_room(sq, pi);
	err = wr ? pvhca_may_post_send(qp) : 0;
	for (; wr && !err; wr = wr->next) {
		/* What was polled since makes room, too. */
		if (!room--) {
			room = pvhca_queue_room(sq, pi);
			if (!room--) {
				err = ENOMEM;
				break;
			}
		}
		place = pi & sq->mask;
		entry = sq->entries + ((size_t)place << sq->log_stride);
		if (!plain || !write_plain(qp, entry, wr))
			err = write_send(qp, entry, wr);
		if (err)
			break;
		sq->wrid[place] = wr->wr_id;
		pi++;
	}
	pvhca_commit(sq, pi, qp->ctx->page, qp->slot, qp->doorbell);
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
	uint32_t pi;
	int err;

	pvhca_lock(&rq->lock);
	pi = rq->pi;
	err = wr ? may_post_recv(qp) : 0;
	for (; wr && !err; wr = wr->next) {
		err = pvhca_queue_full(rq, pi) ?
			ENOMEM :
			write_recv(rq, pvhca_queue_entry(rq, pi), pi & rq->mask,
				   wr);
		if (err)
			break;
		rq->wrid[pi & rq->mask] = wr->wr_id;
		pi++;
	}
	pvhca_commit(rq, pi, qp->ctx->page, qp->slot, qp->doorbell);
	if (err)
		*bad_wr = wr;
	return err;
}

/**
 * pvhca_post_srq_recv() - ibv_post_srq_recv(3)
 *
 * Returns as pvhca_post_send().
 */
int pvhca_post_srq_recv(struct ibv_srq *ibsrq, struct ibv_recv_wr *wr,
			struct ibv_recv_wr **bad_wr)
{
	struct pvhca_srq *srq = to_pvhca_srq(ibsrq);
	struct pvhca_queue *q = &srq->q;
	uint16_t tag;
	uint32_t pi;
	int err;

	pvhca_lock(&q->lock);
	pi = q->pi;
	err = !wr || pvhca_alive(srq->ctx->page) ? 0 : EIO;
	for (; wr && !err; wr = wr->next) {
		if (!srq->num_free) {
			err = ENOMEM;
			break;
		}
		tag = srq->free_tags[srq->num_free - 1];
		err = write_recv(q, pvhca_queue_entry(q, pi), tag, wr);
		if (err)
			break;
		srq->num_free--;
		q->wrid[tag] = wr->wr_id;
		pi++;
	}
	pvhca_commit(q, pi, srq->ctx->page, srq->slot, srq->doorbell);
	if (err)
		*bad_wr = wr;
	return err;
}

/* Writes the entry of a bind of a type 1 window. Return: 0 or EINVAL. */
static int write_bind1(struct pvhca_qp *qp, uint8_t *entry, struct ibv_mw *ibmw,
		       const struct ibv_mw_bind *bind)
{
	const struct pvhca_send_op *op = &pvhca_send_ops[IBV_WR_BIND_MW];
	struct pvhca_sq_wqe *wqe = (struct pvhca_sq_wqe *)entry;

	if (!(op->on & pvhca_transport(qp->vqp.qp.qp_type)) ||
	    bind->send_flags & (REFUSED_FLAGS | IBV_SEND_INLINE))
		return EINVAL;
	pvhca_wqe_start(wqe, qp, op->opcode, bind->send_flags);
	return pvhca_wqe_set_bind(entry + PVHCA_SQ_WQE_DATA, ibmw,
				  ibv_inc_rkey(ibmw->rkey), &bind->bind_info);
}

/**
 * pvhca_post_bind() - post the bind of a type 1 window
 *
 * The window's next key is ours to choose; it has it from now on, so that binds in a
 * row get different ones.
 *
 * Returns as pvhca_post_send().
 */
int pvhca_post_bind(struct pvhca_qp *qp, struct ibv_mw *ibmw,
		    const struct ibv_mw_bind *bind)
{
	struct pvhca_queue *sq = &qp->sq;
	uint32_t pi;
	int err;

	pvhca_lock(&sq->lock);
	pi = sq->pi;
	err = pvhca_may_post_send(qp);
	if (!err && pvhca_queue_full(sq, pi))
		err = ENOMEM;
	if (!err)
		err = write_bind1(qp, pvhca_queue_entry(sq, pi), ibmw, bind);
	if (!err) {
		sq->wrid[pi & sq->mask] = bind->wr_id;
		ibmw->rkey = ibv_inc_rkey(ibmw->rkey);
		pi++;
	}
	pvhca_commit(sq, pi, qp->ctx->page, qp->slot, qp->doorbell);
	return err;
}
