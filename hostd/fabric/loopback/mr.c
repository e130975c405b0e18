// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory of the loopback fabric: keys, their rights, and the copy.
 *
 * A key is a number of the table of regions, which is random, and, in the low byte, a
 * count that grows with every registration. So a key cannot be guessed from others, and
 * that of a region that is gone does not fit the next region of that number. lkey and rkey are the same, as with most
 * adapters. A window's key has a struct mr of its own, which has only an rkey.
 */
#include <stdlib.h>

#include "lib/heap.h"
#include "fabric/loopback/copy.h"
#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "memory/memory.h"
#include "vm/vm.h"

#define ACCESS_REMOTE_WRITES (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
/* HUGETLB only speaks of the guest's pages; ZERO_BASED of how iova was chosen. */
#define ACCESS_SUPPORTED                                                          \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | ACCESS_REMOTE_WRITES | \
	 IBV_ACCESS_ZERO_BASED | IBV_ACCESS_HUGETLB | IBV_ACCESS_MW_BIND |        \
	 IBV_ACCESS_OPTIONAL_RANGE)

/* ------------------------------- registration ------------------------------ */

static int mr_check(const struct mr *mr)
{
	if (mr->access & ~(uint32_t)ACCESS_SUPPORTED)
		return PVHCA_ST_UNSUPPORTED;
	/* IB vol 1, 10.6.3.1: remote writes need the local right. */
	if (mr->access & ACCESS_REMOTE_WRITES && !(mr->access & IBV_ACCESS_LOCAL_WRITE))
		return PVHCA_ST_INVALID;
	if (!mr->length || mr->length > LOOPBACK_MAX_MR || mr->iova + (mr->length - 1) < mr->iova ||
	    mr->offset > mr->extents->length || mr->length > mr->extents->length - mr->offset)
		return PVHCA_ST_INVALID;
	return PVHCA_ST_OK;
}

int loopback_mr_reg(struct mr *mr)
{
	struct loopback_vm *ls = mr->vm->fabric_vm;
	struct loopback *fabric = ls->fabric;
	struct loopback_mr *part;
	uint32_t number;
	int status;

	status = mr_check(mr);
	if (status)
		return status;
	part = heap_zalloc(mr->vm->heap, sizeof(*part));
	if (!part)
		return PVHCA_ST_NO_MEMORY;

	/* Page faults are this VM's now. Else they would be its worker's, which other VMs wait for. */
	extents_touch(mr->extents);
	pthread_mutex_lock(&fabric->lock);
	if (loopback_table_reserve(&fabric->mrs, &number)) {
		pthread_mutex_unlock(&fabric->lock);
		heap_free(part);
		return PVHCA_ST_NO_MEMORY;
	}
	mr->fabric = part;
	mr->lkey = number << 8 | fabric->key_variant++;
	mr->rkey = mr->lkey;
	loopback_table_publish(&fabric->mrs, number, mr);
	pthread_mutex_unlock(&fabric->lock);
	return PVHCA_ST_OK;
}

int loopback_mr_hide(struct mr *mr)
{
	struct loopback_vm *ls = mr->vm->fabric_vm;
	struct loopback_mr *part = mr->fabric;

	if (loopback_mr_key(mr)) {
		loopback_key_hide(loopback_mr_key(mr));
		return PVHCA_ST_OK;
	}
	if (atomic_load(&part->windows))
		return PVHCA_ST_BUSY;
	pthread_mutex_lock(&ls->fabric->lock);
	part->gone = loopback_table_hide(&ls->fabric->mrs, mr->lkey >> 8);
	pthread_mutex_unlock(&ls->fabric->lock);
	return PVHCA_ST_OK;
}

int loopback_mr_dereg(struct mr *mr)
{
	struct loopback_vm *ls = mr->vm->fabric_vm;
	struct loopback_table *mrs = &ls->fabric->mrs;
	struct loopback_mr *part = mr->fabric;
	bool bound;

	if (loopback_mr_key(mr)) {
		loopback_key_destroy(loopback_mr_key(mr));
		return PVHCA_ST_OK;
	}
	/* No worker can bind a window any more; one may have done so since it was hidden. */
	bound = atomic_load(&part->windows);
	loopback_places_free(part->gone);
	part->gone = NULL;
	if (!mr->vm->ending) {
		pthread_mutex_lock(&ls->fabric->lock);
		if (bound)
			loopback_table_publish(mrs, mr->lkey >> 8, mr);
		else
			loopback_table_release(mrs, mr->lkey >> 8);
		pthread_mutex_unlock(&ls->fabric->lock);
	}
	if (bound)
		return PVHCA_ST_BUSY;
	heap_free(part);
	return PVHCA_ST_OK;
}

int loopback_mr_rereg(struct mr *mr, uint32_t flags, struct mr *next)
{
	struct loopback_vm *ls = mr->vm->fabric_vm;
	struct loopback_mr *part = mr->fabric;
	int status;

	(void)flags; /* next is whole */
	if (loopback_mr_key(mr))
		return PVHCA_ST_INVALID;
	/* As in loopback_mr_dereg(). */
	status = atomic_load(&part->windows) ? PVHCA_ST_BUSY : mr_check(next);
	if (!status)
		*mr = *next;
	loopback_places_free(part->gone);
	part->gone = NULL;
	pthread_mutex_lock(&ls->fabric->lock);
	loopback_table_publish(&ls->fabric->mrs, mr->lkey >> 8, mr);
	pthread_mutex_unlock(&ls->fabric->lock);
	return status;
}

/* --------------------------------- checks ---------------------------------- */

/* May pd do access to all of [addr, addr + length)? IB vol 1, 10.6.3. */
static inline bool mr_permits(const struct mr *mr, const struct pd *pd, uint64_t addr,
			      uint64_t length, uint32_t access)
{
	uint64_t at = addr - mr->iova;

	return mr->pd == pd && !(access & ~mr->access) && addr >= mr->iova && at <= mr->length &&
		length <= mr->length - at;
}

/* Keys that work requests change are used under loopback_key_enter(). */
static inline bool mr_enter(const struct mr *mr)
{
	struct loopback_key *key = loopback_mr_key(mr);

	return !key || loopback_key_enter(key);
}

static inline void mr_leave(const struct mr *mr)
{
	struct loopback_key *key = loopback_mr_key(mr);

	if (key)
		loopback_key_leave(key);
}

/* The region of a local key, entered; or NULL. */
static const struct mr *find_local(struct loopback *fabric, const struct pd *pd, uint32_t key,
				   uint64_t addr, uint64_t length, uint32_t access)
{
	const struct mr *mr = loopback_table_find(&fabric->mrs, key >> 8);

	if (!mr || !mr_enter(mr))
		return NULL;
	if (mr->lkey == key && mr_permits(mr, pd, addr, length, access))
		return mr;
	mr_leave(mr);
	return NULL;
}

/* A window of type 2B serves the QP that bound it, no other. */
static inline bool serves_qp(const struct mr *mr, const struct qp *qp)
{
	const struct loopback_key *key = loopback_mr_key(mr);

	return !key || key->kind != LOOPBACK_KEY_WINDOW_2 || atomic_load(&key->owner) == qp->fabric;
}

/* The region or window of a remote key, for messages to qp; likewise. */
static const struct mr *find_remote(struct loopback *fabric, const struct qp *qp, uint32_t key,
				    uint64_t addr, uint64_t length, uint32_t access)
{
	const struct mr *mr = loopback_table_find(&fabric->mrs, key >> 8);

	if (!mr || !mr_enter(mr))
		return NULL;
	if (mr->rkey == key && mr_permits(mr, qp->pd, addr, length, access) && serves_qp(mr, qp))
		return mr;
	mr_leave(mr);
	return NULL;
}

/* Guest-physical memory, for the driver's own QPs. */
static bool add_dma(const struct pd *pd, const struct ibv_sge *sge, uint64_t skip, uint64_t len,
		    struct loopback_pieces *pieces)
{
	struct loopback_piece *piece = &pieces->piece[pieces->count];
	uint8_t *host;

	if (sge->lkey != PVHCA_LKEY_DMA || !pd->context->kernel)
		return false;
	host = memory_resolve(pd->vm->memory, sge->addr, skip + len, &piece->region);
	if (!host)
		return false;
	piece->mr = NULL;
	piece->host = host + skip;
	piece->len = len;
	pieces->held = true;
	pieces->count++;
	return true;
}

void loopback_pieces_release(struct loopback_pieces *pieces)
{
	struct loopback_piece *piece;

	for (; pieces->count; pieces->count--) {
		piece = &pieces->piece[pieces->count - 1];
		if (piece->mr)
			mr_leave(piece->mr);
		else
			memory_region_put(piece->region);
	}
	pieces->held = false;
}

bool loopback_pieces_local(struct loopback *fabric, const struct pd *pd, const struct ibv_sge *sge,
			   unsigned int num_sge, uint32_t access, uint64_t skip, uint64_t length,
			   struct loopback_pieces *pieces)
{
	struct loopback_piece *piece;
	const struct mr *mr;
	unsigned int i;
	uint64_t part;

	pieces->count = 0;
	pieces->held = false;
	for (i = 0; i < num_sge && length; i++) {
		if (skip >= sge[i].length) {
			skip -= sge[i].length;
			continue;
		}
		part = sge[i].length - skip;
		if (part > length)
			part = length;
		mr = find_local(fabric, pd, sge[i].lkey, sge[i].addr, skip + part, access);
		if (mr) {
			piece = &pieces->piece[pieces->count++];
			piece->mr = mr;
			piece->at = mr->offset + (sge[i].addr - mr->iova) + skip;
			piece->len = part;
			pieces->held |= loopback_mr_key(mr) != NULL;
		} else if (!add_dma(pd, &sge[i], skip, part, pieces)) {
			break;
		}
		length -= part;
		skip = 0;
	}
	if (!length)
		return true;
	loopback_pieces_put(pieces);
	return false;
}

bool loopback_pieces_remote(struct loopback *fabric, const struct qp *qp, uint32_t rkey,
			    uint64_t addr, uint64_t length, uint32_t access, uint64_t skip,
			    uint64_t part, struct loopback_pieces *pieces)
{
	const struct mr *mr;

	pieces->count = 0;
	pieces->held = false;
	/* IB vol 1, 9.7.4.1.5: the key of an empty request is not looked at. */
	if (!length)
		return true;
	mr = find_remote(fabric, qp, rkey, addr, length, access);
	if (!mr)
		return false;
	pieces->held = loopback_mr_key(mr) != NULL;
	pieces->count = 1;
	pieces->piece[0].mr = mr;
	pieces->piece[0].at = mr->offset + (addr - mr->iova) + skip;
	pieces->piece[0].len = part;
	return true;
}

/* ---------------------------------- copy ----------------------------------- */

/* A place in a list of pieces: the next run that is contiguous here. */
struct cursor {
	const struct loopback_piece *next;
	const struct extent *extent;
	uint8_t *host;
	uint64_t run;  /* bytes at host */
	uint64_t left; /* bytes in this piece, the run included */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline void cursor_load(struct cursor *cursor)
{
	const struct loopback_piece *piece = cursor->next++;
	uint64_t into;

	cursor->left = piece->len;
	if (!piece->mr) {
		cursor->host = piece->host;
		cursor->run = piece->len;
		return;
	}
	cursor->extent = extents_find(piece->mr->extents, piece->at);
	into = piece->at - cursor->extent->start;
	cursor->host = cursor->extent->host + into;
	cursor->run = min_u64(cursor->extent->len - into, piece->len);
}

/* Go on by n <= run bytes; more must follow. */
static inline void cursor_advance(struct cursor *cursor, uint64_t n)
{
	cursor->host += n;
	cursor->run -= n;
	cursor->left -= n;
	if (cursor->run)
		return;
	if (!cursor->left) {
		cursor_load(cursor);
		return;
	}
	cursor->extent++;
	cursor->host = cursor->extent->host;
	cursor->run = min_u64(cursor->extent->len, cursor->left);
}

void loopback_copy(const struct loopback_pieces *to, const struct loopback_pieces *from,
		   uint64_t length)
{
	struct cursor out = { .next = to->piece };
	struct cursor in = { .next = from->piece };
	uint64_t n;

	if (!length)
		return;
	cursor_load(&out);
	cursor_load(&in);
	for (;;) {
		n = min_u64(out.run, in.run);
		if (n >= length)
			break;
		memmove(out.host, in.host, n);
		length -= n;
		cursor_advance(&out, n);
		cursor_advance(&in, n);
	}
	atomic_thread_fence(memory_order_release);
	loopback_copy_run(out.host, in.host, length);
}

void *loopback_piece_address(const struct loopback_pieces *pieces)
{
	struct cursor cursor = { .next = pieces->piece };

	if (pieces->count != 1)
		return NULL;
	cursor_load(&cursor);
	return cursor.run == pieces->piece[0].len ? cursor.host : NULL;
}
