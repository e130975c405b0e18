// SPDX-License-Identifier: GPL-2.0-or-later
/* Address handles, SRQs, memory windows, rereg, CQ resize, multicast, kernel contexts. */
#include <string.h>

#include "admin/commands_rig.h"
#include "vm/cq.h"
#include "suite.h"

#define STATUS(opcode, args) rig_run(opcode, &(args), sizeof(args))

static struct pvhca_cmd_create_ah rig_ah(uint32_t pd)
{
	return (struct pvhca_cmd_create_ah){
		.pd = pd,
		.av = { .dgid = { [15] = 0x5a }, .is_global = 1, .port = 1 },
	};
}

static struct pvhca_cmd_create_srq rig_srq(uint32_t context, uint32_t pd)
{
	struct pvhca_cmd_create_srq srq = {
		.context = context,
		.pd = pd,
		.max_wr = 16,
		.max_sge = 1,
		.rq_offset = 256,
		.rq_log_entries = 4,
		.rq_log_stride = 5,
		.mem = { .num_extents = 1, .length = RIG_K4 },
	};

	srq.mem.extents[0].addr = rig_alloc(RIG_K4);
	srq.mem.extents[0].len = RIG_K4;
	return srq;
}

static struct pvhca_cmd_create_qp rig_srq_qp(const struct rig_world *world, uint32_t srq)
{
	struct pvhca_cmd_create_qp qp = rig_qp(world->context, world->pd, world->cq);

	qp.flags = PVHCA_CREATE_QP_SRQ;
	qp.srq = srq;
	qp.cap.max_recv_wr = qp.cap.max_recv_sge = 0;
	qp.rq_offset = qp.rq_log_entries = qp.rq_log_stride = 0;
	return qp;
}

static void give_address(void)
{
	struct pvhca_cmd_add_gid gid = {
		.gid = { [15] = 9 },
		.port = 1,
		.gid_type = 1,
		.vlan = 0xffff,
	};

	ck_assert_uint_eq(STATUS(PVHCA_CMD_ADD_GID, gid), PVHCA_ST_OK);
}

/* ------------------------------ address handles ---------------------------- */

START_TEST(an_address_handle_is_found_by_workers_while_it_lives)
{
	struct rig_world world = rig_world();
	uint32_t handle;
	struct ah *ah;

	give_address();
	handle = RIG_MAKE(PVHCA_CMD_CREATE_AH, rig_ah(world.pd));
	ah = table_find_rcu(&rig.vm.ahs, handle);
	ck_assert_ptr_nonnull(ah);
	ck_assert_uint_eq(ah->av.is_global, 1);
	ck_assert_uint_eq(ah->av.dgid[15], 0x5a);
	rig_destroy(PVHCA_CMD_DESTROY_QP, world.qp);
	rig_destroy(PVHCA_CMD_DEREG_MR, world.mr);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_PD, world.pd), PVHCA_ST_BUSY);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_AH, handle), 0);
	ck_assert_ptr_null(table_find_rcu(&rig.vm.ahs, handle));
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_AH, handle), PVHCA_ST_INVALID);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_PD, world.pd), 0);
}
END_TEST

START_TEST(an_address_handle_needs_an_address_of_the_guests)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_ah good = rig_ah(world.pd), bad;

	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, good), PVHCA_ST_INVALID);
	give_address();
	bad = good;
	bad.pd = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, bad), PVHCA_ST_INVALID);
	bad = good;
	bad.av.is_global = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, bad), PVHCA_ST_INVALID);
	bad = good;
	bad.av.port = 2;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, bad), PVHCA_ST_INVALID);
	bad = good;
	bad.av.reserved1 = 1;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, bad), PVHCA_ST_INVALID);
	rig.fail_in = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, good), PVHCA_ST_IO);
	for (int i = 0; i < 3; i++)
		RIG_MAKE(PVHCA_CMD_CREATE_AH, good);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, good), PVHCA_ST_QUOTA);
}
END_TEST

/* As adapters do; UCX asks for a flow label of 0xffffffff. */
START_TEST(surplus_bits_of_an_address_are_dropped)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_ah wide = rig_ah(world.pd);
	struct ah *ah;

	give_address();
	wide.av.flow_label = htole32(0xffffffff);
	wide.av.sl = 0xff;
	ah = table_find(&rig.vm.ahs, RIG_MAKE(PVHCA_CMD_CREATE_AH, wide));
	ck_assert_uint_eq(ah->av.flow_label, 0xfffff);
	ck_assert_uint_eq(ah->av.sl, 7);
}
END_TEST

/* --------------------------- shared receive queues ------------------------- */

START_TEST(an_srq_is_published_when_it_is_whole)
{
	struct rig_world world = rig_world();
	struct context *context = table_find(&rig.vm.contexts, world.context);
	uint32_t handle = RIG_MAKE(PVHCA_CMD_CREATE_SRQ, rig_srq(world.context, world.pd));
	struct srq *srq = table_find(&rig.vm.srqs, handle);

	ck_assert_uint_eq(rig.rsp.create_srq.srqn, 0x77);
	ck_assert_uint_eq(rig.rsp.create_srq.slot, 1); /* the QP has 0 */
	ck_assert_uint_eq(rig.rsp.create_srq.doorbell, 8);
	ck_assert_uint_eq(rig.rsp.create_srq.max_wr, 16);
	ck_assert_ptr_eq(context_srq(context, 1), srq);
	ck_assert_ptr_null(context_qp(context, 1));
	ck_assert_uint_eq(srq->rq.entries, 16);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_SRQ, handle), 0);
	ck_assert_ptr_null(context_srq(context, 1));
}
END_TEST

START_TEST(what_an_srq_cannot_be)
{
	struct rig_world world = rig_world();
	uint32_t other = RIG_MAKE(PVHCA_CMD_ALLOC_CONTEXT, rig_context());
	struct pvhca_cmd_create_srq good = rig_srq(world.context, world.pd);
	struct pvhca_cmd_create_srq bad;

#define REFUSED(field, value, status) \
	bad = good;                   \
	bad.field = value;            \
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, bad), status)
	REFUSED(context, 0, PVHCA_ST_INVALID);
	REFUSED(context, other, PVHCA_ST_INVALID);
	REFUSED(pd, 0, PVHCA_ST_INVALID);
	REFUSED(max_wr, 0, PVHCA_ST_INVALID);
	REFUSED(max_wr, 17, PVHCA_ST_INVALID);
	REFUSED(max_sge, 2, PVHCA_ST_INVALID);
	REFUSED(max_sge, UINT32_MAX, PVHCA_ST_INVALID);
	REFUSED(limit, 17, PVHCA_ST_INVALID);
	REFUSED(rq_offset, 0, PVHCA_ST_INVALID);
	REFUSED(rq_offset, 4096, PVHCA_ST_INVALID);
	REFUSED(rq_log_entries, 255, PVHCA_ST_INVALID);
	REFUSED(rq_log_stride, 4, PVHCA_ST_INVALID);
	REFUSED(reserved0[1], 1, PVHCA_ST_INVALID);
	REFUSED(reserved1, 1, PVHCA_ST_INVALID);
	REFUSED(mem.extents[0].addr, RIG_RAM, PVHCA_ST_BAD_ADDRESS);
#undef REFUSED
	rig.fail_in = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, good), PVHCA_ST_IO);
	/* The limit that came with it is what fails. */
	good.limit = 1;
	rig.fail_in = 1;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, good), PVHCA_ST_IO);
	rig.fail_in = -1;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, good), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.rsp.create_srq.slot, 1);
}
END_TEST

START_TEST(an_srq_with_qps_is_busy_and_their_cq_has_room_once)
{
	struct rig_world world = rig_world();
	struct cq *cq = table_find(&rig.vm.cqs, world.cq);
	uint32_t srq = RIG_MAKE(PVHCA_CMD_CREATE_SRQ, rig_srq(world.context, world.pd));
	uint32_t before = cq->backlog_limit, a, b;

	a = RIG_MAKE(PVHCA_CMD_CREATE_QP, rig_srq_qp(&world, srq));
	ck_assert_uint_eq(cq->backlog_limit, before + 16 + 16);
	b = RIG_MAKE(PVHCA_CMD_CREATE_QP, rig_srq_qp(&world, srq));
	ck_assert_uint_eq(cq->backlog_limit, before + 2 * 16 + 16);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_SRQ, srq), PVHCA_ST_BUSY);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_QP, a), 0);
	ck_assert_uint_eq(cq->backlog_limit, before + 16 + 16);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_QP, b), 0);
	ck_assert_uint_eq(cq->backlog_limit, before);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DESTROY_SRQ, srq), 0);
}
END_TEST

START_TEST(a_qp_with_an_srq_has_no_receive_queue)
{
	struct rig_world world = rig_world();
	uint32_t srq = RIG_MAKE(PVHCA_CMD_CREATE_SRQ, rig_srq(world.context, world.pd));
	struct pvhca_cmd_create_qp qp = rig_srq_qp(&world, srq);

	qp.srq = world.cq + 1;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, qp), PVHCA_ST_INVALID);
	qp.srq = srq;
	qp.flags = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, qp), PVHCA_ST_INVALID);
	qp = rig_qp(world.context, world.pd, world.cq);
	qp.flags = PVHCA_CREATE_QP_SRQ;
	qp.srq = srq;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, qp), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(an_srqs_limit_is_set_and_told)
{
	struct rig_world world = rig_world();
	uint32_t srq = RIG_MAKE(PVHCA_CMD_CREATE_SRQ, rig_srq(world.context, world.pd));
	struct pvhca_cmd_modify_srq modify = {
		.srq = srq,
		.attr_mask = IBV_SRQ_LIMIT,
		.limit = 5,
	};
	struct pvhca_cmd_query_srq query = { .srq = srq };

	ck_assert_uint_eq(STATUS(PVHCA_CMD_MODIFY_SRQ, modify), PVHCA_ST_OK);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_QUERY_SRQ, query), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.rsp.query_srq.limit, 5);
	ck_assert_uint_eq(rig.rsp.query_srq.max_wr, 16);
	ck_assert_uint_eq(rig.rsp.query_srq.max_sge, 1);
	modify.limit = 17;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_MODIFY_SRQ, modify), PVHCA_ST_INVALID);
	modify.attr_mask = IBV_SRQ_MAX_WR;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_MODIFY_SRQ, modify), PVHCA_ST_UNSUPPORTED);
	modify.attr_mask = 4;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_MODIFY_SRQ, modify), PVHCA_ST_INVALID);
	query.srq = srq + 1;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_QUERY_SRQ, query), PVHCA_ST_INVALID);
}
END_TEST

/* ------------------------------ memory windows ----------------------------- */

START_TEST(a_window_is_found_by_workers_while_it_lives)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_alloc_mw alloc = { .pd = world.pd, .type = 2 };
	uint32_t handle;

	STATUS(PVHCA_CMD_ALLOC_MW, alloc);
	handle = rig.rsp.alloc_mw.handle;
	ck_assert_uint_eq(rig.rsp.alloc_mw.rkey, 44);
	ck_assert_ptr_nonnull(table_find_rcu(&rig.vm.mws, handle));
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_MW, handle), 0);
	ck_assert_ptr_null(table_find_rcu(&rig.vm.mws, handle));
	alloc.type = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MW, alloc), PVHCA_ST_INVALID);
	alloc.type = 3;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MW, alloc), PVHCA_ST_INVALID);
	alloc.type = 1;
	alloc.pd = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MW, alloc), PVHCA_ST_INVALID);
	alloc.pd = world.pd;
	for (int i = 0; i < 3; i++)
		RIG_MAKE(PVHCA_CMD_ALLOC_MW, alloc);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MW, alloc), PVHCA_ST_QUOTA);
}
END_TEST

START_TEST(a_region_with_windows_stays_as_it_is)
{
	struct rig_world world = rig_world();

	rig.bound = true;
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEREG_MR, world.mr), PVHCA_ST_BUSY);
	ck_assert_ptr_nonnull(table_find_rcu(&rig.vm.mrs, world.mr));
	ck_assert_uint_eq(rig.vm.pinned_bytes, RIG_K4);
	rig.bound = false;
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEREG_MR, world.mr), 0);
}
END_TEST

/* ---------------------------------- rereg ---------------------------------- */

START_TEST(rereg_changes_what_its_flags_name)
{
	struct rig_world world = rig_world();
	uint32_t pd = RIG_MAKE(PVHCA_CMD_ALLOC_PD, rig_pd(world.context));
	struct mr *mr = table_find(&rig.vm.mrs, world.mr);
	struct pvhca_cmd_reg_mr reg = rig_mr(world.pd);
	struct pvhca_cmd_rereg_mr rereg = {
		.mr = world.mr,
		.flags = IBV_REREG_MR_CHANGE_PD,
		.pd = pd,
		.access = IBV_ACCESS_REMOTE_READ,
	};
	struct extents *extents = mr->extents;

	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, rereg), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.rsp.reg_mr.handle, world.mr);
	ck_assert_uint_eq(rig.rsp.reg_mr.lkey, 12);
	ck_assert_uint_eq(mr->lkey, 12);
	ck_assert_uint_eq(mr->pd->handle, pd);
	ck_assert_uint_eq(mr->access, IBV_ACCESS_LOCAL_WRITE);
	ck_assert_ptr_eq(mr->extents, extents);
	ck_assert_uint_eq(rig_destroy(PVHCA_CMD_DEALLOC_PD, pd), PVHCA_ST_BUSY);

	rereg.flags = IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_ACCESS;
	rereg.iova = 0x7000;
	rereg.length = 100;
	rereg.offset = 50;
	rereg.mem = reg.mem;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, rereg), PVHCA_ST_OK);
	ck_assert_ptr_ne(mr->extents, extents);
	ck_assert_uint_eq(mr->iova, 0x7000);
	ck_assert_uint_eq(mr->access, IBV_ACCESS_REMOTE_READ);
	ck_assert_uint_eq(rig.vm.pinned_bytes, RIG_K4);
	ck_assert_ptr_eq(table_find_rcu(&rig.vm.mrs, world.mr), mr);
}
END_TEST

START_TEST(a_rereg_that_fails_leaves_the_region_as_it_was)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_reg_mr reg = rig_mr(world.pd);
	struct mr *mr = table_find(&rig.vm.mrs, world.mr), before = *mr;
	struct pvhca_cmd_rereg_mr good = {
		.mr = world.mr, .flags = IBV_REREG_MR_CHANGE_TRANSLATION,
		.length = RIG_K4, .mem = reg.mem,
	}, bad;

	rig.fail_in = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, good), PVHCA_ST_IO);
#define REFUSED(field, value, status) \
	bad = good;                   \
	bad.field = value;            \
	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, bad), status)
	REFUSED(mr, 0, PVHCA_ST_INVALID);
	REFUSED(flags, 0, PVHCA_ST_INVALID);
	REFUSED(flags, 8, PVHCA_ST_INVALID);
	REFUSED(flags, IBV_REREG_MR_CHANGE_PD, PVHCA_ST_INVALID);
	REFUSED(length, 0, PVHCA_ST_INVALID);
	REFUSED(length, RIG_K4 + 1, PVHCA_ST_INVALID);
	REFUSED(offset, 1, PVHCA_ST_INVALID);
	REFUSED(iova, UINT64_MAX, PVHCA_ST_INVALID);
	REFUSED(mem.length, 1ull << 30, PVHCA_ST_QUOTA);
	REFUSED(mem.extents[0].addr, RIG_RAM, PVHCA_ST_BAD_ADDRESS);
	bad.flags = IBV_REREG_MR_CHANGE_ACCESS;
	bad.access = IBV_ACCESS_REMOTE_WRITE;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, bad), PVHCA_ST_INVALID);
#undef REFUSED
	ck_assert_int_eq(memcmp(mr, &before, sizeof(before)), 0);
	ck_assert_ptr_eq(table_find_rcu(&rig.vm.mrs, world.mr), mr);
	/* What the old memory pins is not needed twice. */
	rig.policy.quota.pinned_bytes = RIG_K4;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, good), PVHCA_ST_OK);
}
END_TEST

/* -------------------------------- CQ resize -------------------------------- */

START_TEST(a_cq_is_resized_with_what_it_holds)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_cq wish = rig_cq(world.context, world.ceq);
	struct pvhca_cmd_resize_cq resize = {
		.cq = world.cq,
		.log_entries = 1,
		.mem = wish.mem,
	};
	struct cq *cq = table_find(&rig.vm.cqs, world.cq);
	struct ring_buffer *before = cq->buffer;
	struct pvhca_cqe cqe = { .qpn = 7 };
	struct cq_held held = { 0 };

	for (int i = 0; i < 3; i++)
		cq_push(NULL, cq, &held, &cqe, false);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_RESIZE_CQ, resize), PVHCA_ST_INVALID);
	ck_assert_ptr_eq(cq->buffer, before);
	resize.log_entries = 2;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_RESIZE_CQ, resize), PVHCA_ST_OK);
	ck_assert_ptr_ne(cq->buffer, before);
	ck_assert_uint_eq(cq->log_entries, 2);
	resize.log_entries = 7;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_RESIZE_CQ, resize), PVHCA_ST_QUOTA);
	resize.log_entries = 21;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_RESIZE_CQ, resize), PVHCA_ST_INVALID);
	resize.log_entries = 2;
	resize.cq = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_RESIZE_CQ, resize), PVHCA_ST_INVALID);
}
END_TEST

/* --------------------------- multicast, kernel's own ----------------------- */

START_TEST(only_datagram_qps_join_groups)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_qp ud = rig_qp(world.context, world.pd, world.cq);
	struct pvhca_cmd_mcast mcast = { .gid = { 0xff }, .qp = world.qp };

	ck_assert_uint_eq(STATUS(PVHCA_CMD_ATTACH_MCAST, mcast), PVHCA_ST_INVALID);
	ud.type = PVHCA_QPT_UD;
	ud.flags = PVHCA_CREATE_QP_BLOCK_LOOPBACK;
	mcast.qp = RIG_MAKE(PVHCA_CMD_CREATE_QP, ud);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ATTACH_MCAST, mcast), PVHCA_ST_OK);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_DETACH_MCAST, mcast), PVHCA_ST_OK);
	mcast.reserved = 1;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ATTACH_MCAST, mcast), PVHCA_ST_INVALID);
	mcast.reserved = 0;
	mcast.gid[0] = 0xfe;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ATTACH_MCAST, mcast), PVHCA_ST_INVALID);
	/* ::ffff:230.1.2.3 is a group, ::ffff:10.1.2.3 is none. */
	memcpy(mcast.gid, (uint8_t[16]){ [10] = 0xff, [11] = 0xff, 230, 1, 2, 3 }, 16);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ATTACH_MCAST, mcast), PVHCA_ST_OK);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_DETACH_MCAST, mcast), PVHCA_ST_OK);
	mcast.gid[12] = 10;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ATTACH_MCAST, mcast), PVHCA_ST_INVALID);
	ud.type = PVHCA_QPT_UC;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, ud), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(kernel_contexts_have_what_the_fabric_can_do)
{
	struct pvhca_cmd_alloc_context args = rig_context();
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_srq srq;
	struct pvhca_cmd_alloc_mr alloc;
	struct pvhca_cmd_create_qp qp;
	uint32_t context, pd, cq;

	args.flags = PVHCA_CONTEXT_KERNEL;
	context = RIG_MAKE(PVHCA_CMD_ALLOC_CONTEXT, args);
	pd = RIG_MAKE(PVHCA_CMD_ALLOC_PD, rig_pd(context));
	cq = RIG_MAKE(PVHCA_CMD_CREATE_CQ, rig_cq(context, world.ceq));
	qp = rig_qp(context, pd, cq);
	srq = rig_srq(context, pd);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, qp), PVHCA_ST_UNSUPPORTED);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, srq), PVHCA_ST_UNSUPPORTED);
	rig_ops.kernel_caps = PVHCA_KERNEL_QP;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, qp), PVHCA_ST_OK);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, srq), PVHCA_ST_OK);
	ck_assert_uint_eq(rig_run(PVHCA_CMD_QUERY_DEVICE, "", 0), 0);
	ck_assert_uint_eq(rig.rsp.query_device.kernel_caps & PVHCA_KERNEL_QP, PVHCA_KERNEL_QP);

	alloc = (struct pvhca_cmd_alloc_mr){ .pd = pd, .max_pages = 2 };
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MR, alloc), PVHCA_ST_OK);
	ck_assert_uint_eq(rig.rsp.reg_mr.lkey, 33);
	ck_assert_uint_eq(rig.vm.pinned_bytes, 3 * RIG_K4);
	alloc.max_pages = UINT32_MAX;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MR, alloc), PVHCA_ST_QUOTA);
	alloc.max_pages = 0;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MR, alloc), PVHCA_ST_INVALID);
	alloc = (struct pvhca_cmd_alloc_mr){ .pd = world.pd, .max_pages = 2 };
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MR, alloc), PVHCA_ST_DENIED);
}
END_TEST

START_TEST(applications_have_no_gsi_qp)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_qp qp = rig_qp(world.context, world.pd, world.cq);

	qp.type = PVHCA_QPT_GSI;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_QP, qp), PVHCA_ST_DENIED);
}
END_TEST

START_TEST(what_a_fabric_lacks_is_unsupported)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_create_srq srq = rig_srq(world.context, world.pd);
	struct pvhca_cmd_alloc_mw mw = { .pd = world.pd, .type = 1 };
	struct pvhca_cmd_create_ah ah = rig_ah(world.pd);
	struct pvhca_cmd_rereg_mr rereg = {
		.mr = world.mr,
		.flags = IBV_REREG_MR_CHANGE_PD,
		.pd = world.pd,
	};

	give_address();
	rig_ops.srq_create = NULL;
	rig_ops.mw_alloc = NULL;
	rig_ops.ah_create = NULL;
	rig_ops.mr_rereg = NULL;
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_SRQ, srq), PVHCA_ST_UNSUPPORTED);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_ALLOC_MW, mw), PVHCA_ST_UNSUPPORTED);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_CREATE_AH, ah), PVHCA_ST_UNSUPPORTED);
	ck_assert_uint_eq(STATUS(PVHCA_CMD_REREG_MR, rereg), PVHCA_ST_UNSUPPORTED);
}
END_TEST

START_TEST(all_kinds_are_given_back_at_once)
{
	struct rig_world world = rig_world();
	struct pvhca_cmd_alloc_mw mw = { .pd = world.pd, .type = 1 };
	uint32_t srq;

	give_address();
	srq = RIG_MAKE(PVHCA_CMD_CREATE_SRQ, rig_srq(world.context, world.pd));
	RIG_MAKE(PVHCA_CMD_CREATE_QP, rig_srq_qp(&world, srq));
	RIG_MAKE(PVHCA_CMD_CREATE_AH, rig_ah(world.pd));
	RIG_MAKE(PVHCA_CMD_ALLOC_MW, mw);
	commands_destroy_all(&rig.vm);
	rig_expect_nothing();
}
END_TEST

START_TEST(the_largest_cq_is_a_power_of_two)
{
	rig.policy.quota.max_cqe = 100;
	ck_assert_uint_eq(rig_run(PVHCA_CMD_QUERY_DEVICE, "", 0), 0);
	ck_assert_uint_eq(rig.rsp.query_device.max_cqe, 64);
	ck_assert_uint_eq(rig.rsp.query_device.max_srq, 3);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("commands_objects");

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(tc, an_address_handle_is_found_by_workers_while_it_lives);
	tcase_add_test(tc, an_address_handle_needs_an_address_of_the_guests);
	tcase_add_test(tc, surplus_bits_of_an_address_are_dropped);
	tcase_add_test(tc, an_srq_is_published_when_it_is_whole);
	tcase_add_test(tc, what_an_srq_cannot_be);
	tcase_add_test(tc, an_srq_with_qps_is_busy_and_their_cq_has_room_once);
	tcase_add_test(tc, a_qp_with_an_srq_has_no_receive_queue);
	tcase_add_test(tc, an_srqs_limit_is_set_and_told);
	tcase_add_test(tc, a_window_is_found_by_workers_while_it_lives);
	tcase_add_test(tc, a_region_with_windows_stays_as_it_is);
	tcase_add_test(tc, rereg_changes_what_its_flags_name);
	tcase_add_test(tc, a_rereg_that_fails_leaves_the_region_as_it_was);
	tcase_add_test(tc, a_cq_is_resized_with_what_it_holds);
	tcase_add_test(tc, only_datagram_qps_join_groups);
	tcase_add_test(tc, kernel_contexts_have_what_the_fabric_can_do);
	tcase_add_test(tc, applications_have_no_gsi_qp);
	tcase_add_test(tc, what_a_fabric_lacks_is_unsupported);
	tcase_add_test(tc, all_kinds_are_given_back_at_once);
	tcase_add_test(tc, the_largest_cq_is_a_power_of_two);
	return suite_run("commands_objects", tc);
}
