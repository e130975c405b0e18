// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "admin/commands_ring.h"
#include "vm/cq.h"
#include "vm/cq_blocked.h"
#include "vm/events.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "rdma/pvhca-abi.h"
#include "worker/worker.h"

static int cq_check(struct vm *vm, uint32_t log_entries)
{
	uint32_t max_cqe = vm->policy->quota.max_cqe;

	if (log_entries > PVHCA_CQ_MAX_LOG_ENTRIES)
		return PVHCA_ST_INVALID;
	if (1u << log_entries > max_cqe)
		return commands_quota(vm, "max-cqe", max_cqe);
	return PVHCA_ST_OK;
}

static int cq_buffer(struct vm *vm, const struct pvhca_mem_list *mem, uint32_t log_entries,
		     struct ring_buffer **buffer)
{
	uint64_t needed = PVHCA_CQ_HEADER_SIZE + (sizeof(struct pvhca_cqe) << log_entries);

	return commands_ring_buffer(vm, mem, needed, buffer);
}

/* The buffer, and what vm/cq.c keeps; undone by cq_fini() and ring_buffer_free(). */
static int cq_set_up(struct cq *cq, const struct pvhca_mem_list *mem)
{
	int status;

	status = cq_buffer(cq->vm, mem, cq->log_entries, &cq->buffer);
	if (status)
		return status;
	if (cq_init(cq)) {
		ring_buffer_free(cq->buffer);
		return PVHCA_ST_NO_MEMORY;
	}
	return PVHCA_ST_OK;
}

int commands_create_cq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_create_cq *create = &cmd->create_cq;
	struct context *context = table_find(&vm->contexts, le32toh(create->context));
	struct ceq *ceq = table_find(&vm->ceqs, le32toh(create->ceq));
	struct cq *cq;
	int status;

	if (!context || !ceq || le32toh(create->flags) & ~PVHCA_CREATE_CQ_TIMESTAMPS)
		return PVHCA_ST_INVALID;
	status = cq_check(vm, le32toh(create->log_entries));
	if (status)
		return status;
	cq = heap_zalloc(vm->heap, sizeof(*cq));
	if (!cq)
		return PVHCA_ST_NO_MEMORY;
	cq->vm = vm;
	cq->context = context;
	cq->ceq = ceq;
	cq->log_entries = le32toh(create->log_entries);
	cq->flags = le32toh(create->flags);
	status = cq_set_up(cq, &create->mem);
	if (status)
		goto err_free;
	status = commands_table_add(vm, &vm->cqs, "cqs", cq, &cq->handle);
	if (status)
		goto err_fini;
	context->users++;
	ceq->users++;
	table_made(&vm->cqs, cq->handle);
	rsp->create_cq.handle = htole32(cq->handle);
	rsp->create_cq.doorbell = htole32(vm->doorbell);
	return PVHCA_ST_OK;

err_fini:
	cq_fini(cq);
	ring_buffer_free(cq->buffer);
err_free:
	heap_free(cq);
	return status;
}

/* Its QPs are gone, so nobody writes into it any more. */
void commands_free_cq(void *object, void *arg)
{
	struct vm *vm = arg;
	struct cq *cq = object;

	table_del(&vm->cqs, cq->handle);
	cq_blocked_del(cq);
	cq_fini(cq);
	ring_buffer_free(cq->buffer);
	cq->ceq->users--;
	cq->context->users--;
	heap_free(cq);
}

int commands_destroy_cq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct cq *cq = table_find(&vm->cqs, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!cq || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	if (cq->users)
		return PVHCA_ST_BUSY;
	commands_free_cq(cq, vm);
	return PVHCA_ST_OK;
}

int commands_resize_cq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_resize_cq *resize = &cmd->resize_cq;
	struct cq *cq = table_find(&vm->cqs, le32toh(resize->cq));
	uint32_t log_entries = le32toh(resize->log_entries);
	struct ring_buffer *buffer, *old;
	int status;

	(void)rsp;
	if (!cq)
		return PVHCA_ST_INVALID;
	status = cq_check(vm, log_entries);
	if (status)
		return status;
	status = cq_buffer(vm, &resize->mem, log_entries, &buffer);
	if (status)
		return status;
	/* Completions of what was posted before the call count. */
	pthread_mutex_unlock(&vm->lock);
	worker_settle(cq->context);
	pthread_mutex_lock(&vm->lock);
	status = cq_resize(cq, buffer, log_entries, &old);
	ring_buffer_free(status ? buffer : old);
	/* What was held back may fit now. */
	if (!status)
		vm->wake_worker = true;
	return status;
}
