// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Tables of the objects that events can happen to, by pvhcad's handle.
 *
 * An object is listed last when it is made. When it is destroyed it leaves its
 * table after the command completed: see pvhca_eq.c for why that order and the
 * wait let no event hit a dead object, or a new one that has the same handle.
 *
 * Applications' QPs, CQs and SRQs are made in the same steps, which are here, too.
 */

#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"

/**
 * pvhca_object_publish - let events find an object
 * @dev: session
 * @table: table of its kind
 * @handle: handle of the object
 * @object: complete
 *
 * Context: process.
 * Return: 0; -ENOMEM; -EIO if pvhcad gave the handle of another object, which ends
 * the session.
 */
int pvhca_object_publish(struct pvhca_dev *dev, struct xarray *table, u32 handle, void *object)
{
	int err = xa_insert_irq(table, handle, object, GFP_KERNEL);

	if (err != -EBUSY)
		return err;
	pvhca_dev_kill(dev, "pvhcad gave two objects the same handle");
	return -EIO;
}

/**
 * pvhca_object_create_user - make an object whose ring is an application's memory
 * @user: how
 * @udata: provider's part of the call
 *
 * Context: process.
 * Return: 0 or a negative errno.
 */
int pvhca_object_create_user(const struct pvhca_object_user *user, struct ib_udata *udata)
{
	const struct pvhca_ucontext *ctx =
		rdma_udata_to_drv_context(udata, struct pvhca_ucontext, ibucontext);
	struct pvhca_dev *dev = user->dev;
	struct pvhca_mem *mem;
	int err;

	mem = pvhca_mem_pin(dev, user->buf_addr, user->buf_len, IB_ACCESS_LOCAL_WRITE);
	if (IS_ERR(mem))
		return PTR_ERR(mem);
	err = user->open(user, ctx, mem);
	if (!err)
		*user->umem = pvhca_mem_take(mem);
	pvhca_mem_put(mem);
	if (err)
		return err;

	err = _ib_respond_udata(udata, user->resp, user->resp_size);
	if (err)
		goto err_close;
	err = pvhca_object_publish(dev, user->table, *user->handle, user->object);
	if (err)
		goto err_close;
	return 0;

err_close:
	user->close(dev, *user->handle);
	pvhca_mem_unpin(dev, *user->umem);
	return err;
}

/**
 * pvhca_object_delist - no event finds an object any more
 * @dev: session
 * @table: table of its kind
 * @handle: handle of the object; the command that destroyed it has completed
 *
 * On return no handler of async events is still at work on the object.
 *
 * Context: process.
 */
void pvhca_object_delist(struct pvhca_dev *dev, struct xarray *table, u32 handle)
{
	xa_erase_irq(table, handle);
	pvhca_dev_sync_admin(dev);
}
