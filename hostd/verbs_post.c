// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From guests' rings to the host engine.
 *
 * What is pending on a QP goes to the engine in one chain. Addresses and keys
 * are passed as they are: the engine checks them against the guest's own PD.
 *
 * An entry that the engine or this code refuses cannot fail the guest's call any
 * more, which returned long ago. The host QP is then moved to the error state,
 * which flushes what is outstanding, and in place of the bad entry an empty one is
 * posted, which is flushed in its order and delivered as LOC_QP_OP_ERR.
 */
#include <errno.h>
#include <time.h>

#include "log.h"
#include "verbs.h"
#include "worker.h"

#define BATCH		32
#define SGE_POOL	512
#define INLINE_POOL	32768	/* bytes */
#define STALL_NS	1000000

/* Work requests under construction; per thread, being too large for a stack. */
struct send_batch {
	struct ibv_send_wr wr[BATCH];
	struct ibv_sge sge[SGE_POOL];
	uint8_t data[INLINE_POOL];
	unsigned int count, sges;
	uint32_t bytes;
	uint64_t payload, inlined;
};

struct recv_batch {
	struct ibv_recv_wr wr[BATCH];
	struct ibv_sge sge[SGE_POOL];
	unsigned int count, sges;
};

static __thread struct send_batch send_batch;
static __thread struct recv_batch recv_batch;

static const enum ibv_wr_opcode host_opcode[PVHCA_WQE_OPCODES] = {
	[PVHCA_WQE_SEND] = IBV_WR_SEND,
	[PVHCA_WQE_SEND_IMM] = IBV_WR_SEND_WITH_IMM,
	[PVHCA_WQE_SEND_INV] = IBV_WR_SEND_WITH_INV,
	[PVHCA_WQE_WRITE] = IBV_WR_RDMA_WRITE,
	[PVHCA_WQE_WRITE_IMM] = IBV_WR_RDMA_WRITE_WITH_IMM,
	[PVHCA_WQE_READ] = IBV_WR_RDMA_READ,
	[PVHCA_WQE_ATOMIC_CMP_SWP] = IBV_WR_ATOMIC_CMP_AND_SWP,
	[PVHCA_WQE_ATOMIC_FETCH_ADD] = IBV_WR_ATOMIC_FETCH_AND_ADD,
	[PVHCA_WQE_LOCAL_INV] = IBV_WR_LOCAL_INV,
	[PVHCA_WQE_BIND_MW] = IBV_WR_BIND_MW,
};

static uint64_t wr_id(const struct verbs_qp *vqp, uint32_t flags,
		      uint16_t index)
{
	return (uint64_t)vqp->id << WR_ID_QP_SHIFT | flags | index;
}

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
		g_warning("%s: host QP 0x%x could not be moved to error: %s",
			  qp->session->name, qp->qpn, g_strerror(err));
	atomic_store(&qp->state, IBV_QPS_ERR);
}

static void post_bad_send(struct qp *qp, uint16_t index)
{
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_send_wr wr = {
		.wr_id = wr_id(vqp, WR_ID_BAD, index),
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	}, *bad;
	int err;

	verbs_qp_fail(qp);
	counter_add(&qp->session->counters.protocol_errors, 1);
	err = ibv_post_send(vqp->qp, &wr, &bad);
	if (err)
		g_info("%s: QP 0x%x: a refused entry has no completion: %s",
		       qp->session->name, qp->qpn, g_strerror(err));
}

static void post_bad_recv(struct qp *qp, uint16_t tag)
{
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_recv_wr wr = {
		.wr_id = wr_id(vqp, WR_ID_RECV | WR_ID_BAD, tag),
	}, *bad;
	int err;

	verbs_qp_fail(qp);
	counter_add(&qp->session->counters.protocol_errors, 1);
	err = ibv_post_recv(vqp->qp, &wr, &bad);
	if (err)
		g_info("%s: QP 0x%x: a refused receive has no completion: %s",
		       qp->session->name, qp->qpn, g_strerror(err));
}

static unsigned int host_flags(uint8_t flags)
{
	unsigned int host = 0;

	if (flags & PVHCA_WQE_F_SIGNALED)
		host |= IBV_SEND_SIGNALED;
	if (flags & PVHCA_WQE_F_SOLICITED)
		host |= IBV_SEND_SOLICITED;
	if (flags & PVHCA_WQE_F_FENCE)
		host |= IBV_SEND_FENCE;
	if (flags & PVHCA_WQE_F_INLINE)
		host |= IBV_SEND_INLINE;
	return host;
}

static void fill_operation(const struct send_request *request,
			   struct ibv_send_wr *wr)
{
	switch (request->opcode) {
	case PVHCA_WQE_WRITE_IMM:
		wr->imm_data = request->imm_data;
		/* fall through */
	case PVHCA_WQE_WRITE:
	case PVHCA_WQE_READ:
		wr->wr.rdma.remote_addr = request->remote_addr;
		wr->wr.rdma.rkey = request->rkey;
		break;
	case PVHCA_WQE_SEND_IMM:
		wr->imm_data = request->imm_data;
		break;
	case PVHCA_WQE_SEND_INV:
	case PVHCA_WQE_LOCAL_INV:
		wr->invalidate_rkey = request->inv_rkey;
		break;
	case PVHCA_WQE_ATOMIC_CMP_SWP:
	case PVHCA_WQE_ATOMIC_FETCH_ADD:
		wr->wr.atomic.remote_addr = request->remote_addr;
		wr->wr.atomic.rkey = request->rkey;
		wr->wr.atomic.compare_add = request->compare_add;
		wr->wr.atomic.swap = request->swap;
		break;
	}
}

/* Add one checked request to the batch, whose SGEs or data are in place. */
static void batch_add(struct send_batch *batch, const struct verbs_qp *vqp,
		      const struct send_request *request)
{
	struct ibv_send_wr *wr = &batch->wr[batch->count];
	struct ibv_sge *sge = &batch->sge[batch->sges];

	*wr = (struct ibv_send_wr) {
		.wr_id = wr_id(vqp, 0, request->index),
		.opcode = host_opcode[request->opcode],
		.send_flags = host_flags(request->flags),
		.sg_list = sge,
		.num_sge = request->num_sge,
	};
	if (request->flags & PVHCA_WQE_F_INLINE) {
		*sge = (struct ibv_sge) {
			.addr = (uintptr_t)&batch->data[batch->bytes],
			.length = request->inline_len,
		};
		wr->num_sge = request->inline_len ? 1 : 0;
		batch->bytes += request->inline_len;
		batch->inlined += request->inline_len;
	}
	batch->payload += request->length;
	batch->sges += wr->num_sge;
	fill_operation(request, wr);
	if (batch->count)
		wr[-1].next = wr;
	batch->count++;
}

/* Post the batch. Returns how many the engine took; *err why not all. */
static unsigned int post_sends(struct verbs_qp *vqp, struct send_batch *batch,
			       int *err)
{
	struct ibv_send_wr *bad = NULL;

	*err = 0;
	if (!batch->count)
		return 0;
	*err = ibv_post_send(vqp->qp, batch->wr, &bad);
	if (!*err)
		return batch->count;
	return bad ? bad - batch->wr : 0;
}

static bool batch_has_room(const struct send_batch *batch,
			   const struct work_queue *sq)
{
	return batch->count < BATCH &&
	       batch->sges + sq->max_sge + 1 <= SGE_POOL &&
	       batch->bytes + (1u << sq->log_stride) <= INLINE_POOL;
}

/*
 * The host's queue is full: the next completion has us look again, and so does
 * the clock, should none come.
 */
static void retry_later(struct qp *qp, _Atomic bool *stalled)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	qp->deadline_ns = now.tv_sec * 1000000000ull + now.tv_nsec + STALL_NS;
	context_timed(qp->context, qp->slot);
	atomic_store(stalled, true);
}

static void stop_hostile(struct qp *qp, const char *queue)
{
	verbs_qp_fail(qp);
	session_guest_fault(qp->session, "QP 0x%x: more posted to its %s queue than it holds",
			    qp->qpn, queue);
}

/* More sends, or with a wrapped count fewer, are with the engine. */
static void count_in_flight(struct qp *qp, uint32_t more)
{
	struct verbs_session *vs = qp->session->fabric_session;
	struct verbs_qp *vqp = qp->fabric;

	atomic_fetch_add_explicit(&vqp->in_flight, more, memory_order_relaxed);
	atomic_fetch_add_explicit(&vs->in_flight, more, memory_order_relaxed);
}

/*
 * Hand a batch of sends over. Returns the number taken; *more: there are
 * others, or the same again, to be taken at once.
 */
static unsigned int serve_sends(struct qp *qp, bool *more)
{
	struct counters *counters = &qp->session->counters;
	struct send_batch *batch = &send_batch;
	struct verbs_qp *vqp = qp->fabric;
	struct send_request request;
	bool refused = false;
	uint32_t posted, i;
	unsigned int taken;
	int err;

	posted = work_queue_posted(&qp->sq);
	if (posted == UINT32_MAX) {
		stop_hostile(qp, "send");
		return 0;
	}
	batch->count = batch->sges = batch->bytes = 0;
	batch->payload = batch->inlined = 0;
	for (i = 0; i < posted && batch_has_room(batch, &qp->sq); i++) {
		refused = send_request_take(&qp->sq, qp->sq.ci + i,
					    vqp->send_opcodes, &request,
					    &batch->sge[batch->sges],
					    &batch->data[batch->bytes]);
		if (refused)
			break;
		batch_add(batch, vqp, &request);
	}
	/* Before they can complete, so that the count never falls below 0. */
	count_in_flight(qp, batch->count);
	taken = post_sends(vqp, batch, &err);
	count_in_flight(qp, taken - batch->count);
	qp->sq.ci += taken;

	if (err == ENOMEM) {
		retry_later(qp, &vqp->send_stalled);
		*more = false;
	} else if (err || refused) {
		count_in_flight(qp, 1);
		post_bad_send(qp, work_queue_index(&qp->sq, qp->sq.ci));
		qp->sq.ci++;
		taken++;
		*more = true;
	} else {
		*more = taken < posted;
	}
	counter_add(&counters->messages, taken);
	counter_add(&counters->payload_bytes_sent, batch->payload);
	if (batch->inlined)
		counter_add(&counters->inline_bytes, batch->inlined);
	return taken;
}

static void build_receives(struct qp *qp, struct recv_batch *batch,
			   uint32_t posted, bool *refused)
{
	struct verbs_qp *vqp = qp->fabric;
	struct recv_request request;
	struct ibv_recv_wr *wr;

	batch->count = batch->sges = 0;
	while (batch->count < posted && batch->count < BATCH &&
	       batch->sges + qp->rq.max_sge <= SGE_POOL) {
		*refused = recv_request_take(&qp->rq, qp->rq.ci + batch->count,
					     &request,
					     &batch->sge[batch->sges]);
		if (*refused)
			return;
		wr = &batch->wr[batch->count];
		*wr = (struct ibv_recv_wr) {
			.wr_id = wr_id(vqp, WR_ID_RECV, request.tag),
			.sg_list = &batch->sge[batch->sges],
			.num_sge = request.num_sge,
		};
		batch->sges += request.num_sge;
		if (batch->count++)
			wr[-1].next = wr;
	}
}

static unsigned int serve_receives(struct qp *qp, bool *more)
{
	struct recv_batch *batch = &recv_batch;
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_recv_wr *bad = NULL;
	bool refused = false;
	unsigned int taken;
	uint32_t posted;
	int err = 0;

	*more = false;
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX) {
		stop_hostile(qp, "receive");
		return 0;
	}
	if (!posted)
		return 0;
	build_receives(qp, batch, posted, &refused);
	if (batch->count)
		err = ibv_post_recv(vqp->qp, batch->wr, &bad);
	taken = !err ? batch->count : bad ? bad - batch->wr : 0;
	qp->rq.ci += taken;

	if (err == ENOMEM) {
		retry_later(qp, &vqp->recv_stalled);
	} else if (err || refused) {
		post_bad_recv(qp, work_queue_index(&qp->rq, qp->rq.ci));
		qp->rq.ci++;
		taken++;
		*more = true;
	} else {
		*more = taken < posted;
	}
	counter_add(&qp->session->counters.receives, taken);
	return taken;
}

unsigned int verbs_serve_receives(struct qp *qp)
{
	unsigned int taken = 0, rounds = 0;
	bool more = true;

	if (!qp->rq.entries || atomic_load(&qp->state) == IBV_QPS_RESET)
		return 0;
	/* A hostile guest may post as fast as we take: bounded by the ring. */
	while (more && rounds++ <= qp->rq.entries / BATCH)
		taken += serve_receives(qp, &more);
	return taken;
}

unsigned int verbs_qp_serve(struct worker *worker, struct qp *qp)
{
	enum ibv_qp_state state = atomic_load(&qp->state);
	unsigned int taken;
	bool more = false;

	(void)worker;
	/* Receives first: they may be what a peer needs for what we send. */
	taken = verbs_serve_receives(qp);
	if (state >= IBV_QPS_RTS && work_queue_posted(&qp->sq))
		taken += serve_sends(qp, &more);
	if (more)
		context_again(qp->context, qp->slot);
	return taken;
}
