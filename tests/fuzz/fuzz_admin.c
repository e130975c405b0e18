// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands of a driver. The first byte of an input are the features that the driver knows; then
 * come pieces (fuzz.h), by their kind:
 *
 *   0  a command: opcode, flags, arguments
 *   1  bytes for RAM: the address (4 bytes), the bytes
 *   2  the device is reset, and enabled with these features (1 byte)
 *   3  RAM is cut to so many bytes (4)
 *   5  RAM gets a chain of lists of extents: its address (4 bytes), how many lists (1)
 *   4  like 0, but carried out with those that follow, up to the next that is not of this kind
 */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "guest.h"
#include "host.h"

#define FEATURES                                                                                 \
	(PVHCA_FEATURE_PAIR | PVHCA_FEATURE_VLAN | PVHCA_FEATURE_UNORDERED | PVHCA_FEATURE_NET | \
	 PVHCA_FEATURE_NET_TSO)

static struct guest guest;
static struct fuzz_input input;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	/* Quotas that an input can reach. */
	host_init("[quota]\nqps=8\ncqs=8\nmrs=8\ncontexts=4\n"
		  "[vm other]\naddresses=10.0.0.9\n");
	guest_init(&guest);
	return 0;
}

static void reset(uint64_t features)
{
	struct pvhca_link_reset message = { .id = 1 };

	guest_message(&guest, PVHCA_LINK_RESET, &message, sizeof(message), 0, 0, 0);
	guest_enable(&guest, features & FEATURES);
}

/* Full ones, that all name the same granules; longer than an input can be. */
static void write_chain(uint32_t at, unsigned int lists)
{
	struct pvhca_extent_chunk chunk = { 0 };

	for (unsigned int i = 0; i < PVHCA_CHUNK_EXTENTS; i++)
		chunk.extents[i] = (struct pvhca_extent){ 0x80000, PVHCA_GRANULE };
	for (; lists; lists--, at += sizeof(chunk)) {
		chunk.next = lists > 1 ? at + sizeof(chunk) : 0;
		guest_write(&guest, at, &chunk, sizeof(chunk));
	}
}

static bool next(void *arg)
{
	struct fuzz_piece piece;
	uint32_t at;

	(void)arg;
	do {
		if (!fuzz_next(&input, &piece)) {
			shutdown(guest.link, SHUT_WR);
			return false;
		}
		switch (piece.kind) {
		case 0:
		case 4:
			guest_post(&guest, piece.data, piece.size);
			break;
		case 1:
			at = fuzz_number(&piece, 4);
			guest_write(&guest, at, piece.data, piece.size);
			break;
		case 2:
			reset(fuzz_number(&piece, 1));
			break;
		case 3:
			(void)!ftruncate(guest.fds[GUEST_FD_RAM],
					 fuzz_number(&piece, 4) % GUEST_RAM);
			break;
		case 5:
			at = fuzz_number(&piece, 4);
			write_chain(at, fuzz_number(&piece, 1) % 8);
			break;
		}
	} while (piece.kind == 4);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int link;

	if (!size)
		return 0;
	input = (struct fuzz_input){ data + 1, size - 1 };
	host_begin();
	link = guest_begin(&guest);
	guest_bring_up(&guest, data[0] & FEATURES);
	host_run(host_session(link), next, NULL);
	guest_end(&guest);
	host_end();
	return 0;
}
