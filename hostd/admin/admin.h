/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The admin queue (pvhca-admin.h) of one session. All in the session's thread; it
 * hands commands that may take long to others.
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
/*
 * Begin no command any more, and wait for those under way, which an engine may carry out as
 * slowly as it likes; the log says so. Those that wait for others are forgotten. Before
 * the VM's objects are destroyed.
 */
void admin_stop(struct vm *vm);
void admin_close(struct vm *vm);

/* Tell the driver, in its area, that it is accepted (error 0) or why not. */
void admin_answer(struct vm *vm, uint32_t error, const char *message);

/*
 * Take up to max commands, and carry out or hand over. True: more are there. When the driver
 * has left no room for completions, commands wait and vm_retry_soon() is called. When
 * too many are under way, they wait until vm->thread->serve() is called.
 */
bool admin_serve(struct vm *vm, unsigned int max);

#endif
