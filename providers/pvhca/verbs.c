// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queries and multicast groups: the kernel does the work.
 */
#include "pvhca.h"

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

int pvhca_attach_mcast(struct ibv_qp *ibqp, const union ibv_gid *gid,
		       uint16_t lid)
{
	return ibv_cmd_attach_mcast(ibqp, gid, lid);
}

int pvhca_detach_mcast(struct ibv_qp *ibqp, const union ibv_gid *gid,
		       uint16_t lid)
{
	return ibv_cmd_detach_mcast(ibqp, gid, lid);
}
