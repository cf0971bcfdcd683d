// SPDX-License-Identifier: GPL-2.0-only
/* Mappings go while others have them, or wait for those that do. */
#include "guest.h"

#define TURNS 300
#define STRANGERS 2

/* What the processes of a test tell each other. */
struct moments {
	volatile int strangers, turn, touched, told, over;
};

static volatile char *map(long fd)
{
	long at = call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(at > 0);
	return (volatile char *)at;
}

static long make_file(const char *path)
{
	long fd = call(SYS_open, ptr(path), O_RDWR | O_CREAT, 0666);

	CHECK(fd >= 0);
	EQUAL(call(SYS_ftruncate, fd, 4096), 0);
	return fd;
}

/* ---- two let go at once ---- */

static void map_in_between(void *argument)
{
	struct moments *moments = argument;
	long fd = make_file("/stranger");

	__atomic_fetch_add(&moments->strangers, 1, __ATOMIC_SEQ_CST);
	while (!moments->over) {
		volatile char *page = map(fd);

		for (int i = 0; i < 20; i++)
			page[0]++;
		/* It is there as long as nobody unmaps it. */
		EQUAL(call(SYS_msync, ptr(page), 4096, MS_ASYNC), 0);
		EQUAL(call(SYS_munmap, ptr(page), 4096), 0);
	}
}

static void let_go_together(void *argument)
{
	struct moments *moments = argument;
	long fd = make_file("/relative");

	for (int i = 0; i < TURNS; i++) {
		volatile char *page = map(fd);
		pid_t child;

		moments->turn = 0;
		child = fork_attached();
		if (child)
			moments->turn = 1;
		while (!moments->turn)
			;
		EQUAL(call(SYS_munmap, ptr(page), 4096), 0);
		if (!child)
			leave(0);
		expect_status(child, 0);
	}
	moments->over = 1;
}

static void let_go(void)
{
	struct guest guest = guest_start(NULL);
	struct moments *moments = share_page();
	pid_t strangers[STRANGERS], pair;

	for (int i = 0; i < STRANGERS; i++)
		strangers[i] = spawn(map_in_between, moments);
	while (moments->strangers != STRANGERS)
		usleep(100);
	pair = spawn(let_go_together, moments);
	expect_status(pair, 0);
	for (int i = 0; i < STRANGERS; i++)
		expect_status(strangers[i], 0);
	guest_end(&guest, 0);
}

/* ---- who may not signal others has it done, also for a child that has yet to begin ---- */

static void begin_late(void *argument)
{
	struct moments *moments = argument;
	uint64_t child;
	pid_t pid;

	map(make_file("/file"))[0] = 1;
	EQUAL(rumpel_shared->fork_begin(0, &child), 0);
	pid = fork();
	if (!pid) {
		wait_until(&moments->told);
		usleep(100000);
		EQUAL(rumpel_shared->fork_child(child), 0);
		leave(0);
	}
	rumpel_shared->fork_parent(child, pid);
	moments->touched = 1;
	wait_until(&moments->over);
	expect_status(pid, 0);
}

static void truncate_as_another(void *argument)
{
	struct moments *moments = argument;
	long fd = call(SYS_open, ptr("/file"), O_RDWR, 0);

	EQUAL(setuid(1000), 0);
	moments->told = 1;
	EQUAL(call(SYS_ftruncate, fd, 0), 0);
	moments->over = 1;
}

static void another_user(void)
{
	struct guest guest = guest_start(NULL);
	struct moments *moments = share_page();
	pid_t owner = spawn(begin_late, moments), teller;

	wait_until(&moments->touched);
	teller = spawn(truncate_as_another, moments);
	expect_status(teller, 0);
	expect_status(owner, 0);
	guest_end(&guest, 0);
}

static const struct test tests[] = {
	{ let_go, "of two that let go of a mapping one unmaps it" },
	{ another_user, "another user's processes are told by the keeper, also those that begin" },
};

TEST_MAIN(tests)
