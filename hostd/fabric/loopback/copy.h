/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copy of one run of memory to another, by classes of size. Most messages that come
 * by the million are short, and a call of memmove() costs as much as their copy.
 *
 * The last eight bytes are written after all others: consumers wait for the last byte of a
 * WRITE by polling memory. The sides may overlap, so all is read before anything is written.
 */
#ifndef HOSTD_FABRIC_LOOPBACK_COPY_H
#define HOSTD_FABRIC_LOOPBACK_COPY_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* Up to so many bytes are copied in place. */
#define LOOPBACK_COPY_SHORT 64u

struct loopback_bytes16 {
	uint8_t byte[16];
};

struct loopback_bytes32 {
	uint8_t byte[32];
};

/* The first 1 to 56 of n bytes, which are at least 9, and at most 8 less than n. */
static inline void loopback_copy_head(uint8_t *to, const uint8_t *from, uint64_t head)
{
	struct loopback_bytes32 a, b;
	struct loopback_bytes16 c, d;
	uint64_t e, f;

	if (head > sizeof(c) * 2) {
		memcpy(&a, from, sizeof(a));
		memcpy(&b, from + head - sizeof(b), sizeof(b));
		memcpy(to, &a, sizeof(a));
		memcpy(to + head - sizeof(b), &b, sizeof(b));
	} else if (head >= sizeof(c)) {
		memcpy(&c, from, sizeof(c));
		memcpy(&d, from + head - sizeof(d), sizeof(d));
		memcpy(to, &c, sizeof(c));
		memcpy(to + head - sizeof(d), &d, sizeof(d));
	} else if (head >= sizeof(e)) {
		memcpy(&e, from, sizeof(e));
		memcpy(&f, from + head - sizeof(f), sizeof(f));
		memcpy(to, &e, sizeof(e));
		memcpy(to + head - sizeof(f), &f, sizeof(f));
	} else {
		/* Up to seven bytes of the tail, too, but never its last. */
		memcpy(&e, from, sizeof(e));
		memcpy(to, &e, sizeof(e));
	}
}

static inline void loopback_copy_run(uint8_t *to, const uint8_t *from, uint64_t n)
{
	uint64_t tail;

	if (n <= sizeof(tail)) {
		if (n == sizeof(tail)) {
			memcpy(&tail, from, sizeof(tail));
			memcpy(to, &tail, sizeof(tail));
		} else {
			memmove(to, from, n);
		}
		return;
	}
	n -= sizeof(tail);
	memcpy(&tail, from + n, sizeof(tail));
	if (n <= LOOPBACK_COPY_SHORT - sizeof(tail))
		loopback_copy_head(to, from, n);
	else
		memmove(to, from, n);
	atomic_thread_fence(memory_order_release);
	memcpy(to + n, &tail, sizeof(tail));
}

#endif
