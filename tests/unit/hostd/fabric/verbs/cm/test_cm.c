// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections to native peers: the guest's CM and librdmacm are played here, what
 * lies between runs in its own thread as it does in the daemon.
 */
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

#include "fabric/verbs/cm/cm.h"
#include "gsi/gsi.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "gsi/mad.h"
#include "vm/vm.h"
#include "suite.h"

#define HOST_PSN  0x111111u /* what the host's CM tells peers */
#define PEER_PSN  0x222222u
#define GUEST_PSN 0x333333u
#define QPN	  0x55u
#define PEER_QPN  0x77u
#define GUEST_ID  0xabcdu
#define TID	  0x1234567890ull

static const uint8_t own[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
/* The host's in its place, where it is translated. */
static const uint8_t at_host[16] = { [10] = 0xff, 0xff, 192, 168, 1, 1 };
static const uint8_t peer[16] = { [10] = 0xff, 0xff, 10, 0, 0, 9 };

/* ------------------------------- the host's CM ----------------------------- */

struct host_event {
	struct rdma_cm_event event;
	uint8_t private_data[256];
	struct host_event *next;
};

static struct host {
	pthread_mutex_t lock;
	struct rdma_event_channel channel;
	struct host_event *first;
	struct ibv_device device;
	struct ibv_context context;
	int ids, unacked;
	unsigned int listeners, connects, establishes, accepts, rejects, disconnects;
	struct rdma_cm_id *last;      /* that was made last */
	struct rdma_cm_id *listener;  /* of the first port, TCP */
	struct rdma_conn_param param; /* of the last connect or accept */
	uint8_t private_data[256];    /* of the last call that has some */
	uint16_t bound_port;
	unsigned int heard_at_listen; /* MADs of the guest, at the last one */
	bool unresolvable;
	bool in_use; /* ports are */
} host;

/* What the guest was given. */
static struct {
	pthread_mutex_t lock;
	struct mad mad[64];
	_Atomic unsigned int count;
	unsigned int read;
} heard = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void host_push(struct rdma_cm_id *id, struct rdma_cm_id *listen_id,
		      enum rdma_cm_event_type type, int status, const struct rdma_conn_param *param,
		      const void *private_data, uint8_t length)
{
	struct host_event *event = calloc(1, sizeof(*event)), **at;

	event->event.id = id;
	event->event.listen_id = listen_id;
	event->event.event = type;
	event->event.status = status;
	if (param)
		event->event.param.conn = *param;
	if (private_data) {
		memcpy(event->private_data, private_data, length);
		if (id->ps == RDMA_PS_UDP) {
			event->event.param.ud.private_data = event->private_data;
			event->event.param.ud.private_data_len = length;
		} else {
			event->event.param.conn.private_data = event->private_data;
			event->event.param.conn.private_data_len = length;
		}
	}
	if (id->ps == RDMA_PS_UDP && type == RDMA_CM_EVENT_ESTABLISHED) {
		event->event.param.ud.qp_num = PEER_QPN;
		event->event.param.ud.qkey = 0x01234567;
	}
	for (at = &host.first; *at; at = &(*at)->next)
		;
	*at = event;
	eventfd_write(host.channel.fd, 1);
}

static void host_event(struct rdma_cm_id *id, enum rdma_cm_event_type type, int status,
		       const struct rdma_conn_param *param, const void *private_data,
		       uint8_t length)
{
	pthread_mutex_lock(&host.lock);
	host_push(id, NULL, type, status, param, private_data, length);
	pthread_mutex_unlock(&host.lock);
}

struct rdma_event_channel *rdma_create_event_channel(void)
{
	host.channel.fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	return &host.channel;
}

void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	close(channel->fd);
}

static struct rdma_cm_id *host_new_id(void *context, enum rdma_port_space ps)
{
	struct rdma_cm_id *id = calloc(1, sizeof(*id));

	id->context = context;
	id->ps = ps;
	id->channel = &host.channel;
	host.ids++;
	host.last = id;
	return id;
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
		   enum rdma_port_space ps)
{
	(void)channel;
	pthread_mutex_lock(&host.lock);
	*id = host_new_id(context, ps);
	pthread_mutex_unlock(&host.lock);
	return 0;
}

int rdma_destroy_id(struct rdma_cm_id *id)
{
	struct host_event **at, *gone;

	pthread_mutex_lock(&host.lock);
	/* It would wait for ever. */
	ck_assert_int_eq(host.unacked, 0);
	for (at = &host.first; *at;) {
		gone = *at;
		if (gone->event.id != id) {
			at = &gone->next;
			continue;
		}
		*at = gone->next;
		free(gone);
	}
	host.ids--;
	if (host.last == id)
		host.last = NULL;
	pthread_mutex_unlock(&host.lock);
	free(id);
	return 0;
}

int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	eventfd_t count;
	int ret = -1;

	pthread_mutex_lock(&host.lock);
	errno = EAGAIN;
	if (host.first) {
		*event = &host.first->event;
		host.first = host.first->next;
		host.unacked++;
		ret = 0;
	} else {
		/* Those of ids that went. */
		while (!eventfd_read(channel->fd, &count))
			;
		errno = EAGAIN;
	}
	pthread_mutex_unlock(&host.lock);
	return ret;
}

int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	pthread_mutex_lock(&host.lock);
	host.unacked--;
	pthread_mutex_unlock(&host.lock);
	/* Nobody may look at it any more. */
	memset(event, 0xee, sizeof(struct host_event));
	free(event);
	return 0;
}

int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	struct sockaddr_in *in = (struct sockaddr_in *)addr;

	if (host.in_use && in->sin_port) {
		errno = EADDRINUSE;
		return -1;
	}
	host.bound_port = ntohs(in->sin_port);
	id->verbs = &host.context;
	memcpy(&id->route.addr.src_addr, addr, sizeof(*in));
	return 0;
}

int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	(void)backlog;
	pthread_mutex_lock(&host.lock);
	host.heard_at_listen = heard.count;
	if (!host.listeners++)
		host.listener = id;
	pthread_mutex_unlock(&host.lock);
	return 0;
}

int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *src, struct sockaddr *dst, int ms)
{
	(void)ms;
	ck_assert_ptr_null(src);
	memcpy(&id->route.addr.dst_addr, dst, sizeof(struct sockaddr_in));
	host_event(id, host.unresolvable ? RDMA_CM_EVENT_ADDR_ERROR : RDMA_CM_EVENT_ADDR_RESOLVED,
		   0, NULL, NULL, 0);
	return 0;
}

int rdma_resolve_route(struct rdma_cm_id *id, int ms)
{
	(void)ms;
	host_event(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, NULL, 0);
	return 0;
}

static void host_call(unsigned int *count, const void *data, uint8_t length)
{
	pthread_mutex_lock(&host.lock);
	(*count)++;
	if (data)
		memcpy(host.private_data, data, length);
	pthread_mutex_unlock(&host.lock);
}

int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	(void)id;
	host.param = *param;
	host_call(&host.connects, param->private_data, param->private_data_len);
	return 0;
}

int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	(void)id;
	host.param = *param;
	host_call(&host.accepts, param->private_data, param->private_data_len);
	return 0;
}

int rdma_establish(struct rdma_cm_id *id)
{
	(void)id;
	host_call(&host.establishes, NULL, 0);
	return 0;
}

int rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t length)
{
	(void)id;
	host_call(&host.rejects, data, length);
	return 0;
}

int rdma_disconnect(struct rdma_cm_id *id)
{
	(void)id;
	host_call(&host.disconnects, NULL, 0);
	return 0;
}

int rdma_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attr, int *mask)
{
	(void)id;
	*mask = 0;
	attr->rq_psn = HOST_PSN;
	attr->sq_psn = PEER_PSN;
	attr->path_mtu = IBV_MTU_1024;
	attr->timeout = 17;
	return 0;
}

/* ---------------------------------- the guest ------------------------------ */

static struct vm vm;
static struct cm_vm *cv;
static struct hash_node qp;
static struct vm_policy policy;
static struct config config;
static struct cm_terms terms;

bool gsi_deliver(struct vm *to, const uint8_t source[16], const uint8_t destination[16],
		 const void *mad)
{
	ck_assert_ptr_eq(to, &vm);
	ck_assert(!memcmp(source, peer, 16));
	ck_assert(!memcmp(destination, own, 16));
	pthread_mutex_lock(&heard.lock);
	memcpy(&heard.mad[heard.count % 64], mad, MAD_LEN);
	heard.count++;
	pthread_mutex_unlock(&heard.lock);
	return true;
}

static void nap(void)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

#define WAIT_FOR(what)                                                \
	do {                                                          \
		int wait_tries = 5000;                                \
		for (;;) {                                            \
			bool wait_ok;                                 \
			pthread_mutex_lock(&host.lock);               \
			wait_ok = (what);                             \
			pthread_mutex_unlock(&host.lock);             \
			if (wait_ok)                                  \
				break;                                \
			ck_assert_msg(wait_tries--, "never: " #what); \
			nap();                                        \
		}                                                     \
	} while (0)

/* The next MAD that the guest was given, which must be of that kind. */
static struct mad *hear(enum mad_attribute attribute)
{
	int tries = 5000;
	struct mad *mad;

	while (heard.count == heard.read) {
		ck_assert_msg(tries--, "the guest hears no %x", attribute);
		nap();
	}
	pthread_mutex_lock(&heard.lock);
	mad = &heard.mad[heard.read++ % 64];
	pthread_mutex_unlock(&heard.lock);
	ck_assert_uint_eq(mad_get(mad, MAD_ATTRIBUTE), attribute);
	return mad;
}

/* All that was sent has been handled. */
static void settle(void)
{
	static const uint8_t nobody[16] = { 1 };

	cm_gid_del(cv, nobody);
}

static void hear_nothing(void)
{
	settle();
	ck_assert_uint_eq(heard.count, heard.read);
}

static void say(const struct mad *mad)
{
	ck_assert(cm_send(cv, own, peer, mad));
}

static struct ip_cm_request ip_request(uint8_t protocol)
{
	struct ip_cm_request ip = { .protocol = protocol, .port = 7174, .source_port = 41000 };

	memcpy(ip.source, own, 16);
	memcpy(ip.destination, peer, 16);
	return ip;
}

static struct mad request(void)
{
	struct ip_cm_request ip = ip_request(IP_CM_TCP);
	struct mad mad;

	mad_init(&mad, MAD_REQ, TID);
	mad_set(&mad, MAD_LOCAL_ID, GUEST_ID);
	mad_set(&mad, REQ_SERVICE_ID, mad_ip_cm_service_id(&ip));
	mad_set(&mad, REQ_QPN, QPN);
	mad_set(&mad, REQ_PSN, GUEST_PSN);
	mad_set(&mad, REQ_RESPONDER, 4);
	mad_set(&mad, REQ_INITIATOR, 2);
	mad_set(&mad, REQ_RETRY_COUNT, 7);
	mad_ip_cm_build(&ip, mad.bytes + MAD_HEADER_LEN + REQ_PRIVATE);
	memset(mad.bytes + MAD_HEADER_LEN + REQ_PRIVATE + IP_CM_HEADER_LEN, 'q',
	       REQ_PRIVATE_LEN - IP_CM_HEADER_LEN);
	return mad;
}

/* A message about the connection whose id towards the guest is id. */
static struct mad about(enum mad_attribute attribute, uint32_t id)
{
	struct mad mad;

	mad_init(&mad, attribute, TID + 1);
	mad_set(&mad, MAD_LOCAL_ID, GUEST_ID);
	mad_set(&mad, MAD_REMOTE_ID, id);
	return mad;
}

static void setup(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(&host, 0, sizeof(host));
	memset(&policy, 0, sizeof(policy));
	heard.count = heard.read = 0;
	pthread_mutex_init(&host.lock, NULL);
	strcpy(host.device.name, "rxe0");
	host.context.device = &host.device;
	strcpy(vm.name, "vm");
	memset(&config, 0, sizeof(config));
	vm.config = &config;
	policy.quota.connections = 3;
	policy.listen = (struct port_list){ 2, { { 7174, 7174 }, { 9000, 9001 } } };
	vm.policy = &policy;
	log_init("error");
	cm_start("rxe0");
	vm.heap = heap_new();
	ck_assert_int_eq(cm_vm_open(&vm, &cv), 0);
	ck_assert_ptr_nonnull(cv);
	cm_gid_add(cv, own, own, 3);
	cm_qp_add(cv, &qp, QPN);
	settle();
}

static void teardown(void)
{
	cm_vm_close(cv);
	/* Nothing stays behind, whatever was under way. */
	ck_assert_uint_eq(heap_bytes(vm.heap), 0);
	heap_end(vm.heap);
	ck_assert_int_eq(host.ids, 0);
	ck_assert_uint_eq(vm.connections, 0);
	cm_stop();
}

/* ------------------------------- active side ------------------------------- */

static const struct rdma_conn_param answer = {
	.responder_resources = 1,
	.initiator_depth = 3,
	.rnr_retry_count = 5,
	.qp_num = PEER_QPN,
};

/* Up to the REP that the guest hears. */
static struct mad *connect_to_peer(void)
{
	struct mad req = request();

	say(&req);
	WAIT_FOR(host.connects == 1);
	host_event(host.last, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, &answer, "hi", 2);
	return hear(MAD_REP);
}

static uint32_t establish(void)
{
	uint32_t id = mad_get(connect_to_peer(), MAD_LOCAL_ID);
	struct mad rtu = about(MAD_RTU, id);

	say(&rtu);
	WAIT_FOR(host.establishes == 1);
	return id;
}

START_TEST(a_request_becomes_rdma_connect)
{
	struct mad req = request();
	uint64_t before;

	settle();
	before = heap_bytes(vm.heap);
	say(&req);
	WAIT_FOR(host.connects == 1);
	settle();
	/* What docs/security.md says. */
	ck_assert_uint_le(heap_bytes(vm.heap) - before, 768);
	ck_assert_uint_eq(host.param.qp_num, QPN);
	ck_assert_uint_eq(host.param.responder_resources, 4);
	ck_assert_uint_eq(host.param.initiator_depth, 2);
	ck_assert_uint_eq(host.param.retry_count, 7);
	ck_assert_uint_eq(host.param.private_data_len, 56);
	ck_assert_uint_eq(host.private_data[0], 'q');
	ck_assert_uint_eq(host.bound_port, 41000);
	ck_assert_uint_eq(vm.connections, 1);
}
END_TEST

/* For it, it is a listener's, now or later. */
START_TEST(without_memory_a_connection_is_refused_and_made_when_there_is_some)
{
	struct mad req = request();

	/* For the message that waits, and no more. */
	heap_limit(vm.heap, heap_bytes(vm.heap) + 500);
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_NO_RESOURCES);
	settle();
	heap_limit(vm.heap, heap_bytes(vm.heap));
	ck_assert(!cm_send(cv, own, peer, &req));
	ck_assert_int_eq(cm_gid_add(cv, peer, peer, 3), -ENOMEM);
	heap_limit(vm.heap, UINT64_MAX);
	say(&req);
	WAIT_FOR(host.connects == 1);
}
END_TEST

START_TEST(a_port_that_hosts_programs_listen_on_is_not_taken)
{
	static const uint16_t ports[] = { 111, 4420, 20049 };
	struct ip_cm_request ip = ip_request(IP_CM_TCP);
	struct mad req = request();

	for (unsigned int i = 0; i < 3; i++) {
		ip.source_port = ports[i];
		mad_set(&req, MAD_LOCAL_ID, GUEST_ID + i);
		mad_ip_cm_build(&ip, req.bytes + MAD_HEADER_LEN + REQ_PRIVATE);
		say(&req);
		WAIT_FOR(host.connects == i + 1);
		ck_assert_uint_eq(host.bound_port, 0);
	}
}
END_TEST

START_TEST(the_answer_becomes_a_rep_and_its_terms_are_learnt)
{
	struct mad *rep = connect_to_peer();

	ck_assert_uint_eq(mad_get(rep, MAD_TID), TID);
	ck_assert_uint_eq(mad_get(rep, MAD_REMOTE_ID), GUEST_ID);
	ck_assert_uint_eq(mad_get(rep, REP_QPN), PEER_QPN);
	ck_assert_uint_eq(mad_get(rep, REP_PSN), PEER_PSN);
	ck_assert_uint_eq(mad_get(rep, REP_RESPONDER), 3);
	ck_assert_uint_eq(mad_get(rep, REP_INITIATOR), 1);
	ck_assert_uint_eq(mad_get(rep, REP_RNR_RETRY), 5);
	ck_assert(!memcmp(mad_data(rep, REP_PRIVATE), "hi", 3));
	ck_assert(cm_terms(cv, peer, PEER_QPN, &terms));
	ck_assert_uint_eq(terms.rq_psn, HOST_PSN);
	ck_assert_uint_eq(terms.path_mtu, IBV_MTU_1024);
	ck_assert(!cm_terms(cv, peer, PEER_QPN + 1, &terms));
	ck_assert(!cm_terms(cv, own, PEER_QPN, &terms));
}
END_TEST

START_TEST(repeated_requests_make_no_second_connection)
{
	struct mad req = request(), *rep;

	say(&req);
	say(&req);
	WAIT_FOR(host.connects == 1);
	say(&req);
	settle();
	ck_assert_uint_eq(host.connects, 1);
	host_event(host.last, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, &answer, NULL, 0);
	rep = hear(MAD_REP);
	say(&req);
	ck_assert(!memcmp(rep, hear(MAD_REP), sizeof(*rep)));
	ck_assert_uint_eq(vm.connections, 1);
}
END_TEST

START_TEST(a_rep_is_repeated_until_the_guest_answers)
{
	struct mad rtu = about(MAD_RTU, mad_get(connect_to_peer(), MAD_LOCAL_ID));

	hear(MAD_REP);
	say(&rtu);
	say(&rtu);
	WAIT_FOR(host.establishes == 1);
	settle();
	ck_assert_uint_eq(host.establishes, 1);
}
END_TEST

START_TEST(a_rejection_comes_with_reason_and_private_data)
{
	struct mad req = request(), *rej;

	say(&req);
	WAIT_FOR(host.connects == 1);
	host_event(host.last, RDMA_CM_EVENT_REJECTED, 28, NULL, "no", 2);
	rej = hear(MAD_REJ);
	ck_assert_uint_eq(mad_get(rej, MAD_REMOTE_ID), GUEST_ID);
	ck_assert_uint_eq(mad_get(rej, REJ_REASON), 28);
	ck_assert_uint_eq(mad_get(rej, REJ_MESSAGE), MAD_ABOUT_REQ);
	ck_assert(!memcmp(mad_data(rej, REJ_PRIVATE), "no", 3));
	WAIT_FOR(host.ids == 6); /* listeners */
	ck_assert_uint_eq(vm.connections, 0);
	/* And again when asked again. */
	say(&req);
	hear(MAD_REJ);
	ck_assert_uint_eq(host.connects, 1);
}
END_TEST

START_TEST(silence_of_the_peer_is_silence_towards_the_guest)
{
	struct mad req = request();

	say(&req);
	WAIT_FOR(host.connects == 1);
	host_event(host.last, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, NULL, NULL, 0);
	WAIT_FOR(host.ids == 6);
	say(&req);
	hear_nothing();
	ck_assert_uint_eq(host.connects, 1);
}
END_TEST

START_TEST(an_address_that_is_not_found_is_refused)
{
	struct mad req = request();

	host.unresolvable = true;
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_BAD_GID);
}
END_TEST

START_TEST(guests_speak_for_themselves_only)
{
	struct ip_cm_request ip = ip_request(IP_CM_TCP);
	struct mad req = request();

	/* Another VM's queue pair. */
	mad_set(&req, REQ_QPN, QPN + 1);
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_UNSUPPORTED);
	/* Another source address in the private data. */
	req = request();
	ip.source[15] = 77;
	mad_ip_cm_build(&ip, req.bytes + MAD_HEADER_LEN + REQ_PRIVATE);
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_BAD_GID);
	/* A service that is none of the port spaces of IP. */
	req = request();
	mad_set(&req, REQ_SERVICE_ID, 0x1000000000000001ull);
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_BAD_SERVICE_ID);
	/* UC, XRC and the like. */
	req = request();
	mad_set(&req, REQ_TRANSPORT, 3);
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_UNSUPPORTED);
	ck_assert_uint_eq(host.connects, 0);
	ck_assert_uint_eq(vm.connections, 0);
}
END_TEST

START_TEST(a_vm_has_a_bounded_number_of_connections)
{
	struct mad req = request();

	for (uint32_t i = 0; i < 3; i++) {
		mad_set(&req, MAD_LOCAL_ID, GUEST_ID + i);
		say(&req);
	}
	WAIT_FOR(host.connects == 3);
	mad_set(&req, MAD_LOCAL_ID, GUEST_ID + 3);
	say(&req);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_REASON), MAD_REASON_NO_RESOURCES);
	/* One that is over is only remembered, and makes room. */
	host_event(host.last, RDMA_CM_EVENT_REJECTED, 8, NULL, NULL, 0);
	hear(MAD_REJ);
	say(&req);
	WAIT_FOR(host.connects == 4);
	ck_assert_uint_eq(vm.connections, 3);
}
END_TEST

START_TEST(an_id_with_another_request_is_a_new_connection)
{
	struct mad req = request();

	say(&req);
	WAIT_FOR(host.connects == 1);
	mad_set(&req, REQ_PSN, 1);
	say(&req);
	WAIT_FOR(host.connects == 2);
	ck_assert_uint_eq(vm.connections, 1);
}
END_TEST

START_TEST(the_guest_disconnects)
{
	struct mad dreq = about(MAD_DREQ, establish()), *drep;

	say(&dreq);
	WAIT_FOR(host.disconnects == 1);
	hear_nothing();
	host_event(host.last, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, NULL, 0);
	drep = hear(MAD_DREP);
	ck_assert_uint_eq(mad_get(drep, MAD_TID), TID + 1);
	WAIT_FOR(host.ids == 6);
	say(&dreq);
	hear(MAD_DREP);
	ck_assert(!cm_terms(cv, peer, PEER_QPN, &terms));
}
END_TEST

START_TEST(the_peer_disconnects)
{
	uint32_t id = establish();
	struct mad drep = about(MAD_DREP, id), *dreq;

	host_event(host.last, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, NULL, 0);
	dreq = hear(MAD_DREQ);
	ck_assert_uint_eq(mad_get(dreq, DREQ_QPN), QPN);
	ck_assert_uint_eq(mad_get(dreq, MAD_REMOTE_ID), GUEST_ID);
	ck_assert_uint_eq(host.disconnects, 1);
	hear(MAD_DREQ); /* said again */
	say(&drep);
	settle();
	ck_assert_int_eq(host.ids, 6);
}
END_TEST

START_TEST(the_guest_gives_up)
{
	struct mad rej = about(MAD_REJ, 0), req = request();

	say(&req);
	WAIT_FOR(host.connects == 1);
	say(&rej);
	WAIT_FOR(host.ids == 6);
	hear_nothing();
}
END_TEST

START_TEST(the_guest_rejects_the_answer)
{
	struct mad rej = about(MAD_REJ, mad_get(connect_to_peer(), MAD_LOCAL_ID));

	mad_set(&rej, REJ_REASON, 28);
	mad_set_private(&rej, REJ_PRIVATE, REJ_PRIVATE_LEN, "bye", 3);
	say(&rej);
	WAIT_FOR(host.rejects == 1);
	ck_assert(!memcmp(host.private_data, "bye", 3));
	WAIT_FOR(host.ids == 6);
}
END_TEST

START_TEST(messages_about_nothing_do_nothing)
{
	static const enum mad_attribute attributes[] = {
		MAD_MRA, MAD_REJ, MAD_REP, MAD_RTU, MAD_DREP, MAD_SIDR_REP, MAD_LAP, MAD_APR, 0x99,
	};
	struct mad mad;

	for (unsigned int i = 0; i < G_N_ELEMENTS(attributes); i++) {
		mad = about(attributes[i], 12345);
		say(&mad);
	}
	hear_nothing();
	/* But who wants to leave is let go. */
	mad = about(MAD_DREQ, 12345);
	say(&mad);
	ck_assert_uint_eq(mad_get(hear(MAD_DREP), MAD_LOCAL_ID), 12345);
}
END_TEST

START_TEST(a_guest_that_asks_much_holds_up_no_other)
{
	static const uint8_t further[16] = { [10] = 0xff, 0xff, 10, 0, 0, 2 };
	static const uint8_t others[16] = { [10] = 0xff, 0xff, 10, 0, 0, 3 };
	struct mad dreq = about(MAD_DREQ, 12345);
	struct vm other = { .policy = &policy };
	unsigned int listeners = host.listeners;
	struct cm_vm *second;

	ck_assert_int_eq(cm_vm_open(&other, &second), 0);
	/* The thread waits in its first job for the host until all have been posted. */
	pthread_mutex_lock(&host.lock);
	cm_gid_add(cv, further, further, 3);
	for (int i = 0; i < 50; i++)
		say(&dreq);
	cm_gid_add(second, others, others, 3);
	pthread_mutex_unlock(&host.lock);
	WAIT_FOR(host.listeners == 3 * listeners);
	ck_assert_uint_le(host.heard_at_listen, 1);
	for (int i = 0; i < 50; i++)
		hear(MAD_DREP);
	cm_vm_close(second);
}
END_TEST

START_TEST(garbage_harms_nobody)
{
	struct mad mad;
	unsigned int seed = 1;

	for (int i = 0; i < 3000; i++) {
		for (unsigned int at = 0; at < MAD_LEN; at++)
			mad.bytes[at] = rand_r(&seed);
		mad_set(&mad, MAD_ATTRIBUTE, 0x10 + i % 11);
		mad_set(&mad, MAD_REMOTE_ID, rand_r(&seed) % 8);
		if (!cm_send(cv, own, peer, &mad))
			settle();
	}
	settle();
	ck_assert_uint_le(vm.connections, 3);
}
END_TEST

/* ------------------------------- passive side ------------------------------ */

static const struct rdma_conn_param question = {
	.responder_resources = 6,
	.initiator_depth = 5,
	.retry_count = 7,
	.rnr_retry_count = 6,
	.qp_num = PEER_QPN,
};

static struct rdma_cm_id *peer_asks_from(struct rdma_cm_id *listener, const uint8_t gid[16],
					 const char *private_data)
{
	struct sockaddr_in *from;
	struct rdma_cm_id *id;

	pthread_mutex_lock(&host.lock);
	id = host_new_id(listener->context, listener->ps);
	id->verbs = &host.context;
	from = (struct sockaddr_in *)&id->route.addr.dst_addr;
	from->sin_family = AF_INET;
	from->sin_port = htons(50000);
	memcpy(&from->sin_addr, gid + 12, 4);
	host_push(id, listener, RDMA_CM_EVENT_CONNECT_REQUEST, 0,
		  listener->ps == RDMA_PS_TCP ? &question : NULL, private_data,
		  strlen(private_data));
	pthread_mutex_unlock(&host.lock);
	return id;
}

static struct rdma_cm_id *peer_asks(struct rdma_cm_id *listener, const char *private_data)
{
	return peer_asks_from(listener, peer, private_data);
}

static struct mad guest_rep(uint32_t id)
{
	struct mad rep = about(MAD_REP, id);

	mad_set(&rep, REP_QPN, QPN);
	mad_set(&rep, REP_PSN, GUEST_PSN);
	mad_set(&rep, REP_RESPONDER, 1);
	mad_set(&rep, REP_INITIATOR, 2);
	mad_set_private(&rep, REP_PRIVATE, REP_PRIVATE_LEN, "yes", 3);
	return rep;
}

START_TEST(a_request_of_a_peer_reaches_the_guest)
{
	struct ip_cm_request ip;
	struct mad *req;

	ck_assert_uint_eq(host.listeners, 6);
	peer_asks(host.listener, "please");
	req = hear(MAD_REQ);
	ck_assert_uint_eq(mad_get(req, REQ_QPN), PEER_QPN);
	ck_assert_uint_eq(mad_get(req, REQ_PSN), PEER_PSN);
	ck_assert_uint_eq(mad_get(req, REQ_INITIATOR), 6);
	ck_assert_uint_eq(mad_get(req, REQ_RESPONDER), 5);
	ck_assert_uint_eq(mad_get(req, REQ_MTU), IBV_MTU_1024);
	ck_assert_uint_eq(mad_get(req, REQ_ACK_TIMEOUT), 17);
	ck_assert(!memcmp(mad_data(req, REQ_LOCAL_GID), peer, 16));
	ck_assert(!memcmp(mad_data(req, REQ_REMOTE_GID), own, 16));
	ck_assert(mad_ip_cm_parse(mad_get(req, REQ_SERVICE_ID), mad_data(req, REQ_PRIVATE), &ip));
	ck_assert_uint_eq(ip.protocol, IP_CM_TCP);
	ck_assert_uint_eq(ip.port, 7174);
	ck_assert_uint_eq(ip.source_port, 50000);
	ck_assert(!memcmp(ip.source, peer, 16));
	ck_assert(!memcmp(ip.destination, own, 16));
	ck_assert(!memcmp(mad_data(req, REQ_PRIVATE + IP_CM_HEADER_LEN), "please", 7));
	/* The guest's QP is made ready before it answers. */
	ck_assert(cm_terms(cv, peer, PEER_QPN, &terms));
	ck_assert_uint_eq(terms.rq_psn, HOST_PSN);
}
END_TEST

START_TEST(the_guest_accepts)
{
	struct rdma_cm_id *id = peer_asks(host.listener, "please");
	uint32_t mad_id = mad_get(hear(MAD_REQ), MAD_LOCAL_ID);
	struct mad rep = guest_rep(mad_id), dreq = about(MAD_DREQ, mad_id), *rtu;

	say(&rep);
	say(&rep);
	WAIT_FOR(host.accepts == 1);
	ck_assert_uint_eq(host.param.qp_num, QPN);
	ck_assert_uint_eq(host.param.responder_resources, 1);
	ck_assert_uint_eq(host.param.initiator_depth, 2);
	ck_assert(!memcmp(host.private_data, "yes", 4));
	hear_nothing();
	host_event(id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, NULL, 0);
	rtu = hear(MAD_RTU);
	ck_assert_uint_eq(mad_get(rtu, MAD_LOCAL_ID), mad_id);
	ck_assert_uint_eq(mad_get(rtu, MAD_REMOTE_ID), GUEST_ID);
	say(&rep);
	hear(MAD_RTU);
	ck_assert_uint_eq(host.accepts, 1);
	say(&dreq);
	WAIT_FOR(host.disconnects == 1);
}
END_TEST

START_TEST(the_guest_rejects_with_private_data)
{
	struct mad rej;

	peer_asks(host.listener, "please");
	rej = about(MAD_REJ, mad_get(hear(MAD_REQ), MAD_LOCAL_ID));
	mad_set(&rej, MAD_LOCAL_ID, 0);
	mad_set_private(&rej, REJ_PRIVATE, REJ_PRIVATE_LEN, "go", 2);
	say(&rej);
	WAIT_FOR(host.rejects == 1);
	ck_assert(!memcmp(host.private_data, "go", 2));
	WAIT_FOR(host.ids == 6);
}
END_TEST

START_TEST(a_request_is_repeated_unless_the_guest_asks_for_time)
{
	struct mad mra;

	peer_asks(host.listener, "please");
	hear(MAD_REQ);
	mra = about(MAD_MRA, mad_get(hear(MAD_REQ), MAD_LOCAL_ID));
	say(&mra);
	settle();
	for (int i = 0; i < 1500; i++)
		nap();
	hear_nothing();
	ck_assert_uint_eq(vm.connections, 1);
}
END_TEST

START_TEST(a_peer_that_gives_up_is_known_by_its_guid)
{
	struct rdma_cm_id *id = peer_asks(host.listener, "please");
	uint64_t guid = mad_get(hear(MAD_REQ), REQ_CA_GUID);
	struct mad *rej;

	host_event(id, RDMA_CM_EVENT_REJECTED, MAD_REASON_TIMEOUT, NULL, NULL, 0);
	rej = hear(MAD_REJ);
	ck_assert_uint_eq(mad_get(rej, REJ_REASON), MAD_REASON_TIMEOUT);
	ck_assert_uint_eq(mad_get(rej, REJ_INFO_LEN), 8);
	ck_assert_uint_eq(mad_get(rej, REJ_INFO_GUID), guid);
	WAIT_FOR(host.ids == 6);
}
END_TEST

START_TEST(another_vms_queue_pair_is_not_accepted)
{
	struct mad rep;

	peer_asks(host.listener, "please");
	rep = guest_rep(mad_get(hear(MAD_REQ), MAD_LOCAL_ID));
	mad_set(&rep, REP_QPN, QPN + 1);
	say(&rep);
	ck_assert_uint_eq(mad_get(hear(MAD_REJ), REJ_MESSAGE), MAD_ABOUT_REP);
	ck_assert_uint_eq(host.accepts, 0);
	ck_assert_uint_eq(host.rejects, 1);
}
END_TEST

START_TEST(peers_beyond_the_quota_are_rejected)
{
	for (int i = 0; i < 4; i++)
		peer_asks(host.listener, "please");
	WAIT_FOR(host.rejects == 1);
	for (int i = 0; i < 3; i++)
		hear(MAD_REQ);
	hear_nothing();
	ck_assert_int_eq(host.ids, 6 + 3);
}
END_TEST

START_TEST(a_peer_that_bears_the_guests_own_address_is_rejected)
{
	struct sockaddr_in *from;
	struct rdma_cm_id *id;

	pthread_mutex_lock(&host.lock);
	id = host_new_id(host.listener->context, RDMA_PS_TCP);
	from = (struct sockaddr_in *)&id->route.addr.dst_addr;
	from->sin_family = AF_INET;
	memcpy(&from->sin_addr, own + 12, 4);
	host_push(id, host.listener, RDMA_CM_EVENT_CONNECT_REQUEST, 0, &question, NULL, 0);
	pthread_mutex_unlock(&host.lock);
	WAIT_FOR(host.rejects == 1);
	WAIT_FOR(host.ids == 6);
	hear_nothing();
}
END_TEST

START_TEST(a_port_that_is_taken_is_left_alone)
{
	cm_gid_del(cv, own);
	ck_assert_int_eq(host.ids, 0);
	host.in_use = true;
	cm_gid_add(cv, own, own, 3);
	settle();
	ck_assert_int_eq(host.ids, 0);
}
END_TEST

/* ---------------------------- translated addresses ------------------------- */

static void translate(void)
{
	cm_gid_del(cv, own);
	host.listeners = 0;
	cm_gid_add(cv, own, at_host, 3);
	settle();
}

static void check_ipv4(const struct sockaddr *address, const uint8_t gid[16])
{
	ck_assert_mem_eq(&((const struct sockaddr_in *)address)->sin_addr, gid + 12, 4);
}

START_TEST(a_translated_vm_connects_by_the_hosts_address)
{
	static const uint8_t via[16] = { [10] = 0xff, 0xff, 192, 168, 1, 2 };
	struct mad req = request();

	translate();
	say(&req);
	WAIT_FOR(host.connects == 1);
	ck_assert_uint_eq(host.bound_port, 41000);
	check_ipv4(&host.last->route.addr.src_addr, at_host);
	check_ipv4(&host.last->route.addr.dst_addr, peer);
	/* To a VM of another host: to that host. The guest hears of the address that it knows. */
	memcpy(config.peer.route[0].prefix.gid, peer, 16);
	config.peer.route[0].prefix.bits = 120;
	memcpy(config.peer.route[0].via, via, 16);
	config.peer.count = 1;
	mad_set(&req, MAD_LOCAL_ID, GUEST_ID + 1);
	say(&req);
	WAIT_FOR(host.connects == 2);
	check_ipv4(&host.last->route.addr.dst_addr, via);
	host_event(host.last, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, &answer, "hi", 2);
	hear(MAD_REP);
}
END_TEST

START_TEST(a_translated_vm_is_reached_on_ports_of_its_own_only)
{
	translate();
	ck_assert_uint_eq(host.listeners, 0);
	policy.has_listen = true;
	translate();
	ck_assert_uint_eq(host.listeners, 6);
	check_ipv4(&host.listener->route.addr.src_addr, at_host);
}
END_TEST

START_TEST(a_peer_at_the_hosts_address_reaches_the_guest_at_its_own)
{
	struct ip_cm_request ip;
	struct mad *req;

	policy.has_listen = true;
	translate();
	/* It is a VM of another host, the only one that is known there. */
	memcpy(config.peer.route[0].prefix.gid, peer, 16);
	config.peer.route[0].prefix.bits = 128;
	memcpy(config.peer.route[0].via, at_host, 16);
	config.peer.count = 1;
	peer_asks_from(host.listener, at_host, "please");
	req = hear(MAD_REQ);
	ck_assert(!memcmp(mad_data(req, REQ_LOCAL_GID), peer, 16));
	ck_assert(!memcmp(mad_data(req, REQ_REMOTE_GID), own, 16));
	ck_assert(mad_ip_cm_parse(mad_get(req, REQ_SERVICE_ID), mad_data(req, REQ_PRIVATE), &ip));
	ck_assert(!memcmp(ip.source, peer, 16));
	ck_assert(!memcmp(ip.destination, own, 16));
}
END_TEST

START_TEST(addresses_with_one_of_the_hosts_listen_once_and_inherit)
{
	static const uint8_t second[16] = { [10] = 0xff, 0xff, 10, 0, 0, 2 };
	struct rdma_cm_id *first;

	policy.has_listen = true;
	translate();
	first = host.listener;
	cm_gid_add(cv, second, at_host, 3);
	settle();
	ck_assert_uint_eq(host.listeners, 6);
	cm_gid_del(cv, second);
	ck_assert_ptr_eq(host.listener, first);
	ck_assert_int_eq(host.ids, 6);
	cm_gid_add(cv, second, at_host, 3);
	cm_gid_del(cv, own);
	ck_assert_uint_eq(host.listeners, 12);
	ck_assert_int_eq(host.ids, 6);
	cm_gid_del(cv, second);
	ck_assert_int_eq(host.ids, 0);
}
END_TEST

/* ------------------------------------ UD ----------------------------------- */

static struct mad sidr_request(void)
{
	struct ip_cm_request ip = ip_request(IP_CM_UDP);
	struct mad mad;

	mad_init(&mad, MAD_SIDR_REQ, TID);
	mad_set(&mad, SIDR_REQ_ID, GUEST_ID);
	mad_set(&mad, SIDR_REQ_SERVICE_ID, mad_ip_cm_service_id(&ip));
	mad_ip_cm_build(&ip, mad.bytes + MAD_HEADER_LEN + SIDR_REQ_PRIVATE);
	return mad;
}

START_TEST(a_peers_datagram_queue_pair_is_found)
{
	struct mad req = sidr_request(), *rep;

	say(&req);
	WAIT_FOR(host.connects == 1);
	ck_assert_uint_eq(host.param.private_data_len, 180);
	host_event(host.last, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, "ud", 2);
	rep = hear(MAD_SIDR_REP);
	ck_assert_uint_eq(mad_get(rep, SIDR_REP_ID), GUEST_ID);
	ck_assert_uint_eq(mad_get(rep, SIDR_REP_STATUS), MAD_SIDR_OK);
	ck_assert_uint_eq(mad_get(rep, SIDR_REP_QPN), PEER_QPN);
	ck_assert_uint_eq(mad_get(rep, SIDR_REP_QKEY), 0x01234567);
	ck_assert(!memcmp(mad_data(rep, SIDR_REP_PRIVATE), "ud", 3));
	WAIT_FOR(host.ids == 6);
	say(&req);
	hear(MAD_SIDR_REP);
	ck_assert_uint_eq(host.connects, 1);
}
END_TEST

START_TEST(a_peer_without_such_a_service_says_so)
{
	struct mad req = sidr_request();

	say(&req);
	WAIT_FOR(host.connects == 1);
	host_event(host.last, RDMA_CM_EVENT_UNREACHABLE, MAD_SIDR_UNSUPPORTED, NULL, NULL, 0);
	ck_assert_uint_eq(mad_get(hear(MAD_SIDR_REP), SIDR_REP_STATUS), MAD_SIDR_UNSUPPORTED);
}
END_TEST

START_TEST(a_peer_finds_the_guests_datagram_queue_pair)
{
	struct mad rep, *req;
	struct ip_cm_request ip;

	/* Of the last port the listener in that port space was made last. */
	ck_assert_ptr_nonnull(host.last);
	ck_assert_int_eq(host.last->ps, RDMA_PS_UDP);
	peer_asks(host.last, "udp");
	req = hear(MAD_SIDR_REQ);
	ck_assert(mad_ip_cm_parse(mad_get(req, SIDR_REQ_SERVICE_ID),
				  mad_data(req, SIDR_REQ_PRIVATE), &ip));
	ck_assert_uint_eq(ip.protocol, IP_CM_UDP);
	ck_assert_uint_eq(ip.port, 9001);
	ck_assert(!memcmp(mad_data(req, SIDR_REQ_PRIVATE + IP_CM_HEADER_LEN), "udp", 4));
	mad_init(&rep, MAD_SIDR_REP, mad_get(req, MAD_TID));
	mad_set(&rep, SIDR_REP_ID, mad_get(req, SIDR_REQ_ID));
	mad_set(&rep, SIDR_REP_QPN, QPN);
	say(&rep);
	WAIT_FOR(host.accepts == 1);
	ck_assert_uint_eq(host.param.qp_num, QPN);
	WAIT_FOR(host.ids == 6);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("cm");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_request_becomes_rdma_connect);
	tcase_add_test(tc, without_memory_a_connection_is_refused_and_made_when_there_is_some);
	tcase_add_test(tc, a_port_that_hosts_programs_listen_on_is_not_taken);
	tcase_add_test(tc, the_answer_becomes_a_rep_and_its_terms_are_learnt);
	tcase_add_test(tc, repeated_requests_make_no_second_connection);
	tcase_add_test(tc, a_rep_is_repeated_until_the_guest_answers);
	tcase_add_test(tc, a_rejection_comes_with_reason_and_private_data);
	tcase_add_test(tc, silence_of_the_peer_is_silence_towards_the_guest);
	tcase_add_test(tc, an_address_that_is_not_found_is_refused);
	tcase_add_test(tc, guests_speak_for_themselves_only);
	tcase_add_test(tc, a_vm_has_a_bounded_number_of_connections);
	tcase_add_test(tc, an_id_with_another_request_is_a_new_connection);
	tcase_add_test(tc, the_guest_disconnects);
	tcase_add_test(tc, the_peer_disconnects);
	tcase_add_test(tc, the_guest_gives_up);
	tcase_add_test(tc, the_guest_rejects_the_answer);
	tcase_add_test(tc, messages_about_nothing_do_nothing);
	tcase_add_test(tc, a_guest_that_asks_much_holds_up_no_other);
	tcase_add_test(tc, garbage_harms_nobody);
	tcase_add_test(tc, a_request_of_a_peer_reaches_the_guest);
	tcase_add_test(tc, the_guest_accepts);
	tcase_add_test(tc, the_guest_rejects_with_private_data);
	tcase_add_test(tc, a_request_is_repeated_unless_the_guest_asks_for_time);
	tcase_add_test(tc, a_peer_that_gives_up_is_known_by_its_guid);
	tcase_add_test(tc, another_vms_queue_pair_is_not_accepted);
	tcase_add_test(tc, peers_beyond_the_quota_are_rejected);
	tcase_add_test(tc, a_peer_that_bears_the_guests_own_address_is_rejected);
	tcase_add_test(tc, a_port_that_is_taken_is_left_alone);
	tcase_add_test(tc, a_translated_vm_connects_by_the_hosts_address);
	tcase_add_test(tc, a_translated_vm_is_reached_on_ports_of_its_own_only);
	tcase_add_test(tc, a_peer_at_the_hosts_address_reaches_the_guest_at_its_own);
	tcase_add_test(tc, addresses_with_one_of_the_hosts_listen_once_and_inherit);
	tcase_add_test(tc, a_peers_datagram_queue_pair_is_found);
	tcase_add_test(tc, a_peer_without_such_a_service_says_so);
	tcase_add_test(tc, a_peer_finds_the_guests_datagram_queue_pair);
	return suite_run("cm", tc);
}
