/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Users and groups of this host, by number or by their names in /etc/passwd and
 * /etc/group. Other directories (NSS) are not asked: their modules would be loaded
 * into a process that has given its rights up.
 */
#ifndef HOSTD_LIB_ACCOUNT_H
#define HOSTD_LIB_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct account - a user
 * @group: its main group; that of the process for a number without an entry
 */
struct account {
	uint32_t user, group;
};

/* False: no such user, or a number beyond 2^32 - 2. */
bool account_user(const char *text, struct account *account);
bool account_group(const char *text, uint32_t *group);
/* Up to max further groups of a user into groups; their number. */
size_t account_groups(uint32_t user, uint32_t *groups, size_t max);

#endif
