/* SPDX-License-Identifier: GPL-2.0-only */
/* Where start.S finds the members of struct thread; thread.c compares. */
#ifndef AGENT_OFFSETS_H
#define AGENT_OFFSETS_H

#define T_SELF 0
#define T_STACK 8
#define T_WORK 16
#define T_LEAVING 20
#define T_USED 24
#define T_RAX 32
#define T_RDI 40
#define T_RSI 48
#define T_RDX 56
#define T_R10 64
#define T_R8 72
#define T_R9 80
#define T_RBX 88
#define T_RBP 96
#define T_R12 104
#define T_R13 112
#define T_R14 120
#define T_R15 128
#define T_RSP 136
#define T_RIP 144
#define T_FLAGS 152
#define T_NR 160

/* What a call returns that has done nothing yet, for it is to be made again after a signal. */
#define RESTART (-513)

#endif
