// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Event queues: rings in guest memory that pvhcad writes and the interrupt
 * handlers here read.
 *
 * The async event queue comes with the session and shares PVHCA_VECTOR_ADMIN
 * with the admin queue. Completion event queues, one per completion vector, are
 * made by command, each with a vector of its own.
 *
 * Events name objects by handle. An object leaves its xarray after its destroy
 * command completed, and then waits for the running handlers (for completion events
 * synchronize_irq(), for async events pvhca_dev_sync_admin()); so a handler may use
 * what it finds there. And since completions are read first and async events then,
 * with pvhca_dev.admin_lock held over both, that wait also means that all events
 * which pvhcad wrote before the completion have been read: none is left that could
 * hit a new object with the same handle.
 */

#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/log2.h>

#include "pvhca.h"
#include "pvhca_com_cmd.h"

#define PVHCA_AEQ_LOG_ENTRIES 8
#define PVHCA_CEQ_MIN_LOG     6

/* Consumed events are given back to pvhcad at least this often. */
#define PVHCA_EQ_BATCH 64

static_assert(sizeof(struct pvhca_eq_header) == PVHCA_EQ_HEADER_SIZE);

static int pvhca_eq_alloc(struct pvhca_dev *dev, struct pvhca_eq *eq, u8 log_entries,
			  size_t entry_size)
{
	eq->dev = dev;
	eq->log_entries = log_entries;
	eq->size = PVHCA_EQ_HEADER_SIZE + (entry_size << log_entries);
	eq->header = dma_alloc_coherent(pvhca_to_dma_device(dev), eq->size, &eq->dma,
					GFP_KERNEL | __GFP_NOWARN);
	return eq->header ? 0 : -ENOMEM;
}

static void pvhca_eq_free(struct pvhca_eq *eq)
{
	dma_free_coherent(pvhca_to_dma_device(eq->dev), eq->size, eq->header, eq->dma);
}

static int pvhca_eq_request_irq(struct pvhca_eq *eq, int vector, irq_handler_t handler)
{
	struct pci_dev *pdev = eq->dev->pci->pdev;
	int irq = pci_irq_vector(pdev, vector);
	int err;

	if (irq < 0)
		return irq;
	snprintf(eq->name, sizeof(eq->name), PVHCA_DRV_NAME "-%d@%s", vector, pci_name(pdev));
	err = request_irq(irq, handler, 0, eq->name, eq);
	if (!err)
		eq->irq = irq;
	return err;
}

static void pvhca_eq_free_irq(struct pvhca_eq *eq)
{
	irq_update_affinity_hint(eq->irq, NULL);
	free_irq(eq->irq, eq);
	eq->irq = 0;
}

/* Was entry ci written, going by the phase bit of its flags? */
static bool pvhca_eq_has_entry(const struct pvhca_eq *eq, const __le32 *flags)
{
	bool phase;

	/* With a new phase, the rest of the entry is new. */
	phase = le32_to_cpu(smp_load_acquire(flags)) & PVHCA_EQE_F_PHASE;
	return phase == !(eq->ci >> eq->log_entries & 1);
}

static void pvhca_eq_publish_ci(struct pvhca_eq *eq)
{
	/* Entries were read before they are given back. */
	smp_store_release(&eq->header->ci, cpu_to_le32(eq->ci));
}

static void pvhca_eq_advance(struct pvhca_eq *eq)
{
	if (++eq->ci % PVHCA_EQ_BATCH == 0)
		pvhca_eq_publish_ci(eq);
}

/* ------------------------------- async events ------------------------------ */

static void pvhca_aeq_handle(struct pvhca_dev *dev, u32 event, u32 object)
{
	pvhca_stat_inc(dev, PVHCA_STAT_ASYNC_EVENTS);
	switch (event) {
	case PVHCA_EVENT_CQ_ERR:
		pvhca_cq_async_event(dev, object, IB_EVENT_CQ_ERR);
		break;
	case PVHCA_EVENT_QP_FATAL:
	case PVHCA_EVENT_QP_REQ_ERR:
	case PVHCA_EVENT_QP_ACCESS_ERR:
	case PVHCA_EVENT_COMM_EST:
	case PVHCA_EVENT_SQ_DRAINED:
	case PVHCA_EVENT_PATH_MIG:
	case PVHCA_EVENT_PATH_MIG_ERR:
	case PVHCA_EVENT_QP_LAST_WQE_REACHED:
		/* The numbers are those of enum ib_event_type: asserted below. */
		pvhca_qp_async_event(dev, object, (enum ib_event_type)event);
		break;
	case PVHCA_EVENT_SRQ_ERR:
	case PVHCA_EVENT_SRQ_LIMIT_REACHED:
		pvhca_srq_async_event(dev, object, (enum ib_event_type)event);
		break;
	case PVHCA_EVENT_DEVICE_FATAL:
		pvhca_dev_kill(dev, "the host device failed");
		break;
	case PVHCA_EVENT_PORT_ACTIVE:
	case PVHCA_EVENT_PORT_ERR:
	case PVHCA_EVENT_LID_CHANGE:
	case PVHCA_EVENT_PKEY_CHANGE:
	case PVHCA_EVENT_SM_CHANGE:
	case PVHCA_EVENT_CLIENT_REREGISTER:
	case PVHCA_EVENT_GID_CHANGE:
	case PVHCA_EVENT_PORT_ATTR:
		pvhca_port_async_event(dev, event);
		break;
	default:
		dev_dbg(pvhca_to_dma_device(dev), "async event %u of %u is not known\n", event,
			object);
	}
}

#define PVHCA_SAME_EVENT(name) static_assert((int)PVHCA_EVENT_##name == (int)IB_EVENT_##name)
PVHCA_SAME_EVENT(QP_FATAL);
PVHCA_SAME_EVENT(QP_REQ_ERR);
PVHCA_SAME_EVENT(QP_ACCESS_ERR);
PVHCA_SAME_EVENT(COMM_EST);
PVHCA_SAME_EVENT(SQ_DRAINED);
PVHCA_SAME_EVENT(PATH_MIG);
PVHCA_SAME_EVENT(PATH_MIG_ERR);
PVHCA_SAME_EVENT(QP_LAST_WQE_REACHED);
PVHCA_SAME_EVENT(SRQ_ERR);
PVHCA_SAME_EVENT(SRQ_LIMIT_REACHED);
PVHCA_SAME_EVENT(PORT_ACTIVE);
PVHCA_SAME_EVENT(PORT_ERR);
PVHCA_SAME_EVENT(LID_CHANGE);
PVHCA_SAME_EVENT(PKEY_CHANGE);
PVHCA_SAME_EVENT(SM_CHANGE);
PVHCA_SAME_EVENT(GID_CHANGE);
PVHCA_SAME_EVENT(CLIENT_REREGISTER);

static void pvhca_aeq_drain(struct pvhca_eq *eq)
{
	const struct pvhca_aeqe *entries = (void *)eq->header + PVHCA_EQ_HEADER_SIZE;
	u32 mask = (1u << eq->log_entries) - 1;
	const struct pvhca_aeqe *entry;

	while (!pvhca_dev_is_dead(eq->dev)) {
		entry = &entries[eq->ci & mask];
		if (!pvhca_eq_has_entry(eq, &entry->flags))
			break;
		pvhca_aeq_handle(eq->dev, le32_to_cpu(entry->event), le32_to_cpu(entry->object));
		pvhca_eq_advance(eq);
	}
	pvhca_eq_publish_ci(eq);
}

/**
 * pvhca_eq_serve_admin - read the admin completions and the async events that are there
 * @dev: session
 *
 * Context: any, for the most part the admin interrupt.
 */
void pvhca_eq_serve_admin(struct pvhca_dev *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->admin_lock, flags);
	/* In this order: see above. */
	pvhca_com_reap(&dev->com);
	pvhca_aeq_drain(&dev->aeq);
	spin_unlock_irqrestore(&dev->admin_lock, flags);
}

static irqreturn_t pvhca_admin_irq(int irq, void *data)
{
	struct pvhca_eq *eq = data;

	pvhca_eq_serve_admin(eq->dev);
	return IRQ_HANDLED;
}

/**
 * pvhca_eq_create_async - make the async event queue, and serve the admin
 *			   interrupt
 * @dev: session, with its admin area, which is told of the queue
 *
 * Return: 0 or a negative errno.
 */
int pvhca_eq_create_async(struct pvhca_dev *dev)
{
	struct pvhca_eq *eq = &dev->aeq;
	int err;

	err = pvhca_eq_alloc(dev, eq, PVHCA_AEQ_LOG_ENTRIES, sizeof(struct pvhca_aeqe));
	if (err)
		return err;
	dev->com.area->aeq_addr = cpu_to_le64(eq->dma);
	dev->com.area->aeq_log_entries = eq->log_entries;

	err = pvhca_eq_request_irq(eq, PVHCA_VECTOR_ADMIN, pvhca_admin_irq);
	if (err)
		pvhca_eq_free(eq);
	return err;
}

/**
 * pvhca_eq_destroy_async - undo pvhca_eq_create_async()
 * @dev: dead session; its memory is freed if pvhcad has let go of it
 */
void pvhca_eq_destroy_async(struct pvhca_dev *dev)
{
	pvhca_eq_free_irq(&dev->aeq);
	if (pvhca_dev_may_free(dev))
		pvhca_eq_free(&dev->aeq);
}

/* ----------------------------- completion events --------------------------- */

static irqreturn_t pvhca_ceq_irq(int irq, void *data)
{
	struct pvhca_eq *eq = data;
	const struct pvhca_ceqe *entries = (void *)eq->header + PVHCA_EQ_HEADER_SIZE;
	u32 mask = (1u << eq->log_entries) - 1;
	const struct pvhca_ceqe *entry;

	while (!pvhca_dev_is_dead(eq->dev)) {
		entry = &entries[eq->ci & mask];
		if (!pvhca_eq_has_entry(eq, &entry->flags))
			break;
		pvhca_stat_inc(eq->dev, PVHCA_STAT_COMP_EVENTS);
		pvhca_cq_comp_event(eq->dev, le32_to_cpu(entry->cq_handle));
		pvhca_eq_advance(eq);
	}
	pvhca_eq_publish_ci(eq);
	return IRQ_HANDLED;
}

/*
 * Room for an event of every CQ. pvhcad waits while a queue is full, so that a
 * smaller one, where memory is scarce, costs time only.
 */
static int pvhca_ceq_alloc(struct pvhca_dev *dev, struct pvhca_eq *eq)
{
	u32 max_cq = clamp_t(u32, le32_to_cpu(dev->attr.max_cq), 1, 1u << PVHCA_EQ_MAX_LOG_ENTRIES);
	int log = max_t(int, order_base_2(max_cq), PVHCA_CEQ_MIN_LOG);
	int err;

	do {
		err = pvhca_eq_alloc(dev, eq, log, sizeof(struct pvhca_ceqe));
	} while (err && --log >= PVHCA_CEQ_MIN_LOG);
	return err;
}

static int pvhca_ceq_create(struct pvhca_dev *dev, struct pvhca_eq *eq, int index)
{
	int vector = PVHCA_VECTOR_COMP + index;
	unsigned int cpu;
	int err;

	err = pvhca_ceq_alloc(dev, eq);
	if (err)
		return err;
	err = pvhca_eq_request_irq(eq, vector, pvhca_ceq_irq);
	if (err)
		goto err_free;
	cpu = cpumask_local_spread(index, dev_to_node(pvhca_to_dma_device(dev)));
	irq_set_affinity_and_hint(eq->irq, cpumask_of(cpu));
	err = pvhca_com_create_ceq(dev, eq->dma, eq->log_entries, vector, &eq->handle);
	if (err)
		goto err_free_irq;
	return 0;

err_free_irq:
	pvhca_eq_free_irq(eq);
err_free:
	if (pvhca_dev_may_free(dev))
		pvhca_eq_free(eq);
	return err;
}

/**
 * pvhca_eq_create_comp - make a completion event queue for each vector left
 * @dev: session, whose attributes are known
 *
 * After a failure pvhca_eq_destroy_comp() undoes what was made.
 *
 * Return: 0 or a negative errno.
 */
int pvhca_eq_create_comp(struct pvhca_dev *dev)
{
	int num = dev->pci->num_vectors - PVHCA_VECTOR_COMP;
	int err;

	dev->ceqs = kcalloc(num, sizeof(*dev->ceqs), GFP_KERNEL);
	if (!dev->ceqs)
		return -ENOMEM;
	while (dev->num_ceqs < num) {
		err = pvhca_ceq_create(dev, &dev->ceqs[dev->num_ceqs], dev->num_ceqs);
		if (err)
			return err;
		dev->num_ceqs++;
	}
	return 0;
}

/**
 * pvhca_eq_destroy_comp - undo pvhca_eq_create_comp()
 * @dev: dead session; its memory is freed if pvhcad has let go of it
 */
void pvhca_eq_destroy_comp(struct pvhca_dev *dev)
{
	bool may_free = pvhca_dev_may_free(dev);

	while (dev->num_ceqs) {
		struct pvhca_eq *eq = &dev->ceqs[--dev->num_ceqs];

		pvhca_eq_free_irq(eq);
		if (may_free)
			pvhca_eq_free(eq);
	}
	kfree(dev->ceqs);
	dev->ceqs = NULL;
}
