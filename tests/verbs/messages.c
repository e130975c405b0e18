// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-messages: datagrams (UD) or messages of an unreliable connection (UC)
 * of all sizes, both ways at once; every byte of every message is looked at.
 *
 * Neither service promises that a message arrives. Here each finds a receive, and
 * nothing on the way has a reason to drop it, so one that is missing is a failure.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "channel.h"
#include "endpoint.h"
#include "random.h"
#include "report.h"
#include "timescale.h"

#define GRH	  40
#define BATCH	  16 /* messages of a round, each way */
#define UC_SIZE	  20000
#define QKEY	  0x00005eedu
#define PATIENCE  scaled(60) /* seconds */
#define UNTOUCHED 0xee

struct options {
	const char *device;
	const char *host;
	const char *port;
	enum ibv_qp_type type;
	int gid_index;
	unsigned int rounds;
	bool self;
};

struct messages {
	struct device device;
	struct channel channel;
	enum ibv_qp_type type;
	struct ibv_pd *pd;
	struct ibv_cq *cq; /* of both queues */
	struct ibv_qp *qp;
	struct ibv_ah *ah; /* UD: of the peer */
	struct ibv_mr *mr;
	struct endpoint_address peer;
	uint32_t size;	 /* the longest message */
	uint32_t offset; /* of a message in what was received: the GRH's length, or 0 */
	uint32_t slot;	 /* bytes between one message's memory and the next one's */
	uint8_t *memory; /* BATCH slots to send from, then BATCH to receive into */
};

static const char usage[] =
	"pvhca-test-messages [options] [host]\n"
	"  -d, --device NAME  RDMA device (default: the first)\n"
	"  -g, --gid N        GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -p, --port N       TCP port (default: " CHANNEL_DEFAULT_PORT ")\n"
	"  -S, --self         be both ends, as two processes\n"
	"  -t, --type ud|uc   (default: ud); the same at both ends\n"
	"  -r, --rounds N     (default: 20); the same at both ends\n";

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' }, { "gid", required_argument, NULL, 'g' },
	{ "port", required_argument, NULL, 'p' },   { "self", no_argument, NULL, 'S' },
	{ "type", required_argument, NULL, 't' },   { "rounds", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },	    { 0 },
};

static void parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "d:g:p:St:r:h", long_options, NULL)) != -1) {
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
		case 't':
			o->type = strcmp(optarg, "uc") ? IBV_QPT_UD : IBV_QPT_UC;
			break;
		case 'r':
			o->rounds = atoi(optarg);
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
}

static void must(int error, const char *what)
{
	if (error)
		die_errno(error, "%s", what);
}

static struct ibv_ah_attr address_of_peer(struct messages *m)
{
	return (struct ibv_ah_attr){
		.is_global = 1,
		.grh = { .dgid = m->peer.gid, .sgid_index = m->device.gid_index, .hop_limit = 64 },
		.port_num = RDMA_PORT,
	};
}

static void ud_connect(struct messages *m)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = RDMA_PORT, .qkey = QKEY };
	struct ibv_ah_attr address = address_of_peer(m);

	must(ibv_modify_qp(m->qp, &attr,
			   IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY),
	     "QP to INIT");
	attr.qp_state = IBV_QPS_RTR;
	must(ibv_modify_qp(m->qp, &attr, IBV_QP_STATE), "QP to RTR");
	attr.qp_state = IBV_QPS_RTS;
	must(ibv_modify_qp(m->qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN), "QP to RTS");
	m->ah = ibv_create_ah(m->pd, &address);
	if (!m->ah)
		die_errno(errno, "ibv_create_ah");
}

static void uc_connect(struct messages *m)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = RDMA_PORT };

	must(ibv_modify_qp(m->qp, &attr,
			   IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
	     "QP to INIT");
	attr.qp_state = IBV_QPS_RTR;
	attr.ah_attr = address_of_peer(m);
	attr.path_mtu = m->peer.mtu < m->device.mtu ? m->peer.mtu : m->device.mtu;
	attr.dest_qp_num = m->peer.qpn;
	attr.rq_psn = m->peer.psn;
	must(ibv_modify_qp(m->qp, &attr,
			   IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				   IBV_QP_RQ_PSN),
	     "QP to RTR");
	attr.qp_state = IBV_QPS_RTS;
	attr.sq_psn = endpoint_address(&m->device, m->qp).psn;
	must(ibv_modify_qp(m->qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN), "QP to RTS");
}

static void start(struct messages *m)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = m->type,
		.cap = { .max_send_wr = BATCH,
			 .max_recv_wr = BATCH,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};
	struct endpoint_address mine;

	m->pd = ibv_alloc_pd(m->device.context);
	if (!m->pd)
		die_errno(errno, "ibv_alloc_pd");
	m->cq = ibv_create_cq(m->device.context, 2 * BATCH, NULL, NULL, 0);
	if (!m->cq)
		die_errno(errno, "ibv_create_cq");
	attr.send_cq = attr.recv_cq = m->cq;
	m->qp = endpoint_create(&m->device, m->pd, &attr);
	mine = endpoint_address(&m->device, m->qp);
	channel_exchange(&m->channel, &mine, &m->peer, sizeof(mine));
	m->offset = m->type == IBV_QPT_UD ? GRH : 0;
	m->size = m->type == IBV_QPT_UC ?
		UC_SIZE :
		128u << (m->peer.mtu < m->device.mtu ? m->peer.mtu : m->device.mtu);
	m->slot = GRH + m->size;
	m->memory = calloc(2 * BATCH, m->slot);
	if (!m->memory)
		die("out of memory");
	m->mr = ibv_reg_mr(m->pd, m->memory, 2 * BATCH * m->slot, IBV_ACCESS_LOCAL_WRITE);
	if (!m->mr)
		die_errno(errno, "ibv_reg_mr");
	if (m->type == IBV_QPT_UD)
		ud_connect(m);
	else
		uc_connect(m);
}

static void finish(struct messages *m)
{
	if (m->ah)
		must(ibv_destroy_ah(m->ah), "ibv_destroy_ah");
	must(ibv_destroy_qp(m->qp), "ibv_destroy_qp");
	must(ibv_destroy_cq(m->cq), "ibv_destroy_cq");
	must(ibv_dereg_mr(m->mr), "ibv_dereg_mr");
	must(ibv_dealloc_pd(m->pd), "ibv_dealloc_pd");
	free(m->memory);
}

/* What both ends know of a message: its length and its bytes, from the sender, round and number. */
static uint32_t make_message(struct messages *m, bool from_server, unsigned int round,
			     unsigned int number, uint8_t *bytes)
{
	const uint64_t seed = from_server | (uint64_t)round << 8 | (uint64_t)number << 40;
	struct random random = { seed };
	uint32_t length;

	/* The shortest and the longest, too. */
	length = number == 0 ? 1 : number == 1 ? m->size : 1 + random_below(&random, m->size);
	random_fill(bytes, length, random_derive(seed, 0));
	return length;
}

static void post_receives(struct messages *m)
{
	unsigned int i;

	memset(m->memory + BATCH * m->slot, UNTOUCHED, BATCH * m->slot);
	for (i = 0; i < BATCH; i++) {
		struct ibv_sge sge = {
			.addr = (uintptr_t)m->memory + (BATCH + i) * m->slot,
			.length = m->offset + m->size,
			.lkey = m->mr->lkey,
		};
		struct ibv_recv_wr wr = { .wr_id = BATCH + i, .sg_list = &sge, .num_sge = 1 }, *bad;

		must(ibv_post_recv(m->qp, &wr, &bad), "ibv_post_recv");
	}
}

static void post_sends(struct messages *m, unsigned int round)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		uint8_t *bytes = m->memory + i * m->slot;
		struct ibv_sge sge = {
			.addr = (uintptr_t)bytes,
			.length = make_message(m, m->channel.server, round, i, bytes),
			.lkey = m->mr->lkey,
		};
		struct ibv_send_wr wr = {
			.wr_id = i,
			.sg_list = &sge,
			.num_sge = 1,
			.opcode = IBV_WR_SEND_WITH_IMM,
			.send_flags = IBV_SEND_SIGNALED,
			.imm_data = htonl(i),
		}, *bad;

		if (m->ah) {
			wr.wr.ud.ah = m->ah;
			wr.wr.ud.remote_qpn = m->peer.qpn;
			wr.wr.ud.remote_qkey = QKEY;
		}
		must(ibv_post_send(m->qp, &wr, &bad), "ibv_post_send");
	}
}

/* One that was received: `expected` is room for what it must be. */
static void check(struct messages *m, const struct ibv_wc *wc, unsigned int round,
		  uint8_t *expected)
{
	const uint8_t *bytes = m->memory + wc->wr_id * m->slot;
	const unsigned int number = ntohl(wc->imm_data);
	uint32_t length, i;

	if (!(wc->wc_flags & IBV_WC_WITH_IMM) || number >= BATCH)
		die("round %u: a message with immediate %#x", round, number);
	length = make_message(m, !m->channel.server, round, number, expected);
	if (wc->byte_len != m->offset + length)
		die("round %u, message %u: %u bytes, not %u", round, number, wc->byte_len,
		    m->offset + length);
	if (memcmp(bytes + m->offset, expected, length))
		die("round %u, message %u: wrong bytes", round, number);
	for (i = m->offset + length; i < m->slot; i++) {
		if (bytes[i] != UNTOUCHED)
			die("round %u, message %u: byte %u behind its end was written", round,
			    number, i);
	}
	if (m->ah && (!(wc->wc_flags & IBV_WC_GRH) || wc->src_qp != m->peer.qpn))
		die("round %u, message %u: not from the peer", round, number);
}

static void run_round(struct messages *m, unsigned int round, uint8_t *expected)
{
	const time_t begin = time(NULL);
	unsigned int left = 2 * BATCH;
	struct ibv_wc wc;
	int n;

	post_receives(m);
	channel_barrier(&m->channel, 2 * round);
	post_sends(m, round);
	while (left) {
		n = ibv_poll_cq(m->cq, 1, &wc);
		if (n < 0)
			die_errno(n, "ibv_poll_cq");
		if (!n && time(NULL) - begin > PATIENCE)
			die("round %u: %u completions did not come", round, left);
		if (!n)
			continue;
		if (wc.status)
			die("round %u: %s of %s", round, status_name(wc.status),
			    wc.wr_id < BATCH ? "a send" : "a receive");
		if (wc.wr_id >= BATCH)
			check(m, &wc, round, expected);
		left--;
	}
	channel_barrier(&m->channel, 2 * round + 1);
}

int main(int argc, char **argv)
{
	struct options options = {
		.port = CHANNEL_DEFAULT_PORT,
		.gid_index = GID_INDEX_AUTO,
		.type = IBV_QPT_UD,
		.rounds = 20,
	};
	struct messages m = { 0 };
	uint8_t *expected;
	unsigned int i;

	parse(&options, argc, argv);
	if (options.self)
		options.host = channel_fork();
	m.type = options.type;
	device_open(&m.device, options.device, options.gid_index);
	channel_open(&m.channel, options.host, options.port);
	start(&m);
	expected = malloc(m.slot);
	if (!expected)
		die("out of memory");
	channel_barrier(&m.channel, 1000000);
	for (i = 0; i < options.rounds; i++)
		run_round(&m, i, expected);
	free(expected);
	finish(&m);
	device_close(&m.device);
	channel_close(&m.channel);
	if (options.self && options.host && channel_join_child())
		die("the other end failed");
	say("PASS messages=%u", options.rounds * BATCH);
	return 0;
}
