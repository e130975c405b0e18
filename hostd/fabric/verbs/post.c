// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From guests' rings to the host engine.
 *
 * What is pending on a QP goes to the engine in one chain. Addresses and keys
 * are passed as they are: the engine checks them against the guest's own PD.
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
#include "fabric/verbs/private.h"
#include "worker/worker.h"

#define BATCH	    32
#define SGE_POOL    512
#define INLINE_POOL 32768 /* bytes */

/* Work requests under construction; per thread, being too large for a stack. */
struct send_batch {
	struct ibv_send_wr wr[BATCH];
	struct ibv_sge sge[SGE_POOL];
	uint8_t data[INLINE_POOL];
	unsigned int count, sges;
	uint32_t bytes;
	uint64_t payload, inlined;
	struct ibv_mw *bound; /* by the last one, or NULL */
};

static __thread struct send_batch send_batch;

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

/*
 * What stands for a datagram's destination in an entry that is flushed: libraries
 * copy an address handle's contents, whatever these are.
 */
static union {
	struct ibv_ah ah;
	uint8_t room[1024];
} no_address;

/* Likewise for the region of a window that is bound to nothing; its key is 0. */
static struct ibv_mr no_region;

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

/* Objects that an entry names, by handle. False: there are none such in the QP's PD. */
static bool fill_objects(const struct qp *qp, const struct send_request *request,
			 struct ibv_send_wr *wr)
{
	struct vm *vm = qp->vm;
	const struct bind_request *bind = &request->bind;
	struct ibv_mr *region = &no_region;
	struct ah *ah;
	struct mr *mr;
	struct mw *mw;

	if (qp->type == PVHCA_QPT_UD) {
		ah = table_find_rcu(&vm->ahs, request->ah);
		if (!ah || ah->pd != qp->pd)
			return false;
		wr->wr.ud.ah = ah->fabric;
		wr->wr.ud.remote_qpn = request->remote_qpn;
		wr->wr.ud.remote_qkey = request->remote_qkey;
	} else if (request->opcode == PVHCA_WQE_BIND_MW) {
		mw = table_find_rcu(&vm->mws, bind->mw_handle);
		if (!mw || mw->pd != qp->pd)
			return false;
		if (bind->length) {
			mr = table_find_rcu(&vm->mrs, bind->mr_handle);
			/* rxe of Linux 6.1 does not see that a range wraps. */
			if (!mr || mr->pd != qp->pd || !mr_contains(mr, bind->addr, bind->length))
				return false;
			region = verbs_mr_host(mr);
		}
		wr->bind_mw.mw = mw->fabric;
		wr->bind_mw.rkey = bind->rkey;
		wr->bind_mw.bind_info = (struct ibv_mw_bind_info){
			.mr = region,
			.addr = bind->addr,
			.length = bind->length,
			.mw_access_flags = bind->access,
		};
	}
	return true;
}

static void fill_operation(const struct send_request *request, struct ibv_send_wr *wr)
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

/* Add one checked request to the batch, whose SGEs or data are in place. False: refused. */
static bool batch_add(struct send_batch *batch, const struct qp *qp,
		      const struct send_request *request)
{
	struct ibv_send_wr *wr = &batch->wr[batch->count];
	struct ibv_sge *sge = &batch->sge[batch->sges];

	*wr = (struct ibv_send_wr){
		.wr_id = verbs_wr_id(qp->fabric, 0, request->index),
		.opcode = host_opcode[request->opcode],
		.send_flags = host_flags(request->flags),
		.sg_list = sge,
		.num_sge = request->num_sge,
	};
	if (!fill_objects(qp, request, wr))
		return false;
	if (request->flags & PVHCA_WQE_F_INLINE) {
		*sge = (struct ibv_sge){
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
	batch->bound = request->opcode == PVHCA_WQE_BIND_MW ? wr->bind_mw.mw : NULL;
	return true;
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
static unsigned int post_sends(struct verbs_qp *vqp, struct send_batch *batch, int *err)
{
	struct ibv_send_wr *bad = NULL;
	unsigned int taken;

	*err = 0;
	if (!batch->count)
		return 0;
	ask_for_the_last(&batch->wr[batch->count - 1]);
	*err = ibv_post_send(vqp->qp, batch->wr, &bad);
	if (!*err && batch->bound)
		window_has_key(batch->bound, batch->wr[batch->count - 1].bind_mw.rkey);
	taken = !*err ? batch->count : bad ? bad - batch->wr : 0;
	if (taken)
		vqp->told = batch->wr[taken - 1].send_flags & IBV_SEND_SIGNALED;
	return taken;
}

static bool batch_has_room(const struct send_batch *batch, const struct work_queue *sq)
{
	return batch->count < BATCH && !batch->bound && batch->sges + sq->max_sge + 1 <= SGE_POOL &&
		batch->bytes + (1u << sq->log_stride) <= INLINE_POOL;
}

/* More sends, or with a wrapped count fewer, are with the engine. */
static void count_in_flight(struct qp *qp, uint32_t more)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp = qp->fabric;

	atomic_fetch_add_explicit(&vqp->in_flight, more, memory_order_relaxed);
	atomic_fetch_add_explicit(&vv->in_flight, more, memory_order_relaxed);
}

/* Have the VM's turn and its rate room for another entry of the batch? No pass: a command's. */
static bool pass_has_room(struct pass *pass, const struct send_batch *batch)
{
	if (!pass)
		return true;
	return pass_goes_on(pass) &&
		(!pass->limited ||
		 (batch->count < pass->rate_messages &&
		  (int64_t)batch->payload < pass->rate_bytes));
}

/* What the engine took counts against the VM's rate; of a command, afterwards. */
static void pass_sent(struct pass *pass, struct vm *vm, const struct send_batch *batch,
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

/* The next entries, as many as fit in a batch. False: the one after them is refused. */
static bool build_sends(struct pass *pass, struct qp *qp, struct send_batch *batch, uint32_t posted,
			struct send_request *request)
{
	struct verbs_qp *vqp = qp->fabric;
	uint32_t i;

	batch->count = batch->sges = batch->bytes = 0;
	batch->payload = batch->inlined = 0;
	batch->bound = NULL;
	for (i = 0; i < posted && batch_has_room(batch, &qp->sq) && pass_has_room(pass, batch);
	     i++) {
		if (pass)
			pass_spend(pass, PASS_ENTRY_NS);
		if (work_queue_take_send(&qp->sq, qp->sq.ci + i, vqp->send_opcodes, request,
					 &batch->sge[batch->sges], &batch->data[batch->bytes]) ||
		    !batch_add(batch, qp, request))
			return false;
	}
	return true;
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
	struct send_batch *batch = &send_batch;
	struct verbs_qp *vqp = qp->fabric;
	struct send_request request;
	unsigned int taken;
	bool refused;
	int err;

	if (atomic_load(&vqp->held))
		return refuse_send(qp, vqp->held_bind, more);
	*more = false;
	refused = !build_sends(pass, qp, batch, posted, &request);
	/* Before they can complete, so that the count never falls below 0. */
	count_in_flight(qp, batch->count);
	taken = post_sends(vqp, batch, &err);
	count_in_flight(qp, taken - batch->count);
	qp->sq.ci += taken;

	if (err == ENOMEM) {
		verbs_retry_later(qp, &vqp->send_stalled);
	} else if (err || refused) {
		taken += refuse_send(qp, !err && request.opcode == PVHCA_WQE_BIND_MW, more);
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
