// SPDX-License-Identifier: GPL-2.0-only
/*
 * The orderly end: calls are interrupted, processes ended, file systems
 * written and unmounted, devices shut down.
 */
#include "core.h"

#include <fcntl.h>
#include <linux/reboot.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* How long calls of other threads have to end. */
#define PATIENCE (2 * NS_PER_SEC)
#define INTERVAL (NS_PER_SEC / 1000)
#define MOST_MOUNTS 1024

static struct rumpel_task *busy_task(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task;

	if (kernel->init->state == TASK_BUSY)
		return kernel->init;
	for (task = kernel->tasks; task; task = task->next)
		if (relaxed_get(&task->state) == TASK_BUSY && task != kernel->agent)
			return task;
	return NULL;
}

/*
 * Interrupts the calls of other threads until they have all ended. Those that
 * do not (a disk that does not answer) are left where they are.
 */
static void end_calls(struct rumpel_kernel *kernel)
{
	uint64_t limit = rumpel_host_now() + PATIENCE;
	struct rumpel_task *task;
	bool waiting = true;

	while (waiting && rumpel_host_now() < limit) {
		waiting = false;
		rumpel_token_take(kernel);
		for (task = kernel->tasks; task; task = task->next) {
			if (relaxed_get(&task->state) != TASK_BUSY || task == kernel->agent)
				continue;
			kernel->vcpu->interrupt = &task->caller;
			rumpel_vcpu_handle(kernel, rumpel_enter(kernel), NULL);
			if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
				break;
		}
		if (kernel->init->state == TASK_BUSY) {
			kernel->vcpu->interrupt = &kernel->init->caller;
			rumpel_vcpu_handle(kernel, rumpel_enter(kernel), NULL);
		}
		waiting = busy_task(kernel) && atomic_get(&kernel->state) == RUMPEL_RUNNING;
		rumpel_leave(kernel, false);
		if (waiting && !kernel->clock) {
			uint32_t nothing = 0;

			rumpel_futex_wait(&nothing, 0, rumpel_host_now() + INTERVAL);
		}
	}
}

/*
 * Whoever has changed pid 1's root has changed the agent's, and what is mounted
 * cannot be seen from there. The way back is the namespace's own root. Threads
 * that share theirs with pid 1 leave as well, if that is in no call; of others
 * the file system becomes read-only below.
 */
static void leave_chroot(struct rumpel_task *agent)
{
	struct rumpel_task *init = agent->kernel->init;
	long fs, proc, space, root;

	task_call(agent, SYS_unshare, CLONE_FS);
	fs = task_call(agent, SYS_fsopen, (unsigned long)"proc", 0);
	task_call(agent, SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	proc = task_call(agent, SYS_fsmount, fs, 0, 0);
	space = task_call(agent, SYS_openat, proc, (unsigned long)"self/ns/mnt", O_RDONLY, 0);
	task_call(agent, SYS_setns, space, CLONE_NEWNS);
	root = task_call(agent, SYS_open, (unsigned long)"/", O_RDONLY | O_DIRECTORY, 0);
	task_call(init, SYS_fchdir, root);
	task_call(init, SYS_chroot, (unsigned long)".");
}

/* All but the caller's own thread group, pid 1. */
static void end_processes(struct rumpel_kernel *kernel)
{
	task_call(kernel->agent, SYS_kill, (unsigned long)-1, SIGKILL);
	rumpel_token_take(kernel);
	rumpel_vcpu_run(kernel, NULL);
	rumpel_leave(kernel, false);
}

/* What pid 1 has in file systems. */
static void leave_files(struct rumpel_task *agent)
{
	task_call(agent, SYS_chdir, (unsigned long)"/");
	leave_chroot(agent);
	task_call(agent, SYS_close_range, 0, ~0u, 0);
}

size_t rumpel_read_file(struct rumpel_task *task, const char *path, char **content)
{
	long fd = task_call(task, SYS_open, (unsigned long)path, O_RDONLY | O_CLOEXEC, 0), got = 0;
	size_t size = 0, room = 4096;
	char *data = malloc(room), *more;

	while (fd >= 0 && data) {
		got = task_call(task, SYS_read, fd, (unsigned long)data + size, room - size - 1);
		if (got <= 0)
			break;
		size += got;
		if (size + 1 < room)
			continue;
		room *= 2;
		more = realloc(data, room);
		if (!more)
			free(data);
		data = more;
	}
	if (fd >= 0)
		task_call(task, SYS_close, fd);
	if (data)
		data[size] = 0;
	*content = data;
	return size;
}

/* Undoes the escapes of /proc/mounts: \ and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++, to++) {
		if (text[0] == '\\' && text[1] && text[2] && text[3]) {
			*to = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else {
			*to = *text;
		}
	}
	*to = 0;
}

static bool unmount(struct rumpel_task *agent, char *line)
{
	char *target = strchr(line, ' '), *end;

	end = target ? strchr(++target, ' ') : NULL;
	if (!end)
		return false;
	*end = 0;
	unescape(target);
	/* These keep nothing, and the second is still read from. */
	if (!strcmp(target, "/") || !strcmp(target, "/proc"))
		return false;
	if (!task_call(agent, SYS_umount2, (unsigned long)target, 0))
		return true;
	/* Busy for good: at least all is written, and the journal closed. */
	task_call(agent, SYS_mount, 0, (unsigned long)target, 0, MS_REMOUNT | MS_RDONLY, 0);
	return false;
}

/* Last mounted, first unmounted; again while that frees others. */
static void unmount_all(struct rumpel_task *agent)
{
	char *text, *lines[MOST_MOUNTS], *line, *rest;
	size_t count;
	bool again;

	do {
		again = false;
		count = 0;
		rumpel_read_file(agent, "/proc/thread-self/mounts", &text);
		for (line = text ? strtok_r(text, "\n", &rest) : NULL; line && count < MOST_MOUNTS;
		     line = strtok_r(NULL, "\n", &rest))
			lines[count++] = line;
		while (count)
			if (unmount(agent, lines[--count]))
				again = true;
		free(text);
	} while (again);
}

int rumpel_halt(struct rumpel_kernel *kernel)
{
	struct rumpel_task *agent = kernel->agent;
	bool twice;

	if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
		return atomic_get(&kernel->state) == RUMPEL_HALTED ? 0 : -ENOTRECOVERABLE;
	if (rumpel_token_enter(kernel))
		return -EDEADLK;
	twice = kernel->halting;
	kernel->halting = true;
	rumpel_leave(kernel, false);
	if (twice)
		return -EALREADY;
	end_calls(kernel);
	rumpel_agent_take(kernel);
	/* A tracer that is gone may have left it stopped, or about to be: its calls would not end. */
	task_call(agent, SYS_kill, 1, SIGCONT);
	leave_files(agent);
	/*
	 * Threads of md take a SIGKILL as the wish to be clean at once, and let nothing
	 * idle until the last write has ended: that should be before.
	 */
	unmount_all(agent);
	rumpel_volumes_stop(agent);
	end_processes(kernel);
	unmount_all(agent);
	rumpel_volumes_stop(agent);
	task_call(agent, SYS_sync);
	task_call(agent, SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		  LINUX_REBOOT_CMD_POWER_OFF, 0);
	rumpel_agent_give(kernel);
	rumpel_housekeeper_stop(kernel);
	return atomic_get(&kernel->state) == RUMPEL_HALTED ? 0 : -ENOTRECOVERABLE;
}
