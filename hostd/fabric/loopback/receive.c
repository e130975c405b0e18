// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Receives of the loopback fabric, from a QP's own queue or from an SRQ: taken
 * when a message begins, completed when it ends, flushed.
 *
 * A receive that was taken stands in the responder's struct loopback_qp until it
 * completes. An entry of its own queue leaves the queue only then. An entry of an SRQ,
 * whose entries end in any order, has left the queue already.
 */
#include <endian.h>

#include "lib/counters.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "rdma/pvhca-abi.h"
#include "vm/pass.h"
#include "vm/vm.h"

/* --------------------------------- complete -------------------------------- */

void loopback_add_receives(const struct loopback_serve *serve)
{
	struct counters *counters;

	if (!serve->receives)
		return;
	counters = &serve->receiver->counters;
	counter_add(&counters->receives, serve->receives);
	counter_add(&counters->completions, serve->receives);
}

/* Receives of one call are nearly always one session's. */
void loopback_count_receives(struct loopback_serve *serve, struct vm *vm, unsigned int count)
{
	if (serve->receiver != vm) {
		loopback_add_receives(serve);
		serve->receiver = vm;
		serve->receives = 0;
	}
	serve->receives += count;
}

void loopback_receive_done(struct loopback_serve *serve, struct loopback_qp *rx,
			   struct pvhca_cqe *cqe, bool solicited)
{
	struct qp *qp = rx->qp;

	rx->receive.taken = false;
	if (!qp->srq)
		qp->rq.ci++;
	loopback_count_receives(serve, qp->vm, 1);
	if (cqe->status)
		counter_add(&qp->vm->counters.errors, 1);
	cqe->qpn = htole32(qp->qpn);
	cqe->wqe_index = htole16(rx->receive.request.tag);
	cqe->timestamp = cq_timestamp(qp->recv_cq);
	if (cq_push(serve->pass, qp->recv_cq, &qp->recv_held, cqe, solicited))
		return;
	counter_add(&qp->vm->counters.protocol_errors, 1);
	loopback_qp_fail(rx, PVHCA_EVENT_QP_FATAL);
}

void loopback_receive_fail(struct loopback_serve *serve, struct loopback_qp *rx,
			   enum ibv_wc_status status)
{
	struct pvhca_cqe cqe = {
		.opcode = PVHCA_CQE_RECV,
		.status = status,
	};

	loopback_qp_fail(rx, LOOPBACK_NO_EVENT);
	loopback_receive_done(serve, rx, &cqe, false);
}

/* ----------------------------------- take ---------------------------------- */

/*
 * No receive is posted. The responder's worker wakes the requester when one comes: it
 * sees peer_waits. A receive that was posted before peer_waits was visible is found here.
 */
static bool wait_for_receive(struct loopback_qp *rx)
{
	atomic_store(&rx->peer_waits, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (!work_queue_posted(&rx->qp->rq))
		return true;
	atomic_store(&rx->peer_waits, false);
	return false;
}

static enum loopback_take take_own(struct loopback_qp *rx, const struct loopback_qp *waiter)
{
	struct loopback_receive *receive = &rx->receive;
	struct work_queue *rq = &rx->qp->rq;
	uint32_t posted = work_queue_posted(rq);

	if (!posted && (!waiter || !rq->entries || wait_for_receive(rx)))
		return LOOPBACK_TAKE_NONE;
	if (work_queue_posted(rq) == UINT32_MAX) {
		/* Its own worker finds out why, and tells its guest. */
		loopback_qp_fail(rx, LOOPBACK_NO_EVENT);
		return LOOPBACK_TAKE_BAD;
	}
	receive->status = work_queue_take_recv(rq, rq->ci, &receive->request, receive->sge);
	receive->taken = true;
	return LOOPBACK_TAKE_OK;
}

enum loopback_take loopback_receive_take(struct loopback_serve *serve, struct loopback_qp *rx,
					 const struct loopback_qp *waiter)
{
	enum loopback_take taken;

	if (rx->receive.taken)
		return LOOPBACK_TAKE_OK;
	taken = rx->qp->srq ? loopback_srq_take(rx, waiter) : take_own(rx, waiter);
	if (taken == LOOPBACK_TAKE_OK && rx->receive.status) {
		loopback_receive_fail(serve, rx, rx->receive.status);
		return LOOPBACK_TAKE_BAD;
	}
	return taken;
}

/* ---------------------------------- flush ---------------------------------- */

static void flush_one(struct loopback_serve *serve, struct loopback_qp *rx)
{
	struct pvhca_cqe cqe = {
		.opcode = PVHCA_CQE_RECV,
		.status = IBV_WC_WR_FLUSH_ERR,
	};

	serve->taken++;
	loopback_receive_done(serve, rx, &cqe, false);
}

/* With an SRQ only the receive that this QP has taken is flushed. Then the event may come. */
static enum loopback_flush flush_shared(struct loopback_serve *serve, struct loopback_qp *rx)
{
	struct qp *qp = rx->qp;

	if (rx->receive.taken)
		flush_one(serve, rx);
	if (!rx->told_last) {
		rx->told_last = true;
		events_async(qp->vm, PVHCA_EVENT_QP_LAST_WQE_REACHED, qp->handle);
	}
	return LOOPBACK_FLUSH_ALL;
}

enum loopback_flush loopback_receive_flush(struct loopback_serve *serve, struct loopback_qp *rx)
{
	struct work_queue *queue = &rx->qp->rq;
	struct loopback_receive *receive = &rx->receive;
	uint32_t posted;

	if (rx->qp->srq)
		return flush_shared(serve, rx);
	/* Our own entries only, each with its own CQE: nothing waits for this lock long. */
	posted = work_queue_posted(queue);
	if (posted == UINT32_MAX)
		return LOOPBACK_FLUSH_ABUSED;
	for (; posted; posted--) {
		if (serve->taken >= LOOPBACK_BATCH || !pass_goes_on(serve->pass))
			return LOOPBACK_FLUSH_MORE;
		pass_spend(serve->pass, PASS_ENTRY_NS);
		if (!receive->taken)
			(void)work_queue_take_recv(queue, queue->ci, &receive->request,
						   receive->sge);
		flush_one(serve, rx);
		if (atomic_load(&rx->failed))
			break;
	}
	return LOOPBACK_FLUSH_ALL;
}
