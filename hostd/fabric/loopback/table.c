// SPDX-License-Identifier: GPL-2.0-or-later
/* Objects by number: what writers do; fabric/loopback/table.h tells how it works. */
#include <errno.h>
#include <stdlib.h>

#include "fabric/loopback/table.h"

/* QP numbers 0 and 1 are the management QPs', 0xffffff is multicast's; a key may not be 0. */
#define NUMBER_FIRST 2u
#define NUMBER_LAST  (LOOPBACK_NUMBERS - 2)
/* So that a free number is found within a few steps. */
#define NUMBERS_IN_USE (LOOPBACK_NUMBERS / 4)
#define PLACES_MIN     64u

static struct loopback_places *places_new(uint32_t count)
{
	struct loopback_places *places =
		calloc(1, sizeof(*places) + count * sizeof(places->place[0]));

	if (places)
		places->mask = count - 1;
	return places;
}

int loopback_table_init(struct loopback_table *table)
{
	struct loopback_places *places = places_new(PLACES_MIN);

	atomic_init(&table->places, places);
	table->retired = NULL;
	table->used = 0;
	return places ? 0 : -ENOMEM;
}

void loopback_places_free(struct loopback_places *places)
{
	struct loopback_places *next;

	for (; places; places = next) {
		next = places->next;
		free(places);
	}
}

void loopback_table_fini(struct loopback_table *table)
{
	loopback_places_free(table->retired);
	free(atomic_load(&table->places));
}

/* The place of a number, or the free one where its search ends. */
static struct loopback_place *places_search(struct loopback_places *places, uint32_t number)
{
	struct loopback_place *place;
	uint32_t at = number, here;

	do {
		place = &places->place[at++ & places->mask];
		here = atomic_load_explicit(&place->number, memory_order_relaxed);
	} while (here && here != number);
	return place;
}

static void places_take(struct loopback_places *places, struct loopback_place *place,
			uint32_t number, void *object)
{
	place->used = true;
	atomic_store_explicit(&place->object, object, memory_order_relaxed);
	atomic_store_explicit(&place->number, number, memory_order_release);
	places->taken++;
}

/* To a list with room for as many numbers as are in use, at least. */
static int table_move(struct loopback_table *table)
{
	struct loopback_places *old = atomic_load(&table->places), *places;
	uint32_t count = PLACES_MIN, number;
	struct loopback_place *from;

	while (count / 4 < table->used)
		count *= 2;
	places = places_new(count);
	if (!places)
		return -ENOMEM;
	for (from = old->place; from <= &old->place[old->mask]; from++) {
		if (!from->used)
			continue;
		number = atomic_load(&from->number);
		places_take(places, places_search(places, number), number,
			    atomic_load(&from->object));
	}
	atomic_store_explicit(&table->places, places, memory_order_release);
	old->next = table->retired;
	table->retired = old;
	return 0;
}

int loopback_table_reserve(struct loopback_table *table, uint32_t *number)
{
	struct loopback_places *places = atomic_load(&table->places);
	struct loopback_place *place;
	uint32_t n;

	if (table->used >= NUMBERS_IN_USE)
		return -ENOSPC;
	if (places->taken > places->mask / 2) {
		if (table_move(table))
			return -ENOMEM;
		places = atomic_load(&table->places);
	}
	do {
		n = NUMBER_FIRST + arc4random_uniform(NUMBER_LAST - NUMBER_FIRST + 1);
		place = places_search(places, n);
	} while (atomic_load(&place->number));
	places_take(places, place, n, NULL);
	table->used++;
	*number = n;
	return 0;
}

void loopback_table_publish(struct loopback_table *table, uint32_t number, void *object)
{
	struct loopback_place *place = places_search(atomic_load(&table->places), number);

	atomic_store_explicit(&place->object, object, memory_order_release);
}

struct loopback_places *loopback_table_hide(struct loopback_table *table, uint32_t number)
{
	struct loopback_places *retired = table->retired;

	loopback_table_publish(table, number, NULL);
	table->retired = NULL;
	return retired;
}

void loopback_table_release(struct loopback_table *table, uint32_t number)
{
	places_search(atomic_load(&table->places), number)->used = false;
	table->used--;
}

struct loopback_places *loopback_table_remove(struct loopback_table *table, uint32_t number)
{
	struct loopback_places *retired = loopback_table_hide(table, number);

	loopback_table_release(table, number);
	return retired;
}
