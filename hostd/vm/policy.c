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
#include "lib/hash.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "vm/vm.h"

struct gid_claim {
	struct hash_node node; /* by the GID */
	uint32_t network;
	uint8_t gid[16];
	const struct vm *owner; /* the first; not followed */
	unsigned int claims;
	bool shared;
};

static pthread_mutex_t policy_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hash policy_gids; /* struct gid_claim */
static struct hash policy_macs; /* struct vm, by mac_claim */

/*
 * Both within a VM's network, with the lock held. Keys come from guests, but a quota bounds
 * their number.
 */
static struct gid_claim *policy_find_gid(const struct vm *vm, const uint8_t gid[16])
{
	struct hash_node *node = hash_first(&policy_gids, hash_bytes(gid, 16));
	struct gid_claim *claim;

	for (; node; node = hash_next(node)) {
		claim = hash_object(node, struct gid_claim, node);
		if (claim->network == vm->network && !memcmp(claim->gid, gid, 16))
			return claim;
	}
	return NULL;
}

static const struct vm *policy_find_mac(const struct vm *vm, const uint8_t mac[6])
{
	struct hash_node *node = hash_first(&policy_macs, hash_bytes(mac, 6));
	const struct vm *owner;

	for (; node; node = hash_next(node)) {
		owner = hash_object(node, struct vm, mac_claim);
		if (owner->network == vm->network && !memcmp(owner->mac, mac, 6))
			return owner;
	}
	return NULL;
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
	uint8_t mac[6];

	if (!address_link_local_mac(gid, mac) || (vm->mac_chosen && !memcmp(mac, vm->mac, 6)))
		return false;
	return policy_find_mac(vm, mac);
}

/* Lock held. A shared one may outlast its first owner, so it is nobody's account. */
static int policy_add_gid(struct vm *vm, const uint8_t gid[16], bool shared)
{
	struct gid_claim *claim = heap_zalloc(shared ? NULL : vm->heap, sizeof(*claim));

	if (!claim)
		return PVHCA_ST_NO_MEMORY;
	claim->network = vm->network;
	memcpy(claim->gid, gid, sizeof(claim->gid));
	claim->owner = vm;
	claim->shared = shared;
	claim->claims = 1;
	hash_add(&policy_gids, &claim->node, hash_bytes(gid, sizeof(claim->gid)));
	return PVHCA_ST_OK;
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
	claim = policy_find_gid(vm, gid);
	if (policy_is_others_default(vm, gid)) {
		status = PVHCA_ST_IN_USE;
	} else if (!claim) {
		status = policy_add_gid(vm, gid, shared);
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
	struct gid_claim *claim;

	pthread_mutex_lock(&policy_lock);
	claim = policy_find_gid(vm, gid);
	if (claim && !--claim->claims) {
		hash_del(&policy_gids, &claim->node);
		heap_free(claim);
	}
	pthread_mutex_unlock(&policy_lock);
}

/* ---------------------------------- MACs ----------------------------------- */

/* False: another session has it, or another VM's settings. */
static bool policy_take_mac(struct vm *vm, const uint8_t mac[6])
{
	bool taken;

	if (!vm->policy->has_mac && config_mac_reserved(vm->config, vm->policy, mac))
		return false;
	pthread_mutex_lock(&policy_lock);
	taken = policy_find_mac(vm, mac);
	if (!taken) {
		memcpy(vm->mac, mac, sizeof(vm->mac));
		hash_add(&policy_macs, &vm->mac_claim, hash_bytes(mac, sizeof(vm->mac)));
	}
	pthread_mutex_unlock(&policy_lock);
	if (taken)
		return false;
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
	if (vm->mac_chosen && !vm->mac_shared) {
		pthread_mutex_lock(&policy_lock);
		hash_del(&policy_macs, &vm->mac_claim);
		pthread_mutex_unlock(&policy_lock);
	}
	vm->mac_chosen = false;
}
