// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-kinds: messages of each kind between two queue pairs of one process, through
 * the provider's ring code and a real pvhcad, without virtual machines.
 *
 * A stream posts and polls all the time, as applications do. "Alone" posts a full queue by
 * one chain, and polls when all has completed: what the worker does meanwhile, nobody else's
 * work disturbs. With --count a fixed number of messages goes that way once and nothing is
 * timed: for whoever counts instructions.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects.h"
#include "options.h"
#include "raw.h"

#define AREA	   (1ul << 20)
#define LOG_DEPTH  9
#define DEPTH	   (1u << LOG_DEPTH)
#define BATCH	   32u
#define MAX_ROUNDS 99
#define GRH_SIZE   40u
/* Bytes of a message; an atomic has its own. */
#define SIZE 64u

struct kind {
	const char *name;
	enum ibv_wr_opcode opcode;
	bool receives;
	bool datagram;
};

static const struct kind kinds[] = {
	{ .name = "write", .opcode = IBV_WR_RDMA_WRITE },
	{ .name = "send", .opcode = IBV_WR_SEND, .receives = true },
	{ .name = "read", .opcode = IBV_WR_RDMA_READ },
	{ .name = "atomic", .opcode = IBV_WR_ATOMIC_FETCH_AND_ADD },
	{ .name = "datagram", .opcode = IBV_WR_SEND, .receives = true, .datagram = true },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct bench {
	struct guest guest;
	struct guest_context context;
	struct guest_mr source, target;
	struct pvhca_ah ah;
	uint8_t gid[16];

	const char *socket;
	const char *only;
	unsigned int rounds;
	unsigned int percent;
	unsigned int count;
	unsigned int chain; /* requests of one call */
	FILE *json;
	const char *separator;
};

/* Two queue pairs that talk: [0] requests, [1] responds. */
struct pair {
	struct bench *bench;
	const struct kind *kind;
	struct guest_cq cq[2];
	struct guest_qp qp[2];
};

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

/* ----------------------------------- pairs --------------------------------- */

static void pair_open(struct pair *pair, struct bench *bench, const struct kind *kind)
{
	struct guest_context *context = &bench->context;
	unsigned int i;

	*pair = (struct pair){ .bench = bench, .kind = kind };
	for (i = 0; i < 2; i++) {
		if (guest_cq_create(context, LOG_DEPTH + 1, &pair->cq[i]))
			exit(1);
		if (kind->datagram) {
			if (guest_ud_create(context, &pair->cq[i], DEPTH, &pair->qp[i]) ||
			    guest_ud_start(&pair->qp[i]))
				exit(1);
		} else if (guest_qp_create(context, &pair->cq[i], DEPTH, SIZE, &pair->qp[i])) {
			exit(1);
		}
	}
	for (i = 0; i < 2 && !kind->datagram; i++)
		if (guest_qp_connect(&pair->qp[i], pair->qp[!i].provider.vqp.qp.qp_num, bench->gid))
			exit(1);
}

static void fill_request(struct pair *pair, struct ibv_send_wr *wr, struct ibv_sge *sge)
{
	struct bench *bench = pair->bench;

	*sge = (struct ibv_sge){ (uintptr_t)bench->source.addr, SIZE, bench->source.lkey };
	*wr = (struct ibv_send_wr){
		.sg_list = sge,
		.num_sge = 1,
		.opcode = pair->kind->opcode,
		.send_flags = IBV_SEND_SIGNALED,
	};
	if (wr->opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		sge->length = sizeof(uint64_t);
		wr->wr.atomic.remote_addr = (uintptr_t)bench->target.addr;
		wr->wr.atomic.rkey = bench->target.rkey;
		wr->wr.atomic.compare_add = 1;
	} else if (pair->kind->datagram) {
		wr->wr.ud.ah = &bench->ah.ibv_ah;
		wr->wr.ud.remote_qpn = pair->qp[1].provider.vqp.qp.qp_num;
		wr->wr.ud.remote_qkey = GUEST_QKEY;
	} else if (!pair->kind->receives) {
		wr->wr.rdma.remote_addr = (uintptr_t)bench->target.addr;
		wr->wr.rdma.rkey = bench->target.rkey;
	}
}

static void post_receives(struct pair *pair, unsigned int n)
{
	static struct ibv_recv_wr wr[DEPTH];
	struct ibv_sge sge = {
		.addr = (uintptr_t)pair->bench->target.addr,
		.length = SIZE + (pair->kind->datagram ? GRH_SIZE : 0),
		.lkey = pair->bench->target.lkey,
	};
	unsigned int i;

	for (i = 0; i < n; i++)
		wr[i] = (struct ibv_recv_wr){
			.sg_list = &sge,
			.num_sge = 1,
			.next = i + 1 < n ? &wr[i + 1] : NULL,
		};
	if (guest_post_recv(&pair->qp[1], wr))
		fail("posting receives");
}

static void post_requests(struct pair *pair, unsigned int n)
{
	static struct ibv_send_wr wr[DEPTH];
	struct ibv_sge sge;
	unsigned int i;

	for (i = 0; i < n; i++) {
		fill_request(pair, &wr[i], &sge);
		wr[i].next = i + 1 < n ? &wr[i + 1] : NULL;
	}
	if (guest_post_send(&pair->qp[0], wr))
		fail("posting");
}

static unsigned int poll_some(struct guest_cq *cq)
{
	struct ibv_wc wc[BATCH];
	int i, n = guest_poll_cq(cq, BATCH, wc);

	for (i = 0; i < n; i++)
		if (wc[i].status != IBV_WC_SUCCESS)
			fail(ibv_wc_status_str(wc[i].status));
	return n;
}

/* ----------------------------- what is measured ---------------------------- */

/* Messages a second, a full queue of them under way. */
static double stream_rate(struct pair *pair, uint64_t messages)
{
	uint64_t posted = 0, sent = 0, received = 0, done = 0, began = monotonic_ns();
	unsigned int batch;

	while (done < messages) {
		batch = messages - posted < BATCH ? messages - posted : BATCH;
		if (posted - done + batch > DEPTH)
			batch = 0;
		if (batch && pair->kind->receives)
			post_receives(pair, batch);
		if (batch)
			post_requests(pair, batch);
		posted += batch;
		sent += poll_some(&pair->cq[0]);
		if (pair->kind->receives)
			received += poll_some(&pair->cq[1]);
		done = pair->kind->receives && received < sent ? received : sent;
	}
	return messages * 1e9 / (monotonic_ns() - began);
}

/* Look, without polling, until the last of n completions is there. */
static void await(const struct guest_cq *cq, unsigned int n)
{
	while (!guest_cq_holds(cq, n))
		;
}

static void drain(struct guest_cq *cq, unsigned int n)
{
	while (n)
		n -= poll_some(cq);
}

/* One full queue. Returns the ns from when all was posted until all had completed. */
static uint64_t one_queue(struct pair *pair)
{
	const unsigned int chain = pair->bench->chain;
	uint64_t began, took;
	unsigned int n;

	for (n = 0; n < DEPTH && pair->kind->receives; n += chain)
		post_receives(pair, chain);
	for (n = 0; n < DEPTH; n += chain)
		post_requests(pair, chain);
	began = monotonic_ns();
	await(&pair->cq[0], DEPTH);
	if (pair->kind->receives)
		await(&pair->cq[1], DEPTH);
	took = monotonic_ns() - began;
	drain(&pair->cq[0], DEPTH);
	if (pair->kind->receives)
		drain(&pair->cq[1], DEPTH);
	return took;
}

static double alone_rate(struct pair *pair, uint64_t messages)
{
	uint64_t done, ns = 0;

	for (done = 0; done < messages; done += DEPTH)
		ns += one_queue(pair);
	return done * 1e9 / ns;
}

/* ---------------------------------- results -------------------------------- */

static void report(struct bench *bench, const char *figure, const char *kind, const double *values)
{
	unsigned int i;

	printf("%-8s %-10s", figure, kind);
	for (i = 0; i < bench->rounds; i++)
		printf(" %8.3f", values[i]);
	printf(" M/s\n");
	fflush(stdout);
	if (!bench->json)
		return;
	fprintf(bench->json,
		"%s\n  {\"figure\": \"%s %s\", \"size\": 0, \"unit\": \"M/s\", \"values\": [",
		bench->separator, figure, kind);
	for (i = 0; i < bench->rounds; i++)
		fprintf(bench->json, "%s%g", i ? ", " : "", values[i]);
	fprintf(bench->json, "]}");
	bench->separator = ",";
}

static void bench_kind(struct bench *bench, const struct kind *kind)
{
	double stream[MAX_ROUNDS], alone[MAX_ROUNDS];
	uint64_t messages = 1 + 10000ull * bench->percent;
	struct pair pair;
	unsigned int i;

	pair_open(&pair, bench, kind);
	for (i = 0; i < bench->rounds && !bench->count; i++) {
		stream[i] = stream_rate(&pair, messages) / 1e6;
		alone[i] = alone_rate(&pair, messages) / 1e6;
	}
	if (bench->count) {
		for (i = 0; i < bench->count; i += DEPTH)
			one_queue(&pair);
		printf("%s %u\n", kind->name, i);
		return;
	}
	report(bench, "stream", kind->name, stream);
	report(bench, "alone", kind->name, alone);
}

/* ---------------------------------- options -------------------------------- */

static void usage(FILE *to)
{
	fputs("usage: pvhca-ring-kinds --socket PATH [OPTION...]\n"
	      "Messages of each kind through a pvhcad that runs with --fabric loopback.\n"
	      "  --kind NAME      of write, send, read, atomic, datagram (all of them)\n"
	      "  --rounds N       7\n"
	      "  --percent N      of the usual work in a round\n"
	      "  --count N        no rates: about so many messages of each kind, once\n"
	      "  --chain N        requests that one call posts, a power of two up to 512 (512)\n"
	      "  --json FILE      results, all rounds\n",
	      to);
}

static void parse(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "kind", required_argument, NULL, 'k' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "percent", required_argument, NULL, 'p' },
		{ "count", required_argument, NULL, 'c' },
		{ "chain", required_argument, NULL, 'n' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's') {
			bench->socket = optarg;
		} else if (option == 'k') {
			bench->only = optarg;
		} else if (option == 'r') {
			bench->rounds = option_number(optarg, MAX_ROUNDS, usage);
		} else if (option == 'p') {
			bench->percent = option_number(optarg, 10000, usage);
		} else if (option == 'c') {
			bench->count = option_number(optarg, 1u << 30, usage);
		} else if (option == 'n') {
			bench->chain = option_number(optarg, DEPTH, usage);
		} else if (option == 'j') {
			bench->json = fopen(optarg, "w");
			if (!bench->json)
				fail(optarg);
		} else {
			usage(option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (!bench->socket || bench->chain & (bench->chain - 1)) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct bench bench = {
		.gid = { [10] = 0xff, 0xff, 10, 99, 2, 1 },
		.rounds = 7,
		.percent = 100,
		.chain = DEPTH,
		.separator = "",
	};
	unsigned int i, found = 0;

	parse(&bench, argc, argv);
	if (guest_open(&bench.guest, bench.socket, "ring-kinds", 8 * AREA) ||
	    guest_add_gid(&bench.guest, 0, bench.gid) ||
	    guest_context_open(&bench.guest, &bench.context) ||
	    guest_mr_reg(&bench.context, AREA, &bench.source) ||
	    guest_mr_reg(&bench.context, AREA, &bench.target) ||
	    guest_ah_create(&bench.context, bench.gid, &bench.ah))
		return 1;
	if (bench.json)
		fprintf(bench.json, "[");
	for (i = 0; i < KINDS; i++) {
		if (bench.only && strcmp(bench.only, kinds[i].name))
			continue;
		bench_kind(&bench, &kinds[i]);
		found++;
	}
	if (!found)
		fail(bench.only);
	if (bench.json) {
		fprintf(bench.json, "\n]\n");
		fclose(bench.json);
	}
	guest_close(&bench.guest);
	return 0;
}
