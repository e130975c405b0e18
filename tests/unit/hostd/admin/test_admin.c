// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Its indices, to see them wrap. */
#include "admin/admin.c"
#include "admin/commands_rig.h"
#include "vm/events.h"
#include "suite.h"

#define LOG	3
#define ENTRIES (1u << LOG)

static struct pvhca_admin_area *area;
static struct pvhca_admin_cmd *sq;
static struct pvhca_admin_rsp *cq;
static uint64_t area_gpa;

static void setup(void)
{
	uint64_t sq_gpa, cq_gpa;

	rig_setup();
	area_gpa = rig_alloc(RIG_K4);
	sq_gpa = rig_alloc(ENTRIES * 256);
	cq_gpa = rig_alloc(ENTRIES * 256);
	area = (void *)(rig.ram + area_gpa);
	sq = (void *)(rig.ram + sq_gpa);
	cq = (void *)(rig.ram + cq_gpa);
	area->magic = PVHCA_ADMIN_MAGIC;
	area->abi_major = PVHCA_ADMIN_ABI_MAJOR;
	area->sq_addr = sq_gpa;
	area->cq_addr = cq_gpa;
	area->aeq_addr = rig_alloc(RIG_K4);
	area->sq_log_entries = area->cq_log_entries = LOG;
	area->aeq_log_entries = 3;
}

static void teardown(void)
{
	admin_close(&rig.vm);
	rig_teardown();
}

static void open_it(void)
{
	ck_assert_uint_eq(admin_open(&rig.vm, area_gpa), 0);
	admin_answer(&rig.vm, 0, "");
}

static void post(uint32_t cookie)
{
	sq[area->sq_pi % ENTRIES] = (struct pvhca_admin_cmd){
		.cookie = cookie,
	};
	area->sq_pi++;
}

/* Completion i must be there, whole, and of this cookie. */
static void expect(uint32_t i, uint32_t cookie)
{
	struct pvhca_admin_rsp *rsp = &cq[i % ENTRIES];

	ck_assert_uint_eq(rsp->flags, i / ENTRIES & 1 ? 0 : PVHCA_ADMIN_RSP_F_PHASE);
	ck_assert_uint_eq(rsp->cookie, cookie);
	ck_assert_uint_eq(rsp->status, 0);
}

START_TEST(the_answer_names_version_and_status)
{
	open_it();
	ck_assert_uint_eq(area->hostd_status, 0);
	ck_assert_uint_eq(area->hostd_abi_major, PVHCA_ADMIN_ABI_MAJOR);
	ck_assert_uint_ne(area->hostd_version[0], 0);
	ck_assert_uint_eq(area->hostd_message[0], 0);
}
END_TEST

START_TEST(commands_complete_in_order_with_the_phase_of_their_lap)
{
	uint32_t done = 0;

	open_it();
	for (uint32_t i = 0; i < 10 * ENTRIES; i += 2) {
		post(i);
		post(i + 1);
		ck_assert(!admin_serve(&rig.vm, 16));
		expect(done++, i);
		expect(done++, i + 1);
		area->cq_ci = done;
	}
	ck_assert_uint_eq(rig.vm.counters.admin_commands, 10 * ENTRIES);
}
END_TEST

START_TEST(it_comes_back_for_what_is_more_than_its_share)
{
	open_it();
	for (uint32_t i = 0; i < ENTRIES; i++)
		post(i);
	ck_assert(admin_serve(&rig.vm, 3));
	ck_assert_uint_eq(rig.vm.counters.admin_commands, 3);
	ck_assert(admin_serve(&rig.vm, 3));
	ck_assert(!admin_serve(&rig.vm, 3));
	ck_assert_uint_eq(rig.vm.counters.admin_commands, ENTRIES);
}
END_TEST

/* It is told what changed, but who waits for the command does not wait for it. */
START_TEST(the_guest_knows_before_the_worker_is_woken)
{
	struct rig_world world = rig_world();
	int fd = eventfd(0, EFD_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	rig.vm.vector_fds[PVHCA_VECTOR_ADMIN] = fd;
	open_it();
	post(1);
	sq[0].opcode = PVHCA_CMD_MODIFY_QP;
	sq[0].modify_qp.qp = world.qp;
	sq[0].modify_qp.attr_mask = IBV_QP_STATE;
	sq[0].modify_qp.attr.qp_state = IBV_QPS_ERR;
	ck_assert(!admin_serve(&rig.vm, 16));
	expect(0, 1);
	ck_assert_uint_eq(rig.wakes, 1);
	ck_assert_uint_eq(rig.told, 1);
	/* Once is enough. */
	post(2);
	ck_assert(!admin_serve(&rig.vm, 16));
	ck_assert_uint_eq(rig.wakes, 1);
	close(fd);
	rig.vm.vector_fds[PVHCA_VECTOR_ADMIN] = -1;
	commands_destroy_all(&rig.vm);
}
END_TEST

START_TEST(without_room_for_completions_it_waits_and_loses_none)
{
	open_it();
	for (uint32_t i = 0; i < ENTRIES; i++)
		post(i);
	ck_assert(!admin_serve(&rig.vm, 100));
	for (uint32_t i = 0; i < ENTRIES; i++)
		post(100 + i);
	ck_assert(!admin_serve(&rig.vm, 100));
	ck_assert_uint_eq(rig.retries, 1);
	ck_assert_uint_eq(rig.vm.counters.admin_commands, ENTRIES);
	area->cq_ci = 3;
	admin_serve(&rig.vm, 100);
	ck_assert_uint_eq(rig.vm.counters.admin_commands, ENTRIES + 3);
	expect(ENTRIES + 2, 102);
	area->cq_ci = ENTRIES + 3;
	admin_serve(&rig.vm, 100);
	ck_assert_uint_eq(rig.vm.counters.admin_commands, 2 * ENTRIES);
	ck_assert_uint_eq(rig.faults, 0);
}
END_TEST

START_TEST(more_commands_than_entries_is_abuse)
{
	static const uint32_t jumps[] = {
		ENTRIES + 1,
		1u << 31,
		UINT32_MAX,
	};

	open_it();
	area->sq_pi = jumps[_i];
	ck_assert(!admin_serve(&rig.vm, 16));
	ck_assert_uint_eq(rig.faults, 1);
	/* And nothing more is done. */
	ck_assert(!admin_serve(&rig.vm, 16));
	ck_assert_uint_eq(rig.faults, 1);
	ck_assert_uint_eq(rig.vm.counters.admin_commands, 0);
}
END_TEST

START_TEST(reading_more_than_was_completed_is_abuse)
{
	open_it();
	area->cq_ci = 50;
	for (uint32_t i = 0; i < ENTRIES; i++)
		post(i);
	admin_serve(&rig.vm, 16);
	ck_assert_uint_eq(rig.faults, 0);
	post(9);
	admin_serve(&rig.vm, 16);
	ck_assert_uint_eq(rig.faults, 1);
}
END_TEST

START_TEST(indices_may_wrap)
{
	const uint32_t start = UINT32_MAX - 11;
	struct admin *admin;

	open_it();
	admin = rig.vm.admin;
	admin->sq_ci = admin->cq_pi = admin->cq_ci = start;
	area->sq_pi = area->cq_ci = start;
	for (uint32_t i = 0; i < 5 * ENTRIES; i++) {
		post(i);
		admin_serve(&rig.vm, 1);
		expect(start + i, i);
		area->cq_ci = start + i + 1;
	}
	ck_assert_uint_eq(rig.faults, 0);
}
END_TEST

static void break_magic(void)
{
	area->magic++;
}
static void break_major(void)
{
	area->abi_major++;
}
static void break_sq_size(void)
{
	area->sq_log_entries = 9;
}
static void break_cq_size(void)
{
	area->cq_log_entries = LOG - 1;
}
static void break_aeq_size(void)
{
	area->aeq_log_entries = 18;
}
static void break_sq(void)
{
	area->sq_addr += 64;
}
static void break_cq(void)
{
	area->cq_addr = RIG_RAM;
}
static void break_aeq(void)
{
	area->aeq_addr = UINT64_MAX - 4095;
}
static void break_reserved(void)
{
	area->reserved1[900] = 1;
}

static const struct {
	void (*change)(void);
	uint32_t error;
} broken[] = {
	{ break_magic, PVHCA_DEV_ERR_ADMIN_AREA },     { break_major, PVHCA_DEV_ERR_VERSION },
	{ break_sq_size, PVHCA_DEV_ERR_ADMIN_QUEUE },  { break_cq_size, PVHCA_DEV_ERR_ADMIN_QUEUE },
	{ break_aeq_size, PVHCA_DEV_ERR_ADMIN_QUEUE }, { break_sq, PVHCA_DEV_ERR_ADMIN_QUEUE },
	{ break_cq, PVHCA_DEV_ERR_ADMIN_QUEUE },       { break_aeq, PVHCA_DEV_ERR_ADMIN_QUEUE },
	{ break_reserved, PVHCA_DEV_ERR_ADMIN_QUEUE },
};

START_TEST(a_wrong_area_is_refused_with_a_reason_in_it)
{
	broken[_i].change();
	ck_assert_uint_eq(admin_open(&rig.vm, area_gpa), broken[_i].error);
	ck_assert_uint_eq(area->hostd_status, broken[_i].error);
	ck_assert_uint_ne(area->hostd_message[0], 0);
	ck_assert_ptr_null(rig.vm.admin);
	ck_assert_ptr_null(rig.vm.aeq);
}
END_TEST

START_TEST(an_area_must_be_ram)
{
	ck_assert_uint_eq(admin_open(&rig.vm, area_gpa + 8), PVHCA_DEV_ERR_ADMIN_AREA);
	ck_assert_uint_eq(admin_open(&rig.vm, RIG_RAM), PVHCA_DEV_ERR_ADMIN_AREA);
	ck_assert_uint_eq(admin_open(&rig.vm, UINT64_MAX - 4095), PVHCA_DEV_ERR_ADMIN_AREA);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("admin");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_answer_names_version_and_status);
	tcase_add_test(tc, commands_complete_in_order_with_the_phase_of_their_lap);
	tcase_add_test(tc, it_comes_back_for_what_is_more_than_its_share);
	tcase_add_test(tc, the_guest_knows_before_the_worker_is_woken);
	tcase_add_test(tc, without_room_for_completions_it_waits_and_loses_none);
	tcase_add_loop_test(tc, more_commands_than_entries_is_abuse, 0, 3);
	tcase_add_test(tc, reading_more_than_was_completed_is_abuse);
	tcase_add_test(tc, indices_may_wrap);
	tcase_add_loop_test(tc, a_wrong_area_is_refused_with_a_reason_in_it, 0,
			    G_N_ELEMENTS(broken));
	tcase_add_test(tc, an_area_must_be_ram);
	return suite_run("admin", tc);
}
