/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: the connection to pvhcad (pvhca-link.h).
 *
 * Theory of operation: pvhcad is not trusted to be quick, present or sane.
 * What is sent goes through a bounded queue and is written as the socket takes
 * it, so that neither a vCPU nor the main loop waits; a peer that stops reading
 * is disconnected when the queue is full.  What is received is gathered one
 * message at a time, in a buffer that holds the largest, and checked before it
 * is used; anything wrong closes the connection.  After that the character
 * device may connect again (its `reconnect` option), and all starts over with
 * HELLO.
 *
 * Descriptors are duplicated when a message is queued: the memory they stand
 * for can be unplugged while the message waits.
 *
 * CLOSED can be reported from inside any write: no function here may rely on
 * the connection after it has sent something.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "pvhca-internal.h"
#include "trace.h"

/*
 * More than a session ever has under way: its greeting is 2 + 8 + 9 messages of
 * eventfds and PVHCA_LINK_MAX_REGIONS of memory, and the memory map changes
 * rarely after that.
 */
#define PVHCA_LINK_QUEUE_MAX 2048

QEMU_BUILD_BUG_ON(sizeof(struct pvhca_link_hello) > PVHCA_LINK_MAX_PAYLOAD);
QEMU_BUILD_BUG_ON(sizeof(struct pvhca_link_hello_reply) >
                  PVHCA_LINK_MAX_PAYLOAD);
QEMU_BUILD_BUG_ON(sizeof(struct pvhca_link_header) != 16);
QEMU_BUILD_BUG_ON(sizeof(((struct pvhca_link_hello *)0)->version) !=
                  PVHCA_REG_VERSION_LEN);
QEMU_BUILD_BUG_ON(sizeof(((struct pvhca_link_hello_reply *)0)->version) !=
                  PVHCA_REG_VERSION_LEN);

static void pvhca_link_flush(PvhcaState *s);

/*
 * Log a problem with the peer, but not the same one again and again while the
 * connection is tried over and over.
 */
static void G_GNUC_PRINTF(2, 3)
    pvhca_link_problem(PvhcaState *s, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    if (strncmp(s->link.last_problem, text, sizeof(s->link.last_problem) - 1)) {
        warn_report("pvhca: %s", text);
        pstrcpy(s->link.last_problem, sizeof(s->link.last_problem), text);
    }
}

static void pvhca_link_free(PvhcaLinkOut *msg)
{
    while (msg->num_fds > 0) {
        close(msg->fds[--msg->num_fds]);
    }
    g_free(msg);
}

static void pvhca_link_drop_queue(PvhcaLink *link)
{
    PvhcaLinkOut *msg;

    while ((msg = QSIMPLEQ_FIRST(&link->out))) {
        QSIMPLEQ_REMOVE_HEAD(&link->out, next);
        pvhca_link_free(msg);
    }
    link->queued = 0;
    if (link->watch) {
        g_source_remove(link->watch);
        link->watch = 0;
    }
}

/* End the connection; the CLOSED event does the rest. */
static void pvhca_link_close(PvhcaState *s)
{
    s->link.broken = true;
    qemu_chr_fe_disconnect(&s->link.chr);
}

static gboolean pvhca_link_writable(void *do_not_use, GIOCondition cond,
                                    void *opaque)
{
    PvhcaState *s = opaque;

    s->link.watch = 0;
    pvhca_link_flush(s);
    return G_SOURCE_REMOVE;
}

/* Write what the socket takes; wait in the main loop for the rest. */
static void pvhca_link_flush(PvhcaState *s)
{
    PvhcaLink *link = &s->link;
    PvhcaLinkOut *msg;

    while (link->open && !link->broken && (msg = QSIMPLEQ_FIRST(&link->out))) {
        int ret;

        if (msg->sent == 0 && msg->num_fds > 0 &&
            qemu_chr_fe_set_msgfds(&link->chr, msg->fds, msg->num_fds) < 0) {
            link->broken = true;
            return;
        }
        ret = qemu_chr_fe_write(&link->chr, msg->bytes + msg->sent,
                                msg->len - msg->sent);
        if (ret < 0 && errno != EAGAIN) {
            /* CLOSED has been reported already, or will be by the reader. */
            link->broken = true;
            return;
        }
        if (ret > 0) {
            msg->sent += ret;
        }
        if (msg->sent < msg->len) {
            trace_pvhca_link_blocked(link->queued);
            link->watch = qemu_chr_fe_add_watch(&link->chr, G_IO_OUT | G_IO_HUP,
                                                pvhca_link_writable, s);
            return;
        }
        QSIMPLEQ_REMOVE_HEAD(&link->out, next);
        link->queued--;
        pvhca_link_free(msg);
    }
}

/* @fds stay the caller's.  Sends nothing if there is no connection. */
static void pvhca_link_send(PvhcaState *s, enum pvhca_link_type type,
                            const void *payload, size_t size, const int *fds,
                            int num_fds)
{
    PvhcaLink *link = &s->link;
    struct pvhca_link_header header = {
        .magic = PVHCA_LINK_MAGIC,
        .type = type,
        .size = size,
    };
    PvhcaLinkOut *msg;

    assert(size <= PVHCA_LINK_MAX_PAYLOAD && num_fds <= PVHCA_LINK_MAX_FDS);

    if (!link->open || link->broken) {
        return;
    }
    if (link->queued >= PVHCA_LINK_QUEUE_MAX) {
        pvhca_link_problem(s, "pvhcad does not read, disconnecting");
        pvhca_link_close(s);
        return;
    }

    msg = g_new0(PvhcaLinkOut, 1);
    for (int i = 0; i < num_fds; i++) {
        msg->fds[i] = qemu_dup(fds[i]);
        if (msg->fds[i] < 0) {
            pvhca_link_problem(s, "out of file descriptors, disconnecting");
            pvhca_link_free(msg);
            pvhca_link_close(s);
            return;
        }
        msg->num_fds++;
    }
    memcpy(msg->bytes, &header, sizeof(header));
    memcpy(msg->bytes + sizeof(header), payload, size);
    msg->len = sizeof(header) + size;

    trace_pvhca_link_send(type, size, num_fds);
    QSIMPLEQ_INSERT_TAIL(&link->out, msg, next);
    link->queued++;
    if (!link->watch) {
        pvhca_link_flush(s);
    }
}

static void pvhca_link_send_hello(PvhcaState *s)
{
    struct pvhca_link_hello hello = {
        .abi_major = PVHCA_LINK_ABI_MAJOR,
        .abi_minor = PVHCA_LINK_ABI_MINOR,
        .num_vectors = s->num_vectors,
        .num_doorbells = s->num_doorbells,
    };

    if (qemu_uuid_set) {
        memcpy(hello.uuid, qemu_uuid.data, sizeof(hello.uuid));
    }
    pstrcpy(hello.name, sizeof(hello.name), qemu_get_vm_name() ?: "");
    pstrcpy(hello.version, sizeof(hello.version), s->qemu_version);
    memcpy(hello.mac, s->mac.a, sizeof(hello.mac));
    pvhca_link_send(s, PVHCA_LINK_HELLO, &hello, sizeof(hello), NULL, 0);
}

/* Eventfds of one kind, indices [first, first + count), get(s, index) each. */
static void pvhca_link_send_events(PvhcaState *s,
                                   enum pvhca_link_event_kind kind,
                                   uint32_t first, uint32_t count,
                                   EventNotifier *(*get)(PvhcaState *, int))
{
    while (count > 0) {
        struct pvhca_link_event_fds events = {
            .kind = kind,
            .first = first,
            .count = MIN(count, PVHCA_LINK_MAX_FDS),
        };
        int fds[PVHCA_LINK_MAX_FDS];

        for (uint32_t i = 0; i < events.count; i++) {
            fds[i] = event_notifier_get_fd(get(s, first + i));
        }
        pvhca_link_send(s, PVHCA_LINK_EVENT_FDS, &events, sizeof(events), fds,
                        events.count);
        first += events.count;
        count -= events.count;
    }
}

static EventNotifier *pvhca_link_get_admin_db(PvhcaState *s, int index)
{
    return &s->admin_db;
}

static EventNotifier *pvhca_link_get_data_db(PvhcaState *s, int index)
{
    return &s->data_db[index];
}

static EventNotifier *pvhca_link_get_vector(PvhcaState *s, int index)
{
    return &s->vectors[index].notifier;
}

void pvhca_link_send_mem(PvhcaState *s, enum pvhca_link_type type,
                         const PvhcaRegion *region)
{
    struct pvhca_link_mem mem = region->mem;

    if (!s->link.accepted) {
        return;
    }
    if (type == PVHCA_LINK_MEM_DEL) {
        mem.fd_offset = 0;
    }
    pvhca_link_send(s, type, &mem, sizeof(mem), &region->fd,
                    type == PVHCA_LINK_MEM_ADD ? 1 : 0);
}

void pvhca_link_send_enable(PvhcaState *s, uint64_t id, uint64_t admin_gpa)
{
    struct pvhca_link_enable enable = { .id = id, .admin_gpa = admin_gpa };

    pvhca_link_send(s, PVHCA_LINK_ENABLE, &enable, sizeof(enable), NULL, 0);
}

void pvhca_link_send_reset(PvhcaState *s, uint64_t id)
{
    struct pvhca_link_reset reset = { .id = id };

    pvhca_link_send(s, PVHCA_LINK_RESET, &reset, sizeof(reset), NULL, 0);
}

/* A text of pvhcad's: terminated, and printable before it gets into a log. */
static void pvhca_link_text(char *to, size_t to_size, const char *from,
                            size_t from_size)
{
    size_t i;

    for (i = 0; i < MIN(to_size, from_size) - 1 && from[i]; i++) {
        to[i] = g_ascii_isprint(from[i]) ? from[i] : '?';
    }
    memset(to + i, 0, to_size - i);
}

/* The receivers return false where the connection has to be closed. */
static bool pvhca_link_hello_reply(PvhcaState *s, const void *payload)
{
    const struct pvhca_link_hello_reply *reply = payload;
    char reason[sizeof(reply->reason)];

    if (s->link.accepted) {
        pvhca_link_problem(s, "pvhcad answered twice to HELLO");
        return false;
    }
    pvhca_link_text(s->hostd_version, sizeof(s->hostd_version), reply->version,
                    sizeof(reply->version));
    pvhca_link_text(reason, sizeof(reason), reply->reason,
                    sizeof(reply->reason));

    if (reply->abi_major != PVHCA_LINK_ABI_MAJOR || reply->refused == EPROTO) {
        pvhca_link_problem(s,
                           "pvhcad %s speaks version %u.%u of the link, "
                           "this QEMU %u.%u%s%s",
                           s->hostd_version, reply->abi_major, reply->abi_minor,
                           PVHCA_LINK_ABI_MAJOR, PVHCA_LINK_ABI_MINOR,
                           reason[0] ? ": " : "", reason);
        pvhca_refused(s);
        return false;
    }
    if (reply->refused) {
        pvhca_link_problem(s, "pvhcad refuses this VM: %s (%s)",
                           reason[0] ? reason : "no reason given",
                           strerror(reply->refused & INT_MAX));
        return false;
    }
    if (reply->features) {
        pvhca_link_problem(s, "pvhcad accepted features never offered");
        return false;
    }

    s->link_abi = PVHCA_LINK_ABI_MAJOR << 16 |
        MIN(PVHCA_LINK_ABI_MINOR, reply->abi_minor);
    s->link.accepted = true;
    s->link.last_problem[0] = '\0';

    pvhca_link_send_events(s, PVHCA_LINK_EVENT_ADMIN_DB, 0, 1,
                           pvhca_link_get_admin_db);
    pvhca_link_send_events(s, PVHCA_LINK_EVENT_DATA_DB, 0, s->num_doorbells,
                           pvhca_link_get_data_db);
    pvhca_link_send_events(s, PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTOR_ADMIN,
                           s->num_vectors - PVHCA_VECTOR_ADMIN,
                           pvhca_link_get_vector);
    pvhca_mem_send_all(s);
    if (s->link.accepted) {
        pvhca_link_up(s);
    }
    return true;
}

static bool pvhca_link_check_reply(PvhcaState *s, const void *payload)
{
    const struct pvhca_link_reply *reply = payload;

    if (reply->reserved) {
        pvhca_link_problem(s, "pvhcad set a reserved field");
        return false;
    }
    return true;
}

static bool pvhca_link_enable_reply(PvhcaState *s, const void *payload)
{
    if (!pvhca_link_check_reply(s, payload)) {
        return false;
    }
    pvhca_enable_reply(s, payload);
    return true;
}

static bool pvhca_link_reset_reply(PvhcaState *s, const void *payload)
{
    if (!pvhca_link_check_reply(s, payload)) {
        return false;
    }
    pvhca_reset_reply(s, payload);
    return true;
}

static bool pvhca_link_fatal(PvhcaState *s, const void *payload)
{
    const struct pvhca_link_reply *reply = payload;

    if (!pvhca_link_check_reply(s, payload)) {
        return false;
    }
    if (reply->id || !reply->error) {
        pvhca_link_problem(s, "pvhcad sent a malformed FATAL");
        return false;
    }
    pvhca_fatal(s, reply);
    return true;
}

typedef struct PvhcaLinkReceiver {
    uint32_t type;
    uint32_t size;
    bool (*receive)(PvhcaState *s, const void *payload);
} PvhcaLinkReceiver;

static const PvhcaLinkReceiver pvhca_link_receivers[] = {
    { PVHCA_LINK_HELLO_REPLY, sizeof(struct pvhca_link_hello_reply),
      pvhca_link_hello_reply },
    { PVHCA_LINK_ENABLE_REPLY, sizeof(struct pvhca_link_reply),
      pvhca_link_enable_reply },
    { PVHCA_LINK_RESET_REPLY, sizeof(struct pvhca_link_reply),
      pvhca_link_reset_reply },
    { PVHCA_LINK_FATAL, sizeof(struct pvhca_link_reply), pvhca_link_fatal },
};

/* The receiver of a header, NULL after logging why there is none. */
static const PvhcaLinkReceiver *
pvhca_link_find_receiver(PvhcaState *s, const struct pvhca_link_header *header)
{
    const PvhcaLinkReceiver *r = NULL;

    if (header->magic != PVHCA_LINK_MAGIC || header->reserved) {
        pvhca_link_problem(s, "pvhcad sent something that is no message");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(pvhca_link_receivers); i++) {
        if (pvhca_link_receivers[i].type == header->type) {
            r = &pvhca_link_receivers[i];
        }
    }
    if (!r || header->size != r->size) {
        pvhca_link_problem(s,
                           "pvhcad sent a message of type 0x%x, %u bytes: "
                           "unknown or of a wrong size",
                           header->type, header->size);
        return NULL;
    }
    if (!s->link.accepted && header->type != PVHCA_LINK_HELLO_REPLY) {
        pvhca_link_problem(s,
                           "pvhcad sent a message of type 0x%x before it "
                           "answered HELLO",
                           header->type);
        return NULL;
    }
    return r;
}

/* How many bytes are missing from the message being received, 0: none. */
static size_t pvhca_link_missing(PvhcaLink *link)
{
    struct pvhca_link_header header;

    if (link->in_len < sizeof(header)) {
        return sizeof(header) - link->in_len;
    }
    memcpy(&header, link->in, sizeof(header));
    return sizeof(header) + header.size - link->in_len;
}

static int pvhca_link_can_read(void *opaque)
{
    PvhcaState *s = opaque;

    return s->link.broken ? 0 : pvhca_link_missing(&s->link);
}

/* Take a message whose end, or the end of whose header, has arrived. */
static bool pvhca_link_take(PvhcaState *s)
{
    PvhcaLink *link = &s->link;
    const PvhcaLinkReceiver *r;
    struct pvhca_link_header header;

    memcpy(&header, link->in, sizeof(header));
    r = pvhca_link_find_receiver(s, &header);
    if (!r) {
        return false;
    }
    if (link->in_len < sizeof(header) + header.size) {
        return true;
    }
    trace_pvhca_link_receive(header.type, header.size);
    link->in_len = 0;
    return r->receive(s, link->in + sizeof(header));
}

static void pvhca_link_read(void *opaque, const uint8_t *buf, int size)
{
    PvhcaState *s = opaque;
    PvhcaLink *link = &s->link;
    int fd;

    if (!link->open || link->broken) {
        return;
    }
    if (qemu_chr_fe_get_msgfds(&link->chr, &fd, 1) > 0) {
        close(fd);
        pvhca_link_problem(s, "pvhcad sent a file descriptor");
        pvhca_link_close(s);
        return;
    }
    while (size > 0 && link->open && !link->broken) {
        size_t n = MIN((size_t)size, pvhca_link_missing(link));

        memcpy(link->in + link->in_len, buf, n);
        link->in_len += n;
        buf += n;
        size -= n;
        if (link->in_len >= sizeof(struct pvhca_link_header) &&
            !pvhca_link_take(s)) {
            pvhca_link_close(s);
            return;
        }
    }
}

static void pvhca_link_opened(PvhcaState *s)
{
    PvhcaLink *link = &s->link;

    if (link->open) {
        return;
    }
    link->open = true;
    link->broken = false;
    link->in_len = 0;
    pvhca_link_send_hello(s);
}

static void pvhca_link_closed(PvhcaState *s)
{
    PvhcaLink *link = &s->link;
    bool was_accepted = link->accepted;

    if (!link->open) {
        return;
    }
    link->open = false;
    link->accepted = false;
    link->in_len = 0;
    pvhca_link_drop_queue(link);
    pvhca_link_down(s, was_accepted);
}

static void pvhca_link_event(void *opaque, QEMUChrEvent event)
{
    trace_pvhca_link_event(event);
    switch (event) {
    case CHR_EVENT_OPENED:
        pvhca_link_opened(opaque);
        break;
    case CHR_EVENT_CLOSED:
        pvhca_link_closed(opaque);
        break;
    case CHR_EVENT_BREAK:
    case CHR_EVENT_MUX_IN:
    case CHR_EVENT_MUX_OUT:
        break;
    }
}

bool pvhca_link_init(PvhcaState *s, Error **errp)
{
    QSIMPLEQ_INIT(&s->link.out);

    if (!qemu_chr_fe_backend_connected(&s->link.chr)) {
        error_setg(errp,
                   "pvhca: 'chardev' is missing: add -chardev "
                   "socket,id=ID,path=SOCKET,reconnect-ms=1000 with the path "
                   "of pvhcad's socket, and chardev=ID");
        return false;
    }
    if (!qemu_chr_has_feature(qemu_chr_fe_get_driver(&s->link.chr),
                              QEMU_CHAR_FEATURE_FD_PASS)) {
        error_setg(errp,
                   "pvhca: 'chardev' must be a unix socket "
                   "(-chardev socket,path=...): file descriptors are passed");
        return false;
    }
    return true;
}

void pvhca_link_start(PvhcaState *s)
{
    /* Reports OPENED at once if the socket is connected already. */
    qemu_chr_fe_set_handlers(&s->link.chr, pvhca_link_can_read, pvhca_link_read,
                             pvhca_link_event, NULL, s, NULL, true);
}

void pvhca_link_cleanup(PvhcaState *s)
{
    PvhcaLink *link = &s->link;

    qemu_chr_fe_set_handlers(&link->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    pvhca_link_drop_queue(link);
    /* The session ends now, not when the character device is removed. */
    if (link->open) {
        qemu_chr_fe_disconnect(&link->chr);
    }
    link->open = false;
    link->accepted = false;
    qemu_chr_fe_deinit(&link->chr, false);
}
