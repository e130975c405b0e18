// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The driver's own context: its page, its doorbells, memory for its rings; and
 * the end of the session as kernel consumers see it. See pvhca_kverbs.h.
 */

#include <linux/io.h>
#include <linux/slab.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

/*
 * pvhcad is another processor even to a guest that has but one, where the usual
 * bit operations lose their lock prefix.
 */
#if defined(CONFIG_X86) || defined(CONFIG_ARM64) || defined(CONFIG_ARM)
#include <asm/sync_bitops.h>
#else
#define sync_set_bit		set_bit
#define sync_test_and_clear_bit test_and_clear_bit
#endif

/* ---------------------------------- memory --------------------------------- */

/**
 * pvhca_kbuf_alloc - allocate memory that pvhcad sees
 * @dev: session
 * @buf: to be filled
 * @size: bytes, rounded up to pages
 *
 * Return: 0 or -ENOMEM.
 */
int pvhca_kbuf_alloc(struct pvhca_dev *dev, struct pvhca_kbuf *buf, size_t size)
{
	buf->size = PAGE_ALIGN(size);
	buf->addr = dma_alloc_coherent(pvhca_to_dma_device(dev), buf->size, &buf->dma,
				       GFP_KERNEL | __GFP_NOWARN);
	return buf->addr ? 0 : -ENOMEM;
}

/**
 * pvhca_kbuf_free - free it
 * @dev: session
 * @buf: memory; lost if pvhcad may still write to it
 */
void pvhca_kbuf_free(struct pvhca_dev *dev, struct pvhca_kbuf *buf)
{
	if (pvhca_dev_may_free(dev))
		dma_free_coherent(pvhca_to_dma_device(dev), buf->size, buf->addr, buf->dma);
}

/**
 * pvhca_kbuf_list - make the memory list of a buffer
 * @buf: memory
 * @list: to be filled
 */
void pvhca_kbuf_list(const struct pvhca_kbuf *buf, struct pvhca_mem_list *list)
{
	memset(list, 0, sizeof(*list));
	list->num_extents = cpu_to_le32(1);
	list->length = cpu_to_le64(buf->size);
	list->extents[0].addr = cpu_to_le64(buf->dma);
	list->extents[0].len = cpu_to_le64(buf->size);
}

/* --------------------------------- doorbells ------------------------------- */

/**
 * pvhca_kctx_doorbell - where a queue's doorbell is
 * @kctx: context
 * @offset: as pvhcad told
 *
 * Return: its address, or NULL if it is outside of the window.
 */
void __iomem *pvhca_kctx_doorbell(struct pvhca_kctx *kctx, u32 offset)
{
	if (offset > PAGE_SIZE - sizeof(u32) || offset % sizeof(u32))
		return NULL;
	return kctx->doorbells + offset;
}

/* A bit of a little endian 64-bit word, for the bitmap functions. */
static unsigned int pvhca_kctx_bit(unsigned int bit)
{
	return IS_ENABLED(CONFIG_CPU_BIG_ENDIAN) ? bit ^ (BITS_PER_LONG - 8) : bit;
}

/* Set a bit that pvhcad clears; a full barrier if it has to be written. */
static void pvhca_kctx_set_bit(__le64 *word, unsigned int bit)
{
	if (READ_ONCE(*word) & cpu_to_le64(1ull << bit))
		return;
	sync_set_bit(pvhca_kctx_bit(bit), (unsigned long *)word);
	virt_mb();
}

static bool pvhca_kctx_clear_bit(__le64 *word, unsigned int bit)
{
	if (likely(!(READ_ONCE(*word) & cpu_to_le64(1ull << bit))))
		return false;
	return sync_test_and_clear_bit(pvhca_kctx_bit(bit), (unsigned long *)word);
}

/**
 * pvhca_kctx_notify - tell pvhcad that a producer index has moved
 * @kctx: context
 * @slot: slot of the queue
 *
 * To be called after the index was stored; it begins with a full barrier. It needs no
 * lock. providers/pvhca/ring.h explains why no wake-up is lost.
 *
 * Context: any.
 * Return: whether pvhcad sleeps and the caller has to write the doorbell.
 */
bool pvhca_kctx_notify(struct pvhca_kctx *kctx, u32 slot)
{
	struct pvhca_context_page *page = kctx->page.addr;
	unsigned int word = slot / 64;

	virt_mb();
	pvhca_kctx_set_bit(&page->pending[word], slot % 64);
	pvhca_kctx_set_bit(&page->summary, word);
	return pvhca_kctx_clear_bit(&page->need_kick, word);
}

/* --------------------------- the end of the session ------------------------ */

/**
 * pvhca_kctx_is_flushing - is work that is left in the queues reported as flushed?
 * @kctx: context
 *
 * Context: any.
 * Return: true if so; then pvhcad does not write completions any more.
 */
bool pvhca_kctx_is_flushing(const struct pvhca_kctx *kctx)
{
	return smp_load_acquire(&kctx->flushing);
}

/**
 * pvhca_kctx_schedule_flush - a consumer posted to a dead session, or asked for events
 * @kctx: context
 *
 * Context: any.
 */
void pvhca_kctx_schedule_flush(struct pvhca_kctx *kctx)
{
	/* Not pvhca_pci.wq: that waits for consumers to go. */
	queue_work(kctx->dev->pci->reclaim_wq, &kctx->flush_work);
}

static void pvhca_kctx_flush_work(struct work_struct *work)
{
	struct pvhca_kctx *kctx = container_of(work, struct pvhca_kctx, flush_work);
	struct pvhca_dev *dev = kctx->dev;
	struct pvhca_cq *cq;
	unsigned long handle;
	unsigned long flags;

	/* The lock keeps the CQs from being freed, as does an interrupt. */
	xa_lock_irqsave(&dev->cqs, flags);
	xa_for_each (&dev->cqs, handle, cq)
		if (cq->kernel && pvhca_kcq_take_event(cq->kernel) && cq->ibcq.comp_handler)
			cq->ibcq.comp_handler(&cq->ibcq, cq->ibcq.cq_context);
	xa_unlock_irqrestore(&dev->cqs, flags);
}

/**
 * pvhca_kctx_flush - give kernel consumers their work back
 * @dev: dead session, reset
 */
void pvhca_kctx_flush(struct pvhca_dev *dev)
{
	if (!dev->kctx)
		return;
	/* Completions that pvhcad wrote are read first. */
	smp_store_release(&dev->kctx->flushing, true);
	/* Either a thread that posts sees the flag, or the work sees what it posted. */
	smp_mb();
	pvhca_kctx_schedule_flush(dev->kctx);
}

/* ---------------------------------- context -------------------------------- */

static int pvhca_kctx_open(struct pvhca_kctx *kctx)
{
	const struct pvhca_com_alloc_context_params params = {
		.page = kctx->page.dma,
		.ring_abi_major = PVHCA_RING_ABI_MAJOR,
		.ring_abi_minor = PVHCA_RING_ABI_MINOR,
		.flags = PVHCA_CONTEXT_KERNEL,
	};
	struct pvhca_com_alloc_context_result result;
	struct pvhca_context_page *page = kctx->page.addr;
	int err;

	page->alive = cpu_to_le32(1);
	err = pvhca_com_alloc_context(kctx->dev, &params, &result);
	if (err)
		return err;
	kctx->handle = result.handle;
	return 0;
}

/**
 * pvhca_kctx_create - make the driver's context
 * @dev: session, whose attributes are known
 *
 * Does nothing if pvhcad has nothing to offer to kernel consumers.
 *
 * Return: 0 or a negative errno.
 */
int pvhca_kctx_create(struct pvhca_dev *dev)
{
	struct pvhca_kctx *kctx;
	int err;

	if (!(le16_to_cpu(dev->attr.kernel_caps) & PVHCA_KERNEL_GSI))
		return 0;

	kctx = kzalloc_obj(*kctx);
	if (!kctx)
		return -ENOMEM;
	kctx->dev = dev;
	xa_init_flags(&kctx->qps, XA_FLAGS_LOCK_IRQ);
	INIT_WORK(&kctx->flush_work, pvhca_kctx_flush_work);
	err = pvhca_kbuf_alloc(dev, &kctx->page, sizeof(struct pvhca_context_page));
	if (err)
		goto err_free;
	kctx->doorbells = ioremap(dev->pci->doorbells, PAGE_SIZE);
	if (!kctx->doorbells) {
		err = -ENOMEM;
		goto err_free_page;
	}
	err = pvhca_kctx_open(kctx);
	if (err)
		goto err_unmap;
	dev->kctx = kctx;
	return 0;

err_unmap:
	iounmap(kctx->doorbells);
err_free_page:
	pvhca_kbuf_free(dev, &kctx->page);
err_free:
	kfree(kctx);
	return err;
}

/**
 * pvhca_kctx_destroy - undo pvhca_kctx_create()
 * @dev: dead session, which has destroyed the context on pvhcad's side; it has
 *	no CQs and QPs any more
 */
void pvhca_kctx_destroy(struct pvhca_dev *dev)
{
	struct pvhca_kctx *kctx = dev->kctx;

	if (!kctx)
		return;
	/* A RESET that is still to come would look for it. */
	pvhca_dev_may_free(dev);
	dev->kctx = NULL;
	cancel_work_sync(&kctx->flush_work);
	WARN_ON(!xa_empty(&kctx->qps));
	xa_destroy(&kctx->qps);
	iounmap(kctx->doorbells);
	pvhca_kbuf_free(dev, &kctx->page);
	kfree(kctx);
}
