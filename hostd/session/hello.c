// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HELLO: who QEMU is, and whether it is served
 *
 * By a VM's own socket QEMU is that VM; what it says of name and UUID does not count. By
 * the socket for all it is who it says to be. A VM is served once (session/identity.c).
 * If its former session is about to end, since its QEMU has closed the link, then this one
 * waits for that end; QEMU sends nothing before it has the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pvhca-version.h>

#include "lib/address.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "session/identity.h"
#include "session/private.h"

#define REASON	 sizeof(((struct pvhca_link_hello_reply *)0)->reason)
#define AGAIN_MS 5 /* until a former session is looked at once more */

static bool hello_text_ends(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

/* ----------------------------------- who ----------------------------------- */

/* Names of VMs stand in logs: printable characters, never empty. */
static void hello_set_name(struct vm *vm, const struct pvhca_link_hello *hello)
{
	static const uint8_t no_uuid[16];
	char uuid[UUID_TEXT];

	if (hello->name[0])
		snprintf(vm->name, sizeof(vm->name), "%s", hello->name);
	else if (memcmp(hello->uuid, no_uuid, sizeof(no_uuid)))
		snprintf(vm->name, sizeof(vm->name), "%s", address_uuid_text(hello->uuid, uuid));
	else
		vm->anonymous = true;
	for (char *c = vm->name; *c; c++)
		if (!g_ascii_isprint(*c))
			*c = '?';
}

/* As the [vm] group of its socket has it. */
static void hello_claim_group(struct pvhca_link_hello *hello, const char *group)
{
	memset(hello->uuid, 0, sizeof(hello->uuid));
	memset(hello->name, 0, sizeof(hello->name));
	if (!address_parse_uuid(group, hello->uuid))
		g_strlcpy(hello->name, group, sizeof(hello->name));
}

static int hello_check(struct session *session, const struct pvhca_link_hello *hello)
{
	static const uint8_t zero[sizeof(hello->reserved1)];

	if (!hello_text_ends(hello->name, sizeof(hello->name)) ||
	    !hello_text_ends(hello->version, sizeof(hello->version)))
		return session_refuse(session, "text without end in HELLO");
	if (hello->reserved0 || memcmp(hello->reserved1, zero, sizeof(zero)))
		return session_refuse(session, "reserved field in HELLO");
	if (hello->num_vectors <= PVHCA_VECTOR_COMP || hello->num_vectors > PVHCA_VECTORS_MAX)
		return session_refuse(session, "%u vectors", hello->num_vectors);
	if (!hello->num_doorbells || hello->num_doorbells > PVHCA_DB_MAX)
		return session_refuse(session, "%u doorbells", hello->num_doorbells);
	return 0;
}

/* --------------------------------- answers --------------------------------- */

static void hello_reply(struct session *session, uint32_t refused, const char *reason)
{
	struct pvhca_link_hello_reply reply = {
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.abi_minor = PVHCA_LINK_ABI_MINOR,
		.version = PVHCA_VERSION,
		.refused = refused,
		.features = !refused && session->vm.hello_pair ? PVHCA_LINK_F_PAIR : 0,
	};

	g_strlcpy(reply.reason, reason, sizeof(reply.reason));
	session_send(session, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
}

/* Who is refused comes again, as QEMU does each second. */
static int hello_refuse(struct session *session, uint32_t error, const char *reason)
{
	hello_reply(session, error, reason);
	vm_warning(&session->vm, "refused: %s", reason);
	return -ECONNREFUSED;
}

static int hello_accept(struct session *session)
{
	vm_apply_quota(&session->vm);
	if (session->door_log)
		log_source_start(&session->vm.own_log, session->door_log);
	session->vm.log = &session->vm.own_log;
	session->hello_ns = 0;
	/* Before the answer, so that a peer that has it finds the name in the statistics. */
	vm_set_state(&session->vm, VM_IDLE);
	hello_reply(session, 0, "");
	vm_message(&session->vm, "connected, session %u", session->vm.id);
	return 0;
}

/* -------------------------------- admission -------------------------------- */

/* 0: it is served, or waits to be; else the connection ends. */
static int hello_admit(struct session *session)
{
	unsigned int other = 0;
	char reason[REASON];
	int ret;

	ret = identity_claim(session, &other);
	if (!ret)
		return hello_accept(session);
	if (ret == -EAGAIN) {
		session->again_ns = clock_ns() + AGAIN_MS * NS_PER_MS;
		return 0;
	}
	snprintf(reason, sizeof(reason), "its name or UUID is served already, by session %u",
		 other);
	return hello_refuse(session, EBUSY, reason);
}

void session_hello_again(struct session *session)
{
	session->again_ns = 0;
	if (hello_admit(session))
		session_quit(session);
}

/* Take what it says; the settings that come with it, or NULL with *reason. */
static struct vm_policy *hello_take(struct session *session, struct pvhca_link_hello *hello,
				    const char **reason)
{
	const struct config_peer peer = {
		.group = session->group,
		.user = session->user,
		.name = hello->name,
		.uuid = hello->uuid,
	};
	struct vm *vm = &session->vm;
	struct vm_policy *policy;

	policy = config_admit(vm->config, &peer, reason);
	g_strlcpy(session->said_name, hello->name, sizeof(session->said_name));
	if (session->group)
		hello_claim_group(hello, session->group);
	hello_set_name(vm, hello);
	memcpy(vm->uuid, hello->uuid, sizeof(vm->uuid));
	memcpy(vm->hello_mac, hello->mac, sizeof(vm->hello_mac));
	vm->hello_pair = hello->features & PVHCA_LINK_F_PAIR;
	session->minor = MIN(hello->abi_minor, PVHCA_LINK_ABI_MINOR);
	vm->num_vectors = hello->num_vectors;
	vm->num_doorbells = hello->num_doorbells;
	return policy;
}

int session_hello(struct session *session, struct link_message *message)
{
	struct pvhca_link_hello *hello = &message->hello;
	struct vm_policy *policy;
	char text[REASON];
	const char *reason;
	int ret;

	if (atomic_load(&session->vm.state) != VM_CONNECTED || session->again_ns)
		return session_refuse(session, "a second HELLO");
	/* The rest of a HELLO of another major version is not checked. */
	if (hello->abi_major != PVHCA_LINK_ABI_MAJOR) {
		snprintf(text, sizeof(text), "pvhcad %s speaks link ABI %u.%u, this QEMU %u.%u",
			 PVHCA_VERSION, PVHCA_LINK_ABI_MAJOR, PVHCA_LINK_ABI_MINOR,
			 hello->abi_major, hello->abi_minor);
		return hello_refuse(session, EPROTO, text);
	}
	ret = hello_check(session, hello);
	if (ret)
		return ret;
	policy = hello_take(session, hello, &reason);
	if (!policy)
		return reason ? hello_refuse(session, EACCES, reason) :
				hello_refuse(session, ENOMEM, "pvhcad has no memory");
	config_policy_free(session->vm.policy);
	session->vm.policy = policy;
	session->vm.network = policy->network;
	return hello_admit(session);
}

void session_on_settings(struct session *session)
{
	struct vm *vm = &session->vm;
	const struct config_peer peer = {
		.group = session->group,
		.user = session->user,
		.name = session->said_name,
		.uuid = vm->uuid,
	};
	struct vm_policy *policy;
	const char *reason;

	/* Who has not been let in yet meets the new settings then. */
	if (atomic_load(&vm->state) == VM_CONNECTED)
		return;
	policy = config_admit(vm->config, &peer, &reason);
	if (!policy && !reason) {
		vm_warning(vm, "keeps its former settings: no memory");
		return;
	}
	if (!policy) {
		vm_message(
			vm,
			"would not be served any more (%s); it is until it ends, see pvhcactl evict",
			reason);
		return;
	}
	if (policy->network != vm->network)
		vm_message(vm, "stays in network %s until it connects again",
			   config_network_name(vm->network));
	vm_change_policy(vm, policy);
}
