/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the benchmarks of single calls do with their times, all in nanoseconds. */
#ifndef TESTS_BENCH_TIMING_H
#define TESTS_BENCH_TIMING_H

#include <stdint.h>

uint64_t now_ns(void);
/* The line "NAME N MEDIAN MIN MAX"; sorts ns, of which there is one at least. */
void say_times(const char *name, uint64_t *ns, unsigned int count);

#endif
