// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Control path of queue pairs.
 *
 * The host may give the number of a destroyed QP to the next one at once: while
 * the thread that destroys the first still waits in the kernel, another may have
 * made the second. Then that one cleans the CQs of the first and takes it out of
 * the table. It can do so, as the host writes no more completions for a QP whose
 * number it has given away; and nobody has to wait for the command of another.
 */
#include <errno.h>
#include <stdlib.h>

#include <ccan/minmax.h>
#include <util/util.h>

#include "compat.h"
#include "pvhca.h"
#include "pvhca-abi.h"
#include "ring.h"

/* Places of both rings in the buffer, as the kernel is told. */
struct layout {
	uint8_t sq_log_entries;
	uint8_t sq_log_stride;
	uint8_t rq_log_entries;
	uint8_t rq_log_stride;
	uint32_t sq_offset;
	uint32_t rq_offset;
	size_t len;
};

static int check_cap(const struct pvhca_context *ctx,
		     const struct ibv_qp_cap *cap)
{
	if (cap->max_send_wr > ctx->max_qp_wr ||
	    cap->max_recv_wr > ctx->max_qp_wr ||
	    cap->max_send_sge > ctx->max_sq_sge ||
	    cap->max_recv_sge > ctx->max_rq_sge ||
	    cap->max_inline_data > ctx->max_inline)
		return EINVAL;
	return 0;
}

/* A queue without entries, or replaced by an SRQ, does not exist. */
static void drop_absent_queues(struct ibv_qp_init_attr_ex *attr)
{
	struct ibv_qp_cap *cap = &attr->cap;

	if (!cap->max_send_wr)
		cap->max_send_sge = cap->max_inline_data = 0;
	if (attr->srq)
		cap->max_recv_wr = 0;
	if (!cap->max_recv_wr)
		cap->max_recv_sge = 0;
}

static unsigned int stride_for(unsigned int min, uint32_t bytes)
{
	return max_t(unsigned int, min, pvhca_log2_up(bytes));
}

/* A ring behind end; returns where it ends. */
static size_t place_ring(size_t end, unsigned int log_entries,
			 unsigned int stride, uint32_t *offset)
{
	*offset = align(end, 1ul << stride);
	return *offset + ((size_t)1 << (log_entries + stride));
}

/*
 * Each ring has a power of two of entries, each big enough for what was asked.
 * There is room for the segment of an atomic operation or a bind in the smallest
 * stride. Of a queue that does not exist all numbers are 0.
 */
static int make_layout(struct layout *l, const struct ibv_qp_cap *cap)
{
	uint32_t data = max_t(uint32_t, cap->max_inline_data,
			      cap->max_send_sge * sizeof(struct pvhca_sge));

	*l = (struct layout){ .len = PVHCA_QUEUE_HEADER_SIZE };
	if (cap->max_send_wr) {
		l->sq_log_entries = pvhca_log2_up(cap->max_send_wr);
		l->sq_log_stride = stride_for(PVHCA_SQ_MIN_LOG_STRIDE,
					      PVHCA_SQ_WQE_DATA + data);
		l->len = place_ring(l->len, l->sq_log_entries, l->sq_log_stride,
				    &l->sq_offset);
	}
	if (cap->max_recv_wr) {
		data = cap->max_recv_sge * sizeof(struct pvhca_sge);
		l->rq_log_entries = pvhca_log2_up(cap->max_recv_wr);
		l->rq_log_stride = stride_for(PVHCA_RQ_MIN_LOG_STRIDE,
					      PVHCA_RQ_WQE_DATA + data);
		l->len = place_ring(l->len, l->rq_log_entries, l->rq_log_stride,
				    &l->rq_offset);
	}
	return l->sq_log_stride > PVHCA_RING_MAX_LOG_STRIDE ||
			l->rq_log_stride > PVHCA_RING_MAX_LOG_STRIDE ?
		EINVAL :
		0;
}

/* Also for SRQs, where the entries of @wrid go by tag. Return: 0 or ENOMEM. */
int pvhca_init_queue(struct pvhca_queue *q, unsigned int log_entries,
		     unsigned int log_stride, bool one_thread)
{
	q->wrid = calloc((size_t)1 << log_entries, sizeof(*q->wrid));
	if (!q->wrid)
		return ENOMEM;
	q->mask = (1u << log_entries) - 1;
	q->log_stride = log_stride;
	pvhca_lock_init(&q->lock, one_thread);
	return 0;
}

void pvhca_free_queue(struct pvhca_queue *q)
{
	pvhca_lock_destroy(&q->lock);
	free(q->wrid);
}

/* Buffer and queues of a QP that is not known to the kernel yet. */
static int init_queues(struct pvhca_qp *qp, const struct layout *l)
{
	bool one_thread = qp->parent && qp->parent->td;
	struct pvhca_queue_header *header;
	int err;

	err = pvhca_buf_alloc(&qp->buf, l->len, qp->parent, PVHCA_RESOURCE_QP);
	if (err)
		return err;
	err = pvhca_init_queue(&qp->sq, l->sq_log_entries, l->sq_log_stride,
			       one_thread);
	if (err)
		goto err_free_buf;
	err = pvhca_init_queue(&qp->rq, l->rq_log_entries, l->rq_log_stride,
			       one_thread);
	if (err)
		goto err_free_sq;

	header = (struct pvhca_queue_header *)qp->buf.addr;
	qp->sq.shared_pi = &header->sq_pi;
	qp->rq.shared_pi = &header->rq_pi;
	qp->sq.entries = qp->buf.addr + l->sq_offset;
	qp->rq.entries = qp->buf.addr + l->rq_offset;
	return 0;

err_free_sq:
	pvhca_free_queue(&qp->sq);
err_free_buf:
	pvhca_buf_free(&qp->buf);
	return err;
}

static void free_qp(struct pvhca_qp *qp)
{
	pvhca_free_queue(&qp->rq);
	pvhca_free_queue(&qp->sq);
	pvhca_buf_free(&qp->buf);
	pvhca_put_parent(qp->parent);
	free(qp);
}

/* Cuts the numbers that the host gave of one queue to the room in its ring. */
static uint32_t cut_to_ring(struct pvhca_queue *q, uint32_t wqe_data,
			    uint32_t *max_wr, uint32_t *max_sge)
{
	uint32_t room = q->log_stride ? (1u << q->log_stride) - wqe_data : 0;

	*max_wr = room ? min_t(uint32_t, *max_wr, q->mask + 1) : 0;
	*max_sge = min_t(uint32_t, *max_sge, room / sizeof(struct pvhca_sge));
	q->max_wr = *max_wr;
	q->max_sge = *max_sge;
	return room;
}

static void set_limits(struct pvhca_qp *qp, struct ibv_qp_cap *cap)
{
	uint32_t room;

	room = cut_to_ring(&qp->sq, PVHCA_SQ_WQE_DATA, &cap->max_send_wr,
			   &cap->max_send_sge);
	cap->max_inline_data = min_t(uint32_t, cap->max_inline_data, room);
	qp->max_inline = cap->max_inline_data;
	cut_to_ring(&qp->rq, PVHCA_RQ_WQE_DATA, &cap->max_recv_wr,
		    &cap->max_recv_sge);
	qp->cap = *cap;
}

/*
 * Lets the CQs and the table forget a QP for which the host writes no more
 * completions. Does nothing if another thread has done so.
 */
static void forget_qp(struct pvhca_qp *qp)
{
	struct pvhca_cq *send_cq = to_pvhca_cq(qp->vqp.qp.send_cq);
	struct pvhca_cq *recv_cq = to_pvhca_cq(qp->vqp.qp.recv_cq);
	uint32_t qpn = qp->vqp.qp.qp_num;
	struct pvhca_context *ctx = qp->ctx;

	pvhca_lock_cqs(send_cq, recv_cq);
	pthread_mutex_lock(&ctx->qp_lock);
	if (pvhca_qp_table_find(&ctx->qp_table, qpn) == qp) {
		pvhca_cq_clean(send_cq, qp);
		if (recv_cq != send_cq)
			pvhca_cq_clean(recv_cq, qp);
		pvhca_qp_table_remove(&ctx->qp_table, qpn);
	}
	pthread_mutex_unlock(&ctx->qp_lock);
	pvhca_unlock_cqs(send_cq, recv_cq);
}

/* Makes room for the number of a new QP. Holds qp_lock, but not all the time. */
static bool replace_destroyed(struct pvhca_context *ctx, uint32_t qpn)
{
	struct pvhca_qp *old = pvhca_qp_table_find(&ctx->qp_table, qpn);

	if (!old->destroying)
		return false;
	old->visitors++;
	pthread_mutex_unlock(&ctx->qp_lock);
	forget_qp(old);
	pthread_mutex_lock(&ctx->qp_lock);
	old->visitors--;
	pthread_cond_broadcast(&ctx->qp_cond);
	return true;
}

/* Return: 0 or what pvhca_qp_table_insert() returns. */
static int remember_qp(struct pvhca_qp *qp)
{
	uint32_t qpn = qp->vqp.qp.qp_num;
	struct pvhca_context *ctx = qp->ctx;
	int err;

	pthread_mutex_lock(&ctx->qp_lock);
	do {
		err = pvhca_qp_table_insert(&ctx->qp_table, qpn, qp);
	} while (err == EEXIST && replace_destroyed(ctx, qpn));
	pthread_mutex_unlock(&ctx->qp_lock);
	return err;
}

static void set_destroying(struct pvhca_qp *qp, bool destroying)
{
	pthread_mutex_lock(&qp->ctx->qp_lock);
	qp->destroying = destroying;
	pthread_mutex_unlock(&qp->ctx->qp_lock);
}

static void wait_for_visitors(struct pvhca_qp *qp)
{
	struct pvhca_context *ctx = qp->ctx;

	pthread_mutex_lock(&ctx->qp_lock);
	while (qp->visitors)
		pthread_cond_wait(&ctx->qp_cond, &ctx->qp_lock);
	pthread_mutex_unlock(&ctx->qp_lock);
}

/* Takes over the kernel's answer. */
static int set_answer(struct pvhca_qp *qp,
		      const struct pvhca_create_qp_resp *resp,
		      struct ibv_qp_cap *cap)
{
	struct pvhca_context *ctx = qp->ctx;

	if (resp->slot >= PVHCA_SLOTS ||
	    resp->doorbell > ctx->doorbells_len - sizeof(__le32))
		return EPROTO;
	qp->slot = resp->slot;
	qp->doorbell = ctx->doorbells + resp->doorbell;
	set_limits(qp, cap);
	return remember_qp(qp);
}

static int create_kernel_qp(struct pvhca_qp *qp,
			    struct ibv_qp_init_attr_ex *attr,
			    const struct layout *l)
{
	struct pvhca_ucmd_create_qp_ex_resp resp = {};
	struct pvhca_ucmd_create_qp_ex cmd = {};
	int err;

	cmd.buf_addr = (uintptr_t)qp->buf.addr;
	cmd.buf_len = qp->buf.len;
	cmd.sq_offset = l->sq_offset;
	cmd.rq_offset = l->rq_offset;
	cmd.sq_log_entries = l->sq_log_entries;
	cmd.sq_log_stride = l->sq_log_stride;
	cmd.rq_log_entries = l->rq_log_entries;
	cmd.rq_log_stride = l->rq_log_stride;
	err = pvhca_cmd_create_qp_ex2(attr->pd->context, &qp->vqp, attr,
				      &cmd.ibv_cmd, sizeof(cmd), &resp.ibv_resp,
				      sizeof(resp));
	if (err)
		return err;
	err = set_answer(qp, &resp.drv_payload, &attr->cap);
	if (err)
		ibv_cmd_destroy_qp(&qp->vqp.qp);
	return err;
}

static int check_attr(const struct pvhca_context *ctx,
		      const struct ibv_qp_init_attr_ex *attr)
{
	uint32_t flags = 0;

	if (!check_comp_mask(attr->comp_mask,
			     IBV_QP_INIT_ATTR_PD |
				     IBV_QP_INIT_ATTR_CREATE_FLAGS |
				     IBV_QP_INIT_ATTR_SEND_OPS_FLAGS))
		return EOPNOTSUPP;
	if (!(attr->comp_mask & IBV_QP_INIT_ATTR_PD) || !attr->pd ||
	    !attr->send_cq || !attr->recv_cq)
		return EINVAL;
	if (attr->qp_type != IBV_QPT_RC && attr->qp_type != IBV_QPT_UC &&
	    attr->qp_type != IBV_QPT_UD)
		return EOPNOTSUPP;

	if (attr->comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS)
		flags = attr->create_flags;
	if (attr->qp_type == IBV_QPT_UD)
		flags &= ~IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
	if (flags)
		return EOPNOTSUPP;
	return check_cap(ctx, &attr->cap);
}

/* The QP without the kernel's part. NULL with errno set. */
static struct pvhca_qp *init_qp(struct pvhca_context *ctx,
				const struct ibv_qp_init_attr_ex *attr,
				const struct layout *l)
{
	struct pvhca_qp *qp;
	int err;

	qp = calloc(1, sizeof(*qp));
	if (!qp) {
		errno = ENOMEM;
		return NULL;
	}
	qp->ctx = ctx;
	qp->state = IBV_QPS_RESET;
	qp->sq_sig_all = attr->sq_sig_all;
	qp->parent = pvhca_get_parent(attr->pd);
	err = init_queues(qp, l);
	if (err) {
		pvhca_put_parent(qp->parent);
		free(qp);
		errno = err;
		return NULL;
	}
	return qp;
}

/* Makes a QP and writes its capacities to @attr. NULL with errno set. */
static struct pvhca_qp *create_qp(struct pvhca_context *ctx,
				  struct ibv_qp_init_attr_ex *attr)
{
	struct pvhca_qp *qp;
	struct layout l;
	int err;

	drop_absent_queues(attr);
	err = check_attr(ctx, attr);
	if (!err)
		err = make_layout(&l, &attr->cap);
	if (err) {
		errno = err;
		return NULL;
	}
	qp = init_qp(ctx, attr, &l);
	if (!qp)
		return NULL;

	err = create_kernel_qp(qp, attr, &l);
	if (err) {
		free_qp(qp);
		errno = err;
		return NULL;
	}
	return qp;
}

struct ibv_qp *pvhca_create_qp(struct ibv_pd *ibpd,
			       struct ibv_qp_init_attr *init_attr)
{
	struct ibv_qp_init_attr_ex attr = {
		.qp_context = init_attr->qp_context,
		.send_cq = init_attr->send_cq,
		.recv_cq = init_attr->recv_cq,
		.srq = init_attr->srq,
		.cap = init_attr->cap,
		.qp_type = init_attr->qp_type,
		.sq_sig_all = init_attr->sq_sig_all,
		.comp_mask = IBV_QP_INIT_ATTR_PD,
		.pd = ibpd,
	};
	struct pvhca_qp *qp;

	qp = create_qp(to_pvhca_context(ibpd->context), &attr);
	if (!qp)
		return NULL;
	init_attr->cap = attr.cap;
	return &qp->vqp.qp;
}

struct ibv_qp *pvhca_create_qp_ex(struct ibv_context *ibctx,
				  struct ibv_qp_init_attr_ex *init_attr)
{
	struct ibv_qp_init_attr_ex attr = *init_attr;
	uint64_t send_ops = 0;
	struct pvhca_qp *qp;
	int err;

	if (attr.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS)
		send_ops = attr.send_ops_flags;
	err = pvhca_check_send_ops(to_pvhca_context(ibctx), attr.qp_type,
				   send_ops);
	if (err) {
		errno = err;
		return NULL;
	}

	qp = create_qp(to_pvhca_context(ibctx), &attr);
	if (!qp)
		return NULL;
	if (attr.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) {
		pvhca_set_wr_ops(qp, send_ops);
		pvhca_set_qp_ex(&qp->vqp);
	}
	init_attr->cap = attr.cap;
	return &qp->vqp.qp;
}

static enum ibv_qp_state set_state(struct pvhca_qp *qp, enum ibv_qp_state state)
{
	enum ibv_qp_state old;

	pvhca_lock(&qp->sq.lock);
	pvhca_lock(&qp->rq.lock);
	old = qp->state;
	qp->state = state;
	pvhca_unlock(&qp->rq.lock);
	pvhca_unlock(&qp->sq.lock);
	return old;
}

static void reset_queue(struct pvhca_queue *q)
{
	pvhca_lock(&q->lock);
	q->pi = 0;
	__atomic_store_n(&q->ci, 0, __ATOMIC_RELEASE);
	pvhca_store32_release(q->shared_pi, 0);
	pvhca_unlock(&q->lock);
}

/*
 * The host has forgotten all queued work and ignores the rings until the QP
 * leaves RESET; then both sides start at index 0.
 */
static void reset_queues(struct pvhca_qp *qp)
{
	struct pvhca_cq *send_cq = to_pvhca_cq(qp->vqp.qp.send_cq);
	struct pvhca_cq *recv_cq = to_pvhca_cq(qp->vqp.qp.recv_cq);

	pvhca_lock_cqs(send_cq, recv_cq);
	pvhca_cq_clean(send_cq, qp);
	if (recv_cq != send_cq)
		pvhca_cq_clean(recv_cq, qp);
	reset_queue(&qp->sq);
	reset_queue(&qp->rq);
	pvhca_unlock_cqs(send_cq, recv_cq);
}

/*
 * A post looks at the state of the last completed modify, but on the way to
 * RESET at the new one: nothing may be posted to rings that are about to be
 * emptied.
 */
int pvhca_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask)
{
	bool to_reset = mask & IBV_QP_STATE && attr->qp_state == IBV_QPS_RESET;
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	enum ibv_qp_state old = qp->state;
	struct ibv_modify_qp cmd = {};
	int err;

	if (to_reset)
		old = set_state(qp, IBV_QPS_RESET);

	err = ibv_cmd_modify_qp(ibqp, attr, mask, &cmd, sizeof(cmd));
	if (err) {
		if (to_reset)
			set_state(qp, old);
		return err;
	}

	if (to_reset)
		reset_queues(qp);
	else if (mask & IBV_QP_STATE)
		set_state(qp, attr->qp_state);
	return 0;
}

int pvhca_query_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		   struct ibv_qp_init_attr *init_attr)
{
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	struct ibv_query_qp cmd;
	int err;

	err = ibv_cmd_query_qp(ibqp, attr, mask, init_attr, &cmd, sizeof(cmd));
	if (err)
		return err;
	attr->cap = qp->cap;
	init_attr->cap = qp->cap;
	init_attr->sq_sig_all = qp->sq_sig_all;
	return 0;
}

/*
 * The command waits until the application has acknowledged the events of the QP,
 * so no lock is held over it: the same thread may make and destroy others first.
 */
int pvhca_destroy_qp(struct ibv_qp *ibqp)
{
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	int err;

	set_destroying(qp, true);
	err = ibv_cmd_destroy_qp(ibqp);
	if (err) {
		set_destroying(qp, false);
		return err;
	}
	forget_qp(qp);
	wait_for_visitors(qp);
	free_qp(qp);
	return 0;
}
