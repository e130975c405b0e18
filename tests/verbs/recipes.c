// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-recipes: what users of other adapters reported as broken. Each case is short, and
 * holds on any RoCE device.
 *
 * One process with QPs connected to one another. Each case that is named, or each but those
 * that wait for the device's end, is run; the first that fails ends the program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "endpoint.h"
#include "report.h"
#include "timescale.h"

#define ARENA	      65536
#define HALF	      (ARENA / 2)
#define BLOCK	      4096
#define DEPTH	      16
#define STALL_SECONDS ((int)scaled(120))

struct recipes {
	struct device device;
	struct ibv_pd *pd;
	struct ibv_mr *mr; /* the arena */
	uint8_t *arena;
	uint8_t *inbox; /* its upper half */
	unsigned int rounds;
	bool tells_type; /* ibv_wc.sl tells a datagram's header, as hardware does */
};

/* Two QPs of which the active one works. */
struct link {
	struct ibv_cq *send_cq, *receive_cq;
	struct ibv_qp *active, *passive;
};

static void must(int error, const char *what)
{
	if (error)
		die_errno(error, "%s", what);
}

static struct ibv_cq *create_cq(struct recipes *t, struct ibv_comp_channel *channel)
{
	struct ibv_cq *cq = ibv_create_cq(t->device.context, 4 * DEPTH, NULL, channel, 0);

	if (!cq)
		die_errno(errno, "ibv_create_cq");
	return cq;
}

static struct ibv_qp *create_qp(struct recipes *t, struct link *l, enum ibv_qp_type type,
				struct ibv_srq *srq)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = type,
		.send_cq = l->send_cq,
		.recv_cq = l->receive_cq,
		.srq = srq,
		.cap = { .max_send_wr = DEPTH,
			 .max_recv_wr = DEPTH,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	return endpoint_create(&t->device, t->pd, &attr);
}

static struct link link_open(struct recipes *t)
{
	struct link l = { .send_cq = create_cq(t, NULL), .receive_cq = create_cq(t, NULL) };

	l.active = create_qp(t, &l, IBV_QPT_RC, NULL);
	l.passive = create_qp(t, &l, IBV_QPT_RC, NULL);
	endpoint_connect_pair(&t->device, l.active, l.passive);
	return l;
}

static void link_close(struct link *l)
{
	must(ibv_destroy_qp(l->active), "ibv_destroy_qp");
	must(ibv_destroy_qp(l->passive), "ibv_destroy_qp");
	must(ibv_destroy_cq(l->send_cq), "ibv_destroy_cq");
	must(ibv_destroy_cq(l->receive_cq), "ibv_destroy_cq");
}

static struct ibv_wc next_completion(struct ibv_cq *cq)
{
	const time_t start = time(NULL);
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(cq, 1, &wc)))
		if (time(NULL) - start > STALL_SECONDS)
			die("no completion for %d s", STALL_SECONDS);
	if (n < 0)
		die("ibv_poll_cq: %d", n);
	return wc;
}

static struct ibv_wc expect(struct ibv_cq *cq, uint64_t wr_id, enum ibv_wc_status status)
{
	struct ibv_wc wc = next_completion(cq);

	if (wc.wr_id != wr_id || wc.status != status)
		die("%s of %lu where %s of %lu is due", status_name(wc.status),
		    (unsigned long)wc.wr_id, status_name(status), (unsigned long)wr_id);
	return wc;
}

static void expect_none(struct ibv_cq *cq)
{
	struct ibv_wc wc;

	if (ibv_poll_cq(cq, 1, &wc))
		die("%s of %lu where none is due", status_name(wc.status), (unsigned long)wc.wr_id);
}

/* An operation on length bytes at local, which lies in the arena. */
static int post(struct recipes *t, struct ibv_qp *qp, uint64_t wr_id, enum ibv_wr_opcode opcode,
		int flags, void *local, uint32_t length, void *remote, uint32_t rkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)local, .length = length, .lkey = t->mr->lkey };
	struct ibv_send_wr wr = {
		.wr_id = wr_id,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = opcode,
		.send_flags = flags,
	}, *bad;

	if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		wr.wr.atomic.remote_addr = (uintptr_t)remote;
		wr.wr.atomic.rkey = rkey;
	} else {
		wr.wr.rdma.remote_addr = (uintptr_t)remote;
		wr.wr.rdma.rkey = rkey;
	}
	return ibv_post_send(qp, &wr, &bad);
}

static void post_receive(struct recipes *t, struct ibv_qp *qp, struct ibv_srq *srq, uint64_t wr_id,
			 void *memory, uint32_t length)
{
	struct ibv_sge sge = { .addr = (uintptr_t)memory, .length = length, .lkey = t->mr->lkey };
	struct ibv_recv_wr wr = { .wr_id = wr_id, .sg_list = &sge, .num_sge = 1 }, *bad;

	must(srq ? ibv_post_srq_recv(srq, &wr, &bad) : ibv_post_recv(qp, &wr, &bad),
	     "posting a receive");
}

static void set_state(struct ibv_qp *qp, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };

	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE), "ibv_modify_qp");
}

static void fill(uint8_t *memory, size_t length, unsigned int seed)
{
	while (length--)
		*memory++ = seed++ * 37;
}

static void check_filled(const uint8_t *memory, size_t length, unsigned int seed, const char *what)
{
	for (size_t i = 0; i < length; i++)
		if (memory[i] != (uint8_t)((seed + i) * 37))
			die("%s: byte %zu is %#x", what, i, memory[i]);
}

/* --------------------------------- requests -------------------------------- */

#define GOOD 4

/*
 * A request that cannot be carried out (its address is odd) stands behind good ones, whose
 * completions may not suffer. An engine refuses it where it is posted, or completes it with
 * an error in its turn, and flushes what is behind it.
 */
static void refuse_one(struct recipes *t, unsigned int round, int flags)
{
	struct link l = link_open(t);
	enum ibv_wc_status status;
	struct ibv_wc wc;
	int refused;

	fill(t->arena, HALF, round);
	memset(t->inbox, 0, HALF);
	for (unsigned int i = 0; i < GOOD; i++)
		must(post(t, l.active, i, IBV_WR_RDMA_WRITE, flags, t->arena + i * BLOCK, BLOCK,
			  t->inbox + i * BLOCK, t->mr->rkey),
		     "ibv_post_send");
	refused = post(t, l.active, GOOD, IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_SEND_SIGNALED, t->arena,
		       8, t->inbox + 1, t->mr->rkey);
	must(post(t, l.active, GOOD + 1, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED,
		  t->arena + GOOD * BLOCK, 8, t->inbox + GOOD * BLOCK, t->mr->rkey),
	     "ibv_post_send");
	for (unsigned int i = 0; flags && i < GOOD; i++)
		expect(l.send_cq, i, IBV_WC_SUCCESS);
	status = IBV_WC_SUCCESS;
	if (!refused) {
		wc = next_completion(l.send_cq);
		if (wc.wr_id != GOOD || !wc.status || wc.status == IBV_WC_WR_FLUSH_ERR)
			die("%s of %lu", status_name(wc.status), (unsigned long)wc.wr_id);
		status = IBV_WC_WR_FLUSH_ERR;
	}
	expect(l.send_cq, GOOD + 1, status);
	expect_none(l.send_cq);
	check_filled(t->inbox, GOOD * BLOCK, round, "what was written");
	link_close(&l);
}

static void good_requests_complete_before_a_refused_one(struct recipes *t)
{
	for (unsigned int round = 0; round < t->rounds; round++)
		refuse_one(t, round, round % 2 ? 0 : IBV_SEND_SIGNALED);
}

/* The fence holds the message back until its bytes have been read. */
static void fenced_send_has_what_was_read_before_it(struct recipes *t)
{
	struct link l = link_open(t);
	uint8_t *remote = t->arena, *middle = t->arena + 2 * BLOCK;

	for (unsigned int round = 0; round < t->rounds; round++) {
		fill(remote, 2 * BLOCK, round);
		memset(middle, 0, 2 * BLOCK);
		memset(t->inbox, 0, 2 * BLOCK);
		post_receive(t, l.passive, NULL, round, t->inbox, 2 * BLOCK);
		must(post(t, l.active, 2 * round, IBV_WR_RDMA_READ, 0, middle, 2 * BLOCK, remote,
			  t->mr->rkey),
		     "ibv_post_send");
		must(post(t, l.active, 2 * round + 1, IBV_WR_SEND,
			  IBV_SEND_SIGNALED | IBV_SEND_FENCE, middle, 2 * BLOCK, NULL, 0),
		     "ibv_post_send");
		expect(l.send_cq, 2 * round + 1, IBV_WC_SUCCESS);
		expect(l.receive_cq, round, IBV_WC_SUCCESS);
		check_filled(t->inbox, 2 * BLOCK, round, "what was read and sent");
	}
	link_close(&l);
}

#define OUTSTANDING 8

/* Nothing may be changed before the send queue has drained, empty as it is. */
static void wait_drained(struct ibv_qp *qp)
{
	const time_t start = time(NULL);
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	do {
		must(ibv_query_qp(qp, &attr, IBV_QP_STATE, &init), "ibv_query_qp");
		if (time(NULL) - start > STALL_SECONDS)
			die("not drained in %d s", STALL_SECONDS);
	} while (attr.sq_draining);
}

/* The responder's limit of reads goes up and down while it is read from. */
static void reads_go_on_while_their_limit_changes(struct recipes *t)
{
	const unsigned int total = 40 * t->rounds;
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_SQD };
	struct link l = link_open(t);
	unsigned int posted = 0, done = 0;
	int error;

	fill(t->arena, BLOCK, 1);
	while (done < total) {
		for (; posted < total && posted - done < OUTSTANDING; posted++)
			must(post(t, l.active, posted, IBV_WR_RDMA_READ, IBV_SEND_SIGNALED,
				  t->inbox + posted % OUTSTANDING * BLOCK, BLOCK, t->arena,
				  t->mr->rkey),
			     "ibv_post_send");
		if (done % 40 == 20) {
			set_state(l.passive, IBV_QPS_SQD);
			wait_drained(l.passive);
			attr.max_dest_rd_atomic = done % 80 < 40 ? 4 : 8;
			error = ibv_modify_qp(l.passive, &attr,
					      IBV_QP_STATE | IBV_QP_MAX_DEST_RD_ATOMIC);
			must(error, "changing max_dest_rd_atomic in SQD");
			set_state(l.passive, IBV_QPS_RTS);
		}
		expect(l.send_cq, done, IBV_WC_SUCCESS);
		check_filled(t->inbox + done % OUTSTANDING * BLOCK, BLOCK, 1, "what was read");
		memset(t->inbox + done % OUTSTANDING * BLOCK, 0, BLOCK);
		done++;
	}
	link_close(&l);
}

/* Every status and every wr_id, each time, however often the queues begin anew. */
static void errors_and_resets_leave_no_trace(struct recipes *t)
{
	struct link l = link_open(t);
	uint8_t *to = t->inbox;

	for (uint64_t round = 0, id = 0; round < 2 * t->rounds; round++, id += 10) {
		post_receive(t, l.active, NULL, id + 4, to, 8);
		post_receive(t, l.active, NULL, id + 5, to, 8);
		must(post(t, l.active, id, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, t->arena, 64, to,
			  t->mr->rkey),
		     "ibv_post_send");
		must(post(t, l.active, id + 1, IBV_WR_RDMA_WRITE, 0, t->arena, 64, to,
			  ~t->mr->rkey),
		     "ibv_post_send");
		must(post(t, l.active, id + 2, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, t->arena, 64,
			  to, t->mr->rkey),
		     "ibv_post_send");
		must(post(t, l.active, id + 3, IBV_WR_RDMA_WRITE, 0, t->arena, 64, to, t->mr->rkey),
		     "ibv_post_send");
		expect(l.send_cq, id, IBV_WC_SUCCESS);
		expect(l.send_cq, id + 1, IBV_WC_REM_ACCESS_ERR);
		expect(l.send_cq, id + 2, IBV_WC_WR_FLUSH_ERR);
		expect(l.send_cq, id + 3, IBV_WC_WR_FLUSH_ERR);
		expect(l.receive_cq, id + 4, IBV_WC_WR_FLUSH_ERR);
		expect(l.receive_cq, id + 5, IBV_WC_WR_FLUSH_ERR);
		set_state(l.active, IBV_QPS_RESET);
		set_state(l.passive, IBV_QPS_RESET);
		expect_none(l.send_cq);
		expect_none(l.receive_cq);
		endpoint_connect_pair(&t->device, l.active, l.passive);
	}
	link_close(&l);
}

/* --------------------------------- addresses ------------------------------- */

#define GRH  40
#define QKEY 0x11223344u

static void ud_to_rts(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = RDMA_PORT, .qkey = QKEY };

	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY),
	     "UD to INIT");
	attr.qp_state = IBV_QPS_RTR;
	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE), "UD to RTR");
	attr.qp_state = IBV_QPS_RTS;
	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN), "UD to RTS");
}

static struct ibv_ah *own_address(struct recipes *t, int gid_index)
{
	struct ibv_ah_attr attr = {
		.is_global = 1,
		.grh = { .dgid = t->device.gid, .sgid_index = gid_index, .hop_limit = 64 },
		.port_num = RDMA_PORT,
	};

	return ibv_create_ah(t->pd, &attr);
}

static void send_datagram(struct recipes *t, struct ibv_qp *qp, struct ibv_ah *ah, uint32_t to,
			  void *memory)
{
	struct ibv_sge sge = { .addr = (uintptr_t)memory, .length = 64, .lkey = t->mr->lkey };
	struct ibv_send_wr wr = {
		.wr_id = 1,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.ud = { .ah = ah, .remote_qpn = to, .remote_qkey = QKEY },
	}, *bad;

	must(ibv_post_send(qp, &wr, &bad), "ibv_post_send");
}

/* The type of a RoCE v2 packet: 8, and 1 for IPv6 or 2 for IPv4 (IB vol 1, A17.4.5.1). */
static void check_type(const struct recipes *t, const struct ibv_wc *wc)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	int type = memcmp(t->device.gid.raw, v4, sizeof(v4)) ? 8 | 1 : 8 | 2;

	if (t->tells_type && wc->sl != type)
		die("a datagram's completion has sl %u, not %u", wc->sl, type);
}

/* The answer needs nothing but the completion and the 40 bytes before the question. */
static void reply(struct recipes *t, struct link *l, struct ibv_srq *srq, unsigned int round)
{
	uint8_t *question = t->inbox, *answer = t->inbox + BLOCK;
	struct ibv_ah *there = own_address(t, t->device.gid_index), *back;
	struct ibv_wc wc;

	if (!there)
		die_errno(errno, "ibv_create_ah");
	fill(t->arena, 64, round);
	memset(t->inbox, 0xee, 2 * BLOCK);
	post_receive(t, l->passive, srq, 7, question, GRH + 64);
	post_receive(t, l->active, NULL, 8, answer, GRH + 64);
	send_datagram(t, l->active, there, l->passive->qp_num, t->arena);
	expect(l->send_cq, 1, IBV_WC_SUCCESS);
	wc = expect(l->receive_cq, 7, IBV_WC_SUCCESS);
	check_type(t, &wc);
	back = ibv_create_ah_from_wc(t->pd, &wc, (struct ibv_grh *)question, RDMA_PORT);
	if (!back)
		die_errno(errno, "ibv_create_ah_from_wc");
	send_datagram(t, l->passive, back, wc.src_qp, question + GRH);
	expect(l->send_cq, 1, IBV_WC_SUCCESS);
	wc = expect(l->receive_cq, 8, IBV_WC_SUCCESS);
	check_type(t, &wc);
	if (wc.src_qp != l->passive->qp_num)
		die("the answer is not from whom it should be");
	check_filled(answer + GRH, 64, round, "the answer");
	must(ibv_destroy_ah(there), "ibv_destroy_ah");
	must(ibv_destroy_ah(back), "ibv_destroy_ah");
}

static void datagram_is_answered_by_its_completion(struct recipes *t)
{
	struct ibv_srq_init_attr attr = { .attr = { .max_wr = DEPTH, .max_sge = 1 } };
	struct ibv_srq *srq = ibv_create_srq(t->pd, &attr);

	if (!srq)
		die_errno(errno, "ibv_create_srq");
	for (int shared = 0; shared < 2; shared++) {
		struct link l = { .send_cq = create_cq(t, NULL), .receive_cq = create_cq(t, NULL) };

		l.active = create_qp(t, &l, IBV_QPT_UD, NULL);
		l.passive = create_qp(t, &l, IBV_QPT_UD, shared ? srq : NULL);
		ud_to_rts(l.active);
		ud_to_rts(l.passive);
		for (unsigned int round = 0; round < 5; round++)
			reply(t, &l, shared ? srq : NULL, round);
		link_close(&l);
	}
	must(ibv_destroy_srq(srq), "ibv_destroy_srq");
}

/* Whether the table has the entry. It may be there a moment later only, so callers ask again. */
static bool gid_is_listed(struct recipes *t, unsigned int index)
{
	struct ibv_gid_entry entry[256];
	ssize_t n = ibv_query_gid_table(t->device.context, entry, 256, 0);

	if (n < 0)
		die("ibv_query_gid_table: %zd", n);
	for (ssize_t i = 0; i < n; i++)
		if (entry[i].gid_index == index && entry[i].port_num == RDMA_PORT)
			return true;
	return false;
}

/*
 * An entry of the table is found by its index, and makes an address; a hole does neither. The
 * kernel's core says ENODATA of one, before it asks a driver, and EINVAL behind the table's end.
 */
static void holes_of_the_gid_table_are_holes(struct recipes *t)
{
	struct ibv_port_attr port;
	unsigned int listed = 0;
	struct ibv_gid_entry entry;
	struct ibv_ah *ah;
	bool before, after;
	int error;

	must(ibv_query_port(t->device.context, RDMA_PORT, &port), "ibv_query_port");
	for (int i = 0; i < port.gid_tbl_len; i++) {
		before = gid_is_listed(t, i);
		error = ibv_query_gid_ex(t->device.context, RDMA_PORT, i, &entry, 0);
		errno = 0;
		ah = before || error ? own_address(t, i) : NULL;
		after = gid_is_listed(t, i);
		listed += before;
		if (before != after) /* it came or went just now */
			error = 0;
		else if (before && error)
			die_errno(error, "GID %d is listed", i);
		else if (!before && !error)
			die("GID %d is not listed, and can be queried", i);
		else if (!before && (ah || (errno != EINVAL && errno != ENODATA)))
			die("an address with GID %d, which is none: %s", i,
			    ah ? "made" : errno_name(errno));
		if (ah)
			must(ibv_destroy_ah(ah), "ibv_destroy_ah");
	}
	if (!listed)
		die("the table is empty");
	if (!ibv_query_gid_ex(t->device.context, RDMA_PORT, port.gid_tbl_len, &entry, 0))
		die("there is a GID behind the table's end");
}

/* ------------------------------ the device's end --------------------------- */

static void *wait_for_event(void *arg)
{
	struct ibv_comp_channel *channel = arg;
	struct ibv_cq *cq;
	void *context;

	if (!ibv_get_cq_event(channel, &cq, &context))
		die("there was an event");
	say("ibv_get_cq_event: %s", errno_name(errno));
	return NULL;
}

/* A thread sleeps for an event that cannot come any more; the application can end all the same. */
static void who_waits_for_an_event_learns_of_the_devices_end(struct recipes *t)
{
	struct ibv_comp_channel *channel = ibv_create_comp_channel(t->device.context);
	struct ibv_async_event event;
	pthread_t waiter;
	struct ibv_cq *cq;

	if (!channel)
		die_errno(errno, "ibv_create_comp_channel");
	cq = create_cq(t, channel);
	must(ibv_req_notify_cq(cq, 0), "ibv_req_notify_cq");
	if (pthread_create(&waiter, NULL, wait_for_event, channel))
		die("pthread_create");
	say("ready");
	do {
		if (ibv_get_async_event(t->device.context, &event))
			die_errno(errno, "ibv_get_async_event");
		ibv_ack_async_event(&event);
	} while (event.event_type != IBV_EVENT_DEVICE_FATAL);
	pthread_join(waiter, NULL);
	ibv_destroy_cq(cq);
	ibv_destroy_comp_channel(channel);
}

/* ----------------------------------- main ---------------------------------- */

static const struct {
	const char *name;
	void (*run)(struct recipes *t);
	bool only_named;
} cases[] = {
	{ "good_requests_complete_before_a_refused_one",
	  good_requests_complete_before_a_refused_one, false },
	{ "fenced_send_has_what_was_read_before_it", fenced_send_has_what_was_read_before_it,
	  false },
	{ "reads_go_on_while_their_limit_changes", reads_go_on_while_their_limit_changes, false },
	{ "errors_and_resets_leave_no_trace", errors_and_resets_leave_no_trace, false },
	{ "datagram_is_answered_by_its_completion", datagram_is_answered_by_its_completion, false },
	{ "holes_of_the_gid_table_are_holes", holes_of_the_gid_table_are_holes, false },
	{ "who_waits_for_an_event_learns_of_the_devices_end",
	  who_waits_for_an_event_learns_of_the_devices_end, true },
};

static const char usage[] =
	"pvhca-test-recipes [options] [case...]\n"
	"  -d NAME  RDMA device (default: the first)\n"
	"  -g N     GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -n N     rounds (default: 20)\n"
	"  -s       ibv_wc.sl tells a datagram's header (rxe does not)\n"
	"  -x CASE  not this one; more than once\n";

static bool chosen(size_t i, char **names, int count, char **without, int excluded)
{
	while (excluded--)
		if (!strcmp(without[excluded], cases[i].name))
			return false;
	if (!count)
		return !cases[i].only_named;
	while (count--)
		if (!strcmp(names[count], cases[i].name))
			return true;
	return false;
}

static void set_up(struct recipes *t, const char *device, int gid)
{
	device_open(&t->device, device, gid);
	t->pd = ibv_alloc_pd(t->device.context);
	if (!t->pd)
		die_errno(errno, "ibv_alloc_pd");
	if (posix_memalign((void **)&t->arena, BLOCK, ARENA))
		die("no memory");
	memset(t->arena, 0, ARENA);
	t->inbox = t->arena + HALF;
	t->mr = ibv_reg_mr(t->pd, t->arena, ARENA,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC);
	if (!t->mr)
		die_errno(errno, "ibv_reg_mr");
}

int main(int argc, char **argv)
{
	struct recipes t = { .rounds = 20 };
	const char *device = NULL;
	int gid = GID_INDEX_AUTO;
	char *without[8];
	int excluded = 0;
	int c;

	while ((c = getopt(argc, argv, "d:g:n:sx:h")) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'g':
			gid = atoi(optarg);
			break;
		case 'n':
			t.rounds = atoi(optarg);
			break;
		case 's':
			t.tells_type = true;
			break;
		case 'x':
			if (excluded < 8)
				without[excluded++] = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 1;
		}
	}
	set_up(&t, device, gid);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!chosen(i, argv + optind, argc - optind, without, excluded))
			continue;
		cases[i].run(&t);
		say("%s ok", cases[i].name);
	}
	/* After the device's end these give errors, and free all the same. */
	ibv_dereg_mr(t.mr);
	ibv_dealloc_pd(t.pd);
	device_close(&t.device);
	free(t.arena);
	return 0;
}
