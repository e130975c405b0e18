// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many requests of one call on the loopback fabric: what is found once for several of them
 * must not be taken for others, order stays, and what is not plain is told as ever. Also the
 * copy by classes of size.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/copy.h"
#include "fabric/loopback/rig.h"

#define IOVA_A 0x7f0000001000ull
#define IOVA_B 0x7f1000002000ull
#define RUN    (4 * PVHCA_GRANULE)
#define ALL_ACCESS                                                                   \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC)
#define ENTRIES (1u << RIG_LOG_SQ)
#define SIZE	64u

static struct qp *a, *b;
static struct mr *mr_a, *mr_b;

static void setup(void)
{
	rig_setup();
	a = rig_qp(rig.a);
	b = rig_qp(rig.b);
	mr_a = rig_mr(rig.a, IOVA_A, 4, RUN, ALL_ACCESS);
	mr_b = rig_mr(rig.b, IOVA_B, 4, RUN, ALL_ACCESS);
	rig_connect(a, b);
}

static void teardown(void)
{
	rig_mr_free(mr_a);
	rig_mr_free(mr_b);
	rig_qp_free(a);
	rig_qp_free(b);
	rig_teardown();
}

/* SIZE bytes from at in mr_a, to at in target. */
static void post(uint8_t opcode, const struct mr *target, uint64_t at, uint8_t flags)
{
	struct pvhca_sge sge = rig_sge(mr_a, IOVA_A + at, SIZE);
	struct pvhca_sq_wqe wqe = {
		.opcode = opcode,
		.flags = flags,
		.num_sge = htole16(1),
		.rkey = htole32(target->rkey),
		.remote_addr = htole64(target->iova + at),
	};

	if (opcode == PVHCA_WQE_SEND)
		wqe.rkey = wqe.remote_addr = 0;
	rig_post_send(a, wqe, &sge, NULL);
}

static void write_to(const struct mr *target, uint64_t at)
{
	post(PVHCA_WQE_WRITE, target, at, PVHCA_WQE_F_SIGNALED);
}

static void post_recv(uint64_t at, uint32_t len)
{
	struct pvhca_sge sge = rig_sge(mr_b, IOVA_B + at, len);

	rig_post_recv(b, &sge, 1);
}

static void expect_places(struct cq *cq, unsigned int from, unsigned int to)
{
	for (; from < to; from++)
		ck_assert_uint_eq(le16toh(rig_expect(cq, IBV_WC_SUCCESS).wqe_index), from);
}

START_TEST(a_full_queue_completes_in_order)
{
	unsigned int i;

	rig_fill(mr_a, IOVA_A, ENTRIES * SIZE, 3);
	for (i = 0; i < ENTRIES; i++)
		write_to(mr_b, i * SIZE);
	rig_pump();
	expect_places(a->send_cq, 0, ENTRIES);
	rig_expect_none(a->send_cq);
	ck_assert(rig_is_filled(mr_b, IOVA_B, ENTRIES * SIZE, 3));
}
END_TEST

/* One request is in two runs of memory, which are not neighbours. */
START_TEST(runs_of_memory_are_not_taken_for_longer_than_they_are)
{
	rig_fill(mr_a, IOVA_A + RUN - 2 * SIZE, 4 * SIZE, 5);
	write_to(mr_b, RUN - 2 * SIZE);
	write_to(mr_b, RUN - SIZE);
	write_to(mr_b, RUN - SIZE / 2);
	write_to(mr_b, RUN + SIZE / 2);
	rig_pump();
	expect_places(a->send_cq, 0, 4);
	ck_assert(rig_is_filled(mr_b, IOVA_B + RUN - 2 * SIZE, 3 * SIZE + SIZE / 2, 5));
}
END_TEST

START_TEST(regions_in_turn_are_told_apart)
{
	struct mr *other = rig_mr(rig.b, IOVA_B, 1, RUN, ALL_ACCESS);
	unsigned int i;

	rig_fill(mr_a, IOVA_A, ENTRIES * SIZE, 7);
	for (i = 0; i < ENTRIES; i++)
		write_to(i % 2 ? other : mr_b, i * SIZE);
	rig_pump();
	expect_places(a->send_cq, 0, ENTRIES);
	for (i = 0; i < ENTRIES; i++)
		ck_assert(!memcmp(rig_byte(i % 2 ? other : mr_b, IOVA_B + i * SIZE),
				  rig_byte(mr_a, IOVA_A + i * SIZE), SIZE));
	rig_mr_free(other);
}
END_TEST

/* The second one is allowed to read where the first one was, and no more. */
START_TEST(a_right_of_one_operation_is_none_of_another)
{
	struct mr *readable =
		rig_mr(rig.b, IOVA_B, 1, RUN, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);

	post(PVHCA_WQE_READ, readable, 0, PVHCA_WQE_F_SIGNALED);
	write_to(readable, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	rig_mr_free(readable);
}
END_TEST

START_TEST(key_zero_is_no_region)
{
	struct mr none = *mr_b;

	none.rkey = 0;
	write_to(mr_b, 0);
	write_to(&none, 0);
	write_to(mr_b, 0);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	rig_expect(a->send_cq, IBV_WC_WR_FLUSH_ERR);
}
END_TEST

START_TEST(a_request_that_fails_amid_others_flushes_those_behind_it_alone)
{
	struct mr beyond = *mr_b;
	unsigned int i;

	beyond.iova += 4 * RUN;
	for (i = 0; i < 5; i++)
		write_to(mr_b, i * SIZE);
	write_to(&beyond, 0);
	for (i = 0; i < 5; i++)
		write_to(mr_b, i * SIZE);
	rig_pump();
	expect_places(a->send_cq, 0, 5);
	rig_expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	for (i = 0; i < 5; i++)
		rig_expect(a->send_cq, IBV_WC_WR_FLUSH_ERR);
	rig_expect_none(a->send_cq);
}
END_TEST

START_TEST(only_signalled_requests_complete)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		post(PVHCA_WQE_WRITE, mr_b, 0, i % 4 == 3 ? PVHCA_WQE_F_SIGNALED : 0);
	rig_pump();
	for (i = 3; i < ENTRIES; i += 4)
		expect_places(a->send_cq, i, i + 1);
	rig_expect_none(a->send_cq);
}
END_TEST

/* Sends and writes in turn; one receive is too short for its message. */
START_TEST(receives_are_taken_in_order_and_a_short_one_fails)
{
	unsigned int i;

	rig_fill(mr_a, IOVA_A, ENTRIES * SIZE, 9);
	for (i = 0; i < 4; i++)
		post_recv(i * SIZE, SIZE);
	post_recv(4 * SIZE, SIZE - 1);
	post_recv(5 * SIZE, SIZE);
	for (i = 0; i < 6; i++) {
		post(PVHCA_WQE_SEND, mr_b, i * SIZE, PVHCA_WQE_F_SIGNALED);
		write_to(mr_b, RUN + i * SIZE);
	}
	rig_pump();
	expect_places(b->recv_cq, 0, 4);
	rig_expect(b->recv_cq, IBV_WC_LOC_LEN_ERR);
	rig_expect(b->recv_cq, IBV_WC_WR_FLUSH_ERR);
	expect_places(a->send_cq, 0, 8);
	rig_expect(a->send_cq, IBV_WC_REM_INV_REQ_ERR);
	ck_assert(rig_is_filled(mr_b, IOVA_B, 4 * SIZE, 9));
}
END_TEST

/* The requester waits for the third receive, and goes on with what comes later. */
START_TEST(a_missing_receive_holds_up_what_is_behind_it)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		post_recv(i * SIZE, SIZE);
	for (i = 0; i < 4; i++)
		post(PVHCA_WQE_SEND, mr_b, 0, PVHCA_WQE_F_SIGNALED);
	rig_pump();
	expect_places(a->send_cq, 0, 2);
	rig_expect_none(a->send_cq);
	for (i = 2; i < 4; i++)
		post_recv(i * SIZE, SIZE);
	rig_pump_timers(8);
	expect_places(a->send_cq, 2, 4);
	expect_places(b->recv_cq, 0, 4);
}
END_TEST

/* A turn ends by bytes however short the messages are, and goes on in the next. */
START_TEST(a_group_moves_no_more_than_the_turn_may)
{
	struct loopback_qp *lqp = a->fabric;
	struct pass pass = { .now = rig.now };

	write_to(mr_b, 0);
	write_to(mr_b, SIZE);
	pass_begin_turn(&pass, PASS_TURN_NS, rig.now);
	pass.bytes = SIZE;
	loopback_qp_serve(&pass, lqp->qp);
	expect_places(a->send_cq, 0, 1);
	rig_expect_none(a->send_cq);
	rig_pump();
	expect_places(a->send_cq, 1, 2);
}
END_TEST

START_TEST(each_length_is_copied_as_a_whole_and_nothing_else)
{
	uint8_t from[200], to[200];
	unsigned int i;

	for (i = 0; i < sizeof(from); i++)
		from[i] = i + 1;
	memset(to, 0, sizeof(to));
	loopback_copy_run(to + 8, from, _i);
	for (i = 0; i < sizeof(to); i++)
		ck_assert_uint_eq(to[i], i >= 8 && i < 8u + _i ? i - 8 + 1 : 0);
}
END_TEST

START_TEST(sides_that_overlap_are_copied_as_if_apart)
{
	uint8_t bytes[200], expected[200];
	unsigned int i, shift;

	for (shift = 1; shift < 20; shift++) {
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = expected[i] = i * 7;
		memmove(expected + shift, expected, _i);
		loopback_copy_run(bytes + shift, bytes, _i);
		ck_assert(!memcmp(bytes, expected, sizeof(bytes)));
		memmove(expected, expected + shift, _i);
		loopback_copy_run(bytes, bytes + shift, _i);
		ck_assert(!memcmp(bytes, expected, sizeof(bytes)));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_burst");
	TCase *bursts = tcase_create("bursts"), *copy = tcase_create("copy");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(bursts, setup, teardown);
	tcase_add_test(bursts, a_full_queue_completes_in_order);
	tcase_add_test(bursts, runs_of_memory_are_not_taken_for_longer_than_they_are);
	tcase_add_test(bursts, regions_in_turn_are_told_apart);
	tcase_add_test(bursts, a_right_of_one_operation_is_none_of_another);
	tcase_add_test(bursts, key_zero_is_no_region);
	tcase_add_test(bursts, a_request_that_fails_amid_others_flushes_those_behind_it_alone);
	tcase_add_test(bursts, only_signalled_requests_complete);
	tcase_add_test(bursts, receives_are_taken_in_order_and_a_short_one_fails);
	tcase_add_test(bursts, a_missing_receive_holds_up_what_is_behind_it);
	tcase_add_test(bursts, a_group_moves_no_more_than_the_turn_may);
	suite_add_tcase(suite, bursts);

	tcase_add_loop_test(copy, each_length_is_copied_as_a_whole_and_nothing_else, 0, 130);
	tcase_add_loop_test(copy, sides_that_overlap_are_copied_as_if_apart, 0, 130);
	suite_add_tcase(suite, copy);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
