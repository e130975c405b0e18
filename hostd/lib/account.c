// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

/* The last number means "none" to chown(2) and its relatives. */
static bool account_number(const char *text, uint32_t *number)
{
	guint64 value;

	if (!g_ascii_string_to_unsigned(text, 10, 0, UINT32_MAX - 1, &value, NULL))
		return false;
	*number = value;
	return true;
}

/* The user of this name or, where it is NULL, of this number; name: to be freed, or NULL. */
static bool account_find(const char *name, uint32_t number, struct account *account, char **found)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry = NULL;

	while (file && (entry = fgetpwent(file)))
		if (name ? !strcmp(entry->pw_name, name) : entry->pw_uid == number)
			break;
	if (entry) {
		*account = (struct account){ .user = entry->pw_uid, .group = entry->pw_gid };
		if (found)
			*found = g_strdup(entry->pw_name);
	}
	if (file)
		fclose(file);
	return entry;
}

bool account_user(const char *text, struct account *account)
{
	uint32_t number;

	if (!account_number(text, &number))
		return account_find(text, 0, account, NULL);
	if (!account_find(NULL, number, account, NULL))
		*account = (struct account){ .user = number, .group = getegid() };
	return true;
}

bool account_group(const char *text, uint32_t *group)
{
	struct group *entry = NULL;
	FILE *file;

	if (account_number(text, group))
		return true;
	file = fopen("/etc/group", "re");
	while (file && (entry = fgetgrent(file)))
		if (!strcmp(entry->gr_name, text))
			break;
	if (entry)
		*group = entry->gr_gid;
	if (file)
		fclose(file);
	return entry;
}

size_t account_groups(uint32_t user, uint32_t *groups, size_t max)
{
	struct account account;
	struct group *entry;
	char *name = NULL;
	size_t count = 0;
	FILE *file;

	if (!account_find(NULL, user, &account, &name))
		return 0;
	file = fopen("/etc/group", "re");
	while (file && count < max && (entry = fgetgrent(file)))
		if (g_strv_contains((const char *const *)entry->gr_mem, name))
			groups[count++] = entry->gr_gid;
	if (file)
		fclose(file);
	g_free(name);
	return count;
}
