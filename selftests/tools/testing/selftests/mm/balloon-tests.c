// SPDX-License-Identifier: GPL-2.0
/*
 * Memory balloons under page migration. CONFIG_TEST_BALLOON provides balloons,
 * which are inflated and deflated while compaction, memory offlining and soft
 * offlining move their pages. Counters of the whole system are compared, so no
 * other balloon can be in use.
 *
 * Environment:
 *
 *   BALLOON_SECONDS	duration of each churn test, 5 by default
 *   TEST_BALLOON_KO	file of the module, if modprobe cannot find it
 */
#define __SANE_USERSPACE_TYPES__ /* __u64 is unsigned long long */
#include "../kselftest_harness.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* This is a private interface, so it is not exported in include/uapi/. */
#include <lib/test_balloon_uapi.h>

#define DEVICE		"/dev/test_balloon"
#define MEMORY		"/sys/devices/system/memory"
/* Bits of /proc/kpageflags. */
#define KPF_NOPAGE	20
#define KPF_RESERVED	32
#define MAX_BALLOONS	2
#define MAX_STRESSORS	8
/* Bounds for large machines. */
#define SMALL_BALLOON	(64UL << 20)
#define LARGE_BALLOON	(512UL << 20)
#define MAX_BLOCKS	4
/* In seconds. */
#define TIMEOUT		10

struct counters {
	uint64_t inflate, deflate, migrate, balloon, managed;
	/* Lines of /proc/zoneinfo with balloon pages and managed pages. */
	char *zones;
};

struct stressor {
	struct context *ctx;
	unsigned int seed;
	pthread_t thread;
};

struct context {
	int fd[MAX_BALLOONS];
	int n_fds;
	bool adjust_managed;
	uint64_t violations;
	struct counters before;
	/* Stressors inflate up to so many pages. */
	_Atomic uint64_t max_pages;
	atomic_bool stop;
	struct stressor stressors[MAX_STRESSORS];
	int n_stressors;
	int races;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

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

/* Returns -1 if the file has no such key. */
static int64_t read_value(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	int64_t value, found = -1;
	char line[256], name[64];

	while (file && found < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^: ]%*[: ]%" SCNd64, name, &value) == 2 &&
		    !strcmp(name, key))
			found = value;
	if (file)
		fclose(file);
	return found;
}

/* So many bytes in pages, or what other tasks can do without. */
static uint64_t limit_pages(uint64_t bytes)
{
	uint64_t spare = read_value("/proc/meminfo", "MemAvailable") * 1024 / 4;

	return (bytes < spare ? bytes : spare) / getpagesize();
}

static struct counters read_counters(void)
{
	struct counters c = {};
	FILE *zoneinfo = fopen("/proc/zoneinfo", "r");
	char line[256];
	uint64_t value;
	size_t size;
	FILE *zones = open_memstream(&c.zones, &size);

	/* Fold the per-CPU differences. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	c.inflate = read_value("/proc/vmstat", "balloon_inflate");
	c.deflate = read_value("/proc/vmstat", "balloon_deflate");
	c.migrate = read_value("/proc/vmstat", "balloon_migrate");
	c.balloon = read_value("/proc/vmstat", "nr_balloon_pages");
	while (fgets(line, sizeof(line), zoneinfo)) {
		if (sscanf(line, " managed %" SCNu64, &value) == 1)
			c.managed += value;
		if (strstr(line, "Node") || strstr(line, " managed ") ||
		    strstr(line, "nr_balloon_pages"))
			fputs(line, zones);
	}
	fclose(zoneinfo);
	fclose(zones);
	return c;
}

/* Returns how many pages were inflated or deflated, or -1. */
static int resize(int fd, unsigned int cmd, uint32_t pages, uint32_t flags,
		  uint32_t delay_us)
{
	struct test_balloon_resize arg = {
		.pages = pages, .flags = flags, .delay_us = delay_us,
	};

	return ioctl(fd, cmd, &arg);
}

static bool inject(int fd, int error, uint32_t every, uint32_t delay_us)
{
	struct test_balloon_inject arg = {
		.error = error, .every = every, .delay_us = delay_us,
	};

	return !ioctl(fd, TEST_BALLOON_INJECT, &arg);
}

static struct test_balloon_stats stats(int fd)
{
	struct test_balloon_stats arg;

	/* A value that no test expects. */
	if (ioctl(fd, TEST_BALLOON_STATS, &arg))
		memset(&arg, 0xff, sizeof(arg));
	return arg;
}

static struct test_balloon_stats sum_stats(struct context *ctx)
{
	struct test_balloon_stats sum = {};

	for (int i = 0; i < ctx->n_fds; i++) {
		struct test_balloon_stats s = stats(ctx->fd[i]);

		for (size_t j = 0; j < sizeof(s) / sizeof(__u64); j++)
			((__u64 *)&sum)[j] += ((__u64 *)&s)[j];
	}
	return sum;
}

static void inflate(int fd, uint64_t pages)
{
	while (stats(fd).owned < pages &&
	       resize(fd, TEST_BALLOON_INFLATE, pages - stats(fd).owned,
		      TEST_BALLOON_LIST, 0) > 0)
		;
}

/* Isolated pages are back soon. */
static bool empty(int fd)
{
	double end = now() + TIMEOUT;

	while (stats(fd).owned && now() < end)
		resize(fd, TEST_BALLOON_DEFLATE, UINT32_MAX,
		       TEST_BALLOON_LIST, 0);
	return !stats(fd).owned;
}

/* Leaves holes between the pages, which compaction can move other pages to. */
static void inflate_with_holes(int fd, uint64_t pages)
{
	size_t page = getpagesize(), size = pages * page;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return;
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (uint64_t n = 0; n < pages; n++) {
		if (resize(fd, TEST_BALLOON_INFLATE, 1, 0, 0) <= 0)
			break;
		memory[n * page] = 1;
	}
	munmap(memory, size);
}

static bool wait_until_isolated(int fd, double seconds)
{
	double end = now() + seconds;

	while (!stats(fd).isolated)
		if (now() > end)
			return false;
	return true;
}

/* Stressors: threads that run until the test stops them. */

static int random_balloon(struct stressor *s)
{
	return s->ctx->fd[rand_r(&s->seed) % s->ctx->n_fds];
}

static void *compact_thread(void *arg)
{
	struct stressor *s = arg;

	while (!s->ctx->stop)
		write_file("/proc/sys/vm/compact_memory", "1");
	return NULL;
}

/* Inflates or deflates one page, or many. */
static void *resize_thread(void *arg)
{
	struct stressor *s = arg;

	/* Compaction is slow, so the others run with less priority. */
	setpriority(PRIO_PROCESS, 0, 10);
	while (!s->ctx->stop) {
		uint64_t pages = rand_r(&s->seed) % (2 << rand_r(&s->seed) % 12);
		uint32_t flags = 0, delay_us = 0;
		int fd = random_balloon(s);

		if (rand_r(&s->seed) % 2)
			flags |= TEST_BALLOON_LIST;
		if (rand_r(&s->seed) % 2) {
			if (stats(fd).owned < s->ctx->max_pages)
				resize(fd, TEST_BALLOON_INFLATE, pages, flags, 0);
			continue;
		}
		if (rand_r(&s->seed) % 4 == 0)
			flags |= TEST_BALLOON_REQUEUE;
		if (rand_r(&s->seed) % 4 == 0)
			delay_us = rand_r(&s->seed) % 2000;
		resize(fd, TEST_BALLOON_DEFLATE, pages, flags, delay_us);
	}
	return NULL;
}

/*
 * Deflates a long list when pages are about to be isolated. So isolation waits
 * for the lock, and then finds pages that were deflated.
 */
static void *burst_thread(void *arg)
{
	struct stressor *s = arg;

	setpriority(PRIO_PROCESS, 0, 10);
	while (!s->ctx->stop) {
		uint64_t pages = s->ctx->max_pages / 4;
		int fd = random_balloon(s);

		resize(fd, TEST_BALLOON_INFLATE, pages, 0, 0);
		wait_until_isolated(fd, 0.02);
		resize(fd, TEST_BALLOON_DEFLATE, pages, TEST_BALLOON_LIST, 2000);
	}
	return NULL;
}

static void start_stressors(struct __test_metadata *_metadata,
			    struct context *ctx, void *(*task)(void *), int n)
{
	while (n--) {
		struct stressor *s = &ctx->stressors[ctx->n_stressors];

		ASSERT_LT(ctx->n_stressors, MAX_STRESSORS);
		s->ctx = ctx;
		s->seed = ctx->n_stressors;
		ASSERT_EQ(0, pthread_create(&s->thread, NULL, task, s));
		ctx->n_stressors++;
	}
}

static void stop_stressors(struct context *ctx)
{
	ctx->stop = true;
	while (ctx->n_stressors)
		pthread_join(ctx->stressors[--ctx->n_stressors].thread, NULL);
}

static bool load_module(void)
{
	const char *ko = getenv("TEST_BALLOON_KO");

	if (access(DEVICE, F_OK) && ko) {
		int fd = open(ko, O_RDONLY);

		syscall(__NR_finit_module, fd, "", 0);
		close(fd);
	} else if (access(DEVICE, F_OK) && system("modprobe -q test_balloon")) {
		return false;
	}
	for (int i = 0; access(DEVICE, F_OK) && i < 100; i++)
		usleep(10000);
	return !access(DEVICE, F_OK);
}

/* Does not unload what cannot be loaded again. */
static bool unload_module(void)
{
	if (!getenv("TEST_BALLOON_KO") && system("modprobe -q -n test_balloon"))
		return false;
	return !syscall(__NR_delete_module, "test_balloon", O_NONBLOCK);
}

static int open_balloon(struct __test_metadata *_metadata, uint32_t flags)
{
	int fd = open(DEVICE, O_RDWR);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ioctl(fd, TEST_BALLOON_SETUP, &flags));
	return fd;
}

static void begin(struct __test_metadata *_metadata, struct context *ctx,
		  int balloons, bool adjust_managed)
{
	int fd;

	if (geteuid())
		SKIP(return, "not root");
	if (!load_module())
		SKIP(return, "no " DEVICE ", CONFIG_TEST_BALLOON is needed");
	if (read_value("/proc/vmstat", "balloon_migrate") < 0)
		SKIP(return, "CONFIG_BALLOON_COMPACTION is needed");
	ctx->before = read_counters();
	if (ctx->before.balloon)
		SKIP(return, "another balloon is in use");
	fd = open_balloon(_metadata, 0);
	ctx->violations = stats(fd).violations;
	close(fd);
	ctx->adjust_managed = adjust_managed;
	ctx->max_pages = limit_pages(SMALL_BALLOON);
	while (ctx->n_fds < balloons)
		ctx->fd[ctx->n_fds++] = open_balloon(_metadata, adjust_managed ?
						     TEST_BALLOON_ADJUST_MANAGED : 0);
}

/* No test leaves a page behind, or breaks a rule. */
static void finish(struct __test_metadata *_metadata, struct context *ctx)
{
	struct counters after;
	int fd;

	stop_stressors(ctx);
	while (ctx->n_fds)
		close(ctx->fd[--ctx->n_fds]);
	fd = open_balloon(_metadata, 0);
	EXPECT_EQ(ctx->violations, stats(fd).violations) {
		TH_LOG("see the kernel log");
	}
	close(fd);
	after = read_counters();
	EXPECT_EQ(0, after.balloon);
	EXPECT_STREQ(ctx->before.zones, after.zones);
}

/* Compares the counters while the balloons have pages, and nothing moves. */
static void expect_counters(struct __test_metadata *_metadata,
			    struct context *ctx)
{
	struct test_balloon_stats s, next = sum_stats(ctx);
	struct counters *before = &ctx->before, c;
	int tries = 0;

	/* kcompactd may be busy. */
	do {
		s = next;
		c = read_counters();
		next = sum_stats(ctx);
	} while (memcmp(&s, &next, sizeof(s)) && ++tries < 100);
	if (tries == 100)
		SKIP(return, "pages do not stop to migrate");

	EXPECT_EQ(s.inflated, c.inflate - before->inflate);
	EXPECT_EQ(s.deflated + s.refused, c.deflate - before->deflate);
	EXPECT_EQ(s.migrated, c.migrate - before->migrate);
	EXPECT_EQ(s.owned, s.inflated - s.deflated - s.refused);
	EXPECT_EQ(s.owned, c.balloon);
	EXPECT_EQ(ctx->adjust_managed ? s.owned : 0, before->managed - c.managed);
}

/* Without races, a test has shown nothing. It tries larger balloons, too. */
static void skip_without(struct __test_metadata *_metadata, bool races)
{
	if (!races && __test_passed(_metadata))
		SKIP(return, "deflation and isolation did not race");
}

static void grow(struct context *ctx)
{
	if (2 * ctx->max_pages <= limit_pages(LARGE_BALLOON))
		ctx->max_pages *= 2;
}

FIXTURE(churn)
{
	struct context ctx;
};

FIXTURE_VARIANT(churn)
{
	int balloons;
	bool refuse;
	bool adjust_managed;
};

FIXTURE_VARIANT_ADD(churn, one_balloon)
{
	.balloons = 1,
};

FIXTURE_VARIANT_ADD(churn, two_balloons)
{
	.balloons = 2,
};

FIXTURE_VARIANT_ADD(churn, refuse)
{
	.balloons = 2, .refuse = true,
};

FIXTURE_VARIANT_ADD(churn, adjust_managed)
{
	.balloons = 2, .refuse = true, .adjust_managed = true,
};

FIXTURE_SETUP(churn)
{
	begin(_metadata, &self->ctx, variant->balloons, variant->adjust_managed);
}

FIXTURE_TEARDOWN(churn)
{
	finish(_metadata, &self->ctx);
}

static bool races_seen(struct context *ctx, bool refuse)
{
	struct test_balloon_stats s = sum_stats(ctx);

	return s.migrated && s.failed && s.deflate_races &&
	       (s.refused || !refuse) &&
	       (s.isolate_races || sysconf(_SC_NPROCESSORS_ONLN) == 1);
}

static unsigned long churn_seconds(void)
{
	const char *seconds = getenv("BALLOON_SECONDS");

	return seconds ? strtoul(seconds, NULL, 0) : 5;
}

TEST_F_TIMEOUT(churn, all_stressors, 2 * churn_seconds() + 120)
{
	static const int errors[] = { 0, -EAGAIN, -EBUSY, -ENOENT };
	int n_errors = ARRAY_SIZE(errors) - !variant->refuse;
	struct context *ctx = &self->ctx;
	struct test_balloon_stats s;
	double start = now();

	start_stressors(_metadata, ctx, compact_thread, 2);
	start_stressors(_metadata, ctx, resize_thread, 4);
	start_stressors(_metadata, ctx, burst_thread, 1);
	for (int i = 0; now() - start < churn_seconds() ||
	     (!races_seen(ctx, variant->refuse) &&
	      now() - start < 2 * churn_seconds() + TIMEOUT); i++) {
		EXPECT_TRUE(inject(ctx->fd[rand() % ctx->n_fds],
				   errors[rand() % n_errors], 1 + rand() % 10,
				   rand() % 4 ? 0 : rand() % 500));
		usleep(100000);
		if (i % 10 == 9 && !races_seen(ctx, variant->refuse))
			grow(ctx);
	}
	stop_stressors(ctx);

	inflate(ctx->fd[0], 1000);
	expect_counters(_metadata, ctx);
	for (int i = 0; i < ctx->n_fds; i++)
		EXPECT_TRUE(empty(ctx->fd[i]));
	expect_counters(_metadata, ctx);

	s = sum_stats(ctx);
	TH_LOG("%llu inflated, %llu migrated, %llu refused, %llu failed",
	       s.inflated, s.migrated, s.refused, s.failed);
	TH_LOG("%llu deflate_races, %llu isolate_races", s.deflate_races,
	       s.isolate_races);
	skip_without(_metadata, races_seen(ctx, variant->refuse));
}

/* Balloons that go away while their pages migrate. */
FIXTURE(removal)
{
	struct context ctx;
};

FIXTURE_SETUP(removal)
{
	begin(_metadata, &self->ctx, 0, false);
	if (_metadata->exit_code == KSFT_PASS)
		start_stressors(_metadata, &self->ctx, compact_thread, 2);
}

FIXTURE_TEARDOWN(removal)
{
	finish(_metadata, &self->ctx);
	skip_without(_metadata, self->ctx.races);
}

static void close_while_isolated(struct __test_metadata *_metadata,
				 struct context *ctx, bool refuse,
				 uint32_t flags)
{
	int fd = open_balloon(_metadata, flags);

	EXPECT_TRUE(inject(fd, refuse ? -ENOENT : 0, 2, 1000));
	inflate_with_holes(fd, ctx->max_pages / 4);
	if (wait_until_isolated(fd, 1))
		ctx->races++;
	else
		grow(ctx);
	close(fd);
}

TEST_F_TIMEOUT(removal, close, 180)
{
	for (int i = 0; i < 10; i++)
		close_while_isolated(_metadata, &self->ctx, i % 2, 0);
}

TEST_F_TIMEOUT(removal, unload, 180)
{
	char tainted[64], before[64];

	if (!unload_module())
		SKIP(return, "CONFIG_TEST_BALLOON=m, CONFIG_MODULE_UNLOAD and modprobe are needed");
	ASSERT_TRUE(load_module());
	ASSERT_TRUE(read_word("/proc/sys/kernel/tainted", before));
	for (int i = 0; i < 5; i++) {
		close_while_isolated(_metadata, &self->ctx, i % 2,
				     TEST_BALLOON_DETACH);
		ASSERT_TRUE(unload_module());
		ASSERT_TRUE(load_module());
	}
	/* The module does not live to tell its violations. */
	self->ctx.violations = 0;
	ASSERT_TRUE(read_word("/proc/sys/kernel/tainted", tainted));
	EXPECT_STREQ(before, tainted) {
		TH_LOG("see the kernel log");
	}
}

/* These tests take memory away, or poison it. */
FIXTURE(destructive)
{
	struct context ctx;
	/* It is offline. */
	int64_t block;
};

static void handle_alarm(int signal)
{
}

/* A signal ends an attempt that takes too long. */
static bool set_block_state(int64_t block, const char *state)
{
	char path[128];
	bool set;

	snprintf(path, sizeof(path), MEMORY "/memory%" PRId64 "/state", block);
	signal(SIGALRM, handle_alarm);
	alarm(TIMEOUT);
	set = write_file(path, state);
	alarm(0);
	return set;
}

FIXTURE_SETUP(destructive)
{
	self->block = -1;
	begin(_metadata, &self->ctx, 1, true);
}

FIXTURE_TEARDOWN(destructive)
{
	if (self->block >= 0)
		EXPECT_TRUE(set_block_state(self->block, "online_movable"));
	finish(_metadata, &self->ctx);
}

static int64_t block_pages(void)
{
	char word[64] = "0";

	read_word(MEMORY "/block_size_bytes", word);
	return strtoull(word, NULL, 16) / getpagesize();
}

/* An attempt at a block with pages that cannot move would fill the log. */
static bool block_is_movable(int64_t block)
{
	uint64_t flags, unmovable = 1ULL << KPF_NOPAGE | 1ULL << KPF_RESERVED;
	char path[128], word[64];
	bool movable = true;
	FILE *file;

	snprintf(path, sizeof(path), MEMORY "/memory%" PRId64 "/valid_zones",
		 block);
	if (!read_word(path, word) || strcmp(word, "Movable"))
		return false;
	file = fopen("/proc/kpageflags", "r");
	if (!file || fseeko(file, block * block_pages() * sizeof(flags), SEEK_SET))
		return false;
	for (int64_t i = 0; movable && i < block_pages(); i++)
		movable = fread(&flags, sizeof(flags), 1, file) == 1 &&
			  !(flags & unmovable);
	fclose(file);
	return movable;
}

/* Page frame numbers in ascending order. The caller frees them. */
static uint64_t *read_pfns(int fd, int64_t *n)
{
	struct test_balloon_pfns arg = { .count = stats(fd).owned };
	uint64_t *pfns = calloc(arg.count + 1, sizeof(*pfns));

	arg.buffer = (uintptr_t)pfns;
	*n = ioctl(fd, TEST_BALLOON_PFNS, &arg);
	return pfns;
}

/* Takes a block with pages of the balloon offline. Returns it, or -1. */
static int64_t offline_block(int fd)
{
	int64_t n, block, size = block_pages(), last = -1, found = -1, tries = 0;
	uint64_t *pfns = read_pfns(fd, &n);

	for (int64_t i = 0; i < n && found < 0 && tries < MAX_BLOCKS; i++) {
		block = pfns[i] / size;
		if (block != last && block_is_movable(block)) {
			tries++;
			if (set_block_state(block, "offline"))
				found = block;
		}
		last = block;
	}
	free(pfns);
	return found;
}

/*
 * Pages prefer other nodes when they leave a block. When the balloon is empty and
 * the block is back, finish() tells whether the counters followed the pages.
 */
TEST_F_TIMEOUT(destructive, memory_offline, 180)
{
	int fd = self->ctx.fd[0];

	if (!block_pages())
		SKIP(return, "CONFIG_MEMORY_HOTREMOVE is needed");
	for (uint64_t pages = self->ctx.max_pages; self->block < 0 &&
	     pages <= limit_pages(LARGE_BALLOON); pages *= 2) {
		inflate(fd, pages);
		self->block = offline_block(fd);
	}
	if (self->block < 0)
		SKIP(return, "no memory block can be taken offline, try movablecore=");
	EXPECT_NE(0, stats(fd).migrated);
	EXPECT_TRUE(empty(fd));
}

/* A page is replaced, or the balloon shrinks by it. */
TEST_F(destructive, soft_offline)
{
	static const char unpoison[] = "/sys/kernel/debug/hwpoison/unpoison-pfn";
	int64_t n = 0, fd = self->ctx.fd[0], done = 0;
	uint64_t *pfns;
	char value[64];

	if (access(MEMORY "/soft_offline_page", W_OK))
		SKIP(return, "CONFIG_MEMORY_FAILURE is needed");
	if (access(unpoison, W_OK) && system("modprobe -q hwpoison-inject"))
		SKIP(return, "CONFIG_HWPOISON_INJECT and debugfs are needed");

	inflate(fd, 100);
	pfns = read_pfns(fd, &n);
	/* kcompactd may have a page. */
	for (int i = 0; i < n && done < 2; i++) {
		EXPECT_TRUE(inject(fd, -ENOENT, done, 0));
		snprintf(value, sizeof(value), "%#" PRIx64, pfns[i] * getpagesize());
		if (!write_file(MEMORY "/soft_offline_page", value))
			continue;
		done++;
		snprintf(value, sizeof(value), "%#" PRIx64, pfns[i]);
		EXPECT_TRUE(write_file(unpoison, value));
		expect_counters(_metadata, &self->ctx);
	}
	free(pfns);
	EXPECT_EQ(1, stats(fd).refused);
	EXPECT_LE(1, stats(fd).migrated);
	EXPECT_TRUE(empty(fd));
}

TEST_HARNESS_MAIN
