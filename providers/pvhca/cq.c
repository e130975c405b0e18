// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Control path of completion queues.
 */
#include <errno.h>
#include <stdlib.h>

#include "compat.h"
#include "pvhca.h"
#include "pvhca-abi.h"

/* ------------------------------- the ring's memory ------------------------ */

static int alloc_ring(struct pvhca_buf *buf, unsigned int log_entries,
		      struct pvhca_pd *parent)
{
	return pvhca_buf_alloc(buf,
			       PVHCA_CQ_HEADER_SIZE +
				       ((size_t)sizeof(struct pvhca_cqe)
					<< log_entries),
			       parent, PVHCA_RESOURCE_CQ);
}

static void use_ring(struct pvhca_cq *cq, const struct pvhca_buf *buf,
		     unsigned int log_entries)
{
	cq->buf = *buf;
	cq->header = (struct pvhca_cq_header *)buf->addr;
	cq->entries = (struct pvhca_cqe *)(buf->addr + PVHCA_CQ_HEADER_SIZE);
	cq->log_entries = log_entries;
	cq->ci = 0;
}

static void fill_req(struct pvhca_create_cq_req *req,
		     const struct pvhca_buf *buf, unsigned int log_entries)
{
	req->buf_addr = (uintptr_t)buf->addr;
	req->buf_len = buf->len;
	req->log_entries = log_entries;
}

/* ----------------------------- create and destroy ------------------------- */

/* The CQ without the kernel's part. NULL with errno set. */
static struct pvhca_cq *init_cq(struct pvhca_context *ctx, uint32_t cqe,
				struct pvhca_pd *parent, bool one_thread)
{
	struct pvhca_buf buf;
	struct pvhca_cq *cq;
	int err;

	if (!cqe || cqe > ctx->max_cqe) {
		errno = EINVAL;
		return NULL;
	}
	cq = calloc(1, sizeof(*cq));
	if (!cq) {
		errno = ENOMEM;
		return NULL;
	}

	err = alloc_ring(&buf, pvhca_log2_up(cqe), parent);
	if (err) {
		free(cq);
		errno = err;
		return NULL;
	}
	use_ring(cq, &buf, pvhca_log2_up(cqe));
	cq->ctx = ctx;
	cq->parent = parent;
	pvhca_lock_init(&cq->lock, one_thread);
	pthread_mutex_init(&cq->resize_lock, NULL);
	return cq;
}

static void free_cq(struct pvhca_cq *cq)
{
	pvhca_lock_destroy(&cq->lock);
	pthread_mutex_destroy(&cq->resize_lock);
	pvhca_buf_free(&cq->buf);
	pvhca_put_parent(cq->parent);
	free(cq);
}

/* Takes over the kernel's answer; destroys the CQ there if the answer is wrong. */
static int set_doorbell(struct pvhca_cq *cq, uint32_t doorbell)
{
	if (doorbell > cq->ctx->doorbells_len - sizeof(__le32)) {
		ibv_cmd_destroy_cq(&cq->vcq.cq);
		return EPROTO;
	}
	cq->doorbell = cq->ctx->doorbells + doorbell;
	return 0;
}

struct ibv_cq *pvhca_create_cq(struct ibv_context *ibctx, int cqe,
			       struct ibv_comp_channel *channel,
			       int comp_vector)
{
	struct pvhca_ucmd_create_cq_resp resp = {};
	struct pvhca_ucmd_create_cq cmd = {};
	struct pvhca_cq *cq;
	int err;

	cq = init_cq(to_pvhca_context(ibctx), cqe > 0 ? cqe : 0, NULL, false);
	if (!cq)
		return NULL;

	fill_req(&cmd.drv_payload, &cq->buf, cq->log_entries);
	err = ibv_cmd_create_cq(ibctx, cqe, channel, comp_vector, &cq->vcq.cq,
				&cmd.ibv_cmd, sizeof(cmd), &resp.ibv_resp,
				sizeof(resp));
	if (!err)
		err = set_doorbell(cq, resp.doorbell);
	if (err) {
		free_cq(cq);
		errno = err;
		return NULL;
	}
	return &cq->vcq.cq;
}

static bool wants_timestamps(const struct ibv_cq_init_attr_ex *attr)
{
	return attr->wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP;
}

/* No overrun is possible, so there is none that could be ignored. */
static int check_attr_ex(const struct pvhca_context *ctx,
			 const struct ibv_cq_init_attr_ex *attr)
{
	if (!check_comp_mask(attr->comp_mask,
			     IBV_CQ_INIT_ATTR_MASK_FLAGS |
				     IBV_CQ_INIT_ATTR_MASK_PD))
		return EOPNOTSUPP;
	if (attr->wc_flags & ~(uint64_t)PVHCA_CQ_WC_FLAGS)
		return EOPNOTSUPP;
	if (wants_timestamps(attr) && !ctx->timestamps)
		return EOPNOTSUPP;
	if (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS &&
	    attr->flags & ~IBV_CREATE_CQ_ATTR_SINGLE_THREADED)
		return EOPNOTSUPP;
	if (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_PD &&
	    (!attr->parent_domain ||
	     !to_pvhca_pd(attr->parent_domain)->protection))
		return EINVAL;
	return 0;
}

static struct pvhca_cq *init_cq_ex(struct pvhca_context *ctx,
				   const struct ibv_cq_init_attr_ex *attr)
{
	struct pvhca_pd *parent = NULL;
	bool one_thread = false;
	struct pvhca_cq *cq;

	if (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS)
		one_thread = attr->flags & IBV_CREATE_CQ_ATTR_SINGLE_THREADED;
	if (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_PD) {
		parent = pvhca_get_parent(attr->parent_domain);
		one_thread |= !!parent->td;
	}
	cq = init_cq(ctx, attr->cqe, parent, one_thread);
	if (!cq)
		pvhca_put_parent(parent);
	return cq;
}

struct ibv_cq_ex *pvhca_create_cq_ex(struct ibv_context *ibctx,
				     struct ibv_cq_init_attr_ex *attr)
{
	struct pvhca_context *ctx = to_pvhca_context(ibctx);
	struct pvhca_ucmd_create_cq_ex_resp resp = {};
	struct pvhca_ucmd_create_cq_ex cmd = {};
	struct pvhca_cq *cq;
	int err;

	err = check_attr_ex(ctx, attr);
	if (err) {
		errno = err;
		return NULL;
	}
	cq = init_cq_ex(ctx, attr);
	if (!cq)
		return NULL;

	fill_req(&cmd.drv_payload, &cq->buf, cq->log_entries);
	if (wants_timestamps(attr))
		cmd.flags = PVHCA_CREATE_CQ_TIMESTAMPS;
	err = pvhca_cmd_create_cq_ex(ibctx, attr, &cq->vcq, &cmd.ibv_cmd,
				     sizeof(cmd), &resp.ibv_resp, sizeof(resp));
	if (!err)
		err = set_doorbell(cq, resp.doorbell);
	if (err) {
		free_cq(cq);
		errno = err;
		return NULL;
	}
	pvhca_set_cq_ex_ops(cq, attr->wc_flags);
	return &cq->vcq.cq_ex;
}

int pvhca_destroy_cq(struct ibv_cq *ibcq)
{
	int err;

	err = ibv_cmd_destroy_cq(ibcq);
	if (err)
		return err;
	free_cq(to_pvhca_cq(ibcq));
	return 0;
}

/* ---------------------------------- resize -------------------------------- */

/* While it is set nobody else uses the ring; every poll has published ci. */
static void set_resizing(struct pvhca_cq *cq, bool resizing)
{
	pvhca_lock(&cq->lock);
	cq->resizing = resizing;
	pvhca_unlock(&cq->lock);
}

static int resize_kernel_cq(struct pvhca_cq *cq, int cqe,
			    const struct pvhca_buf *buf,
			    unsigned int log_entries)
{
	struct pvhca_ucmd_resize_cq_resp resp = {};
	struct pvhca_ucmd_resize_cq cmd = {};

	fill_req(&cmd.drv_payload, buf, log_entries);
	return ibv_cmd_resize_cq(&cq->vcq.cq, cqe, &cmd.ibv_cmd, sizeof(cmd),
				 &resp.ibv_resp, sizeof(resp));
}

/**
 * pvhca_resize_cq() - ibv_resize_cq(3)
 *
 * The host moves completions that were not polled to the new ring. The CQ's lock is
 * not held meanwhile, as that takes a command: a thread that needs the ring sleeps.
 *
 * Return: 0 or an errno value; EINVAL: also if @cqe is too small for the
 * completions that were not polled.
 */
int pvhca_resize_cq(struct ibv_cq *ibcq, int cqe)
{
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	struct pvhca_buf buf, unused;
	unsigned int log_entries;
	int err;

	if (cqe < 1 || (uint32_t)cqe > cq->ctx->max_cqe)
		return EINVAL;
	log_entries = pvhca_log2_up(cqe);

	pthread_mutex_lock(&cq->resize_lock);
	err = alloc_ring(&buf, log_entries, cq->parent);
	if (err)
		goto out;
	set_resizing(cq, true);
	err = resize_kernel_cq(cq, cqe, &buf, log_entries);
	unused = err ? buf : cq->buf;
	if (!err)
		use_ring(cq, &buf, log_entries);
	set_resizing(cq, false);
	pvhca_buf_free(&unused);
out:
	pthread_mutex_unlock(&cq->resize_lock);
	return err;
}
