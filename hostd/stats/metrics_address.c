// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counters tell who talks how much: they are for this host. Whoever wants them elsewhere
 * has a proxy that asks who asks; so nothing but loopback is accepted here.
 */
#include "stats/metrics.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "lib/log.h"

#define METRICS_FORM	"is neither an absolute path nor 127.0.0.1:PORT nor [::1]:PORT"
#define METRICS_OUTSIDE "is not a loopback address; metrics are served to this host alone"

static const char *metrics_parse_port(const char *text, in_port_t *port)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &number, NULL))
		return "has no port from 1 to 65535";
	*port = htons(number);
	return NULL;
}

static const char *metrics_parse_in4(const char *host, const char *port,
				     struct metrics_address *address)
{
	struct sockaddr_in *in4 = (void *)&address->inet;

	if (inet_pton(AF_INET, host, &in4->sin_addr) != 1)
		return METRICS_FORM;
	if (ntohl(in4->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return METRICS_OUTSIDE;
	in4->sin_family = AF_INET;
	address->length = sizeof(*in4);
	return metrics_parse_port(port, &in4->sin_port);
}

static const char *metrics_parse_in6(const char *host, const char *port,
				     struct metrics_address *address)
{
	struct sockaddr_in6 *in6 = (void *)&address->inet;

	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return METRICS_FORM;
	if (!IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr))
		return METRICS_OUTSIDE;
	in6->sin6_family = AF_INET6;
	address->length = sizeof(*in6);
	return metrics_parse_port(port, &in6->sin6_port);
}

const char *metrics_address_parse(const char *text, struct metrics_address *address)
{
	char host[INET6_ADDRSTRLEN + 2] = "";
	const char *colon = strrchr(text, ':');
	size_t length;

	memset(address, 0, sizeof(*address));
	if (*text == '/') {
		address->path = text;
		return strlen(text) < sizeof(((struct sockaddr_un *)0)->sun_path) ?
			NULL :
			"is too long for the path of a socket";
	}
	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return METRICS_FORM;
	length = colon - text;
	memcpy(host, text, length);
	if (length < 2 || host[0] != '[' || host[length - 1] != ']')
		return metrics_parse_in4(host, colon + 1, address);
	host[length - 1] = '\0';
	return metrics_parse_in6(host + 1, colon + 1, address);
}
