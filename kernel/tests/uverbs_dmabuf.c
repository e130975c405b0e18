// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A region of a DMA buffer. Who exports it is vgem, a DRM device without hardware
 * whose buffers are the guest's own memory.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include "uverbs.h"

#define SIZE   65536ul
#define OFFSET 4097ul
#define LENGTH 20000ul

/* As in drm/drm.h and drm/drm_mode.h, which are not everywhere. */
struct create_dumb {
	uint32_t height, width, bpp, flags;
	uint32_t handle, pitch;
	uint64_t size;
};

struct prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};
#define CREATE_DUMB	   _IOWR('d', 0xb2, struct create_dumb)
#define PRIME_HANDLE_TO_FD _IOWR('d', 0x2d, struct prime_handle)

static bool failed(const char *what)
{
	printf("failed %s %s\n", what, strerror(errno));
	return false;
}

static bool make_buffer(int *fd)
{
	struct create_dumb dumb = { .height = 1, .width = SIZE / 4, .bpp = 32 };
	struct prime_handle prime = { .flags = O_RDWR | O_CLOEXEC };
	int card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	unsigned char *memory;
	uint32_t sum = 0;

	if (card < 0 || ioctl(card, CREATE_DUMB, &dumb))
		return failed("CREATE_DUMB");
	prime.handle = dumb.handle;
	if (ioctl(card, PRIME_HANDLE_TO_FD, &prime))
		return failed("PRIME_HANDLE_TO_FD");
	*fd = prime.fd;
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, prime.fd, 0);
	if (memory == MAP_FAILED)
		return failed("mmap");
	for (unsigned long i = 0; i < SIZE; i++)
		memory[i] = i * 11 + (i >> 12);
	for (unsigned long i = OFFSET; i < OFFSET + LENGTH; i++)
		sum += memory[i];
	printf("dmabuf sum %u\n", sum);
	return true;
}

static bool register_buffer(struct app *app, int fd)
{
	uint32_t lkey = 0, rkey = 0;
	struct {
		struct ib_uverbs_ioctl_hdr header;
		struct ib_uverbs_attr attrs[9];
	} in = {
		.header = { .length = sizeof(in),
			    .object_id = UVERBS_OBJECT_MR,
			    .method_id = UVERBS_METHOD_REG_DMABUF_MR,
			    .num_attrs = 9 },
		.attrs = {
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_HANDLE },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, .data = app->pd },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_OFFSET, .len = 8, .data = OFFSET },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_LENGTH, .len = 8, .data = LENGTH },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_IOVA, .len = 8, .data = OFFSET },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_FD, .len = 4, .data = fd },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, .len = 4, .data = 7 },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY,
			  .len = 4,
			  .data = (uintptr_t)&lkey },
			{ .attr_id = UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY,
			  .len = 4,
			  .data = (uintptr_t)&rkey },
		},
	};

	if (ioctl(app->device, RDMA_VERBS_IOCTL, &in))
		return failed("REG_DMABUF_MR");
	printf("dmabuf lkey %#x rkey %#x\n", lkey, rkey);
	return true;
}

bool make_dmabuf_mr(struct app *app)
{
	int fd;

	return make_buffer(&fd) && register_buffer(app, fd);
}
