// SPDX-License-Identifier: GPL-2.0-only
/* A user-mode network: see slirp.h. */
#define _GNU_SOURCE
#include "slirp.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
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
/* How long to look for what comes next before the thread sleeps: as long as to be woken takes. */
#define LOOK_NS 50000

struct timer {
	SlirpTimerCb callback;
	void *opaque;
	int64_t expires; /* ms, or -1 */
	struct timer *next;
};

struct slirp {
	Slirp *slirp;
	__typeof__(&slirp_new) new;
	__typeof__(&slirp_cleanup) cleanup;
	__typeof__(&slirp_pollfds_fill) fill;
	__typeof__(&slirp_pollfds_poll) poll;
	__typeof__(&slirp_input) input;
	__typeof__(&slirp_add_hostxfwd) add;
	__typeof__(&slirp_remove_hostxfwd) remove;
	/* Guards slirp and what its callbacks touch, but while the thread sleeps. */
	pthread_mutex_t lock;
	pthread_cond_t awake; /* the thread has come back from its sleep */
	unsigned int sleeps;
	pthread_t thread;
	bool stop;
	bool forking; /* the thread that forks has the lock */
	struct slirp *next; /* all of the process */
	int guest, host, wake; /* descriptors */
	struct slirp_addresses addresses;
	struct pollfd *polled; /* the first two are `host` and `wake` */
	size_t count, room;
	struct timer *timers;
	uint8_t frame[FRAME_SIZE];
};

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ---- what slirp calls ---- */

static ssize_t on_send(const void *frame, size_t size, void *opaque)
{
	struct slirp *net = opaque;
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
	struct slirp *net = opaque;
	struct timer *timer = malloc(sizeof(*timer));

	if (!timer)
		abort(); /* slirp cannot do without */
	*timer = (struct timer){ callback, argument, -1, net->timers };
	net->timers = timer;
	return timer;
}

static void on_timer_free(void *timer, void *opaque)
{
	struct slirp *net = opaque;
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

static void wake(struct slirp *net)
{
	(void)!eventfd_write(net->wake, 1);
}

/* The thread itself looks at everything before it sleeps again. */
static void on_notify(void *opaque)
{
	struct slirp *net = opaque;

	if (!pthread_equal(pthread_self(), net->thread))
		wake(net);
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
	struct slirp *net = opaque;
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
	short got = index < 0 ? 0 : ((struct slirp *)opaque)->polled[index].revents;

	return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void run_timers(struct slirp *net)
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

static int timeout_of(const struct slirp *net, uint32_t wanted)
{
	int64_t now = now_ns() / 1000000, timeout = wanted > INT32_MAX ? INT32_MAX : wanted;
	const struct timer *timer;

	for (timer = net->timers; timer; timer = timer->next)
		if (timer->expires >= 0 && timer->expires - now < timeout)
			timeout = timer->expires > now ? timer->expires - now : 0;
	return (int)timeout;
}

static void take_frames(struct slirp *net)
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

/* Others may want the CPU of a process that has one. */
static bool has_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

/* Looks for a while; 0: nothing has come. */
static int look(const struct slirp *net)
{
	int64_t until = now_ns() + LOOK_NS;
	int ready;

	do {
		ready = poll(net->polled, net->count, 0);
	} while (!ready && now_ns() < until);
	return ready;
}

static void *drive(void *argument)
{
	struct slirp *net = argument;
	const bool patient = has_cpus();
	eventfd_t ignored;
	uint32_t timeout;
	int ready = 0;

	pthread_mutex_lock(&net->lock);
	while (!net->stop) {
		net->polled[0] = (struct pollfd){ net->host, POLLIN, 0 };
		net->polled[1] = (struct pollfd){ net->wake, POLLIN, 0 };
		net->count = 2;
		timeout = UINT32_MAX;
		net->fill(net->slirp, &timeout, on_add_poll, net);
		pthread_mutex_unlock(&net->lock);
		/* slirp has 64 KiB on the way at most: who got them answers at once, and so on. */
		ready = patient && ready > 0 ? look(net) : 0;
		if (!ready)
			ready = poll(net->polled, net->count, timeout_of(net, timeout));
		pthread_mutex_lock(&net->lock);
		net->sleeps++;
		pthread_cond_broadcast(&net->awake);
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

/* Signals are for the threads of the program. */
static int start(struct slirp *net)
{
	sigset_t every, before;
	int error;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	error = pthread_create(&net->thread, NULL, drive, net);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		pthread_setname_np(net->thread, "rumpel-usernet");
	return -error;
}

/* ---- fork ---- */

/* How long a fork waits for a network that cannot get rid of a frame. */
#define FORK_MS 200

static pthread_mutex_t nets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct slirp *nets;

static void add(struct slirp *net)
{
	pthread_mutex_lock(&nets_lock);
	net->next = nets;
	nets = net;
	pthread_mutex_unlock(&nets_lock);
}

static void forget(struct slirp *net)
{
	struct slirp **at = &nets;

	pthread_mutex_lock(&nets_lock);
	while (*at && *at != net)
		at = &(*at)->next;
	if (*at)
		*at = net->next;
	pthread_mutex_unlock(&nets_lock);
}

static void before_fork(void)
{
	int64_t limit = now_ns() + FORK_MS * 1000000LL;
	struct timespec until = { limit / 1000000000, limit % 1000000000 };
	struct slirp *net;

	pthread_mutex_lock(&nets_lock);
	for (net = nets; net; net = net->next)
		net->forking = !pthread_mutex_clocklock(&net->lock, CLOCK_MONOTONIC, &until);
}

static void after_fork(void)
{
	struct slirp *net;

	for (net = nets; net; net = net->next)
		if (net->forking)
			pthread_mutex_unlock(&net->lock);
	pthread_mutex_unlock(&nets_lock);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Closed here, the connections live on in the parent, and end when it ends them. */
static void after_fork_in_child(void)
{
	struct slirp *net;

	for (net = nets; net; net = net->next) {
		/* If it was in the middle of something, its sockets stay open instead. */
		if (net->forking)
			net->cleanup(net->slirp);
		net->slirp = NULL;
		close_fd(&net->guest);
		close_fd(&net->host);
		close_fd(&net->wake);
		pthread_mutex_init(&net->lock, NULL);
		pthread_cond_init(&net->awake, NULL);
	}
	nets = NULL;
	pthread_mutex_init(&nets_lock, NULL);
}

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- the whole ---- */

static int load(struct slirp *net, const char **why)
{
	/* Never closed: others may be using it. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		*why = dlerror();
		return -ENOSYS;
	}
	net->new = dlsym(library, "slirp_new");
	net->cleanup = dlsym(library, "slirp_cleanup");
	net->fill = dlsym(library, "slirp_pollfds_fill");
	net->poll = dlsym(library, "slirp_pollfds_poll");
	net->input = dlsym(library, "slirp_input");
	net->add = dlsym(library, "slirp_add_hostxfwd");
	net->remove = dlsym(library, "slirp_remove_hostxfwd");
	if (net->new && net->cleanup && net->fill && net->poll && net->input && net->add &&
	    net->remove)
		return 0;
	*why = LIBRARY " is too old: 4.5 is needed";
	return -ENOSYS;
}

static void release(struct slirp *net)
{
	if (net->slirp)
		net->cleanup(net->slirp);
	close_fd(&net->guest);
	close_fd(&net->host);
	close_fd(&net->wake);
	pthread_cond_destroy(&net->awake);
	pthread_mutex_destroy(&net->lock);
	free(net->polled);
	free(net);
}

/*
 * What it makes segments by. It knows no window scaling, so 65535 bytes are on the way at most, and
 * Linux opens its window by whole segments: two of the 32767 bytes that are left of this, but only
 * one of the 32768 that it would take otherwise. Larger datagrams come in fragments.
 */
static unsigned int mtu_of_slirp(unsigned int mtu)
{
	static const unsigned int headers = 20 + 20, most = 65535 / 2 + headers;

	return mtu < most ? mtu : most;
}

static int create(struct slirp *net, const struct slirp_addresses *addresses)
{
	static const int room = 4 << 20; /* as much of it as the host allows */
	SlirpConfig config = {
		.version = 1,
		.in_enabled = true,
		.vnetwork = addresses->network,
		.vnetmask = addresses->mask,
		.vhost = addresses->host,
		.vdhcp_start = addresses->guest,
		.vnameserver = addresses->dns,
		.in6_enabled = addresses->has6,
		.vprefix_addr6 = addresses->network6,
		.vprefix_len = 64,
		.vhost6 = addresses->host6,
		.vnameserver6 = addresses->dns6,
		.if_mtu = mtu_of_slirp(addresses->mtu),
		.if_mru = addresses->mtu,
		.disable_host_loopback = !addresses->host_loopback,
	};
	int pair[2], i;

	net->polled = malloc(64 * sizeof(*net->polled));
	if (!net->polled)
		return -ENOMEM;
	net->room = 64;
	net->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (net->wake < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	for (i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	net->addresses = *addresses;
	net->guest = pair[0];
	net->host = pair[1];
	net->slirp = net->new (&config, &callbacks, net);
	return net->slirp ? start(net) : -EINVAL;
}

int slirp_open(const struct slirp_addresses *addresses, struct slirp **opened, const char **why)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct slirp *net = calloc(1, sizeof(*net));
	int error;

	pthread_once(&once, watch_forks);
	*why = NULL;
	if (!net)
		return -ENOMEM;
	net->guest = net->host = net->wake = -1;
	pthread_mutex_init(&net->lock, NULL);
	pthread_cond_init(&net->awake, NULL);
	error = load(net, why);
	if (!error)
		error = create(net, addresses);
	if (error) {
		release(net);
		return error;
	}
	add(net);
	*opened = net;
	return 0;
}

void slirp_close(struct slirp *net)
{
	if (!net)
		return;
	if (net->slirp) {
		forget(net);
		pthread_mutex_lock(&net->lock);
		net->stop = true;
		pthread_mutex_unlock(&net->lock);
		wake(net);
		pthread_join(net->thread, NULL);
	}
	release(net);
}

int slirp_guest(const struct slirp *net)
{
	return net->guest;
}

/* Where the host and the guest of a forwarded port are. 0, or -EAFNOSUPPORT. */
static int ends_of(const struct slirp *net, const char *text, int host_port, int guest_port,
		   struct sockaddr_storage *host, struct sockaddr_storage *guest)
{
	struct sockaddr_in *host4 = (void *)host, *guest4 = (void *)guest;
	struct sockaddr_in6 *host6 = (void *)host, *guest6 = (void *)guest;

	memset(host, 0, sizeof(*host));
	memset(guest, 0, sizeof(*guest));
	if (inet_pton(AF_INET, text, &host4->sin_addr) == 1) {
		host4->sin_family = guest4->sin_family = AF_INET;
		host4->sin_port = htons(host_port);
		guest4->sin_port = htons(guest_port);
		guest4->sin_addr = net->addresses.guest;
		return 0;
	}
	if (!net->addresses.has6 || inet_pton(AF_INET6, text, &host6->sin6_addr) != 1)
		return -EAFNOSUPPORT;
	host6->sin6_family = guest6->sin6_family = AF_INET6;
	host6->sin6_port = htons(host_port);
	guest6->sin6_port = htons(guest_port);
	guest6->sin6_addr = net->addresses.guest6;
	return 0;
}

int slirp_forward(struct slirp *net, bool udp, const char *text, int host_port, int guest_port)
{
	int flags = SLIRP_HOSTFWD_V6ONLY | (udp ? SLIRP_HOSTFWD_UDP : 0), error;
	struct sockaddr_storage host, guest;
	struct sockaddr *from = (void *)&host, *to = (void *)&guest;
	unsigned int sleeps;
	socklen_t len;

	/* In the child of a fork. */
	if (!net->slirp)
		return -ENETDOWN;
	error = ends_of(net, text, host_port, guest_port < 0 ? 0 : guest_port, &host, &guest);
	if (error)
		return error;
	len = host.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	pthread_mutex_lock(&net->lock);
	errno = 0;
	if (guest_port >= 0)
		error = net->add(net->slirp, from, len, to, len, flags);
	else
		error = net->remove(net->slirp, from, len, flags);
	if (error)
		error = errno ? -errno : -EADDRNOTAVAIL;
	/* A socket that is closed lives on as long as the thread sleeps on it. */
	sleeps = net->sleeps;
	wake(net);
	while (net->sleeps == sleeps)
		pthread_cond_wait(&net->awake, &net->lock);
	pthread_mutex_unlock(&net->lock);
	return error;
}

#else /* without its header: all that is missing is said when one is made */

int slirp_open(const struct slirp_addresses *addresses, struct slirp **net, const char **why)
{
	(void)addresses;
	(void)net;
	*why = "rumpel was built without libslirp-dev";
	return -ENOSYS;
}

void slirp_close(struct slirp *net)
{
	(void)net;
}

int slirp_guest(const struct slirp *net)
{
	(void)net;
	return -1;
}

int slirp_forward(struct slirp *net, bool udp, const char *host, int host_port, int guest_port)
{
	(void)net, (void)udp, (void)host, (void)host_port, (void)guest_port;
	return -ENOSYS;
}

#endif
