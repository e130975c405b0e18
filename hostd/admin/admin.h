/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The admin queue (pvhca-admin.h) of one session. All in the session's thread.
 */
#ifndef HOSTD_ADMIN_ADMIN_H
#define HOSTD_ADMIN_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "pvhca/pvhca-regs.h"

struct vm;

/*
 * Check what the driver put into its admin area, and map the queues; sets
 * vm->admin, vm->aeq and vm->features. Returns 0 or an enum pvhca_dev_error, which the area
 * then tells too, with the reason, where there is an area.
 */
uint32_t admin_open(struct vm *vm, uint64_t gpa);
void admin_close(struct vm *vm);

/* Tell the driver, in its area, that it is accepted (error 0) or why not. */
void admin_answer(struct vm *vm, uint32_t error, const char *message);

/*
 * Carry out up to max commands. True: more are there. When the driver has left no
 * room for completions, commands wait and vm_retry_soon() is called.
 */
bool admin_serve(struct vm *vm, unsigned int max);

#endif
