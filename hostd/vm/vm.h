/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM: the guest's memory, its device's descriptors, its objects on the host, and
 * its counters.
 *
 * The session (session/session.h) makes it, fills it from the link, and has the
 * thread that takes the guest's commands. The rooms between know only this
 * structure. They reach that thread by struct vm_thread_ops.
 *
 * vm->lock: whoever carries out a command of the VM holds it, the session's thread or
 * one of the pool's (admin/pool.h). So one thread at a time works on the VM's objects.
 * While a command waits for something that may take long it gives the lock up by
 * vm_leave(); admin/job.h tells which commands may go on meanwhile. No thread holds the
 * lock of two VMs, workers never take it, and it comes before all other locks.
 */
#ifndef HOSTD_VM_VM_H
#define HOSTD_VM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "fabric/fabric.h"
#include "lib/counters.h"
#include "lib/grace.h"
#include "lib/hash.h"
#include "lib/log.h"
#include "lib/table.h"
#include "pvhca/pvhca-regs.h"

struct admin;
struct async_queue;
struct cq_blocked_list;
struct gsi_port;
struct heap;
struct memory;
struct net_address;
struct qp;
struct vm;
struct worker;
struct worker_vm;

#define VM_GIDS		CONFIG_MAX_GIDS
#define VM_VECTOR_WORDS ((PVHCA_VECTORS_MAX + 63) / 64)

/* A guest's GID table entry; gid is written under gid_lock while it is not used. */
struct vm_gid {
	_Atomic bool used;
	uint8_t gid[16];
	uint16_t vlan;		 /* of its interface in the guest; PVHCA_NO_VLAN: none */
	struct net_address *net; /* the owner's entry among the routes of packets */
};

/**
 * struct vm_schedule - how a VM's requests are served; any thread reads it
 * @share: of its worker's time, beside the shares of others
 * @rate, @burst: bytes a second of its own requests, and what may go at once; rate 0: no limit
 * @message_rate, @message_burst: requests likewise
 */
struct vm_schedule {
	_Atomic uint32_t share;
	_Atomic uint64_t rate;
	_Atomic int64_t burst;
	_Atomic uint64_t message_rate;
	_Atomic int64_t message_burst;
};

/*
 * CONNECTED --HELLO--> IDLE --ENABLE--> ENABLED
 * ENABLE refused, a fault of the guest, the host or the memory: --> FAILED
 * RESET from any but CONNECTED: --> IDLE
 */
enum vm_state {
	VM_CONNECTED,
	VM_IDLE,
	VM_ENABLED,
	VM_FAILED,
	VM_STATES,
};

/* Requests to the session's thread. Any thread calls these. They do not block. */
struct vm_thread_ops {
	/* vm->failing was set: tear down, and tell the guest. */
	void (*failed)(struct vm *vm);
	/* Retry, some milliseconds later, the writes that wait for room in guest memory. */
	void (*retry)(struct vm *vm);
	/* Look for commands of the guest. */
	void (*serve)(struct vm *vm);
	/* events_relay(): interrupts wait in vm->relay. */
	void (*interrupt)(struct vm *vm);
	/* vm->slow_events was set. */
	void (*slow)(struct vm *vm);
};

/**
 * struct vm - see above; the session's thread writes it unless a field says otherwise
 * @anonymous: it has neither name nor UUID; @name tells its session
 * @lock: see above
 * @side_by_side: while enabled: the fabric's control operations may take long and are
 *	called without the lock
 * @heap: account for what pvhcad holds for this VM; constant
 * @thread: how to reach that thread; constant
 * @failing: enum pvhca_dev_error; the VM is not served any more. Any thread
 * @retrying: a call of thread->retry has not been carried out yet. Any thread
 * @vector_fds, @doorbell_fds: -1 where not received
 * @slow_events: its eventfds take long to signal, so only the session's thread does that.
 *	Any thread
 * @slow_in_a_row: signals that took long; @relay: vectors to be signalled. Any thread
 * @memory: NULL when its session has ended
 * @policy: settings and quota of this VM; vm_change_policy() replaces it. Any thread reads it
 * @network: of VMs that see each other, vm_policy.network; constant after HELLO
 * @mac, @mac_chosen, @mac_shared: chosen at the first ENABLE; shared when it is
 *	the host's own, which other VMs have too
 * @mac_claim: vm/policy.c's, while it has a MAC of its own
 * @hello_mac, @hello_pair: QEMU's wishes; 0: none
 * @fabric_vm: the fabric's part
 * @features: in use with the driver, PVHCA_FEATURE_*; constant while enabled
 * @admin: while enabled; it and all to @ceqs are covered by the lock
 * @aeq: while enabled; vm/events.c
 * @gid_lock: covers writing to @gids, and looks at entries that no command names
 * @gsi_port: of the room gsi/, under its lock; or NULL
 * @net_qp: carries its packets, or NULL; RCU, for all workers
 * @pinned_bytes: registered, in granules
 * @connections: to native peers; the fabric counts them
 * @schedule: vm_set_schedule() writes it
 * @unpaid_bytes, @unpaid_messages: of requests that a command had to hand over at once; the
 *	worker counts them against the rate afterwards
 * @worker, @worker_vm, @blocked_cqs: while attached
 * @ending: its objects are all being destroyed, and no worker finds any of them: vm_grace()
 * @wake_worker: wake it once the guest knows of its commands' ends; admin/admin.c
 * @doorbell: byte offset of the data doorbell that wakes its worker
 * @counters: any thread
 * @log: what bounds its lines of the log: @own_log, before HELLO that of its socket
 */
struct vm {
	pthread_mutex_t lock;
	bool side_by_side;
	unsigned int id;
	char name[64];
	bool anonymous;
	uint8_t uuid[16];
	uint32_t network;
	uint8_t mac[6];
	bool mac_chosen;
	bool mac_shared;
	struct hash_node mac_claim;
	uint8_t hello_mac[6];
	bool hello_pair;
	struct heap *heap;
	const struct config *config;
	struct vm_policy *_Atomic policy;
	_Atomic unsigned int state; /* enum vm_state */
	const struct vm_thread_ops *thread;
	_Atomic uint32_t failing;
	_Atomic bool retrying;
	_Atomic bool slow_events;
	_Atomic unsigned int slow_in_a_row;
	_Atomic uint64_t relay[VM_VECTOR_WORDS];
	const struct fabric_ops *ops;
	struct fabric *fabric;
	void *fabric_vm;

	struct memory *memory;
	int admin_doorbell_fd;
	int doorbell_fds[PVHCA_DB_MAX];
	int vector_fds[PVHCA_VECTORS_MAX];
	uint32_t num_doorbells;
	uint32_t num_vectors;

	uint64_t features;
	struct admin *admin;
	struct async_queue *aeq;
	struct table contexts, pds, mrs, mws, ahs, cqs, srqs, qps, ceqs;
	struct vm_gid gids[VM_GIDS];
	pthread_mutex_t gid_lock;
	struct gsi_port *gsi_port;
	struct qp *net_qp;
	_Atomic uint64_t pinned_bytes;
	_Atomic uint64_t connections;

	struct vm_schedule schedule;
	_Atomic int64_t unpaid_bytes, unpaid_messages;
	struct worker *worker;
	struct worker_vm *worker_vm;
	struct cq_blocked_list *blocked_cqs;
	bool ending;
	bool wake_worker;
	uint32_t doorbell;
	struct counters counters;
	struct log_source *log;
	struct log_source own_log;
};

/* A line of the log that the VM causes, or its QEMU. Any thread. */
#define vm_log(vm, level, format, ...) \
	log_from((vm)->log, level, "VM %s: " format, (vm)->name, ##__VA_ARGS__)
#define vm_critical(vm, ...) vm_log(vm, G_LOG_LEVEL_CRITICAL, __VA_ARGS__)
#define vm_warning(vm, ...)  vm_log(vm, G_LOG_LEVEL_WARNING, __VA_ARGS__)
#define vm_message(vm, ...)  vm_log(vm, G_LOG_LEVEL_MESSAGE, __VA_ARGS__)
#define vm_info(vm, ...)     vm_log(vm, G_LOG_LEVEL_INFO, __VA_ARGS__)
#define vm_debug(vm, ...)    vm_log(vm, G_LOG_LEVEL_DEBUG, __VA_ARGS__)

/* As it is before HELLO; policy and memory are made. Returns 0 or -ENOMEM, nothing is left then. */
int vm_init(struct vm *vm, unsigned int id, const struct config *config,
	    const struct vm_thread_ops *thread);
/* Closes descriptors, frees memory, policy and (empty) tables. */
void vm_fini(struct vm *vm);
/* Empty tables of objects, limits of memory, and vm_set_schedule(), as vm->policy has the quotas. */
void vm_apply_quota(struct vm *vm);
/* For memory_free() at a better time than vm_fini() is; the VM has none then. */
struct memory *vm_take_memory(struct vm *vm);
/*
 * Other settings while the VM is served; policy is taken over. Objects beyond a smaller quota stay,
 * and so does the VM's network. The session's thread.
 */
void vm_change_policy(struct vm *vm, struct vm_policy *policy);
/* Share and rates from now on, also while the VM is served. Any thread. */
void vm_set_schedule(struct vm *vm, const struct quota *quota);

/*
 * A command is about to wait for the fabric, and its end: gives the lock up where the
 * fabric's control operations go side by side. Else the lock is kept, so that such a
 * fabric may rely on one thread at a time.
 */
void vm_leave(struct vm *vm);
void vm_enter(struct vm *vm);

const char *vm_state_name(const struct vm *vm);
void vm_set_state(struct vm *vm, enum vm_state state);

/*
 * An entry of the guest's GID table; false if the guest has none there. gid may be NULL;
 * what it points to stays as it is while a command that names the entry is carried out.
 */
bool vm_gid(const struct vm *vm, uint32_t index, const uint8_t **gid);
/* Has the guest's table this GID for this VLAN? With or without the lock, as the one below. */
bool vm_has_gid(struct vm *vm, const uint8_t gid[16], uint16_t vlan);
/* The index of a GID in the guest's table, or -1. */
int vm_gid_index(struct vm *vm, const uint8_t gid[16]);
/* Change an entry; gid NULL: none is there any more. With the lock held. */
void vm_set_gid(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan);

/*
 * The guest broke the protocol: log it with the reason (once, rate-limited), stop serving
 * this VM and tell QEMU (PVHCA_LINK_FATAL). Any thread. The tear-down follows in the
 * session's thread.
 */
void vm_guest_fault(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Likewise for another reason (enum pvhca_dev_error), such as PVHCA_DEV_ERR_HOST. */
void vm_fail(struct vm *vm, uint32_t error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* One of these was called, and the tear-down is still to come. */
bool vm_failing(const struct vm *vm);

/*
 * What workers could find was taken out of their sight: wait until none uses it any more. That
 * needs no time while all of the VM goes, after one grace period for all. The session's thread.
 */
static inline void vm_grace(const struct vm *vm)
{
	if (!vm->ending)
		grace_wait();
}

/*
 * Retry soon (milliseconds) the writes that wait for room in guest memory: admin
 * completions, async events. Any thread.
 */
void vm_retry_soon(struct vm *vm);

#endif
