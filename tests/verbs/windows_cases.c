// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cases of pvhca-test-windows: memory windows, invalidation and atomics. Where
 * the expectations are from: InfiniBand Architecture Specification 1.x vol. 1,
 * 10.6.7 (memory windows) and 10.7.2.4 (local invalidate), 9.4.1.1.2 (send with
 * invalidate), 9.4.5 (atomics), 10.10.3 (completions); ibv_bind_mw(3), ibv_alloc_mw(3).
 */
#include <errno.h>
#include <string.h>

#include "errors.h"
#include "report.h"

#define MESSAGE 64
/* The window: in the middle of the page. */
#define OFFSET 1024
#define LENGTH 512

#define REMOTE_RIGHTS (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

/* ------------------------------ the window's owner ------------------------- */

/* A region that windows may be bound to, unless access lacks that, and a window. False: recorded why. */
static bool make(struct side *s, enum ibv_mw_type type, int access)
{
	s->windowed = ibv_reg_mr(s->pd, s->page, SIDE_PAGE, access);
	if (!s->windowed) {
		side_record_call(s, "reg_mr", errno);
		return false;
	}
	s->mw = ibv_alloc_mw(s->pd, type);
	if (!s->mw)
		side_record_call(s, "alloc_mw", errno);
	return s->mw;
}

static struct ibv_mw_bind_info range(struct side *s, size_t offset, size_t length,
				     unsigned int access)
{
	return (struct ibv_mw_bind_info){
		.mr = s->windowed,
		.addr = (uintptr_t)s->page + offset,
		.length = length,
		.mw_access_flags = access,
	};
}

/* The status of one operation that completes on the send CQ; "bind:0" stands for success. */
static bool finish(struct side *s, const char *what, int error)
{
	struct ibv_wc wc;

	if (error) {
		side_record_call(s, what, error);
		return false;
	}
	if (!side_wait(s, s->send_cq, &wc))
		return false;
	if (wc.status)
		side_record(s, status_name(wc.status));
	else
		side_record_call(s, what, 0);
	return !wc.status;
}

static bool bind_type1(struct side *s, struct ibv_mw_bind_info info)
{
	struct ibv_mw_bind bind = { .send_flags = IBV_SEND_SIGNALED, .bind_info = info };

	return finish(s, "bind", ibv_bind_mw(s->qp, s->mw, &bind));
}

static bool bind_type2(struct side *s, struct ibv_mw_bind_info info)
{
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_BIND_MW,
		.send_flags = IBV_SEND_SIGNALED,
		.bind_mw = { .mw = s->mw, .rkey = ibv_inc_rkey(s->mw->rkey), .bind_info = info },
	}, *bad;

	if (!finish(s, "bind", ibv_post_send(s->qp, &wr, &bad)))
		return false;
	s->mw->rkey = wr.bind_mw.rkey;
	return true;
}

static bool invalidate(struct side *s, uint32_t rkey)
{
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_LOCAL_INV,
		.send_flags = IBV_SEND_SIGNALED,
		.invalidate_rkey = rkey,
	}, *bad;

	return finish(s, "invalidate", ibv_post_send(s->qp, &wr, &bad));
}

static void offer(struct side *s)
{
	s->offer =
		(struct side_offer){ .address = (uintptr_t)s->page + OFFSET, .rkey = s->mw->rkey };
}

#define BINDABLE (SIDE_ALL_RIGHTS | IBV_ACCESS_MW_BIND)

static void offer_type1(struct side *s)
{
	if (make(s, IBV_MW_TYPE_1, BINDABLE) &&
	    bind_type1(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)))
		offer(s);
}

static void offer_type2(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE) &&
	    bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)))
		offer(s);
}

static void offer_type2_to_read(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE) &&
	    bind_type2(s, range(s, OFFSET, LENGTH, IBV_ACCESS_REMOTE_READ)))
		offer(s);
}

static void offer_type2_to_write(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE) &&
	    bind_type2(s, range(s, OFFSET, LENGTH, IBV_ACCESS_REMOTE_WRITE)))
		offer(s);
}

static void offer_unbound_type2(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE))
		offer(s);
}

static void offer_type2_invalidated(struct side *s)
{
	offer_type2(s);
	invalidate(s, s->offer.rkey);
}

/* A length of nothing takes all rights; and the key that was before goes by any new binding. */
static void offer_type1_bound_to_nothing(struct side *s)
{
	offer_type1(s);
	bind_type1(s, range(s, OFFSET, 0, 0));
}

static void offer_type1_rebound(struct side *s)
{
	offer_type1(s);
	bind_type1(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void offer_deallocated(struct side *s)
{
	offer_type2(s);
	if (s->mw)
		side_record_call(s, "dealloc_mw", ibv_dealloc_mw(s->mw));
	s->mw = NULL;
}

/* ------------------------------ the other end ------------------------------ */

static void write_window(struct side *s)
{
	side_post_plain(s, IBV_WR_RDMA_WRITE, LENGTH, s->offer.address, s->offer.rkey);
}

static void read_window(struct side *s)
{
	side_post_plain(s, IBV_WR_RDMA_READ, LENGTH, s->offer.address, s->offer.rkey);
}

static void write_past_window(struct side *s)
{
	side_post_plain(s, IBV_WR_RDMA_WRITE, MESSAGE, s->offer.address + LENGTH - MESSAGE + 1,
			s->offer.rkey);
}

static void write_before_window(struct side *s)
{
	side_post_plain(s, IBV_WR_RDMA_WRITE, MESSAGE, s->offer.address - 1, s->offer.rkey);
}

static void send_invalidating(struct side *s, uint32_t rkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_SEND_WITH_INV,
		.send_flags = IBV_SEND_SIGNALED,
		.invalidate_rkey = rkey,
	}, *bad;
	int error = ibv_post_send(s->qp, &wr, &bad);

	if (error)
		side_record_call(s, "post_send", error);
}

static void send_with_invalidate(struct side *s)
{
	send_invalidating(s, s->offer.rkey);
}

static void send_with_invalidate_then_write(struct side *s)
{
	send_invalidating(s, s->offer.rkey);
	side_collect(s, s->send_cq, 1);
	write_window(s);
}

static void send_with_wrong_invalidate(struct side *s)
{
	send_invalidating(s, s->offer.rkey ^ 0x5a);
}

/* ------------------------------ misuse, all at one end --------------------- */

static void bind_to_region_without_right(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, SIDE_ALL_RIGHTS))
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void bind_writable_to_read_only_region(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, IBV_ACCESS_REMOTE_READ | IBV_ACCESS_MW_BIND))
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void bind_past_region(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE))
		bind_type2(s, range(s, SIDE_PAGE - LENGTH + 1, LENGTH, REMOTE_RIGHTS));
}

static void bind_before_region(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE))
		bind_type2(s, range(s, -1, LENGTH, REMOTE_RIGHTS));
}

static void bind_type2_twice(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE) &&
	    bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)))
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void bind_window_of_other_pd(struct side *s)
{
	if (!make(s, IBV_MW_TYPE_2, BINDABLE))
		return;
	ibv_dealloc_mw(s->mw);
	s->mw = ibv_alloc_mw(s->other_pd, IBV_MW_TYPE_2);
	if (s->mw)
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void bind_region_of_other_pd(struct side *s)
{
	if (!make(s, IBV_MW_TYPE_2, BINDABLE))
		return;
	ibv_dereg_mr(s->windowed);
	s->windowed = ibv_reg_mr(s->other_pd, s->page, SIDE_PAGE, BINDABLE);
	if (s->windowed)
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void bind_type2_by_ibv_bind_mw(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE))
		bind_type1(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void bind_type1_by_post_send(struct side *s)
{
	if (make(s, IBV_MW_TYPE_1, BINDABLE))
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void invalidate_unknown_key(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE) &&
	    bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)))
		invalidate(s, s->mw->rkey ^ 0x5a);
}

static void invalidate_type1(struct side *s)
{
	if (make(s, IBV_MW_TYPE_1, BINDABLE) &&
	    bind_type1(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)))
		invalidate(s, s->mw->rkey);
}

/* An invalidated one is free to be bound again. */
static void bind_again_after_invalidate(struct side *s)
{
	if (make(s, IBV_MW_TYPE_2, BINDABLE) &&
	    bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)) && invalidate(s, s->mw->rkey))
		bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS));
}

static void deregister_bound_region(struct side *s)
{
	int error;

	if (!make(s, IBV_MW_TYPE_2, BINDABLE) ||
	    !bind_type2(s, range(s, OFFSET, LENGTH, REMOTE_RIGHTS)))
		return;
	error = ibv_dereg_mr(s->windowed);
	side_record_check(s, "refused", error);
	if (!error)
		s->windowed = NULL;
}

static void allocate_unknown_type(struct side *s)
{
	struct ibv_mw *mw = ibv_alloc_mw(s->pd, 3);

	side_record_call(s, "alloc_mw", mw ? 0 : errno);
	if (mw)
		ibv_dealloc_mw(mw);
}

static void free_pd_of_window(struct side *s)
{
	struct ibv_pd *pd = ibv_alloc_pd(s->device->context);
	struct ibv_mw *mw = pd ? ibv_alloc_mw(pd, IBV_MW_TYPE_1) : NULL;

	if (!mw) {
		side_record_call(s, "alloc_mw", errno);
		return;
	}
	side_record_call(s, "dealloc_pd", ibv_dealloc_pd(pd));
	side_record_call(s, "dealloc_mw", ibv_dealloc_mw(mw));
	side_record_call(s, "dealloc_pd", ibv_dealloc_pd(pd));
}

/* --------------------------------- atomics --------------------------------- */

#define ATOMIC_RIGHTS (SIDE_ALL_RIGHTS | IBV_ACCESS_REMOTE_ATOMIC)
#define BEFORE	      0x0123456789abcdefull

static void offer_number(struct side *s)
{
	*(uint64_t *)s->page = BEFORE;
}

/* The value that was there comes back into the middle page. */
static bool atomic(struct side *s, enum ibv_wr_opcode opcode, uint64_t first, uint64_t second,
		   uint64_t *old)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page, .length = 8, .lkey = s->all->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.atomic = { .remote_addr = s->offer.address, .rkey = s->offer.rkey, .compare_add = first,
			       .swap = second },
	}, *bad;
	int error = ibv_post_send(s->qp, &wr, &bad);
	unsigned int before = strlen(s->statuses);

	if (error) {
		side_record_call(s, "post_send", error);
		return false;
	}
	side_collect(s, s->send_cq, 1);
	*old = *(uint64_t *)s->page;
	return !strncmp(s->statuses + before + (before > 0), "SUCCESS", 7);
}

static void add_and_swap(struct side *s)
{
	uint64_t old[4] = { 0 };

	if (!atomic(s, IBV_WR_ATOMIC_FETCH_AND_ADD, 5, 0, &old[0]) ||
	    !atomic(s, IBV_WR_ATOMIC_CMP_AND_SWP, BEFORE, 77, &old[1]) ||
	    !atomic(s, IBV_WR_ATOMIC_CMP_AND_SWP, BEFORE + 5, 77, &old[2]) ||
	    !atomic(s, IBV_WR_ATOMIC_FETCH_AND_ADD, UINT64_MAX, 0, &old[3]))
		return;
	side_record_check(s, "add", old[0] == BEFORE);
	side_record_check(s, "unequal", old[1] == BEFORE + 5);
	side_record_check(s, "equal", old[2] == BEFORE + 5);
	side_record_check(s, "swapped", old[3] == 77);
}

static void add_to_misaligned(struct side *s)
{
	uint64_t old;

	s->offer.address += 4;
	atomic(s, IBV_WR_ATOMIC_FETCH_AND_ADD, 1, 0, &old);
}

static void add_anywhere(struct side *s)
{
	uint64_t old;

	atomic(s, IBV_WR_ATOMIC_FETCH_AND_ADD, 1, 0, &old);
}

#define REFUSED_ACCESS(prepared)                             \
	.receives = 1,                                       \
	.expected = { .requester = "REM_ACCESS_ERR",         \
		      .responder = prepared ",WR_FLUSH_ERR", \
		      .responder_events = "QP_ACCESS_ERR" }, \
	.rxe = { .responder_events = "" }, .rxe_why = "rxe raises no event at the responder"

#define OUT_OF_RANGE                                                                      \
	.receives = 1,                                                                    \
	.expected = { .requester = "REM_ACCESS_ERR",                                      \
		      .responder = "bind:0,WR_FLUSH_ERR",                                 \
		      .responder_events = "QP_ACCESS_ERR" },                              \
	.rxe = { .requester = "SUCCESS", .responder = "bind:0", .responder_events = "" }, \
	.rxe_why = "rxe looks at the range of the region, not at the window's"

#define BOUND	   .expected = { .requester = "SUCCESS", .responder = "bind:0" }
#define BIND_FAILS .expected.requester = "MW_BIND_ERR"

const struct error_case error_cases[] = {
	{ .name = "window_type1_can_be_written",
	  .prepare = offer_type1,
	  .act = write_window,
	  BOUND },
	{ .name = "window_type1_can_be_read", .prepare = offer_type1, .act = read_window, BOUND },
	{ .name = "window_type2_can_be_written",
	  .prepare = offer_type2,
	  .act = write_window,
	  BOUND },
	{ .name = "window_type2_can_be_read", .prepare = offer_type2, .act = read_window, BOUND },
	{ .name = "write_past_window_is_refused",
	  .prepare = offer_type2,
	  .act = write_past_window,
	  OUT_OF_RANGE },
	{ .name = "write_before_window_is_refused",
	  .prepare = offer_type1,
	  .act = write_before_window,
	  OUT_OF_RANGE },
	{ .name = "write_to_window_for_reading_is_refused",
	  .prepare = offer_type2_to_read,
	  .act = write_window,
	  REFUSED_ACCESS("bind:0") },
	{ .name = "read_of_window_for_writing_is_refused",
	  .prepare = offer_type2_to_write,
	  .act = read_window,
	  REFUSED_ACCESS("bind:0") },
	{ .name = "write_to_unbound_window_is_refused",
	  .prepare = offer_unbound_type2,
	  .act = write_window,
	  .receives = 1,
	  .expected = { .requester = "REM_ACCESS_ERR",
			.responder = "WR_FLUSH_ERR",
			.responder_events = "QP_ACCESS_ERR" },
	  .rxe = { .responder_events = "" },
	  .rxe_why = "rxe raises no event at the responder" },
	{ .name = "write_to_window_bound_to_nothing_is_refused",
	  .prepare = offer_type1_bound_to_nothing,
	  .act = write_window,
	  REFUSED_ACCESS("bind:0,bind:0") },
	{ .name = "write_by_key_before_rebinding_is_refused",
	  .prepare = offer_type1_rebound,
	  .act = write_window,
	  REFUSED_ACCESS("bind:0,bind:0") },
	{ .name = "write_to_invalidated_window_is_refused",
	  .prepare = offer_type2_invalidated,
	  .act = write_window,
	  REFUSED_ACCESS("bind:0,invalidate:0") },
	{ .name = "write_to_deallocated_window_is_refused",
	  .prepare = offer_deallocated,
	  .act = write_window,
	  REFUSED_ACCESS("bind:0,dealloc_mw:0") },

	{ .name = "send_with_invalidate_tells_the_receiver",
	  .prepare = offer_type2,
	  .act = send_with_invalidate,
	  .receives = 1,
	  .expected = { .requester = "SUCCESS", .responder = "bind:0,SUCCESS+INV" },
	  .rxe = { .responder = "bind:0,SUCCESS" },
	  .rxe_why = "rxe does not tell a process that a key was invalidated" },
	{ .name = "write_after_send_with_invalidate_is_refused",
	  .prepare = offer_type2,
	  .act = send_with_invalidate_then_write,
	  .receives = 2,
	  .expected = { .requester = "SUCCESS,REM_ACCESS_ERR",
			.responder = "bind:0,SUCCESS+INV,WR_FLUSH_ERR",
			.responder_events = "QP_ACCESS_ERR" },
	  .rxe = { .responder = "bind:0,SUCCESS,WR_FLUSH_ERR", .responder_events = "" },
	  .rxe_why =
		  "rxe does not tell a process that a key was invalidated, and raises no event" },
	{ .name = "send_with_invalidate_of_wrong_key_is_refused",
	  .prepare = offer_type2,
	  .act = send_with_wrong_invalidate,
	  .receives = 1,
	  .expected = { .requester = "REM_ACCESS_ERR",
			.responder = "bind:0,WR_FLUSH_ERR",
			.responder_events = "QP_ACCESS_ERR" },
	  .rxe = { .requester = "SUCCESS",
		   .responder = "bind:0,REM_INV_REQ_ERR",
		   .responder_events = "" },
	  .rxe_why = "rxe fails only the receive" },

	{ .name = "bind_to_region_without_bind_right_fails",
	  .act = bind_to_region_without_right,
	  BIND_FAILS },
	{ .name = "bind_writable_to_region_without_local_write_fails",
	  .act = bind_writable_to_read_only_region,
	  BIND_FAILS },
	{ .name = "bind_past_region_fails", .act = bind_past_region, BIND_FAILS },
	{ .name = "bind_before_region_fails", .act = bind_before_region, BIND_FAILS },
	{ .name = "bind_of_window_of_other_pd_fails", .act = bind_window_of_other_pd, BIND_FAILS },
	{ .name = "bind_to_region_of_other_pd_fails",
	  .act = bind_region_of_other_pd,
	  BIND_FAILS,
	  .rxe = { .requester = "bind:0" },
	  .rxe_why = "rxe does not compare the region's PD" },
	{ .name = "bind_of_bound_window_type2_fails",
	  .act = bind_type2_twice,
	  .expected.requester = "bind:0,MW_BIND_ERR" },
	{ .name = "window_type2_can_be_bound_again_after_invalidate",
	  .act = bind_again_after_invalidate,
	  .expected.requester = "bind:0,invalidate:0,bind:0" },
	{ .name = "window_type2_is_not_for_ibv_bind_mw",
	  .act = bind_type2_by_ibv_bind_mw,
	  .expected.requester = "bind:EINVAL" },
	{ .name = "window_type1_is_not_for_post_send",
	  .act = bind_type1_by_post_send,
	  .expected.requester = "bind:EINVAL",
	  .rxe = { .requester = "bind:0" },
	  .rxe_why = "rxe takes both types in both ways" },
	{ .name = "invalidate_of_unknown_key_fails",
	  .act = invalidate_unknown_key,
	  .expected.requester = "bind:0,MW_BIND_ERR",
	  .rxe = { .requester = "bind:0,LOC_QP_OP_ERR" },
	  .rxe_why = "rxe gives another status" },
	{ .name = "invalidate_of_window_type1_fails",
	  .act = invalidate_type1,
	  .expected.requester = "bind:0,MW_BIND_ERR",
	  .rxe = { .requester = "bind:0,LOC_QP_OP_ERR" },
	  .rxe_why = "rxe gives another status" },
	{ .name = "region_with_bound_window_stays_registered",
	  .act = deregister_bound_region,
	  .expected.requester = "bind:0,refused:ok" },
	{ .name = "unknown_type_of_window_is_refused",
	  .local = true,
	  .act = allocate_unknown_type,
	  .expected.requester = "alloc_mw:EINVAL" },
	{ .name = "pd_with_window_stays",
	  .local = true,
	  .act = free_pd_of_window,
	  .expected.requester = "dealloc_pd:EBUSY,dealloc_mw:0,dealloc_pd:0" },

	{ .name = "atomics_return_what_was_there",
	  .prepare = offer_number,
	  .act = add_and_swap,
	  .mr_access = ATOMIC_RIGHTS,
	  .qp_access = ATOMIC_RIGHTS,
	  .expected.requester =
		  "SUCCESS,SUCCESS,SUCCESS,SUCCESS,add:ok,unequal:ok,equal:ok,swapped:ok" },
	{ .name = "atomic_to_misaligned_address_is_refused",
	  .prepare = offer_number,
	  .act = add_to_misaligned,
	  .mr_access = ATOMIC_RIGHTS,
	  .qp_access = ATOMIC_RIGHTS,
	  .receives = 1,
	  .expected = { .requester = "REM_INV_REQ_ERR",
			.responder = "WR_FLUSH_ERR",
			.responder_events = "QP_REQ_ERR" },
	  .rxe = { .requester = "post_send:EINVAL", .responder = "", .responder_events = "" },
	  .rxe_in_guest = "LOC_QP_OP_ERR",
	  .rxe_why = "rxe refuses to post it" },
	{ .name = "atomic_to_region_without_right_is_refused",
	  .prepare = offer_number,
	  .act = add_anywhere,
	  .qp_access = ATOMIC_RIGHTS,
	  .receives = 1,
	  .expected = { .requester = "REM_ACCESS_ERR",
			.responder = "WR_FLUSH_ERR",
			.responder_events = "QP_ACCESS_ERR" },
	  .rxe = { .responder_events = "" },
	  .rxe_why = "rxe raises no event at the responder" },
	{ .name = "atomic_to_qp_without_right_is_refused",
	  .prepare = offer_number,
	  .act = add_anywhere,
	  .mr_access = ATOMIC_RIGHTS,
	  .receives = 1,
	  .expected = { .requester = "REM_INV_REQ_ERR",
			.responder = "WR_FLUSH_ERR",
			.responder_events = "QP_REQ_ERR" },
	  .rxe = { .responder_events = "" },
	  .rxe_why = "rxe raises no event at the responder" },
};

const unsigned int error_case_count = sizeof(error_cases) / sizeof(*error_cases);
