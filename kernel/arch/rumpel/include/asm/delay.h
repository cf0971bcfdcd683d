/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_DELAY_H
#define _ASM_RUMPEL_DELAY_H

void rumpel_delay(unsigned long long ns);
#define ndelay(n) rumpel_delay(n)
#define udelay(n) rumpel_delay((n)*1000ULL)
#define __udelay(n) udelay(n)
#define __ndelay(n) ndelay(n)
#define __const_udelay(n) udelay((n) / 4295)
void __delay(unsigned long loops);

#endif
