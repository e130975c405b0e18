// SPDX-License-Identifier: GPL-2.0-or-later
/* The null fabric under the guest's own commands: what is posted completes, nothing moves. */
#include <endian.h>
#include <string.h>

#include "admin/commands_rig.h"
#include "fabric/fabrics.h"
#include "suite.h"
#include "vm/pass.h"

#define ENTRIES 16u

static struct qp *qp;
static uint32_t pd, context, cq;
static uint8_t *cq_ring, *qp_buffer;
static uint32_t polled;
static uint32_t args_sq_offset, args_rq_offset;

static void modify(uint8_t state)
{
	struct pvhca_cmd_modify_qp args = {
		.qp = qp->handle,
		.attr_mask = IBV_QP_STATE,
		.attr.qp_state = state,
	};

	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &args, sizeof(args)), PVHCA_ST_OK);
}

static void setup(void)
{
	struct pvhca_cmd_create_cq cq_args;
	struct pvhca_cmd_create_qp qp_args;
	uint32_t ceq;

	rig_setup();
	rig.vm.ops = fabrics_find("null");
	rig.vm.fabric = rig.vm.ops->start();
	ck_assert_ptr_nonnull(rig.vm.fabric);
	ck_assert_int_eq(rig.vm.ops->vm_open(rig.vm.fabric, &rig.vm), 0);

	ceq = RIG_MAKE(PVHCA_CMD_CREATE_CEQ, rig_ceq());
	context = RIG_MAKE(PVHCA_CMD_ALLOC_CONTEXT, rig_context());
	pd = RIG_MAKE(PVHCA_CMD_ALLOC_PD, rig_pd(context));
	cq_args = rig_cq(context, ceq);
	cq = RIG_MAKE(PVHCA_CMD_CREATE_CQ, cq_args);
	qp_args = rig_qp(context, pd, cq);
	args_sq_offset = qp_args.sq_offset;
	args_rq_offset = qp_args.rq_offset;
	qp = table_find(&rig.vm.qps, RIG_MAKE(PVHCA_CMD_CREATE_QP, qp_args));
	cq_ring = rig.ram + cq_args.mem.extents[0].addr;
	qp_buffer = rig.ram + qp_args.mem.extents[0].addr;
	modify(IBV_QPS_INIT);
	modify(IBV_QPS_RTR);
	modify(IBV_QPS_RTS);
}

static void teardown(void)
{
	const struct fabric_ops *ops = rig.vm.ops;

	commands_destroy_all(&rig.vm);
	ops->vm_close(&rig.vm);
	ck_assert_ptr_null(rig.vm.fabric_vm);
	ops->stop(rig.vm.fabric);
	rig_teardown();
}

static struct pvhca_queue_header *header(void)
{
	return (struct pvhca_queue_header *)qp_buffer;
}

static struct pvhca_sq_wqe *post_send(uint8_t opcode, uint8_t flags, uint32_t length)
{
	uint32_t pi = le32toh(header()->sq_pi);
	struct pvhca_sq_wqe *wqe = (void *)(qp_buffer + args_sq_offset + pi % ENTRIES * 64);
	struct pvhca_sge *sge = (void *)((uint8_t *)wqe + PVHCA_SQ_WQE_DATA);

	memset(wqe, 0, 64);
	wqe->opcode = opcode;
	wqe->flags = flags;
	wqe->num_sge = htole16(1);
	sge->length = htole32(length);
	header()->sq_pi = htole32(pi + 1);
	return wqe;
}

static void post_receive(uint16_t tag)
{
	uint32_t pi = le32toh(header()->rq_pi);
	struct pvhca_rq_wqe *wqe = (void *)(qp_buffer + args_rq_offset + pi % ENTRIES * 32);

	memset(wqe, 0, 32);
	wqe->tag = htole16(tag);
	header()->rq_pi = htole32(pi + 1);
}

static unsigned int serve(void)
{
	static struct pass pass;
	unsigned int taken;

	pass_begin_turn(&pass, PASS_UNLIMITED, 0);
	pthread_mutex_lock(&qp->lock);
	taken = qp->ops->serve(&pass, qp);
	pthread_mutex_unlock(&qp->lock);
	return taken;
}

/* The next completion, which must be there. */
static struct pvhca_cqe *expect(enum ibv_wc_status status)
{
	struct pvhca_cqe *cqe = (void *)(cq_ring + PVHCA_CQ_HEADER_SIZE);

	ck_assert_uint_lt(polled, 16);
	cqe += polled++;
	ck_assert(cqe->flags & PVHCA_CQE_F_PHASE);
	ck_assert_int_eq(cqe->status, status);
	ck_assert_uint_eq(le32toh(cqe->qpn), qp->qpn);
	return cqe;
}

static void expect_none(void)
{
	const struct pvhca_cqe *cqe = (void *)(cq_ring + PVHCA_CQ_HEADER_SIZE);

	ck_assert(!(cqe[polled].flags & PVHCA_CQE_F_PHASE));
}

START_TEST(what_is_posted_completes_and_is_counted)
{
	struct pvhca_cqe *cqe;

	post_send(PVHCA_WQE_WRITE, PVHCA_WQE_F_SIGNALED, 1000);
	post_send(PVHCA_WQE_SEND, 0, 24);
	post_send(PVHCA_WQE_READ, PVHCA_WQE_F_SIGNALED, 8);
	ck_assert_uint_eq(serve(), 3);
	cqe = expect(IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe->opcode, PVHCA_CQE_WRITE);
	ck_assert_uint_eq(le16toh(cqe->wqe_index), 0);
	cqe = expect(IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe->opcode, PVHCA_CQE_READ);
	ck_assert_uint_eq(le16toh(cqe->wqe_index), 2);
	ck_assert_uint_eq(le32toh(cqe->byte_len), 8);
	expect_none();
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(rig.vm.counters.messages, 3);
	ck_assert_uint_eq(rig.vm.counters.completions, 2);
	ck_assert_uint_eq(rig.vm.counters.payload_bytes_sent, 1032);
	ck_assert_uint_eq(rig.vm.counters.payload_bytes_copied, 0);
	ck_assert_uint_eq(rig.vm.counters.errors, 0);
}
END_TEST

START_TEST(nothing_is_served_before_rts)
{
	modify(IBV_QPS_RESET);
	modify(IBV_QPS_INIT);
	header()->sq_pi = 0;
	post_send(PVHCA_WQE_WRITE, PVHCA_WQE_F_SIGNALED, 8);
	ck_assert_uint_eq(serve(), 0);
	modify(IBV_QPS_RTR);
	modify(IBV_QPS_RTS);
	ck_assert_uint_eq(serve(), 1);
	expect(IBV_WC_SUCCESS);
}
END_TEST

START_TEST(receives_wait_until_the_queue_pair_fails)
{
	post_receive(7);
	post_receive(9);
	ck_assert_uint_eq(serve(), 0);
	post_send(PVHCA_WQE_WRITE, PVHCA_WQE_F_SIGNALED, 8);
	modify(IBV_QPS_ERR);
	ck_assert_uint_eq(serve(), 3);
	expect(IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(le16toh(expect(IBV_WC_WR_FLUSH_ERR)->wqe_index), 7);
	ck_assert_uint_eq(le16toh(expect(IBV_WC_WR_FLUSH_ERR)->wqe_index), 9);
	ck_assert_uint_eq(rig.vm.counters.receives, 2);
	ck_assert_uint_eq(rig.vm.counters.errors, 3);
}
END_TEST

START_TEST(a_bad_entry_fails_and_what_follows_is_flushed)
{
	post_send(99, 0, 8);
	post_send(PVHCA_WQE_WRITE, 0, 8);
	ck_assert_uint_eq(serve(), 2);
	expect(IBV_WC_LOC_QP_OP_ERR);
	expect(IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(atomic_load(&qp->state), IBV_QPS_ERR);
}
END_TEST

START_TEST(more_than_the_queue_holds_stops_the_queue_pair)
{
	header()->sq_pi = htole32(ENTRIES + 1);
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(rig.vm.counters.protocol_errors, 1);
	ck_assert_uint_eq(atomic_load(&qp->state), IBV_QPS_ERR);
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(rig.vm.counters.protocol_errors, 1);
	expect_none();
}
END_TEST

START_TEST(states_cannot_be_skipped)
{
	struct pvhca_cmd_modify_qp args = {
		.qp = qp->handle,
		.attr_mask = IBV_QP_STATE,
		.attr.qp_state = IBV_QPS_RTS,
	};

	modify(IBV_QPS_RESET);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &args, sizeof(args)), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(attributes_are_kept)
{
	struct pvhca_cmd_modify_qp args = {
		.qp = qp->handle,
		.attr_mask = IBV_QP_RNR_RETRY | IBV_QP_DEST_QPN,
		.attr = { .rnr_retry = 5, .dest_qp_num = htole32(77), .timeout = 9 },
	};
	struct pvhca_cmd_query_qp query = { .qp = qp->handle, .attr_mask = IBV_QP_STATE };

	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &args, sizeof(args)), PVHCA_ST_OK);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_QUERY_QP, &query, sizeof(query)), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.qp_state, IBV_QPS_RTS);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.rnr_retry, 5);
	ck_assert_uint_eq(le32toh(rig.rsp.query_qp.attr.dest_qp_num), 77);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.timeout, 0);
}
END_TEST

START_TEST(numbers_and_keys_differ)
{
	uint32_t other = RIG_MAKE(PVHCA_CMD_CREATE_QP, rig_qp(context, pd, cq));
	uint32_t rkey;

	ck_assert_uint_ne(((struct qp *)table_find(&rig.vm.qps, other))->qpn, qp->qpn);
	RIG_MAKE(PVHCA_CMD_REG_MR, rig_mr(pd));
	rkey = rig.rsp.reg_mr.rkey;
	RIG_MAKE(PVHCA_CMD_REG_MR, rig_mr(pd));
	ck_assert_uint_ne(rig.rsp.reg_mr.rkey, rkey);
}
END_TEST

START_TEST(what_it_lacks_is_unsupported)
{
	struct pvhca_cmd_alloc_mw mw = { .pd = pd, .type = 1 };
	struct pvhca_cmd_create_qp ud = rig_qp(context, pd, cq);

	ud.type = PVHCA_QPT_UD;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_ALLOC_MW, &mw, sizeof(mw)), PVHCA_ST_UNSUPPORTED);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_CREATE_QP, &ud, sizeof(ud)), PVHCA_ST_UNSUPPORTED);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("null");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_posted_completes_and_is_counted);
	tcase_add_test(tc, nothing_is_served_before_rts);
	tcase_add_test(tc, receives_wait_until_the_queue_pair_fails);
	tcase_add_test(tc, a_bad_entry_fails_and_what_follows_is_flushed);
	tcase_add_test(tc, more_than_the_queue_holds_stops_the_queue_pair);
	tcase_add_test(tc, states_cannot_be_skipped);
	tcase_add_test(tc, attributes_are_kept);
	tcase_add_test(tc, numbers_and_keys_differ);
	tcase_add_test(tc, what_it_lacks_is_unsupported);
	return suite_run("null_qp", tc);
}
