/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stitches: extents that are mapped once more, one behind the other, for engines that
 * take no lists.
 */
#ifndef HOSTD_MEMORY_STITCHES_H
#define HOSTD_MEMORY_STITCHES_H

#include <stdbool.h>
#include <stdint.h>

struct extents;
struct memory;

/* Extents laid out one behind the other in pvhcad's address space. */
struct stitch {
	uint8_t *base;
	uint64_t length;
	uint32_t mappings; /* made, for the counters; 0: it lies in one piece anyway */
	void *fault;	   /* the mapping's watch; memory/ alone */
};

/*
 * Map extents. Regions over the same extents share one mapping, which is kept for some
 * time after the last of them: mapping and filling page tables are most of the cost of
 * a registration. A region that the guest registers again and again is mapped once.
 */
struct stitch *stitches_get(struct memory *memory, struct extents *extents, bool *reused,
			    int *error);
void stitches_put(struct stitch *stitch);
/* How many bytes of guest memory may be kept mapped in all; before any is. */
void stitches_limit(uint64_t bytes);

#endif
