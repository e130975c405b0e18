/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: configuration space and BARs, as QEMU's device has them.
 *
 * Monitors emulate the MSI-X table themselves and read the pending bits here;
 * the table is kept for those that do not.
 */
#include <string.h>
#include <unistd.h>

#include "calls.h"
#include "server.h"

PVHCA_CALLS(pvhca_pci_calls, SCMP_SYS(write));

#define PVHCA_PCI_CLASS        0x0280 /* network controller, other */
#define PVHCA_PCI_SUBVENDOR_ID 0x1af4 /* QEMU's, for all its devices ... */
#define PVHCA_PCI_SUBDEVICE_ID 0x1100 /* ... without one of their own */
#define PVHCA_PCI_MSIX_CAP     0x40

static void pvhca_pci_set(PvhcaPci *pci, unsigned at, uint32_t value,
                          unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        pci->config[at + i] = value >> (8 * i);
    }
}

static void pvhca_pci_set_writable(PvhcaPci *pci, unsigned at, uint32_t bits,
                                   unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        pci->writable[at + i] = bits >> (8 * i);
    }
}

static void pvhca_pci_init_msix(PvhcaPci *pci, uint32_t vectors)
{
    unsigned cap = PVHCA_PCI_MSIX_CAP;

    pvhca_pci_set(pci, PCI_CAPABILITY_LIST, cap, 1);
    pvhca_pci_set(pci, PCI_STATUS, PCI_STATUS_CAP_LIST, 2);
    pvhca_pci_set(pci, cap, PCI_CAP_ID_MSIX, 1);
    pvhca_pci_set(pci, cap + PCI_MSIX_FLAGS, vectors - 1, 2);
    pvhca_pci_set(pci, cap + PCI_MSIX_TABLE, PVHCA_BAR_MSIX, 4);
    pvhca_pci_set(pci, cap + PCI_MSIX_PBA,
                  PVHCA_MSIX_PBA_OFFSET | PVHCA_BAR_MSIX, 4);
    pvhca_pci_set_writable(pci, cap + PCI_MSIX_FLAGS,
                           PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
}

void pvhca_pci_init(PvhcaServer *s)
{
    PvhcaPci *pci = &s->pci;

    memset(pci, 0, sizeof(*pci));
    pvhca_pci_set(pci, PCI_VENDOR_ID, PVHCA_PCI_VENDOR_ID, 2);
    pvhca_pci_set(pci, PCI_DEVICE_ID, PVHCA_PCI_DEVICE_ID, 2);
    pvhca_pci_set(pci, PCI_REVISION_ID, PVHCA_PCI_REVISION, 1);
    pvhca_pci_set(pci, PCI_CLASS_DEVICE, PVHCA_PCI_CLASS, 2);
    pvhca_pci_set(pci, PCI_SUBSYSTEM_VENDOR_ID, PVHCA_PCI_SUBVENDOR_ID, 2);
    pvhca_pci_set(pci, PCI_SUBSYSTEM_ID, PVHCA_PCI_SUBDEVICE_ID, 2);
    pvhca_pci_set_writable(
        pci, PCI_COMMAND,
        PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 2);
    pvhca_pci_set_writable(pci, PCI_CACHE_LINE_SIZE, 0xff, 1);
    pvhca_pci_set_writable(pci, PCI_INTERRUPT_LINE, 0xff, 1);
    /* The bits of a BAR below its size stay 0: how a guest finds it. */
    for (unsigned bar = 0; bar <= PVHCA_BAR_DOORBELL; bar++) {
        pvhca_pci_set_writable(pci, PCI_BASE_ADDRESS_0 + 4 * bar,
                               -(uint32_t)pvhca_pci_region_size(bar), 4);
    }
    pvhca_pci_init_msix(pci, s->device.identity.num_vectors);
    pvhca_pci_reset(s);
}

void pvhca_pci_reset(PvhcaServer *s)
{
    PvhcaPci *pci = &s->pci;

    for (unsigned i = 0; i < sizeof(pci->config); i++) {
        pci->config[i] &= ~pci->writable[i];
    }
    memset(pci->msix_table, 0, sizeof(pci->msix_table));
    for (unsigned i = 0; i < s->device.identity.num_vectors; i++) {
        pci->msix_table[i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] =
            PCI_MSIX_ENTRY_CTRL_MASKBIT;
    }
}

uint64_t pvhca_pci_region_size(uint32_t index)
{
    switch (index) {
    case VFIO_PCI_BAR0_REGION_INDEX + PVHCA_BAR_REGS:
        return PVHCA_BAR_REGS_SIZE;
    case VFIO_PCI_BAR0_REGION_INDEX + PVHCA_BAR_MSIX:
        return PVHCA_MSIX_BAR_SIZE;
    case VFIO_PCI_BAR0_REGION_INDEX + PVHCA_BAR_DOORBELL:
        return PVHCA_BAR_DOORBELL_SIZE;
    case VFIO_PCI_CONFIG_REGION_INDEX:
        return PVHCA_CONFIG_SIZE;
    default:
        return 0;
    }
}

/* Bytes of the MSI-X table that this device has. */
static uint64_t pvhca_pci_table_size(const PvhcaServer *s)
{
    return s->device.identity.num_vectors * PCI_MSIX_ENTRY_SIZE;
}

static uint8_t pvhca_pci_read_msix(PvhcaServer *s, uint64_t offset)
{
    uint8_t byte = 0;

    if (offset < pvhca_pci_table_size(s)) {
        return s->pci.msix_table[offset];
    }
    if (offset < PVHCA_MSIX_PBA_OFFSET) {
        return 0;
    }
    for (unsigned bit = 0; bit < 8; bit++) {
        uint64_t vector = (offset - PVHCA_MSIX_PBA_OFFSET) * 8 + bit;

        if (vector < s->device.identity.num_vectors &&
            pvhca_irqs_pending(s, vector)) {
            byte |= 1 << bit;
        }
    }
    return byte;
}

void pvhca_pci_read(PvhcaServer *s, uint32_t index, uint64_t offset,
                    uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        switch (index) {
        case VFIO_PCI_CONFIG_REGION_INDEX:
            data[i] = s->pci.config[offset + i];
            break;
        case PVHCA_BAR_REGS:
            data[i] = pvhca_device_read(&s->device, offset + i, 1);
            break;
        case PVHCA_BAR_MSIX:
            data[i] = pvhca_pci_read_msix(s, offset + i);
            break;
        default:
            data[i] = 0;
            break;
        }
    }
}

static void pvhca_pci_write_config(PvhcaPci *pci, uint64_t offset,
                                   const uint8_t *data, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bits = pci->writable[offset + i];
        uint8_t *byte = &pci->config[offset + i];

        *byte = (*byte & ~bits) | (data[i] & bits);
    }
}

/* A word of @data; 0 if it is not one, which no register is written with. */
static uint32_t pvhca_pci_word(const uint8_t *data, uint32_t count)
{
    uint32_t word = 0;

    if (count == sizeof(word)) {
        memcpy(&word, data, sizeof(word));
    }
    return GUINT32_FROM_LE(word);
}

static void pvhca_pci_write_regs(PvhcaServer *s, uint64_t offset,
                                 const uint8_t *data, uint32_t count)
{
    uint32_t word = pvhca_pci_word(data, count);

    if (offset == PVHCA_REG_CONTROL && word == PVHCA_CONTROL_ENABLE &&
        s->device.status == PVHCA_STATUS_LINK) {
        pvhca_dma_check_area(
            s, (uint64_t)s->device.admin[1] << 32 | s->device.admin[0]);
    }
    pvhca_device_write(&s->device, offset, word, count);
}

static void pvhca_pci_write_doorbell(PvhcaServer *s, uint64_t offset,
                                     uint32_t count)
{
    int event = pvhca_device_doorbell(&s->device, offset, count);
    uint64_t one = 1;

    if (event >= 0) {
        (void)!write(event, &one, sizeof(one));
    }
}

void pvhca_pci_write(PvhcaServer *s, uint32_t index, uint64_t offset,
                     const uint8_t *data, uint32_t count)
{
    switch (index) {
    case VFIO_PCI_CONFIG_REGION_INDEX:
        pvhca_pci_write_config(&s->pci, offset, data, count);
        break;
    case PVHCA_BAR_REGS:
        pvhca_pci_write_regs(s, offset, data, count);
        break;
    case PVHCA_BAR_MSIX:
        if (offset < pvhca_pci_table_size(s)) {
            memcpy(&s->pci.msix_table[offset], data,
                   MIN(count, pvhca_pci_table_size(s) - offset));
        }
        break;
    case PVHCA_BAR_DOORBELL:
        pvhca_pci_write_doorbell(s, offset, count);
        break;
    }
}
