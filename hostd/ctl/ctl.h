/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvhcactl: what its commands share. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>

#include <glib.h>

/* Exit codes, as in pvhcactl(8); of errors in domain CTL_ERROR too. */
/* clang-format off */
enum {
	CTL_OK		= 0,
	CTL_FAILED	= 1,	/* no answer, or not one of pvhcad's */
	CTL_USAGE	= 2,
	CTL_NOT_RUNNING	= 3,
	CTL_DENIED	= 4,	/* no permission */
	CTL_NO_SUCH_VM	= 5,
};
/* clang-format on */

#define CTL_ERROR g_quark_from_static_string("pvhcactl")

struct ctl_options {
	char *socket; /* of pvhcad */
	gboolean json;
	gboolean names;	 /* list */
	double interval; /* top: seconds */
	int count;	 /* top: screens; 0: no end */
	const char *vm;	 /* NULL: all */
};

/* False with *error, whose code is the exit code. */
bool cmd_list(const struct ctl_options *options, GError **error);
bool cmd_show(const struct ctl_options *options, GError **error);
bool cmd_stats(const struct ctl_options *options, GError **error);
bool cmd_top(const struct ctl_options *options, GError **error);
bool cmd_reload(const struct ctl_options *options, GError **error);
bool cmd_evict(const struct ctl_options *options, GError **error);

#endif
