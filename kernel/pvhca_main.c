// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The module and the PCI function.
 *
 * Probe succeeds without a pvhcad: it sets up what does not need one, and leaves
 * the rest to pvhca_attach.c, now and whenever the config interrupt comes.
 */

#include <linux/cpumask.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "pvhca.h"

#define PVHCA_MIN_VECTORS 3

MODULE_AUTHOR("The pvhca project");
MODULE_DESCRIPTION("Paravirtual RDMA adapter");
MODULE_LICENSE("Dual BSD/GPL");
MODULE_VERSION(PVHCA_VERSION);

static irqreturn_t pvhca_config_irq(int irq, void *data)
{
	struct pvhca_pci *pci = data;

	pvhca_regs_wake(pci);
	return IRQ_WAKE_THREAD;
}

/* In a thread, as the work may wait for a command that will not be answered. */
static irqreturn_t pvhca_config_thread(int irq, void *data)
{
	struct pvhca_pci *pci = data;

	pvhca_attach_config_changed(pci);
	if (!READ_ONCE(pci->stopping))
		mod_delayed_work(pci->wq, &pci->attach_work, 0);
	return IRQ_HANDLED;
}

static int pvhca_check_registers(struct pvhca_pci *pci)
{
	u32 magic = pvhca_regs_read(pci, PVHCA_REG_MAGIC);
	u32 abi = pvhca_regs_read(pci, PVHCA_REG_ABI);
	char qemu[PVHCA_REG_VERSION_LEN];

	if (magic != PVHCA_MAGIC) {
		dev_err(&pci->pdev->dev, "not a pvhca: magic %#x\n", magic);
		return -ENODEV;
	}
	if (abi >> 16 == PVHCA_REGS_ABI_MAJOR)
		return 0;

	pvhca_regs_read_text(pci, PVHCA_REG_QEMU_VERSION, qemu);
	dev_err(&pci->pdev->dev,
		"QEMU's device %*pE speaks register ABI %u.%u, driver %s speaks %u.%u\n",
		PVHCA_TEXT_LEN(qemu), qemu, abi >> 16, abi & 0xffff, PVHCA_VERSION,
		PVHCA_REGS_ABI_MAJOR, PVHCA_REGS_ABI_MINOR);
	return -EPROTO;
}

/* pvhcad is told DMA addresses and takes them for guest-physical ones. */
static int pvhca_check_dma(struct pvhca_pci *pci)
{
	struct device *dev = &pci->pdev->dev;
	dma_addr_t addr;
	struct page *page;
	int err;

	err = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (err)
		return err;
	dma_set_max_seg_size(dev, UINT_MAX);

	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	addr = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dev, addr)) {
		err = -ENOMEM;
		goto out;
	}
	if (addr != page_to_phys(page)) {
		dev_err(dev,
			"DMA addresses must be guest-physical: no IOMMU, no bounce buffers, no encryption\n");
		err = -EOPNOTSUPP;
	}
	dma_unmap_page(dev, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
out:
	__free_page(page);
	return err;
}

static int pvhca_map_bars(struct pvhca_pci *pci)
{
	struct pci_dev *pdev = pci->pdev;

	if (pci_resource_len(pdev, PVHCA_BAR_REGS) < PVHCA_BAR_REGS_SIZE ||
	    pci_resource_len(pdev, PVHCA_BAR_DOORBELL) < PVHCA_BAR_DOORBELL_SIZE) {
		dev_err(&pdev->dev, "BARs are too small\n");
		return -ENODEV;
	}
	pci->doorbells = pci_resource_start(pdev, PVHCA_BAR_DOORBELL) + PVHCA_DB_USER_WINDOW;
	pci->regs = ioremap(pci_resource_start(pdev, PVHCA_BAR_REGS), PVHCA_BAR_REGS_SIZE);
	if (!pci->regs)
		return -ENOMEM;
	pci->admin_db =
		ioremap(pci_resource_start(pdev, PVHCA_BAR_DOORBELL) + PVHCA_DB_ADMIN, sizeof(u32));
	if (!pci->admin_db) {
		iounmap(pci->regs);
		return -ENOMEM;
	}
	return 0;
}

static void pvhca_unmap_bars(struct pvhca_pci *pci)
{
	iounmap(pci->admin_db);
	iounmap(pci->regs);
}

static int pvhca_alloc_vectors(struct pvhca_pci *pci)
{
	unsigned int want = PVHCA_VECTOR_COMP + num_online_cpus();
	int have;

	want = min(want, pvhca_regs_read(pci, PVHCA_REG_NUM_VECTORS));
	want = clamp_t(unsigned int, want, PVHCA_MIN_VECTORS, PVHCA_VECTORS_MAX);
	have = pci_alloc_irq_vectors(pci->pdev, PVHCA_MIN_VECTORS, want, PCI_IRQ_MSIX);
	if (have < 0) {
		dev_err(&pci->pdev->dev, "cannot allocate %d MSI-X vectors: %d\n",
			PVHCA_MIN_VECTORS, have);
		return have;
	}
	pci->num_vectors = have;
	return 0;
}

/* Interrupts, and the work that they schedule. */
static int pvhca_setup_config(struct pvhca_pci *pci)
{
	struct pci_dev *pdev = pci->pdev;
	int err;

	init_waitqueue_head(&pci->config_wait);
	pci->wq = alloc_ordered_workqueue(PVHCA_DRV_NAME "-%s", 0, pci_name(pdev));
	if (!pci->wq)
		return -ENOMEM;
	pci->reclaim_wq = alloc_workqueue(PVHCA_DRV_NAME "-reclaim-%s", WQ_UNBOUND | WQ_MEM_RECLAIM,
					  0, pci_name(pdev));
	if (!pci->reclaim_wq) {
		err = -ENOMEM;
		goto err_destroy_wq;
	}
	pvhca_attach_init(pci);

	err = pvhca_alloc_vectors(pci);
	if (err)
		goto err_destroy_reclaim_wq;
	err = request_threaded_irq(pci_irq_vector(pdev, PVHCA_VECTOR_CONFIG), pvhca_config_irq,
				   pvhca_config_thread, 0, PVHCA_DRV_NAME "-config", pci);
	if (err)
		goto err_free_vectors;
	return 0;

err_free_vectors:
	pci_free_irq_vectors(pdev);
err_destroy_reclaim_wq:
	destroy_workqueue(pci->reclaim_wq);
err_destroy_wq:
	destroy_workqueue(pci->wq);
	return err;
}

static void pvhca_teardown_config(struct pvhca_pci *pci)
{
	free_irq(pci_irq_vector(pci->pdev, PVHCA_VECTOR_CONFIG), pci);
	pci_free_irq_vectors(pci->pdev);
	destroy_workqueue(pci->reclaim_wq);
	destroy_workqueue(pci->wq);
}

static int pvhca_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pvhca_pci *pci;
	int err;

	pci = kzalloc_obj(*pci);
	if (!pci)
		return -ENOMEM;
	pci->pdev = pdev;
	pci_set_drvdata(pdev, pci);

	err = pci_enable_device_mem(pdev);
	if (err)
		goto err_free;
	err = pci_request_mem_regions(pdev, PVHCA_DRV_NAME);
	if (err)
		goto err_disable;
	err = pvhca_map_bars(pci);
	if (err)
		goto err_release;
	err = pvhca_check_registers(pci);
	if (err)
		goto err_unmap;
	err = pvhca_check_dma(pci);
	if (err)
		goto err_unmap;
	pci_set_master(pdev);
	err = pvhca_setup_config(pci);
	if (err)
		goto err_clear_master;

	pvhca_attach_start(pci);
	return 0;

err_clear_master:
	pci_clear_master(pdev);
err_unmap:
	pvhca_unmap_bars(pci);
err_release:
	pci_release_mem_regions(pdev);
err_disable:
	pci_disable_device(pdev);
err_free:
	kfree(pci);
	return err;
}

static void pvhca_remove(struct pci_dev *pdev)
{
	struct pvhca_pci *pci = pci_get_drvdata(pdev);

	pvhca_attach_stop(pci);
	/* It schedules work. */
	pvhca_pair_stop(pci);
	pvhca_teardown_config(pci);
	pvhca_netdev_destroy(pci);
	pci_clear_master(pdev);
	pvhca_unmap_bars(pci);
	pci_release_mem_regions(pdev);
	pci_disable_device(pdev);
	mutex_destroy(&pci->dev_lock);
	kfree(pci);
}

static void pvhca_shutdown(struct pci_dev *pdev)
{
	struct pvhca_pci *pci = pci_get_drvdata(pdev);

	pvhca_attach_shutdown(pci);
	pci_clear_master(pdev);
}

/* pvhcad keeps nothing over a suspension, nor over a reset of the function. */
static int pvhca_suspend(struct device *dev)
{
	pvhca_attach_stop(dev_get_drvdata(dev));
	return 0;
}

static int pvhca_resume(struct device *dev)
{
	pvhca_attach_start(dev_get_drvdata(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(pvhca_pm_ops, pvhca_suspend, pvhca_resume);

static void pvhca_reset_prepare(struct pci_dev *pdev)
{
	pvhca_attach_stop(pci_get_drvdata(pdev));
}

static void pvhca_reset_done(struct pci_dev *pdev)
{
	pvhca_attach_start(pci_get_drvdata(pdev));
}

static const struct pci_error_handlers pvhca_err_handlers = {
	.reset_prepare = pvhca_reset_prepare,
	.reset_done = pvhca_reset_done,
};

static const struct pci_device_id pvhca_ids[] = {
	{ PCI_DEVICE(PVHCA_PCI_VENDOR_ID, PVHCA_PCI_DEVICE_ID) }, {}
};
MODULE_DEVICE_TABLE(pci, pvhca_ids);

static struct pci_driver pvhca_driver = {
	.name = PVHCA_DRV_NAME,
	.id_table = pvhca_ids,
	.probe = pvhca_probe,
	.remove = pvhca_remove,
	.shutdown = pvhca_shutdown,
	.driver.pm = pm_sleep_ptr(&pvhca_pm_ops),
	.err_handler = &pvhca_err_handlers,
};
module_pci_driver(pvhca_driver);
