// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-bench: the provider's ring code in this process against pvhcad's
 * workers in another, at native speed and without virtual machines.
 *
 * On real KVM a data path without exits is just these memory operations. Each
 * figure stands beside what the machine gives by itself, measured in the same
 * rounds: medians of interleaved rounds and their spread. With --null they stand beside
 * those of a pvhcad without any engine, too: what is left is what pvhcad itself costs.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "churn.h"
#include "objects.h"
#include "options.h"
#include "raw.h"

#define MAX_ROUNDS   99
#define MAX_SIZES    32
#define MAX_SESSIONS 1024u
#define AREA	     (64ul << 20)
#define DEPTH	     512u
#define IDLE_DEPTH   16u
#define BATCH	     32u

/* Kinds of figures, as --figures names them. */
enum {
	RATE = 1,
	LATENCY = 2,
	BANDWIDTH = 4,
	ADMIN = 8,
	MEMCPY = 16,
	QUEUE_PAIRS = 32,
	CONTROL = 64
};

static const char *const figure_names[] = {
	"rate", "latency", "bandwidth", "admin", "memcpy", "queue-pairs", "control",
};

#define NUM_FIGURES (sizeof(figure_names) / sizeof(figure_names[0]))

struct bench {
	struct guest guest;
	struct guest_context context;
	struct guest_cq cq[2];
	struct guest_qp qp[2];
	struct guest_mr source, target;

	const char *socket;
	struct bench *null; /* the same with a pvhcad of the null fabric, or NULL */
	unsigned int figures;
	unsigned int rounds;
	unsigned int percent;	   /* of the usual work per round */
	unsigned int num_qps;	   /* the two that are active included */
	unsigned int num_sessions; /* the one that is active included */
	unsigned int idle_ms;
	uint32_t sizes[MAX_SIZES];
	unsigned int num_sizes;
	FILE *json;
	bool first_result;
};

/* One figure of several rounds. */
struct series {
	double value[MAX_ROUNDS];
	unsigned int count;
};

static void add(struct series *series, double value)
{
	series->value[series->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The rounds stay in their order in the original. */
static struct series series_sorted(const struct series *series)
{
	struct series sorted = *series;

	qsort(sorted.value, sorted.count, sizeof(double), compare);
	return sorted;
}

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

/* ------------------------------ what is measured --------------------------- */

/* How much to do of what takes n at 100 percent. */
static uint64_t work(const struct bench *bench, uint64_t n)
{
	n = n * bench->percent / 100;
	return n ? n : 1;
}

static void write_wr(struct bench *bench, struct ibv_send_wr *wr, struct ibv_sge *sge, size_t at,
		     uint32_t size, int flags)
{
	*sge = (struct ibv_sge){
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

/* Messages a second, writes of one size, a full queue of them under way. */
static double write_rate(struct bench *bench, uint32_t size, uint64_t messages)
{
	uint64_t posted = 0, done = 0, began;
	struct ibv_send_wr wr[BATCH];
	struct ibv_sge sge[BATCH];
	unsigned int i, batch;
	size_t at = 0;

	began = monotonic_ns();
	while (done < messages) {
		batch = messages - posted < BATCH ? messages - posted : BATCH;
		if (posted - done + batch > DEPTH)
			batch = 0;
		for (i = 0; i < batch; i++) {
			write_wr(bench, &wr[i], &sge[i], at, size, IBV_SEND_SIGNALED);
			if (i)
				wr[i - 1].next = &wr[i];
			at = at + 2 * size > AREA ? 0 : at + size;
		}
		if (batch && guest_post_send(&bench->qp[0], wr))
			fail("post");
		posted += batch;
		done += poll_all(&bench->cq[0]);
	}
	return messages * 1e9 / (monotonic_ns() - began);
}

/* ns from posting one write to its completion, one at a time. */
static double write_latency(struct bench *bench, uint32_t size, uint64_t messages)
{
	struct ibv_send_wr wr;
	uint64_t i, began;
	struct ibv_sge sge;

	began = monotonic_ns();
	for (i = 0; i < messages; i++) {
		write_wr(bench, &wr, &sge, 0, size, IBV_SEND_SIGNALED);
		if (guest_post_send(&bench->qp[0], &wr))
			fail("post");
		while (!poll_all(&bench->cq[0]))
			;
	}
	return (double)(monotonic_ns() - began) / messages;
}

/* ns of an admin command that does nothing, with its doorbell and interrupt. */
static double admin_round_trip(struct bench *bench, uint64_t commands)
{
	struct pvhca_admin_cmd command;
	struct pvhca_admin_rsp response;
	uint64_t i, began;

	began = monotonic_ns();
	for (i = 0; i < commands; i++) {
		command = (struct pvhca_admin_cmd){
			.opcode = htole16(PVHCA_CMD_NOP),
		};
		if (guest_command(&bench->guest, &command, &response))
			fail("empty admin command");
	}
	return (double)(monotonic_ns() - began) / commands;
}

/* ----------------------------------- tables -------------------------------- */

static void json_values(FILE *json, const struct series *series)
{
	unsigned int i;

	for (i = 0; i < series->count; i++)
		fprintf(json, "%s%g", i ? ", " : "[", series->value[i]);
	fputs("]", json);
}

/* theirs: NULL where the machine has nothing to compare with. */
static void report(struct bench *bench, const char *figure, uint32_t size, const char *unit,
		   const struct series *ours, const char *yardstick, const struct series *theirs)
{
	struct series a = series_sorted(ours);
	double median = a.value[a.count / 2], other = 0;

	if (theirs) {
		struct series b = series_sorted(theirs);

		other = b.value[b.count / 2];
	}
	printf("%-10s %9u B %12.3f %-5s", figure, size, median, unit);
	if (theirs)
		printf(" %12.3f %-18s %6.2f", other, yardstick, median / other);
	printf("   (%.3f..%.3f)\n", a.value[0], a.value[a.count - 1]);
	fflush(stdout);
	if (!bench->json)
		return;
	fprintf(bench->json,
		"%s\n  {\"figure\": \"%s\", \"size\": %u, \"unit\": \"%s\", \"values\": ",
		bench->first_result ? "" : ",", figure, size, unit);
	json_values(bench->json, ours);
	if (theirs) {
		fprintf(bench->json, ", \"yardstick\": \"%s\", \"yardstick_values\": ", yardstick);
		json_values(bench->json, theirs);
	}
	fputs("}", bench->json);
	bench->first_result = false;
}

/* After the line of a figure, of the same rounds: the null fabric's, and the figure divided by it. */
static void report_null(struct bench *bench, const char *figure, uint32_t size, const char *unit,
			const struct series *ours, const struct series *null)
{
	char name[32];

	if (!null->count)
		return;
	snprintf(name, sizeof(name), "%s-null", figure);
	report(bench, name, size, unit, null, "of that fabric", ours);
}

static void bench_rate(struct bench *bench)
{
	struct series ours = { 0 }, theirs = { 0 }, null = { 0 };
	unsigned int round;

	for (round = 0; round < bench->rounds; round++) {
		add(&theirs, raw_ring_rate(work(bench, 2000000), BATCH) / 1e6);
		add(&ours, write_rate(bench, 64, work(bench, 1000000)) / 1e6);
		if (bench->null)
			add(&null, write_rate(bench->null, 64, work(bench, 1000000)) / 1e6);
	}
	report(bench, "rate", 64, "M/s", &ours, "raw ring", &theirs);
	report_null(bench, "rate", 64, "M/s", &ours, &null);
}

static void bench_latency_of(struct bench *bench, uint32_t size)
{
	uint64_t messages = work(bench, size <= 4096 ? 200000 : 2000);
	struct series ours = { 0 }, theirs = { 0 }, null = { 0 };
	unsigned int round;

	for (round = 0; round < bench->rounds; round++) {
		add(&theirs, raw_round_trip_ns(work(bench, 200000)));
		add(&ours, write_latency(bench, size, messages));
		if (bench->null)
			add(&null, write_latency(bench->null, size, messages));
	}
	report(bench, "latency", size, "ns", &ours, "line round trip", &theirs);
	report_null(bench, "latency", size, "ns", &ours, &null);
}

static void bench_latency(struct bench *bench)
{
	unsigned int i;

	bench_latency_of(bench, 8);
	for (i = 0; i < bench->num_sizes; i++)
		if (bench->sizes[i] != 8)
			bench_latency_of(bench, bench->sizes[i]);
}

/* Messages of a size that are a round's work. */
static uint64_t round_messages(const struct bench *bench, uint32_t size)
{
	return work(bench, size < 4096 ? 500000 : (1ul << 30) / size);
}

static void bench_bandwidth(struct bench *bench)
{
	struct series ours, theirs;
	unsigned int i, round;
	uint64_t messages;
	uint32_t size;

	for (i = 0; i < bench->num_sizes; i++) {
		size = bench->sizes[i];
		messages = round_messages(bench, size);
		ours.count = theirs.count = 0;
		for (round = 0; round < bench->rounds; round++) {
			add(&theirs,
			    raw_memcpy_rate(bench->target.addr, bench->source.addr, AREA, size,
					    messages * size) /
				    1e9);
			add(&ours, write_rate(bench, size, messages) * size / 1e9);
		}
		report(bench, "bandwidth", size, "GB/s", &ours, "memcpy", &theirs);
	}
}

static void bench_admin(struct bench *bench)
{
	struct series ours = { 0 }, theirs = { 0 };
	unsigned int round;

	for (round = 0; round < bench->rounds; round++) {
		add(&theirs, raw_wake_round_trip_ns(work(bench, 20000)));
		add(&ours, admin_round_trip(bench, work(bench, 20000)));
	}
	report(bench, "admin", 0, "ns", &ours, "wake round trip", &theirs);
}

/* ns that a context is made and destroyed in. */
static double context_pair_ns(struct bench *bench, uint64_t pairs)
{
	static void *page;
	struct pvhca_admin_cmd command;
	struct pvhca_admin_rsp response;
	uint64_t i, began;

	if (!page)
		page = guest_alloc(&bench->guest, sizeof(struct pvhca_context_page));
	if (!page)
		fail("a context's page");
	began = monotonic_ns();
	for (i = 0; i < pairs; i++) {
		command = (struct pvhca_admin_cmd){
			.opcode = htole16(PVHCA_CMD_ALLOC_CONTEXT),
			.alloc_context = {
				.ring_abi_major = htole16(PVHCA_RING_ABI_MAJOR),
				.ring_abi_minor = htole16(PVHCA_RING_ABI_MINOR),
				.page = htole64(guest_physical(&bench->guest, page)),
			},
		};
		if (guest_command(&bench->guest, &command, &response))
			fail("making a context");
		command = (struct pvhca_admin_cmd){
			.opcode = htole16(PVHCA_CMD_DEALLOC_CONTEXT),
			.destroy.handle = response.alloc_context.handle,
		};
		if (guest_command(&bench->guest, &command, &response))
			fail("destroying a context");
	}
	return (double)(monotonic_ns() - began) / pairs;
}

/* A context, and a queue pair, made and destroyed, beside two empty commands. */
static void bench_control(struct bench *bench)
{
	struct series contexts = { 0 }, pairs = { 0 }, theirs = { 0 };
	const uint64_t count = work(bench, 2000);
	unsigned int round;
	double rate;

	for (round = 0; round < bench->rounds; round++) {
		add(&theirs, 2 * admin_round_trip(bench, 2 * count));
		add(&contexts, context_pair_ns(bench, count));
		rate = churn_queue_pairs(&bench->context, &bench->cq[0], 1, count);
		if (rate < 0)
			fail("queue pairs");
		add(&pairs, 1e9 / rate);
	}
	report(bench, "context", 0, "ns", &contexts, "two empty commands", &theirs);
	report(bench, "queue pair", 0, "ns", &pairs, "two empty commands", &theirs);
}

/* 1000 queue pairs that are made and destroyed, as by one thread and as by 16. */
static void bench_queue_pairs(struct bench *bench)
{
	struct series ours = { 0 }, theirs = { 0 };
	unsigned int round, pairs = work(bench, 1000);
	double one, many;

	for (round = 0; round < bench->rounds; round++) {
		one = churn_queue_pairs(&bench->context, &bench->cq[0], 1, pairs);
		many = churn_queue_pairs(&bench->context, &bench->cq[0], GUEST_COMMANDS, pairs);
		if (one < 0 || many < 0)
			fail("queue pairs");
		add(&theirs, one);
		add(&ours, many);
	}
	report(bench, "pairs", 0, "QP/s", &ours, "one at a time", &theirs);
}

static void bench_memcpy(struct bench *bench)
{
	uint8_t *area =
		mmap(NULL, 2 * AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int i, round;
	struct series series;
	uint64_t total;

	if (area == MAP_FAILED)
		fail("mmap");
	memset(area, 1, 2 * AREA);
	for (i = 0; i < bench->num_sizes; i++) {
		total = round_messages(bench, bench->sizes[i]) * bench->sizes[i];
		series.count = 0;
		for (round = 0; round < bench->rounds; round++)
			add(&series,
			    raw_memcpy_rate(area + AREA, area, AREA, bench->sizes[i], total) / 1e9);
		report(bench, "memcpy", bench->sizes[i], "GB/s", &series, NULL, NULL);
	}
	munmap(area, 2 * AREA);
}

/* ---------------------------------- objects -------------------------------- */

static void make_gid(uint8_t gid[16], unsigned int session)
{
	const uint8_t made[16] = { [10] = 0xff, 0xff, 10, 99, session >> 8, session };

	memcpy(gid, made, sizeof(made));
}

static void connect_pair(struct guest_qp *a, struct guest_qp *b, const uint8_t gid[16])
{
	if (guest_qp_connect(a, b->provider.vqp.qp.qp_num, gid) ||
	    guest_qp_connect(b, a->provider.vqp.qp.qp_num, gid))
		exit(1);
}

/* Two queue pairs that could work and have nothing to do. */
static void idle_pair(struct guest_context *context, struct guest_cq *cq, const uint8_t gid[16])
{
	struct guest_qp *qp = calloc(2, sizeof(*qp)); /* as long as pvhcad may look */

	if (!qp || guest_qp_create(context, cq, IDLE_DEPTH, 32, &qp[0]) ||
	    guest_qp_create(context, cq, IDLE_DEPTH, 32, &qp[1]))
		exit(1);
	connect_pair(&qp[0], &qp[1], gid);
}

static void idle_session(const char *socket, unsigned int number)
{
	struct idle {
		struct guest guest;
		struct guest_context context;
		struct guest_cq cq;
	} *idle = calloc(1, sizeof(*idle));
	uint8_t gid[16];
	char name[32];

	make_gid(gid, number);
	snprintf(name, sizeof(name), "ring-bench-%u", number);
	if (!idle || guest_open(&idle->guest, socket, name, 4ul << 20) ||
	    guest_add_gid(&idle->guest, 0, gid) ||
	    guest_context_open(&idle->guest, &idle->context) ||
	    guest_cq_create(&idle->context, 8, &idle->cq))
		exit(1);
	idle_pair(&idle->context, &idle->cq, gid);
}

static void setup(struct bench *bench)
{
	size_t ram = 2 * AREA + (64ul << 20) + bench->num_qps * 16384ul;
	uint8_t gid[16];
	unsigned int i;

	make_gid(gid, 1);
	if (guest_open(&bench->guest, bench->socket, "ring-bench", ram) ||
	    guest_add_gid(&bench->guest, 0, gid) ||
	    guest_context_open(&bench->guest, &bench->context) ||
	    guest_mr_reg(&bench->context, AREA, &bench->source) ||
	    guest_mr_reg(&bench->context, AREA, &bench->target))
		exit(1);
	/* The idle ones first: the active ones are to stand behind them. */
	for (i = 0; i < 2; i++)
		if (guest_cq_create(&bench->context, 11, &bench->cq[i]))
			exit(1);
	for (i = 2; i + 1 < bench->num_qps; i += 2)
		idle_pair(&bench->context, &bench->cq[1], gid);
	for (i = 0; i < 2; i++)
		if (guest_qp_create(&bench->context, &bench->cq[i], DEPTH, 32, &bench->qp[i]))
			exit(1);
	connect_pair(&bench->qp[0], &bench->qp[1], gid);
	for (i = 1; i < bench->num_sessions; i++)
		idle_session(bench->socket, i + 1);
	memset(bench->source.addr, 1, AREA);
	memset(bench->target.addr, 2, AREA);
}

/* ---------------------------------- options -------------------------------- */

static void usage(FILE *to)
{
	fputs("usage: pvhca-ring-bench --socket PATH [OPTION...]\n"
	      "Measures a pvhcad that runs with --fabric loopback.\n"
	      "  --figures LIST   of rate,latency,bandwidth,admin (all of them), memcpy;\n"
	      "                   memcpy alone needs no pvhcad; queue-pairs: made and destroyed per\n"
	      "                   second, 16 under way beside one, for a pvhcad with --fabric null and\n"
	      "                   --null-delay; control: a context, and a queue pair, made and destroyed\n"
	      "  --null PATH      socket of a second pvhcad, with --fabric null: rates and\n"
	      "                   latencies without an engine, in the same rounds\n"
	      "  --rounds N       7\n"
	      "  --sizes LIST     of messages, bytes\n"
	      "  --percent N      of the usual work in a round\n"
	      "  --qps N          that exist, two of them active\n"
	      "  --sessions N     that exist, one of them active\n"
	      "  --idle MS        do nothing for so long, between two lines \"idle\" and \"done\"\n"
	      "  --json FILE      results, all rounds\n",
	      to);
}

static void parse_figures(struct bench *bench, char *list)
{
	unsigned int i;
	char *word;

	bench->figures = 0;
	for (word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		for (i = 0; i < NUM_FIGURES && strcmp(word, figure_names[i]); i++)
			;
		if (i == NUM_FIGURES)
			fail(word);
		bench->figures |= 1u << i;
	}
}

static void parse_sizes(struct bench *bench, char *list)
{
	unsigned long size;
	char *word;

	bench->num_sizes = 0;
	for (word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		size = strtoul(word, NULL, 0);
		if (!size || size > AREA || bench->num_sizes == MAX_SIZES)
			fail("--sizes");
		bench->sizes[bench->num_sizes++] = size;
	}
}

static void parse(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "null", required_argument, NULL, '0' },
		{ "figures", required_argument, NULL, 'f' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "sizes", required_argument, NULL, 'z' },
		{ "percent", required_argument, NULL, 'p' },
		{ "qps", required_argument, NULL, 'q' },
		{ "sessions", required_argument, NULL, 'n' },
		{ "idle", required_argument, NULL, 'i' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's') {
			bench->socket = optarg;
		} else if (option == '0') {
			bench->null = calloc(1, sizeof(*bench->null));
			if (!bench->null)
				fail("calloc");
			bench->null->socket = optarg;
		} else if (option == 'f') {
			parse_figures(bench, optarg);
		} else if (option == 'r') {
			bench->rounds = option_number(optarg, MAX_ROUNDS, usage);
		} else if (option == 'z') {
			parse_sizes(bench, optarg);
		} else if (option == 'p') {
			bench->percent = option_number(optarg, 10000, usage);
		} else if (option == 'q') {
			bench->num_qps = option_number(optarg, PVHCA_SLOTS, usage);
		} else if (option == 'n') {
			bench->num_sessions = option_number(optarg, MAX_SESSIONS, usage);
		} else if (option == 'i') {
			bench->idle_ms = option_number(optarg, 3600000, usage);
		} else if (option == 'j') {
			bench->json = fopen(optarg, "w");
			if (!bench->json)
				fail(optarg);
		} else {
			usage(option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (!bench->socket && bench->figures != MEMCPY) {
		usage(stderr);
		exit(2);
	}
}

/* Each session takes a dozen descriptors. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static struct bench bench = {
		.figures = RATE | LATENCY | BANDWIDTH | ADMIN,
		.rounds = 7,
		.percent = 100,
		.num_qps = 2,
		.num_sessions = 1,
		.sizes = { 64, 512, 4096, 65536, 1 << 20, 8 << 20 },
		.num_sizes = 6,
		.first_result = true,
	};

	parse(&bench, argc, argv);
	if (bench.socket) {
		raise_descriptors();
		setup(&bench);
	}
	if (bench.null) {
		bench.null->num_qps = bench.num_qps;
		bench.null->num_sessions = bench.num_sessions;
		setup(bench.null);
	}
	if (bench.idle_ms) {
		puts("idle");
		fflush(stdout);
		usleep(bench.idle_ms * 1000);
		puts("done");
	}
	if (bench.json)
		fprintf(bench.json, "[");
	if (bench.figures & RATE)
		bench_rate(&bench);
	if (bench.figures & LATENCY)
		bench_latency(&bench);
	if (bench.figures & BANDWIDTH)
		bench_bandwidth(&bench);
	if (bench.figures & ADMIN)
		bench_admin(&bench);
	if (bench.figures & MEMCPY)
		bench_memcpy(&bench);
	if (bench.figures & CONTROL)
		bench_control(&bench);
	if (bench.figures & QUEUE_PAIRS)
		bench_queue_pairs(&bench);
	if (bench.json) {
		fprintf(bench.json, "\n]\n");
		fclose(bench.json);
	}
	if (bench.socket) {
		printf("doorbells rung: %llu\n", (unsigned long long)bench.guest.doorbells_rung);
		guest_close(&bench.guest);
	}
	if (bench.null)
		guest_close(&bench.null->guest);
	return 0;
}
