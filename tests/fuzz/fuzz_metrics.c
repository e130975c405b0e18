// SPDX-License-Identifier: GPL-2.0-or-later
/* A request for metrics, byte by byte as it may come; and the address that is configured. */
#include <stdlib.h>

#include "fuzz.h"
#include "lib/metrics_address.h"
#include "stats/metrics.h"

#define REQUEST 4096u /* what the server reads at most */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* On the heap and no longer than it is, so that a look beyond its end is seen. */
static unsigned int request(const uint8_t *data, size_t size)
{
	char *text = malloc(size);
	unsigned int status;
	bool head;

	if (size)
		memcpy(text, data, size);
	status = metrics_request(text, size, &head);
	free(text);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct metrics_address address;
	unsigned int status = 0;
	char *text;

	/* The first answer is sent. There must be one when no more is read. */
	for (size_t n = size > 64 ? size - 64 : 0; n <= size && n <= REQUEST && !status; n++)
		status = request(data, n);
	FUZZ_CHECK(status || size < REQUEST);
	text = strndup((const char *)data, size);
	metrics_address_parse(text, &address);
	free(text);
	return 0;
}
