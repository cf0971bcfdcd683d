// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's clock as clocksource, a deadline in the vcpu as clockevent.
 */
#include <linux/clockchips.h>
#include <linux/clocksource.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/sched_clock.h>
#include <linux/sched/clock.h>
#include <linux/timekeeping.h>
#include <asm/host.h>

/* The host's clock when the kernel was started. */
u64 rumpel_boot_clock;

static u64 host_clock_read(struct clocksource *cs)
{
	return rumpel_clock();
}

static struct clocksource host_clocksource = {
	.name = "host",
	.rating = 499,
	.read = host_clock_read,
	.mask = CLOCKSOURCE_MASK(64),
	/* Exactly 1, with room for adjtimex() below and for hours asleep above. */
	.mult = 1 << 20,
	.shift = 20,
	.flags = CLOCK_SOURCE_IS_CONTINUOUS | CLOCK_SOURCE_VALID_FOR_HRES,
};

/* From the start: jiffies stand still until the boot is over. */
struct clocksource *__init clocksource_default_clock(void)
{
	return &host_clocksource;
}

unsigned long long notrace sched_clock(void)
{
	return rumpel_clock() - rumpel_boot_clock;
}

static int set_deadline(unsigned long ns, struct clock_event_device *dev)
{
	rumpel_vcpu.deadline = rumpel_clock() + ns;
	return 0;
}

static int shutdown(struct clock_event_device *dev)
{
	rumpel_vcpu.deadline = RUMPEL_NO_DEADLINE;
	return 0;
}

static struct clock_event_device vcpu_clockevent = {
	.name = "vcpu",
	.features = CLOCK_EVT_FEAT_ONESHOT,
	.rating = 499,
	.irq = RUMPEL_IRQ_TIMER,
	.set_next_event = set_deadline,
	.set_state_shutdown = shutdown,
	.set_state_oneshot_stopped = shutdown,
};

static irqreturn_t timer_interrupt(int irq, void *dev)
{
	/* Early ones happen: another thread saw an older deadline. */
	if (rumpel_clock() < rumpel_vcpu.deadline)
		return IRQ_HANDLED;
	rumpel_vcpu.deadline = RUMPEL_NO_DEADLINE;
	vcpu_clockevent.event_handler(&vcpu_clockevent);
	return IRQ_HANDLED;
}

void __init time_init(void)
{
	__clocksource_register(&host_clocksource);
	if (request_irq(RUMPEL_IRQ_TIMER, timer_interrupt, IRQF_TIMER, "timer", NULL))
		panic("no timer interrupt");
	vcpu_clockevent.cpumask = cpumask_of(0);
	clockevents_config_and_register(&vcpu_clockevent, NSEC_PER_SEC, 1, LONG_MAX);
}

/* The core's own would measure; there is nothing to find out. */
void calibrate_delay(void)
{
	loops_per_jiffy = NSEC_PER_SEC / HZ;
}

void read_persistent_clock64(struct timespec64 *ts)
{
	*ts = ns_to_timespec64(host_call(realtime));
}
