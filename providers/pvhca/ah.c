// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Address handles. The host resolves the MAC, so none is asked for here.
 */
#include <errno.h>
#include <stdlib.h>

#include "pvhca.h"
#include "pvhca-abi.h"

struct ibv_ah *pvhca_create_ah(struct ibv_pd *ibpd, struct ibv_ah_attr *attr)
{
	struct pvhca_ucmd_create_ah_resp resp = {};
	struct pvhca_ah *ah;
	int err;

	if (!attr->is_global) { /* RoCE routes by GID alone */
		errno = EINVAL;
		return NULL;
	}

	ah = calloc(1, sizeof(*ah));
	if (!ah) {
		errno = ENOMEM;
		return NULL;
	}

	err = ibv_cmd_create_ah(ibpd, &ah->ibv_ah, attr, &resp.ibv_resp,
				sizeof(resp));
	if (err) {
		free(ah);
		errno = err;
		return NULL;
	}
	ah->ah = resp.ah;
	return &ah->ibv_ah;
}

int pvhca_destroy_ah(struct ibv_ah *ibah)
{
	int err;

	err = ibv_cmd_destroy_ah(ibah);
	if (err)
		return err;
	free(to_pvhca_ah(ibah));
	return 0;
}
