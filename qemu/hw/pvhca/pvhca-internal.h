/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: paravirtual RDMA adapter, QEMU side; what its files share.
 *
 *   pvhca.c       PCI function, registers and their state machine
 *   pvhca-irq.c   MSI-X vectors and doorbells as eventfds
 *   pvhca-link.c  the connection to pvhcad
 *   pvhca-mem.c   guest RAM as file descriptors
 *   pvhca-tcg.c   atomic operations under emulation
 *
 * Everything here runs under the BQL, in vCPU threads (register accesses) or
 * in the main loop (the rest).
 */
#ifndef HW_PVHCA_INTERNAL_H
#define HW_PVHCA_INTERNAL_H

#include "qemu/event_notifier.h"
#include "qemu/queue.h"
#include "hw/pci/pci.h"
#include "chardev/char-fe.h"
#include "migration/blocker.h"
#include "net/net.h"
#include "compat.h"

#include "pvhca-regs.h"
#include "pvhca-link.h"
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

/* One piece of guest RAM as pvhcad knows it (or will, once connected). */
typedef struct PvhcaRegion {
    struct pvhca_link_mem mem;
    MemoryRegion *mr; /* referenced, keeps fd open */
    int fd;           /* of mr's RAM block */
} PvhcaRegion;

/* A message on its way out. */
typedef struct PvhcaLinkOut {
    QSIMPLEQ_ENTRY(PvhcaLinkOut) next;
    size_t len;
    size_t sent;
    int num_fds;
    int fds[PVHCA_LINK_MAX_FDS]; /* ours: duplicates */
    uint8_t bytes[sizeof(struct pvhca_link_header) + PVHCA_LINK_MAX_PAYLOAD];
} PvhcaLinkOut;

typedef struct PvhcaLink {
    PvhcaChar chr;
    bool open;       /* the socket is connected */
    bool accepted;   /* pvhcad has accepted our HELLO */
    bool broken;     /* a write failed, CLOSED will follow */
    guint watch;     /* waits until the socket takes more, 0: none */
    unsigned queued; /* length of out */
    QSIMPLEQ_HEAD(, PvhcaLinkOut) out;
    size_t in_len; /* bytes in in[] */
    uint8_t in[sizeof(struct pvhca_link_header) + PVHCA_LINK_MAX_PAYLOAD];
    char last_problem[256]; /* logged last, not to be repeated at once */
} PvhcaLink;

struct PvhcaState {
    PCIDevice parent_obj;

    /* properties */
    uint32_t num_vectors; /* 0: chosen at realize */
    uint32_t num_doorbells;
    MACAddr mac;

    /* registers */
    MemoryRegion regs_mr;
    MemoryRegion db_mr;
    uint32_t status;
    uint32_t error;
    uint32_t generation;
    uint32_t admin[2]; /* low, high */
    uint32_t link_abi;
    char qemu_version[PVHCA_REG_VERSION_LEN];
    char hostd_version[PVHCA_REG_VERSION_LEN];

    /*
     * Requests to pvhcad.  Each has an id of its own and only the reply to the
     * one that is pending counts; 0: none is.
     */
    uint64_t last_id;
    uint64_t enable_id;
    uint64_t reset_id;
    bool used; /* pvhcad has had an ENABLE since it was reset */

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

    PvhcaLink link;
    Error *migration_blocker;
};

/* pvhca.c */

/*
 * Set STATUS and ERROR and tell the guest by the config vector.  @error goes
 * with PVHCA_STATUS_FAILED and is 0 otherwise.
 */
void pvhca_set_status(PvhcaState *s, uint32_t status, uint32_t error);

/*
 * What the link reports: a session begins; a connection ends, with or without
 * a session; pvhcad and we speak different versions; pvhcad answers.
 */
void pvhca_link_up(PvhcaState *s);
void pvhca_link_down(PvhcaState *s, bool was_up);
void pvhca_refused(PvhcaState *s);
void pvhca_enable_reply(PvhcaState *s, const struct pvhca_link_reply *reply);
void pvhca_reset_reply(PvhcaState *s, const struct pvhca_link_reply *reply);
void pvhca_fatal(PvhcaState *s, const struct pvhca_link_reply *reply);

/* pvhca-irq.c */
bool pvhca_irq_init(PvhcaState *s, Error **errp);
void pvhca_irq_cleanup(PvhcaState *s);
/* MSI-X was switched on or off: choose who listens to the notifiers. */
void pvhca_irq_update(PvhcaState *s);
/* Forget interrupts that are under way and stop KVM from listening. */
void pvhca_irq_reset(PvhcaState *s);

/* pvhca-link.c */
bool pvhca_link_init(PvhcaState *s, Error **errp);
/* Connect the handlers: from here on a session may begin. */
void pvhca_link_start(PvhcaState *s);
void pvhca_link_cleanup(PvhcaState *s);
void pvhca_link_send_mem(PvhcaState *s, enum pvhca_link_type type,
                         const PvhcaRegion *region);
void pvhca_link_send_enable(PvhcaState *s, uint64_t id, uint64_t admin_gpa);
void pvhca_link_send_reset(PvhcaState *s, uint64_t id);

/* pvhca-mem.c */
bool pvhca_mem_init(PvhcaState *s, Error **errp);
void pvhca_mem_cleanup(PvhcaState *s);
/* Send every region, for a session that begins. */
void pvhca_mem_send_all(PvhcaState *s);

/* pvhca-tcg.c */
/* Have locked instructions of the guest be locked towards other processes. */
void pvhca_tcg_share_memory(void);

#endif /* HW_PVHCA_INTERNAL_H */
