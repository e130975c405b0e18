// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-pace: a guest that does little, for whoever measures what it costs its host meanwhile.
 * It has a connection through the provider's ring code and a real pvhcad, and does nothing, or
 * polls its CQ, or sends a message and polls until that has completed, so often a second. It
 * says "going" and a process id, and goes on until it is ended.
 *
 * Without a socket: no pvhcad, but a process that sleeps until it is woken and answers by an
 * eventfd. The process id is that one's: the least that anything costs which is woken.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "objects.h"

#define AREA	 (1ul << 20)
#define DEPTH	 16u
#define SIZE	 64u
#define NS_PER_S 1000000000l

struct pace {
	struct guest guest;
	struct guest_context context;
	struct guest_cq cq[2];
	struct guest_qp qp[2];
	struct guest_mr source, target;
	int there, back; /* of the process that answers */
	bool answers;
};

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

static void connect_to(struct pace *pace, const char *socket)
{
	static const uint8_t gid[16] = { [10] = 0xff, 0xff, 10, 99, 4, 1 };
	unsigned int i;

	if (guest_open(&pace->guest, socket, "ring-pace", 8 * AREA) ||
	    guest_add_gid(&pace->guest, 0, gid) ||
	    guest_context_open(&pace->guest, &pace->context) ||
	    guest_mr_reg(&pace->context, AREA, &pace->source) ||
	    guest_mr_reg(&pace->context, AREA, &pace->target))
		exit(1);
	for (i = 0; i < 2; i++)
		if (guest_cq_create(&pace->context, 5, &pace->cq[i]) ||
		    guest_qp_create(&pace->context, &pace->cq[i], DEPTH, 0, &pace->qp[i]))
			exit(1);
	for (i = 0; i < 2; i++)
		if (guest_qp_connect(&pace->qp[i], pace->qp[!i].provider.vqp.qp.qp_num, gid))
			exit(1);
}

/* Returns the process that answers. */
static pid_t start_answering(struct pace *pace)
{
	eventfd_t count;
	pid_t pid;

	pace->answers = true;
	pace->there = eventfd(0, EFD_CLOEXEC);
	pace->back = eventfd(0, EFD_CLOEXEC);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		if (eventfd_read(pace->there, &count) || eventfd_write(pace->back, 1))
			_exit(1);
}

static void poll_once(struct pace *pace)
{
	struct ibv_wc wc;

	if (!pace->answers && guest_poll_cq(&pace->cq[0], 1, &wc))
		fail("a poll that finds nothing");
}

static void send_one(struct pace *pace)
{
	struct ibv_sge sge = { (uintptr_t)pace->source.addr, SIZE, pace->source.lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {
			.remote_addr = (uintptr_t)pace->target.addr,
			.rkey = pace->target.rkey,
		},
	};
	eventfd_t count;
	struct ibv_wc wc;
	int n;

	if (pace->answers) {
		if (eventfd_write(pace->there, 1) || eventfd_read(pace->back, &count))
			fail("an answer");
		return;
	}
	if (guest_post_send(&pace->qp[0], &wr))
		fail("posting");
	while (!(n = guest_poll_cq(&pace->cq[0], 1, &wc)))
		;
	if (n < 0 || wc.status)
		fail("a message");
}

/* Until it is ended: so often a second, however late it is at times. */
static void go_on(struct pace *pace, unsigned long rate, bool only_polls)
{
	struct timespec next;

	if (!rate)
		for (;;)
			pause();
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		next.tv_nsec += NS_PER_S / (long)rate;
		next.tv_sec += next.tv_nsec / NS_PER_S;
		next.tv_nsec %= NS_PER_S;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		if (only_polls)
			poll_once(pace);
		else
			send_one(pace);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "messages", required_argument, NULL, 'm' },
		{ "polls", required_argument, NULL, 'p' },
		{ 0 },
	};
	static struct pace pace;
	const char *socket = NULL;
	unsigned long rate = 0;
	bool only_polls = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's') {
			socket = optarg;
		} else if (option == 'm' || option == 'p') {
			rate = strtoul(optarg, NULL, 0);
			only_polls = option == 'p';
		} else {
			fputs("usage: pvhca-ring-pace [--socket PATH] [--messages N | --polls N]\n"
			      "N a second, for ever\n",
			      stderr);
			return 2;
		}
	}
	if (socket)
		connect_to(&pace, socket);
	printf("going %d\n", (int)(socket ? getpid() : start_answering(&pace)));
	fflush(stdout);
	go_on(&pace, rate, only_polls);
}
