// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory windows. They are bound by entries of send queues, so workers look them up.
 */
#include <endian.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "lib/heap.h"

int commands_alloc_mw(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_alloc_mw *alloc = &cmd->alloc_mw;
	struct pd *pd = table_find(&vm->pds, le32toh(alloc->pd));
	uint32_t type = le32toh(alloc->type);
	struct mw *mw;
	int status;

	if (!pd || (type != IBV_MW_TYPE_1 && type != IBV_MW_TYPE_2))
		return PVHCA_ST_INVALID;
	mw = heap_zalloc(vm->heap, sizeof(*mw));
	if (!mw)
		return PVHCA_ST_NO_MEMORY;
	mw->vm = vm;
	mw->pd = pd;
	mw->type = type;
	status = commands_table_add(vm, &vm->mws, "mws", mw, &mw->handle);
	if (status)
		goto err_free;
	status = COMMANDS_FABRIC(vm, mw_alloc, mw);
	if (status)
		goto err_del;
	pd->users++;
	table_made(&vm->mws, mw->handle);
	table_publish(&vm->mws, mw->handle);
	rsp->alloc_mw.handle = htole32(mw->handle);
	rsp->alloc_mw.rkey = htole32(mw->rkey);
	return PVHCA_ST_OK;

err_del:
	table_del(&vm->mws, mw->handle);
err_free:
	heap_free(mw);
	return status;
}

void commands_free_mw(void *object, void *arg)
{
	struct vm *vm = arg;
	struct mw *mw = object;

	table_unpublish(&vm->mws, mw->handle);
	COMMANDS_FABRIC_VOID(vm, mw_dealloc, mw);
	table_del(&vm->mws, mw->handle);
	mw->pd->users--;
	heap_free(mw);
}

int commands_dealloc_mw(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct mw *mw = table_find(&vm->mws, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!mw || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	table_unpublish(&vm->mws, mw->handle);
	fabric_hook(vm->ops, (void)0, mw_hide, mw);
	commands_wait_for_readers(vm);
	commands_free_mw(mw, vm);
	return PVHCA_ST_OK;
}
