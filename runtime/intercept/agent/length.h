/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_LENGTH_H
#define AGENT_LENGTH_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the x86-64 instruction at p, or 0: it is none, or goes beyond end. */
int instruction_length(const uint8_t *p, const uint8_t *end);

/*
 * Does an instruction begin at p, whoever comes from before it? Text from begin on
 * is readable. No instruction is longer than 15 bytes, so among 15 bytes in a row one
 * is where an instruction begins; if decoding from each of them leads to p, or to what
 * is no instruction at all, then so does the true one.
 */
bool instruction_begins(const uint8_t *p, const uint8_t *begin);

#endif
