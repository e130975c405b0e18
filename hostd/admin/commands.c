// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dispatch of admin commands. A command's arguments have a size; what follows
 * them in the command is reserved, so that later versions can add to them.
 */
#include "admin/commands.h"

#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "lib/heap.h"
#include "lib/log.h"
#include "gsi/gsi.h"
#include "net/net.h"
#include "worker/worker.h"

/* What a command is, besides. */
enum {
	COMMAND_SLOW = 1,   /* what was completed before shall not wait for it */
	COMMAND_ENGINE = 2, /* asks the fabric, which may take long */
	COMMAND_WAITS = 4,  /* waits for something else that may */
	COMMAND_LIST = 8,   /* may read a long list of the guest's memory */
	COMMAND_ENDS = 16,  /* gives up, or replaces, what its first object hangs on */
};

#define COMMAND_NAMES 5
#define NO_HANDLE     UINT16_MAX /* there is one object of the kind */

/* An object that a command names. @at: of its handle in the command. */
struct command_name {
	uint8_t kind; /* enum claim_kind; CLAIM_NONE: no more */
	bool alone;
	uint16_t at;
};

struct command {
	const char *name;
	command_fn *run;
	uint16_t args;	/* bytes of arguments */
	uint16_t flags; /* COMMAND_* */
	struct command_name names[COMMAND_NAMES];
};

/* clang-format off */
#define ARGS(field)	   sizeof(((struct pvhca_admin_cmd *)0)->field)
#define USES(kind, field)  { CLAIM_##kind, false, offsetof(struct pvhca_admin_cmd, field) }
#define ALONE(kind, field) { CLAIM_##kind, true, offsetof(struct pvhca_admin_cmd, field) }
#define SLOW		   COMMAND_SLOW
#define ENGINE		   COMMAND_ENGINE
static const struct command commands[] = {
	[PVHCA_CMD_NOP] = { "NOP", commands_nop, 0, 0, {} },
	[PVHCA_CMD_QUERY_DEVICE] = { "QUERY_DEVICE", commands_query_device, 0, 0, {} },
	[PVHCA_CMD_QUERY_PORT] = { "QUERY_PORT", commands_query_port, ARGS(query_port),
		ENGINE, {} },
	[PVHCA_CMD_CREATE_CEQ] = { "CREATE_CEQ", commands_create_ceq, ARGS(create_ceq), 0, {} },
	[PVHCA_CMD_DESTROY_CEQ] = { "DESTROY_CEQ", commands_destroy_ceq, ARGS(destroy), 0,
		{ ALONE(CEQ, destroy.handle) } },
	[PVHCA_CMD_ADD_GID] = { "ADD_GID", commands_add_gid, ARGS(add_gid), SLOW | ENGINE,
		{ ALONE(GID, add_gid.index), { CLAIM_GIDS, true, NO_HANDLE } } },
	[PVHCA_CMD_DEL_GID] = { "DEL_GID", commands_del_gid, ARGS(del_gid), SLOW | ENGINE,
		{ ALONE(GID, del_gid.index), { CLAIM_GIDS, true, NO_HANDLE } } },
	[PVHCA_CMD_ALLOC_CONTEXT] = { "ALLOC_CONTEXT", commands_alloc_context,
		ARGS(alloc_context), SLOW, {} },
	[PVHCA_CMD_DEALLOC_CONTEXT] = { "DEALLOC_CONTEXT", commands_dealloc_context,
		ARGS(destroy), SLOW, { ALONE(CONTEXT, destroy.handle) } },
	[PVHCA_CMD_ALLOC_PD] = { "ALLOC_PD", commands_alloc_pd, ARGS(alloc_pd), ENGINE,
		{ USES(CONTEXT, alloc_pd.context) } },
	[PVHCA_CMD_DEALLOC_PD] = { "DEALLOC_PD", commands_dealloc_pd, ARGS(destroy),
		ENGINE | COMMAND_ENDS, { ALONE(PD, destroy.handle) } },
	[PVHCA_CMD_REG_MR] = { "REG_MR", commands_reg_mr, ARGS(reg_mr),
		SLOW | ENGINE | COMMAND_LIST, { USES(PD, reg_mr.pd) } },
	[PVHCA_CMD_DEREG_MR] = { "DEREG_MR", commands_dereg_mr, ARGS(destroy),
		SLOW | ENGINE | COMMAND_ENDS, { ALONE(MR, destroy.handle) } },
	[PVHCA_CMD_CREATE_CQ] = { "CREATE_CQ", commands_create_cq, ARGS(create_cq), SLOW,
		{ USES(CONTEXT, create_cq.context), USES(CEQ, create_cq.ceq) } },
	[PVHCA_CMD_DESTROY_CQ] = { "DESTROY_CQ", commands_destroy_cq, ARGS(destroy),
		SLOW | COMMAND_ENDS, { ALONE(CQ, destroy.handle) } },
	[PVHCA_CMD_CREATE_QP] = { "CREATE_QP", commands_create_qp, ARGS(create_qp),
		SLOW | ENGINE,
		{ USES(CONTEXT, create_qp.context), USES(PD, create_qp.pd),
		  USES(CQ, create_qp.send_cq), USES(CQ, create_qp.recv_cq),
		  USES(SRQ, create_qp.srq) } },
	[PVHCA_CMD_MODIFY_QP] = { "MODIFY_QP", commands_modify_qp, ARGS(modify_qp),
		SLOW | ENGINE, { ALONE(QP, modify_qp.qp) } },
	[PVHCA_CMD_QUERY_QP] = { "QUERY_QP", commands_query_qp, ARGS(query_qp), ENGINE,
		{ ALONE(QP, query_qp.qp) } },
	[PVHCA_CMD_DESTROY_QP] = { "DESTROY_QP", commands_destroy_qp, ARGS(destroy),
		SLOW | ENGINE | COMMAND_ENDS, { ALONE(QP, destroy.handle) } },
	[PVHCA_CMD_CREATE_AH] = { "CREATE_AH", commands_create_ah, ARGS(create_ah),
		SLOW | ENGINE, { USES(PD, create_ah.pd) } },
	[PVHCA_CMD_DESTROY_AH] = { "DESTROY_AH", commands_destroy_ah, ARGS(destroy),
		SLOW | ENGINE | COMMAND_ENDS, { ALONE(AH, destroy.handle) } },
	[PVHCA_CMD_CREATE_SRQ] = { "CREATE_SRQ", commands_create_srq, ARGS(create_srq),
		SLOW | ENGINE, { USES(CONTEXT, create_srq.context), USES(PD, create_srq.pd) } },
	[PVHCA_CMD_MODIFY_SRQ] = { "MODIFY_SRQ", commands_modify_srq, ARGS(modify_srq), ENGINE,
		{ ALONE(SRQ, modify_srq.srq) } },
	[PVHCA_CMD_QUERY_SRQ] = { "QUERY_SRQ", commands_query_srq, ARGS(query_srq), ENGINE,
		{ ALONE(SRQ, query_srq.srq) } },
	[PVHCA_CMD_DESTROY_SRQ] = { "DESTROY_SRQ", commands_destroy_srq, ARGS(destroy),
		SLOW | ENGINE | COMMAND_ENDS, { ALONE(SRQ, destroy.handle) } },
	[PVHCA_CMD_ALLOC_MW] = { "ALLOC_MW", commands_alloc_mw, ARGS(alloc_mw), ENGINE,
		{ USES(PD, alloc_mw.pd) } },
	[PVHCA_CMD_DEALLOC_MW] = { "DEALLOC_MW", commands_dealloc_mw, ARGS(destroy),
		SLOW | ENGINE | COMMAND_ENDS, { ALONE(MW, destroy.handle) } },
	[PVHCA_CMD_REREG_MR] = { "REREG_MR", commands_rereg_mr, ARGS(rereg_mr),
		SLOW | ENGINE | COMMAND_LIST | COMMAND_ENDS,
		{ ALONE(MR, rereg_mr.mr), USES(PD, rereg_mr.pd) } },
	[PVHCA_CMD_RESIZE_CQ] = { "RESIZE_CQ", commands_resize_cq, ARGS(resize_cq),
		SLOW | COMMAND_WAITS, { ALONE(CQ, resize_cq.cq) } },
	[PVHCA_CMD_ATTACH_MCAST] = { "ATTACH_MCAST", commands_attach_mcast, ARGS(mcast),
		SLOW | ENGINE, { ALONE(QP, mcast.qp) } },
	[PVHCA_CMD_DETACH_MCAST] = { "DETACH_MCAST", commands_detach_mcast, ARGS(mcast),
		SLOW | ENGINE, { ALONE(QP, mcast.qp) } },
	[PVHCA_CMD_ALLOC_MR] = { "ALLOC_MR", commands_alloc_mr, ARGS(alloc_mr), SLOW | ENGINE,
		{ USES(PD, alloc_mr.pd) } },
};
/* clang-format on */
#undef ENGINE
#undef SLOW
#undef ALONE
#undef USES
#undef ARGS

static const struct command *commands_find(const struct pvhca_admin_cmd *cmd)
{
	uint16_t opcode = le16toh(cmd->opcode);

	if (opcode >= G_N_ELEMENTS(commands) || !commands[opcode].run)
		return NULL;
	return &commands[opcode];
}

bool commands_may_take_long(const struct pvhca_admin_cmd *cmd)
{
	const struct command *command = commands_find(cmd);

	return command && command->flags & COMMAND_SLOW;
}

/* Runs of guest memory that a command names, as it says. */
static uint32_t commands_extents(const struct pvhca_admin_cmd *cmd)
{
	return le32toh(le16toh(cmd->opcode) == PVHCA_CMD_REG_MR ? cmd->reg_mr.mem.num_extents :
								  cmd->rereg_mr.mem.num_extents);
}

bool commands_may_wait(const struct vm *vm, const struct pvhca_admin_cmd *cmd)
{
	const struct command *command = commands_find(cmd);

	if (!command)
		return false;
	if (command->flags & COMMAND_LIST && commands_extents(cmd) > COMMANDS_LONG_LIST)
		return true;
	return command->flags & COMMAND_WAITS ||
		(command->flags & COMMAND_ENGINE && vm->side_by_side);
}

const char *commands_name(const struct pvhca_admin_cmd *cmd)
{
	const struct command *command = commands_find(cmd);

	return command ? command->name : "unknown";
}

/* The guest's address that an address vector is from. */
static void commands_claim_av(const struct pvhca_admin_cmd *cmd, struct claims *claims)
{
	switch (le16toh(cmd->opcode)) {
	case PVHCA_CMD_CREATE_AH:
		claims_add(claims, CLAIM_GID, false, cmd->create_ah.av.sgid_index);
		return;
	case PVHCA_CMD_MODIFY_QP:
		if (le32toh(cmd->modify_qp.attr_mask) & IBV_QP_AV)
			claims_add(claims, CLAIM_GID, false, cmd->modify_qp.attr.av.sgid_index);
	}
}

void commands_claims(const struct vm *vm, const struct pvhca_admin_cmd *cmd, struct claims *claims)
{
	const struct command *command = commands_find(cmd);
	const struct command_name *name;
	__le32 handle;

	claims->count = 0;
	if (!command)
		return;
	for (unsigned int i = 0; i < COMMAND_NAMES && command->names[i].kind; i++) {
		name = &command->names[i];
		handle = 0;
		if (name->at != NO_HANDLE)
			memcpy(&handle, (const uint8_t *)cmd + name->at, sizeof(handle));
		claims_add(claims, name->kind, name->alone, le32toh(handle));
	}
	commands_claim_av(cmd, claims);
	if (command->flags & COMMAND_ENDS)
		claims_add_parents(claims, vm, claims->claim[0].kind, claims->claim[0].handle);
}

static bool commands_rest_is_zero(const struct pvhca_admin_cmd *cmd, uint16_t args)
{
	for (size_t i = args; i < sizeof(cmd->raw); i++)
		if (cmd->raw[i])
			return false;
	return true;
}

uint32_t commands_execute(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	const struct command *command = commands_find(cmd);
	int status;

	if (!command)
		return PVHCA_ST_UNSUPPORTED;
	if (cmd->flags || !commands_rest_is_zero(cmd, command->args))
		status = PVHCA_ST_INVALID;
	else
		status = command->run(vm, cmd, rsp);
	if (status == PVHCA_ST_NO_MEMORY && heap_refused(vm->heap))
		status = commands_quota(vm, "heap-bytes", heap_max(vm->heap));
	if (status) {
		vm_debug(vm, "%s fails with status %d", command->name, status);
		if (status == PVHCA_ST_INVALID || status == PVHCA_ST_BAD_ADDRESS)
			counter_add(&vm->counters.protocol_errors, 1);
	}
	return status;
}

int commands_quota(struct vm *vm, const char *key, uint64_t limit)
{
	vm_warning(vm,
		   "has its quota of %s=%" G_GUINT64_FORMAT
		   "; raise it in group [quota] or [vm %s] of the configuration",
		   key, limit, vm->name);
	return PVHCA_ST_QUOTA;
}

int commands_table_add(struct vm *vm, struct table *table, const char *key, void *object,
		       uint32_t *handle)
{
	int status = table_reserve(table, object, handle);

	if (status == PVHCA_ST_QUOTA)
		commands_quota(vm, key, table->limit);
	return status;
}

void commands_wait_for_readers(struct vm *vm)
{
	vm_leave(vm);
	grace_wait();
	vm_enter(vm);
}

/*
 * Take all that the VM has out of the sight of workers, its own and others', and wait once
 * for all of it.
 */
static void commands_hide_all(struct vm *vm)
{
	table_for_each(&vm->qps, commands_unpublish_qp, vm);
	table_for_each(&vm->srqs, commands_unpublish_srq, vm);
	gsi_hide(vm);
	net_hide(vm);
	fabric_hook(vm->ops, (void)0, vm_hide, vm);
	worker_leave(vm);
	vm_grace(vm);
	vm->ending = true;
}

void commands_destroy_all(struct vm *vm)
{
	commands_hide_all(vm);
	/*
	 * No worker serves an entry any more that could name one of these. Windows
	 * go before QPs: where one is bound to a QP some engines (rxe) wait for it,
	 * in vain and long, when that QP is destroyed.
	 */
	table_for_each(&vm->mws, commands_free_mw, vm);
	table_for_each(&vm->qps, commands_free_qp, vm);
	table_for_each(&vm->srqs, commands_free_srq, vm);
	table_for_each(&vm->ahs, commands_free_ah, vm);
	table_for_each(&vm->cqs, commands_free_cq, vm);
	table_for_each(&vm->mrs, commands_free_mr, vm);
	table_for_each(&vm->pds, commands_free_pd, vm);
	commands_free_gids(vm);
	table_for_each(&vm->contexts, commands_free_context, vm);
	table_for_each(&vm->ceqs, commands_free_ceq, vm);
	vm->ending = false;
}
