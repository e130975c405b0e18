/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts and forms of IP addresses, GIDs, MACs and UUIDs. */
#ifndef HOSTD_LIB_ADDRESS_H
#define HOSTD_LIB_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_TEXT 48 /* bytes for the text of a GID, NUL included */
#define UUID_TEXT    37

/* A GID is an IPv6 address, or an IPv4 address mapped into one. */
struct address_prefix {
	uint8_t gid[16];
	unsigned int bits;
};

/* "10.1.2.3", "10.1.0.0/16", "fd00::1", "fd00::/64"; false: none of these. */
bool address_parse(const char *text, struct address_prefix *prefix);
bool address_matches(const struct address_prefix *prefix, const uint8_t gid[16]);
/* IPv4 in dots, others as IPv6; returns text. */
const char *address_text(const uint8_t gid[16], char text[ADDRESS_TEXT]);

bool address_is_ipv4(const uint8_t gid[16]);
void address_from_ipv4(const uint8_t ipv4[4], uint8_t gid[16]);
/* IPv6's fe80::/10 */
bool address_is_link_local(const uint8_t gid[16]);
/* Of multicast; RoCE v2 names IPv4 groups by their mapped addresses. */
bool address_is_group(const uint8_t gid[16]);

/* Six hexadecimal bytes with colons, a station's own: not 0, not multicast. */
bool address_parse_mac(const char *text, uint8_t mac[6]);
bool address_mac_valid(const uint8_t mac[6]);
/* The link-local address that a kernel derives from a MAC (EUI-64). */
void address_link_local(const uint8_t mac[6], uint8_t gid[16]);
/* That MAC; false: the address follows from none. */
bool address_link_local_mac(const uint8_t gid[16], uint8_t mac[6]);

/* As GLib's g_uuid_string_is_valid() takes it. */
bool address_parse_uuid(const char *text, uint8_t uuid[16]);
const char *address_uuid_text(const uint8_t uuid[16], char text[UUID_TEXT]);

#endif
