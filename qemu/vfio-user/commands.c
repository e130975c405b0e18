/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: what a monitor's message asks for.
 *
 * A message is copied whole before it is looked at, and is refused where its
 * size, its descriptors or its fields are not what its command has.  Commands
 * that only a device with more than ours needs (migration, dirty pages,
 * descriptors for regions) are answered with ENOTSUP.
 */
#include <errno.h>
#include <json-glib/json-glib.h>
#include <string.h>

#include "server.h"

/* VERSION */

static JsonObject *pvhca_commands_object(JsonObject *parent, const char *name)
{
    JsonNode *node = parent ? json_object_get_member(parent, name) : NULL;

    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) :
                                                  NULL;
}

/* Whether @parent has @name with something else than a number >= 0. */
static bool pvhca_commands_bad_number(JsonObject *parent, const char *name)
{
    JsonNode *node = parent ? json_object_get_member(parent, name) : NULL;

    return node &&
        (!JSON_NODE_HOLDS_VALUE(node) ||
         json_node_get_value_type(node) != G_TYPE_INT64 ||
         json_node_get_int(node) < 0);
}

/* What the monitor offers: only what it must not say is looked for. */
static bool pvhca_commands_check_offer(JsonNode *root, bool *lists_dma)
{
    static const char *numbers[] = { "max_msg_fds", "max_data_xfer_size",
                                     "max_dma_maps", "pgsizes" };
    JsonObject *top, *caps;

    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        return false;
    }
    top = json_node_get_object(root);
    caps = pvhca_commands_object(top, "capabilities");
    if (!caps && json_object_has_member(top, "capabilities")) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (pvhca_commands_bad_number(caps, numbers[i])) {
            return false;
        }
    }
    *lists_dma = caps && json_object_has_member(caps, "max_dma_maps");
    if (caps && json_object_has_member(caps, "max_msg_fds") &&
        json_object_get_int_member(caps, "max_msg_fds") == 0) {
        pvhca_log("the monitor passes no descriptors (max_msg_fds is 0): "
                  "guest RAM and interrupts need them, set it to 1 or more");
    }
    return true;
}

static bool pvhca_commands_read_offer(const char *text, size_t size,
                                      bool *lists_dma)
{
    g_autoptr(JsonParser) parser = NULL;

    *lists_dma = false;
    if (size == 0) {
        return true;
    }
    if (size > PVHCA_MSG_MAX_VERSION ||
        memchr(text, 0, size) != text + size - 1 ||
        !g_utf8_validate(text, size - 1, NULL)) {
        return false;
    }
    parser = json_parser_new_immutable();
    return json_parser_load_from_data(parser, text, size - 1, NULL) &&
        pvhca_commands_check_offer(json_parser_get_root(parser), lists_dma);
}

/*
 * Ours: QEMU sends as many eventfds as this in one message and no more than 16.
 * max_dma_maps is only for those that know it.
 */
static size_t pvhca_commands_write_offer(char *text, size_t size,
                                         bool lists_dma)
{
    g_autofree char *dma =
        g_strdup_printf(",\"max_dma_maps\":%d", PVHCA_DMA_MAX);

    return 1 +
        g_snprintf(text, size,
                   "{\"capabilities\":{\"max_msg_fds\":%d,"
                   "\"max_data_xfer_size\":%d%s}}",
                   PVHCA_MSG_MAX_FDS, PVHCA_MSG_MAX_XFER, lists_dma ? dma : "");
}

static int pvhca_commands_version(PvhcaServer *s, PvhcaCommand *c,
                                  PvhcaReply *r)
{
    struct vfio_user_version version;
    const char *text = (const char *)c->payload + sizeof(version);
    bool lists_dma;

    memcpy(&version, c->payload, sizeof(version));
    if (version.major != VFIO_USER_MAJOR) {
        pvhca_log("the monitor speaks version %u.%u of vfio-user, we %u.%u: "
                  "use another QEMU (10.1 to 11.1 are known to fit)",
                  version.major, version.minor, VFIO_USER_MAJOR,
                  VFIO_USER_MINOR);
        return ENOTSUP;
    }
    if (s->monitor.greeted ||
        !pvhca_commands_read_offer(text, c->size - sizeof(version),
                                   &lists_dma)) {
        return EINVAL;
    }
    version.minor = MIN(version.minor, VFIO_USER_MINOR);
    memcpy(r->payload, &version, sizeof(version));
    r->size = sizeof(version) +
        pvhca_commands_write_offer((char *)r->payload + sizeof(version), 256,
                                   lists_dma);
    s->monitor.greeted = true;
    pvhca_link_start(s);
    return 0;
}

/* Memory */

static int pvhca_commands_map(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r)
{
    const uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    struct vfio_user_dma_map map;
    int none = -1;

    (void)r;
    memcpy(&map, c->payload, sizeof(map));
    if (map.argsz < sizeof(map) || (map.flags & ~flags) || c->num_fds > 1) {
        return EINVAL;
    }
    return pvhca_dma_map(s, &map, c->num_fds ? &c->fds[0] : &none);
}

static int pvhca_commands_unmap(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r)
{
    struct vfio_user_dma_unmap unmap;
    int error = 0;

    memcpy(&unmap, c->payload, sizeof(unmap));
    if (unmap.argsz < sizeof(unmap)) {
        return EINVAL;
    }
    if (unmap.flags == VFIO_DMA_UNMAP_FLAG_ALL) {
        if (unmap.address || unmap.size) {
            return EINVAL;
        }
        pvhca_dma_unmap_all(s);
    } else if (unmap.flags == VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
        return ENOTSUP;
    } else if (unmap.flags) {
        return EINVAL;
    } else {
        error = pvhca_dma_unmap(s, unmap.address, unmap.size);
    }
    if (!error) {
        memcpy(r->payload, &unmap, sizeof(unmap));
        r->size = sizeof(unmap);
    }
    return error;
}

/* What the device has */

static int pvhca_commands_info(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r)
{
    struct vfio_user_device_info info;

    (void)s;
    memcpy(&info, c->payload, sizeof(info));
    if (info.argsz < sizeof(info)) {
        return EINVAL;
    }
    info = (struct vfio_user_device_info){
        .argsz = sizeof(info),
        .flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
        .num_regions = VFIO_PCI_NUM_REGIONS,
        .num_irqs = PVHCA_NUM_IRQS,
    };
    memcpy(r->payload, &info, sizeof(info));
    r->size = sizeof(info);
    return 0;
}

/* No region can be mapped: QEMU posts no write to a device that has one. */
static int pvhca_commands_region_info(PvhcaServer *s, PvhcaCommand *c,
                                      PvhcaReply *r)
{
    struct vfio_region_info info;

    (void)s;
    memcpy(&info, c->payload, sizeof(info));
    if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_REGIONS) {
        return EINVAL;
    }
    info = (struct vfio_region_info){
        .argsz = sizeof(info),
        .index = info.index,
        .size = pvhca_pci_region_size(info.index),
    };
    if (info.size) {
        info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    }
    memcpy(r->payload, &info, sizeof(info));
    r->size = sizeof(info);
    return 0;
}

static int pvhca_commands_irq_info(PvhcaServer *s, PvhcaCommand *c,
                                   PvhcaReply *r)
{
    struct vfio_irq_info info;

    memcpy(&info, c->payload, sizeof(info));
    if (info.argsz < sizeof(info) || info.index >= PVHCA_NUM_IRQS) {
        return EINVAL;
    }
    info = (struct vfio_irq_info){
        .argsz = sizeof(info),
        .index = info.index,
    };
    if (info.index == VFIO_PCI_MSIX_IRQ_INDEX) {
        info.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
        info.count = s->device.identity.num_vectors;
    }
    memcpy(r->payload, &info, sizeof(info));
    r->size = sizeof(info);
    return 0;
}

static int pvhca_commands_set_irqs(PvhcaServer *s, PvhcaCommand *c,
                                   PvhcaReply *r)
{
    struct vfio_user_irq_set set;
    const uint8_t *booleans = NULL;
    size_t want = sizeof(set);

    (void)r;
    memcpy(&set, c->payload, sizeof(set));
    if (set.flags & VFIO_IRQ_SET_DATA_BOOL) {
        booleans = c->payload + sizeof(set);
        want += set.count;
    }
    if (c->size != want || set.argsz < want) {
        return EINVAL;
    }
    return pvhca_irqs_set(s, &set, booleans, c->fds, c->num_fds);
}

/* Accesses */

/* Whether an access lies in its region, and is no longer than any may be. */
static bool pvhca_commands_inside(const struct vfio_user_region_access *access)
{
    uint64_t size = pvhca_pci_region_size(access->region);

    return access->count <= PVHCA_MSG_MAX_XFER && access->offset <= size &&
        access->count <= size - access->offset;
}

static int pvhca_commands_read(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r)
{
    struct vfio_user_region_access access;

    memcpy(&access, c->payload, sizeof(access));
    if (!pvhca_commands_inside(&access)) {
        return EINVAL;
    }
    memcpy(r->payload, &access, sizeof(access));
    pvhca_pci_read(s, access.region, access.offset, r->payload + sizeof(access),
                   access.count);
    r->size = sizeof(access) + access.count;
    return 0;
}

static int pvhca_commands_write(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r)
{
    struct vfio_user_region_access access;

    memcpy(&access, c->payload, sizeof(access));
    if (!pvhca_commands_inside(&access) ||
        c->size - sizeof(access) != access.count) {
        return EINVAL;
    }
    pvhca_pci_write(s, access.region, access.offset,
                    c->payload + sizeof(access), access.count);
    memcpy(r->payload, &access, sizeof(access));
    r->size = sizeof(access);
    return 0;
}

static int pvhca_commands_reset(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r)
{
    (void)c;
    (void)r;
    pvhca_irqs_clear(s);
    pvhca_pci_reset(s);
    pvhca_device_reset(&s->device);
    return 0;
}

/* The table of commands */

typedef struct PvhcaHandler {
    int (*handle)(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r);
    size_t size; /* of the payload */
    /* A payload may be longer: the handler checks it, or it is a newer form. */
    bool more;
    bool takes_fds;
} PvhcaHandler;

static const PvhcaHandler pvhca_commands[] = {
    [VFIO_USER_VERSION] = { pvhca_commands_version,
                            sizeof(struct vfio_user_version), true, false },
    [VFIO_USER_DMA_MAP] = { pvhca_commands_map,
                            sizeof(struct vfio_user_dma_map), false, true },
    [VFIO_USER_DMA_UNMAP] = { pvhca_commands_unmap,
                              sizeof(struct vfio_user_dma_unmap), false,
                              false },
    [VFIO_USER_DEVICE_GET_INFO] = { pvhca_commands_info,
                                    sizeof(struct vfio_user_device_info), true,
                                    false },
    [VFIO_USER_DEVICE_GET_REGION_INFO] = { pvhca_commands_region_info,
                                           sizeof(struct vfio_region_info),
                                           true, false },
    [VFIO_USER_DEVICE_GET_IRQ_INFO] = { pvhca_commands_irq_info,
                                        sizeof(struct vfio_irq_info), true,
                                        false },
    [VFIO_USER_DEVICE_SET_IRQS] = { pvhca_commands_set_irqs,
                                    sizeof(struct vfio_user_irq_set), true,
                                    true },
    [VFIO_USER_REGION_READ] = { pvhca_commands_read,
                                sizeof(struct vfio_user_region_access), false,
                                false },
    [VFIO_USER_REGION_WRITE] = { pvhca_commands_write,
                                 sizeof(struct vfio_user_region_access), true,
                                 false },
    [VFIO_USER_DEVICE_RESET] = { pvhca_commands_reset, 0, false, false },
};

int pvhca_commands_handle(PvhcaServer *s, PvhcaCommand *c, PvhcaReply *r,
                          bool *drop)
{
    uint16_t command = c->header.command;
    const PvhcaHandler *h;
    int error;

    r->size = 0;
    /* Who does not begin with VERSION, or with one that does not fit, ends. */
    *drop = !s->monitor.greeted;
    if (!s->monitor.greeted && command != VFIO_USER_VERSION) {
        pvhca_log("the monitor sent command %u before VERSION", command);
        return EINVAL;
    }
    if (command >= G_N_ELEMENTS(pvhca_commands) ||
        !pvhca_commands[command].handle) {
        return ENOTSUP;
    }
    h = &pvhca_commands[command];
    if (c->size < h->size || (c->size > h->size && !h->more) ||
        (c->num_fds && !h->takes_fds)) {
        return EINVAL;
    }
    error = h->handle(s, c, r);
    *drop = !s->monitor.greeted;
    return error;
}
