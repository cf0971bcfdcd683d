/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#define COMMAND_LINE_SIZE 4096

void rumpel_memory_init(void);
