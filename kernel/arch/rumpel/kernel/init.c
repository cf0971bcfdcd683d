// SPDX-License-Identifier: GPL-2.0-only
/*
 * pid 1: the core insists on executing a file. It gets an empty one, in a
 * format of ours, and the boot caller becomes its user mode.
 */
#include <linux/binfmts.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <asm/host.h>

static int load_init(struct linux_binprm *bprm)
{
	int err;

	if (!is_global_init(current) || rumpel_params.init->task)
		return -ENOEXEC;
	err = begin_new_exec(bprm);
	if (err)
		return err;
	setup_new_exec(bprm);
	finalize_exec(bprm);
	current->thread.caller = rumpel_params.init;
	current->thread.regs.caller = rumpel_params.init;
	current->thread.process = rumpel_params.init->process;
	rumpel_params.init->task = current;
	/* Nobody waits for the processes that end: they go at once. */
	current->sighand->action[SIGCHLD - 1].sa.sa_handler = SIG_IGN;
	return 0;
}

static struct linux_binfmt init_binfmt = {
	.load_binary = load_init,
};

static int __init init_file(void)
{
	/* Opened for reading only: a file open for writing cannot be executed. */
	struct file *file = filp_open("/init", O_CREAT | O_RDONLY, 0500);

	if (IS_ERR(file))
		return PTR_ERR(file);
	fput(file);
	register_binfmt(&init_binfmt);
	return 0;
}
late_initcall(init_file);
