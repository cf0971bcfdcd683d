// SPDX-License-Identifier: GPL-2.0-only
/* What a process does to itself before it lets in what it does not trust. */
#define _GNU_SOURCE
#include "native.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static PyObject *result(long value)
{
	if (value)
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

/* unshare(flags) */
static PyObject *confine_unshare(PyObject *module, PyObject *arg)
{
	unsigned long flags = PyLong_AsUnsignedLong(arg);

	(void)module;
	if (PyErr_Occurred())
		return NULL;
	return result(unshare(flags));
}

/* drop_capabilities(): of this thread; those it makes inherit none. */
static PyObject *drop_capabilities(PyObject *module, PyObject *none)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	(void)module, (void)none;
	return result(syscall(SYS_capset, &header, data));
}

/* seccomp(program): for all threads of the process, for good. */
static PyObject *confine_seccomp(PyObject *module, PyObject *arg)
{
	struct sock_fprog filter;
	Py_buffer program;
	long error;

	(void)module;
	if (PyObject_GetBuffer(arg, &program, PyBUF_SIMPLE))
		return NULL;
	filter.len = program.len / sizeof(struct sock_filter);
	filter.filter = program.buf;
	error = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!error)
		error = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				&filter);
	PyBuffer_Release(&program);
	/* A thread that could not be brought along is reported by its number. */
	if (error > 0)
		errno = EBUSY;
	return result(error);
}

#define LANDLOCK_SCOPES 3 /* abstract sockets, signals; ABI 6 */

struct landlock_ruleset {
	__u64 fs, net, scoped;
};

/* All that the host knows of; ioctls of devices are left as they are. */
static __u64 landlock_accesses(long abi)
{
	__u64 all = LANDLOCK_ACCESS_FS_MAKE_SYM | (LANDLOCK_ACCESS_FS_MAKE_SYM - 1);

	if (abi >= 2)
		all |= 1ull << 13; /* REFER */
	if (abi >= 3)
		all |= 1ull << 14; /* TRUNCATE */
	return all;
}

/* One rule: what is below `path`. */
static long landlock_allow(int ruleset, const char *path, __u64 access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	long error;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	/* What is not there needs no rule. */
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -1;
	error = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return error;
}

static long landlock_fill(int ruleset, PyObject *rules, __u64 known)
{
	unsigned long long access;
	const char *path;

	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(rules); i++) {
		if (!PyArg_ParseTuple(PyTuple_GET_ITEM(rules, i), "yK", &path, &access))
			return -1;
		if (landlock_allow(ruleset, path, access & known))
			return -1;
	}
	return 0;
}

/*
 * landlock(rules): of files, this thread and what it executes have from now on only
 * what the pairs of path and LANDLOCK_ACCESS_FS_* allow; other processes out of reach of
 * signals, where the host can do that. False: the host has no Landlock.
 */
static PyObject *confine_landlock(PyObject *module, PyObject *rules)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset attributes = { .fs = landlock_accesses(abi) };
	size_t size = abi >= 6 ? sizeof(attributes) : sizeof(attributes.fs);
	long error;
	int ruleset;

	(void)module;
	if (!PyTuple_Check(rules)) {
		PyErr_SetString(PyExc_TypeError, "rules are a tuple");
		return NULL;
	}
	if (abi < 1)
		Py_RETURN_FALSE;
	attributes.scoped = abi >= 6 ? LANDLOCK_SCOPES : 0;
	ruleset = syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
	if (ruleset < 0)
		return result(-1);
	error = landlock_fill(ruleset, rules, attributes.fs);
	if (!error)
		error = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!error)
		error = syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	if (PyErr_Occurred())
		return NULL;
	if (error)
		return result(error);
	Py_RETURN_TRUE;
}

/* How long the process may live once the other end is gone; 0 is not watched yet. */
static atomic_uint patience;

/* Without Python's lock, which a call that loops in the kernel may hold for ever. */
static void *watch(void *arg)
{
	struct pollfd other_end = { .fd = (int)(intptr_t)arg, .events = POLLRDHUP };
	unsigned int seconds;

	while (poll(&other_end, 1, -1) < 1)
		;
	for (seconds = 0; seconds < atomic_load(&patience); seconds++)
		sleep(1);
	_exit(1);
}

/* end_after_hangup(fd, seconds): of a socket; the next call changes the seconds. */
static PyObject *end_after_hangup(PyObject *module, PyObject *args)
{
	unsigned int seconds;
	pthread_t thread;
	int fd;

	(void)module;
	if (!PyArg_ParseTuple(args, "iI", &fd, &seconds))
		return NULL;
	if (atomic_exchange(&patience, seconds))
		Py_RETURN_NONE;
	errno = pthread_create(&thread, NULL, watch, (void *)(intptr_t)fd);
	if (errno)
		return result(-1);
	pthread_detach(thread);
	Py_RETURN_NONE;
}

PyMethodDef confine_functions[] = {
	{ "unshare", confine_unshare, METH_O, NULL },
	{ "drop_capabilities", drop_capabilities, METH_NOARGS, NULL },
	{ "landlock", confine_landlock, METH_O, NULL },
	{ "seccomp", confine_seccomp, METH_O, NULL },
	{ "end_after_hangup", end_after_hangup, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
