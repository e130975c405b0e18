/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU and the guest's driver. Guest RAM is a file, that only pvhcad maps: what an input does to
 * it hurts nobody here.
 */
#ifndef FUZZ_GUEST_H
#define FUZZ_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pvhca-link.h"
#include "pvhca/pvhca-admin.h"
#include "pvhca/pvhca-regs.h"
#include "rdma/pvhca-ring.h"

#define GUEST_RAM	  0x100000u /* bytes, from guest-physical 0 on */
#define GUEST_AREA	  0x1000u   /* places in it */
#define GUEST_SQ	  0x2000u
#define GUEST_CQ	  0x4000u
#define GUEST_AEQ	  0x6000u
#define GUEST_FREE	  0x8000u
#define GUEST_LOG_ENTRIES 4u
#define GUEST_VECTORS	  4u
#define GUEST_DOORBELLS	  2u
#define GUEST_MAX_FDS	  31u

/* Descriptors of all kinds; the first ones are those that QEMU sends. */
enum guest_fd {
	GUEST_FD_RAM,
	GUEST_FD_EVENT,
	GUEST_FD_BLOCKING_EVENT,
	GUEST_FD_SEMAPHORE,
	GUEST_FD_SMALL_RAM,
	GUEST_FD_SEALED_RAM,
	GUEST_FD_READ_ONLY_RAM,
	GUEST_FD_NULL,
	GUEST_FD_PIPE,
	GUEST_FD_SOCKET,
	GUEST_FD_SIGNAL,
	GUEST_FD_EPOLL,
	GUEST_FDS,
};

/**
 * struct guest
 * @link: QEMU's end of it; -1: closed
 * @fds: enum guest_fd
 * @sq_pi: commands that were posted
 * @cookie: of the last one
 */
struct guest {
	int link;
	int fds[GUEST_FDS];
	uint32_t sq_pi;
	uint32_t cookie;
};

/* The descriptors are made once and serve all inputs. */
void guest_init(struct guest *guest);
/* An input begins: RAM is as new. Returns the end of the link for the session. */
int guest_begin(struct guest *guest);
void guest_end(struct guest *guest);

/* Bytes on the link, with descriptors: fds[(first + i * step) % GUEST_FDS]. Replies are thrown away. */
void guest_send(struct guest *guest, const void *bytes, size_t size, unsigned int num_fds,
		unsigned int first, unsigned int step);
void guest_message(struct guest *guest, uint32_t type, const void *payload, size_t size,
		   unsigned int num_fds, unsigned int first, unsigned int step);
/* All that comes before ENABLE, and that; it is accepted when the session has run. */
void guest_bring_up(struct guest *guest, uint64_t features);
void guest_enable(struct guest *guest, uint64_t features);

void guest_write(struct guest *guest, uint64_t gpa, const void *bytes, size_t size);
void guest_read(struct guest *guest, uint64_t gpa, void *bytes, size_t size);

/* A command: opcode, flags, arguments; cut or filled with 0. Carried out when the session runs. */
void guest_post(struct guest *guest, const void *command, size_t size);
/* After it: what was answered to the last one. */
void guest_answer(struct guest *guest, struct pvhca_admin_rsp *rsp);

#endif
