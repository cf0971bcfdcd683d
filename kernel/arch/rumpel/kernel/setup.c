// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the boot needs of an architecture, and the ends of a kernel's life.
 */
#include <linux/console.h>
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/panic_notifier.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/seq_file.h>
#include <asm/host.h>
#include <asm/setup.h>

/* Every record of the log goes to the host as it is made, with level and time. */
static void host_console_write(struct console *console, const char *text, unsigned int len)
{
	host_call(print, text, len);
}

static struct console host_console = {
	.name = "host",
	.write = host_console_write,
	.flags = CON_PRINTBUFFER | CON_ENABLED | CON_ANYTIME | CON_EXTENDED,
	.index = -1,
};

static int __noreturn on_panic(struct notifier_block *block, unsigned long event, void *reason)
{
	rumpel_vcpu.dying = 1;
	if (!IS_ENABLED(CONFIG_DEBUG_BUGVERBOSE)) /* else panic() has done that */
		dump_stack();
	console_flush_on_panic(CONSOLE_FLUSH_PENDING);
	for (;;)
		rumpel_leave(RUMPEL_EXIT_PANIC);
}

static struct notifier_block panic_block = {
	.notifier_call = on_panic,
	.priority = INT_MIN,
};

void __init setup_arch(char **cmdline)
{
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	strscpy(boot_command_line, rumpel_params.cmdline, COMMAND_LINE_SIZE);
	*cmdline = boot_command_line;
	register_console(&host_console);
	parse_early_param();
	rumpel_memory_init();
	add_bootloader_randomness(rumpel_params.seed, sizeof(rumpel_params.seed));
}

/* Told no: it would test the CPU for 6.5 ms, and a virtual clock has no jitter. */
int __wrap_jent_entropy_init(unsigned int osr, unsigned int flags, void *hash_state, void *ec);
int __wrap_jent_entropy_init(unsigned int osr, unsigned int flags, void *hash_state, void *ec)
{
	return -EOPNOTSUPP;
}

void machine_halt(void)
{
	for (;;)
		rumpel_leave(RUMPEL_EXIT_HALT);
}

void machine_power_off(void) __alias(machine_halt);
void (*pm_power_off)(void) = machine_halt;

void machine_restart(char *command)
{
	machine_halt();
}

static int show_cpuinfo(struct seq_file *m, void *v)
{
	seq_puts(m, "processor\t: 0\nmodel name\t: rumpel virtual CPU\n\n");
	return 0;
}

static void *cpuinfo_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return NULL;
}

static void cpuinfo_stop(struct seq_file *m, void *v)
{
}

const struct seq_operations cpuinfo_op = {
	.start = single_start,
	.next = cpuinfo_next,
	.stop = cpuinfo_stop,
	.show = show_cpuinfo,
};
