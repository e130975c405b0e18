// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-wakeups: does pvhcad always wake up? One request at a time, after pauses
 * about as long as a worker polls before it sleeps, so that a great many requests meet
 * it just when it falls asleep. Exits with 0 if all were completed, with 1 and a line
 * that tells the state of both sides as soon as one is not.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "objects.h"
#include "raw.h"
#include "ring.h"
#include "timescale.h"

#define AREA		 (1ul << 20)
#define PATIENCE_NS	 (scaled(60) * 1000000000ull)
#define LONGEST_PAUSE_US 400u

struct stress {
	struct guest guest;
	struct guest_context context;
	struct guest_cq cq[2];
	struct guest_qp qp[2];
	struct guest_mr source, target;
	unsigned int random;
};

/* Below limit. */
static unsigned int next_random(struct stress *stress, unsigned int limit)
{
	return rand_r(&stress->random) % limit;
}

static int setup(struct stress *stress, const char *socket)
{
	static const uint8_t gid[16] = { [10] = 0xff, 0xff, 10, 99, 1, 1 };
	unsigned int i;

	if (guest_open(&stress->guest, socket, "ring-wakeups", 8 * AREA) ||
	    guest_add_gid(&stress->guest, 0, gid) ||
	    guest_context_open(&stress->guest, &stress->context) ||
	    guest_mr_reg(&stress->context, AREA, &stress->source) ||
	    guest_mr_reg(&stress->context, AREA, &stress->target))
		return -1;
	/* The smallest rings: each request uses the place of the one before. */
	for (i = 0; i < 2; i++)
		if (guest_cq_create(&stress->context, 0, &stress->cq[i]) ||
		    guest_qp_create(&stress->context, &stress->cq[i], 1, 0, &stress->qp[i]))
			return -1;
	for (i = 0; i < 2; i++)
		if (guest_qp_connect(&stress->qp[i], stress->qp[!i].provider.vqp.qp.qp_num, gid))
			return -1;
	return 0;
}

static int post(struct stress *stress)
{
	uint32_t size = 1u << next_random(stress, 13);
	struct ibv_sge sge = {
		.addr = (uintptr_t)stress->source.addr,
		.length = size,
		.lkey = stress->source.lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = next_random(stress, 2) ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {
			.remote_addr = (uintptr_t)stress->target.addr,
			.rkey = stress->target.rkey,
		},
	};

	return guest_post_send(&stress->qp[0], &wr);
}

static void tell(const struct stress *stress, uint64_t number)
{
	const struct pvhca_context_page *page = stress->context.provider.page;
	const struct pvhca_queue *sq = &stress->qp[0].provider.sq;

	fprintf(stderr,
		"request %llu is not completed: posted up to %u, summary %#llx, pending %#llx, need_kick %#llx, %llu doorbells\n",
		(unsigned long long)number, pvhca_load32(sq->shared_pi),
		(unsigned long long)le64toh(page->summary),
		(unsigned long long)le64toh(page->pending[stress->qp[0].provider.slot / 64]),
		(unsigned long long)le64toh(page->need_kick),
		(unsigned long long)stress->guest.doorbells_rung);
}

static int complete(struct stress *stress, uint64_t number)
{
	uint64_t deadline = monotonic_ns() + PATIENCE_NS;
	struct ibv_wc wc;
	int n;

	while (!(n = guest_poll_cq(&stress->cq[0], 1, &wc)))
		if (monotonic_ns() > deadline)
			break;
	if (n <= 0) {
		tell(stress, number);
		return -1;
	}
	if (wc.status)
		fprintf(stderr, "request %llu: %s\n", (unsigned long long)number,
			ibv_wc_status_str(wc.status));
	return wc.status ? -1 : 0;
}

static void pause_a_while(struct stress *stress)
{
	uint64_t until = monotonic_ns() + next_random(stress, LONGEST_PAUSE_US * 1000);

	if (next_random(stress, 4))
		while (monotonic_ns() < until)
			;
	else
		usleep(next_random(stress, LONGEST_PAUSE_US));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'r' },
		{ 0 },
	};
	static struct stress stress;
	const char *socket = NULL;
	uint64_t seconds = 5, number = 0, end;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			socket = optarg;
		else if (option == 't')
			seconds = strtoull(optarg, NULL, 0);
		else if (option == 'r')
			stress.random = strtoul(optarg, NULL, 0);
	}
	if (!socket) {
		fputs("usage: pvhca-ring-wakeups --socket PATH [--seconds N] [--seed N]\n", stderr);
		return 2;
	}
	if (setup(&stress, socket))
		return 1;
	for (end = monotonic_ns() + seconds * 1000000000ull; monotonic_ns() < end; number++) {
		if (post(&stress)) {
			fputs("a request cannot be posted\n", stderr);
			return 1;
		}
		if (complete(&stress, number))
			return 1;
		pause_a_while(&stress);
	}
	printf("%llu requests, %llu doorbells\n", (unsigned long long)number,
	       (unsigned long long)stress.guest.doorbells_rung);
	guest_close(&stress.guest);
	return 0;
}
