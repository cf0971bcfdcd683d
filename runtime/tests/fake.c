// SPDX-License-Identifier: GPL-2.0-only
/* The services for devices on a block of memory, and the driver's side. */
#include "fake.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAKE_GUARD 4096

/* ---- services for devices ---- */

void *rumpel_guest_memory(struct rumpel_kernel *kernel, uint64_t pa, uint64_t len)
{
	if (pa > FAKE_MEMORY || len > FAKE_MEMORY - pa)
		return NULL;
	return kernel->memory + pa;
}

void rumpel_kernel_interrupt_by(struct rumpel_kernel *by, struct rumpel_kernel *kernel,
				unsigned int slot)
{
	(void)by;
	rumpel_kernel_interrupt(kernel, slot);
}

void rumpel_kernel_interrupt(struct rumpel_kernel *kernel, unsigned int slot)
{
	__atomic_fetch_add(&kernel->interrupts[slot], 1, __ATOMIC_SEQ_CST);
}

void rumpel_kernel_defer(struct rumpel_kernel *kernel, struct rumpel_job *job)
{
	struct rumpel_job **end = &kernel->jobs;

	pthread_mutex_lock(&kernel->lock);
	while (*end)
		end = &(*end)->next;
	job->next = NULL;
	*end = job;
	pthread_mutex_unlock(&kernel->lock);
}

bool fake_one_cpu;

bool rumpel_kernel_has_cpus(void)
{
	return !fake_one_cpu;
}

void rumpel_kernel_watch(struct rumpel_kernel *kernel, struct rumpel_watch *watch)
{
	watch->next = kernel->watches;
	kernel->watches = watch;
}

void rumpel_kernel_unwatch(struct rumpel_kernel *kernel, struct rumpel_watch *watch)
{
	for (struct rumpel_watch **at = &kernel->watches; *at; at = &(*at)->next) {
		if (*at == watch) {
			*at = watch->next;
			return;
		}
	}
}

void rumpel_timer_arm(struct rumpel_kernel *kernel, struct rumpel_timer *timer, uint64_t deadline)
{
	struct rumpel_timer **at = &kernel->timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
	timer->deadline = deadline;
	if (deadline == RUMPEL_NO_DEADLINE)
		return;
	for (at = &kernel->timers; *at && (*at)->deadline <= deadline;)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

void fake_advance(struct rumpel_kernel *kernel, uint64_t ns)
{
	__atomic_fetch_add(&kernel->now, ns, __ATOMIC_RELAXED);
}

bool rumpel_kernel_is_virtual(const struct rumpel_kernel *kernel)
{
	return kernel->is_virtual;
}

bool rumpel_kernel_is_copied(const struct rumpel_kernel *kernel)
{
	(void)kernel;
	return true;
}

uint64_t rumpel_kernel_number(const struct rumpel_kernel *kernel)
{
	return kernel->is_virtual;
}

uint64_t rumpel_kernel_now(struct rumpel_kernel *kernel)
{
	return __atomic_load_n(&kernel->now, __ATOMIC_RELAXED);
}

void rumpel_device_notify_by(struct rumpel_kernel *by, struct rumpel_device *device)
{
	(void)by;
	rumpel_device_notify(device);
}

void rumpel_device_notify(struct rumpel_device *device)
{
	__atomic_store_n(&device->notified, true, __ATOMIC_SEQ_CST);
}

/* ---- the kernel ---- */

struct rumpel_kernel *fake_kernel(bool is_virtual)
{
	struct rumpel_kernel *kernel = calloc(1, sizeof(*kernel));

	CHECK(kernel);
	kernel->is_virtual = is_virtual;
	kernel->next_page = 4096;
	/* Between pages that fault, for the first byte too many. */
	kernel->memory = mmap(NULL, FAKE_MEMORY + 2 * FAKE_GUARD, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(kernel->memory != MAP_FAILED);
	kernel->memory += FAKE_GUARD;
	EQUAL(mprotect(kernel->memory, FAKE_MEMORY, PROT_READ | PROT_WRITE), 0);
	pthread_mutex_init(&kernel->lock, NULL);
	return kernel;
}

void fake_attach(struct rumpel_kernel *kernel, struct rumpel_device *device)
{
	unsigned int slot = 0;

	while (kernel->devices[slot])
		CHECK(++slot < FAKE_DEVICES);
	kernel->devices[slot] = device;
	device->kernel = kernel;
	device->slot = slot;
	EQUAL(device->ops->attach(device), 0);
}

void fake_detach(struct rumpel_kernel *kernel, struct rumpel_device *device)
{
	kernel->devices[device->slot] = NULL;
	device->ops->detach(device);
	device->ops->finish(device);
	device->kernel = NULL;
}

void fake_kernel_free(struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < FAKE_DEVICES; i++) {
		struct rumpel_device *device = kernel->devices[i];

		if (!device)
			continue;
		fake_detach(kernel, device);
		rumpel_device_free(device);
	}
	CHECK(!kernel->watches);
	pthread_mutex_destroy(&kernel->lock);
	munmap(kernel->memory - FAKE_GUARD, FAKE_MEMORY + 2 * FAKE_GUARD);
	free(kernel);
}

uint64_t fake_pages(struct rumpel_kernel *kernel, size_t bytes)
{
	uint64_t pa = kernel->next_page;

	kernel->next_page += (bytes + 4095) & ~4095ul;
	CHECK(kernel->next_page <= FAKE_MEMORY);
	return pa;
}

void *fake_at(struct rumpel_kernel *kernel, uint64_t pa)
{
	CHECK(pa < FAKE_MEMORY);
	return kernel->memory + pa;
}

static bool step_watch(struct rumpel_watch *watch)
{
	struct pollfd pollfd = { .fd = watch->fd, .events = watch->events };

	if (!watch->events || poll(&pollfd, 1, 0) <= 0)
		return false;
	watch->ready(watch, pollfd.revents);
	return true;
}

bool fake_step(struct rumpel_kernel *kernel)
{
	struct rumpel_watch *watch, *next;
	bool any = false;

	for (unsigned int i = 0; i < FAKE_DEVICES; i++) {
		struct rumpel_device *device = kernel->devices[i];

		if (!device || !__atomic_exchange_n(&device->notified, false, __ATOMIC_SEQ_CST))
			continue;
		device->ops->service(device);
		any = true;
	}
	for (watch = kernel->watches; watch; watch = next) {
		next = watch->next;
		any |= step_watch(watch);
	}
	while (kernel->timers && kernel->timers->deadline <= rumpel_kernel_now(kernel)) {
		struct rumpel_timer *timer = kernel->timers;

		kernel->timers = timer->next;
		timer->deadline = RUMPEL_NO_DEADLINE;
		timer->fire(timer);
		any = true;
	}
	/* It would sleep now. */
	for (watch = kernel->watches; watch && !any; watch = watch->next)
		any = watch->look && watch->look(watch);
	return any;
}

void fake_run(struct rumpel_kernel *kernel)
{
	for (int i = 0; fake_step(kernel); i++)
		CHECK(i < 100000);
}

unsigned int fake_jobs(struct rumpel_kernel *kernel)
{
	unsigned int count = 0;

	for (;; count++) {
		struct rumpel_job *job;

		pthread_mutex_lock(&kernel->lock);
		job = kernel->jobs;
		if (job)
			kernel->jobs = job->next;
		pthread_mutex_unlock(&kernel->lock);
		if (!job)
			return count;
		job->run(job);
	}
}

unsigned int fake_interrupts(struct rumpel_device *device)
{
	return __atomic_exchange_n(&device->kernel->interrupts[device->slot], 0, __ATOMIC_SEQ_CST);
}

struct rumpel_device_stats fake_stats(struct rumpel_device *device)
{
	struct rumpel_device_stats stats;

	rumpel_device_stats(device, &stats);
	return stats;
}

/* ---- the driver ---- */

uint32_t driver_read(struct rumpel_device *device, unsigned int offset)
{
	return device->ops->mmio_read(device, offset, 4);
}

void driver_write(struct rumpel_device *device, unsigned int offset, uint32_t value)
{
	device->ops->mmio_write(device, offset, value, 4);
}

uint64_t driver_offered(struct rumpel_device *device)
{
	uint64_t features;

	driver_write(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)driver_read(device, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	driver_write(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | driver_read(device, VIRTIO_MMIO_DEVICE_FEATURES);
}

void driver_negotiate(struct rumpel_device *device, uint64_t features)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	driver_write(device, VIRTIO_MMIO_STATUS, 0);
	EQUAL(driver_read(device, VIRTIO_MMIO_STATUS), 0);
	driver_write(device, VIRTIO_MMIO_STATUS, status);
	driver_write(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(device, VIRTIO_MMIO_DRIVER_FEATURES, features >> 32);
	driver_write(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(device, VIRTIO_MMIO_DRIVER_FEATURES, features);
	driver_write(device, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK);
}

void driver_queue(struct driver_queue *queue, struct rumpel_device *device, unsigned int index,
		  uint16_t num)
{
	struct rumpel_kernel *kernel = device->kernel;

	*queue = (struct driver_queue){ .device = device, .index = index, .num = num };
	queue->desc_pa = fake_pages(kernel, 16 * num);
	queue->avail_pa = fake_pages(kernel, 6 + 2 * num);
	queue->used_pa = fake_pages(kernel, 6 + 8 * num);
	queue->desc = fake_at(kernel, queue->desc_pa);
	queue->avail = fake_at(kernel, queue->avail_pa);
	queue->used = fake_at(kernel, queue->used_pa);
	driver_write(device, VIRTIO_MMIO_QUEUE_SEL, index);
	driver_write(device, VIRTIO_MMIO_QUEUE_NUM, num);
	driver_write(device, VIRTIO_MMIO_QUEUE_DESC_LOW, queue->desc_pa);
	driver_write(device, VIRTIO_MMIO_QUEUE_DESC_HIGH, queue->desc_pa >> 32);
	driver_write(device, VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue->avail_pa);
	driver_write(device, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, queue->avail_pa >> 32);
	driver_write(device, VIRTIO_MMIO_QUEUE_USED_LOW, queue->used_pa);
	driver_write(device, VIRTIO_MMIO_QUEUE_USED_HIGH, queue->used_pa >> 32);
	driver_write(device, VIRTIO_MMIO_QUEUE_READY, 1);
}

void driver_ok(struct rumpel_device *device)
{
	uint32_t status = driver_read(device, VIRTIO_MMIO_STATUS);

	driver_write(device, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

void driver_up(struct rumpel_device *device, struct driver_queue *queues, unsigned int count,
	       uint16_t num)
{
	driver_negotiate(device, driver_offered(device));
	CHECK(driver_read(device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned int i = 0; i < count; i++)
		driver_queue(&queues[i], device, i, num);
	driver_ok(device);
}

static void fill(struct vring_desc *table, uint16_t at, uint16_t mask,
		 const struct driver_buffer *buffers, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		table[(at + i) & mask] = (struct vring_desc){
			.addr = buffers[i].pa,
			.len = buffers[i].len,
			.flags = (buffers[i].write ? VRING_DESC_F_WRITE : 0) |
				 (i + 1 < count ? VRING_DESC_F_NEXT : 0),
			.next = i + 1 < count ? (at + i + 1) & mask : 0,
		};
	}
}

/* Descriptors are given out round and round: tests never have them all in use. */
uint16_t driver_add(struct driver_queue *queue, const struct driver_buffer *buffers,
		    unsigned int count)
{
	uint16_t head = queue->next_desc & (queue->num - 1);

	fill(queue->desc, head, queue->num - 1, buffers, count);
	queue->next_desc += count;
	driver_offer(queue, head);
	return head;
}

uint16_t driver_add_indirect(struct driver_queue *queue, const struct driver_buffer *buffers,
			     unsigned int count)
{
	struct rumpel_kernel *kernel = queue->device->kernel;
	uint64_t table = fake_pages(kernel, 16 * count);
	uint16_t head = queue->next_desc++ & (queue->num - 1);

	fill(fake_at(kernel, table), 0, 0xffff, buffers, count);
	queue->desc[head] = (struct vring_desc){ .addr = table,
						 .len = 16 * count,
						 .flags = VRING_DESC_F_INDIRECT };
	driver_offer(queue, head);
	return head;
}

void driver_offer(struct driver_queue *queue, uint16_t head)
{
	uint16_t idx = queue->avail->idx;

	__atomic_store_n(&queue->avail->ring[idx & (queue->num - 1)], head, __ATOMIC_RELAXED);
	__atomic_store_n(&queue->avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

void driver_kick(struct driver_queue *queue)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&queue->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
		driver_write(queue->device, VIRTIO_MMIO_QUEUE_NOTIFY, queue->index);
}

bool driver_used(struct driver_queue *queue, uint32_t *head, uint32_t *len)
{
	struct vring_used_elem *element;

	if (__atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) == queue->used_seen)
		return false;
	element = &queue->used->ring[queue->used_seen++ & (queue->num - 1)];
	if (head)
		*head = __atomic_load_n(&element->id, __ATOMIC_RELAXED);
	if (len)
		*len = __atomic_load_n(&element->len, __ATOMIC_RELAXED);
	return true;
}

void fake_free_in_child(struct rumpel_device *device, const char *name)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child) {
		rumpel_device_free(device);
		_exit(0);
	}
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
	EQUAL(access(name, F_OK), 0);
	rumpel_device_free(device);
	CHECK(access(name, F_OK) < 0);
}
