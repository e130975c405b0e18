// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Worker threads
 *
 * A worker makes passes (worker/pass.c). In each it looks at the summary word of
 * every context of its VMs (worker/assign.c), serves the QPs named there, each VM in its
 * turn (worker/turn.c), lets the fabric collect completions, retries completions that found
 * no room, and raises the events that guests asked for (vm/pass.c). Between passes it is
 * quiescent for liburcu. When there is nothing to do it rests (worker/sleep.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "lib/calls.h"
#include "lib/clock.h"
#include "lib/cpuset.h"
#include "lib/log.h"
#include "worker/private.h"

CALLS("getpriority setpriority");

struct worker_pool worker_pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

void worker_wake(struct worker *worker)
{
	eventfd_write(worker->wake_fd, 1);
}

/* -------------------------------- the thread ------------------------------- */

static uint64_t clock_now(void)
{
	return clock_ns();
}

/* The thread's own nice value, as Linux has it. */
static void raise_priority(const struct worker *worker)
{
	int nice;

	if (!worker->priority)
		return;
	errno = 0;
	nice = getpriority(PRIO_PROCESS, 0);
	if (errno || setpriority(PRIO_PROCESS, 0, nice - (int)worker->priority))
		g_warning("worker %u keeps its usual priority: %s", worker->index,
			  log_strerror(errno));
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	uint64_t last_work;

	raise_priority(worker);
	rcu_register_thread();
	last_work = clock_ns();
	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
		worker->pass.now = clock_ns();
		if (worker_pass(worker)) {
			last_work = worker->pass.now;
		} else if (worker->pass.now - last_work > worker->spin_ns ||
			   worker_poll_politely(worker, last_work)) {
			worker_rest(worker);
			last_work = clock_ns();
		}
		rcu_quiescent_state();
	}
	rcu_unregister_thread();
	return NULL;
}

/* ----------------------------- start and stop ------------------------------ */

static int worker_init(struct worker *worker, unsigned int index, const struct config *config)
{
	int err;

	worker->index = index;
	worker->pass.worker = worker;
	worker->pass.clock = clock_now;
	worker->priority = config->priority;
	worker_sleep_init(worker, config);

	worker->assignment = calloc(1, sizeof(*worker->assignment));
	if (!worker->assignment)
		return -ENOMEM;
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0) {
		err = -errno;
		goto err_free;
	}
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->wake_fd < 0) {
		err = -errno;
		goto err_close_epoll;
	}
	err = worker_listen(worker, worker->wake_fd, 0, SOURCE_WAKE);
	if (!err)
		err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err)
		goto err_close_wake;
	cpuset_pin(worker->thread, config->cpus, index);
	return 0;

err_close_wake:
	close(worker->wake_fd);
err_close_epoll:
	close(worker->epoll_fd);
err_free:
	worker_assignment_free(worker->assignment);
	return err;
}

static void worker_fini(struct worker *worker)
{
	atomic_store(&worker->stop, true);
	worker_wake(worker);
	pthread_join(worker->thread, NULL);
	close(worker->wake_fd);
	close(worker->epoll_fd);
	worker_assignment_free(worker->assignment);
}

int worker_start_all(const struct config *config)
{
	int err;

	worker_pool.worker = calloc(config->workers, sizeof(*worker_pool.worker));
	if (!worker_pool.worker)
		return -ENOMEM;
	for (; worker_pool.count < config->workers; worker_pool.count++) {
		err = worker_init(&worker_pool.worker[worker_pool.count], worker_pool.count,
				  config);
		if (err) {
			worker_stop_all();
			return err;
		}
	}
	return 0;
}

void worker_stop_all(void)
{
	while (worker_pool.count)
		worker_fini(&worker_pool.worker[--worker_pool.count]);
	free(worker_pool.worker);
	worker_pool.worker = NULL;
}
