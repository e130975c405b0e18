// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * GSI queue pairs: guests' management datagrams, from one guest's memory into
 * another's, or to cm.h.
 */
#include "address.h"
#include "gsi.h"

#include <endian.h>
#include <string.h>

#include "cm.h"
#include "counters.h"
#include "cq.h"
#include "grh.h"
#include "log.h"
#include "mad.h"
#include "memory.h"
#include "rdma/pvhca-abi.h"
#include "session.h"
#include "worker.h"

#define GSI_BATCH	16u	/* entries of one call */
#define GSI_MAX_SGE	8u
#define HOP_LIMIT	64
/*
 * IB vol 1, 10.2.5: a key with this bit means that of the sender's QP, which is the
 * same for all GSI QPs (0x80010000). Linux sends 0x80000000.
 */
#define GSI_OWN_QKEY	0x80000000u

/**
 * struct gsi - a GSI QP's part
 * @attr: as the guest set it; the session's thread
 * @failed: a receive completed in error: the state is to become ERR. Set under
 *	rq_lock
 * @broken: rings were abused; not served any more. Under qp->lock
 */
struct gsi {
	struct pvhca_qp_attr attr;
	atomic_bool failed;
	bool broken;
	uint8_t inline_data[PVHCA_GRANULE];
};

/* What is known of a session; there while it has a QP or an address. */
struct gsi_port {
	struct session *session;
	struct qp *qp;			/* or NULL */
	unsigned int num_gids;
	bool used[SESSION_GIDS];
	uint8_t gid[SESSION_GIDS][16];
};

/* Ports by session, few addresses each: MADs are rare, so a walk will do. */
static struct {
	pthread_mutex_t lock;
	GList *ports;
} gsi = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ------------------------------- who has what ------------------------------ */

/* All of these: lock held. */

static struct gsi_port *gsi_port_find(const struct session *session)
{
	for (GList *link = gsi.ports; link; link = link->next) {
		struct gsi_port *port = link->data;

		if (port->session == session)
			return port;
	}
	return NULL;
}

static struct gsi_port *gsi_port_get(struct session *session)
{
	struct gsi_port *port = gsi_port_find(session);

	if (port)
		return port;
	port = g_try_new0(struct gsi_port, 1);
	if (!port)
		return NULL;
	port->session = session;
	gsi.ports = g_list_prepend(gsi.ports, port);
	return port;
}

static void gsi_port_put(struct gsi_port *port)
{
	if (port->qp || port->num_gids)
		return;
	gsi.ports = g_list_remove(gsi.ports, port);
	g_free(port);
}

static bool gsi_port_has(const struct gsi_port *port, const uint8_t gid[16])
{
	unsigned int left = port->num_gids;

	for (unsigned int i = 0; left; i++) {
		if (!port->used[i])
			continue;
		if (!memcmp(port->gid[i], gid, 16))
			return true;
		left--;
	}
	return false;
}

/*
 * Whose address this is. One that several have (see policy.c) is the asker's own
 * if he has it: such an address means "here" to each of them.
 */
static struct gsi_port *gsi_route(struct gsi_port *from, const uint8_t gid[16])
{
	if (gsi_port_has(from, gid))
		return from;
	for (GList *link = gsi.ports; link; link = link->next)
		if (gsi_port_has(link->data, gid))
			return link->data;
	return NULL;
}

int gsi_gid_add(struct session *session, uint32_t index, const uint8_t gid[16])
{
	struct gsi_port *port;

	pthread_mutex_lock(&gsi.lock);
	port = gsi_port_get(session);
	if (port) {
		memcpy(port->gid[index], gid, 16);
		port->used[index] = true;
		port->num_gids++;
	}
	pthread_mutex_unlock(&gsi.lock);
	return port ? PVHCA_ST_OK : PVHCA_ST_NO_MEMORY;
}

void gsi_gid_del(struct session *session, uint32_t index)
{
	struct gsi_port *port;

	pthread_mutex_lock(&gsi.lock);
	port = gsi_port_find(session);
	if (port && port->used[index]) {
		port->used[index] = false;
		port->num_gids--;
		gsi_port_put(port);
	}
	pthread_mutex_unlock(&gsi.lock);
}

/* ------------------------------- network header ---------------------------- */

/*
 * What the guest's core takes addresses from; see enum pvhca_qp_type. False: the
 * addresses are of different families.
 */
static bool network_header(uint8_t header[GSI_GRH_LEN],
			   const struct pvhca_av *from,
			   const uint8_t source[16],
			   const uint8_t destination[16])
{
	struct pvhca_av av = *from;

	if (address_is_ipv4(source) != address_is_ipv4(destination))
		return false;
	av.hop_limit = HOP_LIMIT;
	grh_fill(header, &av, source, destination, GSI_MAD_LEN);
	return true;
}

/* -------------------------------- completions ------------------------------ */

/* False: the guest has more outstanding than its queues hold. */
static bool gsi_complete(struct worker *worker, struct qp *qp, struct cq *cq,
			 struct pvhca_cqe *cqe, bool solicited)
{
	cqe->qpn = htole32(qp->qpn);
	cqe->timestamp = cq_timestamp(cq);
	counter_add(&qp->session->counters.completions, 1);
	if (cqe->status)
		counter_add(&qp->session->counters.errors, 1);
	return cq_push(worker, cq, cqe, solicited);
}

/* With qp->lock held, without rq_lock. */
static void gsi_set_state(struct qp *qp, enum ibv_qp_state state)
{
	pthread_mutex_lock(&qp->rq_lock);
	atomic_store(&qp->state, state);
	pthread_mutex_unlock(&qp->rq_lock);
}

static void gsi_abused(struct qp *qp)
{
	struct gsi *own = qp->fabric;

	own->broken = true;
	session_guest_fault(qp->session, "more work on its GSI queue pair than that holds");
}

/* --------------------------------- receiving ------------------------------- */

/* Write both parts to an SGE list, which has room. False: it is not guest RAM. */
static bool gsi_scatter(struct session *session, const struct ibv_sge *sge,
			unsigned int num_sge, const uint8_t *from, uint64_t length)
{
	for (; num_sge && length; num_sge--, sge++) {
		uint64_t n = sge->length < length ? sge->length : length;

		if (!n)
			continue;
		if (sge->lkey != PVHCA_LKEY_DMA ||
		    memory_write(session->memory, sge->addr, from, n))
			return false;
		from += n;
		length -= n;
	}
	return true;
}

static bool gsi_receives(const struct qp *qp)
{
	switch (atomic_load(&qp->state)) {
	case IBV_QPS_RTR:
	case IBV_QPS_RTS:
	case IBV_QPS_SQD:
	case IBV_QPS_SQE:
		return true;
	default:
		return false;
	}
}

/* The next receive entry gets the message. With rq_lock held. */
static bool gsi_receive(struct qp *qp, const uint8_t *message, uint8_t sl)
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

	if (!gsi_receives(qp) || atomic_load(&own->failed))
		return false;
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX)
		goto abused;
	if (!posted)
		return false;

	cqe.status = recv_request_take(&qp->rq, qp->rq.ci, &receive, sge);
	qp->rq.ci++;
	if (!cqe.status && receive.length < GSI_GRH_LEN + GSI_MAD_LEN)
		cqe.status = IBV_WC_LOC_LEN_ERR;
	if (!cqe.status && !gsi_scatter(qp->session, sge, receive.num_sge,
					message, GSI_GRH_LEN + GSI_MAD_LEN))
		cqe.status = IBV_WC_LOC_PROT_ERR;
	cqe.wqe_index = htole16(receive.tag);
	counter_add(&qp->session->counters.receives, 1);
	if (cqe.status) {
		cqe.byte_len = 0;
		/* Its own worker makes it the state, and flushes. */
		atomic_store(&own->failed, true);
		context_again(qp->context, qp->slot);
		worker_wake(qp->session->worker);
	}
	/* Not this worker's CQ to look after: the event is raised at once. */
	if (!gsi_complete(NULL, qp, qp->recv_cq, &cqe, false))
		goto abused;
	if (!cqe.status)
		counter_add(&qp->session->counters.mads_received, 1);
	return !cqe.status;

abused:
	atomic_store(&own->failed, true);
	session_guest_fault(qp->session, "more receives on its GSI queue pair than that holds");
	return false;
}

/* With gsi.lock held. message: network header and MAD. */
static bool gsi_port_receive(struct gsi_port *port, const uint8_t *message,
			     uint8_t sl)
{
	bool taken = false;

	if (port->qp) {
		pthread_mutex_lock(&port->qp->rq_lock);
		taken = gsi_receive(port->qp, message, sl);
		pthread_mutex_unlock(&port->qp->rq_lock);
	}
	if (!taken)
		counter_add(&port->session->counters.mads_dropped, 1);
	return taken;
}

bool gsi_deliver(struct session *session, const uint8_t source[16],
		 const uint8_t destination[16], const void *mad)
{
	static const struct pvhca_av plain;
	uint8_t message[GSI_GRH_LEN + GSI_MAD_LEN];
	struct gsi_port *port;
	bool taken = false;

	if (!network_header(message, &plain, source, destination))
		return false;
	memcpy(message + GSI_GRH_LEN, mad, GSI_MAD_LEN);
	pthread_mutex_lock(&gsi.lock);
	port = gsi_port_find(session);
	if (port)
		taken = gsi_port_receive(port, message, 0);
	pthread_mutex_unlock(&gsi.lock);
	return taken;
}

/* ---------------------------------- sending -------------------------------- */

/*
 * To whoever has the destination. message: room for the header, then the MAD.
 * False: it is dropped, and nobody has counted it.
 */
static bool gsi_send(struct session *session, const struct pvhca_av *av,
		     uint8_t *message)
{
	const uint8_t *mad = message + GSI_GRH_LEN;
	struct gsi_port *from, *to = NULL;
	uint8_t source[16];
	bool known = false;

	pthread_mutex_lock(&gsi.lock);
	from = gsi_port_find(session);
	if (!from || !from->used[av->sgid_index])
		goto unlock;
	memcpy(source, from->gid[av->sgid_index], sizeof(source));
	if (!network_header(message, av, source, av->dgid))
		goto unlock;
	known = true;
	to = gsi_route(from, av->dgid);
	if (to)
		gsi_port_receive(to, message, av->sl);
unlock:
	pthread_mutex_unlock(&gsi.lock);
	return to || (known && cm_send(session, source, av->dgid, mad));
}

/* Only what connection managers say to each other goes anywhere. */
static bool gsi_carries(const struct send_request *request, const uint8_t *mad)
{
	return request->remote_qpn == GSI_QPN &&
	       request->remote_qkey & GSI_OWN_QKEY &&
	       request->av.is_global && request->av.dgid[0] != 0xff &&
	       mad_is_cm(mad);
}

/* The MAD of an entry; what is missing at its end is 0. */
static enum ibv_wc_status gsi_gather(struct session *session,
				     const struct send_request *request,
				     const struct ibv_sge *sge,
				     const uint8_t *inline_data, uint8_t *mad)
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
		    memory_read(session->memory, sge[i].addr, to, sge[i].length))
			return IBV_WC_LOC_PROT_ERR;
		to += sge[i].length;
	}
	return IBV_WC_SUCCESS;
}

/* False: the completion found no place, the QP is stopped. */
static bool gsi_send_done(struct worker *worker, struct qp *qp,
			  const struct send_request *request,
			  enum ibv_wc_status status)
{
	struct pvhca_cqe cqe = {
		.wqe_index = htole16(request->index),
		.opcode = PVHCA_CQE_SEND,
		.status = status,
	};

	qp->sq.ci++;
	counter_add(&qp->session->counters.messages, 1);
	if (!status && !(request->flags & PVHCA_WQE_F_SIGNALED) &&
	    !(qp->flags & PVHCA_CREATE_QP_SIG_ALL))
		return true;
	if (gsi_complete(worker, qp, qp->send_cq, &cqe, false))
		return true;
	gsi_abused(qp);
	return false;
}

/* Serve, or flush, one entry of the send queue. */
static bool gsi_serve_send(struct worker *worker, struct qp *qp, bool flush)
{
	uint8_t message[GSI_GRH_LEN + GSI_MAD_LEN];
	uint8_t *mad = message + GSI_GRH_LEN;
	struct session *session = qp->session;
	struct gsi *own = qp->fabric;
	struct ibv_sge sge[GSI_MAX_SGE];
	struct send_request request;
	enum ibv_wc_status status;

	status = send_request_take(&qp->sq, qp->sq.ci,
				   1u << PVHCA_WQE_SEND | SEND_ALLOW_AV,
				   &request, sge, own->inline_data);
	if (flush)
		return gsi_send_done(worker, qp, &request,
				     IBV_WC_WR_FLUSH_ERR);
	if (!status)
		status = gsi_gather(session, &request, sge, own->inline_data,
				    mad);
	if (status) {
		/* IB vol 1, 10.3.1: a datagram QP's send queue stops, no more. */
		gsi_set_state(qp, IBV_QPS_SQE);
		return gsi_send_done(worker, qp, &request, status);
	}
	counter_add(&session->counters.mads_sent, 1);
	if (!gsi_carries(&request, mad) ||
	    !gsi_send(session, &request.av, message))
		counter_add(&session->counters.mads_dropped, 1);
	return gsi_send_done(worker, qp, &request, IBV_WC_SUCCESS);
}

static unsigned int gsi_serve_sends(struct worker *worker, struct qp *qp)
{
	uint32_t posted = work_queue_posted(&qp->sq);
	unsigned int taken = 0;
	enum ibv_qp_state state;

	if (posted == UINT32_MAX) {
		gsi_abused(qp);
		return 0;
	}
	for (; posted && taken < GSI_BATCH; posted--, taken++) {
		state = atomic_load(&qp->state);
		if (state != IBV_QPS_RTS && state != IBV_QPS_SQE &&
		    state != IBV_QPS_ERR)
			return taken;
		if (!gsi_serve_send(worker, qp, state != IBV_QPS_RTS))
			return taken + 1;
	}
	if (posted)
		context_again(qp->context, qp->slot);
	return taken;
}

static unsigned int gsi_flush_receives(struct worker *worker, struct qp *qp)
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
	for (; ok && posted && taken < GSI_BATCH; posted--, taken++) {
		struct pvhca_cqe cqe = {
			.opcode = PVHCA_CQE_RECV,
			.status = IBV_WC_WR_FLUSH_ERR,
		};

		(void)recv_request_take(&qp->rq, qp->rq.ci++, &receive, sge);
		cqe.wqe_index = htole16(receive.tag);
		ok = gsi_complete(worker, qp, qp->recv_cq, &cqe, false);
	}
	pthread_mutex_unlock(&qp->rq_lock);
	if (!ok)
		gsi_abused(qp);
	else if (posted)
		context_again(qp->context, qp->slot);
	return taken;
}

unsigned int gsi_qp_serve(struct worker *worker, struct qp *qp)
{
	struct gsi *own = qp->fabric;
	unsigned int taken;

	if (own->broken)
		return 0;
	if (atomic_load(&own->failed) && atomic_load(&qp->state) != IBV_QPS_ERR)
		gsi_set_state(qp, IBV_QPS_ERR);
	taken = gsi_serve_sends(worker, qp);
	if (!own->broken && atomic_load(&qp->state) == IBV_QPS_ERR)
		taken += gsi_flush_receives(worker, qp);
	return taken;
}

/* ------------------------------- control operations ------------------------ */

int gsi_qp_create(struct qp *qp)
{
	struct gsi_port *port;
	struct gsi *own;

	if (!qp->context->kernel || qp->srq || !qp->sq.entries ||
	    !qp->rq.entries || qp->sq.max_sge > GSI_MAX_SGE ||
	    qp->rq.max_sge > GSI_MAX_SGE)
		return PVHCA_ST_INVALID;
	own = g_try_new0(struct gsi, 1);
	if (!own)
		return PVHCA_ST_NO_MEMORY;

	pthread_mutex_lock(&gsi.lock);
	port = gsi_port_get(qp->session);
	if (!port || port->qp) {
		pthread_mutex_unlock(&gsi.lock);
		g_free(own);
		return port ? PVHCA_ST_BUSY : PVHCA_ST_NO_MEMORY;
	}
	qp->qpn = GSI_QPN;
	qp->fabric = own;
	port->qp = qp;
	pthread_mutex_unlock(&gsi.lock);
	return PVHCA_ST_OK;
}

void gsi_qp_destroy(struct qp *qp)
{
	struct gsi_port *port;

	/* Who has the lock may deliver to it; nobody else looks at it. */
	pthread_mutex_lock(&gsi.lock);
	port = gsi_port_find(qp->session);
	if (port && port->qp == qp) {
		port->qp = NULL;
		gsi_port_put(port);
	}
	pthread_mutex_unlock(&gsi.lock);
	g_free(qp->fabric);
	qp->fabric = NULL;
}

/* IB vol 1, 10.3.1, without SQD; the same state again changes attributes. */
static bool gsi_may_become(enum ibv_qp_state from, enum ibv_qp_state to)
{
	switch (to) {
	case IBV_QPS_RESET:
	case IBV_QPS_ERR:
		return true;
	case IBV_QPS_INIT:
		return from == IBV_QPS_RESET || from == IBV_QPS_INIT;
	case IBV_QPS_RTR:
		return from == IBV_QPS_INIT;
	case IBV_QPS_RTS:
		return from == IBV_QPS_RTR || from == IBV_QPS_RTS ||
		       from == IBV_QPS_SQE;
	default:
		return false;
	}
}

/* Both rings begin anew, and nothing of before is delivered. */
static void gsi_reset(struct qp *qp)
{
	struct gsi *own = qp->fabric;

	pthread_mutex_lock(&qp->rq_lock);
	work_queue_reset(&qp->sq);
	work_queue_reset(&qp->rq);
	atomic_store(&own->failed, false);
	pthread_mutex_unlock(&qp->rq_lock);
	memset(&own->attr, 0, sizeof(own->attr));
}

#define GSI_MODIFY_MASK	(IBV_QP_STATE | IBV_QP_CUR_STATE | IBV_QP_PKEY_INDEX | \
			 IBV_QP_PORT | IBV_QP_QKEY | IBV_QP_SQ_PSN)

int gsi_qp_modify(struct qp *qp, uint32_t attr_mask,
		  const struct pvhca_qp_attr *attr)
{
	enum ibv_qp_state state = atomic_load(&qp->state);
	struct gsi *own = qp->fabric;

	if (attr_mask & ~(uint32_t)GSI_MODIFY_MASK)
		return PVHCA_ST_INVALID;
	if (atomic_load(&own->failed))
		state = IBV_QPS_ERR;
	if (attr_mask & IBV_QP_CUR_STATE && attr->cur_qp_state != state)
		return PVHCA_ST_INVALID;
	if (attr_mask & IBV_QP_STATE && !gsi_may_become(state, attr->qp_state))
		return PVHCA_ST_INVALID;

	if (attr_mask & IBV_QP_STATE) {
		gsi_set_state(qp, attr->qp_state);
		if (attr->qp_state == IBV_QPS_RESET)
			gsi_reset(qp);
	}
	if (attr_mask & IBV_QP_PKEY_INDEX)
		own->attr.pkey_index = attr->pkey_index;
	if (attr_mask & IBV_QP_QKEY)
		own->attr.qkey = attr->qkey;
	if (attr_mask & IBV_QP_SQ_PSN)
		own->attr.sq_psn = attr->sq_psn;
	return PVHCA_ST_OK;
}

int gsi_qp_query(struct qp *qp, uint32_t attr_mask, struct pvhca_qp_attr *attr)
{
	struct gsi *own = qp->fabric;

	(void)attr_mask;
	*attr = own->attr;
	attr->qp_state = atomic_load(&own->failed) ? IBV_QPS_ERR :
		atomic_load(&qp->state);
	attr->cur_qp_state = attr->qp_state;
	attr->port_num = 1;
	attr->cap = qp->cap;
	return PVHCA_ST_OK;
}
