// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shared receive queues of the loopback fabric.
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

static struct qp *a[2], *b[2];
static struct srq *srq;
static struct mr *mr_a, *mr_b;

static void setup(void)
{
	unsigned int i;

	rig_setup();
	srq = rig_srq(rig.b);
	for (i = 0; i < 2; i++) {
		a[i] = rig_qp(rig.a);
		b[i] = rig_qp_of(rig.b, PVHCA_QPT_RC, srq);
		rig_connect(a[i], b[i]);
	}
	mr_a = rig_mr(rig.a, IOVA_A, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
	mr_b = rig_mr(rig.b, IOVA_B, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
}

static void teardown(void)
{
	unsigned int i;

	rig_mr_free(mr_a);
	rig_mr_free(mr_b);
	for (i = 0; i < 2; i++) {
		rig_qp_free(a[i]);
		if (b[i])
			rig_qp_free(b[i]);
	}
	rig_srq_free(srq);
	rig_teardown();
}

static void post_srq(uint16_t tag, uint32_t len)
{
	struct pvhca_sge sge = { htole64(IOVA_B), htole32(len), htole32(mr_b->lkey) };

	rig_post_srq(srq, tag, &sge, 1);
}

static void post_send(struct qp *qp, uint32_t len)
{
	struct pvhca_sge sge = { htole64(IOVA_A), htole32(len), htole32(mr_a->lkey) };
	struct pvhca_sq_wqe wqe = {
		.opcode = PVHCA_WQE_SEND,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
	};

	rig_post_send(qp, wqe, &sge, NULL);
}

static int to_state(struct qp *qp, enum ibv_qp_state state)
{
	struct pvhca_qp_attr attr = { .qp_state = state };

	return rig_modify(qp, IBV_QP_STATE, attr);
}

START_TEST(entries_are_shared_and_tags_come_back)
{
	struct pvhca_cqe cqe;

	rig_fill(mr_a, IOVA_A, 100, 1);
	post_srq(77, 100);
	post_srq(5, 100);
	post_send(a[1], 100);
	rig_pump();
	cqe = rig_expect(b[1]->recv_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le16toh(cqe.wqe_index), 77);
	ck_assert_uint_eq(le32toh(cqe.qpn), b[1]->qpn);
	ck_assert(rig_is_filled(mr_b, IOVA_B, 100, 1));
	post_send(a[0], 100);
	rig_pump();
	cqe = rig_expect(b[0]->recv_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le16toh(cqe.wqe_index), 5);
	rig_expect_none(b[1]->recv_cq);
}
END_TEST

START_TEST(a_short_message_overtakes_a_long_one)
{
	post_srq(1, BIG);
	post_srq(2, BIG);
	post_send(a[0], BIG);
	ck_assert(rig_pump_once());
	post_send(a[1], 8);
	rig_pump();
	rig_expect(a[0]->send_cq, IBV_WC_SUCCESS);
	rig_expect(a[1]->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le16toh(rig_expect(b[1]->recv_cq, IBV_WC_SUCCESS).wqe_index), 2);
	ck_assert_uint_eq(le16toh(rig_expect(b[0]->recv_cq, IBV_WC_SUCCESS).wqe_index), 1);
}
END_TEST

START_TEST(empty_queue_is_rnr_and_a_post_wakes_all_who_wait)
{
	post_send(a[0], 8);
	post_send(a[1], 8);
	rig_pump();
	ck_assert(rig_is_waiting());
	rig_expect_none(a[0]->send_cq);
	post_srq(0, 8);
	post_srq(1, 8);
	rig_pump();
	rig_expect(a[0]->send_cq, IBV_WC_SUCCESS);
	rig_expect(a[1]->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(who_waits_is_forgotten_with_its_responder)
{
	post_send(a[0], 8);
	rig_pump();
	rig_qp_free(b[0]);
	b[0] = NULL;
	post_srq(0, 8);
	rig_pump();
	post_send(a[1], 8);
	rig_pump();
	rig_expect(a[1]->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(limit_raises_one_event)
{
	struct pvhca_rsp_query_srq rsp;
	unsigned int i;

	for (i = 0; i < 4; i++)
		post_srq(i, 8);
	ck_assert_int_eq(fabric_loopback.srq_set_limit(srq, 3), 0);
	ck_assert_int_eq(fabric_loopback.srq_query(srq, &rsp), 0);
	ck_assert_uint_eq(le32toh(rsp.limit), 3);
	ck_assert_uint_eq(le32toh(rsp.max_wr), 1 << RIG_LOG_RQ);
	post_send(a[0], 8);
	rig_pump();
	ck_assert_uint_eq(rig.num_events, 0);
	for (i = 0; i < 3; i++)
		post_send(a[0], 8);
	rig_pump();
	ck_assert_uint_eq(rig_count_events(srq->vm, srq->handle, PVHCA_EVENT_SRQ_LIMIT_REACHED), 1);
	ck_assert_int_eq(fabric_loopback.srq_query(srq, &rsp), 0);
	ck_assert_uint_eq(le32toh(rsp.limit), 0);
	ck_assert_int_eq(fabric_loopback.srq_set_limit(srq, 17), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(limit_above_what_is_posted_raises_the_event_at_once)
{
	post_srq(0, 8);
	ck_assert_int_eq(fabric_loopback.srq_set_limit(srq, 2), 0);
	ck_assert_uint_eq(rig_count_events(srq->vm, srq->handle, PVHCA_EVENT_SRQ_LIMIT_REACHED), 1);
}
END_TEST

START_TEST(error_flushes_what_was_taken_and_tells_the_last)
{
	post_srq(3, BIG);
	post_srq(4, BIG);
	post_send(a[0], BIG);
	ck_assert(rig_pump_once());
	ck_assert_int_eq(to_state(b[0], IBV_QPS_ERR), 0);
	rig_pump_timers(20);
	ck_assert_uint_eq(le16toh(rig_expect(b[0]->recv_cq, IBV_WC_WR_FLUSH_ERR).wqe_index), 3);
	rig_expect_none(b[0]->recv_cq);
	ck_assert_uint_eq(rig_count_events(b[0]->vm, b[0]->handle, PVHCA_EVENT_QP_LAST_WQE_REACHED),
			  1);
	rig_expect(a[0]->send_cq, IBV_WC_RETRY_EXC_ERR);
	/* What was not taken is the others'. */
	post_send(a[1], 8);
	rig_pump();
	ck_assert_uint_eq(le16toh(rig_expect(b[1]->recv_cq, IBV_WC_SUCCESS).wqe_index), 4);
}
END_TEST

START_TEST(message_too_long_ends_one_qp_and_not_the_queue)
{
	post_srq(3, 7);
	post_srq(4, 8);
	post_send(a[0], 8);
	rig_pump();
	rig_expect(a[0]->send_cq, IBV_WC_REM_INV_REQ_ERR);
	rig_expect(b[0]->recv_cq, IBV_WC_LOC_LEN_ERR);
	ck_assert(rig_had_event(b[0], PVHCA_EVENT_QP_LAST_WQE_REACHED));
	post_send(a[1], 8);
	rig_pump();
	rig_expect(b[1]->recv_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(abused_queue_fails_who_needs_it_and_tells_once)
{
	atomic_store(srq->rq.pi, 1000);
	post_send(a[0], 8);
	post_send(a[1], 8);
	rig_pump();
	rig_expect(a[0]->send_cq, IBV_WC_REM_OP_ERR);
	rig_expect(a[1]->send_cq, IBV_WC_REM_OP_ERR);
	ck_assert(rig_had_event(b[0], PVHCA_EVENT_QP_FATAL));
	ck_assert_uint_eq(rig_count_events(srq->vm, srq->handle, PVHCA_EVENT_SRQ_ERR), 1);
	ck_assert_int_eq(atomic_load(&b[1]->state), IBV_QPS_ERR);
}
END_TEST

START_TEST(malformed_entry_fails_its_taker)
{
	rig_post_srq(srq, 9, NULL, 0);
	memset((void *)work_queue_entry(&srq->rq, 0), 0xff, 64);
	post_send(a[0], 8);
	rig_pump();
	rig_expect(b[0]->recv_cq, IBV_WC_LOC_QP_OP_ERR);
	rig_expect(a[0]->send_cq, IBV_WC_REM_OP_ERR);
}
END_TEST

START_TEST(reset_forgets_what_was_taken)
{
	post_srq(3, BIG);
	post_send(a[0], BIG);
	ck_assert(rig_pump_once());
	ck_assert_int_eq(to_state(b[0], IBV_QPS_RESET), 0);
	rig_pump_timers(20);
	rig_expect_none(b[0]->recv_cq);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_srq");
	TCase *tcase = tcase_create("shared receive queue");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, entries_are_shared_and_tags_come_back);
	tcase_add_test(tcase, a_short_message_overtakes_a_long_one);
	tcase_add_test(tcase, empty_queue_is_rnr_and_a_post_wakes_all_who_wait);
	tcase_add_test(tcase, who_waits_is_forgotten_with_its_responder);
	tcase_add_test(tcase, limit_raises_one_event);
	tcase_add_test(tcase, limit_above_what_is_posted_raises_the_event_at_once);
	tcase_add_test(tcase, error_flushes_what_was_taken_and_tells_the_last);
	tcase_add_test(tcase, message_too_long_ends_one_qp_and_not_the_queue);
	tcase_add_test(tcase, abused_queue_fails_who_needs_it_and_tells_once);
	tcase_add_test(tcase, malformed_entry_fails_its_taker);
	tcase_add_test(tcase, reset_forgets_what_was_taken);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
