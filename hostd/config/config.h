/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settings: defaults, overridden by the configuration file, overridden by the
 * command line.
 */
#ifndef HOSTD_CONFIG_CONFIG_H
#define HOSTD_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <pvhca-version.h>

#include "lib/address.h"
#include "lib/listener.h"

struct config_fabrics; /* config/setting.h */

#define CONFIG_DEFAULT_FILE   PVHCA_SYSCONFDIR "/pvhca/pvhcad.conf"
#define CONFIG_DEFAULT_SOCKET "/run/pvhca/pvhcad.sock"

/* What one VM may have; all are counts but those named ..._bytes. */
struct quota {
	uint32_t adapters; /* sessions at a time; each has the rest for itself */
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
	uint32_t connections; /* to peers that are no VMs */
	uint32_t mappings;    /* of its RAM, in pvhcad; see memory/budget.c */
	uint64_t pinned_bytes;
	uint64_t memory_bytes; /* RAM that QEMU passes */
	uint64_t heap_bytes;   /* of pvhcad's own memory; lib/heap.h */

	/* Of its worker's time, and a second: struct vm_schedule. 0: no limit, or as rates are */
	uint32_t share;
	uint32_t message_rate;
	uint32_t message_burst;
	uint64_t rate; /* bytes */
	uint64_t rate_burst;
};

/* Ports of connection management that pvhcad listens on for a VM. */
#define CONFIG_PORT_RANGES 32
#define CONFIG_MAX_PORTS   256 /* in all ranges; each takes two ids of the host */

#define CONFIG_MIN_HEAP (1ull << 20) /* bytes: a VM needs some to begin */
#define CONFIG_MAX_RATE (1ull << 50) /* bytes a second */
#define CONFIG_MAX_GIDS 256	     /* entries of a VM's GID table */

#define CONFIG_MAX_NETWORK 63 /* characters of a network's name */

struct port_list {
	unsigned int count;
	struct port_range {
		uint16_t first, last;
	} range[CONFIG_PORT_RANGES];
};

/* Where the addresses of a prefix are reached: by the address of another host. */
#define CONFIG_ROUTES 64

struct route_list {
	unsigned int count;
	struct config_route {
		struct address_prefix prefix;
		uint8_t via[16];
	} route[CONFIG_ROUTES];
};

struct config {
	char *socket; /* path; the others that pvhcad makes have its name, too */
	struct listener_access socket_access, stats_access;
	char *fabric; /* its name */
	char *log_level;
	unsigned int workers;
	unsigned int spin_us;  /* polling after the last work before sleep */
	unsigned int priority; /* of the workers: their nice value is lower by this */
	bool give_way;	       /* stop polling when others want the processor */
	char *cpus;	       /* list for the workers, e.g. "2-3,6", or NULL */
	unsigned int max_sessions;
	uint64_t keep_mapped;	 /* bytes, of all VMs; see memory/stitches.c */
	uint32_t user;		 /* that root becomes; LISTENER_NOBODY: not said */
	bool sandbox;		 /* system calls are filtered */
	bool unlisted_vms;	 /* VMs without a [vm] group are served */
	char *metrics;		 /* where counters are served, or NULL */
	struct quota quota;	 /* defaults of every VM */
	struct port_list listen; /* likewise */
	bool translate;		 /* likewise */
	struct route_list peer;
	void *vms;	  /* config/config.c's: a struct config_vm for each [vm] group */
	void *given;	  /* likewise: texts of what file and command line set, by key */
	char **arguments; /* the command line */
	const struct config_fabrics *fabrics;
};

/* What the command line asks for besides settings. */
struct config_actions {
	bool version;
	bool check;
};

/**
 * struct vm_policy - settings of one VM
 * @group: the [vm] group that they come from: a name, or a UUID in lower case; NULL:
 *	the VM is not listed
 * @strict: VMs that are not listed are refused (unlisted-vms=false)
 * @has_listen: of its own
 * @network: of VMs that see each other, on fabrics without addresses of the host;
 *	config_network_name(), 0 is the default one
 * @has_translate, @translate: it may have addresses that the host has not, where the fabric
 *	has the host's; likewise
 * @before: that this one replaced, and which some thread may still read; freed with it
 * @addresses, @num_addresses: that the VM may have; NULL: any that is listed for no other
 */
struct vm_policy {
	struct quota quota;
	char *group;
	bool strict;
	bool has_mac;
	uint8_t mac[6];
	bool has_pair; /* true or false, whatever QEMU asks for */
	bool pair;     /* with the VM's network interface that has its MAC */
	bool has_listen;
	struct port_list listen;
	uint32_t network;
	bool has_translate;
	bool translate;
	struct address_prefix *addresses;
	unsigned int num_addresses;
	struct vm_policy *before;
};

/**
 * struct config_peer - who asks to be served as a VM
 * @group: it came by the own socket of this [vm] group; NULL: by the one for all
 * @user: of the process (SO_PEERCRED)
 * @name, @uuid: as it says; empty, all 0: none
 */
struct config_peer {
	const char *group;
	uint32_t user;
	const char *name;
	const uint8_t *uuid;
};

/* A socket of one VM's own. */
struct config_socket {
	char *group;
	char *path;
	struct listener_access access;
};

/*
 * Read the configuration file and the command line. NULL with *error (GLib's, to
 * be freed) naming option, or file, group and key, and what is wrong. fabrics must
 * outlive the answer.
 */
struct _GError;
struct config *config_load(int *argc, char ***argv, const struct config_fabrics *fabrics,
			   struct config_actions *actions, struct _GError **error);
void config_free(struct config *config);

/*
 * The same file and command line once more. NULL with *error; config is as it was, and so is
 * what the fabrics were told. The main thread.
 */
struct config *config_read_again(const struct config *config, struct _GError **error);
/* One of config_read_again() that is not taken. */
void config_free_copy(struct config *config);
/*
 * Take over from next what may change while VMs are served: [vm] groups, [quota], listen,
 * unlisted-vms, max-sessions and log-level; next is freed. Returns the other keys that differ, a text to
 * be freed, or NULL. The main thread.
 */
char *config_take(struct config *config, struct config *next);

/*
 * Settings of the VM with this name or UUID, whose group wins over the name's. uuid all
 * 0: none. Never NULL. Any thread.
 */
struct vm_policy *config_policy_new(const struct config *config, const char *name,
				    const uint8_t uuid[16]);
void config_policy_free(struct vm_policy *policy);

/*
 * The settings of who asks, or NULL with *reason, a sentence for its log, why it is not
 * served; *reason NULL: there is no memory. By a VM's own socket it is that VM, whatever else it says. Any thread.
 */
struct vm_policy *config_admit(const struct config *config, const struct config_peer *peer,
			       const char **reason);

/*
 * May the VM with these settings have the address? Its own list says so, and no other VM's
 * has a longer prefix for it; without a list: no other VM's has it. A MAC and the
 * link-local address that follows from it are their VM's, too. Only VMs of the same network
 * count. Any thread.
 */
bool config_may_have(const struct config *config, const struct vm_policy *policy,
		     const uint8_t gid[16]);
/* Is the MAC in the settings of another VM of its network? Any thread. */
bool config_mac_reserved(const struct config *config, const struct vm_policy *policy,
			 const uint8_t mac[6]);

/* The name of a network, for as long as pvhcad runs. Any thread. */
const char *config_network_name(uint32_t network);
/* Is any VM in another network than the default one? The main thread. */
bool config_has_networks(const struct config *config);

/*
 * Whose is the address, if it stands in an addresses= as it is, and not by a prefix? Any
 * thread.
 */
enum config_listing { CONFIG_LISTED_FOR_NONE, CONFIG_LISTED_FOR_IT, CONFIG_LISTED_FOR_OTHERS };
enum config_listing config_listing(const struct config *config, const struct vm_policy *policy,
				   const uint8_t gid[16]);

/*
 * The host that has the VM with this address, by the longest prefix of peer=; false: none. Any
 * thread.
 */
bool config_route(const struct config *config, const uint8_t gid[16], uint8_t via[16]);
/* The VM of that host, if peer= names just one for it, by its whole address. Any thread. */
bool config_route_back(const struct config *config, const uint8_t via[16], uint8_t gid[16]);

/* Calls fn for each socket of a VM's own. The main thread. */
void config_for_each_socket(const struct config *config,
			    void (*fn)(const struct config_socket *socket, void *arg), void *arg);

#endif
