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
#include <stdint.h>

struct client;

/**
 * struct client_list - of one socket
 * @list: the latest first
 * @left: one has gone; or NULL
 * @epoll_fd: what GLib waits for: connections and clients. So a client costs no source of
 *	GLib's, which would end the process where there is no memory
 * @source: GLib's
 * @timer: twice a second while there are clients, or connections wait
 * @listen_fd, @accept: client_list_listen()
 * @waits: connections are not taken now
 */
struct client_list {
	struct client *list;
	void (*left)(struct client_list *clients);
	int epoll_fd;
	GSource *source;
	GSource *timer;
	int listen_fd;
	bool (*accept)(struct client_list *clients);
	bool waits;
};

/**
 * struct client - a connection; the first member of the owner's structure, if it has one
 * @answer: the text to send, of malloc(3); NULL until it is there
 * @fn, @watched: of client_watch()
 * @end_ns: when its time is up; CLOCK_MONOTONIC
 */
struct client {
	struct client *next;
	struct client_list *clients;
	int fd;
	char *answer;
	size_t length, sent;
	GUnixFDSourceFunc fn;
	bool watched;
	uint64_t end_ns;
};

/* Before the first; @left may be set. 0 or a negative errno. */
int client_list_start(struct client_list *clients);
/*
 * Have accept() called for connections at fd, while there are not too many clients. It returns
 * false if it could not take one, and is called again a little later then. 0 or a negative errno.
 */
int client_list_listen(struct client_list *clients, int fd,
		       bool (*accept)(struct client_list *clients));
/* Are there as many as may be? */
bool client_list_full(const struct client_list *clients);
/*
 * Takes over client, zeroed memory that free(3) ends, and fd, which is non-blocking. The client
 * goes after some seconds at the latest.
 */
void client_start(struct client *client, struct client_list *clients, int fd);
/*
 * Wait for G_IO_IN or G_IO_OUT, and for nothing else any more. Where the kernel has no memory for
 * that the client goes when its time is up.
 */
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

/* End all, and what client_list_start() began. */
void client_list_stop(struct client_list *clients);

#endif
