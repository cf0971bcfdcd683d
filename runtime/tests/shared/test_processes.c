// SPDX-License-Identifier: GPL-2.0-only
/* Processes of a kernel that fork, exec and exit. */
#include "guest.h"

#include <pthread.h>

/* ---- vfork ---- */

struct vforked {
	struct rumpel_local local;
	uint64_t child;
	int pipe[2];
	char stack[64 << 10];
};

static int vfork_child(void *argument)
{
	struct vforked *vforked = argument;

	set_gs(&vforked->local);
	rumpel_shared->fork_child(vforked->child);
	/* The descriptors are its own, the memory is its parent's. */
	call(SYS_close, vforked->pipe[0]);
	call(SYS_write, vforked->pipe[1], ptr(&vforked->pipe), 4);
	rumpel_shared->exit();
	syscall(SYS_exit, 7);
	return 0;
}

static void with_vfork(void *argument)
{
	static struct vforked vforked;
	int got;

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(vforked.pipe)), 0);
	for (int i = 0; i < 50; i++) {
		pid_t pid;

		vforked.local = (struct rumpel_local){ .clock_gettime = local.clock_gettime };
		EQUAL(rumpel_shared->fork_begin(RUMPEL_SHARED_FORK_VM, &vforked.child), 0);
		pid = clone(vfork_child, vforked.stack + sizeof(vforked.stack),
			    CLONE_VM | CLONE_VFORK | SIGCHLD, &vforked);
		CHECK(pid > 0);
		rumpel_shared->fork_parent(vforked.child, pid);
		expect_status(pid, 7 << 8);
		EQUAL(call(SYS_read, vforked.pipe[0], ptr(&got), sizeof(got)), 4);
		EQUAL(got, vforked.pipe[0]);
	}
}

static void vfork_children(void)
{
	in_guest(with_vfork);
}

/* ---- a process that does not run ---- */

static void with_stopped(void *argument)
{
	int pipe[2], others[2], status;
	static char text[64 << 10];
	pid_t child;
	char byte;

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(pipe)), 0);
	EQUAL(call(SYS_pipe, ptr(others)), 0);
	child = fork_attached();
	if (!child) {
		EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), 1);
		EQUAL(byte, 'w');
		leave(0);
	}
	usleep(20000);
	signal_one(child, SIGSTOP);
	EQUAL(waitpid(child, &status, WUNTRACED), child);
	CHECK(WIFSTOPPED(status));
	for (int i = 0; i < 1000; i++) {
		/* Longer than the keeper looks in for callers that come and go. */
		const struct timespec moment = { .tv_nsec = i % 500 ? 1000 : 300000000 };

		EQUAL(call(SYS_write, others[1], ptr(text), 100), 100);
		EQUAL(call(SYS_read, others[0], ptr(text), 100), 100);
		if (i % 100 == 0)
			EQUAL(call(SYS_nanosleep, ptr(&moment), 0), 0);
		/* From here on its call would go on, but not here. */
		if (i == 500)
			EQUAL(call(SYS_write, pipe[1], ptr("w"), 1), 1);
	}
	kill(child, SIGCONT);
	expect_status(child, 0);
}

static void stopped(void)
{
	in_guest(with_stopped);
}

/* ---- exec ---- */

static void exec_parent(void *argument)
{
	int pipe[2], kept[2];
	char text[2][16];

	(void)argument;
	EQUAL(call(SYS_pipe2, ptr(pipe), O_CLOEXEC), 0);
	EQUAL(call(SYS_pipe2, ptr(kept), 0), 0);
	EQUAL(call(SYS_write, kept[1], ptr("before"), 6), 6);
	snprintf(text[0], sizeof(text[0]), "%d", pipe[0]);
	snprintf(text[1], sizeof(text[1]), "%d", kept[0]);
	EQUAL(rumpel_shared->exec_begin(), 0);
	EQUAL(execl("/nonexistent", "x", NULL), -1);
	rumpel_shared->exec_failed();
	EQUAL(call(SYS_fcntl, pipe[0], F_GETFD), FD_CLOEXEC);
	EQUAL(rumpel_shared->exec_begin(), 0);
	execl("/proc/self/exe", "test_processes", "--exec", text[0], text[1], NULL);
	abort();
}

static int exec_child(char **argv)
{
	char got[8] = "";

	alarm(30);
	EQUAL(attach(), 0);
	EQUAL(call(SYS_fcntl, atoi(argv[2]), F_GETFD), -EBADF);
	EQUAL(call(SYS_read, atoi(argv[3]), ptr(got), sizeof(got)), 6);
	EQUAL(strcmp(got, "before"), 0);
	leave(0);
	return 0;
}

static void exec(void)
{
	in_guest(exec_parent);
}

struct thread {
	struct rumpel_local local;
	int in;
	pthread_t id;
};

static void start(struct thread *thread, void *(*run)(void *argument))
{
	EQUAL(rumpel_shared->thread_begin(&thread->local), 0);
	EQUAL(pthread_create(&thread->id, NULL, run, thread), 0);
}

/* A thread that waits in the kernel when another one execs. */
static void *blocked_thread(void *argument)
{
	struct thread *thread = argument;
	char byte;

	signal_stack();
	set_gs(&thread->local);
	call(SYS_read, thread->in, ptr(&byte), 1);
	return NULL;
}

static void exec_threads(void *argument)
{
	struct thread thread = { 0 };
	int pipe[2];

	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	thread.in = pipe[0];
	start(&thread, blocked_thread);
	usleep(20000);
	exec_parent(argument);
}

static void exec_with_threads(void)
{
	in_guest(exec_threads);
}

/* ---- exec and exit while other threads are on their way into the kernel ---- */

#define THREADS 2
#define EXECS 40

static void *calling_thread(void *argument)
{
	struct thread *thread = argument;

	signal_stack();
	set_gs(&thread->local);
	for (;;)
		call(SYS_getpid);
	return NULL;
}

static void start_calling(void)
{
	static struct thread threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		start(&threads[i], calling_thread);
}

static void exec_again(int left)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", left);
	start_calling();
	usleep(left % 5 * 300);
	EQUAL(rumpel_shared->exec_begin(), 0);
	execl("/proc/self/exe", "test_processes", "--again", text, NULL);
	abort();
}

static int exec_chain(int left)
{
	alarm(30);
	EQUAL(attach(), 0);
	if (left)
		exec_again(left - 1);
	leave(0);
	return 0;
}

static void begin_chain(void *argument)
{
	(void)argument;
	exec_again(EXECS);
}

static void exec_while_calling(void)
{
	in_guest(begin_chain);
}

static void begin_to_call(void *argument)
{
	start_calling();
	usleep((uintptr_t)argument % 5 * 300);
}

static void exit_while_calling(void)
{
	struct guest guest = guest_start(NULL);

	for (uintptr_t i = 0; i < EXECS; i++)
		expect_status(spawn(begin_to_call, (void *)i), 0);
	guest_end(&guest, 0);
}

/* ---- an exec that fails: a thread that waits for both kinds of descriptors goes on ---- */

static int hosts[2];

static void *polling_thread(void *argument)
{
	struct thread *thread = argument;
	struct pollfd also = { hosts[0], POLLIN, 0 };
	int ready;
	char byte;

	signal_stack();
	set_gs(&thread->local);
	EQUAL(rumpel_shared->poll(SYS_read, (const unsigned long[6]){ thread->in, ptr(&byte), 1 },
				  &also, 1, &ready),
	      1);
	rumpel_shared->thread_end(&thread->local);
	return NULL;
}

static void fail_to_exec(void *argument)
{
	struct thread thread = { 0 };
	int kernels[2];

	(void)argument;
	EQUAL(pipe(hosts), 0);
	EQUAL(call(SYS_pipe2, ptr(kernels), 0), 0);
	thread.in = kernels[0];
	start(&thread, polling_thread);
	usleep(50000);
	EQUAL(rumpel_shared->exec_begin(), 0);
	EQUAL(execl("/nonexistent", "x", NULL), -1);
	rumpel_shared->exec_failed();
	usleep(50000);
	EQUAL(call(SYS_write, kernels[1], ptr("x"), 1), 1);
	EQUAL(pthread_join(thread.id, NULL), 0);
}

static void wait_for_ever(void *argument)
{
	int pipe[2];
	char byte;

	(void)argument;
	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	call(SYS_read, pipe[0], ptr(&byte), 1);
}

static void kill_it(void *argument)
{
	signal_one(*(pid_t *)argument, SIGKILL);
}

/* The thread leads; then somebody else does. */
static void failed_exec(void)
{
	struct guest guest = guest_start(NULL);
	pid_t leader;

	expect_status(spawn(fail_to_exec, NULL), 0);
	leader = spawn(wait_for_ever, NULL);
	usleep(50000);
	expect_status(spawn(fail_to_exec, NULL), 0);
	expect_status(spawn(kill_it, &leader), 0);
	expect_status(leader, SIGKILL);
	guest_end(&guest, 0);
}

/* ---- a parent that is killed before its child's first step ---- */

struct moments {
	volatile int forked, begin, result, used, end;
};

static void die_in_fork(void *argument)
{
	struct moments *moments = argument;
	uint64_t child;

	EQUAL(rumpel_shared->fork_begin(0, &child), 0);
	if (fork() == 0) {
		moments->forked = 1;
		wait_until(&moments->begin);
		moments->result = rumpel_shared->fork_child(child);
		if (!moments->result)
			moments->used = (int)call(SYS_getpid);
		moments->end = 1;
		_exit(0);
	}
	wait_until(&moments->forked);
	kill(getpid(), SIGKILL);
}

static void use_it(void *argument)
{
	struct moments *moments = argument;

	moments->begin = 1;
	wait_until(&moments->end);
	CHECK(call(SYS_getpid) != moments->used);
	usleep(50000);
	CHECK(call(SYS_getpid) > 1);
}

static time_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* What a child is told that comes soon, or late; taken: in seconds, or more. */
static int orphan(bool late, time_t *taken)
{
	struct moments *moments = share_page();
	time_t start = now_s();
	int result;

	expect_status(spawn(die_in_fork, moments), SIGKILL);
	usleep(late ? 3000000 : 100000);
	expect_status(spawn(use_it, moments), 0);
	*taken = now_s() - start;
	result = moments->result;
	CHECK(result || moments->used > 1);
	munmap((void *)moments, 4096);
	return result;
}

/* A child that comes soon has its task, one that comes late is told; neither gets another's. */
static void orphans(void)
{
	struct guest guest = guest_start(NULL);
	time_t taken;
	int result;

	/* On a busy host, what was to come soon may come late. */
	do
		result = orphan(false, &taken);
	while (result == -ESRCH && taken > 1);
	EQUAL(result, 0);
	EQUAL(orphan(true, &taken), -ESRCH);
	guest_end(&guest, 0);
}

/* A fork has begun when another thread execs, or this one: the child will never be. */
static void exec_in_fork(void *argument)
{
	char text[2][16];
	uint64_t child;
	int ends[2];

	(void)argument;
	EQUAL(call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(ends)), 0);
	EQUAL(rumpel_shared->fork_begin(0, &child), 0);
	for (int i = 0; i < 2; i++)
		snprintf(text[i], sizeof(text[i]), "%d", ends[i]);
	EQUAL(rumpel_shared->exec_begin(), 0);
	execl("/proc/self/exe", "test_processes", "--close", text[0], text[1], NULL);
	abort();
}

static int close_and_see(char **argv)
{
	char byte;

	alarm(30);
	EQUAL(attach(), 0);
	EQUAL(call(SYS_close, atoi(argv[2])), 0);
	EQUAL(call(SYS_read, atoi(argv[3]), ptr(&byte), 1), 0);
	leave(0);
	return 0;
}

static void unborn(void)
{
	in_guest(exec_in_fork);
}

static const struct test tests[] = {
	{ vfork_children, "a child of vfork has descriptors of its own" },
	{ stopped, "a process that is stopped holds nobody up" },
	{ exec, "a program that execs keeps what it may" },
	{ exec_with_threads, "an exec while another thread is in a call" },
	{ exec_while_calling, "an exec while others are on their way into the kernel" },
	{ exit_while_calling, "an exit while others are on their way into the kernel" },
	{ failed_exec, "an exec that fails leaves waits of other threads as they were" },
	{ orphans, "a child whose parent was killed as it forked" },
	{ unborn, "a child that an exec keeps from being made has no descriptors" },
};

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--exec"))
		return exec_child(argv);
	if (argc == 4 && !strcmp(argv[1], "--close"))
		return close_and_see(argv);
	if (argc == 3 && !strcmp(argv[1], "--again"))
		return exec_chain(atoi(argv[2]));
	return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
