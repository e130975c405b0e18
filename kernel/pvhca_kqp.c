// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queue pairs of kernel consumers: rings in kernel memory. Posting is in
 * pvhca_kpost.c, modify and query are those of all QPs. See pvhca_kverbs.h.
 */

#include <linux/interrupt.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

/* The number that the core knows the GSI QP by. */
#define PVHCA_GSI_QPN 1

/* ---------------------------------- layout --------------------------------- */

/* A ring behind @end; returns where it ends. */
static u32 pvhca_kqp_place_ring(u32 end, u8 log_entries, u8 log_stride, __u32 *offset)
{
	*offset = round_up(end, 1u << log_stride);
	return *offset + (1u << (log_entries + log_stride));
}

/* Bytes of the biggest entry of the send queue. */
static u32 pvhca_kqp_send_entry(enum ib_qp_type type, const struct ib_qp_cap *cap)
{
	u32 data = max_t(u32, cap->max_inline_data, cap->max_send_sge * sizeof(struct pvhca_sge));

	if (type == IB_QPT_DRIVER)
		return PVHCA_SQ_WQE_DATA + data;
	if (type == IB_QPT_GSI || type == IB_QPT_UD)
		return PVHCA_SQ_WQE_DATA + sizeof(struct pvhca_av) + data;
	data += sizeof(struct pvhca_atomic_seg);
	return PVHCA_SQ_WQE_DATA + max_t(u32, data, sizeof(struct pvhca_reg_seg));
}

/*
 * Where both rings are, each a power of two of entries; a queue without entries
 * does not exist, and all its numbers are 0. Returns the bytes they take.
 */
static u32 pvhca_kqp_layout(enum ib_qp_type type, const struct ib_qp_cap *cap,
			    struct pvhca_create_qp_req *ring)
{
	u32 end = PVHCA_QUEUE_HEADER_SIZE;

	memset(ring, 0, sizeof(*ring));
	if (cap->max_send_wr) {
		ring->sq_log_entries = order_base_2(cap->max_send_wr);
		ring->sq_log_stride = max_t(u8, PVHCA_SQ_MIN_LOG_STRIDE,
					    order_base_2(pvhca_kqp_send_entry(type, cap)));
		end = pvhca_kqp_place_ring(end, ring->sq_log_entries, ring->sq_log_stride,
					   &ring->sq_offset);
	}
	if (cap->max_recv_wr) {
		ring->rq_log_entries = order_base_2(cap->max_recv_wr);
		ring->rq_log_stride =
			max_t(u8, PVHCA_RQ_MIN_LOG_STRIDE,
			      order_base_2(PVHCA_RQ_WQE_DATA +
					   cap->max_recv_sge * (u32)sizeof(struct pvhca_sge)));
		end = pvhca_kqp_place_ring(end, ring->rq_log_entries, ring->rq_log_stride,
					   &ring->rq_offset);
	}
	return end;
}

static bool pvhca_kqp_is_offered(struct pvhca_dev *dev, enum ib_qp_type type)
{
	if (type == IB_QPT_GSI)
		return true;
	if (type == IB_QPT_DRIVER)
		return dev->features & PVHCA_FEATURE_NET;
	return le16_to_cpu(dev->attr.kernel_caps) & PVHCA_KERNEL_QP;
}

/* Limits of the host and of the rings. They also keep the layout within 32 bits. */
static int pvhca_kqp_check(struct pvhca_dev *dev, const struct ib_qp_init_attr *attr)
{
	const struct pvhca_rsp_query_device *host = &dev->attr;
	const struct ib_qp_cap *cap = &attr->cap;
	u32 max_wr = min_t(u32, le32_to_cpu(host->max_qp_wr), 1u << PVHCA_RING_MAX_LOG_ENTRIES);
	u32 entry;

	if (!pvhca_kqp_is_offered(dev, attr->qp_type))
		return -EOPNOTSUPP;
	if (attr->create_flags || attr->srq || attr->rwq_ind_tbl)
		return -EOPNOTSUPP;
	if (!attr->send_cq || !attr->recv_cq || !to_pvhca_cq(attr->send_cq)->kernel ||
	    !to_pvhca_cq(attr->recv_cq)->kernel)
		return -EINVAL;
	if (cap->max_send_wr > max_wr || cap->max_recv_wr > max_wr ||
	    cap->max_send_sge > le32_to_cpu(host->max_sge) ||
	    cap->max_recv_sge > le32_to_cpu(host->max_sge) ||
	    cap->max_inline_data > le32_to_cpu(host->max_inline))
		return -EINVAL;
	entry = max_t(u32, pvhca_kqp_send_entry(attr->qp_type, cap),
		      PVHCA_RQ_WQE_DATA + cap->max_recv_sge * sizeof(struct pvhca_sge));
	return entry > 1u << PVHCA_RING_MAX_LOG_STRIDE ? -EINVAL : 0;
}

/* ----------------------------- create and destroy -------------------------- */

static int pvhca_kwq_init(struct pvhca_kwq *wq, void *buf, __le32 *shared_pi, u32 offset,
			  u8 log_entries, u8 log_stride)
{
	spin_lock_init(&wq->lock);
	if (!log_stride)
		return 0;
	wq->wr_ids = kvcalloc(1u << log_entries, sizeof(*wq->wr_ids), GFP_KERNEL);
	if (!wq->wr_ids)
		return -ENOMEM;
	wq->mask = (1u << log_entries) - 1;
	wq->log_stride = log_stride;
	wq->entries = buf + offset;
	wq->shared_pi = shared_pi;
	return 0;
}

/* Buffer and queues of a QP that pvhcad does not know yet. */
static int pvhca_kqp_init_queues(struct pvhca_dev *dev, struct pvhca_kqp *kqp,
				 const struct pvhca_create_qp_req *ring, u32 bytes)
{
	struct pvhca_queue_header *header;
	int err;

	err = pvhca_kbuf_alloc(dev, &kqp->buf, bytes);
	if (err)
		return err;
	header = kqp->buf.addr;
	err = pvhca_kwq_init(&kqp->sq, header, &header->sq_pi, ring->sq_offset,
			     ring->sq_log_entries, ring->sq_log_stride);
	if (err)
		goto err_free_buf;
	err = pvhca_kwq_init(&kqp->rq, header, &header->rq_pi, ring->rq_offset,
			     ring->rq_log_entries, ring->rq_log_stride);
	if (err)
		goto err_free_sq;
	return 0;

err_free_sq:
	kvfree(kqp->sq.wr_ids);
err_free_buf:
	pvhca_kbuf_free(dev, &kqp->buf);
	return err;
}

static void pvhca_kqp_free_queues(struct pvhca_dev *dev, struct pvhca_kqp *kqp)
{
	kvfree(kqp->rq.wr_ids);
	kvfree(kqp->sq.wr_ids);
	pvhca_kbuf_free(dev, &kqp->buf);
}

/* The host may give more than the rings have room for. */
static void pvhca_kqp_set_limits(struct pvhca_qp *qp, const struct ib_qp_cap *wanted,
				 const struct ib_qp_cap *given)
{
	struct pvhca_kqp *kqp = qp->kernel;
	struct ib_qp_cap *cap = &qp->cap;

	*cap = *wanted;
	if (kqp->sq.entries)
		cap->max_send_wr = min_t(u32, given->max_send_wr, kqp->sq.mask + 1);
	if (kqp->rq.entries)
		cap->max_recv_wr = min_t(u32, given->max_recv_wr, kqp->rq.mask + 1);
	kqp->sq.max_wr = cap->max_send_wr;
	kqp->sq.max_sge = cap->max_send_sge;
	kqp->rq.max_wr = cap->max_recv_wr;
	kqp->rq.max_sge = cap->max_recv_sge;
	kqp->max_inline = cap->max_inline_data;
}

/* Have pvhcad serve the rings. */
static int pvhca_kqp_open(struct pvhca_qp *qp, const struct ib_qp_init_attr *attr,
			  const struct pvhca_create_qp_req *ring)
{
	struct pvhca_dev *dev = to_pvhca_dev(qp->ibqp.device);
	struct pvhca_kqp *kqp = qp->kernel;
	struct pvhca_mem_list mem;
	struct pvhca_com_create_qp_params params = {
		.context = kqp->kctx->handle,
		.pd = to_pvhca_pd(qp->ibqp.pd)->handle,
		.send_cq = to_pvhca_cq(attr->send_cq)->handle,
		.recv_cq = to_pvhca_cq(attr->recv_cq)->handle,
		.srq = PVHCA_NO_HANDLE,
		.type = attr->qp_type,
		.cap = &attr->cap,
		.ring = ring,
		.mem = &mem,
	};
	struct pvhca_com_create_qp_result result;
	int err;

	if (attr->sq_sig_type == IB_SIGNAL_ALL_WR)
		params.flags |= PVHCA_CREATE_QP_SIG_ALL;
	pvhca_kbuf_list(&kqp->buf, &mem);
	err = pvhca_com_create_qp(dev, &params, &result);
	if (err)
		return err;

	kqp->doorbell = pvhca_kctx_doorbell(kqp->kctx, result.doorbell);
	if (!kqp->doorbell || result.slot >= PVHCA_SLOTS) {
		pvhca_com_destroy_qp(dev, result.handle);
		return -EPROTO;
	}
	qp->handle = result.handle;
	kqp->slot = result.slot;
	kqp->qpn = result.qpn;
	qp->ibqp.qp_num = attr->qp_type == IB_QPT_GSI ? PVHCA_GSI_QPN : result.qpn;
	pvhca_kqp_set_limits(qp, &attr->cap, &result.cap);
	return 0;
}

/* Completions and events find the QP from now on. */
static int pvhca_kqp_enlist(struct pvhca_dev *dev, struct pvhca_qp *qp)
{
	struct pvhca_kqp *kqp = qp->kernel;
	int err;

	err = xa_insert_irq(&kqp->kctx->qps, kqp->qpn, kqp, GFP_KERNEL);
	if (err)
		return err;
	err = pvhca_object_publish(dev, &dev->qps, qp->handle, qp);
	if (err) {
		xa_erase_irq(&kqp->kctx->qps, kqp->qpn);
		return err;
	}
	pvhca_kcq_add_qp(kqp);
	return 0;
}

/**
 * pvhca_kqp_create - make a QP for a kernel consumer
 * @qp: QP; of a device with kernel verbs
 * @attr: attributes; on return with the capabilities that were given
 *
 * Return: 0; -EOPNOTSUPP if pvhcad does not serve such QPs; another negative
 * errno.
 */
int pvhca_kqp_create(struct pvhca_qp *qp, struct ib_qp_init_attr *attr)
{
	struct pvhca_dev *dev = to_pvhca_dev(qp->ibqp.device);
	struct pvhca_create_qp_req ring;
	struct pvhca_kqp *kqp;
	u32 bytes;
	int err;

	if (!dev->kctx)
		return -EOPNOTSUPP;
	err = pvhca_kqp_check(dev, attr);
	if (err)
		return err;

	kqp = kzalloc_obj(*kqp);
	if (!kqp)
		return -ENOMEM;
	kqp->ibqp = &qp->ibqp;
	kqp->kctx = dev->kctx;
	/* That for packets has no states. */
	kqp->state = attr->qp_type == IB_QPT_DRIVER ? IB_QPS_RTS : IB_QPS_RESET;
	qp->kernel = kqp;
	qp->state = kqp->state;
	qp->sig_type = attr->sq_sig_type;
	mutex_init(&qp->lock);

	bytes = pvhca_kqp_layout(attr->qp_type, &attr->cap, &ring);
	err = pvhca_kqp_init_queues(dev, kqp, &ring, bytes);
	if (err)
		goto err_free;
	err = pvhca_kqp_open(qp, attr, &ring);
	if (err)
		goto err_free_queues;
	err = pvhca_kqp_enlist(dev, qp);
	if (err)
		goto err_close;
	attr->cap = qp->cap;
	return 0;

err_close:
	pvhca_com_destroy_qp(dev, qp->handle);
err_free_queues:
	pvhca_kqp_free_queues(dev, kqp);
err_free:
	mutex_destroy(&qp->lock);
	qp->kernel = NULL;
	kfree(kqp);
	return err;
}

/* A thread whose work has completed may still hold the lock that it posted under. */
static void pvhca_kwq_sync(struct pvhca_kwq *wq)
{
	spin_lock_irq(&wq->lock);
	spin_unlock_irq(&wq->lock);
}

/**
 * pvhca_kqp_destroy - free the kernel's side of a QP
 * @qp: QP that pvhcad and events do not know any more
 */
void pvhca_kqp_destroy(struct pvhca_qp *qp)
{
	struct pvhca_kqp *kqp = qp->kernel;

	xa_erase_irq(&kqp->kctx->qps, kqp->qpn);
	pvhca_kcq_remove_qp(kqp);
	pvhca_kwq_sync(&kqp->sq);
	pvhca_kwq_sync(&kqp->rq);
	pvhca_kqp_free_queues(to_pvhca_dev(qp->ibqp.device), kqp);
	kfree(kqp);
}

/* ----------------------------------- modify -------------------------------- */

/**
 * pvhca_kqp_modified - the state of a kernel consumer's QP was to change
 * @qp: QP
 * @attr: as for ib_device_ops.modify_qp
 * @mask: likewise
 * @err: pvhcad's answer
 *
 * A consumer that drains a QP sets it to the error state first, and needs that to
 * succeed. On a dead session all QPs are in error already.
 *
 * Return: 0 or a negative errno: the new outcome.
 */
int pvhca_kqp_modified(struct pvhca_qp *qp, const struct ib_qp_attr *attr, int mask, int err)
{
	struct pvhca_dev *dev = to_pvhca_dev(qp->ibqp.device);
	struct pvhca_kqp *kqp = qp->kernel;

	lockdep_assert_held(&qp->lock);

	if (!(mask & IB_QP_STATE))
		return err;
	if (err && pvhca_dev_is_dead(dev) &&
	    (attr->qp_state == IB_QPS_ERR || attr->qp_state == IB_QPS_RESET))
		err = 0;
	if (err)
		return err;
	WRITE_ONCE(kqp->state, attr->qp_state);
	if (attr->qp_state == IB_QPS_RESET)
		pvhca_kcq_reset_qp(kqp);
	return 0;
}
