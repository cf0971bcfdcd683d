// SPDX-License-Identifier: GPL-2.0-only
/* No range of a kernel's crosses a multiple of what its page tables hold, wherever the host puts it. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../core.h"
#include "guest.h"

#define GIB (1ull << 30)
#define LEN (64ul << 20)

static bool crosses(uint64_t start, uint64_t len)
{
	return start / TABLES_HOLD != (start + len - 1) / TABLES_HOLD;
}

/* Leaves so much above a multiple, as far as the host maps from the top down. */
static void come_near(uint64_t left)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *at;

	do {
		at = mmap(NULL, GIB, PROT_NONE, flags, -1, 0);
		CHECK(at != MAP_FAILED);
	} while ((uintptr_t)at % TABLES_HOLD > left);
}

/* Mapped, written, unmapped and mapped for another file: each time that file is seen. */
static void use_mappings(struct rumpel_task *init)
{
	char path[] = "/tmp/0";

	for (; path[5] < '4'; path[5]++) {
		long fd = guest_call(init, SYS_open, ptr(path), O_RDWR | O_CREAT, 0600);
		char *map, byte = 0;

		EQUAL(guest_call(init, SYS_ftruncate, fd, LEN), 0);
		map = (char *)guest_call(init, SYS_mmap, 0, LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
					 fd, 0);
		CHECK((long)map > 0);
		for (size_t at = 0; at < LEN; at += PAGE)
			CHECK(!map[at]);
		map[0] = map[LEN - 1] = path[5];
		EQUAL(guest_call(init, SYS_pread64, fd, ptr(&byte), 1, LEN - 1), 1);
		EQUAL(byte, path[5]);
		EQUAL(guest_call(init, SYS_munmap, ptr(map), LEN), 0);
		EQUAL(guest_call(init, SYS_close, fd), 0);
		EQUAL(guest_call(init, SYS_unlink, ptr(path)), 0);
	}
}

static void boot_near(uint64_t left)
{
	struct rumpel_kernel *kernel;
	uint64_t start, size;

	come_near(left);
	kernel = guest_boot_with((struct rumpel_config){ .memory = 256ul << 20 });
	rumpel_mappings_range(kernel->mappings, &start, &size);
	CHECK(!crosses(start, size));
	CHECK(!crosses((uint64_t)kernel->arena.vmalloc, kernel->arena.vmalloc_size));
	use_mappings(rumpel_kernel_init(kernel));
	guest_end(kernel);
}

static void near_the_end_of_the_tables(void)
{
	/* The one that gives way is vmalloc, mappings, or none. */
	static const uint64_t left[] = { 1, 2, 4, 8, 12, 20, 40 };

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			boot_near(left[i] * GIB);
			_exit(0);
		}
		EQUAL(waitpid(pid, &status, 0), pid);
		EQUAL(status, 0);
	}
}

static const struct test tests[] = {
	{ near_the_end_of_the_tables, "no range crosses the end of the page tables" },
};

TEST_MAIN(tests)
