// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Finding and opening the device.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ccan/minmax.h>

#include "compat.h"
#include "pvhca.h"
#include "pvhca-abi.h"

/* Out of the range that 1af4 sets aside for experiments. */
#define PCI_VENDOR_ID_RED_HAT 0x1af4
#define PCI_DEVICE_ID_PVHCA   0x10f0

static const struct verbs_match_ent match_table[] = {
	VERBS_PCI_MATCH(PCI_VENDOR_ID_RED_HAT, PCI_DEVICE_ID_PVHCA, NULL), {}
};

static void free_context(struct ibv_context *ibctx);

static const struct verbs_context_ops context_ops = {
	.alloc_mw = pvhca_alloc_mw,
	.alloc_parent_domain = pvhca_alloc_parent_domain,
	.alloc_pd = pvhca_alloc_pd,
	.alloc_td = pvhca_alloc_td,
	.attach_mcast = pvhca_attach_mcast,
	.bind_mw = pvhca_bind_mw,
	.create_ah = pvhca_create_ah,
	.create_cq = pvhca_create_cq,
	.create_cq_ex = pvhca_create_cq_ex,
	.create_qp = pvhca_create_qp,
	.create_qp_ex = pvhca_create_qp_ex,
	.create_srq = pvhca_create_srq,
	.dealloc_mw = pvhca_dealloc_mw,
	.dealloc_pd = pvhca_dealloc_pd,
	.dealloc_td = pvhca_dealloc_td,
	.dereg_mr = pvhca_dereg_mr,
	.destroy_ah = pvhca_destroy_ah,
	.destroy_cq = pvhca_destroy_cq,
	.destroy_qp = pvhca_destroy_qp,
	.destroy_srq = pvhca_destroy_srq,
	.detach_mcast = pvhca_detach_mcast,
	.free_context = free_context,
	.get_srq_num = pvhca_get_srq_num,
	.modify_qp = pvhca_modify_qp,
	.modify_srq = pvhca_modify_srq,
	.poll_cq = pvhca_poll_cq,
	.post_recv = pvhca_post_recv,
	.post_send = pvhca_post_send,
	.post_srq_recv = pvhca_post_srq_recv,
	.query_device_ex = pvhca_query_device_ex,
	.query_port = pvhca_query_port,
	.query_qp = pvhca_query_qp,
	.query_srq = pvhca_query_srq,
	.reg_dmabuf_mr = pvhca_reg_dmabuf_mr,
	.reg_mr = pvhca_reg_mr,
	.req_notify_cq = pvhca_req_notify_cq,
	.rereg_mr = pvhca_rereg_mr,
	.resize_cq = pvhca_resize_cq,
};

/* Has the kernel make the context; its answer says where things are to be had. */
static int get_context(struct pvhca_context *ctx,
		       struct pvhca_ucmd_get_context_resp *resp)
{
	PVHCA_GET_CONTEXT cmd = {};

	cmd.ring_abi_major = PVHCA_RING_ABI_MAJOR;
	cmd.ring_abi_minor = PVHCA_RING_ABI_MINOR;
	return pvhca_cmd_get_context(&ctx->vctx, &cmd.ibv_cmd, sizeof(cmd),
				     &resp->ibv_resp, sizeof(*resp));
}

static int map_pages(struct pvhca_context *ctx,
		     const struct pvhca_ucmd_get_context_resp *resp)
{
	int fd = ctx->vctx.context.cmd_fd;
	void *addr;

	if (resp->context_page_len < sizeof(*ctx->page) ||
	    resp->doorbells_len < sizeof(__le32))
		return EPROTO;

	addr = mmap(NULL, resp->context_page_len, PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, resp->context_page);
	if (addr == MAP_FAILED)
		return errno;
	ctx->page = addr;
	ctx->page_len = resp->context_page_len;

	addr = mmap(NULL, resp->doorbells_len, PROT_WRITE, MAP_SHARED, fd,
		    resp->doorbells);
	if (addr == MAP_FAILED) {
		int err = errno;

		munmap(ctx->page, ctx->page_len);
		return err;
	}
	ctx->doorbells = addr;
	ctx->doorbells_len = resp->doorbells_len;
	return 0;
}

/* What can be asked for: the device's limits, as far as the rings go. */
static int set_limits(struct pvhca_context *ctx,
		      const struct pvhca_ucmd_get_context_resp *resp)
{
	struct ibv_device_attr_ex attr = {};
	int err;

	err = ibv_cmd_query_device_any(&ctx->vctx.context, NULL, &attr,
				       sizeof(attr), NULL, NULL);
	if (err)
		return err;

	ctx->max_cqe = min_t(uint32_t, attr.orig_attr.max_cqe,
			     1u << PVHCA_CQ_MAX_LOG_ENTRIES);
	ctx->max_qp_wr = min_t(uint32_t, attr.orig_attr.max_qp_wr,
			       1u << PVHCA_RING_MAX_LOG_ENTRIES);
	ctx->max_srq_wr = min_t(uint32_t, attr.orig_attr.max_srq_wr,
				1u << PVHCA_RING_MAX_LOG_ENTRIES);
	ctx->max_srq_sge = attr.orig_attr.max_srq_sge;
	ctx->timestamps = attr.completion_timestamp_mask;
	ctx->send_ops = pvhca_device_send_ops(&attr.orig_attr);
	ctx->max_sq_sge = resp->max_sq_sge;
	ctx->max_rq_sge = resp->max_rq_sge;
	ctx->max_inline = resp->max_inline;
	return 0;
}

static void unmap_pages(struct pvhca_context *ctx)
{
	munmap(ctx->doorbells, ctx->doorbells_len);
	munmap(ctx->page, ctx->page_len);
}

static struct verbs_context *alloc_context(struct ibv_device *ibdev, int cmd_fd,
					   void *private_data)
{
	struct pvhca_ucmd_get_context_resp resp = {};
	struct pvhca_context *ctx;
	int err;

	(void)private_data;
	ctx = verbs_init_and_alloc_context(ibdev, cmd_fd, ctx, vctx,
					   RDMA_DRIVER_UNKNOWN);
	if (!ctx)
		return NULL;

	err = get_context(ctx, &resp);
	if (err) {
		verbs_err(&ctx->vctx, "the kernel gives no context: %s\n",
			  strerror(err));
		goto err_free;
	}

	err = map_pages(ctx, &resp);
	if (err) {
		verbs_err(&ctx->vctx, "cannot map the context: %s\n",
			  strerror(err));
		goto err_free;
	}

	err = set_limits(ctx, &resp);
	if (err)
		goto err_unmap;

	pthread_mutex_init(&ctx->qp_lock, NULL);
	pthread_cond_init(&ctx->qp_cond, NULL);
	verbs_set_ops(&ctx->vctx, &context_ops);
	return &ctx->vctx;

err_unmap:
	unmap_pages(ctx);
err_free:
	verbs_uninit_context(&ctx->vctx);
	free(ctx);
	errno = err;
	return NULL;
}

static void free_context(struct ibv_context *ibctx)
{
	struct pvhca_context *ctx = to_pvhca_context(ibctx);

	pthread_cond_destroy(&ctx->qp_cond);
	pthread_mutex_destroy(&ctx->qp_lock);
	unmap_pages(ctx);
	verbs_uninit_context(&ctx->vctx);
	free(ctx);
}

static struct verbs_device *alloc_device(struct verbs_sysfs_dev *sysfs_dev)
{
	struct pvhca_device *dev;

	(void)sysfs_dev;
	dev = calloc(1, sizeof(*dev));
	return dev ? &dev->vdev : NULL;
}

static void uninit_device(struct verbs_device *vdev)
{
	free(container_of(vdev, struct pvhca_device, vdev));
}

static const struct verbs_device_ops pvhca_dev_ops = {
	.name = "pvhca",
	.match_min_abi_version = PVHCA_UVERBS_ABI_VERSION,
	.match_max_abi_version = PVHCA_UVERBS_ABI_VERSION,
	.match_table = match_table,
	.alloc_device = alloc_device,
	.uninit_device = uninit_device,
	.alloc_context = alloc_context,
};
PROVIDER_DRIVER(pvhca, pvhca_dev_ops);
