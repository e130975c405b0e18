// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "sandbox/sandbox.h"
#include "suite.h"

/* A call, and its arguments. */
struct attempt {
	const char *name;
	long call, a, b, c, d;
};

/* What became of a child that made a call behind the filter. */
static int status_of(const struct attempt *attempt, const char *fabric)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		if (!sandbox_filter(fabric))
			_exit(99);
		syscall(attempt->call, attempt->a, attempt->b, attempt->c, attempt->d, 0, 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static const struct attempt forbidden[] = {
	{ "execve", SYS_execve, (long)"/bin/true", 0, 0, 0 },
	{ "openat to write", SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR, 0 },
	{ "openat of a new file", SYS_openat, AT_FDCWD, (long)"/nonexistent/x", O_CREAT, 0600 },
	{ "openat2", SYS_openat2, AT_FDCWD, (long)"/", 0, 0 },
	{ "a process", SYS_clone, SIGCHLD, 0, 0, 0 },
	{ "socket(AF_INET)", SYS_socket, AF_INET, SOCK_STREAM, 0, 0 },
	{ "socket(AF_NETLINK)", SYS_socket, AF_NETLINK, SOCK_RAW, 0, 0 },
	{ "ptrace", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0 },
	{ "process_vm_readv", SYS_process_vm_readv, 1, 0, 0, 0 },
	{ "kill", SYS_kill, 0, 0, 0, 0 },
	{ "ioctl", SYS_ioctl, 0, 0, 0, 0 },
	{ "mmap of code", SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS },
	{ "mprotect to code", SYS_mprotect, 0, 4096, PROT_EXEC, 0 },
	{ "setuid", SYS_setuid, 0, 0, 0, 0 },
	{ "capset", SYS_capset, 0, 0, 0, 0 },
	{ "prctl", SYS_prctl, 4, 1, 0, 0 },
	{ "mount", SYS_mount, 0, 0, 0, 0 },
	{ "unshare", SYS_unshare, 0, 0, 0, 0 },
	{ "bpf", SYS_bpf, 0, 0, 0, 0 },
	{ "io_uring_setup", SYS_io_uring_setup, 1, 0, 0, 0 },
};

START_TEST(what_pvhcad_does_not_need_ends_it)
{
	int status = status_of(&forbidden[_i], "loopback");

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %#x",
		      forbidden[_i].name, status);
}
END_TEST

static const struct attempt allowed[] = {
	{ "openat to read", SYS_openat, AT_FDCWD, (long)"/etc/passwd", O_RDONLY | O_CLOEXEC, 0 },
	{ "socket(AF_UNIX)", SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0 },
	{ "mmap", SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS },
	{ "getpid", SYS_getpid, 0, 0, 0, 0 },
};

START_TEST(what_it_needs_goes_on)
{
	ck_assert_int_eq(status_of(&allowed[_i], "loopback"), 0);
}
END_TEST

static void *thread_main(void *arg)
{
	return arg;
}

START_TEST(threads_are_made_behind_it)
{
	pthread_t thread;
	int status;

	if (!fork()) {
		sandbox_filter("loopback");
		_exit(pthread_create(&thread, NULL, thread_main, NULL) ||
		      pthread_join(thread, NULL));
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(under_valgrind_there_is_none)
{
	const struct attempt attempt = { "kill", SYS_kill, 0, 0, 0, 0 };

	setenv("LD_PRELOAD", "/usr/libexec/valgrind/vgpreload_core-amd64-linux.so", 1);
	ck_assert_int_eq(status_of(&attempt, "loopback"), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("filter");

	log_init("error");
	tcase_add_loop_test(tc, what_pvhcad_does_not_need_ends_it, 0, G_N_ELEMENTS(forbidden));
	tcase_add_loop_test(tc, what_it_needs_goes_on, 0, G_N_ELEMENTS(allowed));
	tcase_add_test(tc, threads_are_made_behind_it);
	tcase_add_test(tc, under_valgrind_there_is_none);
	return suite_run("filter", tc);
}
