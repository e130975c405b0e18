// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory windows and invalidation on the loopback fabric: a has the windows, b
 * uses them.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/rig.h"

#define IOVA_A 0x7f0000001000ull
#define IOVA_B 0x7f1000002000ull
#define RUN    (4 * PVHCA_GRANULE)
#define REMOTE (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)

static struct qp *a, *b;
static struct mr *mr_a, *mr_b;
static struct mw *mw1, *mw2;

static void setup(void)
{
	rig_setup();
	a = rig_qp(rig.a);
	b = rig_qp(rig.b);
	mr_a = rig_mr(rig.a, IOVA_A, 4, RUN, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
	rig_mr_publish(mr_a);
	mr_b = rig_mr(rig.b, IOVA_B, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
	mw1 = rig_mw(rig.a, IBV_MW_TYPE_1);
	mw2 = rig_mw(rig.a, IBV_MW_TYPE_2);
	rig_connect(a, b);
}

static void teardown(void)
{
	if (mw1)
		rig_mw_free(mw1);
	if (mw2)
		rig_mw_free(mw2);
	if (a)
		rig_qp_free(a);
	rig_qp_free(b);
	rig_mr_free(mr_a);
	rig_mr_free(mr_b);
	rig_teardown();
}

static struct pvhca_bind_seg bind_seg(const struct mw *mw, uint64_t at, uint64_t len,
				      uint32_t access)
{
	return (struct pvhca_bind_seg){
		.addr = htole64(IOVA_A + at),
		.length = htole64(len),
		.mr_handle = htole32(mr_a->handle),
		.mw_handle = htole32(mw->handle),
		.rkey = htole32((mw->rkey & ~0xffu) | ((mw->rkey + 1) & 0xff)),
		.access = htole32(access),
	};
}

static void post_bind(struct pvhca_bind_seg seg)
{
	struct pvhca_sq_wqe wqe = { .opcode = PVHCA_WQE_BIND_MW, .flags = PVHCA_WQE_F_SIGNALED };

	rig_post_segment(a, wqe, &seg, sizeof(seg));
	rig_pump();
}

/* Binds and returns the new key. */
static uint32_t bind_mw(const struct mw *mw, uint64_t at, uint64_t len, uint32_t access)
{
	struct pvhca_bind_seg seg = bind_seg(mw, at, len, access);

	post_bind(seg);
	ck_assert_int_eq(rig_expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_BIND_MW);
	return le32toh(seg.rkey);
}

static void refuse_bind(struct pvhca_bind_seg seg)
{
	post_bind(seg);
	rig_expect(a->send_cq, IBV_WC_MW_BIND_ERR);
	ck_assert_int_eq(atomic_load(&a->state), IBV_QPS_ERR);
}

static void post(struct qp *qp, uint8_t opcode, uint32_t rkey, uint64_t addr, uint32_t len)
{
	struct pvhca_sge sge = { htole64(IOVA_B), htole32(len), htole32(mr_b->lkey) };
	struct pvhca_sq_wqe wqe = {
		.opcode = opcode,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
		.rkey = htole32(rkey),
		.remote_addr = htole64(addr),
	};

	if (opcode == PVHCA_WQE_SEND_INV) {
		wqe.inv_rkey = wqe.rkey;
		wqe.rkey = 0;
		wqe.remote_addr = 0;
	}
	rig_post_send(qp, wqe, &sge, NULL);
	rig_pump();
}

static void invalidate(uint32_t key)
{
	struct pvhca_sq_wqe wqe = { .opcode = PVHCA_WQE_LOCAL_INV,
				    .flags = PVHCA_WQE_F_SIGNALED,
				    .inv_rkey = htole32(key) };

	rig_post_send(a, wqe, NULL, NULL);
	rig_pump();
}

static void expect_usable(uint32_t key, uint64_t at)
{
	rig_fill(mr_b, IOVA_B, 100, 5);
	post(b, PVHCA_WQE_WRITE, key, at, 100);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
}

static void expect_unusable(uint32_t key, uint64_t at, uint32_t len)
{
	post(b, PVHCA_WQE_WRITE, key, at, len);
	rig_expect(b->send_cq, IBV_WC_REM_ACCESS_ERR);
	ck_assert(rig_had_event(a, PVHCA_EVENT_QP_ACCESS_ERR));
}

/* ---------------------------------- bind ----------------------------------- */

START_TEST(window_serves_its_part_of_the_region)
{
	struct mw *mw = _i ? mw2 : mw1;
	/* rdma-core's tests ask for LOCAL_WRITE, too. */
	uint32_t key = bind_mw(mw, 5000, 2 * RUN, REMOTE | IBV_ACCESS_LOCAL_WRITE);

	expect_usable(key, IOVA_A + 5000);
	ck_assert(rig_is_filled(mr_a, IOVA_A + 5000, 100, 5));
	post(b, PVHCA_WQE_READ, key, IOVA_A + 5000 + 2 * RUN - 10, 10);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
	expect_unusable(key, IOVA_A + 5000 + 2 * RUN - 10, 11);
}
END_TEST

START_TEST(window_begins_where_it_begins)
{
	expect_unusable(bind_mw(_i ? mw2 : mw1, 5000, RUN, REMOTE), IOVA_A + 4999, 8);
}
END_TEST

START_TEST(window_allows_what_its_bind_says)
{
	uint32_t key = bind_mw(_i ? mw2 : mw1, 0, RUN, IBV_ACCESS_REMOTE_READ);

	post(b, PVHCA_WQE_READ, key, IOVA_A, 10);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
	expect_unusable(key, IOVA_A, 8);
}
END_TEST

START_TEST(window_of_type_2_may_count_from_0)
{
	uint32_t key = bind_mw(mw2, 5000, RUN, REMOTE | IBV_ACCESS_ZERO_BASED);

	expect_usable(key, 7);
	ck_assert(rig_is_filled(mr_a, IOVA_A + 5007, 100, 5));
}
END_TEST

START_TEST(key_before_the_bind_is_worth_nothing)
{
	struct mw *mw = _i ? mw2 : mw1;

	bind_mw(mw, 0, RUN, REMOTE);
	expect_unusable(mw->rkey, IOVA_A, 8);
}
END_TEST

START_TEST(window_that_was_never_bound_is_worth_nothing)
{
	expect_unusable(_i ? mw2->rkey : mw1->rkey, IOVA_A, 8);
}
END_TEST

START_TEST(window_of_type_1_is_bound_anew)
{
	bind_mw(mw1, 0, RUN, REMOTE);
	expect_usable(bind_mw(mw1, RUN, RUN, REMOTE), IOVA_A + RUN);
	expect_unusable(le32toh(bind_seg(mw1, 0, 0, 0).rkey), IOVA_A, 8);
}
END_TEST

START_TEST(bind_of_no_bytes_ends_a_window_of_type_1)
{
	uint32_t key = bind_mw(mw1, 0, RUN, REMOTE);
	struct pvhca_bind_seg none = bind_seg(mw1, 0, 0, 0);

	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 1);
	none.mr_handle = 0;
	post_bind(none);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 0);
	expect_unusable(key, IOVA_A, 8);
}
END_TEST

static struct pvhca_bind_seg bad_bind(int i)
{
	struct mw *mw = i % 2 ? mw2 : mw1;
	struct pvhca_bind_seg seg = bind_seg(mw, 100, RUN, REMOTE);

	switch (i / 2) {
	case 0:
		seg.mr_handle = htole32(77);
		break;
	case 1:
		seg.mw_handle = htole32(77);
		break;
	case 2:
		seg.rkey = htole32(le32toh(seg.rkey) + 0x100);
		break;
	case 3:
		seg.access = htole32(IBV_ACCESS_ON_DEMAND);
		break;
	case 4:
		seg.access = htole32(1u << 31);
		break;
	case 5:
		seg.addr = htole64(IOVA_A - 1);
		break;
	case 6:
		seg.length = htole64(4 * RUN - 99);
		break;
	case 7:
		seg.length = htole64(UINT64_MAX);
		break;
	case 8:
		seg.addr = htole64(UINT64_MAX);
		break;
	case 9:
		mr_a->access &= ~IBV_ACCESS_MW_BIND;
		break;
	case 10:
		mr_a->access &= ~IBV_ACCESS_LOCAL_WRITE;
		break;
	case 11:
		mr_a->pd = &rig.b->pd;
		break;
	case 12:
		mw->pd = &rig.b->pd;
		break;
	case 13:
		seg.mr_handle = htole32(mr_b->handle);
		break;
	}
	return seg;
}
#define BAD_BINDS (2 * 14)

START_TEST(bad_bind_is_a_bind_error)
{
	refuse_bind(bad_bind(_i));
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 0);
}
END_TEST

START_TEST(type_1_may_not_count_from_0)
{
	refuse_bind(bind_seg(mw1, 0, RUN, REMOTE | IBV_ACCESS_ZERO_BASED));
}
END_TEST

START_TEST(type_2_is_not_bound_twice_nor_to_nothing)
{
	if (_i)
		bind_mw(mw2, 0, RUN, REMOTE);
	refuse_bind(bind_seg(mw2, 0, _i ? RUN : 0, REMOTE));
}
END_TEST

START_TEST(windows_are_no_local_keys)
{
	uint32_t key = bind_mw(_i ? mw2 : mw1, 0, RUN, REMOTE);
	struct pvhca_sge sge = { htole64(IOVA_A), htole32(8), htole32(key) };
	struct pvhca_sq_wqe wqe = { .opcode = PVHCA_WQE_SEND, .num_sge = htole16(1) };

	rig_post_send(a, wqe, &sge, NULL);
	rig_pump();
	rig_expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
}
END_TEST

START_TEST(type_2_serves_the_queue_pair_that_bound_it)
{
	struct qp *a2 = rig_qp(rig.a), *b2 = rig_qp(rig.b);
	uint32_t key1, key2;

	rig_connect(a2, b2);
	key1 = bind_mw(mw1, 0, RUN, REMOTE);
	key2 = bind_mw(mw2, 0, RUN, REMOTE);
	post(b2, PVHCA_WQE_WRITE, key1, IOVA_A, 8);
	rig_expect(b2->send_cq, IBV_WC_SUCCESS);
	post(b2, PVHCA_WQE_WRITE, key2, IOVA_A, 8);
	rig_expect(b2->send_cq, IBV_WC_REM_ACCESS_ERR);
	expect_usable(key2, IOVA_A);
	rig_qp_free(a2);
	rig_qp_free(b2);
}
END_TEST

/* -------------------------------- invalidate ------------------------------- */

START_TEST(local_invalidation_ends_type_2)
{
	uint32_t key = bind_mw(mw2, 0, RUN, REMOTE);

	invalidate(key);
	ck_assert_int_eq(rig_expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_LOCAL_INV);
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 0);
	/* Then it may be bound again. */
	expect_usable(bind_mw(mw2, 0, RUN, REMOTE), IOVA_A);
	invalidate(key);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	expect_unusable(key, IOVA_A, 8);
}
END_TEST

START_TEST(what_cannot_be_invalidated_is_a_bind_error)
{
	uint32_t key1 = bind_mw(mw1, 0, RUN, REMOTE);
	uint32_t key2 = bind_mw(mw2, 0, RUN, REMOTE);
	const uint32_t keys[] = { key1, key2 ^ 1, mr_a->rkey, 0, 0xffffffff, mr_b->rkey };

	invalidate(keys[_i]);
	rig_expect(a->send_cq, IBV_WC_MW_BIND_ERR);
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 2);
}
END_TEST

START_TEST(send_with_invalidation_ends_type_2_and_tells)
{
	uint32_t key = bind_mw(mw2, 0, RUN, REMOTE);
	struct pvhca_cqe cqe;

	rig_post_recv(a, &(struct pvhca_sge){ htole64(IOVA_A), htole32(100), htole32(mr_a->lkey) },
		      1);
	post(b, PVHCA_WQE_SEND_INV, key, 0, 50);
	ck_assert_int_eq(rig_expect(b->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_SEND);
	cqe = rig_expect(a->recv_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.flags, PVHCA_CQE_F_INV);
	ck_assert_uint_eq(le32toh(cqe.inv_rkey), key);
	ck_assert_uint_eq(le32toh(cqe.byte_len), 50);
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 0);
	expect_unusable(key, IOVA_A, 8);
}
END_TEST

START_TEST(send_with_a_key_that_cannot_go_fails_both_sides)
{
	uint32_t key = bind_mw(mw1, 0, RUN, REMOTE);

	rig_post_recv(a, &(struct pvhca_sge){ htole64(IOVA_A), htole32(100), htole32(mr_a->lkey) },
		      1);
	post(b, PVHCA_WQE_SEND_INV, _i ? key : 1234, 0, 50);
	rig_expect(b->send_cq, IBV_WC_REM_ACCESS_ERR);
	rig_expect(a->recv_cq, IBV_WC_WR_FLUSH_ERR);
	ck_assert(rig_had_event(a, PVHCA_EVENT_QP_ACCESS_ERR));
	ck_assert_int_eq(atomic_load(&a->state), IBV_QPS_ERR);
}
END_TEST

/* ----------------------------------- life ---------------------------------- */

START_TEST(region_with_windows_is_busy)
{
	struct mr next = *mr_a;

	bind_mw(mw1, 0, RUN, REMOTE);
	ck_assert_int_eq(fabric_loopback.mr_hide(mr_a), PVHCA_ST_BUSY);
	ck_assert_int_eq(rig_rereg(mr_a, IBV_REREG_MR_CHANGE_ACCESS, &next), PVHCA_ST_BUSY);
	rig_mw_free(mw1);
	mw1 = NULL;
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 0);
}
END_TEST

START_TEST(region_that_was_bound_while_it_was_hidden_is_as_before)
{
	struct loopback_vm *ls = rig.a->vm.fabric_vm;
	struct loopback_table *mrs = &ls->fabric->mrs;
	struct mr next = *mr_a;

	ck_assert_int_eq(fabric_loopback.mr_hide(mr_a), 0);
	ck_assert_ptr_null(loopback_table_find(mrs, mr_a->lkey >> 8));
	bind_mw(mw1, 0, RUN, REMOTE);
	next.length--;
	ck_assert_int_eq(_i ? fabric_loopback.mr_rereg(mr_a, IBV_REREG_MR_CHANGE_ACCESS, &next) :
			      fabric_loopback.mr_dereg(mr_a),
			 PVHCA_ST_BUSY);
	ck_assert_uint_ne(mr_a->length, next.length);
	ck_assert_ptr_eq(loopback_table_find(mrs, mr_a->lkey >> 8), mr_a);
	rig_mw_free(mw1);
	mw1 = NULL;
}
END_TEST

START_TEST(window_that_was_freed_is_gone)
{
	uint32_t key = bind_mw(_i ? mw2 : mw1, 0, RUN, REMOTE);

	if (_i) {
		rig_mw_free(mw2);
		mw2 = NULL;
	} else {
		rig_mw_free(mw1);
		mw1 = NULL;
	}
	expect_unusable(key, IOVA_A, 8);
}
END_TEST

START_TEST(type_2_ends_with_its_queue_pair)
{
	uint32_t key1 = bind_mw(mw1, 0, RUN, REMOTE);

	bind_mw(mw2, 0, RUN, REMOTE);
	rig_qp_free(a);
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 1);
	a = rig_qp(rig.a);
	ck_assert_int_eq(rig_modify(b, IBV_QP_STATE, (struct qp_attr){ .qp_state = IBV_QPS_RESET }),
			 0);
	rig_connect(a, b);
	expect_usable(key1, IOVA_A);
	expect_usable(bind_mw(mw2, 0, RUN, REMOTE), IOVA_A);
}
END_TEST

START_TEST(unreliable_connections_bind_and_fail_alone)
{
	struct qp *ua = rig_qp_of(rig.a, PVHCA_QPT_UC, NULL);
	struct qp *ub = rig_qp_of(rig.b, PVHCA_QPT_UC, NULL);
	struct qp *rc = a;
	uint32_t key;

	rig_connect(ua, ub);
	a = ua;
	key = bind_mw(mw2, 0, RUN, REMOTE);
	rig_fill(mr_b, IOVA_B, 9, 5);
	post(ub, PVHCA_WQE_WRITE, key, IOVA_A, 9);
	rig_expect(ub->send_cq, IBV_WC_SUCCESS);
	ck_assert(rig_is_filled(mr_a, IOVA_A, 9, 5));
	invalidate(0);
	rig_expect(a->send_cq, IBV_WC_MW_BIND_ERR);
	ck_assert_int_eq(atomic_load(&a->state), IBV_QPS_SQE);
	a = rc;
	rig_qp_free(ua);
	rig_qp_free(ub);
	ck_assert_uint_eq(*loopback_mr_windows(mr_a), 0);
}
END_TEST

START_TEST(types_that_are_none_are_refused)
{
	struct mw mw = { .vm = &rig.a->vm, .pd = &rig.a->pd, .type = 3 };

	ck_assert_int_eq(fabric_loopback.mw_alloc(&mw), PVHCA_ST_INVALID);
}
END_TEST

static void add_binds(Suite *suite)
{
	TCase *tcase = tcase_create("bind");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, window_serves_its_part_of_the_region, 0, 2);
	tcase_add_loop_test(tcase, window_begins_where_it_begins, 0, 2);
	tcase_add_loop_test(tcase, window_allows_what_its_bind_says, 0, 2);
	tcase_add_test(tcase, window_of_type_2_may_count_from_0);
	tcase_add_loop_test(tcase, key_before_the_bind_is_worth_nothing, 0, 2);
	tcase_add_loop_test(tcase, window_that_was_never_bound_is_worth_nothing, 0, 2);
	tcase_add_test(tcase, window_of_type_1_is_bound_anew);
	tcase_add_test(tcase, bind_of_no_bytes_ends_a_window_of_type_1);
	tcase_add_loop_test(tcase, bad_bind_is_a_bind_error, 0, BAD_BINDS);
	tcase_add_test(tcase, type_1_may_not_count_from_0);
	tcase_add_loop_test(tcase, type_2_is_not_bound_twice_nor_to_nothing, 0, 2);
	tcase_add_loop_test(tcase, windows_are_no_local_keys, 0, 2);
	tcase_add_test(tcase, type_2_serves_the_queue_pair_that_bound_it);
	suite_add_tcase(suite, tcase);
}

static void add_ends(Suite *suite)
{
	TCase *tcase = tcase_create("invalidation, life");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, local_invalidation_ends_type_2);
	tcase_add_loop_test(tcase, what_cannot_be_invalidated_is_a_bind_error, 0, 6);
	tcase_add_test(tcase, send_with_invalidation_ends_type_2_and_tells);
	tcase_add_loop_test(tcase, send_with_a_key_that_cannot_go_fails_both_sides, 0, 2);
	tcase_add_test(tcase, region_with_windows_is_busy);
	tcase_add_test(tcase, region_that_was_bound_while_it_was_hidden_is_as_before);
	tcase_add_loop_test(tcase, window_that_was_freed_is_gone, 0, 2);
	tcase_add_test(tcase, type_2_ends_with_its_queue_pair);
	tcase_add_test(tcase, unreliable_connections_bind_and_fail_alone);
	tcase_add_test(tcase, types_that_are_none_are_refused);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("loopback_mw");
	SRunner *runner;
	int failed;

	add_binds(suite);
	add_ends(suite);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
