/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The admin queue: see pvhca_com.c.
 */
#ifndef PVHCA_COM_H
#define PVHCA_COM_H

#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/semaphore.h>
#include <linux/spinlock.h>
#include <pvhca/pvhca-admin.h>

#define PVHCA_COM_LOG_ENTRIES 6
#define PVHCA_COM_ENTRIES     (1u << PVHCA_COM_LOG_ENTRIES)

struct pvhca_dev;

/**
 * struct pvhca_com_slot - a command under way
 * @cookie: of the command; its low bits are the slot's number
 * @busy: waits for its completion
 * @err: 0 once completed, -EIO if the queue was closed first
 * @done: completed or closed
 * @cq_ci: pvhca_com.cq_ci when it was submitted
 * @rsp: the completion
 */
struct pvhca_com_slot {
	u32 cookie;
	bool busy;
	int err;
	struct completion done;
	u32 cq_ci;
	struct pvhca_admin_rsp rsp;
};

/**
 * struct pvhca_com - admin queue of a session
 * @dev: the session
 * @area: what pvhcad is given to begin with
 * @area_dma: its address for pvhcad
 * @sq: commands
 * @sq_dma: their address
 * @cq: completions
 * @cq_dma: their address
 * @credits: one per free slot
 * @lock: guards what follows, and writing to @sq
 * @open: pvhcad serves the queue
 * @sq_pi: next free command, free running
 * @cq_ci: next completion, free running
 * @cookie_seq: makes cookies unique
 * @used: slots taken
 * @slots: by the low bits of the cookie
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

	spinlock_t lock; /* see above */
	bool open;
	u32 sq_pi;
	u32 cq_ci;
	u32 cookie_seq;
	DECLARE_BITMAP(used, PVHCA_COM_ENTRIES);
	struct pvhca_com_slot slots[PVHCA_COM_ENTRIES];
};

int pvhca_com_create(struct pvhca_dev *dev);
void pvhca_com_destroy(struct pvhca_dev *dev);
void pvhca_com_open(struct pvhca_com *com);
void pvhca_com_close(struct pvhca_com *com);
int pvhca_com_exec(struct pvhca_com *com, struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp);
void pvhca_com_reap(struct pvhca_com *com);

#endif /* PVHCA_COM_H */
