// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-streams: rpoll() with a time-out, on rsockets that are not blocking.
 *
 * The server echoes what comes. The client first waits for what does not come, until the
 * time is over, and then for its echo, over and over. With --idle it lets the time be over
 * twice in a row: librdmacm before it was mended (44 to 56 and later) hangs in the second.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rdma/rsocket.h>

#include "report.h"
#include "timescale.h"

#define MESSAGE	 20000
#define ROUNDS	 20
#define SHORT_MS 200
#define LIMIT_MS ((int)scaled(20000))

static int open_socket(const char *address, const char *port, bool server)
{
	struct addrinfo *found;
	int fd, error;

	if (getaddrinfo(address, port, NULL, &found))
		die("%s is no address", address);
	fd = rsocket(found->ai_family, SOCK_STREAM, 0);
	if (fd < 0)
		die_errno(errno, "rsocket");
	error = server ? rbind(fd, found->ai_addr, found->ai_addrlen) :
			 rconnect(fd, found->ai_addr, found->ai_addrlen);
	if (error)
		die_errno(errno, server ? "rbind" : "rconnect");
	freeaddrinfo(found);
	return fd;
}

static int wait_for(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = rpoll(&p, 1, ms);

	if (n < 0)
		die_errno(errno, "rpoll");
	return n ? p.revents : 0;
}

/* All of it, in pieces as they come. */
static void move(int fd, uint8_t *data, size_t length, bool out)
{
	ssize_t n;

	while (length) {
		if (!wait_for(fd, out ? POLLOUT : POLLIN, LIMIT_MS))
			die("nothing within %d ms", LIMIT_MS);
		n = out ? rsend(fd, data, length, 0) : rrecv(fd, data, length, 0);
		if (n < 0 && errno == EWOULDBLOCK)
			continue;
		if (n <= 0)
			die_errno(n ? errno : EPIPE, out ? "rsend" : "rrecv");
		data += n;
		length -= n;
	}
}

static void serve(int listener)
{
	static uint8_t data[MESSAGE];
	int fd;

	if (rlisten(listener, 1))
		die_errno(errno, "rlisten");
	say("listening");
	fd = raccept(listener, NULL, NULL);
	if (fd < 0)
		die_errno(errno, "raccept");
	if (rfcntl(fd, F_SETFL, O_NONBLOCK))
		die_errno(errno, "rfcntl");
	for (unsigned int round = 0; round < ROUNDS; round++) {
		move(fd, data, sizeof(data), false);
		move(fd, data, sizeof(data), true);
	}
	/* Until the client has closed its end. */
	(void)wait_for(fd, POLLIN, LIMIT_MS);
	rclose(fd);
}

static void ask(int fd, bool idle)
{
	static uint8_t sent[MESSAGE], got[MESSAGE];

	if (rfcntl(fd, F_SETFL, O_NONBLOCK))
		die_errno(errno, "rfcntl");
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < sizeof(sent); i++)
			sent[i] = i * 7 + round;
		/* Once, see above: the echo brings the library back into step. */
		if (!round && wait_for(fd, POLLIN, SHORT_MS))
			die("there is something to read");
		move(fd, sent, sizeof(sent), true);
		move(fd, got, sizeof(got), false);
		if (memcmp(sent, got, sizeof(sent)))
			die("round %u: the echo is not what was sent", round);
	}
	for (int i = 0; idle && i < 2; i++)
		if (wait_for(fd, POLLIN, SHORT_MS))
			die("there is something to read");
	say("echo ok");
}

int main(int argc, char **argv)
{
	const char *port = "7471";
	bool server = false, idle = false;
	int c, fd;

	while ((c = getopt(argc, argv, "sip:")) != -1) {
		if (c == 's')
			server = true;
		else if (c == 'i')
			idle = true;
		else if (c == 'p')
			port = optarg;
		else
			return 1;
	}
	if (optind + 1 != argc)
		die("pvhca-test-streams [-p PORT] -s|[-i] ADDRESS");
	fd = open_socket(argv[optind], port, server);
	if (server)
		serve(fd);
	else
		ask(fd, idle);
	rclose(fd);
	return 0;
}
