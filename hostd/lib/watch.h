/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOSTD_LIB_WATCH_H
#define HOSTD_LIB_WATCH_H

#include <glib-unix.h>

/*
 * Call fn(fd, condition, arg) from a main loop whenever fd can be read, until it returns
 * G_SOURCE_REMOVE; context NULL: the main thread's. Once it is made it needs no memory. The
 * caller owns it, and gives it up by watch_remove(). fn runs no main loop of its own.
 */
GSource *watch_add(int fd, GUnixFDSourceFunc fn, void *arg, GMainContext *context);
/* NULL: nothing. */
void watch_remove(GSource *source);

/*
 * GLib takes a source that may not recurse out of what it polls while it calls it, and
 * allocates its place anew then: out of memory that would be the program's end.
 */
static inline void watch_needs_no_memory(GSource *source)
{
	g_source_set_can_recurse(source, TRUE);
}

#endif
