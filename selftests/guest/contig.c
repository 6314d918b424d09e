// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous memory is allocated where balloon pages are, which have to go elsewhere:
 * alloc_contig_range() as the contiguous memory allocator calls it.
 */
#include "files.h"
#include "../kselftest_harness.h"

#define CMA "/sys/kernel/debug/cma/reserved/"
#define ROUNDS 200
#define PAGES 2048

FIXTURE(cma)
{
	long used, migrated;
};

FIXTURE_SETUP(cma)
{
	self->used = read_number(CMA "used");
	ASSERT_LE(0, self->used);
	self->migrated = vmstat("balloon_migrate");
}

FIXTURE_TEARDOWN(cma)
{
}

TEST_F_TIMEOUT(cma, takes_the_place_of_balloon_pages, NO_LIMIT)
{
	int n = 0;

	for (int i = 0; i < ROUNDS; i++) {
		/* What is in the way may be busy: the driver is, while it inflates. */
		if (!write_number(CMA "alloc", PAGES)) {
			n++;
			EXPECT_EQ(self->used + PAGES, read_number(CMA "used"));
			ASSERT_EQ(0, write_number(CMA "free", PAGES));
		}
		/* Let balloon pages come to where there are none now. */
		usleep(100000);
	}
	EXPECT_EQ(self->used, read_number(CMA "used"));
	printf("# figure contiguous_allocations %d\n", n);
	printf("# figure migrated_meanwhile %ld\n", vmstat("balloon_migrate") - self->migrated);
}

TEST_HARNESS_MAIN
