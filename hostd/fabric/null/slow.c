// SPDX-License-Identifier: GPL-2.0-or-later
#include "fabric/null/slow.h"

#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/clock.h"
#include "lib/log.h"

CALLS_ON("null", "connect sendto recvfrom");

#define GATE_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define NAME_MAX_TEXT 32

/* delay: microseconds; gate: NULL: none */
static struct slow_settings {
	unsigned int delay;
	char *gate;
} settings;

static const struct setting rows[] = {
	{ "null-delay", SETTING_NUMBER, offsetof(struct slow_settings, delay), 0, 10000000, NULL,
	  "US", "Microseconds that a control operation of the null fabric takes" },
	{ "null-gate", SETTING_TEXT, offsetof(struct slow_settings, gate), 0, GATE_PATH_MAX, NULL,
	  "PATH", "Socket of a test that lets each such operation go on" },
};

const struct setting_table slow_setting_table = {
	.settings = rows,
	.count = G_N_ELEMENTS(rows),
	.values = &settings,
};

bool slow_is_wanted(void)
{
	return settings.delay || settings.gate;
}

static void wait_for_time(void)
{
	struct timespec time = {
		.tv_sec = settings.delay / 1000000,
		.tv_nsec = settings.delay % 1000000 * NS_PER_US,
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &time) == EINTR)
		;
}

static bool pass_gate(int fd, const char *operation)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char line[NAME_MAX_TEXT], byte;
	int length;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", settings.gate);
	length = snprintf(line, sizeof(line), "%s\n", operation);
	return !connect(fd, (struct sockaddr *)&address, sizeof(address)) &&
		send(fd, line, length, MSG_NOSIGNAL) == length && recv(fd, &byte, 1, 0) >= 0;
}

/* A test that is gone lets all pass. */
static void wait_for_gate(const char *operation)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || !pass_gate(fd, operation))
		g_debug("null fabric: %s passes: %s", operation, log_strerror(errno));
	if (fd >= 0)
		close(fd);
}

void slow_down(const char *operation)
{
	if (settings.delay)
		wait_for_time();
	if (settings.gate)
		wait_for_gate(operation);
}
