// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The configuration file: groups [pvhcad], [quota] and one [vm NAME-OR-UUID] for each
 * VM that has settings of its own; pvhcad.conf(5).
 */
#include <string.h>

#include "lib/account.h"
#include "lib/address.h"
#include "config/private.h"

/* IP addresses and prefixes, separated by blanks, commas or semicolons. */
static bool config_set_addresses(struct vm_policy *policy, const char *value, const char *where,
				 GError **error)
{
	char **words = g_strsplit_set(value, " \t,;", -1);
	GArray *array = g_array_new(FALSE, FALSE, sizeof(struct address_prefix));
	struct address_prefix prefix;
	bool ok = true;

	for (char **word = words; ok && *word; word++) {
		if (!**word)
			continue;
		ok = address_parse(*word, &prefix) ||
			config_error(error, where, "\"%s\" is not an IP address or prefix", *word);
		g_array_append_val(array, prefix);
	}
	g_strfreev(words);
	g_free(policy->addresses);
	policy->num_addresses = array->len;
	/* An empty list is a list: the VM may have none. */
	g_array_set_size(array, MAX(array->len, 1));
	policy->addresses = (struct address_prefix *)g_array_free(array, FALSE);
	return ok;
}

static bool config_set_users(struct config_vm *vm, const char *value, const char *where,
			     GError **error)
{
	char **words = g_strsplit_set(value, " \t,", -1);
	struct account account;
	bool ok = true;

	vm->num_users = 0;
	for (char **word = words; ok && *word; word++) {
		if (!**word)
			continue;
		if (!account_user(*word, &account))
			ok = config_error(error, where, "\"%s\" is no user in /etc/passwd", *word);
		else if (vm->num_users == CONFIG_USERS)
			ok = config_error(error, where, "more than %u users", CONFIG_USERS);
		else
			vm->users[vm->num_users++] = account.user;
	}
	if (ok && !vm->num_users)
		ok = config_error(error, where, "no user");
	g_strfreev(words);
	return ok;
}

/* It is shown in tables, JSON and metrics, so only characters that need no care there. */
static bool config_set_network(struct vm_policy *policy, const char *value, const char *where,
			       GError **error)
{
	size_t len = strlen(value);

	if (!len || len > CONFIG_MAX_NETWORK ||
	    strspn(value, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-_.") != len)
		return config_error(error, where,
				    "must have 1 to %u letters, digits, dots, dashes, underscores",
				    CONFIG_MAX_NETWORK);
	policy->network = strcmp(value, CONFIG_DEFAULT_NETWORK) ? g_quark_from_string(value) : 0;
	return true;
}

/* *has: it was said. */
static bool config_set_flag(bool *has, bool *flag, const char *value, const char *where,
			    GError **error)
{
	*flag = !strcmp(value, "true");
	*has = *flag || !strcmp(value, "false");
	return *has || config_error(error, where, "must be true or false");
}

static bool config_set_vm_key(const struct config *config, struct config_vm *vm, const char *key,
			      const char *value, const char *where, GError **error)
{
	struct vm_policy *policy = &vm->policy;
	const struct setting *setting;

	if (!strcmp(key, "mac")) {
		policy->has_mac = address_parse_mac(value, policy->mac);
		return policy->has_mac ||
			config_error(error, where, "\"%s\" is not a unicast MAC address", value);
	}
	if (!strcmp(key, "pair"))
		return config_set_flag(&policy->has_pair, &policy->pair, value, where, error);
	if (!strcmp(key, "translate"))
		return config_set_flag(&policy->has_translate, &policy->translate, value, where,
				       error);
	if (!strcmp(key, "listen")) {
		policy->has_listen = true;
		return config_set_ports(&policy->listen, value, where, error);
	}
	if (!strcmp(key, "addresses"))
		return config_set_addresses(policy, value, where, error);
	if (!strcmp(key, "network"))
		return config_set_network(policy, value, where, error);
	if (!strcmp(key, "uid"))
		return config_set_users(vm, value, where, error);
	if (!strcmp(key, "serve")) {
		vm->refused = !strcmp(value, "false");
		return vm->refused || !strcmp(value, "true") ||
			config_error(error, where, "must be true or false");
	}
	setting = config_find_vm(key);
	if (setting)
		return config_set(config, setting, vm, value, where, error);
	setting = config_find_quota(key);
	if (!setting)
		return config_error(error, where, "unknown key");
	return config_set(config, setting, &policy->quota, value, where, error);
}

static bool config_set_key(struct config *config, const char *group, struct config_vm *vm,
			   const char *key, const char *value, const char *where, GError **error)
{
	const struct setting *setting;
	void *values;

	if (vm)
		return config_set_vm_key(config, vm, key, value, where, error);
	if (!strcmp(group, "quota")) {
		setting = config_find_quota(key);
		values = &config->quota;
	} else {
		setting = config_find(config, key, &values);
	}
	if (!setting)
		return config_error(error, where, "unknown key");
	if (!strcmp(group, "pvhcad"))
		g_hash_table_replace(config->given, g_strdup(key), g_strdup(value));
	return config_set(config, setting, values, value, where, error);
}

/*
 * The number of the line where a key of a group stands, or with key NULL the group itself; 0: nowhere.
 * Of several the last, whose value counts.
 */
static unsigned int config_line(const char *text, const char *group, const char *key)
{
	char **lines = g_strsplit(text, "\n", -1), *head = g_strdup_printf("[%s]", group);
	unsigned int found = 0;
	bool within = false;

	for (unsigned int i = 0; lines[i]; i++) {
		char *line = g_strstrip(lines[i]), *equal;

		if (*line == '[') {
			within = !strcmp(line, head);
			if (within && !key)
				found = i + 1;
			continue;
		}
		equal = strchr(line, '=');
		if (!within || !key || *line == '#' || !equal)
			continue;
		*equal = '\0';
		if (!strcmp(g_strchomp(line), key))
			found = i + 1;
	}
	g_free(head);
	g_strfreev(lines);
	return found;
}

/* What is read: the file's path, its text, and what GLib made of that. */
struct source {
	const char *path;
	char *text;
	GKeyFile *file;
};

static bool config_load_group(struct config *config, const struct source *source, const char *group,
			      struct config_vm *vm, GError **error)
{
	char **keys = g_key_file_get_keys(source->file, group, NULL, error);
	bool ok = keys;

	for (char **key = keys; ok && *key; key++) {
		char *where = g_strdup_printf("%s, line %u: group [%s], key %s", source->path,
					      config_line(source->text, group, *key), group, *key);
		GError *failure = NULL;
		char *value = g_key_file_get_string(source->file, group, *key, &failure);

		/* GLib gives both for an escape that it does not know: a value, and what is wrong. */
		if (failure)
			ok = config_error(error, where, "%s", failure->message);
		else
			ok = config_set_key(config, group, vm, *key, g_strstrip(value), where,
					    error);
		g_clear_error(&failure);
		g_free(value);
		g_free(where);
	}
	g_strfreev(keys);
	return ok;
}

/* [vm NAME-OR-UUID]; UUIDs are kept in lower case, as address_uuid_text() gives them. */
static bool config_load_vm(struct config *config, const struct source *source, const char *group,
			   GError **error)
{
	struct config_vm *vm = g_new0(struct config_vm, 1);
	char *id = g_strstrip(g_strdup(group + strlen("vm ")));

	if (g_uuid_string_is_valid(id)) {
		char *lower = g_ascii_strdown(id, -1);

		g_free(id);
		id = lower;
	}
	/* Groups that differ in space or case only are the same VM: an oversight. */
	if (g_hash_table_contains(config->vms, id)) {
		config_error(error, source->path,
			     "line %u: group [%s]: this VM has a group already",
			     config_line(source->text, group, NULL), group);
		g_free(id);
		config_vm_free(vm);
		return false;
	}
	vm->policy.quota = config->quota;
	vm->policy.group = g_strdup(id);
	vm->socket.group = g_strdup(id);
	vm->socket.access = config->socket_access;
	g_hash_table_insert(config->vms, id, vm);
	return config_load_group(config, source, group, vm, error);
}

static bool config_apply_quotas(struct config *config, char **quotas, GError **error)
{
	bool ok = true;

	for (char **quota = quotas; ok && quota && *quota; quota++) {
		char **pair = g_strsplit(*quota, "=", 2);
		char *where = g_strdup_printf("option --quota %s", *quota);

		if (!pair[0] || !pair[1])
			ok = config_error(error, where, "must be KEY=VALUE");
		else
			ok = config_set_key(config, "quota", NULL, pair[0], pair[1], where, error);
		g_strfreev(pair);
		g_free(where);
	}
	return ok;
}

static bool config_load_groups(struct config *config, const struct source *source, char **groups,
			       char **quotas, GError **error)
{
	bool ok = true;
	char **group;

	/* VMs inherit [quota], wherever it stands, and --quota. */
	for (group = groups; ok && *group; group++) {
		if (!strcmp(*group, "pvhcad") || !strcmp(*group, "quota"))
			ok = config_load_group(config, source, *group, NULL, error);
		else if (!g_str_has_prefix(*group, "vm "))
			ok = config_error(error, source->path, "line %u: unknown group [%s]",
					  config_line(source->text, *group, NULL), *group);
	}
	ok = ok && config_apply_quotas(config, quotas, error);
	for (group = groups; ok && *group; group++)
		if (g_str_has_prefix(*group, "vm "))
			ok = config_load_vm(config, source, *group, error);
	return ok;
}

bool config_load_file(struct config *config, const char *path, bool must_exist, char **quotas,
		      GError **error)
{
	struct source source = { .path = path, .file = g_key_file_new() };
	GError *failure = NULL;
	char **groups;
	bool ok;

	ok = g_file_get_contents(path, &source.text, NULL, &failure);
	if (!ok && !must_exist && g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
		g_clear_error(&failure);
		ok = config_apply_quotas(config, quotas, error);
		goto out;
	}
	ok = ok &&
		g_key_file_load_from_data(source.file, source.text, -1, G_KEY_FILE_NONE, &failure);
	if (!ok) {
		config_error(error, path, "%s", failure->message);
		g_clear_error(&failure);
		goto out;
	}
	groups = g_key_file_get_groups(source.file, NULL);
	ok = config_load_groups(config, &source, groups, quotas, error);
	g_strfreev(groups);
out:
	g_free(source.text);
	g_key_file_free(source.file);
	return ok;
}
