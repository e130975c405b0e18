// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QPs and regions of the loopback fabric as the control path sees them: the
 * state machine, attributes, keys, numbers, addresses.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/rig.h"

#define IOVA 0x10000000ull
#define ALL_ACCESS                                                                   \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC)
#define INIT_MASK (IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS)
#define RTR_MASK                                                                        \
	(IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | \
	 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER)
#define RTS_MASK                                                                               \
	(IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | \
	 IBV_QP_MAX_QP_RD_ATOMIC)

static struct qp *a, *b;

static void setup(void)
{
	rig_setup();
	a = rig_qp(rig.a);
	b = rig_qp(rig.b);
}

static void teardown(void)
{
	rig_qp_free(a);
	rig_qp_free(b);
	rig_teardown();
}

static int to_state(struct qp *qp, enum ibv_qp_state state)
{
	struct qp_attr attr = { .qp_state = state };

	return rig_modify(qp, IBV_QP_STATE, attr);
}

static enum ibv_qp_state state_of(struct qp *qp)
{
	struct qp_attr attr;

	ck_assert_int_eq(fabric_loopback.qp->query(qp, IBV_QP_STATE, &attr), 0);
	return attr.qp_state;
}

static enum ibv_wc_status status_of(struct cq *cq, int *index)
{
	struct pvhca_cqe cqe;

	ck_assert(rig_poll(cq, &cqe));
	if (index)
		*index = le16toh(cqe.wqe_index);
	return cqe.status;
}

static void post_write(struct qp *qp)
{
	struct pvhca_sq_wqe wqe = {
		.opcode = PVHCA_WQE_WRITE,
		.flags = PVHCA_WQE_F_SIGNALED,
	};

	rig_post_send(qp, wqe, NULL, NULL);
}

static void post_send(struct qp *qp)
{
	struct pvhca_sq_wqe wqe = {
		.opcode = PVHCA_WQE_SEND,
		.flags = PVHCA_WQE_F_SIGNALED,
	};

	rig_post_send(qp, wqe, NULL, NULL);
}

/* ------------------------------ state machine ------------------------------ */

START_TEST(states_are_entered_in_order)
{
	ck_assert_int_eq(state_of(a), IBV_QPS_RESET);
	ck_assert_int_eq(rig_to_init(a), 0);
	ck_assert_int_eq(state_of(a), IBV_QPS_INIT);
	ck_assert_int_eq(rig_to_rtr(a, b), 0);
	ck_assert_int_eq(state_of(a), IBV_QPS_RTR);
	ck_assert_int_eq(rig_to_rts(a, b), 0);
	ck_assert_int_eq(state_of(a), IBV_QPS_RTS);
	ck_assert_int_eq(to_state(a, IBV_QPS_SQD), 0);
	ck_assert_int_eq(state_of(a), IBV_QPS_SQD);
	ck_assert_int_eq(to_state(a, IBV_QPS_RTS), 0);
	ck_assert_int_eq(to_state(a, IBV_QPS_ERR), 0);
	ck_assert_int_eq(state_of(a), IBV_QPS_ERR);
	ck_assert_int_eq(to_state(a, IBV_QPS_RESET), 0);
	ck_assert_int_eq(state_of(a), IBV_QPS_RESET);
}
END_TEST

START_TEST(states_cannot_be_skipped_or_invented)
{
	static const uint8_t wrong[] = { IBV_QPS_SQE, IBV_QPS_UNKNOWN, 200, 255 };
	struct qp_attr attr = rig_attr(a, b);
	unsigned int i;

	ck_assert_int_eq(rig_to_rtr(a, b), PVHCA_ST_INVALID);
	ck_assert_int_eq(rig_to_rts(a, b), PVHCA_ST_INVALID);
	ck_assert_int_eq(to_state(a, IBV_QPS_SQD), PVHCA_ST_INVALID);
	ck_assert_int_eq(rig_to_init(a), 0);
	ck_assert_int_eq(rig_to_rts(a, b), PVHCA_ST_INVALID);
	ck_assert_int_eq(rig_to_rtr(a, b), 0);
	ck_assert_int_eq(rig_to_init(a), PVHCA_ST_INVALID);
	for (i = 0; i < sizeof(wrong); i++) {
		attr.qp_state = wrong[i];
		ck_assert_int_eq(rig_modify(a, IBV_QP_STATE, attr), PVHCA_ST_INVALID);
	}
	ck_assert_int_eq(state_of(a), IBV_QPS_RTR);
}
END_TEST

START_TEST(required_attributes_may_not_be_missing)
{
	static const uint32_t masks[] = { INIT_MASK, RTR_MASK, RTS_MASK };
	static const uint8_t states[] = { IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS };
	struct qp_attr attr = rig_attr(a, b);
	uint32_t mask = masks[_i];
	unsigned int bit;

	if (_i > 0)
		ck_assert_int_eq(rig_to_init(a), 0);
	if (_i > 1)
		ck_assert_int_eq(rig_to_rtr(a, b), 0);
	attr.qp_state = states[_i];
	for (bit = 1; bit < 32; bit++) {
		if (!(mask & 1u << bit))
			continue;
		ck_assert_int_eq(rig_modify(a, mask & ~(1u << bit), attr), PVHCA_ST_INVALID);
	}
	ck_assert_int_eq(rig_modify(a, mask, attr), 0);
}
END_TEST

START_TEST(foreign_attributes_are_refused)
{
	static const uint32_t foreign[] = {
		IBV_QP_CAP,	IBV_QP_QKEY, IBV_QP_ALT_PATH, IBV_QP_RATE_LIMIT,
		IBV_QP_TIMEOUT, 1u << 21,    1u << 31,
	};
	struct qp_attr attr = rig_attr(a, b);
	unsigned int i;

	attr.qp_state = IBV_QPS_INIT;
	for (i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		ck_assert_int_eq(rig_modify(a, INIT_MASK | foreign[i], attr), PVHCA_ST_INVALID);
	ck_assert_int_eq(state_of(a), IBV_QPS_RESET);
	attr.qp_state = IBV_QPS_ERR;
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE | IBV_QP_PORT, attr), PVHCA_ST_INVALID);
}
END_TEST

static struct qp_attr bad_rtr_attr(unsigned int i)
{
	struct qp_attr attr = rig_attr(a, b);

	switch (i) {
	case 0:
		attr.path_mtu = 0;
		break;
	case 1:
		attr.path_mtu = 6;
		break;
	case 2:
		attr.dest_qp_num = 0x1000000;
		break;
	case 3:
		attr.max_dest_rd_atomic = 255;
		break;
	case 4:
		attr.min_rnr_timer = 32;
		break;
	case 5:
		attr.av.is_global = 0;
		break;
	case 6:
		attr.av.sgid_index = 1;
		break;
	case 7:
		attr.av.sgid_index = 255;
		break;
	case 8:
		attr.av.port = 2;
		break;
	case 9:
		attr.av.is_global = 2;
		break;
	case 10:
		memset(attr.av.dgid, 0, 16);
		break;
	case 11:
		attr.av.sl = 16;
		break;
	}
	attr.qp_state = IBV_QPS_RTR;
	return attr;
}

START_TEST(values_out_of_range_change_nothing)
{
	struct qp_attr attr;

	ck_assert_int_eq(rig_to_init(a), 0);
	ck_assert_int_eq(rig_modify(a, RTR_MASK, bad_rtr_attr(_i)), PVHCA_ST_INVALID);
	ck_assert_int_eq(fabric_loopback.qp->query(a, ~0u, &attr), 0);
	ck_assert_int_eq(attr.qp_state, IBV_QPS_INIT);
	ck_assert_int_eq(attr.path_mtu, 0);
	ck_assert_int_eq(rig_to_rtr(a, b), 0);
}
END_TEST

START_TEST(rts_values_out_of_range_are_refused)
{
	struct qp_attr attr = rig_attr(a, b);

	ck_assert_int_eq(rig_to_init(a), 0);
	ck_assert_int_eq(rig_to_rtr(a, b), 0);
	attr.qp_state = IBV_QPS_RTS;
	attr.timeout = _i == 0 ? 32 : 14;
	attr.retry_cnt = _i == 1 ? 8 : 7;
	attr.rnr_retry = _i == 2 ? 8 : 7;
	attr.max_rd_atomic = _i == 3 ? 200 : 1;
	ck_assert_int_eq(rig_modify(a, RTS_MASK, attr), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(current_state_must_be_the_current_one)
{
	struct qp_attr attr = { .cur_qp_state = IBV_QPS_SQD };

	rig_connect(a, b);
	ck_assert_int_eq(rig_modify(a, IBV_QP_CUR_STATE, attr), PVHCA_ST_INVALID);
	attr.cur_qp_state = IBV_QPS_RTS;
	ck_assert_int_eq(rig_modify(a, IBV_QP_CUR_STATE, attr), 0);
}
END_TEST

START_TEST(query_gives_back_what_was_set)
{
	struct qp_attr want = rig_attr(a, b), attr;

	rig_connect(a, b);
	ck_assert_int_eq(fabric_loopback.qp->query(a, ~0u, &attr), 0);
	ck_assert_uint_eq(attr.dest_qp_num, want.dest_qp_num);
	ck_assert_uint_eq(attr.qp_access_flags, want.qp_access_flags);
	ck_assert_int_eq(attr.path_mtu, want.path_mtu);
	ck_assert_int_eq(attr.timeout, want.timeout);
	ck_assert_int_eq(attr.retry_cnt, want.retry_cnt);
	ck_assert_int_eq(attr.rnr_retry, want.rnr_retry);
	ck_assert_int_eq(attr.min_rnr_timer, want.min_rnr_timer);
	ck_assert_int_eq(attr.max_rd_atomic, want.max_rd_atomic);
	ck_assert_int_eq(attr.max_dest_rd_atomic, want.max_dest_rd_atomic);
	ck_assert_mem_eq(&attr.av, &want.av, offsetof(struct av, is_global) + 1);
	ck_assert_int_eq(to_state(a, IBV_QPS_RESET), 0);
	ck_assert_int_eq(fabric_loopback.qp->query(a, ~0u, &attr), 0);
	ck_assert_uint_eq(attr.dest_qp_num, 0);
}
END_TEST

/* --------------------------- states and the rings -------------------------- */

START_TEST(error_state_flushes_both_queues_in_order)
{
	int i, index;

	rig_connect(a, b);
	for (i = 0; i < 3; i++) {
		rig_post_recv(a, NULL, 0);
		post_send(a);
	}
	ck_assert_int_eq(to_state(a, IBV_QPS_ERR), 0);
	rig_pump();
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(status_of(a->send_cq, &index), IBV_WC_WR_FLUSH_ERR);
		ck_assert_int_eq(index, i);
		ck_assert_int_eq(status_of(a->recv_cq, &index), IBV_WC_WR_FLUSH_ERR);
		ck_assert_int_eq(index, i);
	}
	rig_post_recv(a, NULL, 0);
	rig_pump();
	ck_assert_int_eq(status_of(a->recv_cq, NULL), IBV_WC_WR_FLUSH_ERR);
}
END_TEST

START_TEST(receives_posted_in_init_serve_later_messages)
{
	ck_assert_int_eq(rig_to_init(b), 0);
	rig_post_recv(b, NULL, 0);
	rig_pump();
	ck_assert_int_eq(rig_to_init(a), 0);
	ck_assert_int_eq(rig_to_rtr(a, b), 0);
	ck_assert_int_eq(rig_to_rtr(b, a), 0);
	ck_assert_int_eq(rig_to_rts(a, b), 0);
	post_send(a);
	rig_pump();
	ck_assert_int_eq(status_of(a->send_cq, NULL), IBV_WC_SUCCESS);
	ck_assert_int_eq(status_of(b->recv_cq, NULL), IBV_WC_SUCCESS);
}
END_TEST

START_TEST(reset_forgets_what_was_outstanding)
{
	struct pvhca_cqe cqe;

	rig_connect(a, b);
	rig_post_recv(a, NULL, 0);
	post_send(a);
	rig_pump();
	ck_assert(rig_is_waiting());
	ck_assert_int_eq(to_state(a, IBV_QPS_RESET), 0);
	atomic_store(a->sq.pi, 0);
	atomic_store(a->rq.pi, 0);
	rig_pump_timers(5);
	ck_assert(!rig_poll(a->send_cq, &cqe));
	ck_assert(!rig_poll(a->recv_cq, &cqe));
	ck_assert(!rig_is_waiting());
}
END_TEST

START_TEST(old_connection_does_not_reach_a_qp_that_was_reset)
{
	rig_connect(a, b);
	post_write(a);
	rig_pump();
	ck_assert_int_eq(status_of(a->send_cq, NULL), IBV_WC_SUCCESS);
	/* b begins anew with somebody else. */
	ck_assert_int_eq(to_state(b, IBV_QPS_RESET), 0);
	ck_assert_int_eq(rig_to_init(b), 0);
	ck_assert_int_eq(rig_to_rtr(b, b), 0);
	post_write(a);
	rig_pump_timers(8);
	ck_assert_int_eq(status_of(a->send_cq, NULL), IBV_WC_RETRY_EXC_ERR);
}
END_TEST

START_TEST(drained_queue_holds_new_requests_until_rts)
{
	struct qp_attr attr = {
		.qp_state = IBV_QPS_SQD,
		.en_sqd_async_notify = 1,
	};
	struct pvhca_cqe cqe;

	rig_connect(a, b);
	post_send(a);
	rig_pump();
	post_write(a);
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY, attr), 0);
	ck_assert_int_eq(fabric_loopback.qp->query(a, ~0u, &attr), 0);
	ck_assert_int_eq(attr.sq_draining, 1);
	rig_pump();
	ck_assert(!rig_had_event(a, PVHCA_EVENT_SQ_DRAINED));

	rig_post_recv(b, NULL, 0);
	rig_pump();
	ck_assert(rig_had_event(a, PVHCA_EVENT_SQ_DRAINED));
	ck_assert_int_eq(status_of(a->send_cq, NULL), IBV_WC_SUCCESS);
	ck_assert(!rig_poll(a->send_cq, &cqe));
	ck_assert_int_eq(fabric_loopback.qp->query(a, ~0u, &attr), 0);
	ck_assert_int_eq(attr.sq_draining, 0);

	ck_assert_int_eq(to_state(a, IBV_QPS_RTS), 0);
	rig_pump();
	ck_assert_int_eq(status_of(a->send_cq, NULL), IBV_WC_SUCCESS);
}
END_TEST

START_TEST(idle_queue_is_drained_at_once)
{
	struct qp_attr attr = {
		.qp_state = IBV_QPS_SQD,
		.en_sqd_async_notify = 1,
	};

	rig_connect(a, b);
	ck_assert_int_eq(rig_modify(a, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY, attr), 0);
	ck_assert(rig_had_event(a, PVHCA_EVENT_SQ_DRAINED));
}
END_TEST

START_TEST(failure_by_the_peer_is_seen_before_the_own_worker_ran)
{
	struct loopback_qp *lqp = b->fabric;

	rig_connect(a, b);
	rig_post_recv(b, NULL, 0);
	pthread_mutex_lock(&b->rq_lock);
	loopback_qp_fail(lqp, PVHCA_EVENT_QP_ACCESS_ERR);
	pthread_mutex_unlock(&b->rq_lock);
	ck_assert_int_eq(state_of(b), IBV_QPS_ERR);
	ck_assert_int_eq(to_state(b, IBV_QPS_SQD), PVHCA_ST_INVALID);
	ck_assert_uint_eq(rig.wakes > 0, 1);
	rig_pump();
	ck_assert_int_eq(status_of(b->recv_cq, NULL), IBV_WC_WR_FLUSH_ERR);
}
END_TEST

START_TEST(qp_is_destroyed_with_work_outstanding)
{
	rig_connect(a, b);
	rig_post_recv(a, NULL, 0);
	post_send(a);
	rig_pump();
	ck_assert(rig_is_waiting());
	/* teardown destroys both; the peer's wait ends in nothing */
}
END_TEST

START_TEST(types_and_limits_that_are_not_there_are_refused)
{
	struct qp qp = *a;

	qp.type = PVHCA_QPT_GSI;
	ck_assert_int_eq(fabric_loopback.qp->create(&qp), PVHCA_ST_UNSUPPORTED);
	qp.type = PVHCA_QPT_UD + 1;
	ck_assert_int_eq(fabric_loopback.qp->create(&qp), PVHCA_ST_UNSUPPORTED);
	qp.type = PVHCA_QPT_RC;
	qp.cap.max_send_sge = LOOPBACK_MAX_SGE + 1;
	ck_assert_int_eq(fabric_loopback.qp->create(&qp), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(qp_numbers_are_24_bits_and_not_reused_soon)
{
	uint32_t first, last;
	struct qp *qp;
	int i;

	qp = rig_qp(rig.a);
	first = last = qp->qpn;
	rig_qp_free(qp);
	for (i = 0; i < 50; i++) {
		qp = rig_qp(rig.a);
		rig.a->slots--;
		ck_assert_uint_lt(qp->qpn, 0xffffff);
		ck_assert_uint_gt(qp->qpn, 1);
		ck_assert_uint_ne(qp->qpn, first);
		ck_assert_uint_ne(qp->qpn, last);
		last = qp->qpn;
		rig_qp_free(qp);
	}
}
END_TEST

/* ----------------------------- regions, numbers ---------------------------- */

START_TEST(key_of_a_region_that_is_gone_is_not_the_next_ones)
{
	struct mr *mr = rig_mr(rig.a, IOVA, 1, PVHCA_GRANULE, ALL_ACCESS);
	uint32_t key = mr->lkey;

	ck_assert_uint_eq(mr->rkey, key);
	rig_mr_free(mr);
	mr = rig_mr(rig.a, IOVA, 1, PVHCA_GRANULE, ALL_ACCESS);
	ck_assert_uint_ne(mr->lkey, key);
	ck_assert_uint_ne(mr->lkey >> 8, key >> 8);
	ck_assert_uint_ne(mr->lkey & 0xff, key & 0xff);
	rig_mr_free(mr);
}
END_TEST

/* Else its page faults are the worker's, which serves other VMs, too. */
START_TEST(a_region_has_its_page_faults_when_it_is_registered)
{
	const uint64_t before = rig.touched;
	struct mr *mr = rig_mr(rig.a, IOVA, 3, PVHCA_GRANULE, ALL_ACCESS);

	ck_assert_uint_eq(rig.touched - before, 3 * PVHCA_GRANULE);
	rig_mr_free(mr);
}
END_TEST

START_TEST(regions_that_make_no_sense_are_refused)
{
	struct mr *mr = rig_mr(rig.a, IOVA, 1, PVHCA_GRANULE, ALL_ACCESS);
	struct mr bad = *mr;

	bad.access = IBV_ACCESS_REMOTE_WRITE;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_INVALID);
	bad.access = IBV_ACCESS_REMOTE_ATOMIC;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_INVALID);
	bad.access = IBV_ACCESS_ON_DEMAND;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_UNSUPPORTED);
	bad = *mr;
	bad.length = 0;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_INVALID);
	bad.length = PVHCA_GRANULE + 1;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_INVALID);
	bad.length = PVHCA_GRANULE;
	bad.offset = 1;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_INVALID);
	bad.offset = 0;
	bad.iova = UINT64_MAX - 100;
	ck_assert_int_eq(fabric_loopback.mr_reg(&bad), PVHCA_ST_INVALID);
	rig_mr_free(mr);
}
END_TEST

START_TEST(region_is_changed_in_place_under_its_key)
{
	struct mr *mr = rig_mr(rig.a, IOVA, 1, PVHCA_GRANULE, ALL_ACCESS);
	struct mr *other = rig_mr(rig.a, IOVA, 1, PVHCA_GRANULE, ALL_ACCESS);
	struct loopback *fabric = (struct loopback *)rig.fabric;
	struct mr next = *mr, was = *mr;
	struct pd pd = rig.a->pd;
	uint32_t key = mr->lkey;

	next.access = IBV_ACCESS_LOCAL_WRITE;
	next.pd = &pd;
	next.iova = 2 * IOVA;
	next.extents = other->extents;
	ck_assert_int_eq(rig_rereg(mr,
				   IBV_REREG_MR_CHANGE_ACCESS | IBV_REREG_MR_CHANGE_PD |
					   IBV_REREG_MR_CHANGE_TRANSLATION,
				   &next),
			 0);
	ck_assert_uint_eq(next.lkey, key);
	ck_assert_uint_eq(next.rkey, key);
	ck_assert_ptr_eq(loopback_table_find(&fabric->mrs, key >> 8), mr);
	ck_assert_uint_eq(mr->access, IBV_ACCESS_LOCAL_WRITE);
	ck_assert_uint_eq(mr->iova, 2 * IOVA);
	ck_assert_ptr_eq(mr->pd, &pd);
	ck_assert_ptr_eq(mr->extents, other->extents);

	/* What makes no sense changes nothing. */
	next.length = 0;
	ck_assert_int_eq(rig_rereg(mr, IBV_REREG_MR_CHANGE_TRANSLATION, &next), PVHCA_ST_INVALID);
	ck_assert_uint_ne(mr->length, 0);
	ck_assert_ptr_eq(loopback_table_find(&fabric->mrs, key >> 8), mr);
	mr->extents = was.extents; /* the caller's to keep or free */
	rig_mr_free(mr);
	rig_mr_free(other);
}
END_TEST

START_TEST(region_may_end_at_the_end_of_the_address_space)
{
	struct mr *mr = rig_mr(rig.a, -(uint64_t)PVHCA_GRANULE, 1, PVHCA_GRANULE, ALL_ACCESS);

	rig_mr_free(mr);
}
END_TEST

START_TEST(optional_access_is_dropped_quietly)
{
	struct mr *mr =
		rig_mr(rig.a, IOVA, 1, PVHCA_GRANULE, ALL_ACCESS | IBV_ACCESS_RELAXED_ORDERING);

	rig_mr_free(mr);
}
END_TEST

/* ---------------------------------- numbers -------------------------------- */

#define MANY 5000u

/* An assertion costs much, so those in loops are counted. */
START_TEST(table_finds_many_numbers_and_forgets_them)
{
	uint32_t *number = calloc(MANY, sizeof(*number)), wrong = 0;
	struct loopback_table table;

	ck_assert_int_eq(loopback_table_init(&table), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		wrong += loopback_table_reserve(&table, &number[i]) != 0;
		wrong += number[i] < 2 || number[i] >= 0xffffff;
		wrong += loopback_table_find(&table, number[i]) != NULL;
		loopback_table_publish(&table, number[i], &number[i]);
	}
	for (uint32_t i = 0; i < MANY; i += 2)
		loopback_places_free(loopback_table_remove(&table, number[i]));
	for (uint32_t i = 0; i < MANY; i++)
		wrong += loopback_table_find(&table, number[i]) != (i & 1 ? &number[i] : NULL);
	for (uint32_t i = 1; i < MANY; i += 2)
		loopback_places_free(loopback_table_remove(&table, number[i]));
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(table.used, 0);
	ck_assert_ptr_null(loopback_table_find(&table, 0));
	ck_assert_ptr_null(loopback_table_find(&table, UINT32_MAX));
	loopback_table_fini(&table);
	free(number);
}
END_TEST

/* Nobody finds it, but it is not to be had by another, nor lost when the table moves. */
START_TEST(a_hidden_number_stays_reserved)
{
	uint32_t hidden, number;
	struct loopback_table table;
	int object, failed = 0;

	ck_assert_int_eq(loopback_table_init(&table), 0);
	ck_assert_int_eq(loopback_table_reserve(&table, &hidden), 0);
	loopback_table_publish(&table, hidden, &object);
	loopback_table_publish(&table, hidden, NULL);
	for (uint32_t i = 0; i < 1000 && !failed; i++)
		failed = loopback_table_reserve(&table, &number);
	ck_assert_int_eq(failed, 0);
	ck_assert_ptr_null(loopback_table_find(&table, hidden));
	loopback_table_publish(&table, hidden, &object);
	ck_assert_ptr_eq(loopback_table_find(&table, hidden), &object);
	loopback_table_fini(&table);
}
END_TEST

START_TEST(a_table_does_not_grow_by_numbers_that_come_and_go)
{
	struct loopback_table table;
	uint32_t number, wrong = 0;

	ck_assert_int_eq(loopback_table_init(&table), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		wrong += loopback_table_reserve(&table, &number) != 0;
		loopback_places_free(loopback_table_remove(&table, number));
		wrong += table.retired != NULL;
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_lt(atomic_load(&table.places)->mask, 64);
	loopback_table_fini(&table);
}
END_TEST

/* From any number of steps between the numbers before, none tells the next one. */
START_TEST(numbers_do_not_follow_from_others)
{
	struct loopback_table table;
	uint32_t number[256], same = 0;
	int failed = 0;

	ck_assert_int_eq(loopback_table_init(&table), 0);
	for (uint32_t i = 0; i < 256 && !failed; i++)
		failed = loopback_table_reserve(&table, &number[i]);
	ck_assert_int_eq(failed, 0);
	for (uint32_t i = 2; i < 256; i++)
		same += number[i] - number[i - 1] == number[i - 1] - number[i - 2];
	/* One by chance: once in 66,000 runs. */
	ck_assert_uint_lt(same, 3);
	loopback_table_fini(&table);
}
END_TEST

/* --------------------------- device and addresses -------------------------- */

START_TEST(address_belongs_to_one_session)
{
	const uint8_t *gid = rig.a->vm.gids[0].gid;

	ck_assert_int_eq(fabric_loopback.gid_add(&rig.b->vm, 1, gid, PVHCA_NO_VLAN),
			 PVHCA_ST_IN_USE);
	ck_assert_int_eq(fabric_loopback.gid_add(&rig.a->vm, 1, gid, PVHCA_NO_VLAN), 0);
	rig_gid_del(rig.b, 0, gid);
	rig_gid_del(rig.a, 0, gid);
	ck_assert_int_eq(fabric_loopback.gid_add(&rig.b->vm, 1, gid, PVHCA_NO_VLAN),
			 PVHCA_ST_IN_USE);
	rig_gid_del(rig.a, 0, gid);
	rig.a->vm.gids[0].used = false;
	ck_assert_int_eq(fabric_loopback.gid_add(&rig.b->vm, 1, gid, PVHCA_NO_VLAN), 0);
	rig_gid_del(rig.b, 0, gid);
}
END_TEST

START_TEST(port_is_active_roce_and_the_device_has_atomics)
{
	struct device_limits device;
	struct port_attr port;

	ck_assert_int_eq(fabric_loopback.query_device(&rig.a->vm, &device), 0);
	ck_assert_uint_eq(device.atomic_cap, IBV_ATOMIC_HCA);
	ck_assert_uint_ge(device.max_sge, 16);
	ck_assert_uint_eq(device.max_mcast_qp_attach, LOOPBACK_MAX_MCAST_ATTACH);
	ck_assert(device.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B);
	ck_assert_str_eq(device.host_device, "loopback");
	ck_assert_int_eq(fabric_loopback.query_port(&rig.a->vm, &port), 0);
	ck_assert_int_eq(port.state, IBV_PORT_ACTIVE);
	ck_assert_uint_eq(port.max_msg_sz, 1u << 31);
}
END_TEST

static void add_states(Suite *suite)
{
	TCase *tcase = tcase_create("state machine");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, states_are_entered_in_order);
	tcase_add_test(tcase, states_cannot_be_skipped_or_invented);
	tcase_add_loop_test(tcase, required_attributes_may_not_be_missing, 0, 3);
	tcase_add_test(tcase, foreign_attributes_are_refused);
	tcase_add_loop_test(tcase, values_out_of_range_change_nothing, 0, 12);
	tcase_add_loop_test(tcase, rts_values_out_of_range_are_refused, 0, 4);
	tcase_add_test(tcase, current_state_must_be_the_current_one);
	tcase_add_test(tcase, query_gives_back_what_was_set);
	suite_add_tcase(suite, tcase);

	tcase = tcase_create("states and rings");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, error_state_flushes_both_queues_in_order);
	tcase_add_test(tcase, receives_posted_in_init_serve_later_messages);
	tcase_add_test(tcase, reset_forgets_what_was_outstanding);
	tcase_add_test(tcase, old_connection_does_not_reach_a_qp_that_was_reset);
	tcase_add_test(tcase, drained_queue_holds_new_requests_until_rts);
	tcase_add_test(tcase, idle_queue_is_drained_at_once);
	tcase_add_test(tcase, failure_by_the_peer_is_seen_before_the_own_worker_ran);
	tcase_add_test(tcase, qp_is_destroyed_with_work_outstanding);
	tcase_add_test(tcase, types_and_limits_that_are_not_there_are_refused);
	tcase_add_test(tcase, qp_numbers_are_24_bits_and_not_reused_soon);
	suite_add_tcase(suite, tcase);
}

static void add_objects(Suite *suite)
{
	TCase *tcase = tcase_create("regions, numbers, addresses");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, key_of_a_region_that_is_gone_is_not_the_next_ones);
	tcase_add_test(tcase, a_region_has_its_page_faults_when_it_is_registered);
	tcase_add_test(tcase, regions_that_make_no_sense_are_refused);
	tcase_add_test(tcase, region_is_changed_in_place_under_its_key);
	tcase_add_test(tcase, region_may_end_at_the_end_of_the_address_space);
	tcase_add_test(tcase, optional_access_is_dropped_quietly);
	tcase_add_test(tcase, table_finds_many_numbers_and_forgets_them);
	tcase_add_test(tcase, a_hidden_number_stays_reserved);
	tcase_add_test(tcase, a_table_does_not_grow_by_numbers_that_come_and_go);
	tcase_add_test(tcase, numbers_do_not_follow_from_others);
	tcase_add_test(tcase, address_belongs_to_one_session);
	tcase_add_test(tcase, port_is_active_roce_and_the_device_has_atomics);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("loopback_qp");
	SRunner *runner;
	int failed;

	add_states(suite);
	add_objects(suite);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
