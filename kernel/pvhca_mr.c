// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory regions: pinned here, registered on the host. Keys are the host's.
 */

#include <linux/slab.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"
#include "pvhca_kverbs.h"

/*
 * Access flags that reach the host, and all that are allowed. The others have no
 * meaning there: the iova says where the keys' address space begins, and pages may
 * have any size.
 */
#define PVHCA_MR_HOST_ACCESS                                                      \
	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | \
	 IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_MW_BIND | IB_ACCESS_OPTIONAL)
#define PVHCA_MR_ACCESS (PVHCA_MR_HOST_ACCESS | IB_ZERO_BASED | IB_ACCESS_HUGETLB)

static void pvhca_mr_fill_params(struct pvhca_com_reg_mr_params *params, struct ib_pd *pd,
				 u64 virt_addr, int access, struct ib_umem *umem,
				 struct pvhca_mem *mem)
{
	params->pd = to_pvhca_pd(pd)->handle;
	params->access = access & PVHCA_MR_HOST_ACCESS;
	params->iova = virt_addr;
	params->length = umem->length;
	params->offset = ib_umem_offset(umem) % PVHCA_GRANULE;
	params->mem = pvhca_mem_list(mem);
	params->hold = pvhca_mem_hold(mem);
}

static void pvhca_mr_set_keys(struct pvhca_mr *mr, const struct pvhca_com_reg_mr_result *result)
{
	mr->handle = result->handle;
	mr->ibmr.lkey = result->lkey;
	mr->ibmr.rkey = result->rkey;
}

/* Takes @umem. */
static int pvhca_mr_register(struct pvhca_dev *dev, struct pvhca_mr *mr, struct ib_umem *umem,
			     u64 virt_addr, int access)
{
	struct pvhca_com_reg_mr_params params;
	struct pvhca_com_reg_mr_result result;
	struct pvhca_mem *mem;
	int err;

	mem = pvhca_mem_describe(dev, umem);
	if (IS_ERR(mem))
		return PTR_ERR(mem);
	pvhca_mr_fill_params(&params, mr->ibmr.pd, virt_addr, access, umem, mem);
	err = pvhca_com_reg_mr(dev, &params, &result);
	if (!err) {
		mr->umem = pvhca_mem_take(mem);
		pvhca_mr_set_keys(mr, &result);
	}
	pvhca_mem_put(mem);
	return err;
}

static int pvhca_mr_destroy(struct pvhca_dev *dev, struct pvhca_mr *mr)
{
	int err;

	if (!mr->umem)
		return pvhca_kmr_destroy(mr);
	err = pvhca_com_dereg_mr(dev, mr->handle);
	if (err)
		return err;
	pvhca_mem_unpin(dev, mr->umem);
	pvhca_mem_unpin(dev, mr->umem_failed);
	kfree(mr);
	return 0;
}

/* May the call have that access? None of these calls has a request of the provider's. */
static int pvhca_mr_check(struct ib_udata *udata, int access)
{
	if (access & ~PVHCA_MR_ACCESS)
		return -EOPNOTSUPP;
	return ib_is_udata_in_empty(udata);
}

/* The common part of all registrations: pinned memory in, keys out. Takes @umem. */
static struct ib_mr *pvhca_mr_create(struct ib_pd *ibpd, struct ib_umem *umem, u64 virt_addr,
				     int access, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibpd->device);
	struct pvhca_reg_mr_resp resp = {};
	struct pvhca_mr *mr;
	int err;

	mr = kzalloc_obj(*mr);
	if (!mr) {
		ib_umem_release(umem);
		return ERR_PTR(-ENOMEM);
	}
	mr->ibmr.pd = ibpd;
	mr->access = access;
	err = pvhca_mr_register(dev, mr, umem, virt_addr, access);
	if (err) {
		kfree(mr);
		return ERR_PTR(err);
	}
	resp.mr_handle = mr->handle;
	err = ib_respond_udata(udata, resp);
	if (err) {
		pvhca_mr_destroy(dev, mr);
		return ERR_PTR(err);
	}
	return &mr->ibmr;
}

/**
 * pvhca_reg_user_mr - ib_device_ops.reg_user_mr
 * @ibpd: protection domain
 * @start: first byte, in the calling process
 * @length: bytes
 * @virt_addr: address of the first byte, in the keys' address space
 * @access: IB_ACCESS_*
 * @udata: struct pvhca_reg_mr_resp
 *
 * Return: the region or ERR_PTR().
 */
struct ib_mr *pvhca_reg_user_mr(struct ib_pd *ibpd, u64 start, u64 length, u64 virt_addr,
				int access, PVHCA_REG_MR_DMAH_ARG struct ib_udata *udata)
{
	struct ib_umem *umem;
	int err;

	err = pvhca_mr_check(udata, access);
	if (err)
		return ERR_PTR(err);
	if (PVHCA_REG_MR_HAS_DMAH)
		return ERR_PTR(-EOPNOTSUPP);
	umem = ib_umem_get_va(ibpd->device, start, length, access);
	if (IS_ERR(umem))
		return ERR_CAST(umem);
	return pvhca_mr_create(ibpd, umem, virt_addr, access, udata);
}

/**
 * pvhca_reg_user_mr_dmabuf - ib_device_ops.reg_user_mr_dmabuf
 * @ibpd: protection domain
 * @offset: offset of the first byte in the buffer
 * @length: bytes
 * @virt_addr: address of the first byte, in the keys' address space
 * @fd: descriptor of the buffer
 * @access: IB_ACCESS_*
 * @arg: struct pvhca_reg_mr_resp, where the core has room for one
 *
 * The buffer has to lie in guest RAM, and its exporter has to pin it. pvhcad maps
 * guest RAM only, so another device's memory gets -EFAULT. pvhcad is not told when a
 * buffer moves, so it must not move.
 *
 * Return: the region or ERR_PTR().
 */
struct ib_mr *pvhca_reg_user_mr_dmabuf(struct ib_pd *ibpd, u64 offset, u64 length, u64 virt_addr,
				       int fd, int access,
				       PVHCA_REG_MR_DMAH_ARG struct pvhca_reg_dmabuf_arg *arg)
{
	struct ib_umem_dmabuf *dmabuf;
	int err;

	err = pvhca_mr_check(PVHCA_REG_DMABUF_UDATA(arg), access);
	if (err)
		return ERR_PTR(err);
	if (PVHCA_REG_MR_HAS_DMAH)
		return ERR_PTR(-EOPNOTSUPP);
	dmabuf = ib_umem_dmabuf_get_pinned(ibpd->device, offset, length, fd, access);
	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	return pvhca_mr_create(ibpd, &dmabuf->umem, virt_addr, access, PVHCA_REG_DMABUF_UDATA(arg));
}

/*
 * Have the host change a region. @mem is its new memory, or NULL. After -EIO or
 * -EINTR it is not known which memory the host uses.
 */
static int pvhca_mr_change(struct pvhca_dev *dev, struct pvhca_mr *mr, int flags,
			   struct ib_umem *umem, struct pvhca_mem *mem, u64 virt_addr, int access,
			   struct ib_pd *pd)
{
	struct pvhca_com_reg_mr_params params = {};
	struct pvhca_com_reg_mr_result result;
	int err;

	if (mem)
		pvhca_mr_fill_params(&params, pd, virt_addr, access, umem, mem);
	params.pd = flags & IB_MR_REREG_PD ? to_pvhca_pd(pd)->handle : 0;
	params.access = flags & IB_MR_REREG_ACCESS ? access & PVHCA_MR_HOST_ACCESS : 0;
	err = pvhca_com_rereg_mr(dev, mr->handle, flags, &params, &result);
	if (err)
		return err;
	pvhca_mr_set_keys(mr, &result);
	mr->access = access;
	if (mem) {
		pvhca_mem_unpin(dev, mr->umem);
		mr->umem = pvhca_mem_take(mem);
	}
	return 0;
}

/*
 * Memory to go with a change: the new one, or the old one pinned anew where new
 * rights let it be written to, or NULL where it may stay as it is. A region of a
 * dma-buf cannot be changed.
 */
static struct ib_umem *pvhca_mr_repin(struct pvhca_mr *mr, int *flags, u64 start, u64 length,
				      u64 *virt_addr, int access)
{
	const struct ib_umem *old = mr->umem;
	int err;

	err = pvhca_umem_check_rereg(mr->umem, *flags, access);
	if (err && err != -EACCES)
		return ERR_PTR(err);
	if (*flags & IB_MR_REREG_TRANS)
		return ib_umem_get_va(mr->ibmr.device, start, length, access);
	if (!err)
		return NULL;
	if (old->owning_mm != current->mm)
		return ERR_PTR(-EINVAL);
	*flags |= IB_MR_REREG_TRANS;
	*virt_addr = mr->ibmr.iova;
	return ib_umem_get_va(mr->ibmr.device, old->address, old->length, access);
}

/**
 * pvhca_rereg_user_mr - ib_device_ops.rereg_user_mr
 * @ibmr: region
 * @flags: enum ib_mr_rereg_flags: which of what follows changes
 * @start: first byte, in the calling process
 * @length: bytes
 * @virt_addr: address of the first byte, in the keys' address space
 * @access: IB_ACCESS_*
 * @pd: protection domain
 * @udata: not used
 *
 * A region whose change failed on the host (-EIO), or whose process was killed
 * (-EINTR), can only be deregistered. It is not known which memory the host uses then,
 * so both stay pinned until the region is deregistered.
 *
 * Return: NULL, since it is changed in place; ERR_PTR().
 */
struct ib_mr *pvhca_rereg_user_mr(struct ib_mr *ibmr, int flags, u64 start, u64 length,
				  u64 virt_addr, int access, struct ib_pd *pd,
				  struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibmr->device);
	struct pvhca_mr *mr = to_pvhca_mr(ibmr);
	struct pvhca_mem *mem = NULL;
	struct ib_umem *umem;
	int err;

	if (!(flags & IB_MR_REREG_ACCESS))
		access = mr->access;
	err = pvhca_mr_check(udata, access);
	if (err)
		return ERR_PTR(err);
	/* The answer says nothing. After the command it would be too late to fail. */
	err = ib_respond_empty_udata(udata);
	if (err)
		return ERR_PTR(err);
	if (mr->failed)
		return ERR_PTR(-EIO);

	umem = pvhca_mr_repin(mr, &flags, start, length, &virt_addr, access);
	if (IS_ERR(umem))
		return ERR_CAST(umem);
	if (umem) {
		mem = pvhca_mem_describe(dev, umem);
		if (IS_ERR(mem))
			return ERR_CAST(mem);
	}
	err = pvhca_mr_change(dev, mr, flags, umem, mem, virt_addr, access, pd);
	if (err == -EIO || err == -EINTR) {
		mr->failed = true;
		if (mem)
			mr->umem_failed = pvhca_mem_take(mem);
	}
	if (mem)
		pvhca_mem_put(mem);
	return ERR_PTR(err);
}

/**
 * pvhca_dereg_mr - ib_device_ops.dereg_mr
 * @ibmr: region
 * @udata: not used
 *
 * Return: 0; -EBUSY while windows are bound to it.
 */
int pvhca_dereg_mr(struct ib_mr *ibmr, struct ib_udata *udata)
{
	return pvhca_mr_destroy(to_pvhca_dev(ibmr->device), to_pvhca_mr(ibmr));
}
