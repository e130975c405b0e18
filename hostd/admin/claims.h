/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command claims: the objects that it needs as they are, and those that it changes
 * or ends. Commands whose claims conflict are carried out in the order in which the guest
 * posted them, others may go side by side.
 */
#ifndef HOSTD_ADMIN_CLAIMS_H
#define HOSTD_ADMIN_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

enum claim_kind {
	CLAIM_NONE,
	CLAIM_CONTEXT,
	CLAIM_PD,
	CLAIM_MR,
	CLAIM_MW,
	CLAIM_AH,
	CLAIM_CEQ,
	CLAIM_CQ,
	CLAIM_SRQ,
	CLAIM_QP,
	CLAIM_GID,  /* an entry of the guest's table, by its index */
	CLAIM_GIDS, /* the table; handle 0 */
};

/**
 * struct claim
 * @alone: no other command has the object meanwhile; else others may, too, that are
 *	content with it as it is
 * @handle: as the guest has it; whether there is such an object is the command's to find out
 */
struct claim {
	enum claim_kind kind;
	bool alone;
	uint32_t handle;
};

/* CREATE_QP names five objects; the end of a QP has the QP itself, too. */
#define CLAIMS_MAX 8

struct claims {
	unsigned int count;
	struct claim claim[CLAIMS_MAX];
};

void claims_add(struct claims *claims, enum claim_kind kind, bool alone, uint32_t handle);
/* What an object hangs on, for its use ends with the object. vm->lock is held. */
void claims_add_parents(struct claims *claims, const struct vm *vm, enum claim_kind kind,
			uint32_t handle);
bool claims_conflict(const struct claims *a, const struct claims *b);

#endif
