// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Completion queues: pvhcad writes entries into the guest's ring, and raises the events
 * that the guest asks for.
 *
 * An entry is 32 bytes. Its last four, which hold the phase bit, are stored last
 * and with release, so a guest that sees the phase sees the rest, and sees the
 * data that the engine had placed before.
 *
 * Events: the guest counts up arm_any or arm_solicited, makes a full barrier and
 * polls once more; we store an entry, make a full barrier and read the counts.
 * At least one of the two sees the other's store, so no event is lost. The look
 * at the counts is put off to the end of the turn (want_event). So a batch
 * takes one barrier and at most one event. The CQs of a turn share one interrupt (vm/pass.c).
 *
 * A full ring: completions wait in the backlog, those of one queue in order, and the CQ is
 * on its VM's list until the guest has made room. Other VMs' workers deliver completions to
 * the CQ, too. So the lock is held for a few entries only, never for all that a guest may
 * have there.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/heap.h"
#include "vm/cq.h"
#include "vm/cq_blocked.h"
#include "vm/events.h"
#include "rdma/pvhca-abi.h"
#include "vm/pass.h"
#include "vm/vm.h"

#define CHUNK_ENTRIES 15
/* The ring's header stands in place of entries, and granules of memory need not be neighbours. */
#define GRANULE_ENTRIES (PVHCA_GRANULE / (uint32_t)sizeof(struct pvhca_cqe))
#define HEADER_ENTRIES	(PVHCA_CQ_HEADER_SIZE / (uint32_t)sizeof(struct pvhca_cqe))
/* That a command copies under the lock, and how often it tries to have no more left. */
#define RESIZE_ENTRIES 64u
#define RESIZE_ROUNDS  16

struct cq_chunk {
	struct cq_chunk *next;
	uint32_t used;
	struct pvhca_cqe entry[CHUNK_ENTRIES];
};

int cq_init(struct cq *cq)
{
	cq->header = ring_buffer_at(cq->buffer, 0);
	CDS_INIT_LIST_HEAD(&cq->backlog);
	return -pthread_mutex_init(&cq->lock, NULL);
}

void cq_fini(struct cq *cq)
{
	pthread_mutex_destroy(&cq->lock);
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

/* How many entries are free; looks again if it knows of less than wanted. */
static uint32_t cq_room(struct cq *cq, uint32_t wanted)
{
	const uint32_t entries = 1u << cq->log_entries;

	if (entries - (cq->pi - cq->ci_seen) >= wanted && cq->pi - cq->ci_seen <= entries)
		return entries - (cq->pi - cq->ci_seen);
	cq->ci_seen =
		atomic_load_explicit((_Atomic uint32_t *)&cq->header->ci, memory_order_acquire);
	/* A consumer index that makes no sense leaves the CQ full: it harms its owner only. */
	return cq->pi - cq->ci_seen <= entries ? entries - (cq->pi - cq->ci_seen) : 0;
}

/* Write n entries to places that follow each other, all in one lap. */
static inline void cq_write_run(struct cq *cq, struct pvhca_cqe *entry, const struct pvhca_cqe *cqe,
				uint32_t n)
{
	const size_t body = offsetof(struct pvhca_cqe, opcode);
	const uint32_t phase = cq->pi >> cq->log_entries & 1 ? 0 : PVHCA_CQE_F_PHASE;
	const uint32_t inner = htole32((uint32_t)(PVHCA_CQE_F_PHASE | CQ_F_SOLICITED) << 24);
	uint32_t last, solicited = 0, i;

	for (i = 0; i < n; i++) {
		memcpy(&last, &cqe[i].opcode, sizeof(last));
		solicited |= cqe[i].flags & CQ_F_SOLICITED || cqe[i].status != IBV_WC_SUCCESS;
		last = (last & ~inner) | htole32(phase << 24);
		memcpy(&entry[i], &cqe[i], body);
		atomic_store_explicit((_Atomic uint32_t *)&entry[i].opcode, last,
				      memory_order_release);
	}
	cq->pi += n;
	cq->want_event = true;
	if (solicited)
		cq->want_solicited = true;
}

/* Places from at on that follow each other in memory: to the end of the lap, or of a granule. */
static uint32_t cq_run(const struct cq *cq, uint32_t at)
{
	const uint32_t lap = (1u << cq->log_entries) - at;
	const uint32_t granule = GRANULE_ENTRIES - (at + HEADER_ENTRIES) % GRANULE_ENTRIES;

	return lap < granule ? lap : granule;
}

/* As many of the next count entries as there is room for; returns how many. */
static uint32_t cq_write(struct cq *cq, const struct pvhca_cqe *cqe, uint32_t count)
{
	uint32_t room = cq_room(cq, count), at, n, left;

	if (room > count)
		room = count;
	for (left = room; left; left -= n, cqe += n) {
		at = cq->pi & ((1u << cq->log_entries) - 1);
		n = left == 1 ? 1 : cq_run(cq, at);
		if (n > left)
			n = left;
		cq_write_run(cq, cq_entry(cq, at), cqe, n);
	}
	return room;
}

/* --------------------------------- backlog --------------------------------- */

static void chunks_free(struct cq_chunk *chunk)
{
	struct cq_chunk *next;

	for (; chunk; chunk = next) {
		next = chunk->next;
		heap_free(chunk);
	}
}

/* The chunk to which the next entry goes, or NULL: no memory. */
static struct cq_chunk *held_chunk(struct cq *cq, struct cq_held *held)
{
	struct cq_chunk *chunk = held->last;

	if (chunk && chunk->used < CHUNK_ENTRIES)
		return chunk;
	chunk = heap_zalloc(cq->vm->heap, sizeof(*chunk));
	if (!chunk)
		return NULL;
	if (held->last)
		held->last->next = chunk;
	else
		held->first = chunk;
	held->last = chunk;
	return chunk;
}

static bool backlog_add(struct cq *cq, struct cq_held *held, const struct pvhca_cqe *cqe)
{
	struct cq_chunk *chunk;

	if (cq->backlog_count >= cq->backlog_limit)
		return false;
	chunk = held_chunk(cq, held);
	if (!chunk)
		return false;
	chunk->entry[chunk->used++] = *cqe;
	cq->backlog_count++;
	if (!held->count++)
		cds_list_add_tail(&held->node, &cq->backlog);
	return true;
}

/* Write the next entry, and go on with another queue's. */
static void backlog_deliver(struct cq *cq)
{
	struct cq_held *held = cds_list_first_entry(&cq->backlog, struct cq_held, node);
	struct cq_chunk *chunk = held->first;

	(void)cq_write(cq, &chunk->entry[held->taken++], 1);
	cq->backlog_count--;
	cds_list_del(&held->node);
	if (--held->count)
		cds_list_add_tail(&held->node, &cq->backlog);
	if (held->taken < chunk->used)
		return;
	held->first = chunk->next;
	if (!held->first)
		held->last = NULL;
	held->taken = 0;
	heap_free(chunk);
}

/* ------------------------------ completions -------------------------------- */

static void cq_set_blocked(struct cq *cq, bool blocked)
{
	atomic_store_explicit((_Atomic uint32_t *)&cq->header->flags,
			      htole32(blocked ? PVHCA_CQ_F_BLOCKED : 0), memory_order_relaxed);
}

bool cq_push_many(struct pass *pass, struct cq *cq, struct cq_held *held,
		  const struct pvhca_cqe *cqes, unsigned int count)
{
	bool was_wanted, blocked = false, ok = true;
	unsigned int done = 0;

	pthread_mutex_lock(&cq->lock);
	was_wanted = cq->want_event;
	if (!cq->backlog_count)
		done = cq_write(cq, cqes, count);
	if (done < count) {
		blocked = true;
		if (pass)
			pass_spend(pass, PASS_HELD_NS * (int64_t)(count - done));
		for (; done < count; done++)
			ok &= backlog_add(cq, held, &cqes[done]);
		cq_set_blocked(cq, true);
	}
	pthread_mutex_unlock(&cq->lock);

	if (blocked)
		cq_blocked_add(cq);
	else if (!pass)
		cq_notify(NULL, cq);
	else if (!was_wanted)
		pass_add_cq(pass, cq);
	return ok;
}

bool cq_push(struct pass *pass, struct cq *cq, struct cq_held *held, const struct pvhca_cqe *from,
	     bool solicited)
{
	struct pvhca_cqe cqe = *from;

	if (solicited)
		cqe.flags |= CQ_F_SOLICITED;
	return cq_push_many(pass, cq, held, &cqe, 1);
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
static bool cq_raise(struct pass *pass, struct cq *cq)
{
	cq->event_held = !events_completion(cq->ceq, cq->handle);
	if (cq->event_held)
		return false;
	counter_add(&cq->vm->counters.completion_events, 1);
	if (pass) {
		pass_spend(pass, PASS_EVENT_NS);
		pass_add_ceq(pass, cq->ceq);
	} else {
		events_interrupt(cq->ceq->vm, cq->ceq->vector);
	}
	return true;
}

void cq_notify(struct pass *pass, struct cq *cq)
{
	bool held = false;

	pthread_mutex_lock(&cq->lock);
	if (cq->want_event && cq_is_asked_for(cq))
		held = !cq_raise(pass, cq);
	pthread_mutex_unlock(&cq->lock);
	if (held)
		cq_blocked_add(cq);
}

bool cq_retry(struct pass *pass, struct cq *cq)
{
	bool done;

	pthread_mutex_lock(&cq->lock);
	while (cq->backlog_count && cq_room(cq, 1) && pass_goes_on(pass)) {
		backlog_deliver(cq);
		pass_spend(pass, PASS_COMPLETION_NS);
	}
	if (!cq->backlog_count)
		cq_set_blocked(cq, false);
	if (cq->event_held || (cq->want_event && cq_is_asked_for(cq)))
		cq_raise(pass, cq);
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

/*
 * Do the entries from ci on, which the guest says it has polled up to, fit in a new ring? With
 * cq->lock held. False: the guest claims what cannot be, or the new one is too small.
 */
static bool resize_fits(const struct cq *cq, uint32_t ci, uint32_t log_entries)
{
	uint32_t left = cq->pi - ci;

	return left <= 1u << cq->log_entries && left <= 1u << log_entries;
}

/*
 * Copy the entries that the guest has not polled, from ci on, all but the last few without
 * the lock: what stands in the ring is not written again before it was polled. Returns with
 * the lock held, and the place behind the last that was copied; *fits: all of them fit.
 */
static uint32_t resize_copy(struct cq *cq, uint32_t ci, struct ring_buffer *buffer,
			    uint32_t log_entries, bool *fits)
{
	unsigned int round;
	uint32_t at = ci, end;

	for (round = 0;; round++) {
		pthread_mutex_lock(&cq->lock);
		end = cq->pi;
		*fits = resize_fits(cq, ci, log_entries);
		if (!*fits || end - at <= RESIZE_ENTRIES || round == RESIZE_ROUNDS)
			return at;
		pthread_mutex_unlock(&cq->lock);
		for (; at != end; at++)
			cq_move_entry(cq, at, buffer, at - ci);
	}
}

int cq_resize(struct cq *cq, struct ring_buffer *buffer, uint32_t log_entries,
	      struct ring_buffer **old)
{
	struct pvhca_cq_header *header = ring_buffer_at(buffer, 0);
	uint32_t ci, at;
	bool fits;

	ci = le32toh(
		atomic_load_explicit((_Atomic uint32_t *)&cq->header->ci, memory_order_acquire));
	at = resize_copy(cq, ci, buffer, log_entries, &fits);
	if (!fits) {
		pthread_mutex_unlock(&cq->lock);
		return PVHCA_ST_INVALID;
	}
	for (; at != cq->pi; at++)
		cq_move_entry(cq, at, buffer, at - ci);
	header->arm_any = cq->header->arm_any;
	header->arm_solicited = cq->header->arm_solicited;
	*old = cq->buffer;
	cq->buffer = buffer;
	cq->header = header;
	cq->log_entries = log_entries;
	cq->pi -= ci;
	cq->ci_seen = 0;
	cq_set_blocked(cq, cq->backlog_count);
	pthread_mutex_unlock(&cq->lock);
	return PVHCA_ST_OK;
}

void cq_forget(struct cq *cq, struct cq_held *held)
{
	struct cq_chunk *chunks;

	pthread_mutex_lock(&cq->lock);
	if (held->count)
		cds_list_del(&held->node);
	cq->backlog_count -= held->count;
	chunks = held->first;
	*held = (struct cq_held){ 0 };
	pthread_mutex_unlock(&cq->lock);
	chunks_free(chunks);
}
