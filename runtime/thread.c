// SPDX-License-Identifier: GPL-2.0-only
/* Threads of the process that run kernels. */
#include "core.h"

#include <sys/syscall.h>
#include <unistd.h>

__thread uint32_t rumpel_tid;

void rumpel_thread_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, rumpel_fork_init);
	rumpel_fault_thread_init();
	rumpel_tid = syscall(SYS_gettid);
}
