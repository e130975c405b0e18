// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory regions: the kernel does the work.
 */
#include <errno.h>
#include <stdlib.h>

#include "compat.h"
#include "pvhca.h"
#include "pvhca-abi.h"

static struct pvhca_mr *alloc_mr(void)
{
	struct pvhca_mr *mr = calloc(1, sizeof(*mr));

	if (!mr)
		errno = ENOMEM;
	return mr;
}

struct ibv_mr *pvhca_reg_mr(struct ibv_pd *ibpd, void *addr, size_t length,
			    uint64_t hca_va, int access)
{
	struct pvhca_ucmd_reg_mr_resp resp = {};
	struct ibv_reg_mr cmd;
	struct pvhca_mr *mr;
	int err;

	mr = alloc_mr();
	if (!mr)
		return NULL;

	err = ibv_cmd_reg_mr(ibpd, addr, length, hca_va, access, &mr->vmr, &cmd,
			     sizeof(cmd), &resp.ibv_resp, sizeof(resp));
	if (err) {
		free(mr);
		errno = err;
		return NULL;
	}
	mr->handle = resp.mr_handle;
	mr->bindable = true;
	return &mr->vmr.ibv_mr;
}

/*
 * The kernel has no way to tell the provider more than the keys here, so windows
 * cannot be bound to such a region.
 */
struct ibv_mr *pvhca_reg_dmabuf_mr(struct ibv_pd *ibpd, uint64_t offset,
				   size_t length, uint64_t iova, int fd,
				   int access)
{
	struct pvhca_mr *mr;
	int err;

	if (access & IBV_ACCESS_MW_BIND) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	mr = alloc_mr();
	if (!mr)
		return NULL;

	err = pvhca_cmd_reg_dmabuf_mr(ibpd, offset, length, iova, fd, access,
				      &mr->vmr);
	if (err) {
		free(mr);
		errno = err;
		return NULL;
	}
	return &mr->vmr.ibv_mr;
}

/* The region's handle stays, its keys may change. */
int pvhca_rereg_mr(struct verbs_mr *vmr, int flags, struct ibv_pd *ibpd,
		   void *addr, size_t length, int access)
{
	struct ib_uverbs_rereg_mr_resp resp;
	struct ibv_rereg_mr cmd;

	return ibv_cmd_rereg_mr(vmr, flags, addr, length, (uintptr_t)addr,
				access, ibpd, &cmd, sizeof(cmd), &resp,
				sizeof(resp));
}

int pvhca_dereg_mr(struct verbs_mr *vmr)
{
	int err;

	err = ibv_cmd_dereg_mr(vmr);
	if (err)
		return err;
	free(to_pvhca_mr(&vmr->ibv_mr));
	return 0;
}
