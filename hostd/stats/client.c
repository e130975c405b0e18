// SPDX-License-Identifier: GPL-2.0-or-later
#include "stats/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/clock.h"
#include "lib/watch.h"

CALLS("sendto");

#define CLIENT_MAX  16
#define CLIENT_NS   (5 * NS_PER_S)
#define CLIENT_TICK (NS_PER_S / 2)

bool client_list_full(const struct client_list *clients)
{
	unsigned int count = 0;

	for (const struct client *client = clients->list; client; client = client->next)
		count++;
	return count >= CLIENT_MAX;
}

/* ---------------------------------- waiting -------------------------------- */

/* The timer goes while it has something to look after. To set it needs no memory. */
static void clients_set_timer(struct client_list *clients)
{
	g_source_set_ready_time(clients->timer,
				clients->list || clients->waits ?
					(gint64)((clock_ns() + CLIENT_TICK) / NS_PER_US) :
					-1);
}

/* Take connections again, if that is to be. */
static void clients_listen(struct client_list *clients)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = &clients->listen_fd,
	};

	clients->waits = client_list_full(clients) ||
		epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, clients->listen_fd, &event);
}

static void client_free(struct client *client)
{
	struct client_list *clients = client->clients;
	struct client **at = &clients->list;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	close(client->fd);
	free(client->answer);
	free(client);
	if (clients->waits)
		clients_listen(clients);
	clients_set_timer(clients);
	if (clients->left)
		clients->left(clients);
}

static gboolean clients_on_tick(GSource *timer, GSourceFunc callback, void *arg)
{
	struct client_list *clients = arg;
	struct client *client, *next;
	uint64_t now = clock_ns();

	(void)timer;
	(void)callback;
	for (client = clients->list; client; client = next) {
		next = client->next;
		if (now >= client->end_ns)
			client_free(client);
	}
	if (clients->waits)
		clients_listen(clients);
	clients_set_timer(clients);
	return G_SOURCE_CONTINUE;
}

/* One event at a time: it may end clients that have events, too. */
static gboolean clients_on_event(int fd, GIOCondition condition, void *arg)
{
	struct client_list *clients = arg;
	struct epoll_event event;
	struct client *client;

	(void)condition;
	if (epoll_wait(fd, &event, 1, 0) != 1)
		return G_SOURCE_CONTINUE;
	if (event.data.ptr == &clients->listen_fd) {
		clients->waits = !clients->accept(clients);
		if (!clients->waits)
			clients_listen(clients);
		clients_set_timer(clients);
	} else {
		client = event.data.ptr;
		client->fn(client->fd, event.events, client);
	}
	return G_SOURCE_CONTINUE;
}

/* ----------------------------------- lists --------------------------------- */

/* GLib asks for a callback, too, and gives its argument to the source's own function. */
static gboolean clients_no_callback(void *arg)
{
	(void)arg;
	return G_SOURCE_CONTINUE;
}

int client_list_start(struct client_list *clients)
{
	static GSourceFuncs timer = { .dispatch = clients_on_tick };

	clients->list = NULL;
	clients->waits = false;
	clients->listen_fd = -1;
	clients->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (clients->epoll_fd < 0)
		return -errno;
	clients->source = watch_add(clients->epoll_fd, clients_on_event, clients, NULL);
	clients->timer = g_source_new(&timer, sizeof(GSource));
	g_source_set_callback(clients->timer, clients_no_callback, clients, NULL);
	g_source_attach(clients->timer, NULL);
	return 0;
}

int client_list_listen(struct client_list *clients, int fd,
		       bool (*accept)(struct client_list *clients))
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.ptr = &clients->listen_fd,
	};

	clients->accept = accept;
	clients->listen_fd = fd;
	return epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void client_list_stop(struct client_list *clients)
{
	if (!clients->source)
		return;
	clients->waits = false;
	while (clients->list)
		client_free(clients->list);
	watch_remove(clients->source);
	clients->source = NULL;
	g_source_destroy(clients->timer);
	g_source_unref(clients->timer);
	close(clients->epoll_fd);
}

/* ---------------------------------- clients -------------------------------- */

void client_start(struct client *client, struct client_list *clients, int fd)
{
	client->clients = clients;
	client->fd = fd;
	client->end_ns = clock_ns() + CLIENT_NS;
	client->next = clients->list;
	clients->list = client;
	clients_set_timer(clients);
}

void client_watch(struct client *client, GIOCondition condition, GUnixFDSourceFunc fn)
{
	struct epoll_event event = { .events = condition, .data.ptr = client };

	client->fn = fn;
	if (!epoll_ctl(client->clients->epoll_fd, client->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		       client->fd, &event))
		client->watched = true;
}

gboolean client_end(struct client *client)
{
	client_free(client);
	return G_SOURCE_REMOVE;
}

enum client_sent client_send(struct client *client)
{
	ssize_t n = send(client->fd, client->answer + client->sent, client->length - client->sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CLIENT_SENT_SOME;
	if (n <= 0)
		return CLIENT_GONE;
	client->sent += n;
	return client->sent < client->length ? CLIENT_SENT_SOME : CLIENT_SENT_ALL;
}
