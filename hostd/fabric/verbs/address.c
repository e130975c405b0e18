// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests' addresses, and the host's in their place; fabric/verbs/private.h tells why.
 *
 * One lock covers what all VMs' addresses and UD QPs are found by. It is held for look-ups
 * only, and comes after all others but that of regions.
 */
#include <string.h>

#include <glib.h>

#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "lib/address.h"
#include "lib/log.h"

/* An address of a guest's; several entries of GID tables may have it, see vm/policy.c. */
struct known {
	uint8_t gid[16];
	uint8_t host[16];
	unsigned int uses;
};

/**
 * struct verbs_addresses - see above
 * @known: struct known by its gid
 * @qps: struct verbs_vm by the number of a UD QP
 */
struct verbs_addresses {
	pthread_mutex_t lock;
	GHashTable *known;
	GHashTable *qps;
};

static guint gid_hash(const void *gid)
{
	guint hash = 0;

	for (int i = 0; i < 16; i++)
		hash = hash * 31 + ((const uint8_t *)gid)[i];
	return hash;
}

static gboolean gid_equal(const void *a, const void *b)
{
	return !memcmp(a, b, 16);
}

struct verbs_addresses *verbs_addresses_new(void)
{
	struct verbs_addresses *addresses = g_try_new0(struct verbs_addresses, 1);

	if (!addresses)
		return NULL;
	pthread_mutex_init(&addresses->lock, NULL);
	addresses->known = g_hash_table_new_full(gid_hash, gid_equal, NULL, g_free);
	addresses->qps = g_hash_table_new(NULL, NULL);
	return addresses;
}

void verbs_addresses_free(struct verbs_addresses *addresses)
{
	if (!addresses)
		return;
	g_hash_table_destroy(addresses->qps);
	g_hash_table_destroy(addresses->known);
	pthread_mutex_destroy(&addresses->lock);
	g_free(addresses);
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

static void known_add(struct verbs_addresses *addresses, const struct verbs_address *address)
{
	struct known *known = g_hash_table_lookup(addresses->known, address->gid);

	if (!known) {
		known = g_new0(struct known, 1);
		memcpy(known->gid, address->gid, sizeof(known->gid));
		memcpy(known->host, address->host, sizeof(known->host));
		g_hash_table_add(addresses->known, known);
	}
	known->uses++;
}

static void known_del(struct verbs_addresses *addresses, const uint8_t gid[16])
{
	struct known *known = g_hash_table_lookup(addresses->known, gid);

	if (known && !--known->uses)
		g_hash_table_remove(addresses->known, gid);
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
	pthread_mutex_lock(&addresses->lock);
	known_add(addresses, address);
	address->used = true;
	pthread_mutex_unlock(&addresses->lock);
	if (verbs_address_is_translated(address)) {
		atomic_fetch_add(&vv->translated, 1);
		log_translated(vm, address);
	}
	if (!vm_gid_uses(vm, gid))
		cm_gid_add(vv->cm, gid, address->host, address->ifindex);
	return PVHCA_ST_OK;
}

void verbs_gid_del(struct vm *vm, uint32_t index, const uint8_t gid[16])
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	struct verbs_address *address = &vv->address[index];

	/* The entry is still there. */
	if (vm_gid_uses(vm, gid) == 1)
		cm_gid_del(vv->cm, gid);
	if (verbs_address_is_translated(address))
		atomic_fetch_sub(&vv->translated, 1);
	pthread_mutex_lock(&addresses->lock);
	address->used = false;
	known_del(addresses, gid);
	pthread_mutex_unlock(&addresses->lock);
}

void verbs_address_to_host(struct vm *vm, const uint8_t peer[16], uint8_t host[16])
{
	const struct verbs_vm *vv = vm->fabric_vm;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	const struct known *known;

	pthread_mutex_lock(&addresses->lock);
	known = g_hash_table_lookup(addresses->known, peer);
	if (known)
		memcpy(host, known->host, sizeof(known->host));
	pthread_mutex_unlock(&addresses->lock);
	if (!known && !config_route(vm->config, peer, host))
		memcpy(host, peer, 16);
}

/* --------------------------------- datagrams ------------------------------- */

void verbs_address_qp_add(struct verbs_vm *vv, uint32_t qpn)
{
	struct verbs_addresses *addresses = vv->fabric->addresses;

	pthread_mutex_lock(&addresses->lock);
	g_hash_table_insert(addresses->qps, GUINT_TO_POINTER(qpn), vv);
	pthread_mutex_unlock(&addresses->lock);
}

void verbs_address_qp_del(struct verbs_vm *vv, uint32_t qpn)
{
	struct verbs_addresses *addresses = vv->fabric->addresses;

	pthread_mutex_lock(&addresses->lock);
	if (g_hash_table_lookup(addresses->qps, GUINT_TO_POINTER(qpn)) == vv)
		g_hash_table_remove(addresses->qps, GUINT_TO_POINTER(qpn));
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
	struct verbs_vm *vv = vm->fabric_vm, *from;
	struct verbs_addresses *addresses = vv->fabric->addresses;
	bool changed;

	pthread_mutex_lock(&addresses->lock);
	changed = address_behind(vv, destination);
	from = g_hash_table_lookup(addresses->qps, GUINT_TO_POINTER(src_qpn));
	/* A peer's QP may have the number of one of ours; its address is another. */
	if (from && address_behind(from, source))
		changed = true;
	else if (config_route_back(vm->config, source, source))
		changed = true;
	pthread_mutex_unlock(&addresses->lock);
	return changed;
}
