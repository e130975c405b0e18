// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/ready.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"

#define READY "READY=1"

static int ready_send(const char *path, size_t len)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, ret = 0;

	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, READY, strlen(READY), MSG_NOSIGNAL, (struct sockaddr *)&address,
		   offsetof(struct sockaddr_un, sun_path) + len) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

void ready_tell(void)
{
	const char *path = g_getenv("NOTIFY_SOCKET");
	int ret = -ENAMETOOLONG;

	if (!path || !path[0])
		return;
	if (strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path))
		ret = ready_send(path, strlen(path));
	if (ret)
		g_warning("cannot tell %s that pvhcad is ready: %s", path, log_strerror(-ret));
}
