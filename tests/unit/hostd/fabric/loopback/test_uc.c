// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unreliable connections of the loopback fabric: the requester learns nothing of
 * what goes wrong at the responder, its own errors stop its send queue alone.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/rig.h"

#define IOVA_A 0x7f0000001000ull
#define IOVA_B 0x7f1000002000ull
#define RUN    (1u << 20)
#define BIG    (3 * RUN)

static struct qp *a, *b;
static struct mr *mr_a, *mr_b;

static void setup(void)
{
	rig_setup();
	a = rig_qp_of(rig.a, PVHCA_QPT_UC, NULL);
	b = rig_qp_of(rig.b, PVHCA_QPT_UC, NULL);
	mr_a = rig_mr(rig.a, IOVA_A, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
	mr_b = rig_mr(rig.b, IOVA_B, 4, RUN, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	rig_connect(a, b);
}

static void teardown(void)
{
	if (mr_a)
		rig_mr_free(mr_a);
	rig_mr_free(mr_b);
	rig_qp_free(a);
	rig_qp_free(b);
	rig_teardown();
}

static void post(uint8_t opcode, uint32_t len, uint32_t rkey)
{
	struct pvhca_sge sge = { htole64(IOVA_A), htole32(len), htole32(mr_a ? mr_a->lkey : 1) };
	struct pvhca_sq_wqe wqe = {
		.opcode = opcode,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
	};

	if (opcode == PVHCA_WQE_WRITE || opcode == PVHCA_WQE_WRITE_IMM) {
		wqe.remote_addr = htole64(IOVA_B);
		wqe.rkey = htole32(rkey);
	}
	rig_post_send(a, wqe, &sge, NULL);
}

static void post_recv(uint32_t len)
{
	struct pvhca_sge sge = { htole64(IOVA_B), htole32(len), htole32(mr_b->lkey) };

	rig_post_recv(b, &sge, 1);
}

static void expect_states(enum ibv_qp_state of_a, enum ibv_qp_state of_b)
{
	ck_assert_int_eq(atomic_load(&a->state), of_a);
	ck_assert_int_eq(atomic_load(&b->state), of_b);
}

START_TEST(sends_and_writes_arrive)
{
	rig_fill(mr_a, IOVA_A, BIG, 1);
	post_recv(BIG);
	post_recv(0);
	post(PVHCA_WQE_SEND_IMM, BIG, 0);
	post(PVHCA_WQE_WRITE_IMM, 100, mr_b->rkey);
	post(PVHCA_WQE_WRITE, 200, mr_b->rkey);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le32toh(rig_expect(b->recv_cq, IBV_WC_SUCCESS).byte_len), BIG);
	ck_assert_int_eq(rig_expect(b->recv_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_RECV_WRITE_IMM);
	ck_assert(rig_is_filled(mr_b, IOVA_B, BIG, 1));
}
END_TEST

START_TEST(message_without_a_receive_is_lost)
{
	post(PVHCA_WQE_SEND, 8, 0);
	post(PVHCA_WQE_WRITE_IMM, 8, mr_b->rkey);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert(!rig_is_waiting());
	post_recv(8);
	rig_pump();
	rig_expect_none(b->recv_cq);
	expect_states(IBV_QPS_RTS, IBV_QPS_RTS);
}
END_TEST

START_TEST(bad_remote_key_drops_the_message)
{
	post_recv(8);
	post(PVHCA_WQE_WRITE, 8, 0);
	post(PVHCA_WQE_WRITE_IMM, 8, mr_b->rkey + 1);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect_none(b->recv_cq);
	expect_states(IBV_QPS_RTS, IBV_QPS_RTS);
	ck_assert_uint_eq(rig.num_events, 0);
}
END_TEST

START_TEST(message_too_long_fails_the_responder_alone)
{
	post_recv(7);
	post(PVHCA_WQE_SEND, 8, 0);
	post(PVHCA_WQE_SEND, 8, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_LOC_LEN_ERR);
	expect_states(IBV_QPS_RTS, IBV_QPS_ERR);
}
END_TEST

START_TEST(responder_that_is_gone_swallows_everything)
{
	struct pvhca_qp_attr attr = { .qp_state = IBV_QPS_RESET };

	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	post(PVHCA_WQE_SEND, 8, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(reads_and_atomics_are_not_for_it)
{
	post(PVHCA_WQE_READ, 8, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_LOC_QP_OP_ERR);
	expect_states(IBV_QPS_SQE, IBV_QPS_RTS);
}
END_TEST

START_TEST(send_error_stops_sends_until_rts_and_leaves_receives)
{
	struct pvhca_qp_attr attr = { .qp_state = IBV_QPS_RTS, .cur_qp_state = IBV_QPS_SQE };
	struct pvhca_sge bad = { htole64(IOVA_A), htole32(8), 0 };
	struct pvhca_sq_wqe wqe = { .opcode = PVHCA_WQE_SEND, .num_sge = htole16(1) };
	unsigned int i;

	rig_post_recv(a, NULL, 0);
	post_recv(8);
	rig_post_send(a, wqe, &bad, NULL);
	for (i = 0; i < 3; i++)
		post(PVHCA_WQE_SEND, 8, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
	for (i = 0; i < 3; i++)
		rig_expect(a->send_cq, IBV_WC_WR_FLUSH_ERR);
	rig_expect_none(a->recv_cq);
	expect_states(IBV_QPS_SQE, IBV_QPS_RTS);
	post(PVHCA_WQE_SEND, 8, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_WR_FLUSH_ERR);

	/* It still receives, and goes on after RTS. */
	rig_post_send(b, (struct pvhca_sq_wqe){ .opcode = PVHCA_WQE_SEND }, NULL, NULL);
	rig_pump();
	rig_expect(a->recv_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE | IBV_QP_CUR_STATE, attr), 0);
	post(PVHCA_WQE_SEND, 8, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(receive_of_a_broken_message_serves_the_next)
{
	post_recv(BIG);
	post(PVHCA_WQE_SEND, BIG, 0);
	ck_assert(rig_pump_once());
	rig_mr_free(mr_a);
	mr_a = NULL;
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
	rig_expect_none(b->recv_cq);
	ck_assert_int_eq(
		rig_modify(a, IBV_QP_STATE, (struct pvhca_qp_attr){ .qp_state = IBV_QPS_RTS }), 0);
	rig_post_send(a, (struct pvhca_sq_wqe){ .opcode = PVHCA_WQE_SEND }, NULL, NULL);
	rig_pump();
	ck_assert_uint_eq(le32toh(rig_expect(b->recv_cq, IBV_WC_SUCCESS).byte_len), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_uc");
	TCase *tcase = tcase_create("unreliable connection");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, sends_and_writes_arrive);
	tcase_add_test(tcase, message_without_a_receive_is_lost);
	tcase_add_test(tcase, bad_remote_key_drops_the_message);
	tcase_add_test(tcase, message_too_long_fails_the_responder_alone);
	tcase_add_test(tcase, responder_that_is_gone_swallows_everything);
	tcase_add_test(tcase, reads_and_atomics_are_not_for_it);
	tcase_add_test(tcase, send_error_stops_sends_until_rts_and_leaves_receives);
	tcase_add_test(tcase, receive_of_a_broken_message_serves_the_next);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
