// SPDX-License-Identifier: GPL-2.0-or-later
#include "churn.h"

#include <stdio.h>
#include <string.h>

#include "raw.h"

#define DEPTH 16u

/* A thread, so to speak. handle: of its queue pair, while @made. */
struct lane {
	void *ring;
	uint32_t cookie;
	uint32_t handle;
	bool made;
	bool busy;
};

static void post_create(struct guest_context *context, struct guest_cq *cq, struct lane *lane)
{
	struct pvhca_admin_cmd cmd;
	size_t size = guest_qp_command(context, cq, DEPTH, 0, &cmd);

	guest_memory(context->guest, lane->ring, size, &cmd.create_qp.mem);
	guest_post_command(context->guest, &cmd);
	lane->cookie = cmd.cookie;
	lane->busy = true;
}

static void post_destroy(struct guest_context *context, struct lane *lane)
{
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_DESTROY_QP),
		.destroy.handle = htole32(lane->handle),
	};

	guest_post_command(context->guest, &cmd);
	lane->cookie = cmd.cookie;
	lane->busy = true;
}

static struct lane *lane_of(struct lane *lanes, unsigned int count, uint32_t cookie)
{
	for (unsigned int i = 0; i < count; i++)
		if (lanes[i].busy && lanes[i].cookie == cookie)
			return &lanes[i];
	return NULL;
}

/* Take an answer: its lane, or NULL. */
static struct lane *next_lane(struct guest *guest, struct lane *lanes, unsigned int count)
{
	struct pvhca_admin_rsp rsp;
	struct lane *lane;

	if (guest_next_answer(guest, &rsp))
		return NULL;
	lane = lane_of(lanes, count, rsp.cookie);
	if (!lane || rsp.status) {
		fprintf(stderr, "queue pairs: status %u\n", le32toh(rsp.status));
		return NULL;
	}
	lane->busy = false;
	lane->made = !lane->made;
	lane->handle = le32toh(rsp.create_qp.handle);
	return lane;
}

double churn_queue_pairs(struct guest_context *context, struct guest_cq *cq, unsigned int count,
			 unsigned int pairs)
{
	struct lane lanes[GUEST_COMMANDS] = { 0 }, *lane;
	unsigned int begun = 0, ended = 0, i;
	struct pvhca_admin_cmd cmd;
	size_t size = guest_qp_command(context, cq, DEPTH, 0, &cmd);
	uint64_t began;

	for (i = 0; i < count; i++) {
		lanes[i].ring = guest_alloc(context->guest, size);
		if (!lanes[i].ring)
			return -1;
	}
	began = monotonic_ns();
	for (i = 0; i < count && begun < pairs; i++, begun++)
		post_create(context, cq, &lanes[i]);
	while (ended < pairs) {
		lane = next_lane(context->guest, lanes, count);
		if (!lane)
			return -1;
		if (lane->made) {
			post_destroy(context, lane);
		} else {
			ended++;
			if (begun++ < pairs)
				post_create(context, cq, lane);
		}
	}
	return pairs * 1e9 / (monotonic_ns() - began);
}
