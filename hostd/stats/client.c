// SPDX-License-Identifier: GPL-2.0-or-later
#include "stats/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/calls.h"

CALLS("sendto");

#define CLIENT_MAX 16
#define CLIENT_MS  5000

bool client_list_full(const struct client_list *clients)
{
	return g_list_length(clients->list) >= CLIENT_MAX;
}

static void client_free(struct client *client)
{
	struct client_list *clients = client->clients;

	clients->list = g_list_remove(clients->list, client);
	if (client->source)
		g_source_remove(client->source);
	if (client->timer)
		g_source_remove(client->timer);
	close(client->fd);
	g_free(client->answer);
	g_free(client);
	if (clients->left)
		clients->left(clients);
}

static gboolean client_on_timeout(void *arg)
{
	struct client *client = arg;

	client->timer = 0;
	client_free(client);
	return G_SOURCE_REMOVE;
}

void client_start(struct client *client, struct client_list *clients, int fd)
{
	client->clients = clients;
	client->fd = fd;
	client->timer = g_timeout_add(CLIENT_MS, client_on_timeout, client);
	clients->list = g_list_prepend(clients->list, client);
}

void client_watch(struct client *client, GIOCondition condition, GUnixFDSourceFunc fn)
{
	client->source = g_unix_fd_add(client->fd, condition | G_IO_HUP | G_IO_ERR, fn, client);
}

gboolean client_end(struct client *client)
{
	client->source = 0;
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

void client_list_stop(struct client_list *clients)
{
	while (clients->list)
		client_free(clients->list->data);
}
