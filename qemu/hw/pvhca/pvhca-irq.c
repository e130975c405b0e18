/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: MSI-X vectors and doorbells as eventfds.
 *
 * Theory of operation: pvhcad raises a vector by writing its eventfd and waits
 * on the eventfds of doorbells; QEMU is on neither path where KVM can take its
 * place.
 *
 * A vector's eventfd has one listener at a time.  With KVM's irqfd: while
 * MSI-X is on, KVM for vectors that are not masked and nobody for those that
 * are, so that an interrupt waits in the eventfd; the poll callback turns it
 * into a pending bit when the guest looks, and KVM looks at the eventfd when it
 * is attached again, so that none is lost.  Without irqfd (TCG): our main loop,
 * which leaves masking and the pending bit to msix_notify().
 *
 * Doorbells are ioeventfds of BAR 2; QEMU's memory core triggers them itself
 * where there is no KVM.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "pvhca-internal.h"
#include "trace.h"

/* The main loop's listener, where KVM does not listen. */
static void pvhca_irq_notify(EventNotifier *n)
{
    PvhcaVector *v = container_of(n, PvhcaVector, notifier);
    unsigned vector = v - v->s->vectors;

    if (!event_notifier_test_and_clear(n)) {
        return;
    }
    trace_pvhca_irq_notify(vector);
    msix_notify(PCI_DEVICE(v->s), vector);
}

static int pvhca_irq_attach(PvhcaState *s, unsigned vector, MSIMessage msg)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    PvhcaVector *v = &s->vectors[vector];
    int ret;

    if (v->virq < 0) {
        KVMRouteChange c = kvm_irqchip_begin_route_changes(kvm_state);

        ret = kvm_irqchip_add_msi_route(&c, vector, pdev);
        if (ret < 0) {
            return ret;
        }
        v->virq = ret;
        kvm_irqchip_commit_route_changes(&c);
    } else {
        ret = kvm_irqchip_update_msi_route(kvm_state, v->virq, msg, pdev);
        if (ret < 0) {
            return ret;
        }
        kvm_irqchip_commit_routes(kvm_state);
    }
    return kvm_irqchip_add_irqfd_notifier_gsi(kvm_state, &v->notifier, NULL,
                                              v->virq);
}

/* MSI-X callback: the vector is unmasked, or its message has changed. */
static int pvhca_irq_use(PCIDevice *pdev, unsigned vector, MSIMessage msg)
{
    PvhcaState *s = PVHCA(pdev);
    PvhcaVector *v = &s->vectors[vector];

    if (vector == PVHCA_VECTOR_CONFIG || v->irqfd) {
        return 0;
    }
    event_notifier_set_handler(&v->notifier, NULL);
    if (pvhca_irq_attach(s, vector, msg) < 0) {
        /* No room for a route: slower, but still an interrupt. */
        warn_report_once("pvhca: no irqfd for vector %u, using the main loop",
                         vector);
        event_notifier_set_handler(&v->notifier, pvhca_irq_notify);
    } else {
        v->irqfd = true;
    }
    trace_pvhca_irq_use(vector, v->virq);
    return 0;
}

/* MSI-X callback: the vector is masked.  Harmless if it was not in use. */
static void pvhca_irq_release(PCIDevice *pdev, unsigned vector)
{
    PvhcaState *s = PVHCA(pdev);
    PvhcaVector *v = &s->vectors[vector];

    if (vector == PVHCA_VECTOR_CONFIG) {
        return;
    }
    if (v->irqfd) {
        kvm_irqchip_remove_irqfd_notifier_gsi(kvm_state, &v->notifier, v->virq);
        v->irqfd = false;
    } else {
        event_notifier_set_handler(&v->notifier, NULL);
    }
    trace_pvhca_irq_release(vector);
}

/* MSI-X callback: the guest reads the pending bits of [start, end). */
static void pvhca_irq_poll(PCIDevice *pdev, unsigned start, unsigned end)
{
    PvhcaState *s = PVHCA(pdev);
    unsigned vector;

    for (vector = MAX(start, PVHCA_VECTOR_ADMIN);
         vector < MIN(end, s->num_vectors); vector++) {
        PvhcaVector *v = &s->vectors[vector];

        if (!v->irqfd && msix_is_masked(pdev, vector) &&
            event_notifier_test_and_clear(&v->notifier)) {
            msix_set_pending(pdev, vector);
        }
    }
}

static void pvhca_irq_set_handlers(PvhcaState *s, EventNotifierHandler *handler)
{
    unsigned vector;

    for (vector = PVHCA_VECTOR_ADMIN; vector < s->num_vectors; vector++) {
        event_notifier_set_handler(&s->vectors[vector].notifier, handler);
    }
}

static void pvhca_irq_disable_irqfd(PvhcaState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    unsigned vector;

    if (!s->irqfd) {
        return;
    }
    /*
     * This calls our release for nothing once MSI-X is off, and for some of
     * the vectors while it is on: release all of them ourselves.
     */
    msix_unset_vector_notifiers(pdev);
    for (vector = PVHCA_VECTOR_ADMIN; vector < s->num_vectors; vector++) {
        PvhcaVector *v = &s->vectors[vector];

        pvhca_irq_release(pdev, vector);
        if (v->virq >= 0) {
            kvm_irqchip_release_virq(kvm_state, v->virq);
            v->virq = -1;
        }
    }
    s->irqfd = false;
    trace_pvhca_irq_mode(false);
}

void pvhca_irq_update(PvhcaState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (!kvm_msi_via_irqfd_enabled() || s->irqfd == msix_enabled(pdev)) {
        return;
    }
    if (s->irqfd) {
        pvhca_irq_disable_irqfd(s);
        return;
    }
    pvhca_irq_set_handlers(s, NULL);
    if (msix_set_vector_notifiers(pdev, pvhca_irq_use, pvhca_irq_release,
                                  pvhca_irq_poll) < 0) {
        warn_report_once("pvhca: no vector notifiers, using the main loop");
        pvhca_irq_set_handlers(s, pvhca_irq_notify);
        return;
    }
    s->irqfd = true;
    trace_pvhca_irq_mode(true);
}

void pvhca_irq_reset(PvhcaState *s)
{
    unsigned vector;

    pvhca_irq_disable_irqfd(s);
    for (vector = PVHCA_VECTOR_ADMIN; vector < s->num_vectors; vector++) {
        event_notifier_test_and_clear(&s->vectors[vector].notifier);
    }
}

/* Undoes as much of pvhca_irq_init() as was done. */
static void pvhca_irq_close(PvhcaState *s, unsigned vectors, unsigned doorbells)
{
    while (doorbells > 0) {
        event_notifier_cleanup(&s->data_db[--doorbells]);
    }
    while (vectors > PVHCA_VECTOR_ADMIN) {
        event_notifier_cleanup(&s->vectors[--vectors].notifier);
    }
    g_free(s->data_db);
    s->data_db = NULL;
    g_free(s->vectors);
    s->vectors = NULL;
}

/* The descriptors that pvhcad gets. */
static void pvhca_irq_identify(PvhcaState *s)
{
    PvhcaIdentity *identity = &s->device.identity;

    identity->admin_db = event_notifier_get_fd(&s->admin_db);
    for (unsigned db = 0; db < s->num_doorbells; db++) {
        identity->data_db[db] = event_notifier_get_fd(&s->data_db[db]);
    }
    for (unsigned v = PVHCA_VECTOR_ADMIN; v < s->num_vectors; v++) {
        identity->vectors[v] = event_notifier_get_fd(&s->vectors[v].notifier);
    }
}

bool pvhca_irq_init(PvhcaState *s, Error **errp)
{
    unsigned vector, db = 0;
    int ret;

    s->vectors = g_new0(PvhcaVector, s->num_vectors);
    s->data_db = g_new0(EventNotifier, s->num_doorbells);

    for (vector = PVHCA_VECTOR_ADMIN; vector < s->num_vectors; vector++) {
        PvhcaVector *v = &s->vectors[vector];

        v->s = s;
        v->virq = -1;
        ret = event_notifier_init(&v->notifier, 0);
        if (ret < 0) {
            goto fail;
        }
    }
    for (db = 0; db < s->num_doorbells; db++) {
        ret = event_notifier_init(&s->data_db[db], 0);
        if (ret < 0) {
            goto fail;
        }
    }
    ret = event_notifier_init(&s->admin_db, 0);
    if (ret < 0) {
        goto fail;
    }

    for (db = 0; db < s->num_doorbells; db++) {
        memory_region_add_eventfd(&s->db_mr,
                                  PVHCA_DB_USER_WINDOW + db * PVHCA_DB_STRIDE,
                                  4, false, 0, &s->data_db[db]);
    }
    memory_region_add_eventfd(&s->db_mr, PVHCA_DB_ADMIN, 4, false, 0,
                              &s->admin_db);
    pvhca_irq_identify(s);
    if (!kvm_msi_via_irqfd_enabled()) {
        pvhca_irq_set_handlers(s, pvhca_irq_notify);
    }
    return true;

fail:
    error_setg_errno(errp, -ret, "pvhca: no eventfd");
    pvhca_irq_close(s, vector, db);
    return false;
}

void pvhca_irq_cleanup(PvhcaState *s)
{
    unsigned db;

    pvhca_irq_disable_irqfd(s);
    pvhca_irq_set_handlers(s, NULL);
    memory_region_del_eventfd(&s->db_mr, PVHCA_DB_ADMIN, 4, false, 0,
                              &s->admin_db);
    for (db = 0; db < s->num_doorbells; db++) {
        memory_region_del_eventfd(&s->db_mr,
                                  PVHCA_DB_USER_WINDOW + db * PVHCA_DB_STRIDE,
                                  4, false, 0, &s->data_db[db]);
    }
    event_notifier_cleanup(&s->admin_db);
    pvhca_irq_close(s, s->num_vectors, s->num_doorbells);
}
