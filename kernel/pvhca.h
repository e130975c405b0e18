/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * pvhca: guest driver of a paravirtual RDMA adapter.
 *
 * Theory of operation
 *
 * The adapter carries the guest's verbs calls to a process on the host, pvhcad.
 * pvhcad makes them on a real verbs device or serves them itself. This driver is the
 * control path only: it pins memory, keeps the uverbs objects and sends commands. The
 * provider in the application posts work and polls for completions in memory that it
 * shares with pvhcad (rdma/pvhca-ring.h). For kernel consumers the driver does that
 * itself (pvhca_kverbs.h).
 *
 * There are two lives, and a structure for each:
 *
 *   struct pvhca_pci   from probe to remove: registers, interrupt vectors and the
 *			network interface, whose IP addresses outlast pvhcad, or
 *			else the pairing with another one (pvhca_pair.c);
 *   struct pvhca_dev   from one ENABLE of the device to the RESET after it, in
 *			other words one session with pvhcad: admin queue, event
 *			queues and the ib_device with all that hangs on it.
 *
 * A session dies when pvhcad goes, a command times out, the host device fails, the
 * interface that the adapter is paired with goes, or the driver goes. It stays dead:
 * when pvhcad can serve again, a new session is made. So nothing of an old session can
 * be taken for a part of the new one. pvhca_attach.c begins and ends sessions.
 *
 * Layers, each using only those below it (./check-layers reads this list):
 *
 *   pvhca_main.c				module, PCI
 *   pvhca_attach.c				begin and end of sessions
 *   pvhca_eq.c					events, and the objects they go to
 *   pvhca_ibdev.c, _port.c, _ucontext.c,
 *   _pd.c, _mr.c, _mw.c, _cq.c, _qp.c, _srq.c,
 *   _mcast.c, _ah.c, _stats.c, _restrack.c	verbs, a file per object
 *   pvhca_kctx.c, _kcq.c, _kqp.c, _kpost.c,
 *   _kmr.c, _kverbs.h				their part for kernel consumers
 *   pvhca_object.c				where events find objects
 *   pvhca_mem.c, _pair.c			memory lists, paired interface
 *   pvhca_netdev.c				network interface
 *   pvhca_netq.c				its packets
 *   pvhca_com_cmd.c, _com_cmd.h		a function per command
 *   pvhca_com.c, _com.h			the admin queue
 *   pvhca_dev.c				the end of a session
 *   pvhca_regs.c				registers
 *
 * A lower layer tells an upper one something by struct pvhca_dev_ops only.
 *
 * Memory that pvhcad may write (rings, queues, regions) must not be freed before
 * pvhcad lets go of it. It does so when the command that destroys the object
 * completes, or else when a RESET does. pvhca_com_exec() waits for the RESET before it
 * reports a dead session, so that its callers may free memory on return. There is one
 * exception, which pvhca_dev_may_free() reports: the RESET did not end either. Then
 * memory is lost rather than corrupted. A process that is killed
 * leaves its command behind; memory that the command names has a hold, struct
 * pvhca_com_hold, which the command shares until it is over.
 *
 * Locks, outer first:
 *
 *   rtnl_lock()		held by the core around add_gid and del_gid, and while the
 *				queues of packets are made and ended. So a command
 *				may wait for pvhcad with it held, and nothing that ends
 *				such a wait takes it.
 *   pvhca_qp.lock		one modify or query of a queue pair at a time
 *   pvhca_cq.lock		one resize of a completion queue at a time
 *   pvhca_dev.quiesce_lock	one RESET of a session
 *   pvhca_pci.dev_lock		the pointer to the session
 *   pvhca_dev.admin_lock	one reader of completions and events; a spin lock, and
 *				the locks of those who handle events nest inside
 *   pvhca_com.lock, pvhca_dev.contexts_lock, xarray locks: spin locks, taken in
 *				hard interrupts; not nested in each other. Those of
 *				kernel consumers' queues: pvhca_kverbs.h
 */
#ifndef PVHCA_H
#define PVHCA_H

#include <linux/if_ether.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>
#include <rdma/pvhca-abi.h>
#include <pvhca/pvhca-admin.h>
#include <pvhca/pvhca-kring.h>
#include <pvhca/pvhca-regs.h>

#include "pvhca_com.h"
#include "pvhca_compat.h"

struct pvhca_kcq;
struct pvhca_kctx;
struct pvhca_kmr;
struct pvhca_kqp;
struct pvhca_netq;

#define PVHCA_DRV_NAME "pvhca"
#define PVHCA_PORT     1
/* RoCE has but the default partition. */
#define PVHCA_PKEYS 1

/**
 * struct pvhca_pair - the network interface that the adapter is paired with
 * @nb: hears of the interfaces of all network namespaces, while @active
 * @active: the adapter is paired; pvhca_pci.attach_work and the end of the driver
 *	write it
 * @mac: permanent address of the interface; constant while @active
 * @netdev: the interface, NULL while it is not there. Guarded by rtnl_lock(); without
 *	a reference, as it is forgotten at NETDEV_UNREGISTER
 * @up: it is set up and has a carrier; written under rtnl_lock()
 * @mtu: its MTU, bytes; likewise
 */
struct pvhca_pair {
	struct notifier_block nb;
	bool active;
	u8 mac[ETH_ALEN];
	struct net_device *netdev;
	bool up;
	u32 mtu;
};

/**
 * struct pvhca_pci - a PCI function, while the driver is bound to it
 * @pdev: the function
 * @regs: BAR 0
 * @admin_db: admin doorbell
 * @doorbells: physical address of the window of data doorbells, for user space
 * @num_vectors: MSI-X vectors that were allocated
 * @netdev: network interface; made with the first session, which tells its MAC. NULL
 *	while the adapter is paired
 * @pair: or else the interface that the adapter is paired with
 * @config_wait: woken by the config interrupt
 * @config_seq: counts config interrupts
 * @wq: ordered; runs @attach_work and the sessions' port work. Making and
 *	unregistering a device needs memory and flushes queues of the core's, so this
 *	one gives no promise to those who reclaim memory
 * @reclaim_wq: gives memory and work back to their owners: runs the RESET of a
 *	dead session, flushes for kernel consumers, abandoned commands
 * @attach_work: pvhca_attach.c's state machine, the only writer of @dev
 * @dev_lock: held to use @dev outside @attach_work
 * @dev: the session, NULL without one
 * @stopping: no further session; the driver or the machine goes
 * @tried_generation: PVHCA_REG_GENERATION of the last attempt to attach
 * @refused: pvhcad of @tried_generation refused for good
 * @failure_logged: the log has that attaching fails, and why
 * @mismatch_logged: the log has that QEMU and pvhcad refuse each other
 * @attempts: sessions in @tried_generation that failed in a row
 * @retry_at: jiffies; no attempt before it in @tried_generation
 */
struct pvhca_pci {
	struct pci_dev *pdev;
	void __iomem *regs;
	void __iomem *admin_db;
	phys_addr_t doorbells;
	int num_vectors;
	struct net_device *netdev;
	struct pvhca_pair pair;

	wait_queue_head_t config_wait;
	atomic_t config_seq;
	struct workqueue_struct *wq;
	struct workqueue_struct *reclaim_wq;
	struct delayed_work attach_work;
	struct mutex dev_lock; /* see above */
	struct pvhca_dev *dev;
	bool stopping;

	u32 tried_generation;
	bool refused;
	bool failure_logged;
	bool mismatch_logged;
	unsigned int attempts;
	unsigned long retry_at;
};

/**
 * struct pvhca_eq - event queue
 * @dev: session it belongs to
 * @header: start of the queue's memory; entries follow at PVHCA_EQ_HEADER_SIZE
 * @dma: its address for pvhcad
 * @size: bytes allocated
 * @log_entries: log2 of the number of entries
 * @ci: next entry to be read, free running; owned by the interrupt handler
 * @handle: pvhcad's; not of the async event queue
 * @irq: Linux interrupt number, 0 while none is requested
 * @name: name of the interrupt
 */
struct pvhca_eq {
	struct pvhca_dev *dev;
	struct pvhca_eq_header *header;
	dma_addr_t dma;
	size_t size;
	u8 log_entries;
	u32 ci;
	u32 handle;
	int irq;
	char name[32];
};

enum pvhca_stat {
	PVHCA_STAT_ADMIN_COMMANDS,
	PVHCA_STAT_ADMIN_REFUSALS, /* answered with another status than OK */
	PVHCA_STAT_ADMIN_TIMEOUTS,
	PVHCA_STAT_ADMIN_ABANDONED, /* the process that waited was killed */
	PVHCA_STAT_COMP_EVENTS,
	PVHCA_STAT_ASYNC_EVENTS,
	PVHCA_STAT_STALE_EVENTS, /* of an object that is gone or going */
	PVHCA_STATS,
};

/**
 * struct pvhca_dev_ops - callbacks from lower layers to upper ones
 * @died: the session is over; once, from any context
 * @quiesced: the device was reset; @leak tells whether pvhcad has let go. Once,
 *	from a process, with pvhca_dev.quiesce_lock held
 * @serve_admin: read admin completions and async events that are there; from any
 *	context
 */
struct pvhca_dev_ops {
	void (*died)(struct pvhca_dev *dev);
	void (*quiesced)(struct pvhca_dev *dev);
	void (*serve_admin)(struct pvhca_dev *dev);
};

/**
 * struct pvhca_dev - one session with pvhcad
 * @ibdev: verbs device
 * @pci: where it lives
 * @ops: callbacks of pvhca_attach.c
 * @dead: the session is over; never cleared
 * @generation: PVHCA_REG_GENERATION that was enabled
 * @features: PVHCA_FEATURE_* in use; constant
 * @com: admin queue
 * @admin_lock: held while admin completions and then async events are read
 * @aeq: async events; shares its interrupt with @com
 * @ceqs: completion event queues, one per completion vector
 * @num_ceqs: number of completion event queues
 * @attr: the device's attributes, as pvhcad answered; constant
 * @kctx: the driver's own context; NULL: no kernel verbs. Constant while the
 *	device is registered
 * @qps: struct pvhca_qp by handle
 * @cqs: struct pvhca_cq by handle
 * @srqs: struct pvhca_srq by handle
 * @contexts_lock: guards @contexts and the alive words of their pages
 * @contexts: list of struct pvhca_ucontext
 * @quiesce_lock: guards @quiesced and @leak
 * @quiesce_work: resets the device once the session died
 * @quiesced: the device was reset (or it was tried) after the session died
 * @leak: that reset did not end: pvhcad may still write to guest memory
 * @registered: with the RDMA core: events may be dispatched
 * @waiting: for the interface to pair with, which the log has; attach_work's own
 * @pair_lost: it died of that interface's end: no fault, another session may follow at
 *	once
 * @port_work: looks at the port after an event, or when the interface is set up or
 *	down; does nothing unless @registered
 * @port_up: the port is active, as users of the device were told
 * @gids_changed: the host's GID table did; @port_work is to see to it
 * @stats: counters, by enum pvhca_stat
 */
struct pvhca_dev {
	struct ib_device ibdev;
	struct pvhca_pci *pci;
	const struct pvhca_dev_ops *ops;
	bool dead;
	u32 generation;
	u64 features;

	struct pvhca_com com;
	spinlock_t admin_lock; /* see above */
	struct pvhca_eq aeq;
	struct pvhca_eq *ceqs;
	int num_ceqs;
	struct pvhca_rsp_query_device attr;
	struct pvhca_kctx *kctx;

	struct xarray qps;
	struct xarray cqs;
	struct xarray srqs;
	spinlock_t contexts_lock; /* see above */
	struct list_head contexts;

	struct mutex quiesce_lock; /* see above */
	struct work_struct quiesce_work;
	bool quiesced;
	bool leak;

	bool registered;
	bool waiting;
	bool pair_lost;
	struct work_struct port_work;
	atomic_t port_up;
	bool gids_changed;
	atomic64_t stats[PVHCA_STATS];
};

/**
 * struct pvhca_ucontext_page - page of an open device
 * @hold: by the context, and by a command that told pvhcad of it
 * @dev: session
 * @page: struct pvhca_context_page, which user mappings may outlast
 * @dma: its address for pvhcad
 */
struct pvhca_ucontext_page {
	struct pvhca_com_hold hold;
	struct pvhca_dev *dev;
	struct page *page;
	dma_addr_t dma;
};

/**
 * struct pvhca_ucontext - a process's open device
 * @ibucontext: the core's part
 * @link: in pvhca_dev.contexts
 * @handle: pvhcad's
 * @page: the page, struct pvhca_context_page
 * @page_mmap: how user space maps @page
 * @db_mmap: how user space maps the doorbells
 */
struct pvhca_ucontext {
	struct ib_ucontext ibucontext;
	struct list_head link;
	u32 handle;
	struct pvhca_ucontext_page *page;
	struct rdma_user_mmap_entry *page_mmap;
	struct rdma_user_mmap_entry *db_mmap;
};

/**
 * struct pvhca_pd - protection domain
 * @ibpd: the core's part
 * @handle: pvhcad's
 */
struct pvhca_pd {
	struct ib_pd ibpd;
	u32 handle;
};

/**
 * struct pvhca_mr - memory region
 * @ibmr: the core's part
 * @umem: pinned user memory
 * @kernel: the kernel's side of a region for fast registration; else NULL
 * @umem_failed: memory that it was to have when its change failed on the host
 * @handle: pvhcad's
 * @access: IB_ACCESS_*
 * @failed: its change failed on the host: only to be deregistered
 */
struct pvhca_mr {
	struct ib_mr ibmr;
	struct ib_umem *umem;
	struct pvhca_kmr *kernel;
	struct ib_umem *umem_failed;
	u32 handle;
	int access;
	bool failed;
};

/**
 * struct pvhca_mw - memory window
 * @ibmw: the core's part
 * @handle: pvhcad's
 */
struct pvhca_mw {
	struct ib_mw ibmw;
	u32 handle;
};

/**
 * struct pvhca_cq - completion queue
 * @ibcq: the core's part
 * @umem: pinned ring of a user CQ
 * @umem_failed: ring that it was to have when the process that asked was killed
 * @kernel: the kernel's side; NULL for an application's
 * @eq: raises its completion events
 * @handle: pvhcad's
 * @lock: one resize at a time; guards @umem and @umem_failed after the CQ is made
 */
struct pvhca_cq {
	struct ib_cq ibcq;
	struct ib_umem *umem;
	struct ib_umem *umem_failed;
	struct pvhca_kcq *kernel;
	struct pvhca_eq *eq;
	u32 handle;
	struct mutex lock; /* see above */
};

/**
 * struct pvhca_slot - where a queue of an application says that it has work
 * @page: the application's context page; NULL if there is none
 * @index: bit in @page->pending, as pvhcad gave it
 */
struct pvhca_slot {
	const struct pvhca_context_page *page;
	u32 index;
};

/**
 * struct pvhca_qp - queue pair
 * @ibqp: the core's part
 * @umem: pinned rings of a user QP
 * @kernel: the kernel's side; NULL for an application's
 * @handle: pvhcad's
 * @cap: as created
 * @sig_type: as created
 * @lock: one modify at a time; guards @state
 * @state: that the guest last set; the host may have moved on to an error state
 * @slot: of an application's
 */
struct pvhca_qp {
	struct ib_qp ibqp;
	struct ib_umem *umem;
	struct pvhca_kqp *kernel;
	u32 handle;
	struct ib_qp_cap cap;
	enum ib_sig_type sig_type;
	struct mutex lock; /* see above */
	enum ib_qp_state state;
	struct pvhca_slot slot;
};

/**
 * struct pvhca_srq - shared receive queue
 * @ibsrq: the core's part
 * @umem: pinned ring of a user SRQ
 * @handle: pvhcad's
 * @max_wr: given
 * @max_sge: given
 * @slot: its place in the context page
 */
struct pvhca_srq {
	struct ib_srq ibsrq;
	struct ib_umem *umem;
	u32 handle;
	u32 max_wr;
	u32 max_sge;
	struct pvhca_slot slot;
};

/**
 * struct pvhca_ah - address handle
 * @ibah: the core's part
 * @av: the address
 * @handle: pvhcad's; PVHCA_NO_HANDLE of a kernel consumer's
 */
struct pvhca_ah {
	struct ib_ah ibah;
	struct pvhca_av av;
	u32 handle;
};

static inline struct pvhca_dev *to_pvhca_dev(struct ib_device *ibdev)
{
	return container_of(ibdev, struct pvhca_dev, ibdev);
}

static inline struct pvhca_ucontext *to_pvhca_ucontext(struct ib_ucontext *ibucontext)
{
	return container_of(ibucontext, struct pvhca_ucontext, ibucontext);
}

static inline struct pvhca_pd *to_pvhca_pd(struct ib_pd *ibpd)
{
	return container_of(ibpd, struct pvhca_pd, ibpd);
}

static inline struct pvhca_mr *to_pvhca_mr(struct ib_mr *ibmr)
{
	return container_of(ibmr, struct pvhca_mr, ibmr);
}

static inline struct pvhca_mw *to_pvhca_mw(struct ib_mw *ibmw)
{
	return container_of(ibmw, struct pvhca_mw, ibmw);
}

static inline struct pvhca_cq *to_pvhca_cq(struct ib_cq *ibcq)
{
	return container_of(ibcq, struct pvhca_cq, ibcq);
}

static inline struct pvhca_qp *to_pvhca_qp(struct ib_qp *ibqp)
{
	return container_of(ibqp, struct pvhca_qp, ibqp);
}

static inline struct pvhca_srq *to_pvhca_srq(struct ib_srq *ibsrq)
{
	return container_of(ibsrq, struct pvhca_srq, ibsrq);
}

static inline struct pvhca_ah *to_pvhca_ah(struct ib_ah *ibah)
{
	return container_of(ibah, struct pvhca_ah, ibah);
}

static inline struct device *pvhca_to_dma_device(struct pvhca_dev *dev)
{
	return &dev->pci->pdev->dev;
}

/*
 * Text of an application, of pvhcad or of QEMU goes to the log by "%*pE", with its
 * length in front: a line feed or an escape sequence in it would forge lines. The text
 * ends at its first NUL, or with its array.
 */
#define PVHCA_TEXT_LEN(text) \
	((int)strnlen((const char *)(text), sizeof(text) + __must_be_array(text)))

/* Does the adapter belong to an interface that is not its own? */
static inline bool pvhca_is_paired(const struct pvhca_dev *dev)
{
	return dev->features & PVHCA_FEATURE_PAIR;
}

static inline void pvhca_stat_inc(struct pvhca_dev *dev, enum pvhca_stat stat)
{
	atomic64_inc(&dev->stats[stat]);
}

/* pvhca_regs.c */
unsigned long pvhca_regs_timeout(void);
/* Any register, once the function is unplugged or the process that serves it is gone. */
#define PVHCA_GONE 0xffffffffu
u32 pvhca_regs_read(struct pvhca_pci *pci, u32 reg);
void pvhca_regs_write(struct pvhca_pci *pci, u32 reg, u32 value);
void pvhca_regs_read_text(struct pvhca_pci *pci, u32 reg, char text[PVHCA_REG_VERSION_LEN]);
void pvhca_regs_wake(struct pvhca_pci *pci);
int pvhca_regs_reset(struct pvhca_pci *pci);
int pvhca_regs_enable(struct pvhca_pci *pci, dma_addr_t admin_area);

/* pvhca_dev.c */
void pvhca_dev_init(struct pvhca_dev *dev, struct pvhca_pci *pci, const struct pvhca_dev_ops *ops);
void pvhca_dev_cleanup(struct pvhca_dev *dev);
void pvhca_dev_sync_admin(struct pvhca_dev *dev);
void pvhca_dev_kill(struct pvhca_dev *dev, const char *why);
bool pvhca_dev_is_dead(const struct pvhca_dev *dev);
void pvhca_dev_quiesce(struct pvhca_dev *dev);
bool pvhca_dev_may_free(struct pvhca_dev *dev);

/* pvhca_attach.c */
void pvhca_attach_init(struct pvhca_pci *pci);
void pvhca_attach_config_changed(struct pvhca_pci *pci);
void pvhca_attach_start(struct pvhca_pci *pci);
void pvhca_attach_stop(struct pvhca_pci *pci);
void pvhca_attach_shutdown(struct pvhca_pci *pci);

/* pvhca_eq.c */
int pvhca_eq_create_async(struct pvhca_dev *dev);
void pvhca_eq_destroy_async(struct pvhca_dev *dev);
int pvhca_eq_create_comp(struct pvhca_dev *dev);
void pvhca_eq_destroy_comp(struct pvhca_dev *dev);
void pvhca_eq_serve_admin(struct pvhca_dev *dev);

/* pvhca_netdev.c */
int pvhca_netdev_create(struct pvhca_pci *pci, const u8 *mac);
void pvhca_netdev_destroy(struct pvhca_pci *pci);
void pvhca_netdev_set_link(struct pvhca_pci *pci, bool up);
void pvhca_netdev_set_mtu(struct pvhca_pci *pci, u32 mtu);
void pvhca_netdev_attach(struct pvhca_dev *dev);
void pvhca_netdev_detach(struct pvhca_dev *dev);
bool pvhca_netdev_is_own(const struct net_device *netdev);

/* pvhca_netq.c */
/* Bytes of a packet of TCP that stands for several, at most. */
#define PVHCA_NETQ_MAX_TSO SZ_32K
bool pvhca_netq_is_offered(const struct pvhca_dev *dev);
struct pvhca_netq *pvhca_netq_create(struct pvhca_dev *dev, struct net_device *netdev);
void pvhca_netq_destroy(struct pvhca_netq *q);
void pvhca_netq_xmit(struct pvhca_netq *q, struct sk_buff *skb);
bool pvhca_netq_can_segment(const struct sk_buff *skb);

/* pvhca_pair.c */
int pvhca_pair_start(struct pvhca_pci *pci, const u8 *mac);
void pvhca_pair_stop(struct pvhca_pci *pci);
bool pvhca_pair_is_there(struct pvhca_pci *pci);
int pvhca_pair_attach(struct pvhca_dev *dev);
void pvhca_pair_detach(struct pvhca_dev *dev);
bool pvhca_pair_has_speed(struct pvhca_pci *pci);

/* pvhca_mem.c */
struct pvhca_mem;
struct pvhca_mem *pvhca_mem_describe(struct pvhca_dev *dev, struct ib_umem *umem);
struct pvhca_mem *pvhca_mem_pin(struct pvhca_dev *dev, u64 addr, u64 length, int access);
const struct pvhca_mem_list *pvhca_mem_list(const struct pvhca_mem *mem);
struct pvhca_com_hold *pvhca_mem_hold(struct pvhca_mem *mem);
struct ib_umem *pvhca_mem_take(struct pvhca_mem *mem);
void pvhca_mem_put(struct pvhca_mem *mem);
void pvhca_mem_unpin(struct pvhca_dev *dev, struct ib_umem *umem);

/* pvhca_ibdev.c */
int pvhca_ibdev_register(struct pvhca_dev *dev);
void pvhca_ibdev_unregister(struct pvhca_dev *dev);

/* pvhca_port.c */
int pvhca_port_update(struct pvhca_dev *dev);
void pvhca_port_async_event(struct pvhca_dev *dev, u32 event);
void pvhca_port_work(struct work_struct *work);
void pvhca_report_port_event(struct ib_device *ibdev, struct net_device *netdev,
			     unsigned long event);
int pvhca_query_port(struct ib_device *ibdev, u32 port, struct ib_port_attr *attr);
int pvhca_query_port_speed(struct ib_device *ibdev, u32 port, u64 *speed);
int pvhca_get_port_immutable(struct ib_device *ibdev, u32 port,
			     struct ib_port_immutable *immutable);
enum rdma_link_layer pvhca_get_link_layer(struct ib_device *ibdev, u32 port);
int pvhca_query_pkey(struct ib_device *ibdev, u32 port, u16 index, u16 *pkey);
int pvhca_add_gid(const struct ib_gid_attr *attr, void **context);
int pvhca_del_gid(const struct ib_gid_attr *attr, void **context);

/* pvhca_ucontext.c */
int pvhca_alloc_ucontext(struct ib_ucontext *ibucontext, struct ib_udata *udata);
void pvhca_dealloc_ucontext(struct ib_ucontext *ibucontext);
void pvhca_disassociate_ucontext(struct ib_ucontext *ibucontext);
int pvhca_mmap(struct ib_ucontext *ibucontext, struct vm_area_struct *vma);
void pvhca_mmap_free(struct rdma_user_mmap_entry *rdma_entry);
void pvhca_ucontext_kill_all(struct pvhca_dev *dev);

/* pvhca_object.c */
/**
 * struct pvhca_object_user - how an application's QP, CQ or SRQ is made
 * @dev: session
 * @table: where events find it
 * @object: complete once @open succeeded
 * @handle: pvhcad's, set by @open
 * @umem: where the memory of its ring goes
 * @buf_addr: address of the ring, in the calling process
 * @buf_len: bytes
 * @resp: answer to the provider, filled by @open
 * @resp_size: size of the answer, bytes
 * @open: have pvhcad serve the ring
 * @close: undo it
 */
struct pvhca_object_user {
	struct pvhca_dev *dev;
	struct xarray *table;
	void *object;
	const u32 *handle;
	struct ib_umem **umem;
	u64 buf_addr;
	u32 buf_len;
	void *resp;
	size_t resp_size;
	int (*open)(const struct pvhca_object_user *user, const struct pvhca_ucontext *ctx,
		    struct pvhca_mem *mem);
	void (*close)(struct pvhca_dev *dev, u32 handle);
};

int pvhca_object_create_user(const struct pvhca_object_user *user, struct ib_udata *udata);
int pvhca_object_publish(struct pvhca_dev *dev, struct xarray *table, u32 handle, void *object);
void pvhca_object_delist(struct pvhca_dev *dev, struct xarray *table, u32 handle);

/* pvhca_pd.c */
int pvhca_alloc_pd(struct ib_pd *ibpd, struct ib_udata *udata);
int pvhca_dealloc_pd(struct ib_pd *ibpd, struct ib_udata *udata);

/* pvhca_mr.c */
struct ib_mr *pvhca_reg_user_mr(struct ib_pd *ibpd, u64 start, u64 length, u64 virt_addr,
				int access, PVHCA_REG_MR_DMAH_ARG struct ib_udata *udata);
struct ib_mr *pvhca_reg_user_mr_dmabuf(struct ib_pd *ibpd, u64 offset, u64 length, u64 virt_addr,
				       int fd, int access,
				       PVHCA_REG_MR_DMAH_ARG struct pvhca_reg_dmabuf_arg *arg);
struct ib_mr *pvhca_rereg_user_mr(struct ib_mr *ibmr, int flags, u64 start, u64 length,
				  u64 virt_addr, int access, struct ib_pd *pd,
				  struct ib_udata *udata);
int pvhca_dereg_mr(struct ib_mr *ibmr, struct ib_udata *udata);

/* pvhca_mw.c */
int pvhca_alloc_mw(struct ib_mw *ibmw, struct ib_udata *udata);
int pvhca_dealloc_mw(struct ib_mw *ibmw);

/* pvhca_cq.c */
int pvhca_create_cq(struct ib_cq *ibcq, const struct ib_cq_init_attr *attr,
		    struct pvhca_create_cq_arg *arg);
int pvhca_resize_user_cq(struct ib_cq *ibcq, PVHCA_RESIZE_CQE cqe, struct ib_udata *udata);
int pvhca_destroy_cq(struct ib_cq *ibcq, struct ib_udata *udata);
void pvhca_cq_comp_event(struct pvhca_dev *dev, u32 handle);
void pvhca_cq_async_event(struct pvhca_dev *dev, u32 handle, enum ib_event_type type);

/* pvhca_qp.c */
int pvhca_create_qp(struct ib_qp *ibqp, struct ib_qp_init_attr *attr, struct ib_udata *udata);
int pvhca_modify_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask, struct ib_udata *udata);
int pvhca_query_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask,
		   struct ib_qp_init_attr *init_attr);
int pvhca_destroy_qp(struct ib_qp *ibqp, struct ib_udata *udata);
void pvhca_qp_async_event(struct pvhca_dev *dev, u32 handle, enum ib_event_type type);

/* pvhca_srq.c */
int pvhca_create_srq(struct ib_srq *ibsrq, struct ib_srq_init_attr *attr, struct ib_udata *udata);
int pvhca_modify_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr, enum ib_srq_attr_mask mask,
		     struct ib_udata *udata);
int pvhca_query_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr);
int pvhca_destroy_srq(struct ib_srq *ibsrq, struct ib_udata *udata);
void pvhca_srq_async_event(struct pvhca_dev *dev, u32 handle, enum ib_event_type type);

/* pvhca_mcast.c */
int pvhca_attach_mcast(struct ib_qp *ibqp, union ib_gid *gid, u16 lid);
int pvhca_detach_mcast(struct ib_qp *ibqp, union ib_gid *gid, u16 lid);

/* pvhca_stats.c */
struct rdma_hw_stats *pvhca_alloc_hw_port_stats(struct ib_device *ibdev, u32 port);
int pvhca_get_hw_stats(struct ib_device *ibdev, struct rdma_hw_stats *stats, u32 port, int index);

/* pvhca_restrack.c */
int pvhca_fill_res_qp_entry(struct sk_buff *msg, struct ib_qp *ibqp);
int pvhca_fill_res_srq_entry(struct sk_buff *msg, struct ib_srq *ibsrq);
int pvhca_fill_res_cq_entry(struct sk_buff *msg, struct ib_cq *ibcq);
int pvhca_fill_res_mr_entry(struct sk_buff *msg, struct ib_mr *ibmr);

/* pvhca_ah.c */
int pvhca_ah_attr_to_wire(struct pvhca_av *wire, const struct rdma_ah_attr *ah);
void pvhca_ah_attr_from_wire(struct rdma_ah_attr *ah, const struct pvhca_av *wire);
int pvhca_create_ah(struct ib_ah *ibah, struct rdma_ah_init_attr *attr, struct ib_udata *udata);
int pvhca_create_user_ah(struct ib_ah *ibah, struct rdma_ah_init_attr *attr,
			 struct ib_udata *udata);
int pvhca_query_ah(struct ib_ah *ibah, struct rdma_ah_attr *attr);
int pvhca_destroy_ah(struct ib_ah *ibah, u32 flags);

#endif /* PVHCA_H */
