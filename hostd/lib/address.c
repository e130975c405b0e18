// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#define V4_BITS 96 /* of ::ffff:0:0/96, where IPv4 is mapped to */

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

bool address_is_ipv4(const uint8_t gid[16])
{
	return !memcmp(gid, v4_prefix, sizeof(v4_prefix));
}

void address_from_ipv4(const uint8_t ipv4[4], uint8_t gid[16])
{
	memcpy(gid, v4_prefix, sizeof(v4_prefix));
	memcpy(gid + sizeof(v4_prefix), ipv4, 4);
}

bool address_is_link_local(const uint8_t gid[16])
{
	return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}

bool address_is_group(const uint8_t gid[16])
{
	return gid[0] == 0xff || (address_is_ipv4(gid) && (gid[12] & 0xf0) == 0xe0);
}

bool address_parse(const char *text, struct address_prefix *prefix)
{
	char copy[INET6_ADDRSTRLEN + 4], *slash, *end;
	unsigned int most = 128, least = 0;
	unsigned long bits;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = '\0';

	if (inet_pton(AF_INET, copy, prefix->gid + 12) == 1) {
		memcpy(prefix->gid, v4_prefix, sizeof(v4_prefix));
		least = V4_BITS;
	} else if (inet_pton(AF_INET6, copy, prefix->gid) != 1) {
		return false;
	}
	prefix->bits = most;
	if (!slash)
		return true;
	if (*slash < '0' || *slash > '9')
		return false;
	bits = strtoul(slash, &end, 10);
	if (*end || bits > most - least)
		return false;
	prefix->bits = least + bits;
	return true;
}

bool address_matches(const struct address_prefix *prefix, const uint8_t gid[16])
{
	unsigned int bytes = prefix->bits / 8, rest = prefix->bits % 8;
	uint8_t mask = 0xff00 >> rest;

	if (memcmp(prefix->gid, gid, bytes))
		return false;
	return !rest || !((prefix->gid[bytes] ^ gid[bytes]) & mask);
}

const char *address_text(const uint8_t gid[16], char text[ADDRESS_TEXT])
{
	const char *done;

	if (address_is_ipv4(gid))
		done = inet_ntop(AF_INET, gid + 12, text, ADDRESS_TEXT);
	else
		done = inet_ntop(AF_INET6, gid, text, ADDRESS_TEXT);
	return done ? done : "?";
}

bool address_mac_valid(const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return !(mac[0] & 1) && memcmp(mac, zero, sizeof(zero));
}

bool address_parse_mac(const char *text, uint8_t mac[6])
{
	unsigned int byte[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3],
		   &byte[4], &byte[5], &end) != 6 ||
	    text[end] || end != 17)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = byte[i];
	return address_mac_valid(mac);
}

void address_link_local(const uint8_t mac[6], uint8_t gid[16])
{
	memset(gid, 0, 16);
	gid[0] = 0xfe;
	gid[1] = 0x80;
	gid[8] = mac[0] ^ 2;
	gid[9] = mac[1];
	gid[10] = mac[2];
	gid[11] = 0xff;
	gid[12] = 0xfe;
	gid[13] = mac[3];
	gid[14] = mac[4];
	gid[15] = mac[5];
}

bool address_link_local_mac(const uint8_t gid[16], uint8_t mac[6])
{
	uint8_t back[16];

	mac[0] = gid[8] ^ 2;
	mac[1] = gid[9];
	mac[2] = gid[10];
	memcpy(mac + 3, gid + 13, 3);
	address_link_local(mac, back);
	return !memcmp(back, gid, sizeof(back));
}

bool address_parse_uuid(const char *text, uint8_t uuid[16])
{
	uint8_t *to = uuid;

	if (!g_uuid_string_is_valid(text))
		return false;
	for (; *text; text += 2) {
		if (*text == '-')
			text++;
		*to++ = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
	}
	return true;
}

const char *address_uuid_text(const uint8_t uuid[16], char text[UUID_TEXT])
{
	char *to = text;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		to += sprintf(to, "%02x", uuid[i]);
	}
	return text;
}
