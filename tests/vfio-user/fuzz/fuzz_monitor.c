// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libFuzzer target: what a monitor may send.
 *
 * An input is a series of chunks, each of a byte that says what it is, a length, and bytes:
 * bytes for the socket as they are; or a whole message, of which the header's size is set
 * right, so that the fuzzer need not find it; with it go descriptors, up to 31 of several
 * kinds. After an input the monitor is gone, and nothing may be left: no descriptor, no
 * memory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

#define CHUNK_MESSAGE  0x80 /* else raw bytes */
#define CHUNK_FDS_MASK 0x1f
#define NUM_KINDS      4

static PvhcaServer server;
static int kinds[NUM_KINDS];
static unsigned int fds_before; /* an input: between them the fuzzer may open a symbolizer's pipes */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void pvhca_log(const char *fmt, ...)
{
	/* What would be logged is made, and not shown. */
	va_list ap;

	va_start(ap, fmt);
	g_free(g_strdup_vprintf(fmt, ap));
	va_end(ap);
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	PvhcaIdentity *identity = &server.device.identity;

	(void)argc;
	(void)argv;
	pvhca_device_init(&server.device, &pvhca_link_transport, pvhca_irqs_raise_config, &server);
	identity->home = "fuzz";
	identity->num_vectors = 10;
	identity->num_doorbells = 4;
	server.link.name = "/nonexistent/pvhcad";
	if (!pvhca_server_init(&server))
		abort();
	kinds[0] = memfd_create("fuzz", MFD_CLOEXEC);
	kinds[1] = eventfd(0, EFD_NONBLOCK);
	kinds[2] = open("/dev/null", O_RDWR);
	kinds[3] = eventfd(0, 0);
	if (ftruncate(kinds[0], 1 << 20))
		abort();
	while (g_main_context_iteration(NULL, FALSE))
		;
	return 0;
}

/* What a monitor left behind, by name. */
static void check_fds(void)
{
	char path[64], name[128];
	unsigned int n = count_fds();

	if (n == fds_before)
		return;
	fprintf(stderr, "%u descriptors, before there were %u\n", n, fds_before);
	for (int fd = 0; fd < 1024; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, name, sizeof(name) - 1);
		if (len > 0)
			fprintf(stderr, "%d: %.*s\n", fd, (int)len, name);
	}
	abort();
}

static void send_chunk(int fd, const void *bytes, size_t len, unsigned int num_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(CHUNK_FDS_MASK * sizeof(int))];
	} control;
	struct iovec iov = { (void *)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (num_fds) {
		struct cmsghdr *cmsg = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		for (unsigned int i = 0; i < num_fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &kinds[i * num_fds % NUM_KINDS],
			       sizeof(int));
	}
	sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A message of command, flags, payload; returns its length. */
static size_t make_message(uint8_t *to, const uint8_t *data, size_t size)
{
	struct vfio_user_header header = {
		.id = size,
		.command = size > 0 ? data[0] : 0,
		.flags = size > 1 ? data[1] & VFIO_USER_NO_REPLY : 0,
	};
	size_t payload = size > 2 ? size - 2 : 0;

	header.size = sizeof(header) + payload;
	memcpy(to, &header, sizeof(header));
	if (payload)
		memcpy(to + sizeof(header), data + 2, payload);
	return header.size;
}

static void serve(int peer)
{
	static uint8_t drain[1 << 16];

	while (g_main_context_iteration(NULL, FALSE))
		while (recv(peer, drain, sizeof(drain), MSG_DONTWAIT) > 0)
			;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t message[sizeof(struct vfio_user_header) + UINT16_MAX];
	int pair[2];

	fds_before = count_fds();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		abort();
	pvhca_server_adopt(&server, pair[0]);
	while (size >= 3) {
		size_t len = data[1] | data[2] << 8;
		uint8_t kind = data[0];

		data += 3;
		size -= 3;
		len = MIN(len, size);
		if (kind & CHUNK_MESSAGE)
			send_chunk(pair[1], message, make_message(message, data, len),
				   kind & CHUNK_FDS_MASK);
		else if (len)
			send_chunk(pair[1], data, len, kind & CHUNK_FDS_MASK);
		data += len;
		size -= len;
		serve(pair[1]);
	}
	close(pair[1]);
	serve(pair[1]);
	pvhca_server_drop(&server);
	check_fds();
	return 0;
}
