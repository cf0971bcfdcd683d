// SPDX-License-Identifier: GPL-2.0-only
/* Disks that Python serves. */
#include "native.h"

#define MOST_TAKEN 64

typedef struct {
	PyObject_HEAD
	struct rumpel_block_server *handle;
	PyObject *ready; /* called with a virtual clock */
} BlockServer;

/* A request that was taken. */
typedef struct {
	PyObject_HEAD
	struct rumpel_block_io io;
	BlockServer *server; /* NULL: it has ended */
	PyObject *data; /* what is to be written, or NULL */
} BlockIo;

/* ---- requests ---- */

static void io_end(BlockIo *self, const void *data, int error)
{
	BlockServer *server = self->server;

	self->server = NULL;
	Py_CLEAR(self->data);
	Py_BEGIN_ALLOW_THREADS
	rumpel_block_io_end(&self->io, data, error);
	Py_END_ALLOW_THREADS
	Py_DECREF(server);
}

static void io_dealloc(PyObject *object)
{
	BlockIo *self = (BlockIo *)object;
	PyTypeObject *type = Py_TYPE(object);

	if (self->server)
		io_end(self, NULL, -EIO);
	PyObject_Free(object);
	Py_DECREF(type);
}

/* end(errno, data=None) */
static PyObject *io_end_method(PyObject *object, PyObject *args)
{
	BlockIo *self = (BlockIo *)object;
	Py_buffer buffer = { 0 };
	PyObject *data = Py_None;
	int error;

	if (!PyArg_ParseTuple(args, "i|O:end", &error, &data))
		return NULL;
	if (data != Py_None && PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0)
		return NULL;
	if (!error && self->io.op == RUMPEL_BLOCK_READ && (uint64_t)buffer.len != self->io.len) {
		PyErr_Format(PyExc_ValueError, "%zd bytes were read instead of %llu", buffer.len,
			     (unsigned long long)self->io.len);
	} else if (!self->server) {
		PyErr_SetString(PyExc_ValueError, "this request has ended");
	} else {
		io_end(self, buffer.buf, -error);
	}
	if (buffer.obj)
		PyBuffer_Release(&buffer);
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *io_new(BlockServer *server, const struct rumpel_block_io *io)
{
	struct native_state *state = native_state(Py_TYPE(server));
	BlockIo *self = PyObject_New(BlockIo, state->io_type);

	if (!self) {
		rumpel_block_io_end(io, NULL, -ENOMEM);
		return NULL;
	}
	self->io = *io;
	self->server = (BlockServer *)refer(server);
	self->data = NULL;
	if (io->op != RUMPEL_BLOCK_WRITE)
		return (PyObject *)self;
	self->data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)io->len);
	/* If nobody wants it any more, it does not matter what is written... */
	if (self->data && rumpel_block_io_data(io, PyBytes_AS_STRING(self->data)) == 0)
		return (PyObject *)self;
	/* ...but better nothing is. */
	if (self->data)
		io_end(self, NULL, -ECANCELED);
	Py_DECREF(self);
	return NULL;
}

static PyMemberDef io_members[] = {
	{ "op", T_INT, offsetof(BlockIo, io.op), READONLY, NULL },
	{ "offset", T_ULONGLONG, offsetof(BlockIo, io.offset), READONLY, NULL },
	{ "length", T_ULONGLONG, offsetof(BlockIo, io.len), READONLY, NULL },
	{ "data", T_OBJECT, offsetof(BlockIo, data), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyMethodDef io_methods[] = {
	{ "end", io_end_method, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot io_slots[] = {
	{ Py_tp_dealloc, io_dealloc },
	{ Py_tp_members, io_members },
	{ Py_tp_methods, io_methods },
	{ 0, NULL },
};

PyType_Spec io_spec = {
	.name = "rumpel._native.BlockIo",
	.basicsize = sizeof(BlockIo),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = io_slots,
};

/* ---- servers ---- */

static int server_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((BlockServer *)self)->ready);
	return 0;
}

static int server_clear(PyObject *self)
{
	Py_CLEAR(((BlockServer *)self)->ready);
	return 0;
}

static void server_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	server_clear(self);
	rumpel_block_server_free(((BlockServer *)self)->handle);
	PyObject_GC_Del(self);
	Py_DECREF(type);
}

/* take(wait, most): a list, or None once the kernel is gone. */
static PyObject *server_take(PyObject *object, PyObject *args)
{
	BlockServer *self = (BlockServer *)object;
	struct rumpel_block_io ios[MOST_TAKEN];
	int wait, most = MOST_TAKEN, taken;
	PyObject *list, *io;

	if (!PyArg_ParseTuple(args, "p|i:take", &wait, &most))
		return NULL;
	most = most < 1 ? 1 : most > MOST_TAKEN ? MOST_TAKEN : most;
	do {
		Py_BEGIN_ALLOW_THREADS
		taken = rumpel_block_take(self->handle, wait, ios, (size_t)most);
		Py_END_ALLOW_THREADS
		if (taken < 0)
			Py_RETURN_NONE;
		list = PyList_New(0);
		for (int i = 0; i < taken; i++) {
			io = list ? io_new(self, &ios[i]) : NULL;
			if (!list)
				rumpel_block_io_end(&ios[i], NULL, -ENOMEM);
			if (io && PyList_Append(list, io) < 0)
				Py_CLEAR(list);
			Py_XDECREF(io);
			if (list && PyErr_Occurred())
				Py_CLEAR(list);
		}
		if (!list || !wait || PyList_GET_SIZE(list))
			return list;
		Py_DECREF(list);
	} while (true);
}

static PyObject *server_fail(PyObject *object, PyObject *unused)
{
	struct rumpel_block_server *handle = ((BlockServer *)object)->handle;

	(void)unused;
	Py_BEGIN_ALLOW_THREADS
	rumpel_block_fail(handle);
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

/* With a virtual clock; this thread may or may not have the interpreter's lock. */
static void server_ready(void *context)
{
	PyGILState_STATE had = PyGILState_Ensure();
	BlockServer *self = context;
	PyObject *type, *value, *trace, *result;
	bool before = callback_begin();

	PyErr_Fetch(&type, &value, &trace);
	result = self->ready ? PyObject_CallNoArgs(self->ready) : NULL;
	if (!result && PyErr_Occurred())
		PyErr_WriteUnraisable((PyObject *)self);
	Py_XDECREF(result);
	callback_end(before);
	PyErr_Restore(type, value, trace);
	PyGILState_Release(had);
}

static PyMethodDef server_methods[] = {
	{ "take", server_take, METH_VARARGS, NULL },
	{ "fail", server_fail, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot server_slots[] = {
	{ Py_tp_dealloc, server_dealloc },
	{ Py_tp_traverse, server_traverse },
	{ Py_tp_clear, server_clear },
	{ Py_tp_methods, server_methods },
	{ 0, NULL },
};

PyType_Spec server_spec = {
	.name = "rumpel._native.BlockServer",
	.basicsize = sizeof(BlockServer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = server_slots,
};

/* block_served(size, block_size, flags, ready): a server, and its device, which holds it. */
PyObject *block_served(PyObject *module, PyObject *args)
{
	struct native_state *state = PyModule_GetState(module);
	struct rumpel_device *handle;
	unsigned int block_size, flags;
	unsigned long long size;
	PyObject *ready, *device;
	BlockServer *self;
	int error;

	if (!PyArg_ParseTuple(args, "KIIO:block_served", &size, &block_size, &flags, &ready))
		return NULL;
	self = PyObject_GC_New(BlockServer, state->server_type);
	if (!self)
		return NULL;
	self->ready = refer(ready);
	self->handle = NULL;
	error = rumpel_block_served(size, block_size, flags, server_ready, self, &self->handle,
				    &handle);
	PyObject_GC_Track(self);
	if (error) {
		Py_DECREF(self);
		error_of_device(error, "a disk", NULL);
		return NULL;
	}
	device = device_wrap(module, handle, (PyObject *)self);
	if (device)
		return Py_BuildValue("NN", self, device);
	Py_DECREF(self);
	return NULL;
}
