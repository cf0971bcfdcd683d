// SPDX-License-Identifier: GPL-2.0-only
/* The server as Python has it, which answers what is not asked as often with its nodes. */
#define _GNU_SOURCE
#include "fuse.h"

#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

int fuse_begin(FuseServer *server)
{
	PyObject *module = PyType_GetModuleByDef(Py_TYPE(server), &native_module);

	return module ? side_begin(&server->side, module, (PyObject *)server->kernel) : -1;
}

void fuse_end(FuseServer *server)
{
	side_end(&server->side);
}

/* Has the root directory, and learns how it is mounted. */
static int begin_nodes(FuseServer *server)
{
	struct statfs how;
	struct statx root;
	long result;
	bool asked;

	if (fuse_begin(server) < 0)
		return -1;
	asked = side_call(&server->side, &result, SYS_statx, AT_FDCWD, (long)"/", 0,
			  STATX_BASIC_STATS, (long)&root);
	if (asked && result >= 0)
		asked = side_call(&server->side, &result, SYS_statfs, (long)"/", (long)&how, 0, 0,
				  0);
	fuse_end(server);
	if (!asked)
		return -1;
	if (result < 0)
		return error_of_call(NULL, result);
	/* Nobody shall see by the times that a file was read that he has not asked for. */
	server->ahead.allowed = how.f_flags & (ST_NOATIME | ST_RDONLY);
	return fuse_nodes_begin(server, &root);
}

static PyObject *server_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	struct native_state *state = native_state(type);
	PyObject *kernel;
	FuseServer *server;
	int device, read_only;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "FuseServer takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "O!ip:FuseServer", state->kernel_type, &kernel, &device,
			      &read_only))
		return NULL;
	server = (FuseServer *)type->tp_alloc(type, 0);
	if (!server)
		return NULL;
	server->kernel = (Kernel *)Py_NewRef(kernel);
	server->node_type = state->fuse_node_type;
	server->device = device;
	server->read_only = read_only;
	server->patience = FUSE_PATIENT_NS;
	server->crowd = 1;
	server->data = PyMem_Malloc(FUSE_ROOM);
	if (!server->data)
		PyErr_NoMemory();
	else if (begin_nodes(server) == 0)
		return (PyObject *)server;
	Py_DECREF(server);
	return NULL;
}

static void server_dealloc(PyObject *self)
{
	FuseServer *server = (FuseServer *)self;
	PyTypeObject *type = Py_TYPE(self);

	fuse_nodes_end(server);
	for (int i = 0; i < FUSE_DIRECTORIES; i++)
		PyMem_Free(server->directories[i].listing.data);
	for (int i = 0; i < FUSE_EARLY; i++)
		PyMem_Free(server->ahead.early[i].data);
	PyMem_Free(server->devices);
	PyMem_Free(server->data);
	Py_XDECREF(server->kernel);
	PyObject_Free(self);
	Py_DECREF(type);
}

/* changed(): who answers a request has changed something */
static PyObject *server_changed(PyObject *self, PyObject *unused)
{
	(void)unused;
	((FuseServer *)self)->changes++;
	Py_RETURN_NONE;
}

static PyObject *fail(long error)
{
	error_of_call(NULL, error);
	return NULL;
}

/* node(id) */
static PyObject *server_node(PyObject *self, PyObject *id)
{
	unsigned long long number = PyLong_AsUnsignedLongLong(id);
	FuseNode *node;

	if (PyErr_Occurred())
		return NULL;
	node = fuse_node((FuseServer *)self, number);
	return node ? Py_NewRef((PyObject *)node) : fail(-ESTALE);
}

/* Arguments (node) or (node, name). */
static int node_and_name(PyObject *self, PyObject *args, FuseNode **node, const char **name,
			 Py_ssize_t *length)
{
	PyTypeObject *type = ((FuseServer *)self)->node_type;

	*name = NULL;
	*length = 0;
	return PyArg_ParseTuple(args, "O!|y#", type, node, name, length) ? 0 : -1;
}

/* path(node, name=None) */
static PyObject *server_path(PyObject *self, PyObject *args)
{
	const char *name, *path;
	Py_ssize_t length;
	FuseNode *node;
	long error;

	if (node_and_name(self, args, &node, &name, &length) < 0)
		return NULL;
	path = fuse_path((FuseServer *)self, node, name, (size_t)length, &error);
	return path ? PyBytes_FromString(path) : fail(error);
}

/* look(node, name): the node that is there, or None, and the mode of its file */
static PyObject *server_look(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	PyObject *there = Py_None;
	struct statx found;
	const char *name;
	Py_ssize_t length;
	FuseNode *node;
	long result;
	bool asked;

	if (node_and_name(self, args, &node, &name, &length) < 0 || fuse_begin(server) < 0)
		return NULL;
	asked = name ? fuse_look_at(server, node, name, (size_t)length, &found, &result)
		     : fuse_look(server, node, &found, &result);
	fuse_end(server);
	if (!asked)
		return NULL;
	if (result < 0)
		return fail(result);
	node = fuse_find(server, &found);
	if (node)
		there = (PyObject *)node;
	return Py_BuildValue("OI", there, (unsigned int)found.stx_mode);
}

/* entry(node, name): what the host is told of what is there */
static PyObject *server_entry(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	PyObject *bytes = NULL;
	const char *name;
	Py_ssize_t length;
	FuseNode *node;
	long result;

	if (node_and_name(self, args, &node, &name, &length) < 0 || fuse_begin(server) < 0)
		return NULL;
	if (!fuse_lookup(server, node, name ? name : "", (size_t)length, &result))
		goto out;
	bytes = result < 0 ? fail(result) : PyBytes_FromStringAndSize(server->data, result);
out:
	fuse_end(server);
	return bytes;
}

/* attributes(node): as the host gets them */
static PyObject *server_attributes(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	PyObject *bytes = NULL;
	const char *name;
	Py_ssize_t length;
	FuseNode *node;
	long result;

	if (node_and_name(self, args, &node, &name, &length) < 0 || fuse_begin(server) < 0)
		return NULL;
	if (fuse_getattr(server, node, NULL, 0, &result))
		bytes = result < 0 ? fail(result) : PyBytes_FromStringAndSize(server->data, result);
	fuse_end(server);
	return bytes;
}

/* file(node, writable): a descriptor */
static PyObject *server_file(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	FuseNode *node;
	int writable;
	bool asked;
	long fd;

	if (!PyArg_ParseTuple(args, "O!p:file", server->node_type, &node, &writable) ||
	    fuse_begin(server) < 0)
		return NULL;
	asked = fuse_file(server, node, writable, &fd);
	fuse_end(server);
	if (!asked)
		return NULL;
	return fd < 0 ? fail(fd) : PyLong_FromLong(fd);
}

/* directory(node): a descriptor */
static PyObject *server_directory(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	FuseNode *node;
	bool asked;
	long fd;

	if (!PyArg_ParseTuple(args, "O!:directory", server->node_type, &node) ||
	    fuse_begin(server) < 0)
		return NULL;
	asked = fuse_directory(server, node, &fd);
	fuse_end(server);
	if (!asked)
		return NULL;
	return fd < 0 ? fail(fd) : PyLong_FromLong(fd);
}

/* hold(node, fd): it is about to lose its name */
static PyObject *server_hold(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	FuseNode *node;
	int fd;

	if (!PyArg_ParseTuple(args, "O!i:hold", server->node_type, &node, &fd))
		return NULL;
	if (fd < 0 || node->fd >= 0) {
		PyErr_SetString(PyExc_ValueError, "it has a descriptor, or gets none");
		return NULL;
	}
	node->fd = fd;
	server->nameless++;
	Py_RETURN_NONE;
}

/* release(node): it has a name after all */
static PyObject *server_release(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	FuseNode *node;

	if (!PyArg_ParseTuple(args, "O!:release", server->node_type, &node) ||
	    fuse_begin(server) < 0)
		return NULL;
	fuse_release(server, node);
	fuse_end(server);
	Py_RETURN_NONE;
}

/* move(node, parent, name) */
static PyObject *server_move(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	FuseNode *node, *parent;
	PyObject *name;

	if (!PyArg_ParseTuple(args, "O!O!S:move", server->node_type, &node, server->node_type,
			      &parent, &name) ||
	    fuse_begin(server) < 0)
		return NULL;
	fuse_move(server, node, parent, name);
	fuse_end(server);
	Py_RETURN_NONE;
}

/* close(): all files */
static PyObject *server_close(PyObject *self, PyObject *unused)
{
	FuseServer *server = (FuseServer *)self;

	(void)unused;
	if (fuse_begin(server) < 0)
		return NULL;
	for (size_t i = 0; i < server->hashes; i++) {
		for (FuseNode *node = server->by_id[i]; node; node = node->by_id)
			fuse_release(server, node);
	}
	fuse_end(server);
	Py_RETURN_NONE;
}

static PyMethodDef server_methods[] = {
	{ "take", fuse_take, METH_VARARGS, NULL },
	{ "answer", fuse_answer, METH_VARARGS, NULL },
	{ "changed", server_changed, METH_NOARGS, NULL },
	{ "node", server_node, METH_O, NULL },
	{ "path", server_path, METH_VARARGS, NULL },
	{ "look", server_look, METH_VARARGS, NULL },
	{ "entry", server_entry, METH_VARARGS, NULL },
	{ "attributes", server_attributes, METH_VARARGS, NULL },
	{ "file", server_file, METH_VARARGS, NULL },
	{ "directory", server_directory, METH_VARARGS, NULL },
	{ "hold", server_hold, METH_VARARGS, NULL },
	{ "release", server_release, METH_VARARGS, NULL },
	{ "move", server_move, METH_VARARGS, NULL },
	{ "close", server_close, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef server_members[] = {
	{ "nameless", T_PYSSIZET, offsetof(FuseServer, nameless), READONLY, NULL },
	{ "served", T_ULONGLONG, offsetof(FuseServer, served), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyType_Slot server_slots[] = {
	{ Py_tp_new, server_new },
	{ Py_tp_dealloc, server_dealloc },
	{ Py_tp_methods, server_methods },
	{ Py_tp_members, server_members },
	{ 0, NULL },
};

PyType_Spec fuse_server_spec = {
	.name = "rumpel._native.FuseServer",
	.basicsize = sizeof(FuseServer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = server_slots,
};
