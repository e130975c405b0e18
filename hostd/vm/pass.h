/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pass of a worker, as those see it that are served in it: what time it is, and
 * the CQs that are to be looked at once when it ends.
 */
#ifndef HOSTD_VM_PASS_H
#define HOSTD_VM_PASS_H

#include <stdint.h>

struct cq;
struct worker;

#define PASS_CQS 256

/**
 * struct pass - the worker's own
 * @worker: whose pass it is; constant
 * @now: CLOCK_MONOTONIC when the pass began, ns
 * @cqs, @num_cqs: CQs that got completions; whether the guest wants an event for them is
 *	looked at once, at the end
 */
struct pass {
	const struct worker *worker;
	uint64_t now;
	struct cq *cqs[PASS_CQS];
	unsigned int num_cqs;
};

/* Look at this CQ at the end of the pass. */
void pass_add_cq(struct pass *pass, struct cq *cq);
/* At the end: raise the events that guests asked for. */
void pass_end(struct pass *pass);

#endif
