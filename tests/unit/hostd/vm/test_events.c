// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vm/events.h"
#include "memory/memory.h"
#include "vm/vm.h"
#include "suite.h"

#define K4	4096ull
#define LOG	2
#define ENTRIES (1u << LOG)

static struct vm vm;
static struct ceq ceq;
static uint8_t *ram;
static unsigned int retries;

void vm_retry_soon(struct vm *s)
{
	ck_assert_ptr_eq(s, &vm);
	retries++;
}

static void setup(void)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	memory_fault_init();
	memset(&vm, 0, sizeof(vm));
	vm.memory = memory_new(NULL);
	ck_assert_int_eq(ftruncate(fd, 16 * K4), 0);
	ram = mmap(NULL, 16 * K4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_int_eq(memory_add(vm.memory, 0, 16 * K4, 0, K4, fd), 0);
	for (int i = 0; i < PVHCA_VECTORS_MAX; i++)
		vm.vector_fds[i] = -1;
	for (int i = 1; i < 4; i++)
		vm.vector_fds[i] = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_eq(events_open(&vm, 0, LOG), 0);
	ceq = (struct ceq){ .vm = &vm, .vector = 2 };
	ck_assert_int_eq(events_ceq_init(&ceq, K4, LOG), 0);
	retries = 0;
}

static void teardown(void)
{
	events_ceq_fini(&ceq);
	events_close(&vm);
	memory_free(vm.memory);
	munmap(ram, 16 * K4);
}

static uint64_t interrupts(uint32_t vector)
{
	uint64_t count = 0;

	if (read(vm.vector_fds[vector], &count, sizeof(count)) < 0)
		return 0;
	return count;
}

/* The guest's side: takes an entry if there is one. */
static bool take(uint8_t *queue, uint32_t *ci, uint32_t *entry, size_t words)
{
	uint32_t *at = (uint32_t *)(queue + 64) + (*ci % ENTRIES) * words;
	uint32_t phase = (*ci / ENTRIES) & 1 ? 0 : PVHCA_EQE_F_PHASE;

	if ((at[words - 1] & PVHCA_EQE_F_PHASE) != phase)
		return false;
	memcpy(entry, at, words * sizeof(*at));
	(*ci)++;
	*(uint32_t *)queue = *ci;
	return true;
}

/* --------------------------- signals that take long ------------------------ */

static unsigned int asked, told;
static unsigned int long_signals; /* how many of those to come take long */
static bool sleeping;		  /* without the processor */

void __real_shared_event_signal(int fd);
void __wrap_shared_event_signal(int fd);

static uint64_t cpu_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

void __wrap_shared_event_signal(int fd)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };
	const uint64_t began = cpu_ns();

	__real_shared_event_signal(fd);
	if (!long_signals)
		return;
	long_signals--;
	if (sleeping)
		nanosleep(&ms, NULL);
	else
		while (cpu_ns() - began < 1000000)
			;
}

static void ask(struct vm *s)
{
	ck_assert_ptr_eq(s, &vm);
	asked++;
}

static void tell(struct vm *s)
{
	ck_assert_ptr_eq(s, &vm);
	told++;
}

static const struct vm_thread_ops thread = { .interrupt = ask, .slow = tell };

/* The thread that was woken got the processor first. */
START_TEST(signals_that_take_long_without_the_processor_change_nothing)
{
	vm.thread = &thread;
	sleeping = true;
	long_signals = 20;
	while (long_signals)
		events_interrupt(&vm, 2);
	ck_assert_uint_eq(told, 0);
	ck_assert_uint_eq(asked, 0);
	sleeping = false;
}
END_TEST

START_TEST(signals_that_take_long_now_and_then_change_nothing)
{
	vm.thread = &thread;
	for (unsigned int i = 0; i < 10; i++) {
		long_signals = 3;
		while (long_signals)
			events_interrupt(&vm, 2);
		/* As often as it takes on a busy machine. */
		while (vm.slow_in_a_row && !vm.slow_events)
			events_interrupt(&vm, 2);
	}
	ck_assert_uint_eq(told, 0);
}
END_TEST

START_TEST(signals_that_take_long_are_left_to_the_sessions_thread)
{
	vm.thread = &thread;
	long_signals = 4;
	while (long_signals)
		events_interrupt(&vm, 2);
	ck_assert_uint_eq(told, 1);
	interrupts(2);
	events_interrupt(&vm, 2);
	events_interrupt(&vm, 3);
	events_interrupt(&vm, 3);
	ck_assert_uint_eq(asked, 3);
	ck_assert_uint_eq(interrupts(2) + interrupts(3), 0);
	events_relay(&vm);
	ck_assert_uint_eq(interrupts(2), 1);
	ck_assert_uint_eq(interrupts(3), 1);
	ck_assert_uint_eq(vm.counters.interrupts, 6);
	events_relay(&vm);
	ck_assert_uint_eq(interrupts(2) + interrupts(3), 0);
}
END_TEST

START_TEST(the_last_vector_is_signalled_too)
{
	vm.thread = &thread;
	atomic_store(&vm.slow_events, true);
	vm.vector_fds[PVHCA_VECTORS_MAX - 1] = eventfd(0, EFD_NONBLOCK);
	events_interrupt(&vm, PVHCA_VECTORS_MAX - 1);
	events_interrupt(&vm, PVHCA_VECTORS_MAX);
	ck_assert_uint_eq(asked, 1);
	events_relay(&vm);
	ck_assert_uint_eq(interrupts(PVHCA_VECTORS_MAX - 1), 1);
}
END_TEST

/* ---------------------------------- queues --------------------------------- */

START_TEST(completion_events_come_in_order_lap_after_lap)
{
	uint32_t ci = 0, entry[2];

	for (uint32_t i = 0; i < 50; i++) {
		ck_assert(events_completion(&ceq, 1000 + i));
		/* That is for whoever knows whether more are to come: vm/pass.c. */
		ck_assert_uint_eq(interrupts(2), 0);
		ck_assert(take(ram + K4, &ci, entry, 2));
		ck_assert_uint_eq(entry[0], 1000 + i);
		ck_assert(!take(ram + K4, &ci, entry, 2));
	}
}
END_TEST

START_TEST(a_full_queue_refuses_and_raises_nothing)
{
	uint32_t ci = 0, entry[2];

	for (uint32_t i = 0; i < ENTRIES; i++)
		ck_assert(events_completion(&ceq, i));
	interrupts(2);
	ck_assert(!events_completion(&ceq, 99));
	ck_assert_uint_eq(interrupts(2), 0);
	ck_assert(take(ram + K4, &ci, entry, 2));
	ck_assert_uint_eq(entry[0], 0);
	ck_assert(events_completion(&ceq, 99));
}
END_TEST

START_TEST(a_consumer_index_without_sense_only_looks_full)
{
	*(uint32_t *)(ram + K4) = 12345;
	ck_assert(!events_completion(&ceq, 1));
	*(uint32_t *)(ram + K4) = 0;
	ck_assert(events_completion(&ceq, 1));
}
END_TEST

START_TEST(async_events_are_kept_in_order_when_there_is_no_room)
{
	uint32_t ci = 0, entry[4], i;

	for (i = 0; i < ENTRIES + 100; i++)
		events_async(&vm, PVHCA_EVENT_COMM_EST, i);
	ck_assert_uint_eq(retries, 100);
	ck_assert_uint_eq(vm.counters.async_events, ENTRIES);
	for (i = 0; i < ENTRIES + 100; i++) {
		ck_assert(take(ram, &ci, entry, 4));
		ck_assert_uint_eq(entry[0], PVHCA_EVENT_COMM_EST);
		ck_assert_uint_eq(entry[1], i);
		events_retry(&vm);
	}
	ck_assert(!take(ram, &ci, entry, 4));
	ck_assert_uint_eq(vm.counters.async_events, ENTRIES + 100);
	ck_assert_uint_eq(vm.counters.async_events_dropped, 0);
	ck_assert_uint_gt(interrupts(1), 0);
}
END_TEST

START_TEST(what_is_kept_is_bounded)
{
	for (uint32_t i = 0; i < 100000; i++)
		events_async(&vm, PVHCA_EVENT_QP_FATAL, i);
	ck_assert_uint_eq(vm.counters.async_events_dropped, 100000 - ENTRIES - 256);
}
END_TEST

START_TEST(events_without_a_queue_go_nowhere)
{
	events_close(&vm);
	events_async(&vm, PVHCA_EVENT_QP_FATAL, 1);
	events_retry(&vm);
}
END_TEST

START_TEST(queues_must_lie_in_ram)
{
	struct ceq other = { .vm = &vm };

	ck_assert_int_eq(events_ceq_init(&other, 64, LOG), -EINVAL);
	ck_assert_int_eq(events_ceq_init(&other, K4, 18), -EINVAL);
	ck_assert_int_eq(events_ceq_init(&other, 16 * K4, LOG), -EFAULT);
	ck_assert_int_eq(events_ceq_init(&other, 15 * K4, 10), -EFAULT);
	ck_assert_int_eq(events_ceq_init(&other, 15 * K4, 8), 0);
	events_ceq_fini(&other);
}
END_TEST

START_TEST(an_interrupt_that_is_not_wired_is_none)
{
	events_interrupt(&vm, 0);
	events_interrupt(&vm, 60);
	events_interrupt(&vm, UINT32_MAX);
	ck_assert_uint_eq(vm.counters.interrupts, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("events");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, signals_that_take_long_without_the_processor_change_nothing);
	tcase_add_test(tc, signals_that_take_long_now_and_then_change_nothing);
	tcase_add_test(tc, signals_that_take_long_are_left_to_the_sessions_thread);
	tcase_add_test(tc, the_last_vector_is_signalled_too);
	tcase_add_test(tc, completion_events_come_in_order_lap_after_lap);
	tcase_add_test(tc, a_full_queue_refuses_and_raises_nothing);
	tcase_add_test(tc, a_consumer_index_without_sense_only_looks_full);
	tcase_add_test(tc, async_events_are_kept_in_order_when_there_is_no_room);
	tcase_add_test(tc, what_is_kept_is_bounded);
	tcase_add_test(tc, events_without_a_queue_go_nowhere);
	tcase_add_test(tc, queues_must_lie_in_ram);
	tcase_add_test(tc, an_interrupt_that_is_not_wired_is_none);
	return suite_run("events", tc);
}
