// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The end of a VM that cannot be served any more, and requests to the session's thread.
 * Any thread calls these.
 */
#include <stdarg.h>
#include <stdio.h>

#include "vm/vm.h"

bool vm_failing(const struct vm *vm)
{
	return atomic_load(&vm->failing);
}

static void vm_vfail(struct vm *vm, uint32_t error, const char *format, va_list args)
{
	uint32_t none = PVHCA_DEV_ERR_NONE;
	char what[256];

	if (!atomic_compare_exchange_strong(&vm->failing, &none, error))
		return;
	vsnprintf(what, sizeof(what), format, args);
	vm_warning(vm, "%s: %s",
		   error == PVHCA_DEV_ERR_GUEST ? "the guest broke the protocol" : "stopped", what);
	if (error == PVHCA_DEV_ERR_GUEST)
		counter_add(&vm->counters.protocol_errors, 1);
	vm->thread->failed(vm);
}

void vm_fail(struct vm *vm, uint32_t error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vm_vfail(vm, error, format, args);
	va_end(args);
}

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vm_vfail(vm, PVHCA_DEV_ERR_GUEST, format, args);
	va_end(args);
}

void vm_retry_soon(struct vm *vm)
{
	if (!atomic_exchange(&vm->retrying, true))
		vm->thread->retry(vm);
}
