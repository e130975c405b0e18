// SPDX-License-Identifier: GPL-2.0-or-later
/* For tests in which no datagram arrives: nobody looks at a header, or at memory for it. */
#include <check.h>

#include "fabric/verbs/private.h"

const uint8_t *verbs_mr_at(struct verbs_vm *vv, const struct verbs_mr **last, uint32_t lkey,
			   uint64_t addr, uint32_t length)
{
	(void)vv;
	(void)last;
	(void)lkey;
	(void)addr;
	(void)length;
	ck_abort();
}

bool verbs_mr_write(struct verbs_vm *vv, const struct ibv_pd *pd, uint32_t lkey, uint64_t addr,
		    const void *from, uint32_t length)
{
	(void)vv;
	(void)pd;
	(void)lkey;
	(void)addr;
	(void)from;
	(void)length;
	ck_abort();
}

bool verbs_address_show(struct vm *vm, uint32_t src_qpn, uint8_t source[16],
			uint8_t destination[16])
{
	(void)vm;
	(void)src_qpn;
	(void)source;
	(void)destination;
	ck_abort();
}
