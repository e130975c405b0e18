// SPDX-License-Identifier: GPL-2.0-or-later
/* One thread, one poll loop: requests, the kernel log, and the output of every running command. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_INTERVAL 30 /* milliseconds between looks for a listener */

enum { FD_CHANNEL, FD_KMSG, FD_SIGNAL, FD_JOBS };

static char input[sizeof(struct frame) + FRAME_MAX + 1];
static size_t input_size;

static void reply(uint32_t id, int ret)
{
	channel_done(id, ret < 0 ? DONE_FAILED : DONE_EXITED, (uint32_t)(ret < 0 ? -ret : ret));
}

static int store(const char *payload, size_t length)
{
	const char *path = payload + 2 * sizeof(uint32_t), *data, *end = payload + length;
	uint32_t head[2];
	int fd, ret = 0;

	if (length < sizeof(head) || !(data = memchr(path, 0, (size_t)(end - path))))
		return -EINVAL;
	memcpy(head, payload, sizeof(head));
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (head[1] ? O_APPEND : O_TRUNC), head[0]);
	if (fd < 0)
		return -errno;
	for (data++; !ret && data < end;) {
		ssize_t n = write(fd, data, (size_t)(end - data));

		if (n < 0)
			ret = -errno;
		else
			data += n;
	}
	if (!head[1] && fchmod(fd, head[0]) && !ret)
		ret = -errno;
	close(fd);
	return ret;
}

static int fetch(uint32_t id, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	char chunk[32768];
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		channel_send(FRAME_OUT, id, chunk, (size_t)n);
	if (n < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int load(const char *payload, size_t length)
{
	const char *nul = memchr(payload, 0, length);

	return nul ? boot_load_module(payload, nul + 1) : -EINVAL;
}

/* @payload has a NUL after its @length bytes. */
static void serve(const struct frame *frame, const char *payload)
{
	uint32_t number[2] = { 0, 0 };
	size_t length = frame->length;

	memcpy(number, payload, length < sizeof(number) ? length : sizeof(number));
	switch (frame->type) {
	case FRAME_RUN:
		jobs_run(frame->id, payload, length);
		break;
	case FRAME_INPUT:
		jobs_input(frame->id, payload, length);
		break;
	case FRAME_SIGNAL:
		jobs_signal(frame->id, (int)number[0]);
		break;
	case FRAME_STORE:
		reply(frame->id, store(payload, length));
		break;
	case FRAME_FETCH:
		reply(frame->id, fetch(frame->id, payload));
		break;
	case FRAME_LOAD:
		reply(frame->id, load(payload, length));
		break;
	case FRAME_LISTEN:
		listen_wait(frame->id, (uint16_t)number[0], number[1]);
		break;
	case FRAME_SYNC:
		kmsg_forward();
		reply(frame->id, 0);
		break;
	case FRAME_SWEEP:
		jobs_sweep();
		reply(frame->id, 0);
		break;
	case FRAME_POWER:
		sync();
		reboot(number[0] ? RB_POWER_OFF : RB_AUTOBOOT);
		break;
	default:
		reply(frame->id, -EINVAL);
	}
}

static void receive(int fd)
{
	ssize_t n = read(fd, input + input_size, sizeof(input) - 1 - input_size);
	struct frame frame;
	size_t at = 0;

	if (n <= 0) {
		poll(NULL, 0, 10); /* the harness is gone and this guest will follow */
		return;
	}
	input_size += (size_t)n;
	while (input_size - at >= sizeof(frame)) {
		char *payload = input + at + sizeof(frame), *end, kept;

		memcpy(&frame, input + at, sizeof(frame));
		if (frame.magic != FRAME_MAGIC || frame.length > FRAME_MAX) {
			/* Left over from before a restart: what follows cannot be told apart. */
			input_size = 0;
			return;
		}
		if (input_size - at < sizeof(frame) + frame.length)
			break;
		end = payload + frame.length;
		kept = *end;
		*end = '\0';
		serve(&frame, payload);
		*end = kept;
		at += sizeof(frame) + frame.length;
	}
	memmove(input, input + at, input_size - at);
	input_size -= at;
}

static int children_fd(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	return signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void serve_forever(int channel, int kmsg, int children)
{
	for (;;) {
		size_t count = jobs_poll_count();
		struct pollfd fds[FD_JOBS + count];
		struct signalfd_siginfo ignored;

		fds[FD_CHANNEL] = (struct pollfd){ .fd = channel, .events = POLLIN };
		fds[FD_KMSG] = (struct pollfd){ .fd = kmsg, .events = POLLIN };
		fds[FD_SIGNAL] = (struct pollfd){ .fd = children, .events = POLLIN };
		jobs_poll_fill(fds + FD_JOBS);
		if (poll(fds, FD_JOBS + count, listen_pending() ? LISTEN_INTERVAL : -1) < 0)
			continue;

		jobs_poll_done(fds + FD_JOBS, count);
		if (fds[FD_KMSG].revents)
			kmsg_forward();
		if (fds[FD_SIGNAL].revents) {
			while (read(children, &ignored, sizeof(ignored)) > 0)
				;
			jobs_reap();
		}
		if (fds[FD_CHANNEL].revents)
			receive(channel);
		if (listen_pending())
			listen_check();
	}
}

int main(void)
{
	int channel, children;

	if (getpid() != 1) {
		fputs("This is the first process of a test guest, not a program to start.\n",
		      stderr);
		return 2;
	}
	boot_guest();
	boot_init();
	children = children_fd();
	signal(SIGPIPE, SIG_IGN);
	channel = channel_open();
	if (channel < 0) {
		fputs("vmtest: no virtio-serial port\n", stderr);
		sleep(1);
		reboot(RB_POWER_OFF);
	}
	channel_send(FRAME_HELLO, 0, HELLO_TOKEN, HELLO_TOKEN_SIZE);
	serve_forever(channel, kmsg_open(), children);
}
