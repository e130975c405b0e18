// SPDX-License-Identifier: GPL-2.0-or-later
/* The commands_*.c files: what they leave behind, and in which order they undo. */
#include <string.h>

#include "admin/commands_rig.h"
#include "lib/grace.h"
#include "memory/memory.h"
#include "vm/cq.h"
#include "suite.h"

START_TEST(all_is_given_back_at_once)
{
	uint64_t before;

	rig_world();
	ck_assert_int_eq(rig.objects, 3); /* PD, MR, QP */
	ck_assert_uint_eq(rig.vm.pinned_bytes, RIG_K4);
	before = grace_count();
	commands_destroy_all(&rig.vm);
	/* Once for all of it. */
	ck_assert_uint_eq(grace_count() - before, 1);
	ck_assert_int_eq(rig.left, 1);
	rig_expect_nothing();
}
END_TEST

START_TEST(all_is_given_back_one_by_one)
{
	struct rig_world world = rig_world();

	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_QP, world.qp), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_CQ, world.cq), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEREG_MR, world.mr), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_PD, world.pd), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_CONTEXT, world.context), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_CEQ, world.ceq), 0);
	rig_expect_nothing();
}
END_TEST

START_TEST(what_others_use_is_busy)
{
	struct rig_world world = rig_world();

	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_CQ, world.cq), PVHCA_ST_BUSY);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_PD, world.pd), PVHCA_ST_BUSY);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_CONTEXT, world.context), PVHCA_ST_BUSY);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_CEQ, world.ceq), PVHCA_ST_BUSY);
	/* A PD is busy by its MR alone, too. */
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_QP, world.qp), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_PD, world.pd), PVHCA_ST_BUSY);
}
END_TEST

/* Whatever the fabric refuses, nothing is left of it and the next attempt works. */
START_TEST(a_failure_of_the_fabric_leaves_nothing_behind)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_alloc_context context = rig_context();
	struct pvhca_cmd_alloc_pd pd = rig_pd(world.context);
	struct pvhca_cmd_reg_mr mr = rig_mr(world.pd);
	struct pvhca_cmd_create_qp qp = rig_qp(world.context, world.pd, world.cq);
	struct pvhca_cmd_add_gid gid = {
		.gid = { 1 },
		.port = 1,
		.gid_type = 1,
		.vlan = 0xffff,
	};
	const struct {
		uint16_t opcode;
		const void *args;
		size_t size;
		uint32_t status;
	} commands[] = {
		{ PVHCA_CMD_ALLOC_CONTEXT, &context, sizeof(context), PVHCA_ST_NO_MEMORY },
		{ PVHCA_CMD_ALLOC_PD, &pd, sizeof(pd), PVHCA_ST_IO },
		{ PVHCA_CMD_REG_MR, &mr, sizeof(mr), PVHCA_ST_IO },
		{ PVHCA_CMD_CREATE_QP, &qp, sizeof(qp), PVHCA_ST_IO },
		{ PVHCA_CMD_ADD_GID, &gid, sizeof(gid), PVHCA_ST_IO },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		int objects = rig.objects, contexts = rig.contexts;

		/* More often than the quota and a context's slots would bear. */
		for (int n = 0; n < 5000; n++) {
			rig.fail_in = 0;
			ck_assert_uint_eq(rig_run(commands[i].opcode, commands[i].args,
						  commands[i].size),
					  commands[i].status);
		}
		rig.fail_in = -1;
		ck_assert_int_eq(rig.objects, objects);
		ck_assert_int_eq(rig.contexts, contexts);
		ck_assert_uint_eq(rig_run(commands[i].opcode, commands[i].args, commands[i].size),
				  PVHCA_ST_OK);
	}
}
END_TEST

/* The table of 4096 slots would be most of what a session takes. */
START_TEST(a_context_has_room_for_the_slots_that_were_taken)
{
	struct rig_world world = rig_world();
	struct context *context = table_find(&rig.vm.contexts, world.context);
	uint32_t slot;

	ck_assert_uint_le(sizeof(*context), 4096);
	ck_assert_ptr_nonnull(context->slots[0]);
	ck_assert_ptr_null(context->slots[1]);
	ck_assert_ptr_null(context_qp(context, 4095));
	ck_assert_ptr_null(context_srq(context, 64));
	/* The QP has 0. */
	for (uint32_t i = 1; i <= 64; i++) {
		ck_assert(commands_slot_take(context, &slot));
		ck_assert_uint_eq(slot, i);
	}
	ck_assert_ptr_nonnull(context->slots[1]);
	ck_assert_ptr_null(context->slots[2]);
	for (uint32_t i = 1; i <= 64; i++)
		commands_slot_give(context, i);
}
END_TEST

START_TEST(a_qp_is_published_when_it_is_whole_and_reserves_its_completions)
{
	struct rig_world world = rig_world();
	struct context *context = table_find(&rig.vm.contexts, world.context);
	struct qp *qp = table_find(&rig.vm.qps, world.qp);
	struct cq *cq = table_find(&rig.vm.cqs, world.cq);

	ck_assert_ptr_eq(context_qp(context, qp->slot), qp);
	ck_assert_uint_eq(cq->backlog_limit, 32);
	ck_assert_uint_eq(cq->users, 2);
	ck_assert_uint_eq(qp->sq.entries, 16);
	ck_assert_uint_eq(qp->rq.entries, 16);
	ck_assert_uint_eq(rig.rsp.create_qp.slot, qp->slot);
	ck_assert_uint_eq(rig.rsp.create_qp.doorbell, 8);
	ck_assert_uint_eq(rig.rsp.create_qp.qpn, 0x123);
	ck_assert_uint_eq(rig.rsp.create_qp.cap.max_send_sge, 2);
	rig_destroy(PVHCA_CMD_DESTROY_QP, world.qp);
	ck_assert_ptr_null(context_qp(context, 0));
	ck_assert_uint_eq(cq->backlog_limit, 0);
}
END_TEST

START_TEST(a_qp_without_one_of_its_rings)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_qp args = rig_qp(world.context, world.pd, world.cq);
	struct qp *qp;

	args.cap.max_recv_wr = args.cap.max_recv_sge = 0;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_CREATE_QP, &args, sizeof(args)), PVHCA_ST_INVALID);
	args.rq_offset = args.rq_log_entries = args.rq_log_stride = 0;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_CREATE_QP, &args, sizeof(args)), PVHCA_ST_OK);
	qp = table_find(&rig.vm.qps, rig.rsp.create_qp.handle);
	ck_assert_uint_eq(qp->rq.entries, 0);
	ck_assert_uint_eq(work_queue_posted(&qp->rq), 0);
}
END_TEST

START_TEST(a_qp_with_two_cqs_uses_each)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_qp args = rig_qp(world.context, world.pd, world.cq);
	uint32_t other = RIG_MAKE(PVHCA_CMD_CREATE_CQ, rig_cq(world.context, world.ceq));
	uint32_t qp;

	args.recv_cq = other;
	args.rq_log_entries = 3;
	args.cap.max_recv_wr = 8;
	qp = RIG_MAKE(PVHCA_CMD_CREATE_QP, args);
	ck_assert_uint_eq(((struct cq *)table_find(&rig.vm.cqs, other))->backlog_limit, 8);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_CQ, other), PVHCA_ST_BUSY);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_QP, qp), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_CQ, other), 0);
}
END_TEST

START_TEST(reset_forgets_completions_that_were_held_back)
{
	struct rig_world world = rig_world();
	struct cq *cq = table_find(&rig.vm.cqs, world.cq);
	struct pvhca_cqe cqe = { 0 };
	struct qp *qp = table_find(&rig.vm.qps, world.qp);
	struct cq_held other = { 0 };
	struct pvhca_cmd_modify_qp modify = {
		.qp = world.qp,
		.attr_mask = IBV_QP_STATE,
	};

	for (int i = 0; i < 20; i++)
		cq_push(NULL, cq, i & 1 ? &qp->send_held : &other, &cqe, false);
	ck_assert_uint_eq(cq->backlog_count, 4);
	modify.attr.qp_state = IBV_QPS_ERR;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_OK);
	ck_assert_uint_eq(cq->backlog_count, 4);
	modify.attr.qp_state = IBV_QPS_RESET;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_OK);
	ck_assert_uint_eq(cq->backlog_count, 2);
	cq_forget(cq, &other);
	ck_assert_uint_eq(cq->backlog_count, 0);
}
END_TEST

START_TEST(modify_asks_the_worker_to_look_again)
{
	struct rig_world world = rig_world();
	struct context *context = table_find(&rig.vm.contexts, world.context);
	struct pvhca_cmd_modify_qp modify = {
		.qp = world.qp,
		.attr_mask = IBV_QP_STATE,
		.attr.qp_state = IBV_QPS_INIT,
	};

	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_OK);
	ck_assert_uint_eq(context->again_summary, 1);
	ck_assert_uint_eq(context->again[0], 1);
}
END_TEST

START_TEST(an_av_needs_an_address_of_the_guests)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_modify_qp modify = {
		.qp = world.qp,
		.attr_mask = IBV_QP_AV,
		.attr.av = { .is_global = 1, .port = 1, .sgid_index = 1 },
	};
	struct pvhca_cmd_add_gid gid = {
		.gid = { [15] = 9 },
		.index = 1,
		.port = 1,
		.gid_type = 1,
		.vlan = 0xffff,
	};
	const uint8_t *found;

	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_INVALID);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_ADD_GID, &gid, sizeof(gid)), 0);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_OK);
	modify.attr.av.reserved0 = 1;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_INVALID);
	modify.attr.av.reserved0 = 0;
	modify.attr.av.reserved1 = 1;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_INVALID);
	modify.attr.av.reserved1 = 0;
	modify.attr.reserved0 = 1;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_INVALID);
	ck_assert_uint_eq(rig.gid_index, 1);
	ck_assert_uint_eq(rig.gid_last, 9);
	ck_assert(vm_gid(&rig.vm, 1, &found));
	ck_assert_uint_eq(found[15], 9);
	ck_assert(!vm_gid(&rig.vm, 0, &found));
	ck_assert(!vm_gid(&rig.vm, VM_GIDS, &found));
	ck_assert(!vm_gid(&rig.vm, UINT32_MAX, &found));
}
END_TEST

START_TEST(a_query_tells_the_state_and_the_capabilities)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_modify_qp modify = {
		.qp = world.qp,
		.attr_mask = IBV_QP_STATE,
		.attr.qp_state = IBV_QPS_INIT,
	};
	struct pvhca_cmd_query_qp query = { .qp = world.qp, .attr_mask = IBV_QP_STATE };

	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_OK);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_QUERY_QP, &query, sizeof(query)), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.qp_state, IBV_QPS_INIT);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.cap.max_send_wr, 16);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.cap.max_send_sge, 2);
	ck_assert_uint_eq(rig.rsp.query_qp.attr.cap.max_inline, 32);
}
END_TEST

/* As adapters do: programs set fields to all ones. */
START_TEST(surplus_bits_of_qp_attributes_are_dropped)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_modify_qp modify = {
		.qp = world.qp,
		.attr_mask = htole32(IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				     IBV_QP_MIN_RNR_TIMER | IBV_QP_RQ_PSN | IBV_QP_SQ_PSN |
				     IBV_QP_DEST_QPN | IBV_QP_ACCESS_FLAGS),
		.attr = {
			.timeout = 0xff,
			.retry_cnt = 0xff,
			.rnr_retry = 0xff,
			.min_rnr_timer = 0xff,
			.rq_psn = 0xffffffff,
			.sq_psn = 0xff000001,
			.dest_qp_num = 0x12345678,
			.qp_access_flags = htole32(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_ON_DEMAND),
		},
	};

	ck_assert_uint_eq(rig_run(PVHCA_CMD_MODIFY_QP, &modify, sizeof(modify)), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.attr.timeout, 31);
	ck_assert_uint_eq(rig.attr.retry_cnt, 7);
	ck_assert_uint_eq(rig.attr.rnr_retry, 7);
	ck_assert_uint_eq(rig.attr.min_rnr_timer, 31);
	ck_assert_uint_eq(rig.attr.rq_psn, 0xffffff);
	ck_assert_uint_eq(rig.attr.sq_psn, 1);
	ck_assert_uint_eq(rig.attr.dest_qp_num, 0x345678);
	ck_assert_uint_eq(rig.attr.qp_access_flags, IBV_ACCESS_REMOTE_WRITE);
}
END_TEST

START_TEST(limits_are_the_lower_of_host_and_quota)
{
	ck_assert_uint_eq(rig_run(PVHCA_CMD_QUERY_DEVICE, "", 0), 0);
	ck_assert_uint_eq(rig.rsp.query_device.max_qp, 3);
	ck_assert_uint_eq(rig.rsp.query_device.max_mr, 3);
	ck_assert_uint_eq(rig.rsp.query_device.max_mr_size, 1 << 20);
	ck_assert_uint_eq(rig.rsp.query_device.gid_tbl_len, 2);
	ck_assert_uint_eq(rig.rsp.query_device.max_contexts, 3);
	ck_assert_uint_ne(rig.rsp.query_device.fw_ver[0], 0);
	rig.policy.quota.mrs = 100;
	rig_run(PVHCA_CMD_QUERY_DEVICE, "", 0);
	ck_assert_uint_eq(rig.rsp.query_device.max_mr, 5);
}
END_TEST

START_TEST(a_quota_ends_and_comes_back)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_qp args = rig_qp(world.context, world.pd, world.cq);

	RIG_MAKE(PVHCA_CMD_CREATE_QP, args);
	RIG_MAKE(PVHCA_CMD_CREATE_QP, args);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(rig_run(PVHCA_CMD_CREATE_QP, &args, sizeof(args)),
				  PVHCA_ST_QUOTA);
	rig_destroy(PVHCA_CMD_DESTROY_QP, world.qp);
	RIG_MAKE(PVHCA_CMD_CREATE_QP, args);
}
END_TEST

START_TEST(handles_of_one_kind_are_none_of_another)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_alloc_pd pd = rig_pd(PVHCA_NO_HANDLE);

	ck_assert_uint_eq(rig_run(PVHCA_CMD_ALLOC_PD, &pd, sizeof(pd)), PVHCA_ST_INVALID);
	/* Each table begins with the same handle, so this one is found, as a PD. */
	ck_assert_uint_eq(world.pd, world.context);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEREG_MR, world.mr), 0);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEREG_MR, world.pd), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(a_slot_is_used_again)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_qp args = rig_qp(world.context, world.pd, world.cq);

	for (unsigned int i = 0; i < 2 * PVHCA_SLOTS; i++) {
		uint32_t qp = RIG_MAKE(PVHCA_CMD_CREATE_QP, args);

		ck_assert_uint_eq(rig.rsp.create_qp.slot, 1);
		ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_QP, qp), 0);
	}
}
END_TEST

START_TEST(memory_of_a_region_that_went_stays_until_the_mr_goes)
{
	struct rig_world world = rig_world();
	struct mr *mr = table_find(&rig.vm.mrs, world.mr);

	ck_assert_int_eq(memory_del(rig.vm.memory, 0, RIG_RAM), 0);
	mr->extents->extent[0].host[5] = 1;
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEREG_MR, world.mr), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("commands");

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(tc, all_is_given_back_at_once);
	tcase_add_test(tc, all_is_given_back_one_by_one);
	tcase_add_test(tc, what_others_use_is_busy);
	tcase_add_test(tc, a_failure_of_the_fabric_leaves_nothing_behind);
	tcase_add_test(tc, a_context_has_room_for_the_slots_that_were_taken);
	tcase_add_test(tc, a_qp_is_published_when_it_is_whole_and_reserves_its_completions);
	tcase_add_test(tc, a_qp_without_one_of_its_rings);
	tcase_add_test(tc, a_qp_with_two_cqs_uses_each);
	tcase_add_test(tc, reset_forgets_completions_that_were_held_back);
	tcase_add_test(tc, modify_asks_the_worker_to_look_again);
	tcase_add_test(tc, an_av_needs_an_address_of_the_guests);
	tcase_add_test(tc, a_query_tells_the_state_and_the_capabilities);
	tcase_add_test(tc, surplus_bits_of_qp_attributes_are_dropped);
	tcase_add_test(tc, limits_are_the_lower_of_host_and_quota);
	tcase_add_test(tc, a_quota_ends_and_comes_back);
	tcase_add_test(tc, handles_of_one_kind_are_none_of_another);
	tcase_add_test(tc, a_slot_is_used_again);
	tcase_add_test(tc, memory_of_a_region_that_went_stays_until_the_mr_goes);
	return suite_run("commands", tc);
}
