// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest.h"
#include "pvhca-link.h"
#include "pvhca-version.h"
#include "timescale.h"

#define COMMANDS_LOG	  4 /* of GUEST_COMMANDS */
#define ANSWER_TIMEOUT_MS ((int)scaled(60000))

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return -1;
}

/* ----------------------------------- link ---------------------------------- */

static int link_send(struct guest *guest, uint32_t type, const void *payload, uint32_t size,
		     const int *fds, unsigned int num_fds)
{
	struct pvhca_link_header header = {
		.magic = PVHCA_LINK_MAGIC,
		.type = type,
		.size = size,
	};
	struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)payload, .iov_len = size },
	};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * PVHCA_LINK_MAX_FDS)];
	} control = { 0 };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

	if (num_fds) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * num_fds);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * num_fds);
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * num_fds);
	}
	if (sendmsg(guest->socket, &message, MSG_NOSIGNAL) != (ssize_t)(sizeof(header) + size))
		return fail("send to pvhcad");
	return 0;
}

static int link_receive(struct guest *guest, uint32_t type, void *payload, uint32_t size)
{
	struct pvhca_link_header header;

	if (recv(guest->socket, &header, sizeof(header), MSG_WAITALL) != sizeof(header))
		return fail("receive from pvhcad");
	if (header.type != type || header.size != size) {
		fprintf(stderr, "pvhcad sent message %#x instead of %#x\n", header.type, type);
		return -1;
	}
	if (recv(guest->socket, payload, size, MSG_WAITALL) != (ssize_t)size)
		return fail("receive from pvhcad");
	return 0;
}

static int say_hello(struct guest *guest, const char *name)
{
	struct pvhca_link_hello hello = {
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.abi_minor = PVHCA_LINK_ABI_MINOR,
		.num_vectors = PVHCA_VECTOR_ADMIN + GUEST_VECTORS,
		.num_doorbells = GUEST_DOORBELLS,
		.version = PVHCA_VERSION,
	};
	struct pvhca_link_hello_reply reply;

	snprintf(hello.name, sizeof(hello.name), "%s", name);
	if (link_send(guest, PVHCA_LINK_HELLO, &hello, sizeof(hello), NULL, 0) ||
	    link_receive(guest, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply)))
		return -1;
	if (reply.refused) {
		fprintf(stderr, "pvhcad refused: %s\n", reply.reason);
		return -1;
	}
	return 0;
}

static int send_event_fds(struct guest *guest, uint32_t kind, uint32_t first, int *fds,
			  uint32_t count)
{
	struct pvhca_link_event_fds message = {
		.kind = kind,
		.first = first,
		.count = count,
	};
	uint32_t i;

	for (i = 0; i < count; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fds[i] < 0)
			return fail("eventfd");
	}
	return link_send(guest, PVHCA_LINK_EVENT_FDS, &message, sizeof(message), fds, count);
}

static int make_ram(struct guest *guest, size_t size)
{
	struct pvhca_link_mem message = { .size = size, .page_size = 4096 };

	guest->ram_size = size;
	guest->ram_fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (guest->ram_fd < 0 || ftruncate(guest->ram_fd, size))
		return fail("guest RAM");
	guest->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->ram_fd, 0);
	if (guest->ram == MAP_FAILED)
		return fail("map guest RAM");
	return link_send(guest, PVHCA_LINK_MEM_ADD, &message, sizeof(message), &guest->ram_fd, 1);
}

static int connect_to(struct guest *guest, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	guest->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (guest->socket < 0 ||
	    connect(guest->socket, (struct sockaddr *)&address, sizeof(address)))
		return fail(path);
	return 0;
}

/* --------------------------------- the driver ------------------------------ */

void *guest_alloc(struct guest *guest, size_t size)
{
	void *at = guest->ram + guest->ram_used;

	size = (size + PVHCA_GRANULE - 1) & ~(size_t)(PVHCA_GRANULE - 1);
	if (size > guest->ram_size - guest->ram_used) {
		fprintf(stderr, "guest RAM is used up\n");
		return NULL;
	}
	guest->ram_used += size;
	return at;
}

void guest_memory(const struct guest *guest, const void *at, size_t size,
		  struct pvhca_mem_list *list)
{
	uint64_t first = guest_physical(guest, at) & ~(PVHCA_GRANULE - 1ull);
	uint64_t end = (guest_physical(guest, at) + size + PVHCA_GRANULE - 1) &
		~(PVHCA_GRANULE - 1ull);

	*list = (struct pvhca_mem_list){
		.num_extents = htole32(1),
		.length = htole64(end - first),
		.extents[0] = { htole64(first), htole64(end - first) },
	};
}

void guest_ring_doorbell(struct guest *guest, uint32_t offset)
{
	guest->doorbells_rung++;
	eventfd_write(guest->doorbell[offset / PVHCA_DB_STRIDE], 1);
}

void guest_post_command(struct guest *guest, struct pvhca_admin_cmd *command)
{
	uint32_t index = guest->num_commands++;

	command->cookie = htole32(index);
	guest->commands[index & (GUEST_COMMANDS - 1)] = *command;
	__atomic_store_n(&guest->area->sq_pi, htole32(index + 1), __ATOMIC_RELEASE);
	eventfd_write(guest->admin_doorbell, 1);
}

int guest_next_answer(struct guest *guest, struct pvhca_admin_rsp *response)
{
	uint32_t index = guest->num_answers++, flags;
	bool phase = !(index / GUEST_COMMANDS & 1);
	struct pvhca_admin_rsp *answer = &guest->responses[index & (GUEST_COMMANDS - 1)];
	struct pollfd irq = { .fd = guest->vector[0], .events = POLLIN };
	eventfd_t count;

	for (;;) {
		flags = le32toh(__atomic_load_n(&answer->flags, __ATOMIC_ACQUIRE));
		if (!!(flags & PVHCA_ADMIN_RSP_F_PHASE) == phase)
			break;
		if (poll(&irq, 1, ANSWER_TIMEOUT_MS) != 1) {
			fprintf(stderr, "no answer to a command\n");
			return -1;
		}
		eventfd_read(guest->vector[0], &count);
	}
	*response = *answer;
	__atomic_store_n(&guest->area->cq_ci, htole32(index + 1), __ATOMIC_RELEASE);
	return 0;
}

int guest_command(struct guest *guest, struct pvhca_admin_cmd *command,
		  struct pvhca_admin_rsp *response)
{
	guest_post_command(guest, command);
	if (guest_next_answer(guest, response))
		return -1;
	if (response->cookie != command->cookie) {
		fprintf(stderr, "answer to another command\n");
		return -1;
	}
	return le32toh(response->status);
}

static int enable(struct guest *guest)
{
	struct pvhca_link_enable message = { .id = 1 };
	struct pvhca_admin_area *area;
	struct pvhca_link_reply reply;
	void *aeq;

	area = guest->area = guest_alloc(guest, sizeof(*area));
	guest->commands = guest_alloc(guest, PVHCA_CMD_SIZE * GUEST_COMMANDS);
	guest->responses = guest_alloc(guest, PVHCA_CMD_SIZE * GUEST_COMMANDS);
	aeq = guest_alloc(guest, PVHCA_GRANULE);
	if (!aeq)
		return -1;
	*area = (struct pvhca_admin_area){
		.magic = htole32(PVHCA_ADMIN_MAGIC),
		.abi_major = htole16(PVHCA_ADMIN_ABI_MAJOR),
		.abi_minor = htole16(PVHCA_ADMIN_ABI_MINOR),
		.features = htole64(PVHCA_FEATURE_UNORDERED),
		.sq_addr = htole64(guest_physical(guest, guest->commands)),
		.cq_addr = htole64(guest_physical(guest, guest->responses)),
		.aeq_addr = htole64(guest_physical(guest, aeq)),
		.sq_log_entries = COMMANDS_LOG,
		.cq_log_entries = COMMANDS_LOG,
		.aeq_log_entries = 6,
		.driver_version = PVHCA_VERSION,
	};
	message.admin_gpa = guest_physical(guest, area);
	if (link_send(guest, PVHCA_LINK_ENABLE, &message, sizeof(message), NULL, 0) ||
	    link_receive(guest, PVHCA_LINK_ENABLE_REPLY, &reply, sizeof(reply)))
		return -1;
	if (reply.error) {
		fprintf(stderr, "pvhcad does not enable: %u: %s\n", reply.error,
			area->hostd_message);
		return -1;
	}
	return 0;
}

static int create_ceq(struct guest *guest)
{
	struct pvhca_admin_cmd command = {
		.opcode = htole16(PVHCA_CMD_CREATE_CEQ),
		.create_ceq = {
			.log_entries = htole32(GUEST_CEQ_LOG),
			.vector = htole32(PVHCA_VECTOR_ADMIN + GUEST_CEQ_VECTOR),
		},
	};
	struct pvhca_admin_rsp response;
	void *eq = guest_alloc(guest, PVHCA_GRANULE);
	int status;

	if (!eq)
		return -1;
	command.create_ceq.addr = htole64(guest_physical(guest, eq));
	status = guest_command(guest, &command, &response);
	if (status) {
		fprintf(stderr, "CREATE_CEQ: status %d\n", status);
		return -1;
	}
	guest->ceq = le32toh(response.created.handle);
	guest->eq = eq;
	return 0;
}

int guest_open(struct guest *guest, const char *path, const char *name, size_t ram_size)
{
	*guest = (struct guest){ .socket = -1, .ram_fd = -1 };
	if (connect_to(guest, path) || say_hello(guest, name) ||
	    send_event_fds(guest, PVHCA_LINK_EVENT_ADMIN_DB, 0, &guest->admin_doorbell, 1) ||
	    send_event_fds(guest, PVHCA_LINK_EVENT_DATA_DB, 0, guest->doorbell, GUEST_DOORBELLS) ||
	    send_event_fds(guest, PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTOR_ADMIN, guest->vector,
			   GUEST_VECTORS) ||
	    make_ram(guest, ram_size) || enable(guest) || create_ceq(guest))
		return -1;
	return 0;
}

/* The process is about to end: descriptors go with it; pvhcad is told now. */
void guest_close(struct guest *guest)
{
	close(guest->socket);
	munmap(guest->ram, guest->ram_size);
	close(guest->ram_fd);
}
