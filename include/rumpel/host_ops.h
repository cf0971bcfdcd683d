/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between a kernel image and whoever hosts it.
 *
 * A kernel image is a freestanding ELF shared object. It exports one symbol,
 * rumpel_image, a struct rumpel_image. All that the kernel needs from outside
 * is in struct host_ops; all that the host does to the kernel goes through
 * the two entry points of struct rumpel_image.
 *
 * The kernel is a coroutine. rumpel_image.enter() lends the calling host
 * thread to it and comes back with one of enum rumpel_exit. Only the holder
 * of the kernel's token may call it, one thread at a time.
 *
 * Included by the kernel (arch/rumpel) and by the host runtime, so it uses
 * plain C types only. Any change of layout increments RUMPEL_ABI.
 */
#ifndef RUMPEL_HOST_OPS_H
#define RUMPEL_HOST_OPS_H

#define RUMPEL_MAGIC 0x6c65706d7572ULL /* "rumpel" */
#define RUMPEL_ABI 4

#define RUMPEL_NO_DEADLINE (~0ULL)

/* Bits of rumpel_vcpu.pending: the timer, then one for each device slot. */
#define RUMPEL_IRQ_TIMER 0
#define RUMPEL_IRQ_DEVICE 1
#define RUMPEL_MAX_DEVICES 48

/* Device register windows, one page each, in I/O memory that is not RAM. */
#define RUMPEL_MMIO_SIZE 0x1000ULL

/* Why enter() came back. */
enum rumpel_exit {
	RUMPEL_EXIT_IDLE, /* nothing can run before vcpu.deadline or an interrupt */
	RUMPEL_EXIT_DONE, /* vcpu.done has its result (or has exited) */
	RUMPEL_EXIT_RELAX, /* kernel spins: serve the devices and enter again */
	RUMPEL_EXIT_HALT, /* powered off or restarted by its own reboot call */
	RUMPEL_EXIT_PANIC, /* kernel is lost; the log has the reason */
};

enum rumpel_caller_state {
	RUMPEL_CALLER_USER, /* in host code */
	RUMPEL_CALLER_SUBMITTED, /* a call waits to be picked up */
	RUMPEL_CALLER_IN_CALL, /* the kernel works on it */
	RUMPEL_CALLER_EXITED, /* the kernel task is gone */
	RUMPEL_CALLER_AWAY, /* in a call that goes on when its process runs the kernel */
};

/*
 * A bound task as both sides see it: host code is its user mode. The host
 * fills nr and args and sets SUBMITTED; the kernel puts the result, sets USER
 * and leaves with RUMPEL_EXIT_DONE. It leaves so with AWAY, too, when the call
 * needs memory of `process` and another one runs the kernel: a request by a
 * thread of that process lets it go on.
 */
struct rumpel_caller {
	unsigned int state; /* enum rumpel_caller_state */
	unsigned int interrupt; /* host asks that the call ends with EINTR */
	unsigned int process; /* whose memory the call's pointers mean */
	long nr; /* system call, or enum rumpel_private_call */
	unsigned long args[6];
	long result; /* value or negative errno */
	void *task; /* the kernel's struct task_struct, 0 once exited */
};

/* Calls that are not Linux's: for the runtime alone, numbered below zero. */
enum rumpel_private_call {
	/* (clone flags, struct rumpel_caller *new_caller) -> pid */
	RUMPEL_CALL_CLONE = -1,
	/* (slot): a device is there now; its driver is about to lose it */
	RUMPEL_CALL_PLUG = -2,
	RUMPEL_CALL_UNPLUG = -3,
	/* (address, write): host code touched a caller's mapping. 0: it may try again; -EFAULT,
	 * -ENXIO, -ENOMEM: not mapped so, nothing behind it (SIGBUS), no memory */
	RUMPEL_CALL_FAULT = -4,
	/* The caller's program is another now, in memory of its own: as execve() for a task. */
	RUMPEL_CALL_EXEC = -5,
};

/* A suspended flow of control: everything else lies on its stack. */
struct rumpel_context {
	void *sp;
	void *ip;
};

/*
 * The virtual CPU: state that both sides touch. Only `pending` may be
 * written by a thread that does not hold the token (atomically).
 */
struct rumpel_vcpu {
	unsigned long long pending; /* interrupts, RUMPEL_IRQ_* */
	unsigned long long deadline; /* clockevent: ns on the clock, or none */
	struct rumpel_context host; /* where enter() was called from */
	struct rumpel_context kernel; /* where the kernel left to the host */
	struct rumpel_caller *request; /* in: whose submitted call to run */
	struct rumpel_caller *interrupt; /* in: whose call to interrupt */
	struct rumpel_caller *done; /* out, with RUMPEL_EXIT_DONE */
	unsigned int exit; /* out: enum rumpel_exit */
	unsigned int more; /* out: other tasks could run now */
	unsigned int notified; /* host: a device wants service */
	unsigned int dying; /* kernel: a fault is being reported */
	unsigned int process; /* host: who runs the kernel */
	/*
	 * The clock by the CPU's cycle counter: less than cycle_limit after
	 * cycle_base it is clock_base + (cycles since then * cycle_mult >> 32).
	 * Otherwise ask host_ops.clock, which sets these (or leaves the limit 0).
	 */
	unsigned long long cycle_base, cycle_limit, cycle_mult, clock_base;
};

/* Memory protection for host_ops.map, as in PROT_*. */
#define RUMPEL_PROT_READ 1
#define RUMPEL_PROT_WRITE 2

/*
 * What the kernel asks of its host. Called on a kernel stack (16 KiB), so
 * implementations are shallow, and they never block. Every call gets `host`.
 */
struct host_ops {
	void *host;
	/* Console output: complete records in /dev/kmsg's format. */
	void (*print)(void *host, const char *text, unsigned long len);
	/* Monotonic time in ns; starts anywhere. */
	unsigned long long (*clock)(void *host);
	/* Let a busy wait of `ns` pass (a virtual clock advances instead). */
	void (*delay)(void *host, unsigned long long ns);
	/* ns since 1970 at this moment. */
	unsigned long long (*realtime)(void *host);
	/*
	 * Map guest memory [pa, pa+len) at va in the range for vmalloc or for callers'
	 * mappings, in place of what was there; no longer map it. 0/-errno
	 */
	int (*map)(void *host, unsigned long va, unsigned long pa, unsigned long len, int prot);
	int (*unmap)(void *host, unsigned long va, unsigned long len);
	/* Device registers: address as in rumpel_boot_params.mmio. */
	unsigned long long (*mmio_read)(void *host, unsigned long addr, unsigned int size);
	void (*mmio_write)(void *host, unsigned long addr, unsigned long long value,
			   unsigned int size);
};

/* One page that is private to each process that holds the kernel. */
union rumpel_private {
	struct host_ops ops;
	char page[4096];
};

struct rumpel_boot_params {
	unsigned long memory; /* host address of guest physical address 0 */
	unsigned long memory_size; /* bytes */
	unsigned long vmalloc; /* reserved host addresses for vmalloc */
	unsigned long vmalloc_size;
	unsigned long mappings; /* reserved host addresses for mmap of callers */
	unsigned long mappings_size;
	unsigned long mmio; /* guest physical address of device slot 0 */
	unsigned int devices; /* slots in use at boot */
	const char *cmdline;
	unsigned char seed[64]; /* initialises the random number generator */
	struct rumpel_caller *init; /* becomes pid 1; DONE(init) ends the boot */
};

/* A fault of the host's MMU while kernel code ran. */
struct rumpel_fault {
	unsigned long ip; /* in: where; out: where to go on */
	unsigned long sp; /* in and out */
	unsigned long bp;
	unsigned long address; /* in: what was touched */
	int signal; /* in: SIGSEGV, SIGBUS, SIGILL, SIGFPE */
	int write; /* in: it was not a read */
};

/* What the exported symbol `rumpel_image` is. */
struct rumpel_image {
	unsigned long long magic;
	unsigned int abi;
	unsigned int page_size;
	const char *release; /* as uname -r */
	const char *banner;
	const void *text_start, *text_end;
	struct rumpel_vcpu *vcpu;
	union rumpel_private *private_page;
	/* Both run on the host's stack and return why the kernel left. */
	unsigned int (*boot)(const struct rumpel_boot_params *params);
	unsigned int (*enter)(void);
	/*
	 * Called from the host's fault handler, on any stack: says where the
	 * thread goes on: in a fix-up (the access returns EFAULT), or in the
	 * kernel's oops path, which ends with RUMPEL_EXIT_PANIC. Returns 0,
	 * or -1 when not even that can be done.
	 */
	int (*fault)(struct rumpel_fault *fault);
};

#endif
