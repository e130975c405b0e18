// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-integrity: whether every byte arrives where it should, and no other
 * is touched.
 *
 * Two processes, on one machine or two, do RDMA operations of random kinds,
 * sizes, places and pieces to one another, both ways at once, and compare the
 * whole of their memory with what must have come out (plan.h). Completions are
 * held against the plan, too (engine.c). RC only so far: for UC and UD, SRQs and
 * atomics the plan wants further opcodes and kinds, the engine other QPs.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "report.h"

struct options {
	const char *device;
	const char *host;
	const char *port;
	int gid_index;
	int self;
	int late;
	unsigned int rounds;
	unsigned int cqs;
	uint64_t seed;
	enum engine_wait wait; /* ENGINE_WAITS: in turn */
	struct plan_shape shape;
};

/* What the client decides for both. */
struct agreement {
	uint64_t seed;
	uint32_t rounds;
	uint32_t cqs;
	uint32_t wait;
	uint32_t late;
	struct plan_shape shape;
};

struct kind {
	const char *name;
	uint32_t kinds;
};

static const struct kind kinds[] = {
	{ "send", 1 << PLAN_SEND },   { "send_imm", 1 << PLAN_SEND_IMM },
	{ "write", 1 << PLAN_WRITE }, { "write_imm", 1 << PLAN_WRITE_IMM },
	{ "read", 1 << PLAN_READ },   { "inline", PLAN_INLINE },
	{ "fence", PLAN_FENCE },      { "unsignaled", PLAN_UNSIGNALED },
	{ "all", PLAN_ALL },
};

static const char usage[] =
	"pvhca-test-integrity [options] [host]\n"
	"Without host: wait for the client. The client's options decide for both ends,\n"
	"save -d and -g.\n"
	"  -d, --device NAME   RDMA device (default: the first)\n"
	"  -g, --gid N         GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -p, --port N        TCP port (default: " CHANNEL_DEFAULT_PORT ")\n"
	"  -S, --self          be both ends, as two processes\n"
	"  -n, --rounds N      (default: 10)\n"
	"  -s, --seed N        repeat a run (default: from the clock)\n"
	"  -o, --op LIST       of send, send_imm, write, write_imm, read, inline, fence,\n"
	"                      unsignaled, all (default: all)\n"
	"  -l, --late          post receives only while the peer is sending\n"
	"  -w, --wait HOW      poll, events or mixed (default: mixed)\n"
	"      --qps N         (default: 4)\n"
	"      --cqs N         (default: 3)\n"
	"      --ops N         most operations of a round (default: 64)\n"
	"      --size N        largest message in bytes (default: 1 MiB)\n"
	"      --arena N       bytes of each of the two pieces of memory (default: 8 times the size)\n"
	"      --depth N       of the send queues (default: 16)\n"
	"      --inline N      largest inline message in bytes (default: 128)\n";

enum { OPT_QPS = 256, OPT_CQS, OPT_OPS, OPT_SIZE, OPT_ARENA, OPT_DEPTH, OPT_INLINE };

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "gid", required_argument, NULL, 'g' },
	{ "port", required_argument, NULL, 'p' },
	{ "self", no_argument, NULL, 'S' },
	{ "rounds", required_argument, NULL, 'n' },
	{ "seed", required_argument, NULL, 's' },
	{ "late", no_argument, NULL, 'l' },
	{ "op", required_argument, NULL, 'o' },
	{ "wait", required_argument, NULL, 'w' },
	{ "qps", required_argument, NULL, OPT_QPS },
	{ "cqs", required_argument, NULL, OPT_CQS },
	{ "ops", required_argument, NULL, OPT_OPS },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "arena", required_argument, NULL, OPT_ARENA },
	{ "depth", required_argument, NULL, OPT_DEPTH },
	{ "inline", required_argument, NULL, OPT_INLINE },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static unsigned long number(const char *text)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end)
		die("'%s' is not a number", text);
	return value;
}

static uint32_t parse_kinds(char *list)
{
	uint32_t chosen = 0;
	char *name, *rest;
	size_t i;

	for (name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		for (i = 0; i < sizeof(kinds) / sizeof(*kinds) && strcmp(kinds[i].name, name); i++)
			;
		if (i == sizeof(kinds) / sizeof(*kinds))
			die("no operation is called '%s'", name);
		chosen |= kinds[i].kinds;
	}
	if (!(chosen & ((1 << PLAN_OPCODES) - 1)))
		die("--op names no operation, only ways to do one");
	return chosen;
}

static enum engine_wait parse_wait(const char *name)
{
	if (!strcmp(name, "poll"))
		return ENGINE_POLL;
	if (!strcmp(name, "events"))
		return ENGINE_EVENTS;
	if (!strcmp(name, "mixed"))
		return ENGINE_WAITS;
	die("--wait is poll, events or mixed");
}

static void parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "d:g:p:Sn:s:o:w:lh", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->device = optarg;
			break;
		case 'g':
			o->gid_index = number(optarg);
			break;
		case 'p':
			o->port = optarg;
			break;
		case 'S':
			o->self = 1;
			break;
		case 'l':
			o->late = 1;
			break;
		case 'n':
			o->rounds = number(optarg);
			break;
		case 's':
			o->seed = number(optarg);
			break;
		case 'o':
			o->shape.kinds = parse_kinds(optarg);
			break;
		case 'w':
			o->wait = parse_wait(optarg);
			break;
		case OPT_QPS:
			o->shape.qps = number(optarg);
			break;
		case OPT_CQS:
			o->cqs = number(optarg);
			break;
		case OPT_OPS:
			o->shape.ops = number(optarg);
			break;
		case OPT_SIZE:
			o->shape.max_size = number(optarg);
			break;
		case OPT_ARENA:
			o->shape.arena_size = number(optarg);
			break;
		case OPT_DEPTH:
			o->shape.sq_depth = number(optarg);
			break;
		case OPT_INLINE:
			o->shape.max_inline = number(optarg);
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
	if (!o->shape.qps || !o->cqs || !o->shape.ops || o->shape.sq_depth < 2)
		die("at least 1 QP, 1 CQ, 1 operation and a send queue of 2");
	if (!o->shape.arena_size)
		o->shape.arena_size = 8ull * o->shape.max_size + 65536;
}

/* Both ends learn what both devices can; the client's wishes are cut to that. */
static void agree(const struct options *o, struct engine *e, struct channel *channel,
		  struct agreement *a)
{
	uint32_t mine[2] = { e->device.attr.max_sge, 128u << e->device.mtu }, theirs[2];

	if (e->device.attr.max_sge_rd < e->device.attr.max_sge)
		mine[0] = e->device.attr.max_sge_rd;
	channel_exchange(channel, mine, theirs, sizeof(mine));
	if (channel->server) {
		channel_receive(channel, a, sizeof(*a));
		return;
	}
	memset(a, 0, sizeof(*a));
	a->seed = o->seed;
	a->rounds = o->rounds;
	a->cqs = o->cqs;
	a->wait = o->wait;
	a->late = o->late;
	a->shape = o->shape;
	a->shape.keys = PLAN_MAX_KEYS;
	a->shape.max_sge = mine[0] < theirs[0] ? mine[0] : theirs[0];
	if (a->shape.max_sge > PLAN_MAX_SGE)
		a->shape.max_sge = PLAN_MAX_SGE;
	a->shape.mtu = mine[1] < theirs[1] ? mine[1] : theirs[1];
	channel_send(channel, a, sizeof(*a));
}

struct tally {
	uint64_t ops[PLAN_OPCODES];
	uint64_t inlined;
	uint64_t fenced;
	uint64_t unsignaled;
	uint64_t bytes;
};

static void count(struct tally *t, const struct plan *p)
{
	uint32_t i;

	for (i = 0; i < p->ops; i++) {
		t->ops[p->op[i].opcode]++;
		t->inlined += p->op[i].inlined;
		t->fenced += p->op[i].fenced;
		t->unsignaled += !p->op[i].signaled;
		t->bytes += p->op[i].length;
	}
}

static void say_tally(const struct tally *t, unsigned int rounds)
{
	say("PASS rounds=%u send=%lu send_imm=%lu write=%lu write_imm=%lu read=%lu inline=%lu fence=%lu "
	    "unsignaled=%lu bytes=%lu",
	    rounds, t->ops[PLAN_SEND], t->ops[PLAN_SEND_IMM], t->ops[PLAN_WRITE],
	    t->ops[PLAN_WRITE_IMM], t->ops[PLAN_READ], t->inlined, t->fenced, t->unsignaled,
	    t->bytes);
}

static void run(struct engine *e, const struct agreement *a)
{
	struct tally tally = { 0 };
	struct plan own, peer;
	unsigned int round;
	uint64_t seed;
	enum engine_wait wait;

	plan_init(&own, &e->shape);
	plan_init(&peer, &e->shape);
	for (round = 0; round < a->rounds; round++) {
		seed = random_derive(a->seed, round);
		plan_make(&own, random_derive(seed, e->channel->server));
		plan_make(&peer, random_derive(seed, !e->channel->server));
		wait = a->wait == ENGINE_WAITS ? round % ENGINE_WAITS : a->wait;
		if (!engine_run(e, &own, &peer, wait))
			die("FAIL in round %u, seed %lu, waiting by %s", round, a->seed,
			    wait == ENGINE_POLL ? "polling" : "events");
		count(&tally, &own);
		count(&tally, &peer);
	}
	say_tally(&tally, a->rounds);
	plan_free(&own);
	plan_free(&peer);
}

int main(int argc, char **argv)
{
	struct options options = {
		.port = CHANNEL_DEFAULT_PORT,
		.gid_index = GID_INDEX_AUTO,
		.rounds = 10,
		.cqs = 3,
		.seed = time(NULL),
		.wait = ENGINE_WAITS,
		.shape = { .kinds = PLAN_ALL,
			   .qps = 4,
			   .ops = 64,
			   .max_size = 1 << 20,
			   .sq_depth = 16,
			   .max_inline = 128 },
	};
	struct engine engine = { 0 };
	struct agreement agreement;
	struct channel channel;

	parse(&options, argc, argv);
	if (options.self)
		options.host = channel_fork();
	device_open(&engine.device, options.device, options.gid_index);
	channel_open(&channel, options.host, options.port);
	agree(&options, &engine, &channel, &agreement);
	say("%s device %s gid %d seed %lu", channel.server ? "server" : "client",
	    ibv_get_device_name(engine.device.context->device), engine.device.gid_index,
	    agreement.seed);
	engine.late = agreement.late;
	engine_init(&engine, &channel, &agreement.shape, agreement.cqs, agreement.seed);
	run(&engine, &agreement);
	engine_free(&engine);
	device_close(&engine.device);
	channel_close(&channel);
	return options.self && options.host ? channel_join_child() : 0;
}
