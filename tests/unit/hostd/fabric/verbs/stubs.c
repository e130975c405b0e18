// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The rest of pvhcad, for suites of the verbs fabric's control operations: a worker that
 * need not be woken, and a guest that does no wrong.
 */
#include <check.h>

#include "fabric/verbs/cm/cm.h"
#include "vm/events.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* No connections to native peers. */
void cm_qp_add(struct cm_vm *cv, uint32_t qpn)
{
	(void)cv;
	(void)qpn;
}

void cm_qp_del(struct cm_vm *cv, uint32_t qpn)
{
	(void)cv;
	(void)qpn;
}

uint32_t cm_rq_psn(struct cm_vm *cv, const uint8_t peer[16], uint32_t peer_qpn, uint32_t psn)
{
	(void)cv;
	(void)peer;
	(void)peer_qpn;
	return psn;
}

void worker_wake(struct worker *worker)
{
	(void)worker;
}

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	(void)vm;
	(void)format;
	ck_abort();
}

void events_async(struct vm *vm, uint32_t event, uint32_t object)
{
	(void)vm;
	(void)event;
	(void)object;
}
