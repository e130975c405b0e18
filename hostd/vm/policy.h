/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which VM may have which address: by its settings, and by the addresses of other VMs.
 * All functions may be called from any thread.
 */
#ifndef HOSTD_VM_POLICY_H
#define HOSTD_VM_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/*
 * The adapter belongs to a network interface that the guest has besides: by the VM's
 * settings, or if they do not say, by QEMU's wish.
 */
bool policy_is_paired(const struct vm *vm);

/*
 * Claim a GID for a session: PVHCA_ST_OK; PVHCA_ST_DENIED when its settings do not
 * allow it, or those of another VM name it; PVHCA_ST_IN_USE when another session has it. Each claim needs its release.
 */
int policy_claim_gid(struct vm *vm, const uint8_t gid[16]);
void policy_release_gid(struct vm *vm, const uint8_t gid[16]);

/*
 * Choose vm->mac, once for the session's life: the MAC of its settings, else the one that
 * QEMU asks for, else the fabric's, else one derived from UUID or name. No two sessions
 * have the same MAC, except for the fabric's. PVHCA_ST_OK or PVHCA_ST_IN_USE.
 *
 * If the adapter is paired, it is the MAC of an interface that the guest has: the first
 * two only. PVHCA_ST_INVALID: nobody names one.
 */
int policy_claim_mac(struct vm *vm);
void policy_release_mac(struct vm *vm);

#endif
