// SPDX-License-Identifier: GPL-2.0-only
/* signal(7), as a program sees it. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile sig_atomic_t seen[65], depth, deepest;
static volatile int last_value;
static char *volatile handler_stack;
static sigset_t handler_mask;

static void count(int sig, siginfo_t *info, void *context)
{
	char here;

	(void)context;
	seen[sig]++;
	last_value = info->si_value.sival_int;
	handler_stack = &here;
	sigprocmask(SIG_BLOCK, NULL, &handler_mask);
}

static void nested(int sig, siginfo_t *info, void *context)
{
	(void)info, (void)context;
	seen[sig]++;
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (seen[sig] < 4)
		raise(sig);
	depth--;
}

/* Until a process sleeps, as it does in a call that blocks. */
static void wait_until_asleep(pid_t pid)
{
	char path[40], line[400], *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int times = 0; times < 3; usleep(5000)) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, line, sizeof(line) - 1);

		close(fd);
		line[n > 0 ? n : 0] = 0;
		state = strrchr(line, ')');
		times = state && state[2] == 'S' ? times + 1 : 0;
	}
}

/* Until it is no longer pending for a process, which may wait for a CPU as long as it likes. */
static void wait_until_taken(pid_t pid, int sig)
{
	char path[40], text[4000], *pending;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	for (;; usleep(1000)) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[n > 0 ? n : 0] = 0;
		pending = strstr(text, "ShdPnd:");
		if (pending && !(strtoull(pending + 7, NULL, 16) & 1ull << (sig - 1)))
			return;
	}
}

static void restartable(void)
{
	int fds[2];
	char byte;

	CHECK(!pipe(fds));
	for (int restart = 0; restart < 2; restart++) {
		pid_t parent = getpid(), child;

		handle(SIGUSR1, count, restart ? SA_RESTART : 0);
		seen[SIGUSR1] = 0;
		child = fork();
		if (!child) {
			wait_until_asleep(parent);
			kill(parent, SIGUSR1);
			/* A read that finds data when it wakes is not interrupted. */
			wait_until_taken(parent, SIGUSR1);
			_exit(write(fds[1], "x", 1) != 1);
		}
		errno = 0;
		if (restart) {
			CHECK(read(fds[0], &byte, 1) == 1 && byte == 'x');
		} else {
			CHECK(read(fds[0], &byte, 1) == -1 && errno == EINTR);
			CHECK(read(fds[0], &byte, 1) == 1);
		}
		CHECK(seen[SIGUSR1] == 1);
		CHECK(waitpid(child, NULL, 0) == child);
	}
	close(fds[0]);
	close(fds[1]);
}

/* A mask for the duration of a call holds in the handlers that the call lets through. */
static void masks(void)
{
	struct timespec none = { 0, 0 }, second = { 1, 0 };
	sigset_t blocked, empty, others, now;
	int ep = epoll_create1(0);

	sigemptyset(&empty);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	others = blocked;
	sigdelset(&others, SIGUSR1);
	handle(SIGUSR1, count, SA_RESTART);
	handle(SIGUSR2, count, SA_RESTART);
	memset((void *)seen, 0, sizeof(seen));
	CHECK(!sigprocmask(SIG_SETMASK, &blocked, NULL));
	raise(SIGUSR1);
	raise(SIGUSR2);
	CHECK(seen[SIGUSR1] == 0);
	CHECK(sigsuspend(&others) == -1 && errno == EINTR);
	CHECK(seen[SIGUSR1] == 1 && seen[SIGUSR2] == 0);
	CHECK(sigismember(&handler_mask, SIGUSR2) == 1);
	CHECK(!sigpending(&now) && sigismember(&now, SIGUSR2) == 1);
	raise(SIGUSR1);
	CHECK(sigsuspend(&empty) == -1 && errno == EINTR);
	CHECK(seen[SIGUSR1] == 2 && seen[SIGUSR2] == 1); /* both, before it returns */
	sigprocmask(SIG_BLOCK, NULL, &now);
	CHECK(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 1);

	raise(SIGUSR1);
	CHECK(ppoll(NULL, 0, &second, &empty) == -1 && errno == EINTR && seen[SIGUSR1] == 3);
	raise(SIGUSR1);
	CHECK(pselect(0, NULL, NULL, NULL, &second, &empty) == -1 && seen[SIGUSR1] == 4);
	raise(SIGUSR1);
	struct epoll_event event;
	CHECK(epoll_pwait(ep, &event, 1, 1000, &empty) == -1 && seen[SIGUSR1] == 5);
	raise(SIGUSR1);
	CHECK(ppoll(NULL, 0, &none, &blocked) == 0 && seen[SIGUSR1] == 5);
	CHECK(sigwaitinfo(&blocked, NULL) == SIGUSR1);
	CHECK(!sigprocmask(SIG_SETMASK, &empty, NULL));
	/* SIGSYS can be blocked like any other. */
	sigaddset(&empty, SIGSYS);
	CHECK(!sigprocmask(SIG_BLOCK, &empty, NULL));
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &now) && sigismember(&now, SIGSYS) == 1);
	CHECK(getppid() == raw(SYS_getppid, 0, 0, 0, 0));
	CHECK(!sigprocmask(SIG_UNBLOCK, &empty, &now) && sigismember(&now, SIGSYS) == 1);
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &now) && sigismember(&now, SIGSYS) == 0);
	/* How is an int: nobody looks at the other half of the register. */
	sigemptyset(&empty);
	sigaddset(&empty, SIGSYS);
	CHECK(!sigprocmask(SIG_BLOCK, &empty, NULL));
	sigemptyset(&empty);
	CHECK(!raw(SYS_rt_sigprocmask, 1L << 32 | SIG_SETMASK, (long)&empty, 0, 8));
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &now) && sigismember(&now, SIGSYS) == 0);
	close(ep);
}

static void handlers(void)
{
	union sigval value = { .sival_int = 4711 };
	struct sigaction old;
	sigset_t mask;

	memset((void *)seen, 0, sizeof(seen));
	handle(SIGRTMIN, count, 0);
	CHECK(!sigqueue(getpid(), SIGRTMIN, value));
	CHECK(seen[SIGRTMIN] == 1 && last_value == 4711);
	CHECK(sigismember(&handler_mask, SIGRTMIN) == 1);
	CHECK(!sigaction(SIGRTMIN, NULL, &old) && old.sa_sigaction == count);
	CHECK(old.sa_flags & SA_SIGINFO);

	handle(SIGUSR1, nested, SA_NODEFER);
	deepest = 0;
	raise(SIGUSR1);
	CHECK(seen[SIGUSR1] == 4 && deepest == 4);
	seen[SIGUSR1] = deepest = 0;
	handle(SIGUSR1, nested, 0);
	raise(SIGUSR1);
	CHECK(seen[SIGUSR1] == 4 && deepest == 1);

	handle(SIGUSR2, count, SA_RESETHAND);
	raise(SIGUSR2);
	CHECK(!sigaction(SIGUSR2, NULL, &old) && old.sa_handler == SIG_DFL);
	signal(SIGUSR2, SIG_IGN);
	CHECK(!sigaction(SIGUSR2, NULL, &old) && old.sa_handler == SIG_IGN);
	CHECK(sigaction(SIGKILL, &old, NULL) == -1 && errno == EINVAL);
	CHECK(raw(SYS_rt_sigaction, SIGUSR1, 8, 0, 8) == -EFAULT);
	CHECK(raw(SYS_rt_sigprocmask, SIG_BLOCK, 8, 0, 8) == -EFAULT);
	CHECK(raw(SYS_rt_sigprocmask, 77, (long)&mask, 0, 8) == -EINVAL);

	/* A handler of SIGSYS is the program's. */
	handle(SIGSYS, count, 0);
	raise(SIGSYS);
	CHECK(seen[SIGSYS] == 1);
	signal(SIGSYS, SIG_IGN);
	raise(SIGSYS);
	CHECK(seen[SIGSYS] == 1);
	signal(SIGSYS, SIG_DFL);
}

static void stacks(void)
{
	static char memory[64 << 10];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) }, old;

	CHECK(!sigaltstack(&stack, NULL));
	CHECK(!sigaltstack(NULL, &old) && old.ss_sp == memory && old.ss_flags == 0);
	handle(SIGUSR1, count, SA_ONSTACK);
	raise(SIGUSR1);
	CHECK(handler_stack > memory && handler_stack < memory + sizeof(memory));
	handle(SIGUSR1, count, 0);
	raise(SIGUSR1);
	CHECK(!(handler_stack > memory && handler_stack < memory + sizeof(memory)));
	stack.ss_size = 100;
	CHECK(sigaltstack(&stack, NULL) == -1 && errno == ENOMEM);
	stack.ss_flags = 0x77;
	CHECK(sigaltstack(&stack, NULL) == -1 && errno == EINVAL);
	stack.ss_flags = SS_DISABLE;
	CHECK(!sigaltstack(&stack, NULL));
	CHECK(!sigaltstack(NULL, &old) && old.ss_flags == SS_DISABLE);
}

/* Leaves less than a frame of the stack below, and wants one more. */
static void fill(int sig, siginfo_t *info, void *context)
{
	char *volatile stack = context, *low = info->si_value.sival_ptr;

	(void)sig;
	stack = alloca((char *)__builtin_frame_address(0) - low - 1000);
	*stack = 1;
	raw(SYS_tgkill, raw(SYS_getpid, 0, 0, 0, 0), raw(SYS_gettid, 0, 0, 0, 0), SIGUSR2, 0);
	_exit(1);
}

/* A handler for which the alternate stack has no room: SIGSEGV, and nothing else is touched. */
static void overflow(void)
{
	enum { BELOW = 16 << 10, SIZE = 32 << 10 };
	char *memory =
		mmap(NULL, BELOW + SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_sp = memory + BELOW, .ss_size = SIZE };
	pid_t child = fork();
	int status, changed = 0;

	if (!child) {
		CHECK(!sigaltstack(&stack, NULL));
		handle(SIGRTMIN, fill, SA_ONSTACK);
		handle(SIGUSR2, count, 0);
		handle(SIGSEGV, count, SA_ONSTACK);
		sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_ptr = stack.ss_sp });
		_exit(2);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	for (int i = 0; i < BELOW; i++)
		changed += memory[i] != 0;
	CHECK(!changed);
}

static sigjmp_buf out;
static volatile long fault_at;

static void fault(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	fault_at = (long)info->si_addr;
	siglongjmp(out, 1);
}

static void skip(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig, (void)info;
	seen[SIGSEGV]++;
	uc->uc_mcontext.gregs[REG_RIP] += 2; /* mov (%rax), %eax */
	uc->uc_mcontext.gregs[REG_RAX] = 42;
}

static int recurse(int n)
{
	volatile char big[4096];

	big[0] = n;
	return n ? recurse(n - 1) + big[0] : 0;
}

static void faults(void)
{
	static char memory[64 << 10];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int value = 0;

	CHECK(!sigaltstack(&stack, NULL));
	handle(SIGSEGV, fault, SA_ONSTACK);
	for (int i = 0; i < 100; i++)
		if (!sigsetjmp(out, 1)) {
			*(volatile char *)page = 1;
			CHECK(0);
		}
	CHECK(fault_at == (long)page);
	if (!sigsetjmp(out, 1)) {
		recurse(1 << 20); /* until there is no stack */
		CHECK(0);
	}
	seen[SIGSEGV] = 0;
	handle(SIGSEGV, skip, 0);
	asm volatile("mov (%%rax), %%eax" : "=a"(value) : "a"(page));
	CHECK(value == 42 && seen[SIGSEGV] == 1);
	CHECK(write(1, page, 1) == -1 && errno == EFAULT);
	CHECK(open(page, O_RDONLY) == -1 && errno == EFAULT);
	signal(SIGSEGV, SIG_DFL);
}

/* Signals that come anywhere, while calls are made in both ways. */
static void anywhere(void)
{
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	long calls = 0, wrong = 0, parent = getppid();
	struct timespec start, now;
	double sum = 0;

	seen[SIGALRM] = 0;
	handle(SIGALRM, count, SA_RESTART);
	CHECK(!setitimer(ITIMER_REAL, &often, NULL));
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (int i = 0; i < 100; i++, calls++) {
			wrong += syscall(SYS_getppid) != parent;
			wrong += raw(SYS_getppid, 0, 0, 0, 0) != parent;
			wrong += write(-1, "", 0) != -1 || errno != EBADF;
			sum += 0.5;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec * 10 + now.tv_nsec / 100000000 <
		 start.tv_sec * 10 + start.tv_nsec / 100000000 + 10);
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	CHECK(!wrong && sum == calls * 0.5 && seen[SIGALRM] > 10);
}

static volatile int expected, disorder;

static void in_order(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	disorder += info->si_value.sival_int != expected++;
}

/* Real-time signals keep their order, wherever the one that gets them is. */
static void order(void)
{
	enum { MANY = 3000 };
	pid_t parent = getpid(), child;

	handle(SIGRTMIN + 1, in_order, SA_RESTART);
	child = fork();
	if (!child) {
		for (int i = 0; i < MANY; i++)
			while (sigqueue(parent, SIGRTMIN + 1, (union sigval){ .sival_int = i }))
				usleep(100);
		_exit(0);
	}
	while (waitpid(child, NULL, WNOHANG) != child)
		for (int i = 0; i < 20; i++) {
			raw(SYS_getppid, 0, 0, 0, 0);
			write(-1, "", 0);
		}
	CHECK(expected == MANY && !disorder);
}

static void ends(void)
{
	static const int signals[] = { SIGTERM, SIGSEGV, SIGSYS, SIGABRT, SIGKILL };
	int status;

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		pid_t child = fork();

		if (!child) {
			signal(signals[i], SIG_DFL);
			raise(signals[i]);
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
		      WTERMSIG(status) == signals[i]);
	}
}

/* Faults can be blocked, too: what somebody sends waits, what the program does ends it. */
static void blocked_faults(void)
{
	sigset_t all, before, now;
	pid_t child;
	int status;

	memset((void *)seen, 0, sizeof(seen));
	handle(SIGSEGV, count, 0);
	sigfillset(&all);
	CHECK(!sigprocmask(SIG_SETMASK, &all, &before));
	CHECK(!kill(getpid(), SIGSEGV));
	CHECK(execl("/no/such", "/no/such", NULL) == -1 && errno == ENOENT);
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &now) && sigismember(&now, SIGSEGV) == 1);
	CHECK(seen[SIGSEGV] == 0);
	CHECK(!sigprocmask(SIG_SETMASK, &before, NULL) && seen[SIGSEGV] == 1);
	child = fork();
	if (!child) {
		sigprocmask(SIG_SETMASK, &all, NULL);
		*(volatile int *)8 = 1;
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	      WTERMSIG(status) == SIGSEGV);
	CHECK(seen[SIGSEGV] == 1);
	signal(SIGSEGV, SIG_DFL);
}

/* All that is blocked remains so in the program that is executed. */
static void executed(const char *self)
{
	sigset_t all;
	pid_t child = fork();
	int status;

	if (!child) {
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		execl(self, self, "blocked", NULL);
		_exit(1);
	}
	CHECK(waitpid(child, &status, 0) == child && !status);
}

static int check_blocked(void)
{
	sigset_t now;

	CHECK(!sigprocmask(SIG_BLOCK, NULL, &now));
	for (int sig = 1; sig < 32; sig++)
		CHECK(sigismember(&now, sig) == (sig != SIGKILL && sig != SIGSTOP));
	return failures != 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1)
		return check_blocked();
	restartable();
	masks();
	handlers();
	stacks();
	overflow();
	faults();
	anywhere();
	order();
	blocked_faults();
	executed(argv[0]);
	ends();
	return done();
}
