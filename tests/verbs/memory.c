// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-memory: memory of all kinds and sizes can be registered and is then
 * what RDMA reaches; what is no memory is refused.
 *
 * One process writes to and reads from its own regions over two connected QPs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pair.h"
#include "random.h"
#include "report.h"

#define KIB  1024ull
#define MIB  (1024 * KIB)
#define GIB  (1024 * MIB)
#define PAGE (4 * KIB)

#define FULL_ACCESS	 (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)
#define PROBE		 64 /* bytes moved to see whether a place is reached */
#define PROBES		 32 /* places in a region, beside its ends */
#define SCATTERED_REPEAT 4
#define MANY_REGIONS	 1000
#define LOOPS		 200
#define HUGE_SIZES	 "/sys/kernel/mm/hugepages"
#define HUGE_PAGES	 2 /* of each size, in a region */

struct memory_test {
	struct device device;
	struct ibv_pd *pd;
	struct pair pair;
	uint8_t *scratch; /* a page that the probes go through */
	struct ibv_mr *scratch_mr;
	struct random random;
	uint64_t max_size; /* cases that need more are skipped */
	uint64_t quota;	   /* registering more than this must fail; 0: no such case */
	char note[160];	   /* what else to print about the case */
};

struct memory_case {
	const char *name;
	uint64_t size;					   /* bytes of memory that it needs */
	bool (*run)(struct memory_test *t, uint64_t size); /* false: skipped, note says why */
};

static void *map(uint64_t size, int flags)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		die_errno(errno, "mmap of %lu bytes", size);
	return memory;
}

static struct ibv_mr *must_register(struct memory_test *t, void *memory, uint64_t size, int access)
{
	struct ibv_mr *mr = ibv_reg_mr(t->pd, memory, size, access);

	if (!mr)
		die_errno(errno, "ibv_reg_mr of %lu bytes", size);
	return mr;
}

static void deregister(struct ibv_mr *mr)
{
	int error = ibv_dereg_mr(mr);

	if (error)
		die_errno(error, "ibv_dereg_mr");
}

/* Writes to a place of a region and reads back; base: where the region starts for RDMA. */
static void probe(struct memory_test *t, struct ibv_mr *mr, uint8_t *memory, uint64_t base,
		  uint64_t offset, uint32_t length)
{
	enum ibv_wc_status status;

	random_fill(t->scratch, length, random_next(&t->random));
	status = pair_move(&t->pair, IBV_WR_RDMA_WRITE, (uintptr_t)t->scratch, t->scratch_mr->lkey,
			   length, base + offset, mr->rkey);
	if (status)
		die("write at %#lx of the region: %s", offset, status_name(status));
	if (memcmp(memory + offset, t->scratch, length))
		die("a write at %#lx of the region went elsewhere", offset);
	random_fill(memory + offset, length, random_next(&t->random));
	/* The region as the local side, too. */
	status = pair_move(&t->pair, IBV_WR_RDMA_WRITE, base + offset, mr->lkey, length,
			   (uintptr_t)t->scratch, t->scratch_mr->rkey);
	if (status)
		die("write from %#lx of the region: %s", offset, status_name(status));
	if (memcmp(memory + offset, t->scratch, length))
		die("a write from %#lx of the region took something else", offset);
}

/* Both ends, and places between. */
static void prove_reached(struct memory_test *t, struct ibv_mr *mr, uint8_t *memory, uint64_t base,
			  uint64_t size)
{
	const uint32_t length = size < PROBE ? size : PROBE;
	int i;

	probe(t, mr, memory, base, 0, length);
	probe(t, mr, memory, base, size - length, length);
	for (i = 0; i < PROBES; i++)
		probe(t, mr, memory, base, random_below(&t->random, size - length + 1), length);
}

/* A pair whose QPs went to error is of no more use. */
static void replace_pair(struct memory_test *t)
{
	int error = pair_free(&t->pair, 1);

	if (error)
		die_errno(error, "ibv_destroy_qp");
	pair_init(&t->pair, &t->device, t->pd, 4, NULL);
}

static void prove_write_refused(struct memory_test *t, uint64_t remote, uint32_t rkey)
{
	enum ibv_wc_status status;

	status = pair_move(&t->pair, IBV_WR_RDMA_WRITE, (uintptr_t)t->scratch, t->scratch_mr->lkey,
			   1, remote, rkey);
	if (status != IBV_WC_REM_ACCESS_ERR)
		die("a write that must be refused: %s", status_name(status));
	replace_pair(t);
}

/* Register what cannot be; the errno must be one of two (the same: only one). */
static void must_refuse(struct memory_test *t, void *memory, uint64_t size, int access, int one,
			int other)
{
	struct ibv_mr *mr = ibv_reg_mr(t->pd, memory, size, access);

	if (mr)
		die("ibv_reg_mr of what cannot be registered succeeded");
	if (errno != one && errno != other)
		die("ibv_reg_mr failed with %s, not with %s", errno_name(errno), errno_name(one));
	snprintf(t->note, sizeof(t->note), "%s", errno_name(errno));
}

static bool of_size(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	struct ibv_mr *mr = must_register(t, memory, size, FULL_ACCESS);
	const uint32_t rkey = mr->rkey;

	prove_reached(t, mr, memory, (uintptr_t)memory, size);
	deregister(mr);
	prove_write_refused(t, (uintptr_t)memory, rkey);
	munmap(memory, size);
	return true;
}

static bool unaligned(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	struct ibv_mr *mr = must_register(t, memory + 123, size - 456, FULL_ACCESS);

	prove_reached(t, mr, memory + 123, (uintptr_t)memory + 123, size - 456);
	deregister(mr);
	munmap(memory, size);
	return true;
}

static bool one_byte(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	/* The last of a page, so that the range ends where the page does. */
	uint8_t *byte = memory + PAGE - 1;
	struct ibv_mr *mr = must_register(t, byte, 1, FULL_ACCESS);

	prove_reached(t, mr, byte, (uintptr_t)byte, 1);
	prove_write_refused(t, (uintptr_t)byte - 1, mr->rkey);
	prove_write_refused(t, (uintptr_t)byte + 1, mr->rkey);
	deregister(mr);
	munmap(memory, size);
	return true;
}

/* Pages that come to memory in random order lie scattered in the guest, too. */
static uint8_t *scattered_memory(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	uint32_t pages = size / PAGE, *order = malloc(pages * sizeof(*order)), i, j, other;

	if (!order)
		die("out of memory");
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (i = 0; i < pages; i++) {
		j = random_below(&t->random, i + 1);
		order[i] = i;
		other = order[j];
		order[j] = i;
		order[i] = other;
	}
	for (i = 0; i < pages; i++)
		memory[order[i] * PAGE] = i;
	free(order);
	return memory;
}

static void prove_scattered(struct memory_test *t, uint8_t *memory, uint64_t size)
{
	struct ibv_mr *mr = ibv_reg_mr(t->pd, memory, size, FULL_ACCESS);

	if (!mr)
		die_errno(errno, "ibv_reg_mr of %u scattered pages", (uint32_t)(size / PAGE));
	prove_reached(t, mr, memory, (uintptr_t)memory, size);
	deregister(mr);
}

static bool scattered(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = scattered_memory(t, size);

	prove_scattered(t, memory, size);
	munmap(memory, size);
	return true;
}

/* Whatever is remembered of memory that was registered must be that of its pages, not of its addresses. */
static bool scattered_again(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = scattered_memory(t, size);
	uint32_t i;

	for (i = 0; i < SCATTERED_REPEAT; i++)
		prove_scattered(t, memory, size);
	for (i = 0; i < SCATTERED_REPEAT; i++) {
		/* Other pages at the same addresses. */
		madvise(memory + size / 2, size / 4, MADV_DONTNEED);
		memset(memory + size / 2, i, size / 4);
		prove_scattered(t, memory, size);
	}
	munmap(memory, size);
	return true;
}

static int temporary_file(uint64_t size, uint8_t **content)
{
	char name[] = "/tmp/pvhca-test-XXXXXX";
	int fd = mkstemp(name);

	if (fd < 0)
		die_errno(errno, "%s", name);
	unlink(name);
	*content = malloc(size);
	if (!*content)
		die("out of memory");
	random_fill(*content, size, 1);
	if (write(fd, *content, size) != (ssize_t)size)
		die_errno(errno, "write to a file in /tmp");
	return fd;
}

static bool read_only_file(struct memory_test *t, uint64_t size)
{
	enum ibv_wc_status status;
	struct ibv_mr *mr;
	uint8_t *content;
	uint64_t offset;
	uint8_t *memory;
	int fd, i;

	fd = temporary_file(size, &content);
	/* Private: shared and read-only is what kernels before 6.2 cannot pin. */
	memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (memory == MAP_FAILED)
		die_errno(errno, "mmap of a file");
	must_refuse(t, memory, size, IBV_ACCESS_LOCAL_WRITE, EFAULT, EFAULT);
	mr = must_register(t, memory, size, IBV_ACCESS_REMOTE_READ);
	for (i = 0; i < PROBES; i++) {
		offset = i ? random_below(&t->random, size - PROBE + 1) : size - PROBE;
		status = pair_move(&t->pair, IBV_WR_RDMA_READ, (uintptr_t)t->scratch,
				   t->scratch_mr->lkey, PROBE, (uintptr_t)memory + offset,
				   mr->rkey);
		if (status || memcmp(t->scratch, content + offset, PROBE))
			die("read at %#lx of the file: %s, or not what is there", offset,
			    status_name(status));
	}
	prove_write_refused(t, (uintptr_t)memory, mr->rkey);
	deregister(mr);
	munmap(memory, size);
	close(fd);
	free(content);
	return true;
}

static bool shared_memory(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_SHARED | MAP_ANONYMOUS);
	struct ibv_mr *mr = must_register(t, memory, size, FULL_ACCESS);

	prove_reached(t, mr, memory, (uintptr_t)memory, size);
	deregister(mr);
	munmap(memory, size);
	return true;
}

/* Huge pages of that size that are free. */
static uint64_t free_huge_pages(uint64_t page_size)
{
	unsigned long count = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), HUGE_SIZES "/hugepages-%llukB/free_hugepages",
		 (unsigned long long)(page_size / KIB));
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%lu", &count) != 1)
		count = 0;
	fclose(file);
	return count;
}

static void huge_pages_of(struct memory_test *t, uint64_t page_size)
{
	const uint64_t size = HUGE_PAGES * page_size;
	const int log = __builtin_ctzll(page_size);
	uint8_t *memory =
		map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | log << MAP_HUGE_SHIFT);
	struct ibv_mr *mr;

	mr = must_register(t, memory, size, FULL_ACCESS);
	prove_reached(t, mr, memory, (uintptr_t)memory, size);
	deregister(mr);
	/* Not from a huge page's start to another's. */
	mr = must_register(t, memory + 5 * PAGE, size - 9 * PAGE, FULL_ACCESS);
	prove_reached(t, mr, memory + 5 * PAGE, (uintptr_t)memory + 5 * PAGE, size - 9 * PAGE);
	deregister(mr);
	munmap(memory, size);
}

/* Of all sizes that the kernel has some of; the note says which. */
static bool huge_pages(struct memory_test *t, uint64_t size)
{
	DIR *folder = opendir(HUGE_SIZES);
	unsigned long kib;
	struct dirent *entry;
	size_t length = 0;

	(void)size;
	while (folder && (entry = readdir(folder))) {
		if (sscanf(entry->d_name, "hugepages-%lukB", &kib) != 1 ||
		    free_huge_pages(kib * KIB) < HUGE_PAGES)
			continue;
		huge_pages_of(t, kib * KIB);
		length += snprintf(t->note + length, sizeof(t->note) - length, "%s%lu kB",
				   length ? ", " : "", kib);
	}
	if (folder)
		closedir(folder);
	if (!length)
		snprintf(t->note, sizeof(t->note), "no huge pages here (vm.nr_hugepages)");
	return length;
}

static bool many_regions(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	struct ibv_mr *mr[MANY_REGIONS];
	int i;

	for (i = 0; i < MANY_REGIONS; i++)
		mr[i] = must_register(t, memory + i * PAGE, PAGE, FULL_ACCESS);
	for (i = 0; i < MANY_REGIONS; i++)
		probe(t, mr[i], memory + i * PAGE, (uintptr_t)memory + i * PAGE, PAGE - PROBE,
		      PROBE);
	prove_write_refused(t, (uintptr_t)memory + PAGE, mr[0]->rkey);
	for (i = 0; i < MANY_REGIONS; i++)
		deregister(mr[i]);
	munmap(memory, size);
	return true;
}

static bool overlapping(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	struct ibv_mr *whole = must_register(t, memory, size, FULL_ACCESS);
	struct ibv_mr *part = must_register(t, memory + PAGE, size - 2 * PAGE, FULL_ACCESS);

	if (whole->rkey == part->rkey || whole->lkey == part->lkey)
		die("two regions with the same key");
	prove_reached(t, whole, memory, (uintptr_t)memory, size);
	deregister(whole);
	prove_reached(t, part, memory + PAGE, (uintptr_t)memory + PAGE, size - 2 * PAGE);
	deregister(part);
	munmap(memory, size);
	return true;
}

static bool loop(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	uint64_t offset, length;
	struct ibv_mr *mr;
	int i;

	for (i = 0; i < LOOPS; i++) {
		offset = random_below(&t->random, size - PROBE);
		length = PROBE + random_below(&t->random, size - offset - PROBE + 1);
		mr = must_register(t, memory + offset, length, FULL_ACCESS);
		probe(t, mr, memory + offset, (uintptr_t)memory + offset, length - PROBE, PROBE);
		deregister(mr);
	}
	munmap(memory, size);
	return true;
}

static bool other_iova(struct memory_test *t, uint64_t size)
{
	/* Offsets within the page agree, whatever its size: anything else the kernel refuses. */
	const uint64_t iova = 0x123456780000 + 77;
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	const uint64_t length = size - PAGE;
	struct ibv_mr *mr;

	mr = ibv_reg_mr_iova(t->pd, memory + 77, length, iova, FULL_ACCESS);
	if (!mr)
		die_errno(errno, "ibv_reg_mr_iova");
	prove_reached(t, mr, memory + 77, iova, length);
	prove_write_refused(t, (uintptr_t)memory + 77, mr->rkey);
	prove_write_refused(t, iova - 1, mr->rkey);
	prove_write_refused(t, iova + length, mr->rkey);
	deregister(mr);
	munmap(memory, size);
	return true;
}

static bool zero_iova(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	struct ibv_mr *mr;

	mr = ibv_reg_mr_iova(t->pd, memory, size, 0, FULL_ACCESS);
	if (!mr)
		die_errno(errno, "ibv_reg_mr_iova");
	prove_reached(t, mr, memory, 0, size);
	deregister(mr);
	munmap(memory, size);
	return true;
}

static bool unmapped(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);

	munmap(memory, size);
	must_refuse(t, memory, size, FULL_ACCESS, EFAULT, EFAULT);
	return true;
}

static bool partly_unmapped(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);

	munmap(memory + size / 2, PAGE);
	must_refuse(t, memory, size, FULL_ACCESS, EFAULT, EFAULT);
	munmap(memory, size);
	return true;
}

static bool wrapping(struct memory_test *t, uint64_t size)
{
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);

	must_refuse(t, memory, UINT64_MAX - (uintptr_t)memory + PAGE, FULL_ACCESS, EINVAL, EINVAL);
	munmap(memory, size);
	return true;
}

/* One region after the other until the quota says no; then, with one less, it goes again. */
static bool over_quota(struct memory_test *t, uint64_t size)
{
	const uint32_t most = t->quota / size + 1;
	struct ibv_mr **mr = calloc(most, sizeof(*mr));
	uint8_t *memory = map(size, MAP_PRIVATE | MAP_ANONYMOUS);
	uint32_t n;
	int error;

	if (!t->quota) {
		snprintf(t->note, sizeof(t->note), "--quota says which");
		free(mr);
		munmap(memory, size);
		return false;
	}
	for (n = 0; n < most; n++) {
		mr[n] = ibv_reg_mr(t->pd, memory, size, FULL_ACCESS);
		if (!mr[n])
			break;
	}
	error = errno;
	if (n == most)
		die("%u regions of %lu bytes were registered, quota %lu", n, size, t->quota);
	if (!n)
		die_errno(error, "not even one region was registered");
	if (error != ENOMEM && error != EDQUOT)
		die("over quota: %s", errno_name(error));
	deregister(mr[0]);
	mr[0] = must_register(t, memory, size, FULL_ACCESS);
	prove_reached(t, mr[0], memory, (uintptr_t)memory, size);
	snprintf(t->note, sizeof(t->note), "%s after %u regions", errno_name(error), n);
	while (n--)
		deregister(mr[n]);
	free(mr);
	munmap(memory, size);
	return true;
}

static const struct memory_case cases[] = {
	{ "region_of_4_kib_is_reached", 4 * KIB, of_size },
	{ "region_of_1_mib_is_reached", MIB, of_size },
	{ "region_of_64_mib_is_reached", 64 * MIB, of_size },
	{ "region_of_1_gib_is_reached", GIB, of_size },
	{ "region_of_one_byte_is_that_byte", 2 * PAGE, one_byte },
	{ "unaligned_region_is_reached", MIB, unaligned },
	{ "region_of_scattered_pages_is_reached", 16 * MIB, scattered },
	{ "scattered_pages_are_reached_when_registered_again", MIB, scattered_again },
	{ "read_only_file_can_be_read_only", 64 * KIB, read_only_file },
	{ "shared_memory_is_reached", 4 * MIB, shared_memory },
	{ "huge_pages_are_reached", 4 * MIB, huge_pages },
	{ "thousand_regions_are_told_apart", MANY_REGIONS *PAGE, many_regions },
	{ "overlapping_regions_live_by_themselves", MIB, overlapping },
	{ "registering_again_and_again_works", MIB, loop },
	{ "region_is_reached_by_its_iova_only", MIB, other_iova },
	{ "region_at_iova_zero_is_reached", MIB, zero_iova },
	{ "unmapped_memory_is_refused", MIB, unmapped },
	{ "memory_with_a_hole_is_refused", MIB, partly_unmapped },
	{ "region_past_the_address_space_is_refused", PAGE, wrapping },
	{ "memory_over_quota_is_refused", MIB, over_quota },
};

#define CASES (sizeof(cases) / sizeof(*cases))

static const char usage[] =
	"pvhca-test-memory [options] [case...]\n"
	"  -d, --device NAME  RDMA device (default: the first)\n"
	"  -g, --gid N        GID index (default: the first RoCE v2 one of an IPv4 address)\n"
	"  -s, --seed N       (default: from the clock)\n"
	"  -m, --max BYTES    skip what needs more memory (default: no limit)\n"
	"  -q, --quota BYTES  registering more than this must be refused\n"
	"  -l, --list         names of the cases\n";

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' }, { "gid", required_argument, NULL, 'g' },
	{ "seed", required_argument, NULL, 's' },   { "max", required_argument, NULL, 'm' },
	{ "quota", required_argument, NULL, 'q' },  { "list", no_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },	    { 0 },
};

static bool chosen(const char *name, char **names, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		if (!strcmp(names[i], name))
			return true;
	}
	return !count;
}

static void run(struct memory_test *t, const struct memory_case *c)
{
	t->note[0] = '\0';
	if (c->size > t->max_size) {
		say("%s skipped (needs %lu bytes)", c->name, c->size);
		return;
	}
	/* Should it end the program, this says where. */
	fprintf(stderr, "%s\n", c->name);
	if (c->run(t, c->size))
		say("%s ok%s%s", c->name, *t->note ? " " : "", t->note);
	else
		say("%s skipped (%s)", c->name, t->note);
}

static void list_cases(void)
{
	size_t i;

	for (i = 0; i < CASES; i++)
		say("%s", cases[i].name);
}

int main(int argc, char **argv)
{
	struct memory_test t = { .random.state = time(NULL), .max_size = UINT64_MAX };
	const char *device = NULL;
	int gid = GID_INDEX_AUTO;
	unsigned int ran = 0;
	size_t i;
	int c;

	while ((c = getopt_long(argc, argv, "d:g:s:m:q:lh", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'g':
			gid = atoi(optarg);
			break;
		case 's':
			t.random.state = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			t.max_size = strtoull(optarg, NULL, 0);
			break;
		case 'q':
			t.quota = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			list_cases();
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 1;
		}
	}
	device_open(&t.device, device, gid);
	say("device %s seed %lu", ibv_get_device_name(t.device.context->device), t.random.state);
	t.pd = ibv_alloc_pd(t.device.context);
	if (!t.pd)
		die_errno(errno, "ibv_alloc_pd");
	t.scratch = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS);
	t.scratch_mr = must_register(&t, t.scratch, PAGE, FULL_ACCESS);
	pair_init(&t.pair, &t.device, t.pd, 4, NULL);
	for (i = 0; i < CASES; i++) {
		if (chosen(cases[i].name, argv + optind, argc - optind)) {
			run(&t, &cases[i]);
			ran++;
		}
	}
	if (!ran)
		die("no such case");
	if (pair_free(&t.pair, 1))
		die("ibv_destroy_qp");
	deregister(t.scratch_mr);
	if (ibv_dealloc_pd(t.pd))
		die("ibv_dealloc_pd");
	device_close(&t.device);
	return 0;
}
