// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests' addresses, and the host's in their place; fabric/verbs/private.h tells why.
 *
 * One lock covers what all VMs' addresses and UD QPs are found by. It is held for look-ups
 * only, and comes after all others but that of regions.
 */
#include <stdlib.h>
#include <string.h>

#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "lib/address.h"
#include "lib/log.h"

/**
 * struct verbs_addresses - see above
 * @known: struct verbs_address by its gid; several entries may have it, see vm/policy.c
 * @added: how many there have been
 * @qps: struct verbs_datagrams by the number of a UD QP
 */
struct verbs_addresses {
	pthread_mutex_t lock;
	struct hash known;
	uint64_t added;
	struct hash qps;
};

struct verbs_addresses *verbs_addresses_new(void)
{
	struct verbs_addresses *addresses = calloc(1, sizeof(*addresses));

	if (addresses)
		pthread_mutex_init(&addresses->lock, NULL);
	return addresses;
}

void verbs_addresses_free(struct verbs_addresses *addresses)
{
	if (!addresses)
		return;
	hash_fini(&addresses->qps);
	hash_fini(&addresses->known);
	pthread_mutex_destroy(&addresses->lock);
	free(addresses);
}

bool verbs_address_is_translated(const struct verbs_address *address)
{
	return memcmp(address->gid, address->host, sizeof(address->gid)) != 0;
}

/* ------------------------------- the host's table -------------------------- */

static bool table_entry(struct verbs_vm *vv, int index, struct ibv_gid_entry *entry)
{
	return !ibv_query_gid_ex(vv->context, vv->fabric->port, index, entry, 0) &&
		entry->gid_type == IBV_GID_TYPE_ROCE_V2;
}

static int table_length(struct verbs_vm *vv)
{
	struct ibv_port_attr attr;

	return ibv_query_port(vv->context, vv->fabric->port, &attr) ? 0 : attr.gid_tbl_len;
}

static bool table_has(struct verbs_vm *vv, int index, const struct verbs_address *address,
		      bool same_interface)
{
	struct ibv_gid_entry entry;

	return table_entry(vv, index, &entry) &&
		!memcmp(entry.gid.raw, address->host, sizeof(address->host)) &&
		(!same_interface || entry.ndev_ifindex == address->ifindex);
}

/* The host's table may have changed since the index was true, and its interfaces, too. */
int verbs_gid_index(struct verbs_vm *vv, struct verbs_address *address)
{
	int i, length, index = atomic_load(&address->index);

	if (table_has(vv, index, address, true))
		return index;
	length = table_length(vv);
	for (int same = 1; same >= 0; same--)
		for (i = 0; i < length; i++)
			if (table_has(vv, i, address, same)) {
				atomic_store(&address->index, i);
				return i;
			}
	return -1;
}

/* Both IPv4, both link-local, or neither. */
static bool is_of_same_kind(const uint8_t a[16], const uint8_t b[16])
{
	return address_is_ipv4(a) == address_is_ipv4(b) &&
		address_is_link_local(a) == address_is_link_local(b);
}

/* How well an address of the host's does for a guest's; the first of the best is taken. */
enum fitness {
	UNFIT,
	ANY_OF_THE_HOST,
	LISTED_FOR_THE_VM,
	SAME_ON_OTHER_VLAN,
	SAME,
};

static enum fitness fitness(struct vm *vm, const struct ibv_gid_entry *entry, const uint8_t gid[16],
			    uint16_t vlan)
{
	bool same = !memcmp(entry->gid.raw, gid, 16);

	if (!same && (!vm->policy->translate || !is_of_same_kind(entry->gid.raw, gid)))
		return UNFIT;
	if (verbs_vlan_of(entry->ndev_ifindex) != vlan)
		return same ? SAME_ON_OTHER_VLAN : UNFIT;
	if (same)
		return SAME;
	switch (config_listing(vm->config, vm->policy, entry->gid.raw)) {
	case CONFIG_LISTED_FOR_IT:
		return LISTED_FOR_THE_VM;
	case CONFIG_LISTED_FOR_OTHERS:
		return UNFIT;
	default:
		return ANY_OF_THE_HOST;
	}
}

/* What is to stand for a guest's address. False: the host has nothing that will do. */
static bool address_choose(struct vm *vm, const uint8_t gid[16], uint16_t vlan,
			   struct verbs_address *to)
{
	struct verbs_vm *vv = vm->fabric_vm;
	enum fitness best = UNFIT, now;
	struct ibv_gid_entry entry;
	int length = table_length(vv);

	memcpy(to->gid, gid, sizeof(to->gid));
	for (int i = 0; i < length && best != SAME; i++) {
		if (!table_entry(vv, i, &entry))
			continue;
		now = fitness(vm, &entry, gid, vlan);
		if (now <= best)
			continue;
		best = now;
		memcpy(to->host, entry.gid.raw, sizeof(to->host));
		to->ifindex = entry.ndev_ifindex;
		atomic_store(&to->index, i);
	}
	return best != UNFIT;
}

/* ---------------------------------- guests' -------------------------------- */

/* The entry that has had the address longest, or NULL. With the lock held. */
static const struct verbs_address *known_find(const struct verbs_addresses *addresses,
					      const uint8_t gid[16])
{
	struct hash_node *node = hash_first(&addresses->known, hash_bytes(gid, 16));
	const struct verbs_address *found = NULL;

	for (; node; node = hash_next(node)) {
		struct verbs_address *address = hash_object(node, struct verbs_address, known);

		if (!memcmp(address->gid, gid, sizeof(address->gid)) &&
		    (!found || address->since < found->since))
			found = address;
	}
	return found;
}

static void log_translated(const struct vm *vm, const struct verbs_address *address)
{
	char own[ADDRESS_TEXT], host[ADDRESS_TEXT];

	vm_info(vm, "address %s is %s on the host's network", address_text(address->gid, own),
		address_text(address->host, host));
}

static void log_untranslated(const struct vm *vm, const uint8_t gid[16])
{
	char own[ADDRESS_TEXT];

	vm_info(vm, "the host's device has no address of that family and VLAN to stand for %s",
		address_text(gid, own));
}

/*
 * Entries that have the address: it may stand there once for each VLAN. The table of vm/vm.h
 * does not do, for an entry may be taken back before it is there.
 */
static unsigned int address_uses(const struct verbs_vm *vv, const uint8_t gid[16])
{
	unsigned int uses = 0;

	for (unsigned int i = 0; i < VM_GIDS; i++)
		uses += vv->address[i].used && !memcmp(vv->address[i].gid, gid, 16);
	return uses;
}

int verbs_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	struct verbs_address *address = &vv->address[index];

	if (!address_choose(vm, gid, vlan, address)) {
		if (vm->policy->translate)
			log_untranslated(vm, gid);
		return PVHCA_ST_NOT_FOUND;
	}
	if (!address_uses(vv, gid) && cm_gid_add(vv->cm, gid, address->host, address->ifindex))
		return PVHCA_ST_NO_MEMORY;
	pthread_mutex_lock(&addresses->lock);
	address->since = addresses->added++;
	hash_add(&addresses->known, &address->known, hash_bytes(gid, 16));
	address->used = true;
	pthread_mutex_unlock(&addresses->lock);
	if (verbs_address_is_translated(address)) {
		atomic_fetch_add(&vv->translated, 1);
		log_translated(vm, address);
	}
	return PVHCA_ST_OK;
}

void verbs_gid_del(struct vm *vm, uint32_t index, const uint8_t gid[16])
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	struct verbs_address *address = &vv->address[index];

	if (address_uses(vv, gid) == 1)
		cm_gid_del(vv->cm, gid);
	if (verbs_address_is_translated(address))
		atomic_fetch_sub(&vv->translated, 1);
	pthread_mutex_lock(&addresses->lock);
	address->used = false;
	hash_del(&addresses->known, &address->known);
	pthread_mutex_unlock(&addresses->lock);
}

void verbs_address_to_host(struct vm *vm, const uint8_t peer[16], uint8_t host[16])
{
	const struct verbs_vm *vv = vm->fabric_vm;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	const struct verbs_address *known;

	pthread_mutex_lock(&addresses->lock);
	known = known_find(addresses, peer);
	if (known)
		memcpy(host, known->host, sizeof(known->host));
	pthread_mutex_unlock(&addresses->lock);
	if (!known && !config_route(vm->config, peer, host))
		memcpy(host, peer, 16);
}

/* --------------------------------- datagrams ------------------------------- */

void verbs_address_qp_add(struct verbs_vm *vv, struct verbs_datagrams *qp, uint32_t qpn)
{
	struct verbs_addresses *addresses = vv->fabric->addresses;

	qp->vv = vv;
	pthread_mutex_lock(&addresses->lock);
	hash_add(&addresses->qps, &qp->node, qpn);
	pthread_mutex_unlock(&addresses->lock);
}

void verbs_address_qp_del(struct verbs_vm *vv, struct verbs_datagrams *qp)
{
	struct verbs_addresses *addresses = vv->fabric->addresses;

	pthread_mutex_lock(&addresses->lock);
	hash_del(&addresses->qps, &qp->node);
	pthread_mutex_unlock(&addresses->lock);
}

/*
 * The first address of the VM that has this one of the host's on the wire, but that itself if
 * the VM has it. With the lock held.
 */
static bool address_behind(const struct verbs_vm *vv, uint8_t gid[16])
{
	const struct verbs_address *found = NULL;

	for (unsigned int i = 0; i < VM_GIDS; i++) {
		const struct verbs_address *address = &vv->address[i];

		if (!address->used || memcmp(address->host, gid, sizeof(address->host)))
			continue;
		if (!verbs_address_is_translated(address))
			return false;
		if (!found)
			found = address;
	}
	if (found)
		memcpy(gid, found->gid, sizeof(found->gid));
	return found;
}

bool verbs_address_show(struct vm *vm, uint32_t src_qpn, uint8_t source[16],
			uint8_t destination[16])
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	const struct verbs_datagrams *from;
	bool changed;

	pthread_mutex_lock(&addresses->lock);
	changed = address_behind(vv, destination);
	from = hash_object(hash_first(&addresses->qps, src_qpn), struct verbs_datagrams, node);
	/* A peer's QP may have the number of one of ours; its address is another. */
	if (from && address_behind(from->vv, source))
		changed = true;
	else if (config_route_back(vm->config, source, source))
		changed = true;
	pthread_mutex_unlock(&addresses->lock);
	return changed;
}
