// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From entries of a guest's send queue to work requests of the engine.
 *
 * Addresses and keys are passed as they are: the engine checks them against the guest's own
 * PD. Entries as most are (vm/plain.h) become requests in place. All others, and those that
 * make no sense, are taken by vm/work_queue.h.
 */
#include "fabric/verbs/batch.h"
#include "fabric/verbs/private.h"
#include "vm/plain.h"

static const enum ibv_wr_opcode host_opcode[PVHCA_WQE_OPCODES] = {
	[PVHCA_WQE_SEND] = IBV_WR_SEND,
	[PVHCA_WQE_SEND_IMM] = IBV_WR_SEND_WITH_IMM,
	[PVHCA_WQE_SEND_INV] = IBV_WR_SEND_WITH_INV,
	[PVHCA_WQE_WRITE] = IBV_WR_RDMA_WRITE,
	[PVHCA_WQE_WRITE_IMM] = IBV_WR_RDMA_WRITE_WITH_IMM,
	[PVHCA_WQE_READ] = IBV_WR_RDMA_READ,
	[PVHCA_WQE_ATOMIC_CMP_SWP] = IBV_WR_ATOMIC_CMP_AND_SWP,
	[PVHCA_WQE_ATOMIC_FETCH_ADD] = IBV_WR_ATOMIC_FETCH_AND_ADD,
	[PVHCA_WQE_LOCAL_INV] = IBV_WR_LOCAL_INV,
	[PVHCA_WQE_BIND_MW] = IBV_WR_BIND_MW,
};

/* Of requests that may be plain; those to a QP by its number, and the others. */
#define PLAIN_UD (1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM)
#define PLAIN_CONNECTED                                                                        \
	(PLAIN_UD | 1u << PVHCA_WQE_WRITE | 1u << PVHCA_WQE_WRITE_IMM | 1u << PVHCA_WQE_READ | \
	 PLAIN_ATOMICS)

/* What stands for the region of a window that is bound to nothing; its key is 0. */
static struct ibv_mr no_region;

static inline unsigned int host_flags(uint8_t flags)
{
	unsigned int host = 0;

	if (flags & PVHCA_WQE_F_SIGNALED)
		host |= IBV_SEND_SIGNALED;
	if (flags & PVHCA_WQE_F_SOLICITED)
		host |= IBV_SEND_SOLICITED;
	if (flags & PVHCA_WQE_F_FENCE)
		host |= IBV_SEND_FENCE;
	if (flags & PVHCA_WQE_F_INLINE)
		host |= IBV_SEND_INLINE;
	return host;
}

/* An address handle of the QP's PD. False: there is none such. */
static inline bool find_address(struct verbs_batch *batch, const struct qp *qp, uint32_t handle)
{
	struct ah *ah;

	if (batch->ah && batch->ah_handle == handle)
		return true;
	ah = table_find_rcu(&qp->vm->ahs, handle);
	if (!ah || ah->pd != qp->pd)
		return false;
	batch->ah_handle = handle;
	batch->ah = ah->fabric;
	return true;
}

/* ---------------------------- entries of any kind -------------------------- */

static bool fill_bind(const struct qp *qp, const struct bind_request *bind, struct ibv_send_wr *wr)
{
	struct ibv_mr *region = &no_region;
	struct vm *vm = qp->vm;
	struct mr *mr;
	struct mw *mw;

	mw = table_find_rcu(&vm->mws, bind->mw_handle);
	if (!mw || mw->pd != qp->pd)
		return false;
	if (bind->length) {
		mr = table_find_rcu(&vm->mrs, bind->mr_handle);
		/* rxe of Linux 6.1 does not see that a range wraps. */
		if (!mr || mr->pd != qp->pd || !mr_contains(mr, bind->addr, bind->length))
			return false;
		region = verbs_mr_host(mr);
	}
	wr->bind_mw.mw = mw->fabric;
	wr->bind_mw.rkey = bind->rkey;
	wr->bind_mw.bind_info = (struct ibv_mw_bind_info){
		.mr = region,
		.addr = bind->addr,
		.length = bind->length,
		.mw_access_flags = bind->access,
	};
	return true;
}

/* Objects that an entry names, by handle. False: there are none such in the QP's PD. */
static bool fill_objects(struct verbs_batch *batch, const struct qp *qp,
			 const struct send_request *request, struct ibv_send_wr *wr)
{
	if (qp->type == PVHCA_QPT_UD) {
		if (!find_address(batch, qp, request->ah))
			return false;
		wr->wr.ud.ah = batch->ah;
		wr->wr.ud.remote_qpn = request->remote_qpn;
		wr->wr.ud.remote_qkey = request->remote_qkey;
		return true;
	}
	return request->opcode != PVHCA_WQE_BIND_MW || fill_bind(qp, &request->bind, wr);
}

static void fill_operation(const struct send_request *request, struct ibv_send_wr *wr)
{
	switch (request->opcode) {
	case PVHCA_WQE_WRITE_IMM:
		wr->imm_data = request->imm_data;
		/* fall through */
	case PVHCA_WQE_WRITE:
	case PVHCA_WQE_READ:
		wr->wr.rdma.remote_addr = request->remote_addr;
		wr->wr.rdma.rkey = request->rkey;
		break;
	case PVHCA_WQE_SEND_IMM:
		wr->imm_data = request->imm_data;
		break;
	case PVHCA_WQE_SEND_INV:
	case PVHCA_WQE_LOCAL_INV:
		wr->invalidate_rkey = request->inv_rkey;
		break;
	case PVHCA_WQE_ATOMIC_CMP_SWP:
	case PVHCA_WQE_ATOMIC_FETCH_ADD:
		wr->wr.atomic.remote_addr = request->remote_addr;
		wr->wr.atomic.rkey = request->rkey;
		wr->wr.atomic.compare_add = request->compare_add;
		wr->wr.atomic.swap = request->swap;
		break;
	}
}

/* Add one checked request to the batch, whose SGEs or data are in place. False: refused. */
static bool add_checked(struct verbs_batch *batch, const struct qp *qp,
			const struct send_request *request)
{
	struct ibv_send_wr *wr = &batch->wr[batch->count];
	struct ibv_sge *sge = &batch->sge[batch->sges];

	*wr = (struct ibv_send_wr){
		.wr_id = verbs_wr_id(qp->fabric, 0, request->index),
		.next = wr + 1,
		.opcode = host_opcode[request->opcode],
		.send_flags = host_flags(request->flags),
		.sg_list = sge,
		.num_sge = request->num_sge,
	};
	if (!fill_objects(batch, qp, request, wr))
		return false;
	if (request->flags & PVHCA_WQE_F_INLINE) {
		*sge = (struct ibv_sge){
			.addr = (uintptr_t)&batch->data[batch->bytes],
			.length = request->inline_len,
		};
		wr->num_sge = request->inline_len ? 1 : 0;
		batch->bytes += request->inline_len;
		batch->inlined += request->inline_len;
	}
	batch->payload += request->length;
	batch->sges += wr->num_sge;
	fill_operation(request, wr);
	batch->count++;
	batch->bound = request->opcode == PVHCA_WQE_BIND_MW ? wr->bind_mw.mw : NULL;
	return true;
}

/* The next entry, of whatever kind. False: it is refused. */
static bool add_any(struct verbs_batch *batch, const struct qp *qp)
{
	const struct verbs_qp *vqp = qp->fabric;
	struct send_request request;

	if (!work_queue_take_send(&qp->sq, qp->sq.ci + batch->count, vqp->send_opcodes, &request,
				  &batch->sge[batch->sges], &batch->data[batch->bytes]) &&
	    add_checked(batch, qp, &request))
		return true;
	batch->refused_bind = request.opcode == PVHCA_WQE_BIND_MW;
	return false;
}

/* -------------------------------- plain entries ---------------------------- */

static inline void fill_plain(const struct plain_send *entry, uint32_t bit, struct ibv_send_wr *wr)
{
	const struct pvhca_sq_wqe *wqe = &entry->wqe;

	/* Those that have none do not look. */
	wr->imm_data = wqe->imm_data;
	if (bit & PLAIN_ATOMICS) {
		wr->wr.atomic.remote_addr = le64toh(wqe->remote_addr);
		wr->wr.atomic.compare_add = le64toh(entry->atomic.compare_add);
		wr->wr.atomic.swap = le64toh(entry->atomic.swap);
		wr->wr.atomic.rkey = le32toh(wqe->rkey);
	} else {
		wr->wr.rdma.remote_addr = le64toh(wqe->remote_addr);
		wr->wr.rdma.rkey = le32toh(wqe->rkey);
	}
}

static inline bool fill_datagram(struct verbs_batch *batch, const struct qp *qp,
				 const struct plain_send *entry, struct ibv_send_wr *wr)
{
	const struct pvhca_sq_wqe *wqe = &entry->wqe;

	if (!find_address(batch, qp, le32toh(wqe->ah)))
		return false;
	wr->imm_data = wqe->imm_data;
	wr->wr.ud.ah = batch->ah;
	wr->wr.ud.remote_qpn = le32toh(wqe->remote_qpn);
	wr->wr.ud.remote_qkey = le32toh(wqe->remote_qkey);
	return true;
}

/* The next entry, if it is plain, with one of the opcodes. False: nothing happened. */
static inline bool add_plain(struct verbs_batch *batch, const struct qp *qp, uint32_t opcodes)
{
	struct ibv_send_wr *wr = &batch->wr[batch->count];
	struct ibv_sge *to = &batch->sge[batch->sges];
	const uint32_t index = qp->sq.ci + batch->count;
	const struct pvhca_sge *sge;
	struct plain_send entry;
	uint32_t bit;

	plain_load_send(&qp->sq, index, &entry);
	bit = plain_opcode(&entry, opcodes);
	if (!bit || !plain_send_has_one(&entry))
		return false;
	if (qp->type != PVHCA_QPT_UD)
		fill_plain(&entry, bit, wr);
	else if (!fill_datagram(batch, qp, &entry, wr))
		return false;
	sge = plain_sge(&entry, bit);
	to->addr = le64toh(sge->addr);
	to->length = le32toh(sge->length);
	to->lkey = le32toh(sge->lkey);
	wr->wr_id = verbs_wr_id(qp->fabric, 0, work_queue_index(&qp->sq, index));
	wr->next = wr + 1;
	wr->sg_list = to;
	wr->num_sge = 1;
	wr->opcode = host_opcode[entry.wqe.opcode];
	wr->send_flags = host_flags(entry.wqe.flags);
	batch->payload += to->length;
	batch->sges++;
	batch->count++;
	return true;
}

static uint32_t plain_opcodes(const struct qp *qp)
{
	const struct verbs_qp *vqp = qp->fabric;

	if (!qp->sq.max_sge)
		return 0;
	return vqp->send_opcodes & (qp->type == PVHCA_QPT_UD ? PLAIN_UD : PLAIN_CONNECTED);
}

/* ----------------------------------- room ---------------------------------- */

static inline bool batch_has_room(const struct verbs_batch *batch, const struct work_queue *sq)
{
	return batch->count < VERBS_BATCH && !batch->bound &&
		batch->sges + sq->max_sge + 1 <= VERBS_BATCH_SGES &&
		batch->bytes + (1u << sq->log_stride) <= VERBS_BATCH_BYTES;
}

/* Have the VM's turn and its rate room for another entry of the batch? No pass: a command's. */
static inline bool pass_has_room(struct pass *pass, const struct verbs_batch *batch)
{
	if (!pass)
		return true;
	return pass_goes_on(pass) &&
		(!pass->limited ||
		 (batch->count < pass->rate_messages &&
		  (int64_t)batch->payload < pass->rate_bytes));
}

bool verbs_batch_build(struct verbs_batch *batch, struct pass *pass, struct qp *qp, uint32_t posted)
{
	const uint32_t plain = plain_opcodes(qp);

	batch->count = batch->sges = batch->bytes = 0;
	batch->payload = batch->inlined = 0;
	batch->bound = NULL;
	batch->ah = NULL;
	while (batch->count < posted && batch_has_room(batch, &qp->sq) &&
	       pass_has_room(pass, batch)) {
		if (pass)
			pass_spend(pass, PASS_ENTRY_NS);
		if (!add_plain(batch, qp, plain) && !add_any(batch, qp))
			return false;
	}
	return true;
}
