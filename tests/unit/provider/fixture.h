/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * A context, a CQ and a QP without a kernel. The doorbell page is plain memory;
 * what is written to it is noted. To be included before the sources under test.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <util/mmio.h>

#include "pvhca.h"

static void *rung; /* last doorbell that was written */
static unsigned int rings;

static void note_doorbell(void *addr, uint32_t value)
{
	(void)value;
	rung = addr;
	rings++;
}
#define mmio_write32_le(addr, value) note_doorbell(addr, value)

#define ENTRIES	    4
#define LOG_ENTRIES 2
#define STRIDE	    128
#define LOG_STRIDE  7
#define MAX_SGE	    4
#define MAX_INLINE  96
#define SLOT	    130 /* word 2, bit 2 */
#define QPN	    0x123456
#define QP_DOORBELL 8
#define CQ_DOORBELL 16

static struct pvhca_context ctx;
static struct pvhca_context_page page;
static uint8_t doorbells[64];
static struct pvhca_qp qp;
static struct pvhca_cq cq;
static struct {
	struct pvhca_queue_header header;
	uint8_t sq[ENTRIES * STRIDE];
	uint8_t rq[ENTRIES * STRIDE];
} __attribute__((aligned(4096))) queues;
static struct {
	struct pvhca_cq_header header;
	struct pvhca_cqe entries[ENTRIES];
} __attribute__((aligned(4096))) cq_mem;
static uint64_t sq_wrid[ENTRIES];
static uint64_t rq_wrid[ENTRIES];

static void setup_queue(struct pvhca_queue *q, uint8_t *entries, __le32 *pi, uint64_t *wrid)
{
	memset(q, 0, sizeof(*q));
	pvhca_lock_init(&q->lock, false);
	q->max_wr = ENTRIES;
	q->mask = ENTRIES - 1;
	q->max_sge = MAX_SGE;
	q->log_stride = LOG_STRIDE;
	q->entries = entries;
	q->shared_pi = pi;
	q->wrid = wrid;
}

static void setup(void)
{
	memset(&ctx, 0, sizeof(ctx));
	memset(&page, 0, sizeof(page));
	memset(&queues, 0, sizeof(queues));
	memset(&cq_mem, 0, sizeof(cq_mem));
	page.alive = htole32(1);
	ctx.page = &page;
	ctx.doorbells = doorbells;
	ctx.doorbells_len = sizeof(doorbells);
	rings = 0;
	rung = NULL;

	memset(&cq, 0, sizeof(cq));
	pvhca_lock_init(&cq.lock, false);
	pthread_mutex_init(&cq.resize_lock, NULL);
	cq.ctx = &ctx;
	cq.header = &cq_mem.header;
	cq.entries = cq_mem.entries;
	cq.log_entries = LOG_ENTRIES;
	cq.doorbell = doorbells + CQ_DOORBELL;

	memset(&qp, 0, sizeof(qp));
	qp.ctx = &ctx;
	qp.vqp.qp.context = &ctx.vctx.context;
	qp.vqp.qp.qp_type = IBV_QPT_RC;
	qp.vqp.qp.qp_num = QPN;
	qp.vqp.qp.send_cq = &cq.vcq.cq;
	qp.vqp.qp.recv_cq = &cq.vcq.cq;
	qp.state = IBV_QPS_RTS;
	qp.max_inline = MAX_INLINE;
	qp.slot = SLOT;
	qp.doorbell = doorbells + QP_DOORBELL;
	setup_queue(&qp.sq, queues.sq, &queues.header.sq_pi, sq_wrid);
	setup_queue(&qp.rq, queues.rq, &queues.header.rq_pi, rq_wrid);
}

static int run_suite(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
