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

static struct pvhca_context test_ctx;
static struct pvhca_context_page test_page;
static uint8_t doorbells[64];
static struct pvhca_qp test_qp;
static struct pvhca_cq test_cq;
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
	memset(&test_ctx, 0, sizeof(test_ctx));
	memset(&test_page, 0, sizeof(test_page));
	memset(&queues, 0, sizeof(queues));
	memset(&cq_mem, 0, sizeof(cq_mem));
	test_page.alive = htole32(1);
	test_ctx.page = &test_page;
	test_ctx.doorbells = doorbells;
	test_ctx.doorbells_len = sizeof(doorbells);
	rings = 0;
	rung = NULL;

	memset(&test_cq, 0, sizeof(test_cq));
	pvhca_lock_init(&test_cq.lock, false);
	pthread_mutex_init(&test_cq.resize_lock, NULL);
	test_cq.ctx = &test_ctx;
	test_cq.header = &cq_mem.header;
	test_cq.entries = cq_mem.entries;
	test_cq.log_entries = LOG_ENTRIES;
	test_cq.doorbell = doorbells + CQ_DOORBELL;

	memset(&test_qp, 0, sizeof(test_qp));
	test_qp.ctx = &test_ctx;
	test_qp.vqp.qp.context = &test_ctx.vctx.context;
	test_qp.vqp.qp.qp_type = IBV_QPT_RC;
	test_qp.vqp.qp.qp_num = QPN;
	test_qp.vqp.qp.send_cq = &test_cq.vcq.cq;
	test_qp.vqp.qp.recv_cq = &test_cq.vcq.cq;
	test_qp.state = IBV_QPS_RTS;
	test_qp.max_inline = MAX_INLINE;
	test_qp.slot = SLOT;
	test_qp.doorbell = doorbells + QP_DOORBELL;
	setup_queue(&test_qp.sq, queues.sq, &queues.header.sq_pi, sq_wrid);
	setup_queue(&test_qp.rq, queues.rq, &queues.header.rq_pi, rq_wrid);
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
