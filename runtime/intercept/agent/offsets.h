/* SPDX-License-Identifier: GPL-2.0-only */
/* Where start.S finds the members of struct thread; thread.c compares. */
#ifndef AGENT_OFFSETS_H
#define AGENT_OFFSETS_H

#define T_SELF 0
#define T_STACK 56
#define T_WORK 64
#define T_LEAVING 68
#define T_USED 72
#define T_RAX 80
#define T_RDI 88
#define T_RSI 96
#define T_RDX 104
#define T_R10 112
#define T_R8 120
#define T_R9 128
#define T_RBX 136
#define T_RBP 144
#define T_R12 152
#define T_R13 160
#define T_R14 168
#define T_R15 176
#define T_RSP 184
#define T_RIP 192
#define T_FLAGS 200
#define T_NR 208

/* What a call returns that has done nothing yet, for it is to be made again after a signal. */
#define RESTART (-513)

#endif
