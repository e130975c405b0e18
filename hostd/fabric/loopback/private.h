/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loopback fabric: RDMA between the QPs of one pvhcad, by one copy straight
 * from one guest's memory into the other's.
 *
 * Theory of operation
 *
 * The requester's worker does all the work of a message: it takes the entry from
 * its send queue, finds the responder by QP number, makes the checks that both
 * ends of a real adapter would make, copies, and writes both completions. So
 * requests of one QP are executed one after the other and synchronously: a READ
 * or an atomic has ended before the next request begins, and a fence has nothing
 * to wait for. A long message is moved piece by piece, as the turn of the VM has room
 * for them; for each piece regions and the responder are looked up anew. So a requester or a
 * responder that goes in between, or a region, ends the message as it would on a wire.
 *
 * Requests as most are, short and plain, are executed many at a time (fabric/loopback/burst.c).
 * All others, and what fails or waits, go one by one.
 *
 * A missing responder, or one that is not ready, looks like loss on a wire and starts
 * the retry timer. A missing receive starts the RNR timer. Both wait by
 * qp->deadline_ns and keep the request in struct loopback_sq.
 *
 * A message of an unreliable connection goes the same way, but has no answer. A
 * datagram is routed by address and number, or goes to each QP of a group in turn;
 * nothing waits for it. Keys of windows and of fast registration count their users
 * (fabric/loopback/key.c); all others are kept by RCU.
 *
 * A send queue's and a receive queue's ci move when the entry completes, not
 * when it is read. Until then it counts as outstanding, and is flushed in its
 * turn if the QP fails.
 *
 * Locks, outermost first (one thread has at most one of each line):
 *
 *   qp->lock		of the QP being served or modified
 *   fabric->lock	tables' writers, addresses; session threads only
 *   qp->rq_lock	of any QP, the one being served included
 *   srq->lock
 *   cq->lock and what is inside it
 *
 * A worker that holds its own QP's lock never takes another QP's. To fail the
 * responder it sets @failed under the responder's rq_lock and asks the responder's
 * worker to serve it; that worker sets the state and flushes. As no
 * thread waits for a qp->lock while it holds a rq_lock, and none for a second
 * lock of the same line, there is no cycle, whichever QPs are connected to each
 * other (or to themselves).
 *
 * A worker may read atomics of another session's QP at any time. It may read the
 * connection (source, dgid, dest_qpn) and the receive queue with that QP's rq_lock
 * held. A comparison of the connection for every message would take that lock even
 * for a WRITE, so the connection has a stamp: @stamp is a number never used before,
 * and a new one with each change of the connection. A requester checks the connection
 * once, under the lock. Later it only compares the stamp.
 *
 * VMs of different networks (vm->network) share nothing but the numbers. An address and a
 * group are found by network and GID, and a connection fits within one network only.
 */
#ifndef HOSTD_FABRIC_LOOPBACK_PRIVATE_H
#define HOSTD_FABRIC_LOOPBACK_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <urcu/hlist.h>
#include <urcu/list.h>

#include "fabric/loopback/table.h"
#include "vm/objects.h"

struct address; /* fabric/loopback/address.c */
struct loopback_qp;
struct pass;

#define LOOPBACK_MAX_SGE       32u
#define LOOPBACK_MAX_INLINE    1024u
#define LOOPBACK_MAX_RD_ATOMIC 128u
#define LOOPBACK_MAX_UD	       4096u	    /* bytes: the port's MTU */
#define LOOPBACK_MAX_MSG       (1ull << 31) /* bytes; IB vol 1, 9.7.2: the limit of a message */
#define LOOPBACK_MAX_MR	       (1ull << 46) /* bytes */
#define LOOPBACK_MAX_FR_PAGES  1024u	    /* of one fast registration: each costs a look-up */
#define LOOPBACK_GID_LEN       16
#define LOOPBACK_GID_BITS      8
/* QPs of one VM in one multicast group, and in all. */
#define LOOPBACK_MAX_MCAST_ATTACH 64u
#define LOOPBACK_MAX_MCAST_TOTAL  8192u

/* ----------------------- the fabric: fabric/loopback/loopback.c --------------------- */

/**
 * struct loopback - the fabric
 * @lock: writers of the tables; addresses
 * @qps: struct qp by QP number
 * @mrs: struct mr by key >> 8; of windows and fast registration loopback_key.view
 * @key_variant: low byte of the next key
 * @addresses: owners of GIDs: fabric/loopback/address.c
 * @groups: multicast: fabric/loopback/mcast.c
 * @attachments: number of the last attachment to a group
 * @stamps: last connection stamp given
 */
struct loopback {
	pthread_mutex_t lock;
	struct loopback_table qps;
	struct loopback_table mrs;
	uint8_t key_variant;
	struct cds_hlist_head addresses[1 << LOOPBACK_GID_BITS];
	struct cds_hlist_head groups[1 << LOOPBACK_GID_BITS];
	uint64_t attachments;
	_Atomic uint64_t stamps;
};

/* Bucket of loopback.addresses and groups. GIDs of all kinds differ in their last bytes. */
static inline unsigned int loopback_gid_bucket(const uint8_t gid[LOOPBACK_GID_LEN])
{
	uint32_t low;

	memcpy(&low, gid + LOOPBACK_GID_LEN - sizeof(low), sizeof(low));
	return low * 2654435761u >> (32 - LOOPBACK_GID_BITS);
}

/* A session's part: vm->fabric_vm. Its own thread only. */
struct loopback_vm {
	struct loopback *fabric;
	struct cds_list_head qps;
	struct cds_list_head windows;	/* loopback_key.node */
	unsigned int attachments;	/* to multicast groups */
	struct address *hidden;		/* address that a command takes back */
	struct address *addresses;	/* all of them, at its end */
	struct loopback_places *places; /* of tables, that were replaced: freed at its end */
};

/* ---------------------- addresses: fabric/loopback/address.c ---------------------- */

/* PVHCA_ST_OK, IN_USE or NO_MEMORY. One session may add an address several times. */
int loopback_address_add(struct loopback *fabric, struct vm *vm,
			 const uint8_t gid[LOOPBACK_GID_LEN]);
/*
 * NULL: the session has it another time. Else no worker takes it for this session's after a grace
 * period, and what is returned is to be given to loopback_address_free_all() then.
 */
struct address *loopback_address_del(struct loopback *fabric, struct vm *vm,
				     const uint8_t gid[LOOPBACK_GID_LEN]);
/* Likewise all addresses of a VM that goes. */
struct address *loopback_address_del_all(struct loopback *fabric, struct vm *vm);
void loopback_address_free_all(struct address *gone);
/* The owner in a network, or NULL. In an RCU read section. A worker may only compare the answer. */
struct vm *loopback_address_owner(struct loopback *fabric, uint32_t network,
				  const uint8_t gid[LOOPBACK_GID_LEN]);

/* ---------------------- multicast: fabric/loopback/mcast.c ------------------------ */

int loopback_mcast_attach(struct qp *qp, const uint8_t gid[16], uint16_t lid);
int loopback_mcast_detach(struct qp *qp, const uint8_t gid[16], uint16_t lid);
/*
 * Call fn for each QP of the network that is attached until the turn ends; in an RCU read section.
 * before: 0, or what the last call returned: those that it did not come to. Returns 0 when that was all.
 */
uint64_t loopback_mcast_for_each(struct loopback *fabric, uint32_t network,
				 const uint8_t gid[LOOPBACK_GID_LEN], uint64_t before,
				 struct pass *pass, void (*fn)(struct loopback_qp *lqp, void *arg),
				 void *arg);
/* A QP ends: no sender finds it any more after the first; the second follows a grace period later. */
void loopback_mcast_detach_all(struct loopback_qp *lqp);
void loopback_mcast_free_all(struct loopback_qp *lqp);

#endif
