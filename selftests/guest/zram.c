// SPDX-License-Identifier: GPL-2.0
/*
 * zsmalloc has movable pages as well: a compressed disk in memory is written again
 * and again while memory is compacted, and keeps what was written. Or it goes, with
 * zsmalloc, while memory goes away under it.
 */
#include <glob.h>
#include <sys/wait.h>

#include "blocks.h"
#include "data.h"
#include "modules.h"
#include "../kselftest_harness.h"

#define DISK "/dev/zram0"
#define N_PAGES ((128UL << 20) / PAGE)
#define ROUNDS 6
/* Of a disk that goes again and again. */
#define N_PAGES_SMALL ((16UL << 20) / PAGE)
#define ROUNDS_SMALL 3
/* Seconds after which a block stays where it is. */
#define LIMIT 8

/* In the order in which they need each other. */
static const char *const modules[] = { "lzo_compress", "lzo_decompress", "zsmalloc", "zram" };

FIXTURE(zram)
{
	unsigned long *buffer, *expected;
	long migrated, ballooned, refused;
	int fd;
};

static void begin_disk(struct __test_metadata *_metadata, FIXTURE_DATA(zram) *self)
{
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		snprintf(path, sizeof(path), "/lib/%s.ko", modules[i]);
		ASSERT_EQ(0, load(path, NULL))
			TH_LOG("%s is not loaded", path);
	}
	ASSERT_EQ(0, write_number("/sys/block/zram0/disksize", N_PAGES * PAGE));
	self->fd = open(DISK, O_RDWR | O_DIRECT);
	ASSERT_LE(0, self->fd);
}

static void write_disk(struct __test_metadata *_metadata, FIXTURE_DATA(zram) *self,
		       unsigned long page, unsigned long round)
{
	make_page(self->buffer, page * ROUNDS + round);
	ASSERT_EQ(PAGE, pwrite(self->fd, self->buffer, PAGE, page * PAGE));
}

/*
 * All of its memory is free again, if nobody has it open. A module may be in use for a
 * moment.
 */
static void end_disk(struct __test_metadata *_metadata, FIXTURE_DATA(zram) *self)
{
	EXPECT_EQ(0, write_file("/sys/block/zram0/reset", "1"));
	for (size_t i = ARRAY_SIZE(modules); i--; ) {
		EXPECT_EQ(0, unload_when_unused(modules[i], &self->refused))
			TH_LOG("%s does not go", modules[i]);
	}
}

FIXTURE_SETUP(zram)
{
	self->buffer = aligned_alloc(PAGE, PAGE);
	self->expected = aligned_alloc(PAGE, PAGE);
	ASSERT_TRUE(self->buffer && self->expected);
	self->migrated = vmstat("pgmigrate_success");
	self->ballooned = vmstat("balloon_migrate");
}

FIXTURE_TEARDOWN(zram)
{
}

TEST_F_TIMEOUT(zram, keeps_what_was_written, NO_LIMIT)
{
	begin_disk(_metadata, self);
	for (unsigned long round = 0; round <= ROUNDS; round++) {
		for (unsigned long page = 0; page < N_PAGES; page++) {
			if (round) {
				ASSERT_EQ(PAGE, pread(self->fd, self->buffer, PAGE, page * PAGE));
				make_page(self->expected, page * ROUNDS + round - 1);
				ASSERT_EQ(0, memcmp(self->buffer, self->expected, PAGE))
					TH_LOG("page %lu is not what round %lu wrote", page,
					       round - 1);
			}
			if (round < ROUNDS)
				write_disk(_metadata, self, page, round);
		}
		TH_LOG("round %lu: zsmalloc has %ld pages", round,
		       vmstat("nr_zspages"));
	}
	close(self->fd);
	end_disk(_metadata, self);
	printf("# figure migrated_besides_balloon %ld\n",
	       vmstat("pgmigrate_success") - self->migrated -
	       (vmstat("balloon_migrate") - self->ballooned));
}

/* The pages that are about to migrate lose their owner meanwhile. */
TEST_F_TIMEOUT(zram, goes_while_memory_does, NO_LIMIT)
{
	glob_t blocks;
	int n = 0;

	ASSERT_EQ(0, glob(BLOCKS, 0, NULL, &blocks));
	for (unsigned long round = 0; round < ROUNDS_SMALL; round++) {
		for (size_t i = 0; i < blocks.gl_pathc; i++) {
			const char *block = blocks.gl_pathv[i];
			pid_t pid;

			if (!is_movable(block))
				continue;
			begin_disk(_metadata, self);
			for (unsigned long page = 0; page < N_PAGES_SMALL; page++)
				write_disk(_metadata, self, page, round);
			close(self->fd);
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid) {
				if (!offline(block, LIMIT))
					set_state(block, "online_movable");
				_exit(0);
			}
			usleep(20000 + random() % 200000);
			end_disk(_metadata, self);
			ASSERT_EQ(pid, waitpid(pid, NULL, 0));
			TH_LOG("%d times, %ld refusals to unload a module", ++n, self->refused);
		}
	}
	globfree(&blocks);
	printf("# figure unloads %d\n# figure unload_refused %ld\n", n, self->refused);
}

TEST_HARNESS_MAIN
