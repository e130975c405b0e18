// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections, reliable ones and unreliable ones. A request is executed as the
 * requester's and the responder's adapter together would (IB vol 1, 9.7), with the
 * checks of both in their order, and the errors of both (9.9.2 requester, 9.9.3
 * responder). On an unreliable connection nothing comes back from the responder, so the
 * requester does not learn of errors there (9.8.2).
 */
#include <endian.h>

#include "vm/events.h"
#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/pass.h"

/* Bytes moved before regions and the responder are looked up anew, if the turn leaves so many. */
#define PIECE_MAX ((uint64_t)PASS_ALONE_BYTES)

/* A request, and the objects of both sides that it needs. */
struct rc {
	struct loopback_serve *serve;
	struct loopback_qp *lqp;
	struct loopback_qp *peer;
	uint64_t stamp; /* of the peer, when it was found */
	uint64_t part;	/* bytes of this piece */
	enum ibv_wc_status status;
	uint32_t rnr_timer;
	struct loopback_key *revoked; /* by SEND_INV: invalid as soon as it has no users */
	struct loopback_pieces local;
	struct loopback_pieces remote;
};

static enum loopback_result rc_fail(struct rc *rc, enum ibv_wc_status status)
{
	rc->status = status;
	return LOOPBACK_FAILED;
}

/* -------------------------------- responder -------------------------------- */

static bool is_reliable(const struct rc *rc)
{
	return rc->lqp->qp->type == PVHCA_QPT_RC;
}

/* Is the responder, with its rq_lock held, still as loopback_rc_find_peer() found it? */
static bool is_same_peer(const struct rc *rc)
{
	return atomic_load(&rc->peer->stamp) == rc->stamp && loopback_qp_responds(rc->peer);
}

struct loopback_qp *loopback_rc_find_peer(struct loopback_qp *lqp, uint64_t *stamp)
{
	struct loopback_qp *peer;
	struct qp *qp;
	bool fits;

	qp = loopback_table_find(&lqp->fabric->qps, lqp->dest_qpn);
	if (!qp)
		return NULL;
	peer = qp->fabric;
	if (!loopback_qp_responds(peer))
		return NULL;
	*stamp = atomic_load_explicit(&peer->stamp, memory_order_acquire);
	if (*stamp && *stamp == lqp->peer_stamp)
		return peer;

	pthread_mutex_lock(&qp->rq_lock);
	*stamp = atomic_load(&peer->stamp);
	fits = *stamp && loopback_qp_fits(lqp, peer);
	pthread_mutex_unlock(&qp->rq_lock);
	lqp->peer_stamp = fits ? *stamp : 0;
	return fits ? peer : NULL;
}

/* IB vol 1, 11.6.3.4: the first message tells a responder in RTR that it is connected. */
static void establish(struct loopback_qp *peer)
{
	struct qp *qp = peer->qp;

	if (atomic_load_explicit(&qp->state, memory_order_relaxed) != IBV_QPS_RTR ||
	    atomic_exchange(&peer->established, true))
		return;
	events_async(qp->vm, PVHCA_EVENT_COMM_EST, qp->handle);
}

/*
 * The request is refused. The responder's QP goes to ERR (class C, 9.9.3.1); an
 * unreliable one drops the message (class D). With rq_lock held.
 */
static enum loopback_result rc_refuse_locked(struct rc *rc, uint32_t event,
					     enum ibv_wc_status status)
{
	if (is_reliable(rc) && is_same_peer(rc))
		loopback_qp_fail(rc->peer, event);
	return rc_fail(rc, status);
}

static enum loopback_result rc_refuse(struct rc *rc, uint32_t event, enum ibv_wc_status status)
{
	struct qp *qp = rc->peer->qp;
	enum loopback_result result;

	pthread_mutex_lock(&qp->rq_lock);
	result = rc_refuse_locked(rc, event, status);
	pthread_mutex_unlock(&qp->rq_lock);
	return result;
}

static enum loopback_result rc_refuse_access(struct rc *rc)
{
	return rc_refuse(rc, PVHCA_EVENT_QP_ACCESS_ERR, IBV_WC_REM_ACCESS_ERR);
}

/* An operation that the responder's QP does not take part in (9.7.4.1.3). */
static enum loopback_result rc_refuse_request(struct rc *rc)
{
	return rc_refuse(rc, PVHCA_EVENT_QP_REQ_ERR, IBV_WC_REM_INV_REQ_ERR);
}

/* ------------------------------ with a receive ----------------------------- */

/*
 * A receive could not take the message: it completes with an error of its own,
 * the responder fails, the requester learns status. With rq_lock held.
 */
static enum loopback_result receive_failed(struct rc *rc, enum ibv_wc_status of_receive,
					   enum ibv_wc_status status)
{
	loopback_receive_fail(rc->serve, rc->peer, of_receive);
	return rc_fail(rc, status);
}

/* The receive for this message; with rq_lock held. LOOPBACK_DONE: it is there. */
static enum loopback_result find_receive(struct rc *rc)
{
	switch (loopback_receive_take(rc->serve, rc->peer, is_reliable(rc) ? rc->lqp : NULL)) {
	case LOOPBACK_TAKE_OK:
		return LOOPBACK_DONE;
	case LOOPBACK_TAKE_NONE:
		rc->rnr_timer = atomic_load(&rc->peer->min_rnr_timer);
		return LOOPBACK_RNR;
	default:
		return rc_fail(rc, IBV_WC_REM_OP_ERR);
	}
}

static void complete_receive(struct rc *rc)
{
	const struct send_request *request = &rc->lqp->sq.request;
	struct pvhca_cqe cqe = {
		.byte_len = htole32(request->length),
		.status = IBV_WC_SUCCESS,
		.opcode = request->opcode == PVHCA_WQE_WRITE_IMM ? PVHCA_CQE_RECV_WRITE_IMM :
								   PVHCA_CQE_RECV,
	};

	if (request->opcode == PVHCA_WQE_SEND_INV) {
		cqe.inv_rkey = htole32(request->inv_rkey);
		cqe.flags = PVHCA_CQE_F_INV;
	} else if (request->opcode != PVHCA_WQE_SEND) {
		cqe.imm_data = request->imm_data;
		cqe.flags = PVHCA_CQE_F_IMM;
	}
	loopback_receive_done(rc->serve, rc->peer, &cqe, request->flags & PVHCA_WQE_F_SOLICITED);
}

/* ------------------------------- operations -------------------------------- */

bool loopback_pieces_request(struct loopback_qp *lqp, uint32_t access, uint64_t skip,
			     uint64_t length, struct loopback_pieces *pieces)
{
	struct loopback_sq *sq = &lqp->sq;

	if (!(sq->request.flags & PVHCA_WQE_F_INLINE))
		return loopback_pieces_local(lqp->fabric, lqp->qp->pd, sq->sge, sq->request.num_sge,
					     access, skip, length, pieces);
	pieces->count = length ? 1 : 0;
	pieces->held = false;
	pieces->piece[0].mr = NULL;
	pieces->piece[0].host =
		work_queue_inline_data(&lqp->qp->sq, lqp->qp->sq.ci, &sq->request) + skip;
	pieces->piece[0].len = length;
	return true;
}

/* The responder's side. False: remote access error. */
static bool rc_remote(struct rc *rc, uint32_t access)
{
	const struct loopback_sq *sq = &rc->lqp->sq;

	return loopback_pieces_remote(rc->lqp->fabric, rc->peer->qp, sq->request.rkey,
				      sq->request.remote_addr, sq->request.length, access, sq->done,
				      rc->part, &rc->remote);
}

static enum loopback_result rc_moved(struct rc *rc)
{
	struct loopback_sq *sq = &rc->lqp->sq;

	sq->done += rc->part;
	rc->serve->moved += rc->part;
	pass_copied(rc->serve->pass, rc->part);
	pass_rate_bytes(rc->serve->pass, rc->part);
	return sq->done < sq->request.length ? LOOPBACK_MORE : LOOPBACK_DONE;
}

static enum loopback_result send_locked(struct rc *rc)
{
	const struct loopback_receive *receive = &rc->peer->receive;
	struct loopback_sq *sq = &rc->lqp->sq;
	enum loopback_result result;

	if (!is_same_peer(rc))
		return LOOPBACK_LOST;
	result = find_receive(rc);
	if (result != LOOPBACK_DONE)
		return result;
	/* 9.9.3.1.5: longer than the receive. */
	if (sq->request.length > receive->request.length)
		return receive_failed(rc, IBV_WC_LOC_LEN_ERR, IBV_WC_REM_INV_REQ_ERR);
	if (!loopback_pieces_local(rc->lqp->fabric, rc->peer->qp->pd, receive->sge,
				   receive->request.num_sge, IBV_ACCESS_LOCAL_WRITE, sq->done,
				   rc->part, &rc->remote))
		return receive_failed(rc, IBV_WC_LOC_PROT_ERR, IBV_WC_REM_OP_ERR);
	loopback_copy(&rc->remote, &rc->local, rc->part);
	result = rc_moved(rc);
	if (result != LOOPBACK_DONE)
		return result;
	if (sq->request.opcode == PVHCA_WQE_SEND_INV) {
		rc->revoked = loopback_key_revoke(rc->peer, sq->request.inv_rkey);
		return rc->revoked ?
			LOOPBACK_DONE :
			rc_refuse_locked(rc, PVHCA_EVENT_QP_ACCESS_ERR, IBV_WC_REM_ACCESS_ERR);
	}
	complete_receive(rc);
	return LOOPBACK_DONE;
}

/* All pieces of this call. */
static void rc_put(struct rc *rc)
{
	loopback_pieces_put(&rc->local);
	loopback_pieces_put(&rc->remote);
}

/*
 * The message of a SEND_INV has arrived, its key stands invalid: it must no longer
 * be in use when the receive completes.
 */
static enum loopback_result rc_finish_revoke(struct rc *rc)
{
	struct qp *qp = rc->peer->qp;
	enum loopback_result result = LOOPBACK_LOST;

	rc_put(rc);
	loopback_key_free(rc->revoked);
	pthread_mutex_lock(&qp->rq_lock);
	if (is_same_peer(rc) && rc->peer->receive.taken) {
		complete_receive(rc);
		result = LOOPBACK_DONE;
	}
	pthread_mutex_unlock(&qp->rq_lock);
	return result;
}

/*
 * The responder's rq_lock is held for the whole piece. So its QP does not leave
 * its state, and its receive queue does not move, between the copy and the completion.
 * Only a command, or its worker in an error, may wait for that lock.
 */
static enum loopback_result rc_send(struct rc *rc)
{
	struct qp *qp = rc->peer->qp;
	enum loopback_result result;

	rc->revoked = NULL;
	pthread_mutex_lock(&qp->rq_lock);
	result = send_locked(rc);
	pthread_mutex_unlock(&qp->rq_lock);
	return rc->revoked ? rc_finish_revoke(rc) : result;
}

/* The end of a WRITE with immediate data. */
static enum loopback_result rc_notify(struct rc *rc)
{
	struct qp *qp = rc->peer->qp;
	enum loopback_result result = LOOPBACK_LOST;

	pthread_mutex_lock(&qp->rq_lock);
	if (is_same_peer(rc))
		result = find_receive(rc);
	if (result == LOOPBACK_DONE)
		complete_receive(rc);
	pthread_mutex_unlock(&qp->rq_lock);
	return result;
}

static enum loopback_result rc_write(struct rc *rc)
{
	struct loopback_sq *sq = &rc->lqp->sq;
	enum loopback_result result;

	if (!(atomic_load(&rc->peer->access) & IBV_ACCESS_REMOTE_WRITE))
		return rc_refuse_request(rc);
	if (!rc_remote(rc, IBV_ACCESS_REMOTE_WRITE))
		return rc_refuse_access(rc);
	loopback_copy(&rc->remote, &rc->local, rc->part);
	result = rc_moved(rc);
	if (result == LOOPBACK_DONE && sq->request.opcode == PVHCA_WQE_WRITE_IMM)
		result = rc_notify(rc);
	return result;
}

/* 9.7.4.1.3: more of these at once than the responder has resources for. */
static bool has_read_resources(const struct rc *rc)
{
	return atomic_load(&rc->peer->max_dest_rd_atomic) > 0;
}

static enum loopback_result rc_read(struct rc *rc)
{
	if (!(atomic_load(&rc->peer->access) & IBV_ACCESS_REMOTE_READ) || !has_read_resources(rc))
		return rc_refuse_request(rc);
	if (!rc_remote(rc, IBV_ACCESS_REMOTE_READ))
		return rc_refuse_access(rc);
	loopback_copy(&rc->local, &rc->remote, rc->part);
	return rc_moved(rc);
}

/*
 * Atomic towards everything in the responder's memory, its processors included:
 * IBV_ATOMIC_GLOB would be true of hosts whose guests see the same memory, but
 * only IBV_ATOMIC_HCA is promised, as other fabrics can keep no more.
 */
uint64_t loopback_atomic(uint8_t opcode, _Atomic uint64_t *target, uint64_t compare_add,
			 uint64_t swap)
{
	uint64_t old = compare_add;

	if (opcode == PVHCA_WQE_ATOMIC_FETCH_ADD)
		return atomic_fetch_add(target, compare_add);
	atomic_compare_exchange_strong(target, &old, swap);
	return old;
}

static enum loopback_result rc_atomic(struct rc *rc)
{
	const struct send_request *request = &rc->lqp->sq.request;
	struct loopback_pieces result = { .count = 1 };
	uint64_t old;
	void *target;

	/* 9.7.4.1.4: the address of an atomic is a multiple of 8. */
	if (!(atomic_load(&rc->peer->access) & IBV_ACCESS_REMOTE_ATOMIC) ||
	    !has_read_resources(rc) || request->remote_addr % sizeof(old))
		return rc_refuse_request(rc);
	if (!rc_remote(rc, IBV_ACCESS_REMOTE_ATOMIC))
		return rc_refuse_access(rc);
	/* A region may be registered so that its addresses are aligned and its memory is not. */
	target = loopback_piece_address(&rc->remote);
	if (!target || (uintptr_t)target % sizeof(old))
		return rc_refuse_request(rc);

	old = loopback_atomic(request->opcode, target, request->compare_add, request->swap);
	result.piece[0].mr = NULL;
	result.piece[0].host = (uint8_t *)&old;
	result.piece[0].len = sizeof(old);
	loopback_copy(&rc->local, &result, sizeof(old));
	return rc_moved(rc);
}

/* -------------------------------- requester -------------------------------- */

static bool is_read_or_atomic(uint8_t opcode)
{
	return opcode == PVHCA_WQE_READ || opcode == PVHCA_WQE_ATOMIC_CMP_SWP ||
		opcode == PVHCA_WQE_ATOMIC_FETCH_ADD;
}

/* The requester's memory for this piece. A message in pieces is checked as a whole before the first. */
static bool rc_local(struct rc *rc, uint32_t access)
{
	const struct loopback_sq *sq = &rc->lqp->sq;

	if (!sq->done && rc->part < sq->request.length) {
		if (!loopback_pieces_request(rc->lqp, access, 0, sq->request.length, &rc->local))
			return false;
		loopback_pieces_put(&rc->local);
	}
	return loopback_pieces_request(rc->lqp, access, sq->done, rc->part, &rc->local);
}

/* Checks that need no responder (9.9.2.1); SUCCESS: go on. */
static enum ibv_wc_status rc_check_request(struct rc *rc)
{
	const struct send_request *request = &rc->lqp->sq.request;
	bool reads = is_read_or_atomic(request->opcode);

	if (reads && (request->flags & PVHCA_WQE_F_INLINE || !rc->lqp->attr.max_rd_atomic))
		return IBV_WC_LOC_QP_OP_ERR;
	if (request->length > LOOPBACK_MAX_MSG)
		return IBV_WC_LOC_LEN_ERR;
	if (reads && request->opcode != PVHCA_WQE_READ && request->length != sizeof(uint64_t))
		return IBV_WC_LOC_LEN_ERR;
	return rc_local(rc, reads ? IBV_ACCESS_LOCAL_WRITE : 0) ? IBV_WC_SUCCESS :
								  IBV_WC_LOC_PROT_ERR;
}

static enum loopback_result rc_respond(struct rc *rc)
{
	switch (rc->lqp->sq.request.opcode) {
	case PVHCA_WQE_SEND:
	case PVHCA_WQE_SEND_IMM:
	case PVHCA_WQE_SEND_INV:
		return rc_send(rc);
	case PVHCA_WQE_WRITE:
	case PVHCA_WQE_WRITE_IMM:
		return rc_write(rc);
	case PVHCA_WQE_READ:
		return rc_read(rc);
	case PVHCA_WQE_ATOMIC_CMP_SWP:
	case PVHCA_WQE_ATOMIC_FETCH_ADD:
		return rc_atomic(rc);
	default:
		return rc_fail(rc, IBV_WC_LOC_QP_OP_ERR);
	}
}

enum loopback_result loopback_rc_execute(struct loopback_serve *serve, enum ibv_wc_status *status,
					 uint32_t *rnr_timer)
{
	struct loopback_sq *sq = &serve->lqp->sq;
	enum loopback_result result;
	struct rc rc;

	/* Not initialised as a whole: the lists of pieces are big. */
	rc.serve = serve;
	rc.lqp = serve->lqp;
	rc.part = sq->request.length - sq->done;
	if (rc.part) {
		rc.part = pass_part(serve->pass, rc.part, PIECE_MAX);
		if (!rc.part)
			return LOOPBACK_MORE;
	}
	rc.rnr_timer = 0;
	rc.status = rc_check_request(&rc);
	if (rc.status) {
		*status = rc.status;
		return LOOPBACK_FAILED;
	}
	rc.remote.held = false;
	result = LOOPBACK_LOST;
	rc.peer = loopback_rc_find_peer(rc.lqp, &rc.stamp);
	if (rc.peer) {
		establish(rc.peer);
		result = rc_respond(&rc);
	}
	rc_put(&rc);
	/* On an unreliable connection it counts as sent in any case. */
	if (!is_reliable(&rc) && result != LOOPBACK_MORE)
		return LOOPBACK_DONE;
	*status = rc.status;
	*rnr_timer = rc.rnr_timer;
	return result;
}
