// SPDX-License-Identifier: GPL-2.0-or-later
/* All sessions: the test is the daemon's main thread, and QEMU. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/rig.h"
#include "session/session.h"
#include "suite.h"

#define SESSIONS 3

static int qemu[2 * SESSIONS];
static unsigned int qemus;

static void setup(void)
{
	rig_setup();
	rig_configure("[pvhcad]\nmax-sessions=" G_STRINGIFY(SESSIONS) "\n");
	sessions_init(rig.config, &rig.ops, NULL);
}

static void teardown(void)
{
	sessions_stop();
	while (qemus)
		close(qemu[--qemus]);
	rig_teardown();
}

/* QEMU's end; it stays open. */
static int connect_qemu(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_uint_lt(qemus, 2 * SESSIONS);
	qemu[qemus++] = pair[0];
	sessions_accept(pair[1], NULL, NULL);
	return pair[0];
}

static void send_hello_of(int fd, const char *name, uint8_t uuid)
{
	struct pvhca_link_hello hello = qemu_hello();
	struct pvhca_link_header header = {
		.magic = PVHCA_LINK_MAGIC,
		.type = PVHCA_LINK_HELLO,
		.size = sizeof(hello),
	};

	g_strlcpy(hello.name, name, sizeof(hello.name));
	hello.uuid[15] = uuid;
	ck_assert_int_eq(send(fd, &header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
	ck_assert_int_eq(send(fd, &hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
}

/* Each is another VM. */
static void send_hello(int fd)
{
	char name[16];

	g_snprintf(name, sizeof(name), "vm-%d", fd);
	send_hello_of(fd, name, 0);
}

/* What the answer to HELLO says, whoever asked for it. */
static uint32_t refused(int fd)
{
	struct pvhca_link_hello_reply reply;
	struct pvhca_link_header header;

	ck_assert_int_eq(recv(fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	ck_assert_uint_eq(header.type, PVHCA_LINK_HELLO_REPLY);
	ck_assert_int_eq(recv(fd, &reply, sizeof(reply), MSG_WAITALL), sizeof(reply));
	ck_assert_uint_eq(!reply.refused, !reply.reason[0]);
	return reply.refused;
}

static void note_id(struct vm *vm, void *arg)
{
	uint64_t *ids = arg;

	ck_assert_uint_lt(vm->id, 64);
	ck_assert(!(*ids & 1ull << vm->id));
	*ids |= 1ull << vm->id;
}

/* Bit i: session i is there. */
static uint64_t sessions_there(void)
{
	uint64_t ids = 0;

	sessions_for_each(note_id, &ids);
	return ids;
}

START_TEST(each_connection_is_a_session_of_its_own)
{
	int fd[2];

	ck_assert_uint_eq(sessions_there(), 0);
	fd[0] = connect_qemu();
	fd[1] = connect_qemu();
	ck_assert_uint_eq(sessions_there(), 1 << 1 | 1 << 2);
	for (int i = 1; i >= 0; i--) {
		send_hello(fd[i]);
		ck_assert_uint_eq(refused(fd[i]), 0);
	}
}
END_TEST

START_TEST(no_more_than_max_sessions_are_served_and_qemu_is_told)
{
	char byte;
	int fd;

	for (int i = 0; i < SESSIONS; i++)
		connect_qemu();
	fd = connect_qemu();
	ck_assert_uint_eq(refused(fd), EBUSY);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
	ck_assert_uint_eq(sessions_there(), 1 << 1 | 1 << 2 | 1 << 3);
}
END_TEST

START_TEST(a_session_that_ended_makes_room_for_another)
{
	int first = connect_qemu(), fd;

	connect_qemu();
	connect_qemu();
	shutdown(first, SHUT_RDWR);
	/* The main loop takes it away. */
	while (sessions_there() & 1 << 1)
		g_main_context_iteration(NULL, TRUE);
	fd = connect_qemu();
	send_hello(fd);
	ck_assert_uint_eq(refused(fd), 0);
	ck_assert_uint_eq(sessions_there(), 1 << 2 | 1 << 3 | 1 << 4);
}
END_TEST

START_TEST(a_connection_beyond_the_daemons_descriptors_is_refused)
{
	char byte;
	int fd;

	link_limit_fds(3);
	fd = connect_qemu();
	ck_assert_uint_eq(refused(fd), EMFILE);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
	ck_assert_uint_eq(sessions_there(), 0);
}
END_TEST

/* The linker leads pvhcad's own calls here (--wrap). */
int __wrap_munmap(void *base, size_t length);
int __real_munmap(void *base, size_t length);

static _Atomic unsigned int unmapped, unmapped_here;
static pthread_t main_thread;

int __wrap_munmap(void *base, size_t length)
{
	if (length == RIG_RAM) {
		unmapped++;
		unmapped_here += pthread_equal(pthread_self(), main_thread);
	}
	return __real_munmap(base, length);
}

START_TEST(guest_memory_is_unmapped_by_the_session_that_had_it)
{
	struct qemu peer = { .fd = connect_qemu() };

	main_thread = pthread_self();
	send_hello(peer.fd);
	ck_assert_uint_eq(refused(peer.fd), 0);
	qemu_ram(&peer);
	qemu_reset(&peer);
	if (_i) {
		sessions_stop();
	} else {
		shutdown(peer.fd, SHUT_RDWR);
		while (sessions_there())
			g_main_context_iteration(NULL, TRUE);
	}
	ck_assert_uint_eq(unmapped, 1);
	ck_assert_uint_eq(unmapped_here, 0);
	__real_munmap(peer.ram, RIG_RAM);
	close(peer.ram_fd);
}
END_TEST

START_TEST(stopping_ends_all_and_waits_for_them)
{
	int fd[SESSIONS];
	char byte;

	for (int i = 0; i < SESSIONS; i++)
		fd[i] = connect_qemu();
	send_hello(fd[1]);
	ck_assert_uint_eq(refused(fd[1]), 0);
	shutdown(fd[2], SHUT_RDWR);
	sessions_stop();
	ck_assert_uint_eq(sessions_there(), 0);
	for (int i = 0; i < SESSIONS; i++)
		ck_assert_int_eq(recv(fd[i], &byte, 1, 0), 0);
	/* What the main loop was asked to take away has gone already. */
	while (g_main_context_iteration(NULL, FALSE))
		;
}
END_TEST

START_TEST(a_name_or_a_uuid_is_served_once)
{
	int fd[SESSIONS];

	for (int i = 0; i < SESSIONS; i++)
		fd[i] = connect_qemu();
	send_hello_of(fd[0], "one", 1);
	ck_assert_uint_eq(refused(fd[0]), 0);
	send_hello_of(fd[1], "one", 2);
	ck_assert_uint_eq(refused(fd[1]), EBUSY);
	send_hello_of(fd[2], "two", 1);
	ck_assert_uint_eq(refused(fd[2]), EBUSY);
}
END_TEST

START_TEST(vms_that_say_nothing_of_themselves_are_different_ones)
{
	int fd[2];

	for (int i = 0; i < 2; i++) {
		fd[i] = connect_qemu();
		send_hello_of(fd[i], "", 0);
		ck_assert_uint_eq(refused(fd[i]), 0);
	}
}
END_TEST

START_TEST(a_vm_has_as_many_adapters_as_it_may)
{
	int fd[SESSIONS];

	sessions_stop();
	rig_configure("[quota]\nadapters=2\n");
	sessions_init(rig.config, &rig.ops, NULL);
	for (int i = 0; i < SESSIONS; i++) {
		fd[i] = connect_qemu();
		send_hello_of(fd[i], "one", 0);
		ck_assert_uint_eq(refused(fd[i]), i < 2 ? 0 : EBUSY);
	}
}
END_TEST

/* Its former session stays until tearing it down has been let go on. */
static GMutex tearing;

static void hold_up(struct vm *vm)
{
	(void)vm;
	g_mutex_lock(&tearing);
	g_mutex_unlock(&tearing);
}

START_TEST(a_qemu_that_comes_again_waits_for_the_end_of_its_former_session)
{
	struct qemu *former = qemu_enabled();
	char byte;
	int fd;

	rig.on_detach = hold_up;
	g_mutex_lock(&tearing);
	fd = connect_qemu();
	shutdown(former->fd, SHUT_RDWR);
	send_hello_of(fd, "guest", 0);
	g_usleep(50000);
	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	g_mutex_unlock(&tearing);
	ck_assert_uint_eq(refused(fd), 0);
	qemu_free(former);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sessions");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_connection_is_a_session_of_its_own);
	tcase_add_test(tc, no_more_than_max_sessions_are_served_and_qemu_is_told);
	tcase_add_test(tc, a_session_that_ended_makes_room_for_another);
	tcase_add_test(tc, a_connection_beyond_the_daemons_descriptors_is_refused);
	tcase_add_loop_test(tc, guest_memory_is_unmapped_by_the_session_that_had_it, 0, 2);
	tcase_add_test(tc, stopping_ends_all_and_waits_for_them);
	tcase_add_test(tc, a_name_or_a_uuid_is_served_once);
	tcase_add_test(tc, vms_that_say_nothing_of_themselves_are_different_ones);
	tcase_add_test(tc, a_vm_has_as_many_adapters_as_it_may);
	tcase_add_test(tc, a_qemu_that_comes_again_waits_for_the_end_of_its_former_session);
	return suite_run("sessions", tc);
}
