// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bursts: requests as most are, many at a time.
 *
 * A plain request is short, has one piece of memory on each side, in regions that were
 * registered by command, and succeeds at once. What several of them need is found once: the
 * responder, the run of memory that a key stands for, the lock of the receive queue. Their
 * completions are written in groups.
 *
 * Each request is checked as rc.c checks it, in full, and before anything is done for it. A
 * request that is not plain, or would fail or wait, is left as it is, and rc.c takes it. So
 * errors, retries and all that is rare are there alone.
 *
 * A region that goes is first hidden, and its command waits for a grace period. So what was
 * found in a call may be used until its end. The responder's state, its rights and the stamp
 * of its connection are looked at for each request.
 *
 * The responder's rq_lock is held from the first request that takes a receive to the end of
 * the group: its receives complete before it is given up, as in rc.c.
 */
#include <endian.h>

#include "fabric/loopback/burst.h"
#include "fabric/loopback/copy.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/qp.h"
#include "lib/counters.h"
#include "memory/extents.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "vm/pass.h"
#include "vm/plain.h"
#include "vm/vm.h"

/* Bytes of a group. Its completions wait for each other, for some us; a shorter group of messages of a
 * few KiB costs a tenth of their rate. */
#define GROUP_BYTES 65536u
/* What a plain request takes, about. */
#define PLAIN_NS 100

#define WITH_RECEIVE (1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM | 1u << PVHCA_WQE_WRITE_IMM)
#define UC_OPCODES   (WITH_RECEIVE | 1u << PVHCA_WQE_WRITE)
#define RC_OPCODES                                                            \
	(UC_OPCODES | 1u << PVHCA_WQE_READ | 1u << PVHCA_WQE_ATOMIC_CMP_SWP | \
	 1u << PVHCA_WQE_ATOMIC_FETCH_ADD)
#define UD_OPCODES (1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM)
#define INTO_OUR   (PLAIN_ATOMICS | 1u << PVHCA_WQE_READ)

/* A request on its way. */
struct plain {
	const struct plain_send *entry;
	uint8_t *local;
	uint32_t length;
	uint32_t bit; /* of its opcode */
};

/* ---------------------------------- memory --------------------------------- */

/* The run that holds all of it, or NULL: it is not plain, or not allowed. */
static uint8_t *run_load(struct loopback *fabric, struct loopback_run *run, const struct pd *pd,
			 uint32_t key, uint64_t addr, uint64_t length, uint32_t access)
{
	const struct mr *mr = loopback_table_find(&fabric->mrs, key >> 8);
	const struct extent *extent;
	uint64_t from, end;

	if (!mr || loopback_mr_key(mr) || mr->lkey != key || mr->pd != pd || access & ~mr->access ||
	    !mr_contains(mr, addr, length))
		return NULL;
	extent = extents_find(mr->extents, mr->offset + (addr - mr->iova));
	from = extent->start > mr->offset ? extent->start : mr->offset;
	end = extent->start + extent->len;
	if (end > mr->offset + mr->length)
		end = mr->offset + mr->length;
	run->key = key;
	run->access = mr->access;
	run->addr = mr->iova + (from - mr->offset);
	run->length = end - from;
	run->host = extent->host + (from - extent->start);
	return length <= run->length - (addr - run->addr) ? run->host + (addr - run->addr) : NULL;
}

/* Memory that pd must be allowed access to; length > 0. NULL: leave the request to rc.c. */
static inline uint8_t *run_find(struct loopback_burst *burst, struct loopback_run *run,
				const struct loopback_qp *of, uint32_t key, uint64_t addr,
				uint64_t length, uint32_t access)
{
	uint64_t at = addr - run->addr;

	if (run->key == key && !(access & ~run->access) && at < run->length &&
	    length <= run->length - at)
		return run->host + at;
	return run_load(burst->lqp->fabric, run, of->qp->pd, key, addr, length, access);
}

/* --------------------------------- responder ------------------------------- */

static struct loopback_qp *find_responder(struct loopback_burst *burst, uint64_t *stamp)
{
	struct loopback_qp *peer = loopback_rc_find_peer(burst->lqp, stamp);

	/* rc.c tells a responder in RTR that it is connected. */
	return peer &&
			(atomic_load(&peer->qp->state) != IBV_QPS_RTR ||
			 atomic_load(&peer->established)) ?
		peer :
		NULL;
}

/* The receiver of the next datagram. */
static struct loopback_qp *find_receiver(struct loopback_burst *burst, uint64_t *stamp)
{
	const struct work_queue *queue = &burst->lqp->qp->sq;
	struct loopback_qp *peer;
	struct pvhca_sq_wqe wqe;

	memcpy(&wqe, work_queue_entry(queue, queue->ci), sizeof(wqe));
	burst->grh_payload = UINT32_MAX;
	if (wqe.flags & ~PVHCA_WQE_F_MASK)
		return NULL;
	peer = loopback_ud_find_peer(burst->lqp, le32toh(wqe.ah), le32toh(wqe.remote_qpn),
				     &burst->way);
	if (peer)
		*stamp = atomic_load_explicit(&peer->stamp, memory_order_acquire);
	return peer;
}

/* The responder for the requests of a group. False: there is none that takes plain ones. */
static bool find_peer(struct loopback_burst *burst)
{
	const bool datagrams = burst->lqp->qp->type == PVHCA_QPT_UD;
	struct loopback_qp *peer;
	uint64_t stamp = 0;

	peer = datagrams ? find_receiver(burst, &stamp) : find_responder(burst, &stamp);
	if (!peer)
		return false;
	if (peer != burst->peer || stamp != burst->stamp) {
		burst->remote.length = 0;
		burst->receive.length = 0;
	}
	burst->peer = peer;
	burst->stamp = stamp;
	return true;
}

/* Is it still as find_peer() found it? */
static inline bool is_same_peer(const struct loopback_burst *burst)
{
	return atomic_load_explicit(&burst->peer->stamp, memory_order_acquire) == burst->stamp &&
		loopback_qp_responds(burst->peer);
}

static inline bool grants(const struct loopback_burst *burst, uint32_t access)
{
	return atomic_load_explicit(&burst->peer->access, memory_order_relaxed) & access;
}

/* The responder's side of a request by remote key, or NULL. */
static inline uint8_t *find_remote(struct loopback_burst *burst, const struct plain *plain,
				   uint32_t access)
{
	const struct pvhca_sq_wqe *wqe = &plain->entry->wqe;

	if (!grants(burst, access))
		return NULL;
	return run_find(burst, &burst->remote, burst->peer, le32toh(wqe->rkey),
			le64toh(wqe->remote_addr), plain->length, access);
}

/* --------------------------------- receives -------------------------------- */

static void lock_receives(struct loopback_burst *burst)
{
	const struct qp *qp = burst->peer->qp;

	pthread_mutex_lock(&burst->peer->qp->rq_lock);
	burst->locked = true;
	burst->posted = 0;
	/* From here on it stays as it is. Of an SRQ, or taken by a longer message: that is rc.c's. */
	if (is_same_peer(burst) && !qp->srq && !burst->peer->receive.taken)
		burst->posted = work_queue_posted(&qp->rq);
	if (burst->posted == UINT32_MAX)
		burst->posted = 0;
}

/* The next receive: to is where length bytes go. False: none that is plain. */
static inline bool take_receive(struct loopback_burst *burst, uint32_t length, uint8_t **to,
				uint16_t *tag)
{
	const struct work_queue *rq = &burst->peer->qp->rq;
	struct plain_receive entry;

	if (!burst->locked)
		lock_receives(burst);
	if (!burst->posted)
		return false;
	plain_load_receive(rq, rq->ci, &entry);
	if (!plain_receive_has_one(&entry) || !rq->max_sge || le32toh(entry.sge.length) < length)
		return false;
	*tag = le16toh(entry.wqe.tag);
	*to = run_find(burst, &burst->receive, burst->peer, le32toh(entry.sge.lkey),
		       le64toh(entry.sge.addr), length, IBV_ACCESS_LOCAL_WRITE);
	return *to;
}

static inline void complete_receive(struct loopback_burst *burst, const struct plain *plain,
				    uint16_t tag)
{
	struct pvhca_cqe *cqe = &burst->received[burst->num_received++];
	const struct pvhca_sq_wqe *wqe = &plain->entry->wqe;
	struct qp *qp = burst->peer->qp;
	bool imm = plain->bit & ~(1u << PVHCA_WQE_SEND);

	*cqe = (struct pvhca_cqe){
		.qpn = htole32(qp->qpn),
		.byte_len = htole32(plain->length),
		.imm_data = imm ? wqe->imm_data : 0,
		.timestamp = cq_timestamp(qp->recv_cq),
		.wqe_index = htole16(tag),
		.opcode = plain->bit & 1u << PVHCA_WQE_WRITE_IMM ? PVHCA_CQE_RECV_WRITE_IMM :
								   PVHCA_CQE_RECV,
		.status = IBV_WC_SUCCESS,
		.flags = (imm ? PVHCA_CQE_F_IMM : 0) |
			(wqe->flags & PVHCA_WQE_F_SOLICITED ? CQ_F_SOLICITED : 0),
	};
	qp->rq.ci++;
	burst->posted--;
}

static inline void complete_datagram(struct loopback_burst *burst, const struct plain *plain,
				     uint16_t tag)
{
	struct pvhca_cqe *cqe = &burst->received[burst->num_received++];
	const struct pvhca_sq_wqe *wqe = &plain->entry->wqe;
	bool imm = wqe->opcode == PVHCA_WQE_SEND_IMM;
	struct qp *qp = burst->peer->qp;

	*cqe = (struct pvhca_cqe){
		.qpn = htole32(qp->qpn),
		.byte_len = htole32(GRH_LEN + plain->length),
		.imm_data = imm ? wqe->imm_data : 0,
		.src_qp = htole32(burst->lqp->qp->qpn),
		.timestamp = cq_timestamp(qp->recv_cq),
		.wqe_index = htole16(tag),
		.opcode = PVHCA_CQE_RECV,
		.status = IBV_WC_SUCCESS,
		.sl = burst->sl,
		.flags = PVHCA_CQE_F_GRH | (imm ? PVHCA_CQE_F_IMM : 0) |
			(wqe->flags & PVHCA_WQE_F_SOLICITED ? CQ_F_SOLICITED : 0),
	};
	qp->rq.ci++;
	burst->posted--;
}

/* -------------------------------- operations ------------------------------- */

static inline void write_grh(struct loopback_burst *burst, uint32_t payload, uint8_t *to)
{
	const struct loopback_way *way = &burst->way;

	if (burst->grh_payload != payload) {
		grh_fill(burst->grh, way->av, way->source, way->av->dgid, payload);
		burst->sl = grh_packet_type(way->source, way->av->dgid);
		burst->grh_payload = payload;
	}
	memcpy(to, burst->grh, sizeof(burst->grh));
}

static bool execute_datagram(struct loopback_burst *burst, struct plain *plain)
{
	const struct pvhca_sq_wqe *wqe = &plain->entry->wqe;
	uint32_t imm = wqe->opcode == PVHCA_WQE_SEND_IMM ? sizeof(wqe->imm_data) : 0;
	uint8_t *to;
	uint16_t tag;

	if (le32toh(wqe->ah) != burst->way.ah || le32toh(wqe->remote_qpn) != burst->way.qpn ||
	    plain->length > LOOPBACK_MAX_UD || GRH_LEN + plain->length > burst->room ||
	    loopback_ud_qkey(burst->lqp, le32toh(wqe->remote_qkey)) !=
		    atomic_load(&burst->peer->qkey) ||
	    !take_receive(burst, GRH_LEN + plain->length, &to, &tag))
		return false;
	write_grh(burst, plain->length + imm, to);
	loopback_copy_run(to + GRH_LEN, plain->local, plain->length);
	complete_datagram(burst, plain, tag);
	burst->room -= GRH_LEN;
	return true;
}

static inline bool execute_send(struct loopback_burst *burst, const struct plain *plain)
{
	uint8_t *to;
	uint16_t tag;

	if (!take_receive(burst, plain->length, &to, &tag))
		return false;
	loopback_copy_run(to, plain->local, plain->length);
	complete_receive(burst, plain, tag);
	return true;
}

static inline bool execute_write(struct loopback_burst *burst, const struct plain *plain)
{
	uint8_t *to = find_remote(burst, plain, IBV_ACCESS_REMOTE_WRITE);

	if (!to)
		return false;
	loopback_copy_run(to, plain->local, plain->length);
	return true;
}

static inline bool execute_write_imm(struct loopback_burst *burst, const struct plain *plain)
{
	uint8_t *ignored;
	uint16_t tag;

	/* A receive that is longer than the message is one, wherever it points to. */
	if (!take_receive(burst, plain->length, &ignored, &tag) || !execute_write(burst, plain))
		return false;
	complete_receive(burst, plain, tag);
	return true;
}

static inline bool may_read(const struct loopback_burst *burst)
{
	return burst->lqp->attr.max_rd_atomic &&
		atomic_load_explicit(&burst->peer->max_dest_rd_atomic, memory_order_relaxed);
}

static inline bool execute_read(struct loopback_burst *burst, const struct plain *plain)
{
	uint8_t *from;

	if (!may_read(burst))
		return false;
	from = find_remote(burst, plain, IBV_ACCESS_REMOTE_READ);
	if (!from)
		return false;
	loopback_copy_run(plain->local, from, plain->length);
	return true;
}

static inline bool execute_atomic(struct loopback_burst *burst, const struct plain *plain)
{
	const struct pvhca_atomic_seg *segment = &plain->entry->atomic;
	uint64_t old;
	uint8_t *at;

	if (!may_read(burst) || plain->length != sizeof(old) ||
	    le64toh(plain->entry->wqe.remote_addr) % sizeof(old))
		return false;
	at = find_remote(burst, plain, IBV_ACCESS_REMOTE_ATOMIC);
	if (!at || (uintptr_t)at % sizeof(old))
		return false;
	old = loopback_atomic(plain->entry->wqe.opcode, (_Atomic uint64_t *)at,
			      le64toh(segment->compare_add), le64toh(segment->swap));
	loopback_copy_run(plain->local, (uint8_t *)&old, sizeof(old));
	return true;
}

static inline bool execute(struct loopback_burst *burst, struct plain *plain)
{
	if (burst->lqp->qp->type == PVHCA_QPT_UD)
		return execute_datagram(burst, plain);
	switch (plain->entry->wqe.opcode) {
	case PVHCA_WQE_SEND:
	case PVHCA_WQE_SEND_IMM:
		return execute_send(burst, plain);
	case PVHCA_WQE_WRITE:
		return execute_write(burst, plain);
	case PVHCA_WQE_WRITE_IMM:
		return execute_write_imm(burst, plain);
	case PVHCA_WQE_READ:
		return execute_read(burst, plain);
	default:
		return execute_atomic(burst, plain);
	}
}

/* --------------------------------- requester ------------------------------- */

/* The requester's side. False: not plain. @data: of the entry, in guest memory. */
static inline bool find_local(struct loopback_burst *burst, struct plain *plain, uint8_t *data)
{
	const struct plain_send *entry = plain->entry;
	const struct pvhca_sge *sge = plain_sge(entry, plain->bit);
	uint32_t room;

	if (entry->wqe.flags & PVHCA_WQE_F_INLINE) {
		room = (1u << burst->lqp->qp->sq.log_stride) - PVHCA_SQ_WQE_DATA;
		plain->length = le32toh(entry->wqe.inline_len);
		plain->local = data;
		return !entry->wqe.num_sge && plain->length && plain->length <= room &&
			plain->length <= burst->room && !(plain->bit & INTO_OUR);
	}
	plain->length = le32toh(sge->length);
	if (!plain_send_has_one(entry) || !plain->length || plain->length > burst->room)
		return false;
	plain->local = run_find(burst, &burst->local, burst->lqp, le32toh(sge->lkey),
				le64toh(sge->addr), plain->length,
				plain->bit & INTO_OUR ? IBV_ACCESS_LOCAL_WRITE : 0);
	return plain->local;
}

static inline void complete_send(struct loopback_burst *burst, const struct plain *plain,
				 uint16_t index)
{
	const struct qp *qp = burst->lqp->qp;
	struct pvhca_cqe *cqe = &burst->sent[burst->num_sent];

	if (!(plain->entry->wqe.flags & PVHCA_WQE_F_SIGNALED ||
	      qp->flags & PVHCA_CREATE_QP_SIG_ALL))
		return;
	*cqe = (struct pvhca_cqe){
		.qpn = htole32(qp->qpn),
		.byte_len = htole32(plain->length),
		.timestamp = cq_timestamp(qp->send_cq),
		.wqe_index = htole16(index),
		.opcode = ring_cqe_opcode(plain->entry->wqe.opcode),
		.status = IBV_WC_SUCCESS,
	};
	burst->num_sent++;
}

/* The next request of the send queue. False: it is not plain, and nothing happened. */
static inline bool next_request(struct loopback_burst *burst)
{
	struct work_queue *queue = &burst->lqp->qp->sq;
	uint8_t *at = (uint8_t *)work_queue_entry(queue, queue->ci);
	struct plain_send entry;
	struct plain plain;

	plain_load_send(queue, queue->ci, &entry);
	plain.entry = &entry;
	plain.bit = plain_opcode(&entry, burst->opcodes);
	if (!plain.bit || !find_local(burst, &plain, at + PVHCA_SQ_WQE_DATA) ||
	    !is_same_peer(burst) || !execute(burst, &plain))
		return false;
	complete_send(burst, &plain, work_queue_index(queue, queue->ci));
	queue->ci++;
	burst->room -= plain.length;
	if (entry.wqe.flags & PVHCA_WQE_F_INLINE)
		burst->serve->inlined += plain.length;
	return true;
}

/* ---------------------------------- groups --------------------------------- */

static void push_received(struct loopback_burst *burst)
{
	struct qp *qp = burst->peer->qp;

	loopback_count_receives(burst->serve, qp->vm, burst->num_received);
	if (cq_push_many(burst->serve->pass, qp->recv_cq, &qp->recv_held, burst->received,
			 burst->num_received))
		return;
	counter_add(&qp->vm->counters.protocol_errors, 1);
	loopback_qp_fail(burst->peer, PVHCA_EVENT_QP_FATAL);
}

static void push_sent(struct loopback_burst *burst)
{
	struct qp *qp = burst->lqp->qp;

	burst->serve->completions += burst->num_sent;
	if (!cq_push_many(burst->serve->pass, qp->send_cq, &qp->send_held, burst->sent,
			  burst->num_sent))
		loopback_stop_abused(burst->serve);
}

static void end_group(struct loopback_burst *burst, unsigned int done, uint64_t bytes)
{
	struct loopback_serve *serve = burst->serve;

	if (burst->num_received)
		push_received(burst);
	if (burst->locked)
		pthread_mutex_unlock(&burst->peer->qp->rq_lock);
	if (burst->num_sent)
		push_sent(burst);
	serve->taken += done;
	serve->messages += done;
	serve->moved += bytes;
	serve->sent += burst->lqp->qp->type == PVHCA_QPT_UD ? bytes - done * GRH_LEN : bytes;
	pass_spend(serve->pass, (int64_t)PLAIN_NS * done);
	pass_copied(serve->pass, bytes);
}

static uint32_t opcodes_of(const struct qp *qp)
{
	switch (qp->type) {
	case PVHCA_QPT_RC:
		return RC_OPCODES;
	case PVHCA_QPT_UC:
		return UC_OPCODES;
	case PVHCA_QPT_UD:
		return UD_OPCODES;
	default:
		return 0;
	}
}

void loopback_burst_begin(struct loopback_burst *burst, struct loopback_serve *serve)
{
	const struct qp *qp = serve->lqp->qp;

	burst->serve = serve;
	burst->lqp = serve->lqp;
	burst->peer = NULL;
	burst->opcodes = qp->sq.max_sge ? opcodes_of(qp) : 0;
	burst->local.length = 0;
}

unsigned int loopback_burst(struct loopback_burst *burst, unsigned int max)
{
	const struct pass *pass = burst->serve->pass;
	uint32_t posted, room;
	unsigned int n;

	/* Requests of a VM that has a rate are counted one by one. */
	if (!burst->opcodes || pass->limited)
		return 0;
	posted = work_queue_posted(&burst->lqp->qp->sq);
	if (!posted || posted == UINT32_MAX || !find_peer(burst))
		return 0;
	if (max > posted)
		max = posted;
	if (max > LOOPBACK_GROUP)
		max = LOOPBACK_GROUP;
	burst->locked = false;
	burst->num_sent = 0;
	burst->num_received = 0;
	room = pass->bytes < GROUP_BYTES ? pass->bytes : GROUP_BYTES;
	burst->room = room;
	for (n = 0; n < max && next_request(burst); n++)
		;
	end_group(burst, n, room - burst->room);
	return n;
}
