/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions: a VM's link to QEMU, and the thread that carries out its guest's commands.
 * The main thread calls these functions, unless they say otherwise.
 */
#ifndef HOSTD_SESSION_SESSION_H
#define HOSTD_SESSION_SESSION_H

#include <stdbool.h>

struct config;
struct fabric;
struct fabric_ops;
struct log_source;
struct vm;

/*
 * Descriptors that QEMU sends are only taken below this number, so that above it some are
 * left for the daemon itself: GLib aborts where it cannot make its own. Once, at start.
 */
void sessions_limit_fds(int limit);

/* Before the first; config, ops and fabric outlive all sessions. 0 or a negative errno. */
int sessions_init(const struct config *config, const struct fabric_ops *ops, struct fabric *fabric);
/*
 * A connection, by the own socket of this [vm] group, or by the one for all: NULL. Takes
 * fd over, and closes it where it cannot be served. log: of this socket (log_source_new()),
 * or NULL; whoever comes by it begins with the lines that it can spare.
 */
void sessions_accept(int fd, const char *group, struct log_source *log);
/* The settings have changed. */
void sessions_reload(void);
/*
 * End the sessions of the VM with this name, else UUID, else session number; how many these are.
 * QEMU comes again, and is served if the settings let it in.
 */
unsigned int sessions_evict(const char *vm);
/* Memory of some region vanished: each session looks whether it was its own. */
void sessions_check_memory(void);
/*
 * End all and wait for them, but not for ever: false if a session's thread is held up by
 * something that its QEMU has. It goes on then, and all must stay that it may use.
 */
bool sessions_stop(void);
/*
 * Calls fn for each VM, which lives until fn returns; one that ends has no memory any
 * more. Any thread.
 */
void sessions_for_each(void (*fn)(struct vm *vm, void *arg), void *arg);

#endif
