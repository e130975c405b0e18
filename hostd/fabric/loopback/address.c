// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who has which GID on the loopback fabric. Datagrams are routed by it, so
 * workers look addresses up without a lock; entries live for a grace period
 * after they were taken out.
 */
#include <stdlib.h>
#include <string.h>

#include <urcu-qsbr.h>
#include <urcu/rcuhlist.h>

#include "fabric/loopback/private.h"
#include "vm/vm.h"

struct address {
	struct cds_hlist_node node;
	struct address *next_gone;
	struct vm *vm;
	unsigned int refs;
	uint8_t gid[LOOPBACK_GID_LEN];
};

/* Addresses differ in their last bytes, of whatever kind they are. */
static unsigned int bucket_of(const uint8_t gid[LOOPBACK_GID_LEN])
{
	uint32_t low;

	memcpy(&low, gid + LOOPBACK_GID_LEN - sizeof(low), sizeof(low));
	return low * 2654435761u >> (32 - LOOPBACK_ADDRESS_BITS);
}

/* In an RCU read section, or with fabric->lock held. */
static struct address *address_find(struct loopback *fabric, const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address;

	cds_hlist_for_each_entry_rcu_2(address, &fabric->addresses[bucket_of(gid)],
				       node) if (!memcmp(address->gid, gid,
							 LOOPBACK_GID_LEN)) return address;
	return NULL;
}

struct vm *loopback_address_owner(struct loopback *fabric, const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address = address_find(fabric, gid);

	return address ? address->vm : NULL;
}

/* With fabric->lock held. */
static int address_add(struct loopback *fabric, struct vm *vm, const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address = address_find(fabric, gid);

	if (address && address->vm != vm)
		return PVHCA_ST_IN_USE;
	if (!address) {
		address = calloc(1, sizeof(*address));
		if (!address)
			return PVHCA_ST_NO_MEMORY;
		address->vm = vm;
		memcpy(address->gid, gid, LOOPBACK_GID_LEN);
		cds_hlist_add_head_rcu(&address->node, &fabric->addresses[bucket_of(gid)]);
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

bool loopback_address_del(struct loopback *fabric, struct vm *vm,
			  const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct address *address;
	bool last = false;

	pthread_mutex_lock(&fabric->lock);
	address = address_find(fabric, gid);
	if (address && address->vm == vm && !--address->refs) {
		cds_hlist_del_rcu(&address->node);
		last = true;
	}
	pthread_mutex_unlock(&fabric->lock);
	if (!last)
		return false;
	synchronize_rcu();
	free(address);
	return true;
}

void loopback_address_del_all(struct loopback *fabric, struct vm *vm)
{
	struct cds_hlist_node *node, *next;
	struct address *address, *gone = NULL;
	unsigned int i;

	pthread_mutex_lock(&fabric->lock);
	for (i = 0; i < 1u << LOOPBACK_ADDRESS_BITS; i++) {
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
	if (!gone)
		return;
	synchronize_rcu();
	for (; gone; gone = address) {
		address = gone->next_gone;
		free(gone);
	}
}
