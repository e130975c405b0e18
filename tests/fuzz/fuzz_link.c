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
 *   0x24      the administrator reads the settings again; with another file (1 byte: which)
 *   0x25      pvhcad has met memory that vanished
 */
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "guest.h"
#include "host.h"
#include "session/private.h"

static struct guest guest;
static struct fuzz_input input;
static struct session *session;

#define PAIRED	"[vm paired]\npair=true\n"
#define KNOWN	"[vm known]\nmac=02:00:00:00:00:01\naddresses=10.0.0.1\n"
#define FOREIGN "[vm foreign]\nuid=12345\n"
#define QUOTA	"[quota]\nmemory-bytes=4K\nqps=1\n"
#define CHANGED "[vm known]\nnetwork=other\nrate=1M\n[vm vm]\nserve=false\n"

static const char *const settings[3] = {
	(KNOWN FOREIGN PAIRED),
	(CHANGED QUOTA),
	"[pvhcad]\nunlisted-vms=false\n",
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_init(settings[0]);
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
	} else if (piece.kind == 0x24) {
		at = fuzz_number(&piece, 1);
		host_reload(settings[at % 3]);
	} else if (piece.kind == 0x25) {
		session_check_memory(session);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = (struct fuzz_input){ data, size };
	host_begin();
	host_reload(settings[0]);
	session = host_session(guest_begin(&guest));
	host_run(session, next, NULL);
	guest_end(&guest);
	host_end();
	return 0;
}
