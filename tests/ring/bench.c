// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-bench: the provider's ring code in this process against pvhcad's
 * workers in another, at native speed and without virtual machines.
 *
 * On real KVM a data path without exits is just these memory operations. Each
 * figure stands beside what the machine gives by itself, measured in the same
 * rounds: medians of interleaved rounds and their spread.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "raw.h"

#define MAX_ROUNDS	99
#define AREA		(64ul << 20)
#define DEPTH		512u
#define BATCH		32u

struct bench {
	struct guest guest;
	struct guest_context context;
	struct guest_cq cq[2];
	struct guest_qp qp[2];
	struct guest_mr source, target;
	unsigned int rounds;
	FILE *json;
	bool first_result;
};

/* One figure of several rounds. */
struct series {
	double value[MAX_ROUNDS];
	unsigned int count;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double series_median(struct series *series)
{
	qsort(series->value, series->count, sizeof(double), compare);
	return series->value[series->count / 2];
}

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

/* ------------------------------ what is measured --------------------------- */

static void write_wr(struct bench *bench, struct ibv_send_wr *wr,
		     struct ibv_sge *sge, size_t at, uint32_t size, int flags)
{
	*sge = (struct ibv_sge) {
		.addr = (uintptr_t)bench->source.addr + at,
		.length = size,
		.lkey = bench->source.lkey,
	};
	*wr = (struct ibv_send_wr) {
		.sg_list = sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = flags,
		.wr.rdma = {
			.remote_addr = (uintptr_t)bench->target.addr + at,
			.rkey = bench->target.rkey,
		},
	};
}

static unsigned int poll_all(struct guest_cq *cq)
{
	struct ibv_wc wc[BATCH];
	int i, n = guest_poll_cq(cq, BATCH, wc);

	for (i = 0; i < n; i++)
		if (wc[i].status != IBV_WC_SUCCESS)
			fail(ibv_wc_status_str(wc[i].status));
	return n;
}

/* Bytes a second of writes of one size, a full queue of them under way. */
static double write_rate(struct bench *bench, uint32_t size, uint64_t total)
{
	uint64_t messages = (total + size - 1) / size, posted = 0, done = 0;
	struct ibv_send_wr wr[BATCH];
	struct ibv_sge sge[BATCH];
	unsigned int i, batch;
	uint64_t began;
	size_t at = 0;

	began = monotonic_ns();
	while (done < messages) {
		batch = messages - posted < BATCH ? messages - posted : BATCH;
		if (posted - done + batch > DEPTH)
			batch = 0;
		for (i = 0; i < batch; i++) {
			write_wr(bench, &wr[i], &sge[i], at, size,
				 IBV_SEND_SIGNALED);
			if (i)
				wr[i - 1].next = &wr[i];
			at = at + 2 * size > AREA ? 0 : at + size;
		}
		if (batch && guest_post_send(&bench->qp[0], wr))
			fail("post");
		posted += batch;
		done += poll_all(&bench->cq[0]);
	}
	return messages * (double)size * 1e9 / (monotonic_ns() - began);
}

/* ns from posting one 8-byte write to its completion, one at a time. */
static double write_latency(struct bench *bench, uint64_t messages)
{
	struct ibv_send_wr wr;
	uint64_t i, began;
	struct ibv_sge sge;

	began = monotonic_ns();
	for (i = 0; i < messages; i++) {
		write_wr(bench, &wr, &sge, 0, 8, IBV_SEND_SIGNALED);
		if (guest_post_send(&bench->qp[0], &wr))
			fail("post");
		while (!poll_all(&bench->cq[0]))
			;
	}
	return (double)(monotonic_ns() - began) / messages;
}

/* ----------------------------------- tables -------------------------------- */

static void report(struct bench *bench, const char *name, const char *unit,
		   struct series *ours, const char *yardstick,
		   struct series *theirs)
{
	double a = series_median(ours), b = series_median(theirs);

	printf("%-28s %10.2f %-6s %10.2f %-20s %6.2f   (%.2f..%.2f)\n", name, a,
	       unit, b, yardstick, a / b, ours->value[0],
	       ours->value[ours->count - 1]);
	if (!bench->json)
		return;
	fprintf(bench->json, "%s\n  {\"name\": \"%s\", \"unit\": \"%s\", \"median\": %g, \"min\": %g, \"max\": %g, \"yardstick\": \"%s\", \"yardstick_median\": %g, \"ratio\": %g}",
		bench->first_result ? "" : ",", name, unit, a, ours->value[0],
		ours->value[ours->count - 1], yardstick, b, a / b);
	bench->first_result = false;
}

static void add(struct series *series, double value)
{
	series->value[series->count++] = value;
}

static void bench_sizes(struct bench *bench)
{
	static const uint32_t sizes[] = { 64, 512, 4096, 65536, 1 << 20, 8 << 20 };
	struct series ours, theirs;
	unsigned int i, round;
	uint64_t total;
	char name[32];

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ours.count = theirs.count = 0;
		total = sizes[i] < 4096 ? sizes[i] * 500000ull : 1ull << 30;
		for (round = 0; round < bench->rounds; round++) {
			add(&theirs, raw_memcpy_rate(bench->target.addr,
						     bench->source.addr, AREA,
						     sizes[i], total) / 1e9);
			add(&ours, write_rate(bench, sizes[i], total) / 1e9);
		}
		snprintf(name, sizeof(name), "write %u B", sizes[i]);
		report(bench, name, "GB/s", &ours, "memcpy GB/s", &theirs);
	}
}

static void bench_messages(struct bench *bench)
{
	struct series rate = { 0 }, raw_rate = { 0 };
	struct series latency = { 0 }, raw_latency = { 0 };
	unsigned int round;

	for (round = 0; round < bench->rounds; round++) {
		add(&raw_rate, raw_ring_rate(2000000, BATCH) / 1e6);
		add(&rate, write_rate(bench, 64, 64 * 1000000ull) / 64e6);
		add(&raw_latency, raw_round_trip_ns(200000));
		add(&latency, write_latency(bench, 200000));
	}
	report(bench, "write 64 B, rate", "M/s", &rate, "raw ring M/s",
	       &raw_rate);
	report(bench, "write 8 B, post to poll", "ns", &latency,
	       "line round trip ns", &raw_latency);
}

static void setup(struct bench *bench, const char *socket)
{
	static const uint8_t gid[16] = {
		[10] = 0xff, 0xff, 10, 99, 0, 1
	};
	int i;

	if (guest_open(&bench->guest, socket, "ring-bench",
		       2 * AREA + (64ul << 20)) ||
	    guest_add_gid(&bench->guest, 0, gid) ||
	    guest_context_open(&bench->guest, &bench->context) ||
	    guest_mr_reg(&bench->context, AREA, &bench->source) ||
	    guest_mr_reg(&bench->context, AREA, &bench->target))
		exit(1);
	for (i = 0; i < 2; i++)
		if (guest_cq_create(&bench->context, 11, &bench->cq[i]) ||
		    guest_qp_create(&bench->context, &bench->cq[i], DEPTH, 32,
				    &bench->qp[i]))
			exit(1);
	for (i = 0; i < 2; i++)
		if (guest_qp_connect(&bench->qp[i],
				     bench->qp[!i].provider.vqp.qp.qp_num, gid))
			exit(1);
	memset(bench->source.addr, 1, AREA);
	memset(bench->target.addr, 2, AREA);
}

static void usage(FILE *to)
{
	fputs("usage: pvhca-ring-bench --socket PATH [--rounds N] [--json FILE]\n"
	      "Measures a pvhcad that runs with --fabric loopback.\n", to);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static struct bench bench = { .rounds = 7, .first_result = true };
	const char *socket = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's') {
			socket = optarg;
		} else if (option == 'r') {
			bench.rounds = atoi(optarg);
		} else if (option == 'j') {
			bench.json = fopen(optarg, "w");
			if (!bench.json)
				fail(optarg);
		} else {
			usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (!socket || bench.rounds < 1 || bench.rounds > MAX_ROUNDS) {
		usage(stderr);
		return 2;
	}

	setup(&bench, socket);
	printf("%-28s %17s %31s %6s   (spread)\n", "loopback fabric, one worker",
	       "pvhca", "yardstick", "ratio");
	if (bench.json)
		fprintf(bench.json, "[");
	bench_messages(&bench);
	bench_sizes(&bench);
	printf("doorbells rung: %llu\n",
	       (unsigned long long)bench.guest.doorbells_rung);
	if (bench.json) {
		fprintf(bench.json, "\n]\n");
		fclose(bench.json);
	}
	guest_close(&bench.guest);
	return 0;
}
