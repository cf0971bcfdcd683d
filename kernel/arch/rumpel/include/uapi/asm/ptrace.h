/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/* A tracer sees stops and system calls; registers are the host code's affair. */
