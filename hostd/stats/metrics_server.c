// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The part of HTTP/1.0 that GET /metrics needs: one request per connection, of which
 * only the first line counts, and one answer.
 *
 * The cost of clients is bounded: stats/client.h bounds their number (others wait in the
 * kernel's queue) and time. A request has METRICS_REQUEST bytes at most, and its text is
 * made once it is whole.
 *
 * After the answer the server reads on until the client closes: a TCP socket that is
 * closed with unread data is reset, and the answer could be lost.
 */
#include "stats/metrics.h"

#include <errno.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/listener.h"
#include "lib/log.h"
#include "lib/metrics_address.h"
#include "lib/text.h"
#include "stats/client.h"

CALLS("accept4 recvfrom shutdown");

#define METRICS_REQUEST 4096
#define METRICS_BACKLOG 16
#define METRICS_PATH	"/metrics"
#define METRICS_HTTP	"HTTP/1."

struct metrics {
	struct client_list clients; /* first */
	char *fabric;
	struct listener *listener; /* of a unix socket */
	int fd;			   /* listening */
};

struct metrics_client {
	struct client client;
	char request[METRICS_REQUEST];
	size_t received;
};

/* --------------------------------- requests -------------------------------- */

/* Length of the first line without its end; 0 while the header is not whole. */
static size_t metrics_first_line(const char *data, size_t length)
{
	const char *end = memchr(data, '\n', length);

	if (!memmem(data, length, "\r\n\r\n", 4) && !memmem(data, length, "\n\n", 2))
		return 0;
	return end > data && end[-1] == '\r' ? end - data - 1 : end - data;
}

static bool metrics_is(const char *data, size_t length, const char *word)
{
	return length == strlen(word) && !memcmp(data, word, length);
}

static bool metrics_target_is_ours(const char *target, size_t length)
{
	const char *query = memchr(target, '?', length);

	return metrics_is(target, query ? (size_t)(query - target) : length, METRICS_PATH);
}

/* Of a line of three words: method, target, version. */
static unsigned int metrics_status(const char *line, size_t length, bool *head)
{
	const char *target = memchr(line, ' ', length), *end = line + length, *version;

	version = target ? memchr(target + 1, ' ', end - target - 1) : NULL;
	if (!version || memchr(version + 1, ' ', end - version - 1) ||
	    end - version - 1 < (ssize_t)strlen(METRICS_HTTP) ||
	    memcmp(version + 1, METRICS_HTTP, strlen(METRICS_HTTP)))
		return 400;
	*head = metrics_is(line, target - line, "HEAD");
	if (!*head && !metrics_is(line, target - line, "GET"))
		return 405;
	return metrics_target_is_ours(target + 1, version - target - 1) ? 200 : 404;
}

unsigned int metrics_request(const char *data, size_t length, bool *head)
{
	size_t line = metrics_first_line(data, length);

	*head = false;
	if (!line)
		return length && (*data == '\r' || *data == '\n') ? 400 :
			length < METRICS_REQUEST		  ? 0 :
								    431;
	return memchr(data, '\0', line) ? 400 : metrics_status(data, line, head);
}

/* --------------------------------- answers --------------------------------- */

static const char *metrics_reason(unsigned int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Bad Request";
	}
}

/* False: no memory. */
static bool metrics_answer(struct client *client, unsigned int status, bool head)
{
	const struct metrics *metrics = (const struct metrics *)client->clients;
	struct text answer = { 0 };
	size_t header, length;
	char reason[64], *made = NULL;
	const char *body = reason;

	length = snprintf(reason, sizeof(reason), "%s; try GET " METRICS_PATH "\n",
			  metrics_reason(status));
	if (status == 200)
		body = made = metrics_text(metrics->fabric, &length);
	if (!body)
		return false;
	text_add(&answer,
		 "HTTP/1.0 %u %s\r\n"
		 "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
		 "Content-Length: %zu\r\n%s"
		 "Connection: close\r\n\r\n",
		 status, metrics_reason(status), length,
		 status == 405 ? "Allow: GET, HEAD\r\n" : "");
	header = answer.length;
	text_add(&answer, "%s", body);
	free(made);
	client->answer = text_end(&answer, &length);
	client->length = head ? header : length;
	return client->answer;
}

/* --------------------------------- clients --------------------------------- */

/* The answer is out: wait until the client closes, or time is up. */
static gboolean metrics_on_rest(int fd, GIOCondition condition, void *arg)
{
	struct metrics_client *own = arg;
	ssize_t n;

	(void)condition;
	n = recv(fd, own->request, sizeof(own->request), MSG_DONTWAIT);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return G_SOURCE_CONTINUE;
	return client_end(&own->client);
}

static gboolean metrics_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct client *client = arg;
	enum client_sent sent = client_send(client);

	(void)condition;
	if (sent == CLIENT_SENT_SOME)
		return G_SOURCE_CONTINUE;
	if (sent == CLIENT_GONE || shutdown(fd, SHUT_WR))
		return client_end(client);
	client_watch(client, G_IO_IN, metrics_on_rest);
	return G_SOURCE_REMOVE;
}

static gboolean metrics_on_readable(int fd, GIOCondition condition, void *arg)
{
	struct metrics_client *own = arg;
	unsigned int status;
	bool head;
	ssize_t n;

	(void)condition;
	n = recv(fd, own->request + own->received, sizeof(own->request) - own->received,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0)
		return client_end(&own->client);
	own->received += n;
	status = metrics_request(own->request, own->received, &head);
	if (!status)
		return G_SOURCE_CONTINUE;
	if (!metrics_answer(&own->client, status, head))
		return client_end(&own->client);
	client_watch(&own->client, G_IO_OUT, metrics_on_writable);
	return G_SOURCE_REMOVE;
}

/* --------------------------------- listening ------------------------------- */

static bool metrics_accept(struct client_list *clients)
{
	struct metrics *metrics = (struct metrics *)clients;
	struct metrics_client *own;
	int peer;

	peer = accept4(metrics->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (peer < 0)
		return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
	own = calloc(1, sizeof(*own));
	if (!own) {
		close(peer);
		return false;
	}
	client_start(&own->client, clients, peer);
	client_watch(&own->client, G_IO_IN, metrics_on_readable);
	return true;
}

/* The descriptor, or a negative errno. */
static int metrics_bind(const struct metrics_address *address)
{
	int fd, on = 1, error;

	fd = socket(address->inet.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Connections of a daemon that ended just now do not keep the port. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (const struct sockaddr *)&address->inet, address->length) ||
	    listen(fd, METRICS_BACKLOG)) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

struct metrics *metrics_open(const char *address, const struct listener_access *access,
			     const char *fabric, int *error)
{
	struct metrics *metrics = g_new0(struct metrics, 1);
	struct metrics_address parsed;

	*error = -EINVAL;
	if (metrics_address_parse(address, &parsed))
		goto err_free;
	if (parsed.path) {
		metrics->listener = listener_open(parsed.path, access, error);
		if (!metrics->listener)
			goto err_free;
		metrics->fd = listener_fd(metrics->listener);
	} else {
		*error = metrics->fd = metrics_bind(&parsed);
		if (metrics->fd < 0)
			goto err_free;
	}
	metrics->fabric = g_strdup(fabric);
	*error = client_list_start(&metrics->clients);
	if (!*error)
		*error = client_list_listen(&metrics->clients, metrics->fd, metrics_accept);
	if (!*error)
		return metrics;
	metrics_close(metrics);
	return NULL;

err_free:
	g_free(metrics);
	return NULL;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	client_list_stop(&metrics->clients);
	if (metrics->listener)
		listener_close(metrics->listener);
	else
		close(metrics->fd);
	g_free(metrics->fabric);
	g_free(metrics);
}
