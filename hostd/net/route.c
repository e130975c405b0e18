// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The owners of addresses, for packets. Workers look them up without a lock. An entry of a VM's
 * GID table is an entry here, so an address may stand here more than once: for several VLANs of
 * one VM, for VMs of several networks, and for several VMs of one what policy lets them share
 * (vm/policy.c). No packet leaves the network of its VM.
 */
#include <pthread.h>
#include <string.h>

#include <urcu-qsbr.h>
#include <urcu/rcuhlist.h>

#include "lib/heap.h"
#include "net/private.h"

#define ROUTE_BITS 10

struct net_address {
	struct cds_hlist_node node;
	struct vm *vm;
	uint8_t gid[16];
	uint16_t vlan;
	bool hidden; /* it was taken out already: its VM goes */
};

static pthread_mutex_t route_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cds_hlist_head routes[1 << ROUTE_BITS];

/* GIDs of all kinds differ in their last bytes. */
static struct cds_hlist_head *route_bucket(const uint8_t gid[16])
{
	uint32_t low;

	memcpy(&low, gid + 12, sizeof(low));
	return &routes[low * 2654435761u >> (32 - ROUTE_BITS)];
}

/* The VM's own entry of this address, or NULL. */
static const struct net_address *route_own(const struct vm *vm, const uint8_t gid[16])
{
	const struct net_address *address;

	cds_hlist_for_each_entry_rcu_2 (address, route_bucket(gid), node)
		if (address->vm == vm && !memcmp(address->gid, gid, sizeof(address->gid)))
			return address;
	return NULL;
}

bool net_owns(const struct vm *vm, const uint8_t gid[16])
{
	return route_own(vm, gid);
}

struct vm *net_route(const struct vm *from, const uint8_t gid[16], uint16_t *vlan)
{
	const struct net_address *own = route_own(from, gid), *address = own;

	if (own)
		goto found;
	cds_hlist_for_each_entry_rcu_2 (address, route_bucket(gid), node)
		if (address->vm->network == from->network &&
		    !memcmp(address->gid, gid, sizeof(address->gid)))
			goto found;
	return NULL;

found:
	*vlan = address->vlan;
	return address->vm;
}

int net_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	struct net_address *address = heap_zalloc(vm->heap, sizeof(*address));

	if (!address)
		return PVHCA_ST_NO_MEMORY;
	address->vm = vm;
	address->vlan = vlan;
	memcpy(address->gid, gid, sizeof(address->gid));
	vm->gids[index].net = address;
	pthread_mutex_lock(&route_lock);
	cds_hlist_add_head_rcu(&address->node, route_bucket(gid));
	pthread_mutex_unlock(&route_lock);
	return PVHCA_ST_OK;
}

/* With route_lock held. */
static void route_hide(struct net_address *address)
{
	if (!address || address->hidden)
		return;
	cds_hlist_del_rcu(&address->node);
	address->hidden = true;
}

void net_gid_hide(struct vm *vm, uint32_t index)
{
	pthread_mutex_lock(&route_lock);
	route_hide(vm->gids[index].net);
	pthread_mutex_unlock(&route_lock);
}

void net_gid_del(struct vm *vm, uint32_t index)
{
	heap_free(vm->gids[index].net);
	vm->gids[index].net = NULL;
}

void net_hide(struct vm *vm)
{
	pthread_mutex_lock(&route_lock);
	for (unsigned int i = 0; i < VM_GIDS; i++)
		route_hide(vm->gids[i].net);
	pthread_mutex_unlock(&route_lock);
	rcu_assign_pointer(vm->net_qp, NULL);
}
