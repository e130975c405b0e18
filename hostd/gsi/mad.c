// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/address.h"
#include "gsi/mad.h"

#define CLASS_CM	 0x07
#define CLASS_CM_VERSION 2
#define METHOD_SEND	 0x03

#define IP_CM_VERSION 0

uint64_t mad_get(const struct mad *mad, struct mad_field field)
{
	uint64_t value = 0;
	unsigned int bit;

	for (bit = field.first; bit < field.first + field.width; bit++)
		value = value << 1 | (mad->bytes[bit / 8] >> (7 - bit % 8) & 1);
	return value;
}

void mad_set(struct mad *mad, struct mad_field field, uint64_t value)
{
	unsigned int bit = field.first + field.width;

	for (; bit-- > field.first; value >>= 1) {
		uint8_t mask = 1u << (7 - bit % 8);

		if (value & 1)
			mad->bytes[bit / 8] |= mask;
		else
			mad->bytes[bit / 8] &= ~mask;
	}
}

void mad_init(struct mad *mad, enum mad_attribute attribute, uint64_t tid)
{
	memset(mad, 0, sizeof(*mad));
	mad_set(mad, MAD_BASE_VERSION, 1);
	mad_set(mad, MAD_CLASS, CLASS_CM);
	mad_set(mad, MAD_CLASS_VERSION, CLASS_CM_VERSION);
	mad_set(mad, MAD_METHOD, METHOD_SEND);
	mad_set(mad, MAD_TID, tid);
	mad_set(mad, MAD_ATTRIBUTE, attribute);
}

bool mad_is_cm(const void *mad)
{
	return mad_get(mad, MAD_BASE_VERSION) == 1 && mad_get(mad, MAD_CLASS) == CLASS_CM &&
		mad_get(mad, MAD_CLASS_VERSION) == CLASS_CM_VERSION &&
		mad_get(mad, MAD_METHOD) == METHOD_SEND;
}

/* In the header an IPv4 address has zeros before it, not the mapped prefix. */
static void address_to_gid(const uint8_t *address, bool ipv4, uint8_t gid[16])
{
	if (ipv4)
		address_from_ipv4(address + 12, gid);
	else
		memcpy(gid, address, 16);
}

static void address_from_gid(const uint8_t gid[16], bool ipv4, uint8_t *address)
{
	memcpy(address, gid, 16);
	if (ipv4)
		memset(address, 0, 12);
}

/*
 * The header: version; IP version in the upper four bits; source port; source and
 * destination address. A11.2.2.1
 */
bool mad_ip_cm_parse(uint64_t service_id, const uint8_t *header, struct ip_cm_request *request)
{
	uint8_t protocol = service_id >> 16 & 0xff;
	uint8_t ip_version = header[1] >> 4;

	if ((service_id & IP_CM_PREFIX_MASK) != IP_CM_PREFIX ||
	    (protocol != IP_CM_TCP && protocol != IP_CM_UDP) || header[0] != IP_CM_VERSION ||
	    (ip_version != 4 && ip_version != 6))
		return false;
	request->protocol = protocol;
	request->port = service_id & 0xffff;
	request->source_port = header[2] << 8 | header[3];
	address_to_gid(header + 4, ip_version == 4, request->source);
	address_to_gid(header + 20, ip_version == 4, request->destination);
	return true;
}

uint64_t mad_ip_cm_service_id(const struct ip_cm_request *request)
{
	return IP_CM_PREFIX | (uint64_t)request->protocol << 16 | request->port;
}

void mad_ip_cm_build(const struct ip_cm_request *request, uint8_t *header)
{
	bool ipv4 = address_is_ipv4(request->source);

	header[0] = IP_CM_VERSION;
	header[1] = (ipv4 ? 4 : 6) << 4;
	header[2] = request->source_port >> 8;
	header[3] = request->source_port;
	address_from_gid(request->source, ipv4, header + 4);
	address_from_gid(request->destination, ipv4, header + 20);
}
