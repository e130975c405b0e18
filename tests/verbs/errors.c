// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-errors: what the verbs say when something is wrong; and with other
 * tables of cases pvhca-test-windows, -srq and -datagrams: what they say of these.
 *
 * Requester (client) and responder (server) go through the same table of cases
 * (errors_cases.c and others, one in each program) in step; the requester prints a line for each:
 *
 *   case requester responder requester-events responder-events verdict
 *
 * Where an engine is known to give something else than the specification, and
 * the user says that it is that engine (--known rxe), this is accepted and
 * marked. So a run on the native engine and one through a guest can be compared
 * line by line.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "report.h"
#include "timescale.h"

struct options {
	const char *device;
	const char *host;
	const char *port;
	const char *only; /* one case */
	int gid_index;
	bool self;
	bool known_rxe;
	bool json;
	unsigned int patience;
};

/* Both records of one end. */
struct record {
	char statuses[SIDE_RECORD];
	char events[SIDE_RECORD];
};

static const char usage[] =
	"[options] [host]\n"
	"Without host: be the responder. -c and -k must be the same at both ends.\n"
	"  -d, --device NAME   RDMA device (default: the first)\n"
	"  -g, --gid N         GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -p, --port N        TCP port (default: " CHANNEL_DEFAULT_PORT ")\n"
	"  -S, --self          be both ends, as two processes\n"
	"  -c, --case NAME     only this case\n"
	"  -k, --known rxe     accept what rxe of Linux 6.1 is known to give\n"
	"  -j, --json          an object per line\n"
	"  -t, --patience N    seconds until what has not come is taken not to come (default: 20)\n"
	"  -l, --list          names of the cases\n";

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "gid", required_argument, NULL, 'g' },
	{ "port", required_argument, NULL, 'p' },
	{ "self", no_argument, NULL, 'S' },
	{ "case", required_argument, NULL, 'c' },
	{ "known", required_argument, NULL, 'k' },
	{ "json", no_argument, NULL, 'j' },
	{ "patience", required_argument, NULL, 't' },
	{ "list", no_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static void list_cases(void)
{
	unsigned int i;

	for (i = 0; i < error_case_count; i++)
		say("%s", error_cases[i].name);
}

static void parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "d:g:p:Sc:k:jt:lh", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->device = optarg;
			break;
		case 'g':
			o->gid_index = atoi(optarg);
			break;
		case 'p':
			o->port = optarg;
			break;
		case 'S':
			o->self = true;
			break;
		case 'c':
			o->only = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 't':
			o->patience = atoi(optarg);
			break;
		case 'l':
			list_cases();
			exit(0);
		case 'h':
			printf("%s %s", program_invocation_short_name, usage);
			exit(0);
		case 'k':
			if (strcmp(optarg, "rxe"))
				die("--known takes rxe");
			o->known_rxe = true;
			break;
		default:
			fprintf(stderr, "%s %s", program_invocation_short_name, usage);
			exit(1);
		}
	}
	if (optind < argc)
		o->host = argv[optind];
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

/* What is to come out: by the specification, or of an engine with known departures. */
static struct outcome outcome_of(const struct error_case *c, bool rxe)
{
	struct outcome o = c->expected;

	if (rxe) {
		o.requester = c->rxe.requester ? c->rxe.requester : o.requester;
		o.responder = c->rxe.responder ? c->rxe.responder : o.responder;
		o.requester_events = c->rxe.requester_events ? c->rxe.requester_events :
							       o.requester_events;
		o.responder_events = c->rxe.responder_events ? c->rxe.responder_events :
							       o.responder_events;
	}
	o.requester = or_empty(o.requester);
	o.responder = or_empty(o.responder);
	o.requester_events = or_empty(o.requester_events);
	o.responder_events = or_empty(o.responder_events);
	return o;
}

/* How many of the results joined by commas are completions or events, not calls ("what:errno"). */
static unsigned int count_results(const char *list)
{
	unsigned int count = 0;
	size_t length;

	for (; *list; list += length, list += *list == ',') {
		length = strcspn(list, ",");
		count += !memchr(list, ':', length);
	}
	return count;
}

/* Completions that are still to come: the case may have taken some itself. */
static unsigned int missing(const struct side *s)
{
	unsigned int have = count_results(s->statuses);

	return s->expected > have ? s->expected - have : 0;
}

static struct endpoint_settings settings_of(const struct error_case *c, bool requester)
{
	struct endpoint_settings settings = endpoint_defaults;

	if (!requester && c->qp_access)
		settings.access = c->qp_access;
	if (c->no_receive)
		settings.rnr_retries = 1;
	if (c->peer_vanishes) {
		settings.timeout = 14; /* 67 ms */
		settings.retries = 1;
	}
	return settings;
}

/* Everything the responder has to have ready before the requester acts. */
static void prepare(struct side *s, const struct error_case *c)
{
	unsigned int i;

	for (i = 0; i < c->receives; i++)
		side_post_receive(s, s->page, 64, s->all->lkey);
	if (c->prepare)
		c->prepare(s);
	if (c->peer_vanishes) {
		ibv_destroy_qp(s->qp);
		s->qp = NULL;
	}
}

static void run_connected(struct side *s, const struct error_case *c,
			  const struct outcome *expected, unsigned int place)
{
	const struct endpoint_settings settings = settings_of(c, s->requester);
	struct side_offer theirs;

	s->expected = count_results(s->requester ? expected->requester : expected->responder);
	side_init(s, c->mr_access && !s->requester ? c->mr_access : SIDE_ALL_RIGHTS);
	side_connect(s, &settings);
	if (!s->requester)
		prepare(s, c);
	channel_exchange(s->channel, &s->offer, &theirs, sizeof(theirs));
	if (s->requester) {
		s->offer = theirs;
		c->act(s);
		if (s->send_cq)
			side_collect(s, s->send_cq, missing(s));
	}
	channel_barrier(s->channel, place);
	if (!s->requester)
		side_collect(s, s->receive_cq, missing(s));
	side_collect_events(s,
			    count_results(s->requester ? expected->requester_events :
							 expected->responder_events));
	/* A QP may still be asked for an answer by its peer: both go at the same time. */
	channel_barrier(s->channel, place);
	side_free(s);
}

static void run_local(struct side *s, const struct error_case *c, unsigned int place)
{
	s->statuses[0] = s->events[0] = '\0';
	if (s->requester) {
		side_init(s, SIDE_ALL_RIGHTS);
		c->act(s);
		side_collect_events(s, 0);
		side_free(s);
	}
	channel_barrier(s->channel, place);
}

static bool matches(const struct outcome *o, const struct record *requester,
		    const struct record *responder)
{
	return !strcmp(o->requester, requester->statuses) &&
		!strcmp(o->responder, responder->statuses) &&
		!strcmp(o->requester_events, requester->events) &&
		!strcmp(o->responder_events, responder->events);
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static void say_line(const struct options *o, const char *name, const struct outcome *out,
		     const char *verdict)
{
	if (o->json)
		say("{\"case\": \"%s\", \"requester\": \"%s\", \"responder\": \"%s\", \"requester_events\": \"%s\", "
		    "\"responder_events\": \"%s\", \"verdict\": \"%s\"}",
		    name, out->requester, out->responder, out->requester_events,
		    out->responder_events, verdict);
	else
		say("%s %s %s %s %s %s", name, or_dash(out->requester), or_dash(out->responder),
		    or_dash(out->requester_events), or_dash(out->responder_events), verdict);
}

/* The requester's: whether the case came out as it should. */
static bool judge(const struct options *o, const struct error_case *c,
		  const struct record *requester, const struct record *responder)
{
	const struct outcome spec = outcome_of(c, false), known = outcome_of(c, true);
	struct outcome in_guest = known;
	const struct outcome got = { requester->statuses, responder->statuses, requester->events,
				     responder->events };

	if (matches(&spec, requester, responder)) {
		say_line(o, c->name, &got, "ok");
		return true;
	}
	if (c->rxe_in_guest)
		in_guest.requester = c->rxe_in_guest;
	if (o->known_rxe &&
	    (matches(&known, requester, responder) || matches(&in_guest, requester, responder))) {
		say_line(o, c->name, &got, "known");
		fprintf(stderr, "  %s: %s\n", c->name, c->rxe_why);
		return true;
	}
	say_line(o, c->name, &got, "FAIL");
	fprintf(stderr, "  %s: expected %s %s %s %s\n", c->name, or_dash(spec.requester),
		or_dash(spec.responder), or_dash(spec.requester_events),
		or_dash(spec.responder_events));
	return false;
}

static bool run(const struct options *o, struct side *s, unsigned int index)
{
	const struct error_case *c = &error_cases[index];
	const struct outcome expected = outcome_of(c, o->known_rxe);
	struct record mine = { 0 }, theirs;

	if (c->local)
		run_local(s, c, index);
	else
		run_connected(s, c, &expected, index);
	strcpy(mine.statuses, s->statuses);
	strcpy(mine.events, s->events);
	channel_exchange(s->channel, &mine, &theirs, sizeof(mine));
	return s->requester ? judge(o, c, &mine, &theirs) : true;
}

int main(int argc, char **argv)
{
	struct options options = { .port = CHANNEL_DEFAULT_PORT,
				   .gid_index = GID_INDEX_AUTO,
				   .patience = 20 };
	unsigned int i, ran = 0, failed = 0;
	struct channel channel;
	struct device device;
	struct side side = { .device = &device, .channel = &channel };

	parse(&options, argc, argv);
	if (options.self)
		options.host = channel_fork();
	device_open(&device, options.device, options.gid_index);
	channel_open(&channel, options.host, options.port);
	side.requester = !channel.server;
	side.patience = scaled(options.patience);
	for (i = 0; i < error_case_count; i++) {
		if (options.only && strcmp(options.only, error_cases[i].name))
			continue;
		ran++;
		failed += !run(&options, &side, i);
	}
	if (!ran)
		die("no case is called '%s'", options.only);
	device_close(&device);
	channel_close(&channel);
	if (options.self && options.host && channel_join_child())
		die("the responder failed");
	if (side.requester)
		fprintf(stderr, "%u cases, %u failed\n", ran, failed);
	return failed ? 1 : 0;
}
