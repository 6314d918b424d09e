// SPDX-License-Identifier: GPL-2.0
/*
 * Balloons without a hypervisor, to test the balloon core: userspace inflates
 * and deflates them through /dev/test_balloon and chooses the host's answer when
 * a page migrates. See test_balloon_uapi.h, and balloon-tests.c in
 * tools/testing/selftests/mm/, its user.
 *
 * A ledger knows the pages that the host has. It is kept by what this driver
 * asks of the core and what the core asks of this driver, and never looks at the
 * core's own books. So whatever the core loses or hands out twice shows as a
 * violation: a line in the kernel log, counted for userspace.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/balloon_compaction.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "test_balloon_uapi.h"

/* Pages that did not come back until then do not come back. */
#define PATIENCE	(10 * HZ)

struct test_balloon {
	struct balloon_dev_info dev_info;
	/* On the list of the balloons that no file is open for. */
	struct list_head detached;
	/* Held for writing while pages may move neither in nor out. */
	struct rw_semaphore setup;
	/* The host may answer -ENOENT. */
	bool refuses;
	/* The balloon outlives its file. */
	bool detach;
	/* A page had references for too long. */
	bool unsettled;

	/* Protects what to answer, and how many calls that has seen. */
	spinlock_t lock;
	struct test_balloon_inject answers;
	unsigned long calls;

	/* Of the pages that are owned, those that nobody is dequeueing. */
	atomic_long_t unclaimed;
	/* See struct test_balloon_stats. */
	atomic_long_t owned;
	atomic_long_t migrating;
	atomic_long_t inflated;
	atomic_long_t deflated;
	atomic_long_t migrated;
	atomic_long_t refused;
	atomic_long_t failed;
	atomic_long_t met_isolated;
	atomic_long_t met_deflated;
};

/*
 * The ledger: by page frame number the balloon that the page belongs to. A mark
 * says that the page is with the migratepage callback.
 */
static DEFINE_XARRAY(ledger);
#define MIGRATING	XA_MARK_0
static atomic_long_t all_owned;

static DEFINE_MUTEX(detached_lock);
static LIST_HEAD(detached_balloons);

static DEFINE_SPINLOCK(violation_lock);
static char first_violation[sizeof_field(struct test_balloon_stats, violation)];
static unsigned long violations;

/*
 * The taint is for who unloads the module, which takes all that is said here with
 * it but for the log.
 */
static __printf(1, 2) void violation(const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	spin_lock(&violation_lock);
	if (!violations++)
		scnprintf(first_violation, sizeof(first_violation), "%pV", &vaf);
	spin_unlock(&violation_lock);
	add_taint(TAINT_WARN, LOCKDEP_STILL_OK);
	pr_err_ratelimited("violation: %pV\n", &vaf);
	va_end(args);
}

static int ledger_add(struct test_balloon *balloon, struct page *page, gfp_t gfp)
{
	int ret = xa_insert(&ledger, page_to_pfn(page), balloon, gfp);

	if (ret == -EBUSY)
		violation("page %lx enters a balloon and is in one",
			  page_to_pfn(page));
	if (ret)
		return ret;
	atomic_long_inc(&balloon->owned);
	atomic_long_inc(&all_owned);
	return 0;
}

static void ledger_remove(struct test_balloon *balloon, struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	struct test_balloon *owner;
	bool migrating;

	xa_lock(&ledger);
	migrating = xa_get_mark(&ledger, pfn, MIGRATING);
	owner = __xa_erase(&ledger, pfn);
	xa_unlock(&ledger);

	if (migrating)
		violation("page %lx is handed out in the middle of migration", pfn);
	if (owner != balloon)
		violation("page %lx is handed out and %s", pfn,
			  owner ? "is another balloon's" : "was before");
	if (owner) {
		atomic_long_dec(&owner->owned);
		atomic_long_dec(&all_owned);
	}
}

/* Is the page in the balloon, and not with another call of the callback? */
static bool ledger_start_migration(struct test_balloon *balloon,
				   struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	bool owned, migrating;

	xa_lock(&ledger);
	owned = xa_load(&ledger, pfn) == balloon;
	migrating = xa_get_mark(&ledger, pfn, MIGRATING);
	if (owned)
		__xa_set_mark(&ledger, pfn, MIGRATING);
	xa_unlock(&ledger);

	if (!owned)
		violation("page %lx migrates and is not in the balloon", pfn);
	if (migrating)
		violation("page %lx migrates twice at a time", pfn);
	return owned && !migrating;
}

static void ledger_end_migration(struct page *page)
{
	xa_clear_mark(&ledger, page_to_pfn(page), MIGRATING);
}

/* The host's answer to this call of the callback. */
static int next_answer(struct test_balloon *balloon, u32 *delay_us)
{
	struct test_balloon_inject *answers = &balloon->answers;
	int answer = 0;

	spin_lock(&balloon->lock);
	*delay_us = answers->delay_us;
	if (answers->every && ++balloon->calls % answers->every == 0) {
		answer = answers->result;
		if (answers->calls && !--answers->calls)
			answers->every = 0;
	}
	spin_unlock(&balloon->lock);
	return answer;
}

static int test_balloon_migratepage(struct balloon_dev_info *dev_info,
				    struct page *newpage, struct page *page,
				    enum migrate_mode mode)
{
	struct test_balloon *balloon = container_of(dev_info, struct test_balloon,
						    dev_info);
	u32 delay_us;
	int answer;

	if (!PageLocked(page) || !PageLocked(newpage))
		violation("a page is not locked in migration from %lx to %lx",
			  page_to_pfn(page), page_to_pfn(newpage));
	if (page_private(page) != (unsigned long)dev_info)
		violation("page %lx migrates and does not name its balloon",
			  page_to_pfn(page));
	if (page_private(newpage) || PageOffline(newpage))
		violation("page %lx is the new one and looks inflated",
			  page_to_pfn(newpage));
	if (!ledger_start_migration(balloon, page))
		return -EBUSY;

	atomic_long_inc(&balloon->migrating);
	answer = next_answer(balloon, &delay_us);
	if (delay_us)
		fsleep(delay_us);

	/* Reclaim may be waiting for this migration. */
	if (!answer && ledger_add(balloon, newpage, GFP_NOWAIT | __GFP_NOWARN))
		answer = -EAGAIN;

	ledger_end_migration(page);
	switch (answer) {
	case 0:
		ledger_remove(balloon, page);
		atomic_long_inc(&balloon->migrated);
		break;
	case -ENOENT:
		ledger_remove(balloon, page);
		atomic_long_dec(&balloon->unclaimed);
		atomic_long_inc(&balloon->refused);
		break;
	default:
		atomic_long_inc(&balloon->failed);
	}
	atomic_long_dec(&balloon->migrating);
	return answer;
}

static void check_deflated(struct page *page)
{
	if (IS_ENABLED(CONFIG_BALLOON_COMPACTION) && page_private(page))
		violation("page %lx is deflated and names a balloon",
			  page_to_pfn(page));
	if (PageOffline(page))
		violation("page %lx is deflated and offline", page_to_pfn(page));
}

/*
 * Page migration lets a page go soon that it cannot have. If once it did not,
 * there is nothing more to learn from waiting.
 */
static void settle(struct test_balloon *balloon, struct page *page)
{
	unsigned long end = jiffies + PATIENCE;

	if (READ_ONCE(balloon->unsettled))
		return;
	while (page_count(page) != 1 || PageLocked(page)) {
		if (time_after(jiffies, end)) {
			violation("page %lx is deflated, has %d references and is %s",
				  page_to_pfn(page), page_count(page),
				  PageLocked(page) ? "locked" : "unlocked");
			WRITE_ONCE(balloon->unsettled, true);
			return;
		}
		usleep_range(50, 100);
	}
	if (PageIsolated(page))
		violation("page %lx is deflated and isolated", page_to_pfn(page));
}

/* The ledger has the pages already, as the core may migrate them at once. */
static void enqueue(struct test_balloon *balloon, struct list_head *pages,
		    size_t n, u32 flags)
{
	struct page *page;
	size_t n_done = 0;

	if (flags & TEST_BALLOON_LIST) {
		n_done = balloon_page_list_enqueue(&balloon->dev_info, pages);
	} else {
		while ((page = balloon_page_pop(pages))) {
			balloon_page_enqueue(&balloon->dev_info, page);
			n_done++;
		}
	}
	if (n_done != n)
		violation("%zu pages were enqueued instead of %zu", n_done, n);
	atomic_long_add(n_done, &balloon->inflated);
	atomic_long_add(n_done, &balloon->unclaimed);
}

/*
 * The core takes it for a bug if somebody dequeues a single page and there cannot
 * be one. So nobody asks for a page that somebody else is about to get.
 */
static size_t claim(struct test_balloon *balloon, size_t n)
{
	long unclaimed = atomic_long_read(&balloon->unclaimed);
	long n_claimed;

	do {
		n_claimed = clamp_t(long, unclaimed, 0, n);
	} while (!atomic_long_try_cmpxchg(&balloon->unclaimed, &unclaimed,
					  unclaimed - n_claimed));
	return n_claimed;
}

/*
 * The count is the core's, and its lock too. Here it does for statistics, and to
 * give up waiting.
 */
static unsigned long isolated_pages(struct test_balloon *balloon)
{
	return READ_ONCE(balloon->dev_info.isolated_pages);
}

static size_t dequeue(struct test_balloon *balloon, struct list_head *pages,
		      size_t n, u32 flags)
{
	size_t n_claimed = claim(balloon, n), n_done = 0;
	struct page *page;

	if (isolated_pages(balloon))
		atomic_long_inc(&balloon->met_isolated);

	if (flags & TEST_BALLOON_LIST) {
		n_done = balloon_page_list_dequeue(&balloon->dev_info, pages,
						   n_claimed);
	} else {
		while (n_done < n_claimed) {
			page = balloon_page_dequeue(&balloon->dev_info);
			if (!page)
				break;
			list_add(&page->lru, pages);
			n_done++;
		}
	}
	atomic_long_add(n_claimed - n_done, &balloon->unclaimed);
	return n_done;
}

/*
 * Gives page migration time to meet deflated pages. It has a reference to a page
 * while it finds out that it cannot have it.
 */
static void linger(struct test_balloon *balloon, struct list_head *pages,
		   u32 linger_us)
{
	u64 end = local_clock() + (u64)linger_us * NSEC_PER_USEC;
	struct page *page, *next;
	LIST_HEAD(met);

	do {
		list_for_each_entry_safe(page, next, pages, lru)
			if (page_count(page) > 1)
				list_move(&page->lru, &met);
		cond_resched();
	} while (local_clock() < end);

	atomic_long_add(list_count_nodes(&met), &balloon->met_deflated);
	list_splice(&met, pages);
}

static void release(struct test_balloon *balloon, struct list_head *pages,
		    u32 flags)
{
	struct page *page, *next;
	LIST_HEAD(again);
	size_t n_again = 0;

	list_for_each_entry_safe(page, next, pages, lru) {
		list_del(&page->lru);
		check_deflated(page);
		if (flags & TEST_BALLOON_SETTLE)
			settle(balloon, page);
		if (flags & TEST_BALLOON_AGAIN &&
		    !ledger_add(balloon, page, GFP_KERNEL)) {
			balloon_page_push(&again, page);
			n_again++;
		} else {
			put_page(page);
		}
		cond_resched();
	}
	if (n_again)
		enqueue(balloon, &again, n_again, flags);
}

/* Returns how many pages were deflated. */
static size_t deflate(struct test_balloon *balloon, size_t n, u32 flags,
		      u32 linger_us)
{
	size_t n_done, n_listed = 0;
	LIST_HEAD(pages);
	struct page *page;

	n_done = dequeue(balloon, &pages, n, flags);
	list_for_each_entry(page, &pages, lru) {
		check_deflated(page);
		ledger_remove(balloon, page);
		n_listed++;
		cond_resched();
	}
	if (n_listed != n_done)
		violation("%zu pages were deflated and %zu handed out", n_done,
			  n_listed);
	atomic_long_add(n_done, &balloon->deflated);
	linger(balloon, &pages, linger_us);
	release(balloon, &pages, flags);
	return n_done;
}

static int inflate(struct test_balloon *balloon, size_t n, u32 flags,
		   size_t *n_done)
{
	LIST_HEAD(pages);
	struct page *page;

	for (*n_done = 0; *n_done < n && !signal_pending(current); ++*n_done) {
		page = balloon_page_alloc();
		if (!page)
			break;
		if (ledger_add(balloon, page, GFP_KERNEL)) {
			put_page(page);
			break;
		}
		balloon_page_push(&pages, page);
		cond_resched();
	}
	if (!*n_done)
		return signal_pending(current) ? -EINTR : -ENOMEM;
	enqueue(balloon, &pages, *n_done, flags);
	return 0;
}

/* Returns whether nothing refers to the balloon any more. */
static bool empty_balloon(struct test_balloon *balloon)
{
	unsigned long end = jiffies + PATIENCE;
	unsigned long owned, isolated;

	for (;;) {
		while (deflate(balloon, 512, TEST_BALLOON_LIST |
			       TEST_BALLOON_SETTLE, 0))
			end = jiffies + PATIENCE;
		isolated = isolated_pages(balloon);
		owned = atomic_long_read(&balloon->owned);
		if (!owned && !isolated)
			break;
		if (time_after(jiffies, end)) {
			violation("%lu pages stay in the balloon, %lu are isolated",
				  owned, isolated);
			return false;
		}
		schedule_timeout_uninterruptible(1);
	}
	balloon_wait_isolated(&balloon->dev_info);
	return true;
}

static void set_answers(struct test_balloon *balloon,
			const struct test_balloon_inject *answers)
{
	spin_lock(&balloon->lock);
	balloon->answers = *answers;
	balloon->calls = 0;
	spin_unlock(&balloon->lock);
}

/* Returns whether the balloon is gone. What is still in use has to stay. */
static bool destroy_balloon(struct test_balloon *balloon)
{
	/* The host is not the one to wait for. */
	set_answers(balloon, &(struct test_balloon_inject){});
	if (!empty_balloon(balloon))
		return false;
	kfree(balloon);
	return true;
}

static int test_balloon_open(struct inode *inode, struct file *file)
{
	struct test_balloon *balloon = kzalloc(sizeof(*balloon), GFP_KERNEL);

	if (!balloon)
		return -ENOMEM;
	balloon_devinfo_init(&balloon->dev_info);
	balloon->dev_info.migratepage = test_balloon_migratepage;
	INIT_LIST_HEAD(&balloon->detached);
	init_rwsem(&balloon->setup);
	spin_lock_init(&balloon->lock);
	file->private_data = balloon;
	return nonseekable_open(inode, file);
}

static int test_balloon_release(struct inode *inode, struct file *file)
{
	struct test_balloon *balloon = file->private_data;

	if (!balloon->detach) {
		/* The callback may be called any time. */
		if (!destroy_balloon(balloon))
			__module_get(THIS_MODULE);
		return 0;
	}
	mutex_lock(&detached_lock);
	list_add(&balloon->detached, &detached_balloons);
	mutex_unlock(&detached_lock);
	return 0;
}

static int setup_balloon(struct test_balloon *balloon,
			 const struct test_balloon_setup *arg)
{
	int ret = 0;

	if (arg->flags & ~(TEST_BALLOON_ADJUST_MANAGED | TEST_BALLOON_DETACH) ||
	    arg->reserved)
		return -EINVAL;
	if (arg->flags & TEST_BALLOON_DETACH &&
	    (IS_BUILTIN(CONFIG_TEST_BALLOON) ||
	     !IS_ENABLED(CONFIG_MODULE_UNLOAD)))
		return -EOPNOTSUPP;

	down_write(&balloon->setup);
	if (atomic_long_read(&balloon->owned)) {
		ret = -EBUSY;
	} else {
		balloon->dev_info.adjust_managed_pages =
			arg->flags & TEST_BALLOON_ADJUST_MANAGED;
		balloon->detach = arg->flags & TEST_BALLOON_DETACH;
	}
	up_write(&balloon->setup);
	return ret;
}

static int move_pages(struct test_balloon *balloon, unsigned int cmd,
		      struct test_balloon_move *arg)
{
	u32 known = TEST_BALLOON_LIST;
	size_t n_done = 0;
	int ret = 0;

	if (cmd == TEST_BALLOON_DEFLATE)
		known |= TEST_BALLOON_AGAIN | TEST_BALLOON_SETTLE;
	else if (arg->linger_us)
		return -EINVAL;
	if (arg->flags & ~known || !arg->pages ||
	    arg->pages > TEST_BALLOON_MAX_PAGES ||
	    arg->linger_us > TEST_BALLOON_MAX_DELAY_US)
		return -EINVAL;

	down_read(&balloon->setup);
	if (cmd == TEST_BALLOON_INFLATE)
		ret = inflate(balloon, arg->pages, arg->flags, &n_done);
	else if (balloon->refuses && !(arg->flags & TEST_BALLOON_LIST))
		ret = -EINVAL;
	else
		n_done = deflate(balloon, arg->pages, arg->flags,
				 arg->linger_us);
	up_read(&balloon->setup);
	arg->pages = n_done;
	return ret;
}

static int inject_answers(struct test_balloon *balloon,
			  const struct test_balloon_inject *arg)
{
	switch (arg->result) {
	case 0:
	case -EAGAIN:
	case -EBUSY:
	case -ENOENT:
		break;
	default:
		return -EINVAL;
	}
	if (arg->delay_us > TEST_BALLOON_MAX_DELAY_US)
		return -EINVAL;

	down_write(&balloon->setup);
	balloon->refuses |= arg->result == -ENOENT;
	set_answers(balloon, arg);
	up_write(&balloon->setup);
	return 0;
}

static void get_stats(struct test_balloon *balloon,
		      struct test_balloon_stats *arg)
{
	arg->owned = atomic_long_read(&balloon->owned);
	arg->isolated = isolated_pages(balloon);
	arg->migrating = atomic_long_read(&balloon->migrating);
	arg->inflated = atomic_long_read(&balloon->inflated);
	arg->deflated = atomic_long_read(&balloon->deflated);
	arg->migrated = atomic_long_read(&balloon->migrated);
	arg->refused = atomic_long_read(&balloon->refused);
	arg->failed = atomic_long_read(&balloon->failed);
	arg->met_isolated = atomic_long_read(&balloon->met_isolated);
	arg->met_deflated = atomic_long_read(&balloon->met_deflated);
	arg->all_owned = atomic_long_read(&all_owned);
	arg->movable = IS_ENABLED(CONFIG_BALLOON_COMPACTION);
	spin_lock(&violation_lock);
	arg->violations = violations;
	strscpy(arg->violation, first_violation);
	spin_unlock(&violation_lock);
}

static int get_pfns(struct test_balloon *balloon, struct test_balloon_pfns *arg)
{
	u64 __user *buffer = u64_to_user_ptr(arg->buffer);
	struct test_balloon *owner;
	unsigned long pfn;
	u64 n = 0;

	if (!arg->count || arg->count > TEST_BALLOON_MAX_PAGES)
		return -EINVAL;

	xa_for_each(&ledger, pfn, owner) {
		if (owner != balloon)
			continue;
		if (n == arg->count)
			break;
		if (put_user((u64)pfn, buffer + n))
			return -EFAULT;
		n++;
		cond_resched();
	}
	arg->count = n;
	return 0;
}

static long test_balloon_ioctl(struct file *file, unsigned int cmd,
			       unsigned long user_arg)
{
	struct test_balloon *balloon = file->private_data;
	void __user *user = (void __user *)user_arg;
	size_t size = _IOC_SIZE(cmd);
	union {
		struct test_balloon_setup setup;
		struct test_balloon_move move;
		struct test_balloon_inject inject;
		struct test_balloon_stats stats;
		struct test_balloon_pfns pfns;
	} arg = {};
	int ret = 0;

	switch (cmd) {
	case TEST_BALLOON_SETUP:
	case TEST_BALLOON_INFLATE:
	case TEST_BALLOON_DEFLATE:
	case TEST_BALLOON_INJECT:
	case TEST_BALLOON_STATS:
	case TEST_BALLOON_PFNS:
		break;
	default:
		return -ENOTTY;
	}
	if (_IOC_DIR(cmd) & _IOC_WRITE && copy_from_user(&arg, user, size))
		return -EFAULT;
	/* Do nothing that the caller cannot be told of. */
	if (_IOC_DIR(cmd) & _IOC_READ && copy_to_user(user, &arg, size))
		return -EFAULT;

	switch (cmd) {
	case TEST_BALLOON_SETUP:
		return setup_balloon(balloon, &arg.setup);
	case TEST_BALLOON_INFLATE:
	case TEST_BALLOON_DEFLATE:
		ret = move_pages(balloon, cmd, &arg.move);
		break;
	case TEST_BALLOON_INJECT:
		return inject_answers(balloon, &arg.inject);
	case TEST_BALLOON_STATS:
		get_stats(balloon, &arg.stats);
		break;
	case TEST_BALLOON_PFNS:
		ret = get_pfns(balloon, &arg.pfns);
		break;
	}
	if (!ret && copy_to_user(user, &arg, size))
		return -EFAULT;
	return ret;
}

static const struct file_operations test_balloon_fops = {
	.owner		= THIS_MODULE,
	.open		= test_balloon_open,
	.release	= test_balloon_release,
	.unlocked_ioctl	= test_balloon_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
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
	/* Better to wait for ever than to let the callback go while it is needed. */
	list_for_each_entry_safe(balloon, next, &detached_balloons, detached)
		while (!destroy_balloon(balloon))
			;
}

module_init(test_balloon_init);
module_exit(test_balloon_exit);
MODULE_DESCRIPTION("Balloons without a hypervisor, to test the balloon core");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
