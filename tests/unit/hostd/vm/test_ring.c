// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <endian.h>
#include <stdlib.h>

#include "pvhca/pvhca-admin.h"
#include "memory/memory.h"
#include "vm/work_queue.h"
#include "suite.h"

#define BUFFER_SIZE (8 * PVHCA_GRANULE)
#define EXTENTS	    8u

static unsigned int freed;

void extents_get(struct extents *extents)
{
	(void)extents;
}

void extents_put(struct extents *extents)
{
	freed++;
	free(extents);
}

void memory_region_get(struct region *region)
{
	atomic_fetch_add(&region->refs, 1);
}

void memory_region_put(struct region *region)
{
	atomic_fetch_sub(&region->refs, 1);
}

static struct region regions[2];
static uint8_t *memory;
static struct ring_buffer *buffer;
static struct work_queue queue;
static struct send_request request;
static struct ibv_sge sge[16];
static uint8_t data[PVHCA_GRANULE];

/* Extents in reversed order, so that granules are not contiguous, and of two regions in turn. */
static struct extents *make_extents(void)
{
	struct extents *extents = calloc(1, sizeof(*extents) + EXTENTS * sizeof(struct extent));
	uint32_t i;

	extents->count = EXTENTS;
	extents->length = BUFFER_SIZE;
	for (i = 0; i < EXTENTS; i++)
		extents->extent[i] = (struct extent){
			.host = memory + (EXTENTS - 1 - i) * (BUFFER_SIZE / EXTENTS),
			.start = i * (BUFFER_SIZE / EXTENTS),
			.len = BUFFER_SIZE / EXTENTS,
			.region = &regions[i / 2 % 2],
		};
	return extents;
}

static int init_queue(uint32_t offset, unsigned int log_entries, unsigned int log_stride,
		      uint32_t max_sge)
{
	struct pvhca_queue_header *header = ring_buffer_at(buffer, 0);

	return work_queue_init(&queue, buffer, &header->sq_pi, offset, log_entries, log_stride,
			       PVHCA_SQ_MIN_LOG_STRIDE, PVHCA_SQ_WQE_DATA, max_sge);
}

static void setup(void)
{
	freed = 0;
	memory = aligned_alloc(PVHCA_GRANULE, BUFFER_SIZE);
	memset(memory, 0, BUFFER_SIZE);
	buffer = ring_buffer_new(NULL, make_extents());
	ck_assert_ptr_nonnull(buffer);
	ck_assert_int_eq(init_queue(256, 4, 7, 4), PVHCA_ST_OK);
	memset(&request, 0, sizeof(request));
}

static void teardown(void)
{
	ck_assert_uint_eq(freed, 1);
	ck_assert_uint_eq(buffer->num_regions, 2);
	ck_assert_uint_eq(regions[0].refs, 1);
	ck_assert_uint_eq(regions[1].refs, 1);
	ring_buffer_free(buffer);
	ck_assert_uint_eq(regions[0].refs, 0);
	ck_assert_uint_eq(regions[1].refs, 0);
	free(memory);
}

static struct pvhca_sq_wqe *entry(uint32_t index)
{
	return (struct pvhca_sq_wqe *)work_queue_entry(&queue, index);
}

static enum ibv_wc_status take(uint32_t index)
{
	return work_queue_take_send(&queue, index, ~SEND_ALLOW_AV, &request, sge, data);
}

START_TEST(a_buffer_is_addressed_granule_by_granule)
{
	ck_assert_ptr_eq(ring_buffer_at(buffer, 5), memory + 7 * PVHCA_GRANULE + 5);
	ck_assert_ptr_eq(ring_buffer_at(buffer, BUFFER_SIZE / 2 + 9),
			 memory + 3 * PVHCA_GRANULE + 9);
}
END_TEST

START_TEST(geometry_outside_the_rules_is_refused)
{
	ck_assert_int_eq(init_queue(0, 4, 7, 4), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256 + 8, 4, 7, 4), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256, 16, 7, 4), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256, 4, 5, 0), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256, 4, 13, 4), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256, 8, 7, 4), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256, 4, 7, 7), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(0xffffff80u, 4, 7, 4), PVHCA_ST_INVALID);
	ck_assert_int_eq(init_queue(256, 4, 7, 6), PVHCA_ST_OK);
}
END_TEST

START_TEST(more_posted_than_the_queue_holds_is_noticed)
{
	queue.ci = UINT32_MAX - 3;
	*queue.pi = queue.ci + 16;
	ck_assert_uint_eq(work_queue_posted(&queue), 16);
	*queue.pi = queue.ci + 17;
	ck_assert_uint_eq(work_queue_posted(&queue), UINT32_MAX);
	*queue.pi = queue.ci - 1;
	ck_assert_uint_eq(work_queue_posted(&queue), UINT32_MAX);
}
END_TEST

START_TEST(indices_wrap_around_the_ring)
{
	ck_assert_ptr_eq(work_queue_entry(&queue, 3), work_queue_entry(&queue, 3 + 16));
	ck_assert_uint_eq(work_queue_index(&queue, UINT32_MAX), 15);
}
END_TEST

START_TEST(a_send_entry_is_read_field_by_field)
{
	struct pvhca_sq_wqe *wqe = entry(18);
	struct pvhca_sge *from = (struct pvhca_sge *)(wqe + 1);

	wqe->opcode = PVHCA_WQE_WRITE_IMM;
	wqe->flags = PVHCA_WQE_F_SIGNALED;
	wqe->num_sge = htole16(2);
	wqe->imm_data = htobe32(0x01020304);
	wqe->rkey = htole32(77);
	wqe->remote_addr = htole64(0x123456789abcull);
	from[0] = (struct pvhca_sge){ htole64(0x1000), htole32(10), htole32(5) };
	from[1] = (struct pvhca_sge){ htole64(0x2000), htole32(UINT32_MAX), htole32(6) };

	ck_assert_int_eq(take(18), IBV_WC_SUCCESS);
	ck_assert_uint_eq(request.index, 2);
	ck_assert_uint_eq(request.opcode, PVHCA_WQE_WRITE_IMM);
	ck_assert_uint_eq(request.imm_data, htobe32(0x01020304));
	ck_assert_uint_eq(request.rkey, 77);
	ck_assert_uint_eq(request.remote_addr, 0x123456789abcull);
	ck_assert_uint_eq(request.num_sge, 2);
	ck_assert_uint_eq(request.length, 10ull + UINT32_MAX);
	ck_assert_uint_eq(sge[1].addr, 0x2000);
	ck_assert_uint_eq(sge[1].lkey, 6);
}
END_TEST

START_TEST(inline_data_are_copied_out_of_the_entry)
{
	struct pvhca_sq_wqe *wqe = entry(0);

	wqe->opcode = PVHCA_WQE_SEND;
	wqe->flags = PVHCA_WQE_F_INLINE;
	wqe->inline_len = htole32(96);
	memset(wqe + 1, 0xab, 96);
	ck_assert_int_eq(take(0), IBV_WC_SUCCESS);
	ck_assert_uint_eq(request.length, 96);
	ck_assert_uint_eq(data[95], 0xab);
	wqe->inline_len = htole32(97);
	ck_assert_int_eq(take(0), IBV_WC_LOC_LEN_ERR);
	wqe->inline_len = htole32(UINT32_MAX);
	ck_assert_int_eq(take(0), IBV_WC_LOC_LEN_ERR);
	wqe->inline_len = htole32(8);
	wqe->num_sge = htole16(1);
	ck_assert_int_eq(take(0), IBV_WC_LOC_LEN_ERR);
}
END_TEST

START_TEST(too_many_sges_are_refused_before_they_are_read)
{
	struct pvhca_sq_wqe *wqe = entry(1);

	wqe->num_sge = htole16(5);
	ck_assert_int_eq(take(1), IBV_WC_LOC_QP_OP_ERR);
	wqe->num_sge = htole16(UINT16_MAX);
	ck_assert_int_eq(take(1), IBV_WC_LOC_QP_OP_ERR);
	wqe->num_sge = htole16(4);
	ck_assert_int_eq(take(1), IBV_WC_SUCCESS);
}
END_TEST

START_TEST(unknown_opcodes_flags_and_reserved_fields_are_refused)
{
	struct pvhca_sq_wqe *wqe = entry(1);

	wqe->opcode = PVHCA_WQE_OPCODES;
	ck_assert_int_eq(take(1), IBV_WC_LOC_QP_OP_ERR);
	wqe->opcode = 0xff;
	ck_assert_int_eq(take(1), IBV_WC_LOC_QP_OP_ERR);
	wqe->opcode = PVHCA_WQE_SEND;
	wqe->flags = 0x10;
	ck_assert_int_eq(take(1), IBV_WC_LOC_QP_OP_ERR);
	wqe->flags = 0;
	wqe->reserved = 1;
	ck_assert_int_eq(take(1), IBV_WC_LOC_QP_OP_ERR);
	wqe->reserved = 0;
	ck_assert_int_eq(work_queue_take_send(&queue, 1, 1u << PVHCA_WQE_WRITE, &request, sge,
					      data),
			 IBV_WC_LOC_QP_OP_ERR);
	ck_assert_uint_eq(request.index, 1);
}
END_TEST

START_TEST(an_atomic_entry_has_its_operands_before_the_sge)
{
	struct pvhca_sq_wqe *wqe = entry(4);
	struct pvhca_atomic_seg *atomic = (struct pvhca_atomic_seg *)(wqe + 1);
	struct pvhca_sge *from = (struct pvhca_sge *)(atomic + 1);

	wqe->opcode = PVHCA_WQE_ATOMIC_CMP_SWP;
	wqe->num_sge = htole16(1);
	atomic->compare_add = htole64(11);
	atomic->swap = htole64(12);
	from->length = htole32(8);
	ck_assert_int_eq(take(4), IBV_WC_SUCCESS);
	ck_assert_uint_eq(request.compare_add, 11);
	ck_assert_uint_eq(request.swap, 12);
	ck_assert_uint_eq(sge[0].length, 8);
	wqe->flags = PVHCA_WQE_F_INLINE;
	ck_assert_int_eq(take(4), IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(a_bind_has_its_segment_and_no_data)
{
	struct pvhca_sq_wqe *wqe = entry(4);
	struct pvhca_bind_seg *seg = (struct pvhca_bind_seg *)(wqe + 1);

	wqe->opcode = PVHCA_WQE_BIND_MW;
	*seg = (struct pvhca_bind_seg){
		htole64(1), htole64(2), htole32(3), htole32(4), htole32(5), htole32(6),
	};
	ck_assert_int_eq(take(4), IBV_WC_SUCCESS);
	ck_assert_uint_eq(request.bind.addr, 1);
	ck_assert_uint_eq(request.bind.length, 2);
	ck_assert_uint_eq(request.bind.mr_handle, 3);
	ck_assert_uint_eq(request.bind.mw_handle, 4);
	ck_assert_uint_eq(request.bind.rkey, 5);
	ck_assert_uint_eq(request.bind.access, 6);
	ck_assert_uint_eq(request.length, 0);
	wqe->num_sge = htole16(1);
	ck_assert_int_eq(take(4), IBV_WC_LOC_QP_OP_ERR);
	wqe->num_sge = 0;
	wqe->flags = PVHCA_WQE_F_INLINE;
	ck_assert_int_eq(take(4), IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(a_registration_has_its_segment_if_there_is_room)
{
	struct pvhca_sq_wqe *wqe = entry(4);
	struct pvhca_reg_seg *seg = (struct pvhca_reg_seg *)(wqe + 1);

	wqe->opcode = PVHCA_WQE_REG_MR;
	*seg = (struct pvhca_reg_seg){
		.iova = htole64(1),
		.length = htole64(2),
		.pages = htole64(3),
		.mr_handle = htole32(4),
		.key = htole32(5),
		.access = htole32(6),
		.num_pages = htole32(7),
		.log_page_size = 12,
	};
	ck_assert_int_eq(take(4), IBV_WC_SUCCESS);
	ck_assert_uint_eq(request.reg.iova, 1);
	ck_assert_uint_eq(request.reg.length, 2);
	ck_assert_uint_eq(request.reg.pages, 3);
	ck_assert_uint_eq(request.reg.mr_handle, 4);
	ck_assert_uint_eq(request.reg.key, 5);
	ck_assert_uint_eq(request.reg.access, 6);
	ck_assert_uint_eq(request.reg.num_pages, 7);
	ck_assert_uint_eq(request.reg.log_page_size, 12);
	seg->reserved[6] = 1;
	ck_assert_int_eq(take(4), IBV_WC_LOC_QP_OP_ERR);
	/* 64 bytes hold no segment of 48. */
	ck_assert_int_eq(init_queue(256, 4, 6, 2), PVHCA_ST_OK);
	memset(entry(4), 0, 64);
	entry(4)->opcode = PVHCA_WQE_REG_MR;
	ck_assert_int_eq(take(4), IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(an_address_in_the_entry_is_for_those_who_may)
{
	struct pvhca_sq_wqe *wqe = entry(4);
	struct pvhca_av *av = (struct pvhca_av *)(wqe + 1);
	struct pvhca_sge *from = (struct pvhca_sge *)(av + 1);
	const uint32_t all = UINT32_MAX;

	wqe->opcode = PVHCA_WQE_SEND;
	wqe->flags = PVHCA_WQE_F_AV;
	wqe->num_sge = htole16(1);
	av->sgid_index = 3;
	from->length = htole32(8);
	ck_assert_int_eq(take(4), IBV_WC_LOC_QP_OP_ERR);
	ck_assert_int_eq(work_queue_take_send(&queue, 4, all, &request, sge, data), IBV_WC_SUCCESS);
	ck_assert_uint_eq(request.av.sgid_index, 3);
	ck_assert_uint_eq(sge[0].length, 8);
	wqe->ah = htole32(1);
	ck_assert_int_eq(work_queue_take_send(&queue, 4, all, &request, sge, data),
			 IBV_WC_LOC_QP_OP_ERR);
	wqe->ah = 0;
	wqe->opcode = PVHCA_WQE_WRITE;
	ck_assert_int_eq(work_queue_take_send(&queue, 4, all, &request, sge, data),
			 IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(what_was_seen_is_no_more_than_what_is_posted)
{
	*queue.pi = 3;
	ck_assert_uint_eq(work_queue_seen(&queue, 3), 0);
	work_queue_look(&queue);
	*queue.pi = 5;
	ck_assert_uint_eq(work_queue_seen(&queue, 5), 3);
	ck_assert_uint_eq(work_queue_seen(&queue, 2), 2);
	queue.ci = 4;
	ck_assert_uint_eq(work_queue_seen(&queue, 1), 0);
	work_queue_reset(&queue);
	ck_assert_uint_eq(work_queue_seen(&queue, 5), 0);
}
END_TEST

START_TEST(each_operation_completes_as_itself)
{
	ck_assert_uint_eq(ring_cqe_opcode(PVHCA_WQE_REG_MR), PVHCA_CQE_REG_MR);
	ck_assert_uint_eq(ring_cqe_opcode(PVHCA_WQE_BIND_MW), PVHCA_CQE_BIND_MW);
	ck_assert_uint_eq(ring_cqe_opcode(PVHCA_WQE_OPCODES), PVHCA_CQE_SEND);
}
END_TEST

START_TEST(a_receive_entry_is_checked)
{
	struct pvhca_rq_wqe *wqe = (struct pvhca_rq_wqe *)entry(2);
	struct recv_request recv;

	wqe->num_sge = htole16(1);
	wqe->tag = htole16(2);
	((struct pvhca_sge *)(wqe + 1))->length = htole32(99);
	ck_assert_int_eq(work_queue_take_recv(&queue, 2, &recv, sge), IBV_WC_SUCCESS);
	ck_assert_uint_eq(recv.tag, 2);
	ck_assert_uint_eq(recv.length, 99);
	wqe->num_sge = htole16(5);
	ck_assert_int_eq(work_queue_take_recv(&queue, 2, &recv, sge), IBV_WC_LOC_QP_OP_ERR);
	wqe->num_sge = htole16(1);
	wqe->reserved1 = 1;
	ck_assert_int_eq(work_queue_take_recv(&queue, 2, &recv, sge), IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("ring");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_buffer_is_addressed_granule_by_granule);
	tcase_add_test(tc, geometry_outside_the_rules_is_refused);
	tcase_add_test(tc, more_posted_than_the_queue_holds_is_noticed);
	tcase_add_test(tc, indices_wrap_around_the_ring);
	tcase_add_test(tc, a_send_entry_is_read_field_by_field);
	tcase_add_test(tc, inline_data_are_copied_out_of_the_entry);
	tcase_add_test(tc, too_many_sges_are_refused_before_they_are_read);
	tcase_add_test(tc, unknown_opcodes_flags_and_reserved_fields_are_refused);
	tcase_add_test(tc, an_atomic_entry_has_its_operands_before_the_sge);
	tcase_add_test(tc, a_bind_has_its_segment_and_no_data);
	tcase_add_test(tc, a_registration_has_its_segment_if_there_is_room);
	tcase_add_test(tc, an_address_in_the_entry_is_for_those_who_may);
	tcase_add_test(tc, what_was_seen_is_no_more_than_what_is_posted);
	tcase_add_test(tc, each_operation_completes_as_itself);
	tcase_add_test(tc, a_receive_entry_is_checked);
	return suite_run("ring", tc);
}
