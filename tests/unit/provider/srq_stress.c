// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * One SRQ, several threads: two post, two poll a CQ each, and the host completes
 * receives out of order to either CQ. Every receive must complete once, under its
 * own wr_id, and no entry may be written before the host has taken what was there.
 */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pvhca.h"
#include "timescale.h"

#include <util/mmio.h>

#define mmio_write32_le(addr, value) ((void)(addr), (void)(value))

#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/qp_table.c"

#define POSTERS	   2
#define CQS	   2
#define MESSAGES   60000 /* of each poster */
#define LOG_SRQ	   3
#define SIZE	   (1u << LOG_SRQ)
#define LOG_STRIDE 5
#define HELD	   3 /* receives that the host keeps, to complete them out of order */
#define TOTAL	   ((uint64_t)POSTERS * MESSAGES)

#define fail(...) (fprintf(stderr, __VA_ARGS__), fflush(stderr), _exit(1))

static struct pvhca_context ctx;
static struct pvhca_context_page page;
static struct pvhca_queue_header header;
static uint8_t ring[SIZE << LOG_STRIDE];
static uint64_t wrid[SIZE];
static uint16_t free_tags[SIZE];
static struct pvhca_srq srq;
static struct {
	struct pvhca_cq_header header;
	struct pvhca_cqe cqes[SIZE];
	struct pvhca_cq cq;
	struct pvhca_qp qp;
	uint32_t pi;
} side[CQS];
static uint8_t seen[TOTAL];
static uint64_t done;

static void complete(unsigned int s, uint16_t tag)
{
	struct pvhca_cqe *cqe = &side[s].cqes[side[s].pi % SIZE];
	uint32_t phase = !(side[s].pi >> LOG_SRQ & 1);

	while (side[s].pi - pvhca_load32_acquire(&side[s].header.ci) == SIZE)
		sched_yield();
	cqe->qpn = htole32(side[s].qp.vqp.qp.qp_num);
	cqe->wqe_index = htole16(tag);
	__atomic_store_n((__le32 *)&cqe->opcode, htole32(phase << 31 | PVHCA_CQE_RECV),
			 __ATOMIC_RELEASE);
	side[s].pi++;
}

static void *host(void *arg)
{
	uint16_t held[HELD];
	unsigned int n = 0, i;
	uint32_t x = 1, ci = 0;

	(void)arg;
	while (ci != TOTAL || n) {
		if (ci != TOTAL && n < HELD && ci != pvhca_load32_acquire(&header.rq_pi)) {
			const struct pvhca_rq_wqe *wqe =
				(void *)(ring + ((ci++ % SIZE) << LOG_STRIDE));

			held[n++] = le16toh(wqe->tag);
			continue;
		}
		if (!n) {
			sched_yield();
			continue;
		}
		x = x * 1103515245 + 12345;
		i = (x >> 16) % n;
		complete(x >> 24 & 1, held[i]);
		held[i] = held[--n];
	}
	return NULL;
}

static void *poster(void *arg)
{
	uint64_t first = (uintptr_t)arg * MESSAGES, i;
	struct ibv_recv_wr wr = {}, *bad;
	int err;

	for (i = 0; i < MESSAGES; i++) {
		wr.wr_id = first + i;
		while ((err = pvhca_post_srq_recv(&srq.vsrq.srq, &wr, &bad))) {
			if (err != ENOMEM)
				fail("post: %d\n", err);
			sched_yield();
		}
	}
	return NULL;
}

static void *poller(void *arg)
{
	struct ibv_cq *ibcq = &side[(uintptr_t)arg].cq.vcq.cq;
	struct ibv_wc wc[2];
	int i, n;

	while (__atomic_load_n(&done, __ATOMIC_RELAXED) != TOTAL) {
		n = pvhca_poll_cq(ibcq, 2, wc);
		for (i = 0; i < n; i++)
			if (wc[i].wr_id >= TOTAL ||
			    __atomic_fetch_add(&seen[wc[i].wr_id], 1, __ATOMIC_RELAXED))
				fail("wr_id %llu\n", (unsigned long long)wc[i].wr_id);
		if (n > 0)
			__atomic_fetch_add(&done, n, __ATOMIC_RELAXED);
		else
			sched_yield();
	}
	return NULL;
}

static void setup(void)
{
	unsigned int i;

	page.alive = htole32(1);
	ctx.page = &page;
	srq.ctx = &ctx;
	pvhca_lock_init(&srq.q.lock, false);
	srq.q.max_wr = SIZE;
	srq.q.mask = SIZE - 1;
	srq.q.log_stride = LOG_STRIDE;
	srq.q.entries = ring;
	srq.q.shared_pi = &header.rq_pi;
	srq.q.wrid = wrid;
	srq.free_tags = free_tags;
	srq.num_free = SIZE;
	for (i = 0; i < SIZE; i++)
		free_tags[i] = i;
	for (i = 0; i < CQS; i++) {
		side[i].qp.vqp.qp.qp_num = 100 + i;
		side[i].qp.vqp.qp.srq = &srq.vsrq.srq;
		pvhca_lock_init(&side[i].cq.lock, false);
		side[i].cq.ctx = &ctx;
		side[i].cq.header = &side[i].header;
		side[i].cq.entries = side[i].cqes;
		side[i].cq.log_entries = LOG_SRQ;
		if (pvhca_qp_table_insert(&ctx.qp_table, 100 + i, &side[i].qp))
			abort();
	}
}

int main(void)
{
	pthread_t threads[POSTERS + CQS + 1];
	uintptr_t i, n = 0;

	alarm(scaled(120)); /* a receive that is lost is waited for */
	setup();
	pthread_create(&threads[n++], NULL, host, NULL);
	for (i = 0; i < POSTERS; i++)
		pthread_create(&threads[n++], NULL, poster, (void *)i);
	for (i = 0; i < CQS; i++)
		pthread_create(&threads[n++], NULL, poller, (void *)i);
	while (n)
		pthread_join(threads[--n], NULL);
	if (srq.num_free != SIZE)
		fail("%u tags are lost\n", SIZE - srq.num_free);
	pvhca_qp_table_free(&ctx.qp_table);
	printf("%llu receives\n", (unsigned long long)done);
	return 0;
}
