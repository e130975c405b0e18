/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this room. Other rooms use gsi/gsi.h, which has the lock order. */
#ifndef HOSTD_GSI_PRIVATE_H
#define HOSTD_GSI_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gsi/gsi.h"
#include "lib/hash.h"
#include "rdma/pvhca-abi.h"
#include "vm/vm.h"

#define GSI_BATCH   16u /* entries of one call */
#define GSI_MAX_SGE 8u

/**
 * struct gsi - a GSI QP's part
 * @attr: as the guest set it; of commands
 * @failed: a receive completed in error: the state is to become ERR. Set under
 *	rq_lock
 * @broken: rings were abused; not served any more. Under qp->lock
 * @delivery: held by a thread that is no worker while it delivers: the QP stays
 */
struct gsi {
	struct qp_attr attr;
	atomic_bool failed;
	bool broken;
	pthread_mutex_t delivery;
	uint8_t inline_data[PVHCA_GRANULE];
};

/* An entry of a VM's GID table. */
struct gsi_gid {
	struct hash_node node; /* among those of all VMs */
	struct gsi_port *port;
	uint8_t gid[16];
	uint16_t vlan;
};

/* The GSI's part of a VM, vm->gsi_port. It exists while the VM has a QP or an address. */
struct gsi_port {
	struct vm *vm;
	struct qp *qp; /* or NULL */
	unsigned int num_gids;
	struct gsi_gid *gid[VM_GIDS]; /* NULL: empty */
};

/**
 * struct gsi_target - who has an address
 * @vm: NULL: nobody
 * @qp: or NULL: it has none
 * @vlan: of the address, or PVHCA_NO_VLAN. Of several entries one counts
 *
 * The lock is not held any more when it is used. A worker may use it to the end of its pass,
 * others only while they hold @qp's delivery.
 */
struct gsi_target {
	struct vm *vm;
	struct qp *qp;
	uint16_t vlan;
};

/* ------------------------------- gsi/ports.c ------------------------------- */

/*
 * Covers the owners of addresses and QPs. It is held for a look-up or a change, never while
 * memory of a guest is touched, or another lock but a QP's delivery is waited for.
 */
extern pthread_mutex_t gsi_lock;

/* All of these with gsi_lock held. The port of a VM, made if need be. NULL: no memory. */
struct gsi_port *gsi_port_get(struct vm *vm);
/* It may have nothing left, and goes then. */
void gsi_port_put(struct vm *vm);
/*
 * The owner of this address, in the network of from. If several VMs have it (see vm/policy.c) and from is one
 * of them, it is from itself: such an address means "here" to each of them.
 */
struct gsi_target gsi_route(const struct gsi_port *from, const uint8_t gid[16]);
/* The VM itself, at its address gid. */
struct gsi_target gsi_port_target(struct vm *vm, const uint8_t gid[16]);

/* ---------------------------------- gsi/gsi.c ---------------------------------- */

/*
 * Complete a send or a receive, as cqe->opcode says. False: the guest has more outstanding than
 * its queues hold.
 */
bool gsi_complete(struct pass *pass, struct qp *qp, struct pvhca_cqe *cqe);
/* With qp->lock held, without rq_lock. */
void gsi_set_state(struct qp *qp, enum ibv_qp_state state);
/* The guest's fault; the QP is not served any more. */
void gsi_abused(struct qp *qp);

/* ------------------------------ gsi/receive.c ------------------------------ */

/*
 * Fill in the header from which the guest's core takes addresses; see enum
 * pvhca_qp_type. False: the addresses are of different families.
 */
bool gsi_network_header(uint8_t header[GSI_GRH_LEN], const struct av *from,
			const uint8_t source[16], const uint8_t destination[16]);
/* message: network header and MAD. False: it is dropped. */
bool gsi_target_receive(const struct gsi_target *target, const uint8_t *message, uint8_t sl);
/* The QP is in error. Returns the number flushed, a batch at most; the next call goes on. */
unsigned int gsi_flush_receives(struct pass *pass, struct qp *qp);

/* -------------------------------- gsi/send.c ------------------------------- */

/* Serve, or flush, the send queue; likewise. */
unsigned int gsi_serve_sends(struct pass *pass, struct qp *qp);

#endif
