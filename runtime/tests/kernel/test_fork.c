// SPDX-License-Identifier: GPL-2.0-only
/* The child of a fork has a copy of each kernel, whatever the parent was doing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest.h"

#define MS 1000000ll

#ifdef __SANITIZE_ADDRESS__
/* What a thread does, as in proc(5); 0 when it has ended. */
static char thread_state(const char *tid)
{
	char path[64], stat[256] = "";
	const char *end;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/stat", tid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	if (read(fd, stat, sizeof(stat) - 1) < 0)
		stat[0] = 0;
	close(fd);
	end = strrchr(stat, ')');
	return end ? end[2] : 0;
}

/*
 * AddressSanitizer allocates when a thread begins, under locks that its child
 * of a fork finds taken (GCC 12). A thread that was seen asleep has begun.
 */
static void let_threads_begin(void)
{
	DIR *threads = opendir("/proc/self/task");
	struct dirent *entry;
	char own[16], state;

	CHECK(threads);
	snprintf(own, sizeof(own), "%d", gettid());
	while ((entry = readdir(threads))) {
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, own))
			continue;
		while ((state = thread_state(entry->d_name)) && state != 'S')
			sched_yield();
	}
	closedir(threads);
}
#else
static void let_threads_begin(void)
{
}
#endif

/* A child that hangs is a failure. */
static pid_t fork_child(void)
{
	pid_t pid;

	let_threads_begin();
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		alarm(30);
	return pid;
}

static void expect_success(pid_t child)
{
	int status;

	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
}

static void apart(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct stat stat;
	pid_t child;

	child = fork_child();
	if (!child) {
		EQUAL(rumpel_kernel_state(kernel), RUMPEL_RUNNING);
		EQUAL(guest_call(init, SYS_mkdir, ptr("/child"), 0755), 0);
		EQUAL(guest_call(init, SYS_stat, ptr("/parent"), ptr(&stat)), -ENOENT);
		guest_end(guest_boot(NULL, NULL, 0));
		guest_end(kernel);
		_exit(0);
	}
	EQUAL(guest_call(init, SYS_mkdir, ptr("/parent"), 0755), 0);
	expect_success(child);
	EQUAL(guest_call(init, SYS_stat, ptr("/child"), ptr(&stat)), -ENOENT);
	guest_end(kernel);
}

/* An array of a map of BPF lies in the vmalloc range: memory that is mapped twice. */
#define ENTRIES 4096

static long make_map(struct rumpel_task *task)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 8,
				.max_entries = ENTRIES };

	return guest_call(task, SYS_bpf, BPF_MAP_CREATE, ptr(&attr), sizeof(attr));
}

static long map_access(struct rumpel_task *task, long fd, int command, uint32_t key,
		       uint64_t *value)
{
	union bpf_attr attr = { .map_fd = fd, .key = ptr(&key), .value = ptr(value) };

	return guest_call(task, SYS_bpf, command, ptr(&attr), sizeof(attr));
}

static void fill_map(struct rumpel_task *task, long fd, uint64_t factor)
{
	for (uint32_t key = 0; key < ENTRIES; key++) {
		uint64_t value = key * factor;

		EQUAL(map_access(task, fd, BPF_MAP_UPDATE_ELEM, key, &value), 0);
	}
}

static void check_map(struct rumpel_task *task, long fd, uint64_t factor)
{
	uint64_t value;

	for (uint32_t key = 0; key < ENTRIES; key++) {
		EQUAL(map_access(task, fd, BPF_MAP_LOOKUP_ELEM, key, &value), 0);
		EQUAL(value, key * factor);
	}
}

static void memory_mapped_twice(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	long fds[4], freed;

	for (int i = 0; i < 4; i++) {
		fds[i] = make_map(init);
		CHECK(fds[i] >= 0);
		fill_map(init, fds[i], i + 1);
	}
	/* Something between them is not mapped any more. */
	guest_call(init, SYS_close, fds[1]);
	for (int generation = 0; generation < 2; generation++) {
		pid_t child = fork_child();

		if (!child) {
			for (int i = 0; i < 4; i++)
				if (i != 1)
					check_map(init, fds[i], i + 1);
			freed = make_map(init);
			fill_map(init, freed, 77);
			fill_map(init, fds[2], 99);
			/* And the same once more, from here. */
			child = fork_child();
			if (!child) {
				check_map(init, fds[2], 99);
				check_map(init, freed, 77);
				fill_map(init, fds[2], 5);
				_exit(0);
			}
			expect_success(child);
			check_map(init, fds[2], 99);
			check_map(init, fds[3], 4);
			_exit(0);
		}
		fill_map(init, fds[0], 1);
		expect_success(child);
		for (int i = 0; i < 4; i++)
			if (i != 1)
				check_map(init, fds[i], i + 1);
	}
	guest_end(kernel);
}

struct caller {
	struct rumpel_kernel *kernel;
	struct rumpel_task *task;
	int fds[2];
	char byte;
	atomic_bool entered, stop;
	long result;
	pthread_t thread;
};

static void *read_byte(void *argument)
{
	struct caller *caller = argument;

	caller->entered = true;
	caller->result = guest_call(caller->task, SYS_read, caller->fds[0], ptr(&caller->byte), 1);
	return NULL;
}

static void blocked_calls(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct caller callers[3];
	pid_t child;

	memset(callers, 0, sizeof(callers));
	for (int i = 0; i < 3; i++) {
		callers[i].kernel = kernel;
		EQUAL(rumpel_task_create(kernel, 0, &callers[i].task), 0);
		EQUAL(guest_call(callers[i].task, SYS_pipe2, ptr(callers[i].fds)), 0);
		pthread_create(&callers[i].thread, NULL, read_byte, &callers[i]);
		while (!callers[i].entered)
			sched_yield();
	}
	usleep(10000);
	child = fork_child();
	if (!child) {
		/* Nobody reads any more, and the tasks can be used by whoever is here. */
		for (int i = 0; i < 3; i++) {
			EQUAL(guest_call(callers[i].task, SYS_write, callers[i].fds[1], ptr("c"),
					 1),
			      1);
			EQUAL(callers[i].byte, 0);
			EQUAL(guest_call(callers[i].task, SYS_read, callers[i].fds[0],
					 ptr(&callers[i].byte), 1),
			      1);
			EQUAL(callers[i].byte, 'c');
			rumpel_task_free(callers[i].task);
		}
		guest_end(kernel);
		_exit(0);
	}
	expect_success(child);
	for (int i = 0; i < 3; i++) {
		EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_write, callers[i].fds[1], ptr("p"),
				 1),
		      1);
		pthread_join(callers[i].thread, NULL);
		EQUAL(callers[i].result, 1);
		EQUAL(callers[i].byte, 'p');
		rumpel_task_free(callers[i].task);
	}
	guest_end(kernel);
}

static void *hammer(void *argument)
{
	struct caller *caller = argument;
	char buffer[512] = { 0 };

	while (!caller->stop) {
		EQUAL(guest_call(caller->task, SYS_write, caller->fds[1], ptr(buffer), 100), 100);
		EQUAL(guest_call(caller->task, SYS_read, caller->fds[0], ptr(buffer), 512), 100);
		if (guest_call(caller->task, SYS_getpid) != 1)
			abort();
		caller->result++;
	}
	return NULL;
}

static void under_load(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct caller callers[4];

	memset(callers, 0, sizeof(callers));
	for (int i = 0; i < 4; i++) {
		callers[i].kernel = kernel;
		EQUAL(rumpel_task_create(kernel, 0, &callers[i].task), 0);
		EQUAL(guest_call(callers[i].task, SYS_pipe2, ptr(callers[i].fds)), 0);
		pthread_create(&callers[i].thread, NULL, hammer, &callers[i]);
	}
	for (int round = 0; round < 200; round++) {
		struct timespec moment = { 0, MS };
		pid_t child = fork_child();

		if (!child) {
			EQUAL(guest_call(init, SYS_getpid), 1);
			EQUAL(guest_call(init, SYS_nanosleep, ptr(&moment)), 0);
			EQUAL(guest_call(callers[round % 4].task, SYS_getpid), 1);
			_exit(0);
		}
		expect_success(child);
	}
	for (int i = 0; i < 4; i++) {
		callers[i].stop = true;
		pthread_join(callers[i].thread, NULL);
		CHECK(callers[i].result > 0);
	}
	guest_end(kernel);
}

static void *fork_in_thread(void *argument)
{
	struct rumpel_kernel *kernel = argument;
	struct rumpel_task *task;
	pid_t child = fork_child();

	if (!child) {
		EQUAL(rumpel_task_create(kernel, RUMPEL_TASK_PROCESS, &task), 0);
		CHECK(guest_call(task, SYS_getpid) > 1);
		EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_getpid), 1);
		guest_end(kernel);
		_exit(0);
	}
	expect_success(child);
	return NULL;
}

static void from_another_thread(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	pthread_t thread;

	pthread_create(&thread, NULL, fork_in_thread, kernel);
	pthread_join(thread, NULL);
	guest_end(kernel);
}

static void *halt(void *kernel)
{
	EQUAL(rumpel_halt(kernel), 0);
	return NULL;
}

/* How many forks were made while the kernel was being halted. */
static int fork_during_halt(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0),
			     *other = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	pthread_t thread;
	int forks = 0;

	pthread_create(&thread, NULL, halt, kernel);
	while (rumpel_kernel_state(kernel) == RUMPEL_RUNNING) {
		pid_t child = fork_child();
		int status;

		if (!child) {
			bool copied = rumpel_kernel_state(kernel) != RUMPEL_FORKED;

			if (!copied)
				EQUAL(guest_call(init, SYS_getpid), -EOWNERDEAD);
			rumpel_kernel_free(kernel);
			EQUAL(guest_call(rumpel_kernel_init(other), SYS_getpid), 1);
			guest_end(other);
			_exit(copied ? 1 : 2);
		}
		EQUAL(waitpid(child, &status, 0), child);
		CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 2));
		forks++;
	}
	pthread_join(thread, NULL);
	rumpel_kernel_free(kernel);
	guest_end(other);
	return forks;
}

static void no_copy(void)
{
	int forks = 0;

	/* On a busy machine a halt may be over before the first fork. */
	for (int attempt = 0; attempt < 100 && !forks; attempt++)
		forks = fork_during_halt();
	CHECK(forks > 0);
}

static int temporary(const char *content)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	CHECK(fd >= 0);
	EQUAL(ftruncate(fd, 1 << 20), 0);
	EQUAL(pwrite(fd, content, strlen(content), 0), (ssize_t)strlen(content));
	return fd;
}

static struct rumpel_device *file_disk(int fd, unsigned int flags)
{
	struct rumpel_device *disk;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EQUAL(rumpel_block_file(path, flags, &disk), 0);
	return disk;
}

static void disks(void)
{
	int written = temporary("written to"), only_read = temporary("only read");
	struct rumpel_device *devices[3] = { file_disk(written, 0),
					     file_disk(only_read, RUMPEL_BLOCK_READ_ONLY) };
	struct rumpel_kernel *kernel;
	struct rumpel_task *init;
	static char text[4096] __attribute__((aligned(4096))), log[1 << 20];
	uint64_t position = 0;
	long fds[3];
	pid_t child;

	EQUAL(rumpel_block_memory(NULL, 1 << 20, 0, &devices[2]), 0);
	kernel = guest_boot(NULL, devices, 3);
	init = rumpel_kernel_init(kernel);
	fds[0] = guest_call(init, SYS_open, ptr("/dev/vda"), O_RDWR, 0);
	fds[1] = guest_call(init, SYS_open, ptr("/dev/vdb"), O_RDONLY, 0);
	fds[2] = guest_call(init, SYS_open, ptr("/dev/vdc"), O_RDWR, 0);
	child = fork_child();
	if (!child) {
		EQUAL(guest_call(init, SYS_pread64, fds[1], ptr(text), 4096, 0), 4096);
		CHECK(!strncmp(text, "only read", 9));
		EQUAL(guest_call(init, SYS_pread64, fds[0], ptr(text), 4096, 0), -EIO);
		guest_call(init, SYS_pwrite64, fds[0], ptr("child"), 5, 8192);
		EQUAL(guest_call(init, SYS_fsync, fds[0]), -EIO);
		EQUAL(guest_call(init, SYS_pwrite64, fds[2], ptr("child"), 5, 0), 5);
		EQUAL(guest_call(init, SYS_fsync, fds[2]), 0);
		log[rumpel_log_read(kernel, &position, log, sizeof(log) - 1)] = 0;
		CHECK(strstr(log, "device 0 stays with the parent"));
		CHECK(!strstr(log, "device 1 stays"));
		guest_end(kernel);
		_exit(0);
	}
	expect_success(child);
	EQUAL(guest_call(init, SYS_pwrite64, fds[0], ptr("parent"), 6, 4096), 6);
	EQUAL(guest_call(init, SYS_fsync, fds[0]), 0);
	EQUAL(guest_call(init, SYS_pread64, fds[2], ptr(text), 5, 0), 5);
	EQUAL(text[0], 0);
	guest_end(kernel);
	EQUAL(pread(written, text, 4096, 4096), 4096);
	CHECK(!strcmp(text, "parent"));
	EQUAL(pread(written, text, 4096, 8192), 4096);
	EQUAL(text[0], 0);
	close(written);
	close(only_read);
}

/* The frames of a socket are the parent's. */
static void sockets(void)
{
	struct rumpel_device *device;
	struct rumpel_kernel *kernel;
	char frame[2048];
	pid_t child;
	int pair[2];

	EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	EQUAL(rumpel_net_fd(pair[0], NULL, 1500, &device), 0);
	close(pair[0]);
	kernel = guest_boot(NULL, &device, 1);
	guest_ifup(kernel, "eth0", "10.0.0.1");
	while (recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
	child = fork_child();
	if (!child) {
		struct rumpel_task *init = rumpel_kernel_init(kernel);
		struct sockaddr_in peer = guest_address("10.0.0.2", 9);
		long fd = guest_call(init, SYS_socket, AF_INET, SOCK_DGRAM, 0);

		EQUAL(guest_call(init, SYS_sendto, fd, ptr("x"), 1, 0, ptr(&peer), sizeof(peer)),
		      1);
		usleep(20000);
		guest_end(kernel);
		_exit(0);
	}
	expect_success(child);
	/* What the parent's kernel says by itself is no question for an address. */
	while (recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT) > 0)
		CHECK(memcmp(frame + 12, "\x08\x06", 2));
	EQUAL(errno, EAGAIN);
	guest_end(kernel);
	/* Nobody else holds its other end. */
	while (recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
	EQUAL(recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT), 0);
	close(pair[1]);
}

/* What two kernels on a virtual clock do: times of arrivals, and random numbers. */
static void run_on(struct rumpel_kernel *left, struct rumpel_kernel *right,
		   struct rumpel_clock *clock, char trace[4096])
{
	struct rumpel_task *a = rumpel_kernel_init(left), *b = rumpel_kernel_init(right);
	long server = guest_listen(b, "10.0.0.2", 80), client, connection;
	size_t len = 0;
	char data[64];

	client = guest_connect(a, "10.0.0.2", 80);
	connection = guest_call(b, SYS_accept, server, 0, 0);
	for (int i = 0; i < 20; i++) {
		EQUAL(guest_call(a, SYS_getrandom, ptr(data), 8, 0), 8);
		EQUAL(guest_call(a, SYS_sendto, client, ptr(data), 8, 0, 0, 0), 8);
		EQUAL(guest_call(b, SYS_recvfrom, connection, ptr(data), 8, 0, 0, 0), 8);
		len += snprintf(trace + len, 4096 - len, "%llu %016llx\n",
				(unsigned long long)rumpel_clock_now(clock),
				*(unsigned long long *)data);
	}
}

static void virtual_clocks(void)
{
	struct rumpel_device *ends[2];
	struct rumpel_kernel *left, *right;
	struct rumpel_clock *clock;
	static char here[4096], there[4096];
	int pipe_fds[2];
	pid_t child;

	EQUAL(rumpel_clock_create(0, 0, &clock), 0);
	EQUAL(rumpel_net_link(50 * MS, 1500, NULL, NULL, ends), 0);
	left = guest_boot(clock, &ends[0], 1);
	right = guest_boot(clock, &ends[1], 1);
	guest_ifup(left, "eth0", "10.0.0.1");
	guest_ifup(right, "eth0", "10.0.0.2");
	EQUAL(pipe(pipe_fds), 0);
	child = fork_child();
	run_on(left, right, clock, here);
	if (!child) {
		EQUAL(write(pipe_fds[1], here, sizeof(here)), sizeof(here));
		guest_end(left);
		guest_end(right);
		rumpel_clock_free(clock);
		_exit(0);
	}
	expect_success(child);
	EQUAL(read(pipe_fds[0], there, sizeof(there)), sizeof(there));
	CHECK(strlen(here) > 100);
	CHECK(!strcmp(here, there));
	guest_end(left);
	guest_end(right);
	rumpel_clock_free(clock);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void random_numbers(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	char here[32], there[32];
	int pipe_fds[2];
	pid_t child;

	EQUAL(pipe(pipe_fds), 0);
	child = fork_child();
	EQUAL(guest_call(init, SYS_getrandom, ptr(here), 32, 0), 32);
	if (!child) {
		EQUAL(write(pipe_fds[1], here, sizeof(here)), sizeof(here));
		_exit(0);
	}
	expect_success(child);
	EQUAL(read(pipe_fds[0], there, sizeof(there)), sizeof(there));
	CHECK(memcmp(here, there, sizeof(here)));
	guest_end(kernel);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static const struct test tests[] = {
	{ apart, "parent and child have a kernel each, and do not see what the other does" },
	{ memory_mapped_twice, "memory that the kernel maps twice is copied too, again and again" },
	{ blocked_calls, "calls of other threads end in the child, and go on in the parent" },
	{ from_another_thread, "any thread may fork" },
	{ under_load, "200 forks while four threads are at it: no child and no parent hangs" },
	{ no_copy, "a kernel that is being halted has no copy, others have" },
	{ disks, "disks come along, but files that are written to stay with the parent" },
	{ sockets, "the frames of a socket are the parent's" },
	{ virtual_clocks, "on a virtual clock parent and child go on in the same way" },
	{ random_numbers, "on the host's clock they draw different random numbers" },
};

TEST_MAIN(tests)
