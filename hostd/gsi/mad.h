/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Management datagrams of the connection management class: InfiniBand
 * Architecture Specification volume 1, chapter 12 (layouts in 12.6 to 12.11),
 * header in 13.4.2; and what the RDMA IP CM service puts before the private data
 * of requests (annex A11).
 *
 * Fields are given by the place of their first bit, counted from the most
 * significant bit of the MAD's first byte, and their width.
 */
#ifndef HOSTD_GSI_MAD_H
#define HOSTD_GSI_MAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAD_LEN	       256u
#define MAD_HEADER_LEN 24u

/* bit: of the byte, 0 is the most significant */
#define MAD_AT(byte, bit, width) \
	((struct mad_field){ (MAD_HEADER_LEN + (byte)) * 8 + (bit), width })
#define MAD_HEADER_AT(byte, width) ((struct mad_field){ (byte)*8, width })

struct mad_field {
	uint16_t first;
	uint8_t width; /* at most 64 */
};

struct mad {
	uint8_t bytes[MAD_LEN];
};

/* Attributes of the class. */
/* clang-format off */
enum mad_attribute {
	MAD_REQ		= 0x10,
	MAD_MRA		= 0x11,
	MAD_REJ		= 0x12,
	MAD_REP		= 0x13,
	MAD_RTU		= 0x14,
	MAD_DREQ	= 0x15,
	MAD_DREP	= 0x16,
	MAD_SIDR_REQ	= 0x17,
	MAD_SIDR_REP	= 0x18,
	MAD_LAP		= 0x19,
	MAD_APR		= 0x1a,
};
/* clang-format on */

#define MAD_BASE_VERSION  MAD_HEADER_AT(0, 8)
#define MAD_CLASS	  MAD_HEADER_AT(1, 8)
#define MAD_CLASS_VERSION MAD_HEADER_AT(2, 8)
#define MAD_METHOD	  MAD_HEADER_AT(3, 8)
#define MAD_STATUS	  MAD_HEADER_AT(4, 16)
#define MAD_TID		  MAD_HEADER_AT(8, 64)
#define MAD_ATTRIBUTE	  MAD_HEADER_AT(16, 16)

/* All but the SIDR messages begin with these. */
#define MAD_LOCAL_ID  MAD_AT(0, 0, 32)
#define MAD_REMOTE_ID MAD_AT(4, 0, 32) /* not in REQ */

/* REQ, 12.6.5 */
#define REQ_SERVICE_ID	       MAD_AT(8, 0, 64)
#define REQ_CA_GUID	       MAD_AT(16, 0, 64)
#define REQ_QKEY	       MAD_AT(28, 0, 32)
#define REQ_QPN		       MAD_AT(32, 0, 24)
#define REQ_RESPONDER	       MAD_AT(35, 0, 8)
#define REQ_INITIATOR	       MAD_AT(39, 0, 8)
#define REQ_REMOTE_TIMEOUT     MAD_AT(43, 0, 5)
#define REQ_TRANSPORT	       MAD_AT(43, 5, 2) /* 0: RC */
#define REQ_FLOW_CONTROL       MAD_AT(43, 7, 1)
#define REQ_PSN		       MAD_AT(44, 0, 24) /* the first that the sender expects */
#define REQ_LOCAL_TIMEOUT      MAD_AT(47, 0, 5)
#define REQ_RETRY_COUNT	       MAD_AT(47, 5, 3)
#define REQ_PKEY	       MAD_AT(48, 0, 16)
#define REQ_MTU		       MAD_AT(50, 0, 4)
#define REQ_RNR_RETRY	       MAD_AT(50, 5, 3)
#define REQ_CM_RETRIES	       MAD_AT(51, 0, 4)
#define REQ_SRQ		       MAD_AT(51, 4, 1)
#define REQ_EXTENDED_TRANSPORT MAD_AT(51, 5, 3)
#define REQ_LOCAL_GID	       56 /* bytes from the header's end */
#define REQ_REMOTE_GID	       72
#define REQ_FLOW_LABEL	       MAD_AT(88, 0, 20)
#define REQ_RATE	       MAD_AT(91, 2, 6)
#define REQ_TRAFFIC_CLASS      MAD_AT(92, 0, 8)
#define REQ_HOP_LIMIT	       MAD_AT(93, 0, 8)
#define REQ_SL		       MAD_AT(94, 0, 4)
#define REQ_ACK_TIMEOUT	       MAD_AT(95, 0, 5)
#define REQ_PRIVATE	       140
#define REQ_PRIVATE_LEN	       92u

/* MRA, 12.6.6 */
#define MRA_MESSAGE MAD_AT(8, 0, 2)
#define MRA_TIMEOUT MAD_AT(9, 0, 5)

/* REJ, 12.6.7; REJ_MESSAGE and MRA_MESSAGE: what it is about */
enum mad_about { MAD_ABOUT_REQ, MAD_ABOUT_REP, MAD_ABOUT_OTHER };
#define REJ_MESSAGE	MAD_AT(8, 0, 2)
#define REJ_INFO_LEN	MAD_AT(9, 0, 7)
#define REJ_REASON	MAD_AT(10, 0, 16)
#define REJ_INFO_GUID	MAD_AT(12, 0, 64) /* with the reason "timeout": of the sender's CA */
#define REJ_PRIVATE	84
#define REJ_PRIVATE_LEN 148u

/* clang-format off */
enum mad_reason {
	MAD_REASON_NO_RESOURCES		= 3,
	MAD_REASON_TIMEOUT		= 4,
	MAD_REASON_UNSUPPORTED		= 5,
	MAD_REASON_BAD_COMM_ID		= 6,
	MAD_REASON_BAD_SERVICE_ID	= 8,
	MAD_REASON_BAD_GID		= 12,	/* the primary path's remote GID */
	MAD_REASON_CONSUMER		= 28,
};
/* clang-format on */

/* REP, 12.6.8 */
#define REP_QKEY	 MAD_AT(8, 0, 32)
#define REP_QPN		 MAD_AT(12, 0, 24)
#define REP_PSN		 MAD_AT(20, 0, 24)
#define REP_RESPONDER	 MAD_AT(24, 0, 8)
#define REP_INITIATOR	 MAD_AT(25, 0, 8)
#define REP_ACK_DELAY	 MAD_AT(26, 0, 5)
#define REP_FAILOVER	 MAD_AT(26, 5, 2)
#define REP_FLOW_CONTROL MAD_AT(26, 7, 1)
#define REP_RNR_RETRY	 MAD_AT(27, 0, 3)
#define REP_SRQ		 MAD_AT(27, 3, 1)
#define REP_CA_GUID	 MAD_AT(28, 0, 64)
#define REP_PRIVATE	 36
#define REP_PRIVATE_LEN	 196u

/* RTU, DREQ, DREP, 12.6.9 to 12.6.11 */
#define DREQ_QPN MAD_AT(8, 0, 24)

/* SIDR_REQ and SIDR_REP, 12.11 */
#define SIDR_REQ_ID	     MAD_AT(0, 0, 32)
#define SIDR_REQ_PKEY	     MAD_AT(4, 0, 16)
#define SIDR_REQ_SERVICE_ID  MAD_AT(8, 0, 64)
#define SIDR_REQ_PRIVATE     16
#define SIDR_REQ_PRIVATE_LEN 216u
#define SIDR_REP_ID	     MAD_AT(0, 0, 32)
#define SIDR_REP_STATUS	     MAD_AT(4, 0, 8)
#define SIDR_REP_QPN	     MAD_AT(8, 0, 24)
#define SIDR_REP_SERVICE_ID  MAD_AT(12, 0, 64)
#define SIDR_REP_QKEY	     MAD_AT(20, 0, 32)
#define SIDR_REP_PRIVATE     96
#define SIDR_REP_PRIVATE_LEN 136u

/* clang-format off */
enum mad_sidr_status {
	MAD_SIDR_OK			= 0,
	MAD_SIDR_UNSUPPORTED		= 1,
	MAD_SIDR_REJECTED		= 2,
	MAD_SIDR_NO_QP			= 3,
};
/* clang-format on */

uint64_t mad_get(const struct mad *mad, struct mad_field field);
/* Bits of the value above the field's width are dropped. */
void mad_set(struct mad *mad, struct mad_field field, uint64_t value);

/* A MAD with nothing but its header. */
void mad_init(struct mad *mad, enum mad_attribute attribute, uint64_t tid);

/* 256 bytes: a MAD of the class, of the one method and version that it has. */
bool mad_is_cm(const void *mad);

static inline const uint8_t *mad_data(const struct mad *mad, unsigned int at)
{
	return mad->bytes + MAD_HEADER_LEN + at;
}

/* Private data, cut to room; what is missing stays 0. */
static inline void mad_set_private(struct mad *mad, unsigned int at, unsigned int room,
				   const void *data, unsigned int length)
{
	if (data)
		memcpy(mad->bytes + MAD_HEADER_LEN + at, data, length < room ? length : room);
}

/* -------------------------- RDMA IP CM service, A11 ------------------------ */

#define IP_CM_PREFIX_MASK 0xffffffffff000000ull /* of a service id */
#define IP_CM_PREFIX	  0x0000000001000000ull
#define IP_CM_HEADER_LEN  36u

/* Third byte of the service id. */
enum ip_cm_protocol { IP_CM_TCP = 0x06, IP_CM_UDP = 0x11 };

/**
 * struct ip_cm_request - where a request goes, and whence
 * @protocol: enum ip_cm_protocol
 * @port: of the service, host endian
 * @source_port: host endian
 * @source, @destination: as GIDs
 */
struct ip_cm_request {
	uint8_t protocol;
	uint16_t port;
	uint16_t source_port;
	uint8_t source[16];
	uint8_t destination[16];
};

/*
 * From a service id and the first IP_CM_HEADER_LEN bytes of private data. False: it
 * is not of this service, or its version is unknown.
 */
bool ip_cm_parse(uint64_t service_id, const uint8_t *header, struct ip_cm_request *request);
uint64_t ip_cm_service_id(const struct ip_cm_request *request);
void ip_cm_build(const struct ip_cm_request *request, uint8_t *header);

#endif
