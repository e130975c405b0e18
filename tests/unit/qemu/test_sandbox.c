// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"
#include "server.h"
#include "suite.h"

void pvhca_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
}

#define SOCKET_DIR 77 /* a descriptor that the test has not */

/* What became of a child that made a call behind the filter. */
static int status_of(long number, long a, long b, long c, long d)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (!pvhca_sandbox_filter(SOCKET_DIR))
			_exit(99);
		syscall(number, a, b, c, d, 0, 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static const struct {
	const char *name;
	long call, a, b, c, d;
} forbidden[] = {
	{ "execve", SYS_execve, (long)"/bin/true", 0, 0, 0 },
	{ "openat", SYS_openat, AT_FDCWD, (long)"/", O_RDONLY, 0 },
	{ "openat2", SYS_openat2, AT_FDCWD, (long)"/", 0, 0 },
	{ "clone", SYS_clone, SIGCHLD, 0, 0, 0 },
#ifdef SYS_fork /* arm64 has clone() only */
	{ "fork", SYS_fork, 0, 0, 0, 0 },
#endif
	{ "bind", SYS_bind, -1, 0, 0, 0 },
	{ "listen", SYS_listen, -1, 0, 0, 0 },
	{ "socket(AF_INET)", SYS_socket, AF_INET, SOCK_STREAM, 0, 0 },
	{ "socket(AF_NETLINK)", SYS_socket, AF_NETLINK, SOCK_RAW, 0, 0 },
	{ "ptrace", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0 },
	{ "kill", SYS_kill, 0, 0, 0, 0 },
	{ "ioctl", SYS_ioctl, 0, 0, 0, 0 },
	{ "mmap(PROT_EXEC)", SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC,
	  MAP_PRIVATE | MAP_ANONYMOUS },
	{ "mprotect(PROT_EXEC)", SYS_mprotect, 0, 4096, PROT_EXEC, 0 },
	{ "fcntl(F_SETOWN)", SYS_fcntl, 0, F_SETOWN, 0, 0 },
	{ "unlinkat(AT_FDCWD)", SYS_unlinkat, AT_FDCWD, (long)"pvhca-none", 0, 0 },
	{ "unlinkat(other)", SYS_unlinkat, SOCKET_DIR + 1, (long)"pvhca-none", 0, 0 },
	{ "pwrite64", SYS_pwrite64, -1, 0, 0, 0 },
	{ "unshare", SYS_unshare, 0, 0, 0, 0 },
	{ "mount", SYS_mount, 0, 0, 0, 0 },
	{ "setuid", SYS_setuid, 0, 0, 0, 0 },
	{ "prctl", SYS_prctl, 0, 0, 0, 0 },
};

START_TEST(call_that_is_not_listed_kills)
{
	int status = status_of(forbidden[_i].call, forbidden[_i].a, forbidden[_i].b,
			       forbidden[_i].c, forbidden[_i].d);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %#x",
		      forbidden[_i].name, status);
}
END_TEST

static const struct {
	const char *name;
	long call, a, b, c, d;
} allowed[] = {
	{ "read", SYS_read, -1, 0, 0, 0 },
	{ "socket(AF_UNIX)", SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0 },
	{ "connect", SYS_connect, -1, 0, 0, 0 },
	{ "mmap", SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS },
	{ "fcntl(F_DUPFD_CLOEXEC)", SYS_fcntl, 0, F_DUPFD_CLOEXEC, 0, 0 },
	{ "fcntl(F_GETFL)", SYS_fcntl, 0, F_GETFL, 0, 0 },
	{ "unlinkat", SYS_unlinkat, SOCKET_DIR, (long)"pvhca-none", 0, 0 },
	{ "pread64", SYS_pread64, -1, 0, 0, 0 },
	{ "close", SYS_close, -1, 0, 0, 0 },
};

START_TEST(call_that_is_listed_is_made)
{
	int status = status_of(allowed[_i].call, allowed[_i].a, allowed[_i].b, allowed[_i].c,
			       allowed[_i].d);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %#x",
		      allowed[_i].name, status);
}
END_TEST

START_TEST(call_of_another_architecture_kills)
{
#ifdef __x86_64__
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		long ret = 20; /* getpid of i386 */

		if (!pvhca_sandbox_filter(SOCKET_DIR))
			_exit(99);
		__asm__ volatile("int $0x80" : "+a"(ret) : : "memory", "r8", "r9", "r10", "r11");
		_exit(ret == -ENOSYS ? 98 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	/* A kernel without the other architecture ends the process, too. */
	ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 98, "status %#x", status);
#endif
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sandbox");

	tcase_add_loop_test(tc, call_that_is_not_listed_kills, 0, G_N_ELEMENTS(forbidden));
	tcase_add_loop_test(tc, call_that_is_listed_is_made, 0, G_N_ELEMENTS(allowed));
	tcase_add_test(tc, call_of_another_architecture_kills);
	return suite_run("sandbox", tc);
}
