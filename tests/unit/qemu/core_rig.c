// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core_rig.h"

static ssize_t rig_write(void *opaque, const void *bytes, size_t len, const int *fds, int num_fds)
{
	struct rig *rig = opaque;
	size_t n = MIN(len, rig->room);

	if (rig->fails) {
		if (rig->closes_in_write)
			pvhca_client_closed(rig->client);
		errno = EPIPE;
		return -1;
	}
	if (n == 0) {
		errno = EAGAIN;
		return -1;
	}
	for (int i = 0; i < num_fds; i++)
		ck_assert_int_ge(fds[i], 0);
	ck_assert_uint_le(rig->len + n, RIG_BYTES);
	memcpy(rig->bytes + rig->len, bytes, n);
	rig->len += n;
	rig->num_fds += num_fds;
	rig->room -= n;
	return n;
}

static void rig_wait_writable(void *opaque, bool wanted)
{
	struct rig *rig = opaque;

	ck_assert(rig->waits != wanted);
	rig->waits = wanted;
}

/* As a socket that reports the end at once. */
static void rig_disconnect(void *opaque)
{
	struct rig *rig = opaque;

	rig->disconnects++;
	pvhca_client_closed(rig->client);
}

static void rig_warn(void *opaque, const char *text)
{
	struct rig *rig = opaque;

	rig->warnings++;
	g_strlcpy(rig->warning, text, sizeof(rig->warning));
}

const PvhcaTransport rig_transport = {
	.write = rig_write,
	.wait_writable = rig_wait_writable,
	.disconnect = rig_disconnect,
	.warn = rig_warn,
};

void rig_raise(void *opaque)
{
	((struct rig *)opaque)->interrupts++;
}

void rig_init(struct rig *rig, PvhcaClient *client)
{
	memset(rig, 0, sizeof(*rig));
	rig->client = client;
	rig->bytes = g_malloc(RIG_BYTES);
	rig->room = SIZE_MAX;
}

void rig_fini(struct rig *rig)
{
	g_free(rig->bytes);
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	return fd;
}

void rig_identify(PvhcaIdentity *identity, unsigned int vectors, unsigned int doorbells)
{
	identity->num_vectors = vectors;
	identity->num_doorbells = doorbells;
	identity->home = "rig";
	g_strlcpy(identity->version, "1.2.3 rig", sizeof(identity->version));
	g_strlcpy(identity->name, "vm1", sizeof(identity->name));
	identity->admin_db = new_eventfd();
	for (unsigned int i = 0; i < doorbells; i++)
		identity->data_db[i] = new_eventfd();
	for (unsigned int i = PVHCA_VECTOR_ADMIN; i < vectors; i++)
		identity->vectors[i] = new_eventfd();
}

void rig_forget(PvhcaIdentity *identity)
{
	close(identity->admin_db);
	for (unsigned int i = 0; i < identity->num_doorbells; i++)
		close(identity->data_db[i]);
	for (unsigned int i = PVHCA_VECTOR_ADMIN; i < identity->num_vectors; i++)
		close(identity->vectors[i]);
}

struct pvhca_link_header rig_take(struct rig *rig, void *payload, size_t size)
{
	struct pvhca_link_header header;

	ck_assert_uint_ge(rig->len - rig->taken, sizeof(header));
	memcpy(&header, rig->bytes + rig->taken, sizeof(header));
	ck_assert_uint_eq(header.magic, PVHCA_LINK_MAGIC);
	ck_assert_uint_eq(header.reserved, 0);
	ck_assert_uint_ge(rig->len - rig->taken, sizeof(header) + header.size);
	if (payload) {
		ck_assert_uint_eq(header.size, size);
		memcpy(payload, rig->bytes + rig->taken + sizeof(header), size);
	}
	rig->taken += sizeof(header) + header.size;
	return header;
}

bool rig_quiet(const struct rig *rig)
{
	return rig->taken == rig->len;
}

void rig_say(struct rig *rig, uint32_t type, const void *payload, size_t size)
{
	struct pvhca_link_header header = { .magic = PVHCA_LINK_MAGIC, .type = type, .size = size };
	uint8_t bytes[PVHCA_CLIENT_MESSAGE_MAX];

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), payload, size);
	pvhca_client_receive(rig->client, bytes, sizeof(header) + size);
}

void rig_hello(struct rig *rig, uint16_t major, uint32_t refused, const char *version)
{
	rig_hello_minor(rig, major, 0, refused, version);
}

void rig_hello_minor(struct rig *rig, uint16_t major, uint16_t minor, uint32_t refused,
		     const char *version)
{
	struct pvhca_link_hello_reply reply = { .abi_major = major,
						.abi_minor = minor,
						.refused = refused };

	g_strlcpy(reply.version, version, sizeof(reply.version));
	rig_say(rig, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
}

void rig_reply(struct rig *rig, uint32_t type, uint64_t id, uint32_t error)
{
	struct pvhca_link_reply reply = { .id = id, .error = error };

	rig_say(rig, type, &reply, sizeof(reply));
}

void rig_accept(struct rig *rig)
{
	ck_assert_uint_eq(rig_take(rig, NULL, 0).type, PVHCA_LINK_HELLO);
	ck_assert(rig_quiet(rig));
	rig_hello(rig, PVHCA_LINK_ABI_MAJOR, 0, "hostd 9.9");
	while (!rig_quiet(rig))
		rig_take(rig, NULL, 0);
}

unsigned int rig_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
