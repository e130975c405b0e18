/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without a virtual machine: plays QEMU and the guest driver towards a
 * real pvhcad, so that the provider's ring code and pvhcad's workers meet at
 * native speed, in two processes of one machine.
 *
 * Guest RAM is a memfd; guest-physical address 0 is its first byte. Doorbells are
 * written as eventfds, which is what KVM's ioeventfd does for a guest.
 */
#ifndef TESTS_RING_GUEST_H
#define TESTS_RING_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pvhca/pvhca-admin.h"
#include "pvhca/pvhca-regs.h"
#include "rdma/pvhca-ring.h"

#define GUEST_DOORBELLS	 8
#define GUEST_VECTORS	 3
#define GUEST_COMMANDS	 (1u << 4)
#define GUEST_CEQ_VECTOR 1
#define GUEST_CEQ_LOG	 8 /* of its entries */

struct guest {
	int socket;
	int ram_fd;
	uint8_t *ram;
	size_t ram_size;
	size_t ram_used;

	int admin_doorbell;
	int doorbell[GUEST_DOORBELLS];
	int vector[GUEST_VECTORS]; /* from PVHCA_VECTOR_ADMIN; the first is the admin queue's */

	struct pvhca_admin_area *area;
	struct pvhca_admin_cmd *commands;
	struct pvhca_admin_rsp *responses;
	uint32_t num_commands; /* issued */
	uint32_t num_answers;
	uint32_t ceq; /* handle */
	uint8_t *eq;  /* its queue; it interrupts by vector[GUEST_CEQ_VECTOR] */
	uint64_t doorbells_rung;
};

/* All of these return 0, or -1 with the reason on standard error. */
int guest_open(struct guest *guest, const char *socket, const char *name, size_t ram_size);
void guest_close(struct guest *guest);

/* Guest RAM, zeroed, aligned to 4 KiB; never given back. NULL: none left. */
void *guest_alloc(struct guest *guest, size_t size);
static inline uint64_t guest_physical(const struct guest *guest, const void *at)
{
	return (const uint8_t *)at - guest->ram;
}

/* Post an admin command; sets its cookie. Not more under way than GUEST_COMMANDS. */
void guest_post_command(struct guest *guest, struct pvhca_admin_cmd *command);
/* The next answer, of any command that is under way. 0, or -1 if there was none. */
int guest_next_answer(struct guest *guest, struct pvhca_admin_rsp *response);
/*
 * One admin command, waited for, while no other is under way. Returns enum
 * pvhca_admin_status, or -1 if there was no answer.
 */
int guest_command(struct guest *guest, struct pvhca_admin_cmd *command,
		  struct pvhca_admin_rsp *response);
/* The memory list for a contiguous piece of guest RAM. */
void guest_memory(const struct guest *guest, const void *at, size_t size,
		  struct pvhca_mem_list *list);

void guest_ring_doorbell(struct guest *guest, uint32_t offset);

#endif
