// SPDX-License-Identifier: GPL-2.0-only
/* Faults of kernel code in any process: see ../fault.c. The handler is the agent's. */
#include "instance.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "../bare/bare.h"

#define FAULT_WRITE 2 /* in the CPU's error code */

static bool is_kernel_text(uintptr_t ip)
{
	const struct rumpel_image *image = instance->kernel->image;

	return image && ip >= (uintptr_t)image->text_start && ip < (uintptr_t)image->text_end;
}

bool shared_inside(const struct rumpel_local *local, uintptr_t ip, uintptr_t sp)
{
	(void)local;
	return (ip >= RUMPEL_SHARED_TEXT && ip < SHARED_MAPPINGS) ||
	       (sp >= SHARED_HEAP && sp < SHARED_MAPPINGS);
}

/* ---- a touch of a caller's mapping by the program ---- */

/* The program's own stack may be small: this one lives as long as the fault. */
#define SERVICE (128ull << 10)
/* Its lower part is for signals meanwhile: the kernel may fault in turn. */
#define NESTED (64ull << 10)

struct touch {
	uint64_t address;
	bool write;
	char *stack;
	const void *mask; /* of the code that touched it */
	int signal; /* out: 0 or what it comes to */
};

__attribute__((used)) static void serve(struct touch *touch)
{
	const stack_t nested = { .ss_sp = touch->stack, .ss_size = NESTED };
	const uint64_t all = ~0ull;
	stack_t outer;

	bare_syscall(SYS_sigaltstack, &nested, &outer);
	bare_syscall(SYS_rt_sigprocmask, SIG_SETMASK, touch->mask, NULL, 8);
	touch->signal = rumpel_mappings_fault(instance->kernel, touch->address, touch->write);
	bare_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	bare_syscall(SYS_sigaltstack, &outer, NULL);
}

/* True: it may try again; false: *info says what the program gets. */
static bool serve_touch(uint64_t address, bool write, const ucontext_t *context, siginfo_t *info)
{
	struct touch touch = { .address = address, .write = write, .mask = &context->uc_sigmask };
	void *function = serve, *argument = &touch, *stack;
	int error = rumpel_self->error;
	long area = bare_syscall(SYS_mmap, 0, SERVICE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area < 0)
		return false;
	touch.stack = (char *)area;
	stack = touch.stack + SERVICE;
	asm volatile("movq %%rsp, %%rbx\n\t"
		     "movq %0, %%rsp\n\t"
		     "callq *%1\n\t"
		     "movq %%rbx, %%rsp"
		     : "+r"(stack), "+r"(function), "+D"(argument)
		     :
		     : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	bare_syscall(SYS_munmap, area, SERVICE);
	rumpel_self->error = error;
	if (touch.signal == SIGBUS) {
		info->si_signo = SIGBUS;
		info->si_code = BUS_ADRERR;
	}
	return !touch.signal;
}

static bool is_mapping(uint64_t address)
{
	return address >= SHARED_MAPPINGS && address < SHARED_MAPPINGS + SHARED_MAPPINGS_SIZE;
}

/* ---- */

bool shared_fault(int number, void *information, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	const struct rumpel_kernel *kernel = instance->kernel;
	const siginfo_t *info = information;
	struct rumpel_fault fault = {
		.ip = registers[REG_RIP],
		.sp = registers[REG_RSP],
		.bp = registers[REG_RBP],
		.address = (unsigned long)info->si_addr,
		.signal = number,
		.write = !!(registers[REG_ERR] & FAULT_WRITE),
	};

	if (number == SIGSYS || info->si_code <= 0)
		return (number == SIGSYS || number == SIGBUS) && shared_shot(info);
	/* A wild jump is told by the stack it was made on. */
	if (!is_kernel_text(fault.ip) && (fault.ip != fault.address || !shared_is_kernel(fault.sp)))
		return number == SIGSEGV && is_mapping(fault.address) &&
		       serve_touch(fault.address, fault.write, context, information);
	if (number == SIGSEGV && shared_fault_in(fault.address, fault.write))
		return true;
	if (kernel->image->fault(&fault) < 0) {
		kernel->vcpu->exit = RUMPEL_EXIT_PANIC;
		fault.ip = (unsigned long)kernel->vcpu->host.ip;
		fault.sp = (unsigned long)kernel->vcpu->host.sp;
	}
	registers[REG_RIP] = (greg_t)fault.ip;
	registers[REG_RSP] = (greg_t)fault.sp;
	return true;
}

/* ---- in the keeper, which has no agent ---- */

static void handler(int number, siginfo_t *info, void *context)
{
	if (!shared_fault(number, info, context)) {
		static const char text[] = "rumpel: the keeper of a kernel has a fault\n";

		bare_syscall(SYS_write, 2, text, sizeof(text) - 1);
		bare_syscall(SYS_exit_group, 128 + number);
	}
}

/* As the host wants it (linux/arch/x86/include/uapi/asm/signal.h). */
struct host_sigaction {
	void (*handler)(int number, siginfo_t *info, void *context);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

asm(".globl bare_restorer\n"
    "bare_restorer:\n\t"
    "movl $15, %eax\n\t" /* rt_sigreturn */
    "syscall");
__attribute__((visibility("hidden"))) void bare_restorer(void);

void shared_fault_install(void)
{
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	const struct host_sigaction action = {
		.handler = handler,
		.flags = SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */,
		.restorer = bare_restorer,
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		bare_syscall(SYS_rt_sigaction, numbers[i], &action, NULL, 8);
}

/* ---- what ../fault.c offers the core ---- */

int rumpel_fault_add(struct rumpel_kernel *kernel)
{
	(void)kernel;
	return 0;
}

void rumpel_fault_remove(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

void rumpel_fault_drain(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

/* ---- and ../fork.c: forks of its processes copy no kernel ---- */

void rumpel_fork_add(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

void rumpel_fork_remove(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

bool rumpel_kernel_is_copied(const struct rumpel_kernel *kernel)
{
	(void)kernel;
	return true;
}
