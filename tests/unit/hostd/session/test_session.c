// SPDX-License-Identifier: GPL-2.0-or-later
/* Faults, and a session's end. */
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/memory.h"
#include "session/rig.h"
#include "session/session.h"
#include "suite.h"

static struct qemu *qemu;

/* ------------------- the session's thread, held for a while ---------------- */

static sem_t held, go;

static void wait_for_go(struct vm *vm)
{
	(void)vm;
	sem_post(&held);
	sem_wait(&go);
}

/* In the fabric's async events. */
static void hold(void)
{
	rig.on_async = wait_for_go;
	eventfd_write(rig.async_fd, 1);
	sem_wait(&held);
	rig.on_async = NULL;
}

static void setup(void)
{
	rig_setup();
	sem_init(&held, 0, 0);
	sem_init(&go, 0, 0);
	rig.async_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void teardown(void)
{
	if (qemu)
		qemu_free(qemu);
	rig_teardown();
}

static void expect_state(enum vm_state state)
{
	ck_assert_uint_eq(atomic_load(&qemu->vm->state), state);
}

/* ---------------------------------- faults --------------------------------- */

static void *fail_often(void *arg)
{
	for (int i = 0; i < 100; i++)
		vm_fail(arg, PVHCA_DEV_ERR_HOST, "engine %d", i);
	return NULL;
}

START_TEST(a_fault_in_other_threads_tears_down_once_and_is_told_once)
{
	pthread_t thread[3];

	qemu = qemu_enabled();
	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, fail_often, qemu->vm);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	qemu_expect_fatal(qemu, PVHCA_DEV_ERR_HOST);
	expect_state(VM_FAILED);
	rig_expect_log("open attach detach close");
	/* Nothing else comes before the answer. */
	qemu_reset(qemu);
	rig_expect_log("open attach detach close");
}
END_TEST

START_TEST(after_a_fault_only_reset_brings_it_back_and_it_may_fail_anew)
{
	qemu = qemu_enabled();
	for (int i = 0; i < 3; i++) {
		vm_guest_fault(qemu->vm, "entry %d", i);
		qemu_expect_fatal(qemu, PVHCA_DEV_ERR_GUEST);
		ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_BAD_STATE);
		qemu_reset(qemu);
		ck_assert(!vm_failing(qemu->vm));
		ck_assert_uint_eq(qemu_enable(qemu), 0);
		guest_post(qemu, 7);
		guest_ring(qemu);
		guest_await(qemu, 0, 7);
		qemu->area->sq_pi = 0;
		qemu->cq[0].flags = 0;
	}
}
END_TEST

START_TEST(a_reset_that_overtakes_a_fault_does_all)
{
	qemu = qemu_enabled();
	hold();
	vm_fail(qemu->vm, PVHCA_DEV_ERR_HOST, "engine");
	qemu_ask_reset(qemu);
	sem_post(&go);
	ck_assert_uint_eq(qemu_answer(qemu, PVHCA_LINK_RESET_REPLY), 0);
	qemu_reset(qemu);
	expect_state(VM_IDLE);
	rig_expect_log("open attach async detach close");
}
END_TEST

START_TEST(a_fault_from_before_a_reset_does_not_end_what_was_enabled_after_it)
{
	struct pvhca_link_reply reply;

	qemu = qemu_enabled();
	hold();
	vm_fail(qemu->vm, PVHCA_DEV_ERR_HOST, "engine");
	qemu_ask_reset(qemu);
	qemu_ask_enable(qemu, RIG_GPA);
	sem_post(&go);
	qemu_receive(qemu, PVHCA_LINK_RESET_REPLY, &reply, sizeof(reply));
	ck_assert_uint_eq(qemu_answer(qemu, PVHCA_LINK_ENABLE_REPLY), 0);
	/* By the next message the thread has looked at the fault. */
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_BAD_STATE);
	expect_state(VM_ENABLED);
	rig_expect_log("open attach async detach close open attach");
}
END_TEST

/* A worker that finds it in its last pass. */
static void fail_it(struct vm *vm)
{
	vm_fail(vm, PVHCA_DEV_ERR_HOST, "engine");
}

START_TEST(a_fault_in_the_middle_of_a_reset_is_forgotten)
{
	qemu = qemu_enabled();
	rig.on_detach = fail_it;
	qemu_reset(qemu);
	rig.on_detach = NULL;
	expect_state(VM_IDLE);
	ck_assert_uint_eq(qemu_enable(qemu), 0);
	ck_assert_uint_eq(qemu_enable(qemu), PVHCA_DEV_ERR_BAD_STATE);
	rig_expect_log("open attach detach close open attach");
}
END_TEST

START_TEST(a_fault_while_it_is_enabled_is_told_after_the_answer)
{
	qemu = qemu_ready();
	rig.on_attach = fail_it;
	ck_assert_uint_eq(qemu_enable(qemu), 0);
	qemu_expect_fatal(qemu, PVHCA_DEV_ERR_HOST);
	expect_state(VM_FAILED);
	rig_expect_log("open attach detach close");
}
END_TEST

START_TEST(a_driver_that_abuses_the_admin_queue_loses_its_device)
{
	qemu = qemu_enabled();
	qemu->area->sq_pi = RIG_ENTRIES + 1;
	guest_ring(qemu);
	qemu_expect_fatal(qemu, PVHCA_DEV_ERR_GUEST);
	expect_state(VM_FAILED);
	ck_assert_uint_eq(qemu->vm->counters.protocol_errors, 1);
	rig_expect_log("open attach detach close");
}
END_TEST

START_TEST(memory_that_vanishes_ends_the_device_of_its_vm_alone)
{
	struct qemu *other = qemu_enabled();
	uint8_t byte;

	qemu = qemu_enabled();
	session_check_memory(qemu->session);
	guest_post(qemu, 1);
	guest_ring(qemu);
	guest_await(qemu, 0, 1);
	expect_state(VM_ENABLED);
	ck_assert_int_eq(ftruncate(qemu->ram_fd, 0), 0);
	ck_assert_int_eq(memory_read(qemu->vm->memory, RIG_GPA, &byte, 1), 0);
	session_check_memory(qemu->session);
	session_check_memory(other->session);
	qemu_expect_fatal(qemu, PVHCA_DEV_ERR_MEMORY);
	expect_state(VM_FAILED);
	guest_post(other, 1);
	guest_ring(other);
	guest_await(other, 0, 1);
	qemu_free(other);
}
END_TEST

/* ---------------------------------- retries -------------------------------- */

static void (*really_retry)(struct vm *vm);
static _Atomic unsigned int retries;

static void count_retry(struct vm *vm)
{
	retries++;
	really_retry(vm);
}

START_TEST(many_wishes_for_a_retry_are_one)
{
	struct vm_thread_ops ops = session_thread_ops;

	qemu = qemu_enabled();
	really_retry = ops.retry;
	ops.retry = count_retry;
	qemu->vm->thread = &ops;
	hold();
	for (int i = 0; i < 100; i++)
		vm_retry_soon(qemu->vm);
	ck_assert_uint_eq(retries, 1);
	sem_post(&go);
	while (atomic_load(&qemu->vm->retrying))
		usleep(100);
	vm_retry_soon(qemu->vm);
	ck_assert_uint_eq(retries, 2);
	qemu_free(qemu);
	qemu = NULL;
}
END_TEST

START_TEST(a_retry_after_a_reset_finds_nothing_to_do)
{
	qemu = qemu_enabled();
	hold();
	vm_retry_soon(qemu->vm);
	qemu_ask_reset(qemu);
	sem_post(&go);
	ck_assert_uint_eq(qemu_answer(qemu, PVHCA_LINK_RESET_REPLY), 0);
	while (atomic_load(&qemu->vm->retrying))
		usleep(100);
	qemu_reset(qemu);
}
END_TEST

/* ------------------------------------ ends --------------------------------- */

START_TEST(quitting_ends_an_idle_session)
{
	qemu = qemu_new();
	if (_i)
		qemu_connect(qemu);
	session_quit(qemu->session);
	qemu_expect_end(qemu);
	rig_expect_log("");
}
END_TEST

START_TEST(quitting_ends_an_enabled_session_and_gives_all_back)
{
	qemu = qemu_enabled();
	session_quit(qemu->session);
	qemu_expect_end(qemu);
	rig_expect_log("open attach detach close");
}
END_TEST

START_TEST(a_session_that_ends_gives_its_mac_back)
{
	uint8_t mac[6];

	for (int i = 0; i < 2; i++) {
		qemu = qemu_enabled();
		if (i)
			ck_assert_mem_eq(qemu->vm->mac, mac, 6);
		memcpy(mac, qemu->vm->mac, 6);
		qemu_free(qemu);
	}
	qemu = NULL;
}
END_TEST

/* The thread looks at its deadlines when it is woken. */
static void be_late(void)
{
	qemu->session->hello_ns -= qemu->session->hello_ns ? SESSION_HELLO_MS * 1000000ull : 0;
	session_check_memory(qemu->session);
}

START_TEST(who_says_no_hello_goes)
{
	qemu = qemu_new();
	ck_assert_uint_ne(qemu->session->hello_ns, 0);
	be_late();
	qemu_expect_end(qemu);
}
END_TEST

START_TEST(the_end_of_the_link_raises_the_config_vector)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t count;

	qemu = qemu_enabled();
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTOR_CONFIG, &fd, 1);
	qemu_reset(qemu);
	ck_assert_int_lt(eventfd_read(fd, &count), 0);
	qemu_free(qemu);
	qemu = NULL;
	ck_assert_int_eq(eventfd_read(fd, &count), 0);
	close(fd);
}
END_TEST

START_TEST(after_hello_there_is_no_such_limit)
{
	qemu = qemu_new();
	qemu_connect(qemu);
	be_late();
	qemu_reset(qemu);
	ck_assert_uint_eq(qemu->session->hello_ns, 0);
}
END_TEST

START_TEST(a_fault_that_nobody_waits_for_any_more_does_not_outlive_the_session)
{
	qemu = qemu_enabled();
	hold();
	vm_fail(qemu->vm, PVHCA_DEV_ERR_HOST, "engine");
	vm_retry_soon(qemu->vm);
	session_check_memory(qemu->session);
	session_quit(qemu->session);
	sem_post(&go);
	qemu_free(qemu);
	qemu = NULL;
	rig_expect_log("open attach async detach close");
}
END_TEST

START_TEST(a_qemu_that_does_not_read_its_answers_ends_the_session)
{
	const struct pvhca_link_header header = {
		.magic = PVHCA_LINK_MAGIC,
		.type = PVHCA_LINK_RESET,
		.size = sizeof(struct pvhca_link_reset),
	};
	uint8_t message[sizeof(header) + sizeof(struct pvhca_link_reset)] = { 0 };

	qemu = qemu_enabled();
	memcpy(message, &header, sizeof(header));
	while (!rig_has("close"))
		if (send(qemu->fd, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			usleep(100);
	qemu_free(qemu);
	qemu = NULL;
	rig_expect_log("open attach detach close");
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("session");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_fault_in_other_threads_tears_down_once_and_is_told_once);
	tcase_add_test(tc, after_a_fault_only_reset_brings_it_back_and_it_may_fail_anew);
	tcase_add_test(tc, a_reset_that_overtakes_a_fault_does_all);
	tcase_add_test(tc, a_fault_from_before_a_reset_does_not_end_what_was_enabled_after_it);
	tcase_add_test(tc, a_fault_in_the_middle_of_a_reset_is_forgotten);
	tcase_add_test(tc, a_fault_while_it_is_enabled_is_told_after_the_answer);
	tcase_add_test(tc, a_driver_that_abuses_the_admin_queue_loses_its_device);
	tcase_add_test(tc, memory_that_vanishes_ends_the_device_of_its_vm_alone);
	tcase_add_test(tc, many_wishes_for_a_retry_are_one);
	tcase_add_test(tc, a_retry_after_a_reset_finds_nothing_to_do);
	tcase_add_loop_test(tc, quitting_ends_an_idle_session, 0, 2);
	tcase_add_test(tc, quitting_ends_an_enabled_session_and_gives_all_back);
	tcase_add_test(tc, a_session_that_ends_gives_its_mac_back);
	tcase_add_test(tc, who_says_no_hello_goes);
	tcase_add_test(tc, the_end_of_the_link_raises_the_config_vector);
	tcase_add_test(tc, after_hello_there_is_no_such_limit);
	tcase_add_test(tc, a_fault_that_nobody_waits_for_any_more_does_not_outlive_the_session);
	tcase_add_test(tc, a_qemu_that_does_not_read_its_answers_ends_the_session);
	return suite_run("session", tc);
}
