// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The configuration file: groups [pvhcad], [quota] and one [vm NAME-OR-UUID] for each
 * VM that has settings of its own; pvhcad.conf(5).
 */
#include <string.h>

#include "lib/address.h"
#include "config/private.h"

static bool config_set_vm_key(struct vm_policy *policy, const char *key, const char *value,
			      const char *where, GError **error)
{
	const struct setting *setting;
	struct address_prefix prefix;

	if (!strcmp(key, "mac")) {
		policy->has_mac = address_parse_mac(value, policy->mac);
		return policy->has_mac ||
			config_error(error, where, "\"%s\" is not a unicast MAC address", value);
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
						    "\"%s\" is not an IP address or prefix", *a);
		return true;
	}
	setting = config_find_quota(key);
	if (!setting)
		return config_error(error, where, "unknown key");
	return config_set(setting, &policy->quota, value, where, error);
}

static bool config_set_key(struct config *config, const char *group, struct vm_policy *vm,
			   const char *key, const char *value, const char *where, GError **error)
{
	const struct setting *setting;
	void *base;

	if (vm)
		return config_set_vm_key(vm, key, value, where, error);
	if (!strcmp(group, "quota")) {
		setting = config_find_quota(key);
		base = &config->quota;
	} else {
		setting = config_find(key);
		base = config;
	}
	if (!setting)
		return config_error(error, where, "unknown key");
	return config_set(setting, base, value, where, error);
}

static bool config_load_group(struct config *config, GKeyFile *file, const char *path,
			      const char *group, struct vm_policy *vm, GError **error)
{
	char **keys = g_key_file_get_keys(file, group, NULL, error);
	bool ok = keys;

	for (char **key = keys; ok && *key; key++) {
		char *where = g_strdup_printf("%s: group [%s], key %s", path, group, *key);
		char *value = g_key_file_get_string(file, group, *key, error);

		if (value)
			g_strstrip(value);
		ok = value && config_set_key(config, group, vm, *key, value, where, error);
		g_free(value);
		g_free(where);
	}
	g_strfreev(keys);
	return ok;
}

/* [vm NAME-OR-UUID]; UUIDs are kept in lower case, as address_uuid_text() gives them. */
static bool config_load_vm(struct config *config, GKeyFile *file, const char *path,
			   const char *group, GError **error)
{
	struct vm_policy *vm = g_new0(struct vm_policy, 1);
	char *id = g_strstrip(g_strdup(group + strlen("vm ")));

	vm->quota = config->quota;
	if (g_uuid_string_is_valid(id)) {
		char *lower = g_ascii_strdown(id, -1);

		g_free(id);
		id = lower;
	}
	/* Groups that differ in space or case only are the same VM: an oversight. */
	if (g_hash_table_contains(config->vms, id)) {
		config_error(error, path, "group [%s]: this VM has a group already", group);
		g_free(id);
		vm_policy_free(vm);
		return false;
	}
	g_hash_table_insert(config->vms, id, vm);
	return config_load_group(config, file, path, group, vm, error);
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

static bool config_load_groups(struct config *config, GKeyFile *file, const char *path,
			       char **groups, char **quotas, GError **error)
{
	bool ok = true;
	char **group;

	/* VMs inherit [quota], wherever it stands, and --quota. */
	for (group = groups; ok && *group; group++) {
		if (!strcmp(*group, "pvhcad") || !strcmp(*group, "quota"))
			ok = config_load_group(config, file, path, *group, NULL, error);
		else if (!g_str_has_prefix(*group, "vm "))
			ok = config_error(error, path, "unknown group [%s]", *group);
	}
	ok = ok && config_apply_quotas(config, quotas, error);
	for (group = groups; ok && *group; group++)
		if (g_str_has_prefix(*group, "vm "))
			ok = config_load_vm(config, file, path, *group, error);
	return ok;
}

bool config_load_file(struct config *config, const char *path, bool must_exist, char **quotas,
		      GError **error)
{
	GKeyFile *file = g_key_file_new();
	GError *failure = NULL;
	char **groups;
	bool ok;

	ok = g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &failure);
	if (!ok && !must_exist && g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
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
