/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fabric's part of a QP, and its state; fabric/loopback/private.h has the locks. */
#ifndef HOSTD_FABRIC_LOOPBACK_QP_H
#define HOSTD_FABRIC_LOOPBACK_QP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <urcu/list.h>

#include "fabric/loopback/private.h"
#include "vm/objects.h"

struct pass;

/**
 * struct loopback_sq - the request at the head of a send queue
 * @active: it was read from the ring; the fields below are valid
 * @waiting: reason to wait, until qp->deadline_ns
 * @done: bytes moved; of a datagram to a group which members remain, or 0
 * @tries, @rnr_tries: retries left; only timers that ran out count
 * @sge: room for as many as an entry has; inline data stay in the entry
 *
 * Under qp->lock.
 */
struct loopback_sq {
	bool active;
	enum loopback_wait {
		LOOPBACK_WAIT_NONE,
		LOOPBACK_WAIT_ANSWER,
		LOOPBACK_WAIT_RECEIVE,
	} waiting;
	uint64_t done;
	unsigned int tries;
	unsigned int rnr_tries;
	struct send_request request;
	struct ibv_sge *sge;
};

/**
 * struct loopback_receive - the receive that the current message fills
 * @taken: there is one; the fields below are valid
 * @status: of reading it
 * @sge: room for as many as an entry has
 *
 * Under rq_lock.
 */
struct loopback_receive {
	bool taken;
	enum ibv_wc_status status;
	struct recv_request request;
	struct ibv_sge *sge;
};

/**
 * struct loopback_qp - the fabric's part of a QP
 * @node: in loopback_vm.qps
 * @gone: since it was hidden, loopback_table_remove()
 * @attr: attributes as the guest set them; of commands, under qp->lock
 * @broken: rings were abused; not served until RESET. Under qp->lock
 * @notify_drained: SQD: event when the request under way has ended. Likewise
 * @peer_stamp: stamp of the responder whose connection fits ours, or 0. Likewise
 * @has_source, @source, @dgid, @dest_qpn: the connection; written under lock and
 *	rq_lock, read under either
 * @stamp: see the top; 0: not connected. Written as the connection is
 * @receive: under rq_lock
 * @srq_node, @srq_waits, @srq_waiter: in loopback_srq.waiting, for the requester of
 *	that number; under srq->lock
 * @told_last: IBV_EVENT_QP_LAST_WQE_REACHED has been raised; under rq_lock
 * @failed: the state is to become ERR: set under rq_lock
 * @draining: SQD, and a request is under way
 * @established: IBV_EVENT_COMM_EST has been raised
 * @peer_waits: our requester waits for a receive or for us
 * @kicked: the event that this QP waits for may have come
 * @access, @max_dest_rd_atomic, @min_rnr_timer, @qkey: attributes that the peer's
 *	requester looks at
 * @windows: of type 2 that it has bound
 * @attachments: to multicast groups; under vm->lock
 * @sges: room of sq.sge and receive.sge
 */
struct loopback_qp {
	struct qp *qp;
	struct loopback *fabric;
	struct cds_list_head node;
	struct loopback_places *gone;
	struct qp_attr attr;

	bool broken;
	bool notify_drained;
	uint64_t peer_stamp;
	uint64_t timeout_ns;
	struct loopback_sq sq;

	bool has_source;
	uint8_t source[LOOPBACK_GID_LEN];
	uint8_t dgid[LOOPBACK_GID_LEN];
	uint32_t dest_qpn;

	struct loopback_receive receive;
	bool told_last;
	bool srq_waits;
	uint32_t srq_waiter;
	struct cds_list_head srq_node;

	_Atomic uint64_t stamp;
	atomic_bool failed;
	atomic_bool draining;
	atomic_bool established;
	atomic_bool peer_waits;
	atomic_bool kicked;
	_Atomic uint32_t access;
	_Atomic uint32_t max_dest_rd_atomic;
	_Atomic uint32_t min_rnr_timer;
	_Atomic uint32_t qkey;

	_Atomic uint32_t windows;
	struct loopback_attachment *attachments;

	struct ibv_sge sges[];
};

int loopback_qp_create(struct qp *qp);
void loopback_qp_hide(struct qp *qp);
void loopback_qp_destroy(struct qp *qp);
int loopback_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr);

/* State as it is or is about to be. */
static inline enum ibv_qp_state loopback_qp_state(const struct loopback_qp *lqp)
{
	if (atomic_load_explicit(&lqp->failed, memory_order_acquire))
		return IBV_QPS_ERR;
	return atomic_load_explicit(&lqp->qp->state, memory_order_acquire);
}

/* Does it take messages? */
static inline bool loopback_qp_responds(const struct loopback_qp *lqp)
{
	return qp_state_responds(loopback_qp_state(lqp));
}

/* Change the state; with qp->lock held, without rq_lock. */
void loopback_qp_set_state(struct loopback_qp *lqp, enum ibv_qp_state state);
/* A failure that others found becomes the state. With qp->lock held. */
void loopback_qp_settle(struct loopback_qp *lqp);
/*
 * Fail a QP from any pass, with its rq_lock held: async event (enum
 * pvhca_async_event, or LOOPBACK_NO_EVENT), state ERR, flush by its own worker.
 */
#define LOOPBACK_NO_EVENT 0xffffffffu
void loopback_qp_fail(struct loopback_qp *lqp, uint32_t event);
/*
 * Is peer, whose rq_lock is held, connected to lqp as lqp is to it? lqp is read
 * under its qp->lock.
 */
bool loopback_qp_fits(const struct loopback_qp *lqp, const struct loopback_qp *peer);
/* Have a QP served: the event that it waits for may have come. */
void loopback_qp_kick(struct loopback_qp *lqp, struct pass *pass);
/* End of SQD's draining, if it is that; with qp->lock held. */
void loopback_qp_drained(struct loopback_qp *lqp);

/* -------------------- state machine: fabric/loopback/modify.c --------------------- */

int loopback_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr);
bool loopback_av_is_valid(const struct vm *vm, const struct av *av);

/* Durations of IB vol 1, 9.7.6.1.3 and 9.7.5.2.8; ns. 0: for ever. */
uint64_t loopback_timeout_ns(uint8_t timeout);
uint64_t loopback_rnr_ns(uint32_t timer);

#endif
