// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The end of a session, as every layer sees it.
 *
 * Any layer may find that a session is over, and many layers free memory that pvhcad
 * used. So this file lies below them. The layers above take part by struct
 * pvhca_dev_ops.
 *
 *   pvhca_dev_kill()		a session dies. From any context, at once.
 *   pvhca_dev_quiesce()	the device is reset, once for each dead session. The
 *				first thread that has memory to free does it, often a
 *				thread that destroys an object. It needs nothing but
 *				the registers, so that it can be done under any lock.
 */

#include "pvhca.h"

static void pvhca_dev_quiesce_work(struct work_struct *work)
{
	pvhca_dev_quiesce(container_of(work, struct pvhca_dev, quiesce_work));
}

/**
 * pvhca_dev_init - prepare the end of a session
 * @dev: session
 * @pci: where it lives
 * @ops: callbacks of upper layers
 */
void pvhca_dev_init(struct pvhca_dev *dev, struct pvhca_pci *pci, const struct pvhca_dev_ops *ops)
{
	dev->pci = pci;
	dev->ops = ops;
	spin_lock_init(&dev->admin_lock);
	mutex_init(&dev->quiesce_lock);
	INIT_WORK(&dev->quiesce_work, pvhca_dev_quiesce_work);
}

/**
 * pvhca_dev_cleanup - undo pvhca_dev_init()
 * @dev: session, dead or never enabled
 */
void pvhca_dev_cleanup(struct pvhca_dev *dev)
{
	flush_work(&dev->quiesce_work);
	mutex_destroy(&dev->quiesce_lock);
}

/**
 * pvhca_dev_sync_admin - wait for the thread that reads admin completions and events
 * @dev: session
 *
 * Called after a command completed, this returns when all events that pvhcad wrote
 * before the completion have been handled: both are read under one lock, completions
 * first.
 *
 * Context: process.
 */
void pvhca_dev_sync_admin(struct pvhca_dev *dev)
{
	spin_lock_irq(&dev->admin_lock);
	spin_unlock_irq(&dev->admin_lock);
}

/**
 * pvhca_dev_kill - a session is over
 * @dev: session; harmless if it is dead already
 * @why: reason for the log, or NULL
 *
 * Context: any.
 */
void pvhca_dev_kill(struct pvhca_dev *dev, const char *why)
{
	if (xchg(&dev->dead, true))
		return;
	if (why)
		dev_warn_ratelimited(pvhca_to_dma_device(dev), "device is down: %s\n", why);
	dev->ops->died(dev);
	queue_work(dev->pci->reclaim_wq, &dev->quiesce_work);
}

/**
 * pvhca_dev_is_dead - is a session over?
 * @dev: session
 *
 * Context: any.
 * Return: true once it died.
 */
bool pvhca_dev_is_dead(const struct pvhca_dev *dev)
{
	return READ_ONCE(dev->dead);
}

/**
 * pvhca_dev_quiesce - have pvhcad let go of all memory of a dead session
 * @dev: session
 *
 * Context: process; may be called with rtnl_lock() held.
 */
void pvhca_dev_quiesce(struct pvhca_dev *dev)
{
	mutex_lock(&dev->quiesce_lock);
	if (!dev->quiesced) {
		dev->leak = pvhca_regs_reset(dev->pci) != 0;
		dev->quiesced = true;
		if (dev->leak)
			dev_err_ratelimited(
				pvhca_to_dma_device(dev),
				"reset timed out: memory that pvhcad may still use is not freed\n");
		dev->ops->quiesced(dev);
	}
	mutex_unlock(&dev->quiesce_lock);
}

/**
 * pvhca_dev_may_free - may memory be freed that pvhcad used?
 * @dev: session; if it is dead, waits until pvhcad has let go
 *
 * To be asked after the command that ends the use.
 *
 * Context: process; may be called with rtnl_lock() held.
 * Return: false if a RESET timed out.
 */
bool pvhca_dev_may_free(struct pvhca_dev *dev)
{
	if (!pvhca_dev_is_dead(dev))
		return true;
	pvhca_dev_quiesce(dev);
	return !dev->leak;
}
