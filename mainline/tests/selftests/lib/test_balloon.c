// SPDX-License-Identifier: GPL-2.0
/*
 * Balloons without a hypervisor, to test the balloon core. Userspace inflates
 * and deflates them through /dev/test_balloon, and injects errors and delays
 * into the migration of their pages. See test_balloon_uapi.h for the interface.
 *
 * The ledger has the pages that a host would own. It does not rely on the
 * balloon core: a page that the core loses, or hands out twice, or hands out in
 * the middle of migration, does not match the ledger. This is a violation.
 */
#include <linux/balloon.h>
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "test_balloon_uapi.h"

/* Per call, as the core has a spinlock for the whole list. */
#define MAX_PAGES	4096U
/* Migration lets go of a page much earlier. */
#define DRAIN_TIMEOUT	(10 * HZ)

struct test_balloon {
	struct balloon_dev_info dev_info;
	/* Held for writing to change what may only change while it is empty. */
	struct rw_semaphore setup;
	bool detach;
	struct list_head detached;
	bool timed_out;

	/* See struct test_balloon_inject. */
	int error;
	u32 every;
	u32 delay_us;
	atomic_t calls;

	/* See struct test_balloon_stats. */
	atomic_long_t owned;
	atomic_long_t inflated;
	atomic_long_t deflated;
	atomic_long_t migrated;
	atomic_long_t refused;
	atomic_long_t failed;
	atomic_long_t deflate_races;
	atomic_long_t isolate_races;
};

/* The balloon of each page. The mark: the migratepage callback has the page. */
static DEFINE_XARRAY(ledger);
#define MIGRATING	XA_MARK_0

static DEFINE_MUTEX(detached_lock);
static LIST_HEAD(detached_balloons);

static atomic_long_t violations;

#define violation(fmt, ...)						\
do {									\
	atomic_long_inc(&violations);					\
	WARN_ONCE(1, "test_balloon: violation: " fmt, ##__VA_ARGS__);	\
} while (0)

static struct page *pop_page(struct list_head *pages)
{
	struct page *page = list_first_entry_or_null(pages, struct page, lru);

	if (page)
		list_del(&page->lru);
	return page;
}

static int ledger_add(struct test_balloon *balloon, struct page *page,
		      gfp_t gfp)
{
	int ret = xa_insert(&ledger, page_to_pfn(page), balloon, gfp);

	if (!ret)
		atomic_long_inc(&balloon->owned);
	else if (ret == -EBUSY)
		violation("page %lx enters a balloon while it is in one\n",
			  page_to_pfn(page));
	return ret;
}

static bool ledger_remove(struct test_balloon *balloon, struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	struct test_balloon *owner;
	bool migrating;

	xa_lock(&ledger);
	owner = xa_load(&ledger, pfn);
	migrating = xa_get_mark(&ledger, pfn, MIGRATING);
	if (owner == balloon)
		__xa_erase(&ledger, pfn);
	xa_unlock(&ledger);

	if (owner == balloon)
		atomic_long_dec(&balloon->owned);
	if (owner != balloon || migrating)
		violation("page %lx leaves the balloon, but %s\n", pfn,
			  migrating ? "migrates" : "is not in it");
	return owner == balloon;
}

static bool ledger_migrate(struct test_balloon *balloon, struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	bool idle;

	xa_lock(&ledger);
	idle = xa_load(&ledger, pfn) == balloon &&
	       !xa_get_mark(&ledger, pfn, MIGRATING);
	if (idle)
		__xa_set_mark(&ledger, pfn, MIGRATING);
	xa_unlock(&ledger);

	if (!idle)
		violation("page %lx migrates twice or is in no balloon\n", pfn);
	return idle;
}

static int test_balloon_migratepage(struct balloon_dev_info *dev_info,
				    struct page *newpage, struct page *page,
				    enum migrate_mode mode)
{
	struct test_balloon *balloon =
		container_of(dev_info, struct test_balloon, dev_info);
	u32 every = READ_ONCE(balloon->every);
	int ret = 0;

	if (!PageLocked(page) || !PageLocked(newpage))
		violation("page %lx or %lx is not locked in migration\n",
			  page_to_pfn(page), page_to_pfn(newpage));
	if (page_private(newpage) || PageOffline(newpage))
		violation("page %lx is inflated before the callback\n",
			  page_to_pfn(newpage));
	if (!ledger_migrate(balloon, page))
		return -EBUSY;

	fsleep(READ_ONCE(balloon->delay_us));
	if (every && (u32)atomic_inc_return(&balloon->calls) % every == 0)
		ret = READ_ONCE(balloon->error);
	/* Reclaim may wait for this migration. */
	if (!ret && ledger_add(balloon, newpage, GFP_NOWAIT | __GFP_NOWARN))
		ret = -EAGAIN;

	xa_clear_mark(&ledger, page_to_pfn(page), MIGRATING);
	if (ret && ret != -ENOENT) {
		atomic_long_inc(&balloon->failed);
		return ret;
	}
	ledger_remove(balloon, page);
	atomic_long_inc(ret ? &balloon->refused : &balloon->migrated);
	return ret;
}

/* The ledger has the pages already, because they may migrate at once. */
static void enqueue(struct test_balloon *balloon, struct list_head *pages,
		    size_t n, u32 flags)
{
	struct page *page;

	atomic_long_add(n, &balloon->inflated);
	if (!(flags & TEST_BALLOON_LIST)) {
		while ((page = pop_page(pages)))
			balloon_page_enqueue(&balloon->dev_info, page);
	} else if (balloon_page_list_enqueue(&balloon->dev_info, pages) != n) {
		violation("not all of %zu pages were enqueued\n", n);
	}
}

static size_t inflate(struct test_balloon *balloon, size_t n, u32 flags)
{
	LIST_HEAD(pages);
	struct page *page;
	size_t n_done;

	for (n_done = 0; n_done < n && !signal_pending(current); n_done++) {
		page = balloon_page_alloc();
		if (!page)
			break;
		if (ledger_add(balloon, page, GFP_KERNEL)) {
			put_page(page);
			break;
		}
		list_add(&page->lru, &pages);
		cond_resched();
	}
	enqueue(balloon, &pages, n_done, flags);
	return n_done;
}

static unsigned long isolated_pages(struct test_balloon *balloon)
{
	/* The core's lock is private, so this may be out of date. */
	return data_race(balloon->dev_info.isolated_pages);
}

static size_t dequeue(struct test_balloon *balloon, struct list_head *pages,
		      size_t n, u32 flags)
{
	size_t n_done = 0;

	if (flags & TEST_BALLOON_LIST)
		return balloon_page_list_dequeue(&balloon->dev_info, pages, n);

	/* What balloon_page_dequeue() does, also if the balloon is empty. */
	while (n_done < n && !signal_pending(current) &&
	       balloon_page_list_dequeue(&balloon->dev_info, pages, 1))
		n_done++;
	return n_done;
}

/*
 * Keeps deflated pages for a while. Page migration has a reference to a page
 * while it finds out that the page cannot be isolated.
 */
static void count_isolate_races(struct test_balloon *balloon,
				struct list_head *pages, u32 delay_us)
{
	ktime_t end = ktime_add_us(ktime_get(), delay_us);
	struct page *page;

	do {
		list_for_each_entry(page, pages, lru)
			if (page_count(page) > 1)
				atomic_long_inc(&balloon->isolate_races);
		cond_resched();
	} while (ktime_before(ktime_get(), end));
}

/* Page migration drops its references to a deflated page soon. */
static void wait_for_references(struct test_balloon *balloon, struct page *page)
{
	unsigned long end = jiffies + DRAIN_TIMEOUT;

	while (page_count(page) != 1 || PageLocked(page)) {
		if (balloon->timed_out)
			return;
		if (time_after(jiffies, end)) {
			violation("page %lx keeps %d references, locked: %d\n",
				  page_to_pfn(page), page_count(page),
				  PageLocked(page));
			balloon->timed_out = true;
		}
		usleep_range(50, 100);
	}
}

/* Returns how many of the balloon's pages were deflated. */
static size_t deflate(struct test_balloon *balloon, size_t n, u32 flags,
		      u32 delay_us, bool draining)
{
	size_t n_done, n_owned = 0, n_requeue = 0;
	struct page *page, *next;
	LIST_HEAD(requeue);
	LIST_HEAD(pages);

	if (isolated_pages(balloon))
		atomic_long_inc(&balloon->deflate_races);
	n_done = dequeue(balloon, &pages, n, flags);
	atomic_long_add(n_done, &balloon->deflated);
	if (list_count_nodes(&pages) != n_done)
		violation("not all of %zu dequeued pages are there\n", n_done);
	list_for_each_entry(page, &pages, lru)
		n_owned += ledger_remove(balloon, page);
	count_isolate_races(balloon, &pages, delay_us);

	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		if (page_private(page) || !PageOffline(page))
			violation("page %lx does not look deflated\n",
				  page_to_pfn(page));
		if (draining)
			wait_for_references(balloon, page);
		if (flags & TEST_BALLOON_REQUEUE &&
		    !ledger_add(balloon, page, GFP_KERNEL)) {
			list_add(&page->lru, &requeue);
			n_requeue++;
		} else {
			put_page(page);
		}
	}
	enqueue(balloon, &requeue, n_requeue, flags);
	return n_owned;
}

/*
 * Empties a balloon as a driver does, except that a driver does not give up.
 * A balloon that is not empty stays: page migration may still use it.
 */
static bool destroy_balloon(struct test_balloon *balloon)
{
	unsigned long owned, isolated, end = jiffies + DRAIN_TIMEOUT;

	WRITE_ONCE(balloon->every, 0);
	WRITE_ONCE(balloon->delay_us, 0);
	do {
		if (deflate(balloon, MAX_PAGES, TEST_BALLOON_LIST, 0, true))
			end = jiffies + DRAIN_TIMEOUT;
		else
			schedule_timeout_uninterruptible(1);
		/* A page that was refused leaves the ledger while it is isolated. */
		owned = atomic_long_read_acquire(&balloon->owned);
		isolated = isolated_pages(balloon);
	} while ((owned || isolated) && time_before(jiffies, end));
	if (owned || isolated) {
		violation("%lu pages stay in the balloon, %lu are isolated\n",
			  owned, isolated);
		return false;
	}
	/* Page migration may still have the core's lock. */
	deflate(balloon, 0, TEST_BALLOON_LIST, 0, true);
	kfree(balloon);
	return true;
}

static int test_balloon_open(struct inode *inode, struct file *file)
{
	struct test_balloon *balloon = kzalloc_obj(*balloon);

	if (!balloon)
		return -ENOMEM;
	balloon_devinfo_init(&balloon->dev_info);
	balloon->dev_info.migratepage = test_balloon_migratepage;
	init_rwsem(&balloon->setup);
	file->private_data = balloon;
	return nonseekable_open(inode, file);
}

static int test_balloon_release(struct inode *inode, struct file *file)
{
	struct test_balloon *balloon = file->private_data;

	if (balloon->detach) {
		mutex_lock(&detached_lock);
		list_add(&balloon->detached, &detached_balloons);
		mutex_unlock(&detached_lock);
	} else if (!destroy_balloon(balloon)) {
		/* The callback may still be called. */
		__module_get(THIS_MODULE);
	}
	return 0;
}

static long setup_balloon(struct test_balloon *balloon, u32 __user *user)
{
	long ret = -EBUSY;
	u32 flags;

	if (get_user(flags, user))
		return -EFAULT;
	if (flags & ~(TEST_BALLOON_ADJUST_MANAGED | TEST_BALLOON_DETACH))
		return -EINVAL;

	down_write(&balloon->setup);
	if (!atomic_long_read(&balloon->owned) && !isolated_pages(balloon)) {
		balloon->dev_info.adjust_managed_page_count =
			flags & TEST_BALLOON_ADJUST_MANAGED;
		balloon->detach = flags & TEST_BALLOON_DETACH;
		ret = 0;
	}
	up_write(&balloon->setup);
	return ret;
}

static long resize(struct test_balloon *balloon, unsigned int cmd,
		   void __user *user)
{
	struct test_balloon_resize arg;
	long ret;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~(TEST_BALLOON_LIST | TEST_BALLOON_REQUEUE) ||
	    arg.delay_us > TEST_BALLOON_MAX_DELAY_US)
		return -EINVAL;

	arg.pages = min(arg.pages, MAX_PAGES);
	down_read(&balloon->setup);
	ret = cmd == TEST_BALLOON_INFLATE ?
	      inflate(balloon, arg.pages, arg.flags) :
	      deflate(balloon, arg.pages, arg.flags, arg.delay_us, false);
	up_read(&balloon->setup);
	return ret;
}

static long inject(struct test_balloon *balloon, void __user *user)
{
	struct test_balloon_inject arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if ((arg.error && arg.error != -EAGAIN && arg.error != -EBUSY &&
	     arg.error != -ENOENT) || arg.delay_us > TEST_BALLOON_MAX_DELAY_US)
		return -EINVAL;
	WRITE_ONCE(balloon->error, arg.error);
	WRITE_ONCE(balloon->every, arg.every);
	WRITE_ONCE(balloon->delay_us, arg.delay_us);
	return 0;
}

static long get_stats(struct test_balloon *balloon, void __user *user)
{
	struct test_balloon_stats arg = {
		.owned = atomic_long_read(&balloon->owned),
		.isolated = isolated_pages(balloon),
		.inflated = atomic_long_read(&balloon->inflated),
		.deflated = atomic_long_read(&balloon->deflated),
		.migrated = atomic_long_read(&balloon->migrated),
		.refused = atomic_long_read(&balloon->refused),
		.failed = atomic_long_read(&balloon->failed),
		.deflate_races = atomic_long_read(&balloon->deflate_races),
		.isolate_races = atomic_long_read(&balloon->isolate_races),
		.violations = atomic_long_read(&violations),
	};

	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long get_pfns(struct test_balloon *balloon, void __user *user)
{
	struct test_balloon_pfns arg;
	struct test_balloon *owner;
	unsigned long pfn, n = 0;
	u64 __user *pfns;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	pfns = u64_to_user_ptr(arg.buffer);
	xa_for_each(&ledger, pfn, owner) {
		if (owner != balloon)
			continue;
		if (n == arg.count || signal_pending(current))
			break;
		if (put_user(pfn, pfns + n++))
			return -EFAULT;
		cond_resched();
	}
	return n;
}

static long test_balloon_ioctl(struct file *file, unsigned int cmd,
			       unsigned long arg)
{
	struct test_balloon *balloon = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case TEST_BALLOON_SETUP:
		return setup_balloon(balloon, user);
	case TEST_BALLOON_INFLATE:
	case TEST_BALLOON_DEFLATE:
		return resize(balloon, cmd, user);
	case TEST_BALLOON_INJECT:
		return inject(balloon, user);
	case TEST_BALLOON_STATS:
		return get_stats(balloon, user);
	case TEST_BALLOON_PFNS:
		return get_pfns(balloon, user);
	}
	return -ENOTTY;
}

static const struct file_operations test_balloon_fops = {
	.owner		= THIS_MODULE,
	.open		= test_balloon_open,
	.release	= test_balloon_release,
	.unlocked_ioctl	= test_balloon_ioctl,
};

static struct miscdevice test_balloon_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "test_balloon",
	.fops	= &test_balloon_fops,
	.mode	= 0600,
};

static int __init test_balloon_init(void)
{
	return misc_register(&test_balloon_misc);
}

static void __exit test_balloon_exit(void)
{
	struct test_balloon *balloon, *next;

	misc_deregister(&test_balloon_misc);
	/* A balloon that cannot be emptied leaks. There was a violation. */
	list_for_each_entry_safe(balloon, next, &detached_balloons, detached)
		destroy_balloon(balloon);
}

module_init(test_balloon_init);
module_exit(test_balloon_exit);
MODULE_DESCRIPTION("Balloons without a hypervisor, to test the balloon core");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
