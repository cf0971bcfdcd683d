// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel prints: a ring of whole lines in /dev/kmsg's format. A
 * position is the number of bytes that were ever written before it.
 */
#include "core.h"

#include <limits.h>
#include <unistd.h>

int rumpel_log_init(struct rumpel_log *log, int fd)
{
	pthread_mutex_init(&log->lock, NULL);
	log->fd = fd;
	log->ring = malloc(LOG_SIZE);
	return log->ring ? 0 : -ENOMEM;
}

void rumpel_log_exit(struct rumpel_log *log)
{
	free(log->ring);
	pthread_mutex_destroy(&log->lock);
}

void rumpel_log_append(struct rumpel_log *log, const char *text, size_t len)
{
	size_t at, first;
	bool wake;

	if (len > LOG_SIZE / 2)
		len = LOG_SIZE / 2;
	pthread_mutex_lock(&log->lock);
	at = log->end % LOG_SIZE;
	first = len < LOG_SIZE - at ? len : LOG_SIZE - at;
	memcpy(log->ring + at, text, first);
	memcpy(log->ring, text + first, len - first);
	log->end += len;
	log->word++;
	wake = log->waiters;
	pthread_mutex_unlock(&log->lock);
	if (wake)
		rumpel_futex_wake(&log->word, INT_MAX);
}

/* Locked. The first line that is still whole, at or behind `position`. */
static uint64_t oldest(const struct rumpel_log *log, uint64_t position)
{
	if (position > log->end)
		return log->end;
	if (log->end <= LOG_SIZE || position >= log->end - LOG_SIZE)
		return position;
	position = log->end - LOG_SIZE;
	while (position < log->end && log->ring[position++ % LOG_SIZE] != '\n')
		;
	return position;
}

/* Locked. Copies up to `size` bytes, ending with a line. */
static size_t copy_lines(const struct rumpel_log *log, uint64_t position, char *buffer, size_t size)
{
	size_t len = log->end - position;

	if (len > size)
		len = size;
	for (size_t i = 0; i < len; i++)
		buffer[i] = log->ring[(position + i) % LOG_SIZE];
	while (len && buffer[len - 1] != '\n')
		len--;
	return len;
}

size_t rumpel_log_read(struct rumpel_kernel *kernel, uint64_t *position, char *buffer, size_t size)
{
	struct rumpel_log *log = &kernel->log;
	size_t len;

	pthread_mutex_lock(&log->lock);
	*position = oldest(log, *position);
	len = copy_lines(log, *position, buffer, size);
	pthread_mutex_unlock(&log->lock);
	*position += len;
	return len;
}

int rumpel_log_wait(struct rumpel_kernel *kernel, uint64_t position, int64_t timeout_ns)
{
	struct rumpel_log *log = &kernel->log;
	uint64_t limit = rumpel_host_limit(timeout_ns);
	uint32_t word, wakes;
	int result = 0;

	pthread_mutex_lock(&log->lock);
	log->waiters++;
	wakes = log->wakes;
	while (log->end <= position && result != -ETIMEDOUT && result != -EINTR) {
		if (log->wakes != wakes) {
			result = -EINTR;
			break;
		}
		word = log->word;
		pthread_mutex_unlock(&log->lock);
		result = rumpel_futex_wait(&log->word, word, limit);
		pthread_mutex_lock(&log->lock);
	}
	log->waiters--;
	if (log->end > position)
		result = 0;
	pthread_mutex_unlock(&log->lock);
	return result;
}

void rumpel_log_wake(struct rumpel_kernel *kernel)
{
	struct rumpel_log *log = &kernel->log;

	pthread_mutex_lock(&log->lock);
	log->wakes++;
	log->word++;
	pthread_mutex_unlock(&log->lock);
	rumpel_futex_wake(&log->word, INT_MAX);
}

void rumpel_log_copy(struct rumpel_log *log)
{
	char buffer[16 << 10]; /* longer than any record */
	size_t len;

	if (log->fd < 0 || log->copied == log->end)
		return;
	do {
		pthread_mutex_lock(&log->lock);
		log->copied = oldest(log, log->copied);
		len = copy_lines(log, log->copied, buffer, sizeof(buffer));
		pthread_mutex_unlock(&log->lock);
		log->copied += len;
		/* A reader that is gone is no reason to stop the kernel. */
		if (len && write(log->fd, buffer, len) < 0)
			log->fd = -1;
	} while (len && log->fd >= 0);
}
