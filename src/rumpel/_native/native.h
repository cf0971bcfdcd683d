/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rumpel._native: Python's view of rumpel.h.
 *
 * module.c   the module, its state and its types
 * error.c    the one place where errors of the runtime become exceptions
 * args.c     Python arguments to system call arguments
 * call.c     a system call as a Python callable; running and interrupting it
 * pending.c  system calls that nobody waits for, and who is told of their ends
 * task.c     tasks, and which of them is the calling thread's
 * kernel.c   kernels
 * clock.c    virtual clocks
 * vector.c   arrays of struct iovec
 * device.c   devices, before and after a kernel takes them
 * mapping.c  memory that mmap() of a kernel returned
 * block.c    making disks
 * net.c      making network interfaces
 * pipe.c     those on streams of packets
 * packet.h   packets for Python, and the files that make them
 * callback.c those that are Python objects
 * overlay.c  copy-on-write overlays
 * directory.c  directories of the host
 * files.h    small files, many at a time
 * fuse.h     a server of FUSE
 * served.c   disks that Python serves
 * usernet.c  user-mode networks
 * slirp.c    what drives them, and needs libslirp
 * confine.c  what a process does to itself before it runs what it does not trust
 * fork.c     what of all this the child of a fork has to put right
 *
 * The fields of all objects are guarded by the interpreter's lock. A kernel is
 * freed once nobody is inside a call of it: see struct Kernel.users.
 */
#ifndef RUMPEL_NATIVE_H
#define RUMPEL_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <stdbool.h>

#include <rumpel/rumpel.h>

#define NATIVE_HEADERS 9 /* of packets */

struct native_state {
	PyTypeObject *kernel_type;
	PyTypeObject *task_type;
	PyTypeObject *call_type;
	PyTypeObject *pending_type;
	PyTypeObject *slot_type;
	PyTypeObject *clock_type;
	PyTypeObject *device_type;
	PyTypeObject *vector_type;
	PyTypeObject *usernet_type;
	PyTypeObject *overlay_type;
	PyTypeObject *server_type;
	PyTypeObject *io_type;
	PyTypeObject *mapping_type;
	PyTypeObject *fuse_server_type;
	PyTypeObject *fuse_node_type;
	PyTypeObject *packet_type;
	PyTypeObject *packet_reader_type;
	PyTypeObject *header_types[NATIVE_HEADERS]; /* by enum layer: see packet.h */
	PyObject *errors; /* the module rumpel.errors */
	PyObject *slots_key; /* of a thread's dictionary of slots */
	unsigned long long booted; /* kernels so far: numbers them */
	struct Kernel *kernels; /* all there are */
};

extern struct PyModuleDef native_module;

typedef struct Task Task;
typedef struct Pending Pending;

typedef struct Kernel {
	PyObject_HEAD
	struct rumpel_kernel *handle; /* NULL: closed */
	struct native_state *state;
	unsigned long long serial;
	/* The task of the thread that called last; both borrowed. */
	unsigned long cached_thread;
	Task *cached_task;
	Task *tasks; /* all that are bound to this kernel */
	PyObject *image; /* its path, as bytes */
	PyObject *clock; /* Clock or NULL: must outlive the kernel */
	PyObject *pins; /* list of buffers that devices use */
	bool has_housekeeper;
	bool panic_told; /* some call has raised KernelPanic */
	unsigned int users; /* threads that are inside the runtime */
	bool closing; /* to be freed by the last user */
	struct Kernel *next, **link; /* in state->kernels */
} Kernel;

struct Task {
	PyObject_HEAD
	struct rumpel_task *handle; /* NULL: freed */
	struct native_state *state;
	Kernel *kernel; /* NULL once the kernel is freed */
	Task *next, **link; /* in kernel->tasks */
	Task *spare; /* for a call from a signal handler of Python's */
	Task *previous; /* what the thread had before __enter__ */
	Pending *pending; /* the asynchronous call in progress */
	/* It was reported before there was an object for it. */
	bool early;
	int early_status;
	long early_result;
	bool holds_kernel; /* `kernel` is a reference of its own */
	bool is_init;
	bool is_process; /* with descriptors of its own */
	bool busy;
	bool shut; /* interrupted by a kernel that closes, and freed with it */
	unsigned long thread; /* whose call is in progress, if it is a long one */
};

/* What the calls of one system call have in common. */
enum call_shape {
	SHAPE_PLAIN, /* arguments as they are */
	SHAPE_READ, /* (fd, size, ...) -> bytes */
	SHAPE_WRITE, /* (fd, buffer, ...) -> count */
	SHAPE_READINTO, /* (fd, writable buffer, ...) -> count */
};

enum call_flags {
	CALL_LONG = 1 << 0, /* give up the interpreter's lock at once */
	CALL_VOID = 1 << 1, /* returns None */
	CALL_NUMBERS = 1 << 2, /* what is no path has to be a number of 32 bits */
};

/* Above this many bytes a call gives up the interpreter's lock at once. */
#define CALL_LONG_SIZE (16 << 10)

#define CALL_ARGS 6

/* Converted arguments and what keeps them in place. */
struct call_args {
	unsigned long raw[CALL_ARGS];
	Py_buffer buffers[CALL_ARGS];
	PyObject *encoded[CALL_ARGS];
	int buffer_count, encoded_count;
	PyObject *filename, *filename2;
	Kernel *kernel; /* borrowed: whose paths these are */
};

typedef struct {
	PyObject_HEAD
	vectorcallfunc vectorcall;
	Kernel *kernel;
	Task *task; /* NULL: the calling thread's */
	PyObject *name;
	long nr;
	int least, most; /* number of arguments */
	int size; /* which argument is a size in bytes, or -1 */
	unsigned int flags;
	unsigned int paths; /* bit i: argument i is a path */
	unsigned int wide; /* bit i: argument i is a number of 64 bits */
	enum call_shape shape;
} Call;

void args_init(struct call_args *args, Kernel *kernel);
int args_convert(struct call_args *args, int index, PyObject *value, bool path);
int args_buffer(struct call_args *args, int index, PyObject *value, bool writable,
		Py_ssize_t *size);
void args_release(struct call_args *args);
void error_of_buffer(PyObject *value, int index, bool writable);

/* error.c: all return with an exception set. */
int error_of_call(const struct call_args *args, long result);
int error_of_kernel(Kernel *kernel, int error);
int error_of_task(Kernel *kernel, int error);
int error_of_boot(Kernel *kernel, int error, const char *image, const char *explanation);
int error_of_device(int error, const char *what, PyObject *filename);
int error_closed(Kernel *kernel);

/* task.c */
Task *task_current(Kernel *kernel);
int task_in_process(Kernel *kernel);
Task *task_of_thread(Kernel *kernel, unsigned long thread);
Task *task_wrap(Kernel *kernel, struct rumpel_task *handle, bool holds_kernel);
void task_detach(Task *task);
int task_check(Task *task);
int slot_set(Kernel *kernel, Task *task, Task **previous);

/* call.c */
int call_run(Task *task, unsigned int flags, long nr, const unsigned long raw[CALL_ARGS],
	     long *result);
int call_convert(const Call *call, struct call_args *args, PyObject *const *given, Py_ssize_t count,
		 PyObject **bytes);
unsigned int call_flags(const Call *call, const struct call_args *args);
PyObject *call_value(const Call *call, const struct call_args *args, PyObject **bytes, long result);
bool call_has_exited(Task *task);
PyObject *call_new(Kernel *kernel, Task *task, PyObject *args, PyObject *keywords);

/* pending.c */
PyObject *task_submit(PyObject *self, PyObject *const *given, Py_ssize_t count);
PyObject *kernel_run(PyObject *self, PyObject *args);
/* The task's kernel is gone, and has ended the call. */
void pending_detach(Pending *pending);

/* kernel.c */
PyObject *kernel_boot(PyObject *module, PyObject *args, PyObject *keywords);
void kernel_enter(Kernel *kernel);
void kernel_leave(Kernel *kernel);
/* 0, or -1 and an exception: this thread is inside a callback of a kernel on a virtual clock. */
int kernel_check_outside(Kernel *kernel);
void kernel_forked(Kernel *kernel);
/* callback.c: around a function that a kernel calls; callback_end gets what it returned. */
bool callback_begin(void);
void callback_end(bool before);
PyObject *kernel_log_all(Kernel *kernel, unsigned long long *position);

/* directory.c, served.c */
PyObject *host_directory(PyObject *module, PyObject *args);
PyObject *block_served(PyObject *module, PyObject *args);
/* fork.c */
int fork_watch(PyObject *module);

/* clock.c, device.c */
struct rumpel_clock *clock_handle(struct native_state *state, PyObject *clock);
int devices_take(Kernel *kernel, PyObject *devices, struct rumpel_device ***handles);
void devices_taken(Kernel *kernel, PyObject *devices);
PyObject *net_callback(PyObject *module, PyObject *args);
int mac_of(PyObject *value, const uint8_t **mac);
PyObject *device_receive(PyObject *self, PyObject *frames);
struct rumpel_device *device_handle(PyObject *device);
PyObject *kernel_plug(PyObject *self, PyObject *argument);
PyObject *kernel_unplug(PyObject *self, PyObject *argument);
PyObject *device_wrap(PyObject *module, struct rumpel_device *handle, PyObject *pin);

extern PyType_Spec kernel_spec, task_spec, call_spec, pending_spec, slot_spec, clock_spec,
	device_spec, vector_spec, usernet_spec, overlay_spec, server_spec, io_spec, mapping_spec,
	fuse_server_spec, fuse_node_spec, packet_spec, packet_reader_spec,
	header_specs[NATIVE_HEADERS];
extern PyMethodDef device_functions[], block_functions[], net_functions[], pipe_functions[],
	fork_functions[], packets_functions[], confine_functions[], files_functions[];

static inline struct native_state *native_state(PyTypeObject *type)
{
	return PyModule_GetState(PyType_GetModuleByDef(type, &native_module));
}

static inline PyObject *refer(void *object)
{
	return Py_NewRef((PyObject *)object);
}

#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

#endif
