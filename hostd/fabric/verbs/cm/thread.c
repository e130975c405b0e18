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
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/clock.h"
#include "lib/watch.h"
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

/* A MAD of a guest's. */
struct cm_mad_job {
	struct cm_job job;
	uint8_t source[16];
	uint8_t destination[16];
	struct mad mad;
};

/* An address of a guest's goes. */
struct cm_del_job {
	struct cm_job job;
	uint8_t gid[16];
};

static struct {
	char *device;
	struct rdma_event_channel *channel; /* NULL: librdmacm is of no use */
	GMainContext *context;
	GMainLoop *loop;
	GThread *thread;
	GSource *wake;
	GSource *events;
	GSource *alarm;
	int wake_fd;
	unsigned int first_port, last_port; /* cm_is_for_anybody() */

	pthread_mutex_t lock; /* covers ready, and the jobs of each session */
	pthread_cond_t cond;
	struct cds_list_head ready; /* struct cm_vm with jobs, by their ready */
	struct cm_vm none;	    /* jobs of no session */
} cm = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.cond = PTHREAD_COND_INITIALIZER,
	.ready = CDS_LIST_HEAD_INIT(cm.ready),
	.none = { .jobs = CDS_LIST_HEAD_INIT(cm.none.jobs) },
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

void cm_set_alarm(uint64_t ns)
{
	/* In microseconds, and not too early. */
	g_source_set_ready_time(cm.alarm,
				ns == UINT64_MAX ? -1 : (gint64)((ns + NS_PER_US - 1) / NS_PER_US));
}

/* ----------------------------------- jobs ---------------------------------- */

static void cm_post(struct cm_job *job)
{
	struct cm_vm *cv = job->cv ? job->cv : &cm.none;

	pthread_mutex_lock(&cm.lock);
	if (cds_list_empty(&cv->jobs))
		cds_list_add_tail(&cv->ready, &cm.ready);
	cds_list_add_tail(&job->node, &cv->jobs);
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
	if (!cds_list_empty(&cm.ready)) {
		cv = cds_list_first_entry(&cm.ready, struct cm_vm, ready);
		cds_list_del(&cv->ready);
		job = cds_list_first_entry(&cv->jobs, struct cm_job, node);
		cds_list_del(&job->node);
		if (!cds_list_empty(&cv->jobs))
			cds_list_add_tail(&cv->ready, &cm.ready);
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

static gboolean cm_on_alarm(GSource *source, GSourceFunc callback, void *arg)
{
	(void)source;
	(void)callback;
	(void)arg;
	cm_conns_on_alarm();
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

/* GLib asks for a callback, too. */
static gboolean cm_no_callback(void *arg)
{
	(void)arg;
	return G_SOURCE_CONTINUE;
}

/* Here, for at run time a timer of GLib's for each connection would need memory. */
static GSource *cm_new_alarm(void)
{
	static GSourceFuncs funcs = { .dispatch = cm_on_alarm };
	GSource *alarm = g_source_new(&funcs, sizeof(GSource));

	g_source_set_callback(alarm, cm_no_callback, NULL, NULL);
	g_source_attach(alarm, cm.context);
	return alarm;
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
	cm.wake = watch_add(cm.wake_fd, cm_on_wake, NULL, cm.context);
	cm.events = watch_add(cm.channel->fd, cm_on_events, NULL, cm.context);
	cm.alarm = cm_new_alarm();
	cm_conns_init();
	cm.thread = g_thread_new("cm", cm_main, NULL);
}

static void cm_job_quit(struct cm_job *job)
{
	(void)job;
	g_main_loop_quit(cm.loop);
}

void cm_stop(void)
{
	struct cm_job quit = { .run = cm_job_quit };

	if (!cm.channel)
		return;
	cm_post(&quit);
	g_thread_join(cm.thread);
	cm_conns_fini();
	watch_remove(cm.alarm);
	watch_remove(cm.events);
	watch_remove(cm.wake);
	g_main_loop_unref(cm.loop);
	g_main_context_unref(cm.context);
	close(cm.wake_fd);
	rdma_destroy_event_channel(cm.channel);
	cm.channel = NULL;
	g_free(cm.device);
}

/* --------------------------------- sessions -------------------------------- */

int cm_vm_open(struct vm *vm, struct cm_vm **to)
{
	struct cm_vm *cv;

	*to = NULL;
	if (!cm.channel)
		return 0;
	cv = heap_zalloc(vm->heap, sizeof(*cv));
	if (!cv)
		return -ENOMEM;
	cv->vm = vm;
	pthread_mutex_init(&cv->lock, NULL);
	CDS_INIT_LIST_HEAD(&cv->jobs);
	CDS_INIT_LIST_HEAD(&cv->gids);
	CDS_INIT_LIST_HEAD(&cv->conns);
	cv->qpns.heap = vm->heap;
	cv->peers.heap = vm->heap;
	cv->by_guest.heap = vm->heap;
	*to = cv;
	return 0;
}

static void cm_gid_free(struct cm_gid *gid)
{
	cm_unlisten(gid);
	heap_free(gid);
}

static void cm_job_close(struct cm_job *job)
{
	struct cm_vm *cv = job->cv;
	struct cm_conn *conn, *next_conn;
	struct cm_gid *gid, *next_gid;

	cds_list_for_each_entry_safe (gid, next_gid, &cv->gids, node)
		cm_gid_free(gid);
	CDS_INIT_LIST_HEAD(&cv->gids);
	cds_list_for_each_entry_safe (conn, next_conn, &cv->conns, node)
		cm_conn_drop(conn);
}

void cm_vm_close(struct cm_vm *cv)
{
	struct cm_job close = { .run = cm_job_close, .cv = cv };

	if (!cv)
		return;
	cm_post_and_wait(&close);

	hash_fini(&cv->by_guest);
	hash_fini(&cv->peers);
	hash_fini(&cv->qpns);
	pthread_mutex_destroy(&cv->lock);
	heap_free(cv);
}

/* --------------------------------- addresses ------------------------------- */

struct cm_gid *cm_find_gid(struct cm_vm *cv, const uint8_t gid[16])
{
	struct cm_gid *own;

	cds_list_for_each_entry (own, &cv->gids, node)
		if (!memcmp(own->gid, gid, sizeof(own->gid)))
			return own;
	return NULL;
}

static void cm_job_gid_add(struct cm_job *job)
{
	struct cm_gid *gid = caa_container_of(job, struct cm_gid, job);

	cm_listen(job->cv, gid);
	cds_list_add(&gid->node, &job->cv->gids);
}

/* What listened on the host's address goes: another one of the VM's that stands for it does. */
static void cm_inherit(struct cm_vm *cv, struct cm_gid *gone)
{
	struct cm_gid *heir;

	if (cds_list_empty(&gone->listeners))
		return;
	cm_unlisten(gone);
	cds_list_for_each_entry (heir, &cv->gids, node)
		if (!memcmp(heir->host, gone->host, sizeof(heir->host)))
			cm_listen(cv, heir);
}

static void cm_job_gid_del(struct cm_job *job)
{
	const struct cm_del_job *own = caa_container_of(job, struct cm_del_job, job);
	struct cm_gid *gid = cm_find_gid(job->cv, own->gid);

	if (!gid)
		return;
	cds_list_del(&gid->node);
	cm_inherit(job->cv, gid);
	cm_gid_free(gid);
}

int cm_gid_add(struct cm_vm *cv, const uint8_t gid[16], const uint8_t host[16], uint32_t ifindex)
{
	struct cm_gid *own;

	if (!cv)
		return 0;
	own = heap_zalloc(cv->vm->heap, sizeof(*own));
	if (!own)
		return -ENOMEM;
	own->job = (struct cm_job){ .run = cm_job_gid_add, .cv = cv };
	memcpy(own->gid, gid, sizeof(own->gid));
	memcpy(own->host, host, sizeof(own->host));
	own->ifindex = ifindex;
	CDS_INIT_LIST_HEAD(&own->listeners);
	cm_post(&own->job);
	return 0;
}

/* Waits: the address may be another VM's at once, with the same ports. */
void cm_gid_del(struct cm_vm *cv, const uint8_t gid[16])
{
	struct cm_del_job del = { .job = { .run = cm_job_gid_del, .cv = cv } };

	if (!cv)
		return;
	memcpy(del.gid, gid, sizeof(del.gid));
	cm_post_and_wait(&del.job);
}

/* ----------------------------- queue pairs, terms --------------------------- */

void cm_qp_add(struct cm_vm *cv, struct hash_node *node, uint32_t qpn)
{
	if (!cv)
		return;
	pthread_mutex_lock(&cv->lock);
	hash_add(&cv->qpns, node, qpn);
	pthread_mutex_unlock(&cv->lock);
}

void cm_qp_del(struct cm_vm *cv, struct hash_node *node)
{
	if (!cv)
		return;
	pthread_mutex_lock(&cv->lock);
	hash_del(&cv->qpns, node);
	pthread_mutex_unlock(&cv->lock);
}

bool cm_owns_qp(struct cm_vm *cv, uint32_t qpn)
{
	bool owns;

	pthread_mutex_lock(&cv->lock);
	owns = hash_first(&cv->qpns, qpn);
	pthread_mutex_unlock(&cv->lock);
	return owns;
}

static uint32_t cm_peer_hash(const uint8_t peer[16], uint32_t peer_qpn)
{
	return hash_bytes(peer, 16) ^ peer_qpn;
}

/* The connection that has terms with that peer; NULL: there is none. With cv->lock held. */
static struct cm_conn *cm_conn_with(struct cm_vm *cv, const uint8_t peer[16], uint32_t peer_qpn)
{
	struct hash_node *node = hash_first(&cv->peers, cm_peer_hash(peer, peer_qpn));

	for (; node; node = hash_next(node)) {
		struct cm_conn *conn = hash_object(node, struct cm_conn, by_peer);

		if (conn->peer_qpn == peer_qpn && !memcmp(conn->peer, peer, 16))
			return conn;
	}
	return NULL;
}

/* With cv->lock held. */
static void cm_terms_drop(struct cm_conn *conn)
{
	hash_del(&conn->cv->peers, &conn->by_peer);
	conn->has_terms = false;
}

/* A later connection of the same two replaces what an earlier one left. */
void cm_terms_learn(struct cm_conn *conn, uint32_t peer_qpn, const struct ibv_qp_attr *rtr)
{
	struct cm_vm *cv = conn->cv;
	struct cm_conn *former;

	pthread_mutex_lock(&cv->lock);
	if (conn->has_terms)
		cm_terms_drop(conn);
	former = cm_conn_with(cv, conn->peer, peer_qpn);
	if (former)
		cm_terms_drop(former);
	conn->peer_qpn = peer_qpn;
	conn->terms = (struct cm_terms){ rtr->rq_psn, rtr->path_mtu };
	hash_add(&cv->peers, &conn->by_peer, cm_peer_hash(conn->peer, peer_qpn));
	conn->has_terms = true;
	pthread_mutex_unlock(&cv->lock);
}

void cm_terms_forget(struct cm_conn *conn)
{
	pthread_mutex_lock(&conn->cv->lock);
	if (conn->has_terms)
		cm_terms_drop(conn);
	pthread_mutex_unlock(&conn->cv->lock);
}

bool cm_terms(struct cm_vm *cv, const uint8_t peer[16], uint32_t peer_qpn, struct cm_terms *terms)
{
	const struct cm_conn *conn;

	if (!cv)
		return false;
	pthread_mutex_lock(&cv->lock);
	conn = cm_conn_with(cv, peer, peer_qpn);
	if (conn)
		*terms = conn->terms;
	pthread_mutex_unlock(&cv->lock);
	return conn;
}

/* ----------------------------------- MADs ---------------------------------- */

static void cm_job_mad(struct cm_job *job)
{
	struct cm_mad_job *own = caa_container_of(job, struct cm_mad_job, job);

	atomic_fetch_sub(&job->cv->queued, 1);
	cm_guest_mad(job->cv, own->source, own->destination, &own->mad);
	heap_free(own);
}

bool cm_send(struct cm_vm *cv, const uint8_t source[16], const uint8_t destination[16],
	     const void *mad)
{
	struct cm_mad_job *own;

	if (!cv)
		return false;
	if (atomic_fetch_add(&cv->queued, 1) >= MAX_QUEUED)
		goto err_uncount;
	own = heap_zalloc(cv->vm->heap, sizeof(*own));
	if (!own)
		goto err_uncount;
	own->job = (struct cm_job){ .run = cm_job_mad, .cv = cv };
	memcpy(own->source, source, sizeof(own->source));
	memcpy(own->destination, destination, sizeof(own->destination));
	memcpy(&own->mad, mad, sizeof(own->mad));
	cm_post(&own->job);
	return true;

err_uncount:
	atomic_fetch_sub(&cv->queued, 1);
	return false;
}
