// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting by kernel consumers.
 *
 * A chain of work requests is written entry by entry, published with one store
 * of the producer index and announced once. The first request that cannot be
 * posted ends the chain; what stands before it is posted. An empty chain succeeds in
 * every state of the QP.
 *
 * Posting to a dead session succeeds, as it does to a QP in the error state: the
 * work comes back flushed, see pvhca_kverbs.h.
 */

#include <linux/io.h>
#include <linux/log2.h>

#include "pvhca.h"
#include "pvhca_kverbs.h"

#define PVHCA_SEND_FLAGS (IB_SEND_FENCE | IB_SEND_SIGNALED | IB_SEND_SOLICITED | IB_SEND_INLINE)

static bool pvhca_kwq_is_full(struct pvhca_kwq *wq, u32 pi)
{
	return pi - smp_load_acquire(&wq->ci) >= wq->max_wr;
}

static void *pvhca_kwq_entry(struct pvhca_kwq *wq, u32 pi)
{
	return wq->entries + ((size_t)(pi & wq->mask) << wq->log_stride);
}

/* Returns whether there is something new. */
static bool pvhca_kwq_publish(struct pvhca_kwq *wq, u32 pi)
{
	lockdep_assert_held(&wq->lock);

	if (pi == wq->pi)
		return false;
	/* The entries and their wr_ids are visible before the index. */
	smp_store_release(&wq->pi, pi);
	virt_store_release(wq->shared_pi, cpu_to_le32(pi));
	return true;
}

/**
 * struct pvhca_kpost_place - where new work of a QP is announced
 * @kctx: context
 * @slot: in its page
 * @doorbell: told when pvhcad sleeps
 *
 * A copy: once the work is published, another thread may see it complete and destroy
 * the QP. That thread waits for the queue's lock only.
 */
struct pvhca_kpost_place {
	struct pvhca_kctx *kctx;
	u32 slot;
	void __iomem *doorbell;
};

static struct pvhca_kpost_place pvhca_kpost_place(const struct pvhca_kqp *kqp)
{
	return (struct pvhca_kpost_place){ kqp->kctx, kqp->slot, kqp->doorbell };
}

static void pvhca_kpost_announce(const struct pvhca_kpost_place *place)
{
	if (pvhca_kctx_notify(place->kctx, place->slot))
		writel(0, place->doorbell);
	/* After the index was stored and a full barrier: pvhca_kctx_flush(). */
	if (unlikely(pvhca_kctx_is_flushing(place->kctx)))
		pvhca_kctx_schedule_flush(place->kctx);
}

static void pvhca_kqp_write_sges(struct pvhca_sge *to, const struct ib_sge *list, int num)
{
	int i;

	for (i = 0; i < num; i++) {
		to[i].addr = cpu_to_le64(list[i].addr);
		to[i].length = cpu_to_le32(list[i].length);
		to[i].lkey = cpu_to_le32(list[i].lkey);
	}
}

/* ----------------------------------- send ---------------------------------- */

/**
 * struct pvhca_kpost - a send queue entry while it is written
 * @wqe: fixed part, copied last
 * @seg: segment of the operation, behind the fixed part
 * @seg_len: bytes it takes
 * @has_data: SGEs or inline data follow
 */
struct pvhca_kpost {
	struct pvhca_sq_wqe wqe;
	void *seg;
	size_t seg_len;
	bool has_data;
};

static u8 pvhca_kpost_flags(struct pvhca_qp *qp, const struct ib_send_wr *wr)
{
	u8 flags = 0;

	if (qp->sig_type == IB_SIGNAL_ALL_WR || (wr->send_flags & IB_SEND_SIGNALED))
		flags |= PVHCA_WQE_F_SIGNALED;
	if (wr->send_flags & IB_SEND_SOLICITED)
		flags |= PVHCA_WQE_F_SOLICITED;
	if (wr->send_flags & IB_SEND_FENCE)
		flags |= PVHCA_WQE_F_FENCE;
	return flags;
}

static int pvhca_kpost_atomic(struct pvhca_kpost *post, const struct ib_atomic_wr *wr)
{
	struct pvhca_atomic_seg *seg = post->seg;

	post->wqe.remote_addr = cpu_to_le64(wr->remote_addr);
	post->wqe.rkey = cpu_to_le32(wr->rkey);
	seg->compare_add = cpu_to_le64(wr->compare_add);
	seg->swap = wr->wr.opcode == IB_WR_ATOMIC_CMP_AND_SWP ? cpu_to_le64(wr->swap) : 0;
	post->seg_len = sizeof(*seg);
	return 0;
}

static int pvhca_kpost_rdma(struct pvhca_kpost *post, const struct ib_rdma_wr *wr)
{
	post->wqe.remote_addr = cpu_to_le64(wr->remote_addr);
	post->wqe.rkey = cpu_to_le32(wr->rkey);
	return 0;
}

static int pvhca_kpost_reg(struct pvhca_kpost *post, const struct ib_reg_wr *wr)
{
	struct pvhca_mr *mr = to_pvhca_mr(wr->mr);
	struct pvhca_reg_seg *seg = post->seg;

	if (!mr->kernel)
		return -EINVAL;
	memset(seg, 0, sizeof(*seg));
	seg->iova = cpu_to_le64(wr->mr->iova);
	seg->length = cpu_to_le64(wr->mr->length);
	seg->pages = cpu_to_le64(mr->kernel->pages.dma);
	seg->mr_handle = cpu_to_le32(mr->handle);
	seg->key = cpu_to_le32(wr->key);
	seg->access = cpu_to_le32(wr->access);
	seg->num_pages = cpu_to_le32(mr->kernel->num_pages);
	seg->log_page_size = ilog2(wr->mr->page_size);
	post->seg_len = sizeof(*seg);
	post->has_data = false;
	return 0;
}

/* The part of an entry that depends on the opcode, for connected QPs. */
static int pvhca_kpost_operation(struct pvhca_kpost *post, const struct ib_send_wr *wr)
{
	switch (wr->opcode) {
	case IB_WR_SEND:
		post->wqe.opcode = PVHCA_WQE_SEND;
		return 0;
	case IB_WR_SEND_WITH_IMM:
		post->wqe.opcode = PVHCA_WQE_SEND_IMM;
		post->wqe.imm_data = wr->ex.imm_data;
		return 0;
	case IB_WR_SEND_WITH_INV:
		post->wqe.opcode = PVHCA_WQE_SEND_INV;
		post->wqe.inv_rkey = cpu_to_le32(wr->ex.invalidate_rkey);
		return 0;
	case IB_WR_RDMA_WRITE:
		post->wqe.opcode = PVHCA_WQE_WRITE;
		return pvhca_kpost_rdma(post, rdma_wr(wr));
	case IB_WR_RDMA_WRITE_WITH_IMM:
		post->wqe.opcode = PVHCA_WQE_WRITE_IMM;
		post->wqe.imm_data = wr->ex.imm_data;
		return pvhca_kpost_rdma(post, rdma_wr(wr));
	case IB_WR_RDMA_READ:
		post->wqe.opcode = PVHCA_WQE_READ;
		return pvhca_kpost_rdma(post, rdma_wr(wr));
	case IB_WR_ATOMIC_CMP_AND_SWP:
		post->wqe.opcode = PVHCA_WQE_ATOMIC_CMP_SWP;
		return pvhca_kpost_atomic(post, atomic_wr(wr));
	case IB_WR_ATOMIC_FETCH_AND_ADD:
		post->wqe.opcode = PVHCA_WQE_ATOMIC_FETCH_ADD;
		return pvhca_kpost_atomic(post, atomic_wr(wr));
	case IB_WR_LOCAL_INV:
		post->wqe.opcode = PVHCA_WQE_LOCAL_INV;
		post->wqe.inv_rkey = cpu_to_le32(wr->ex.invalidate_rkey);
		post->has_data = false;
		return 0;
	case IB_WR_REG_MR:
		post->wqe.opcode = PVHCA_WQE_REG_MR;
		return pvhca_kpost_reg(post, reg_wr(wr));
	default:
		return -EINVAL;
	}
}

/* Datagrams: the destination stands in the entry. */
static int pvhca_kpost_datagram(struct pvhca_kpost *post, const struct ib_ud_wr *wr)
{
	if (wr->wr.opcode != IB_WR_SEND && wr->wr.opcode != IB_WR_SEND_WITH_IMM)
		return -EINVAL;
	if (!wr->ah)
		return -EINVAL;
	memcpy(post->seg, &to_pvhca_ah(wr->ah)->av, sizeof(struct pvhca_av));
	post->seg_len = sizeof(struct pvhca_av);
	post->wqe.flags |= PVHCA_WQE_F_AV;
	post->wqe.remote_qpn = cpu_to_le32(wr->remote_qpn);
	post->wqe.remote_qkey = cpu_to_le32(wr->remote_qkey);
	return pvhca_kpost_operation(post, &wr->wr);
}

/* Packets: the place of a checksum stands in for the number of a peer, a segment's size for a key. */
static int pvhca_kpost_packet(struct pvhca_kpost *post, const struct ib_ud_wr *wr)
{
	if (wr->wr.opcode != IB_WR_SEND)
		return -EINVAL;
	post->wqe.remote_qpn = cpu_to_le32(wr->remote_qpn);
	post->wqe.remote_qkey = cpu_to_le32(wr->remote_qkey);
	return pvhca_kpost_operation(post, &wr->wr);
}

/* Inline data: the verbs say that its addresses are the kernel's own. */
static int pvhca_kpost_inline(struct pvhca_kqp *kqp, struct pvhca_kpost *post,
			      const struct ib_send_wr *wr)
{
	void *to = post->seg + post->seg_len;
	u32 n = 0;
	int i;

	if (wr->opcode == IB_WR_RDMA_READ || post->wqe.opcode == PVHCA_WQE_ATOMIC_CMP_SWP ||
	    post->wqe.opcode == PVHCA_WQE_ATOMIC_FETCH_ADD)
		return -EINVAL;
	for (i = 0; i < wr->num_sge; i++) {
		if (wr->sg_list[i].length > kqp->max_inline - n)
			return -EINVAL;
		memcpy(to + n, (void *)(uintptr_t)wr->sg_list[i].addr, wr->sg_list[i].length);
		n += wr->sg_list[i].length;
	}
	post->wqe.flags |= PVHCA_WQE_F_INLINE;
	post->wqe.inline_len = cpu_to_le32(n);
	return 0;
}

static int pvhca_kpost_data(struct pvhca_kqp *kqp, struct pvhca_kpost *post,
			    const struct ib_send_wr *wr)
{
	if (!post->has_data)
		return 0;
	if (wr->num_sge < 0 || wr->num_sge > kqp->sq.max_sge)
		return -EINVAL;
	if (wr->send_flags & IB_SEND_INLINE)
		return pvhca_kpost_inline(kqp, post, wr);
	pvhca_kqp_write_sges(post->seg + post->seg_len, wr->sg_list, wr->num_sge);
	post->wqe.num_sge = cpu_to_le16(wr->num_sge);
	return 0;
}

/* Write an entry; it is valid only after 0. */
static int pvhca_kpost_send(struct pvhca_kqp *kqp, void *entry, const struct ib_send_wr *wr)
{
	struct pvhca_qp *qp = to_pvhca_qp(kqp->ibqp);
	struct pvhca_kpost post = {
		.wqe.flags = pvhca_kpost_flags(qp, wr),
		.seg = entry + PVHCA_SQ_WQE_DATA,
		.has_data = true,
	};
	int err;

	if (wr->send_flags & ~PVHCA_SEND_FLAGS)
		return -EINVAL;
	if (qp->ibqp.qp_type == IB_QPT_GSI || qp->ibqp.qp_type == IB_QPT_UD)
		err = pvhca_kpost_datagram(&post, ud_wr(wr));
	else if (qp->ibqp.qp_type == IB_QPT_DRIVER)
		err = pvhca_kpost_packet(&post, ud_wr(wr));
	else
		err = pvhca_kpost_operation(&post, wr);
	if (err)
		return err;
	err = pvhca_kpost_data(kqp, &post, wr);
	if (err)
		return err;
	memcpy(entry, &post.wqe, sizeof(post.wqe));
	return 0;
}

/**
 * pvhca_post_send - ib_device_ops.post_send
 * @ibqp: QP
 * @wr: chain of requests
 * @bad_wr: the first that was not posted
 *
 * Context: any.
 * Return: 0; -EINVAL: request or state of the QP; -ENOMEM: the queue is full.
 */
int pvhca_post_send(struct ib_qp *ibqp, const struct ib_send_wr *wr,
		    const struct ib_send_wr **bad_wr)
{
	struct pvhca_kqp *kqp = to_pvhca_qp(ibqp)->kernel;
	struct pvhca_kpost_place place;
	struct pvhca_kwq *sq;
	enum ib_qp_state state;
	unsigned long flags;
	bool published;
	int err = 0;
	u32 pi;

	*bad_wr = wr;
	if (!wr)
		return 0;
	if (!kqp)
		return -EINVAL;
	state = READ_ONCE(kqp->state);
	if (state == IB_QPS_RESET || state == IB_QPS_INIT || state == IB_QPS_RTR)
		return -EINVAL;

	sq = &kqp->sq;
	spin_lock_irqsave(&sq->lock, flags);
	place = pvhca_kpost_place(kqp);
	for (pi = sq->pi; wr; wr = wr->next, pi++) {
		err = pvhca_kwq_is_full(sq, pi) ?
			-ENOMEM :
			pvhca_kpost_send(kqp, pvhca_kwq_entry(sq, pi), wr);
		if (err)
			break;
		sq->wr_ids[pi & sq->mask] = wr->wr_id;
	}
	published = pvhca_kwq_publish(sq, pi);
	spin_unlock_irqrestore(&sq->lock, flags);

	if (published)
		pvhca_kpost_announce(&place);
	*bad_wr = wr;
	return err;
}

/* --------------------------------- receive --------------------------------- */

static int pvhca_kpost_recv(struct pvhca_kwq *rq, void *entry, u16 place,
			    const struct ib_recv_wr *wr)
{
	struct pvhca_rq_wqe wqe = {
		.num_sge = cpu_to_le16(wr->num_sge),
		.tag = cpu_to_le16(place),
	};

	if (wr->num_sge < 0 || wr->num_sge > rq->max_sge)
		return -EINVAL;
	memcpy(entry, &wqe, sizeof(wqe));
	pvhca_kqp_write_sges(entry + PVHCA_RQ_WQE_DATA, wr->sg_list, wr->num_sge);
	return 0;
}

/**
 * pvhca_post_recv - ib_device_ops.post_recv
 * @ibqp: QP
 * @wr: chain of requests
 * @bad_wr: the first that was not posted
 *
 * Context: any.
 * Return: as pvhca_post_send().
 */
int pvhca_post_recv(struct ib_qp *ibqp, const struct ib_recv_wr *wr,
		    const struct ib_recv_wr **bad_wr)
{
	struct pvhca_kqp *kqp = to_pvhca_qp(ibqp)->kernel;
	struct pvhca_kpost_place place;
	struct pvhca_kwq *rq;
	unsigned long flags;
	bool published;
	int err = 0;
	u32 pi;

	*bad_wr = wr;
	if (!wr)
		return 0;
	if (!kqp || READ_ONCE(kqp->state) == IB_QPS_RESET)
		return -EINVAL;

	rq = &kqp->rq;
	spin_lock_irqsave(&rq->lock, flags);
	place = pvhca_kpost_place(kqp);
	for (pi = rq->pi; wr; wr = wr->next, pi++) {
		err = pvhca_kwq_is_full(rq, pi) ?
			-ENOMEM :
			pvhca_kpost_recv(rq, pvhca_kwq_entry(rq, pi), pi & rq->mask, wr);
		if (err)
			break;
		rq->wr_ids[pi & rq->mask] = wr->wr_id;
	}
	published = pvhca_kwq_publish(rq, pi);
	spin_unlock_irqrestore(&rq->lock, flags);

	/* Nobody waits for a receive of packets: enum pvhca_qp_type. */
	if (published && ibqp->qp_type != IB_QPT_DRIVER)
		pvhca_kpost_announce(&place);
	*bad_wr = wr;
	return err;
}
