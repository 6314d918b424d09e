// SPDX-License-Identifier: GPL-2.0
/*
 * Memory is to go away, and a notifier refuses that before others hear of it. These
 * only hear that it is called off. The kernel command line has to give the notifier,
 * memory_notifier_error_inject, a high priority.
 */
#include <glob.h>

#include "files.h"
#include "../kselftest_harness.h"

#define ERROR "/sys/kernel/debug/notifier-error-inject/memory/actions/MEM_GOING_OFFLINE/error"
#define ROUNDS 5

TEST(offline_is_refused)
{
	char path[128];
	glob_t blocks;
	long refused = 0;
	int ret;

	ASSERT_EQ(0, glob("/sys/devices/system/memory/memory[0-9]*", 0, NULL, &blocks));
	ASSERT_EQ(0, write_number(ERROR, -EPERM));
	for (int round = 0; round < ROUNDS; round++) {
		/* The kernel itself is in the first one. */
		for (size_t i = 1; i < blocks.gl_pathc; i++) {
			snprintf(path, sizeof(path), "%s/state", blocks.gl_pathv[i]);
			ret = write_file(path, "offline");
			ASSERT_NE(0, ret);
			/* Some cannot go away anyway, which is found out earlier. */
			refused += ret == -EPERM;
		}
		usleep(200000);
	}
	ASSERT_EQ(0, write_number(ERROR, 0));
	globfree(&blocks);
	printf("# figure offline_refused %ld\n", refused);
}

TEST_HARNESS_MAIN
