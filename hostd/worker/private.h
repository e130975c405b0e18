/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the workers share; all others see worker/worker.h. */
#ifndef HOSTD_WORKER_PRIVATE_H
#define HOSTD_WORKER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/cq_blocked.h"
#include "vm/objects.h"
#include "vm/pass.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* What a descriptor in epoll is for; the id of its session stands above. */
enum worker_source {
	SOURCE_WAKE,
	SOURCE_DOORBELL,
	SOURCE_FABRIC,
};

/**
 * struct assignment - what a worker polls; replaced as a whole
 * @busy, @num_busy: those of the contexts that had something to do lately, and
 * @looked_ns: when the others were looked at last; the worker's own
 */
struct assignment {
	unsigned int num_vms;
	unsigned int num_contexts;
	struct vm **vms;
	struct context **contexts;
	struct context **busy;
	unsigned int num_busy;
	uint64_t looked_ns;
};

struct worker {
	unsigned int index;
	pthread_t thread;
	int epoll_fd;
	int wake_fd;
	struct assignment *assignment; /* RCU */
	unsigned int load;	       /* sessions; under workers.lock */

	/* The thread's own */
	struct pass pass;
	uint64_t spin_ns;
	uint64_t spin_limit_ns;
	uint64_t nap_ns;
	unsigned int naps_in_vain;
	bool few_cpus; /* let others go first, for they make our work */
	bool give_way;
	unsigned int priority;

	struct cq_blocked_list blocked_cqs;
	_Atomic bool stop;
};

struct workers {
	pthread_mutex_t lock; /* assignments' writers, load */
	struct worker *worker;
	unsigned int count;
};

extern struct workers workers;

/* ----------------------------- worker/pass.c ------------------------------- */

/* Serve all that is announced; returns how much that was. */
unsigned int worker_pass(struct worker *worker);
/* Did the guest, or pvhcad, announce something in it that no pass has taken? */
bool worker_is_announced(struct context *context);

/* ----------------------------- worker/sleep.c ------------------------------ */

void worker_sleep_init(struct worker *worker, const struct config *config);
/* Have a sleeping worker woken by fd, of this session's. 0 or a negative errno. */
int worker_listen(struct worker *worker, int fd, unsigned int vm, enum worker_source source);
void worker_unlisten(struct worker *worker, int fd);
/*
 * Nothing to do, but too early to sleep. Returns whether the processor is wanted
 * by others.
 */
bool worker_poll_politely(struct worker *worker);
/* Nothing to do for now: nap, or sleep until somebody wakes us. */
void worker_rest(struct worker *worker);

/* ----------------------------- worker/assign.c ----------------------------- */

void worker_assignment_free(struct assignment *assignment);

#endif
