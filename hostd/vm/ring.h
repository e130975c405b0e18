/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings in guest memory (pvhca-ring.h), as pvhcad reads them: addressed granule
 * by granule, so that no ring needs a mapping of its own.
 */
#ifndef HOSTD_VM_RING_H
#define HOSTD_VM_RING_H

#include <stdint.h>

#include "lib/av.h"
#include "pvhca/pvhca-admin.h"
#include "pvhca/pvhca-kring.h"
#include "memory/extents.h"

struct heap;

/**
 * struct ring_buffer - guest memory of rings
 * @regions: that it lies in, referenced
 * @granule: address of each 4 KiB
 */
struct ring_buffer {
	struct region **regions;
	uint32_t num_regions;
	uint32_t granules;
	uint8_t *granule[];
};

/*
 * Takes extents over, also on failure; keeps their regions and nothing else of them. NULL: no
 * memory.
 */
struct ring_buffer *ring_buffer_new(struct heap *heap, struct extents *extents);
void ring_buffer_free(struct ring_buffer *buffer);

static inline void *ring_buffer_at(const struct ring_buffer *buffer, uint64_t offset)
{
	return buffer->granule[offset >> PVHCA_GRANULE_SHIFT] + (offset & (PVHCA_GRANULE - 1));
}

/*
 * An address vector of an entry or a command. Surplus bits of the service level and the flow
 * label are dropped, as adapters do; no value is checked.
 */
void ring_read_av(const struct pvhca_av *from, struct av *to);

/* enum pvhca_cqe_opcode that completes an enum pvhca_wqe_opcode. */
static inline uint8_t ring_cqe_opcode(uint8_t wqe_opcode)
{
	static const uint8_t opcodes[PVHCA_WQE_OPCODES] = {
		[PVHCA_WQE_SEND] = PVHCA_CQE_SEND,
		[PVHCA_WQE_SEND_IMM] = PVHCA_CQE_SEND,
		[PVHCA_WQE_SEND_INV] = PVHCA_CQE_SEND,
		[PVHCA_WQE_WRITE] = PVHCA_CQE_WRITE,
		[PVHCA_WQE_WRITE_IMM] = PVHCA_CQE_WRITE,
		[PVHCA_WQE_READ] = PVHCA_CQE_READ,
		[PVHCA_WQE_ATOMIC_CMP_SWP] = PVHCA_CQE_COMP_SWAP,
		[PVHCA_WQE_ATOMIC_FETCH_ADD] = PVHCA_CQE_FETCH_ADD,
		[PVHCA_WQE_LOCAL_INV] = PVHCA_CQE_LOCAL_INV,
		[PVHCA_WQE_BIND_MW] = PVHCA_CQE_BIND_MW,
		[PVHCA_WQE_REG_MR] = PVHCA_CQE_REG_MR,
	};

	return wqe_opcode < PVHCA_WQE_OPCODES ? opcodes[wqe_opcode] : PVHCA_CQE_SEND;
}

#endif
