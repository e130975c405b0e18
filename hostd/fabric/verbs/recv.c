// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Receives: from guests' receive queues and SRQs to the host engine. What fabric/verbs/post.c
 * says of entries that are refused holds for receive queues as well: such a receive has its
 * turn when those before it have been used, and the sends that were posted by then have
 * completed. An SRQ has no QP to put into error: it gets its error event, and is not served
 * any more.
 */
#include <errno.h>

#include "lib/clock.h"
#include "vm/events.h"
#include "lib/log.h"
#include "fabric/verbs/private.h"
#include "vm/plain.h"

#define BATCH	 32
#define SGE_POOL 512
#define STALL_NS (1 * NS_PER_MS)

struct recv_batch {
	struct ibv_recv_wr wr[BATCH];
	struct ibv_sge sge[SGE_POOL];
	unsigned int count, sges;
};

/* Per thread, being too large for a stack. */
static __thread struct recv_batch recv_batch;

void verbs_qp_fail(struct qp *qp)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct verbs_qp *vqp = qp->fabric;
	int err;

	if (vqp->failing)
		return;
	vqp->failing = true;
	err = ibv_modify_qp(vqp->qp, &attr, IBV_QP_STATE);
	if (err)
		vm_warning(qp->vm, "host QP 0x%x could not be moved to error: %s", qp->qpn,
			   log_strerror(err));
	atomic_store(&qp->state, IBV_QPS_ERR);
}

void verbs_retry_later(struct qp *qp, _Atomic bool *stalled)
{
	qp->deadline_ns = clock_ns() + STALL_NS;
	context_timed(qp->context, qp->slot, qp->deadline_ns);
	atomic_store(stalled, true);
}

void verbs_stop_hostile(struct qp *qp, const char *queue)
{
	struct verbs_qp *vqp = qp->fabric;

	vqp->broken = true;
	verbs_qp_fail(qp);
	counter_add(&qp->vm->counters.protocol_errors, 1);
	vm_info(qp->vm, "QP 0x%x is not served any more: more work on its %s queue than that holds",
		qp->qpn, queue);
	events_async(qp->vm, PVHCA_EVENT_QP_FATAL, qp->handle);
}

static void post_bad_recv(struct qp *qp, uint16_t tag)
{
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_recv_wr wr = {
		.wr_id = verbs_wr_id(vqp, WR_ID_RECV | WR_ID_BAD, tag),
	}, *bad;
	int err;

	verbs_qp_fail(qp);
	counter_add(&qp->vm->counters.protocol_errors, 1);
	err = ibv_post_recv(vqp->qp, &wr, &bad);
	if (err)
		vm_info(qp->vm, "QP 0x%x: a refused receive has no completion: %s", qp->qpn,
			log_strerror(err));
}

/* The next entry is refused: now, or when its turn comes (0). */
static unsigned int refuse_receive(struct qp *qp, bool *more)
{
	struct verbs_qp *vqp = qp->fabric;

	*more = false;
	atomic_store(&vqp->recv_held, true);
	/* After that: a completion that comes between the two finds the flag. */
	if (!vqp->failing &&
	    (atomic_load(&vqp->receives) || (vqp->told && atomic_load(&vqp->in_flight))))
		return 0;
	atomic_store(&vqp->recv_held, false);
	atomic_fetch_add(&vqp->receives, 1);
	post_bad_recv(qp, work_queue_index(&qp->rq, qp->rq.ci));
	qp->rq.ci++;
	/* Its sends may have waited for that. */
	context_again(qp->context, qp->slot);
	*more = true;
	return 1;
}

/* The next entry, if it is plain. False: nothing happened. */
static inline bool add_plain(struct recv_batch *batch, const struct work_queue *rq, uint64_t id)
{
	struct ibv_recv_wr *wr = &batch->wr[batch->count];
	struct ibv_sge *sge = &batch->sge[batch->sges];
	struct plain_receive entry;

	plain_load_receive(rq, rq->ci + batch->count, &entry);
	if (!plain_receive_has_one(&entry) || !rq->max_sge)
		return false;
	sge->addr = le64toh(entry.sge.addr);
	sge->length = le32toh(entry.sge.length);
	sge->lkey = le32toh(entry.sge.lkey);
	wr->wr_id = id | le16toh(entry.wqe.tag);
	wr->num_sge = 1;
	return true;
}

/* The next entry, of whatever kind. False: it is refused. */
static bool add_any(struct recv_batch *batch, const struct work_queue *rq, uint64_t id)
{
	struct ibv_recv_wr *wr = &batch->wr[batch->count];
	struct recv_request request;

	if (work_queue_take_recv(rq, rq->ci + batch->count, &request, &batch->sge[batch->sges]))
		return false;
	wr->wr_id = id | request.tag;
	wr->num_sge = request.num_sge;
	return true;
}

/*
 * Up to posted entries of rq. False: the entry after them is refused. headers: of those that
 * may become datagrams', or NULL.
 */
static bool build_receives(const struct work_queue *rq, uint64_t id, struct verbs_headers *headers,
			   struct recv_batch *batch, uint32_t posted)
{
	struct ibv_recv_wr *wr;
	bool sense = true;

	batch->count = batch->sges = 0;
	while (batch->count < posted && batch->count < BATCH &&
	       batch->sges + rq->max_sge <= SGE_POOL) {
		sense = add_plain(batch, rq, id) || add_any(batch, rq, id);
		if (!sense)
			break;
		wr = &batch->wr[batch->count];
		wr->next = wr + 1;
		wr->sg_list = &batch->sge[batch->sges];
		if (headers)
			verbs_headers_note(headers, wr->wr_id & WR_ID_INDEX_MASK, wr->sg_list,
					   wr->num_sge);
		batch->sges += wr->num_sge;
		batch->count++;
	}
	if (batch->count)
		batch->wr[batch->count - 1].next = NULL;
	return sense;
}

static unsigned int serve_receives(struct qp *qp, bool *more)
{
	struct recv_batch *batch = &recv_batch;
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_recv_wr *bad = NULL;
	unsigned int taken;
	uint32_t posted;
	bool refused;
	int err = 0;

	*more = false;
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX) {
		verbs_stop_hostile(qp, "receive");
		return 0;
	}
	if (!posted)
		return 0;
	if (atomic_load(&vqp->recv_held))
		return refuse_receive(qp, more);
	refused = !build_receives(&qp->rq, verbs_wr_id(vqp, WR_ID_RECV, 0), vqp->headers, batch,
				  posted);
	verbs_receiving_begins(qp->vm, &vqp->receiving);
	/* Before they can complete, so that the count never falls below 0. */
	atomic_fetch_add(&vqp->receives, batch->count);
	if (batch->count)
		err = ibv_post_recv(vqp->qp, batch->wr, &bad);
	taken = !err ? batch->count : bad ? bad - batch->wr : 0;
	atomic_fetch_sub(&vqp->receives, batch->count - taken);
	qp->rq.ci += taken;

	if (err == ENOMEM) {
		verbs_retry_later(qp, &vqp->recv_stalled);
	} else if (err || refused) {
		taken += refuse_receive(qp, more);
	} else {
		*more = taken < posted;
	}
	counter_add(&qp->vm->counters.receives, taken);
	return taken;
}

/* May a worker go on, or a command, which has no pass? */
static bool goes_on(struct pass *pass)
{
	return !pass || pass_goes_on(pass);
}

unsigned int verbs_serve_receives(struct pass *pass, struct qp *qp)
{
	struct verbs_qp *vqp = qp->fabric;
	unsigned int n, taken = 0, rounds = 0;
	bool more = true;

	if (!qp->rq.entries || vqp->broken || atomic_load(&qp->state) == IBV_QPS_RESET)
		return 0;
	/* A hostile guest may post as fast as we take: bounded by the ring. */
	while (more && rounds++ <= qp->rq.entries / BATCH && goes_on(pass)) {
		n = serve_receives(qp, &more);
		taken += n;
		if (pass)
			pass_spend(pass, PASS_RECEIVE_NS * (int64_t)n);
	}
	if (more)
		context_again(qp->context, qp->slot);
	return taken;
}

static void srq_fail(struct srq *srq, const char *why)
{
	struct verbs_srq *vsrq = srq->fabric;

	vsrq->failed = true;
	counter_add(&srq->vm->counters.protocol_errors, 1);
	vm_info(srq->vm, "an SRQ is not served any more: %s", why);
	events_async(srq->vm, PVHCA_EVENT_SRQ_ERR, srq->handle);
}

static unsigned int serve_srq(struct srq *srq, bool *more)
{
	struct recv_batch *batch = &recv_batch;
	struct verbs_srq *vsrq = srq->fabric;
	uint32_t posted = work_queue_posted(&srq->rq);
	struct ibv_recv_wr *bad = NULL;
	unsigned int taken;
	bool refused;
	int err = 0;

	*more = false;
	if (posted == UINT32_MAX) {
		srq_fail(srq, "more is posted than it holds");
		return 0;
	}
	if (!posted)
		return 0;
	refused = !build_receives(&srq->rq, WR_ID_RECV | WR_ID_SRQ, vsrq->headers, batch, posted);
	verbs_receiving_begins(srq->vm, &vsrq->receiving);
	if (batch->count)
		err = ibv_post_srq_recv(vsrq->srq, batch->wr, &bad);
	taken = !err ? batch->count : bad ? bad - batch->wr : 0;
	srq->rq.ci += taken;
	if (err == ENOMEM)
		atomic_store(&vsrq->stalled, true);
	else if (err || refused)
		srq_fail(srq, err ? log_strerror(err) : "an entry makes no sense");
	else
		*more = taken < posted;
	counter_add(&srq->vm->counters.receives, taken);
	return taken;
}

unsigned int verbs_srq_serve(struct pass *pass, struct srq *srq)
{
	struct verbs_srq *vsrq = srq->fabric;
	unsigned int n, taken = 0, rounds = 0;
	bool more = true;

	while (more && !vsrq->failed && rounds++ <= srq->rq.entries / BATCH && goes_on(pass)) {
		n = serve_srq(srq, &more);
		taken += n;
		if (pass)
			pass_spend(pass, PASS_RECEIVE_NS * (int64_t)n);
	}
	if (more && !vsrq->failed)
		context_again(srq->context, srq->slot);
	return taken;
}
