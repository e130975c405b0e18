// SPDX-License-Identifier: GPL-2.0-or-later
#include "vm/pass.h"

#include "vm/cq.h"

void pass_end(struct pass *pass)
{
	for (unsigned int i = 0; i < pass->num_cqs; i++)
		cq_notify(pass, pass->cqs[i]);
	pass->num_cqs = 0;
}

void pass_add_cq(struct pass *pass, struct cq *cq)
{
	if (pass->num_cqs == PASS_CQS)
		pass_end(pass);
	pass->cqs[pass->num_cqs++] = cq;
}
