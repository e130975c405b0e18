/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one end does to the other in one round, and what memory must look like
 * afterwards.
 *
 * Theory of operation
 *
 * A plan follows from the shape of the test and a seed, so both ends derive the
 * same one. It has two arenas: the requester's, which holds what is sent and
 * where reads land, and the responder's, where writes and sends land and which
 * is read from. Both start as noise. Every piece of memory that a plan uses is
 * used once (save what a fenced operation sends on), at random offsets, with at
 * least a byte between it and the next; so what belongs to nobody guards what
 * does. Carrying the operations out in order on a copy gives the expected
 * arenas, and comparing the whole of them finds a lost, misplaced or superfluous
 * byte.
 */
#ifndef PVHCA_TEST_PLAN_H
#define PVHCA_TEST_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define PLAN_MAX_SGE  8
#define PLAN_MAX_KEYS 3

enum plan_opcode {
	PLAN_SEND,
	PLAN_SEND_IMM,
	PLAN_WRITE,
	PLAN_WRITE_IMM,
	PLAN_READ,
	PLAN_OPCODES,
};

extern const char *const plan_opcode_names[PLAN_OPCODES];

/* Kinds of operation that a test may choose from. */
#define PLAN_INLINE	(1 << PLAN_OPCODES) /* some small ones inline */
#define PLAN_FENCE	(2 << PLAN_OPCODES) /* some: read, then fenced send of what was read */
#define PLAN_UNSIGNALED (4 << PLAN_OPCODES)
#define PLAN_ALL	((8 << PLAN_OPCODES) - 1)

/* The shape of a test; the same at both ends. */
struct plan_shape {
	uint32_t kinds; /* 1 << enum plan_opcode, PLAN_INLINE... */
	uint32_t qps;
	uint32_t ops; /* most of one round */
	uint32_t max_size;
	uint32_t max_sge;
	uint32_t max_inline;
	uint32_t sq_depth;
	uint32_t keys; /* memory regions over the whole arena */
	uint32_t mtu;  /* bytes */
	uint64_t arena_size;
};

struct plan_piece {
	uint64_t offset;
	uint32_t length;
	uint32_t key; /* which of the regions */
};

struct plan_op {
	enum plan_opcode opcode;
	uint32_t qp;
	uint32_t length;
	uint32_t imm;
	bool signaled;
	bool fenced;
	bool inlined; /* and the source is overwritten as soon as it is posted */
	bool solicited;
	uint32_t pieces;
	uint32_t receive_pieces;
	struct plan_piece piece[PLAN_MAX_SGE];	 /* in the requester's arena */
	struct plan_piece remote;		 /* WRITE, READ: in the responder's arena */
	struct plan_piece receive[PLAN_MAX_SGE]; /* others: where the responder receives */
};

struct plan {
	const struct plan_shape *shape;
	uint64_t seed;
	uint32_t ops;
	struct plan_op *op;
	uint64_t bytes;
	/* Images of the arenas: at first as they start, after plan_carry_out() as they must end. */
	uint8_t *requester;
	uint8_t *responder;
};

void plan_init(struct plan *p, const struct plan_shape *shape);
void plan_free(struct plan *p);

/* A new plan and fresh images. */
void plan_make(struct plan *p, uint64_t seed);
void plan_carry_out(struct plan *p);

/* Does the operation take a receive at the responder? */
bool plan_op_receives(const struct plan_op *op);
bool plan_op_has_imm(const struct plan_op *op);

/* What happens to the source of an inlined operation right after it was posted. */
void plan_scribble(uint8_t *arena, const struct plan_op *op);

/*
 * Compare an arena with its image; false, and a report on stdout, when they
 * differ. who: "requester" or "responder".
 */
bool plan_check(const struct plan *p, const char *who, const uint8_t *arena, const uint8_t *image);

#endif
