/* SPDX-License-Identifier: GPL-2.0-only */
/* A cable between two kernels, for tests: one thread runs both. */
#ifndef RUMPEL_TESTS_CABLE_H
#define RUMPEL_TESTS_CABLE_H

#include "nic.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

extern struct nic a, b; /* its ends */
extern uint8_t sent[NIC_FRAME], got[NIC_FRAME];

/* Both ends up in kernels of their own, b with receive buffers. */
void cable_up(uint64_t delay, size_t rx_size, unsigned int posted);
void cable_down(void);
void run_both(void);
void send_pattern(struct nic *nic, size_t len, unsigned int seed);
/* The next frame that came is the one of that length and seed. */
void expect_pattern(struct nic *nic, size_t len, unsigned int seed);

#endif
