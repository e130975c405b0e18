// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory regions. Registering can take long and be large: nothing is locked while a long
 * list is read, nor while an engine registers. What a VM may register is bounded by its
 * quota, against which a region counts before its list is walked.
 */
#include <endian.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "lib/heap.h"
#include "lib/log.h"

#define MR_ACCESS                                                                    \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND)
/* IB_ACCESS_OPTIONAL of the kernel: hints, which may be dropped. */
#define MR_ACCESS_OPTIONAL 0x3ff00000u

bool commands_mr_access(uint32_t *access)
{
	*access &= ~MR_ACCESS_OPTIONAL;
	if (*access & ~MR_ACCESS)
		return false;
	/* As ibv_reg_mr(3): remote writes need the right to local ones. */
	return !(*access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) ||
		*access & IBV_ACCESS_LOCAL_WRITE;
}

bool commands_mr_range_valid(const struct mr *mr, uint64_t bytes)
{
	uint64_t end;

	/* The engine decides whether iova may differ from the memory's place in its page. */
	return mr->length && !__builtin_add_overflow(mr->iova, mr->length, &end) &&
		!__builtin_add_overflow(mr->offset, mr->length, &end) && end <= bytes;
}

uint64_t commands_mr_pinned(const struct mr *mr)
{
	return mr->extents ? mr->extents->length : (uint64_t)mr->max_pages << PVHCA_GRANULE_SHIFT;
}

int commands_pin(struct vm *vm, uint64_t bytes)
{
	uint64_t quota = vm->policy->quota.pinned_bytes;

	if (bytes > quota - atomic_load(&vm->pinned_bytes))
		return commands_quota(vm, "pinned-bytes", quota);
	atomic_fetch_add(&vm->pinned_bytes, bytes);
	return PVHCA_ST_OK;
}

void commands_unpin(struct vm *vm, uint64_t bytes)
{
	atomic_fetch_sub(&vm->pinned_bytes, bytes);
}

int commands_read_region(struct vm *vm, const struct pvhca_mem_list *list, struct extents **extents)
{
	bool is_long = le32toh(list->num_extents) > COMMANDS_LONG_LIST;
	int status;

	if (is_long)
		pthread_mutex_unlock(&vm->lock);
	status = commands_read_memory(vm->memory, list, le64toh(list->length), extents);
	if (is_long)
		pthread_mutex_lock(&vm->lock);
	return status;
}

/*
 * Handle, the fabric's part, and to the workers; then the answer. It is pinned already. Undone
 * by commands_free_mr().
 */
static int mr_bring_up(struct vm *vm, struct mr *mr, struct pvhca_rsp_reg_mr *rsp)
{
	int status;

	status = commands_table_add(vm, &vm->mrs, "mrs", mr, &mr->handle);
	if (status)
		return status;
	status = mr->extents ? COMMANDS_FABRIC(vm, mr_reg, mr) : COMMANDS_FABRIC(vm, mr_alloc, mr);
	if (status) {
		table_del(&vm->mrs, mr->handle);
		return status;
	}
	mr->pd->users++;
	table_made(&vm->mrs, mr->handle);
	table_publish(&vm->mrs, mr->handle);
	rsp->handle = htole32(mr->handle);
	rsp->lkey = htole32(mr->lkey);
	rsp->rkey = htole32(mr->rkey);
	return PVHCA_ST_OK;
}

int commands_reg_mr(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_reg_mr *reg = &cmd->reg_mr;
	uint64_t pinned = le64toh(reg->mem.length);
	struct pd *pd = table_find(&vm->pds, le32toh(reg->pd));
	struct mr *mr;
	int status;

	if (!pd)
		return PVHCA_ST_INVALID;
	mr = heap_zalloc(vm->heap, sizeof(*mr));
	if (!mr)
		return PVHCA_ST_NO_MEMORY;
	mr->vm = vm;
	mr->pd = pd;
	mr->access = le32toh(reg->access);
	mr->iova = le64toh(reg->iova);
	mr->length = le64toh(reg->length);
	mr->offset = le64toh(reg->offset);
	status = PVHCA_ST_INVALID;
	if (!commands_mr_access(&mr->access) || !commands_mr_range_valid(mr, pinned))
		goto err_free;
	status = commands_pin(vm, pinned);
	if (status)
		goto err_free;
	status = commands_read_region(vm, &reg->mem, &mr->extents);
	if (status)
		goto err_unpin;
	status = mr_bring_up(vm, mr, &rsp->reg_mr);
	if (status)
		goto err_free_extents;
	return PVHCA_ST_OK;

err_free_extents:
	extents_put(mr->extents);
err_unpin:
	commands_unpin(vm, pinned);
err_free:
	heap_free(mr);
	return status;
}

int commands_alloc_mr(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_alloc_mr *alloc = &cmd->alloc_mr;
	uint32_t max_pages = le32toh(alloc->max_pages);
	struct pd *pd = table_find(&vm->pds, le32toh(alloc->pd));
	struct mr *mr;
	int status;

	if (!pd || !max_pages)
		return PVHCA_ST_INVALID;
	/* Its pages are named guest-physically. */
	if (!pd->context->kernel)
		return PVHCA_ST_DENIED;
	mr = heap_zalloc(vm->heap, sizeof(*mr));
	if (!mr)
		return PVHCA_ST_NO_MEMORY;
	mr->vm = vm;
	mr->pd = pd;
	mr->max_pages = max_pages;
	status = commands_pin(vm, commands_mr_pinned(mr));
	if (status)
		goto err_free;
	status = mr_bring_up(vm, mr, &rsp->reg_mr);
	if (status)
		goto err_unpin;
	return PVHCA_ST_OK;

err_unpin:
	commands_unpin(vm, commands_mr_pinned(mr));
err_free:
	heap_free(mr);
	return status;
}

/* What is left when the fabric has given the region up. */
static void mr_put(struct vm *vm, struct mr *mr)
{
	table_del(&vm->mrs, mr->handle);
	commands_unpin(vm, commands_mr_pinned(mr));
	mr->pd->users--;
	if (mr->extents)
		extents_put(mr->extents);
	heap_free(mr);
}

void commands_free_mr(void *object, void *arg)
{
	struct vm *vm = arg;
	struct mr *mr = object;
	int status;

	table_unpublish(&vm->mrs, mr->handle);
	status = COMMANDS_FABRIC(vm, mr_dereg, mr);
	/* Its windows are gone, so this is a fabric's mistake. */
	if (status)
		vm_warning(vm, "a region is kept, status %d", status);
	mr_put(vm, mr);
}

int commands_dereg_mr(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	struct mr *mr = table_find(&vm->mrs, le32toh(cmd->destroy.handle));
	int status;

	(void)rsp;
	if (!mr || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	status = fabric_hook(vm->ops, PVHCA_ST_OK, mr_hide, mr);
	if (status)
		return status;
	table_unpublish(&vm->mrs, mr->handle);
	commands_wait_for_readers(vm);
	status = COMMANDS_FABRIC(vm, mr_dereg, mr);
	if (status) {
		table_publish(&vm->mrs, mr->handle);
		return status;
	}
	mr_put(vm, mr);
	return PVHCA_ST_OK;
}
