// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-ring-events: connections whose owner sleeps until an event, as ib_send_lat -e does, through
 * the provider's ring code and a real pvhcad, without virtual machines. Each connection has a CQ
 * of its own; all share an event queue. The owner plays the guest's kernel, too: an interrupt is
 * the eventfd, which counts them, and the events are in the queue.
 *
 * one: a single connection with one message at a time. stream: a single one with many under way.
 * busy: one stream, and the others with a message every millisecond. all: each with one message
 * at a time.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "objects.h"
#include "raw.h"
#include "timescale.h"

#define AREA	    (1ul << 20)
#define MANY	    32u
#define WINDOW	    64u
#define SIZE	    64u
#define CEQ_ENTRIES (1u << GUEST_CEQ_LOG)
#define PAUSE_NS    1000000u
#define PATIENCE_MS ((int)scaled(60000))

struct connection {
	struct guest_cq cq[2];
	struct guest_qp qp[2];
	uint64_t posted_ns; /* the last one */
	uint64_t due_ns;    /* the next one */
	unsigned int under_way;
	bool streams;
};

struct bench {
	struct guest guest;
	struct guest_context context;
	struct guest_mr source, target;
	struct connection connection[MANY];
	uint32_t ci; /* of the event queue */

	uint64_t messages, events, interrupts;
	/* Of those that had one message under way. */
	uint64_t waited_ns, waits, longest_ns;
	FILE *json;
	const char *separator;
};

/* Who sends how: the first connection has a window, the others pause between their messages. */
struct scenario {
	const char *name;
	unsigned int connections;
	unsigned int window;
	uint64_t pause_ns;
};

static const struct scenario scenarios[] = {
	{ .name = "one", .connections = 1, .window = 1 },
	{ .name = "stream", .connections = 1, .window = WINDOW },
	{ .name = "busy", .connections = MANY, .window = WINDOW, .pause_ns = PAUSE_NS },
	{ .name = "all", .connections = MANY, .window = 1 },
};

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

static void setup(struct bench *bench, const char *socket)
{
	static const uint8_t gid[16] = { [10] = 0xff, 0xff, 10, 99, 3, 1 };
	struct connection *at;
	unsigned int i, end;

	if (guest_open(&bench->guest, socket, "ring-events", 32 * AREA) ||
	    guest_add_gid(&bench->guest, 0, gid) ||
	    guest_context_open(&bench->guest, &bench->context) ||
	    guest_mr_reg(&bench->context, AREA, &bench->source) ||
	    guest_mr_reg(&bench->context, AREA, &bench->target))
		exit(1);
	for (i = 0; i < MANY; i++) {
		at = &bench->connection[i];
		for (end = 0; end < 2; end++)
			if (guest_cq_create(&bench->context, 8, &at->cq[end]) ||
			    guest_qp_create(&bench->context, &at->cq[end], WINDOW, 0, &at->qp[end]))
				exit(1);
		for (end = 0; end < 2; end++)
			if (guest_qp_connect(&at->qp[end], at->qp[!end].provider.vqp.qp.qp_num,
					     gid))
				exit(1);
	}
}

/* ------------------------------- a connection ------------------------------ */

static void post(struct bench *bench, struct connection *at)
{
	struct ibv_sge sge = { (uintptr_t)bench->source.addr, SIZE, bench->source.lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {
			.remote_addr = (uintptr_t)bench->target.addr,
			.rkey = bench->target.rkey,
		},
	};

	at->posted_ns = monotonic_ns();
	if (guest_post_send(&at->qp[0], &wr))
		fail("posting");
	at->under_way++;
}

static void poll_some(struct bench *bench, struct connection *at)
{
	struct ibv_wc wc[WINDOW];
	uint64_t took;
	int i, n;

	while ((n = guest_poll_cq(&at->cq[0], WINDOW, wc)) > 0)
		for (i = 0; i < n; i++) {
			if (wc[i].status)
				fail(ibv_wc_status_str(wc[i].status));
			bench->messages++;
			at->under_way--;
			if (at->streams)
				continue;
			took = monotonic_ns() - at->posted_ns;
			bench->waited_ns += took;
			bench->waits++;
			if (took > bench->longest_ns)
				bench->longest_ns = took;
		}
}

/* As verbs want it: ask for an event, then look once more. */
static void drain(struct bench *bench, struct connection *at)
{
	poll_some(bench, at);
	if (guest_arm_cq(&at->cq[0]))
		fail("arming");
	poll_some(bench, at);
}

/* Post what it may now. first: it streams. */
static void go_on(struct bench *bench, const struct scenario *how, struct connection *at)
{
	bool first = at == bench->connection;
	unsigned int window = first ? how->window : 1;

	if (!first && how->pause_ns) {
		if (at->under_way || monotonic_ns() < at->due_ns)
			return;
		at->due_ns = monotonic_ns() + how->pause_ns;
	}
	while (at->under_way < window)
		post(bench, at);
}

/* --------------------------------- the kernel ------------------------------ */

static struct connection *owner(struct bench *bench, uint32_t cq)
{
	unsigned int i;

	for (i = 0; i < MANY; i++)
		if (bench->connection[i].cq[0].handle == cq)
			return &bench->connection[i];
	fail("the owner of a CQ");
	return NULL;
}

/* Take an event if there is one. */
static bool take_event(struct bench *bench, uint32_t *cq)
{
	struct pvhca_eq_header *header = (struct pvhca_eq_header *)bench->guest.eq;
	struct pvhca_ceqe *entries = (struct pvhca_ceqe *)(bench->guest.eq + PVHCA_EQ_HEADER_SIZE);
	struct pvhca_ceqe *entry = &entries[bench->ci % CEQ_ENTRIES];
	uint32_t flags = le32toh(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE));

	if (!!(flags & PVHCA_EQE_F_PHASE) != !(bench->ci / CEQ_ENTRIES & 1))
		return false;
	*cq = le32toh(entry->cq_handle);
	bench->ci++;
	__atomic_store_n(&header->ci, htole32(bench->ci), __ATOMIC_RELEASE);
	return true;
}

/* Sleep until an interrupt, or for a millisecond if a message is due then. False: neither came. */
static bool sleep_until_interrupt(struct bench *bench, const struct scenario *how)
{
	struct pollfd irq = { .fd = bench->guest.vector[GUEST_CEQ_VECTOR], .events = POLLIN };
	eventfd_t count = 0;

	if (poll(&irq, 1, how->pause_ns ? 1 : PATIENCE_MS) < 1)
		return how->pause_ns;
	eventfd_read(bench->guest.vector[GUEST_CEQ_VECTOR], &count);
	bench->interrupts += count;
	return true;
}

static void run(struct bench *bench, const struct scenario *how, uint64_t messages)
{
	struct connection *at;
	unsigned int i;
	uint32_t cq;

	bench->messages = bench->events = bench->interrupts = 0;
	bench->waited_ns = bench->waits = bench->longest_ns = 0;
	for (i = 0; i < how->connections; i++) {
		bench->connection[i].streams = !i && how->window > 1;
		drain(bench, &bench->connection[i]);
	}
	for (;;) {
		for (i = 0; i < how->connections && bench->messages < messages; i++)
			go_on(bench, how, &bench->connection[i]);
		for (i = 0; i < how->connections && !bench->connection[i].under_way; i++)
			;
		if (i == how->connections && bench->messages >= messages)
			return;
		if (!sleep_until_interrupt(bench, how))
			fail("an interrupt");
		while (take_event(bench, &cq)) {
			at = owner(bench, cq);
			bench->events++;
			drain(bench, at);
		}
	}
}

/* ---------------------------------- results -------------------------------- */

static void report(struct bench *bench, const char *scenario, const char *figure, const char *unit,
		   double value)
{
	printf("%-8s %-12s %12.2f %s\n", scenario, figure, value, unit);
	if (!bench->json)
		return;
	fprintf(bench->json, "%s\n  {\"figure\": \"%s: %s\", \"unit\": \"%s\", \"value\": %g}",
		bench->separator, scenario, figure, unit, value);
	bench->separator = ",";
}

static void measure(struct bench *bench, const struct scenario *how, uint64_t messages)
{
	uint64_t began = monotonic_ns();
	double thousands;

	run(bench, how, messages);
	thousands = bench->messages / 1000.0;
	report(bench, how->name, "rate", "k/s", bench->messages * 1e6 / (monotonic_ns() - began));
	report(bench, how->name, "events", "/1000 messages", bench->events / thousands);
	report(bench, how->name, "interrupts", "/1000 messages", bench->interrupts / thousands);
	if (bench->waits) {
		report(bench, how->name, "latency", "us", bench->waited_ns / 1e3 / bench->waits);
		report(bench, how->name, "longest", "us", bench->longest_ns / 1e3);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "messages", required_argument, NULL, 'n' },
		{ "json", required_argument, NULL, 'j' },
		{ 0 },
	};
	static struct bench bench = { .separator = "" };
	uint64_t messages = 100000;
	const char *socket = NULL;
	unsigned int i;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			socket = optarg;
		else if (option == 'n')
			messages = strtoull(optarg, NULL, 0);
		else if (option == 'j')
			bench.json = fopen(optarg, "w");
	}
	if (!socket || !messages) {
		fputs("usage: pvhca-ring-events --socket PATH [--messages N] [--json FILE]\n",
		      stderr);
		return 2;
	}
	setup(&bench, socket);
	if (bench.json)
		fprintf(bench.json, "[");
	for (i = 0; i < SCENARIOS; i++)
		measure(&bench, &scenarios[i], messages);
	if (bench.json) {
		fprintf(bench.json, "\n]\n");
		fclose(bench.json);
	}
	guest_close(&bench.guest);
	return 0;
}
