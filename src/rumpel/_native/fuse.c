// SPDX-License-Identifier: GPL-2.0-only
/*
 * The server as Python has it. It answers what it can, and hands all else out. There is one
 * request at a time, so what one has changed the next one sees.
 */
#define _GNU_SOURCE
#include "fuse.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Who gives up the CPU and has it again after that long, has seen others run. */
#define OTHERS_NS 50000
/* So many requests are not looked for then, at most: more if it is so again and again. */
#define MOST_CROWDED 64

/* For how long the next one is looked for at least, and at most. */
#define LEAST_PATIENT_NS 60000
#define MOST_PATIENT_NS 480000

typedef bool answer_function(FuseServer *server, FuseNode *node, const char *body, size_t size,
			     long *result);

static answer_function *const answers[] = {
	[FUSE_LOOKUP] = fuse_lookup,
	[FUSE_GETATTR] = fuse_getattr,
	[FUSE_READ] = fuse_read,
	[FUSE_READDIR] = fuse_readdir,
	[FUSE_READDIRPLUS] = fuse_readdirplus,
};

static int begin(FuseServer *server)
{
	PyObject *module = PyType_GetModuleByDef(Py_TYPE(server), &native_module);

	return module ? side_begin(&server->side, module, (PyObject *)server->kernel) : -1;
}

static void end(FuseServer *server)
{
	side_end(&server->side);
}

static PyObject *server_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	struct native_state *state = native_state(type);
	PyObject *kernel;
	FuseServer *server;
	struct statx root;
	int device, read_only;
	long result = 0;
	bool asked;

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
	server->patience = LEAST_PATIENT_NS;
	server->crowd = 1;
	server->data = PyMem_Malloc(FUSE_ROOM);
	if (!server->data) {
		PyErr_NoMemory();
		goto failed;
	}
	if (begin(server) < 0)
		goto failed;
	asked = side_call(&server->side, &result, SYS_statx, AT_FDCWD, (long)"/", 0,
			  STATX_BASIC_STATS, (long)&root);
	end(server);
	if (asked && result < 0)
		error_of_call(NULL, result);
	if (asked && result >= 0 && fuse_nodes_begin(server, &root) == 0)
		return (PyObject *)server;
failed:
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

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* As read(2): 0 if there is no request. */
static ssize_t receive(const FuseServer *server, const Py_buffer *to)
{
	ssize_t size = read(server->device, to->buf, (size_t)to->len);

	/* ENOENT: somebody was interrupted before his request was read. */
	if (size < 0 && (errno == EAGAIN || errno == ENOENT || errno == EINTR))
		return 0;
	return size;
}

/*
 * Looks for a request for a while. Whoever asks waits for the answer, and asks again: to sleep
 * meanwhile, and be woken on another CPU, takes longer than to answer. But not where others want
 * this CPU, among them who asks, maybe: then to sleep is to be woken first.
 */
static ssize_t look_for(FuseServer *server, const Py_buffer *to)
{
	int64_t time, until, before;
	ssize_t size = 0;

	if (server->crowded) {
		server->crowded--;
		return 0;
	}
	time = now();
	until = time + server->patience;
	while (!size && time < until) {
		before = time;
		sched_yield();
		size = receive(server, to);
		time = now();
		if (time - before > OTHERS_NS) {
			server->crowd =
				server->crowd < MOST_CROWDED ? server->crowd * 2 : MOST_CROWDED;
			server->crowded = server->crowd;
			return size;
		}
	}
	if (size)
		server->crowd = 1;
	return size;
}

/*
 * Sleeps until there is a request; false if there will be none: the other end of `stop` is closed.
 * Where CPUs that are idle sleep deeply, who asks is as slow to wake up as this here is: to look
 * for a little longer saves both of them.
 */
static bool wait_for(FuseServer *server, int stop)
{
	struct pollfd fds[2] = { { .fd = server->device, .events = POLLIN }, { .fd = stop } };
	int64_t before = now();

	/* Interrupted by a signal there is no request, which is seen then. */
	if (poll(fds, 2, -1) > 0 && fds[1].revents)
		return false;
	if (now() - before < MOST_PATIENT_NS)
		server->patience *= 2;
	else
		server->patience /= 2;
	if (server->patience > MOST_PATIENT_NS)
		server->patience = MOST_PATIENT_NS;
	if (server->patience < LEAST_PATIENT_NS)
		server->patience = LEAST_PATIENT_NS;
	return true;
}

static bool is_stopped(int stop)
{
	struct pollfd fd = { .fd = stop };

	return poll(&fd, 1, 0) > 0 && fd.revents;
}

/* As read(2): 0 if there is no request, and none is waited for, or somebody should look around. */
static ssize_t take(FuseServer *server, const Py_buffer *to, int stop, bool patient, bool *stopped)
{
	ssize_t size = receive(server, to);
	int more = patient;

	if (size || stop < 0)
		return size;
	while (more) {
		more = fuse_ahead(server);
		if (more < 0)
			return -1;
		size = receive(server, to);
		if (size)
			return size;
	}
	Py_BEGIN_ALLOW_THREADS
	if (patient)
		size = look_for(server, to);
	if (!size) {
		*stopped = !wait_for(server, stop);
		size = *stopped ? 0 : receive(server, to);
	}
	Py_END_ALLOW_THREADS
	return size;
}

/* size: of the answer, or a negative errno. */
static int send_answer(const FuseServer *server, uint64_t unique, const void *data, ssize_t size)
{
	struct fuse_out_header out = { .unique = unique };
	struct iovec iov[2] = { { &out, sizeof(out) }, { (void *)data, 0 } };

	if (size < 0)
		out.error = (int32_t)size;
	else
		iov[1].iov_len = (size_t)size;
	out.len = (uint32_t)(sizeof(out) + iov[1].iov_len);
	/* ENOENT: who has asked is gone, as by a signal. The next read says so if all is. */
	if (writev(server->device, iov, iov[1].iov_len ? 2 : 1) < 0 && errno != ENOENT &&
	    errno != ENODEV && errno != ECONNABORTED) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	return 0;
}

/* answer(unique, error, data) */
static PyObject *server_answer(PyObject *self, PyObject *args)
{
	unsigned long long unique;
	Py_buffer data;
	int error, status;

	if (!PyArg_ParseTuple(args, "Kiy*:answer", &unique, &error, &data))
		return NULL;
	status = send_answer((FuseServer *)self, unique, data.buf, error ? -error : data.len);
	PyBuffer_Release(&data);
	return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* changed(): who answers a request has changed something */
static PyObject *server_changed(PyObject *self, PyObject *unused)
{
	(void)unused;
	((FuseServer *)self)->changes++;
	Py_RETURN_NONE;
}

static void forget_many(FuseServer *server, const char *body, size_t size)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	if (size < sizeof(in))
		return;
	memcpy(&in, body, sizeof(in));
	for (size_t at = sizeof(in); in.count && at + sizeof(one) <= size; at += sizeof(one)) {
		memcpy(&one, body + at, sizeof(one));
		fuse_forget(server, one.nodeid, one.nlookup);
		in.count--;
	}
}

/* 1: it is done, 0: it is not for this server, -1: an exception. */
static int serve(FuseServer *server, const struct fuse_in_header *in)
{
	const char *body = (const char *)(in + 1);
	size_t size = in->len - sizeof(*in);
	struct fuse_forget_in forget;
	answer_function *function;
	long result = -ESTALE;
	FuseNode *node;

	if (in->opcode == FUSE_FORGET && size >= sizeof(forget)) {
		memcpy(&forget, body, sizeof(forget));
		fuse_forget(server, in->nodeid, forget.nlookup);
		return 1;
	}
	if (in->opcode == FUSE_BATCH_FORGET) {
		forget_many(server, body, size);
		return 1;
	}
	function = in->opcode < sizeof(answers) / sizeof(*answers) ? answers[in->opcode] : NULL;
	if (!function)
		return 0;
	node = fuse_node(server, in->nodeid);
	if (node && !function(server, node, body, size, &result))
		return -1;
	return send_answer(server, in->unique, server->data, result) < 0 ? -1 : 1;
}

/*
 * take(buffer, stop, patient, most): True if many were answered, or it is time to look around; one
 * that was not answered: opcode, unique, node, user, group, and how much of the buffer it takes;
 * False if there are no more.
 */
static PyObject *server_take(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	const struct fuse_in_header *in;
	int status = 1, most, patient, stop;
	bool stopped = false;
	ssize_t size = 1;
	Py_buffer to;

	if (!PyArg_ParseTuple(args, "w*ipi:take", &to, &stop, &patient, &most))
		return NULL;
	if (begin(server) < 0) {
		PyBuffer_Release(&to);
		return NULL;
	}
	in = to.buf;
	if (stop >= 0 && server->unlooked >= most) {
		server->unlooked = 0;
		stopped = is_stopped(stop);
	}
	for (int i = 0; i < most && status > 0 && !stopped; i++) {
		size = take(server, &to, stop, patient, &stopped);
		if (size < 0 && !PyErr_Occurred())
			PyErr_SetFromErrno(PyExc_OSError);
		if (size <= 0)
			break;
		server->served++;
		server->unlooked++;
		if ((size_t)size < sizeof(*in) || in->len != size) {
			PyErr_SetString(PyExc_OSError, "the host's request is none");
			status = -1;
		} else {
			status = serve(server, in);
		}
	}
	end(server);
	PyBuffer_Release(&to);
	if (size < 0 || status < 0)
		return NULL;
	if (status > 0)
		return PyBool_FromLong(!stopped && (size || stop >= 0));
	return Py_BuildValue("IKKIIn", in->opcode, (unsigned long long)in->unique,
			     (unsigned long long)in->nodeid, in->uid, in->gid, size);
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

	if (node_and_name(self, args, &node, &name, &length) < 0 || begin(server) < 0)
		return NULL;
	asked = name ? fuse_look_at(server, node, name, (size_t)length, &found, &result)
		     : fuse_look(server, node, &found, &result);
	end(server);
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

	if (node_and_name(self, args, &node, &name, &length) < 0 || begin(server) < 0)
		return NULL;
	if (!fuse_lookup(server, node, name ? name : "", (size_t)length, &result))
		goto out;
	bytes = result < 0 ? fail(result) : PyBytes_FromStringAndSize(server->data, result);
out:
	end(server);
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

	if (node_and_name(self, args, &node, &name, &length) < 0 || begin(server) < 0)
		return NULL;
	if (fuse_getattr(server, node, NULL, 0, &result))
		bytes = result < 0 ? fail(result) : PyBytes_FromStringAndSize(server->data, result);
	end(server);
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
	    begin(server) < 0)
		return NULL;
	asked = fuse_file(server, node, writable, &fd);
	end(server);
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

	if (!PyArg_ParseTuple(args, "O!:directory", server->node_type, &node) || begin(server) < 0)
		return NULL;
	asked = fuse_directory(server, node, &fd);
	end(server);
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

	if (!PyArg_ParseTuple(args, "O!:release", server->node_type, &node) || begin(server) < 0)
		return NULL;
	fuse_release(server, node);
	end(server);
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
	    begin(server) < 0)
		return NULL;
	fuse_move(server, node, parent, name);
	end(server);
	Py_RETURN_NONE;
}

/* close(): all files */
static PyObject *server_close(PyObject *self, PyObject *unused)
{
	FuseServer *server = (FuseServer *)self;

	(void)unused;
	if (begin(server) < 0)
		return NULL;
	for (size_t i = 0; i < server->hashes; i++) {
		for (FuseNode *node = server->by_id[i]; node; node = node->by_id)
			fuse_release(server, node);
	}
	end(server);
	Py_RETURN_NONE;
}

static PyMethodDef server_methods[] = {
	{ "take", server_take, METH_VARARGS, NULL },
	{ "answer", server_answer, METH_VARARGS, NULL },
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
