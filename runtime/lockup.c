// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel that spins for ever: as one whose memory is full of what it takes memory
 * to write out. Linux goes on looking, nobody else gets the token, and no signal
 * ends that. So the kernel ends, as Linux's own watchdog has it end if told to
 * (kernel/watchdog.c, softlockup_panic).
 */
#include "core.h"

#include <stdio.h>

/* As long as Linux waits for a task before it complains (hung_task_timeout_secs). */
#define LIMIT (120 * NS_PER_SEC)
/* Who spins comes by more often; a process that was stopped does not. */
#define GAP NS_PER_SEC

void rumpel_lockup_init(struct rumpel_kernel *kernel)
{
	kernel->lockup.limit = LIMIT;
}

static bool is_over(const struct rumpel_kernel *kernel)
{
	const struct rumpel_lockup *lockup = &kernel->lockup;

	return !relaxed_get(&kernel->progress) && lockup->seen - lockup->since > lockup->limit;
}

void rumpel_lockup_look(struct rumpel_kernel *kernel)
{
	struct rumpel_lockup *lockup = &kernel->lockup;
	uint64_t now = rumpel_host_now();

	if (relaxed_get(&kernel->progress) || now - lockup->seen > GAP) {
		relaxed_set(&kernel->progress, false);
		lockup->since = now;
	}
	lockup->seen = now;
	if (unlikely(is_over(kernel)))
		atomic_set(&kernel->vcpu->notified, 1);
}

static bool waits_for_device(const struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < kernel->device_count; i++) {
		struct rumpel_device *device = kernel->devices[i];

		if (device && device->ops->is_busy(device))
			return true;
	}
	return false;
}

bool rumpel_lockup_found(struct rumpel_kernel *kernel)
{
	struct rumpel_lockup *lockup = &kernel->lockup;
	char line[160];
	int len;

	if (likely(!is_over(kernel)))
		return false;
	if (waits_for_device(kernel)) {
		lockup->since = lockup->seen;
		return false;
	}
	len = snprintf(
		line, sizeof(line),
		"0,0,%llu,-;Kernel panic - not syncing: soft lockup: it has been spinning for "
		"%llu s; has it run out of memory?\n",
		(unsigned long long)(rumpel_kernel_now(kernel) - kernel->booted_at) / 1000,
		(unsigned long long)((lockup->seen - lockup->since) / NS_PER_SEC));
	rumpel_log_append(&kernel->log, line, len);
	return true;
}
