// SPDX-License-Identifier: GPL-2.0-only
/* What the public C API has for every device. */
#include "../kernel.h"

void rumpel_device_free(struct rumpel_device *device)
{
	if (device)
		device->ops->free(device);
}

void rumpel_device_stats(const struct rumpel_device *device, struct rumpel_device_stats *stats)
{
	device->ops->stats(device, stats);
}
