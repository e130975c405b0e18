/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory regions, and the memory of both sides of a message. */
#ifndef HOSTD_FABRIC_LOOPBACK_MR_H
#define HOSTD_FABRIC_LOOPBACK_MR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fabric/loopback/private.h"
#include "vm/objects.h"

int loopback_mr_reg(struct mr *mr);
int loopback_mr_dereg(struct mr *mr);
/* fabric_ops.mr_hide */
int loopback_mr_hide(struct mr *mr);
int loopback_mr_rereg(struct mr *mr, uint32_t flags, struct mr *next);

struct loopback_key;

/*
 * A region's part, mr->fabric, is one of two:
 *
 *  - a struct loopback_mr, of a region that was registered by command;
 *  - a struct loopback_key with LOOPBACK_IS_KEY added to its address, of a region that
 *    work requests change: one for fast registration, or loopback_key.view.
 *
 * Each message needs to know which of the two it is. So the pointer itself tells, not
 * the memory behind it.
 */
#define LOOPBACK_IS_KEY 1u

/* windows: bound to the region; any worker. gone: since it was hidden, loopback_table_hide() */
struct loopback_mr {
	_Atomic uint32_t windows;
	struct loopback_places *gone;
};

/* NULL: it was registered by command. */
static inline struct loopback_key *loopback_mr_key(const struct mr *mr)
{
	uintptr_t part = (uintptr_t)mr->fabric;

	return part & LOOPBACK_IS_KEY ? (struct loopback_key *)(part - LOOPBACK_IS_KEY) : NULL;
}

static inline void loopback_mr_set_key(struct mr *mr, struct loopback_key *key)
{
	mr->fabric = (uint8_t *)key + LOOPBACK_IS_KEY;
}

/* The region was registered by command. */
static inline _Atomic uint32_t *loopback_mr_windows(const struct mr *mr)
{
	return &((struct loopback_mr *)mr->fabric)->windows;
}

/**
 * struct loopback_piece - memory of one side of a message, checked
 * @mr: region, or NULL: at is in pvhcad's own memory, or region's
 * @at: first byte, from the start of the region's extents
 * @host: first byte of own memory
 * @region: referenced; of guest-physical memory
 * @len: bytes
 *
 * Valid during one RCU read section, or until loopback_pieces_put().
 */
struct loopback_piece {
	const struct mr *mr;
	union {
		uint64_t at;
		uint8_t *host;
	};
	uint64_t len;
	struct region *region;
};

struct loopback_pieces {
	unsigned int count;
	bool held;					   /* there is something to be put */
	struct loopback_piece piece[LOOPBACK_MAX_SGE + 1]; /* and a header */
};

void loopback_pieces_release(struct loopback_pieces *pieces);

/* End the use of pieces from loopback_pieces_local() or _remote(). */
static inline void loopback_pieces_put(struct loopback_pieces *pieces)
{
	if (pieces->held)
		loopback_pieces_release(pieces);
}

/*
 * Bytes [skip, skip + length) of an SGE list, of which pd must be allowed access
 * (IBV_ACCESS_*; 0 to read locally). False: protection error.
 */
bool loopback_pieces_local(struct loopback *fabric, const struct pd *pd, const struct ibv_sge *sge,
			   unsigned int num_sge, uint32_t access, uint64_t skip, uint64_t length,
			   struct loopback_pieces *pieces);
/*
 * Bytes [skip, skip + part) of the remote range [addr, addr + length); the whole
 * range must be accessible by rkey for messages to qp.
 */
bool loopback_pieces_remote(struct loopback *fabric, const struct qp *qp, uint32_t rkey,
			    uint64_t addr, uint64_t length, uint32_t access, uint64_t skip,
			    uint64_t part, struct loopback_pieces *pieces);
/* Address of a single piece that does not leave its extent; else NULL. */
void *loopback_piece_address(const struct loopback_pieces *pieces);

/*
 * Copy length bytes, which both sides have. The sides may overlap where both
 * are one run. The last eight bytes become visible after all others: consumers
 * wait for the last byte of a WRITE by polling memory.
 */
void loopback_copy(const struct loopback_pieces *to, const struct loopback_pieces *from,
		   uint64_t length);

#endif
