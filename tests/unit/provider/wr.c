// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting by ibv_wr_*() gives the entries that posting by ibv_post_send() gives.
 */
#include "fixture.h"
#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/wr.c"

#define ALL_OPS ((1ULL << 10) - 1)
#define RKEY	0xabcd
#define REMOTE	0x123456789abcdef0

static struct ibv_qp_ex *ex;
static struct pvhca_ah ah = { .ah = 0x77 };
static struct pvhca_mr mr = { .handle = 0x55, .bindable = true };
static struct pvhca_mw mw = { .ibv_mw = { .type = IBV_MW_TYPE_2 }, .handle = 0x66 };
static struct ibv_mw_bind_info bind_info = {
	.mr = &mr.vmr.ibv_mr,
	.addr = 0x7000,
	.length = 0x100,
	.mw_access_flags = IBV_ACCESS_REMOTE_READ,
};
static char text[] = "gathered";
static struct ibv_sge sges[MAX_SGE + 1] = {
	{ .addr = 0x1000, .length = 10, .lkey = 0x11 },
	{ .addr = 0x2000, .length = 20, .lkey = 0x22 },
};

static void setup_wr(void)
{
	setup();
	ex = &test_qp.vqp.qp_ex;
	pvhca_set_wr_ops(&test_qp, ALL_OPS);
	memset(queues.sq, 0xff, sizeof(queues.sq));
}

/* Two SGEs, or, inline, the text in two pieces. */
static void set_data(bool inl)
{
	struct ibv_data_buf bufs[] = { { text, 6 }, { text + 6, 2 } };

	if (inl)
		ibv_wr_set_inline_data_list(ex, 2, bufs);
	else
		ibv_wr_set_sge_list(ex, 2, sges);
}

static void begin_op(enum ibv_wr_opcode opcode)
{
	switch (opcode) {
	case IBV_WR_SEND:
		ibv_wr_send(ex);
		break;
	case IBV_WR_SEND_WITH_IMM:
		ibv_wr_send_imm(ex, htobe32(9));
		break;
	case IBV_WR_SEND_WITH_INV:
		ibv_wr_send_inv(ex, 0x99);
		break;
	case IBV_WR_RDMA_WRITE:
		ibv_wr_rdma_write(ex, RKEY, REMOTE);
		break;
	case IBV_WR_RDMA_WRITE_WITH_IMM:
		ibv_wr_rdma_write_imm(ex, RKEY, REMOTE, htobe32(9));
		break;
	case IBV_WR_RDMA_READ:
		ibv_wr_rdma_read(ex, RKEY, REMOTE);
		break;
	case IBV_WR_ATOMIC_CMP_AND_SWP:
		ibv_wr_atomic_cmp_swp(ex, RKEY, REMOTE, 3, 4);
		break;
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		ibv_wr_atomic_fetch_add(ex, RKEY, REMOTE, 3);
		break;
	case IBV_WR_LOCAL_INV:
		ibv_wr_local_inv(ex, 0x99);
		break;
	case IBV_WR_BIND_MW:
		ibv_wr_bind_mw(ex, &mw.ibv_mw, 0x88, &bind_info);
		break;
	default:
		ck_abort();
	}
}

/* The same request for ibv_post_send(). */
static struct ibv_send_wr as_wr(enum ibv_wr_opcode opcode)
{
	struct ibv_send_wr wr = { .wr_id = 5, .opcode = opcode };

	if (opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
		wr.imm_data = htobe32(9);
	if (opcode == IBV_WR_SEND_WITH_INV || opcode == IBV_WR_LOCAL_INV)
		wr.invalidate_rkey = 0x99;
	if (opcode == IBV_WR_ATOMIC_CMP_AND_SWP || opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		wr.wr.atomic.remote_addr = REMOTE;
		wr.wr.atomic.rkey = RKEY;
		wr.wr.atomic.compare_add = 3;
		wr.wr.atomic.swap = 4;
	} else {
		wr.wr.rdma.remote_addr = REMOTE;
		wr.wr.rdma.rkey = RKEY;
	}
	if (opcode == IBV_WR_BIND_MW) {
		wr.bind_mw.mw = &mw.ibv_mw;
		wr.bind_mw.rkey = 0x88;
		wr.bind_mw.bind_info = bind_info;
	}
	return wr;
}

/* Posts one request both ways and compares what is in the rings. */
static void compare(enum ibv_wr_opcode opcode, unsigned int flags, bool inl)
{
	bool data = !(pvhca_send_ops[opcode].uses & PVHCA_NO_DATA);
	struct ibv_sge inline_sges[] = {
		{ .addr = (uintptr_t)text, .length = 6 },
		{ .addr = (uintptr_t)text + 6, .length = 2 },
	};
	struct ibv_send_wr wr = as_wr(opcode), *bad;
	uint32_t first = test_qp.sq.pi;

	wr.send_flags = flags | (inl ? IBV_SEND_INLINE : 0);
	wr.sg_list = inl ? inline_sges : sges;
	wr.num_sge = data ? 2 : 0;
	ck_assert_int_eq(pvhca_post_send(&test_qp.vqp.qp, &wr, &bad), 0);

	ibv_wr_start(ex);
	ex->wr_id = 5;
	ex->wr_flags = flags;
	begin_op(opcode);
	if (data)
		set_data(inl);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);

	ck_assert_uint_eq(le32toh(queues.header.sq_pi), first + 2);
	ck_assert_mem_eq(queues.sq + first % ENTRIES * STRIDE,
			 queues.sq + (first + 1) % ENTRIES * STRIDE, STRIDE);
	ck_assert_uint_eq(sq_wrid[(first + 1) % ENTRIES], 5);
	test_qp.sq.ci = test_qp.sq.pi;
}

START_TEST(entries_are_those_of_post_send)
{
	static const unsigned int flags[] = {
		0,
		IBV_SEND_SIGNALED,
		IBV_SEND_SOLICITED | IBV_SEND_FENCE,
	};
	unsigned int i;

	if (!pvhca_send_ops[_i].on)
		return;
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		compare(_i, flags[i], false);
		if (pvhca_send_ops[_i].uses & PVHCA_MAY_INLINE)
			compare(_i, flags[i], true);
	}
	test_qp.sq_sig_all = true;
	compare(_i, 0, false);
}
END_TEST

START_TEST(datagrams_are_those_of_post_send)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND, .sg_list = sges, .num_sge = 1 }, *bad;

	test_qp.vqp.qp.qp_type = IBV_QPT_UD;
	pvhca_set_wr_ops(&test_qp, IBV_QP_EX_WITH_SEND);
	wr.wr.ud.ah = &ah.ibv_ah;
	wr.wr.ud.remote_qpn = 0x1234;
	wr.wr.ud.remote_qkey = 0x11111111;
	ck_assert_int_eq(pvhca_post_send(&test_qp.vqp.qp, &wr, &bad), 0);

	ibv_wr_start(ex);
	ex->wr_flags = 0;
	ibv_wr_send(ex);
	ibv_wr_set_ud_addr(ex, &ah.ibv_ah, 0x1234, 0x11111111);
	ibv_wr_set_sge(ex, 0x11, 0x1000, 10);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	ck_assert_mem_eq(queues.sq, queues.sq + STRIDE, STRIDE);
	ck_assert_uint_eq(((struct pvhca_sq_wqe *)queues.sq)->ah, htole32(0x77));
}
END_TEST

START_TEST(batch_is_published_at_its_end)
{
	test_page.need_kick = htole64(~0ULL);
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_set_sge_list(ex, 2, sges);
	ibv_wr_send(ex);
	ibv_wr_set_inline_data(ex, text, 3);
	ibv_wr_send(ex);
	ck_assert_uint_eq(queues.header.sq_pi, 0);
	ck_assert_uint_eq(test_page.summary, 0);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 3);
	ck_assert_uint_eq(rings, 1);
}
END_TEST

START_TEST(batch_may_be_given_up)
{
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_abort(ex);
	ck_assert_uint_eq(queues.header.sq_pi, 0);
	ck_assert_uint_eq(test_qp.sq.pi, 0);

	ibv_wr_start(ex);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	ck_assert_uint_eq(test_page.summary, 0);
}
END_TEST

START_TEST(start_locks_the_queue)
{
	ibv_wr_start(ex);
	ck_assert_int_eq(pthread_spin_trylock(&test_qp.sq.lock.spin), EBUSY);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	ck_assert_int_eq(pthread_spin_trylock(&test_qp.sq.lock.spin), 0);
	pthread_spin_unlock(&test_qp.sq.lock.spin);
}
END_TEST

START_TEST(full_queue_fails_the_whole_batch)
{
	int i;

	ibv_wr_start(ex);
	for (i = 0; i <= ENTRIES; i++) {
		ibv_wr_send(ex);
		ibv_wr_set_sge(ex, 1, 2, 3);
	}
	ck_assert_int_eq(ibv_wr_complete(ex), ENOMEM);
	ck_assert_uint_eq(queues.header.sq_pi, 0);

	ibv_wr_start(ex);
	for (i = 0; i < ENTRIES; i++)
		ibv_wr_send(ex);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
}
END_TEST

static int complete_with_sges(enum ibv_wr_opcode opcode, size_t num)
{
	ibv_wr_start(ex);
	begin_op(opcode);
	ibv_wr_set_sge_list(ex, num, sges);
	begin_op(IBV_WR_SEND); /* does not hide what went wrong before */
	return ibv_wr_complete(ex);
}

START_TEST(too_much_data_is_refused)
{
	static char big[MAX_INLINE + 1];

	ck_assert_int_eq(complete_with_sges(IBV_WR_SEND, MAX_SGE), 0);
	test_qp.sq.ci = test_qp.sq.pi;
	ck_assert_int_eq(complete_with_sges(IBV_WR_SEND, MAX_SGE + 1), EINVAL);
	ck_assert_int_eq(complete_with_sges(IBV_WR_SEND, SIZE_MAX), EINVAL);
	ck_assert_int_eq(complete_with_sges(IBV_WR_LOCAL_INV, 1), EINVAL);
	ck_assert_int_eq(complete_with_sges(IBV_WR_BIND_MW, 1), EINVAL);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 2);

	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_set_inline_data(ex, big, sizeof(big));
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_set_inline_data(ex, big, SIZE_MAX);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
	ibv_wr_start(ex);
	ibv_wr_rdma_read(ex, RKEY, REMOTE);
	ibv_wr_set_inline_data(ex, big, 1);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
}
END_TEST

START_TEST(atomics_keep_their_segment_in_the_smallest_entry)
{
	test_qp.sq.log_stride = PVHCA_SQ_MIN_LOG_STRIDE;
	ck_assert_int_eq(complete_with_sges(IBV_WR_ATOMIC_FETCH_AND_ADD, 1), 0);
	ck_assert_int_eq(complete_with_sges(IBV_WR_ATOMIC_FETCH_AND_ADD, 2), EINVAL);
}
END_TEST

START_TEST(windows_of_type_1_and_strange_regions_are_not_bound)
{
	struct ibv_mw_bind_info info = bind_info;
	struct pvhca_mr no_handle = {};

	mw.ibv_mw.type = IBV_MW_TYPE_1;
	ibv_wr_start(ex);
	begin_op(IBV_WR_BIND_MW);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
	mw.ibv_mw.type = IBV_MW_TYPE_2;

	info.mr = &no_handle.vmr.ibv_mr;
	ibv_wr_start(ex);
	ibv_wr_bind_mw(ex, &mw.ibv_mw, 1, &info);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);

	info.mr = NULL;
	ibv_wr_start(ex);
	ibv_wr_bind_mw(ex, &mw.ibv_mw, 1, &info);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
	info.addr = info.length = 0;
	ibv_wr_start(ex);
	ibv_wr_bind_mw(ex, &mw.ibv_mw, 1, &info);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
}
END_TEST

START_TEST(qp_that_cannot_send_says_so_at_the_end)
{
	test_qp.state = IBV_QPS_RTR;
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_set_sge(ex, 1, 2, 3);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
	test_qp.state = IBV_QPS_RTS;
	test_page.alive = 0;
	ibv_wr_start(ex);
	ck_assert_int_eq(ibv_wr_complete(ex), EIO);
}
END_TEST

START_TEST(batch_without_requests_is_posted_in_any_state)
{
	enum ibv_qp_state states[] = { IBV_QPS_RESET, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QPS_ERR };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		test_qp.state = states[i];
		ibv_wr_start(ex);
		ck_assert_int_eq(ibv_wr_complete(ex), 0);
	}
	ck_assert_uint_eq(queues.header.sq_pi, 0);
	ck_assert_uint_eq(test_page.summary, 0);
}
END_TEST

START_TEST(operations_are_those_of_the_type)
{
	struct ibv_qp_ex *fresh;
	struct pvhca_qp ud = {};

	test_ctx.send_ops = UINT64_MAX;
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RC, ALL_OPS), 0);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RC, ALL_OPS + 1), EOPNOTSUPP);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_UC, IBV_QP_EX_WITH_RDMA_WRITE), 0);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_UC, IBV_QP_EX_WITH_RDMA_READ),
			 EOPNOTSUPP);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_UD, IBV_QP_EX_WITH_SEND_WITH_IMM),
			 0);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_UD, IBV_QP_EX_WITH_RDMA_WRITE),
			 EOPNOTSUPP);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RAW_PACKET, IBV_QP_EX_WITH_SEND),
			 EOPNOTSUPP);

	fresh = &ud.vqp.qp_ex;
	fresh->qp_base.qp_type = IBV_QPT_UD;
	pvhca_set_wr_ops(&ud, IBV_QP_EX_WITH_SEND);
	ck_assert_ptr_nonnull(fresh->wr_send);
	ck_assert_ptr_nonnull(fresh->wr_set_ud_addr);
	ck_assert_ptr_null(fresh->wr_send_imm);
	ck_assert_ptr_null(fresh->wr_rdma_write);
}
END_TEST

START_TEST(operations_are_those_of_the_device)
{
	struct ibv_device_attr attr = {};

	test_ctx.send_ops = pvhca_device_send_ops(&attr);
	ck_assert_int_eq(pvhca_check_send_ops(
				 &test_ctx, IBV_QPT_RC,
				 ALL_OPS & ~(ATOMIC_OPS | INVALIDATE_OPS | IBV_QP_EX_WITH_BIND_MW)),
			 0);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RC,
					      IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP),
			 EOPNOTSUPP);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RC, IBV_QP_EX_WITH_BIND_MW),
			 EOPNOTSUPP);
	attr.device_cap_flags = IBV_DEVICE_MEM_MGT_EXTENSIONS;
	test_ctx.send_ops = pvhca_device_send_ops(&attr);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RC, INVALIDATE_OPS), 0);
	attr.device_cap_flags = IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	attr.atomic_cap = IBV_ATOMIC_HCA;
	test_ctx.send_ops = pvhca_device_send_ops(&attr);
	ck_assert_int_eq(pvhca_check_send_ops(&test_ctx, IBV_QPT_RC, ALL_OPS), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider wr");
	TCase *c = tcase_create("wr");

	tcase_add_checked_fixture(c, setup_wr, NULL);
	tcase_add_loop_test(c, entries_are_those_of_post_send, 0, PVHCA_SEND_OPS);
	tcase_add_test(c, datagrams_are_those_of_post_send);
	tcase_add_test(c, batch_is_published_at_its_end);
	tcase_add_test(c, batch_may_be_given_up);
	tcase_add_test(c, start_locks_the_queue);
	tcase_add_test(c, full_queue_fails_the_whole_batch);
	tcase_add_test(c, too_much_data_is_refused);
	tcase_add_test(c, atomics_keep_their_segment_in_the_smallest_entry);
	tcase_add_test(c, windows_of_type_1_and_strange_regions_are_not_bound);
	tcase_add_test(c, qp_that_cannot_send_says_so_at_the_end);
	tcase_add_test(c, batch_without_requests_is_posted_in_any_state);
	tcase_add_test(c, operations_are_those_of_the_type);
	tcase_add_test(c, operations_are_those_of_the_device);
	suite_add_tcase(s, c);
	return run_suite(s);
}
