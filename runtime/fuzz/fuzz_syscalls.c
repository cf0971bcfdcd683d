// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile callers: random system calls with random arguments, on kernels that
 * are booted anew after some thousand of them. Nothing that a caller says may
 * end or hang the process.
 *
 *	RUMPEL_IMAGE=... fuzz_syscalls SECONDS SEED [ROUND]
 *
 * A round is the same each time as far as its kernel is. What a caller's own
 * pointers do to its own memory is not the question, so pointers are into one
 * region that nothing else uses, behind its end, or nowhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rumpel/rumpel.h>

#define CALLS 4000u /* of a round */
#define TASKS 6u
#define REGION (256u << 10)
#define NR_MOST 470
#define MOVED (16ul << 20) /* bytes that one call may move between descriptors */
#define MS 1000000ll
#define PATIENCE (2000 * MS) /* for a call that was cancelled */

struct round {
	uint64_t random;
	struct rumpel_kernel *kernel;
	struct rumpel_task *tasks[TASKS];
	long recent[16]; /* results that may be descriptors or ids */
	unsigned int seen;
};

static struct {
	uint64_t rounds, calls, succeeded, cancelled, exited, panics, halts;
} totals;

static char *region;

/* What a watchdog prints if nothing comes back. */
static struct {
	uint64_t round;
	unsigned int call;
	long nr;
	unsigned long args[6];
} now;

static uint64_t draw(struct round *round)
{
	/* xorshift64* */
	round->random ^= round->random >> 12;
	round->random ^= round->random << 25;
	round->random ^= round->random >> 27;
	return round->random * 2685821657736338717ull;
}

static unsigned int below(struct round *round, unsigned int n)
{
	return (unsigned int)(draw(round) >> 33) % n;
}

static const char *const paths[] = {
	"/",
	"/tmp",
	"/tmp/a",
	"/tmp/a/b",
	"/tmp/c",
	"a",
	"..",
	"/proc/self/fd",
	"/proc/self/mem",
	"/proc/self/maps",
	"/proc/1/stat",
	"/proc/self/ns/net",
	"/proc/self/comm",
	"/proc/sys/net/ipv4/tcp_rmem",
	"/proc/kmsg",
	"/proc/net/tcp",
	"/dev/null",
	"/dev/zero",
	"/dev/full",
	"/dev/ptmx",
	"/dev/loop-control",
	"/dev/net/tun",
	"/dev/fuse",
	"/dev/kmsg",
	"/dev/urandom",
	"/dev/shm/s",
	"/sys/fs/cgroup",
	"/sys/kernel",
	"/run",
	"/etc",
	"",
	"tmpfs",
	"overlay",
	"cgroup2",
	"proc",
	"lo",
};

/* Calls that end or stop the kernel because they are told to. */
static bool is_harmless(long nr)
{
	return nr != SYS_reboot && nr != SYS_kexec_load && nr != SYS_kexec_file_load;
}

/* Something that looks like what a call may expect at an address. */
static void fill(struct round *round, char *at, size_t room)
{
	static const unsigned short families[] = { AF_UNIX,   AF_INET,	AF_INET6, AF_NETLINK,
						   AF_PACKET, AF_VSOCK, AF_ALG };
	uint64_t word;

	switch (below(round, 4)) {
	case 0: {
		const char *path = paths[below(round, sizeof(paths) / sizeof(paths[0]))];

		snprintf(at, room, "%s", path);
		return;
	}
	case 1:
		memset(at, 0, room);
		memcpy(at, &families[below(round, 7)], 2);
		word = draw(round);
		memcpy(at + 2, &word, 6);
		return;
	case 2: /* words: numbers and pointers */
		for (size_t i = 0; i + 8 <= room; i += 8) {
			word = below(round, 3) ? below(round, 4096)
					       : (uint64_t)(region + below(round, REGION));
			memcpy(at + i, &word, 8);
		}
		return;
	default:
		for (size_t i = 0; i + 8 <= room; i += 8) {
			word = draw(round);
			memcpy(at + i, &word, 8);
		}
	}
}

static unsigned long pointer(struct round *round)
{
	char *at = region + (below(round, REGION - 512) & ~7u);

	switch (below(round, 10)) {
	case 0:
		return 0;
	case 1: /* half of it is there */
		return (unsigned long)region + REGION - below(round, 64);
	case 2: /* nowhere: not an address at all, or one below the lowest */
		return below(round, 2) ? draw(round) | 1ull << 63 : below(round, 65536);
	default:
		fill(round, at, 16 + below(round, 200));
		return (unsigned long)at;
	}
}

static unsigned long argument(struct round *round)
{
	switch (below(round, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		return pointer(round);
	case 4:
	case 5:
		return below(round, 24);
	case 6:
	case 7:
		return (unsigned long)round->recent[below(round, 16)];
	case 8:
		return 1ul << below(round, 32);
	case 9:
		return below(round, 70000);
	case 10:
		return -(unsigned long)below(round, 200);
	default:
		return draw(round) >> below(round, 64);
	}
}

/*
 * Most of the calls are those from which others get something to work with, with
 * arguments of the right kind: d a descriptor, c AT_FDCWD, p a path, s a
 * structure, l a length, f one flag or none, n a small number, * anything.
 */
static const struct {
	short nr;
	char kinds[7];
} likely[] = {
	{ SYS_openat, "cpnl" },
	{ SYS_openat, "cplf" },
	{ SYS_socket, "nnn" },
	{ SYS_socketpair, "nnns" },
	{ SYS_pipe2, "s" },
	{ SYS_eventfd2, "nn" },
	{ SYS_epoll_create1, "n" },
	{ SYS_timerfd_create, "nn" },
	{ SYS_signalfd4, "*snn" },
	{ SYS_memfd_create, "pn" },
	{ SYS_inotify_init1, "n" },
	{ SYS_dup, "d" },
	{ SYS_dup3, "ddn" },
	{ SYS_bind, "dsn" },
	{ SYS_connect, "dsn" },
	{ SYS_listen, "dn" },
	{ SYS_accept4, "dssn" },
	{ SYS_sendto, "dslfsn" },
	{ SYS_recvfrom, "dslfss" },
	{ SYS_sendmsg, "dsf" },
	{ SYS_recvmsg, "dsf" },
	{ SYS_setsockopt, "dnnsn" },
	{ SYS_getsockopt, "dnnss" },
	{ SYS_ioctl, "d*s" },
	{ SYS_fcntl, "dns" },
	{ SYS_read, "dsl" },
	{ SYS_write, "dsl" },
	{ SYS_pread64, "dsll" },
	{ SYS_pwrite64, "dsll" },
	{ SYS_readv, "dsn" },
	{ SYS_writev, "dsn" },
	{ SYS_lseek, "dln" },
	{ SYS_ftruncate, "dl" },
	{ SYS_fallocate, "dfll" },
	{ SYS_mmap, "0lnfdn" },
	{ SYS_munmap, "*l" },
	{ SYS_mprotect, "*ln" },
	{ SYS_epoll_ctl, "dnds" },
	{ SYS_epoll_pwait, "dsnn" },
	{ SYS_poll, "snn" },
	{ SYS_splice, "dsdslf" },
	{ SYS_tee, "ddlf" },
	{ SYS_sendfile, "ddsl" },
	{ SYS_copy_file_range, "dsdsl" },
	{ SYS_bpf, "nsn" },
	{ SYS_mount, "ppplp" },
	{ SYS_umount2, "pn" },
	{ SYS_fsopen, "pn" },
	{ SYS_fsconfig, "dnppn" },
	{ SYS_fsmount, "dnn" },
	{ SYS_move_mount, "dpdpf" },
	{ SYS_keyctl, "n****" },
	{ SYS_add_key, "ppsln" },
	{ SYS_io_uring_setup, "ns" },
	{ SYS_io_uring_enter, "dnnf" },
	{ SYS_io_uring_register, "dnsn" },
	{ SYS_getdents64, "dsl" },
	{ SYS_mkdirat, "cpl" },
	{ SYS_unlinkat, "cpf" },
	{ SYS_renameat2, "cpcpn" },
	{ SYS_linkat, "cpcpf" },
	{ SYS_symlinkat, "pcp" },
	{ SYS_statx, "cpfls" },
	{ SYS_setxattr, "ppsln" },
	{ SYS_getxattr, "ppsl" },
	{ SYS_chdir, "p" },
	{ SYS_unshare, "f" },
	{ SYS_setns, "df" },
	{ SYS_timer_create, "nss" },
	{ SYS_timer_settime, "nnss" },
	{ SYS_futex, "snnssn" },
	{ SYS_semget, "nnl" },
	{ SYS_semop, "nsn" },
	{ SYS_shmget, "nll" },
	{ SYS_shmat, "n0n" },
	{ SYS_msgget, "nl" },
	{ SYS_msgsnd, "nslf" },
	{ SYS_msgrcv, "nslnf" },
	{ SYS_prctl, "n****" },
	{ SYS_landlock_create_ruleset, "snn" },
	{ SYS_pidfd_open, "nf" },
	{ SYS_kill, "nn" },
	{ SYS_tgkill, "nnn" },
	{ SYS_ptrace, "nn**" },
	{ SYS_clock_nanosleep, "nnss" },
	{ SYS_mq_open, "plls" },
	{ SYS_fanotify_init, "nn" },
};

static unsigned long of_kind(struct round *round, char kind)
{
	char *at = region + (below(round, REGION - 512) & ~7u);

	if (!below(round, 20))
		return argument(round);
	switch (kind) {
	case 0:
	case '0':
		return 0;
	case 'c':
		return (unsigned long)AT_FDCWD;
	case 'd':
		return below(round, 3) ? below(round, 16)
				       : (unsigned long)round->recent[below(round, 16)];
	case 'p':
		snprintf(at, 64, "%s", paths[below(round, sizeof(paths) / sizeof(paths[0]))]);
		return (unsigned long)at;
	case 's':
		return pointer(round);
	case 'l':
		return below(round, 4) ? below(round, 512) : 1ul << below(round, 24);
	case 'f':
		return below(round, 2) ? 0 : 1ul << below(round, 32);
	case 'n':
		return below(round, 40);
	default:
		return argument(round);
	}
}

static void choose(struct round *round)
{
	const char *kinds = "******";

	do {
		now.nr = below(round, NR_MOST);
		if (below(round, 5)) {
			unsigned int i = below(round, sizeof(likely) / sizeof(likely[0]));

			now.nr = likely[i].nr;
			kinds = likely[i].kinds;
		}
	} while (!is_harmless(now.nr));
	for (unsigned int i = 0; i < 6; i++) {
		now.args[i] = of_kind(round, *kinds);
		kinds += *kinds != 0;
	}
	/* Two gigabytes from /dev/urandom to itself are a minute's honest work. */
	if (now.nr == SYS_sendfile && now.args[3] > MOVED)
		now.args[3] %= MOVED;
	if ((now.nr == SYS_splice || now.nr == SYS_copy_file_range) && now.args[4] > MOVED)
		now.args[4] %= MOVED;
}

static void complain(const char *what)
{
	fprintf(stderr,
		"fuzz_syscalls: %s: round %llu, call %u: %ld(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx)\n",
		what, (unsigned long long)now.round, now.call, now.nr, now.args[0], now.args[1],
		now.args[2], now.args[3], now.args[4], now.args[5]);
}

/* The process hangs, so what is not safe in a handler is as good as lost anyway. */
static void watchdog(int signal)
{
	(void)signal;
	complain("nothing has come back for a minute");
	abort();
}

static void print_log(struct rumpel_kernel *kernel)
{
	static char text[64 << 10];
	uint64_t position = 0;
	size_t len, last = 0;

	while ((len = rumpel_log_read(kernel, &position, text, sizeof(text))) > 0)
		last = len;
	fwrite(text, 1, last, stderr);
}

/* False: the kernel is gone. */
static bool call(struct round *round, unsigned int at)
{
	struct rumpel_task *task = round->tasks[at];
	long result = 0;
	int status;

	status = rumpel_task_submit(task, RUMPEL_SUBMIT_ASYNC, now.nr, now.args, &result);
	if (!status)
		status = rumpel_task_wait(task, below(round, 8) ? 0 : MS, &result);
	if (!status) {
		totals.cancelled++;
		rumpel_task_cancel(task);
		status = rumpel_task_wait(task, PATIENCE, &result);
	}
	if (status == 1) {
		totals.succeeded += result >= 0 || result < -4095;
		if (result > 2 && result < 100000)
			round->recent[round->seen++ % 16] = result;
		return true;
	}
	if (status == -ENOTRECOVERABLE) {
		totals.panics++;
		complain("panic");
		print_log(round->kernel);
		return false;
	}
	if (status == -ESHUTDOWN) {
		totals.halts++;
		return false;
	}
	/* The task has exited, or is stopped. */
	totals.exited++;
	rumpel_task_free(task);
	round->tasks[at] = NULL;
	status = rumpel_task_create(round->kernel, RUMPEL_TASK_PROCESS, &round->tasks[at]);
	return !status;
}

static void run(uint64_t seed, uint64_t number_of_round)
{
	struct round round = { .random =
				       (seed << 32 | number_of_round) * 0x9e3779b97f4a7c15ull | 1 };
	struct rumpel_config config = { .image = getenv("RUMPEL_IMAGE"), .memory = 48 << 20 };
	bool alive = true;
	int error = rumpel_boot(&config, &round.kernel);

	if (error) {
		fprintf(stderr, "fuzz_syscalls: boot: %s\n", strerror(-error));
		exit(1);
	}
	now.round = number_of_round;
	for (unsigned int i = 0; i < TASKS; i++)
		if (rumpel_task_create(round.kernel, RUMPEL_TASK_PROCESS, &round.tasks[i]))
			exit(1);
	for (unsigned int i = 0; alive && i < CALLS; i++) {
		alarm(20);
		now.call = i;
		choose(&round);
		alive = call(&round, below(&round, TASKS));
		totals.calls++;
	}
	now.call = CALLS; /* what follows is the end */
	for (unsigned int i = 0; i < TASKS; i++)
		if (round.tasks[i])
			rumpel_task_free(round.tasks[i]);
	rumpel_halt(round.kernel);
	rumpel_kernel_free(round.kernel);
	totals.rounds++;
}

int main(int argc, char **argv)
{
	uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 0) : 10;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	time_t end = time(NULL) + (time_t)seconds;
	char *around;

	around = mmap(NULL, REGION + (2u << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (around == MAP_FAILED || !getenv("RUMPEL_IMAGE"))
		return 1;
	region = around + (1u << 20);
	mprotect(region, REGION, PROT_READ | PROT_WRITE);
	signal(SIGALRM, watchdog);
	for (uint64_t i = first; time(NULL) < end; i++)
		run(seed, i);
	printf("%llu calls in %llu kernels: %llu succeeded, %llu cancelled, %llu ended their task, "
	       "%llu halts, %llu panics\n",
	       (unsigned long long)totals.calls, (unsigned long long)totals.rounds,
	       (unsigned long long)totals.succeeded, (unsigned long long)totals.cancelled,
	       (unsigned long long)totals.exited, (unsigned long long)totals.halts,
	       (unsigned long long)totals.panics);
	return totals.panics != 0;
}
