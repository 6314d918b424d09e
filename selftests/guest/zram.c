// SPDX-License-Identifier: GPL-2.0
/*
 * zsmalloc has movable pages as well: a compressed disk in memory is written again
 * and again while memory is compacted, and keeps what was written.
 */
#include "files.h"
#include "../kselftest_harness.h"

#define DISK "/dev/zram0"
#define SIZE "128M"
#define PAGE 4096UL
#define N_PAGES ((128UL << 20) / PAGE)
#define WORDS (PAGE / sizeof(unsigned long))
#define ROUNDS 6

static unsigned long xorshift(unsigned long x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

/* The first words do not compress, and how many there are is different each time. */
static void make_page(unsigned long *words, unsigned long page, unsigned long round)
{
	unsigned long value = xorshift(page * ROUNDS + round + 1);
	unsigned long n = WORDS / 16 + value % (WORDS / 2);

	for (unsigned long i = 0; i < n; i++)
		words[i] = value = xorshift(value);
	for (unsigned long i = n; i < WORDS; i++)
		words[i] = page;
}

FIXTURE(zram)
{
	unsigned long *buffer, *expected;
	long migrated, ballooned;
	int fd;
};

FIXTURE_SETUP(zram)
{
	ASSERT_EQ(0, write_file("/sys/block/zram0/disksize", SIZE));
	self->fd = open(DISK, O_RDWR | O_DIRECT);
	ASSERT_LE(0, self->fd);
	self->buffer = aligned_alloc(PAGE, PAGE);
	self->expected = aligned_alloc(PAGE, PAGE);
	ASSERT_TRUE(self->buffer && self->expected);
	self->migrated = vmstat("pgmigrate_success");
	self->ballooned = vmstat("balloon_migrate");
}

FIXTURE_TEARDOWN(zram)
{
	close(self->fd);
	/* All of its memory is free again. */
	EXPECT_EQ(0, write_file("/sys/block/zram0/reset", "1"));
}

TEST_F_TIMEOUT(zram, keeps_what_was_written, 400)
{
	for (unsigned long round = 0; round <= ROUNDS; round++) {
		for (unsigned long page = 0; page < N_PAGES; page++) {
			if (round) {
				ASSERT_EQ(PAGE, pread(self->fd, self->buffer, PAGE, page * PAGE));
				make_page(self->expected, page, round - 1);
				ASSERT_EQ(0, memcmp(self->buffer, self->expected, PAGE))
					TH_LOG("page %lu is not what round %lu wrote", page,
					       round - 1);
			}
			if (round == ROUNDS)
				continue;
			make_page(self->buffer, page, round);
			ASSERT_EQ(PAGE, pwrite(self->fd, self->buffer, PAGE, page * PAGE));
		}
		TH_LOG("round %lu: zsmalloc has %ld pages", round,
		       vmstat("nr_zspages"));
	}
	printf("# figure migrated_besides_balloon %ld\n",
	       vmstat("pgmigrate_success") - self->migrated -
	       (vmstat("balloon_migrate") - self->ballooned));
}

TEST_HARNESS_MAIN
