// SPDX-License-Identifier: GPL-2.0
/*
 * pSeries' collaborative memory manager without its hypervisor: cmm.simulate=1 on
 * the kernel command line lets the target come from a file. The command line also
 * has to make it poll often.
 */
#include <signal.h>
#include <sys/wait.h>

#include "files.h"
#include "../kselftest_harness.h"

#define DEVICE "/sys/devices/system/cmm/cmm0/"
#define DISABLE "/sys/module/cmm/parameters/disable"
/* As much as stays within what cmm.min_mem_mb leaves of 1 GB. */
#define FULL_KB (512 << 10)
/* Seconds without any change after which a balloon will not change any more. */
#define PATIENCE 15

static int set_target(long kb)
{
	return write_number(DEVICE "simulate_loan_target_kb", kb);
}

static long loaned(void)
{
	return read_number(DEVICE "loaned_kb");
}

/* Waits until the balloon has its size. Returns the size that it has. */
static long settle(long kb)
{
	double changed = now();
	long last = -1, size;

	while ((size = loaned()) != kb && now() - changed < PATIENCE) {
		if (size != last)
			changed = now();
		last = size;
		usleep(20000);
	}
	return size;
}

FIXTURE(cmm)
{
	long inflated, migrated;
	double start;
};

FIXTURE_SETUP(cmm)
{
	ASSERT_EQ(0, access(DEVICE "simulate_loan_target_kb", W_OK))
		TH_LOG("there is no CMM in simulation mode");
	/* What an OOM took is not loaned again until somebody allows it. */
	ASSERT_EQ(0, write_file(DEVICE "oom_freed_kb", "0"));
	self->inflated = vmstat("balloon_inflate");
	self->migrated = read_value("/proc/vmstat", "balloon_migrate");
	self->start = now();
}

FIXTURE_TEARDOWN(cmm)
{
	TH_LOG("%ld pages inflated, %ld migrated in %.1f s",
	       vmstat("balloon_inflate") - self->inflated,
	       vmstat("balloon_migrate") - self->migrated, now() - self->start);
}

/* For what comes after it and needs pages in the balloon. */
TEST_F_TIMEOUT(cmm, fill, 120)
{
	ASSERT_EQ(0, set_target(FULL_KB));
	ASSERT_EQ(FULL_KB, settle(FULL_KB));
}

/* The target moves, and mostly does not wait until it is reached. */
TEST_F_TIMEOUT(cmm, churn, 300)
{
	const long migrations = parameter_or("migrations", 0);
	const long seconds = parameter_or("seconds", 90);
	long turn = 0, migrated = 0, seen = 0;

	while ((turn < 40 || migrated < migrations) && now() - self->start < seconds) {
		ASSERT_EQ(0, set_target(random() % (FULL_KB + 1)));
		usleep(random() % 300000);
		if (++turn % 10)
			continue;
		seen += loaned();
		ASSERT_EQ(0, set_target(0));
		ASSERT_EQ(0, settle(0));
		/* Unless it counts another balloon, which the host moves. */
		if (!getenv("host"))
			ASSERT_EQ(0, vmstat("nr_balloon_pages"));
		migrated = vmstat("balloon_migrate") - self->migrated;
		TH_LOG("%ld turns, %ld pages migrated", turn, migrated);
	}
	EXPECT_GE(turn, 40);
	printf("# figure loaned_kb %ld\n", seen);
	ASSERT_EQ(0, set_target(0));
	ASSERT_EQ(0, settle(0));
}

/* Whoever disables the balloon gets all of it back, even what is being migrated. */
TEST_F_TIMEOUT(cmm, disable, 300)
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
	ASSERT_EQ(0, settle(0));
}

TEST_HARNESS_MAIN
