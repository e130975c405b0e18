// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queries, protection domains, memory regions: the kernel does the work.
 */
#include <errno.h>
#include <stdlib.h>

#include "pvhca.h"
#include "pvhca-abi.h"

/*
 * The firmware version is a text of the host's, which does not fit the number
 * that uverbs has for it; sysfs gives it whole.
 */
static void read_fw_ver(struct ibv_context *ibctx, char *buf, size_t size)
{
	struct verbs_device *vdev = verbs_get_device(ibctx->device);

	if (ibv_read_ibdev_sysfs_file(buf, size, vdev->sysfs, "fw_ver") <= 0)
		buf[0] = '\0';
}

int pvhca_query_device_ex(struct ibv_context *ibctx,
			  const struct ibv_query_device_ex_input *input,
			  struct ibv_device_attr_ex *attr, size_t attr_size)
{
	int err;

	err = ibv_cmd_query_device_any(ibctx, input, attr, attr_size, NULL,
				       NULL);
	if (err)
		return err;
	read_fw_ver(ibctx, attr->orig_attr.fw_ver,
		    sizeof(attr->orig_attr.fw_ver));
	return 0;
}

int pvhca_query_port(struct ibv_context *ibctx, uint8_t port,
		     struct ibv_port_attr *attr)
{
	struct ibv_query_port cmd;

	return ibv_cmd_query_port(ibctx, port, attr, &cmd, sizeof(cmd));
}

struct ibv_pd *pvhca_alloc_pd(struct ibv_context *ibctx)
{
	struct pvhca_ucmd_alloc_pd_resp resp = {};
	struct ibv_alloc_pd cmd;
	struct pvhca_pd *pd;
	int err;

	pd = calloc(1, sizeof(*pd));
	if (!pd) {
		errno = ENOMEM;
		return NULL;
	}

	err = ibv_cmd_alloc_pd(ibctx, &pd->ibv_pd, &cmd, sizeof(cmd),
			       &resp.ibv_resp, sizeof(resp));
	if (err) {
		free(pd);
		errno = err;
		return NULL;
	}
	return &pd->ibv_pd;
}

int pvhca_dealloc_pd(struct ibv_pd *ibpd)
{
	int err;

	err = ibv_cmd_dealloc_pd(ibpd);
	if (err)
		return err;
	free(to_pvhca_pd(ibpd));
	return 0;
}

struct ibv_mr *pvhca_reg_mr(struct ibv_pd *ibpd, void *addr, size_t length,
			    uint64_t hca_va, int access)
{
	struct pvhca_ucmd_reg_mr_resp resp = {};
	struct ibv_reg_mr cmd;
	struct verbs_mr *vmr;
	int err;

	vmr = calloc(1, sizeof(*vmr));
	if (!vmr) {
		errno = ENOMEM;
		return NULL;
	}

	err = ibv_cmd_reg_mr(ibpd, addr, length, hca_va, access, vmr, &cmd,
			     sizeof(cmd), &resp.ibv_resp, sizeof(resp));
	if (err) {
		free(vmr);
		errno = err;
		return NULL;
	}
	return &vmr->ibv_mr;
}

int pvhca_dereg_mr(struct verbs_mr *vmr)
{
	int err;

	err = ibv_cmd_dereg_mr(vmr);
	if (err)
		return err;
	free(vmr);
	return 0;
}
