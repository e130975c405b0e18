/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections to readers of statistics. A hostile reader costs little: the number of
 * connections and their time are bounded, and no call blocks. All in the main thread.
 */
#ifndef HOSTD_STATS_CLIENT_H
#define HOSTD_STATS_CLIENT_H

#include <glib-unix.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * struct client_list - of one socket
 * @list: of struct client
 * @left: one has gone; or NULL
 */
struct client_list {
	GList *list;
	void (*left)(struct client_list *clients);
};

/**
 * struct client - a connection; the first member of the owner's structure, if it has one
 * @answer: the text to send; NULL until it is there
 * @source: the callback of client_watch(), or 0
 * @timer: ends the client when its time is up
 */
struct client {
	struct client_list *clients;
	int fd;
	char *answer;
	size_t length, sent;
	guint source, timer;
};

/* Are there as many as may be? */
bool client_list_full(const struct client_list *clients);
/*
 * Takes over client, zeroed memory of g_new0() that g_free() ends, and fd, which is
 * non-blocking. The client goes after some seconds at the latest.
 */
void client_start(struct client *client, struct client_list *clients, int fd);
/* Wait for G_IO_IN or G_IO_OUT; an earlier source has returned G_SOURCE_REMOVE or is about to. */
void client_watch(struct client *client, GIOCondition condition, GUnixFDSourceFunc fn);
/* In a callback of client_watch(), which returns the result: the client goes. */
gboolean client_end(struct client *client);

enum client_sent {
	CLIENT_SENT_ALL,
	CLIENT_SENT_SOME, /* wait for G_IO_OUT */
	CLIENT_GONE,
};

/* Send as much of the answer as the client takes. */
enum client_sent client_send(struct client *client);

/* End all. */
void client_list_stop(struct client_list *clients);

#endif
