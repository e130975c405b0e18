// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/listener.h"
#include "suite.h"

static char *folder, *path;
static int error;

static void setup(void)
{
	folder = g_dir_make_tmp("pvhca-XXXXXX", NULL);
	path = g_build_filename(folder, "s", NULL);
}

static void teardown(void)
{
	char *lock = g_strdup_printf("%s.lock", path);

	unlink(path);
	unlink(lock);
	rmdir(folder);
	g_free(lock);
	g_free(path);
	g_free(folder);
}

static int connect_to(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	close(fd);
	return -1;
}

static struct listener *open_at(const char *where, unsigned int mode)
{
	const struct listener_access access = { mode, LISTENER_NOBODY, LISTENER_NOBODY };

	return listener_open(where, &access, &error);
}

/* A socket that nobody listens at, or that somebody does. */
static int make_socket(bool listening)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (listening)
		listen(fd, 1);
	return fd;
}

START_TEST(connections_are_accepted_and_the_socket_goes)
{
	struct listener *listener = open_at(path, 0600);
	int fd, peer;

	ck_assert_ptr_nonnull(listener);
	ck_assert_int_eq(listener_accept(listener), -EAGAIN);
	fd = connect_to();
	peer = listener_accept(listener);
	ck_assert_int_ge(peer, 0);
	ck_assert(fcntl(peer, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(peer, F_GETFD) & FD_CLOEXEC);
	close(fd);
	close(peer);
	listener_close(listener);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(the_mode_is_as_asked_for)
{
	struct listener *listener;
	struct stat st;
	mode_t mask = umask(077);

	listener = open_at(path, 0666);
	ck_assert_int_eq(umask(mask), 077);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0666);
	listener_close(listener);
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
	struct listener *listener;

	close(make_socket(true));
	ck_assert_int_eq(connect_to(), -1);
	listener = open_at(path, 0600);
	ck_assert_ptr_nonnull(listener);
	close(connect_to());
	listener_close(listener);
}
END_TEST

START_TEST(a_socket_in_use_is_left_alone)
{
	int fd = make_socket(true);

	ck_assert_ptr_null(open_at(path, 0600));
	ck_assert_int_eq(error, -EADDRINUSE);
	ck_assert_int_eq(access(path, F_OK), 0);
	close(fd);
}
END_TEST

START_TEST(two_do_not_take_it_from_each_other)
{
	struct listener *listener = open_at(path, 0600);

	/* Also if the socket itself is gone. */
	ck_assert_ptr_null(open_at(path, 0600));
	ck_assert_int_eq(error, -EADDRINUSE);
	unlink(path);
	ck_assert_ptr_null(open_at(path, 0600));
	ck_assert_int_eq(error, -EADDRINUSE);
	listener_close(listener);
	listener = open_at(path, 0600);
	ck_assert_ptr_nonnull(listener);
	listener_close(listener);
}
END_TEST

START_TEST(what_is_no_socket_is_left_alone)
{
	ck_assert(g_file_set_contents(path, "precious", -1, NULL));
	ck_assert_ptr_null(open_at(path, 0600));
	ck_assert_int_eq(error, -ENOTSOCK);
	ck_assert_int_eq(access(path, F_OK), 0);
	unlink(path);
	/* A link is not followed. */
	ck_assert_int_eq(symlink("/dev/null", path), 0);
	ck_assert_ptr_null(open_at(path, 0600));
	ck_assert_int_eq(error, -ENOTSOCK);
}
END_TEST

START_TEST(a_socket_that_is_not_ours_any_more_is_not_removed)
{
	struct listener *listener = open_at(path, 0600);
	int fd;

	unlink(path);
	fd = make_socket(true);
	listener_close(listener);
	ck_assert_int_eq(access(path, F_OK), 0);
	close(fd);
}
END_TEST

START_TEST(its_folder_is_made)
{
	char *inner = g_build_filename(folder, "run", NULL);
	char *lock;
	struct listener *listener;

	g_free(path);
	path = g_build_filename(inner, "s", NULL);
	listener = open_at(path, 0600);
	ck_assert_ptr_nonnull(listener);
	listener_close(listener);
	lock = g_strdup_printf("%s.lock", path);
	unlink(lock);
	ck_assert_int_eq(rmdir(inner), 0);
	g_free(lock);
	g_free(inner);
}
END_TEST

START_TEST(who_may_connect_can_change)
{
	struct listener_access next = { 0640, LISTENER_NOBODY, getegid() };
	struct listener *listener = open_at(path, 0600);
	struct stat st;

	ck_assert_int_eq(listener_set_access(listener, &next), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	ck_assert_uint_eq(st.st_gid, getegid());
	unlink(path);
	ck_assert_int_eq(listener_set_access(listener, &next), -ENOENT);
	listener_close(listener);
}
END_TEST

START_TEST(a_path_too_long_is_told)
{
	char *longer = g_strdup_printf("/tmp/%0200d", 1);

	ck_assert_ptr_null(open_at(longer, 0600));
	ck_assert_int_eq(error, -ENAMETOOLONG);
	g_free(longer);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("listener");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, connections_are_accepted_and_the_socket_goes);
	tcase_add_test(tc, the_mode_is_as_asked_for);
	tcase_add_test(tc, a_stale_socket_is_replaced);
	tcase_add_test(tc, a_socket_in_use_is_left_alone);
	tcase_add_test(tc, two_do_not_take_it_from_each_other);
	tcase_add_test(tc, what_is_no_socket_is_left_alone);
	tcase_add_test(tc, a_socket_that_is_not_ours_any_more_is_not_removed);
	tcase_add_test(tc, its_folder_is_made);
	tcase_add_test(tc, who_may_connect_can_change);
	tcase_add_test(tc, a_path_too_long_is_told);
	return suite_run("listener", tc);
}
