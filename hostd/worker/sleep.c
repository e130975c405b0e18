// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * When a worker finds nothing to do
 *
 * After passes that found nothing for some time (the spin time) it prepares to
 * sleep: it sets need_kick in each context, makes a full barrier, looks at
 * everything once more, and waits in epoll for a doorbell, an event of the host
 * device, or a deadline. The spin time learns, as KVM's halt polling does: a
 * sleep that ended soon would have been better spent polling, so it doubles up
 * to the configured limit; a long one halves it. On a machine with few
 * processors a polling worker lets other threads go first. If it gets its processor
 * back late, another thread needs it, perhaps the very guest whose work is awaited.
 * Then the worker sleeps at once (unless give-way=false). While the engine has much
 * to do the worker only naps, for a time that it learns: a wake-up for each
 * completion and a doorbell for each post would cost more than to look at a few of
 * them together.
 */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "lib/calls.h"
#include "lib/clock.h"
#include "vm/vm.h"
#include "worker/private.h"

CALLS("epoll_ctl epoll_wait epoll_pwait");

#define SPIN_MIN_NS (20 * NS_PER_US)
/* How often a sleeping worker looks whether a guest has made room. */
#define BLOCKED_RETRY_NS (2 * NS_PER_MS)
/* Naps, and how many sends the engine must have meanwhile. */
#define NAP_MIN_NS    (100 * NS_PER_US)
#define NAP_MAX_NS    (4 * NS_PER_MS)
#define NAP_IN_FLIGHT 8
/* So many in a row without any work: the engine waits for something, and we do too. */
#define NAPS_IN_VAIN 8
/* How often a worker that finds nothing lets others go first: a call takes as long as ten looks. */
#define YIELD_NS (5 * NS_PER_US)
/* A thread that waits this long for its turn shares the processor with a busy one. */
#define CROWDED_NS  (100 * NS_PER_US)
#define EPOLL_BATCH 32

/*
 * A descriptor in epoll is named by its session's id, not by pointer, for an event
 * may be returned after its session has gone.
 */
#define SOURCE_BITS 2
#define SOURCE_MASK ((1u << SOURCE_BITS) - 1)

void worker_sleep_init(struct worker *worker, const struct config *config)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	worker->spin_limit_ns = config->spin_us * NS_PER_US;
	worker->spin_ns = worker->spin_limit_ns < SPIN_MIN_NS ? worker->spin_limit_ns : SPIN_MIN_NS;
	worker->few_cpus = cpus < (long)config->workers + 4;
	worker->give_way = config->give_way;
	worker->nap_ns = NAP_MIN_NS;
}

int worker_listen(struct worker *worker, int fd, unsigned int vm, enum worker_source source)
{
	struct epoll_event event = {
		/* Once for each ring of a doorbell, whatever count its guest leaves behind. */
		.events = source == SOURCE_DOORBELL ? EPOLLIN | EPOLLET : EPOLLIN,
		.data.u64 = (uint64_t)vm << SOURCE_BITS | source,
	};

	return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void worker_unlisten(struct worker *worker, int fd)
{
	epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---------------------------------- sleep ---------------------------------- */

static void set_need_kick_of(const struct worker_vm *wv, uint64_t value)
{
	const struct context_list *list = rcu_dereference(wv->contexts);

	for (unsigned int i = 0; i < list->count; i++)
		atomic_store_explicit((_Atomic uint64_t *)&list->context[i]->page->need_kick, value,
				      memory_order_relaxed);
}

static void set_need_kick(const struct assignment *assignment, uint64_t value)
{
	for (unsigned int i = 0; i < assignment->num_vms; i++)
		set_need_kick_of(assignment->vms[i], value);
}

/*
 * A VM that waits for tokens needs no kick: it is looked at when these are there, at a time
 * that is known.
 */
static void ask_for_kicks(const struct assignment *assignment, uint64_t now)
{
	for (unsigned int i = 0; i < assignment->num_vms; i++)
		if (!rate_waits(assignment->vms[i], now))
			set_need_kick_of(assignment->vms[i], htole64(UINT64_MAX));
}

static bool is_anything_pending(struct worker *worker, const struct assignment *assignment)
{
	const struct context_list *list;
	bool pending = false;
	unsigned int i, j;
	struct vm *vm;

	for (i = 0; i < assignment->num_vms; i++) {
		if (rate_waits(assignment->vms[i], worker->pass.now))
			continue;
		list = rcu_dereference(assignment->vms[i]->contexts);
		for (j = 0; j < list->count; j++)
			pending |= worker_is_announced(list->context[j]);
	}
	for (i = 0; i < assignment->num_vms; i++) {
		vm = assignment->vms[i]->vm;
		pass_begin_turn(&worker->pass, PASS_TURN_NS, worker->pass.now);
		pending |= fabric_hook(vm->ops, false, vm_arm, &worker->pass, vm);
	}
	return pending;
}

/* The earliest deadline of all waiting QPs and VMs, or UINT64_MAX. */
static uint64_t next_deadline(const struct assignment *assignment, uint64_t now)
{
	uint64_t deadline = UINT64_MAX, due;
	const struct context_list *list;
	unsigned int i, j;

	for (i = 0; i < assignment->num_vms; i++) {
		if (rate_waits(assignment->vms[i], now)) {
			due = assignment->vms[i]->throttled_until_ns;
			if (due < deadline)
				deadline = due;
			continue;
		}
		list = rcu_dereference(assignment->vms[i]->contexts);
		for (j = 0; j < list->count; j++) {
			due = atomic_load(&list->context[j]->timed_due_ns);
			if (due < deadline)
				deadline = due;
			if (list->context[j]->timed_word)
				deadline = 0;
		}
	}
	return deadline;
}

static bool is_any_blocked(const struct assignment *assignment)
{
	for (unsigned int i = 0; i < assignment->num_vms; i++)
		if (cq_blocked_any(&assignment->vms[i]->blocked_cqs))
			return true;
	return false;
}

/* Milliseconds for epoll_wait, rounded up; -1: for ever. */
static int sleep_ms(const struct worker *worker, const struct assignment *assignment)
{
	uint64_t deadline = next_deadline(assignment, worker->pass.now), now = clock_ns();

	if (is_any_blocked(assignment) && deadline > now + BLOCKED_RETRY_NS)
		deadline = now + BLOCKED_RETRY_NS;
	if (deadline == UINT64_MAX)
		return -1;
	if (deadline <= now)
		return 0;
	deadline = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
	return deadline < INT_MAX ? (int)deadline : INT_MAX;
}

static void handle_source(struct worker *worker, uint64_t source)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	struct vm *vm = NULL;
	eventfd_t count = 0;
	unsigned int i;

	if ((source & SOURCE_MASK) == SOURCE_WAKE) {
		eventfd_read(worker->wake_fd, &count);
		return;
	}
	for (i = 0; i < assignment->num_vms; i++)
		if (assignment->vms[i]->vm->id == source >> SOURCE_BITS)
			vm = assignment->vms[i]->vm;
	if (!vm)
		return;
	if ((source & SOURCE_MASK) == SOURCE_FABRIC) {
		vm->ops->vm_event(&worker->pass, vm);
		return;
	}
	/* It is not read: worker/assign.c. */
	counter_add(&vm->counters.doorbells, 1);
}

static void learn_spin(struct worker *worker, uint64_t slept_ns)
{
	if (slept_ns < worker->spin_limit_ns)
		worker->spin_ns *= 2;
	else
		worker->spin_ns /= 2;
	if (worker->spin_ns < SPIN_MIN_NS)
		worker->spin_ns = SPIN_MIN_NS;
	if (worker->spin_ns > worker->spin_limit_ns)
		worker->spin_ns = worker->spin_limit_ns;
}

static void sleep_until_needed(struct worker *worker)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	struct epoll_event events[EPOLL_BATCH];
	uint64_t began;
	int i, n, ms;

	ask_for_kicks(assignment, worker->pass.now);
	/* Between our need_kick and the guests' summary; see pvhca-ring.h. */
	atomic_thread_fence(memory_order_seq_cst);
	if (is_anything_pending(worker, assignment)) {
		set_need_kick(assignment, 0);
		return;
	}
	ms = sleep_ms(worker, assignment);

	began = clock_ns();
	rcu_thread_offline();
	n = epoll_wait(worker->epoll_fd, events, EPOLL_BATCH, ms);
	rcu_thread_online();
	learn_spin(worker, clock_ns() - began);

	/* The assignment may have been replaced meanwhile. */
	set_need_kick(rcu_dereference(worker->assignment), 0);
	for (i = 0; i < n; i++)
		handle_source(worker, events[i].data.u64);
}

/* ---------------------------------- polite --------------------------------- */

bool worker_poll_politely(struct worker *worker, uint64_t last_work)
{
	const uint64_t now = worker->pass.now;
	uint64_t before;

	if (!worker->few_cpus || now - last_work < YIELD_NS || now - worker->yielded_ns < YIELD_NS)
		return false;
	before = clock_ns();
	sched_yield();
	worker->yielded_ns = clock_ns();
	if (!worker->give_way || worker->yielded_ns - before < CROWDED_NS)
		return false;
	worker->spin_ns = SPIN_MIN_NS;
	return true;
}

/* ----------------------------------- naps ---------------------------------- */

/* Sends that the engines have of all sessions. */
static unsigned int count_in_flight(const struct worker *worker)
{
	const struct assignment *assignment = rcu_dereference(worker->assignment);
	const struct vm *vm;
	unsigned int i, count = 0;

	for (i = 0; i < assignment->num_vms; i++) {
		vm = assignment->vms[i]->vm;
		count += fabric_hook(vm->ops, 0, vm_in_flight, vm);
	}
	return count;
}

/*
 * Leave the processor to others for a moment, while the engine has in_flight
 * sends to work on. need_kick stays unset, so guests ring no doorbell. The nap should
 * be as long as the engine takes to complete between an eighth and a quarter of them.
 */
static void nap(struct worker *worker, unsigned int in_flight)
{
	struct timespec duration = { .tv_nsec = worker->nap_ns };
	unsigned int left;

	rcu_thread_offline();
	clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
	rcu_thread_online();

	worker->pass.now = clock_ns();
	if (worker_pass(worker))
		worker->naps_in_vain = 0;
	else
		worker->naps_in_vain++;
	left = count_in_flight(worker);
	if (left > in_flight - in_flight / 8)
		worker->nap_ns *= 2;
	else if (left < in_flight - in_flight / 4)
		worker->nap_ns /= 2;
	if (worker->nap_ns < NAP_MIN_NS)
		worker->nap_ns = NAP_MIN_NS;
	if (worker->nap_ns > NAP_MAX_NS)
		worker->nap_ns = NAP_MAX_NS;
}

void worker_rest(struct worker *worker)
{
	unsigned int in_flight = 0;

	if (worker->few_cpus && worker->give_way)
		in_flight = count_in_flight(worker);
	if (in_flight >= NAP_IN_FLIGHT && worker->naps_in_vain < NAPS_IN_VAIN) {
		nap(worker, in_flight);
		return;
	}
	sleep_until_needed(worker);
	worker->naps_in_vain = 0;
}
