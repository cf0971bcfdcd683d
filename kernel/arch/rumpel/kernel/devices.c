// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio-mmio bus: one platform device for each slot the host has filled.
 */
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/platform_device.h>
#include <asm/host.h>

static int __init devices_init(void)
{
	for (unsigned int slot = 0; slot < rumpel_params.devices; slot++) {
		struct resource resources[] = {
			DEFINE_RES_MEM(rumpel_params.mmio + slot * RUMPEL_MMIO_SIZE,
				       RUMPEL_MMIO_SIZE),
			DEFINE_RES_IRQ(RUMPEL_IRQ_DEVICE + slot),
		};

		platform_device_register_simple("virtio-mmio", slot, resources,
						ARRAY_SIZE(resources));
	}
	return 0;
}
arch_initcall(devices_init);
