/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settings: defaults, overridden by the configuration file, overridden by the
 * command line.
 */
#ifndef HOSTD_CONFIG_CONFIG_H
#define HOSTD_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_DEFAULT_FILE   "/etc/pvhca/pvhcad.conf"
#define CONFIG_DEFAULT_SOCKET "/run/pvhca/pvhcad.sock"

/* What one VM may have; all are counts but pinned_bytes. */
struct quota {
	uint32_t contexts;
	uint32_t pds;
	uint32_t mrs;
	uint32_t mws;
	uint32_t ahs;
	uint32_t cqs;
	uint32_t srqs;
	uint32_t qps;
	uint32_t max_wr; /* per queue */
	uint32_t max_cqe;
	uint32_t gids;
	uint32_t connections; /* to peers that are no VMs, as fabric/verbs/cm/cm.h has them */
	uint64_t pinned_bytes;
};

/* Ports of connection management that pvhcad listens on for a VM. */
#define CONFIG_PORT_RANGES 32
#define CONFIG_MAX_PORTS   256 /* in all ranges; each takes two ids of the host */

struct port_list {
	unsigned int count;
	struct port_range {
		uint16_t first, last;
	} range[CONFIG_PORT_RANGES];
};

struct config {
	char *socket; /* path */
	unsigned int socket_mode;
	char *fabric; /* "loopback" or "verbs" */
	char *ibdev;  /* verbs: host device; NULL: the first one */
	unsigned int ib_port;
	char *log_level;
	unsigned int workers;
	unsigned int spin_us;  /* polling after the last work before sleep */
	unsigned int priority; /* of the workers: their nice value is lower by this */
	bool give_way;	       /* stop polling when others want the processor */
	char *cpus;	       /* list for the workers, e.g. "2-3,6", or NULL */
	unsigned int max_sessions;
	uint64_t keep_mapped;	 /* bytes, of all VMs; see memory/stitches.c */
	bool unlisted_vms;	 /* VMs without a [vm] group are served */
	char *metrics;		 /* where stats/metrics.h listens, or NULL */
	struct quota quota;	 /* defaults of every VM */
	struct port_list listen; /* likewise */
	void *vms;		 /* config/config.c's: a struct vm_policy for each [vm] group */
};

/* What the command line asks for besides settings. */
struct config_actions {
	bool version;
	bool check;
};

/*
 * Settings of the VM with this name or UUID: quota, MAC, allowed addresses. Never NULL; freed with the session.
 */
struct vm_policy {
	struct quota quota;
	bool refused; /* the VM is not listed and must be */
	bool has_mac;
	uint8_t mac[6];
	bool has_listen; /* of its own */
	struct port_list listen;
	char **addresses; /* allowed IP addresses or prefixes (NULL: any free one) */
};

/*
 * Read the configuration file and the command line. NULL with *error (GLib's, to
 * be freed) naming option, or file, group and key, and what is wrong.
 */
struct _GError;
struct config *config_load(int *argc, char ***argv, struct config_actions *actions,
			   struct _GError **error);
void config_free(struct config *config);

/* The UUID group wins over the name's. uuid all 0: none. */
struct vm_policy *vm_policy_new(const struct config *config, const char *name,
				const uint8_t uuid[16]);
void vm_policy_free(struct vm_policy *policy);

#endif
