/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: the socket that leads to pvhcad.
 *
 * Nothing here waits.  A connection that fails or ends is tried again every
 * PVHCA_LINK_RETRY_MS, as long as there is a monitor.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "calls.h"
#include "server.h"

PVHCA_CALLS(pvhca_link_calls, SCMP_SYS(connect), SCMP_SYS(sendmsg),
            SCMP_SYS(recvmsg), SCMP_SYS(shutdown), SCMP_SYS(close));
/* socket() and fcntl() are allowed with some arguments: sandbox.c */

#define PVHCA_LINK_RETRY_MS 200

static ssize_t pvhca_link_write(void *opaque, const void *bytes, size_t len,
                                const int *fds, int num_fds)
{
    PvhcaServer *s = opaque;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(PVHCA_LINK_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = { (void *)bytes, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (num_fds > 0) {
        struct cmsghdr *cmsg = &control.align;

        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, num_fds * sizeof(int));
    }
    return sendmsg(s->link.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static gboolean pvhca_link_writable(int fd, GIOCondition condition,
                                    void *opaque)
{
    PvhcaServer *s = opaque;

    (void)fd;
    (void)condition;
    pvhca_source_clear(&s->link.writable);
    pvhca_client_writable(&s->device.client);
    return G_SOURCE_CONTINUE;
}

static void pvhca_link_wait_writable(void *opaque, bool wanted)
{
    PvhcaServer *s = opaque;

    pvhca_source_clear(&s->link.writable);
    if (wanted) {
        s->link.writable =
            pvhca_source_add(s->link.fd, G_IO_OUT, pvhca_link_writable, s);
    }
}

/* The end is read by pvhca_link_readable(), not from inside of what called. */
static void pvhca_link_disconnect(void *opaque)
{
    PvhcaServer *s = opaque;

    shutdown(s->link.fd, SHUT_RDWR);
}

static void pvhca_link_warn(void *opaque, const char *text)
{
    (void)opaque;
    pvhca_log("%s", text);
}

const PvhcaTransport pvhca_link_transport = {
    .write = pvhca_link_write,
    .wait_writable = pvhca_link_wait_writable,
    .disconnect = pvhca_link_disconnect,
    .warn = pvhca_link_warn,
};

/* Bytes of pvhcad's; -1: the connection is at its end. */
static ssize_t pvhca_link_recv(PvhcaServer *s, uint8_t *to, size_t size)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { to, size };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(s->link.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *cmsg;
    int fd;

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET &&
        cmsg->cmsg_type == SCM_RIGHTS &&
        cmsg->cmsg_len >= CMSG_LEN(sizeof(fd))) {
        memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
        close(fd);
        pvhca_client_descriptor(&s->device.client);
        return 0;
    }
    return n ? n : -1;
}

static void pvhca_link_retry(PvhcaServer *s);

/* The connection has ended; another is tried later if it is wanted. */
static void pvhca_link_close(PvhcaServer *s)
{
    PvhcaSocket *link = &s->link;

    if (link->fd < 0) {
        return;
    }
    pvhca_source_clear(&link->readable);
    pvhca_client_closed(&s->device.client);
    pvhca_source_clear(&link->writable);
    close(link->fd);
    link->fd = -1;
    pvhca_link_retry(s);
}

static gboolean pvhca_link_readable(int fd, GIOCondition condition,
                                    void *opaque)
{
    PvhcaServer *s = opaque;
    uint8_t bytes[PVHCA_CLIENT_MESSAGE_MAX];
    size_t wanted = pvhca_client_wanted(&s->device.client);
    ssize_t n;

    (void)fd;
    (void)condition;
    /* Broken: what still comes is thrown away, up to the end. */
    n = pvhca_link_recv(s, bytes, wanted ? wanted : sizeof(bytes));
    if (n < 0) {
        pvhca_link_close(s);
    } else if (n > 0 && wanted) {
        pvhca_client_receive(&s->device.client, bytes, n);
    }
    return G_SOURCE_CONTINUE;
}

static void pvhca_link_absent(PvhcaServer *s)
{
    if (!s->link.told_absent) {
        pvhca_log("pvhcad cannot be reached at '%s' (%s): is it running, and "
                  "may this user write to its socket? Trying again",
                  s->link.name, strerror(errno));
        s->link.told_absent = true;
    }
    pvhca_link_retry(s);
}

static void pvhca_link_connect(PvhcaServer *s)
{
    PvhcaSocket *link = &s->link;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        pvhca_link_absent(s);
        return;
    }
    g_strlcpy(address.sun_path, link->name, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        pvhca_link_absent(s);
        close(fd);
        return;
    }
    link->told_absent = false;
    link->fd = fd;
    link->readable = pvhca_source_add(fd, G_IO_IN, pvhca_link_readable, s);
    pvhca_client_opened(&s->device.client);
}

static gboolean pvhca_link_retry_now(void *opaque)
{
    PvhcaServer *s = opaque;

    pvhca_source_clear(&s->link.retry);
    pvhca_link_connect(s);
    return G_SOURCE_CONTINUE;
}

static void pvhca_link_retry(PvhcaServer *s)
{
    PvhcaSocket *link = &s->link;

    if (!link->wanted || link->retry) {
        return;
    }
    link->retry = g_timeout_source_new(PVHCA_LINK_RETRY_MS);
    g_source_set_callback(link->retry, pvhca_link_retry_now, s, NULL);
    g_source_attach(link->retry, NULL);
}

void pvhca_link_start(PvhcaServer *s)
{
    s->link.wanted = true;
    s->link.told_absent = false;
    pvhca_link_connect(s);
}

void pvhca_link_stop(PvhcaServer *s)
{
    s->link.wanted = false;
    pvhca_source_clear(&s->link.retry);
    pvhca_link_close(s);
}
