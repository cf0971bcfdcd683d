// SPDX-License-Identifier: GPL-2.0-only
/* Devices find their slots, at boot and later, and leave them again. */
#include "core.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

int rumpel_device_attach(struct rumpel_kernel *kernel, struct rumpel_device *device)
{
	struct rumpel_kernel *nobody = NULL;
	unsigned int slot = 0;
	int error;

	while (slot < RUMPEL_MAX_DEVICES && kernel->devices[slot])
		slot++;
	if (slot == RUMPEL_MAX_DEVICES)
		return -ENOSPC;
	if (!__atomic_compare_exchange_n(&device->kernel, &nobody, kernel, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return -EBUSY;
	device->slot = slot;
	device->leaves = false;
	error = device->ops->attach ? device->ops->attach(device) : 0;
	if (error) {
		device->kernel = NULL;
		return error;
	}
	kernel->devices[slot] = device;
	if (slot == kernel->device_count)
		kernel->device_count++;
	return 0;
}

void rumpel_device_detach(struct rumpel_device *device)
{
	struct rumpel_kernel *kernel = device->kernel;

	kernel->devices[device->slot] = NULL;
	/* That was done when the fork had no copy of its kernel. */
	if (atomic_get(&kernel->state) == RUMPEL_FORKED)
		return;
	device->ops->detach(device);
	/* It was meant for this one, and not for who is next. */
	if (kernel->vcpu)
		__atomic_fetch_and(&kernel->vcpu->pending,
				   ~(1ull << (RUMPEL_IRQ_DEVICE + device->slot)), __ATOMIC_SEQ_CST);
}

void rumpel_device_finish(struct rumpel_device *device)
{
	if (device->ops->finish)
		device->ops->finish(device);
	device->notified = false;
	__atomic_store_n(&device->kernel, NULL, __ATOMIC_SEQ_CST);
}

static bool has_driver(struct rumpel_device *device)
{
	return device->ops->mmio_read(device, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_DRIVER_OK;
}

/* The driver lets go of it, and then the slot. */
static int take_away(struct rumpel_task *task, struct rumpel_device *device)
{
	struct rumpel_kernel *kernel = task->kernel;
	long result = task_call(task, RUMPEL_CALL_UNPLUG, device->slot);
	struct rumpel_job *job;

	/* Requests that the driver did not wait for: done here, so that the device may go. */
	while ((job = rumpel_jobs_take(&kernel->jobs)))
		job->run(job);
	rumpel_token_take(kernel);
	rumpel_device_detach(device);
	rumpel_leave(kernel, false);
	rumpel_device_finish(device);
	return (int)result;
}

int rumpel_device_plug(struct rumpel_kernel *kernel, struct rumpel_device *device)
{
	struct rumpel_task *task;
	int error = rumpel_task_create(kernel, 0, &task);

	if (error)
		return error;
	rumpel_token_take(kernel);
	error = rumpel_device_attach(kernel, device);
	/* Nobody takes it away before it is there. */
	if (!error)
		device->leaves = true;
	rumpel_leave(kernel, false);
	if (!error) {
		error = (int)task_call(task, RUMPEL_CALL_PLUG, device->slot);
		if (!error && !has_driver(device))
			error = -ENODEV;
		if (error) {
			take_away(task, device);
		} else {
			rumpel_token_take(kernel);
			device->leaves = false;
			rumpel_leave(kernel, false);
		}
	}
	rumpel_task_free(task);
	return error;
}

int rumpel_device_unplug(struct rumpel_kernel *kernel, struct rumpel_device *device)
{
	struct rumpel_task *task;
	int error = rumpel_task_create(kernel, 0, &task);

	if (error)
		return error;
	rumpel_token_take(kernel);
	if (device->kernel != kernel || device->leaves)
		error = -ENODEV;
	else
		device->leaves = true;
	rumpel_leave(kernel, false);
	if (!error)
		error = take_away(task, device);
	rumpel_task_free(task);
	return error;
}
