// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Transport of the admin queue.
 *
 * The session's thread takes commands in order; each is copied once and only the copy is
 * looked at. It carries them out itself, one after the other, and interrupts the driver
 * once for the completions of one wake-up, but before a command that may be slow, so that
 * quick answers do not wait for it.
 *
 * A driver that can do with answers in any order (PVHCA_FEATURE_UNORDERED) gets more:
 * commands that may wait for something go to threads of their own (admin/pool.h). What
 * keeps their order is told in admin/jobs.h. A command of the other kind is carried out
 * at once, unless one that is under way, or waits, is in its way.
 *
 * A completion has its place reserved when its command is taken.
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
#include "admin/jobs.h"
#include "admin/pool.h"
#include "lib/clock.h"
#include "lib/heap.h"
#include "vm/events.h"
#include "vm/policy.h"
#include "memory/memory.h"
#include "rdma/pvhca-ring.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* How often a tear-down that waits for commands says so. */
#define SAY_SECONDS 5

/**
 * struct admin - under vm->lock, but for what is constant
 * @stopping: nothing is begun any more
 * @held: commands were left in the queue until a job has ended, see jobs_full()
 * @ended: signalled when a job has ended while @stopping
 */
struct admin {
	struct vm *vm;
	bool stopping;
	bool held;
	struct jobs jobs;
	struct pool_client client;
	pthread_cond_t ended;
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

static void admin_run(struct pool_client *client);

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
	uint64_t wanted = PVHCA_FEATURE_VLAN | PVHCA_FEATURE_UNORDERED | PVHCA_FEATURE_NET |
		PVHCA_FEATURE_NET_TSO;

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

	admin = heap_zalloc(vm->heap, sizeof(*admin));
	if (!admin)
		return PVHCA_DEV_ERR_HOST;
	error = PVHCA_DEV_ERR_HOST;
	if (jobs_init(&admin->jobs, vm))
		goto err_free;
	error = PVHCA_DEV_ERR_ADMIN_AREA;
	if (!(gpa & (PVHCA_GRANULE - 1)))
		admin->area =
			memory_resolve(vm->memory, gpa, sizeof(*admin->area), &admin->area_region);
	if (!admin->area) {
		vm_info(vm, "the admin area is not in guest RAM or not aligned");
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
	admin->vm = vm;
	pthread_cond_init(&admin->ended, NULL);
	pool_join(&admin->client, admin_run);
	vm->admin = admin;
	return PVHCA_DEV_ERR_NONE;

err_answer:
	vm_info(vm, "%s", why);
	admin_write_answer(admin->area, error, 0, why);
	memory_region_put(admin->area_region);
err_free:
	jobs_fini(&admin->jobs);
	heap_free(admin);
	return error;
}

void admin_close(struct vm *vm)
{
	struct admin *admin = vm->admin;

	if (!admin)
		return;
	vm->admin = NULL;
	pthread_cond_destroy(&admin->ended);
	events_close(vm);
	memory_region_put(admin->cq_region);
	memory_region_put(admin->sq_region);
	memory_region_put(admin->area_region);
	jobs_fini(&admin->jobs);
	heap_free(admin);
}

/* ------------------------------- completions ------------------------------- */

/* False: the driver broke the protocol. *room: another completion has room, besides those of jobs. */
static bool admin_has_room(struct admin *admin, bool *room)
{
	const uint32_t others = admin->jobs.count;

	*room = admin->cq_pi + others - admin->cq_ci < admin->cq_entries;
	if (*room)
		return true;
	admin->cq_ci = le32toh(__atomic_load_n(&admin->area->cq_ci, __ATOMIC_ACQUIRE));
	*room = admin->cq_pi + others - admin->cq_ci < admin->cq_entries;
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

static void admin_execute(struct vm *vm, struct admin *admin, const struct pvhca_admin_cmd *cmd)
{
	struct pvhca_admin_rsp rsp = { 0 };

	if (commands_may_take_long(cmd))
		admin_flush(vm, admin);
	rsp.status = htole32(commands_execute(vm, cmd, &rsp));
	rsp.cookie = cmd->cookie;
	admin_complete(admin, &rsp);
	counter_add(&vm->counters.admin_commands, 1);
}

/* ------------------------------ side by side ------------------------------- */

/* Carry out a job that may start now, if there is one. With the lock held. */
static void admin_run_job(struct vm *vm, struct admin *admin)
{
	struct job *job = admin->stopping || vm_failing(vm) ? NULL : jobs_start(&admin->jobs, vm);

	if (!job)
		return;
	admin_execute(vm, admin, &job->cmd);
	jobs_end(&admin->jobs, job);
	admin_flush(vm, admin);
	if (admin->stopping)
		pthread_cond_signal(&admin->ended);
}

/* In a thread of the pool. */
static void admin_run(struct pool_client *client)
{
	struct admin *admin = (struct admin *)((char *)client - offsetof(struct admin, client));
	struct vm *vm = admin->vm;

	pthread_mutex_lock(&vm->lock);
	admin_run_job(vm, admin);
	if (!admin->stopping) {
		/* A job less may be in the way of others. That all threads are busy is no matter: we are one. */
		(void)pool_want(client, jobs_ready(&admin->jobs, vm));
		if (admin->held)
			vm->thread->serve(vm);
		admin->held = false;
	}
	pthread_mutex_unlock(&vm->lock);
}

/* Jobs were added. Where the pool has no thread for them, this one carries them out. */
static void admin_start_jobs(struct vm *vm, struct admin *admin)
{
	unsigned int ready = jobs_ready(&admin->jobs, vm);

	while (ready && !vm_failing(vm) && !pool_want(&admin->client, ready)) {
		admin_run_job(vm, admin);
		ready = jobs_ready(&admin->jobs, vm);
	}
}

/* Must it be a job? Others are in its way, or it may wait for something itself. */
static bool admin_is_job(struct vm *vm, struct admin *admin, const struct pvhca_admin_cmd *cmd)
{
	struct claims claims;

	if (!(vm->features & PVHCA_FEATURE_UNORDERED))
		return false;
	if (commands_may_wait(vm, cmd))
		return true;
	if (!admin->jobs.count)
		return false;
	commands_claims(vm, cmd, &claims);
	return jobs_in_the_way(&admin->jobs, vm, &claims);
}

static void admin_take(struct vm *vm, struct admin *admin)
{
	struct pvhca_admin_cmd cmd;

	memcpy(&cmd, &admin->sq[admin->sq_ci & (admin->sq_entries - 1)], sizeof(cmd));
	admin->sq_ci++;
	if (admin_is_job(vm, admin, &cmd))
		jobs_add(&admin->jobs, &cmd);
	else
		admin_execute(vm, admin, &cmd);
}

/* What a tear-down waits for. */
static void admin_say(const struct vm *vm, const struct admin *admin, uint64_t since_ns)
{
	const struct job *job;

	cds_list_for_each_entry (job, &admin->jobs.list, node)
		vm_message(vm, "has waited %u s for %s, which the host's device carries out",
			   (unsigned int)((clock_ns() - since_ns) / NS_PER_S),
			   commands_name(&job->cmd));
}

void admin_stop(struct vm *vm)
{
	struct admin *admin = vm->admin;
	uint64_t since_ns = clock_ns();
	struct timespec until;

	pthread_mutex_lock(&vm->lock);
	admin->stopping = true;
	jobs_drop(&admin->jobs);
	while (admin->jobs.count) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += SAY_SECONDS;
		if (pthread_cond_clockwait(&admin->ended, &vm->lock, CLOCK_MONOTONIC, &until))
			admin_say(vm, admin, since_ns);
	}
	pthread_mutex_unlock(&vm->lock);
	pool_leave(&admin->client);
}

/* --------------------------------- serving --------------------------------- */

/* What the queue has to be looked at for. */
enum admin_wait {
	ADMIN_NOTHING, /* more commands */
	ADMIN_MORE,    /* there are: it is to be served again */
	ADMIN_ROOM,    /* room for completions */
	ADMIN_JOBS,    /* a job to end */
	ADMIN_FAULT,
};

static enum admin_wait admin_take_some(struct vm *vm, struct admin *admin, unsigned int max)
{
	uint32_t posted;
	bool room;

	for (;;) {
		posted = le32toh(__atomic_load_n(&admin->area->sq_pi, __ATOMIC_ACQUIRE)) -
			admin->sq_ci;
		if (posted > admin->sq_entries) {
			vm_guest_fault(vm, "admin queue: %u commands in %u entries", posted,
				       admin->sq_entries);
			return ADMIN_FAULT;
		}
		if (!posted || !max--)
			break;
		if (!admin_has_room(admin, &room)) {
			vm_guest_fault(vm, "admin queue: consumer index beyond what was completed");
			return ADMIN_FAULT;
		}
		if (!room)
			return ADMIN_ROOM;
		if (jobs_full(&admin->jobs, vm))
			return ADMIN_JOBS;
		admin_take(vm, admin);
		if (vm_failing(vm))
			return ADMIN_FAULT;
	}
	return posted ? ADMIN_MORE : ADMIN_NOTHING;
}

bool admin_serve(struct vm *vm, unsigned int max)
{
	struct admin *admin = vm->admin;
	enum admin_wait wait;

	if (!admin || vm_failing(vm))
		return false;
	pthread_mutex_lock(&vm->lock);
	wait = admin_take_some(vm, admin, max);
	/* Answers first: those who wait for them do not wait for threads to start. */
	admin_flush(vm, admin);
	if (admin->jobs.count > admin->jobs.running)
		admin_start_jobs(vm, admin);
	/* Set when it is sure that a job is there to end. */
	if (wait == ADMIN_JOBS && jobs_full(&admin->jobs, vm))
		admin->held = true;
	else if (wait == ADMIN_JOBS)
		wait = ADMIN_MORE;
	pthread_mutex_unlock(&vm->lock);
	if (wait == ADMIN_ROOM)
		vm_retry_soon(vm);
	return wait == ADMIN_MORE;
}
