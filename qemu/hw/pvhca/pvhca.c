/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: paravirtual RDMA adapter, PCI function.
 *
 * A home for the device of pvhca-device.h: it gives it BARs and interrupts,
 * guest RAM (pvhca-mem.c) and the way to pvhcad (pvhca-link.c).
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/uuid.h"
#include "qemu/module.h"
#include "hw/pci/msix.h"
#include "pvhca-internal.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(sizeof(PVHCA_VERSION " QEMU " QEMU_VERSION) >
                  PVHCA_REG_VERSION_LEN);

static void pvhca_raise_config(void *opaque)
{
    PCIDevice *pdev = PCI_DEVICE(opaque);

    if (msix_enabled(pdev)) {
        msix_notify(pdev, PVHCA_VECTOR_CONFIG);
    }
}

/* BARs */

static uint64_t pvhca_regs_read(void *opaque, hwaddr addr, unsigned size)
{
    PvhcaState *s = opaque;
    uint64_t val = pvhca_device_read(&s->device, addr, size);

    trace_pvhca_reg_read(addr, size, val);
    return val;
}

static void pvhca_regs_write(void *opaque, hwaddr addr, uint64_t val,
                             unsigned size)
{
    PvhcaState *s = opaque;

    trace_pvhca_reg_write(addr, size, val);
    pvhca_device_write(&s->device, addr, val, size);
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

    trace_pvhca_device_reset(s->device.status);
    pvhca_irq_reset(s);
    pvhca_device_reset(&s->device);
}

static bool pvhca_check_properties(PvhcaState *s, Error **errp)
{
    const char *setting, *problem;

    if (!s->num_vectors) {
        s->num_vectors = MIN(PVHCA_VECTOR_COMP + current_machine->smp.max_cpus,
                             PVHCA_VECTORS_MAX);
    }
    s->device.identity.num_vectors = s->num_vectors;
    s->device.identity.num_doorbells = s->num_doorbells;
    memcpy(s->device.identity.mac, s->mac.a, sizeof(s->mac.a));
    s->device.identity.pair = s->pair;
    problem = pvhca_device_check(&s->device.identity, &setting);
    if (problem) {
        error_setg(errp, "pvhca: '%s' %s", setting, problem);
        return false;
    }
    return true;
}

/* Who the VM is; its numbers and its address are there already. */
static void pvhca_identify(PvhcaState *s)
{
    PvhcaIdentity *identity = &s->device.identity;

    identity->home = "QEMU";
    pstrcpy(identity->version, sizeof(identity->version),
            PVHCA_VERSION " QEMU " QEMU_VERSION);
    pstrcpy(identity->name, sizeof(identity->name), qemu_get_vm_name() ?: "");
    if (qemu_uuid_set) {
        memcpy(identity->uuid, qemu_uuid.data, sizeof(identity->uuid));
    }
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

    pvhca_device_init(&s->device, &pvhca_link_transport, pvhca_raise_config, s);
    if (!pvhca_check_properties(s, errp) || !pvhca_link_check(s, errp)) {
        goto cleanup_device;
    }
    pvhca_identify(s);

    memory_region_init_io(&s->regs_mr, OBJECT(s), &pvhca_regs_ops, s,
                          "pvhca-regs", PVHCA_BAR_REGS_SIZE);
    memory_region_init_io(&s->db_mr, OBJECT(s), &pvhca_db_ops, s,
                          "pvhca-doorbells", PVHCA_BAR_DOORBELL_SIZE);

    if (!pvhca_init_msix(s, errp)) {
        goto cleanup_device;
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
cleanup_device:
    pvhca_device_cleanup(&s->device);
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
    pvhca_device_cleanup(&s->device);
}

static PVHCA_PROPERTY pvhca_properties[] = {
    DEFINE_PROP_CHR("chardev", PvhcaState, chr),
    DEFINE_PROP_UINT32("vectors", PvhcaState, num_vectors, 0),
    DEFINE_PROP_UINT32("doorbells", PvhcaState, num_doorbells,
                       PVHCA_DOORBELLS_DEFAULT),
    DEFINE_PROP_MACADDR("mac", PvhcaState, mac),
    DEFINE_PROP_BOOL("pair", PvhcaState, pair, false),
    PVHCA_PROPERTY_END
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
