// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

static int ram(const char *name, size_t size, unsigned int seals)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	FUZZ_CHECK(fd >= 0 && !ftruncate(fd, size) && !fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static int read_only(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void guest_init(struct guest *guest)
{
	int *fds = guest->fds, pipes[2], sockets[2];
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR2);
	FUZZ_CHECK(!pipe2(pipes, O_CLOEXEC | O_NONBLOCK));
	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets));
	fds[GUEST_FD_RAM] = ram("ram", GUEST_RAM, 0);
	fds[GUEST_FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds[GUEST_FD_BLOCKING_EVENT] = eventfd(0, EFD_CLOEXEC);
	fds[GUEST_FD_SEMAPHORE] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
	fds[GUEST_FD_SMALL_RAM] = ram("small", PVHCA_GRANULE, 0);
	fds[GUEST_FD_SEALED_RAM] = ram("sealed", GUEST_RAM, F_SEAL_SHRINK | F_SEAL_GROW);
	fds[GUEST_FD_READ_ONLY_RAM] = read_only(fds[GUEST_FD_RAM]);
	fds[GUEST_FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[GUEST_FD_PIPE] = pipes[1];
	fds[GUEST_FD_SOCKET] = sockets[0];
	fds[GUEST_FD_SIGNAL] = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	fds[GUEST_FD_EPOLL] = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned int i = 0; i < GUEST_FDS; i++)
		FUZZ_CHECK(fds[i] >= 0);
}

static void guest_clear_ram(const struct guest *guest)
{
	FUZZ_CHECK(!ftruncate(guest->fds[GUEST_FD_RAM], 0));
	FUZZ_CHECK(!ftruncate(guest->fds[GUEST_FD_RAM], GUEST_RAM));
}

int guest_begin(struct guest *guest)
{
	int pair[2];

	guest_clear_ram(guest);
	guest->sq_pi = guest->cookie = 0;
	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	guest->link = pair[1];
	return pair[0];
}

void guest_end(struct guest *guest)
{
	eventfd_t count;

	close(guest->link);
	for (unsigned int i = GUEST_FD_EVENT; i <= GUEST_FD_SEMAPHORE; i++) {
		fcntl(guest->fds[i], F_SETFL, O_NONBLOCK);
		eventfd_read(guest->fds[i], &count);
	}
	fcntl(guest->fds[GUEST_FD_BLOCKING_EVENT], F_SETFL, 0);
}

/* --------------------------------- messages -------------------------------- */

static void throw_replies_away(const struct guest *guest)
{
	char bytes[4096];

	while (recv(guest->link, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

void guest_send(struct guest *guest, const void *bytes, size_t size, unsigned int num_fds,
		unsigned int first, unsigned int step)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(GUEST_MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec vec = { (void *)bytes, size };
	struct msghdr message = { .msg_iov = &vec, .msg_iovlen = 1 };
	int fds[GUEST_MAX_FDS];

	throw_replies_away(guest);
	if (num_fds > GUEST_MAX_FDS)
		num_fds = GUEST_MAX_FDS;
	if (num_fds) {
		for (unsigned int i = 0; i < num_fds; i++)
			fds[i] = guest->fds[(first + i * step) % GUEST_FDS];
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		control.align.cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.align), fds, num_fds * sizeof(int));
	}
	/* pvhcad may have closed it. */
	(void)!sendmsg(guest->link, &message, MSG_NOSIGNAL);
}

void guest_message(struct guest *guest, uint32_t type, const void *payload, size_t size,
		   unsigned int num_fds, unsigned int first, unsigned int step)
{
	struct {
		struct pvhca_link_header header;
		uint8_t payload[UINT16_MAX];
	} message = { { .magic = PVHCA_LINK_MAGIC, .type = type, .size = size }, { 0 } };

	memcpy(message.payload, payload, size);
	guest_send(guest, &message, sizeof(message.header) + size, num_fds, first, step);
}

static void guest_events(struct guest *guest, uint32_t kind, uint32_t first, uint32_t count)
{
	struct pvhca_link_event_fds event = { .kind = kind, .first = first, .count = count };

	guest_message(guest, PVHCA_LINK_EVENT_FDS, &event, sizeof(event), count, GUEST_FD_EVENT, 0);
}

void guest_bring_up(struct guest *guest, uint64_t features)
{
	struct pvhca_link_hello hello = {
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.abi_minor = PVHCA_LINK_ABI_MINOR,
		.num_vectors = GUEST_VECTORS,
		.num_doorbells = GUEST_DOORBELLS,
		.name = "guest",
		.version = "1",
	};
	struct pvhca_link_mem mem = { .size = GUEST_RAM, .page_size = PVHCA_GRANULE };

	guest_message(guest, PVHCA_LINK_HELLO, &hello, sizeof(hello), 0, 0, 0);
	guest_events(guest, PVHCA_LINK_EVENT_ADMIN_DB, 0, 1);
	guest_events(guest, PVHCA_LINK_EVENT_DATA_DB, 0, GUEST_DOORBELLS);
	guest_events(guest, PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTOR_ADMIN, GUEST_VECTORS - 1);
	guest_message(guest, PVHCA_LINK_MEM_ADD, &mem, sizeof(mem), 1, GUEST_FD_RAM, 0);
	guest_enable(guest, features);
}

void guest_enable(struct guest *guest, uint64_t features)
{
	const struct pvhca_admin_area area = {
		.magic = PVHCA_ADMIN_MAGIC,
		.abi_major = PVHCA_ADMIN_ABI_MAJOR,
		.abi_minor = PVHCA_ADMIN_ABI_MINOR,
		.features = features,
		.sq_addr = GUEST_SQ,
		.cq_addr = GUEST_CQ,
		.aeq_addr = GUEST_AEQ,
		.sq_log_entries = GUEST_LOG_ENTRIES,
		.cq_log_entries = GUEST_LOG_ENTRIES,
		.aeq_log_entries = GUEST_LOG_ENTRIES,
	};
	struct pvhca_link_enable enable = { .id = 1, .admin_gpa = GUEST_AREA };

	guest->sq_pi = 0;
	guest_write(guest, GUEST_AREA, &area, sizeof(area));
	guest_message(guest, PVHCA_LINK_ENABLE, &enable, sizeof(enable), 0, 0, 0);
}

/* ---------------------------------- driver --------------------------------- */

void guest_write(struct guest *guest, uint64_t gpa, const void *bytes, size_t size)
{
	if (gpa < GUEST_RAM && size <= GUEST_RAM - gpa)
		(void)!pwrite(guest->fds[GUEST_FD_RAM], bytes, size, gpa);
}

void guest_read(struct guest *guest, uint64_t gpa, void *bytes, size_t size)
{
	memset(bytes, 0, size);
	(void)!pread(guest->fds[GUEST_FD_RAM], bytes, size, gpa);
}

void guest_post(struct guest *guest, const void *command, size_t size)
{
	struct pvhca_admin_cmd cmd = { .cookie = ++guest->cookie };
	const uint32_t at = guest->sq_pi++ % (1 << GUEST_LOG_ENTRIES);
	/* All before this one was answered, and read. */
	const uint32_t read = guest->sq_pi - 1;

	if (size > sizeof(cmd) - sizeof(cmd.cookie))
		size = sizeof(cmd) - sizeof(cmd.cookie);
	memcpy(&cmd.opcode, command, size);
	guest_write(guest, GUEST_SQ + at * sizeof(cmd), &cmd, sizeof(cmd));
	guest_write(guest, GUEST_AREA + offsetof(struct pvhca_admin_area, cq_ci), &read,
		    sizeof(read));
	guest_write(guest, GUEST_AREA + offsetof(struct pvhca_admin_area, sq_pi), &guest->sq_pi,
		    sizeof(guest->sq_pi));
	eventfd_write(guest->fds[GUEST_FD_EVENT], 1);
}

void guest_answer(struct guest *guest, struct pvhca_admin_rsp *rsp)
{
	const uint32_t at = (guest->sq_pi - 1) % (1 << GUEST_LOG_ENTRIES);

	guest_read(guest, GUEST_CQ + at * sizeof(*rsp), rsp, sizeof(*rsp));
}
