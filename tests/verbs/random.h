/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers that look random and follow from a seed alone, so that both ends of a
 * test derive the same plan and a failure can be had again.
 */
#ifndef PVHCA_TEST_RANDOM_H
#define PVHCA_TEST_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct random {
	uint64_t state;
};

/* SplitMix64: every seed is a good one, even consecutive ones. */
static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* A number in 0..limit-1; limit is not 0. The bias is of no matter here. */
static inline uint64_t random_below(struct random *r, uint64_t limit)
{
	return random_next(r) % limit;
}

/* True once in n times. */
static inline int random_once_in(struct random *r, uint64_t n)
{
	return random_below(r, n) == 0;
}

/* A seed for something that is one of many: of a round, of a buffer. */
static inline uint64_t random_derive(uint64_t seed, uint64_t which)
{
	struct random r = { seed ^ (which + 1) * 0xd1342543de82ef95 };

	return random_next(&r);
}

static inline void random_fill(void *buffer, size_t length, uint64_t seed)
{
	struct random r = { seed };
	uint8_t *at = buffer;
	uint64_t word;

	for (; length >= sizeof(word); at += sizeof(word), length -= sizeof(word)) {
		word = random_next(&r);
		memcpy(at, &word, sizeof(word));
	}
	word = random_next(&r);
	memcpy(at, &word, length);
}

#endif
