// SPDX-License-Identifier: GPL-2.0-only
/*
 * A child that stays in the middle of a send for ever: its data lies in a page that nobody
 * fetches. It says its pid before. Its parent waits for the data.
 */
#include "pair.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static char *missing_page(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	range.range.start = (unsigned long)page;
	range.range.len = 4096;
	CHECK(fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &range));
	return page;
}

int main(void)
{
	int ends[2];
	char *page, byte;

	pair(ends, 0);
	if (fork() == 0) {
		page = missing_page();
		printf("%d\n", getpid());
		fflush(stdout);
		CHECK(write(ends[0], page, 10) == 10);
		return done();
	}
	CHECK(read(ends[1], &byte, 1) == 1);
	return done();
}
