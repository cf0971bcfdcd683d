// SPDX-License-Identifier: GPL-2.0-only
/*
 * A user-mode network: libslirp at the other end of a socket that a network
 * interface of a kernel has for its cable. slirp answers the kernel's frames
 * with sockets of this process, so it needs no privilege.
 *
 * The library is opened when the first one is made, so that nothing else
 * depends on it. A thread of C drives each; it never needs the interpreter.
 */
#include "native.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<slirp/libslirp.h>)
#include <slirp/libslirp.h>

#define LIBRARY "libslirp.so.0"
#define FRAME_SIZE (64 << 10)
#define FRAMES_AT_ONCE 64
/* How long to wait for a kernel that does not take its frames. */
#define FULL_MS 100

struct timer {
	SlirpTimerCb callback;
	void *opaque;
	int64_t expires; /* ms, or -1 */
	struct timer *next;
};

typedef struct {
	PyObject_HEAD
	struct native_state *state;
	void *library;
	Slirp *slirp;
	__typeof__(&slirp_new) new;
	__typeof__(&slirp_cleanup) cleanup;
	__typeof__(&slirp_pollfds_fill) fill;
	__typeof__(&slirp_pollfds_poll) poll;
	__typeof__(&slirp_input) input;
	__typeof__(&slirp_add_hostfwd) add;
	__typeof__(&slirp_remove_hostfwd) remove;
	/* Guards slirp and what its callbacks touch, but while the thread sleeps. */
	pthread_mutex_t lock;
	pthread_t thread;
	bool running, stop;
	int guest, host, wake; /* descriptors */
	struct pollfd *polled; /* the first two are `host` and `wake` */
	size_t count, room;
	struct timer *timers;
	uint8_t frame[FRAME_SIZE];
} UserNet;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ---- what slirp calls ---- */

static ssize_t on_send(const void *frame, size_t size, void *opaque)
{
	UserNet *net = opaque;
	struct pollfd room = { net->host, POLLOUT, 0 };

	/* A full socket is a kernel that is busy; after a while the frame is lost. */
	if (send(net->host, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN &&
	    poll(&room, 1, FULL_MS) > 0)
		(void)!send(net->host, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	return (ssize_t)size;
}

static void on_guest_error(const char *message, void *opaque)
{
	(void)message;
	(void)opaque;
}

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return now_ns();
}

static void *on_timer_new(SlirpTimerCb callback, void *argument, void *opaque)
{
	UserNet *net = opaque;
	struct timer *timer = malloc(sizeof(*timer));

	if (!timer)
		abort(); /* slirp cannot do without */
	*timer = (struct timer){ callback, argument, -1, net->timers };
	net->timers = timer;
	return timer;
}

static void on_timer_free(void *timer, void *opaque)
{
	UserNet *net = opaque;
	struct timer **at = &net->timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = (*at)->next;
	free(timer);
}

static void on_timer_mod(void *timer, int64_t expires, void *opaque)
{
	(void)opaque;
	((struct timer *)timer)->expires = expires;
}

static void on_poll_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void on_notify(void *opaque)
{
	(void)!eventfd_write(((UserNet *)opaque)->wake, 1);
}

static const SlirpCb callbacks = {
	.send_packet = on_send,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_poll_fd,
	.unregister_poll_fd = on_poll_fd,
	.notify = on_notify,
};

/* ---- the thread ---- */

static int on_add_poll(int fd, int events, void *opaque)
{
	static const short native[] = { POLLIN, POLLOUT, POLLPRI, POLLERR, POLLHUP };
	UserNet *net = opaque;
	struct pollfd *more;
	short wanted = 0;
	int i;

	if (net->count == net->room) {
		more = realloc(net->polled, 2 * net->room * sizeof(*more));
		if (!more)
			return -1;
		net->polled = more;
		net->room *= 2;
	}
	for (i = 0; i < 5; i++)
		if (events & 1 << i)
			wanted |= native[i];
	net->polled[net->count] = (struct pollfd){ fd, wanted, 0 };
	return (int)net->count++;
}

static int on_revents(int index, void *opaque)
{
	short got = index < 0 ? 0 : ((UserNet *)opaque)->polled[index].revents;

	return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void run_timers(UserNet *net)
{
	int64_t now = now_ns() / 1000000;
	struct timer *timer = net->timers;

	while (timer) {
		if (timer->expires >= 0 && timer->expires <= now) {
			timer->expires = -1;
			timer->callback(timer->opaque);
			timer = net->timers; /* the list may have changed */
		} else {
			timer = timer->next;
		}
	}
}

static int timeout_of(const UserNet *net, uint32_t wanted)
{
	int64_t now = now_ns() / 1000000, timeout = wanted > INT32_MAX ? INT32_MAX : wanted;
	const struct timer *timer;

	for (timer = net->timers; timer; timer = timer->next)
		if (timer->expires >= 0 && timer->expires - now < timeout)
			timeout = timer->expires > now ? timer->expires - now : 0;
	return (int)timeout;
}

static void take_frames(UserNet *net)
{
	ssize_t size = 0;
	int i;

	for (i = 0; i < FRAMES_AT_ONCE; i++) {
		size = recv(net->host, net->frame, sizeof(net->frame), MSG_DONTWAIT);
		if (size <= 0)
			break;
		net->input(net->slirp, net->frame, (int)size);
	}
}

static void *drive(void *argument)
{
	UserNet *net = argument;
	eventfd_t ignored;
	uint32_t timeout;
	int ready;

	pthread_mutex_lock(&net->lock);
	while (!net->stop) {
		net->polled[0] = (struct pollfd){ net->host, POLLIN, 0 };
		net->polled[1] = (struct pollfd){ net->wake, POLLIN, 0 };
		net->count = 2;
		timeout = UINT32_MAX;
		net->fill(net->slirp, &timeout, on_add_poll, net);
		pthread_mutex_unlock(&net->lock);
		ready = poll(net->polled, net->count, timeout_of(net, timeout));
		pthread_mutex_lock(&net->lock);
		if (net->polled[1].revents)
			eventfd_read(net->wake, &ignored);
		net->poll(net->slirp, ready < 0, on_revents, net);
		if (net->polled[0].revents)
			take_frames(net);
		run_timers(net);
	}
	pthread_mutex_unlock(&net->lock);
	return NULL;
}

/* Signals are for the threads of Python. */
static int start(UserNet *net)
{
	sigset_t every, before;
	int error;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	error = pthread_create(&net->thread, NULL, drive, net);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	net->running = !error;
	if (!error)
		pthread_setname_np(net->thread, "rumpel-usernet");
	return error;
}

/* ---- for Python ---- */

static void stop(UserNet *net)
{
	if (net->running) {
		net->running = false;
		Py_BEGIN_ALLOW_THREADS
		pthread_mutex_lock(&net->lock);
		net->stop = true;
		pthread_mutex_unlock(&net->lock);
		on_notify(net);
		pthread_join(net->thread, NULL);
		Py_END_ALLOW_THREADS
	}
	pthread_mutex_lock(&net->lock);
	if (net->slirp)
		net->cleanup(net->slirp);
	net->slirp = NULL;
	pthread_mutex_unlock(&net->lock);
	if (net->guest >= 0)
		close(net->guest);
	if (net->host >= 0)
		close(net->host);
	if (net->wake >= 0)
		close(net->wake);
	net->guest = net->host = net->wake = -1;
}

static void usernet_dealloc(PyObject *self)
{
	UserNet *net = (UserNet *)self;
	PyTypeObject *type = Py_TYPE(self);

	stop(net);
	free(net->polled);
	pthread_mutex_destroy(&net->lock);
	type->tp_free(self);
	Py_DECREF(type);
}

static int fail(UserNet *net, const char *what, const char *why)
{
	PyObject *type = PyObject_GetAttrString(net->state->errors, "DeviceError");

	if (type)
		PyErr_Format(type, "%s: %s", what, why);
	Py_XDECREF(type);
	return -1;
}

static int load(UserNet *net)
{
	/* Never closed: others may be using it. */
	net->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!net->library)
		return fail(net,
			    "a user-mode network needs libslirp: sudo apt-get install libslirp0",
			    dlerror());
	net->new = dlsym(net->library, "slirp_new");
	net->cleanup = dlsym(net->library, "slirp_cleanup");
	net->fill = dlsym(net->library, "slirp_pollfds_fill");
	net->poll = dlsym(net->library, "slirp_pollfds_poll");
	net->input = dlsym(net->library, "slirp_input");
	net->add = dlsym(net->library, "slirp_add_hostfwd");
	net->remove = dlsym(net->library, "slirp_remove_hostfwd");
	if (!net->new || !net->cleanup || !net->fill || !net->poll || !net->input || !net->add ||
	    !net->remove)
		return fail(net, LIBRARY " is too old: 4.1 is needed", "a function is missing");
	return 0;
}

static int create(UserNet *net, const SlirpConfig *config)
{
	static const int room = 4 << 20; /* as much of it as the host allows */
	int pair[2], error, i;

	net->polled = malloc(64 * sizeof(*net->polled));
	net->room = 64;
	net->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!net->polled || net->wake < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(net, "cannot make a user-mode network", strerror(errno));
	for (i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	net->guest = pair[0];
	net->host = pair[1];
	net->slirp = net->new (config, &callbacks, net);
	if (!net->slirp)
		return fail(net, "libslirp refuses", "bad addresses or MTU");
	error = start(net);
	return error ? fail(net, "cannot start a thread", strerror(error)) : 0;
}

static int parse(const char *text, struct in_addr *address)
{
	if (inet_pton(AF_INET, text, address) == 1)
		return 0;
	PyErr_Format(PyExc_ValueError, "not an IPv4 address: '%s'", text);
	return -1;
}

/* UserNet(network, mask, host, dns, guest, mtu, host_loopback) */
static PyObject *usernet_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	SlirpConfig config = { .version = 1, .in_enabled = true };
	const char *network, *mask, *host, *dns, *guest;
	unsigned int mtu;
	int loopback;
	UserNet *net;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "UserNet takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "sssssIp:UserNet", &network, &mask, &host, &dns, &guest, &mtu,
			      &loopback) ||
	    parse(network, &config.vnetwork) < 0 || parse(mask, &config.vnetmask) < 0 ||
	    parse(host, &config.vhost) < 0 || parse(dns, &config.vnameserver) < 0 ||
	    parse(guest, &config.vdhcp_start) < 0)
		return NULL;
	config.if_mtu = config.if_mru = mtu;
	config.disable_host_loopback = !loopback;
	net = (UserNet *)type->tp_alloc(type, 0);
	if (!net)
		return NULL;
	net->state = native_state(type);
	net->guest = net->host = net->wake = -1;
	pthread_mutex_init(&net->lock, NULL);
	if (load(net) < 0 || create(net, &config) < 0)
		Py_CLEAR(net);
	return (PyObject *)net;
}

static PyObject *usernet_fileno(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyLong_FromLong(((UserNet *)self)->guest);
}

static PyObject *usernet_close(PyObject *self, PyObject *unused)
{
	(void)unused;
	stop((UserNet *)self);
	Py_RETURN_NONE;
}

/* forward(udp, host, port, guest, port): publishes, or ends that with guest=None. */
static PyObject *usernet_forward(PyObject *self, PyObject *args)
{
	UserNet *net = (UserNet *)self;
	struct in_addr host, guest;
	const char *host_text, *guest_text;
	int udp, host_port, guest_port, error = -1;

	if (!PyArg_ParseTuple(args, "psizi:forward", &udp, &host_text, &host_port, &guest_text,
			      &guest_port) ||
	    parse(host_text, &host) < 0 || (guest_text && parse(guest_text, &guest) < 0))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	pthread_mutex_lock(&net->lock);
	errno = 0;
	if (!net->slirp)
		errno = ESHUTDOWN;
	else if (guest_text)
		error = net->add(net->slirp, udp, host, host_port, guest, guest_port);
	else
		error = net->remove(net->slirp, udp, host, host_port);
	if (error)
		error = errno ? errno : EADDRNOTAVAIL;
	on_notify(net);
	pthread_mutex_unlock(&net->lock);
	Py_END_ALLOW_THREADS
	if (!error)
		Py_RETURN_NONE;
	errno = error;
	return PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef usernet_methods[] = {
	{ "fileno", usernet_fileno, METH_NOARGS, NULL },
	{ "forward", usernet_forward, METH_VARARGS, NULL },
	{ "close", usernet_close, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot usernet_slots[] = {
	{ Py_tp_new, usernet_new },
	{ Py_tp_dealloc, usernet_dealloc },
	{ Py_tp_methods, usernet_methods },
	{ 0, NULL },
};

PyType_Spec usernet_spec = {
	.name = "rumpel._native.UserNet",
	.basicsize = sizeof(UserNet),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = usernet_slots,
};

#else

static PyObject *usernet_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	PyObject *error = PyObject_GetAttrString(native_state(type)->errors, "DeviceError");

	(void)args;
	(void)keywords;
	if (error)
		PyErr_SetString(error, "rumpel was built without a user-mode network: "
				       "sudo apt-get install libslirp-dev, and install it again");
	Py_XDECREF(error);
	return NULL;
}

static PyType_Slot usernet_slots[] = {
	{ Py_tp_new, usernet_new },
	{ 0, NULL },
};

PyType_Spec usernet_spec = {
	.name = "rumpel._native.UserNet",
	.basicsize = sizeof(PyObject),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = usernet_slots,
};

#endif
