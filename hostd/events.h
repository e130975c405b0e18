/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event queues in the guest driver's memory, and its interrupts.
 */
#ifndef HOSTD_EVENTS_H
#define HOSTD_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct session;
struct ceq;

/*
 * Post an async event (enum pvhca_async_event) for an object's handle (or port), and
 * interrupt. Events that find no room are kept, up to a bound; then dropped and
 * counted. Any thread.
 */
void events_async(struct session *session, uint32_t event, uint32_t object);

/*
 * Post a completion event and interrupt. False: no room now, try again later. Any thread.
 */
bool events_completion(struct ceq *ceq, uint32_t cq_handle);

#endif
