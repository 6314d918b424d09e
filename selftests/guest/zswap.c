// SPDX-License-Identifier: GPL-2.0
/*
 * A balloon makes memory short, so pages are swapped out to zswap, which stores them in
 * zsmalloc's movable pages. Check that they come back unchanged.
 */
#include <sys/mman.h>
#include <sys/swap.h>

#include "data.h"
#include "files.h"
#include "../kselftest_harness.h"

#define DISK "/dev/ram0"
#define DISK_PAGES ((512UL << 20) / PAGE)
#define N_PAGES ((420UL << 20) / PAGE)
#define ROUNDS 2

/* What mkswap writes at the beginning of a disk. */
static const struct {
	char boot[1024];
	unsigned int version, last_page;
	char rest[PAGE - 1032 - 10], magic[10];
} header = { .version = 1, .last_page = DISK_PAGES - 1, .magic = "SWAPSPACE2" };

FIXTURE(zswap)
{
	unsigned long *memory, *expected;
	long stored, ballooned, migrated;
};

FIXTURE_SETUP(zswap)
{
	int fd = open(DISK, O_WRONLY);

	ASSERT_LE(0, fd);
	ASSERT_EQ(sizeof(header), write(fd, &header, sizeof(header)));
	close(fd);
	ASSERT_EQ(0, swapon(DISK, 0));
	self->memory = mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->memory);
	self->expected = aligned_alloc(PAGE, PAGE);
	ASSERT_NE(NULL, self->expected);
	self->stored = vmstat("zswpout");
	self->migrated = vmstat("pgmigrate_success");
	self->ballooned = vmstat("balloon_migrate");
}

FIXTURE_TEARDOWN(zswap)
{
	munmap(self->memory, N_PAGES * PAGE);
	free(self->expected);
	EXPECT_EQ(0, swapoff(DISK));
}

TEST_F_TIMEOUT(zswap, keeps_what_was_written, NO_LIMIT)
{
	for (unsigned long round = 0; round <= ROUNDS; round++) {
		for (unsigned long page = 0; page < N_PAGES; page++) {
			unsigned long *words = self->memory + page * WORDS;

			if (round) {
				make_page(self->expected, page * ROUNDS + round - 1);
				ASSERT_EQ(0, memcmp(words, self->expected, PAGE))
					TH_LOG("page %lu is not what round %lu wrote", page,
					       round - 1);
			}
			make_page(words, page * ROUNDS + round);
		}
		TH_LOG("round %lu: zsmalloc has %ld pages, zswap has taken %ld", round,
		       vmstat("nr_zspages"), vmstat("zswpout") - self->stored);
	}
	printf("# figure stored %ld\n# figure migrated_besides_balloon %ld\n",
	       vmstat("zswpout") - self->stored,
	       vmstat("pgmigrate_success") - self->migrated -
	       (vmstat("balloon_migrate") - self->ballooned));
}

TEST_HARNESS_MAIN
