/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counters of a session. Each counter has one writer at a time or is
 * updated atomically. Readers see a recent value (relaxed).
 */
#ifndef HOSTD_LIB_COUNTERS_H
#define HOSTD_LIB_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* X(name, description) */
#define COUNTERS(X)                                                            \
	X(doorbells, "doorbells by which the guest woke pvhcad (exits)")       \
	X(admin_commands, "admin commands")                                    \
	X(interrupts, "interrupts raised")                                     \
	X(messages, "send queue entries taken")                                \
	X(receives, "receive queue entries taken")                             \
	X(completions, "completions written")                                  \
	X(completion_events, "completion events raised")                       \
	X(async_events, "async events raised")                                 \
	X(async_events_dropped, "async events that found no room")             \
	X(mads_sent, "management datagrams that the guest sent")               \
	X(mads_received, "management datagrams that the guest was given")      \
	X(mads_dropped, "management datagrams that went nowhere")              \
	X(packets_sent, "packets of the VM that another one was given")        \
	X(packet_bytes_sent, "bytes of these")                                 \
	X(packets_received, "packets that the VM was given")                   \
	X(packets_refused, "packets of the VM that may go nowhere")            \
	X(packets_lost, "packets to the VM that found no receive")             \
	X(payload_bytes_copied, "payload bytes that pvhcad copied")            \
	X(payload_bytes_sent, "payload bytes of successful requests")          \
	X(inline_bytes, "payload bytes that stood in send queue entries")      \
	X(mappings_reused, "regions registered whose memory was mapped still") \
	X(throttled_ns, "nanoseconds that its rate had it wait")               \
	X(log_lines_dropped, "lines of the log left out")                      \
	X(errors, "completions in error")                                      \
	X(protocol_errors, "entries or commands that broke the ABI")

/* Objects that a VM has now. The quota of the same name bounds each. X(name, description) */
#define OBJECTS(X)                                       \
	X(contexts, "open device contexts")              \
	X(pds, "protection domains")                     \
	X(mrs, "memory regions")                         \
	X(mws, "memory windows")                         \
	X(ahs, "address handles")                        \
	X(cqs, "completion queues")                      \
	X(srqs, "shared receive queues")                 \
	X(qps, "queue pairs")                            \
	X(connections, "connections to native peers")    \
	X(pinned_bytes, "bytes of registered memory")    \
	X(memory_bytes, "bytes of RAM that QEMU passed") \
	X(heap_bytes, "bytes of memory that pvhcad holds for it")

/* Likewise, but without a quota. */
#define AMOUNTS(X)                                                     \
	X(ceqs, "completion event queues")                             \
	X(mappings, "mappings that registered memory takes in pvhcad") \
	X(mappings_kept, "mappings kept of memory that was registered")

struct counters {
#define COUNTER_FIELD(name, text) _Atomic uint64_t name;
	COUNTERS(COUNTER_FIELD)
#undef COUNTER_FIELD
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
