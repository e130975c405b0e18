// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a QEMU may send: messages in any pieces and order, descriptors of all kinds, memory that
 * changes and vanishes. Pieces of an input (fuzz.h), by their kind:
 *
 *   0x80 | n  a message with n descriptors: its type, the first descriptor and the step to the
 *             next (enum guest_fd), one byte each; payload
 *   0x40 | n  bytes as they are, with n descriptors
 *   0x20      bytes for RAM: its address (4 bytes), the bytes
 *   0x21      RAM is cut to so many bytes (4)
 *   0x22      the eventfd that all doorbells are is signalled
 *   0x23      QEMU shuts the link's end down
 */
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "guest.h"
#include "host.h"

static struct guest guest;
static struct fuzz_input input;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_init("[vm known]\nmac=02:00:00:00:00:01\naddresses=10.0.0.1\n"
		  "[vm foreign]\nuid=12345\n");
	guest_init(&guest);
	return 0;
}

static void send_message(struct fuzz_piece *piece)
{
	uint32_t type = fuzz_number(piece, 1), first = fuzz_number(piece, 1),
		 step = fuzz_number(piece, 1);

	guest_message(&guest, type, piece->data, piece->size, piece->kind & 0x1f, first, step);
}

static bool next(void *arg)
{
	struct fuzz_piece piece;
	uint32_t at;

	(void)arg;
	if (!fuzz_next(&input, &piece)) {
		shutdown(guest.link, SHUT_WR);
		return false;
	}
	if (piece.kind & 0x80) {
		send_message(&piece);
	} else if (piece.kind & 0x40) {
		guest_send(&guest, piece.data, piece.size, piece.size ? piece.kind & 0x1f : 0, 0,
			   1);
	} else if (piece.kind == 0x20) {
		at = fuzz_number(&piece, 4);
		guest_write(&guest, at, piece.data, piece.size);
	} else if (piece.kind == 0x21) {
		(void)!ftruncate(guest.fds[GUEST_FD_RAM], fuzz_number(&piece, 4) % GUEST_RAM);
	} else if (piece.kind == 0x22) {
		eventfd_write(guest.fds[GUEST_FD_EVENT], 1);
	} else if (piece.kind == 0x23) {
		shutdown(guest.link, SHUT_RDWR);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = (struct fuzz_input){ data, size };
	host_begin();
	host_run(host_session(guest_begin(&guest)), next, NULL);
	guest_end(&guest);
	host_end();
	return 0;
}
