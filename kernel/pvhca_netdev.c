// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The network interface that gives the RDMA port its addresses.
 *
 * RoCE takes GIDs, routes and source addresses from a network interface. This one has
 * no other purpose: it needs no ARP, and drops all packets. It stays when pvhcad goes,
 * so that addresses need not be set up again. Its carrier tells the state of the
 * host's port.
 *
 * There is none while the adapter is paired with an interface of the VM: pvhca_pair.c.
 */

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>

#include "pvhca.h"

struct pvhca_netdev {
	struct pvhca_pci *pci;
};

static netdev_tx_t pvhca_netdev_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	dev_kfree_skb_any(skb);
	dev_core_stats_tx_dropped_inc(netdev);
	return NETDEV_TX_OK;
}

/* Set up or down by the administrator: the port goes along, see pvhca_port.c. */
static int pvhca_netdev_switched(struct net_device *netdev)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);
	struct pvhca_pci *pci = priv->pci;

	mutex_lock(&pci->dev_lock);
	if (pci->dev)
		queue_work(pci->wq, &pci->dev->port_work);
	mutex_unlock(&pci->dev_lock);
	return 0;
}

static const struct net_device_ops pvhca_netdev_ops = {
	.ndo_open = pvhca_netdev_switched,
	.ndo_stop = pvhca_netdev_switched,
	.ndo_start_xmit = pvhca_netdev_xmit,
	.ndo_validate_addr = eth_validate_addr,
};

static void pvhca_netdev_get_drvinfo(struct net_device *netdev, struct ethtool_drvinfo *info)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);

	strscpy(info->driver, PVHCA_DRV_NAME, sizeof(info->driver));
	strscpy(info->version, PVHCA_VERSION, sizeof(info->version));
	strscpy(info->bus_info, pci_name(priv->pci->pdev), sizeof(info->bus_info));
}

static const struct ethtool_ops pvhca_netdev_ethtool_ops = {
	.get_drvinfo = pvhca_netdev_get_drvinfo,
	.get_link = ethtool_op_get_link,
};

static void pvhca_netdev_setup(struct net_device *netdev)
{
	netdev->netdev_ops = &pvhca_netdev_ops;
	netdev->ethtool_ops = &pvhca_netdev_ethtool_ops;
	netdev->flags |= IFF_NOARP;
	netdev->priv_flags |= IFF_NO_QUEUE;
	netdev->priv_flags &= ~IFF_TX_SKB_SHARING;
	netdev->max_mtu = ETH_MAX_MTU;
	PVHCA_NETDEV_SET_LLTX(netdev);
}

/* A host that comes back may have another MAC address for the guest. */
static void pvhca_netdev_set_mac(struct net_device *netdev, const u8 *mac)
{
	rtnl_lock();
	if (!ether_addr_equal(netdev->dev_addr, mac)) {
		eth_hw_addr_set(netdev, mac);
		call_netdevice_notifiers(NETDEV_CHANGEADDR, netdev);
	}
	rtnl_unlock();
}

/**
 * pvhca_netdev_create - have a network interface with the host's address
 * @pci: device; it keeps an interface that it has already
 * @mac: address
 *
 * Context: process, without rtnl_lock().
 * Return: 0 or a negative errno.
 */
int pvhca_netdev_create(struct pvhca_pci *pci, const u8 *mac)
{
	struct pvhca_netdev *priv;
	struct net_device *netdev;
	int err;

	if (!is_valid_ether_addr(mac)) {
		dev_err_ratelimited(&pci->pdev->dev, "the host gave an invalid MAC address: %pM\n",
				    mac);
		return -EINVAL;
	}
	if (pci->netdev) {
		pvhca_netdev_set_mac(pci->netdev, mac);
		return 0;
	}

	netdev = alloc_etherdev(sizeof(*priv));
	if (!netdev)
		return -ENOMEM;
	priv = netdev_priv(netdev);
	priv->pci = pci;
	strscpy(netdev->name, PVHCA_DRV_NAME "%d", sizeof(netdev->name));
	SET_NETDEV_DEV(netdev, &pci->pdev->dev);
	pvhca_netdev_setup(netdev);
	eth_hw_addr_set(netdev, mac);
	netif_carrier_off(netdev);

	err = register_netdev(netdev);
	if (err) {
		free_netdev(netdev);
		return err;
	}
	pci->netdev = netdev;
	return 0;
}

/**
 * pvhca_netdev_destroy - give the interface up
 * @pci: device without a session
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_netdev_destroy(struct pvhca_pci *pci)
{
	if (!pci->netdev)
		return;
	unregister_netdev(pci->netdev);
	free_netdev(pci->netdev);
	pci->netdev = NULL;
}

/**
 * pvhca_netdev_is_own - is an interface one of this driver's?
 * @netdev: the interface
 *
 * Context: any.
 */
bool pvhca_netdev_is_own(const struct net_device *netdev)
{
	return netdev->netdev_ops == &pvhca_netdev_ops;
}

/**
 * pvhca_netdev_set_link - the port went up or down
 * @pci: device
 * @up: which of them
 *
 * Context: process, with or without rtnl_lock().
 */
void pvhca_netdev_set_link(struct pvhca_pci *pci, bool up)
{
	if (!pci->netdev)
		return;
	if (up)
		netif_carrier_on(pci->netdev);
	else
		netif_carrier_off(pci->netdev);
}

/**
 * pvhca_netdev_set_mtu - follow the host's MTU
 * @pci: device
 * @mtu: MTU of the interface, bytes
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_netdev_set_mtu(struct pvhca_pci *pci, u32 mtu)
{
	int err = 0;

	rtnl_lock();
	if (pci->netdev->mtu != mtu)
		err = dev_set_mtu(pci->netdev, mtu);
	rtnl_unlock();
	if (err && net_ratelimit())
		netdev_warn(pci->netdev, "MTU %u of the host cannot be set: %d\n", mtu, err);
}
