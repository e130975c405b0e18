// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of kernel consumers: all of it by one local key, and regions that get
 * their memory by work requests (IB_WR_REG_MR). See pvhca_kverbs.h.
 */

#include <linux/slab.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

static struct ib_mr *pvhca_kmr_new(struct ib_pd *ibpd, u32 handle)
{
	struct pvhca_mr *mr = kzalloc_obj(*mr);

	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->ibmr.pd = ibpd;
	mr->handle = handle;
	return &mr->ibmr;
}

/**
 * pvhca_get_dma_mr - ib_device_ops.get_dma_mr
 * @ibpd: protection domain of a kernel consumer
 * @access: IB_ACCESS_*
 *
 * There is no key by which others may reach all of a guest's memory.
 *
 * Return: the region or ERR_PTR().
 */
struct ib_mr *pvhca_get_dma_mr(struct ib_pd *ibpd, int access)
{
	struct ib_mr *ibmr;

	if (access & ~IB_ACCESS_LOCAL_WRITE)
		return ERR_PTR(-EOPNOTSUPP);
	ibmr = pvhca_kmr_new(ibpd, PVHCA_NO_HANDLE);
	if (!IS_ERR(ibmr))
		ibmr->lkey = PVHCA_LKEY_DMA;
	return ibmr;
}

/* The list of pages, and the region on the host. */
static int pvhca_kmr_open(struct pvhca_dev *dev, struct pvhca_mr *mr, u32 max_pages)
{
	struct pvhca_com_reg_mr_result result;
	int err;

	err = pvhca_kbuf_alloc(dev, &mr->kernel->pages, max_pages * sizeof(__le64));
	if (err)
		return err;
	err = pvhca_com_alloc_mr(dev, to_pvhca_pd(mr->ibmr.pd)->handle, max_pages, &result);
	if (err) {
		pvhca_kbuf_free(dev, &mr->kernel->pages);
		return err;
	}
	mr->kernel->max_pages = max_pages;
	mr->handle = result.handle;
	mr->ibmr.lkey = result.lkey;
	mr->ibmr.rkey = result.rkey;
	return 0;
}

/**
 * pvhca_alloc_mr - ib_device_ops.alloc_mr
 * @ibpd: protection domain of a kernel consumer
 * @type: type of the region
 * @max_num_sg: pages
 *
 * Return: the region or ERR_PTR().
 */
struct ib_mr *pvhca_alloc_mr(struct ib_pd *ibpd, enum ib_mr_type type, u32 max_num_sg)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibpd->device);
	struct pvhca_mr *mr;
	struct ib_mr *ibmr;
	int err;

	if (type != IB_MR_TYPE_MEM_REG || ibpd->uobject ||
	    !(le16_to_cpu(dev->attr.kernel_caps) & PVHCA_KERNEL_REG_MR))
		return ERR_PTR(-EOPNOTSUPP);
	if (!max_num_sg || max_num_sg > PVHCA_KMR_MAX_PAGES)
		return ERR_PTR(-EINVAL);

	ibmr = pvhca_kmr_new(ibpd, PVHCA_NO_HANDLE);
	if (IS_ERR(ibmr))
		return ibmr;
	mr = to_pvhca_mr(ibmr);
	mr->kernel = kzalloc_obj(*mr->kernel);
	if (!mr->kernel) {
		err = -ENOMEM;
		goto err_free;
	}
	err = pvhca_kmr_open(dev, mr, max_num_sg);
	if (err)
		goto err_free_kernel;
	return ibmr;

err_free_kernel:
	kfree(mr->kernel);
err_free:
	kfree(mr);
	return ERR_PTR(err);
}

/**
 * pvhca_kmr_destroy - ib_device_ops.dereg_mr for kernel consumers
 * @mr: region without pinned user memory
 *
 * Return: 0 or -EBUSY.
 */
int pvhca_kmr_destroy(struct pvhca_mr *mr)
{
	struct pvhca_dev *dev = to_pvhca_dev(mr->ibmr.device);
	int err;

	if (mr->kernel) {
		err = pvhca_com_dereg_mr(dev, mr->handle);
		if (err)
			return err;
		pvhca_kbuf_free(dev, &mr->kernel->pages);
		kfree(mr->kernel);
	}
	kfree(mr);
	return 0;
}

static int pvhca_kmr_set_page(struct ib_mr *ibmr, u64 addr)
{
	struct pvhca_kmr *kmr = to_pvhca_mr(ibmr)->kernel;
	__le64 *pages = kmr->pages.addr;

	if (kmr->num_pages == kmr->max_pages)
		return -ENOMEM;
	pages[kmr->num_pages++] = cpu_to_le64(addr);
	return 0;
}

/**
 * pvhca_map_mr_sg - ib_device_ops.map_mr_sg
 * @ibmr: region, which no work is under way for; its page size is set
 * @sg: memory, mapped for DMA
 * @sg_nents: entries
 * @sg_offset: bytes of the first entry to be left out
 *
 * Return: how many entries the region now covers, or a negative errno.
 */
int pvhca_map_mr_sg(struct ib_mr *ibmr, struct scatterlist *sg, int sg_nents,
		    unsigned int *sg_offset)
{
	struct pvhca_kmr *kmr = to_pvhca_mr(ibmr)->kernel;

	if (!kmr || ibmr->page_size < PVHCA_GRANULE)
		return -EINVAL;
	kmr->num_pages = 0;
	return ib_sg_to_pages(ibmr, sg, sg_nents, sg_offset, pvhca_kmr_set_page);
}
