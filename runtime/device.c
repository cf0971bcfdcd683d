// SPDX-License-Identifier: GPL-2.0-only
/* Device slots: registers, service, interrupts, and descriptors to watch. */
#include "core.h"

#include <poll.h>
#include <unistd.h>

static struct rumpel_device *device_at(struct rumpel_kernel *kernel, unsigned long address)
{
	uint64_t slot = (address - kernel->mmio) / RUMPEL_MMIO_SIZE;

	return slot < kernel->device_count ? kernel->devices[slot] : NULL;
}

static unsigned long long op_mmio_read(void *host, unsigned long address, unsigned int size)
{
	struct rumpel_device *device = device_at(host, address);

	return device ? device->ops->mmio_read(device, address % RUMPEL_MMIO_SIZE, size) : 0;
}

static void op_mmio_write(void *host, unsigned long address, unsigned long long value,
			  unsigned int size)
{
	struct rumpel_device *device = device_at(host, address);

	if (device)
		device->ops->mmio_write(device, address % RUMPEL_MMIO_SIZE, value, size);
}

void rumpel_device_ops(struct host_ops *ops)
{
	ops->mmio_read = op_mmio_read;
	ops->mmio_write = op_mmio_write;
}

/* The holder of the token looks at what there is when it has given it back. */
static void wake(struct rumpel_kernel *kernel)
{
	if (atomic_get(&kernel->token))
		return;
	if (atomic_get(&kernel->asleep))
		rumpel_kick(kernel);
	else
		rumpel_housekeeper_call(kernel);
}

/* As wake(); but where nobody calls, and the housekeeper sleeps, visitors may be enough. */
static void wake_by(struct rumpel_kernel *by, struct rumpel_kernel *kernel)
{
	bool may = by && by != kernel && rumpel_token_is_mine(by) && !atomic_get(&kernel->token) &&
		   atomic_get(&kernel->asleep) && relaxed_get(&kernel->spin.housekeeper);

	if (!may || !rumpel_visit_later(by, kernel))
		wake(kernel);
}

void rumpel_device_notify_by(struct rumpel_kernel *by, struct rumpel_device *device)
{
	struct rumpel_kernel *kernel = __atomic_load_n(&device->kernel, __ATOMIC_SEQ_CST);

	/* It has just been unplugged. */
	if (!kernel)
		return;
	atomic_set(&device->notified, true);
	atomic_set(&kernel->vcpu->notified, 1);
	wake_by(by, kernel);
}

void rumpel_device_notify(struct rumpel_device *device)
{
	rumpel_device_notify_by(NULL, device);
}

void rumpel_devices_serve(struct rumpel_kernel *kernel)
{
	if (!atomic_get(&kernel->vcpu->notified))
		return;
	while (__atomic_exchange_n(&kernel->vcpu->notified, 0, __ATOMIC_SEQ_CST)) {
		for (unsigned int i = 0; i < kernel->device_count; i++) {
			struct rumpel_device *device = kernel->devices[i];

			if (device &&
			    __atomic_exchange_n(&device->notified, false, __ATOMIC_SEQ_CST))
				device->ops->service(device);
		}
	}
}

void rumpel_kernel_interrupt_by(struct rumpel_kernel *by, struct rumpel_kernel *kernel,
				unsigned int slot)
{
	uint64_t bit = 1ull << (RUMPEL_IRQ_DEVICE + slot);

	relaxed_set(&kernel->progress, true);
	if (!(__atomic_fetch_or(&kernel->vcpu->pending, bit, __ATOMIC_SEQ_CST) & bit))
		wake_by(by, kernel);
}

void rumpel_kernel_interrupt(struct rumpel_kernel *kernel, unsigned int slot)
{
	rumpel_kernel_interrupt_by(NULL, kernel, slot);
}

void rumpel_kernel_watch(struct rumpel_kernel *kernel, struct rumpel_watch *watch)
{
	struct rumpel_watch **at = &kernel->watches;

	rumpel_eventfd_open(&kernel->eventfd);
	while (*at)
		at = &(*at)->next;
	watch->next = NULL;
	watch->polled = 0;
	*at = watch;
}

void rumpel_kernel_unwatch(struct rumpel_kernel *kernel, struct rumpel_watch *watch)
{
	struct rumpel_watch **at = &kernel->watches;

	while (*at && *at != watch)
		at = &(*at)->next;
	if (*at)
		*at = watch->next;
	/* The leader may sleep on its descriptor, and let go of it. */
	if (atomic_get(&kernel->asleep))
		rumpel_kick(kernel);
}

bool rumpel_is_watched(const struct rumpel_kernel *kernel, const struct rumpel_watch *watch)
{
	const struct rumpel_watch *at = kernel->watches;

	while (at && at != watch)
		at = at->next;
	return at;
}

bool rumpel_watches_look(struct rumpel_kernel *kernel)
{
	struct rumpel_watch *watch;
	bool found = false;

	for (watch = kernel->watches; watch; watch = watch->next)
		if (watch->look)
			found |= watch->look(watch);
	return found;
}

void rumpel_watches_poll(struct rumpel_kernel *kernel)
{
	struct rumpel_watch *watches[MOST_WATCHES], *watch;
	struct pollfd polled[MOST_WATCHES];
	nfds_t count = 0;

	rumpel_watches_look(kernel);
	for (watch = kernel->watches; watch && count < MOST_WATCHES; watch = watch->next) {
		if (!watch->events)
			continue;
		polled[count] = (struct pollfd){ .fd = watch->fd, .events = watch->events };
		watches[count++] = watch;
	}
	if (!count || poll(polled, count, 0) <= 0)
		return;
	for (nfds_t i = 0; i < count; i++)
		if (polled[i].revents)
			watches[i]->ready(watches[i], polled[i].revents);
}

void rumpel_devices_detach(struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < kernel->device_count; i++) {
		struct rumpel_device *device = kernel->devices[i];

		if (!device)
			continue;
		rumpel_device_detach(device);
		rumpel_device_finish(device);
		device->ops->free(device);
	}
	kernel->device_count = 0;
}
