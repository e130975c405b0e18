// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * As much of HTTP/1.0 as GET /metrics takes: one request per connection, of which
 * only the first line counts, and one answer.
 *
 * What a client can cost is bounded: METRICS_CLIENTS at a time (others wait in the
 * kernel's queue), METRICS_REQUEST bytes of request, METRICS_MS from the connection to
 * its end whatever it does, one text that is made when its request is whole. No call
 * here blocks.
 *
 * An answer is followed by reading what the client still sends: closing a TCP socket that
 * has unread data resets it, and the answer could be lost.
 */
#include "stats/metrics.h"

#include <errno.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/listener.h"
#include "lib/log.h"

#define METRICS_CLIENTS 16
#define METRICS_REQUEST 4096
#define METRICS_MS	5000
#define METRICS_BACKLOG 16
#define METRICS_PATH	"/metrics"

struct metrics {
	char *fabric;
	struct listener *listener; /* of a unix socket */
	int fd;			   /* listening */
	guint source;		   /* 0 while there are too many clients */
	guint retry;
	GList *clients;
};

struct client {
	struct metrics *metrics;
	int fd;
	char request[METRICS_REQUEST];
	size_t received;
	char *answer; /* NULL until the request is there */
	size_t length, sent;
	guint source, timer;
};

static void metrics_listen(struct metrics *metrics);

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

static void client_answer(struct client *client, unsigned int status, bool head)
{
	size_t header, length;
	GString *answer;
	char *body;

	if (status == 200)
		body = metrics_text(client->metrics->fabric, &length);
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

static void client_free(struct client *client)
{
	struct metrics *metrics = client->metrics;

	metrics->clients = g_list_remove(metrics->clients, client);
	if (client->source)
		g_source_remove(client->source);
	if (client->timer)
		g_source_remove(client->timer);
	close(client->fd);
	g_free(client->answer);
	g_free(client);
	metrics_listen(metrics);
}

static gboolean client_on_timeout(void *arg)
{
	struct client *client = arg;

	client->timer = 0;
	client_free(client);
	return G_SOURCE_REMOVE;
}

/* For a callback of client->source. */
static gboolean client_end(struct client *client)
{
	client->source = 0;
	client_free(client);
	return G_SOURCE_REMOVE;
}

/* The answer is out: wait until the client closes, or time is up. */
static gboolean client_on_rest(int fd, GIOCondition condition, void *arg)
{
	struct client *client = arg;
	ssize_t n;

	(void)condition;
	n = recv(fd, client->request, sizeof(client->request), MSG_DONTWAIT);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return G_SOURCE_CONTINUE;
	return client_end(client);
}

static gboolean client_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct client *client = arg;
	ssize_t n;

	(void)condition;
	n = send(fd, client->answer + client->sent, client->length - client->sent,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0)
		return client_end(client);
	client->sent += n;
	if (client->sent < client->length)
		return G_SOURCE_CONTINUE;
	if (shutdown(fd, SHUT_WR))
		return client_end(client);
	client->source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, client_on_rest, client);
	return G_SOURCE_REMOVE;
}

static gboolean client_on_readable(int fd, GIOCondition condition, void *arg)
{
	struct client *client = arg;
	unsigned int status;
	bool head;
	ssize_t n;

	(void)condition;
	n = recv(fd, client->request + client->received, sizeof(client->request) - client->received,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0)
		return client_end(client);
	client->received += n;
	status = metrics_request(client->request, client->received, &head);
	if (!status)
		return G_SOURCE_CONTINUE;
	client_answer(client, status, head);
	client->source =
		g_unix_fd_add(fd, G_IO_OUT | G_IO_HUP | G_IO_ERR, client_on_writable, client);
	return G_SOURCE_REMOVE;
}

/* --------------------------------- listening ------------------------------- */

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
	struct client *client;
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
	client = g_new0(struct client, 1);
	client->metrics = metrics;
	client->fd = peer;
	client->source =
		g_unix_fd_add(peer, G_IO_IN | G_IO_HUP | G_IO_ERR, client_on_readable, client);
	client->timer = g_timeout_add(METRICS_MS, client_on_timeout, client);
	metrics->clients = g_list_prepend(metrics->clients, client);
	if (g_list_length(metrics->clients) < METRICS_CLIENTS)
		return G_SOURCE_CONTINUE;
	metrics->source = 0;
	return G_SOURCE_REMOVE;
}

/* Take connections, unless that is being done or must wait. */
static void metrics_listen(struct metrics *metrics)
{
	if (metrics->source || metrics->retry || g_list_length(metrics->clients) >= METRICS_CLIENTS)
		return;
	metrics->source = g_unix_fd_add(metrics->fd, G_IO_IN, metrics_on_connection, metrics);
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

struct metrics *metrics_open(const char *address, unsigned int mode, const char *fabric, int *error)
{
	struct metrics *metrics = g_new0(struct metrics, 1);
	struct metrics_address parsed;

	*error = -EINVAL;
	if (metrics_address_parse(address, &parsed))
		goto err_free;
	if (parsed.path) {
		metrics->listener = listener_open(parsed.path, mode, error);
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
	while (metrics->clients)
		client_free(metrics->clients->data);
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
