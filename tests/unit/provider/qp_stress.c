// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queue pairs that live for one message. Of each pair of threads one makes a QP and
 * posts, the other polls and destroys it as soon as it has seen the completion, so
 * often before the first is back from its post. The host gives a number away again
 * at once, while the thread that destroyed its QP still waits in the kernel.
 * Each message must complete once, on its own QP.
 */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pvhca.h"
#include "pvhca-abi.h"

#include <util/mmio.h>

#define mmio_write32_le(addr, value) ((void)(addr), (void)(value))

#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/wr.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/qp_table.c"
#include "../../../providers/pvhca/qp.c"

#define PAIRS	3
#define NUMBERS PAIRS /* so that each number is soon given again */
#define LOG_CQ	3
#define SIZE	(1u << LOG_CQ)
#define FIRST	0x800
#ifdef __SANITIZE_THREAD__
#define MESSAGES 5000
#else
#define MESSAGES 10000
#endif

#define fail(...) (fprintf(stderr, __VA_ARGS__), fflush(stderr), _exit(1))

struct pair {
	struct pvhca_cq_header header;
	struct pvhca_cqe cqes[SIZE];
	struct pvhca_cq cq;
	uint32_t pi;   /* the host's */
	uint32_t made; /* QPs; atomic */
	uint32_t gone;
	struct pvhca_qp *qp;
};

/* The host's part of a QP; under host_lock. */
static struct {
	struct pair *pair; /* NULL: the number is free */
	struct pvhca_queue_header *header;
	bool sent;
} host_qps[NUMBERS];
static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static bool over;

static struct pvhca_context ctx;
static struct pvhca_context_page page;
static uint8_t doorbells[64];
static struct ibv_pd pd;
static struct pair pairs[PAIRS];

/* ---------------------------- the kernel and the host --------------------- */

int ibv_cmd_create_qp_ex2(struct ibv_context *ibctx, struct verbs_qp *vqp,
			  struct ibv_qp_init_attr_ex *attr, struct ibv_create_qp_ex *cmd,
			  size_t cmd_size, struct ib_uverbs_ex_create_qp_resp *resp,
			  size_t resp_size)
{
	struct pvhca_ucmd_create_qp_ex *req = (void *)cmd;
	uint32_t i = 0;

	(void)ibctx, (void)cmd_size, (void)resp, (void)resp_size;
	pthread_mutex_lock(&host_lock);
	while (i < NUMBERS && host_qps[i].pair)
		i++;
	if (i == NUMBERS)
		fail("no number is free\n");
	host_qps[i].pair = attr->qp_context;
	host_qps[i].header = (void *)(uintptr_t)req->drv_payload.buf_addr;
	host_qps[i].sent = false;
	pthread_mutex_unlock(&host_lock);

	vqp->qp.send_cq = attr->send_cq;
	vqp->qp.recv_cq = attr->recv_cq;
	vqp->qp.qp_type = attr->qp_type;
	vqp->qp.qp_num = FIRST + i;
	return 0;
}

/* Gives the number back first and waits then, as for events that are not acknowledged. */
int ibv_cmd_destroy_qp(struct ibv_qp *ibqp)
{
	unsigned int i;

	pthread_mutex_lock(&host_lock);
	host_qps[ibqp->qp_num - FIRST].pair = NULL;
	pthread_mutex_unlock(&host_lock);
	for (i = 0; i < 3; i++)
		sched_yield();
	return 0;
}

int ibv_cmd_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		      struct ibv_modify_qp *cmd, size_t cmd_size)
{
	(void)ibqp, (void)attr, (void)mask, (void)cmd, (void)cmd_size;
	return 0;
}

int ibv_cmd_query_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		     struct ibv_qp_init_attr *init_attr, struct ibv_query_qp *cmd, size_t cmd_size)
{
	(void)ibqp, (void)attr, (void)mask, (void)init_attr, (void)cmd, (void)cmd_size;
	return EOPNOTSUPP;
}

int pvhca_buf_alloc(struct pvhca_buf *buf, size_t len, struct pvhca_pd *parent,
		    enum pvhca_resource resource)
{
	(void)parent, (void)resource;
	buf->addr = calloc(1, len);
	buf->len = len;
	return buf->addr ? 0 : ENOMEM;
}

void pvhca_buf_free(struct pvhca_buf *buf)
{
	free(buf->addr);
}

struct pvhca_pd *pvhca_get_parent(struct ibv_pd *ibpd)
{
	(void)ibpd;
	return NULL;
}

void pvhca_put_parent(struct pvhca_pd *parent)
{
	(void)parent;
}

static void complete(struct pair *p, uint32_t qpn)
{
	struct pvhca_cqe *cqe = &p->cqes[p->pi % SIZE];
	uint32_t phase = !(p->pi >> LOG_CQ & 1);

	while (p->pi - pvhca_load32_acquire(&p->header.ci) == SIZE)
		sched_yield();
	__atomic_store_n(&cqe->qpn, htole32(qpn), __ATOMIC_RELAXED);
	cqe->wqe_index = 0;
	__atomic_store_n((__le32 *)&cqe->opcode, htole32(phase << 31), __ATOMIC_RELEASE);
	p->pi++;
}

/* Looks at all QPs, announced or not: as pvhcad does after the work of another. */
static void *host(void *arg)
{
	unsigned int i;

	(void)arg;
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		for (i = 0; i < NUMBERS; i++) {
			pthread_mutex_lock(&host_lock);
			if (host_qps[i].pair && !host_qps[i].sent &&
			    pvhca_load32_acquire(&host_qps[i].header->sq_pi)) {
				host_qps[i].sent = true;
				complete(host_qps[i].pair, FIRST + i);
			}
			pthread_mutex_unlock(&host_lock);
		}
		sched_yield();
	}
	return NULL;
}

/* ------------------------------- the application -------------------------- */

static void post(struct pvhca_qp *qp, uint64_t wr_id)
{
	struct ibv_send_wr wr = {
		.wr_id = wr_id,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_qp_ex *ex = &qp->vqp.qp_ex;
	struct ibv_send_wr *bad;
	int err;

	if (wr_id % 2) {
		err = pvhca_post_send(&qp->vqp.qp, &wr, &bad);
	} else {
		ibv_wr_start(ex);
		ex->wr_id = wr_id;
		ex->wr_flags = IBV_SEND_SIGNALED;
		ibv_wr_send(ex);
		err = ibv_wr_complete(ex);
	}
	if (err)
		fail("post: %d\n", err);
}

static void *maker(void *arg)
{
	struct pair *p = arg;
	struct ibv_qp_init_attr_ex attr = {
		.qp_context = p,
		.send_cq = &p->cq.vcq.cq,
		.recv_cq = &p->cq.vcq.cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1 },
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = &pd,
		.send_ops_flags = IBV_QP_EX_WITH_SEND,
	};
	struct ibv_qp_attr rts = { .qp_state = IBV_QPS_RTS };
	struct ibv_qp *ibqp;
	uint32_t i;

	for (i = 0; i < MESSAGES; i++) {
		/* Destroyed so far that the host has given its number back. */
		while (__atomic_load_n(&p->gone, __ATOMIC_ACQUIRE) != i)
			sched_yield();
		ibqp = pvhca_create_qp_ex(&ctx.vctx.context, &attr);
		if (!ibqp)
			fail("create: %d\n", errno);
		pvhca_modify_qp(ibqp, &rts, IBV_QP_STATE);
		p->qp = to_pvhca_qp(ibqp);
		__atomic_store_n(&p->made, i + 1, __ATOMIC_RELEASE);
		post(to_pvhca_qp(ibqp), i);
	}
	return NULL;
}

static void *reaper(void *arg)
{
	struct pair *p = arg;
	struct pvhca_qp *qp;
	struct ibv_wc wc;
	uint32_t i;

	for (i = 0; i < MESSAGES; i++) {
		while (__atomic_load_n(&p->made, __ATOMIC_ACQUIRE) != i + 1)
			sched_yield();
		qp = p->qp;
		while (!pvhca_poll_cq(&p->cq.vcq.cq, 1, &wc))
			sched_yield();
		if (wc.wr_id != i || wc.qp_num != qp->vqp.qp.qp_num)
			fail("completion of another QP\n");
		pvhca_destroy_qp(&qp->vqp.qp);
		__atomic_store_n(&p->gone, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void setup(void)
{
	struct pair *p;

	page.alive = htole32(1);
	ctx.page = &page;
	ctx.doorbells = doorbells;
	ctx.doorbells_len = sizeof(doorbells);
	ctx.max_qp_wr = 1;
	ctx.send_ops = IBV_QP_EX_WITH_SEND;
	pthread_mutex_init(&ctx.qp_lock, NULL);
	pthread_cond_init(&ctx.qp_cond, NULL);
	pd.context = &ctx.vctx.context;
	for (p = pairs; p < pairs + PAIRS; p++) {
		pvhca_lock_init(&p->cq.lock, false);
		pthread_mutex_init(&p->cq.resize_lock, NULL);
		p->cq.ctx = &ctx;
		p->cq.header = &p->header;
		p->cq.entries = p->cqes;
		p->cq.log_entries = LOG_CQ;
	}
}

int main(void)
{
	pthread_t threads[2 * PAIRS], host_thread;
	unsigned int i;

	alarm(120); /* a completion that is lost is waited for */
	setup();
	pthread_create(&host_thread, NULL, host, NULL);
	for (i = 0; i < PAIRS; i++) {
		pthread_create(&threads[2 * i], NULL, maker, &pairs[i]);
		pthread_create(&threads[2 * i + 1], NULL, reaper, &pairs[i]);
	}
	for (i = 0; i < 2 * PAIRS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	pthread_join(host_thread, NULL);
	if (ctx.qp_table.used)
		fail("%u QPs are left\n", ctx.qp_table.used);
	printf("%u messages, each on a QP of its own\n", PAIRS * MESSAGES);
	return 0;
}
