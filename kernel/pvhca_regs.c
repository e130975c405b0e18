// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Registers, and the two transitions that are asked for through them.
 *
 * Every access traps to QEMU, so registers serve to bring the device up and
 * down and for nothing else.
 */

#include <linux/io.h>
#include <linux/moduleparam.h>

#include "pvhca.h"

/* The longest delay by a lost config interrupt. */
#define PVHCA_POLL_JIFFIES (HZ / 10)

static unsigned int admin_timeout_ms = 60000;
module_param(admin_timeout_ms, uint, 0644);
MODULE_PARM_DESC(admin_timeout_ms,
		 "Time for the host to answer a command, in ms, before a reset (default 60000)");

/**
 * pvhca_regs_timeout - how long pvhcad may take to answer
 *
 * Return: jiffies, at least 1.
 */
unsigned long pvhca_regs_timeout(void)
{
	return max(msecs_to_jiffies(READ_ONCE(admin_timeout_ms)), 1ul);
}

/**
 * pvhca_regs_read - read a register
 * @pci: device
 * @reg: PVHCA_REG_*
 *
 * Return: its value, all ones if the function is gone.
 */
u32 pvhca_regs_read(struct pvhca_pci *pci, u32 reg)
{
	return readl(pci->regs + reg);
}

/**
 * pvhca_regs_write - write a register
 * @pci: device
 * @reg: PVHCA_REG_*
 * @value: for it
 */
void pvhca_regs_write(struct pvhca_pci *pci, u32 reg, u32 value)
{
	writel(value, pci->regs + reg);
}

/**
 * pvhca_regs_read_text - read one of the version texts
 * @pci: device
 * @reg: PVHCA_REG_QEMU_VERSION or PVHCA_REG_HOSTD_VERSION
 * @text: where to; always terminated, "none" if there is no text
 */
void pvhca_regs_read_text(struct pvhca_pci *pci, u32 reg, char text[PVHCA_REG_VERSION_LEN])
{
	u32 i;

	for (i = 0; i < PVHCA_REG_VERSION_LEN; i++)
		text[i] = readb(pci->regs + reg + i);
	text[PVHCA_REG_VERSION_LEN - 1] = '\0';
	if (!text[0])
		strscpy(text, "none", PVHCA_REG_VERSION_LEN);
}

/*
 * Wait until a bit of @clear is clear or a bit of @set is set. Returns that STATUS, or
 * PVHCA_GONE once the function is gone. Otherwise it returns 0 and sets @err:
 * -ETIMEDOUT after the admin time-out, -EINTR once *@cancel is set (together with
 * pvhca_regs_wake()).
 */
static u32 pvhca_regs_wait(struct pvhca_pci *pci, u32 clear, u32 set, bool *cancel, int *err)
{
	unsigned long deadline = jiffies + pvhca_regs_timeout();
	u32 status;
	int seq;

	*err = 0;
	for (;;) {
		seq = atomic_read(&pci->config_seq);
		status = pvhca_regs_read(pci, PVHCA_REG_STATUS);
		if (status == PVHCA_GONE || (~status & clear) || (status & set))
			return status;
		if (cancel && READ_ONCE(*cancel)) {
			*err = -EINTR;
			return 0;
		}
		if (time_after(jiffies, deadline)) {
			*err = -ETIMEDOUT;
			return 0;
		}
		wait_event_timeout(pci->config_wait, atomic_read(&pci->config_seq) != seq,
				   PVHCA_POLL_JIFFIES);
	}
}

/**
 * pvhca_regs_wake - wake the threads that wait for a change of STATUS
 * @pci: device
 *
 * Context: any.
 */
void pvhca_regs_wake(struct pvhca_pci *pci)
{
	atomic_inc(&pci->config_seq);
	wake_up_all(&pci->config_wait);
}

/**
 * pvhca_regs_reset - reset the device and wait until pvhcad has let go of
 *		      everything the guest had there
 * @pci: device
 *
 * Context: process; may be called with rtnl_lock() held.
 * Return: 0; -ETIMEDOUT if pvhcad may still use guest memory.
 */
int pvhca_regs_reset(struct pvhca_pci *pci)
{
	int err;

	/* A function that is gone has no session: that counts as a reset. */
	pvhca_regs_write(pci, PVHCA_REG_CONTROL, PVHCA_CONTROL_RESET);
	pvhca_regs_wait(pci, PVHCA_STATUS_RESETTING, 0, NULL, &err);
	return err;
}

/**
 * pvhca_regs_enable - have pvhcad serve an admin area
 * @pci: device, reset
 * @admin_area: address of struct pvhca_admin_area
 *
 * Return: 0; -EPROTO if it was refused (PVHCA_REG_ERROR and the area tell why);
 * -EIO if pvhcad went; -ETIMEDOUT; -EINTR if the driver goes; -ENODEV.
 */
int pvhca_regs_enable(struct pvhca_pci *pci, dma_addr_t admin_area)
{
	u32 status;
	int err;

	pvhca_regs_write(pci, PVHCA_REG_ADMIN_LO, lower_32_bits(admin_area));
	pvhca_regs_write(pci, PVHCA_REG_ADMIN_HI, upper_32_bits(admin_area));
	pvhca_regs_write(pci, PVHCA_REG_CONTROL, PVHCA_CONTROL_ENABLE);

	status = pvhca_regs_wait(pci, PVHCA_STATUS_LINK, PVHCA_STATUS_ENABLED | PVHCA_STATUS_FAILED,
				 &pci->stopping, &err);
	if (err)
		return err;
	if (status == PVHCA_GONE)
		return -ENODEV;
	if (status & PVHCA_STATUS_FAILED)
		return -EPROTO;
	return status & PVHCA_STATUS_ENABLED ? 0 : -EIO;
}
