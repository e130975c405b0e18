// SPDX-License-Identifier: GPL-2.0-or-later
/* How long a turn of a VM still goes on. */
#include "vm/pass.h"

/* Where, from here on, the clock is to be looked at. */
static void set_check(struct pass *pass)
{
	pass->check = pass->left > PASS_CHECK_NS ? pass->left - PASS_CHECK_NS : 0;
}

void pass_begin_turn(struct pass *pass, int64_t ns, uint64_t began)
{
	pass->left = ns;
	pass->granted = ns;
	pass->began = began;
	pass->bytes = PASS_TURN_BYTES;
	pass->limited = false;
	pass->rate_bytes = PASS_UNLIMITED;
	pass->rate_messages = PASS_UNLIMITED;
	set_check(pass);
}

bool pass_check(struct pass *pass)
{
	int64_t left;

	if (pass->left > 0 && pass->clock) {
		left = pass->granted - (int64_t)(pass->clock() - pass->began);
		if (left < pass->left)
			pass->left = left;
	}
	set_check(pass);
	return pass->left > 0;
}
