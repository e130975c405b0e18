// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cases of pvhca-test-srq: shared receive queues, all within one process. Where
 * the expectations are from: InfiniBand Architecture Specification 1.x vol. 1,
 * 10.2.9 (shared receive queues) and 11.6.3 (events); ibv_create_srq(3),
 * ibv_modify_srq(3), ibv_post_srq_recv(3).
 */
#include <errno.h>

#include "errors.h"
#include "report.h"

#define MESSAGE	  64
#define WORK	  6 /* receives that an SRQ is asked to hold */
#define RECEIVERS 2

/* An SRQ with two RC queue pairs on it, each connected to a sender. */
struct group {
	struct ibv_srq *srq;
	struct ibv_qp *sender[RECEIVERS];
	struct ibv_qp *receiver[RECEIVERS];
	unsigned int max_wr; /* as created */
};

static bool group_make_srq(struct side *s, struct group *g)
{
	struct ibv_srq_init_attr attr = { .attr = { .max_wr = WORK, .max_sge = SIDE_SGES } };

	g->srq = ibv_create_srq(s->pd, &attr);
	g->max_wr = attr.attr.max_wr;
	if (!g->srq)
		side_record_call(s, "create_srq", errno);
	return g->srq;
}

static bool group_make(struct side *s, struct group *g)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = s->send_cq,
		.recv_cq = s->receive_cq,
		.cap = { .max_send_wr = SIDE_QUEUE, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	}, on_srq = attr;
	int i;

	if (!group_make_srq(s, g))
		return false;
	on_srq.srq = g->srq;
	for (i = 0; i < RECEIVERS; i++) {
		g->sender[i] = endpoint_create(s->device, s->pd, &attr);
		g->receiver[i] = endpoint_create(s->device, s->pd, &on_srq);
		endpoint_connect_pair(s->device, g->sender[i], g->receiver[i]);
	}
	return true;
}

static void group_free(struct group *g)
{
	int i, error = 0;

	for (i = 0; i < RECEIVERS; i++) {
		if (g->sender[i])
			error |= ibv_destroy_qp(g->sender[i]);
		if (g->receiver[i])
			error |= ibv_destroy_qp(g->receiver[i]);
	}
	if (g->srq)
		error |= ibv_destroy_srq(g->srq);
	if (error)
		die_errno(error, "destroying what is on an SRQ");
}

static int post_receives(struct side *s, struct group *g, unsigned int count, uint32_t length)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page, .length = length, .lkey = s->all->lkey };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;
	int error = 0;

	while (count-- && !error)
		error = ibv_post_srq_recv(g->srq, &wr, &bad);
	return error;
}

static void send_one(struct side *s, struct ibv_qp *qp)
{
	struct ibv_qp *mine = s->qp;

	s->qp = qp;
	side_post_plain(s, IBV_WR_SEND, MESSAGE, 0, 0);
	s->qp = mine;
}

static int set_limit(struct group *g, unsigned int limit)
{
	struct ibv_srq_attr attr = { .srq_limit = limit };

	return ibv_modify_srq(g->srq, &attr, IBV_SRQ_LIMIT);
}

static void serve_two(struct side *s)
{
	struct group g = { 0 };
	struct ibv_wc wc;
	int i;

	if (!group_make(s, &g))
		return;
	post_receives(s, &g, 4, MESSAGE);
	for (i = 0; i < 4; i++) {
		send_one(s, g.sender[i % 2]);
		side_collect(s, s->send_cq, 1);
		if (side_wait(s, s->receive_cq, &wc))
			side_record_check(s, "receiver",
					  !wc.status && wc.qp_num == g.receiver[i % 2]->qp_num);
	}
	group_free(&g);
}

static void outlive_a_queue_pair(struct side *s)
{
	struct group g = { 0 };

	if (!group_make(s, &g))
		return;
	post_receives(s, &g, 1, MESSAGE);
	side_record_call(s, "destroy_qp", ibv_destroy_qp(g.receiver[0]));
	g.receiver[0] = NULL;
	send_one(s, g.sender[1]);
	side_collect(s, s->send_cq, 1);
	side_collect(s, s->receive_cq, 1);
	group_free(&g);
}

/* Entries of the SRQ until it says that it is full. */
static unsigned int post_all(struct side *s, struct group *g)
{
	unsigned int count = 0;

	while (!post_receives(s, g, 1, MESSAGE))
		count++;
	return count;
}

static bool wait_for(struct side *s, struct ibv_cq *cq, const struct ibv_qp *qp, struct ibv_wc *wc)
{
	while (side_wait(s, cq, wc))
		if (wc->qp_num == qp->qp_num)
			return true;
	return false;
}

/* Completions of destroyed QPs may be there or not, and are not looked at. */
static unsigned int receive_all(struct side *s, struct group *g, unsigned int receiver,
				unsigned int count)
{
	struct ibv_wc wc;
	unsigned int i;

	for (i = 0; i < count; i++) {
		send_one(s, g->sender[receiver]);
		if (!wait_for(s, s->send_cq, g->sender[receiver], &wc) || wc.status ||
		    !wait_for(s, s->receive_cq, g->receiver[receiver], &wc) || wc.status)
			break;
	}
	return i;
}

static void keep_entries_of_lost_queue_pair(struct side *s)
{
	unsigned int round, i, size;
	struct group g;

	for (round = 0; round < 8; round++) {
		g = (struct group){ 0 };
		if (!group_make(s, &g))
			return;
		size = post_all(s, &g);
		/* Some are received, some on their way: what was taken is known to the SRQ only. */
		for (i = 0; i < size && i < SIDE_QUEUE; i++)
			send_one(s, g.sender[0]);
		if (round % 2)
			side_wait(s, s->send_cq, &(struct ibv_wc){ 0 });
		ibv_destroy_qp(g.receiver[0]);
		g.receiver[0] = NULL;
		ibv_destroy_qp(g.sender[0]);
		g.sender[0] = NULL;
		post_all(s, &g);
		side_record_check(s, "entries", receive_all(s, &g, 1, size) == size);
		group_free(&g);
	}
}

static void reach_limit(struct side *s)
{
	struct group g = { 0 };
	struct ibv_srq_attr attr = { .srq_limit = 1 };
	int i;

	if (!group_make(s, &g))
		return;
	post_receives(s, &g, WORK, MESSAGE);
	side_record_call(s, "modify_srq", set_limit(&g, 3));
	for (i = 0; i < WORK; i++) {
		send_one(s, g.sender[0]);
		side_collect(s, s->receive_cq, 1);
	}
	side_collect_events(s, 1);
	side_record_call(s, "query_srq", ibv_query_srq(g.srq, &attr));
	side_record_check(s, "disarmed", attr.srq_limit == 0);
	group_free(&g);
}

static void stay_above_limit(struct side *s)
{
	struct group g = { 0 };
	struct ibv_srq_attr attr = { 0 };

	if (!group_make(s, &g))
		return;
	post_receives(s, &g, WORK, MESSAGE);
	side_record_call(s, "modify_srq", set_limit(&g, 3));
	send_one(s, g.sender[0]);
	side_collect(s, s->receive_cq, 1);
	side_record_call(s, "query_srq", ibv_query_srq(g.srq, &attr));
	side_record_check(s, "armed", attr.srq_limit == 3);
	group_free(&g);
}

static void limit_above_size(struct side *s)
{
	struct group g = { 0 };

	if (!group_make_srq(s, &g))
		return;
	side_record_call(s, "modify_srq", set_limit(&g, 100 * g.max_wr));
	group_free(&g);
}

static void resize(struct side *s)
{
	const bool can = s->device->attr.device_cap_flags & IBV_DEVICE_SRQ_RESIZE;
	struct group g = { 0 };
	struct ibv_srq_attr attr;
	int error;

	if (!group_make_srq(s, &g))
		return;
	attr = (struct ibv_srq_attr){ .max_wr = 2 * g.max_wr };
	error = ibv_modify_srq(g.srq, &attr, IBV_SRQ_MAX_WR);
	side_record_check(s, "as_said", can == !error);
	side_record_check(s, "room", !can || !post_receives(s, &g, 2 * g.max_wr, MESSAGE));
	group_free(&g);
}

static void too_many_sges(struct side *s)
{
	struct group g = { 0 };
	struct ibv_srq_attr attr = { 0 };
	struct ibv_sge sge[64] = { 0 };
	struct ibv_recv_wr wr = { .sg_list = sge }, *bad;

	if (!group_make_srq(s, &g))
		return;
	ibv_query_srq(g.srq, &attr);
	wr.num_sge = attr.max_sge + 1;
	side_record_call(s, "post_srq_recv", ibv_post_srq_recv(g.srq, &wr, &bad));
	group_free(&g);
}

static void fill(struct side *s)
{
	struct group g = { 0 };

	if (!group_make_srq(s, &g))
		return;
	side_record_call(s, "post_srq_recv", post_receives(s, &g, WORK, MESSAGE));
	side_record_call(s, "post_srq_recv", post_receives(s, &g, 4096, MESSAGE));
	group_free(&g);
}

static void post_to_queue_pair(struct side *s)
{
	struct group g = { 0 };
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;

	if (!group_make(s, &g))
		return;
	side_record_call(s, "post_recv", ibv_post_recv(g.receiver[0], &wr, &bad));
	group_free(&g);
}

static void destroy_in_use(struct side *s)
{
	struct group g = { 0 };

	if (!group_make(s, &g))
		return;
	side_record_call(s, "destroy_srq", ibv_destroy_srq(g.srq));
	side_record_call(s, "dealloc_pd", ibv_dealloc_pd(s->pd));
	group_free(&g);
}

static void create_too_large(struct side *s)
{
	struct ibv_srq_init_attr attr = { .attr = { .max_wr = s->device->attr.max_srq_wr + 1,
						    .max_sge = 1 } };
	struct ibv_srq *srq = ibv_create_srq(s->pd, &attr);

	side_record_call(s, "create_srq", srq ? 0 : errno);
	if (srq)
		ibv_destroy_srq(srq);
	attr.attr.max_wr = 1;
	attr.attr.max_sge = s->device->attr.max_srq_sge + 1;
	srq = ibv_create_srq(s->pd, &attr);
	side_record_call(s, "create_srq", srq ? 0 : errno);
	if (srq)
		ibv_destroy_srq(srq);
}

static void lose_a_queue_pair(struct side *s)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct group g = { 0 };

	if (!group_make(s, &g))
		return;
	post_receives(s, &g, 2, MESSAGE);
	side_record_call(s, "modify_qp", ibv_modify_qp(g.receiver[0], &attr, IBV_QP_STATE));
	side_collect_events(s, 1);
	/* Its receives are not its own: the other one has them still. */
	send_one(s, g.sender[1]);
	side_collect(s, s->send_cq, 1);
	side_collect(s, s->receive_cq, 1);
	group_free(&g);
}

static void receive_too_small(struct side *s)
{
	struct group g = { 0 };

	if (!group_make(s, &g))
		return;
	post_receives(s, &g, 1, MESSAGE - 1);
	send_one(s, g.sender[0]);
	side_collect(s, s->send_cq, 1);
	side_collect(s, s->receive_cq, 1);
	side_collect_events(s, 1); /* what is not taken goes with the QP */
	group_free(&g);
}

const struct error_case error_cases[] = {
	{ .name = "srq_serves_two_queue_pairs",
	  .local = true,
	  .act = serve_two,
	  .expected.requester =
		  "SUCCESS,receiver:ok,SUCCESS,receiver:ok,SUCCESS,receiver:ok,SUCCESS,receiver:ok" },
	{ .name = "receives_outlive_a_queue_pair_of_the_srq",
	  .local = true,
	  .act = outlive_a_queue_pair,
	  .expected.requester = "destroy_qp:0,SUCCESS,SUCCESS" },
	{ .name = "srq_keeps_the_entries_of_a_lost_queue_pair",
	  .local = true,
	  .act = keep_entries_of_lost_queue_pair,
	  .expected.requester =
		  "entries:ok,entries:ok,entries:ok,entries:ok,entries:ok,entries:ok,entries:ok,entries:ok" },
	{ .name = "limit_event_comes_once",
	  .local = true,
	  .act = reach_limit,
	  .expected = { .requester =
				"modify_srq:0,SUCCESS,SUCCESS,SUCCESS,SUCCESS,SUCCESS,SUCCESS,query_srq:0,disarmed:ok",
			.requester_events = "SRQ_LIMIT_REACHED" } },
	{ .name = "no_event_above_the_limit",
	  .local = true,
	  .act = stay_above_limit,
	  .expected.requester = "modify_srq:0,SUCCESS,query_srq:0,armed:ok" },
	{ .name = "limit_above_size_is_refused",
	  .local = true,
	  .act = limit_above_size,
	  .expected.requester = "modify_srq:EINVAL" },
	{ .name = "resizing_is_as_the_device_says",
	  .local = true,
	  .act = resize,
	  .expected.requester = "as_said:ok,room:ok" },
	{ .name = "posting_more_sges_than_asked_for_is_refused",
	  .local = true,
	  .act = too_many_sges,
	  .expected.requester = "post_srq_recv:EINVAL" },
	{ .name = "posting_to_full_srq_is_refused",
	  .local = true,
	  .act = fill,
	  .expected.requester = "post_srq_recv:0,post_srq_recv:ENOMEM" },
	{ .name = "posting_to_queue_pair_of_srq_is_refused",
	  .local = true,
	  .act = post_to_queue_pair,
	  .expected.requester = "post_recv:EINVAL" },
	{ .name = "srq_in_use_cannot_be_destroyed",
	  .local = true,
	  .act = destroy_in_use,
	  .expected.requester = "destroy_srq:EBUSY,dealloc_pd:EBUSY" },
	{ .name = "srq_beyond_the_device_limits_is_refused",
	  .local = true,
	  .act = create_too_large,
	  .expected.requester = "create_srq:EINVAL,create_srq:EINVAL" },
	{ .name = "queue_pair_in_error_gives_up_its_srq",
	  .local = true,
	  .act = lose_a_queue_pair,
	  .expected = { .requester = "modify_qp:0,SUCCESS,SUCCESS",
			.requester_events = "QP_LAST_WQE_REACHED" },
	  .rxe = { .requester_events = "" },
	  .rxe_why = "rxe does not tell that a QP will take no more from its SRQ" },
	{ .name = "receive_too_small_fails_both_ends",
	  .local = true,
	  .act = receive_too_small,
	  .expected = { .requester = "REM_INV_REQ_ERR,LOC_LEN_ERR",
			.requester_events = "QP_LAST_WQE_REACHED" },
	  .rxe = { .requester = "REM_OP_ERR,LOC_QP_OP_ERR", .requester_events = "" },
	  .rxe_why = "rxe gives one status for all that goes wrong with a receive, and no event" },
};

const unsigned int error_case_count = sizeof(error_cases) / sizeof(*error_cases);
