// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory windows on the host device. They are bound by posted work: see
 * fabric/verbs/post.c.
 */
#include <errno.h>

#include "lib/log.h"
#include "fabric/verbs/private.h"

int verbs_mw_alloc(struct mw *mw)
{
	struct ibv_mw *host;

	errno = 0;
	host = ibv_alloc_mw(mw->pd->fabric, mw->type);
	if (!host)
		return verbs_status(errno ?: EIO);
	mw->rkey = host->rkey;
	mw->fabric = host;
	return PVHCA_ST_OK;
}

void verbs_mw_dealloc(struct mw *mw)
{
	int err = ibv_dealloc_mw(mw->fabric);

	if (err)
		vm_warning(mw->vm, "host memory window could not be freed: %s", log_strerror(err));
}
