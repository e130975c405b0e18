// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VM's own state.
 */
#include "vm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/heap.h"
#include "memory/memory.h"

static const char *const vm_state_names[VM_STATES] = {
	[VM_CONNECTED] = "connected",
	[VM_IDLE] = "idle",
	[VM_ENABLED] = "enabled",
	[VM_FAILED] = "failed",
};

const char *vm_state_name(const struct vm *vm)
{
	return vm_state_names[atomic_load(&vm->state)];
}

void vm_set_state(struct vm *vm, enum vm_state state)
{
	atomic_store(&vm->state, state);
}

/* ------------------------------ life and death ----------------------------- */

int vm_init(struct vm *vm, unsigned int id, const struct config *config,
	    const struct vm_thread_ops *thread)
{
	static const uint8_t no_uuid[16];

	vm->heap = heap_new();
	if (!vm->heap)
		return -ENOMEM;
	vm->memory = memory_new(vm->heap);
	if (!vm->memory)
		goto err_end_heap;
	vm->policy = config_policy_new(config, "", no_uuid);
	if (!vm->policy)
		goto err_free_memory;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->gid_lock, NULL);
	vm->id = id;
	vm->config = config;
	vm->thread = thread;
	snprintf(vm->name, sizeof(vm->name), "session-%u", id);
	vm->own_log.dropped = &vm->counters.log_lines_dropped;
	vm->log = &vm->own_log;
	vm->admin_doorbell_fd = -1;
	for (unsigned int i = 0; i < PVHCA_DB_MAX; i++)
		vm->doorbell_fds[i] = -1;
	for (unsigned int i = 0; i < PVHCA_VECTORS_MAX; i++)
		vm->vector_fds[i] = -1;
	return 0;

err_free_memory:
	memory_free(vm_take_memory(vm));
err_end_heap:
	heap_end(vm->heap);
	return -ENOMEM;
}

struct memory *vm_take_memory(struct vm *vm)
{
	struct memory *memory = vm->memory;

	vm->memory = NULL;
	return memory;
}

static void vm_close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vm_fini(struct vm *vm)
{
	vm_close_fd(vm->admin_doorbell_fd);
	for (unsigned int i = 0; i < PVHCA_DB_MAX; i++)
		vm_close_fd(vm->doorbell_fds[i]);
	for (unsigned int i = 0; i < PVHCA_VECTORS_MAX; i++)
		vm_close_fd(vm->vector_fds[i]);
	table_fini(&vm->contexts);
	table_fini(&vm->pds);
	table_fini(&vm->mrs);
	table_fini(&vm->mws);
	table_fini(&vm->ahs);
	table_fini(&vm->cqs);
	table_fini(&vm->srqs);
	table_fini(&vm->qps);
	table_fini(&vm->ceqs);
	memory_free(vm_take_memory(vm));
	heap_end(vm->heap);
	config_policy_free(vm->policy);
	pthread_mutex_destroy(&vm->gid_lock);
	pthread_mutex_destroy(&vm->lock);
}

/* What may go at once without a setting: of this part of a second, and at least so much. */
#define BURST_PER_S    50
#define BURST_BYTES    (16 << 10)
#define BURST_MESSAGES 2

static int64_t burst_of(uint64_t burst, uint64_t rate, uint64_t least)
{
	if (!burst)
		burst = rate / BURST_PER_S;
	if (burst < least)
		burst = least;
	return burst < INT64_MAX / 4 ? (int64_t)burst : INT64_MAX / 4;
}

void vm_set_schedule(struct vm *vm, const struct quota *quota)
{
	struct vm_schedule *to = &vm->schedule;

	atomic_store(&to->share, quota->share);
	atomic_store(&to->burst, burst_of(quota->rate_burst, quota->rate, BURST_BYTES));
	atomic_store(&to->rate, quota->rate);
	atomic_store(&to->message_burst,
		     burst_of(quota->message_burst, quota->message_rate, BURST_MESSAGES));
	atomic_store(&to->message_rate, quota->message_rate);
}

void vm_apply_quota(struct vm *vm)
{
	const struct quota *quota = &vm->policy->quota;

	vm_set_schedule(vm, quota);
	heap_limit(vm->heap, quota->heap_bytes);
	table_init(&vm->contexts, vm->heap, quota->contexts);
	table_init(&vm->pds, vm->heap, quota->pds);
	table_init_rcu(&vm->mrs, vm->heap, quota->mrs);
	table_init_rcu(&vm->mws, vm->heap, quota->mws);
	table_init_rcu(&vm->ahs, vm->heap, quota->ahs);
	table_init(&vm->cqs, vm->heap, quota->cqs);
	table_init(&vm->srqs, vm->heap, quota->srqs);
	table_init(&vm->qps, vm->heap, quota->qps);
	table_init(&vm->ceqs, vm->heap, PVHCA_VECTORS_MAX);
	memory_limit(vm->memory, quota->memory_bytes, quota->mappings);
}

void vm_change_policy(struct vm *vm, struct vm_policy *policy)
{
	const struct quota *quota = &policy->quota;

	pthread_mutex_lock(&vm->lock);
	policy->before = vm->policy;
	/* Its addresses are known there, and its peers are. */
	policy->network = vm->network;
	vm->policy = policy;
	heap_limit(vm->heap, quota->heap_bytes);
	table_limit(&vm->contexts, quota->contexts);
	table_limit(&vm->pds, quota->pds);
	table_limit(&vm->mrs, quota->mrs);
	table_limit(&vm->mws, quota->mws);
	table_limit(&vm->ahs, quota->ahs);
	table_limit(&vm->cqs, quota->cqs);
	table_limit(&vm->srqs, quota->srqs);
	table_limit(&vm->qps, quota->qps);
	memory_limit(vm->memory, quota->memory_bytes, quota->mappings);
	pthread_mutex_unlock(&vm->lock);
	vm_set_schedule(vm, quota);
}

/* ---------------------------------- the lock ------------------------------- */

void vm_leave(struct vm *vm)
{
	if (vm->side_by_side)
		pthread_mutex_unlock(&vm->lock);
}

void vm_enter(struct vm *vm)
{
	if (vm->side_by_side)
		pthread_mutex_lock(&vm->lock);
}

/* --------------------------------- addresses ------------------------------- */

bool vm_gid(const struct vm *vm, uint32_t index, const uint8_t **gid)
{
	if (index >= VM_GIDS || !atomic_load(&vm->gids[index].used))
		return false;
	if (gid)
		*gid = vm->gids[index].gid;
	return true;
}

bool vm_has_gid(struct vm *vm, const uint8_t gid[16], uint16_t vlan)
{
	bool has = false;

	pthread_mutex_lock(&vm->gid_lock);
	for (unsigned int i = 0; i < VM_GIDS && !has; i++)
		has = vm_gid(vm, i, NULL) && vm->gids[i].vlan == vlan &&
			!memcmp(vm->gids[i].gid, gid, 16);
	pthread_mutex_unlock(&vm->gid_lock);
	return has;
}

void vm_set_gid(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	struct vm_gid *entry = &vm->gids[index];

	pthread_mutex_lock(&vm->gid_lock);
	if (gid)
		memcpy(entry->gid, gid, sizeof(entry->gid));
	entry->vlan = vlan;
	atomic_store(&entry->used, gid != NULL);
	pthread_mutex_unlock(&vm->gid_lock);
}

int vm_gid_index(struct vm *vm, const uint8_t gid[16])
{
	int index = -1;

	pthread_mutex_lock(&vm->gid_lock);
	for (unsigned int i = 0; i < VM_GIDS && index < 0; i++)
		if (vm_gid(vm, i, NULL) && !memcmp(vm->gids[i].gid, gid, 16))
			index = i;
	pthread_mutex_unlock(&vm->gid_lock);
	return index;
}
