/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: the device's registers and their state machine (pvhca-regs.h,
 * docs/pvhca-device.md).
 *
 * Theory of operation: the guest's verbs calls are carried out by pvhcad, a
 * daemon on the host.  The device gives the guest something to find on its PCI
 * bus, and pvhcad what it needs to serve the guest: guest RAM, doorbells and
 * interrupts, all as file descriptors.  It reads no structure in guest memory
 * and makes no verbs call.
 *
 * The registers are a small state machine whose two actions, ENABLE and RESET,
 * are carried out by pvhcad while the guest goes on.  Each request has an id;
 * whatever puts an end to a request forgets its id, so that a late answer is
 * never taken for the next one's.
 *
 * This is the whole device but its PCI function, which belongs to a home: a
 * QEMU device, or a server of vfio-user.  The home owns eventfds, guest RAM and
 * the socket, and is called by the tables it gives.
 *
 * Not thread-safe, as the client is not.
 */
#ifndef PVHCA_DEVICE_H
#define PVHCA_DEVICE_H

#include "pvhca-client.h"

#define PVHCA_VECTORS_MIN       (PVHCA_VECTOR_COMP + 1)
#define PVHCA_DOORBELLS_DEFAULT 8

typedef struct PvhcaDevice {
    PvhcaClient client;
    PvhcaIdentity identity; /* filled by the home before the first connection */

    /* STATUS has changed: raise the config vector, where the guest takes it. */
    void (*raise_config)(void *opaque);
    void *opaque;

    /* registers */
    uint32_t status;
    uint32_t error;
    uint32_t generation;
    uint32_t admin[2]; /* low, high */
    uint32_t link_abi;
    char hostd_version[PVHCA_REG_VERSION_LEN];

    /*
     * Requests to pvhcad.  Each has an id of its own and only the reply to the
     * one that is pending counts; 0: none is.
     */
    uint64_t last_id;
    uint64_t enable_id;
    uint64_t reset_id;
    bool used; /* pvhcad has had an ENABLE since it was reset */
} PvhcaDevice;

/* @device->identity is cleared; @opaque goes to both. */
void pvhca_device_init(PvhcaDevice *device, const PvhcaTransport *transport,
                       void (*raise_config)(void *opaque), void *opaque);
void pvhca_device_cleanup(PvhcaDevice *device);

/*
 * Check what users choose, in @device->identity: numbers of vectors and
 * doorbells, the address.  Returns NULL, or what is wrong with a setting, to
 * be put behind its name in the message: @setting is "vectors", ...
 */
const char *pvhca_device_check(const PvhcaIdentity *identity,
                               const char **setting);

/*
 * Registers, BAR 0.  Every access of 1 to 8 bytes is answered, at any
 * alignment; what does not lie in the BAR reads as 0.
 */
uint64_t pvhca_device_read(PvhcaDevice *device, uint64_t addr, unsigned size);
void pvhca_device_write(PvhcaDevice *device, uint64_t addr, uint64_t val,
                        unsigned size);

/* The eventfd of a write to BAR 2; -1 if it is none to a doorbell. */
int pvhca_device_doorbell(const PvhcaDevice *device, uint64_t addr,
                          unsigned size);

/* A reset of the machine: a RESET without interrupts. */
void pvhca_device_reset(PvhcaDevice *device);

#endif /* PVHCA_DEVICE_H */
