// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Another daemon could start between the check that a socket is stale and its
 * replacement. So a daemon first locks a file beside the path, and holds the lock
 * while it listens. The lock file stays.
 */
#include "lib/calls.h"
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

/* A socket is made when settings are read again; its path is looked at, and its lock taken. */
CALLS("connect accept4 bind listen unlink unlinkat stat lstat chmod fchmodat "
      "chown lchown fchownat flock mkdir mkdirat umask");

#define LISTENER_BACKLOG 64

struct listener {
	int fd;
	int lock_fd;
	struct sockaddr_un address;
	struct listener_access access;
	dev_t dev; /* of the socket we made */
	ino_t ino;
};

static struct {
	uint32_t user, group;
} listener_owner = { LISTENER_NOBODY, LISTENER_NOBODY };

void listener_set_owner(uint32_t user, uint32_t group)
{
	listener_owner.user = user;
	listener_owner.group = group;
}

static void listener_make_directory(const char *path)
{
	char *directory = g_path_get_dirname(path);

	if (!mkdir(directory, 0755)) {
		if (lchown(directory, listener_owner.user, listener_owner.group))
			g_warning("%s: %s", directory, log_strerror(errno));
	} else if (errno != EEXIST) {
		g_warning("%s: %s", directory, log_strerror(errno));
	}
	g_free(directory);
}

/* The lock's descriptor, or a negative errno. EADDRINUSE: another process has it. */
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
	/* EAGAIN: its queue of connections is full, so a daemon listens. */
	if (!ret || errno == EAGAIN)
		ret = -EADDRINUSE;
	else
		ret = errno == ECONNREFUSED ? 0 : -errno;
	close(fd);
	return ret;
}

/* Remove the socket of a daemon that has ended. */
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

/* Is that what stands at the path still ours? */
static bool listener_is_ours(const struct listener *listener)
{
	struct stat st;

	return !lstat(listener->address.sun_path, &st) && st.st_dev == listener->dev &&
		st.st_ino == listener->ino;
}

/* The owner first: a change of it takes bits of the mode away. */
static int listener_apply(const char *path, const struct listener_access *access)
{
	uint32_t owner = access->owner != LISTENER_NOBODY ? access->owner : listener_owner.user;
	uint32_t group = access->group != LISTENER_NOBODY ? access->group : listener_owner.group;

	if ((owner != LISTENER_NOBODY || group != LISTENER_NOBODY) && lchown(path, owner, group))
		return -errno;
	return chmod(path, access->mode) ? -errno : 0;
}

static int listener_bind(struct listener *listener, const struct listener_access *access)
{
	const struct sockaddr_un *address = &listener->address;
	struct stat st;
	mode_t mask;
	int ret;

	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return -errno;
	/* No connection is possible before the mode is right. */
	mask = umask(0777);
	ret = bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	umask(mask);
	if (ret)
		goto err_close;
	ret = lstat(address->sun_path, &st) ? -errno : listener_apply(address->sun_path, access);
	if (!ret && listen(listener->fd, LISTENER_BACKLOG))
		ret = -errno;
	if (ret)
		goto err_unlink;
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	listener->access = *access;
	return 0;

err_unlink:
	unlink(address->sun_path);
err_close:
	close(listener->fd);
	return ret;
}

struct listener *listener_open(const char *path, const struct listener_access *access, int *error)
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
	*error = listener_bind(listener, access);
	if (*error)
		goto err_unlock;
	return listener;

err_unlock:
	close(listener->lock_fd);
err_free:
	g_free(listener);
	return NULL;
}

int listener_set_access(struct listener *listener, const struct listener_access *access)
{
	int ret;

	if (!listener_is_ours(listener))
		return -ENOENT;
	ret = listener_apply(listener->address.sun_path, access);
	if (ret)
		listener_apply(listener->address.sun_path, &listener->access);
	else
		listener->access = *access;
	return ret;
}

void listener_close(struct listener *listener)
{
	if (!listener)
		return;
	if (listener_is_ours(listener))
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
