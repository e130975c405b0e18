/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: paravirtual RDMA adapter, QEMU's home of it; what its files share.
 *
 *   pvhca.c       PCI function, BARs, properties
 *   pvhca-irq.c   MSI-X vectors and doorbells as eventfds
 *   pvhca-link.c  the character device that leads to pvhcad
 *   pvhca-mem.c   guest RAM as file descriptors
 *   pvhca-tcg.c   atomic operations under emulation
 *
 * The registers with their state machine, and the client of pvhcad, are plain C
 * that knows no QEMU: pvhca-device.h and pvhca-client.h.
 *
 * Everything here runs under the BQL, in vCPU threads (register accesses) or
 * in the main loop (the rest).
 */
#ifndef HW_PVHCA_INTERNAL_H
#define HW_PVHCA_INTERNAL_H

#include "qemu/event_notifier.h"
#include "hw/pci/pci.h"
#include "chardev/char-fe.h"
#include "migration/blocker.h"
#include "net/net.h"
#include "compat.h"

#include "pvhca-device.h"
#include "pvhca-version.h"

#define TYPE_PVHCA "pvhca"
OBJECT_DECLARE_SIMPLE_TYPE(PvhcaState, PVHCA)

/* One MSI-X vector that pvhcad raises. */
typedef struct PvhcaVector {
    PvhcaState *s;
    EventNotifier notifier;
    int virq;   /* KVM route, -1: none */
    bool irqfd; /* KVM listens to notifier, not our main loop */
} PvhcaVector;

/* One piece of guest RAM. */
typedef struct PvhcaRegion {
    struct pvhca_link_mem mem;
    MemoryRegion *mr; /* referenced, keeps its descriptor open */
} PvhcaRegion;

struct PvhcaState {
    PCIDevice parent_obj;

    /* properties */
    uint32_t num_vectors; /* 0: chosen at realize */
    uint32_t num_doorbells;
    MACAddr mac;
    bool pair;

    PvhcaDevice device; /* from realize to exit */
    MemoryRegion regs_mr;
    MemoryRegion db_mr;

    /* interrupts and doorbells */
    PvhcaVector *vectors; /* num_vectors; [PVHCA_VECTOR_CONFIG] unused */
    bool irqfd;           /* vector notifiers are with MSI-X and KVM */
    EventNotifier admin_db;
    EventNotifier *data_db; /* num_doorbells */

    /* guest RAM */
    MemoryListener listener;
    GArray *regions;     /* PvhcaRegion, by address */
    GArray *new_regions; /* being collected, NULL outside transactions */
    char *unshared;      /* realize only: RAM that cannot be passed on */
    bool realized;

    PvhcaChar chr; /* to pvhcad */
    guint watch;   /* waits until the socket takes more, 0: none */

    Error *migration_blocker;
};

/* pvhca-irq.c */
bool pvhca_irq_init(PvhcaState *s, Error **errp);
void pvhca_irq_cleanup(PvhcaState *s);
/* MSI-X was switched on or off: choose who listens to the notifiers. */
void pvhca_irq_update(PvhcaState *s);
/* Forget interrupts that are under way and stop KVM from listening. */
void pvhca_irq_reset(PvhcaState *s);

/* pvhca-link.c */
extern const PvhcaTransport pvhca_link_transport; /* @opaque: PvhcaState */
/* That the character device can be used. */
bool pvhca_link_check(PvhcaState *s, Error **errp);
/* Connect the handlers: from here on a session may begin. */
void pvhca_link_start(PvhcaState *s);
void pvhca_link_cleanup(PvhcaState *s);

/* pvhca-mem.c */
bool pvhca_mem_init(PvhcaState *s, Error **errp);
void pvhca_mem_cleanup(PvhcaState *s);

/* pvhca-tcg.c */
/* Have locked instructions of the guest be locked towards other processes. */
void pvhca_tcg_share_memory(void);

#endif /* HW_PVHCA_INTERNAL_H */
