// SPDX-License-Identifier: GPL-2.0
/*
 * The machine is suspended as far as its devices, and resumed, with whatever is in
 * the balloon or on its way to another place.
 */
#include "files.h"
#include "../kselftest_harness.h"

#define PM "/sys/power/"
#define ROUNDS 12

FIXTURE(machine)
{
	long suspended;
};

FIXTURE_SETUP(machine)
{
	ASSERT_EQ(0, write_file(PM "pm_test", "devices"));
	ASSERT_EQ(0, write_file("/sys/module/suspend/parameters/pm_test_delay", "0"));
	self->suspended = read_number(PM "suspend_stats/success");
}

FIXTURE_TEARDOWN(machine)
{
}

TEST_F_TIMEOUT(machine, suspends_and_resumes, NO_LIMIT)
{
	long pages = 0;

	for (int i = 0; i < ROUNDS; i++) {
		usleep(500000 + random() % 1000000);
		pages += vmstat("nr_balloon_pages");
		ASSERT_EQ(0, write_file(PM "state", "freeze"));
		TH_LOG("%d times, %ld pages were in the balloon", i + 1, pages);
	}
	EXPECT_EQ(ROUNDS, read_number(PM "suspend_stats/success") - self->suspended);
	printf("# figure pages_at_suspend %ld\n", pages);
}

TEST_HARNESS_MAIN
