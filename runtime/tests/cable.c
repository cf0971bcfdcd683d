// SPDX-License-Identifier: GPL-2.0-only
/* A cable between two kernels, for tests. */
#include "cable.h"

struct nic a, b;
uint8_t sent[NIC_FRAME], got[NIC_FRAME];

void cable_up(uint64_t delay, size_t rx_size, unsigned int posted)
{
	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(delay, 0, NULL, NULL, device), 0);
	nic_up(&a, device[0], true, rx_size);
	nic_up(&b, device[1], true, rx_size);
	nic_post(&b, posted);
	fake_run(b.kernel);
}

void cable_down(void)
{
	fake_kernel_free(a.kernel);
	fake_kernel_free(b.kernel);
}

void run_both(void)
{
	for (int i = 0; fake_step(a.kernel) | fake_step(b.kernel); i++)
		CHECK(i < 1000);
}

void send_pattern(struct nic *nic, size_t len, unsigned int seed)
{
	nic_pattern(sent, len, seed);
	nic_send(nic, sent, len);
}

void expect_pattern(struct nic *nic, size_t len, unsigned int seed)
{
	EQUAL(nic_receive(nic, NULL, got), len);
	nic_pattern(sent, len, seed);
	EQUAL(memcmp(sent, got, len), 0);
}
