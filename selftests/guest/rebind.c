// SPDX-License-Identifier: GPL-2.0
/*
 * The virtio balloon loses its driver, with whatever is in the balloon or on its
 * way to another place, and gets it back.
 */
#include <glob.h>

#include "files.h"
#include "../kselftest_harness.h"

#define DRIVER "/sys/bus/virtio/drivers/virtio_balloon/"
#define ROUNDS 20

FIXTURE(driver)
{
	glob_t devices;
};

FIXTURE_SETUP(driver)
{
	ASSERT_EQ(0, glob(DRIVER "virtio*", 0, NULL, &self->devices))
		TH_LOG("there is no virtio balloon");
}

FIXTURE_TEARDOWN(driver)
{
	globfree(&self->devices);
}

TEST_F_TIMEOUT(driver, comes_and_goes, NO_LIMIT)
{
	const char *device = strrchr(self->devices.gl_pathv[0], '/') + 1;
	long pages = 0;

	for (int i = 0; i < ROUNDS; i++) {
		usleep(200000 + random() % 800000);
		pages += vmstat("nr_balloon_pages");
		ASSERT_EQ(0, write_file(DRIVER "unbind", device));
		EXPECT_EQ(0, vmstat("nr_balloon_pages"));
		ASSERT_EQ(0, write_file(DRIVER "bind", device));
		TH_LOG("%d times, %ld pages were in the balloon", i + 1, pages);
	}
	printf("# figure pages_at_unbind %ld\n", pages);
}

TEST_HARNESS_MAIN
