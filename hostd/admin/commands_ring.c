// SPDX-License-Identifier: GPL-2.0-or-later
#include "admin/commands_ring.h"

#include "admin/commands.h"

bool ring_wish_is_absent(const struct ring_wish *wish)
{
	return !wish->max_wr;
}

int ring_wish_check(struct vm *vm, const struct ring_wish *wish, uint64_t *end)
{
	uint32_t max_wr = vm->policy->quota.max_wr;
	uint64_t ring_end;

	if (ring_wish_is_absent(wish))
		return wish->offset || wish->log_entries || wish->log_stride || wish->max_sge ?
			PVHCA_ST_INVALID :
			PVHCA_ST_OK;
	if (wish->log_entries > PVHCA_RING_MAX_LOG_ENTRIES ||
	    wish->log_stride > PVHCA_RING_MAX_LOG_STRIDE || wish->max_wr > 1u << wish->log_entries)
		return PVHCA_ST_INVALID;
	if (wish->max_wr > max_wr)
		return commands_quota(vm, "max-wr", max_wr);
	ring_end = wish->offset + (1ull << (wish->log_entries + wish->log_stride));
	if (ring_end > *end)
		*end = ring_end;
	return PVHCA_ST_OK;
}

bool ring_wishes_overlap(const struct ring_wish *a, const struct ring_wish *b)
{
	uint64_t a_end = a->offset + (1ull << (a->log_entries + a->log_stride));
	uint64_t b_end = b->offset + (1ull << (b->log_entries + b->log_stride));

	return !ring_wish_is_absent(a) && !ring_wish_is_absent(b) && a->offset < b_end &&
		b->offset < a_end;
}

int ring_wish_set_up(const struct ring_wish *wish, struct work_queue *queue,
		     const struct ring_buffer *buffer, __le32 *pi)
{
	if (ring_wish_is_absent(wish))
		return PVHCA_ST_OK;
	return work_queue_init(queue, buffer, pi, wish->offset, wish->log_entries, wish->log_stride,
			       wish->min_log_stride, wish->data_offset, wish->max_sge);
}
