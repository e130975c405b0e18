// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which sessions and contexts a worker has
 *
 * They stand in an array that is replaced as a whole (RCU): a worker reads it
 * without a lock, and is quiescent between its passes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "lib/log.h"
#include "vm/vm.h"
#include "worker/private.h"

void worker_assignment_free(struct assignment *assignment)
{
	if (!assignment)
		return;
	free(assignment->vms);
	free(assignment->contexts);
	free(assignment->busy);
	free(assignment);
}

/* A copy of what is assigned with room for one more of each. */
static struct assignment *assignment_copy(const struct assignment *from)
{
	struct assignment *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->vms = calloc(from->num_vms + 1, sizeof(*copy->vms));
	copy->contexts = calloc(from->num_contexts + 1, sizeof(*copy->contexts));
	copy->busy = calloc(from->num_contexts + 1, sizeof(*copy->busy));
	if (!copy->vms || !copy->contexts || !copy->busy) {
		worker_assignment_free(copy);
		return NULL;
	}
	copy->num_vms = from->num_vms;
	copy->num_contexts = from->num_contexts;
	/* The first one has no arrays. */
	if (from->vms)
		memcpy(copy->vms, from->vms, from->num_vms * sizeof(*copy->vms));
	if (from->contexts)
		memcpy(copy->contexts, from->contexts,
		       from->num_contexts * sizeof(*copy->contexts));
	return copy;
}

static unsigned int pointer_remove(void **array, unsigned int count, const void *pointer)
{
	unsigned int i, kept = 0;

	for (i = 0; i < count; i++)
		if (array[i] != pointer)
			array[kept++] = array[i];
	return kept;
}

/*
 * Publish a changed copy and wait until the worker has left the old one. With
 * workers.lock held; drops it for the wait.
 */
static void assignment_replace(struct worker *worker, struct assignment *next)
{
	struct assignment *old = worker->assignment;

	rcu_assign_pointer(worker->assignment, next);
	pthread_mutex_unlock(&workers.lock);
	worker_wake(worker);
	synchronize_rcu();
	worker_assignment_free(old);
}

static int vm_fabric_fd(struct vm *vm)
{
	return vm->ops->vm_event_fd ? vm->ops->vm_event_fd(vm) : -1;
}

static struct worker *least_loaded(void)
{
	struct worker *best = &workers.worker[0];
	unsigned int i;

	for (i = 1; i < workers.count; i++)
		if (workers.worker[i].load < best->load)
			best = &workers.worker[i];
	return best;
}

int worker_attach(struct vm *vm)
{
	int fabric_fd = vm_fabric_fd(vm), err;
	struct assignment *next;
	struct worker *worker;
	unsigned int doorbell;

	pthread_mutex_lock(&workers.lock);
	worker = least_loaded();
	doorbell = worker->index % vm->num_doorbells;
	next = assignment_copy(worker->assignment);
	err = -ENOMEM;
	if (!next)
		goto err_unlock;
	err = worker_listen(worker, vm->doorbell_fds[doorbell], vm->id, SOURCE_DOORBELL);
	if (err)
		goto err_free;
	if (fabric_fd >= 0)
		err = worker_listen(worker, fabric_fd, vm->id, SOURCE_FABRIC);
	if (err)
		goto err_del_doorbell;

	vm->worker = worker;
	vm->blocked_cqs = &worker->blocked_cqs;
	vm->doorbell = doorbell * PVHCA_DB_STRIDE;
	worker->load++;
	next->vms[next->num_vms++] = vm;
	assignment_replace(worker, next);
	return 0;

err_del_doorbell:
	worker_unlisten(worker, vm->doorbell_fds[doorbell]);
err_free:
	worker_assignment_free(next);
err_unlock:
	pthread_mutex_unlock(&workers.lock);
	return err;
}

/*
 * Take out what pointer names, be it a session or a context, which must not
 * fail. With workers.lock held; drops it.
 */
static void assignment_remove(struct worker *worker, const void *pointer)
{
	struct assignment *next;

	while (!(next = assignment_copy(worker->assignment))) {
		pthread_mutex_unlock(&workers.lock);
		g_warning("no memory to change a worker's assignment; waiting");
		sleep(1);
		pthread_mutex_lock(&workers.lock);
	}
	next->num_vms = pointer_remove((void **)next->vms, next->num_vms, pointer);
	next->num_contexts = pointer_remove((void **)next->contexts, next->num_contexts, pointer);
	assignment_replace(worker, next);
}

void worker_detach(struct vm *vm)
{
	struct worker *worker = vm->worker;
	int fabric_fd = vm_fabric_fd(vm);
	unsigned int doorbell = vm->doorbell / PVHCA_DB_STRIDE;

	worker_unlisten(worker, vm->doorbell_fds[doorbell]);
	if (fabric_fd >= 0)
		worker_unlisten(worker, fabric_fd);

	pthread_mutex_lock(&workers.lock);
	worker->load--;
	assignment_remove(worker, vm);
	vm->worker = NULL;
	vm->blocked_cqs = NULL;
}

int worker_add_context(struct context *context)
{
	struct worker *worker = context->vm->worker;
	struct assignment *next;

	pthread_mutex_lock(&workers.lock);
	next = assignment_copy(worker->assignment);
	if (!next) {
		pthread_mutex_unlock(&workers.lock);
		return -ENOMEM;
	}
	next->contexts[next->num_contexts++] = context;
	assignment_replace(worker, next);
	return 0;
}

void worker_del_context(struct context *context)
{
	pthread_mutex_lock(&workers.lock);
	assignment_remove(context->vm->worker, context);
}
