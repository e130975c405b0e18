// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory regions: pinned here, registered on the host. Keys are the host's.
 */

#include <linux/slab.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"

#define PVHCA_MR_ACCESS	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | \
			 IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_MW_BIND | IB_ACCESS_OPTIONAL)

static int pvhca_mr_register(struct pvhca_dev *dev, struct pvhca_mr *mr, u64 virt_addr, int access,
			     const struct pvhca_mem *mem)
{
	const struct pvhca_com_reg_mr_params params = {
		.pd = to_pvhca_pd(mr->ibmr.pd)->handle,
		.access = access,
		.iova = virt_addr,
		.length = mr->umem->length,
		.offset = ib_umem_offset(mr->umem) % PVHCA_GRANULE,
		.mem = pvhca_mem_list(mem),
	};
	struct pvhca_com_reg_mr_result result;
	int err;

	err = pvhca_com_reg_mr(dev, &params, &result);
	if (err)
		return err;
	mr->handle = result.handle;
	mr->ibmr.lkey = result.lkey;
	mr->ibmr.rkey = result.rkey;
	return 0;
}

/* What reg_user_mr() and its relatives have in common: memory in, keys out. */
static int pvhca_mr_create(struct pvhca_dev *dev, struct pvhca_mr *mr, u64 start, u64 length,
			   u64 virt_addr, int access)
{
	struct pvhca_mem *mem;
	int err;

	mr->umem = pvhca_mem_pin(dev, start, length, access, &mem);
	if (IS_ERR(mr->umem))
		return PTR_ERR(mr->umem);
	err = pvhca_mr_register(dev, mr, virt_addr, access, mem);
	pvhca_mem_free(dev, mem);
	if (err)
		pvhca_mem_unpin(dev, mr->umem);
	return err;
}

static int pvhca_mr_destroy(struct pvhca_dev *dev, struct pvhca_mr *mr)
{
	int err;

	err = pvhca_com_dereg_mr(dev, mr->handle);
	if (err)
		return err;
	pvhca_mem_unpin(dev, mr->umem);
	kfree(mr);
	return 0;
}

/**
 * pvhca_reg_user_mr - ib_device_ops.reg_user_mr
 * @ibpd: protection domain
 * @start: first byte, in the calling process
 * @length: bytes
 * @virt_addr: address of the first byte for those who use the keys
 * @access: IB_ACCESS_*
 * @udata: struct pvhca_reg_mr_resp
 *
 * Return: the region or ERR_PTR().
 */
struct ib_mr *pvhca_reg_user_mr(struct ib_pd *ibpd, u64 start, u64 length, u64 virt_addr,
				int access, PVHCA_REG_MR_DMAH_ARG struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibpd->device);
	struct pvhca_reg_mr_resp resp = {};
	struct pvhca_mr *mr;
	int err;

	if ((access & ~PVHCA_MR_ACCESS) || PVHCA_REG_MR_HAS_DMAH)
		return ERR_PTR(-EOPNOTSUPP);

	mr = kzalloc(sizeof(*mr), GFP_KERNEL);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->ibmr.pd = ibpd;
	err = pvhca_mr_create(dev, mr, start, length, virt_addr, access);
	if (err)
		goto err_free;
	resp.mr_handle = mr->handle;
	err = pvhca_udata_out(udata, &resp, sizeof(resp));
	if (err) {
		pvhca_mr_destroy(dev, mr);
		return ERR_PTR(err);
	}
	return &mr->ibmr;

err_free:
	kfree(mr);
	return ERR_PTR(err);
}

/**
 * pvhca_dereg_mr - ib_device_ops.dereg_mr
 * @ibmr: region
 * @udata: not used
 *
 * Return: 0 or -EBUSY.
 */
int pvhca_dereg_mr(struct ib_mr *ibmr, struct ib_udata *udata)
{
	return pvhca_mr_destroy(to_pvhca_dev(ibmr->device), to_pvhca_mr(ibmr));
}
