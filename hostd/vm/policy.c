// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses that sessions have, process-wide: two tables, one lock, which is
 * held for look-ups only.
 *
 * A GID belongs to one session. The exception is the default GID that a guest's
 * kernel derives from the MAC of its netdev. On the verbs fabric the host has only
 * the one of its own MAC; so all guests are given that MAC and share that GID,
 * and the host tells their traffic apart by QP number as it does for its processes.
 */
#include "vm/policy.h"

#include <pthread.h>
#include <string.h>

#include "lib/address.h"
#include "lib/log.h"
#include "vm/vm.h"

struct gid_claim {
	uint8_t gid[16];
	unsigned int claims;
	bool shared;
};

struct mac_claim {
	uint8_t mac[6];
};

static pthread_mutex_t policy_lock = PTHREAD_MUTEX_INITIALIZER;
static GHashTable *policy_gids; /* struct gid_claim, by its gid */
static GHashTable *policy_macs; /* struct mac_claim, by its mac */

/* FNV-1a; keys come from guests, but who has many of them is bounded by quota. */
static guint policy_hash(const uint8_t *bytes, unsigned int n)
{
	guint hash = 2166136261u;

	while (n--)
		hash = (hash ^ *bytes++) * 16777619u;
	return hash;
}

static guint gid_hash(const void *key)
{
	return policy_hash(key, 16);
}

static gboolean gid_equal(const void *a, const void *b)
{
	return !memcmp(a, b, 16);
}

static guint mac_hash(const void *key)
{
	return policy_hash(key, 6);
}

static gboolean mac_equal(const void *a, const void *b)
{
	return !memcmp(a, b, 6);
}

/* Lock held. */
static void policy_init(void)
{
	if (policy_gids)
		return;
	policy_gids = g_hash_table_new_full(gid_hash, gid_equal, NULL, g_free);
	policy_macs = g_hash_table_new_full(mac_hash, mac_equal, NULL, g_free);
}

/* ---------------------------------- GIDs ----------------------------------- */

static bool policy_is_default_gid(const struct vm *vm, const uint8_t gid[16])
{
	uint8_t own[16];

	if (!vm->mac_chosen)
		return false;
	address_link_local(vm->mac, own);
	return !memcmp(own, gid, sizeof(own));
}

static bool policy_allows(const struct vm *vm, const uint8_t gid[16])
{
	char **addresses = vm->policy->addresses;
	struct address_prefix prefix;

	if (!addresses)
		return true;
	for (; *addresses; addresses++)
		if (**addresses && address_parse(*addresses, &prefix) &&
		    address_matches(&prefix, gid))
			return true;
	return false;
}

int policy_claim_gid(struct vm *vm, const uint8_t gid[16])
{
	bool is_default = policy_is_default_gid(vm, gid);
	bool shared = is_default && vm->mac_shared;
	struct gid_claim *claim;
	int status = PVHCA_ST_OK;

	if (!is_default && !policy_allows(vm, gid))
		return PVHCA_ST_DENIED;
	pthread_mutex_lock(&policy_lock);
	policy_init();
	claim = g_hash_table_lookup(policy_gids, gid);
	if (!claim) {
		claim = g_new0(struct gid_claim, 1);
		memcpy(claim->gid, gid, sizeof(claim->gid));
		claim->shared = shared;
		claim->claims = 1;
		g_hash_table_add(policy_gids, claim);
	} else if (claim->shared && shared) {
		claim->claims++;
	} else {
		status = PVHCA_ST_IN_USE;
	}
	pthread_mutex_unlock(&policy_lock);
	return status;
}

void policy_release_gid(struct vm *vm, const uint8_t gid[16])
{
	struct gid_claim *claim;

	(void)vm;
	pthread_mutex_lock(&policy_lock);
	policy_init();
	claim = g_hash_table_lookup(policy_gids, gid);
	if (claim && !--claim->claims)
		g_hash_table_remove(policy_gids, claim);
	pthread_mutex_unlock(&policy_lock);
}

/* ---------------------------------- MACs ----------------------------------- */

/* False: another session has it. */
static bool policy_take_mac(struct vm *vm, const uint8_t mac[6])
{
	struct mac_claim *claim = NULL;
	bool taken;

	pthread_mutex_lock(&policy_lock);
	policy_init();
	taken = g_hash_table_contains(policy_macs, mac);
	if (!taken) {
		claim = g_new0(struct mac_claim, 1);
		memcpy(claim->mac, mac, sizeof(claim->mac));
		g_hash_table_add(policy_macs, claim);
	}
	pthread_mutex_unlock(&policy_lock);
	if (taken)
		return false;
	memcpy(vm->mac, mac, sizeof(vm->mac));
	vm->mac_shared = false;
	return true;
}

/* The same for a VM each time it starts, if it has a UUID or a name; salt: the n-th attempt. */
static void policy_derive_mac(const struct vm *vm, unsigned int salt, uint8_t mac[6])
{
	static const uint8_t no_uuid[16];
	uint64_t hash = 0xcbf29ce484222325ull;
	const uint8_t *from = vm->uuid;
	size_t n = sizeof(vm->uuid);

	if (!memcmp(vm->uuid, no_uuid, sizeof(no_uuid))) {
		from = (const uint8_t *)vm->name;
		n = strlen(vm->name);
	}
	while (n--)
		hash = (hash ^ *from++) * 0x100000001b3ull;
	hash = (hash ^ salt) * 0x100000001b3ull;
	hash ^= hash >> 32;
	mac[0] = 0x02; /* locally administered */
	for (int i = 1; i < 6; i++)
		mac[i] = hash >> (8 * i);
}

static void policy_take_derived_mac(struct vm *vm)
{
	uint8_t mac[6];
	unsigned int salt = 0;

	/* Sessions are few and MACs many: the first salts do. */
	do {
		policy_derive_mac(vm, salt++, mac);
	} while (!policy_take_mac(vm, mac));
}

int policy_claim_mac(struct vm *vm)
{
	if (vm->mac_chosen)
		return PVHCA_ST_OK;
	if (vm->policy->has_mac) {
		if (!policy_take_mac(vm, vm->policy->mac)) {
			g_warning("VM %s: the MAC in its settings is in use by another VM",
				  vm->name);
			return PVHCA_ST_IN_USE;
		}
		goto out;
	}
	if (address_mac_valid(vm->hello_mac)) {
		if (policy_take_mac(vm, vm->hello_mac))
			goto out;
		g_warning("VM %s: the MAC that QEMU asks for is in use by another VM; choosing one",
			  vm->name);
	}
	if (vm->ops->default_mac && vm->ops->default_mac(vm, vm->mac)) {
		vm->mac_shared = true;
		goto out;
	}
	policy_take_derived_mac(vm);
out:
	vm->mac_chosen = true;
	return PVHCA_ST_OK;
}

void policy_release_mac(struct vm *vm)
{
	if (vm->mac_chosen && !vm->mac_shared) {
		pthread_mutex_lock(&policy_lock);
		g_hash_table_remove(policy_macs, vm->mac);
		pthread_mutex_unlock(&policy_lock);
	}
	vm->mac_chosen = false;
}
