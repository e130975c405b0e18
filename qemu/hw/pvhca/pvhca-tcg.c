/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca under TCG: the guest's atomic operations are atomic for pvhcad, too
 *
 * For a machine that has one processor and can get no second, TCG translates
 * locked instructions into plain loads and stores: nobody else runs guest code.
 * But pvhcad is another process with the same memory.  The rings need a locked
 * instruction to be one, and to be the full barrier that it is on x86; where it
 * is not, a post may be overlooked by a pvhcad that is about to sleep.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "hw/core/cpu.h"
#include "pvhca-internal.h"

/*
 * Takes effect as soon as a processor looks for code to run: translations made
 * without the flag are not found any more.
 */
void pvhca_tcg_share_memory(void)
{
    CPUState *cpu;

    if (!tcg_enabled()) {
        return;
    }
    CPU_FOREACH(cpu)
    {
        qatomic_or(&cpu->tcg_cflags, CF_PARALLEL);
    }
}
