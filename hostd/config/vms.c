// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What of the settings holds for one VM, who may come as it, and what of other VMs' is
 * not for it.
 */
#include <pthread.h>
#include <string.h>

#include "config/private.h"

/* Those who look up read, config_take() writes. */
static pthread_rwlock_t vms_lock = PTHREAD_RWLOCK_INITIALIZER;

void config_lock(void)
{
	pthread_rwlock_wrlock(&vms_lock);
}

void config_unlock(void)
{
	pthread_rwlock_unlock(&vms_lock);
}

/* ------------------------------- life and death ---------------------------- */

/* NULL: no memory. Whoever wants to connect can make us copy settings, so GLib must not do it. */
static struct vm_policy *config_policy_copy(const struct vm_policy *from)
{
	struct vm_policy *policy = g_try_new(struct vm_policy, 1);

	if (!policy)
		return NULL;
	*policy = *from;
	policy->before = NULL;
	policy->group = from->group ? strdup(from->group) : NULL;
	policy->addresses = NULL;
	if (from->addresses) {
		policy->addresses = g_try_new(struct address_prefix, MAX(from->num_addresses, 1));
		if (policy->addresses && from->num_addresses)
			memcpy(policy->addresses, from->addresses,
			       from->num_addresses * sizeof(*from->addresses));
	}
	if (!policy->group == !from->group && !policy->addresses == !from->addresses)
		return policy;
	config_policy_free(policy);
	return NULL;
}

static void config_policy_clear(struct vm_policy *policy)
{
	g_free(policy->group);
	g_free(policy->addresses);
}

void config_policy_free(struct vm_policy *policy)
{
	struct vm_policy *before;

	for (; policy; policy = before) {
		before = policy->before;
		config_policy_clear(policy);
		g_free(policy);
	}
}

void config_vm_free(struct config_vm *vm)
{
	config_policy_clear(&vm->policy);
	g_free(vm->socket.group);
	g_free(vm->socket.path);
	g_free(vm);
}

/* --------------------------------- look-ups -------------------------------- */

static const struct config_vm *config_find_uuid(const struct config *config, const uint8_t uuid[16])
{
	static const uint8_t no_uuid[16];
	char text[UUID_TEXT];

	if (!memcmp(uuid, no_uuid, sizeof(no_uuid)))
		return NULL;
	return g_hash_table_lookup(config->vms, address_uuid_text(uuid, text));
}

static const struct config_vm *config_find_name(const struct config *config, const char *name)
{
	return name[0] ? g_hash_table_lookup(config->vms, name) : NULL;
}

/* vm NULL: not listed. */
static struct vm_policy *config_policy_of(const struct config *config, const struct config_vm *vm)
{
	const struct vm_policy unlisted = { .quota = config->quota };
	struct vm_policy *policy = config_policy_copy(vm ? &vm->policy : &unlisted);

	if (!policy)
		return NULL;
	policy->strict = !config->unlisted_vms;
	if (!policy->has_listen)
		policy->listen = config->listen;
	if (!policy->has_translate)
		policy->translate = config->translate;
	return policy;
}

struct vm_policy *config_policy_new(const struct config *config, const char *name,
				    const uint8_t uuid[16])
{
	struct vm_policy *policy;
	const struct config_vm *vm;

	pthread_rwlock_rdlock(&vms_lock);
	vm = config_find_uuid(config, uuid);
	policy = config_policy_of(config, vm ? vm : config_find_name(config, name));
	pthread_rwlock_unlock(&vms_lock);
	return policy;
}

/* --------------------------------- admission ------------------------------- */

static const char config_other_user[] = "another user than uid= in this VM's [vm] group";

static bool config_user_may(const struct config_vm *vm, uint32_t user)
{
	for (unsigned int i = 0; i < vm->num_users; i++)
		if (vm->users[i] == user)
			return true;
	return !vm->num_users;
}

/*
 * By the socket for all, anybody who may connect says who he is. Neither his name nor his
 * UUID may be that of a VM with a socket of its own, or of one that others than his user are to
 * come as: whichever of the two counts, he has both, and keeps others from them.
 */
static const char *config_refuse(const struct config *config, const struct config_peer *peer,
				 const struct config_vm **vm)
{
	const struct config_vm *by_uuid, *by_name;

	if (peer->group) {
		*vm = g_hash_table_lookup(config->vms, peer->group);
		return *vm ? NULL : "this VM is not in pvhcad's configuration any more";
	}
	by_uuid = config_find_uuid(config, peer->uuid);
	by_name = config_find_name(config, peer->name);
	if ((by_uuid && by_uuid->socket.path) || (by_name && by_name->socket.path))
		return "this VM has a socket of its own (socket= in its [vm] group), and comes by no other";
	if ((by_uuid && !config_user_may(by_uuid, peer->user)) ||
	    (by_name && !config_user_may(by_name, peer->user)))
		return config_other_user;
	*vm = by_uuid ? by_uuid : by_name;
	if (!*vm && !config->unlisted_vms)
		return "pvhcad's configuration has no [vm] group for this VM and unlisted-vms=false";
	return NULL;
}

struct vm_policy *config_admit(const struct config *config, const struct config_peer *peer,
			       const char **reason)
{
	const struct config_vm *vm = NULL;
	struct vm_policy *policy = NULL;

	pthread_rwlock_rdlock(&vms_lock);
	*reason = config_refuse(config, peer, &vm);
	if (!*reason && vm && !config_user_may(vm, peer->user))
		*reason = config_other_user;
	if (!*reason && vm && vm->refused)
		*reason = "serve=false in this VM's [vm] group";
	if (!*reason)
		policy = config_policy_of(config, vm);
	pthread_rwlock_unlock(&vms_lock);
	return policy;
}

/* -------------------------------- reservation ------------------------------ */

/* Bits of the longest prefix that the address lies in, or -1. */
static int config_longest(const struct vm_policy *policy, const uint8_t gid[16])
{
	int longest = -1;

	for (unsigned int i = 0; i < policy->num_addresses; i++)
		if ((int)policy->addresses[i].bits > longest &&
		    address_matches(&policy->addresses[i], gid))
			longest = policy->addresses[i].bits;
	return longest;
}

static bool config_is_link_local_of(const struct vm_policy *policy, const uint8_t gid[16])
{
	uint8_t own[16];

	if (!policy->has_mac)
		return false;
	address_link_local(policy->mac, own);
	return !memcmp(own, gid, sizeof(own));
}

static bool config_is_same(const struct vm_policy *a, const struct vm_policy *b)
{
	return a->group && b->group && !strcmp(a->group, b->group);
}

/* Does what is listed for other hold for this VM, too? */
static bool config_concerns(const struct vm_policy *other, const struct vm_policy *policy)
{
	return other->network == policy->network && !config_is_same(other, policy);
}

static bool config_find_may_have(const struct config *config, const struct vm_policy *policy,
				 const uint8_t gid[16])
{
	int own = config_is_link_local_of(policy, gid) ? INT_MAX : config_longest(policy, gid);
	const struct config_vm *other;
	GHashTableIter iter;

	if (policy->addresses && own < 0)
		return false;
	g_hash_table_iter_init(&iter, config->vms);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&other)) {
		if (!config_concerns(&other->policy, policy))
			continue;
		if (config_longest(&other->policy, gid) > own ||
		    (own < INT_MAX && config_is_link_local_of(&other->policy, gid)))
			return false;
	}
	return true;
}

static bool config_lists(const struct vm_policy *policy, const uint8_t gid[16])
{
	return config_longest(policy, gid) == CONFIG_WHOLE_ADDRESS;
}

static enum config_listing config_find_listing(const struct config *config,
					       const struct vm_policy *policy,
					       const uint8_t gid[16])
{
	const struct config_vm *other;
	GHashTableIter iter;

	if (config_lists(policy, gid))
		return CONFIG_LISTED_FOR_IT;
	g_hash_table_iter_init(&iter, config->vms);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&other))
		if (config_lists(&other->policy, gid))
			return CONFIG_LISTED_FOR_OTHERS;
	return CONFIG_LISTED_FOR_NONE;
}

static bool config_find_mac(const struct config *config, const struct vm_policy *policy,
			    const uint8_t mac[6])
{
	const struct config_vm *other;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, config->vms);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&other))
		if (other->policy.has_mac && !memcmp(other->policy.mac, mac, 6) &&
		    config_concerns(&other->policy, policy))
			return true;
	return false;
}

/* --------------------------------- networks -------------------------------- */

const char *config_network_name(uint32_t network)
{
	return network ? g_quark_to_string(network) : CONFIG_DEFAULT_NETWORK;
}

bool config_has_networks(const struct config *config)
{
	const struct config_vm *vm;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, config->vms);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&vm))
		if (vm->policy.network)
			return true;
	return false;
}

bool config_may_have(const struct config *config, const struct vm_policy *policy,
		     const uint8_t gid[16])
{
	bool may;

	pthread_rwlock_rdlock(&vms_lock);
	may = config_find_may_have(config, policy, gid);
	pthread_rwlock_unlock(&vms_lock);
	return may;
}

enum config_listing config_listing(const struct config *config, const struct vm_policy *policy,
				   const uint8_t gid[16])
{
	enum config_listing listing;

	pthread_rwlock_rdlock(&vms_lock);
	listing = config_find_listing(config, policy, gid);
	pthread_rwlock_unlock(&vms_lock);
	return listing;
}

bool config_mac_reserved(const struct config *config, const struct vm_policy *policy,
			 const uint8_t mac[6])
{
	bool reserved;

	pthread_rwlock_rdlock(&vms_lock);
	reserved = config_find_mac(config, policy, mac);
	pthread_rwlock_unlock(&vms_lock);
	return reserved;
}

/* ---------------------------------- sockets -------------------------------- */

void config_for_each_socket(const struct config *config,
			    void (*fn)(const struct config_socket *socket, void *arg), void *arg)
{
	const struct config_vm *vm;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, config->vms);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&vm))
		if (vm->socket.path)
			fn(&vm->socket, arg);
}
