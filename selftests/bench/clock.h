/* SPDX-License-Identifier: GPL-2.0 */
/* A clock that counts instructions, if QEMU runs with -icount shift=0. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <linux/errno.h>
#include <linux/irqflags.h>
#include <linux/math64.h>
#include <linux/printk.h>
#include <linux/time64.h>
#include <linux/timex.h>
#ifdef CONFIG_PPC
#include <asm/time.h>
#endif

static inline u64 instructions(void)
{
#ifdef CONFIG_PPC
	return mul_u64_u32_div(get_cycles(), NSEC_PER_SEC, tb_ticks_per_sec);
#else
	return rdtsc_ordered();
#endif
}

#define LOOPS	10000
/* The clock may be coarser than an instruction. */
#define COARSE	8

/* Takes two instructions for each loop. */
static noinline u64 time_loops(unsigned long loops)
{
	u64 begin = instructions();

#ifdef CONFIG_PPC
	asm volatile("mtctr %0\n1:\tnop\n\tbdnz 1b" : : "r" (loops) : "ctr");
#else
	asm volatile("1:\tdec %0\n\tjnz 1b" : "+r" (loops));
#endif
	return instructions() - begin;
}

/* No figure is better than one of something else. */
static int check_clock(void)
{
	unsigned long flags;
	s64 taken;

	local_irq_save(flags);
	taken = time_loops(2 * LOOPS) - time_loops(LOOPS);
	local_irq_restore(flags);
	if (abs(taken - 2 * LOOPS) <= COARSE)
		return 0;
	pr_err("%d instructions take %lld: boot with -accel tcg -icount shift=0,sleep=off\n",
	       2 * LOOPS, taken);
	return -ENODEV;
}

#endif
