// SPDX-License-Identifier: GPL-2.0-or-later
/* pvhcactl reload, pvhcactl evict VM: what changes a running pvhcad. */
#include <stdio.h>

#include "client.h"
#include "ctl.h"
#include "format.h"

static bool control_run(const struct ctl_options *options, const char *request, GError **error)
{
	char *answer = client_request(options->socket, request, error), *text;

	if (!answer)
		return false;
	text = format_printable(answer);
	puts(text);
	g_free(text);
	g_free(answer);
	return true;
}

bool cmd_reload(const struct ctl_options *options, GError **error)
{
	return control_run(options, "reload", error);
}

bool cmd_evict(const struct ctl_options *options, GError **error)
{
	char *request = g_strconcat("evict ", options->vm, NULL);
	bool done = control_run(options, request, error);

	g_free(request);
	return done;
}
