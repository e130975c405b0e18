// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include "fixture.h"
#include "../../../providers/pvhca/cq_ex.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/qp_table.c"

static struct ibv_cq_ex *ex;
static struct ibv_poll_cq_attr no_attr;
static struct pvhca_srq srq;
static uint64_t srq_wrid[ENTRIES];
static uint16_t free_tags[ENTRIES];

static void setup_cq_ex(void)
{
	setup();
	memset(&srq, 0, sizeof(srq));
	srq.q.wrid = srq_wrid;
	srq.q.mask = ENTRIES - 1;
	srq.q.max_wr = ENTRIES;
	srq.free_tags = free_tags;
	pvhca_lock_init(&srq.q.lock, false);
	ck_assert_int_eq(pvhca_qp_table_insert(&test_ctx.qp_table, QPN, &test_qp), 0);
	pvhca_set_cq_ex_ops(&test_cq, PVHCA_CQ_WC_FLAGS);
	ex = &test_cq.vcq.cq_ex;
}

/* Writes entry @i of the first lap. */
static struct pvhca_cqe *complete(unsigned int i, uint8_t opcode, uint16_t place)
{
	struct pvhca_cqe *cqe = &cq_mem.entries[i];

	memset(cqe, 0, sizeof(*cqe));
	cqe->qpn = htole32(QPN);
	cqe->opcode = opcode;
	cqe->wqe_index = htole16(place);
	cqe->flags = PVHCA_CQE_F_PHASE;
	return cqe;
}

/* What was polled last, by the functions of the extended CQ. */
static struct ibv_wc read_wc(void)
{
	return (struct ibv_wc){
		.wr_id = ex->wr_id,
		.status = ex->status,
		.opcode = ibv_wc_read_opcode(ex),
		.vendor_err = ibv_wc_read_vendor_err(ex),
		.byte_len = ibv_wc_read_byte_len(ex),
		.imm_data = ibv_wc_read_imm_data(ex),
		.qp_num = ibv_wc_read_qp_num(ex),
		.src_qp = ibv_wc_read_src_qp(ex),
		.wc_flags = ibv_wc_read_wc_flags(ex),
		.slid = ibv_wc_read_slid(ex),
		.sl = ibv_wc_read_sl(ex),
		.dlid_path_bits = ibv_wc_read_dlid_path_bits(ex),
	};
}

static void assert_wc_eq(const struct ibv_wc *a, const struct ibv_wc *b)
{
	ck_assert_uint_eq(a->wr_id, b->wr_id);
	ck_assert_int_eq(a->status, b->status);
	ck_assert_int_eq(a->opcode, b->opcode);
	ck_assert_uint_eq(a->vendor_err, b->vendor_err);
	ck_assert_uint_eq(a->byte_len, b->byte_len);
	ck_assert_uint_eq(a->imm_data, b->imm_data);
	ck_assert_uint_eq(a->qp_num, b->qp_num);
	ck_assert_uint_eq(a->src_qp, b->src_qp);
	ck_assert_uint_eq(a->wc_flags, b->wc_flags);
	ck_assert_uint_eq(a->slid, b->slid);
	ck_assert_uint_eq(a->sl, b->sl);
	ck_assert_uint_eq(a->dlid_path_bits, b->dlid_path_bits);
}

/* One completion of each kind that has its own rules. */
static void fill(struct pvhca_cqe *cqe, unsigned int kind)
{
	cqe->byte_len = htole32(1234);
	cqe->src_qp = htole32(0x4321);
	cqe->sl = 5;
	cqe->imm_data = htobe32(0xdeadbeef);
	switch (kind) {
	case 0:
		cqe->opcode = PVHCA_CQE_READ;
		break;
	case 1:
		cqe->opcode = PVHCA_CQE_RECV;
		cqe->flags |= PVHCA_CQE_F_IMM | PVHCA_CQE_F_GRH;
		break;
	case 2:
		cqe->opcode = PVHCA_CQE_RECV;
		cqe->inv_rkey = htole32(0x99);
		cqe->flags |= PVHCA_CQE_F_INV;
		break;
	case 3:
		cqe->opcode = PVHCA_CQE_RECV_WRITE_IMM;
		cqe->flags |= PVHCA_CQE_F_IMM;
		break;
	default:
		cqe->opcode = PVHCA_CQE_BIND_MW;
		cqe->status = IBV_WC_MW_BIND_ERR;
		cqe->flags |= PVHCA_CQE_F_IMM;
		break;
	}
}

START_TEST(reads_are_what_poll_cq_gives)
{
	struct ibv_wc a, b;

	sq_wrid[2] = 111;
	rq_wrid[2] = 222;
	fill(complete(0, 0, 2), _i);
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &a), 1);

	test_cq.ci = 0;
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	b = read_wc();
	ibv_end_poll(ex);
	assert_wc_eq(&a, &b);
}
END_TEST

START_TEST(invalidated_key_is_told)
{
	fill(complete(0, 0, 0), 2);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	ck_assert_uint_eq(ibv_wc_read_wc_flags(ex), IBV_WC_WITH_INV);
	ck_assert_uint_eq(ibv_wc_read_invalidated_rkey(ex), 0x99);
	ibv_end_poll(ex);
}
END_TEST

START_TEST(timestamp_is_the_hosts)
{
	complete(0, PVHCA_CQE_SEND, 0)->timestamp = htole64(0x123456789a);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	ck_assert_uint_eq(ibv_wc_read_completion_ts(ex), 0x123456789a);
	ibv_end_poll(ex);
}
END_TEST

START_TEST(only_fields_that_were_asked_for_can_be_read)
{
	memset(&test_cq.vcq, 0, sizeof(test_cq.vcq));
	pvhca_set_cq_ex_ops(&test_cq, IBV_WC_EX_WITH_BYTE_LEN);
	ck_assert_ptr_nonnull(ex->read_opcode);
	ck_assert_ptr_nonnull(ex->read_byte_len);
	ck_assert_ptr_null(ex->read_imm_data);
	ck_assert_ptr_null(ex->read_completion_ts);
}
END_TEST

START_TEST(entries_are_given_back_when_the_poll_ends)
{
	complete(0, PVHCA_CQE_SEND, 0);
	complete(1, PVHCA_CQE_SEND, 1);
	cq_mem.header.flags = htole32(PVHCA_CQ_F_BLOCKED);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	ck_assert_int_eq(ibv_next_poll(ex), 0);
	ck_assert_int_eq(ibv_next_poll(ex), ENOENT);
	ck_assert_uint_eq(cq_mem.header.ci, 0);
	ck_assert_uint_eq(rings, 0);
	ibv_end_poll(ex);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 2);
	ck_assert_uint_eq(rings, 1);
	ck_assert_uint_eq(test_qp.sq.ci, 2);
}
END_TEST

START_TEST(poll_locks_the_cq_until_its_end)
{
	complete(0, PVHCA_CQE_SEND, 0);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), EBUSY);
	ibv_end_poll(ex);
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), 0);
	pthread_spin_unlock(&test_cq.lock.spin);
}
END_TEST

START_TEST(one_thread_needs_no_lock)
{
	test_cq.lock.one_thread = true;
	complete(0, PVHCA_CQE_SEND, 0);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), 0);
	pthread_spin_unlock(&test_cq.lock.spin);
	ibv_end_poll(ex);
}
END_TEST

START_TEST(empty_queue_has_no_poll_to_end)
{
	struct ibv_poll_cq_attr attr = { .comp_mask = 1 };

	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), ENOENT);
	ck_assert_int_eq(ibv_start_poll(ex, &attr), EINVAL);
	test_page.alive = 0;
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), EIO);
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), 0);
	pthread_spin_unlock(&test_cq.lock.spin);
}
END_TEST

START_TEST(skipped_entries_are_given_back_though_nothing_is_found)
{
	complete(0, PVHCA_CQE_SEND, 0);
	pvhca_cq_clean(&test_cq, &test_qp);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), ENOENT);
	ck_assert_uint_eq(le32toh(cq_mem.header.ci), 1);
}
END_TEST

START_TEST(receives_of_an_srq_are_found_by_their_tags)
{
	test_qp.vqp.qp.srq = &srq.vsrq.srq;
	srq_wrid[1] = 11;
	srq_wrid[3] = 33;
	complete(0, PVHCA_CQE_RECV, 3);
	complete(1, PVHCA_CQE_RECV, 1);
	ck_assert_int_eq(ibv_start_poll(ex, &no_attr), 0);
	ck_assert_uint_eq(ex->wr_id, 33);
	ck_assert_int_eq(ibv_next_poll(ex), 0);
	ck_assert_uint_eq(ex->wr_id, 11);
	ibv_end_poll(ex);
	ck_assert_uint_eq(srq.num_free, 2);
	ck_assert_uint_eq(free_tags[0], 3);
	ck_assert_uint_eq(free_tags[1], 1);
	ck_assert_uint_eq(test_qp.rq.ci, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider cq_ex");
	TCase *c = tcase_create("cq_ex");

	tcase_add_checked_fixture(c, setup_cq_ex, NULL);
	tcase_add_loop_test(c, reads_are_what_poll_cq_gives, 0, 5);
	tcase_add_test(c, invalidated_key_is_told);
	tcase_add_test(c, timestamp_is_the_hosts);
	tcase_add_test(c, only_fields_that_were_asked_for_can_be_read);
	tcase_add_test(c, entries_are_given_back_when_the_poll_ends);
	tcase_add_test(c, poll_locks_the_cq_until_its_end);
	tcase_add_test(c, one_thread_needs_no_lock);
	tcase_add_test(c, empty_queue_has_no_poll_to_end);
	tcase_add_test(c, skipped_entries_are_given_back_though_nothing_is_found);
	tcase_add_test(c, receives_of_an_srq_are_found_by_their_tags);
	suite_add_tcase(s, c);
	return run_suite(s);
}
