// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * From a QP number to the QP. The host chooses the numbers, which may lie
 * anywhere in 24 bits and need never come again.
 *
 * The table is a hash table of fixed size with linear probing: a context has at
 * most PVHCA_SLOTS QPs, so it never has to grow, and a number that was removed
 * leaves nothing behind. To remove an entry moves those behind it. Pollers look
 * for a number without a lock, so they read a count before and after: it is odd
 * while the table changes, and a search that saw a change is made again.
 *
 * Why the orders are enough. Writer: count odd, entries (release), count even
 * (release). Reader: count (acquire), entries (acquire), count. A reader that saw
 * an entry of a change also sees that change's odd count or a later one; a reader
 * that saw the even count sees all of the change.
 */
#include <errno.h>

#include "pvhca.h"

#define MASK	    (PVHCA_QP_TABLE_SIZE - 1)
#define MAX_ENTRIES (PVHCA_QP_TABLE_SIZE / 4 * 3) /* searches stay short */

/* Multiplicative hashing: numbers in a row do not lie in a row. */
static unsigned int home_of(uint32_t qpn)
{
	return qpn * 0x9e3779b1u >> (32 - PVHCA_QP_TABLE_BITS);
}

static struct pvhca_qp *load_qp(const struct pvhca_qp_entry *entry)
{
	return __atomic_load_n(&entry->qp, __ATOMIC_ACQUIRE);
}

static uint32_t load_qpn(const struct pvhca_qp_entry *entry)
{
	return __atomic_load_n(&entry->qpn, __ATOMIC_ACQUIRE);
}

static void store_entry(struct pvhca_qp_entry *entry, uint32_t qpn,
			struct pvhca_qp *qp)
{
	__atomic_store_n(&entry->qpn, qpn, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->qp, qp, __ATOMIC_RELEASE);
}

/* Around a change; the writer holds qp_lock, so nobody else writes the count. */
static void begin_change(struct pvhca_qp_table *table)
{
	__atomic_store_n(&table->changes, table->changes + 1, __ATOMIC_RELAXED);
}

static void end_change(struct pvhca_qp_table *table)
{
	__atomic_store_n(&table->changes, table->changes + 1, __ATOMIC_RELEASE);
}

/*
 * Place of a number, or the free place where its search ends. It ends in any case:
 * a reader may be led astray by a change.
 */
static unsigned int search(const struct pvhca_qp_table *table, uint32_t qpn,
			   struct pvhca_qp **qp)
{
	unsigned int i = home_of(qpn), n;

	for (n = 0; n < PVHCA_QP_TABLE_SIZE; n++, i = (i + 1) & MASK) {
		*qp = load_qp(&table->entries[i]);
		if (!*qp || load_qpn(&table->entries[i]) == qpn)
			return i;
	}
	*qp = NULL;
	return i;
}

/**
 * pvhca_qp_table_insert() - enter a QP under its number
 *
 * Caller holds qp_lock.
 *
 * Return: 0; EINVAL for a number beyond 24 bits; EEXIST; ENOMEM when the table
 * is full.
 */
int pvhca_qp_table_insert(struct pvhca_qp_table *table, uint32_t qpn,
			  struct pvhca_qp *qp)
{
	struct pvhca_qp *found;
	unsigned int i;

	if (qpn >> PVHCA_QPN_BITS)
		return EINVAL;
	i = search(table, qpn, &found);
	if (found)
		return EEXIST;
	if (table->used == MAX_ENTRIES)
		return ENOMEM;

	begin_change(table);
	store_entry(&table->entries[i], qpn, qp);
	end_change(table);
	table->used++;
	return 0;
}

/*
 * Frees place @i. Each entry behind it, up to the next free place, moves up unless
 * its search would then begin behind it.
 */
static void close_gap(struct pvhca_qp_table *table, unsigned int i)
{
	const struct pvhca_qp_entry *entry;
	unsigned int j;

	for (j = (i + 1) & MASK;; j = (j + 1) & MASK) {
		entry = &table->entries[j];
		if (!entry->qp)
			break;
		if (((j - home_of(entry->qpn)) & MASK) < ((j - i) & MASK))
			continue;
		store_entry(&table->entries[i], entry->qpn, entry->qp);
		i = j;
	}
	store_entry(&table->entries[i], 0, NULL);
}

/* Caller holds qp_lock, and the locks of the CQs whose pollers could find it. */
void pvhca_qp_table_remove(struct pvhca_qp_table *table, uint32_t qpn)
{
	struct pvhca_qp *found;
	unsigned int i;

	i = search(table, qpn, &found);
	if (!found)
		return;
	begin_change(table);
	close_gap(table, i);
	end_change(table);
	table->used--;
}

/*
 * Caller holds the lock of a CQ of the QP that is sought, so that this QP stays;
 * or qp_lock. NULL if unknown.
 */
struct pvhca_qp *pvhca_qp_table_find(const struct pvhca_qp_table *table,
				     uint32_t qpn)
{
	struct pvhca_qp *qp;
	uint32_t changes;

	do {
		changes = __atomic_load_n(&table->changes, __ATOMIC_ACQUIRE);
		search(table, qpn, &qp);
	} while (unlikely(changes & 1 ||
			  __atomic_load_n(&table->changes, __ATOMIC_RELAXED) !=
				  changes));
	return qp;
}
