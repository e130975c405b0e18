// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Contexts: a process that has opened the device, and what it maps.
 *
 * The context page is kernel memory. The process keeps it as long as it has it mapped,
 * even when the device is gone: a thread that polls sees that in the page's alive word.
 * The doorbells are device memory; the core replaces them in the process when the
 * device goes.
 */

#include <linux/mm.h>
#include <linux/slab.h>
#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"

/**
 * struct pvhca_mmap_entry - something that user space may map
 * @rdma: the core's part
 * @page: a page of the kernel's, with a reference; NULL: the doorbells
 */
struct pvhca_mmap_entry {
	struct rdma_user_mmap_entry rdma;
	struct page *page;
};

static void pvhca_ucontext_set_alive(struct pvhca_ucontext *ctx, u32 alive)
{
	struct pvhca_context_page *page = page_address(ctx->page->page);

	WRITE_ONCE(page->alive, cpu_to_le32(alive));
}

/* Fails on a dead session: the page would not be told of its end. */
static int pvhca_ucontext_enlist(struct pvhca_dev *dev, struct pvhca_ucontext *ctx)
{
	unsigned long flags;
	int err = 0;

	spin_lock_irqsave(&dev->contexts_lock, flags);
	if (pvhca_dev_is_dead(dev)) {
		err = -EIO;
	} else {
		pvhca_ucontext_set_alive(ctx, 1);
		list_add(&ctx->link, &dev->contexts);
	}
	spin_unlock_irqrestore(&dev->contexts_lock, flags);
	return err;
}

static void pvhca_ucontext_delist(struct pvhca_dev *dev, struct pvhca_ucontext *ctx)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->contexts_lock, flags);
	list_del(&ctx->link);
	pvhca_ucontext_set_alive(ctx, 0);
	spin_unlock_irqrestore(&dev->contexts_lock, flags);
}

/**
 * pvhca_ucontext_kill_all - tell all processes that the device is gone
 * @dev: dead session
 *
 * Context: any.
 */
void pvhca_ucontext_kill_all(struct pvhca_dev *dev)
{
	struct pvhca_ucontext *ctx;
	unsigned long flags;

	spin_lock_irqsave(&dev->contexts_lock, flags);
	list_for_each_entry (ctx, &dev->contexts, link)
		pvhca_ucontext_set_alive(ctx, 0);
	spin_unlock_irqrestore(&dev->contexts_lock, flags);
}

/* pvhca_com_hold.release; lost if pvhcad may still write to it. */
static void pvhca_ucontext_release_page(struct pvhca_com_hold *hold)
{
	struct pvhca_ucontext_page *page = container_of(hold, struct pvhca_ucontext_page, hold);

	if (!pvhca_dev_may_free(page->dev))
		return;
	dma_unmap_page(pvhca_to_dma_device(page->dev), page->dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	put_page(page->page);
	kfree(page);
}

static int pvhca_ucontext_alloc_page(struct pvhca_dev *dev, struct pvhca_ucontext *ctx)
{
	struct device *dma_dev = pvhca_to_dma_device(dev);
	struct pvhca_ucontext_page *page;

	BUILD_BUG_ON(sizeof(struct pvhca_context_page) > PAGE_SIZE);

	page = kzalloc_obj(*page);
	if (!page)
		return -ENOMEM;
	pvhca_com_hold_init(&page->hold, pvhca_ucontext_release_page);
	page->dev = dev;
	page->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page->page)
		goto err_free;
	page->dma = dma_map_page(dma_dev, page->page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dma_dev, page->dma))
		goto err_free_page;
	ctx->page = page;
	return 0;

err_free_page:
	__free_page(page->page);
err_free:
	kfree(page);
	return -ENOMEM;
}

static struct rdma_user_mmap_entry *pvhca_ucontext_add_mmap(struct pvhca_ucontext *ctx,
							    struct page *page)
{
	struct pvhca_mmap_entry *entry;
	int err;

	entry = kzalloc_obj(*entry);
	if (!entry)
		return ERR_PTR(-ENOMEM);
	err = rdma_user_mmap_entry_insert(&ctx->ibucontext, &entry->rdma, PAGE_SIZE);
	if (err) {
		kfree(entry);
		return ERR_PTR(err);
	}
	/* No process can map it before the call that makes the context returns. */
	if (page) {
		get_page(page);
		entry->page = page;
	}
	return &entry->rdma;
}

static int pvhca_ucontext_add_mmaps(struct pvhca_ucontext *ctx)
{
	BUILD_BUG_ON(PVHCA_DB_MAX * PVHCA_DB_STRIDE > PAGE_SIZE);

	ctx->page_mmap = pvhca_ucontext_add_mmap(ctx, ctx->page->page);
	if (IS_ERR(ctx->page_mmap))
		return PTR_ERR(ctx->page_mmap);
	ctx->db_mmap = pvhca_ucontext_add_mmap(ctx, NULL);
	if (IS_ERR(ctx->db_mmap)) {
		rdma_user_mmap_entry_remove(ctx->page_mmap);
		return PTR_ERR(ctx->db_mmap);
	}
	return 0;
}

static void pvhca_ucontext_remove_mmaps(struct pvhca_ucontext *ctx)
{
	rdma_user_mmap_entry_remove(ctx->db_mmap);
	rdma_user_mmap_entry_remove(ctx->page_mmap);
}

/* Have pvhcad accept the process. */
static int pvhca_ucontext_open(struct pvhca_dev *dev, struct pvhca_ucontext *ctx,
			       const struct pvhca_uctx_req *req, u16 *ring_abi_minor)
{
	const struct pvhca_com_alloc_context_params params = {
		.page = ctx->page->dma,
		.ring_abi_major = req->ring_abi_major,
		.ring_abi_minor = req->ring_abi_minor,
		.hold = &ctx->page->hold,
	};
	struct pvhca_com_alloc_context_result result;
	int err;

	err = pvhca_com_alloc_context(dev, &params, &result);
	if (err == -EPROTO)
		ibdev_err_ratelimited(&dev->ibdev,
				      "provider speaks ring ABI %u.%u, pvhcad %*pE speaks %u.%u\n",
				      req->ring_abi_major, req->ring_abi_minor,
				      PVHCA_TEXT_LEN(dev->com.area->hostd_version),
				      dev->com.area->hostd_version, result.ring_abi_major,
				      result.ring_abi_minor);
	if (err)
		return err;
	ctx->handle = result.handle;
	*ring_abi_minor = result.ring_abi_minor;
	return 0;
}

static int pvhca_ucontext_respond(struct pvhca_dev *dev, struct pvhca_ucontext *ctx,
				  struct ib_udata *udata, u16 ring_abi_minor)
{
	struct pvhca_uctx_resp resp = {
		.ring_abi_minor = ring_abi_minor,
		.context_page = rdma_user_mmap_get_offset(ctx->page_mmap),
		.doorbells = rdma_user_mmap_get_offset(ctx->db_mmap),
		.context_page_len = PAGE_SIZE,
		.doorbells_len = PAGE_SIZE,
		.max_sq_sge = le32_to_cpu(dev->attr.max_sge),
		.max_rq_sge = le32_to_cpu(dev->attr.max_sge),
		.max_inline = le32_to_cpu(dev->attr.max_inline),
	};

	return ib_respond_udata(udata, resp);
}

/**
 * pvhca_alloc_ucontext - ib_device_ops.alloc_ucontext
 * @ibucontext: context
 * @udata: struct pvhca_uctx_req, struct pvhca_uctx_resp
 *
 * Return: 0; -EPROTO if pvhcad does not speak the provider's ring ABI; another
 * negative errno.
 */
int pvhca_alloc_ucontext(struct ib_ucontext *ibucontext, struct ib_udata *udata)
{
	struct pvhca_ucontext *ctx = to_pvhca_ucontext(ibucontext);
	struct pvhca_dev *dev = to_pvhca_dev(ibucontext->device);
	struct pvhca_uctx_req req;
	u16 ring_abi_minor;
	int err;

	err = pvhca_copy_uctx_req(udata, req);
	if (err)
		return err;
	if (req.comp_mask)
		return -EOPNOTSUPP;

	err = pvhca_ucontext_alloc_page(dev, ctx);
	if (err)
		return err;
	err = pvhca_ucontext_enlist(dev, ctx);
	if (err)
		goto err_free_page;
	err = pvhca_ucontext_open(dev, ctx, &req, &ring_abi_minor);
	if (err)
		goto err_delist;
	err = pvhca_ucontext_add_mmaps(ctx);
	if (err)
		goto err_close;
	err = pvhca_ucontext_respond(dev, ctx, udata, ring_abi_minor);
	if (err)
		goto err_remove_mmaps;
	return 0;

err_remove_mmaps:
	pvhca_ucontext_remove_mmaps(ctx);
err_close:
	pvhca_com_dealloc_context(dev, ctx->handle);
err_delist:
	pvhca_ucontext_delist(dev, ctx);
err_free_page:
	pvhca_com_hold_put(&ctx->page->hold);
	return err;
}

/**
 * pvhca_dealloc_ucontext - ib_device_ops.dealloc_ucontext
 * @ibucontext: context without objects
 */
void pvhca_dealloc_ucontext(struct ib_ucontext *ibucontext)
{
	struct pvhca_ucontext *ctx = to_pvhca_ucontext(ibucontext);
	struct pvhca_dev *dev = to_pvhca_dev(ibucontext->device);

	pvhca_ucontext_remove_mmaps(ctx);
	pvhca_com_dealloc_context(dev, ctx->handle);
	pvhca_ucontext_delist(dev, ctx);
	pvhca_com_hold_put(&ctx->page->hold);
}

/**
 * pvhca_disassociate_ucontext - ib_device_ops.disassociate_ucontext
 * @ibucontext: context
 *
 * There is nothing left to do: the core takes the doorbells away, and
 * pvhca_ucontext_kill_all() has told the process. The function must exist, for only
 * then does the core go on without waiting for the process.
 */
void pvhca_disassociate_ucontext(struct ib_ucontext *ibucontext)
{
}

static int pvhca_mmap_page(struct vm_area_struct *vma, struct page *page)
{
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	return vm_insert_page(vma, vma->vm_start, page);
}

/**
 * pvhca_mmap - ib_device_ops.mmap
 * @ibucontext: context
 * @vma: with one of the offsets that struct pvhca_uctx_resp named
 *
 * Return: 0 or a negative errno.
 */
int pvhca_mmap(struct ib_ucontext *ibucontext, struct vm_area_struct *vma)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibucontext->device);
	struct rdma_user_mmap_entry *rdma_entry;
	struct pvhca_mmap_entry *entry;
	int err;

	/*
	 * Else a process would have the admin doorbell in its page. The window's BAR lies on a
	 * multiple of its size.
	 */
	BUILD_BUG_ON(PVHCA_DB_USER_WINDOW + PAGE_SIZE > PVHCA_DB_ADMIN);

	/* That checks that it is shared, and its length. */
	rdma_entry = rdma_user_mmap_entry_get(ibucontext, vma);
	if (!rdma_entry)
		return -EINVAL;
	entry = container_of(rdma_entry, struct pvhca_mmap_entry, rdma);

	if (entry->page)
		err = pvhca_mmap_page(vma, entry->page);
	else
		err = rdma_user_mmap_io(ibucontext, vma, PHYS_PFN(dev->pci->doorbells), PAGE_SIZE,
					pgprot_noncached(vma->vm_page_prot), rdma_entry);
	rdma_user_mmap_entry_put(rdma_entry);
	return err;
}

/**
 * pvhca_mmap_free - ib_device_ops.mmap_free
 * @rdma_entry: entry that no process can map any more
 */
void pvhca_mmap_free(struct rdma_user_mmap_entry *rdma_entry)
{
	struct pvhca_mmap_entry *entry = container_of(rdma_entry, struct pvhca_mmap_entry, rdma);

	if (entry->page)
		put_page(entry->page);
	kfree(entry);
}
