// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory lists: pinned user memory, as commands name it.
 *
 * pvhcad maps the extents of a region one by one, so the fewer the better: pages
 * that lie behind one another become one extent, whatever their sizes are. A
 * list that does not fit into the command goes to a chain of chunks, which
 * pvhcad reads while it carries the command out; they are freed afterwards.
 *
 * A list owns the memory until the command has succeeded and an object takes it.
 */

#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "pvhca.h"

/**
 * struct pvhca_mem_chunk - a chunk and its address
 * @chunk: for the driver
 * @dma: for pvhcad
 */
struct pvhca_mem_chunk {
	struct pvhca_extent_chunk *chunk;
	dma_addr_t dma;
};

/**
 * struct pvhca_mem - memory and its list, while a command needs the list
 * @hold: how long that is
 * @dev: session
 * @umem: the memory; NULL once pvhca_mem_take() gave it away
 * @list: part that goes into the command
 * @num_chunks: allocated
 * @chunks: that hold the extents, if they do not fit into @list
 */
struct pvhca_mem {
	struct pvhca_com_hold hold;
	struct pvhca_dev *dev;
	struct ib_umem *umem;
	struct pvhca_mem_list list;
	u32 num_chunks;
	struct pvhca_mem_chunk chunks[];
};

/**
 * struct pvhca_mem_iter - walks over the runs of a region
 *
 * rdma_umem_for_each_dma_block() walks by blocks of one size. pvhcad is told runs of any
 * length: of memory in huge pages a few, and not thousands of granules, to be put together
 * again.
 *
 * @sg: next entry of the scatter list
 * @left: entries that have not been read, @sg included
 * @skip: bytes of the next entry that precede the region
 * @todo: bytes of the region that have not been read
 */
struct pvhca_mem_iter {
	struct scatterlist *sg;
	unsigned int left;
	u64 skip;
	u64 todo;
};

/*
 * The core pins whole pages, which are larger than a granule on some machines;
 * a region is taken from the granule it starts in to the one it ends in.
 */
static void pvhca_mem_iter_init(struct pvhca_mem_iter *iter, struct ib_umem *umem)
{
	u64 offset = ib_umem_offset(umem);

	iter->sg = umem->sgt_append.sgt.sgl;
	iter->left = umem->sgt_append.sgt.nents;
	iter->skip = round_down(offset, PVHCA_GRANULE);
	iter->todo = round_up(offset + umem->length, PVHCA_GRANULE) - iter->skip;
}

/* The next run as far as it goes; false at the end. */
static bool pvhca_mem_iter_next(struct pvhca_mem_iter *iter, u64 *addr, u64 *len)
{
	*len = 0;
	while (iter->todo && iter->left) {
		u64 start = sg_dma_address(iter->sg) + iter->skip;
		u64 bytes = min_t(u64, sg_dma_len(iter->sg) - iter->skip, iter->todo);

		if (*len && start != *addr + *len)
			break;
		if (!*len)
			*addr = start;
		*len += bytes;
		iter->todo -= bytes;
		iter->skip = 0;
		iter->sg = sg_next(iter->sg);
		iter->left--;
	}
	return *len;
}

static u64 pvhca_mem_count(struct ib_umem *umem)
{
	struct pvhca_mem_iter iter;
	u64 addr, len, count = 0;

	pvhca_mem_iter_init(&iter, umem);
	while (pvhca_mem_iter_next(&iter, &addr, &len)) {
		cond_resched();
		count++;
	}
	return count;
}

static int pvhca_mem_alloc_chunks(struct pvhca_dev *dev, struct pvhca_mem *mem, u32 num)
{
	struct device *dma_dev = pvhca_to_dma_device(dev);
	struct pvhca_mem_chunk *c;

	for (; mem->num_chunks < num; mem->num_chunks++) {
		c = &mem->chunks[mem->num_chunks];
		c->chunk = dma_alloc_coherent(dma_dev, sizeof(*c->chunk), &c->dma, GFP_KERNEL);
		if (!c->chunk)
			return -ENOMEM;
		if (mem->num_chunks)
			c[-1].chunk->next = cpu_to_le64(c->dma);
	}
	if (num)
		mem->list.chunk = cpu_to_le64(mem->chunks[0].dma);
	return 0;
}

static void pvhca_mem_fill(struct pvhca_mem *mem, struct ib_umem *umem)
{
	struct pvhca_mem_iter iter;
	struct pvhca_extent *extent;
	u64 addr, len;
	u32 i = 0;

	pvhca_mem_iter_init(&iter, umem);
	mem->list.length = cpu_to_le64(iter.todo);
	while (pvhca_mem_iter_next(&iter, &addr, &len)) {
		if (mem->num_chunks)
			extent = &mem->chunks[i / PVHCA_CHUNK_EXTENTS]
					  .chunk->extents[i % PVHCA_CHUNK_EXTENTS];
		else
			extent = &mem->list.extents[i];
		extent->addr = cpu_to_le64(addr);
		extent->len = cpu_to_le64(len);
		i++;
		cond_resched();
	}
	mem->list.num_extents = cpu_to_le32(i);
}

/*
 * pvhca_com_hold.release. If pvhcad may still use the memory, all is lost, the chunks
 * included: pvhcad would take their next contents for extents.
 */
static void pvhca_mem_release(struct pvhca_com_hold *hold)
{
	struct pvhca_mem *mem = container_of(hold, struct pvhca_mem, hold);
	struct device *dma_dev = pvhca_to_dma_device(mem->dev);
	struct pvhca_mem_chunk *c;
	u32 i;

	if (!pvhca_dev_may_free(mem->dev))
		return;
	for (i = 0; i < mem->num_chunks; i++) {
		c = &mem->chunks[i];
		dma_free_coherent(dma_dev, sizeof(*c->chunk), c->chunk, c->dma);
	}
	ib_umem_release(mem->umem);
	kvfree(mem);
}

/* Room for the list of @count extents. */
static struct pvhca_mem *pvhca_mem_new(struct pvhca_dev *dev, struct ib_umem *umem, u32 count)
{
	struct pvhca_mem *mem;
	u32 num_chunks = 0;
	int err;

	if (count > PVHCA_INLINE_EXTENTS)
		num_chunks = DIV_ROUND_UP(count, PVHCA_CHUNK_EXTENTS);
	mem = kvzalloc(struct_size(mem, chunks, num_chunks), GFP_KERNEL);
	if (!mem)
		return ERR_PTR(-ENOMEM);
	pvhca_com_hold_init(&mem->hold, pvhca_mem_release);
	mem->dev = dev;
	err = pvhca_mem_alloc_chunks(dev, mem, num_chunks);
	if (err) {
		pvhca_mem_put(mem);
		return ERR_PTR(err);
	}
	mem->umem = umem;
	return mem;
}

/**
 * pvhca_mem_describe - make the memory list of a region
 * @dev: session
 * @umem: the region, not empty, of which pvhcad was told nothing so far. It belongs
 *	to the list from now on; it is released if the list cannot be made
 *
 * Return: the list, for pvhca_mem_put(); ERR_PTR(-ENOMEM); ERR_PTR(-EINVAL).
 */
struct pvhca_mem *pvhca_mem_describe(struct pvhca_dev *dev, struct ib_umem *umem)
{
	u64 count = pvhca_mem_count(umem);
	struct pvhca_mem *mem = ERR_PTR(-EINVAL);

	if (count && count <= U32_MAX)
		mem = pvhca_mem_new(dev, umem, count);
	if (IS_ERR(mem))
		ib_umem_release(umem);
	else
		pvhca_mem_fill(mem, umem);
	return mem;
}

/**
 * pvhca_mem_pin - pin user memory and make its list
 * @dev: session
 * @addr: first byte, in the calling process
 * @length: bytes
 * @access: IB_ACCESS_*; memory for reading only may be read-only
 *
 * Return: as pvhca_mem_describe().
 */
struct pvhca_mem *pvhca_mem_pin(struct pvhca_dev *dev, u64 addr, u64 length, int access)
{
	struct ib_umem *umem = ib_umem_get_va(&dev->ibdev, addr, length, access);

	return IS_ERR(umem) ? ERR_CAST(umem) : pvhca_mem_describe(dev, umem);
}

/**
 * pvhca_mem_list - the part that goes into the command
 * @mem: list
 *
 * Return: that part; it belongs to @mem.
 */
const struct pvhca_mem_list *pvhca_mem_list(const struct pvhca_mem *mem)
{
	return &mem->list;
}

/**
 * pvhca_mem_hold - the part that lets a process leave the command when it is killed
 * @mem: list
 *
 * Return: that part.
 */
struct pvhca_com_hold *pvhca_mem_hold(struct pvhca_mem *mem)
{
	return &mem->hold;
}

/**
 * pvhca_mem_take - the memory is an object's now
 * @mem: list, which is still to be put
 *
 * Return: the memory, for pvhca_mem_unpin().
 */
struct ib_umem *pvhca_mem_take(struct pvhca_mem *mem)
{
	struct ib_umem *umem = mem->umem;

	mem->umem = NULL;
	return umem;
}

/**
 * pvhca_mem_put - the command is over, or its process was killed
 * @mem: list. It is freed with the memory that was not taken when the command is over
 */
void pvhca_mem_put(struct pvhca_mem *mem)
{
	pvhca_com_hold_put(&mem->hold);
}

/**
 * pvhca_mem_unpin - release memory that pvhcad was told of
 * @dev: session
 * @umem: memory; may be NULL. Lost if pvhcad may still write to it
 */
void pvhca_mem_unpin(struct pvhca_dev *dev, struct ib_umem *umem)
{
	if (pvhca_dev_may_free(dev))
		ib_umem_release(umem);
}
