// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include "kernel.h"
#include "../../../providers/pvhca/buf.c"
#include "../../../providers/pvhca/qp_table.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/pd.c"
#include "../../../providers/pvhca/wr.c"
#include "../../../providers/pvhca/qp.c"
#include "../../../providers/pvhca/srq.c"

static struct ibv_srq_init_attr init;
static struct ibv_sge sges[2] = {
	{ .addr = 0x1000, .length = 10, .lkey = 0x11 },
	{ .addr = 0x2000, .length = 20, .lkey = 0x22 },
};
static uint32_t host_pi; /* completions that the host has written */

static void setup_srq(void)
{
	setup_kernel();
	host_pi = 0;
	init = (struct ibv_srq_init_attr){
		.attr = { .max_wr = 4, .max_sge = 2 },
	};
}

static struct pvhca_srq *create(void)
{
	struct ibv_srq *ibsrq = pvhca_create_srq(&test_pd.ibv_pd, &init);

	ck_assert_ptr_nonnull(ibsrq);
	return to_pvhca_srq(ibsrq);
}

static void destroy_srq(struct pvhca_srq *srq)
{
	ck_assert_int_eq(pvhca_destroy_srq(&srq->vsrq.srq), 0);
}

static void refused(int err)
{
	errno = 0;
	ck_assert_ptr_null(pvhca_create_srq(&test_pd.ibv_pd, &init));
	ck_assert_int_eq(errno, err);
	ck_assert_int_eq(kernel.created, kernel.destroyed);
}

static int post(struct pvhca_srq *srq, uint64_t wr_id)
{
	struct ibv_recv_wr wr = { .wr_id = wr_id, .sg_list = sges, .num_sge = 2 }, *bad = NULL;
	int err = pvhca_post_srq_recv(&srq->vsrq.srq, &wr, &bad);

	ck_assert_ptr_eq(bad, err ? &wr : NULL);
	return err;
}

/* What stands at place @i of the ring. */
static const struct pvhca_rq_wqe *entry(struct pvhca_srq *srq, uint32_t i)
{
	return (void *)(srq->buf.addr + kernel.srq_req.rq_offset +
			(i << kernel.srq_req.rq_log_stride));
}

/* The QP of the fixture takes from the SRQ. */
static void use(struct pvhca_srq *srq)
{
	test_qp.vqp.qp.srq = &srq->vsrq.srq;
	ck_assert_int_eq(pvhca_qp_table_insert(&test_ctx.qp_table, QPN, &test_qp), 0);
}

static void complete(uint16_t tag)
{
	struct pvhca_cqe *cqe = &cq_mem.entries[host_pi % ENTRIES];

	cqe->qpn = htole32(QPN);
	cqe->opcode = PVHCA_CQE_RECV;
	cqe->wqe_index = htole16(tag);
	cqe->flags = host_pi / ENTRIES % 2 ? 0 : PVHCA_CQE_F_PHASE;
	host_pi++;
}

static uint64_t poll_one(void)
{
	struct ibv_wc wc;

	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 1);
	return wc.wr_id;
}

START_TEST(ring_fits_its_buffer)
{
	const struct pvhca_create_qp_req *r = &kernel.srq_req;
	uint32_t wr, sge;
	struct pvhca_srq *srq;

	for (wr = 1; wr <= 300; wr = wr * 2 + 1) {
		for (sge = 0; sge <= 30; sge += 3) {
			init.attr = (struct ibv_srq_attr){ wr, sge, 0 };
			srq = create();
			ck_assert_uint_eq(r->buf_addr % PVHCA_GRANULE, 0);
			ck_assert_uint_ge(r->rq_offset, PVHCA_QUEUE_HEADER_SIZE);
			ck_assert_uint_eq(r->rq_offset % (1 << r->rq_log_stride), 0);
			ck_assert_uint_ge(1 << r->rq_log_entries, wr);
			ck_assert_uint_ge(1 << r->rq_log_stride, 16 + 16 * sge);
			ck_assert_uint_ge(r->rq_log_stride, PVHCA_RQ_MIN_LOG_STRIDE);
			ck_assert_uint_ge(r->buf_len,
					  r->rq_offset +
						  (1 << (r->rq_log_entries + r->rq_log_stride)));
			ck_assert_uint_eq(r->sq_offset | r->sq_log_entries | r->sq_log_stride, 0);
			ck_assert_uint_eq(srq->q.mask, (1 << r->rq_log_entries) - 1);
			destroy_srq(srq);
		}
	}
}
END_TEST

START_TEST(impossible_srqs_are_refused)
{
	test_ctx.max_srq_wr = 0;
	refused(EOPNOTSUPP);
	test_ctx.max_srq_wr = 100;
	init.attr.max_wr = 101;
	refused(EINVAL);
	init.attr.max_wr = 0;
	refused(EINVAL);
	init.attr.max_wr = 100;
	init.attr.max_sge = 31;
	refused(EINVAL);
	init.attr.max_sge = 1;
	kernel.err = ENOSPC;
	refused(ENOSPC);
	kernel.err = 0;
	kernel.slot = PVHCA_SLOTS;
	refused(EPROTO);
	kernel.slot = 0;
	kernel.doorbell = sizeof(doorbells);
	refused(EPROTO);
}
END_TEST

/* ibv_create_srq(3) calls it irrelevant, so programs leave anything there. */
START_TEST(limit_does_not_matter_at_creation)
{
	struct pvhca_srq *srq;

	init.attr.srq_limit = 12345;
	srq = create();
	ck_assert_uint_eq(kernel.srq_limit, 0);
	ck_assert_uint_eq(init.attr.srq_limit, 12345);
	destroy_srq(srq);
}
END_TEST

START_TEST(empty_chain_is_posted)
{
	struct pvhca_srq *srq = create();
	struct ibv_recv_wr *bad = NULL;

	ck_assert_int_eq(pvhca_post_srq_recv(&srq->vsrq.srq, NULL, &bad), 0);
	test_page.alive = 0;
	ck_assert_int_eq(pvhca_post_srq_recv(&srq->vsrq.srq, NULL, &bad), 0);
	ck_assert_ptr_null(bad);
	ck_assert_uint_eq(test_page.summary, 0);
	destroy_srq(srq);
}
END_TEST

START_TEST(what_the_host_gives_more_is_cut_to_the_ring)
{
	struct ibv_srq_attr attr;
	struct pvhca_srq *srq;
	uint32_t num;
	int i;

	init.attr.max_wr = 3;
	kernel.more = (struct ibv_qp_cap){ .max_recv_wr = 100, .max_recv_sge = 100 };
	srq = create();
	ck_assert_uint_eq(init.attr.max_wr, 4);
	ck_assert_uint_eq(init.attr.max_sge, 3);
	ck_assert_int_eq(pvhca_query_srq(&srq->vsrq.srq, &attr), 0);
	ck_assert_uint_eq(attr.max_wr, 4);
	ck_assert_uint_eq(attr.max_sge, 3);
	ck_assert_uint_eq(attr.srq_limit, 9);
	ck_assert_int_eq(pvhca_get_srq_num(&srq->vsrq.srq, &num), 0);
	ck_assert_uint_eq(num, QPN);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(post(srq, i), 0);
	ck_assert_int_eq(post(srq, i), ENOMEM);
	destroy_srq(srq);

	kernel.qpn = 0;
	srq = create();
	ck_assert_int_eq(pvhca_get_srq_num(&srq->vsrq.srq, &num), EOPNOTSUPP);
	destroy_srq(srq);
}
END_TEST

START_TEST(receive_is_published_with_its_tag)
{
	struct pvhca_srq *srq = create();
	struct pvhca_queue_header *header = (void *)srq->buf.addr;
	const struct pvhca_rq_wqe *wqe = entry(srq, 0);
	const struct pvhca_sge *sge = (const void *)((uint8_t *)wqe + PVHCA_RQ_WQE_DATA);

	test_page.need_kick = htole64(~0ULL);
	ck_assert_int_eq(post(srq, 5), 0);
	ck_assert_uint_eq(le16toh(wqe->num_sge), 2);
	ck_assert_uint_eq(le64toh(sge[1].addr), 0x2000);
	ck_assert_uint_eq(srq->q.wrid[le16toh(wqe->tag)], 5);
	ck_assert_uint_eq(le32toh(header->rq_pi), 1);
	ck_assert_uint_eq(header->sq_pi, 0);
	ck_assert_uint_eq(le64toh(test_page.pending[2]), 1 << 2);
	ck_assert_uint_eq(rings, 1);
	ck_assert_ptr_eq(rung, doorbells + QP_DOORBELL);
	destroy_srq(srq);
}
END_TEST

START_TEST(bad_receive_in_a_chain_leaves_those_before_it_posted)
{
	struct pvhca_srq *srq = create();
	struct pvhca_queue_header *header = (void *)srq->buf.addr;
	struct ibv_recv_wr wr[3] = {
		{ .next = &wr[1] },
		{ .next = &wr[2], .num_sge = 4 },
		{},
	};
	struct ibv_recv_wr *bad = NULL;

	ck_assert_int_eq(pvhca_post_srq_recv(&srq->vsrq.srq, wr, &bad), EINVAL);
	ck_assert_ptr_eq(bad, &wr[1]);
	ck_assert_uint_eq(le32toh(header->rq_pi), 1);
	ck_assert_uint_eq(srq->num_free, 3);
	test_page.alive = 0;
	ck_assert_int_eq(post(srq, 1), EIO);
	ck_assert_uint_eq(le32toh(header->rq_pi), 1);
	destroy_srq(srq);
}
END_TEST

START_TEST(completions_may_overtake_each_other)
{
	struct pvhca_srq *srq = create();
	uint16_t tags[4];
	int i;

	use(srq);
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(post(srq, 100 + i), 0);
		tags[i] = le16toh(entry(srq, i)->tag);
	}
	ck_assert_int_eq(post(srq, 1), ENOMEM);

	complete(tags[2]);
	ck_assert_uint_eq(poll_one(), 102);
	/* in the place of the first, which the host has taken before the third */
	ck_assert_int_eq(post(srq, 104), 0);
	ck_assert_uint_eq(le16toh(entry(srq, 0)->tag), tags[2]);
	ck_assert_int_eq(post(srq, 1), ENOMEM);

	complete(tags[3]);
	complete(tags[0]);
	complete(tags[1]);
	ck_assert_uint_eq(poll_one(), 103);
	ck_assert_uint_eq(poll_one(), 100);
	ck_assert_uint_eq(poll_one(), 101);
	complete(tags[2]);
	ck_assert_uint_eq(poll_one(), 104);
	ck_assert_uint_eq(srq->num_free, 4);
	destroy_srq(srq);
}
END_TEST

START_TEST(random_order_keeps_wr_ids_and_tags_apart)
{
	struct {
		uint64_t wr_id;
		uint16_t tag;
	} out[4];
	struct pvhca_srq *srq = create();
	uint64_t posted = 0;
	unsigned int n = 0, i, j;

	use(srq);
	srand(1);
	for (i = 0; i < 5000; i++) {
		if (n < 4 && (!n || rand() % 2)) {
			ck_assert_int_eq(post(srq, posted), 0);
			out[n].wr_id = posted;
			out[n].tag = le16toh(entry(srq, posted % 4)->tag);
			for (j = 0; j < n; j++)
				ck_assert_uint_ne(out[j].tag, out[n].tag);
			n++;
			posted++;
		} else {
			j = rand() % n;
			complete(out[j].tag);
			ck_assert_uint_eq(poll_one(), out[j].wr_id);
			out[j] = out[--n];
		}
		ck_assert_uint_eq(srq->num_free, 4 - n);
	}
	destroy_srq(srq);
}
END_TEST

START_TEST(receives_of_a_gone_qp_can_be_posted_again)
{
	struct pvhca_srq *srq = create();
	struct ibv_wc wc;
	int i;

	use(srq);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(post(srq, i), 0);
	complete(le16toh(entry(srq, 1)->tag));
	complete(le16toh(entry(srq, 0)->tag));
	pvhca_cq_clean(&test_cq, &test_qp);
	ck_assert_uint_eq(srq->num_free, 2);
	pvhca_cq_clean(&test_cq, &test_qp);
	ck_assert_uint_eq(srq->num_free, 2);
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 0);
	ck_assert_int_eq(post(srq, 7), 0);
	destroy_srq(srq);
}
END_TEST

START_TEST(qp_with_an_srq_has_no_receive_queue)
{
	struct pvhca_srq *srq = create();
	struct ibv_qp_init_attr attr = {
		.send_cq = &test_cq.vcq.cq,
		.recv_cq = &test_cq.vcq.cq,
		.srq = &srq->vsrq.srq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 9, .max_send_sge = 1, .max_recv_sge = 9 },
	};
	struct ibv_recv_wr wr = {}, *bad;
	struct ibv_qp *ibqp;

	ibqp = pvhca_create_qp(&test_pd.ibv_pd, &attr);
	ck_assert_ptr_nonnull(ibqp);
	ck_assert_uint_eq(kernel.qp_req.rq_log_entries | kernel.qp_req.rq_log_stride |
				  kernel.qp_req.rq_offset,
			  0);
	ck_assert_ptr_eq(kernel.qp_attr.srq, &srq->vsrq.srq);
	ck_assert_uint_eq(attr.cap.max_recv_wr, 0);
	to_pvhca_qp(ibqp)->state = IBV_QPS_RTS;
	ck_assert_int_eq(pvhca_post_recv(ibqp, &wr, &bad), EINVAL);
	ck_assert_int_eq(pvhca_destroy_qp(ibqp), 0);
	destroy_srq(srq);
}
END_TEST

START_TEST(thread_domain_leaves_the_srq_its_lock)
{
	struct ibv_td_init_attr td_attr = {};
	struct ibv_td *td = pvhca_alloc_td(&test_ctx.vctx.context, &td_attr);
	struct ibv_parent_domain_init_attr attr = { .pd = &test_pd.ibv_pd, .td = td };
	struct ibv_pd *parent = pvhca_alloc_parent_domain(&test_ctx.vctx.context, &attr);
	struct ibv_srq *ibsrq = pvhca_create_srq(parent, &init);

	ck_assert_ptr_nonnull(ibsrq);
	/* Pollers of any CQ give tags back, in threads that the domain says nothing of. */
	pvhca_lock(&to_pvhca_srq(ibsrq)->q.lock);
	ck_assert_int_eq(pthread_spin_trylock(&to_pvhca_srq(ibsrq)->q.lock.spin), EBUSY);
	pvhca_unlock(&to_pvhca_srq(ibsrq)->q.lock);
	destroy_srq(to_pvhca_srq(ibsrq));
	ck_assert_int_eq(pvhca_dealloc_pd(parent), 0);
	ck_assert_int_eq(pvhca_dealloc_td(td), 0);
}
END_TEST

START_TEST(limit_can_be_set_and_the_size_not)
{
	struct ibv_srq_attr attr = { .srq_limit = 1 };
	struct pvhca_srq *srq = create();
	struct ibv_srq *ibsrq = &srq->vsrq.srq;

	ck_assert_int_eq(pvhca_modify_srq(ibsrq, &attr, IBV_SRQ_LIMIT), 0);
	ck_assert_int_eq(kernel.mask, IBV_SRQ_LIMIT);
	ck_assert_int_eq(pvhca_modify_srq(ibsrq, &attr, IBV_SRQ_MAX_WR), EOPNOTSUPP);
	ck_assert_int_eq(pvhca_modify_srq(ibsrq, &attr, 1 << 5), EINVAL);
	destroy_srq(srq);
}
END_TEST

START_TEST(failed_destruction_leaves_the_srq_as_it_is)
{
	struct pvhca_srq *srq = create();

	kernel.err = EBUSY;
	ck_assert_int_eq(pvhca_destroy_srq(&srq->vsrq.srq), EBUSY);
	kernel.err = 0;
	ck_assert_int_eq(post(srq, 1), 0);
	destroy_srq(srq);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider srq");
	TCase *c = tcase_create("srq");

	tcase_add_checked_fixture(c, setup_srq, teardown_kernel);
	tcase_add_test(c, ring_fits_its_buffer);
	tcase_add_test(c, impossible_srqs_are_refused);
	tcase_add_test(c, limit_does_not_matter_at_creation);
	tcase_add_test(c, empty_chain_is_posted);
	tcase_add_test(c, what_the_host_gives_more_is_cut_to_the_ring);
	tcase_add_test(c, receive_is_published_with_its_tag);
	tcase_add_test(c, bad_receive_in_a_chain_leaves_those_before_it_posted);
	tcase_add_test(c, completions_may_overtake_each_other);
	tcase_add_test(c, random_order_keeps_wr_ids_and_tags_apart);
	tcase_add_test(c, receives_of_a_gone_qp_can_be_posted_again);
	tcase_add_test(c, qp_with_an_srq_has_no_receive_queue);
	tcase_add_test(c, thread_domain_leaves_the_srq_its_lock);
	tcase_add_test(c, limit_can_be_set_and_the_size_not);
	tcase_add_test(c, failed_destruction_leaves_the_srq_as_it_is);
	suite_add_tcase(s, c);
	return run_suite(s);
}
