/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the settings share; all others see config/config.h. */
#ifndef HOSTD_CONFIG_PRIVATE_H
#define HOSTD_CONFIG_PRIVATE_H

#include <glib.h>

#include "config/config.h"
#include "config/setting.h"

#define CONFIG_USERS	       8 /* that may come as one VM */
#define CONFIG_DEFAULT_NETWORK "default"
#define CONFIG_WHOLE_ADDRESS   128 /* bits of a prefix that is no prefix */

/**
 * struct config_vm - a [vm] group
 * @socket: its path is NULL: it has none of its own
 * @refused: serve=false
 * @users: who may come as this VM; none: anybody who may connect
 */
struct config_vm {
	struct vm_policy policy;
	struct config_socket socket;
	uint32_t users[CONFIG_USERS];
	unsigned int num_users;
	bool refused;
};

void config_vm_free(struct config_vm *vm);

/* config_take() changes what look-ups of any thread read. */
void config_lock(void);
void config_unlock(void);

/* ---------------------------- config/settings.c ---------------------------- */

/*
 * Setting number i of group [pvhcad] and of the command line, config/'s own and then the
 * fabrics'; NULL: there are no more. *values: where its value goes.
 */
const struct setting *config_setting(struct config *config, size_t i, void **values);
/* Likewise the one of that name; NULL: unknown. */
const struct setting *config_find(struct config *config, const char *key, void **values);
const struct setting *config_find_quota(const char *key);
/* Of struct config_vm. */
const struct setting *config_find_vm(const char *key);

/*
 * Set it in values. False with *error, which names where the value stood and what is
 * wrong with it. config: knows the fabrics.
 */
bool config_set(const struct config *config, const struct setting *setting, void *values,
		const char *value, const char *where, GError **error);
/* Ports and ranges of them, separated by commas or blanks; "none". */
bool config_set_ports(struct port_list *to, const char *value, const char *where, GError **error);
/* "PREFIX via ADDRESS", separated by commas; config/routes.c. */
bool config_set_routes(struct route_list *to, const char *value, const char *where, GError **error);
/* Sets *error; returns false. */
bool config_error(GError **error, const char *where, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ------------------------------ config/file.c ------------------------------ */

/* quotas: those of the command line, KEY=VALUE, which VMs inherit; or NULL. */
bool config_load_file(struct config *config, const char *path, bool must_exist, char **quotas,
		      GError **error);

#endif
