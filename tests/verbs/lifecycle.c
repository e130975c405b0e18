// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-lifecycle: an application with many QPs open and in use while the
 * device is taken from under it.
 *
 * Says "ready" once traffic goes, keeps it going until SIGTERM or until
 * something happens, waits a little for what else happens, and gives everything
 * back. The exit status is the sum of what it saw; 0 is nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pair.h"
#include "report.h"
#include "timescale.h"

enum seen {
	/* 1: could not even start */
	SEEN_POST_ERROR = 2,
	SEEN_BAD_COMPLETION = 4,
	SEEN_POLL_ERROR = 8,
	SEEN_DEVICE_FATAL = 16,
	SEEN_OTHER_EVENT = 32,
	SEEN_STALL = 64,
	SEEN_DESTROY_ERROR = 128,
};

#define MESSAGE 4096
#define REGION	(1 << 20)
#define BATCH	16

struct lifecycle {
	struct device device;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
	uint8_t *memory;
	struct pair *pair;
	unsigned int pairs;
	unsigned int linger; /* seconds */
	unsigned int stall;  /* seconds */
	bool idle;	     /* no traffic: objects only */
	uint64_t completed;
	unsigned int seen;
};

static volatile sig_atomic_t stop;

static const char usage[] =
	"pvhca-test-lifecycle [options]\n"
	"  -d, --device NAME  RDMA device (default: the first)\n"
	"  -g, --gid N        GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -q, --qps N        (default: 64)\n"
	"  -i, --idle         no traffic\n"
	"  -l, --linger N     seconds to go on after the first trouble (default: 3)\n"
	"  -t, --stall N      seconds without a completion that count as trouble (default: 120)\n"
	"Exit status, added up: 1 could not start, 2 posting failed, 4 completion in error,\n"
	"8 polling failed, 16 IBV_EVENT_DEVICE_FATAL, 32 another event, 64 no completion any\n"
	"more, 128 destroying failed.\n";

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' }, { "gid", required_argument, NULL, 'g' },
	{ "qps", required_argument, NULL, 'q' },    { "idle", no_argument, NULL, 'i' },
	{ "linger", required_argument, NULL, 'l' }, { "stall", required_argument, NULL, 't' },
	{ "help", no_argument, NULL, 'h' },	    { 0 },
};

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

/* Print each kind of trouble when it is first seen. */
static void note(struct lifecycle *l, enum seen what, const char *text, const char *detail)
{
	if (what == SEEN_OTHER_EVENT || !(l->seen & what))
		say("%s %s", text, detail);
	l->seen |= what;
}

static void start(struct lifecycle *l, const char *name, int gid)
{
	unsigned int i;
	int flags;

	device_open(&l->device, name, gid);
	flags = fcntl(l->device.context->async_fd, F_GETFL);
	fcntl(l->device.context->async_fd, F_SETFL, flags | O_NONBLOCK);
	l->pd = ibv_alloc_pd(l->device.context);
	if (!l->pd)
		die_errno(errno, "ibv_alloc_pd");
	l->memory = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l->memory == MAP_FAILED)
		die_errno(errno, "mmap");
	l->mr = ibv_reg_mr(l->pd, l->memory, REGION, endpoint_defaults.access);
	if (!l->mr)
		die_errno(errno, "ibv_reg_mr");
	l->cq = ibv_create_cq(l->device.context, 4 * l->pairs, NULL, NULL, 0);
	if (!l->cq)
		die_errno(errno, "ibv_create_cq");
	l->pair = calloc(l->pairs, sizeof(*l->pair));
	if (!l->pair)
		die("out of memory");
	for (i = 0; i < l->pairs; i++)
		pair_init(&l->pair[i], &l->device, l->pd, 2, l->cq);
}

static void post(struct lifecycle *l, unsigned int i)
{
	struct ibv_sge sge = { .addr = (uintptr_t)l->memory,
			       .length = MESSAGE,
			       .lkey = l->mr->lkey };
	struct ibv_send_wr wr = {
		.wr_id = i,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {
			.remote_addr = (uintptr_t)l->memory + REGION / 2 + i % 64 * MESSAGE,
			.rkey = l->mr->rkey,
		},
	}, *bad;
	int error = ibv_post_send(l->pair[i].active, &wr, &bad);

	if (error)
		note(l, SEEN_POST_ERROR, "post_send", errno_name(error));
}

static bool look_for_events(struct lifecycle *l)
{
	struct ibv_async_event event;
	bool fatal;

	if (ibv_get_async_event(l->device.context, &event))
		return false;
	fatal = event.event_type == IBV_EVENT_DEVICE_FATAL;
	note(l, fatal ? SEEN_DEVICE_FATAL : SEEN_OTHER_EVENT, "event",
	     event_name(event.event_type));
	ibv_ack_async_event(&event);
	return true;
}

/* The number of good completions; each lets its QP go on. */
static int take(struct lifecycle *l)
{
	struct ibv_wc wc[BATCH];
	int i, n, good = 0;

	n = ibv_poll_cq(l->cq, BATCH, wc);
	if (n < 0)
		note(l, SEEN_POLL_ERROR, "poll_cq", errno_name(n));
	for (i = 0; i < n; i++) {
		if (wc[i].status) {
			note(l, SEEN_BAD_COMPLETION, "completion", status_name(wc[i].status));
			continue;
		}
		good++;
		post(l, wc[i].wr_id);
	}
	l->completed += good;
	return good;
}

/* How long to go on after the first trouble: longer on a slow machine, unless the last word has been said. */
static unsigned int patience(const struct lifecycle *l)
{
	return l->seen & SEEN_DEVICE_FATAL ? l->linger : scaled(l->linger);
}

static void run(struct lifecycle *l)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	time_t alive = time(NULL), trouble = 0, now;
	unsigned int i;
	bool ready = false;

	for (i = 0; i < l->pairs && !l->idle; i++)
		post(l, i);
	while (!stop && !(trouble && time(NULL) - trouble > patience(l))) {
		now = time(NULL);
		if (l->idle || take(l))
			alive = now;
		else if (now - alive > l->stall)
			note(l, SEEN_STALL, "stall", "");
		while (look_for_events(l))
			;
		if (!ready && (l->idle || l->completed >= l->pairs)) {
			ready = true;
			say("ready qps=%u", 2 * l->pairs);
		}
		if (l->seen && !trouble)
			trouble = now;
		if (l->idle || trouble)
			nanosleep(&pause, NULL);
	}
}

static void finish(struct lifecycle *l)
{
	int error = 0, result;
	unsigned int i;

	for (i = 0; i < l->pairs; i++) {
		result = pair_free(&l->pair[i], 0);
		error = error ? error : result;
	}
	result = ibv_destroy_cq(l->cq);
	error = error ? error : result;
	result = ibv_dereg_mr(l->mr);
	error = error ? error : result;
	result = ibv_dealloc_pd(l->pd);
	error = error ? error : result;
	if (error)
		note(l, SEEN_DESTROY_ERROR, "destroying", errno_name(error));
	ibv_close_device(l->device.context);
}

int main(int argc, char **argv)
{
	struct lifecycle l = { .pairs = 32, .linger = 3, .stall = 120 };
	int c, gid = GID_INDEX_AUTO;
	const char *device = NULL;

	while ((c = getopt_long(argc, argv, "d:g:q:il:t:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'g':
			gid = atoi(optarg);
			break;
		case 'q':
			l.pairs = (atoi(optarg) + 1) / 2;
			break;
		case 'i':
			l.idle = true;
			break;
		case 'l':
			l.linger = atoi(optarg);
			break;
		case 't':
			l.stall = atoi(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 1;
		}
	}
	l.stall = scaled(l.stall);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	start(&l, device, gid);
	run(&l);
	finish(&l);
	say("done completed=%lu seen=%u", l.completed, l.seen);
	return l.seen;
}
