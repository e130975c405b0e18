// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Shared receive queues: rings in user memory, as those of a queue pair.
 */

#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"

static int pvhca_srq_check_attr(struct pvhca_dev *dev, const struct ib_srq_init_attr *attr)
{
	if (attr->srq_type != IB_SRQT_BASIC)
		return -EOPNOTSUPP;
	if (!attr->attr.max_wr || attr->attr.max_wr > le32_to_cpu(dev->attr.max_srq_wr) ||
	    attr->attr.max_sge > le32_to_cpu(dev->attr.max_srq_sge))
		return -EINVAL;
	return 0;
}

/* pvhcad checks the layout of the ring. */
static int pvhca_srq_check_req(const struct pvhca_create_qp_req *req)
{
	if (req->comp_mask || req->flags)
		return -EOPNOTSUPP;
	if (req->sq_offset || req->sq_log_entries || req->sq_log_stride)
		return -EINVAL;
	if (req->buf_addr % PVHCA_GRANULE || req->buf_len < PVHCA_QUEUE_HEADER_SIZE)
		return -EINVAL;
	return 0;
}

/**
 * struct pvhca_srq_user - an application's SRQ while it is made
 * @user: steps in common
 * @srq: the SRQ
 * @attr: attributes
 * @req: the provider's request
 * @resp: answer to it
 */
struct pvhca_srq_user {
	struct pvhca_object_user user;
	struct pvhca_srq *srq;
	const struct ib_srq_attr *attr;
	const struct pvhca_create_qp_req *req;
	struct pvhca_create_srq_resp resp;
};

/* pvhca_object_user.open */
static int pvhca_srq_open(const struct pvhca_object_user *object, const struct pvhca_ucontext *ctx,
			  struct pvhca_mem *mem)
{
	struct pvhca_srq_user *user = container_of(object, struct pvhca_srq_user, user);
	struct pvhca_srq *srq = user->srq;
	/* A limit is not armed by creating the queue: ibv_create_srq(3). */
	const struct pvhca_com_create_srq_params params = {
		.context = ctx->handle,
		.pd = to_pvhca_pd(srq->ibsrq.pd)->handle,
		.max_wr = user->attr->max_wr,
		.max_sge = user->attr->max_sge,
		.ring = user->req,
		.mem = pvhca_mem_list(mem),
		.hold = pvhca_mem_hold(mem),
	};
	struct pvhca_com_create_srq_result result;
	int err;

	err = pvhca_com_create_srq(object->dev, &params, &result);
	if (err)
		return err;

	srq->handle = result.handle;
	srq->max_wr = result.max_wr;
	srq->max_sge = result.max_sge;
	srq->slot.page = page_address(ctx->page->page);
	srq->slot.index = result.slot;
	user->resp.slot = result.slot;
	user->resp.doorbell = result.doorbell;
	user->resp.srqn = result.srqn;
	return 0;
}

static int pvhca_srq_create_user(struct pvhca_dev *dev, struct pvhca_srq *srq,
				 const struct ib_srq_attr *attr,
				 const struct pvhca_create_qp_req *req, struct ib_udata *udata)
{
	struct pvhca_srq_user user = {
		.user = {
			.dev = dev,
			.table = &dev->srqs,
			.object = srq,
			.handle = &srq->handle,
			.umem = &srq->umem,
			.buf_addr = req->buf_addr,
			.buf_len = req->buf_len,
			.resp = &user.resp,
			.resp_size = sizeof(user.resp),
			.open = pvhca_srq_open,
			.close = pvhca_com_destroy_srq,
		},
		.srq = srq,
		.attr = attr,
		.req = req,
	};

	return pvhca_object_create_user(&user.user, udata);
}

/**
 * pvhca_create_srq - ib_device_ops.create_srq
 * @ibsrq: SRQ
 * @attr: attributes; on return with the sizes that were given
 * @udata: struct pvhca_create_qp_req, struct pvhca_create_srq_resp
 *
 * Return: 0 or a negative errno.
 */
int pvhca_create_srq(struct ib_srq *ibsrq, struct ib_srq_init_attr *attr, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibsrq->device);
	struct pvhca_srq *srq = to_pvhca_srq(ibsrq);
	struct pvhca_create_qp_req req;
	int err;

	if (!udata)
		return -EOPNOTSUPP;
	err = pvhca_srq_check_attr(dev, attr);
	if (err)
		return err;
	err = ib_copy_validate_udata_in(udata, req, flags);
	if (err)
		return err;
	err = pvhca_srq_check_req(&req);
	if (err)
		return err;

	err = pvhca_srq_create_user(dev, srq, &attr->attr, &req, udata);
	if (err)
		return err;
	attr->attr.max_wr = srq->max_wr;
	attr->attr.max_sge = srq->max_sge;
	return 0;
}

/**
 * pvhca_modify_srq - ib_device_ops.modify_srq
 * @ibsrq: SRQ
 * @attr: attributes to be changed
 * @mask: which attributes; only the limit can change
 * @udata: not used
 *
 * Return: 0 or a negative errno.
 */
int pvhca_modify_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr, enum ib_srq_attr_mask mask,
		     struct ib_udata *udata)
{
	struct pvhca_srq *srq = to_pvhca_srq(ibsrq);
	int err;

	err = ib_no_udata_io(udata);
	if (err)
		return err;
	/* A ring cannot be made larger. */
	if (mask & IB_SRQ_MAX_WR)
		return -EOPNOTSUPP;
	if (mask & ~IB_SRQ_LIMIT)
		return -EINVAL;
	if (!mask)
		return 0;
	return pvhca_com_modify_srq(to_pvhca_dev(ibsrq->device), srq->handle, mask,
				    attr->srq_limit);
}

/**
 * pvhca_query_srq - ib_device_ops.query_srq
 * @ibsrq: SRQ
 * @attr: its attributes
 *
 * Return: 0 or a negative errno.
 */
int pvhca_query_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr)
{
	return pvhca_com_query_srq(to_pvhca_dev(ibsrq->device), to_pvhca_srq(ibsrq)->handle, attr);
}

/**
 * pvhca_destroy_srq - ib_device_ops.destroy_srq
 * @ibsrq: SRQ
 * @udata: not used
 *
 * Return: 0.
 */
int pvhca_destroy_srq(struct ib_srq *ibsrq, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibsrq->device);
	struct pvhca_srq *srq = to_pvhca_srq(ibsrq);

	pvhca_com_destroy_srq(dev, srq->handle);
	pvhca_object_delist(dev, &dev->srqs, srq->handle);
	pvhca_mem_unpin(dev, srq->umem);
	return 0;
}

/**
 * pvhca_srq_async_event - something happened to an SRQ
 * @dev: session
 * @handle: handle of the SRQ, or of one that is being destroyed
 * @type: kind of event
 *
 * Context: admin interrupt.
 */
void pvhca_srq_async_event(struct pvhca_dev *dev, u32 handle, enum ib_event_type type)
{
	struct pvhca_srq *srq = xa_load(&dev->srqs, handle);
	struct ib_event event = {
		.device = &dev->ibdev,
		.event = type,
	};

	if (!srq) {
		pvhca_stat_inc(dev, PVHCA_STAT_STALE_EVENTS);
		return;
	}
	if (!srq->ibsrq.event_handler)
		return;
	event.element.srq = &srq->ibsrq;
	srq->ibsrq.event_handler(&event, srq->ibsrq.srq_context);
}
