/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: the character device that leads to pvhcad.
 *
 * Bytes and descriptors in and out, for the client (pvhca-client.h), which
 * knows what they mean.  CLOSED can be reported from inside any write.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "pvhca-internal.h"
#include "trace.h"

static ssize_t pvhca_link_write(void *opaque, const void *bytes, size_t len,
                                const int *fds, int num_fds)
{
    PvhcaState *s = opaque;
    int copy[PVHCA_LINK_MAX_FDS];

    memcpy(copy, fds, num_fds * sizeof(copy[0]));
    if (num_fds > 0 && qemu_chr_fe_set_msgfds(&s->chr, copy, num_fds) < 0) {
        errno = EPIPE;
        return -1;
    }
    return qemu_chr_fe_write(&s->chr, bytes, len);
}

static gboolean pvhca_link_writable(void *do_not_use, GIOCondition cond,
                                    void *opaque)
{
    PvhcaState *s = opaque;

    s->watch = 0;
    pvhca_client_writable(&s->device.client);
    return G_SOURCE_REMOVE;
}

static void pvhca_link_wait_writable(void *opaque, bool wanted)
{
    PvhcaState *s = opaque;

    if (wanted) {
        s->watch = qemu_chr_fe_add_watch(&s->chr, G_IO_OUT | G_IO_HUP,
                                         pvhca_link_writable, s);
    } else if (s->watch) {
        g_source_remove(s->watch);
        s->watch = 0;
    }
}

static void pvhca_link_disconnect(void *opaque)
{
    PvhcaState *s = opaque;

    qemu_chr_fe_disconnect(&s->chr);
}

static void pvhca_link_warn(void *opaque, const char *text)
{
    warn_report("pvhca: %s", text);
}

static void pvhca_link_trace(void *opaque, PvhcaTrace what, uint64_t a,
                             uint64_t b, uint64_t c)
{
    switch (what) {
    case PVHCA_TRACE_SEND:
        trace_pvhca_link_send(a, b, c);
        break;
    case PVHCA_TRACE_BLOCKED:
        trace_pvhca_link_blocked(a);
        break;
    case PVHCA_TRACE_RECEIVE:
        trace_pvhca_link_receive(a, b);
        break;
    case PVHCA_TRACE_STALE_REPLY:
        trace_pvhca_link_stale_reply(a, b);
        break;
    case PVHCA_TRACE_STATUS:
        trace_pvhca_status(a, b, c);
        break;
    }
}

const PvhcaTransport pvhca_link_transport = {
    .write = pvhca_link_write,
    .wait_writable = pvhca_link_wait_writable,
    .disconnect = pvhca_link_disconnect,
    .warn = pvhca_link_warn,
    .trace = pvhca_link_trace,
};

static int pvhca_link_can_read(void *opaque)
{
    PvhcaState *s = opaque;

    return pvhca_client_wanted(&s->device.client);
}

static void pvhca_link_read(void *opaque, const uint8_t *buf, int size)
{
    PvhcaState *s = opaque;
    int fd;

    if (qemu_chr_fe_get_msgfds(&s->chr, &fd, 1) > 0) {
        close(fd);
        pvhca_client_descriptor(&s->device.client);
        return;
    }
    pvhca_client_receive(&s->device.client, buf, size);
}

static void pvhca_link_event(void *opaque, QEMUChrEvent event)
{
    PvhcaState *s = opaque;

    trace_pvhca_link_event(event);
    switch (event) {
    case CHR_EVENT_OPENED:
        pvhca_client_opened(&s->device.client);
        break;
    case CHR_EVENT_CLOSED:
        pvhca_client_closed(&s->device.client);
        break;
    case CHR_EVENT_BREAK:
    case CHR_EVENT_MUX_IN:
    case CHR_EVENT_MUX_OUT:
        break;
    }
}

bool pvhca_link_check(PvhcaState *s, Error **errp)
{
    if (!qemu_chr_fe_backend_connected(&s->chr)) {
        error_setg(errp,
                   "pvhca: 'chardev' is missing: add -chardev "
                   "socket,id=ID,path=SOCKET,reconnect-ms=1000 with the path "
                   "of pvhcad's socket, and chardev=ID");
        return false;
    }
    if (!qemu_chr_has_feature(qemu_chr_fe_get_driver(&s->chr),
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
    qemu_chr_fe_set_handlers(&s->chr, pvhca_link_can_read, pvhca_link_read,
                             pvhca_link_event, NULL, s, NULL, true);
}

void pvhca_link_cleanup(PvhcaState *s)
{
    bool open = s->device.client.open;

    qemu_chr_fe_set_handlers(&s->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    pvhca_client_stop(&s->device.client);
    /* The session ends now, not when the character device is removed. */
    if (open) {
        qemu_chr_fe_disconnect(&s->chr);
    }
    qemu_chr_fe_deinit(&s->chr, false);
}
