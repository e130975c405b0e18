/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this room. Other rooms use net/net.h, which has the order of locks. */
#ifndef HOSTD_NET_PRIVATE_H
#define HOSTD_NET_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"
#include "net/packet.h"
#include "rdma/pvhca-abi.h"
#include "vm/pass.h"
#include "vm/vm.h"

#define NET_QPN	    0u
#define NET_BATCH   64u /* entries of one call */
#define NET_SENDERS 16u /* classes of senders that a receiver tells apart */

/**
 * struct net - a NET QP's part
 * @failed: an entry of it completed in error: the state is to become ERR
 * @broken: rings were abused; not served any more. Under qp->lock
 * @tso: PVHCA_FEATURE_NET_TSO is in use; constant
 * @next_piece: of the packet at the send queue's ci, which stands for several: those before it
 *	are sent. Under qp->lock
 * @recent: of the receives taken lately, how many each class of senders took; under rq_lock
 * @recent_total: their sum
 * @inline_data: of the send that is being served
 */
struct net {
	atomic_bool failed;
	bool broken;
	bool tso;
	uint32_t next_piece;
	uint32_t recent[NET_SENDERS];
	uint32_t recent_total;
	uint8_t inline_data[PVHCA_GRANULE];
};

/* An address of a VM; RCU. */
struct net_address;

/* -------------------------------- net/route.c ------------------------------ */

/* Has the VM this address? In an RCU read section, as the next. */
bool net_owns(const struct vm *vm, const uint8_t gid[16]);
/*
 * The VM in the network of from that has it, and the VLAN of its interface there; NULL: none. If
 * several VMs have it and from is one of them, it is from itself (gsi_route() has the same).
 */
struct vm *net_route(const struct vm *from, const uint8_t gid[16], uint16_t *vlan);

/* --------------------------------- net/net.c ------------------------------- */

/*
 * Complete a send or a receive, as cqe->opcode says. False: the guest has more outstanding than
 * its queues hold.
 */
bool net_complete(struct pass *pass, struct qp *qp, struct pvhca_cqe *cqe);
/* An entry is wrong: its own worker makes ERR the state, and flushes. Any worker. */
void net_fail(struct qp *qp);
/* The guest's fault; the QP is not served any more. Any worker. */
void net_abused(struct qp *qp);

/* ------------------------------ net/deliver.c ------------------------------ */

enum net_delivery {
	NET_DELIVERED,
	NET_FULL,    /* no receive is there for this sender: the packet is lost */
	NET_NOBODY,  /* the VM has no such QP, or a broken one */
	NET_TOO_BIG, /* the receive is too small; its size is told */
	NET_CUT,     /* the receiver takes only the pieces that the packet stands for */
	NET_BAD,     /* the sender's own memory: no guest RAM */
	NET_LATER,   /* of its pieces some are to be sent in the next turn */
};

/**
 * struct net_load - a packet on its way
 * @vm: the sender
 * @packet: its head, checked, and its length
 * @sge, @num_sge: all of it, in the sender's RAM
 * @data: or else it stands here
 * @rest: bytes at the beginning of @sge or @data that @packet.head stands for
 * @next_piece: as struct net has it
 * @checksum: struct pvhca_sq_wqe.remote_qpn, checked
 */
struct net_load {
	struct vm *vm;
	struct packet packet;
	struct ibv_sge sge[PVHCA_NET_MAX_SGE];
	unsigned int num_sge;
	const uint8_t *data;
	uint32_t rest;
	uint32_t next_piece;
	uint32_t checksum;
};

/*
 * Give a VM a packet, or length bytes at data if load->data is that. In an RCU read section.
 * mtu: with NET_TOO_BIG.
 */
enum net_delivery net_deliver(struct pass *pass, struct vm *to, uint16_t vlan,
			      const struct net_load *load, uint32_t *mtu);
/* Copy from the sender's RAM, which is not trusted to be there. */
bool net_read_head(struct net_load *load);
/* The QP is in error. Returns the number flushed, a batch at most; the next call goes on. */
unsigned int net_flush_receives(struct pass *pass, struct qp *qp);

/* -------------------------------- net/send.c ------------------------------- */

/* Serve, or flush, the send queue; likewise. */
unsigned int net_serve_sends(struct pass *pass, struct qp *qp);

#endif
