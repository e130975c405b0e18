// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands that the harness runs. Each is a session of its own, so that ending it ends what it started; its output
 * is forwarded as it comes, and it is over when its first process has ended, whoever still holds its pipes.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK 32768

struct job {
	struct job *next;
	uint32_t id;
	pid_t pid;
	int in, out, err; /* -1: closed; on a terminal all three are its master, err is -1 */
	bool close_in;	  /* close @in when @pending is written */
	char *pending;	  /* input that the command has not taken yet */
	size_t pending_size;
};

static struct job *jobs;

struct strings {
	const char *at, *end;
};

/* The next NUL-terminated string of a payload, NULL when there is none. */
static const char *strings_next(struct strings *strings)
{
	const char *string = strings->at;
	const char *nul = memchr(string, 0, (size_t)(strings->end - strings->at));

	if (!nul)
		return NULL;
	strings->at = nul + 1;
	return string;
}

static void jobs_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static struct job *jobs_find(uint32_t id)
{
	struct job *job;

	for (job = jobs; job; job = job->next)
		if (job->id == id)
			return job;
	return NULL;
}

static int jobs_pipes(struct job *job, int child[3])
{
	int in[2], out[2], err[2], ret;

	if (pipe2(in, O_CLOEXEC))
		return -errno;
	ret = pipe2(out, O_CLOEXEC) ? -errno : 0;
	if (ret)
		goto err_in;
	ret = pipe2(err, O_CLOEXEC) ? -errno : 0;
	if (ret)
		goto err_out;
	child[0] = in[0];
	child[1] = out[1];
	child[2] = err[1];
	job->in = in[1];
	job->out = out[0];
	job->err = err[0];
	return 0;

err_out:
	close(out[0]);
	close(out[1]);
err_in:
	close(in[0]);
	close(in[1]);
	return ret;
}

static int jobs_terminal(struct job *job, int child[3])
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	const char *name;

	if (master < 0)
		return -errno;
	if (grantpt(master) || unlockpt(master) || !(name = ptsname(master)) ||
	    (child[0] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		int ret = -errno;

		close(master);
		return ret;
	}
	child[1] = fcntl(child[0], F_DUPFD_CLOEXEC, 3);
	child[2] = fcntl(child[0], F_DUPFD_CLOEXEC, 3);
	job->out = master;
	job->in = fcntl(master, F_DUPFD_CLOEXEC, 3);
	job->err = -1;
	return 0;
}

static void jobs_child(const int child[3], bool terminal, const char *directory, char **argv,
		       char **env)
{
	sigset_t none;
	int fd;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	for (fd = 0; fd < 3; fd++)
		dup2(child[fd], fd);
	if (terminal)
		ioctl(STDIN_FILENO, TIOCSCTTY, 0);
	for (; *env; env++)
		putenv(*env);
	if (chdir(directory))
		dprintf(STDERR_FILENO, "%s: %s\n", directory, strerror(errno));
	else
		execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void jobs_nonblock(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int jobs_start(uint32_t id, uint32_t flags, const char *directory, char **argv, char **env)
{
	struct job *job = calloc(1, sizeof(*job));
	int child[3] = { -1, -1, -1 }, ret, i;

	if (!job)
		return -ENOMEM;
	job->id = id;
	ret = flags & RUN_TERMINAL ? jobs_terminal(job, child) : jobs_pipes(job, child);
	if (ret) {
		free(job);
		return ret;
	}

	job->pid = fork();
	if (!job->pid)
		jobs_child(child, flags & RUN_TERMINAL, directory, argv, env);
	ret = job->pid < 0 ? -errno : 0;
	for (i = 0; i < 3; i++)
		close(child[i]);
	if (ret) {
		jobs_close(&job->in);
		jobs_close(&job->out);
		jobs_close(&job->err);
		free(job);
		return ret;
	}
	jobs_nonblock(job->in);
	jobs_nonblock(job->out);
	jobs_nonblock(job->err);
	job->next = jobs;
	jobs = job;
	return 0;
}

void jobs_run(uint32_t id, const char *payload, size_t length)
{
	struct strings strings = { payload, payload + length };
	const char *directory, *string;
	uint32_t head[3], i, count;
	char **vector;
	int ret = -EINVAL;

	if (length < sizeof(head))
		goto out;
	memcpy(head, payload, sizeof(head));
	strings.at += sizeof(head);
	directory = strings_next(&strings);
	if (!directory || !head[1] || head[1] > length || head[2] > length)
		goto out;
	/* argv and the environment in one vector, each with its NULL. */
	count = head[1] + head[2];
	vector = calloc(count + 2, sizeof(*vector));
	ret = vector ? 0 : -ENOMEM;
	for (i = 0; !ret && i < count; i++) {
		string = strings_next(&strings);
		if (!string)
			ret = -EINVAL;
		vector[i < head[1] ? i : i + 1] = (char *)string;
	}
	if (!ret)
		ret = jobs_start(id, head[0], directory, vector, vector + head[1] + 1);
	free(vector);
out:
	if (ret)
		channel_done(id, DONE_FAILED, (uint32_t)-ret);
}

/* Gives the command what it takes now; the rest stays pending. */
static void jobs_feed(struct job *job)
{
	while (job->pending_size) {
		ssize_t n = write(job->in, job->pending, job->pending_size);

		if (n < 0) {
			if (errno == EAGAIN)
				return;
			job->pending_size = 0;
			jobs_close(&job->in);
			return;
		}
		job->pending_size -= (size_t)n;
		memmove(job->pending, job->pending + n, job->pending_size);
	}
	if (job->close_in)
		jobs_close(&job->in);
}

void jobs_input(uint32_t id, const char *data, size_t length)
{
	struct job *job = jobs_find(id);
	char *grown;

	if (!job || job->in < 0)
		return;
	if (!length)
		job->close_in = true;
	grown = realloc(job->pending, job->pending_size + length + 1);
	if (!grown)
		return;
	job->pending = grown;
	memcpy(grown + job->pending_size, data, length);
	job->pending_size += length;
	jobs_feed(job);
}

void jobs_signal(uint32_t id, int number)
{
	struct job *job = jobs_find(id);

	if (job)
		kill(-job->pid, number);
}

/* Forwards one chunk; false at the end of the stream, and when there is nothing to read now. */
static bool jobs_forward(struct job *job, int *fd, uint32_t type)
{
	char chunk[CHUNK];
	ssize_t n;

	if (*fd < 0)
		return false;
	n = read(*fd, chunk, sizeof(chunk));
	if (n > 0) {
		channel_send(type, job->id, chunk, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		jobs_close(fd);
	return false;
}

static void jobs_end(struct job *job, int status)
{
	struct job **link = &jobs;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;

	while (jobs_forward(job, &job->out, FRAME_OUT))
		;
	while (jobs_forward(job, &job->err, FRAME_ERR))
		;
	if (WIFSIGNALED(status))
		channel_done(job->id, DONE_SIGNALLED, (uint32_t)WTERMSIG(status));
	else
		channel_done(job->id, DONE_EXITED, (uint32_t)WEXITSTATUS(status));
	jobs_close(&job->in);
	jobs_close(&job->out);
	jobs_close(&job->err);
	free(job->pending);
	free(job);
}

/* Every orphan of the guest ends up here too: this is its process 1. */
void jobs_reap(void)
{
	struct job *job;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (job = jobs; job && job->pid != pid; job = job->next)
			;
		if (job)
			jobs_end(job, status);
	}
}

void jobs_sweep(void)
{
	kill(-1, SIGKILL); /* which spares the caller and kernel threads */
}

size_t jobs_poll_count(void)
{
	struct job *job;
	size_t count = 0;

	for (job = jobs; job; job = job->next)
		count += 3;
	return count;
}

void jobs_poll_fill(struct pollfd *fds)
{
	struct job *job;

	for (job = jobs; job; job = job->next) {
		*fds++ = (struct pollfd){ .fd = job->out, .events = POLLIN };
		*fds++ = (struct pollfd){ .fd = job->err, .events = POLLIN };
		*fds++ = (struct pollfd){ .fd = job->pending_size ? job->in : -1,
					  .events = POLLOUT };
	}
}

/* @fds as jobs_poll_fill left it: no job may come or go in between. */
void jobs_poll_done(const struct pollfd *fds, size_t count)
{
	struct job *job;

	for (job = jobs; job && count >= 3; job = job->next, fds += 3, count -= 3) {
		if (fds[0].revents)
			jobs_forward(job, &job->out, FRAME_OUT);
		if (fds[1].revents)
			jobs_forward(job, &job->err, FRAME_ERR);
		if (fds[2].revents)
			jobs_feed(job);
	}
}
