/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fabrics that there are: one for each folder here, which must define
 * `const struct fabric_ops fabric_FOLDER`. CMake makes the list.
 */
#ifndef HOSTD_FABRIC_FABRICS_H
#define HOSTD_FABRIC_FABRICS_H

#include "config/setting.h"
#include "fabric/fabric.h"

/* The one that is taken if the settings name none. */
#define FABRICS_STANDARD "loopback"

/* NULL at the end. */
extern const struct fabric_ops *const fabrics[];

/* NULL: there is none of that name. */
const struct fabric_ops *fabrics_find(const char *name);
/* Their names and settings, for config_load(). */
const struct config_fabrics *fabrics_config(void);

/*
 * What a fabric lacks by the rule of fabric/fabric.h: the name of an operation that is
 * needed, or that belongs to another that it has. NULL: nothing.
 */
const char *fabrics_incomplete(const struct fabric_ops *ops);

#endif
