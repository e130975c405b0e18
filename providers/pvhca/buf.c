// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of the rings. The kernel pins it for the host, so a fork must not give
 * the parent's next write a new page: the child does not get it at all.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <util/util.h>

#include "pvhca.h"

/*
 * Asks a parent domain's allocator. Return: the memory; NULL if it has none;
 * MAP_FAILED if it leaves that to us.
 */
static void *ask_parent(struct pvhca_pd *parent, size_t len, size_t page,
			enum pvhca_resource resource)
{
	void *addr;

	if (!parent || !parent->alloc)
		return MAP_FAILED;
	addr = parent->alloc(&parent->ibv_pd, parent->context, len, page,
			     resource);
	if (addr == IBV_ALLOCATOR_USE_DEFAULT)
		return MAP_FAILED;
	if (addr && (uintptr_t)addr % page) {
		parent->free(&parent->ibv_pd, parent->context, addr, resource);
		return NULL;
	}
	return addr;
}

static int get_memory(struct pvhca_buf *buf, size_t len,
		      struct pvhca_pd *parent, enum pvhca_resource resource)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *addr;

	len = align(len, page);
	*buf = (struct pvhca_buf){ .len = len, .resource = resource };
	addr = ask_parent(parent, len, page, resource);
	if (!addr)
		return ENOMEM;
	if (addr != MAP_FAILED) {
		memset(addr, 0, len);
		buf->owner = parent;
		buf->addr = addr;
		return 0;
	}

	addr = mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		return errno;
	buf->addr = addr;
	return 0;
}

static void put_memory(struct pvhca_buf *buf)
{
	struct pvhca_pd *owner = buf->owner;

	if (owner)
		owner->free(&owner->ibv_pd, owner->context, buf->addr,
			    buf->resource);
	else
		munmap(buf->addr, buf->len);
	buf->addr = NULL;
}

/**
 * pvhca_buf_alloc() - zeroed memory on pages of its own
 * @buf: written on success
 * @len: bytes, rounded up to whole pages
 * @parent: domain whose allocator is asked first, or NULL; must outlive the memory
 * @resource: what it is for
 *
 * Return: 0 or an errno value.
 */
int pvhca_buf_alloc(struct pvhca_buf *buf, size_t len, struct pvhca_pd *parent,
		    enum pvhca_resource resource)
{
	int err;

	err = get_memory(buf, len, parent, resource);
	if (err)
		return err;
	err = ibv_dontfork_range(buf->addr, buf->len);
	if (err) {
		put_memory(buf);
		return ENOMEM;
	}
	return 0;
}

void pvhca_buf_free(struct pvhca_buf *buf)
{
	int saved = errno;

	if (!buf->addr)
		return;
	ibv_dofork_range(buf->addr, buf->len);
	put_memory(buf);
	errno = saved;
}
