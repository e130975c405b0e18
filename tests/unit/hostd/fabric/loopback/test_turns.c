// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a QP may do in one turn of its VM: bytes, entries and the VM's rate; and what
 * becomes of a message that takes several turns, when one of those it needs goes in between.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/rig.h"
#include "lib/clock.h"
#include "suite.h"

#define AT_A	 0x10000000ull
#define AT_B	 0x20000000ull
#define RUN	 (1u << 20)
#define LEN	 (1u << 20)
#define SIGNALED PVHCA_WQE_F_SIGNALED
#define ALL_ACCESS                                                                   \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC)

static struct qp *a, *b;
static struct mr *mr_a, *mr_b;

static void setup(void)
{
	rig_setup();
	a = rig_qp(rig.a);
	b = rig_qp(rig.b);
	mr_a = rig_mr(rig.a, AT_A, 2, RUN, ALL_ACCESS);
	mr_b = rig_mr(rig.b, AT_B, 2, RUN, ALL_ACCESS);
	rig_connect(a, b);
	rig.turn_ns = PASS_TURN_NS;
}

static void teardown(void)
{
	if (mr_a)
		rig_mr_free(mr_a);
	if (mr_b)
		rig_mr_free(mr_b);
	if (a)
		rig_qp_free(a);
	if (b)
		rig_qp_free(b);
	rig_teardown();
}

static void post(uint8_t opcode, uint32_t len)
{
	struct pvhca_sge sge = { htole64(AT_A), htole32(len), htole32(mr_a->lkey) };
	struct pvhca_sq_wqe wqe = {
		.opcode = opcode,
		.flags = SIGNALED,
		.num_sge = htole16(1),
	};

	if (opcode != PVHCA_WQE_SEND) {
		wqe.rkey = htole32(mr_b->rkey);
		wqe.remote_addr = htole64(AT_B);
	}
	rig_post_send(a, wqe, &sge, NULL);
}

static void post_recv(uint32_t len)
{
	struct pvhca_sge sge = { htole64(AT_B), htole32(len), htole32(mr_b->lkey) };

	rig_post_recv(b, &sge, 1);
}

static uint64_t copied(void)
{
	return rig.a->vm.counters.payload_bytes_copied;
}

static const uint8_t long_ones[] = { PVHCA_WQE_WRITE, PVHCA_WQE_READ, PVHCA_WQE_SEND };

START_TEST(a_long_message_takes_many_turns_of_bounded_bytes)
{
	const struct mr *to = long_ones[_i] == PVHCA_WQE_READ ? mr_a : mr_b;
	const struct mr *from = to == mr_a ? mr_b : mr_a;
	unsigned int turns = 0;
	uint64_t before;

	rig_fill(from, from->iova, LEN, 3);
	post_recv(LEN);
	post(long_ones[_i], LEN);
	for (before = copied(); rig_serve(rig.a); before = copied(), turns++)
		ck_assert_uint_le(copied() - before, PASS_TURN_BYTES);
	ck_assert_uint_ge(turns, LEN / PASS_TURN_BYTES);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect_none(a->send_cq);
	ck_assert(rig_is_filled(to, to->iova, LEN, 3));
	ck_assert_uint_eq(copied(), LEN);
	ck_assert_uint_eq(rig.a->vm.counters.messages, 1);
}
END_TEST

START_TEST(many_short_messages_take_turns_of_bounded_entries)
{
	unsigned int turns = 0, i;
	uint64_t before = 0;

	for (i = 0; i < (1u << RIG_LOG_SQ); i++)
		post(PVHCA_WQE_WRITE, 4096);
	do {
		ck_assert(rig_serve(rig.a));
		ck_assert_uint_le(rig.a->vm.counters.messages - before,
				  PASS_TURN_NS / PASS_ENTRY_NS + 1);
		ck_assert_uint_le(copied(), (uint64_t)++turns * PASS_TURN_BYTES);
		before = rig.a->vm.counters.messages;
		while (rig_poll(a->send_cq, &(struct pvhca_cqe){ 0 }))
			;
	} while (before < (1u << RIG_LOG_SQ));
}
END_TEST

/* -------------------------- who goes in between ---------------------------- */

static void first_turn(uint8_t opcode)
{
	post_recv(LEN);
	post(opcode, LEN);
	ck_assert(rig_serve(rig.a));
	ck_assert_uint_gt(copied(), 0);
	ck_assert_uint_lt(copied(), LEN);
}

START_TEST(a_requester_that_is_reset_moves_no_more_and_can_begin_anew)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };
	uint64_t before;

	first_turn(long_ones[_i]);
	before = copied();
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE, attr), 0);
	rig_pump();
	ck_assert_uint_eq(copied(), before);
	rig_expect_none(a->send_cq);
	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	atomic_store(a->sq.pi, 0);
	atomic_store(b->rq.pi, 0);
	rig_connect(a, b);
	post_recv(LEN);
	post(long_ones[_i], LEN);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(copied(), before + LEN);
}
END_TEST

START_TEST(a_requester_that_is_destroyed_moves_no_more)
{
	uint64_t before;

	first_turn(long_ones[_i]);
	before = copied();
	rig_qp_free(a);
	a = NULL;
	rig_pump();
	ck_assert_uint_eq(copied(), before);
	rig_expect_none(b->recv_cq);
}
END_TEST

START_TEST(a_responder_that_is_destroyed_ends_the_message)
{
	first_turn(long_ones[_i]);
	rig_qp_free(b);
	b = NULL;
	rig_pump_timers(20);
	rig_expect(a->send_cq, IBV_WC_RETRY_EXC_ERR);
}
END_TEST

START_TEST(a_responder_that_is_reset_ends_the_message)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };
	uint64_t before;

	first_turn(long_ones[_i]);
	before = copied();
	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	rig_pump_timers(20);
	rig_expect(a->send_cq, IBV_WC_RETRY_EXC_ERR);
	rig_expect_none(b->recv_cq);
	ck_assert_uint_eq(copied(), before);
}
END_TEST

START_TEST(a_remote_region_that_goes_ends_the_message)
{
	first_turn(_i ? PVHCA_WQE_READ : PVHCA_WQE_WRITE);
	rig_mr_free(mr_b);
	mr_b = NULL;
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_ACCESS_ERR));
}
END_TEST

START_TEST(the_requesters_own_region_that_goes_ends_the_message)
{
	first_turn(long_ones[_i]);
	rig_mr_free(mr_a);
	mr_a = NULL;
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
}
END_TEST

START_TEST(a_requester_in_error_flushes_the_message_under_way)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_ERR };

	first_turn(long_ones[_i]);
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE, attr), 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_WR_FLUSH_ERR);
	rig_expect_none(a->send_cq);
}
END_TEST

/* ---------------------------------- rates ---------------------------------- */

START_TEST(a_rate_of_messages_ends_a_turn)
{
	rig.turn_ns = 0;
	rig.rate_messages = 3;
	for (unsigned int i = 0; i < 10; i++)
		post(PVHCA_WQE_WRITE, 8);
	ck_assert(rig_serve(rig.a));
	ck_assert_uint_eq(rig.a->vm.counters.messages, 3);
	ck_assert_int_eq(rig.turn.rate_messages, 0);
	ck_assert(rig_serve(rig.a));
	ck_assert_uint_eq(rig.a->vm.counters.messages, 6);
}
END_TEST

START_TEST(a_rate_of_bytes_ends_a_turn_in_the_middle_of_a_message)
{
	rig.turn_ns = 0;
	rig.rate_bytes = 10000;
	post(PVHCA_WQE_WRITE, 8);
	post(long_ones[_i % 2], LEN);
	ck_assert(rig_serve(rig.a));
	ck_assert_uint_eq(copied(), 10000);
	ck_assert_int_eq(rig.turn.rate_bytes, 0);
	ck_assert(rig_serve(rig.a));
	ck_assert_uint_eq(copied(), 20000);
}
END_TEST

/* A retry is no other message, and its bytes go once. */
START_TEST(what_is_tried_again_counts_once)
{
	rig.turn_ns = 0;
	rig.rate_messages = 100;
	post(PVHCA_WQE_SEND, 64);
	rig_pump_timers(5);
	ck_assert_int_eq(rig.turn.rate_messages, 100);
	post_recv(64);
	rig.rate_bytes = 100;
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(rig.a->vm.counters.messages, 1);
	ck_assert_uint_eq(copied(), 64);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("turns");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_long_message_takes_many_turns_of_bounded_bytes, 0, 3);
	tcase_add_test(tc, many_short_messages_take_turns_of_bounded_entries);
	tcase_add_loop_test(tc, a_requester_that_is_reset_moves_no_more_and_can_begin_anew, 0, 3);
	tcase_add_loop_test(tc, a_requester_that_is_destroyed_moves_no_more, 0, 3);
	tcase_add_loop_test(tc, a_responder_that_is_destroyed_ends_the_message, 0, 3);
	tcase_add_loop_test(tc, a_responder_that_is_reset_ends_the_message, 0, 3);
	tcase_add_loop_test(tc, a_remote_region_that_goes_ends_the_message, 0, 2);
	tcase_add_loop_test(tc, the_requesters_own_region_that_goes_ends_the_message, 0, 3);
	tcase_add_loop_test(tc, a_requester_in_error_flushes_the_message_under_way, 0, 3);
	tcase_add_test(tc, a_rate_of_messages_ends_a_turn);
	tcase_add_loop_test(tc, a_rate_of_bytes_ends_a_turn_in_the_middle_of_a_message, 0, 2);
	tcase_add_test(tc, what_is_tried_again_counts_once);
	return suite_run("loopback turns", tc);
}
