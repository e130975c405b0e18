// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which VMs a worker has, and which contexts these have
 *
 * Both stand in arrays that are replaced as a whole (RCU): a worker reads them
 * without a lock, and is quiescent between its passes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "lib/calls.h"
#include "lib/grace.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "vm/vm.h"
#include "worker/private.h"

CALLS("epoll_create1 epoll_ctl");

void worker_assignment_free(struct assignment *assignment)
{
	if (!assignment)
		return;
	free(assignment->vms);
	free(assignment->busy);
	free(assignment->turn);
	free(assignment);
}

/* A copy of the assignment, with room for one more. The worker begins with a look at all. */
static struct assignment *assignment_copy(const struct assignment *from)
{
	struct assignment *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->vms = calloc(from->num_vms + 1, sizeof(*copy->vms));
	copy->busy = calloc(from->num_vms + 1, sizeof(*copy->busy));
	copy->turn = calloc(from->num_vms + 1, sizeof(*copy->turn));
	if (!copy->vms || !copy->busy || !copy->turn) {
		worker_assignment_free(copy);
		return NULL;
	}
	copy->num_vms = from->num_vms;
	/* The first one has no arrays. */
	if (from->vms)
		memcpy(copy->vms, from->vms, from->num_vms * sizeof(*copy->vms));
	return copy;
}

/* ---------------------------------- a VM ----------------------------------- */

/*
 * An empty list with room for so many. The heap's limit is not asked: a list is needed to take a
 * context out, too.
 */
static struct context_list *context_list_new(struct heap *heap, unsigned int room)
{
	struct context_list *list;

	list = heap_zalloc_beyond(heap, sizeof(*list) + room * sizeof(list->context[0]));
	if (!list)
		return NULL;
	list->busy = heap_zalloc_beyond(heap, (room + 1) * sizeof(*list->busy));
	if (!list->busy) {
		heap_free(list);
		return NULL;
	}
	return list;
}

static void context_list_free(struct context_list *list)
{
	if (!list)
		return;
	heap_free(list->busy);
	heap_free(list);
}

static void worker_vm_free(struct worker_vm *wv)
{
	context_list_free(wv->contexts);
	cq_blocked_fini(&wv->blocked_cqs);
	if (wv->doorbell_fd >= 0)
		close(wv->doorbell_fd);
	heap_free(wv);
}

static struct worker_vm *worker_vm_new(struct worker *worker, struct vm *vm)
{
	struct worker_vm *wv = heap_zalloc(vm->heap, sizeof(*wv));

	if (!wv)
		return NULL;
	wv->vm = vm;
	wv->doorbell_fd = -1;
	cq_blocked_init(&wv->blocked_cqs, worker->thread, worker->wake_fd);
	wv->contexts = context_list_new(vm->heap, 0);
	if (wv->contexts)
		return wv;
	worker_vm_free(wv);
	return NULL;
}

/* ------------------------------ a worker's VMs ----------------------------- */

/*
 * Publish a changed copy and wait until the worker has left the old one. With
 * worker_pool.lock held; drops it for the wait.
 */
static void assignment_replace(struct worker *worker, struct assignment *next)
{
	struct assignment *old = worker->assignment;

	rcu_assign_pointer(worker->assignment, next);
	pthread_mutex_unlock(&worker_pool.lock);
	worker_wake(worker);
	grace_wait();
	worker_assignment_free(old);
}

/*
 * QEMU has the doorbell, too, and can hold its lock for long, by having a million waiters woken. To
 * put it into epoll, and to take it out, needs that lock, and the lock of the epoll meanwhile. So
 * each VM has an epoll of its own for it, which is in the worker's only while nobody changes it.
 * The worker never reads the doorbell: that needs its lock as well.
 */
static int doorbell_open(struct worker_vm *wv, int doorbell)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	wv->doorbell_fd = epoll_create1(EPOLL_CLOEXEC);
	if (wv->doorbell_fd < 0)
		return -errno;
	return epoll_ctl(wv->doorbell_fd, EPOLL_CTL_ADD, doorbell, &event) ? -errno : 0;
}

/* Close would wait for the doorbell's lock with one held that all of the host's epolls share. */
static void doorbell_close(struct worker_vm *wv, int doorbell)
{
	epoll_ctl(wv->doorbell_fd, EPOLL_CTL_DEL, doorbell, NULL);
}

static int vm_fabric_fd(struct vm *vm)
{
	return fabric_hook(vm->ops, -1, vm_event_fd, vm);
}

/* The worker with the fewest VMs, with one more from now on. */
static struct worker *take_worker(void)
{
	struct worker *best = &worker_pool.worker[0];
	unsigned int i;

	pthread_mutex_lock(&worker_pool.lock);
	for (i = 1; i < worker_pool.count; i++)
		if (worker_pool.worker[i].load < best->load)
			best = &worker_pool.worker[i];
	best->load++;
	pthread_mutex_unlock(&worker_pool.lock);
	return best;
}

static void give_worker(struct worker *worker)
{
	pthread_mutex_lock(&worker_pool.lock);
	worker->load--;
	pthread_mutex_unlock(&worker_pool.lock);
}

/* Without the lock: it may take long. */
static int listen_for(struct worker *worker, struct worker_vm *wv, unsigned int doorbell)
{
	int fabric_fd = vm_fabric_fd(wv->vm), err;

	err = doorbell_open(wv, wv->vm->doorbell_fds[doorbell]);
	if (!err)
		err = worker_listen(worker, wv->doorbell_fd, wv->vm->id, SOURCE_DOORBELL);
	if (err || fabric_fd < 0)
		return err;
	err = worker_listen(worker, fabric_fd, wv->vm->id, SOURCE_FABRIC);
	if (err)
		worker_unlisten(worker, wv->doorbell_fd);
	return err;
}

static void listen_no_more(struct worker *worker, struct worker_vm *wv, unsigned int doorbell)
{
	int fabric_fd = vm_fabric_fd(wv->vm);

	worker_unlisten(worker, wv->doorbell_fd);
	if (fabric_fd >= 0)
		worker_unlisten(worker, fabric_fd);
	doorbell_close(wv, wv->vm->doorbell_fds[doorbell]);
}

int worker_attach(struct vm *vm)
{
	struct worker *worker = take_worker();
	unsigned int doorbell = worker->index % vm->num_doorbells;
	struct worker_vm *wv = worker_vm_new(worker, vm);
	struct assignment *next;
	int err = -ENOMEM;

	if (!wv)
		goto err_give;
	err = listen_for(worker, wv, doorbell);
	if (err)
		goto err_free;
	pthread_mutex_lock(&worker_pool.lock);
	next = assignment_copy(worker->assignment);
	if (!next) {
		pthread_mutex_unlock(&worker_pool.lock);
		err = -ENOMEM;
		goto err_unlisten;
	}
	vm->worker = worker;
	vm->worker_vm = wv;
	vm->blocked_cqs = &wv->blocked_cqs;
	vm->doorbell = doorbell * PVHCA_DB_STRIDE;
	next->vms[next->num_vms++] = wv;
	assignment_replace(worker, next);
	return 0;

err_unlisten:
	listen_no_more(worker, wv, doorbell);
err_free:
	worker_vm_free(wv);
err_give:
	give_worker(worker);
	return err;
}

/*
 * Take out a VM. This must not fail. With worker_pool.lock held; drops it. Returns the
 * assignment of before, which the worker may be using until a grace period has passed.
 */
static struct assignment *assignment_remove(struct worker *worker, const struct worker_vm *wv)
{
	struct assignment *old, *next;
	unsigned int i, kept = 0;

	while (!(next = assignment_copy(worker->assignment))) {
		pthread_mutex_unlock(&worker_pool.lock);
		g_warning("no memory to change a worker's assignment; waiting");
		sleep(1);
		pthread_mutex_lock(&worker_pool.lock);
	}
	for (i = 0; i < next->num_vms; i++)
		if (next->vms[i] != wv)
			next->vms[kept++] = next->vms[i];
	next->num_vms = kept;
	old = worker->assignment;
	rcu_assign_pointer(worker->assignment, next);
	pthread_mutex_unlock(&worker_pool.lock);
	worker_wake(worker);
	return old;
}

void worker_leave(struct vm *vm)
{
	struct worker *worker = vm->worker;

	listen_no_more(worker, vm->worker_vm, vm->doorbell / PVHCA_DB_STRIDE);
	pthread_mutex_lock(&worker_pool.lock);
	worker->load--;
	vm->worker_vm->left = assignment_remove(worker, vm->worker_vm);
}

void worker_detach(struct vm *vm)
{
	worker_assignment_free(vm->worker_vm->left);
	worker_vm_free(vm->worker_vm);
	vm->worker_vm = NULL;
	vm->worker = NULL;
	vm->blocked_cqs = NULL;
}

/* ------------------------------ a VM's contexts ---------------------------- */

/* Publish next, which the worker begins with a look at all, and wait until it has left the old one. */
static void context_list_replace(struct worker_vm *wv, struct context_list *next)
{
	struct context_list *old = wv->contexts;

	rcu_assign_pointer(wv->contexts, next);
	worker_wake(wv->vm->worker);
	vm_grace(wv->vm);
	context_list_free(old);
}

int worker_add_context(struct context *context)
{
	struct worker_vm *wv = context->vm->worker_vm;
	const struct context_list *list = wv->contexts;
	struct context_list *next = context_list_new(wv->vm->heap, list->count + 1);

	if (!next)
		return -ENOMEM;
	memcpy(next->context, list->context, list->count * sizeof(list->context[0]));
	next->count = list->count + 1;
	next->context[list->count] = context;
	context_list_replace(wv, next);
	return 0;
}

void worker_del_context(struct context *context)
{
	struct worker_vm *wv = context->vm->worker_vm;
	const struct context_list *list = wv->contexts;
	struct context_list *next;
	unsigned int i;

	/* Its worker has left the VM with all its contexts. */
	if (wv->left)
		return;

	while (!(next = context_list_new(wv->vm->heap, list->count))) {
		g_warning("no memory to change a worker's contexts; waiting");
		sleep(1);
	}
	for (i = 0; i < list->count; i++)
		if (list->context[i] != context)
			next->context[next->count++] = list->context[i];
	context_list_replace(wv, next);
}
