// SPDX-License-Identifier: GPL-2.0
/*
 * Memory balloons under page migration. CONFIG_TEST_BALLOON provides balloons,
 * which are inflated and deflated while compaction and soft offlining move
 * their pages. Counters of the whole system are compared, so no other balloon
 * can be in use.
 *
 * Environment:
 *
 *   BALLOON_SECONDS	duration of each churn test, 5 by default
 *   TEST_BALLOON_KO	file of the module, if modprobe cannot find it
 */
#define __SANE_USERSPACE_TYPES__ /* __u64 is unsigned long long */
#include "../kselftest_harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* This is a private interface, so it is not exported in include/uapi/. */
#include <lib/test_balloon_uapi.h>

#define DEVICE		"/dev/test_balloon"
#define MEMINFO		"/proc/meminfo"
#define VMSTAT		"/proc/vmstat"
#define SOFT_OFFLINE	"/sys/devices/system/memory/soft_offline_page"
#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"
/* Bit of /proc/sys/kernel/tainted. */
#define TAINT_WARN	9
#define MAX_BALLOONS	2
#define MAX_STRESSORS	8
/* Bounds for large machines. */
#define SMALL_BALLOON	(64UL << 20)
#define LARGE_BALLOON	(512UL << 20)
/* In seconds. */
#define TIMEOUT		10
#define JOIN_TIMEOUT	60
/* Some races are rare on a host that has other work. */
#define RACE_TIMEOUT	60

#define NO_RACE		"deflation and isolation did not race"

struct counters {
	long inflate, deflate, migrate, balloon, total;
};

/* Each test runs in a process of its own. */
static int balloons[MAX_BALLOONS];
static int n_balloons;
/* Stressors inflate a balloon up to so many pages. */
static atomic_ulong max_pages;
static atomic_bool stop;
static pthread_t stressors[MAX_STRESSORS];
static int n_stressors;
/* What finish() compares with. */
static struct counters old_counters;
static char *old_zones;
static uint64_t old_violations;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static uint32_t random_below(uint32_t n)
{
	return random() % n;
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

/* Scans for the first line of this format. Returns -1 if there is none. */
static long read_value(const char *path, const char *format)
{
	FILE *file = fopen(path, "r");
	char line[256];
	long value;

	if (!file)
		return -1;
	do {
		value = -1;
	} while (fgets(line, sizeof(line), file) &&
		 sscanf(line, format, &value) != 1);
	fclose(file);
	return value;
}

static struct counters read_counters(void)
{
	/* Fold the per-CPU differences. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	return (struct counters) {
		.inflate = read_value(VMSTAT, "balloon_inflate %ld"),
		.deflate = read_value(VMSTAT, "balloon_deflate %ld"),
		.migrate = read_value(VMSTAT, "balloon_migrate %ld"),
		.balloon = read_value(VMSTAT, "nr_balloon_pages %ld"),
		.total = read_value(MEMINFO, "MemTotal: %ld") /
			 (getpagesize() / 1024),
	};
}

/* Balloon pages and managed pages of each zone. The caller frees the text. */
static char *read_zones(void)
{
	FILE *zoneinfo = fopen("/proc/zoneinfo", "r"), *out;
	char line[256], *zones;
	size_t size;

	out = open_memstream(&zones, &size);
	while (fgets(line, sizeof(line), zoneinfo))
		if (strstr(line, "Node") || strstr(line, " managed ") ||
		    strstr(line, "nr_balloon_pages"))
			fputs(line, out);
	fclose(out);
	fclose(zoneinfo);
	return zones;
}

/* So many bytes in pages, or what other tasks can do without. */
static uint64_t limit_pages(uint64_t bytes)
{
	uint64_t spare = read_value(MEMINFO, "MemAvailable: %ld") * 1024ULL / 4;

	if (bytes > spare)
		bytes = spare;
	return bytes / getpagesize();
}

/* Larger balloons make it more likely that page migration finds their pages. */
static void grow(void)
{
	if (2 * max_pages <= limit_pages(LARGE_BALLOON))
		max_pages *= 2;
}

/* Returns how many pages were inflated or deflated, or -1. */
static int resize(int fd, unsigned int cmd, uint32_t pages, uint32_t flags,
		  uint32_t delay_us)
{
	struct test_balloon_resize arg = { pages, flags, delay_us };

	return ioctl(fd, cmd, &arg);
}

static bool inject(int fd, int error, uint32_t every, uint32_t delay_us)
{
	struct test_balloon_inject arg = { error, every, delay_us };

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

static struct test_balloon_stats sum_stats(void)
{
	struct test_balloon_stats sum = {};

	for (int i = 0; i < n_balloons; i++) {
		struct test_balloon_stats s = stats(balloons[i]);

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

static bool wait_until_isolated(int fd, double seconds)
{
	double end = now() + seconds;

	while (!stats(fd).isolated)
		if (now() > end)
			return false;
	return true;
}

/* Stressors. Each is called by its threads until the test stops them. */

static void compact_all(void)
{
	write_file("/proc/sys/vm/compact_memory", "1");
}

/* Inflates or deflates one page, or many. */
static void resize_at_random(void)
{
	int fd = balloons[random_below(n_balloons)];
	uint32_t pages = random_below(2 << random_below(12)) %
			 (max_pages / 4 + 1);
	uint32_t flags = random_below(2) ? TEST_BALLOON_LIST : 0;

	if (random_below(2)) {
		if (stats(fd).owned < max_pages)
			resize(fd, TEST_BALLOON_INFLATE, pages, flags, 0);
		return;
	}
	if (!random_below(4))
		flags |= TEST_BALLOON_REQUEUE;
	resize(fd, TEST_BALLOON_DEFLATE, pages, flags,
	       random_below(4) ? 0 : random_below(2000));
}

/*
 * Deflates a long list when pages are about to be isolated. So isolation waits
 * for the lock, and then finds pages that were deflated.
 */
static void deflate_at_isolation(void)
{
	int fd = balloons[random_below(n_balloons)];
	uint32_t pages = max_pages / 4;

	resize(fd, TEST_BALLOON_INFLATE, pages, 0, 0);
	wait_until_isolated(fd, 0.02);
	resize(fd, TEST_BALLOON_DEFLATE, pages, TEST_BALLOON_LIST, 2000);
}

static void *run_stressor(void *stressor)
{
	/* Compaction is slow, so the others run with less priority. */
	if (stressor != compact_all)
		setpriority(PRIO_PROCESS, 0, 10);
	while (!stop)
		((void (*)(void))stressor)();
	return NULL;
}

static void start_stressors(struct __test_metadata *_metadata,
			    void (*stressor)(void), int n)
{
	for (; n; n--, n_stressors++) {
		ASSERT_LT(n_stressors, MAX_STRESSORS);
		ASSERT_EQ(0, pthread_create(&stressors[n_stressors], NULL,
					    run_stressor, stressor));
	}
}

/* On a large machine, compaction may go on until the process ends. */
static void stop_stressors(void)
{
	struct timespec end = { .tv_sec = time(NULL) + JOIN_TIMEOUT };

	stop = true;
	while (n_stressors)
		pthread_timedjoin_np(stressors[--n_stressors], NULL, &end);
}

static bool load_module(void)
{
	const char *ko = getenv("TEST_BALLOON_KO");

	if (ko && access(DEVICE, F_OK)) {
		int fd = open(ko, O_RDONLY);

		syscall(__NR_finit_module, fd, "", 0);
		close(fd);
	}
	return !access(DEVICE, F_OK) ||
	       (!system("modprobe -q test_balloon") && !access(DEVICE, F_OK));
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

static uint64_t read_violations(struct __test_metadata *_metadata)
{
	int fd = open_balloon(_metadata, 0);
	uint64_t violations = stats(fd).violations;

	close(fd);
	return violations;
}

/* A failure is not hidden by bad luck. */
static void skip_unless(struct __test_metadata *_metadata, bool condition,
			const char *reason)
{
	if (!condition && _metadata->exit_code == KSFT_PASS)
		SKIP(return, "%s", reason);
}

static void begin(struct __test_metadata *_metadata, int n, uint32_t flags)
{
	if (geteuid())
		SKIP(return, "not root");
	if (!load_module())
		SKIP(return, "no " DEVICE ", CONFIG_TEST_BALLOON is needed");
	if (read_value(VMSTAT, "balloon_migrate %ld") < 0)
		SKIP(return, "CONFIG_BALLOON_COMPACTION is needed");
	old_counters = read_counters();
	if (old_counters.balloon)
		SKIP(return, "another balloon is in use");
	old_zones = read_zones();
	old_violations = read_violations(_metadata);
	max_pages = limit_pages(SMALL_BALLOON);
	while (n_balloons < n)
		balloons[n_balloons++] = open_balloon(_metadata, flags);
}

/* No test leaves a page behind, or breaks a rule. */
static void finish(struct __test_metadata *_metadata)
{
	stop_stressors();
	while (n_balloons)
		close(balloons[--n_balloons]);
	EXPECT_EQ(old_violations, read_violations(_metadata)) {
		TH_LOG("see the kernel log");
	}
	EXPECT_EQ(0, read_counters().balloon);
	EXPECT_STREQ(old_zones, read_zones());
}

/* Compares the counters while the balloons have pages, and nothing moves. */
static void expect_counters(struct __test_metadata *_metadata,
			    bool adjust_managed)
{
	struct test_balloon_stats s, next = sum_stats();
	struct counters c;
	int tries = 100;

	/* kcompactd may be busy. */
	do {
		s = next;
		c = read_counters();
		next = sum_stats();
	} while ((s.isolated || memcmp(&s, &next, sizeof(s))) && --tries);
	skip_unless(_metadata, tries, "pages keep migrating");
	if (!tries)
		return;

	EXPECT_EQ(s.owned, s.inflated - s.deflated - s.refused);
	EXPECT_EQ(c.inflate - old_counters.inflate, (long)s.inflated);
	EXPECT_EQ(c.deflate - old_counters.deflate,
		  (long)(s.deflated + s.refused));
	EXPECT_EQ(c.migrate - old_counters.migrate, (long)s.migrated);
	EXPECT_EQ(c.balloon, (long)s.owned);
	EXPECT_EQ(old_counters.total - c.total,
		  adjust_managed ? (long)s.owned : 0);
}

FIXTURE(churn) {};

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
	begin(_metadata, variant->balloons,
	      variant->adjust_managed ? TEST_BALLOON_ADJUST_MANAGED : 0);
}

FIXTURE_TEARDOWN(churn)
{
	finish(_metadata);
}

static bool races_seen(bool refuse)
{
	struct test_balloon_stats s = sum_stats();

	return s.migrated && s.failed && s.deflate_races &&
	       (s.refused || !refuse) &&
	       (s.isolate_races || sysconf(_SC_NPROCESSORS_ONLN) == 1);
}

static unsigned long churn_seconds(void)
{
	const char *seconds = getenv("BALLOON_SECONDS");

	return seconds ? strtoul(seconds, NULL, 0) : 5;
}

/* Injects errors and delays until the time is up, and races were seen. */
static void inject_at_random(struct __test_metadata *_metadata, bool refuse)
{
	static const int errors[] = { 0, -EAGAIN, -EBUSY, -ENOENT };
	double end = now() + churn_seconds();
	double last = end + RACE_TIMEOUT;

	for (int i = 1; now() < end ||
	     (now() < last && !races_seen(refuse)); i++) {
		EXPECT_TRUE(inject(balloons[random_below(n_balloons)],
				   errors[random_below(refuse ? 4 : 3)],
				   1 + random_below(10),
				   random_below(4) ? 0 : random_below(500)));
		usleep(100000);
		if (i % 10 == 0 && !races_seen(refuse))
			grow();
	}
}

TEST_F_TIMEOUT(churn, all_stressors, churn_seconds() + 240)
{
	struct test_balloon_stats s;

	start_stressors(_metadata, compact_all, 2);
	start_stressors(_metadata, resize_at_random, 4);
	start_stressors(_metadata, deflate_at_isolation, 1);
	inject_at_random(_metadata, variant->refuse);
	stop_stressors();

	inflate(balloons[0], 1000);
	expect_counters(_metadata, variant->adjust_managed);
	for (int i = 0; i < n_balloons; i++)
		EXPECT_TRUE(empty(balloons[i]));
	expect_counters(_metadata, variant->adjust_managed);

	s = sum_stats();
	TH_LOG("%llu inflated, %llu migrated, %llu refused, %llu failed",
	       s.inflated, s.migrated, s.refused, s.failed);
	TH_LOG("%llu deflate_races, %llu isolate_races", s.deflate_races,
	       s.isolate_races);
	skip_unless(_metadata, races_seen(variant->refuse), NO_RACE);
}

/* Balloons that go away while their pages migrate. */
FIXTURE(removal)
{
	int races;
};

FIXTURE_SETUP(removal)
{
	begin(_metadata, 0, 0);
	if (_metadata->exit_code == KSFT_PASS)
		start_stressors(_metadata, compact_all, 2);
}

FIXTURE_TEARDOWN(removal)
{
	finish(_metadata);
	skip_unless(_metadata, self->races, NO_RACE);
}

/* Leaves holes between the pages, which compaction can move other pages to. */
static void inflate_with_holes(struct __test_metadata *_metadata, int fd,
			       uint64_t pages)
{
	int holes = open_balloon(_metadata, 0);

	while (pages-- && resize(fd, TEST_BALLOON_INFLATE, 1, 0, 0) > 0)
		resize(holes, TEST_BALLOON_INFLATE, 1, 0, 0);
	close(holes);
}

/* Returns whether pages were isolated. */
static bool close_while_isolated(struct __test_metadata *_metadata, bool refuse,
				 uint32_t flags)
{
	int fd = open_balloon(_metadata, flags);
	bool isolated;

	EXPECT_TRUE(inject(fd, refuse ? -ENOENT : 0, 2, 1000));
	inflate_with_holes(_metadata, fd, max_pages / 4);
	isolated = wait_until_isolated(fd, 1);
	close(fd);
	if (!isolated)
		grow();
	return isolated;
}

TEST_F_TIMEOUT(removal, close, 180)
{
	for (int i = 0; i < 10; i++)
		self->races += close_while_isolated(_metadata, i % 2, 0);
}

/* The module does not live to tell its violations. They taint the kernel. */
static bool has_warned(void)
{
	return read_value("/proc/sys/kernel/tainted", "%ld") & 1 << TAINT_WARN;
}

TEST_F_TIMEOUT(removal, unload, 180)
{
	if (has_warned())
		SKIP(return, "a warning has tainted the kernel already");
	if (!unload_module())
		SKIP(return, "the module cannot be unloaded and loaded again");
	for (int i = 0; i < 5; i++) {
		ASSERT_TRUE(load_module());
		self->races += close_while_isolated(_metadata, i % 2,
						    TEST_BALLOON_DETACH);
		ASSERT_TRUE(unload_module());
	}
	ASSERT_TRUE(load_module());
	old_violations = 0;
	EXPECT_FALSE(has_warned()) {
		TH_LOG("see the kernel log");
	}
}

/* This poisons pages. */
FIXTURE(destructive) {};

FIXTURE_SETUP(destructive)
{
	begin(_metadata, 1, TEST_BALLOON_ADJUST_MANAGED);
}

FIXTURE_TEARDOWN(destructive)
{
	finish(_metadata);
}

static bool write_address(const char *path, __u64 address)
{
	char value[64];

	snprintf(value, sizeof(value), "%#llx", address);
	return write_file(path, value);
}

/* A page is replaced, or the balloon shrinks by it. */
TEST_F(destructive, soft_offline)
{
	__u64 pfns[100];
	struct test_balloon_pfns arg = { (uintptr_t)pfns, ARRAY_SIZE(pfns) };
	int n, done = 0, fd = balloons[0];

	if (access(SOFT_OFFLINE, W_OK))
		SKIP(return, "no " SOFT_OFFLINE);
	if (access(UNPOISON, W_OK) && system("modprobe -q hwpoison-inject"))
		SKIP(return, "CONFIG_HWPOISON_INJECT and debugfs are needed");

	inflate(fd, ARRAY_SIZE(pfns));
	n = ioctl(fd, TEST_BALLOON_PFNS, &arg);
	/* kcompactd may have a page. */
	for (int i = 0; i < n && done < 2; i++) {
		EXPECT_TRUE(inject(fd, -ENOENT, done, 0));
		if (!write_address(SOFT_OFFLINE, pfns[i] * getpagesize()))
			continue;
		done++;
		EXPECT_TRUE(write_address(UNPOISON, pfns[i]));
		expect_counters(_metadata, true);
	}
	EXPECT_NE(0ULL, stats(fd).refused);
	EXPECT_NE(0ULL, stats(fd).migrated);
	EXPECT_TRUE(empty(fd));
}

TEST_HARNESS_MAIN
