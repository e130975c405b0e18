// SPDX-License-Identifier: GPL-2.0-or-later
/* Guests' management datagrams: into the receiver's memory. */
#include <endian.h>
#include <string.h>

#include "lib/address.h"
#include "lib/counters.h"
#include "lib/grh.h"
#include "gsi/private.h"
#include "memory/memory.h"
#include "vm/pass.h"
#include "worker/worker.h"

#define HOP_LIMIT 64

bool gsi_network_header(uint8_t header[GSI_GRH_LEN], const struct av *from,
			const uint8_t source[16], const uint8_t destination[16])
{
	struct av av = *from;

	if (address_is_ipv4(source) != address_is_ipv4(destination))
		return false;
	av.hop_limit = HOP_LIMIT;
	grh_fill(header, &av, source, destination, GSI_MAD_LEN);
	return true;
}

/* Write both parts to an SGE list, which has room. False: it is not guest RAM. */
static bool gsi_scatter(struct vm *vm, const struct ibv_sge *sge, unsigned int num_sge,
			const uint8_t *from, uint64_t length)
{
	for (; num_sge && length; num_sge--, sge++) {
		uint64_t n = sge->length < length ? sge->length : length;

		if (!n)
			continue;
		if (sge->lkey != PVHCA_LKEY_DMA || memory_write(vm->memory, sge->addr, from, n))
			return false;
		from += n;
		length -= n;
	}
	return true;
}

/* The next receive entry gets the message. With rq_lock held. */
static bool gsi_receive(struct qp *qp, uint16_t vlan, const uint8_t *message, uint8_t sl)
{
	struct gsi *own = qp->fabric;
	struct pvhca_cqe cqe = {
		.byte_len = htole32(GSI_GRH_LEN + GSI_MAD_LEN),
		.src_qp = htole32(GSI_QPN),
		.opcode = PVHCA_CQE_RECV,
		.sl = sl,
		.flags = PVHCA_CQE_F_GRH,
	};
	struct ibv_sge sge[GSI_MAX_SGE];
	struct recv_request receive;
	uint32_t posted;

	if (vlan != PVHCA_NO_VLAN) {
		cqe.inv_rkey = htole32(vlan);
		cqe.flags |= PVHCA_CQE_F_VLAN;
	}
	if (!qp_state_responds(atomic_load(&qp->state)) || atomic_load(&own->failed))
		return false;
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX)
		goto abused;
	if (!posted)
		return false;

	cqe.status = work_queue_take_recv(&qp->rq, qp->rq.ci, &receive, sge);
	qp->rq.ci++;
	if (!cqe.status && receive.length < GSI_GRH_LEN + GSI_MAD_LEN)
		cqe.status = IBV_WC_LOC_LEN_ERR;
	if (!cqe.status &&
	    !gsi_scatter(qp->vm, sge, receive.num_sge, message, GSI_GRH_LEN + GSI_MAD_LEN))
		cqe.status = IBV_WC_LOC_PROT_ERR;
	cqe.wqe_index = htole16(receive.tag);
	counter_add(&qp->vm->counters.receives, 1);
	if (cqe.status) {
		cqe.byte_len = 0;
		/* Its own worker makes it the state, and flushes. */
		atomic_store(&own->failed, true);
		context_again(qp->context, qp->slot);
		worker_wake(qp->vm->worker);
	}
	/* Not this worker's CQ to look after: the event is raised at once. */
	if (!gsi_complete(NULL, qp, &cqe))
		goto abused;
	if (!cqe.status)
		counter_add(&qp->vm->counters.mads_received, 1);
	return !cqe.status;

abused:
	atomic_store(&own->failed, true);
	vm_guest_fault(qp->vm, "more receives on its GSI queue pair than that holds");
	return false;
}

bool gsi_target_receive(const struct gsi_target *target, const uint8_t *message, uint8_t sl)
{
	bool taken = false;

	if (target->qp) {
		pthread_mutex_lock(&target->qp->rq_lock);
		taken = gsi_receive(target->qp, target->vlan, message, sl);
		pthread_mutex_unlock(&target->qp->rq_lock);
	}
	if (!taken)
		counter_add(&target->vm->counters.mads_dropped, 1);
	return taken;
}

bool gsi_deliver(struct vm *vm, const uint8_t source[16], const uint8_t destination[16],
		 const void *mad)
{
	static const struct av plain;
	uint8_t message[GSI_GRH_LEN + GSI_MAD_LEN];
	pthread_mutex_t *delivery = NULL;
	struct gsi_target target;
	bool taken;

	if (!gsi_network_header(message, &plain, source, destination))
		return false;
	memcpy(message + GSI_GRH_LEN, mad, GSI_MAD_LEN);
	pthread_mutex_lock(&gsi_lock);
	target = gsi_port_target(vm, destination);
	if (target.qp) {
		delivery = &((struct gsi *)target.qp->fabric)->delivery;
		pthread_mutex_lock(delivery);
	}
	pthread_mutex_unlock(&gsi_lock);
	taken = gsi_target_receive(&target, message, 0);
	if (delivery)
		pthread_mutex_unlock(delivery);
	return taken;
}

unsigned int gsi_flush_receives(struct pass *pass, struct qp *qp)
{
	struct ibv_sge sge[GSI_MAX_SGE];
	struct recv_request receive;
	unsigned int taken = 0;
	bool ok = true;
	uint32_t posted;

	pthread_mutex_lock(&qp->rq_lock);
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX)
		ok = false;
	for (; ok && posted && taken < GSI_BATCH && pass_goes_on(pass); posted--, taken++) {
		struct pvhca_cqe cqe = {
			.opcode = PVHCA_CQE_RECV,
			.status = IBV_WC_WR_FLUSH_ERR,
		};

		pass_spend(pass, PASS_ENTRY_NS);
		(void)work_queue_take_recv(&qp->rq, qp->rq.ci++, &receive, sge);
		cqe.wqe_index = htole16(receive.tag);
		ok = gsi_complete(pass, qp, &cqe);
	}
	pthread_mutex_unlock(&qp->rq_lock);
	if (!ok)
		gsi_abused(qp);
	else if (posted)
		context_again(qp->context, qp->slot);
	return taken;
}
