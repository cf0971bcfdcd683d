// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults of kernel code: a bad pointer of a caller becomes EFAULT, anything
 * else the end of that kernel only. Signal handlers are the process's, so this
 * is the one place with something process-wide: a list of address ranges.
 * Faults elsewhere go to the handler that was there before.
 */
#include "core.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

/* While a fault is served on the stack of the code that touched it. */
#define NESTED_STACK (32 << 10)
#define RED_ZONE 128 /* below a function's stack pointer (System V ABI, x86-64) */
#define FAULT_WRITE 2 /* in the CPU's error code */

/* Never freed, since a handler may be looking at it, but used again. */
struct rumpel_fault_range {
	struct rumpel_fault_range *next;
	struct rumpel_kernel *kernel; /* NULL: not in use */
	uint64_t text_start, text_end;
	uint64_t start, end; /* the arena */
	uint64_t mappings, mappings_size;
	uint32_t touches; /* of mappings that are being served */
	uint32_t closing; /* no more of them: the kernel is about to be freed */
};

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))
#define FAULT_STACK (64 << 10)

static pthread_mutex_t ranges_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rumpel_fault_range *ranges;
static struct sigaction before[SIGNALS];
static pthread_key_t stack_key;
/* Touched after its kernel was gone. */
static __thread uint64_t last_touch __attribute__((tls_model("initial-exec")));

static void stack_free(void *stack)
{
	const stack_t none = { .ss_flags = SS_DISABLE };
	stack_t current;

	if (sigaltstack(NULL, &current) == 0 && current.ss_sp == stack)
		sigaltstack(&none, NULL);
	munmap(stack, FAULT_STACK);
}

static void make_key(void)
{
	pthread_key_create(&stack_key, stack_free);
}

void rumpel_fault_thread_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	stack_t stack = { .ss_size = FAULT_STACK }, current;

	pthread_once(&once, make_key);
	/* Another library's will do, if the frame and a little more fit. */
	if (sigaltstack(NULL, &current) == 0 && !(current.ss_flags & SS_DISABLE) &&
	    current.ss_size >= (size_t)sysconf(_SC_SIGSTKSZ))
		return;
	stack.ss_sp =
		mmap(NULL, FAULT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED)
		return;
	if (sigaltstack(&stack, NULL) < 0)
		munmap(stack.ss_sp, FAULT_STACK);
	else
		pthread_setspecific(stack_key, stack.ss_sp);
}

/* Whose code ran? A wild jump is told by the stack it was made on. */
static struct rumpel_kernel *find(uint64_t ip, uint64_t sp, uint64_t address)
{
	struct rumpel_fault_range *range = __atomic_load_n(&ranges, __ATOMIC_ACQUIRE);

	for (; range; range = range->next) {
		struct rumpel_kernel *kernel = __atomic_load_n(&range->kernel, __ATOMIC_ACQUIRE);

		if (!kernel)
			continue;
		if (ip >= range->text_start && ip < range->text_end)
			return kernel;
		if (ip == address && sp >= range->start && sp < range->end)
			return kernel;
	}
	return NULL;
}

/* Also of a kernel that is gone: somebody may hold its mappings. */
static struct rumpel_fault_range *find_mappings(uint64_t address)
{
	struct rumpel_fault_range *range = __atomic_load_n(&ranges, __ATOMIC_ACQUIRE);

	while (range && address - range->mappings >= range->mappings_size)
		range = range->next;
	return range;
}

static void chain(int number, siginfo_t *info, void *context)
{
	struct sigaction *old = NULL;

	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i] == number)
			old = &before[i];
	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(number, info, context);
	} else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
		old->sa_handler(number);
	} else {
		/* The instruction is tried again, and ends the process as it should. */
		signal(number, SIG_DFL);
		if (info->si_code <= 0 || info->si_signo != number)
			raise(number);
	}
}

/* A touch of a caller's mapping by host code. */
struct touch {
	struct rumpel_kernel *kernel;
	uint64_t address;
	bool write;
	const sigset_t *mask; /* of the code that touched it */
	int signal; /* out: 0 or what it comes to */
};

static void serve(void *argument)
{
	struct touch *touch = argument;
	char nested[NESTED_STACK];
	const stack_t stack = { .ss_sp = nested, .ss_size = sizeof(nested) };
	stack_t outer;
	sigset_t all;

	/*
	 * The kernel may fault in turn, and the signal stack has the frame of this
	 * fault at its top, where the next one would be put.
	 */
	sigfillset(&all);
	sigaltstack(&stack, &outer);
	pthread_sigmask(SIG_SETMASK, touch->mask, NULL);
	touch->signal = rumpel_mappings_fault(touch->kernel, touch->address, touch->write);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	sigaltstack(&outer, NULL);
}

static void call_on_stack(void *stack, void (*function)(void *), void *argument)
{
	asm volatile("movq %%rsp, %%rbx\n\t"
		     "movq %0, %%rsp\n\t"
		     "callq *%1\n\t"
		     "movq %%rbx, %%rsp"
		     : "+r"(stack), "+r"(function), "+D"(argument)
		     :
		     : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm1",
		       "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
		       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
}

/* 0: the code goes on; else a signal for it. */
static int serve_touch(struct rumpel_kernel *kernel, uint64_t address, ucontext_t *context)
{
	const greg_t *registers = context->uc_mcontext.gregs;
	uint64_t stack = (registers[REG_RSP] - RED_ZONE) & ~15ull;
	struct touch touch = {
		.kernel = kernel,
		.address = address,
		.write = registers[REG_ERR] & FAULT_WRITE,
		.mask = &context->uc_sigmask,
	};
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	if (!rumpel_tid) {
		rumpel_thread_init();
		sigaltstack(NULL, &context->uc_stack);
	}
	call_on_stack((void *)stack, serve, &touch);
	return touch.signal;
}

/* Host code touched something. What we do not know is for whoever was there before. */
static void outside(int number, siginfo_t *info, ucontext_t *context)
{
	uint64_t address = (uint64_t)info->si_addr;
	struct rumpel_fault_range *range = NULL;
	int error = errno; /* of the code that touched it */

	if (number == SIGSEGV && info->si_code > 0)
		range = find_mappings(address);
	if (range) {
		struct rumpel_kernel *kernel;

		__atomic_fetch_add(&range->touches, 1, __ATOMIC_SEQ_CST);
		kernel = __atomic_load_n(&range->kernel, __ATOMIC_ACQUIRE);
		if (kernel && !atomic_get(&range->closing) &&
		    rumpel_mappings_has(kernel->mappings, address, 1))
			number = serve_touch(kernel, address, context);
		/* Tries again, and finds zeroes in a moment; once if the kernel is gone. */
		else if (kernel || last_touch != address)
			number = 0;
		last_touch = kernel ? 0 : address;
		__atomic_fetch_sub(&range->touches, 1, __ATOMIC_SEQ_CST);
	}
	errno = error;
	if (number)
		chain(number, info, context);
}

static void handler(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct rumpel_fault fault = {
		.ip = registers[REG_RIP],
		.sp = registers[REG_RSP],
		.bp = registers[REG_RBP],
		.address = (unsigned long)info->si_addr,
		.signal = number,
		.write = !!(registers[REG_ERR] & FAULT_WRITE),
	};
	struct rumpel_kernel *kernel =
		info->si_code > 0 ? find(fault.ip, fault.sp, fault.address) : NULL;

	if (!kernel) {
		outside(number, info, context);
		return;
	}
	if (kernel->image->fault(&fault) < 0) {
		/* Not even a message is possible: straight back to the host. */
		kernel->vcpu->exit = RUMPEL_EXIT_PANIC;
		fault.ip = (unsigned long)kernel->vcpu->host.ip;
		fault.sp = (unsigned long)kernel->vcpu->host.sp;
	}
	registers[REG_RIP] = (greg_t)fault.ip;
	registers[REG_RSP] = (greg_t)fault.sp;
}

/* Locked. Also when somebody has put a handler of their own over ours since. */
static int install(void)
{
	struct sigaction action = { .sa_sigaction = handler }, current;
	static bool installed;

	/* Not blocked meanwhile: a fault in the handler ends the process. */
	action.sa_flags = SA_SIGINFO | SA_ONSTACK;
	for (size_t i = 0; i < SIGNALS; i++) {
		if (sigaction(signals[i], NULL, &current) < 0)
			return -errno;
		if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == handler)
			continue;
		/* A later one may call ours in turn, so ours must not call it. */
		if (!installed)
			before[i] = current;
		if (sigaction(signals[i], &action, NULL) < 0)
			return -errno;
	}
	installed = true;
	return 0;
}

int rumpel_fault_add(struct rumpel_kernel *kernel)
{
	struct rumpel_fault_range *range;
	int error;

	pthread_mutex_lock(&ranges_lock);
	error = install();
	for (range = ranges; range && range->kernel;)
		range = range->next;
	if (!range) {
		range = calloc(1, sizeof(*range));
		if (range) {
			range->next = ranges;
			__atomic_store_n(&ranges, range, __ATOMIC_RELEASE);
		} else {
			error = -ENOMEM;
		}
	}
	if (!error) {
		range->closing = 0; /* not its touches: some may just be leaving */
		range->text_start = (uint64_t)kernel->image->text_start;
		range->text_end = (uint64_t)kernel->image->text_end;
		range->start = (uint64_t)kernel->arena.base;
		range->end = range->start + kernel->arena.size;
		rumpel_mappings_range(kernel->mappings, &range->mappings, &range->mappings_size);
		__atomic_store_n(&range->kernel, kernel, __ATOMIC_RELEASE);
		kernel->range = range;
	}
	pthread_mutex_unlock(&ranges_lock);
	return error;
}

void rumpel_fault_drain(struct rumpel_kernel *kernel)
{
	if (!kernel->range)
		return;
	atomic_set(&kernel->range->closing, true);
	while (atomic_get(&kernel->range->touches))
		sched_yield();
}

void rumpel_fault_forked(void)
{
	struct rumpel_fault_range *range;

	pthread_mutex_init(&ranges_lock, NULL);
	for (range = ranges; range; range = range->next)
		range->touches = 0;
}

void rumpel_fault_remove(struct rumpel_kernel *kernel)
{
	if (kernel->range)
		__atomic_store_n(&kernel->range->kernel, NULL, __ATOMIC_RELEASE);
	kernel->range = NULL;
}
