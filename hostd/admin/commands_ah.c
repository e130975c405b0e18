// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Address handles: a UD QP's entries name them, so workers look them up.
 */
#include <endian.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "admin/commands_attr.h"
#include "lib/heap.h"

int commands_create_ah(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_create_ah *create = &cmd->create_ah;
	struct pd *pd = table_find(&vm->pds, le32toh(create->pd));
	struct ah *ah;
	int status;

	if (!pd || create->reserved || !commands_av_valid(vm, &create->av))
		return PVHCA_ST_INVALID;
	ah = heap_zalloc(vm->heap, sizeof(*ah));
	if (!ah)
		return PVHCA_ST_NO_MEMORY;
	ah->vm = vm;
	ah->pd = pd;
	ring_read_av(&create->av, &ah->av);
	status = commands_table_add(vm, &vm->ahs, "ahs", ah, &ah->handle);
	if (status)
		goto err_free;
	status = COMMANDS_FABRIC(vm, ah_create, ah);
	if (status)
		goto err_del;
	pd->users++;
	table_made(&vm->ahs, ah->handle);
	table_publish(&vm->ahs, ah->handle);
	rsp->created.handle = htole32(ah->handle);
	return PVHCA_ST_OK;

err_del:
	table_del(&vm->ahs, ah->handle);
err_free:
	heap_free(ah);
	return status;
}

void commands_free_ah(void *object, void *arg)
{
	struct vm *vm = arg;
	struct ah *ah = object;

	table_unpublish(&vm->ahs, ah->handle);
	COMMANDS_FABRIC_VOID(vm, ah_destroy, ah);
	table_del(&vm->ahs, ah->handle);
	ah->pd->users--;
	heap_free(ah);
}

int commands_destroy_ah(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct ah *ah = table_find(&vm->ahs, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!ah || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	table_unpublish(&vm->ahs, ah->handle);
	commands_wait_for_readers(vm);
	commands_free_ah(ah, vm);
	return PVHCA_ST_OK;
}
