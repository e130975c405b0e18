// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting to send queues as ibv_wr_post(3) has it: ibv_wr_start() locks the
 * queue, requests are written to their entries at once, ibv_wr_complete()
 * publishes them all or, after an error, none.
 */
#include <ccan/array_size.h>

#include "wqe.h"

static void give_up(struct pvhca_wr_builder *wr, int err)
{
	if (!wr->err)
		wr->err = err;
	wr->op = NULL;
}

/* The next entry, or NULL when there is no use in going on. */
static struct pvhca_sq_wqe *begin(struct ibv_qp_ex *ibqp,
				  enum ibv_wr_opcode opcode)
{
	const struct pvhca_send_op *op = &pvhca_send_ops[opcode];
	struct pvhca_qp *qp = to_pvhca_qp_ex(ibqp);
	struct pvhca_wr_builder *wr = &qp->wr;
	struct pvhca_queue *sq = &qp->sq;

	if (unlikely(wr->err | wr->refused)) {
		give_up(wr, wr->refused);
		return NULL;
	}
	if (unlikely(pvhca_queue_full(sq, wr->pi))) {
		give_up(wr, ENOMEM);
		return NULL;
	}

	wr->op = op;
	wr->wqe = pvhca_queue_entry(sq, wr->pi);
	wr->data = (uint8_t *)wr->wqe + PVHCA_SQ_WQE_DATA + op->segment;
	pvhca_wqe_start(wr->wqe, qp, op->opcode, ibqp->wr_flags);
	sq->wrid[wr->pi & sq->mask] = ibqp->wr_id;
	wr->pi++;
	return wr->wqe;
}

static void *segment(struct pvhca_sq_wqe *wqe)
{
	return (uint8_t *)wqe + PVHCA_SQ_WQE_DATA;
}

/* -------------------------------- operations ------------------------------ */

static void wr_send(struct ibv_qp_ex *ibqp)
{
	begin(ibqp, IBV_WR_SEND);
}

static void wr_send_imm(struct ibv_qp_ex *ibqp, __be32 imm_data)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_SEND_WITH_IMM);

	if (wqe)
		wqe->imm_data = imm_data;
}

static void wr_send_inv(struct ibv_qp_ex *ibqp, uint32_t rkey)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_SEND_WITH_INV);

	if (wqe)
		wqe->inv_rkey = htole32(rkey);
}

static void wr_local_inv(struct ibv_qp_ex *ibqp, uint32_t rkey)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_LOCAL_INV);

	if (wqe)
		wqe->inv_rkey = htole32(rkey);
}

static void wr_rdma_read(struct ibv_qp_ex *ibqp, uint32_t rkey, uint64_t addr)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_RDMA_READ);

	if (wqe)
		pvhca_wqe_set_remote(wqe, addr, rkey);
}

static void wr_rdma_write(struct ibv_qp_ex *ibqp, uint32_t rkey, uint64_t addr)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_RDMA_WRITE);

	if (wqe)
		pvhca_wqe_set_remote(wqe, addr, rkey);
}

static void wr_rdma_write_imm(struct ibv_qp_ex *ibqp, uint32_t rkey,
			      uint64_t addr, __be32 imm_data)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_RDMA_WRITE_WITH_IMM);

	if (!wqe)
		return;
	pvhca_wqe_set_remote(wqe, addr, rkey);
	wqe->imm_data = imm_data;
}

static void wr_atomic_cmp_swp(struct ibv_qp_ex *ibqp, uint32_t rkey,
			      uint64_t addr, uint64_t compare, uint64_t swap)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_ATOMIC_CMP_AND_SWP);

	if (!wqe)
		return;
	pvhca_wqe_set_remote(wqe, addr, rkey);
	pvhca_wqe_set_atomic(segment(wqe), compare, swap);
}

static void wr_atomic_fetch_add(struct ibv_qp_ex *ibqp, uint32_t rkey,
				uint64_t addr, uint64_t add)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_ATOMIC_FETCH_AND_ADD);

	if (!wqe)
		return;
	pvhca_wqe_set_remote(wqe, addr, rkey);
	pvhca_wqe_set_atomic(segment(wqe), add, 0);
}

static void wr_bind_mw(struct ibv_qp_ex *ibqp, struct ibv_mw *mw, uint32_t rkey,
		       const struct ibv_mw_bind_info *info)
{
	struct pvhca_sq_wqe *wqe = begin(ibqp, IBV_WR_BIND_MW);
	int err;

	if (!wqe)
		return;
	err = mw->type == IBV_MW_TYPE_2 ?
		pvhca_wqe_set_bind(segment(wqe), mw, rkey, info) :
		EINVAL;
	if (err)
		give_up(&to_pvhca_qp_ex(ibqp)->wr, err);
}

/* --------------------------------- setters -------------------------------- */

static void wr_set_ud_addr(struct ibv_qp_ex *ibqp, struct ibv_ah *ah,
			   uint32_t remote_qpn, uint32_t remote_qkey)
{
	struct pvhca_wr_builder *wr = &to_pvhca_qp_ex(ibqp)->wr;

	if (likely(wr->op))
		pvhca_wqe_set_ud(wr->wqe, ah, remote_qpn, remote_qkey);
}

static void wr_set_sge_list(struct ibv_qp_ex *ibqp, size_t num_sge,
			    const struct ibv_sge *list)
{
	struct pvhca_qp *qp = to_pvhca_qp_ex(ibqp);
	struct pvhca_wr_builder *wr = &qp->wr;

	if (unlikely(!wr->op))
		return;
	if (unlikely(num_sge > pvhca_max_sge(&qp->sq, wr->op))) {
		give_up(wr, EINVAL);
		return;
	}
	pvhca_write_sges(wr->data, list, num_sge);
	wr->wqe->num_sge = htole16(num_sge);
}

static void wr_set_sge(struct ibv_qp_ex *ibqp, uint32_t lkey, uint64_t addr,
		       uint32_t length)
{
	struct ibv_sge sge = { .addr = addr, .length = length, .lkey = lkey };

	wr_set_sge_list(ibqp, 1, &sge);
}

static void wr_set_inline_data_list(struct ibv_qp_ex *ibqp, size_t num_buf,
				    const struct ibv_data_buf *list)
{
	struct pvhca_qp *qp = to_pvhca_qp_ex(ibqp);
	struct pvhca_wr_builder *wr = &qp->wr;
	uint32_t len = 0;
	size_t i;

	if (unlikely(!wr->op))
		return;
	if (unlikely(!(wr->op->uses & PVHCA_MAY_INLINE))) {
		give_up(wr, EINVAL);
		return;
	}
	for (i = 0; i < num_buf; i++) {
		if (unlikely(!pvhca_add_inline(wr->data, qp->max_inline, &len,
					       list[i].addr, list[i].length))) {
			give_up(wr, EINVAL);
			return;
		}
	}
	pvhca_wqe_set_inline(wr->wqe, len);
}

static void wr_set_inline_data(struct ibv_qp_ex *ibqp, void *addr,
			       size_t length)
{
	struct ibv_data_buf buf = { .addr = addr, .length = length };

	wr_set_inline_data_list(ibqp, 1, &buf);
}

/* ------------------------------ start and end ---------------------------- */

static void wr_start(struct ibv_qp_ex *ibqp)
{
	struct pvhca_qp *qp = to_pvhca_qp_ex(ibqp);

	pvhca_lock(&qp->sq.lock);
	qp->wr.pi = qp->sq.pi;
	qp->wr.op = NULL;
	qp->wr.err = pvhca_alive(qp->ctx->page) ? 0 : EIO;
	qp->wr.refused = pvhca_state_may_send(qp);
}

/* Return: 0, or the error of pvhca_post_send() for the first bad request. */
static int wr_complete(struct ibv_qp_ex *ibqp)
{
	struct pvhca_qp *qp = to_pvhca_qp_ex(ibqp);
	int err = qp->wr.err;

	pvhca_commit(&qp->sq, err ? qp->sq.pi : qp->wr.pi, qp->ctx->page,
		     qp->slot, qp->doorbell);
	return err;
}

static void wr_abort(struct ibv_qp_ex *ibqp)
{
	pvhca_unlock(&to_pvhca_qp_ex(ibqp)->sq.lock);
}

/* ---------------------------------- set-up -------------------------------- */

static const struct {
	uint64_t flag;
	enum ibv_wr_opcode opcode;
} wr_ops[] = {
	{ IBV_QP_EX_WITH_RDMA_WRITE, IBV_WR_RDMA_WRITE },
	{ IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_WRITE_WITH_IMM },
	{ IBV_QP_EX_WITH_SEND, IBV_WR_SEND },
	{ IBV_QP_EX_WITH_SEND_WITH_IMM, IBV_WR_SEND_WITH_IMM },
	{ IBV_QP_EX_WITH_RDMA_READ, IBV_WR_RDMA_READ },
	{ IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP, IBV_WR_ATOMIC_CMP_AND_SWP },
	{ IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_FETCH_AND_ADD },
	{ IBV_QP_EX_WITH_LOCAL_INV, IBV_WR_LOCAL_INV },
	{ IBV_QP_EX_WITH_BIND_MW, IBV_WR_BIND_MW },
	{ IBV_QP_EX_WITH_SEND_WITH_INV, IBV_WR_SEND_WITH_INV },
};

#define ATOMIC_OPS                           \
	(IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP | \
	 IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD)
#define INVALIDATE_OPS (IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_SEND_WITH_INV)

/**
 * pvhca_device_send_ops() - operations that QPs of a device can have
 *
 * Return: IBV_QP_EX_WITH_*.
 */
uint64_t pvhca_device_send_ops(const struct ibv_device_attr *attr)
{
	unsigned int windows = IBV_DEVICE_MEM_WINDOW_TYPE_2A |
		IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	uint64_t send_ops = UINT64_MAX;

	if (attr->atomic_cap == IBV_ATOMIC_NONE)
		send_ops &= ~(uint64_t)ATOMIC_OPS;
	if (!(attr->device_cap_flags & windows))
		send_ops &= ~(uint64_t)IBV_QP_EX_WITH_BIND_MW;
	if (!(attr->device_cap_flags &
	      (windows | IBV_DEVICE_MEM_MGT_EXTENSIONS)))
		send_ops &= ~(uint64_t)INVALIDATE_OPS;
	return send_ops;
}

/**
 * pvhca_check_send_ops() - can QPs of a type have these operations?
 * @ctx: of them
 * @type: enum ibv_qp_type
 * @send_ops: IBV_QP_EX_WITH_*
 *
 * Return: 0 or EOPNOTSUPP.
 */
int pvhca_check_send_ops(const struct pvhca_context *ctx, enum ibv_qp_type type,
			 uint64_t send_ops)
{
	uint64_t offered = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(wr_ops); i++)
		if (pvhca_send_ops[wr_ops[i].opcode].on & pvhca_transport(type))
			offered |= wr_ops[i].flag;
	return send_ops & ~(offered & ctx->send_ops) ? EOPNOTSUPP : 0;
}

static void set_data_ops(struct ibv_qp_ex *ibqp, uint64_t send_ops)
{
	if (send_ops & IBV_QP_EX_WITH_SEND)
		ibqp->wr_send = wr_send;
	if (send_ops & IBV_QP_EX_WITH_SEND_WITH_IMM)
		ibqp->wr_send_imm = wr_send_imm;
	if (send_ops & IBV_QP_EX_WITH_SEND_WITH_INV)
		ibqp->wr_send_inv = wr_send_inv;
	if (send_ops & IBV_QP_EX_WITH_RDMA_WRITE)
		ibqp->wr_rdma_write = wr_rdma_write;
	if (send_ops & IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM)
		ibqp->wr_rdma_write_imm = wr_rdma_write_imm;
	if (send_ops & IBV_QP_EX_WITH_RDMA_READ)
		ibqp->wr_rdma_read = wr_rdma_read;
}

static void set_other_ops(struct ibv_qp_ex *ibqp, uint64_t send_ops)
{
	if (send_ops & IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP)
		ibqp->wr_atomic_cmp_swp = wr_atomic_cmp_swp;
	if (send_ops & IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD)
		ibqp->wr_atomic_fetch_add = wr_atomic_fetch_add;
	if (send_ops & IBV_QP_EX_WITH_LOCAL_INV)
		ibqp->wr_local_inv = wr_local_inv;
	if (send_ops & IBV_QP_EX_WITH_BIND_MW)
		ibqp->wr_bind_mw = wr_bind_mw;
}

/**
 * pvhca_set_wr_ops() - give a QP the operations that it was made with
 * @send_ops: IBV_QP_EX_WITH_*, checked
 */
void pvhca_set_wr_ops(struct pvhca_qp *qp, uint64_t send_ops)
{
	struct ibv_qp_ex *ibqp = &qp->vqp.qp_ex;

	ibqp->wr_start = wr_start;
	ibqp->wr_complete = wr_complete;
	ibqp->wr_abort = wr_abort;
	ibqp->wr_set_sge = wr_set_sge;
	ibqp->wr_set_sge_list = wr_set_sge_list;
	ibqp->wr_set_inline_data = wr_set_inline_data;
	ibqp->wr_set_inline_data_list = wr_set_inline_data_list;
	if (ibqp->qp_base.qp_type == IBV_QPT_UD)
		ibqp->wr_set_ud_addr = wr_set_ud_addr;
	set_data_ops(ibqp, send_ops);
	set_other_ops(ibqp, send_ops);
}
