// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include "kernel.h"
#include "../../../providers/pvhca/buf.c"
#include "../../../providers/pvhca/qp_table.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/cq_ex.c"
#include "../../../providers/pvhca/pd.c"
#include "../../../providers/pvhca/cq.c"

static struct pvhca_cq *c; /* of 4 entries */
static uint32_t host_pi;

/* The host's part of a completion; the phase is that of its lap. */
static void complete(uint16_t place)
{
	uint32_t size = 1u << c->log_entries;
	struct pvhca_cqe *cqe = &c->entries[host_pi % size];

	memset(cqe, 0, sizeof(*cqe));
	cqe->qpn = htole32(QPN);
	cqe->wqe_index = htole16(place);
	cqe->flags = host_pi / size % 2 ? 0 : PVHCA_CQE_F_PHASE;
	host_pi++;
}

static struct pvhca_cq *create(int cqe)
{
	struct ibv_cq *ibcq = pvhca_create_cq(&test_ctx.vctx.context, cqe, NULL, 0);

	ck_assert_ptr_nonnull(ibcq);
	return to_pvhca_cq(ibcq);
}

static void setup_cq(void)
{
	int i;

	setup_kernel();
	host_pi = 0;
	for (i = 0; i < ENTRIES; i++)
		sq_wrid[i] = 100 + i;
	ck_assert_int_eq(pvhca_qp_table_insert(&test_ctx.qp_table, QPN, &test_qp), 0);
	c = create(4);
}

static void teardown_cq(void)
{
	ck_assert_int_eq(pvhca_destroy_cq(&c->vcq.cq), 0);
	teardown_kernel();
}

/*
 * The host's part of a resize: what was not polled goes to the new ring, with the
 * counts.
 */
static void move_entries(const struct pvhca_create_cq_req *req)
{
	struct pvhca_cq_header *header = (void *)(uintptr_t)req->buf_addr;
	struct pvhca_cqe *to = (void *)(uintptr_t)(req->buf_addr + PVHCA_CQ_HEADER_SIZE);
	uint32_t ci = le32toh(c->header->ci);
	uint32_t size = 1u << c->log_entries;

	if (host_pi - ci > 1u << req->log_entries) {
		kernel.err = EINVAL;
		return;
	}
	header->arm_any = c->header->arm_any;
	header->arm_solicited = c->header->arm_solicited;
	for (; ci != host_pi; ci++, to++) {
		*to = c->entries[ci % size];
		to->flags |= PVHCA_CQE_F_PHASE;
	}
	host_pi -= le32toh(c->header->ci);
	memset(c->buf.addr, 0x55, c->buf.len); /* nobody may look here again */
}

static int resize(int cqe)
{
	kernel.on_resize = move_entries;
	return pvhca_resize_cq(&c->vcq.cq, cqe);
}

static void expect(int num, uint64_t first)
{
	struct ibv_wc wc[8];
	int i;

	ck_assert_int_eq(pvhca_poll_cq(&c->vcq.cq, 8, wc), num);
	for (i = 0; i < num; i++)
		ck_assert_uint_eq(wc[i].wr_id, first + i);
}

/* Four entries over the end of the ring, the first of which was polled. */
static void fill_over_the_end(void)
{
	struct ibv_wc wc[4];

	complete(0);
	complete(1);
	ck_assert_int_eq(pvhca_poll_cq(&c->vcq.cq, 2, wc), 2);
	complete(0);
	complete(1);
	complete(2);
	complete(3);
	ck_assert_int_eq(pvhca_poll_cq(&c->vcq.cq, 1, wc), 1);
}

START_TEST(larger_ring_goes_on_with_what_was_not_polled)
{
	fill_over_the_end();
	ck_assert_int_eq(resize(8), 0);
	ck_assert_uint_eq(c->log_entries, 3);
	ck_assert_int_eq(c->vcq.cq.cqe, 8);
	ck_assert_uint_eq(kernel.cq_req.buf_addr % PVHCA_GRANULE, 0);
	ck_assert_uint_eq(kernel.cq_req.flags | kernel.cq_req.comp_mask, 0);
	expect(3, 101);
	complete(0);
	complete(1);
	expect(2, 100);
	ck_assert_uint_eq(le32toh(c->header->ci), 5);
}
END_TEST

START_TEST(smaller_ring_too)
{
	struct ibv_wc wc;

	fill_over_the_end();
	ck_assert_int_eq(pvhca_poll_cq(&c->vcq.cq, 1, &wc), 1);
	ck_assert_int_eq(resize(2), 0);
	ck_assert_uint_eq(c->log_entries, 1);
	expect(2, 102);
	complete(0);
	expect(1, 100);
}
END_TEST

START_TEST(too_small_a_ring_changes_nothing)
{
	fill_over_the_end();
	ck_assert_int_eq(resize(2), EINVAL);
	kernel.err = 0;
	ck_assert_uint_eq(c->log_entries, 2);
	expect(3, 101);
	ck_assert_int_eq(pvhca_resize_cq(&c->vcq.cq, 0), EINVAL);
	ck_assert_int_eq(pvhca_resize_cq(&c->vcq.cq, -1), EINVAL);
	ck_assert_int_eq(pvhca_resize_cq(&c->vcq.cq, (1 << 20) + 1), EINVAL);
}
END_TEST

START_TEST(requests_for_events_survive)
{
	ck_assert_int_eq(pvhca_req_notify_cq(&c->vcq.cq, 0), 0);
	ck_assert_int_eq(resize(16), 0);
	ck_assert_int_eq(pvhca_req_notify_cq(&c->vcq.cq, 0), 0);
	ck_assert_int_eq(pvhca_req_notify_cq(&c->vcq.cq, 1), 0);
	ck_assert_uint_eq(le32toh(c->header->arm_any), 2);
	ck_assert_uint_eq(le32toh(c->header->arm_solicited), 1);
}
END_TEST

/* ------------------- others who use the CQ during a resize ---------------- */

static int other_done;

static void *poll_meanwhile(void *arg)
{
	struct ibv_wc wc;

	(void)arg;
	ck_assert_int_eq(pvhca_poll_cq(&c->vcq.cq, 1, &wc), 1);
	ck_assert_uint_eq(wc.wr_id, 101);
	__atomic_store_n(&other_done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *clean_meanwhile(void *arg)
{
	(void)arg;
	pvhca_lock_cqs(c, &test_cq);
	pvhca_cq_clean(c, &test_qp);
	pvhca_unlock_cqs(c, &test_cq);
	__atomic_store_n(&other_done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *(*other)(void *);
static pthread_t other_thread;

static void start_other(const struct pvhca_create_cq_req *req)
{
	pthread_create(&other_thread, NULL, other, NULL);
	usleep(50000);
	ck_assert_int_eq(__atomic_load_n(&other_done, __ATOMIC_ACQUIRE), 0);
	ck_assert_int_eq(pthread_spin_trylock(&c->lock.spin), 0);
	pthread_spin_unlock(&c->lock.spin);
	move_entries(req);
}

START_TEST(who_needs_the_ring_waits_without_spinning)
{
	static void *(*const others[])(void *) = { poll_meanwhile, clean_meanwhile };

	other = others[_i];
	other_done = 0;
	fill_over_the_end();
	kernel.on_resize = start_other;
	ck_assert_int_eq(pvhca_resize_cq(&c->vcq.cq, 8), 0);
	pthread_join(other_thread, NULL);
	ck_assert_int_eq(other_done, 1);
	if (_i)
		expect(0, 0);
	else
		expect(2, 102);
}
END_TEST

/* ------------------------------- extended CQs ----------------------------- */

static struct ibv_cq_init_attr_ex attr;

static void setup_ex(void)
{
	setup_cq();
	attr = (struct ibv_cq_init_attr_ex){
		.cqe = 10,
		.wc_flags = IBV_WC_STANDARD_FLAGS,
	};
}

static void refused_ex(int err)
{
	int created = kernel.created - kernel.destroyed;

	errno = 0;
	ck_assert_ptr_null(pvhca_create_cq_ex(&test_ctx.vctx.context, &attr));
	ck_assert_int_eq(errno, err);
	ck_assert_int_eq(kernel.created - kernel.destroyed, created);
}

static struct pvhca_cq *create_ex(void)
{
	struct ibv_cq_ex *ibcq = pvhca_create_cq_ex(&test_ctx.vctx.context, &attr);

	ck_assert_ptr_nonnull(ibcq);
	return to_pvhca_cq_ex(ibcq);
}

START_TEST(fields_are_given_that_can_be)
{
	static const uint64_t no[] = {
		IBV_WC_EX_WITH_CVLAN,
		IBV_WC_EX_WITH_FLOW_TAG,
		IBV_WC_EX_WITH_TM_INFO,
		IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK,
		1ULL << 40,
	};
	struct pvhca_cq *x = create_ex();
	unsigned int i;

	ck_assert_uint_eq(kernel.cq_req.log_entries, 4);
	ck_assert_uint_eq(kernel.cq_req.flags, 0);
	ck_assert_ptr_nonnull(x->vcq.cq_ex.start_poll);
	ck_assert_int_eq(pvhca_destroy_cq(&x->vcq.cq), 0);
	for (i = 0; i < ARRAY_SIZE(no); i++) {
		attr.wc_flags = no[i];
		refused_ex(EOPNOTSUPP);
	}
}
END_TEST

START_TEST(timestamps_need_a_host_that_has_them)
{
	struct pvhca_cq *x;

	attr.wc_flags = IBV_WC_EX_WITH_COMPLETION_TIMESTAMP;
	refused_ex(EOPNOTSUPP);
	test_ctx.timestamps = true;
	x = create_ex();
	ck_assert_uint_eq(kernel.cq_req.flags, PVHCA_CREATE_CQ_TIMESTAMPS);
	ck_assert_ptr_nonnull(x->vcq.cq_ex.read_completion_ts);
	ck_assert_int_eq(pvhca_destroy_cq(&x->vcq.cq), 0);
}
END_TEST

START_TEST(single_threaded_cqs_have_no_lock)
{
	struct pvhca_cq *x;

	attr.flags = IBV_CREATE_CQ_ATTR_SINGLE_THREADED;
	x = create_ex(); /* flags are not named by comp_mask */
	ck_assert(!x->lock.one_thread);
	ck_assert_int_eq(pvhca_destroy_cq(&x->vcq.cq), 0);
	attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_FLAGS;
	x = create_ex();
	ck_assert(x->lock.one_thread);
	ck_assert_int_eq(pvhca_destroy_cq(&x->vcq.cq), 0);
	attr.flags = IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN;
	refused_ex(EOPNOTSUPP);
}
END_TEST

START_TEST(bad_extended_cqs_are_refused)
{
	attr.comp_mask = 1 << 7;
	refused_ex(EOPNOTSUPP);
	attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_PD;
	refused_ex(EINVAL);
	attr.parent_domain = &test_pd.ibv_pd; /* not a parent domain */
	refused_ex(EINVAL);
	attr.comp_mask = 0;
	attr.cqe = 0;
	refused_ex(EINVAL);
	attr.cqe = (1 << 20) + 1;
	refused_ex(EINVAL);
	attr.cqe = UINT32_MAX;
	refused_ex(EINVAL);
	attr.cqe = 1;
	kernel.err = ENOSPC;
	refused_ex(ENOSPC);
	kernel.err = 0;
	kernel.doorbell = sizeof(doorbells);
	refused_ex(EPROTO);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider cq");
	TCase *resizing = tcase_create("resize");
	TCase *extended = tcase_create("extended");

	tcase_add_checked_fixture(resizing, setup_cq, teardown_cq);
	tcase_add_test(resizing, larger_ring_goes_on_with_what_was_not_polled);
	tcase_add_test(resizing, smaller_ring_too);
	tcase_add_test(resizing, too_small_a_ring_changes_nothing);
	tcase_add_test(resizing, requests_for_events_survive);
	tcase_add_loop_test(resizing, who_needs_the_ring_waits_without_spinning, 0, 2);
	suite_add_tcase(s, resizing);

	tcase_add_checked_fixture(extended, setup_ex, teardown_cq);
	tcase_add_test(extended, fields_are_given_that_can_be);
	tcase_add_test(extended, timestamps_need_a_host_that_has_them);
	tcase_add_test(extended, single_threaded_cqs_have_no_lock);
	tcase_add_test(extended, bad_extended_cqs_are_refused);
	suite_add_tcase(s, extended);
	return run_suite(s);
}
