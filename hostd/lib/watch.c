// SPDX-License-Identifier: GPL-2.0-or-later
/* Descriptors that a main loop of GLib's waits for. */
#include "lib/watch.h"

GSource *watch_add(int fd, GUnixFDSourceFunc fn, void *arg, GMainContext *context)
{
	GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

	watch_needs_no_memory(source);
	g_source_set_callback(source, G_SOURCE_FUNC(fn), arg, NULL);
	g_source_attach(source, context);
	return source;
}

void watch_remove(GSource *source)
{
	if (!source)
		return;
	g_source_destroy(source);
	g_source_unref(source);
}
