// SPDX-License-Identifier: GPL-2.0-only
/* What a kernel costs that nobody calls. */
#include "guest.h"

/* KiB of the image's text that are in the page tables of this process. */
static long resident_text(void)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	bool text = false;
	char line[1024], mode[8];
	long kib, total = 0;

	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*x-%*x %7s", mode) == 1)
			text = strstr(line, ".so") && strcmp(mode, "r-xp") == 0 &&
			       strstr(line, getenv("RUMPEL_IMAGE"));
		else if (text && sscanf(line, "Rss: %ld", &kib) == 1)
			total += kib;
	}
	fclose(file);
	return total;
}

static void text_goes(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	long booted = resident_text();
	unsigned int tries = 0;

	CHECK(booted > 1000);
	/* Once it is idle, for which a busy machine needs a while. */
	do {
		CHECK(++tries < 100);
		usleep(100000);
	} while (resident_text() >= booted / 2);
	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_getpid), 1);
	guest_end(kernel);
}

static void little_time(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct timespec before, after;
	unsigned int tries = 0;

	usleep(500000);
	/* Where there is no CPU for a while it still ends what it does behind the boot. */
	do {
		CHECK(++tries < 10);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
		sleep(2);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	} while ((after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec >=
		 20 * 1000000);
	guest_end(kernel);
}

static const struct test tests[] = {
	{ text_goes, "an idle kernel lets go of the text that only booting needed" },
	{ little_time, "an idle kernel takes less than a hundredth of a CPU" },
};

TEST_MAIN(tests)
