// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Multicast groups that UD QPs receive from.
 */
#include <endian.h>

#include "lib/address.h"
#include "admin/commands.h"

static int mcast_find_qp(struct session *session, const struct pvhca_cmd_mcast *mcast,
			 struct qp **qp)
{
	*qp = table_find(&session->qps, le32toh(mcast->qp));
	if (!*qp || (*qp)->type != PVHCA_QPT_UD || mcast->reserved || !address_is_group(mcast->gid))
		return PVHCA_ST_INVALID;
	if (!session->ops->mcast_attach)
		return PVHCA_ST_UNSUPPORTED;
	return PVHCA_ST_OK;
}

int commands_attach_mcast(struct session *session, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_mcast *mcast = &cmd->mcast;
	struct qp *qp;
	int status;

	(void)rsp;
	status = mcast_find_qp(session, mcast, &qp);
	if (status)
		return status;
	return session->ops->mcast_attach(qp, mcast->gid, le16toh(mcast->lid));
}

int commands_detach_mcast(struct session *session, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_mcast *mcast = &cmd->mcast;
	struct qp *qp;
	int status;

	(void)rsp;
	status = mcast_find_qp(session, mcast, &qp);
	if (status)
		return status;
	return session->ops->mcast_detach(qp, mcast->gid, le16toh(mcast->lid));
}
