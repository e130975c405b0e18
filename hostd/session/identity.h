/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which VMs are served: each once, or as often as it may have adapters. All functions may
 * be called from any thread.
 */
#ifndef HOSTD_SESSION_IDENTITY_H
#define HOSTD_SESSION_IDENTITY_H

struct session;

/*
 * Claim name and UUID of session->vm, which do not change any more. 0; -EBUSY: another
 * session, number *other, has one of them; -EAGAIN: it has, but is about to end. A VM
 * without either claims nothing.
 */
int identity_claim(struct session *session, unsigned int *other);
/* When nothing of it is left that quotas count; nothing if it has no claim. */
void identity_release(struct session *session);

#endif
