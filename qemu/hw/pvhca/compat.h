/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Differences between QEMU 7.2, 10.0 and 11.x, all in one place.
 *
 * Headers that moved are found by __has_include; what changed in kind is
 * decided by the version in config-host.h.  Remove a branch when its QEMU is no
 * longer supported; nothing else in this folder knows about versions.
 *
 * What goes upstream has no such header: scripts/export-series leaves it out.
 * So all that the branches for a newer QEMU hold are includes, and macros whose
 * text takes the place of their names.
 */
#ifndef HW_PVHCA_COMPAT_H
#define HW_PVHCA_COMPAT_H

#include "qapi/error.h"

#define PVHCA_QEMU_AT_LEAST(major, minor) \
    (QEMU_VERSION_MAJOR > (major) ||      \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

/* sysemu/ became system/ in 10.0; memory headers followed in 10.1. */
#if __has_include("system/kvm.h")
#include "system/kvm.h"
#include "system/hostmem.h"
#include "system/system.h"
#include "system/tcg.h"
#else
#include "sysemu/kvm.h"
#include "sysemu/hostmem.h"
#include "sysemu/sysemu.h"
#include "sysemu/tcg.h"
#endif

/* Before 8.2 it stood where only code for one target may include it, with this value. */
#if __has_include("exec/translation-block.h")
#include "exec/translation-block.h"
#else
#define CF_PARALLEL 0x00008000
#endif

#if __has_include("system/memory.h")
#include "system/memory.h"
#include "system/address-spaces.h"
#include "system/ramblock.h"
#else
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#endif

/* struct PCIDevice got a header of its own in 8.0. */
#if __has_include("hw/pci/pci_device.h")
#include "hw/pci/pci_device.h"
#endif

/* hw/ split off hw/core/ in 11.0. */
#if __has_include("hw/core/boards.h")
#include "hw/core/boards.h"
#else
#include "hw/boards.h"
#endif
#if __has_include("hw/core/qdev-properties.h")
#include "hw/core/qdev-properties.h"
#include "hw/core/qdev-properties-system.h"
#else
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#endif

/* The front end of a character device was called its back end before 10.2. */
#if PVHCA_QEMU_AT_LEAST(10, 2)
#define PvhcaChar CharFrontend
#else
#define PvhcaChar CharBackend
#endif

/* The hold phase learnt the type of the reset in 9.1. */
#if PVHCA_QEMU_AT_LEAST(9, 1)
#define PVHCA_RESET_HOLD_ARGS Object *obj, ResetType type
#else
#define PVHCA_RESET_HOLD_ARGS Object *obj
#endif

/* Property lists are const and have no terminator since 10.0. */
#if PVHCA_QEMU_AT_LEAST(10, 0)
#define PVHCA_PROPERTY const Property
#define PVHCA_PROPERTY_END
#else
#define PVHCA_PROPERTY     Property
#define PVHCA_PROPERTY_END DEFINE_PROP_END_OF_LIST()
#endif

/* Type tables are const since 10.1. */
#if PVHCA_QEMU_AT_LEAST(10, 1)
#define PVHCA_CLASS_DATA const void *data
#define PVHCA_INTERFACES const InterfaceInfo
#else
#define PVHCA_CLASS_DATA void *data
#define PVHCA_INTERFACES InterfaceInfo
#endif

/* Since 8.2 a migration blocker owns its reason and frees it. */
#if PVHCA_QEMU_AT_LEAST(8, 2)
#define pvhca_compat_add_blocker migrate_add_blocker
#define pvhca_compat_del_blocker migrate_del_blocker
#else
static inline int pvhca_compat_add_blocker(Error **reason, Error **errp)
{
    int ret = migrate_add_blocker(*reason, errp);

    if (ret < 0) {
        error_free(*reason);
        *reason = NULL;
    }
    return ret;
}

static inline void pvhca_compat_del_blocker(Error **reason)
{
    if (*reason) {
        migrate_del_blocker(*reason);
        error_free(*reason);
        *reason = NULL;
    }
}
#endif

/* Where a RAM block starts in its file; always at 0 before 8.1. */
#if PVHCA_QEMU_AT_LEAST(8, 1)
#define pvhca_compat_ram_fd_offset(block) ((block)->fd_offset)
#else
#define pvhca_compat_ram_fd_offset(block) 0
#endif

#endif /* HW_PVHCA_COMPAT_H */
