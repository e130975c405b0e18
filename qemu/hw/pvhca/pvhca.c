/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: paravirtual RDMA adapter, PCI function and registers.
 *
 * Theory of operation: the guest's verbs calls are carried out by pvhcad, a
 * daemon on the host.  This device gives the guest something to find on its
 * PCI bus, and pvhcad what it needs to serve the guest without QEMU: guest RAM,
 * doorbells and interrupts, all as file descriptors.  QEMU reads no structure
 * in guest memory and makes no verbs call.
 *
 * The registers (pvhca-regs.h, docs/pvhca-device.md) are a small state machine
 * whose two actions, ENABLE and RESET, are carried out by pvhcad while the
 * guest goes on.  Each request has an id; whatever puts an end to a request
 * forgets its id, so that a late answer is never taken for the next one's.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "hw/pci/msix.h"
#include "pvhca-internal.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(PVHCA_DB_MAX *PVHCA_DB_STRIDE > PVHCA_DB_ADMIN);
QEMU_BUILD_BUG_ON(PVHCA_REG_HOSTD_VERSION + PVHCA_REG_VERSION_LEN >
                  PVHCA_BAR_REGS_SIZE);
QEMU_BUILD_BUG_ON(sizeof(PVHCA_VERSION " QEMU " QEMU_VERSION) >
                  PVHCA_REG_VERSION_LEN);

#define PVHCA_VECTORS_MIN       (PVHCA_VECTOR_COMP + 1)
#define PVHCA_DOORBELLS_DEFAULT 8

static void pvhca_raise_config(PvhcaState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (msix_enabled(pdev)) {
        msix_notify(pdev, PVHCA_VECTOR_CONFIG);
    }
}

void pvhca_set_status(PvhcaState *s, uint32_t status, uint32_t error)
{
    s->status = status;
    s->error = error;
    trace_pvhca_status(status, error, s->generation);
    pvhca_raise_config(s);
}

static void pvhca_fail(PvhcaState *s, uint32_t error)
{
    s->enable_id = 0;
    pvhca_set_status(
        s, (s->status & ~PVHCA_STATUS_ENABLED) | PVHCA_STATUS_FAILED, error);
}

void pvhca_link_up(PvhcaState *s)
{
    s->generation++;
    s->used = false;
    pvhca_set_status(s, (s->status & PVHCA_STATUS_FAILED) | PVHCA_STATUS_LINK,
                     s->error);
}

void pvhca_link_down(PvhcaState *s, bool was_up)
{
    s->enable_id = 0;
    s->reset_id = 0;
    s->link_abi = 0;
    /* After a disagreement about versions both texts stay readable. */
    if (was_up || s->error != PVHCA_DEV_ERR_BACKEND_VERSION) {
        memset(s->hostd_version, 0, sizeof(s->hostd_version));
    }
    if (was_up) {
        pvhca_set_status(s, s->status & PVHCA_STATUS_FAILED, s->error);
    }
}

void pvhca_refused(PvhcaState *s)
{
    if (s->error != PVHCA_DEV_ERR_BACKEND_VERSION) {
        pvhca_fail(s, PVHCA_DEV_ERR_BACKEND_VERSION);
    }
}

void pvhca_enable_reply(PvhcaState *s, const struct pvhca_link_reply *reply)
{
    if (!s->enable_id || reply->id != s->enable_id) {
        trace_pvhca_link_stale_reply(PVHCA_LINK_ENABLE_REPLY, reply->id);
        return;
    }
    s->enable_id = 0;
    if (reply->error) {
        pvhca_fail(s, reply->error);
    } else {
        pvhca_set_status(s, PVHCA_STATUS_LINK | PVHCA_STATUS_ENABLED, 0);
    }
}

void pvhca_reset_reply(PvhcaState *s, const struct pvhca_link_reply *reply)
{
    if (!s->reset_id || reply->id != s->reset_id) {
        trace_pvhca_link_stale_reply(PVHCA_LINK_RESET_REPLY, reply->id);
        return;
    }
    s->reset_id = 0;
    s->status &= ~PVHCA_STATUS_RESETTING;
    if (reply->error) {
        pvhca_fail(s, reply->error);
    } else {
        /* FAILED if the guest misbehaved meanwhile. */
        pvhca_set_status(s, s->status, s->error);
    }
}

void pvhca_fatal(PvhcaState *s, const struct pvhca_link_reply *reply)
{
    if (s->status & (PVHCA_STATUS_RESETTING | PVHCA_STATUS_FAILED)) {
        /* Of what is being reset, or no news. */
        return;
    }
    s->used = true;
    pvhca_fail(s, reply->error);
}

/* Begin a reset of what the guest has at pvhcad; the status right after it. */
static uint32_t pvhca_begin_reset(PvhcaState *s)
{
    s->enable_id = 0;
    s->error = 0;
    if (!(s->status & PVHCA_STATUS_LINK)) {
        memset(s->hostd_version, 0, sizeof(s->hostd_version));
        return 0;
    }
    /* One reset at a time: nothing can have been enabled since it began. */
    if (!s->reset_id) {
        s->used = false;
        s->reset_id = ++s->last_id;
    }
    return PVHCA_STATUS_LINK | PVHCA_STATUS_RESETTING;
}

static void pvhca_control_reset(PvhcaState *s)
{
    uint64_t pending = s->reset_id;
    uint32_t status = pvhca_begin_reset(s);

    if (!status) {
        /* Nobody to wait for: done. */
        pvhca_set_status(s, 0, 0);
        return;
    }
    s->status = status;
    trace_pvhca_status(status, 0, s->generation);
    if (s->reset_id != pending) {
        pvhca_link_send_reset(s, s->reset_id);
    }
}

static void pvhca_control_enable(PvhcaState *s)
{
    if (!(s->status & PVHCA_STATUS_LINK)) {
        pvhca_fail(s, PVHCA_DEV_ERR_NO_BACKEND);
        return;
    }
    if (s->status != PVHCA_STATUS_LINK || s->enable_id) {
        pvhca_fail(s, PVHCA_DEV_ERR_BAD_STATE);
        return;
    }
    s->used = true;
    s->enable_id = ++s->last_id;
    pvhca_link_send_enable(s, s->enable_id,
                           (uint64_t)s->admin[1] << 32 | s->admin[0]);
}

/* Registers */

static uint32_t pvhca_version_word(const char *version, hwaddr offset)
{
    return ldl_le_p(version + offset);
}

/* The aligned 32-bit register at @addr. */
static uint32_t pvhca_reg_word(PvhcaState *s, hwaddr addr)
{
    switch (addr) {
    case PVHCA_REG_MAGIC:
        return PVHCA_MAGIC;
    case PVHCA_REG_ABI:
        return PVHCA_REGS_ABI_MAJOR << 16 | PVHCA_REGS_ABI_MINOR;
    case PVHCA_REG_STATUS:
        return s->status;
    case PVHCA_REG_ADMIN_LO:
        return s->admin[0];
    case PVHCA_REG_ADMIN_HI:
        return s->admin[1];
    case PVHCA_REG_NUM_VECTORS:
        return s->num_vectors;
    case PVHCA_REG_NUM_DOORBELLS:
        return s->num_doorbells;
    case PVHCA_REG_ERROR:
        return s->error;
    case PVHCA_REG_GENERATION:
        return s->generation;
    case PVHCA_REG_LINK_ABI:
        return s->link_abi;
    case PVHCA_REG_QEMU_VERSION ... PVHCA_REG_QEMU_VERSION +
        PVHCA_REG_VERSION_LEN - 1:
        return pvhca_version_word(s->qemu_version,
                                  addr - PVHCA_REG_QEMU_VERSION);
    case PVHCA_REG_HOSTD_VERSION ... PVHCA_REG_HOSTD_VERSION +
        PVHCA_REG_VERSION_LEN - 1:
        return pvhca_version_word(s->hostd_version,
                                  addr - PVHCA_REG_HOSTD_VERSION);
    default:
        return 0;
    }
}

static uint64_t pvhca_regs_read(void *opaque, hwaddr addr, unsigned size)
{
    uint64_t val = 0;

    for (unsigned i = 0; i < size; i++) {
        hwaddr byte = addr + i;
        uint32_t word = pvhca_reg_word(opaque, QEMU_ALIGN_DOWN(byte, 4));

        val |= (uint64_t)extract32(word, (byte & 3) * 8, 8) << (i * 8);
    }
    trace_pvhca_reg_read(addr, size, val);
    return val;
}

static void pvhca_regs_write(void *opaque, hwaddr addr, uint64_t val,
                             unsigned size)
{
    PvhcaState *s = opaque;

    trace_pvhca_reg_write(addr, size, val);
    if (size != 4 || !QEMU_IS_ALIGNED(addr, 4)) {
        return;
    }
    switch (addr) {
    case PVHCA_REG_ADMIN_LO:
        s->admin[0] = val;
        break;
    case PVHCA_REG_ADMIN_HI:
        s->admin[1] = val;
        break;
    case PVHCA_REG_CONTROL:
        if (val == PVHCA_CONTROL_RESET) {
            pvhca_control_reset(s);
        } else if (val == PVHCA_CONTROL_ENABLE) {
            pvhca_control_enable(s);
        }
        break;
    }
}

static const MemoryRegionOps pvhca_regs_ops = {
    .read = pvhca_regs_read,
    .write = pvhca_regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* What reaches these is not a doorbell: those are taken by their ioeventfd. */
static uint64_t pvhca_db_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static void pvhca_db_write(void *opaque, hwaddr addr, uint64_t val,
                           unsigned size)
{
    trace_pvhca_db_ignored(addr, size, val);
}

static const MemoryRegionOps pvhca_db_ops = {
    .read = pvhca_db_read,
    .write = pvhca_db_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* PCI function */

static void pvhca_write_config(PCIDevice *pdev, uint32_t addr, uint32_t val,
                               int len)
{
    pci_default_write_config(pdev, addr, val, len);
    pvhca_irq_update(PVHCA(pdev));
}

static void pvhca_reset_hold(PVHCA_RESET_HOLD_ARGS)
{
    PvhcaState *s = PVHCA(obj);

    trace_pvhca_device_reset(s->status);
    pvhca_irq_reset(s);
    s->admin[0] = 0;
    s->admin[1] = 0;
    /* No interrupt: the guest that would get it is gone. */
    if (s->used || s->reset_id || !(s->status & PVHCA_STATUS_LINK)) {
        uint64_t pending = s->reset_id;

        s->status = pvhca_begin_reset(s);
        if (s->reset_id != pending) {
            pvhca_link_send_reset(s, s->reset_id);
        }
    } else {
        s->status = PVHCA_STATUS_LINK;
        s->error = 0;
    }
}

static bool pvhca_check_properties(PvhcaState *s, Error **errp)
{
    static const MACAddr none;

    if (!s->num_vectors) {
        s->num_vectors = MIN(PVHCA_VECTOR_COMP + current_machine->smp.max_cpus,
                             PVHCA_VECTORS_MAX);
    }
    if (s->num_vectors < PVHCA_VECTORS_MIN ||
        s->num_vectors > PVHCA_VECTORS_MAX) {
        error_setg(errp, "pvhca: 'vectors' must be between %d and %d",
                   PVHCA_VECTORS_MIN, PVHCA_VECTORS_MAX);
        return false;
    }
    if (s->num_doorbells < 1 || s->num_doorbells > PVHCA_DB_MAX) {
        error_setg(errp, "pvhca: 'doorbells' must be between 1 and %d",
                   PVHCA_DB_MAX);
        return false;
    }
    if (memcmp(&s->mac, &none, sizeof(none)) && (s->mac.a[0] & 1)) {
        error_setg(errp, "pvhca: 'mac' must be a unicast address");
        return false;
    }
    return true;
}

static bool pvhca_init_msix(PvhcaState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (msix_init_exclusive_bar(pdev, s->num_vectors, PVHCA_BAR_MSIX, errp) <
        0) {
        error_prepend(errp, "pvhca: no MSI-X: ");
        return false;
    }
    for (unsigned i = 0; i < s->num_vectors; i++) {
        msix_vector_use(pdev, i);
    }
    return true;
}

/*
 * A VMState marked unmigratable would do as well, but its message, which comes
 * first, does not say why.
 */
static bool pvhca_block_migration(PvhcaState *s, Error **errp)
{
    error_setg(&s->migration_blocker,
               "pvhca: the RDMA resources of the guest "
               "belong to this host and cannot be migrated");
    return pvhca_compat_add_blocker(&s->migration_blocker, errp) >= 0;
}

static void pvhca_realize(PCIDevice *pdev, Error **errp)
{
    ERRP_GUARD();
    PvhcaState *s = PVHCA(pdev);

    if (!pvhca_check_properties(s, errp) || !pvhca_link_init(s, errp)) {
        return;
    }
    pstrcpy(s->qemu_version, sizeof(s->qemu_version),
            PVHCA_VERSION " QEMU " QEMU_VERSION);

    memory_region_init_io(&s->regs_mr, OBJECT(s), &pvhca_regs_ops, s,
                          "pvhca-regs", PVHCA_BAR_REGS_SIZE);
    memory_region_init_io(&s->db_mr, OBJECT(s), &pvhca_db_ops, s,
                          "pvhca-doorbells", PVHCA_BAR_DOORBELL_SIZE);

    if (!pvhca_init_msix(s, errp)) {
        return;
    }
    if (!pvhca_irq_init(s, errp)) {
        goto uninit_msix;
    }
    if (!pvhca_mem_init(s, errp)) {
        goto cleanup_irq;
    }
    if (!pvhca_block_migration(s, errp)) {
        goto cleanup_mem;
    }

    pci_register_bar(pdev, PVHCA_BAR_REGS, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->regs_mr);
    pci_register_bar(pdev, PVHCA_BAR_DOORBELL, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->db_mr);
    pvhca_tcg_share_memory();
    s->realized = true;
    pvhca_link_start(s);
    return;

cleanup_mem:
    pvhca_mem_cleanup(s);
cleanup_irq:
    pvhca_irq_cleanup(s);
uninit_msix:
    msix_unuse_all_vectors(pdev);
    msix_uninit_exclusive_bar(pdev);
}

static void pvhca_exit(PCIDevice *pdev)
{
    PvhcaState *s = PVHCA(pdev);

    /* First, so that pvhcad ends the session and nothing more is sent. */
    pvhca_link_cleanup(s);
    s->realized = false;
    pvhca_compat_del_blocker(&s->migration_blocker);
    pvhca_mem_cleanup(s);
    pvhca_irq_cleanup(s);
    msix_unuse_all_vectors(pdev);
    msix_uninit_exclusive_bar(pdev);
}

static PVHCA_PROPERTY pvhca_properties[] = {
    DEFINE_PROP_CHR("chardev", PvhcaState, link.chr),
    DEFINE_PROP_UINT32("vectors", PvhcaState, num_vectors, 0),
    DEFINE_PROP_UINT32("doorbells", PvhcaState, num_doorbells,
                       PVHCA_DOORBELLS_DEFAULT),
    DEFINE_PROP_MACADDR("mac", PvhcaState, mac), PVHCA_PROPERTY_END
};

static void pvhca_class_init(ObjectClass *klass, PVHCA_CLASS_DATA)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    k->realize = pvhca_realize;
    k->exit = pvhca_exit;
    k->config_write = pvhca_write_config;
    k->vendor_id = PVHCA_PCI_VENDOR_ID;
    k->device_id = PVHCA_PCI_DEVICE_ID;
    k->revision = PVHCA_PCI_REVISION;
    k->class_id = PCI_CLASS_NETWORK_OTHER;
    rc->phases.hold = pvhca_reset_hold;
    dc->desc = "Paravirtual RDMA adapter, served by pvhcad";
    device_class_set_props(dc, pvhca_properties);
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
}

static const TypeInfo pvhca_types[] = {
    {
        .name = TYPE_PVHCA,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(PvhcaState),
        .class_init = pvhca_class_init,
        .interfaces =
            (PVHCA_INTERFACES[]){ { INTERFACE_CONVENTIONAL_PCI_DEVICE }, {} },
    },
};

DEFINE_TYPES(pvhca_types)
