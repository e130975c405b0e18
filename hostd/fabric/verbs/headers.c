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
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "fabric/verbs/private.h"
#include "lib/grh.h"
#include "lib/heap.h"

/* More pieces of 40 bytes than this are not put together; programs have one, or the 40 apart. */
#define PIECES 2 /* verbs_headers_note() sets them */

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
	static const struct ibv_sge none;
	struct ibv_sge *to;

	if (tag >= headers->tags)
		return;
	to = headers->header[tag].piece;
	to[0] = num_sge ? sge[0] : none;
	/* With 40 bytes in the first nobody looks at another one. */
	if (to[0].length < GRH_LEN)
		to[1] = num_sge > 1 ? sge[1] : none;
}

/*
 * False: it does not lie in the pieces that were noted, or they are no region's. With
 * vv->keys_lock held. The bytes are copied once, wherever the guest has its memory truncated
 * (memory/fault.c).
 */
static bool header_read(const struct header *header, struct verbs_vm *vv,
			const struct verbs_mr **last, uint8_t grh[GRH_LEN])
{
	const struct ibv_sge *piece = header->piece;
	const uint8_t *at;
	uint32_t n, got;

	if (piece->length >= GRH_LEN) {
		at = verbs_mr_at(vv, last, piece->lkey, piece->addr, GRH_LEN);
		if (at)
			memcpy(grh, at, GRH_LEN);
		return at;
	}
	for (got = 0; got < GRH_LEN && piece < header->piece + PIECES; piece++, got += n) {
		n = piece->length < GRH_LEN - got ? piece->length : GRH_LEN - got;
		if (!n)
			continue;
		at = verbs_mr_at(vv, last, piece->lkey, piece->addr, n);
		if (!at)
			return false;
		memcpy(grh + got, at, n);
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

void verbs_headers_types(struct verbs_headers *headers, struct verbs_vm *vv, struct pvhca_cqe *cqes,
			 unsigned int count)
{
	const struct verbs_mr *last = NULL;
	uint8_t grh[GRH_LEN];
	uint16_t tag;

	pthread_mutex_lock(&vv->keys_lock);
	for (unsigned int i = 0; i < count; i++) {
		tag = le16toh(cqes[i].wqe_index);
		if (!cqes[i].sl && !cqes[i].status && tag < headers->tags &&
		    header_read(&headers->header[tag], vv, &last, grh))
			cqes[i].sl = grh_header_type(grh);
	}
	pthread_mutex_unlock(&vv->keys_lock);
}

void verbs_headers_show(struct verbs_headers *headers, struct vm *vm, const struct ibv_pd *pd,
			uint16_t tag, uint32_t src_qpn)
{
	uint8_t grh[GRH_LEN], source[16], destination[16], type;
	struct verbs_vm *vv = vm->fabric_vm;
	const struct verbs_mr *last = NULL;
	bool found;

	if (tag >= headers->tags)
		return;
	pthread_mutex_lock(&vv->keys_lock);
	found = header_read(&headers->header[tag], vv, &last, grh);
	pthread_mutex_unlock(&vv->keys_lock);
	if (!found)
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
