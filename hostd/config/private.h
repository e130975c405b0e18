/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the settings share; all others see config/config.h. */
#ifndef HOSTD_CONFIG_PRIVATE_H
#define HOSTD_CONFIG_PRIVATE_H

#include <glib.h>

#include "config/config.h"

enum setting_type {
	SETTING_TEXT,	/* char * */
	SETTING_NUMBER, /* unsigned int or uint32_t */
	SETTING_SIZE,	/* uint64_t, bytes */
	SETTING_MODE,	/* unsigned int, octal */
	SETTING_BOOL,
	SETTING_WORD,	 /* char *, one of a list */
	SETTING_METRICS, /* char *, where stats/metrics.h listens, or none */
	SETTING_PORTS,	 /* struct port_list */
};

/* struct setting - a row of the table; min and max: of the number, or of a text's length */
struct setting {
	const char *key;
	enum setting_type type;
	size_t offset;
	uint64_t min, max;
	const char *const *words;
	const char *arg, *help; /* for --help */
};

/* ---------------------------- config/settings.c ---------------------------- */

/* Those of group [pvhcad], and of the command line. */
extern const struct setting config_settings[];
extern const size_t config_num_settings;

/* NULL: unknown. */
const struct setting *config_find(const char *key);
const struct setting *config_find_quota(const char *key);

/*
 * Set it in base, a struct config or a struct quota. False with *error, which names
 * where the value stood and what is wrong with it.
 */
bool config_set(const struct setting *setting, void *base, const char *value, const char *where,
		GError **error);
/* Ports and ranges of them, separated by commas or blanks; "none". */
bool config_set_ports(struct port_list *to, const char *value, const char *where, GError **error);
/* Sets *error; returns false. */
bool config_error(GError **error, const char *where, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ------------------------------ config/file.c ------------------------------ */

/* quotas: those of the command line, KEY=VALUE, which VMs inherit; or NULL. */
bool config_load_file(struct config *config, const char *path, bool must_exist, char **quotas,
		      GError **error);

#endif
