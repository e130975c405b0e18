// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "config/text.h"
#include "memory/memory.h"
#include "worker/worker.h"
#include "fabric/fabrics.h"

struct rig rig;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* rig.log */
static unsigned int sessions;
static int fds_before;

static void tell(const char *what)
{
	pthread_mutex_lock(&lock);
	ck_assert_uint_lt(strlen(rig.log) + strlen(what) + 1, sizeof(rig.log));
	if (rig.log[0])
		strcat(rig.log, " ");
	strcat(rig.log, what);
	pthread_mutex_unlock(&lock);
}

void rig_expect_log(const char *log)
{
	pthread_mutex_lock(&lock);
	ck_assert_str_eq(rig.log, log);
	pthread_mutex_unlock(&lock);
}

bool rig_has(const char *what)
{
	bool has;

	pthread_mutex_lock(&lock);
	has = strstr(rig.log, what);
	pthread_mutex_unlock(&lock);
	return has;
}

/* ------------------------- stubs of worker and fabric ---------------------- */

int worker_attach(struct vm *vm)
{
	if (rig.attach_fails)
		return -ENOMEM;
	tell("attach");
	if (rig.on_attach)
		rig.on_attach(vm);
	return 0;
}

void worker_leave(struct vm *vm)
{
	(void)vm;
}

void worker_detach(struct vm *vm)
{
	tell("detach");
	if (rig.on_detach)
		rig.on_detach(vm);
}

int worker_add_context(struct context *context)
{
	(void)context;
	return 0;
}

void worker_del_context(struct context *context)
{
	(void)context;
}

void worker_wake(struct worker *worker)
{
	(void)worker;
}

void worker_settle(struct context *context)
{
	(void)context;
}

static int rig_open(struct fabric *fabric, struct vm *vm)
{
	(void)fabric;
	if (rig.open_fails)
		return PVHCA_ST_IO;
	tell("open");
	vm->fabric_vm = vm;
	return PVHCA_ST_OK;
}

static void rig_close(struct vm *vm)
{
	ck_assert_ptr_eq(vm->fabric_vm, vm);
	vm->fabric_vm = NULL;
	tell("close");
}

static int rig_async_fd(struct vm *vm)
{
	(void)vm;
	return rig.async_fd;
}

static void rig_async(struct vm *vm)
{
	eventfd_t count;

	ck_assert_int_eq(eventfd_read(rig.async_fd, &count), 0);
	tell("async");
	if (rig.on_async)
		rig.on_async(vm);
}

/* -------------------------------- set-up ----------------------------------- */

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

void rig_configure(const char *text)
{
	config_free(rig.config);
	rig.config = config_of_text(text, fabrics_config());
}

void rig_setup(void)
{
	log_init("error"); /* warnings are what is wanted here */
	ck_assert_int_eq(memory_fault_init(), 0);
	rig = (struct rig){
		.ops = {
			.name = "rig",
			.vm_open = rig_open,
			.vm_close = rig_close,
			.vm_async_fd = rig_async_fd,
			.vm_async = rig_async,
		},
		.async_fd = -1,
	};
	rig_configure("");
	/* GLib makes it sooner or later, and keeps its descriptor. */
	g_main_context_default();
	fds_before = count_fds();
}

void rig_teardown(void)
{
	ck_assert_uint_eq(sessions, 0);
	if (rig.async_fd >= 0)
		close(rig.async_fd);
	config_free(rig.config);
	ck_assert_int_eq(count_fds(), fds_before);
}

/* ----------------------------- the session's life -------------------------- */

static void *session_main(void *arg)
{
	struct qemu *qemu = arg;

	session_run(qemu->session);
	/* A test that still waits for an answer is to fail at once. */
	shutdown(qemu->session_fd, SHUT_RDWR);
	return NULL;
}

struct qemu *qemu_new(void)
{
	struct qemu *qemu = calloc(1, sizeof(*qemu));
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	qemu->fd = pair[0];
	qemu->session_fd = pair[1];
	qemu->ram_fd = -1;
	qemu->admin_db = -1;
	for (unsigned int i = 0; i < RIG_DOORBELLS; i++)
		qemu->doorbell[i] = -1;
	for (unsigned int i = 0; i < RIG_VECTORS; i++)
		qemu->vector[i] = -1;
	qemu->session = session_new(pair[1], NULL, NULL, ++sessions, rig.config, &rig.ops, NULL);
	ck_assert_ptr_nonnull(qemu->session);
	qemu->vm = &qemu->session->vm;
	ck_assert_int_eq(pthread_create(&qemu->thread, NULL, session_main, qemu), 0);
	return qemu;
}

static void qemu_join(struct qemu *qemu)
{
	ck_assert_int_eq(pthread_join(qemu->thread, NULL), 0);
	session_free(qemu->session);
	qemu->session = NULL;
	qemu->vm = NULL;
	sessions--;
}

void qemu_expect_end(struct qemu *qemu)
{
	char byte;

	qemu_join(qemu);
	/* Reset: it did not read all. */
	if (recv(qemu->fd, &byte, 1, 0))
		ck_assert_int_eq(errno, ECONNRESET);
}

static void close_all(const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void qemu_free(struct qemu *qemu)
{
	close(qemu->fd);
	if (qemu->session)
		qemu_join(qemu);
	if (qemu->ram)
		munmap(qemu->ram, RIG_RAM);
	close_all(&qemu->ram_fd, 1);
	close_all(&qemu->admin_db, 1);
	close_all(qemu->doorbell, RIG_DOORBELLS);
	close_all(qemu->vector, RIG_VECTORS);
	free(qemu);
}

/* --------------------------------- messages -------------------------------- */

void qemu_send(struct qemu *qemu, uint32_t type, const void *payload, uint32_t size, const int *fds,
	       unsigned int num_fds)
{
	struct pvhca_link_header header = { .magic = PVHCA_LINK_MAGIC, .type = type, .size = size };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(PVHCA_LINK_MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov[2] = {
		{ &header, sizeof(header) },
		{ (void *)payload, size },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (num_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, num_fds * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(qemu->fd, &msg, MSG_NOSIGNAL), sizeof(header) + size);
}

void qemu_receive(struct qemu *qemu, uint32_t type, void *payload, uint32_t size)
{
	struct pvhca_link_header header;

	ck_assert_int_eq(recv(qemu->fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	ck_assert_uint_eq(header.magic, PVHCA_LINK_MAGIC);
	ck_assert_uint_eq(header.type, type);
	ck_assert_uint_eq(header.size, size);
	ck_assert_int_eq(recv(qemu->fd, payload, size, MSG_WAITALL), size);
}

struct pvhca_link_hello qemu_hello(void)
{
	return (struct pvhca_link_hello){
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.abi_minor = PVHCA_LINK_ABI_MINOR,
		.num_vectors = RIG_VECTORS,
		.num_doorbells = RIG_DOORBELLS,
		.name = "guest",
		.version = "1.0",
	};
}

void qemu_connect(struct qemu *qemu)
{
	struct pvhca_link_hello hello = qemu_hello();

	/* A VM is served once. */
	if (qemu->vm->id > 1)
		g_snprintf(hello.name, sizeof(hello.name), "guest-%u", qemu->vm->id);
	qemu_connect_as(qemu, &hello);
}

void qemu_connect_as(struct qemu *qemu, const struct pvhca_link_hello *hello)
{
	struct pvhca_link_hello_reply reply;

	qemu_send(qemu, PVHCA_LINK_HELLO, hello, sizeof(*hello), NULL, 0);
	qemu_receive(qemu, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	ck_assert_uint_eq(reply.refused, 0);
}

void qemu_send_events(struct qemu *qemu, uint32_t kind, uint32_t first, const int *fds,
		      uint32_t count)
{
	struct pvhca_link_event_fds event = { .kind = kind, .first = first, .count = count };

	qemu_send(qemu, PVHCA_LINK_EVENT_FDS, &event, sizeof(event), fds, count);
}

void qemu_events(struct qemu *qemu)
{
	qemu->admin_db = eventfd(0, EFD_CLOEXEC);
	for (unsigned int i = 0; i < RIG_DOORBELLS; i++)
		qemu->doorbell[i] = eventfd(0, EFD_CLOEXEC);
	for (unsigned int i = PVHCA_VECTOR_ADMIN; i < RIG_VECTORS; i++)
		qemu->vector[i] = eventfd(0, EFD_CLOEXEC);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_ADMIN_DB, 0, &qemu->admin_db, 1);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_DATA_DB, 0, qemu->doorbell, RIG_DOORBELLS);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTOR_ADMIN,
			 &qemu->vector[PVHCA_VECTOR_ADMIN], RIG_VECTORS - PVHCA_VECTOR_ADMIN);
}

void qemu_ram(struct qemu *qemu)
{
	struct pvhca_link_mem mem = {
		.gpa = RIG_GPA,
		.size = RIG_RAM,
		.page_size = PVHCA_GRANULE,
	};
	const uint64_t sq = PVHCA_GRANULE, cq = sq + RIG_ENTRIES * sizeof(*qemu->sq),
		       aeq = cq + RIG_ENTRIES * sizeof(*qemu->cq);

	qemu->ram_fd = memfd_create("ram", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(qemu->ram_fd, RIG_RAM), 0);
	qemu->ram = mmap(NULL, RIG_RAM, PROT_READ | PROT_WRITE, MAP_SHARED, qemu->ram_fd, 0);
	ck_assert_ptr_ne(qemu->ram, MAP_FAILED);
	qemu->area = (void *)qemu->ram;
	qemu->sq = (void *)(qemu->ram + sq);
	qemu->cq = (void *)(qemu->ram + cq);
	qemu->aeq = (void *)(qemu->ram + aeq);
	qemu->area->magic = PVHCA_ADMIN_MAGIC;
	qemu->area->abi_major = PVHCA_ADMIN_ABI_MAJOR;
	qemu->area->sq_addr = RIG_GPA + sq;
	qemu->area->cq_addr = RIG_GPA + cq;
	qemu->area->aeq_addr = RIG_GPA + aeq;
	qemu->area->sq_log_entries = qemu->area->cq_log_entries = RIG_LOG_ENTRIES;
	qemu->area->aeq_log_entries = RIG_AEQ_LOG;
	qemu_send(qemu, PVHCA_LINK_MEM_ADD, &mem, sizeof(mem), &qemu->ram_fd, 1);
}

struct qemu *qemu_ready(void)
{
	struct qemu *qemu = qemu_new();

	qemu_connect(qemu);
	qemu_events(qemu);
	qemu_ram(qemu);
	return qemu;
}

/* ---------------------------------- requests ------------------------------- */

void qemu_ask_enable(struct qemu *qemu, uint64_t gpa)
{
	struct pvhca_link_enable enable = { .id = ++qemu->requests, .admin_gpa = gpa };

	qemu_send(qemu, PVHCA_LINK_ENABLE, &enable, sizeof(enable), NULL, 0);
}

void qemu_ask_reset(struct qemu *qemu)
{
	struct pvhca_link_reset reset = { .id = ++qemu->requests };

	qemu_send(qemu, PVHCA_LINK_RESET, &reset, sizeof(reset), NULL, 0);
}

uint32_t qemu_answer(struct qemu *qemu, uint32_t type)
{
	struct pvhca_link_reply reply;

	qemu_receive(qemu, type, &reply, sizeof(reply));
	ck_assert_uint_eq(reply.reserved, 0);
	ck_assert_uint_eq(reply.id, qemu->requests);
	return reply.error;
}

uint32_t qemu_enable(struct qemu *qemu)
{
	qemu_ask_enable(qemu, RIG_GPA);
	return qemu_answer(qemu, PVHCA_LINK_ENABLE_REPLY);
}

void qemu_reset(struct qemu *qemu)
{
	qemu_ask_reset(qemu);
	ck_assert_uint_eq(qemu_answer(qemu, PVHCA_LINK_RESET_REPLY), 0);
}

struct qemu *qemu_enabled(void)
{
	struct qemu *qemu = qemu_ready();

	ck_assert_uint_eq(qemu_enable(qemu), 0);
	return qemu;
}

void qemu_expect_fatal(struct qemu *qemu, uint32_t error)
{
	struct pvhca_link_reply reply;

	qemu_receive(qemu, PVHCA_LINK_FATAL, &reply, sizeof(reply));
	ck_assert_uint_eq(reply.id, 0);
	ck_assert_uint_eq(reply.error, error);
}

/* ----------------------------------- guest --------------------------------- */

void guest_post(struct qemu *qemu, uint32_t cookie)
{
	const uint32_t pi = qemu->area->sq_pi;

	qemu->sq[pi % RIG_ENTRIES] = (struct pvhca_admin_cmd){ .cookie = cookie };
	__atomic_store_n(&qemu->area->sq_pi, pi + 1, __ATOMIC_RELEASE);
}

void guest_ring(struct qemu *qemu)
{
	eventfd_write(qemu->admin_db, 1);
}

void guest_await(struct qemu *qemu, uint32_t index, uint32_t cookie)
{
	struct pvhca_admin_rsp *rsp = &qemu->cq[index % RIG_ENTRIES];
	const uint32_t phase = index / RIG_ENTRIES & 1 ? 0 : PVHCA_ADMIN_RSP_F_PHASE;

	while (__atomic_load_n(&rsp->flags, __ATOMIC_ACQUIRE) != phase)
		usleep(100);
	ck_assert_uint_eq(rsp->cookie, cookie);
}
