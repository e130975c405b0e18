// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Making and destroying queue pairs.
 *
 * A QP is known to the fabric first, then published in its context's slot, where
 * the worker finds it; and is taken out in the opposite order, with a grace period
 * between.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "gsi/gsi.h"
#include "net/net.h"
#include "admin/commands.h"
#include "admin/commands_attr.h"
#include "admin/commands_ring.h"
#include "vm/cq.h"
#include "lib/heap.h"
#include "lib/log.h"

/**
 * struct qp_rings - the queues that a QP is to have
 * @bytes: of the buffer
 */
struct qp_rings {
	struct ring_params sq, rq;
	uint64_t bytes;
};

static void qp_rings_of(const struct pvhca_cmd_create_qp *create, struct qp_rings *rings)
{
	*rings = (struct qp_rings) {
		.sq = {
			.offset = le32toh(create->sq_offset),
			.log_entries = create->sq_log_entries,
			.log_stride = create->sq_log_stride,
			.min_log_stride = PVHCA_SQ_MIN_LOG_STRIDE,
			.data_offset = PVHCA_SQ_WQE_DATA,
			.max_wr = le32toh(create->cap.max_send_wr),
			.max_sge = le32toh(create->cap.max_send_sge),
		},
		.rq = {
			.offset = le32toh(create->rq_offset),
			.log_entries = create->rq_log_entries,
			.log_stride = create->rq_log_stride,
			.min_log_stride = PVHCA_RQ_MIN_LOG_STRIDE,
			.data_offset = PVHCA_RQ_WQE_DATA,
			.max_wr = le32toh(create->cap.max_recv_wr),
			.max_sge = le32toh(create->cap.max_recv_sge),
		},
		.bytes = PVHCA_QUEUE_HEADER_SIZE,
	};
}

/* Queue pairs of the driver's own, which pvhcad serves itself. */
static bool qp_type_is_service(uint32_t type)
{
	return type == PVHCA_QPT_GSI || type == PVHCA_QPT_NET;
}

static bool qp_type_is_valid(const struct vm *vm, uint32_t type)
{
	if (type == PVHCA_QPT_NET)
		return vm->features & PVHCA_FEATURE_NET;
	return type >= PVHCA_QPT_GSI && type <= PVHCA_QPT_UD;
}

/* Numbers and flags; objects are looked up elsewhere. */
static int qp_check(const struct vm *vm, const struct pvhca_cmd_create_qp *create,
		    const struct qp_rings *rings)
{
	uint32_t flags = le32toh(create->flags);
	uint32_t type = le32toh(create->type);

	if (!qp_type_is_valid(vm, type) || create->reserved ||
	    flags &
		    ~(PVHCA_CREATE_QP_SIG_ALL | PVHCA_CREATE_QP_SRQ |
		      PVHCA_CREATE_QP_BLOCK_LOOPBACK))
		return PVHCA_ST_INVALID;
	if (flags & PVHCA_CREATE_QP_BLOCK_LOOPBACK && type != PVHCA_QPT_UD)
		return PVHCA_ST_INVALID;
	if (flags & PVHCA_CREATE_QP_SRQ) {
		if (qp_type_is_service(type) || !commands_ring_is_absent(&rings->rq))
			return PVHCA_ST_INVALID;
	} else if (le32toh(create->srq) != PVHCA_NO_HANDLE) {
		return PVHCA_ST_INVALID;
	}
	return PVHCA_ST_OK;
}

/* Sets rings->bytes. */
static int qp_check_rings(struct vm *vm, const struct pvhca_cmd_create_qp *create,
			  struct qp_rings *rings)
{
	uint64_t room = PVHCA_SQ_WQE_DATA;
	int status;

	status = commands_ring_check(vm, &rings->sq, &rings->bytes);
	if (!status)
		status = commands_ring_check(vm, &rings->rq, &rings->bytes);
	if (status)
		return status;
	if (!commands_ring_is_absent(&rings->sq))
		room = 1ull << rings->sq.log_stride;
	if (commands_rings_overlap(&rings->sq, &rings->rq) ||
	    le32toh(create->cap.max_inline) + (uint64_t)PVHCA_SQ_WQE_DATA > room)
		return PVHCA_ST_INVALID;
	return PVHCA_ST_OK;
}

/* The driver's own context may have what others may not, and the other way round. */
static int qp_check_kernel(const struct qp *qp)
{
	if (qp_type_is_service(qp->type))
		return qp->context->kernel ? PVHCA_ST_OK : PVHCA_ST_DENIED;
	return commands_ring_check_kernel(qp->context);
}

/* The objects that a QP hangs on, all of one context. */
static int qp_find_objects(struct vm *vm, struct qp *qp, const struct pvhca_cmd_create_qp *create)
{
	qp->context = table_find(&vm->contexts, le32toh(create->context));
	qp->pd = table_find(&vm->pds, le32toh(create->pd));
	qp->send_cq = table_find(&vm->cqs, le32toh(create->send_cq));
	qp->recv_cq = table_find(&vm->cqs, le32toh(create->recv_cq));
	if (!qp->context || !qp->pd || !qp->send_cq || !qp->recv_cq ||
	    qp->pd->context != qp->context || qp->send_cq->context != qp->context ||
	    qp->recv_cq->context != qp->context)
		return PVHCA_ST_INVALID;
	if (qp->flags & PVHCA_CREATE_QP_SRQ) {
		qp->srq = table_find(&vm->srqs, le32toh(create->srq));
		if (!qp->srq || qp->srq->context != qp->context)
			return PVHCA_ST_INVALID;
	}
	return qp_check_kernel(qp);
}

/* Buffer and rings; undone by ring_buffer_free(). */
static int qp_set_up_rings(struct qp *qp, const struct pvhca_mem_list *mem,
			   const struct qp_rings *rings)
{
	struct pvhca_queue_header *header;
	int status;

	status = commands_ring_buffer(qp->vm, mem, rings->bytes, &qp->buffer);
	if (status)
		return status;
	header = ring_buffer_at(qp->buffer, 0);
	status = commands_ring_set_up(&rings->sq, &qp->sq, qp->buffer, &header->sq_pi);
	if (!status)
		status = commands_ring_set_up(&rings->rq, &qp->rq, qp->buffer, &header->rq_pi);
	if (status)
		ring_buffer_free(qp->buffer);
	return status;
}

static struct qp *qp_new(struct vm *vm, const struct pvhca_cmd_create_qp *create)
{
	struct qp *qp = heap_zalloc(vm->heap, sizeof(*qp));

	if (!qp)
		return NULL;
	qp->vm = vm;
	qp->type = le32toh(create->type);
	qp->flags = le32toh(create->flags);
	commands_read_qp_cap(&create->cap, &qp->cap);
	qp->state = IBV_QPS_RESET;
	pthread_mutex_init(&qp->lock, NULL);
	pthread_mutex_init(&qp->rq_lock, NULL);
	return qp;
}

static void qp_free(struct qp *qp)
{
	pthread_mutex_destroy(&qp->rq_lock);
	pthread_mutex_destroy(&qp->lock);
	heap_free(qp);
}

static struct srq_cq *srq_cq_find(const struct srq *srq, const struct cq *cq)
{
	struct srq_cq *entry;

	cds_list_for_each_entry (entry, &srq->cqs, node)
		if (entry->cq == cq)
			return entry;
	return NULL;
}

/* What the receives of an SRQ need, once for each CQ in which they may complete. */
static int qp_reserve_srq(struct qp *qp)
{
	struct srq_cq *entry = srq_cq_find(qp->srq, qp->recv_cq);

	if (!entry) {
		entry = heap_zalloc(qp->vm->heap, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		if (cq_reserve(qp->recv_cq, qp->srq->rq.entries)) {
			heap_free(entry);
			return -ENOMEM;
		}
		entry->cq = qp->recv_cq;
		cds_list_add(&entry->node, &qp->srq->cqs);
	}
	entry->users++;
	return 0;
}

static void qp_unreserve_srq(struct qp *qp)
{
	struct srq_cq *entry = srq_cq_find(qp->srq, qp->recv_cq);

	if (--entry->users)
		return;
	cds_list_del(&entry->node);
	heap_free(entry);
	cq_unreserve(qp->recv_cq, qp->srq->rq.entries);
}

/* Room for all completions that the rings can have outstanding. */
static int qp_reserve(struct qp *qp)
{
	int err;

	if (cq_reserve(qp->send_cq, qp->sq.entries))
		return PVHCA_ST_NO_MEMORY;
	err = qp->srq ? qp_reserve_srq(qp) : cq_reserve(qp->recv_cq, qp->rq.entries);
	if (err) {
		cq_unreserve(qp->send_cq, qp->sq.entries);
		return PVHCA_ST_NO_MEMORY;
	}
	return PVHCA_ST_OK;
}

static void qp_unreserve(struct qp *qp)
{
	cq_unreserve(qp->send_cq, qp->sq.entries);
	if (qp->srq)
		qp_unreserve_srq(qp);
	else
		cq_unreserve(qp->recv_cq, qp->rq.entries);
}

static const struct qp_ops *qp_choose_ops(const struct qp *qp)
{
	switch (qp->type) {
	case PVHCA_QPT_GSI:
		return &gsi_qp_ops;
	case PVHCA_QPT_NET:
		return &net_qp_ops;
	default:
		return qp->vm->ops->qp;
	}
}

/* Handle, slot, completions, the fabric's part; and to the workers. */
static int qp_bring_up(struct vm *vm, struct qp *qp)
{
	int status;

	status = commands_table_add(vm, &vm->qps, "qps", qp, &qp->handle);
	if (status)
		return status;
	status = PVHCA_ST_NO_MEMORY;
	if (!commands_slot_take(qp->context, &qp->slot))
		goto err_del;
	status = qp_reserve(qp);
	if (status)
		goto err_give_slot;
	qp->ops = qp_choose_ops(qp);
	vm_leave(vm);
	status = qp->ops->create(qp);
	vm_enter(vm);
	if (status)
		goto err_unreserve;
	qp->context->users++;
	qp->pd->users++;
	qp->send_cq->users++;
	qp->recv_cq->users++;
	if (qp->srq)
		qp->srq->users++;
	table_made(&vm->qps, qp->handle);
	context_set_qp(qp->context, qp->slot, qp);
	return PVHCA_ST_OK;

err_unreserve:
	qp_unreserve(qp);
err_give_slot:
	commands_slot_give(qp->context, qp->slot);
err_del:
	table_del(&vm->qps, qp->handle);
	return status;
}

int commands_create_qp(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_create_qp *create = &cmd->create_qp;
	struct qp_rings rings;
	struct qp *qp;
	int status;

	qp_rings_of(create, &rings);
	status = qp_check(vm, create, &rings);
	if (!status)
		status = qp_check_rings(vm, create, &rings);
	if (status)
		return status;
	qp = qp_new(vm, create);
	if (!qp)
		return PVHCA_ST_NO_MEMORY;
	status = qp_find_objects(vm, qp, create);
	if (status)
		goto err_free;
	status = qp_set_up_rings(qp, &create->mem, &rings);
	if (status)
		goto err_free;
	status = qp_bring_up(vm, qp);
	if (status)
		goto err_free_buffer;
	rsp->create_qp.handle = htole32(qp->handle);
	rsp->create_qp.qpn = htole32(qp->qpn);
	rsp->create_qp.slot = htole32(qp->slot);
	rsp->create_qp.doorbell = htole32(vm->doorbell);
	commands_write_qp_cap(&qp->cap, &rsp->create_qp.cap);
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
	context_set_qp(qp->context, qp->slot, NULL);
}

void commands_free_qp(void *object, void *arg)
{
	struct vm *vm = arg;
	struct qp *qp = object;

	vm_leave(vm);
	qp->ops->destroy(qp);
	cq_forget(qp->send_cq, &qp->send_held);
	cq_forget(qp->recv_cq, &qp->recv_held);
	vm_enter(vm);
	table_del(&vm->qps, qp->handle);
	qp_unreserve(qp);
	commands_slot_give(qp->context, qp->slot);
	if (qp->srq)
		qp->srq->users--;
	qp->recv_cq->users--;
	qp->send_cq->users--;
	qp->pd->users--;
	qp->context->users--;
	ring_buffer_free(qp->buffer);
	qp_free(qp);
}

int commands_destroy_qp(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct qp *qp = table_find(&vm->qps, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!qp || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	commands_unpublish_qp(qp, vm);
	vm_leave(vm);
	fabric_hook(qp->ops, (void)0, hide, qp);
	vm_enter(vm);
	commands_wait_for_readers(vm);
	commands_free_qp(qp, vm);
	return PVHCA_ST_OK;
}
