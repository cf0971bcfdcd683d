// SPDX-License-Identifier: GPL-2.0-only
/* Promises of a cable between two kernels, as long as one thread runs both: of its frames. */
#include <stddef.h>

#include "cable.h"

static void test_arguments(void)
{
	static const uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 }, group[6] = { 1 }, nobody[6];
	struct rumpel_device *device[2];
	struct virtio_net_config config;

	EQUAL(rumpel_net_link(0, 67, NULL, NULL, device), -EINVAL);
	EQUAL(rumpel_net_link(0, 65536, NULL, NULL, device), -EINVAL);
	EQUAL(rumpel_net_link(0, 0, group, NULL, device), -EINVAL);
	EQUAL(rumpel_net_link(0, 0, NULL, nobody, device), -EINVAL);
	EQUAL(rumpel_net_link(~0ull, 0, NULL, NULL, device), -EINVAL);
	EQUAL(rumpel_net_link(0, 9000, mac, NULL, device), 0);
	nic_up(&a, device[0], true, 2048);
	for (unsigned int i = 0; i < sizeof(config); i++)
		((uint8_t *)&config)[i] =
			device[0]->ops->mmio_read(device[0], VIRTIO_MMIO_CONFIG + i, 1);
	EQUAL(memcmp(config.mac, mac, 6), 0);
	EQUAL(config.mtu, 9000);
	/* A link with a state is not up as soon as it is opened. */
	CHECK(!(driver_offered(device[0]) & 1ull << VIRTIO_NET_F_STATUS));
	EQUAL(rumpel_net_set_link(device[0], false), -EOPNOTSUPP);
	rumpel_device_free(device[1]);
	fake_kernel_free(a.kernel);
}

static uint16_t status_of(struct rumpel_device *device)
{
	return device->ops->mmio_read(
		device, VIRTIO_MMIO_CONFIG + offsetof(struct virtio_net_config, status), 2);
}

static void test_link_state(void)
{
	uint32_t generation;

	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, device), 0);
	EQUAL(rumpel_net_set_link(device[0], true), 0);
	nic_up(&a, device[0], true, 2048);
	nic_up(&b, device[1], true, 2048);
	nic_post(&a, 8);
	nic_post(&b, 8);
	fake_interrupts(a.device);
	generation = driver_read(a.device, VIRTIO_MMIO_CONFIG_GENERATION);
	EQUAL(rumpel_net_set_link(a.device, false), 0);
	EQUAL(status_of(a.device), 0);
	EQUAL(status_of(b.device), VIRTIO_NET_S_LINK_UP);
	CHECK(generation != driver_read(a.device, VIRTIO_MMIO_CONFIG_GENERATION));
	CHECK(fake_interrupts(a.device));
	EQUAL(driver_read(a.device, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	driver_write(a.device, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	/* Neither from it nor to it. */
	send_pattern(&a, 100, 1);
	send_pattern(&b, 100, 1);
	EQUAL(nic_receive(&a, NULL, got), -1);
	EQUAL(nic_receive(&b, NULL, got), -1);
	EQUAL(fake_stats(a.device).dropped, 1);
	EQUAL(rumpel_net_set_link(a.device, true), 0);
	EQUAL(status_of(a.device), VIRTIO_NET_S_LINK_UP);
	send_pattern(&a, 100, 2);
	expect_pattern(&b, 100, 2);
	cable_down();
}

static void test_made_up_macs(void)
{
	struct rumpel_device *device[2];
	uint64_t mac[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, device), 0);
	for (int i = 0; i < 2; i++) {
		mac[i] = device[i]->ops->mmio_read(device[i], VIRTIO_MMIO_CONFIG, 4);
		mac[i] |= device[i]->ops->mmio_read(device[i], VIRTIO_MMIO_CONFIG + 4, 2) << 32;
		EQUAL(mac[i] & 3, 2);
		rumpel_device_free(device[i]);
	}
	CHECK(mac[0] != mac[1]);
}

static void test_crosses(void)
{
	cable_up(0, 2048, 8);
	fake_interrupts(a.device);
	fake_interrupts(b.device);
	send_pattern(&a, 14, 1);
	send_pattern(&a, 1514, 2);
	expect_pattern(&b, 14, 1);
	expect_pattern(&b, 1514, 2);
	EQUAL(nic_receive(&b, NULL, got), -1);
	EQUAL(nic_sent(&a), 2);
	CHECK(fake_interrupts(a.device));
	CHECK(fake_interrupts(b.device));
	EQUAL(fake_stats(a.device).out, 2);
	EQUAL(fake_stats(a.device).out_bytes, 1528);
	EQUAL(fake_stats(b.device).in, 2);
	EQUAL(fake_stats(b.device).in_bytes, 1528);
	/* And back. */
	nic_post(&a, 1);
	send_pattern(&b, 100, 3);
	expect_pattern(&a, 100, 3);
	cable_down();
}

/* A whole TSO frame crosses as one, with what its header says. */
static void test_offloads(void)
{
	const struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
		.hdr_len = 66,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct virtio_net_hdr_v1 arrived;
	uint64_t offered;
	size_t len = 65226;

	cable_up(0, 4096, 20);
	offered = driver_offered(a.device);
	CHECK(offered & 1ull << VIRTIO_NET_F_HOST_TSO4 &&
	      offered & 1ull << VIRTIO_NET_F_GUEST_TSO4);
	nic_pattern(sent, len, 7);
	nic_queue(&a, &header, sent, len);
	driver_kick(&a.tx);
	fake_run(a.kernel);
	EQUAL(nic_receive(&b, &arrived, got), len);
	EQUAL(memcmp(sent, got, len), 0);
	EQUAL(arrived.num_buffers, (len + NIC_HEADER + 4095) / 4096);
	EQUAL(arrived.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	EQUAL(arrived.gso_type, header.gso_type);
	EQUAL(arrived.gso_size, 1448);
	EQUAL(arrived.csum_start, 34);
	EQUAL(arrived.csum_offset, 16);
	/* The buffers it did not need are still there. */
	send_pattern(&a, 60, 8);
	expect_pattern(&b, 60, 8);
	cable_down();
}

static void start_with(uint64_t without, size_t rx_size)
{
	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, device), 0);
	nic_up(&a, device[0], true, rx_size);
	b.kernel = fake_kernel(true);
	fake_attach(b.kernel, device[1]);
	nic_start(&b, b.kernel, device[1], ~without, rx_size);
	nic_post(&b, 8);
	fake_run(b.kernel);
}

static void test_no_mergeable_buffers(void)
{
	struct virtio_net_hdr_v1 arrived;

	start_with(1ull << VIRTIO_NET_F_MRG_RXBUF, 2048);
	send_pattern(&a, 2048 - NIC_HEADER, 1);
	EQUAL(nic_receive(&b, &arrived, got), 2048 - NIC_HEADER);
	EQUAL(arrived.num_buffers, 1);
	/* One byte more will never fit: it is an error, and holds up nothing. */
	send_pattern(&a, 2049 - NIC_HEADER, 2);
	send_pattern(&a, 60, 3);
	expect_pattern(&b, 60, 3);
	EQUAL(fake_stats(a.device).errors, 1);
	EQUAL(nic_sent(&a), 3);
	cable_down();
}

static unsigned int sum16(const uint8_t *data, size_t len)
{
	unsigned long sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void test_checksum_for_the_simple(void)
{
	struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = 34,
		.csum_offset = 6,
	};
	struct virtio_net_hdr_v1 arrived;

	for (size_t len = 60; len < 1500; len += 531) {
		start_with(1ull << VIRTIO_NET_F_GUEST_CSUM, 256);
		nic_pattern(sent, len, 9);
		nic_queue(&a, &header, sent, len);
		driver_kick(&a.tx);
		fake_run(a.kernel);
		EQUAL(nic_receive(&b, &arrived, got), len);
		EQUAL(arrived.flags, 0);
		EQUAL(memcmp(sent, got, 40), 0);
		EQUAL(memcmp(sent + 42, got + 42, len - 42), 0);
		EQUAL(got[40] << 8 | got[41], (uint16_t)~sum16(sent + 34, len - 34));
		/* A place behind the end is nonsense. */
		header.csum_start = len - 1;
		nic_post(&b, 8);
		nic_queue(&a, &header, sent, len);
		driver_kick(&a.tx);
		fake_run(a.kernel);
		EQUAL(nic_receive(&b, NULL, got), -1);
		EQUAL(fake_stats(a.device).errors, 1);
		header.csum_start = 34;
		cable_down();
	}
}

static void test_features_of_the_receiver(void)
{
	const struct virtio_net_hdr_v1 header = {
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = 1000,
	};

	start_with(1ull << VIRTIO_NET_F_GUEST_TSO6, 2048);
	nic_queue(&a, &header, sent, 1500);
	driver_kick(&a.tx);
	fake_run(a.kernel);
	EQUAL(nic_receive(&b, NULL, got), -1);
	EQUAL(nic_sent(&a), 1);
	EQUAL(fake_stats(a.device).errors, 1);
	cable_down();
}

static void test_no_frames(void)
{
	struct driver_buffer buffers[2];

	cable_up(0, 4096, 40);
	send_pattern(&a, 13, 1);
	send_pattern(&a, 65535 + 14 + 8 + 41, 1);
	/* A chain that the device shall write to. */
	buffers[0] = (struct driver_buffer){ a.tx_pa, 100, false };
	buffers[1] = (struct driver_buffer){ a.tx_pa + 4096, 100, true };
	driver_add(&a.tx, buffers, 2);
	driver_kick(&a.tx);
	fake_run(a.kernel);
	EQUAL(nic_sent(&a), 3);
	EQUAL(fake_stats(a.device).errors, 3);
	EQUAL(nic_receive(&b, NULL, got), -1);
	send_pattern(&a, 65535 + 14 + 8 + 40, 2);
	expect_pattern(&b, 65535 + 14 + 8 + 40, 2);
	cable_down();
}

static const struct test tests[] = {
	{ test_arguments, "a cable has an MTU, addresses and a delay that make sense" },
	{ test_link_state, "a cable that is pulled: the driver hears of it, and frames are lost" },
	{ test_made_up_macs, "addresses that are made up are local and differ" },
	{ test_crosses, "frames cross, are counted and announced" },
	{ test_offloads, "a large frame crosses as one, with its header, in many buffers" },
	{ test_no_mergeable_buffers, "a receiver without mergeable buffers gets what fits in one" },
	{ test_checksum_for_the_simple, "a receiver that wants checksums gets them" },
	{ test_features_of_the_receiver,
	  "a receiver gets no frames of a kind that it cannot take" },
	{ test_no_frames, "what is no frame is an error, and holds up nothing" },
};

TEST_MAIN(tests)
