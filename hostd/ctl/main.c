// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhcactl: sessions, objects, counters and rates of a running pvhcad, from its socket for
 * statistics; and requests, by its socket for those.
 */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include <pvhca-version.h>

#include "config/config.h"
#include "ctl.h"

/* Of --interval and --count: not given. */
#define UNSET G_MININT

struct command {
	const char *name;
	bool (*run)(const struct ctl_options *options, GError **error);
	bool takes_vm, needs_vm;
};

static const struct command commands[] = {
	{ "list", cmd_list, false, false },	{ "show", cmd_show, true, true },
	{ "stats", cmd_stats, true, false },	{ "top", cmd_top, false, false },
	{ "reload", cmd_reload, false, false }, { "evict", cmd_evict, true, true },
};

static const char summary[] = "Commands:\n"
			      "  list          sessions of VMs\n"
			      "  show VM       a VM's state, and its objects beside its quotas\n"
			      "  stats [VM]    counters, of all or one\n"
			      "  top           rates, again and again\n"
			      "  reload        have pvhcad read its settings again\n"
			      "  evict VM      end a VM's sessions\n"
			      "\n"
			      "A VM is its name, UUID or the number of its session.";

static bool G_GNUC_PRINTF(2, 3) usage(GError **error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_propagate_error(error, g_error_new_valist(CTL_ERROR, CTL_USAGE, format, args));
	va_end(args);
	return false;
}

static bool parse(int *argc, char ***argv, struct ctl_options *options, gboolean *version,
		  GError **error)
{
	const GOptionEntry entries[] = {
		{ "socket", 's', 0, G_OPTION_ARG_FILENAME, &options->socket,
		  "pvhcad's socket (" CONFIG_DEFAULT_SOCKET ")", "PATH" },
		{ "json", 'j', 0, G_OPTION_ARG_NONE, &options->json, "Write JSON", NULL },
		{ "names", 0, 0, G_OPTION_ARG_NONE, &options->names,
		  "list: names only, a line each", NULL },
		{ "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &options->interval,
		  "top: from one look to the next (1)", "SECONDS" },
		{ "count", 'n', 0, G_OPTION_ARG_INT, &options->count,
		  "top: end after so many; 0: do not (0)", "N" },
		{ "version", 0, 0, G_OPTION_ARG_NONE, version, "Show the version and exit", NULL },
		{ NULL }
	};
	GOptionContext *context;
	GError *failure = NULL;

	context = g_option_context_new("COMMAND [VM]");
	g_option_context_set_summary(context, summary);
	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_parse(context, argc, argv, &failure);
	g_option_context_free(context);
	if (!failure)
		return true;
	usage(error, "%s", failure->message);
	g_error_free(failure);
	return false;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* What has no meaning for a command is an error, not ignored. */
static bool check(const struct command *command, const struct ctl_options *options, GError **error)
{
	if (command->run != cmd_list && options->names)
		return usage(error, "--names is for list");
	if (options->json && (command->run == cmd_reload || command->run == cmd_evict))
		return usage(error, "--json is not for %s", command->name);
	if (options->names && options->json)
		return usage(error, "--names and --json exclude each other");
	if (command->run != cmd_top && (options->interval != UNSET || options->count != UNSET))
		return usage(error, "--interval and --count are for top");
	if (options->interval != UNSET && !(options->interval >= 0.1 && options->interval <= 3600))
		return usage(error, "--interval must be 0.1 to 3600 seconds");
	if (options->count != UNSET && options->count < 0)
		return usage(error, "--count must not be negative");
	return true;
}

static bool run(int argc, char **argv, struct ctl_options *options, GError **error)
{
	const struct command *command;

	if (argc < 2)
		return usage(error, "no command; try --help");
	command = find_command(argv[1]);
	if (!command)
		return usage(error, "unknown command \"%s\"; try --help", argv[1]);
	if (argc < 3 && command->needs_vm)
		return usage(error, "%s needs a VM", command->name);
	if (argc > (command->takes_vm ? 3 : 2))
		return usage(error, "unexpected argument \"%s\"", argv[command->takes_vm ? 3 : 2]);
	if (!check(command, options, error))
		return false;
	options->vm = argv[2];
	if (options->interval == UNSET)
		options->interval = 1;
	if (options->count == UNSET)
		options->count = 0;
	if (!options->socket)
		options->socket = g_strdup(CONFIG_DEFAULT_SOCKET);
	return command->run(options, error);
}

int main(int argc, char **argv)
{
	struct ctl_options options = { .interval = UNSET, .count = UNSET };
	gboolean version = FALSE;
	GError *error = NULL;
	int ret = CTL_OK;

	setlocale(LC_CTYPE, "");
	if (parse(&argc, &argv, &options, &version, &error)) {
		if (version)
			printf("pvhcactl %s\n", PVHCA_VERSION);
		else
			run(argc, argv, &options, &error);
	}
	if (!error && (fflush(stdout) || ferror(stdout)))
		g_set_error(&error, CTL_ERROR, CTL_FAILED, "cannot write the output");
	if (error) {
		fprintf(stderr, "pvhcactl: %s\n", error->message);
		ret = error->code;
		g_error_free(error);
	}
	g_free(options.socket);
	return ret;
}
