// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing a region in place. The fabric is given the region as it is to be, so
 * that it can make that before it gives up what is there. No worker finds the region while it
 * changes, so one grace period is enough for the old form, too.
 */
#include <endian.h>
#include <stdlib.h>

#include "admin/commands.h"

#define REREG_FLAGS \
	(IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_PD | IBV_REREG_MR_CHANGE_ACCESS)

static uint64_t rereg_more(uint64_t bytes, uint64_t than)
{
	return bytes > than ? bytes - than : 0;
}

/*
 * The new memory: what the command says, checked as REG_MR does. What it has more than the
 * old one is pinned now.
 */
static int rereg_translation(struct vm *vm, const struct mr *mr,
			     const struct pvhca_cmd_rereg_mr *rereg, struct mr *next)
{
	uint64_t length = le64toh(rereg->mem.length);
	int status;

	next->iova = le64toh(rereg->iova);
	next->length = le64toh(rereg->length);
	next->offset = le64toh(rereg->offset);
	if (!commands_mr_range_valid(next, length))
		return PVHCA_ST_INVALID;
	status = commands_pin(vm, rereg_more(length, mr->extents->length));
	if (status)
		return status;
	status = commands_read_region(vm, &rereg->mem, &next->extents);
	if (status)
		commands_unpin(vm, rereg_more(length, mr->extents->length));
	return status;
}

/* next as the command wants it; its extents are its own where they changed. */
static int rereg_next(struct vm *vm, const struct mr *mr, const struct pvhca_cmd_rereg_mr *rereg,
		      struct mr *next)
{
	uint32_t flags = le32toh(rereg->flags);

	*next = *mr;
	if (flags & IBV_REREG_MR_CHANGE_PD) {
		next->pd = table_find(&vm->pds, le32toh(rereg->pd));
		if (!next->pd || next->pd->context != mr->pd->context)
			return PVHCA_ST_INVALID;
	}
	if (flags & IBV_REREG_MR_CHANGE_ACCESS) {
		next->access = le32toh(rereg->access);
		if (!commands_mr_access(&next->access))
			return PVHCA_ST_INVALID;
	}
	if (flags & IBV_REREG_MR_CHANGE_TRANSLATION)
		return rereg_translation(vm, mr, rereg, next);
	return PVHCA_ST_OK;
}

/* The region is what next is now. */
static void rereg_take_over(struct vm *vm, struct mr *mr, struct pd *old_pd, struct extents *old,
			    const struct mr *next)
{
	*mr = *next;
	old_pd->users--;
	mr->pd->users++;
	if (mr->extents == old)
		return;
	commands_unpin(vm, rereg_more(old->length, mr->extents->length));
	extents_put(old);
}

static void rereg_give_up(struct vm *vm, const struct mr *mr, struct extents *extents)
{
	commands_unpin(vm, rereg_more(extents->length, mr->extents->length));
	extents_put(extents);
}

/* While no worker finds the region. PVHCA_ST_BUSY: windows are bound to it. */
static int rereg_change(struct vm *vm, struct mr *mr, uint32_t flags, struct mr *next)
{
	int status = fabric_hook(vm->ops, PVHCA_ST_OK, mr_hide, mr);

	if (status)
		return status;
	table_unpublish(&vm->mrs, mr->handle);
	commands_wait_for_readers(vm);
	status = COMMANDS_FABRIC(vm, mr_rereg, mr, flags, next);
	if (status)
		table_publish(&vm->mrs, mr->handle);
	return status;
}

int commands_rereg_mr(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_rereg_mr *rereg = &cmd->rereg_mr;
	struct mr *mr = table_find(&vm->mrs, le32toh(rereg->mr));
	uint32_t flags = le32toh(rereg->flags);
	struct extents *extents;
	struct pd *pd;
	struct mr next;
	int status;

	if (!mr || !mr->extents || !flags || flags & ~(uint32_t)REREG_FLAGS)
		return PVHCA_ST_INVALID;
	if (!vm->ops->mr_rereg)
		return PVHCA_ST_UNSUPPORTED;
	status = rereg_next(vm, mr, rereg, &next);
	if (status)
		return status;
	pd = mr->pd;
	extents = mr->extents;
	status = rereg_change(vm, mr, flags, &next);
	if (status) {
		if (next.extents != extents)
			rereg_give_up(vm, mr, next.extents);
		return status;
	}
	rereg_take_over(vm, mr, pd, extents, &next);
	table_publish(&vm->mrs, mr->handle);
	rsp->reg_mr.handle = htole32(mr->handle);
	rsp->reg_mr.lkey = htole32(mr->lkey);
	rsp->reg_mr.rkey = htole32(mr->rkey);
	return PVHCA_ST_OK;
}
