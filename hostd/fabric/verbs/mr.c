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
#include <string.h>

#include "lib/heap.h"
#include "lib/log.h"
#include "fabric/verbs/private.h"
#include "memory/stitches.h"

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
		vm_warning(pd->vm, "host PD could not be freed: %s", log_strerror(err));
}

/* ------------------------------ regions by lkey ---------------------------- */

static void key_add(struct verbs_vm *vv, struct verbs_mr *vmr)
{
	pthread_mutex_lock(&vv->keys_lock);
	hash_add(&vv->keys, &vmr->key, vmr->mr->lkey);
	pthread_mutex_unlock(&vv->keys_lock);
}

/* Nobody reads the region any more. */
static void key_remove(struct verbs_vm *vv, struct verbs_mr *vmr)
{
	pthread_mutex_lock(&vv->keys_lock);
	hash_del(&vv->keys, &vmr->key);
	pthread_mutex_unlock(&vv->keys_lock);
}

static bool mr_has(const struct verbs_mr *vmr, uint64_t addr, uint32_t length)
{
	return addr >= vmr->iova && addr - vmr->iova <= vmr->length &&
		length <= vmr->length - (addr - vmr->iova);
}

/* The region that has all of these bytes, or NULL. With keys_lock held. */
static const struct verbs_mr *key_find(struct verbs_vm *vv, uint32_t lkey, uint64_t addr,
				       uint32_t length)
{
	const struct verbs_mr *vmr = hash_object(hash_first(&vv->keys, lkey), struct verbs_mr, key);

	return vmr && mr_has(vmr, addr, length) ? vmr : NULL;
}

const uint8_t *verbs_mr_at(struct verbs_vm *vv, const struct verbs_mr **last, uint32_t lkey,
			   uint64_t addr, uint32_t length)
{
	const struct verbs_mr *vmr = *last;

	if (!vmr || vmr->mr->lkey != lkey || !mr_has(vmr, addr, length))
		vmr = key_find(vv, lkey, addr, length);
	if (!vmr)
		return NULL;
	*last = vmr;
	return vmr->base + (addr - vmr->iova);
}

bool verbs_mr_write(struct verbs_vm *vv, const struct ibv_pd *pd, uint32_t lkey, uint64_t addr,
		    const void *from, uint32_t length)
{
	const struct verbs_mr *vmr;
	bool may;

	pthread_mutex_lock(&vv->keys_lock);
	vmr = key_find(vv, lkey, addr, length);
	may = vmr && vmr->mr->pd == pd && vmr->writable;
	if (may)
		memcpy(vmr->base + (addr - vmr->iova), from, length);
	pthread_mutex_unlock(&vv->keys_lock);
	return may;
}

/* ---------------------------- registered by command ------------------------ */

int verbs_mr_reg(struct mr *mr)
{
	struct vm *vm = mr->vm;
	struct verbs_mr *vmr;
	bool reused;
	int err;

	vmr = heap_zalloc(mr->vm->heap, sizeof(*vmr));
	if (!vmr)
		return PVHCA_ST_NO_MEMORY;
	vmr->stitch = stitches_get(vm->memory, mr->extents, &reused, &err);
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
	vmr->iova = mr->iova;
	vmr->length = mr->length;
	vmr->base = vmr->stitch->base + mr->offset;
	vmr->writable = mr->access & IBV_ACCESS_LOCAL_WRITE;
	key_add(vm->fabric_vm, vmr);
	return PVHCA_ST_OK;

err_put:
	stitches_put(vmr->stitch);
err_free:
	heap_free(vmr);
	vm_info(vm,
		"a region of %" G_GUINT64_FORMAT " bytes in %u runs could not be registered: %s",
		mr->length, mr->extents->count, log_strerror(err));
	return verbs_status(err);
}

int verbs_mr_dereg(struct mr *mr)
{
	struct verbs_vm *vv = mr->vm->fabric_vm;
	struct verbs_mr *vmr = mr->fabric;
	int err;

	key_remove(vv, vmr);
	err = ibv_dereg_mr(vmr->mr);
	/*
	 * Where the engine keeps the region its memory must stay. It does so while
	 * windows are bound to it, whatever error it gives then.
	 */
	if (err) {
		vm_info(mr->vm, "host MR could not be deregistered: %s", log_strerror(err));
		key_add(vv, vmr);
		return PVHCA_ST_BUSY;
	}
	stitches_put(vmr->stitch);
	heap_free(vmr);
	return PVHCA_ST_OK;
}

/*
 * Whoever changes nothing but rights goes on using the keys that peers have, as
 * engines that can do it keep them: a new region would not do.
 */
static int change_access(struct mr *mr, struct mr *next)
{
	struct verbs_vm *vv = mr->vm->fabric_vm;
	struct verbs_mr *vmr = mr->fabric;
	int err;

	key_remove(vv, vmr);
	err = ibv_rereg_mr(vmr->mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0, next->access);
	if (!err)
		vmr->writable = next->access & IBV_ACCESS_LOCAL_WRITE;
	key_add(vv, vmr);
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
		vm_warning(mr->vm, "a region of the host is kept until the session ends");
	return status;
}
