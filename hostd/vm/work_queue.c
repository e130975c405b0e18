// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Send and receive queues: geometry, and private, checked copies of their entries.
 *
 * The guest may change its memory at any moment. Everything is read once into a local
 * copy, and only the copy is checked and used.
 */
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "pvhca/pvhca-admin.h"
#include "vm/work_queue.h"

int work_queue_init(struct work_queue *queue, const struct ring_buffer *buffer, __le32 *pi,
		    uint32_t offset, unsigned int log_entries, unsigned int log_stride,
		    unsigned int min_log_stride, unsigned int data_offset, uint32_t max_sge)
{
	uint64_t stride, end;

	if (log_entries > PVHCA_RING_MAX_LOG_ENTRIES || log_stride < min_log_stride ||
	    log_stride > PVHCA_RING_MAX_LOG_STRIDE)
		return PVHCA_ST_INVALID;
	stride = 1ull << log_stride;
	end = offset + (stride << log_entries);
	if (offset < PVHCA_QUEUE_HEADER_SIZE || offset & (stride - 1) ||
	    end > (uint64_t)buffer->granules << PVHCA_GRANULE_SHIFT ||
	    max_sge > (stride - data_offset) / sizeof(struct pvhca_sge))
		return PVHCA_ST_INVALID;

	*queue = (struct work_queue){
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
	__atomic_store_n(&queue->seen, 0, __ATOMIC_RELAXED);
}

/* Copy an SGE list; returns the sum of the lengths. */
static uint64_t take_sges(const struct pvhca_sge *from, unsigned int num_sge, struct ibv_sge *to)
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

static void take_atomic(const void *segment, struct send_request *request)
{
	struct pvhca_atomic_seg atomic;

	memcpy(&atomic, segment, sizeof(atomic));
	request->compare_add = le64toh(atomic.compare_add);
	request->swap = le64toh(atomic.swap);
}

static void take_bind(const void *segment, struct bind_request *bind)
{
	struct pvhca_bind_seg seg;

	memcpy(&seg, segment, sizeof(seg));
	*bind = (struct bind_request){
		.addr = le64toh(seg.addr),
		.length = le64toh(seg.length),
		.mr_handle = le32toh(seg.mr_handle),
		.mw_handle = le32toh(seg.mw_handle),
		.rkey = le32toh(seg.rkey),
		.access = le32toh(seg.access),
	};
}

/* False: a reserved field is set. */
static bool take_reg(const void *segment, struct reg_request *reg)
{
	static const uint8_t zero[sizeof(((struct pvhca_reg_seg *)0)->reserved)];
	struct pvhca_reg_seg seg;

	memcpy(&seg, segment, sizeof(seg));
	*reg = (struct reg_request){
		.iova = le64toh(seg.iova),
		.length = le64toh(seg.length),
		.pages = le64toh(seg.pages),
		.mr_handle = le32toh(seg.mr_handle),
		.key = le32toh(seg.key),
		.access = le32toh(seg.access),
		.num_pages = le32toh(seg.num_pages),
		.log_page_size = seg.log_page_size,
	};
	return !memcmp(seg.reserved, zero, sizeof(zero));
}

static bool opcode_is_send(uint8_t opcode)
{
	return opcode == PVHCA_WQE_SEND || opcode == PVHCA_WQE_SEND_IMM;
}

/* Bytes of the segment before the SGE list. */
static uint32_t segment_size(uint8_t opcode, uint8_t flags)
{
	switch (opcode) {
	case PVHCA_WQE_ATOMIC_CMP_SWP:
	case PVHCA_WQE_ATOMIC_FETCH_ADD:
		return sizeof(struct pvhca_atomic_seg);
	case PVHCA_WQE_BIND_MW:
		return sizeof(struct pvhca_bind_seg);
	case PVHCA_WQE_REG_MR:
		return sizeof(struct pvhca_reg_seg);
	default:
		return flags & PVHCA_WQE_F_AV ? sizeof(struct pvhca_av) : 0;
	}
}

/* In guest memory: it is copied before it is read. */
static void take_av(const void *segment, struct av *av)
{
	struct pvhca_av copy;

	memcpy(&copy, segment, sizeof(copy));
	ring_read_av(&copy, av);
}

/* Copy the segment of an operation. False: it makes no sense. */
static bool take_segment(const void *segment, struct send_request *request)
{
	/* These two have no data, those of atomics are not inline. */
	if (request->opcode == PVHCA_WQE_BIND_MW || request->opcode == PVHCA_WQE_REG_MR) {
		if (request->num_sge)
			return false;
	} else if (request->flags & PVHCA_WQE_F_AV) {
		take_av(segment, &request->av);
		return !request->ah;
	}
	if (request->flags & PVHCA_WQE_F_INLINE)
		return false;
	if (request->opcode == PVHCA_WQE_BIND_MW)
		take_bind(segment, &request->bind);
	else if (request->opcode == PVHCA_WQE_REG_MR)
		return take_reg(segment, &request->reg);
	else
		take_atomic(segment, request);
	return true;
}

enum ibv_wc_status work_queue_take_send(const struct work_queue *queue, uint32_t index,
					uint32_t opcodes, struct send_request *request,
					struct ibv_sge *sge, void *data)
{
	const uint8_t *entry = work_queue_entry(queue, index);
	uint32_t room = (1u << queue->log_stride) - PVHCA_SQ_WQE_DATA;
	uint8_t allowed = PVHCA_WQE_F_MASK;
	struct pvhca_sq_wqe wqe;
	uint32_t segment;

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

	if (opcodes & SEND_ALLOW_AV && opcode_is_send(wqe.opcode))
		allowed |= PVHCA_WQE_F_AV;
	if (wqe.opcode >= PVHCA_WQE_OPCODES || !(opcodes & 1u << wqe.opcode) ||
	    wqe.flags & ~allowed || wqe.reserved)
		return IBV_WC_LOC_QP_OP_ERR;

	segment = segment_size(wqe.opcode, wqe.flags);
	if (segment) {
		if (room < segment || !take_segment(entry, request))
			return IBV_WC_LOC_QP_OP_ERR;
		entry += segment;
		room -= segment;
	}
	if (wqe.flags & PVHCA_WQE_F_INLINE) {
		if (request->num_sge || request->inline_len > room)
			return IBV_WC_LOC_LEN_ERR;
		request->data_offset = (1u << queue->log_stride) - room;
		if (data)
			memcpy(data, entry, request->inline_len);
		request->length = request->inline_len;
		return IBV_WC_SUCCESS;
	}
	if (request->inline_len)
		return IBV_WC_LOC_QP_OP_ERR;
	if (request->num_sge > queue->max_sge || request->num_sge * sizeof(struct pvhca_sge) > room)
		return IBV_WC_LOC_QP_OP_ERR;
	request->length = take_sges((const struct pvhca_sge *)entry, request->num_sge, sge);
	return IBV_WC_SUCCESS;
}

enum ibv_wc_status work_queue_take_recv(const struct work_queue *queue, uint32_t index,
					struct recv_request *request, struct ibv_sge *sge)
{
	const uint8_t *entry = work_queue_entry(queue, index);
	struct pvhca_rq_wqe wqe;

	memcpy(&wqe, entry, sizeof(wqe));
	request->tag = le16toh(wqe.tag);
	request->num_sge = le16toh(wqe.num_sge);
	request->length = 0;
	if (wqe.reserved0 || wqe.reserved1 || request->num_sge > queue->max_sge)
		return IBV_WC_LOC_QP_OP_ERR;
	request->length = take_sges((const struct pvhca_sge *)(entry + PVHCA_RQ_WQE_DATA),
				    request->num_sge, sge);
	return IBV_WC_SUCCESS;
}
