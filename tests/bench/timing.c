// SPDX-License-Identifier: GPL-2.0-or-later
#include "timing.h"

#include <stdlib.h>
#include <time.h>

#include "report.h"

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void say_times(const char *name, uint64_t *ns, unsigned int count)
{
	qsort(ns, count, sizeof(ns[0]), compare);
	say("%s %u %lu %lu %lu", name, count, ns[count / 2], ns[0], ns[count - 1]);
}
