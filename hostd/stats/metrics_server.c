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
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/listener.h"
#include "lib/log.h"
#include "lib/metrics_address.h"
#include "stats/client.h"

CALLS("accept4 recvfrom shutdown");

#define METRICS_REQUEST 4096
#define METRICS_BACKLOG 16
#define METRICS_PATH	"/metrics"

struct metrics {
	struct client_list clients; /* first */
	char *fabric;
	struct listener *listener; /* of a unix socket */
	int fd;			   /* listening */
	guint source;		   /* 0 while there are too many clients */
	guint retry;
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

static bool metrics_target_is_ours(const char *target)
{
	size_t length = strlen(METRICS_PATH);

	return !strncmp(target, METRICS_PATH, length) && (!target[length] || target[length] == '?');
}

unsigned int metrics_request(const char *data, size_t length, bool *head)
{
	size_t line = metrics_first_line(data, length);
	unsigned int status = 400;
	char *text, **words;

	*head = false;
	if (!line)
		return length && (*data == '\r' || *data == '\n') ? 400 :
			length < METRICS_REQUEST		  ? 0 :
								    431;
	if (memchr(data, '\0', line))
		return 400;
	text = g_strndup(data, line);
	words = g_strsplit(text, " ", 4);
	if (g_strv_length(words) != 3 || !g_str_has_prefix(words[2], "HTTP/1."))
		goto out;
	*head = !strcmp(words[0], "HEAD");
	if (!*head && strcmp(words[0], "GET"))
		status = 405;
	else if (!metrics_target_is_ours(words[1]))
		status = 404;
	else
		status = 200;
out:
	g_strfreev(words);
	g_free(text);
	return status;
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

static void metrics_answer(struct client *client, unsigned int status, bool head)
{
	const struct metrics *metrics = (const struct metrics *)client->clients;
	size_t header, length;
	GString *answer;
	char *body;

	if (status == 200)
		body = metrics_text(metrics->fabric, &length);
	else
		body = g_strdup_printf("%s; try GET " METRICS_PATH "\n", metrics_reason(status));
	length = strlen(body);
	answer = g_string_sized_new(length + 256);
	g_string_printf(answer,
			"HTTP/1.0 %u %s\r\n"
			"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
			"Content-Length: %zu\r\n%s"
			"Connection: close\r\n\r\n",
			status, metrics_reason(status), length,
			status == 405 ? "Allow: GET, HEAD\r\n" : "");
	header = answer->len;
	g_string_append_len(answer, body, length);
	g_free(body);
	client->length = head ? header : answer->len;
	client->answer = g_string_free(answer, FALSE);
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
	metrics_answer(&own->client, status, head);
	client_watch(&own->client, G_IO_OUT, metrics_on_writable);
	return G_SOURCE_REMOVE;
}

/* --------------------------------- listening ------------------------------- */

static void metrics_listen(struct metrics *metrics);

static gboolean metrics_on_retry(void *arg)
{
	struct metrics *metrics = arg;

	metrics->retry = 0;
	metrics_listen(metrics);
	return G_SOURCE_REMOVE;
}

static gboolean metrics_on_connection(int fd, GIOCondition condition, void *arg)
{
	struct metrics *metrics = arg;
	struct metrics_client *own;
	int peer;

	(void)condition;
	peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (peer < 0 &&
	    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		/* The connection waits, we must not spin. */
		metrics->source = 0;
		metrics->retry = g_timeout_add(1000, metrics_on_retry, metrics);
		return G_SOURCE_REMOVE;
	}
	if (peer < 0)
		return G_SOURCE_CONTINUE;
	own = g_new0(struct metrics_client, 1);
	client_start(&own->client, &metrics->clients, peer);
	client_watch(&own->client, G_IO_IN, metrics_on_readable);
	if (!client_list_full(&metrics->clients))
		return G_SOURCE_CONTINUE;
	metrics->source = 0;
	return G_SOURCE_REMOVE;
}

/* Take connections, unless that is being done or must wait. */
static void metrics_listen(struct metrics *metrics)
{
	if (metrics->source || metrics->retry || client_list_full(&metrics->clients))
		return;
	metrics->source = g_unix_fd_add(metrics->fd, G_IO_IN, metrics_on_connection, metrics);
}

static void metrics_on_left(struct client_list *clients)
{
	metrics_listen((struct metrics *)clients);
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
	*error = 0;
	metrics->fabric = g_strdup(fabric);
	metrics->clients.left = metrics_on_left;
	metrics_listen(metrics);
	return metrics;

err_free:
	g_free(metrics);
	return NULL;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	client_list_stop(&metrics->clients);
	if (metrics->source)
		g_source_remove(metrics->source);
	if (metrics->retry)
		g_source_remove(metrics->retry);
	if (metrics->listener)
		listener_close(metrics->listener);
	else
		close(metrics->fd);
	g_free(metrics->fabric);
	g_free(metrics);
}
