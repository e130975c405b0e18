// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Queue pairs on the host device.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include <urcu-qsbr.h>

#include "vm/cq.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "worker/worker.h"

#define OPCODE(name)	(1u << PVHCA_WQE_##name)
#define SEND_OPCODES_UD (OPCODE(SEND) | OPCODE(SEND_IMM))
#define SEND_OPCODES_UC                                                           \
	(SEND_OPCODES_UD | OPCODE(SEND_INV) | OPCODE(WRITE) | OPCODE(WRITE_IMM) | \
	 OPCODE(LOCAL_INV) | OPCODE(BIND_MW))
#define SEND_OPCODES_RC	    (SEND_OPCODES_UC | OPCODE(READ))
#define SEND_OPCODES_ATOMIC (OPCODE(ATOMIC_CMP_SWP) | OPCODE(ATOMIC_FETCH_ADD))

/* What the engine may be asked; whether it can, it says itself. */
static uint32_t send_opcodes(const struct verbs_vm *vv, enum pvhca_qp_type type)
{
	if (type == PVHCA_QPT_UD)
		return SEND_OPCODES_UD;
	if (type == PVHCA_QPT_UC)
		return SEND_OPCODES_UC;
	return SEND_OPCODES_RC | (vv->attr.atomic_cap != IBV_ATOMIC_NONE ? SEND_OPCODES_ATOMIC : 0);
}

/* ------------------------------ QPs by number ------------------------------ */

static struct qp **num_bucket(struct verbs_vm *vv, uint32_t qpn)
{
	return &vv->by_num[qpn % VERBS_NUM_BUCKETS];
}

struct qp *verbs_qp_by_num(struct verbs_vm *vv, uint32_t qpn)
{
	struct qp *qp = rcu_dereference(*num_bucket(vv, qpn));

	while (qp && qp->qpn != qpn)
		qp = rcu_dereference(((struct verbs_qp *)qp->fabric)->next_by_num);
	return qp;
}

static void num_add(struct verbs_vm *vv, struct qp *qp)
{
	struct qp **bucket = num_bucket(vv, qp->qpn);

	pthread_mutex_lock(&vv->lock);
	((struct verbs_qp *)qp->fabric)->next_by_num = *bucket;
	rcu_assign_pointer(*bucket, qp);
	pthread_mutex_unlock(&vv->lock);
}

/* Workers may look at it until a grace period has passed. */
static void num_remove(struct verbs_vm *vv, struct qp *qp)
{
	struct qp **at = num_bucket(vv, qp->qpn);

	pthread_mutex_lock(&vv->lock);
	while (*at != qp)
		at = &((struct verbs_qp *)(*at)->fabric)->next_by_num;
	rcu_assign_pointer(*at, ((struct verbs_qp *)qp->fabric)->next_by_num);
	pthread_mutex_unlock(&vv->lock);
}

/* --------------------------- making and destroying ------------------------- */

static uint32_t id_index(uint32_t id)
{
	return id & ((1u << VERBS_QP_INDEX_BITS) - 1);
}

/* A generation that no completion bears. */
static uint32_t next_id(struct verbs_vm *vv, uint32_t index)
{
	return (uint32_t)atomic_fetch_add(&vv->generation, 1) << VERBS_QP_INDEX_BITS | index;
}

/* An index that is free. */
static int take_id(struct verbs_vm *vv, uint32_t *id)
{
	int status = PVHCA_ST_QUOTA;
	uint32_t i, index;

	pthread_mutex_lock(&vv->lock);
	for (i = 0; i < vv->max_qps && status; i++) {
		index = (vv->next_qp + i) % vv->max_qps;
		if (vv->qp_taken[index])
			continue;
		vv->qp_taken[index] = true;
		vv->next_qp = index + 1;
		*id = next_id(vv, index);
		status = PVHCA_ST_OK;
	}
	pthread_mutex_unlock(&vv->lock);
	return status;
}

static void give_id(struct verbs_vm *vv, uint32_t id)
{
	pthread_mutex_lock(&vv->lock);
	vv->qp_taken[id_index(id)] = false;
	pthread_mutex_unlock(&vv->lock);
}

static enum ibv_qp_type host_type(enum pvhca_qp_type type)
{
	return type == PVHCA_QPT_UD ? IBV_QPT_UD : type == PVHCA_QPT_UC ? IBV_QPT_UC : IBV_QPT_RC;
}

static struct ibv_qp *host_qp_create(struct qp *qp, struct verbs_qp *vqp)
{
	struct verbs_srq *vsrq = qp->srq ? qp->srq->fabric : NULL;
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct ibv_qp_init_attr_ex attr = {
		.qp_context = qp,
		.send_cq = vqp->send_cq->cq,
		.recv_cq = vqp->recv_cq->cq,
		.srq = vsrq ? vsrq->srq : NULL,
		.cap = {
			.max_send_wr = qp->cap.max_send_wr,
			.max_recv_wr = qp->cap.max_recv_wr,
			.max_send_sge = qp->cap.max_send_sge,
			.max_recv_sge = qp->cap.max_recv_sge,
			.max_inline_data = qp->cap.max_inline,
		},
		.qp_type = host_type(qp->type),
		.sq_sig_all = 0,	/* the guest's flag is in each entry */
		.comp_mask = IBV_QP_INIT_ATTR_PD,
		.pd = qp->pd->fabric,
	};
	struct ibv_qp *host;

	/* Not every library knows this; the plain call is what they all have. */
	if (qp->flags & PVHCA_CREATE_QP_BLOCK_LOOPBACK) {
		attr.comp_mask |= IBV_QP_INIT_ATTR_CREATE_FLAGS;
		attr.create_flags = IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
		host = ibv_create_qp_ex(vv->context, &attr);
	} else {
		host = ibv_create_qp(qp->pd->fabric, (struct ibv_qp_init_attr *)&attr);
	}
	if (!host)
		return NULL;
	qp->cap.max_send_wr = attr.cap.max_send_wr;
	qp->cap.max_recv_wr = attr.cap.max_recv_wr;
	qp->cap.max_send_sge = attr.cap.max_send_sge;
	qp->cap.max_recv_sge = attr.cap.max_recv_sge;
	qp->cap.max_inline = attr.cap.max_inline_data;
	return host;
}

static int reserve_completions(struct qp *qp, struct verbs_qp *vqp)
{
	struct verbs_srq *vsrq = qp->srq ? qp->srq->fabric : NULL;
	struct verbs_vm *vv = qp->vm->fabric_vm;
	int status;

	vqp->send_share = qp->cap.max_send_wr;
	status = verbs_host_cq_reserve(vv, VERBS_SENDS, vqp->send_share, &vqp->send_cq);
	if (status)
		return status;
	if (vsrq) {
		vqp->recv_cq = vsrq->host_cq;
		return PVHCA_ST_OK;
	}
	vqp->recv_share = qp->cap.max_recv_wr;
	status = verbs_host_cq_reserve(vv, VERBS_RECEIVES, vqp->recv_share, &vqp->recv_cq);
	if (status)
		verbs_host_cq_release(vqp->send_cq, vqp->send_share);
	return status;
}

static void release_completions(struct verbs_qp *vqp)
{
	verbs_host_cq_release(vqp->send_cq, vqp->send_share);
	verbs_host_cq_release(vqp->recv_cq, vqp->recv_share);
}

int verbs_qp_create(struct qp *qp)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp;
	int status;

	vqp = heap_zalloc(qp->vm->heap, sizeof(*vqp));
	if (!vqp)
		return PVHCA_ST_NO_MEMORY;
	status = take_id(vv, &vqp->id);
	if (status)
		goto err_free;
	vqp->retired = UINT32_MAX;
	if (qp->type == PVHCA_QPT_UD && !qp->srq) {
		vqp->headers = verbs_headers_new(qp->vm->heap, qp->rq.entries);
		status = PVHCA_ST_NO_MEMORY;
		if (!vqp->headers)
			goto err_give_id;
	}
	status = reserve_completions(qp, vqp);
	if (status)
		goto err_give_id;
	errno = 0;
	vqp->qp = host_qp_create(qp, vqp);
	if (!vqp->qp) {
		status = verbs_status(errno ?: EIO);
		goto err_release;
	}
	vqp->send_opcodes = send_opcodes(vv, qp->type);
	qp->qpn = vqp->qp->qp_num;
	qp->fabric = vqp;
	rcu_assign_pointer(vv->qps[id_index(vqp->id)], qp);
	if (qp->srq)
		num_add(vv, qp);
	if (qp->type == PVHCA_QPT_UD)
		verbs_address_qp_add(vv, &vqp->datagrams, qp->qpn);
	cm_qp_add(vv->cm, &vqp->by_cm, qp->qpn);
	return PVHCA_ST_OK;

err_release:
	release_completions(vqp);
err_give_id:
	give_id(vv, vqp->id);
err_free:
	verbs_headers_free(vqp->headers);
	heap_free(vqp);
	return status;
}

/*
 * The entries of an SRQ that its QP has taken come back by their completions only,
 * so the guest must find these when the QP is destroyed or reset.
 */
static void deliver_srq_entries(struct qp *qp)
{
	struct verbs_srq *vsrq = qp->srq->fabric;

	verbs_host_cq_drain(qp->vm, vsrq->host_cq);
}

/* Have the engine end what it has begun to receive, as the flush of an error does. */
static void flush_srq_entries(struct qp *qp, struct verbs_qp *vqp)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	int err = ibv_modify_qp(vqp->qp, &attr, IBV_QP_STATE);

	if (err)
		vm_debug(qp->vm, "host QP 0x%x cannot be flushed: %s", qp->qpn, log_strerror(err));
	/* Before the engine's library removes them together with the QP. */
	deliver_srq_entries(qp);
}

static void host_qp_destroy(struct qp *qp, struct verbs_qp *vqp)
{
	int err = ibv_destroy_qp(vqp->qp);

	if (err)
		vm_warning(qp->vm, "host QP 0x%x could not be destroyed: %s", qp->qpn,
			   log_strerror(err));
}

/* The engine's part goes, and no completion finds the QP from here on. Nobody serves it. */
static void end_host_qp(struct qp *qp, struct verbs_qp *vqp)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;

	cm_qp_del(vv->cm, &vqp->by_cm);
	if (qp->type == PVHCA_QPT_UD)
		verbs_address_qp_del(vv, &vqp->datagrams);
	verbs_mcast_detach_all(vv, vqp);
	if (qp->srq)
		flush_srq_entries(qp, vqp);
	host_qp_destroy(qp, vqp);
	if (qp->srq)
		deliver_srq_entries(qp);
	vqp->qp = NULL;
	rcu_assign_pointer(vv->qps[id_index(vqp->id)], NULL);
	if (qp->srq)
		num_remove(vv, qp);
}

/*
 * One with an SRQ is found to its end: what its receives were is known only then. So it ends
 * here, before the grace period. A worker that found it in its slot leaves it alone.
 */
void verbs_qp_hide(struct qp *qp)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp = qp->fabric;

	if (!qp->srq) {
		rcu_assign_pointer(vv->qps[id_index(vqp->id)], NULL);
		return;
	}
	pthread_mutex_lock(&qp->lock);
	vqp->broken = true;
	pthread_mutex_unlock(&qp->lock);
	end_host_qp(qp, vqp);
}

/* Where its VM ends no worker serves it, nor looks for completions of it, any more. */
void verbs_qp_destroy(struct qp *qp)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp = qp->fabric;

	if (vqp->qp)
		end_host_qp(qp, vqp);
	verbs_forget_in_flight(vv, vqp);
	verbs_receiving_ends(qp->vm, &vqp->receiving);
	release_completions(vqp);
	verbs_headers_free(vqp->headers);
	give_id(vv, vqp->id);
	heap_free(vqp);
	qp->fabric = NULL;
}

/* ----------------------------- modify and query ---------------------------- */

static void attr_to_host(const struct qp_attr *from, struct ibv_qp_attr *to)
{
	*to = (struct ibv_qp_attr){
		.qp_state = from->qp_state,
		.cur_qp_state = from->cur_qp_state,
		.path_mtu = from->path_mtu,
		.path_mig_state = from->path_mig_state,
		.qkey = from->qkey,
		.rq_psn = from->rq_psn,
		.sq_psn = from->sq_psn,
		.dest_qp_num = from->dest_qp_num,
		.qp_access_flags = from->qp_access_flags,
		.pkey_index = from->pkey_index,
		.en_sqd_async_notify = from->en_sqd_async_notify,
		.max_rd_atomic = from->max_rd_atomic,
		.max_dest_rd_atomic = from->max_dest_rd_atomic,
		.min_rnr_timer = from->min_rnr_timer,
		.timeout = from->timeout,
		.retry_cnt = from->retry_cnt,
		.rnr_retry = from->rnr_retry,
		.rate_limit = from->rate_limit,
	};
}

/* Nothing of before the RESET is delivered, and both rings begin anew. */
static void forget_all(struct qp *qp, struct verbs_qp *vqp)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;

	pthread_mutex_lock(&qp->rq_lock);
	vqp->id = next_id(vv, id_index(vqp->id));
	work_queue_reset(&qp->sq);
	work_queue_reset(&qp->rq);
	atomic_store(&vqp->held, false);
	atomic_store(&vqp->recv_held, false);
	atomic_store(&vqp->receives, 0);
	vqp->failing = false;
	vqp->broken = false;
	atomic_store(&vqp->overrun, false);
	verbs_forget_in_flight(vv, vqp);
	verbs_receiving_ends(qp->vm, &vqp->receiving);
	atomic_store(&vqp->send_stalled, false);
	atomic_store(&vqp->recv_stalled, false);
	pthread_mutex_unlock(&qp->rq_lock);
	cq_forget(qp->send_cq, &qp->send_held);
	cq_forget(qp->recv_cq, &qp->recv_held);
}

#define SUPPORTED_MASK                                                                        \
	(IBV_QP_STATE | IBV_QP_CUR_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY | IBV_QP_ACCESS_FLAGS | \
	 IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY | IBV_QP_AV | IBV_QP_PATH_MTU |        \
	 IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_RQ_PSN |               \
	 IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER | IBV_QP_SQ_PSN |                     \
	 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_DEST_QPN | IBV_QP_RATE_LIMIT)

/* Of an interface of the guest's own the path may be wider than the host's port. */
static void path_mtu_to_host(const struct verbs_vm *vv, struct ibv_qp_attr *host)
{
	struct ibv_port_attr port;

	if (!ibv_query_port(vv->context, vv->fabric->port, &port) &&
	    host->path_mtu > port.active_mtu)
		host->path_mtu = port.active_mtu;
}

/*
 * A connection that the host's CM makes for the guest: the peer begins with the
 * PSN that the host's CM told it, not with the one of the guest's CM, and it has the path
 * MTU of the host's CM.
 */
static void terms_to_host(const struct verbs_vm *vv, uint32_t mask, const struct qp_attr *attr,
			  struct ibv_qp_attr *host)
{
	const uint32_t needed = IBV_QP_RQ_PSN | IBV_QP_DEST_QPN | IBV_QP_AV;
	struct cm_terms terms;

	if ((mask & needed) == needed &&
	    cm_terms(vv->cm, attr->av.dgid, attr->dest_qp_num, &terms)) {
		host->rq_psn = terms.rq_psn;
		host->path_mtu = terms.path_mtu;
	} else if (mask & IBV_QP_PATH_MTU && atomic_load(&vv->translated)) {
		path_mtu_to_host(vv, host);
	}
}

int verbs_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_qp_attr host;
	int status, err;

	if (attr_mask & ~(uint32_t)SUPPORTED_MASK)
		return PVHCA_ST_UNSUPPORTED;
	attr_to_host(attr, &host);
	host.port_num = vv->fabric->port;
	terms_to_host(vv, attr_mask, attr, &host);
	if (attr_mask & IBV_QP_AV) {
		status = verbs_av_to_host(qp->vm, &attr->av, &host.ah_attr);
		if (status)
			return status;
	}
	/* Posted before the call, so the engine must have them before it. */
	verbs_serve_receives(NULL, qp);
	if (attr_mask & IBV_QP_STATE && attr->qp_state == IBV_QPS_SQD &&
	    atomic_load(&qp->state) == IBV_QPS_RTS)
		verbs_serve_sends(qp);

	err = ibv_modify_qp(vqp->qp, &host, attr_mask);
	if (err)
		return verbs_status(err);
	if (attr_mask & IBV_QP_AV)
		vqp->av = attr->av;
	if (!(attr_mask & IBV_QP_STATE))
		return PVHCA_ST_OK;

	atomic_store(&qp->state, attr->qp_state);
	if (attr->qp_state == IBV_QPS_RESET) {
		if (qp->srq)
			deliver_srq_entries(qp);
		forget_all(qp, vqp);
	}
	return PVHCA_ST_OK;
}

int verbs_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *to)
{
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr host;
	int err;

	err = ibv_query_qp(vqp->qp, &host, attr_mask, &init);
	if (err)
		return verbs_status(err);
	*to = (struct qp_attr){
		.qp_state = host.qp_state,
		.cur_qp_state = host.cur_qp_state,
		.path_mtu = host.path_mtu,
		.path_mig_state = host.path_mig_state,
		.qkey = host.qkey,
		.rq_psn = host.rq_psn,
		.sq_psn = host.sq_psn,
		.dest_qp_num = host.dest_qp_num,
		.qp_access_flags = host.qp_access_flags,
		.pkey_index = host.pkey_index,
		.en_sqd_async_notify = host.en_sqd_async_notify,
		.sq_draining = host.sq_draining,
		.max_rd_atomic = host.max_rd_atomic,
		.max_dest_rd_atomic = host.max_dest_rd_atomic,
		.min_rnr_timer = host.min_rnr_timer,
		.port_num = 1,
		.timeout = host.timeout,
		.retry_cnt = host.retry_cnt,
		.rnr_retry = host.rnr_retry,
		.rate_limit = host.rate_limit,
	};
	verbs_av_from_host(&host.ah_attr, &vqp->av, &to->av);
	return PVHCA_ST_OK;
}
