// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Limits are raised and sockets made while pvhcad may still do so; then it becomes a user of its
 * own. What it needs of root afterwards it has by limits: RLIMIT_MEMLOCK in place of CAP_IPC_LOCK,
 * RLIMIT_NICE in place of CAP_SYS_NICE.
 */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"

#define MAX_GROUPS 64
#define MAX_NICE   40 /* of RLIMIT_NICE: a nice value of -20 */

/* --------------------------------- the user -------------------------------- */

bool sandbox_find_user(uint32_t wanted, struct account *account)
{
	char number[16];

	*account = (struct account){ .user = geteuid(), .group = getegid() };
#ifdef PVHCA_NO_SANDBOX
	(void)wanted;
	(void)number;
	return true;
#else
	if (geteuid()) {
		if (wanted == SANDBOX_UNSET || wanted == geteuid())
			return true;
		g_critical("only root can become the user %u (user=)", wanted);
		return false;
	}
	if (wanted == SANDBOX_UNSET) {
		if (account_user(SANDBOX_USER, account))
			return true;
		wanted = SANDBOX_NOBODY;
	}
	if (!wanted)
		g_warning("it stays root, as user= says");
	snprintf(number, sizeof(number), "%u", wanted);
	return account_user(number, account);
#endif
}

/* ---------------------------------- limits --------------------------------- */

static bool sandbox_has(int capability)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return !syscall(SYS_capget, &header, data) &&
		data[CAP_TO_INDEX(capability)].permitted & CAP_TO_MASK(capability);
}

/* To max, or as far as it goes. */
static void sandbox_raise(__rlimit_resource_t resource, rlim_t max, const char *name)
{
	struct rlimit limit, most = { max, max };

	if (getrlimit(resource, &limit) || limit.rlim_cur >= max || !setrlimit(resource, &most))
		return;
	limit.rlim_cur = limit.rlim_max < max ? limit.rlim_max : max;
	if (setrlimit(resource, &limit))
		g_warning("cannot raise %s: %s", name, log_strerror(errno));
}

void sandbox_raise_limits(bool locks_memory)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files))
		sandbox_raise(RLIMIT_NOFILE, files.rlim_max, "RLIMIT_NOFILE");
	sandbox_raise(RLIMIT_NICE, MAX_NICE, "RLIMIT_NICE");
	if (locks_memory)
		sandbox_raise(RLIMIT_MEMLOCK, RLIM_INFINITY, "RLIMIT_MEMLOCK");
}

/* With CAP_IPC_LOCK RLIMIT_MEMLOCK limits nothing (capabilities(7)). */
bool sandbox_may_lock(uint64_t bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur >= bytes ||
		sandbox_has(CAP_IPC_LOCK);
}

/* ---------------------------------- the drop ------------------------------- */

#ifndef PVHCA_NO_SANDBOX
static bool sandbox_become(const struct account *account)
{
	uint32_t numbers[MAX_GROUPS];
	gid_t groups[MAX_GROUPS];
	size_t count;

	if (account->user == geteuid())
		return true;
	count = account_groups(account->user, numbers, MAX_GROUPS);
	for (size_t i = 0; i < count; i++)
		groups[i] = numbers[i];
	/* What is permitted stays permitted until the capabilities are set. */
	return !prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) && !setgroups(count, groups) &&
		!setresgid(account->group, account->group, account->group) &&
		!setresuid(account->user, account->user, account->user);
}

static bool sandbox_keep(const int *capabilities, size_t count)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	for (size_t i = 0; i < count; i++) {
		if (!sandbox_has(capabilities[i]))
			continue;
		data[CAP_TO_INDEX(capabilities[i])].permitted |= CAP_TO_MASK(capabilities[i]);
		data[CAP_TO_INDEX(capabilities[i])].effective |= CAP_TO_MASK(capabilities[i]);
	}
	return !syscall(SYS_capset, &header, data);
}
#endif

bool sandbox_drop(const struct account *account, bool engine)
{
#ifdef PVHCA_NO_SANDBOX
	(void)account;
	(void)engine;
	return true;
#else
	static const int of_engine[] = { CAP_NET_BIND_SERVICE, CAP_IPC_LOCK };
	int death_signal = 0;

	/* A change of the user forgets it. */
	prctl(PR_GET_PDEATHSIG, &death_signal);
	if (!sandbox_become(account) ||
	    !sandbox_keep(of_engine, engine ? G_N_ELEMENTS(of_engine) : 0) ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, death_signal)) {
		g_critical("cannot give up its rights: %s", log_strerror(errno));
		return false;
	}
	return true;
#endif
}
