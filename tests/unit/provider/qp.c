// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include "kernel.h"
#include "../../../providers/pvhca/buf.c"
#include "../../../providers/pvhca/qp_table.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/cq.c"
#include "../../../providers/pvhca/cq_ex.c"
#include "../../../providers/pvhca/pd.c"
#include "../../../providers/pvhca/wr.c"
#include "../../../providers/pvhca/qp.c"

static struct ibv_qp_init_attr init;

static void setup_verbs(void)
{
	setup_kernel();
	init = (struct ibv_qp_init_attr){
		.send_cq = &test_cq.vcq.cq,
		.recv_cq = &test_cq.vcq.cq,
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = 10,
			.max_recv_wr = 20,
			.max_send_sge = 2,
			.max_recv_sge = 1,
			.max_inline_data = 64,
		},
	};
}

static void teardown_verbs(void)
{
	teardown_kernel();
}

static struct pvhca_qp *create(void)
{
	struct ibv_qp *ibqp = pvhca_create_qp(&test_pd.ibv_pd, &init);

	ck_assert_ptr_nonnull(ibqp);
	return to_pvhca_qp(ibqp);
}

static void refused(int err)
{
	errno = 0;
	ck_assert_ptr_null(pvhca_create_qp(&test_pd.ibv_pd, &init));
	ck_assert_int_eq(errno, err);
	ck_assert_int_eq(kernel.created, kernel.destroyed);
}

static int modify(struct pvhca_qp *q, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };

	return pvhca_modify_qp(&q->vqp.qp, &attr, IBV_QP_STATE);
}

static int send_one(struct pvhca_qp *q)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND }, *bad;

	return pvhca_post_send(&q->vqp.qp, &wr, &bad);
}

START_TEST(rings_fit_their_buffer_and_no_entry_crosses_a_granule)
{
	const struct pvhca_create_qp_req *r = &kernel.qp_req;
	uint32_t wr, sge, inl;
	struct pvhca_qp *q;

	for (wr = 1; wr < 300; wr = wr * 2 + 1) {
		for (sge = 0; sge <= 30; sge += 3) {
			for (inl = 0; inl <= 512; inl += 73) {
				init.cap = (struct ibv_qp_cap){
					.max_send_wr = wr,
					.max_recv_wr = 2 * wr,
					.max_send_sge = sge,
					.max_recv_sge = 30 - sge,
					.max_inline_data = inl,
				};
				q = create();
				ck_assert_uint_eq(r->buf_addr % PVHCA_GRANULE, 0);
				ck_assert_uint_ge(r->sq_offset, PVHCA_QUEUE_HEADER_SIZE);
				ck_assert_uint_ge(1 << r->sq_log_entries, wr);
				ck_assert_uint_ge(1 << r->rq_log_entries, 2 * wr);
				ck_assert_uint_ge(r->sq_log_stride, PVHCA_SQ_MIN_LOG_STRIDE);
				ck_assert_uint_ge(r->rq_log_stride, PVHCA_RQ_MIN_LOG_STRIDE);
				ck_assert_uint_le(r->sq_log_stride, PVHCA_RING_MAX_LOG_STRIDE);
				ck_assert_uint_ge(1 << r->sq_log_stride, 32 + 16 * sge);
				ck_assert_uint_ge(1 << r->sq_log_stride, 32 + inl);
				ck_assert_uint_ge(1 << r->rq_log_stride, 16 + 16 * (30 - sge));
				ck_assert_uint_eq(r->sq_offset % (1 << r->sq_log_stride), 0);
				ck_assert_uint_eq(r->rq_offset % (1 << r->rq_log_stride), 0);
				ck_assert_uint_ge(
					r->rq_offset,
					r->sq_offset +
						(1 << (r->sq_log_entries + r->sq_log_stride)));
				ck_assert_uint_ge(
					r->buf_len,
					r->rq_offset +
						(1 << (r->rq_log_entries + r->rq_log_stride)));
				ck_assert_ptr_eq(q->sq.entries, q->buf.addr + r->sq_offset);
				ck_assert_ptr_eq(q->rq.entries, q->buf.addr + r->rq_offset);
				ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
			}
		}
	}
}
END_TEST

START_TEST(biggest_rings_fit)
{
	struct pvhca_qp *q;

	init.cap.max_send_wr = init.cap.max_recv_wr = 32768;
	q = create();
	ck_assert_uint_eq(kernel.qp_req.sq_log_entries, PVHCA_RING_MAX_LOG_ENTRIES);
	ck_assert_uint_eq(q->sq.max_wr, 32768);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
	init.cap.max_send_wr++;
	refused(EINVAL);
}
END_TEST

START_TEST(limits_of_the_device_are_kept)
{
	test_ctx.max_qp_wr = 20;
	init.cap.max_send_wr = 21;
	refused(EINVAL);
	init.cap.max_send_wr = 20;
	init.cap.max_recv_wr = 21;
	refused(EINVAL);
	init.cap.max_recv_wr = 20;
	init.cap.max_send_sge = 31;
	refused(EINVAL);
	init.cap.max_send_sge = 30;
	init.cap.max_recv_sge = 31;
	refused(EINVAL);
	init.cap.max_recv_sge = 30;
	init.cap.max_inline_data = 513;
	refused(EINVAL);
	init.cap.max_inline_data = 512;
	init.recv_cq = NULL;
	refused(EINVAL);
}
END_TEST

START_TEST(application_gets_what_it_asked)
{
	struct pvhca_qp *q = create();

	ck_assert_uint_eq(init.cap.max_send_wr, 10);
	ck_assert_uint_eq(init.cap.max_recv_wr, 20);
	ck_assert_uint_eq(init.cap.max_send_sge, 2);
	ck_assert_uint_eq(init.cap.max_recv_sge, 1);
	ck_assert_uint_eq(init.cap.max_inline_data, 64);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(what_the_host_gives_more_is_cut_to_the_rings)
{
	struct ibv_qp_init_attr init_attr;
	struct ibv_qp_attr attr;
	struct pvhca_qp *q;

	kernel.more = (struct ibv_qp_cap){ 100, 3, 100, 100, 1000 };
	q = create();
	ck_assert_uint_eq(init.cap.max_send_wr, 16);
	ck_assert_uint_eq(init.cap.max_recv_wr, 23);
	ck_assert_uint_eq(init.cap.max_send_sge, 6);
	ck_assert_uint_eq(init.cap.max_recv_sge, 1);
	ck_assert_uint_eq(init.cap.max_inline_data, 96);
	ck_assert_uint_eq(q->sq.max_wr, 16);
	ck_assert_uint_eq(q->max_inline, 96);

	ck_assert_int_eq(pvhca_query_qp(&q->vqp.qp, &attr, 0, &init_attr), 0);
	ck_assert_uint_eq(attr.cap.max_send_sge, 6);
	ck_assert_uint_eq(init_attr.cap.max_recv_wr, 23);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(queue_without_entries_has_no_ring)
{
	const struct pvhca_create_qp_req *r = &kernel.qp_req;
	struct ibv_recv_wr rwr = {}, *bad;
	struct pvhca_qp *q;

	init.cap.max_recv_wr = 0;
	q = create();
	ck_assert_uint_eq(r->rq_log_entries | r->rq_log_stride | r->rq_offset, 0);
	ck_assert_uint_eq(init.cap.max_recv_sge, 0);
	ck_assert_uint_eq(init.cap.max_send_sge, 2);
	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(pvhca_post_recv(&q->vqp.qp, &rwr, &bad), ENOMEM);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);

	init.cap.max_send_wr = 0;
	init.cap.max_recv_wr = 1;
	q = create();
	ck_assert_uint_eq(r->sq_log_entries | r->sq_log_stride | r->sq_offset, 0);
	ck_assert_uint_eq(init.cap.max_send_sge | init.cap.max_inline_data, 0);
	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), ENOMEM);
	ck_assert_int_eq(modify(q, IBV_QPS_RESET), 0);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(failed_creation_leaves_nothing)
{
	kernel.err = ENOSPC;
	refused(ENOSPC);
}
END_TEST

START_TEST(slot_and_doorbell_are_checked)
{
	kernel.slot = PVHCA_SLOTS;
	refused(EPROTO);
	kernel.slot = 0;
	kernel.doorbell = sizeof(doorbells) - 3;
	refused(EPROTO);
	kernel.doorbell = 0;
	kernel.qpn = 1 << 24;
	refused(EINVAL);
}
END_TEST

START_TEST(number_of_a_destroyed_qp_can_be_given_again)
{
	struct pvhca_qp *q = create();

	ck_assert_ptr_eq(pvhca_qp_table_find(&test_ctx.qp_table, QPN), q);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
	ck_assert_ptr_null(pvhca_qp_table_find(&test_ctx.qp_table, QPN));
	q = create();
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(destroying_drops_completions_from_both_cqs)
{
	static struct pvhca_cqe entries[2];
	static struct pvhca_cq_header header;
	struct pvhca_cq other = {
		.ctx = &test_ctx, .log_entries = 0, .entries = entries, .header = &header
	};
	struct pvhca_qp *q;
	struct ibv_wc wc;

	pvhca_lock_init(&other.lock, false);
	pthread_mutex_init(&other.resize_lock, NULL);
	init.recv_cq = &other.vcq.cq;
	q = create();
	cq_mem.entries[0].qpn = htole32(QPN);
	cq_mem.entries[0].flags = PVHCA_CQE_F_PHASE;
	entries[0].qpn = htole32(QPN);
	entries[0].opcode = PVHCA_CQE_RECV;
	entries[0].flags = PVHCA_CQE_F_PHASE;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);

	q = create(); /* of the same number */
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 0);
	ck_assert_int_eq(pvhca_poll_cq(&other.vcq.cq, 1, &wc), 0);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(failed_destruction_leaves_the_qp_as_it_is)
{
	struct pvhca_qp *q = create();
	struct ibv_wc wc;

	cq_mem.entries[0].qpn = htole32(QPN);
	cq_mem.entries[0].flags = PVHCA_CQE_F_PHASE;
	kernel.err = EBUSY;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), EBUSY);
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 1);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

/* Makes and destroys a QP while another command is under way. */
static void one_more(void)
{
	uint32_t qpn = kernel.qpn;
	struct pvhca_qp *q;

	kernel.qpn = QPN + 1;
	q = create();
	ck_assert_ptr_eq(pvhca_qp_table_find(&test_ctx.qp_table, QPN + 1), q);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
	kernel.qpn = qpn;
}

START_TEST(others_are_made_and_destroyed_while_a_command_takes_its_time)
{
	struct pvhca_qp *q;

	kernel.on_create_qp = one_more;
	q = create();
	kernel.on_destroy_qp = one_more;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
	ck_assert_int_eq(kernel.created, 3);
	ck_assert_int_eq(kernel.destroyed, 3);
	ck_assert_uint_eq(test_ctx.qp_table.used, 0);
}
END_TEST

static struct pvhca_qp *successor;

/* The host has given the number away; the application has not acknowledged yet. */
static void number_goes_to_another(void)
{
	successor = create();
	ck_assert_int_eq(modify(successor, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(successor), 0);
	cq_mem.entries[2].qpn = htole32(QPN);
	cq_mem.entries[2].flags = PVHCA_CQE_F_PHASE;
}

START_TEST(number_may_be_given_again_before_destroy_returns)
{
	struct pvhca_qp *q = create();
	struct ibv_wc wc;

	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), 0);
	ck_assert_int_eq(send_one(q), 0);
	cq_mem.entries[0].qpn = htole32(QPN);
	cq_mem.entries[0].flags = PVHCA_CQE_F_PHASE;
	cq_mem.entries[1] = cq_mem.entries[0];
	cq_mem.entries[1].wqe_index = htole16(1);
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 1);
	ck_assert_ptr_eq(test_cq.last_qp, q);

	kernel.on_destroy_qp = number_goes_to_another;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
	ck_assert_ptr_eq(pvhca_qp_table_find(&test_ctx.qp_table, QPN), successor);
	/* That of the first which was not polled is gone, that of the second is not. */
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 4, &wc), 1);
	ck_assert_ptr_eq(test_cq.last_qp, successor);
	ck_assert_uint_eq(successor->sq.ci, 1);
	ck_assert_int_eq(pvhca_destroy_qp(&successor->vqp.qp), 0);
	ck_assert_ptr_null(pvhca_qp_table_find(&test_ctx.qp_table, QPN));
}
END_TEST

/* In the middle of a poll, which has locked the CQ: it must not be locked again. */
START_TEST(qps_come_and_go_in_the_middle_of_a_poll)
{
	struct ibv_cq_ex *ex = &test_cq.vcq.cq_ex;
	struct ibv_poll_cq_attr attr = {};
	struct pvhca_qp *q = create();

	pvhca_set_cq_ex_ops(&test_cq, 0);
	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), 0);
	ck_assert_int_eq(send_one(q), 0);
	cq_mem.entries[0].qpn = htole32(QPN);
	cq_mem.entries[0].flags = PVHCA_CQE_F_PHASE;
	cq_mem.entries[1] = cq_mem.entries[0];
	cq_mem.entries[1].wqe_index = htole16(1);
	kernel.poll_is_open = true;
	ck_assert_int_eq(ibv_start_poll(ex, &attr), 0);
	kernel.on_destroy_qp = number_goes_to_another;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), EBUSY);
	ck_assert_int_eq(ibv_wc_read_opcode(ex), IBV_WC_SEND);
	ck_assert_int_eq(ibv_next_poll(ex), 0);
	ck_assert_ptr_eq(test_cq.last_qp, successor);
	ck_assert_int_eq(modify(successor, IBV_QPS_RESET), 0);
	ck_assert_int_eq(pvhca_destroy_qp(&successor->vqp.qp), 0);
	ibv_end_poll(ex);
	kernel.poll_is_open = false;
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), 0);
	pthread_spin_unlock(&test_cq.lock.spin);
	ck_assert_int_eq(ibv_start_poll(ex, &attr), ENOENT);
}
END_TEST

START_TEST(number_of_a_living_qp_is_refused)
{
	struct pvhca_qp *q = create();

	ck_assert_ptr_null(pvhca_create_qp(&test_pd.ibv_pd, &init));
	ck_assert_int_eq(errno, EEXIST);
	ck_assert_int_eq(kernel.destroyed, 1);
	ck_assert_ptr_eq(pvhca_qp_table_find(&test_ctx.qp_table, QPN), q);

	kernel.err = EBUSY;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), EBUSY);
	kernel.err = 0;
	ck_assert_ptr_null(pvhca_create_qp(&test_pd.ibv_pd, &init));
	ck_assert_int_eq(errno, EEXIST);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(state_follows_modify)
{
	struct pvhca_qp *q = create();

	ck_assert_int_eq(send_one(q), EINVAL);
	ck_assert_int_eq(modify(q, IBV_QPS_INIT), 0);
	ck_assert_int_eq(modify(q, IBV_QPS_RTR), 0);
	ck_assert_int_eq(send_one(q), EINVAL);
	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), 0);
	kernel.err = EINVAL;
	ck_assert_int_eq(modify(q, IBV_QPS_INIT), EINVAL);
	ck_assert_int_eq(send_one(q), 0);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

static struct pvhca_qp *being_reset;

static void post_meanwhile(void)
{
	struct ibv_recv_wr wr = {}, *bad;

	ck_assert_int_eq(send_one(being_reset), EINVAL);
	ck_assert_int_eq(pvhca_post_recv(&being_reset->vqp.qp, &wr, &bad), EINVAL);
}

START_TEST(reset_empties_queues_and_drops_completions)
{
	struct pvhca_qp *q = create();
	struct pvhca_queue_header *header = (void *)q->buf.addr;
	struct ibv_recv_wr rwr = {}, *bad;
	struct ibv_wc wc;

	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), 0);
	ck_assert_int_eq(send_one(q), 0);
	ck_assert_int_eq(pvhca_post_recv(&q->vqp.qp, &rwr, &bad), 0);
	cq_mem.entries[0].qpn = htole32(QPN);
	cq_mem.entries[0].flags = PVHCA_CQE_F_PHASE;
	cq_mem.entries[1] = cq_mem.entries[0];
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 1);
	ck_assert_uint_eq(le32toh(header->sq_pi), 2);

	being_reset = q;
	kernel.on_modify = post_meanwhile;
	ck_assert_int_eq(modify(q, IBV_QPS_RESET), 0);
	kernel.on_modify = NULL;
	ck_assert_uint_eq(header->sq_pi, 0);
	ck_assert_uint_eq(header->rq_pi, 0);
	ck_assert_uint_eq(q->sq.pi | q->sq.ci | q->rq.pi | q->rq.ci, 0);
	ck_assert_int_eq(pvhca_poll_cq(&test_cq.vcq.cq, 1, &wc), 0);
	ck_assert_int_eq(send_one(q), EINVAL);

	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), 0);
	ck_assert_uint_eq(le32toh(header->sq_pi), 1);
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(failed_reset_changes_nothing)
{
	struct pvhca_qp *q = create();
	struct pvhca_queue_header *header = (void *)q->buf.addr;

	ck_assert_int_eq(modify(q, IBV_QPS_RTS), 0);
	ck_assert_int_eq(send_one(q), 0);
	kernel.err = EIO;
	ck_assert_int_eq(modify(q, IBV_QPS_RESET), EIO);
	ck_assert_int_eq(send_one(q), 0);
	ck_assert_uint_eq(le32toh(header->sq_pi), 2);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_destroy_qp(&q->vqp.qp), 0);
}
END_TEST

START_TEST(cq_has_room_for_what_was_asked)
{
	static const struct {
		int cqe;
		unsigned int log;
	} cases[] = { { 1, 0 }, { 2, 1 },     { 3, 2 },	      { 4, 2 },
		      { 5, 3 }, { 1000, 10 }, { 1 << 20, 20 } };
	struct ibv_context *ibctx = &test_ctx.vctx.context;
	struct pvhca_cq *c;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		c = to_pvhca_cq(pvhca_create_cq(ibctx, cases[i].cqe, NULL, 0));
		ck_assert_uint_eq(kernel.cq_req.log_entries, cases[i].log);
		ck_assert_int_eq(kernel.cqe, cases[i].cqe);
		ck_assert_uint_eq(kernel.cq_req.buf_addr % PVHCA_GRANULE, 0);
		ck_assert_uint_ge(kernel.cq_req.buf_len,
				  PVHCA_CQ_HEADER_SIZE +
					  (sizeof(struct pvhca_cqe) << cases[i].log));
		ck_assert_ptr_eq(c->doorbell, doorbells + QP_DOORBELL);
		ck_assert_int_eq(pvhca_destroy_cq(&c->vcq.cq), 0);
	}
}
END_TEST

START_TEST(impossible_cqs_are_refused)
{
	static const int bad[] = { 0, -1, (1 << 20) + 1, INT32_MAX };
	struct ibv_context *ibctx = &test_ctx.vctx.context;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_ptr_null(pvhca_create_cq(ibctx, bad[i], NULL, 0));
		ck_assert_int_eq(errno, EINVAL);
	}
	test_ctx.max_cqe = 100;
	ck_assert_ptr_null(pvhca_create_cq(ibctx, 101, NULL, 0));
	ck_assert_int_eq(errno, EINVAL);
	kernel.err = ENOSPC;
	ck_assert_ptr_null(pvhca_create_cq(ibctx, 1, NULL, 0));
	ck_assert_int_eq(errno, ENOSPC);
	kernel.err = 0;
	kernel.doorbell = sizeof(doorbells);
	ck_assert_ptr_null(pvhca_create_cq(ibctx, 1, NULL, 0));
	ck_assert_int_eq(errno, EPROTO);
	ck_assert_int_eq(kernel.created, kernel.destroyed);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider qp and cq");
	TCase *c = tcase_create("verbs");

	tcase_set_timeout(c, 30);
	tcase_add_checked_fixture(c, setup_verbs, teardown_verbs);
	tcase_add_test(c, rings_fit_their_buffer_and_no_entry_crosses_a_granule);
	tcase_add_test(c, biggest_rings_fit);
	tcase_add_test(c, limits_of_the_device_are_kept);
	tcase_add_test(c, application_gets_what_it_asked);
	tcase_add_test(c, what_the_host_gives_more_is_cut_to_the_rings);
	tcase_add_test(c, queue_without_entries_has_no_ring);
	tcase_add_test(c, failed_creation_leaves_nothing);
	tcase_add_test(c, slot_and_doorbell_are_checked);
	tcase_add_test(c, number_of_a_destroyed_qp_can_be_given_again);
	tcase_add_test(c, destroying_drops_completions_from_both_cqs);
	tcase_add_test(c, failed_destruction_leaves_the_qp_as_it_is);
	tcase_add_test(c, others_are_made_and_destroyed_while_a_command_takes_its_time);
	tcase_add_test(c, number_may_be_given_again_before_destroy_returns);
	tcase_add_test(c, qps_come_and_go_in_the_middle_of_a_poll);
	tcase_add_test(c, number_of_a_living_qp_is_refused);
	tcase_add_test(c, state_follows_modify);
	tcase_add_test(c, reset_empties_queues_and_drops_completions);
	tcase_add_test(c, failed_reset_changes_nothing);
	tcase_add_test(c, cq_has_room_for_what_was_asked);
	tcase_add_test(c, impossible_cqs_are_refused);
	suite_add_tcase(s, c);
	return run_suite(s);
}
