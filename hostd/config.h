/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settings: defaults, overridden by the configuration file, overridden by the
 * command line.
 */
#ifndef HOSTD_CONFIG_H
#define HOSTD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

/* What one VM may have; all are counts but pinned_bytes. */
struct quota {
	uint32_t contexts;
	uint32_t pds;
	uint32_t mrs;
	uint32_t cqs;
	uint32_t qps;
	uint32_t max_wr;	/* per queue */
	uint32_t max_cqe;
	uint32_t gids;
	uint64_t pinned_bytes;
};

struct config {
	char *socket;		/* path */
	unsigned int socket_mode;
	char *fabric;		/* "loopback" or "verbs" */
	char *ibdev;		/* verbs: host device */
	unsigned int ib_port;
	char *log_level;
	unsigned int workers;
	unsigned int spin_us;	/* polling after the last work before sleep */
	char *cpus;		/* list for the workers, e.g. "2-3,6", or NULL */
	unsigned int max_sessions;
	bool foreground;
	struct quota quota;	/* defaults of every VM */
	void *vms;		/* config.c's: per-VM settings */
};

/*
 * Settings of the VM with this name or UUID: quota, MAC, allowed addresses. Never NULL; freed with the session.
 */
struct vm_policy {
	struct quota quota;
	bool has_mac;
	uint8_t mac[6];
	char **addresses;	/* allowed IP addresses (NULL: any free one) */
};

#endif
