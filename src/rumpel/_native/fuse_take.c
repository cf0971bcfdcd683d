// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking requests. What the server can answer it answers, and hands all else out. There is one
 * request at a time, so what one has changed the next one sees.
 */
#define _GNU_SOURCE
#include "fuse.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Who gives up the CPU and has it again after that long, has seen others run. */
#define OTHERS_NS 50000
/* So many requests are not looked for then, at most: more if it is so again and again. */
#define MOST_CROWDED 64

/* A signal may come before poll() and after Python has looked for one. */
#define SIGNAL_PERIOD_MS 100

/* For how long the next one is looked for at most. */
#define MOST_PATIENT_NS (8 * FUSE_PATIENT_NS)

typedef bool answer_function(FuseServer *server, FuseNode *node, const char *body, size_t size,
			     long *result);

static answer_function *const answers[] = {
	[FUSE_LOOKUP] = fuse_lookup,
	[FUSE_GETATTR] = fuse_getattr,
	[FUSE_READ] = fuse_read,
	[FUSE_READDIR] = fuse_readdir,
	[FUSE_READDIRPLUS] = fuse_readdirplus,
};

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
 * Sleeps until there may be a request; false if there will be none: the other end of `stop` is closed.
 * Where CPUs that are idle sleep deeply, who asks is as slow to wake up as this here is: to look
 * for a little longer saves both of them.
 */
static bool wait_for(FuseServer *server, int stop)
{
	struct pollfd fds[2] = { { .fd = server->device, .events = POLLIN }, { .fd = stop } };
	int64_t before = now();

	if (poll(fds, 2, SIGNAL_PERIOD_MS) > 0 && fds[1].revents)
		return false;
	if (now() - before < MOST_PATIENT_NS)
		server->patience *= 2;
	else
		server->patience /= 2;
	if (server->patience > MOST_PATIENT_NS)
		server->patience = MOST_PATIENT_NS;
	if (server->patience < FUSE_PATIENT_NS)
		server->patience = FUSE_PATIENT_NS;
	return true;
}

static bool is_stopped(int stop)
{
	struct pollfd fd = { .fd = stop };

	return poll(&fd, 1, 0) > 0 && fd.revents;
}

/* As read(2): 0 if there is no request, and none is waited for, or there will be none. */
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
	Py_END_ALLOW_THREADS
	while (!size && !*stopped) {
		Py_BEGIN_ALLOW_THREADS
		*stopped = !wait_for(server, stop);
		size = receive(server, to);
		Py_END_ALLOW_THREADS
		if (!size && PyErr_CheckSignals() < 0)
			return -1;
	}
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
PyObject *fuse_answer(PyObject *self, PyObject *args)
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
PyObject *fuse_take(PyObject *self, PyObject *args)
{
	FuseServer *server = (FuseServer *)self;
	const struct fuse_in_header *in;
	int status = 1, most, patient, stop;
	bool stopped = false;
	ssize_t size = 1;
	Py_buffer to;

	if (!PyArg_ParseTuple(args, "w*ipi:take", &to, &stop, &patient, &most))
		return NULL;
	if (fuse_begin(server) < 0) {
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
	fuse_end(server);
	PyBuffer_Release(&to);
	if (size < 0 || status < 0)
		return NULL;
	if (status > 0)
		return PyBool_FromLong(!stopped && (size || stop >= 0));
	return Py_BuildValue("IKKIIn", in->opcode, (unsigned long long)in->unique,
			     (unsigned long long)in->nodeid, in->uid, in->gid, size);
}
