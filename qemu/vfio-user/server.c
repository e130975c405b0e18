/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: the socket that a monitor connects to.
 *
 * One monitor at a time; another that connects meanwhile is turned away.  A
 * message is gathered in a buffer that holds the longest, its descriptors too.
 * There is one reply at a time: while the socket does not take it, nothing is
 * read, so that a monitor that does not read only stops itself.
 *
 * What cannot be told from the next message (a size that is none, a reply,
 * too many descriptors) ends the connection; all else is an error in the reply.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "server.h"

PVHCA_CALLS(pvhca_server_calls, SCMP_SYS(accept4), SCMP_SYS(recvmsg),
            SCMP_SYS(sendto), SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(poll));

/* Messages in one go, before others have their turn. */
#define PVHCA_SERVER_BATCH 16

void pvhca_source_clear(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_source_unref(*source);
        *source = NULL;
    }
}

GSource *pvhca_source_add(int fd, GIOCondition condition,
                          GUnixFDSourceFunc function, void *opaque)
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(function), opaque, NULL);
    g_source_attach(source, NULL);
    return source;
}

/* Messages in */

static void pvhca_server_close_fds(PvhcaCommand *c)
{
    for (int i = 0; i < c->num_fds; i++) {
        if (c->fds[i] >= 0) {
            close(c->fds[i]);
        }
    }
    c->num_fds = 0;
}

/* Keep the descriptors of @msg; false, and none is, if there are too many. */
static bool pvhca_server_keep_fds(PvhcaCommand *c, struct msghdr *msg)
{
    bool fits = !(msg->msg_flags & MSG_CTRUNC);
    struct cmsghdr *cmsg;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        int num, fd;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        num = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (int i = 0; i < num; i++) {
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (c->num_fds < PVHCA_MSG_MAX_FDS) {
                c->fds[c->num_fds++] = fd;
            } else {
                close(fd);
                fits = false;
            }
        }
    }
    return fits;
}

/*
 * Read up to @size bytes.  Returns how many; 0: none now; -1: the connection
 * is at its end.
 */
static ssize_t pvhca_server_recv(PvhcaMonitor *m, void *to, size_t size)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(PVHCA_MSG_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { to, size };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(m->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    if (!pvhca_server_keep_fds(&m->in, &msg)) {
        pvhca_log("the monitor sent more than %d descriptors in a message",
                  PVHCA_MSG_MAX_FDS);
        return -1;
    }
    return n ? n : -1;
}

/* Whether a header begins a message that can be read. */
static bool pvhca_server_check_header(const struct vfio_user_header *header)
{
    if (header->size < sizeof(*header) ||
        header->size > sizeof(*header) + PVHCA_MSG_MAX_PAYLOAD) {
        pvhca_log("the monitor sent a message of %u bytes", header->size);
        return false;
    }
    if ((header->flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND) {
        pvhca_log("the monitor sent a message that is no command");
        return false;
    }
    return true;
}

/* What gathering a message comes to. */
enum {
    PVHCA_GATHER_GONE = -1, /* the connection is at its end */
    PVHCA_GATHER_MORE,      /* not yet complete */
    PVHCA_GATHER_DONE,
    PVHCA_GATHER_NONSENSE, /* answered, and then the end */
};

static int pvhca_server_gather(PvhcaMonitor *m)
{
    struct vfio_user_header *header = &m->in.header;
    ssize_t n;

    if (m->received < sizeof(*header)) {
        n = pvhca_server_recv(m, (uint8_t *)header + m->received,
                              sizeof(*header) - m->received);
        if (n <= 0) {
            return n ? PVHCA_GATHER_GONE : PVHCA_GATHER_MORE;
        }
        m->received += n;
        if (m->received < sizeof(*header)) {
            return PVHCA_GATHER_MORE;
        }
        if (!pvhca_server_check_header(header)) {
            return PVHCA_GATHER_NONSENSE;
        }
    }
    if (m->received < header->size) {
        n = pvhca_server_recv(m, m->in.payload + m->received - sizeof(*header),
                              header->size - m->received);
        if (n <= 0) {
            return n ? PVHCA_GATHER_GONE : PVHCA_GATHER_MORE;
        }
        m->received += n;
    }
    return m->received == header->size ? PVHCA_GATHER_DONE : PVHCA_GATHER_MORE;
}

/* Replies out */

static gboolean pvhca_server_writable(int fd, GIOCondition condition,
                                      void *opaque);

/* Send what the socket takes; false if the connection is at its end. */
static bool pvhca_server_flush(PvhcaServer *s)
{
    PvhcaMonitor *m = &s->monitor;
    const uint8_t *bytes = (const uint8_t *)&m->out;

    while (m->sent < m->out.header.size) {
        ssize_t n = send(m->fd, bytes + m->sent, m->out.header.size - m->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            if (!m->writable) {
                pvhca_source_clear(&m->readable);
                m->writable =
                    pvhca_source_add(m->fd, G_IO_OUT, pvhca_server_writable, s);
            }
            return true;
        }
        if (n < 0) {
            return false;
        }
        m->sent += n;
    }
    return true;
}

static bool pvhca_server_reply(PvhcaServer *s, int error)
{
    PvhcaMonitor *m = &s->monitor;

    if (m->in.header.flags & VFIO_USER_NO_REPLY) {
        return true;
    }
    m->out.header = (struct vfio_user_header){
        .id = m->in.header.id,
        .command = m->in.header.command,
        .size = sizeof(m->out.header) + (error ? 0 : m->out.size),
        .flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0),
        .error = error,
    };
    m->sent = 0;
    return pvhca_server_flush(s);
}

/* One message, if there is one.  1: go on; 0: wait; -1: the end. */
static int pvhca_server_serve(PvhcaServer *s)
{
    PvhcaMonitor *m = &s->monitor;
    int error, ready = pvhca_server_gather(m);
    bool drop;

    switch (ready) {
    case PVHCA_GATHER_GONE:
        return -1;
    case PVHCA_GATHER_MORE:
        return 0;
    case PVHCA_GATHER_NONSENSE:
        pvhca_server_reply(s, EINVAL);
        return -1;
    }
    m->received = 0;
    m->in.size = m->in.header.size - sizeof(m->in.header);
    error = pvhca_commands_handle(s, &m->in, &m->out, &drop);
    pvhca_server_close_fds(&m->in);
    if (!pvhca_server_reply(s, error) || drop) {
        return -1;
    }
    return m->writable ? 0 : 1;
}

/* The monitor */

void pvhca_server_drop(PvhcaServer *s)
{
    PvhcaMonitor *m = &s->monitor;

    pvhca_source_clear(&m->readable);
    pvhca_source_clear(&m->writable);
    if (m->fd >= 0) {
        close(m->fd);
        m->fd = -1;
    }
    pvhca_server_close_fds(&m->in);
    m->received = 0;
    m->greeted = false;
    /* First, so that pvhcad ends the session and nothing more is sent. */
    pvhca_link_stop(s);
    pvhca_irqs_disable(s);
    pvhca_irqs_clear(s);
    pvhca_dma_unmap_all(s);
    pvhca_pci_reset(s);
    pvhca_device_reset(&s->device);
}

static gboolean pvhca_server_readable(int fd, GIOCondition condition,
                                      void *opaque)
{
    PvhcaServer *s = opaque;

    (void)fd;
    (void)condition;
    for (int i = 0; i < PVHCA_SERVER_BATCH; i++) {
        int ret = pvhca_server_serve(s);

        if (ret < 0) {
            pvhca_log("the monitor is gone");
            pvhca_server_drop(s);
            break;
        }
        if (ret == 0) {
            break;
        }
    }
    return G_SOURCE_CONTINUE;
}

static gboolean pvhca_server_writable(int fd, GIOCondition condition,
                                      void *opaque)
{
    PvhcaServer *s = opaque;
    PvhcaMonitor *m = &s->monitor;

    (void)fd;
    (void)condition;
    if (!pvhca_server_flush(s)) {
        pvhca_log("the monitor is gone");
        pvhca_server_drop(s);
    } else if (m->sent == m->out.header.size) {
        pvhca_source_clear(&m->writable);
        m->readable =
            pvhca_source_add(m->fd, G_IO_IN, pvhca_server_readable, s);
    }
    return G_SOURCE_CONTINUE;
}

void pvhca_server_adopt(PvhcaServer *s, int fd)
{
    s->monitor.fd = fd;
    s->monitor.readable =
        pvhca_source_add(fd, G_IO_IN, pvhca_server_readable, s);
}

/* Whether the monitor has closed its end, which the main loop may yet find. */
static bool pvhca_server_has_gone(const PvhcaMonitor *m)
{
    struct pollfd pfd = { .fd = m->fd, .events = POLLRDHUP };

    return poll(&pfd, 1, 0) == 1;
}

static gboolean pvhca_server_accept(int fd, GIOCondition condition,
                                    void *opaque)
{
    PvhcaServer *s = opaque;
    PvhcaMonitor *m = &s->monitor;
    int monitor = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)condition;
    if (monitor < 0) {
        return G_SOURCE_CONTINUE;
    }
    if (m->fd >= 0 && pvhca_server_has_gone(m)) {
        pvhca_log("the monitor is gone");
        pvhca_server_drop(s);
    }
    if (m->fd >= 0) {
        pvhca_log("a second monitor was turned away: one server is for one "
                  "device of one virtual machine");
        close(monitor);
        return G_SOURCE_CONTINUE;
    }
    pvhca_log("a monitor has connected");
    pvhca_server_adopt(s, monitor);
    return G_SOURCE_CONTINUE;
}

/* Life */

static bool pvhca_server_init_doorbells(PvhcaIdentity *identity)
{
    identity->admin_db = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (identity->admin_db < 0) {
        return false;
    }
    for (unsigned i = 0; i < identity->num_doorbells; i++) {
        identity->data_db[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (identity->data_db[i] < 0) {
            return false;
        }
    }
    return true;
}

bool pvhca_server_init(PvhcaServer *s)
{
    PvhcaIdentity *identity = &s->device.identity;

    s->monitor.fd = -1;
    s->link.fd = -1;
    identity->admin_db = -1;
    for (unsigned i = 0; i < G_N_ELEMENTS(identity->data_db); i++) {
        identity->data_db[i] = -1;
    }
    if (!pvhca_irqs_init(s) || !pvhca_server_init_doorbells(identity)) {
        return false;
    }
    pvhca_pci_init(s);
    return true;
}

void pvhca_server_start(PvhcaServer *s, int listener)
{
    s->accept = pvhca_source_add(listener, G_IO_IN, pvhca_server_accept, s);
}

void pvhca_server_cleanup(PvhcaServer *s)
{
    PvhcaIdentity *identity = &s->device.identity;

    pvhca_source_clear(&s->accept);
    pvhca_server_drop(s);
    pvhca_irqs_cleanup(s);
    if (identity->admin_db >= 0) {
        close(identity->admin_db);
    }
    for (unsigned i = 0; i < identity->num_doorbells; i++) {
        if (identity->data_db[i] >= 0) {
            close(identity->data_db[i]);
        }
    }
    pvhca_device_cleanup(&s->device);
}
