// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shared receive queues. Like a QP, an SRQ is known to the fabric first and then
 * published in its context's slot; it goes in the opposite order.
 */
#include <endian.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "admin/commands_ring.h"
#include "lib/heap.h"
#include "lib/log.h"

static struct ring_params srq_ring_of(const struct pvhca_cmd_create_srq *create)
{
	return (struct ring_params){
		.offset = le32toh(create->rq_offset),
		.log_entries = create->rq_log_entries,
		.log_stride = create->rq_log_stride,
		.min_log_stride = PVHCA_RQ_MIN_LOG_STRIDE,
		.data_offset = PVHCA_RQ_WQE_DATA,
		.max_wr = le32toh(create->max_wr),
		.max_sge = le32toh(create->max_sge),
	};
}

/* *bytes: what the buffer needs. */
static int srq_check(struct vm *vm, const struct pvhca_cmd_create_srq *create,
		     const struct ring_params *ring, uint64_t *bytes)
{
	if (create->reserved0[0] || create->reserved0[1] || create->reserved1 ||
	    commands_ring_is_absent(ring) || le32toh(create->limit) > ring->max_wr)
		return PVHCA_ST_INVALID;
	*bytes = PVHCA_QUEUE_HEADER_SIZE;
	return commands_ring_check(vm, ring, bytes);
}

static int srq_find_objects(struct vm *vm, struct srq *srq,
			    const struct pvhca_cmd_create_srq *create)
{
	srq->context = table_find(&vm->contexts, le32toh(create->context));
	srq->pd = table_find(&vm->pds, le32toh(create->pd));
	if (!srq->context || !srq->pd || srq->pd->context != srq->context)
		return PVHCA_ST_INVALID;
	return commands_ring_check_kernel(srq->context);
}

/* Buffer and ring; undone by ring_buffer_free(). */
static int srq_set_up_ring(struct srq *srq, const struct pvhca_mem_list *mem,
			   const struct ring_params *ring, uint64_t bytes)
{
	struct pvhca_queue_header *header;
	int status;

	status = commands_ring_buffer(srq->vm, mem, bytes, &srq->buffer);
	if (status)
		return status;
	header = ring_buffer_at(srq->buffer, 0);
	status = commands_ring_set_up(ring, &srq->rq, srq->buffer, &header->rq_pi);
	if (status)
		ring_buffer_free(srq->buffer);
	return status;
}

static struct srq *srq_new(struct vm *vm, const struct pvhca_cmd_create_srq *create)
{
	struct srq *srq = heap_zalloc(vm->heap, sizeof(*srq));

	if (!srq)
		return NULL;
	srq->vm = vm;
	srq->max_wr = le32toh(create->max_wr);
	srq->max_sge = le32toh(create->max_sge);
	CDS_INIT_LIST_HEAD(&srq->cqs);
	pthread_mutex_init(&srq->lock, NULL);
	return srq;
}

static void srq_free(struct srq *srq)
{
	pthread_mutex_destroy(&srq->lock);
	heap_free(srq);
}

/* Handle, slot, the fabric's part; and to the workers. */
static int srq_bring_up(struct vm *vm, struct srq *srq, uint32_t limit)
{
	int status;

	status = commands_table_add(vm, &vm->srqs, "srqs", srq, &srq->handle);
	if (status)
		return status;
	status = PVHCA_ST_NO_MEMORY;
	if (!commands_slot_take(srq->context, &srq->slot))
		goto err_del;
	status = COMMANDS_FABRIC(vm, srq_create, srq);
	if (status)
		goto err_give_slot;
	status = limit ? COMMANDS_FABRIC(vm, srq_set_limit, srq, limit) : PVHCA_ST_OK;
	if (status)
		goto err_destroy;
	srq->context->users++;
	srq->pd->users++;
	table_made(&vm->srqs, srq->handle);
	context_set_srq(srq->context, srq->slot, srq);
	return PVHCA_ST_OK;

err_destroy:
	COMMANDS_FABRIC_VOID(vm, srq_destroy, srq);
err_give_slot:
	commands_slot_give(srq->context, srq->slot);
err_del:
	table_del(&vm->srqs, srq->handle);
	return status;
}

int commands_create_srq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_create_srq *create = &cmd->create_srq;
	struct ring_params ring = srq_ring_of(create);
	uint64_t bytes = 0;
	struct srq *srq;
	int status;

	status = srq_check(vm, create, &ring, &bytes);
	if (status)
		return status;
	srq = srq_new(vm, create);
	if (!srq)
		return PVHCA_ST_NO_MEMORY;
	status = srq_find_objects(vm, srq, create);
	if (status)
		goto err_free;
	status = srq_set_up_ring(srq, &create->mem, &ring, bytes);
	if (status)
		goto err_free;
	status = srq_bring_up(vm, srq, le32toh(create->limit));
	if (status)
		goto err_free_buffer;
	rsp->create_srq.handle = htole32(srq->handle);
	rsp->create_srq.srqn = htole32(srq->srqn);
	rsp->create_srq.slot = htole32(srq->slot);
	rsp->create_srq.doorbell = htole32(vm->doorbell);
	rsp->create_srq.max_wr = htole32(srq->max_wr);
	rsp->create_srq.max_sge = htole32(srq->max_sge);
	return PVHCA_ST_OK;

err_free_buffer:
	ring_buffer_free(srq->buffer);
err_free:
	srq_free(srq);
	return status;
}

void commands_unpublish_srq(void *object, void *arg)
{
	struct srq *srq = object;

	(void)arg;
	context_set_srq(srq->context, srq->slot, NULL);
}

void commands_free_srq(void *object, void *arg)
{
	struct vm *vm = arg;
	struct srq *srq = object;

	COMMANDS_FABRIC_VOID(vm, srq_destroy, srq);
	table_del(&vm->srqs, srq->handle);
	commands_slot_give(srq->context, srq->slot);
	srq->pd->users--;
	srq->context->users--;
	ring_buffer_free(srq->buffer);
	srq_free(srq);
}

int commands_destroy_srq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			 struct pvhca_admin_rsp *rsp)
{
	struct srq *srq = table_find(&vm->srqs, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!srq || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	if (srq->users)
		return PVHCA_ST_BUSY;
	commands_unpublish_srq(srq, vm);
	commands_wait_for_readers(vm);
	commands_free_srq(srq, vm);
	return PVHCA_ST_OK;
}

int commands_modify_srq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_modify_srq *modify = &cmd->modify_srq;
	struct srq *srq = table_find(&vm->srqs, le32toh(modify->srq));
	uint32_t mask = le32toh(modify->attr_mask);
	int status;

	(void)rsp;
	if (!srq || modify->reserved || mask & ~(uint32_t)(IBV_SRQ_MAX_WR | IBV_SRQ_LIMIT))
		return PVHCA_ST_INVALID;
	if (mask & IBV_SRQ_MAX_WR)
		return PVHCA_ST_UNSUPPORTED; /* the ring is the guest's */
	if (!(mask & IBV_SRQ_LIMIT))
		return PVHCA_ST_OK;
	if (le32toh(modify->limit) > srq->max_wr)
		return PVHCA_ST_INVALID;
	status = COMMANDS_FABRIC(vm, srq_set_limit, srq, le32toh(modify->limit));
	if (status)
		return status;
	/* What is there may be less than the limit already. */
	context_again(srq->context, srq->slot);
	vm->wake_worker = true;
	return PVHCA_ST_OK;
}

int commands_query_srq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	struct srq *srq = table_find(&vm->srqs, le32toh(cmd->query_srq.srq));
	uint32_t limit = 0;
	int status;

	if (!srq || cmd->query_srq.reserved)
		return PVHCA_ST_INVALID;
	status = COMMANDS_FABRIC(vm, srq_query, srq, &limit);
	if (status)
		return status;
	rsp->query_srq.max_wr = htole32(srq->max_wr);
	rsp->query_srq.max_sge = htole32(srq->max_sge);
	rsp->query_srq.limit = htole32(limit);
	return PVHCA_ST_OK;
}
