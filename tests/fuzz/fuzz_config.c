// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration file. It is the administrator's, but a mistake in it must not do harm. */
#include "fuzz.h"
#include "host.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_init("");
	return 0;
}

/* What is asked of the settings when a VM comes. */
static void admit(const struct config *config, const char *group, const char *name)
{
	static const uint8_t uuid[16] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
					  0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x01 };
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 },
			     gid[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
	const struct config_peer peer = {
		.group = group,
		.user = 0,
		.name = name,
		.uuid = uuid,
	};
	const char *reason = NULL;
	struct vm_policy *policy = config_admit(config, &peer, &reason);
	uint8_t host[16];

	config_route(config, gid, host);
	FUZZ_CHECK(policy || reason);
	if (!policy)
		return;
	config_may_have(config, policy, gid);
	config_mac_reserved(config, policy, mac);
	config_network_name(policy->network);
	config_policy_free(policy);
}

/* The file is changed, and read again while VMs are served. */
static void reload(struct config *config, const uint8_t *data, size_t size)
{
	GError *error = NULL;
	struct config *next;

	host_config_text(data, size);
	next = config_read_again(config, &error);
	FUZZ_CHECK(!next == !!error);
	if (next && size % 2)
		config_free_copy(next);
	else if (next)
		g_free(config_take(config, next));
	g_clear_error(&error);
}

/* An input is the file, and behind a byte of 0 what it is later. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *later = memchr(data, 0, size);
	const size_t first = later ? (size_t)(later - data) : size;
	GError *error = NULL;
	struct config *config = host_config(data, first, &error);

	FUZZ_CHECK(!config == !!error);
	if (config && later)
		reload(config, later + 1, size - first - 1);
	if (config) {
		admit(config, NULL, "one");
		admit(config, NULL, "");
		admit(config, "one", "");
	}
	config_free(config);
	g_clear_error(&error);
	return 0;
}
