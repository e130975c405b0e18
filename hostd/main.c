// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhcad: start, main loop, stop.
 *
 * The main thread accepts connections, answers for statistics and handles signals. It
 * never waits for a guest, a host device or a peer. Order of stopping: no new
 * connections, sessions (which give back all of their guests), workers, fabric.
 */
#include <errno.h>
#include <glib-unix.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pvhca-version.h>

#include "config/config.h"
#include "control/control.h"
#include "lib/cpuset.h"
#include "fabric/fabrics.h"
#include "memory/stitches.h"
#include "lib/listener.h"
#include "lib/log.h"
#include "lib/ready.h"
#include "lib/shared_event.h"
#include "lib/watch.h"
#include "memory/memory.h"
#include "sandbox/sandbox.h"
#include "stats/metrics.h"
#include "session/listeners.h"
#include "session/session.h"
#include "stats/stats.h"
#include "worker/worker.h"

/* Descriptors that those from outside must leave free. */
#define DAEMON_OWN_FDS 1024
/* Of vm.max_map_count. */
#define HEAP_MAPPINGS 1024

/* Exit codes, as in pvhcad(8). */
/* clang-format off */
enum {
	EXIT_OK		= 0,
	EXIT_FAILED	= 1,	/* could not start */
	EXIT_USAGE	= 2,	/* settings are wrong */
};
/* clang-format on */

struct daemon {
	struct config *config;
	const struct fabric_ops *ops;
	struct fabric *fabric;
	struct listener *stats, *control;
	struct metrics *metrics; /* NULL: not asked for */
	bool stopping;
};

/* A fabric whose addresses are the host's has no networks of ours: why the settings do not fit, or NULL. */
static const char *daemon_check_networks(const struct fabric_ops *ops, const struct config *config)
{
	if (!ops->host_addresses || !config_has_networks(config))
		return NULL;
	return "this fabric has no networks (network= in a [vm] group): its VMs are all in that of the host's device";
}

/* What config/ cannot check. */
static bool daemon_check(const struct daemon *daemon)
{
	const char *missing = fabrics_incomplete(daemon->ops);
	const char *networks = daemon_check_networks(daemon->ops, daemon->config);
	const char *cpus = daemon->config->cpus;

	if (missing) {
		g_critical("fabric %s has no %s", daemon->ops->name, missing);
		return false;
	}
	if (networks) {
		g_critical("fabric %s: %s", daemon->ops->name, networks);
		return false;
	}
	if (cpus && cpuset_count(cpus) < 0) {
		g_critical("cpus=%s is not a list of processors", cpus);
		return false;
	}
	return true;
}

/* Guests' memory and events are descriptors; registered memory counts as locked. */
static void daemon_raise_limits(const struct daemon *daemon)
{
	struct rlimit limit;

	sandbox_raise_limits(daemon->ops->locks_memory);
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		if (limit.rlim_cur > INT_MAX)
			limit.rlim_cur = INT_MAX;
		sessions_limit_fds(limit.rlim_cur - MIN(limit.rlim_cur / 2, DAEMON_OWN_FDS));
	}
	if (daemon->ops->locks_memory && !sandbox_may_lock(daemon->config->quota.pinned_bytes))
		g_warning(
			"RLIMIT_MEMLOCK is low: guests may fail to register memory; run pvhcad with it unlimited");
}

/* ---------------------------------- events --------------------------------- */

static gboolean daemon_on_signal(void *arg)
{
	struct daemon *daemon = arg;

	g_message("stopping");
	daemon->stopping = true;
	return G_SOURCE_CONTINUE;
}

/* Read the settings again; all or nothing. The answer is as control/control.h has it. */
static char *daemon_reload(void *arg)
{
	struct daemon *daemon = arg;
	GError *error = NULL;
	struct config *next = config_read_again(daemon->config, &error);
	char *why, *later, *answer;
	const char *networks;

	if (!next) {
		answer = g_strdup_printf("error %s; nothing is changed", error->message);
		g_error_free(error);
		return answer;
	}
	networks = daemon_check_networks(daemon->ops, next);
	if (networks) {
		config_free_copy(next);
		return g_strdup_printf("error %s; nothing is changed", networks);
	}
	if (!listeners_change(next, &why)) {
		config_free_copy(next);
		answer = g_strdup_printf("error %s; nothing is changed", why);
		g_free(why);
		return answer;
	}
	later = config_take(daemon->config, next);
	log_init(daemon->config->log_level);
	sessions_reload();
	answer = later ?
		g_strdup_printf("ok the settings are read again; not before the next start: %s",
				later) :
		g_strdup("ok the settings are read again");
	g_free(later);
	return answer;
}

static char *daemon_reload_and_log(void *arg)
{
	char *answer = daemon_reload(arg);

	if (g_str_has_prefix(answer, "error "))
		g_warning("%s", answer + strlen("error "));
	else
		g_message("%s", answer + strlen("ok "));
	return answer;
}

static char *daemon_evict(const char *vm, void *arg)
{
	unsigned int ended = sessions_evict(vm);

	(void)arg;
	if (!ended)
		return g_strdup("none");
	g_message("VM %s: evicted", vm);
	return g_strdup_printf("ok %u session%s", ended, ended == 1 ? "" : "s");
}

static const struct control_ops daemon_control = {
	.reload = daemon_reload_and_log,
	.evict = daemon_evict,
};

static gboolean daemon_on_hangup(void *arg)
{
	g_free(daemon_reload_and_log(arg));
	return G_SOURCE_CONTINUE;
}

static gboolean daemon_on_stats(int fd, GIOCondition condition, void *arg)
{
	struct daemon *daemon = arg;
	int peer = listener_accept(daemon->stats);

	(void)fd;
	(void)condition;
	if (peer >= 0)
		stats_accept(peer, daemon->config->fabric);
	else if (peer != -EAGAIN && peer != -EINTR)
		g_usleep(1000); /* as above, but nobody depends on this */
	return G_SOURCE_CONTINUE;
}

static gboolean daemon_on_memory_fault(int fd, GIOCondition condition, void *arg)
{
	uint64_t count;

	(void)condition;
	(void)arg;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		sessions_check_memory();
	return G_SOURCE_CONTINUE;
}

/* -------------------------------- start, stop ------------------------------ */

static void daemon_cannot_listen(const char *where, int error)
{
	char *text = listeners_error(where, error);

	g_critical("%s", text);
	g_free(text);
}

static bool daemon_open_metrics(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	int error;

	if (!config->metrics)
		return true;
	daemon->metrics =
		metrics_open(config->metrics, &config->stats_access, config->fabric, &error);
	if (!daemon->metrics)
		daemon_cannot_listen(config->metrics, error);
	return daemon->metrics;
}

static void daemon_close_sockets(struct daemon *daemon)
{
	listeners_close();
	listener_close(daemon->stats);
	listener_close(daemon->control);
	metrics_close(daemon->metrics);
}

/* The socket beside the one for all, with this suffix; NULL: why is logged. */
static struct listener *daemon_open_beside(const struct daemon *daemon, const char *suffix,
					   const struct listener_access *access)
{
	char *path = g_strconcat(daemon->config->socket, suffix, NULL);
	struct listener *listener;
	int error;

	listener = listener_open(path, access, &error);
	if (!listener)
		daemon_cannot_listen(path, error);
	g_free(path);
	return listener;
}

static bool daemon_open_sockets(struct daemon *daemon)
{
	const struct listener_access own = { 0600, LISTENER_NOBODY, LISTENER_NOBODY };
	const struct config *config = daemon->config;
	char *why;

	if (!listeners_open(config, &why)) {
		g_critical("%s", why);
		g_free(why);
		return false;
	}
	daemon->stats = daemon_open_beside(daemon, ".stats", &config->stats_access);
	if (daemon->stats)
		daemon->control = daemon_open_beside(daemon, ".ctl", &own);
	if (daemon->control && daemon_open_metrics(daemon))
		return true;
	daemon_close_sockets(daemon);
	return false;
}

/*
 * What needs the rights of who started us, and then without them. Signals that end us wait
 * meanwhile, so that no socket is left behind.
 */
static bool daemon_enter(struct daemon *daemon)
{
	struct account account;
	sigset_t ends;
	bool done;

	if (!sandbox_find_user(daemon->config->user, &account))
		return false;
	listener_set_owner(account.user, account.group);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	daemon_raise_limits(daemon);
	done = daemon_open_sockets(daemon);
	if (done && !sandbox_drop(&account, daemon->ops->locks_memory)) {
		daemon_close_sockets(daemon);
		done = false;
	}
	/* These begin a thread of GLib's. */
	g_unix_signal_add(SIGTERM, daemon_on_signal, daemon);
	g_unix_signal_add(SIGINT, daemon_on_signal, daemon);
	g_unix_signal_add(SIGHUP, daemon_on_hangup, daemon);
	/* Peers that go away are seen by errors of send(2). */
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
	return done;
}

static bool daemon_start(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	int ret;

	ret = memory_fault_init();
	if (ret) {
		g_critical("cannot watch memory: %s", log_strerror(-ret));
		return false;
	}
	memory_budget_init();
	/* Each large piece of the heap would be a mapping; from here on the rest has arenas. */
	mallopt(M_MMAP_MAX, HEAP_MAPPINGS);
	ret = shared_event_init();
	if (ret)
		g_warning(
			"no asynchronous I/O (%s): a hostile QEMU can hold up the workers; see fs.aio-max-nr",
			log_strerror(-ret));
	daemon->fabric = daemon->ops->start();
	if (!daemon->fabric)
		return false;
	stitches_limit(config->keep_mapped);
	ret = worker_start_all(config);
	if (ret) {
		g_critical("cannot start workers: %s", log_strerror(-ret));
		goto err_stop_fabric;
	}
	ret = sessions_init(config, daemon->ops, daemon->fabric);
	if (!ret)
		ret = stats_start();
	if (!ret)
		ret = control_start(daemon->control, &daemon_control, daemon);
	if (ret) {
		g_critical("cannot serve VMs: %s", log_strerror(-ret));
		goto err_stop_workers;
	}
	if (config->sandbox && !sandbox_filter(daemon->ops->name))
		goto err_stop_workers;
	return true;

err_stop_workers:
	worker_stop_all();
err_stop_fabric:
	daemon->ops->stop(daemon->fabric);
	return false;
}

static void daemon_run(struct daemon *daemon)
{
	GSource *stats, *faults;

	listeners_start();
	stats = watch_add(listener_fd(daemon->stats), daemon_on_stats, daemon, NULL);
	faults = watch_add(memory_fault_fd(), daemon_on_memory_fault, daemon, NULL);
	g_message("version %s, fabric %s, listening at %s", PVHCA_VERSION, daemon->config->fabric,
		  daemon->config->socket);
	ready_tell();
	while (!daemon->stopping)
		g_main_context_iteration(NULL, TRUE);
	watch_remove(faults);
	watch_remove(stats);
}

static void daemon_stop(struct daemon *daemon)
{
	control_stop();
	daemon_close_sockets(daemon);
	stats_stop();
	if (!sessions_stop()) {
		/* Their threads still use all that is below. */
		g_warning("stopped, without the sessions that did not end");
		_exit(EXIT_OK);
	}
	worker_stop_all();
	daemon->ops->stop(daemon->fabric);
	g_message("stopped");
}

int main(int argc, char **argv)
{
	struct config_actions actions = { 0 };
	struct daemon daemon = { 0 };
	GError *error = NULL;
	int ret = EXIT_USAGE;

	log_init("message");
	daemon.config = config_load(&argc, &argv, fabrics_config(), &actions, &error);
	if (!daemon.config) {
		g_critical("%s", error->message);
		g_error_free(error);
		return EXIT_USAGE;
	}
	if (actions.version) {
		printf("pvhcad %s\n", PVHCA_VERSION);
		ret = EXIT_OK;
		goto out;
	}
	log_init(daemon.config->log_level);
	daemon.ops = fabrics_find(daemon.config->fabric);
	if (!daemon_check(&daemon))
		goto out;
	ret = EXIT_OK;
	if (actions.check)
		goto out;
	ret = EXIT_FAILED;
	if (!daemon_enter(&daemon))
		goto out;
	if (!daemon_start(&daemon)) {
		daemon_close_sockets(&daemon);
		goto out;
	}
	daemon_run(&daemon);
	daemon_stop(&daemon);
	ret = EXIT_OK;
out:
	config_free(daemon.config);
	return ret;
}
