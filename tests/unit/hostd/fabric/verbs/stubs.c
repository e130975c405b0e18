// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The rest of pvhcad, for suites of the verbs fabric's control operations: a worker that
 * need not be woken, and a guest that does no wrong.
 */
#include "stubs.h"

#include <check.h>
#include <string.h>

#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "vm/events.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* No connections to native peers. */
void cm_qp_add(struct cm_vm *cv, struct hash_node *node, uint32_t qpn)
{
	(void)cv;
	(void)node;
	(void)qpn;
}

void cm_qp_del(struct cm_vm *cv, struct hash_node *node)
{
	(void)cv;
	(void)node;
}

bool cm_terms(struct cm_vm *cv, const uint8_t peer[16], uint32_t peer_qpn, struct cm_terms *terms)
{
	(void)peer;
	(void)peer_qpn;
	if (!cv)
		return false;
	*terms = (struct cm_terms){ STUBS_CM_PSN, IBV_MTU_256 };
	return true;
}

/* Addresses: all peers are where they seem to be, but the one that begins with 0xcc. */
void verbs_address_to_host(struct vm *vm, const uint8_t peer[16], uint8_t host[16])
{
	(void)vm;
	memcpy(host, peer, 16);
	if (peer[0] == 0xcc)
		host[0] = 0xdd;
}

unsigned int stubs_datagram_qps;

void verbs_address_qp_add(struct verbs_vm *vv, struct verbs_datagrams *qp, uint32_t qpn)
{
	(void)vv;
	(void)qp;
	(void)qpn;
	stubs_datagram_qps++;
}

void verbs_address_qp_del(struct verbs_vm *vv, struct verbs_datagrams *qp)
{
	(void)vv;
	(void)qp;
	stubs_datagram_qps--;
}

bool verbs_address_show(struct vm *vm, uint32_t src_qpn, uint8_t source[16],
			uint8_t destination[16])
{
	(void)vm;
	(void)src_qpn;
	(void)source;
	(void)destination;
	return false;
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
