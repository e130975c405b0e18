// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory windows. They are bound by work on a queue pair, where pvhcad finds
 * regions and windows by the handles that the provider was told.
 */

#include "pvhca.h"
#include "pvhca_com_cmd.h"

/**
 * pvhca_alloc_mw - ib_device_ops.alloc_mw
 * @ibmw: window, of either type; its key on return
 * @udata: struct pvhca_alloc_mw_resp
 *
 * Return: 0 or a negative errno.
 */
int pvhca_alloc_mw(struct ib_mw *ibmw, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibmw->device);
	struct pvhca_mw *mw = to_pvhca_mw(ibmw);
	struct pvhca_alloc_mw_resp resp = {};
	int err;

	err = ib_is_udata_in_empty(udata);
	if (err)
		return err;
	err = pvhca_com_alloc_mw(dev, to_pvhca_pd(ibmw->pd)->handle, ibmw->type, &mw->handle,
				 &ibmw->rkey);
	if (err)
		return err;
	resp.mw_handle = mw->handle;
	err = ib_respond_udata(udata, resp);
	if (err)
		pvhca_com_dealloc_mw(dev, mw->handle);
	return err;
}

/**
 * pvhca_dealloc_mw - ib_device_ops.dealloc_mw
 * @ibmw: window, bound or not
 *
 * Return: 0.
 */
int pvhca_dealloc_mw(struct ib_mw *ibmw)
{
	pvhca_com_dealloc_mw(to_pvhca_dev(ibmw->device), to_pvhca_mw(ibmw)->handle);
	return 0;
}
