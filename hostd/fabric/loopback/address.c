// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The owners of GIDs on the loopback fabric. Datagrams are routed by them, so
 * workers look addresses up without a lock. Entries live for a grace period
 * after their removal.
 */
#include <stdlib.h>
#include <string.h>

#include <urcu-qsbr.h>
#include <urcu/rcuhlist.h>

#include "fabric/loopback/private.h"
#include "vm/vm.h"
#include "lib/heap.h"

struct address {
	struct cds_hlist_node node;
	struct address *next_gone;
	struct vm *vm;
	uint32_t network;
	unsigned int refs;
	uint8_t gid[LOOPBACK_GID_LEN];
};

/* In an RCU read section, or with fabric->lock held. */
static struct address *address_find(struct loopback *fabric, uint32_t network,
				    const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address;

	cds_hlist_for_each_entry_rcu_2 (address, &fabric->addresses[loopback_gid_bucket(gid)], node)
		if (address->network == network && !memcmp(address->gid, gid, LOOPBACK_GID_LEN))
			return address;
	return NULL;
}

struct vm *loopback_address_owner(struct loopback *fabric, uint32_t network,
				  const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address = address_find(fabric, network, gid);

	return address ? address->vm : NULL;
}

/* With fabric->lock held. */
static int address_add(struct loopback *fabric, struct vm *vm, const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address = address_find(fabric, vm->network, gid);

	if (address && address->vm != vm)
		return PVHCA_ST_IN_USE;
	if (!address) {
		address = heap_zalloc(vm->heap, sizeof(*address));
		if (!address)
			return PVHCA_ST_NO_MEMORY;
		address->vm = vm;
		address->network = vm->network;
		memcpy(address->gid, gid, LOOPBACK_GID_LEN);
		cds_hlist_add_head_rcu(&address->node,
				       &fabric->addresses[loopback_gid_bucket(gid)]);
	}
	address->refs++;
	return PVHCA_ST_OK;
}

int loopback_address_add(struct loopback *fabric, struct vm *vm,
			 const uint8_t gid[LOOPBACK_GID_LEN])
{
	int status;

	pthread_mutex_lock(&fabric->lock);
	status = address_add(fabric, vm, gid);
	pthread_mutex_unlock(&fabric->lock);
	return status;
}

struct address *loopback_address_del(struct loopback *fabric, struct vm *vm,
				     const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address, *gone = NULL;

	pthread_mutex_lock(&fabric->lock);
	address = address_find(fabric, vm->network, gid);
	if (address && address->vm == vm && !--address->refs) {
		cds_hlist_del_rcu(&address->node);
		gone = address;
	}
	pthread_mutex_unlock(&fabric->lock);
	return gone;
}

struct address *loopback_address_del_all(struct loopback *fabric, struct vm *vm)
{
	struct cds_hlist_node *node, *next;
	struct address *address, *gone = NULL;
	unsigned int i;

	pthread_mutex_lock(&fabric->lock);
	for (i = 0; i < 1u << LOOPBACK_GID_BITS; i++) {
		for (node = fabric->addresses[i].next; node; node = next) {
			next = node->next;
			address = cds_hlist_entry(node, struct address, node);
			if (address->vm != vm)
				continue;
			cds_hlist_del_rcu(node);
			address->next_gone = gone;
			gone = address;
		}
	}
	pthread_mutex_unlock(&fabric->lock);
	return gone;
}

void loopback_address_free_all(struct address *gone)
{
	struct address *next;

	for (; gone; gone = next) {
		next = gone->next_gone;
		heap_free(gone);
	}
}
