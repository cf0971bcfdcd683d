// SPDX-License-Identifier: GPL-2.0-only
/* Kernels: boot, halt, log, and when the memory goes. */
#include "native.h"

static void detach_all(Kernel *kernel)
{
	Task *task;

	while ((task = kernel->tasks)) {
		/* Another thread may let go of it meanwhile. */
		Py_INCREF(task);
		task_detach(task);
		Py_DECREF(task);
	}
}

/* The last one out frees a kernel that was closed meanwhile. */
static void release(Kernel *kernel)
{
	struct rumpel_kernel *handle;

	if (!kernel->handle || kernel->users)
		return;
	/* A thread that ends frees its task at the same time: then it comes here, too. */
	kernel->users++;
	detach_all(kernel);
	if (--kernel->users)
		return;
	handle = kernel->handle;
	kernel->handle = NULL;
	Py_BEGIN_ALLOW_THREADS
	rumpel_kernel_free(handle);
	Py_END_ALLOW_THREADS
	Py_CLEAR(kernel->clock);
	Py_CLEAR(kernel->pins);
}

void kernel_enter(Kernel *kernel)
{
	Py_INCREF(kernel);
	kernel->users++;
}

void kernel_leave(Kernel *kernel)
{
	PyObject *type, *value, *trace;

	kernel->users--;
	if (kernel->closing && !kernel->users) {
		PyErr_Fetch(&type, &value, &trace);
		release(kernel);
		PyErr_Restore(type, value, trace);
	}
	Py_DECREF(kernel);
}

/*
 * In the child of a fork: calls of threads that are gone have ended, and nobody
 * is inside but this thread, if Python handles a signal during a call of its.
 */
void kernel_forked(Kernel *kernel)
{
	unsigned long self = PyThread_get_thread_ident();
	Task *task, *gone;

	kernel->users = 0;
	kernel->cached_task = NULL;
	for (task = kernel->tasks; task;) {
		/* What nobody waits for goes on. */
		gone = task->busy && !task->pending && task->thread != self ? task : NULL;
		kernel->users += task->busy && !task->pending && !gone;
		task = task->next;
		if (gone) {
			gone->busy = false;
			if (!gone->is_init)
				task_detach(gone);
		}
	}
	if (kernel->closing)
		release(kernel);
}

static int check_open(Kernel *kernel)
{
	return kernel->handle && !kernel->closing ? 0 : error_closed(kernel);
}

static Task *next_busy(Kernel *kernel)
{
	Task *task = kernel->tasks;

	while (task && (!task->busy || task->shut))
		task = task->next;
	return task;
}

/*
 * Threads that wait in this kernel get an error; then it is freed. Whoever has the
 * kernel may be waiting for Python's lock, and the list changes without it.
 */
static void shut(Kernel *kernel)
{
	Task *task;

	if (!kernel->handle || kernel->closing)
		return;
	kernel->closing = true;
	kernel_enter(kernel);
	while ((task = next_busy(kernel))) {
		struct rumpel_task *handle = task->handle;

		task->shut = true;
		Py_BEGIN_ALLOW_THREADS
		rumpel_task_cancel(handle);
		Py_END_ALLOW_THREADS
	}
	kernel_leave(kernel);
}

static void kernel_dealloc(PyObject *self)
{
	Kernel *kernel = (Kernel *)self;
	PyTypeObject *type = Py_TYPE(self);
	PyObject *error, *value, *trace;

	PyErr_Fetch(&error, &value, &trace);
	/* Tasks come and go below, and refer to the kernel meanwhile. */
	Py_SET_REFCNT(self, 1);
	shut(kernel);
	Py_SET_REFCNT(self, Py_REFCNT(self) - 1);
	if (Py_REFCNT(self)) {
		/* Another thread is inside, with one of them: the last one out comes here again. */
		PyErr_Restore(error, value, trace);
		return;
	}
	*kernel->link = kernel->next;
	if (kernel->next)
		kernel->next->link = kernel->link;
	Py_XDECREF(kernel->image);
	Py_XDECREF(kernel->clock);
	Py_XDECREF(kernel->pins);
	PyErr_Restore(error, value, trace);
	PyObject_Free(self);
	Py_DECREF(type);
}

static int boot(Kernel *kernel, struct rumpel_config *config)
{
	const char *explanation = NULL;
	Task *init, *none;
	int error;

	config->error = &explanation;
	Py_BEGIN_ALLOW_THREADS
	error = rumpel_boot(config, &kernel->handle);
	Py_END_ALLOW_THREADS
	if (error && error != -ENOTRECOVERABLE)
		kernel->handle = NULL;
	if (error)
		return error_of_boot(kernel, error, config->image, explanation);
	init = task_wrap(kernel, rumpel_kernel_init(kernel->handle), false);
	if (!init)
		return -1;
	init->is_init = true;
	kernel->has_housekeeper = !config->clock && !(config->flags & RUMPEL_BOOT_NO_HOUSEKEEPER);
	error = slot_set(kernel, init, &none);
	Py_DECREF(init);
	return error;
}

static Kernel *kernel_new(struct native_state *state)
{
	Kernel *kernel = PyObject_New(Kernel, state->kernel_type);

	if (!kernel)
		return NULL;
	memset((char *)kernel + sizeof(PyObject), 0, sizeof(*kernel) - sizeof(PyObject));
	kernel->state = state;
	kernel->serial = ++state->booted;
	kernel->next = state->kernels;
	kernel->link = &state->kernels;
	if (kernel->next)
		kernel->next->link = &kernel->next;
	state->kernels = kernel;
	kernel->pins = PyList_New(0);
	if (!kernel->pins)
		Py_CLEAR(kernel);
	return kernel;
}

/* boot(image, memory=0, cmdline="", clock=None, flags=0, log_fd=0, devices=(), snapshot=None) */
PyObject *kernel_boot(PyObject *module, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "image",  "memory",  "cmdline",  "clock", "flags",
				 "log_fd", "devices", "snapshot", NULL };
	struct native_state *state = PyModule_GetState(module);
	struct rumpel_config config = { 0 };
	PyObject *image = NULL, *clock = Py_None, *given = NULL, *snapshot = Py_None, *devices;
	unsigned long long memory = 0;
	const char *cmdline = NULL;
	PyObject *file = NULL;
	Kernel *kernel;
	int error = -1;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|$KzOIiOO:boot", known,
					 PyUnicode_FSConverter, &image, &memory, &cmdline, &clock,
					 &config.flags, &config.log_fd, &given, &snapshot))
		return NULL;
	if (snapshot != Py_None && !PyUnicode_FSConverter(snapshot, &file)) {
		Py_DECREF(image);
		return NULL;
	}
	devices = given ? PySequence_Tuple(given) : PyTuple_New(0);
	kernel = devices ? kernel_new(state) : NULL;
	if (!kernel)
		goto out;
	kernel->image = Py_NewRef(image);
	config.image = PyBytes_AS_STRING(image);
	config.memory = memory;
	config.cmdline = cmdline;
	config.snapshot = file ? PyBytes_AS_STRING(file) : NULL;
	if (clock != Py_None) {
		config.clock = clock_handle(state, clock);
		if (!config.clock)
			goto out;
		kernel->clock = Py_NewRef(clock);
	}
	if (devices_take(kernel, devices, &config.devices) < 0)
		goto out;
	config.device_count = (size_t)PyTuple_GET_SIZE(devices);
	error = boot(kernel, &config);
	/* Even a kernel that panicked while it booted has taken its devices. */
	if (kernel->handle)
		devices_taken(kernel, devices);
out:
	PyMem_Free(config.devices);
	Py_XDECREF(devices);
	Py_XDECREF(file);
	Py_DECREF(image);
	if (error && kernel) {
		shut(kernel);
		Py_CLEAR(kernel);
	}
	return (PyObject *)kernel;
}

static PyObject *kernel_halt(PyObject *self, PyObject *unused)
{
	Kernel *kernel = (Kernel *)self;
	int error;

	(void)unused;
	if (check_open(kernel) < 0 || kernel_check_outside(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	error = rumpel_halt(kernel->handle);
	Py_END_ALLOW_THREADS
	if (error)
		error_of_kernel(kernel, error);
	kernel_leave(kernel);
	return error ? NULL : Py_NewRef(Py_None);
}

static PyObject *kernel_close(PyObject *self, PyObject *unused)
{
	(void)unused;
	if (kernel_check_outside((Kernel *)self) < 0)
		return NULL;
	shut((Kernel *)self);
	Py_RETURN_NONE;
}

static PyObject *kernel_bind(PyObject *self, PyObject *args, PyObject *keywords)
{
	return call_new((Kernel *)self, NULL, args, keywords);
}

static PyObject *kernel_task(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "process", NULL };
	Kernel *kernel = (Kernel *)self;
	struct rumpel_task *handle;
	int process = 0, error;
	Task *task;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$p:task", known, &process) ||
	    check_open(kernel) < 0 || kernel_check_outside(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	error = rumpel_task_create(kernel->handle, process ? RUMPEL_TASK_PROCESS : 0, &handle);
	Py_END_ALLOW_THREADS
	task = error ? NULL : task_wrap(kernel, handle, true);
	if (error)
		error_of_task(kernel, error);
	else if (!task)
		rumpel_task_free(handle);
	else
		task->is_process = process;
	kernel_leave(kernel);
	return (PyObject *)task;
}

/* All that the log holds from *position on, as bytes. */
PyObject *kernel_log_all(Kernel *kernel, unsigned long long *position)
{
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, 0), *more;
	uint64_t at = *position;
	size_t size;
	char *chunk = PyMem_Malloc(64 << 10);

	if (!chunk)
		PyErr_NoMemory();
	while (chunk && bytes && kernel->handle) {
		size = rumpel_log_read(kernel->handle, &at, chunk, 64 << 10);
		if (!size)
			break;
		more = PyBytes_FromStringAndSize(chunk, (Py_ssize_t)size);
		PyBytes_ConcatAndDel(&bytes, more);
	}
	if (!chunk)
		Py_CLEAR(bytes);
	PyMem_Free(chunk);
	*position = at;
	return bytes;
}

static PyObject *kernel_log_read(PyObject *self, PyObject *args)
{
	Kernel *kernel = (Kernel *)self;
	unsigned long long position;
	PyObject *bytes;

	if (!PyArg_ParseTuple(args, "K:log_read", &position) || check_open(kernel) < 0)
		return NULL;
	bytes = kernel_log_all(kernel, &position);
	return bytes ? Py_BuildValue("NK", bytes, position) : NULL;
}

static PyObject *kernel_log_wait(PyObject *self, PyObject *args)
{
	Kernel *kernel = (Kernel *)self;
	unsigned long long position;
	long long timeout;
	int status;

	if (!PyArg_ParseTuple(args, "KL:log_wait", &position, &timeout) || check_open(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	status = rumpel_log_wait(kernel->handle, position, timeout);
	Py_END_ALLOW_THREADS
	kernel_leave(kernel);
	return PyErr_CheckSignals() < 0 ? NULL : PyBool_FromLong(status == 0);
}

static PyObject *kernel_log_wake(PyObject *self, PyObject *unused)
{
	Kernel *kernel = (Kernel *)self;

	(void)unused;
	if (check_open(kernel) < 0)
		return NULL;
	rumpel_log_wake(kernel->handle);
	Py_RETURN_NONE;
}

static PyObject *kernel_state(PyObject *self, void *unused)
{
	static const char *const names[] = { "running", "halted", "panicked", "forked" };
	Kernel *kernel = (Kernel *)self;

	(void)unused;
	if (!kernel->handle || kernel->closing)
		return PyUnicode_FromString("closed");
	return PyUnicode_FromString(names[rumpel_kernel_state(kernel->handle)]);
}

static PyObject *kernel_release(PyObject *self, void *unused)
{
	Kernel *kernel = (Kernel *)self;

	(void)unused;
	if (check_open(kernel) < 0)
		return NULL;
	return PyUnicode_FromString(rumpel_kernel_release(kernel->handle));
}

static PyObject *kernel_now(PyObject *self, void *unused)
{
	Kernel *kernel = (Kernel *)self;

	(void)unused;
	if (check_open(kernel) < 0)
		return NULL;
	return PyLong_FromUnsignedLongLong(rumpel_kernel_now(kernel->handle));
}

static PyObject *kernel_fileno(PyObject *self, PyObject *unused)
{
	Kernel *kernel = (Kernel *)self;
	int fd;

	(void)unused;
	if (check_open(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	fd = rumpel_kernel_fd(kernel->handle);
	Py_END_ALLOW_THREADS
	if (fd < 0)
		error_of_call(NULL, fd);
	kernel_leave(kernel);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *kernel_deadline(PyObject *self, void *unused)
{
	Kernel *kernel = (Kernel *)self;
	unsigned long long deadline;

	(void)unused;
	if (check_open(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	deadline = rumpel_kernel_deadline(kernel->handle);
	Py_END_ALLOW_THREADS
	kernel_leave(kernel);
	return deadline == UINT64_MAX ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(deadline);
}

static PyObject *kernel_load_address(PyObject *self, void *unused)
{
	Kernel *kernel = (Kernel *)self;

	(void)unused;
	if (check_open(kernel) < 0)
		return NULL;
	return PyLong_FromSize_t(rumpel_kernel_load_address(kernel->handle));
}

static PyObject *kernel_in_process(PyObject *self, void *unused)
{
	int found = task_in_process((Kernel *)self);

	(void)unused;
	return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyMethodDef kernel_methods[] = {
	{ "halt", kernel_halt, METH_NOARGS, NULL },
	{ "close", kernel_close, METH_NOARGS, NULL },
	{ "bind", METHOD(kernel_bind), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "run", kernel_run, METH_VARARGS, NULL },
	{ "fileno", kernel_fileno, METH_NOARGS, NULL },
	{ "task", METHOD(kernel_task), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "plug", kernel_plug, METH_O, NULL },
	{ "unplug", kernel_unplug, METH_O, NULL },
	{ "log_read", kernel_log_read, METH_VARARGS, NULL },
	{ "log_wait", kernel_log_wait, METH_VARARGS, NULL },
	{ "log_wake", kernel_log_wake, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef kernel_members[] = {
	{ "clock", T_OBJECT, offsetof(Kernel, clock), READONLY, NULL },
	{ "has_housekeeper", T_BOOL, offsetof(Kernel, has_housekeeper), READONLY, NULL },
	{ "panic_told", T_BOOL, offsetof(Kernel, panic_told), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyGetSetDef kernel_getset[] = {
	{ "state", kernel_state, NULL, NULL, NULL },
	{ "release", kernel_release, NULL, NULL, NULL },
	{ "now_ns", kernel_now, NULL, NULL, NULL },
	{ "deadline_ns", kernel_deadline, NULL, NULL, NULL },
	{ "load_address", kernel_load_address, NULL, NULL, NULL },
	{ "in_process", kernel_in_process, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot kernel_slots[] = {
	{ Py_tp_dealloc, kernel_dealloc },
	{ Py_tp_methods, kernel_methods },
	{ Py_tp_members, kernel_members },
	{ Py_tp_getset, kernel_getset },
	{ 0, NULL },
};

PyType_Spec kernel_spec = {
	.name = "rumpel._native.Kernel",
	.basicsize = sizeof(Kernel),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = kernel_slots,
};
