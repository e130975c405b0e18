// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The statistics socket is read to its end. Time and length are bounded, so that a script
 * that asks a daemon which hangs, or something else, goes on.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_MS    10000
#define CLIENT_BYTES (64u << 20)

static bool client_cannot_connect(const char *path, int code, GError **error)
{
	switch (code) {
	case ENOENT:
	case ECONNREFUSED:
		g_set_error(error, CTL_ERROR, CTL_NOT_RUNNING,
			    "pvhcad is not running: nobody listens at %s", path);
		break;
	case EACCES:
	case EPERM:
		g_set_error(
			error, CTL_ERROR, CTL_DENIED,
			"no permission to connect to %s: run as root or as a user with write access (pvhcad's socket-mode)",
			path);
		break;
	case EAGAIN:
		g_set_error(error, CTL_ERROR, CTL_FAILED, "too many wait at %s, try again", path);
		break;
	default:
		g_set_error(error, CTL_ERROR, CTL_FAILED, "cannot connect to %s: %s", path,
			    g_strerror(code));
	}
	return false;
}

static bool client_connect(const char *path, int *fd, GError **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int code;

	if (strlen(path) >= sizeof(address.sun_path)) {
		g_set_error(error, CTL_ERROR, CTL_USAGE, "%s is too long for the path of a socket",
			    path);
		return false;
	}
	strcpy(address.sun_path, path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return client_cannot_connect(path, errno, error);
	if (!connect(*fd, (const struct sockaddr *)&address, sizeof(address)))
		return true;
	code = errno;
	close(*fd);
	return client_cannot_connect(path, code, error);
}

/* More of the text: bytes, 0 at its end, or a negative errno. */
static ssize_t client_receive(int fd, char *to, size_t size, gint64 deadline)
{
	for (;;) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		gint64 left = (deadline - g_get_monotonic_time()) / 1000;
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&ready, 1, left) < 0 && errno != EINTR)
			return -errno;
		n = recv(fd, to, size, MSG_DONTWAIT);
		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

static bool client_read(int fd, GString *text, GError **error)
{
	gint64 deadline = g_get_monotonic_time() + CLIENT_MS * 1000;
	static char buffer[65536];
	ssize_t n;

	do {
		n = client_receive(fd, buffer, sizeof(buffer), deadline);
		if (n > 0)
			g_string_append_len(text, buffer, n);
		if (text->len > CLIENT_BYTES)
			n = -EFBIG;
	} while (n > 0);
	if (n == -ETIMEDOUT)
		g_set_error(error, CTL_ERROR, CTL_FAILED, "pvhcad does not answer within %d s",
			    CLIENT_MS / 1000);
	else if (n < 0)
		g_set_error(error, CTL_ERROR, CTL_FAILED, "cannot read the answer: %s",
			    g_strerror(-n));
	else if (!text->len)
		g_set_error(error, CTL_ERROR, CTL_FAILED,
			    "pvhcad gives no answer: too many ask at a time, try again");
	return !n && text->len;
}

char *client_request(const char *socket, const char *request, GError **error)
{
	char *path = g_strdup_printf("%s.ctl", socket), *line = g_strconcat(request, "\n", NULL);
	GString *text = g_string_new(NULL);
	char *answer = NULL;
	bool done = false;
	int fd;

	if (client_connect(path, &fd, error)) {
		/* It is short: the socket takes it at once. */
		done = send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line);
		if (!done)
			g_set_error(error, CTL_ERROR, CTL_FAILED, "cannot send the request: %s",
				    g_strerror(errno));
		done = done && client_read(fd, text, error);
		close(fd);
	}
	g_free(line);
	g_free(path);
	g_strchomp(text->str);
	if (done && g_str_has_prefix(text->str, "ok ")) {
		answer = g_strdup(text->str + strlen("ok "));
		goto out;
	}
	if (done && !strcmp(text->str, "none"))
		g_set_error(error, CTL_ERROR, CTL_NO_SUCH_VM,
			    "no VM has this name, UUID or session number");
	else if (done)
		g_set_error(error, CTL_ERROR, CTL_FAILED, "%s",
			    g_str_has_prefix(text->str, "error ") ? text->str + strlen("error ") :
								    text->str);
out:
	g_string_free(text, TRUE);
	return answer;
}

struct ctl_sample *client_sample(const char *socket, const char *vm, GError **error)
{
	char *path = g_strdup_printf("%s.stats", socket);
	struct ctl_sample *sample = NULL;
	GString *text = g_string_new(NULL);
	int fd;

	if (client_connect(path, &fd, error)) {
		if (client_read(fd, text, error))
			sample = sample_parse(text->str, text->len, error);
		close(fd);
	}
	g_string_free(text, TRUE);
	g_free(path);
	if (!sample || !vm || sample_select(sample, vm))
		return sample;
	g_set_error(error, CTL_ERROR, CTL_NO_SUCH_VM,
		    "no VM has the name, UUID or session number \"%s\"", vm);
	sample_free(sample);
	return NULL;
}
