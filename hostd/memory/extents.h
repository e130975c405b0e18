/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extents: runs of guest memory, put together run by run. They keep the regions that
 * they lie in mapped (memory/memory.h).
 */
#ifndef HOSTD_MEMORY_EXTENTS_H
#define HOSTD_MEMORY_EXTENTS_H

#include <stdatomic.h>
#include <stdint.h>

struct memory;
struct region;

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

/**
 * struct extents_builder - extents as they are put together
 * @last: region of the latest run, referenced
 */
struct extents_builder {
	struct memory *memory;
	struct extents *extents;
	uint32_t room;
	struct region *last;
};

void extents_begin(struct extents_builder *builder, struct memory *memory);
/*
 * Add guest-physical [gpa, gpa + len), whole granules. 0 or an enum pvhca_admin_status:
 * INVALID, BAD_ADDRESS (not guest RAM), NO_MEMORY; extents_end() is due all the same.
 */
int extents_add(struct extents_builder *builder, uint64_t gpa, uint64_t len);
/* The extents, with a reference for the caller (extents_put()). NULL: nothing was added. */
struct extents *extents_end(struct extents_builder *builder);
void extents_get(struct extents *extents);
void extents_put(struct extents *extents);

/*
 * The extent that holds byte at (< extents->length), by binary search.
 */
const struct extent *extents_find(const struct extents *extents, uint64_t at);

/*
 * Fill the page tables of guest memory that will soon be copied from and to, as far as that is cheap: who copies
 * has next to no page faults then. May take a microsecond for each 64 KiB; without locks that others want.
 */
void extents_touch(const struct extents *extents);

#endif
