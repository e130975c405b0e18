/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The general services interface: QP 1 of each guest, over which its kernel's
 * connection manager speaks. pvhcad serves it itself, on every fabric.
 *
 * A send is a MAD with an address (struct av). A MAD of the CM class goes to the GSI QP
 * of the VM that has the destination GID. If no VM of this pvhcad has it, the fabric may
 * send it to a native or remote peer (fabric_ops.mad_send). All other MADs are dropped,
 * and so is a MAD that finds no receive posted: MADs are datagrams.
 *
 * One lock for all VMs covers the owners of GIDs and of GSI QPs. It is held for a look-up in
 * one table, whatever other VMs have and do, and for a change of that. A MAD is delivered
 * without it: a worker may use the QP that it found to the end of its pass, since a grace
 * period lies between hide and destroy; other threads hold that QP's delivery. So who floods
 * a VM with MADs, or whose memory is slow, is in the way of that VM alone.
 *
 * Order: qp->lock of the sender (its worker has it), the GSI lock, a QP's delivery; rq_lock
 * of the receiver, cq->lock. The GSI lock and rq_lock are never held together.
 */
#ifndef HOSTD_GSI_GSI_H
#define HOSTD_GSI_GSI_H

#include <stdbool.h>
#include <stdint.h>

#include "fabric/fabric.h"
#include "vm/objects.h"

#define GSI_QPN	    1u
#define GSI_MAD_LEN 256u /* IB vol 1, 13.4.2 */
#define GSI_GRH_LEN 40u

/*
 * Operations of a QP of type PVHCA_QPT_GSI (fabric/fabric.h). create refuses a second
 * one, and any outside the driver's own context.
 */
extern const struct qp_ops gsi_qp_ops;

/*
 * The session's GID table entry index has (no longer) this address; vlan of its interface
 * or PVHCA_NO_VLAN. The session's
 * thread; entries end with gsi_gid_del. gsi_gid_add: PVHCA_ST_OK or NO_MEMORY.
 */
int gsi_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan);
void gsi_gid_del(struct vm *vm, uint32_t index);
/*
 * The VM goes: nobody finds its addresses and its QP any more. A grace period lies between
 * this and the end of the QP and the VM. Entries need no gsi_gid_del after it.
 */
void gsi_hide(struct vm *vm);

/*
 * A MAD of GSI_MAD_LEN bytes to the guest, from a peer that has the GID source,
 * to its own GID destination; any thread but a worker's. False: lost, as the
 * guest has no GSI QP or no receive posted.
 */
bool gsi_deliver(struct vm *vm, const uint8_t source[16], const uint8_t destination[16],
		 const void *mad);

#endif
