// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Making and destroying queue pairs.
 *
 * A QP is known to the fabric first, then published in its context's slot, where
 * the worker finds it; and is taken out in the opposite order, with a grace period
 * between.
 */
#include <endian.h>
#include <stdlib.h>

#include <urcu-qsbr.h>

#include "commands.h"
#include "cq.h"
#include "log.h"

/* One of the two rings as the command has it. */
struct ring_wish {
	uint32_t offset;
	uint8_t log_entries;
	uint8_t log_stride;
	uint8_t min_log_stride;
	uint8_t data_offset;
	uint32_t max_wr;
	uint32_t max_sge;
};

static struct ring_wish qp_sq_wish(const struct pvhca_cmd_create_qp *create)
{
	return (struct ring_wish) {
		.offset = le32toh(create->sq_offset),
		.log_entries = create->sq_log_entries,
		.log_stride = create->sq_log_stride,
		.min_log_stride = PVHCA_SQ_MIN_LOG_STRIDE,
		.data_offset = PVHCA_SQ_WQE_DATA,
		.max_wr = le32toh(create->cap.max_send_wr),
		.max_sge = le32toh(create->cap.max_send_sge),
	};
}

static struct ring_wish qp_rq_wish(const struct pvhca_cmd_create_qp *create)
{
	return (struct ring_wish) {
		.offset = le32toh(create->rq_offset),
		.log_entries = create->rq_log_entries,
		.log_stride = create->rq_log_stride,
		.min_log_stride = PVHCA_RQ_MIN_LOG_STRIDE,
		.data_offset = PVHCA_RQ_WQE_DATA,
		.max_wr = le32toh(create->cap.max_recv_wr),
		.max_sge = le32toh(create->cap.max_recv_sge),
	};
}

/* A ring without entries has no geometry. */
static bool ring_is_absent(const struct ring_wish *wish)
{
	return !wish->max_wr;
}

/* What can be said without looking at the buffer. *end: bytes of the buffer that are needed. */
static int ring_check(struct session *session, const struct ring_wish *wish,
		      uint64_t *end)
{
	uint32_t max_wr = session->policy->quota.max_wr;
	uint64_t ring_end;

	if (ring_is_absent(wish))
		return wish->offset || wish->log_entries || wish->log_stride ||
		       wish->max_sge ? PVHCA_ST_INVALID : PVHCA_ST_OK;
	if (wish->log_entries > PVHCA_RING_MAX_LOG_ENTRIES ||
	    wish->log_stride > PVHCA_RING_MAX_LOG_STRIDE ||
	    wish->max_wr > 1u << wish->log_entries)
		return PVHCA_ST_INVALID;
	if (wish->max_wr > max_wr)
		return commands_quota(session, "max-wr", max_wr);
	ring_end = wish->offset +
		   (1ull << (wish->log_entries + wish->log_stride));
	if (ring_end > *end)
		*end = ring_end;
	return PVHCA_ST_OK;
}

static int ring_set_up(struct work_queue *queue, const struct ring_buffer *buffer,
		       __le32 *pi, const struct ring_wish *wish)
{
	if (ring_is_absent(wish))
		return PVHCA_ST_OK;
	return work_queue_init(queue, buffer, pi, wish->offset,
			       wish->log_entries, wish->log_stride,
			       wish->min_log_stride, wish->data_offset,
			       wish->max_sge);
}

static bool rings_overlap(const struct ring_wish *a, const struct ring_wish *b)
{
	uint64_t a_end = a->offset + (1ull << (a->log_entries + a->log_stride));
	uint64_t b_end = b->offset + (1ull << (b->log_entries + b->log_stride));

	return !ring_is_absent(a) && !ring_is_absent(b) &&
	       a->offset < b_end && b->offset < a_end;
}

/* Numbers and flags; objects are looked up elsewhere. */
static int qp_check(struct session *session,
		    const struct pvhca_cmd_create_qp *create, uint64_t *bytes)
{
	struct ring_wish sq = qp_sq_wish(create), rq = qp_rq_wish(create);
	uint32_t flags = le32toh(create->flags);
	uint32_t type = le32toh(create->type);
	uint32_t max_inline = le32toh(create->cap.max_inline);
	int status;

	if (type < PVHCA_QPT_GSI || type > PVHCA_QPT_UD || create->reserved ||
	    flags & ~(PVHCA_CREATE_QP_SIG_ALL | PVHCA_CREATE_QP_SRQ))
		return PVHCA_ST_INVALID;
	if (flags & PVHCA_CREATE_QP_SRQ)
		return PVHCA_ST_UNSUPPORTED;
	if (le32toh(create->srq) != PVHCA_NO_HANDLE)
		return PVHCA_ST_INVALID;

	*bytes = PVHCA_QUEUE_HEADER_SIZE;
	status = ring_check(session, &sq, bytes);
	if (!status)
		status = ring_check(session, &rq, bytes);
	if (status)
		return status;
	if (rings_overlap(&sq, &rq) ||
	    max_inline + (uint64_t)PVHCA_SQ_WQE_DATA >
	    (ring_is_absent(&sq) ? PVHCA_SQ_WQE_DATA : 1ull << sq.log_stride))
		return PVHCA_ST_INVALID;
	if (le64toh(create->mem.length) < *bytes)
		return PVHCA_ST_INVALID;
	*bytes += COMMANDS_RING_SLACK;
	return PVHCA_ST_OK;
}

/* The objects that a QP hangs on, all of one context. */
static int qp_find_objects(struct session *session, struct qp *qp,
			   const struct pvhca_cmd_create_qp *create)
{
	qp->context = table_find(&session->contexts, le32toh(create->context));
	qp->pd = table_find(&session->pds, le32toh(create->pd));
	qp->send_cq = table_find(&session->cqs, le32toh(create->send_cq));
	qp->recv_cq = table_find(&session->cqs, le32toh(create->recv_cq));
	if (!qp->context || !qp->pd || !qp->send_cq || !qp->recv_cq ||
	    qp->pd->context != qp->context ||
	    qp->send_cq->context != qp->context ||
	    qp->recv_cq->context != qp->context)
		return PVHCA_ST_INVALID;
	return PVHCA_ST_OK;
}

/* Buffer and rings; undone by ring_buffer_free(). */
static int qp_set_up_rings(struct qp *qp,
			   const struct pvhca_cmd_create_qp *create,
			   uint64_t bytes)
{
	struct ring_wish sq = qp_sq_wish(create), rq = qp_rq_wish(create);
	struct pvhca_queue_header *header;
	struct extents *extents;
	int status;

	status = extents_from_list(qp->session->memory, &create->mem, bytes,
				   &extents);
	if (status)
		return status;
	qp->buffer = ring_buffer_new(extents);
	if (!qp->buffer)
		return PVHCA_ST_NO_MEMORY;
	header = ring_buffer_at(qp->buffer, 0);
	status = ring_set_up(&qp->sq, qp->buffer, &header->sq_pi, &sq);
	if (!status)
		status = ring_set_up(&qp->rq, qp->buffer, &header->rq_pi, &rq);
	if (status)
		ring_buffer_free(qp->buffer);
	return status;
}

static bool slot_take(struct context *context, uint32_t *slot)
{
	for (unsigned int word = 0; word < PVHCA_SLOT_WORDS; word++) {
		uint64_t used = context->slot_used[word];

		if (used == UINT64_MAX)
			continue;
		*slot = word * 64 + __builtin_ctzll(~used);
		context->slot_used[word] |= 1ull << (*slot % 64);
		return true;
	}
	return false;
}

static void slot_give(struct context *context, uint32_t slot)
{
	context->slot_used[slot / 64] &= ~(1ull << (slot % 64));
}

static struct qp *qp_new(struct session *session,
			 const struct pvhca_cmd_create_qp *create)
{
	struct qp *qp = calloc(1, sizeof(*qp));

	if (!qp)
		return NULL;
	qp->session = session;
	qp->type = le32toh(create->type);
	qp->flags = le32toh(create->flags);
	qp->cap = create->cap;
	qp->state = IBV_QPS_RESET;
	pthread_mutex_init(&qp->lock, NULL);
	pthread_mutex_init(&qp->rq_lock, NULL);
	return qp;
}

static void qp_free(struct qp *qp)
{
	pthread_mutex_destroy(&qp->rq_lock);
	pthread_mutex_destroy(&qp->lock);
	free(qp);
}

/* Room for all completions that the rings can have outstanding. */
static int qp_reserve(struct qp *qp)
{
	if (cq_reserve(qp->send_cq, qp->sq.entries))
		return PVHCA_ST_NO_MEMORY;
	if (cq_reserve(qp->recv_cq, qp->rq.entries)) {
		cq_unreserve(qp->send_cq, qp->sq.entries);
		return PVHCA_ST_NO_MEMORY;
	}
	return PVHCA_ST_OK;
}

static void qp_unreserve(struct qp *qp)
{
	cq_unreserve(qp->send_cq, qp->sq.entries);
	cq_unreserve(qp->recv_cq, qp->rq.entries);
}

/* Handle, slot, completions, the fabric's part; and to the workers. */
static int qp_bring_up(struct session *session, struct qp *qp)
{
	int status;

	status = commands_table_add(session, &session->qps, "qps", qp,
				    &qp->handle);
	if (status)
		return status;
	status = PVHCA_ST_NO_MEMORY;
	if (!slot_take(qp->context, &qp->slot))
		goto err_del;
	status = qp_reserve(qp);
	if (status)
		goto err_give_slot;
	status = session->ops->qp_create(qp);
	if (status)
		goto err_unreserve;
	qp->context->users++;
	qp->pd->users++;
	qp->send_cq->users++;
	qp->recv_cq->users++;
	rcu_assign_pointer(qp->context->slots[qp->slot], qp);
	return PVHCA_ST_OK;

err_unreserve:
	qp_unreserve(qp);
err_give_slot:
	slot_give(qp->context, qp->slot);
err_del:
	table_del(&session->qps, qp->handle);
	return status;
}

int commands_create_qp(struct session *session,
		       const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_create_qp *create = &cmd->create_qp;
	uint64_t bytes = 0;
	struct qp *qp;
	int status;

	status = qp_check(session, create, &bytes);
	if (status)
		return status;
	qp = qp_new(session, create);
	if (!qp)
		return PVHCA_ST_NO_MEMORY;
	status = qp_find_objects(session, qp, create);
	if (status)
		goto err_free;
	status = qp_set_up_rings(qp, create, bytes);
	if (status)
		goto err_free;
	status = qp_bring_up(session, qp);
	if (status)
		goto err_free_buffer;
	rsp->create_qp.handle = htole32(qp->handle);
	rsp->create_qp.qpn = htole32(qp->qpn);
	rsp->create_qp.slot = htole32(qp->slot);
	rsp->create_qp.doorbell = htole32(session->doorbell);
	rsp->create_qp.cap = qp->cap;
	return PVHCA_ST_OK;

err_free_buffer:
	ring_buffer_free(qp->buffer);
err_free:
	qp_free(qp);
	return status;
}

void commands_unpublish_qp(void *object, void *arg)
{
	struct qp *qp = object;

	(void)arg;
	rcu_assign_pointer(qp->context->slots[qp->slot], NULL);
}

void commands_free_qp(void *object, void *arg)
{
	struct session *session = arg;
	struct qp *qp = object;

	table_del(&session->qps, qp->handle);
	session->ops->qp_destroy(qp);
	cq_forget(qp->send_cq, qp->qpn);
	cq_forget(qp->recv_cq, qp->qpn);
	qp_unreserve(qp);
	slot_give(qp->context, qp->slot);
	qp->recv_cq->users--;
	qp->send_cq->users--;
	qp->pd->users--;
	qp->context->users--;
	ring_buffer_free(qp->buffer);
	qp_free(qp);
}

int commands_destroy_qp(struct session *session,
			const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct qp *qp = table_find(&session->qps,
				   le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!qp || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	commands_unpublish_qp(qp, session);
	synchronize_rcu();
	commands_free_qp(qp, session);
	return PVHCA_ST_OK;
}
