// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Contexts and protection domains.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "admin/commands.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "memory/memory.h"
#include "worker/worker.h"

int commands_alloc_context(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			   struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_alloc_context *alloc = &cmd->alloc_context;
	uint64_t page = le64toh(alloc->page);
	struct context *context;
	int status;

	rsp->alloc_context.ring_abi_major = htole16(PVHCA_RING_ABI_MAJOR);
	rsp->alloc_context.ring_abi_minor = htole16(PVHCA_RING_ABI_MINOR);
	if (le16toh(alloc->ring_abi_major) != PVHCA_RING_ABI_MAJOR)
		return PVHCA_ST_VERSION;
	if (le32toh(alloc->flags) & ~PVHCA_CONTEXT_KERNEL || (page & (PVHCA_GRANULE - 1)))
		return PVHCA_ST_INVALID;

	context = heap_zalloc_aligned(vm->heap, _Alignof(struct context), sizeof(*context));
	if (!context)
		return PVHCA_ST_NO_MEMORY;
	context->vm = vm;
	context->timed_due_ns = UINT64_MAX;
	context->kernel = le32toh(alloc->flags) & PVHCA_CONTEXT_KERNEL;
	status = PVHCA_ST_BAD_ADDRESS;
	context->page =
		memory_resolve(vm->memory, page, sizeof(*context->page), &context->page_region);
	if (!context->page)
		goto err_free;
	status = commands_table_add(vm, &vm->contexts, "contexts", context, &context->handle);
	if (status)
		goto err_put;
	status = PVHCA_ST_NO_MEMORY;
	if (worker_add_context(context))
		goto err_del;
	table_made(&vm->contexts, context->handle);
	rsp->alloc_context.handle = htole32(context->handle);
	return PVHCA_ST_OK;

err_del:
	table_del(&vm->contexts, context->handle);
err_put:
	memory_region_put(context->page_region);
err_free:
	heap_free(context);
	return status;
}

void commands_free_context(void *object, void *arg)
{
	struct context *context = object;
	struct vm *vm = arg;

	table_del(&vm->contexts, context->handle);
	worker_del_context(context);
	memory_region_put(context->page_region);
	for (unsigned int word = 0; word < PVHCA_SLOT_WORDS; word++)
		heap_free(context->slots[word]);
	heap_free(context);
}

int commands_dealloc_context(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			     struct pvhca_admin_rsp *rsp)
{
	struct context *context = table_find(&vm->contexts, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!context || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	if (context->users)
		return PVHCA_ST_BUSY;
	commands_free_context(context, vm);
	return PVHCA_ST_OK;
}

/* The group of a word's slots, made when it is needed first. False: no memory. */
static bool slots_make(struct context *context, unsigned int word)
{
	struct slot_group *group;

	if (context->slots[word])
		return true;
	group = heap_zalloc(context->vm->heap, sizeof(*group));
	__atomic_store_n(&context->slots[word], group, __ATOMIC_RELEASE);
	return group;
}

bool commands_slot_take(struct context *context, uint32_t *slot)
{
	for (unsigned int word = 0; word < PVHCA_SLOT_WORDS; word++) {
		uint64_t used = context->slot_used[word];

		if (used == UINT64_MAX)
			continue;
		if (!slots_make(context, word))
			return false;
		*slot = word * 64 + __builtin_ctzll(~used);
		context->slot_used[word] |= 1ull << (*slot % 64);
		return true;
	}
	return false;
}

void commands_slot_give(struct context *context, uint32_t slot)
{
	context->slot_used[slot / 64] &= ~(1ull << (slot % 64));
}

int commands_alloc_pd(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	struct context *context = table_find(&vm->contexts, le32toh(cmd->alloc_pd.context));
	struct pd *pd;
	int status;

	if (!context || cmd->alloc_pd.reserved)
		return PVHCA_ST_INVALID;
	pd = heap_zalloc(vm->heap, sizeof(*pd));
	if (!pd)
		return PVHCA_ST_NO_MEMORY;
	pd->vm = vm;
	pd->context = context;
	status = commands_table_add(vm, &vm->pds, "pds", pd, &pd->handle);
	if (status)
		goto err_free;
	vm_leave(vm);
	status = fabric_hook(vm->ops, PVHCA_ST_OK, pd_alloc, pd);
	vm_enter(vm);
	if (status)
		goto err_del;
	context->users++;
	table_made(&vm->pds, pd->handle);
	rsp->created.handle = htole32(pd->handle);
	return PVHCA_ST_OK;

err_del:
	table_del(&vm->pds, pd->handle);
err_free:
	heap_free(pd);
	return status;
}

void commands_free_pd(void *object, void *arg)
{
	struct vm *vm = arg;
	struct pd *pd = object;

	COMMANDS_FABRIC_VOID(vm, pd_free, pd);
	table_del(&vm->pds, pd->handle);
	pd->context->users--;
	heap_free(pd);
}

int commands_dealloc_pd(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct pd *pd = table_find(&vm->pds, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!pd || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	if (pd->users)
		return PVHCA_ST_BUSY;
	commands_free_pd(pd, vm);
	return PVHCA_ST_OK;
}
