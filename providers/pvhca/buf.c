// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of the rings. The kernel pins it for the host, so a fork must not give
 * the parent's next write a new page: the child does not get it at all.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <util/util.h>

#include "pvhca.h"

/**
 * pvhca_buf_alloc() - zeroed memory on pages of its own
 * @buf: written on success
 * @len: bytes, rounded up to whole pages
 *
 * Return: 0 or an errno value.
 */
int pvhca_buf_alloc(struct pvhca_buf *buf, size_t len)
{
	void *addr;
	int err;

	len = align(len, sysconf(_SC_PAGESIZE));
	addr = mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		return errno;

	err = ibv_dontfork_range(addr, len);
	if (err) {
		munmap(addr, len);
		return ENOMEM;
	}

	buf->addr = addr;
	buf->len = len;
	return 0;
}

void pvhca_buf_free(struct pvhca_buf *buf)
{
	int saved = errno;

	if (!buf->addr)
		return;
	ibv_dofork_range(buf->addr, buf->len);
	munmap(buf->addr, buf->len);
	buf->addr = NULL;
	errno = saved;
}
