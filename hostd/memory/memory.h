/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM as pvhcad sees it: regions that QEMU passed, mapped shared. The runs of
 * it that commands name are extents (memory/extents.h).
 *
 * A region is mapped once for its life and counted: each reference keeps it mapped
 * after QEMU took it away. Guest-physical addresses are checked here and nowhere else.
 * Memory behind a mapping vanishes if QEMU truncates the file: memory/fault.c catches
 * the SIGBUS, puts zero pages in place and marks the region, so that this VM fails and
 * no other. What a VM may have mapped is limited (memory/budget.c).
 */
#ifndef HOSTD_MEMORY_MEMORY_H
#define HOSTD_MEMORY_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;
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
	atomic_uint faults;  /* so often; memory/fault.c */
	atomic_bool removed; /* QEMU took it away; references keep it */
};

/* Another reference to a region that is referenced; it keeps the region mapped. Any thread. */
void memory_region_get(struct region *region);
/* Give a reference up; the last one unmaps the region. Any thread. */
void memory_region_put(struct region *region);

/* Without limits of its own; heap: account for all that it holds. NULL: no memory. */
struct memory *memory_new(struct heap *heap);
/* Unmapping takes its time (0.3 s for 1 GiB): not in a thread that others wait for. */
void memory_free(struct memory *memory);
/* At most so many bytes of regions, and mappings of regions and stitches. What is there stays. */
void memory_limit(struct memory *memory, uint64_t bytes, uint64_t mappings);

/*
 * Add a region. Takes fd over, also on failure. Returns 0 or a negative errno: EINVAL
 * (geometry, overlap, file too short, not open for reading and writing), EMEDIUMTYPE (no
 * file of tmpfs or hugetlbfs, as memfds are), ENOSPC (too many), EDQUOT (the VM's limit),
 * ENOMEM (also where other VMs have so much that this one may have no more) and others of
 * mmap(2). Any thread.
 */
int memory_add(struct memory *memory, uint64_t gpa, uint64_t size, uint64_t fd_offset,
	       uint64_t page_size, int fd);
/* -ENOENT unless exactly that region is there. */
int memory_del(struct memory *memory, uint64_t gpa, uint64_t size);
/* Memory of a region that is there vanished under us. */
bool memory_faulted(struct memory *memory);
/* For the statistics: regions there; mappings of stitches, those in use and those kept. */
unsigned int memory_regions(struct memory *memory);
uint64_t memory_bytes(struct memory *memory);
uint64_t memory_mappings(const struct memory *memory);
uint64_t memory_mappings_kept(const struct memory *memory);

/*
 * Guest-physical [gpa, gpa + len), inside one region: its address here, and the region,
 * with a reference for the caller. NULL if it is not guest RAM. len may not be 0.
 */
void *memory_resolve(struct memory *memory, uint64_t gpa, uint64_t len, struct region **region);
/* Copy out of guest memory, once; may cross regions. -EFAULT if not all is RAM. */
int memory_read(struct memory *memory, uint64_t gpa, void *to, size_t len);
/* Likewise into it. On failure a part of the range may have been written. */
int memory_write(struct memory *memory, uint64_t gpa, const void *from, size_t len);

/*
 * memory/budget.c: once per process. How many mappings it may have (vm.max_map_count);
 * a part of them is kept for its own needs.
 */
void memory_budget_init(void);

/* memory/fault.c: once per process, before any region is mapped. 0 or a negative errno. */
int memory_fault_init(void);
/* Eventfd that becomes readable when a region has been marked as faulted. */
int memory_fault_fd(void);

#endif
