// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cases of pvhca-test-errors. Where the expectations are from:
 * - completion statuses: InfiniBand Architecture Specification 1.x vol. 1,
 *   9.9.2 (requester) and 9.9.3 (responder), 10.10.3 (work completions);
 *   ibv_poll_cq(3);
 * - a QP in error completes all that is posted as flushed: 10.3.1, ibv_modify_qp(3);
 * - asynchronous events: 11.6.3, ibv_get_async_event(3);
 * - errors of calls: ibv_post_send(3), ibv_post_recv(3), ibv_reg_mr(3),
 *   ibv_modify_qp(3), and what the kernel's core gives.
 */
#include <errno.h>

#include "errors.h"

#define MESSAGE 64
#define WRITE	IBV_WR_RDMA_WRITE
#define READ	IBV_WR_RDMA_READ
#define SEND	IBV_WR_SEND

/* ------------------------------ the responder ------------------------------ */

static void deregister(struct side *s)
{
	ibv_dereg_mr(s->mr);
	s->mr = NULL;
}

static void offer_other_pd(struct side *s)
{
	s->offer.rkey = s->other_mr->rkey;
}

static void receive_small(struct side *s)
{
	side_post_receive(s, s->page, MESSAGE - 1, s->all->lkey);
}

static void receive_into_region(struct side *s)
{
	side_post_receive(s, s->page, MESSAGE, s->mr->lkey);
}

static void receive_past_region(struct side *s)
{
	side_post_receive(s, s->page + SIDE_PAGE - MESSAGE + 1, MESSAGE, s->mr->lkey);
}

static void receive_before_region(struct side *s)
{
	side_post_receive(s, s->page - 1, MESSAGE, s->mr->lkey);
}

static void receive_wrong_lkey(struct side *s)
{
	side_post_receive(s, s->page, MESSAGE, s->all->lkey ^ 0x5a);
}

static void receive_other_pd(struct side *s)
{
	side_post_receive(s, s->page, MESSAGE, s->other_mr->lkey);
}

static void receive_deregistered(struct side *s)
{
	side_post_receive(s, s->page, MESSAGE, s->mr->lkey);
	deregister(s);
}

/* ---------------------------- remote operations ---------------------------- */

static void write_all(struct side *s)
{
	side_post_plain(s, WRITE, SIDE_PAGE, s->offer.address, s->offer.rkey);
}

static void read_all(struct side *s)
{
	side_post_plain(s, READ, SIDE_PAGE, s->offer.address, s->offer.rkey);
}

static void write_wrong_key(struct side *s)
{
	side_post_plain(s, WRITE, MESSAGE, s->offer.address, s->offer.rkey ^ 0x5a);
}

static void read_wrong_key(struct side *s)
{
	side_post_plain(s, READ, MESSAGE, s->offer.address, s->offer.rkey ^ 0x5a);
}

static void write_wrong_index(struct side *s)
{
	side_post_plain(s, WRITE, MESSAGE, s->offer.address, s->offer.rkey ^ 0x7ff000);
}

static void write_one_before(struct side *s)
{
	side_post_plain(s, WRITE, MESSAGE, s->offer.address - 1, s->offer.rkey);
}

static void write_one_past(struct side *s)
{
	side_post_plain(s, WRITE, MESSAGE, s->offer.address + SIDE_PAGE - MESSAGE + 1,
			s->offer.rkey);
}

static void read_one_before(struct side *s)
{
	side_post_plain(s, READ, MESSAGE, s->offer.address - 1, s->offer.rkey);
}

static void read_one_past(struct side *s)
{
	side_post_plain(s, READ, MESSAGE, s->offer.address + SIDE_PAGE - MESSAGE + 1,
			s->offer.rkey);
}

static void write_wrapping(struct side *s)
{
	side_post_plain(s, WRITE, MESSAGE, UINT64_MAX - MESSAGE / 2, s->offer.rkey);
}

static void send_message(struct side *s)
{
	side_post_plain(s, SEND, MESSAGE, 0, 0);
}

/* Two behind the bad one: one asks for a completion, one does not. */
static void write_wrong_key_and_two_more(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey };

	write_wrong_key(s);
	side_post(s, WRITE, IBV_SEND_SIGNALED, &sge, 1, s->offer.address, s->offer.rkey);
	side_post(s, WRITE, 0, &sge, 1, s->offer.address, s->offer.rkey);
}

static void write_wrong_key_unsignaled(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey };

	side_post(s, WRITE, 0, &sge, 1, s->offer.address, s->offer.rkey ^ 0x5a);
}

/* ---------------------------- the requester's keys ------------------------- */

static void send_from(struct side *s, void *memory, uint32_t length, uint32_t lkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)memory, .length = length, .lkey = lkey };

	side_post(s, SEND, IBV_SEND_SIGNALED, &sge, 1, 0, 0);
}

static void send_wrong_lkey(struct side *s)
{
	send_from(s, s->page, MESSAGE, s->all->lkey ^ 0x5a);
}

static void send_one_before(struct side *s)
{
	send_from(s, s->page - 1, MESSAGE, s->mr->lkey);
}

static void send_one_past(struct side *s)
{
	send_from(s, s->page + SIDE_PAGE - MESSAGE + 1, MESSAGE, s->mr->lkey);
}

static void send_other_pd(struct side *s)
{
	send_from(s, s->page, MESSAGE, s->other_mr->lkey);
}

static void send_deregistered(struct side *s)
{
	const uint32_t lkey = s->mr->lkey;

	deregister(s);
	send_from(s, s->page, MESSAGE, lkey);
}

static void write_wrong_lkey(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey ^ 0x5a };

	side_post(s, WRITE, IBV_SEND_SIGNALED, &sge, 1, s->offer.address, s->offer.rkey);
}

static void read_into_read_only(struct side *s)
{
	struct ibv_mr *mr = ibv_reg_mr(s->pd, s->memory, SIDE_PAGE, 0);
	struct ibv_sge sge = { .addr = (uintptr_t)s->memory, .length = MESSAGE };

	if (!mr) {
		side_record_call(s, "reg_mr", errno);
		return;
	}
	sge.lkey = mr->lkey;
	side_post(s, READ, IBV_SEND_SIGNALED, &sge, 1, s->offer.address, s->offer.rkey);
	side_collect(s, s->send_cq, 1);
	ibv_dereg_mr(mr);
}

/* Inline data need no key, and only as many as the QP was made for. */
static void send_inline_from_anywhere(struct side *s)
{
	char data[SIDE_INLINE] = "inline";
	struct ibv_sge sge = { .addr = (uintptr_t)data,
			       .length = sizeof(data),
			       .lkey = 0xdeadbeef };

	side_post(s, SEND, IBV_SEND_SIGNALED | IBV_SEND_INLINE, &sge, 1, 0, 0);
}

/* ------------------------------- states of a QP ---------------------------- */

static int to_state(struct side *s, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };

	return ibv_modify_qp(s->qp, &attr, IBV_QP_STATE);
}

static void post_send_after_error(struct side *s)
{
	to_state(s, IBV_QPS_ERR);
	send_message(s);
}

static void post_receive_after_error(struct side *s)
{
	to_state(s, IBV_QPS_ERR);
	side_post_receive(s, s->page, MESSAGE, s->all->lkey);
	side_collect(s, s->receive_cq, s->expected);
}

static void post_receives_then_error(struct side *s)
{
	int i;

	for (i = 0; i < 3; i++)
		side_post_receive(s, s->page, MESSAGE, s->all->lkey);
	to_state(s, IBV_QPS_ERR);
	side_collect(s, s->receive_cq, s->expected);
}

static void post_receives_then_reset(struct side *s)
{
	side_post_receive(s, s->page, MESSAGE, s->all->lkey);
	side_record_call(s, "modify_qp", to_state(s, IBV_QPS_RESET));
	side_collect(s, s->receive_cq, 0);
}

static void post_in_reset(struct side *s)
{
	side_post_plain(s, SEND, MESSAGE, 0, 0);
	side_post_receive(s, s->page, MESSAGE, s->all->lkey);
}

static void post_send_in_init(struct side *s)
{
	endpoint_to_init(s->qp, &endpoint_defaults);
	side_post_plain(s, SEND, MESSAGE, 0, 0);
}

static void post_receive_in_init(struct side *s)
{
	endpoint_to_init(s->qp, &endpoint_defaults);
	if (side_post_receive(s, s->page, MESSAGE, s->all->lkey))
		side_record_call(s, "post_recv", 0);
}

static void skip_states(struct side *s)
{
	side_record_call(s, "rtr", to_state(s, IBV_QPS_RTR));
	side_record_call(s, "rts", to_state(s, IBV_QPS_RTS));
	endpoint_to_init(s->qp, &endpoint_defaults);
	side_record_call(s, "rts", to_state(s, IBV_QPS_RTS));
}

/* --------------------------- what does not fit a queue --------------------- */

static void post_too_many_sges(struct side *s)
{
	struct ibv_sge sge[64];
	struct ibv_recv_wr wr = { .sg_list = sge }, *bad;
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;
	int i;

	ibv_query_qp(s->qp, &attr, IBV_QP_CAP, &init);
	for (i = 0; i < 64; i++)
		sge[i] = (struct ibv_sge){ .addr = (uintptr_t)s->page,
					   .length = 1,
					   .lkey = s->all->lkey };
	side_post(s, SEND, IBV_SEND_SIGNALED, sge, init.cap.max_send_sge + 1, 0, 0);
	wr.num_sge = init.cap.max_recv_sge + 1;
	side_record_call(s, "post_recv", ibv_post_recv(s->qp, &wr, &bad));
}

static void post_inline_too_long(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page, .lkey = s->all->lkey };
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	ibv_query_qp(s->qp, &attr, IBV_QP_CAP, &init);
	sge.length = init.cap.max_inline_data + 1;
	side_post(s, SEND, IBV_SEND_SIGNALED | IBV_SEND_INLINE, &sge, 1, 0, 0);
}

/* Far more than the queue was asked to hold; whatever it was rounded up to, it ends. */
static void fill_receive_queue(struct side *s)
{
	int i;

	for (i = 0; i < 4096; i++) {
		if (!side_post_receive(s, s->page, MESSAGE, s->all->lkey))
			return;
	}
}

/* The responder posts no receive, so that nothing is retired. */
static void fill_send_queue(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey };
	int i;

	for (i = 0; i < 4096; i++) {
		if (!side_post(s, SEND, 0, &sge, 1, 0, 0))
			return;
	}
}

/* ------------------------------ objects in use ----------------------------- */

static void destroy_in_use(struct side *s)
{
	side_record_call(s, "dealloc_pd", ibv_dealloc_pd(s->pd));
	side_record_call(s, "destroy_cq", ibv_destroy_cq(s->send_cq));
}

static void destroy_with_work(struct side *s)
{
	int i;

	for (i = 0; i < SIDE_QUEUE; i++)
		side_post_plain(s, WRITE, SIDE_PAGE, s->offer.address, s->offer.rkey);
	for (i = 0; i < SIDE_QUEUE; i++)
		side_post_receive(s, s->page, MESSAGE, s->all->lkey);
	side_record_call(s, "destroy_qp", ibv_destroy_qp(s->qp));
	s->qp = NULL;
	side_record_call(s, "destroy_cq", ibv_destroy_cq(s->send_cq));
	s->send_cq = NULL;
}

static void deregister_under_way(struct side *s)
{
	int i;

	for (i = 0; i < SIDE_QUEUE; i++)
		side_post_receive(s, s->page, MESSAGE, s->mr->lkey);
	side_record_call(s, "dereg_mr", ibv_dereg_mr(s->mr));
	s->mr = NULL;
}

static void try_register(struct side *s, void *memory, size_t length, int access)
{
	struct ibv_mr *mr = ibv_reg_mr(s->pd, memory, length, access);

	side_record_call(s, "reg_mr", mr ? 0 : errno);
	if (mr)
		ibv_dereg_mr(mr);
}

static void register_remote_without_local(struct side *s)
{
	try_register(s, s->page, SIDE_PAGE, IBV_ACCESS_REMOTE_WRITE);
	try_register(s, s->page, SIDE_PAGE, IBV_ACCESS_REMOTE_ATOMIC);
}

static void create_too_large(struct side *s)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = s->send_cq,
		.recv_cq = s->receive_cq,
		.cap = { .max_send_wr = s->device->attr.max_qp_wr + 1,
			 .max_recv_wr = 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};
	struct ibv_qp *qp = ibv_create_qp(s->pd, &attr);
	struct ibv_cq *cq =
		ibv_create_cq(s->device->context, s->device->attr.max_cqe + 1, NULL, NULL, 0);

	side_record_call(s, "create_qp", qp ? 0 : errno);
	side_record_call(s, "create_cq", cq ? 0 : errno);
	if (qp)
		ibv_destroy_qp(qp);
	if (cq)
		ibv_destroy_cq(cq);
}

#define NO_EVENT_WHY "rxe raises no event at the responder"

/* A remote access error: the responder's QP goes to error, too, and says why by an event. */
#define REFUSED_ACCESS                                       \
	.receives = 1,                                       \
	.expected = { .requester = "REM_ACCESS_ERR",         \
		      .responder = "WR_FLUSH_ERR",           \
		      .responder_events = "QP_ACCESS_ERR" }, \
	.rxe = { .responder_events = "" }, .rxe_why = NO_EVENT_WHY

#define REFUSED_REQUEST                                   \
	.receives = 1,                                    \
	.expected = { .requester = "REM_INV_REQ_ERR",     \
		      .responder = "WR_FLUSH_ERR",        \
		      .responder_events = "QP_REQ_ERR" }, \
	.rxe = { .responder_events = "" }, .rxe_why = NO_EVENT_WHY

/* The responder's own memory fails: its receive says so. */
#define FAILED_RECEIVE                                                          \
	.expected = { .requester = "REM_OP_ERR", .responder = "LOC_PROT_ERR" }, \
	.rxe = { .responder = "LOC_QP_OP_ERR" },                                \
	.rxe_why = "rxe gives one status for all that goes wrong with a receive"

/* Nothing leaves the requester. */
#define FAILED_SEND .expected.requester = "LOC_PROT_ERR"
#define FAILED_SEND_KEY                                \
	FAILED_SEND, .rxe.requester = "LOC_QP_OP_ERR", \
		     .rxe_why = "rxe tells wrong ranges, but not wrong keys, as protection errors"

const struct error_case error_cases[] = {
	/* Controls: so that what follows fails for the reason given. */
	{ .name = "write_of_whole_region_succeeds",
	  .act = write_all,
	  .expected.requester = "SUCCESS" },
	{ .name = "read_of_whole_region_succeeds",
	  .act = read_all,
	  .expected.requester = "SUCCESS" },
	{ .name = "send_that_fits_succeeds",
	  .receives = 1,
	  .act = send_message,
	  .expected.requester = "SUCCESS",
	  .expected.responder = "SUCCESS" },
	{ .name = "inline_send_needs_no_lkey",
	  .receives = 1,
	  .act = send_inline_from_anywhere,
	  .expected.requester = "SUCCESS",
	  .expected.responder = "SUCCESS" },

	{ .name = "write_with_wrong_rkey_is_refused", .act = write_wrong_key, REFUSED_ACCESS },
	{ .name = "write_with_unknown_rkey_index_is_refused",
	  .act = write_wrong_index,
	  REFUSED_ACCESS },
	{ .name = "read_with_wrong_rkey_is_refused", .act = read_wrong_key, REFUSED_ACCESS },
	{ .name = "write_one_byte_before_region_is_refused",
	  .act = write_one_before,
	  REFUSED_ACCESS },
	{ .name = "write_one_byte_past_region_is_refused", .act = write_one_past, REFUSED_ACCESS },
	{ .name = "read_one_byte_before_region_is_refused", .act = read_one_before, REFUSED_ACCESS },
	{ .name = "read_one_byte_past_region_is_refused", .act = read_one_past, REFUSED_ACCESS },
	{ .name = "write_wrapping_address_space_is_refused", .act = write_wrapping, REFUSED_ACCESS },
	{ .name = "write_to_region_without_remote_write_is_refused",
	  .act = write_all,
	  .mr_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ,
	  REFUSED_ACCESS },
	{ .name = "read_from_region_without_remote_read_is_refused",
	  .act = read_all,
	  .mr_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
	  REFUSED_ACCESS },
	{ .name = "write_to_qp_without_remote_write_is_refused",
	  .act = write_all,
	  .qp_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ,
	  REFUSED_REQUEST },
	{ .name = "read_from_qp_without_remote_read_is_refused",
	  .act = read_all,
	  .qp_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
	  REFUSED_REQUEST },
	{ .name = "write_to_region_of_other_pd_is_refused",
	  .prepare = offer_other_pd,
	  .act = write_all,
	  REFUSED_ACCESS },
	{ .name = "read_from_region_of_other_pd_is_refused",
	  .prepare = offer_other_pd,
	  .act = read_all,
	  REFUSED_ACCESS },
	{ .name = "write_to_deregistered_region_is_refused",
	  .prepare = deregister,
	  .act = write_all,
	  REFUSED_ACCESS },
	{ .name = "read_from_deregistered_region_is_refused",
	  .prepare = deregister,
	  .act = read_all,
	  REFUSED_ACCESS },

	{ .name = "send_with_wrong_lkey_fails",
	  .receives = 1,
	  .act = send_wrong_lkey,
	  FAILED_SEND_KEY },
	{ .name = "send_from_one_byte_before_region_fails",
	  .receives = 1,
	  .act = send_one_before,
	  FAILED_SEND },
	{ .name = "send_from_one_byte_past_region_fails",
	  .receives = 1,
	  .act = send_one_past,
	  FAILED_SEND },
	{ .name = "send_from_region_of_other_pd_fails",
	  .receives = 1,
	  .act = send_other_pd,
	  FAILED_SEND_KEY },
	{ .name = "send_from_deregistered_region_fails",
	  .receives = 1,
	  .act = send_deregistered,
	  FAILED_SEND_KEY },
	{ .name = "write_with_wrong_lkey_fails", .act = write_wrong_lkey, FAILED_SEND_KEY },
	{ .name = "read_into_region_without_local_write_fails",
	  .act = read_into_read_only,
	  FAILED_SEND },

	{ .name = "receive_too_small_fails_both_ends",
	  .prepare = receive_small,
	  .act = send_message,
	  .expected = { .requester = "REM_INV_REQ_ERR", .responder = "LOC_LEN_ERR" },
	  .rxe = { .requester = "REM_OP_ERR", .responder = "LOC_QP_OP_ERR" },
	  .rxe_why = "rxe gives one status for all that goes wrong with a receive" },
	{ .name = "receive_into_region_without_local_write_fails",
	  .prepare = receive_into_region,
	  .act = send_message,
	  .mr_access = IBV_ACCESS_REMOTE_READ,
	  FAILED_RECEIVE },
	{ .name = "receive_with_wrong_lkey_fails",
	  .prepare = receive_wrong_lkey,
	  .act = send_message,
	  FAILED_RECEIVE },
	{ .name = "receive_into_region_of_other_pd_fails",
	  .prepare = receive_other_pd,
	  .act = send_message,
	  FAILED_RECEIVE },
	{ .name = "receive_into_deregistered_region_fails",
	  .prepare = receive_deregistered,
	  .act = send_message,
	  FAILED_RECEIVE },
	{ .name = "receive_past_region_fails",
	  .prepare = receive_past_region,
	  .act = send_message,
	  FAILED_RECEIVE },
	{ .name = "receive_before_region_fails",
	  .prepare = receive_before_region,
	  .act = send_message,
	  FAILED_RECEIVE },

	{ .name = "send_without_receive_ends_after_rnr_retries",
	  .no_receive = true,
	  .act = send_message,
	  .expected.requester = "RNR_RETRY_EXC_ERR" },
	{ .name = "send_to_destroyed_qp_ends_after_retries",
	  .peer_vanishes = true,
	  .act = send_message,
	  .expected.requester = "RETRY_EXC_ERR" },
	{ .name = "work_behind_an_error_is_flushed_signaled_or_not",
	  .act = write_wrong_key_and_two_more,
	  .receives = 1,
	  .expected = { .requester = "REM_ACCESS_ERR,WR_FLUSH_ERR,WR_FLUSH_ERR",
			.responder = "WR_FLUSH_ERR",
			.responder_events = "QP_ACCESS_ERR" },
	  .rxe = { .responder_events = "" },
	  .rxe_why = NO_EVENT_WHY },
	{ .name = "unsignaled_work_completes_when_it_fails",
	  .act = write_wrong_key_unsignaled,
	  REFUSED_ACCESS },
	{ .name = "send_posted_to_qp_in_error_is_flushed",
	  .act = post_send_after_error,
	  .expected.requester = "WR_FLUSH_ERR" },
	{ .name = "receive_posted_to_qp_in_error_is_flushed",
	  .act = post_receive_after_error,
	  .expected.requester = "WR_FLUSH_ERR",
	  .rxe.requester = "",
	  .rxe_why = "rxe does not look at the receive queue of a QP that is in error already" },
	{ .name = "receives_are_flushed_when_qp_goes_to_error",
	  .act = post_receives_then_error,
	  .expected.requester = "WR_FLUSH_ERR,WR_FLUSH_ERR,WR_FLUSH_ERR" },
	{ .name = "receives_vanish_when_qp_goes_to_reset",
	  .act = post_receives_then_reset,
	  .expected.requester = "modify_qp:0" },

	{ .name = "posting_in_reset_is_refused",
	  .local = true,
	  .act = post_in_reset,
	  .expected.requester = "post_send:EINVAL,post_recv:EINVAL" },
	{ .name = "posting_send_in_init_is_refused",
	  .local = true,
	  .act = post_send_in_init,
	  .expected.requester = "post_send:EINVAL" },
	{ .name = "posting_receive_in_init_is_allowed",
	  .local = true,
	  .act = post_receive_in_init,
	  .expected.requester = "post_recv:0" },
	{ .name = "states_cannot_be_skipped",
	  .local = true,
	  .act = skip_states,
	  .expected.requester = "rtr:EINVAL,rts:EINVAL,rts:EINVAL" },

	{ .name = "posting_more_sges_than_asked_for_is_refused",
	  .act = post_too_many_sges,
	  .expected.requester = "post_send:EINVAL,post_recv:EINVAL" },
	{ .name = "posting_more_inline_data_than_asked_for_is_refused",
	  .act = post_inline_too_long,
	  .expected.requester = "post_send:EINVAL" },
	{ .name = "posting_to_full_receive_queue_is_refused",
	  .act = fill_receive_queue,
	  .expected.requester = "post_recv:ENOMEM" },
	{ .name = "posting_to_full_send_queue_is_refused",
	  .act = fill_send_queue,
	  .expected.requester = "post_send:ENOMEM" },

	{ .name = "objects_in_use_cannot_be_destroyed",
	  .local = true,
	  .act = destroy_in_use,
	  .expected.requester = "dealloc_pd:EBUSY,destroy_cq:EBUSY" },
	{ .name = "qp_with_work_outstanding_can_be_destroyed",
	  .act = destroy_with_work,
	  .expected.requester = "destroy_qp:0,destroy_cq:0" },
	{ .name = "region_that_receives_use_can_be_deregistered",
	  .act = deregister_under_way,
	  .expected.requester = "dereg_mr:0" },
	{ .name = "remote_rights_without_local_write_are_refused",
	  .local = true,
	  .act = register_remote_without_local,
	  .expected.requester = "reg_mr:EINVAL,reg_mr:EINVAL" },
	{ .name = "queues_beyond_the_device_limits_are_refused",
	  .local = true,
	  .act = create_too_large,
	  .expected.requester = "create_qp:EINVAL,create_cq:EINVAL" },
};

const unsigned int error_case_count = sizeof(error_cases) / sizeof(*error_cases);
