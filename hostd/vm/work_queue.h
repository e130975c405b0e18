/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Send and receive queues in guest memory (pvhca-ring.h): the posted entries, and
 * private, checked copies of them.
 */
#ifndef HOSTD_VM_WORK_QUEUE_H
#define HOSTD_VM_WORK_QUEUE_H

#include <stdatomic.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "pvhca/pvhca-admin.h"
#include "pvhca/pvhca-kring.h"
#include "vm/ring.h"

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
 * Set a queue up with the geometry of a create command. PVHCA_ST_INVALID: it breaks the
 * rules of pvhca-ring.h (powers of two, limits, alignment, inside the buffer, behind the
 * header, stride big enough for data_offset and max_sge SGEs). pi: &header->sq_pi or rq_pi.
 */
int work_queue_init(struct work_queue *queue, const struct ring_buffer *buffer, __le32 *pi,
		    uint32_t offset, unsigned int log_entries, unsigned int log_stride,
		    unsigned int min_log_stride, unsigned int data_offset, uint32_t max_sge);

/* Both sides begin at index 0; the guest's producer index is 0 too. */
void work_queue_reset(struct work_queue *queue);

/*
 * The guest's producer index. It is loaded after the swap that took the queue's bit, and that order is of the ring's
 * argument (providers/pvhca/ring.h). A load-acquire might pass the swap's store where that is an instruction of its own, as on
 * arm64; one that is sequentially consistent does not, and costs no barrier.
 */
static inline uint32_t work_queue_index_posted(const struct work_queue *queue)
{
	return atomic_load_explicit(queue->pi, memory_order_seq_cst);
}

/*
 * The number of entries that are posted and not taken. UINT32_MAX: the guest claims more
 * than the queue holds, and the caller stops its QP.
 */
static inline uint32_t work_queue_posted(const struct work_queue *queue)
{
	uint32_t posted;

	if (!queue->entries)
		return 0;
	posted = work_queue_index_posted(queue) - queue->ci;
	return posted <= queue->entries ? posted : UINT32_MAX;
}

/* Remember how far the queue goes now. In the worker, without a lock. */
static inline void work_queue_look(struct work_queue *queue)
{
	if (queue->entries)
		__atomic_store_n(&queue->seen, work_queue_index_posted(queue), __ATOMIC_RELAXED);
}

/* How many of the posted entries, a valid number, were there at the last look. */
static inline uint32_t work_queue_seen(const struct work_queue *queue, uint32_t posted)
{
	uint32_t seen = __atomic_load_n(&queue->seen, __ATOMIC_RELAXED) - queue->ci;

	/* Beyond the queue: the entries seen have been taken, or there was a reset. */
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

/* A checked private copy of a send queue entry; host endian. */
struct send_request {
	uint8_t opcode; /* enum pvhca_wqe_opcode */
	uint8_t flags;	/* PVHCA_WQE_F_* */
	uint16_t index; /* place in the queue, for the CQE */
	uint16_t num_sge;
	uint16_t data_offset; /* of inline data in the entry */
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
		struct av av;		  /* with F_AV; values are not checked */
	};
};

/* In the set of opcodes: PVHCA_WQE_F_AV is allowed, too, with sends. */
#define SEND_ALLOW_AV (1u << 31)

/*
 * Copy and check the send entry at a free-running index. SGEs go to sge[] (room for
 * queue->max_sge), inline data to data (room for the stride); NULL: they stay where they are
 * (work_queue_inline_data()). Returns IBV_WC_SUCCESS or
 * the status to complete it with: LOC_QP_OP_ERR (unknown opcode or flag, reserved set,
 * opcode not one of the bits in opcodes, no room for its segment) or LOC_LEN_ERR.
 * request->index and flags are always valid.
 */
enum ibv_wc_status work_queue_take_send(const struct work_queue *queue, uint32_t index,
					uint32_t opcodes, struct send_request *request,
					struct ibv_sge *sge, void *data);

/* Inline data of such a request in guest memory, where they may change at any time. */
static inline uint8_t *work_queue_inline_data(const struct work_queue *queue, uint32_t index,
					      const struct send_request *request)
{
	return (uint8_t *)work_queue_entry(queue, index) + request->data_offset;
}

struct recv_request {
	uint16_t tag;
	uint16_t num_sge;
	uint64_t length; /* sum of the SGEs */
};

/* Likewise for a receive entry. */
enum ibv_wc_status work_queue_take_recv(const struct work_queue *queue, uint32_t index,
					struct recv_request *request, struct ibv_sge *sge);

#endif
