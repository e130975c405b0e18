// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-bench-doorbell: what the device's registers cost the guest, in nanoseconds. For root, of a kernel
 * that lets him map what a driver has (iomem=relaxed).
 *
 *   doorbell N MEDIAN MIN MAX   one write, a pause before each
 *   doorbells N EACH            written one behind the other, until the device has taken all
 *   register N MEDIAN MIN MAX   one read of BAR 0
 *   command N MEDIAN MIN MAX    ibv_query_port: an admin command that carries next to nothing
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "endpoint.h"
#include "pvhca-regs.h"
#include "report.h"
#include "timing.h"

#define MAX_REPEAT 10000
#define PAUSE_US   500

struct registers {
	struct device device;
	const volatile uint32_t *status;
	volatile uint32_t *doorbell;
	unsigned int repeat;
	uint64_t ns[MAX_REPEAT];
};

static volatile void *map_bar(const char *device, int bar, size_t size)
{
	char path[256];
	void *mapped;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/device/resource%d", device, bar);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		die_errno(errno, "%s", path);
	mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		die_errno(errno, "mmap of %s", path);
	close(fd);
	return mapped;
}

static void ring(struct registers *r)
{
	*r->doorbell = 0;
}

static void read_status(struct registers *r)
{
	(void)*r->status;
}

static void query_port(struct registers *r)
{
	struct ibv_port_attr attr;
	int error = ibv_query_port(r->device.context, RDMA_PORT, &attr);

	if (error)
		die_errno(error, "ibv_query_port");
}

static void one_at_a_time(struct registers *r, const char *name, void (*what)(struct registers *r))
{
	unsigned int i;
	uint64_t began;

	for (i = 0; i < r->repeat; i++) {
		usleep(PAUSE_US);
		began = now_ns();
		what(r);
		r->ns[i] = now_ns() - began;
	}
	say_times(name, r->ns, r->repeat);
}

/* A write may be posted; a read passes no write that came before it. */
static void one_behind_the_other(struct registers *r)
{
	uint64_t began = now_ns();
	unsigned int i;

	for (i = 0; i < r->repeat; i++)
		ring(r);
	read_status(r);
	say("doorbells %u %lu", r->repeat, (now_ns() - began) / r->repeat);
}

static void open_registers(struct registers *r, const char *name, int gid)
{
	volatile uint8_t *regs, *doorbells;
	const char *device;
	uint32_t number;

	device_open(&r->device, name, gid);
	device = ibv_get_device_name(r->device.context->device);
	regs = map_bar(device, PVHCA_BAR_REGS, PVHCA_BAR_REGS_SIZE);
	doorbells = map_bar(device, PVHCA_BAR_DOORBELL, PVHCA_BAR_DOORBELL_SIZE);
	if (*(volatile uint32_t *)(regs + PVHCA_REG_MAGIC) != PVHCA_MAGIC)
		die("%s is no pvhca device", device);
	r->status = (const volatile uint32_t *)(regs + PVHCA_REG_STATUS);
	/* The last: if it is anybody's, then that of the worker used least. */
	number = *(volatile uint32_t *)(regs + PVHCA_REG_NUM_DOORBELLS);
	r->doorbell = (volatile uint32_t *)(doorbells + PVHCA_DB_USER_WINDOW +
					    (number - 1) * PVHCA_DB_STRIDE);
}

static const char usage[] = "pvhca-bench-doorbell [-d DEVICE] [-g GID] [-n TIMES]\n";

int main(int argc, char **argv)
{
	static struct registers r = { .repeat = 500 };
	int option, gid = GID_INDEX_AUTO;
	const char *name = NULL;

	while ((option = getopt(argc, argv, "d:g:n:")) != -1) {
		if (option == 'd') {
			name = optarg;
		} else if (option == 'g') {
			gid = atoi(optarg);
		} else if (option == 'n') {
			r.repeat = atoi(optarg);
		} else {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (r.repeat < 1 || r.repeat > MAX_REPEAT)
		die("-n: 1 to %d", MAX_REPEAT);
	open_registers(&r, name, gid);
	one_at_a_time(&r, "register", read_status);
	one_at_a_time(&r, "doorbell", ring);
	one_at_a_time(&r, "command", query_port);
	one_behind_the_other(&r);
	device_close(&r.device);
	return 0;
}
