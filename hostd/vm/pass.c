// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The end of a turn
 *
 * CQs that got completions are looked at, and events are written for those whose guest asked. Then
 * each event queue has one interrupt, however many CQs have an event in it. So a guest with many
 * busy connections has few interrupts, and none comes later than the turn that it belongs to.
 */
#include "vm/pass.h"

#include "vm/cq.h"
#include "vm/events.h"

static void interrupt(struct pass *pass)
{
	pass_spend(pass, (int64_t)PASS_INTERRUPT_NS * pass->num_ceqs);
	for (unsigned int i = 0; i < pass->num_ceqs; i++)
		events_interrupt(pass->ceqs[i]->vm, pass->ceqs[i]->vector);
	pass->num_ceqs = 0;
}

static void look(struct pass *pass)
{
	for (unsigned int i = 0; i < pass->num_cqs; i++)
		cq_notify(pass, pass->cqs[i]);
	pass->num_cqs = 0;
}

void pass_end(struct pass *pass)
{
	look(pass);
	interrupt(pass);
}

void pass_add_cq(struct pass *pass, struct cq *cq)
{
	if (pass->num_cqs == PASS_CQS)
		look(pass);
	pass->cqs[pass->num_cqs++] = cq;
}

void pass_add_ceq(struct pass *pass, struct ceq *ceq)
{
	/* Most likely that of the CQ before. */
	for (unsigned int i = pass->num_ceqs; i--;)
		if (pass->ceqs[i] == ceq)
			return;
	if (pass->num_ceqs == PASS_CEQS)
		interrupt(pass);
	pass->ceqs[pass->num_ceqs++] = ceq;
}
