// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * O_NONBLOCK is a flag of the open file description, which all who have the eventfd
 * share. The other process can take the flag away and fill the count between any two
 * calls of ours, and then read(2) or write(2) waits for ever. So:
 *
 * Nobody reads: to be woken once for each signal, wait with EPOLLET. And nobody writes. The
 * kernel itself signals eventfds without ever waiting, and one way to have it do so is
 * asynchronous I/O (io_submit(2)) with IOCB_FLAG_RESFD: a request that completes at once, here
 * a poll of an eventfd of our own that is always readable, signals the eventfd named by it.
 * That takes some 0.4 us more than write(2).
 *
 * The results of the requests tell nothing, and are thrown away from time to time.
 */
#include "lib/calls.h"
#include "lib/shared_event.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"

CALLS("io_submit io_getevents readlink readlinkat");

/* Requests whose results may wait, how often they are taken away, and how many at a time. */
#define REQUESTS  1024
#define TAKE_EACH 128u
#define RESULTS	  256
/* Each failed attempt takes results away, so that the next one finds room. */
#define ATTEMPTS 100

static aio_context_t shared_event_aio; /* 0: there is none */
static int shared_event_ready = -1;    /* always readable */
static _Atomic unsigned int shared_event_count;

int shared_event_init(void)
{
	int error;

	if (shared_event_aio)
		return 0;
	shared_event_ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (shared_event_ready < 0)
		return -errno;
	if (!syscall(SYS_io_setup, REQUESTS, &shared_event_aio))
		return 0;
	error = errno;
	shared_event_aio = 0;
	close(shared_event_ready);
	return -error;
}

bool shared_event_is_one(int fd)
{
	char path[32], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return !strcmp(target, "anon_inode:[eventfd]");
}

static void throw_results_away(void)
{
	struct io_event results[RESULTS];
	struct timespec none = { 0 };

	syscall(SYS_io_getevents, shared_event_aio, 0, RESULTS, results, &none);
}

static bool signal_by_aio(int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = shared_event_ready,
		.aio_buf = POLLIN,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = fd,
	};
	struct iocb *requests[1] = { &request };

	if (!(atomic_fetch_add_explicit(&shared_event_count, 1, memory_order_relaxed) % TAKE_EACH))
		throw_results_away();
	for (int i = 0; i < ATTEMPTS; i++) {
		if (syscall(SYS_io_submit, shared_event_aio, 1, requests) == 1)
			return true;
		if (errno != EAGAIN)
			break;
		throw_results_away();
	}
	return false;
}

void shared_event_signal(int fd)
{
	static struct log_limit limit;
	struct pollfd room = { .fd = fd, .events = POLLOUT };

	/* Without room who waits for it will be woken anyway. */
	if (shared_event_aio ? !signal_by_aio(fd) : poll(&room, 1, 0) == 1 && eventfd_write(fd, 1))
		log_warning_limited(&limit, "an event is lost: %s", log_strerror(errno));
}
