// SPDX-License-Identifier: GPL-2.0-only
/*
 * The image's face: the one exported symbol, and the ways in and out.
 */
#include <linux/init.h>
#include <linux/sched/task.h>
#include <linux/start_kernel.h>
#include <linux/utsname.h>
#include <generated/utsrelease.h>
#include <asm/sections.h>
#include <asm/host.h>

struct rumpel_vcpu rumpel_vcpu = { .deadline = RUMPEL_NO_DEADLINE };
union rumpel_private rumpel_private __aligned(PAGE_SIZE) __section(".data..page_aligned");
struct rumpel_boot_params rumpel_params;

/* Lends the calling host thread to the kernel; back when it leaves. */
static unsigned int rumpel_enter(void)
{
	switch_stack(&rumpel_vcpu.host, &rumpel_vcpu.kernel);
	return rumpel_vcpu.exit;
}

void rumpel_leave(unsigned int why)
{
	rumpel_leave_inline(why);
}

static void __ref rumpel_start(void)
{
	start_kernel();
	unreachable();
}

static unsigned int rumpel_boot(const struct rumpel_boot_params *params)
{
	rumpel_params = *params;
	rumpel_boot_clock = host_call(clock);
	context_init(&rumpel_vcpu.kernel, (char *)&init_stack + THREAD_SIZE - 64, rumpel_start);
	return rumpel_enter();
}

__visible __attribute__((visibility("default"))) const struct rumpel_image rumpel_image = {
	.magic = RUMPEL_MAGIC,
	.abi = RUMPEL_ABI,
	.page_size = PAGE_SIZE,
	.release = UTS_RELEASE,
	.banner = linux_banner,
	.text_start = _stext,
	.text_end = _einittext,
	.vcpu = &rumpel_vcpu,
	.private_page = &rumpel_private,
	.boot = rumpel_boot,
	.enter = rumpel_enter,
	.fault = rumpel_fault,
};
