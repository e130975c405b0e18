/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections between guests and peers that are no VMs of this pvhcad: programs of
 * the host and of other hosts. Verbs fabric only.
 *
 * Theory of operation
 *
 * Guests speak the InfiniBand CM protocol by their GSI QP (gsi/gsi.h). No MAD of
 * theirs leaves pvhcad: what it asks for is asked again of the host's own
 * connection manager through librdmacm, and the host's answers become MADs for
 * the guest. So the host's CM stays the only one on the wire, any engine that it
 * serves will do, and the guest can speak for nobody but itself: source address
 * and QP number are checked to be its own.
 *
 *   guest                     pvhcad                         host, peer
 *   REQ          ->  rdma_resolve_addr, _route, rdma_connect   REQ ->
 *   REP          <-  CONNECT_RESPONSE                       <- REP
 *   RTU          ->  rdma_establish                            RTU ->
 *   REQ          <-  CONNECT_REQUEST of a listener          <- REQ
 *   REP          ->  rdma_accept                               REP ->
 *   RTU          <-  ESTABLISHED                            <- RTU
 *   REJ          <>  REJECTED, rdma_reject
 *   DREQ, DREP   <>  DISCONNECTED, rdma_disconnect
 *   SIDR_REQ/REP <>  the same calls in RDMA_PS_UDP
 *
 * A guest's kernel does not tell on which ports it listens; pvhcad listens for it
 * on those that its settings name (listen=), and the guest's kernel itself
 * refuses what arrives at a port without a listener.
 *
 * Packet sequence numbers: each side's CM message says the first PSN that it
 * expects. The peer's goes through to the guest. Ours is chosen by the host's CM,
 * so the guest's QP must expect that one instead of its own CM's: cm_terms().
 *
 * Addresses: guests see their own, and those of VMs of other hosts that peer= names. The
 * host's CM has the host's in their place. Where a connection is looked for, and in its MADs,
 * stands what the guest sees.
 *
 * Threads: all of this is one thread with a GMainContext, which alone calls
 * librdmacm. Others leave jobs for it: sessions (addresses, begin and end),
 * workers (MADs, a bounded number per VM). It delivers to guests by
 * gsi_deliver(), and waits for nobody.
 *
 *   fabric/verbs/cm/thread.c   the thread, its jobs, what belongs to a session
 *   fabric/verbs/cm/conn.c     connections: finding, timers, end
 *   fabric/verbs/cm/guest.c    what guests say
 *   fabric/verbs/cm/peer.c     what librdmacm says
 *   fabric/verbs/cm/listen.c   ports
 */
#ifndef HOSTD_FABRIC_VERBS_CM_CM_H
#define HOSTD_FABRIC_VERBS_CM_CM_H

#include <stdbool.h>
#include <stdint.h>

struct cm_vm;
struct hash_node;
struct vm;

/*
 * Begin and end, by the fabric. device: name of its host device. Where librdmacm
 * cannot be used that is logged, and no session has connections then.
 */
void cm_start(const char *device);
void cm_stop(void);

/*
 * A VM begins and ends; the session's thread, before and after any worker has it. 0 or -ENOMEM;
 * *to NULL: it has no connections. When cm_vm_close returns nothing of it is left.
 */
int cm_vm_open(struct vm *vm, struct cm_vm **to);
void cm_vm_close(struct cm_vm *cv);

/* All below do nothing where cv is NULL. */

/*
 * Addresses of the guest's. host: the host's address in its place, the same or another;
 * ifindex: the host's interface that has it. cm_gid_add: 0 or -ENOMEM.
 */
int cm_gid_add(struct cm_vm *cv, const uint8_t gid[16], const uint8_t host[16], uint32_t ifindex);
void cm_gid_del(struct cm_vm *cv, const uint8_t gid[16]);

/* Numbers of the guest's QPs, which alone it may connect. node: a part of the QP. */
void cm_qp_add(struct cm_vm *cv, struct hash_node *node, uint32_t qpn);
void cm_qp_del(struct cm_vm *cv, struct hash_node *node);

/* What the host's CM agreed on with a peer: the first PSN from there, and enum ibv_mtu. */
struct cm_terms {
	uint32_t rq_psn;
	uint32_t path_mtu;
};

/* Of the connection with that peer, made or being made; false: there is none. Any thread. */
bool cm_terms(struct cm_vm *cv, const uint8_t peer[16], uint32_t peer_qpn, struct cm_terms *terms);

/*
 * A CM MAD from the guest's address source to a destination that is no VM's. Any
 * worker. False: dropped.
 */
bool cm_send(struct cm_vm *cv, const uint8_t source[16], const uint8_t destination[16],
	     const void *mad);

#endif
