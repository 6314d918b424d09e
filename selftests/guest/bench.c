// SPDX-License-Identifier: GPL-2.0
/*
 * Measures balloons in instructions with the modules of selftests/bench/, and prints
 * the figures: "ROW/PAGES/BALLOONS HUNDREDTHS", in hundredths of an instruction per page;
 * the same with /median and /max; and /n, the number of batches or operations.
 *
 * Environment:
 *
 *   sizes=PAGES/BALLOONS,...	what is measured, the smallest first
 *   core_sizes=...		the same of the balloon core, if not that
 *   probes=PARAMETER,...	of bench_driver, for the driver that is measured
 *   fakehost=PARAMETER,...	of the module that plays VMware's host
 *   cmmhost=PARAMETER,...	of the module that plays cmm's
 */
#include "modules.h"
#include "../kselftest_harness.h"

#define CORE "/sys/module/bench_core/parameters/run"
#define DRIVER "/sys/module/bench_driver/parameters/"
/* Pages that one message of vmw_balloon names, and so many for cmm. */
#define STEP 512

FIXTURE(bench)
{
	char *sizes;
};

FIXTURE_SETUP(bench)
{
	const char *sizes = getenv("sizes");

	ASSERT_NE(NULL, sizes)
		TH_LOG("sizes= is missing on the kernel command line");
	self->sizes = strdup(sizes);
	ASSERT_NE(NULL, self->sizes);
}

FIXTURE_TEARDOWN(bench)
{
	free(self->sizes);
}

/* Returns how many rows there were. */
static int print_rows(const char *path, const char *prefix)
{
	FILE *file = fopen(path, "r");
	char row[64], size[32];
	long mean, median, max, n;
	int rows = 0;

	if (!file)
		return 0;
	for (; fscanf(file, "%63s %31s %ld %ld %ld %ld",
		      row, size, &mean, &median, &max, &n) == 6; rows++) {
		printf("# figure %s%s/%s %ld\n", prefix, row, size, mean);
		printf("# figure %s%s/%s/median %ld\n", prefix, row, size, median);
		printf("# figure %s%s/%s/max %ld\n", prefix, row, size, max);
		printf("# figure %s%s/%s/n %ld\n", prefix, row, size, n);
	}
	fclose(file);
	fflush(stdout);
	return rows;
}

TEST_F_TIMEOUT(bench, core, NO_LIMIT)
{
	char *sizes = getenv("core_sizes") ?: self->sizes;

	ASSERT_EQ(0, load("/lib/bench_core.ko", NULL));
	for (char *size = strtok(sizes, ","); size; size = strtok(NULL, ",")) {
		ASSERT_EQ(0, write_file(CORE, size))
			TH_LOG("%s cannot be measured", size);
		EXPECT_NE(0, print_rows(CORE, ""));
	}
	EXPECT_EQ(0, vmstat("nr_balloon_pages"));
}

static long largest_size(FIXTURE_DATA(bench) *self)
{
	const char *last = strrchr(self->sizes, ',');

	return strtol(last ? last + 1 : self->sizes, NULL, 0);
}

/* Starts to measure the driver's operations. */
static void start_driver(struct __test_metadata *_metadata, FIXTURE_DATA(bench) *self)
{
	char pages[128] = "";

	for (char *size = strtok(self->sizes, ","); size; size = strtok(NULL, ","))
		snprintf(pages + strlen(pages), sizeof(pages) - strlen(pages), "%s%ld",
			 *pages ? "," : "", strtol(size, NULL, 0));
	ASSERT_EQ(0, load("/lib/bench_driver.ko", getenv("probes")));
	ASSERT_EQ(0, write_file(DRIVER "sizes", pages));
}

/*
 * The host fills the balloon and empties it. Time is no measure for how long that takes,
 * as it leaps ahead whenever the guest waits for its host.
 */
TEST_F_TIMEOUT(bench, virtio, NO_LIMIT)
{
	long largest = largest_size(self);

	start_driver(_metadata, self);
	/* A size that is there for a moment could be missed. */
	while (vmstat("balloon_deflate") < largest)
		sleep(1);
	while (vmstat("nr_balloon_pages"))
		sleep(1);
	EXPECT_NE(0, print_rows(DRIVER "rows", "virtio-"));
}

/* The module host counts the target in units, so many a page. */
static void reach(struct __test_metadata *_metadata, const char *host, const char *target,
		  long pages, long units)
{
	ASSERT_EQ(0, write_parameter(host, target, pages * units));
	while (vmstat("nr_balloon_pages") != pages)
		usleep(100000);
}

/* A module plays the host. The drivers look once a second what it wants. */
static void up_and_down(struct __test_metadata *_metadata, FIXTURE_DATA(bench) *self,
			const char *host, const char *target, long units)
{
	long largest = largest_size(self), size;

	start_driver(_metadata, self);
	for (size = 0; size < largest; size += STEP)
		reach(_metadata, host, target, size, units);
	for (; size; size -= STEP)
		reach(_metadata, host, target, size - STEP, units);
}

TEST_F_TIMEOUT(bench, vmware, NO_LIMIT)
{
	ASSERT_EQ(0, load("/lib/fakehost.ko", getenv("fakehost")));
	ASSERT_EQ(0, load("/lib/vmw_balloon.ko", NULL));
	up_and_down(_metadata, self, "fakehost", "target", 1);
	EXPECT_NE(0, print_rows(DRIVER "rows", "vmware-"));
}

TEST_F_TIMEOUT(bench, cmm, NO_LIMIT)
{
	ASSERT_EQ(0, load("/lib/cmmhost.ko", getenv("cmmhost")));
	ASSERT_EQ(0, load("/lib/cmm.ko", NULL));
	up_and_down(_metadata, self, "cmmhost", "target_kb", sysconf(_SC_PAGESIZE) / 1024);
	EXPECT_NE(0, print_rows(DRIVER "rows", "cmm-"));
}

/* Returns when the balloon has come to so many pages, up or down. */
static double passes(long pages, bool up)
{
	long size;

	do {
		usleep(1000);
		size = read_value("/proc/vmstat", "nr_balloon_pages");
	} while (up ? size < pages : size > pages);
	return now();
}

static void print_speed(const char *what, long pages, double seconds)
{
	double mib = pages * (sysconf(_SC_PAGESIZE) / 1024.0) / 1024;

	printf("# figure speed-%s/%ld/1 %.0f\n", what, pages, mib / seconds * 100);
}

/* With the time in which the host answers, and a clock that tells the time. */
TEST_F_TIMEOUT(bench, speed, 600)
{
	long largest = largest_size(self), low = largest / 10, high = largest - low;
	double begin, end;

	begin = passes(low, true);
	end = passes(high, true);
	print_speed("inflate", high - low, end - begin);
	while (!read_value("/proc/vmstat", "balloon_deflate"))
		usleep(1000);
	begin = passes(high, false);
	end = passes(low, false);
	print_speed("deflate", high - low, end - begin);
	while (vmstat("nr_balloon_pages"))
		usleep(1000);
}

TEST_HARNESS_MAIN
