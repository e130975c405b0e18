// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Multicast: datagram queue pairs receive what is sent to a group.
 */

#include "pvhca.h"
#include "pvhca_com_cmd.h"

/**
 * pvhca_attach_mcast - ib_device_ops.attach_mcast
 * @ibqp: UD
 * @gid: GID of the group
 * @lid: LID of the group; RoCE has none
 *
 * Return: 0 or a negative errno.
 */
int pvhca_attach_mcast(struct ib_qp *ibqp, union ib_gid *gid, u16 lid)
{
	return pvhca_com_attach_mcast(to_pvhca_dev(ibqp->device), to_pvhca_qp(ibqp)->handle, gid,
				      lid);
}

/**
 * pvhca_detach_mcast - ib_device_ops.detach_mcast
 * @ibqp: UD
 * @gid: GID of the group
 * @lid: LID of the group; RoCE has none
 *
 * Return: 0, also on a dead session, where nothing is attached any more; or a
 * negative errno.
 */
int pvhca_detach_mcast(struct ib_qp *ibqp, union ib_gid *gid, u16 lid)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibqp->device);
	int err;

	err = pvhca_com_detach_mcast(dev, to_pvhca_qp(ibqp)->handle, gid, lid);
	return pvhca_dev_is_dead(dev) ? 0 : err;
}
