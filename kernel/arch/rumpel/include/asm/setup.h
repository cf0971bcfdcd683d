/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_SETUP_H
#define _ASM_RUMPEL_SETUP_H

#define COMMAND_LINE_SIZE 4096

void rumpel_console_init(void);
void rumpel_memory_init(void);

#endif
