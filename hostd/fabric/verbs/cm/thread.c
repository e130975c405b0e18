// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection manager's thread, the jobs it is given, and what it keeps of
 * each session.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fabric/verbs/cm/private.h"

#define JOBS_PER_WAKE 64u
/* MADs of one VM that may wait: more than its CM has under way at a time. */
#define MAX_QUEUED 1024u

struct cm_job {
	void (*run)(struct cm_job *job);
	struct cm_session *cs;
	uint8_t source[16];
	uint8_t destination[16];
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

	pthread_mutex_t lock; /* covers jobs */
	pthread_cond_t cond;
	GQueue jobs;
} cm = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.cond = PTHREAD_COND_INITIALIZER,
	.jobs = G_QUEUE_INIT,
};

struct rdma_event_channel *cm_channel(void)
{
	return cm.channel;
}

bool cm_right_device(const struct rdma_cm_id *id)
{
	return id->verbs && !strcmp(ibv_get_device_name(id->verbs->device), cm.device);
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
	pthread_mutex_lock(&cm.lock);
	g_queue_push_tail(&cm.jobs, job);
	pthread_mutex_unlock(&cm.lock);
	eventfd_write(cm.wake_fd, 1);
}

/* And wait until it, and with it all that came before, is done. */
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

static gboolean cm_on_wake(int fd, GIOCondition condition, void *arg)
{
	struct cm_job *job;
	eventfd_t count;
	unsigned int i;

	(void)condition;
	(void)arg;
	eventfd_read(fd, &count);
	for (i = 0; i < JOBS_PER_WAKE; i++) {
		pthread_mutex_lock(&cm.lock);
		job = g_queue_pop_head(&cm.jobs);
		pthread_mutex_unlock(&cm.lock);
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

void cm_start(const char *device)
{
	cm.channel = cm_open_channel();
	if (!cm.channel) {
		g_warning(
			"the host's connection manager cannot be used: %s (is rdma_ucm loaded?); guests connect to each other only",
			g_strerror(errno));
		return;
	}
	cm.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cm.wake_fd < 0) {
		g_warning("no connections to native peers: %s", g_strerror(errno));
		rdma_destroy_event_channel(cm.channel);
		cm.channel = NULL;
		return;
	}
	cm.device = g_strdup(device);
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

/* First PSN that the host's CM told a peer; the key are its first two fields. */
struct cm_psn {
	uint8_t peer[16];
	uint32_t peer_qpn;
	uint32_t psn;
	uint32_t conn; /* whose it is */
};

static guint psn_hash(const void *key)
{
	const struct cm_psn *psn = key;
	guint hash = psn->peer_qpn;

	for (int i = 0; i < 16; i++)
		hash = hash * 31 + psn->peer[i];
	return hash;
}

static gboolean psn_equal(const void *a, const void *b)
{
	const struct cm_psn *x = a, *y = b;

	return x->peer_qpn == y->peer_qpn && !memcmp(x->peer, y->peer, 16);
}

void cm_session_open(struct session *session)
{
	struct cm_session *cs;

	if (!cm.channel)
		return;
	cs = g_try_new0(struct cm_session, 1);
	if (!cs)
		return;
	cs->session = session;
	pthread_mutex_init(&cs->lock, NULL);
	g_queue_init(&cs->conns);
	cs->qpns = g_hash_table_new(NULL, NULL);
	cs->psns = g_hash_table_new_full(psn_hash, psn_equal, g_free, NULL);
	cs->by_guest = g_hash_table_new(NULL, NULL);
	session->cm = cs;
}

static void cm_gid_free(void *data)
{
	struct cm_gid *gid = data;

	cm_unlisten(gid);
	g_free(gid);
}

static void cm_job_close(struct cm_job *job)
{
	struct cm_session *cs = job->cs;

	g_slist_free_full(cs->gids, cm_gid_free);
	cs->gids = NULL;
	while (cs->conns.head)
		cm_conn_drop(cs->conns.head->data);
}

void cm_session_close(struct session *session)
{
	struct cm_session *cs = session->cm;
	struct cm_job *job;

	if (!cs)
		return;
	job = g_new0(struct cm_job, 1);
	job->run = cm_job_close;
	job->cs = cs;
	cm_post_and_wait(job);

	session->cm = NULL;
	g_hash_table_destroy(cs->by_guest);
	g_hash_table_destroy(cs->psns);
	g_hash_table_destroy(cs->qpns);
	pthread_mutex_destroy(&cs->lock);
	g_free(cs);
}

/* --------------------------------- addresses ------------------------------- */

struct cm_gid *cm_find_gid(struct cm_session *cs, const uint8_t gid[16])
{
	for (GSList *link = cs->gids; link; link = link->next) {
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
	gid->ifindex = job->ifindex;
	job->cs->gids = g_slist_prepend(job->cs->gids, gid);
	cm_listen(job->cs, gid);
}

static void cm_job_gid_del(struct cm_job *job)
{
	struct cm_gid *gid = cm_find_gid(job->cs, job->source);

	if (!gid)
		return;
	job->cs->gids = g_slist_remove(job->cs->gids, gid);
	cm_gid_free(gid);
}

static struct cm_job *cm_gid_job(struct session *session, const uint8_t gid[16],
				 void (*run)(struct cm_job *job))
{
	struct cm_job *job = g_new0(struct cm_job, 1);

	job->run = run;
	job->cs = session->cm;
	memcpy(job->source, gid, sizeof(job->source));
	return job;
}

void cm_gid_add(struct session *session, const uint8_t gid[16], uint32_t ifindex)
{
	struct cm_job *job;

	if (!session->cm)
		return;
	job = cm_gid_job(session, gid, cm_job_gid_add);
	job->ifindex = ifindex;
	cm_post(job);
}

/* Waits: the address may be another VM's at once, with the same ports. */
void cm_gid_del(struct session *session, const uint8_t gid[16])
{
	if (session->cm)
		cm_post_and_wait(cm_gid_job(session, gid, cm_job_gid_del));
}

/* ----------------------------- queue pairs, PSNs --------------------------- */

void cm_qp_add(struct session *session, uint32_t qpn)
{
	struct cm_session *cs = session->cm;

	if (!cs)
		return;
	pthread_mutex_lock(&cs->lock);
	g_hash_table_add(cs->qpns, GUINT_TO_POINTER(qpn));
	pthread_mutex_unlock(&cs->lock);
}

void cm_qp_del(struct session *session, uint32_t qpn)
{
	struct cm_session *cs = session->cm;

	if (!cs)
		return;
	pthread_mutex_lock(&cs->lock);
	g_hash_table_remove(cs->qpns, GUINT_TO_POINTER(qpn));
	pthread_mutex_unlock(&cs->lock);
}

bool cm_owns_qp(struct cm_session *cs, uint32_t qpn)
{
	bool owns;

	pthread_mutex_lock(&cs->lock);
	owns = g_hash_table_contains(cs->qpns, GUINT_TO_POINTER(qpn));
	pthread_mutex_unlock(&cs->lock);
	return owns;
}

static struct cm_psn cm_psn_key(const uint8_t peer[16], uint32_t peer_qpn)
{
	struct cm_psn key = { .peer_qpn = peer_qpn };

	memcpy(key.peer, peer, sizeof(key.peer));
	return key;
}

/* A later connection of the same two replaces what an earlier one left. */
void cm_psn_learn(struct cm_conn *conn, uint32_t psn)
{
	struct cm_session *cs = conn->cs;
	struct cm_psn *entry = g_new(struct cm_psn, 1);

	*entry = cm_psn_key(conn->peer, conn->peer_qpn);
	entry->psn = psn;
	entry->conn = conn->id;
	pthread_mutex_lock(&cs->lock);
	g_hash_table_replace(cs->psns, entry, entry);
	pthread_mutex_unlock(&cs->lock);
	conn->has_psn = true;
}

void cm_psn_forget(struct cm_conn *conn)
{
	struct cm_psn key = cm_psn_key(conn->peer, conn->peer_qpn);
	struct cm_session *cs = conn->cs;
	struct cm_psn *entry;

	if (!conn->has_psn)
		return;
	pthread_mutex_lock(&cs->lock);
	entry = g_hash_table_lookup(cs->psns, &key);
	if (entry && entry->conn == conn->id)
		g_hash_table_remove(cs->psns, &key);
	pthread_mutex_unlock(&cs->lock);
	conn->has_psn = false;
}

uint32_t cm_rq_psn(struct session *session, const uint8_t peer[16], uint32_t peer_qpn, uint32_t psn)
{
	struct cm_psn key = cm_psn_key(peer, peer_qpn), *entry;
	struct cm_session *cs = session->cm;

	if (!cs)
		return psn;
	pthread_mutex_lock(&cs->lock);
	entry = g_hash_table_lookup(cs->psns, &key);
	if (entry)
		psn = entry->psn;
	pthread_mutex_unlock(&cs->lock);
	return psn;
}

/* ----------------------------------- MADs ---------------------------------- */

static void cm_job_mad(struct cm_job *job)
{
	atomic_fetch_sub(&job->cs->queued, 1);
	cm_guest_mad(job->cs, job->source, job->destination, &job->mad);
}

bool cm_send(struct session *session, const uint8_t source[16], const uint8_t destination[16],
	     const void *mad)
{
	struct cm_session *cs = session->cm;
	struct cm_job *job;

	if (!cs)
		return false;
	if (atomic_fetch_add(&cs->queued, 1) >= MAX_QUEUED)
		goto err_uncount;
	job = g_try_new0(struct cm_job, 1);
	if (!job)
		goto err_uncount;
	job->run = cm_job_mad;
	job->cs = cs;
	memcpy(job->source, source, sizeof(job->source));
	memcpy(job->destination, destination, sizeof(job->destination));
	memcpy(&job->mad, mad, sizeof(job->mad));
	cm_post(job);
	return true;

err_uncount:
	atomic_fetch_sub(&cs->queued, 1);
	return false;
}
