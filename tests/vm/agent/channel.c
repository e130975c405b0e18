// SPDX-License-Identifier: GPL-2.0-or-later
/* The virtio-serial port: finding it, and writing whole frames to it. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PORT_PATTERN "/dev/vport*p*"
#define PORT_TRIES \
	10000 /* milliseconds; the port is announced some time after its driver is loaded */

static int channel_fd = -1;

int channel_open(void)
{
	int tries;

	for (tries = 0; tries < PORT_TRIES; tries++) {
		glob_t found;

		if (!glob(PORT_PATTERN, 0, NULL, &found)) {
			channel_fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
			globfree(&found);
			if (channel_fd >= 0)
				return channel_fd;
		}
		poll(NULL, 0, 1);
	}
	return -ENODEV;
}

static void channel_write(const char *data, size_t length)
{
	while (length) {
		ssize_t n = write(channel_fd, data, length);

		if (n < 0) {
			/* Nobody at the other end: the harness reads until it kills this guest. */
			if (errno != EINTR && errno != EAGAIN)
				return;
			poll(NULL, 0, 1);
			continue;
		}
		data += n;
		length -= (size_t)n;
	}
}

void channel_send(uint32_t type, uint32_t id, const void *data, size_t length)
{
	static char buffer[sizeof(struct frame) + 65536];
	struct frame header = {
		.magic = FRAME_MAGIC,
		.type = type,
		.id = id,
		.length = (uint32_t)length,
	};

	memcpy(buffer, &header, sizeof(header));
	if (length)
		memcpy(buffer + sizeof(header), data, length);
	channel_write(buffer, sizeof(header) + length);
}

void channel_done(uint32_t id, enum done_kind kind, uint32_t value)
{
	const uint32_t payload[2] = { kind, value };

	channel_send(FRAME_DONE, id, payload, sizeof(payload));
}
