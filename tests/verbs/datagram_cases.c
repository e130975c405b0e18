// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cases of pvhca-test-datagrams: what is not reliable, UD and UC, all within
 * one process. Where the expectations are from: InfiniBand Architecture
 * Specification 1.x vol. 1, 9.8.2 and 9.8.3 (unreliable connection and datagram),
 * 10.2.4 (Q_Keys), 11.4.1 (what may be posted); ibv_post_send(3), ibv_create_ah(3),
 * ibv_modify_qp(3).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "errors.h"
#include "report.h"

#define MESSAGE	  64
#define GRH	  40
#define QKEY	  0x11223344u
#define IMMEDIATE 0xcafe1234u

/* Two QPs of the same kind; UD ones have the Q_Keys QKEY (to) and QKEY + 1 (from). */
struct couple {
	struct ibv_qp *from;
	struct ibv_qp *to;
	struct ibv_ah *ah; /* this device's own address */
};

static struct ibv_qp *make(struct side *s, enum ibv_qp_type type)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = type,
		.send_cq = s->send_cq,
		.recv_cq = s->receive_cq,
		.cap = { .max_send_wr = SIDE_QUEUE,
			 .max_recv_wr = SIDE_QUEUE,
			 .max_send_sge = 1,
			 .max_recv_sge = 1,
			 .max_inline_data = SIDE_INLINE },
	};
	struct ibv_qp *qp = ibv_create_qp(s->pd, &attr);

	if (!qp)
		side_record_call(s, "create_qp", errno);
	return qp;
}

static void must(int error, const char *what)
{
	if (error)
		die_errno(error, "%s", what);
}

static void ud_to_rts(struct ibv_qp *qp, uint32_t qkey)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = RDMA_PORT, .qkey = qkey };

	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY),
	     "UD to INIT");
	attr.qp_state = IBV_QPS_RTR;
	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE), "UD to RTR");
	attr.qp_state = IBV_QPS_RTS;
	attr.sq_psn = 1;
	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN), "UD to RTS");
}

static struct ibv_ah_attr own_address(struct side *s)
{
	return (struct ibv_ah_attr){
		.is_global = 1,
		.grh = { .dgid = s->device->gid,
			 .sgid_index = s->device->gid_index,
			 .hop_limit = 64 },
		.port_num = RDMA_PORT,
	};
}

static void uc_connect(struct side *s, struct ibv_qp *qp, struct ibv_qp *peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = RDMA_PORT,
		.qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
	};

	must(ibv_modify_qp(qp, &attr,
			   IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
	     "UC to INIT");
	attr.qp_state = IBV_QPS_RTR;
	attr.ah_attr = own_address(s);
	attr.path_mtu = s->device->mtu;
	attr.dest_qp_num = peer->qp_num;
	must(ibv_modify_qp(qp, &attr,
			   IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				   IBV_QP_RQ_PSN),
	     "UC to RTR");
	attr.qp_state = IBV_QPS_RTS;
	must(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN), "UC to RTS");
}

static void couple_free(struct couple *c)
{
	if (c->ah)
		must(ibv_destroy_ah(c->ah), "ibv_destroy_ah");
	if (c->from)
		must(ibv_destroy_qp(c->from), "ibv_destroy_qp");
	if (c->to)
		must(ibv_destroy_qp(c->to), "ibv_destroy_qp");
}

static bool couple_make(struct side *s, struct couple *c, enum ibv_qp_type type)
{
	struct ibv_ah_attr address = own_address(s);

	*c = (struct couple){ 0 };
	c->from = make(s, type);
	c->to = c->from ? make(s, type) : NULL;
	if (c->to && type == IBV_QPT_UD) {
		c->ah = ibv_create_ah(s->pd, &address);
		if (!c->ah)
			side_record_call(s, "create_ah", errno);
	}
	if (!c->to || (type == IBV_QPT_UD && !c->ah)) {
		couple_free(c);
		return false;
	}
	if (type == IBV_QPT_UD) {
		ud_to_rts(c->from, QKEY + 1);
		ud_to_rts(c->to, QKEY);
	} else {
		uc_connect(s, c->from, c->to);
		uc_connect(s, c->to, c->from);
	}
	return true;
}

/* Into the last page, which nothing is sent from. */
static uint8_t *inbox(struct side *s)
{
	return s->page + SIDE_PAGE;
}

static void post_receive(struct side *s, struct couple *c, uint32_t length)
{
	struct ibv_qp *mine = s->qp;

	s->qp = c->to;
	side_post_receive(s, inbox(s), length, s->all->lkey);
	s->qp = mine;
}

/* A message from the middle page, that begins with `number`. */
static int post(struct side *s, struct couple *c, enum ibv_wr_opcode opcode, uint32_t length,
		uint8_t number, uint32_t qkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page, .length = length, .lkey = s->all->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = length ? 1 : 0,
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.imm_data = htonl(IMMEDIATE),
	}, *bad;

	if (c->ah) {
		wr.wr.ud.ah = c->ah;
		wr.wr.ud.remote_qpn = c->to->qp_num;
		wr.wr.ud.remote_qkey = qkey;
	} else {
		wr.wr.rdma.remote_addr = (uintptr_t)inbox(s);
		wr.wr.rdma.rkey = s->all->rkey;
	}
	memset(s->page, number, length < SIDE_PAGE ? length : SIDE_PAGE);
	return ibv_post_send(c->from, &wr, &bad);
}

/* Send, and record how that ends. */
static void send_message(struct side *s, struct couple *c, enum ibv_wr_opcode opcode,
			 uint8_t number, uint32_t qkey)
{
	int error = post(s, c, opcode, MESSAGE, number, qkey);

	if (error)
		side_record_call(s, "post_send", error);
	else
		side_collect(s, s->send_cq, 1);
}

static bool all_bytes_are(const uint8_t *bytes, size_t count, uint8_t value)
{
	while (count && bytes[count - 1] == value)
		count--;
	return !count;
}

/* The next message is that number; one that was dropped before is not seen. */
static void receive(struct side *s, struct couple *c, uint8_t number)
{
	const unsigned int offset = c->ah ? GRH : 0;
	struct ibv_wc wc;

	if (!side_wait(s, s->receive_cq, &wc))
		return;
	side_record(s, status_name(wc.status));
	if (!wc.status)
		side_record_check(s, "payload",
				  wc.byte_len == offset + MESSAGE &&
					  all_bytes_are(inbox(s) + offset, MESSAGE, number));
}

/* ----------------------------------- UD ------------------------------------ */

static void ud_send(struct side *s)
{
	struct couple c;
	struct ibv_wc wc;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	memset(inbox(s), 0xee, SIDE_PAGE);
	post_receive(s, &c, GRH + 2 * MESSAGE);
	send_message(s, &c, IBV_WR_SEND_WITH_IMM, 1, QKEY);
	if (side_wait(s, s->receive_cq, &wc)) {
		side_record(s, status_name(wc.status));
		side_record_check(s, "length", wc.byte_len == GRH + MESSAGE);
		side_record_check(s, "grh", wc.wc_flags & IBV_WC_GRH);
		/* Of a RoCE v2 packet over IPv4: its header, in the last 20 bytes, with both addresses at its end. */
		side_record_check(s, "addresses",
				  !memcmp(inbox(s) + GRH - 8, s->device->gid.raw + 12, 4) &&
					  !memcmp(inbox(s) + GRH - 4, s->device->gid.raw + 12, 4));
		side_record_check(s, "source", wc.src_qp == c.from->qp_num);
		side_record_check(s, "immediate",
				  wc.wc_flags & IBV_WC_WITH_IMM && ntohl(wc.imm_data) == IMMEDIATE);
		side_record_check(s, "payload", all_bytes_are(inbox(s) + GRH, MESSAGE, 1));
		side_record_check(s, "rest",
				  all_bytes_are(inbox(s) + GRH + MESSAGE, MESSAGE, 0xee));
	}
	couple_free(&c);
}

static void ud_empty_send(struct side *s)
{
	struct couple c;
	struct ibv_wc wc;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	post_receive(s, &c, GRH);
	side_record_call(s, "post_send", post(s, &c, IBV_WR_SEND, 0, 0, QKEY));
	side_collect(s, s->send_cq, 1);
	if (side_wait(s, s->receive_cq, &wc))
		side_record_check(s, "length", !wc.status && wc.byte_len == GRH);
	couple_free(&c);
}

static void ud_wrong_qkey(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	post_receive(s, &c, GRH + MESSAGE);
	send_message(s, &c, IBV_WR_SEND, 1, QKEY ^ 1);
	send_message(s, &c, IBV_WR_SEND, 2, QKEY);
	receive(s, &c, 2);
	side_collect(s, s->receive_cq, 0);
	couple_free(&c);
}

/* With the highest bit set the sender's own Q_Key is taken: first the wrong one, then the right one. */
static void ud_controlled_qkey(struct side *s)
{
	struct ibv_qp_attr attr = { .qkey = QKEY };
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	post_receive(s, &c, GRH + MESSAGE);
	send_message(s, &c, IBV_WR_SEND, 1, 0x80000000u | QKEY);
	side_record_call(s, "modify_qp", ibv_modify_qp(c.from, &attr, IBV_QP_QKEY));
	send_message(s, &c, IBV_WR_SEND, 2, 0x80000000u);
	receive(s, &c, 2);
	couple_free(&c);
}

static void ud_no_receive(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	send_message(s, &c, IBV_WR_SEND, 1, QKEY);
	post_receive(s, &c, GRH + MESSAGE);
	send_message(s, &c, IBV_WR_SEND, 2, QKEY);
	receive(s, &c, 2);
	couple_free(&c);
}

static void ud_too_long_for_receive(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	post_receive(s, &c, GRH + MESSAGE - 1);
	send_message(s, &c, IBV_WR_SEND, 1, QKEY);
	receive(s, &c, 1);
	couple_free(&c);
}

/* It may be refused at once or fail later; it may not arrive. */
static void ud_too_long_for_mtu(struct side *s)
{
	const uint32_t mtu = 128u << s->device->mtu;
	struct couple c;
	struct ibv_wc wc;
	bool refused;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	post_receive(s, &c, GRH + MESSAGE);
	refused = post(s, &c, IBV_WR_SEND, mtu + 1, 1, QKEY);
	if (!refused)
		refused = side_wait(s, s->send_cq, &wc) && wc.status == IBV_WC_LOC_LEN_ERR;
	side_record_check(s, "refused", refused);
	side_collect(s, s->receive_cq, 0);
	couple_free(&c);
}

static void ud_write(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UD))
		return;
	side_record_call(s, "post_send", post(s, &c, IBV_WR_RDMA_WRITE, MESSAGE, 1, QKEY));
	couple_free(&c);
}

static void ud_without_qkey(struct side *s)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = RDMA_PORT };
	struct ibv_qp *qp = make(s, IBV_QPT_UD);

	if (!qp)
		return;
	side_record_call(s, "init",
			 ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT));
	must(ibv_destroy_qp(qp), "ibv_destroy_qp");
}

static void try_address(struct side *s, struct ibv_ah_attr attr)
{
	struct ibv_ah *ah = ibv_create_ah(s->pd, &attr);

	side_record_check(s, "refused", !ah);
	if (ah)
		ibv_destroy_ah(ah);
}

static void wrong_addresses(struct side *s)
{
	struct ibv_ah_attr attr = own_address(s);

	attr.is_global = 0;
	try_address(s, attr);
	attr = own_address(s);
	attr.port_num = 2;
	try_address(s, attr);
	attr = own_address(s);
	attr.grh.sgid_index = 255;
	try_address(s, attr);
}

static void free_pd_of_address(struct side *s)
{
	struct ibv_pd *pd = ibv_alloc_pd(s->device->context);
	struct ibv_ah_attr attr = own_address(s);
	struct ibv_ah *ah = ibv_create_ah(pd, &attr);

	if (!ah) {
		side_record_call(s, "create_ah", errno);
		return;
	}
	side_record_call(s, "dealloc_pd", ibv_dealloc_pd(pd));
	side_record_call(s, "destroy_ah", ibv_destroy_ah(ah));
	side_record_call(s, "dealloc_pd", ibv_dealloc_pd(pd));
}

/* ----------------------------------- UC ------------------------------------ */

static void uc_send(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UC))
		return;
	post_receive(s, &c, SIDE_PAGE);
	send_message(s, &c, IBV_WR_SEND, 1, 0);
	receive(s, &c, 1);
	couple_free(&c);
}

static void uc_no_receive(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UC))
		return;
	send_message(s, &c, IBV_WR_SEND, 1, 0);
	post_receive(s, &c, MESSAGE);
	send_message(s, &c, IBV_WR_SEND, 2, 0);
	receive(s, &c, 2);
	couple_free(&c);
}

static void uc_write(struct side *s)
{
	struct couple c;
	struct ibv_wc wc;

	if (!couple_make(s, &c, IBV_QPT_UC))
		return;
	post_receive(s, &c, 0);
	send_message(s, &c, IBV_WR_RDMA_WRITE_WITH_IMM, 3, 0);
	if (side_wait(s, s->receive_cq, &wc)) {
		side_record(s, status_name(wc.status));
		side_record_check(s, "immediate",
				  wc.wc_flags & IBV_WC_WITH_IMM && ntohl(wc.imm_data) == IMMEDIATE);
		side_record_check(s, "payload", all_bytes_are(inbox(s), MESSAGE, 3));
	}
	couple_free(&c);
}

/* The writer is not told. */
static void uc_write_wrong_key(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page,
			       .length = MESSAGE,
			       .lkey = s->all->lkey };
	struct ibv_qp *mine = s->qp;
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UC))
		return;
	memset(s->page, 1, MESSAGE);
	s->qp = c.from;
	side_post(s, IBV_WR_RDMA_WRITE, IBV_SEND_SIGNALED, &sge, 1, (uintptr_t)inbox(s),
		  s->all->rkey ^ 0x5a);
	s->qp = mine;
	side_collect(s, s->send_cq, 1);
	side_record_check(s, "untouched", all_bytes_are(inbox(s), MESSAGE, 0));
	couple_free(&c);
}

static void uc_read(struct side *s)
{
	struct couple c;

	if (!couple_make(s, &c, IBV_QPT_UC))
		return;
	side_record_call(s, "post_send", post(s, &c, IBV_WR_RDMA_READ, MESSAGE, 1, 0));
	couple_free(&c);
}

const struct error_case error_cases[] = {
	{ .name = "ud_message_arrives_with_all_that_belongs_to_it",
	  .local = true,
	  .act = ud_send,
	  .expected.requester =
		  "SUCCESS,SUCCESS,length:ok,grh:ok,addresses:ok,source:ok,immediate:ok,payload:ok,rest:ok" },
	{ .name = "ud_message_of_nothing_arrives",
	  .local = true,
	  .act = ud_empty_send,
	  .expected.requester = "post_send:0,SUCCESS,length:ok" },
	{ .name = "ud_message_with_wrong_qkey_is_dropped",
	  .local = true,
	  .act = ud_wrong_qkey,
	  .expected.requester = "SUCCESS,SUCCESS,SUCCESS,payload:ok" },
	{ .name = "ud_message_with_controlled_qkey_uses_the_senders",
	  .local = true,
	  .act = ud_controlled_qkey,
	  .expected.requester = "SUCCESS,modify_qp:0,SUCCESS,SUCCESS,payload:ok",
	  .rxe = { .requester = "SUCCESS,modify_qp:0,SUCCESS" },
	  .rxe_why = "rxe takes every Q_Key as it is given" },
	{ .name = "ud_message_without_receive_is_dropped",
	  .local = true,
	  .act = ud_no_receive,
	  .expected.requester = "SUCCESS,SUCCESS,SUCCESS,payload:ok" },
	{ .name = "ud_message_too_long_for_its_receive_is_an_error",
	  .local = true,
	  .act = ud_too_long_for_receive,
	  .expected.requester = "SUCCESS,LOC_LEN_ERR",
	  .rxe = { .requester = "SUCCESS,LOC_QP_OP_ERR" },
	  .rxe_why = "rxe gives one status for all that goes wrong with a receive" },
	{ .name = "ud_message_too_long_for_a_packet_is_refused",
	  .local = true,
	  .act = ud_too_long_for_mtu,
	  .expected.requester = "refused:ok",
	  .rxe = { .requester = "refused:WRONG" },
	  .rxe_why = "rxe drops it in silence" },
	{ .name = "ud_write_is_refused",
	  .local = true,
	  .act = ud_write,
	  .expected.requester = "post_send:EINVAL",
	  .rxe = { .requester = "post_send:0" },
	  .rxe_why = "rxe looks at operations when it executes them" },
	{ .name = "ud_queue_pair_needs_a_qkey",
	  .local = true,
	  .act = ud_without_qkey,
	  .expected.requester = "init:EINVAL" },
	{ .name = "wrong_addresses_are_refused",
	  .local = true,
	  .act = wrong_addresses,
	  .expected.requester = "refused:ok,refused:ok,refused:ok" },
	{ .name = "pd_with_address_handle_stays",
	  .local = true,
	  .act = free_pd_of_address,
	  .expected.requester = "dealloc_pd:EBUSY,destroy_ah:0,dealloc_pd:0" },

	{ .name = "uc_send_arrives",
	  .local = true,
	  .act = uc_send,
	  .expected.requester = "SUCCESS,SUCCESS,payload:ok" },
	{ .name = "uc_send_without_receive_is_dropped",
	  .local = true,
	  .act = uc_no_receive,
	  .expected.requester = "SUCCESS,SUCCESS,SUCCESS,payload:ok" },
	{ .name = "uc_write_with_immediate_arrives",
	  .local = true,
	  .act = uc_write,
	  .expected.requester = "SUCCESS,SUCCESS,immediate:ok,payload:ok" },
	{ .name = "uc_write_with_wrong_rkey_is_dropped",
	  .local = true,
	  .act = uc_write_wrong_key,
	  .expected.requester = "SUCCESS,untouched:ok" },
	{ .name = "uc_read_is_refused",
	  .local = true,
	  .act = uc_read,
	  .expected.requester = "post_send:EINVAL",
	  .rxe = { .requester = "post_send:0" },
	  .rxe_why = "rxe looks at operations when it executes them" },
};

const unsigned int error_case_count = sizeof(error_cases) / sizeof(*error_cases);
