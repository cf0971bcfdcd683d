// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kbuild.h>
#include <linux/sched.h>
#include <asm/host.h>

int main(void)
{
	OFFSET(TASK_PROCESS, task_struct, thread.process);
	OFFSET(VCPU_PROCESS, rumpel_vcpu, process);
	return 0;
}
