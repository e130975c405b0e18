/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: the client of pvhcad's link.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "pvhca-client.h"

_Static_assert(sizeof(struct pvhca_link_hello) <= PVHCA_LINK_MAX_PAYLOAD,
               "link ABI");
_Static_assert(sizeof(struct pvhca_link_hello_reply) <= PVHCA_LINK_MAX_PAYLOAD,
               "link ABI");
_Static_assert(sizeof(((struct pvhca_link_hello *)0)->version) ==
                   PVHCA_REG_VERSION_LEN,
               "link ABI");
_Static_assert(sizeof(((struct pvhca_link_hello_reply *)0)->version) ==
                   PVHCA_REG_VERSION_LEN,
               "link ABI");
_Static_assert(sizeof(((struct pvhca_link_hello *)0)->name) ==
                   sizeof(((PvhcaIdentity *)0)->name),
               "link ABI");

/* A message on its way out. */
typedef struct PvhcaClientMessage {
    size_t len;
    size_t sent;
    int num_fds;
    int fds[PVHCA_LINK_MAX_FDS]; /* ours: duplicates */
    uint8_t bytes[PVHCA_CLIENT_MESSAGE_MAX];
} PvhcaClientMessage;

static void pvhca_client_flush(PvhcaClient *client);

void pvhca_client_trace(const PvhcaClient *client, PvhcaTrace what, uint64_t a,
                        uint64_t b, uint64_t c)
{
    if (client->transport->trace) {
        client->transport->trace(client->transport_opaque, what, a, b, c);
    }
}

/*
 * Log a problem with the peer, but not the same one again and again while the
 * connection is tried over and over.
 */
static void G_GNUC_PRINTF(2, 3)
    pvhca_client_problem(PvhcaClient *client, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    if (strncmp(client->last_problem, text, sizeof(client->last_problem) - 1)) {
        client->transport->warn(client->transport_opaque, text);
        g_strlcpy(client->last_problem, text, sizeof(client->last_problem));
    }
}

/* Sending */

static void pvhca_client_free_message(PvhcaClientMessage *msg)
{
    while (msg->num_fds > 0) {
        close(msg->fds[--msg->num_fds]);
    }
    g_free(msg);
}

static void pvhca_client_drop_queue(PvhcaClient *client)
{
    PvhcaClientMessage *msg;

    while ((msg = g_queue_pop_head(&client->out))) {
        pvhca_client_free_message(msg);
    }
    if (client->waiting) {
        client->waiting = false;
        client->transport->wait_writable(client->transport_opaque, false);
    }
}

/* End the connection; pvhca_client_closed() does the rest. */
static void pvhca_client_close(PvhcaClient *client)
{
    client->broken = true;
    client->transport->disconnect(client->transport_opaque);
}

void pvhca_client_writable(PvhcaClient *client)
{
    client->waiting = false;
    pvhca_client_flush(client);
}

/*
 * Write what the socket takes of the first message.  True if all of it is
 * gone; false if the rest must wait, or the connection is at its end.
 */
static bool pvhca_client_write(PvhcaClient *client, PvhcaClientMessage *msg)
{
    ssize_t ret;

    ret = client->transport->write(client->transport_opaque,
                                   msg->bytes + msg->sent, msg->len - msg->sent,
                                   msg->fds, msg->sent ? 0 : msg->num_fds);
    if (ret < 0 && errno != EAGAIN) {
        /* The end has been reported already, or will be by the reader. */
        client->broken = true;
        return false;
    }
    if (!client->open) {
        /* The message is gone with the queue. */
        return false;
    }
    if (ret > 0) {
        msg->sent += ret;
    }
    if (msg->sent < msg->len) {
        pvhca_client_trace(client, PVHCA_TRACE_BLOCKED,
                           g_queue_get_length(&client->out), 0, 0);
        client->waiting = true;
        client->transport->wait_writable(client->transport_opaque, true);
        return false;
    }
    return true;
}

/* Write what the socket takes; wait in the main loop for the rest. */
static void pvhca_client_flush(PvhcaClient *client)
{
    PvhcaClientMessage *msg;

    while (client->open && !client->broken &&
           (msg = g_queue_peek_head(&client->out)) &&
           pvhca_client_write(client, msg)) {
        g_queue_pop_head(&client->out);
        pvhca_client_free_message(msg);
    }
}

/* Duplicates of @fds, in @msg; false if there are no more descriptors. */
static bool pvhca_client_dup(PvhcaClientMessage *msg, const int *fds,
                             int num_fds)
{
    for (int i = 0; i < num_fds; i++) {
        msg->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (msg->fds[i] < 0) {
            return false;
        }
        msg->num_fds++;
    }
    return true;
}

/* @fds stay the caller's.  Sends nothing if there is no connection. */
static void pvhca_client_send(PvhcaClient *client, enum pvhca_link_type type,
                              const void *payload, size_t size, const int *fds,
                              int num_fds)
{
    struct pvhca_link_header header = {
        .magic = PVHCA_LINK_MAGIC,
        .type = type,
        .size = size,
    };
    PvhcaClientMessage *msg;

    g_assert(size <= PVHCA_LINK_MAX_PAYLOAD && num_fds <= PVHCA_LINK_MAX_FDS);

    if (!client->open || client->broken) {
        return;
    }
    if (g_queue_get_length(&client->out) >= PVHCA_CLIENT_QUEUE_MAX) {
        pvhca_client_problem(client, "pvhcad does not read, disconnecting");
        pvhca_client_close(client);
        return;
    }

    msg = g_new0(PvhcaClientMessage, 1);
    if (!pvhca_client_dup(msg, fds, num_fds)) {
        pvhca_client_problem(client, "out of file descriptors, disconnecting");
        pvhca_client_free_message(msg);
        pvhca_client_close(client);
        return;
    }
    memcpy(msg->bytes, &header, sizeof(header));
    memcpy(msg->bytes + sizeof(header), payload, size);
    msg->len = sizeof(header) + size;

    pvhca_client_trace(client, PVHCA_TRACE_SEND, type, size, num_fds);
    g_queue_push_tail(&client->out, msg);
    if (!client->waiting) {
        pvhca_client_flush(client);
    }
}

static void pvhca_client_send_hello(PvhcaClient *client)
{
    const PvhcaIdentity *identity = client->identity;
    struct pvhca_link_hello hello = {
        .abi_major = PVHCA_LINK_ABI_MAJOR,
        .abi_minor = PVHCA_LINK_ABI_MINOR,
        .num_vectors = identity->num_vectors,
        .num_doorbells = identity->num_doorbells,
    };

    hello.features = identity->pair ? PVHCA_LINK_F_PAIR : 0;
    memcpy(hello.uuid, identity->uuid, sizeof(hello.uuid));
    memcpy(hello.mac, identity->mac, sizeof(hello.mac));
    g_strlcpy(hello.name, identity->name, sizeof(hello.name));
    g_strlcpy(hello.version, identity->version, sizeof(hello.version));
    pvhca_client_send(client, PVHCA_LINK_HELLO, &hello, sizeof(hello), NULL, 0);
}

/* Eventfds of one kind, indices [first, first + count); fds[0] is of @first. */
static void pvhca_client_send_events(PvhcaClient *client,
                                     enum pvhca_link_event_kind kind,
                                     uint32_t first, uint32_t count,
                                     const int *fds)
{
    while (count > 0) {
        struct pvhca_link_event_fds events = {
            .kind = kind,
            .first = first,
            .count = MIN(count, PVHCA_LINK_MAX_FDS),
        };

        pvhca_client_send(client, PVHCA_LINK_EVENT_FDS, &events, sizeof(events),
                          fds, events.count);
        fds += events.count;
        first += events.count;
        count -= events.count;
    }
}

static void pvhca_client_send_all_events(PvhcaClient *client)
{
    const PvhcaIdentity *identity = client->identity;

    pvhca_client_send_events(client, PVHCA_LINK_EVENT_ADMIN_DB, 0, 1,
                             &identity->admin_db);
    pvhca_client_send_events(client, PVHCA_LINK_EVENT_DATA_DB, 0,
                             identity->num_doorbells, identity->data_db);
    pvhca_client_send_events(client, PVHCA_LINK_EVENT_VECTOR,
                             PVHCA_VECTOR_ADMIN,
                             identity->num_vectors - PVHCA_VECTOR_ADMIN,
                             &identity->vectors[PVHCA_VECTOR_ADMIN]);
}

static void pvhca_client_send_vector(PvhcaClient *client, uint32_t vector)
{
    if (client->accepted && client->minor >= 1 && client->vectors[vector].set) {
        pvhca_client_send_events(client, PVHCA_LINK_EVENT_VECTOR, vector, 1,
                                 &client->vectors[vector].fd);
    }
}

void pvhca_client_set_vector(PvhcaClient *client, uint32_t vector, int fd)
{
    client->vectors[vector] = (PvhcaVectorFd){ .set = true, .fd = fd };
    pvhca_client_send_vector(client, vector);
}

static void pvhca_client_send_ram(PvhcaClient *client,
                                  enum pvhca_link_type type,
                                  const PvhcaRam *ram)
{
    struct pvhca_link_mem mem = ram->mem;

    if (!client->accepted) {
        return;
    }
    if (type == PVHCA_LINK_MEM_DEL) {
        mem.fd_offset = 0;
    }
    pvhca_client_send(client, type, &mem, sizeof(mem), &ram->fd,
                      type == PVHCA_LINK_MEM_ADD ? 1 : 0);
}

bool pvhca_client_add_ram(PvhcaClient *client, const struct pvhca_link_mem *mem,
                          int fd)
{
    PvhcaRam ram = { .mem = *mem, .fd = fd };

    if (client->ram->len >= PVHCA_LINK_MAX_REGIONS) {
        return false;
    }
    g_array_append_val(client->ram, ram);
    pvhca_client_send_ram(client, PVHCA_LINK_MEM_ADD, &ram);
    return true;
}

void pvhca_client_remove_ram(PvhcaClient *client, uint64_t gpa)
{
    for (guint i = 0; i < client->ram->len; i++) {
        PvhcaRam ram = g_array_index(client->ram, PvhcaRam, i);

        if (ram.mem.gpa == gpa) {
            g_array_remove_index(client->ram, i);
            pvhca_client_send_ram(client, PVHCA_LINK_MEM_DEL, &ram);
            return;
        }
    }
}

void pvhca_client_send_enable(PvhcaClient *client, uint64_t id,
                              uint64_t admin_gpa)
{
    struct pvhca_link_enable enable = { .id = id, .admin_gpa = admin_gpa };

    pvhca_client_send(client, PVHCA_LINK_ENABLE, &enable, sizeof(enable), NULL,
                      0);
}

void pvhca_client_send_reset(PvhcaClient *client, uint64_t id)
{
    struct pvhca_link_reset reset = { .id = id };

    pvhca_client_send(client, PVHCA_LINK_RESET, &reset, sizeof(reset), NULL, 0);
}

/* Receiving */

/* A text of pvhcad's: terminated, and printable before it gets into a log. */
static void pvhca_client_text(char *to, size_t to_size, const char *from,
                              size_t from_size)
{
    size_t i;

    for (i = 0; i < MIN(to_size, from_size) - 1 && from[i]; i++) {
        to[i] = g_ascii_isprint(from[i]) ? from[i] : '?';
    }
    memset(to + i, 0, to_size - i);
}

/* Whether pvhcad takes us; logs why it does not. */
static bool pvhca_client_is_accepted(PvhcaClient *client,
                                     const struct pvhca_link_hello_reply *reply,
                                     const char *version)
{
    char reason[sizeof(reply->reason)];

    pvhca_client_text(reason, sizeof(reason), reply->reason,
                      sizeof(reply->reason));
    if (reply->abi_major != PVHCA_LINK_ABI_MAJOR || reply->refused == EPROTO) {
        pvhca_client_problem(client,
                             "pvhcad %s speaks version %u.%u of the link, "
                             "this %s %u.%u%s%s",
                             version, reply->abi_major, reply->abi_minor,
                             client->identity->home, PVHCA_LINK_ABI_MAJOR,
                             PVHCA_LINK_ABI_MINOR, reason[0] ? ": " : "",
                             reason);
        client->listener->refused(client->listener_opaque);
        return false;
    }
    if (reply->refused) {
        pvhca_client_problem(client, "pvhcad refuses this VM: %s (%s)",
                             reason[0] ? reason : "no reason given",
                             strerror(reply->refused & INT_MAX));
        return false;
    }
    if (reply->features & ~(client->identity->pair ? PVHCA_LINK_F_PAIR : 0)) {
        pvhca_client_problem(client, "pvhcad accepted features never offered");
        return false;
    }
    if (client->identity->pair && !(reply->features & PVHCA_LINK_F_PAIR)) {
        pvhca_client_problem(client, "pvhcad %s is too old for 'pair'",
                             version);
        client->listener->refused(client->listener_opaque);
        return false;
    }
    return true;
}

/* The receivers return false where the connection has to be closed. */
static bool pvhca_client_hello_reply(PvhcaClient *client, const void *payload)
{
    const struct pvhca_link_hello_reply *reply = payload;
    char version[PVHCA_REG_VERSION_LEN];
    uint32_t link_abi;

    if (client->accepted) {
        pvhca_client_problem(client, "pvhcad answered twice to HELLO");
        return false;
    }
    pvhca_client_text(version, sizeof(version), reply->version,
                      sizeof(reply->version));
    client->listener->hello(client->listener_opaque, version);
    if (!pvhca_client_is_accepted(client, reply, version)) {
        return false;
    }

    /* Sending may end the connection and begin another: not used after it. */
    client->minor = MIN(PVHCA_LINK_ABI_MINOR, reply->abi_minor);
    link_abi = PVHCA_LINK_ABI_MAJOR << 16 | client->minor;
    client->accepted = true;
    client->last_problem[0] = '\0';

    pvhca_client_send_all_events(client);
    for (uint32_t i = 0; i < client->identity->num_vectors; i++) {
        pvhca_client_send_vector(client, i);
    }
    for (guint i = 0; i < client->ram->len; i++) {
        pvhca_client_send_ram(client, PVHCA_LINK_MEM_ADD,
                              &g_array_index(client->ram, PvhcaRam, i));
    }
    if (client->accepted) {
        client->listener->up(client->listener_opaque, link_abi);
    }
    return true;
}

static bool pvhca_client_check_reply(PvhcaClient *client, const void *payload)
{
    const struct pvhca_link_reply *reply = payload;

    if (reply->reserved) {
        pvhca_client_problem(client, "pvhcad set a reserved field");
        return false;
    }
    return true;
}

static bool pvhca_client_enable_reply(PvhcaClient *client, const void *payload)
{
    const struct pvhca_link_reply *reply = payload;

    if (!pvhca_client_check_reply(client, payload)) {
        return false;
    }
    client->listener->enable_reply(client->listener_opaque, reply->id,
                                   reply->error);
    return true;
}

static bool pvhca_client_reset_reply(PvhcaClient *client, const void *payload)
{
    const struct pvhca_link_reply *reply = payload;

    if (!pvhca_client_check_reply(client, payload)) {
        return false;
    }
    client->listener->reset_reply(client->listener_opaque, reply->id,
                                  reply->error);
    return true;
}

static bool pvhca_client_fatal(PvhcaClient *client, const void *payload)
{
    const struct pvhca_link_reply *reply = payload;

    if (!pvhca_client_check_reply(client, payload)) {
        return false;
    }
    if (reply->id || !reply->error) {
        pvhca_client_problem(client, "pvhcad sent a malformed FATAL");
        return false;
    }
    client->listener->fatal(client->listener_opaque, reply->error);
    return true;
}

typedef struct PvhcaClientReceiver {
    uint32_t type;
    uint32_t size;
    bool (*receive)(PvhcaClient *client, const void *payload);
} PvhcaClientReceiver;

static const PvhcaClientReceiver pvhca_client_receivers[] = {
    { PVHCA_LINK_HELLO_REPLY, sizeof(struct pvhca_link_hello_reply),
      pvhca_client_hello_reply },
    { PVHCA_LINK_ENABLE_REPLY, sizeof(struct pvhca_link_reply),
      pvhca_client_enable_reply },
    { PVHCA_LINK_RESET_REPLY, sizeof(struct pvhca_link_reply),
      pvhca_client_reset_reply },
    { PVHCA_LINK_FATAL, sizeof(struct pvhca_link_reply), pvhca_client_fatal },
};

/* The receiver of a header, NULL after logging why there is none. */
static const PvhcaClientReceiver *
pvhca_client_find_receiver(PvhcaClient *client,
                           const struct pvhca_link_header *header)
{
    const PvhcaClientReceiver *r = NULL;

    if (header->magic != PVHCA_LINK_MAGIC || header->reserved) {
        pvhca_client_problem(client,
                             "pvhcad sent something that is no message");
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(pvhca_client_receivers); i++) {
        if (pvhca_client_receivers[i].type == header->type) {
            r = &pvhca_client_receivers[i];
        }
    }
    if (!r || header->size != r->size) {
        pvhca_client_problem(client,
                             "pvhcad sent a message of type 0x%x, %u bytes: "
                             "unknown or of a wrong size",
                             header->type, header->size);
        return NULL;
    }
    if (!client->accepted && header->type != PVHCA_LINK_HELLO_REPLY) {
        pvhca_client_problem(client,
                             "pvhcad sent a message of type 0x%x before it "
                             "answered HELLO",
                             header->type);
        return NULL;
    }
    return r;
}

/* How many bytes are missing from the message being received, 0: none. */
static size_t pvhca_client_missing(const PvhcaClient *client)
{
    struct pvhca_link_header header;

    if (client->in_len < sizeof(header)) {
        return sizeof(header) - client->in_len;
    }
    memcpy(&header, client->in, sizeof(header));
    return sizeof(header) + header.size - client->in_len;
}

size_t pvhca_client_wanted(const PvhcaClient *client)
{
    return client->broken ? 0 : pvhca_client_missing(client);
}

/* Take a message whose end, or the end of whose header, has arrived. */
static bool pvhca_client_take(PvhcaClient *client)
{
    const PvhcaClientReceiver *r;
    struct pvhca_link_header header;

    memcpy(&header, client->in, sizeof(header));
    r = pvhca_client_find_receiver(client, &header);
    if (!r) {
        return false;
    }
    if (client->in_len < sizeof(header) + header.size) {
        return true;
    }
    pvhca_client_trace(client, PVHCA_TRACE_RECEIVE, header.type, header.size,
                       0);
    client->in_len = 0;
    return r->receive(client, client->in + sizeof(header));
}

void pvhca_client_receive(PvhcaClient *client, const uint8_t *bytes,
                          size_t size)
{
    while (size > 0 && client->open && !client->broken) {
        size_t n = MIN(size, pvhca_client_missing(client));

        memcpy(client->in + client->in_len, bytes, n);
        client->in_len += n;
        bytes += n;
        size -= n;
        if (client->in_len >= sizeof(struct pvhca_link_header) &&
            !pvhca_client_take(client)) {
            pvhca_client_close(client);
            return;
        }
    }
}

void pvhca_client_descriptor(PvhcaClient *client)
{
    if (!client->open || client->broken) {
        return;
    }
    pvhca_client_problem(client, "pvhcad sent a file descriptor");
    pvhca_client_close(client);
}

/* Connections */

void pvhca_client_opened(PvhcaClient *client)
{
    if (client->open) {
        return;
    }
    client->open = true;
    client->broken = false;
    client->in_len = 0;
    pvhca_client_send_hello(client);
}

void pvhca_client_closed(PvhcaClient *client)
{
    bool was_accepted = client->accepted;

    if (!client->open) {
        return;
    }
    client->open = false;
    client->accepted = false;
    client->in_len = 0;
    pvhca_client_drop_queue(client);
    client->listener->down(client->listener_opaque, was_accepted);
}

void pvhca_client_init(PvhcaClient *client, const PvhcaTransport *transport,
                       void *transport_opaque,
                       const PvhcaClientListener *listener,
                       void *listener_opaque, const PvhcaIdentity *identity)
{
    memset(client, 0, sizeof(*client));
    client->transport = transport;
    client->transport_opaque = transport_opaque;
    client->listener = listener;
    client->listener_opaque = listener_opaque;
    client->identity = identity;
    g_queue_init(&client->out);
    client->ram = g_array_new(false, false, sizeof(PvhcaRam));
}

void pvhca_client_stop(PvhcaClient *client)
{
    client->open = false;
    client->accepted = false;
    pvhca_client_drop_queue(client);
}

void pvhca_client_cleanup(PvhcaClient *client)
{
    pvhca_client_stop(client);
    g_array_free(client->ram, true);
    client->ram = NULL;
}
