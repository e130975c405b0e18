/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: what the process gives up before it serves anybody.
 *
 * The view: namespaces of our own for users (where we are no root), mounts,
 * network and IPC; a root that is empty but for the directory of pvhcad's
 * socket.  A connected process needs no more: what it works on came as
 * descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"
#include "sandbox.h"
#include "server.h"

/* GLib's main loop, the allocator, the log, the end, faults */
static const int pvhca_sandbox_calls[] = {
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(exit_group),
    PVHCA_CALLS_END,
};

extern const int pvhca_irqs_calls[], pvhca_dma_calls[], pvhca_pci_calls[],
    pvhca_server_calls[], pvhca_link_calls[];

static const int *const pvhca_sandbox_lists[] = {
    pvhca_sandbox_calls, pvhca_irqs_calls,   pvhca_dma_calls,
    pvhca_pci_calls,     pvhca_server_calls, pvhca_link_calls,
};

/* The view */

static bool pvhca_sandbox_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t size = strlen(text);
    bool done = fd >= 0 && write(fd, text, size) == (ssize_t)size;

    if (fd >= 0) {
        close(fd);
    }
    return done;
}

/* A user namespace in which we are who we were. */
static bool pvhca_sandbox_map_user(uid_t uid, gid_t gid)
{
    char uids[64], gids[64];

    snprintf(uids, sizeof(uids), "%u %u 1", uid, uid);
    snprintf(gids, sizeof(gids), "%u %u 1", gid, gid);
    return pvhca_sandbox_write("/proc/self/setgroups", "deny") &&
        pvhca_sandbox_write("/proc/self/uid_map", uids) &&
        pvhca_sandbox_write("/proc/self/gid_map", gids);
}

static bool pvhca_sandbox_mount_root(int dir)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    char from[64];

    snprintf(from, sizeof(from), "/proc/self/fd/%d", dir);
    return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
        !mount("none", "/tmp", "tmpfs", flags, "size=64k,nr_inodes=8") &&
        !mkdir("/tmp/link", 0555) &&
        !mount(from, "/tmp/link", NULL, MS_BIND, NULL) && !chdir("/tmp") &&
        !syscall(SYS_pivot_root, ".", ".") && !umount2(".", MNT_DETACH) &&
        !chdir("/link");
}

/*
 * A root of ours, with the working directory, which is opened again since a
 * mount of another namespace cannot be bound, as its one directory.
 */
static bool pvhca_sandbox_change_root(void)
{
    int dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool done = dir >= 0 && pvhca_sandbox_mount_root(dir);

    if (dir >= 0) {
        close(dir);
    }
    return done;
}
static bool pvhca_sandbox_enter_view(void)
{
    int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (uid && unshare(CLONE_NEWUSER)) {
        return false;
    }
    return (!uid || pvhca_sandbox_map_user(uid, gid)) && !unshare(flags) &&
        pvhca_sandbox_change_root();
}

/* Rights */

static bool pvhca_sandbox_drop_user(uid_t uid, gid_t gid)
{
    return uid == (uid_t)-1 ||
        (!setgroups(0, NULL) && !setresgid(gid, gid, gid) &&
         !setresuid(uid, uid, uid));
}

static bool pvhca_sandbox_drop_capabilities(void)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
        !syscall(SYS_capset, &header, none) && !prctl(PR_SET_DUMPABLE, 0);
}

bool pvhca_sandbox_enter(const char *link_dir, uid_t uid, gid_t gid)
{
    const struct rlimit none = { 0, 0 };
    int dir = open(link_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0 || fchdir(dir)) {
        pvhca_log("the directory of pvhcad's socket, %s: %s", link_dir,
                  strerror(errno));
        return false;
    }
    setrlimit(RLIMIT_CORE, &none);
    if (!pvhca_sandbox_enter_view()) {
        pvhca_log("no mount view of our own (%s): going on without",
                  strerror(errno));
        /* As far as it went: the directory is all that is needed. */
        (void)!fchdir(dir);
    }
    close(dir);
    if (!pvhca_sandbox_drop_user(uid, gid) ||
        !pvhca_sandbox_drop_capabilities()) {
        pvhca_log("rights could not be given up: %s", strerror(errno));
        return false;
    }
    return true;
}

/* System calls */

static bool pvhca_sandbox_allow(scmp_filter_ctx filter, const int *calls)
{
    for (; *calls != PVHCA_CALLS_END; calls++) {
        /* -EEXIST: of another list; others: not on this architecture */
        if (*calls >= 0 &&
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, *calls, 0) < 0) {
            return false;
        }
    }
    return true;
}

/* What is allowed for one purpose only. */
static bool pvhca_sandbox_allow_some(scmp_filter_ctx f, int dir)
{
    const uint64_t commands[] = { F_GETFL, F_SETFL, F_DUPFD_CLOEXEC };

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                             SCMP_A1(SCMP_CMP_EQ, commands[i])) < 0) {
            return false;
        }
    }
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                            SCMP_A0(SCMP_CMP_EQ, AF_UNIX)) >= 0 &&
        seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(unlinkat), 1,
                         SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)dir)) >= 0 &&
        seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) >= 0 &&
        seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) >= 0;
}

bool pvhca_sandbox_filter(int dir)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    bool done = filter && pvhca_sandbox_allow_some(filter, dir);

    for (size_t i = 0; i < G_N_ELEMENTS(pvhca_sandbox_lists); i++) {
        done = done && pvhca_sandbox_allow(filter, pvhca_sandbox_lists[i]);
    }
    done = done && seccomp_load(filter) >= 0;
    if (filter) {
        seccomp_release(filter);
    }
    if (!done) {
        pvhca_log("no filter of system calls: the kernel needs seccomp");
    }
    return done;
}
