// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include "fixture.h"
#include "../../../providers/pvhca/post.c"

static struct ibv_sge sges[MAX_SGE + 1] = {
	{ .addr = 0x1000, .length = 10, .lkey = 0x11 },
	{ .addr = 0x2000, .length = 20, .lkey = 0x22 },
};

static struct ibv_send_wr send_wr(enum ibv_wr_opcode opcode)
{
	return (struct ibv_send_wr){
		.wr_id = 77,
		.opcode = opcode,
		.sg_list = sges,
		.num_sge = 1,
	};
}

static int post(struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad = NULL;
	int err = pvhca_post_send(&test_qp.vqp.qp, wr, &bad);

	ck_assert_ptr_eq(bad, err ? wr : NULL);
	return err;
}

static int post_recv(struct ibv_recv_wr *wr)
{
	struct ibv_recv_wr *bad = NULL;
	int err = pvhca_post_recv(&test_qp.vqp.qp, wr, &bad);

	ck_assert_ptr_eq(bad, err ? wr : NULL);
	return err;
}

static const struct pvhca_sq_wqe *sq_entry(unsigned int i)
{
	return (const void *)(queues.sq + i * STRIDE);
}

static const struct pvhca_sge *sq_sges(unsigned int i)
{
	return (const void *)(queues.sq + i * STRIDE + PVHCA_SQ_WQE_DATA);
}

START_TEST(write_fills_entry_and_publishes_it)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_RDMA_WRITE);
	const struct pvhca_sq_wqe *wqe = sq_entry(0);

	memset(queues.sq, 0xff, sizeof(queues.sq));
	wr.num_sge = 2;
	wr.wr.rdma.remote_addr = 0x123456789abcdef0;
	wr.wr.rdma.rkey = 0xabcd;
	ck_assert_int_eq(post(&wr), 0);

	ck_assert_uint_eq(wqe->opcode, PVHCA_WQE_WRITE);
	ck_assert_uint_eq(wqe->flags, 0);
	ck_assert_uint_eq(le16toh(wqe->num_sge), 2);
	ck_assert_uint_eq(wqe->inline_len, 0);
	ck_assert_uint_eq(wqe->imm_data, 0);
	ck_assert_uint_eq(wqe->reserved, 0);
	ck_assert_uint_eq(le64toh(wqe->remote_addr), 0x123456789abcdef0);
	ck_assert_uint_eq(le32toh(wqe->rkey), 0xabcd);
	ck_assert_uint_eq(le64toh(sq_sges(0)[1].addr), 0x2000);
	ck_assert_uint_eq(le32toh(sq_sges(0)[1].length), 20);
	ck_assert_uint_eq(le32toh(sq_sges(0)[1].lkey), 0x22);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 1);
	ck_assert_uint_eq(queues.header.rq_pi, 0);
	ck_assert_uint_eq(sq_wrid[0], 77);
}
END_TEST

START_TEST(posting_marks_the_slot_and_its_word)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(le64toh(test_page.pending[2]), 1 << 2);
	ck_assert_uint_eq(le64toh(test_page.summary), 1 << 2);
	ck_assert_uint_eq(rings, 0);
}
END_TEST

START_TEST(marks_of_others_stay)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	test_page.pending[2] = htole64(1ULL << 63 | 1);
	test_page.summary = htole64(1ULL << 63);
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(le64toh(test_page.pending[2]), 1ULL << 63 | 1 << 2 | 1);
	ck_assert_uint_eq(le64toh(test_page.summary), 1ULL << 63 | 1 << 2);
}
END_TEST

START_TEST(sleeping_host_is_woken_once)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	test_page.need_kick = htole64(1 << 2 | 1 << 3);
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(rings, 1);
	ck_assert_ptr_eq(rung, doorbells + QP_DOORBELL);
	ck_assert_uint_eq(le64toh(test_page.need_kick), 1 << 3);

	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(rings, 1);
}
END_TEST

START_TEST(need_kick_of_another_word_is_not_ours)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	test_page.need_kick = htole64(~(1ULL << 2));
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(rings, 0);
	ck_assert_uint_eq(le64toh(test_page.need_kick), ~(1ULL << 2));
}
END_TEST

START_TEST(chain_costs_one_doorbell)
{
	struct ibv_send_wr wr[3];
	unsigned int i;

	test_page.need_kick = htole64(~0ULL);
	for (i = 0; i < 3; i++) {
		wr[i] = send_wr(IBV_WR_SEND);
		wr[i].wr_id = 100 + i;
		wr[i].next = i < 2 ? &wr[i + 1] : NULL;
	}
	ck_assert_int_eq(post(wr), 0);
	ck_assert_uint_eq(rings, 1);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 3);
	ck_assert_uint_eq(sq_wrid[2], 102);
}
END_TEST

START_TEST(bad_request_in_a_chain_leaves_those_before_it_posted)
{
	struct ibv_send_wr wr[3], *bad = NULL;

	wr[0] = wr[1] = wr[2] = send_wr(IBV_WR_SEND);
	wr[0].next = &wr[1];
	wr[1].next = &wr[2];
	wr[1].num_sge = MAX_SGE + 1;
	test_page.need_kick = htole64(~0ULL);
	ck_assert_int_eq(pvhca_post_send(&test_qp.vqp.qp, wr, &bad), EINVAL);
	ck_assert_ptr_eq(bad, &wr[1]);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 1);
	ck_assert_uint_eq(rings, 1);
}
END_TEST

START_TEST(nothing_posted_marks_nothing)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	test_page.need_kick = htole64(~0ULL);
	wr.num_sge = MAX_SGE + 1;
	ck_assert_int_eq(post(&wr), EINVAL);
	ck_assert_uint_eq(test_page.summary, 0);
	ck_assert_uint_eq(rings, 0);
}
END_TEST

START_TEST(full_queue_gives_enomem_until_a_completion)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	int i;

	for (i = 0; i < ENTRIES; i++)
		ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), ENOMEM);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), ENTRIES);

	test_qp.sq.ci = 2;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), ENOMEM);
}
END_TEST

START_TEST(queue_is_full_at_max_wr_in_a_bigger_ring)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	test_qp.sq.max_wr = 3;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), ENOMEM);
}
END_TEST

START_TEST(entries_wrap_with_the_ring)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	test_qp.sq.pi = test_qp.sq.ci = ENTRIES - 1;
	wr.wr_id = 1;
	ck_assert_int_eq(post(&wr), 0);
	wr.wr_id = 2;
	wr.num_sge = 2;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(le16toh(sq_entry(ENTRIES - 1)->num_sge), 1);
	ck_assert_uint_eq(le16toh(sq_entry(0)->num_sge), 2);
	ck_assert_uint_eq(sq_wrid[ENTRIES - 1], 1);
	ck_assert_uint_eq(sq_wrid[0], 2);
}
END_TEST

START_TEST(indices_pass_32_bits)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	int i;

	test_qp.sq.pi = test_qp.sq.ci = UINT32_MAX - 1;
	for (i = 0; i < ENTRIES; i++)
		ck_assert_int_eq(post(&wr), 0);
	ck_assert_int_eq(post(&wr), ENOMEM);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), ENTRIES - 2);
}
END_TEST

START_TEST(inline_data_are_gathered_into_the_entry)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	char a[] = "gather", b[] = "ed";
	struct ibv_sge list[] = {
		{ .addr = (uintptr_t)a, .length = 6 },
		{ .addr = (uintptr_t)b, .length = 2 },
	};

	wr.sg_list = list;
	wr.num_sge = 2;
	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->flags, PVHCA_WQE_F_INLINE);
	ck_assert_uint_eq(sq_entry(0)->num_sge, 0);
	ck_assert_uint_eq(le32toh(sq_entry(0)->inline_len), 8);
	ck_assert_mem_eq(sq_sges(0), "gathered", 8);
}
END_TEST

START_TEST(inline_data_fill_the_entry_and_no_more)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_RDMA_WRITE);
	uint8_t data[MAX_INLINE + 1];
	struct ibv_sge list[2] = {
		{ .addr = (uintptr_t)data, .length = MAX_INLINE },
		{ .addr = (uintptr_t)data, .length = 1 },
	};

	memset(data, 0x5a, sizeof(data));
	wr.sg_list = list;
	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(queues.sq[STRIDE - 1], 0x5a);
	ck_assert_uint_eq(queues.sq[STRIDE], 0);

	list[0].length++;
	ck_assert_int_eq(post(&wr), EINVAL);
	list[0].length--;
	wr.num_sge = 2;
	ck_assert_int_eq(post(&wr), EINVAL);
	list[1].length = UINT32_MAX;
	ck_assert_int_eq(post(&wr), EINVAL);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 1);
}
END_TEST

START_TEST(what_returns_data_cannot_be_inline)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_RDMA_READ);

	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), EINVAL);
	wr.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
	ck_assert_int_eq(post(&wr), EINVAL);
}
END_TEST

START_TEST(too_many_sges_are_refused)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	wr.num_sge = MAX_SGE;
	ck_assert_int_eq(post(&wr), 0);
	wr.num_sge = MAX_SGE + 1;
	ck_assert_int_eq(post(&wr), EINVAL);
	wr.num_sge = -1;
	ck_assert_int_eq(post(&wr), EINVAL);
	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), EINVAL);
}
END_TEST

START_TEST(no_data_is_a_message_too)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	wr.num_sge = 0;
	wr.sg_list = NULL;
	ck_assert_int_eq(post(&wr), 0);
	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(1)->inline_len, 0);
}
END_TEST

START_TEST(flags_are_translated)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	wr.send_flags = IBV_SEND_SIGNALED;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->flags, PVHCA_WQE_F_SIGNALED);
	wr.send_flags = IBV_SEND_SOLICITED | IBV_SEND_FENCE;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(1)->flags, PVHCA_WQE_F_SOLICITED | PVHCA_WQE_F_FENCE);
	wr.send_flags = 0;
	test_qp.sq_sig_all = true;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(2)->flags, PVHCA_WQE_F_SIGNALED);
	wr.send_flags = IBV_SEND_IP_CSUM;
	ck_assert_int_eq(post(&wr), EINVAL);
}
END_TEST

/* No adapter looks at them, so programs may leave anything there. */
START_TEST(flags_without_meaning_are_ignored)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);

	wr.send_flags = 0xffffffe0 | IBV_SEND_SIGNALED;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->flags, PVHCA_WQE_F_SIGNALED);
}
END_TEST

START_TEST(inline_means_nothing_without_data)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_LOCAL_INV);
	struct pvhca_mw mw = { .ibv_mw.type = IBV_MW_TYPE_2 };

	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->flags | sq_entry(0)->inline_len, 0);
	wr.opcode = IBV_WR_BIND_MW;
	wr.bind_mw.mw = &mw.ibv_mw;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(1)->flags | sq_entry(1)->inline_len, 0);
}
END_TEST

START_TEST(longest_message_is_the_hosts_affair)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	struct ibv_sge big[2] = {
		{ .addr = 0x1000, .length = 1u << 31, .lkey = 1 },
		{ .addr = 0x1000, .length = UINT32_MAX, .lkey = 1 },
	};
	struct ibv_recv_wr rwr = { .sg_list = big, .num_sge = 2 };
	const struct pvhca_sge *sge = (const void *)(queues.rq + PVHCA_RQ_WQE_DATA);

	wr.sg_list = big;
	wr.num_sge = 2;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(le32toh(sq_sges(0)[0].length), 1u << 31);
	ck_assert_uint_eq(le32toh(sq_sges(0)[1].length), UINT32_MAX);
	ck_assert_int_eq(post_recv(&rwr), 0);
	ck_assert_uint_eq(le32toh(sge[0].length), 1u << 31);
	ck_assert_uint_eq(le32toh(sge[1].length), UINT32_MAX);
	wr.num_sge = 1;
	wr.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(post(&wr), EINVAL);
}
END_TEST

START_TEST(empty_chain_is_posted)
{
	enum ibv_qp_state states[] = { IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTS, IBV_QPS_ERR };
	struct ibv_send_wr *bad = NULL;
	struct ibv_recv_wr *bad_recv = NULL;
	unsigned int i;

	test_page.need_kick = htole64(~0ULL);
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		test_qp.state = states[i];
		ck_assert_int_eq(pvhca_post_send(&test_qp.vqp.qp, NULL, &bad), 0);
		ck_assert_int_eq(pvhca_post_recv(&test_qp.vqp.qp, NULL, &bad_recv), 0);
	}
	test_page.alive = 0;
	ck_assert_int_eq(pvhca_post_send(&test_qp.vqp.qp, NULL, &bad), 0);
	ck_assert_int_eq(pvhca_post_recv(&test_qp.vqp.qp, NULL, &bad_recv), 0);
	ck_assert_ptr_null(bad);
	ck_assert_ptr_null(bad_recv);
	ck_assert_uint_eq(test_page.summary, 0);
	ck_assert_uint_eq(rings, 0);
}
END_TEST

START_TEST(unknown_opcodes_are_refused)
{
	static const int bad[] = { IBV_WR_BIND_MW, IBV_WR_TSO, IBV_WR_DRIVER1, 1000, -1 };
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		wr.opcode = bad[i];
		ck_assert_int_eq(post(&wr), EINVAL);
	}
}
END_TEST

START_TEST(immediate_data_pass_as_they_are)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_RDMA_WRITE_WITH_IMM);

	wr.imm_data = htobe32(0x01020304);
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->opcode, PVHCA_WQE_WRITE_IMM);
	ck_assert_uint_eq(sq_entry(0)->imm_data, htobe32(0x01020304));
	wr.opcode = IBV_WR_SEND_WITH_IMM;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(1)->opcode, PVHCA_WQE_SEND_IMM);
	ck_assert_uint_eq(sq_entry(1)->imm_data, htobe32(0x01020304));
	ck_assert_uint_eq(sq_entry(1)->remote_addr, 0);
}
END_TEST

START_TEST(invalidations_name_the_key)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND_WITH_INV);

	wr.invalidate_rkey = 0x8899;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->opcode, PVHCA_WQE_SEND_INV);
	ck_assert_uint_eq(le32toh(sq_entry(0)->inv_rkey), 0x8899);
	wr.opcode = IBV_WR_LOCAL_INV;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(1)->opcode, PVHCA_WQE_LOCAL_INV);
	ck_assert_uint_eq(le32toh(sq_entry(1)->inv_rkey), 0x8899);
	ck_assert_uint_eq(sq_entry(1)->num_sge, 0);
}
END_TEST

START_TEST(atomics_have_their_segment_before_the_sges)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_ATOMIC_CMP_AND_SWP);
	const struct pvhca_atomic_seg *seg = (const void *)sq_sges(0);

	wr.wr.atomic.remote_addr = 0x8000;
	wr.wr.atomic.rkey = 0x99;
	wr.wr.atomic.compare_add = 5;
	wr.wr.atomic.swap = 6;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(sq_entry(0)->opcode, PVHCA_WQE_ATOMIC_CMP_SWP);
	ck_assert_uint_eq(le64toh(sq_entry(0)->remote_addr), 0x8000);
	ck_assert_uint_eq(le32toh(sq_entry(0)->rkey), 0x99);
	ck_assert_uint_eq(le64toh(seg->compare_add), 5);
	ck_assert_uint_eq(le64toh(seg->swap), 6);
	ck_assert_uint_eq(le64toh(sq_sges(0)[1].addr), 0x1000);
}
END_TEST

START_TEST(ud_names_the_receiver)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	struct pvhca_ah ah = { .ah = 9 };

	test_qp.vqp.qp.qp_type = IBV_QPT_UD;
	ck_assert_int_eq(post(&wr), EINVAL);
	wr.wr.ud.ah = &ah.ibv_ah;
	wr.wr.ud.remote_qpn = 0x111111;
	wr.wr.ud.remote_qkey = 0x22222222;
	ck_assert_int_eq(post(&wr), 0);
	ck_assert_uint_eq(le32toh(sq_entry(0)->ah), 9);
	ck_assert_uint_eq(le32toh(sq_entry(0)->remote_qpn), 0x111111);
	ck_assert_uint_eq(le32toh(sq_entry(0)->remote_qkey), 0x22222222);
	wr.opcode = IBV_WR_RDMA_WRITE;
	ck_assert_int_eq(post(&wr), EINVAL);
}
END_TEST

START_TEST(sends_need_a_qp_that_can_send)
{
	static const struct {
		enum ibv_qp_state state;
		int err;
	} cases[] = {
		{ IBV_QPS_RESET, EINVAL }, { IBV_QPS_INIT, EINVAL }, { IBV_QPS_RTR, EINVAL },
		{ IBV_QPS_RTS, 0 },	   { IBV_QPS_SQD, 0 },	     { IBV_QPS_ERR, 0 },
	};
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		test_qp.state = cases[i].state;
		ck_assert_int_eq(post(&wr), cases[i].err);
	}
}
END_TEST

START_TEST(gone_device_gives_eio)
{
	struct ibv_send_wr wr = send_wr(IBV_WR_SEND);
	struct ibv_recv_wr rwr = {};

	test_page.alive = 0;
	ck_assert_int_eq(post(&wr), EIO);
	ck_assert_int_eq(post_recv(&rwr), EIO);
	ck_assert_uint_eq(queues.header.sq_pi, 0);
	ck_assert_uint_eq(queues.header.rq_pi, 0);
	ck_assert_uint_eq(test_page.summary, 0);
}
END_TEST

START_TEST(receive_fills_entry_with_its_place)
{
	struct ibv_recv_wr wr = { .wr_id = 5, .sg_list = sges, .num_sge = 2 };
	const struct pvhca_rq_wqe *wqe = (const void *)(queues.rq + STRIDE);
	const struct pvhca_sge *sge = (const void *)(queues.rq + STRIDE + PVHCA_RQ_WQE_DATA);

	memset(queues.rq, 0xff, sizeof(queues.rq));
	test_page.need_kick = htole64(~0ULL);
	test_qp.rq.pi = test_qp.rq.ci = ENTRIES + 1;
	ck_assert_int_eq(post_recv(&wr), 0);
	ck_assert_uint_eq(le16toh(wqe->num_sge), 2);
	ck_assert_uint_eq(le16toh(wqe->tag), 1);
	ck_assert_uint_eq(wqe->reserved0, 0);
	ck_assert_uint_eq(wqe->reserved1, 0);
	ck_assert_uint_eq(le64toh(sge[1].addr), 0x2000);
	ck_assert_uint_eq(rq_wrid[1], 5);
	ck_assert_uint_eq(le32toh(queues.header.rq_pi), ENTRIES + 2);
	ck_assert_uint_eq(le64toh(test_page.pending[2]), 1 << 2);
	ck_assert_uint_eq(rings, 1);
}
END_TEST

START_TEST(receives_are_bounded_as_sends_are)
{
	struct ibv_recv_wr wr = { .sg_list = sges, .num_sge = 1 };
	int i;

	wr.num_sge = MAX_SGE + 1;
	ck_assert_int_eq(post_recv(&wr), EINVAL);
	wr.num_sge = -1;
	ck_assert_int_eq(post_recv(&wr), EINVAL);
	wr.num_sge = 0;
	for (i = 0; i < ENTRIES; i++)
		ck_assert_int_eq(post_recv(&wr), 0);
	ck_assert_int_eq(post_recv(&wr), ENOMEM);
}
END_TEST

START_TEST(receives_are_refused_in_reset_alone)
{
	struct ibv_recv_wr wr = {};

	test_qp.state = IBV_QPS_RESET;
	ck_assert_int_eq(post_recv(&wr), EINVAL);
	test_qp.state = IBV_QPS_INIT;
	ck_assert_int_eq(post_recv(&wr), 0);
	test_qp.state = IBV_QPS_ERR;
	ck_assert_int_eq(post_recv(&wr), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider post");
	TCase *c = tcase_create("post");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, write_fills_entry_and_publishes_it);
	tcase_add_test(c, posting_marks_the_slot_and_its_word);
	tcase_add_test(c, marks_of_others_stay);
	tcase_add_test(c, sleeping_host_is_woken_once);
	tcase_add_test(c, need_kick_of_another_word_is_not_ours);
	tcase_add_test(c, chain_costs_one_doorbell);
	tcase_add_test(c, bad_request_in_a_chain_leaves_those_before_it_posted);
	tcase_add_test(c, nothing_posted_marks_nothing);
	tcase_add_test(c, full_queue_gives_enomem_until_a_completion);
	tcase_add_test(c, queue_is_full_at_max_wr_in_a_bigger_ring);
	tcase_add_test(c, entries_wrap_with_the_ring);
	tcase_add_test(c, indices_pass_32_bits);
	tcase_add_test(c, inline_data_are_gathered_into_the_entry);
	tcase_add_test(c, inline_data_fill_the_entry_and_no_more);
	tcase_add_test(c, what_returns_data_cannot_be_inline);
	tcase_add_test(c, too_many_sges_are_refused);
	tcase_add_test(c, no_data_is_a_message_too);
	tcase_add_test(c, flags_are_translated);
	tcase_add_test(c, flags_without_meaning_are_ignored);
	tcase_add_test(c, inline_means_nothing_without_data);
	tcase_add_test(c, longest_message_is_the_hosts_affair);
	tcase_add_test(c, empty_chain_is_posted);
	tcase_add_test(c, unknown_opcodes_are_refused);
	tcase_add_test(c, immediate_data_pass_as_they_are);
	tcase_add_test(c, invalidations_name_the_key);
	tcase_add_test(c, atomics_have_their_segment_before_the_sges);
	tcase_add_test(c, ud_names_the_receiver);
	tcase_add_test(c, sends_need_a_qp_that_can_send);
	tcase_add_test(c, gone_device_gives_eio);
	tcase_add_test(c, receive_fills_entry_with_its_place);
	tcase_add_test(c, receives_are_bounded_as_sends_are);
	tcase_add_test(c, receives_are_refused_in_reset_alone);
	suite_add_tcase(s, c);
	return run_suite(s);
}
