/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vfio-user on the wire: what QEMU's docs/interop/vfio-user.rst says, as far as
 * pvhca-vfio-user speaks it.  Native endianness.  What follows a header and is
 * like the kernel's is described by <linux/vfio.h>.
 */
#ifndef VFIO_USER_H
#define VFIO_USER_H

#include <stdint.h>

#define VFIO_USER_MAJOR 0
#define VFIO_USER_MINOR 1

enum vfio_user_command {
    VFIO_USER_VERSION = 1,
    VFIO_USER_DMA_MAP = 2,
    VFIO_USER_DMA_UNMAP = 3,
    VFIO_USER_DEVICE_GET_INFO = 4,
    VFIO_USER_DEVICE_GET_REGION_INFO = 5,
    VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
    VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
    VFIO_USER_DEVICE_SET_IRQS = 8,
    VFIO_USER_REGION_READ = 9,
    VFIO_USER_REGION_WRITE = 10,
    VFIO_USER_DMA_READ = 11,
    VFIO_USER_DMA_WRITE = 12,
    VFIO_USER_DEVICE_RESET = 13,
};

/* struct vfio_user_header, flags */
#define VFIO_USER_TYPE_MASK    0xfu
#define VFIO_USER_TYPE_COMMAND 0x0u
#define VFIO_USER_TYPE_REPLY   0x1u
#define VFIO_USER_NO_REPLY     0x10u /* a command that wants none */
#define VFIO_USER_ERROR        0x20u /* a reply: error is valid, no payload */

struct vfio_user_header {
    uint16_t id; /* echoed in the reply */
    uint16_t command;
    uint32_t size; /* with this header */
    uint32_t flags;
    uint32_t error; /* errno of a reply; reserved in a command */
};

/* VERSION, both ways; JSON text follows, NUL terminated, optional. */
struct vfio_user_version {
    uint16_t major;
    uint16_t minor;
};

struct vfio_user_dma_map {
    uint32_t argsz;  /* of this structure */
    uint32_t flags;  /* VFIO_DMA_MAP_FLAG_READ, _WRITE */
    uint64_t offset; /* into the descriptor that may come with it */
    uint64_t address;
    uint64_t size;
};

struct vfio_user_dma_unmap {
    uint32_t argsz; /* of this structure, or more */
    uint32_t flags; /* VFIO_DMA_UNMAP_FLAG_ALL */
    uint64_t address;
    uint64_t size;
};

struct vfio_user_device_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
};

struct vfio_user_irq_set {
    uint32_t argsz; /* with the booleans that follow */
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
};

/* REGION_READ, REGION_WRITE; bytes follow a write and the reply to a read. */
struct vfio_user_region_access {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
};

_Static_assert(sizeof(struct vfio_user_header) == 16, "vfio-user");
_Static_assert(sizeof(struct vfio_user_version) == 4, "vfio-user");
_Static_assert(sizeof(struct vfio_user_dma_map) == 32, "vfio-user");
_Static_assert(sizeof(struct vfio_user_dma_unmap) == 24, "vfio-user");
_Static_assert(sizeof(struct vfio_user_device_info) == 16, "vfio-user");
_Static_assert(sizeof(struct vfio_user_irq_set) == 20, "vfio-user");
_Static_assert(sizeof(struct vfio_user_region_access) == 16, "vfio-user");

#endif /* VFIO_USER_H */
