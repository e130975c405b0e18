/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's end of a session that runs in its own thread, with a fabric and a worker that
 * only tell when they are asked for something, and that fail when told to.
 */
#ifndef SESSION_RIG_H
#define SESSION_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fabric/fabric.h"
#include "pvhca-link.h"
#include "pvhca/pvhca-admin.h"
#include "rdma/pvhca-ring.h"
#include "session/private.h"
#include "vm/vm.h"

#define RIG_GPA		0x100000ull /* of guest memory */
#define RIG_RAM		0x10000ull  /* bytes of it */
#define RIG_VECTORS	4
#define RIG_DOORBELLS	2
#define RIG_LOG_ENTRIES 6 /* of the admin queues */
#define RIG_ENTRIES	(1u << RIG_LOG_ENTRIES)
#define RIG_AEQ_LOG	2
#define RIG_LOG		1024

/**
 * struct rig - one per process; each test runs in its own
 * @log: open, close of the fabric, attach, detach of the worker, async, in order
 * @open_fails, @attach_fails: so they do
 * @on_attach, @on_detach: called by the worker's stubs, if set
 * @async_fd: the fabric's descriptor for async events, or -1
 * @on_async: called when it is served
 */
extern struct rig {
	struct fabric_ops ops;
	struct config *config;
	char log[RIG_LOG];
	bool open_fails, attach_fails;
	void (*on_attach)(struct vm *vm);
	void (*on_detach)(struct vm *vm);
	int async_fd;
	void (*on_async)(struct vm *vm);
} rig;

void rig_setup(void);
/* No session is left, nor a descriptor more than there were. */
void rig_teardown(void);
/* Settings from the text of a configuration file, for sessions to come. */
void rig_configure(const char *text);
void rig_expect_log(const char *log);
bool rig_has(const char *what);

/**
 * struct qemu - QEMU's end
 * @session: until it has ended
 * @fd, @session_fd: the link's ends
 * @admin_db, @doorbell, @vector: eventfds, made by qemu_events()
 * @ram, @area, @sq, @cq, @aeq: guest memory, and what of it is the admin queue
 * @requests: ids of requests that were sent
 */
struct qemu {
	struct session *session;
	struct vm *vm;
	pthread_t thread;
	int fd, session_fd;
	int ram_fd;
	int admin_db, doorbell[RIG_DOORBELLS], vector[RIG_VECTORS];
	uint8_t *ram;
	struct pvhca_admin_area *area;
	struct pvhca_admin_cmd *sq;
	struct pvhca_admin_rsp *cq;
	struct pvhca_eq_header *aeq;
	uint64_t requests;
};

/* A session that QEMU has connected to, and no more. */
struct qemu *qemu_new(void);
/* Ends the session, if it has not ended. */
void qemu_free(struct qemu *qemu);

void qemu_send(struct qemu *qemu, uint32_t type, const void *payload, uint32_t size, const int *fds,
	       unsigned int num_fds);
/* The next message must be of this type and size. */
void qemu_receive(struct qemu *qemu, uint32_t type, void *payload, uint32_t size);
/* pvhcad ends the session and has said nothing more. */
void qemu_expect_end(struct qemu *qemu);

/* A HELLO that is right; to say it and be accepted, as VM "guest", "guest-2" and so on. */
struct pvhca_link_hello qemu_hello(void);
void qemu_connect(struct qemu *qemu);
void qemu_connect_as(struct qemu *qemu, const struct pvhca_link_hello *hello);
/* Send count event descriptors. */
void qemu_send_events(struct qemu *qemu, uint32_t kind, uint32_t first, const int *fds,
		      uint32_t count);
/* All event descriptors; all memory, with an admin area that is right. */
void qemu_events(struct qemu *qemu);
void qemu_ram(struct qemu *qemu);
/* All of the above. */
struct qemu *qemu_ready(void);

/* Ask only; and with the answer: enum pvhca_dev_error. */
void qemu_ask_enable(struct qemu *qemu, uint64_t gpa);
void qemu_ask_reset(struct qemu *qemu);
uint32_t qemu_answer(struct qemu *qemu, uint32_t type);
uint32_t qemu_enable(struct qemu *qemu);
void qemu_reset(struct qemu *qemu);
/* Ready, and enabled. */
struct qemu *qemu_enabled(void);
/* The next message tells this fault. */
void qemu_expect_fatal(struct qemu *qemu, uint32_t error);

/* The guest: post a command of this cookie, ring, and wait for as many completions. */
void guest_post(struct qemu *qemu, uint32_t cookie);
void guest_ring(struct qemu *qemu);
void guest_await(struct qemu *qemu, uint32_t index, uint32_t cookie);

#endif
