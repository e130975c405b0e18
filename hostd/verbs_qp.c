// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Queue pairs on the host device.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include <urcu-qsbr.h>

#include "cq.h"
#include "log.h"
#include "verbs.h"
#include "worker.h"

#define SEND_OPCODES_RC	(1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM | \
			 1u << PVHCA_WQE_WRITE | 1u << PVHCA_WQE_WRITE_IMM | \
			 1u << PVHCA_WQE_READ)
#define SEND_OPCODES_ATOMIC (1u << PVHCA_WQE_ATOMIC_CMP_SWP | \
			     1u << PVHCA_WQE_ATOMIC_FETCH_ADD)

/* An index that is free, and a generation that no completion bears. */
static int take_id(struct verbs_session *vs, uint32_t *id)
{
	uint32_t i, index;

	for (i = 0; i < vs->max_qps; i++) {
		index = (vs->next_qp + i) % vs->max_qps;
		if (vs->qps[index])
			continue;
		vs->next_qp = index + 1;
		*id = (uint32_t)vs->generation++ << VERBS_QP_INDEX_BITS | index;
		return PVHCA_ST_OK;
	}
	return PVHCA_ST_QUOTA;
}

static uint32_t id_index(uint32_t id)
{
	return id & ((1u << VERBS_QP_INDEX_BITS) - 1);
}

static struct ibv_qp *host_qp_create(struct qp *qp, struct verbs_qp *vqp)
{
	struct ibv_qp_init_attr attr = {
		.qp_context = qp,
		.send_cq = vqp->host_cq->cq,
		.recv_cq = vqp->host_cq->cq,
		.cap = {
			.max_send_wr = qp->cap.max_send_wr,
			.max_recv_wr = qp->cap.max_recv_wr,
			.max_send_sge = qp->cap.max_send_sge,
			.max_recv_sge = qp->cap.max_recv_sge,
			.max_inline_data = qp->cap.max_inline,
		},
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 0,	/* the guest's flag is in each entry */
	};
	struct ibv_qp *host = ibv_create_qp(qp->pd->fabric, &attr);

	if (!host)
		return NULL;
	qp->cap.max_send_wr = attr.cap.max_send_wr;
	qp->cap.max_recv_wr = attr.cap.max_recv_wr;
	qp->cap.max_send_sge = attr.cap.max_send_sge;
	qp->cap.max_recv_sge = attr.cap.max_recv_sge;
	qp->cap.max_inline = attr.cap.max_inline_data;
	return host;
}

int verbs_qp_create(struct qp *qp)
{
	struct verbs_session *vs = qp->session->fabric_session;
	struct verbs_qp *vqp;
	int status;

	if (qp->type != PVHCA_QPT_RC)
		return PVHCA_ST_UNSUPPORTED;
	vqp = calloc(1, sizeof(*vqp));
	if (!vqp)
		return PVHCA_ST_NO_MEMORY;
	status = take_id(vs, &vqp->id);
	if (status)
		goto err_free;
	vqp->retired = UINT32_MAX;
	vqp->host_cq_share = qp->cap.max_send_wr + qp->cap.max_recv_wr;
	status = verbs_host_cq_reserve(vs, vqp->host_cq_share, &vqp->host_cq);
	if (status)
		goto err_free;
	vqp->qp = host_qp_create(qp, vqp);
	if (!vqp->qp) {
		status = verbs_status(errno);
		goto err_release_cq;
	}
	vqp->send_opcodes = SEND_OPCODES_RC;
	if (vs->attr.atomic_cap != IBV_ATOMIC_NONE)
		vqp->send_opcodes |= SEND_OPCODES_ATOMIC;
	qp->qpn = vqp->qp->qp_num;
	qp->fabric = vqp;
	rcu_assign_pointer(vs->qps[id_index(vqp->id)], qp);
	return PVHCA_ST_OK;

err_release_cq:
	verbs_host_cq_release(vqp->host_cq, vqp->host_cq_share);
err_free:
	free(vqp);
	return status;
}

void verbs_qp_destroy(struct qp *qp)
{
	struct verbs_session *vs = qp->session->fabric_session;
	struct verbs_qp *vqp = qp->fabric;
	int err;

	/* No completion finds the QP from here on. */
	rcu_assign_pointer(vs->qps[id_index(vqp->id)], NULL);
	synchronize_rcu();

	err = ibv_destroy_qp(vqp->qp);
	if (err)
		g_warning("%s: host QP 0x%x could not be destroyed: %s",
			  qp->session->name, qp->qpn, g_strerror(err));
	verbs_forget_in_flight(vs, vqp);
	verbs_host_cq_release(vqp->host_cq, vqp->host_cq_share);
	free(vqp);
	qp->fabric = NULL;
}

static int av_to_host(struct qp *qp, const struct pvhca_av *av,
		      struct ibv_ah_attr *ah)
{
	struct verbs_session *vs = qp->session->fabric_session;
	const uint8_t *gid;
	uint32_t hint;
	int index;

	if (!av->is_global)
		return PVHCA_ST_INVALID;	/* RoCE has no other addresses */
	if (!session_gid(qp->session, av->sgid_index, &hint, &gid))
		return PVHCA_ST_INVALID;
	index = verbs_gid_index(vs, gid, hint);
	if (index < 0)
		return PVHCA_ST_NOT_FOUND;

	*ah = (struct ibv_ah_attr) {
		.grh = {
			.flow_label = le32toh(av->flow_label),
			.sgid_index = index,
			.hop_limit = av->hop_limit,
			.traffic_class = av->traffic_class,
		},
		.sl = av->sl,
		.static_rate = av->static_rate,
		.is_global = 1,
		.port_num = vs->fabric->port,
	};
	memcpy(ah->grh.dgid.raw, av->dgid, sizeof(av->dgid));
	return PVHCA_ST_OK;
}

static void attr_to_host(const struct pvhca_qp_attr *from,
			 struct ibv_qp_attr *to)
{
	*to = (struct ibv_qp_attr) {
		.qp_state = from->qp_state,
		.cur_qp_state = from->cur_qp_state,
		.path_mtu = from->path_mtu,
		.path_mig_state = from->path_mig_state,
		.qkey = le32toh(from->qkey),
		.rq_psn = le32toh(from->rq_psn),
		.sq_psn = le32toh(from->sq_psn),
		.dest_qp_num = le32toh(from->dest_qp_num),
		.qp_access_flags = le32toh(from->qp_access_flags),
		.pkey_index = le16toh(from->pkey_index),
		.en_sqd_async_notify = from->en_sqd_async_notify,
		.max_rd_atomic = from->max_rd_atomic,
		.max_dest_rd_atomic = from->max_dest_rd_atomic,
		.min_rnr_timer = from->min_rnr_timer,
		.timeout = from->timeout,
		.retry_cnt = from->retry_cnt,
		.rnr_retry = from->rnr_retry,
		.rate_limit = le32toh(from->rate_limit),
	};
}

/* Nothing of before the RESET is delivered, and both rings begin anew. */
static void forget_all(struct qp *qp, struct verbs_qp *vqp)
{
	struct verbs_session *vs = qp->session->fabric_session;

	pthread_mutex_lock(&qp->rq_lock);
	vqp->id = (uint32_t)vs->generation++ << VERBS_QP_INDEX_BITS |
		  id_index(vqp->id);
	work_queue_reset(&qp->sq);
	work_queue_reset(&qp->rq);
	vqp->failing = false;
	verbs_forget_in_flight(vs, vqp);
	atomic_store(&vqp->send_stalled, false);
	atomic_store(&vqp->recv_stalled, false);
	pthread_mutex_unlock(&qp->rq_lock);
	cq_forget(qp->send_cq, qp->qpn);
	cq_forget(qp->recv_cq, qp->qpn);
}

#define SUPPORTED_MASK	(IBV_QP_STATE | IBV_QP_CUR_STATE | \
			 IBV_QP_EN_SQD_ASYNC_NOTIFY | IBV_QP_ACCESS_FLAGS | \
			 IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY | \
			 IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_TIMEOUT | \
			 IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_RQ_PSN | \
			 IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER | \
			 IBV_QP_SQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | \
			 IBV_QP_DEST_QPN | IBV_QP_RATE_LIMIT)

int verbs_qp_modify(struct qp *qp, uint32_t attr_mask,
		    const struct pvhca_qp_attr *attr)
{
	struct verbs_session *vs = qp->session->fabric_session;
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_qp_attr host;
	int status, err;

	if (attr_mask & ~(uint32_t)SUPPORTED_MASK)
		return PVHCA_ST_UNSUPPORTED;
	attr_to_host(attr, &host);
	host.port_num = vs->fabric->port;
	if (attr_mask & IBV_QP_AV) {
		status = av_to_host(qp, &attr->av, &host.ah_attr);
		if (status)
			return status;
	}
	/* Posted before the call, so the engine must have them before it. */
	verbs_serve_receives(qp);

	err = ibv_modify_qp(vqp->qp, &host, attr_mask);
	if (err)
		return verbs_status(err);
	if (!(attr_mask & IBV_QP_STATE))
		return PVHCA_ST_OK;

	atomic_store(&qp->state, attr->qp_state);
	if (attr->qp_state == IBV_QPS_RESET)
		forget_all(qp, vqp);
	/* What was posted too early for the old state is served now. */
	context_again(qp->context, qp->slot);
	worker_wake(qp->session->worker);
	return PVHCA_ST_OK;
}

static void av_from_host(struct qp *qp, const struct ibv_ah_attr *ah,
			 struct pvhca_av *av)
{
	struct verbs_session *vs = qp->session->fabric_session;
	const uint8_t *gid;
	uint32_t i, hint;
	union ibv_gid host;

	*av = (struct pvhca_av) {
		.flow_label = htole32(ah->grh.flow_label),
		.hop_limit = ah->grh.hop_limit,
		.traffic_class = ah->grh.traffic_class,
		.sl = ah->sl,
		.port = 1,
		.static_rate = ah->static_rate,
		.is_global = ah->is_global,
	};
	memcpy(av->dgid, ah->grh.dgid.raw, sizeof(av->dgid));
	/* The index in the guest's own table. */
	if (!ah->is_global || ibv_query_gid(vs->context, vs->fabric->port,
					    ah->grh.sgid_index, &host))
		return;
	for (i = 0; i < SESSION_GIDS; i++)
		if (session_gid(qp->session, i, &hint, &gid) &&
		    !memcmp(gid, host.raw, sizeof(host.raw))) {
			av->sgid_index = i;
			return;
		}
}

int verbs_qp_query(struct qp *qp, uint32_t attr_mask, struct pvhca_qp_attr *to)
{
	struct verbs_qp *vqp = qp->fabric;
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr host;
	int err;

	err = ibv_query_qp(vqp->qp, &host, attr_mask, &init);
	if (err)
		return verbs_status(err);
	*to = (struct pvhca_qp_attr) {
		.qp_state = host.qp_state,
		.cur_qp_state = host.cur_qp_state,
		.path_mtu = host.path_mtu,
		.path_mig_state = host.path_mig_state,
		.qkey = htole32(host.qkey),
		.rq_psn = htole32(host.rq_psn),
		.sq_psn = htole32(host.sq_psn),
		.dest_qp_num = htole32(host.dest_qp_num),
		.qp_access_flags = htole32(host.qp_access_flags),
		.pkey_index = htole16(host.pkey_index),
		.en_sqd_async_notify = host.en_sqd_async_notify,
		.sq_draining = host.sq_draining,
		.max_rd_atomic = host.max_rd_atomic,
		.max_dest_rd_atomic = host.max_dest_rd_atomic,
		.min_rnr_timer = host.min_rnr_timer,
		.port_num = 1,
		.timeout = host.timeout,
		.retry_cnt = host.retry_cnt,
		.rnr_retry = host.rnr_retry,
		.rate_limit = htole32(host.rate_limit),
		.cap = qp->cap,
	};
	av_from_host(qp, &host.ah_attr, &to->av);
	return PVHCA_ST_OK;
}
