// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-stream: a steady stream of RDMA writes from client to server.
 *
 * The client keeps a window of messages in flight and says at the end how many
 * there were, so that doorbells and exits can be held against it. When the other
 * side dies in the middle, both ends end by themselves and say how.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "endpoint.h"
#include "report.h"

/* Exit status when the stream broke off. */
#define BROKEN 2
#define BATCH  16
/* How often to look whether the other process is still there; rather the QP should say it first. */
#define GRACE_SECONDS 10

enum { PLACE_READY = 1, PLACE_DONE };

struct options {
	const char *device;
	const char *host;
	const char *port;
	int gid;
	unsigned int size;
	unsigned int window;
	unsigned long count;
	unsigned int seconds; /* instead of count */
	unsigned int timeout; /* as encoded for ibv_modify_qp */
};

struct stream {
	struct device device;
	struct channel channel;
	struct ibv_pd *pd;
	struct ibv_mr *mr;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	uint8_t *memory;
};

/* What the ends tell one another. */
struct greeting {
	struct endpoint_address address;
	uint64_t memory;
	uint32_t rkey;
	uint32_t size;
};

static const char usage[] =
	"pvhca-test-stream [options] [host]\n"
	"Without host: be written to.\n"
	"  -d, --device NAME  RDMA device (default: the first)\n"
	"  -g, --gid N        GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -p, --port N       TCP port (default: " CHANNEL_DEFAULT_PORT ")\n"
	"  -s, --size N       bytes of a message, the same at both ends (default: 4096)\n"
	"  -n, --count N      messages (default: 10000)\n"
	"  -T, --seconds N    stream for that long instead\n"
	"  -w, --window N     messages in flight (default: 64)\n"
	"  -t, --timeout N    of the QP, encoded as for ibv_modify_qp (default: 19)\n"
	"Exit status 2: the stream broke off.\n";

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' }, { "gid", required_argument, NULL, 'g' },
	{ "port", required_argument, NULL, 'p' },   { "size", required_argument, NULL, 's' },
	{ "count", required_argument, NULL, 'n' },  { "seconds", required_argument, NULL, 'T' },
	{ "window", required_argument, NULL, 'w' }, { "timeout", required_argument, NULL, 't' },
	{ "help", no_argument, NULL, 'h' },	    { 0 },
};

static void parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "d:g:p:s:n:T:w:t:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->device = optarg;
			break;
		case 'g':
			o->gid = atoi(optarg);
			break;
		case 'p':
			o->port = optarg;
			break;
		case 's':
			o->size = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			o->count = strtoul(optarg, NULL, 0);
			break;
		case 'T':
			o->seconds = atoi(optarg);
			break;
		case 'w':
			o->window = atoi(optarg);
			break;
		case 't':
			o->timeout = atoi(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(1);
		}
	}
	if (optind < argc)
		o->host = argv[optind];
	if (!o->window || !o->size)
		die("a window and a size of at least 1");
}

static void make(struct stream *s, const struct options *o)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = o->window,
			 .max_recv_wr = 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	s->pd = ibv_alloc_pd(s->device.context);
	s->cq = ibv_create_cq(s->device.context, o->window + 1, NULL, NULL, 0);
	if (!s->pd || !s->cq)
		die_errno(errno, "ibv_alloc_pd, ibv_create_cq");
	s->memory = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->memory == MAP_FAILED)
		die_errno(errno, "mmap");
	s->mr = ibv_reg_mr(s->pd, s->memory, o->size, endpoint_defaults.access);
	if (!s->mr)
		die_errno(errno, "ibv_reg_mr");
	attr.send_cq = attr.recv_cq = s->cq;
	s->qp = endpoint_create(&s->device, s->pd, &attr);
	endpoint_to_init(s->qp, &endpoint_defaults);
}

static struct greeting greet(struct stream *s, const struct options *o)
{
	struct endpoint_settings settings = endpoint_defaults;
	struct greeting theirs,
		mine = {
			.address = endpoint_address(&s->device, s->qp),
			.memory = (uintptr_t)s->memory,
			.rkey = s->mr->rkey,
			.size = o->size,
		};

	settings.timeout = o->timeout;
	channel_exchange(&s->channel, &mine, &theirs, sizeof(mine));
	if (theirs.size != o->size)
		die("the size is %u at one end and %u at the other", theirs.size, o->size);
	endpoint_connect(&s->device, s->qp, &theirs.address, &settings);
	channel_barrier(&s->channel, PLACE_READY);
	return theirs;
}

/* Post n, as one chain. */
static int post(struct stream *s, const struct options *o, const struct greeting *peer,
		unsigned int n)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->memory,
			       .length = o->size,
			       .lkey = s->mr->lkey };
	struct ibv_send_wr wr[BATCH], *bad;
	unsigned int i;

	for (i = 0; i < n; i++) {
		wr[i] = (struct ibv_send_wr){
			.next = i + 1 < n ? &wr[i + 1] : NULL,
			.sg_list = &sge,
			.num_sge = 1,
			.opcode = IBV_WR_RDMA_WRITE,
			.send_flags = IBV_SEND_SIGNALED,
			.wr.rdma = { .remote_addr = peer->memory, .rkey = peer->rkey },
		};
	}
	return ibv_post_send(s->qp, wr, &bad);
}

static unsigned int room(const struct options *o, unsigned long posted, unsigned long completed,
			 bool ending)
{
	unsigned long n = o->window - (posted - completed);

	if (ending)
		return 0;
	if (!o->seconds && n > o->count - posted)
		n = o->count - posted;
	return n < BATCH ? n : BATCH;
}

/* Until all is done, or it breaks off. */
static int stream(struct stream *s, const struct options *o, const struct greeting *peer)
{
	unsigned long posted = 0, completed = 0;
	const time_t start = time(NULL);
	time_t now, looked = start;
	struct ibv_wc wc[BATCH];
	bool ending = false;
	int i, n, error;

	do {
		n = room(o, posted, completed, ending);
		error = n ? post(s, o, peer, n) : 0;
		if (error) {
			say("broken post_send %s completed=%lu", errno_name(error), completed);
			return BROKEN;
		}
		posted += n;
		n = ibv_poll_cq(s->cq, BATCH, wc);
		if (n < 0) {
			say("broken poll_cq %s completed=%lu", errno_name(n), completed);
			return BROKEN;
		}
		for (i = 0; i < n; i++, completed++) {
			if (wc[i].status) {
				say("broken %s completed=%lu", status_name(wc[i].status),
				    completed);
				return BROKEN;
			}
		}
		now = time(NULL);
		/* rxe with much in flight may send it again for ever. */
		if (now - looked > GRACE_SECONDS) {
			looked = now;
			if (!channel_alive(&s->channel)) {
				say("broken the server has gone completed=%lu", completed);
				return BROKEN;
			}
		}
		ending = o->seconds ? now - start >= o->seconds : posted == o->count;
	} while (!ending || completed < posted);
	say("messages=%lu bytes=%lu", completed, completed * o->size);
	return 0;
}

/* The server: until the client says that it is done, or is gone. */
static int be_written_to(struct stream *s)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	unsigned int place = PLACE_DONE, theirs = 0;
	ssize_t n;

	while ((n = read(s->channel.fd, &theirs, sizeof(theirs))) < 0 && errno == EINTR)
		nanosleep(&pause, NULL);
	if (n != sizeof(theirs) || theirs != PLACE_DONE) {
		say("broken the client has gone");
		return BROKEN;
	}
	channel_send(&s->channel, &place, sizeof(place));
	say("served");
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .port = CHANNEL_DEFAULT_PORT,
			     .gid = GID_INDEX_AUTO,
			     .size = 4096,
			     .window = 64,
			     .count = 10000,
			     .timeout = 19 };
	struct stream s = { 0 };
	struct greeting peer;
	int result;

	parse(&o, argc, argv);
	device_open(&s.device, o.device, o.gid);
	channel_open(&s.channel, o.host, o.port);
	make(&s, &o);
	peer = greet(&s, &o);
	say("ready qpn=%u", s.qp->qp_num);
	if (s.channel.server) {
		result = be_written_to(&s);
	} else {
		result = stream(&s, &o, &peer);
		if (!result)
			channel_barrier(&s.channel, PLACE_DONE);
	}
	ibv_destroy_qp(s.qp);
	ibv_dereg_mr(s.mr);
	ibv_destroy_cq(s.cq);
	ibv_dealloc_pd(s.pd);
	ibv_close_device(s.device.context);
	channel_close(&s.channel);
	return result;
}
