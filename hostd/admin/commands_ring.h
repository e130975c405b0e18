/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What commands that make queues have in common: the buffer, and the rings in it as a
 * command describes them.
 */
#ifndef HOSTD_ADMIN_COMMANDS_RING_H
#define HOSTD_ADMIN_COMMANDS_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "pvhca/pvhca-admin.h"
#include "vm/work_queue.h"

struct context;
struct vm;

/*
 * The buffer of a queue that needs so many bytes: the list may name a little more, as
 * the guest's pages may be larger than ours. PVHCA_ST_*; *buffer is the caller's.
 */
int commands_ring_buffer(struct vm *vm, const struct pvhca_mem_list *mem, uint64_t needed,
			 struct ring_buffer **buffer);

/* A send or receive queue. max_wr 0: the ring is absent, and has no geometry. */
struct ring_params {
	uint32_t offset;
	uint8_t log_entries;
	uint8_t log_stride;
	uint8_t min_log_stride;
	uint8_t data_offset;
	uint32_t max_wr;
	uint32_t max_sge;
};

bool commands_ring_is_absent(const struct ring_params *ring);
/* What can be said without the buffer; raises *end to the bytes of it that are needed. PVHCA_ST_*. */
int commands_ring_check(struct vm *vm, const struct ring_params *ring, uint64_t *end);
bool commands_rings_overlap(const struct ring_params *a, const struct ring_params *b);
/* Set up what is not absent. PVHCA_ST_*. */
int commands_ring_set_up(const struct ring_params *ring, struct work_queue *queue,
			 const struct ring_buffer *buffer, __le32 *pi);

/*
 * May this context have QPs and SRQs of the fabric? Entries of kernel consumers name
 * memory by a key that few fabrics know. PVHCA_ST_OK or UNSUPPORTED.
 */
int commands_ring_check_kernel(const struct context *context);

#endif
