// SPDX-License-Identifier: GPL-2.0-or-later
/* The connection between two test programs is made despite some that end before. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "suite.h"

#define HOST   "127.0.0.1"
#define UNABLE 77

static struct sockaddr_in address;
static char port[8];

/* A port that nobody has. */
static void setup(void)
{
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(HOST) };
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
}

/* A process that opens its end, as a client of host or as a server, swaps a number and exits with what it got. */
static pid_t start_end(const char *host, int number)
{
	struct channel channel;
	pid_t pid = fork();
	int got;

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	channel_open(&channel, host, port);
	channel_exchange(&channel, &number, &got, sizeof(number));
	channel_close(&channel);
	_exit(got);
}

static void check_ends_with(pid_t pid, int number)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), number);
}

/* The peer is told of a reset, not of an end. */
static void reset(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(fd);
}

static int reach_server(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		usleep(1000);
		fd = socket(AF_INET, SOCK_STREAM, 0);
	}
	return fd;
}

START_TEST(server_outlives_clients_that_leave)
{
	pid_t server = start_end(NULL, 7);

	close(reach_server());
	reset(reach_server());
	check_ends_with(start_end(HOST, 8), 7);
	check_ends_with(server, 8);
}
END_TEST

START_TEST(client_outlives_servers_that_leave)
{
	/* First, for it would keep the listener. */
	pid_t client = start_end(HOST, 8);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	close(accept(listener, NULL, NULL));
	reset(accept(listener, NULL, NULL));
	close(listener);
	check_ends_with(start_end(NULL, 7), 8);
	check_ends_with(client, 7);
}
END_TEST

/* There may be none where packages are built. */
static bool has_loopback_interface(void)
{
	const struct sockaddr_in nobody = { .sin_family = AF_INET,
					    .sin_port = htons(9),
					    .sin_addr.s_addr = inet_addr(HOST) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool reached = !connect(fd, (const struct sockaddr *)&nobody, sizeof(nobody));

	close(fd);
	return reached;
}

int main(void)
{
	TCase *tc = tcase_create("channel");

	if (!has_loopback_interface()) {
		puts("skipped: " HOST " cannot be reached");
		return UNABLE;
	}
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, server_outlives_clients_that_leave);
	tcase_add_test(tc, client_outlives_servers_that_leave);
	return suite_run("channel", tc);
}
