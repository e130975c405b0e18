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
 * A queue that is closed stays so: its completions are not read any more. It is
 * closed when the session ends (pvhca_dev_kill()), for example when a command times
 * out.
 *
 * A process that is killed need not wait for its command, unless the command ends
 * something. Then the command is abandoned: its slot stays taken, so that the late
 * answer is not taken for another command's, and a work item waits in the process's
 * place. It times out as a process does. When the answer is there it has the upper
 * layer undo what the command did, and drops the reference on memory that the
 * command named. pvhcad may use that memory until then.
 *
 * An object that an abandoned command made keeps others in use: pvhcad refuses to
 * destroy these with PVHCA_ST_BUSY. The destruction is tried again each time that
 * an abandoned command was settled (pvhca_com_wait_settled()).
 */

#include <linux/io.h>
#include <linux/random.h>
#include <linux/slab.h>

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
	area->features = cpu_to_le64(PVHCA_COM_FEATURES);
	area->sq_addr = cpu_to_le64(com->sq_dma);
	area->cq_addr = cpu_to_le64(com->cq_dma);
	area->sq_log_entries = PVHCA_COM_LOG_ENTRIES;
	area->cq_log_entries = PVHCA_COM_LOG_ENTRIES;
	strscpy(area->driver_version, PVHCA_VERSION, sizeof(area->driver_version));
}

static void pvhca_com_abandoned_work(struct work_struct *work);

static int pvhca_com_create_slots(struct pvhca_com *com)
{
	u32 i;

	com->slots = kvcalloc(PVHCA_COM_ENTRIES, sizeof(*com->slots), GFP_KERNEL);
	if (!com->slots)
		return -ENOMEM;
	for (i = 0; i < PVHCA_COM_ENTRIES; i++) {
		com->slots[i].com = com;
		init_completion(&com->slots[i].done);
		INIT_WORK(&com->slots[i].abandoned_work, pvhca_com_abandoned_work);
	}
	return 0;
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

	com->dev = dev;
	spin_lock_init(&com->lock);
	sema_init(&com->credits, PVHCA_COM_ENTRIES);
	init_waitqueue_head(&com->settled_wait);
	/* Cookies differ from those of other sessions. */
	com->cookie_seq = get_random_u32();
	if (pvhca_com_create_slots(com))
		return -ENOMEM;

	com->area = dma_alloc_coherent(dma_dev, sizeof(*com->area), &com->area_dma, GFP_KERNEL);
	if (!com->area)
		goto err_free_slots;
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
err_free_slots:
	kvfree(com->slots);
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
	kvfree(com->slots);
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
 * Wakes all threads that wait for a completion: their commands have failed.
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
	/* The command is visible before the index. */
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

/*
 * The time is over; has the interrupt been lost rather than the answer? Then do what
 * its handler would have done.
 */
static void pvhca_com_timed_out(struct pvhca_com *com, struct pvhca_com_slot *slot, u16 opcode)
{
	com->dev->ops->serve_admin(com->dev);
	if (completion_done(&slot->done)) {
		dev_warn_ratelimited(pvhca_to_dma_device(com->dev),
				     "admin command %u completed without an interrupt\n", opcode);
		return;
	}
	pvhca_stat_inc(com->dev, PVHCA_STAT_ADMIN_TIMEOUTS);
	dev_err_ratelimited(pvhca_to_dma_device(com->dev),
			    "admin command %u timed out after %u ms\n", opcode,
			    jiffies_to_msecs(pvhca_regs_timeout()));
	pvhca_dev_kill(com->dev, "a command timed out");
}

/*
 * A command that has others before it may wait as long as these complete, each in its
 * time: all of them where pvhcad takes commands one at a time, and with
 * PVHCA_FEATURE_UNORDERED those that name the same objects, or keep all of pvhcad's
 * threads busy. Returns 0 if the slot is not busy any more, -ETIMEDOUT, or -EINTR if the
 * process was killed.
 */
static int pvhca_com_wait(struct pvhca_com *com, struct pvhca_com_slot *slot, bool killable)
{
	unsigned long timeout;
	long left;
	u32 seen;

	do {
		seen = READ_ONCE(com->cq_ci);
		timeout = pvhca_regs_timeout();
		left = killable ? wait_for_completion_killable_timeout(&slot->done, timeout) :
				  (long)wait_for_completion_timeout(&slot->done, timeout);
		if (left)
			return left < 0 ? -EINTR : 0;
	} while (READ_ONCE(com->cq_ci) != seen && seen - slot->cq_ci < PVHCA_COM_ENTRIES);
	return -ETIMEDOUT;
}

/*
 * The session died before the command completed. Its caller may free memory of the
 * session's once pvhcad has let go of it. Callers of these commands free none, and
 * others wait for them: the GID table, which holds the network interface.
 */
static void pvhca_com_let_go(struct pvhca_com *com, u16 opcode)
{
	switch (opcode) {
	case PVHCA_CMD_QUERY_PORT:
	case PVHCA_CMD_ADD_GID:
	case PVHCA_CMD_DEL_GID:
		return;
	}
	pvhca_dev_may_free(com->dev);
}

/* The command has ended: give its slot back. */
static int pvhca_com_finish(struct pvhca_com *com, struct pvhca_com_slot *slot, u16 opcode,
			    struct pvhca_admin_rsp *rsp)
{
	/* A slot that is not busy is not written to. */
	int err = slot->err;

	if (!err)
		*rsp = slot->rsp;
	pvhca_com_release(com, slot);
	up(&com->credits);
	if (err)
		pvhca_com_let_go(com, opcode);
	return err;
}

static void pvhca_com_abandon(struct pvhca_com *com, struct pvhca_com_slot *slot,
			      const struct pvhca_admin_cmd *cmd,
			      const struct pvhca_com_leave *leave)
{
	slot->cmd = *cmd;
	slot->leave = *leave;
	if (leave->hold)
		refcount_inc(&leave->hold->refs);
	atomic_inc(&com->abandoned);
	pvhca_stat_inc(com->dev, PVHCA_STAT_ADMIN_ABANDONED);
	queue_work(com->dev->pci->reclaim_wq, &slot->abandoned_work);
}

static void pvhca_com_abandoned_work(struct work_struct *work)
{
	struct pvhca_com_slot *slot = container_of(work, struct pvhca_com_slot, abandoned_work);
	/* Copies: the slot may be another command's before this one is settled. */
	const struct pvhca_admin_cmd cmd = slot->cmd;
	const struct pvhca_com_leave leave = slot->leave;
	struct pvhca_com *com = slot->com;
	struct pvhca_admin_rsp rsp;

	if (pvhca_com_wait(com, slot, false))
		pvhca_com_timed_out(com, slot, le16_to_cpu(cmd.opcode));
	if (!pvhca_com_finish(com, slot, le16_to_cpu(cmd.opcode), &rsp))
		leave.settle(com->dev, &cmd, &rsp);
	if (leave.hold)
		pvhca_com_hold_put(leave.hold);
	/* In this order: see pvhca_com_count_settled(). */
	atomic_dec(&com->abandoned);
	smp_mb__after_atomic();
	atomic_inc(&com->settled);
	wake_up_all(&com->settled_wait);
}

/**
 * pvhca_com_exec - have pvhcad carry out a command
 * @com: queue
 * @cmd: command; its cookie is filled in
 * @rsp: where the completion goes; valid with 0
 * @leave: how a process that is killed leaves the command behind; NULL: it waits
 *
 * With -EIO the session is dead, and unless pvhca_dev_may_free() says otherwise
 * pvhcad does not touch any memory that it was told of, by this or any earlier
 * command. (Commands about the port and its GIDs do not wait for that.)
 * With -EINTR pvhcad may still carry the command out; memory that it names
 * stays as it is until its hold is released.
 *
 * Context: process; may be called with rtnl_lock() held.
 * Return: 0 if the command completed, with any status; -EIO; -EINTR, only with
 * @leave.
 */
int pvhca_com_exec(struct pvhca_com *com, struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp,
		   const struct pvhca_com_leave *leave)
{
	struct pvhca_com_slot *slot;
	int err;

	might_sleep();

	/* The holders of the credits time out themselves, and give them back. */
	if (!leave)
		down(&com->credits);
	else if (down_killable(&com->credits))
		return -EINTR;
	slot = pvhca_com_submit(com, cmd);
	if (!slot) {
		up(&com->credits);
		pvhca_com_let_go(com, le16_to_cpu(cmd->opcode));
		return -EIO;
	}
	writel(1, com->dev->pci->admin_db);

	err = pvhca_com_wait(com, slot, leave);
	if (err == -EINTR) {
		pvhca_com_abandon(com, slot, cmd, leave);
		return err;
	}
	if (err)
		pvhca_com_timed_out(com, slot, le16_to_cpu(cmd->opcode));
	return pvhca_com_finish(com, slot, le16_to_cpu(cmd->opcode), rsp);
}

/**
 * pvhca_com_count_settled - count abandoned commands that were settled
 * @com: queue
 * @more: set: are there others?
 *
 * To be called before the command that may find a late object in its way. Without
 * @more there is none: what an abandoned command left was undone before.
 *
 * Return: the count, for pvhca_com_wait_settled().
 */
u32 pvhca_com_count_settled(struct pvhca_com *com, bool *more)
{
	u32 count = atomic_read(&com->settled);

	/* A command between its two counts has undone all. */
	smp_rmb();
	*more = atomic_read(&com->abandoned);
	return count;
}

/**
 * pvhca_com_wait_settled - wait until another abandoned command was settled
 * @com: queue
 * @count: result of pvhca_com_count_settled(), which set @more
 *
 * Context: process; may be called with rtnl_lock() held.
 */
void pvhca_com_wait_settled(struct pvhca_com *com, u32 count)
{
	wait_event(com->settled_wait, (u32)atomic_read(&com->settled) != count);
}

/**
 * pvhca_com_drain - wait until all abandoned commands were settled
 * @com: queue of a dead session, which gets no commands any more
 *
 * Context: process.
 */
void pvhca_com_drain(struct pvhca_com *com)
{
	u32 i;

	for (i = 0; i < PVHCA_COM_ENTRIES; i++)
		flush_work(&com->slots[i].abandoned_work);
}

/**
 * pvhca_com_hold_init - memory that commands may name from now on
 * @hold: part of the memory's owner
 * @release: frees it
 */
void pvhca_com_hold_init(struct pvhca_com_hold *hold, void (*release)(struct pvhca_com_hold *hold))
{
	refcount_set(&hold->refs, 1);
	hold->release = release;
}

/**
 * pvhca_com_hold_put - the owner, or an abandoned command, is done with memory
 * @hold: of it
 *
 * Context: process.
 */
void pvhca_com_hold_put(struct pvhca_com_hold *hold)
{
	if (refcount_dec_and_test(&hold->refs))
		hold->release(hold);
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
