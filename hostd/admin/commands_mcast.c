// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Multicast groups that UD QPs receive from.
 */
#include <endian.h>

#include "lib/address.h"
#include "admin/commands.h"

static int mcast_find_qp(struct vm *vm, const struct pvhca_cmd_mcast *mcast, struct qp **qp)
{
	*qp = table_find(&vm->qps, le32toh(mcast->qp));
	if (!*qp || (*qp)->type != PVHCA_QPT_UD || mcast->reserved || !address_is_group(mcast->gid))
		return PVHCA_ST_INVALID;
	return PVHCA_ST_OK;
}

int commands_attach_mcast(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_mcast *mcast = &cmd->mcast;
	struct qp *qp;
	int status;

	(void)rsp;
	status = mcast_find_qp(vm, mcast, &qp);
	if (status)
		return status;
	return COMMANDS_FABRIC(vm, mcast_attach, qp, mcast->gid, le16toh(mcast->lid));
}

int commands_detach_mcast(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_mcast *mcast = &cmd->mcast;
	struct qp *qp;
	int status;

	(void)rsp;
	status = mcast_find_qp(vm, mcast, &qp);
	if (status)
		return status;
	return COMMANDS_FABRIC(vm, mcast_detach, qp, mcast->gid, le16toh(mcast->lid));
}
