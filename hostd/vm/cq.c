// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Completion queues: entries into the guest's ring, events when asked for.
 *
 * An entry is 32 bytes. Its last four, which hold the phase bit, are stored last
 * and with release, so a guest that sees the phase sees the rest, and sees the
 * data that the engine had placed before.
 *
 * Events: the guest counts up arm_any or arm_solicited, makes a full barrier and
 * polls once more; we store an entry, make a full barrier and read the counts.
 * Of the two at least one sees the other's store, so no event is lost. The look
 * at the counts is put off to the end of the worker's pass (want_event), which
 * makes one barrier and at most one interrupt of a batch.
 *
 * A full ring: completions wait in the backlog, in order, and the CQ is on its
 * worker's list until the guest has made room.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "vm/cq.h"
#include "vm/cq_blocked.h"
#include "vm/events.h"
#include "rdma/pvhca-abi.h"
#include "vm/pass.h"
#include "vm/vm.h"

/* In backlog entries only; never written to the guest. */
#define CQE_F_SOLICITED (1 << 6)

#define BACKLOG_MIN 64u

int cq_init(struct cq *cq)
{
	cq->header = ring_buffer_at(cq->buffer, 0);
	return -pthread_mutex_init(&cq->lock, NULL);
}

void cq_fini(struct cq *cq)
{
	pthread_mutex_destroy(&cq->lock);
	free(cq->backlog);
	cq->backlog = NULL;
}

int cq_reserve(struct cq *cq, uint32_t n)
{
	int err = 0;

	pthread_mutex_lock(&cq->lock);
	if (n > UINT32_MAX / 2 - cq->backlog_limit)
		err = -ENOMEM;
	else
		cq->backlog_limit += n;
	pthread_mutex_unlock(&cq->lock);
	return err;
}

void cq_unreserve(struct cq *cq, uint32_t n)
{
	pthread_mutex_lock(&cq->lock);
	cq->backlog_limit -= n;
	pthread_mutex_unlock(&cq->lock);
}

static struct pvhca_cqe *cq_entry(const struct cq *cq, uint32_t index)
{
	uint32_t at = index & ((1u << cq->log_entries) - 1);

	return ring_buffer_at(cq->buffer,
			      PVHCA_CQ_HEADER_SIZE + (uint64_t)at * sizeof(struct pvhca_cqe));
}

/* A consumer index that makes no sense leaves the CQ full: it harms its owner only. */
static bool cq_has_room(struct cq *cq)
{
	uint32_t entries = 1u << cq->log_entries;

	if (cq->pi - cq->ci_seen < entries)
		return true;
	cq->ci_seen =
		atomic_load_explicit((_Atomic uint32_t *)&cq->header->ci, memory_order_acquire);
	return cq->pi - cq->ci_seen < entries;
}

static void cq_write(struct cq *cq, const struct pvhca_cqe *cqe)
{
	const size_t body = offsetof(struct pvhca_cqe, opcode);
	struct pvhca_cqe *entry = cq_entry(cq, cq->pi);
	uint8_t phase = cq->pi >> cq->log_entries & 1 ? 0 : PVHCA_CQE_F_PHASE;
	uint32_t last;

	memcpy(&last, &cqe->opcode, sizeof(last));
	((uint8_t *)&last)[3] &= ~(PVHCA_CQE_F_PHASE | CQE_F_SOLICITED);
	((uint8_t *)&last)[3] |= phase;

	memcpy(entry, cqe, body);
	atomic_store_explicit((_Atomic uint32_t *)&entry->opcode, last, memory_order_release);
	cq->pi++;
	cq->want_event = true;
	if (cqe->flags & CQE_F_SOLICITED || cqe->status != IBV_WC_SUCCESS)
		cq->want_solicited = true;
}

static bool backlog_grow(struct cq *cq)
{
	uint32_t room = cq->backlog_room ? 2 * cq->backlog_room : BACKLOG_MIN;
	struct pvhca_cqe *backlog;
	uint32_t i;

	backlog = calloc(room, sizeof(*backlog));
	if (!backlog)
		return false;
	for (i = 0; i < cq->backlog_count; i++)
		backlog[i] = cq->backlog[(cq->backlog_head + i) % cq->backlog_room];
	free(cq->backlog);
	cq->backlog = backlog;
	cq->backlog_room = room;
	cq->backlog_head = 0;
	return true;
}

static bool backlog_add(struct cq *cq, const struct pvhca_cqe *cqe)
{
	if (cq->backlog_count >= cq->backlog_limit)
		return false;
	if (cq->backlog_count == cq->backlog_room && !backlog_grow(cq))
		return false;
	cq->backlog[(cq->backlog_head + cq->backlog_count++) % cq->backlog_room] = *cqe;
	return true;
}

static void cq_set_blocked(struct cq *cq, bool blocked)
{
	atomic_store_explicit((_Atomic uint32_t *)&cq->header->flags,
			      htole32(blocked ? PVHCA_CQ_F_BLOCKED : 0), memory_order_relaxed);
}

bool cq_push(struct pass *pass, struct cq *cq, const struct pvhca_cqe *from, bool solicited)
{
	bool was_wanted, blocked = false, ok = true;
	struct pvhca_cqe cqe = *from;

	if (solicited)
		cqe.flags |= CQE_F_SOLICITED;

	pthread_mutex_lock(&cq->lock);
	was_wanted = cq->want_event;
	if (!cq->backlog_count && cq_has_room(cq)) {
		cq_write(cq, &cqe);
	} else {
		ok = backlog_add(cq, &cqe);
		blocked = true;
		cq_set_blocked(cq, true);
	}
	pthread_mutex_unlock(&cq->lock);

	if (blocked)
		cq_blocked_add(cq);
	else if (!pass)
		cq_notify(cq);
	else if (!was_wanted)
		pass_add_cq(pass, cq);
	return ok;
}

/* With cq->lock held. */
static bool cq_is_asked_for(struct cq *cq)
{
	uint32_t any, solicited;
	bool asked;

	/* Between our entry and the guest's request; see the top. */
	atomic_thread_fence(memory_order_seq_cst);
	any = atomic_load_explicit((_Atomic uint32_t *)&cq->header->arm_any, memory_order_relaxed);
	solicited = atomic_load_explicit((_Atomic uint32_t *)&cq->header->arm_solicited,
					 memory_order_relaxed);
	asked = any != cq->any_fired || (cq->want_solicited && solicited != cq->solicited_fired);
	if (asked) {
		cq->any_fired = any;
		cq->solicited_fired = solicited;
	}
	cq->want_event = false;
	cq->want_solicited = false;
	return asked;
}

/* With cq->lock held; false when the event is held back. */
static bool cq_raise(struct cq *cq)
{
	cq->event_held = !events_completion(cq->ceq, cq->handle);
	if (!cq->event_held)
		counter_add(&cq->vm->counters.completion_events, 1);
	return !cq->event_held;
}

uint64_t cq_timestamp(const struct cq *cq)
{
	return cq->flags & PVHCA_CREATE_CQ_TIMESTAMPS ? htole64(clock_ns()) : 0;
}

void cq_notify(struct cq *cq)
{
	bool held = false;

	pthread_mutex_lock(&cq->lock);
	if (cq->want_event && cq_is_asked_for(cq))
		held = !cq_raise(cq);
	pthread_mutex_unlock(&cq->lock);
	if (held)
		cq_blocked_add(cq);
}

bool cq_retry(struct cq *cq)
{
	bool done;

	pthread_mutex_lock(&cq->lock);
	while (cq->backlog_count && cq_has_room(cq)) {
		cq_write(cq, &cq->backlog[cq->backlog_head]);
		cq->backlog_head = (cq->backlog_head + 1) % cq->backlog_room;
		cq->backlog_count--;
	}
	if (!cq->backlog_count)
		cq_set_blocked(cq, false);
	if (cq->event_held || (cq->want_event && cq_is_asked_for(cq)))
		cq_raise(cq);
	done = !cq->backlog_count && !cq->event_held;
	pthread_mutex_unlock(&cq->lock);
	return done;
}

/* Copy entry index of the CQ to place at of the first lap in another buffer. */
static void cq_move_entry(const struct cq *cq, uint32_t index, const struct ring_buffer *buffer,
			  uint32_t at)
{
	struct pvhca_cqe cqe;

	memcpy(&cqe, cq_entry(cq, index), sizeof(cqe));
	cqe.flags |= PVHCA_CQE_F_PHASE;
	memcpy(ring_buffer_at(buffer, PVHCA_CQ_HEADER_SIZE + (uint64_t)at * sizeof(cqe)), &cqe,
	       sizeof(cqe));
}

int cq_resize(struct cq *cq, struct ring_buffer *buffer, uint32_t log_entries,
	      struct ring_buffer **old)
{
	struct pvhca_cq_header *header = ring_buffer_at(buffer, 0);
	uint32_t ci, left, i;

	pthread_mutex_lock(&cq->lock);
	ci = le32toh(
		atomic_load_explicit((_Atomic uint32_t *)&cq->header->ci, memory_order_acquire));
	left = cq->pi - ci;
	if (left > 1u << cq->log_entries || left > 1u << log_entries) {
		pthread_mutex_unlock(&cq->lock);
		return PVHCA_ST_INVALID;
	}
	for (i = 0; i < left; i++)
		cq_move_entry(cq, ci + i, buffer, i);
	header->arm_any = cq->header->arm_any;
	header->arm_solicited = cq->header->arm_solicited;
	*old = cq->buffer;
	cq->buffer = buffer;
	cq->header = header;
	cq->log_entries = log_entries;
	cq->pi = left;
	cq->ci_seen = 0;
	cq_set_blocked(cq, cq->backlog_count);
	pthread_mutex_unlock(&cq->lock);
	return PVHCA_ST_OK;
}

void cq_forget(struct cq *cq, uint32_t qpn)
{
	uint32_t i, kept = 0, count;
	struct pvhca_cqe *cqe;

	pthread_mutex_lock(&cq->lock);
	count = cq->backlog_count;
	for (i = 0; i < count; i++) {
		cqe = &cq->backlog[(cq->backlog_head + i) % cq->backlog_room];
		if (le32toh(cqe->qpn) == qpn)
			continue;
		cq->backlog[(cq->backlog_head + kept++) % cq->backlog_room] = *cqe;
	}
	cq->backlog_count = kept;
	pthread_mutex_unlock(&cq->lock);
}
