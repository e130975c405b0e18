// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A request is one line; what follows it is not read. The bounds of a connection are those of
 * readers of statistics (stats/client.h).
 */
#include "control/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/listener.h"
#include "stats/client.h"

CALLS("recvfrom");

/* A connection; line: what has been received of the request. */
struct speaker {
	struct client client;
	char line[CONTROL_MAX_LINE];
	size_t received;
};

static struct {
	struct listener *listener;
	const struct control_ops *ops;
	void *arg;
	struct client_list clients;
	guint source;
} control;

static char *control_answer(const char *line)
{
	if (!strcmp(line, "reload"))
		return control.ops->reload(control.arg);
	if (g_str_has_prefix(line, "evict ") && line[strlen("evict ")])
		return control.ops->evict(line + strlen("evict "), control.arg);
	return g_strdup("error unknown request");
}

static gboolean control_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct client *client = arg;

	(void)fd;
	(void)condition;
	return client_send(client) == CLIENT_SENT_SOME ? G_SOURCE_CONTINUE : client_end(client);
}

static gboolean control_on_readable(int fd, GIOCondition condition, void *arg)
{
	struct speaker *own = arg;
	ssize_t n = recv(fd, own->line + own->received, sizeof(own->line) - own->received,
			 MSG_DONTWAIT);
	char *end, *answer;

	(void)condition;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0)
		return client_end(&own->client);
	own->received += n;
	end = memchr(own->line, '\n', own->received);
	if (!end && own->received < sizeof(own->line))
		return G_SOURCE_CONTINUE;
	if (end)
		*end = '\0';
	answer = end ? control_answer(own->line) : g_strdup("error request too long");
	own->client.answer = g_strconcat(answer, "\n", NULL);
	own->client.length = strlen(own->client.answer);
	g_free(answer);
	client_watch(&own->client, G_IO_OUT, control_on_writable);
	return G_SOURCE_REMOVE;
}

static gboolean control_on_connection(int fd, GIOCondition condition, void *arg)
{
	int peer = listener_accept(control.listener);
	struct speaker *own;

	(void)fd;
	(void)condition;
	(void)arg;
	if (peer < 0) {
		/* Out of descriptors: who waits does so, and nobody spins. */
		if (peer != -EAGAIN && peer != -EINTR)
			g_usleep(1000);
		return G_SOURCE_CONTINUE;
	}
	if (client_list_full(&control.clients)) {
		close(peer);
		return G_SOURCE_CONTINUE;
	}
	own = g_new0(struct speaker, 1);
	client_start(&own->client, &control.clients, peer);
	client_watch(&own->client, G_IO_IN, control_on_readable);
	return G_SOURCE_CONTINUE;
}

void control_start(struct listener *listener, const struct control_ops *ops, void *arg)
{
	control.listener = listener;
	control.ops = ops;
	control.arg = arg;
	control.source = g_unix_fd_add(listener_fd(listener), G_IO_IN, control_on_connection, NULL);
}

void control_stop(void)
{
	if (control.source)
		g_source_remove(control.source);
	control.source = 0;
	client_list_stop(&control.clients);
}
