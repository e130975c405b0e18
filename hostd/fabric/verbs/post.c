// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From guests' rings to the host engine.
 *
 * What is pending on a QP goes to the engine in one chain, which fabric/verbs/batch.c makes.
 *
 * An entry that the engine or this code refuses cannot fail the guest's call any
 * more, which returned long ago. It is completed with an error when it has its turn,
 * as an adapter would that finds it on its queue: what was posted before it completes
 * first, and the queue is held until then, however long the peer takes. Then the
 * host QP is moved to the error state, and in place of the bad entry an empty one is
 * posted, which is flushed and delivered as LOC_QP_OP_ERR. What was posted after it
 * is flushed behind it.
 *
 * To know when all before has completed, the last send of each batch is signaled, if only
 * for pvhcad (WR_ID_QUIET).
 */
#include <errno.h>

#include "lib/log.h"
#include "fabric/verbs/batch.h"
#include "fabric/verbs/private.h"
#include "worker/worker.h"

/* Per thread, being too large for a stack. */
static __thread struct verbs_batch send_batch;

/*
 * What stands for a datagram's destination in an entry that is flushed: libraries
 * copy an address handle's contents, whatever these are.
 */
static union {
	struct ibv_ah ah;
	uint8_t room[1024];
} no_address;

static void post_bad_send(struct qp *qp, uint16_t index, bool bind)
{
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_send_wr wr = {
		.wr_id = verbs_wr_id(vqp, WR_ID_BAD | (bind ? WR_ID_BIND : 0),
				     index),
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	}, *bad;
	int err;

	if (qp->type == PVHCA_QPT_UD)
		wr.wr.ud.ah = &no_address.ah;
	verbs_qp_fail(qp);
	counter_add(&qp->vm->counters.protocol_errors, 1);
	err = ibv_post_send(vqp->qp, &wr, &bad);
	if (err)
		vm_info(qp->vm, "QP 0x%x: a refused entry has no completion: %s", qp->qpn,
			log_strerror(err));
}

/*
 * Libraries take the window's key of before from struct ibv_mw, which is the
 * caller's to keep. Hence a bind is the last of its batch.
 */
static void window_has_key(struct ibv_mw *mw, uint32_t rkey)
{
	mw->rkey = (mw->rkey & ~0xffu) | (rkey & 0xff);
}

/* That it completes tells that all before it have. */
static void ask_for_the_last(struct ibv_send_wr *wr)
{
	if (wr->send_flags & IBV_SEND_SIGNALED)
		return;
	wr->send_flags |= IBV_SEND_SIGNALED;
	wr->wr_id |= WR_ID_QUIET;
}

/* Post the batch. Returns how many the engine took; *err why not all. */
static unsigned int post_sends(struct verbs_qp *vqp, struct verbs_batch *batch, int *err)
{
	struct ibv_send_wr *bad = NULL;
	unsigned int taken;

	*err = 0;
	if (!batch->count)
		return 0;
	batch->wr[batch->count - 1].next = NULL;
	ask_for_the_last(&batch->wr[batch->count - 1]);
	*err = ibv_post_send(vqp->qp, batch->wr, &bad);
	if (!*err && batch->bound)
		window_has_key(batch->bound, batch->wr[batch->count - 1].bind_mw.rkey);
	taken = !*err ? batch->count : bad ? bad - batch->wr : 0;
	if (taken)
		vqp->told = batch->wr[taken - 1].send_flags & IBV_SEND_SIGNALED;
	return taken;
}

/* More sends, or with a wrapped count fewer, are with the engine. */
static void count_in_flight(struct qp *qp, uint32_t more)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp = qp->fabric;

	atomic_fetch_add_explicit(&vqp->in_flight, more, memory_order_relaxed);
	atomic_fetch_add_explicit(&vv->in_flight, more, memory_order_relaxed);
}

/* What the engine took counts against the VM's rate; of a command, afterwards. */
static void pass_sent(struct pass *pass, struct vm *vm, const struct verbs_batch *batch,
		      unsigned int taken)
{
	uint64_t payload = batch->payload;

	/* Of some of the batch: about. */
	if (taken < batch->count)
		payload = payload * taken / batch->count;
	if (!pass) {
		atomic_fetch_add(&vm->unpaid_messages, taken);
		atomic_fetch_add(&vm->unpaid_bytes, (int64_t)payload);
		return;
	}
	pass_rate_messages(pass, taken);
	pass_rate_bytes(pass, payload);
}

/*
 * Does what the engine has keep a refused entry waiting? If its last send completes without a
 * word, which is when the engine took a part of a batch, nobody could tell the end.
 */
static bool must_wait(struct verbs_qp *vqp)
{
	return !vqp->failing && vqp->told && atomic_load(&vqp->in_flight);
}

/* The next entry is refused: now, or when its turn comes (0). */
static unsigned int refuse_send(struct qp *qp, bool bind, bool *more)
{
	struct verbs_qp *vqp = qp->fabric;

	*more = false;
	vqp->held_bind = bind;
	atomic_store(&vqp->held, true);
	/* After that: a completion that comes between the two finds the flag. */
	if (must_wait(vqp))
		return 0;
	atomic_store(&vqp->held, false);
	count_in_flight(qp, 1);
	post_bad_send(qp, work_queue_index(&qp->sq, qp->sq.ci), bind);
	qp->sq.ci++;
	*more = true;
	return 1;
}

/*
 * Hand a batch of sends over. Returns the number taken; *more: there are
 * others, or the same again, to be taken at once.
 */
static unsigned int serve_sends(struct pass *pass, struct qp *qp, uint32_t posted, bool *more)
{
	struct counters *counters = &qp->vm->counters;
	struct verbs_batch *batch = &send_batch;
	struct verbs_qp *vqp = qp->fabric;
	unsigned int taken;
	bool refused;
	int err;

	if (atomic_load(&vqp->held))
		return refuse_send(qp, vqp->held_bind, more);
	*more = false;
	refused = !verbs_batch_build(batch, pass, qp, posted);
	/* Before they can complete, so that the count never falls below 0. */
	count_in_flight(qp, batch->count);
	taken = post_sends(vqp, batch, &err);
	count_in_flight(qp, taken - batch->count);
	qp->sq.ci += taken;

	if (err == ENOMEM) {
		verbs_retry_later(qp, &vqp->send_stalled);
	} else if (err || refused) {
		taken += refuse_send(qp, !err && batch->refused_bind, more);
	} else {
		*more = taken < posted;
	}
	pass_sent(pass, qp->vm, batch, taken);
	counter_add(&counters->messages, taken);
	counter_add(&counters->payload_bytes_sent, batch->payload);
	if (batch->inlined)
		counter_add(&counters->inline_bytes, batch->inlined);
	return taken;
}

unsigned int verbs_serve_sends(struct qp *qp)
{
	unsigned int taken = 0, rounds = 0;
	uint32_t posted;
	bool more = true;

	/* At least one entry a round; bounded by the ring. */
	while (more && rounds++ < qp->sq.entries) {
		posted = work_queue_posted(&qp->sq);
		if (!posted || posted == UINT32_MAX)
			break;
		taken += serve_sends(NULL, qp, posted, &more);
	}
	return taken;
}

unsigned int verbs_qp_serve(struct pass *pass, struct qp *qp)
{
	struct verbs_qp *vqp = qp->fabric;
	uint32_t posted, seen;
	unsigned int taken = 0;
	bool more = false;

	if (atomic_load_explicit(&vqp->overrun, memory_order_relaxed) &&
	    atomic_exchange(&vqp->overrun, false) && !vqp->broken)
		verbs_stop_hostile(qp, "completion");
	if (vqp->broken || atomic_load(&qp->state) < IBV_QPS_RTS)
		return 0;
	posted = work_queue_posted(&qp->sq);
	if (posted == UINT32_MAX) {
		verbs_stop_hostile(qp, "send");
		return 0;
	}
	/*
	 * What was posted since the pass began may need a receive that was posted
	 * since, too, and waits for the next pass.
	 */
	seen = work_queue_seen(&qp->sq, posted);
	/* A refused receive that has its turn fails the QP: what comes after it waits for that. */
	if (verbs_receive_is_due(vqp))
		return 0;
	if (seen)
		taken = serve_sends(pass, qp, seen, &more);
	if (atomic_load(&vqp->held))
		return taken;
	if (more || seen < posted)
		context_again(qp->context, qp->slot);
	return taken;
}
