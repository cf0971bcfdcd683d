// SPDX-License-Identifier: GPL-2.0-only
/* Devices, before and after a kernel takes them. */
#include "native.h"

#include <limits.h>

typedef struct {
	PyObject_HEAD
	struct rumpel_device *handle; /* NULL if kernel is closed */
	Kernel *kernel; /* who took it */
	PyObject *pin; /* what the device uses and must outlive it */
	PyObject *lent; /* the same while it is in kernel->pins: borrowed */
} Device;

/* Python's view of a new device; frees it if there is no memory for that. */
PyObject *device_wrap(PyObject *module, struct rumpel_device *handle, PyObject *pin)
{
	struct native_state *state = PyModule_GetState(module);
	Device *device = PyObject_New(Device, state->device_type);

	if (!device) {
		rumpel_device_free(handle);
		return NULL;
	}
	device->handle = handle;
	device->kernel = NULL;
	device->pin = Py_XNewRef(pin);
	device->lent = NULL;
	return (PyObject *)device;
}

static void device_dealloc(PyObject *self)
{
	Device *device = (Device *)self;
	PyTypeObject *type = Py_TYPE(self);

	if (!device->kernel)
		rumpel_device_free(device->handle);
	Py_XDECREF(device->kernel);
	Py_XDECREF(device->pin);
	PyObject_Free(self);
	Py_DECREF(type);
}

/* Fills *handles (for PyMem_Free) from a tuple of devices that must be free. */
int devices_take(Kernel *kernel, PyObject *devices, struct rumpel_device ***handles)
{
	Py_ssize_t i, j, count = PyTuple_GET_SIZE(devices);
	Device *device;

	*handles = PyMem_Calloc((size_t)count + 1, sizeof(**handles));
	if (!*handles) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; i < count; i++) {
		device = (Device *)PyTuple_GET_ITEM(devices, i);
		if (!PyObject_TypeCheck(device, kernel->state->device_type)) {
			PyErr_Format(PyExc_TypeError, "a device is expected, not %.100s",
				     Py_TYPE(device)->tp_name);
			return -1;
		}
		for (j = 0; j < i && (*handles)[j] != device->handle; j++)
			;
		if (j < i || device->kernel) {
			PyErr_SetString(PyExc_ValueError,
					"a device belongs to one kernel; make a new one");
			return -1;
		}
		(*handles)[i] = device->handle;
		if (device->pin && PyList_Append(kernel->pins, device->pin) < 0)
			return -1;
	}
	return 0;
}

/* The kernel owns them, and what they use, from now on. */
void devices_taken(Kernel *kernel, PyObject *devices)
{
	Device *device;
	Py_ssize_t i;

	for (i = 0; i < PyTuple_GET_SIZE(devices); i++) {
		device = (Device *)PyTuple_GET_ITEM(devices, i);
		device->kernel = (Kernel *)refer(kernel);
		device->lent = device->pin;
		Py_CLEAR(device->pin);
	}
}

/* What the device uses is its own affair again. */
static void give_back(Device *device)
{
	PyObject *pins = device->kernel->pins;
	Py_ssize_t i = pins && device->lent ? PyList_GET_SIZE(pins) : 0;

	while (i-- > 0) {
		if (PyList_GET_ITEM(pins, i) != device->lent)
			continue;
		device->pin = Py_NewRef(device->lent);
		PyList_SetSlice(pins, i, i + 1, NULL);
		break;
	}
	device->lent = NULL;
	Py_CLEAR(device->kernel);
}

static int kernel_is_open(Kernel *kernel)
{
	return kernel->handle && !kernel->closing ? 0 : error_closed(kernel);
}

/* Kernel.plug(device) */
PyObject *kernel_plug(PyObject *self, PyObject *argument)
{
	PyObject *devices = PyTuple_Pack(1, argument);
	struct rumpel_device **handles = NULL;
	Kernel *kernel = (Kernel *)self;
	int error = -1;

	if (devices && kernel_is_open(kernel) == 0 && kernel_check_outside(kernel) == 0 &&
	    devices_take(kernel, devices, &handles) == 0) {
		/* Ours from now on: no other thread may plug it meanwhile. */
		devices_taken(kernel, devices);
		kernel_enter(kernel);
		Py_BEGIN_ALLOW_THREADS
		error = rumpel_device_plug(kernel->handle, handles[0]);
		Py_END_ALLOW_THREADS
		if (error) {
			give_back((Device *)argument);
			error_of_kernel(kernel, error);
		}
		kernel_leave(kernel);
	}
	PyMem_Free(handles);
	Py_XDECREF(devices);
	return error ? NULL : Py_NewRef(Py_None);
}

/* Kernel.unplug(device) */
PyObject *kernel_unplug(PyObject *self, PyObject *argument)
{
	Kernel *kernel = (Kernel *)self;
	Device *device = (Device *)argument;
	int error;

	if (kernel_is_open(kernel) < 0 || kernel_check_outside(kernel) < 0)
		return NULL;
	if (!PyObject_TypeCheck(argument, kernel->state->device_type)) {
		PyErr_Format(PyExc_TypeError, "a device is expected, not %.100s",
			     Py_TYPE(argument)->tp_name);
		return NULL;
	}
	if (device->kernel != kernel) {
		PyErr_SetString(PyExc_ValueError, "the device is not this kernel's");
		return NULL;
	}
	kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	error = rumpel_device_unplug(kernel->handle, device->handle);
	Py_END_ALLOW_THREADS
	if (error)
		error_of_kernel(kernel, error);
	else
		give_back(device);
	kernel_leave(kernel);
	return error ? NULL : Py_NewRef(Py_None);
}

static int check_open(Device *device)
{
	if (!device->kernel || (device->kernel->handle && !device->kernel->closing))
		return 0;
	return error_closed(device->kernel);
}

/* NULL and an exception if its kernel is gone. */
struct rumpel_device *device_handle(PyObject *device)
{
	return check_open((Device *)device) < 0 ? NULL : ((Device *)device)->handle;
}

static PyObject *device_stats(PyObject *self, PyObject *unused)
{
	Device *device = (Device *)self;
	struct rumpel_device_stats stats = { 0 };

	(void)unused;
	if (check_open(device) < 0)
		return NULL;
	rumpel_device_stats(device->handle, &stats);
	return Py_BuildValue("(KKKKKK)", stats.in, stats.in_bytes, stats.out, stats.out_bytes,
			     stats.errors, stats.dropped);
}

static PyObject *device_resize(PyObject *self, PyObject *argument)
{
	unsigned long long size = PyLong_AsUnsignedLongLong(argument);
	Device *device = (Device *)self;
	Kernel *kernel = device->kernel;
	int error;

	if (PyErr_Occurred() || check_open(device) < 0)
		return NULL;
	if (kernel)
		kernel_enter(kernel);
	Py_BEGIN_ALLOW_THREADS
	error = rumpel_block_resize(device->handle, size);
	Py_END_ALLOW_THREADS
	if (error)
		error_of_device(error, "resize", NULL);
	if (kernel)
		kernel_leave(kernel);
	return error ? NULL : Py_NewRef(Py_None);
}

static PyObject *device_set_link(PyObject *self, PyObject *argument)
{
	Device *device = (Device *)self;
	int error, up = PyObject_IsTrue(argument);

	if (up < 0 || check_open(device) < 0)
		return NULL;
	error = rumpel_net_set_link(device->handle, up);
	if (error)
		error_of_device(error, "set_link", NULL);
	return error ? NULL : Py_NewRef(Py_None);
}

/* -1 and an exception, or what is -1 itself. */
static int descriptor_of(PyObject *number)
{
	long fd = PyLong_AsLong(number);

	if (fd < INT_MIN || fd > INT_MAX) {
		PyErr_SetString(PyExc_OverflowError, "a descriptor must fit in 32 bits");
		return -1;
	}
	return (int)fd;
}

/* capture(fd, flags, name) */
static PyObject *device_capture(PyObject *self, PyObject *args)
{
	Device *device = (Device *)self;
	const char *name = NULL;
	unsigned int flags = 0;
	int error, fd;

	if (!PyArg_ParseTuple(args, "i|Iz:capture", &fd, &flags, &name) || check_open(device) < 0)
		return NULL;
	error = rumpel_net_capture(device->handle, fd, flags, name);
	if (error) {
		error_of_device(error, "capture", NULL);
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *entropy(PyObject *module, PyObject *unused)
{
	struct rumpel_device *handle;
	int error = rumpel_entropy(&handle);

	(void)unused;
	if (error) {
		error_of_device(error, "an entropy device", NULL);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

static PyObject *console(PyObject *module, PyObject *argument)
{
	struct rumpel_device *handle;
	int error, fd = descriptor_of(argument);

	if (fd == -1 && PyErr_Occurred())
		return NULL;
	error = rumpel_console(fd, &handle);
	if (error) {
		error_of_device(error, "a console", NULL);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

/* vsock(path, cid) */
static PyObject *vsock(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	unsigned long cid;
	PyObject *path;
	int error;

	if (!PyArg_ParseTuple(args, "O&k:vsock", PyUnicode_FSConverter, &path, &cid))
		return NULL;
	error = cid > UINT32_MAX ? -EINVAL
				 : rumpel_vsock(PyBytes_AS_STRING(path), (uint32_t)cid, &handle);
	if (error)
		error_of_device(error, "a vsock", PyTuple_GET_ITEM(args, 0));
	Py_DECREF(path);
	return error ? NULL : device_wrap(module, handle, NULL);
}

PyMethodDef device_functions[] = {
	{ "boot", METHOD(kernel_boot), METH_VARARGS | METH_KEYWORDS, NULL },
	{ "entropy", entropy, METH_NOARGS, NULL },
	{ "console", console, METH_O, NULL },
	{ "vsock", vsock, METH_VARARGS, NULL },
	{ "host_directory", host_directory, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyMethodDef device_methods[] = {
	{ "stats", device_stats, METH_NOARGS, NULL },
	{ "capture", device_capture, METH_VARARGS, NULL },
	{ "receive", device_receive, METH_O, NULL },
	{ "resize", device_resize, METH_O, NULL },
	{ "set_link", device_set_link, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

/* Has a kernel taken it, and is it gone with that kernel? */
static PyObject *device_taken(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(((Device *)self)->kernel != NULL);
}

static PyObject *device_gone(PyObject *self, void *unused)
{
	const Kernel *kernel = ((Device *)self)->kernel;

	(void)unused;
	return PyBool_FromLong(kernel && !kernel->handle);
}

/* The virtual clock of that kernel, or None. */
static PyObject *device_clock(PyObject *self, void *unused)
{
	const Kernel *kernel = ((Device *)self)->kernel;

	(void)unused;
	return Py_NewRef(kernel && kernel->clock ? (PyObject *)kernel->clock : Py_None);
}

static PyGetSetDef device_getset[] = {
	{ "clock", device_clock, NULL, NULL, NULL },
	{ "taken", device_taken, NULL, NULL, NULL },
	{ "gone", device_gone, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot device_slots[] = {
	{ Py_tp_dealloc, device_dealloc },
	{ Py_tp_getset, device_getset },
	{ Py_tp_methods, device_methods },
	{ 0, NULL },
};

PyType_Spec device_spec = {
	.name = "rumpel._native.Device",
	.basicsize = sizeof(Device),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = device_slots,
};
