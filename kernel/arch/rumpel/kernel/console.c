// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every record of the log goes to the host as it is made, with level and time.
 */
#include <linux/console.h>
#include <linux/init.h>
#include <asm/host.h>
#include <asm/setup.h>

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

void __init rumpel_console_init(void)
{
	register_console(&host_console);
}
