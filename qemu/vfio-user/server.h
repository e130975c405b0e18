/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: the device (qemu/core) at home in a process of its own.
 *
 * Theory of operation: the virtual machine's monitor (QEMU with vfio-user-pci,
 * Cloud Hypervisor) connects to our socket and sends the guest's accesses, its
 * interrupts and its memory as messages.  We are the PCI function; registers
 * and state machine are the core's; pvhcad gets guest RAM, doorbells and
 * interrupts as descriptors, by the core's client.
 *
 *   server.c    the socket, messages in and replies out
 *   commands.c  what a message asks for
 *   pci.c       configuration space, the BARs
 *   irqs.c      interrupts: which eventfd pvhcad raises
 *   dma.c       guest RAM
 *   link.c      the socket to pvhcad
 *   sandbox.c   what this process gives up
 *
 * One thread, one main loop, no call that waits: a stopped pvhcad or a monitor
 * that does not read keeps nobody waiting.  The monitor is not trusted: each
 * message is checked against fixed limits, and nothing that it sends makes us
 * allocate more.
 *
 * The link to pvhcad lives as long as the monitor's connection: a virtual
 * machine that is gone has no session.
 */
#ifndef PVHCA_SERVER_H
#define PVHCA_SERVER_H

#include <glib-unix.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "pvhca-device.h"
#include "vfio-user.h"

/*
 * Bounds of a message.  QEMU takes no more than 16 descriptors; 4 KiB is more
 * than one access of a guest's, and a whole configuration space.
 */
#define PVHCA_MSG_MAX_FDS     16
#define PVHCA_MSG_MAX_XFER    4096
#define PVHCA_MSG_MAX_VERSION 1024 /* JSON text */
#define PVHCA_MSG_MAX_PAYLOAD \
    (sizeof(struct vfio_user_region_access) + PVHCA_MSG_MAX_XFER)

/* A command: taken over from the socket, with its descriptors. */
typedef struct PvhcaCommand {
    struct vfio_user_header header;
    uint8_t payload[PVHCA_MSG_MAX_PAYLOAD] __attribute__((aligned(8)));
    size_t size; /* of the payload */
    int num_fds;
    int fds[PVHCA_MSG_MAX_FDS]; /* -1: taken; the rest is closed after it */
} PvhcaCommand;

typedef struct PvhcaReply {
    struct vfio_user_header header;
    uint8_t payload[PVHCA_MSG_MAX_PAYLOAD] __attribute__((aligned(8)));
    size_t size; /* of the payload */
} PvhcaReply;

_Static_assert(offsetof(PvhcaReply, payload) == sizeof(struct vfio_user_header),
               "a reply is sent as it lies");

/* pci.c */

#define PVHCA_CONFIG_SIZE     256
#define PVHCA_MSIX_BAR_SIZE   4096
#define PVHCA_MSIX_PBA_OFFSET 2048

typedef struct PvhcaPci {
    uint8_t config[PVHCA_CONFIG_SIZE];
    uint8_t writable[PVHCA_CONFIG_SIZE]; /* bits that a guest can change */
    uint8_t msix_table[PVHCA_VECTORS_MAX * PCI_MSIX_ENTRY_SIZE];
} PvhcaPci;

/* irqs.c */

/* INTx, MSI and MSI-X; QEMU complains of errors' and requests' that count 0. */
#define PVHCA_NUM_IRQS (VFIO_PCI_MSIX_IRQ_INDEX + 1)

/*
 * One MSI-X vector.  pvhcad raises it by a write to @trigger while the monitor
 * listens, else to @event, which keeps it until the monitor can be told: that is
 * its pending bit.
 */
typedef struct PvhcaVector {
    int event;       /* ours; we raise the vector by it, too */
    int trigger;     /* the monitor's eventfd, -1: none */
    bool masked;     /* by the monitor */
    GSource *source; /* waits on event while there is somebody to tell */
} PvhcaVector;

/* dma.c */

#define PVHCA_DMA_MAX 4096 /* mappings of one monitor, max_dma_maps */

/* A mapping as the monitor made it. */
typedef struct PvhcaMapping {
    uint64_t address;
    uint64_t size;
    uint64_t offset; /* into fd */
    int fd;          /* -1: not memory that pvhcad can have */
} PvhcaMapping;

typedef struct PvhcaDma {
    unsigned count;
    PvhcaMapping map[PVHCA_DMA_MAX]; /* by address */
    bool told_full;                  /* that pvhcad takes no more regions */
    bool told_useless;               /* that a descriptor is of no use */
} PvhcaDma;

/* link.c */

typedef struct PvhcaSocket {
    const char *name; /* in the working directory */
    bool wanted;      /* connect, again and again */
    int fd;           /* -1: not connected */
    GSource *readable;
    GSource *writable;
    GSource *retry;
    bool told_absent; /* that pvhcad is not there */
} PvhcaSocket;

/* server.c */

typedef struct PvhcaMonitor {
    int fd; /* -1: nobody is connected */
    GSource *readable;
    GSource *writable; /* the reply waits for it; nothing is read meanwhile */
    bool greeted;      /* VERSION has been answered */
    size_t received;   /* bytes of in.header and in.payload */
    size_t sent;       /* bytes of out */
    PvhcaCommand in;
    PvhcaReply out;
} PvhcaMonitor;

typedef struct PvhcaServer {
    PvhcaDevice device;
    PvhcaPci pci;
    PvhcaVector vectors[PVHCA_VECTORS_MAX];
    PvhcaDma dma;
    PvhcaSocket link;
    GSource *accept;
    PvhcaMonitor monitor;
} PvhcaServer;

/* A line to standard error; left out where there are too many. */
void pvhca_log(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/*
 * @s->device.identity and @s->link.name are set.  Makes the eventfds.  Returns
 * false, with errno, if there are none.
 */
bool pvhca_server_init(PvhcaServer *s);
/* Serve monitors that connect to @listener, one after the other. */
void pvhca_server_start(PvhcaServer *s, int listener);
/* Serve the monitor behind @fd, which is taken over; there is no other. */
void pvhca_server_adopt(PvhcaServer *s, int fd);
void pvhca_server_cleanup(PvhcaServer *s);
/* Forget the monitor and all that it gave. */
void pvhca_server_drop(PvhcaServer *s);

/*
 * Carry out a command.  Returns 0 and the reply's payload, or an errno for the
 * reply.  *@drop: the connection cannot go on after the reply.
 */
int pvhca_commands_handle(PvhcaServer *s, PvhcaCommand *command,
                          PvhcaReply *reply, bool *drop);

void pvhca_pci_init(PvhcaServer *s);
void pvhca_pci_reset(PvhcaServer *s);
/* Bytes of region @index (VFIO_PCI_*_REGION_INDEX), 0 if there is none. */
uint64_t pvhca_pci_region_size(uint32_t index);
/* An access that lies within the region. */
void pvhca_pci_read(PvhcaServer *s, uint32_t index, uint64_t offset,
                    uint8_t *data, uint32_t count);
void pvhca_pci_write(PvhcaServer *s, uint32_t index, uint64_t offset,
                     const uint8_t *data, uint32_t count);

bool pvhca_irqs_init(PvhcaServer *s);
void pvhca_irqs_cleanup(PvhcaServer *s);
/* Forget the monitor's eventfds and masks. */
void pvhca_irqs_disable(PvhcaServer *s);
/* Forget interrupts that are under way. */
void pvhca_irqs_clear(PvhcaServer *s);
void pvhca_irqs_raise(PvhcaServer *s, unsigned vector);
/* For the device: raise the config vector.  @opaque: PvhcaServer */
void pvhca_irqs_raise_config(void *opaque);
bool pvhca_irqs_pending(PvhcaServer *s, unsigned vector);
/*
 * SET_IRQS.  @set->count descriptors or none, if @fds; booleans or NULL.
 * Returns 0 or an errno.  Takes descriptors over by setting them to -1.
 */
int pvhca_irqs_set(PvhcaServer *s, const struct vfio_user_irq_set *set,
                   const uint8_t *booleans, int *fds, int num_fds);

/* Return 0 or an errno.  Takes *@fd over by setting it to -1. */
int pvhca_dma_map(PvhcaServer *s, const struct vfio_user_dma_map *map, int *fd);
int pvhca_dma_unmap(PvhcaServer *s, uint64_t address, uint64_t size);
void pvhca_dma_unmap_all(PvhcaServer *s);
/*
 * The guest enables the device, with its admin area at @gpa: log what is wrong
 * with guest memory, where something is.
 */
void pvhca_dma_check_area(PvhcaServer *s, uint64_t gpa);

extern const PvhcaTransport pvhca_link_transport; /* @opaque: PvhcaServer */
/* Connect, and connect again whenever the connection is lost. */
void pvhca_link_start(PvhcaServer *s);
void pvhca_link_stop(PvhcaServer *s);

/* Remove a source from the main loop, if there is one. */
void pvhca_source_clear(GSource **source);
/* A source of @fd; the callback is a GUnixFDSourceFunc. */
GSource *pvhca_source_add(int fd, GIOCondition condition,
                          GUnixFDSourceFunc function, void *opaque);

#endif /* PVHCA_SERVER_H */
