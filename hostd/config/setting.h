/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settings as rows of tables. A key `max-sessions` in group [pvhcad] of the
 * configuration file is the option --max-sessions of the command line, too.
 *
 * config/ has rows of its own. What lies above it, such as a fabric, declares its
 * settings in a table, which main() hands to config_load().
 */
#ifndef HOSTD_CONFIG_SETTING_H
#define HOSTD_CONFIG_SETTING_H

#include <stddef.h>
#include <stdint.h>

enum setting_type {
	SETTING_TEXT,	/* char *, allocated; NULL: empty */
	SETTING_NUMBER, /* unsigned int or uint32_t */
	SETTING_SIZE,	/* uint64_t, bytes */
	SETTING_MODE,	/* unsigned int, octal */
	SETTING_OWNER,	/* uint32_t: a user, by name or number; LISTENER_NOBODY: empty */
	SETTING_GROUP,	/* likewise a group */
	SETTING_BOOL,
	SETTING_WORD,	 /* char *, one of a list */
	SETTING_FABRIC,	 /* char *, one of the fabrics */
	SETTING_METRICS, /* char *, lib/metrics_address.h, or none */
	SETTING_PORTS,	 /* struct port_list */
	SETTING_ROUTES,	 /* struct route_list */
};

/**
 * struct setting - a row
 * @offset: of its value in the structure that the table is for
 * @min, @max: of the number, or of a text's length
 * @words: NULL at the end
 * @arg, @help: for --help
 */
struct setting {
	const char *key;
	enum setting_type type;
	size_t offset;
	uint64_t min, max;
	const char *const *words;
	const char *arg, *help;
};

/**
 * struct setting_table - settings of one part of pvhcad
 * @values: where the values go, with the defaults, which for texts and words is NULL;
 *	these are allocated by config_load(), freed and NULL after config_free()
 */
struct setting_table {
	const struct setting *settings;
	size_t count;
	void *values;
};

/**
 * struct config_fabrics - what config/ is told of the fabrics, which lie above it
 * @names: of all there are; NULL at the end
 * @tables: settings of all that have some; likewise. Keys must differ from all others
 * @standard: the one that is taken if none is named
 */
struct config_fabrics {
	const char *const *names;
	const struct setting_table *const *tables;
	const char *standard;
};

#endif
