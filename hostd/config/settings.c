// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The rows of config/ (config/setting.h), and how values are read. Rows of quotas serve
 * [quota], [vm ...] and --quota.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "config/private.h"
#include "lib/account.h"
#include "lib/metrics_address.h"
#include "pvhca/pvhca-regs.h"
#include "rdma/pvhca-ring.h"
#include "lib/table.h"

static const char *const config_levels[] = { "error", "warning", "message", "info", "debug", NULL };

#define AT(field) offsetof(struct config, field)
static const struct setting config_settings[] = {
	{ "socket", SETTING_TEXT, AT(socket), 1, 100, NULL, "PATH",
	  "Socket that QEMU connects to" },
	{ "socket-mode", SETTING_MODE, AT(socket_access.mode), 0, 0777, NULL, "MODE",
	  "Its access mode, octal" },
	{ "socket-owner", SETTING_OWNER, AT(socket_access.owner), 0, 0, NULL, "USER", "Its owner" },
	{ "socket-group", SETTING_GROUP, AT(socket_access.group), 0, 0, NULL, "GROUP",
	  "Its group" },
	{ "stats-mode", SETTING_MODE, AT(stats_access.mode), 0, 0777, NULL, "MODE",
	  "Access mode of the socket for statistics, octal; as socket-mode" },
	{ "stats-group", SETTING_GROUP, AT(stats_access.group), 0, 0, NULL, "GROUP", "Its group" },
	{ "fabric", SETTING_FABRIC, AT(fabric), 0, 0, NULL, "NAME", "Fabric that carries RDMA" },
	{ "log-level", SETTING_WORD, AT(log_level), 0, 0, config_levels, "LEVEL",
	  "error, warning, message, info or debug" },
	{ "workers", SETTING_NUMBER, AT(workers), 1, 256, NULL, "N",
	  "Threads that serve the guests' queues" },
	{ "spin-us", SETTING_NUMBER, AT(spin_us), 0, 10000000, NULL, "US",
	  "Poll this long after the last work before sleeping" },
	{ "give-way", SETTING_BOOL, AT(give_way), 0, 0, NULL, "BOOL",
	  "Stop polling when others want the processor" },
	{ "cpus", SETTING_TEXT, AT(cpus), 0, 4095, NULL, "LIST",
	  "Processors for the workers, e.g. 2-3,6" },
	{ "priority", SETTING_NUMBER, AT(priority), 0, 20, NULL, "N",
	  "Lower the workers' nice value by this" },
	{ "max-sessions", SETTING_NUMBER, AT(max_sessions), 1, 4096, NULL, "N",
	  "VMs served at a time" },
	{ "keep-mapped", SETTING_SIZE, AT(keep_mapped), 0, UINT64_MAX, NULL, "BYTES",
	  "Deregistered memory that stays mapped for the next time" },
	{ "user", SETTING_OWNER, AT(user), 0, 0, NULL, "USER",
	  "Whom pvhcad becomes if root starts it (pvhca, else nobody)" },
	{ "sandbox", SETTING_BOOL, AT(sandbox), 0, 0, NULL, "BOOL",
	  "End pvhcad at a system call that it has no need of" },
	{ "unlisted-vms", SETTING_BOOL, AT(unlisted_vms), 0, 0, NULL, "BOOL",
	  "Serve VMs that have no [vm] group" },
	{ "metrics", SETTING_METRICS, AT(metrics), 0, 107, NULL, "ADDRESS",
	  "Serve counters to Prometheus: path of a socket, or 127.0.0.1:PORT" },
	{ "listen", SETTING_PORTS, AT(listen), 0, 0, NULL, "PORTS",
	  "Ports on which native peers reach VMs, e.g. 7471,18515-18520" },
	{ "translate", SETTING_BOOL, AT(translate), 0, 0, NULL, "BOOL",
	  "VMs may have addresses that the host's device has not" },
	{ "peer", SETTING_ROUTES, AT(peer), 0, 0, NULL, "ROUTES",
	  "VMs of other hosts, e.g. 10.1.2.0/24 via 10.0.0.2" },
};
#undef AT

#define AT(field) offsetof(struct quota, field)
static const struct setting quota_settings[] = {
	{ .key = "adapters", SETTING_NUMBER, AT(adapters), 1, 4096 },
	{ .key = "contexts", SETTING_NUMBER, AT(contexts), 1, 65536 },
	{ .key = "pds", SETTING_NUMBER, AT(pds), 1, TABLE_LIMIT_MAX },
	{ .key = "mrs", SETTING_NUMBER, AT(mrs), 1, TABLE_LIMIT_MAX },
	{ .key = "mws", SETTING_NUMBER, AT(mws), 1, TABLE_LIMIT_MAX },
	{ .key = "ahs", SETTING_NUMBER, AT(ahs), 1, TABLE_LIMIT_MAX },
	{ .key = "cqs", SETTING_NUMBER, AT(cqs), 1, TABLE_LIMIT_MAX },
	{ .key = "srqs", SETTING_NUMBER, AT(srqs), 1, TABLE_LIMIT_MAX },
	{ .key = "qps", SETTING_NUMBER, AT(qps), 1, TABLE_LIMIT_MAX },
	{ .key = "max-wr", SETTING_NUMBER, AT(max_wr), 1, 1u << PVHCA_RING_MAX_LOG_ENTRIES },
	{ .key = "max-cqe", SETTING_NUMBER, AT(max_cqe), 1, 1u << PVHCA_CQ_MAX_LOG_ENTRIES },
	{ .key = "gids", SETTING_NUMBER, AT(gids), 1, CONFIG_MAX_GIDS },
	{ .key = "connections", SETTING_NUMBER, AT(connections), 1, TABLE_LIMIT_MAX },
	{ .key = "mappings", SETTING_NUMBER, AT(mappings), 1, UINT32_MAX },
	{ .key = "memory-bytes", SETTING_SIZE, AT(memory_bytes), PVHCA_GRANULE, UINT64_MAX },
	{ .key = "pinned-bytes", SETTING_SIZE, AT(pinned_bytes), PVHCA_GRANULE, UINT64_MAX },
	{ .key = "heap-bytes", SETTING_SIZE, AT(heap_bytes), CONFIG_MIN_HEAP, UINT64_MAX / 2 },
	{ .key = "share", SETTING_NUMBER, AT(share), 1, 10000 },
	{ .key = "rate", SETTING_SIZE, AT(rate), 0, CONFIG_MAX_RATE },
	{ .key = "rate-burst", SETTING_SIZE, AT(rate_burst), 0, CONFIG_MAX_RATE },
	{ .key = "message-rate", SETTING_NUMBER, AT(message_rate), 0, UINT32_MAX },
	{ .key = "message-burst", SETTING_NUMBER, AT(message_burst), 0, UINT32_MAX },
};
#undef AT

#define AT(field) offsetof(struct config_vm, field)
static const struct setting vm_settings[] = {
	{ .key = "socket", SETTING_TEXT, AT(socket.path), 1, 100 },
	{ .key = "socket-mode", SETTING_MODE, AT(socket.access.mode), 0, 0777 },
	{ .key = "socket-owner", SETTING_OWNER, AT(socket.access.owner) },
	{ .key = "socket-group", SETTING_GROUP, AT(socket.access.group) },
};
#undef AT

/* ---------------------------------- values --------------------------------- */

#define CONFIG_ERROR g_quark_from_static_string("pvhcad-config")

bool config_error(GError **error, const char *where, const char *format, ...)
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
static bool config_parse_number(const char *text, unsigned int base, bool suffix, uint64_t *number)
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
		if (!at ||
		    __builtin_mul_overflow(*number, 1ull << 10 * (at - suffixes + 1), number))
			return false;
		end++;
	}
	return !*end;
}

static bool config_set_number(const struct setting *setting, void *to, const char *value,
			      const char *where, GError **error)
{
	uint64_t number;

	if (!config_parse_number(value, setting->type == SETTING_MODE ? 8 : 10,
				 setting->type == SETTING_SIZE, &number))
		return config_error(
			error, where, "\"%s\" is not %s", value,
			setting->type == SETTING_MODE	      ? "an octal mode" :
				setting->type == SETTING_SIZE ? "a size such as 4096, 512M or 64G" :
								"a number");
	if (number < setting->min || number > setting->max)
		return config_error(error, where,
				    setting->type == SETTING_MODE ?
					    "%s is not in %#" G_GINT64_MODIFIER
					    "o to %#" G_GINT64_MODIFIER "o" :
					    "%s is not in %" G_GUINT64_FORMAT
					    " to %" G_GUINT64_FORMAT,
				    value, setting->min, setting->max);
	if (setting->type == SETTING_SIZE)
		*(uint64_t *)to = number;
	else
		*(unsigned int *)to = number;
	return true;
}

static bool config_set_word(const char *const *words, char **to, const char *value,
			    const char *where, GError **error)
{
	char *all;

	if (g_strv_contains(words, value)) {
		g_free(*to);
		*to = g_strdup(value);
		return true;
	}
	all = g_strjoinv(", ", (char **)words);
	config_error(error, where, "\"%s\" is not one of: %s", value, all);
	g_free(all);
	return false;
}

static bool config_set_text(const struct setting *setting, char **to, const char *value,
			    const char *where, GError **error)
{
	size_t len = strlen(value);

	if (len < setting->min || len > setting->max)
		return config_error(error, where,
				    "must have %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
				    " characters",
				    setting->min, setting->max);
	g_free(*to);
	*to = len ? g_strdup(value) : NULL;
	return true;
}

static bool config_set_metrics(const struct setting *setting, char **to, const char *value,
			       const char *where, GError **error)
{
	struct metrics_address address;
	const char *wrong;

	wrong = *value ? metrics_address_parse(value, &address) : NULL;
	if (wrong)
		return config_error(error, where, "\"%s\" %s", value, wrong);
	return config_set_text(setting, to, value, where, error);
}

static bool config_set_account(const struct setting *setting, uint32_t *to, const char *value,
			       const char *where, GError **error)
{
	struct account account;

	if (!*value) {
		*to = LISTENER_NOBODY;
		return true;
	}
	if (setting->type == SETTING_GROUP)
		return account_group(value, to) ||
			config_error(error, where, "\"%s\" is no group in /etc/group", value);
	if (!account_user(value, &account))
		return config_error(error, where, "\"%s\" is no user in /etc/passwd", value);
	*to = account.user;
	return true;
}

/* "N" or "N-M" at text; *next: behind it. */
static bool config_parse_range(const char *text, struct port_range *range, const char **next)
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

bool config_set_ports(struct port_list *to, const char *value, const char *where, GError **error)
{
	struct port_list list = { 0 };
	struct port_range range;
	const char *at = value;
	unsigned int ports = 0;

	if (!strcmp(value, "none"))
		at = "";
	for (at += strspn(at, " \t,"); *at; at += strspn(at, " \t,")) {
		if (!config_parse_range(at, &range, &at) || (*at && !strchr(" \t,", *at)))
			return config_error(
				error, where,
				"\"%s\" is not a list of ports such as 7471, 18515-18520", value);
		ports += range.last - range.first + 1;
		if (list.count == CONFIG_PORT_RANGES || ports > CONFIG_MAX_PORTS)
			return config_error(error, where, "more than %u ports or %u ranges",
					    CONFIG_MAX_PORTS, CONFIG_PORT_RANGES);
		list.range[list.count++] = range;
	}
	*to = list;
	return true;
}

bool config_set(const struct config *config, const struct setting *setting, void *values,
		const char *value, const char *where, GError **error)
{
	void *to = (char *)values + setting->offset;

	switch (setting->type) {
	case SETTING_TEXT:
		return config_set_text(setting, to, value, where, error);
	case SETTING_WORD:
		return config_set_word(setting->words, to, value, where, error);
	case SETTING_FABRIC:
		return config_set_word(config->fabrics->names, to, value, where, error);
	case SETTING_METRICS:
		return config_set_metrics(setting, to, value, where, error);
	case SETTING_OWNER:
	case SETTING_GROUP:
		return config_set_account(setting, to, value, where, error);
	case SETTING_PORTS:
		return config_set_ports(to, value, where, error);
	case SETTING_ROUTES:
		return config_set_routes(to, value, where, error);
	case SETTING_NUMBER:
	case SETTING_SIZE:
	case SETTING_MODE:
		return config_set_number(setting, to, value, where, error);
	case SETTING_BOOL:
		if (strcmp(value, "true") && strcmp(value, "false"))
			return config_error(error, where, "\"%s\" is neither true nor false",
					    value);
		*(bool *)to = !strcmp(value, "true");
		return true;
	}
	return true;
}

/* ----------------------------------- rows ---------------------------------- */

const struct setting *config_setting(struct config *config, size_t i, void **values)
{
	const struct setting_table *const *table;

	if (i < G_N_ELEMENTS(config_settings)) {
		*values = config;
		return &config_settings[i];
	}
	i -= G_N_ELEMENTS(config_settings);
	for (table = config->fabrics->tables; *table; i -= (*table)->count, table++)
		if (i < (*table)->count) {
			*values = (*table)->values;
			return &(*table)->settings[i];
		}
	return NULL;
}

const struct setting *config_find(struct config *config, const char *key, void **values)
{
	const struct setting *setting;

	for (size_t i = 0; (setting = config_setting(config, i, values)); i++)
		if (!strcmp(setting->key, key))
			return setting;
	return NULL;
}

static const struct setting *config_find_in(const struct setting *settings, size_t count,
					    const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

const struct setting *config_find_quota(const char *key)
{
	return config_find_in(quota_settings, G_N_ELEMENTS(quota_settings), key);
}

const struct setting *config_find_vm(const char *key)
{
	return config_find_in(vm_settings, G_N_ELEMENTS(vm_settings), key);
}
