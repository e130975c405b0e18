// SPDX-License-Identifier: GPL-2.0-or-later
/* Guests' packets: checked, and sent to the VM that has the destination, or answered. */
#include <endian.h>
#include <string.h>

#include "lib/counters.h"
#include "net/private.h"

/* The sender gets an ICMP error. If it has no receive for it, it is lost. */
static void answer(struct pass *pass, const struct net_load *load, enum packet_answer why,
		   uint32_t mtu)
{
	struct net_load error = { .vm = load->vm };
	uint8_t bytes[PACKET_ANSWER];
	uint32_t length;

	pass_spend(pass, PASS_MAD_NS);
	counter_add(&load->vm->counters.packets_refused, 1);
	length = packet_answer(&load->packet, why, mtu, bytes);
	if (!length)
		return;
	error.data = bytes;
	error.packet.length = length;
	error.packet.head_len = length < PACKET_HEAD ? length : PACKET_HEAD;
	error.rest = error.packet.head_len;
	(void)net_read_head(&error);
	(void)net_deliver(pass, load->vm, PVHCA_NO_VLAN, &error, &mtu);
}

/*
 * The packets that one stands for, one by one, at least one and as many as the turn allows. Some
 * of them may be lost.
 */
static enum net_delivery deliver_pieces(struct pass *pass, struct net_load *load, struct vm *to,
					uint16_t vlan, uint32_t *mtu)
{
	const uint32_t pieces = packet_pieces(&load->packet);
	struct net_load piece = *load;
	enum net_delivery delivery;

	do {
		piece.rest = packet_cut(&load->packet, load->next_piece++, &piece.packet);
		pass_spend(pass, PASS_ENTRY_NS);
		delivery = net_deliver(pass, to, vlan, &piece, mtu);
		if (delivery != NET_DELIVERED && delivery != NET_FULL)
			return delivery;
		if (load->next_piece == pieces)
			return NET_DELIVERED;
	} while (pass_goes_on(pass));
	return NET_LATER;
}

static enum net_delivery deliver(struct pass *pass, struct net_load *load, struct vm *to,
				 uint16_t vlan, uint32_t *mtu)
{
	enum net_delivery delivery = NET_CUT;

	/* The guest may have written another packet there meanwhile. */
	if (load->next_piece >= packet_pieces(&load->packet))
		load->next_piece = 0;
	if (!load->next_piece)
		delivery = net_deliver(pass, to, vlan, load, mtu);
	return delivery == NET_CUT ? deliver_pieces(pass, load, to, vlan, mtu) : delivery;
}

/* NET_DELIVERED: it is done, in one way or another. Or else NET_BAD, NET_LATER. */
static enum net_delivery route(struct pass *pass, struct net_load *load)
{
	enum net_delivery delivery = NET_NOBODY;
	uint16_t vlan = PVHCA_NO_VLAN;
	uint32_t mtu = 0;
	struct vm *to;

	if (packet_is_for_many(&load->packet)) {
		counter_add(&load->vm->counters.packets_refused, 1);
		return NET_DELIVERED;
	}
	if (!net_owns(load->vm, load->packet.source)) {
		answer(pass, load, PACKET_PROHIBITED, 0);
		return NET_DELIVERED;
	}
	to = net_route(load->vm, load->packet.destination, &vlan);
	if (to)
		delivery = deliver(pass, load, to, vlan, &mtu);
	switch (delivery) {
	case NET_DELIVERED:
		counter_add(&load->vm->counters.packets_sent, 1);
		counter_add(&load->vm->counters.packet_bytes_sent, load->packet.length);
		return NET_DELIVERED;
	case NET_FULL:
		return NET_DELIVERED;
	case NET_NOBODY:
		answer(pass, load, PACKET_UNREACHABLE, 0);
		return NET_DELIVERED;
	case NET_TOO_BIG:
		answer(pass, load, PACKET_TOO_BIG, mtu);
		return NET_DELIVERED;
	default:
		return delivery;
	}
}

/* Its head makes sense, and so does what the entry says about it. */
static bool is_valid(struct net_load *load, uint32_t segment)
{
	struct packet *packet = &load->packet;

	return packet_parse(packet) && packet_checksum_is_valid(packet, load->checksum) &&
		(!segment || packet_set_segment(packet, load->checksum, segment));
}

/* One entry, checked. Packets that make no sense are dropped; entries that do not are errors. */
static enum ibv_wc_status send_packet(struct pass *pass, struct qp *qp, struct net_load *load,
				      const struct send_request *request)
{
	struct packet *packet = &load->packet;
	struct net *own = qp->fabric;
	enum net_delivery delivery;

	load->next_piece = own->next_piece;
	own->next_piece = 0;
	if (request->length > PACKET_MAX)
		return IBV_WC_LOC_LEN_ERR;
	packet->length = request->length;
	packet->head_len = packet->length < PACKET_HEAD ? packet->length : PACKET_HEAD;
	load->checksum = request->remote_qpn;
	if (!net_read_head(load))
		return IBV_WC_LOC_PROT_ERR;
	if (!is_valid(load, own->tso ? request->remote_qkey : 0)) {
		counter_add(&load->vm->counters.packets_refused, 1);
		return IBV_WC_SUCCESS;
	}
	load->rest = packet->head_len;
	delivery = route(pass, load);
	if (delivery == NET_LATER)
		own->next_piece = load->next_piece;
	return delivery == NET_BAD ? IBV_WC_LOC_PROT_ERR : IBV_WC_SUCCESS;
}

/* False: the completion found no place, the QP is stopped. */
static bool send_done(struct pass *pass, struct qp *qp, const struct send_request *request,
		      enum ibv_wc_status status)
{
	struct pvhca_cqe cqe = {
		.wqe_index = htole16(request->index),
		.opcode = PVHCA_CQE_SEND,
		.status = status,
	};
	struct net *own = qp->fabric;

	qp->sq.ci++;
	own->next_piece = 0;
	counter_add(&qp->vm->counters.messages, 1);
	if (!status && !(request->flags & PVHCA_WQE_F_SIGNALED) &&
	    !(qp->flags & PVHCA_CREATE_QP_SIG_ALL))
		return true;
	if (net_complete(pass, qp, &cqe))
		return true;
	own->broken = true;
	net_abused(qp);
	return false;
}

/*
 * Serve, or flush, one entry of the send queue. False: as send_done(). With own->next_piece the
 * entry is still there.
 */
static bool serve_send(struct pass *pass, struct qp *qp)
{
	struct net *own = qp->fabric;
	struct net_load load = { .vm = qp->vm };
	struct send_request request;
	enum ibv_wc_status status;

	status = work_queue_take_send(&qp->sq, qp->sq.ci, 1u << PVHCA_WQE_SEND, &request, load.sge,
				      own->inline_data);
	if (atomic_load(&qp->state) == IBV_QPS_ERR)
		return send_done(pass, qp, &request, IBV_WC_WR_FLUSH_ERR);
	if (!status) {
		if (request.flags & PVHCA_WQE_F_INLINE)
			load.data = own->inline_data;
		load.num_sge = request.num_sge;
		if (!own->next_piece) {
			pass_rate_messages(pass, 1);
			pass_rate_bytes(pass, request.length);
		}
		status = send_packet(pass, qp, &load, &request);
		if (own->next_piece)
			return true;
	}
	if (status)
		net_fail(qp);
	return send_done(pass, qp, &request, status);
}

unsigned int net_serve_sends(struct pass *pass, struct qp *qp)
{
	uint32_t posted = work_queue_posted(&qp->sq);
	struct net *own = qp->fabric;
	unsigned int taken = 0;

	if (posted == UINT32_MAX) {
		own->broken = true;
		net_abused(qp);
		return 0;
	}
	for (; posted && taken < NET_BATCH && pass_goes_on(pass); posted--, taken++) {
		if (!pass_may_send(pass))
			break;
		pass_spend(pass, PASS_ENTRY_NS);
		if (!serve_send(pass, qp))
			return taken + 1;
		if (own->next_piece) {
			taken++;
			break;
		}
		/* From here on they are flushed. */
		if (atomic_load(&own->failed) && atomic_load(&qp->state) != IBV_QPS_ERR)
			return taken + 1;
	}
	if (posted)
		context_again(qp->context, qp->slot);
	return taken;
}
