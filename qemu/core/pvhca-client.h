/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca: the client of pvhcad's link (pvhca-link.h).
 *
 * Theory of operation: pvhcad is not trusted to be quick, present or sane.
 * What is sent goes through a bounded queue and is written as the socket takes
 * it, so that neither a vCPU nor a main loop waits; a peer that stops reading
 * is disconnected when the queue is full.  What is received is gathered one
 * message at a time, in a buffer that holds the largest, and checked before it
 * is used; anything wrong closes the connection.  After that the transport may
 * connect again, and all starts over with HELLO.
 *
 * Descriptors are duplicated when a message is queued: the memory they stand
 * for can be unplugged while the message waits.
 *
 * The client knows neither the socket nor the device: bytes and descriptors go
 * through a transport, what pvhcad says goes to a listener.  The end of a
 * connection can be reported from inside any write: no function here relies on
 * the connection after it has sent something.
 *
 * Not thread-safe: the owner calls it from one thread, or under one lock.
 */
#ifndef PVHCA_CLIENT_H
#define PVHCA_CLIENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pvhca-link.h"
#include "pvhca-regs.h"

#define PVHCA_CLIENT_MESSAGE_MAX \
    (sizeof(struct pvhca_link_header) + PVHCA_LINK_MAX_PAYLOAD)

/*
 * More than a session ever has under way: its greeting is 2 + 8 + 9 messages of
 * eventfds, PVHCA_VECTORS_MAX of those that are set, and PVHCA_LINK_MAX_REGIONS
 * of memory; memory map and vectors change rarely after that.
 */
#define PVHCA_CLIENT_QUEUE_MAX 2048

/* What a trace may tell; the values that go with it are in brackets. */
typedef enum PvhcaTrace {
    PVHCA_TRACE_SEND,        /* type, payload bytes, descriptors */
    PVHCA_TRACE_BLOCKED,     /* messages that wait */
    PVHCA_TRACE_RECEIVE,     /* type, payload bytes */
    PVHCA_TRACE_STALE_REPLY, /* type, id */
    PVHCA_TRACE_STATUS,      /* status, error, generation */
} PvhcaTrace;

/* The socket to pvhcad.  @opaque is the one given to pvhca_client_init(). */
typedef struct PvhcaTransport {
    /*
     * Write what the socket takes of @len bytes, descriptors (which stay the
     * caller's) with the first.  Returns the number of bytes, or -1 with
     * errno: EAGAIN if the socket is full.  May call pvhca_client_closed().
     */
    ssize_t (*write)(void *opaque, const void *bytes, size_t len,
                     const int *fds, int num_fds);
    /*
     * @wanted: call pvhca_client_writable() once, when the socket takes more,
     * from the main loop.  Else: do not.
     */
    void (*wait_writable)(void *opaque, bool wanted);
    /*
     * End the connection.  pvhca_client_closed() is called for it, from inside
     * or later.
     */
    void (*disconnect)(void *opaque);
    /* Log a warning; @text has no newline. */
    void (*warn)(void *opaque, const char *text);
    /* May be NULL.  Values without a meaning are 0. */
    void (*trace)(void *opaque, PvhcaTrace what, uint64_t a, uint64_t b,
                  uint64_t c);
} PvhcaTransport;

/* What pvhcad says.  Texts are terminated and printable. */
typedef struct PvhcaClientListener {
    /* pvhcad has answered to HELLO, well or badly; up or refused may follow. */
    void (*hello)(void *opaque, const char *hostd_version);
    /* A session begins; @link_abi is major << 16 | minor. */
    void (*up)(void *opaque, uint32_t link_abi);
    /* A connection ends; @was_up: with a session (accepted, if not yet up). */
    void (*down)(void *opaque, bool was_up);
    /* pvhcad and we speak different versions. */
    void (*refused)(void *opaque);
    /* Answers, and a session found broken; @error: enum pvhca_dev_error. */
    void (*enable_reply)(void *opaque, uint64_t id, uint32_t error);
    void (*reset_reply)(void *opaque, uint64_t id, uint32_t error);
    void (*fatal)(void *opaque, uint32_t error);
} PvhcaClientListener;

/* Who the VM is, and what pvhcad works on; set before the first connection. */
typedef struct PvhcaIdentity {
    uint32_t num_vectors;   /* PVHCA_VECTORS_MIN..PVHCA_VECTORS_MAX */
    uint32_t num_doorbells; /* 1..PVHCA_DB_MAX */
    uint8_t uuid[16];       /* all 0: none */
    uint8_t mac[6];         /* all 0: pvhcad chooses */
    bool pair;     /* with the guest's network interface of that address */
    char name[64]; /* terminated, may be empty */
    char version[PVHCA_REG_VERSION_LEN]; /* of the device, terminated */
    int admin_db;                        /* eventfds, owned by the home */
    int data_db[PVHCA_DB_MAX];
    int vectors[PVHCA_VECTORS_MAX]; /* [PVHCA_VECTOR_CONFIG] is not used */
    const char *home; /* what pvhcad's log and ours call it: "QEMU", ... */
} PvhcaIdentity;

/* A piece of guest RAM as pvhcad has it (or will, once connected). */
typedef struct PvhcaRam {
    struct pvhca_link_mem mem;
    int fd; /* of who added it: open until it is removed */
} PvhcaRam;

/*
 * Where pvhcad is to raise a vector; by default the identity's eventfds, and
 * PVHCA_VECTOR_CONFIG not at all.
 */
typedef struct PvhcaVectorFd {
    bool set;
    int fd; /* of who set it: open until it is replaced */
} PvhcaVectorFd;

typedef struct PvhcaClient {
    const PvhcaTransport *transport;
    void *transport_opaque;
    const PvhcaClientListener *listener;
    void *listener_opaque;
    const PvhcaIdentity *identity;

    bool open;      /* the socket is connected */
    bool accepted;  /* pvhcad has accepted our HELLO */
    bool broken;    /* the connection is at its end, closed() will follow */
    bool waiting;   /* until the socket takes more */
    uint32_t minor; /* of the link that both speak, once accepted */
    PvhcaVectorFd vectors[PVHCA_VECTORS_MAX];
    GQueue out;    /* PvhcaClientMessage */
    GArray *ram;   /* PvhcaRam */
    size_t in_len; /* bytes in in[] */
    uint8_t in[PVHCA_CLIENT_MESSAGE_MAX];
    char last_problem[256]; /* logged last, not to be repeated at once */
} PvhcaClient;

/* @identity is kept, not copied. */
void pvhca_client_init(PvhcaClient *client, const PvhcaTransport *transport,
                       void *transport_opaque,
                       const PvhcaClientListener *listener,
                       void *listener_opaque, const PvhcaIdentity *identity);

/*
 * Forget the connection, and the messages that wait for it, without a word to
 * the listener: for a home that ends it.
 */
void pvhca_client_stop(PvhcaClient *client);

/* Stop, and free what the client has.  The transport is not called any more after it. */
void pvhca_client_cleanup(PvhcaClient *client);

/* The transport reports: a connection begins; it has ended. */
void pvhca_client_opened(PvhcaClient *client);
void pvhca_client_closed(PvhcaClient *client);

/* The socket takes more: once for each wait_writable(true). */
void pvhca_client_writable(PvhcaClient *client);

/* How many bytes pvhca_client_receive() wants at most; 0: none now. */
size_t pvhca_client_wanted(const PvhcaClient *client);

/* Bytes have arrived. */
void pvhca_client_receive(PvhcaClient *client, const uint8_t *bytes,
                          size_t size);

/* A descriptor has arrived (the transport closes it): the connection ends. */
void pvhca_client_descriptor(PvhcaClient *client);

/*
 * Tell pvhcad of guest RAM, now or when it connects.  Regions do not overlap.
 * @fd stays the caller's and is open until the region is removed.  Returns
 * false if there are PVHCA_LINK_MAX_REGIONS already.
 */
bool pvhca_client_add_ram(PvhcaClient *client, const struct pvhca_link_mem *mem,
                          int fd);

/* Remove the region that begins at @gpa; nothing if there is none. */
void pvhca_client_remove_ram(PvhcaClient *client, uint64_t gpa);

/*
 * From now on pvhcad raises @vector by @fd, which stays the caller's and is open
 * until another one is set.  While the device is enabled an interrupt without
 * cause follows.  PVHCA_VECTOR_CONFIG is raised when the connection ends.
 *
 * A pvhcad that does not know this (minor version 0) goes on with the
 * identity's eventfds: these have to work as well.
 */
void pvhca_client_set_vector(PvhcaClient *client, uint32_t vector, int fd);

/* Requests to pvhcad.  Nothing is sent without a session. */
void pvhca_client_send_enable(PvhcaClient *client, uint64_t id,
                              uint64_t admin_gpa);
void pvhca_client_send_reset(PvhcaClient *client, uint64_t id);

void pvhca_client_trace(const PvhcaClient *client, PvhcaTrace what, uint64_t a,
                        uint64_t b, uint64_t c);

#endif /* PVHCA_CLIENT_H */
