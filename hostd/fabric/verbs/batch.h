/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work requests under construction, from a guest's send queue: fabric/verbs/batch.c. */
#ifndef HOSTD_FABRIC_VERBS_BATCH_H
#define HOSTD_FABRIC_VERBS_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <infiniband/verbs.h>

struct pass;
struct qp;

#define VERBS_BATCH	  32u
#define VERBS_BATCH_SGES  512u
#define VERBS_BATCH_BYTES 32768u /* inline data */

/**
 * struct verbs_batch - requests for one call of the engine
 * @wr, @count: a chain. Of a request only what its opcode has is set, the rest is of
 *	earlier ones: engines look no further
 * @sge, @sges, @data, @bytes: their SGEs and inline data
 * @payload, @inlined: bytes that the requests have, and of these in entries
 * @bound: window that the last one binds, or NULL
 * @refused_bind: the entry that was refused was to bind a window
 * @ah_handle, @ah: the address handle that was found last, and what the engine has for it;
 *	NULL: none. It stays for the pass (RCU)
 */
struct verbs_batch {
	struct ibv_send_wr wr[VERBS_BATCH];
	struct ibv_sge sge[VERBS_BATCH_SGES];
	uint8_t data[VERBS_BATCH_BYTES];
	unsigned int count;
	unsigned int sges;
	uint32_t bytes;
	bool refused_bind;
	uint32_t ah_handle;
	struct ibv_ah *ah;
	uint64_t payload;
	uint64_t inlined;
	struct ibv_mw *bound;
};

/*
 * Take the next entries, up to posted of them, as many as fit in a batch and, with a pass, as
 * the turn and the VM's rate have room for. False: the one after them is refused. With
 * qp->lock held.
 */
bool verbs_batch_build(struct verbs_batch *batch, struct pass *pass, struct qp *qp,
		       uint32_t posted);

#endif
