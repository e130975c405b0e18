/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhcad in one thread, so that an input does the same each time: a worker without a thread, the
 * loopback fabric, and sessions that run when the target says so. Commands that would go to
 * the pool's threads are carried out by the session's. Numbers of QPs and keys come from a
 * generator that begins anew with each input.
 */
#ifndef FUZZ_HOST_H
#define FUZZ_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "config/config.h"

struct session;

/* The configuration file has this text from now on. */
void host_config_text(const void *text, size_t size);
/* Its settings then, or NULL with *error. */
struct config *host_config(const void *text, size_t size, GError **error);

/* Once, from LLVMFuzzerInitialize(). settings: text of a configuration file. */
void host_init(const char *settings);

/* An input begins, and ends: then there must be as many descriptors as at its beginning. */
void host_begin(void);
void host_end(void);

/* The configuration file has this text, and is read again; sessions are told. */
void host_reload(const char *settings);

/* A session of whoever has the other end of fd, which it takes over. */
struct session *host_session(int fd);
/*
 * Run it until it ends. Whenever it has nothing to do the worker makes some passes, and then
 * step() does what comes next, until it returns false: no more comes. It must have closed, or
 * shut down, the other end by then.
 */
void host_run(struct session *session, bool (*step)(void *arg), void *arg);

/* The worker looks for work, as often as it finds some, but not for ever. */
void host_pass(void);

#endif
