// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-workers: what pvhcad's workers do by themselves, with a processor each.
 *
 * While pvhcad is stopped, guests without virtual machines fill the send queues of many queue
 * pairs with writes through the provider's ring code. Then pvhcad goes on, and this process
 * sleeps but for a look now and then, until the last of them has completed. So a machine with
 * two processors can show two workers: nobody else works meanwhile.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "objects.h"
#include "options.h"
#include "raw.h"

#define RAM	   (64ul << 20)
#define AREA	   (1ul << 20)
#define LOG_DEPTH  12
#define DEPTH	   (1u << LOG_DEPTH)
#define PAIRS	   32u /* of each VM; 131072 messages, some ms of a worker's time */
#define SIZE	   64u
#define MAX_VMS	   8u
#define MAX_ROUNDS 99u
#define LOOK_NS	   20000l

struct pair {
	struct guest_cq cq[2];
	struct guest_qp qp[2]; /* [0] requests, [1] responds */
};

struct vm {
	struct guest guest;
	struct guest_context context;
	struct guest_mr source, target;
	struct pair pairs[PAIRS];
};

struct bench {
	const char *socket;
	pid_t daemon;
	unsigned int num_vms;
	unsigned int rounds;
	FILE *json;
	struct vm vms[MAX_VMS];
};

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

/* ----------------------------------- guests -------------------------------- */

static void pair_open(struct vm *vm, struct pair *pair, const uint8_t gid[16])
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (guest_cq_create(&vm->context, LOG_DEPTH, &pair->cq[i]) ||
		    guest_qp_create(&vm->context, &pair->cq[i], DEPTH, 0, &pair->qp[i]))
			exit(1);
	for (i = 0; i < 2; i++)
		if (guest_qp_connect(&pair->qp[i], pair->qp[!i].provider.vqp.qp.qp_num, gid))
			exit(1);
}

static void vm_open(struct vm *vm, const char *socket, unsigned int number)
{
	const uint8_t gid[16] = { [10] = 0xff, 0xff, 10, 99, 3, number + 1 };
	char name[32];
	unsigned int i;

	snprintf(name, sizeof(name), "ring-workers-%u", number);
	if (guest_open(&vm->guest, socket, name, RAM) || guest_add_gid(&vm->guest, 0, gid) ||
	    guest_context_open(&vm->guest, &vm->context) ||
	    guest_mr_reg(&vm->context, AREA, &vm->source) ||
	    guest_mr_reg(&vm->context, AREA, &vm->target))
		exit(1);
	for (i = 0; i < PAIRS; i++)
		pair_open(vm, &vm->pairs[i], gid);
}

/* As many writes as the queue takes. */
static void fill_queue(struct vm *vm, struct pair *pair)
{
	static struct ibv_send_wr wr[DEPTH];
	struct ibv_sge sge = { (uintptr_t)vm->source.addr, SIZE, vm->source.lkey };
	unsigned int i;

	for (i = 0; i < DEPTH; i++)
		wr[i] = (struct ibv_send_wr){
			.sg_list = &sge,
			.num_sge = 1,
			.opcode = IBV_WR_RDMA_WRITE,
			.send_flags = IBV_SEND_SIGNALED,
			.wr.rdma = { (uintptr_t)vm->target.addr, vm->target.rkey },
			.next = i + 1 < DEPTH ? &wr[i + 1] : NULL,
		};
	if (guest_post_send(&pair->qp[0], wr))
		fail("posting");
}

static void drain(struct pair *pair)
{
	struct ibv_wc wc[64];
	unsigned int left;
	int i, n;

	for (left = DEPTH; left; left -= n) {
		n = guest_poll_cq(&pair->cq[0], 64, wc);
		for (i = 0; i < n; i++)
			if (wc[i].status != IBV_WC_SUCCESS)
				fail(ibv_wc_status_str(wc[i].status));
	}
}

/* ----------------------------- what is measured ---------------------------- */

static void signal_daemon(const struct bench *bench, int number)
{
	if (kill(bench->daemon, number)) {
		fprintf(stderr, "process %d: %s\n", (int)bench->daemon, strerror(errno));
		exit(1);
	}
}

/* The state of a thread as /proc has it: a letter after the name in parentheses. */
static char thread_state(const struct bench *bench, const char *thread)
{
	char path[64], line[256];
	const char *name_ends;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", (int)bench->daemon, thread);
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file))
		fail(path);
	fclose(file);
	name_ends = strrchr(line, ')');
	return name_ends ? name_ends[2] : 0;
}

/* A thread goes on for a moment after its process was told to stop. */
static void stop_daemon(const struct bench *bench)
{
	char path[32];
	const struct dirent *entry;
	DIR *threads;

	signal_daemon(bench, SIGSTOP);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)bench->daemon);
	threads = opendir(path);
	if (!threads)
		fail(path);
	while ((entry = readdir(threads)))
		while (entry->d_name[0] != '.' && thread_state(bench, entry->d_name) != 'T')
			;
	closedir(threads);
}

static void wait_completed(const struct bench *bench)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	unsigned int vm, i;

	for (vm = 0; vm < bench->num_vms; vm++)
		for (i = 0; i < PAIRS; i++)
			while (!guest_cq_holds(&bench->vms[vm].pairs[i].cq[0], DEPTH))
				nanosleep(&pause, NULL);
}

/* Messages a second, of all VMs. */
static double one_round(struct bench *bench)
{
	uint64_t began, took;
	unsigned int vm, i;

	stop_daemon(bench);
	for (vm = 0; vm < bench->num_vms; vm++)
		for (i = 0; i < PAIRS; i++)
			fill_queue(&bench->vms[vm], &bench->vms[vm].pairs[i]);
	began = monotonic_ns();
	signal_daemon(bench, SIGCONT);
	wait_completed(bench);
	took = monotonic_ns() - began;
	for (vm = 0; vm < bench->num_vms; vm++)
		for (i = 0; i < PAIRS; i++)
			drain(&bench->vms[vm].pairs[i]);
	return (double)bench->num_vms * PAIRS * DEPTH * 1e9 / took;
}

static void report(struct bench *bench, const double *rates)
{
	unsigned int i;

	printf("%u VM%s", bench->num_vms, bench->num_vms == 1 ? "" : "s");
	for (i = 0; i < bench->rounds; i++)
		printf(" %8.3f", rates[i]);
	printf(" M/s\n");
	if (!bench->json)
		return;
	fprintf(bench->json,
		"[\n  {\"figure\": \"workers alone\", \"size\": 64, \"unit\": \"M/s\", \"values\": [");
	for (i = 0; i < bench->rounds; i++)
		fprintf(bench->json, "%s%g", i ? ", " : "", rates[i]);
	fprintf(bench->json, "]}\n]\n");
	fclose(bench->json);
}

/* ---------------------------------- options -------------------------------- */

static void usage(FILE *to)
{
	fputs("usage: pvhca-ring-workers --socket PATH --pid N [OPTION...]\n"
	      "Writes of 64 B that are posted while the pvhcad of that process id, which runs\n"
	      "with --fabric loopback, is stopped; the rate at which it then carries them out.\n"
	      "  --vms N          VMs that post, up to 8 (1)\n"
	      "  --rounds N       7\n"
	      "  --json FILE      results, all rounds\n",
	      to);
}

static void parse(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "pid", required_argument, NULL, 'p' },
		{ "vms", required_argument, NULL, 'v' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's') {
			bench->socket = optarg;
		} else if (option == 'p') {
			bench->daemon =
				option_number(optarg, 1u << 22, usage); /* the kernel's own limit */
		} else if (option == 'v') {
			bench->num_vms = option_number(optarg, MAX_VMS, usage);
		} else if (option == 'r') {
			bench->rounds = option_number(optarg, MAX_ROUNDS, usage);
		} else if (option == 'j') {
			bench->json = fopen(optarg, "w");
			if (!bench->json)
				fail(optarg);
		} else {
			usage(option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (!bench->socket || !bench->daemon) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct bench bench = { .num_vms = 1, .rounds = 7 };
	double rates[MAX_ROUNDS];
	unsigned int i;

	parse(&bench, argc, argv);
	for (i = 0; i < bench.num_vms; i++)
		vm_open(&bench.vms[i], bench.socket, i);
	one_round(&bench); /* both sides touch the memory of the rings for the first time */
	for (i = 0; i < bench.rounds; i++)
		rates[i] = one_round(&bench) / 1e6;
	report(&bench, rates);
	for (i = 0; i < bench.num_vms; i++)
		guest_close(&bench.vms[i].guest);
	return 0;
}
