// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What guests say: each of their CM messages, turned into a call of librdmacm.
 * Messages may come twice, late, or make no sense; what does not fit the state of
 * its connection is answered as before, or not at all.
 */
#include <errno.h>
#include <netinet/in.h>

#include "fabric/verbs/cm/private.h"
#include "gsi/gsi.h"

#define RESOLVE_MS 4000

/* ------------------------------ requests (active) -------------------------- */

/* An answer to a request that became no connection. */
static void cm_refuse_request(struct cm_vm *cv, const uint8_t own[16], const uint8_t peer[16],
			      const struct mad *request, uint32_t reason)
{
	bool ud = mad_get(request, MAD_ATTRIBUTE) == MAD_SIDR_REQ;
	struct mad answer;

	mad_init(&answer, ud ? MAD_SIDR_REP : MAD_REJ, mad_get(request, MAD_TID));
	if (ud) {
		mad_set(&answer, SIDR_REP_ID, mad_get(request, SIDR_REQ_ID));
		mad_set(&answer, SIDR_REP_STATUS,
			reason == MAD_REASON_BAD_SERVICE_ID ? MAD_SIDR_UNSUPPORTED :
							      MAD_SIDR_REJECTED);
	} else {
		mad_set(&answer, MAD_REMOTE_ID, mad_get(request, MAD_LOCAL_ID));
		mad_set(&answer, REJ_MESSAGE, MAD_ABOUT_REQ);
		mad_set(&answer, REJ_REASON, reason);
	}
	gsi_deliver(cv->vm, peer, own, &answer);
}

static void cm_request_read_rc(struct cm_request *asked, const struct mad *mad)
{
	asked->service_id = mad_get(mad, REQ_SERVICE_ID);
	asked->psn = mad_get(mad, REQ_PSN);
	memcpy(asked->private_data, mad_data(mad, REQ_PRIVATE), REQ_PRIVATE_LEN);
	asked->param = (struct rdma_conn_param){
		.private_data = asked->private_data + IP_CM_HEADER_LEN,
		.private_data_len = REQ_PRIVATE_LEN - IP_CM_HEADER_LEN,
		.responder_resources = mad_get(mad, REQ_RESPONDER),
		.initiator_depth = mad_get(mad, REQ_INITIATOR),
		.flow_control = mad_get(mad, REQ_FLOW_CONTROL),
		.retry_count = mad_get(mad, REQ_RETRY_COUNT),
		.rnr_retry_count = mad_get(mad, REQ_RNR_RETRY),
		.srq = mad_get(mad, REQ_SRQ),
		.qp_num = mad_get(mad, REQ_QPN),
	};
}

static void cm_request_read_ud(struct cm_request *asked, const struct mad *mad)
{
	asked->service_id = mad_get(mad, SIDR_REQ_SERVICE_ID);
	memcpy(asked->private_data, mad_data(mad, SIDR_REQ_PRIVATE), SIDR_REQ_PRIVATE_LEN);
	asked->param = (struct rdma_conn_param){
		.private_data = asked->private_data + IP_CM_HEADER_LEN,
		.private_data_len = SIDR_REQ_PRIVATE_LEN - IP_CM_HEADER_LEN,
	};
}

/* It has been asked before, in the very same words. */
static bool cm_is_repeated(const struct cm_conn *conn, const struct cm_request *asked, bool ud)
{
	return conn->active && conn->ud == ud && conn->asked.service_id == asked->service_id &&
		conn->asked.psn == asked->psn && conn->asked.param.qp_num == asked->param.qp_num;
}

/* 0, or the reason to refuse: the guest speaks for itself, in a port space of IP. */
static uint32_t cm_request_check(struct cm_vm *cv, const struct cm_request *asked,
				 const struct mad *mad, bool ud, const uint8_t own[16],
				 const uint8_t peer[16], struct ip_cm_request *ip)
{
	if (!mad_ip_cm_parse(asked->service_id, asked->private_data, ip) ||
	    ip->protocol != (ud ? IP_CM_UDP : IP_CM_TCP) || !ip->port)
		return MAD_REASON_BAD_SERVICE_ID;
	if (memcmp(ip->source, own, 16) || memcmp(ip->destination, peer, 16))
		return MAD_REASON_BAD_GID;
	if (ud)
		return 0;
	if (mad_get(mad, REQ_TRANSPORT) || mad_get(mad, REQ_EXTENDED_TRANSPORT))
		return MAD_REASON_UNSUPPORTED;
	return cm_owns_qp(cv, asked->param.qp_num) ? 0 : MAD_REASON_UNSUPPORTED;
}

/*
 * The guest's own address; its port, too, where it can be had. Other ports than those that the
 * host gives to anybody are the host's programs' to listen on: a guest is not to take them.
 */
static int cm_bind(struct cm_conn *conn, uint16_t port, const struct cm_gid *own)
{
	struct sockaddr_storage address;

	cm_sockaddr(own->host, port, own->ifindex, &address);
	if (cm_is_for_anybody(port) && !rdma_bind_addr(conn->rdma, (struct sockaddr *)&address))
		return 0;
	cm_sockaddr(own->host, 0, own->ifindex, &address);
	return rdma_bind_addr(conn->rdma, (struct sockaddr *)&address);
}

/* Begin to find the peer; the rest follows by events. 0, or the reason to refuse. */
static uint32_t cm_begin(struct cm_conn *conn, const struct ip_cm_request *ip,
			 const struct cm_gid *own)
{
	struct sockaddr_storage address;
	uint8_t host[16];

	if (rdma_create_id(cm_channel(), &conn->rdma, conn, conn->ud ? RDMA_PS_UDP : RDMA_PS_TCP)) {
		conn->rdma = NULL;
		return MAD_REASON_NO_RESOURCES;
	}
	if (cm_bind(conn, ip->source_port, own) || !cm_right_device(conn->rdma))
		return MAD_REASON_BAD_GID;
	if (!config_route(conn->cv->vm->config, conn->peer, host))
		memcpy(host, conn->peer, sizeof(host));
	cm_sockaddr(host, ip->port, own->ifindex, &address);
	if (rdma_resolve_addr(conn->rdma, NULL, (struct sockaddr *)&address, RESOLVE_MS))
		return MAD_REASON_BAD_GID;
	return 0;
}

static void cm_guest_request(struct cm_vm *cv, const uint8_t own[16], const uint8_t peer[16],
			     const struct mad *mad, bool ud)
{
	uint32_t id = mad_get(mad, ud ? SIDR_REQ_ID : MAD_LOCAL_ID);
	struct cm_conn *conn = cm_conn_find_guest(cv, id);
	struct cm_gid *gid = cm_find_gid(cv, own);
	struct ip_cm_request ip;
	struct cm_request asked = { 0 };
	uint32_t reason;

	if (ud)
		cm_request_read_ud(&asked, mad);
	else
		cm_request_read_rc(&asked, mad);
	if (conn && cm_is_repeated(conn, &asked, ud)) {
		if (conn->state == CM_ANSWERED || conn->state == CM_OVER)
			cm_conn_say(conn);
		return;
	}
	/* The guest's CM gives an id to another when it is done with the first. */
	if (conn)
		cm_conn_drop(conn);

	reason = gid ? cm_request_check(cv, &asked, mad, ud, own, peer, &ip) : MAD_REASON_BAD_GID;
	if (reason) {
		cm_refuse_request(cv, own, peer, mad, reason);
		return;
	}
	conn = cm_conn_new(cv, own, peer);
	if (!conn) {
		cm_refuse_request(cv, own, peer, mad, MAD_REASON_NO_RESOURCES);
		return;
	}
	cm_conn_set_guest_id(conn, id);
	conn->active = true;
	conn->ud = ud;
	conn->tid = mad_get(mad, MAD_TID);
	conn->asked = asked;
	conn->asked.param.private_data = conn->asked.private_data + IP_CM_HEADER_LEN;
	conn->qpn = asked.param.qp_num;
	reason = cm_begin(conn, &ip, gid);
	if (reason)
		cm_conn_refuse(conn, MAD_ABOUT_REQ, reason, NULL, 0);
	else
		cm_conn_set_state(conn, CM_RESOLVING);
}

/* ------------------------------ answers (passive) -------------------------- */

static void cm_guest_rep(struct cm_conn *conn, const struct mad *mad)
{
	struct rdma_conn_param param = {
		.private_data = mad_data(mad, REP_PRIVATE),
		.private_data_len = REP_PRIVATE_LEN,
		.responder_resources = mad_get(mad, REP_RESPONDER),
		.initiator_depth = mad_get(mad, REP_INITIATOR),
		.flow_control = mad_get(mad, REP_FLOW_CONTROL),
		.rnr_retry_count = mad_get(mad, REP_RNR_RETRY),
		.srq = mad_get(mad, REP_SRQ),
		.qp_num = mad_get(mad, REP_QPN),
	};

	if (conn->active || conn->ud)
		return;
	/* It has not heard that the connection is there. */
	if (conn->state == CM_ESTABLISHED || conn->state == CM_OVER)
		cm_conn_say(conn);
	if (conn->state != CM_ASKED)
		return;
	cm_conn_set_guest_id(conn, mad_get(mad, MAD_LOCAL_ID));
	conn->qpn = param.qp_num;
	conn->has_said = false;
	if (!cm_owns_qp(conn->cv, conn->qpn) || rdma_accept(conn->rdma, &param)) {
		rdma_reject(conn->rdma, NULL, 0);
		cm_conn_refuse(conn, MAD_ABOUT_REP, MAD_REASON_UNSUPPORTED, NULL, 0);
		return;
	}
	cm_conn_set_state(conn, CM_ACCEPTED);
}

static void cm_guest_sidr_rep(struct cm_conn *conn, const struct mad *mad)
{
	struct rdma_conn_param param = {
		.private_data = mad_data(mad, SIDR_REP_PRIVATE),
		.private_data_len = SIDR_REP_PRIVATE_LEN,
		.qp_num = mad_get(mad, SIDR_REP_QPN),
	};

	if (conn->active || !conn->ud || conn->state != CM_ASKED)
		return;
	if (mad_get(mad, SIDR_REP_STATUS) || !cm_owns_qp(conn->cv, param.qp_num) ||
	    rdma_accept(conn->rdma, &param))
		rdma_reject(conn->rdma, param.private_data, param.private_data_len);
	/* That was the whole exchange. */
	cm_conn_drop(conn);
}

static void cm_guest_rtu(struct cm_conn *conn)
{
	if (!conn->active || conn->state != CM_ANSWERED)
		return;
	conn->has_said = false;
	if (rdma_establish(conn->rdma)) {
		cm_conn_leave(conn);
		return;
	}
	cm_conn_set_state(conn, CM_ESTABLISHED);
}

/* ------------------------------------ ends --------------------------------- */

static void cm_guest_rej(struct cm_conn *conn, const struct mad *mad)
{
	switch (conn->state) {
	case CM_ANSWERED:
	case CM_ASKED:
		rdma_reject(conn->rdma, mad_data(mad, REJ_PRIVATE), REJ_PRIVATE_LEN);
		break;
	case CM_ACCEPTED:
	case CM_ESTABLISHED:
		rdma_disconnect(conn->rdma);
		break;
	default:
		break;
	}
	cm_conn_drop(conn);
}

static void cm_guest_mra(struct cm_conn *conn)
{
	if (conn->state != CM_ASKED && conn->state != CM_ANSWERED)
		return;
	conn->patient = true;
	cm_conn_set_state(conn, conn->state);
}

/* To one who is done with a connection that nobody knows. */
static void cm_answer_dreq(struct cm_vm *cv, const uint8_t own[16], const uint8_t peer[16],
			   const struct mad *mad)
{
	struct mad answer;

	mad_init(&answer, MAD_DREP, mad_get(mad, MAD_TID));
	mad_set(&answer, MAD_LOCAL_ID, mad_get(mad, MAD_REMOTE_ID));
	mad_set(&answer, MAD_REMOTE_ID, mad_get(mad, MAD_LOCAL_ID));
	gsi_deliver(cv->vm, peer, own, &answer);
}

static void cm_guest_dreq(struct cm_conn *conn, const struct mad *mad)
{
	conn->tid = mad_get(mad, MAD_TID);
	switch (conn->state) {
	case CM_ANSWERED:
	case CM_ACCEPTED:
	case CM_ESTABLISHED:
		conn->has_said = false;
		/* Its end is an event. */
		if (!rdma_disconnect(conn->rdma)) {
			cm_conn_set_state(conn, CM_LEAVING);
			return;
		}
		break;
	case CM_LEAVING:
		return;
	default:
		break;
	}
	cm_conn_message(conn, MAD_DREP);
	cm_conn_over(conn);
}

/* ---------------------------------- dispatch ------------------------------- */

/* By the id that we gave; a REJ for want of an answer knows only the guest's own. */
static struct cm_conn *cm_find(struct cm_vm *cv, const struct mad *mad, const uint8_t own[16],
			       const uint8_t peer[16])
{
	uint32_t attribute = mad_get(mad, MAD_ATTRIBUTE);
	struct cm_conn *conn;

	if (attribute == MAD_SIDR_REP) {
		conn = cm_conn_find(cv, mad_get(mad, SIDR_REP_ID));
	} else {
		conn = cm_conn_find(cv, mad_get(mad, MAD_REMOTE_ID));
		if (!conn && attribute == MAD_REJ)
			conn = cm_conn_find_guest(cv, mad_get(mad, MAD_LOCAL_ID));
	}
	if (conn && (memcmp(conn->own, own, 16) || memcmp(conn->peer, peer, 16)))
		return NULL;
	return conn;
}

void cm_guest_mad(struct cm_vm *cv, const uint8_t own[16], const uint8_t peer[16],
		  const struct mad *mad)
{
	uint32_t attribute = mad_get(mad, MAD_ATTRIBUTE);
	struct cm_conn *conn;

	if (attribute == MAD_REQ || attribute == MAD_SIDR_REQ) {
		cm_guest_request(cv, own, peer, mad, attribute == MAD_SIDR_REQ);
		return;
	}
	conn = cm_find(cv, mad, own, peer);
	if (!conn) {
		if (attribute == MAD_DREQ)
			cm_answer_dreq(cv, own, peer, mad);
		return;
	}
	switch (attribute) {
	case MAD_REP:
		cm_guest_rep(conn, mad);
		break;
	case MAD_SIDR_REP:
		cm_guest_sidr_rep(conn, mad);
		break;
	case MAD_RTU:
		cm_guest_rtu(conn);
		break;
	case MAD_REJ:
		cm_guest_rej(conn, mad);
		break;
	case MAD_MRA:
		cm_guest_mra(conn);
		break;
	case MAD_DREQ:
		cm_guest_dreq(conn, mad);
		break;
	case MAD_DREP:
		if (conn->state == CM_LEFT)
			cm_conn_drop(conn);
		break;
	default:
		break; /* paths do not migrate on RoCE */
	}
}
