// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Limits of a VM's own requests: bytes and messages a second
 *
 * Two token buckets. A request, or a piece of one, takes tokens when it goes; an engine is given
 * whole requests, so its bucket may go below 0 and has to come back first. Time that makes no
 * whole token stays in the bucket's clock, so nothing is lost however often one looks.
 */
#include "lib/clock.h"
#include "vm/vm.h"
#include "worker/private.h"

/* Of a bucket that was left alone for longer, which is full then. */
#define FILL_MAX_NS (10 * NS_PER_S)
/* A VM that waits is served again when so much time's tokens are there. */
#define BATCH_NS (500 * NS_PER_US)
/* It has a turn at least as often, for what costs no tokens. */
#define TURN_NS (1 * NS_PER_MS)

void rate_bucket_fill(struct bucket *bucket, uint64_t rate, int64_t burst, uint64_t now)
{
	uint64_t ns = now - bucket->filled_ns, tokens;

	/* The limit is new. */
	if (!bucket->filled_ns) {
		bucket->tokens = burst;
		bucket->filled_ns = now;
		return;
	}
	if (ns > FILL_MAX_NS) {
		ns = FILL_MAX_NS;
		bucket->filled_ns = now - ns;
	}
	tokens = (unsigned __int128)rate * ns / NS_PER_S;
	bucket->filled_ns += (unsigned __int128)tokens * NS_PER_S / rate;
	bucket->tokens += (int64_t)tokens;
	if (bucket->tokens >= burst) {
		bucket->tokens = burst;
		bucket->filled_ns = now;
	}
}

uint64_t rate_bucket_ns_until(const struct bucket *bucket, uint64_t rate, int64_t tokens)
{
	uint64_t ns;

	if (bucket->tokens >= tokens)
		return 0;
	ns = (unsigned __int128)(uint64_t)(tokens - bucket->tokens) * NS_PER_S / rate + 1;
	return ns < FILL_MAX_NS ? ns : FILL_MAX_NS;
}

/* ----------------------------------- a VM ---------------------------------- */

/* A VM's limits as they are now; they may change at any time. rate 0: none. */
struct limit {
	uint64_t rate;
	int64_t burst;
};

static struct limit bytes_limit(const struct vm *vm)
{
	return (struct limit){ atomic_load_explicit(&vm->schedule.rate, memory_order_relaxed),
			       atomic_load_explicit(&vm->schedule.burst, memory_order_relaxed) };
}

static struct limit messages_limit(const struct vm *vm)
{
	return (struct limit){
		atomic_load_explicit(&vm->schedule.message_rate, memory_order_relaxed),
		atomic_load_explicit(&vm->schedule.message_burst, memory_order_relaxed)
	};
}

/* What the bucket leaves to the turn. */
static int64_t begin(struct bucket *bucket, struct limit limit, _Atomic int64_t *unpaid,
		     uint64_t now)
{
	if (!limit.rate) {
		bucket->filled_ns = 0;
		return PASS_UNLIMITED;
	}
	rate_bucket_fill(bucket, limit.rate, limit.burst, now);
	if (atomic_load_explicit(unpaid, memory_order_relaxed))
		bucket->tokens -= atomic_exchange(unpaid, 0);
	return bucket->tokens;
}

static bool is_limited(const struct vm *vm)
{
	return bytes_limit(vm).rate || messages_limit(vm).rate;
}

void rate_begin(struct worker_vm *wv, struct pass *pass)
{
	struct vm *vm = wv->vm;

	if (!is_limited(vm) && !wv->throttled_since_ns)
		return;
	if (wv->throttled_since_ns) {
		counter_add(&vm->counters.throttled_ns, pass->now - wv->throttled_since_ns);
		wv->throttled_since_ns = 0;
	}
	pass->limited = is_limited(vm);
	pass->rate_bytes = begin(&wv->bytes, bytes_limit(vm), &vm->unpaid_bytes, pass->now);
	pass->rate_messages =
		begin(&wv->messages, messages_limit(vm), &vm->unpaid_messages, pass->now);
}

/* Until when a VM that has used up what it had is to wait; 0: it has not. */
static uint64_t end(struct bucket *bucket, struct limit limit, int64_t left, int64_t least)
{
	int64_t enough;

	if (!limit.rate)
		return 0;
	bucket->tokens = left;
	if (left >= least)
		return 0;
	enough = (int64_t)((unsigned __int128)limit.rate * BATCH_NS / NS_PER_S);
	if (enough < least)
		enough = least;
	if (enough > limit.burst)
		enough = limit.burst;
	return rate_bucket_ns_until(bucket, limit.rate, enough);
}

void rate_end(struct worker_vm *wv, const struct pass *pass)
{
	const struct vm *vm = wv->vm;
	uint64_t bytes, messages;

	if (!is_limited(vm) && !wv->throttled_until_ns)
		return;
	bytes = end(&wv->bytes, bytes_limit(vm), pass->rate_bytes, PASS_PIECE_MIN);
	messages = end(&wv->messages, messages_limit(vm), pass->rate_messages, 1);
	wv->throttled_until_ns = 0;
	if ((!bytes && !messages) || !worker_has_work(wv))
		return;
	if (messages > bytes)
		bytes = messages;
	wv->throttled_until_ns = pass->now + (bytes < TURN_NS ? bytes : TURN_NS);
	wv->throttled_since_ns = pass->now;
}
