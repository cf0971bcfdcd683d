// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls that nobody waits for. A call that ends at once gives its result;
 * else there is an object that keeps its arguments in place until it has ended,
 * which Kernel.run reports.
 *
 * While the call is in progress task and object refer to each other, and the
 * task is busy.
 */
#include "native.h"

/* That many ended calls are taken at a time. */
#define MOST_DONE 64

struct Pending {
	PyObject_HEAD
	Task *task; /* NULL: has ended */
	Call *call;
	struct call_args args;
	PyObject *given; /* a tuple: what `args` points into */
	PyObject *bytes; /* what a READ fills */
	PyObject *owner; /* any object of the user's */
	long result;
	int error; /* why there is no result, or 0 */
};

/* The references of the arguments are the new object's from now on. */
static Pending *pending_new(Task *task, Call *call, const struct call_args *args, PyObject *bytes,
			    PyObject *const *given, Py_ssize_t count)
{
	Pending *pending = PyObject_New(Pending, task->state->pending_type);
	Py_ssize_t i;

	if (!pending)
		return NULL;
	pending->given = PyTuple_New(count);
	if (!pending->given) {
		PyObject_Free(pending);
		return NULL;
	}
	for (i = 0; i < count; i++)
		PyTuple_SET_ITEM(pending->given, i, Py_NewRef(given[i]));
	pending->task = (Task *)refer(task);
	pending->call = (Call *)refer(call);
	pending->args = *args;
	pending->bytes = bytes;
	pending->owner = Py_NewRef(Py_None);
	pending->result = 0;
	pending->error = 0;
	return pending;
}

/* It has ended: the task is free again. */
static void settle(Pending *pending, int status, long result)
{
	Task *task = pending->task;

	pending->task = NULL;
	pending->error = status == 1 ? 0 : status;
	pending->result = result;
	task->pending = NULL;
	task->busy = false;
	Py_DECREF(task);
	Py_DECREF(pending);
}

void pending_detach(Pending *pending)
{
	settle(pending, -ESHUTDOWN, 0);
}

/* Nothing may fail once the kernel has the call: then it is interrupted and waited for. */
static void end_now(Task *task)
{
	long result;

	Py_BEGIN_ALLOW_THREADS
	rumpel_task_cancel(task->handle);
	while (rumpel_task_wait(task->handle, -1, &result) == -EINTR)
		;
	Py_END_ALLOW_THREADS
}

static int submit(Task *task, const Call *call, const struct call_args *args, long *result)
{
	struct rumpel_task *handle = task->handle;
	int status = -EAGAIN;

	if (!(call_flags(call, args) & CALL_LONG))
		status = rumpel_task_submit(handle, RUMPEL_SUBMIT_ASYNC | RUMPEL_SUBMIT_NOWAIT,
					    call->nr, args->raw, result);
	if (status == -EAGAIN) {
		Py_BEGIN_ALLOW_THREADS
		status = rumpel_task_submit(handle, RUMPEL_SUBMIT_ASYNC, call->nr, args->raw,
					    result);
		Py_END_ALLOW_THREADS
	}
	return status;
}

static PyObject *submit_converted(Task *task, Call *call, struct call_args *args, PyObject **bytes,
				  PyObject *const *given, Py_ssize_t count)
{
	Kernel *kernel = task->kernel;
	Pending *pending;
	PyObject *value = NULL;
	long result;
	int status;

	task->busy = true;
	kernel_enter(kernel);
	rumpel_task_set_data(task->handle, task);
	status = submit(task, call, args, &result);
	if (status == 0 && task->early) {
		/* Another thread has taken its end while this one was without Python's lock. */
		task->early = false;
		status = task->early_status;
		result = task->early_result;
	}
	if (status == 0) {
		pending = pending_new(task, call, args, *bytes, given, count);
		if (pending) {
			/* One reference is the caller's, one the task's. */
			task->pending = (Pending *)refer(pending);
			args_init(args, kernel);
			*bytes = NULL;
			value = (PyObject *)pending;
			/* A kernel that closes interrupts those that it finds. */
			if (kernel->closing) {
				Py_INCREF(task);
				Py_BEGIN_ALLOW_THREADS
				rumpel_task_cancel(task->handle);
				Py_END_ALLOW_THREADS
				Py_DECREF(task);
			}
		} else {
			end_now(task);
			task->busy = false;
		}
	} else {
		task->busy = false;
		if (status == 1)
			value = call_value(call, args, bytes, result);
		else
			error_of_kernel(kernel, status);
	}
	kernel_leave(kernel);
	return value;
}

static int check_free(Task *task)
{
	if (task_check(task) < 0)
		return -1;
	if (task->kernel->closing)
		return error_closed(task->kernel);
	return task->busy ? error_of_kernel(task->kernel, -EBUSY) : 0;
}

/* submit(call, *args) */
PyObject *task_submit(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
	Task *task = (Task *)self;
	PyObject *bytes = NULL, *value = NULL;
	struct call_args args;
	Call *call;

	if (count < 1 || !Py_IS_TYPE(given[0], task->state->call_type)) {
		PyErr_SetString(PyExc_TypeError, "submit takes a system call and its arguments");
		return NULL;
	}
	if (check_free(task) < 0 || kernel_check_outside(task->kernel) < 0)
		return NULL;
	call = (Call *)given[0];
	args_init(&args, task->kernel);
	/* Conversion runs code of the arguments' types, which may have used the task. */
	if (call_convert(call, &args, given + 1, count - 1, &bytes) == 0 && check_free(task) == 0)
		value = submit_converted(task, call, &args, &bytes, given, count);
	args_release(&args);
	Py_XDECREF(bytes);
	return value;
}

/* Takes the result of a task that rumpel_run has reported; adds its object to the list. */
static int take(struct rumpel_task *handle, PyObject *list)
{
	Task *task = rumpel_task_data(handle);
	PyObject *pending;
	long result = 0;
	int status = rumpel_task_wait(handle, 0, &result), error;

	if (!task->pending) {
		task->early = true;
		task->early_status = status;
		task->early_result = result;
		return 0;
	}
	pending = refer(task->pending);
	/* A kernel that has ended meanwhile cannot be asked. */
	if (status == 1 && result == -ESRCH &&
	    (call_has_exited(task) || rumpel_kernel_state(task->kernel->handle) != RUMPEL_RUNNING))
		status = -ESRCH;
	settle((Pending *)pending, status, result);
	error = PyList_Append(list, pending);
	Py_DECREF(pending);
	return error;
}

/* run(timeout_ns, fd=-1) -> list of those that have ended */
PyObject *kernel_run(PyObject *self, PyObject *args)
{
	Kernel *kernel = (Kernel *)self;
	struct rumpel_task *done[MOST_DONE];
	PyObject *list = NULL;
	long long timeout;
	int fd = -1, count, i;

	if (!PyArg_ParseTuple(args, "L|i:run", &timeout, &fd))
		return NULL;
	if (!kernel->handle || kernel->closing) {
		error_closed(kernel);
		return NULL;
	}
	if (kernel_check_outside(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	count = rumpel_run(kernel->handle, timeout, fd, done, MOST_DONE);
	Py_END_ALLOW_THREADS
	if (count < 0 && count != -EINTR) {
		error_of_kernel(kernel, count);
	} else {
		list = PyList_New(0);
		/* Without memory they stay as they are: ended, and reported to nobody. */
		for (i = 0; list && i < count; i++)
			if (take(done[i], list) < 0)
				Py_CLEAR(list);
		/* Whoever has a result is told of it before a handler may raise. */
		if (list && count <= 0 && PyErr_CheckSignals() < 0)
			Py_CLEAR(list);
	}
	kernel_leave(kernel);
	return list;
}

static PyObject *pending_result(PyObject *self, PyObject *unused)
{
	Pending *pending = (Pending *)self;
	Kernel *kernel;

	(void)unused;
	if (pending->task) {
		PyErr_SetString(PyExc_RuntimeError, "the system call has not ended yet");
		return NULL;
	}
	kernel = pending->call->kernel;
	if (pending->error) {
		if (kernel->handle)
			error_of_kernel(kernel, pending->error);
		else
			error_closed(kernel);
		return NULL;
	}
	return call_value(pending->call, &pending->args, &pending->bytes, pending->result);
}

static PyObject *pending_cancel(PyObject *self, PyObject *unused)
{
	Pending *pending = (Pending *)self;
	Task *task = pending->task;
	Kernel *kernel;

	(void)unused;
	if (!task || task_check(task) < 0) {
		PyErr_Clear();
		Py_RETURN_NONE;
	}
	kernel = task->kernel;
	if (kernel_check_outside(kernel) < 0)
		return NULL;
	Py_INCREF(task);
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	rumpel_task_cancel(task->handle);
	Py_END_ALLOW_THREADS
	kernel_leave(kernel);
	Py_DECREF(task);
	Py_RETURN_NONE;
}

static PyObject *pending_done(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(!((Pending *)self)->task);
}

static void pending_dealloc(PyObject *self)
{
	Pending *pending = (Pending *)self;
	PyTypeObject *type = Py_TYPE(self);

	args_release(&pending->args);
	Py_XDECREF(pending->bytes);
	Py_DECREF(pending->given);
	Py_DECREF(pending->call);
	Py_XDECREF(pending->owner);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyMemberDef pending_members[] = {
	{ "call", T_OBJECT, offsetof(Pending, call), READONLY, NULL },
	{ "owner", T_OBJECT, offsetof(Pending, owner), 0, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyMethodDef pending_methods[] = {
	{ "done", pending_done, METH_NOARGS, NULL },
	{ "result", pending_result, METH_NOARGS, NULL },
	{ "cancel", pending_cancel, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot pending_slots[] = {
	{ Py_tp_dealloc, pending_dealloc },
	{ Py_tp_members, pending_members },
	{ Py_tp_methods, pending_methods },
	{ 0, NULL },
};

PyType_Spec pending_spec = {
	.name = "rumpel._native.Pending",
	.basicsize = sizeof(Pending),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = pending_slots,
};
