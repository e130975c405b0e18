// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <string.h>

#include "lib/address.h"
#include "admin/commands.h"
#include "gsi/gsi.h"
#include "lib/log.h"
#include "net/net.h"
#include "vm/policy.h"

#define GID_TYPE_ROCE_V2 1
#define GID_VLANS	 4096

static bool gid_vlan_is_valid(const struct vm *vm, uint16_t vlan)
{
	return vlan == PVHCA_NO_VLAN || (vm->features & PVHCA_FEATURE_VLAN && vlan < GID_VLANS);
}

static int gid_check(struct vm *vm, const struct pvhca_cmd_add_gid *add)
{
	static const uint8_t zero[16];
	uint32_t index = le32toh(add->index);

	if (le32toh(add->port) != 1 || le32toh(add->gid_type) != GID_TYPE_ROCE_V2 ||
	    !gid_vlan_is_valid(vm, le16toh(add->vlan)) || add->reserved ||
	    !memcmp(add->gid, zero, sizeof(zero)) || add->gid[0] == 0xff)
		return PVHCA_ST_INVALID;
	if (index >= VM_GIDS || vm_gid(vm, index, NULL) ||
	    vm_has_gid(vm, add->gid, le16toh(add->vlan)))
		return PVHCA_ST_INVALID;
	if (index >= vm->policy->quota.gids)
		return commands_quota(vm, "gids", vm->policy->quota.gids);
	return PVHCA_ST_OK;
}

/* No worker takes it for the VM's any more, and whatever it was given to forgets it. */
static void gid_take_back(struct vm *vm, uint32_t index, const uint8_t gid[16])
{
	net_gid_hide(vm, index);
	gsi_gid_del(vm, index);
	fabric_hook(vm->ops, (void)0, gid_hide, vm, index, gid);
	if (!vm->ending)
		commands_wait_for_readers(vm);
	net_gid_del(vm, index);
	COMMANDS_FABRIC_VOID(vm, gid_del, vm, index, gid);
	policy_release_gid(vm, gid);
}

int commands_add_gid(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_add_gid *add = &cmd->add_gid;
	char text[ADDRESS_TEXT];
	uint32_t index = le32toh(add->index);
	int status;

	(void)rsp;
	status = gid_check(vm, add);
	if (status)
		return status;
	status = policy_claim_gid(vm, add->gid);
	if (status)
		goto out;
	status = COMMANDS_FABRIC(vm, gid_add, vm, index, add->gid, le16toh(add->vlan));
	if (status)
		goto err_release;
	status = gsi_gid_add(vm, index, add->gid, le16toh(add->vlan));
	if (!status)
		status = net_gid_add(vm, index, add->gid, le16toh(add->vlan));
	if (status) {
		gid_take_back(vm, index, add->gid);
		goto out;
	}
	vm_set_gid(vm, index, add->gid, le16toh(add->vlan));
	goto out;

err_release:
	policy_release_gid(vm, add->gid);
out:
	vm_info(vm, "address %s %s", address_text(add->gid, text),
		status == PVHCA_ST_OK		     ? "is its own now" :
			status == PVHCA_ST_DENIED    ? "is not allowed by its settings" :
			status == PVHCA_ST_IN_USE    ? "is another VM's" :
			status == PVHCA_ST_NOT_FOUND ? "is not an address of the host device" :
						       "was refused by the host device");
	return status;
}

static void gid_remove(struct vm *vm, uint32_t index)
{
	const uint8_t *gid;

	if (!vm_gid(vm, index, &gid))
		return;
	gid_take_back(vm, index, gid);
	vm_set_gid(vm, index, NULL, PVHCA_NO_VLAN);
}

int commands_del_gid(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	uint32_t index = le32toh(cmd->del_gid.index);

	(void)rsp;
	if (le32toh(cmd->del_gid.port) != 1 || !vm_gid(vm, index, NULL))
		return PVHCA_ST_INVALID;
	gid_remove(vm, index);
	return PVHCA_ST_OK;
}

void commands_free_gids(struct vm *vm)
{
	for (unsigned int i = 0; i < VM_GIDS; i++)
		gid_remove(vm, i);
}
