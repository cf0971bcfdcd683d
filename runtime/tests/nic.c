// SPDX-License-Identifier: GPL-2.0-only
/* A driver of a network device, for tests. */
#include "nic.h"

#define TX_ROOM (2u << 20)

void nic_start(struct nic *nic, struct rumpel_kernel *kernel, struct rumpel_device *device,
	       uint64_t features, size_t rx_size)
{
	*nic = (struct nic){ .kernel = kernel, .device = device, .rx_size = rx_size };
	driver_negotiate(device, driver_offered(device) & features);
	CHECK(driver_read(device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
	driver_queue(&nic->rx, device, 0, NIC_RING);
	driver_queue(&nic->tx, device, 1, NIC_RING);
	driver_ok(device);
	nic->rx_pa = fake_pages(kernel, NIC_RING * rx_size);
	nic->tx_pa = fake_pages(kernel, TX_ROOM);
}

void nic_up(struct nic *nic, struct rumpel_device *device, bool is_virtual, size_t rx_size)
{
	struct rumpel_kernel *kernel = fake_kernel(is_virtual);

	fake_attach(kernel, device);
	nic_start(nic, kernel, device, ~0ull, rx_size);
}

void nic_post(struct nic *nic, unsigned int count)
{
	while (count--) {
		unsigned int at = nic->rx_posted++ % NIC_RING;
		struct driver_buffer buffer = { nic->rx_pa + at * nic->rx_size, nic->rx_size,
						true };

		driver_add(&nic->rx, &buffer, 1);
	}
	driver_kick(&nic->rx);
}

void nic_queue(struct nic *nic, const struct virtio_net_hdr_v1 *header, const void *frame,
	       size_t len)
{
	struct driver_buffer buffers[3];
	size_t first = len < 60 ? len : 60;
	uint64_t at;

	if (nic->tx_used + NIC_HEADER + len > TX_ROOM)
		nic->tx_used = 0;
	at = nic->tx_pa + nic->tx_used;
	nic->tx_used += NIC_HEADER + len;
	memcpy(fake_at(nic->kernel, at), header, NIC_HEADER);
	memcpy(fake_at(nic->kernel, at + NIC_HEADER), frame, len);
	buffers[0] = (struct driver_buffer){ at, NIC_HEADER, false };
	buffers[1] = (struct driver_buffer){ at + NIC_HEADER, first, false };
	buffers[2] = (struct driver_buffer){ at + NIC_HEADER + first, len - first, false };
	driver_add(&nic->tx, buffers, first < len ? 3 : 2);
}

void nic_send(struct nic *nic, const void *frame, size_t len)
{
	const struct virtio_net_hdr_v1 header = { 0 };

	nic_queue(nic, &header, frame, len);
	driver_kick(&nic->tx);
	fake_run(nic->kernel);
}

unsigned int nic_sent(struct nic *nic)
{
	unsigned int count = 0;
	uint32_t len;

	while (driver_used(&nic->tx, NULL, &len)) {
		EQUAL(len, 0);
		count++;
	}
	return count;
}

long nic_receive(struct nic *nic, struct virtio_net_hdr_v1 *header, void *frame)
{
	struct virtio_net_hdr_v1 first;
	uint32_t head, len;
	size_t total = 0;

	if (!driver_used(&nic->rx, &head, &len))
		return -1;
	memcpy(&first, fake_at(nic->kernel, nic->rx_pa + head * nic->rx_size), sizeof(first));
	CHECK(len >= sizeof(first) && first.num_buffers >= 1);
	for (unsigned int i = 0; i < first.num_buffers; i++) {
		size_t skip = i ? 0 : sizeof(first);

		if (i)
			CHECK(driver_used(&nic->rx, &head, &len));
		CHECK(len <= nic->rx_size);
		/* All buffers but the last are full. */
		if (i + 1 < first.num_buffers)
			EQUAL(len, nic->rx_size);
		memcpy((char *)frame + total,
		       (char *)fake_at(nic->kernel, nic->rx_pa + head * nic->rx_size) + skip,
		       len - skip);
		total += len - skip;
	}
	if (header)
		*header = first;
	return total;
}

void nic_pattern(void *frame, size_t len, unsigned int seed)
{
	uint8_t *bytes = frame;

	for (size_t i = 0; i < len; i++)
		bytes[i] = seed + i * 31 + (i >> 8);
}
