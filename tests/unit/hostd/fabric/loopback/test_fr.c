// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What kernel consumers have on the loopback fabric: fast registration and the
 * key of all memory. a's context is its driver's.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "fabric/loopback/rig.h"
#include "memory/memory.h"

#define IOVA_B	  0x7f1000002000ull
#define RUN	  (4 * PVHCA_GRANULE)
#define RAM	  0x100000ull /* guest-physical */
#define RAM_LEN	  (64 * PVHCA_GRANULE)
#define LIST	  (RAM + 63 * PVHCA_GRANULE)
#define MORE	  0x40000000ull /* where another region is */
#define MAX_PAGES 8
#define IOVA	  0xabc000ull
#define ACCESS	  (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

static struct qp *a, *b;
static struct mr *mr_b, *fr;
static uint8_t *ram;

static void setup(void)
{
	struct region *region;
	int fd;

	rig_setup();
	ck_assert_int_eq(memory_fault_init(), 0);
	rig.a->context.kernel = true;
	fd = memfd_create("ram", 0);
	ck_assert_int_eq(ftruncate(fd, RAM_LEN), 0);
	rig.a->vm.memory = memory_new(NULL);
	ck_assert_int_eq(memory_add(rig.a->vm.memory, RAM, RAM_LEN, 0, PVHCA_GRANULE, fd), 0);
	ram = memory_resolve(rig.a->vm.memory, RAM, RAM_LEN, &region);
	memory_region_put(region);
	a = rig_qp(rig.a);
	b = rig_qp(rig.b);
	mr_b = rig_mr(rig.b, IOVA_B, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
	fr = calloc(1, sizeof(*fr));
	fr->vm = &rig.a->vm;
	fr->pd = &rig.a->pd;
	fr->max_pages = MAX_PAGES;
	ck_assert_int_eq(fabric_loopback.mr_alloc(fr), 0);
	rig_mr_publish(fr);
	rig_connect(a, b);
}

static void teardown(void)
{
	rig_mr_free(fr);
	rig_mr_free(mr_b);
	rig_qp_free(a);
	rig_qp_free(b);
	memory_free(rig.a->vm.memory);
	rig_teardown();
}

/* Pages of the RAM by number, in the list. */
static void set_list(const unsigned int *pages, unsigned int count)
{
	__le64 *list = (__le64 *)(ram + (LIST - RAM));
	unsigned int i;

	for (i = 0; i < count; i++)
		list[i] = htole64(RAM + pages[i] * PVHCA_GRANULE);
}

static struct pvhca_reg_seg reg_seg(uint8_t low)
{
	return (struct pvhca_reg_seg){
		.iova = htole64(IOVA + 100),
		.length = htole64(3 * PVHCA_GRANULE - 100),
		.pages = htole64(LIST),
		.mr_handle = htole32(fr->handle),
		.key = htole32((fr->lkey & ~0xffu) | low),
		.access = htole32(ACCESS),
		.num_pages = htole32(3),
		.log_page_size = PVHCA_GRANULE_SHIFT,
	};
}

static void post_reg(struct pvhca_reg_seg seg)
{
	struct pvhca_sq_wqe wqe = { .opcode = PVHCA_WQE_REG_MR, .flags = PVHCA_WQE_F_SIGNALED };

	rig_post_segment(a, wqe, &seg, sizeof(seg));
	rig_pump();
}

static uint32_t reg(uint8_t low)
{
	static const unsigned int pages[] = { 9, 10, 3 };
	struct pvhca_reg_seg seg = reg_seg(low);

	set_list(pages, 3);
	post_reg(seg);
	ck_assert_int_eq(rig_expect(a->send_cq, IBV_WC_SUCCESS).opcode, PVHCA_CQE_REG_MR);
	return le32toh(seg.key);
}

static void post(struct qp *qp, uint8_t opcode, struct pvhca_sge sge, uint32_t rkey, uint64_t addr)
{
	struct pvhca_sq_wqe wqe = {
		.opcode = opcode,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
		.rkey = htole32(rkey),
		.remote_addr = htole64(addr),
	};

	if (opcode == PVHCA_WQE_SEND_INV || opcode == PVHCA_WQE_LOCAL_INV) {
		wqe.inv_rkey = wqe.rkey;
		wqe.rkey = 0;
		wqe.num_sge = 0;
	}
	rig_post_send(qp, wqe, &sge, NULL);
	rig_pump();
}

static struct pvhca_sge sge_b(uint32_t len)
{
	return (struct pvhca_sge){ htole64(IOVA_B), htole32(len), htole32(mr_b->lkey) };
}

START_TEST(pages_are_given_by_a_request_and_used_by_both_sides)
{
	uint32_t len = 3 * PVHCA_GRANULE - 100, key = reg(0x11), i;

	rig_fill(mr_b, IOVA_B, len, 7);
	post(b, PVHCA_WQE_WRITE, sge_b(len), key, IOVA + 100);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
	for (i = 0; i < len; i++) {
		static const unsigned int pages[] = { 9, 10, 3 };
		unsigned int at = i + 100;

		ck_assert_uint_eq(
			ram[pages[at / PVHCA_GRANULE] * PVHCA_GRANULE + at % PVHCA_GRANULE],
			*rig_byte(mr_b, IOVA_B + i));
	}
	memset(rig_byte(mr_b, IOVA_B), 0, 200);
	rig_post_recv(b, &(struct pvhca_sge){ htole64(IOVA_B), htole32(200), htole32(mr_b->lkey) },
		      1);
	post(a, PVHCA_WQE_SEND,
	     (struct pvhca_sge){ htole64(IOVA + 100), htole32(200), htole32(key) }, 0, 0);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert(rig_is_filled(mr_b, IOVA_B, 200, 7));
}
END_TEST

/* Pages of two regions in turn, none of them the neighbour of another one. */
static struct pvhca_reg_seg reg_of_two_regions(void)
{
	__le64 *list = (__le64 *)(ram + (LIST - RAM));
	struct pvhca_reg_seg seg = reg_seg(1);
	int i, fd = memfd_create("more", 0);

	ck_assert_int_eq(ftruncate(fd, RAM_LEN), 0);
	ck_assert_int_eq(memory_add(rig.a->vm.memory, MORE, RAM_LEN, 0, PVHCA_GRANULE, fd), 0);
	for (i = 0; i < MAX_PAGES; i++)
		list[i] = htole64((i & 1 ? MORE : RAM) + 2 * i * PVHCA_GRANULE);
	seg.num_pages = htole32(MAX_PAGES);
	seg.length = htole64(MAX_PAGES * PVHCA_GRANULE - 100);
	return seg;
}

/* A reference for each page made a registration of a thousand pages twice as long as a turn. */
START_TEST(regions_are_looked_up_and_kept_once_for_all_pages)
{
	struct pvhca_reg_seg seg = reg_of_two_regions();
	const uint32_t key = le32toh(seg.key);
	struct region *region[2];
	uint8_t *host[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		host[i] = memory_resolve(rig.a->vm.memory, i ? MORE : RAM, RAM_LEN, &region[i]);
		ck_assert_uint_eq(region[i]->refs, 2);
	}
	post_reg(seg);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	for (i = 0; i < 2; i++)
		ck_assert_uint_eq(region[i]->refs, 3);
	/* They are those pages. */
	for (i = 1; i < MAX_PAGES; i++) {
		*rig_byte(mr_b, IOVA_B) = i;
		post(b, PVHCA_WQE_WRITE, sge_b(1), key, IOVA + i * PVHCA_GRANULE);
		rig_expect(b->send_cq, IBV_WC_SUCCESS);
		ck_assert_uint_eq(host[i & 1][2 * i * PVHCA_GRANULE], i);
	}
	/* QEMU takes them away meanwhile. */
	ck_assert_int_eq(memory_del(rig.a->vm.memory, MORE, RAM_LEN), 0);
	post(b, PVHCA_WQE_WRITE, sge_b(1), key, IOVA + PVHCA_GRANULE);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
	post(a, PVHCA_WQE_LOCAL_INV, sge_b(0), key, 0);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(region[0]->refs, 2);
	ck_assert_uint_eq(region[1]->refs, 1);
	memory_region_put(region[0]);
	memory_region_put(region[1]);
}
END_TEST

START_TEST(range_and_access_are_those_of_the_request)
{
	struct pvhca_reg_seg seg = reg_seg(1);
	static const unsigned int pages[] = { 9, 10, 3 };

	set_list(pages, 3);
	seg.access = htole32(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
	post_reg(seg);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	post(b, PVHCA_WQE_READ, sge_b(8), le32toh(seg.key), IOVA + 100);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
	if (_i == 0)
		post(b, PVHCA_WQE_WRITE, sge_b(8), le32toh(seg.key), IOVA + 100);
	else if (_i == 1)
		post(b, PVHCA_WQE_READ, sge_b(8), le32toh(seg.key), IOVA + 99);
	else
		post(b, PVHCA_WQE_READ, sge_b(8), le32toh(seg.key), IOVA + 3 * PVHCA_GRANULE - 7);
	rig_expect(b->send_cq, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

START_TEST(invalidated_region_is_registered_anew_under_another_key)
{
	uint32_t key = reg(1), next;

	if (_i) {
		rig_post_recv(a, NULL, 0);
		post(b, PVHCA_WQE_SEND_INV, sge_b(0), key, 0);
		rig_expect(b->send_cq, IBV_WC_SUCCESS);
		ck_assert_uint_eq(le32toh(rig_expect(a->recv_cq, IBV_WC_SUCCESS).inv_rkey), key);
	} else {
		post(a, PVHCA_WQE_LOCAL_INV, sge_b(0), key, 0);
		rig_expect(a->send_cq, IBV_WC_SUCCESS);
	}
	next = reg(2);
	post(b, PVHCA_WQE_READ, sge_b(8), next, IOVA + 100);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
	post(b, PVHCA_WQE_READ, sge_b(8), key, IOVA + 100);
	rig_expect(b->send_cq, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

START_TEST(region_without_memory_is_worth_nothing)
{
	post(b, PVHCA_WQE_READ, sge_b(8), fr->rkey, 0);
	rig_expect(b->send_cq, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

START_TEST(region_in_use_is_not_registered_again)
{
	reg(1);
	post_reg(reg_seg(2));
	rig_expect(a->send_cq, IBV_WC_MW_BIND_ERR);
}
END_TEST

START_TEST(bad_registration_is_refused_and_leaves_nothing)
{
	static const unsigned int pages[] = { 9, 10, 3 };
	struct pvhca_reg_seg seg = reg_seg(1);
	unsigned int refs;
	struct region *region;

	ck_assert_ptr_nonnull(memory_resolve(rig.a->vm.memory, RAM, 1, &region));
	refs = atomic_load(&region->refs);
	set_list(pages, 3);
	switch (_i) {
	case 0:
		seg.mr_handle = htole32(99);
		break;
	case 1:
		seg.key = htole32(le32toh(seg.key) + 0x100);
		break;
	case 2:
		seg.num_pages = htole32(MAX_PAGES + 1);
		break;
	case 3:
		seg.num_pages = 0;
		break;
	case 4:
		seg.log_page_size = 11;
		break;
	case 5:
		seg.log_page_size = 64;
		break;
	case 6:
		seg.length = htole64(3 * PVHCA_GRANULE - 99);
		break;
	case 7:
		seg.length = 0;
		break;
	case 8:
		seg.pages = htole64(RAM + RAM_LEN - 16);
		break;
	case 9:
		seg.pages = 0;
		break;
	case 10:
		((__le64 *)(ram + (LIST - RAM)))[2] = htole64(RAM + RAM_LEN);
		break;
	case 11:
		((__le64 *)(ram + (LIST - RAM)))[1] = htole64(RAM + 8);
		break;
	case 12:
		seg.access = htole32(IBV_ACCESS_REMOTE_WRITE);
		break;
	case 13:
		seg.access = htole32(IBV_ACCESS_MW_BIND);
		break;
	case 14:
		seg.iova = htole64(UINT64_MAX - 100);
		break;
	case 15:
		fr->pd = &rig.b->pd;
		break;
	case 16:
		seg.pages = htole64(UINT64_MAX - 8);
		break;
	}
	post_reg(seg);
	rig_expect(a->send_cq, IBV_WC_MW_BIND_ERR);
	ck_assert_uint_eq(atomic_load(&region->refs), refs);
	memory_region_put(region);
	fr->pd = &rig.a->pd;
}
END_TEST

START_TEST(applications_cannot_name_physical_memory)
{
	rig.a->context.kernel = false;
	if (_i == 0)
		post_reg(reg_seg(1));
	else
		post(a, PVHCA_WQE_SEND,
		     (struct pvhca_sge){ htole64(RAM), htole32(8), htole32(PVHCA_LKEY_DMA) }, 0, 0);
	rig_expect(a->send_cq, _i ? IBV_WC_LOC_PROT_ERR : IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(key_of_all_memory_reads_and_writes_it)
{
	struct pvhca_sge dma = { htole64(RAM + 5000), htole32(10000), htole32(PVHCA_LKEY_DMA) };

	memset(ram + 5000, 0x5a, 10000);
	rig_post_recv(
		b, &(struct pvhca_sge){ htole64(IOVA_B), htole32(10000), htole32(mr_b->lkey) }, 1);
	post(a, PVHCA_WQE_SEND, dma, 0, 0);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(*rig_byte(mr_b, IOVA_B + 9999), 0x5a);
	rig_fill(mr_b, IOVA_B, 10000, 1);
	rig_post_recv(a, &dma, 1);
	post(b, PVHCA_WQE_SEND, sge_b(10000), 0, 0);
	rig_expect(a->recv_cq, IBV_WC_SUCCESS);
	ck_assert_mem_eq(ram + 5000, rig_byte(mr_b, IOVA_B), 4096);
}
END_TEST

START_TEST(key_of_all_memory_ends_with_it)
{
	const uint64_t bad[] = { RAM - 1, RAM + RAM_LEN - 7, UINT64_MAX - 3, 0 };

	rig_post_recv(b, NULL, 0);
	post(a, PVHCA_WQE_SEND,
	     (struct pvhca_sge){ htole64(bad[_i]), htole32(8), htole32(PVHCA_LKEY_DMA) }, 0, 0);
	rig_expect(a->send_cq, IBV_WC_LOC_PROT_ERR);
}
END_TEST

START_TEST(key_of_all_memory_is_no_remote_key)
{
	rig.a->context.kernel = true;
	post(b, PVHCA_WQE_WRITE, sge_b(8), PVHCA_LKEY_DMA, RAM);
	rig_expect(b->send_cq, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

START_TEST(memory_that_is_taken_away_stays_while_it_is_registered)
{
	uint32_t key = reg(1);

	ck_assert_int_eq(memory_del(rig.a->vm.memory, RAM, RAM_LEN), 0);
	post(b, PVHCA_WQE_WRITE, sge_b(8), key, IOVA + 100);
	rig_expect(b->send_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(too_many_pages_are_refused)
{
	struct mr mr = *fr;

	mr.max_pages = LOOPBACK_MAX_FR_PAGES + 1;
	ck_assert_int_eq(fabric_loopback.mr_alloc(&mr), PVHCA_ST_INVALID);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_fr");
	TCase *tcase = tcase_create("kernel consumers");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, pages_are_given_by_a_request_and_used_by_both_sides);
	tcase_add_test(tcase, regions_are_looked_up_and_kept_once_for_all_pages);
	tcase_add_loop_test(tcase, range_and_access_are_those_of_the_request, 0, 3);
	tcase_add_loop_test(tcase, invalidated_region_is_registered_anew_under_another_key, 0, 2);
	tcase_add_test(tcase, region_without_memory_is_worth_nothing);
	tcase_add_test(tcase, region_in_use_is_not_registered_again);
	tcase_add_loop_test(tcase, bad_registration_is_refused_and_leaves_nothing, 0, 17);
	tcase_add_loop_test(tcase, applications_cannot_name_physical_memory, 0, 2);
	tcase_add_test(tcase, key_of_all_memory_reads_and_writes_it);
	tcase_add_loop_test(tcase, key_of_all_memory_ends_with_it, 0, 4);
	tcase_add_test(tcase, key_of_all_memory_is_no_remote_key);
	tcase_add_test(tcase, memory_that_is_taken_away_stays_while_it_is_registered);
	tcase_add_test(tcase, too_many_pages_are_refused);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
