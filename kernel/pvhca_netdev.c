// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The network interface that gives the RDMA port its addresses.
 *
 * RoCE takes GIDs, routes and source addresses from a network interface. This one also
 * carries IP packets to the other VMs of this pvhcad, which finds them by address: there
 * is no ARP, and multicast and broadcast reach nobody (pvhca_netq.c). It stays when pvhcad
 * goes, so that addresses need not be set up again. Its carrier tells the state of the
 * host's port. A packet that nothing can carry is answered at once, as if a router had no
 * way for it.
 *
 * There is none while the adapter is paired with an interface of the VM: pvhca_pair.c.
 */

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <net/dst.h>

#include "pvhca.h"

/* The longest packet; what jumbo frames are in most data centres. */
#define PVHCA_NETDEV_MAX_MTU 9216

/**
 * struct pvhca_netdev - the interface
 * @pci: device
 * @dev: session that is registered, or NULL; under rtnl_lock()
 * @netq: carries packets; NULL: nothing does. Changed under rtnl_lock() and
 *	netif_tx_lock()
 * @host_mtu: that the host had last; 0: not known
 */
struct pvhca_netdev {
	struct pvhca_pci *pci;
	struct pvhca_dev *dev;
	struct pvhca_netq *netq;
	u32 host_mtu;
};

/* ---------------------------------- packets -------------------------------- */

static bool pvhca_netdev_is_carried(const struct sk_buff *skb)
{
	return (skb->protocol == htons(ETH_P_IP) || skb->protocol == htons(ETH_P_IPV6)) &&
		!is_multicast_ether_addr(((const struct ethhdr *)skb->data)->h_dest);
}

static netdev_tx_t pvhca_netdev_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);

	if (!pvhca_netdev_is_carried(skb))
		goto drop;
	if (unlikely(!priv->netq)) {
		dst_link_failure(skb);
		goto drop;
	}
	pvhca_netq_xmit(priv->netq, skb);
	return NETDEV_TX_OK;

drop:
	netdev->stats.tx_dropped++;
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

/* Packets of this queue from now on; NULL: they are answered. Returns the one of before. */
static struct pvhca_netq *pvhca_netdev_set_netq(struct net_device *netdev, struct pvhca_netq *netq)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);
	struct pvhca_netq *old;

	netif_tx_lock_bh(netdev);
	old = priv->netq;
	priv->netq = netq;
	netif_tx_unlock_bh(netdev);
	return old;
}

/* Have packets carried, if the interface is up and there is a session. */
static int pvhca_netdev_carry(struct net_device *netdev)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);
	struct pvhca_netq *netq;

	if (!priv->dev || priv->netq || !pvhca_netq_is_offered(priv->dev))
		return 0;
	netq = pvhca_netq_create(priv->dev, netdev);
	if (IS_ERR(netq)) {
		if (!pvhca_dev_is_dead(priv->dev))
			netdev_err(netdev, "no packets are carried: %ld\n", PTR_ERR(netq));
		return PTR_ERR(netq);
	}
	pvhca_netdev_set_netq(netdev, netq);
	netif_wake_queue(netdev);
	return 0;
}

static void pvhca_netdev_carry_no_more(struct net_device *netdev)
{
	struct pvhca_netq *netq = pvhca_netdev_set_netq(netdev, NULL);

	if (!netq)
		return;
	pvhca_netq_destroy(netq);
	/* It may have stopped it. */
	netif_wake_queue(netdev);
}

/**
 * pvhca_netdev_attach - a session can carry packets
 * @dev: session, registered
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_netdev_attach(struct pvhca_dev *dev)
{
	struct net_device *netdev = dev->pci->netdev;
	struct pvhca_netdev *priv;

	if (!netdev)
		return;
	priv = netdev_priv(netdev);
	rtnl_lock();
	priv->dev = dev;
	/* This pvhcad may know less or more than the one before. */
	netdev_update_features(netdev);
	/* The log has a failure; RDMA does without. */
	if (netif_running(netdev))
		pvhca_netdev_carry(netdev);
	rtnl_unlock();
}

/**
 * pvhca_netdev_detach - undo it
 * @dev: session, dead
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_netdev_detach(struct pvhca_dev *dev)
{
	struct net_device *netdev = dev->pci->netdev;
	struct pvhca_netdev *priv;

	if (!netdev)
		return;
	priv = netdev_priv(netdev);
	rtnl_lock();
	pvhca_netdev_carry_no_more(netdev);
	priv->dev = NULL;
	rtnl_unlock();
}

/* -------------------------------- the interface ---------------------------- */

/* Set up or down by the administrator: the port goes along, see pvhca_port.c. */
static void pvhca_netdev_switched(struct net_device *netdev)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);
	struct pvhca_pci *pci = priv->pci;

	mutex_lock(&pci->dev_lock);
	if (pci->dev)
		queue_work(pci->wq, &pci->dev->port_work);
	mutex_unlock(&pci->dev_lock);
}

static int pvhca_netdev_open(struct net_device *netdev)
{
	/* As in pvhca_netdev_attach(). */
	pvhca_netdev_carry(netdev);
	netif_start_queue(netdev);
	pvhca_netdev_switched(netdev);
	return 0;
}

static int pvhca_netdev_stop(struct net_device *netdev)
{
	pvhca_netdev_carry_no_more(netdev);
	netif_stop_queue(netdev);
	pvhca_netdev_switched(netdev);
	return 0;
}

/* Receives have the length of the MTU, and so all are made anew. */
static int pvhca_netdev_change_mtu(struct net_device *netdev, int mtu)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);
	int old = netdev->mtu;
	int err;

	if (!priv->netq) {
		WRITE_ONCE(netdev->mtu, mtu);
		return 0;
	}
	pvhca_netdev_carry_no_more(netdev);
	WRITE_ONCE(netdev->mtu, mtu);
	err = pvhca_netdev_carry(netdev);
	if (!err)
		return 0;
	WRITE_ONCE(netdev->mtu, old);
	pvhca_netdev_carry(netdev);
	return err;
}

static netdev_features_t pvhca_netdev_fix_features(struct net_device *netdev,
						   netdev_features_t features)
{
	struct pvhca_netdev *priv = netdev_priv(netdev);

	ASSERT_RTNL();
	if (!priv->dev || !(priv->dev->features & PVHCA_FEATURE_NET_TSO))
		features &= ~(NETIF_F_TSO | NETIF_F_TSO6);
	return features;
}

/* Of packets that are not for pvhcad to cut the kernel makes segments before. */
static netdev_features_t pvhca_netdev_features_check(struct sk_buff *skb, struct net_device *netdev,
						     netdev_features_t features)
{
	if (skb_is_gso(skb) && !pvhca_netq_can_segment(skb))
		features &= ~NETIF_F_GSO_MASK;
	return vlan_features_check(skb, features);
}

static const struct net_device_ops pvhca_netdev_ops = {
	.ndo_open = pvhca_netdev_open,
	.ndo_stop = pvhca_netdev_stop,
	.ndo_start_xmit = pvhca_netdev_xmit,
	.ndo_change_mtu = pvhca_netdev_change_mtu,
	.ndo_fix_features = pvhca_netdev_fix_features,
	.ndo_features_check = pvhca_netdev_features_check,
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
	/* Nobody would get what goes to all or to a group, so that no program may ask for it. */
	netdev->flags = IFF_NOARP;
	netdev->priv_flags &= ~IFF_TX_SKB_SHARING;
	netdev->hw_features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6;
	netdev->vlan_features = netdev->hw_features | NETIF_F_HIGHDMA;
	/* pvhcad needs no tag: it goes by the address. */
	netdev->features = netdev->vlan_features | NETIF_F_HW_VLAN_CTAG_TX |
		NETIF_F_HW_VLAN_CTAG_RX;
	netdev->min_mtu = PVHCA_NET_MIN_MTU;
	netdev->max_mtu = PVHCA_NETDEV_MAX_MTU;
	netif_set_tso_max_size(netdev, PVHCA_NETQ_MAX_TSO);
	/* Of packets that cannot be sent: dst_link_failure(). */
	netif_keep_dst(netdev);
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
 * What the administrator sets stays until the host's changes.
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_netdev_set_mtu(struct pvhca_pci *pci, u32 mtu)
{
	struct pvhca_netdev *priv = netdev_priv(pci->netdev);
	int err = 0;

	mtu = clamp_t(u32, mtu, PVHCA_NET_MIN_MTU, PVHCA_NETDEV_MAX_MTU);
	rtnl_lock();
	if (priv->host_mtu != mtu && pci->netdev->mtu != mtu)
		err = dev_set_mtu(pci->netdev, mtu);
	priv->host_mtu = mtu;
	rtnl_unlock();
	if (err && net_ratelimit())
		netdev_warn(pci->netdev, "MTU %u of the host cannot be set: %d\n", mtu, err);
}
