/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pass of a worker, as fabrics see it: the time, what the VM whose turn it is may
 * still do, and the CQs to look at when the turn ends.
 *
 * A turn is limited by time, by bytes that the worker copies, and by what the VM's rate
 * leaves. Time is estimated by counting, with the costs below; a long turn also looks at the
 * clock now and then. So a short one costs a few subtractions. What a fabric does in a loop
 * that a guest can make long it announces by pass_spend(), and it asks pass_goes_on() before
 * it goes on.
 */
#ifndef HOSTD_VM_PASS_H
#define HOSTD_VM_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"

struct ceq;
struct cq;
struct worker;

/* CQs that are looked at together, so that a turn does not end with many events to raise. */
#define PASS_CQS  16
#define PASS_CEQS 16

/* The longest turn of one VM, and about the longest pass. */
#define PASS_TURN_NS	(10 * (int64_t)NS_PER_US)
#define PASS_TURN_BYTES (128u << 10)
/* Likewise of a VM that has its worker to itself: nobody waits, and a copy in one go is faster. */
#define PASS_ALONE_BYTES (1u << 20)
#define PASS_NS		 (200 * (int64_t)NS_PER_US)
/* After so much a turn looks at the clock. */
#define PASS_CHECK_NS (5 * (int64_t)NS_PER_US)
/* A longer message is not cut into pieces below this; bytes. */
#define PASS_PIECE_MIN 4096u
/* Of a VM without a limit. */
#define PASS_UNLIMITED (INT64_MAX / 2)

/* What things cost about, ns; a byte is an eighth. */
enum pass_cost {
	PASS_LOOK_NS = 5,	  /* a look at a context or a slot that may have nothing */
	PASS_VISIT_NS = 50,	  /* a call for a queue */
	PASS_RECEIVE_NS = 50,	  /* a receive given to an engine */
	PASS_COMPLETION_NS = 80,  /* a completion moved */
	PASS_HELD_NS = 200,	  /* a completion that finds no room, and is kept */
	PASS_ENTRY_NS = 250,	  /* a request, or a retry of one */
	PASS_EVENT_NS = 100,	  /* an event of a CQ */
	PASS_INTERRUPT_NS = 1000, /* behind events: a system call */
	PASS_MAD_NS = 1000,
};

/**
 * struct pass - the worker's own
 * @worker: the worker that makes it; constant
 * @clock: CLOCK_MONOTONIC, ns; NULL: only counts limit a turn. Constant
 * @now: the time when the pass began
 * @left: ns that the turn may still take; below 0: it took more
 * @check: at this value of left the clock is to be looked at
 * @granted: left at the beginning of the turn
 * @began: time when the turn began, about
 * @bytes: that the worker may still copy in this turn
 * @limited: the VM has a rate
 * @rate_bytes, @rate_messages: that the rate leaves; below 0: it had more
 * @cqs, @num_cqs: CQs that got completions; at the end of the turn each is checked for an event
 *	that the guest wants, and whoever had it get them pays for that
 * @ceqs, @num_ceqs: completion event queues that got events; at the end of the turn each has one interrupt
 */
struct pass {
	const struct worker *worker;
	uint64_t (*clock)(void);
	uint64_t now;
	int64_t left;
	int64_t check;
	int64_t granted;
	uint64_t began;
	uint32_t bytes;
	bool limited;
	int64_t rate_bytes;
	int64_t rate_messages;
	struct cq *cqs[PASS_CQS];
	unsigned int num_cqs;
	struct ceq *ceqs[PASS_CEQS];
	unsigned int num_ceqs;
};

/* A turn of so many ns begins, about at the time began. Its rate is set by the caller. */
void pass_begin_turn(struct pass *pass, int64_t ns, uint64_t began);
/* The slow half of pass_goes_on(): looks at the clock. */
bool pass_check(struct pass *pass);

static inline void pass_spend(struct pass *pass, int64_t ns)
{
	pass->left -= ns;
}

/* May the turn go on? */
static inline bool pass_goes_on(struct pass *pass)
{
	return pass->left > pass->check || pass_check(pass);
}

/*
 * How many of the next rest > 0 bytes of a message may be copied now, at most max. 0: none
 * in this turn.
 */
static inline uint64_t pass_part(const struct pass *pass, uint64_t rest, uint64_t max)
{
	uint64_t part = rest < max ? rest : max;

	if (part <= pass->bytes && !pass->limited)
		return part;
	if (part > pass->bytes)
		part = pass->bytes;
	if (pass->limited && (int64_t)part > pass->rate_bytes)
		part = pass->rate_bytes < 0 ? 0 : pass->rate_bytes;
	/* What is left of a turn or a rate is not worth a piece of its own. */
	return part < PASS_PIECE_MIN && part < rest ? 0 : part;
}

/* Bytes were copied: they take time, and of the turn's bytes. */
static inline void pass_copied(struct pass *pass, uint64_t bytes)
{
	pass->bytes = bytes < pass->bytes ? pass->bytes - (uint32_t)bytes : 0;
	pass->left -= (int64_t)(bytes / 8);
}

/* The VM's own requests count against its rate: so many bytes of them. */
static inline void pass_rate_bytes(struct pass *pass, uint64_t bytes)
{
	if (pass->limited)
		pass->rate_bytes -= (int64_t)bytes;
}

/* Likewise requests. */
static inline void pass_rate_messages(struct pass *pass, unsigned int messages)
{
	if (pass->limited)
		pass->rate_messages -= messages;
}

/* May another request of the VM begin, by its rate? */
static inline bool pass_may_send(const struct pass *pass)
{
	return !pass->limited || (pass->rate_messages > 0 && pass->rate_bytes > 0);
}

/* Look at this CQ at the end of the turn, or when there are PASS_CQS of them. */
void pass_add_cq(struct pass *pass, struct cq *cq);
/* Interrupt for this event queue at the end of the turn. */
void pass_add_ceq(struct pass *pass, struct ceq *ceq);
/* At the end: raise the events that guests asked for. They take time of the turn. */
void pass_end(struct pass *pass);

#endif
