/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings for tests that are not about the file that they stand in. */
#ifndef TESTS_UNIT_CONFIG_TEXT_H
#define TESTS_UNIT_CONFIG_TEXT_H

#include "config/config.h"

/* Those of a configuration file with that text, which must be right; config_free() is the caller's. */
struct config *config_of_text(const char *text, const struct config_fabrics *fabrics);

#endif
