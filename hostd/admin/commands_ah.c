// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Address handles: a UD QP's entries name them, so workers look them up.
 */
#include <endian.h>
#include <stdlib.h>

#include <urcu-qsbr.h>

#include "admin/commands.h"

#define MAX_3_BITS  7
#define MAX_20_BITS 0xfffffu

bool commands_av_valid(const struct session *session, const struct pvhca_av *av)
{
	return av->is_global == 1 && av->port == 1 && !av->reserved0 && !av->reserved1 &&
		av->sl <= MAX_3_BITS && le32toh(av->flow_label) <= MAX_20_BITS &&
		session_gid(session, av->sgid_index, NULL, NULL);
}

int commands_create_ah(struct session *session, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_create_ah *create = &cmd->create_ah;
	struct pd *pd = table_find(&session->pds, le32toh(create->pd));
	struct ah *ah;
	int status;

	if (!pd || create->reserved || !commands_av_valid(session, &create->av))
		return PVHCA_ST_INVALID;
	if (!session->ops->ah_create)
		return PVHCA_ST_UNSUPPORTED;
	ah = calloc(1, sizeof(*ah));
	if (!ah)
		return PVHCA_ST_NO_MEMORY;
	ah->session = session;
	ah->pd = pd;
	ah->av = create->av;
	session_gid(session, ah->av.sgid_index, &ah->host_gid_index, NULL);
	status = commands_table_add(session, &session->ahs, "ahs", ah, &ah->handle);
	if (status)
		goto err_free;
	status = session->ops->ah_create(ah);
	if (status)
		goto err_del;
	pd->users++;
	table_publish(&session->ahs, ah->handle);
	rsp->created.handle = htole32(ah->handle);
	return PVHCA_ST_OK;

err_del:
	table_del(&session->ahs, ah->handle);
err_free:
	free(ah);
	return status;
}

void commands_free_ah(void *object, void *arg)
{
	struct session *session = arg;
	struct ah *ah = object;

	table_del(&session->ahs, ah->handle);
	session->ops->ah_destroy(ah);
	ah->pd->users--;
	free(ah);
}

int commands_destroy_ah(struct session *session, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct ah *ah = table_find(&session->ahs, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!ah || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	table_unpublish(&session->ahs, ah->handle);
	synchronize_rcu();
	commands_free_ah(ah, session);
	return PVHCA_ST_OK;
}
