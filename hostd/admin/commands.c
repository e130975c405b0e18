// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dispatch of admin commands. A command's arguments have a size; what follows
 * them in the command is reserved, so that later versions can add to them.
 */
#include "admin/commands.h"

#include <endian.h>

#include "lib/log.h"
#include "worker/worker.h"

struct command {
	const char *name;
	command_fn *run;
	uint16_t args; /* bytes of arguments */
	bool slow;
};

#define ARGS(field) sizeof(((struct pvhca_admin_cmd *)0)->field)
static const struct command commands[] = {
	[PVHCA_CMD_NOP] = { "NOP", commands_nop, 0, false },
	[PVHCA_CMD_QUERY_DEVICE] = { "QUERY_DEVICE", commands_query_device, 0, false },
	[PVHCA_CMD_QUERY_PORT] = { "QUERY_PORT", commands_query_port, ARGS(query_port), false },
	[PVHCA_CMD_CREATE_CEQ] = { "CREATE_CEQ", commands_create_ceq, ARGS(create_ceq), false },
	[PVHCA_CMD_DESTROY_CEQ] = { "DESTROY_CEQ", commands_destroy_ceq, ARGS(destroy), false },
	[PVHCA_CMD_ADD_GID] = { "ADD_GID", commands_add_gid, ARGS(add_gid), true },
	[PVHCA_CMD_DEL_GID] = { "DEL_GID", commands_del_gid, ARGS(del_gid), true },
	[PVHCA_CMD_ALLOC_CONTEXT] = { "ALLOC_CONTEXT", commands_alloc_context, ARGS(alloc_context),
				      true },
	[PVHCA_CMD_DEALLOC_CONTEXT] = { "DEALLOC_CONTEXT", commands_dealloc_context, ARGS(destroy),
					true },
	[PVHCA_CMD_ALLOC_PD] = { "ALLOC_PD", commands_alloc_pd, ARGS(alloc_pd), false },
	[PVHCA_CMD_DEALLOC_PD] = { "DEALLOC_PD", commands_dealloc_pd, ARGS(destroy), false },
	[PVHCA_CMD_REG_MR] = { "REG_MR", commands_reg_mr, ARGS(reg_mr), true },
	[PVHCA_CMD_DEREG_MR] = { "DEREG_MR", commands_dereg_mr, ARGS(destroy), true },
	[PVHCA_CMD_CREATE_CQ] = { "CREATE_CQ", commands_create_cq, ARGS(create_cq), true },
	[PVHCA_CMD_DESTROY_CQ] = { "DESTROY_CQ", commands_destroy_cq, ARGS(destroy), true },
	[PVHCA_CMD_CREATE_QP] = { "CREATE_QP", commands_create_qp, ARGS(create_qp), true },
	[PVHCA_CMD_MODIFY_QP] = { "MODIFY_QP", commands_modify_qp, ARGS(modify_qp), true },
	[PVHCA_CMD_QUERY_QP] = { "QUERY_QP", commands_query_qp, ARGS(query_qp), false },
	[PVHCA_CMD_DESTROY_QP] = { "DESTROY_QP", commands_destroy_qp, ARGS(destroy), true },
	[PVHCA_CMD_CREATE_AH] = { "CREATE_AH", commands_create_ah, ARGS(create_ah), true },
	[PVHCA_CMD_DESTROY_AH] = { "DESTROY_AH", commands_destroy_ah, ARGS(destroy), true },
	[PVHCA_CMD_CREATE_SRQ] = { "CREATE_SRQ", commands_create_srq, ARGS(create_srq), true },
	[PVHCA_CMD_MODIFY_SRQ] = { "MODIFY_SRQ", commands_modify_srq, ARGS(modify_srq), false },
	[PVHCA_CMD_QUERY_SRQ] = { "QUERY_SRQ", commands_query_srq, ARGS(query_srq), false },
	[PVHCA_CMD_DESTROY_SRQ] = { "DESTROY_SRQ", commands_destroy_srq, ARGS(destroy), true },
	[PVHCA_CMD_ALLOC_MW] = { "ALLOC_MW", commands_alloc_mw, ARGS(alloc_mw), false },
	[PVHCA_CMD_DEALLOC_MW] = { "DEALLOC_MW", commands_dealloc_mw, ARGS(destroy), true },
	[PVHCA_CMD_REREG_MR] = { "REREG_MR", commands_rereg_mr, ARGS(rereg_mr), true },
	[PVHCA_CMD_RESIZE_CQ] = { "RESIZE_CQ", commands_resize_cq, ARGS(resize_cq), true },
	[PVHCA_CMD_ATTACH_MCAST] = { "ATTACH_MCAST", commands_attach_mcast, ARGS(mcast), true },
	[PVHCA_CMD_DETACH_MCAST] = { "DETACH_MCAST", commands_detach_mcast, ARGS(mcast), true },
	[PVHCA_CMD_ALLOC_MR] = { "ALLOC_MR", commands_alloc_mr, ARGS(alloc_mr), true },
};
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

	return command && command->slow;
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
	if (status) {
		g_debug("VM %s: %s fails with status %d", vm->name, command->name, status);
		if (status == PVHCA_ST_INVALID || status == PVHCA_ST_BAD_ADDRESS)
			counter_add(&vm->counters.protocol_errors, 1);
	}
	return status;
}

int commands_quota(struct vm *vm, const char *key, uint64_t limit)
{
	log_warning_limited(&vm->quota_log,
			    "VM %s: has its quota of %s=%" G_GUINT64_FORMAT
			    "; raise it in group [quota] or [vm %s] of the configuration",
			    vm->name, key, limit, vm->name);
	return PVHCA_ST_QUOTA;
}

int commands_table_add(struct vm *vm, struct table *table, const char *key, void *object,
		       uint32_t *handle)
{
	int status = table_add(table, object, handle);

	if (status == PVHCA_ST_QUOTA)
		commands_quota(vm, key, table->limit);
	return status;
}

/*
 * Take all that the VM has out of the sight of workers, its own and others', and wait once
 * for all of it.
 */
static void commands_hide_all(struct vm *vm)
{
	table_for_each(&vm->qps, commands_unpublish_qp, vm);
	table_for_each(&vm->srqs, commands_unpublish_srq, vm);
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
