// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks, and which of them is the calling thread's.
 *
 * A thread's dictionary holds one dictionary of ours, from a kernel's number
 * to a Slot with the thread's task. It goes with the thread, and the tasks
 * with it. Such tasks do not keep their kernel alive; those that a program
 * makes itself do.
 */
#include "native.h"

typedef struct {
	PyObject_HEAD
	Task *task;
	PyObject *number; /* the key of this slot */
} Slot;

static void slot_dealloc(PyObject *self)
{
	Slot *slot = (Slot *)self;
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(slot->task);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyType_Slot slot_slots[] = {
	{ Py_tp_dealloc, slot_dealloc },
	{ 0, NULL },
};

PyType_Spec slot_spec = {
	.name = "rumpel._native.Slot",
	.basicsize = sizeof(Slot),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = slot_slots,
};

/* A new object for `handle`, which it owns; pid 1 is the kernel's. */
Task *task_wrap(Kernel *kernel, struct rumpel_task *handle, bool holds_kernel)
{
	Task *task = PyObject_New(Task, kernel->state->task_type);

	if (!task)
		return NULL;
	task->handle = handle;
	task->state = kernel->state;
	task->kernel = kernel;
	task->spare = NULL;
	task->previous = NULL;
	task->pending = NULL;
	task->early = false;
	task->holds_kernel = holds_kernel;
	task->is_init = false;
	task->is_process = false;
	task->busy = false;
	task->shut = false;
	task->thread = 0;
	task->next = kernel->tasks;
	task->link = &kernel->tasks;
	if (task->next)
		task->next->link = &task->next;
	kernel->tasks = task;
	if (holds_kernel)
		Py_INCREF(kernel);
	return task;
}

/* Ends the kernel task and forgets the kernel. */
void task_detach(Task *task)
{
	Kernel *kernel = task->kernel;
	struct rumpel_task *handle = task->handle;
	bool holds_kernel = task->holds_kernel;

	if (!kernel)
		return;
	*task->link = task->next;
	if (task->next)
		task->next->link = task->link;
	if (kernel->cached_task == task)
		kernel->cached_task = NULL;
	task->handle = NULL;
	task->kernel = NULL;
	if (handle && !task->is_init && !task->shut) {
		kernel_enter(kernel);
		Py_BEGIN_ALLOW_THREADS
		rumpel_task_free(handle);
		Py_END_ALLOW_THREADS
		kernel_leave(kernel);
	}
	/* May drop the last reference to the task. */
	if (task->pending)
		pending_detach(task->pending);
	if (holds_kernel)
		Py_DECREF(kernel);
}

static Task *task_create(Kernel *kernel, unsigned int flags, bool holds_kernel)
{
	struct rumpel_task *handle;
	Task *task;
	int error;

	if (!kernel->handle || kernel->closing) {
		error_closed(kernel);
		return NULL;
	}
	if (kernel_check_outside(kernel) < 0)
		return NULL;
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	error = rumpel_task_create(kernel->handle, flags, &handle);
	Py_END_ALLOW_THREADS
	if (error) {
		error_of_task(kernel, error);
		kernel_leave(kernel);
		return NULL;
	}
	task = task_wrap(kernel, handle, holds_kernel);
	if (!task)
		rumpel_task_free(handle);
	kernel_leave(kernel);
	return task;
}

/* The tasks of kernels that are gone need not wait for the thread's end. */
static void forget_dead(PyObject *slots)
{
	PyObject *number, *slot, *list = PyDict_Values(slots);
	Py_ssize_t i;

	for (i = 0; list && i < PyList_GET_SIZE(list); i++) {
		slot = PyList_GET_ITEM(list, i);
		number = ((Slot *)slot)->number;
		if (!((Slot *)slot)->task->kernel && PyDict_DelItem(slots, number) < 0)
			PyErr_Clear();
	}
	Py_XDECREF(list);
	PyErr_Clear();
}

static PyObject *slots_of_thread(struct native_state *state)
{
	PyObject *thread = PyThreadState_GetDict(), *slots;

	if (!thread) {
		PyErr_SetString(PyExc_RuntimeError, "this thread has no state of Python's");
		return NULL;
	}
	slots = PyDict_GetItemWithError(thread, state->slots_key);
	if (slots || PyErr_Occurred())
		return slots;
	slots = PyDict_New();
	if (slots && PyDict_SetItem(thread, state->slots_key, slots) < 0)
		Py_CLEAR(slots);
	Py_XDECREF(slots);
	return slots;
}

/*
 * Makes `task` the calling thread's, or only looks if it is NULL. *previous is
 * the task before, borrowed, or NULL. 0, or -1 and an exception.
 */
int slot_set(Kernel *kernel, Task *task, Task **previous)
{
	PyObject *slots = slots_of_thread(kernel->state), *number;
	Slot *slot;
	int error = -1;

	*previous = NULL;
	if (!slots)
		return -1;
	number = PyLong_FromUnsignedLongLong(kernel->serial);
	if (!number)
		return -1;
	slot = (Slot *)PyDict_GetItemWithError(slots, number);
	if (slot) {
		*previous = slot->task;
		if (task) {
			Py_INCREF(task);
			slot->task = task;
			Py_DECREF(*previous); /* lives on: its owner holds it */
		}
		error = 0;
	} else if (!PyErr_Occurred() && task) {
		if (PyDict_GET_SIZE(slots) % 64 == 63)
			forget_dead(slots);
		slot = PyObject_New(Slot, kernel->state->slot_type);
		if (slot) {
			slot->task = (Task *)refer(task);
			slot->number = number; /* the dictionary keeps it */
			error = PyDict_SetItem(slots, number, (PyObject *)slot);
			Py_DECREF(slot);
		}
	} else if (!PyErr_Occurred()) {
		error = 0;
	}
	Py_DECREF(number);
	if (task && !error) {
		kernel->cached_thread = PyThread_get_thread_ident();
		kernel->cached_task = task;
	}
	return error;
}

/* Borrowed; creates the task at a thread's first call. */
Task *task_of_thread(Kernel *kernel, unsigned long thread)
{
	Task *task, *none;

	if (!kernel->handle || kernel->closing) {
		error_closed(kernel);
		return NULL;
	}
	if (slot_set(kernel, NULL, &task) < 0)
		return NULL;
	if (!task) {
		task = task_create(kernel, 0, false);
		if (!task)
			return NULL;
		if (slot_set(kernel, task, &none) < 0) {
			Py_DECREF(task);
			return NULL;
		}
		Py_DECREF(task); /* the slot holds it */
	}
	kernel->cached_thread = thread;
	kernel->cached_task = task;
	/* Code that runs while a call of this thread waits: a signal handler. */
	while (task->busy) {
		if (!task->spare)
			task->spare = task_create(kernel, 0, false);
		task = task->spare;
		if (!task)
			return NULL;
	}
	return task;
}

Task *task_current(Kernel *kernel)
{
	unsigned long thread = PyThread_get_thread_ident();

	if (kernel->cached_thread == thread && kernel->cached_task && !kernel->cached_task->busy)
		return kernel->cached_task;
	return task_of_thread(kernel, thread);
}

/* Is the calling thread in a with statement of a process? -1 and an exception. */
int task_in_process(Kernel *kernel)
{
	Task *task = kernel->cached_task;

	if (!task || kernel->cached_thread != PyThread_get_thread_ident())
		if (slot_set(kernel, NULL, &task) < 0)
			return -1;
	return task && task->is_process && task->previous;
}

static void task_dealloc(PyObject *self)
{
	Task *task = (Task *)self;
	PyTypeObject *type = Py_TYPE(self);
	PyObject *error, *value, *trace;

	PyErr_Fetch(&error, &value, &trace);
	task_detach(task);
	Py_CLEAR(task->spare);
	Py_CLEAR(task->previous);
	PyErr_Restore(error, value, trace);
	PyObject_Free(self);
	Py_DECREF(type);
}

/* 0, or -1 and an exception if the task or its kernel is gone. */
int task_check(Task *task)
{
	PyObject *type;

	if (task->kernel && task->handle)
		return 0;
	type = PyObject_GetAttrString(task->state->errors, "KernelClosed");
	if (type)
		PyErr_SetString(type, "the task or its kernel was closed");
	Py_XDECREF(type);
	return -1;
}

static PyObject *task_enter(PyObject *self, PyObject *unused)
{
	Task *task = (Task *)self, *before;

	(void)unused;
	if (task_check(task) < 0)
		return NULL;
	if (task->previous) {
		PyErr_SetString(PyExc_RuntimeError, "the task is in use by a with statement");
		return NULL;
	}
	before = task_of_thread(task->kernel, PyThread_get_thread_ident());
	if (!before)
		return NULL;
	task->previous = (Task *)refer(before);
	if (slot_set(task->kernel, task, &before) < 0) {
		Py_CLEAR(task->previous);
		return NULL;
	}
	return refer(self);
}

static PyObject *task_exit(PyObject *self, PyObject *unused)
{
	Task *task = (Task *)self, *before = task->previous, *ignored;

	(void)unused;
	task->previous = NULL;
	if (before && before->kernel && slot_set(before->kernel, before, &ignored) < 0) {
		Py_DECREF(before);
		return NULL;
	}
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static PyObject *task_close(PyObject *self, PyObject *unused)
{
	Task *task = (Task *)self;

	(void)unused;
	if (task->busy) {
		PyErr_SetString(PyExc_RuntimeError, "the task has a call in progress");
		return NULL;
	}
	if (task->is_init) {
		PyErr_SetString(PyExc_ValueError, "pid 1 ends with its kernel");
		return NULL;
	}
	if (task->kernel && kernel_check_outside(task->kernel) < 0)
		return NULL;
	task_detach(task);
	Py_RETURN_NONE;
}

static PyObject *task_bind(PyObject *self, PyObject *args, PyObject *keywords)
{
	Task *task = (Task *)self;

	return task_check(task) < 0 ? NULL : call_new(task->kernel, task, args, keywords);
}

static PyObject *task_syscall(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
	Task *task = (Task *)self;
	struct call_args args;
	PyObject *value = NULL;
	long nr, result;
	Py_ssize_t i;

	if (count < 1 || count > 1 + CALL_ARGS) {
		PyErr_SetString(PyExc_TypeError, "syscall takes a number and up to 6 arguments");
		return NULL;
	}
	nr = PyLong_AsLong(given[0]);
	if (nr == -1 && PyErr_Occurred())
		return NULL;
	args_init(&args, task->kernel);
	for (i = 0; i < CALL_ARGS; i++)
		args.raw[i] = 0;
	for (i = 1; i < count; i++)
		if (args_convert(&args, (int)i - 1, given[i], false) < 0)
			goto out;
	Py_INCREF(task);
	if (call_run(task, CALL_LONG, nr, args.raw, &result) == 0) {
		if (result < 0 && result >= -4095)
			error_of_call(&args, result);
		else
			value = PyLong_FromLong(result);
	}
	Py_DECREF(task);
out:
	args_release(&args);
	return value;
}

static PyObject *task_id(PyObject *self, void *unused)
{
	Task *task = (Task *)self;

	(void)unused;
	return task_check(task) < 0 ? NULL : PyLong_FromLong(rumpel_task_id(task->handle));
}

static PyMethodDef task_methods[] = {
	{ "syscall", METHOD(task_syscall), METH_FASTCALL, NULL },
	{ "submit", METHOD(task_submit), METH_FASTCALL, NULL },
	{ "bind", METHOD(task_bind), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "close", task_close, METH_NOARGS, NULL },
	{ "__enter__", task_enter, METH_NOARGS, NULL },
	{ "__exit__", task_exit, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef task_getset[] = {
	{ "id", task_id, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot task_slots[] = {
	{ Py_tp_dealloc, task_dealloc },
	{ Py_tp_methods, task_methods },
	{ Py_tp_getset, task_getset },
	{ 0, NULL },
};

PyType_Spec task_spec = {
	.name = "rumpel._native.Task",
	.basicsize = sizeof(Task),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = task_slots,
};
