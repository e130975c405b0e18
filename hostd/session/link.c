// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A message is read in two steps, header and payload, never beyond its end; so
 * descriptors in the ancillary data always belong to the message being read.
 * They must come with its first byte. The buffer for ancillary data holds
 * PVHCA_LINK_MAX_FDS; of more, the kernel installs none beyond that and says that it
 * cut them, which is a protocol error.
 */
#include "session/link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/calls.h"

CALLS("recvmsg sendto");

#define HEADER sizeof(struct pvhca_link_header)

/* Messages that QEMU may send. Size 0: there is no such message. */
static const struct {
	uint32_t size;
	uint32_t min_fds;
	uint32_t max_fds;
} link_types[] = {
	[PVHCA_LINK_HELLO] = { sizeof(struct pvhca_link_hello), 0, 0 },
	[PVHCA_LINK_EVENT_FDS] = { sizeof(struct pvhca_link_event_fds), 1, PVHCA_LINK_MAX_FDS },
	[PVHCA_LINK_MEM_ADD] = { sizeof(struct pvhca_link_mem), 1, 1 },
	[PVHCA_LINK_MEM_DEL] = { sizeof(struct pvhca_link_mem), 0, 0 },
	[PVHCA_LINK_ENABLE] = { sizeof(struct pvhca_link_enable), 0, 0 },
	[PVHCA_LINK_RESET] = { sizeof(struct pvhca_link_reset), 0, 0 },
};
#define LINK_TYPES (sizeof(link_types) / sizeof(link_types[0]))

static int link_fd_limit = INT_MAX;

void link_limit_fds(int limit)
{
	link_fd_limit = limit;
}

bool link_fd_fits(int fd)
{
	return fd < link_fd_limit;
}

static void link_close_fds(struct link_message *message)
{
	for (unsigned int i = 0; i < message->num_fds; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	message->num_fds = 0;
}

void link_init(struct link *link, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	memset(link, 0, sizeof(*link));
	link->fd = fd;
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void link_fini(struct link *link)
{
	link_close_fds(&link->message);
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

/* Take descriptors out of ancillary data; all of them, so that none is lost. */
static bool link_take_fds(struct link_message *message, struct msghdr *msg)
{
	bool fit = !(msg->msg_flags & MSG_CTRUNC);
	struct cmsghdr *cmsg;
	unsigned int count;
	int fd;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (unsigned int i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (message->num_fds < PVHCA_LINK_MAX_FDS && link_fd_fits(fd)) {
				message->fds[message->num_fds++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* Read up to the end of the header or payload: bytes, 0 at end of stream, or a negative errno. */
static ssize_t link_read(struct link *link, void *to, size_t len, const char **reason)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(PVHCA_LINK_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	unsigned int before = link->message.num_fds;
	ssize_t n;

	do {
		n = recvmsg(link->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (!link_take_fds(&link->message, &msg)) {
		*reason = "more descriptors than a message, or pvhcad, may have";
		return -EPROTO;
	}
	if (link->have && link->message.num_fds != before) {
		*reason = "descriptors inside a message";
		return -EPROTO;
	}
	return n;
}

/* Check the header of a message. NULL, or a phrase that tells the error. */
static const char *link_check_header(const struct pvhca_link_header *header, unsigned int num_fds)
{
	if (header->magic != PVHCA_LINK_MAGIC)
		return "wrong magic number";
	if (header->reserved)
		return "reserved field of the header is not zero";
	if (header->type >= LINK_TYPES || !link_types[header->type].size)
		return "unknown message type";
	if (header->size != link_types[header->type].size)
		return "wrong payload size";
	if (num_fds < link_types[header->type].min_fds ||
	    num_fds > link_types[header->type].max_fds)
		return "wrong number of descriptors";
	return NULL;
}

/* One step: 1 when a message is complete, 0 to go on, or a negative errno. */
static int link_step(struct link *link, const char **reason)
{
	size_t end = link->have < HEADER ? HEADER : HEADER + link->header.size;
	uint8_t *to = link->have < HEADER ? (uint8_t *)&link->header + link->have :
					    link->message.raw + (link->have - HEADER);
	ssize_t n;

	n = link_read(link, to, end - link->have, reason);
	if (n < 0)
		return n;
	if (!n)
		return -ECONNRESET;
	link->have += n;
	if (link->have < end)
		return 0;
	if (end > HEADER)
		return 1;
	*reason = link_check_header(&link->header, link->message.num_fds);
	if (*reason)
		return -EPROTO;
	link->message.type = link->header.type;
	link->message.size = link->header.size;
	return 0;
}

int link_receive(struct link *link, unsigned int max,
		 int (*handler)(void *arg, struct link_message *message), void *arg,
		 const char **reason)
{
	int ret;

	*reason = NULL;
	while (max) {
		ret = link_step(link, reason);
		if (ret == -EAGAIN || ret == -EWOULDBLOCK)
			return 0;
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		ret = handler(arg, &link->message);
		link_close_fds(&link->message);
		link->have = 0;
		if (ret)
			return ret;
		max--;
	}
	return 0;
}

int link_flush(struct link *link)
{
	ssize_t n;

	while (link->out_used) {
		n = send(link->fd, link->out, link->out_used, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		link->out_used -= n;
		memmove(link->out, link->out + n, link->out_used);
	}
	return 0;
}

int link_send(struct link *link, uint32_t type, const void *payload, uint32_t size)
{
	struct pvhca_link_header header = {
		.magic = PVHCA_LINK_MAGIC,
		.type = type,
		.size = size,
	};

	if (sizeof(link->out) - link->out_used < HEADER + size)
		return -ENOBUFS;
	memcpy(link->out + link->out_used, &header, HEADER);
	memcpy(link->out + link->out_used + HEADER, payload, size);
	link->out_used += HEADER + size;
	return link_flush(link);
}
