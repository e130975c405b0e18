// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include "fixture.h"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/qp_table.c"

#define OTHER_QPN 0x777777

static struct pvhca_qp other_qp;

static uint32_t host_pi; /* completions that the host has written */

static void setup_poll(void)
{
	setup();
	host_pi = 0;
	other_qp = test_qp;
	other_qp.vqp.qp.qp_num = OTHER_QPN;
	ck_assert_int_eq(pvhca_qp_table_insert(&test_ctx.qp_table, QPN, &test_qp), 0);
}

/* Writes the next completion, with the phase of its lap. */
static struct pvhca_cqe *complete(uint8_t opcode, uint16_t place)
{
	struct pvhca_cqe *cqe = &cq_mem.entries[host_pi % ENTRIES];
	uint8_t phase = host_pi / ENTRIES % 2 ? 0 : PVHCA_CQE_F_PHASE;

	memset(cqe, 0, sizeof(*cqe));
	cqe->qpn = htole32(QPN);
	cqe->opcode = opcode;
	cqe->wqe_index = htole16(place);
	cqe->flags = phase;
	host_pi++;
	return cqe;
}

static int poll(int num, struct ibv_wc *wc)
{
	return pvhca_poll_cq(&test_cq.vcq.cq, num, wc);
}

START_TEST(empty_queue_gives_nothing_and_moves_nothing)
{
	struct ibv_wc wc;

	cq_mem.header.flags = htole32(PVHCA_CQ_F_BLOCKED);
	ck_assert_int_eq(poll(1, &wc), 0);
	ck_assert_uint_eq(cq_mem.header.ci, 0);
	ck_assert_uint_eq(rings, 0);
}
END_TEST

START_TEST(completion_carries_wr_id_and_qp)
{
	struct ibv_wc wc;

	sq_wrid[0] = 0x1122334455667788;
	complete(PVHCA_CQE_READ, 0)->byte_len = htole32(4096);
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_uint_eq(wc.wr_id, 0x1122334455667788);
	ck_assert_uint_eq(wc.qp_num, QPN);
	ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
	ck_assert_int_eq(wc.opcode, IBV_WC_RDMA_READ);
	ck_assert_uint_eq(wc.byte_len, 4096);
	ck_assert_uint_eq(wc.wc_flags, 0);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 1);
	ck_assert_int_eq(poll(1, &wc), 0);
}
END_TEST

START_TEST(opcodes_are_translated)
{
	static const struct {
		uint8_t cqe;
		enum ibv_wc_opcode wc;
	} cases[] = {
		{ PVHCA_CQE_SEND, IBV_WC_SEND },
		{ PVHCA_CQE_WRITE, IBV_WC_RDMA_WRITE },
		{ PVHCA_CQE_READ, IBV_WC_RDMA_READ },
		{ PVHCA_CQE_COMP_SWAP, IBV_WC_COMP_SWAP },
		{ PVHCA_CQE_FETCH_ADD, IBV_WC_FETCH_ADD },
		{ PVHCA_CQE_BIND_MW, IBV_WC_BIND_MW },
		{ PVHCA_CQE_LOCAL_INV, IBV_WC_LOCAL_INV },
		{ PVHCA_CQE_RECV, IBV_WC_RECV },
		{ PVHCA_CQE_RECV_WRITE_IMM, IBV_WC_RECV_RDMA_WITH_IMM },
	};
	struct ibv_wc wc;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		complete(cases[i].cqe, 0);
		ck_assert_int_eq(poll(1, &wc), 1);
		ck_assert_int_eq(wc.opcode, cases[i].wc);
	}
}
END_TEST

START_TEST(signaled_completion_retires_the_unsignaled_before_it)
{
	struct ibv_wc wc;

	test_qp.sq.pi = ENTRIES;
	sq_wrid[2] = 33;
	complete(PVHCA_CQE_SEND, 2);
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_uint_eq(wc.wr_id, 33);
	ck_assert_uint_eq(test_qp.sq.ci, 3);
	ck_assert_uint_eq(test_qp.rq.ci, 0);

	/* across the end of the ring */
	complete(PVHCA_CQE_SEND, 1);
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_uint_eq(test_qp.sq.ci, ENTRIES + 2);
}
END_TEST

START_TEST(receives_retire_the_receive_queue)
{
	struct pvhca_cqe *cqe;
	struct ibv_wc wc;

	rq_wrid[0] = 44;
	cqe = complete(PVHCA_CQE_RECV, 0);
	cqe->byte_len = htole32(12);
	cqe->imm_data = htobe32(0xdeadbeef);
	cqe->flags |= PVHCA_CQE_F_IMM;
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_uint_eq(wc.wr_id, 44);
	ck_assert_uint_eq(wc.byte_len, 12);
	ck_assert_uint_eq(wc.wc_flags, IBV_WC_WITH_IMM);
	ck_assert_uint_eq(wc.imm_data, htobe32(0xdeadbeef));
	ck_assert_uint_eq(test_qp.rq.ci, 1);
	ck_assert_uint_eq(test_qp.sq.ci, 0);
}
END_TEST

START_TEST(datagram_receives_tell_the_sender)
{
	struct pvhca_cqe *cqe = complete(PVHCA_CQE_RECV, 0);
	struct ibv_wc wc;

	cqe->src_qp = htole32(0x4321);
	cqe->pkey_index = htole16(3);
	cqe->sl = 5;
	cqe->inv_rkey = htole32(0x99);
	cqe->flags |= PVHCA_CQE_F_GRH | PVHCA_CQE_F_INV;
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_uint_eq(wc.src_qp, 0x4321);
	ck_assert_uint_eq(wc.pkey_index, 3);
	ck_assert_uint_eq(wc.sl, 5);
	ck_assert_uint_eq(wc.invalidated_rkey, 0x99);
	ck_assert_uint_eq(wc.wc_flags, IBV_WC_GRH | IBV_WC_WITH_INV);
}
END_TEST

START_TEST(errors_tell_status_and_retire_too)
{
	struct pvhca_cqe *cqe = complete(PVHCA_CQE_SEND, 1);
	struct ibv_wc wc;

	sq_wrid[1] = 55;
	cqe->status = IBV_WC_REM_ACCESS_ERR;
	cqe->vendor_err = htole32(0x42);
	cqe->flags |= PVHCA_CQE_F_IMM;
	complete(PVHCA_CQE_RECV, 0)->status = IBV_WC_WR_FLUSH_ERR;

	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_uint_eq(wc.wr_id, 55);
	ck_assert_int_eq(wc.status, IBV_WC_REM_ACCESS_ERR);
	ck_assert_uint_eq(wc.vendor_err, 0x42);
	ck_assert_uint_eq(wc.wc_flags, 0);
	ck_assert_uint_eq(test_qp.sq.ci, 2);
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_int_eq(wc.status, IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(test_qp.rq.ci, 1);
}
END_TEST

START_TEST(entries_of_the_last_lap_are_not_taken_again)
{
	struct ibv_wc wc[2 * ENTRIES];
	int lap, i;

	for (lap = 0; lap < 5; lap++) {
		for (i = 0; i < ENTRIES; i++)
			complete(PVHCA_CQE_SEND, i);
		ck_assert_int_eq(poll(2 * ENTRIES, wc), ENTRIES);
		ck_assert_int_eq(poll(1, wc), 0);
	}
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 5 * ENTRIES);
}
END_TEST

START_TEST(consumer_index_passes_32_bits)
{
	struct ibv_wc wc[ENTRIES];

	/* The last but one entry of an odd lap, and what was left by the host. */
	test_cq.ci = host_pi = UINT32_MAX - 1;
	cq_mem.entries[2].flags = cq_mem.entries[3].flags = PVHCA_CQE_F_PHASE;
	ck_assert_int_eq(poll(ENTRIES, wc), 0);
	complete(PVHCA_CQE_SEND, 0);
	complete(PVHCA_CQE_SEND, 1);
	complete(PVHCA_CQE_SEND, 2);
	ck_assert_int_eq(poll(ENTRIES, wc), 3);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 1);
}
END_TEST

START_TEST(poll_takes_no_more_than_asked)
{
	struct ibv_wc wc[2];

	complete(PVHCA_CQE_SEND, 0);
	complete(PVHCA_CQE_SEND, 1);
	complete(PVHCA_CQE_SEND, 2);
	ck_assert_int_eq(poll(2, wc), 2);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 2);
	ck_assert_int_eq(poll(2, wc), 1);
	ck_assert_int_eq(poll(0, wc), 0);
}
END_TEST

START_TEST(host_that_waits_for_room_is_told)
{
	struct ibv_wc wc[2];

	complete(PVHCA_CQE_SEND, 0);
	complete(PVHCA_CQE_SEND, 1);
	cq_mem.header.flags = htole32(PVHCA_CQ_F_BLOCKED);
	ck_assert_int_eq(poll(2, wc), 2);
	ck_assert_uint_eq(rings, 1);
	ck_assert_ptr_eq(rung, doorbells + CQ_DOORBELL);

	cq_mem.header.flags = 0;
	complete(PVHCA_CQE_SEND, 2);
	ck_assert_int_eq(poll(1, wc), 1);
	ck_assert_uint_eq(rings, 1);
}
END_TEST

START_TEST(completions_of_a_gone_qp_are_skipped_but_make_room)
{
	struct ibv_wc wc[ENTRIES];

	ck_assert_int_eq(pvhca_qp_table_insert(&test_ctx.qp_table, OTHER_QPN, &other_qp), 0);
	complete(PVHCA_CQE_SEND, 0)->qpn = htole32(OTHER_QPN);
	complete(PVHCA_CQE_SEND, 0);
	complete(PVHCA_CQE_SEND, 1)->qpn = htole32(OTHER_QPN);
	pvhca_cq_clean(&test_cq, &other_qp);
	ck_assert_int_eq(poll(ENTRIES, wc), 1);
	ck_assert_uint_eq(wc[0].qp_num, QPN);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 3);
}
END_TEST

START_TEST(cleaning_forgets_the_qp_polled_last)
{
	struct ibv_wc wc;

	complete(PVHCA_CQE_SEND, 0);
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_ptr_eq(test_cq.last_qp, &test_qp);
	pvhca_cq_clean(&test_cq, &other_qp);
	ck_assert_ptr_eq(test_cq.last_qp, &test_qp);
	pvhca_cq_clean(&test_cq, &test_qp);
	ck_assert_ptr_null(test_cq.last_qp);
}
END_TEST

START_TEST(cleaning_a_full_queue_ends)
{
	struct ibv_wc wc[ENTRIES];
	int i;

	for (i = 0; i < ENTRIES; i++)
		complete(PVHCA_CQE_SEND, i);
	pvhca_cq_clean(&test_cq, &test_qp);
	ck_assert_int_eq(poll(ENTRIES, wc), 0);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), ENTRIES);
}
END_TEST

START_TEST(cleaning_leaves_what_was_polled_alone)
{
	struct ibv_wc wc;

	complete(PVHCA_CQE_SEND, 0);
	complete(PVHCA_CQE_SEND, 1);
	ck_assert_int_eq(poll(1, &wc), 1);
	pvhca_cq_clean(&test_cq, &test_qp);
	ck_assert_uint_eq(le32toh(cq_mem.entries[0].qpn), QPN);
	ck_assert_uint_ne(le32toh(cq_mem.entries[1].qpn), QPN);
}
END_TEST

START_TEST(unknown_qp_numbers_are_skipped)
{
	struct ibv_wc wc;

	complete(PVHCA_CQE_SEND, 0)->qpn = htole32(OTHER_QPN);
	complete(PVHCA_CQE_SEND, 0)->qpn = htole32(1 << 24);
	ck_assert_int_eq(poll(1, &wc), 0);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 2);
}
END_TEST

START_TEST(gone_device_is_an_error_once_the_queue_is_empty)
{
	struct ibv_wc wc;

	complete(PVHCA_CQE_SEND, 0);
	test_page.alive = 0;
	ck_assert_int_eq(poll(1, &wc), 1);
	ck_assert_int_lt(poll(1, &wc), 0);
}
END_TEST

START_TEST(requests_for_events_are_counted_apart)
{
	ck_assert_int_eq(pvhca_req_notify_cq(&test_cq.vcq.cq, 0), 0);
	ck_assert_int_eq(pvhca_req_notify_cq(&test_cq.vcq.cq, 1), 0);
	ck_assert_int_eq(pvhca_req_notify_cq(&test_cq.vcq.cq, 1), 0);
	ck_assert_uint_eq(le32toh(cq_mem.header.arm_any), 1);
	ck_assert_uint_eq(le32toh(cq_mem.header.arm_solicited), 2);
	test_page.alive = 0;
	ck_assert_int_eq(pvhca_req_notify_cq(&test_cq.vcq.cq, 0), EIO);
}
END_TEST

START_TEST(table_finds_numbers_all_over_the_range)
{
	static const uint32_t numbers[] = { 0, 1, 255, 256, 65535, 65536, 0x00ff00, 0xffffff };
	static struct pvhca_qp qps[ARRAY_SIZE(numbers)];
	struct pvhca_qp_table *t = &test_ctx.qp_table;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		ck_assert_int_eq(pvhca_qp_table_insert(t, numbers[i], &qps[i]), 0);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		ck_assert_ptr_eq(pvhca_qp_table_find(t, numbers[i]), &qps[i]);
	ck_assert_int_eq(pvhca_qp_table_insert(t, 256, &qps[0]), EEXIST);
	ck_assert_int_eq(pvhca_qp_table_insert(t, 1 << 24, &qps[0]), EINVAL);
	ck_assert_ptr_null(pvhca_qp_table_find(t, 2));
	ck_assert_ptr_null(pvhca_qp_table_find(t, 0x800000));
	ck_assert_ptr_null(pvhca_qp_table_find(t, 1 << 24));

	pvhca_qp_table_remove(t, 256);
	pvhca_qp_table_remove(t, 0x800000);
	ck_assert_ptr_null(pvhca_qp_table_find(t, 256));
	ck_assert_ptr_eq(pvhca_qp_table_find(t, 255), &qps[2]);
	ck_assert_int_eq(pvhca_qp_table_insert(t, 256, &qps[0]), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider poll");
	TCase *c = tcase_create("poll");

	tcase_add_checked_fixture(c, setup_poll, NULL);
	tcase_add_test(c, empty_queue_gives_nothing_and_moves_nothing);
	tcase_add_test(c, completion_carries_wr_id_and_qp);
	tcase_add_test(c, opcodes_are_translated);
	tcase_add_test(c, signaled_completion_retires_the_unsignaled_before_it);
	tcase_add_test(c, receives_retire_the_receive_queue);
	tcase_add_test(c, datagram_receives_tell_the_sender);
	tcase_add_test(c, errors_tell_status_and_retire_too);
	tcase_add_test(c, entries_of_the_last_lap_are_not_taken_again);
	tcase_add_test(c, consumer_index_passes_32_bits);
	tcase_add_test(c, poll_takes_no_more_than_asked);
	tcase_add_test(c, host_that_waits_for_room_is_told);
	tcase_add_test(c, completions_of_a_gone_qp_are_skipped_but_make_room);
	tcase_add_test(c, cleaning_forgets_the_qp_polled_last);
	tcase_add_test(c, cleaning_a_full_queue_ends);
	tcase_add_test(c, cleaning_leaves_what_was_polled_alone);
	tcase_add_test(c, unknown_qp_numbers_are_skipped);
	tcase_add_test(c, gone_device_is_an_error_once_the_queue_is_empty);
	tcase_add_test(c, requests_for_events_are_counted_apart);
	tcase_add_test(c, table_finds_numbers_all_over_the_range);
	suite_add_tcase(s, c);
	return run_suite(s);
}
