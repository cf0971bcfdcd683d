// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames of a capture through a network of the host: what sends them into an
 * interface, and what makes a capture of those that come out of another.
 */
#include "frames.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH 256
#define FRAME_MAX 2048
#define BUFFER (64 << 20)
#define PATIENCE 300 /* ms without a frame: no more will come */

struct pcap_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, network;
};

struct pcap_record {
	uint32_t seconds, fraction, captured, length;
};

/* A packet socket on an interface, or a negative errno. */
static int packet_socket(const char *interface, int protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = if_nametoindex(interface),
	};
	const int size = BUFFER;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* All of them, or a negative errno. */
static int64_t send_all(int fd, struct mmsghdr *messages, unsigned int count)
{
	unsigned int done = 0;

	while (done < count) {
		int sent = sendmmsg(fd, messages + done, count - done, 0);

		if (sent < 0 && errno != ENOBUFS && errno != EINTR)
			return -errno;
		done += sent > 0 ? sent : 0;
	}
	return count;
}

static int64_t send_capture(int fd, const char *bytes, size_t size)
{
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	size_t at = sizeof(struct pcap_header);
	unsigned int count = 0;
	int64_t total = 0, sent;

	memset(messages, 0, sizeof(messages));
	for (unsigned int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = iov + i, .msg_iovlen = 1 };
	while (at + sizeof(struct pcap_record) <= size) {
		struct pcap_record record;

		memcpy(&record, bytes + at, sizeof(record));
		at += sizeof(record);
		if (record.captured > size - at)
			return -EINVAL;
		iov[count++] = (struct iovec){ (char *)bytes + at, record.captured };
		at += record.captured;
		if (count < BATCH && at < size)
			continue;
		sent = send_all(fd, messages, count);
		if (sent < 0)
			return sent;
		total += sent;
		count = 0;
	}
	return total;
}

int64_t bench_frames_send(const char *interface, int capture)
{
	int fd = packet_socket(interface, 0);
	struct stat stat;
	int64_t result;
	void *bytes;

	if (fd < 0)
		return fd;
	if (fstat(capture, &stat)) {
		result = -errno;
	} else {
		bytes = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, capture, 0);
		result = bytes == MAP_FAILED ? -errno : send_capture(fd, bytes, stat.st_size);
		if (bytes != MAP_FAILED)
			munmap(bytes, stat.st_size);
	}
	close(fd);
	return result;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t done = write(fd, bytes, len);

		if (done < 0)
			return -errno;
		bytes += done;
		len -= done;
	}
	return 0;
}

/* Where frames are received, and what is written of them. */
struct receiver {
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	char frames[BATCH][FRAME_MAX];
	char out[BATCH * (sizeof(struct pcap_record) + FRAME_MAX)];
};

static int write_frames(struct receiver *receiver, int fd, int count)
{
	size_t end = 0;

	for (int i = 0; i < count; i++) {
		uint32_t len = receiver->messages[i].msg_len;
		struct pcap_record record = { 0, 0, len, len };

		memcpy(receiver->out + end, &record, sizeof(record));
		memcpy(receiver->out + end + sizeof(record), receiver->frames[i], len);
		end += sizeof(record) + len;
	}
	return write_all(fd, receiver->out, end);
}

static int64_t receive(struct receiver *receiver, int fd, int capture, int64_t most)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int64_t total = 0;

	for (int i = 0; i < BATCH; i++) {
		receiver->iov[i] = (struct iovec){ receiver->frames[i], FRAME_MAX };
		receiver->messages[i].msg_hdr =
			(struct msghdr){ .msg_iov = receiver->iov + i, .msg_iovlen = 1 };
	}
	while (total < most) {
		int got = recvmmsg(fd, receiver->messages, BATCH, MSG_DONTWAIT, NULL), error;

		if (got < 0 && errno != EAGAIN)
			return -errno;
		if (got < 0) {
			if (!poll(&pollfd, 1, total ? PATIENCE : -1))
				break;
			continue;
		}
		error = write_frames(receiver, capture, got);
		if (error)
			return error;
		total += got;
	}
	return total;
}

int64_t bench_frames_receive(const char *interface, int ready, int capture, int64_t most)
{
	const struct pcap_header header = { 0xa1b23c4d, 2, 4, 0, 0, FRAME_MAX, 1 };
	struct receiver *receiver = calloc(1, sizeof(*receiver));
	int fd = receiver ? packet_socket(interface, ETH_P_IP) : -ENOMEM;
	int64_t result = fd;

	if (fd >= 0) {
		result = write_all(ready, "r", 1);
		if (!result)
			result = write_all(capture, (const char *)&header, sizeof(header));
		if (!result)
			result = receive(receiver, fd, capture, most);
		close(fd);
	}
	free(receiver);
	return result;
}
