/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this room. Other rooms use its other headers. */
#ifndef HOSTD_MEMORY_PRIVATE_H
#define HOSTD_MEMORY_PRIVATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "memory/extents.h"
#include "memory/memory.h"
#include "memory/stitches.h"

/* -------------------------------- memory/memory.c ------------------------------ */

void memory_region_get(struct region *region);
/* The region that holds this address, with a reference for the caller, or NULL. */
struct region *memory_region(struct memory *memory, uint64_t gpa);

/* Counts of mappings that belong to a memory; memory/stitches.c writes them. */
struct stitch_counts {
	_Atomic uint64_t used, kept;
};

struct stitch_counts *memory_stitch_counts(struct memory *memory);

/* -------------------------------- memory/stitch.c ------------------------------ */

/*
 * Map anew, contiguously: huge pages stay huge where the extents allow it; a single
 * extent is used where it is. Returns 0 or a negative errno, nothing left mapped
 * then: ENOMEM when vm.max_map_count or memory ran out; EOPNOTSUPP when extents cut
 * a page of hugetlbfs, which cannot be mapped in pieces. The extents must outlive it.
 */
int stitch_map(const struct extents *extents, struct stitch *stitch);
void stitch_unmap(struct stitch *stitch);

/* -------------------------------- memory/touch.c ------------------------------- */

/* Fill the page tables of extents that are mapped at base, as far as that is cheap. */
void memory_touch(const uint8_t *base, const struct extents *extents);

/* ------------------------------- memory/stitches.c ----------------------------- */

/* Give up the kept stitches of a memory: those over a region, or all (NULL). Any thread. */
void stitches_forget(struct memory *memory, const struct region *region);

/* -------------------------------- memory/fault.c ------------------------------- */

/*
 * Watch [base, base + length), a mapping of a region (extents NULL) or of extents.
 * Returns a watch, or NULL without memory. memory_fault_unwatch() ends it before the
 * mapping goes.
 */
void *memory_fault_watch(uint8_t *base, uint64_t length, struct region *region,
			 const struct extents *extents);
void memory_fault_unwatch(void *watch);

#endif
