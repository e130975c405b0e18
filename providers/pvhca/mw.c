// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory windows. A window of type 1 is bound by ibv_bind_mw(), one of type 2 by a
 * work request; both go through the send queue.
 */
#include <errno.h>
#include <stdlib.h>

#include "pvhca.h"
#include "pvhca-abi.h"

struct ibv_mw *pvhca_alloc_mw(struct ibv_pd *ibpd, enum ibv_mw_type type)
{
	struct pvhca_ucmd_alloc_mw_resp resp = {};
	struct ibv_alloc_mw cmd;
	struct pvhca_mw *mw;
	int err;

	mw = calloc(1, sizeof(*mw));
	if (!mw) {
		errno = ENOMEM;
		return NULL;
	}

	err = ibv_cmd_alloc_mw(ibpd, type, &mw->ibv_mw, &cmd, sizeof(cmd),
			       &resp.ibv_resp, sizeof(resp));
	if (err) {
		free(mw);
		errno = err;
		return NULL;
	}
	mw->handle = resp.mw_handle;
	return &mw->ibv_mw;
}

int pvhca_dealloc_mw(struct ibv_mw *ibmw)
{
	int err;

	err = ibv_cmd_dealloc_mw(ibmw);
	if (err)
		return err;
	free(to_pvhca_mw(ibmw));
	return 0;
}

/* ibv_bind_mw(3), for windows of type 1; returns as pvhca_post_send(). */
int pvhca_bind_mw(struct ibv_qp *ibqp, struct ibv_mw *ibmw,
		  struct ibv_mw_bind *bind)
{
	return pvhca_post_bind(to_pvhca_qp(ibqp), ibmw, bind);
}
