// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qp_serve of the loopback fabric: take requests from a send queue, have them
 * executed, complete them; wait and retry; flush.
 */
#include <endian.h>

#include "lib/clock.h"
#include "lib/counters.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "fabric/loopback/burst.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "fabric/loopback/table.h"
#include "vm/pass.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* Timeout 0 means to wait for ever; it costs one look in this time. */
#define FOREVER_LOOK_NS (100 * NS_PER_MS)
#define RNR_FOREVER	7

uint64_t loopback_timeout_ns(uint8_t timeout)
{
	return timeout ? 4096ull << timeout : 0;
}

/*
 * The codes 1 to 31 go up by half and by a third in turn, in steps of 10 us; 0
 * ends the series.
 */
uint64_t loopback_rnr_ns(uint32_t timer)
{
	const uint64_t unit_ns = 10000;

	if (timer == 0)
		return 65536 * unit_ns;
	if (timer == 1)
		return unit_ns;
	return (timer & 1 ? 3ull << (timer / 2 - 1) : 2ull << (timer / 2 - 1)) * unit_ns;
}

/* ------------------------------- completions ------------------------------- */

void loopback_stop_abused(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;
	struct vm *vm = lqp->qp->vm;

	lqp->broken = true;
	counter_add(&vm->counters.protocol_errors, 1);
	loopback_qp_set_state(lqp, IBV_QPS_ERR);
	events_async(vm, PVHCA_EVENT_QP_FATAL, lqp->qp->handle);
}

/* Complete the request at the head of the send queue and go on to the next. */
static void send_done(struct loopback_serve *serve, enum ibv_wc_status status)
{
	struct loopback_qp *lqp = serve->lqp;
	const struct send_request *request = &lqp->sq.request;
	struct qp *qp = lqp->qp;
	struct pvhca_cqe cqe = {
		.qpn = htole32(qp->qpn),
		.wqe_index = htole16(request->index),
		.opcode = ring_cqe_opcode(request->opcode),
		.status = status,
	};

	lqp->sq.active = false;
	lqp->sq.waiting = LOOPBACK_WAIT_NONE;
	qp->sq.ci++;
	if (status) {
		serve->errors++;
	} else {
		serve->sent += request->length;
		serve->inlined += request->inline_len;
		if (!(request->flags & PVHCA_WQE_F_SIGNALED || qp->flags & PVHCA_CREATE_QP_SIG_ALL))
			return;
		cqe.byte_len = htole32(request->length);
	}
	cqe.timestamp = cq_timestamp(qp->send_cq);
	serve->completions++;
	if (!cq_push(serve->pass, qp->send_cq, &qp->send_held, &cqe, false))
		loopback_stop_abused(serve);
}

/*
 * Complete the request in error. The QP goes to ERR, but for an unreliable one's, of
 * which only the send queue stops (10.3.1.6).
 */
static void send_failed(struct loopback_serve *serve, enum ibv_wc_status status)
{
	const struct qp *qp = serve->lqp->qp;

	loopback_qp_set_state(serve->lqp,
			      qp->type != PVHCA_QPT_RC && atomic_load(&qp->state) == IBV_QPS_RTS ?
				      IBV_QPS_SQE :
				      IBV_QPS_ERR);
	send_done(serve, status);
}

/* ---------------------------------- flush ---------------------------------- */

static bool flush_sends(struct loopback_serve *serve)
{
	struct loopback_sq *sq = &serve->lqp->sq;
	struct work_queue *queue = &serve->lqp->qp->sq;
	uint32_t posted = work_queue_posted(queue);

	if (posted == UINT32_MAX) {
		loopback_stop_abused(serve);
		return true;
	}
	for (; posted && !serve->lqp->broken; posted--) {
		if (serve->taken >= LOOPBACK_BATCH || !pass_goes_on(serve->pass))
			return false;
		pass_spend(serve->pass, PASS_ENTRY_NS);
		serve->taken++;
		serve->messages++;
		/* A request under way was counted when it was read. */
		if (sq->active)
			serve->messages--;
		else
			(void)work_queue_take_send(queue, queue->ci, 0, &sq->request, sq->sge,
						   NULL);
		send_done(serve, IBV_WC_WR_FLUSH_ERR);
	}
	return true;
}

static bool flush_receives(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;
	enum loopback_flush flushed;

	pthread_mutex_lock(&lqp->qp->rq_lock);
	flushed = loopback_receive_flush(serve, lqp);
	pthread_mutex_unlock(&lqp->qp->rq_lock);

	if (flushed == LOOPBACK_FLUSH_ABUSED) {
		loopback_stop_abused(serve);
	} else if (atomic_load(&lqp->failed)) {
		lqp->broken = true;
		loopback_qp_settle(lqp);
	}
	return flushed != LOOPBACK_FLUSH_MORE;
}

static void flush(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;

	if (lqp->broken)
		return;
	if (!flush_sends(serve) || (!lqp->broken && !flush_receives(serve)))
		context_again(lqp->qp->context, lqp->qp->slot);
}

/* ------------------------------- send queue -------------------------------- */

/* Wait before the next try; without a receive for the last time, fail. */
static void wait_or_fail(struct loopback_serve *serve, enum loopback_wait what, uint64_t ns)
{
	struct loopback_qp *lqp = serve->lqp;
	struct loopback_sq *sq = &lqp->sq;
	struct qp *qp = lqp->qp;

	if (what == LOOPBACK_WAIT_RECEIVE && !sq->rnr_tries) {
		send_failed(serve, IBV_WC_RNR_RETRY_EXC_ERR);
		return;
	}
	/* The responder may be another one when it answers. */
	if (what == LOOPBACK_WAIT_ANSWER)
		sq->done = 0;
	sq->waiting = what;
	qp->deadline_ns = serve->pass->now + ns;
	context_timed(qp->context, qp->slot, qp->deadline_ns);
}

/* A timer ran out: count that. False: it was the last time. */
static bool may_retry(struct loopback_qp *lqp, enum loopback_wait what)
{
	struct loopback_sq *sq = &lqp->sq;

	if (what == LOOPBACK_WAIT_RECEIVE) {
		if (lqp->attr.rnr_retry != RNR_FOREVER)
			sq->rnr_tries--;
		return true;
	}
	if (!lqp->timeout_ns)
		return true;
	return sq->tries-- > 0;
}

/* May the request under way be tried (again) now? */
static bool may_go_on(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;
	enum loopback_wait what = lqp->sq.waiting;
	struct qp *qp = lqp->qp;

	if (what == LOOPBACK_WAIT_NONE)
		return true;
	/* A peer may wake us as often as it likes: that neither counts nor costs a try. */
	if (!atomic_exchange(&lqp->kicked, false)) {
		if (serve->pass->now < qp->deadline_ns) {
			context_timed(qp->context, qp->slot, qp->deadline_ns);
			return false;
		}
		if (!may_retry(lqp, what)) {
			send_failed(serve, IBV_WC_RETRY_EXC_ERR);
			return false;
		}
	}
	lqp->sq.waiting = LOOPBACK_WAIT_NONE;
	return true;
}

static uint32_t opcodes_of(const struct qp *qp)
{
	uint32_t reg = qp->context->kernel ? 1u << PVHCA_WQE_REG_MR : 0;

	switch (qp->type) {
	case PVHCA_QPT_UD:
		return LOOPBACK_UD_OPCODES | (qp->context->kernel ? SEND_ALLOW_AV : 0);
	case PVHCA_QPT_UC:
		return LOOPBACK_UC_OPCODES | reg;
	default:
		return LOOPBACK_RC_OPCODES | reg;
	}
}

/* Read the next request. False: there is none to be executed. */
static bool take_request(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;
	struct loopback_sq *sq = &lqp->sq;
	struct work_queue *queue = &lqp->qp->sq;
	uint32_t posted = work_queue_posted(queue);
	enum ibv_wc_status status;

	if (!posted)
		return false;
	if (posted == UINT32_MAX) {
		loopback_stop_abused(serve);
		return false;
	}
	serve->taken++;
	serve->messages++;
	pass_rate_messages(serve->pass, 1);
	sq->active = true;
	sq->done = 0;
	sq->tries = lqp->attr.retry_cnt;
	sq->rnr_tries = lqp->attr.rnr_retry;
	status = work_queue_take_send(queue, queue->ci, opcodes_of(lqp->qp), &sq->request, sq->sge,
				      NULL);
	if (status)
		send_failed(serve, status);
	return !status;
}

static enum loopback_result execute(struct loopback_serve *serve, enum ibv_wc_status *status,
				    uint32_t *rnr_timer)
{
	if (1u << serve->lqp->sq.request.opcode & LOOPBACK_LOCAL_OPCODES)
		return loopback_local_execute(serve, status);
	if (serve->lqp->qp->type == PVHCA_QPT_UD)
		return loopback_ud_execute(serve, status);
	return loopback_rc_execute(serve, status, rnr_timer);
}

/* Execute the request at the head of the queue. False: stop here for now. */
static bool execute_request(struct loopback_serve *serve)
{
	enum ibv_wc_status status = IBV_WC_GENERAL_ERR;
	struct loopback_qp *lqp = serve->lqp;
	const uint64_t before = lqp->sq.done;
	uint32_t rnr_timer = 0;

	pass_spend(serve->pass, PASS_ENTRY_NS);
	switch (execute(serve, &status, &rnr_timer)) {
	case LOOPBACK_DONE:
		send_done(serve, IBV_WC_SUCCESS);
		return !lqp->broken;
	case LOOPBACK_MORE:
		/* Its next piece, if the turn has room for it. */
		if (lqp->sq.done != before)
			return true;
		context_again(lqp->qp->context, lqp->qp->slot);
		return false;
	case LOOPBACK_LOST:
		wait_or_fail(serve, LOOPBACK_WAIT_ANSWER,
			     lqp->timeout_ns ? lqp->timeout_ns : FOREVER_LOOK_NS);
		return false;
	case LOOPBACK_RNR:
		wait_or_fail(serve, LOOPBACK_WAIT_RECEIVE, loopback_rnr_ns(rnr_timer));
		return false;
	case LOOPBACK_FAILED:
		send_failed(serve, status);
		return false;
	}
	return false;
}

static void serve_sends(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;
	struct loopback_burst burst;
	unsigned int n, done;

	loopback_burst_begin(&burst, serve);
	for (n = 0; n < LOOPBACK_BATCH && pass_goes_on(serve->pass); n += done) {
		if (!lqp->sq.active && !pass_may_send(serve->pass))
			break;
		done = lqp->sq.active ? 0 : loopback_burst(&burst, LOOPBACK_BATCH - n);
		if (lqp->broken)
			return;
		if (done)
			continue;
		done = 1;
		if (lqp->sq.active ? !may_go_on(serve) : !take_request(serve))
			return;
		if (!execute_request(serve))
			return;
	}
	context_again(lqp->qp->context, lqp->qp->slot);
}

/* SQD: the current request ends, and no other begins. */
static void serve_drain(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;

	if (!lqp->sq.active || !may_go_on(serve))
		return;
	if (execute_request(serve) && lqp->sq.active)
		context_again(lqp->qp->context, lqp->qp->slot);
	if (!lqp->sq.active)
		loopback_qp_drained(lqp);
}

/* Our guest may have posted the receive that our peer's requester waits for. */
static void wake_peer(struct loopback_serve *serve)
{
	struct loopback_qp *lqp = serve->lqp;
	struct qp *peer;
	bool wake;

	pthread_mutex_lock(&lqp->qp->rq_lock);
	wake = work_queue_posted(&lqp->qp->rq) && atomic_exchange(&lqp->peer_waits, false);
	pthread_mutex_unlock(&lqp->qp->rq_lock);
	if (!wake)
		return;
	peer = loopback_table_find(&lqp->fabric->qps, lqp->dest_qpn);
	if (peer)
		loopback_qp_kick(peer->fabric, serve->pass);
}

static void add_counts(const struct loopback_serve *serve)
{
	struct counters *counters = &serve->lqp->qp->vm->counters;

	if (serve->messages)
		counter_add(&counters->messages, serve->messages);
	if (serve->moved)
		counter_add(&counters->payload_bytes_copied, serve->moved);
	if (serve->sent)
		counter_add(&counters->payload_bytes_sent, serve->sent);
	if (serve->inlined)
		counter_add(&counters->inline_bytes, serve->inlined);
	if (serve->errors)
		counter_add(&counters->errors, serve->errors);
	if (serve->completions)
		counter_add(&counters->completions, serve->completions);
	loopback_add_receives(serve);
}

unsigned int loopback_qp_serve(struct pass *pass, struct qp *qp)
{
	struct loopback_qp *lqp = qp->fabric;
	struct loopback_serve serve = {
		.pass = pass,
		.lqp = lqp,
	};

	loopback_qp_settle(lqp);
	/* A kick before the first try does not end a later wait. */
	if (lqp->sq.waiting == LOOPBACK_WAIT_NONE &&
	    atomic_load_explicit(&lqp->kicked, memory_order_relaxed))
		atomic_store(&lqp->kicked, false);
	if (atomic_load(&lqp->peer_waits))
		wake_peer(&serve);

	switch (atomic_load(&qp->state)) {
	case IBV_QPS_RTS:
		serve_sends(&serve);
		break;
	case IBV_QPS_SQD:
		serve_drain(&serve);
		break;
	default:
		break;
	}
	/* Also if it has just come to that. */
	if (loopback_qp_state(lqp) == IBV_QPS_SQE && !flush_sends(&serve))
		context_again(qp->context, qp->slot);
	if (loopback_qp_state(lqp) == IBV_QPS_ERR) {
		loopback_qp_settle(lqp);
		flush(&serve);
	}
	add_counts(&serve);
	return serve.taken + (serve.moved ? 1 : 0);
}
