/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A send or receive queue as a command describes it, and the checks of that.
 */
#ifndef HOSTD_ADMIN_COMMANDS_RING_H
#define HOSTD_ADMIN_COMMANDS_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/ring.h"

struct vm;

/* max_wr 0: the ring is absent, and has no geometry. */
struct ring_wish {
	uint32_t offset;
	uint8_t log_entries;
	uint8_t log_stride;
	uint8_t min_log_stride;
	uint8_t data_offset;
	uint32_t max_wr;
	uint32_t max_sge;
};

bool ring_wish_is_absent(const struct ring_wish *wish);
/* What can be said without the buffer; raises *end to the bytes of it that are needed. PVHCA_ST_*. */
int ring_wish_check(struct vm *vm, const struct ring_wish *wish, uint64_t *end);
bool ring_wishes_overlap(const struct ring_wish *a, const struct ring_wish *b);
/* Set up what is not absent. PVHCA_ST_*. */
int ring_wish_set_up(const struct ring_wish *wish, struct work_queue *queue,
		     const struct ring_buffer *buffer, __le32 *pi);

#endif
