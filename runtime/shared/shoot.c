// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel takes pages of mappings away (truncation, write-back, reclaim) and uses them for
 * something else as soon as that has been done. Other processes that have them mapped must not
 * touch them any more: as another CPU would by an interrupt they are told by a signal, and
 * waited for. Only those are that have touched such a page since.
 */
#include "instance.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "../bare/bare.h"

#define INTERVAL (NS_PER_SEC / 50)

/* ---- in a handler of the process that is told ---- */

bool shared_shot(const siginfo_t *info)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_space *space = process ? process->space : NULL;
	int error = rumpel_self->error;
	uint32_t wanted;

	if (!rumpel_shared_is_shot(info->si_code, info->si_pid, info->si_value.sival_ptr))
		return false;
	/* A child that is about to begin has its parent's; it is told again. */
	if (process && process_pid(process) != (int)bare_syscall(SYS_getpid))
		space = NULL;
	wanted = space ? atomic_get(&space->wanted) : 0;
	/* All, so that it needs to know nothing. */
	shared_hide_all();
	if (space) {
		atomic_set(&space->acked, wanted);
		rumpel_futex_wake(&space->acked, INT32_MAX);
	}
	rumpel_self->error = error;
	return true;
}

/* ---- in the one that tells ---- */

static bool is_acked(const struct rumpel_space *space)
{
	return (int32_t)(atomic_get(&space->acked) - relaxed_get(&space->wanted)) >= 0;
}

/* The next one of the space from slot *at on, unless it is about to exec; NULL: no more. */
static const struct rumpel_process *next_of(const struct rumpel_space *space, unsigned int *at)
{
	while (*at < atomic_get(&instance->slots)) {
		const struct rumpel_process *process = &instance->processes[(*at)++];

		if (process_state(process) == PROCESS_RUNS && process->space == space &&
		    !process->only)
			return process;
	}
	return NULL;
}

static long queue(int pid, int signal)
{
	const siginfo_t info = {
		.si_signo = signal,
		.si_code = SI_QUEUE,
		.si_value.sival_ptr = (void *)RUMPEL_SHARED_MAGIC,
	};

	return bare_syscall(SYS_rt_sigqueueinfo, pid, signal, &info);
}

/*
 * False: it is not for this process to do. Two signals: an agent has one of them blocked
 * while it is on its way into the kernel and out, and a program may block the other.
 */
static bool tell(const struct rumpel_space *space)
{
	const struct rumpel_process *process;
	unsigned int at = 1;
	bool may = true;

	while ((process = next_of(space, &at))) {
		int pid = process_pid(process);

		if (queue(pid, SIGSYS) == -EPERM || queue(pid, SIGBUS) == -EPERM)
			may = false;
	}
	return may;
}

static bool is_touched(const struct rumpel_space *space, uint64_t start, uint64_t end)
{
	return space->high > start && space->low < end;
}

static bool is_other(const struct rumpel_space *space)
{
	return space != rumpel_self->process->space && space != instance->processes->space;
}

/*
 * The keeper tells, too, and looks who cannot touch anything. The token is held meanwhile, so
 * that it finds all spaces as they are and tells nobody who executes a program. False: it is gone,
 * and with it the kernel.
 */
static bool ask_keeper(void)
{
	uint32_t shots = __atomic_add_fetch(&instance->shots, 1, __ATOMIC_SEQ_CST), done;

	rumpel_futex_wake(&instance->shots, 1);
	while ((done = atomic_get(&instance->shots_done)) != shots) {
		if (shared_is_over(instance->keeper))
			return false;
		rumpel_futex_wait(&instance->shots_done, done, rumpel_host_now() + INTERVAL);
	}
	return true;
}

static bool is_settled(const struct rumpel_space *space)
{
	return is_acked(space) || atomic_get(&space->excused) == space->wanted;
}

void shared_shoot(uint64_t start, uint64_t end)
{
	struct rumpel_space *space;
	bool ask = false;

	for (space = instance->first_space; space; space = space->next) {
		if (!is_other(space) || !is_touched(space, start, end))
			continue;
		/* Who has not answered the last time is stopped or dead: it is not waited for again. */
		ask |= !is_acked(space);
		__atomic_fetch_add(&space->wanted, 1, __ATOMIC_SEQ_CST);
		ask |= !tell(space);
	}
	if (ask)
		ask_keeper();
	for (space = instance->first_space; space; space = space->next) {
		if (!is_other(space) || !is_touched(space, start, end))
			continue;
		while (!is_settled(space)) {
			uint32_t acked = atomic_get(&space->acked);

			if (!is_acked(space) &&
			    rumpel_futex_wait(&space->acked, acked, rumpel_host_now() + INTERVAL) ==
				    -ETIMEDOUT &&
			    !ask_keeper())
				break;
		}
		if (is_acked(space))
			space->low = space->high = 0;
	}
}

/*
 * ---- in the keeper: it may signal those who are another user's, and a file that it opens
 * is at a number that no program sees ----
 */

/* The letter of proc_pid_stat(5), 0: there is no such thread, or '?'. */
static char state_of(int pid, const char *tid)
{
	char path[64], text[256], *end;
	long fd, len;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, tid);
	fd = bare_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd == -ENOENT ? 0 : '?';
	len = bare_syscall(SYS_read, fd, text, sizeof(text) - 1);
	bare_syscall(SYS_close, fd);
	text[len > 0 ? len : 0] = 0;
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : 0;
}

/*
 * One that is stopped hears of it before it goes on, one in an uninterruptible call of the
 * host's before that returns.
 */
static bool thread_may_touch(int pid, const char *tid)
{
	char state = state_of(pid, tid);

	return state && !strchr("TtDZX", state);
}

struct host_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* Any thread of it: the first one may have ended, or wait, while others run. */
static bool process_may_touch(int pid)
{
	char path[32], entries[2048] __attribute__((aligned(8)));
	bool may = false;
	long fd, len;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	fd = bare_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fd != -ENOENT;
	while (!may && (len = bare_syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
		const struct host_dirent *entry;

		for (long at = 0; at < len && !may; at += entry->len) {
			entry = (const struct host_dirent *)(entries + at);
			may = entry->name[0] != '.' && thread_may_touch(pid, entry->name);
		}
	}
	bare_syscall(SYS_close, fd);
	return may;
}

static bool may_touch(const struct rumpel_space *space)
{
	const struct rumpel_process *process;
	unsigned int at = 1;

	while ((process = next_of(space, &at)))
		if (process_may_touch(process_pid(process)))
			return true;
	return false;
}

static void *shooter_main(void *argument)
{
	(void)argument;
	for (;;) {
		uint32_t shots = atomic_get(&instance->shots);

		if (shots == relaxed_get(&instance->shots_done)) {
			rumpel_futex_wait(&instance->shots, shots, NEVER);
			continue;
		}
		for (struct rumpel_space *space = instance->first_space; space;
		     space = space->next) {
			if (is_acked(space))
				continue;
			tell(space);
			if (!may_touch(space))
				atomic_set(&space->excused, space->wanted);
		}
		atomic_set(&instance->shots_done, shots);
		rumpel_futex_wake(&instance->shots_done, 1);
	}
	return NULL;
}

int shared_shoot_start(void)
{
	pthread_t thread;

	return -pthread_create(&thread, NULL, shooter_main, NULL);
}
