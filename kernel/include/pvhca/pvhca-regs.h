/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR Linux-OpenIB) */
/*
 * pvhca register ABI: what the guest driver and the QEMU device agree on.
 *
 * The PCI function has three memory BARs:
 *
 *   BAR 0  registers, 4 KiB. Every access traps to QEMU; used only to bring the
 *          device up and down, never on a data or admin path.
 *   BAR 1  the MSI-X table and PBA.
 *   BAR 2  doorbells, 128 KiB: two 64 KiB windows, so that each can be mapped
 *          separately whatever the guest's page size is. Writes are ioeventfds:
 *          they wake pvhcad directly and carry no data. Reads give 0.
 *
 * All registers are 32-bit little endian. The device answers every access of
 * every size and alignment: other than aligned 4-byte writes are ignored, any
 * read gives the bytes that lie there, and unassigned space reads as 0.
 *
 * QEMU parses no structure in guest memory; everything beyond these registers
 * is between the guest and pvhcad (pvhca-admin.h, pvhca-ring.h).
 */
#ifndef PVHCA_REGS_H
#define PVHCA_REGS_H

#define PVHCA_PCI_VENDOR_ID 0x1af4
#define PVHCA_PCI_DEVICE_ID 0x10f0 /* experimental range of 1af4 */
#define PVHCA_PCI_REVISION  0x01

/* Version of the register ABI: the major differs = refuse, the minor only adds. */
#define PVHCA_REGS_ABI_MAJOR 1
#define PVHCA_REGS_ABI_MINOR 0

#define PVHCA_BAR_REGS		0
#define PVHCA_BAR_MSIX		1
#define PVHCA_BAR_DOORBELL	2
#define PVHCA_BAR_REGS_SIZE	0x1000
#define PVHCA_BAR_DOORBELL_SIZE 0x20000

/* BAR 2: window of data doorbells, which every process may map and share ... */
#define PVHCA_DB_USER_WINDOW 0x00000
/* ... doorbell i of it is the 32-bit word at i * PVHCA_DB_STRIDE ... */
#define PVHCA_DB_STRIDE 8
#define PVHCA_DB_MAX	64
/* ... and the admin doorbell, in a window of its own that is the driver's alone. */
#define PVHCA_DB_ADMIN 0x10000

/* BAR 0 */
#define PVHCA_REG_MAGIC		0x000 /* RO: PVHCA_MAGIC */
#define PVHCA_REG_ABI		0x004 /* RO: major << 16 | minor */
#define PVHCA_REG_STATUS	0x008 /* RO: PVHCA_STATUS_* */
#define PVHCA_REG_CONTROL	0x00c /* WO: PVHCA_CONTROL_*; reads 0 */
#define PVHCA_REG_ADMIN_LO	0x010 /* RW: guest-physical address of ... */
#define PVHCA_REG_ADMIN_HI	0x014 /* RW: ... struct pvhca_admin_area */
#define PVHCA_REG_NUM_VECTORS	0x018 /* RO: MSI-X vectors, >= 3 */
#define PVHCA_REG_NUM_DOORBELLS 0x01c /* RO: data doorbells, 1..PVHCA_DB_MAX */
#define PVHCA_REG_ERROR		0x020 /* RO: enum pvhca_dev_error, while STATUS has FAILED */
#define PVHCA_REG_GENERATION	0x024 /* RO: counts connections of pvhcad, from 0 */
#define PVHCA_REG_LINK_ABI	0x028 /* RO: major << 16 | minor spoken with pvhcad, 0 if none */
#define PVHCA_REG_QEMU_VERSION	0x040 /* RO: version text of the device, NUL padded */
#define PVHCA_REG_HOSTD_VERSION 0x080 /* RO: version text of pvhcad, all 0 if none */
#define PVHCA_REG_VERSION_LEN	0x20  /* bytes of either text, NUL included */

#define PVHCA_MAGIC 0x43485650 /* "PVHC" in memory order */

/*
 * STATUS. The guest's view of the state machine:
 *
 *   no LINK --(pvhcad connects)--> LINK --(ENABLE)--> LINK|ENABLED
 *
 * ENABLE and RESET are carried out by pvhcad, hence asynchronous: after ENABLE
 * the device sets ENABLED or FAILED; after RESET it shows RESETTING until all
 * that the guest had on the host is given back. Both then raise the config
 * vector. Losing pvhcad clears LINK, ENABLED and RESETTING and raises the config
 * vector; so does its coming back, with LINK set and GENERATION increased. A
 * driver that finds another GENERATION than it enabled knows that its device
 * is gone, even if LINK and ENABLED never looked clear to it.
 */
#define PVHCA_STATUS_LINK      (1u << 0) /* pvhcad is there and speaks our ABI */
#define PVHCA_STATUS_ENABLED   (1u << 1) /* pvhcad serves the admin queue */
#define PVHCA_STATUS_RESETTING (1u << 2)
#define PVHCA_STATUS_FAILED    (1u << 3) /* refused or broken until the next RESET */

/* CONTROL: other values are ignored. */
#define PVHCA_CONTROL_RESET  1 /* from any state; ends in LINK or nothing */
#define PVHCA_CONTROL_ENABLE 2 /* only from LINK alone; else FAILED/BAD_STATE */

enum pvhca_dev_error {
	PVHCA_DEV_ERR_NONE = 0,
	PVHCA_DEV_ERR_NO_BACKEND = 1,  /* ENABLE without LINK */
	PVHCA_DEV_ERR_BAD_STATE = 2,   /* ENABLE while enabled, failed or resetting */
	PVHCA_DEV_ERR_ADMIN_AREA = 3,  /* address unaligned or not guest RAM */
	PVHCA_DEV_ERR_VERSION = 4,     /* admin ABI refused; the admin area says by whom and why */
	PVHCA_DEV_ERR_ADMIN_QUEUE = 5, /* queue addresses or sizes are wrong */
	PVHCA_DEV_ERR_HOST = 6,	       /* the host device failed or is gone */
	PVHCA_DEV_ERR_GUEST = 7,       /* the driver broke the protocol; pvhcad's log says how */
	PVHCA_DEV_ERR_MEMORY = 8,      /* guest RAM could not be mapped by pvhcad */
	PVHCA_DEV_ERR_BACKEND_VERSION =
		9, /* pvhcad and QEMU refuse each other; both texts are readable */
};

/* MSI-X vectors */
#define PVHCA_VECTOR_CONFIG 0 /* raised by QEMU: STATUS changed */
#define PVHCA_VECTOR_ADMIN  1 /* raised by pvhcad: admin completions, async events */
#define PVHCA_VECTOR_COMP   2 /* this and following, by pvhcad: completion event queues */
#define PVHCA_VECTORS_MAX   66

#endif /* PVHCA_REGS_H */
