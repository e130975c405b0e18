/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device opened for a test, and RC queue pairs on it. What fails here ends the program. */
#ifndef PVHCA_TEST_ENDPOINT_H
#define PVHCA_TEST_ENDPOINT_H

#include <stdint.h>

#include <infiniband/verbs.h>

#define GID_INDEX_AUTO (-1)
#define RDMA_PORT      1

struct device {
	struct ibv_context *context;
	struct ibv_device_attr attr;
	union ibv_gid gid;
	int gid_index;
	enum ibv_mtu mtu;
};

/* name: NULL is the first device. gid_index: GID_INDEX_AUTO is the first RoCE v2 GID of an IPv4 address. */
void device_open(struct device *d, const char *name, int gid_index);
void device_close(struct device *d);

/* What the other end has to know of a QP. */
struct endpoint_address {
	uint32_t qpn;
	uint32_t psn;
	union ibv_gid gid;
	uint32_t mtu;
};

/* What a test may want otherwise than usual. */
struct endpoint_settings {
	int access;	 /* IBV_ACCESS_* that remote operations on this QP may use */
	uint8_t timeout; /* 4.096 us times 2 to this; 0: for ever */
	uint8_t retries;
	uint8_t rnr_retries; /* 7: for ever */
	uint8_t rnr_timer;   /* as encoded for ibv_modify_qp */
	uint8_t reads;	     /* RDMA reads and atomics in flight */
};

/*
 * All rights, and patience: on emulated processors a peer may well be silent
 * for seconds.
 */
extern const struct endpoint_settings endpoint_defaults;

struct ibv_qp *endpoint_create(struct device *d, struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
struct endpoint_address endpoint_address(struct device *d, struct ibv_qp *qp);
void endpoint_to_init(struct ibv_qp *qp, const struct endpoint_settings *settings);
/* From INIT to RTS, towards peer. */
void endpoint_connect(struct device *d, struct ibv_qp *qp, const struct endpoint_address *peer,
		      const struct endpoint_settings *settings);
/* From RESET to RTS, two QPs of this process towards one another. */
void endpoint_connect_pair(struct device *d, struct ibv_qp *a, struct ibv_qp *b);

#endif
