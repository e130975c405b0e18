// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Transport of the admin queue.
 *
 * Commands are carried out in order, one at a time; each is copied once and only
 * the copy is looked at. The driver is interrupted once for the completions of
 * one wake-up, but before a command that may take long, so that quick answers
 * do not wait for it.
 *
 * An index that moves further than the queue has entries is abuse: the
 * session stops. A completion queue without room is not: the driver may be slow.
 */
#include "admin/admin.h"

#include <endian.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pvhca-version.h>

#include "admin/commands.h"
#include "vm/events.h"
#include "vm/policy.h"
#include "memory/memory.h"
#include "rdma/pvhca-ring.h"
#include "vm/vm.h"
#include "worker/worker.h"

struct admin {
	struct region *area_region;
	struct region *sq_region;
	struct region *cq_region;
	struct pvhca_admin_area *area;
	const struct pvhca_admin_cmd *sq;
	struct pvhca_admin_rsp *cq;
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint32_t sq_ci; /* next command; free running */
	uint32_t cq_pi; /* next completion; free running */
	uint32_t cq_ci; /* the driver's, when last read */
	bool interrupt; /* completions were written since the last one */
};

static bool all_zero(const uint8_t *bytes, size_t n)
{
	while (n--)
		if (*bytes++)
			return false;
	return true;
}

/* --------------------------------- opening --------------------------------- */

static void admin_write_answer(struct pvhca_admin_area *area, uint32_t error, uint64_t features,
			       const char *message)
{
	char text[PVHCA_MESSAGE_LEN] = "";

	snprintf(text, sizeof(text), "%s", message);
	memcpy(area->hostd_message, text, sizeof(text));
	memset(text, 0, sizeof(text));
	snprintf(text, PVHCA_VERSION_LEN, "%s", PVHCA_VERSION);
	memcpy(area->hostd_version, text, PVHCA_VERSION_LEN);
	area->hostd_abi_major = htole16(PVHCA_ADMIN_ABI_MAJOR);
	area->hostd_abi_minor = htole16(PVHCA_ADMIN_ABI_MINOR);
	area->hostd_features = htole64(features);
	__atomic_store_n(&area->hostd_status, htole32(error), __ATOMIC_RELEASE);
}

void admin_answer(struct vm *vm, uint32_t error, const char *message)
{
	if (vm->admin)
		admin_write_answer(vm->admin->area, error, error ? 0 : vm->features, message);
}

/* Version and what needs no look at memory. Returns an enum pvhca_dev_error. */
static uint32_t admin_check_area(const struct pvhca_admin_area *area, const char **why)
{
	if (le32toh(area->magic) != PVHCA_ADMIN_MAGIC) {
		*why = "wrong magic number in the admin area";
		return PVHCA_DEV_ERR_ADMIN_AREA;
	}
	if (le16toh(area->abi_major) != PVHCA_ADMIN_ABI_MAJOR) {
		*why = "driver and pvhcad speak different major versions of the admin ABI";
		return PVHCA_DEV_ERR_VERSION;
	}
	*why = "bad size of a queue in the admin area";
	if (area->sq_log_entries > PVHCA_ADMIN_MAX_LOG_ENTRIES ||
	    area->cq_log_entries > PVHCA_ADMIN_MAX_LOG_ENTRIES ||
	    area->aeq_log_entries > PVHCA_EQ_MAX_LOG_ENTRIES ||
	    area->cq_log_entries < area->sq_log_entries)
		return PVHCA_DEV_ERR_ADMIN_QUEUE;
	*why = "reserved fields of the admin area are not zero";
	if (!all_zero(area->reserved0, sizeof(area->reserved0)) ||
	    !all_zero(area->reserved1, sizeof(area->reserved1)))
		return PVHCA_DEV_ERR_ADMIN_QUEUE;
	*why = "";
	return PVHCA_DEV_ERR_NONE;
}

/* Choose vm->features of those that the driver knows. Returns an enum pvhca_dev_error. */
static uint32_t admin_choose_features(struct vm *vm, const struct pvhca_admin_area *area,
				      const char **why)
{
	uint64_t wanted = PVHCA_FEATURE_VLAN;

	if (policy_is_paired(vm))
		wanted |= PVHCA_FEATURE_PAIR;
	vm->features = wanted & le64toh(area->features);
	if (!(wanted & ~vm->features & PVHCA_FEATURE_PAIR))
		return PVHCA_DEV_ERR_NONE;
	/* It would make a second interface with the MAC of the first. */
	*why = "the adapter is to be paired with a network interface, which this driver cannot do";
	return PVHCA_DEV_ERR_VERSION;
}

static void *admin_map_queue(struct vm *vm, __le64 addr, unsigned int entries, size_t entry_size,
			     struct region **region)
{
	uint64_t gpa = le64toh(addr);

	if (gpa & (PVHCA_GRANULE - 1))
		return NULL;
	return memory_resolve(vm->memory, gpa, entries * entry_size, region);
}

/* Map the queues that a checked copy of the area names. */
static uint32_t admin_map(struct vm *vm, struct admin *admin, const struct pvhca_admin_area *area,
			  const char **why)
{
	int ret;

	admin->sq_entries = 1u << area->sq_log_entries;
	admin->cq_entries = 1u << area->cq_log_entries;
	*why = "the admin submission queue is not in guest RAM or not aligned";
	admin->sq = admin_map_queue(vm, area->sq_addr, admin->sq_entries, sizeof(*admin->sq),
				    &admin->sq_region);
	if (!admin->sq)
		return PVHCA_DEV_ERR_ADMIN_QUEUE;
	*why = "the admin completion queue is not in guest RAM or not aligned";
	admin->cq = admin_map_queue(vm, area->cq_addr, admin->cq_entries, sizeof(*admin->cq),
				    &admin->cq_region);
	if (!admin->cq)
		goto err_put_sq;
	*why = "the async event queue is not in guest RAM or not aligned";
	ret = events_open(vm, le64toh(area->aeq_addr), area->aeq_log_entries);
	if (ret)
		goto err_put_cq;
	return PVHCA_DEV_ERR_NONE;

err_put_cq:
	memory_region_put(admin->cq_region);
err_put_sq:
	memory_region_put(admin->sq_region);
	return PVHCA_DEV_ERR_ADMIN_QUEUE;
}

uint32_t admin_open(struct vm *vm, uint64_t gpa)
{
	struct pvhca_admin_area copy;
	struct admin *admin;
	const char *why = "";
	uint32_t error;

	admin = calloc(1, sizeof(*admin));
	if (!admin)
		return PVHCA_DEV_ERR_HOST;
	error = PVHCA_DEV_ERR_ADMIN_AREA;
	if (!(gpa & (PVHCA_GRANULE - 1)))
		admin->area =
			memory_resolve(vm->memory, gpa, sizeof(*admin->area), &admin->area_region);
	if (!admin->area) {
		g_info("VM %s: the admin area is not in guest RAM or not aligned", vm->name);
		goto err_free;
	}
	memcpy(&copy, admin->area, sizeof(copy));
	error = admin_check_area(&copy, &why);
	if (!error)
		error = admin_choose_features(vm, &copy, &why);
	if (!error)
		error = admin_map(vm, admin, &copy, &why);
	if (error)
		goto err_answer;
	copy.driver_version[PVHCA_VERSION_LEN - 1] = '\0';
	vm->admin = admin;
	return PVHCA_DEV_ERR_NONE;

err_answer:
	g_info("VM %s: %s", vm->name, why);
	admin_write_answer(admin->area, error, 0, why);
	memory_region_put(admin->area_region);
err_free:
	free(admin);
	return error;
}

void admin_close(struct vm *vm)
{
	struct admin *admin = vm->admin;

	if (!admin)
		return;
	vm->admin = NULL;
	events_close(vm);
	memory_region_put(admin->cq_region);
	memory_region_put(admin->sq_region);
	memory_region_put(admin->area_region);
	free(admin);
}

/* --------------------------------- serving --------------------------------- */

/* False: the driver broke the protocol. *room: a completion has room. */
static bool admin_has_room(struct admin *admin, bool *room)
{
	*room = admin->cq_pi - admin->cq_ci < admin->cq_entries;
	if (*room)
		return true;
	admin->cq_ci = le32toh(__atomic_load_n(&admin->area->cq_ci, __ATOMIC_ACQUIRE));
	*room = admin->cq_pi - admin->cq_ci < admin->cq_entries;
	return admin->cq_pi - admin->cq_ci <= admin->cq_entries;
}

/*
 * The guest waits for its interrupt, so that comes first: a worker that is woken may
 * take this thread's processor.
 */
static void admin_flush(struct vm *vm, struct admin *admin)
{
	if (admin->interrupt) {
		admin->interrupt = false;
		events_interrupt(vm, PVHCA_VECTOR_ADMIN);
	}
	if (vm->wake_worker) {
		vm->wake_worker = false;
		worker_wake(vm->worker);
	}
}

static void admin_complete(struct admin *admin, struct pvhca_admin_rsp *rsp)
{
	uint32_t lap = admin->cq_pi / admin->cq_entries;
	struct pvhca_admin_rsp *entry;

	entry = &admin->cq[admin->cq_pi & (admin->cq_entries - 1)];
	memcpy(entry, rsp, offsetof(struct pvhca_admin_rsp, flags));
	__atomic_store_n(&entry->flags, htole32(lap & 1 ? 0 : PVHCA_ADMIN_RSP_F_PHASE),
			 __ATOMIC_RELEASE);
	admin->cq_pi++;
	admin->interrupt = true;
}

static void admin_execute(struct vm *vm, struct admin *admin)
{
	struct pvhca_admin_cmd cmd;
	struct pvhca_admin_rsp rsp;

	memcpy(&cmd, &admin->sq[admin->sq_ci & (admin->sq_entries - 1)], sizeof(cmd));
	admin->sq_ci++;
	memset(&rsp, 0, sizeof(rsp));
	if (commands_may_take_long(&cmd))
		admin_flush(vm, admin);
	rsp.status = htole32(commands_execute(vm, &cmd, &rsp));
	rsp.cookie = cmd.cookie;
	admin_complete(admin, &rsp);
	counter_add(&vm->counters.admin_commands, 1);
}

bool admin_serve(struct vm *vm, unsigned int max)
{
	struct admin *admin = vm->admin;
	uint32_t posted = 0;
	bool room = true;

	while (admin && !vm_failing(vm)) {
		posted = le32toh(__atomic_load_n(&admin->area->sq_pi, __ATOMIC_ACQUIRE)) -
			admin->sq_ci;
		if (posted > admin->sq_entries) {
			vm_guest_fault(vm, "admin queue: %u commands in %u entries", posted,
				       admin->sq_entries);
			return false;
		}
		if (!posted || !max)
			break;
		if (!admin_has_room(admin, &room)) {
			vm_guest_fault(vm, "admin queue: consumer index beyond what was completed");
			return false;
		}
		if (!room)
			break;
		admin_execute(vm, admin);
		max--;
	}
	if (!admin)
		return false;
	admin_flush(vm, admin);
	if (!room)
		vm_retry_soon(vm);
	return posted && room && !vm_failing(vm);
}
