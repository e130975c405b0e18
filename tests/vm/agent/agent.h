/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test guest's first process: it brings the guest up and then serves commands from the harness over one
 * virtio-serial port.
 *
 * Both directions carry frames: this header, then @length bytes. A request names itself by @id; whatever belongs to
 * its answer carries the same id, and a DONE frame ends it. Numbers are little endian, as the guest is.
 */
#ifndef PVHCA_TEST_AGENT_H
#define PVHCA_TEST_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC 0x61767670u
#define FRAME_MAX   (1u << 20) /* bytes of payload in one frame from the harness */

enum frame_type {
	/* from the harness */
	FRAME_RUN =
		1, /* u32 flags, u32 argc, u32 envc, then strings: directory, argv, environment */
	FRAME_INPUT = 2,  /* bytes for standard input; an empty frame closes it */
	FRAME_SIGNAL = 3, /* u32 signal, to the command's whole session */
	FRAME_STORE = 4,  /* u32 mode, u32 append, path, then the file's bytes */
	FRAME_FETCH = 5,  /* path; answered by OUT frames */
	FRAME_LOAD = 6,	  /* module's path, parameters */
	FRAME_LISTEN = 7, /* u32 TCP port, u32 milliseconds to wait for a listener */
	FRAME_SYNC = 8,	  /* forward the kernel log read so far, then DONE */
	FRAME_SWEEP = 9,  /* kill every other process of the guest */
	FRAME_POWER = 10, /* u32: 0 restart, 1 power off */
	/* to the harness */
	FRAME_HELLO = 0x80, /* the guest is up; payload is HELLO_TOKEN */
	FRAME_OUT = 0x81,
	FRAME_ERR = 0x82,
	FRAME_DONE = 0x83, /* u32 enum done_kind, u32 value */
	FRAME_KMSG = 0x84, /* one record of /dev/kmsg */
};

enum run_flags {
	RUN_TERMINAL = 1u << 0, /* on a terminal of its own, for a person at the other end */
};

enum done_kind {
	DONE_EXITED = 0,    /* value: exit code */
	DONE_SIGNALLED = 1, /* value: signal */
	DONE_FAILED = 2,    /* value: errno */
};

/* A restarted guest may have left half a frame in the stream: the harness looks for this to find its feet again. */
#define HELLO_TOKEN	 "\xff\x00\xfe\x01pvhca test agent\x01\xfe\x00\xff"
#define HELLO_TOKEN_SIZE (sizeof(HELLO_TOKEN) - 1)

struct frame {
	uint32_t magic;
	uint32_t type;
	uint32_t id;
	uint32_t length;
};

/* boot.c */
void boot_guest(void);
void boot_init(void);
int boot_load_module(const char *path, const char *params);

/* channel.c */
int channel_open(void);
void channel_send(uint32_t type, uint32_t id, const void *data, size_t length);
void channel_done(uint32_t id, enum done_kind kind, uint32_t value);

/* kmsg.c */
int kmsg_open(void);
void kmsg_forward(void);

/* jobs.c */
struct pollfd;
void jobs_run(uint32_t id, const char *payload, size_t length);
void jobs_input(uint32_t id, const char *data, size_t length);
void jobs_signal(uint32_t id, int number);
void jobs_reap(void);
void jobs_sweep(void);
size_t jobs_poll_count(void);
void jobs_poll_fill(struct pollfd *fds);
void jobs_poll_done(const struct pollfd *fds, size_t count);

/* listen.c */
void listen_wait(uint32_t id, uint16_t port, uint32_t milliseconds);
void listen_check(void);
bool listen_pending(void);

#endif
