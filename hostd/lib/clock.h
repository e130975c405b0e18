/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clock of deadlines, timestamps of completions and rate limits. */
#ifndef HOSTD_LIB_CLOCK_H
#define HOSTD_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* CLOCK_MONOTONIC, ns. */
static inline uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

#endif
