// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What pvhcad is told: defaults, the configuration file (config/file.c), the command
 * line, and what of it holds for one VM.
 */
#include <string.h>

#include "lib/address.h"
#include "config/private.h"

/* --------------------------- the command line --------------------------- */

/**
 * struct command_line - what it says
 * @values: by the number of the setting, config_setting(); NULL: not given
 */
struct command_line {
	char *file;
	char **quotas;
	gboolean version, check, foreground;
	size_t num_settings;
	char **values;
};

static void config_add_fixed(GOptionContext *context, struct command_line *line)
{
	const GOptionEntry fixed[] = {
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &line->file,
		  "Configuration file (" CONFIG_DEFAULT_FILE ")", "PATH" },
		{ "quota", 'q', 0, G_OPTION_ARG_STRING_ARRAY, &line->quotas,
		  "Default quota of every VM, as in [quota]; may be repeated", "KEY=VALUE" },
		{ "foreground", 'f', 0, G_OPTION_ARG_NONE, &line->foreground,
		  "Stay in the foreground (always done)", NULL },
		{ "check-config", 0, 0, G_OPTION_ARG_NONE, &line->check,
		  "Check the settings and exit", NULL },
		{ "version", 0, 0, G_OPTION_ARG_NONE, &line->version, "Show the version and exit",
		  NULL },
		{ NULL }
	};

	g_option_context_add_main_entries(context, fixed, NULL);
}

/* help: the text for --fabric, which must live until the command line is parsed. */
static void config_add_settings(GOptionContext *context, struct config *config,
				struct command_line *line, const char *help)
{
	const struct setting *setting;
	GOptionEntry entry[2] = { 0 };
	void *values;
	size_t i;

	for (i = 0; config_setting(config, i, &values); i++)
		;
	line->num_settings = i;
	line->values = g_new0(char *, i);
	for (i = 0; i < line->num_settings; i++) {
		setting = config_setting(config, i, &values);
		entry[0] = (GOptionEntry){
			.long_name = setting->key,
			.arg = G_OPTION_ARG_STRING,
			.arg_data = &line->values[i],
			.description = setting->type == SETTING_FABRIC ? help : setting->help,
			.arg_description = setting->arg,
		};
		g_option_context_add_main_entries(context, entry, NULL);
	}
}

static bool config_parse_command_line(struct config *config, struct command_line *line, int *argc,
				      char ***argv, GError **error)
{
	char *fabrics = g_strjoinv(", ", (char **)config->fabrics->names);
	char *help = g_strdup_printf("Fabric that carries RDMA: one of %s", fabrics);
	GOptionContext *context = g_option_context_new("- serve paravirtual RDMA adapters");
	bool ok;

	config_add_fixed(context, line);
	config_add_settings(context, config, line, help);
	ok = g_option_context_parse(context, argc, argv, error);
	g_option_context_free(context);
	g_free(help);
	g_free(fabrics);
	if (ok && *argc > 1)
		ok = config_error(error, (*argv)[1], "unexpected argument");
	return ok;
}

static bool config_apply_command_line(struct config *config, const struct command_line *line,
				      GError **error)
{
	for (size_t i = 0; i < line->num_settings; i++) {
		const struct setting *setting;
		void *values;
		char *where;
		bool ok;

		if (!line->values[i])
			continue;
		setting = config_setting(config, i, &values);
		where = g_strdup_printf("option --%s", setting->key);
		ok = config_set(config, setting, values, line->values[i], where, error);
		g_free(where);
		if (!ok)
			return false;
	}
	return true;
}

/* ------------------------------- all together ------------------------------ */

static const struct quota quota_defaults = {
	.adapters = 1,
	.contexts = 256,
	.pds = 4096,
	.mrs = 65536,
	.mws = 65536,
	.ahs = 16384,
	.cqs = 16384,
	.srqs = 4096,
	.qps = 4096,
	.max_wr = 32768,
	.max_cqe = 1u << 20,
	.gids = 64,
	.connections = 4096,
	.mappings = 16384,
	.pinned_bytes = 64ull << 30,
	.memory_bytes = 1ull << 40,
	.share = 100,
};

#define MODE_UNSET UINT32_MAX

/* Of the files beside the socket. */
static const char *const socket_suffixes[] = { ".stats", ".lock", ".stats.lock" };

/* Those of the programs that come with librdmacm, and of perftest. */
#define PORTS_DEFAULT "7174, 7471, 18515-18516"

static struct config *config_new(const struct config_fabrics *fabrics)
{
	struct config *config = g_new0(struct config, 1);

	config->socket = g_strdup(CONFIG_DEFAULT_SOCKET);
	config->socket_access = (struct listener_access){ 0660, LISTENER_NOBODY, LISTENER_NOBODY };
	config->stats_access =
		(struct listener_access){ MODE_UNSET, LISTENER_NOBODY, LISTENER_NOBODY };
	config->fabrics = fabrics;
	config->fabric = g_strdup(fabrics->standard);
	config->log_level = g_strdup("message");
	config->workers = 1;
	config->spin_us = 50;
	config->max_sessions = 256;
	config->keep_mapped = 4ull << 30;
	config->unlisted_vms = true;
	config->user = LISTENER_NOBODY;
	config->sandbox = true;
	config->give_way = true;
	config->quota = quota_defaults;
	config_set_ports(&config->listen, PORTS_DEFAULT, "", NULL);
	config->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					    (GDestroyNotify)config_vm_free);
	return config;
}

/* No two sockets at one path; a VM's own is as the others, unless its group says otherwise. */
static bool config_check_sockets(struct config *config, const char *file, GError **error)
{
	GHashTable *paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	struct config_vm *vm;
	GHashTableIter iter;
	bool ok = true;

	g_hash_table_add(paths, g_strdup(config->socket));
	for (size_t i = 0; i < G_N_ELEMENTS(socket_suffixes); i++)
		g_hash_table_add(paths, g_strconcat(config->socket, socket_suffixes[i], NULL));
	g_hash_table_iter_init(&iter, config->vms);
	while (ok && g_hash_table_iter_next(&iter, NULL, (void **)&vm))
		if (vm->socket.path && !g_hash_table_add(paths, g_strdup(vm->socket.path)))
			ok = config_error(error, file, "group [vm %s]: socket=%s is another's, too",
					  vm->policy.group, vm->socket.path);
	g_hash_table_destroy(paths);
	return ok;
}

struct config *config_load(int *argc, char ***argv, const struct config_fabrics *fabrics,
			   struct config_actions *actions, GError **error)
{
	struct config *config = config_new(fabrics);
	struct command_line line = { 0 };
	const char *file;
	bool ok;

	ok = config_parse_command_line(config, &line, argc, argv, error);
	file = line.file ? line.file : CONFIG_DEFAULT_FILE;
	if (ok && !line.version)
		ok = config_load_file(config, file, line.file, line.quotas, error);
	if (ok)
		ok = config_apply_command_line(config, &line, error);
	if (config->stats_access.mode == MODE_UNSET)
		config->stats_access.mode = config->socket_access.mode;
	ok = ok && config_check_sockets(config, file, error);
	actions->version = line.version;
	actions->check = line.check;

	g_free(line.file);
	g_strfreev(line.quotas);
	for (size_t i = 0; i < line.num_settings; i++)
		g_free(line.values[i]);
	g_free(line.values);
	if (ok)
		return config;
	config_free(config);
	return NULL;
}

/* The next to load finds no texts of this one. */
static void config_free_fabrics(const struct config_fabrics *fabrics)
{
	const struct setting_table *const *table;

	for (table = fabrics->tables; *table; table++)
		for (size_t i = 0; i < (*table)->count; i++) {
			const struct setting *setting = &(*table)->settings[i];
			void *at = (char *)(*table)->values + setting->offset;

			if (setting->type == SETTING_TEXT || setting->type == SETTING_WORD)
				g_clear_pointer((char **)at, g_free);
		}
}

void config_free(struct config *config)
{
	if (!config)
		return;
	config_free_fabrics(config->fabrics);
	g_hash_table_destroy(config->vms);
	g_free(config->socket);
	g_free(config->fabric);
	g_free(config->log_level);
	g_free(config->cpus);
	g_free(config->metrics);
	g_free(config);
}
