// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/text.h"

#include <unistd.h>

#include <check.h>
#include <glib/gstdio.h>

struct config *config_of_text(const char *text, const struct config_fabrics *fabrics)
{
	char *path, *argv[] = { "pvhcad", "--config", NULL, NULL }, **args = argv;
	int fd = g_file_open_tmp("pvhca-XXXXXX", &path, NULL), argc = 3;
	struct config_actions actions;
	struct config *config;

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert(g_file_set_contents(path, text, -1, NULL));
	argv[2] = path;
	config = config_load(&argc, &args, fabrics, &actions, NULL);
	ck_assert_ptr_nonnull(config);
	g_unlink(path);
	g_free(path);
	return config;
}
