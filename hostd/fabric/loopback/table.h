/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers: QPs and keys of all guests, found without a lock.
 *
 * A number is random, so that no guest can tell from its own numbers those of others.
 * It is found in a hash table with linear probing. The numbers are random in each bit,
 * so their low bits are their place in it, and a search ends after a step or two. A place
 * keeps its number when that is given back: no reader sees a place with two numbers, and a
 * number is not given out again soon. When half of the places have had a number, those in
 * use move to a new list of places.
 */
#ifndef HOSTD_FABRIC_LOOPBACK_TABLE_H
#define HOSTD_FABRIC_LOOPBACK_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOOPBACK_NUMBERS (1u << 24)

/**
 * struct loopback_place
 * @number: 0: it had none yet, and a search ends
 * @used: it has not been given back; for writers
 * @object: NULL: nobody finds it
 */
struct loopback_place {
	_Atomic uint32_t number;
	bool used;
	_Atomic(void *) object;
};

/**
 * struct loopback_places - a list of them
 * @next: of those that are to be freed
 * @mask: of a number, to get its place; there are @mask + 1
 * @taken: places that have had a number
 */
struct loopback_places {
	struct loopback_places *next;
	uint32_t mask;
	uint32_t taken;
	struct loopback_place place[];
};

/**
 * struct loopback_table - objects by a 24-bit number
 * @places: RCU; never NULL
 * @retired: lists that were replaced, and are not handed out yet
 * @used: numbers given out
 *
 * Writers hold the fabric's lock. Readers are in an RCU read section, or hold
 * that lock.
 */
struct loopback_table {
	_Atomic(struct loopback_places *) places;
	struct loopback_places *retired;
	uint32_t used;
};

/* 0 or -ENOMEM. */
int loopback_table_init(struct loopback_table *table);
/* Nobody reads it any more. */
void loopback_table_fini(struct loopback_table *table);
/* Reserve a number. 0 or -ENOMEM, -ENOSPC. */
int loopback_table_reserve(struct loopback_table *table, uint32_t *number);
/* NULL: nobody finds it for now. */
void loopback_table_publish(struct loopback_table *table, uint32_t number, void *object);
/*
 * Nobody finds it any more, but the number stays taken, until it is published again or
 * released. What it returns is to go to loopback_places_free() after the grace period that
 * the object needs, too.
 */
struct loopback_places *loopback_table_hide(struct loopback_table *table, uint32_t number);
void loopback_table_release(struct loopback_table *table, uint32_t number);
/* Both at once. */
struct loopback_places *loopback_table_remove(struct loopback_table *table, uint32_t number);
/* Lists that hang together by their next, or NULL. */
void loopback_places_free(struct loopback_places *places);

static inline void *loopback_table_find(struct loopback_table *table, uint32_t number)
{
	struct loopback_places *places = atomic_load_explicit(&table->places, memory_order_acquire);
	struct loopback_place *place;
	uint32_t at = number, here;

	for (;; at++) {
		place = &places->place[at & places->mask];
		here = atomic_load_explicit(&place->number, memory_order_acquire);
		if (here == number)
			return atomic_load_explicit(&place->object, memory_order_acquire);
		if (!here)
			return NULL;
	}
}

#endif
