// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel log goes to the harness by this channel, in full: a character on an emulated serial console costs a
 * VM exit, so the console shows warnings only.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int kmsg_fd = -1;

int kmsg_open(void)
{
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return kmsg_fd;
}

void kmsg_forward(void)
{
	char record[8192];
	ssize_t n;

	for (;;) {
		n = read(kmsg_fd, record, sizeof(record));
		if (n > 0)
			channel_send(FRAME_KMSG, 0, record, (size_t)n);
		else if (n == 0 ||
			 (errno != EPIPE &&
			  errno != EINTR)) /* EPIPE: records were overwritten unread */
			return;
	}
}
