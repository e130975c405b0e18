// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who connects by the own socket of a VM is that VM: who may connect there is a matter of
 * the socket's owner, group and mode, which the kernel checks.
 */
#include "session/listeners.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>

#include "config/config.h"
#include "lib/clock.h"
#include "lib/listener.h"
#include "lib/log.h"
#include "lib/watch.h"
#include "session/session.h"

#define RETRY_MS 1000 /* after connections could not be taken */

/**
 * struct door - a socket
 * @group: the [vm] group that it belongs to; NULL: it is for all
 * @log: what those who come by it can cause
 * @wanted: by the settings that are about to hold
 * @source: GLib's; NULL until connections are taken. The same one looks again after
 *	RETRY_MS where a connection could not be taken: a timer would need memory
 * @tag: of the listening socket in it
 */
struct door {
	char *group;
	char *path;
	struct listener *listener;
	struct log_source *log;
	bool wanted;
	GSource *source;
	gpointer tag;
};

static GList *doors;

char *listeners_error(const char *where, int error)
{
	return g_strdup_printf("cannot listen at %s: %s", where,
			       error == -EADDRINUSE ? "another program does" :
				       error == -ENOTSOCK ?
						      "something that is not a socket is there" :
						      log_strerror(-error));
}

/* ------------------------------- connections ------------------------------- */

static gboolean door_on_connection(void *arg)
{
	struct door *door = arg;
	int peer = listener_accept(door->listener);

	if (g_source_get_ready_time(door->source) >= 0) {
		g_source_modify_unix_fd(door->source, door->tag, G_IO_IN);
		g_source_set_ready_time(door->source, -1);
	}
	if (peer >= 0) {
		sessions_accept(peer, door->group, door->log);
		return G_SOURCE_CONTINUE;
	}
	if (peer == -EAGAIN || peer == -EINTR || peer == -ECONNABORTED)
		return G_SOURCE_CONTINUE;
	/* Out of descriptors or memory: the connection waits, we must not spin. */
	g_warning("cannot accept a connection: %s", log_strerror(-peer));
	g_source_modify_unix_fd(door->source, door->tag, 0);
	g_source_set_ready_time(door->source,
				(gint64)(clock_ns() / NS_PER_US) +
					RETRY_MS * G_GINT64_CONSTANT(1000));
	return G_SOURCE_CONTINUE;
}

static gboolean door_dispatch(GSource *source, GSourceFunc callback, void *arg)
{
	(void)source;
	return callback(arg);
}

static void door_watch(struct door *door)
{
	static GSourceFuncs funcs = { .dispatch = door_dispatch };

	door->source = g_source_new(&funcs, sizeof(GSource));
	watch_needs_no_memory(door->source);
	door->tag = g_source_add_unix_fd(door->source, listener_fd(door->listener), G_IO_IN);
	g_source_set_callback(door->source, door_on_connection, door, NULL);
	g_source_attach(door->source, NULL);
}

/* ------------------------------ life and death ----------------------------- */

static struct door *door_new(const char *group, const char *path,
			     const struct listener_access *access, char **error)
{
	struct listener *listener;
	struct door *door;
	int ret;

	listener = listener_open(path, access, &ret);
	if (!listener) {
		*error = listeners_error(path, ret);
		return NULL;
	}
	door = g_new0(struct door, 1);
	door->group = g_strdup(group);
	door->path = g_strdup(path);
	door->listener = listener;
	door->log = log_source_new();
	return door;
}

static void door_free(void *data)
{
	struct door *door = data;

	watch_remove(door->source);
	listener_close(door->listener);
	log_source_drop(door->log);
	g_free(door->group);
	g_free(door->path);
	g_free(door);
}

/* arg: *error; after the first one no more are made. */
static void listeners_add(const struct config_socket *socket, void *arg)
{
	char **error = arg;
	struct door *door;

	if (*error)
		return;
	door = door_new(socket->group, socket->path, &socket->access, error);
	if (door)
		doors = g_list_prepend(doors, door);
}

bool listeners_open(const struct config *config, char **error)
{
	const struct config_socket for_all = {
		.path = config->socket,
		.access = config->socket_access,
	};

	*error = NULL;
	listeners_add(&for_all, error);
	config_for_each_socket(config, listeners_add, error);
	if (*error)
		listeners_close();
	return !*error;
}

void listeners_start(void)
{
	for (GList *link = doors; link; link = link->next)
		door_watch(link->data);
}

/**
 * struct change - of the sockets
 * @made: new ones, to which nobody can connect yet who would be heard
 * @error: why there can be no change; NULL: there can
 */
struct change {
	GList *made;
	char *error;
};

static struct door *door_find(const struct config_socket *socket)
{
	for (GList *link = doors; link; link = link->next) {
		struct door *door = link->data;

		if (!g_strcmp0(door->group, socket->group) && !strcmp(door->path, socket->path))
			return door;
	}
	return NULL;
}

static void listeners_plan(const struct config_socket *socket, void *arg)
{
	struct change *change = arg;
	struct door *door;
	int ret;

	if (change->error)
		return;
	door = door_find(socket);
	if (!door) {
		door = door_new(socket->group, socket->path, &socket->access, &change->error);
		if (door)
			change->made = g_list_prepend(change->made, door);
		return;
	}
	door->wanted = true;
	ret = listener_set_access(door->listener, &socket->access);
	if (ret)
		change->error = g_strdup_printf("cannot set owner, group and mode of %s: %s",
						socket->path, log_strerror(-ret));
}

/* The doors that are not wanted any more, but the one for all. */
static void listeners_remove(void)
{
	GList *next;

	for (GList *link = doors; link; link = next) {
		struct door *door = link->data;

		next = link->next;
		if (door->wanted || !door->group)
			continue;
		doors = g_list_delete_link(doors, link);
		door_free(door);
	}
}

bool listeners_change(const struct config *next, char **error)
{
	struct change change = { 0 };

	for (GList *link = doors; link; link = link->next)
		((struct door *)link->data)->wanted = false;
	config_for_each_socket(next, listeners_plan, &change);
	*error = change.error;
	if (change.error) {
		g_list_free_full(change.made, door_free);
		return false;
	}
	listeners_remove();
	for (GList *link = change.made; link; link = link->next)
		door_watch(link->data);
	doors = g_list_concat(change.made, doors);
	return true;
}

void listeners_close(void)
{
	g_list_free_full(doors, door_free);
	doors = NULL;
}
