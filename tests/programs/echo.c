// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-echo: a TCP echo with poll(2), as any program may have it; librspreload carries
 * it over RDMA. That library knows accept, but not accept4, which is why this is no script.
 *
 *   pvhca-test-echo ADDRESS PORT serve       one connection
 *   pvhca-test-echo ADDRESS PORT             ask, look at the answers; at the end nothing more comes
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE 5000
#define ROUNDS	20

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(const char *address, const char *port, bool server)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	int fd;

	if (getaddrinfo(address, port, &hints, &found))
		fail("getaddrinfo");
	fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (fd < 0)
		fail("socket");
	if (server ? bind(fd, found->ai_addr, found->ai_addrlen) :
		     connect(fd, found->ai_addr, found->ai_addrlen))
		fail(server ? "bind" : "connect");
	freeaddrinfo(found);
	return fd;
}

static int accept_one(int listener)
{
	int fd;

	if (listen(listener, 1))
		fail("listen");
	puts("listening");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		fail("accept");
	return fd;
}

/* All of it, in pieces as they come. */
static void move(int fd, uint8_t *data, size_t length, bool out)
{
	struct pollfd p = { .fd = fd, .events = out ? POLLOUT : POLLIN };
	ssize_t n;

	while (length) {
		if (poll(&p, 1, -1) != 1)
			fail("poll");
		n = out ? send(fd, data, length, 0) : recv(fd, data, length, 0);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			fail(out ? "send" : "recv");
		data += n;
		length -= n;
	}
}

static void ask(int fd, uint8_t *data)
{
	uint8_t sent[MESSAGE];

	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int i = 0; i < MESSAGE; i++)
			sent[i] = i * 7 + round;
		move(fd, sent, MESSAGE, true);
		move(fd, data, MESSAGE, false);
		if (memcmp(sent, data, MESSAGE)) {
			fprintf(stderr, "round %u: the echo is not what was sent\n", round);
			exit(1);
		}
	}
	if (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 50)) {
		fputs("more came than was sent\n", stderr);
		exit(1);
	}
	puts("echo ok");
}

int main(int argc, char **argv)
{
	const bool server = argc == 4;
	uint8_t data[MESSAGE];
	int fd;

	if (argc < 3)
		return 2;
	fd = open_socket(argv[1], argv[2], server);
	if (server)
		fd = accept_one(fd);
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		fail("fcntl");
	for (unsigned int round = 0; server && round < ROUNDS; round++) {
		move(fd, data, MESSAGE, false);
		move(fd, data, MESSAGE, true);
	}
	/* The client goes first: it looks whether anything else comes. */
	if (server)
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
	else
		ask(fd, data);
	close(fd);
	return 0;
}
