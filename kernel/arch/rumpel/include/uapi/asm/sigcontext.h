/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/* Nobody builds a frame for a signal: handlers are the host code's affair. */
