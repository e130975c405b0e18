/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queue pairs that come and go, some at a time, as an application's threads have them come and go. */
#ifndef TESTS_RING_CHURN_H
#define TESTS_RING_CHURN_H

#include "objects.h"

/*
 * Make and destroy so many queue pairs, by lanes (up to GUEST_COMMANDS) that each have one
 * command under way at a time. Returns pairs per second, or -1 with the reason on standard error.
 */
double churn_queue_pairs(struct guest_context *context, struct guest_cq *cq, unsigned int lanes,
			 unsigned int pairs);

#endif
