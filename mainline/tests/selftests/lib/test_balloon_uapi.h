/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The private interface between lib/test_balloon.c and its user,
 * tools/testing/selftests/mm/balloon-tests.c.
 *
 * Every open file of /dev/test_balloon is a balloon.
 */
#ifndef _LIB_TEST_BALLOON_UAPI_H
#define _LIB_TEST_BALLOON_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* For TEST_BALLOON_SETUP, while the balloon is empty. */
#define TEST_BALLOON_ADJUST_MANAGED	0x1	/* adjust_managed_page_count */
#define TEST_BALLOON_DETACH		0x2	/* empty it at module unload,
						 * not when the file is closed
						 */

/**
 * struct test_balloon_resize - inflate or deflate a balloon
 * @pages: how many pages at most; fewer may be done at a time
 * @flags: TEST_BALLOON_LIST: all at once, not page by page;
 *	   TEST_BALLOON_REQUEUE: enqueue the deflated pages again
 * @delay_us: how long to keep deflated pages before they are freed, up to
 *	      TEST_BALLOON_MAX_DELAY_US
 */
struct test_balloon_resize {
	__u32 pages;
	__u32 flags;
	__u32 delay_us;
};

#define TEST_BALLOON_LIST		0x1
#define TEST_BALLOON_REQUEUE		0x2
#define TEST_BALLOON_MAX_DELAY_US	100000

/**
 * struct test_balloon_inject - what the migratepage callback does
 * @error: 0, -EAGAIN, -EBUSY or -ENOENT
 * @every: return @error in every n-th call; 0: never
 * @delay_us: how long each call takes, up to TEST_BALLOON_MAX_DELAY_US
 */
struct test_balloon_inject {
	__s32 error;
	__u32 every;
	__u32 delay_us;
};

/**
 * struct test_balloon_stats - what happened to a balloon
 * @owned: pages that the host has
 * @isolated: isolated_pages of the balloon core
 * @inflated: pages that were inflated
 * @deflated: pages that were deflated, other than @refused
 * @migrated: pages that were migrated
 * @refused: migrations that the callback ended with -ENOENT
 * @failed: migrations that the callback ended with another error
 * @deflate_races: deflations that ran while pages were isolated
 * @isolate_races: how often page migration was seen with a deflated page
 * @violations: rules that were broken since the module was loaded, by any
 *		balloon; see the kernel log
 */
struct test_balloon_stats {
	__u64 owned;
	__u64 isolated;
	__u64 inflated;
	__u64 deflated;
	__u64 migrated;
	__u64 refused;
	__u64 failed;
	__u64 deflate_races;
	__u64 isolate_races;
	__u64 violations;
};

/**
 * struct test_balloon_pfns - which pages the host has
 * @buffer: address of an array of __u64, for page frame numbers
 * @count: length of the array
 */
struct test_balloon_pfns {
	__u64 buffer;
	__u64 count;
};

/* INFLATE, DEFLATE and PFNS return the number of pages. */
#define TEST_BALLOON_SETUP	_IOW('Y', 0x00, __u32)
#define TEST_BALLOON_INFLATE	_IOW('Y', 0x01, struct test_balloon_resize)
#define TEST_BALLOON_DEFLATE	_IOW('Y', 0x02, struct test_balloon_resize)
#define TEST_BALLOON_INJECT	_IOW('Y', 0x03, struct test_balloon_inject)
#define TEST_BALLOON_STATS	_IOR('Y', 0x04, struct test_balloon_stats)
#define TEST_BALLOON_PFNS	_IOW('Y', 0x05, struct test_balloon_pfns)

#endif /* _LIB_TEST_BALLOON_UAPI_H */
