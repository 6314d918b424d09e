// SPDX-License-Identifier: GPL-2.0
/*
 * Memory balloons under page migration, by way of CONFIG_TEST_BALLOON: a balloon
 * is inflated and deflated while compaction, memory offlining and soft offlining
 * move its pages. The kernel's counters are checked, so no other balloon may be
 * at work.
 *
 * Environment:
 *
 *   BALLOON_SECONDS	how long each churn test takes, 7 by default
 *   BALLOON_SEED	repeats the random choices of a run, though not its timing
 *   TEST_BALLOON_KO	the module, if modprobe does not find it
 */
#include "../kselftest_harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A private interface, so not exported in include/uapi/. */
#include <lib/test_balloon_uapi.h>

#define DEVICE		"/dev/test_balloon"
#define MEMORY		"/sys/devices/system/memory"
#define NODES		"/sys/devices/system/node"
/* Of /proc/kpageflags. */
#define KPF_NOPAGE	20
#define KPF_RESERVED	32
#define MAX_ZONES	64
#define MAX_NODES	64
#ifndef MPOL_BIND
#define MPOL_BIND	2
#endif
/* Give up after so many seconds. */
#define PATIENCE	10

static unsigned int seed;

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 0) : otherwise;
}

static unsigned long churn_seconds(void)
{
	return from_environment("BALLOON_SECONDS", 7);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Files in /proc and /sys. */

static bool write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, value, strlen(value));
	close(fd);
	return n == (ssize_t)strlen(value);
}

static bool read_word(const char *path, char word[64])
{
	FILE *file = fopen(path, "r");
	bool read;

	if (!file)
		return false;
	read = fscanf(file, "%63s", word) == 1;
	fclose(file);
	return read;
}

/* Looks for a key in a file of lines "KEY VALUE" or "KEY: VALUE kB". */
static bool find_value(const char *path, const char *key, uint64_t *found)
{
	FILE *file = fopen(path, "r");
	char line[256], name[64];
	uint64_t value;
	bool has = false;

	while (file && !has && fgets(line, sizeof(line), file)) {
		has = sscanf(line, "%63[^: ]%*[: ]%" SCNu64, name, &value) == 2 &&
		      !strcmp(name, key);
		if (has)
			*found = value;
	}
	if (file)
		fclose(file);
	return has;
}

static uint64_t read_value(const char *path, const char *key)
{
	uint64_t value = 0;

	find_value(path, key, &value);
	return value;
}

static uint64_t available_pages(void)
{
	return read_value("/proc/meminfo", "MemAvailable") * 1024 / getpagesize();
}

/* As many pages as a balloon can have without an effect on anybody else. */
static uint64_t some_pages(void)
{
	uint64_t most = (64 << 20) / getpagesize(), some = available_pages() / 8;

	return some < most ? some : most;
}

/* What the kernel counts, to be compared with what the test knows. */
struct counters {
	uint64_t inflate, deflate, migrate, balloon, managed;
	uint64_t zone_managed[MAX_ZONES];
	uint64_t node_balloon[MAX_NODES];
};

static uint64_t node_balloon_pages(int node)
{
	char path[64];

	snprintf(path, sizeof(path), NODES "/node%d/vmstat", node);
	return read_value(path, "nr_balloon_pages");
}

static struct counters read_counters(void)
{
	struct counters c = {};
	char line[256];
	FILE *file;
	int zone = 0;

	/* Until they are folded, per-CPU differences blur the counters. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	c.inflate = read_value("/proc/vmstat", "balloon_inflate");
	c.deflate = read_value("/proc/vmstat", "balloon_deflate");
	c.migrate = read_value("/proc/vmstat", "balloon_migrate");
	c.balloon = read_value("/proc/vmstat", "nr_balloon_pages");
	for (int node = 0; node < MAX_NODES; node++)
		c.node_balloon[node] = node_balloon_pages(node);

	file = fopen("/proc/zoneinfo", "r");
	while (file && zone < MAX_ZONES && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " managed %" SCNu64, &c.zone_managed[zone]) == 1)
			c.managed += c.zone_managed[zone++];
	}
	if (file)
		fclose(file);
	return c;
}

/* The balloon. */

static bool setup(int fd, uint32_t flags)
{
	struct test_balloon_setup arg = { .flags = flags };

	return !ioctl(fd, TEST_BALLOON_SETUP, &arg);
}

static uint64_t inflate(int fd, uint64_t pages, uint32_t flags)
{
	struct test_balloon_move arg = { .pages = pages, .flags = flags };

	return ioctl(fd, TEST_BALLOON_INFLATE, &arg) ? 0 : arg.pages;
}

/* Returns -1 on failure, as none deflated is none. */
static int64_t deflate(int fd, uint64_t pages, uint32_t flags,
		       uint32_t linger_us)
{
	struct test_balloon_move arg = {
		.pages = pages, .flags = flags, .linger_us = linger_us,
	};

	return ioctl(fd, TEST_BALLOON_DEFLATE, &arg) ? -1 : (int64_t)arg.pages;
}

static bool inject(int fd, int result, uint32_t every, uint32_t delay_us)
{
	struct test_balloon_inject arg = {
		.result = result, .every = every, .delay_us = delay_us,
	};

	return !ioctl(fd, TEST_BALLOON_INJECT, &arg);
}

static struct test_balloon_stats stats(int fd)
{
	struct test_balloon_stats arg;

	/* Nothing that a test hopes for. */
	if (ioctl(fd, TEST_BALLOON_STATS, &arg))
		memset(&arg, 0xff, sizeof(arg));
	return arg;
}

/* Deflates all there is; pages that are isolated come back soon. */
static bool empty(int fd)
{
	double end = now() + PATIENCE;

	while (stats(fd).owned) {
		if (deflate(fd, 512, TEST_BALLOON_LIST | TEST_BALLOON_SETTLE,
			    0) > 0)
			end = now() + PATIENCE;
		else if (now() > end)
			return false;
	}
	return true;
}

/*
 * Inflates so that every other page is free afterwards: the test itself uses
 * those meanwhile. Returns how many pages were inflated.
 */
static uint64_t inflate_with_holes(int fd, uint64_t pages)
{
	size_t page = getpagesize(), size = pages * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t n = 0;

	if (memory == MAP_FAILED)
		return 0;
	madvise(memory, size, MADV_NOHUGEPAGE);
	while (n < pages && inflate(fd, 1, 0))
		memory[n++ * page] = 1;
	munmap(memory, size);
	return n;
}

static bool compact(void)
{
	return write_file("/proc/sys/vm/compact_memory", "1");
}

static uint64_t answered(int fd)
{
	struct test_balloon_stats s = stats(fd);

	return s.migrated + s.refused + s.failed;
}

/*
 * Compacts until the host has been asked so many times. Where the allocator takes
 * pages from is its own business, and it may be where compaction would move them
 * to: so take more and more.
 */
static bool compact_until_answered(int fd, uint64_t wanted)
{
	uint64_t pages = some_pages() / 8 + 1, before = answered(fd);

	do {
		inflate_with_holes(fd, pages);
		compact();
		if (answered(fd) >= before + wanted)
			return true;
		pages *= 2;
	} while (pages < available_pages() / 4);
	return false;
}

/* So many pages in a balloon that compaction moves some of them. 0 is failure. */
static uint64_t enough_pages(int fd)
{
	uint64_t owned = 0;

	if (compact_until_answered(fd, 1))
		owned = stats(fd).owned;
	return empty(fd) ? owned : 0;
}

/* Tasks that go on until they are told to stop. */

#define MAX_MEMBERS	16

struct crowd {
	atomic_bool stop;
	int fd[2];
	int n_fds;
	uint64_t most_pages;
	bool list_only;
	struct member {
		struct crowd *crowd;
		unsigned int chance;
		pthread_t thread;
	} members[MAX_MEMBERS];
	int n_members;
	atomic_ulong failed_calls;
};

static bool join_crowd(struct crowd *crowd, void *(*task)(void *), int n)
{
	while (n--) {
		struct member *member = &crowd->members[crowd->n_members];

		if (crowd->n_members == MAX_MEMBERS)
			return false;
		member->crowd = crowd;
		member->chance = seed + crowd->n_members;
		if (pthread_create(&member->thread, NULL, task, member))
			return false;
		crowd->n_members++;
	}
	return true;
}

static void dismiss_crowd(struct crowd *crowd)
{
	crowd->stop = true;
	while (crowd->n_members)
		pthread_join(crowd->members[--crowd->n_members].thread, NULL);
}

/* One of the crowd's balloons. */
static int some_fd(struct member *member)
{
	return member->crowd->fd[rand_r(&member->chance) % member->crowd->n_fds];
}

/* One page, or many. */
static uint64_t some_of(struct member *member)
{
	uint64_t n = 1 + rand_r(&member->chance) %
		     (1 << rand_r(&member->chance) % 13);

	return n < member->crowd->most_pages ? n : 1;
}

static void *compactor(void *arg)
{
	struct crowd *crowd = ((struct member *)arg)->crowd;

	while (!crowd->stop)
		if (!compact())
			crowd->failed_calls++;
	return NULL;
}

/* Compaction is the slow one: whoever works for it stands back. */
static void stand_back(void)
{
	setpriority(PRIO_PROCESS, 0, 10);
}

static void *inflater(void *arg)
{
	struct member *self = arg;
	struct crowd *crowd = self->crowd;

	stand_back();
	while (!crowd->stop) {
		int fd = some_fd(self);

		if (stats(fd).owned > crowd->most_pages)
			usleep(100);
		else
			inflate(fd, some_of(self), rand_r(&self->chance) % 2 ?
				TEST_BALLOON_LIST : 0);
	}
	return NULL;
}

static void *deflater(void *arg)
{
	struct member *self = arg;
	struct crowd *crowd = self->crowd;

	stand_back();
	while (!crowd->stop) {
		uint32_t flags = 0, linger_us = 0;

		if (crowd->list_only || rand_r(&self->chance) % 4)
			flags |= TEST_BALLOON_LIST;
		if (rand_r(&self->chance) % 4 == 0)
			flags |= TEST_BALLOON_AGAIN;
		if (rand_r(&self->chance) % 4 == 0)
			linger_us = rand_r(&self->chance) % 2000;
		if (deflate(some_fd(self), some_of(self), flags, linger_us) < 0)
			crowd->failed_calls++;
	}
	return NULL;
}

/*
 * Deflates many pages at once when compaction is about to isolate them: so
 * isolation has to wait for the lock, and then to find out that it came too late.
 * Until they are released, keeps an eye on who still tries to isolate them.
 */
static void *watcher(void *arg)
{
	struct member *self = arg;
	struct crowd *crowd = self->crowd;
	uint64_t pages = crowd->most_pages / 4;

	while (!crowd->stop) {
		int fd = some_fd(self);
		double end;

		inflate(fd, pages, 0);
		end = now() + 0.02;
		while (!stats(fd).isolated && now() < end)
			;
		if (deflate(fd, pages, TEST_BALLOON_LIST, 2000) < 0)
			crowd->failed_calls++;
	}
	return NULL;
}

/* Memory that comes and goes in pieces, so that compaction has something to do. */
static void *memory_user(void *arg)
{
	struct member *self = arg;
	size_t page = getpagesize(), size = (some_pages() + 1) * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, size, MADV_NOHUGEPAGE);
	stand_back();
	while (!self->crowd->stop) {
		size_t offset = rand_r(&self->chance) % (size / page) * page;

		if (rand_r(&self->chance) % 2)
			memory[offset] = 1;
		else
			madvise(memory + offset, page, MADV_DONTNEED);
	}
	munmap(memory, size);
	return NULL;
}

static bool wait_until_migrating(int fd)
{
	double end = now() + PATIENCE;

	while (!stats(fd).migrating)
		if (now() > end)
			return false;
	return true;
}

/* The module. */

/* Whoever loaded it may have had his own way. */
static bool can_load_module(void)
{
	return getenv("TEST_BALLOON_KO") ||
	       !system("modprobe -q -n test_balloon");
}

static bool load_module(void)
{
	const char *ko = getenv("TEST_BALLOON_KO");
	int fd;

	if (!access(DEVICE, F_OK))
		return true;
	if (!ko) {
		if (system("modprobe -q test_balloon"))
			return false;
	} else {
		fd = open(ko, O_RDONLY);
		if (fd < 0)
			return false;
		if (syscall(__NR_finit_module, fd, "", 0))
			ksft_print_msg("%s: %s\n", ko, strerror(errno));
		close(fd);
	}
	for (int i = 0; access(DEVICE, F_OK) && i < 100; i++)
		usleep(10000);
	return !access(DEVICE, F_OK);
}

/* What a test starts from. */
struct start {
	int fd;
	uint64_t violations;
	struct counters before;
};

static void begin(struct __test_metadata *_metadata, struct start *start,
		  uint32_t flags)
{
	start->fd = open(DEVICE, O_RDWR);
	ASSERT_GE(start->fd, 0) {
		TH_LOG("%s: %s", DEVICE, strerror(errno));
	}
	ASSERT_TRUE(setup(start->fd, flags));
	start->violations = stats(start->fd).violations;
	start->before = read_counters();
}

/* Whatever a test did, it leaves no page behind and no rule broken. */
static void finish(struct __test_metadata *_metadata, struct start *start)
{
	struct test_balloon_stats s;
	struct counters after;

	close(start->fd);
	start->fd = open(DEVICE, O_RDWR);
	ASSERT_GE(start->fd, 0);
	s = stats(start->fd);
	close(start->fd);
	after = read_counters();

	EXPECT_EQ(start->violations, s.violations) {
		TH_LOG("the first violation: %s", s.violation);
	}
	EXPECT_EQ(0, s.all_owned);
	EXPECT_EQ(start->before.balloon, after.balloon);
	for (int i = 0; i < MAX_NODES; i++) {
		EXPECT_EQ(start->before.node_balloon[i], after.node_balloon[i]) {
			TH_LOG("node %d", i);
		}
	}
	for (int i = 0; i < MAX_ZONES; i++) {
		EXPECT_EQ(start->before.zone_managed[i], after.zone_managed[i]) {
			TH_LOG("zone %d of /proc/zoneinfo", i);
		}
	}
}

/* What the kernel counted since the test began, and what it has to be. */
static void expect_counters(struct __test_metadata *_metadata,
			    const struct start *start, bool adjusted)
{
	const struct counters *before = &start->before;
	struct test_balloon_stats s, s_again = stats(start->fd);
	struct counters c;

	/* Others may compact memory as well. */
	for (int i = 0; i < 100; i++) {
		s = s_again;
		c = read_counters();
		s_again = stats(start->fd);
		if (!memcmp(&s, &s_again, sizeof(s)))
			break;
	}

	EXPECT_EQ(s.inflated, c.inflate - before->inflate);
	EXPECT_EQ(s.deflated + s.refused, c.deflate - before->deflate);
	EXPECT_EQ(s.migrated, c.migrate - before->migrate);
	EXPECT_EQ(s.owned, c.balloon - before->balloon);
	EXPECT_EQ(adjusted ? s.owned : 0, before->managed - c.managed);
	EXPECT_EQ(s.inflated - s.deflated - s.refused, s.owned);
}

/* For a reader who compares kernels. */
static void report(const char *test, const char *name, double value)
{
	fprintf(stderr, "# figure %s.%s %.0f\n", test, name, value);
}

#define UNMOVABLE "CONFIG_BALLOON_COMPACTION is not set"

FIXTURE(interface)
{
	struct start start;
};

FIXTURE_SETUP(interface)
{
	begin(_metadata, &self->start, 0);
}

FIXTURE_TEARDOWN(interface)
{
	finish(_metadata, &self->start);
}

static void expect_refused(struct __test_metadata *_metadata, int fd, int error,
			   unsigned int command, const void *arg)
{
	EXPECT_EQ(-1, ioctl(fd, command, arg));
	EXPECT_EQ(error, errno) {
		TH_LOG("command %#x", command);
	}
}

TEST_F(interface, arguments)
{
	static const unsigned int commands[] = {
		TEST_BALLOON_SETUP, TEST_BALLOON_INFLATE, TEST_BALLOON_DEFLATE,
		TEST_BALLOON_INJECT, TEST_BALLOON_STATS, TEST_BALLOON_PFNS,
	};
	static const struct test_balloon_move bad_moves[] = {
		{ .pages = 0 },
		{ .pages = TEST_BALLOON_MAX_PAGES + 1 },
		{ .pages = UINT64_MAX },
		{ .pages = 1, .flags = 0x80000000 },
		{ .pages = 1, .linger_us = TEST_BALLOON_MAX_DELAY_US + 1 },
	};
	static const struct test_balloon_inject bad_answers[] = {
		{ .result = 1 },
		{ .result = -EPERM },
		{ .delay_us = TEST_BALLOON_MAX_DELAY_US + 1 },
	};
	static const struct test_balloon_setup bad_setups[] = {
		{ .flags = 0x80000000 },
		{ .reserved = 1 },
	};
	struct test_balloon_pfns pfns = { .count = 1 }, bad_pfns[] = {
		{ .count = 0 },
		{ .count = UINT64_MAX },
	};
	struct test_balloon_move *read_only, move = {};
	struct test_balloon_stats before, after;
	int fd = self->start.fd;

	ASSERT_EQ(3, inflate(fd, 3, 0));
	before = stats(fd);

	expect_refused(_metadata, fd, ENOTTY, _IO('Y', 0x7f), NULL);
	expect_refused(_metadata, fd, ENOTTY, _IOWR('Y', 0x01, char[8]), &move);
	expect_refused(_metadata, fd, ENOTTY, _IOWR('Y', 0x01, char[4096]),
		       &move);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		expect_refused(_metadata, fd, EFAULT, commands[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad_moves); i++) {
		move = bad_moves[i];
		expect_refused(_metadata, fd, EINVAL, TEST_BALLOON_INFLATE,
			       &move);
		expect_refused(_metadata, fd, EINVAL, TEST_BALLOON_DEFLATE,
			       &move);
	}
	move = (struct test_balloon_move){ .pages = 1, .linger_us = 1 };
	expect_refused(_metadata, fd, EINVAL, TEST_BALLOON_INFLATE, &move);
	for (size_t i = 0; i < ARRAY_SIZE(bad_answers); i++)
		expect_refused(_metadata, fd, EINVAL, TEST_BALLOON_INJECT,
			       &bad_answers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad_setups); i++)
		expect_refused(_metadata, fd, EINVAL, TEST_BALLOON_SETUP,
			       &bad_setups[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad_pfns); i++)
		expect_refused(_metadata, fd, EINVAL, TEST_BALLOON_PFNS,
			       &bad_pfns[i]);
	expect_refused(_metadata, fd, EFAULT, TEST_BALLOON_PFNS, &pfns);

	/* Nobody could be told how many pages were moved. */
	read_only = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, read_only);
	read_only->pages = 1;
	ASSERT_EQ(0, mprotect(read_only, getpagesize(), PROT_READ));
	expect_refused(_metadata, fd, EFAULT, TEST_BALLOON_INFLATE, read_only);
	expect_refused(_metadata, fd, EFAULT, TEST_BALLOON_DEFLATE, read_only);

	/* Too late, as there are pages already. */
	EXPECT_FALSE(setup(fd, TEST_BALLOON_ADJUST_MANAGED));
	EXPECT_EQ(EBUSY, errno);

	after = stats(fd);
	EXPECT_EQ(before.owned, after.owned);
	EXPECT_EQ(before.inflated, after.inflated);
	EXPECT_EQ(before.deflated, after.deflated);

	/* A balloon that may shrink by itself cannot promise a page. */
	ASSERT_TRUE(inject(fd, -ENOENT, 1, 0));
	EXPECT_EQ(-1, deflate(fd, 1, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(3, deflate(fd, 4, TEST_BALLOON_LIST, 0));
	EXPECT_EQ(0, deflate(fd, 1, TEST_BALLOON_LIST, 0));

	close(fd);
	expect_refused(_metadata, fd, EBADF, TEST_BALLOON_STATS, &after);
}

FIXTURE(moves)
{
	struct start start;
	struct crowd crowd;
};

FIXTURE_VARIANT(moves)
{
	const char *name;
	uint32_t flags;
	bool adjusted;
};

FIXTURE_VARIANT_ADD(moves, single)
{
	.name = "single",
};

FIXTURE_VARIANT_ADD(moves, list)
{
	.name = "list",
	.flags = TEST_BALLOON_LIST,
};

FIXTURE_VARIANT_ADD(moves, single_adjusted)
{
	.name = "single_adjusted",
	.adjusted = true,
};

FIXTURE_VARIANT_ADD(moves, list_adjusted)
{
	.name = "list_adjusted",
	.flags = TEST_BALLOON_LIST,
	.adjusted = true,
};

FIXTURE_SETUP(moves)
{
	begin(_metadata, &self->start,
	      variant->adjusted ? TEST_BALLOON_ADJUST_MANAGED : 0);
}

FIXTURE_TEARDOWN(moves)
{
	dismiss_crowd(&self->crowd);
	finish(_metadata, &self->start);
}

TEST_F(moves, inflate_deflate)
{
	int64_t pages = some_pages() / 4;
	double inflation, deflation;
	int fd = self->start.fd;

	inflation = now();
	ASSERT_EQ(pages, inflate(fd, pages, variant->flags));
	inflation = now() - inflation;
	EXPECT_EQ(pages, stats(fd).owned);
	expect_counters(_metadata, &self->start, variant->adjusted);

	deflation = now();
	EXPECT_EQ(pages, deflate(fd, pages, variant->flags, 0));
	deflation = now() - deflation;
	EXPECT_EQ(0, stats(fd).owned);
	EXPECT_EQ(0, deflate(fd, 1, variant->flags, 0));
	expect_counters(_metadata, &self->start, variant->adjusted);
	report(variant->name, "inflate_ns_per_page", inflation / pages * 1e9);
	report(variant->name, "deflate_ns_per_page", deflation / pages * 1e9);
}

/* Pages that the host does not hand out come back right after deflation. */
TEST_F(moves, deflate_again)
{
	int fd = self->start.fd;

	ASSERT_EQ(100, inflate(fd, 100, variant->flags));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(40, deflate(fd, 40, variant->flags |
				      TEST_BALLOON_AGAIN, 0));
	EXPECT_EQ(100, stats(fd).owned);
	expect_counters(_metadata, &self->start, variant->adjusted);
	EXPECT_EQ(100, deflate(fd, 101, variant->flags | TEST_BALLOON_SETTLE,
			       0));
	expect_counters(_metadata, &self->start, variant->adjusted);
}

TEST_F_TIMEOUT(moves, compaction, 180)
{
	uint64_t wanted = some_pages() / 16;
	int fd = self->start.fd;

	if (!stats(fd).movable)
		SKIP(return, UNMOVABLE);
	EXPECT_TRUE(compact_until_answered(fd, wanted)) {
		TH_LOG("compaction moved %" PRIu64 " pages of %" PRIu64,
		       (uint64_t)stats(fd).migrated, (uint64_t)stats(fd).owned);
	}
	EXPECT_EQ(stats(fd).migrated, answered(fd));
	expect_counters(_metadata, &self->start, variant->adjusted);
	EXPECT_TRUE(empty(fd));
	expect_counters(_metadata, &self->start, variant->adjusted);
}

/*
 * Pages that are isolated are not handed out, the rest is. When it is seen what
 * is left, some of these pages may have migrated.
 */
TEST_F_TIMEOUT(moves, deflate_while_isolated, 180)
{
	struct test_balloon_stats before, after;
	int fd = self->start.fd;
	uint64_t pages;
	int met = 0;

	if (!stats(fd).movable)
		SKIP(return, UNMOVABLE);
	pages = enough_pages(fd);
	ASSERT_NE(0, pages);
	ASSERT_TRUE(inject(fd, 0, 0, 50000));
	ASSERT_TRUE(join_crowd(&self->crowd, compactor, 1));
	for (int i = 0; i < 10 && !met; i++) {
		inflate_with_holes(fd, pages);
		if (!wait_until_migrating(fd))
			break;
		before = stats(fd);
		EXPECT_NE(-1, deflate(fd, before.owned, variant->flags, 0));
		after = stats(fd);
		EXPECT_LE(after.owned, after.isolated + after.migrated -
			  before.migrated);
		met += after.owned && after.met_isolated;
	}
	EXPECT_NE(0, met) {
		TH_LOG("no page was isolated, so this proves nothing");
	}
	ASSERT_TRUE(inject(fd, 0, 0, 0));
	dismiss_crowd(&self->crowd);
	EXPECT_TRUE(empty(fd));
	expect_counters(_metadata, &self->start, variant->adjusted);
}

FIXTURE(answers)
{
	struct start start;
};

FIXTURE_VARIANT(answers)
{
	int result;
	bool adjusted;
};

FIXTURE_VARIANT_ADD(answers, refusal)
{
	.result = -ENOENT,
};

FIXTURE_VARIANT_ADD(answers, refusal_adjusted)
{
	.result = -ENOENT,
	.adjusted = true,
};

FIXTURE_VARIANT_ADD(answers, temporary_failure)
{
	.result = -EAGAIN,
};

FIXTURE_VARIANT_ADD(answers, failure)
{
	.result = -EBUSY,
};

FIXTURE_SETUP(answers)
{
	begin(_metadata, &self->start,
	      variant->adjusted ? TEST_BALLOON_ADJUST_MANAGED : 0);
}

FIXTURE_TEARDOWN(answers)
{
	finish(_metadata, &self->start);
}

/* First nothing but the answer, then every third time, then never. */
TEST_F_TIMEOUT(answers, alone, 180)
{
	struct test_balloon_stats s;
	int fd = self->start.fd;

	if (!stats(fd).movable)
		SKIP(return, UNMOVABLE);
	ASSERT_TRUE(inject(fd, variant->result, 1, 0));
	EXPECT_TRUE(compact_until_answered(fd, 100));
	s = stats(fd);
	EXPECT_EQ(0, s.migrated);
	EXPECT_EQ(0, variant->result == -ENOENT ? s.failed : s.refused);
	expect_counters(_metadata, &self->start, variant->adjusted);

	ASSERT_TRUE(inject(fd, variant->result, 3, 0));
	EXPECT_TRUE(compact_until_answered(fd, 100));
	EXPECT_NE(0, stats(fd).migrated);
	expect_counters(_metadata, &self->start, variant->adjusted);

	ASSERT_TRUE(inject(fd, 0, 0, 0));
	EXPECT_TRUE(compact_until_answered(fd, 100));
	EXPECT_TRUE(empty(fd));
	expect_counters(_metadata, &self->start, variant->adjusted);
}

FIXTURE(churn)
{
	struct start start;
	struct crowd crowd;
};

FIXTURE_VARIANT(churn)
{
	const char *name;
	int balloons;
	bool refusals;
};

FIXTURE_VARIANT_ADD(churn, one_balloon)
{
	.name = "one_balloon",
	.balloons = 1,
};

FIXTURE_VARIANT_ADD(churn, two_balloons)
{
	.name = "two_balloons",
	.balloons = 2,
};

FIXTURE_VARIANT_ADD(churn, refusals)
{
	.name = "refusals",
	.balloons = 2,
	.refusals = true,
};

FIXTURE_SETUP(churn)
{
	struct crowd *crowd = &self->crowd;

	begin(_metadata, &self->start, 0);
	/* Page by page is not for a balloon that shrinks by itself. */
	crowd->list_only = variant->refusals;
	while (crowd->n_fds < variant->balloons) {
		int fd = crowd->n_fds ? open(DEVICE, O_RDWR) : self->start.fd;

		ASSERT_GE(fd, 0);
		crowd->fd[crowd->n_fds++] = fd;
	}
}

FIXTURE_TEARDOWN(churn)
{
	dismiss_crowd(&self->crowd);
	for (int i = 1; i < self->crowd.n_fds; i++)
		close(self->crowd.fd[i]);
	finish(_metadata, &self->start);
}

/*
 * Everybody at once. How often they met is measured, as otherwise it would prove
 * nothing that they did no harm.
 */
TEST_F_TIMEOUT(churn, everybody, churn_seconds() + 180)
{
	static const int results[] = { 0, -EAGAIN, -EBUSY, -ENOENT };
	struct test_balloon_stats s, sum = {};
	struct crowd *crowd = &self->crowd;
	int n_results = ARRAY_SIZE(results) - !variant->refusals;
	unsigned int chance = seed;
	struct counters c;
	double end;

	if (!stats(self->start.fd).movable)
		SKIP(return, UNMOVABLE);
	crowd->most_pages = enough_pages(self->start.fd);
	ASSERT_NE(0, crowd->most_pages);
	if (crowd->most_pages < some_pages())
		crowd->most_pages = some_pages();
	TH_LOG("BALLOON_SEED=%u", seed);
	end = now() + churn_seconds();
	ASSERT_TRUE(join_crowd(crowd, compactor, 2));
	ASSERT_TRUE(join_crowd(crowd, inflater, 2));
	ASSERT_TRUE(join_crowd(crowd, deflater, 2));
	ASSERT_TRUE(join_crowd(crowd, watcher, 1));
	ASSERT_TRUE(join_crowd(crowd, memory_user, 1));
	while (now() < end) {
		ASSERT_TRUE(inject(crowd->fd[rand_r(&chance) % crowd->n_fds],
				   results[rand_r(&chance) % n_results],
				   1 + rand_r(&chance) % 10,
				   rand_r(&chance) % 4 ? 0 :
				   rand_r(&chance) % 500));
		usleep(100000);
	}
	dismiss_crowd(crowd);

	for (int i = 0; i < crowd->n_fds; i++) {
		ASSERT_TRUE(inject(crowd->fd[i], 0, 0, 0));
		EXPECT_TRUE(empty(crowd->fd[i]));
		s = stats(crowd->fd[i]);
		EXPECT_EQ(s.inflated, s.deflated + s.refused);
		sum.inflated += s.inflated;
		sum.deflated += s.deflated;
		sum.migrated += s.migrated;
		sum.refused += s.refused;
		sum.failed += s.failed;
		sum.met_isolated += s.met_isolated;
		sum.met_deflated += s.met_deflated;
	}
	c = read_counters();
	EXPECT_EQ(sum.inflated, c.inflate - self->start.before.inflate);
	EXPECT_EQ(sum.deflated + sum.refused,
		  c.deflate - self->start.before.deflate);
	EXPECT_EQ(sum.migrated, c.migrate - self->start.before.migrate);
	EXPECT_EQ(0, atomic_load(&crowd->failed_calls));

	report(variant->name, "inflated", sum.inflated);
	report(variant->name, "migrated", sum.migrated);
	report(variant->name, "refused", sum.refused);
	report(variant->name, "failed", sum.failed);
	report(variant->name, "met_isolated", sum.met_isolated);
	report(variant->name, "met_deflated", sum.met_deflated);
	EXPECT_NE(0, sum.migrated);
	EXPECT_NE(0, sum.failed);
	EXPECT_EQ(variant->refusals, sum.refused != 0);
	EXPECT_NE(0, sum.met_isolated) {
		TH_LOG("no deflation met isolated pages, so this proves nothing");
	}
	/* With a single CPU, isolation is hardly ever seen at work. */
	if (sysconf(_SC_NPROCESSORS_ONLN) == 1)
		return;
	EXPECT_NE(0, sum.met_deflated) {
		TH_LOG("no isolation met deflated pages, so this proves nothing");
	}
}

FIXTURE(end)
{
	struct start start;
	struct crowd crowd;
};

FIXTURE_SETUP(end)
{
	begin(_metadata, &self->start, 0);
}

FIXTURE_TEARDOWN(end)
{
	dismiss_crowd(&self->crowd);
	finish(_metadata, &self->start);
}

/* A balloon with pages in it ends in the middle of their migration. */
TEST_F_TIMEOUT(end, close, 180)
{
	uint64_t pages;
	int met = 0;

	if (!stats(self->start.fd).movable)
		SKIP(return, UNMOVABLE);
	pages = enough_pages(self->start.fd);
	ASSERT_NE(0, pages);
	ASSERT_TRUE(join_crowd(&self->crowd, compactor, 2));
	for (int i = 0; i < 12; i++) {
		int fd = open(DEVICE, O_RDWR);

		ASSERT_GE(fd, 0);
		ASSERT_TRUE(inject(fd, i % 2 ? -ENOENT : 0, 2, 1000));
		inflate_with_holes(fd, pages);
		if (i % 4 == 0)
			wait_until_migrating(fd);
		met += stats(fd).isolated != 0;
		close(fd);
		EXPECT_EQ(0, stats(self->start.fd).all_owned);
	}
	EXPECT_NE(0, met) {
		TH_LOG("no page was isolated, so this proves nothing");
	}
}

/* The taint tells of violations, as the module does not live to do it. */
TEST_F_TIMEOUT(end, unload, 180)
{
	char tainted[64], tainted_before[64];
	uint64_t pages;
	int met = 0;

	if (!stats(self->start.fd).movable)
		SKIP(return, UNMOVABLE);
	if (!setup(self->start.fd, TEST_BALLOON_DETACH) || !can_load_module())
		SKIP(return, "CONFIG_TEST_BALLOON=m, CONFIG_MODULE_UNLOAD and modprobe are needed");
	ASSERT_TRUE(setup(self->start.fd, 0));
	ASSERT_TRUE(read_word("/proc/sys/kernel/tainted", tainted_before));
	pages = enough_pages(self->start.fd);
	ASSERT_NE(0, pages);
	ASSERT_TRUE(join_crowd(&self->crowd, compactor, 2));
	for (int i = 0; i < 5; i++) {
		int fd = open(DEVICE, O_RDWR);

		ASSERT_GE(fd, 0);
		ASSERT_TRUE(setup(fd, TEST_BALLOON_DETACH));
		ASSERT_TRUE(inject(fd, i % 2 ? -ENOENT : 0, 2, 1000));
		inflate_with_holes(fd, pages);
		wait_until_migrating(fd);
		met += stats(fd).isolated != 0;
		close(fd);
		close(self->start.fd);
		ASSERT_EQ(0, syscall(__NR_delete_module, "test_balloon",
				     O_NONBLOCK)) {
			TH_LOG("%s", strerror(errno));
		}
		EXPECT_EQ(self->start.before.balloon, read_counters().balloon);
		ASSERT_TRUE(load_module());
		self->start.fd = open(DEVICE, O_RDWR);
		ASSERT_GE(self->start.fd, 0);
	}
	ASSERT_TRUE(read_word("/proc/sys/kernel/tainted", tainted));
	EXPECT_STREQ(tainted_before, tainted) {
		TH_LOG("a rule was broken, see the kernel log");
	}
	self->start.violations = 0;
	EXPECT_NE(0, met) {
		TH_LOG("no page was isolated, so this proves nothing");
	}
}

/* Memory that goes away, and the balloon's pages in it with it. */

static uint64_t block_pages(void)
{
	char word[64];

	if (!read_word(MEMORY "/block_size_bytes", word))
		return 0;
	return strtoull(word, NULL, 16) / getpagesize();
}

static int node_of_block(uint64_t block)
{
	char path[128];

	for (int node = 0; node < MAX_NODES; node++) {
		snprintf(path, sizeof(path), NODES "/node%d/memory%" PRIu64,
			 node, block);
		if (!access(path, F_OK))
			return node;
	}
	return -1;
}

static int count_nodes(void)
{
	char path[64];
	int n = 0;

	for (int node = 0; node < MAX_NODES; node++) {
		snprintf(path, sizeof(path), NODES "/node%d/meminfo", node);
		n += !access(path, F_OK);
	}
	return n;
}

/* The host's pages, sorted. Returns how many. */
static uint64_t read_pfns(int fd, uint64_t **pfns)
{
	struct test_balloon_pfns arg = { .count = stats(fd).owned };

	*pfns = calloc(arg.count + 1, sizeof(**pfns));
	arg.buffer = (uintptr_t)*pfns;
	return ioctl(fd, TEST_BALLOON_PFNS, &arg) ? 0 : arg.count;
}

static void on_alarm(int signal)
{
}

/* The kernel goes on until the block is empty, or somebody loses patience. */
static bool set_block_state(uint64_t block, const char *state)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	char path[128];
	bool set;

	snprintf(path, sizeof(path), MEMORY "/memory%" PRIu64 "/state", block);
	sigaction(SIGALRM, &action, NULL);
	alarm(PATIENCE);
	set = write_file(path, state);
	alarm(0);
	return set;
}

/*
 * An attempt at a block with pages that cannot move fails, and fills the log. So
 * look for pages that are reserved, or not there at all.
 */
static bool block_is_movable(uint64_t block)
{
	const uint64_t unfit = 1ULL << KPF_NOPAGE | 1ULL << KPF_RESERVED;
	uint64_t flags[1024], size = block_pages();
	char path[128], word[64];
	bool movable = true;
	int fd;

	snprintf(path, sizeof(path), MEMORY "/memory%" PRIu64 "/valid_zones",
		 block);
	if (!read_word(path, word) || strcmp(word, "Movable"))
		return false;
	fd = open("/proc/kpageflags", O_RDONLY);
	for (uint64_t i = 0; movable && fd >= 0 && i < size;) {
		ssize_t n = pread(fd, flags, sizeof(flags),
				  (block * size + i) * sizeof(flags[0]));

		if (n <= 0)
			break;
		n /= sizeof(flags[0]);
		i += n;
		while (n--)
			movable &= !(flags[n] & unfit);
	}
	close(fd);
	return movable;
}

/* The first such block that is greater than the last one, or -1. */
static int64_t next_movable_block(int64_t last)
{
	DIR *directory = opendir(MEMORY);
	struct dirent *entry;
	int64_t block, next = -1;

	while (directory && (entry = readdir(directory)))
		if (sscanf(entry->d_name, "memory%" SCNd64, &block) == 1 &&
		    block > last && (next < 0 || block < next) &&
		    block_is_movable(block))
			next = block;
	if (directory)
		closedir(directory);
	return next;
}

static uint64_t owned_in_block(int fd, int64_t block)
{
	uint64_t *pfns, n = read_pfns(fd, &pfns), owned = 0;
	uint64_t size = block_pages();

	while (n--)
		owned += (int64_t)(pfns[n] / size) == block;
	free(pfns);
	return owned;
}

/*
 * Pages that have to leave a block are preferably moved to other nodes, so leave
 * these free.
 */
static void allocate_on_node_of(int64_t block)
{
	int node = node_of_block(block);
	unsigned long nodes;

	if (node < 0 || node >= (int)(8 * sizeof(nodes)))
		return;
	nodes = 1UL << node;
	syscall(__NR_set_mempolicy, MPOL_BIND, &nodes, 8 * sizeof(nodes));
}

/* Returns the block, or -1 if there is none, and how many pages were in it. */
static int64_t offline_a_block(int fd, uint64_t *moved)
{
	int64_t block = -1;

	while ((block = next_movable_block(block)) >= 0) {
		uint64_t most = available_pages() / 2, pages = some_pages();

		allocate_on_node_of(block);
		do {
			*moved = owned_in_block(fd, block);
		} while (!*moved && stats(fd).owned < most &&
			 inflate(fd, pages + stats(fd).owned, 0));
		if (*moved && set_block_state(block, "offline"))
			return block;
		empty(fd);
	}
	return -1;
}

FIXTURE(memory)
{
	struct start start;
	int64_t block;
};

FIXTURE_SETUP(memory)
{
	self->block = -1;
	begin(_metadata, &self->start, TEST_BALLOON_ADJUST_MANAGED);
}

FIXTURE_TEARDOWN(memory)
{
	if (self->block >= 0)
		EXPECT_TRUE(set_block_state(self->block, "online_movable"));
	finish(_metadata, &self->start);
}

/*
 * The kernel prefers other nodes when it empties a block, and the block is
 * another zone than most of the node's memory: so counters of nodes and managed
 * pages of zones have to follow the pages. The latter is for the end to show,
 * when the block is back.
 */
TEST_F_TIMEOUT(memory, offline, 180)
{
	uint64_t n, moved = 0, *pfns, on_node[MAX_NODES] = {};
	uint64_t size = block_pages();
	bool has_nodes = !access(NODES, F_OK);
	int fd = self->start.fd;
	struct counters c;

	if (!stats(fd).movable)
		SKIP(return, UNMOVABLE);
	if (!size)
		SKIP(return, "CONFIG_MEMORY_HOTREMOVE is not set");
	self->block = offline_a_block(fd, &moved);
	if (self->block < 0)
		SKIP(return, "no memory block can be taken offline: try movablecore=");
	report("offline", "moved", moved);
	EXPECT_GE(stats(fd).migrated, moved);

	n = read_pfns(fd, &pfns);
	EXPECT_EQ(n, stats(fd).owned);
	for (uint64_t i = 0; i < n;) {
		int64_t block = pfns[i] / size;
		int node = has_nodes ? node_of_block(block) : 0;

		EXPECT_NE(self->block, block);
		ASSERT_GE(node, 0);
		for (; i < n && (int64_t)(pfns[i] / size) == block; i++)
			on_node[node]++;
	}
	free(pfns);

	c = read_counters();
	for (int node = 0; has_nodes && node < MAX_NODES; node++) {
		EXPECT_EQ(on_node[node], c.node_balloon[node] -
			  self->start.before.node_balloon[node]) {
			TH_LOG("node %d", node);
		}
	}
	EXPECT_TRUE(empty(fd));
	EXPECT_TRUE(set_block_state(self->block, "online_movable"));
	self->block = -1;
	if (count_nodes() < 2)
		TH_LOG("with one node, no page could move to another");
}

/* One page is replaced, as memory that is about to fail. */
TEST_F(memory, soft_offline)
{
	static const char unpoison[] = "/sys/kernel/debug/hwpoison/unpoison-pfn";
	static const char enabled[] = "/proc/sys/vm/enable_soft_offline";
	uint64_t n, *pfns, pfn = 0, migrated;
	int fd = self->start.fd;
	char value[64];

	if (!stats(fd).movable)
		SKIP(return, UNMOVABLE);
	if (access(MEMORY "/soft_offline_page", W_OK))
		SKIP(return, "CONFIG_MEMORY_FAILURE is not set");
	if (read_word(enabled, value) && !strcmp(value, "0"))
		SKIP(return, "%s is 0", enabled);
	/* The next one to take such memory offline would not get through it. */
	if (access(unpoison, W_OK) &&
	    (system("modprobe -q hwpoison-inject") || access(unpoison, W_OK)))
		SKIP(return, "CONFIG_HWPOISON_INJECT is not set, or debugfs is not mounted");

	ASSERT_EQ(100, inflate(fd, 100, 0));
	n = read_pfns(fd, &pfns);
	ASSERT_EQ(100, n);
	for (int refused = 0; refused < 2; refused++) {
		pfn = pfns[50 + refused];
		if (refused)
			ASSERT_TRUE(inject(fd, -ENOENT, 1, 0));
		migrated = stats(fd).migrated;
		snprintf(value, sizeof(value), "%#" PRIx64,
			 pfn * getpagesize());
		EXPECT_TRUE(write_file(MEMORY "/soft_offline_page", value)) {
			TH_LOG("page %#" PRIx64 ": %s", pfn, strerror(errno));
		}
		EXPECT_EQ(migrated + !refused, stats(fd).migrated);
		EXPECT_EQ(refused, stats(fd).refused);
		EXPECT_EQ(100 - refused, stats(fd).owned);
		expect_counters(_metadata, &self->start, true);
		snprintf(value, sizeof(value), "%#" PRIx64, pfn);
		EXPECT_TRUE(write_file(unpoison, value));
	}
	free(pfns);
	EXPECT_TRUE(empty(fd));
	expect_counters(_metadata, &self->start, true);
}

int main(int argc, char **argv)
{
	uint64_t value;

	if (geteuid())
		ksft_exit_skip("this needs root\n");
	if (!load_module())
		ksft_exit_skip("there is no %s: is CONFIG_TEST_BALLOON set?\n",
			       DEVICE);
	if (!find_value("/proc/vmstat", "balloon_inflate", &value))
		ksft_exit_skip("CONFIG_VM_EVENT_COUNTERS is not set\n");
	if (read_counters().balloon)
		ksft_exit_skip("some balloon has pages already\n");
	seed = from_environment("BALLOON_SEED", time(NULL));
	return test_harness_run(argc, argv);
}
