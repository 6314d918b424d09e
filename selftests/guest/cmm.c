// SPDX-License-Identifier: GPL-2.0
/*
 * pSeries' collaborative memory manager and a host of our own,
 * selftests/fakehost/cmmhost.c: the host's target goes up and down, and it refuses
 * frames, while the workloads beside this test make the balloon's pages migrate. In
 * the end, and in the middle when the balloon has the size that it shall have, the
 * host, the driver and the kernel have to agree.
 *
 * Environment:
 *
 *   cmmhost=NAME=VALUE,...	parameters of the host
 *   seconds=N			longest time of a test, 90 by default
 *   migrations=N, refusals=N	what has to happen in that time
 *   host=yes			another balloon moves at the same time
 */
#include <signal.h>

#include "modules.h"
#include "../kselftest_harness.h"

#define DEVICE "/sys/devices/system/cmm/cmm0/"
#define DISABLE "/sys/module/cmm/parameters/disable"
/*
 * The delays are in seconds. So many overflow when they become milliseconds, and make
 * 8 of them.
 */
#define PARAMETERS "delay=115964117,hotplug_delay=1"
/* As much as stays within what min_mem_mb leaves of 1 GB. */
#define FULL_KB (512 << 10)
/* Turns of a churn, and loads of the driver, that are enough. */
#define TURNS 40
#define LOADS 30
/* Seconds without any change after which a balloon will not change any more. */
#define UNCHANGED 15

static long host(const char *name)
{
	return read_parameter("cmmhost", name);
}

static int set_target(long kb)
{
	return write_parameter("cmmhost", "target_kb", kb);
}

static long loaned(void)
{
	return read_number(DEVICE "loaned_kb");
}

static long page_kb(void)
{
	return sysconf(_SC_PAGESIZE) >> 10;
}

static long host_kb(const char *frames)
{
	return host(frames) * (host("frame_size") >> 10);
}

static bool is_alone(void)
{
	return !getenv("host");
}

/* What the driver makes the kernel count. Without a driver this is what there is. */
static long total_kb(void)
{
	long kb = loaned();

	return read_value("/proc/meminfo", "MemTotal:") + (kb > 0 ? kb : 0);
}

static long complaints(void)
{
	return host("bad_loan") + host("bad_active") + host("bad_address") + host("bad_page") +
	       host("bad_content") + host("bad_migration");
}

/*
 * Waits until the balloon has its size, or the host complains. Returns the size that
 * it has.
 */
static long settle(long kb)
{
	double changed = now();
	long last = -1, size;

	while ((size = loaned()) != kb && now() - changed < UNCHANGED && !complaints()) {
		if (size != last)
			changed = now();
		last = size;
		usleep(20000);
	}
	return size;
}

static long refusals(void)
{
	return host("refused_loan") + host("refused_active") + host("refused_new") +
	       host("refused_old");
}

FIXTURE(cmm)
{
	long total, inflated;
	double start;
};

FIXTURE_SETUP(cmm)
{
	/* A test before this one may have left both to it. */
	if (host("target_kb") < 0)
		ASSERT_EQ(0, load("/lib/cmmhost.ko", getenv("cmmhost")));
	/* What is left to it may move. */
	do {
		self->total = total_kb();
		usleep(50000);
	} while (total_kb() != self->total);
	if (loaned() < 0)
		ASSERT_EQ(0, load("/lib/cmm.ko", PARAMETERS));
	/* What an OOM took is not loaned again until somebody allows it. */
	ASSERT_EQ(0, write_file(DEVICE "oom_freed_kb", "0"));
	self->inflated = vmstat("balloon_inflate");
	self->start = now();
	srandom(1);
}

FIXTURE_TEARDOWN(cmm)
{
	TH_LOG("%ld pages inflated in %.1f s, %ld migrated in all",
	       vmstat("balloon_inflate") - self->inflated, now() - self->start,
	       vmstat("balloon_migrate"));
}

/* The host has nothing to complain about; for this it looks into its frames. */
static void check_host(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, write_parameter("cmmhost", "check", 1));
	EXPECT_EQ(0, host("bad_loan"));
	EXPECT_EQ(0, host("bad_active"));
	EXPECT_EQ(0, host("bad_address"));
	EXPECT_EQ(0, host("bad_page"));
	EXPECT_EQ(0, host("bad_content"));
	EXPECT_EQ(0, host("bad_migration"));
}

/*
 * The balloon has its size, and all agree about it. While a page migrates, it may be
 * counted twice or not at all, and the driver may correct the size by a page.
 */
static void check_size(struct __test_metadata *_metadata, FIXTURE_DATA(cmm) *self,
		       long kb)
{
	long size, host, pages, total;
	double end;

	EXPECT_EQ(kb, settle(kb));
	end = now() + 5;
	do {
		usleep(1000);
		size = loaned();
		/* Another balloon counts in the same places. */
		host = is_alone() ? host_kb("loaned") : kb;
		pages = is_alone() ? vmstat("nr_balloon_pages") * page_kb() : kb;
		total = is_alone() ? total_kb() : self->total;
	} while ((size != kb || host != kb || pages != kb || total != self->total) &&
		 now() < end && !complaints());
	EXPECT_EQ(kb, size);
	EXPECT_EQ(kb, host);
	EXPECT_EQ(kb, pages);
	EXPECT_EQ(self->total, total)
		TH_LOG("MemTotal does not follow the balloon");
	check_host(_metadata);
}

/* The driver is gone, and the kernel has counted since it started what the host did. */
static void check_empty(struct __test_metadata *_metadata)
{
	check_host(_metadata);
	EXPECT_EQ(0, host("loaned"));
	EXPECT_EQ(0, host("to_undo"));
	EXPECT_EQ(host("inflated"), host("deflated") + host("kept_active"));
	EXPECT_EQ(host("migrated_new"), host("migrated_old") + host("kept_old"));
	EXPECT_EQ(host_kb("migrated_new"), host("migrated") * page_kb());
	if (!is_alone())
		return;
	EXPECT_EQ(0, vmstat("nr_balloon_pages"));
	EXPECT_EQ(host_kb("inflated"), vmstat("balloon_inflate") * page_kb());
	EXPECT_EQ(host_kb("inflated"), vmstat("balloon_deflate") * page_kb());
}

static void leave(struct __test_metadata *_metadata)
{
	static const char *const figures[] = {
		"inflated", "deflated", "migrated", "refused_loan", "refused_active",
		"refused_new", "refused_old", "kept_active", "kept_old", "undone_loan",
		"undone_active",
	};

	if (!access(DEVICE, F_OK))
		EXPECT_EQ(0, unload("cmm"));
	check_empty(_metadata);
	/* A kernel that cannot move the pages does not have the counter. */
	if (is_alone() && (host("migrated") || vmstat("balloon_migrate") >= 0))
		EXPECT_EQ(host("migrated"), vmstat("balloon_migrate"));
	printf("# figure refused %ld\n", refusals());
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
		printf("# figure %s %ld\n", figures[i], host(figures[i]));
	EXPECT_EQ(0, unload("cmmhost"));
}

/* Whether to go on: what has to happen has not yet, and nothing went wrong. */
static bool go_on(struct __test_metadata *_metadata, FIXTURE_DATA(cmm) *self)
{
	return __test_passed(_metadata) && now() - self->start < parameter_or("seconds", 90) &&
	       (host("migrated") < parameter_or("migrations", 0) ||
		refusals() < parameter_or("refusals", 0));
}

/* For what comes after it and needs the driver, */
TEST_F_TIMEOUT(cmm, empty, 120)
{
	ASSERT_EQ(0, set_target(0));
	check_size(_metadata, self, 0);
}

/* or pages in the balloon. */
TEST_F_TIMEOUT(cmm, fill, 120)
{
	ASSERT_EQ(0, set_target(FULL_KB));
	check_size(_metadata, self, FULL_KB);
}

/*
 * The target moves, and mostly does not wait until it is reached. The command line may let
 * it run for hours.
 */
TEST_F_TIMEOUT(cmm, churn, NO_LIMIT)
{
	long turn = 0, kb, seen = 0;

	while (turn < TURNS || go_on(_metadata, self)) {
		ASSERT_EQ(0, set_target(random() % (FULL_KB + 1)));
		usleep(random() % 300000);
		if (++turn % 10)
			continue;
		seen += loaned();
		/* Half of the times, it is emptied. */
		kb = turn % 20 ? random() % (FULL_KB + 1) / page_kb() * page_kb() : 0;
		ASSERT_EQ(0, set_target(kb));
		check_size(_metadata, self, kb);
		TH_LOG("%ld turns, %ld KB, %ld pages migrated", turn, kb, host("migrated"));
		if (!__test_passed(_metadata))
			break;
	}
	printf("# figure loaned_kb %ld\n", seen);
	ASSERT_EQ(0, set_target(0));
	check_size(_metadata, self, 0);
	leave(_metadata);
}

/* Whoever disables the balloon gets all of it back, even what is being migrated. */
TEST_F_TIMEOUT(cmm, disable, NO_LIMIT)
{
	pid_t churn = fork();

	ASSERT_LE(0, churn);
	while (!churn) {
		set_target(FULL_KB / 2 + random() % (FULL_KB / 2));
		usleep(15000);
	}
	for (int i = 0; i < 40; i++) {
		usleep(300000);
		EXPECT_EQ(0, write_file(DISABLE, "1"));
		EXPECT_EQ(0, loaned())
			TH_LOG("the balloon keeps pages after it was disabled, time %d", i);
		EXPECT_EQ(0, write_file(DISABLE, "0"));
	}
	kill(churn, SIGKILL);
	waitpid(churn, NULL, 0);
	ASSERT_EQ(0, set_target(0));
	check_size(_metadata, self, 0);
	leave(_metadata);
}

static void unload_again_and_again(struct __test_metadata *_metadata,
				   FIXTURE_DATA(cmm) *self)
{
	int loads = 0;

	while (loads < LOADS || go_on(_metadata, self)) {
		/* The first one was loaded with its host. */
		if (loads++)
			ASSERT_EQ(0, load("/lib/cmm.ko", PARAMETERS));
		ASSERT_EQ(0, set_target(random() % (FULL_KB + 1)));
		usleep(random() % 700000);
		ASSERT_EQ(0, unload("cmm"));
		check_empty(_metadata);
		TH_LOG("%d loads, %ld pages migrated", loads, host("migrated"));
		if (!__test_passed(_metadata)) {
			/* Migration comes upon pages that the driver forgot. */
			sleep(5);
			break;
		}
	}
	printf("# figure loads %d\n", loads);
}

/* The driver goes, whatever it is about to do, and comes back. */
TEST_F_TIMEOUT(cmm, unload, NO_LIMIT)
{
	unload_again_and_again(_metadata, self);
	leave(_metadata);
}

/* As before, while somebody disables and enables the balloon. */
TEST_F_TIMEOUT(cmm, unload_disable, NO_LIMIT)
{
	pid_t disable = fork();

	ASSERT_LE(0, disable);
	while (!disable) {
		write_file(DISABLE, "1");
		write_file(DISABLE, "0");
		usleep(random() % 20000);
	}
	unload_again_and_again(_metadata, self);
	kill(disable, SIGKILL);
	waitpid(disable, NULL, 0);
	leave(_metadata);
}

TEST_HARNESS_MAIN
