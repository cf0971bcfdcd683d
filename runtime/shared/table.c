// SPDX-License-Identifier: GPL-2.0-only
/* The functions of rumpel/shared.h: the linker puts them where programs look for them. */
#include "instance.h"

__attribute__((section(".table"), used)) static const struct rumpel_shared_ops table = {
	.magic = RUMPEL_SHARED_MAGIC,
	.version = RUMPEL_SHARED_VERSION,
	.attach = shared_attach,
	.call = shared_call,
	.poll = shared_poll,
	.interrupt = shared_interrupt,
	.thread_begin = shared_thread_begin,
	.thread_end = shared_thread_end,
	.fork_begin = shared_fork_begin,
	.fork_child = shared_fork_child,
	.fork_parent = shared_fork_parent,
	.exec_begin = shared_exec_begin,
	.exec_failed = shared_exec_failed,
	.exit = shared_exit,
	.reason = shared_reason,
	.give = shared_give,
	.take = shared_take,
	.get_owner = shared_get_owner,
	.set_owner = shared_set_owner,
	.kill = shared_kill,
	.fault = shared_fault,
	.inside = shared_inside,
};
