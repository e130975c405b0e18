// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The admin queue: carries commands to pvhcad and their completions back.
 *
 * Any number of threads may call pvhca_com_exec(); as many commands as the
 * queue has entries are under way at a time, and the other callers wait for one
 * of them to complete. Each command has a slot; the cookie that goes with it is
 * the slot's number and a sequence number, so that a completion is only ever
 * taken for the command that it answers.
 *
 * A queue that is closed stays so: nobody reads its completions any more. That
 * is the whole treatment of late answers. It is closed when a command times out
 * and by whoever finds that the session is over (pvhca_dev_kill()).
 */

#include <linux/io.h>
#include <linux/random.h>

#include "pvhca.h"

static size_t pvhca_com_sq_size(void)
{
	return PVHCA_COM_ENTRIES * sizeof(struct pvhca_admin_cmd);
}

static size_t pvhca_com_cq_size(void)
{
	return PVHCA_COM_ENTRIES * sizeof(struct pvhca_admin_rsp);
}

static void pvhca_com_fill_area(struct pvhca_com *com)
{
	struct pvhca_admin_area *area = com->area;

	area->magic = cpu_to_le32(PVHCA_ADMIN_MAGIC);
	area->abi_major = cpu_to_le16(PVHCA_ADMIN_ABI_MAJOR);
	area->abi_minor = cpu_to_le16(PVHCA_ADMIN_ABI_MINOR);
	area->sq_addr = cpu_to_le64(com->sq_dma);
	area->cq_addr = cpu_to_le64(com->cq_dma);
	area->sq_log_entries = PVHCA_COM_LOG_ENTRIES;
	area->cq_log_entries = PVHCA_COM_LOG_ENTRIES;
	strscpy(area->driver_version, PVHCA_VERSION, sizeof(area->driver_version));
}

/**
 * pvhca_com_create - allocate the admin queue of a session
 * @dev: session
 *
 * The queue is neither open nor dead: commands are refused until
 * pvhca_com_open(). The event queue's part of the area is the caller's to fill.
 *
 * Return: 0 or -ENOMEM.
 */
int pvhca_com_create(struct pvhca_dev *dev)
{
	struct device *dma_dev = pvhca_to_dma_device(dev);
	struct pvhca_com *com = &dev->com;
	u32 i;

	com->dev = dev;
	spin_lock_init(&com->lock);
	sema_init(&com->credits, PVHCA_COM_ENTRIES);
	/* Unlike those of other sessions. */
	com->cookie_seq = get_random_u32();
	for (i = 0; i < PVHCA_COM_ENTRIES; i++)
		init_completion(&com->slots[i].done);

	com->area = dma_alloc_coherent(dma_dev, sizeof(*com->area), &com->area_dma, GFP_KERNEL);
	if (!com->area)
		return -ENOMEM;
	com->sq = dma_alloc_coherent(dma_dev, pvhca_com_sq_size(), &com->sq_dma, GFP_KERNEL);
	if (!com->sq)
		goto err_free_area;
	com->cq = dma_alloc_coherent(dma_dev, pvhca_com_cq_size(), &com->cq_dma, GFP_KERNEL);
	if (!com->cq)
		goto err_free_sq;
	pvhca_com_fill_area(com);
	return 0;

err_free_sq:
	dma_free_coherent(dma_dev, pvhca_com_sq_size(), com->sq, com->sq_dma);
err_free_area:
	dma_free_coherent(dma_dev, sizeof(*com->area), com->area, com->area_dma);
	return -ENOMEM;
}

/**
 * pvhca_com_destroy - free what pvhca_com_create() allocated
 * @dev: session; pvhcad has let go of it
 */
void pvhca_com_destroy(struct pvhca_dev *dev)
{
	struct device *dma_dev = pvhca_to_dma_device(dev);
	struct pvhca_com *com = &dev->com;

	dma_free_coherent(dma_dev, pvhca_com_cq_size(), com->cq, com->cq_dma);
	dma_free_coherent(dma_dev, pvhca_com_sq_size(), com->sq, com->sq_dma);
	dma_free_coherent(dma_dev, sizeof(*com->area), com->area, com->area_dma);
}

/**
 * pvhca_com_open - accept commands
 * @com: queue, which pvhcad serves from now on
 */
void pvhca_com_open(struct pvhca_com *com)
{
	unsigned long flags;

	spin_lock_irqsave(&com->lock, flags);
	com->open = !pvhca_dev_is_dead(com->dev);
	spin_unlock_irqrestore(&com->lock, flags);
}

/**
 * pvhca_com_close - accept neither commands nor completions any more
 * @com: queue of a dead session
 *
 * Wakes all who wait for a completion; theirs failed.
 *
 * Context: any.
 */
void pvhca_com_close(struct pvhca_com *com)
{
	unsigned long flags;
	u32 i;

	spin_lock_irqsave(&com->lock, flags);
	com->open = false;
	for (i = 0; i < PVHCA_COM_ENTRIES; i++) {
		if (!com->slots[i].busy)
			continue;
		com->slots[i].busy = false;
		com->slots[i].err = -EIO;
		complete(&com->slots[i].done);
	}
	spin_unlock_irqrestore(&com->lock, flags);
}

/* Take a slot and write the command. NULL: the queue is not open. */
static struct pvhca_com_slot *pvhca_com_submit(struct pvhca_com *com, struct pvhca_admin_cmd *cmd)
{
	struct pvhca_com_slot *slot = NULL;
	unsigned long flags;
	u32 i;

	spin_lock_irqsave(&com->lock, flags);
	if (!com->open)
		goto out;
	i = find_first_zero_bit(com->used, PVHCA_COM_ENTRIES);
	if (WARN_ON_ONCE(i >= PVHCA_COM_ENTRIES))
		goto out;
	__set_bit(i, com->used);

	slot = &com->slots[i];
	pvhca_stat_inc(com->dev, PVHCA_STAT_ADMIN_COMMANDS);
	slot->cookie = com->cookie_seq++ << PVHCA_COM_LOG_ENTRIES | i;
	slot->busy = true;
	slot->err = 0;
	slot->cq_ci = com->cq_ci;
	reinit_completion(&slot->done);

	cmd->cookie = cpu_to_le32(slot->cookie);
	com->sq[com->sq_pi % PVHCA_COM_ENTRIES] = *cmd;
	com->sq_pi++;
	/* Who sees the index sees the command. */
	smp_store_release(&com->area->sq_pi, cpu_to_le32(com->sq_pi));
out:
	spin_unlock_irqrestore(&com->lock, flags);
	return slot;
}

static void pvhca_com_release(struct pvhca_com *com, struct pvhca_com_slot *slot)
{
	unsigned long flags;

	spin_lock_irqsave(&com->lock, flags);
	__clear_bit(slot - com->slots, com->used);
	spin_unlock_irqrestore(&com->lock, flags);
}

/* The time is over; has the interrupt been lost rather than the answer? */
static void pvhca_com_timed_out(struct pvhca_com *com, struct pvhca_com_slot *slot, u16 opcode)
{
	pvhca_com_reap(com);
	if (completion_done(&slot->done)) {
		dev_warn_ratelimited(pvhca_to_dma_device(com->dev),
				     "admin command %u completed without an interrupt\n", opcode);
		return;
	}
	pvhca_stat_inc(com->dev, PVHCA_STAT_ADMIN_TIMEOUTS);
	dev_err(pvhca_to_dma_device(com->dev), "admin command %u timed out after %u ms\n", opcode,
		jiffies_to_msecs(pvhca_regs_timeout()));
	pvhca_dev_kill(com->dev, "a command timed out");
}

/*
 * Commands are carried out in order, one at a time: a command that has others
 * before it may wait as long as these complete, each in its time.
 */
static bool pvhca_com_wait(struct pvhca_com *com, struct pvhca_com_slot *slot)
{
	u32 seen;

	do {
		seen = READ_ONCE(com->cq_ci);
		if (wait_for_completion_timeout(&slot->done, pvhca_regs_timeout()))
			return true;
	} while (READ_ONCE(com->cq_ci) != seen && seen - slot->cq_ci < PVHCA_COM_ENTRIES);
	return false;
}

/**
 * pvhca_com_exec - have pvhcad carry out a command
 * @com: queue
 * @cmd: command; its cookie is filled in
 * @rsp: where the completion goes; valid with 0
 *
 * With -EIO the session is dead, and unless pvhca_dev_may_free() says otherwise
 * pvhcad does not touch any memory that it was told of, by this or any earlier
 * command.
 *
 * Context: process; may be called with rtnl_lock() held.
 * Return: 0 if the command completed, with whatever status; -EIO.
 */
int pvhca_com_exec(struct pvhca_com *com, struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	struct pvhca_com_slot *slot;
	int err = -EIO;

	might_sleep();

	/* The holders of the credits time out themselves, and give them back. */
	down(&com->credits);
	slot = pvhca_com_submit(com, cmd);
	if (!slot)
		goto out;
	writel(1, com->dev->pci->admin_db);

	if (!pvhca_com_wait(com, slot))
		pvhca_com_timed_out(com, slot, le16_to_cpu(cmd->opcode));
	/* Nobody writes to a slot that is not busy. */
	err = slot->err;
	if (!err)
		*rsp = slot->rsp;
	pvhca_com_release(com, slot);
out:
	up(&com->credits);
	if (err)
		pvhca_dev_may_free(com->dev);
	return err;
}

/* Take a completion that is there to its command. */
static void pvhca_com_complete(struct pvhca_com *com, const struct pvhca_admin_rsp *rsp)
{
	u32 cookie = le32_to_cpu(rsp->cookie);
	struct pvhca_com_slot *slot = &com->slots[cookie % PVHCA_COM_ENTRIES];

	lockdep_assert_held(&com->lock);

	if (!slot->busy || slot->cookie != cookie) {
		dev_err_ratelimited(pvhca_to_dma_device(com->dev),
				    "completion %#x answers no admin command\n", cookie);
		return;
	}
	slot->rsp = *rsp;
	slot->busy = false;
	complete(&slot->done);
}

/**
 * pvhca_com_reap - take all completions that are there to their commands
 * @com: queue
 *
 * Context: any, for the most part the admin interrupt.
 */
void pvhca_com_reap(struct pvhca_com *com)
{
	const struct pvhca_admin_rsp *rsp;
	unsigned long flags;
	u32 phase, word;

	spin_lock_irqsave(&com->lock, flags);
	while (com->open) {
		rsp = &com->cq[com->cq_ci % PVHCA_COM_ENTRIES];
		phase = com->cq_ci & PVHCA_COM_ENTRIES ? 0 : PVHCA_ADMIN_RSP_F_PHASE;
		/* With a new phase, the rest of the entry is new. */
		word = le32_to_cpu(smp_load_acquire(&rsp->flags));
		if ((word & PVHCA_ADMIN_RSP_F_PHASE) != phase)
			break;
		pvhca_com_complete(com, rsp);
		WRITE_ONCE(com->cq_ci, com->cq_ci + 1);
		/* The entry was read before it is given back. */
		smp_store_release(&com->area->cq_ci, cpu_to_le32(com->cq_ci));
	}
	spin_unlock_irqrestore(&com->lock, flags);
}
