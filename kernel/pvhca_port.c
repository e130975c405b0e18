// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The port, of which there is one: RoCE v2, with its GID table.
 *
 * The core keeps the GID table from the addresses of the network interface;
 * pvhcad is asked for each entry and may refuse it, and then the core leaves the
 * entry empty.
 *
 * The port is up while both sides want it: the host's port is active, and the guest's
 * administrator has not set the network interface down. The carrier of the adapter's own
 * interface tells of the host's port alone. An interface that the adapter is paired with
 * has a carrier, an MTU and perhaps a speed of its own, which the port follows.
 */

#include <rdma/ib_addr.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_mad.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"

/* struct pvhca_av has eight bits for an index. */
#define PVHCA_MAX_GIDS 256

static void pvhca_port_dispatch(struct pvhca_dev *dev, enum ib_event_type type)
{
	struct ib_event event = {
		.device = &dev->ibdev,
		.element.port_num = PVHCA_PORT,
		.event = type,
	};

	if (READ_ONCE(dev->registered))
		ib_dispatch_event(&event);
}

static bool pvhca_port_is_enabled(struct pvhca_dev *dev)
{
	if (pvhca_is_paired(dev))
		return READ_ONCE(dev->pci->pair.up);
	return netif_running(dev->pci->netdev);
}

/*
 * Events tell the state of the port, and so do answers to queries, which may overtake
 * events. Users of the port are told each change once.
 */
static void pvhca_port_set_up(struct pvhca_dev *dev, bool up)
{
	if (atomic_xchg(&dev->port_up, up) != up)
		pvhca_port_dispatch(dev, up ? IB_EVENT_PORT_ACTIVE : IB_EVENT_PORT_ERR);
}

/**
 * pvhca_port_async_event - something happened to the host's port
 * @dev: session
 * @event: enum pvhca_async_event
 *
 * Context: admin interrupt.
 */
void pvhca_port_async_event(struct pvhca_dev *dev, u32 event)
{
	if (event == PVHCA_EVENT_GID_CHANGE)
		WRITE_ONCE(dev->gids_changed, true);
	/* The port is looked at anew after registration: pvhca_attach(). */
	if (!READ_ONCE(dev->registered))
		return;

	switch (event) {
	case PVHCA_EVENT_PORT_ACTIVE:
	case PVHCA_EVENT_PORT_ERR:
		pvhca_port_set_up(dev,
				  event == PVHCA_EVENT_PORT_ACTIVE && pvhca_port_is_enabled(dev));
		break;
	case PVHCA_EVENT_PORT_ATTR:
		break;
	default:
		pvhca_port_dispatch(dev, (enum ib_event_type)event);
	}
	queue_work(dev->pci->wq, &dev->port_work);
}

/**
 * pvhca_port_update - have the network interface and users of the port follow it
 * @dev: session
 *
 * Context: process, without rtnl_lock().
 * Return: 0 or a negative errno.
 */
int pvhca_port_update(struct pvhca_dev *dev)
{
	struct pvhca_rsp_query_port port;
	int err;

	err = pvhca_com_query_port(dev, PVHCA_PORT, &port);
	if (err)
		return err;
	if (port.netdev_mtu && dev->pci->netdev)
		pvhca_netdev_set_mtu(dev->pci, le32_to_cpu(port.netdev_mtu));
	pvhca_netdev_set_link(dev->pci, port.state == IB_PORT_ACTIVE);
	pvhca_port_set_up(dev, port.state == IB_PORT_ACTIVE && pvhca_port_is_enabled(dev));
	return 0;
}

/**
 * pvhca_port_work - after an event of the port, or of the network interface
 * @work: port_work of the session
 */
void pvhca_port_work(struct work_struct *work)
{
	struct pvhca_dev *dev = container_of(work, struct pvhca_dev, port_work);

	/* Before that, pvhca_dev_start() is still to look at the port itself. */
	if (!READ_ONCE(dev->registered))
		return;
	if (pvhca_port_update(dev))
		return;
	/* An address that the host did not have may be there now. */
	if (xchg(&dev->gids_changed, false))
		rdma_roce_rescan_device(&dev->ibdev);
}

/**
 * pvhca_report_port_event - ib_device_ops.report_port_event
 * @ibdev: device
 * @netdev: its interface
 * @event: NETDEV_*
 *
 * It does nothing, but without it the core would report the interface's state to users
 * of the port. pvhca_port_work() reports the port's: the core does not know the host's.
 */
void pvhca_report_port_event(struct ib_device *ibdev, struct net_device *netdev,
			     unsigned long event)
{
}

/* What the interface that the adapter is paired with has to say. */
static void pvhca_port_follow_pair(struct pvhca_dev *dev, struct ib_port_attr *attr)
{
	enum ib_mtu mtu = iboe_get_mtu(READ_ONCE(dev->pci->pair.mtu));

	attr->active_mtu = min(attr->active_mtu, max(mtu, IB_MTU_256));
	/* It leaves both as they are if the interface goes meanwhile. */
	if (pvhca_pair_has_speed(dev->pci))
		ib_get_eth_speed(&dev->ibdev, PVHCA_PORT, &attr->active_speed, &attr->active_width);
}

/**
 * pvhca_query_port - ib_device_ops.query_port
 * @ibdev: device
 * @port: number
 * @attr: zeroed by the core
 *
 * Context: process, without rtnl_lock().
 * Return: 0 or a negative errno.
 */
int pvhca_query_port(struct ib_device *ibdev, u32 port, struct ib_port_attr *attr)
{
	struct pvhca_rsp_query_port host;
	int err;

	err = pvhca_com_query_port(to_pvhca_dev(ibdev), port, &host);
	if (err)
		return err;

	attr->state = (enum ib_port_state)host.state;
	attr->phys_state = host.phys_state;
	if (!pvhca_port_is_enabled(to_pvhca_dev(ibdev))) {
		attr->state = IB_PORT_DOWN;
		attr->phys_state = IB_PORT_PHYS_STATE_DISABLED;
	}
	attr->max_mtu = (enum ib_mtu)host.max_mtu;
	attr->active_mtu = (enum ib_mtu)host.active_mtu;
	attr->active_width = host.active_width;
	attr->active_speed = le16_to_cpu(host.active_speed);
	attr->max_vl_num = host.max_vl_num;
	attr->max_msg_sz = le32_to_cpu(host.max_msg_sz);
	attr->pkey_tbl_len = PVHCA_PKEYS;
	attr->gid_tbl_len = min_t(u32, le32_to_cpu(host.gid_tbl_len), PVHCA_MAX_GIDS);
	attr->port_cap_flags = le32_to_cpu(host.port_cap_flags);
	attr->ip_gids = true;
	if (pvhca_is_paired(to_pvhca_dev(ibdev)))
		pvhca_port_follow_pair(to_pvhca_dev(ibdev), attr);
	return 0;
}

/**
 * pvhca_query_port_speed - ib_device_ops.query_port_speed
 * @ibdev: device
 * @port: number
 * @speed: of the port, in 100 Mb/s; 0 while it is down
 *
 * Return: 0 or a negative errno.
 */
int pvhca_query_port_speed(struct ib_device *ibdev, u32 port, u64 *speed)
{
	struct ib_port_speed_info info;
	struct ib_port_attr attr = {};
	int err;

	err = pvhca_query_port(ibdev, port, &attr);
	if (err)
		return err;
	*speed = 0;
	if (attr.state == IB_PORT_DOWN)
		return 0;
	err = ib_port_attr_to_speed_info(&attr, &info);
	if (err)
		return err;
	*speed = info.rate;
	return 0;
}

/**
 * pvhca_get_port_immutable - ib_device_ops.get_port_immutable
 * @ibdev: device
 * @port: number
 * @immutable: attributes that are constant while the device is registered
 *
 * Return: 0 or a negative errno.
 */
int pvhca_get_port_immutable(struct ib_device *ibdev, u32 port, struct ib_port_immutable *immutable)
{
	struct ib_port_attr attr;
	int err;

	immutable->core_cap_flags = RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP;
	immutable->max_mad_size = IB_MGMT_MAD_SIZE;
	err = ib_query_port(ibdev, port, &attr);
	if (err)
		return err;
	immutable->pkey_tbl_len = attr.pkey_tbl_len;
	immutable->gid_tbl_len = attr.gid_tbl_len;
	return 0;
}

/**
 * pvhca_get_link_layer - ib_device_ops.get_link_layer
 * @ibdev: device
 * @port: number
 *
 * Return: the link layer.
 */
enum rdma_link_layer pvhca_get_link_layer(struct ib_device *ibdev, u32 port)
{
	return IB_LINK_LAYER_ETHERNET;
}

/**
 * pvhca_query_pkey - ib_device_ops.query_pkey
 * @ibdev: device
 * @port: number
 * @index: in the table
 * @pkey: the default partition's
 *
 * Return: 0 or -EINVAL.
 */
int pvhca_query_pkey(struct ib_device *ibdev, u32 port, u16 index, u16 *pkey)
{
	if (index >= PVHCA_PKEYS)
		return -EINVAL;
	*pkey = IB_DEFAULT_PKEY_FULL;
	return 0;
}

/**
 * pvhca_add_gid - ib_device_ops.add_gid
 * @attr: entry
 * @context: not used
 *
 * Context: process, may be with rtnl_lock() held.
 * Return: 0 or a negative errno.
 */
int pvhca_add_gid(const struct ib_gid_attr *attr, void **context)
{
	struct pvhca_dev *dev = to_pvhca_dev(attr->device);
	u16 vlan;
	int err;

	err = rdma_read_gid_l2_fields(attr, &vlan, NULL);
	if (err)
		return err;
	if (attr->gid_type != IB_GID_TYPE_ROCE_UDP_ENCAP)
		return -EOPNOTSUPP;
	if (vlan != PVHCA_NO_VLAN && !(dev->features & PVHCA_FEATURE_VLAN))
		return -EOPNOTSUPP;

	err = pvhca_com_add_gid(dev, attr->port_num, attr->index, &attr->gid, vlan);
	if (err && !pvhca_dev_is_dead(dev))
		ibdev_warn_ratelimited(&dev->ibdev,
				       "the host does not let this guest use address %pI6c: %d\n",
				       attr->gid.raw, err);
	return err;
}

/**
 * pvhca_del_gid - ib_device_ops.del_gid
 * @attr: entry
 * @context: not used
 *
 * Context: process, may be with rtnl_lock() held.
 * Return: 0.
 */
int pvhca_del_gid(const struct ib_gid_attr *attr, void **context)
{
	struct pvhca_dev *dev = to_pvhca_dev(attr->device);
	int err;

	/* The core empties the entry in any case. */
	err = pvhca_com_del_gid(dev, attr->port_num, attr->index);
	if (err && !pvhca_dev_is_dead(dev))
		ibdev_warn_ratelimited(&dev->ibdev, "GID %u could not be removed on the host: %d\n",
				       attr->index, err);
	return 0;
}
