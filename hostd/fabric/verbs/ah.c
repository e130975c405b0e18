// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses: of connections, and of datagrams (address handles). The host's table of
 * GIDs has other indices than the guest's, and the host finds out the MAC.
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "fabric/verbs/private.h"

int verbs_av_to_host(struct vm *vm, const struct av *av, struct ibv_ah_attr *ah)
{
	struct verbs_vm *vv = vm->fabric_vm;
	int index;

	if (!av->is_global)
		return PVHCA_ST_INVALID; /* RoCE has no other addresses */
	if (!vm_gid(vm, av->sgid_index, NULL))
		return PVHCA_ST_INVALID;
	index = verbs_gid_index(vv, &vv->address[av->sgid_index]);
	if (index < 0)
		return PVHCA_ST_NOT_FOUND;

	*ah = (struct ibv_ah_attr) {
		.grh = {
			.flow_label = av->flow_label,
			.sgid_index = index,
			.hop_limit = av->hop_limit,
			.traffic_class = av->traffic_class,
		},
		.sl = av->sl,
		.static_rate = av->static_rate,
		.is_global = 1,
		.port_num = vv->fabric->port,
	};
	verbs_address_to_host(vm, av->dgid, ah->grh.dgid.raw);
	return PVHCA_ST_OK;
}

void verbs_av_from_host(const struct ibv_ah_attr *ah, const struct av *guest, struct av *av)
{
	*av = (struct av){
		.flow_label = ah->grh.flow_label,
		.hop_limit = ah->grh.hop_limit,
		.traffic_class = ah->grh.traffic_class,
		.sl = ah->sl,
		.port = 1,
		.static_rate = ah->static_rate,
		.is_global = ah->is_global,
	};
	if (!ah->is_global)
		return;
	memcpy(av->dgid, guest->dgid, sizeof(av->dgid));
	av->sgid_index = guest->sgid_index;
}

int verbs_ah_create(struct ah *ah)
{
	struct ibv_ah_attr attr;
	int status;

	status = verbs_av_to_host(ah->vm, &ah->av, &attr);
	if (status)
		return status;
	errno = 0;
	ah->fabric = ibv_create_ah(ah->pd->fabric, &attr);
	return ah->fabric ? PVHCA_ST_OK : verbs_status(errno ?: EIO);
}

void verbs_ah_destroy(struct ah *ah)
{
	int err = ibv_destroy_ah(ah->fabric);

	if (err)
		vm_warning(ah->vm, "host address handle could not be destroyed: %s",
			   log_strerror(err));
}
