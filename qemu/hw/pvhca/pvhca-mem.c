/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: guest RAM as file descriptors.
 *
 * Theory of operation: a listener on the system's memory map collects, in each
 * transaction, the pieces of RAM that have a shared file behind them; at the
 * end the new list is compared with the old one and only the difference is
 * sent: removals first, so that regions never overlap.  Memory that did not
 * change is never taken away for a moment, since the driver may be registering
 * memory in it while, say, a PCI bridge is programmed elsewhere.
 *
 * Guest RAM is what belongs to a memory backend.  Other RAM (ROMs, VGA memory,
 * other devices' BARs) is left out: it is not memory to register.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "hw/pci/pci.h"
#include "pvhca-internal.h"
#include "trace.h"

/* The unit of the link's addresses, whatever the guest's pages are. */
#define PVHCA_MEM_ALIGN 4096

/*
 * On a PC, the first MiB is remapped by the firmware and by some boot loaders
 * while the RAM above is in use: a region that ended above would come and go
 * with it.
 */
#define PVHCA_MEM_SPLIT (1 * MiB)

static bool pvhca_mem_is_guest_ram(MemoryRegion *mr)
{
    Object *owner = memory_region_owner(mr);

    return memory_region_is_ram(mr) && !memory_region_is_ram_device(mr) &&
        !memory_region_is_rom(mr) && !mr->readonly && owner &&
        object_dynamic_cast(owner, TYPE_MEMORY_BACKEND);
}

/* RAM that QEMU cannot share with pvhcad: an error at start, a warning later */
static void pvhca_mem_unshared(PvhcaState *s, MemoryRegion *mr)
{
    const char *id =
        object_get_canonical_path_component(memory_region_owner(mr));

    if (!s->realized) {
        if (!s->unshared) {
            s->unshared = g_strdup(id ?: "");
        }
        return;
    }
    warn_report_once("pvhca: memory backend '%s' is not shared (share=on): "
                     "the guest cannot use RDMA with it",
                     id);
}

/* Appends, or lengthens the last region where the piece continues it. */
static void pvhca_mem_append(PvhcaState *s, MemoryRegion *mr, uint64_t gpa,
                             uint64_t size, uint64_t fd_offset)
{
    GArray *regions = s->new_regions;
    PvhcaRegion region = {
        .mem = {
            .gpa = gpa,
            .size = size,
            .fd_offset = fd_offset,
            .page_size = qemu_ram_pagesize(mr->ram_block),
        },
        .mr = mr,
    };

    if (regions->len > 0) {
        PvhcaRegion *last =
            &g_array_index(regions, PvhcaRegion, regions->len - 1);

        if (last->mr == mr && gpa != PVHCA_MEM_SPLIT &&
            last->mem.gpa + last->mem.size == gpa &&
            last->mem.fd_offset + last->mem.size == fd_offset) {
            last->mem.size += size;
            return;
        }
    }
    if (regions->len >= PVHCA_LINK_MAX_REGIONS) {
        warn_report_once("pvhca: guest RAM has more than %d regions, the guest "
                         "cannot use RDMA with the rest",
                         PVHCA_LINK_MAX_REGIONS);
        return;
    }
    memory_region_ref(mr);
    g_array_append_val(regions, region);
}

static void pvhca_mem_collect(MemoryListener *listener,
                              MemoryRegionSection *section)
{
    PvhcaState *s = container_of(listener, PvhcaState, listener);
    MemoryRegion *mr = section->mr;
    uint64_t gpa = section->offset_within_address_space;
    uint64_t size = int128_get64(section->size);
    uint64_t start, end, offset;

    if (!pvhca_mem_is_guest_ram(mr)) {
        if (memory_region_is_ram(mr)) {
            trace_pvhca_mem_skip(gpa, size, memory_region_name(mr));
        }
        return;
    }
    if (memory_region_get_fd(mr) < 0 || !qemu_ram_is_shared(mr->ram_block)) {
        pvhca_mem_unshared(s, mr);
        return;
    }

    start = QEMU_ALIGN_UP(gpa, PVHCA_MEM_ALIGN);
    end = QEMU_ALIGN_DOWN(gpa + size, PVHCA_MEM_ALIGN);
    if (start >= end) {
        return;
    }
    offset = section->offset_within_region + (start - gpa) +
        pvhca_compat_ram_fd_offset(mr->ram_block);
    if (!QEMU_IS_ALIGNED(offset, PVHCA_MEM_ALIGN)) {
        trace_pvhca_mem_skip(gpa, size, memory_region_name(mr));
        return;
    }
    if (start < PVHCA_MEM_SPLIT && end > PVHCA_MEM_SPLIT) {
        pvhca_mem_append(s, mr, start, PVHCA_MEM_SPLIT - start, offset);
        offset += PVHCA_MEM_SPLIT - start;
        start = PVHCA_MEM_SPLIT;
    }
    pvhca_mem_append(s, mr, start, end - start, offset);
}

static void pvhca_mem_begin(MemoryListener *listener)
{
    PvhcaState *s = container_of(listener, PvhcaState, listener);

    s->new_regions = g_array_new(false, false, sizeof(PvhcaRegion));
}

static bool pvhca_mem_same(const PvhcaRegion *a, const PvhcaRegion *b)
{
    return a->mr == b->mr && !memcmp(&a->mem, &b->mem, sizeof(a->mem));
}

static bool pvhca_mem_contains(GArray *regions, const PvhcaRegion *region)
{
    for (guint i = 0; i < regions->len; i++) {
        if (pvhca_mem_same(&g_array_index(regions, PvhcaRegion, i), region)) {
            return true;
        }
    }
    return false;
}

static void pvhca_mem_free(GArray *regions)
{
    for (guint i = 0; i < regions->len; i++) {
        memory_region_unref(g_array_index(regions, PvhcaRegion, i).mr);
    }
    g_array_free(regions, true);
}

static void pvhca_mem_commit(MemoryListener *listener)
{
    PvhcaState *s = container_of(listener, PvhcaState, listener);
    GArray *old = s->regions;
    GArray *new = s->new_regions;

    s->regions = new;
    s->new_regions = NULL;

    for (guint i = 0; i < old->len; i++) {
        PvhcaRegion *region = &g_array_index(old, PvhcaRegion, i);

        if (!pvhca_mem_contains(new, region)) {
            trace_pvhca_mem_del(region->mem.gpa, region->mem.size);
            pvhca_client_remove_ram(&s->device.client, region->mem.gpa);
        }
    }
    for (guint i = 0; i < new->len; i++) {
        PvhcaRegion *region = &g_array_index(new, PvhcaRegion, i);

        if (!pvhca_mem_contains(old, region)) {
            int fd = memory_region_get_fd(region->mr);

            trace_pvhca_mem_add(region->mem.gpa, region->mem.size, fd,
                                region->mem.fd_offset);
            pvhca_client_add_ram(&s->device.client, &region->mem, fd);
        }
    }
    pvhca_mem_free(old);
}

bool pvhca_mem_init(PvhcaState *s, Error **errp)
{
    ERRP_GUARD();
    int ret;

    if (pci_device_iommu_address_space(PCI_DEVICE(s)) !=
        &address_space_memory) {
        error_setg(errp,
                   "pvhca: cannot be behind a vIOMMU: plug it into a bus "
                   "that bypasses the IOMMU (bypass_iommu=on)");
        return false;
    }

    /*
     * What is registered stays mapped and pinned by pvhcad: no balloon or
     * virtio-mem may put other pages into its place.
     */
    ret = ram_block_discard_disable(true);
    if (ret) {
        error_setg_errno(errp, -ret,
                         "pvhca: cannot be combined with a device "
                         "that discards guest RAM (virtio-mem, ...)");
        return false;
    }

    s->regions = g_array_new(false, false, sizeof(PvhcaRegion));
    s->listener = (MemoryListener){
        .name = "pvhca",
        .priority = 10,
        .begin = pvhca_mem_begin,
        .region_add = pvhca_mem_collect,
        .region_nop = pvhca_mem_collect,
        .commit = pvhca_mem_commit,
    };
    memory_listener_register(&s->listener, &address_space_memory);

    if (s->unshared) {
        error_setg(errp,
                   "pvhca: guest RAM '%s' is not shared: add -object "
                   "memory-backend-memfd,id=ram,size=%" PRIu64 "M,share=on "
                   "-machine memory-backend=ram",
                   s->unshared, (uint64_t)current_machine->ram_size / MiB);
        error_append_hint(errp,
                          "The device works on guest RAM from another "
                          "process. Memory backends of your own (-numa, "
                          "pc-dimm) each need share=on, and to be a "
                          "memory-backend-memfd or memory-backend-file.\n");
        pvhca_mem_cleanup(s);
        return false;
    }
    return true;
}

void pvhca_mem_cleanup(PvhcaState *s)
{
    memory_listener_unregister(&s->listener);
    pvhca_mem_free(s->regions);
    s->regions = NULL;
    g_free(s->unshared);
    s->unshared = NULL;
    ram_block_discard_disable(false);
}
