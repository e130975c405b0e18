// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "vm/events.h"
#include "lib/heap.h"

int commands_create_ceq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	uint32_t log_entries = le32toh(cmd->create_ceq.log_entries);
	uint32_t vector = le32toh(cmd->create_ceq.vector);
	struct ceq *ceq;
	int status, ret;

	if (vector < PVHCA_VECTOR_ADMIN || vector >= vm->num_vectors)
		return PVHCA_ST_INVALID;
	ceq = heap_zalloc(vm->heap, sizeof(*ceq));
	if (!ceq)
		return PVHCA_ST_NO_MEMORY;
	ceq->vm = vm;
	ceq->vector = vector;
	ret = events_ceq_init(ceq, le64toh(cmd->create_ceq.addr), log_entries);
	status = ret == -EFAULT ? PVHCA_ST_BAD_ADDRESS : PVHCA_ST_INVALID;
	if (ret)
		goto err_free;
	status = table_add(&vm->ceqs, ceq, &ceq->handle);
	if (status)
		goto err_fini;
	rsp->created.handle = htole32(ceq->handle);
	return PVHCA_ST_OK;

err_fini:
	events_ceq_fini(ceq);
err_free:
	heap_free(ceq);
	return status;
}

void commands_free_ceq(void *object, void *arg)
{
	struct vm *vm = arg;
	struct ceq *ceq = object;

	table_del(&vm->ceqs, ceq->handle);
	events_ceq_fini(ceq);
	heap_free(ceq);
}

int commands_destroy_ceq(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			 struct pvhca_admin_rsp *rsp)
{
	struct ceq *ceq = table_find(&vm->ceqs, le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!ceq || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	if (ceq->users)
		return PVHCA_ST_BUSY;
	commands_free_ceq(ceq, vm);
	return PVHCA_ST_OK;
}
