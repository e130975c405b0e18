// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMs of other hosts, and the addresses of these hosts: peer= of pvhcad.conf(5).
 */
#include <string.h>

#include "lib/address.h"
#include "config/private.h"

/* "PREFIX via ADDRESS" */
static bool config_parse_route(char *text, struct config_route *route)
{
	char **words = g_strsplit_set(g_strstrip(text), " \t", -1);
	struct address_prefix via;
	char *word[3] = { 0 };
	unsigned int count = 0;
	bool ok;

	for (char **at = words; *at; at++)
		if (**at && count++ < G_N_ELEMENTS(word))
			word[count - 1] = *at;
	ok = count == G_N_ELEMENTS(word) && address_parse(word[0], &route->prefix) &&
		!strcmp(word[1], "via") && address_parse(word[2], &via) &&
		via.bits == CONFIG_WHOLE_ADDRESS &&
		address_is_ipv4(route->prefix.gid) == address_is_ipv4(via.gid);
	if (ok)
		memcpy(route->via, via.gid, sizeof(route->via));
	g_strfreev(words);
	return ok;
}

bool config_set_routes(struct route_list *to, const char *value, const char *where, GError **error)
{
	char **texts = g_strsplit(value, ",", -1);
	struct route_list list = { 0 };
	bool ok = true;

	for (char **text = texts; ok && *value && *text; text++) {
		if (list.count == CONFIG_ROUTES)
			ok = config_error(error, where, "more than %u routes", CONFIG_ROUTES);
		else if (!config_parse_route(*text, &list.route[list.count++]))
			ok = config_error(
				error, where,
				"\"%s\" is not a route such as 10.1.2.0/24 via 10.0.0.2, both of one family",
				*text);
	}
	g_strfreev(texts);
	if (ok)
		*to = list;
	return ok;
}

bool config_route(const struct config *config, const uint8_t gid[16], uint8_t via[16])
{
	const struct config_route *best = NULL, *route = config->peer.route;

	for (unsigned int i = 0; i < config->peer.count; i++, route++)
		if (address_matches(&route->prefix, gid) &&
		    (!best || route->prefix.bits > best->prefix.bits))
			best = route;
	if (best)
		memcpy(via, best->via, sizeof(best->via));
	return best;
}

bool config_route_back(const struct config *config, const uint8_t via[16], uint8_t gid[16])
{
	const struct config_route *only = NULL, *route = config->peer.route;

	for (unsigned int i = 0; i < config->peer.count; i++, route++) {
		if (memcmp(route->via, via, sizeof(route->via)))
			continue;
		if (only)
			return false;
		only = route;
	}
	if (!only || only->prefix.bits != CONFIG_WHOLE_ADDRESS)
		return false;
	memcpy(gid, only->prefix.gid, sizeof(only->prefix.gid));
	return true;
}
