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

/* The region that holds this address, with a reference for the caller, or NULL. */
struct region *memory_region(struct memory *memory, uint64_t gpa);

/*
 * Counts of mappings that belong to a memory, and of its stitches that are being unmapped
 * (under the lock of memory/stitches.c, which writes all of them).
 */
struct stitch_counts {
	_Atomic uint64_t used, kept;
	unsigned int unmapping;
};

struct stitch_counts *memory_stitch_counts(struct memory *memory);
struct budget *memory_budget(struct memory *memory);
/* For extents and stitches; only while the VM is there. */
struct heap *memory_heap(const struct memory *memory);

/*
 * munmap(2), in steps: it keeps all others from mapping anything as long as there are
 * pages to take out, so these are taken out first, little by little.
 */
void memory_unmap(uint8_t *base, uint64_t length);

/* -------------------------------- memory/budget.c ------------------------------ */

/* What a VM has mapped, and may have; under the lock of budget.c. */
struct budget {
	uint64_t bytes, mappings;
	uint64_t max_bytes, max_mappings;
};

/*
 * 0; -EDQUOT: beyond what this VM may have; -ENOMEM: it would have more than is left
 * for all. Any thread.
 */
int budget_take(struct budget *budget, uint64_t bytes, uint64_t mappings);
void budget_give(struct budget *budget, uint64_t bytes, uint64_t mappings);
void budget_limit(struct budget *budget, uint64_t bytes, uint64_t mappings);
/* Bytes that it has. */
uint64_t budget_bytes(struct budget *budget);

/* -------------------------------- memory/stitch.c ------------------------------ */

/*
 * Map anew, contiguously: huge pages stay huge where the extents allow it; a single
 * extent is used where it is. Returns 0 or a negative errno, nothing left mapped
 * then: ENOMEM when vm.max_map_count or memory ran out; EOPNOTSUPP when extents cut
 * a page of hugetlbfs, which cannot be mapped in pieces. The extents must outlive it.
 */
int stitch_map(struct heap *heap, const struct extents *extents, struct stitch *stitch);
void stitch_unmap(struct stitch *stitch);

/* -------------------------------- memory/touch.c ------------------------------- */

/* Fill the page tables of extents that are mapped at base (NULL: where they are), as far as that is cheap. */
void memory_touch(const uint8_t *base, const struct extents *extents);

/* ------------------------------- memory/stitches.c ----------------------------- */

/*
 * Give up the kept stitches of a memory: those over a region, or all (NULL). Waits until
 * those of this memory are unmapped, whoever does that, and for no others. Any thread.
 */
void stitches_forget(struct memory *memory, const struct region *region);

/* -------------------------------- memory/fault.c ------------------------------- */

/*
 * Watch [base, base + length), a mapping of a region (extents NULL) or of extents.
 * Returns a watch, or NULL without memory. memory_fault_unwatch() ends it before the
 * mapping goes.
 */
void *memory_fault_watch(struct heap *heap, uint8_t *base, uint64_t length, struct region *region,
			 const struct extents *extents);
void memory_fault_unwatch(void *watch);

#endif
