/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IP packets between the VMs of this pvhcad, for the network interface that the driver
 * makes: QP 0 of each guest, on every fabric. enum pvhca_qp_type has the ABI.
 *
 * The sender's worker does all the work of a packet, in the sender's turn. It copies the head
 * of the packet once, checks it, and finds the receiver by the address. Then it copies the
 * packet into the receiver's next entry, and completes both. A packet goes only from an
 * address that its VM has to an address that a VM has. For anything else the sender gets an
 * ICMP error at once, in a receive of its own. A packet that finds no receive is lost, as on
 * a wire. The less room a receiver has, the less of it one sender may take (net/deliver.c), so
 * who floods it keeps nobody else's packets away.
 *
 * Addresses, and the QP of a VM, are found by RCU. They end like this: taken out of sight, a
 * grace period, freed. Locks, outer first: qp->lock of the sender, rq_lock of the receiver,
 * cq->lock. The writers of the table of addresses have a lock of their own, inside vm->lock.
 */
#ifndef HOSTD_NET_NET_H
#define HOSTD_NET_NET_H

#include <stdint.h>

#include "fabric/fabric.h"
#include "vm/objects.h"

/*
 * Operations of a QP of type PVHCA_QPT_NET (fabric/fabric.h). create refuses a second one, and
 * any outside the driver's own context.
 */
extern const struct qp_ops net_qp_ops;

/*
 * The entry index of the VM's GID table has (no longer) this address; vlan of its interface or
 * PVHCA_NO_VLAN. vm->gids[index] keeps it. net_gid_add: PVHCA_ST_OK or NO_MEMORY. Between
 * net_gid_hide, or net_hide, and net_gid_del the caller waits for a grace period. Whoever carries
 * out a command of the VM.
 */
int net_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan);
void net_gid_hide(struct vm *vm, uint32_t index);
void net_gid_del(struct vm *vm, uint32_t index);

/*
 * The VM goes: no other VM's worker finds its addresses or its QP after the next grace period,
 * for which the caller waits.
 */
void net_hide(struct vm *vm);

#endif
