/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An engine that takes its time, for tests. Its settings: null-delay is a time that each
 * control operation takes; null-gate is the path of a unix stream socket, at which a test
 * listens. Each operation connects to it, sends its name and a newline, and goes on when
 * the test closes the connection.
 */
#ifndef HOSTD_FABRIC_NULL_SLOW_H
#define HOSTD_FABRIC_NULL_SLOW_H

#include <stdbool.h>

#include "config/setting.h"

extern const struct setting_table slow_setting_table;

bool slow_is_wanted(void);
/* Wait as the settings say. operation: its name. Any thread. */
void slow_down(const char *operation);

#endif
