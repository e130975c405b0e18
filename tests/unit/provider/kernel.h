/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * In place of libibverbs and the kernel: notes what it is asked for, answers as it
 * is told. To be included before the sources under test.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include "fixture.h"
#include "pvhca-abi.h"

static struct {
	int err; /* of the next commands */
	struct pvhca_create_qp_req qp_req;
	struct ibv_qp_init_attr_ex qp_attr;
	struct pvhca_create_cq_req cq_req;
	struct pvhca_create_qp_req srq_req;
	uint32_t srq_limit;
	struct ibv_cq_init_attr_ex cq_attr;
	int cqe;
	struct ibv_qp_cap more; /* what the host gives beyond what was asked */
	uint32_t qpn;
	uint32_t slot;
	uint32_t doorbell;
	void (*on_create_qp)(void);  /* once, when the host has made it */
	void (*on_destroy_qp)(void); /* once, when the host has destroyed it */
	void (*on_modify)(void);
	void (*on_resize)(const struct pvhca_create_cq_req *req);
	bool poll_is_open; /* so that the application itself has locked the CQ */
	uint32_t handle;   /* of the next object */
	int mask;	   /* of the last modify */
	int created;
	int destroyed;
	size_t dontfork;
	size_t dofork;
} kernel;

static void run_once(void (**hook)(void))
{
	void (*call)(void) = *hook;

	*hook = NULL;
	if (call)
		call();
}

/* A command may wait for a thread that needs the lock, so none may be held. */
static int answer(void)
{
	ck_assert_int_eq(pthread_mutex_trylock(&test_ctx.qp_lock), 0);
	pthread_mutex_unlock(&test_ctx.qp_lock);
	if (kernel.poll_is_open)
		return kernel.err;
	ck_assert_int_eq(pthread_spin_trylock(&test_cq.lock.spin), 0);
	pthread_spin_unlock(&test_cq.lock.spin);
	return kernel.err;
}

static int answer_for_qp(struct ibv_qp *ibqp)
{
	struct pvhca_qp *q = to_pvhca_qp(ibqp);

	ck_assert_int_eq(pthread_spin_trylock(&q->sq.lock.spin), 0);
	pthread_spin_unlock(&q->sq.lock.spin);
	ck_assert_int_eq(pthread_spin_trylock(&q->rq.lock.spin), 0);
	pthread_spin_unlock(&q->rq.lock.spin);
	return answer();
}

int ibv_dontfork_range(void *base, size_t size)
{
	(void)base;
	kernel.dontfork += size;
	return 0;
}

int ibv_dofork_range(void *base, size_t size)
{
	(void)base;
	kernel.dofork += size;
	return 0;
}

int ibv_cmd_create_qp_ex2(struct ibv_context *ibctx, struct verbs_qp *vqp,
			  struct ibv_qp_init_attr_ex *attr, struct ibv_create_qp_ex *cmd,
			  size_t cmd_size, struct ib_uverbs_ex_create_qp_resp *resp,
			  size_t resp_size)
{
	struct pvhca_ucmd_create_qp_ex_resp *r = (void *)resp;
	struct ibv_qp *ibqp = &vqp->qp;

	ck_assert_uint_eq(cmd_size, sizeof(struct pvhca_ucmd_create_qp_ex));
	ck_assert_uint_eq(resp_size, sizeof(*r));
	if (answer())
		return kernel.err;
	kernel.qp_req = ((struct pvhca_ucmd_create_qp_ex *)cmd)->drv_payload;
	kernel.qp_attr = *attr;
	r->slot = kernel.slot;
	r->comp_mask = UINT32_MAX; /* a newer driver tells more */
	r->doorbell = kernel.doorbell;
	ibqp->context = ibctx;
	ibqp->srq = attr->srq;
	ibqp->send_cq = attr->send_cq;
	ibqp->recv_cq = attr->recv_cq;
	ibqp->qp_type = attr->qp_type;
	ibqp->qp_num = kernel.qpn;
	attr->cap.max_send_wr += kernel.more.max_send_wr;
	attr->cap.max_recv_wr += kernel.more.max_recv_wr;
	attr->cap.max_send_sge += kernel.more.max_send_sge;
	attr->cap.max_recv_sge += kernel.more.max_recv_sge;
	attr->cap.max_inline_data += kernel.more.max_inline_data;
	kernel.created++;
	run_once(&kernel.on_create_qp);
	return 0;
}

int ibv_cmd_destroy_qp(struct ibv_qp *ibqp)
{
	if (answer_for_qp(ibqp))
		return kernel.err;
	kernel.destroyed++;
	run_once(&kernel.on_destroy_qp);
	return 0;
}

int ibv_cmd_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		      struct ibv_modify_qp *cmd, size_t cmd_size)
{
	(void)attr, (void)mask, (void)cmd, (void)cmd_size;
	if (kernel.on_modify)
		kernel.on_modify();
	return answer_for_qp(ibqp);
}

int ibv_cmd_query_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		     struct ibv_qp_init_attr *init_attr, struct ibv_query_qp *cmd, size_t cmd_size)
{
	(void)mask, (void)cmd, (void)cmd_size;
	memset(attr, 0, sizeof(*attr));
	memset(init_attr, 0, sizeof(*init_attr));
	return answer_for_qp(ibqp);
}

int ibv_cmd_create_cq(struct ibv_context *ibctx, int cqe, struct ibv_comp_channel *channel,
		      int comp_vector, struct ibv_cq *ibcq, struct ibv_create_cq *cmd,
		      size_t cmd_size, struct ib_uverbs_create_cq_resp *resp, size_t resp_size)
{
	struct pvhca_ucmd_create_cq_resp *r = (void *)resp;

	(void)channel, (void)comp_vector;
	ck_assert_uint_eq(cmd_size, sizeof(struct pvhca_ucmd_create_cq));
	ck_assert_uint_eq(resp_size, sizeof(*r));
	if (answer())
		return kernel.err;
	kernel.cq_req = ((struct pvhca_ucmd_create_cq *)cmd)->drv_payload;
	kernel.cqe = cqe;
	r->comp_mask = UINT32_MAX; /* a newer driver tells more */
	r->doorbell = kernel.doorbell;
	ibcq->context = ibctx;
	ibcq->cqe = cqe;
	kernel.created++;
	return 0;
}

int ibv_cmd_destroy_cq(struct ibv_cq *ibcq)
{
	(void)ibcq;
	if (answer())
		return kernel.err;
	kernel.destroyed++;
	return 0;
}

int ibv_cmd_create_cq_ex(struct ibv_context *ibctx, const struct ibv_cq_init_attr_ex *attr,
			 struct verbs_cq *vcq, struct ibv_create_cq_ex *cmd, size_t cmd_size,
			 struct ib_uverbs_ex_create_cq_resp *resp, size_t resp_size,
			 uint32_t cmd_flags)
{
	struct pvhca_ucmd_create_cq_ex_resp *r = (void *)resp;

	ck_assert_uint_eq(cmd_size, sizeof(struct pvhca_ucmd_create_cq_ex));
	ck_assert_uint_eq(resp_size, sizeof(*r));
	ck_assert_uint_eq(cmd_flags, 0);
	if (answer())
		return kernel.err;
	kernel.cq_req = ((struct pvhca_ucmd_create_cq_ex *)cmd)->drv_payload;
	kernel.cq_attr = *attr;
	kernel.cqe = attr->cqe;
	r->comp_mask = UINT32_MAX; /* a newer driver tells more */
	r->doorbell = kernel.doorbell;
	vcq->cq.context = ibctx;
	vcq->cq.cqe = attr->cqe;
	kernel.created++;
	return 0;
}

int ibv_cmd_resize_cq(struct ibv_cq *ibcq, int cqe, struct ibv_resize_cq *cmd, size_t cmd_size,
		      struct ib_uverbs_resize_cq_resp *resp, size_t resp_size)
{
	(void)resp;
	ck_assert_uint_eq(cmd_size, sizeof(struct pvhca_ucmd_resize_cq));
	ck_assert_uint_eq(resp_size, sizeof(struct pvhca_ucmd_resize_cq_resp));
	kernel.cq_req = ((struct pvhca_ucmd_resize_cq *)cmd)->drv_payload;
	if (kernel.on_resize)
		kernel.on_resize(&kernel.cq_req);
	if (answer())
		return kernel.err;
	ibcq->cqe = cqe;
	return 0;
}

int ibv_cmd_create_srq(struct ibv_pd *pd, struct ibv_srq *ibsrq, struct ibv_srq_init_attr *attr,
		       struct ibv_create_srq *cmd, size_t cmd_size,
		       struct ib_uverbs_create_srq_resp *resp, size_t resp_size)
{
	struct pvhca_ucmd_create_srq_resp *r = (void *)resp;

	ck_assert_uint_eq(cmd_size, sizeof(struct pvhca_ucmd_create_srq));
	ck_assert_uint_eq(resp_size, sizeof(*r));
	if (answer())
		return kernel.err;
	kernel.srq_req = ((struct pvhca_ucmd_create_srq *)cmd)->drv_payload;
	kernel.srq_limit = attr->attr.srq_limit;
	r->slot = kernel.slot;
	r->comp_mask = UINT32_MAX; /* a newer driver tells more */
	r->doorbell = kernel.doorbell;
	r->srqn = kernel.qpn;
	ibsrq->context = pd->context;
	attr->attr.max_wr += kernel.more.max_recv_wr;
	attr->attr.max_sge += kernel.more.max_recv_sge;
	kernel.created++;
	return 0;
}

int ibv_cmd_modify_srq(struct ibv_srq *ibsrq, struct ibv_srq_attr *attr, int mask,
		       struct ibv_modify_srq *cmd, size_t cmd_size)
{
	(void)ibsrq, (void)attr, (void)cmd, (void)cmd_size;
	kernel.mask = mask;
	return answer();
}

int ibv_cmd_query_srq(struct ibv_srq *ibsrq, struct ibv_srq_attr *attr, struct ibv_query_srq *cmd,
		      size_t cmd_size)
{
	(void)ibsrq, (void)cmd, (void)cmd_size;
	*attr = (struct ibv_srq_attr){ 12345, 678, 9 };
	return answer();
}

static int destroy(void)
{
	if (answer())
		return kernel.err;
	kernel.destroyed++;
	return 0;
}

int ibv_cmd_destroy_srq(struct ibv_srq *ibsrq)
{
	(void)ibsrq;
	return destroy();
}

int ibv_cmd_alloc_pd(struct ibv_context *ibctx, struct ibv_pd *ibpd, struct ibv_alloc_pd *cmd,
		     size_t cmd_size, struct ib_uverbs_alloc_pd_resp *resp, size_t resp_size)
{
	(void)cmd, (void)cmd_size, (void)resp, (void)resp_size;
	if (answer())
		return kernel.err;
	ibpd->context = ibctx;
	ibpd->handle = kernel.handle++;
	kernel.created++;
	return 0;
}

int ibv_cmd_dealloc_pd(struct ibv_pd *ibpd)
{
	(void)ibpd;
	return destroy();
}

static struct pvhca_pd test_pd;

static void setup_kernel(void)
{
	setup();
	memset(&kernel, 0, sizeof(kernel));
	kernel.qpn = QPN;
	kernel.slot = SLOT;
	kernel.doorbell = QP_DOORBELL;
	kernel.handle = 77;
	test_ctx.max_cqe = 1 << PVHCA_CQ_MAX_LOG_ENTRIES;
	test_ctx.max_qp_wr = 1 << PVHCA_RING_MAX_LOG_ENTRIES;
	test_ctx.max_srq_wr = 1 << PVHCA_RING_MAX_LOG_ENTRIES;
	test_ctx.max_srq_sge = 30;
	test_ctx.max_sq_sge = 30;
	test_ctx.max_rq_sge = 30;
	test_ctx.max_inline = 512;
	pthread_mutex_init(&test_ctx.qp_lock, NULL);
	pthread_cond_init(&test_ctx.qp_cond, NULL);
	memset(&test_pd, 0, sizeof(test_pd));
	test_pd.ibv_pd.context = &test_ctx.vctx.context;
}

static void teardown_kernel(void)
{
	ck_assert_uint_eq(kernel.dontfork, kernel.dofork);
}

#endif
