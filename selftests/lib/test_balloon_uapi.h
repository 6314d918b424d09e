/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The private interface between lib/test_balloon.c and its user,
 * tools/testing/selftests/mm/balloon-tests.c.
 *
 * Every open file of /dev/test_balloon is a balloon of its own. It is emptied
 * when the file is closed, unless it was set up to outlive that.
 */
#ifndef _LIB_TEST_BALLOON_UAPI_H
#define _LIB_TEST_BALLOON_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct test_balloon_setup - what a balloon is like, for an empty one
 * @flags: TEST_BALLOON_ADJUST_MANAGED: balloon pages are no managed pages;
 *	   TEST_BALLOON_DETACH: when the file is closed the pages stay in the
 *	   balloon, until the module is unloaded; EOPNOTSUPP if it cannot be
 * @reserved: zero
 */
struct test_balloon_setup {
	__u32 flags;
	__u32 reserved;
};

#define TEST_BALLOON_ADJUST_MANAGED	0x1
#define TEST_BALLOON_DETACH		0x2

/* What one call moves at most. */
#define TEST_BALLOON_MAX_PAGES		0x1000000
#define TEST_BALLOON_MAX_DELAY_US	100000

/**
 * struct test_balloon_move - pages on their way into the balloon or out of it
 * @pages: (in) how many, (out) how many they were, maybe fewer
 * @flags: TEST_BALLOON_LIST: all at once, not page by page;
 *	   TEST_BALLOON_AGAIN: deflation enqueues the pages again that it
 *	   dequeued, as if the host did not hand them out;
 *	   TEST_BALLOON_SETTLE: deflation waits until nobody else has a reference
 *	   to the pages, which has to happen soon
 * @linger_us: microseconds from a page's deflation to its release
 *
 * A balloon that refuses pages (see &struct test_balloon_inject) deflates by
 * list only.
 */
struct test_balloon_move {
	__u64 pages;
	__u32 flags;
	__u32 linger_us;
};

#define TEST_BALLOON_LIST		0x1
#define TEST_BALLOON_AGAIN		0x2
#define TEST_BALLOON_SETTLE		0x4

/**
 * struct test_balloon_inject - what the host answers when a page migrates
 * @result: 0, or one of -EAGAIN, -EBUSY, -ENOENT
 * @every: every how many calls the answer is @result and not 0; 0 is never
 * @calls: how many times the answer is @result at most; 0 is any number
 * @delay_us: microseconds that an answer takes
 */
struct test_balloon_inject {
	__s32 result;
	__u32 every;
	__u32 calls;
	__u32 delay_us;
};

/**
 * struct test_balloon_stats - what has become of a balloon, in pages or calls
 * @owned: pages that the host has, by the ledger of the test
 * @isolated: pages that are isolated, by the balloon core
 * @migrating: calls of the migratepage callback that are going on
 * @inflated: pages that were inflated
 * @deflated: pages that were deflated, without @refused
 * @migrated: migrations with the answer 0
 * @refused: migrations with the answer -ENOENT
 * @failed: migrations with another answer
 * @met_isolated: deflations that ran while pages of the balloon were isolated
 * @met_deflated: pages that page migration got hold of after their deflation
 *		  and before their release
 * @all_owned: pages that the host has of all balloons
 * @violations: of the protocol, by any balloon since the module was loaded
 * @violation: the first of them, in words
 * @movable: whether balloon pages can migrate (CONFIG_BALLOON_COMPACTION)
 * @reserved: zero
 */
struct test_balloon_stats {
	__u64 owned;
	__u64 isolated;
	__u64 migrating;
	__u64 inflated;
	__u64 deflated;
	__u64 migrated;
	__u64 refused;
	__u64 failed;
	__u64 met_isolated;
	__u64 met_deflated;
	__u64 all_owned;
	__u64 violations;
	char violation[128];
	__u32 movable;
	__u32 reserved;
};

/**
 * struct test_balloon_pfns - which pages the host has
 * @buffer: address of an array of __u64 for page frame numbers
 * @count: (in) its length, (out) how many were filled in
 */
struct test_balloon_pfns {
	__u64 buffer;
	__u64 count;
};

#define TEST_BALLOON_SETUP	_IOW('Y', 0x00, struct test_balloon_setup)
#define TEST_BALLOON_INFLATE	_IOWR('Y', 0x01, struct test_balloon_move)
#define TEST_BALLOON_DEFLATE	_IOWR('Y', 0x02, struct test_balloon_move)
#define TEST_BALLOON_INJECT	_IOW('Y', 0x03, struct test_balloon_inject)
#define TEST_BALLOON_STATS	_IOR('Y', 0x04, struct test_balloon_stats)
#define TEST_BALLOON_PFNS	_IOWR('Y', 0x05, struct test_balloon_pfns)

#endif /* _LIB_TEST_BALLOON_UAPI_H */
