// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every setting is one row of a table, which serves the configuration file and
 * the command line alike: a key `max-sessions` in group [pvhcad] is the option
 * --max-sessions. Rows of quotas serve [quota], [vm ...] and --quota.
 */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "log.h"
#include "metrics.h"
#include "pvhca/pvhca-regs.h"
#include "rdma/pvhca-ring.h"
#include "session.h"
#include "table.h"

enum setting_type {
	SETTING_TEXT,		/* char * */
	SETTING_NUMBER,		/* unsigned int or uint32_t */
	SETTING_SIZE,		/* uint64_t, bytes */
	SETTING_MODE,		/* unsigned int, octal */
	SETTING_BOOL,
	SETTING_WORD,		/* char *, one of a list */
	SETTING_METRICS,	/* char *, where metrics.h listens, or none */
	SETTING_PORTS,		/* struct port_list */
};

struct setting {
	const char *key;
	enum setting_type type;
	size_t offset;
	uint64_t min, max;
	const char *const *words;
	const char *arg, *help;	/* for --help */
};

static const char *const config_fabrics[] = { "loopback", "verbs", NULL };
static const char *const config_levels[] = {
	"error", "warning", "message", "info", "debug", NULL
};

#define AT(field)	offsetof(struct config, field)
static const struct setting config_settings[] = {
	{ "socket", SETTING_TEXT, AT(socket), 1, 100, NULL,
	  "PATH", "Socket that QEMU connects to" },
	{ "socket-mode", SETTING_MODE, AT(socket_mode), 0, 0777, NULL,
	  "MODE", "Its access mode, octal" },
	{ "fabric", SETTING_WORD, AT(fabric), 0, 0, config_fabrics,
	  "NAME", "What carries RDMA: loopback or verbs" },
	{ "ibdev", SETTING_TEXT, AT(ibdev), 0, 63, NULL,
	  "NAME", "Host device of the verbs fabric" },
	{ "ib-port", SETTING_NUMBER, AT(ib_port), 1, 255, NULL,
	  "N", "Its port" },
	{ "log-level", SETTING_WORD, AT(log_level), 0, 0, config_levels,
	  "LEVEL", "error, warning, message, info or debug" },
	{ "workers", SETTING_NUMBER, AT(workers), 1, 256, NULL,
	  "N", "Threads that serve the guests' queues" },
	{ "spin-us", SETTING_NUMBER, AT(spin_us), 0, 10000000, NULL,
	  "US", "Poll this long after the last work before sleeping" },
	{ "give-way", SETTING_BOOL, AT(give_way), 0, 0, NULL,
	  "BOOL", "Stop polling when others want the processor" },
	{ "cpus", SETTING_TEXT, AT(cpus), 0, 4095, NULL,
	  "LIST", "Processors for the workers, e.g. 2-3,6" },
	{ "priority", SETTING_NUMBER, AT(priority), 0, 20, NULL,
	  "N", "Lower the workers' nice value by this" },
	{ "max-sessions", SETTING_NUMBER, AT(max_sessions), 1, 4096, NULL,
	  "N", "VMs served at a time" },
	{ "keep-mapped", SETTING_SIZE, AT(keep_mapped), 0, UINT64_MAX, NULL,
	  "BYTES", "Deregistered memory that stays mapped for the next time" },
	{ "unlisted-vms", SETTING_BOOL, AT(unlisted_vms), 0, 0, NULL,
	  "BOOL", "Serve VMs that have no [vm] group" },
	{ "metrics", SETTING_METRICS, AT(metrics), 0, 107, NULL,
	  "ADDRESS", "Serve counters to Prometheus: path of a socket, or 127.0.0.1:PORT" },
	{ "listen", SETTING_PORTS, AT(listen), 0, 0, NULL,
	  "PORTS", "Ports on which native peers reach VMs, e.g. 7471,18515-18520" },
};
#undef AT

#define AT(field)	offsetof(struct quota, field)
static const struct setting quota_settings[] = {
	{ .key = "contexts", SETTING_NUMBER, AT(contexts), 1, 65536 },
	{ .key = "pds", SETTING_NUMBER, AT(pds), 1, TABLE_LIMIT_MAX },
	{ .key = "mrs", SETTING_NUMBER, AT(mrs), 1, TABLE_LIMIT_MAX },
	{ .key = "mws", SETTING_NUMBER, AT(mws), 1, TABLE_LIMIT_MAX },
	{ .key = "ahs", SETTING_NUMBER, AT(ahs), 1, TABLE_LIMIT_MAX },
	{ .key = "cqs", SETTING_NUMBER, AT(cqs), 1, TABLE_LIMIT_MAX },
	{ .key = "srqs", SETTING_NUMBER, AT(srqs), 1, TABLE_LIMIT_MAX },
	{ .key = "qps", SETTING_NUMBER, AT(qps), 1, TABLE_LIMIT_MAX },
	{ .key = "max-wr", SETTING_NUMBER, AT(max_wr), 1,
	  1u << PVHCA_RING_MAX_LOG_ENTRIES },
	{ .key = "max-cqe", SETTING_NUMBER, AT(max_cqe), 1,
	  1u << PVHCA_CQ_MAX_LOG_ENTRIES },
	{ .key = "gids", SETTING_NUMBER, AT(gids), 1, SESSION_GIDS },
	{ .key = "connections", SETTING_NUMBER, AT(connections), 1,
	  TABLE_LIMIT_MAX },
	{ .key = "pinned-bytes", SETTING_SIZE, AT(pinned_bytes),
	  PVHCA_GRANULE, UINT64_MAX },
};
#undef AT

static const struct quota quota_defaults = {
	.contexts = 256,
	.pds = 4096,
	.mrs = 65536,
	.mws = 65536,
	.ahs = 16384,
	.cqs = 16384,
	.srqs = 4096,
	.qps = 4096,
	.max_wr = 16384,
	.max_cqe = 1u << 17,
	.gids = 64,
	.connections = 4096,
	.pinned_bytes = 64ull << 30,
};

/* Those of the programs that come with librdmacm, and of perftest. */
#define PORTS_DEFAULT	"7174, 7471, 18515-18516"

/* Settings of one [vm] group. */
struct vm_settings {
	struct vm_policy policy;
};

#define CONFIG_ERROR	g_quark_from_static_string("pvhcad-config")

static bool G_GNUC_PRINTF(3, 4)
config_error(GError **error, const char *where, const char *format, ...)
{
	va_list args;
	char *what;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, CONFIG_ERROR, 0, "%s: %s", where, what);
	g_free(what);
	return false;
}

/* A number, for sizes with a suffix K, M, G or T (powers of 1024). */
static bool config_parse_number(const char *text, unsigned int base,
				bool suffix, uint64_t *number)
{
	static const char suffixes[] = "KMGT";
	const char *at;
	char *end;

	if (!g_ascii_isdigit(*text))
		return false;
	errno = 0;
	*number = g_ascii_strtoull(text, &end, base);
	if (errno)
		return false;
	if (suffix && *end) {
		at = strchr(suffixes, g_ascii_toupper(*end));
		if (!at || __builtin_mul_overflow(*number,
				1ull << 10 * (at - suffixes + 1), number))
			return false;
		end++;
	}
	return !*end;
}

static bool config_set_number(const struct setting *setting, void *to,
			      const char *value, const char *where,
			      GError **error)
{
	uint64_t number;

	if (!config_parse_number(value, setting->type == SETTING_MODE ? 8 : 10,
				 setting->type == SETTING_SIZE, &number))
		return config_error(error, where, "\"%s\" is not %s", value,
				    setting->type == SETTING_MODE ?
				    "an octal mode" :
				    setting->type == SETTING_SIZE ?
				    "a size such as 4096, 512M or 64G" :
				    "a number");
	if (number < setting->min || number > setting->max)
		return config_error(error, where, setting->type == SETTING_MODE ?
				    "%s is not in %#" G_GINT64_MODIFIER "o to %#"
				    G_GINT64_MODIFIER "o" :
				    "%s is not in %" G_GUINT64_FORMAT " to %"
				    G_GUINT64_FORMAT,
				    value, setting->min, setting->max);
	if (setting->type == SETTING_SIZE)
		*(uint64_t *)to = number;
	else
		*(unsigned int *)to = number;
	return true;
}

static bool config_set_text(const struct setting *setting, char **to,
			    const char *value, const char *where,
			    GError **error)
{
	size_t len = strlen(value);

	if (setting->type == SETTING_WORD) {
		if (!g_strv_contains(setting->words, value)) {
			char *words = g_strjoinv(", ", (char **)setting->words);

			config_error(error, where, "\"%s\" is not one of: %s",
				     value, words);
			g_free(words);
			return false;
		}
	} else if (len < setting->min || len > setting->max) {
		return config_error(error, where,
				    "must have %" G_GUINT64_FORMAT " to %"
				    G_GUINT64_FORMAT " characters",
				    setting->min, setting->max);
	}
	g_free(*to);
	*to = len ? g_strdup(value) : NULL;
	return true;
}

static bool config_set_metrics(const struct setting *setting, char **to,
			       const char *value, const char *where,
			       GError **error)
{
	struct metrics_address address;
	const char *wrong;

	wrong = *value ? metrics_address_parse(value, &address) : NULL;
	if (wrong)
		return config_error(error, where, "\"%s\" %s", value, wrong);
	return config_set_text(setting, to, value, where, error);
}

/* "N" or "N-M" at text; *next: behind it. */
static bool config_parse_range(const char *text, struct port_range *range,
			       const char **next)
{
	uint64_t first, last;
	char *end;

	if (!g_ascii_isdigit(*text))
		return false;
	first = last = g_ascii_strtoull(text, &end, 10);
	if (*end == '-') {
		if (!g_ascii_isdigit(end[1]))
			return false;
		last = g_ascii_strtoull(end + 1, &end, 10);
	}
	if (!first || last < first || last > UINT16_MAX)
		return false;
	range->first = first;
	range->last = last;
	*next = end;
	return true;
}

/* Ports and ranges of them, separated by commas or blanks; "none". */
static bool config_set_ports(struct port_list *to, const char *value,
			     const char *where, GError **error)
{
	struct port_list list = { 0 };
	struct port_range range;
	const char *at = value;
	unsigned int ports = 0;

	if (!strcmp(value, "none"))
		at = "";
	for (at += strspn(at, " \t,"); *at; at += strspn(at, " \t,")) {
		if (!config_parse_range(at, &range, &at) ||
		    (*at && !strchr(" \t,", *at)))
			return config_error(error, where,
				"\"%s\" is not a list of ports such as 7471, 18515-18520",
				value);
		ports += range.last - range.first + 1;
		if (list.count == CONFIG_PORT_RANGES ||
		    ports > CONFIG_MAX_PORTS)
			return config_error(error, where,
				"more than %u ports or %u ranges",
				CONFIG_MAX_PORTS, CONFIG_PORT_RANGES);
		list.range[list.count++] = range;
	}
	*to = list;
	return true;
}

static bool config_set(const struct setting *setting, void *base,
		       const char *value, const char *where, GError **error)
{
	void *to = (char *)base + setting->offset;

	switch (setting->type) {
	case SETTING_TEXT:
	case SETTING_WORD:
		return config_set_text(setting, to, value, where, error);
	case SETTING_METRICS:
		return config_set_metrics(setting, to, value, where, error);
	case SETTING_PORTS:
		return config_set_ports(to, value, where, error);
	case SETTING_NUMBER:
	case SETTING_SIZE:
	case SETTING_MODE:
		return config_set_number(setting, to, value, where, error);
	case SETTING_BOOL:
		if (strcmp(value, "true") && strcmp(value, "false"))
			return config_error(error, where,
					    "\"%s\" is neither true nor false",
					    value);
		*(bool *)to = !strcmp(value, "true");
		return true;
	}
	return true;
}

static const struct setting *config_find(const struct setting *settings,
					 size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

/* ------------------------------ the file ------------------------------ */

static bool config_set_vm_key(struct vm_policy *policy, const char *key,
			      const char *value, const char *where,
			      GError **error)
{
	const struct setting *setting;
	struct address_prefix prefix;

	if (!strcmp(key, "mac")) {
		policy->has_mac = address_parse_mac(value, policy->mac);
		return policy->has_mac ||
			config_error(error, where,
				     "\"%s\" is not a unicast MAC address",
				     value);
	}
	if (!strcmp(key, "listen")) {
		policy->has_listen = true;
		return config_set_ports(&policy->listen, value, where, error);
	}
	if (!strcmp(key, "addresses")) {
		g_strfreev(policy->addresses);
		policy->addresses = g_strsplit_set(value, " \t,;", -1);
		for (char **a = policy->addresses; *a; a++)
			if (**a && !address_parse(*a, &prefix))
				return config_error(error, where,
					"\"%s\" is not an IP address or prefix",
					*a);
		return true;
	}
	setting = config_find(quota_settings, G_N_ELEMENTS(quota_settings),
			      key);
	if (!setting)
		return config_error(error, where, "unknown key");
	return config_set(setting, &policy->quota, value, where, error);
}

static bool config_set_key(struct config *config, const char *group,
			   struct vm_policy *vm, const char *key,
			   const char *value, const char *where, GError **error)
{
	const struct setting *setting;
	void *base;

	if (vm)
		return config_set_vm_key(vm, key, value, where, error);
	if (!strcmp(group, "quota")) {
		setting = config_find(quota_settings,
				      G_N_ELEMENTS(quota_settings), key);
		base = &config->quota;
	} else {
		setting = config_find(config_settings,
				      G_N_ELEMENTS(config_settings), key);
		base = config;
	}
	if (!setting)
		return config_error(error, where, "unknown key");
	return config_set(setting, base, value, where, error);
}

static bool config_load_group(struct config *config, GKeyFile *file,
			      const char *path, const char *group,
			      struct vm_policy *vm, GError **error)
{
	char **keys = g_key_file_get_keys(file, group, NULL, error);
	bool ok = keys;

	for (char **key = keys; ok && *key; key++) {
		char *where = g_strdup_printf("%s: group [%s], key %s", path,
					      group, *key);
		char *value = g_key_file_get_string(file, group, *key, error);

		if (value)
			g_strstrip(value);
		ok = value && config_set_key(config, group, vm, *key, value,
					     where, error);
		g_free(value);
		g_free(where);
	}
	g_strfreev(keys);
	return ok;
}

static void vm_settings_free(void *data)
{
	struct vm_settings *vm = data;

	g_strfreev(vm->policy.addresses);
	g_free(vm);
}

/* [vm NAME-OR-UUID]; UUIDs are kept in lower case, as address_uuid_text() gives them. */
static bool config_load_vm(struct config *config, GKeyFile *file,
			   const char *path, const char *group, GError **error)
{
	struct vm_settings *vm = g_new0(struct vm_settings, 1);
	char *id = g_strstrip(g_strdup(group + strlen("vm ")));

	vm->policy.quota = config->quota;
	if (g_uuid_string_is_valid(id)) {
		char *lower = g_ascii_strdown(id, -1);

		g_free(id);
		id = lower;
	}
	/* Groups that differ in space or case only are the same VM: an oversight. */
	if (g_hash_table_contains(config->vms, id)) {
		config_error(error, path, "group [%s]: this VM has a group already",
			     group);
		g_free(id);
		vm_settings_free(vm);
		return false;
	}
	g_hash_table_insert(config->vms, id, vm);
	return config_load_group(config, file, path, group, &vm->policy, error);
}

static bool config_apply_quotas(struct config *config, char **quotas,
				GError **error)
{
	bool ok = true;

	for (char **quota = quotas; ok && quota && *quota; quota++) {
		char **pair = g_strsplit(*quota, "=", 2);
		char *where = g_strdup_printf("option --quota %s", *quota);

		if (!pair[0] || !pair[1])
			ok = config_error(error, where, "must be KEY=VALUE");
		else
			ok = config_set_key(config, "quota", NULL, pair[0],
					    pair[1], where, error);
		g_strfreev(pair);
		g_free(where);
	}
	return ok;
}

static bool config_load_groups(struct config *config, GKeyFile *file,
			       const char *path, char **groups, char **quotas,
			       GError **error)
{
	bool ok = true;
	char **group;

	/* VMs inherit [quota], wherever it stands, and --quota. */
	for (group = groups; ok && *group; group++) {
		if (!strcmp(*group, "pvhcad") || !strcmp(*group, "quota"))
			ok = config_load_group(config, file, path, *group, NULL,
					       error);
		else if (!g_str_has_prefix(*group, "vm "))
			ok = config_error(error, path, "unknown group [%s]",
					  *group);
	}
	ok = ok && config_apply_quotas(config, quotas, error);
	for (group = groups; ok && *group; group++)
		if (g_str_has_prefix(*group, "vm "))
			ok = config_load_vm(config, file, path, *group, error);
	return ok;
}

static bool config_load_file(struct config *config, const char *path,
			     bool must_exist, char **quotas, GError **error)
{
	GKeyFile *file = g_key_file_new();
	GError *failure = NULL;
	char **groups;
	bool ok;

	ok = g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &failure);
	if (!ok && !must_exist &&
	    g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
		g_clear_error(&failure);
		g_key_file_free(file);
		return config_apply_quotas(config, quotas, error);
	}
	if (!ok) {
		config_error(error, path, "%s", failure->message);
		g_clear_error(&failure);
		g_key_file_free(file);
		return false;
	}
	groups = g_key_file_get_groups(file, NULL);
	ok = config_load_groups(config, file, path, groups, quotas, error);
	g_strfreev(groups);
	g_key_file_free(file);
	return ok;
}

/* --------------------------- the command line --------------------------- */

struct command_line {
	char *file;
	char **quotas;
	gboolean version, check, foreground;
	char *values[G_N_ELEMENTS(config_settings)];
};

static bool config_parse_command_line(struct command_line *line, int *argc,
				      char ***argv, GError **error)
{
	GOptionEntry fixed[] = {
		{ "config", 'c', 0, G_OPTION_ARG_FILENAME, &line->file,
		  "Configuration file (" CONFIG_DEFAULT_FILE ")", "PATH" },
		{ "quota", 'q', 0, G_OPTION_ARG_STRING_ARRAY, &line->quotas,
		  "Default quota of every VM, as in [quota]; may be repeated",
		  "KEY=VALUE" },
		{ "foreground", 'f', 0, G_OPTION_ARG_NONE, &line->foreground,
		  "Stay in the foreground (always done)", NULL },
		{ "check-config", 0, 0, G_OPTION_ARG_NONE, &line->check,
		  "Check the settings and exit", NULL },
		{ "version", 0, 0, G_OPTION_ARG_NONE, &line->version,
		  "Show the version and exit", NULL },
		{ NULL }
	};
	GOptionEntry settings[G_N_ELEMENTS(config_settings) + 1] = { 0 };
	GOptionContext *context;
	bool ok;

	for (size_t i = 0; i < G_N_ELEMENTS(config_settings); i++)
		settings[i] = (GOptionEntry) {
			.long_name = config_settings[i].key,
			.arg = G_OPTION_ARG_STRING,
			.arg_data = &line->values[i],
			.description = config_settings[i].help,
			.arg_description = config_settings[i].arg,
		};
	context = g_option_context_new("- serve paravirtual RDMA adapters");
	g_option_context_add_main_entries(context, fixed, NULL);
	g_option_context_add_main_entries(context, settings, NULL);
	ok = g_option_context_parse(context, argc, argv, error);
	g_option_context_free(context);
	if (ok && *argc > 1)
		ok = config_error(error, (*argv)[1], "unexpected argument");
	return ok;
}

static bool config_apply_command_line(struct config *config,
				      const struct command_line *line,
				      GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(config_settings); i++) {
		char *where;
		bool ok;

		if (!line->values[i])
			continue;
		where = g_strdup_printf("option --%s", config_settings[i].key);
		ok = config_set(&config_settings[i], config, line->values[i],
				where, error);
		g_free(where);
		if (!ok)
			return false;
	}
	return true;
}

static struct config *config_new(void)
{
	struct config *config = g_new0(struct config, 1);

	config->socket = g_strdup(CONFIG_DEFAULT_SOCKET);
	config->socket_mode = 0660;
	config->fabric = g_strdup("loopback");
	config->ib_port = 1;
	config->log_level = g_strdup("message");
	config->workers = 1;
	config->spin_us = 50;
	config->max_sessions = 256;
	config->keep_mapped = 4ull << 30;
	config->foreground = true;
	config->unlisted_vms = true;
	config->give_way = true;
	config->quota = quota_defaults;
	config_set_ports(&config->listen, PORTS_DEFAULT, "", NULL);
	config->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					    vm_settings_free);
	return config;
}

struct config *config_load(int *argc, char ***argv,
			   struct config_actions *actions, GError **error)
{
	struct config *config = config_new();
	struct command_line line = { 0 };
	bool ok;

	ok = config_parse_command_line(&line, argc, argv, error);
	if (ok && !line.version)
		ok = config_load_file(config,
				      line.file ? line.file : CONFIG_DEFAULT_FILE,
				      line.file, line.quotas, error);
	if (ok)
		ok = config_apply_command_line(config, &line, error);
	actions->version = line.version;
	actions->check = line.check;

	g_free(line.file);
	g_strfreev(line.quotas);
	for (size_t i = 0; i < G_N_ELEMENTS(line.values); i++)
		g_free(line.values[i]);
	if (ok)
		return config;
	config_free(config);
	return NULL;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	g_hash_table_destroy(config->vms);
	g_free(config->socket);
	g_free(config->fabric);
	g_free(config->ibdev);
	g_free(config->log_level);
	g_free(config->cpus);
	g_free(config->metrics);
	g_free(config);
}

struct vm_policy *vm_policy_new(const struct config *config, const char *name,
				const uint8_t uuid[16])
{
	static const uint8_t no_uuid[16];
	struct vm_policy *policy = g_new0(struct vm_policy, 1);
	const struct vm_settings *vm = NULL;
	char text[UUID_TEXT];

	if (memcmp(uuid, no_uuid, sizeof(no_uuid)))
		vm = g_hash_table_lookup(config->vms,
					 address_uuid_text(uuid, text));
	if (!vm && name[0])
		vm = g_hash_table_lookup(config->vms, name);
	if (vm) {
		*policy = vm->policy;
		policy->addresses = g_strdupv(vm->policy.addresses);
	} else {
		policy->quota = config->quota;
		policy->refused = !config->unlisted_vms;
	}
	if (!policy->has_listen)
		policy->listen = config->listen;
	return policy;
}

void vm_policy_free(struct vm_policy *policy)
{
	if (!policy)
		return;
	g_strfreev(policy->addresses);
	g_free(policy);
}
