// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unreliable datagrams (IB vol 1, 9.8.3): a message is one packet, goes to the QP
 * of a number behind an address, or to all that are attached to a group, and is
 * lost without a word where something does not fit. Its network header stands in
 * the receive, before the message.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/address.h"
#include "lib/grh.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/pass.h"
#include "vm/vm.h"
#include "lib/heap.h"
#include "lib/table.h"

#define MULTICAST_QPN 0xffffffu
/* IB vol 1, 10.2.5: such a Q_Key in a request stands for the QP's own. */
#define OWN_QKEY 0x80000000u

/* An address handle: its source address. The rest stands in ah->av. */
struct loopback_ah {
	uint8_t source[LOOPBACK_GID_LEN];
};

/* A datagram on its way. */
struct ud {
	struct loopback_serve *serve;
	struct loopback_qp *lqp;
	const struct av *av;
	uint8_t source[LOOPBACK_GID_LEN];
	uint8_t grh[GRH_LEN];
	uint32_t qkey;
	uint64_t length;	     /* with the GRH */
	uint64_t more;		     /* of loopback_mcast_for_each() */
	struct loopback_pieces from; /* likewise */
	struct loopback_pieces to;
};

/* ----------------------------- address handles ----------------------------- */

int loopback_ah_create(struct ah *ah)
{
	struct loopback_ah *lah;
	const uint8_t *gid;

	if (!loopback_av_is_valid(ah->vm, &ah->av) || !vm_gid(ah->vm, ah->av.sgid_index, &gid))
		return PVHCA_ST_INVALID;
	lah = heap_zalloc(ah->vm->heap, sizeof(*lah));
	if (!lah)
		return PVHCA_ST_NO_MEMORY;
	memcpy(lah->source, gid, sizeof(lah->source));
	ah->fabric = lah;
	return PVHCA_ST_OK;
}

void loopback_ah_destroy(struct ah *ah)
{
	heap_free(ah->fabric);
	ah->fabric = NULL;
}

/*
 * An address in the entry itself (kernel consumers). Commands own the table
 * of GIDs and may be changing the entry. So the address that is read here counts only if
 * it turns out to be one of this session.
 */
static bool take_entry_av(struct ud *ud)
{
	const struct vm *vm = ud->lqp->qp->vm;
	const struct vm_gid *gid;
	uint64_t half;
	unsigned int i;

	_Static_assert(VM_GIDS == 256, "any sgid_index is in the table");
	if (ud->av->is_global != 1 || ud->av->port != 1)
		return false;
	gid = &vm->gids[ud->av->sgid_index];
	for (i = 0; i < LOOPBACK_GID_LEN; i += sizeof(half)) {
		half = 0;
		for (unsigned int j = 0; j < sizeof(half); j++)
			half |= (uint64_t)__atomic_load_n(&gid->gid[i + j], __ATOMIC_RELAXED)
				<< 8 * j;
		half = htole64(half);
		memcpy(ud->source + i, &half, sizeof(half));
	}
	return true;
}

/* The destination of an address handle, and its source address. NULL: it is none of qp's PD. */
static const struct av *find_av(const struct qp *qp, uint32_t handle,
				uint8_t source[LOOPBACK_GID_LEN])
{
	const struct ah *ah = table_find_rcu(&qp->vm->ahs, handle);
	const struct loopback_ah *lah;

	if (!ah || ah->pd != qp->pd)
		return NULL;
	lah = ah->fabric;
	memcpy(source, lah->source, LOOPBACK_GID_LEN);
	return &ah->av;
}

static bool take_av(struct ud *ud)
{
	const struct send_request *request = &ud->lqp->sq.request;

	if (request->flags & PVHCA_WQE_F_AV) {
		ud->av = &request->av;
		return take_entry_av(ud);
	}
	ud->av = find_av(ud->lqp->qp, request->ah, ud->source);
	return ud->av;
}

/* --------------------------------- receiver -------------------------------- */

static void complete_receive(struct ud *ud, struct loopback_qp *rx)
{
	const struct send_request *request = &ud->lqp->sq.request;
	struct pvhca_cqe cqe = {
		.opcode = PVHCA_CQE_RECV,
		.status = IBV_WC_SUCCESS,
		.flags = PVHCA_CQE_F_GRH,
		.byte_len = htole32(ud->length),
		.src_qp = htole32(ud->lqp->qp->qpn),
		.sl = grh_packet_type(ud->source, ud->av->dgid),
	};

	if (request->opcode == PVHCA_WQE_SEND_IMM) {
		cqe.imm_data = request->imm_data;
		cqe.flags |= PVHCA_CQE_F_IMM;
	}
	loopback_receive_done(ud->serve, rx, &cqe, request->flags & PVHCA_WQE_F_SOLICITED);
}

/* With rx's rq_lock held. */
static void deliver_locked(struct ud *ud, struct loopback_qp *rx)
{
	const struct loopback_receive *receive = &rx->receive;

	if (!loopback_qp_responds(rx) || atomic_load(&rx->qkey) != ud->qkey ||
	    loopback_receive_take(ud->serve, rx, NULL) != LOOPBACK_TAKE_OK)
		return;
	if (receive->request.length < ud->length) {
		loopback_receive_fail(ud->serve, rx, IBV_WC_LOC_LEN_ERR);
		return;
	}
	if (!loopback_pieces_local(rx->fabric, rx->qp->pd, receive->sge, receive->request.num_sge,
				   IBV_ACCESS_LOCAL_WRITE, 0, ud->length, &ud->to)) {
		loopback_receive_fail(ud->serve, rx, IBV_WC_LOC_PROT_ERR);
		return;
	}
	loopback_copy(&ud->to, &ud->from, ud->length);
	loopback_pieces_put(&ud->to);
	ud->serve->moved += ud->length;
	pass_copied(ud->serve->pass, ud->length);
	complete_receive(ud, rx);
}

static void deliver(struct loopback_qp *rx, void *arg)
{
	struct ud *ud = arg;

	pass_spend(ud->serve->pass, PASS_ENTRY_NS / 2);
	pthread_mutex_lock(&rx->qp->rq_lock);
	deliver_locked(ud, rx);
	pthread_mutex_unlock(&rx->qp->rq_lock);
}

static void deliver_to_member(struct loopback_qp *rx, void *arg)
{
	struct ud *ud = arg;

	if (rx != ud->lqp || !(rx->qp->flags & PVHCA_CREATE_QP_BLOCK_LOOPBACK))
		deliver(rx, arg);
}

/* ---------------------------------- sender --------------------------------- */

/* The QP of a number behind an address, or NULL. */
static struct loopback_qp *find_receiver(const struct loopback_qp *lqp,
					 const uint8_t dgid[LOOPBACK_GID_LEN], uint32_t qpn)
{
	const struct vm *vm = lqp->qp->vm;
	const struct qp *qp = loopback_table_find(&lqp->fabric->qps, qpn);

	return qp && qp->type == PVHCA_QPT_UD &&
			loopback_address_owner(lqp->fabric, vm->network, dgid) == qp->vm ?
		qp->fabric :
		NULL;
}

struct loopback_qp *loopback_ud_find_peer(struct loopback_qp *lqp, uint32_t ah, uint32_t qpn,
					  struct loopback_way *way)
{
	const struct vm *vm = lqp->qp->vm;

	way->ah = ah;
	way->qpn = qpn;
	way->av = find_av(lqp->qp, ah, way->source);
	if (!way->av || address_is_group(way->av->dgid) ||
	    loopback_address_owner(lqp->fabric, vm->network, way->source) != vm)
		return NULL;
	return find_receiver(lqp, way->av->dgid, qpn);
}

uint32_t loopback_ud_qkey(const struct loopback_qp *lqp, uint32_t qkey)
{
	return qkey & OWN_QKEY ? atomic_load(&lqp->qkey) : qkey;
}

static void route(struct ud *ud)
{
	struct loopback *fabric = ud->lqp->fabric;
	const struct vm *vm = ud->lqp->qp->vm;
	struct loopback_sq *sq = &ud->lqp->sq;
	uint32_t qpn = sq->request.remote_qpn;
	struct loopback_qp *rx;

	ud->more = 0;
	/* The source must be an address that this VM has now. */
	if (loopback_address_owner(fabric, vm->network, ud->source) != vm)
		return;
	if (address_is_group(ud->av->dgid)) {
		if (qpn == MULTICAST_QPN)
			ud->more = loopback_mcast_for_each(fabric, vm->network, ud->av->dgid,
							   sq->done, ud->serve->pass,
							   deliver_to_member, ud);
		return;
	}
	rx = find_receiver(ud->lqp, ud->av->dgid, qpn);
	if (rx)
		deliver(rx, ud);
}

/* The message behind its header. False: local protection error. */
static bool gather(struct ud *ud)
{
	struct loopback_sq *sq = &ud->lqp->sq;

	if (!loopback_pieces_request(ud->lqp, 0, 0, sq->request.length, &ud->from))
		return false;
	memmove(&ud->from.piece[1], &ud->from.piece[0], ud->from.count * sizeof(ud->from.piece[0]));
	ud->from.piece[0].mr = NULL;
	ud->from.piece[0].host = ud->grh;
	ud->from.piece[0].len = GRH_LEN;
	ud->from.piece[0].region = NULL; /* and so memory_region_put() leaves it alone */
	ud->from.count++;
	return true;
}

enum loopback_result loopback_ud_execute(struct loopback_serve *serve, enum ibv_wc_status *status)
{
	struct loopback_qp *lqp = serve->lqp;
	const struct send_request *request = &lqp->sq.request;
	struct ud ud;

	/* Not initialised as a whole: the lists of pieces are big. */
	ud.serve = serve;
	ud.lqp = lqp;
	if (request->length > LOOPBACK_MAX_UD) {
		*status = IBV_WC_LOC_LEN_ERR;
		return LOOPBACK_FAILED;
	}
	if (!take_av(&ud)) {
		*status = IBV_WC_LOC_QP_OP_ERR;
		return LOOPBACK_FAILED;
	}
	if (!gather(&ud)) {
		*status = IBV_WC_LOC_PROT_ERR;
		return LOOPBACK_FAILED;
	}
	ud.qkey = loopback_ud_qkey(lqp, request->remote_qkey);
	ud.length = GRH_LEN + request->length;
	grh_fill(ud.grh, ud.av, ud.source, ud.av->dgid,
		 request->length +
			 (request->opcode == PVHCA_WQE_SEND_IMM ? sizeof(request->imm_data) : 0));
	if (!lqp->sq.done)
		pass_rate_bytes(serve->pass, request->length);
	route(&ud);
	loopback_pieces_put(&ud.from);
	lqp->sq.done = ud.more;
	return ud.more ? LOOPBACK_MORE : LOOPBACK_DONE;
}
