/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: guest RAM.
 *
 * A monitor maps all that the guest's DMA may reach, ROMs and video memory
 * included.  What comes with a descriptor that can be mapped, and can be written
 * to, goes to pvhcad; the rest is remembered, so that mappings do not overlap
 * and unmapping is checked, and is of no use.
 *
 * A descriptor does not tell whether the monitor's own mapping of it is shared.
 * Where it is not, the guest writes to pages that nobody else sees: found out
 * when the guest enables the device, as its admin area is not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "calls.h"
#include "pvhca-admin.h"
#include "server.h"

PVHCA_CALLS(pvhca_dma_calls, SCMP_SYS(fstat), SCMP_SYS(newfstatat),
            SCMP_SYS(fstatfs), SCMP_SYS(pread64), SCMP_SYS(close));

#define PVHCA_DMA_ALIGN 4096 /* the unit of the link's addresses */

/* The first mapping that ends above @address; s->dma.count if there is none. */
static unsigned pvhca_dma_find(const PvhcaDma *dma, uint64_t address)
{
    unsigned low = 0, high = dma->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        const PvhcaMapping *m = &dma->map[middle];

        if (m->address + (m->size - 1) < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Bytes of a page of the memory behind @fd; 0: cannot be mapped as memory. */
static uint64_t pvhca_dma_page_size(int fd)
{
    struct statfs fs;

    if (fstatfs(fd, &fs)) {
        return 0;
    }
    if (fs.f_type == HUGETLBFS_MAGIC) {
        return fs.f_bsize;
    }
    return PVHCA_DMA_ALIGN;
}

/* Whether pvhcad can have the mapping; fills in @mem. */
static bool pvhca_dma_usable(PvhcaServer *s,
                             const struct vfio_user_dma_map *map, int fd,
                             struct pvhca_link_mem *mem)
{
    uint32_t both = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    struct stat st;

    if (fd < 0 || map->flags != both) {
        return false;
    }
    *mem = (struct pvhca_link_mem){
        .gpa = map->address,
        .size = map->size,
        .fd_offset = map->offset,
        .page_size = pvhca_dma_page_size(fd),
    };
    if (mem->page_size && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
        (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR &&
        !((mem->gpa | mem->size | mem->fd_offset) % PVHCA_DMA_ALIGN)) {
        return true;
    }
    if (!s->dma.told_useless) {
        pvhca_log("memory at 0x%" G_GINT64_MODIFIER "x is no file that can be "
                  "shared, the guest cannot use RDMA with it",
                  map->address);
        s->dma.told_useless = true;
    }
    return false;
}

/* Give a mapping to pvhcad, or find that it takes no more. */
static bool pvhca_dma_give(PvhcaServer *s, const struct pvhca_link_mem *mem,
                           int fd)
{
    if (pvhca_client_add_ram(&s->device.client, mem, fd)) {
        return true;
    }
    if (!s->dma.told_full) {
        pvhca_log("guest RAM has more than %d regions, the guest cannot use "
                  "RDMA with the rest; with virtio-mem, choose a larger "
                  "block-size",
                  PVHCA_LINK_MAX_REGIONS);
        s->dma.told_full = true;
    }
    return false;
}

int pvhca_dma_map(PvhcaServer *s, const struct vfio_user_dma_map *map, int *fd)
{
    PvhcaDma *dma = &s->dma;
    PvhcaMapping m = {
        .address = map->address,
        .size = map->size,
        .offset = map->offset,
        .fd = -1,
    };
    struct pvhca_link_mem mem;
    uint64_t last;
    unsigned at;

    if (!map->size ||
        __builtin_add_overflow(map->address, map->size - 1, &last) ||
        map->offset > INT64_MAX || map->size > INT64_MAX - map->offset) {
        return EINVAL;
    }
    at = pvhca_dma_find(dma, map->address);
    if (at < dma->count && dma->map[at].address <= last) {
        return EEXIST;
    }
    if (dma->count == PVHCA_DMA_MAX) {
        return ENOSPC;
    }
    if (pvhca_dma_usable(s, map, *fd, &mem) && pvhca_dma_give(s, &mem, *fd)) {
        m.fd = *fd;
        *fd = -1;
    }
    memmove(&dma->map[at + 1], &dma->map[at],
            (dma->count - at) * sizeof(dma->map[0]));
    dma->map[at] = m;
    dma->count++;
    return 0;
}

static void pvhca_dma_take_back(PvhcaServer *s, const PvhcaMapping *m)
{
    if (m->fd >= 0) {
        pvhca_client_remove_ram(&s->device.client, m->address);
        close(m->fd);
    }
}

int pvhca_dma_unmap(PvhcaServer *s, uint64_t address, uint64_t size)
{
    PvhcaDma *dma = &s->dma;
    unsigned at = pvhca_dma_find(dma, address);

    if (at == dma->count || dma->map[at].address != address ||
        dma->map[at].size != size) {
        return ENOENT;
    }
    pvhca_dma_take_back(s, &dma->map[at]);
    dma->count--;
    memmove(&dma->map[at], &dma->map[at + 1],
            (dma->count - at) * sizeof(dma->map[0]));
    return 0;
}

void pvhca_dma_unmap_all(PvhcaServer *s)
{
    for (unsigned i = 0; i < s->dma.count; i++) {
        pvhca_dma_take_back(s, &s->dma.map[i]);
    }
    s->dma.count = 0;
    s->dma.told_full = false;
    s->dma.told_useless = false;
}

void pvhca_dma_check_area(PvhcaServer *s, uint64_t gpa)
{
    unsigned at = pvhca_dma_find(&s->dma, gpa);
    const PvhcaMapping *m = &s->dma.map[at];
    uint32_t magic = 0;

    if (at == s->dma.count || m->address > gpa) {
        pvhca_log("the guest's driver names memory that is not mapped for us: "
                  "if there is a vIOMMU, plug the device into a bus that "
                  "bypasses it (-machine default_bus_bypass_iommu=on)");
        return;
    }
    if (m->fd < 0) {
        pvhca_log("guest RAM cannot be shared with us: memory needs share=on: "
                  "add -object memory-backend-memfd,id=ram,size=SIZE,share=on "
                  "-machine memory-backend=ram");
        return;
    }
    if (pread(m->fd, &magic, sizeof(magic), m->offset + (gpa - m->address)) !=
            sizeof(magic) ||
        GUINT32_FROM_LE(magic) != PVHCA_ADMIN_MAGIC) {
        pvhca_log("what the guest's driver wrote is not in the memory that we "
                  "have: memory needs share=on: -object "
                  "memory-backend-memfd,...,share=on");
    }
}
