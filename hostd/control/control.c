// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A request is one line; what follows it is not read. The bounds of a connection are those of
 * readers of statistics (stats/client.h).
 */
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
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

/* False: out of descriptors or memory. Who waits does so, and nobody spins. */
static bool control_accept(struct client_list *clients)
{
	int peer = listener_accept(control.listener);
	struct speaker *own;

	if (peer < 0)
		return peer == -EAGAIN || peer == -EINTR || peer == -ECONNABORTED;
	own = calloc(1, sizeof(*own));
	if (!own) {
		close(peer);
		return false;
	}
	client_start(&own->client, clients, peer);
	client_watch(&own->client, G_IO_IN, control_on_readable);
	return true;
}

int control_start(struct listener *listener, const struct control_ops *ops, void *arg)
{
	int ret;

	control.listener = listener;
	control.ops = ops;
	control.arg = arg;
	ret = client_list_start(&control.clients);
	return ret ? ret :
		     client_list_listen(&control.clients, listener_fd(listener), control_accept);
}

void control_stop(void)
{
	client_list_stop(&control.clients);
}
