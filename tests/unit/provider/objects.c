// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Domains, memory regions, memory windows, address handles.
 */
#include "kernel.h"
#include "../../../providers/pvhca/ah.c"
#include "../../../providers/pvhca/buf.c"
#include "../../../providers/pvhca/mr.c"
#include "../../../providers/pvhca/mw.c"
#include "../../../providers/pvhca/pd.c"
#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/qp_table.c"

/* ----------------------- in place of libibverbs and kernel ---------------- */

/* What the last commands asked for. */
static struct {
	int access;
	struct ibv_ah_attr ah;
} asked;

int ibv_cmd_reg_mr(struct ibv_pd *ibpd, void *addr, size_t length, uint64_t hca_va, int access,
		   struct verbs_mr *vmr, struct ibv_reg_mr *cmd, size_t cmd_size,
		   struct ib_uverbs_reg_mr_resp *resp, size_t resp_size)
{
	(void)addr, (void)length, (void)hca_va, (void)cmd, (void)cmd_size;
	asked.access = access;
	ck_assert_uint_eq(resp_size, sizeof(struct pvhca_ucmd_reg_mr_resp));
	if (answer())
		return kernel.err;
	vmr->ibv_mr.pd = ibpd;
	((struct pvhca_ucmd_reg_mr_resp *)resp)->mr_handle = kernel.handle;
	kernel.created++;
	return 0;
}

int ibv_cmd_reg_dmabuf_mr(struct ibv_pd *ibpd, uint64_t offset, size_t length, uint64_t iova,
			  int fd, int access, struct verbs_mr *vmr,
			  struct ibv_command_buffer *driver)
{
	(void)ibpd, (void)offset, (void)length, (void)iova, (void)vmr;
	(void)access;
	ck_assert_ptr_null(driver);
	if (fd < 0)
		return EBADF;
	kernel.created++;
	return 0;
}

int ibv_cmd_rereg_mr(struct verbs_mr *vmr, uint32_t flags, void *addr, size_t length,
		     uint64_t hca_va, int access, struct ibv_pd *ibpd, struct ibv_rereg_mr *cmd,
		     size_t cmd_size, struct ib_uverbs_rereg_mr_resp *resp, size_t resp_size)
{
	(void)length, (void)ibpd, (void)cmd, (void)cmd_size;
	asked.access = access;
	(void)resp, (void)resp_size;
	ck_assert_uint_eq(hca_va, (uintptr_t)addr);
	kernel.mask = flags;
	if (!answer())
		vmr->ibv_mr.lkey++;
	return kernel.err;
}

int ibv_cmd_dereg_mr(struct verbs_mr *vmr)
{
	(void)vmr;
	return destroy();
}

int ibv_cmd_alloc_mw(struct ibv_pd *ibpd, enum ibv_mw_type type, struct ibv_mw *ibmw,
		     struct ibv_alloc_mw *cmd, size_t cmd_size,
		     struct ib_uverbs_alloc_mw_resp *resp, size_t resp_size)
{
	(void)cmd, (void)cmd_size;
	ck_assert_uint_eq(resp_size, sizeof(struct pvhca_ucmd_alloc_mw_resp));
	if (answer())
		return kernel.err;
	ibmw->pd = ibpd;
	ibmw->type = type;
	ibmw->rkey = 0x12ff;
	((struct pvhca_ucmd_alloc_mw_resp *)resp)->mw_handle = kernel.handle;
	kernel.created++;
	return 0;
}

int ibv_cmd_dealloc_mw(struct ibv_mw *ibmw)
{
	(void)ibmw;
	return destroy();
}

int ibv_cmd_create_ah(struct ibv_pd *ibpd, struct ibv_ah *ibah, struct ibv_ah_attr *attr,
		      struct ib_uverbs_create_ah_resp *resp, size_t resp_size)
{
	(void)ibpd, (void)ibah;
	asked.ah = *attr;
	ck_assert_uint_eq(resp_size, sizeof(struct pvhca_ucmd_create_ah_resp));
	if (answer())
		return kernel.err;
	((struct pvhca_ucmd_create_ah_resp *)resp)->ah = kernel.handle;
	kernel.created++;
	return 0;
}

int ibv_cmd_destroy_ah(struct ibv_ah *ibah)
{
	(void)ibah;
	return destroy();
}

/* --------------------------------- domains -------------------------------- */

static struct ibv_context *ibctx = &test_ctx.vctx.context;

static void setup_objects(void)
{
	setup_kernel();
	ibctx->ops.bind_mw = pvhca_bind_mw;
}

static struct ibv_pd *alloc_parent(struct ibv_pd *ibpd, struct ibv_td *ibtd)
{
	struct ibv_parent_domain_init_attr attr = { .pd = ibpd, .td = ibtd };

	return pvhca_alloc_parent_domain(ibctx, &attr);
}

START_TEST(parent_domain_stands_for_its_protection_domain)
{
	struct ibv_pd *real = pvhca_alloc_pd(ibctx), *parent;
	struct ibv_td_init_attr attr = {};
	struct ibv_td *td = pvhca_alloc_td(ibctx, &attr);

	ck_assert_ptr_eq(td->context, ibctx);
	parent = alloc_parent(real, td);
	ck_assert_ptr_nonnull(parent);
	ck_assert_ptr_ne(parent, real);
	ck_assert_uint_eq(parent->handle, real->handle);
	ck_assert_ptr_eq(parent->context, ibctx);

	ck_assert_int_eq(pvhca_dealloc_pd(real), EBUSY);
	ck_assert_int_eq(pvhca_dealloc_td(td), EBUSY);
	ck_assert_int_eq(pvhca_dealloc_pd(parent), 0);
	ck_assert_int_eq(kernel.destroyed, 0);
	ck_assert_int_eq(pvhca_dealloc_td(td), 0);
	ck_assert_int_eq(pvhca_dealloc_pd(real), 0);
	ck_assert_int_eq(kernel.destroyed, 1);
}
END_TEST

START_TEST(parent_domain_stays_while_queues_use_it)
{
	struct ibv_pd *real = pvhca_alloc_pd(ibctx);
	struct ibv_pd *parent = alloc_parent(real, NULL);
	struct pvhca_pd *user;

	ck_assert_ptr_null(pvhca_get_parent(real));
	user = pvhca_get_parent(parent);
	ck_assert_ptr_eq(&user->ibv_pd, parent);
	ck_assert_int_eq(pvhca_dealloc_pd(parent), EBUSY);
	pvhca_put_parent(user);
	pvhca_put_parent(NULL);
	ck_assert_int_eq(pvhca_dealloc_pd(parent), 0);
	kernel.err = EBUSY;
	ck_assert_int_eq(pvhca_dealloc_pd(real), EBUSY);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_dealloc_pd(real), 0);
}
END_TEST

static void *no_memory(struct ibv_pd *ibpd, void *context, size_t size, size_t alignment,
		       uint64_t resource)
{
	(void)ibpd, (void)context, (void)size, (void)alignment, (void)resource;
	return NULL;
}

START_TEST(bad_domains_are_refused)
{
	struct ibv_td_init_attr td_attr = { .comp_mask = 1 };
	struct ibv_pd *real = pvhca_alloc_pd(ibctx);
	struct ibv_pd *parent = alloc_parent(real, NULL);
	struct ibv_parent_domain_init_attr attr = { .pd = real };

	ck_assert_ptr_null(pvhca_alloc_td(ibctx, &td_attr));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	ck_assert_ptr_null(alloc_parent(NULL, NULL));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(alloc_parent(parent, NULL));
	ck_assert_int_eq(errno, EINVAL);
	attr.comp_mask = 1 << 5;
	ck_assert_ptr_null(pvhca_alloc_parent_domain(ibctx, &attr));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	attr.comp_mask = IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS;
	attr.alloc = no_memory;
	ck_assert_ptr_null(pvhca_alloc_parent_domain(ibctx, &attr));
	ck_assert_int_eq(errno, EINVAL);
	kernel.err = ENOMEM;
	ck_assert_ptr_null(pvhca_alloc_pd(ibctx));
	ck_assert_int_eq(errno, ENOMEM);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_dealloc_pd(parent), 0);
	ck_assert_int_eq(pvhca_dealloc_pd(real), 0);
}
END_TEST

/* -------------------------------- allocators ------------------------------ */

static struct {
	enum { GIVE, DEFAULT, NOTHING, CROOKED } does;
	void *memory; /* posix_memalign()'s */
	size_t size;
	uint64_t resource;
	int calls;
	int freed;
} allocator;

static void *alloc_queue(struct ibv_pd *ibpd, void *context, size_t size, size_t alignment,
			 uint64_t resource)
{
	(void)ibpd;
	ck_assert_ptr_eq(context, &allocator);
	allocator.calls++;
	allocator.size = size;
	allocator.resource = resource;
	switch (allocator.does) {
	case DEFAULT:
		return IBV_ALLOCATOR_USE_DEFAULT;
	case NOTHING:
		return NULL;
	default:
		ck_assert_int_eq(posix_memalign(&allocator.memory, alignment, 2 * size), 0);
		memset(allocator.memory, 0x55, size);
		return (uint8_t *)allocator.memory + (allocator.does == CROOKED ? 64 : 0);
	}
}

static void free_queue(struct ibv_pd *ibpd, void *context, void *ptr, uint64_t resource)
{
	(void)ibpd, (void)ptr;
	ck_assert_ptr_eq(context, &allocator);
	ck_assert_uint_eq(resource, allocator.resource);
	free(allocator.memory);
	allocator.freed++;
}

static struct pvhca_pd custom = {
	.alloc = alloc_queue,
	.free = free_queue,
	.context = &allocator,
};

START_TEST(queues_lie_where_the_parent_domain_says)
{
	struct pvhca_buf buf;

	memset(&allocator, 0, sizeof(allocator));
	ck_assert_int_eq(pvhca_buf_alloc(&buf, 5000, &custom, PVHCA_RESOURCE_SRQ), 0);
	ck_assert_ptr_eq(buf.addr, allocator.memory);
	ck_assert_uint_eq(buf.len, 8192);
	ck_assert_uint_eq(allocator.size, 8192);
	ck_assert_uint_eq(allocator.resource, PVHCA_RESOURCE_SRQ);
	ck_assert_uint_eq(buf.addr[0] | buf.addr[4999], 0);
	pvhca_buf_free(&buf);
	ck_assert_int_eq(allocator.freed, 1);
	pvhca_buf_free(&buf);
	ck_assert_int_eq(allocator.freed, 1);
}
END_TEST

START_TEST(parent_domain_may_leave_it_to_us_or_fail)
{
	struct pvhca_buf buf;

	memset(&allocator, 0, sizeof(allocator));
	allocator.does = DEFAULT;
	ck_assert_int_eq(pvhca_buf_alloc(&buf, 1, &custom, PVHCA_RESOURCE_QP), 0);
	pvhca_buf_free(&buf);
	ck_assert_int_eq(allocator.freed, 0);
	allocator.does = NOTHING;
	ck_assert_int_eq(pvhca_buf_alloc(&buf, 1, &custom, PVHCA_RESOURCE_QP), ENOMEM);
	allocator.does = CROOKED;
	ck_assert_int_eq(pvhca_buf_alloc(&buf, 1, &custom, PVHCA_RESOURCE_QP), ENOMEM);
	ck_assert_int_eq(allocator.freed, 1);
	ck_assert_int_eq(allocator.calls, 3);
}
END_TEST

/* ---------------------------- regions and windows ------------------------- */

START_TEST(region_keeps_the_handle_that_binds_name)
{
	struct ibv_mr *ibmr = pvhca_reg_mr(&test_pd.ibv_pd, NULL, 1, 0, 0);
	struct verbs_mr *vmr = verbs_get_mr(ibmr);

	ck_assert_uint_eq(to_pvhca_mr(ibmr)->handle, 77);
	ck_assert(to_pvhca_mr(ibmr)->bindable);
	ck_assert_int_eq(pvhca_rereg_mr(vmr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, (void *)0x1000,
					10, 0),
			 0);
	ck_assert_int_eq(kernel.mask, IBV_REREG_MR_CHANGE_TRANSLATION);
	ck_assert_uint_eq(ibmr->lkey, 1);
	kernel.err = EBUSY;
	ck_assert_int_eq(pvhca_rereg_mr(vmr, 0, NULL, NULL, 0, 0), EBUSY);
	ck_assert_int_eq(pvhca_dereg_mr(vmr), EBUSY);
	ck_assert_ptr_null(pvhca_reg_mr(&test_pd.ibv_pd, NULL, 1, 0, 0));
	ck_assert_int_eq(errno, EBUSY);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_dereg_mr(vmr), 0);
}
END_TEST

/* The provider takes any right; what is only a hint is for the host to take or leave. */
START_TEST(rights_of_a_region_reach_the_kernel_one_by_one)
{
	struct ibv_mr *ibmr;
	int i;

	for (i = 0; i < 30; i++) {
		ibmr = pvhca_reg_mr(&test_pd.ibv_pd, NULL, 1, 0, 1 << i);
		ck_assert_ptr_nonnull(ibmr);
		ck_assert_int_eq(asked.access, 1 << i);
		ck_assert_int_eq(pvhca_rereg_mr(verbs_get_mr(ibmr), IBV_REREG_MR_CHANGE_ACCESS,
						NULL, NULL, 0, 1 << (29 - i)),
				 0);
		ck_assert_int_eq(asked.access, 1 << (29 - i));
		ck_assert_int_eq(pvhca_dereg_mr(verbs_get_mr(ibmr)), 0);
	}
}
END_TEST

START_TEST(dma_buffers_are_registered_but_not_bound)
{
	struct ibv_mr *ibmr;

	ck_assert_ptr_null(pvhca_reg_dmabuf_mr(&test_pd.ibv_pd, 0, 1, 0, -1, 0));
	ck_assert_int_eq(errno, EBADF);
	ck_assert_ptr_null(pvhca_reg_dmabuf_mr(&test_pd.ibv_pd, 0, 1, 0, 3, IBV_ACCESS_MW_BIND));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	ibmr = pvhca_reg_dmabuf_mr(&test_pd.ibv_pd, 0, 1, 0, 3, 0);
	ck_assert_ptr_nonnull(ibmr);
	ck_assert(!to_pvhca_mr(ibmr)->bindable);
	ck_assert_int_eq(pvhca_dereg_mr(verbs_get_mr(ibmr)), 0);
}
END_TEST

static const struct pvhca_bind_seg *bind_seg(unsigned int i)
{
	return (const void *)(queues.sq + i * STRIDE + PVHCA_SQ_WQE_DATA);
}

START_TEST(bind_of_type_1_takes_the_next_key)
{
	struct ibv_mw *ibmw = pvhca_alloc_mw(&test_pd.ibv_pd, IBV_MW_TYPE_1);
	struct ibv_mr *ibmr = pvhca_reg_mr(&test_pd.ibv_pd, NULL, 1, 0, 0);
	const struct pvhca_sq_wqe *wqe = (const void *)queues.sq;
	struct ibv_mw_bind bind = {
		.wr_id = 8,
		.send_flags = IBV_SEND_SIGNALED,
		.bind_info = { .mr = ibmr,
			       .addr = 0x7000,
			       .length = 16,
			       .mw_access_flags = IBV_ACCESS_REMOTE_WRITE },
	};
	int i;

	ibmw->context = ibctx;
	ck_assert_int_eq(ibv_bind_mw(&test_qp.vqp.qp, ibmw, &bind), 0);
	ck_assert_uint_eq(wqe->opcode, PVHCA_WQE_BIND_MW);
	ck_assert_uint_eq(wqe->flags, PVHCA_WQE_F_SIGNALED);
	ck_assert_uint_eq(sq_wrid[0], 8);
	ck_assert_uint_eq(le64toh(bind_seg(0)->addr), 0x7000);
	ck_assert_uint_eq(le64toh(bind_seg(0)->length), 16);
	ck_assert_uint_eq(le32toh(bind_seg(0)->mr_handle), 77);
	ck_assert_uint_eq(le32toh(bind_seg(0)->mw_handle), 77);
	ck_assert_uint_eq(le32toh(bind_seg(0)->access), IBV_ACCESS_REMOTE_WRITE);
	ck_assert_uint_eq(le32toh(bind_seg(0)->rkey), 0x1200);
	ck_assert_uint_eq(ibmw->rkey, 0x1200);
	ck_assert_uint_eq(le32toh(queues.header.sq_pi), 1);

	bind.bind_info = (struct ibv_mw_bind_info){};
	ck_assert_int_eq(ibv_bind_mw(&test_qp.vqp.qp, ibmw, &bind), 0);
	ck_assert_uint_eq(bind_seg(1)->length, 0);
	ck_assert_uint_eq(ibmw->rkey, 0x1201);
	bind.send_flags = IBV_SEND_INLINE;
	ck_assert_int_eq(ibv_bind_mw(&test_qp.vqp.qp, ibmw, &bind), EINVAL);
	bind.send_flags = 0;
	for (i = 2; i < ENTRIES; i++)
		ck_assert_int_eq(ibv_bind_mw(&test_qp.vqp.qp, ibmw, &bind), 0);
	ck_assert_int_eq(ibv_bind_mw(&test_qp.vqp.qp, ibmw, &bind), ENOMEM);
	ck_assert_uint_eq(ibmw->rkey, 0x1203);

	ck_assert_int_eq(pvhca_dealloc_mw(ibmw), 0);
	ck_assert_int_eq(pvhca_dereg_mr(verbs_get_mr(ibmr)), 0);
}
END_TEST

START_TEST(datagram_qps_bind_nothing)
{
	struct ibv_mw *ibmw = pvhca_alloc_mw(&test_pd.ibv_pd, IBV_MW_TYPE_1);
	struct ibv_mw_bind bind = {};

	ibmw->context = ibctx;
	test_qp.vqp.qp.qp_type = IBV_QPT_UD;
	ck_assert_int_eq(ibv_bind_mw(&test_qp.vqp.qp, ibmw, &bind), EINVAL);
	ck_assert_uint_eq(ibmw->rkey, 0x12ff);
	ck_assert_int_eq(pvhca_dealloc_mw(ibmw), 0);
	kernel.err = ENOSPC;
	ck_assert_ptr_null(pvhca_alloc_mw(&test_pd.ibv_pd, IBV_MW_TYPE_2));
	ck_assert_int_eq(errno, ENOSPC);
}
END_TEST

START_TEST(address_handle_keeps_what_entries_name)
{
	struct ibv_ah_attr attr = { .is_global = 1, .port_num = 1 };
	struct ibv_ah *ibah = pvhca_create_ah(&test_pd.ibv_pd, &attr);

	ck_assert_uint_eq(to_pvhca_ah(ibah)->ah, 77);
	kernel.err = EBUSY;
	ck_assert_int_eq(pvhca_destroy_ah(ibah), EBUSY);
	ck_assert_ptr_null(pvhca_create_ah(&test_pd.ibv_pd, &attr));
	ck_assert_int_eq(errno, EBUSY);
	kernel.err = 0;
	ck_assert_int_eq(pvhca_destroy_ah(ibah), 0);
	attr.is_global = 0;
	ck_assert_ptr_null(pvhca_create_ah(&test_pd.ibv_pd, &attr));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* UCX leaves all bits of some fields set; to mask them is not the provider's part. */
START_TEST(address_reaches_the_kernel_as_it_is)
{
	struct ibv_ah_attr attr = {
		.grh = { .flow_label = UINT32_MAX, .hop_limit = 255, .traffic_class = 255 },
		.dlid = 0xc000,
		.sl = 255,
		.src_path_bits = 255,
		.static_rate = 255,
		.is_global = 255,
		.port_num = 1,
	};
	struct ibv_ah *ibah = pvhca_create_ah(&test_pd.ibv_pd, &attr);

	ck_assert_ptr_nonnull(ibah);
	ck_assert_uint_eq(asked.ah.grh.flow_label, UINT32_MAX);
	ck_assert_uint_eq(asked.ah.sl, 255);
	ck_assert_int_eq(pvhca_destroy_ah(ibah), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider objects");
	TCase *c = tcase_create("objects");

	tcase_add_checked_fixture(c, setup_objects, teardown_kernel);
	tcase_add_test(c, parent_domain_stands_for_its_protection_domain);
	tcase_add_test(c, parent_domain_stays_while_queues_use_it);
	tcase_add_test(c, bad_domains_are_refused);
	tcase_add_test(c, queues_lie_where_the_parent_domain_says);
	tcase_add_test(c, parent_domain_may_leave_it_to_us_or_fail);
	tcase_add_test(c, region_keeps_the_handle_that_binds_name);
	tcase_add_test(c, rights_of_a_region_reach_the_kernel_one_by_one);
	tcase_add_test(c, dma_buffers_are_registered_but_not_bound);
	tcase_add_test(c, bind_of_type_1_takes_the_next_key);
	tcase_add_test(c, datagram_qps_bind_nothing);
	tcase_add_test(c, address_handle_keeps_what_entries_name);
	tcase_add_test(c, address_reaches_the_kernel_as_it_is);
	suite_add_tcase(s, c);
	return run_suite(s);
}
