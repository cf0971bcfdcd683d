// SPDX-License-Identifier: GPL-2.0-only
/*
 * Jitter entropy tests the CPU for 6.5 ms when it starts, most of a boot, and
 * a virtual clock has no jitter. It is told no; the generator's seed comes
 * from the host (setup.c), and what asks for jitter does without.
 */
#include <linux/errno.h>

int __wrap_jent_entropy_init(unsigned int osr, unsigned int flags, void *hash_state, void *ec);

int __wrap_jent_entropy_init(unsigned int osr, unsigned int flags, void *hash_state, void *ec)
{
	return -EOPNOTSUPP;
}
