/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Worker threads: they poll the guests' rings, and sleep when there is nothing.
 */
#ifndef HOSTD_WORKER_WORKER_H
#define HOSTD_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

struct context;
struct cq;
struct vm;
struct worker;

/* Start config->workers threads; 0 or a negative errno. Stop when no session is attached. */
int worker_start_all(const struct config *config);
void worker_stop_all(void);

/*
 * Give a session to the worker with the fewest; sets vm->worker and
 * vm->doorbell (its byte offset in the doorbell window). The session's thread. 0 or a
 * negative errno.
 */
int worker_attach(struct vm *vm);
/*
 * The VM is not served any more from the next grace period on, for which the caller waits
 * (vm_grace()). Then worker_detach() ends what it had here; after it nothing is left of the VM,
 * its contexts and descriptors.
 */
void worker_leave(struct vm *vm);
void worker_detach(struct vm *vm);

/* A context begins and ends to be polled. Likewise. worker_add_context: 0 or -ENOMEM. */
int worker_add_context(struct context *context);
void worker_del_context(struct context *context);

/* Wake a worker that may sleep: something was asked of it by context_again(). Any thread. */
void worker_wake(struct worker *worker);

/*
 * When it returns the worker has served all that the context's process posted before the
 * call, or 100 ms have passed: a hostile process may post on and on. Not with vm->lock held.
 */
void worker_settle(struct context *context);

#endif
