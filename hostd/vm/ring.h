/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings in guest memory (pvhca-ring.h), as pvhcad reads them: addressed granule
 * by granule, so that no ring needs a mapping of its own.
 */
#ifndef HOSTD_VM_RING_H
#define HOSTD_VM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <infiniband/verbs.h>

#include "pvhca/pvhca-admin.h"
#include "rdma/pvhca-ring.h"
#include "memory/memory.h"

/* Guest memory of rings: keeps the extents (and so their regions) mapped. */
struct ring_buffer {
	struct extents *extents; /* owned */
	uint32_t granules;
	uint8_t *granule[]; /* address of each 4 KiB */
};

/*
 * Takes extents over, also on failure. NULL: no memory.
 */
struct ring_buffer *ring_buffer_new(struct extents *extents);
void ring_buffer_free(struct ring_buffer *buffer);

static inline void *ring_buffer_at(const struct ring_buffer *buffer, uint64_t offset)
{
	return buffer->granule[offset >> PVHCA_GRANULE_SHIFT] + (offset & (PVHCA_GRANULE - 1));
}

/**
 * struct work_queue - a send or receive queue
 * @pi: the guest's producer index
 * @ci: next entry pvhcad takes; free running
 * @seen: pi when the worker's pass began; see work_queue_look()
 * @log_entries, @log_stride, @offset: geometry, checked by work_queue_init()
 * @entries: 0: there is no such queue
 */
struct work_queue {
	const struct ring_buffer *buffer;
	_Atomic uint32_t *pi;
	uint32_t ci;
	uint32_t seen;
	uint32_t entries;
	uint32_t log_stride;
	uint32_t offset;
	uint32_t max_sge;
};

/*
 * Geometry from a create command: PVHCA_ST_INVALID if it breaks the rules of pvhca-ring.h (powers of
 * two, limits, alignment, inside the buffer, behind the header, stride big enough for data_offset + max_sge SGEs). pi: &header->sq_pi or rq_pi.
 */
int work_queue_init(struct work_queue *queue, const struct ring_buffer *buffer, __le32 *pi,
		    uint32_t offset, unsigned int log_entries, unsigned int log_stride,
		    unsigned int min_log_stride, unsigned int data_offset, uint32_t max_sge);

/* Both sides begin at index 0; the guest's producer index is 0 too. */
void work_queue_reset(struct work_queue *queue);

/*
 * How many entries are posted and not taken. A guest that claims more than the
 * queue has gets UINT32_MAX: its QP is to be stopped.
 */
static inline uint32_t work_queue_posted(const struct work_queue *queue)
{
	uint32_t posted;

	if (!queue->entries)
		return 0;
	posted = atomic_load_explicit(queue->pi, memory_order_acquire) - queue->ci;
	return posted <= queue->entries ? posted : UINT32_MAX;
}

/* Remember what is posted by now; in the worker, without a lock. */
static inline void work_queue_look(struct work_queue *queue)
{
	if (queue->entries)
		__atomic_store_n(&queue->seen,
				 atomic_load_explicit(queue->pi, memory_order_acquire),
				 __ATOMIC_RELAXED);
}

/* How much of what is posted, a valid number of entries, was so at the last look. */
static inline uint32_t work_queue_seen(const struct work_queue *queue, uint32_t posted)
{
	uint32_t seen = __atomic_load_n(&queue->seen, __ATOMIC_RELAXED) - queue->ci;

	/* Beyond the queue: what was seen has been taken, or there was a reset. */
	if (seen > queue->entries)
		return 0;
	return seen < posted ? seen : posted;
}

static inline uint32_t work_queue_index(const struct work_queue *queue, uint32_t index)
{
	return index & (queue->entries - 1);
}

/* Entry of a free-running index, in guest memory: copy before use. */
static inline const void *work_queue_entry(const struct work_queue *queue, uint32_t index)
{
	return ring_buffer_at(
		queue->buffer,
		queue->offset + ((uint64_t)work_queue_index(queue, index) << queue->log_stride));
}

/* struct pvhca_bind_seg, host endian. */
struct bind_request {
	uint64_t addr;
	uint64_t length;
	uint32_t mr_handle;
	uint32_t mw_handle;
	uint32_t rkey;
	uint32_t access;
};

/* struct pvhca_reg_seg, host endian. */
struct reg_request {
	uint64_t iova;
	uint64_t length;
	uint64_t pages;
	uint32_t mr_handle;
	uint32_t key;
	uint32_t access;
	uint32_t num_pages;
	uint8_t log_page_size;
};

/* A checked private copy of a send queue entry; host endian, but for av. */
struct send_request {
	uint8_t opcode; /* enum pvhca_wqe_opcode */
	uint8_t flags;	/* PVHCA_WQE_F_* */
	uint16_t index; /* place in the queue, for the CQE */
	uint16_t num_sge;
	uint32_t inline_len;
	__be32 imm_data; /* or inv_rkey, host endian */
	uint32_t inv_rkey;
	uint32_t rkey;
	uint64_t remote_addr;
	uint32_t ah;
	uint32_t remote_qpn;
	uint32_t remote_qkey;
	uint64_t compare_add;
	uint64_t swap;
	uint64_t length; /* sum of the SGEs, or inline_len */
	union {
		struct bind_request bind; /* BIND_MW */
		struct reg_request reg;	  /* REG_MR */
		struct pvhca_av av;	  /* with F_AV; values are not checked */
	};
};

/* In the set of opcodes: PVHCA_WQE_F_AV is allowed, too, with sends. */
#define SEND_ALLOW_AV (1u << 31)

/*
 * Copy and check the send entry at a free-running index. SGEs go to sge[] (room for
 * queue->max_sge), inline data to data (room for the stride). Returns IBV_WC_SUCCESS or the status to
 * complete it with: LOC_QP_OP_ERR (unknown opcode or flag, reserved set, opcode not
 * one of the bits in opcodes, no room for its segment), LOC_LEN_ERR. request->index and flags are always valid.
 */
enum ibv_wc_status send_request_take(const struct work_queue *queue, uint32_t index,
				     uint32_t opcodes, struct send_request *request,
				     struct ibv_sge *sge, void *data);

struct recv_request {
	uint16_t tag;
	uint16_t num_sge;
	uint64_t length; /* sum of the SGEs */
};

/* Likewise for a receive entry. */
enum ibv_wc_status recv_request_take(const struct work_queue *queue, uint32_t index,
				     struct recv_request *request, struct ibv_sge *sge);

/* enum pvhca_cqe_opcode that completes an enum pvhca_wqe_opcode. */
uint8_t ring_cqe_opcode(uint8_t wqe_opcode);

#endif
