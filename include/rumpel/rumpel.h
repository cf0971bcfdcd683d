/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * librumpel: boot Linux kernels inside a process and call them.
 *
 * Every function returns 0 (or a count) or a negative errno; outputs come
 * last. Nothing is process-wide: all state hangs off the objects below.
 * Every function may be called by any thread, except where a line says
 * otherwise.
 *
 *	struct rumpel_config config = { .image = "linux.so", .memory = 64 << 20 };
 *	struct rumpel_kernel *kernel;
 *	rumpel_boot(&config, &kernel);
 *	long fd = rumpel_syscall(rumpel_kernel_init(kernel), SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0);
 *	rumpel_halt(kernel);
 *	rumpel_kernel_free(kernel);
 */
#ifndef RUMPEL_H
#define RUMPEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RUMPEL_API __attribute__((visibility("default")))
#else
#define RUMPEL_API
#endif

struct rumpel_kernel; /* a booted kernel: one arena, one virtual CPU */
struct rumpel_task; /* a kernel task bound to a caller in the host */
struct rumpel_clock; /* a virtual clock, shared by any number of kernels */
struct rumpel_device; /* a virtio device, host side */
struct rumpel_overlay; /* what is written to a disk, apart from it */
struct rumpel_link; /* a cable between two network devices */

/* ---- boot and halt ---- */

enum rumpel_boot_flags {
	/*
	 * No housekeeper thread: timers and devices are served only while
	 * some thread is in a call of this kernel. Implied by a virtual clock.
	 */
	RUMPEL_BOOT_NO_HOUSEKEEPER = 1 << 0,
};

struct rumpel_config {
	const char *image; /* path of the kernel image */
	uint64_t memory; /* guest memory in bytes; 0: 64 MiB */
	const char *cmdline; /* appended to the runtime's own; may be NULL */
	struct rumpel_clock *clock; /* NULL: the host's clock */
	unsigned int flags; /* enum rumpel_boot_flags */
	int log_fd; /* also write log records here as they appear; 0: no */
	struct rumpel_device **devices; /* owned by the kernel once it boots */
	size_t device_count;
	const char **error; /* if set: a static text that explains a failure */
	/*
	 * Files FILE.0, FILE.1, ... in a directory of the user's, or NULL: the kernel starts from
	 * what an earlier boot of the same image with as much memory has left there, or it boots
	 * and leaves it, if it can. Not with a command line or a virtual clock. The devices come
	 * once the kernel is up. Hash seeds of the boot are the same in all that start from one.
	 */
	const char *snapshot;
};

/*
 * Boots a kernel: on return its pid 1 is ready for calls and /proc, /sys,
 * /dev and /tmp are mounted where the profile has them.
 * -ENOENT, -EACCES...: the image cannot be opened; -ENOEXEC: it is not an
 * image or of another ABI; -EINVAL: a bad configuration; -ENOMEM: no room for
 * the arena; -ENOTRECOVERABLE: the kernel panicked while it booted. In the
 * last case *kernel is set for its log to be read and must be freed.
 */
RUMPEL_API int rumpel_boot(const struct rumpel_config *config, struct rumpel_kernel **kernel);

/*
 * Syncs, unmounts and powers the kernel off. Calls of other threads return
 * -ESHUTDOWN. What cannot be unmounted becomes read-only, so that it is clean.
 * 0; -EALREADY: another thread is at it; -ENOTRECOVERABLE: it panicked, before
 * or now, or a fork could not copy it.
 */
RUMPEL_API int rumpel_halt(struct rumpel_kernel *kernel);

/* Gives everything back; halts nothing (pull of the plug). NULL is fine. */
RUMPEL_API void rumpel_kernel_free(struct rumpel_kernel *kernel);

enum rumpel_state {
	RUMPEL_RUNNING,
	RUMPEL_HALTED,
	RUMPEL_PANICKED,
	RUMPEL_FORKED, /* the fork that made this process could not copy it: only to be freed */
};

/*
 * fork() copies all kernels: the child's are its own. Their devices come along,
 * but for what two processes cannot share: requests to files that are written
 * to fail in the child, sockets of the host have no carrier, consoles no input.
 * Calls of other threads are interrupted in the child, unless they are ASYNC.
 * A kernel that is being halted, or does not come out of a call for three seconds,
 * is not copied. The bare system calls clone and vfork copy nothing.
 */

RUMPEL_API enum rumpel_state rumpel_kernel_state(const struct rumpel_kernel *kernel);
RUMPEL_API const char *rumpel_kernel_release(const struct rumpel_kernel *kernel);
/* ns on the kernel's clock: the host's CLOCK_MONOTONIC or the virtual one. */
RUMPEL_API uint64_t rumpel_kernel_now(struct rumpel_kernel *kernel);
/* Address at which the image's text starts, and the image's link base: for debuggers. */
RUMPEL_API uintptr_t rumpel_kernel_load_address(const struct rumpel_kernel *kernel);

/*
 * Log records from *position on (0: the oldest kept), in the format of
 * /dev/kmsg, whole lines, as much as fits. Advances *position; returns the
 * number of bytes. A record is at most 8 KiB: less room may not do. Works on a
 * dead kernel too.
 */
RUMPEL_API size_t rumpel_log_read(struct rumpel_kernel *kernel, uint64_t *position, char *buffer,
				  size_t size);
/* Waits until there is something behind `position`. 0, -ETIMEDOUT, -EINTR. */
RUMPEL_API int rumpel_log_wait(struct rumpel_kernel *kernel, uint64_t position, int64_t timeout_ns);
/* Ends the waits of all threads that wait so now, with -EINTR. */
RUMPEL_API void rumpel_log_wake(struct rumpel_kernel *kernel);

/* ---- tasks and system calls ---- */

/* pid 1. One thread at a time may use a task. */
RUMPEL_API struct rumpel_task *rumpel_kernel_init(struct rumpel_kernel *kernel);

enum rumpel_task_flags {
	/* A process of its own (descriptor table, directory, signals);
	 * otherwise a thread of pid 1, which shares them. */
	RUMPEL_TASK_PROCESS = 1 << 0,
};

RUMPEL_API int rumpel_task_create(struct rumpel_kernel *kernel, unsigned int flags,
				  struct rumpel_task **task);
/* Ends the kernel task (its open call, if any, is interrupted) and frees it. */
RUMPEL_API void rumpel_task_free(struct rumpel_task *task);
/* pid (really a TID) in the kernel's initial namespace. */
RUMPEL_API int rumpel_task_id(const struct rumpel_task *task);

enum rumpel_submit_flags {
	/* -EAGAIN instead of waiting for another thread to leave the kernel. */
	RUMPEL_SUBMIT_NOWAIT = 1 << 0,
	/* Completion is reported by rumpel_run, not waited for. Comes back as
	 * soon as another asynchronous call has ended, too. */
	RUMPEL_SUBMIT_ASYNC = 1 << 1,
};

/*
 * Hands a system call to the kernel and runs it until it is done or the
 * kernel is idle; never waits for time, devices or other callers.
 * 1: done, *result is set (value or negative errno); 0: in progress.
 * -EBUSY: the task has a call in progress; -ESRCH: the task has exited;
 * -ESHUTDOWN: halted; -ENOTRECOVERABLE: panicked; -EOWNERDEAD: forked.
 */
RUMPEL_API int rumpel_task_submit(struct rumpel_task *task, unsigned int flags, long nr,
				  const unsigned long args[6], long *result);

/*
 * Waits for the task's call, lending the thread to the kernel (as leader or
 * follower). timeout_ns < 0: for ever, measured on the HOST's clock.
 * 1: done; 0: timed out; -EINTR: a signal handler ran in this thread (the
 * call goes on: wait again or cancel it); -EDEADLK: virtual clock, and no
 * timer or other caller can ever end the call; else as for submit.
 */
RUMPEL_API int rumpel_task_wait(struct rumpel_task *task, int64_t timeout_ns, long *result);

/* Interrupts the call in progress, as a signal would: it ends with -EINTR
 * (or with what it had already done). Then wait for it as usual. */
RUMPEL_API int rumpel_task_cancel(struct rumpel_task *task);

/* submit and wait for ever, through host signals: value or negative errno. */
RUMPEL_API long rumpel_syscall(struct rumpel_task *task, long nr, unsigned long a0,
			       unsigned long a1, unsigned long a2, unsigned long a3,
			       unsigned long a4, unsigned long a5);

/* A pointer of the caller's, to find what belongs to a task that rumpel_run reports. */
RUMPEL_API void rumpel_task_set_data(struct rumpel_task *task, void *data);
RUMPEL_API void *rumpel_task_data(const struct rumpel_task *task);

/* ---- event loops ---- */

/*
 * Lends the thread to the kernel until an ASYNC call is done, a descriptor of
 * the host's (fd, or -1) can be read, or the time is over. timeout_ns < 0: for
 * ever; 0: only what can run now; measured on the KERNEL's clock: a virtual one
 * jumps that far at most, and only when no kernel of it can run and fd is not
 * readable. Fills `done` with up to `count` tasks whose results are ready for
 * rumpel_task_wait. Returns their number, -EINTR, -EDEADLK, or as for submit.
 * 0 may come early, on a virtual clock also if a call of another of its kernels
 * is done.
 */
RUMPEL_API int rumpel_run(struct rumpel_kernel *kernel, int64_t timeout_ns, int fd,
			  struct rumpel_task **done, size_t count);

/*
 * A descriptor for poll and the like, the kernel's own (do not read or close
 * it): readable while ASYNC calls are done that rumpel_run has not reported and
 * no thread waits for in rumpel_run. The housekeeper runs the kernel meanwhile;
 * without one call rumpel_run, with timeout 0, at the kernel's deadline.
 */
RUMPEL_API int rumpel_kernel_fd(struct rumpel_kernel *kernel);
/* When the kernel has something to do, in ns on its clock: now, or at its next
 * timer; UINT64_MAX: only if a device or a caller wants something. */
RUMPEL_API uint64_t rumpel_kernel_deadline(struct rumpel_kernel *kernel);

/* ---- memory of mmap ---- */

/*
 * Host code may use what mmap() of a kernel returns as any memory. Pages come when
 * they are touched, through the kernel's own fault handler; where it has none the
 * signal is SIGSEGV or SIGBUS as usual. (System calls of the host do not touch:
 * they return EFAULT for a page that is not there yet.)
 *
 * The addresses are reserved for the life of the kernel, and as long as somebody
 * holds them; they read as zeroes when it is gone.
 */
struct rumpel_mappings;
RUMPEL_API struct rumpel_mappings *rumpel_mappings_hold(struct rumpel_kernel *kernel);
RUMPEL_API void rumpel_mappings_release(struct rumpel_mappings *mappings);

/* ---- virtual time ---- */

/*
 * start_ns: what monotonic clocks read at first; epoch_ns: realtime then.
 * All kernels on one clock are driven by the thread that waits in any of
 * them, in the order in which they booted. The clock jumps only when none of
 * them can run. Use the kernels of one clock from one thread at a time.
 */
RUMPEL_API int rumpel_clock_create(uint64_t start_ns, uint64_t epoch_ns,
				   struct rumpel_clock **clock);
RUMPEL_API void rumpel_clock_free(struct rumpel_clock *clock); /* after its kernels */
RUMPEL_API uint64_t rumpel_clock_now(const struct rumpel_clock *clock);
/* Runs everything due up to `ns`, and sets the clock to it. */
RUMPEL_API int rumpel_clock_advance(struct rumpel_clock *clock, uint64_t until_ns);

/* ---- devices: create, then pass them to rumpel_boot or rumpel_device_plug ---- */

enum rumpel_block_flags {
	RUMPEL_BLOCK_READ_ONLY = 1 << 0,
	RUMPEL_BLOCK_NO_DISCARD = 1 << 1, /* rumpel_block_served: do not offer it */
};

/* A file or block device of the host as disk. A flush is an fdatasync. */
RUMPEL_API int rumpel_block_file(const char *path, unsigned int flags,
				 struct rumpel_device **device);
/* `size` bytes of memory as disk; with data != NULL the caller's own
 * buffer, which must outlive the kernel, else zeroes. */
RUMPEL_API int rumpel_block_memory(void *data, size_t size, unsigned int flags,
				   struct rumpel_device **device);

/*
 * What a server of NBD has, as disk. fd: a stream socket, which is duplicated,
 * after the handshake; size and flags (the transmission flags) are what the
 * server said in it. With a virtual clock the server must not be a thread that
 * waits for the one that drives the clock.
 */
RUMPEL_API int rumpel_block_nbd(int fd, uint64_t size, unsigned int flags,
				struct rumpel_device **device);

struct rumpel_block_server; /* the program's end of a disk that it serves itself */

enum rumpel_block_op {
	RUMPEL_BLOCK_READ,
	RUMPEL_BLOCK_WRITE,
	RUMPEL_BLOCK_FLUSH,
	RUMPEL_BLOCK_DISCARD,
	RUMPEL_BLOCK_ZERO,
};

struct rumpel_block_io {
	enum rumpel_block_op op;
	uint64_t offset, len; /* bytes, on the disk, in whole blocks */
	void *request; /* the runtime's */
};

/*
 * A disk whose requests the program takes and ends itself. block_size: the unit
 * of transfers, 512 to 4096. ready: called, with a virtual clock only, when
 * there are requests, which must have ended when it returns; it must not use
 * the kernel. The server is freed apart from the device.
 */
RUMPEL_API int rumpel_block_served(uint64_t size, uint32_t block_size, unsigned int flags,
				   void (*ready)(void *context), void *context,
				   struct rumpel_block_server **server,
				   struct rumpel_device **device);
/* Takes up to `count` requests, without waiting or once there are some. Their
 * number; -ESHUTDOWN: the kernel is gone. */
RUMPEL_API int rumpel_block_take(struct rumpel_block_server *server, bool wait,
				 struct rumpel_block_io *ios, size_t count);
/* Copies what is to be written. -ECANCELED: nobody wants it any more. */
RUMPEL_API int rumpel_block_io_data(const struct rumpel_block_io *io, void *data);
/* Ends a request; data: what was read. error: 0 or a negative errno, of which
 * the driver learns -EOPNOTSUPP, and that it failed. */
RUMPEL_API void rumpel_block_io_end(const struct rumpel_block_io *io, const void *data, int error);
/* As if the disk had died: all requests fail, also those that were taken. */
RUMPEL_API void rumpel_block_fail(struct rumpel_block_server *server);
RUMPEL_API void rumpel_block_server_free(struct rumpel_block_server *server);

/*
 * A copy-on-write overlay over a file or block device `base`, which is only
 * read, or over another overlay `below` (then base is its file's name, or
 * NULL). What is written goes to `file`, a qcow2 file that is made if it does
 * not exist or is empty; NULL: to memory. A device, or an overlay above, holds
 * it. -EBUSY: a disk uses the base or the file; -ESTALE: the base is not what
 * it was when the file was made; *why (static) explains, or is NULL. In the
 * child of a fork an overlay stays with the parent: all but free is -EBUSY there.
 */
RUMPEL_API int rumpel_overlay_open(const char *base, struct rumpel_overlay *below, const char *file,
				   struct rumpel_overlay **overlay, const char **why);
/* A base that a server of NBD reads, and for commit writes. */
struct rumpel_overlay_nbd {
	int fd; /* as for rumpel_block_nbd */
	uint64_t size;
	unsigned int flags;
	const char *format; /* of the base, as QEMU names it */
};
/* The same over such a base; `base` is the name of its file, or NULL. Who serves
 * it locks it. */
RUMPEL_API int rumpel_overlay_open_nbd(const struct rumpel_overlay_nbd *nbd, const char *base,
				       const char *file, struct rumpel_overlay **overlay,
				       const char **why);
/* Syncs, too, but has no way to say that it failed. */
RUMPEL_API void rumpel_overlay_free(struct rumpel_overlay *overlay);
/* All that was written so far is in the file, also after a crash. */
RUMPEL_API int rumpel_overlay_sync(struct rumpel_overlay *overlay);
/* Puts what was written into the base and empties the overlay; throws it away.
 * -EBUSY: a kernel has it as disk, or another overlay lies above. */
RUMPEL_API int rumpel_overlay_commit(struct rumpel_overlay *overlay);
RUMPEL_API int rumpel_overlay_discard(struct rumpel_overlay *overlay);
/* The overlay as disk; for one device at a time (-EBUSY). */
RUMPEL_API int rumpel_block_overlay(struct rumpel_overlay *overlay, struct rumpel_device **device);

/*
 * Network interfaces. mac NULL: a locally administered one is made up, at random.
 * On a virtual clock those of links and callbacks are the same in every run,
 * from the order in which the clock's kernels booted and the device's slot.
 * mtu 0: 1500.
 */
enum rumpel_net_flags {
	/* Checksums and segmentation are the kernel's: plain frames only. */
	RUMPEL_NET_NO_OFFLOADS = 1 << 0,
	/* Of AF_XDP: by the host's network stack, also if the driver could. */
	RUMPEL_NET_XDP_GENERIC = 1 << 1,
};

/*
 * Frames go to and come from a socket, which is duplicated. SOCK_SEQPACKET or
 * SOCK_DGRAM: one frame a message; SOCK_STREAM, which must be connected: each
 * frame behind its length in four bytes, most significant first, as QEMU's
 * "-netdev stream" and passt have it.
 */
RUMPEL_API int rumpel_net_fd(int fd, const uint8_t mac[6], unsigned int mtu,
			     struct rumpel_device **device);
/* Two interfaces joined by a cable, with offloads kept across it.
 * delay_ns: propagation delay each way. */
RUMPEL_API int rumpel_net_link(uint64_t delay_ns, unsigned int mtu, const uint8_t mac0[6],
			       const uint8_t mac1[6], struct rumpel_device *device[2]);

enum rumpel_directory_flags {
	RUMPEL_DIRECTORY_READ_ONLY = 1 << 0,
};

/*
 * A directory of the host, to be mounted as virtiofs by its tag (up to 36
 * bytes). Nothing outside of it can be reached. Files are made as this
 * process's user, who is root in the kernel. valid_ns: how long the kernel may
 * believe names and attributes that it knows; 0: it asks each time.
 */
RUMPEL_API int rumpel_host_directory(const char *path, const char *tag, unsigned int flags,
				     uint64_t valid_ns, struct rumpel_device **device);

enum rumpel_unix_flags {
	RUMPEL_UNIX_LISTEN = 1 << 0, /* instead of connecting: one peer at a time */
};

/*
 * The same over a unix socket of type SOCK_STREAM. When the peer goes away, or
 * was not there yet, the next one is accepted, or it is tried to connect every
 * again_ns (0: never; then there must be one now). A path that begins with "@"
 * is an abstract address.
 */
RUMPEL_API int rumpel_net_unix(const char *path, unsigned int flags, uint64_t again_ns,
			       const uint8_t mac[6], unsigned int mtu,
			       struct rumpel_device **device);
/* Over unix datagram sockets, one frame each, as QEMU's "-netdev dgram". The
 * peer may come and go. */
RUMPEL_API int rumpel_net_datagram(const char *local, const char *peer, const uint8_t mac[6],
				   unsigned int mtu, struct rumpel_device **device);

/*
 * A port of a VDE switch: the directory with its sockets, a port number (0:
 * any) and what the switch's list of ports says of it. -ETIMEDOUT: the switch
 * does not answer, as if it has no such port.
 */
RUMPEL_API int rumpel_net_vde(const char *path, unsigned int port, const char *description,
			      const uint8_t mac[6], unsigned int mtu,
			      struct rumpel_device **device);

enum rumpel_tap_flags {
	RUMPEL_TAP_PERSIST = 1 << 0, /* it stays when the descriptor is closed */
};

/*
 * Makes a TAP device in the host's network namespace that this thread is in,
 * or attaches to one. name: may be "" or a pattern such as "tap%d". Returns a
 * descriptor. -EPERM; -EBUSY: somebody else is attached to it; -EINVAL: the
 * name is that of another kind of interface.
 */
RUMPEL_API int rumpel_tap_open(const char *name, unsigned int flags, char actual[16]);
/*
 * An interface with the descriptor of a TAP device at its other end (duplicated;
 * it becomes non-blocking). mtu 0: as the TAP device. -EPROTOTYPE: it is not
 * IFF_TAP with IFF_NO_PI. Without IFF_VNET_HDR there are no offloads.
 */
RUMPEL_API int rumpel_net_tap(int fd, unsigned int flags, const uint8_t mac[6], unsigned int mtu,
			      struct rumpel_device **device);

/*
 * An interface that is one more station on the network of an interface of the
 * host, by name, in the host's network namespace that this thread is in. mtu 0:
 * as that interface. -EPROTOTYPE: it does not carry Ethernet.
 */
RUMPEL_API int rumpel_net_packet(const char *interface, unsigned int flags, const uint8_t mac[6],
				 unsigned int mtu, struct rumpel_device **device);

/* Who leads frames away from an interface of the host, from the slowest to the fastest. */
enum rumpel_xdp_mode {
	RUMPEL_XDP_GENERIC, /* the host's network stack */
	RUMPEL_XDP_NATIVE, /* the interface's driver */
	RUMPEL_XDP_ZEROCOPY, /* the hardware, right into memory of this process */
};

/*
 * An interface that takes over a queue of an interface of the host (AF_XDP): what
 * comes there comes here and not to the host, which has it back when the device is freed
 * or the process ends. mtu 0: as that interface. -EPERM: takes CAP_NET_RAW, CAP_NET_ADMIN and
 * CAP_BPF; -EPROTOTYPE: it does not carry Ethernet; -EBUSY: an XDP program or another
 * socket has it; -ECHRNG: it has no such queue; -EMSGSIZE: the MTU is over 3,818; -ENOBUFS:
 * RLIMIT_MEMLOCK; -EAFNOSUPPORT: the host has no AF_XDP.
 */
RUMPEL_API int rumpel_net_xdp(const char *interface, unsigned int queue, unsigned int flags,
			      const uint8_t mac[6], unsigned int mtu, enum rumpel_xdp_mode *mode,
			      struct rumpel_device **device);

/* Frames that a kernel sends, without offloads; they are gone when this returns. */
typedef void rumpel_net_transmit(void *opaque, const struct iovec *frames, size_t count);
/*
 * An interface with a function at its other end. It is called by a thread of
 * the interface's own, which may take its time and call any kernel. With a
 * virtual clock it is called at once instead, by the thread that runs the
 * kernel: then it must not call kernels of that clock (-EDEADLK).
 */
RUMPEL_API int rumpel_net_callback(rumpel_net_transmit *transmit, void *opaque,
				   const uint8_t mac[6], unsigned int mtu,
				   struct rumpel_device **device);
/*
 * Frames for the kernel that has this interface of rumpel_net_callback; also
 * from inside transmit(). Returns how many were taken: there is no room for
 * the others, or they are no frames. -ENETDOWN: it is in no kernel yet.
 */
RUMPEL_API int rumpel_net_receive(struct rumpel_device *device, const struct iovec *frames,
				  size_t count);

/* How packets lie in a stream of bytes: one a line of text, or as in files of captures. */
enum rumpel_packets {
	RUMPEL_PACKETS_ANY, /* reading: as the first bytes say */
	RUMPEL_PACKETS_TEXT,
	RUMPEL_PACKETS_PCAP,
	RUMPEL_PACKETS_PCAPNG,
	/* Between kernels only, and never detected: the length of what follows (32 bits),
	 * the header of virtio-net, the frame. So checksums and segments may be left to
	 * the next one. */
	RUMPEL_PACKETS_VIRTIO,
};

/* Ethernet frames in such streams. */
#define RUMPEL_FRAME_MIN 14
#define RUMPEL_FRAME_MAX (65535 + 14 + 8)

#define RUMPEL_PACKET_SUMMARY 320
/* Says what an Ethernet frame is, in at most RUMPEL_PACKET_SUMMARY bytes: their number. */
RUMPEL_API size_t rumpel_packet_summary(const void *frame, size_t len, char *text);

enum rumpel_packet_kind {
	RUMPEL_PACKET_MORE, /* bytes are lacking */
	RUMPEL_PACKET_FRAME,
	RUMPEL_PACKET_OTHER, /* a line that is no packet */
	RUMPEL_PACKET_NOTHING, /* of no interest */
	RUMPEL_PACKET_BAD, /* skipped: `why` says what is wrong with it */
	RUMPEL_PACKET_LOST, /* and nothing behind it can be read */
};

struct rumpel_packet {
	const char *data;
	size_t len;
	size_t used; /* bytes of the stream that this took */
	uint64_t time; /* in nanoseconds, from wherever the writer counts */
	char direction; /* '>' or '<'; captures do not tell: '>' */
	const char *header; /* RUMPEL_PACKETS_VIRTIO: before the frame */
	const char *why;
};

#define RUMPEL_PACKET_INTERFACES 64

/* Zeroed at first, but for the format. */
struct rumpel_packet_reader {
	enum rumpel_packets format; /* RUMPEL_PACKETS_ANY: as the first bytes will say */
	bool begun; /* the file's header has been read */
	bool swapped; /* byte order */
	bool micro; /* a pcap's times are in microseconds */
	bool skipping; /* the rest of a line that was too long */
	uint64_t count; /* lines or packets so far */
	unsigned int interfaces; /* of a pcapng section */
	uint64_t foreign; /* a bit for each of these that is not Ethernet */
	uint8_t resolution[RUMPEL_PACKET_INTERFACES]; /* of their times: if_tsresol */
};

/*
 * What is at the start of `bytes`? Writes there: hexadecimal digits become the
 * frame. end: no more bytes will come.
 */
RUMPEL_API enum rumpel_packet_kind rumpel_packet_read(struct rumpel_packet_reader *reader,
						      char *bytes, size_t len, bool end,
						      struct rumpel_packet *found);

/* What a stream begins with, at most RUMPEL_PACKETS_BEGIN bytes: their number. */
#define RUMPEL_PACKETS_BEGIN 256
RUMPEL_API size_t rumpel_packets_begin(enum rumpel_packets format, char *out);

/* A frame, at most RUMPEL_PACKET_BYTES of its length: their number. */
#define RUMPEL_PACKET_BYTES(len) (2 * (len) + RUMPEL_PACKET_SUMMARY + 64)
#define RUMPEL_PACKET_LONGEST RUMPEL_PACKET_BYTES(RUMPEL_FRAME_MAX)
RUMPEL_API size_t rumpel_packet_write(enum rumpel_packets format, char *out, uint64_t now,
				      char direction, const char *frame, size_t len);

enum rumpel_pipe_event {
	RUMPEL_PIPE_END = 'e', /* the input has ended; all of it is with the driver */
	RUMPEL_PIPE_DAMAGED = 'd', /* so has what can be read of it */
	RUMPEL_PIPE_BROKEN = 'b', /* nobody reads the output any more */
	RUMPEL_PIPE_DONE = 'w', /* all was written, and the output closed, as asked for */
};

#define RUMPEL_PIPE_NAME 32

struct rumpel_pipe {
	int in, out; /* descriptors (duplicated), or -1 */
	int events; /* a byte for each enum rumpel_pipe_event is written here; or -1 */
	int report; /* a line for each packet that cannot be read goes here; or -1 */
	const char *name; /* of the reader, in these lines */
	enum rumpel_packets read, write;
	int shared; /* a memfd for frames, which the other end has, too; or 0 */
	bool backward; /* what is written goes "<", not ">" */
	bool paused; /* nothing is read before rumpel_net_pipe_resume() */
};

/*
 * Frames come from one descriptor and go to another, so that a kernel is a
 * filter between pipes. When a side is slow, the other one waits. With `shared`
 * both are the same end of a pair of sockets, whose other end has the memory, too,
 * and the other value of `backward`, and both formats are RUMPEL_PACKETS_VIRTIO;
 * else it is -EINVAL.
 */
RUMPEL_API int rumpel_net_pipe(const struct rumpel_pipe *config, const uint8_t mac[6],
			       unsigned int mtu, struct rumpel_device **device);
RUMPEL_API int rumpel_net_pipe_resume(struct rumpel_device *device);
/* Closes the output, once all is written that the kernel has sent: see RUMPEL_PIPE_DONE. */
RUMPEL_API int rumpel_net_pipe_end(struct rumpel_device *device);

RUMPEL_API int rumpel_entropy(struct rumpel_device **device);
/* hvc0: bytes to and from a descriptor, which is duplicated. */
RUMPEL_API int rumpel_console(int fd, struct rumpel_device **device);

/*
 * Stream sockets of AF_VSOCK between the kernel, whose context identifier is cid
 * (from 3 on), and programs of the host, which is 2. A program connects to the unix
 * socket `path`, writes "CONNECT port\n", and reads "OK number\n" once it is connected
 * to that port of the kernel, or the end. What the kernel connects to at a port of the
 * host is who listens to the unix socket `path`_port. One for a kernel.
 */
RUMPEL_API int rumpel_vsock(const char *path, uint32_t cid, struct rumpel_device **device);

/*
 * Gives a device to a kernel that runs; on return its driver has it, and the
 * kernel owns it. -EBUSY: it has a kernel; -ENOSPC: the kernel has no slot left;
 * -ENODEV: no driver; or the kernel's own errors.
 */
RUMPEL_API int rumpel_device_plug(struct rumpel_kernel *kernel, struct rumpel_device *device);
/*
 * Takes a device away, whatever it is doing: the driver finishes what is under
 * way, a file system on it gives EIO from then on. On return the device is the
 * caller's. -ENODEV: it is not this kernel's (or just goes).
 */
RUMPEL_API int rumpel_device_unplug(struct rumpel_kernel *kernel, struct rumpel_device *device);

/*
 * Another size for a disk: of a file, which is made so long, or of memory that is
 * the device's. The kernel hears of it. -EINVAL: no disk, or not a size;
 * -EOPNOTSUPP: its size is fixed; -EROFS.
 */
RUMPEL_API int rumpel_block_resize(struct rumpel_device *device, uint64_t size);
/*
 * Plugs the cable of a network interface in or out: down, frames are lost. A driver
 * only looks for the link's state if this has been called before a kernel got the
 * interface (true will do); otherwise -EOPNOTSUPP. Then Linux has the link up a moment
 * after the interface is, as with any card: a frame that is sent at once may be lost.
 */
RUMPEL_API int rumpel_net_set_link(struct rumpel_device *device, bool up);

/* Only for devices that no kernel has taken. */
RUMPEL_API void rumpel_device_free(struct rumpel_device *device);
/* The device's counters: frames or requests, and bytes, each way. */
struct rumpel_device_stats {
	uint64_t in, in_bytes, out, out_bytes, errors, dropped;
};
RUMPEL_API void rumpel_device_stats(const struct rumpel_device *device,
				    struct rumpel_device_stats *stats);
/*
 * Two cables or pipes, before they have a kernel, which must be the same: what
 * comes in on one goes out on the other. While that cannot go out, no more is
 * taken, so that none is lost in between. Lines of text that are no packets go
 * straight through.
 */
RUMPEL_API int rumpel_net_join(struct rumpel_device *device, struct rumpel_device *other);
/* Do frames that the kernel has sent wait for whoever is to take them? */
RUMPEL_API bool rumpel_net_is_stalled(const struct rumpel_device *device);
enum rumpel_capture_flags {
	RUMPEL_CAPTURE_PCAPNG = 1 << 0, /* instead of pcap */
	RUMPEL_CAPTURE_REALTIME = 1 << 1, /* times since 1970; for a kernel on the host's clock */
};
/*
 * Write all frames that pass the interface to a file in pcap format (with
 * times of the kernel's clock, ns). The descriptor is duplicated; -1 stops, and
 * returns why not all could be written (a reader that is gone is no such reason).
 * name: what a pcapng file calls the interface; may be NULL.
 */
RUMPEL_API int rumpel_net_capture(struct rumpel_device *device, int fd, unsigned int flags,
				  const char *name);

#ifdef __cplusplus
}
#endif
#endif
