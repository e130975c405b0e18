/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: the device's registers and their state machine.
 */
#include <string.h>

#include "pvhca-device.h"

_Static_assert(PVHCA_DB_ADMIN / PVHCA_DB_STRIDE >= PVHCA_DB_MAX, "regs ABI");
_Static_assert(PVHCA_REG_HOSTD_VERSION + PVHCA_REG_VERSION_LEN <=
                   PVHCA_BAR_REGS_SIZE,
               "regs ABI");

static void pvhca_device_set_status(PvhcaDevice *d, uint32_t status,
                                    uint32_t error)
{
    d->status = status;
    d->error = error;
    pvhca_client_trace(&d->client, PVHCA_TRACE_STATUS, status, error,
                       d->generation);
    d->raise_config(d->opaque);
}

static void pvhca_device_fail(PvhcaDevice *d, uint32_t error)
{
    d->enable_id = 0;
    pvhca_device_set_status(
        d, (d->status & ~PVHCA_STATUS_ENABLED) | PVHCA_STATUS_FAILED, error);
}

/* What pvhcad says */

static void pvhca_device_hello(void *opaque, const char *hostd_version)
{
    PvhcaDevice *d = opaque;

    g_strlcpy(d->hostd_version, hostd_version, sizeof(d->hostd_version));
}

static void pvhca_device_link_up(void *opaque, uint32_t link_abi)
{
    PvhcaDevice *d = opaque;

    d->link_abi = link_abi;
    d->generation++;
    d->used = false;
    pvhca_device_set_status(
        d, (d->status & PVHCA_STATUS_FAILED) | PVHCA_STATUS_LINK, d->error);
}

static void pvhca_device_link_down(void *opaque, bool was_up)
{
    PvhcaDevice *d = opaque;

    d->enable_id = 0;
    d->reset_id = 0;
    d->link_abi = 0;
    /* After a disagreement about versions both texts stay readable. */
    if (was_up || d->error != PVHCA_DEV_ERR_BACKEND_VERSION) {
        memset(d->hostd_version, 0, sizeof(d->hostd_version));
    }
    if (was_up) {
        pvhca_device_set_status(d, d->status & PVHCA_STATUS_FAILED, d->error);
    }
}

static void pvhca_device_refused(void *opaque)
{
    PvhcaDevice *d = opaque;

    if (d->error != PVHCA_DEV_ERR_BACKEND_VERSION) {
        pvhca_device_fail(d, PVHCA_DEV_ERR_BACKEND_VERSION);
    }
}

static void pvhca_device_enable_reply(void *opaque, uint64_t id, uint32_t error)
{
    PvhcaDevice *d = opaque;

    if (!d->enable_id || id != d->enable_id) {
        pvhca_client_trace(&d->client, PVHCA_TRACE_STALE_REPLY,
                           PVHCA_LINK_ENABLE_REPLY, id, 0);
        return;
    }
    d->enable_id = 0;
    if (error) {
        pvhca_device_fail(d, error);
    } else {
        pvhca_device_set_status(d, PVHCA_STATUS_LINK | PVHCA_STATUS_ENABLED, 0);
    }
}

static void pvhca_device_reset_reply(void *opaque, uint64_t id, uint32_t error)
{
    PvhcaDevice *d = opaque;

    if (!d->reset_id || id != d->reset_id) {
        pvhca_client_trace(&d->client, PVHCA_TRACE_STALE_REPLY,
                           PVHCA_LINK_RESET_REPLY, id, 0);
        return;
    }
    d->reset_id = 0;
    d->status &= ~PVHCA_STATUS_RESETTING;
    if (error) {
        pvhca_device_fail(d, error);
    } else {
        /* FAILED if the guest misbehaved meanwhile. */
        pvhca_device_set_status(d, d->status, d->error);
    }
}

static void pvhca_device_fatal(void *opaque, uint32_t error)
{
    PvhcaDevice *d = opaque;

    if (d->status & (PVHCA_STATUS_RESETTING | PVHCA_STATUS_FAILED)) {
        /* Of what is being reset, or no news. */
        return;
    }
    d->used = true;
    pvhca_device_fail(d, error);
}

static const PvhcaClientListener pvhca_device_listener = {
    .hello = pvhca_device_hello,
    .up = pvhca_device_link_up,
    .down = pvhca_device_link_down,
    .refused = pvhca_device_refused,
    .enable_reply = pvhca_device_enable_reply,
    .reset_reply = pvhca_device_reset_reply,
    .fatal = pvhca_device_fatal,
};

/* What the guest asks for */

/* Begin a reset of what the guest has at pvhcad; the status right after it. */
static uint32_t pvhca_device_begin_reset(PvhcaDevice *d)
{
    d->enable_id = 0;
    d->error = 0;
    if (!(d->status & PVHCA_STATUS_LINK)) {
        memset(d->hostd_version, 0, sizeof(d->hostd_version));
        return 0;
    }
    /* One reset at a time: nothing can have been enabled since it began. */
    if (!d->reset_id) {
        d->used = false;
        d->reset_id = ++d->last_id;
    }
    return PVHCA_STATUS_LINK | PVHCA_STATUS_RESETTING;
}

static void pvhca_device_control_reset(PvhcaDevice *d)
{
    uint64_t pending = d->reset_id;
    uint32_t status = pvhca_device_begin_reset(d);

    if (!status) {
        /* Nobody to wait for: done. */
        pvhca_device_set_status(d, 0, 0);
        return;
    }
    d->status = status;
    pvhca_client_trace(&d->client, PVHCA_TRACE_STATUS, status, 0,
                       d->generation);
    if (d->reset_id != pending) {
        pvhca_client_send_reset(&d->client, d->reset_id);
    }
}

static void pvhca_device_control_enable(PvhcaDevice *d)
{
    if (!(d->status & PVHCA_STATUS_LINK)) {
        pvhca_device_fail(d, PVHCA_DEV_ERR_NO_BACKEND);
        return;
    }
    if (d->status != PVHCA_STATUS_LINK || d->enable_id) {
        pvhca_device_fail(d, PVHCA_DEV_ERR_BAD_STATE);
        return;
    }
    d->used = true;
    d->enable_id = ++d->last_id;
    pvhca_client_send_enable(&d->client, d->enable_id,
                             (uint64_t)d->admin[1] << 32 | d->admin[0]);
}

void pvhca_device_reset(PvhcaDevice *d)
{
    d->admin[0] = 0;
    d->admin[1] = 0;
    /* No interrupt: the guest that would get it is gone. */
    if (d->used || d->reset_id || !(d->status & PVHCA_STATUS_LINK)) {
        uint64_t pending = d->reset_id;

        d->status = pvhca_device_begin_reset(d);
        if (d->reset_id != pending) {
            pvhca_client_send_reset(&d->client, d->reset_id);
        }
    } else {
        d->status = PVHCA_STATUS_LINK;
        d->error = 0;
    }
}

/* Registers */

static uint32_t pvhca_device_text_word(const char *text, uint64_t offset)
{
    uint32_t word;

    memcpy(&word, text + offset, sizeof(word));
    return GUINT32_FROM_LE(word);
}

/* The aligned 32-bit register at @addr. */
static uint32_t pvhca_device_word(const PvhcaDevice *d, uint64_t addr)
{
    switch (addr) {
    case PVHCA_REG_MAGIC:
        return PVHCA_MAGIC;
    case PVHCA_REG_ABI:
        return PVHCA_REGS_ABI_MAJOR << 16 | PVHCA_REGS_ABI_MINOR;
    case PVHCA_REG_STATUS:
        return d->status;
    case PVHCA_REG_ADMIN_LO:
        return d->admin[0];
    case PVHCA_REG_ADMIN_HI:
        return d->admin[1];
    case PVHCA_REG_NUM_VECTORS:
        return d->identity.num_vectors;
    case PVHCA_REG_NUM_DOORBELLS:
        return d->identity.num_doorbells;
    case PVHCA_REG_ERROR:
        return d->error;
    case PVHCA_REG_GENERATION:
        return d->generation;
    case PVHCA_REG_LINK_ABI:
        return d->link_abi;
    case PVHCA_REG_QEMU_VERSION ... PVHCA_REG_QEMU_VERSION +
        PVHCA_REG_VERSION_LEN - 1:
        return pvhca_device_text_word(d->identity.version,
                                      addr - PVHCA_REG_QEMU_VERSION);
    case PVHCA_REG_HOSTD_VERSION ... PVHCA_REG_HOSTD_VERSION +
        PVHCA_REG_VERSION_LEN - 1:
        return pvhca_device_text_word(d->hostd_version,
                                      addr - PVHCA_REG_HOSTD_VERSION);
    default:
        return 0;
    }
}

uint64_t pvhca_device_read(PvhcaDevice *d, uint64_t addr, unsigned size)
{
    uint64_t val = 0;

    for (unsigned i = 0; i < size; i++) {
        uint64_t byte = addr + i;
        uint32_t word = pvhca_device_word(d, byte & ~UINT64_C(3));

        val |= (uint64_t)(word >> (byte & 3) * 8 & 0xff) << (i * 8);
    }
    return val;
}

void pvhca_device_write(PvhcaDevice *d, uint64_t addr, uint64_t val,
                        unsigned size)
{
    if (size != 4 || addr % 4) {
        return;
    }
    switch (addr) {
    case PVHCA_REG_ADMIN_LO:
        d->admin[0] = val;
        break;
    case PVHCA_REG_ADMIN_HI:
        d->admin[1] = val;
        break;
    case PVHCA_REG_CONTROL:
        if (val == PVHCA_CONTROL_RESET) {
            pvhca_device_control_reset(d);
        } else if (val == PVHCA_CONTROL_ENABLE) {
            pvhca_device_control_enable(d);
        }
        break;
    }
}

int pvhca_device_doorbell(const PvhcaDevice *d, uint64_t addr, unsigned size)
{
    uint64_t index = (addr - PVHCA_DB_USER_WINDOW) / PVHCA_DB_STRIDE;

    if (size != 4) {
        return -1;
    }
    if (addr == PVHCA_DB_ADMIN) {
        return d->identity.admin_db;
    }
    if (addr % PVHCA_DB_STRIDE || index >= d->identity.num_doorbells) {
        return -1;
    }
    return d->identity.data_db[index];
}

/* Life */

/* The messages below name these. */
_Static_assert(PVHCA_VECTORS_MIN == 3 && PVHCA_VECTORS_MAX == 66, "regs ABI");
_Static_assert(PVHCA_DB_MAX == 64, "regs ABI");

const char *pvhca_device_check(const PvhcaIdentity *identity,
                               const char **setting)
{
    static const uint8_t no_mac[6];

    if (identity->num_vectors < PVHCA_VECTORS_MIN ||
        identity->num_vectors > PVHCA_VECTORS_MAX) {
        *setting = "vectors";
        return "must be between 3 and 66";
    }
    if (identity->num_doorbells < 1 || identity->num_doorbells > PVHCA_DB_MAX) {
        *setting = "doorbells";
        return "must be between 1 and 64";
    }
    if (identity->mac[0] & 1) {
        *setting = "mac";
        return "must be a unicast address";
    }
    if (identity->pair && !memcmp(identity->mac, no_mac, sizeof(no_mac))) {
        *setting = "pair";
        return "needs 'mac', the address of the network interface to pair with";
    }
    return NULL;
}

void pvhca_device_init(PvhcaDevice *d, const PvhcaTransport *transport,
                       void (*raise_config)(void *opaque), void *opaque)
{
    memset(d, 0, sizeof(*d));
    d->raise_config = raise_config;
    d->opaque = opaque;
    pvhca_client_init(&d->client, transport, opaque, &pvhca_device_listener, d,
                      &d->identity);
}

void pvhca_device_cleanup(PvhcaDevice *d)
{
    pvhca_client_cleanup(&d->client);
}
