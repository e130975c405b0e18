/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries of work queues as most are: with one piece of memory, and no longer than the
 * shortest stride. One load reads such an entry, and what is looked at is the copy: the guest
 * may write to its memory at any time.
 *
 * An entry that is not plain, or makes no sense, is left to vm/work_queue.h, which knows all of
 * them and tells what is wrong with one.
 */
#ifndef HOSTD_VM_PLAIN_H
#define HOSTD_VM_PLAIN_H

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "vm/work_queue.h"

#define PLAIN_ATOMICS (1u << PVHCA_WQE_ATOMIC_CMP_SWP | 1u << PVHCA_WQE_ATOMIC_FETCH_ADD)

struct plain_send {
	struct pvhca_sq_wqe wqe;
	union {
		struct pvhca_sge sge;
		struct {
			struct pvhca_atomic_seg atomic;
			struct pvhca_sge result;
		};
	};
};

_Static_assert(sizeof(struct plain_send) == 1 << PVHCA_SQ_MIN_LOG_STRIDE, "one load of an entry");

struct plain_receive {
	struct pvhca_rq_wqe wqe;
	struct pvhca_sge sge;
};

_Static_assert(sizeof(struct plain_receive) == 1 << PVHCA_RQ_MIN_LOG_STRIDE, "likewise");

/* Copy the entry at a free-running index. */
static inline void plain_load_send(const struct work_queue *queue, uint32_t index,
				   struct plain_send *entry)
{
	memcpy(entry, work_queue_entry(queue, index), sizeof(*entry));
	/* What was checked is what is used. */
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void plain_load_receive(const struct work_queue *queue, uint32_t index,
				      struct plain_receive *entry)
{
	memcpy(entry, work_queue_entry(queue, index), sizeof(*entry));
	atomic_signal_fence(memory_order_seq_cst);
}

/* The bit of its opcode; 0: it is none of opcodes, or its fixed part makes no sense. */
static inline uint32_t plain_opcode(const struct plain_send *entry, uint32_t opcodes)
{
	if (entry->wqe.opcode >= PVHCA_WQE_OPCODES || entry->wqe.flags & ~PVHCA_WQE_F_MASK ||
	    entry->wqe.reserved)
		return 0;
	return 1u << entry->wqe.opcode & opcodes;
}

/* Where its piece of memory stands; bit: of its opcode. */
static inline const struct pvhca_sge *plain_sge(const struct plain_send *entry, uint32_t bit)
{
	return bit & PLAIN_ATOMICS ? &entry->result : &entry->sge;
}

/* It has one piece of memory; the queue's max_sge is not 0. */
static inline bool plain_send_has_one(const struct plain_send *entry)
{
	return entry->wqe.num_sge == htole16(1) && !entry->wqe.inline_len &&
		!(entry->wqe.flags & PVHCA_WQE_F_INLINE);
}

static inline bool plain_receive_has_one(const struct plain_receive *entry)
{
	return entry->wqe.num_sge == htole16(1) && !entry->wqe.reserved0 && !entry->wqe.reserved1;
}

#endif
