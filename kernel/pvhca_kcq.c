// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Completion queues of kernel consumers: rings that pvhcad writes and the driver
 * polls. See pvhca_kverbs.h.
 */

#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

/* In place of the QP number: the QP is gone, the completion is skipped. */
#define PVHCA_QPN_SKIP 0xffffffffu

/* The last four bytes of a completion as pvhcad writes them: in one word. */
#define PVHCA_CQE_OPCODE(word) ((word)&0xff)
#define PVHCA_CQE_STATUS(word) ((word) >> 8 & 0xff)
#define PVHCA_CQE_SL(word)     ((word) >> 16 & 0xff)
#define PVHCA_CQE_FLAGS(word)  ((word) >> 24)

static struct pvhca_cq_header *pvhca_kcq_header(struct pvhca_kcq *kcq)
{
	return kcq->buf.addr;
}

/* The entry of index @ci if pvhcad has written it, else NULL; @word is its last. */
static struct pvhca_cqe *pvhca_kcq_entry(struct pvhca_kcq *kcq, u32 ci, u32 *word)
{
	struct pvhca_cqe *entries = kcq->buf.addr + PVHCA_CQ_HEADER_SIZE;
	struct pvhca_cqe *cqe = &entries[ci & ((1u << kcq->log_entries) - 1)];
	bool phase = !(ci >> kcq->log_entries & 1);

	/* With a new phase, the rest of the entry is new. */
	*word = le32_to_cpu(virt_load_acquire((__le32 *)&cqe->opcode));
	return !!(PVHCA_CQE_FLAGS(*word) & PVHCA_CQE_F_PHASE) == phase ? cqe : NULL;
}

/* Entries below ci are pvhcad's again; it is told if it waits for them. */
static void pvhca_kcq_release_entries(struct pvhca_kcq *kcq)
{
	struct pvhca_cq_header *header = pvhca_kcq_header(kcq);

	virt_store_release(&header->ci, cpu_to_le32(kcq->ci));
	if (unlikely(le32_to_cpu(READ_ONCE(header->flags)) & PVHCA_CQ_F_BLOCKED))
		writel(0, kcq->doorbell);
}

/* ---------------------------------- polling -------------------------------- */

/*
 * Retire the entry at @place and all before it: unsignaled sends have no
 * completion of their own. False if nothing was outstanding there.
 */
static bool pvhca_kcq_retire(struct pvhca_kwq *wq, u32 place, u64 *wr_id)
{
	u32 count = ((place - wq->ci) & wq->mask) + 1;

	if (place > wq->mask || count > smp_load_acquire(&wq->pi) - wq->ci)
		return false;
	*wr_id = wq->wr_ids[place];
	smp_store_release(&wq->ci, wq->ci + count);
	return true;
}

static enum ib_wc_opcode pvhca_kcq_wc_opcode(unsigned int opcode)
{
	switch (opcode) {
	case PVHCA_CQE_WRITE:
		return IB_WC_RDMA_WRITE;
	case PVHCA_CQE_READ:
		return IB_WC_RDMA_READ;
	case PVHCA_CQE_COMP_SWAP:
		return IB_WC_COMP_SWAP;
	case PVHCA_CQE_FETCH_ADD:
		return IB_WC_FETCH_ADD;
	case PVHCA_CQE_LOCAL_INV:
		return IB_WC_LOCAL_INV;
	case PVHCA_CQE_REG_MR:
		return IB_WC_REG_MR;
	case PVHCA_CQE_RECV:
		return IB_WC_RECV;
	case PVHCA_CQE_RECV_WRITE_IMM:
		return IB_WC_RECV_RDMA_WITH_IMM;
	default:
		return IB_WC_SEND;
	}
}

static void pvhca_kcq_fill_wc(struct ib_wc *wc, const struct pvhca_cqe *cqe, u32 word)
{
	u32 flags = PVHCA_CQE_FLAGS(word);
	u32 status = PVHCA_CQE_STATUS(word);

	wc->opcode = pvhca_kcq_wc_opcode(PVHCA_CQE_OPCODE(word));
	if (status != IB_WC_SUCCESS) {
		wc->status = (enum ib_wc_status)min_t(u32, status, IB_WC_GENERAL_ERR);
		wc->vendor_err = le32_to_cpu(cqe->vendor_err);
		return;
	}
	wc->status = IB_WC_SUCCESS;
	wc->byte_len = le32_to_cpu(cqe->byte_len);
	wc->src_qp = le32_to_cpu(cqe->src_qp);
	wc->pkey_index = le16_to_cpu(cqe->pkey_index);
	wc->sl = PVHCA_CQE_SL(word);
	wc->port_num = PVHCA_PORT;
	/* The core finds the kind of the header by itself. */
	if (flags & PVHCA_CQE_F_GRH)
		wc->wc_flags |= IB_WC_GRH;
	if (flags & PVHCA_CQE_F_VLAN) {
		wc->wc_flags |= IB_WC_WITH_VLAN;
		wc->vlan_id = le32_to_cpu(cqe->inv_rkey);
	} else if (flags & PVHCA_CQE_F_IMM) {
		wc->wc_flags |= IB_WC_WITH_IMM;
		wc->ex.imm_data = cqe->imm_data;
	} else if (flags & PVHCA_CQE_F_INV) {
		wc->wc_flags |= IB_WC_WITH_INVALIDATE;
		wc->ex.invalidate_rkey = le32_to_cpu(cqe->inv_rkey);
	}
}

/* Report an entry of the ring; false: it has no owner. */
static bool pvhca_kcq_report(struct pvhca_kcq *kcq, const struct pvhca_cqe *cqe, u32 word,
			     struct ib_wc *wc)
{
	u32 qpn = le32_to_cpu(cqe->qpn);
	struct pvhca_kqp *kqp = xa_load(&kcq->kctx->qps, qpn);
	struct pvhca_kwq *wq;

	if (!kqp)
		return false;
	memset(wc, 0, sizeof(*wc));
	wq = PVHCA_CQE_OPCODE(word) >= PVHCA_CQE_RECV ? &kqp->rq : &kqp->sq;
	if (!pvhca_kcq_retire(wq, le16_to_cpu(cqe->wqe_index), &wc->wr_id)) {
		ibdev_err_ratelimited(kcq->ibcq->device,
				      "QP %u: completion without outstanding work\n", qpn);
		return false;
	}
	wc->qp = kqp->ibqp;
	pvhca_kcq_fill_wc(wc, cqe, word);
	return true;
}

static int pvhca_kcq_poll_ring(struct pvhca_kcq *kcq, int num, struct ib_wc *wc)
{
	u32 first = kcq->ci;
	struct pvhca_cqe *cqe;
	int n = 0;
	u32 word;

	while (n < num) {
		cqe = pvhca_kcq_entry(kcq, kcq->ci, &word);
		if (!cqe)
			break;
		if (pvhca_kcq_report(kcq, cqe, word, &wc[n]))
			n++;
		kcq->ci++;
	}
	if (kcq->ci != first)
		pvhca_kcq_release_entries(kcq);
	return n;
}

/* ------------------------------- dead sessions ----------------------------- */

static bool pvhca_kwq_is_empty(struct pvhca_kwq *wq)
{
	return wq->ci == smp_load_acquire(&wq->pi);
}

static int pvhca_kcq_flush_queue(struct pvhca_kqp *kqp, struct pvhca_kwq *wq, int num,
				 struct ib_wc *wc)
{
	int n;

	for (n = 0; n < num && !pvhca_kwq_is_empty(wq); n++) {
		memset(&wc[n], 0, sizeof(wc[n]));
		wc[n].wr_id = wq->wr_ids[wq->ci & wq->mask];
		wc[n].qp = kqp->ibqp;
		wc[n].status = IB_WC_WR_FLUSH_ERR;
		wc[n].opcode = wq == &kqp->rq ? IB_WC_RECV : IB_WC_SEND;
		smp_store_release(&wq->ci, wq->ci + 1);
	}
	return n;
}

static int pvhca_kcq_flush_queues(struct pvhca_kcq *kcq, int num, struct ib_wc *wc)
{
	struct pvhca_kqp *kqp;
	int n = 0;

	list_for_each_entry (kqp, &kcq->senders, send_link)
		n += pvhca_kcq_flush_queue(kqp, &kqp->sq, num - n, wc + n);
	list_for_each_entry (kqp, &kcq->receivers, recv_link)
		n += pvhca_kcq_flush_queue(kqp, &kqp->rq, num - n, wc + n);
	return n;
}

static bool pvhca_kcq_has_something(struct pvhca_kcq *kcq)
{
	struct pvhca_kqp *kqp;
	u32 word;

	lockdep_assert_held(&kcq->lock);

	if (pvhca_kcq_entry(kcq, kcq->ci, &word))
		return true;
	if (!pvhca_kctx_is_flushing(kcq->kctx))
		return false;
	list_for_each_entry (kqp, &kcq->senders, send_link)
		if (!pvhca_kwq_is_empty(&kqp->sq))
			return true;
	list_for_each_entry (kqp, &kcq->receivers, recv_link)
		if (!pvhca_kwq_is_empty(&kqp->rq))
			return true;
	return false;
}

/**
 * pvhca_kcq_take_event - is an event due that pvhcad does not raise any more?
 * @kcq: CQ of a dead session
 *
 * Context: any.
 * Return: true if so; the caller has to raise it.
 */
bool pvhca_kcq_take_event(struct pvhca_kcq *kcq)
{
	unsigned long flags;
	bool due;

	spin_lock_irqsave(&kcq->lock, flags);
	due = kcq->armed && pvhca_kcq_has_something(kcq);
	if (due)
		kcq->armed = false;
	spin_unlock_irqrestore(&kcq->lock, flags);
	return due;
}

/**
 * pvhca_kcq_event_raised - pvhcad raised an event
 * @kcq: CQ
 *
 * Context: any.
 */
void pvhca_kcq_event_raised(struct pvhca_kcq *kcq)
{
	unsigned long flags;

	spin_lock_irqsave(&kcq->lock, flags);
	kcq->armed = false;
	spin_unlock_irqrestore(&kcq->lock, flags);
}

/* ----------------------------------- verbs --------------------------------- */

/**
 * pvhca_poll_cq - ib_device_ops.poll_cq
 * @ibcq: CQ
 * @num_entries: room in @wc
 * @wc: completions
 *
 * Context: any.
 * Return: number of completions; -EINVAL for an application's CQ.
 */
int pvhca_poll_cq(struct ib_cq *ibcq, int num_entries, struct ib_wc *wc)
{
	struct pvhca_kcq *kcq = to_pvhca_cq(ibcq)->kernel;
	unsigned long flags;
	bool flushing;
	int n;

	if (!kcq)
		return -EINVAL;
	spin_lock_irqsave(&kcq->lock, flags);
	/* In this order: once flushing is set, the ring has all that pvhcad ever wrote. */
	flushing = pvhca_kctx_is_flushing(kcq->kctx);
	n = pvhca_kcq_poll_ring(kcq, num_entries, wc);
	if (unlikely(flushing))
		n += pvhca_kcq_flush_queues(kcq, num_entries - n, wc + n);
	spin_unlock_irqrestore(&kcq->lock, flags);
	return n;
}

/**
 * pvhca_req_notify_cq - ib_device_ops.req_notify_cq
 * @ibcq: CQ
 * @flags: kind of completion, IB_CQ_*
 *
 * Context: any.
 * Return: 0; 1 if there is something to be polled and the caller wants to know;
 * -EINVAL for an application's CQ.
 */
int pvhca_req_notify_cq(struct ib_cq *ibcq, enum ib_cq_notify_flags flags)
{
	struct pvhca_kcq *kcq = to_pvhca_cq(ibcq)->kernel;
	struct pvhca_cq_header *header;
	unsigned long irq_flags;
	__le32 *count;
	int ret = 0;

	if (!kcq)
		return -EINVAL;
	header = pvhca_kcq_header(kcq);
	count = (flags & IB_CQ_SOLICITED_MASK) == IB_CQ_SOLICITED ? &header->arm_solicited :
								    &header->arm_any;

	spin_lock_irqsave(&kcq->lock, irq_flags);
	kcq->armed = true;
	WRITE_ONCE(*count, cpu_to_le32(le32_to_cpu(*count) + 1));
	/* Either pvhcad sees the new count, or this thread sees its entry. */
	virt_mb();
	if ((flags & IB_CQ_REPORT_MISSED_EVENTS) && pvhca_kcq_has_something(kcq))
		ret = 1;
	spin_unlock_irqrestore(&kcq->lock, irq_flags);

	if (unlikely(pvhca_kctx_is_flushing(kcq->kctx)))
		pvhca_kctx_schedule_flush(kcq->kctx);
	return ret;
}

/* ------------------------------------ QPs ---------------------------------- */

/*
 * Completions of the QP stay where they are, marked to be skipped. The walk ends
 * at the first entry that was not written, a lap later at the latest.
 */
static void pvhca_kcq_forget(struct pvhca_kcq *kcq, u32 qpn)
{
	struct pvhca_cqe *cqe;
	u32 word;
	u32 i;

	lockdep_assert_held(&kcq->lock);

	for (i = kcq->ci; (cqe = pvhca_kcq_entry(kcq, i, &word)) != NULL; i++)
		if (le32_to_cpu(cqe->qpn) == qpn)
			cqe->qpn = cpu_to_le32(PVHCA_QPN_SKIP);
}

/**
 * pvhca_kcq_add_qp - a QP completes here from now on
 * @kqp: QP, which is not used yet
 *
 * Context: process.
 */
void pvhca_kcq_add_qp(struct pvhca_kqp *kqp)
{
	struct pvhca_kcq *send = to_pvhca_cq(kqp->ibqp->send_cq)->kernel;
	struct pvhca_kcq *recv = to_pvhca_cq(kqp->ibqp->recv_cq)->kernel;

	spin_lock_irq(&send->lock);
	list_add_tail(&kqp->send_link, &send->senders);
	spin_unlock_irq(&send->lock);
	spin_lock_irq(&recv->lock);
	list_add_tail(&kqp->recv_link, &recv->receivers);
	spin_unlock_irq(&recv->lock);
}

/**
 * pvhca_kcq_remove_qp - undo pvhca_kcq_add_qp()
 * @kqp: QP that no completion can be taken to any more, nor be written for
 *
 * No thread that polls uses it on return.
 *
 * Context: process.
 */
void pvhca_kcq_remove_qp(struct pvhca_kqp *kqp)
{
	struct pvhca_kcq *send = to_pvhca_cq(kqp->ibqp->send_cq)->kernel;
	struct pvhca_kcq *recv = to_pvhca_cq(kqp->ibqp->recv_cq)->kernel;

	spin_lock_irq(&send->lock);
	list_del(&kqp->send_link);
	pvhca_kcq_forget(send, kqp->qpn);
	spin_unlock_irq(&send->lock);
	spin_lock_irq(&recv->lock);
	list_del(&kqp->recv_link);
	pvhca_kcq_forget(recv, kqp->qpn);
	spin_unlock_irq(&recv->lock);
}

static void pvhca_kcq_reset_queue(struct pvhca_kcq *kcq, u32 qpn, struct pvhca_kwq *wq)
{
	spin_lock_irq(&kcq->lock);
	pvhca_kcq_forget(kcq, qpn);
	spin_lock(&wq->lock);
	wq->pi = 0;
	wq->ci = 0;
	if (wq->shared_pi)
		virt_store_release(wq->shared_pi, 0);
	spin_unlock(&wq->lock);
	spin_unlock_irq(&kcq->lock);
}

/**
 * pvhca_kcq_reset_qp - forget a QP's work and its completions
 * @kqp: QP in the state RESET, where pvhcad does not look at its rings
 *
 * Context: process.
 */
void pvhca_kcq_reset_qp(struct pvhca_kqp *kqp)
{
	pvhca_kcq_reset_queue(to_pvhca_cq(kqp->ibqp->send_cq)->kernel, kqp->qpn, &kqp->sq);
	pvhca_kcq_reset_queue(to_pvhca_cq(kqp->ibqp->recv_cq)->kernel, kqp->qpn, &kqp->rq);
}

/* ----------------------------- create and destroy -------------------------- */

/* Have pvhcad serve the ring; cq->eq is set. */
static int pvhca_kcq_open(struct pvhca_cq *cq, struct pvhca_kcq *kcq)
{
	struct pvhca_dev *dev = to_pvhca_dev(cq->ibcq.device);
	struct pvhca_mem_list mem;
	const struct pvhca_com_create_cq_params params = {
		.context = kcq->kctx->handle,
		.ceq = cq->eq->handle,
		.log_entries = kcq->log_entries,
		.mem = &mem,
	};
	struct pvhca_com_create_cq_result result;
	int err;

	pvhca_kbuf_list(&kcq->buf, &mem);
	err = pvhca_com_create_cq(dev, &params, &result);
	if (err)
		return err;
	kcq->doorbell = pvhca_kctx_doorbell(kcq->kctx, result.doorbell);
	if (!kcq->doorbell) {
		pvhca_com_destroy_cq(dev, result.handle);
		return -EPROTO;
	}
	cq->handle = result.handle;
	return 0;
}

/**
 * pvhca_kcq_create - make a CQ for a kernel consumer
 * @cq: CQ; of a device with kernel verbs
 * @attr: attributes
 *
 * Return: 0 or a negative errno.
 */
int pvhca_kcq_create(struct pvhca_cq *cq, const struct ib_cq_init_attr *attr)
{
	struct pvhca_dev *dev = to_pvhca_dev(cq->ibcq.device);
	struct pvhca_kcq *kcq;
	int err;

	if (attr->flags)
		return -EOPNOTSUPP;
	if (!dev->kctx || !attr->cqe || attr->cqe > le32_to_cpu(dev->attr.max_cqe) ||
	    attr->cqe > 1u << PVHCA_CQ_MAX_LOG_ENTRIES || attr->comp_vector >= dev->num_ceqs)
		return -EINVAL;

	kcq = kzalloc_obj(*kcq);
	if (!kcq)
		return -ENOMEM;
	kcq->ibcq = &cq->ibcq;
	kcq->kctx = dev->kctx;
	kcq->log_entries = order_base_2(attr->cqe);
	spin_lock_init(&kcq->lock);
	INIT_LIST_HEAD(&kcq->senders);
	INIT_LIST_HEAD(&kcq->receivers);
	cq->eq = &dev->ceqs[attr->comp_vector];
	mutex_init(&cq->lock);

	err = pvhca_kbuf_alloc(dev, &kcq->buf,
			       PVHCA_CQ_HEADER_SIZE +
				       (sizeof(struct pvhca_cqe) << kcq->log_entries));
	if (err)
		goto err_free;
	err = pvhca_kcq_open(cq, kcq);
	if (err)
		goto err_free_buf;
	cq->kernel = kcq;
	cq->ibcq.cqe = 1 << kcq->log_entries;
	err = pvhca_object_publish(dev, &dev->cqs, cq->handle, cq);
	if (err)
		goto err_close;
	return 0;

err_close:
	pvhca_com_destroy_cq(dev, cq->handle);
err_free_buf:
	pvhca_kbuf_free(dev, &kcq->buf);
err_free:
	mutex_destroy(&cq->lock);
	cq->kernel = NULL;
	kfree(kcq);
	return err;
}

/**
 * pvhca_kcq_destroy - free the kernel's side of a CQ
 * @cq: CQ that pvhcad and events do not know any more
 */
void pvhca_kcq_destroy(struct pvhca_cq *cq)
{
	struct pvhca_kcq *kcq = cq->kernel;

	pvhca_kbuf_free(to_pvhca_dev(cq->ibcq.device), &kcq->buf);
	kfree(kcq);
}
