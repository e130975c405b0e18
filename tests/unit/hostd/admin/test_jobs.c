// SPDX-License-Identifier: GPL-2.0-or-later
#include "admin/jobs.h"
#include "admin/commands_rig.h"
#include "suite.h"

static struct jobs jobs;
static struct rig_world world;

static void setup(void)
{
	rig_setup();
	ck_assert_int_eq(jobs_init(&jobs, &rig.vm), 0);
	world = rig_world();
}

static void teardown(void)
{
	jobs_drop(&jobs);
	ck_assert_uint_eq(jobs.count, 0);
	ck_assert_uint_eq(jobs.running, 0);
	jobs_fini(&jobs);
	rig_teardown();
}

static struct pvhca_admin_cmd ends(uint16_t opcode, uint32_t handle)
{
	return (struct pvhca_admin_cmd){ .opcode = opcode, .destroy.handle = handle };
}

static struct pvhca_admin_cmd registers(uint32_t pd)
{
	struct pvhca_admin_cmd cmd = { .opcode = PVHCA_CMD_REG_MR };

	cmd.reg_mr = rig_mr(pd);
	return cmd;
}

static void add(struct pvhca_admin_cmd cmd)
{
	ck_assert(!jobs_full(&jobs, &rig.vm));
	jobs_add(&jobs, &cmd);
}

/* The next that may start, which must be of this opcode; 0: none. */
static struct job *expect(uint16_t opcode)
{
	struct job *job = jobs_start(&jobs, &rig.vm);

	ck_assert_uint_eq(job ? job->cmd.opcode : 0, opcode);
	return job;
}

START_TEST(those_that_share_an_object_go_together)
{
	add(registers(world.pd));
	add(registers(world.pd));
	ck_assert_uint_eq(jobs_ready(&jobs, &rig.vm), 2);
	jobs_end(&jobs, expect(PVHCA_CMD_REG_MR));
	jobs_end(&jobs, expect(PVHCA_CMD_REG_MR));
	expect(0);
}
END_TEST

START_TEST(one_that_needs_an_object_alone_is_not_overtaken)
{
	struct job *first;

	add(registers(world.pd));
	add(ends(PVHCA_CMD_DEALLOC_PD, world.pd));
	add(registers(world.pd));
	first = expect(PVHCA_CMD_REG_MR);
	expect(0);
	jobs_end(&jobs, first);
	first = expect(PVHCA_CMD_DEALLOC_PD);
	expect(0);
	jobs_end(&jobs, first);
	jobs_end(&jobs, expect(PVHCA_CMD_REG_MR));
}
END_TEST

START_TEST(the_end_of_an_object_has_what_it_hangs_on)
{
	static const uint16_t end[] = { PVHCA_CMD_DEALLOC_PD, PVHCA_CMD_DESTROY_CQ,
					PVHCA_CMD_DEALLOC_CONTEXT };
	const uint32_t handle[] = { world.pd, world.cq, world.context };
	struct job *first;

	add(ends(PVHCA_CMD_DESTROY_QP, world.qp));
	add(ends(end[_i], handle[_i]));
	first = expect(PVHCA_CMD_DESTROY_QP);
	expect(0);
	jobs_end(&jobs, first);
	jobs_end(&jobs, expect(end[_i]));
}
END_TEST

/* What a region hangs on changes before its end is begun. */
START_TEST(claims_are_those_of_the_moment)
{
	struct pvhca_cmd_alloc_pd alloc = rig_pd(world.context);
	uint32_t other = RIG_MAKE(PVHCA_CMD_ALLOC_PD, alloc);
	struct mr *mr = table_find(&rig.vm.mrs, world.mr);
	struct pvhca_admin_cmd rereg = {
		.opcode = PVHCA_CMD_REREG_MR,
		.rereg_mr = { .mr = world.mr, .flags = IBV_REREG_MR_CHANGE_PD, .pd = other },
	};
	struct pd *old = mr->pd;
	struct job *first;

	add(rereg);
	add(ends(PVHCA_CMD_DEREG_MR, world.mr));
	add(ends(PVHCA_CMD_DEALLOC_PD, other));
	first = expect(PVHCA_CMD_REREG_MR);
	mr->pd = table_find(&rig.vm.pds, other);
	jobs_end(&jobs, first);
	first = expect(PVHCA_CMD_DEREG_MR);
	expect(0);
	mr->pd = old;
	jobs_end(&jobs, first);
	jobs_end(&jobs, expect(PVHCA_CMD_DEALLOC_PD));
}
END_TEST

START_TEST(an_address_is_kept_for_those_who_use_it)
{
	struct pvhca_admin_cmd create = { .opcode = PVHCA_CMD_CREATE_AH };
	struct pvhca_admin_cmd del = { .opcode = PVHCA_CMD_DEL_GID };
	struct job *first;

	create.create_ah.pd = world.pd;
	create.create_ah.av.sgid_index = 1;
	del.del_gid.index = 1;
	add(create);
	add(del);
	first = expect(PVHCA_CMD_CREATE_AH);
	expect(0);
	jobs_end(&jobs, first);
	/* Changes of the table come one at a time. */
	del.del_gid.index = 0;
	add(del);
	first = expect(PVHCA_CMD_DEL_GID);
	expect(0);
	jobs_end(&jobs, first);
	jobs_end(&jobs, expect(PVHCA_CMD_DEL_GID));
}
END_TEST

START_TEST(a_quick_command_is_told_who_is_in_its_way)
{
	struct pvhca_admin_cmd query = { .opcode = PVHCA_CMD_QUERY_QP };
	struct claims claims;

	add(ends(PVHCA_CMD_DESTROY_QP, world.qp));
	query.query_qp.qp = world.qp;
	commands_claims(&rig.vm, &query, &claims);
	ck_assert(jobs_in_the_way(&jobs, &rig.vm, &claims));
	query.query_qp.qp = world.qp + 1;
	commands_claims(&rig.vm, &query, &claims);
	ck_assert(!jobs_in_the_way(&jobs, &rig.vm, &claims));
	query.opcode = PVHCA_CMD_NOP;
	commands_claims(&rig.vm, &query, &claims);
	ck_assert_uint_eq(claims.count, 0);
}
END_TEST

START_TEST(those_that_run_are_not_dropped)
{
	struct job *first;

	add(registers(world.pd));
	add(registers(world.pd));
	first = expect(PVHCA_CMD_REG_MR);
	jobs_drop(&jobs);
	ck_assert_uint_eq(jobs.count, 1);
	ck_assert_uint_eq(jobs.running, 1);
	jobs_end(&jobs, first);
}
END_TEST

/* Whatever a guest claims to name, it fits. */
START_TEST(no_command_has_too_many_claims)
{
	struct claims claims;

	for (uint16_t opcode = 0; opcode < 256; opcode++) {
		struct pvhca_admin_cmd cmd = { .opcode = opcode };

		for (unsigned int i = 0; i < sizeof(cmd.raw); i += sizeof(uint32_t))
			memcpy((char *)cmd.raw + i, &world.qp, sizeof(world.qp));
		commands_claims(&rig.vm, &cmd, &claims);
		ck_assert_uint_le(claims.count, CLAIMS_MAX);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("jobs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, those_that_share_an_object_go_together);
	tcase_add_test(tc, one_that_needs_an_object_alone_is_not_overtaken);
	tcase_add_loop_test(tc, the_end_of_an_object_has_what_it_hangs_on, 0, 3);
	tcase_add_test(tc, claims_are_those_of_the_moment);
	tcase_add_test(tc, an_address_is_kept_for_those_who_use_it);
	tcase_add_test(tc, a_quick_command_is_told_who_is_in_its_way);
	tcase_add_test(tc, those_that_run_are_not_dropped);
	tcase_add_test(tc, no_command_has_too_many_claims);
	return suite_run("jobs", tc);
}
