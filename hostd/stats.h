/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statistics: whoever connects to the statistics socket gets one JSON text and the
 * end of the stream. All in the main thread.
 */
#ifndef HOSTD_STATS_H
#define HOSTD_STATS_H

/* The text, of *length bytes; to be freed with g_free(). */
char *stats_text(const char *fabric, unsigned long *length);

/* A connection; takes fd over. It is closed when it took all, or after a while. */
void stats_accept(int fd, const char *fabric);
/* Close those that are still there. */
void stats_stop(void);

#endif
