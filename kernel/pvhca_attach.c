// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Begin and end of sessions.
 *
 * One work item decides: it ends a session that is dead, and makes one when
 * there is none and pvhcad is there. Interrupts, events and commands that time
 * out only mark a session dead (pvhca_dev.c) and schedule it.
 *
 *   pvhca_attach_died()	what a death means above the registers: commands fail,
 *				those under way included, and applications see it in
 *				their context page.
 *   pvhca_attach_work()	unregisters the ib_device, which detaches the
 *				applications and destroys their objects; frees the
 *				session; makes a new one.
 *
 * A session of an adapter that is paired with a network interface waits, enabled but not
 * registered, until that is there (pvhca_pair.c).
 *
 * A session that could not be made or died early is not tried again at once, as
 * long as it is the same pvhcad; and not at all if the two do not fit.
 */

#include <linux/rtnetlink.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

#define PVHCA_RETRY_MIN	      HZ
#define PVHCA_RETRY_MAX_SHIFT 6 /* about a minute */

/* -------------------------------- dead sessions ---------------------------- */

static void pvhca_attach_died(struct pvhca_dev *dev)
{
	pvhca_com_close(&dev->com);
	pvhca_ucontext_kill_all(dev);
	mod_delayed_work(dev->pci->wq, &dev->pci->attach_work, 0);
}

static const struct pvhca_dev_ops pvhca_attach_ops = {
	.died = pvhca_attach_died,
	.quiesced = pvhca_kctx_flush,
	.serve_admin = pvhca_eq_serve_admin,
};

/* ---------------------------------- sessions ------------------------------- */

/* Everything of a session that needs no pvhcad. */
static struct pvhca_dev *pvhca_dev_create(struct pvhca_pci *pci)
{
	struct pvhca_dev *dev;
	int err;

	dev = ib_alloc_device(pvhca_dev, ibdev);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	pvhca_dev_init(dev, pci, &pvhca_attach_ops);
	xa_init_flags(&dev->qps, XA_FLAGS_LOCK_IRQ);
	xa_init_flags(&dev->cqs, XA_FLAGS_LOCK_IRQ);
	xa_init_flags(&dev->srqs, XA_FLAGS_LOCK_IRQ);
	spin_lock_init(&dev->contexts_lock);
	INIT_LIST_HEAD(&dev->contexts);
	INIT_WORK(&dev->port_work, pvhca_port_work);

	err = pvhca_com_create(dev);
	if (err)
		goto err_dealloc;
	err = pvhca_eq_create_async(dev);
	if (err)
		goto err_destroy_com;
	return dev;

err_destroy_com:
	pvhca_com_destroy(dev);
err_dealloc:
	pvhca_dev_cleanup(dev);
	ib_dealloc_device(&dev->ibdev);
	return ERR_PTR(err);
}

/* The session is dead, and only the caller knows of it. */
static void pvhca_dev_destroy(struct pvhca_dev *dev)
{
	cancel_work_sync(&dev->port_work);
	pvhca_com_drain(&dev->com);
	pvhca_kctx_destroy(dev);
	pvhca_eq_destroy_comp(dev);
	pvhca_eq_destroy_async(dev);
	if (pvhca_dev_may_free(dev))
		pvhca_com_destroy(dev);
	pvhca_dev_cleanup(dev);
	WARN_ON(!xa_empty(&dev->qps) || !xa_empty(&dev->cqs) || !xa_empty(&dev->srqs) ||
		!list_empty(&dev->contexts));
	xa_destroy(&dev->qps);
	xa_destroy(&dev->cqs);
	xa_destroy(&dev->srqs);
	ib_dealloc_device(&dev->ibdev);
}

/* ENABLE failed: is that final? The log gets the reason that pvhcad gave. */
static void pvhca_dev_refused(struct pvhca_dev *dev)
{
	const struct pvhca_admin_area *area = dev->com.area;
	u32 error = pvhca_regs_read(dev->pci, PVHCA_REG_ERROR);
	char hostd[PVHCA_REG_VERSION_LEN];
	char qemu[PVHCA_REG_VERSION_LEN];

	switch (error) {
	case PVHCA_DEV_ERR_ADMIN_AREA:
	case PVHCA_DEV_ERR_VERSION:
	case PVHCA_DEV_ERR_ADMIN_QUEUE:
	case PVHCA_DEV_ERR_BACKEND_VERSION:
		dev->pci->refused = true;
	}

	/* Attempts are repeated; one message is enough, but for a final one. */
	if (dev->pci->failure_logged && !dev->pci->refused)
		return;
	pvhca_regs_read_text(dev->pci, PVHCA_REG_HOSTD_VERSION, hostd);
	pvhca_regs_read_text(dev->pci, PVHCA_REG_QEMU_VERSION, qemu);
	dev_err_ratelimited(&dev->pci->pdev->dev,
			    "pvhcad %*pE refused the driver, error %u%s%*pE\n",
			    PVHCA_TEXT_LEN(hostd), hostd, error, area->hostd_message[0] ? ": " : "",
			    PVHCA_TEXT_LEN(area->hostd_message), area->hostd_message);
	dev_err_ratelimited(
		&dev->pci->pdev->dev,
		"admin ABI of driver %s is %u.%u, pvhcad's %u.%u; QEMU's device is %*pE\n",
		PVHCA_VERSION, PVHCA_ADMIN_ABI_MAJOR, PVHCA_ADMIN_ABI_MINOR,
		le16_to_cpu(area->hostd_abi_major), le16_to_cpu(area->hostd_abi_minor),
		PVHCA_TEXT_LEN(qemu), qemu);
}

static int pvhca_dev_check_hostd(struct pvhca_dev *dev)
{
	const struct pvhca_admin_area *area = dev->com.area;

	dev->features = le64_to_cpu(area->hostd_features);
	if (le16_to_cpu(area->hostd_abi_major) == PVHCA_ADMIN_ABI_MAJOR &&
	    !(dev->features & ~PVHCA_COM_FEATURES))
		return 0;
	dev_err_ratelimited(
		&dev->pci->pdev->dev,
		"pvhcad %*pE speaks admin ABI %u.%u, features %#llx; driver %s speaks %u.%u\n",
		PVHCA_TEXT_LEN(area->hostd_version), area->hostd_version,
		le16_to_cpu(area->hostd_abi_major), le16_to_cpu(area->hostd_abi_minor),
		dev->features, PVHCA_VERSION, PVHCA_ADMIN_ABI_MAJOR, PVHCA_ADMIN_ABI_MINOR);
	dev->pci->refused = true;
	return -EPROTO;
}

/* Bring pvhcad in. */
static int pvhca_dev_enable(struct pvhca_dev *dev)
{
	struct pvhca_pci *pci = dev->pci;
	int err;

	dev->generation = pvhca_regs_read(pci, PVHCA_REG_GENERATION);
	err = pvhca_regs_enable(pci, dev->com.area_dma);
	if (err == -EPROTO)
		pvhca_dev_refused(dev);
	if (err)
		return err;
	err = pvhca_dev_check_hostd(dev);
	if (err)
		return err;
	pvhca_com_open(&dev->com);

	/* The config interrupt watches the session from now on. Did it end before? */
	mutex_lock(&pci->dev_lock);
	pci->dev = dev;
	mutex_unlock(&pci->dev_lock);
	pvhca_attach_config_changed(pci);
	return 0;
}

/* On return no other thread finds the session, and pvhcad has let go of it. */
static void pvhca_dev_disable(struct pvhca_dev *dev)
{
	struct pvhca_pci *pci = dev->pci;

	pvhca_dev_kill(dev, NULL);
	pvhca_dev_quiesce(dev);
	mutex_lock(&pci->dev_lock);
	pci->dev = NULL;
	mutex_unlock(&pci->dev_lock);
}

/* The network interface is the adapter's own, or one that it is to be paired with. */
static int pvhca_dev_choose_netdev(struct pvhca_dev *dev)
{
	if (pvhca_is_paired(dev)) {
		pvhca_netdev_destroy(dev->pci);
		return pvhca_pair_start(dev->pci, dev->attr.mac);
	}
	pvhca_pair_stop(dev->pci);
	return pvhca_netdev_create(dev->pci, dev->attr.mac);
}

/* Make everything that an enabled session needs before it is registered. */
static int pvhca_dev_start(struct pvhca_dev *dev)
{
	int err;

	err = pvhca_com_query_device(dev, &dev->attr);
	if (err)
		return err;
	err = pvhca_eq_create_comp(dev);
	if (err)
		return err;
	err = pvhca_kctx_create(dev);
	if (err)
		return err;
	return pvhca_dev_choose_netdev(dev);
}

/* ------------------------------- state machine ----------------------------- */

/* Name the kernel verbs that are missing. */
static void pvhca_attach_log_kernel(struct pvhca_dev *dev)
{
	u16 caps = le16_to_cpu(dev->attr.kernel_caps);
	const char *without;

	if (!dev->kctx)
		without = "no connection manager (rdma_cm), no kernel consumers";
	else if (!(caps & PVHCA_KERNEL_QP))
		without =
			"connection manager only, no kernel consumers (NFS, NVMe, SMC and their like)";
	else if (!(caps & PVHCA_KERNEL_REG_MR))
		without =
			"no kernel consumers that need fast registration (NFS, NVMe, SMC and their like)";
	else
		return;
	dev_notice_ratelimited(&dev->pci->pdev->dev,
			       "kernel verbs that pvhcad offers are limited: %s\n", without);
}

static void pvhca_attach_log(struct pvhca_dev *dev)
{
	char hostd[PVHCA_REG_VERSION_LEN];
	char qemu[PVHCA_REG_VERSION_LEN];

	pvhca_regs_read_text(dev->pci, PVHCA_REG_HOSTD_VERSION, hostd);
	pvhca_regs_read_text(dev->pci, PVHCA_REG_QEMU_VERSION, qemu);
	dev_info_ratelimited(
		&dev->pci->pdev->dev,
		"attached to pvhcad %*pE, host device %*pE, QEMU's device %*pE, %d completion vectors\n",
		PVHCA_TEXT_LEN(hostd), hostd, PVHCA_TEXT_LEN(dev->attr.host_device),
		dev->attr.host_device, PVHCA_TEXT_LEN(qemu), qemu, dev->num_ceqs);
	pvhca_attach_log_kernel(dev);
}

static void pvhca_detach(struct pvhca_dev *dev)
{
	struct pvhca_pci *pci = dev->pci;

	pvhca_dev_kill(dev, NULL);
	/* Whoever removes the interface waits for this: before all that may take time. */
	if (pvhca_is_paired(dev))
		pvhca_pair_detach(dev);
	pvhca_dev_disable(dev);
	pvhca_netdev_set_link(pci, false);
	if (dev->registered) {
		pvhca_netdev_detach(dev);
		pvhca_ibdev_unregister(dev);
	}
	pvhca_dev_destroy(dev);
}

/*
 * Register the device of a session, or wait for the interface to pair with. On failure
 * the session is gone.
 */
static int pvhca_attach_register(struct pvhca_dev *dev)
{
	struct pvhca_pci *pci = dev->pci;
	int err;

	if (pvhca_is_paired(dev) && !pvhca_pair_is_there(pci)) {
		if (!dev->waiting)
			dev_notice_ratelimited(
				&pci->pdev->dev,
				"waiting for the network interface with address %pM\n",
				pci->pair.mac);
		dev->waiting = true;
		pci->failure_logged = false;
		return 0;
	}
	err = pvhca_port_update(dev);
	if (!err)
		err = pvhca_ibdev_register(dev);
	if (err) {
		/* No failure; it is told already. */
		if (READ_ONCE(dev->pair_lost))
			err = -EINTR;
		pvhca_detach(dev);
		return err;
	}
	pvhca_netdev_attach(dev);
	pvhca_attach_log(dev);
	/* Events of the port during registration were not reported. */
	queue_work(pci->wq, &dev->port_work);
	pci->failure_logged = false;
	return 0;
}

static int pvhca_attach(struct pvhca_pci *pci)
{
	struct pvhca_dev *dev;
	int err;

	/* Firmware or another kernel may have left the device enabled. */
	if (pvhca_regs_read(pci, PVHCA_REG_STATUS) != PVHCA_STATUS_LINK) {
		err = pvhca_regs_reset(pci);
		if (err)
			return err;
	}

	dev = pvhca_dev_create(pci);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	err = pvhca_dev_enable(dev);
	if (!err)
		err = pvhca_dev_start(dev);
	if (err) {
		pvhca_detach(dev);
		return err;
	}
	return pvhca_attach_register(dev);
}

/* QEMU and pvhcad refuse each other. The guest's log may be the only place that shows it. */
static void pvhca_attach_log_mismatch(struct pvhca_pci *pci)
{
	u32 link_abi = pvhca_regs_read(pci, PVHCA_REG_LINK_ABI);
	char hostd[PVHCA_REG_VERSION_LEN];
	char qemu[PVHCA_REG_VERSION_LEN];

	if (pci->mismatch_logged)
		return;
	pci->mismatch_logged = true;
	pvhca_regs_read_text(pci, PVHCA_REG_HOSTD_VERSION, hostd);
	pvhca_regs_read_text(pci, PVHCA_REG_QEMU_VERSION, qemu);
	dev_err_ratelimited(
		&pci->pdev->dev,
		"pvhcad %*pE and QEMU's device %*pE refuse each other (link ABI %u.%u)\n",
		PVHCA_TEXT_LEN(hostd), hostd, PVHCA_TEXT_LEN(qemu), qemu, link_abi >> 16,
		link_abi & 0xffff);
}

/* Can a session be made now? If it can be made later, the work is scheduled for then. */
static bool pvhca_attach_is_due(struct pvhca_pci *pci)
{
	u32 generation = pvhca_regs_read(pci, PVHCA_REG_GENERATION);
	u32 status = pvhca_regs_read(pci, PVHCA_REG_STATUS);

	if (status == PVHCA_GONE)
		return false;
	if (generation != pci->tried_generation) {
		pci->tried_generation = generation;
		pci->refused = false;
		pci->failure_logged = false;
		pci->attempts = 0;
	}
	if (!(status & PVHCA_STATUS_LINK)) {
		if ((status & PVHCA_STATUS_FAILED) &&
		    pvhca_regs_read(pci, PVHCA_REG_ERROR) == PVHCA_DEV_ERR_BACKEND_VERSION)
			pvhca_attach_log_mismatch(pci);
		return false;
	}
	pci->mismatch_logged = false;
	if (pci->refused)
		return false;
	if (pci->attempts && time_before(jiffies, pci->retry_at)) {
		mod_delayed_work(pci->wq, &pci->attach_work, pci->retry_at - jiffies);
		return false;
	}
	return true;
}

/* The next attempt with this pvhcad has to wait, longer after each failure. */
static void pvhca_attach_hold_off(struct pvhca_pci *pci)
{
	unsigned int shift = min_t(unsigned int, pci->attempts, PVHCA_RETRY_MAX_SHIFT);

	pci->attempts++;
	pci->retry_at = jiffies + (PVHCA_RETRY_MIN << shift);
}

static void pvhca_attach_work(struct work_struct *work)
{
	struct pvhca_pci *pci = container_of(to_delayed_work(work), struct pvhca_pci, attach_work);
	int err;

	if (READ_ONCE(pci->stopping))
		return;

	pvhca_attach_config_changed(pci);
	if (pci->dev && pvhca_dev_is_dead(pci->dev)) {
		/* After a session that lasted, failures are counted anew. */
		if (time_after(jiffies, pci->retry_at + (PVHCA_RETRY_MIN << PVHCA_RETRY_MAX_SHIFT)))
			pci->attempts = 0;
		if (!READ_ONCE(pci->dev->pair_lost))
			pvhca_attach_hold_off(pci);
		pvhca_detach(pci->dev);
	}
	if (pci->dev && !pci->dev->registered)
		err = pvhca_attach_register(pci->dev);
	else if (!pci->dev && pvhca_attach_is_due(pci))
		err = pvhca_attach(pci);
	else
		return;
	if (!err || err == -EINTR)
		return;
	if (!pci->failure_logged)
		dev_err_ratelimited(&pci->pdev->dev, "cannot attach to pvhcad: %d\n", err);
	pci->failure_logged = true;
	pvhca_attach_hold_off(pci);
	mod_delayed_work(pci->wq, &pci->attach_work, 0);
}

/**
 * pvhca_attach_config_changed - end the session if the device has changed
 * @pci: device
 *
 * Context: process.
 */
void pvhca_attach_config_changed(struct pvhca_pci *pci)
{
	u32 status, generation;

	mutex_lock(&pci->dev_lock);
	if (!pci->dev || pvhca_dev_is_dead(pci->dev))
		goto out;
	/* In this order: a new pvhcad has counted before it shows as enabled. */
	status = pvhca_regs_read(pci, PVHCA_REG_STATUS);
	generation = pvhca_regs_read(pci, PVHCA_REG_GENERATION);
	if (READ_ONCE(pci->stopping))
		pvhca_dev_kill(pci->dev, NULL);
	else if (status == PVHCA_GONE)
		pvhca_dev_kill(pci->dev, "the device is gone");
	else if (status & PVHCA_STATUS_FAILED)
		pvhca_dev_kill(pci->dev, "pvhcad reported a failure");
	else if (!(status & PVHCA_STATUS_ENABLED) || generation != pci->dev->generation)
		pvhca_dev_kill(pci->dev, "pvhcad is gone");
out:
	mutex_unlock(&pci->dev_lock);
}

/**
 * pvhca_attach_init - prepare the state machine
 * @pci: device, with its workqueue
 */
void pvhca_attach_init(struct pvhca_pci *pci)
{
	mutex_init(&pci->dev_lock);
	INIT_DELAYED_WORK(&pci->attach_work, pvhca_attach_work);
	/* No generation has this number. */
	pci->tried_generation = ~pvhca_regs_read(pci, PVHCA_REG_GENERATION);
	pci->retry_at = jiffies;
}

/**
 * pvhca_attach_start - make sessions from now on
 * @pci: device
 */
void pvhca_attach_start(struct pvhca_pci *pci)
{
	WRITE_ONCE(pci->stopping, false);
	mod_delayed_work(pci->wq, &pci->attach_work, 0);
}

/* The session dies. The work ends, and does nothing from now on. */
static void pvhca_attach_halt(struct pvhca_pci *pci)
{
	WRITE_ONCE(pci->stopping, true);
	pvhca_regs_wake(pci);
	mutex_lock(&pci->dev_lock);
	if (pci->dev)
		pvhca_dev_kill(pci->dev, NULL);
	mutex_unlock(&pci->dev_lock);
	cancel_delayed_work_sync(&pci->attach_work);
}

/**
 * pvhca_attach_stop - end the session, and make none any more
 * @pci: device
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_attach_stop(struct pvhca_pci *pci)
{
	pvhca_attach_halt(pci);
	if (pci->dev)
		pvhca_detach(pci->dev);
}

/**
 * pvhca_attach_shutdown - have pvhcad let go of guest memory, for good
 * @pci: device
 *
 * The session dies, but nothing is freed: this kernel ends, and another may follow.
 */
void pvhca_attach_shutdown(struct pvhca_pci *pci)
{
	pvhca_attach_halt(pci);
	if (pci->dev)
		pvhca_dev_quiesce(pci->dev);
}
