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
		g_hash_table_replace(config->given, g_strdup(setting->key),
				     g_strdup(line->values[i]));
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
	.heap_bytes = 256ull << 20,
	.share = 100,
};

#define MODE_UNSET UINT32_MAX

/* Of the files beside the socket. */
static const char *const socket_suffixes[] = { ".stats", ".ctl", ".lock", ".stats.lock",
					       ".ctl.lock" };

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
	config->given = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
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

	config->arguments = g_new0(char *, *argc + 1);
	for (int i = 0; i < *argc; i++)
		config->arguments[i] = g_strdup((*argv)[i]);
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

void config_free_copy(struct config *config)
{
	g_hash_table_destroy(config->vms);
	g_hash_table_destroy(config->given);
	g_strfreev(config->arguments);
	g_free(config->socket);
	g_free(config->fabric);
	g_free(config->log_level);
	g_free(config->cpus);
	g_free(config->metrics);
	g_free(config);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	config_free_fabrics(config->fabrics);
	config_free_copy(config);
}

/* ------------------------------- once more --------------------------------- */

/* Room for the values of a table, each as large as any. */
static size_t config_table_size(const struct setting_table *table)
{
	size_t size = 0;

	for (size_t i = 0; i < table->count; i++)
		size = MAX(size, table->settings[i].offset + sizeof(struct port_list));
	return size;
}

/* The fabrics with tables of their own, so that what they were told stays. */
static struct config_fabrics *config_fabrics_copy(const struct config_fabrics *from)
{
	struct config_fabrics *copy = g_memdup2(from, sizeof(*from));
	const struct setting_table **tables;
	struct setting_table *table;
	size_t count = 0;

	while (from->tables[count])
		count++;
	tables = g_new0(const struct setting_table *, count + 1);
	for (size_t i = 0; i < count; i++) {
		table = g_memdup2(from->tables[i], sizeof(*table));
		table->values = g_malloc0(config_table_size(table));
		tables[i] = table;
	}
	copy->tables = tables;
	return copy;
}

static void config_fabrics_free(struct config_fabrics *copy)
{
	for (size_t i = 0; copy->tables[i]; i++) {
		g_free(copy->tables[i]->values);
		g_free((void *)copy->tables[i]);
	}
	g_free((void *)copy->tables);
	g_free(copy);
}

struct config *config_read_again(const struct config *config, GError **error)
{
	struct config_fabrics *fabrics = config_fabrics_copy(config->fabrics);
	char **arguments = g_strdupv(config->arguments), **rest;
	struct config_actions actions = { 0 };
	int count = g_strv_length(arguments);
	struct config *next;

	/* What the parser takes away it does not free. */
	rest = g_memdup2(arguments, (count + 1) * sizeof(*arguments));
	next = config_load(&count, &rest, fabrics, &actions, error);
	if (next) {
		config_free_fabrics(fabrics);
		next->fabrics = config->fabrics;
	}
	config_fabrics_free(fabrics);
	g_free(rest);
	g_strfreev(arguments);
	return next;
}

/* Settings that hold at once. */
static const char *const config_changeable[] = { "listen", "unlisted-vms", "max-sessions",
						 "log-level", NULL };

static char *config_later(struct config *config, struct config *next)
{
	GString *keys = g_string_new(NULL);
	const struct setting *setting;
	void *values;

	for (size_t i = 0; (setting = config_setting(config, i, &values)); i++)
		if (!g_strv_contains(config_changeable, setting->key) &&
		    g_strcmp0(g_hash_table_lookup(config->given, setting->key),
			      g_hash_table_lookup(next->given, setting->key)))
			g_string_append_printf(keys, "%s%s", keys->len ? ", " : "", setting->key);
	return g_string_free(keys, !keys->len);
}

#define SWAP(a, b)                       \
	do {                             \
		__typeof__(a) tmp = (a); \
		(a) = (b);               \
		(b) = tmp;               \
	} while (0)

char *config_take(struct config *config, struct config *next)
{
	char *later = config_later(config, next);

	config_lock();
	SWAP(config->vms, next->vms);
	SWAP(config->log_level, next->log_level);
	config->quota = next->quota;
	config->listen = next->listen;
	config->unlisted_vms = next->unlisted_vms;
	config->max_sessions = next->max_sessions;
	config_unlock();
	config_free_copy(next);
	return later;
}
