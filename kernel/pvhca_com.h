/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The admin queue: see pvhca_com.c.
 */
#ifndef PVHCA_COM_H
#define PVHCA_COM_H

#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/refcount.h>
#include <linux/semaphore.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <pvhca/pvhca-admin.h>

#define PVHCA_COM_LOG_ENTRIES 6
#define PVHCA_COM_ENTRIES     (1u << PVHCA_COM_LOG_ENTRIES)

/* That the driver knows. */
#define PVHCA_COM_FEATURES                                                                       \
	(PVHCA_FEATURE_PAIR | PVHCA_FEATURE_VLAN | PVHCA_FEATURE_UNORDERED | PVHCA_FEATURE_NET | \
	 PVHCA_FEATURE_NET_TSO)

struct pvhca_dev;

/**
 * struct pvhca_com_hold - memory that a command names
 * @refs: its owner and each abandoned command has one
 * @release: frees it, in a process
 */
struct pvhca_com_hold {
	refcount_t refs;
	void (*release)(struct pvhca_com_hold *hold);
};

/**
 * struct pvhca_com_leave - how a killed process leaves a command behind
 * @hold: memory that the command names; NULL: none
 * @settle: undoes the command; called in a process if the answer comes
 *	after the process has left
 */
struct pvhca_com_leave {
	struct pvhca_com_hold *hold;
	void (*settle)(struct pvhca_dev *dev, const struct pvhca_admin_cmd *cmd,
		       const struct pvhca_admin_rsp *rsp);
};

/**
 * struct pvhca_com_slot - a command under way
 * @com: the queue
 * @cookie: cookie of the command; its low bits are the slot's number
 * @busy: waits for its completion
 * @err: 0 once completed, -EIO if the queue was closed first
 * @done: completed or closed
 * @cq_ci: pvhca_com.cq_ci when it was submitted
 * @rsp: the completion
 * @cmd: copy of an abandoned command
 * @leave: steps to be taken when an abandoned command is over
 * @abandoned_work: waits for an abandoned command
 */
struct pvhca_com_slot {
	struct pvhca_com *com;
	u32 cookie;
	bool busy;
	int err;
	struct completion done;
	u32 cq_ci;
	struct pvhca_admin_rsp rsp;
	struct pvhca_admin_cmd cmd;
	struct pvhca_com_leave leave;
	struct work_struct abandoned_work;
};

/**
 * struct pvhca_com - admin queue of a session
 * @dev: the session
 * @area: admin area, whose address pvhcad gets at ENABLE
 * @area_dma: its address for pvhcad
 * @sq: commands
 * @sq_dma: their address
 * @cq: completions
 * @cq_dma: their address
 * @credits: one per free slot
 * @slots: by the low bits of the cookie
 * @abandoned: abandoned commands that are not settled
 * @settled: counts those that were
 * @settled_wait: woken when @settled changes
 * @lock: guards the fields that follow, and writing to @sq
 * @open: pvhcad serves the queue
 * @sq_pi: next free command, free running
 * @cq_ci: next completion, free running
 * @cookie_seq: makes cookies unique
 * @used: slots taken
 */
struct pvhca_com {
	struct pvhca_dev *dev;
	struct pvhca_admin_area *area;
	dma_addr_t area_dma;
	struct pvhca_admin_cmd *sq;
	dma_addr_t sq_dma;
	struct pvhca_admin_rsp *cq;
	dma_addr_t cq_dma;
	struct semaphore credits;
	struct pvhca_com_slot *slots;
	atomic_t abandoned;
	atomic_t settled;
	wait_queue_head_t settled_wait;

	spinlock_t lock; /* see above */
	bool open;
	u32 sq_pi;
	u32 cq_ci;
	u32 cookie_seq;
	DECLARE_BITMAP(used, PVHCA_COM_ENTRIES);
};

int pvhca_com_create(struct pvhca_dev *dev);
void pvhca_com_destroy(struct pvhca_dev *dev);
void pvhca_com_open(struct pvhca_com *com);
void pvhca_com_close(struct pvhca_com *com);
int pvhca_com_exec(struct pvhca_com *com, struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp,
		   const struct pvhca_com_leave *leave);
u32 pvhca_com_count_settled(struct pvhca_com *com, bool *more);
void pvhca_com_wait_settled(struct pvhca_com *com, u32 count);
void pvhca_com_drain(struct pvhca_com *com);
void pvhca_com_hold_init(struct pvhca_com_hold *hold, void (*release)(struct pvhca_com_hold *hold));
void pvhca_com_hold_put(struct pvhca_com_hold *hold);
void pvhca_com_reap(struct pvhca_com *com);

#endif /* PVHCA_COM_H */
