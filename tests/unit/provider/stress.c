// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Provider threads against a host thread that sleeps whenever it can.
 *
 * Each poster sends on a QP of its own with an SQ of a few entries, by
 * ibv_post_send() and ibv_wr_post() in turn, and polls a CQ of its own, by
 * ibv_poll_cq() and ibv_start_poll() in turn; two QPs share a word of the pending bitmap, the others have
 * words of their own. Two more threads post to one QP together. The host does
 * what pvhca-ring.h says and sleeps on an eventfd as soon as it finds nothing.
 * A lost wake-up shows as a host asleep with work outstanding: then the program
 * ends in failure. Every entry must arrive once, in order, with its content.
 */
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvhca.h"
#include "timescale.h"

#include <util/mmio.h>

static int host_eventfd;

/* Gives the others a chance, now and then, between any two atomic operations. */
static void preempt(void)
{
	static __thread uint32_t x;

	if (!x)
		x = (uint32_t)(uintptr_t)&x | 1;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	if (x % 256 == 0)
		sched_yield();
}
#define __atomic_load_n(p, m)	     (preempt(), __atomic_load_n(p, m))
#define __atomic_store_n(p, v, m)    (preempt(), __atomic_store_n(p, v, m))
#define __atomic_exchange_n(p, v, m) (preempt(), __atomic_exchange_n(p, v, m))
#define __atomic_fetch_or(p, v, m)   (preempt(), __atomic_fetch_or(p, v, m))
#define __atomic_fetch_and(p, v, m)  (preempt(), __atomic_fetch_and(p, v, m))

static void wake_host(void)
{
	uint64_t one = 1;

	if (write(host_eventfd, &one, sizeof(one)) != sizeof(one))
		abort();
}
#define mmio_write32_le(addr, value) ((void)(addr), (void)(value), wake_host())

#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/wr.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/cq_ex.c"
#include "../../../providers/pvhca/qp_table.c"

#ifdef __SANITIZE_THREAD__
#define MESSAGES 40000
#else
#define MESSAGES 100000
#endif
#define QPS	   5
#define SHARED_QP  (QPS - 1)
#define LOG_SQ	   2
#define LOG_CQ	   1 /* smaller than the SQ, so that the host has to wait for room */
#define LOG_STRIDE 6
#define STALL_MS   ((int)scaled(60000))

struct lane {
	struct pvhca_queue_header header;
	uint8_t sq[1 << (LOG_SQ + LOG_STRIDE)];
	struct pvhca_cq_header cq_header;
	struct pvhca_cqe cqes[1 << LOG_CQ];
	uint64_t wrid[1 << LOG_SQ];
	struct pvhca_qp qp;
	struct pvhca_cq cq;
	/* the host's */
	uint32_t sq_ci;
	uint32_t cq_pi;
	uint64_t next;
};

static struct pvhca_context ctx;
static struct pvhca_context_page page;
static struct lane lanes[QPS];
static const uint32_t slots[QPS] = { 0, 1, 64, 4095, 130 };
static uint64_t done; /* messages that were polled */
static uint64_t sleeps;

#define fail(...) (fprintf(stderr, __VA_ARGS__), fflush(stderr), _exit(1))

/* ----------------------------------- host --------------------------------- */

static bool cq_room(struct lane *l)
{
	return l->cq_pi - pvhca_load32_acquire(&l->cq_header.ci) < 1u << LOG_CQ;
}

static void host_complete(struct lane *l, uint32_t place)
{
	struct pvhca_cqe *cqe = &l->cqes[l->cq_pi % (1 << LOG_CQ)];
	uint32_t phase = !(l->cq_pi >> LOG_CQ & 1);

	cqe->qpn = htole32(l->qp.vqp.qp.qp_num);
	cqe->wqe_index = htole16(place);
	__atomic_store_n((__le32 *)&cqe->opcode, htole32(phase << 31), __ATOMIC_RELEASE);
	l->cq_pi++;
}

/* Serves a queue; false if it had to stop for want of room in the CQ. */
static bool host_serve(struct lane *l)
{
	uint32_t pi = pvhca_load32_acquire(&l->header.sq_pi);
	const struct pvhca_sq_wqe *wqe;
	uint32_t place;

	for (; l->sq_ci != pi; l->sq_ci++) {
		place = l->sq_ci % (1 << LOG_SQ);
		wqe = (void *)(l->sq + (place << LOG_STRIDE));
		if (wqe->flags & PVHCA_WQE_F_SIGNALED && !cq_room(l))
			return false;
		if (l != &lanes[SHARED_QP] && le64toh(wqe->remote_addr) != l->next++)
			fail("entry %u out of order\n", l->sq_ci);
		if (wqe->flags & PVHCA_WQE_F_SIGNALED)
			host_complete(l, place);
	}
	return true;
}

static struct lane *lane_of(uint32_t slot)
{
	unsigned int i;

	for (i = 0; i < QPS; i++)
		if (slots[i] == slot)
			return &lanes[i];
	fail("slot %u was never used\n", slot);
}

static void host_serve_word(unsigned int w)
{
	uint64_t bits = le64toh(__atomic_exchange_n(&page.pending[w], 0, __ATOMIC_SEQ_CST));
	unsigned int bit;

	for (; bits; bits &= bits - 1) {
		bit = __builtin_ctzll(bits);
		if (!host_serve(lane_of(w * 64 + bit))) {
			/* look again: what pvhcad does while it holds back */
			__atomic_fetch_or(&page.pending[w], htole64(1ULL << bit), __ATOMIC_SEQ_CST);
			__atomic_fetch_or(&page.summary, htole64(1ULL << w), __ATOMIC_SEQ_CST);
			sched_yield();
		}
	}
}

static void host_sleep(void)
{
	struct pollfd pfd = { .fd = host_eventfd, .events = POLLIN };
	uint64_t before, count;

	__atomic_store_n(&page.need_kick, ~(__le64)0, __ATOMIC_SEQ_CST);
	pvhca_full_barrier();
	if (__atomic_load_n(&page.summary, __ATOMIC_SEQ_CST))
		return;
	before = __atomic_load_n(&done, __ATOMIC_RELAXED);
	sleeps++;
	if (poll(&pfd, 1, STALL_MS) != 1)
		fail("nobody woke the host for %d ms, %llu messages are done\n", STALL_MS,
		     (unsigned long long)before);
	if (read(host_eventfd, &count, sizeof(count)) != sizeof(count))
		abort();
}

static void *host(void *arg)
{
	uint64_t words;
	(void)arg;

	while (__atomic_load_n(&done, __ATOMIC_RELAXED) != (QPS + 1) * (uint64_t)MESSAGES) {
		words = le64toh(__atomic_exchange_n(&page.summary, 0, __ATOMIC_SEQ_CST));
		if (!words)
			host_sleep();
		for (; words; words &= words - 1)
			host_serve_word(__builtin_ctzll(words));
	}
	return NULL;
}

/* --------------------------------- provider ------------------------------- */

static void count(uint64_t messages)
{
	__atomic_fetch_add(&done, messages, __ATOMIC_RELAXED);
}

static int reap_plain(struct lane *l)
{
	struct ibv_wc wc[4];
	int i, n;

	n = pvhca_poll_cq(&l->cq.vcq.cq, 4, wc);
	if (n < 0)
		fail("poll: %d\n", n);
	for (i = 0; i < n; i++)
		count(wc[i].wr_id);
	return n;
}

static int reap_extended(struct lane *l)
{
	struct ibv_cq_ex *ex = &l->cq.vcq.cq_ex;
	struct ibv_poll_cq_attr attr = {};
	int err, n = 0;

	err = ibv_start_poll(ex, &attr);
	if (err == ENOENT)
		return 0;
	for (; !err; err = ibv_next_poll(ex), n++) {
		if (ibv_wc_read_qp_num(ex) != l->qp.vqp.qp.qp_num)
			fail("completion of another QP\n");
		count(ex->wr_id);
	}
	ibv_end_poll(ex);
	return n;
}

static void reap(struct lane *l)
{
	static __thread unsigned int turn;

	if (turn++ % 2)
		reap_plain(l);
	else
		reap_extended(l);
	if (__atomic_load_n(&done, __ATOMIC_RELAXED) == (QPS + 1) * (uint64_t)MESSAGES)
		wake_host();
}

/* Post a chain. Return: 0 or an error, with *wr at what was not posted. */
static int post_plain(struct lane *l, struct ibv_send_wr **wr)
{
	return pvhca_post_send(&l->qp.vqp.qp, *wr, wr);
}

static int post_extended(struct lane *l, struct ibv_send_wr **wr)
{
	struct ibv_qp_ex *ex = &l->qp.vqp.qp_ex;
	struct ibv_send_wr *i;

	ibv_wr_start(ex);
	for (i = *wr; i; i = i->next) {
		ex->wr_id = i->wr_id;
		ex->wr_flags = i->send_flags;
		ibv_wr_rdma_write(ex, 0, i->wr.rdma.remote_addr);
	}
	return ibv_wr_complete(ex);
}

/*
 * Posts MESSAGES messages in chains of one to three, each second signaled, its
 * wr_id the number of messages that it stands for.
 */
static void *poster(void *arg)
{
	struct lane *l = arg;
	struct ibv_send_wr wr[3], *rest;
	unsigned int unsignaled = 0;
	uint64_t sent = 0;
	unsigned int i, n;
	int err;

	while (sent < MESSAGES) {
		n = 1 + sent % 3;
		if (n > MESSAGES - sent)
			n = MESSAGES - sent;
		memset(wr, 0, sizeof(wr));
		for (i = 0; i < n; i++) {
			wr[i].opcode = IBV_WR_RDMA_WRITE;
			wr[i].wr.rdma.remote_addr = sent + i;
			wr[i].next = i + 1 < n ? &wr[i + 1] : NULL;
			unsignaled++;
			if (unsignaled == 2 || sent + i + 1 == MESSAGES) {
				wr[i].send_flags = IBV_SEND_SIGNALED;
				wr[i].wr_id = unsignaled;
				unsignaled = 0;
			}
		}
		sent += n;
		rest = wr;
		/* Two of the shared lane may both wait for room for all of a chain. */
		err = sent / 7 % 2 ? post_extended(l, &rest) : ENOMEM;
		while (err && (err = post_plain(l, &rest))) {
			if (err != ENOMEM)
				fail("post: %d\n", err);
			reap(l);
			sched_yield();
		}
		if (sent % 5 == 0)
			reap(l);
	}
	return NULL;
}

static void *own_lane(void *arg)
{
	struct lane *l = arg;
	uint64_t before;

	poster(l);
	/* what is left in this CQ; the shared lane's posters reap one another */
	do {
		before = __atomic_load_n(&done, __ATOMIC_RELAXED);
		reap(l);
		sched_yield();
	} while (before != (QPS + 1) * (uint64_t)MESSAGES);
	return NULL;
}

static void setup_lane(unsigned int i)
{
	struct lane *l = &lanes[i];
	struct pvhca_queue *sq = &l->qp.sq;

	l->qp.ctx = l->cq.ctx = &ctx;
	l->qp.vqp.qp.qp_type = IBV_QPT_RC;
	l->qp.vqp.qp.qp_num = 100 + i;
	l->qp.state = IBV_QPS_RTS;
	l->qp.slot = slots[i];
	pvhca_lock_init(&sq->lock, false);
	sq->max_wr = 1 << LOG_SQ;
	sq->mask = sq->max_wr - 1;
	sq->max_sge = 1;
	sq->log_stride = LOG_STRIDE;
	sq->entries = l->sq;
	sq->shared_pi = &l->header.sq_pi;
	sq->wrid = l->wrid;
	pvhca_lock_init(&l->cq.lock, false);
	pthread_mutex_init(&l->cq.resize_lock, NULL);
	l->cq.header = &l->cq_header;
	l->cq.entries = l->cqes;
	l->cq.log_entries = LOG_CQ;
	pvhca_set_wr_ops(&l->qp, IBV_QP_EX_WITH_RDMA_WRITE);
	pvhca_set_cq_ex_ops(&l->cq, IBV_WC_EX_WITH_QP_NUM);
	if (pvhca_qp_table_insert(&ctx.qp_table, 100 + i, &l->qp))
		abort();
}

int main(void)
{
	pthread_t threads[QPS + 1], host_thread;
	unsigned int i;

	host_eventfd = eventfd(0, 0);
	page.alive = htole32(1);
	ctx.page = &page;
	for (i = 0; i < QPS; i++)
		setup_lane(i);

	if (pthread_create(&host_thread, NULL, host, NULL))
		abort();
	for (i = 0; i < QPS + 1; i++)
		if (pthread_create(&threads[i], NULL, own_lane, &lanes[i < QPS ? i : SHARED_QP]))
			abort();
	for (i = 0; i < QPS + 1; i++)
		pthread_join(threads[i], NULL);
	pthread_join(host_thread, NULL);
	pvhca_qp_table_free(&ctx.qp_table);
	printf("%llu messages, the host slept %llu times\n", (unsigned long long)done,
	       (unsigned long long)sleeps);
	return 0;
}
