// SPDX-License-Identifier: GPL-2.0-only
/*
 * A system call as a callable object, and how calls are run.
 *
 * A call is first tried with the interpreter's lock held, since most end
 * within a fraction of a microsecond. What sleeps, finds the kernel taken by
 * another thread or is known to be long gives the lock up. The thread that
 * handles Python's signals comes back ten times a second to look for them.
 */
#include "native.h"

#include <sys/syscall.h>
#include <unistd.h>

#define SIGNAL_PERIOD_NS (100 * 1000 * 1000LL)

/*
 * How long a call waits before it looks again. Python handles signals in the
 * main thread only: the others need not look for them.
 */
static int64_t period(void)
{
	return syscall(SYS_gettid) == getpid() ? SIGNAL_PERIOD_NS : -1;
}

static int wait_unlocked(Task *task, int64_t timeout, long *result)
{
	int status;

	Py_BEGIN_ALLOW_THREADS
	status = rumpel_task_wait(task->handle, timeout, result);
	Py_END_ALLOW_THREADS
	return status;
}

/*
 * Ends the call in progress. It has ended when this returns, so the kernel
 * does not use the caller's buffers any more.
 */
static void end_call(Task *task)
{
	PyObject *type, *value, *trace;
	long result;
	int status;

	PyErr_Fetch(&type, &value, &trace);
	/* Who has the kernel may be waiting for Python's lock. */
	Py_BEGIN_ALLOW_THREADS
	rumpel_task_cancel(task->handle);
	Py_END_ALLOW_THREADS
	do {
		status = wait_unlocked(task, -1, &result);
	} while (status == 0 || status == -EINTR);
	PyErr_Restore(type, value, trace);
}

/*
 * As call_run, for what cannot be done at once. The first wait is short for
 * all, since shut() interrupts only calls that it finds in progress: one that
 * is submitted in that moment has to see for itself that the kernel closes.
 */
static int run_slowly(Task *task, int status, long nr, const unsigned long raw[CALL_ARGS],
		      long *result)
{
	Kernel *kernel = task->kernel;

	task->thread = PyThread_get_thread_ident();
	Py_BEGIN_ALLOW_THREADS
	if (status == -EAGAIN)
		status = rumpel_task_submit(task->handle, 0, nr, raw, result);
	if (status == 0)
		status = rumpel_task_wait(task->handle, SIGNAL_PERIOD_NS, result);
	Py_END_ALLOW_THREADS

	while (status == 0 || status == -EINTR) {
		if (PyErr_CheckSignals() < 0) {
			end_call(task);
			return -ECANCELED;
		}
		if (kernel->closing) {
			end_call(task);
			return -ESHUTDOWN;
		}
		status = wait_unlocked(task, period(), result);
	}
	if (status == -EDEADLK)
		end_call(task);
	return kernel->closing ? -ESHUTDOWN : status;
}

/*
 * A task that is killed, or ends itself, gets -ESRCH for the call in progress:
 * was it that, or has the call returned it?
 */
bool call_has_exited(Task *task)
{
	static const unsigned long none[CALL_ARGS];
	struct rumpel_task *other;
	long ignored;
	int status;

	Py_BEGIN_ALLOW_THREADS
	status = rumpel_task_submit(task->handle, 0, SYS_getpid, none, &ignored);
	while (status == 0 || status == -EINTR)
		status = rumpel_task_wait(task->handle, -1, &ignored);
	/* If it took all of pid 1 with it, the kernel panics when it runs next: now. */
	if (status == -ESRCH && !rumpel_task_create(task->kernel->handle, 0, &other))
		rumpel_task_free(other);
	Py_END_ALLOW_THREADS
	/* Or all of its kernel with it, by now. */
	return status == -ESRCH || status == -ENOTRECOVERABLE;
}

/* 0 and *result (value or negative errno), or -1 and an exception. */
int call_run(Task *task, unsigned int flags, long nr, const unsigned long raw[CALL_ARGS],
	     long *result)
{
	Kernel *kernel = task->kernel;
	int status = -EAGAIN;

	if (task_check(task) < 0 || kernel_check_outside(kernel) < 0)
		return -1;
	if (kernel->closing)
		return error_closed(kernel);
	if (task->busy)
		return error_of_kernel(kernel, -EBUSY);
	task->busy = true;
	kernel_enter(kernel);
	if (!(flags & CALL_LONG))
		status = rumpel_task_submit(task->handle, RUMPEL_SUBMIT_NOWAIT, nr, raw, result);
	if (status != 1)
		status = run_slowly(task, status, nr, raw, result);
	if (status == 1 && *result == -ESRCH && call_has_exited(task))
		status = -ESRCH;
	task->busy = false;
	if (status != 1)
		error_of_kernel(kernel, status);
	kernel_leave(kernel);
	return status == 1 ? 0 : -1;
}

static int check_count(const Call *call, Py_ssize_t given)
{
	if (given >= call->least && given <= call->most)
		return 0;
	if (call->least == call->most)
		PyErr_Format(PyExc_TypeError, "%U takes %d argument%s, %zd given", call->name,
			     call->most, call->most == 1 ? "" : "s", given);
	else
		PyErr_Format(PyExc_TypeError, "%U takes %d to %d arguments, %zd given", call->name,
			     call->least, call->most, given);
	return -1;
}

/*
 * Of a call that takes numbers and paths: a buffer would go as its address, a
 * number for a path as a pointer, and the kernel would cut off what is too long.
 */
static int check_kind(const Call *call, PyObject *value, int index)
{
	int overflow;
	long number;

	if (call->paths >> index & 1) {
		if (!PyLong_Check(value))
			return 0;
		PyErr_SetString(PyExc_TypeError,
				"expected str, bytes or os.PathLike object, not int");
		return -1;
	}
	if (!PyIndex_Check(value)) {
		PyErr_Format(PyExc_TypeError, "'%.100s' object cannot be interpreted as an integer",
			     Py_TYPE(value)->tp_name);
		return -1;
	}
	if (call->wide >> index & 1 || !PyLong_Check(value))
		return 0;
	number = PyLong_AsLongAndOverflow(value, &overflow);
	if (!overflow && number >= INT32_MIN && number <= UINT32_MAX)
		return 0;
	PyErr_Format(PyExc_OverflowError, "argument %d of %U does not fit in 32 bits", index + 1,
		     call->name);
	return -1;
}

/* Converts all arguments; *bytes is the new object that a READ fills. */
int call_convert(const Call *call, struct call_args *args, PyObject *const *given, Py_ssize_t count,
		 PyObject **bytes)
{
	Py_ssize_t size;
	int i, to = 0;

	if (check_count(call, count) < 0)
		return -1;
	for (i = 0; i < count; i++, to++) {
		if (i != 1 || call->shape == SHAPE_PLAIN) {
			if (call->flags & CALL_NUMBERS && check_kind(call, given[i], i) < 0)
				return -1;
			if (args_convert(args, to, given[i], call->paths >> i & 1) < 0)
				return -1;
			continue;
		}
		if (call->shape == SHAPE_READ) {
			size = PyNumber_AsSsize_t(given[i], PyExc_OverflowError);
			if (size == -1 && PyErr_Occurred())
				return -1;
			if (size < 0)
				return error_of_call(NULL, -EINVAL);
			*bytes = PyBytes_FromStringAndSize(NULL, size);
			if (!*bytes)
				return -1;
			args->raw[to] = (unsigned long)PyBytes_AS_STRING(*bytes);
		} else if (args_buffer(args, to, given[i], call->shape == SHAPE_READINTO, &size) <
			   0) {
			return -1;
		}
		args->raw[++to] = (unsigned long)size;
	}
	while (to < CALL_ARGS)
		args->raw[to++] = 0;
	return 0;
}

unsigned int call_flags(const Call *call, const struct call_args *args)
{
	bool is_long = call->size >= 0 && args->raw[call->size] > CALL_LONG_SIZE;

	return is_long ? call->flags | CALL_LONG : call->flags;
}

/* What Python sees of a result; *bytes is as call_convert has set it. */
PyObject *call_value(const Call *call, const struct call_args *args, PyObject **bytes, long result)
{
	PyObject *value;

	if (result < 0 && result >= -4095) {
		error_of_call(args, result);
		return NULL;
	}
	if (*bytes) {
		/* With MSG_TRUNC the result may be more than there was room for. */
		if (result < PyBytes_GET_SIZE(*bytes) && _PyBytes_Resize(bytes, result) < 0)
			return NULL;
		value = *bytes;
		*bytes = NULL;
		return value;
	}
	return call->flags & CALL_VOID ? Py_NewRef(Py_None) : PyLong_FromLong(result);
}

static PyObject *call_vectorcall(PyObject *self, PyObject *const *given, size_t nargsf,
				 PyObject *names)
{
	Call *call = (Call *)self;
	Py_ssize_t count = PyVectorcall_NARGS(nargsf);
	struct call_args args;
	PyObject *bytes = NULL, *value = NULL;
	Task *task;
	long result;

	if (names && PyTuple_GET_SIZE(names))
		return PyErr_Format(PyExc_TypeError, "%U takes no keyword arguments", call->name);
	args_init(&args, call->kernel);
	if (call_convert(call, &args, given, count, &bytes) < 0)
		goto out;
	task = call->task ? call->task : task_current(call->kernel);
	if (!task)
		goto out;
	Py_INCREF(task);
	if (call_run(task, call_flags(call, &args), call->nr, args.raw, &result) == 0)
		value = call_value(call, &args, &bytes, result);
	Py_DECREF(task);
out:
	args_release(&args);
	Py_XDECREF(bytes);
	return value;
}

PyObject *call_new(Kernel *kernel, Task *task, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "nr",	  "name", "least", "most", "shape",
				 "flags", "size", "paths", "wide", NULL };
	int least = 0, most = CALL_ARGS, shape = SHAPE_PLAIN, size = -1;
	unsigned int flags = 0, paths = 0, wide = 0;
	PyObject *name = NULL;
	Call *call;
	long nr;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "l|Uii$iIiII:bind", known, &nr, &name,
					 &least, &most, &shape, &flags, &size, &paths, &wide))
		return NULL;
	if (least < 0 || most > CALL_ARGS || least > most || size >= CALL_ARGS ||
	    shape < SHAPE_PLAIN || shape > SHAPE_READINTO ||
	    (shape != SHAPE_PLAIN && (least < 2 || most > CALL_ARGS - 1))) {
		PyErr_SetString(PyExc_ValueError, "bad shape of a system call");
		return NULL;
	}
	call = PyObject_New(Call, kernel->state->call_type);
	if (!call)
		return NULL;
	call->vectorcall = call_vectorcall;
	call->kernel = (Kernel *)refer(kernel);
	call->task = (Task *)Py_XNewRef((PyObject *)task);
	call->name = name ? refer(name) : PyUnicode_FromFormat("system call %ld", nr);
	call->nr = nr;
	call->least = least;
	call->most = most;
	call->size = size;
	call->flags = flags;
	call->paths = paths;
	call->wide = wide;
	call->shape = shape;
	if (!call->name)
		Py_CLEAR(call);
	return (PyObject *)call;
}

static void call_dealloc(PyObject *self)
{
	Call *call = (Call *)self;
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(call->name);
	Py_XDECREF(call->task);
	Py_XDECREF(call->kernel);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyObject *call_repr(PyObject *self)
{
	Call *call = (Call *)self;

	return PyUnicode_FromFormat("<system call %U, number %ld>", call->name, call->nr);
}

static PyMemberDef call_members[] = {
	{ "__vectorcalloffset__", T_PYSSIZET, offsetof(Call, vectorcall), READONLY, NULL },
	{ "__name__", T_OBJECT, offsetof(Call, name), READONLY, NULL },
	{ "nr", T_LONG, offsetof(Call, nr), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyType_Slot call_slots[] = {
	{ Py_tp_dealloc, call_dealloc },
	{ Py_tp_call, PyVectorcall_Call },
	{ Py_tp_repr, call_repr },
	{ Py_tp_members, call_members },
	{ 0, NULL },
};

PyType_Spec call_spec = {
	.name = "rumpel._native.Call",
	.basicsize = sizeof(Call),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = call_slots,
};
