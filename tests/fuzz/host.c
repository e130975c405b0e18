// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The session's loop sleeps in epoll_wait(2). The linker leads its calls here (--wrap), and that
 * is where the next step of an input is taken, as all before it has been handled.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "admin/pool.h"
#include "fabric/fabrics.h"
#include "fuzz.h"
#include "lib/log.h"
#include "lib/shared_event.h"
#include "memory/memory.h"
#include "session/private.h"
#include "worker/private.h"

#define PASSES	8    /* in a row, at most */
#define PASS_MS 1000 /* between two of them, so that each retry's time comes */

static struct {
	struct config *config;
	const struct fabric_ops *ops;
	struct fabric *fabric;
	struct worker worker;
	struct session *running;
	bool (*step)(void *arg);
	void *arg;
	unsigned int sessions;
	uint32_t random;
	int next_fd;
	int config_fd; /* 0: not made yet */
} host;

/* ------------------------------- pvhcad's calls ---------------------------- */

int __real_epoll_wait(int fd, struct epoll_event *events, int max, int timeout);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int max, int timeout);
bool __wrap_pool_want(struct pool_client *client, unsigned int wanted);
void __wrap_worker_settle(struct context *context);
uint32_t __wrap_arc4random_uniform(uint32_t bound);

int __wrap_epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	int n = __real_epoll_wait(fd, events, max, 0);

	if (n || !timeout || !host.running || fd != host.running->epoll_fd)
		return n;
	host_pass();
	/* Milliseconds are not waited for. */
	if (host.running->retry_ns)
		host.running->retry_ns = 1;
	else if (!host.step(host.arg))
		session_quit(host.running);
	return 0;
}

/* The pool has no thread: who asks does the work. */
bool __wrap_pool_want(struct pool_client *client, unsigned int wanted)
{
	(void)client;
	return !wanted;
}

void __wrap_worker_settle(struct context *context)
{
	(void)context;
	host_pass();
}

uint32_t __wrap_arc4random_uniform(uint32_t bound)
{
	host.random = host.random * 1664525u + 1013904223u;
	return (uint64_t)host.random * bound >> 32;
}

/* --------------------------------- set-up ---------------------------------- */

void host_config_text(const void *text, size_t size)
{
	if (!host.config_fd)
		host.config_fd = memfd_create("config", MFD_CLOEXEC);
	FUZZ_CHECK(!ftruncate(host.config_fd, 0));
	FUZZ_CHECK(pwrite(host.config_fd, text, size, 0) == (ssize_t)size);
}

struct config *host_config(const void *text, size_t size, GError **error)
{
	struct config_actions actions = { 0 };
	char path[32], *args[] = { "pvhcad", "--config", path, NULL }, **argv = args;
	int argc = 3;

	host_config_text(text, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", host.config_fd);
	return config_load(&argc, &argv, fabrics_config(), &actions, error);
}

void host_init(const char *settings)
{
	struct worker *worker = &host.worker;

	/* What would be logged is not shown. */
	log_init("error");
	g_random_set_seed(1);
	host.config = host_config(settings, strlen(settings), NULL);
	FUZZ_CHECK(host.config);
	FUZZ_CHECK(!memory_fault_init());
	shared_event_init();
	sessions_limit_fds(1000);
	host.ops = fabrics_find("loopback");
	host.fabric = host.ops->start();

	worker->pass.worker = worker;
	worker_sleep_init(worker, host.config);
	worker->assignment = calloc(1, sizeof(*worker->assignment));
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->thread = pthread_self();
	FUZZ_CHECK(!worker_listen(worker, worker->wake_fd, 0, SOURCE_WAKE));
	worker_pool.worker = worker;
	worker_pool.count = 1;
	rcu_register_thread();
	g_main_context_default();
}

static int next_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

void host_begin(void)
{
	host.random = 1;
	host.sessions = 0;
	host.next_fd = next_fd();
}

void host_end(void)
{
	FUZZ_CHECK(next_fd() == host.next_fd);
}

void host_reload(const char *settings)
{
	struct config *next;

	host_config_text(settings, strlen(settings));
	next = config_read_again(host.config, NULL);
	FUZZ_CHECK(next);
	g_free(config_take(host.config, next));
	if (host.running)
		session_reload(host.running);
}

/* --------------------------------- sessions -------------------------------- */

struct session *host_session(int fd)
{
	struct session *session =
		session_new(fd, NULL, NULL, ++host.sessions, host.config, host.ops, host.fabric);

	FUZZ_CHECK(session);
	return session;
}

void host_run(struct session *session, bool (*step)(void *arg), void *arg)
{
	host.running = session;
	host.step = step;
	host.arg = arg;
	session_run(session);
	host.running = NULL;
	session_free(session);
}

void host_pass(void)
{
	unsigned int passes = 0, served;

	do {
		host.worker.pass.now += PASS_MS * NS_PER_MS;
		served = worker_pass(&host.worker);
		rcu_quiescent_state();
	} while (served && ++passes < PASSES);
}
