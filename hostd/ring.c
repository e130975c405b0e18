// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rings in guest memory: geometry, and private, checked copies of their entries.
 *
 * What a guest writes may change under us at any moment. Everything is read
 * once into a local copy; only the copy is checked and used.
 */
#include <endian.h>
#include <stdlib.h>

#include "pvhca/pvhca-admin.h"
#include "ring.h"

struct ring_buffer *ring_buffer_new(struct extents *extents)
{
	struct ring_buffer *buffer;
	uint64_t granules = extents->length >> PVHCA_GRANULE_SHIFT;
	uint32_t i, granule = 0;
	uint64_t at;

	if (granules > UINT32_MAX ||
	    extents->length & (PVHCA_GRANULE - 1))
		goto err_free_extents;
	buffer = malloc(sizeof(*buffer) + granules * sizeof(buffer->granule[0]));
	if (!buffer)
		goto err_free_extents;

	buffer->extents = extents;
	buffer->granules = granules;
	for (i = 0; i < extents->count; i++)
		for (at = 0; at < extents->extent[i].len; at += PVHCA_GRANULE)
			buffer->granule[granule++] =
				extents->extent[i].host + at;
	return buffer;

err_free_extents:
	extents_free(extents);
	return NULL;
}

void ring_buffer_free(struct ring_buffer *buffer)
{
	if (!buffer)
		return;
	extents_free(buffer->extents);
	free(buffer);
}

int work_queue_init(struct work_queue *queue, const struct ring_buffer *buffer,
		    __le32 *pi, uint32_t offset, unsigned int log_entries,
		    unsigned int log_stride, unsigned int min_log_stride,
		    unsigned int data_offset, uint32_t max_sge)
{
	uint64_t stride, end;

	if (log_entries > PVHCA_RING_MAX_LOG_ENTRIES ||
	    log_stride < min_log_stride ||
	    log_stride > PVHCA_RING_MAX_LOG_STRIDE)
		return PVHCA_ST_INVALID;
	stride = 1ull << log_stride;
	end = offset + (stride << log_entries);
	if (offset < PVHCA_QUEUE_HEADER_SIZE || offset & (stride - 1) ||
	    end > (uint64_t)buffer->granules << PVHCA_GRANULE_SHIFT ||
	    max_sge > (stride - data_offset) / sizeof(struct pvhca_sge))
		return PVHCA_ST_INVALID;

	*queue = (struct work_queue) {
		.buffer = buffer,
		.pi = (_Atomic uint32_t *)pi,
		.entries = 1u << log_entries,
		.log_stride = log_stride,
		.offset = offset,
		.max_sge = max_sge,
	};
	return PVHCA_ST_OK;
}

void work_queue_reset(struct work_queue *queue)
{
	queue->ci = 0;
}

/* Copy an SGE list; returns the sum of the lengths. */
static uint64_t take_sges(const struct pvhca_sge *from, unsigned int num_sge,
			  struct ibv_sge *to)
{
	struct pvhca_sge sge;
	uint64_t length = 0;
	unsigned int i;

	for (i = 0; i < num_sge; i++) {
		memcpy(&sge, &from[i], sizeof(sge));
		to[i].addr = le64toh(sge.addr);
		to[i].length = le32toh(sge.length);
		to[i].lkey = le32toh(sge.lkey);
		length += to[i].length;
	}
	return length;
}

static bool opcode_is_atomic(uint8_t opcode)
{
	return opcode == PVHCA_WQE_ATOMIC_CMP_SWP ||
	       opcode == PVHCA_WQE_ATOMIC_FETCH_ADD;
}

enum ibv_wc_status send_request_take(const struct work_queue *queue,
				     uint32_t index, uint32_t opcodes,
				     struct send_request *request,
				     struct ibv_sge *sge, void *data)
{
	const uint8_t *entry = work_queue_entry(queue, index);
	uint32_t room = (1u << queue->log_stride) - PVHCA_SQ_WQE_DATA;
	struct pvhca_atomic_seg atomic;
	struct pvhca_sq_wqe wqe;

	memcpy(&wqe, entry, sizeof(wqe));
	entry += PVHCA_SQ_WQE_DATA;

	request->opcode = wqe.opcode;
	request->flags = wqe.flags;
	request->index = work_queue_index(queue, index);
	request->num_sge = le16toh(wqe.num_sge);
	request->inline_len = le32toh(wqe.inline_len);
	request->imm_data = wqe.imm_data;
	request->inv_rkey = le32toh(wqe.inv_rkey);
	request->rkey = le32toh(wqe.rkey);
	request->ah = le32toh(wqe.ah);
	request->remote_addr = le64toh(wqe.remote_addr);
	request->remote_qpn = le32toh(wqe.remote_qpn);
	request->remote_qkey = le32toh(wqe.remote_qkey);
	request->length = 0;

	if (wqe.opcode >= PVHCA_WQE_OPCODES || !(opcodes & 1u << wqe.opcode) ||
	    wqe.flags & ~PVHCA_WQE_F_MASK || wqe.reserved)
		return IBV_WC_LOC_QP_OP_ERR;

	if (opcode_is_atomic(wqe.opcode)) {
		if (wqe.flags & PVHCA_WQE_F_INLINE || room < sizeof(atomic))
			return IBV_WC_LOC_QP_OP_ERR;
		memcpy(&atomic, entry, sizeof(atomic));
		request->compare_add = le64toh(atomic.compare_add);
		request->swap = le64toh(atomic.swap);
		entry += sizeof(atomic);
		room -= sizeof(atomic);
	}
	if (wqe.flags & PVHCA_WQE_F_INLINE) {
		if (request->num_sge || request->inline_len > room)
			return IBV_WC_LOC_LEN_ERR;
		memcpy(data, entry, request->inline_len);
		request->length = request->inline_len;
		return IBV_WC_SUCCESS;
	}
	if (request->inline_len)
		return IBV_WC_LOC_QP_OP_ERR;
	if (request->num_sge > queue->max_sge ||
	    request->num_sge * sizeof(struct pvhca_sge) > room)
		return IBV_WC_LOC_QP_OP_ERR;
	request->length = take_sges((const struct pvhca_sge *)entry,
				    request->num_sge, sge);
	return IBV_WC_SUCCESS;
}

enum ibv_wc_status recv_request_take(const struct work_queue *queue,
				     uint32_t index,
				     struct recv_request *request,
				     struct ibv_sge *sge)
{
	const uint8_t *entry = work_queue_entry(queue, index);
	struct pvhca_rq_wqe wqe;

	memcpy(&wqe, entry, sizeof(wqe));
	request->tag = le16toh(wqe.tag);
	request->num_sge = le16toh(wqe.num_sge);
	request->length = 0;
	if (wqe.reserved0 || wqe.reserved1 ||
	    request->num_sge > queue->max_sge)
		return IBV_WC_LOC_QP_OP_ERR;
	request->length = take_sges((const struct pvhca_sge *)
				    (entry + PVHCA_RQ_WQE_DATA),
				    request->num_sge, sge);
	return IBV_WC_SUCCESS;
}

uint8_t ring_cqe_opcode(uint8_t wqe_opcode)
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
	};

	return wqe_opcode < PVHCA_WQE_OPCODES ? opcodes[wqe_opcode] :
						PVHCA_CQE_SEND;
}
