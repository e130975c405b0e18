// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Between finding a socket that nobody listens at and replacing it another
 * daemon could start. So whoever wants the path locks a file beside it first, and
 * holds the lock for as long as it listens; the lock file stays.
 */
#include "lib/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"

#define LISTENER_BACKLOG 64

struct listener {
	int fd;
	int lock_fd;
	struct sockaddr_un address;
	dev_t dev; /* of the socket we made */
	ino_t ino;
};

static void listener_make_directory(const char *path)
{
	char *directory = g_path_get_dirname(path);

	if (mkdir(directory, 0755) && errno != EEXIST)
		g_warning("%s: %s", directory, g_strerror(errno));
	g_free(directory);
}

/* The lock's descriptor, or a negative errno; EADDRINUSE: another has it. */
static int listener_lock(const char *path)
{
	char *name = g_strdup_printf("%s.lock", path);
	int ret = 0, fd;

	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		ret = -errno;
	else if (flock(fd, LOCK_EX | LOCK_NB))
		ret = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
	if (ret && fd >= 0)
		close(fd);
	g_free(name);
	return ret ? ret : fd;
}

/* 0 when nobody listens there. */
static int listener_probe(const struct sockaddr_un *address)
{
	int fd, ret;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	/* EAGAIN: its queue of connections is full, so somebody is there. */
	if (!ret || errno == EAGAIN)
		ret = -EADDRINUSE;
	else
		ret = errno == ECONNREFUSED ? 0 : -errno;
	close(fd);
	return ret;
}

/* Remove what a daemon that is gone left. */
static int listener_clear(const struct sockaddr_un *address)
{
	struct stat st;
	int ret;

	if (lstat(address->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	ret = listener_probe(address);
	if (ret)
		return ret;
	return unlink(address->sun_path) ? -errno : 0;
}

static int listener_bind(struct listener *listener, unsigned int mode)
{
	const struct sockaddr_un *address = &listener->address;
	struct stat st;
	mode_t mask;
	int ret;

	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return -errno;
	/* Nobody can connect until the mode is what it shall be. */
	mask = umask(0777);
	ret = bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	umask(mask);
	if (ret)
		goto err_close;
	if (lstat(address->sun_path, &st) || chmod(address->sun_path, mode) ||
	    listen(listener->fd, LISTENER_BACKLOG)) {
		ret = -errno;
		unlink(address->sun_path);
		goto err_close;
	}
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	return 0;

err_close:
	close(listener->fd);
	return ret;
}

struct listener *listener_open(const char *path, unsigned int mode, int *error)
{
	struct listener *listener = g_new0(struct listener, 1);

	listener->address.sun_family = AF_UNIX;
	*error = -ENAMETOOLONG;
	if (strlen(path) >= sizeof(listener->address.sun_path))
		goto err_free;
	strcpy(listener->address.sun_path, path);
	listener_make_directory(path);
	listener->lock_fd = listener_lock(path);
	*error = listener->lock_fd;
	if (listener->lock_fd < 0)
		goto err_free;
	*error = listener_clear(&listener->address);
	if (*error)
		goto err_unlock;
	*error = listener_bind(listener, mode);
	if (*error)
		goto err_unlock;
	return listener;

err_unlock:
	close(listener->lock_fd);
err_free:
	g_free(listener);
	return NULL;
}

void listener_close(struct listener *listener)
{
	struct stat st;

	if (!listener)
		return;
	if (!lstat(listener->address.sun_path, &st) && st.st_dev == listener->dev &&
	    st.st_ino == listener->ino)
		unlink(listener->address.sun_path);
	close(listener->fd);
	close(listener->lock_fd);
	g_free(listener);
}

int listener_fd(const struct listener *listener)
{
	return listener->fd;
}

int listener_accept(struct listener *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	return fd < 0 ? -errno : fd;
}
