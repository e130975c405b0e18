// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets: out of the sender's memory, into the receiver's.
 *
 * Who gets a receive: while half of the queue is posted, anybody. With less, a sender only as
 * long as it took fewer of the latest receives than are still posted. So one that floods leaves
 * half of the queue alone, k of them together about one k-th, and one that sends little finds
 * room as long as there is any. "Latest" is about as many as the queue holds: the counts are
 * halved whenever they have come that far.
 */
#include <endian.h>
#include <string.h>

#include <urcu-qsbr.h>

#include "lib/counters.h"
#include "memory/memory.h"
#include "net/private.h"

/* --------------------------------- memory ---------------------------------- */

/* A place in a list of SGEs, of a guest's RAM. */
struct cursor {
	struct memory *memory;
	const struct ibv_sge *sge;
	unsigned int left;
	uint64_t at; /* bytes of the first SGE that are done */
};

/* The next piece of RAM, not longer than want: its address and length. False: there is none. */
static bool cursor_next(struct cursor *cursor, uint64_t want, uint64_t *gpa, uint64_t *n)
{
	while (cursor->left && cursor->at >= cursor->sge->length) {
		cursor->sge++;
		cursor->left--;
		cursor->at = 0;
	}
	if (!cursor->left || cursor->sge->lkey != PVHCA_LKEY_DMA)
		return false;
	*gpa = cursor->sge->addr + cursor->at;
	*n = cursor->sge->length - cursor->at;
	if (*n > want)
		*n = want;
	cursor->at += *n;
	return true;
}

static bool cursor_read(struct cursor *cursor, uint8_t *to, uint64_t length)
{
	uint64_t gpa, n;

	for (; length; to += n, length -= n)
		if (!cursor_next(cursor, length, &gpa, &n) ||
		    memory_read(cursor->memory, gpa, to, n))
			return false;
	return true;
}

static bool cursor_write(struct cursor *cursor, const uint8_t *from, uint64_t length)
{
	uint64_t gpa, n;

	for (; length; from += n, length -= n)
		if (!cursor_next(cursor, length, &gpa, &n) ||
		    memory_write(cursor->memory, gpa, from, n))
			return false;
	return true;
}

/* The beginning of guest-physical [gpa, gpa + *n) that lies in one region, or in one granule. */
static const uint8_t *resolve_some(struct memory *memory, uint64_t gpa, uint64_t *n,
				   struct region **region)
{
	const uint8_t *at = memory_resolve(memory, gpa, *n, region);
	uint64_t rest = PVHCA_GRANULE - (gpa & (PVHCA_GRANULE - 1));

	if (at || *n <= rest)
		return at;
	*n = rest;
	return memory_resolve(memory, gpa, rest, region);
}

bool net_read_head(struct net_load *load)
{
	struct cursor from = { load->vm->memory, load->sge, load->num_sge, 0 };
	struct packet *packet = &load->packet;

	if (!load->data)
		return cursor_read(&from, packet->head, packet->head_len);
	memcpy(packet->head, load->data, packet->head_len);
	return true;
}

/* What follows the head, from RAM to RAM. */
static enum net_delivery copy_rest(const struct net_load *load, struct cursor *to)
{
	struct cursor from = { load->vm->memory, load->sge, load->num_sge, 0 };
	uint64_t skip = load->rest, left = load->packet.length - load->packet.head_len;
	uint64_t gpa, n, done;
	struct region *region;
	const uint8_t *at;
	bool ok;

	for (; skip; skip -= n)
		if (!cursor_next(&from, skip, &gpa, &n))
			return NET_BAD;
	for (; left; left -= n) {
		if (!cursor_next(&from, left, &gpa, &n))
			return NET_BAD;
		for (done = 0; done < n;) {
			uint64_t some = n - done;

			at = resolve_some(load->vm->memory, gpa + done, &some, &region);
			if (!at)
				return NET_BAD;
			ok = cursor_write(to, at, some);
			memory_region_put(region);
			if (!ok)
				return NET_NOBODY;
			done += some;
		}
	}
	return NET_DELIVERED;
}

/* NET_DELIVERED, NET_BAD, or NET_NOBODY: the receiver's memory is no RAM. */
static enum net_delivery copy_packet(const struct net_load *load, struct cursor *to)
{
	const struct packet *packet = &load->packet;
	const uint32_t rest = packet->length - packet->head_len;

	/* The head was checked, and may have changed in the sender's RAM. */
	if (!cursor_write(to, packet->head, packet->head_len))
		return NET_NOBODY;
	if (!load->data)
		return copy_rest(load, to);
	return cursor_write(to, load->data + load->rest, rest) ? NET_DELIVERED : NET_NOBODY;
}

/* --------------------------------- receives -------------------------------- */

static bool may_take(const struct net *own, const struct work_queue *rq, uint32_t posted,
		     const struct vm *sender)
{
	return posted >= rq->entries / 2 || own->recent[sender->id % NET_SENDERS] < posted;
}

static void took(struct net *own, const struct work_queue *rq, const struct vm *sender)
{
	own->recent[sender->id % NET_SENDERS]++;
	if (++own->recent_total < rq->entries)
		return;
	own->recent_total = 0;
	for (unsigned int i = 0; i < NET_SENDERS; i++) {
		own->recent[i] /= 2;
		own->recent_total += own->recent[i];
	}
}

/* The entry at rq.ci is used up. False: its completion found no place. */
static bool receive_done(struct pass *pass, struct qp *qp, const struct recv_request *receive,
			 struct pvhca_cqe *cqe)
{
	qp->rq.ci++;
	cqe->opcode = PVHCA_CQE_RECV;
	cqe->wqe_index = htole16(receive->tag);
	counter_add(&qp->vm->counters.receives, 1);
	return net_complete(pass, qp, cqe);
}

/* An entry that no packet can be put into. With rq_lock held. */
static enum net_delivery receive_fails(struct pass *pass, struct qp *qp,
				       const struct recv_request *receive,
				       enum ibv_wc_status status)
{
	struct pvhca_cqe cqe = { .status = status };

	if (receive_done(pass, qp, receive, &cqe))
		net_fail(qp);
	else
		net_abused(qp);
	return NET_NOBODY;
}

/* The receiver's MTU, as a receive tells it. */
static uint32_t mtu_of(const struct net *own, const struct recv_request *receive,
		       const struct ibv_sge *sge)
{
	uint64_t mtu = receive->length;

	if (own->tso && receive->num_sge)
		mtu = sge[0].length;
	return mtu < PACKET_MAX ? mtu : PACKET_MAX;
}

/* NET_DELIVERED: it can be. */
static enum net_delivery fit(const struct net *own, const struct recv_request *receive,
			     const struct packet *packet, uint32_t mtu)
{
	if (!packet->segment)
		return packet->length > mtu ? NET_TOO_BIG : NET_DELIVERED;
	if (packet->headers_len + packet->segment > mtu)
		return NET_TOO_BIG;
	return own->tso && packet->length <= receive->length ? NET_DELIVERED : NET_CUT;
}

/* With rq_lock held. */
static enum net_delivery deliver_locked(struct pass *pass, struct qp *qp, uint16_t vlan,
					const struct net_load *load, uint32_t *mtu)
{
	struct pvhca_cqe cqe = {
		.byte_len = htole32(load->packet.length),
		.src_qp = htole32(load->checksum),
		.pkey_index = htole16(load->packet.segment),
	};
	struct ibv_sge sge[PVHCA_NET_MAX_SGE];
	struct net *own = qp->fabric;
	struct recv_request receive;
	enum net_delivery delivery;
	enum ibv_wc_status status;
	struct cursor to;
	uint32_t posted;

	if (atomic_load(&own->failed) || atomic_load(&qp->state) != IBV_QPS_RTS)
		return NET_NOBODY;
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX) {
		net_abused(qp);
		return NET_NOBODY;
	}
	if (!posted || !may_take(own, &qp->rq, posted, load->vm))
		return NET_FULL;
	status = work_queue_take_recv(&qp->rq, qp->rq.ci, &receive, sge);
	if (!status) {
		*mtu = mtu_of(own, &receive, sge);
		if (*mtu < PVHCA_NET_MIN_MTU)
			status = IBV_WC_LOC_LEN_ERR;
	}
	if (status)
		return receive_fails(pass, qp, &receive, status);
	delivery = fit(own, &receive, &load->packet, *mtu);
	if (delivery != NET_DELIVERED)
		return delivery;
	to = (struct cursor){ qp->vm->memory, sge, receive.num_sge, 0 };
	delivery = copy_packet(load, &to);
	if (delivery == NET_NOBODY)
		return receive_fails(pass, qp, &receive, IBV_WC_LOC_PROT_ERR);
	if (delivery != NET_DELIVERED)
		return delivery;
	if (vlan != PVHCA_NO_VLAN) {
		cqe.inv_rkey = htole32(vlan);
		cqe.flags = PVHCA_CQE_F_VLAN;
	}
	took(own, &qp->rq, load->vm);
	if (!receive_done(pass, qp, &receive, &cqe)) {
		net_abused(qp);
		return NET_NOBODY;
	}
	return NET_DELIVERED;
}

enum net_delivery net_deliver(struct pass *pass, struct vm *to, uint16_t vlan,
			      const struct net_load *load, uint32_t *mtu)
{
	struct qp *qp = rcu_dereference(to->net_qp);
	enum net_delivery delivery;

	if (!qp)
		return NET_NOBODY;
	pthread_mutex_lock(&qp->rq_lock);
	delivery = deliver_locked(pass, qp, vlan, load, mtu);
	pthread_mutex_unlock(&qp->rq_lock);
	if (delivery == NET_DELIVERED) {
		counter_add(&to->counters.packets_received, 1);
		pass_copied(pass, load->packet.length);
	} else if (delivery == NET_FULL) {
		counter_add(&to->counters.packets_lost, 1);
	}
	return delivery;
}

unsigned int net_flush_receives(struct pass *pass, struct qp *qp)
{
	struct ibv_sge sge[PVHCA_NET_MAX_SGE];
	struct recv_request receive;
	unsigned int taken = 0;
	bool ok = true;
	uint32_t posted;

	pthread_mutex_lock(&qp->rq_lock);
	posted = work_queue_posted(&qp->rq);
	if (posted == UINT32_MAX)
		ok = false;
	for (; ok && posted && taken < NET_BATCH && pass_goes_on(pass); posted--, taken++) {
		struct pvhca_cqe cqe = { .status = IBV_WC_WR_FLUSH_ERR };

		pass_spend(pass, PASS_ENTRY_NS);
		(void)work_queue_take_recv(&qp->rq, qp->rq.ci, &receive, sge);
		ok = receive_done(pass, qp, &receive, &cqe);
	}
	pthread_mutex_unlock(&qp->rq_lock);
	if (!ok) {
		((struct net *)qp->fabric)->broken = true;
		net_abused(qp);
	} else if (posted) {
		context_again(qp->context, qp->slot);
	}
	return taken;
}
