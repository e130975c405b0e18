// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses that sessions have, process-wide: two tables, one lock, which is
 * held for look-ups only.
 *
 * All of it is by network (vm->network): VMs of different ones do not see each other.
 *
 * A GID belongs to one session, which may claim it several times: a VLAN interface has
 * the link-local address of the interface below. The exception is the default GID that a guest's
 * kernel derives from the MAC of its netdev. On the verbs fabric the host has only
 * the one of its own MAC. So all guests get that MAC and share that GID. The host
 * tells their traffic apart by QP number, as it does for its processes.
 *
 * What the settings give to one VM is not for others, even while it is not there
 * (config_may_have()), and with it the link-local addresses of MACs that sessions have:
 * else another VM could have an address first, and keep its VM from it.
 */
#include "vm/policy.h"

#include <pthread.h>
#include <string.h>

#include "lib/address.h"
#include "lib/log.h"
#include "vm/vm.h"

struct gid_key {
	uint32_t network;
	uint8_t gid[16];
};

struct gid_claim {
	struct gid_key key;
	const struct vm *owner; /* the first; not followed */
	unsigned int claims;
	bool shared;
};

struct mac_claim {
	uint32_t network;
	uint8_t mac[6];
};

static pthread_mutex_t policy_lock = PTHREAD_MUTEX_INITIALIZER;
static GHashTable *policy_gids; /* struct gid_claim, by its key */
static GHashTable *policy_macs; /* struct mac_claim, by itself */

#define GID_KEY_LEN sizeof(struct gid_key)
#define MAC_KEY_LEN (offsetof(struct mac_claim, mac) + 6) /* without what fills it up */

/* FNV-1a. Keys come from guests, but a quota bounds their number. */
static guint policy_hash(const uint8_t *bytes, size_t n)
{
	guint hash = 2166136261u;

	while (n--)
		hash = (hash ^ *bytes++) * 16777619u;
	return hash;
}

static guint gid_hash(const void *key)
{
	return policy_hash(key, GID_KEY_LEN);
}

static gboolean gid_equal(const void *a, const void *b)
{
	return !memcmp(a, b, GID_KEY_LEN);
}

static guint mac_hash(const void *key)
{
	return policy_hash(key, MAC_KEY_LEN);
}

static gboolean mac_equal(const void *a, const void *b)
{
	return !memcmp(a, b, MAC_KEY_LEN);
}

/* Lock held. */
static void policy_init(void)
{
	if (policy_gids)
		return;
	policy_gids = g_hash_table_new_full(gid_hash, gid_equal, NULL, g_free);
	policy_macs = g_hash_table_new_full(mac_hash, mac_equal, NULL, g_free);
}

static struct gid_key policy_gid_key(const struct vm *vm, const uint8_t gid[16])
{
	struct gid_key key = { .network = vm->network };

	memcpy(key.gid, gid, sizeof(key.gid));
	return key;
}

static struct mac_claim policy_mac_key(const struct vm *vm, const uint8_t mac[6])
{
	struct mac_claim key = { .network = vm->network };

	memcpy(key.mac, mac, sizeof(key.mac));
	return key;
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

/* Those of the host are for listed VMs only, where there are to be no others. */
static bool policy_allows(const struct vm *vm, const uint8_t gid[16])
{
	const struct vm_policy *policy = vm->policy;

	if (vm->ops->host_addresses && policy->strict && !policy->addresses)
		return false;
	return config_may_have(vm->config, policy, gid);
}

/* Does another session have the MAC that this address follows from? Lock held. */
static bool policy_is_others_default(const struct vm *vm, const uint8_t gid[16])
{
	struct mac_claim key = { .network = vm->network };

	if (!address_link_local_mac(gid, key.mac) ||
	    (vm->mac_chosen && !memcmp(key.mac, vm->mac, 6)))
		return false;
	return g_hash_table_contains(policy_macs, &key);
}

int policy_claim_gid(struct vm *vm, const uint8_t gid[16])
{
	bool is_default = policy_is_default_gid(vm, gid);
	bool shared = is_default && vm->mac_shared;
	struct gid_key key = policy_gid_key(vm, gid);
	struct gid_claim *claim;
	int status = PVHCA_ST_OK;

	if (!is_default && !policy_allows(vm, gid))
		return PVHCA_ST_DENIED;
	pthread_mutex_lock(&policy_lock);
	policy_init();
	claim = g_hash_table_lookup(policy_gids, &key);
	if (policy_is_others_default(vm, gid)) {
		status = PVHCA_ST_IN_USE;
	} else if (!claim) {
		claim = g_new0(struct gid_claim, 1);
		claim->key = key;
		claim->owner = vm;
		claim->shared = shared;
		claim->claims = 1;
		g_hash_table_add(policy_gids, claim);
	} else if (claim->owner == vm || (claim->shared && shared)) {
		claim->claims++;
	} else {
		status = PVHCA_ST_IN_USE;
	}
	pthread_mutex_unlock(&policy_lock);
	return status;
}

void policy_release_gid(struct vm *vm, const uint8_t gid[16])
{
	struct gid_key key = policy_gid_key(vm, gid);
	struct gid_claim *claim;

	pthread_mutex_lock(&policy_lock);
	policy_init();
	claim = g_hash_table_lookup(policy_gids, &key);
	if (claim && !--claim->claims)
		g_hash_table_remove(policy_gids, claim);
	pthread_mutex_unlock(&policy_lock);
}

/* ---------------------------------- MACs ----------------------------------- */

/* False: another session has it, or another VM's settings. */
static bool policy_take_mac(struct vm *vm, const uint8_t mac[6])
{
	struct mac_claim *claim, key = policy_mac_key(vm, mac);
	bool taken;

	if (!vm->policy->has_mac && config_mac_reserved(vm->config, vm->policy, mac))
		return false;
	pthread_mutex_lock(&policy_lock);
	policy_init();
	taken = g_hash_table_contains(policy_macs, &key);
	if (!taken) {
		claim = g_new0(struct mac_claim, 1);
		*claim = key;
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

static void policy_share_mac(struct vm *vm, const uint8_t mac[6])
{
	memcpy(vm->mac, mac, sizeof(vm->mac));
	vm->mac_shared = true;
}

bool policy_is_paired(const struct vm *vm)
{
	return vm->policy->has_pair ? vm->policy->pair : vm->hello_pair;
}

/* Of an interface that the guest has. */
static int policy_claim_paired_mac(struct vm *vm)
{
	const uint8_t *mac = vm->policy->has_mac ? vm->policy->mac : vm->hello_mac;
	uint8_t host[6];
	bool has_host = fabric_hook(vm->ops, false, default_mac, vm, host);

	if (!address_mac_valid(mac)) {
		vm_warning(vm, "it is to be paired, but neither its settings nor QEMU name a MAC");
		return PVHCA_ST_INVALID;
	}
	if ((has_host && !memcmp(host, mac, sizeof(host))) || !policy_take_mac(vm, mac)) {
		vm_warning(vm, "it is to be paired, but the host or another VM has its MAC");
		return PVHCA_ST_IN_USE;
	}
	vm->mac_chosen = true;
	return PVHCA_ST_OK;
}

int policy_claim_mac(struct vm *vm)
{
	uint8_t host[6];
	bool has_host;

	if (vm->mac_chosen)
		return PVHCA_ST_OK;
	if (policy_is_paired(vm))
		return policy_claim_paired_mac(vm);
	if (vm->policy->has_mac) {
		if (!policy_take_mac(vm, vm->policy->mac)) {
			vm_warning(vm, "the MAC in its settings is in use by another VM");
			return PVHCA_ST_IN_USE;
		}
		goto out;
	}
	has_host = fabric_hook(vm->ops, false, default_mac, vm, host);
	/* Who wishes for the host's shares it: nobody gets it for himself. */
	if (address_mac_valid(vm->hello_mac) &&
	    !(has_host && !memcmp(host, vm->hello_mac, sizeof(host)))) {
		if (policy_take_mac(vm, vm->hello_mac))
			goto out;
		vm_warning(vm, "the MAC that QEMU asks for is another VM's; choosing one");
	}
	if (has_host)
		policy_share_mac(vm, host);
	else
		policy_take_derived_mac(vm);
out:
	vm->mac_chosen = true;
	return PVHCA_ST_OK;
}

void policy_release_mac(struct vm *vm)
{
	struct mac_claim key = policy_mac_key(vm, vm->mac);

	if (vm->mac_chosen && !vm->mac_shared) {
		pthread_mutex_lock(&policy_lock);
		g_hash_table_remove(policy_macs, &key);
		pthread_mutex_unlock(&policy_lock);
	}
	vm->mac_chosen = false;
}
