// SPDX-License-Identifier: GPL-2.0-only
/* Promises of an interface on a TAP device, in a network namespace of its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic.h"

#define OFFLOADS                                                           \
	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM |     \
	 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 | \
	 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6)

static struct nic nic;
static int peer; /* on the host's side of the device: a packet socket, without IP */
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];

static int host_ioctl(unsigned long request, struct ifreq *ifreq)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), result;

	CHECK(fd >= 0);
	result = ioctl(fd, request, ifreq);
	close(fd);
	return result;
}

static void host_up(const char *name, bool is_up)
{
	struct ifreq ifreq = { .ifr_flags = is_up ? IFF_UP : 0 };

	strcpy(ifreq.ifr_name, name);
	EQUAL(host_ioctl(SIOCSIFFLAGS, &ifreq), 0);
}

static void host_mtu(const char *name, int mtu)
{
	struct ifreq ifreq = { .ifr_mtu = mtu };

	strcpy(ifreq.ifr_name, name);
	EQUAL(host_ioctl(SIOCSIFMTU, &ifreq), 0);
}

/* No frames of its own. */
static void host_is_quiet(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);

	if (fd >= 0)
		EQUAL(write(fd, "1", 1), 1);
	close(fd);
}

static int open_peer(const char *name)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), one = 1;

	CHECK(fd >= 0);
	address.sll_ifindex = if_nametoindex(name);
	EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	EQUAL(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), 0);
	return fd;
}

static void up(unsigned int flags, unsigned int mtu, uint64_t features, size_t rx_size)
{
	struct rumpel_device *device;
	char name[16];
	int tap = rumpel_tap_open("tap%d", 0, name);

	CHECK(tap >= 0);
	if (mtu)
		host_mtu(name, mtu);
	EQUAL(rumpel_net_tap(tap, flags, NULL, 0, &device), 0);
	close(tap);
	host_up(name, true);
	peer = open_peer(name);
	struct rumpel_kernel *kernel = fake_kernel(false);

	fake_attach(kernel, device);
	nic_start(&nic, kernel, device, features, rx_size);
}

static void down(void)
{
	fake_kernel_free(nic.kernel);
	close(peer);
}

static void peer_sends(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	EQUAL(send(peer, frame, len, 0), len);
}

static void peer_expects(size_t len, unsigned int seed)
{
	EQUAL(recv(peer, got, sizeof(got), MSG_DONTWAIT), len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static void driver_sends(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	nic_send(&nic, frame, len);
}

static void driver_expects(size_t len, unsigned int seed)
{
	EQUAL(nic_receive(&nic, NULL, got), len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static void test_both_ways(void)
{
	for (unsigned int flags = 0; flags < 2; flags++) {
		struct rumpel_device_stats stats;

		up(flags, 0, ~0ull, 2048);
		EQUAL(!(driver_offered(nic.device) & OFFLOADS), flags);
		nic_post(&nic, 60);
		fake_run(nic.kernel);
		fake_interrupts(nic.device);
		driver_sends(14, 1);
		driver_sends(1514, 2);
		peer_expects(14, 1);
		peer_expects(1514, 2);
		EQUAL(nic_sent(&nic), 2);
		driver_write(nic.device, VIRTIO_MMIO_INTERRUPT_ACK, 3);
		peer_sends(14, 3);
		peer_sends(1514, 4);
		fake_run(nic.kernel);
		CHECK(fake_interrupts(nic.device));
		driver_expects(14, 3);
		driver_expects(1514, 4);
		stats = fake_stats(nic.device);
		EQUAL(stats.in, 2);
		EQUAL(stats.in_bytes, 1528);
		EQUAL(stats.out, 2);
		EQUAL(stats.out_bytes, 1528);
		EQUAL(stats.errors + stats.dropped, 0);
		down();
	}
}

static void test_large(void)
{
	up(0, 65521, ~0ull, 4096);
	for (int i = 0; i < 5; i++) {
		nic_post(&nic, i ? 17 : 40);
		driver_sends(65535, i);
		peer_expects(65535, i);
		peer_sends(65535, i);
		fake_run(nic.kernel);
		driver_expects(65535, i);
	}
	down();
}

/* A frame that is cut into pieces by whoever is the last to have it whole. */
static void test_segments_for_the_host(void)
{
	struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1000,
		.hdr_len = 54,
		.csum_start = 34,
		.csum_offset = 16,
	};
	uint8_t *ip = frame + 14, *tcp = frame + 34;
	size_t len = 54 + 5000, seen = 0;

	up(0, 0, ~0ull, 2048);
	nic_pattern(frame, len, 5);
	memcpy(frame + 12, (uint8_t[]){ 8, 0 }, 2);
	memcpy(ip, (uint8_t[]){ 0x45, 0, (len - 14) >> 8, (len - 14) & 255, 0, 0, 0, 0, 64, 6 },
	       10);
	memcpy(tcp + 12, (uint8_t[]){ 0x50, 0x10 }, 2);
	nic_queue(&nic, &header, frame, len);
	driver_kick(&nic.tx);
	fake_run(nic.kernel);
	EQUAL(nic_sent(&nic), 1);
	EQUAL(fake_stats(nic.device).out_bytes, len);
	/* A packet socket without virtio's header sees it before the cut. */
	seen = recv(peer, got, sizeof(got), MSG_DONTWAIT);
	EQUAL(seen, len);
	EQUAL(memcmp(got + 54, frame + 54, 5000), 0);
	down();
}

/* What the host left to be summed up is summed up for a driver that cannot. */
static void test_checksum_for_the_driver(void)
{
	static const uint64_t drivers[] = { ~0ull, ~OFFLOADS };

	for (int i = 0; i < 2; i++) {
		struct virtio_net_hdr_v1 to_tap = { 0 }, header;
		int on = 1;

		up(0, 0, drivers[i], 2048);
		nic_post(&nic, 60);
		fake_run(nic.kernel);
		EQUAL(setsockopt(peer, SOL_PACKET, 15 /* PACKET_VNET_HDR */, &on, sizeof(on)), 0);
		to_tap.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		to_tap.csum_start = 34;
		to_tap.csum_offset = 6;
		memcpy(got, &to_tap, 10);
		memset(got + 10, 0, 14 + 20 + 8 + 4);
		/* UDP over IPv4, whose sum is that of the payload alone here. */
		memcpy(got + 10 + 12, (uint8_t[]){ 8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17 }, 12);
		memcpy(got + 10 + 34 + 8, (uint8_t[]){ 0x12, 0x34, 0, 1 }, 4);
		EQUAL(send(peer, got, 10 + 46, 0), 56);
		fake_run(nic.kernel);
		EQUAL(nic_receive(&nic, &header, frame), 46);
		EQUAL(header.flags, i ? 0 : VIRTIO_NET_HDR_F_NEEDS_CSUM);
		EQUAL(frame[40] << 8 | frame[41], i ? 0xffff & ~0x1235 : 0);
		down();
	}
}

/* Longer than this driver has room for: it is told of no half of a frame. */
static void test_too_long(void)
{
	up(0, 9000, ~(OFFLOADS | 1ull << VIRTIO_NET_F_MRG_RXBUF), 2048);
	nic_post(&nic, 8);
	fake_run(nic.kernel);
	peer_sends(5000, 1);
	peer_sends(2036, 2);
	peer_sends(2037, 3);
	fake_run(nic.kernel);
	driver_expects(2036, 2);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	EQUAL(fake_stats(nic.device).errors, 2);
	down();
}

/* Frames that nobody could be sent are errors of the driver's. */
static void test_bad_frames(void)
{
	struct virtio_net_hdr_v1 header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .csum_start = 5000 };

	up(0, 0, ~0ull, 2048);
	driver_sends(13, 1);
	nic_pattern(frame, 100, 2);
	nic_queue(&nic, &header, frame, 100);
	driver_kick(&nic.tx);
	fake_run(nic.kernel);
	header = (struct virtio_net_hdr_v1){ .gso_type = 77 };
	nic_queue(&nic, &header, frame, 100);
	driver_kick(&nic.tx);
	fake_run(nic.kernel);
	EQUAL(nic_sent(&nic), 3);
	EQUAL(fake_stats(nic.device).errors, 3);
	driver_sends(100, 3);
	peer_expects(100, 3);
	down();
}

/* Without receive buffers, frames wait until there are some. */
static void test_no_buffers(void)
{
	up(0, 0, ~OFFLOADS, 2048);
	nic_post(&nic, 1);
	fake_run(nic.kernel);
	for (int i = 0; i < 5; i++)
		peer_sends(500, i);
	fake_run(nic.kernel);
	driver_expects(500, 0);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	for (int i = 1; i < 5; i++) {
		nic_post(&nic, 1);
		fake_run(nic.kernel);
		driver_expects(500, i);
	}
	EQUAL(fake_stats(nic.device).errors + fake_stats(nic.device).dropped, 0);
	down();
}

/* The device goes while it is in use: nobody spins, what is sent is dropped. */
static void test_deleted(void)
{
	char command[64];
	char name[IF_NAMESIZE];
	struct sockaddr_ll address;
	socklen_t len = sizeof(address);

	up(0, 0, ~0ull, 2048);
	nic_post(&nic, 60);
	fake_run(nic.kernel);
	EQUAL(getsockname(peer, (struct sockaddr *)&address, &len), 0);
	CHECK(if_indextoname(address.sll_ifindex, name));
	snprintf(command, sizeof(command), "ip link delete %s", name);
	EQUAL(system(command), 0);
	fake_run(nic.kernel);
	EQUAL(fake_step(nic.kernel), false);
	driver_sends(100, 1);
	EQUAL(nic_sent(&nic), 1);
	EQUAL(fake_stats(nic.device).dropped, 1);
	down();
}

/* The host's side is down: lost. Then it is up. */
static void test_down_and_up(void)
{
	struct sockaddr_ll address;
	socklen_t len = sizeof(address);
	char name[IF_NAMESIZE];

	up(0, 0, ~0ull, 2048);
	nic_post(&nic, 60);
	fake_run(nic.kernel);
	EQUAL(getsockname(peer, (struct sockaddr *)&address, &len), 0);
	CHECK(if_indextoname(address.sll_ifindex, name));
	host_up(name, false);
	driver_sends(100, 1);
	EQUAL(fake_stats(nic.device).dropped, 1);
	host_up(name, true);
	close(peer);
	peer = open_peer(name);
	driver_sends(100, 2);
	peer_expects(100, 2);
	peer_sends(100, 3);
	fake_run(nic.kernel);
	driver_expects(100, 3);
	down();
}

static void test_reset(void)
{
	up(0, 0, ~0ull, 2048);
	nic_post(&nic, 60);
	fake_run(nic.kernel);
	driver_write(nic.device, VIRTIO_MMIO_STATUS, 0);
	peer_sends(200, 1);
	fake_run(nic.kernel);
	nic_start(&nic, nic.kernel, nic.device, ~0ull, 2048);
	nic_post(&nic, 60);
	fake_run(nic.kernel);
	driver_expects(200, 1);
	down();
}

static void test_what_is_refused(void)
{
	struct rumpel_device *device;
	struct ifreq ifreq = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char name[16];
	int fd;

	EQUAL(rumpel_tap_open("lo", 0, name), -EINVAL);
	EQUAL(rumpel_tap_open("a name that is too long", 0, name), -EINVAL);
	EQUAL(rumpel_net_tap(-1, 0, NULL, 0, &device), -EBADF);
	EQUAL(rumpel_net_tap(peer, 0, NULL, 0, &device), -EBADF);
	fd = open("/dev/null", O_RDWR);
	EQUAL(rumpel_net_tap(fd, 0, NULL, 0, &device), -EPROTOTYPE);
	close(fd);
	fd = open("/dev/net/tun", O_RDWR);
	CHECK(rumpel_net_tap(fd, 0, NULL, 0, &device) < 0);
	EQUAL(ioctl(fd, TUNSETIFF, &ifreq), 0);
	EQUAL(rumpel_net_tap(fd, 0, NULL, 0, &device), -EPROTOTYPE);
	close(fd);
	fd = rumpel_tap_open("twice", 0, name);
	EQUAL(rumpel_tap_open("twice", 0, name), -EBUSY);
	EQUAL(rumpel_net_tap(fd, 0, NULL, 67, &device), -EINVAL);
	EQUAL(rumpel_net_tap(fd, 0, (const uint8_t[6]){ 1 }, 0, &device), -EINVAL);
	close(fd);
}

static const struct test tests[] = {
	{ test_both_ways, "frames go both ways, with offloads and without" },
	{ test_large, "the largest frames" },
	{ test_segments_for_the_host, "a frame with segments to be cut reaches the host whole" },
	{ test_checksum_for_the_driver, "a missing checksum is filled in for a driver without" },
	{ test_too_long, "what is longer than its buffers is dropped as a whole" },
	{ test_bad_frames, "frames that are none are errors, and the next one is sent" },
	{ test_no_buffers, "without receive buffers frames wait on the host" },
	{ test_deleted, "a device that is deleted: nothing spins, frames are dropped" },
	{ test_down_and_up, "a device that is down loses frames, and is up again" },
	{ test_reset, "frames wait while there is no driver" },
	{ test_what_is_refused, "descriptors and names that are refused" },
};

int main(int argc, char **argv)
{
	/* As root of a user namespace, where that takes no privilege. */
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("  no network namespace to be had: not run\n");
		return 0;
	}
	host_is_quiet();
	return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
