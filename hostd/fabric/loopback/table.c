// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Objects by number: two levels, so that a lookup is two dependent loads without
 * a lock, and numbers may go round all 24 bits without a table of that size.
 */
#include <errno.h>
#include <stdlib.h>

#include <glib.h>

#include "fabric/loopback/private.h"

/* QP numbers 0 and 1 are the management QPs', 0xffffff is multicast's; a key may not be 0. */
#define NUMBER_FIRST 2u
#define NUMBER_LAST  (LOOPBACK_NUMBERS - 2)
/* So that a free number is found within a few steps. */
#define NUMBERS_IN_USE (LOOPBACK_NUMBERS / 4)

void loopback_table_init(struct loopback_table *table)
{
	unsigned int i;

	for (i = 0; i < LOOPBACK_PAGES; i++)
		atomic_init(&table->pages[i], NULL);
	table->used = 0;
	table->next = g_random_int_range(NUMBER_FIRST, NUMBER_LAST);
}

static struct loopback_page *page_get(struct loopback_table *table, uint32_t number)
{
	_Atomic(struct loopback_page *) *place = &table->pages[number >> LOOPBACK_PAGE_SHIFT];
	struct loopback_page *page = atomic_load(place);

	if (page)
		return page;
	page = calloc(1, sizeof(*page));
	if (page)
		atomic_store_explicit(place, page, memory_order_release);
	return page;
}

static uint32_t number_after(uint32_t number)
{
	return number < NUMBER_LAST ? number + 1 : NUMBER_FIRST;
}

static bool is_reserved(struct loopback_table *table, uint32_t number)
{
	struct loopback_page *page = atomic_load(&table->pages[number >> LOOPBACK_PAGE_SHIFT]);
	uint32_t slot = number & (LOOPBACK_PAGE_SLOTS - 1);

	return page && page->reserved[slot / 64] & 1ull << (slot % 64);
}

int loopback_table_reserve(struct loopback_table *table, uint32_t *number)
{
	uint32_t n = table->next, slot;
	struct loopback_page *page;

	if (table->used >= NUMBERS_IN_USE)
		return -ENOSPC;
	while (is_reserved(table, n))
		n = number_after(n);
	page = page_get(table, n);
	if (!page)
		return -ENOMEM;
	slot = n & (LOOPBACK_PAGE_SLOTS - 1);
	page->reserved[slot / 64] |= 1ull << (slot % 64);
	page->used++;
	table->used++;
	table->next = number_after(n);
	*number = n;
	return 0;
}

void loopback_table_publish(struct loopback_table *table, uint32_t number, void *object)
{
	struct loopback_page *page = atomic_load(&table->pages[number >> LOOPBACK_PAGE_SHIFT]);

	atomic_store_explicit(&page->slots[number & (LOOPBACK_PAGE_SLOTS - 1)], object,
			      memory_order_release);
}

struct loopback_page *loopback_table_remove(struct loopback_table *table, uint32_t number)
{
	struct loopback_page *page = atomic_load(&table->pages[number >> LOOPBACK_PAGE_SHIFT]);
	uint32_t slot = number & (LOOPBACK_PAGE_SLOTS - 1);

	atomic_store(&page->slots[slot], NULL);
	page->reserved[slot / 64] &= ~(1ull << (slot % 64));
	table->used--;
	if (--page->used)
		return NULL;
	atomic_store(&table->pages[number >> LOOPBACK_PAGE_SHIFT], NULL);
	return page;
}
