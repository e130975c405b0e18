// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Completion queues: rings in user memory, which pvhcad writes and the provider
 * reads. Only their events pass through the driver.
 */

#include <linux/interrupt.h>
#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

/* @cqe: entries that the application asked for */
static int pvhca_cq_check_req(const struct pvhca_create_cq_req *req, u32 cqe)
{
	u64 need;

	if (req->comp_mask)
		return -EOPNOTSUPP;
	if (req->reserved[0] || req->reserved[1] || req->reserved[2])
		return -EINVAL;
	if (req->log_entries > PVHCA_CQ_MAX_LOG_ENTRIES || cqe > 1u << req->log_entries)
		return -EINVAL;
	need = PVHCA_CQ_HEADER_SIZE + ((u64)sizeof(struct pvhca_cqe) << req->log_entries);
	if (req->buf_addr % PVHCA_GRANULE || req->buf_len < need)
		return -EINVAL;
	return 0;
}

/**
 * struct pvhca_cq_user - an application's CQ while it is made
 * @user: steps in common
 * @cq: the CQ; its event queue is set
 * @req: the provider's request
 * @resp: answer to it
 */
struct pvhca_cq_user {
	struct pvhca_object_user user;
	struct pvhca_cq *cq;
	const struct pvhca_create_cq_req *req;
	struct pvhca_create_cq_resp resp;
};

/* pvhca_object_user.open */
static int pvhca_cq_open(const struct pvhca_object_user *object, const struct pvhca_ucontext *ctx,
			 struct pvhca_mem *mem)
{
	struct pvhca_cq_user *user = container_of(object, struct pvhca_cq_user, user);
	const struct pvhca_com_create_cq_params params = {
		.context = ctx->handle,
		.ceq = user->cq->eq->handle,
		.log_entries = user->req->log_entries,
		.flags = user->req->flags,
		.mem = pvhca_mem_list(mem),
		.hold = pvhca_mem_hold(mem),
	};
	struct pvhca_com_create_cq_result result;
	int err;

	err = pvhca_com_create_cq(object->dev, &params, &result);
	if (err)
		return err;
	user->cq->handle = result.handle;
	user->resp.cq_handle = result.handle;
	user->resp.doorbell = result.doorbell;
	return 0;
}

static int pvhca_cq_create_user(struct pvhca_dev *dev, struct pvhca_cq *cq,
				const struct pvhca_create_cq_req *req, struct ib_udata *udata)
{
	struct pvhca_cq_user user = {
		.user = {
			.dev = dev,
			.table = &dev->cqs,
			.object = cq,
			.handle = &cq->handle,
			.umem = &cq->umem,
			.buf_addr = req->buf_addr,
			.buf_len = req->buf_len,
			.resp = &user.resp,
			.resp_size = sizeof(user.resp),
			.open = pvhca_cq_open,
			.close = pvhca_com_destroy_cq,
		},
		.cq = cq,
		.req = req,
	};

	return pvhca_object_create_user(&user.user, udata);
}

/**
 * pvhca_create_cq - ib_device_ops.create_cq
 * @ibcq: CQ
 * @attr: attributes
 * @arg: struct pvhca_create_cq_req, struct pvhca_create_cq_resp; NULL for a
 *	kernel consumer
 *
 * Return: 0 or a negative errno.
 */
int pvhca_create_cq(struct ib_cq *ibcq, const struct ib_cq_init_attr *attr,
		    struct pvhca_create_cq_arg *arg)
{
	struct ib_udata *udata = PVHCA_CREATE_CQ_UDATA(arg);
	struct pvhca_dev *dev = to_pvhca_dev(ibcq->device);
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	struct pvhca_create_cq_req req;
	int err;

	if (!udata)
		return pvhca_kcq_create(cq, attr);
	err = ib_copy_validate_udata_in(udata, req, flags);
	if (err)
		return err;
	if ((req.flags & ~PVHCA_CREATE_CQ_TIMESTAMPS) ||
	    (attr->flags & ~IB_UVERBS_CQ_FLAGS_TIMESTAMP_COMPLETION))
		return -EOPNOTSUPP;
	err = pvhca_cq_check_req(&req, attr->cqe);
	if (err)
		return err;
	if (attr->comp_vector >= dev->num_ceqs)
		return -EINVAL;

	cq->eq = &dev->ceqs[attr->comp_vector];
	ibcq->cqe = 1 << req.log_entries;
	mutex_init(&cq->lock);
	return pvhca_cq_create_user(dev, cq, &req, udata);
}

/* Have pvhcad go on in another buffer, and release the old one. */
static int pvhca_cq_replace(struct pvhca_dev *dev, struct pvhca_cq *cq,
			    const struct pvhca_create_cq_req *req)
{
	struct pvhca_mem *mem;
	int err;

	lockdep_assert_held(&cq->lock);

	if (cq->umem_failed)
		return -EIO;
	mem = pvhca_mem_pin(dev, req->buf_addr, req->buf_len, IB_ACCESS_LOCAL_WRITE);
	if (IS_ERR(mem))
		return PTR_ERR(mem);
	err = pvhca_com_resize_cq(dev, cq->handle, req->log_entries, pvhca_mem_list(mem),
				  pvhca_mem_hold(mem));
	if (!err) {
		pvhca_mem_unpin(dev, cq->umem);
		cq->umem = pvhca_mem_take(mem);
		cq->ibcq.cqe = 1 << req->log_entries;
	} else if (err == -EINTR) {
		cq->umem_failed = pvhca_mem_take(mem);
	}
	pvhca_mem_put(mem);
	return err;
}

/**
 * pvhca_resize_user_cq - ib_device_ops.resize_user_cq
 * @ibcq: CQ
 * @cqe: entries wanted
 * @udata: struct pvhca_create_cq_req, struct pvhca_resize_cq_resp
 *
 * After -EINTR the CQ can only be destroyed. It is not known which buffer pvhcad
 * uses then, so both stay pinned until the CQ is destroyed.
 *
 * Return: 0; -EINVAL if the completions that were not polled do not fit; another negative errno.
 */
int pvhca_resize_user_cq(struct ib_cq *ibcq, PVHCA_RESIZE_CQE cqe, struct ib_udata *udata)
{
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	struct pvhca_resize_cq_resp resp = {};
	struct pvhca_create_cq_req req;
	int err;

	if (!udata)
		return -EOPNOTSUPP;
	err = ib_copy_validate_udata_in(udata, req, flags);
	if (err)
		return err;
	if (req.flags)
		return -EOPNOTSUPP;
	if (cqe < 1)
		return -EINVAL;
	err = pvhca_cq_check_req(&req, cqe);
	if (err)
		return err;
	/* The answer says nothing. After the command it would be too late to fail. */
	err = ib_respond_udata(udata, resp);
	if (err)
		return err;

	err = mutex_lock_killable(&cq->lock);
	if (err)
		return err;
	err = pvhca_cq_replace(to_pvhca_dev(ibcq->device), cq, &req);
	mutex_unlock(&cq->lock);
	return err;
}

static void pvhca_cq_unpin(struct pvhca_dev *dev, struct pvhca_cq *cq)
{
	pvhca_mem_unpin(dev, cq->umem);
	pvhca_mem_unpin(dev, cq->umem_failed);
}

/**
 * pvhca_destroy_cq - ib_device_ops.destroy_cq
 * @ibcq: CQ
 * @udata: not used
 *
 * Return: 0.
 */
int pvhca_destroy_cq(struct ib_cq *ibcq, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibcq->device);
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);

	pvhca_com_destroy_cq(dev, cq->handle);
	pvhca_object_delist(dev, &dev->cqs, cq->handle);
	synchronize_irq(cq->eq->irq);
	if (cq->kernel)
		pvhca_kcq_destroy(cq);
	else
		pvhca_cq_unpin(dev, cq);
	mutex_destroy(&cq->lock);
	return 0;
}

/**
 * pvhca_cq_comp_event - a CQ has a completion that it was armed for
 * @dev: session
 * @handle: handle of the CQ, or of one that is being destroyed
 *
 * Context: interrupt of the CQ's event queue.
 */
void pvhca_cq_comp_event(struct pvhca_dev *dev, u32 handle)
{
	struct pvhca_cq *cq = xa_load(&dev->cqs, handle);

	if (!cq) {
		pvhca_stat_inc(dev, PVHCA_STAT_STALE_EVENTS);
		return;
	}
	if (cq->kernel)
		pvhca_kcq_event_raised(cq->kernel);
	if (cq->ibcq.comp_handler)
		cq->ibcq.comp_handler(&cq->ibcq, cq->ibcq.cq_context);
}

/**
 * pvhca_cq_async_event - something happened to a CQ
 * @dev: session
 * @handle: handle of the CQ, or of one that is being destroyed
 * @type: kind of event
 *
 * Context: admin interrupt.
 */
void pvhca_cq_async_event(struct pvhca_dev *dev, u32 handle, enum ib_event_type type)
{
	struct pvhca_cq *cq = xa_load(&dev->cqs, handle);
	struct ib_event event = {
		.device = &dev->ibdev,
		.event = type,
	};

	if (!cq) {
		pvhca_stat_inc(dev, PVHCA_STAT_STALE_EVENTS);
		return;
	}
	if (!cq->ibcq.event_handler)
		return;
	event.element.cq = &cq->ibcq;
	cq->ibcq.event_handler(&event, cq->ibcq.cq_context);
}
