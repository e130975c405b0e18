// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * RC on the loopback fabric: what each operation does, how each error shows on
 * both sides.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/rig.h"

#define MS     1000000ull
#define IOVA_A 0x7f0000001000ull
#define IOVA_B 0x7f1000002000ull
#define RUN    (4 * PVHCA_GRANULE)
#define ALL_ACCESS                                                                   \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC)
#define SIGNALED PVHCA_WQE_F_SIGNALED

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

static struct pvhca_sq_wqe wqe_of(uint8_t opcode, unsigned int num_sge)
{
	struct pvhca_sq_wqe wqe = {
		.opcode = opcode,
		.flags = SIGNALED,
		.num_sge = htole16(num_sge),
	};

	if (opcode != PVHCA_WQE_SEND && opcode != PVHCA_WQE_SEND_IMM) {
		wqe.rkey = htole32(mr_b->rkey);
		wqe.remote_addr = htole64(IOVA_B);
	}
	if (opcode == PVHCA_WQE_SEND_IMM || opcode == PVHCA_WQE_WRITE_IMM)
		wqe.imm_data = htobe32(0xfeedbeef);
	return wqe;
}

/* One request of len bytes at the start of mr_a. */
static void post(uint8_t opcode, uint32_t len)
{
	struct pvhca_sge sge = rig_sge(mr_a, IOVA_A, len);

	rig_post_send(a, wqe_of(opcode, 1), &sge, NULL);
}

static void post_recv(uint32_t len)
{
	struct pvhca_sge sge = rig_sge(mr_b, IOVA_B, len);

	rig_post_recv(b, &sge, 1);
}

static struct pvhca_cqe expect(struct cq *cq, enum ibv_wc_status status)
{
	struct pvhca_cqe cqe;

	ck_assert_msg(rig_poll(cq, &cqe), "no completion, expected status %d", status);
	ck_assert_int_eq(cqe.status, status);
	return cqe;
}

static void expect_none(struct cq *cq)
{
	struct pvhca_cqe cqe;

	ck_assert(!rig_poll(cq, &cqe));
}

static void expect_states(enum ibv_qp_state of_a, enum ibv_qp_state of_b)
{
	ck_assert_int_eq(atomic_load(&a->state), of_a);
	ck_assert_int_eq(atomic_load(&b->state), of_b);
}

/* ------------------------------- operations -------------------------------- */

START_TEST(send_fills_the_receive_and_completes_both_sides)
{
	struct pvhca_cqe cqe;

	rig_fill(mr_a, IOVA_A, 100, 1);
	post_recv(200);
	post(PVHCA_WQE_SEND, 100);
	rig_pump();

	cqe = expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_SEND);
	ck_assert_uint_eq(le32toh(cqe.qpn), a->qpn);
	ck_assert_uint_eq(le16toh(cqe.wqe_index), 0);
	cqe = expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_RECV);
	ck_assert_int_eq(cqe.flags, 0);
	ck_assert_uint_eq(le32toh(cqe.qpn), b->qpn);
	ck_assert_uint_eq(le32toh(cqe.byte_len), 100);
	ck_assert(rig_is_filled(mr_b, IOVA_B, 100, 1));
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B + 100), 0);
	ck_assert_uint_eq(rig.a->vm.counters.messages, 1);
	ck_assert_uint_eq(rig.a->vm.counters.payload_bytes_copied, 100);
	ck_assert_uint_eq(rig.a->vm.counters.payload_bytes_sent, 100);
	ck_assert_uint_eq(rig.b->vm.counters.receives, 1);
	ck_assert_uint_eq(rig.b->vm.counters.messages, 0);
	/* This fabric once left them out. */
	ck_assert_uint_eq(rig.a->vm.counters.completions, 1);
	ck_assert_uint_eq(rig.b->vm.counters.completions, 1);
}
END_TEST

START_TEST(immediate_data_arrive_as_posted)
{
	struct pvhca_cqe cqe;

	post_recv(8);
	post_recv(0);
	post(PVHCA_WQE_SEND_IMM, 8);
	post(PVHCA_WQE_WRITE_IMM, 3000);
	rig_pump();

	cqe = expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_RECV);
	ck_assert_int_eq(cqe.flags, PVHCA_CQE_F_IMM);
	ck_assert_uint_eq(be32toh(cqe.imm_data), 0xfeedbeef);
	cqe = expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_RECV_WRITE_IMM);
	ck_assert_int_eq(cqe.flags, PVHCA_CQE_F_IMM);
	ck_assert_uint_eq(be32toh(cqe.imm_data), 0xfeedbeef);
	ck_assert_uint_eq(le32toh(cqe.byte_len), 3000);
	expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_WRITE);
}
END_TEST

START_TEST(write_places_data_and_tells_only_the_requester)
{
	rig_fill(mr_a, IOVA_A, 3 * RUN, 2);
	post(PVHCA_WQE_WRITE, 3 * RUN);
	rig_pump();

	ck_assert_int_eq(expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_WRITE);
	expect_none(b->recv_cq);
	ck_assert(rig_is_filled(mr_b, IOVA_B, 3 * RUN, 2));
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B + 3 * RUN), 0);
}
END_TEST

START_TEST(read_fetches_data)
{
	struct pvhca_cqe cqe;

	rig_fill(mr_b, IOVA_B, 2 * RUN, 3);
	post(PVHCA_WQE_READ, 2 * RUN);
	rig_pump();

	cqe = expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_READ);
	ck_assert_uint_eq(le32toh(cqe.byte_len), 2 * RUN);
	ck_assert(rig_is_filled(mr_a, IOVA_A, 2 * RUN, 3));
}
END_TEST

START_TEST(sge_lists_of_different_shape_meet)
{
	struct pvhca_sge from[3] = {
		rig_sge(mr_a, IOVA_A + 5, 1000),
		rig_sge(mr_a, IOVA_A, 0),
		rig_sge(mr_a, IOVA_A + 1005, 2 * RUN),
	};
	struct pvhca_sge to[4] = {
		rig_sge(mr_b, IOVA_B + 1, 3),
		rig_sge(mr_b, IOVA_B + 4, RUN),
		rig_sge(mr_b, IOVA_B + 4 + RUN, 7),
		rig_sge(mr_b, IOVA_B + 11 + RUN, 2 * RUN),
	};

	rig_fill(mr_a, IOVA_A + 5, 1000 + 2 * RUN, 4);
	rig_post_recv(b, to, 4);
	rig_post_send(a, wqe_of(PVHCA_WQE_SEND, 3), from, NULL);
	rig_pump();

	expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le32toh(expect(b->recv_cq, IBV_WC_SUCCESS).byte_len), 1000 + 2 * RUN);
	ck_assert(rig_is_filled(mr_b, IOVA_B + 1, 1000 + 2 * RUN, 4));
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B), 0);
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B + 1 + 1000 + 2 * RUN), 0);
}
END_TEST

START_TEST(every_small_length_is_copied_exactly)
{
	uint32_t len = _i;

	rig_fill(mr_a, IOVA_A, len, 5);
	post(PVHCA_WQE_WRITE, len);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert(rig_is_filled(mr_b, IOVA_B, len, 5));
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B + len), 0);
}
END_TEST

START_TEST(inline_data_come_from_the_entry)
{
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_WRITE, 0);
	uint8_t data[333];

	memset(data, 0x5a, sizeof(data));
	wqe.flags |= PVHCA_WQE_F_INLINE;
	wqe.inline_len = htole32(sizeof(data));
	rig_post_send(a, wqe, NULL, data);
	rig_pump();

	expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_mem_eq(rig_byte(mr_b, IOVA_B), data, sizeof(data));
	ck_assert_uint_eq(rig.a->vm.counters.inline_bytes, sizeof(data));
}
END_TEST

START_TEST(zero_length_needs_no_key)
{
	static const uint8_t opcodes[] = { PVHCA_WQE_WRITE, PVHCA_WQE_READ, PVHCA_WQE_SEND,
					   PVHCA_WQE_WRITE_IMM };
	struct pvhca_sq_wqe wqe;
	unsigned int i;

	rig_post_recv(b, NULL, 0);
	rig_post_recv(b, NULL, 0);
	for (i = 0; i < 4; i++) {
		wqe = wqe_of(opcodes[i], 0);
		wqe.rkey = 0;
		wqe.remote_addr = 0;
		rig_post_send(a, wqe, NULL, NULL);
	}
	rig_pump();
	for (i = 0; i < 4; i++)
		expect(a->send_cq, IBV_WC_SUCCESS);
	expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le32toh(expect(b->recv_cq, IBV_WC_SUCCESS).byte_len), 0);
}
END_TEST

START_TEST(atomics_change_memory_and_give_the_old_value)
{
	struct pvhca_sge result = rig_sge(mr_a, IOVA_A + 16, 8);
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_ATOMIC_FETCH_ADD, 1);
	uint64_t *target = (uint64_t *)rig_byte(mr_b, IOVA_B);
	uint64_t *old = (uint64_t *)rig_byte(mr_a, IOVA_A + 16);

	*target = 40;
	rig_post_atomic(a, wqe, (struct pvhca_atomic_seg){ htole64(2), 0 }, result);
	rig_pump();
	ck_assert_int_eq(expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_FETCH_ADD);
	ck_assert_uint_eq(*target, 42);
	ck_assert_uint_eq(*old, 40);

	wqe.opcode = PVHCA_WQE_ATOMIC_CMP_SWP;
	rig_post_atomic(a, wqe, (struct pvhca_atomic_seg){ htole64(42), htole64(7) }, result);
	rig_post_atomic(a, wqe, (struct pvhca_atomic_seg){ htole64(42), htole64(8) }, result);
	rig_pump();
	ck_assert_int_eq(expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_COMP_SWAP);
	expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(*target, 7);
	ck_assert_uint_eq(*old, 7);
}
END_TEST

START_TEST(unsignalled_success_is_silent_and_its_error_is_not)
{
	struct pvhca_sge sge = rig_sge(mr_a, IOVA_A, 8);
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_WRITE, 1);
	struct pvhca_cqe cqe;

	wqe.flags = 0;
	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	expect_none(a->send_cq);
	wqe.rkey = 0;
	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	cqe = expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	ck_assert_uint_eq(le16toh(cqe.wqe_index), 1);
}
END_TEST

START_TEST(sig_all_signals_everything)
{
	struct pvhca_sge sge = rig_sge(mr_a, IOVA_A, 8);
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_WRITE, 1);

	a->flags = PVHCA_CREATE_QP_SIG_ALL;
	wqe.flags = 0;
	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(solicited_send_raises_the_event_asked_for)
{
	struct pvhca_sge sge = rig_sge(mr_a, IOVA_A, 8);
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_SEND, 1);

	b->recv_cq->header->arm_solicited = htole32(1);
	post_recv(8);
	post_recv(8);
	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	ck_assert_uint_eq(rig.completion_events, 0);
	wqe.flags |= PVHCA_WQE_F_SOLICITED;
	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	ck_assert_uint_eq(rig.completion_events, 1);
}
END_TEST

START_TEST(qp_can_be_connected_to_itself)
{
	struct qp *self = rig_qp(rig.a);
	struct pvhca_sge to = rig_sge(mr_a, IOVA_A + 100, 50);
	struct pvhca_sge from = rig_sge(mr_a, IOVA_A, 50);

	rig_connect(self, self);
	rig_fill(mr_a, IOVA_A, 50, 6);
	rig_post_recv(self, &to, 1);
	rig_post_send(self, wqe_of(PVHCA_WQE_SEND, 1), &from, NULL);
	rig_pump();
	expect(self->send_cq, IBV_WC_SUCCESS);
	expect(self->recv_cq, IBV_WC_SUCCESS);
	ck_assert(rig_is_filled(mr_a, IOVA_A + 100, 50, 6));

	/* Its own error stops it on both sides, once. */
	from.lkey = 0;
	rig_post_recv(self, &to, 1);
	rig_post_send(self, wqe_of(PVHCA_WQE_SEND, 1), &from, NULL);
	rig_pump();
	expect(self->send_cq, IBV_WC_LOC_PROT_ERR);
	expect(self->recv_cq, IBV_WC_WR_FLUSH_ERR);
	rig_qp_free(self);
}
END_TEST

START_TEST(overlapping_source_and_target_are_moved_as_if_apart)
{
	struct qp *self = rig_qp(rig.a);
	struct pvhca_sge from = rig_sge(mr_a, IOVA_A, 5000);
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_WRITE, 1);

	rig_connect(self, self);
	rig_fill(mr_a, IOVA_A, 5000, 7);
	wqe.rkey = htole32(mr_a->rkey);
	wqe.remote_addr = htole64(IOVA_A + 3);
	rig_post_send(self, wqe, &from, NULL);
	rig_pump();
	expect(self->send_cq, IBV_WC_SUCCESS);
	ck_assert(rig_is_filled(mr_a, IOVA_A + 3, 5000, 7));
	rig_qp_free(self);
}
END_TEST

/* ------------------------------ long messages ------------------------------ */

#define BIG_RUN (1u << 20)
#define BIG_LEN (3u * BIG_RUN + 12345)

static struct mr *big_a, *big_b;

static void setup_big(void)
{
	setup();
	big_a = rig_mr(rig.a, 0x10000000, 5, BIG_RUN, ALL_ACCESS);
	big_b = rig_mr(rig.b, 0x20000000, 5, BIG_RUN, ALL_ACCESS);
}

static void teardown_big(void)
{
	rig_mr_free(big_a);
	if (big_b)
		rig_mr_free(big_b);
	teardown();
}

static void post_big(uint8_t opcode)
{
	struct pvhca_sge sge = rig_sge(big_a, 0x10000000, BIG_LEN);
	struct pvhca_sq_wqe wqe = wqe_of(opcode, 1);

	if (opcode != PVHCA_WQE_SEND) {
		wqe.rkey = htole32(big_b->rkey);
		wqe.remote_addr = htole64(0x20000000 + 77);
	}
	rig_post_send(a, wqe, &sge, NULL);
}

START_TEST(long_messages_move_in_pieces_with_one_completion)
{
	static const uint8_t opcodes[] = { PVHCA_WQE_SEND, PVHCA_WQE_WRITE, PVHCA_WQE_READ };
	struct pvhca_sge to = rig_sge(big_b, 0x20000000 + 77, BIG_LEN);
	struct mr *target = opcodes[_i] == PVHCA_WQE_READ ? big_a : big_b;
	uint64_t at = target == big_a ? 0x10000000 : 0x20000000 + 77;

	if (target == big_b)
		rig_fill(big_a, 0x10000000, BIG_LEN, 8);
	else
		rig_fill(big_b, 0x20000000 + 77, BIG_LEN, 8);
	rig_post_recv(b, &to, 1);
	post_big(opcodes[_i]);
	ck_assert(rig_pump_once());
	expect_none(a->send_cq);
	expect_none(b->recv_cq);
	rig_pump();

	expect(a->send_cq, IBV_WC_SUCCESS);
	expect_none(a->send_cq);
	if (opcodes[_i] == PVHCA_WQE_SEND)
		ck_assert_uint_eq(le32toh(expect(b->recv_cq, IBV_WC_SUCCESS).byte_len), BIG_LEN);
	ck_assert(rig_is_filled(target, at, BIG_LEN, 8));
	ck_assert_uint_eq(rig.a->vm.counters.payload_bytes_copied, BIG_LEN);
	ck_assert_uint_eq(rig.a->vm.counters.messages, 1);
}
END_TEST

START_TEST(region_that_goes_while_a_message_is_under_way_ends_it)
{
	post_big(PVHCA_WQE_WRITE);
	ck_assert(rig_pump_once());
	rig_mr_free(big_b);
	big_b = NULL;
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_ACCESS_ERR));
}
END_TEST

START_TEST(receive_under_way_is_flushed_before_later_ones)
{
	struct pvhca_sge to = rig_sge(big_b, 0x20000000, BIG_LEN);
	struct qp_attr attr = { .qp_state = IBV_QPS_ERR };

	rig_post_recv(b, &to, 1);
	post_recv(8);
	post_big(PVHCA_WQE_SEND);
	ck_assert(rig_pump_once());
	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	rig_pump_timers(20);
	ck_assert_uint_eq(le16toh(expect(b->recv_cq, IBV_WC_WR_FLUSH_ERR).wqe_index), 0);
	ck_assert_uint_eq(le16toh(expect(b->recv_cq, IBV_WC_WR_FLUSH_ERR).wqe_index), 1);
	expect_none(b->recv_cq);
	expect(a->send_cq, IBV_WC_RETRY_EXC_ERR);
}
END_TEST

START_TEST(receive_entry_changed_under_way_has_no_effect)
{
	struct pvhca_sge to = rig_sge(big_b, 0x20000000, BIG_LEN);

	rig_fill(big_a, 0x10000000, BIG_LEN, 9);
	rig_post_recv(b, &to, 1);
	post_big(PVHCA_WQE_SEND);
	ck_assert(rig_pump_once());
	memset((void *)work_queue_entry(&b->rq, 0), 0xff, 64);
	memset((void *)work_queue_entry(&a->sq, 0), 0xff, 64);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le16toh(expect(b->recv_cq, IBV_WC_SUCCESS).wqe_index), 0);
	ck_assert(rig_is_filled(big_b, 0x20000000, BIG_LEN, 9));
}
END_TEST

START_TEST(message_beyond_the_port_limit_is_a_length_error)
{
	struct pvhca_sge sge[2] = { rig_sge(mr_a, IOVA_A, 0x80000000), rig_sge(mr_a, IOVA_A, 1) };

	rig_post_send(a, wqe_of(PVHCA_WQE_SEND, 2), sge, NULL);
	rig_pump();
	expect(a->send_cq, IBV_WC_LOC_LEN_ERR);
	expect_states(IBV_QPS_ERR, IBV_QPS_RTS);
}
END_TEST

/* ------------------------------- local errors ------------------------------ */

/* Each is an SGE that mr_a does not cover or allow. */
START_TEST(bad_local_sge_is_a_local_protection_error)
{
	const struct pvhca_sge sges[] = {
		{ htole64(IOVA_A), htole32(8), htole32(mr_a->lkey + 1) },
		{ htole64(IOVA_A), htole32(8), 0 },
		{ htole64(IOVA_A), htole32(8), htole32(0xffffffff) },
		{ htole64(IOVA_A - 1), htole32(8), htole32(mr_a->lkey) },
		{ htole64(IOVA_A + 4 * RUN - 7), htole32(8), htole32(mr_a->lkey) },
		{ htole64(UINT64_MAX), htole32(8), htole32(mr_a->lkey) },
		{ htole64(IOVA_B), htole32(8), htole32(mr_b->lkey) },
	};

	post_recv(64);
	rig_post_send(a, wqe_of(PVHCA_WQE_SEND, 1), &sges[_i], NULL);
	rig_pump();
	expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
	expect_none(b->recv_cq);
	expect_states(IBV_QPS_ERR, IBV_QPS_RTS);
}
END_TEST

START_TEST(read_into_memory_without_local_write_is_refused)
{
	mr_a->access = IBV_ACCESS_REMOTE_READ;
	post(PVHCA_WQE_READ, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
}
END_TEST

START_TEST(unknown_entry_is_an_operation_error)
{
	static const struct pvhca_sq_wqe wqes[] = {
		{ .opcode = PVHCA_WQE_REG_MR },
		{ .opcode = PVHCA_WQE_BIND_MW, .flags = PVHCA_WQE_F_INLINE },
		{ .opcode = PVHCA_WQE_SEND, .flags = PVHCA_WQE_F_AV },
		{ .opcode = 77 },
		{ .opcode = PVHCA_WQE_SEND, .flags = 0xf0 },
		{ .opcode = PVHCA_WQE_SEND, .reserved = 1 },
		{ .opcode = PVHCA_WQE_SEND, .num_sge = RIG_SGES + 1 },
		{ .opcode = PVHCA_WQE_READ, .flags = PVHCA_WQE_F_INLINE, .inline_len = 8 },
	};

	rig_post_send(a, wqes[_i], NULL, NULL);
	rig_pump();
	expect(a->send_cq, IBV_WC_LOC_QP_OP_ERR);
	expect_states(IBV_QPS_ERR, IBV_QPS_RTS);
}
END_TEST

START_TEST(atomic_of_another_length_is_a_length_error)
{
	rig_post_atomic(a, wqe_of(PVHCA_WQE_ATOMIC_FETCH_ADD, 1), (struct pvhca_atomic_seg){ 0 },
			rig_sge(mr_a, IOVA_A, 4));
	rig_pump();
	expect(a->send_cq, IBV_WC_LOC_LEN_ERR);
}
END_TEST

START_TEST(later_requests_are_flushed_in_order_and_new_ones_too)
{
	unsigned int i;

	post_recv(8);
	post(PVHCA_WQE_WRITE, 8);
	post(PVHCA_WQE_READ, 5 * RUN);
	post(PVHCA_WQE_SEND, 8);
	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	post(PVHCA_WQE_WRITE, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
	expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
	for (i = 2; i < 5; i++)
		ck_assert_uint_eq(le16toh(expect(a->send_cq, IBV_WC_WR_FLUSH_ERR).wqe_index), i);
	expect_none(a->send_cq);
	expect_none(b->recv_cq);
	ck_assert_uint_eq(rig.a->vm.counters.errors, 4);
}
END_TEST

/* ------------------------------ remote errors ------------------------------ */

START_TEST(bad_remote_range_is_a_remote_access_error)
{
	struct pvhca_sge sge = rig_sge(mr_a, IOVA_A, 8);
	struct pvhca_sq_wqe wqe = wqe_of(_i & 1 ? PVHCA_WQE_READ : PVHCA_WQE_WRITE, 1);
	const struct {
		uint64_t addr;
		uint32_t rkey;
	} remote[] = {
		{ IOVA_B, mr_b->rkey ^ 1 },	{ IOVA_B, 0 },
		{ IOVA_B - 1, mr_b->rkey },	{ IOVA_B + 4 * RUN - 7, mr_b->rkey },
		{ UINT64_MAX - 3, mr_b->rkey }, { IOVA_A, mr_a->rkey },
	};

	wqe.rkey = htole32(remote[_i / 2].rkey);
	wqe.remote_addr = htole64(remote[_i / 2].addr);
	rig_post_recv(b, NULL, 0);
	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	expect(b->recv_cq, IBV_WC_WR_FLUSH_ERR);
	expect_states(IBV_QPS_ERR, IBV_QPS_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_ACCESS_ERR));
	ck_assert_uint_eq(rig.num_events, 1);
}
END_TEST

START_TEST(region_without_the_remote_right_is_a_remote_access_error)
{
	static const uint8_t opcodes[] = { PVHCA_WQE_WRITE, PVHCA_WQE_READ,
					   PVHCA_WQE_ATOMIC_FETCH_ADD };
	static const uint32_t rights[] = { IBV_ACCESS_REMOTE_WRITE, IBV_ACCESS_REMOTE_READ,
					   IBV_ACCESS_REMOTE_ATOMIC };

	mr_b->access &= ~rights[_i];
	if (opcodes[_i] == PVHCA_WQE_ATOMIC_FETCH_ADD)
		rig_post_atomic(a, wqe_of(opcodes[_i], 1), (struct pvhca_atomic_seg){ 0 },
				rig_sge(mr_a, IOVA_A, 8));
	else
		post(opcodes[_i], 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_ACCESS_ERR));
}
END_TEST

START_TEST(region_of_another_pd_is_a_remote_access_error)
{
	struct pd other = rig.b->pd;

	mr_b->pd = &other;
	post(PVHCA_WQE_WRITE, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_ACCESS_ERR);
	mr_b->pd = &rig.b->pd;
}
END_TEST

START_TEST(qp_without_the_remote_right_refuses_the_request)
{
	static const uint8_t opcodes[] = { PVHCA_WQE_WRITE, PVHCA_WQE_READ };
	struct qp_attr attr = { 0 };

	ck_assert_int_eq(rig_modify(b, IBV_QP_ACCESS_FLAGS, attr), 0);
	post(opcodes[_i], 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_INV_REQ_ERR);
	expect_states(IBV_QPS_ERR, IBV_QPS_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_REQ_ERR));
}
END_TEST

START_TEST(unaligned_atomic_is_an_invalid_request)
{
	struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_ATOMIC_CMP_SWP, 1);

	wqe.remote_addr = htole64(IOVA_B + 4);
	rig_post_atomic(a, wqe, (struct pvhca_atomic_seg){ 0 }, rig_sge(mr_a, IOVA_A, 8));
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_INV_REQ_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_REQ_ERR));
}
END_TEST

START_TEST(atomic_on_memory_unaligned_behind_an_aligned_address_is_refused)
{
	mr_b->offset += 3;
	rig_post_atomic(a, wqe_of(PVHCA_WQE_ATOMIC_FETCH_ADD, 1),
			(struct pvhca_atomic_seg){ htole64(1), 0 }, rig_sge(mr_a, IOVA_A, 8));
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_INV_REQ_ERR);
	mr_b->offset -= 3;
}
END_TEST

START_TEST(message_longer_than_the_receive_fails_both_sides)
{
	post_recv(99);
	post_recv(200);
	post(PVHCA_WQE_SEND, 100);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_INV_REQ_ERR);
	ck_assert_int_eq(expect(b->recv_cq, IBV_WC_LOC_LEN_ERR).opcode, PVHCA_CQE_RECV);
	expect(b->recv_cq, IBV_WC_WR_FLUSH_ERR);
	expect_states(IBV_QPS_ERR, IBV_QPS_ERR);
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B), 0);
}
END_TEST

START_TEST(receive_into_foreign_memory_fails_both_sides)
{
	struct pvhca_sge to = rig_sge(mr_b, IOVA_B, 8);

	to.lkey = htole32(mr_a->lkey);
	to.addr = htole64(IOVA_A + 64);
	rig_fill(mr_a, IOVA_A, 8, 1);
	rig_post_recv(b, &to, 1);
	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_OP_ERR);
	expect(b->recv_cq, IBV_WC_LOC_PROT_ERR);
	ck_assert_uint_eq(*rig_byte(mr_a, IOVA_A + 64), 0);
}
END_TEST

START_TEST(receive_without_local_write_fails_both_sides)
{
	mr_b->access = 0;
	post_recv(8);
	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_OP_ERR);
	expect(b->recv_cq, IBV_WC_LOC_PROT_ERR);
}
END_TEST

/* --------------------------- receiver not ready ---------------------------- */

static void set_rnr_retry(uint8_t rnr_retry)
{
	((struct loopback_qp *)a->fabric)->attr.rnr_retry = rnr_retry;
}

START_TEST(send_waits_for_a_receive_and_is_woken_by_it)
{
	uint64_t began = rig.now;

	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	ck_assert(rig_is_waiting());
	expect_none(a->send_cq);
	rig_pump();
	expect_none(a->send_cq);
	post_recv(8);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
	expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(rig.now, began);
	ck_assert_uint_eq(rig.a->vm.counters.messages, 1);
}
END_TEST

START_TEST(receiver_that_stays_not_ready_fails_the_requester_alone)
{
	uint64_t began = rig.now;

	set_rnr_retry(3);
	post(_i ? PVHCA_WQE_WRITE_IMM : PVHCA_WQE_SEND, 8);
	rig_pump_timers(3);
	expect(a->send_cq, IBV_WC_RNR_RETRY_EXC_ERR);
	/* min_rnr_timer 12: 0.64 ms */
	ck_assert_uint_eq(rig.now - began, 3 * 640000);
	expect_states(IBV_QPS_ERR, IBV_QPS_RTS);
}
END_TEST

START_TEST(rnr_retry_0_does_not_wait)
{
	set_rnr_retry(0);
	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_RNR_RETRY_EXC_ERR);
}
END_TEST

START_TEST(rnr_retry_7_waits_for_ever)
{
	post(PVHCA_WQE_SEND, 8);
	rig_pump_timers(1000);
	expect_none(a->send_cq);
	ck_assert(rig_is_waiting());
	post_recv(8);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(requests_behind_one_that_waits_keep_their_order)
{
	post(PVHCA_WQE_SEND, 8);
	post(PVHCA_WQE_WRITE, 16);
	rig_pump();
	expect_none(a->send_cq);
	post_recv(8);
	rig_pump();
	ck_assert_int_eq(expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_SEND);
	ck_assert_int_eq(expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_WRITE);
}
END_TEST

START_TEST(rnr_timer_codes_are_those_of_the_specification)
{
	ck_assert_uint_eq(loopback_rnr_ns(0), 655360000);
	ck_assert_uint_eq(loopback_rnr_ns(1), 10000);
	ck_assert_uint_eq(loopback_rnr_ns(2), 20000);
	ck_assert_uint_eq(loopback_rnr_ns(3), 30000);
	ck_assert_uint_eq(loopback_rnr_ns(4), 40000);
	ck_assert_uint_eq(loopback_rnr_ns(5), 60000);
	ck_assert_uint_eq(loopback_rnr_ns(12), 640000);
	ck_assert_uint_eq(loopback_rnr_ns(13), 960000);
	ck_assert_uint_eq(loopback_rnr_ns(14), 1280000);
	ck_assert_uint_eq(loopback_rnr_ns(30), 327680000);
	ck_assert_uint_eq(loopback_rnr_ns(31), 491520000);
}
END_TEST

/* --------------------------------- no answer ------------------------------- */

START_TEST(responder_that_is_gone_exceeds_the_retries)
{
	uint64_t began = rig.now;
	struct qp *gone = b;

	post(PVHCA_WQE_WRITE, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
	b = rig_qp(rig.b);
	rig_qp_free(gone);
	post(PVHCA_WQE_WRITE, 8);
	post(PVHCA_WQE_WRITE, 8);
	rig_pump_timers(7);
	expect_none(a->send_cq);
	rig_pump_timers(1);
	expect(a->send_cq, IBV_WC_RETRY_EXC_ERR);
	expect(a->send_cq, IBV_WC_WR_FLUSH_ERR);
	/* timeout 14: 67 ms, first try and 7 retries */
	ck_assert_uint_eq(rig.now - began, 8 * (4096ull << 14));
}
END_TEST

START_TEST(responder_in_reset_gets_nothing)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };

	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	rig_fill(mr_a, IOVA_A, 8, 1);
	post(PVHCA_WQE_WRITE, 8);
	rig_pump_timers(8);
	expect(a->send_cq, IBV_WC_RETRY_EXC_ERR);
	ck_assert(!rig_is_filled(mr_b, IOVA_B, 8, 1));
}
END_TEST

START_TEST(responder_connected_to_another_gets_nothing)
{
	struct qp *c = rig_qp(rig.a);

	/* c names b, but b names a. */
	ck_assert_int_eq(rig_to_init(c), 0);
	ck_assert_int_eq(rig_to_rtr(c, b), 0);
	ck_assert_int_eq(rig_to_rts(c, b), 0);
	rig_post_send(c, wqe_of(PVHCA_WQE_WRITE, 0), NULL, NULL);
	rig_pump_timers(8);
	expect(c->send_cq, IBV_WC_RETRY_EXC_ERR);
	expect_states(IBV_QPS_RTS, IBV_QPS_RTS);
	rig_qp_free(c);
}
END_TEST

START_TEST(wrong_gid_reaches_nobody)
{
	struct qp *c = rig_qp(rig.a), *d = rig_qp(rig.b);
	struct qp_attr attr;

	ck_assert_int_eq(rig_to_init(c), 0);
	ck_assert_int_eq(rig_to_init(d), 0);
	ck_assert_int_eq(rig_to_rtr(d, c), 0);
	attr = rig_attr(c, d);
	attr.av.dgid[15] = 99;
	attr.qp_state = IBV_QPS_RTR;
	ck_assert_int_eq(rig_modify(c,
				    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
					    IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
					    IBV_QP_MIN_RNR_TIMER,
				    attr),
			 0);
	ck_assert_int_eq(rig_to_rts(c, d), 0);
	rig_post_send(c, wqe_of(PVHCA_WQE_WRITE, 0), NULL, NULL);
	rig_pump_timers(8);
	expect(c->send_cq, IBV_WC_RETRY_EXC_ERR);
	rig_qp_free(c);
	rig_qp_free(d);
}
END_TEST

START_TEST(responder_that_comes_late_is_reached_at_once)
{
	struct qp *c = rig_qp(rig.a), *d = rig_qp(rig.b);
	uint64_t began = rig.now;

	ck_assert_int_eq(rig_to_init(c), 0);
	ck_assert_int_eq(rig_to_rtr(c, d), 0);
	ck_assert_int_eq(rig_to_rts(c, d), 0);
	ck_assert_int_eq(rig_to_init(d), 0);
	rig_post_send(c, wqe_of(PVHCA_WQE_WRITE, 0), NULL, NULL);
	rig_pump();
	expect_none(c->send_cq);
	ck_assert_int_eq(rig_to_rtr(d, c), 0);
	rig_pump();
	expect(c->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(rig.now, began);
	rig_qp_free(c);
	rig_qp_free(d);
}
END_TEST

START_TEST(first_message_in_rtr_establishes_communication_once)
{
	struct qp *c = rig_qp(rig.a), *d = rig_qp(rig.b);

	ck_assert_int_eq(rig_to_init(c), 0);
	ck_assert_int_eq(rig_to_init(d), 0);
	ck_assert_int_eq(rig_to_rtr(c, d), 0);
	ck_assert_int_eq(rig_to_rtr(d, c), 0);
	ck_assert_int_eq(rig_to_rts(c, d), 0);
	rig_post_send(c, wqe_of(PVHCA_WQE_WRITE, 0), NULL, NULL);
	rig_post_send(c, wqe_of(PVHCA_WQE_WRITE, 0), NULL, NULL);
	rig_pump();
	ck_assert(rig_had_event(d, PVHCA_EVENT_COMM_EST));
	ck_assert_uint_eq(rig.num_events, 1);
	rig_qp_free(c);
	rig_qp_free(d);
}
END_TEST

START_TEST(timeout_0_never_gives_up)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };

	((struct loopback_qp *)a->fabric)->timeout_ns = 0;
	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	post(PVHCA_WQE_WRITE, 8);
	rig_pump_timers(100);
	expect_none(a->send_cq);
	ck_assert(rig_is_waiting());
}
END_TEST

START_TEST(address_taken_away_cuts_connections)
{
	rig_gid_del(rig.b, 0, rig.b->vm.gids[0].gid);
	rig.b->vm.gids[0].used = false;
	post(PVHCA_WQE_WRITE, 8);
	rig_pump_timers(8);
	expect(a->send_cq, IBV_WC_RETRY_EXC_ERR);
}
END_TEST

/* ------------------------------ hostile guests ----------------------------- */

START_TEST(send_producer_index_beyond_the_queue_stops_the_qp)
{
	atomic_store(a->sq.pi, 17);
	context_again(a->context, a->slot);
	rig_pump();
	expect_states(IBV_QPS_ERR, IBV_QPS_RTS);
	ck_assert(rig_had_event(a, PVHCA_EVENT_QP_FATAL));
	ck_assert_uint_eq(rig.a->vm.counters.protocol_errors, 1);
	context_again(a->context, a->slot);
	rig_pump();
	ck_assert_uint_eq(rig.num_events, 1);
	expect_none(a->send_cq);
}
END_TEST

START_TEST(receive_producer_index_beyond_the_queue_stops_the_responder)
{
	atomic_store(b->rq.pi, 0x80000000);
	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_OP_ERR);
	expect_states(IBV_QPS_ERR, IBV_QPS_ERR);
	ck_assert(rig_had_event(b, PVHCA_EVENT_QP_FATAL));
	ck_assert_uint_eq(rig.num_events, 1);
	expect_none(b->recv_cq);
}
END_TEST

START_TEST(malformed_receive_fails_both_sides)
{
	struct pvhca_rq_wqe *entry;

	post_recv(8);
	entry = (void *)work_queue_entry(&b->rq, 0);
	if (_i == 0)
		entry->num_sge = htole16(0xffff);
	else
		entry->reserved1 = htole64(1);
	post(PVHCA_WQE_SEND, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_REM_OP_ERR);
	expect(b->recv_cq, IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(reset_lets_an_abused_qp_begin_anew)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };

	atomic_store(a->sq.pi, 17);
	context_again(a->context, a->slot);
	rig_pump();
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE, attr), 0);
	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, attr), 0);
	atomic_store(a->sq.pi, 0);
	rig_connect(a, b);
	post(PVHCA_WQE_WRITE, 8);
	rig_pump();
	expect(a->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(full_completion_queue_delays_but_loses_nothing)
{
	const unsigned int total = (1 << RIG_LOG_CQ) + 10;
	struct pvhca_cqe cqe;
	unsigned int i;

	for (i = 0; i < total; i++) {
		post(PVHCA_WQE_WRITE, 1);
		rig_pump();
	}
	for (i = 0; i < total; i++) {
		ck_assert(rig_poll(a->send_cq, &cqe));
		ck_assert_uint_eq(le16toh(cqe.wqe_index), i % 16);
		rig_pump();
	}
	expect_states(IBV_QPS_RTS, IBV_QPS_RTS);
}
END_TEST

START_TEST(guest_that_never_polls_stops_its_own_qp)
{
	unsigned int i;

	for (i = 0; i < 200; i++) {
		post(PVHCA_WQE_WRITE, 1);
		rig_pump();
	}
	ck_assert_int_eq(atomic_load(&a->state), IBV_QPS_ERR);
	ck_assert_int_eq(atomic_load(&b->state), IBV_QPS_RTS);
	ck_assert(rig_had_event(a, PVHCA_EVENT_QP_FATAL));
}
END_TEST

START_TEST(one_call_serves_a_bounded_batch)
{
	unsigned int before, i;

	/* 16 entries of 1 MiB: not more than 4 MiB at a time */
	for (i = 0; i < 16; i++) {
		struct pvhca_sge sge = rig_sge(big_a, 0x10000000, BIG_RUN);
		struct pvhca_sq_wqe wqe = wqe_of(PVHCA_WQE_WRITE, 1);

		wqe.rkey = htole32(big_b->rkey);
		wqe.remote_addr = htole64(0x20000000);
		rig_post_send(a, wqe, &sge, NULL);
	}
	before = rig.serves;
	rig_pump();
	ck_assert_uint_ge(rig.serves - before, 4);
	for (i = 0; i < 16; i++)
		expect(a->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(random_ring_contents_end_in_errors_and_nowhere_else)
{
	struct qp_attr reset = { .qp_state = IBV_QPS_RESET };
	unsigned int round, i;
	uint8_t *entry;

	srandom(_i);
	for (round = 0; round < 50; round++) {
		for (i = 0; i < 64; i++) {
			entry = (void *)work_queue_entry(&a->sq, random());
			entry[random() % 64] = random();
			entry[0] = random() % 12;
			entry[1] &= 0x0f;
			entry = (void *)work_queue_entry(&b->rq, random());
			entry[random() % 64] = random() % 16;
		}
		atomic_fetch_add(a->sq.pi, random() % 17);
		atomic_fetch_add(b->rq.pi, random() % 18);
		context_again(a->context, a->slot);
		context_again(b->context, b->slot);
		rig_pump_timers(20);
		a->send_cq->header->ci = htole32(a->send_cq->pi);
		b->recv_cq->header->ci = htole32(b->recv_cq->pi);
		rig_pump();
		rig.num_events = 0;
		ck_assert_int_eq(rig_modify(a, IBV_QP_STATE, reset), 0);
		ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, reset), 0);
		atomic_store(a->sq.pi, 0);
		atomic_store(a->rq.pi, 0);
		atomic_store(b->sq.pi, 0);
		atomic_store(b->rq.pi, 0);
		rig_connect(a, b);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_rc");
	TCase *ops = tcase_create("operations");
	TCase *big = tcase_create("long messages");
	TCase *errors = tcase_create("errors");
	TCase *waits = tcase_create("waiting");
	TCase *hostile = tcase_create("hostile guests");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(ops, setup, teardown);
	tcase_add_test(ops, send_fills_the_receive_and_completes_both_sides);
	tcase_add_test(ops, immediate_data_arrive_as_posted);
	tcase_add_test(ops, write_places_data_and_tells_only_the_requester);
	tcase_add_test(ops, read_fetches_data);
	tcase_add_test(ops, sge_lists_of_different_shape_meet);
	tcase_add_loop_test(ops, every_small_length_is_copied_exactly, 1, 40);
	tcase_add_test(ops, inline_data_come_from_the_entry);
	tcase_add_test(ops, zero_length_needs_no_key);
	tcase_add_test(ops, atomics_change_memory_and_give_the_old_value);
	tcase_add_test(ops, unsignalled_success_is_silent_and_its_error_is_not);
	tcase_add_test(ops, sig_all_signals_everything);
	tcase_add_test(ops, solicited_send_raises_the_event_asked_for);
	tcase_add_test(ops, qp_can_be_connected_to_itself);
	tcase_add_test(ops, overlapping_source_and_target_are_moved_as_if_apart);
	suite_add_tcase(suite, ops);

	tcase_add_checked_fixture(big, setup_big, teardown_big);
	tcase_set_timeout(big, 60);
	tcase_add_loop_test(big, long_messages_move_in_pieces_with_one_completion, 0, 3);
	tcase_add_test(big, region_that_goes_while_a_message_is_under_way_ends_it);
	tcase_add_test(big, receive_under_way_is_flushed_before_later_ones);
	tcase_add_test(big, receive_entry_changed_under_way_has_no_effect);
	tcase_add_test(big, one_call_serves_a_bounded_batch);
	suite_add_tcase(suite, big);

	tcase_add_checked_fixture(errors, setup, teardown);
	tcase_add_test(errors, message_beyond_the_port_limit_is_a_length_error);
	tcase_add_loop_test(errors, bad_local_sge_is_a_local_protection_error, 0, 7);
	tcase_add_test(errors, read_into_memory_without_local_write_is_refused);
	tcase_add_loop_test(errors, unknown_entry_is_an_operation_error, 0, 8);
	tcase_add_test(errors, atomic_of_another_length_is_a_length_error);
	tcase_add_test(errors, later_requests_are_flushed_in_order_and_new_ones_too);
	tcase_add_loop_test(errors, bad_remote_range_is_a_remote_access_error, 0, 12);
	tcase_add_loop_test(errors, region_without_the_remote_right_is_a_remote_access_error, 0, 3);
	tcase_add_test(errors, region_of_another_pd_is_a_remote_access_error);
	tcase_add_loop_test(errors, qp_without_the_remote_right_refuses_the_request, 0, 2);
	tcase_add_test(errors, unaligned_atomic_is_an_invalid_request);
	tcase_add_test(errors, atomic_on_memory_unaligned_behind_an_aligned_address_is_refused);
	tcase_add_test(errors, message_longer_than_the_receive_fails_both_sides);
	tcase_add_test(errors, receive_into_foreign_memory_fails_both_sides);
	tcase_add_test(errors, receive_without_local_write_fails_both_sides);
	suite_add_tcase(suite, errors);

	tcase_add_checked_fixture(waits, setup, teardown);
	tcase_add_test(waits, send_waits_for_a_receive_and_is_woken_by_it);
	tcase_add_loop_test(waits, receiver_that_stays_not_ready_fails_the_requester_alone, 0, 2);
	tcase_add_test(waits, rnr_retry_0_does_not_wait);
	tcase_add_test(waits, rnr_retry_7_waits_for_ever);
	tcase_add_test(waits, requests_behind_one_that_waits_keep_their_order);
	tcase_add_test(waits, rnr_timer_codes_are_those_of_the_specification);
	tcase_add_test(waits, responder_that_is_gone_exceeds_the_retries);
	tcase_add_test(waits, responder_in_reset_gets_nothing);
	tcase_add_test(waits, responder_connected_to_another_gets_nothing);
	tcase_add_test(waits, wrong_gid_reaches_nobody);
	tcase_add_test(waits, responder_that_comes_late_is_reached_at_once);
	tcase_add_test(waits, first_message_in_rtr_establishes_communication_once);
	tcase_add_test(waits, timeout_0_never_gives_up);
	tcase_add_test(waits, address_taken_away_cuts_connections);
	suite_add_tcase(suite, waits);

	tcase_add_checked_fixture(hostile, setup, teardown);
	tcase_add_test(hostile, send_producer_index_beyond_the_queue_stops_the_qp);
	tcase_add_test(hostile, receive_producer_index_beyond_the_queue_stops_the_responder);
	tcase_add_loop_test(hostile, malformed_receive_fails_both_sides, 0, 2);
	tcase_add_test(hostile, reset_lets_an_abused_qp_begin_anew);
	tcase_add_test(hostile, full_completion_queue_delays_but_loses_nothing);
	tcase_add_test(hostile, guest_that_never_polls_stops_its_own_qp);
	tcase_add_loop_test(hostile, random_ring_contents_end_in_errors_and_nowhere_else, 0, 10);
	suite_add_tcase(suite, hostile);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
