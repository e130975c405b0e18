// SPDX-License-Identifier: GPL-2.0-or-later
#include "worker/rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <check.h>

#include "lib/grace.h"
#include "vm/cq.h"
#include "worker/private.h"

struct rig rig;

static struct worker worker;

static struct guest *guest_of(const struct vm *vm)
{
	return (struct guest *)((char *)vm - offsetof(struct guest, vm));
}

/* ----------------------------------- log ----------------------------------- */

static void tell(const char *format, ...)
{
	size_t used = strlen(rig.log);
	va_list args;

	if (!rig.logging)
		return;
	ck_assert_uint_lt(used, sizeof(rig.log) - 16);
	if (used)
		rig.log[used++] = ' ';
	va_start(args, format);
	vsnprintf(rig.log + used, sizeof(rig.log) - used, format, args);
	va_end(args);
}

void cq_notify(struct pass *pass, struct cq *cq)
{
	pass_spend(pass, rig.event_ns);
	rig.notified++;
	tell("N%u", cq->handle);
}

bool cq_retry(struct pass *pass, struct cq *cq)
{
	(void)pass;
	tell("T%u", cq->handle);
	return rig.cq_has_room;
}

/* ---------------------------------- fabric --------------------------------- */

/* Who serves holds the lock. */
static void expect_locked(pthread_mutex_t *lock)
{
	ck_assert_int_eq(pthread_mutex_trylock(lock), EBUSY);
}

static unsigned int rig_serve(struct pass *pass, struct qp *qp)
{
	struct guest *guest = guest_of(qp->vm);

	expect_locked(&qp->lock);
	tell("S%u.%u", qp->vm->id, qp->slot);
	if (rig.on_serve)
		rig.on_serve(pass, qp);
	atomic_fetch_add(&guest->served, 1);
	return 1;
}

static unsigned int rig_serve_receives(struct pass *pass, struct qp *qp)
{
	expect_locked(&qp->lock);
	tell("R%u.%u", qp->vm->id, qp->slot);
	if (rig.on_receives)
		rig.on_receives(pass, qp);
	return 1;
}

static unsigned int rig_srq_serve(struct pass *pass, struct srq *srq)
{
	(void)pass;
	expect_locked(&srq->lock);
	tell("Q%u.%u", srq->vm->id, srq->slot);
	return 1;
}

static unsigned int rig_poll(struct pass *pass, struct vm *vm)
{
	(void)pass;
	atomic_fetch_add(&guest_of(vm)->polls, 1);
	tell("P%u", vm->id);
	return rig.poll_found;
}

static bool rig_arm(struct pass *pass, struct vm *vm)
{
	(void)pass;
	atomic_fetch_add(&guest_of(vm)->arms, 1);
	return rig.on_arm ? rig.on_arm(guest_of(vm)) : false;
}

static unsigned int rig_in_flight(const struct vm *vm)
{
	return guest_of(vm)->in_flight;
}

static int rig_event_fd(struct vm *vm)
{
	return guest_of(vm)->fabric_fd;
}

static void rig_event(struct pass *pass, struct vm *vm)
{
	eventfd_t count;

	(void)pass;
	ck_assert_int_eq(eventfd_read(guest_of(vm)->fabric_fd, &count), 0);
	atomic_fetch_add(&guest_of(vm)->events, 1);
}

void rig_setup(void)
{
	rig = (struct rig){
		.qp = { .serve = rig_serve, .serve_receives = rig_serve_receives },
		.ops = {
			.name = "rig",
			.qp = &rig.qp,
			.srq_serve = rig_srq_serve,
			.vm_poll = rig_poll,
			.vm_arm = rig_arm,
			.vm_in_flight = rig_in_flight,
			.vm_event_fd = rig_event_fd,
			.vm_event = rig_event,
		},
	};
}

/* ---------------------------------- worker --------------------------------- */

struct worker *rig_worker(void)
{
	const struct config config = { .workers = 1 };

	worker = (struct worker){ .pass.worker = &worker };
	worker_sleep_init(&worker, &config);
	worker.few_cpus = false;
	worker.assignment = calloc(1, sizeof(*worker.assignment));
	worker.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker.thread = pthread_self();
	ck_assert_int_eq(worker_listen(&worker, worker.wake_fd, 0, SOURCE_WAKE), 0);
	worker_pool.worker = &worker;
	worker_pool.count = 1;
	return &worker;
}

void rig_worker_free(void)
{
	close(worker.epoll_fd);
	close(worker.wake_fd);
	worker_assignment_free(worker.assignment);
	worker_pool.worker = NULL;
	worker_pool.count = 0;
}

unsigned int rig_pass(uint64_t now)
{
	unsigned int served;

	rig.log[0] = '\0';
	rig.logging = !rig.quiet;
	worker.pass.now = now;
	served = worker_pass(&worker);
	rig.logging = false;
	return served;
}

/* ---------------------------------- guests --------------------------------- */

struct guest *guest_new(unsigned int id)
{
	const size_t size = (sizeof(struct guest) + 4095) / 4096 * 4096;
	struct guest *guest = aligned_alloc(4096, size);

	memset(guest, 0, size);
	guest->vm.id = id;
	guest->vm.ops = &rig.ops;
	guest->vm.num_doorbells = RIG_DOORBELLS;
	for (unsigned int i = 0; i < RIG_DOORBELLS; i++)
		guest->vm.doorbell_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	guest->fabric_fd = -1;
	guest->context.vm = &guest->vm;
	guest->context.timed_due_ns = UINT64_MAX;
	guest->context.page = &guest->page;
	return guest;
}

static void guest_free_slot(struct guest *guest, uint32_t slot)
{
	struct qp *qp = context_qp(&guest->context, slot);
	struct srq *srq = context_srq(&guest->context, slot);

	if (qp) {
		pthread_mutex_destroy(&qp->lock);
		free(qp->sq.pi);
		free(qp);
	}
	if (srq) {
		pthread_mutex_destroy(&srq->lock);
		free(srq);
	}
}

void guest_free(struct guest *guest)
{
	for (uint32_t slot = 0; slot < PVHCA_SLOTS; slot++)
		guest_free_slot(guest, slot);
	for (unsigned int i = 0; i < PVHCA_SLOT_WORDS; i++)
		free(guest->context.slots[i]);
	for (unsigned int i = 0; i < RIG_DOORBELLS; i++)
		close(guest->vm.doorbell_fds[i]);
	if (guest->fabric_fd >= 0)
		close(guest->fabric_fd);
	free(guest);
}

struct guest *guest_start(unsigned int id)
{
	struct guest *guest = guest_new(id);

	ck_assert_int_eq(worker_attach(&guest->vm), 0);
	ck_assert_int_eq(worker_add_context(&guest->context), 0);
	return guest;
}

void guest_leave(struct guest *guest)
{
	worker_leave(&guest->vm);
	grace_wait();
	worker_detach(&guest->vm);
}

void guest_stop(struct guest *guest)
{
	worker_del_context(&guest->context);
	guest_leave(guest);
	guest_free(guest);
}

static void guest_make_group(struct guest *guest, uint32_t slot)
{
	struct slot_group **group = &guest->context.slots[slot / 64];

	if (!*group)
		__atomic_store_n(group, calloc(1, sizeof(**group)), __ATOMIC_RELEASE);
}

struct qp *guest_qp(struct guest *guest, uint32_t slot)
{
	struct qp *qp = calloc(1, sizeof(*qp));

	qp->ops = &rig.qp;
	qp->vm = &guest->vm;
	qp->context = &guest->context;
	qp->slot = slot;
	qp->sq.pi = calloc(1, sizeof(*qp->sq.pi));
	qp->sq.entries = RIG_ENTRIES;
	pthread_mutex_init(&qp->lock, NULL);
	guest_make_group(guest, slot);
	context_set_qp(&guest->context, slot, qp);
	return qp;
}

struct srq *guest_srq(struct guest *guest, uint32_t slot)
{
	struct srq *srq = calloc(1, sizeof(*srq));

	srq->vm = &guest->vm;
	srq->context = &guest->context;
	srq->slot = slot;
	pthread_mutex_init(&srq->lock, NULL);
	guest_make_group(guest, slot);
	context_set_srq(&guest->context, slot, srq);
	return srq;
}

void guest_announce(struct guest *guest, uint32_t slot)
{
	_Atomic uint64_t *need_kick = (_Atomic uint64_t *)&guest->page.need_kick;
	const unsigned int word = slot / 64;
	const uint64_t bit = 1ull << word;

	atomic_fetch_or((_Atomic uint64_t *)&guest->page.pending[word], 1ull << slot % 64);
	atomic_fetch_or((_Atomic uint64_t *)&guest->page.summary, bit);
	if (atomic_load(need_kick) & bit && atomic_fetch_and(need_kick, ~bit) & bit)
		eventfd_write(guest->vm.doorbell_fds[guest->vm.doorbell / PVHCA_DB_STRIDE], 1);
}

void guest_post(struct guest *guest, struct qp *qp)
{
	atomic_fetch_add(qp->sq.pi, 1);
	guest_announce(guest, qp->slot);
}

uint64_t guest_need_kick(struct guest *guest)
{
	return atomic_load((_Atomic uint64_t *)&guest->page.need_kick);
}
