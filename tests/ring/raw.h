/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the machine itself gives: the other side of each ratio of the ring
 * benchmark. All but memcpy use two threads, as provider and worker are two.
 */
#ifndef TESTS_RING_RAW_H
#define TESTS_RING_RAW_H

#include <stddef.h>
#include <stdint.h>

uint64_t monotonic_ns(void);

/* Mean round trip of one cache line between two threads, ns. */
double raw_round_trip_ns(uint64_t rounds);
/* Mean round trip between two threads that sleep on eventfds meanwhile, ns. */
double raw_wake_round_trip_ns(uint64_t rounds);
/*
 * Messages a second through a bare ring: 64-byte entries one way with a 64-byte
 * payload copied by the consumer, 32-byte completions back, published in batches.
 */
double raw_ring_rate(uint64_t messages, unsigned int batch);
/* memcpy of size, bytes a second, walking through areas of area_size bytes. */
double raw_memcpy_rate(uint8_t *to, const uint8_t *from, size_t area_size, size_t size,
		       uint64_t total);

#endif
