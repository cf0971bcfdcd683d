// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio-mmio bus: one platform device for each slot the host has filled,
 * at boot or later.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/ioport.h>
#include <linux/platform_device.h>
#include <linux/shrinker.h>
#include <asm/host.h>

static struct platform_device *slots[RUMPEL_MAX_DEVICES];

long rumpel_device_plug(unsigned long slot)
{
	struct resource resources[] = {
		DEFINE_RES_MEM(rumpel_params.mmio + slot * RUMPEL_MMIO_SIZE, RUMPEL_MMIO_SIZE),
		DEFINE_RES_IRQ(RUMPEL_IRQ_DEVICE + slot),
	};

	slots[slot] = platform_device_register_simple("virtio-mmio", slot, resources,
						      ARRAY_SIZE(resources));
	return PTR_ERR_OR_ZERO(slots[slot]);
}

long rumpel_device_unplug(unsigned long slot)
{
	platform_device_unregister(slots[slot]);
	return 0;
}

/* Whoever has to find memory must not keep a disk from writing out what is to be had. */
static unsigned long serve_devices(struct shrinker *shrinker, struct shrink_control *control)
{
	cpu_relax();
	return SHRINK_EMPTY;
}

static int __init devices_init(void)
{
	struct shrinker *shrinker = shrinker_alloc(0, "devices");

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = serve_devices;
	shrinker_register(shrinker);
	for (unsigned int slot = 0; slot < rumpel_params.devices; slot++)
		rumpel_device_plug(slot);
	return 0;
}
arch_initcall(devices_init);
