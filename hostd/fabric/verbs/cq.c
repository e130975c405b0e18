// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's CQs: reserved by QPs, polled by the pass, delivered to guests.
 */
#include <endian.h>
#include <errno.h>

#include "lib/clock.h"
#include "vm/cq.h"
#include "lib/log.h"
#include "fabric/verbs/private.h"
#include "worker/worker.h"

#include <urcu-qsbr.h>

#define HOST_CQ_SIZE 4096u /* usual; larger where one QP needs it */
#define POLL_BATCH   32
#define POLL_MAX     256 /* of one CQ in one pass */

static int host_cq_create(struct verbs_vm *vv, enum verbs_completions what, uint32_t n)
{
	uint32_t count = atomic_load(&vv->num_host_cqs);
	uint32_t limit = vv->attr.max_cqe, size = HOST_CQ_SIZE;
	struct verbs_host_cq *host_cq = &vv->host_cq[count];

	if (size < n)
		size = n;
	if (size > limit)
		size = limit;
	if (size < n || count == VERBS_HOST_CQS)
		return PVHCA_ST_NO_MEMORY;
	host_cq->cq = ibv_create_cq(vv->context, size, host_cq, vv->channel, 0);
	if (!host_cq->cq)
		return verbs_status(errno);
	host_cq->what = what;
	host_cq->capacity = host_cq->cq->cqe;
	atomic_store(&host_cq->reserved, 0);
	host_cq->armed = false;
	atomic_store(&vv->num_host_cqs, count + 1);
	return PVHCA_ST_OK;
}

/* With vv->lock held: a CQ is made for all who want one just now. */
static int host_cq_reserve(struct verbs_vm *vv, enum verbs_completions what, uint32_t n,
			   struct verbs_host_cq **host_cq)
{
	uint32_t i, count = atomic_load(&vv->num_host_cqs);
	int status;

	for (i = 0; i < count; i++)
		if (vv->host_cq[i].what == what &&
		    n <= vv->host_cq[i].capacity - vv->host_cq[i].reserved)
			goto found;
	status = host_cq_create(vv, what, n);
	if (status)
		return status;
found:
	*host_cq = &vv->host_cq[i];
	atomic_fetch_add(&(*host_cq)->reserved, n);
	return PVHCA_ST_OK;
}

int verbs_host_cq_reserve(struct verbs_vm *vv, enum verbs_completions what, uint32_t n,
			  struct verbs_host_cq **host_cq)
{
	int status;

	pthread_mutex_lock(&vv->lock);
	status = host_cq_reserve(vv, what, n, host_cq);
	pthread_mutex_unlock(&vv->lock);
	return status;
}

void verbs_host_cq_release(struct verbs_host_cq *host_cq, uint32_t n)
{
	atomic_fetch_sub(&host_cq->reserved, n);
}

void verbs_host_cqs_destroy(struct verbs_vm *vv)
{
	uint32_t i, count = atomic_exchange(&vv->num_host_cqs, 0);
	int err;

	for (i = 0; i < count; i++) {
		err = ibv_destroy_cq(vv->host_cq[i].cq);
		if (err)
			g_warning("host CQ could not be destroyed: %s", log_strerror(err));
	}
}

static const uint8_t cqe_opcodes[] = {
	[IBV_WC_SEND] = PVHCA_CQE_SEND,		  [IBV_WC_RDMA_WRITE] = PVHCA_CQE_WRITE,
	[IBV_WC_RDMA_READ] = PVHCA_CQE_READ,	  [IBV_WC_COMP_SWAP] = PVHCA_CQE_COMP_SWAP,
	[IBV_WC_FETCH_ADD] = PVHCA_CQE_FETCH_ADD, [IBV_WC_BIND_MW] = PVHCA_CQE_BIND_MW,
	[IBV_WC_LOCAL_INV] = PVHCA_CQE_LOCAL_INV,
};

/* Of a success. */
static inline uint8_t cqe_opcode(const struct ibv_wc *wc)
{
	if (wc->wr_id & WR_ID_RECV)
		return wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM ? PVHCA_CQE_RECV_WRITE_IMM :
								 PVHCA_CQE_RECV;
	return wc->opcode < G_N_ELEMENTS(cqe_opcodes) ? cqe_opcodes[wc->opcode] : PVHCA_CQE_SEND;
}

static inline uint8_t cqe_flags(unsigned int wc_flags)
{
	uint8_t flags = 0;

	if (wc_flags & IBV_WC_GRH)
		flags |= PVHCA_CQE_F_GRH;
	if (wc_flags & IBV_WC_WITH_IMM)
		flags |= PVHCA_CQE_F_IMM;
	if (wc_flags & IBV_WC_WITH_INV)
		flags |= PVHCA_CQE_F_INV;
	return flags;
}

static void cqe_from_error(const struct ibv_wc *wc, const struct qp *qp, uint64_t now,
			   struct pvhca_cqe *cqe)
{
	uint8_t status = wc->status;

	/* The stand-in for a bad entry was flushed in its order. */
	if (wc->wr_id & WR_ID_BAD)
		status = wc->wr_id & WR_ID_BIND ? IBV_WC_MW_BIND_ERR : IBV_WC_LOC_QP_OP_ERR;
	*cqe = (struct pvhca_cqe){
		.qpn = htole32(qp->qpn),
		.byte_len = htole32(wc->vendor_err),
		.timestamp = htole64(now),
		.wqe_index = htole16(wc->wr_id & WR_ID_INDEX_MASK),
		.opcode = wc->wr_id & WR_ID_RECV ? PVHCA_CQE_RECV : PVHCA_CQE_SEND,
		.status = status,
	};
}

/* Of a send an engine need not set what only receives have. */
static inline void cqe_from_wc(const struct ibv_wc *wc, const struct qp *qp, bool recv,
			       uint64_t now, struct pvhca_cqe *cqe)
{
	*cqe = (struct pvhca_cqe){
		.qpn = htole32(qp->qpn),
		.byte_len = htole32(wc->byte_len),
		.src_qp = htole32(recv ? wc->src_qp : 0),
		.timestamp = htole64(now),
		.pkey_index = htole16(recv ? wc->pkey_index : 0),
		.wqe_index = htole16(wc->wr_id & WR_ID_INDEX_MASK),
		.opcode = cqe_opcode(wc),
		.sl = recv ? wc->sl : 0,
	};
	if (!wc->wc_flags)
		return;
	cqe->flags = cqe_flags(wc->wc_flags);
	if (cqe->flags & PVHCA_CQE_F_INV)
		cqe->inv_rkey = htole32(wc->invalidated_rkey);
	else if (cqe->flags & PVHCA_CQE_F_IMM)
		cqe->imm_data = wc->imm_data;
}

/* A send completed, and with it all before it. Under qp->rq_lock. */
static void retire_sends(struct verbs_vm *vv, struct qp *qp, struct verbs_qp *vqp, uint32_t index)
{
	uint32_t count = (index - vqp->retired - 1) & (qp->sq.entries - 1);

	count++;
	vqp->retired = index;
	atomic_fetch_sub(&vqp->in_flight, count);
	atomic_fetch_sub_explicit(&vv->in_flight, count, memory_order_relaxed);
}

void verbs_forget_in_flight(struct verbs_vm *vv, struct verbs_qp *vqp)
{
	uint32_t count = atomic_exchange(&vqp->in_flight, 0);

	atomic_fetch_sub_explicit(&vv->in_flight, count, memory_order_relaxed);
	vqp->retired = UINT32_MAX;
}

unsigned int verbs_vm_in_flight(const struct vm *vm)
{
	const struct verbs_vm *vv = vm->fabric_vm;
	int32_t count = atomic_load_explicit(&vv->in_flight, memory_order_relaxed);

	return count > 0 ? count : 0;
}

/* Room in the host's queue again: have the guest's ring looked at. */
static void resume_stalled(struct qp *qp, struct verbs_qp *vqp)
{
	bool stalled = atomic_load_explicit(&vqp->send_stalled, memory_order_relaxed) ||
		atomic_load_explicit(&vqp->recv_stalled, memory_order_relaxed);

	if (!stalled)
		return;
	atomic_store(&vqp->send_stalled, false);
	atomic_store(&vqp->recv_stalled, false);
	context_again(qp->context, qp->slot);
}

/*
 * A refused entry may have its turn now, see fabric/verbs/post.c. The counts are read after
 * they were lowered and after the flags; who sets a flag reads the counts after it.
 */
static void resume_held(struct qp *qp, struct verbs_qp *vqp)
{
	bool send = atomic_load(&vqp->held), recv = atomic_load(&vqp->recv_held);

	if ((send && !atomic_load(&vqp->in_flight)) || (recv && !atomic_load(&vqp->receives)))
		context_again(qp->context, qp->slot);
}

static void resume_stalled_srq(struct srq *srq)
{
	struct verbs_srq *vsrq = srq->fabric;

	if (!atomic_load_explicit(&vsrq->stalled, memory_order_relaxed))
		return;
	atomic_store(&vsrq->stalled, false);
	context_again(srq->context, srq->slot);
}

/* The QP of a completion, or NULL: it is gone. */
static struct qp *find_qp(struct verbs_vm *vv, const struct ibv_wc *wc)
{
	uint32_t index = wc->wr_id >> WR_ID_QP_SHIFT & ((1u << VERBS_QP_INDEX_BITS) - 1);

	if (wc->wr_id & WR_ID_SRQ)
		return verbs_qp_by_num(vv, wc->qp_num);
	return index < vv->max_qps ? rcu_dereference(vv->qps[index]) : NULL;
}

/*
 * Of the work from before a RESET nothing is delivered any more, but what an SRQ's
 * entry received: nobody else would tell the guest that the entry is gone.
 */
static bool is_current(const struct verbs_qp *vqp, const struct ibv_wc *wc)
{
	return wc->wr_id & WR_ID_SRQ || wc->wr_id >> WR_ID_QP_SHIFT == vqp->id;
}

/* Are both of one queue, posted between the same two RESETs? */
static inline bool is_same_queue(const struct ibv_wc *a, const struct ibv_wc *b)
{
	const uint64_t apart = WR_ID_RECV | WR_ID_SRQ | ~0ull << WR_ID_QP_SHIFT;

	if ((a->wr_id ^ b->wr_id) & apart)
		return false;
	return !(a->wr_id & WR_ID_SRQ) || a->qp_num == b->qp_num;
}

/**
 * struct delivery - completions of one queue that follow each other
 * @errors: of them
 */
struct delivery {
	struct qp *qp;
	bool recv;
	unsigned int count;
	unsigned int errors;
	struct pvhca_cqe cqe[POLL_BATCH];
};

/* Under qp->rq_lock. */
static inline void delivery_add(struct delivery *delivery, const struct ibv_wc *wc, uint64_t now)
{
	struct qp *qp = delivery->qp;
	struct pvhca_cqe *cqe = &delivery->cqe[delivery->count];

	if (wc->status != IBV_WC_SUCCESS) {
		cqe_from_error(wc, qp, now, cqe);
		delivery->errors++;
	} else if (!delivery->recv) {
		/* Of no concern to the guest, which asked for no completion of it. */
		if (wc->wr_id & WR_ID_QUIET)
			return;
		cqe_from_wc(wc, qp, false, now, cqe);
	} else {
		cqe_from_wc(wc, qp, true, now, cqe);
	}
	/*
	 * ibv_wc does not tell whether the sender asked for an event, so
	 * each receive counts as solicited.
	 */
	if (delivery->recv)
		cqe->flags |= CQ_F_SOLICITED;
	delivery->count++;
}

/* What stands before datagrams: see headers.c. */
static void finish_datagrams(struct delivery *delivery)
{
	const struct qp *qp = delivery->qp;
	const struct verbs_srq *vsrq = qp->srq ? qp->srq->fabric : NULL;
	const struct verbs_qp *vqp = qp->fabric;
	struct verbs_headers *headers = vsrq ? vsrq->headers : vqp->headers;
	const struct pd *pd = vsrq ? qp->srq->pd : qp->pd;
	struct verbs_vm *vv = qp->vm->fabric_vm;
	const struct pvhca_cqe *cqe;

	if (atomic_load_explicit(&vv->translated, memory_order_relaxed))
		for (cqe = delivery->cqe; cqe < delivery->cqe + delivery->count; cqe++)
			if (!cqe->status)
				verbs_headers_show(headers, qp->vm, pd->fabric,
						   le16toh(cqe->wqe_index), le32toh(cqe->src_qp));
	verbs_headers_types(headers, vv, delivery->cqe, delivery->count);
}

/* Write them to the guest's CQ, and count n of its queue, the latest of which is last. Likewise. */
static void delivery_end(struct pass *pass, struct delivery *delivery, const struct ibv_wc *last,
			 unsigned int n)
{
	struct qp *qp = delivery->qp;
	struct verbs_qp *vqp = qp->fabric;

	if (delivery->count &&
	    !cq_push_many(pass, delivery->recv ? qp->recv_cq : qp->send_cq,
			  delivery->recv ? &qp->recv_held : &qp->send_held, delivery->cqe,
			  delivery->count)) {
		/* More outstanding than its queues hold: its worker stops the QP. */
		atomic_store(&vqp->overrun, true);
		context_again(qp->context, qp->slot);
	}
	if (!delivery->recv)
		retire_sends(qp->vm->fabric_vm, qp, vqp, last->wr_id & WR_ID_INDEX_MASK);
	else if (!(last->wr_id & WR_ID_SRQ))
		atomic_fetch_sub(&vqp->receives, n);
	resume_stalled(qp, vqp);
	resume_held(qp, vqp);
	if (delivery->recv && qp->srq)
		resume_stalled_srq(qp->srq);
}

/* What a look at a host CQ found: completions that guests got, and of these errors. */
struct tally {
	unsigned int completions;
	unsigned int errors;
};

/* Deliver the first of n completions, and those behind it of the same queue. Returns how many. */
static unsigned int deliver(struct pass *pass, struct vm *vm, const struct ibv_wc *wc,
			    unsigned int n, uint64_t now, struct tally *tally)
{
	struct qp *qp = find_qp(vm->fabric_vm, wc);
	struct delivery delivery;
	unsigned int i, same = 1;

	while (same < n && is_same_queue(wc, &wc[same]))
		same++;
	if (!qp)
		return same;
	delivery.qp = qp;
	delivery.recv = wc->wr_id & WR_ID_RECV;
	delivery.count = delivery.errors = 0;

	/* Against a RESET in between, after which nothing old may appear. */
	pthread_mutex_lock(&qp->rq_lock);
	if (is_current(qp->fabric, wc)) {
		for (i = 0; i < same; i++)
			delivery_add(&delivery, &wc[i], now);
		if (delivery.recv && qp->type == PVHCA_QPT_UD)
			finish_datagrams(&delivery);
		delivery_end(pass, &delivery, &wc[same - 1], same);
	}
	pthread_mutex_unlock(&qp->rq_lock);
	tally->completions += delivery.count;
	tally->errors += delivery.errors;
	return same;
}

/* No pass: a command's, which has all the time. */
static bool goes_on(struct pass *pass, unsigned int polled)
{
	if (!pass)
		return true;
	pass_spend(pass, PASS_VISIT_NS + PASS_COMPLETION_NS * (int64_t)polled);
	return pass_goes_on(pass);
}

/*
 * What was polled, per thread: an engine does not set what a completion has not, and a guest is
 * not to see what lies on a stack.
 */
static __thread struct ibv_wc polled[POLL_BATCH];

/* Poll a batch, and deliver it. Returns how many. */
static unsigned int poll_batch(struct pass *pass, struct vm *vm, struct ibv_cq *cq,
			       struct tally *tally)
{
	int n = ibv_poll_cq(cq, POLL_BATCH, polled);
	unsigned int i, count = n > 0 ? n : 0;
	uint64_t now;

	if (!count)
		return 0;
	now = clock_ns();
	for (i = 0; i < count;)
		i += deliver(pass, vm, &polled[i], count - i, now, tally);
	/* Engines leave it as it is where no bytes came. */
	for (i = 0; i < count; i++)
		polled[i].byte_len = 0;
	return count;
}

/* *on: the turn goes on. */
static unsigned int poll_host_cq(struct pass *pass, struct vm *vm, struct verbs_host_cq *host_cq,
				 bool *on)
{
	struct counters *counters = &vm->counters;
	struct tally tally = { 0 };
	unsigned int n, total = 0;

	do {
		n = poll_batch(pass, vm, host_cq->cq, &tally);
		total += n;
		*on = goes_on(pass, n);
	} while (n == POLL_BATCH && total < POLL_MAX && *on);

	if (tally.completions)
		counter_add(&counters->completions, tally.completions);
	if (tally.errors)
		counter_add(&counters->errors, tally.errors);
	return total;
}

/*
 * False: not all was polled. The turn is over; or a CQ is being drained, and a worker does not
 * wait for that.
 */
static bool poll_all(struct pass *pass, struct vm *vm, unsigned int *total)
{
	struct verbs_vm *vv = vm->fabric_vm;
	uint32_t i, count = atomic_load_explicit(&vv->num_host_cqs, memory_order_acquire);
	bool on = true;

	*total = 0;
	if (pthread_mutex_trylock(&vv->poll_lock))
		return false;
	for (i = 0; i < count && on; i++) {
		if (vv->next_poll >= count)
			vv->next_poll = 0;
		*total += poll_host_cq(pass, vm, &vv->host_cq[vv->next_poll++], &on);
	}
	pthread_mutex_unlock(&vv->poll_lock);
	return on;
}

unsigned int verbs_vm_poll(struct pass *pass, struct vm *vm)
{
	unsigned int total;

	(void)poll_all(pass, vm, &total);
	return total;
}

/*
 * As many as it holds at most: other QPs may go on filling it, and what was there
 * at the start is out by then.
 */
void verbs_host_cq_drain(struct vm *vm, struct verbs_host_cq *host_cq)
{
	struct verbs_vm *vv = vm->fabric_vm;
	unsigned int n, total = 0;
	bool on;

	pthread_mutex_lock(&vv->poll_lock);
	do {
		n = poll_host_cq(NULL, vm, host_cq, &on);
		total += n;
	} while (n && total < host_cq->capacity);
	pthread_mutex_unlock(&vv->poll_lock);
}

void verbs_receiving_begins(struct vm *vm, bool *receiving)
{
	struct verbs_vm *vv = vm->fabric_vm;

	if (*receiving)
		return;
	*receiving = true;
	/* A worker that sleeps may not have armed anything. */
	if (!atomic_fetch_add(&vv->receivers, 1))
		worker_wake(vm->worker);
}

void verbs_receiving_ends(struct vm *vm, bool *receiving)
{
	struct verbs_vm *vv = vm->fabric_vm;

	if (!*receiving)
		return;
	*receiving = false;
	atomic_fetch_sub(&vv->receivers, 1);
}

static bool may_complete(const struct verbs_vm *vv, const struct verbs_host_cq *host_cq)
{
	return atomic_load(host_cq->what == VERBS_SENDS ? &vv->in_flight : &vv->receivers);
}

/*
 * An event costs more than a completion, so none is asked for while the engine has no
 * work that could complete. Who gives it some is the worker itself, or wakes it
 * afterwards.
 */
bool verbs_vm_arm(struct pass *pass, struct vm *vm)
{
	struct verbs_vm *vv = vm->fabric_vm;
	uint32_t i, count = atomic_load(&vv->num_host_cqs);
	struct verbs_host_cq *host_cq;
	unsigned int total;
	int err;

	for (i = 0; i < count; i++) {
		host_cq = &vv->host_cq[i];
		if (host_cq->armed || !may_complete(vv, host_cq))
			continue;
		err = ibv_req_notify_cq(host_cq->cq, 0);
		if (err)
			return true; /* poll on rather than sleep for ever */
		host_cq->armed = true;
	}
	/* Whoever drains may have looked before we armed. */
	return !poll_all(pass, vm, &total) || total;
}

static bool is_any_armed(const struct verbs_vm *vv)
{
	uint32_t i, count = atomic_load(&vv->num_host_cqs);

	for (i = 0; i < count; i++)
		if (vv->host_cq[i].armed)
			return true;
	return false;
}

/* Each armed CQ has one event at most: no call is made to learn that there is none. */
void verbs_vm_event(struct pass *pass, struct vm *vm)
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct ibv_cq *cq;
	void *host_cq;

	(void)pass;
	while (is_any_armed(vv) && !ibv_get_cq_event(vv->channel, &cq, &host_cq)) {
		((struct verbs_host_cq *)host_cq)->armed = false;
		ibv_ack_cq_events(cq, 1);
	}
}
