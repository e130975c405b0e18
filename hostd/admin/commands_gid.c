// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <string.h>

#include "lib/address.h"
#include "admin/commands.h"
#include "gsi/gsi.h"
#include "lib/log.h"
#include "vm/policy.h"

#define GID_TYPE_ROCE_V2 1
#define GID_NO_VLAN	 0xffff

bool session_gid(const struct session *session, uint32_t index, uint32_t *host_index,
		 const uint8_t **gid)
{
	if (index >= SESSION_GIDS || !session->gids[index].used)
		return false;
	if (host_index)
		*host_index = session->gids[index].host_index;
	if (gid)
		*gid = session->gids[index].gid;
	return true;
}

static bool gid_is_there(const struct session *session, const uint8_t gid[16])
{
	for (unsigned int i = 0; i < SESSION_GIDS; i++)
		if (session->gids[i].used && !memcmp(session->gids[i].gid, gid, 16))
			return true;
	return false;
}

static int gid_check(struct session *session, const struct pvhca_cmd_add_gid *add)
{
	static const uint8_t zero[16];
	uint32_t index = le32toh(add->index);

	if (le32toh(add->port) != 1 || le32toh(add->gid_type) != GID_TYPE_ROCE_V2 ||
	    le16toh(add->vlan) != GID_NO_VLAN || add->reserved ||
	    !memcmp(add->gid, zero, sizeof(zero)) || add->gid[0] == 0xff)
		return PVHCA_ST_INVALID;
	if (index >= SESSION_GIDS || session->gids[index].used || gid_is_there(session, add->gid))
		return PVHCA_ST_INVALID;
	if (index >= session->policy->quota.gids)
		return commands_quota(session, "gids", session->policy->quota.gids);
	return PVHCA_ST_OK;
}

int commands_add_gid(struct session *session, const struct pvhca_admin_cmd *cmd,
		     struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_add_gid *add = &cmd->add_gid;
	struct session_gid *entry;
	char text[ADDRESS_TEXT];
	uint32_t host_index = 0;
	int status;

	(void)rsp;
	status = gid_check(session, add);
	if (status)
		return status;
	status = policy_claim_gid(session, add->gid);
	if (status)
		goto out;
	status = session->ops->gid_add(session, add->gid, &host_index);
	if (status)
		goto err_release;
	status = gsi_gid_add(session, le32toh(add->index), add->gid);
	if (status)
		goto err_del;
	entry = &session->gids[le32toh(add->index)];
	memcpy(entry->gid, add->gid, sizeof(entry->gid));
	entry->host_index = host_index;
	entry->used = true;
	goto out;

err_del:
	session->ops->gid_del(session, add->gid);
err_release:
	policy_release_gid(session, add->gid);
out:
	g_info("VM %s: address %s %s", session->name, address_text(add->gid, text),
	       status == PVHCA_ST_OK		    ? "is its own now" :
		       status == PVHCA_ST_DENIED    ? "is not allowed by its settings" :
		       status == PVHCA_ST_IN_USE    ? "is another VM's" :
		       status == PVHCA_ST_NOT_FOUND ? "is none of the host device's" :
						      "was refused by the host device");
	return status;
}

static void gid_remove(struct session *session, struct session_gid *entry)
{
	gsi_gid_del(session, entry - session->gids);
	session->ops->gid_del(session, entry->gid);
	policy_release_gid(session, entry->gid);
	entry->used = false;
}

int commands_del_gid(struct session *session, const struct pvhca_admin_cmd *cmd,
		     struct pvhca_admin_rsp *rsp)
{
	uint32_t index = le32toh(cmd->del_gid.index);

	(void)rsp;
	if (le32toh(cmd->del_gid.port) != 1 || index >= SESSION_GIDS || !session->gids[index].used)
		return PVHCA_ST_INVALID;
	gid_remove(session, &session->gids[index]);
	return PVHCA_ST_OK;
}

void commands_free_gids(struct session *session)
{
	for (unsigned int i = 0; i < SESSION_GIDS; i++)
		if (session->gids[i].used)
			gid_remove(session, &session->gids[i]);
}
