// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Protection domains: one on the host for each, so that the host's engine keeps
 * applications apart.
 */

#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

/**
 * pvhca_alloc_pd - ib_device_ops.alloc_pd
 * @ibpd: protection domain
 * @udata: struct pvhca_alloc_pd_resp; NULL for a kernel consumer
 *
 * Return: 0 or a negative errno.
 */
int pvhca_alloc_pd(struct ib_pd *ibpd, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibpd->device);
	struct pvhca_pd *pd = to_pvhca_pd(ibpd);
	struct pvhca_alloc_pd_resp resp = {};
	struct pvhca_ucontext *ctx;
	int err;

	if (!udata)
		return dev->kctx ? pvhca_com_alloc_pd(dev, dev->kctx->handle, &pd->handle) :
				   -EOPNOTSUPP;
	err = ib_is_udata_in_empty(udata);
	if (err)
		return err;
	ctx = rdma_udata_to_drv_context(udata, struct pvhca_ucontext, ibucontext);

	err = pvhca_com_alloc_pd(dev, ctx->handle, &pd->handle);
	if (err)
		return err;
	resp.pd_handle = pd->handle;
	err = ib_respond_udata(udata, resp);
	if (err)
		goto err_dealloc;
	return 0;

err_dealloc:
	pvhca_com_dealloc_pd(dev, pd->handle);
	return err;
}

/**
 * pvhca_dealloc_pd - ib_device_ops.dealloc_pd
 * @ibpd: protection domain
 * @udata: not used
 *
 * Return: 0.
 */
int pvhca_dealloc_pd(struct ib_pd *ibpd, struct ib_udata *udata)
{
	pvhca_com_dealloc_pd(to_pvhca_dev(ibpd->device), to_pvhca_pd(ibpd)->handle);
	return 0;
}
