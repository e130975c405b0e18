// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Tables of the objects that events can happen to, by pvhcad's handle.
 *
 * An object is listed last when it is made. When it is destroyed it leaves its
 * table after the command completed: see pvhca_eq.c for why that order and the
 * wait let no event hit a dead object, or a new one that has the same handle.
 */

#include <linux/interrupt.h>

#include "pvhca.h"

/**
 * pvhca_object_publish - answer the provider, and let events find an object
 * @dev: session
 * @table: of it
 * @handle: of the object
 * @object: complete
 * @udata: where the answer goes; NULL for a kernel consumer
 * @resp: the answer
 * @size: of it, bytes
 *
 * Context: process.
 * Return: 0; -EFAULT; -ENOMEM; -EIO if pvhcad gave the handle of another object,
 * which ends the session.
 */
int pvhca_object_publish(struct pvhca_dev *dev, struct xarray *table, u32 handle, void *object,
			 struct ib_udata *udata, void *resp, size_t size)
{
	int err;

	if (udata) {
		err = pvhca_udata_out(udata, resp, size);
		if (err)
			return err;
	}
	err = xa_insert_irq(table, handle, object, GFP_KERNEL);
	if (err != -EBUSY)
		return err;
	pvhca_dev_kill(dev, "pvhcad gave two objects the same handle");
	return -EIO;
}

/**
 * pvhca_object_delist - no event finds an object any more
 * @dev: session
 * @table: of it
 * @handle: of the object; the command that destroyed it has completed
 *
 * On return no handler of async events is still at work on the object.
 *
 * Context: process.
 */
void pvhca_object_delist(struct pvhca_dev *dev, struct xarray *table, u32 handle)
{
	xa_erase_irq(table, handle);
	synchronize_irq(dev->aeq.irq);
}
