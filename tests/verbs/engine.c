// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "engine.h"
#include "report.h"
#include "timescale.h"

#define BATCH 16
#define CHAIN 8
/* A completion this late will not come; far above what slow emulation takes. */
#define STALL_SECONDS ((int)scaled(120))

enum { PLACE_CONNECTED = 100, PLACE_POSTED, PLACE_DONE };

/*
 * Receives of a paravirtual device reach the engine behind it a moment after
 * ibv_post_recv() has returned, and a peer that is quicker finds the receiver not
 * ready. That is retried and does no harm, except to rxe of Linux 6.1, which now
 * and then never goes on when more work was in flight. So where being late is not
 * what is tested, each QP does an empty write behind its receives: it completes
 * when the receives have been seen as well.
 */
#define WR_SETTLE (1ull << 62)

/* wr_id: the QP, the operation in the plan it belongs to, and what kind it is. */
#define WR_RECEIVE    (1ull << 63)
#define WR_ID(qp, op) ((uint64_t)(qp) << 32 | (op))
#define WR_QP(wr_id)  ((uint32_t)(((wr_id) & ~WR_RECEIVE) >> 32))
#define WR_OP(wr_id)  ((uint32_t)(wr_id))

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		die("out of memory");
	return memory;
}

static void arena_init(struct engine *e, struct engine_arena *a)
{
	uint32_t i;

	a->memory = mmap(NULL, e->shape.arena_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->memory == MAP_FAILED)
		die_errno(errno, "mmap of %lu bytes", e->shape.arena_size);
	for (i = 0; i < e->shape.keys; i++) {
		a->mr[i] =
			ibv_reg_mr(e->pd, a->memory, e->shape.arena_size, endpoint_defaults.access);
		if (!a->mr[i])
			die_errno(errno, "ibv_reg_mr of %lu bytes", e->shape.arena_size);
	}
}

static void arena_free(struct engine *e, struct engine_arena *a)
{
	uint32_t i;
	int error;

	for (i = 0; i < e->shape.keys; i++) {
		error = ibv_dereg_mr(a->mr[i]);
		if (error)
			die_errno(error, "ibv_dereg_mr");
	}
	munmap(a->memory, e->shape.arena_size);
}

static void make_cqs(struct engine *e)
{
	/* Any one CQ may have to hold the sends and receives of all QPs. */
	const int entries = 2 * e->shape.ops;
	uint32_t i;

	e->events = ibv_create_comp_channel(e->device.context);
	if (!e->events)
		die_errno(errno, "ibv_create_comp_channel");
	e->cq = allocate(e->cqs * sizeof(*e->cq));
	for (i = 0; i < e->cqs; i++) {
		e->cq[i] = ibv_create_cq(e->device.context, entries, NULL, e->events, i);
		if (!e->cq[i])
			e->cq[i] = ibv_create_cq(e->device.context, entries, NULL, e->events, 0);
		if (!e->cq[i])
			die_errno(errno, "ibv_create_cq of %d entries", entries);
	}
}

static void make_qps(struct engine *e)
{
	struct ibv_qp_init_attr attr;
	uint32_t i;

	e->qp = allocate(e->shape.qps * sizeof(*e->qp));
	for (i = 0; i < e->shape.qps; i++) {
		attr = (struct ibv_qp_init_attr){
			.qp_type = IBV_QPT_RC,
			.send_cq = e->cq[i % e->cqs],
			.recv_cq = e->cq[(i + i / e->cqs) % e->cqs],
			.cap = {
				.max_send_wr = e->shape.sq_depth,
				.max_recv_wr = e->shape.ops,
				.max_send_sge = e->shape.max_sge,
				.max_recv_sge = e->shape.max_sge,
				.max_inline_data = e->shape.max_inline,
			},
		};
		e->qp[i].qp = endpoint_create(&e->device, e->pd, &attr);
		if (attr.cap.max_inline_data < e->shape.max_inline ||
		    attr.cap.max_send_wr < e->shape.sq_depth)
			die("ibv_create_qp gave less than was asked for");
		e->qp[i].order = allocate(e->shape.ops * sizeof(uint32_t));
		e->qp[i].receives = allocate(e->shape.ops * sizeof(uint32_t));
		endpoint_to_init(e->qp[i].qp, &endpoint_defaults);
	}
}

static void connect_qps(struct engine *e)
{
	struct endpoint_address mine, theirs;
	uint32_t i;

	for (i = 0; i < e->shape.qps; i++) {
		mine = endpoint_address(&e->device, e->qp[i].qp);
		channel_exchange(e->channel, &mine, &theirs, sizeof(mine));
		endpoint_connect(&e->device, e->qp[i].qp, &theirs, &endpoint_defaults);
	}
}

static void exchange_keys(struct engine *e)
{
	struct {
		uint64_t address;
		uint32_t rkey[PLAN_MAX_KEYS];
	} mine = { .address = (uintptr_t)e->target.memory }, theirs;
	uint32_t i;

	for (i = 0; i < e->shape.keys; i++)
		mine.rkey[i] = e->target.mr[i]->rkey;
	channel_exchange(e->channel, &mine, &theirs, sizeof(mine));
	e->peer_target = theirs.address;
	memcpy(e->peer_rkey, theirs.rkey, sizeof(e->peer_rkey));
}

void engine_init(struct engine *e, struct channel *channel, const struct plan_shape *shape,
		 uint32_t cqs, uint64_t seed)
{
	e->channel = channel;
	e->shape = *shape;
	e->cqs = cqs;
	e->random.state = seed;
	e->pd = ibv_alloc_pd(e->device.context);
	if (!e->pd)
		die_errno(errno, "ibv_alloc_pd");
	arena_init(e, &e->source);
	arena_init(e, &e->target);
	make_cqs(e);
	make_qps(e);
	exchange_keys(e);
	connect_qps(e);
	channel_barrier(channel, PLACE_CONNECTED);
}

void engine_free(struct engine *e)
{
	uint32_t i;
	int error = 0;

	for (i = 0; i < e->shape.qps; i++) {
		error = error ? error : ibv_destroy_qp(e->qp[i].qp);
		free(e->qp[i].order);
		free(e->qp[i].receives);
	}
	for (i = 0; i < e->cqs; i++)
		error = error ? error : ibv_destroy_cq(e->cq[i]);
	error = error ? error : ibv_destroy_comp_channel(e->events);
	arena_free(e, &e->source);
	arena_free(e, &e->target);
	error = error ? error : ibv_dealloc_pd(e->pd);
	if (error)
		die_errno(error, "destroying what the test made");
	free(e->cq);
	free(e->qp);
}

static void make_list(struct engine *e, struct engine_arena *arena, const struct plan_piece *piece,
		      uint32_t count, struct ibv_sge *sge)
{
	for (; count--; piece++, sge++) {
		sge->addr = (uintptr_t)arena->memory + piece->offset;
		sge->length = piece->length;
		sge->lkey = arena->mr[piece->key]->lkey;
	}
	(void)e;
}

static bool post_receives(struct engine *e, const struct plan *peer)
{
	struct ibv_sge sge[PLAN_MAX_SGE];
	const struct plan_op *op;
	struct ibv_recv_wr wr, *bad;
	struct engine_qp *qp;
	uint32_t i;
	int error;

	for (i = 0; i < peer->ops; i++) {
		op = &peer->op[i];
		if (!plan_op_receives(op))
			continue;
		qp = &e->qp[op->qp];
		qp->receives[qp->receive_count++] = i;
		make_list(e, &e->target, op->receive, op->receive_pieces, sge);
		wr = (struct ibv_recv_wr){
			.wr_id = WR_RECEIVE | WR_ID(op->qp, i),
			.sg_list = sge,
			.num_sge = op->receive_pieces,
		};
		error = ibv_post_recv(qp->qp, &wr, &bad);
		if (error) {
			say("ibv_post_recv of operation %u: %s", i, errno_name(error));
			return false;
		}
	}
	return true;
}

/* clang-format off */
static const enum ibv_wr_opcode wr_opcode[PLAN_OPCODES] = {
	[PLAN_SEND] = IBV_WR_SEND,
	[PLAN_SEND_IMM] = IBV_WR_SEND_WITH_IMM,
	[PLAN_WRITE] = IBV_WR_RDMA_WRITE,
	[PLAN_WRITE_IMM] = IBV_WR_RDMA_WRITE_WITH_IMM,
	[PLAN_READ] = IBV_WR_RDMA_READ,
};
/* clang-format on */

static void make_wr(struct engine *e, const struct plan *own, uint32_t index,
		    struct ibv_send_wr *wr, struct ibv_sge *sge)
{
	const struct plan_op *op = &own->op[index];
	uint32_t i;

	make_list(e, &e->source, op->piece, op->pieces, sge);
	/* Of inline data the lkey is not looked at. */
	for (i = 0; op->inlined && i < op->pieces; i++)
		sge[i].lkey = 0;
	*wr = (struct ibv_send_wr){
		.wr_id = WR_ID(op->qp, index),
		.sg_list = sge,
		.num_sge = op->pieces,
		.opcode = wr_opcode[op->opcode],
		.send_flags = (op->signaled ? IBV_SEND_SIGNALED : 0) | (op->fenced ? IBV_SEND_FENCE : 0) |
			      (op->inlined ? IBV_SEND_INLINE : 0) |
			      (op->solicited && plan_op_receives(op) ? IBV_SEND_SOLICITED : 0),
		.imm_data = htonl(op->imm),
		.wr.rdma = {
			.remote_addr = e->peer_target + op->remote.offset,
			.rkey = e->peer_rkey[op->remote.key],
		},
	};
}

/* Post a chain of what there is room for; the number posted, or -1. */
static int post_sends(struct engine *e, const struct plan *own, struct engine_qp *qp)
{
	struct ibv_sge sge[CHAIN][PLAN_MAX_SGE];
	struct ibv_send_wr wr[CHAIN], *bad;
	uint32_t i, n = 1 + random_below(&e->random, CHAIN);
	int error;

	if (n > qp->count - qp->posted)
		n = qp->count - qp->posted;
	if (n > e->shape.sq_depth - (qp->posted - qp->retired))
		n = e->shape.sq_depth - (qp->posted - qp->retired);
	if (!n)
		return 0;
	for (i = 0; i < n; i++) {
		make_wr(e, own, qp->order[qp->posted + i], &wr[i], sge[i]);
		wr[i].next = i + 1 < n ? &wr[i + 1] : NULL;
	}
	error = ibv_post_send(qp->qp, wr, &bad);
	if (error) {
		say("ibv_post_send of operation %u: %s", WR_OP(bad->wr_id), errno_name(error));
		return -1;
	}
	for (i = 0; i < n; i++, qp->posted++) {
		if (own->op[qp->order[qp->posted]].inlined)
			plan_scribble(e->source.memory, &own->op[qp->order[qp->posted]]);
	}
	return n;
}

/* clang-format off */
static const enum ibv_wc_opcode wc_opcode[PLAN_OPCODES] = {
	[PLAN_SEND] = IBV_WC_SEND,
	[PLAN_SEND_IMM] = IBV_WC_SEND,
	[PLAN_WRITE] = IBV_WC_RDMA_WRITE,
	[PLAN_WRITE_IMM] = IBV_WC_RDMA_WRITE,
	[PLAN_READ] = IBV_WC_RDMA_READ,
};
/* clang-format on */

static bool check_send(const struct plan *own, struct engine_qp *qp, const struct ibv_wc *wc)
{
	uint32_t expected;

	while (qp->retired < qp->posted && !own->op[qp->order[qp->retired]].signaled)
		qp->retired++;
	if (qp->retired == qp->posted) {
		say("a send completion too many: operation %u", WR_OP(wc->wr_id));
		return false;
	}
	expected = qp->order[qp->retired++];
	if (WR_OP(wc->wr_id) != expected) {
		say("send completion of operation %u, not %u", WR_OP(wc->wr_id), expected);
		return false;
	}
	if (wc->opcode != wc_opcode[own->op[expected].opcode]) {
		say("opcode %d in the send completion of operation %u", wc->opcode, expected);
		return false;
	}
	return true;
}

static bool check_receive(const struct plan *peer, struct engine_qp *qp, const struct ibv_wc *wc)
{
	const struct plan_op *op;
	uint32_t expected;
	bool write;

	if (qp->received == qp->receive_count) {
		say("a receive completion too many: operation %u", WR_OP(wc->wr_id));
		return false;
	}
	expected = qp->receives[qp->received++];
	if (WR_OP(wc->wr_id) != expected) {
		say("receive completion of operation %u, not %u", WR_OP(wc->wr_id), expected);
		return false;
	}
	op = &peer->op[expected];
	write = op->opcode == PLAN_WRITE_IMM;
	if (wc->opcode != (write ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV)) {
		say("opcode %d in the receive completion of operation %u", wc->opcode, expected);
		return false;
	}
	if (wc->byte_len != op->length) {
		say("%u bytes received by operation %u of %u", wc->byte_len, expected, op->length);
		return false;
	}
	if (!(wc->wc_flags & IBV_WC_WITH_IMM) != !plan_op_has_imm(op) ||
	    (plan_op_has_imm(op) && ntohl(wc->imm_data) != op->imm)) {
		say("immediate data %#x (flags %#x), operation %u sent %#x", ntohl(wc->imm_data),
		    wc->wc_flags, expected, op->imm);
		return false;
	}
	return true;
}

static bool settle(struct engine *e)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_RDMA_WRITE, .send_flags = IBV_SEND_SIGNALED },
			   *bad;
	const time_t start = time(NULL);
	struct ibv_wc wc;
	uint32_t i;
	int error, n;

	wr.wr.rdma.remote_addr = e->peer_target;
	wr.wr.rdma.rkey = e->peer_rkey[0];
	for (i = 0; i < e->shape.qps; i++) {
		wr.wr_id = WR_SETTLE;
		error = ibv_post_send(e->qp[i].qp, &wr, &bad);
		if (error) {
			say("ibv_post_send of an empty write: %s", errno_name(error));
			return false;
		}
		while (!(n = ibv_poll_cq(e->qp[i].qp->send_cq, 1, &wc)) &&
		       time(NULL) - start < STALL_SECONDS)
			;
		if (n != 1 || wc.wr_id != WR_SETTLE || wc.status) {
			say("empty write on QP %#x: %s", e->qp[i].qp->qp_num,
			    n == 1 ? status_name(wc.status) : "no completion");
			return false;
		}
	}
	return true;
}

static bool check_completion(struct engine *e, const struct plan *own, const struct plan *peer,
			     const struct ibv_wc *wc)
{
	const bool receive = wc->wr_id & WR_RECEIVE;
	struct engine_qp *qp;

	if (WR_QP(wc->wr_id) >= e->shape.qps || WR_OP(wc->wr_id) >= (receive ? peer : own)->ops) {
		say("completion with wr_id %#lx, which nobody posted", wc->wr_id);
		return false;
	}
	qp = &e->qp[WR_QP(wc->wr_id)];
	if (wc->status != IBV_WC_SUCCESS) {
		say("%s of %s %u on QP %u (vendor error %#x)", status_name(wc->status),
		    receive ? "receive for operation" : "operation", WR_OP(wc->wr_id),
		    WR_QP(wc->wr_id), wc->vendor_err);
		return false;
	}
	if (wc->qp_num != qp->qp->qp_num) {
		say("completion with QP number %#x of operation %u on %#x", wc->qp_num,
		    WR_OP(wc->wr_id), qp->qp->qp_num);
		return false;
	}
	return receive ? check_receive(peer, qp, wc) : check_send(own, qp, wc);
}

/* Take what is there; the number of completions, or -1. */
static int take(struct engine *e, const struct plan *own, const struct plan *peer,
		struct ibv_cq *cq)
{
	struct ibv_wc wc[BATCH];
	int i, n, total = 0;

	do {
		n = ibv_poll_cq(cq, 1 + random_below(&e->random, BATCH), wc);
		if (n < 0) {
			say("ibv_poll_cq: %s", errno_name(n));
			return -1;
		}
		for (i = 0; i < n; i++) {
			if (!check_completion(e, own, peer, &wc[i]))
				return -1;
		}
		total += n;
	} while (n);
	return total;
}

static int take_all(struct engine *e, const struct plan *own, const struct plan *peer)
{
	int n, total = 0;
	uint32_t i;

	for (i = 0; i < e->cqs; i++) {
		n = take(e, own, peer, e->cq[i]);
		if (n < 0)
			return -1;
		total += n;
	}
	return total;
}

static bool finished(const struct engine *e)
{
	uint32_t i;

	for (i = 0; i < e->shape.qps; i++) {
		if (e->qp[i].retired < e->qp[i].count || e->qp[i].received < e->qp[i].receive_count)
			return false;
	}
	return true;
}

static void say_state(const struct engine *e)
{
	uint32_t i;

	for (i = 0; i < e->shape.qps; i++)
		say("  QP %#x: %u of %u posted, %u completed; %u of %u received",
		    e->qp[i].qp->qp_num, e->qp[i].posted, e->qp[i].count, e->qp[i].retired,
		    e->qp[i].received, e->qp[i].receive_count);
}

/* Nothing completes any more. A look past the events tells whether one was lost, or the work is. */
static void say_stalled(struct engine *e, const struct plan *own, const struct plan *peer)
{
	int n;

	say("no completion for %d s", STALL_SECONDS);
	say_state(e);
	n = take_all(e, own, peer);
	if (n) {
		say("%d completions were there and no event told of them; now:", n);
		say_state(e);
	}
}

static void look_after_peer(const struct engine *e)
{
	if (channel_alive(e->channel))
		return;
	say_state(e);
	die("the peer has gone");
}

/* Until a CQ has an event. All were armed, and were empty afterwards. */
static bool sleep_on_events(struct engine *e, const struct plan *own, const struct plan *peer)
{
	struct pollfd fd = { .fd = e->events->fd, .events = POLLIN };
	struct ibv_cq *cq;
	void *context;
	int seconds, n;

	for (seconds = 0; seconds < STALL_SECONDS; seconds++) {
		n = poll(&fd, 1, 1000);
		if (n > 0) {
			if (ibv_get_cq_event(e->events, &cq, &context)) {
				say("ibv_get_cq_event: %s", errno_name(errno));
				return false;
			}
			ibv_ack_cq_events(cq, 1);
			return true;
		}
		look_after_peer(e);
	}
	say_stalled(e, own, peer);
	return false;
}

static bool arm(struct engine *e)
{
	uint32_t i;
	int error;

	for (i = 0; i < e->cqs; i++) {
		error = ibv_req_notify_cq(e->cq[i], 0);
		if (error) {
			say("ibv_req_notify_cq: %s", errno_name(error));
			return false;
		}
	}
	return true;
}

/* Have at least one more completion taken. */
static bool await(struct engine *e, const struct plan *own, const struct plan *peer,
		  enum engine_wait wait)
{
	time_t start = time(NULL), looked = start, now;
	int n = take_all(e, own, peer);

	if (n)
		return n > 0;
	if (wait == ENGINE_EVENTS) {
		if (!arm(e))
			return false;
		n = take_all(e, own, peer);
		if (n)
			return n > 0;
		return sleep_on_events(e, own, peer);
	}
	while (!(n = take_all(e, own, peer))) {
		now = time(NULL);
		if (now == looked)
			continue;
		looked = now;
		look_after_peer(e);
		if (now - start > STALL_SECONDS) {
			say_stalled(e, own, peer);
			return false;
		}
	}
	return n > 0;
}

static void start_round(struct engine *e, const struct plan *own, const struct plan *peer)
{
	struct engine_qp *qp;
	uint32_t i;

	for (i = 0; i < e->shape.qps; i++) {
		qp = &e->qp[i];
		qp->count = qp->posted = qp->retired = 0;
		qp->receive_count = qp->received = 0;
	}
	for (i = 0; i < own->ops; i++) {
		qp = &e->qp[own->op[i].qp];
		qp->order[qp->count++] = i;
	}
	memcpy(e->source.memory, own->requester, e->shape.arena_size);
	memcpy(e->target.memory, peer->responder, e->shape.arena_size);
}

static bool transfer(struct engine *e, const struct plan *own, const struct plan *peer,
		     enum engine_wait wait)
{
	int n, posted;
	uint32_t i;

	while (!finished(e)) {
		for (i = 0, posted = 0; i < e->shape.qps; i++) {
			n = post_sends(e, own, &e->qp[i]);
			if (n < 0)
				return false;
			posted += n;
		}
		/* What was posted last need not complete (unsignaled): wait only when there is no room. */
		if (posted ? take_all(e, own, peer) < 0 : !await(e, own, peer, wait))
			return false;
	}
	return true;
}

bool engine_run(struct engine *e, struct plan *own, struct plan *peer, enum engine_wait wait)
{
	bool good;

	start_round(e, own, peer);
	if (!e->late && (!post_receives(e, peer) || !settle(e)))
		return false;
	channel_barrier(e->channel, PLACE_POSTED);
	if (e->late && !post_receives(e, peer))
		return false;
	if (!transfer(e, own, peer, wait))
		return false;
	/* The peer's writes have reached this memory when the peer has seen them complete. */
	channel_barrier(e->channel, PLACE_DONE);
	if (take_all(e, own, peer))
		return false;
	plan_carry_out(own);
	plan_carry_out(peer);
	good = plan_check(own, "requester", e->source.memory, own->requester);
	return plan_check(peer, "responder", e->target.memory, peer->responder) && good;
}
