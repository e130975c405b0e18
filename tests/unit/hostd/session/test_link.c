// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/link.h"
#include "suite.h"

static struct link link_;
static int peer;
static int fds_before;
static const char *reason;

static struct {
	unsigned int count;
	uint32_t type;
	unsigned int num_fds;
	int keep; /* take the first descriptor over */
	int answer;
} got;

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void setup(void)
{
	int pair[2];

	fds_before = count_fds();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	link_init(&link_, pair[0]);
	peer = pair[1];
	memset(&got, 0, sizeof(got));
	got.keep = -1;
}

/* Whatever happened, no descriptor is left. */
static void teardown(void)
{
	link_fini(&link_);
	close(peer);
	ck_assert_int_eq(count_fds(), fds_before);
}

static int handle(void *arg, struct link_message *message)
{
	ck_assert_ptr_eq(arg, &got);
	got.count++;
	got.type = message->type;
	got.num_fds = message->num_fds;
	if (got.keep == 0) {
		got.keep = message->fds[0];
		message->fds[0] = -1;
	}
	return got.answer;
}

static int receive(unsigned int max)
{
	return link_receive(&link_, max, handle, &got, &reason);
}

static void send_bytes(const void *bytes, size_t n, unsigned int num_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(16 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)bytes, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[16];

	for (unsigned int i = 0; i < num_fds; i++)
		fds[i] = STDIN_FILENO;
	if (num_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, num_fds * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(peer, &msg, MSG_NOSIGNAL), n);
}

static size_t make(uint8_t *to, uint32_t type, uint32_t size)
{
	struct pvhca_link_header header = {
		.magic = PVHCA_LINK_MAGIC,
		.type = type,
		.size = size,
	};

	memcpy(to, &header, sizeof(header));
	memset(to + sizeof(header), 0, size);
	return sizeof(header) + size;
}

static const struct {
	uint32_t type, size, min_fds, max_fds;
} types[] = {
	{ PVHCA_LINK_HELLO, 152, 0, 0 },  { PVHCA_LINK_EVENT_FDS, 16, 1, 8 },
	{ PVHCA_LINK_MEM_ADD, 32, 1, 1 }, { PVHCA_LINK_MEM_DEL, 32, 0, 0 },
	{ PVHCA_LINK_ENABLE, 16, 0, 0 },  { PVHCA_LINK_RESET, 8, 0, 0 },
};
#define TYPES (int)(sizeof(types) / sizeof(types[0]))

START_TEST(each_type_has_its_size_and_its_descriptors)
{
	uint8_t bytes[600];
	size_t n = make(bytes, types[_i].type, types[_i].size);

	for (unsigned int fds = 0; fds <= 8; fds++) {
		bool fits = fds >= types[_i].min_fds && fds <= types[_i].max_fds;

		send_bytes(bytes, n, fds);
		got.count = 0;
		ck_assert_int_eq(receive(10), fits ? 0 : -EPROTO);
		ck_assert_uint_eq(got.count, fits);
		if (fits) {
			ck_assert_uint_eq(got.type, types[_i].type);
			ck_assert_uint_eq(got.num_fds, fds);
		} else {
			ck_assert_ptr_nonnull(reason);
			teardown();
			setup();
		}
	}
}
END_TEST

START_TEST(other_sizes_are_refused)
{
	uint8_t bytes[600];

	for (int delta = -1; delta <= 1; delta += 2) {
		size_t n = make(bytes, types[_i].type, types[_i].size + delta);

		send_bytes(bytes, n, types[_i].min_fds);
		ck_assert_int_eq(receive(10), -EPROTO);
		ck_assert_uint_eq(got.count, 0);
		teardown();
		setup();
	}
}
END_TEST

START_TEST(a_message_may_come_byte_by_byte)
{
	uint8_t bytes[600];
	size_t n = make(bytes, types[_i].type, types[_i].size);

	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(got.count, 0);
		send_bytes(&bytes[i], 1, i ? 0 : types[_i].min_fds);
		ck_assert_int_eq(receive(10), 0);
	}
	ck_assert_uint_eq(got.count, 1);
	ck_assert_uint_eq(got.num_fds, types[_i].min_fds);
}
END_TEST

START_TEST(descriptors_must_come_with_the_first_byte)
{
	uint8_t bytes[600];
	size_t n = make(bytes, PVHCA_LINK_MEM_ADD, 32);

	send_bytes(bytes, 1, 0);
	ck_assert_int_eq(receive(10), 0);
	send_bytes(bytes + 1, n - 1, 1);
	ck_assert_int_eq(receive(10), -EPROTO);
}
END_TEST

START_TEST(more_descriptors_than_fit_are_refused)
{
	uint8_t bytes[600];
	size_t n = make(bytes, PVHCA_LINK_EVENT_FDS, 16);

	send_bytes(bytes, n, 9);
	ck_assert_int_eq(receive(10), -EPROTO);
}
END_TEST

START_TEST(messages_that_come_together_keep_their_own_descriptors)
{
	uint8_t bytes[600];
	size_t n = make(bytes, PVHCA_LINK_RESET, 8);

	send_bytes(bytes, n, 0);
	n = make(bytes, PVHCA_LINK_MEM_ADD, 32);
	send_bytes(bytes, n, 1);
	n = make(bytes, PVHCA_LINK_RESET, 8);
	send_bytes(bytes, n, 0);
	ck_assert_int_eq(receive(1), 0);
	ck_assert_uint_eq(got.num_fds, 0);
	ck_assert_int_eq(receive(1), 0);
	ck_assert_uint_eq(got.num_fds, 1);
	ck_assert_int_eq(receive(1), 0);
	ck_assert_uint_eq(got.num_fds, 0);
	ck_assert_uint_eq(got.count, 3);
}
END_TEST

START_TEST(a_handler_may_keep_a_descriptor)
{
	uint8_t bytes[600];
	size_t n = make(bytes, PVHCA_LINK_EVENT_FDS, 16);

	got.keep = 0;
	send_bytes(bytes, n, 3);
	ck_assert_int_eq(receive(10), 0);
	ck_assert_int_ge(fcntl(got.keep, F_GETFD), 0);
	ck_assert(fcntl(got.keep, F_GETFD) & FD_CLOEXEC);
	close(got.keep);
}
END_TEST

START_TEST(what_the_handler_returns_ends_it)
{
	uint8_t bytes[600];
	size_t n = make(bytes, PVHCA_LINK_EVENT_FDS, 16);

	got.answer = -EXDEV;
	send_bytes(bytes, n, 3);
	send_bytes(bytes, n, 3);
	ck_assert_int_eq(receive(10), -EXDEV);
	ck_assert_uint_eq(got.count, 1);
}
END_TEST

START_TEST(end_of_stream_is_told_also_inside_a_message)
{
	uint8_t bytes[600];

	make(bytes, PVHCA_LINK_MEM_ADD, 32);
	send_bytes(bytes, 20, 1);
	shutdown(peer, SHUT_WR);
	ck_assert_int_eq(receive(10), -ECONNRESET);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_found_out)
{
	struct pvhca_link_reply reply = { .id = 1 };
	int ret = 0;

	for (int i = 0; i < 1000000 && !ret; i++)
		ret = link_send(&link_, PVHCA_LINK_RESET_REPLY, &reply, sizeof(reply));
	ck_assert_int_eq(ret, -ENOBUFS);
}
END_TEST

START_TEST(what_is_kept_is_sent_later_and_whole)
{
	struct pvhca_link_reply reply = { 0 };
	struct pvhca_link_header header;
	uint64_t sent = 0, received = 0;

	while (!link_wants_write(&link_)) {
		reply.id = sent++;
		ck_assert_int_eq(link_send(&link_, PVHCA_LINK_FATAL, &reply, sizeof(reply)), 0);
	}
	while (received < sent) {
		ck_assert_int_eq(recv(peer, &header, sizeof(header), MSG_WAITALL), sizeof(header));
		ck_assert_uint_eq(header.magic, PVHCA_LINK_MAGIC);
		ck_assert_uint_eq(header.type, PVHCA_LINK_FATAL);
		ck_assert_int_eq(recv(peer, &reply, sizeof(reply), MSG_WAITALL), sizeof(reply));
		ck_assert_uint_eq(reply.id, received++);
		ck_assert_int_eq(link_flush(&link_), 0);
	}
	ck_assert(!link_wants_write(&link_));
}
END_TEST

START_TEST(sending_to_who_is_gone_is_an_error_and_no_signal)
{
	struct pvhca_link_reply reply = { 0 };

	shutdown(peer, SHUT_RDWR);
	ck_assert_int_eq(link_send(&link_, PVHCA_LINK_FATAL, &reply, sizeof(reply)), -EPIPE);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("link");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, each_type_has_its_size_and_its_descriptors, 0, TYPES);
	tcase_add_loop_test(tc, other_sizes_are_refused, 0, TYPES);
	tcase_add_loop_test(tc, a_message_may_come_byte_by_byte, 0, TYPES);
	tcase_add_test(tc, descriptors_must_come_with_the_first_byte);
	tcase_add_test(tc, more_descriptors_than_fit_are_refused);
	tcase_add_test(tc, messages_that_come_together_keep_their_own_descriptors);
	tcase_add_test(tc, a_handler_may_keep_a_descriptor);
	tcase_add_test(tc, what_the_handler_returns_ends_it);
	tcase_add_test(tc, end_of_stream_is_told_also_inside_a_message);
	tcase_add_test(tc, a_peer_that_does_not_read_is_found_out);
	tcase_add_test(tc, what_is_kept_is_sent_later_and_whole);
	tcase_add_test(tc, sending_to_who_is_gone_is_an_error_and_no_signal);
	return suite_run("link", tc);
}
