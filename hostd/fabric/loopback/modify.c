// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The QP state machine (IB vol 1, 10.3.1) and the attributes that go with it.
 * The guest's kernel has checked the same; here it is checked against a guest
 * that did not. Everything is checked before anything changes.
 */
#include <endian.h>
#include <string.h>

#include "vm/cq.h"
#include "vm/events.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/vm.h"
#include "worker/worker.h"

#define ATTR_ALWAYS (IBV_QP_STATE | IBV_QP_CUR_STATE)
#define QP_ACCESS                                                                    \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND)
/* The verbs' 24-bit numbers: QPs, packet sequence numbers. */
#define MASK_24 0xffffffu
/* One retry waits 8.6 s at most, even if the guest asked for more. */
#define TIMEOUT_MAX 21

/* Which attributes a transition needs and takes: IB vol 1, table 91 (11.2.5.2). */
struct transition {
	uint8_t from, to;
	uint32_t required, optional;
};

static const struct transition rc_transitions[] = {
	{ IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, 0 },
	{ IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS },
	{ IBV_QPS_INIT, IBV_QPS_RTR,
	  IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
		  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
	  IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS },
	{ IBV_QPS_RTR, IBV_QPS_RTS,
	  IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
		  IBV_QP_MAX_QP_RD_ATOMIC,
	  IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER | IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_RTS, IBV_QPS_RTS, 0,
	  IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER | IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_RTS, IBV_QPS_SQD, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY },
	{ IBV_QPS_SQD, IBV_QPS_SQD, 0,
	  IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_AV | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
		  IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_MAX_DEST_RD_ATOMIC |
		  IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER | IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_SQD, IBV_QPS_RTS, 0,
	  IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER | IBV_QP_PATH_MIG_STATE },
};

static const struct transition uc_transitions[] = {
	{ IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, 0 },
	{ IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS },
	{ IBV_QPS_INIT, IBV_QPS_RTR, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN,
	  IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS },
	{ IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_SQ_PSN, IBV_QP_ACCESS_FLAGS | IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_RTS, IBV_QPS_RTS, 0, IBV_QP_ACCESS_FLAGS | IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_RTS, IBV_QPS_SQD, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY },
	{ IBV_QPS_SQD, IBV_QPS_SQD, 0,
	  IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_AV | IBV_QP_ACCESS_FLAGS |
		  IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_SQD, IBV_QPS_RTS, 0, IBV_QP_ACCESS_FLAGS | IBV_QP_PATH_MIG_STATE },
	{ IBV_QPS_SQE, IBV_QPS_RTS, 0, IBV_QP_ACCESS_FLAGS },
};

static const struct transition ud_transitions[] = {
	{ IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY, 0 },
	{ IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY },
	{ IBV_QPS_INIT, IBV_QPS_RTR, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY },
	{ IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_SQ_PSN, IBV_QP_QKEY },
	{ IBV_QPS_RTS, IBV_QPS_RTS, 0, IBV_QP_QKEY },
	{ IBV_QPS_RTS, IBV_QPS_SQD, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY },
	{ IBV_QPS_SQD, IBV_QPS_SQD, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY },
	{ IBV_QPS_SQD, IBV_QPS_RTS, 0, IBV_QP_QKEY },
	{ IBV_QPS_SQE, IBV_QPS_RTS, 0, IBV_QP_QKEY },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* By enum pvhca_qp_type. */
static const struct {
	const struct transition *transition;
	unsigned int count;
} transitions[] = {
	[PVHCA_QPT_RC] = { rc_transitions, COUNT(rc_transitions) },
	[PVHCA_QPT_UC] = { uc_transitions, COUNT(uc_transitions) },
	[PVHCA_QPT_UD] = { ud_transitions, COUNT(ud_transitions) },
};

/* --------------------------------- checks ---------------------------------- */

static bool is_transition_allowed(enum pvhca_qp_type type, uint8_t from, uint8_t to, uint32_t mask)
{
	const struct transition *t;
	unsigned int i;

	mask &= ~(uint32_t)ATTR_ALWAYS;
	if (to == IBV_QPS_RESET || to == IBV_QPS_ERR)
		return !mask;
	for (i = 0; i < transitions[type].count; i++) {
		t = &transitions[type].transition[i];
		if (t->from == from && t->to == to)
			return (mask & t->required) == t->required &&
				!(mask & ~(t->required | t->optional));
	}
	return false;
}

bool loopback_av_is_valid(const struct vm *vm, const struct av *av)
{
	static const uint8_t no_gid[LOOPBACK_GID_LEN];

	return av->is_global == 1 && av->port == 1 && av->sl < 16 &&
		memcmp(av->dgid, no_gid, sizeof(no_gid)) && vm_gid(vm, av->sgid_index, NULL);
}

static bool are_path_values_valid(const struct vm *vm, uint32_t mask, const struct qp_attr *attr)
{
	if (mask & IBV_QP_AV && !loopback_av_is_valid(vm, &attr->av))
		return false;
	if (mask & IBV_QP_PATH_MTU &&
	    (attr->path_mtu < IBV_MTU_256 || attr->path_mtu > IBV_MTU_4096))
		return false;
	if (mask & IBV_QP_DEST_QPN && attr->dest_qp_num > MASK_24)
		return false;
	if (mask & IBV_QP_PORT && attr->port_num != 1)
		return false;
	if (mask & IBV_QP_PKEY_INDEX && attr->pkey_index)
		return false;
	return !(mask & IBV_QP_PATH_MIG_STATE) || attr->path_mig_state == IBV_MIG_MIGRATED;
}

static bool are_transport_values_valid(uint32_t mask, const struct qp_attr *attr)
{
	if (mask & IBV_QP_TIMEOUT && attr->timeout > 31)
		return false;
	if (mask & IBV_QP_RETRY_CNT && attr->retry_cnt > 7)
		return false;
	if (mask & IBV_QP_RNR_RETRY && attr->rnr_retry > 7)
		return false;
	if (mask & IBV_QP_MIN_RNR_TIMER && attr->min_rnr_timer > 31)
		return false;
	if (mask & IBV_QP_MAX_QP_RD_ATOMIC && attr->max_rd_atomic > LOOPBACK_MAX_RD_ATOMIC)
		return false;
	if (mask & IBV_QP_MAX_DEST_RD_ATOMIC && attr->max_dest_rd_atomic > LOOPBACK_MAX_RD_ATOMIC)
		return false;
	return !(mask & IBV_QP_ACCESS_FLAGS) || !(attr->qp_access_flags & ~(uint32_t)QP_ACCESS);
}

/* --------------------------------- changes --------------------------------- */

/* The attributes that requesters, ours and the peer's, look at. */
static void publish_attrs(struct loopback_qp *lqp)
{
	const struct qp_attr *attr = &lqp->attr;
	uint8_t timeout = attr->timeout;

	if (timeout > TIMEOUT_MAX)
		timeout = TIMEOUT_MAX;
	lqp->timeout_ns = loopback_timeout_ns(timeout);
	atomic_store(&lqp->access, attr->qp_access_flags);
	atomic_store(&lqp->max_dest_rd_atomic, attr->max_dest_rd_atomic);
	atomic_store(&lqp->min_rnr_timer, attr->min_rnr_timer);
	atomic_store(&lqp->qkey, attr->qkey);
}

/* The connection, from the address vector and dest_qp_num. */
static void connect_qp(struct loopback_qp *lqp)
{
	const struct qp_attr *attr = &lqp->attr;
	struct qp *qp = lqp->qp;
	const uint8_t *gid;

	lqp->peer_stamp = 0;
	pthread_mutex_lock(&qp->rq_lock);
	lqp->has_source = vm_gid(qp->vm, attr->av.sgid_index, &gid);
	if (lqp->has_source)
		memcpy(lqp->source, gid, sizeof(lqp->source));
	memcpy(lqp->dgid, attr->av.dgid, sizeof(lqp->dgid));
	lqp->dest_qpn = attr->dest_qp_num;
	atomic_store(&lqp->stamp, atomic_fetch_add(&lqp->fabric->stamps, 1) + 1);
	pthread_mutex_unlock(&qp->rq_lock);
}

static void reset_qp(struct loopback_qp *lqp)
{
	struct qp *qp = lqp->qp;

	lqp->sq.active = false;
	lqp->sq.waiting = LOOPBACK_WAIT_NONE;
	lqp->broken = false;
	lqp->notify_drained = false;
	lqp->peer_stamp = 0;
	memset(&lqp->attr, 0, sizeof(lqp->attr));
	publish_attrs(lqp);

	pthread_mutex_lock(&qp->rq_lock);
	atomic_store_explicit(&qp->state, IBV_QPS_RESET, memory_order_release);
	atomic_store(&lqp->stamp, 0);
	atomic_store(&lqp->failed, false);
	atomic_store(&lqp->draining, false);
	atomic_store(&lqp->established, false);
	atomic_store(&lqp->peer_waits, false);
	atomic_store(&lqp->kicked, false);
	lqp->has_source = false;
	lqp->dest_qpn = 0;
	lqp->receive.taken = false;
	lqp->told_last = false;
	work_queue_reset(&qp->sq);
	work_queue_reset(&qp->rq);
	pthread_mutex_unlock(&qp->rq_lock);

	loopback_srq_forget(lqp);

	/* Peers complete our receives under rq_lock in states that receive: none does any more. */
	cq_forget(qp->send_cq, &qp->send_held);
	cq_forget(qp->recv_cq, &qp->recv_held);
}

/*
 * A requester that was early retries at once instead of at its next timeout. It must be
 * our own peer: a VM may not disturb the QPs of others.
 */
static void kick_early_peer(struct loopback_qp *lqp)
{
	struct loopback *fabric = lqp->fabric;
	struct loopback_qp *peer;
	struct qp *qp;
	bool ours;

	pthread_mutex_lock(&fabric->lock);
	qp = loopback_table_find(&fabric->qps, lqp->dest_qpn);
	if (qp) {
		peer = qp->fabric;
		pthread_mutex_lock(&qp->rq_lock);
		ours = loopback_qp_fits(lqp, peer);
		pthread_mutex_unlock(&qp->rq_lock);
		if (ours)
			loopback_qp_kick(peer, NULL);
	}
	pthread_mutex_unlock(&fabric->lock);
}

static void enter_sqd(struct loopback_qp *lqp)
{
	lqp->notify_drained = lqp->attr.en_sqd_async_notify;
	lqp->attr.en_sqd_async_notify = 0; /* asked for once */
	atomic_store(&lqp->draining, lqp->sq.active);
	loopback_qp_set_state(lqp, IBV_QPS_SQD);
	if (!lqp->sq.active)
		loopback_qp_drained(lqp);
}

static void enter_state(struct loopback_qp *lqp, uint8_t from, uint8_t to)
{
	if (to == IBV_QPS_RESET)
		reset_qp(lqp);
	else if (to == IBV_QPS_SQD && from != IBV_QPS_SQD)
		enter_sqd(lqp);
	else if (to != from)
		loopback_qp_set_state(lqp, to);

	if (to == from)
		return;
	if (to == IBV_QPS_RTR && lqp->qp->type == PVHCA_QPT_RC)
		kick_early_peer(lqp);
	/* Flush, or begin with the entries that are posted already. */
	if (to == IBV_QPS_ERR || to == IBV_QPS_RTS)
		loopback_qp_kick(lqp, NULL);
}

int loopback_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr)
{
	struct loopback_qp *lqp = qp->fabric;
	uint8_t from, to;

	loopback_qp_settle(lqp);
	from = atomic_load(&qp->state);
	to = attr_mask & IBV_QP_STATE ? attr->qp_state : from;
	if (attr_mask & IBV_QP_CUR_STATE && attr->cur_qp_state != from)
		return PVHCA_ST_INVALID;
	if (!is_transition_allowed(qp->type, from, to, attr_mask) ||
	    !are_path_values_valid(qp->vm, attr_mask, attr) ||
	    !are_transport_values_valid(attr_mask, attr))
		return PVHCA_ST_INVALID;
	/* Requests are read into arrays of that size. */
	if (qp->sq.max_sge > qp->cap.max_send_sge || qp->rq.max_sge > qp->cap.max_recv_sge)
		return PVHCA_ST_INVALID;

	attributes_set_qp(&lqp->attr, attr_mask, attr);
	publish_attrs(lqp);
	if (attr_mask & IBV_QP_AV)
		connect_qp(lqp);
	enter_state(lqp, from, to);
	return PVHCA_ST_OK;
}
