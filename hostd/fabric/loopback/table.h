/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers: QPs and keys of all guests, found without a lock. */
#ifndef HOSTD_FABRIC_LOOPBACK_TABLE_H
#define HOSTD_FABRIC_LOOPBACK_TABLE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define LOOPBACK_PAGE_SHIFT 12
#define LOOPBACK_PAGE_SLOTS (1u << LOOPBACK_PAGE_SHIFT)
#define LOOPBACK_NUMBERS    (1u << 24)
#define LOOPBACK_PAGES	    (LOOPBACK_NUMBERS >> LOOPBACK_PAGE_SHIFT)

struct loopback_page {
	struct loopback_page *next; /* of those that are to be freed */
	unsigned int used;	    /* slots reserved */
	uint64_t reserved[LOOPBACK_PAGE_SLOTS / 64];
	_Atomic(void *) slots[LOOPBACK_PAGE_SLOTS];
};

/**
 * struct loopback_table - objects by a 24-bit number
 * @pages: made when needed, RCU
 * @used: numbers given out
 * @next: where to look for a free number; numbers go round, so that one is not
 *	given out again soon
 *
 * Writers hold the fabric's lock. Readers are in an RCU read section, or hold
 * that lock.
 */
struct loopback_table {
	_Atomic(struct loopback_page *) pages[LOOPBACK_PAGES];
	uint32_t used;
	uint32_t next;
};

void loopback_table_init(struct loopback_table *table);
/* Reserve a number. 0 or -ENOMEM, -ENOSPC. */
int loopback_table_reserve(struct loopback_table *table, uint32_t *number);
void loopback_table_publish(struct loopback_table *table, uint32_t number, void *object);
/*
 * Give a number back. The page that it returns, if any, is to be freed after the
 * grace period that the object needs, too.
 */
struct loopback_page *loopback_table_remove(struct loopback_table *table, uint32_t number);

static inline void *loopback_table_find(struct loopback_table *table, uint32_t number)
{
	struct loopback_page *page;

	if (number >= LOOPBACK_NUMBERS)
		return NULL;
	page = atomic_load_explicit(&table->pages[number >> LOOPBACK_PAGE_SHIFT],
				    memory_order_acquire);
	if (!page)
		return NULL;
	return atomic_load_explicit(&page->slots[number & (LOOPBACK_PAGE_SLOTS - 1)],
				    memory_order_acquire);
}

#endif
