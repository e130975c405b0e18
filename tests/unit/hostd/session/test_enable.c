// SPDX-License-Identifier: GPL-2.0-or-later
/* A session that is enabled, and what each failure gives back. */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "memory/memory.h"
#include "session/rig.h"
#include "suite.h"
#include "vm/events.h"

static struct qemu *qemu;

static void setup(void)
{
	rig_setup();
}

static void teardown(void)
{
	if (qemu)
		qemu_free(qemu);
	rig_teardown();
}

static void expect_state(const struct qemu *which, enum vm_state state)
{
	ck_assert_uint_eq(atomic_load(&which->vm->state), state);
}

/* After a RESET it can be enabled as if nothing had been. */
static void expect_usable(struct qemu *which)
{
	qemu_reset(which);
	expect_state(which, VM_IDLE);
	ck_assert_uint_eq(qemu_enable(which), 0);
	expect_state(which, VM_ENABLED);
}

START_TEST(enabling_opens_the_fabric_then_takes_a_worker_and_reset_gives_back)
{
	qemu = qemu_enabled();
	expect_state(qemu, VM_ENABLED);
	rig_expect_log("open attach");
	ck_assert_uint_eq(qemu->area->hostd_status, 0);
	ck_assert_uint_eq(qemu->area->hostd_abi_major, PVHCA_ADMIN_ABI_MAJOR);
	ck_assert_str_eq(qemu->area->hostd_message, "");
	qemu_reset(qemu);
	expect_state(qemu, VM_IDLE);
	rig_expect_log("open attach detach close");
	ck_assert_uint_eq(qemu_enable(qemu), 0);
	rig_expect_log("open attach detach close open attach");
}
END_TEST

START_TEST(a_reset_of_what_is_not_enabled_gives_nothing_back)
{
	qemu = qemu_ready();
	qemu_reset(qemu);
	qemu_reset(qemu);
	rig_expect_log("");
}
END_TEST

START_TEST(the_end_of_the_link_gives_all_back)
{
	qemu = qemu_enabled();
	qemu_free(qemu);
	qemu = NULL;
	rig_expect_log("open attach detach close");
}
END_TEST

START_TEST(enabling_twice_leaves_it_enabled)
{
	qemu = qemu_enabled();
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_BAD_STATE);
	expect_state(qemu, VM_ENABLED);
	rig_expect_log("open attach");
	guest_post(qemu, 5);
	guest_ring(qemu);
	guest_await(qemu, 0, 5);
}
END_TEST

START_TEST(memory_may_come_while_enabled)
{
	struct qemu *other = qemu_ready();
	struct pvhca_link_mem mem = {
		.gpa = 2 * RIG_GPA,
		.size = RIG_RAM,
		.page_size = PVHCA_GRANULE,
	};

	qemu = qemu_enabled();
	qemu_send(qemu, PVHCA_LINK_MEM_ADD, &mem, sizeof(mem), &other->ram_fd, 1);
	guest_post(qemu, 1);
	guest_ring(qemu);
	guest_await(qemu, 0, 1);
	qemu_reset(qemu);
	ck_assert_uint_eq(memory_regions(qemu->vm->memory), 2);
	qemu_free(other);
}
END_TEST

/* --------------------------------- refusals -------------------------------- */

static void expect_refused(uint32_t error)
{
	ck_assert_uint_eq(qemu_enable(qemu), error);
	expect_state(qemu, VM_FAILED);
	/* And it stays so until a RESET. */
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_BAD_STATE);
	expect_state(qemu, VM_FAILED);
}

START_TEST(enabling_waits_for_all_event_descriptors)
{
	int fds[3] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };

	qemu = qemu_new();
	qemu_connect(qemu);
	qemu_ram(qemu);
	if (_i != 0)
		qemu_send_events(qemu, PVHCA_LINK_EVENT_ADMIN_DB, 0, fds, 1);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_DATA_DB, 0, fds, _i == 1 ? 1 : 2);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, 1, fds, _i == 2 ? 2 : 3);
	expect_refused(PVHCA_DEV_ERR_BAD_STATE);
	rig_expect_log("");
	if (_i == 0)
		qemu_send_events(qemu, PVHCA_LINK_EVENT_ADMIN_DB, 0, fds, 1);
	if (_i == 1)
		qemu_send_events(qemu, PVHCA_LINK_EVENT_DATA_DB, 1, fds, 1);
	if (_i == 2)
		qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, 3, fds, 1);
	expect_usable(qemu);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}
END_TEST

static const struct {
	uint64_t gpa;
	uint32_t error;
} areas[] = {
	{ 0, PVHCA_DEV_ERR_ADMIN_AREA },
	{ RIG_GPA + 8, PVHCA_DEV_ERR_ADMIN_AREA },
	{ RIG_GPA + RIG_RAM, PVHCA_DEV_ERR_ADMIN_AREA },
	{ -PVHCA_GRANULE, PVHCA_DEV_ERR_ADMIN_AREA },
};

START_TEST(an_admin_area_that_is_not_there_opens_nothing)
{
	qemu = qemu_ready();
	qemu_ask_enable(qemu, areas[_i].gpa);
	ck_assert_uint_eq(qemu_answer(qemu, PVHCA_LINK_ENABLE_REPLY), areas[_i].error);
	expect_state(qemu, VM_FAILED);
	rig_expect_log("");
	expect_usable(qemu);
}
END_TEST

static uint32_t spoil_magic(struct pvhca_admin_area *area)
{
	area->magic++;
	return PVHCA_DEV_ERR_ADMIN_AREA;
}

static uint32_t spoil_major(struct pvhca_admin_area *area)
{
	area->abi_major++;
	return PVHCA_DEV_ERR_VERSION;
}

static uint32_t spoil_sq(struct pvhca_admin_area *area)
{
	area->sq_addr = RIG_GPA + RIG_RAM;
	return PVHCA_DEV_ERR_ADMIN_QUEUE;
}

static uint32_t spoil_cq(struct pvhca_admin_area *area)
{
	area->cq_addr = 0;
	return PVHCA_DEV_ERR_ADMIN_QUEUE;
}

static uint32_t spoil_aeq(struct pvhca_admin_area *area)
{
	area->aeq_addr += 64;
	return PVHCA_DEV_ERR_ADMIN_QUEUE;
}

static uint32_t spoil_size(struct pvhca_admin_area *area)
{
	area->cq_log_entries = area->sq_log_entries - 1;
	return PVHCA_DEV_ERR_ADMIN_QUEUE;
}

static uint32_t (*const spoil[])(struct pvhca_admin_area *area) = {
	spoil_magic, spoil_major, spoil_sq, spoil_cq, spoil_aeq, spoil_size,
};

START_TEST(a_bad_admin_area_opens_nothing_and_tells_the_driver_why)
{
	struct pvhca_admin_area right;
	uint32_t error;

	qemu = qemu_ready();
	right = *qemu->area;
	error = spoil[_i](qemu->area);
	expect_refused(error);
	rig_expect_log("");
	ck_assert_uint_eq(qemu->area->hostd_status, error);
	ck_assert_uint_ne(qemu->area->hostd_message[0], '\0');
	*qemu->area = right;
	expect_usable(qemu);
	ck_assert_str_eq(qemu->area->hostd_message, "");
}
END_TEST

/* The driver has the same answer as QEMU, and the reason. */
static void expect_host_failed(void)
{
	expect_refused(PVHCA_DEV_ERR_HOST);
	ck_assert_uint_eq(qemu->area->hostd_status, PVHCA_DEV_ERR_HOST);
	ck_assert_uint_ne(qemu->area->hostd_message[0], '\0');
	ck_assert_ptr_null(qemu->vm->fabric_vm);
}

START_TEST(a_fabric_that_cannot_be_opened_leaves_nothing)
{
	qemu = qemu_ready();
	rig.open_fails = true;
	expect_host_failed();
	rig_expect_log("");
	rig.open_fails = false;
	expect_usable(qemu);
	rig_expect_log("open attach");
}
END_TEST

START_TEST(without_a_worker_the_fabric_is_closed_again)
{
	qemu = qemu_ready();
	rig.attach_fails = true;
	expect_host_failed();
	rig_expect_log("open close");
	rig.attach_fails = false;
	expect_usable(qemu);
	rig_expect_log("open close open attach");
}
END_TEST

START_TEST(what_failed_does_not_serve_the_guest)
{
	qemu = qemu_ready();
	rig.attach_fails = true;
	expect_host_failed();
	guest_post(qemu, 1);
	guest_ring(qemu);
	rig.attach_fails = false;
	qemu_reset(qemu);
	ck_assert_uint_eq(qemu->cq[0].flags, 0);
	/* What was posted and rung for before is seen then, as a doorbell counts. */
	ck_assert_uint_eq(qemu_enable(qemu), 0);
	guest_await(qemu, 0, 1);
}
END_TEST

START_TEST(of_two_vms_with_one_mac_the_second_is_refused_until_the_first_goes)
{
	struct qemu *first;

	rig_configure("[vm guest]\nmac=02:00:00:00:00:07\n[vm guest-2]\nmac=02:00:00:00:00:07\n");
	first = qemu_enabled();
	ck_assert_mem_eq(first->vm->mac, "\x02\0\0\0\0\x07", 6);
	qemu = qemu_ready();
	expect_host_failed();
	rig_expect_log("open attach open close");
	ck_assert_ptr_nonnull(strstr(qemu->area->hostd_message, "MAC"));
	/* It is the VM's, not the enabled device's. */
	qemu_reset(first);
	qemu_reset(qemu);
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_HOST);
	qemu_free(first);
	expect_usable(qemu);
}
END_TEST

START_TEST(a_vm_whose_memory_vanished_is_not_enabled)
{
	qemu = qemu_ready();
	qemu_reset(qemu); /* it is mapped by now */
	ck_assert_int_eq(ftruncate(qemu->ram_fd, 0), 0);
	/* It reads zeros where the area was. */
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_ADMIN_AREA);
	qemu_reset(qemu);
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_MEMORY);
	expect_state(qemu, VM_FAILED);
	rig_expect_log("");
}
END_TEST

/* ---------------------------------- serving -------------------------------- */

START_TEST(a_doorbell_has_commands_carried_out_and_is_counted)
{
	eventfd_t interrupts;

	qemu = qemu_enabled();
	for (uint32_t i = 0; i < 3 * RIG_ENTRIES; i++) {
		guest_post(qemu, 1000 + i);
		guest_ring(qemu);
		guest_await(qemu, i, 1000 + i);
		qemu->area->cq_ci = i + 1;
	}
	while (atomic_load(&qemu->vm->counters.doorbells) < 3 * RIG_ENTRIES)
		usleep(100);
	ck_assert_int_eq(eventfd_read(qemu->vector[PVHCA_VECTOR_ADMIN], &interrupts), 0);
	ck_assert_uint_gt(interrupts, 0);
}
END_TEST

/* More than are carried out in one turn. */
START_TEST(one_ring_does_for_all_that_is_posted)
{
	qemu = qemu_enabled();
	for (uint32_t i = 0; i < RIG_ENTRIES; i++)
		guest_post(qemu, i);
	guest_ring(qemu);
	for (uint32_t i = 0; i < RIG_ENTRIES; i++)
		guest_await(qemu, i, i);
}
END_TEST

START_TEST(commands_that_find_no_room_for_their_answers_wait_for_it_without_a_ring)
{
	qemu = qemu_enabled();
	for (uint32_t i = 0; i < RIG_ENTRIES; i++)
		guest_post(qemu, i);
	guest_ring(qemu);
	guest_await(qemu, RIG_ENTRIES - 1, RIG_ENTRIES - 1);
	guest_post(qemu, 77);
	guest_ring(qemu);
	while (!atomic_load(&qemu->vm->retrying))
		usleep(100);
	__atomic_store_n(&qemu->area->cq_ci, 1, __ATOMIC_RELEASE);
	guest_await(qemu, RIG_ENTRIES, 77);
}
END_TEST

START_TEST(async_events_that_found_no_room_are_posted_when_there_is)
{
	const unsigned int entries = 1u << RIG_AEQ_LOG;
	const struct pvhca_aeqe *aeqe;

	qemu = qemu_enabled();
	aeqe = (void *)((uint8_t *)qemu->aeq + PVHCA_EQ_HEADER_SIZE);
	for (uint32_t i = 0; i <= entries; i++)
		events_async(qemu->vm, 1, 100 + i);
	ck_assert_uint_eq(aeqe[0].object, 100);
	__atomic_store_n(&qemu->aeq->ci, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&aeqe[0].flags, __ATOMIC_ACQUIRE))
		usleep(100);
	ck_assert_uint_eq(aeqe[0].object, 100 + entries);
}
END_TEST

START_TEST(the_fabrics_async_events_are_served_while_enabled)
{
	rig.async_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	qemu = qemu_ready();
	eventfd_write(rig.async_fd, 1);
	qemu_reset(qemu);
	rig_expect_log("");
	ck_assert_uint_eq(qemu_enable(qemu), 0);
	while (!rig_has("async"))
		usleep(100);
	qemu_reset(qemu);
	rig_expect_log("open attach async detach close");
	eventfd_write(rig.async_fd, 1);
	/* By the second the thread has looked at all descriptors. */
	qemu_reset(qemu);
	qemu_reset(qemu);
	rig_expect_log("open attach async detach close");
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

int main(void)
{
	TCase *tc = tcase_create("enable");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, enabling_opens_the_fabric_then_takes_a_worker_and_reset_gives_back);
	tcase_add_test(tc, a_reset_of_what_is_not_enabled_gives_nothing_back);
	tcase_add_test(tc, the_end_of_the_link_gives_all_back);
	tcase_add_test(tc, enabling_twice_leaves_it_enabled);
	tcase_add_test(tc, memory_may_come_while_enabled);
	tcase_add_loop_test(tc, enabling_waits_for_all_event_descriptors, 0, 3);
	tcase_add_loop_test(tc, an_admin_area_that_is_not_there_opens_nothing, 0, COUNT(areas));
	tcase_add_loop_test(tc, a_bad_admin_area_opens_nothing_and_tells_the_driver_why, 0,
			    COUNT(spoil));
	tcase_add_test(tc, a_fabric_that_cannot_be_opened_leaves_nothing);
	tcase_add_test(tc, without_a_worker_the_fabric_is_closed_again);
	tcase_add_test(tc, what_failed_does_not_serve_the_guest);
	tcase_add_test(tc, of_two_vms_with_one_mac_the_second_is_refused_until_the_first_goes);
	tcase_add_test(tc, a_vm_whose_memory_vanished_is_not_enabled);
	tcase_add_test(tc, a_doorbell_has_commands_carried_out_and_is_counted);
	tcase_add_test(tc, one_ring_does_for_all_that_is_posted);
	tcase_add_test(tc, commands_that_find_no_room_for_their_answers_wait_for_it_without_a_ring);
	tcase_add_test(tc, async_events_that_found_no_room_are_posted_when_there_is);
	tcase_add_test(tc, the_fabrics_async_events_are_served_while_enabled);
	return suite_run("enable", tc);
}
