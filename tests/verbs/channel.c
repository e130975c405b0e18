// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "report.h"
#include "timescale.h"

#define CONNECT_TRIES ((int)scaled(600)) /* of 100 ms */

static struct addrinfo *resolve(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_INET };
	struct addrinfo *found;
	int error;

	if (!host)
		hints.ai_flags = AI_PASSIVE;
	error = getaddrinfo(host, port, &hints, &found);
	if (error)
		die("%s port %s: %s", host ? host : "*", port, gai_strerror(error));
	return found;
}

/* False: the peer has gone, and errno tells why, or is 0 where it has closed its end. */
static bool write_all(int fd, const void *data, size_t length)
{
	ssize_t done;

	errno = 0;
	for (; length; data = (const char *)data + done, length -= done) {
		done = write(fd, data, length);
		if (done < 0 && errno == EINTR)
			done = errno = 0;
		else if (done <= 0)
			return false;
	}
	return true;
}

static bool read_all(int fd, void *data, size_t length)
{
	ssize_t done;

	errno = 0;
	for (; length; data = (char *)data + done, length -= done) {
		done = read(fd, data, length);
		if (done < 0 && errno == EINTR)
			done = errno = 0;
		else if (done <= 0)
			return false;
	}
	return true;
}

/*
 * Whether both ends have heard of each other. The server speaks first, once it has accepted the connection: Linux looks
 * sockets up without a lock, and may answer with a reset what comes while another processor makes the server's. That a
 * connection was reset before it was used has been seen in a guest once; another is made then, by both ends.
 */
static bool greet(int fd, bool server)
{
	static const char greeting = '+';
	char heard;

	if (server ? write_all(fd, &greeting, 1) && read_all(fd, &heard, 1) :
		     read_all(fd, &heard, 1) && write_all(fd, &greeting, 1))
		return true;
	if (errno && errno != ECONNRESET && errno != EPIPE)
		die_errno(errno, "greet the peer");
	say("a connection ended before it was used (%s), making another",
	    errno ? strerror(errno) : "closed");
	return false;
}

static int serve(const char *port)
{
	struct addrinfo *address = resolve(NULL, port);
	int listener, fd, on = 1;

	listener = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		die_errno(errno, "socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, address->ai_addr, address->ai_addrlen) || listen(listener, 1))
		die_errno(errno, "listen on port %s", port);
	freeaddrinfo(address);
	say("listening %s", port);
	while ((fd = accept(listener, NULL, NULL)) >= 0 && !greet(fd, true))
		close(fd);
	if (fd < 0)
		die_errno(errno, "accept");
	close(listener);
	return fd;
}

static int reach(const char *host, const char *port)
{
	struct addrinfo *address = resolve(host, port);
	const struct timespec pause = { .tv_nsec = 100000000 };
	int fd, i;

	for (i = 0; i < CONNECT_TRIES; i++) {
		fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			die_errno(errno, "socket");
		if (!connect(fd, address->ai_addr, address->ai_addrlen) && greet(fd, false)) {
			freeaddrinfo(address);
			return fd;
		}
		close(fd);
		nanosleep(&pause, NULL);
	}
	die_errno(errno, "connect to %s port %s", host, port);
}

void channel_open(struct channel *c, const char *host, const char *port)
{
	int on = 1;

	signal(SIGPIPE, SIG_IGN);
	c->server = !host;
	c->fd = host ? reach(host, port) : serve(port);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* A machine that was killed says no goodbye. */
	setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void channel_close(struct channel *c)
{
	close(c->fd);
	c->fd = -1;
}

static void die_without_peer(void)
{
	if (errno)
		die_errno(errno, "the peer has gone");
	die("the peer has gone");
}

void channel_send(struct channel *c, const void *data, size_t length)
{
	if (!write_all(c->fd, data, length))
		die_without_peer();
}

void channel_receive(struct channel *c, void *data, size_t length)
{
	if (!read_all(c->fd, data, length))
		die_without_peer();
}

void channel_exchange(struct channel *c, const void *mine, void *theirs, size_t length)
{
	channel_send(c, mine, length);
	channel_receive(c, theirs, length);
}

void channel_barrier(struct channel *c, unsigned int place)
{
	unsigned int theirs;

	channel_exchange(c, &place, &theirs, sizeof(place));
	if (theirs != place)
		die("out of step: here %u, peer %u", place, theirs);
}

bool channel_alive(struct channel *c)
{
	struct pollfd poll_fd = { .fd = c->fd, .events = POLLIN };
	char byte;

	if (poll(&poll_fd, 1, 0) <= 0)
		return true;
	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static pid_t child;

const char *channel_fork(void)
{
	child = fork();
	if (child < 0)
		die_errno(errno, "fork");
	if (child)
		return "127.0.0.1";
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return NULL;
}

int channel_join_child(void)
{
	int status = 0;

	if (child > 0 && waitpid(child, &status, 0) != child)
		die_errno(errno, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
