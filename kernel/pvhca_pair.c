// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The network interface of the virtual machine that the adapter is paired with.
 *
 * If pvhcad says so, the adapter has no interface of its own (pvhca_netdev.c). It belongs
 * to the one with a certain permanent MAC address, so that TCP and RDMA have one address.
 * That interface has other owners. It may come later than the adapter, or go, or move to
 * another network namespace, where it goes and comes.
 *
 * Only an interface with a device behind it counts. Bonds, bridges, VLANs, macvlans and
 * the masters of failover pairs take over the address of an interface below them; the
 * first four have no device, the last is told by a flag.
 *
 * A notifier hears of the interfaces of all namespaces. The RDMA core holds a reference
 * while the interface is attached to a port, and whoever removes the interface waits for
 * that. So at NETDEV_UNREGISTER the session dies, at once, and commands that wait for
 * pvhcad end; pvhca_attach.c detaches the interface before it does anything that may
 * take time. The notifier itself does not detach: it runs with rtnl_lock() held, and
 * attaching takes locks of the core's that are held around rtnl_lock() elsewhere.
 */

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>

#include "pvhca.h"

static bool pvhca_pair_matches(const struct pvhca_pair *pair, const struct net_device *netdev)
{
	return netdev->type == ARPHRD_ETHER && netdev->dev.parent && !netif_is_failover(netdev) &&
		!pvhca_netdev_is_own(netdev) && ether_addr_equal(netdev->perm_addr, pair->mac);
}

/* Have the port's users told of what has changed. */
static void pvhca_pair_changed(struct pvhca_pci *pci)
{
	mutex_lock(&pci->dev_lock);
	if (pci->dev)
		queue_work(pci->wq, &pci->dev->port_work);
	mutex_unlock(&pci->dev_lock);
}

/* With rtnl_lock(). */
static void pvhca_pair_follow(struct pvhca_pci *pci)
{
	struct pvhca_pair *pair = &pci->pair;
	bool up = netif_running(pair->netdev) && netif_carrier_ok(pair->netdev);
	u32 mtu = READ_ONCE(pair->netdev->mtu);

	if (up == pair->up && mtu == pair->mtu)
		return;
	WRITE_ONCE(pair->up, up);
	WRITE_ONCE(pair->mtu, mtu);
	pvhca_pair_changed(pci);
}

static void pvhca_pair_found(struct pvhca_pci *pci, struct net_device *netdev)
{
	struct pvhca_pair *pair = &pci->pair;

	if (pair->netdev) {
		netdev_warn(netdev, "has address %pM, too; %s is paired with %s\n", pair->mac,
			    pci_name(pci->pdev), netdev_name(pair->netdev));
		return;
	}
	pair->netdev = netdev;
	pvhca_pair_follow(pci);
	if (!READ_ONCE(pci->stopping))
		mod_delayed_work(pci->wq, &pci->attach_work, 0);
}

static void pvhca_pair_lost(struct pvhca_pci *pci)
{
	struct pvhca_pair *pair = &pci->pair;

	pair->netdev = NULL;
	WRITE_ONCE(pair->up, false);
	if (!READ_ONCE(pair->active))
		return;
	mutex_lock(&pci->dev_lock);
	if (pci->dev) {
		WRITE_ONCE(pci->dev->pair_lost, true);
		pvhca_dev_kill(pci->dev, "the network interface that it is paired with is gone");
	}
	mutex_unlock(&pci->dev_lock);
}

static int pvhca_pair_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct pvhca_pci *pci = container_of(nb, struct pvhca_pci, pair.nb);
	struct net_device *netdev = netdev_notifier_info_to_dev(ptr);

	if (event == NETDEV_REGISTER) {
		if (pvhca_pair_matches(&pci->pair, netdev))
			pvhca_pair_found(pci, netdev);
	} else if (netdev == pci->pair.netdev) {
		if (event == NETDEV_UNREGISTER)
			pvhca_pair_lost(pci);
		else
			pvhca_pair_follow(pci);
	}
	return NOTIFY_DONE;
}

/**
 * pvhca_pair_start - look for the interface from now on
 * @pci: device without a registered ib_device
 * @mac: permanent address of the interface
 *
 * An interface that is there already is found before this returns.
 *
 * Context: process, without rtnl_lock().
 * Return: 0 or a negative errno.
 */
int pvhca_pair_start(struct pvhca_pci *pci, const u8 *mac)
{
	struct pvhca_pair *pair = &pci->pair;
	int err;

	if (!is_valid_ether_addr(mac)) {
		dev_err_ratelimited(&pci->pdev->dev,
				    "pvhcad pairs with an invalid MAC address: %pM\n", mac);
		return -EINVAL;
	}
	if (pair->active && ether_addr_equal(pair->mac, mac))
		return 0;
	pvhca_pair_stop(pci);
	ether_addr_copy(pair->mac, mac);
	pair->nb.notifier_call = pvhca_pair_event;
	WRITE_ONCE(pair->active, true);
	/* It is told of all interfaces that are there. */
	err = register_netdevice_notifier(&pair->nb);
	if (err)
		WRITE_ONCE(pair->active, false);
	return err;
}

/**
 * pvhca_pair_stop - forget the interface, and look for none
 * @pci: device without a registered ib_device
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_pair_stop(struct pvhca_pci *pci)
{
	if (!pci->pair.active)
		return;
	/* First: the notifier is told that all interfaces go. */
	WRITE_ONCE(pci->pair.active, false);
	unregister_netdevice_notifier(&pci->pair.nb);
}

/**
 * pvhca_pair_is_there - has the interface been found?
 * @pci: device
 *
 * Context: process, without rtnl_lock().
 * Return: true if it is there. It may go at once; then the session dies.
 */
bool pvhca_pair_is_there(struct pvhca_pci *pci)
{
	bool there;

	rtnl_lock();
	there = pci->pair.netdev;
	rtnl_unlock();
	return there;
}

/**
 * pvhca_pair_attach - attach the interface to the port
 * @dev: session, not registered yet
 *
 * Context: process, without rtnl_lock().
 * Return: 0; -ENODEV if the interface is not there; another negative errno.
 */
int pvhca_pair_attach(struct pvhca_dev *dev)
{
	struct net_device *netdev;
	int err = -ENODEV;

	/* An interface that goes after this finds the session, and ends it. */
	rtnl_lock();
	netdev = dev->pci->pair.netdev;
	if (netdev)
		err = ib_device_set_netdev(&dev->ibdev, netdev, PVHCA_PORT);
	if (!err)
		dev_info_ratelimited(&dev->pci->pdev->dev, "paired with %s, address %pM\n",
				     netdev_name(netdev), dev->pci->pair.mac);
	rtnl_unlock();
	return err;
}

/**
 * pvhca_pair_detach - let go of the interface
 * @dev: dead session
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_pair_detach(struct pvhca_dev *dev)
{
	ib_device_set_netdev(&dev->ibdev, NULL, PVHCA_PORT);
}

/**
 * pvhca_pair_has_speed - does the interface know its speed?
 * @pci: device
 *
 * Many virtual interfaces do not. ib_get_eth_speed() would complain of each of them,
 * in each query.
 *
 * Context: process, without rtnl_lock().
 */
bool pvhca_pair_has_speed(struct pvhca_pci *pci)
{
	struct ethtool_link_ksettings settings;
	bool known;

	rtnl_lock();
	known = pci->pair.netdev && !__ethtool_get_link_ksettings(pci->pair.netdev, &settings) &&
		settings.base.speed && settings.base.speed != (u32)SPEED_UNKNOWN;
	rtnl_unlock();
	return known;
}
