/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the runtime know of a kernel. Devices use the functions
 * under "services for devices" and nothing else of it.
 */
#ifndef RUMPEL_RUNTIME_KERNEL_H
#define RUMPEL_RUNTIME_KERNEL_H

#include <rumpel/host_ops.h>
#include <rumpel/rumpel.h>

/* ---- services for devices ---- */

/*
 * Host address of guest physical memory [pa, pa+len), or NULL where that is
 * not RAM of this guest: rings are hostile until checked.
 */
void *rumpel_guest_memory(struct rumpel_kernel *kernel, uint64_t pa, uint64_t len);

/*
 * Raises the interrupt of a device slot. Any thread, token or not: sets the
 * bit and, if nobody runs the kernel, wakes somebody who will.
 */
void rumpel_kernel_interrupt(struct rumpel_kernel *kernel, unsigned int slot);
/*
 * The same for what the kernel `by` sends to a neighbour, which `kernel` is, and is not
 * freed meanwhile: the holder of the token of `by` may run the neighbour himself when he
 * leaves. `by` may be NULL.
 */
void rumpel_kernel_interrupt_by(struct rumpel_kernel *by, struct rumpel_kernel *kernel,
				unsigned int slot);

/*
 * A piece of work that may block (file input and output). run() is called on
 * a host stack without the token, by whichever thread of the kernel has time,
 * one job at a time per thread; with a virtual clock, at once. run() owns the
 * job and usually ends with rumpel_kernel_interrupt.
 */
struct rumpel_job {
	struct rumpel_job *next;
	void (*run)(struct rumpel_job *job);
};
void rumpel_kernel_defer(struct rumpel_kernel *kernel, struct rumpel_job *job);
/* Jobs may run while callers do: there is more than one CPU. */
bool rumpel_kernel_has_cpus(void);

/*
 * A host descriptor to watch: when `events` (POLLIN, POLLOUT) are there,
 * ready() is called on a host stack by the holder of the token. It should
 * take all there is and raise its interrupt. events may be changed by the
 * holder of the token (0: do not watch now).
 *
 * look() (may be NULL) is called in the same way before anybody sleeps, for what
 * the descriptor tells only those who sleep. It takes that; false: there was nothing.
 */
struct rumpel_watch {
	struct rumpel_watch *next;
	int fd;
	short events;
	short polled; /* the runtime's: what the sleeping leader waits for */
	void (*ready)(struct rumpel_watch *watch, short revents);
	bool (*look)(struct rumpel_watch *watch);
};
void rumpel_kernel_watch(struct rumpel_kernel *kernel, struct rumpel_watch *watch);
void rumpel_kernel_unwatch(struct rumpel_kernel *kernel, struct rumpel_watch *watch);

/*
 * A one-shot timer on the kernel's clock (host or virtual). fire() is called
 * on a host stack by the holder of the token. Arming an armed timer moves it.
 */
struct rumpel_timer {
	struct rumpel_timer *next;
	uint64_t deadline; /* ns; RUMPEL_NO_DEADLINE: not armed */
	void (*fire)(struct rumpel_timer *timer);
};
void rumpel_timer_arm(struct rumpel_kernel *kernel, struct rumpel_timer *timer, uint64_t deadline);

/* True if the kernel lives on a virtual clock: everything is then done at
 * once and in a fixed order, so that runs are identical. */
bool rumpel_kernel_is_virtual(const struct rumpel_kernel *kernel);
/*
 * In the child of a fork, false: no copy of this kernel could be made. Its
 * memory may still be the parent's, so nothing may be answered.
 */
bool rumpel_kernel_is_copied(const struct rumpel_kernel *kernel);
/* Which of the kernels that ever booted on its virtual clock, from 1; 0: the host's clock. */
uint64_t rumpel_kernel_number(const struct rumpel_kernel *kernel);

/* A fork of the process, for a device. */
enum rumpel_fork {
	RUMPEL_FORK_PREPARE, /* take the locks that other threads use without the token */
	RUMPEL_FORK_PARENT, /* give them back */
	/*
	 * In the child, where of all threads only this one is: give them back.
	 * What two processes cannot share (a descriptor with one reader, a file
	 * that is written to) stays with the parent; work that was deferred and
	 * has not ended is deferred again.
	 */
	RUMPEL_FORK_CHILD,
};

/*
 * A device as the kernel's slots see it. The first member of every device
 * model's own struct; virtio/mmio.c fills ops for all virtio devices.
 */
struct rumpel_device_ops {
	/* Register access from a kernel stack: shallow, never blocks. */
	uint64_t (*mmio_read)(struct rumpel_device *device, unsigned int offset, unsigned int size);
	void (*mmio_write)(struct rumpel_device *device, unsigned int offset, uint64_t value,
			   unsigned int size);
	/* Host stack, token held: serve the queues that were notified. */
	void (*service)(struct rumpel_device *device);
	/* The kernel has taken the device: slot and kernel are set. */
	int (*attach)(struct rumpel_device *device);
	/* Token held, or the kernel is gone: it takes its hands off all of it. */
	void (*detach)(struct rumpel_device *device);
	/* After that, without the token: waits for what others are still at. */
	void (*finish)(struct rumpel_device *device);
	void (*free)(struct rumpel_device *device);
	void (*stats)(const struct rumpel_device *device, struct rumpel_device_stats *stats);
	/* Token held: a request to a disk or a directory is not answered yet. */
	bool (*is_busy)(struct rumpel_device *device);
	/* Token held; may be NULL. */
	void (*fork)(struct rumpel_device *device, enum rumpel_fork stage);
};

struct rumpel_device {
	const struct rumpel_device_ops *ops;
	struct rumpel_kernel *kernel;
	unsigned int slot;
	bool leaves; /* is about to be unplugged */
	bool notified; /* atomic; see rumpel_device_notify */
	bool lost; /* this process is a fork, and the device stayed with the parent */
};

/*
 * Have service() called soon, on a host stack. From mmio_write, or from any
 * thread (a job, the other end of a link): then, as with an interrupt, if
 * nobody runs the kernel somebody who will is woken.
 */
void rumpel_device_notify(struct rumpel_device *device);
/* As rumpel_kernel_interrupt_by. */
void rumpel_device_notify_by(struct rumpel_kernel *by, struct rumpel_device *device);

#endif
