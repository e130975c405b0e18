// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Event queues: rings that pvhcad fills and the guest driver empties, as CQs are,
 * with the phase bit of an entry written last, with release. The guest's consumer
 * index is not trusted: a value that makes no sense only makes the queue look full.
 *
 * A completion event that finds no room is held back by its CQ (vm/cq.c). Async
 * events are kept here, up to a bound; as the guest does not say when it made
 * room, the session's thread looks again now and then.
 *
 * An interrupt is a signal of an eventfd that QEMU has, too. Whoever signals it runs the wake-up
 * of all that wait for it, with its lock held, and QEMU can make that a million by epoll(7): a
 * quarter of a second. A VM whose signals take long, four times in a row, has them done by its
 * own session's thread from then on, and holds up no worker. That costs it a wake-up of a thread
 * for each interrupt. The first time is told by the clock, and often means no more than that the
 * thread that was woken got the processor. So the next ones are told by the time that the
 * processor gave us, which costs a system call more.
 */
#include "vm/events.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "lib/shared_event.h"
#include "memory/memory.h"
#include "rdma/pvhca-ring.h"
#include "vm/vm.h"

#define EVENTS_KEPT 256u /* a power of two */
/* A signal takes a microsecond, in an emulated machine a hundred. */
#define SLOW_NS	      (500 * NS_PER_US)
#define SLOW_IN_A_ROW 4u

struct async_event {
	uint32_t event;
	uint32_t object;
};

/* The queue's lock covers the kept events, too. */
struct async_queue {
	struct event_queue queue;
	uint32_t first, count;
	struct async_event kept[EVENTS_KEPT];
};

static int vector_fd(const struct vm *vm, uint32_t vector)
{
	return vector < PVHCA_VECTORS_MAX ? vm->vector_fds[vector] : -1;
}

void events_interrupt_now(struct vm *vm, uint32_t vector)
{
	const int fd = vector_fd(vm, vector);

	if (fd < 0)
		return;
	shared_event_signal(fd);
	counter_add(&vm->counters.interrupts, 1);
}

static uint64_t cpu_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* A signal took so long. */
static void judge(struct vm *vm, uint64_t ns)
{
	if (ns < SLOW_NS) {
		if (atomic_load_explicit(&vm->slow_in_a_row, memory_order_relaxed))
			atomic_store(&vm->slow_in_a_row, 0);
	} else if (atomic_fetch_add(&vm->slow_in_a_row, 1) + 1 == SLOW_IN_A_ROW) {
		atomic_store(&vm->slow_events, true);
		vm->thread->slow(vm);
	}
}

void events_interrupt(struct vm *vm, uint32_t vector)
{
	uint64_t began;

	if (vector_fd(vm, vector) < 0)
		return;
	if (atomic_load_explicit(&vm->slow_events, memory_order_relaxed)) {
		atomic_fetch_or(&vm->relay[vector / 64], 1ull << vector % 64);
		vm->thread->interrupt(vm);
	} else if (atomic_load_explicit(&vm->slow_in_a_row, memory_order_relaxed)) {
		began = cpu_ns();
		events_interrupt_now(vm, vector);
		judge(vm, cpu_ns() - began);
	} else {
		began = clock_ns();
		events_interrupt_now(vm, vector);
		judge(vm, clock_ns() - began);
	}
}

void events_relay(struct vm *vm)
{
	for (uint32_t word = 0; word < VM_VECTOR_WORDS; word++)
		for (uint64_t bits = atomic_exchange(&vm->relay[word], 0); bits; bits &= bits - 1)
			events_interrupt_now(vm, word * 64 + (uint32_t)__builtin_ctzll(bits));
}

static int queue_init(struct event_queue *queue, struct memory *memory, uint64_t gpa,
		      unsigned int log_entries, uint32_t entry_size)
{
	uint64_t size;

	if ((gpa & (PVHCA_GRANULE - 1)) || log_entries > PVHCA_EQ_MAX_LOG_ENTRIES)
		return -EINVAL;
	size = PVHCA_EQ_HEADER_SIZE + ((uint64_t)entry_size << log_entries);
	queue->header = memory_resolve(memory, gpa, size, &queue->region);
	if (!queue->header)
		return -EFAULT;
	queue->log_entries = log_entries;
	queue->entry_size = entry_size;
	queue->pi = 0;
	pthread_mutex_init(&queue->lock, NULL);
	return 0;
}

static void queue_fini(struct event_queue *queue)
{
	pthread_mutex_destroy(&queue->lock);
	memory_region_put(queue->region);
}

/*
 * Write an entry of 32-bit words, except for the last one, which holds flags. With the
 * lock held. False: no room.
 */
static bool queue_write(struct event_queue *queue, const uint32_t *words)
{
	const struct pvhca_eq_header *header = (void *)queue->header;
	uint32_t entries = 1u << queue->log_entries;
	uint32_t last = queue->entry_size - sizeof(uint32_t);
	uint32_t ci, flags;
	uint8_t *entry;

	ci = le32toh(__atomic_load_n(&header->ci, __ATOMIC_ACQUIRE));
	if (queue->pi - ci >= entries)
		return false;
	entry = queue->header + PVHCA_EQ_HEADER_SIZE +
		(size_t)(queue->pi & (entries - 1)) * queue->entry_size;
	memcpy(entry, words, last);
	flags = (queue->pi >> queue->log_entries) & 1 ? 0 : PVHCA_EQE_F_PHASE;
	__atomic_store_n((uint32_t *)(entry + last), htole32(flags), __ATOMIC_RELEASE);
	queue->pi++;
	return true;
}

/* ---------------------------- completion events ---------------------------- */

int events_ceq_init(struct ceq *ceq, uint64_t gpa, unsigned int log_entries)
{
	return queue_init(&ceq->queue, ceq->vm->memory, gpa, log_entries,
			  sizeof(struct pvhca_ceqe));
}

void events_ceq_fini(struct ceq *ceq)
{
	queue_fini(&ceq->queue);
}

bool events_completion(struct ceq *ceq, uint32_t cq_handle)
{
	const uint32_t word = htole32(cq_handle);
	bool done;

	pthread_mutex_lock(&ceq->queue.lock);
	done = queue_write(&ceq->queue, &word);
	pthread_mutex_unlock(&ceq->queue.lock);
	return done;
}

/* ------------------------------ async events ------------------------------- */

int events_open(struct vm *vm, uint64_t gpa, unsigned int log_entries)
{
	struct async_queue *aeq = heap_zalloc(vm->heap, sizeof(*aeq));
	int ret;

	if (!aeq)
		return -ENOMEM;
	ret = queue_init(&aeq->queue, vm->memory, gpa, log_entries, sizeof(struct pvhca_aeqe));
	if (ret) {
		heap_free(aeq);
		return ret;
	}
	vm->aeq = aeq;
	return 0;
}

void events_close(struct vm *vm)
{
	struct async_queue *aeq = vm->aeq;

	if (!aeq)
		return;
	vm->aeq = NULL;
	queue_fini(&aeq->queue);
	heap_free(aeq);
}

static bool async_write(struct async_queue *aeq, uint32_t event, uint32_t object)
{
	const uint32_t words[3] = { htole32(event), htole32(object), 0 };

	return queue_write(&aeq->queue, words);
}

void events_async(struct vm *vm, uint32_t event, uint32_t object)
{
	struct async_queue *aeq = vm->aeq;
	bool kept = false, written = false;

	if (!aeq)
		return;
	pthread_mutex_lock(&aeq->queue.lock);
	if (!aeq->count) /* else it would overtake the kept ones */
		written = async_write(aeq, event, object);
	if (!written && aeq->count < EVENTS_KEPT) {
		aeq->kept[(aeq->first + aeq->count++) % EVENTS_KEPT] =
			(struct async_event){ event, object };
		kept = true;
	}
	pthread_mutex_unlock(&aeq->queue.lock);

	if (written) {
		counter_add(&vm->counters.async_events, 1);
		events_interrupt(vm, PVHCA_VECTOR_ADMIN);
	} else if (kept) {
		vm_retry_soon(vm);
	} else {
		counter_add(&vm->counters.async_events_dropped, 1);
	}
}

void events_retry(struct vm *vm)
{
	struct async_queue *aeq = vm->aeq;
	unsigned int written = 0;
	bool left;

	if (!aeq)
		return;
	pthread_mutex_lock(&aeq->queue.lock);
	while (aeq->count &&
	       async_write(aeq, aeq->kept[aeq->first].event, aeq->kept[aeq->first].object)) {
		aeq->first = (aeq->first + 1) % EVENTS_KEPT;
		aeq->count--;
		written++;
	}
	left = aeq->count;
	pthread_mutex_unlock(&aeq->queue.lock);

	if (written) {
		counter_add(&vm->counters.async_events, written);
		events_interrupt(vm, PVHCA_VECTOR_ADMIN);
	}
	if (left)
		vm_retry_soon(vm);
}
