// SPDX-License-Identifier: GPL-2.0-or-later
/* stats/client.h: what readers of statistics get, and what they can cost. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "stats/client.h"
#include "suite.h"

#define LONG (1u << 20) /* more than a socket takes at once */
#define MANY 16

static struct client_list clients;
static unsigned int left;
static int peer[MANY];

static void on_left(struct client_list *of)
{
	ck_assert_ptr_eq(of, &clients);
	left++;
}

static gboolean on_writable(int fd, GIOCondition condition, void *arg)
{
	(void)fd;
	(void)condition;
	return client_send(arg) == CLIENT_SENT_SOME ? G_SOURCE_CONTINUE : client_end(arg);
}

/* A client with an answer of so many bytes; its other end is peer[i]. */
static void start(unsigned int i, size_t length)
{
	struct client *client = calloc(1, sizeof(*client));
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	peer[i] = fds[0];
	client->answer = malloc(length);
	memset(client->answer, 'a' + i, length);
	client->length = length;
	client_start(client, &clients, fds[1]);
	client_watch(client, G_IO_OUT, on_writable);
}

static void setup(void)
{
	clients = (struct client_list){ .left = on_left };
	ck_assert_int_eq(client_list_start(&clients), 0);
	left = 0;
}

static void teardown(void)
{
	client_list_stop(&clients);
	ck_assert_ptr_null(clients.list);
}

/* Run what is due, without waiting. */
static void run(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		if (!clients.list)
			break;
}

START_TEST(all_is_sent_to_a_reader_that_takes_it_in_pieces)
{
	static char buffer[100000], expected[100000];
	size_t got = 0;
	ssize_t n;

	memset(expected, 'a', sizeof(expected));
	start(0, LONG);
	do {
		g_main_context_iteration(NULL, FALSE);
		n = recv(peer[0], buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n > 0)
			ck_assert_mem_eq(buffer, expected, n);
		got += n > 0 ? n : 0;
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, LONG);
	ck_assert_uint_eq(left, 1);
	close(peer[0]);
}
END_TEST

START_TEST(a_reader_that_goes_is_forgotten)
{
	start(0, LONG);
	g_main_context_iteration(NULL, FALSE);
	ck_assert_ptr_nonnull(clients.list);
	close(peer[0]);
	run();
	ck_assert_ptr_null(clients.list);
	ck_assert_uint_eq(left, 1);
}
END_TEST

START_TEST(a_reader_that_takes_nothing_loses_its_connection)
{
	gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	static char buffer[1 << 16];
	ssize_t n;

	start(0, LONG);
	while (clients.list && g_get_monotonic_time() < end)
		g_main_context_iteration(NULL, TRUE);
	ck_assert_ptr_null(clients.list);
	ck_assert_uint_eq(left, 1);
	/* The end follows what the kernel had taken. */
	do
		n = recv(peer[0], buffer, sizeof(buffer), 0);
	while (n > 0);
	ck_assert_int_eq(n, 0);
	close(peer[0]);
}
END_TEST

START_TEST(there_are_sixteen_at_most)
{
	for (unsigned int i = 0; i < MANY; i++) {
		ck_assert(!client_list_full(&clients));
		start(i, LONG);
	}
	ck_assert(client_list_full(&clients));
	close(peer[3]);
	while (!left)
		g_main_context_iteration(NULL, TRUE);
	ck_assert(!client_list_full(&clients));
}
END_TEST

START_TEST(stop_ends_all)
{
	char byte;

	start(0, 1);
	start(1, 1);
	client_list_stop(&clients);
	ck_assert_ptr_null(clients.list);
	ck_assert_int_eq(recv(peer[0], &byte, 1, 0), 0);
	ck_assert_int_eq(recv(peer[1], &byte, 1, 0), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("client");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_is_sent_to_a_reader_that_takes_it_in_pieces);
	tcase_add_test(tc, a_reader_that_goes_is_forgotten);
	tcase_add_test(tc, a_reader_that_takes_nothing_loses_its_connection);
	tcase_add_test(tc, there_are_sixteen_at_most);
	tcase_add_test(tc, stop_ends_all);
	return suite_run("client", tc);
}
