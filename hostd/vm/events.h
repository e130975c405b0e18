/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event queues in the guest driver's memory, and its interrupts.
 */
#ifndef HOSTD_VM_EVENTS_H
#define HOSTD_VM_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct memory;
struct region;
struct vm;

/**
 * struct event_queue - ring of events in guest memory
 * @header: struct pvhca_eq_header, entries behind it
 * @pi: next entry, free running
 */
struct event_queue {
	pthread_mutex_t lock;
	struct region *region;
	uint8_t *header;
	uint32_t log_entries;
	uint32_t entry_size;
	uint32_t pi;
};

/* A completion event queue; users are its CQs. */
struct ceq {
	struct vm *vm;
	uint32_t handle;
	unsigned int users;
	uint32_t vector;
	struct event_queue queue;
};

/*
 * Post an async event (enum pvhca_async_event) for an object's handle (or port), and
 * interrupt. Events that find no room are kept, up to a bound; then dropped and
 * counted. Any thread.
 */
void events_async(struct vm *vm, uint32_t event, uint32_t object);

/*
 * Post a completion event. The interrupt, ceq->vector, is the caller's: several events need no more than
 * one behind them. False: no room now, try again later. Any thread.
 */
bool events_completion(struct ceq *ceq, uint32_t cq_handle);

/*
 * Signal the eventfd of an MSI-X vector. Any thread; it never blocks. Where that was seen to take
 * long the session's thread does it.
 */
void events_interrupt(struct vm *vm, uint32_t vector);
/* Likewise at once. The session's thread. */
void events_interrupt_now(struct vm *vm, uint32_t vector);
/* Signal what waits in vm->relay. The session's thread. */
void events_relay(struct vm *vm);

/*
 * The async event queue, from ENABLE on. Returns 0 or a negative errno: EINVAL
 * (alignment, size), EFAULT (not guest RAM), ENOMEM. The session's thread, while
 * no other can post.
 */
int events_open(struct vm *vm, uint64_t gpa, unsigned int log_entries);
void events_close(struct vm *vm);
/* Post the events that found no room before. */
void events_retry(struct vm *vm);

/* Set up a CEQ. Its VM and vector are set. Errors as events_open(). */
int events_ceq_init(struct ceq *ceq, uint64_t gpa, unsigned int log_entries);
void events_ceq_fini(struct ceq *ceq);

#endif
