// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames to a file, in pcap format or in pcapng. The file may be a pipe
 * that nobody reads, which must hold up neither the kernel nor any of its
 * callers: frames are copied to a buffer, and a thread writes that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net.h"
#include "pcap.h"

#define CAPTURE_MAX (32u << 20) /* bytes that may wait to be written */
#define CAPTURE_STEP (256u << 10) /* bytes by which the buffer grows at least */
/* How long a reader may stand still when the capture ends. */
#define CAPTURE_TICK_MS 50
#define CAPTURE_TICKS 20

/* Locked. Room for `len` bytes, or NULL. */
static char *capture_room(struct rumpel_capture *capture, size_t len)
{
	char *at;

	if (capture->size - capture->used < len) {
		size_t size = 2 * capture->size + len + CAPTURE_STEP;
		char *buffer = realloc(capture->buffer, size);

		if (!buffer)
			return NULL;
		capture->buffer = buffer;
		capture->size = size;
	}
	at = capture->buffer + capture->used;
	capture->used += len;
	return at;
}

/* Locked. Where the frame goes behind its record, or NULL. */
static char *record(struct rumpel_capture *capture, uint64_t now, size_t len)
{
	size_t size = capture->pcapng ? pcapng_packet_size(len) : sizeof(struct pcap_record) + len;
	char *at = capture_room(capture, size);

	if (!at)
		return NULL;
	now += capture->since;
	if (!capture->pcapng)
		return at + pcap_put_record(at, now, len);
	pcapng_end_packet(at, len);
	return at + pcapng_put_packet(at, now, len);
}

bool rumpel_capture_frame(struct rumpel_capture *capture, uint64_t now, const struct iovec *iov,
			  unsigned int count, size_t skip, size_t len)
{
	bool kept = true;
	char *at = NULL;

	pthread_mutex_lock(&capture->lock);
	if (capture->active) {
		if (capture->used < CAPTURE_MAX)
			at = record(capture, now, len);
		kept = at;
		if (at) {
			rumpel_iov_read(iov, count, skip, at, len);
			pthread_cond_signal(&capture->more);
		}
	}
	pthread_mutex_unlock(&capture->lock);
	return kept;
}

static bool capture_ends(struct rumpel_capture *capture)
{
	return __atomic_load_n(&capture->stop, __ATOMIC_RELAXED);
}

/* Never waits in write(), where nobody could end it. */
static int capture_write(struct rumpel_capture *capture, const char *data, size_t len)
{
	int still = 0;

	while (len) {
		struct pollfd pollfd = { .fd = capture->fd, .events = POLLOUT };
		ssize_t done = len < capture->most ? len : capture->most;

		if (poll(&pollfd, 1, CAPTURE_TICK_MS) <= 0) {
			if (capture_ends(capture) && ++still == CAPTURE_TICKS)
				return -ETIMEDOUT;
			continue;
		}
		done = write(capture->fd, data, done);
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (done > 0) {
			data += done;
			len -= done;
			still = 0;
		}
	}
	return 0;
}

static void *capture_thread(void *argument)
{
	struct rumpel_capture *capture = argument;
	char *buffer = NULL;
	size_t size = 0;

	pthread_mutex_lock(&capture->lock);
	while (capture->active && (capture->used || !capture->stop)) {
		char *full = capture->buffer;
		size_t full_size = capture->size, used = capture->used;
		int error;

		if (!used) {
			pthread_cond_wait(&capture->more, &capture->lock);
			continue;
		}
		/* Frames go to the other of two buffers meanwhile. */
		capture->buffer = buffer;
		capture->size = size;
		capture->used = 0;
		buffer = full;
		size = full_size;
		pthread_mutex_unlock(&capture->lock);
		error = capture_write(capture, buffer, used);
		pthread_mutex_lock(&capture->lock);
		/* A full disk or no reader: it would not get better. */
		if (error)
			__atomic_store_n(&capture->active, false, __ATOMIC_RELAXED);
		/* That nobody reads any more, or for long, is no fault. */
		if (error != -EPIPE && error != -ETIMEDOUT)
			capture->error = error;
	}
	pthread_mutex_unlock(&capture->lock);
	free(buffer);
	return NULL;
}

/* A thread that is deaf to signals, also to SIGPIPE of its own writes. */
static int capture_spawn(struct rumpel_capture *capture)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&capture->thread, NULL, capture_thread, capture);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

static int capture_open(struct rumpel_capture *capture, int fd)
{
	struct stat stat;
	int mode = fcntl(fd, F_GETFL);

	if (mode < 0 || fstat(fd, &stat))
		return -errno;
	if ((mode & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	capture->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (capture->fd < 0)
		return -errno;
	/* So much a pipe takes whenever it takes anything. */
	capture->most = S_ISREG(stat.st_mode) ? CAPTURE_MAX : 4096;
	return 0;
}

/* Back to how it began, all but the locks. */
static void capture_reset(struct rumpel_capture *capture)
{
	if (capture->fd >= 0)
		close(capture->fd);
	free(capture->buffer);
	capture->fd = -1;
	capture->buffer = NULL;
	capture->used = 0;
	capture->size = 0;
	capture->error = 0;
	capture->stop = false;
	__atomic_store_n(&capture->active, false, __ATOMIC_RELAXED);
}

/* The control lock is held. Returns why not all was written. */
static int capture_stop(struct rumpel_capture *capture)
{
	int error;

	if (capture->fd < 0)
		return 0;
	/* The child of a fork has the file, but neither the thread nor its lock. */
	if (capture->process != getpid()) {
		capture_reset(capture);
		return 0;
	}
	pthread_mutex_lock(&capture->lock);
	__atomic_store_n(&capture->stop, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&capture->more);
	pthread_mutex_unlock(&capture->lock);
	pthread_join(capture->thread, NULL);
	pthread_mutex_lock(&capture->lock);
	error = capture->error;
	capture_reset(capture);
	pthread_mutex_unlock(&capture->lock);
	return error;
}

/* Locked. What a file begins with: the reader of a pipe wants to see it at once. */
static int begin(struct rumpel_capture *capture, const char *name, const uint8_t mac[6])
{
	char *at = capture_room(capture, PCAP_BEGIN_MAX);

	if (!at)
		return -ENOMEM;
	capture->used = capture->pcapng ? pcapng_put_section(at, name, mac) : pcap_put_header(at);
	return 0;
}

/* When the host's clock, which is the kernel's, was at 0. */
static uint64_t realtime(void)
{
	struct timespec now, clock;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_MONOTONIC, &clock);
	return (now.tv_sec - clock.tv_sec) * 1000000000ull + now.tv_nsec - clock.tv_nsec;
}

/* The control lock is held, nothing is active. */
static int capture_begin(struct rumpel_capture *capture, int fd, unsigned int flags,
			 const char *name, const uint8_t mac[6])
{
	int error;

	pthread_mutex_lock(&capture->lock);
	error = capture_open(capture, fd);
	capture->pcapng = flags & RUMPEL_CAPTURE_PCAPNG;
	capture->since = flags & RUMPEL_CAPTURE_REALTIME ? realtime() : 0;
	if (!error)
		error = begin(capture, name, mac);
	if (!error)
		error = capture_spawn(capture);
	if (error)
		capture_reset(capture);
	else
		__atomic_store_n(&capture->active, true, __ATOMIC_RELAXED);
	capture->process = getpid();
	pthread_mutex_unlock(&capture->lock);
	return error;
}

int rumpel_capture_start(struct rumpel_capture *capture, int fd, unsigned int flags,
			 const char *name, const uint8_t mac[6])
{
	int error;

	pthread_mutex_lock(&capture->control);
	capture_stop(capture);
	error = capture_begin(capture, fd, flags, name, mac);
	pthread_mutex_unlock(&capture->control);
	return error;
}

int rumpel_capture_end(struct rumpel_capture *capture)
{
	int error;

	pthread_mutex_lock(&capture->control);
	error = capture_stop(capture);
	pthread_mutex_unlock(&capture->control);
	return error;
}

void rumpel_capture_init(struct rumpel_capture *capture)
{
	capture->fd = -1;
	pthread_mutex_init(&capture->control, NULL);
	pthread_mutex_init(&capture->lock, NULL);
	pthread_cond_init(&capture->more, NULL);
}

void rumpel_capture_forked(struct rumpel_capture *capture)
{
	/* Somebody who is gone was changing it: better to lose it. */
	if (pthread_mutex_trylock(&capture->lock))
		capture->buffer = NULL;
	pthread_mutex_init(&capture->control, NULL);
	pthread_mutex_init(&capture->lock, NULL);
	pthread_cond_init(&capture->more, NULL);
	capture_reset(capture);
}

void rumpel_capture_exit(struct rumpel_capture *capture)
{
	rumpel_capture_end(capture);
	pthread_mutex_destroy(&capture->control);
	pthread_mutex_destroy(&capture->lock);
	pthread_cond_destroy(&capture->more);
}
