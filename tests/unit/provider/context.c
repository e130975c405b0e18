// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Opening the device: what the kernel's answer means, also that of an older driver,
 * which is shorter, or of a newer one, which tells more. libibverbs is the real one,
 * but for two commands.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../../providers/pvhca/pvhca.c"

#define PAGE 4096u

static struct pvhca_device device;
static struct pvhca_uctx_req asked;
static struct pvhca_uctx_resp answer;
static size_t answered; /* bytes of it that the driver knows */
static struct ibv_device_attr limits;
static int err;

int ibv_cmd_get_context(struct verbs_context *vctx, struct ibv_get_context *cmd, size_t cmd_size,
			struct ib_uverbs_get_context_resp *resp, size_t resp_size)
{
	const char *text = (const char *)cmd + sizeof(struct pvhca_ucmd_get_context);

	(void)vctx;
	/* A driver of 0.1 wants that much, and others take no more than zeroes there. */
	ck_assert_uint_eq(cmd_size, sizeof(struct pvhca_ucmd_get_context) + 32);
	for (unsigned int i = 0; i < 32; i++)
		ck_assert_int_eq(text[i], 0);
	ck_assert_uint_eq(resp_size, sizeof(struct pvhca_ucmd_get_context_resp));
	asked = ((struct pvhca_ucmd_get_context *)cmd)->drv_payload;
	memcpy(&((struct pvhca_ucmd_get_context_resp *)resp)->drv_payload, &answer, answered);
	return err;
}

int ibv_cmd_query_device_any(struct ibv_context *context,
			     const struct ibv_query_device_ex_input *input,
			     struct ibv_device_attr_ex *attr, size_t attr_size,
			     struct ib_uverbs_ex_query_device_resp *resp, size_t *resp_size)
{
	(void)context, (void)input, (void)attr_size, (void)resp, (void)resp_size;
	attr->orig_attr = limits;
	return 0;
}

static void setup(void)
{
	memset(&device, 0, sizeof(device));
	device.vdev.ops = &pvhca_dev_ops;
	atomic_store(&device.vdev.refcount, 1);
	err = 0;
	limits = (struct ibv_device_attr){ .max_cqe = 1 << 22, .max_qp_wr = 100, .max_srq_wr = 50 };
	answered = sizeof(answer);
	answer = (struct pvhca_uctx_resp){
		.doorbells = PAGE,
		.context_page_len = PAGE,
		.doorbells_len = PAGE,
		.max_sq_sge = 30,
		.max_rq_sge = 31,
		.max_inline = 512,
	};
}

/* The node that would be opened: a file with both pages. */
static int node(void)
{
	int fd = memfd_create("uverbs", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 4 * PAGE), 0);
	return fd;
}

/* Mappings of it that are left. */
static unsigned int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int n = 0;
	char line[512];

	while (fgets(line, sizeof(line), maps))
		n += !!strstr(line, "memfd:uverbs");
	fclose(maps);
	return n;
}

static struct pvhca_context *open_device(void)
{
	struct verbs_context *vctx = alloc_context(&device.vdev.device, node(), NULL);

	return vctx ? to_pvhca_context(&vctx->context) : NULL;
}

static void refused(int expected)
{
	int fd = node(), next;

	close(fd);
	errno = 0;
	ck_assert_ptr_null(open_device());
	ck_assert_int_eq(errno, expected);
	ck_assert_uint_eq(mappings(), 0);
	next = node(); /* the node was closed */
	ck_assert_int_eq(next, fd);
	close(next);
}

static void opens(void)
{
	struct pvhca_context *ctx = open_device();

	ck_assert_ptr_nonnull(ctx);
	ck_assert_uint_eq(mappings(), 2);
	free_context(&ctx->vctx.context);
	ck_assert_uint_eq(mappings(), 0);
}

START_TEST(kernel_is_told_the_ring_abi)
{
	opens();
	ck_assert_uint_eq(asked.comp_mask, 0);
	ck_assert_uint_eq(asked.ring_abi_major, PVHCA_RING_ABI_MAJOR);
	ck_assert_uint_eq(asked.ring_abi_minor, PVHCA_RING_ABI_MINOR);
}
END_TEST

START_TEST(limits_are_the_devices_as_far_as_rings_go)
{
	struct pvhca_context *ctx = open_device();

	ck_assert_ptr_nonnull(ctx);
	ck_assert_uint_eq(ctx->max_cqe, 1 << 20);
	ck_assert_uint_eq(ctx->max_qp_wr, 100);
	ck_assert_uint_eq(ctx->max_srq_wr, 50);
	ck_assert_uint_eq(ctx->max_sq_sge, 30);
	ck_assert_uint_eq(ctx->max_rq_sge, 31);
	ck_assert_uint_eq(ctx->max_inline, 512);
	ck_assert_ptr_ne(ctx->page, ctx->doorbells);
	free_context(&ctx->vctx.context);
}
END_TEST

START_TEST(newer_driver_may_tell_more)
{
	answer.comp_mask = UINT32_MAX;
	answer.ring_abi_minor = UINT16_MAX;
	answer.reserved = UINT16_MAX;
	answer.reserved2 = UINT32_MAX;
	answer.doorbells = 2 * PAGE;
	answer.context_page_len = 2 * PAGE;
	answer.doorbells_len = 2 * PAGE;
	opens();
}
END_TEST

/* What it does not write reads as 0, which must not be taken for memory. */
START_TEST(shorter_answer_opens_or_is_refused)
{
	size_t needed = offsetof(struct pvhca_uctx_resp, doorbells_len) + sizeof(__u32);

	for (answered = 0; answered < needed; answered += sizeof(__u32))
		refused(EPROTO);
	for (; answered <= sizeof(answer); answered += sizeof(__u32))
		opens();
}
END_TEST

START_TEST(impossible_answers_are_refused)
{
	answer.context_page_len = PAGE - 1;
	refused(EPROTO);
	answer.context_page_len = PAGE;
	answer.doorbells_len = 3;
	refused(EPROTO);
	answer.doorbells_len = PAGE;
	answer.doorbells = 1; /* not a page: mmap() */
	refused(EINVAL);
	err = EPROTO;
	refused(EPROTO);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider context");
	TCase *c = tcase_create("context");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, kernel_is_told_the_ring_abi);
	tcase_add_test(c, limits_are_the_devices_as_far_as_rings_go);
	tcase_add_test(c, newer_driver_may_tell_more);
	tcase_add_test(c, shorter_answer_opens_or_is_refused);
	tcase_add_test(c, impossible_answers_are_refused);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
