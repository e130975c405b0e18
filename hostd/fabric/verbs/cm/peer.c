// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What librdmacm says: its events, turned into CM messages for the guest.
 */
#include <netinet/in.h>

#include "lib/address.h"
#include "fabric/verbs/cm/private.h"

#define EVENTS_PER_WAKE 32u

/* What the messages say where the host's CM does not tell; codes of vol 1, 12.7. */
#define CM_TIMEOUT 20 /* 4 s */
#define CM_RETRIES 15
#define HOP_LIMIT  64
#define FULL_PKEY  0xffff

/* A copy of an event: acknowledged before it is handled, so that ids may end. */
struct cm_event {
	enum rdma_cm_event_type type;
	int status;
	struct rdma_cm_id *id;
	struct rdma_conn_param conn; /* RC */
	uint32_t qpn, qkey;	     /* UD */
	unsigned int length;
	uint8_t private_data[256];
};

/* ------------------------------- active side ------------------------------- */

static void cm_address_resolved(struct cm_conn *conn)
{
	if (rdma_resolve_route(conn->rdma, 4000))
		cm_conn_refuse(conn, MAD_ABOUT_REQ, MAD_REASON_BAD_GID, NULL, 0);
}

static void cm_route_resolved(struct cm_conn *conn)
{
	if (rdma_connect(conn->rdma, &conn->asked.param))
		cm_conn_refuse(conn, MAD_ABOUT_REQ, MAD_REASON_UNSUPPORTED, NULL, 0);
	else
		cm_conn_set_state(conn, CM_ASKING);
}

static bool cm_attr(struct rdma_cm_id *id, enum ibv_qp_state state, struct ibv_qp_attr *attr)
{
	int mask = 0;

	memset(attr, 0, sizeof(*attr));
	attr->qp_state = state;
	return !rdma_init_qp_attr(id, attr, &mask);
}

static void cm_answered(struct cm_conn *conn, const struct cm_event *event)
{
	const struct rdma_conn_param *param = &event->conn;
	struct ibv_qp_attr rtr, rts;
	struct mad *rep = &conn->said;

	if (!cm_attr(conn->rdma, IBV_QPS_RTR, &rtr) || !cm_attr(conn->rdma, IBV_QPS_RTS, &rts)) {
		rdma_reject(conn->rdma, NULL, 0);
		cm_conn_refuse(conn, MAD_ABOUT_REQ, MAD_REASON_NO_RESOURCES, NULL, 0);
		return;
	}
	cm_terms_learn(conn, param->qp_num, &rtr);

	cm_conn_message(conn, MAD_REP);
	mad_set(rep, REP_QPN, param->qp_num);
	mad_set(rep, REP_PSN, rts.sq_psn);
	/* The event is in the receiver's terms, the message in its sender's. */
	mad_set(rep, REP_RESPONDER, param->initiator_depth);
	mad_set(rep, REP_INITIATOR, param->responder_resources);
	mad_set(rep, REP_FLOW_CONTROL, param->flow_control);
	mad_set(rep, REP_RNR_RETRY, param->rnr_retry_count);
	mad_set(rep, REP_SRQ, param->srq);
	mad_set(rep, REP_CA_GUID, cm_peer_guid(conn->peer));
	mad_set_private(rep, REP_PRIVATE, REP_PRIVATE_LEN, event->private_data, event->length);
	cm_conn_set_state(conn, CM_ANSWERED);
	cm_conn_say(conn);
}

static void cm_sidr_answered(struct cm_conn *conn, const struct cm_event *event, uint32_t status)
{
	struct mad *rep = &conn->said;

	cm_conn_message(conn, MAD_SIDR_REP);
	mad_set(rep, SIDR_REP_STATUS, status);
	mad_set(rep, SIDR_REP_SERVICE_ID, conn->asked.service_id);
	if (!status) {
		mad_set(rep, SIDR_REP_QPN, event->qpn);
		mad_set(rep, SIDR_REP_QKEY, event->qkey);
	}
	mad_set_private(rep, SIDR_REP_PRIVATE, SIDR_REP_PRIVATE_LEN, event->private_data,
			event->length);
	cm_conn_over(conn);
}

/* ------------------------------- passive side ------------------------------ */

static bool cm_ip_request(struct cm_listener *listener, struct rdma_cm_id *id,
			  struct ip_cm_request *ip)
{
	*ip = (struct ip_cm_request){
		.protocol = listener->ud ? IP_CM_UDP : IP_CM_TCP,
		.port = listener->port,
		.source_port = ntohs(rdma_get_dst_port(id)),
	};
	memcpy(ip->destination, listener->gid, sizeof(ip->destination));
	if (!cm_sockaddr_gid(rdma_get_peer_addr(id), ip->source))
		return false;
	config_route_back(listener->cv->vm->config, ip->source, ip->source);
	if (address_is_ipv4(ip->source) != address_is_ipv4(ip->destination))
		return false;
	if (memcmp(ip->source, ip->destination, sizeof(ip->source)))
		return true;
	/* The guest would answer itself. */
	vm_warning(
		listener->cv->vm,
		"a program of the host connects to the VM from the VM's own address; it must bind its end to another one of the host's");
	return false;
}

static void cm_build_sidr_req(struct cm_conn *conn, const struct ip_cm_request *ip,
			      const struct cm_event *event)
{
	uint8_t *private_data;
	struct mad *req = &conn->said;

	cm_conn_message(conn, MAD_SIDR_REQ);
	mad_set(req, SIDR_REQ_PKEY, FULL_PKEY);
	mad_set(req, SIDR_REQ_SERVICE_ID, mad_ip_cm_service_id(ip));
	private_data = req->bytes + MAD_HEADER_LEN + SIDR_REQ_PRIVATE;
	mad_ip_cm_build(ip, private_data);
	mad_set_private(req, SIDR_REQ_PRIVATE + IP_CM_HEADER_LEN,
			SIDR_REQ_PRIVATE_LEN - IP_CM_HEADER_LEN, event->private_data,
			event->length);
}

static void cm_build_req(struct cm_conn *conn, const struct ip_cm_request *ip,
			 const struct cm_event *event, const struct ibv_qp_attr *rtr,
			 const struct ibv_qp_attr *rts)
{
	const struct rdma_conn_param *param = &event->conn;
	struct mad *req = &conn->said;
	uint8_t *data = req->bytes + MAD_HEADER_LEN;

	cm_conn_message(conn, MAD_REQ);
	mad_set(req, REQ_SERVICE_ID, mad_ip_cm_service_id(ip));
	mad_set(req, REQ_CA_GUID, cm_peer_guid(conn->peer));
	mad_set(req, REQ_QPN, param->qp_num);
	/* As in cm_answered(). */
	mad_set(req, REQ_RESPONDER, param->initiator_depth);
	mad_set(req, REQ_INITIATOR, param->responder_resources);
	mad_set(req, REQ_REMOTE_TIMEOUT, CM_TIMEOUT);
	mad_set(req, REQ_LOCAL_TIMEOUT, CM_TIMEOUT);
	mad_set(req, REQ_CM_RETRIES, CM_RETRIES);
	mad_set(req, REQ_FLOW_CONTROL, param->flow_control);
	mad_set(req, REQ_PSN, rts->sq_psn);
	mad_set(req, REQ_RETRY_COUNT, param->retry_count);
	mad_set(req, REQ_RNR_RETRY, param->rnr_retry_count);
	mad_set(req, REQ_SRQ, param->srq);
	mad_set(req, REQ_PKEY, FULL_PKEY);
	mad_set(req, REQ_MTU, rtr->path_mtu);
	mad_set(req, REQ_RATE, rtr->ah_attr.static_rate);
	mad_set(req, REQ_TRAFFIC_CLASS, rtr->ah_attr.grh.traffic_class);
	mad_set(req, REQ_HOP_LIMIT, HOP_LIMIT);
	mad_set(req, REQ_SL, rtr->ah_attr.sl);
	mad_set(req, REQ_ACK_TIMEOUT, rts->timeout);
	memcpy(data + REQ_LOCAL_GID, conn->peer, sizeof(conn->peer));
	memcpy(data + REQ_REMOTE_GID, conn->own, sizeof(conn->own));
	mad_ip_cm_build(ip, data + REQ_PRIVATE);
	mad_set_private(req, REQ_PRIVATE + IP_CM_HEADER_LEN, REQ_PRIVATE_LEN - IP_CM_HEADER_LEN,
			event->private_data, event->length);
}

/* A peer asks at a port of a guest's. False: refused, and the id is still there. */
static bool cm_ask_guest(struct cm_listener *listener, const struct cm_event *event)
{
	struct ibv_qp_attr rtr, rts;
	struct ip_cm_request ip;
	struct cm_conn *conn;

	if (!cm_ip_request(listener, event->id, &ip))
		return false;
	if (!listener->ud &&
	    (!cm_attr(event->id, IBV_QPS_RTR, &rtr) || !cm_attr(event->id, IBV_QPS_RTS, &rts)))
		return false;
	conn = cm_conn_new(listener->cv, ip.destination, ip.source);
	if (!conn)
		return false;
	conn->rdma = event->id;
	conn->rdma->context = conn;
	conn->ud = listener->ud;
	if (conn->ud) {
		cm_build_sidr_req(conn, &ip, event);
	} else {
		cm_terms_learn(conn, event->conn.qp_num, &rtr);
		cm_build_req(conn, &ip, event, &rtr, &rts);
	}
	cm_conn_set_state(conn, CM_ASKED);
	cm_conn_say(conn);
	return true;
}

static void cm_on_request(struct cm_listener *listener, const struct cm_event *event)
{
	if (cm_ask_guest(listener, event))
		return;
	rdma_reject(event->id, NULL, 0);
	rdma_destroy_id(event->id);
}

/* ----------------------------------- both ---------------------------------- */

static void cm_on_established(struct cm_conn *conn, const struct cm_event *event)
{
	if (conn->active && conn->ud) {
		cm_sidr_answered(conn, event, MAD_SIDR_OK);
	} else if (conn->state == CM_ACCEPTED) {
		cm_conn_message(conn, MAD_RTU);
		cm_conn_set_state(conn, CM_ESTABLISHED);
		cm_conn_say(conn);
	}
}

static void cm_on_unreachable(struct cm_conn *conn, const struct cm_event *event)
{
	/* A status above 0 is what the peer's SIDR_REP says. */
	if (conn->active && conn->ud && event->status > 0) {
		cm_sidr_answered(conn, event, event->status);
	} else if (conn->active) {
		/* Nobody answered; the guest's CM hears nothing, too. */
		conn->has_said = false;
		cm_conn_over(conn);
	} else {
		cm_conn_refuse(conn, MAD_ABOUT_REP, MAD_REASON_TIMEOUT, NULL, 0);
	}
}

static void cm_on_disconnected(struct cm_conn *conn)
{
	if (conn->state == CM_LEAVING) {
		cm_conn_message(conn, MAD_DREP);
		cm_conn_over(conn);
		return;
	}
	if (conn->state != CM_ESTABLISHED && conn->state != CM_ACCEPTED &&
	    conn->state != CM_ANSWERED)
		return;
	/* That answers the peer. */
	rdma_disconnect(conn->rdma);
	cm_conn_leave(conn);
}

static void cm_on_removal(struct cm_conn *conn)
{
	switch (conn->state) {
	case CM_RESOLVING:
	case CM_ASKING:
		cm_conn_refuse(conn, MAD_ABOUT_REQ, MAD_REASON_NO_RESOURCES, NULL, 0);
		break;
	case CM_ASKED:
		cm_conn_drop(conn);
		break;
	default:
		cm_on_disconnected(conn);
		break;
	}
}

static void cm_on_conn_event(struct cm_conn *conn, const struct cm_event *event)
{
	/* Of an id that has come to its end nothing is heard any more. */
	switch (event->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		cm_address_resolved(conn);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		cm_route_resolved(conn);
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		cm_conn_refuse(conn, MAD_ABOUT_REQ, MAD_REASON_BAD_GID, NULL, 0);
		break;
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
		cm_answered(conn, event);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		cm_on_established(conn, event);
		break;
	case RDMA_CM_EVENT_UNREACHABLE:
		cm_on_unreachable(conn, event);
		break;
	case RDMA_CM_EVENT_CONNECT_ERROR:
		cm_conn_refuse(conn, conn->active ? MAD_ABOUT_REQ : MAD_ABOUT_REP,
			       MAD_REASON_NO_RESOURCES, NULL, 0);
		break;
	case RDMA_CM_EVENT_REJECTED:
		cm_conn_refuse(conn, conn->active ? MAD_ABOUT_REQ : MAD_ABOUT_REP, event->status,
			       event->private_data, event->length);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		cm_on_disconnected(conn);
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		cm_on_removal(conn);
		break;
	default:
		break;
	}
}

/* ---------------------------------- dispatch ------------------------------- */

static void cm_copy_private(struct cm_event *event, const void *data, unsigned int length)
{
	if (!data)
		return;
	event->length = length < sizeof(event->private_data) ? length : sizeof(event->private_data);
	memcpy(event->private_data, data, event->length);
}

static void cm_copy_event(struct cm_event *to, const struct rdma_cm_event *from)
{
	memset(to, 0, sizeof(*to));
	to->type = from->event;
	to->status = from->status;
	to->id = from->id;
	if (from->id->ps == RDMA_PS_UDP) {
		to->qpn = from->param.ud.qp_num;
		to->qkey = from->param.ud.qkey;
		cm_copy_private(to, from->param.ud.private_data, from->param.ud.private_data_len);
		return;
	}
	to->conn = from->param.conn;
	cm_copy_private(to, from->param.conn.private_data, from->param.conn.private_data_len);
}

bool cm_peer_events(struct rdma_event_channel *channel)
{
	struct cm_listener *listener;
	struct rdma_cm_event *raw;
	struct cm_event event;

	for (unsigned int i = 0; i < EVENTS_PER_WAKE; i++) {
		if (rdma_get_cm_event(channel, &raw))
			return true;
		cm_copy_event(&event, raw);
		listener = raw->listen_id ? raw->listen_id->context : NULL;
		rdma_ack_cm_event(raw);

		if (event.type == RDMA_CM_EVENT_CONNECT_REQUEST)
			cm_on_request(listener, &event);
		else if (event.id->context && *(enum cm_kind *)event.id->context == CM_CONN)
			cm_on_conn_event(event.id->context, &event);
	}
	return false;
}
