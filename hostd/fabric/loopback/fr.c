// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fast registration on the loopback fabric (IB vol 1, 10.6.3.6): regions without
 * memory, to which kernel consumers give pages by a work request. They name pages
 * guest-physically, so only QPs of the driver's own context may do that.
 */
#include <endian.h>
#include <stdlib.h>

#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "memory/memory.h"
#include "vm/vm.h"
#include "lib/heap.h"
#include "lib/table.h"

#define REGION_WRITES (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
#define REGION_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | REGION_WRITES)
#define LOG_PAGE_MAX  30
/* Entries of a page list that are read at once. */
#define PAGES_AT_ONCE 64u
#define REGIONS_KNOWN 8u

int loopback_fr_alloc(struct mr *mr)
{
	struct loopback_key *key;
	struct extents *pages;

	if (mr->max_pages > LOOPBACK_MAX_FR_PAGES)
		return PVHCA_ST_INVALID;
	pages = heap_zalloc(mr->vm->heap,
			    sizeof(*pages) + mr->max_pages * sizeof(pages->extent[0]));
	if (!pages)
		return PVHCA_ST_NO_MEMORY;
	key = loopback_key_new(mr->vm, mr->pd, LOOPBACK_KEY_REGION);
	if (!key) {
		heap_free(pages);
		return PVHCA_ST_NO_MEMORY;
	}
	key->pages = pages;
	mr->lkey = mr->rkey = key->view.rkey;
	loopback_mr_set_key(mr, key);
	return PVHCA_ST_OK;
}

static bool is_request_valid(const struct mr *mr, const struct qp *qp,
			     const struct reg_request *reg)
{
	const struct loopback_key *key = loopback_mr_key(mr);
	uint64_t page_size, offset;

	if (mr->pd != qp->pd || reg->key >> 8 != key->number ||
	    reg->access & ~(uint32_t)REGION_ACCESS ||
	    (reg->access & REGION_WRITES && !(reg->access & IBV_ACCESS_LOCAL_WRITE)) ||
	    !reg->num_pages || reg->num_pages > mr->max_pages ||
	    reg->log_page_size < PVHCA_GRANULE_SHIFT || reg->log_page_size > LOG_PAGE_MAX)
		return false;
	page_size = 1ull << reg->log_page_size;
	offset = reg->iova & (page_size - 1);
	return reg->length && reg->iova + (reg->length - 1) >= reg->iova &&
		reg->length <= (reg->num_pages * page_size) - offset;
}

/**
 * struct regions - those in which the pages of one request lie
 * @known: referenced by an extent that was added; the oldest is replaced
 * @last: of the page before
 *
 * A look-up of a page takes a lock and a reference, 40 ns or so: a thousand of them would be twice
 * as long as a turn. A guest's RAM has a few regions, and each is looked up, and referenced, once.
 */
struct regions {
	struct region *known[REGIONS_KNOWN];
	unsigned int count;
	struct region *last;
};

static bool region_has(const struct region *region, uint64_t gpa, uint64_t len)
{
	return gpa >= region->gpa && gpa - region->gpa < region->size &&
		len <= region->size - (gpa - region->gpa);
}

static struct region *regions_find(const struct regions *regions, uint64_t gpa, uint64_t len)
{
	unsigned int i;

	for (i = 0; i < regions->count && i < REGIONS_KNOWN; i++)
		if (region_has(regions->known[i], gpa, len))
			return regions->known[i];
	return NULL;
}

/* A page at gpa. referenced: the extent takes the reference over. */
static void pages_add(struct extents *pages, struct regions *regions, struct region *region,
		      bool referenced, uint64_t gpa, uint64_t len)
{
	uint8_t *host = region->base + (gpa - region->gpa);
	struct extent *extent = &pages->extent[pages->count];

	if (!referenced && regions->last == region && extent[-1].host + extent[-1].len == host) {
		extent[-1].len += len;
	} else {
		extent->host = host;
		extent->start = pages->length;
		extent->len = len;
		extent->region = referenced ? region : NULL;
		pages->count++;
	}
	if (referenced)
		regions->known[regions->count++ % REGIONS_KNOWN] = region;
	regions->last = region;
	pages->length += len;
}

/* False: it is not guest RAM. */
static bool pages_find_and_add(struct extents *pages, struct regions *regions,
			       struct memory *memory, uint64_t gpa, uint64_t len)
{
	struct region *region = regions_find(regions, gpa, len);
	const bool known = region;

	if (!known && !memory_resolve(memory, gpa, len, &region))
		return false;
	pages_add(pages, regions, region, !known, gpa, len);
	return true;
}

/* False: an address is not guest RAM. The caller gives back the runs added before. */
static bool pages_take(struct extents *pages, struct memory *memory, const struct reg_request *reg)
{
	uint64_t page_size = 1ull << reg->log_page_size, gpa;
	struct regions regions = { 0 };
	__le64 list[PAGES_AT_ONCE];
	uint32_t at, i, n;

	pages->length = 0;
	for (at = 0; at < reg->num_pages; at += n) {
		n = reg->num_pages - at;
		if (n > PAGES_AT_ONCE)
			n = PAGES_AT_ONCE;
		if (memory_read(memory, reg->pages + at * sizeof(list[0]), list,
				n * sizeof(list[0])))
			return false;
		for (i = 0; i < n; i++) {
			gpa = le64toh(list[i]);
			if (gpa & (page_size - 1) ||
			    !pages_find_and_add(pages, &regions, memory, gpa, page_size))
				return false;
		}
	}
	return true;
}

bool loopback_fr_reg(struct loopback_qp *lqp)
{
	const struct reg_request *reg = &lqp->sq.request.reg;
	struct vm *vm = lqp->qp->vm;
	struct mr *mr = table_find_rcu(&vm->mrs, reg->mr_handle);
	struct loopback_key *key;

	key = mr ? loopback_mr_key(mr) : NULL;
	if (!key || !is_request_valid(mr, lqp->qp, reg))
		return false;
	if (!loopback_key_take(key, LOOPBACK_KEY_FREE))
		return false;
	loopback_key_clear(key);
	if (!pages_take(key->pages, vm->memory, reg)) {
		loopback_key_free(key);
		return false;
	}
	key->view.lkey = key->view.rkey = reg->key;
	key->view.access = reg->access;
	key->view.iova = reg->iova;
	key->view.length = reg->length;
	key->view.offset = reg->iova & ((1ull << reg->log_page_size) - 1);
	key->view.extents = key->pages;
	loopback_key_set(key, LOOPBACK_KEY_VALID);
	return true;
}
