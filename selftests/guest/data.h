/* SPDX-License-Identifier: GPL-2.0 */
/* Pages to be compressed, for the programs beside this one. */
#ifndef DATA_H
#define DATA_H

#define PAGE 4096UL
#define WORDS (PAGE / sizeof(unsigned long))

static inline unsigned long xorshift(unsigned long x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

/*
 * Makes the page of that number. Its first words do not compress, and how many there are
 * depends on the number.
 */
static inline void make_page(unsigned long *words, unsigned long number)
{
	unsigned long value = xorshift(number + 1);
	unsigned long n = WORDS / 16 + value % (WORDS / 2);

	for (unsigned long i = 0; i < n; i++)
		words[i] = value = xorshift(value);
	for (unsigned long i = n; i < WORDS; i++)
		words[i] = number;
}

#endif
