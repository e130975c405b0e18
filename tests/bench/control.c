// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-bench-control: how long each verb of the control path takes.
 *
 * Call by call: all objects of a kind are made, then changed, then destroyed, each
 * timed for itself, so that a line is one verb. With --step it waits before each
 * for a line of its standard input, so that others can count what it causes.
 *
 *   next NAME                    about to begin (--step: waits)
 *   call NAME N MEDIAN MIN MAX   N times, ns
 *   missing NAME REASON          cannot be had here
 *   end
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

#include "endpoint.h"
#include "report.h"
#include "timing.h"

#define MAX_REPEAT 200
#define CQ_ENTRIES 256
#define QP_DEPTH   64
#define HUGE_PAGE  (2ul << 20)
/* Of larger regions fewer are made: as many as have this many bytes for each of the repeats. */
#define REGION_BYTES (16ul << 20)
#define CM_PORT	     "18650"
#define CM_SECONDS   60

struct control {
	struct device device;
	/* Made before and destroyed after all, so that they are in no verb's count. */
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	unsigned int repeat;
	unsigned long max_region;
	bool step;
	uint64_t ns[MAX_REPEAT];
	unsigned int count;
};

static const struct region {
	const char *name;
	size_t bytes;
	bool huge;
} regions[] = {
	{ "4KiB", 4096, false },	{ "1MiB", 1ul << 20, false },
	{ "64MiB", 64ul << 20, false }, { "64MiB_huge", 64ul << 20, true },
	{ "1GiB", 1ul << 30, false },	{ "1GiB_huge", 1ul << 30, true },
};

/* -------------------------------- lines of output -------------------------- */

static void begin(struct control *c, const char *verb, const char *what)
{
	char line[16];

	say("next %s%s", verb, what);
	if (c->step && !fgets(line, sizeof(line), stdin))
		die("nobody says go on");
	c->count = 0;
}

static void end(struct control *c, const char *verb, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "call %s%s", verb, what);
	say_times(name, c->ns, c->count);
}

static void took(struct control *c, uint64_t began)
{
	c->ns[c->count++] = now_ns() - began;
}

/* Time one call that must succeed. */
#define TIMED(c, call, ok)                             \
	do {                                           \
		uint64_t began = now_ns();             \
		call;                                  \
		took(c, began);                        \
		if (!(ok))                             \
			die_errno(errno, "%s", #call); \
	} while (0)

/* ------------------------------------ verbs -------------------------------- */

static void devices(struct control *c)
{
	struct ibv_device *device = c->device.context->device;
	struct ibv_context *contexts[MAX_REPEAT];
	unsigned int i;
	int error;

	begin(c, "open_device", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, contexts[i] = ibv_open_device(device), contexts[i]);
	end(c, "open_device", "");
	begin(c, "close_device", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = ibv_close_device(contexts[i]), !error);
	end(c, "close_device", "");
}

/* On pvhca one admin command that carries next to nothing: what a round trip takes. */
static void query_port(struct control *c)
{
	struct ibv_port_attr attr;
	unsigned int i;
	int error;

	begin(c, "query_port", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = ibv_query_port(c->device.context, RDMA_PORT, &attr), !error);
	end(c, "query_port", "");
}

static void protection_domains(struct control *c)
{
	struct ibv_pd *pds[MAX_REPEAT];
	unsigned int i;
	int error;

	begin(c, "alloc_pd", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, pds[i] = ibv_alloc_pd(c->device.context), pds[i]);
	end(c, "alloc_pd", "");
	begin(c, "dealloc_pd", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = ibv_dealloc_pd(pds[i]), !error);
	end(c, "dealloc_pd", "");
}

/* Touched memory, in pages of the kind that was asked for as far as the kernel has them. */
static uint8_t *map_region(const struct region *region, size_t *mapped)
{
	uint8_t *memory, *aligned;

	*mapped = region->bytes + HUGE_PAGE;
	memory = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	aligned = (uint8_t *)(((uintptr_t)memory + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	munmap(memory, aligned - memory);
	*mapped -= aligned - memory;
	madvise(aligned, *mapped, region->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(aligned, 1, region->bytes);
	return aligned;
}

static void register_all(struct control *c, const struct region *region, const char *verb,
			 uint8_t **memory, struct ibv_mr **mrs, unsigned int count)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
		IBV_ACCESS_REMOTE_READ;
	unsigned int i;

	begin(c, verb, region->name);
	for (i = 0; i < count; i++)
		TIMED(c, mrs[i] = ibv_reg_mr(c->pd, memory[i], region->bytes, access), mrs[i]);
	end(c, verb, region->name);
}

static void deregister_all(struct control *c, const struct region *region, const char *verb,
			   struct ibv_mr **mrs, unsigned int count)
{
	unsigned int i;
	int error;

	begin(c, verb, region->name);
	for (i = 0; i < count; i++)
		TIMED(c, error = ibv_dereg_mr(mrs[i]), !error);
	end(c, verb, region->name);
}

/*
 * Each region is of memory of its own, so that no registering profits from the one
 * before; then the same ones once more, as by a program that registers a buffer for each use.
 */
static void memory_regions(struct control *c, const struct region *region)
{
	unsigned int i, count = c->repeat;
	struct ibv_mr *mrs[MAX_REPEAT];
	uint8_t *memory[MAX_REPEAT];
	size_t mapped[MAX_REPEAT];

	if (region->bytes > c->max_region)
		return;
	if (region->bytes > REGION_BYTES)
		count = c->repeat * REGION_BYTES / region->bytes;
	count = count ? count : 1;
	for (i = 0; i < count; i++) {
		memory[i] = map_region(region, &mapped[i]);
		if (!memory[i])
			die_errno(errno, "%zu bytes for reg_mr_%s", region->bytes, region->name);
	}
	register_all(c, region, "reg_mr_", memory, mrs, count);
	deregister_all(c, region, "dereg_mr_", mrs, count);
	register_all(c, region, "reg_mr_again_", memory, mrs, count);
	deregister_all(c, region, "dereg_mr_again_", mrs, count);
	for (i = 0; i < count; i++)
		munmap(memory[i], mapped[i]);
}

static void completion_queues(struct control *c)
{
	struct ibv_cq *cqs[MAX_REPEAT] = { NULL };
	unsigned int i;
	int error;

	begin(c, "create_cq", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, cqs[i] = ibv_create_cq(c->device.context, CQ_ENTRIES, NULL, NULL, 0),
		      cqs[i]);
	end(c, "create_cq", "");
	begin(c, "destroy_cq", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = ibv_destroy_cq(cqs[i]), !error);
	end(c, "destroy_cq", "");
}

static int to_init(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = RDMA_PORT,
		.qp_access_flags = endpoint_defaults.access,
	};

	return ibv_modify_qp(qp, &attr,
			     IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

/* Towards itself: what the peer is makes no difference to the verb. */
static int to_rtr(struct device *d, struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = d->mtu,
		.dest_qp_num = qp->qp_num,
		.max_dest_rd_atomic = endpoint_defaults.reads,
		.min_rnr_timer = endpoint_defaults.rnr_timer,
		.ah_attr = {
			.is_global = 1,
			.grh = { .dgid = d->gid, .sgid_index = d->gid_index, .hop_limit = 64 },
			.port_num = RDMA_PORT,
		},
	};

	return ibv_modify_qp(qp, &attr,
			     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				     IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				     IBV_QP_MIN_RNR_TIMER);
}

static int to_rts(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = endpoint_defaults.timeout,
		.retry_cnt = endpoint_defaults.retries,
		.rnr_retry = endpoint_defaults.rnr_retries,
		.max_rd_atomic = endpoint_defaults.reads,
	};

	return ibv_modify_qp(qp, &attr,
			     IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
				     IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC);
}

static void queue_pairs(struct control *c)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = c->cq,
		.recv_cq = c->cq,
		.cap = { .max_send_wr = QP_DEPTH,
			 .max_recv_wr = QP_DEPTH,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};
	struct ibv_qp *qps[MAX_REPEAT] = { NULL };
	unsigned int i;
	int error;

	begin(c, "create_qp", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, qps[i] = ibv_create_qp(c->pd, &attr), qps[i]);
	end(c, "create_qp", "");
	begin(c, "modify_qp_init", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = to_init(qps[i]), !error);
	end(c, "modify_qp_init", "");
	begin(c, "modify_qp_rtr", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = to_rtr(&c->device, qps[i]), !error);
	end(c, "modify_qp_rtr", "");
	begin(c, "modify_qp_rts", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = to_rts(qps[i]), !error);
	end(c, "modify_qp_rts", "");
	begin(c, "destroy_qp", "");
	for (i = 0; i < c->repeat; i++)
		TIMED(c, error = ibv_destroy_qp(qps[i]), !error);
	end(c, "destroy_qp", "");
}

/* ----------------------------------- rdma_cm ------------------------------- */

static struct ibv_qp_init_attr cm_qp = {
	.qp_type = IBV_QPT_RC,
	.cap = { .max_send_wr = 16, .max_recv_wr = 16, .max_send_sge = 1, .max_recv_sge = 1 },
};

static struct rdma_cm_id *cm_endpoint(const char *address, bool passive)
{
	struct rdma_addrinfo hints = {
		.ai_flags = passive ? RAI_PASSIVE : 0,
		.ai_port_space = RDMA_PS_TCP,
	}, *info;
	struct ibv_qp_init_attr attr = cm_qp;
	struct rdma_cm_id *id = NULL;
	int ret;

	if (rdma_getaddrinfo(address, CM_PORT, &hints, &info))
		return NULL;
	ret = rdma_create_ep(&id, info, NULL, &attr);
	rdma_freeaddrinfo(info);
	return ret ? NULL : id;
}

/*
 * Both ends disconnect at once: each then has its answer from the other, and none
 * waits until the connection's numbers may be used again, which takes seconds.
 */
static void *cm_accept(void *arg)
{
	struct rdma_cm_id *id = arg;

	if (!rdma_accept(id, NULL))
		rdma_disconnect(id);
	rdma_destroy_ep(id);
	return NULL;
}

/* Accept for ever. A thread for each, so that no connection waits for the end of another. */
static void cm_serve(const char *address)
{
	struct rdma_cm_id *listener = cm_endpoint(address, true), *id;
	pthread_t thread;

	if (!listener || rdma_listen(listener, 16))
		die_errno(errno, "listen at %s", address);
	say("listening");
	for (;;) {
		if (rdma_get_request(listener, &id))
			continue;
		if (pthread_create(&thread, NULL, cm_accept, id))
			die("no thread for a connection");
		pthread_detach(thread);
	}
}

static void cm_hangs(int signal)
{
	static const char line[] = "missing cm_connect no answer\nend\n";

	(void)signal;
	if (write(STDOUT_FILENO, line, sizeof(line) - 1) < 0)
		_exit(1);
	_exit(0);
}

static void cm_connect(struct control *c, const char *address)
{
	struct rdma_cm_id *id;
	unsigned int i;
	uint64_t began;

	begin(c, "cm_connect", "");
	signal(SIGALRM, cm_hangs);
	alarm(CM_SECONDS);
	for (i = 0; i < c->repeat; i++) {
		id = cm_endpoint(address, false);
		if (!id) {
			say("missing cm_connect endpoint: %s", strerror(errno));
			return;
		}
		began = now_ns();
		if (rdma_connect(id, NULL)) {
			say("missing cm_connect connect: %s", strerror(errno));
			return;
		}
		took(c, began);
		rdma_disconnect(id);
		rdma_destroy_ep(id);
	}
	alarm(0);
	end(c, "cm_connect", "");
}

/* ----------------------------------- options ------------------------------- */

static const char usage[] =
	"pvhca-bench-control [options]\n"
	"  -d, --device NAME       RDMA device (default: the first)\n"
	"  -g, --gid N             GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -n, --repeat N          times each verb is called (default: 20)\n"
	"  -m, --max-region N      bytes of the largest region (default: 1 GiB)\n"
	"  -s, --step              wait for a line of standard input before each verb\n"
	"  -c, --cm ADDRESS        rdma_cm connections, too, to a --cm-server there\n"
	"  -S, --cm-server ADDRESS accept them, and nothing else\n";

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "gid", required_argument, NULL, 'g' },
	{ "repeat", required_argument, NULL, 'n' },
	{ "max-region", required_argument, NULL, 'm' },
	{ "step", no_argument, NULL, 's' },
	{ "cm", required_argument, NULL, 'c' },
	{ "cm-server", required_argument, NULL, 'S' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

int main(int argc, char **argv)
{
	static struct control c = { .repeat = 20, .max_region = 1ul << 30 };
	const char *name = NULL, *cm = NULL, *cm_server = NULL;
	int option, gid = GID_INDEX_AUTO;
	size_t i;

	while ((option = getopt_long(argc, argv, "d:g:n:m:sc:S:h", long_options, NULL)) != -1) {
		if (option == 'd') {
			name = optarg;
		} else if (option == 'g') {
			gid = atoi(optarg);
		} else if (option == 'n') {
			c.repeat = atoi(optarg);
		} else if (option == 'm') {
			c.max_region = strtoul(optarg, NULL, 0);
		} else if (option == 's') {
			c.step = true;
		} else if (option == 'c') {
			cm = optarg;
		} else if (option == 'S') {
			cm_server = optarg;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (cm_server)
		cm_serve(cm_server);
	if (c.repeat < 1 || c.repeat > MAX_REPEAT)
		die("--repeat: 1 to %d", MAX_REPEAT);
	device_open(&c.device, name, gid);
	c.pd = ibv_alloc_pd(c.device.context);
	if (!c.pd)
		die_errno(errno, "ibv_alloc_pd");
	c.cq = ibv_create_cq(c.device.context, CQ_ENTRIES, NULL, NULL, 0);
	if (!c.cq)
		die_errno(errno, "ibv_create_cq");
	query_port(&c);
	devices(&c);
	protection_domains(&c);
	for (i = 0; i < sizeof(regions) / sizeof(regions[0]); i++)
		memory_regions(&c, &regions[i]);
	completion_queues(&c);
	queue_pairs(&c);
	if (cm)
		cm_connect(&c, cm);
	say("end");
	if (ibv_destroy_cq(c.cq) || ibv_dealloc_pd(c.pd))
		die("the last objects cannot be destroyed");
	device_close(&c.device);
	return 0;
}
