// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames to a file with times in nanoseconds, in pcap format or in pcapng
 * (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). The file may be a pipe
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
#include <unistd.h>

#include "net.h"

#define CAPTURE_MAX (32u << 20) /* bytes that may wait to be written */
#define CAPTURE_STEP (256u << 10) /* bytes by which the buffer grows at least */
/* How long a reader may stand still when the capture ends. */
#define CAPTURE_TICK_MS 50
#define CAPTURE_TICKS 20

/* What the file format calls its parts. */
#define PCAP_MAGIC_NS 0xa1b23c4d
#define PCAP_SNAPLEN 262144
#define PCAP_ETHERNET 1

struct pcap_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, link;
};

struct pcap_record {
	uint32_t seconds, nanoseconds, captured, len;
};

/* The same of pcapng. Each block begins and ends with its length. */
#define PCAPNG_SECTION 0x0a0d0d0a
#define PCAPNG_INTERFACE 1
#define PCAPNG_PACKET 6
#define PCAPNG_BYTE_ORDER 0x1a2b3c4d
#define PCAPNG_IF_NAME 2
#define PCAPNG_IF_MAC 6
#define PCAPNG_IF_RESOLUTION 9

struct pcapng_start {
	uint32_t type, len, order;
	uint16_t major, minor;
	int64_t section;
	uint32_t len_again;
} __attribute__((packed));

struct pcapng_option {
	uint16_t code, len;
	char value[RUMPEL_CAPTURE_NAME];
};

struct pcapng_packet {
	uint32_t type, block_len, interface, time_high, time_low, captured, len;
};

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
static char *record_pcap(struct rumpel_capture *capture, uint64_t now, size_t len)
{
	const struct pcap_record record = {
		.seconds = now / 1000000000,
		.nanoseconds = now % 1000000000,
		.captured = len,
		.len = len,
	};
	char *at = capture_room(capture, sizeof(record) + len);

	if (!at)
		return NULL;
	memcpy(at, &record, sizeof(record));
	return at + sizeof(record);
}

/* The same of pcapng. */
static char *record_pcapng(struct rumpel_capture *capture, uint64_t now, size_t len)
{
	size_t padding = -len & 3;
	const struct pcapng_packet packet = {
		.type = PCAPNG_PACKET,
		.block_len = sizeof(packet) + len + padding + sizeof(uint32_t),
		.time_high = now >> 32,
		.time_low = now,
		.captured = len,
		.len = len,
	};
	char *at = capture_room(capture, packet.block_len);

	if (!at)
		return NULL;
	memcpy(at, &packet, sizeof(packet));
	at += sizeof(packet);
	memset(at + len, 0, padding);
	memcpy(at + len + padding, &packet.block_len, sizeof(packet.block_len));
	return at;
}

bool rumpel_capture_frame(struct rumpel_capture *capture, uint64_t now, const struct iovec *iov,
			  unsigned int count, size_t skip, size_t len)
{
	bool kept = true;
	char *at = NULL;

	pthread_mutex_lock(&capture->lock);
	if (capture->active) {
		if (capture->used < CAPTURE_MAX)
			at = capture->pcapng ? record_pcapng(capture, now, len)
					     : record_pcap(capture, now, len);
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
	capture->stop = false;
	__atomic_store_n(&capture->active, false, __ATOMIC_RELAXED);
}

/* The control lock is held. */
static void capture_stop(struct rumpel_capture *capture)
{
	if (capture->fd < 0)
		return;
	/* The child of a fork has the file, but neither the thread nor its lock. */
	if (capture->process != getpid()) {
		capture_reset(capture);
		return;
	}
	pthread_mutex_lock(&capture->lock);
	__atomic_store_n(&capture->stop, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&capture->more);
	pthread_mutex_unlock(&capture->lock);
	pthread_join(capture->thread, NULL);
	pthread_mutex_lock(&capture->lock);
	capture_reset(capture);
	pthread_mutex_unlock(&capture->lock);
}

/* Locked. What a file begins with: the reader of a pipe wants to see it at once. */
static int begin_pcap(struct rumpel_capture *capture)
{
	const struct pcap_header header = {
		.magic = PCAP_MAGIC_NS,
		.major = 2,
		.minor = 4,
		.snaplen = PCAP_SNAPLEN,
		.link = PCAP_ETHERNET,
	};
	char *at = capture_room(capture, sizeof(header));

	if (!at)
		return -ENOMEM;
	memcpy(at, &header, sizeof(header));
	return 0;
}

static size_t put_option(char *at, uint16_t code, const void *value, uint16_t len)
{
	struct pcapng_option option = { .code = code, .len = len };
	size_t size = offsetof(struct pcapng_option, value) + ((len + 3) & ~3);

	if (len)
		memcpy(option.value, value, len);
	memcpy(at, &option, size);
	return size;
}

/* A section with one interface. */
static int begin_pcapng(struct rumpel_capture *capture, const char *name, const uint8_t mac[6])
{
	const struct pcapng_start start = {
		.type = PCAPNG_SECTION,
		.len = sizeof(start),
		.order = PCAPNG_BYTE_ORDER,
		.major = 1,
		.section = -1,
		.len_again = sizeof(start),
	};
	const uint32_t snaplen = PCAP_SNAPLEN;
	char block[256] = { PCAPNG_INTERFACE, [8] = PCAP_ETHERNET }, *at;
	uint32_t len = 16;

	memcpy(block + 12, &snaplen, sizeof(snaplen));
	if (name && *name)
		len += put_option(block + len, PCAPNG_IF_NAME, name,
				  strnlen(name, RUMPEL_CAPTURE_NAME));
	len += put_option(block + len, PCAPNG_IF_MAC, mac, 6);
	len += put_option(block + len, PCAPNG_IF_RESOLUTION, "\x09", 1); /* 10^-9 s */
	len += put_option(block + len, 0, NULL, 0); /* no more */
	len += sizeof(len);
	memcpy(block + 4, &len, sizeof(len));
	memcpy(block + len - sizeof(len), &len, sizeof(len));
	at = capture_room(capture, sizeof(start) + len);
	if (!at)
		return -ENOMEM;
	memcpy(at, &start, sizeof(start));
	memcpy(at + sizeof(start), block, len);
	return 0;
}

/* The control lock is held, nothing is active. */
static int capture_begin(struct rumpel_capture *capture, int fd, bool pcapng, const char *name,
			 const uint8_t mac[6])
{
	int error;

	pthread_mutex_lock(&capture->lock);
	error = capture_open(capture, fd);
	capture->pcapng = pcapng;
	if (!error)
		error = pcapng ? begin_pcapng(capture, name, mac) : begin_pcap(capture);
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

int rumpel_capture_start(struct rumpel_capture *capture, int fd, bool pcapng, const char *name,
			 const uint8_t mac[6])
{
	int error;

	pthread_mutex_lock(&capture->control);
	capture_stop(capture);
	error = capture_begin(capture, fd, pcapng, name, mac);
	pthread_mutex_unlock(&capture->control);
	return error;
}

void rumpel_capture_end(struct rumpel_capture *capture)
{
	pthread_mutex_lock(&capture->control);
	capture_stop(capture);
	pthread_mutex_unlock(&capture->control);
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
