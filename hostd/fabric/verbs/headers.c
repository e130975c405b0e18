// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where received datagrams have their headers.
 *
 * Programs learn from ibv_wc.sl of a UD receive which network header stands in its first 40
 * bytes (lib/grh.h). Engines such as rxe leave it 0. Then pvhcad looks at these bytes, which
 * lie in the guest's memory: it notes the first SGEs of each receive as it hands them over,
 * by the tag that the completion gives back. Nothing of this is trusted: a guest that uses a
 * tag twice, or changes the bytes, deceives itself.
 */
#include <stdlib.h>

#include "fabric/verbs/private.h"
#include "lib/grh.h"

/* More pieces of 40 bytes than this are not put together; programs have one, or the 40 apart. */
#define PIECES 2

struct header {
	struct ibv_sge piece[PIECES];
};

struct verbs_headers {
	uint32_t tags;
	struct header header[];
};

struct verbs_headers *verbs_headers_new(uint32_t tags)
{
	struct verbs_headers *headers = calloc(1, sizeof(*headers) + tags * sizeof(struct header));

	if (headers)
		headers->tags = tags;
	return headers;
}

void verbs_headers_free(struct verbs_headers *headers)
{
	free(headers);
}

void verbs_headers_note(struct verbs_headers *headers, uint16_t tag, const struct ibv_sge *sge,
			unsigned int num_sge)
{
	if (tag >= headers->tags)
		return;
	for (unsigned int i = 0; i < PIECES; i++)
		headers->header[tag].piece[i] = i < num_sge ? sge[i] : (struct ibv_sge){ 0 };
}

uint8_t verbs_headers_type(struct verbs_headers *headers, struct verbs_vm *vv, uint16_t tag)
{
	uint8_t grh[GRH_LEN];
	uint32_t n, got = 0;
	struct ibv_sge piece;

	if (tag >= headers->tags)
		return 0;
	for (unsigned int i = 0; i < PIECES && got < sizeof(grh); i++, got += n) {
		piece = headers->header[tag].piece[i];
		n = piece.length < sizeof(grh) - got ? piece.length : sizeof(grh) - got;
		if (n && !verbs_mr_read(vv, piece.lkey, piece.addr, grh + got, n))
			return 0;
	}
	return got == sizeof(grh) ? grh_header_type(grh) : 0;
}
