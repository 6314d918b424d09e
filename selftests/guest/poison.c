// SPDX-License-Identifier: GPL-2.0
/*
 * Memory goes bad where a balloon has a page, and its block is to go away. The guest
 * cannot have the memory back after that.
 */
#include <glob.h>

#include "blocks.h"
#include "../kselftest_harness.h"

#define MEMORY "/sys/devices/system/memory/"
#define UNPOISON "/sys/kernel/debug/hwpoison/unpoison-pfn"
/* Flags in /proc/kpageflags. */
#define HWPOISON (1ul << 19)
#define OFFLINE (1ul << 23)
/* Seconds in which a balloon is filled, and in which a block goes away. */
#define LIMIT 40

FIXTURE(memory)
{
	char block[64];
	unsigned long pfn;
	int kpageflags;
};

static unsigned long flags_of(FIXTURE_DATA(memory) *self, unsigned long pfn)
{
	unsigned long flags;

	if (pread(self->kpageflags, &flags, sizeof(flags), pfn * sizeof(flags)) != sizeof(flags))
		return 0;
	return flags & (HWPOISON | OFFLINE);
}

/* Returns a page of the balloon in a block without bad memory, or 0. */
static unsigned long balloon_page(FIXTURE_DATA(memory) *self, unsigned long first,
				  unsigned long n)
{
	unsigned long found = 0, flags;

	for (unsigned long pfn = first; pfn < first + n; pfn++) {
		flags = flags_of(self, pfn);
		if (flags & HWPOISON)
			return 0;
		if (flags & OFFLINE)
			found = pfn;
	}
	return found;
}

static int poison(const char *how, unsigned long pfn)
{
	char path[64];

	snprintf(path, sizeof(path), MEMORY "%s", how);
	return write_number(path, pfn * sysconf(_SC_PAGESIZE));
}

/* Finds a page of the balloon in a block whose pages can be moved. */
FIXTURE_SETUP(memory)
{
	unsigned long n_pages;
	glob_t blocks;
	FILE *file;

	self->kpageflags = open("/proc/kpageflags", O_RDONLY);
	ASSERT_LE(0, self->kpageflags);
	file = fopen(MEMORY "block_size_bytes", "r");
	ASSERT_NE(NULL, file);
	ASSERT_EQ(1, fscanf(file, "%lx", &n_pages));
	fclose(file);
	n_pages /= sysconf(_SC_PAGESIZE);
	ASSERT_TRUE(balloon_fills(LIMIT));
	ASSERT_EQ(0, glob(BLOCKS, 0, NULL, &blocks));
	for (size_t i = 0; i < blocks.gl_pathc && !self->pfn; i++) {
		const char *block = blocks.gl_pathv[i];
		unsigned long number = strtoul(strrchr(block, '/') + strlen("/memory"), NULL, 10);

		if (!is_movable(block))
			continue;
		snprintf(self->block, sizeof(self->block), "%s", block);
		self->pfn = balloon_page(self, number * n_pages, n_pages);
	}
	globfree(&blocks);
	ASSERT_NE(0, self->pfn);
}

FIXTURE_TEARDOWN(memory)
{
	close(self->kpageflags);
}

/* The page is replaced, and is an ordinary one once it is good again. */
TEST_F_TIMEOUT(memory, is_good_again, 90)
{
	EXPECT_EQ(0, poison("soft_offline_page", self->pfn));
	EXPECT_EQ(HWPOISON, flags_of(self, self->pfn));
	EXPECT_EQ(0, write_number(UNPOISON, self->pfn));
	EXPECT_EQ(0, flags_of(self, self->pfn));
}

/* The page stays in the balloon, so its block cannot go, and nothing is logged. */
TEST_F_TIMEOUT(memory, is_bad_in_the_balloon, 90)
{
	poison("hard_offline_page", self->pfn);
	ASSERT_EQ(HWPOISON | OFFLINE, flags_of(self, self->pfn));
	EXPECT_EQ(-EBUSY, offline(self->block, LIMIT));
}

/* The page is replaced, so its block can go. This has to be the last test. */
TEST_F_TIMEOUT(memory, was_in_the_balloon, 90)
{
	ASSERT_EQ(0, poison("soft_offline_page", self->pfn));
	EXPECT_EQ(0, offline(self->block, LIMIT));
}

TEST_HARNESS_MAIN
