// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queue pairs: rings in user memory, which the provider writes and pvhcad reads;
 * state and attributes are kept on the host.
 */

#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

#define PVHCA_QP_CREATE_FLAGS IB_QP_CREATE_BLOCK_MULTICAST_LOOPBACK

/* ----------------------------- create and destroy -------------------------- */

static int pvhca_qp_check_attr(struct pvhca_dev *dev, const struct ib_qp_init_attr *attr)
{
	const struct pvhca_rsp_query_device *limit = &dev->attr;

	if ((attr->create_flags & ~PVHCA_QP_CREATE_FLAGS) || attr->rwq_ind_tbl)
		return -EOPNOTSUPP;
	if (!attr->send_cq || !attr->recv_cq)
		return -EINVAL;
	if (attr->cap.max_send_wr > le32_to_cpu(limit->max_qp_wr) ||
	    attr->cap.max_recv_wr > le32_to_cpu(limit->max_qp_wr) ||
	    attr->cap.max_send_sge > le32_to_cpu(limit->max_sge) ||
	    attr->cap.max_recv_sge > le32_to_cpu(limit->max_sge) ||
	    attr->cap.max_inline_data > le32_to_cpu(limit->max_inline))
		return -EINVAL;
	return 0;
}

/* pvhcad checks the layout of the rings. */
static int pvhca_qp_check_req(const struct pvhca_create_qp_req *req)
{
	if (req->comp_mask || req->flags)
		return -EOPNOTSUPP;
	if (req->buf_addr % PVHCA_GRANULE || req->buf_len < PVHCA_QUEUE_HEADER_SIZE)
		return -EINVAL;
	return 0;
}

/**
 * struct pvhca_qp_user - an application's QP while it is made
 * @user: steps in common
 * @qp: the QP
 * @attr: attributes
 * @req: the provider's request
 * @resp: answer to it
 */
struct pvhca_qp_user {
	struct pvhca_object_user user;
	struct pvhca_qp *qp;
	const struct ib_qp_init_attr *attr;
	const struct pvhca_create_qp_req *req;
	struct pvhca_create_qp_resp resp;
};

/* pvhca_object_user.open */
static int pvhca_qp_open(const struct pvhca_object_user *object, const struct pvhca_ucontext *ctx,
			 struct pvhca_mem *mem)
{
	struct pvhca_qp_user *user = container_of(object, struct pvhca_qp_user, user);
	const struct ib_qp_init_attr *attr = user->attr;
	struct pvhca_qp *qp = user->qp;
	struct pvhca_com_create_qp_params params = {
		.context = ctx->handle,
		.pd = to_pvhca_pd(qp->ibqp.pd)->handle,
		.send_cq = to_pvhca_cq(attr->send_cq)->handle,
		.recv_cq = to_pvhca_cq(attr->recv_cq)->handle,
		.srq = attr->srq ? to_pvhca_srq(attr->srq)->handle : PVHCA_NO_HANDLE,
		.type = attr->qp_type,
		.cap = &attr->cap,
		.ring = user->req,
		.mem = pvhca_mem_list(mem),
		.hold = pvhca_mem_hold(mem),
	};
	struct pvhca_com_create_qp_result result;
	int err;

	if (attr->srq)
		params.flags |= PVHCA_CREATE_QP_SRQ;
	if (attr->sq_sig_type == IB_SIGNAL_ALL_WR)
		params.flags |= PVHCA_CREATE_QP_SIG_ALL;
	if (attr->create_flags & IB_QP_CREATE_BLOCK_MULTICAST_LOOPBACK)
		params.flags |= PVHCA_CREATE_QP_BLOCK_LOOPBACK;
	err = pvhca_com_create_qp(object->dev, &params, &result);
	if (err)
		return err;

	qp->handle = result.handle;
	qp->cap = result.cap;
	qp->ibqp.qp_num = result.qpn;
	qp->slot.page = page_address(ctx->page->page);
	qp->slot.index = result.slot;
	user->resp.slot = result.slot;
	user->resp.doorbell = result.doorbell;
	return 0;
}

static int pvhca_qp_create_user(struct pvhca_dev *dev, struct pvhca_qp *qp,
				const struct ib_qp_init_attr *attr,
				const struct pvhca_create_qp_req *req, struct ib_udata *udata)
{
	struct pvhca_qp_user user = {
		.user = {
			.dev = dev,
			.table = &dev->qps,
			.object = qp,
			.handle = &qp->handle,
			.umem = &qp->umem,
			.buf_addr = req->buf_addr,
			.buf_len = req->buf_len,
			.resp = &user.resp,
			.resp_size = sizeof(user.resp),
			.open = pvhca_qp_open,
			.close = pvhca_com_destroy_qp,
		},
		.qp = qp,
		.attr = attr,
		.req = req,
	};

	return pvhca_object_create_user(&user.user, udata);
}

/**
 * pvhca_create_qp - ib_device_ops.create_qp
 * @ibqp: QP
 * @attr: attributes; on return with the capabilities that were given
 * @udata: struct pvhca_create_qp_req, struct pvhca_create_qp_resp; NULL for a
 *	kernel consumer
 *
 * Return: 0 or a negative errno.
 */
int pvhca_create_qp(struct ib_qp *ibqp, struct ib_qp_init_attr *attr, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibqp->device);
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	struct pvhca_create_qp_req req;
	int err;

	if (!udata)
		return pvhca_kqp_create(qp, attr);
	/* Only the kernel has the GSI QP, and that for packets. */
	if (attr->qp_type == IB_QPT_GSI || attr->qp_type == IB_QPT_DRIVER)
		return -EOPNOTSUPP;
	if (attr->srq) {
		/* There is no receive queue: ibv_create_qp(3). */
		attr->cap.max_recv_wr = 0;
		attr->cap.max_recv_sge = 0;
	}
	err = pvhca_qp_check_attr(dev, attr);
	if (err)
		return err;
	err = ib_copy_validate_udata_in(udata, req, flags);
	if (err)
		return err;
	err = pvhca_qp_check_req(&req);
	if (err)
		return err;

	mutex_init(&qp->lock);
	qp->state = IB_QPS_RESET;
	qp->sig_type = attr->sq_sig_type;
	err = pvhca_qp_create_user(dev, qp, attr, &req, udata);
	if (err)
		return err;
	attr->cap = qp->cap;
	return 0;
}

/**
 * pvhca_destroy_qp - ib_device_ops.destroy_qp
 * @ibqp: QP
 * @udata: not used
 *
 * Return: 0.
 */
int pvhca_destroy_qp(struct ib_qp *ibqp, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibqp->device);
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);

	pvhca_com_destroy_qp(dev, qp->handle);
	pvhca_object_delist(dev, &dev->qps, qp->handle);
	if (qp->kernel)
		pvhca_kqp_destroy(qp);
	else
		pvhca_mem_unpin(dev, qp->umem);
	mutex_destroy(&qp->lock);
	return 0;
}

/* ------------------------------ modify and query --------------------------- */

/* Only what @mask names; the rest is zero. */
static int pvhca_qp_attr_to_wire(struct pvhca_qp_attr *wire, const struct ib_qp_attr *attr,
				 int mask)
{
	if (mask & IB_QP_STATE)
		wire->qp_state = attr->qp_state;
	if (mask & IB_QP_CUR_STATE)
		wire->cur_qp_state = attr->cur_qp_state;
	if (mask & IB_QP_EN_SQD_ASYNC_NOTIFY)
		wire->en_sqd_async_notify = attr->en_sqd_async_notify;
	if (mask & IB_QP_ACCESS_FLAGS)
		wire->qp_access_flags = cpu_to_le32(attr->qp_access_flags);
	if (mask & IB_QP_PKEY_INDEX)
		wire->pkey_index = cpu_to_le16(attr->pkey_index);
	if (mask & IB_QP_PORT)
		wire->port_num = attr->port_num;
	if (mask & IB_QP_QKEY)
		wire->qkey = cpu_to_le32(attr->qkey);
	if (mask & IB_QP_PATH_MTU)
		wire->path_mtu = attr->path_mtu;
	if (mask & IB_QP_TIMEOUT)
		wire->timeout = attr->timeout;
	if (mask & IB_QP_RETRY_CNT)
		wire->retry_cnt = attr->retry_cnt;
	if (mask & IB_QP_RNR_RETRY)
		wire->rnr_retry = attr->rnr_retry;
	if (mask & IB_QP_RQ_PSN)
		wire->rq_psn = cpu_to_le32(attr->rq_psn);
	if (mask & IB_QP_MAX_QP_RD_ATOMIC)
		wire->max_rd_atomic = attr->max_rd_atomic;
	if (mask & IB_QP_MIN_RNR_TIMER)
		wire->min_rnr_timer = attr->min_rnr_timer;
	if (mask & IB_QP_SQ_PSN)
		wire->sq_psn = cpu_to_le32(attr->sq_psn);
	if (mask & IB_QP_MAX_DEST_RD_ATOMIC)
		wire->max_dest_rd_atomic = attr->max_dest_rd_atomic;
	if (mask & IB_QP_DEST_QPN)
		wire->dest_qp_num = cpu_to_le32(attr->dest_qp_num);
	return mask & IB_QP_AV ? pvhca_ah_attr_to_wire(&wire->av, &attr->ah_attr) : 0;
}

static void pvhca_qp_attr_from_wire(struct ib_qp_attr *attr, const struct pvhca_qp_attr *wire)
{
	attr->qp_state = (enum ib_qp_state)wire->qp_state;
	attr->cur_qp_state = (enum ib_qp_state)wire->cur_qp_state;
	attr->path_mtu = (enum ib_mtu)wire->path_mtu;
	attr->path_mig_state = (enum ib_mig_state)wire->path_mig_state;
	attr->qkey = le32_to_cpu(wire->qkey);
	attr->rq_psn = le32_to_cpu(wire->rq_psn);
	attr->sq_psn = le32_to_cpu(wire->sq_psn);
	attr->dest_qp_num = le32_to_cpu(wire->dest_qp_num);
	attr->qp_access_flags = le32_to_cpu(wire->qp_access_flags);
	attr->pkey_index = le16_to_cpu(wire->pkey_index);
	attr->en_sqd_async_notify = wire->en_sqd_async_notify;
	attr->sq_draining = wire->sq_draining;
	attr->max_rd_atomic = wire->max_rd_atomic;
	attr->max_dest_rd_atomic = wire->max_dest_rd_atomic;
	attr->min_rnr_timer = wire->min_rnr_timer;
	attr->port_num = wire->port_num;
	attr->timeout = wire->timeout;
	attr->retry_cnt = wire->retry_cnt;
	attr->rnr_retry = wire->rnr_retry;
	pvhca_ah_attr_from_wire(&attr->ah_attr, &wire->av);
}

static int pvhca_qp_check_modify(struct pvhca_qp *qp, const struct ib_qp_attr *attr, int mask)
{
	enum ib_qp_state cur, next;

	lockdep_assert_held(&qp->lock);

	if (mask & ~IB_QP_ATTR_STANDARD_BITS)
		return -EOPNOTSUPP;
	/* RoCE has no path migration, and rings cannot be made larger. */
	if (mask & (IB_QP_ALT_PATH | IB_QP_PATH_MIG_STATE | IB_QP_CAP))
		return -EOPNOTSUPP;
	if ((mask & IB_QP_PKEY_INDEX) && attr->pkey_index >= PVHCA_PKEYS)
		return -EINVAL;
	cur = mask & IB_QP_CUR_STATE ? attr->cur_qp_state : qp->state;
	next = mask & IB_QP_STATE ? attr->qp_state : cur;
	if (!ib_modify_qp_is_ok(cur, next, qp->ibqp.qp_type, mask))
		return -EINVAL;
	return 0;
}

/*
 * A process that is killed need not wait for another's command. Kernel consumers wait:
 * after a drain they take their memory back, even if it failed.
 */
static int pvhca_qp_lock(struct pvhca_qp *qp)
{
	if (!qp->kernel)
		return mutex_lock_killable(&qp->lock);
	mutex_lock(&qp->lock);
	return 0;
}

/**
 * pvhca_modify_qp - ib_device_ops.modify_qp
 * @ibqp: QP
 * @attr: attributes to be changed; the core has resolved the address
 * @mask: enum ib_qp_attr_mask
 * @udata: not used
 *
 * Return: 0 or a negative errno.
 */
int pvhca_modify_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask, struct ib_udata *udata)
{
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	struct pvhca_qp_attr wire = {};
	int err;

	err = ib_no_udata_io(udata);
	if (err)
		return err;
	err = pvhca_qp_lock(qp);
	if (err)
		return err;
	err = pvhca_qp_check_modify(qp, attr, mask);
	if (err)
		goto out;
	err = pvhca_qp_attr_to_wire(&wire, attr, mask);
	if (err)
		goto out;
	err = pvhca_com_modify_qp(to_pvhca_dev(ibqp->device), qp->handle, mask, &wire, !qp->kernel);
	if (qp->kernel)
		err = pvhca_kqp_modified(qp, attr, mask, err);
	if (!err && (mask & IB_QP_STATE))
		qp->state = attr->qp_state;
out:
	mutex_unlock(&qp->lock);
	return err;
}

/**
 * pvhca_query_qp - ib_device_ops.query_qp
 * @ibqp: QP
 * @attr: its attributes
 * @mask: enum ib_qp_attr_mask; more may be answered
 * @init_attr: how it was made
 *
 * Return: 0 or a negative errno.
 */
int pvhca_query_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask,
		   struct ib_qp_init_attr *init_attr)
{
	struct pvhca_qp *qp = to_pvhca_qp(ibqp);
	struct pvhca_qp_attr wire;
	int err;

	memset(attr, 0, sizeof(*attr));
	memset(init_attr, 0, sizeof(*init_attr));

	err = pvhca_qp_lock(qp);
	if (err)
		return err;
	err = pvhca_com_query_qp(to_pvhca_dev(ibqp->device), qp->handle,
				 (mask & IB_QP_ATTR_STANDARD_BITS) | IB_QP_STATE, &wire);
	if (!err && wire.qp_state <= IB_QPS_ERR)
		qp->state = (enum ib_qp_state)wire.qp_state;
	mutex_unlock(&qp->lock);
	if (err)
		return err;

	pvhca_qp_attr_from_wire(attr, &wire);
	attr->cap = qp->cap;
	init_attr->event_handler = ibqp->event_handler;
	init_attr->qp_context = ibqp->qp_context;
	init_attr->send_cq = ibqp->send_cq;
	init_attr->recv_cq = ibqp->recv_cq;
	init_attr->srq = ibqp->srq;
	init_attr->cap = qp->cap;
	init_attr->sq_sig_type = qp->sig_type;
	init_attr->qp_type = ibqp->qp_type;
	init_attr->port_num = PVHCA_PORT;
	return 0;
}

/* ----------------------------------- events -------------------------------- */

/**
 * pvhca_qp_async_event - something happened to a QP
 * @dev: session
 * @handle: handle of the QP, or of one that is being destroyed
 * @type: kind of event
 *
 * Context: admin interrupt.
 */
void pvhca_qp_async_event(struct pvhca_dev *dev, u32 handle, enum ib_event_type type)
{
	struct pvhca_qp *qp = xa_load(&dev->qps, handle);
	struct ib_event event = {
		.device = &dev->ibdev,
		.event = type,
	};

	if (!qp) {
		pvhca_stat_inc(dev, PVHCA_STAT_STALE_EVENTS);
		return;
	}
	if (!qp->ibqp.event_handler)
		return;
	event.element.qp = &qp->ibqp;
	qp->ibqp.event_handler(&event, qp->ibqp.qp_context);
}
