/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM as pvhcad sees it: regions that QEMU passed, mapped shared; and
 * extents, the runs of it that commands name.
 *
 * A region is mapped once for its life and counted: what was resolved keeps
 * its region mapped after QEMU took it away. Guest-physical addresses are checked
 * here and nowhere else. Memory behind a mapping can vanish if whoever passed
 * the descriptor truncates the file: memory/fault.c catches the SIGBUS, puts
 * zero pages in place and marks the region, so that this VM fails and no other.
 */
#ifndef HOSTD_MEMORY_MEMORY_H
#define HOSTD_MEMORY_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pvhca/pvhca-admin.h"

struct memory;

/* A piece of guest RAM; fields are constant for its life. */
struct region {
	atomic_uint refs;
	uint64_t gpa;
	uint64_t size;
	uint64_t fd_offset;
	uint64_t page_size; /* bytes, of the memory behind it */
	int fd;		    /* owned; also counts towards RLIMIT_NOFILE */
	uint8_t *base;	    /* mapped read-write, shared */
	uint8_t *map;	    /* the mapping: base, rounded to page_size */
	uint64_t map_length;
	atomic_bool faulted; /* memory behind it vanished */
	atomic_bool removed; /* QEMU took it away; only those who use it still have it */
};

void region_get(struct region *region);
void region_put(struct region *region);

struct memory *memory_new(void);
void memory_free(struct memory *memory);

/*
 * Add a region; takes fd over, also on failure. Errors: EINVAL (geometry, overlap,
 * not a regular file or memfd, file too short), ENOSPC (too many), ENOMEM and others of mmap(2).
 * Returns 0 or a negative errno. Any thread.
 */
int memory_add(struct memory *memory, uint64_t gpa, uint64_t size, uint64_t fd_offset,
	       uint64_t page_size, int fd);
/* -ENOENT unless exactly that region is there. */
int memory_del(struct memory *memory, uint64_t gpa, uint64_t size);
/* Memory of a region that is there vanished under us. */
bool memory_faulted(struct memory *memory);
/* For the statistics: regions there; mappings of stitches, those in use and those kept. */
unsigned int memory_regions(struct memory *memory);
uint64_t memory_mappings(const struct memory *memory);
uint64_t memory_mappings_kept(const struct memory *memory);

/*
 * Guest-physical [gpa, gpa + len), inside one region: its address here, and the region,
 * with a reference for the caller. NULL if it is not guest RAM. len may not be 0.
 */
void *memory_resolve(struct memory *memory, uint64_t gpa, uint64_t len, struct region **region);
/* The region that holds this address, with a reference for the caller, or NULL. */
struct region *memory_region(struct memory *memory, uint64_t gpa);
/* Copy out of guest memory, once; may cross regions. -EFAULT if not all is RAM. */
int memory_read(struct memory *memory, uint64_t gpa, void *to, size_t len);
/* Likewise into it; what of the range is RAM may have been written on failure. */
int memory_write(struct memory *memory, uint64_t gpa, const void *from, size_t len);

/* One run of guest memory, contiguous here. */
struct extent {
	uint8_t *host;
	uint64_t start;	       /* bytes of extents before it */
	uint64_t len;	       /* bytes */
	struct region *region; /* referenced */
};

/* Guest memory in virtual order. Neighbouring runs are merged where they can be. */
struct extents {
	atomic_uint refs;
	uint32_t count;
	uint64_t length; /* bytes in all */
	struct extent extent[];
};

/*
 * Read and check the memory list of a command: at most max_length bytes. Returns 0
 * or an enum pvhca_admin_status (INVALID, BAD_ADDRESS, NO_MEMORY); *extents is the caller's, to be
 * given up by extents_put().
 */
int extents_from_list(struct memory *memory, const struct pvhca_mem_list *list, uint64_t max_length,
		      struct extents **extents);
void extents_get(struct extents *extents);
void extents_put(struct extents *extents);

/*
 * The extent that holds byte at (< extents->length), by binary search.
 */
const struct extent *extents_find(const struct extents *extents, uint64_t at);

/* Extents laid out one behind the other in pvhcad's address space. */
struct stitch {
	uint8_t *base;
	uint64_t length;
	uint32_t mappings; /* made, for the counters; 0: it lies in one piece anyway */
	void *fault;	   /* stitch_map()'s: see memory/fault.c */
};

/*
 * Map anew, contiguously: huge pages stay huge where the extents allow it; a single
 * extent is used where it is. Returns 0 or a negative errno, nothing left mapped
 * then: ENOMEM when vm.max_map_count or memory ran out; EOPNOTSUPP when extents cut
 * a page of hugetlbfs, which cannot be mapped in pieces. The extents must outlive it.
 */
int stitch_map(const struct extents *extents, struct stitch *stitch);
/* memory/touch.c: fill the page tables of extents that are mapped at base, as far as that is cheap. */
void memory_touch(const uint8_t *base, const struct extents *extents);
void stitch_unmap(struct stitch *stitch);

/*
 * Likewise, but from memory/stitches.c: regions over the same extents share one mapping, and
 * it is kept for some time after the last of them, for mapping and filling page
 * tables is most of what registering costs. A region of the guest that is
 * registered time and again is mapped once.
 */
struct stitch *stitch_get(struct memory *memory, struct extents *extents, bool *reused, int *error);
void stitch_put(struct stitch *stitch);
/* Give up what is kept of a memory: that of a region, or all. Any thread. */
void stitches_forget(struct memory *memory, const struct region *region);
/* How many bytes of guest memory may be kept mapped in all; before any is. */
void stitches_limit(uint64_t bytes);

/* Counts of mappings that belong to a memory; memory/stitches.c writes them. */
struct stitch_counts {
	_Atomic uint64_t used, kept;
};

struct stitch_counts *memory_stitch_counts(struct memory *memory);

/* memory/fault.c: once per process, before any region is mapped. 0 or a negative errno. */
int memory_fault_init(void);
/* Eventfd that becomes readable when a region has been marked as faulted. */
int memory_fault_fd(void);

/*
 * Watch [base, base + length), a mapping of a region (extents NULL) or of extents.
 * Returns what memory_fault_unwatch() takes, to be called before the
 * mapping goes; NULL: no memory.
 */
void *memory_fault_watch(uint8_t *base, uint64_t length, struct region *region,
			 const struct extents *extents);
void memory_fault_unwatch(void *watch);

#endif
