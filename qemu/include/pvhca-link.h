/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca link ABI: QEMU's device and pvhcad, over a unix stream socket.
 *
 * One connection is one session, one VM's device. QEMU connects (and
 * reconnects); pvhcad listens. Each message is a header and a payload of fixed
 * size for its type; descriptors travel as SCM_RIGHTS with the first byte of
 * their message, at most PVHCA_LINK_MAX_FDS. Native endianness: both ends run
 * on one machine. Whoever receives an unknown type, a wrong size, a wrong
 * number of descriptors, a non-zero reserved field or a message out of order
 * logs it and closes the connection; descriptors received with it are closed.
 *
 * Order: HELLO first; pvhcad answers HELLO_REPLY and, where it refuses, closes.
 * QEMU sends nothing else before an accepting reply. Then QEMU sends all
 * EVENT_FDS and MEM_ADD, and after these anything at any time. Messages are
 * handled in order, so that ENABLE sees all memory sent before it.
 * QEMU never waits for an answer.
 */
#ifndef PVHCA_LINK_H
#define PVHCA_LINK_H

#include <stdint.h>

#define PVHCA_LINK_MAGIC 0x4b4e4c50u /* "PLNK" */
/* The major differs: refuse. The lower minor of the two is spoken. */
#define PVHCA_LINK_ABI_MAJOR 1
#define PVHCA_LINK_ABI_MINOR 1

#define PVHCA_LINK_MAX_FDS     8
#define PVHCA_LINK_MAX_PAYLOAD 512 /* bytes; every payload below is smaller */
#define PVHCA_LINK_MAX_REGIONS 256 /* guest RAM regions of one session */

/*
 * Features, of HELLO what QEMU wants and of HELLO_REPLY what it gets of that.
 *
 * PAIR (minor 1): the adapter belongs to the guest's own network interface whose
 * permanent address is hello.mac, which is not 0 then. Without the feature in the
 * answer, pvhcad is too old for it, and QEMU closes: a driver that is not told
 * would make a second interface of that address.
 */
#define PVHCA_LINK_F_PAIR (UINT64_C(1) << 0)

/* clang-format off */
enum pvhca_link_type {
	/* QEMU to pvhcad */
	PVHCA_LINK_HELLO	= 1,	/* struct pvhca_link_hello */
	PVHCA_LINK_EVENT_FDS	= 2,	/* struct pvhca_link_event_fds, descriptors */
	PVHCA_LINK_MEM_ADD	= 3,	/* struct pvhca_link_mem, 1 descriptor */
	PVHCA_LINK_MEM_DEL	= 4,	/* struct pvhca_link_mem as added; fd_offset 0 */
	PVHCA_LINK_ENABLE	= 5,	/* struct pvhca_link_enable */
	PVHCA_LINK_RESET	= 6,	/* struct pvhca_link_reset */
	/* pvhcad to QEMU */
	PVHCA_LINK_HELLO_REPLY	= 0x81,	/* struct pvhca_link_hello_reply */
	PVHCA_LINK_ENABLE_REPLY	= 0x82,	/* struct pvhca_link_reply */
	PVHCA_LINK_RESET_REPLY	= 0x83,	/* struct pvhca_link_reply */
	PVHCA_LINK_FATAL	= 0x84,	/* struct pvhca_link_reply, id 0: broken until RESET */
};
/* clang-format on */

struct pvhca_link_header {
    uint32_t magic;    /* PVHCA_LINK_MAGIC */
    uint32_t type;     /* enum pvhca_link_type */
    uint32_t size;     /* payload bytes that follow */
    uint32_t reserved; /* 0 */
};

struct pvhca_link_hello {
    uint16_t abi_major;
    uint16_t abi_minor;
    uint32_t num_vectors;   /* MSI-X vectors, the config vector included */
    uint32_t num_doorbells; /* data doorbells, 1..PVHCA_DB_MAX */
    uint32_t reserved0;     /* 0 */
    uint64_t features;      /* wanted: PVHCA_LINK_F_* */
    uint8_t uuid[16];       /* the VM's, all 0 if it has none */
    char name[64];          /* the VM's (-name), NUL terminated, may be empty */
    char version[32];       /* of the QEMU device, NUL terminated */
    uint8_t mac[6]; /* wanted by -device pvhca,mac=; all 0: pvhcad chooses */
    uint8_t reserved1[10]; /* 0 */
};

struct pvhca_link_hello_reply {
    uint16_t abi_major; /* of pvhcad */
    uint16_t abi_minor;
    uint32_t
        refused; /* 0, or an errno: EPROTO versions differ, EACCES policy, ... */
    uint64_t features; /* accepted ones */
    char version[32];  /* of pvhcad, NUL terminated */
    char reason[160]; /* for QEMU's log, NUL terminated, empty if not refused */
};

enum pvhca_link_event_kind {
    PVHCA_LINK_EVENT_ADMIN_DB =
        0, /* the admin doorbell: index 0, one descriptor */
    PVHCA_LINK_EVENT_DATA_DB = 1, /* data doorbells */
    PVHCA_LINK_EVENT_VECTOR =
        2, /* MSI-X vectors from PVHCA_VECTOR_ADMIN up; pvhcad writes them */
};

/*
 * Eventfds of QEMU's. Each kind and index is sent exactly once, with two
 * exceptions of vectors, both from minor version 1 on:
 *
 * A vector can be sent again, at any time: the new descriptor takes the old
 * one's place. While the device is enabled pvhcad then writes the new one once
 * without cause, as the last interrupt may have gone to the old one.
 *
 * PVHCA_VECTOR_CONFIG can be sent. pvhcad writes it when the connection ends,
 * and at no other time. It is for who cannot do that himself any more: then the
 * guest looks at its device and finds that it is lost.
 */
struct pvhca_link_event_fds {
    uint32_t kind; /* enum pvhca_link_event_kind */
    uint32_t
        first; /* index (doorbell or MSI-X vector number) of the first descriptor */
    uint32_t
        count; /* descriptors, 1..PVHCA_LINK_MAX_FDS, indices are consecutive */
    uint32_t reserved; /* 0 */
};

/*
 * Guest RAM [gpa, gpa + size) is bytes [fd_offset, fd_offset + size) of the
 * descriptor, which can be mapped MAP_SHARED for reading and writing. Regions
 * do not overlap. All are multiples of 4 KiB. After MEM_DEL the memory may
 * still be in use by what was registered before; pvhcad keeps its own mapping
 * until that is given back.
 */
struct pvhca_link_mem {
    uint64_t gpa;
    uint64_t size;
    uint64_t fd_offset;
    uint64_t
        page_size; /* of the host memory behind it, bytes; a power of two >= 4096 */
};

struct pvhca_link_enable {
    uint64_t id;        /* echoed in the reply */
    uint64_t admin_gpa; /* struct pvhca_admin_area */
};

struct pvhca_link_reset {
    uint64_t id;
};

/* A reply with another id than the last request's is stale: ignored. */
struct pvhca_link_reply {
    uint64_t id;       /* of the request */
    uint32_t error;    /* enum pvhca_dev_error, 0 = done */
    uint32_t reserved; /* 0 */
};

_Static_assert(sizeof(struct pvhca_link_header) == 16, "link ABI");
_Static_assert(sizeof(struct pvhca_link_hello) == 152, "link ABI");
_Static_assert(sizeof(struct pvhca_link_hello_reply) == 208, "link ABI");
_Static_assert(sizeof(struct pvhca_link_event_fds) == 16, "link ABI");
_Static_assert(sizeof(struct pvhca_link_mem) == 32, "link ABI");
_Static_assert(sizeof(struct pvhca_link_enable) == 16, "link ABI");
_Static_assert(sizeof(struct pvhca_link_reset) == 8, "link ABI");
_Static_assert(sizeof(struct pvhca_link_reply) == 16, "link ABI");

#endif /* PVHCA_LINK_H */
