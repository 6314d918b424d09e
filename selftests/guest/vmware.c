// SPDX-License-Identifier: GPL-2.0
/*
 * The VMware balloon and a host of our own, selftests/fakehost/: the host moves the
 * balloon's target, refuses pages and resets, while the workloads beside this test
 * make the balloon's pages migrate. At the end the host, the driver and the kernel
 * have to agree on what happened.
 *
 * Environment:
 *
 *   fakehost=NAME=VALUE,...	parameters of the host
 *   driver=NAME=VALUE		one of the driver
 *   seconds=N			longest time of a churn, 60 by default
 *   migrations=N, refusals=N	what has to happen in that time
 *   holds=N			how often the host has to hold a driver that goes
 */
#include "../kselftest_harness.h"

#include <glob.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "modules.h"

/* Sizes of the balloon in frames, and those of a page that is not of one. */
#define LOW	(32UL << 8)
#define HIGH	(256UL << 8)
#define HUGE	512
/* Of a balloon that leaves not much, and of what it has to give back of that. */
#define FULL	(640UL << 8)
#define SHRUNK	(100UL << 8)
/* So many moves of the target, and loads of the driver, are enough. */
#define MOVES	20
#define LOADS	15
#define RESETS	5
#define ROUNDS	3
/* Seconds after which what the driver should do is overdue. */
#define OVERDUE	40

static long host(const char *name)
{
	return read_parameter("fakehost", name);
}

static int set_host(const char *name, long value)
{
	return write_parameter("fakehost", name, value);
}

/* What the driver says in debugfs, in a line of that format. */
static long driver_says(const char *format)
{
	FILE *file = fopen("/sys/kernel/debug/vmmemctl", "r");
	long value = -1;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, format, &value);
	if (file)
		fclose(file);
	return value;
}

static long driver_size(void)
{
	return driver_says("current : %ld");
}

static long mem_total(void)
{
	return read_value("/proc/meminfo", "MemTotal:");
}

static long refusals(void)
{
	return host("refused_new") + host("refused_old") + host("refused_lock") +
	       host("refused_unlock") + host("refused_huge_lock") +
	       host("refused_huge_unlock");
}

FIXTURE(vmware)
{
	long inflate, deflate, migrate, mem_total;
};

FIXTURE_SETUP(vmware)
{
	ASSERT_EQ(0, load("/lib/fakehost.ko", getenv("fakehost")));
	ASSERT_EQ(0, load("/lib/vmw_balloon.ko", getenv("driver")));
	ASSERT_EQ(0, vmstat("nr_balloon_pages"));
	/* From the first look on, the driver keeps statistics. */
	ASSERT_EQ(0, driver_size());
	self->mem_total = mem_total();
	self->inflate = vmstat("balloon_inflate");
	self->deflate = vmstat("balloon_deflate");
	self->migrate = vmstat("balloon_migrate");
	srandom(1);
}

FIXTURE_TEARDOWN(vmware)
{
	static const char *const figures[] = {
		"migrated", "locks", "unlocks", "huge_locks", "huge_unlocks",
		"refused_new", "refused_old", "refused_lock", "refused_unlock",
		"refused_huge_lock", "refused_huge_unlock", "kept", "dropped", "lost",
		"starts", "resets", "holds",
	};

	printf("# figure refused %ld\n", refusals());
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
		printf("# figure %s %ld\n", figures[i], host(figures[i]));
	EXPECT_EQ(0, unload("fakehost"));
}

/* The host has nothing to complain about; for this it looks into its pages. */
static void check_host(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, set_host("check", 1));
	EXPECT_EQ(0, host("bad_lock"));
	EXPECT_EQ(0, host("bad_unlock"));
	EXPECT_EQ(0, host("bad_pfn"));
	EXPECT_EQ(0, host("bad_content"));
	EXPECT_EQ(0, host("bad_command"));
	EXPECT_EQ(0, host("bad_time"));
	EXPECT_EQ(0, host("bad_exit"));
	EXPECT_EQ(0, host("bad_doorbell"));
}

/*
 * The host, the driver and the kernel agree on the size of the balloon, as soon as
 * nothing changes it while they are asked one after the other.
 */
static void check_size(struct __test_metadata *_metadata, FIXTURE_DATA(vmware) *self)
{
	double end = now() + OVERDUE;
	long locked, small, size, counted;
	bool agreed;

	do {
		locked = host("locked");
		small = locked - host("locked_huge");
		size = driver_size();
		counted = vmstat("nr_balloon_pages");
		agreed = locked == size && small == counted;
	} while ((!agreed || host("locked") != locked) && now() < end);
	EXPECT_EQ(locked, size);
	EXPECT_EQ(small, counted);
	EXPECT_EQ(self->mem_total, mem_total());
}

/* The balloon is gone, and the kernel has counted what the host has. */
static void check_empty(struct __test_metadata *_metadata,
			FIXTURE_DATA(vmware) *self)
{
	check_host(_metadata);
	EXPECT_EQ(0, host("locked"));
	EXPECT_EQ(0, vmstat("nr_balloon_pages"));
	EXPECT_EQ(host("migrated"), vmstat("balloon_migrate") - self->migrate);
	/* Pages that the host keeps left the balloon and entered it again. */
	EXPECT_EQ(host("locks") + host("huge_locks") * HUGE + host("kept"),
		  vmstat("balloon_inflate") - self->inflate);
	EXPECT_EQ(host("unlocks") + host("huge_unlocks") * HUGE + host("kept") +
		  host("dropped") + host("lost"),
		  vmstat("balloon_deflate") - self->deflate);
	EXPECT_EQ(vmstat("balloon_inflate") - self->inflate,
		  vmstat("balloon_deflate") - self->deflate);
}

/* Moves the target, and goes with the balloon for a part of the way, in percent. */
static void move(long target, long part)
{
	long begin = host("locked"), way = labs(target - begin) * part / 100;
	double end = now() + 3;

	set_host("target", target);
	/* The driver does not move for less than a huge page. */
	while (labs(host("locked") - begin) + HUGE < way && now() < end)
		usleep(1000);
}

static long any_target(void)
{
	return random() % 8 ? LOW + random() % (HIGH - LOW) : 0;
}

static void stop_refusing(struct __test_metadata *_metadata)
{
	static const char *const knobs[] = {
		"refuse_new", "refuse_old", "refuse_lock", "refuse_unlock",
		"refuse_huge_lock", "refuse_huge_unlock", "reset", "reset_in",
	};

	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++)
		ASSERT_EQ(0, set_host(knobs[i], 0));
}

static void empty(struct __test_metadata *_metadata, FIXTURE_DATA(vmware) *self)
{
	double end = now() + OVERDUE;

	stop_refusing(_metadata);
	ASSERT_EQ(0, set_host("target", 0));
	while ((host("locked") || driver_size()) && now() < end)
		usleep(1000);
	EXPECT_EQ(0, host("locked"));
	EXPECT_EQ(0, driver_size());
	/* What the driver freed, at the host's will or when it was forgotten. */
	EXPECT_EQ(host("unlocks") + host("huge_unlocks") * HUGE + host("dropped"),
		  driver_says("free (4k): %ld") + driver_says("free (2M): %ld") * HUGE);
	ASSERT_EQ(0, unload("vmw_balloon"));
	check_empty(_metadata, self);
}

/* The host forgets the balloon, between operations or in the middle of one. */
static void force_reset(void)
{
	if (random() % 2)
		set_host("reset", 1);
	else
		set_host("reset_in", 1 + random() % 100);
}

static bool enough(void)
{
	return host("migrated") >= parameter_or("migrations", 1) &&
	       refusals() >= parameter_or("refusals", 0) &&
	       host("holds") >= parameter_or("holds", 0);
}

static bool go_on(struct __test_metadata *_metadata, double begin)
{
	/* Once something is wrong it does not get better, just longer to read. */
	return __test_passed(_metadata) && now() - begin < parameter_or("seconds", 60);
}

static void churn(struct __test_metadata *_metadata, FIXTURE_DATA(vmware) *self,
		  bool resets)
{
	/* Single pages, batches of them, and huge ones as well. */
	static const long caps[] = { 2, 6, 14 };
	double begin = now();

	for (int i = 0; go_on(_metadata, begin) && (i < MOVES || !enough()); i++) {
		if (resets && i % 3 == 2) {
			set_host("caps", caps[random() % ARRAY_SIZE(caps)]);
			force_reset();
		}
		move(any_target(), random() % 2 ? 100 : random() % 90);
		check_host(_metadata);
		if (i % 4 == 3)
			check_size(_metadata, self);
	}
	EXPECT_TRUE(enough());
	EXPECT_GE(host("resets"), resets);
}

TEST_F_TIMEOUT(vmware, churn, NO_LIMIT)
{
	churn(_metadata, self, false);
	empty(_metadata, self);
}

TEST_F_TIMEOUT(vmware, reset, NO_LIMIT)
{
	churn(_metadata, self, true);
	empty(_metadata, self);
	EXPECT_EQ(0, host("leaked"));
}

/* Huge pages, which do not migrate, and small ones: those that refused ones become. */
TEST_F_TIMEOUT(vmware, huge, NO_LIMIT)
{
	churn(_metadata, self, false);
	EXPECT_LT(0, host("huge_locks"));
	EXPECT_LT(0, host("huge_unlocks"));
	EXPECT_LT(0, host("locks"));
	EXPECT_LT(0, host("refused_huge_lock"));
	EXPECT_LT(0, host("refused_huge_unlock"));
	empty(_metadata, self);
}

/* The driver goes, whatever it is about to do, or when it is idle, and comes back. */
static void unload_again_and_again(struct __test_metadata *_metadata,
				   FIXTURE_DATA(vmware) *self, bool idle)
{
	double begin = now();
	int loads = 0;

	while (go_on(_metadata, begin) && (loads < LOADS || !enough())) {
		/* The first one was loaded with its host. */
		if (loads++)
			ASSERT_EQ(0, load("/lib/vmw_balloon.ko", ""));
		for (int moves = random() % 3; moves > 0; moves--)
			move(any_target(), idle ? 100 : random() % 90);
		if (!idle && !(random() % 4))
			force_reset();
		/* While its statistics are read, it stays, and an inflation may have to end. */
		ASSERT_EQ(0, unload_when_unused("vmw_balloon", NULL));
		check_empty(_metadata, self);
	}
	printf("# figure loads %d\n", loads);
	EXPECT_TRUE(enough());
	EXPECT_EQ(0, host("leaked"));
}

TEST_F_TIMEOUT(vmware, unload, NO_LIMIT)
{
	unload_again_and_again(_metadata, self, false);
}

/* As before, where nothing but migration needs the driver when it goes. */
TEST_F_TIMEOUT(vmware, unload_idle, NO_LIMIT)
{
	unload_again_and_again(_metadata, self, true);
}

/* As before, where the balloon holds huge pages when the driver goes. */
TEST_F_TIMEOUT(vmware, unload_huge, NO_LIMIT)
{
	unload_again_and_again(_metadata, self, false);
	EXPECT_LT(0, host("huge_locks"));
}

static void read_statistics(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		driver_size();
		/* The driver can go meanwhile, which it cannot while its file is read. */
		usleep(10000);
	}
}

/* If the kernel was told to poison what is freed, it looks whether anybody wrote there. */
static void check_freed(struct __test_metadata *_metadata)
{
	glob_t files;

	ASSERT_EQ(0, glob("/sys/kernel/slab/kmalloc-*/validate", 0, NULL, &files));
	for (size_t i = 0; i < files.gl_pathc; i++)
		EXPECT_EQ(0, write_file(files.gl_pathv[i], "1"));
	globfree(&files);
}

/* As before, while somebody reads the driver's statistics, so that it keeps some. */
TEST_F_TIMEOUT(vmware, unload_statistics, NO_LIMIT)
{
	pid_t reader = fork();

	ASSERT_LE(0, reader);
	if (!reader)
		read_statistics();
	unload_again_and_again(_metadata, self, true);
	check_freed(_metadata);
	ASSERT_EQ(0, kill(reader, SIGKILL));
	ASSERT_EQ(reader, waitpid(reader, NULL, 0));
}

/* The driver goes in the middle of a reset, between one doorbell and the next. */
TEST_F_TIMEOUT(vmware, unload_doorbell, NO_LIMIT)
{
	double begin = now();
	int loads = 0;

	ASSERT_EQ(0, set_host("target", LOW));
	while (go_on(_metadata, begin) && (loads < RESETS || !enough())) {
		double end = now() + OVERDUE;

		if (loads++)
			ASSERT_EQ(0, load("/lib/vmw_balloon.ko", ""));
		while (host("doorbell") != 1 && now() < end)
			usleep(1000);
		ASSERT_EQ(1, host("doorbell"));
		ASSERT_EQ(0, set_host("reset", 1));
		while (host("resetting") != 1 && now() < end)
			usleep(1000);
		ASSERT_EQ(1, host("resetting"));
		ASSERT_EQ(0, unload("vmw_balloon"));
		check_empty(_metadata, self);
	}
	EXPECT_TRUE(enough());
}

static void eat(void)
{
	const size_t chunk = 1 << 20;

	write_file("/proc/self/oom_score_adj", "1000");
	for (;;) {
		char *memory = mmap(NULL, chunk, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			_exit(1);
		memset(memory, 1, chunk);
	}
}

/* Makes memory scarce until the balloon has given some back, the last of it after *given. */
static void shrink(struct __test_metadata *_metadata, double *given)
{
	long shrunk = driver_says("shrinkFree : %ld");
	siginfo_t ended = { };
	pid_t eater = fork();
	int status;

	ASSERT_LE(0, eater);
	if (!eater)
		eat();
	/*
	 * The eater is slow while its pages migrate, so there is no time limit. If the
	 * balloon gives nothing back, the OOM killer ends it.
	 */
	*given = now();
	while (driver_says("shrinkFree : %ld") - shrunk < (long)SHRUNK && !ended.si_pid) {
		*given = now();
		usleep(1000);
		ASSERT_EQ(0, waitid(P_PID, eater, &ended, WEXITED | WNOHANG | WNOWAIT));
	}
	ASSERT_EQ(0, kill(eater, SIGKILL));
	ASSERT_EQ(eater, waitpid(eater, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		TH_LOG("who takes memory ended with status %#x", status);
	EXPECT_LE((long)SHRUNK, driver_says("shrinkFree : %ld") - shrunk);
}

TEST_F_TIMEOUT(vmware, shrinker, NO_LIMIT)
{
	double begin = now();
	long meanwhile = 0;

	for (int i = 0; go_on(_metadata, begin) && (i < ROUNDS || !enough()); i++) {
		double given, since;
		long locks, taken;

		move(FULL, 100);
		meanwhile -= host("migrated");
		shrink(_metadata, &given);
		meanwhile += host("migrated");
		/* The driver waits for 5 s before it takes back what it gave. */
		locks = host("locks");
		do {
			usleep(100000);
			taken = host("locks") - locks;
			since = now() - given;
		} while (!taken && since < 4);
		EXPECT_LE(4, (long)since)
			TH_LOG("takes back %ld pages after %.1f s", taken, since);
		check_size(_metadata, self);
		check_host(_metadata);
	}
	EXPECT_TRUE(enough());
	printf("# figure shrinks %ld\n", driver_says("shrink : %ld"));
	printf("# figure shrunk %ld\n", driver_says("shrinkFree : %ld"));
	printf("# figure migrated_under_pressure %ld\n", meanwhile);
	empty(_metadata, self);
}

TEST_HARNESS_MAIN
