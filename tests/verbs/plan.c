// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "random.h"
#include "report.h"

#define MAX_GUARD 97 /* bytes; prime, so that offsets take all remainders */

/* clang-format off */
const char *const plan_opcode_names[PLAN_OPCODES] = {
	[PLAN_SEND] = "send",
	[PLAN_SEND_IMM] = "send_imm",
	[PLAN_WRITE] = "write",
	[PLAN_WRITE_IMM] = "write_imm",
	[PLAN_READ] = "read",
};
/* clang-format on */

/* Where the next piece of either arena may start. */
struct cursor {
	uint64_t requester;
	uint64_t responder;
};

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		die("out of memory");
	return memory;
}

void plan_init(struct plan *p, const struct plan_shape *shape)
{
	memset(p, 0, sizeof(*p));
	p->shape = shape;
	p->op = allocate(shape->ops * sizeof(*p->op));
	p->requester = allocate(shape->arena_size);
	p->responder = allocate(shape->arena_size);
}

void plan_free(struct plan *p)
{
	free(p->op);
	free(p->requester);
	free(p->responder);
}

bool plan_op_has_imm(const struct plan_op *op)
{
	return op->opcode == PLAN_SEND_IMM || op->opcode == PLAN_WRITE_IMM;
}

bool plan_op_receives(const struct plan_op *op)
{
	return op->opcode == PLAN_SEND || op->opcode == PLAN_SEND_IMM ||
		op->opcode == PLAN_WRITE_IMM;
}

static bool is_send(const struct plan_op *op)
{
	return op->opcode == PLAN_SEND || op->opcode == PLAN_SEND_IMM;
}

/* Most of all bytes are in large messages, most of all messages are small. */
static uint32_t pick_length(const struct plan *p, struct random *r, uint32_t limit)
{
	const uint32_t mtu = p->shape->mtu;
	const uint32_t special[] = { 0, 1, mtu - 1, mtu, mtu + 1, 2 * mtu, 4095, 4096, 4097, 65536 };
	uint64_t length, top = 1;

	if (limit > p->shape->max_size)
		limit = p->shape->max_size;
	if (random_once_in(r, 4)) {
		length = special[random_below(r, sizeof(special) / sizeof(*special))];
	} else {
		while (top < limit)
			top *= 2;
		top >>= random_below(r, __builtin_ctzll(top) + 1);
		length = top / 2 + random_below(r, top);
	}
	return length < limit ? length : limit;
}

/* Cut length bytes into pieces, each somewhere behind the last; false: no room. */
static bool place(const struct plan *p, struct random *r, uint64_t *cursor, uint32_t length,
		  uint32_t count, struct plan_piece *piece)
{
	uint32_t i, left = length;

	for (i = 0; i < count; i++) {
		piece[i].offset = *cursor + 1 + random_below(r, MAX_GUARD);
		piece[i].key = random_below(r, p->shape->keys);
		piece[i].length = left;
		if (i + 1 < count)
			piece[i].length = 1 + random_below(r, left - (count - 1 - i));
		left -= piece[i].length;
		*cursor = piece[i].offset + piece[i].length;
		if (*cursor >= p->shape->arena_size)
			return false;
	}
	return true;
}

static uint32_t pick_pieces(const struct plan *p, struct random *r, uint32_t length)
{
	uint32_t most = p->shape->max_sge < length ? p->shape->max_sge : length;

	if (!length)
		return 0;
	return random_once_in(r, 2) ? 1 : 1 + random_below(r, most);
}

static bool place_remote(const struct plan *p, struct random *r, struct cursor *cursor,
			 struct plan_op *op)
{
	uint32_t capacity = op->length;

	if (!is_send(op) && !place(p, r, &cursor->responder, op->length, 1, &op->remote))
		return false;
	if (!plan_op_receives(op))
		return true;
	/* A receive may be larger than the message; that of a WRITE_IMM takes nothing at all. */
	if (!is_send(op))
		capacity = 0;
	if (random_once_in(r, 2))
		capacity += random_below(r, 300);
	op->receive_pieces = pick_pieces(p, r, capacity);
	return place(p, r, &cursor->responder, capacity, op->receive_pieces, op->receive);
}

static bool make_op(const struct plan *p, struct random *r, struct cursor *cursor,
		    struct plan_op *op, enum plan_opcode opcode, uint32_t qp)
{
	const struct plan_shape *shape = p->shape;
	uint32_t limit;

	limit = (shape->arena_size -
		 (cursor->requester > cursor->responder ? cursor->requester : cursor->responder)) /
		2;
	memset(op, 0, sizeof(*op));
	op->opcode = opcode;
	op->qp = qp;
	op->imm = random_next(r);
	op->signaled = !(shape->kinds & PLAN_UNSIGNALED) || random_once_in(r, 3);
	op->solicited = random_once_in(r, 3);
	if ((shape->kinds & PLAN_INLINE) && opcode != PLAN_READ && random_once_in(r, 4)) {
		op->inlined = true;
		if (limit > shape->max_inline)
			limit = shape->max_inline;
	}
	op->length = pick_length(p, r, limit);
	op->pieces = pick_pieces(p, r, op->length);
	return place(p, r, &cursor->requester, op->length, op->pieces, op->piece) &&
		place_remote(p, r, cursor, op);
}

/* After a read: send on what it brought, which needs the fence. */
static bool make_fenced_op(const struct plan *p, struct random *r, struct cursor *cursor,
			   const struct plan_op *read, struct plan_op *op)
{
	enum plan_opcode opcode;

	do {
		opcode = random_below(r, PLAN_OPCODES);
	} while (opcode == PLAN_READ || !(p->shape->kinds & (1 << opcode)));
	*op = *read;
	op->opcode = opcode;
	op->fenced = true;
	op->imm = random_next(r);
	return place_remote(p, r, cursor, op);
}

static enum plan_opcode pick_opcode(const struct plan *p, struct random *r)
{
	enum plan_opcode opcode;

	do {
		opcode = random_below(r, PLAN_OPCODES);
	} while (!(p->shape->kinds & (1 << opcode)));
	return opcode;
}

/* The last of every QP is signaled, and enough others that the send queue never fills for good. */
static void settle_signals(struct plan *p)
{
	uint32_t qp, i, unsignaled;
	struct plan_op *last;

	for (qp = 0; qp < p->shape->qps; qp++) {
		last = NULL;
		unsignaled = 0;
		for (i = 0; i < p->ops; i++) {
			if (p->op[i].qp != qp)
				continue;
			last = &p->op[i];
			if (!last->signaled && ++unsignaled >= p->shape->sq_depth / 2)
				last->signaled = true;
			if (last->signaled)
				unsignaled = 0;
		}
		if (last)
			last->signaled = true;
	}
}

void plan_make(struct plan *p, uint64_t seed)
{
	const bool fences = (p->shape->kinds & PLAN_FENCE) &&
		(p->shape->kinds & (1 << PLAN_READ)) && (p->shape->kinds & ((1 << PLAN_READ) - 1));
	struct random r = { seed };
	struct cursor cursor = { 0 };
	struct plan_op *op;
	uint32_t qp;

	p->seed = seed;
	p->ops = 0;
	p->bytes = 0;
	while (p->ops < p->shape->ops) {
		qp = random_below(&r, p->shape->qps);
		op = &p->op[p->ops];
		if (!make_op(p, &r, &cursor, op, pick_opcode(p, &r), qp))
			break;
		p->bytes += op->length;
		p->ops++;
		if (!fences || op->opcode != PLAN_READ || p->ops == p->shape->ops ||
		    !random_once_in(&r, 2))
			continue;
		if (!make_fenced_op(p, &r, &cursor, op, op + 1))
			break;
		p->bytes += op->length;
		p->ops++;
	}
	settle_signals(p);
	random_fill(p->requester, p->shape->arena_size, random_derive(seed, 1));
	random_fill(p->responder, p->shape->arena_size, random_derive(seed, 2));
}

void plan_scribble(uint8_t *arena, const struct plan_op *op)
{
	uint32_t i, j;

	for (i = 0; i < op->pieces; i++) {
		for (j = 0; j < op->piece[i].length; j++)
			arena[op->piece[i].offset + j] ^= 0xff;
	}
}

/* Copy between two lists of pieces; what is longer keeps its rest. */
static void copy(uint8_t *to_arena, const struct plan_piece *to, const uint8_t *from_arena,
		 const struct plan_piece *from, uint32_t length)
{
	uint32_t to_done = 0, from_done = 0, run;

	for (; length; length -= run) {
		while (to_done == to->length) {
			to++;
			to_done = 0;
		}
		while (from_done == from->length) {
			from++;
			from_done = 0;
		}
		run = length;
		if (run > to->length - to_done)
			run = to->length - to_done;
		if (run > from->length - from_done)
			run = from->length - from_done;
		memcpy(to_arena + to->offset + to_done, from_arena + from->offset + from_done, run);
		to_done += run;
		from_done += run;
	}
}

void plan_carry_out(struct plan *p)
{
	struct plan_op *op;

	for (op = p->op; op < p->op + p->ops; op++) {
		if (op->opcode == PLAN_READ)
			copy(p->requester, op->piece, p->responder, &op->remote, op->length);
		else if (is_send(op))
			copy(p->responder, op->receive, p->requester, op->piece, op->length);
		else
			copy(p->responder, &op->remote, p->requester, op->piece, op->length);
		if (op->inlined)
			plan_scribble(p->requester, op);
	}
}

static bool covers(const struct plan_piece *piece, uint32_t count, uint64_t offset)
{
	for (; count--; piece++) {
		if (offset >= piece->offset && offset - piece->offset < piece->length)
			return true;
	}
	return false;
}

static void describe(const struct plan *p, uint64_t offset, bool requester)
{
	const struct plan_op *op;
	bool found = false;

	for (op = p->op; op < p->op + p->ops; op++) {
		if (requester ? !covers(op->piece, op->pieces, offset) :
				!covers(&op->remote, is_send(op) ? 0 : 1, offset) &&
				    !covers(op->receive, op->receive_pieces, offset))
			continue;
		found = true;
		say("  there: op %td %s qp %u length %u pieces %u receive pieces %u remote %#lx%s%s",
		    op - p->op, plan_opcode_names[op->opcode], op->qp, op->length, op->pieces,
		    op->receive_pieces, op->remote.offset, op->inlined ? " inline" : "",
		    op->fenced ? " fenced" : "");
	}
	if (!found)
		say("  there: nothing, a guard");
}

bool plan_check(const struct plan *p, const char *who, const uint8_t *arena, const uint8_t *image)
{
	uint64_t i, first = 0, differing = 0;

	if (!memcmp(arena, image, p->shape->arena_size))
		return true;
	for (i = 0; i < p->shape->arena_size; i++) {
		if (arena[i] != image[i] && !differing++)
			first = i;
	}
	say("MISMATCH in the %s's memory, plan seed %#lx: %lu bytes differ, the first at %#lx: %02x, not %02x",
	    who, p->seed, differing, first, arena[first], image[first]);
	describe(p, first, image == p->requester);
	return false;
}
