// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where received datagrams have their headers.
 *
 * Programs learn from ibv_wc.sl of a UD receive which network header stands in its first 40
 * bytes (lib/grh.h). Engines such as rxe leave it 0. Then pvhcad looks at these bytes, which
 * lie in the guest's memory: it notes the first SGEs of each receive as it hands them over,
 * by the tag that the completion gives back. Nothing of this is trusted: a guest that uses a
 * tag twice, or changes the bytes, deceives itself.
 *
 * For a VM with addresses that are translated (address.c) the header is changed, to show the
 * addresses that the guest knows. That is done in memory that a QP of the same PD may write to.
 */
#include <stdlib.h>

#include "fabric/verbs/private.h"
#include "lib/grh.h"
#include "lib/heap.h"

/* More pieces of 40 bytes than this are not put together; programs have one, or the 40 apart. */
#define PIECES 2

struct header {
	struct ibv_sge piece[PIECES];
};

struct verbs_headers {
	uint32_t tags;
	struct header header[];
};

struct verbs_headers *verbs_headers_new(struct heap *heap, uint32_t tags)
{
	struct verbs_headers *headers;

	headers = heap_zalloc(heap, sizeof(*headers) + tags * sizeof(struct header));
	if (headers)
		headers->tags = tags;
	return headers;
}

void verbs_headers_free(struct verbs_headers *headers)
{
	heap_free(headers);
}

void verbs_headers_note(struct verbs_headers *headers, uint16_t tag, const struct ibv_sge *sge,
			unsigned int num_sge)
{
	if (tag >= headers->tags)
		return;
	for (unsigned int i = 0; i < PIECES; i++)
		headers->header[tag].piece[i] = i < num_sge ? sge[i] : (struct ibv_sge){ 0 };
}

/* False: it does not lie in the pieces that were noted, or they are no region's. */
static bool header_read(const struct header *header, struct verbs_vm *vv, uint8_t grh[GRH_LEN])
{
	const struct ibv_sge *piece = header->piece;
	uint32_t n, got = 0;

	for (unsigned int i = 0; i < PIECES && got < GRH_LEN; i++, got += n) {
		n = piece[i].length < GRH_LEN - got ? piece[i].length : GRH_LEN - got;
		if (n && !verbs_mr_read(vv, piece[i].lkey, piece[i].addr, grh + got, n))
			return false;
	}
	return got == GRH_LEN;
}

static void header_write(const struct header *header, struct verbs_vm *vv, const struct ibv_pd *pd,
			 const uint8_t grh[GRH_LEN])
{
	const struct ibv_sge *piece = header->piece;
	uint32_t n, done = 0;

	for (unsigned int i = 0; i < PIECES && done < GRH_LEN; i++, done += n) {
		n = piece[i].length < GRH_LEN - done ? piece[i].length : GRH_LEN - done;
		if (n && !verbs_mr_write(vv, pd, piece[i].lkey, piece[i].addr, grh + done, n))
			return;
	}
}

uint8_t verbs_headers_type(struct verbs_headers *headers, struct verbs_vm *vv, uint16_t tag)
{
	uint8_t grh[GRH_LEN];

	if (tag >= headers->tags || !header_read(&headers->header[tag], vv, grh))
		return 0;
	return grh_header_type(grh);
}

void verbs_headers_show(struct verbs_headers *headers, struct vm *vm, const struct ibv_pd *pd,
			uint16_t tag, uint32_t src_qpn)
{
	uint8_t grh[GRH_LEN], source[16], destination[16], type;
	struct verbs_vm *vv = vm->fabric_vm;

	if (tag >= headers->tags || !header_read(&headers->header[tag], vv, grh))
		return;
	type = grh_header_type(grh);
	if (!type)
		return;
	grh_addresses(grh, type, source, destination);
	if (!verbs_address_show(vm, src_qpn, source, destination))
		return;
	grh_set_addresses(grh, type, source, destination);
	header_write(&headers->header[tag], vv, pd, grh);
}
