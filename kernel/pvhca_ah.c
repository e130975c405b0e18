// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Address handles, and addresses as commands have them.
 *
 * An application's handle is made on the host, which resolves the destination's
 * MAC, and its work names it by pvhcad's handle. A kernel consumer makes its
 * handles where it may not wait for a command; its work carries the address
 * itself (PVHCA_WQE_F_AV).
 */

#include <rdma/ib_cache.h>
#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"

/**
 * pvhca_ah_attr_to_wire - an address for pvhcad
 * @wire: zeroed
 * @ah: address; the core has resolved its source GID
 *
 * Context: any.
 * Return: 0, or -EINVAL without a GRH, which RoCE cannot do without.
 */
int pvhca_ah_attr_to_wire(struct pvhca_av *wire, const struct rdma_ah_attr *ah)
{
	const struct ib_global_route *grh;

	if (!(rdma_ah_get_ah_flags(ah) & IB_AH_GRH))
		return -EINVAL;
	grh = rdma_ah_read_grh(ah);

	memcpy(wire->dgid, grh->dgid.raw, sizeof(wire->dgid));
	wire->flow_label = cpu_to_le32(grh->flow_label);
	wire->sgid_index = grh->sgid_index;
	wire->hop_limit = grh->hop_limit;
	wire->traffic_class = grh->traffic_class;
	wire->sl = rdma_ah_get_sl(ah);
	wire->port = rdma_ah_get_port_num(ah);
	wire->static_rate = rdma_ah_get_static_rate(ah);
	wire->is_global = 1;
	return 0;
}

/**
 * pvhca_ah_attr_from_wire - pvhcad's idea of an address
 * @ah: zeroed
 * @wire: address; not global before a QP was told one
 */
void pvhca_ah_attr_from_wire(struct rdma_ah_attr *ah, const struct pvhca_av *wire)
{
	union ib_gid dgid;

	ah->type = RDMA_AH_ATTR_TYPE_ROCE;
	if (wire->is_global) {
		memcpy(dgid.raw, wire->dgid, sizeof(dgid.raw));
		rdma_ah_set_grh(ah, &dgid, le32_to_cpu(wire->flow_label), wire->sgid_index,
				wire->hop_limit, wire->traffic_class);
	}
	rdma_ah_set_sl(ah, wire->sl);
	rdma_ah_set_port_num(ah, wire->port);
	rdma_ah_set_static_rate(ah, wire->static_rate);
}

/**
 * pvhca_create_ah - ib_device_ops.create_ah, for kernel consumers
 * @ibah: address handle
 * @attr: attributes
 * @udata: NULL
 *
 * Context: any.
 * Return: 0 or -EINVAL.
 */
int pvhca_create_ah(struct ib_ah *ibah, struct rdma_ah_init_attr *attr, struct ib_udata *udata)
{
	struct pvhca_ah *ah = to_pvhca_ah(ibah);

	ah->handle = PVHCA_NO_HANDLE;
	return pvhca_ah_attr_to_wire(&ah->av, attr->ah_attr);
}

/**
 * pvhca_create_user_ah - ib_device_ops.create_user_ah
 * @ibah: address handle
 * @attr: attributes
 * @udata: struct pvhca_create_ah_resp
 *
 * Context: process.
 * Return: 0 or a negative errno; -ETIMEDOUT or -ENETUNREACH if the host does not
 * find the destination.
 */
int pvhca_create_user_ah(struct ib_ah *ibah, struct rdma_ah_init_attr *attr, struct ib_udata *udata)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibah->device);
	struct pvhca_create_ah_resp resp = {};
	struct pvhca_ah *ah = to_pvhca_ah(ibah);
	int err;

	err = ib_is_udata_in_empty(udata);
	if (err)
		return err;
	err = pvhca_ah_attr_to_wire(&ah->av, attr->ah_attr);
	if (err)
		return err;
	err = pvhca_com_create_ah(dev, to_pvhca_pd(ibah->pd)->handle, &ah->av, &ah->handle);
	if (err)
		return err;
	if (!udata)
		return 0;
	resp.ah = ah->handle;
	err = ib_respond_udata(udata, resp);
	if (err)
		pvhca_com_destroy_ah(dev, ah->handle);
	return err;
}

/**
 * pvhca_query_ah - ib_device_ops.query_ah
 * @ibah: address handle
 * @attr: its address
 *
 * Context: any.
 * Return: 0.
 */
int pvhca_query_ah(struct ib_ah *ibah, struct rdma_ah_attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	pvhca_ah_attr_from_wire(attr, &to_pvhca_ah(ibah)->av);
	return 0;
}

/**
 * pvhca_destroy_ah - ib_device_ops.destroy_ah
 * @ibah: address handle
 * @flags: RDMA_DESTROY_AH_SLEEPABLE; always set for an application's
 *
 * Context: any for a kernel consumer's, else process.
 * Return: 0.
 */
int pvhca_destroy_ah(struct ib_ah *ibah, u32 flags)
{
	struct pvhca_ah *ah = to_pvhca_ah(ibah);

	if (ah->handle != PVHCA_NO_HANDLE)
		pvhca_com_destroy_ah(to_pvhca_dev(ibah->device), ah->handle);
	return 0;
}
