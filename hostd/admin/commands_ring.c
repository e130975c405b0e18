// SPDX-License-Identifier: GPL-2.0-or-later
#include "admin/commands_ring.h"

#include <endian.h>

#include "admin/commands.h"

/* Bytes that a buffer may be longer than needed. A bound, as each granule costs us a pointer. */
#define RING_SLACK (64u << 10)

int commands_ring_buffer(struct vm *vm, const struct pvhca_mem_list *mem, uint64_t needed,
			 struct ring_buffer **buffer)
{
	struct extents *extents;
	int status;

	if (le64toh(mem->length) < needed)
		return PVHCA_ST_INVALID;
	status = commands_read_memory(vm->memory, mem, needed + RING_SLACK, &extents);
	if (status)
		return status;
	*buffer = ring_buffer_new(vm->heap, extents);
	return *buffer ? PVHCA_ST_OK : PVHCA_ST_NO_MEMORY;
}

bool commands_ring_is_absent(const struct ring_params *ring)
{
	return !ring->max_wr;
}

int commands_ring_check(struct vm *vm, const struct ring_params *ring, uint64_t *end)
{
	uint32_t max_wr = vm->policy->quota.max_wr;
	uint64_t ring_end;

	if (commands_ring_is_absent(ring))
		return ring->offset || ring->log_entries || ring->log_stride || ring->max_sge ?
			PVHCA_ST_INVALID :
			PVHCA_ST_OK;
	if (ring->log_entries > PVHCA_RING_MAX_LOG_ENTRIES ||
	    ring->log_stride > PVHCA_RING_MAX_LOG_STRIDE || ring->max_wr > 1u << ring->log_entries)
		return PVHCA_ST_INVALID;
	if (ring->max_wr > max_wr)
		return commands_quota(vm, "max-wr", max_wr);
	ring_end = ring->offset + (1ull << (ring->log_entries + ring->log_stride));
	if (ring_end > *end)
		*end = ring_end;
	return PVHCA_ST_OK;
}

bool commands_rings_overlap(const struct ring_params *a, const struct ring_params *b)
{
	uint64_t a_end = a->offset + (1ull << (a->log_entries + a->log_stride));
	uint64_t b_end = b->offset + (1ull << (b->log_entries + b->log_stride));

	return !commands_ring_is_absent(a) && !commands_ring_is_absent(b) && a->offset < b_end &&
		b->offset < a_end;
}

int commands_ring_set_up(const struct ring_params *ring, struct work_queue *queue,
			 const struct ring_buffer *buffer, __le32 *pi)
{
	if (commands_ring_is_absent(ring))
		return PVHCA_ST_OK;
	return work_queue_init(queue, buffer, pi, ring->offset, ring->log_entries, ring->log_stride,
			       ring->min_log_stride, ring->data_offset, ring->max_sge);
}

int commands_ring_check_kernel(const struct context *context)
{
	if (context->kernel && !(context->vm->ops->kernel_caps & PVHCA_KERNEL_QP))
		return PVHCA_ST_UNSUPPORTED;
	return PVHCA_ST_OK;
}
