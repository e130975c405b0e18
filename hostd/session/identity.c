// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A unix socket tells at once that its peer has closed it. So a QEMU that comes again can
 * be told from a second one of the same name: the link of the former session is closed
 * then, even if its thread has not noticed yet. Nobody is put out by one who comes later:
 * on a socket that many may use that would let one end the VM of another.
 */
#include "session/identity.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "session/private.h"

/* The lock keeps sessions that are on the list, and their links' descriptors. */
static GMutex identity_lock;
static CDS_LIST_HEAD(identities);

static bool identity_is_same(const struct vm *a, const struct vm *b)
{
	static const uint8_t no_uuid[16];

	return !strcmp(a->name, b->name) ||
		(memcmp(a->uuid, no_uuid, sizeof(no_uuid)) &&
		 !memcmp(a->uuid, b->uuid, sizeof(a->uuid)));
}

static bool identity_leaves(const struct session *session)
{
	struct pollfd link = { .fd = session->link.fd, .events = POLLRDHUP };

	return atomic_load(&session->quit) ||
		(poll(&link, 1, 0) == 1 && link.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

int identity_claim(struct session *session, unsigned int *other)
{
	unsigned int present = 0, stay = 0;
	const struct session *now;
	int ret = 0;

	if (session->vm.anonymous)
		return 0;
	g_mutex_lock(&identity_lock);
	cds_list_for_each_entry (now, &identities, identity) {
		if (!identity_is_same(&now->vm, &session->vm))
			continue;
		present++;
		if (identity_leaves(now))
			continue;
		stay++;
		*other = now->vm.id;
	}
	if (stay >= session->vm.policy->quota.adapters)
		ret = -EBUSY;
	else if (present >= session->vm.policy->quota.adapters)
		ret = -EAGAIN;
	else
		cds_list_add(&session->identity, &identities);
	g_mutex_unlock(&identity_lock);
	return ret;
}

void identity_release(struct session *session)
{
	g_mutex_lock(&identity_lock);
	/* Who has none was not added, or not yet. */
	if (session->identity.next) {
		cds_list_del(&session->identity);
		session->identity.next = NULL;
	}
	g_mutex_unlock(&identity_lock);
}
