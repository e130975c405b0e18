/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: interrupts.
 *
 * While the monitor listens to a vector and does not mask it, pvhcad raises the
 * monitor's eventfd itself: nobody is woken in between, and the guest can be told
 * when we are no more.  Else pvhcad has our eventfd, in which the interrupt
 * waits: that is the pending bit.
 *
 * We listen to our eventfd as well, and pass on what comes there: what was
 * pending, what we or the monitor raise, and all of a pvhcad that takes a
 * vector's eventfd only once (minor version 0 of the link).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "server.h"

PVHCA_CALLS(pvhca_irqs_calls, SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(poll),
            SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(close));

static gboolean pvhca_irqs_deliver(int fd, GIOCondition condition, void *opaque)
{
    PvhcaVector *v = opaque;
    uint64_t count;

    (void)condition;
    if (read(fd, &count, sizeof(count)) == sizeof(count)) {
        count = 1;
        /* An eventfd that is full is raised already. */
        (void)!write(v->trigger, &count, sizeof(count));
    }
    return G_SOURCE_CONTINUE;
}

/* Whether the monitor wants to know of this vector. */
static bool pvhca_irqs_listened(const PvhcaVector *v)
{
    return v->trigger >= 0 && !v->masked;
}

/*
 * Listen to our eventfd exactly while there is somebody to tell; pvhcad tells
 * him, or us.
 */
static void pvhca_irqs_update(PvhcaServer *s, unsigned vector)
{
    PvhcaVector *v = &s->vectors[vector];

    pvhca_client_set_vector(&s->device.client, vector,
                            pvhca_irqs_listened(v) ? v->trigger : v->event);
    if (!pvhca_irqs_listened(v)) {
        pvhca_source_clear(&v->source);
    } else if (!v->source) {
        v->source = pvhca_source_add(v->event, G_IO_IN, pvhca_irqs_deliver, v);
    }
}

/* Takes @fd over; -1: none. */
static void pvhca_irqs_set_trigger(PvhcaServer *s, unsigned vector, int fd)
{
    PvhcaVector *v = &s->vectors[vector];
    int old = v->trigger;

    if (old < 0 && fd < 0) {
        return;
    }
    v->trigger = fd;
    pvhca_irqs_update(s, vector);
    if (old >= 0) {
        close(old);
    }
}

void pvhca_irqs_raise(PvhcaServer *s, unsigned vector)
{
    uint64_t one = 1;

    (void)!write(s->vectors[vector].event, &one, sizeof(one));
}

void pvhca_irqs_raise_config(void *opaque)
{
    PvhcaServer *s = opaque;
    PvhcaVector *v = &s->vectors[PVHCA_VECTOR_CONFIG];

    /* As long as MSI-X is off an interrupt is lost. */
    if (v->trigger >= 0 || v->masked) {
        pvhca_irqs_raise(s, PVHCA_VECTOR_CONFIG);
    }
}

bool pvhca_irqs_pending(PvhcaServer *s, unsigned vector)
{
    PvhcaVector *v = &s->vectors[vector];
    struct pollfd pfd = { .fd = v->event, .events = POLLIN };

    return !pvhca_irqs_listened(v) && poll(&pfd, 1, 0) == 1;
}

void pvhca_irqs_disable(PvhcaServer *s)
{
    for (unsigned i = 0; i < s->device.identity.num_vectors; i++) {
        s->vectors[i].masked = false;
        pvhca_irqs_set_trigger(s, i, -1);
    }
}

void pvhca_irqs_clear(PvhcaServer *s)
{
    uint64_t count;

    for (unsigned i = 0; i < s->device.identity.num_vectors; i++) {
        (void)!read(s->vectors[i].event, &count, sizeof(count));
    }
}

/* SET_IRQS */

#define PVHCA_IRQS_DATA   VFIO_IRQ_SET_DATA_TYPE_MASK
#define PVHCA_IRQS_ACTION VFIO_IRQ_SET_ACTION_TYPE_MASK

/*
 * An eventfd, as far as one can tell: what is a file, a pipe or a socket could
 * be written to where nobody wants it.  Ours will not wait for it.
 */
static bool pvhca_irqs_take_eventfd(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !fstat(fd, &st) && !(st.st_mode & S_IFMT) &&
        !fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static int pvhca_irqs_set_eventfds(PvhcaServer *s,
                                   const struct vfio_user_irq_set *set,
                                   int *fds, int num_fds)
{
    if ((set->flags & PVHCA_IRQS_ACTION) != VFIO_IRQ_SET_ACTION_TRIGGER) {
        return ENOTSUP;
    }
    if (num_fds && (uint32_t)num_fds != set->count) {
        return EINVAL;
    }
    for (int i = 0; i < num_fds; i++) {
        if (!pvhca_irqs_take_eventfd(fds[i])) {
            return EINVAL;
        }
    }
    for (uint32_t i = 0; i < set->count; i++) {
        pvhca_irqs_set_trigger(s, set->start + i, num_fds ? fds[i] : -1);
        if (num_fds) {
            fds[i] = -1;
        }
    }
    return 0;
}

/* Act on the vectors of which the boolean is true, on all if there are none. */
static void pvhca_irqs_act(PvhcaServer *s, const struct vfio_user_irq_set *set,
                           const uint8_t *booleans)
{
    for (uint32_t i = 0; i < set->count; i++) {
        unsigned vector = set->start + i;
        PvhcaVector *v = &s->vectors[vector];

        if (booleans && !booleans[i]) {
            continue;
        }
        switch (set->flags & PVHCA_IRQS_ACTION) {
        case VFIO_IRQ_SET_ACTION_TRIGGER:
            pvhca_irqs_raise(s, vector);
            break;
        case VFIO_IRQ_SET_ACTION_MASK:
            v->masked = true;
            pvhca_irqs_update(s, vector);
            break;
        case VFIO_IRQ_SET_ACTION_UNMASK:
            v->masked = false;
            pvhca_irqs_update(s, vector);
            break;
        }
    }
}

static bool pvhca_irqs_is_one(uint32_t flags)
{
    return flags && !(flags & (flags - 1));
}

int pvhca_irqs_set(PvhcaServer *s, const struct vfio_user_irq_set *set,
                   const uint8_t *booleans, int *fds, int num_fds)
{
    uint32_t data = set->flags & PVHCA_IRQS_DATA;
    uint32_t action = set->flags & PVHCA_IRQS_ACTION;
    uint32_t num = set->index == VFIO_PCI_MSIX_IRQ_INDEX ?
        s->device.identity.num_vectors :
        0;

    if ((set->flags & ~(PVHCA_IRQS_DATA | PVHCA_IRQS_ACTION)) ||
        !pvhca_irqs_is_one(data) || !pvhca_irqs_is_one(action) ||
        set->index >= PVHCA_NUM_IRQS || set->start > num ||
        set->count > num - set->start) {
        return EINVAL;
    }
    if (set->count == 0) {
        /* "Off": the one thing that may be said of no interrupt. */
        if (set->start || data != VFIO_IRQ_SET_DATA_NONE ||
            action != VFIO_IRQ_SET_ACTION_TRIGGER || num_fds) {
            return EINVAL;
        }
        if (num) {
            pvhca_irqs_disable(s);
        }
        return 0;
    }
    if (data == VFIO_IRQ_SET_DATA_EVENTFD) {
        return pvhca_irqs_set_eventfds(s, set, fds, num_fds);
    }
    if (num_fds) {
        return EINVAL;
    }
    pvhca_irqs_act(s, set, booleans);
    return 0;
}

/* Life */

bool pvhca_irqs_init(PvhcaServer *s)
{
    PvhcaIdentity *identity = &s->device.identity;

    for (unsigned i = 0; i < G_N_ELEMENTS(s->vectors); i++) {
        s->vectors[i] = (PvhcaVector){ .event = -1, .trigger = -1 };
    }
    for (unsigned i = 0; i < identity->num_vectors; i++) {
        s->vectors[i].event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->vectors[i].event < 0) {
            return false;
        }
        identity->vectors[i] = s->vectors[i].event;
    }
    return true;
}

void pvhca_irqs_cleanup(PvhcaServer *s)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(s->vectors); i++) {
        PvhcaVector *v = &s->vectors[i];

        pvhca_source_clear(&v->source);
        if (v->trigger >= 0) {
            close(v->trigger);
        }
        if (v->event >= 0) {
            close(v->event);
        }
    }
}
