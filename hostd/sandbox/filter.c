// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The filter of system calls (seccomp): what the lists name, and here what is allowed for one
 * purpose only. Any other call ends the process: it is not pvhcad's own code that makes it.
 *
 * It is installed when all that is needed only once is done: libraries are loaded, sockets are made, threads
 * run. It reaches all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <glib.h>

#include "lib/calls.h"
#include "lib/log.h"
#include "sandbox/sandbox.h"

#ifdef PVHCA_NO_SANDBOX
bool sandbox_filter(const char *fabric)
{
	(void)fabric;
	return true;
}
#else

/* All of pvhcad: the C library, GLib, liburcu. */
CALLS("brk munmap mremap madvise futex clock_gettime clock_nanosleep nanosleep getpid gettid tgkill "
      "exit exit_group rt_sigaction rt_sigprocmask rt_sigreturn restart_syscall rseq set_robust_list "
      "set_tid_address getrandom sched_yield membarrier read write close fcntl poll ppoll "
      "fstat newfstatat lseek rt_sigtimedwait getuid geteuid getgid getegid");

/* The linker's names for the ends of the section. */
extern const struct calls *const __start_pvhcad_calls[], *const __stop_pvhcad_calls[];

/* ---------------------------------- the lists ------------------------------ */

static bool filter_allow(scmp_filter_ctx filter, const char *name, bool here)
{
	int call = seccomp_syscall_resolve_name(name), ret;

	if (call == __NR_SCMP_ERROR)
		return false;
	/* This architecture has no such call, or another fabric makes it. */
	if (call < 0 || !here)
		return true;
	ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
	return !ret || ret == -EEXIST;
}

static bool filter_allow_list(scmp_filter_ctx filter, const struct calls *list, const char *fabric)
{
	bool here = !list->fabric || !strcmp(list->fabric, fabric), done = true;
	char **words = g_strsplit(list->names, " ", -1);

	for (char **word = words; done && *word; word++) {
		done = filter_allow(filter, *word, here);
		if (!done)
			g_critical("no filter of system calls: \"%s\" is unknown", *word);
	}
	g_strfreev(words);
	return done;
}

static bool filter_allow_lists(scmp_filter_ctx filter, const char *fabric)
{
	const struct calls *const *list;

	for (list = __start_pvhcad_calls; list < __stop_pvhcad_calls; list++)
		if (!filter_allow_list(filter, *list, fabric))
			return false;
	return true;
}

/* --------------------------- for one purpose only -------------------------- */

struct rule {
	int call;
	struct scmp_arg_cmp arg;
};

static bool filter_allow_some(scmp_filter_ctx filter)
{
	const struct rule rules[] = {
		/* No code comes into the process any more. */
		{ SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
		{ SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
		/* Threads, no processes. */
		{ SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD) },
		/* Their names. */
		{ SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME) },
		/* Whether a daemon listens at the path of a new socket. */
		{ SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX) },
		/* Settings are read again; a descriptor's path. */
		{ SCMP_SYS(openat),
		  SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY) },
		/* The lock beside a new socket: listener_lock(). */
		{ SCMP_SYS(openat),
		  SCMP_A2(SCMP_CMP_EQ, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW) },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
		if (seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call, 1,
					   &rules[i].arg) < 0)
			return false;
	/* The C library takes clone(2) then, whose flags can be seen. */
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) >= 0;
}

/* -------------------------------- installation ----------------------------- */

static bool filter_load(const char *fabric)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret = -ENOMEM;

	if (!filter)
		goto out;
	if (filter_allow_lists(filter, fabric) && filter_allow_some(filter) &&
	    !seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1))
		ret = seccomp_load(filter);
	seccomp_release(filter);
out:
	if (ret)
		g_critical("no filter of system calls: %s", log_strerror(-ret));
	return !ret;
}

/* Some of what the C library keeps is read once, at its first use. */
static void filter_warm_up(void)
{
	struct account account;

	(void)g_strerror(EIO);
	(void)account_user(SANDBOX_USER, &account);
}

bool sandbox_filter(const char *fabric)
{
	const char *preload = getenv("LD_PRELOAD");

	if (preload && strstr(preload, "vgpreload")) {
		g_message("no filter of system calls under valgrind");
		return true;
	}
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) {
		g_warning("no filter of system calls: the kernel has none, or this is qemu-user");
		return true;
	}
	filter_warm_up();
	return filter_load(fabric);
}
#endif
