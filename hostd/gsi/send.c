// SPDX-License-Identifier: GPL-2.0-or-later
/* Guests' management datagrams: from the sender's memory to another's, or to the fabric. */
#include <endian.h>
#include <string.h>

#include "lib/counters.h"
#include "gsi/private.h"
#include "gsi/mad.h"
#include "memory/memory.h"
#include "vm/pass.h"

/*
 * IB vol 1, 10.2.5: a key with this bit means that of the sender's QP, which is the
 * same for all GSI QPs (0x80010000). Linux sends 0x80000000.
 */
#define GSI_OWN_QKEY 0x80000000u

/*
 * Send to the owner of the destination. message: room for the header, then the MAD.
 * False: it is dropped, and not yet counted.
 */
static bool gsi_send(struct vm *vm, const struct av *av, uint8_t *message)
{
	const uint8_t *mad = message + GSI_GRH_LEN;
	const struct gsi_port *port;
	struct gsi_target to = { 0 };
	uint8_t source[16];
	bool known;

	pthread_mutex_lock(&gsi_lock);
	port = vm->gsi_port;
	known = port && port->gid[av->sgid_index];
	if (known) {
		memcpy(source, port->gid[av->sgid_index]->gid, sizeof(source));
		to = gsi_route(port, av->dgid);
	}
	pthread_mutex_unlock(&gsi_lock);
	if (!known || !gsi_network_header(message, av, source, av->dgid))
		return false;
	if (!to.vm)
		return fabric_hook(vm->ops, false, mad_send, vm, source, av->dgid, mad);
	gsi_target_receive(&to, message, av->sl);
	return true;
}

/* Only MADs of connection managers are sent on. */
static bool gsi_carries(const struct send_request *request, const uint8_t *mad)
{
	return request->remote_qpn == GSI_QPN && request->remote_qkey & GSI_OWN_QKEY &&
		request->av.is_global && request->av.dgid[0] != 0xff && mad_is_cm(mad);
}

/* The MAD of an entry. Missing bytes at its end are 0. */
static enum ibv_wc_status gsi_gather(struct vm *vm, const struct send_request *request,
				     const struct ibv_sge *sge, const uint8_t *inline_data,
				     uint8_t *mad)
{
	uint8_t *to = mad;

	if (!(request->flags & PVHCA_WQE_F_AV))
		return IBV_WC_LOC_QP_OP_ERR;
	if (request->length > GSI_MAD_LEN)
		return IBV_WC_LOC_LEN_ERR;
	memset(mad, 0, GSI_MAD_LEN);
	if (request->flags & PVHCA_WQE_F_INLINE) {
		memcpy(mad, inline_data, request->length);
		return IBV_WC_SUCCESS;
	}
	for (unsigned int i = 0; i < request->num_sge; i++) {
		if (!sge[i].length)
			continue;
		if (sge[i].lkey != PVHCA_LKEY_DMA ||
		    memory_read(vm->memory, sge[i].addr, to, sge[i].length))
			return IBV_WC_LOC_PROT_ERR;
		to += sge[i].length;
	}
	return IBV_WC_SUCCESS;
}

/* False: the completion found no place, the QP is stopped. */
static bool gsi_send_done(struct pass *pass, struct qp *qp, const struct send_request *request,
			  enum ibv_wc_status status)
{
	struct pvhca_cqe cqe = {
		.wqe_index = htole16(request->index),
		.opcode = PVHCA_CQE_SEND,
		.status = status,
	};

	qp->sq.ci++;
	counter_add(&qp->vm->counters.messages, 1);
	if (!status && !(request->flags & PVHCA_WQE_F_SIGNALED) &&
	    !(qp->flags & PVHCA_CREATE_QP_SIG_ALL))
		return true;
	if (gsi_complete(pass, qp, &cqe))
		return true;
	gsi_abused(qp);
	return false;
}

/* Serve, or flush, one entry of the send queue. */
static bool gsi_serve_send(struct pass *pass, struct qp *qp, bool flush)
{
	uint8_t message[GSI_GRH_LEN + GSI_MAD_LEN];
	uint8_t *mad = message + GSI_GRH_LEN;
	struct vm *vm = qp->vm;
	struct gsi *own = qp->fabric;
	struct ibv_sge sge[GSI_MAX_SGE];
	struct send_request request;
	enum ibv_wc_status status;

	status = work_queue_take_send(&qp->sq, qp->sq.ci, 1u << PVHCA_WQE_SEND | SEND_ALLOW_AV,
				      &request, sge, own->inline_data);
	if (flush)
		return gsi_send_done(pass, qp, &request, IBV_WC_WR_FLUSH_ERR);
	if (!status)
		status = gsi_gather(vm, &request, sge, own->inline_data, mad);
	if (status) {
		/* IB vol 1, 10.3.1: a datagram QP's send queue stops, no more. */
		gsi_set_state(qp, IBV_QPS_SQE);
		return gsi_send_done(pass, qp, &request, status);
	}
	counter_add(&vm->counters.mads_sent, 1);
	if (!gsi_carries(&request, mad) || !gsi_send(vm, &request.av, message))
		counter_add(&vm->counters.mads_dropped, 1);
	return gsi_send_done(pass, qp, &request, IBV_WC_SUCCESS);
}

unsigned int gsi_serve_sends(struct pass *pass, struct qp *qp)
{
	uint32_t posted = work_queue_posted(&qp->sq);
	unsigned int taken = 0;
	enum ibv_qp_state state;

	if (posted == UINT32_MAX) {
		gsi_abused(qp);
		return 0;
	}
	for (; posted && taken < GSI_BATCH && pass_goes_on(pass); posted--, taken++) {
		pass_spend(pass, PASS_MAD_NS);
		state = atomic_load(&qp->state);
		if (state != IBV_QPS_RTS && state != IBV_QPS_SQE && state != IBV_QPS_ERR)
			return taken;
		if (!gsi_serve_send(pass, qp, state != IBV_QPS_RTS))
			return taken + 1;
	}
	if (posted)
		context_again(qp->context, qp->slot);
	return taken;
}
