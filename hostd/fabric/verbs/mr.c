// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Protection domains and memory regions on the host device.
 *
 * A guest's region is scattered over its RAM. It is laid out once more,
 * contiguously, in this process and registered from there with the guest's own
 * address as iova: the engine then takes guests' addresses as they are, pins the
 * guest's pages, and reads and writes them directly.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/log.h"
#include "fabric/verbs/private.h"

int verbs_pd_alloc(struct pd *pd)
{
	struct verbs_vm *vv = pd->vm->fabric_vm;

	pd->fabric = ibv_alloc_pd(vv->context);
	return pd->fabric ? PVHCA_ST_OK : verbs_status(errno);
}

void verbs_pd_free(struct pd *pd)
{
	int err = ibv_dealloc_pd(pd->fabric);

	if (err)
		g_warning("%s: host PD could not be freed: %s", pd->vm->name, g_strerror(err));
}

int verbs_mr_reg(struct mr *mr)
{
	struct vm *vm = mr->vm;
	struct verbs_mr *vmr;
	bool reused;
	int err;

	vmr = calloc(1, sizeof(*vmr));
	if (!vmr)
		return PVHCA_ST_NO_MEMORY;
	vmr->stitch = stitch_get(vm->memory, mr->extents, &reused, &err);
	if (!vmr->stitch)
		goto err_free;
	vmr->mr = ibv_reg_mr_iova(mr->pd->fabric, vmr->stitch->base + mr->offset, mr->length,
				  mr->iova, mr->access);
	if (!vmr->mr) {
		err = errno;
		goto err_put;
	}
	if (reused)
		counter_add(&vm->counters.mappings_reused, 1);
	mr->lkey = vmr->mr->lkey;
	mr->rkey = vmr->mr->rkey;
	mr->fabric = vmr;
	return PVHCA_ST_OK;

err_put:
	stitch_put(vmr->stitch);
err_free:
	free(vmr);
	g_info("%s: a region of %" G_GUINT64_FORMAT " bytes in %u runs could not be registered: %s",
	       vm->name, mr->length, mr->extents->count, g_strerror(err));
	return verbs_status(err);
}

int verbs_mr_dereg(struct mr *mr)
{
	struct verbs_mr *vmr = mr->fabric;
	int err = ibv_dereg_mr(vmr->mr);

	/*
	 * Where the engine keeps the region its memory must stay. It does so while
	 * windows are bound to it, whatever error it gives then.
	 */
	if (err) {
		g_info("%s: host MR could not be deregistered: %s", mr->vm->name, g_strerror(err));
		return PVHCA_ST_BUSY;
	}
	stitch_put(vmr->stitch);
	free(vmr);
	return PVHCA_ST_OK;
}

/*
 * Whoever changes nothing but rights goes on using the keys that peers have, as
 * engines that can do it keep them: a new region would not do.
 */
static int change_access(struct mr *mr, struct mr *next)
{
	struct verbs_mr *vmr = mr->fabric;
	int err;

	err = ibv_rereg_mr(vmr->mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0, next->access);
	if (err == IBV_REREG_MR_ERR_INPUT)
		return PVHCA_ST_INVALID;
	if (err)
		return errno == EOPNOTSUPP || errno == ENOSYS ? PVHCA_ST_UNSUPPORTED : PVHCA_ST_IO;
	next->fabric = vmr;
	next->lkey = vmr->mr->lkey;
	next->rkey = vmr->mr->rkey;
	return PVHCA_ST_OK;
}

/*
 * The verbs' own ibv_rereg_mr takes our address for the guest's, and few engines
 * have it. So the region is registered a second time as it is to be, and the first
 * one is given up when that has worked; the verbs allow the keys to change.
 */
int verbs_mr_rereg(struct mr *mr, uint32_t flags, struct mr *next)
{
	int status;

	if (flags == IBV_REREG_MR_CHANGE_ACCESS)
		return change_access(mr, next);
	status = verbs_mr_reg(next);
	if (status)
		return status;
	status = verbs_mr_dereg(mr);
	if (status && verbs_mr_dereg(next))
		g_warning("%s: a region of the host is kept until the session ends", mr->vm->name);
	return status;
}
