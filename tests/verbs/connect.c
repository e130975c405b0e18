// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-connect: what travels with a connection of rdma_cm: private data of every length
 * that is allowed, and of one byte more; how many reads each side takes and asks for.
 *
 * The client asks for one connection after the other, as the table below says, and the server,
 * which goes through the same table, accepts or rejects. Both check what reached them. Where
 * the lengths are from: InfiniBand Architecture Specification 1.x vol. 1, 12.6 (messages of
 * communication management) and its annex A11 (the 36 bytes that rdma_cm takes for itself).
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_cma.h>

#include "report.h"
#include "timescale.h"

#define PORT	    "7471"
#define MAX_CONNECT 56
#define MAX_ACCEPT  196
#define MAX_REJECT  148
#define LIMIT_MS    ((int)scaled(20000))

/* Reads that the client takes and asks for; the server grants fewer. */
#define CLIENT_RESPONDER 3
#define CLIENT_INITIATOR 5
#define SERVER_RESPONDER 2
#define SERVER_INITIATOR 1

static const struct step {
	unsigned int asked, answered; /* bytes */
	bool reject;
	bool ask_more;	  /* first with a byte more than is allowed */
	bool answer_more; /* likewise; an accept that fails is a rejection, with nothing */
} steps[] = {
	{ .asked = 0, .answered = 0 },
	{ .asked = 1, .answered = 1 },
	{ .asked = MAX_CONNECT, .answered = MAX_ACCEPT },
	{ .asked = MAX_CONNECT, .answered = 0, .ask_more = true, .answer_more = true },
	{ .asked = 1, .answered = 0, .reject = true },
	{ .asked = 1, .answered = 1, .reject = true },
	{ .asked = 2, .answered = MAX_REJECT, .reject = true, .answer_more = true },
};

#define STEPS (sizeof(steps) / sizeof(*steps))

static struct rdma_event_channel *channel;

static void must(int error, const char *what)
{
	if (error)
		die_errno(errno, "%s", what);
}

static void fill(uint8_t *data, unsigned int length, unsigned int seed)
{
	for (unsigned int i = 0; i < length; i++)
		data[i] = 1 + (seed * 31 + i) % 255; /* never 0 */
}

/* What was sent, and zeros up to the end of the message's field. */
static void check_private(const struct rdma_conn_param *got, unsigned int length, unsigned int seed)
{
	const uint8_t *data = got->private_data;
	uint8_t sent[256];

	fill(sent, length, seed);
	if (got->private_data_len < length || (length && memcmp(data, sent, length)))
		die("private data of %u bytes, of which %u were to come, or others",
		    got->private_data_len, length);
	for (unsigned int i = length; i < got->private_data_len; i++)
		if (data[i])
			die("byte %u after %u of private data is %#x", i, length, data[i]);
}

static void check_reads(const struct rdma_conn_param *got, unsigned int responder,
			unsigned int initiator)
{
	if (got->responder_resources != responder || got->initiator_depth != initiator)
		die("responder_resources %u, initiator_depth %u where %u and %u are due",
		    got->responder_resources, got->initiator_depth, responder, initiator);
}

static struct rdma_cm_event *next_event(enum rdma_cm_event_type type)
{
	struct rdma_cm_event *event;

	must(rdma_get_cm_event(channel, &event), "rdma_get_cm_event");
	if (event->event != type)
		die("%s, status %d, where %s is due", rdma_event_str(event->event), event->status,
		    rdma_event_str(type));
	return event;
}

static void wait_for(enum rdma_cm_event_type type)
{
	must(rdma_ack_cm_event(next_event(type)), "rdma_ack_cm_event");
}

static void create_qp(struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};

	must(rdma_create_qp(id, NULL, &attr), "rdma_create_qp");
}

static void destroy(struct rdma_cm_id *id)
{
	if (id->qp)
		rdma_destroy_qp(id);
	must(rdma_destroy_id(id), "rdma_destroy_id");
}

/* The other end may have gone first. */
static void disconnect(struct rdma_cm_id *id)
{
	if (rdma_disconnect(id) && errno != EINVAL)
		die_errno(errno, "rdma_disconnect");
	wait_for(RDMA_CM_EVENT_DISCONNECTED);
}

static struct addrinfo *resolve(const char *name)
{
	struct addrinfo *found;

	if (getaddrinfo(name, PORT, NULL, &found))
		die("%s is no address", name);
	return found;
}

/* ---------------------------------- client --------------------------------- */

static void ask(struct rdma_cm_id *id, const struct step *step, unsigned int number)
{
	uint8_t data[256];
	struct rdma_conn_param param = {
		.private_data = data,
		.private_data_len = MAX_CONNECT + 1,
		.responder_resources = CLIENT_RESPONDER,
		.initiator_depth = CLIENT_INITIATOR,
		.retry_count = 6,
		.rnr_retry_count = 7,
	};

	fill(data, sizeof(data), number);
	if (step->ask_more && (!rdma_connect(id, &param) || errno != EINVAL))
		die("a byte more than fits in a request: %s", errno_name(errno));
	param.private_data_len = step->asked;
	must(rdma_connect(id, &param), "rdma_connect");
}

static void run_client_step(const char *host, const char *source, unsigned int number)
{
	const struct step *step = &steps[number];
	const bool rejected = step->reject || step->answer_more;
	struct addrinfo *to = resolve(host), *from = source ? resolve(source) : NULL;
	struct rdma_cm_event *event;
	struct rdma_cm_id *id;

	if (from)
		((struct sockaddr_in *)from->ai_addr)->sin_port = 0;
	must(rdma_create_id(channel, &id, NULL, RDMA_PS_TCP), "rdma_create_id");
	must(rdma_resolve_addr(id, from ? from->ai_addr : NULL, to->ai_addr, LIMIT_MS),
	     "rdma_resolve_addr");
	wait_for(RDMA_CM_EVENT_ADDR_RESOLVED);
	must(rdma_resolve_route(id, LIMIT_MS), "rdma_resolve_route");
	wait_for(RDMA_CM_EVENT_ROUTE_RESOLVED);
	create_qp(id);
	ask(id, step, number);
	event = next_event(rejected ? RDMA_CM_EVENT_REJECTED : RDMA_CM_EVENT_ESTABLISHED);
	check_private(&event->param.conn, step->answered, number + 100);
	if (!rejected)
		check_reads(&event->param.conn, SERVER_INITIATOR, SERVER_RESPONDER);
	must(rdma_ack_cm_event(event), "rdma_ack_cm_event");
	if (!rejected)
		disconnect(id);
	destroy(id);
	freeaddrinfo(to);
	if (from)
		freeaddrinfo(from);
}

/* ---------------------------------- server --------------------------------- */

static void answer(struct rdma_cm_id *id, const struct step *step, unsigned int number)
{
	uint8_t data[256];
	struct rdma_conn_param param = {
		.private_data = data,
		.private_data_len = step->answered,
		.responder_resources = SERVER_RESPONDER,
		.initiator_depth = SERVER_INITIATOR,
		.rnr_retry_count = 7,
	};

	fill(data, sizeof(data), number + 100);
	if (step->reject) {
		if (step->answer_more &&
		    (!rdma_reject(id, data, MAX_REJECT + 1) || errno != EINVAL))
			die("a byte more than fits in a rejection: %s", errno_name(errno));
		must(rdma_reject(id, data, step->answered), "rdma_reject");
		return;
	}
	create_qp(id);
	if (step->answer_more) {
		param.private_data_len = MAX_ACCEPT + 1;
		if (!rdma_accept(id, &param) || errno != EINVAL)
			die("a byte more than fits in an answer: %s", errno_name(errno));
		return;
	}
	must(rdma_accept(id, &param), "rdma_accept");
	wait_for(RDMA_CM_EVENT_ESTABLISHED);
	disconnect(id);
}

static void run_server(const char *address)
{
	struct addrinfo *here = resolve(address);
	struct rdma_cm_event *event;
	struct rdma_cm_id *listener, *id;

	must(rdma_create_id(channel, &listener, NULL, RDMA_PS_TCP), "rdma_create_id");
	must(rdma_bind_addr(listener, here->ai_addr), "rdma_bind_addr");
	must(rdma_listen(listener, 1), "rdma_listen");
	for (unsigned int number = 0; number < STEPS; number++) {
		event = next_event(RDMA_CM_EVENT_CONNECT_REQUEST);
		id = event->id;
		check_private(&event->param.conn, steps[number].asked, number);
		/* What one side can ask for is what the other has to take. */
		check_reads(&event->param.conn, CLIENT_INITIATOR, CLIENT_RESPONDER);
		must(rdma_ack_cm_event(event), "rdma_ack_cm_event");
		answer(id, &steps[number], number);
		destroy(id);
	}
	must(rdma_destroy_id(listener), "rdma_destroy_id");
	freeaddrinfo(here);
}

int main(int argc, char **argv)
{
	static const char usage[] =
		"pvhca-test-connect -a ADDRESS                 be the server there\n"
		"pvhca-test-connect [-b ADDRESS] SERVER        be the client, of this address\n";
	const char *listen = NULL, *source = NULL;
	int c;

	while ((c = getopt(argc, argv, "a:b:h")) != -1) {
		if (c == 'a')
			listen = optarg;
		else if (c == 'b')
			source = optarg;
		else
			die("%s", usage);
	}
	if (!listen == (optind == argc))
		die("%s", usage);
	channel = rdma_create_event_channel();
	if (!channel)
		die_errno(errno, "rdma_create_event_channel");
	if (listen)
		run_server(listen);
	for (unsigned int number = 0; !listen && number < STEPS; number++) {
		run_client_step(argv[optind], source, number);
		say("connection %u ok", number);
	}
	rdma_destroy_event_channel(channel);
	return 0;
}
