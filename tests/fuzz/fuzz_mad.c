// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Datagrams of a guest's connection manager to peers that are no VMs, and what the host's
 * connection manager says meanwhile. librdmacm is played here. Its thread does not exist: what
 * it is given to do is done when the target says so. (MADs between VMs are in fuzz_ring.c.)
 * Pieces of an input (fuzz.h), by their kind:
 *
 *   0 to 3    a MAD: bit 0 names the guest's own address, bit 1 the peer's
 *   0x10      an event of librdmacm: type, status, which id, which listener (a byte each),
 *             private data
 *   0x11      the time of all connections runs out
 *   0x12      the next calls of librdmacm fail whose bit (4 bytes) is set
 *   0x13, 14  this address (1 byte) comes, goes
 *   0x15, 16  a QP of this number (4 bytes) comes, goes
 *
 * Four bytes ff ff f0 NN of a MAD are replaced by the id that pvhcad gave to its NNth
 * connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib.h>
#include <rdma/rdma_cma.h>

#include "fabric/verbs/cm/private.h"
#include "fuzz.h"
#include "host.h"
#include "lib/address.h"

#define QPN	 0x55u
#define PEER_QPN 0x77u
#define IDS	 64u
#define QPS	 4u

static const uint8_t own[2][16] = { { [10] = 0xff, 0xff, 10, 0, 0, 1 }, { 0xfd, [15] = 1 } };
static const uint8_t at_host[2][16] = { { [10] = 0xff, 0xff, 192, 168, 1, 1 }, { 0xfd, [15] = 1 } };
static const uint8_t peers[2][16] = { { [10] = 0xff, 0xff, 10, 0, 0, 9 }, { 0xfd, [15] = 9 } };

/* ------------------------------- the host's CM ----------------------------- */

struct host_event {
	struct rdma_cm_event event;
	uint8_t private_data[256];
	struct host_event *next;
};

static struct {
	struct rdma_event_channel channel;
	struct ibv_device device;
	struct ibv_context context;
	struct host_event *first;
	struct rdma_cm_id *ids[IDS];
	uint32_t failing; /* bits of calls to come, the next one first */
	unsigned int unacked;
} cm_host = { .device.name = "fuzz", .context.device = &cm_host.device };

static int answer(void)
{
	const bool fails = cm_host.failing & 1;

	cm_host.failing >>= 1;
	errno = EINVAL;
	return fails ? -1 : 0;
}

struct rdma_event_channel *rdma_create_event_channel(void)
{
	cm_host.channel.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return &cm_host.channel;
}

void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	close(channel->fd);
}

static struct rdma_cm_id *host_id(void *context, enum rdma_port_space ps)
{
	struct rdma_cm_id *id;

	for (unsigned int i = 0; i < IDS; i++) {
		if (cm_host.ids[i])
			continue;
		id = calloc(1, sizeof(*id));
		id->context = context;
		id->ps = ps;
		id->channel = &cm_host.channel;
		cm_host.ids[i] = id;
		return id;
	}
	return NULL;
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
		   enum rdma_port_space ps)
{
	(void)channel;
	*id = NULL;
	if (answer())
		return -1;
	*id = host_id(context, ps);
	return *id ? 0 : -1;
}

/* Events of an id that ends are heard by nobody. */
int rdma_destroy_id(struct rdma_cm_id *id)
{
	struct host_event **at = &cm_host.first, *gone;

	FUZZ_CHECK(!cm_host.unacked);
	while (*at) {
		gone = *at;
		if (gone->event.id != id && gone->event.listen_id != id) {
			at = &gone->next;
			continue;
		}
		*at = gone->next;
		free(gone);
	}
	for (unsigned int i = 0; i < IDS; i++)
		if (cm_host.ids[i] == id)
			cm_host.ids[i] = NULL;
	free(id);
	return 0;
}

int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	eventfd_t count;

	if (!cm_host.first) {
		eventfd_read(channel->fd, &count);
		errno = EAGAIN;
		return -1;
	}
	*event = &cm_host.first->event;
	cm_host.first = cm_host.first->next;
	cm_host.unacked++;
	return 0;
}

int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	cm_host.unacked--;
	free(event);
	return 0;
}

int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	id->verbs = &cm_host.context;
	memcpy(&id->route.addr.src_storage, addr,
	       addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
					    sizeof(struct sockaddr_in6));
	return answer();
}

int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *src, struct sockaddr *dst, int ms)
{
	(void)id;
	(void)ms;
	FUZZ_CHECK(!src && (dst->sa_family == AF_INET || dst->sa_family == AF_INET6));
	return answer();
}

/* A call that may fail, and does nothing else here. */
#define CALL(name, ...)          \
	int name(__VA_ARGS__)    \
	{                        \
		(void)id;        \
		return answer(); \
	}
CALL(rdma_establish, struct rdma_cm_id *id)
CALL(rdma_disconnect, struct rdma_cm_id *id)

int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	(void)id;
	(void)backlog;
	return answer();
}

int rdma_resolve_route(struct rdma_cm_id *id, int ms)
{
	(void)id;
	(void)ms;
	return answer();
}

/* Private data is read to its end, and an id is never missing. */
static int take(const struct rdma_cm_id *id, const void *data, size_t size)
{
	uint8_t copy[256];

	FUZZ_CHECK(id && size <= sizeof(copy));
	if (data)
		memcpy(copy, data, size);
	return answer();
}

int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	return take(id, param->private_data, param->private_data_len);
}

int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	return take(id, param->private_data, param->private_data_len);
}

int rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t length)
{
	return take(id, data, length);
}

int rdma_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attr, int *mask)
{
	FUZZ_CHECK(id);
	*mask = 0;
	attr->path_mtu = IBV_MTU_1024;
	return answer();
}

/* --------------------------- the thread that is none ----------------------- */

static GMainContext *cm_context;

GMainContext *__real_g_main_context_new(void);
GMainContext *__wrap_g_main_context_new(void);
GThread *__wrap_g_thread_new(const char *name, GThreadFunc fn, void *arg);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);

GMainContext *__wrap_g_main_context_new(void)
{
	cm_context = __real_g_main_context_new();
	return cm_context;
}

GThread *__wrap_g_thread_new(const char *name, GThreadFunc fn, void *arg)
{
	(void)name;
	(void)fn;
	(void)arg;
	return NULL;
}

static void work(void)
{
	while (g_main_context_iteration(cm_context, FALSE))
		;
}

/* Who waits for it has it done. */
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	(void)cond;
	pthread_mutex_unlock(mutex);
	work();
	pthread_mutex_lock(mutex);
	return 0;
}

/* ---------------------------------- the guest ------------------------------ */

static struct vm vm;
static struct vm_policy policy;
static struct cm_vm *cv;

static struct {
	struct hash_node node;
	uint32_t number; /* 0: there is none */
} qps[QPS];

bool __wrap_gsi_deliver(struct vm *to, const uint8_t source[16], const uint8_t destination[16],
			const void *mad);

/* What the guest hears is right as far as its CM would look at it. */
bool __wrap_gsi_deliver(struct vm *to, const uint8_t source[16], const uint8_t destination[16],
			const void *mad)
{
	FUZZ_CHECK(to == &vm && source && destination && mad_is_cm(mad));
	return true;
}

static struct cm_conn *connection(unsigned int number)
{
	struct cm_conn *conn;

	if (!cv->num_conns)
		return NULL;
	number %= cv->num_conns;
	cds_list_for_each_entry (conn, &cv->conns, node)
		if (!number--)
			return conn;
	return NULL;
}

/* All of them at once: those that run equally long are in a list, in the order of their ends. */
static void let_timers_run_out(void)
{
	struct cm_conn *conn;

	cds_list_for_each_entry (conn, &cv->conns, node)
		conn->end_ns = 0;
	cm_conns_on_alarm();
}

static void put_ids(struct mad *mad)
{
	static const uint8_t name[3] = { 0xff, 0xff, 0xf0 };
	struct cm_conn *conn;
	uint32_t id;

	for (unsigned int at = 0; at + sizeof(id) <= sizeof(mad->bytes); at += sizeof(id)) {
		if (memcmp(mad->bytes + at, name, sizeof(name)))
			continue;
		conn = connection(mad->bytes[at + 3]);
		id = htonl(conn ? conn->id : 0);
		memcpy(mad->bytes + at, &id, sizeof(id));
	}
}

static void say(const struct fuzz_piece *piece)
{
	struct mad mad = { 0 };

	memcpy(mad.bytes, piece->data, piece->size < MAD_LEN ? piece->size : MAD_LEN);
	put_ids(&mad);
	/* Others do not come so far. */
	if (mad_is_cm(&mad))
		FUZZ_CHECK(cm_send(cv, own[piece->kind & 1], peers[piece->kind >> 1 & 1], &mad));
}

/* The listener of that number, among all addresses' ones, from there on the last one. */
static struct cm_listener *listener(unsigned int number)
{
	struct cm_listener *found = NULL;
	struct cm_gid *gid;

	cds_list_for_each_entry (gid, &cv->gids, node) {
		struct cm_listener *one;

		cds_list_for_each_entry (one, &gid->listeners, node) {
			found = one;
			if (!number--)
				return found;
		}
	}
	return found;
}

static void set_request(struct rdma_cm_event *event, struct cm_listener *of)
{
	const uint8_t *peer = peers[address_is_ipv4(of->gid) ? 0 : 1];

	event->listen_id = of->rdma;
	event->id = host_id(NULL, of->rdma->ps);
	if (event->id)
		cm_sockaddr(peer, 1234, 0, &event->id->route.addr.dst_storage);
}

static void set_private(struct host_event *event, const struct fuzz_piece *piece)
{
	const uint8_t length = piece->size < 255 ? piece->size : 255;

	memcpy(event->private_data, piece->data, length);
	if (event->event.id->ps == RDMA_PS_UDP) {
		event->event.param.ud.private_data = event->private_data;
		event->event.param.ud.private_data_len = length;
		event->event.param.ud.qp_num = PEER_QPN;
	} else {
		event->event.param.conn.private_data = event->private_data;
		event->event.param.conn.private_data_len = length;
		event->event.param.conn.qp_num = PEER_QPN;
	}
}

static void tell(struct fuzz_piece *piece)
{
	struct host_event *event = calloc(1, sizeof(*event)), **at = &cm_host.first;
	struct cm_listener *of;

	event->event.event = fuzz_number(piece, 1) % 20;
	event->event.status = (int8_t)fuzz_number(piece, 1);
	event->event.id = cm_host.ids[fuzz_number(piece, 1) % IDS];
	of = listener(fuzz_number(piece, 1));
	if (event->event.event == RDMA_CM_EVENT_CONNECT_REQUEST) {
		event->event.id = NULL;
		if (of)
			set_request(&event->event, of);
	}
	if (!event->event.id) {
		free(event);
		return;
	}
	set_private(event, piece);
	while (*at)
		at = &(*at)->next;
	*at = event;
	eventfd_write(cm_host.channel.fd, 1);
}

static void change_address(bool comes, unsigned int number)
{
	const uint8_t *gid = own[number % 2];

	if (comes && !cm_find_gid(cv, gid))
		cm_gid_add(cv, gid, at_host[number % 2], 1);
	else if (!comes)
		cm_gid_del(cv, gid);
}

static void remove_qp(unsigned int at)
{
	if (qps[at].number)
		cm_qp_del(cv, &qps[at].node);
	qps[at].number = 0;
}

static void change_qp(bool comes, uint32_t number)
{
	const unsigned int at = number % QPS;

	if (!comes && number != qps[at].number)
		return;
	remove_qp(at);
	if (!comes || !number)
		return;
	qps[at].number = number;
	cm_qp_add(cv, &qps[at].node, number);
}

static void play(struct fuzz_piece *piece)
{
	switch (piece->kind) {
	case 0 ... 3:
		say(piece);
		break;
	case 0x10:
		tell(piece);
		break;
	case 0x11:
		let_timers_run_out();
		break;
	case 0x12:
		cm_host.failing = fuzz_number(piece, 4);
		break;
	case 0x13:
	case 0x14:
		change_address(piece->kind == 0x13, fuzz_number(piece, 1));
		break;
	case 0x15:
	case 0x16:
		change_qp(piece->kind == 0x15, fuzz_number(piece, 4));
		break;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_init("");
	strcpy(vm.name, "guest");
	vm.log = &vm.own_log;
	vm.config = host_config("", 0, NULL);
	policy.quota.connections = 4;
	policy.has_listen = true;
	policy.listen = (struct port_list){ 2, { { 7174, 7174 }, { 9000, 9001 } } };
	vm.policy = &policy;
	cm_start("fuzz");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct fuzz_piece piece;

	cm_host.failing = 0;
	host_begin();
	FUZZ_CHECK(!cm_vm_open(&vm, &cv));
	cm_gid_add(cv, own[0], at_host[0], 1);
	change_qp(true, QPN);
	work();
	while (fuzz_next(&input, &piece)) {
		play(&piece);
		work();
	}
	for (unsigned int i = 0; i < QPS; i++)
		remove_qp(i);
	cm_vm_close(cv);
	for (unsigned int i = 0; i < IDS; i++)
		FUZZ_CHECK(!cm_host.ids[i]);
	FUZZ_CHECK(!vm.connections && !cm_host.first);
	host_end();
	return 0;
}
