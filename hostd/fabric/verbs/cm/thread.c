// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection manager's thread, the jobs it is given, and what it keeps of
 * each session.
 *
 * The jobs of a session are done in their order, and sessions have turns, one job each: a
 * guest that asks for a thousand connections holds up no other's.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/calls.h"
#include "fabric/verbs/cm/private.h"

/* librdmacm, which asks for addresses by netlink. */
CALLS_ON("verbs",
	 "socket bind connect getsockname getpeername sendto sendmsg recvfrom "
	 "recvmsg setsockopt getsockopt ioctl write read eventfd2");

#define JOBS_PER_WAKE 64u
/* MADs of one VM that may wait: more than its CM has under way at a time. */
#define MAX_QUEUED 1024u

/* What Linux has if nobody has changed it; ip(7). */
#define PORT_RANGE	 "/proc/sys/net/ipv4/ip_local_port_range"
#define PORT_RANGE_FIRST 32768u
#define PORT_RANGE_LAST	 60999u

struct cm_job {
	void (*run)(struct cm_job *job);
	struct cm_vm *cv;
	uint8_t source[16];
	uint8_t destination[16]; /* or the host's address for source */
	uint32_t ifindex;
	struct mad mad;
	bool *done; /* under cm.lock; signalled by cm.cond */
};

static struct {
	char *device;
	struct rdma_event_channel *channel; /* NULL: librdmacm is of no use */
	GMainContext *context;
	GMainLoop *loop;
	GThread *thread;
	GSource *wake;
	GSource *events;
	int wake_fd;
	unsigned int first_port, last_port; /* cm_is_for_anybody() */

	pthread_mutex_t lock; /* covers ready, and the jobs of each session */
	pthread_cond_t cond;
	GQueue ready;	   /* struct cm_vm with jobs, by their ready */
	struct cm_vm none; /* jobs of no session */
} cm = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.cond = PTHREAD_COND_INITIALIZER,
	.ready = G_QUEUE_INIT,
	.none = { .jobs = G_QUEUE_INIT, .ready.data = &cm.none },
};

struct rdma_event_channel *cm_channel(void)
{
	return cm.channel;
}

bool cm_right_device(const struct rdma_cm_id *id)
{
	return id->verbs && !strcmp(ibv_get_device_name(id->verbs->device), cm.device);
}

bool cm_is_for_anybody(uint16_t port)
{
	return port >= cm.first_port && port <= cm.last_port;
}

GSource *cm_timer(unsigned int ms, GSourceFunc fn, void *arg)
{
	GSource *timer = g_timeout_source_new(ms);

	g_source_set_callback(timer, fn, arg, NULL);
	g_source_attach(timer, cm.context);
	return timer;
}

/* ----------------------------------- jobs ---------------------------------- */

static void cm_post(struct cm_job *job)
{
	struct cm_vm *cv = job->cv ? job->cv : &cm.none;

	pthread_mutex_lock(&cm.lock);
	if (g_queue_is_empty(&cv->jobs))
		g_queue_push_tail_link(&cm.ready, &cv->ready);
	g_queue_push_tail(&cv->jobs, job);
	pthread_mutex_unlock(&cm.lock);
	eventfd_write(cm.wake_fd, 1);
}

/* And wait until it, and with it all that came before of its session, is done. */
static void cm_post_and_wait(struct cm_job *job)
{
	bool done = false;

	job->done = &done;
	cm_post(job);
	pthread_mutex_lock(&cm.lock);
	while (!done)
		pthread_cond_wait(&cm.cond, &cm.lock);
	pthread_mutex_unlock(&cm.lock);
}

static void cm_run(struct cm_job *job)
{
	bool *done = job->done;

	job->run(job);
	g_free(job);
	if (!done)
		return;
	pthread_mutex_lock(&cm.lock);
	*done = true;
	pthread_cond_broadcast(&cm.cond);
	pthread_mutex_unlock(&cm.lock);
}

/* The next one, of the session whose turn it is; NULL: there is none. */
static struct cm_job *cm_next(void)
{
	struct cm_job *job = NULL;
	struct cm_vm *cv;

	pthread_mutex_lock(&cm.lock);
	if (!g_queue_is_empty(&cm.ready)) {
		cv = g_queue_pop_head_link(&cm.ready)->data;
		job = g_queue_pop_head(&cv->jobs);
		if (!g_queue_is_empty(&cv->jobs))
			g_queue_push_tail_link(&cm.ready, &cv->ready);
	}
	pthread_mutex_unlock(&cm.lock);
	return job;
}

static gboolean cm_on_wake(int fd, GIOCondition condition, void *arg)
{
	struct cm_job *job;
	eventfd_t count;
	unsigned int i;

	(void)condition;
	(void)arg;
	eventfd_read(fd, &count);
	for (i = 0; i < JOBS_PER_WAKE; i++) {
		job = cm_next();
		if (!job)
			return G_SOURCE_CONTINUE;
		cm_run(job);
	}
	/* The rest after others had their turn. */
	eventfd_write(cm.wake_fd, 1);
	return G_SOURCE_CONTINUE;
}

static gboolean cm_on_events(int fd, GIOCondition condition, void *arg)
{
	(void)fd;
	(void)condition;
	(void)arg;
	cm_peer_events(cm.channel);
	return G_SOURCE_CONTINUE;
}

/* ------------------------------- start and stop ---------------------------- */

static void *cm_main(void *arg)
{
	(void)arg;
	g_main_context_push_thread_default(cm.context);
	g_main_loop_run(cm.loop);
	g_main_context_pop_thread_default(cm.context);
	return NULL;
}

static GSource *cm_watch(int fd, GUnixFDSourceFunc fn)
{
	GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

	g_source_set_callback(source, G_SOURCE_FUNC(fn), NULL, NULL);
	g_source_attach(source, cm.context);
	return source;
}

static void cm_unwatch(GSource *source)
{
	g_source_destroy(source);
	g_source_unref(source);
}

static struct rdma_event_channel *cm_open_channel(void)
{
	struct rdma_event_channel *channel = rdma_create_event_channel();
	int flags;

	if (!channel)
		return NULL;
	flags = fcntl(channel->fd, F_GETFL);
	if (flags >= 0 && !fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK))
		return channel;
	rdma_destroy_event_channel(channel);
	return NULL;
}

static void cm_read_port_range(void)
{
	char *text = NULL;

	if (!g_file_get_contents(PORT_RANGE, &text, NULL, NULL) ||
	    sscanf(text, "%u %u", &cm.first_port, &cm.last_port) != 2) {
		cm.first_port = PORT_RANGE_FIRST;
		cm.last_port = PORT_RANGE_LAST;
	}
	g_free(text);
}

void cm_start(const char *device)
{
	cm.channel = cm_open_channel();
	if (!cm.channel) {
		g_warning(
			"the host's connection manager cannot be used: %s (is rdma_ucm loaded?); guests connect to each other only",
			log_strerror(errno));
		return;
	}
	cm.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cm.wake_fd < 0) {
		g_warning("no connections to native peers: %s", log_strerror(errno));
		rdma_destroy_event_channel(cm.channel);
		cm.channel = NULL;
		return;
	}
	cm.device = g_strdup(device);
	cm_read_port_range();
	cm.context = g_main_context_new();
	cm.loop = g_main_loop_new(cm.context, FALSE);
	cm.wake = cm_watch(cm.wake_fd, cm_on_wake);
	cm.events = cm_watch(cm.channel->fd, cm_on_events);
	cm.thread = g_thread_new("cm", cm_main, NULL);
}

static void cm_job_quit(struct cm_job *job)
{
	(void)job;
	g_main_loop_quit(cm.loop);
}

void cm_stop(void)
{
	struct cm_job *job;

	if (!cm.channel)
		return;
	job = g_new0(struct cm_job, 1);
	job->run = cm_job_quit;
	cm_post(job);
	g_thread_join(cm.thread);
	cm_unwatch(cm.events);
	cm_unwatch(cm.wake);
	g_main_loop_unref(cm.loop);
	g_main_context_unref(cm.context);
	close(cm.wake_fd);
	rdma_destroy_event_channel(cm.channel);
	cm.channel = NULL;
	g_free(cm.device);
}

/* --------------------------------- sessions -------------------------------- */

/* A peer that the host's CM has terms with; the key are its first two fields. */
struct cm_peer {
	uint8_t gid[16];
	uint32_t qpn;
	struct cm_terms terms;
	uint32_t conn; /* whose they are */
};

static guint peer_hash(const void *key)
{
	const struct cm_peer *peer = key;
	guint hash = peer->qpn;

	for (int i = 0; i < 16; i++)
		hash = hash * 31 + peer->gid[i];
	return hash;
}

static gboolean peer_equal(const void *a, const void *b)
{
	const struct cm_peer *x = a, *y = b;

	return x->qpn == y->qpn && !memcmp(x->gid, y->gid, 16);
}

struct cm_vm *cm_vm_open(struct vm *vm)
{
	struct cm_vm *cv;

	if (!cm.channel)
		return NULL;
	cv = g_try_new0(struct cm_vm, 1);
	if (!cv)
		return NULL;
	cv->vm = vm;
	pthread_mutex_init(&cv->lock, NULL);
	g_queue_init(&cv->conns);
	g_queue_init(&cv->jobs);
	cv->ready.data = cv;
	cv->qpns = g_hash_table_new(NULL, NULL);
	cv->peers = g_hash_table_new_full(peer_hash, peer_equal, g_free, NULL);
	cv->by_guest = g_hash_table_new(NULL, NULL);
	return cv;
}

static void cm_gid_free(void *data)
{
	struct cm_gid *gid = data;

	cm_unlisten(gid);
	g_free(gid);
}

static void cm_job_close(struct cm_job *job)
{
	struct cm_vm *cv = job->cv;

	g_slist_free_full(cv->gids, cm_gid_free);
	cv->gids = NULL;
	while (cv->conns.head)
		cm_conn_drop(cv->conns.head->data);
}

void cm_vm_close(struct cm_vm *cv)
{
	struct cm_job *job;

	if (!cv)
		return;
	job = g_new0(struct cm_job, 1);
	job->run = cm_job_close;
	job->cv = cv;
	cm_post_and_wait(job);

	g_hash_table_destroy(cv->by_guest);
	g_hash_table_destroy(cv->peers);
	g_hash_table_destroy(cv->qpns);
	pthread_mutex_destroy(&cv->lock);
	g_free(cv);
}

/* --------------------------------- addresses ------------------------------- */

struct cm_gid *cm_find_gid(struct cm_vm *cv, const uint8_t gid[16])
{
	for (GSList *link = cv->gids; link; link = link->next) {
		struct cm_gid *own = link->data;

		if (!memcmp(own->gid, gid, sizeof(own->gid)))
			return own;
	}
	return NULL;
}

static void cm_job_gid_add(struct cm_job *job)
{
	struct cm_gid *gid = g_new0(struct cm_gid, 1);

	memcpy(gid->gid, job->source, sizeof(gid->gid));
	memcpy(gid->host, job->destination, sizeof(gid->host));
	gid->ifindex = job->ifindex;
	cm_listen(job->cv, gid);
	job->cv->gids = g_slist_prepend(job->cv->gids, gid);
}

/* What listened on the host's address goes: another one of the VM's that stands for it does. */
static void cm_inherit(struct cm_vm *cv, struct cm_gid *gone)
{
	if (!gone->listeners)
		return;
	cm_unlisten(gone);
	for (GSList *link = cv->gids; link; link = link->next) {
		struct cm_gid *heir = link->data;

		if (!memcmp(heir->host, gone->host, sizeof(heir->host)))
			cm_listen(cv, heir);
	}
}

static void cm_job_gid_del(struct cm_job *job)
{
	struct cm_gid *gid = cm_find_gid(job->cv, job->source);

	if (!gid)
		return;
	job->cv->gids = g_slist_remove(job->cv->gids, gid);
	cm_inherit(job->cv, gid);
	cm_gid_free(gid);
}

static struct cm_job *cm_gid_job(struct cm_vm *cv, const uint8_t gid[16],
				 void (*run)(struct cm_job *job))
{
	struct cm_job *job = g_new0(struct cm_job, 1);

	job->run = run;
	job->cv = cv;
	memcpy(job->source, gid, sizeof(job->source));
	return job;
}

void cm_gid_add(struct cm_vm *cv, const uint8_t gid[16], const uint8_t host[16], uint32_t ifindex)
{
	struct cm_job *job;

	if (!cv)
		return;
	job = cm_gid_job(cv, gid, cm_job_gid_add);
	memcpy(job->destination, host, sizeof(job->destination));
	job->ifindex = ifindex;
	cm_post(job);
}

/* Waits: the address may be another VM's at once, with the same ports. */
void cm_gid_del(struct cm_vm *cv, const uint8_t gid[16])
{
	if (cv)
		cm_post_and_wait(cm_gid_job(cv, gid, cm_job_gid_del));
}

/* ----------------------------- queue pairs, terms --------------------------- */

void cm_qp_add(struct cm_vm *cv, uint32_t qpn)
{
	if (!cv)
		return;
	pthread_mutex_lock(&cv->lock);
	g_hash_table_add(cv->qpns, GUINT_TO_POINTER(qpn));
	pthread_mutex_unlock(&cv->lock);
}

void cm_qp_del(struct cm_vm *cv, uint32_t qpn)
{
	if (!cv)
		return;
	pthread_mutex_lock(&cv->lock);
	g_hash_table_remove(cv->qpns, GUINT_TO_POINTER(qpn));
	pthread_mutex_unlock(&cv->lock);
}

bool cm_owns_qp(struct cm_vm *cv, uint32_t qpn)
{
	bool owns;

	pthread_mutex_lock(&cv->lock);
	owns = g_hash_table_contains(cv->qpns, GUINT_TO_POINTER(qpn));
	pthread_mutex_unlock(&cv->lock);
	return owns;
}

static struct cm_peer cm_peer_key(const uint8_t peer[16], uint32_t peer_qpn)
{
	struct cm_peer key = { .qpn = peer_qpn };

	memcpy(key.gid, peer, sizeof(key.gid));
	return key;
}

/* A later connection of the same two replaces what an earlier one left. */
void cm_terms_learn(struct cm_conn *conn, const struct ibv_qp_attr *rtr)
{
	struct cm_vm *cv = conn->cv;
	struct cm_peer *entry = g_new(struct cm_peer, 1);

	*entry = cm_peer_key(conn->peer, conn->peer_qpn);
	entry->terms = (struct cm_terms){ rtr->rq_psn, rtr->path_mtu };
	entry->conn = conn->id;
	pthread_mutex_lock(&cv->lock);
	g_hash_table_replace(cv->peers, entry, entry);
	pthread_mutex_unlock(&cv->lock);
	conn->has_terms = true;
}

void cm_terms_forget(struct cm_conn *conn)
{
	struct cm_peer key = cm_peer_key(conn->peer, conn->peer_qpn);
	struct cm_vm *cv = conn->cv;
	struct cm_peer *entry;

	if (!conn->has_terms)
		return;
	pthread_mutex_lock(&cv->lock);
	entry = g_hash_table_lookup(cv->peers, &key);
	if (entry && entry->conn == conn->id)
		g_hash_table_remove(cv->peers, &key);
	pthread_mutex_unlock(&cv->lock);
	conn->has_terms = false;
}

bool cm_terms(struct cm_vm *cv, const uint8_t peer[16], uint32_t peer_qpn, struct cm_terms *terms)
{
	struct cm_peer key = cm_peer_key(peer, peer_qpn), *entry;

	if (!cv)
		return false;
	pthread_mutex_lock(&cv->lock);
	entry = g_hash_table_lookup(cv->peers, &key);
	if (entry)
		*terms = entry->terms;
	pthread_mutex_unlock(&cv->lock);
	return entry;
}

/* ----------------------------------- MADs ---------------------------------- */

static void cm_job_mad(struct cm_job *job)
{
	atomic_fetch_sub(&job->cv->queued, 1);
	cm_guest_mad(job->cv, job->source, job->destination, &job->mad);
}

bool cm_send(struct cm_vm *cv, const uint8_t source[16], const uint8_t destination[16],
	     const void *mad)
{
	struct cm_job *job;

	if (!cv)
		return false;
	if (atomic_fetch_add(&cv->queued, 1) >= MAX_QUEUED)
		goto err_uncount;
	job = g_try_new0(struct cm_job, 1);
	if (!job)
		goto err_uncount;
	job->run = cm_job_mad;
	job->cv = cv;
	memcpy(job->source, source, sizeof(job->source));
	memcpy(job->destination, destination, sizeof(job->destination));
	memcpy(&job->mad, mad, sizeof(job->mad));
	cm_post(job);
	return true;

err_uncount:
	atomic_fetch_sub(&cv->queued, 1);
	return false;
}
