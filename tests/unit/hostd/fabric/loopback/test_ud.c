// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Datagrams and multicast groups of the loopback fabric.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fabric/loopback/rig.h"
#include "lib/grh.h"

#define IOVA_A 0x7f0000001000ull
#define IOVA_B 0x7f1000002000ull
#define RUN    (4 * PVHCA_GRANULE)
#define MTU    4096

static const uint8_t group[16] = { [10] = 0xff, 0xff, 239, 1, 2, 3 };
static const uint8_t group_v6[16] = { 0xff, 0x0e, [15] = 1 };

static struct qp *a, *b;
static struct mr *mr_a, *mr_b;
static struct ah *ah;

static void setup(void)
{
	rig_setup();
	a = rig_qp_of(rig.a, PVHCA_QPT_UD, NULL);
	b = rig_qp_of(rig.b, PVHCA_QPT_UD, NULL);
	mr_a = rig_mr(rig.a, IOVA_A, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
	mr_b = rig_mr(rig.b, IOVA_B, 4, RUN, IBV_ACCESS_LOCAL_WRITE);
	ah = rig_ah(rig.a, rig.b->vm.gids[0].gid);
	rig_connect(a, b);
}

static void teardown(void)
{
	rig_ah_free(ah);
	rig_mr_free(mr_a);
	rig_mr_free(mr_b);
	rig_qp_free(a);
	if (b)
		rig_qp_free(b);
	rig_teardown();
}

static struct pvhca_sq_wqe wqe_to(const struct qp *to, const struct ah *by)
{
	return (struct pvhca_sq_wqe){
		.opcode = PVHCA_WQE_SEND,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
		.ah = htole32(by->handle),
		.remote_qpn = htole32(to ? to->qpn : 0xffffff),
		.remote_qkey = RIG_QKEY,
	};
}

static void post_wqe_only(struct pvhca_sq_wqe wqe, uint32_t len)
{
	struct pvhca_sge sge = { htole64(IOVA_A), htole32(len), htole32(mr_a->lkey) };

	rig_post_send(a, wqe, &sge, NULL);
}

static void post_wqe(struct pvhca_sq_wqe wqe, uint32_t len)
{
	post_wqe_only(wqe, len);
	rig_pump();
}

static void post_recv(struct qp *qp, uint32_t len)
{
	const struct mr *mr = qp->vm == &rig.a->vm ? mr_a : mr_b;
	struct pvhca_sge sge = { htole64(mr->iova), htole32(len), htole32(mr->lkey) };

	rig_post_recv(qp, &sge, 1);
}

static void expect_lost(void)
{
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect_none(b->recv_cq);
	ck_assert_int_eq(atomic_load(&b->state), IBV_QPS_RTS);
}

/* -------------------------------- datagrams -------------------------------- */

START_TEST(message_arrives_behind_its_header)
{
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);
	struct pvhca_cqe cqe;
	uint8_t grh[GRH_LEN];

	rig_fill(mr_a, IOVA_A, 1000, 3);
	post_recv(b, 40 + 1000);
	wqe.opcode = PVHCA_WQE_SEND_IMM;
	wqe.imm_data = htobe32(0xfeed);
	post_wqe(wqe, 1000);
	cqe = rig_expect(a->send_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_SEND);
	cqe = rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_int_eq(cqe.opcode, PVHCA_CQE_RECV);
	ck_assert_int_eq(cqe.flags, PVHCA_CQE_F_GRH | PVHCA_CQE_F_IMM);
	ck_assert_uint_eq(be32toh(cqe.imm_data), 0xfeed);
	ck_assert_uint_eq(le32toh(cqe.byte_len), 1040);
	ck_assert_uint_eq(le32toh(cqe.src_qp), a->qpn);
	/* RoCE v2 over IPv4: UCX looks for the header by it. */
	ck_assert_uint_eq(cqe.sl, GRH_SL_ROCE_V2 | GRH_SL_IPV4);
	ck_assert(rig_is_filled(mr_b, IOVA_B + 40, 1000, 3));
	grh_fill(grh, &ah->av, rig.a->vm.gids[0].gid, rig.b->vm.gids[0].gid, 1004);
	ck_assert_mem_eq(rig_byte(mr_b, IOVA_B), grh, GRH_LEN);
}
END_TEST

/* Posted at once: ways, lengths and Q_Keys change from one to the next. */
START_TEST(datagrams_of_several_ways_do_not_mix)
{
	struct qp *other = rig_qp_of(rig.b, PVHCA_QPT_UD, NULL);
	struct pvhca_sq_wqe wrong = wqe_to(b, ah);
	struct qp *const to[] = { b, b, other, b, other, other, b };
	unsigned int i, n = sizeof(to) / sizeof(to[0]);
	uint8_t grh[GRH_LEN];
	struct pvhca_cqe cqe;

	rig_connect(other, other);
	wrong.remote_qkey = htole32(RIG_QKEY + 1);
	for (i = 0; i < n; i++) {
		struct pvhca_sge sge = { htole64(IOVA_B + 200 * i), htole32(150),
					 htole32(mr_b->lkey) };

		rig_post_recv(to[i], &sge, 1);
	}
	for (i = 0; i < n; i++) {
		post_wqe_only(wqe_to(to[i], ah), 10 + i);
		post_wqe_only(wrong, 100);
	}
	rig_pump();
	for (i = 0; i < 2 * n; i++)
		rig_expect(a->send_cq, IBV_WC_SUCCESS);
	for (i = 0; i < n; i++) {
		cqe = rig_expect(to[i]->recv_cq, IBV_WC_SUCCESS);
		ck_assert_uint_eq(le32toh(cqe.byte_len), GRH_LEN + 10 + i);
		ck_assert_uint_eq(le32toh(cqe.qpn), to[i]->qpn);
		grh_fill(grh, &ah->av, rig.a->vm.gids[0].gid, rig.b->vm.gids[0].gid, 10 + i);
		ck_assert_mem_eq(rig_byte(mr_b, IOVA_B + 200 * i), grh, GRH_LEN);
	}
	rig_expect_none(b->recv_cq);
	rig_expect_none(other->recv_cq);
	rig_qp_free(other);
}
END_TEST

START_TEST(header_and_message_fill_any_list)
{
	struct pvhca_sge to[3] = {
		{ htole64(IOVA_B + 100), htole32(13), htole32(mr_b->lkey) },
		{ htole64(IOVA_B + 200), htole32(30), htole32(mr_b->lkey) },
		{ htole64(IOVA_B + 300), htole32(500), htole32(mr_b->lkey) },
	};

	rig_fill(mr_a, IOVA_A, 100, 3);
	rig_post_recv(b, to, 3);
	post_wqe(wqe_to(b, ah), 100);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_mem_eq(rig_byte(mr_b, IOVA_B + 200), rig_byte(mr_b, IOVA_B + 200), 27);
	ck_assert_mem_eq(rig_byte(mr_b, IOVA_B + 227), rig_byte(mr_a, IOVA_A), 3);
	ck_assert_mem_eq(rig_byte(mr_b, IOVA_B + 300), rig_byte(mr_a, IOVA_A + 3), 97);
}
END_TEST

START_TEST(message_of_the_mtu_arrives_and_a_longer_one_is_a_length_error)
{
	post_recv(b, 40 + MTU);
	post_wqe(wqe_to(b, ah), MTU);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	post_wqe(wqe_to(b, ah), MTU + 1);
	rig_expect(a->send_cq, IBV_WC_LOC_LEN_ERR);
	ck_assert_int_eq(atomic_load(&a->state), IBV_QPS_SQE);
}
END_TEST

START_TEST(short_receive_is_the_receivers_length_error)
{
	post_recv(b, 40 + 99);
	post_wqe(wqe_to(b, ah), 100);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_LOC_LEN_ERR);
	ck_assert_int_eq(atomic_load(&b->state), IBV_QPS_ERR);
}
END_TEST

START_TEST(receive_that_may_not_be_written_is_the_receivers_error)
{
	struct pvhca_sge sge = { htole64(IOVA_B), htole32(200), 0 };

	rig_post_recv(b, &sge, 1);
	post_wqe(wqe_to(b, ah), 100);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_LOC_PROT_ERR);
}
END_TEST

START_TEST(message_without_a_receive_is_lost)
{
	post_wqe(wqe_to(b, ah), 100);
	expect_lost();
}
END_TEST

START_TEST(wrong_key_or_number_or_address_is_lost)
{
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);
	struct qp *rc = rig_qp(rig.b);
	struct ah *own = rig_ah(rig.a, rig.a->vm.gids[0].gid);

	post_recv(b, 200);
	wqe.remote_qkey = htole32(RIG_QKEY + 1);
	post_wqe(wqe, 8);
	expect_lost();
	post_wqe(wqe_to(rc, ah), 8);
	expect_lost();
	post_wqe(wqe_to(NULL, ah), 8);
	expect_lost();
	wqe = wqe_to(b, ah);
	wqe.remote_qpn = htole32(0xff000000);
	post_wqe(wqe, 8);
	expect_lost();
	/* The number is there, but not at this address. */
	post_wqe(wqe_to(b, own), 8);
	expect_lost();
	rig_ah_free(own);
	rig_qp_free(rc);
}
END_TEST

START_TEST(high_bit_stands_for_the_own_key)
{
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);
	struct qp_attr attr = { .qkey = 7 };

	post_recv(b, 200);
	wqe.remote_qkey = htole32(0x80000005);
	post_wqe(wqe, 8);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	post_recv(b, 200);
	ck_assert_int_eq(rig_modify(a, IBV_QP_QKEY, attr), 0);
	post_wqe(wqe, 8);
	expect_lost();
}
END_TEST

START_TEST(bad_address_handle_is_an_operation_error)
{
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);
	struct pd other = rig.a->pd;

	if (_i)
		ah->pd = &other;
	else
		wqe.ah = htole32(ah->handle + 1);
	post_wqe(wqe, 8);
	rig_expect(a->send_cq, IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(connected_operations_are_not_for_it)
{
	static const uint8_t opcodes[] = { PVHCA_WQE_WRITE, PVHCA_WQE_READ, PVHCA_WQE_SEND_INV,
					   PVHCA_WQE_LOCAL_INV, 99 };
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);

	wqe.opcode = opcodes[_i];
	post_wqe(wqe, 8);
	rig_expect(a->send_cq, IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(inline_message_comes_from_the_entry)
{
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);

	post_recv(b, 200);
	wqe.flags |= PVHCA_WQE_F_INLINE;
	wqe.num_sge = 0;
	wqe.inline_len = htole32(5);
	rig_post_send(a, wqe, NULL, "hello");
	rig_pump();
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	ck_assert_mem_eq(rig_byte(mr_b, IOVA_B + 40), "hello", 5);
}
END_TEST

START_TEST(address_that_was_given_up_is_not_spoken_for)
{
	struct vm_gid *gid = &rig.a->vm.gids[0];

	post_recv(b, 200);
	rig_gid_del(rig.a, 0, gid->gid);
	gid->used = false;
	post_wqe(wqe_to(b, ah), 8);
	expect_lost();
}
END_TEST

START_TEST(many_senders_share_one_receiver_and_its_shared_queue)
{
	struct srq *srq = rig_srq(rig.b);
	struct qp *shared = rig_qp_of(rig.b, PVHCA_QPT_UD, srq);
	struct pvhca_sge sge = { htole64(IOVA_B), htole32(100), htole32(mr_b->lkey) };
	struct pvhca_cqe cqe;

	rig_connect(shared, shared);
	rig_post_srq(srq, 42, &sge, 1);
	post_wqe(wqe_to(shared, ah), 8);
	post_wqe(wqe_to(shared, ah), 8);
	cqe = rig_expect(shared->recv_cq, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le16toh(cqe.wqe_index), 42);
	rig_expect_none(shared->recv_cq);
	rig_qp_free(shared);
	rig_srq_free(srq);
}
END_TEST

START_TEST(addresses_in_entries_are_the_drivers_alone)
{
	struct pvhca_sq_wqe wqe = wqe_to(b, ah);
	uint8_t *entry = (uint8_t *)work_queue_entry(&a->sq, 0);
	struct pvhca_sge sge = { htole64(IOVA_A), htole32(8), htole32(mr_a->lkey) };
	struct pvhca_av av = {
		.sgid_index = ah->av.sgid_index,
		.hop_limit = ah->av.hop_limit,
		.port = 1,
		.is_global = 1,
	};

	memcpy(av.dgid, ah->av.dgid, sizeof(av.dgid));
	post_recv(b, 200);
	rig.a->context.kernel = _i;
	wqe.flags |= PVHCA_WQE_F_AV;
	wqe.ah = 0;
	rig_post_send(a, wqe, NULL, NULL);
	memcpy(entry + PVHCA_SQ_WQE_DATA, &av, sizeof(av));
	memcpy(entry + PVHCA_SQ_WQE_DATA + sizeof(av), &sge, sizeof(sge));
	rig_pump();
	rig_expect(a->send_cq, _i ? IBV_WC_SUCCESS : IBV_WC_LOC_QP_OP_ERR);
	if (_i)
		rig_expect(b->recv_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(state_machine_asks_for_the_key)
{
	struct qp_attr attr = rig_attr(a, b), got;
	struct qp *qp = rig_qp_of(rig.a, PVHCA_QPT_UD, NULL);

	attr.qp_state = IBV_QPS_INIT;
	ck_assert_int_eq(rig_modify(qp, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT, attr),
			 PVHCA_ST_INVALID);
	ck_assert_int_eq(rig_to_init(qp), 0);
	attr.qp_state = IBV_QPS_RTR;
	ck_assert_int_eq(rig_modify(qp, IBV_QP_STATE | IBV_QP_AV, attr), PVHCA_ST_INVALID);
	ck_assert_int_eq(rig_to_rtr(qp, qp), 0);
	ck_assert_int_eq(rig_to_rts(qp, qp), 0);
	ck_assert_int_eq(fabric_loopback.qp->query(qp, ~0u, &got), 0);
	ck_assert_uint_eq(got.qkey, RIG_QKEY);
	rig_qp_free(qp);
}
END_TEST

START_TEST(bad_addresses_get_no_handle)
{
	struct ah bad = *ah;

	switch (_i) {
	case 0:
		bad.av.is_global = 0;
		break;
	case 1:
		bad.av.port = 2;
		break;
	case 2:
		bad.av.sgid_index = 3;
		break;
	case 3:
		memset(bad.av.dgid, 0, 16);
		break;
	case 4:
		bad.av.is_global = 2;
		break;
	}
	ck_assert_int_eq(fabric_loopback.ah_create(&bad), PVHCA_ST_INVALID);
}
END_TEST

/* -------------------------------- multicast -------------------------------- */

static void post_group(const uint8_t gid[16])
{
	struct ah *to = rig_ah(rig.a, gid);

	post_wqe(wqe_to(NULL, to), 64);
	rig_ah_free(to);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
}

START_TEST(all_who_are_attached_get_one_copy)
{
	const uint8_t *gid = _i ? group_v6 : group;
	struct qp *c = rig_qp_of(rig.b, PVHCA_QPT_UD, NULL);
	unsigned int i;

	rig_connect(c, c);
	rig_fill(mr_a, IOVA_A, 64, 1);
	for (i = 0; i < 2; i++) {
		post_recv(b, 200);
		post_recv(c, 200);
		post_recv(a, 200);
	}
	ck_assert_int_eq(fabric_loopback.mcast_attach(a, gid, 0), 0);
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, gid, 0), 0);
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, gid, 0xc000), 0);
	ck_assert_int_eq(fabric_loopback.mcast_attach(c, gid, 0), 0);
	post_group(gid);
	ck_assert_uint_eq(le32toh(rig_expect(a->recv_cq, IBV_WC_SUCCESS).byte_len), 104);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
	rig_expect(c->recv_cq, IBV_WC_SUCCESS);
	rig_expect_none(b->recv_cq);
	ck_assert(rig_is_filled(mr_b, IOVA_B + 40, 64, 1));

	ck_assert_int_eq(fabric_loopback.mcast_detach(b, gid, 0), 0);
	ck_assert_int_eq(fabric_loopback.mcast_detach(b, gid, 0), PVHCA_ST_INVALID);
	post_group(gid);
	rig_expect_none(b->recv_cq);
	rig_expect(c->recv_cq, IBV_WC_SUCCESS);
	rig_qp_free(c);
	ck_assert_int_eq(fabric_loopback.mcast_detach(a, gid, 0), 0);
	post_group(gid);
}
END_TEST

#define MEMBERS 20

/*
 * However small the turns are, each member that was there at the beginning and stays gets one
 * copy, and nobody who came later.
 */
START_TEST(a_group_of_many_is_served_in_several_turns)
{
	struct qp *member[MEMBERS], *late = rig_qp_of(rig.b, PVHCA_QPT_UD, NULL);
	struct ah *to = rig_ah(rig.a, group);
	unsigned int i, turns = 0;

	for (i = 0; i < MEMBERS; i++) {
		member[i] = rig_qp_of(i % 2 ? rig.a : rig.b, PVHCA_QPT_UD, NULL);
		rig_connect(member[i], member[i]);
		ck_assert_int_eq(fabric_loopback.mcast_attach(member[i], group, 0), 0);
		if (i % 2 == 0)
			post_recv(member[i], 200);
	}
	rig_connect(late, late);
	post_recv(late, 200);
	post_recv(late, 200);
	rig.turn_ns = 3 * PASS_ENTRY_NS;
	post_wqe_only(wqe_to(NULL, to), 64);
	for (; rig_serve(rig.a); turns++) {
		if (turns == 1) {
			ck_assert_int_eq(fabric_loopback.mcast_attach(late, group, 0), 0);
			ck_assert_int_eq(fabric_loopback.mcast_detach(member[0], group, 0), 0);
		}
		ck_assert_uint_lt(turns, 10 * MEMBERS);
	}
	ck_assert_uint_gt(turns, 3);
	rig_expect(a->send_cq, IBV_WC_SUCCESS);
	rig_expect_none(a->send_cq);
	rig_expect_none(late->recv_cq);
	rig_expect_none(member[0]->recv_cq);
	for (i = 2; i < MEMBERS; i += 2) {
		rig_expect(member[i]->recv_cq, IBV_WC_SUCCESS);
		rig_expect_none(member[i]->recv_cq);
	}
	ck_assert_uint_eq(rig.a->vm.counters.messages, 1);
	rig_ah_free(to);
	for (i = 0; i < MEMBERS; i++)
		rig_qp_free(member[i]);
	rig_qp_free(late);
}
END_TEST

START_TEST(blocked_loopback_spares_the_sender)
{
	a->flags |= PVHCA_CREATE_QP_BLOCK_LOOPBACK;
	post_recv(a, 200);
	post_recv(b, 200);
	ck_assert_int_eq(fabric_loopback.mcast_attach(a, group, 0), 0);
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, group, 0), 0);
	post_group(group);
	rig_expect_none(a->recv_cq);
	rig_expect(b->recv_cq, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(group_asks_for_the_key_too)
{
	struct qp_attr attr = { .qkey = 7 };

	post_recv(b, 200);
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, group, 0), 0);
	ck_assert_int_eq(rig_modify(b, IBV_QP_QKEY, attr), 0);
	post_group(group);
	rig_expect_none(b->recv_cq);
}
END_TEST

START_TEST(attachments_end_with_their_qp)
{
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, group, 0), 0);
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, group_v6, 0), 0);
	rig_qp_free(b);
	b = NULL;
	post_group(group);
	ck_assert_uint_eq(((struct loopback_vm *)rig.b->vm.fabric_vm)->attachments, 0);
}
END_TEST

START_TEST(only_groups_and_only_datagram_qps_are_attached)
{
	struct qp *rc = rig_qp(rig.a);

	ck_assert_int_eq(fabric_loopback.mcast_attach(rc, group, 0), PVHCA_ST_INVALID);
	ck_assert_int_eq(fabric_loopback.mcast_attach(a, rig.b->vm.gids[0].gid, 0),
			 PVHCA_ST_INVALID);
	rig_qp_free(rc);
}
END_TEST

START_TEST(one_vm_cannot_fill_groups_without_bound)
{
	struct qp *qps[LOOPBACK_MAX_MCAST_ATTACH];
	uint8_t gid[16];
	unsigned int i;

	memcpy(gid, group, 16);
	rig.a->slots = 0;
	for (i = 0; i < LOOPBACK_MAX_MCAST_ATTACH; i++) {
		qps[i] = rig_qp_of(rig.a, PVHCA_QPT_UD, NULL);
		ck_assert_int_eq(fabric_loopback.mcast_attach(qps[i], gid, 0), 0);
		rig.a->slots = 1;
	}
	ck_assert_int_eq(fabric_loopback.mcast_attach(a, gid, 0), PVHCA_ST_QUOTA);
	ck_assert_int_eq(fabric_loopback.mcast_attach(b, gid, 0), 0);
	for (i = 0; i < LOOPBACK_MAX_MCAST_TOTAL; i++) {
		gid[13] = 2;
		gid[14] = i >> 8;
		gid[15] = i;
		if (fabric_loopback.mcast_attach(a, gid, 0))
			break;
	}
	ck_assert_uint_eq(i, LOOPBACK_MAX_MCAST_TOTAL - LOOPBACK_MAX_MCAST_ATTACH);
	for (i = 0; i < LOOPBACK_MAX_MCAST_ATTACH; i++)
		rig_qp_free(qps[i]);
}
END_TEST

START_TEST(random_entries_end_in_errors_and_nowhere_else)
{
	uint8_t *entry;
	unsigned int i, j, posted;

	srand(_i);
	rig.a->context.kernel = _i % 2;
	post_recv(b, 200);
	for (i = 0; i < 50; i++) {
		posted = atomic_load(a->sq.pi);
		entry = (uint8_t *)work_queue_entry(&a->sq, posted);
		for (j = 0; j < 256; j++)
			entry[j] = rand();
		entry[0] %= 3;
		entry[1] &= 0x1f;
		memset(entry + 24, 0, 8);
		atomic_store(a->sq.pi, posted + 1);
		context_again(a->context, a->slot);
		rig_pump();
		if (atomic_load(&a->state) == IBV_QPS_SQE)
			rig_modify(a, IBV_QP_STATE, (struct qp_attr){ .qp_state = IBV_QPS_RTS });
		while (rig_poll(a->send_cq, &(struct pvhca_cqe){ 0 }))
			;
	}
	rig_expect_none(b->recv_cq);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_ud");
	TCase *tcase = tcase_create("datagrams");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, message_arrives_behind_its_header);
	tcase_add_test(tcase, datagrams_of_several_ways_do_not_mix);
	tcase_add_test(tcase, header_and_message_fill_any_list);
	tcase_add_test(tcase, message_of_the_mtu_arrives_and_a_longer_one_is_a_length_error);
	tcase_add_test(tcase, short_receive_is_the_receivers_length_error);
	tcase_add_test(tcase, receive_that_may_not_be_written_is_the_receivers_error);
	tcase_add_test(tcase, message_without_a_receive_is_lost);
	tcase_add_test(tcase, wrong_key_or_number_or_address_is_lost);
	tcase_add_test(tcase, high_bit_stands_for_the_own_key);
	tcase_add_loop_test(tcase, bad_address_handle_is_an_operation_error, 0, 2);
	tcase_add_loop_test(tcase, connected_operations_are_not_for_it, 0, 5);
	tcase_add_test(tcase, inline_message_comes_from_the_entry);
	tcase_add_test(tcase, address_that_was_given_up_is_not_spoken_for);
	tcase_add_test(tcase, many_senders_share_one_receiver_and_its_shared_queue);
	tcase_add_loop_test(tcase, addresses_in_entries_are_the_drivers_alone, 0, 2);
	tcase_add_test(tcase, state_machine_asks_for_the_key);
	tcase_add_loop_test(tcase, bad_addresses_get_no_handle, 0, 5);
	tcase_add_loop_test(tcase, random_entries_end_in_errors_and_nowhere_else, 0, 8);
	suite_add_tcase(suite, tcase);

	tcase = tcase_create("multicast");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, all_who_are_attached_get_one_copy, 0, 2);
	tcase_add_test(tcase, blocked_loopback_spares_the_sender);
	tcase_add_test(tcase, a_group_of_many_is_served_in_several_turns);
	tcase_add_test(tcase, group_asks_for_the_key_too);
	tcase_add_test(tcase, attachments_end_with_their_qp);
	tcase_add_test(tcase, only_groups_and_only_datagram_qps_are_attached);
	tcase_add_test(tcase, one_vm_cannot_fill_groups_without_bound);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
