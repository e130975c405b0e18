// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VLANs of the host's interfaces. An engine tags the packets of an address whose interface is
 * a VLAN's. The kernel tells its number in /proc/net/vlan, which is there while it has VLANs;
 * the ioctl would load the module.
 */
#include <net/if.h>
#include <stdio.h>

#include "fabric/verbs/private.h"

uint16_t verbs_vlan_of(uint32_t ifindex)
{
	char name[IF_NAMESIZE], path[sizeof("/proc/net/vlan/") + IF_NAMESIZE];
	unsigned int vlan;
	FILE *file;
	bool found;

	if (!ifindex || !if_indextoname(ifindex, name))
		return PVHCA_NO_VLAN;
	snprintf(path, sizeof(path), "/proc/net/vlan/%s", name);
	file = fopen(path, "re");
	if (!file)
		return PVHCA_NO_VLAN;
	found = fscanf(file, "%*s VID: %u", &vlan) == 1;
	fclose(file);
	return found && vlan < PVHCA_NO_VLAN ? vlan : PVHCA_NO_VLAN;
}
