// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what memory balloons and page migration do to the pages that
 * they share. include/linux/balloon_compaction.h has the rules.
 *
 * Most tests let isolate_movable_page(), migrate_pages() and
 * putback_movable_pages() do their work. Where it matters what happens while
 * these are halfway through, tests do the steps of the migration core
 * themselves: those are called core_*() here, or are under a comment that says
 * so.
 *
 * Counters are global. So no balloon driver may be at work, and nothing may
 * compact memory. At boot this is so, unless a host wants pages that early: then
 * tests are skipped.
 */
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/balloon_compaction.h>
#include <linux/completion.h>
#include <linux/initrd.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

/* Only a broken kernel takes that long. */
#define TIMEOUT		(5 * HZ)
/* A thread that does not wait when it should is done by then. */
#define GRACE_PERIOD	(HZ / 20 + 1)
/* More pages than any test has, also to get out of a list that is broken. */
#define ALL_PAGES	64

/* Something that may block, and is therefore not for the test's own thread */
struct job {
	struct work_struct work;
	struct completion started;
	struct completion done;
	bool queued;
	int rc;
};

struct test_balloon {
	struct balloon_dev_info info;
	/* What the migration core isolated, and where it may migrate to */
	struct list_head isolated;
	struct list_head targets;
	/* What the callback returns, the last one for all further calls */
	const int *results;
	unsigned int nr_results;
	/* The callback tells when it is called, and waits if it is told to */
	struct completion called;
	struct completion proceed;
	bool wait;
	/* What the callback saw */
	unsigned int nr_calls;
	struct page *newpage;
	struct page *page;
	enum migrate_mode mode;
	bool pages_unlocked;
	bool irqs_were_off;
	bool timed_out;

	struct job migration;
	struct job wait_isolated;
};

struct counts {
	/* vm events */
	long inflated;
	long deflated;
	long migrated;
	/* NR_BALLOON_PAGES of all nodes */
	long pages;
	/* managed pages of all zones */
	long managed;
};

struct fixture {
	struct test_balloon a;
	struct test_balloon b;
	struct counts at_start;
	struct counts last;
	unsigned long events[NR_VM_EVENT_ITEMS];
	bool bad_page;
};

static int test_migratepage(struct balloon_dev_info *info,
			    struct page *newpage, struct page *page,
			    enum migrate_mode mode)
{
	struct test_balloon *b = container_of(info, struct test_balloon, info);
	unsigned int call = b->nr_calls++;

	b->newpage = newpage;
	b->page = page;
	b->mode = mode;
	b->pages_unlocked |= !PageLocked(newpage) || !PageLocked(page);
	b->irqs_were_off |= irqs_disabled();
	complete(&b->called);
	if (b->wait && !wait_for_completion_timeout(&b->proceed, TIMEOUT))
		b->timed_out = true;

	return b->results[min(call, b->nr_results - 1)];
}

static void set_results(struct test_balloon *b, const int *results,
			unsigned int nr_results)
{
	b->results = results;
	b->nr_results = nr_results;
	b->nr_calls = 0;
}

#define migratepage_returns(b, ...)					\
do {									\
	static const int __results[] = { __VA_ARGS__ };			\
									\
	set_results(b, __results, ARRAY_SIZE(__results));		\
} while (0)

static void check_calls(struct kunit *test, int line, struct test_balloon *b,
			unsigned int nr_calls)
{
	KUNIT_EXPECT_EQ_MSG(test, b->nr_calls, nr_calls, "line %d", line);
	KUNIT_EXPECT_FALSE_MSG(test, b->pages_unlocked, "line %d", line);
	KUNIT_EXPECT_FALSE_MSG(test, b->irqs_were_off, "line %d", line);
	KUNIT_EXPECT_FALSE_MSG(test, b->timed_out, "line %d", line);
}

#define expect_calls(test, b, nr_calls)					\
	check_calls(test, __LINE__, b, nr_calls)

/* Counters */

static long read_balloon_pages(int nid)
{
	struct pglist_data *pgdat = NODE_DATA(nid);
	long sum = atomic_long_read(&pgdat->vm_stat[NR_BALLOON_PAGES]);
	int cpu;

	for_each_online_cpu(cpu)
		sum += per_cpu_ptr(pgdat->per_cpu_nodestats,
				   cpu)->vm_node_stat_diff[NR_BALLOON_PAGES];
	return sum;
}

static void read_counts(struct fixture *f, struct counts *counts)
{
	struct zone *zone;
	int nid;

	memset(counts, 0, sizeof(*counts));
	/* Does nothing without CONFIG_VM_EVENT_COUNTERS */
	all_vm_events(f->events);
	counts->inflated = f->events[BALLOON_INFLATE];
	counts->deflated = f->events[BALLOON_DEFLATE];
	counts->migrated = f->events[BALLOON_MIGRATE];
	for_each_online_node(nid)
		counts->pages += read_balloon_pages(nid);
	for_each_populated_zone(zone)
		counts->managed += zone_managed_pages(zone);
}

/*
 * Something may be moving the per-CPU part of a counter to the node at this
 * moment. So a value that is not the expected one gets a second chance.
 */
#define read_until(condition, read)					\
do {									\
	int __tries = 20;						\
									\
	for (;;) {							\
		read;							\
		if ((condition) || !--__tries)				\
			break;						\
		schedule_timeout_uninterruptible(1);			\
	}								\
} while (0)

static void check_balloon_pages(struct kunit *test, int line, int nid,
				long expected)
{
	long pages;

	read_until(pages == expected, pages = read_balloon_pages(nid));
	KUNIT_EXPECT_EQ_MSG(test, pages, expected, "node %d, line %d", nid,
			    line);
}

#define expect_balloon_pages(test, nid, expected)			\
	check_balloon_pages(test, __LINE__, nid, expected)

static void check_counts(struct kunit *test, int line,
			 const struct counts *expected)
{
	const bool events = IS_ENABLED(CONFIG_VM_EVENT_COUNTERS);
	struct fixture *f = test->priv;
	struct counts *last = &f->last;
	struct counts now;

	read_until(now.pages - last->pages == expected->pages,
		   read_counts(f, &now));
	KUNIT_EXPECT_EQ_MSG(test, now.inflated - last->inflated,
			    events ? expected->inflated : 0, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, now.deflated - last->deflated,
			    events ? expected->deflated : 0, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, now.migrated - last->migrated,
			    events ? expected->migrated : 0, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, now.pages - last->pages, expected->pages,
			    "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, now.managed - last->managed,
			    expected->managed, "line %d", line);
	*last = now;
}

/* Expect these changes since the last time, and no others */
#define expect_counted(test, ...)					\
	check_counts(test, __LINE__, &(struct counts){ __VA_ARGS__ })

/* Pages */

KUNIT_DEFINE_ACTION_WRAPPER(put_page_action, put_page, struct page *);

/*
 * Tests have a reference of their own to each page, which keeps it from being
 * freed: so they can look at it until the end, and it does no harm if a failed
 * assertion ends the test early.
 */
static struct page *hold_page(struct kunit *test, struct page *page)
{
	int err;

	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	err = kunit_add_action_or_reset(test, put_page_action, page);
	if (err)
		put_page(page);
	KUNIT_ASSERT_EQ(test, err, 0);
	return page;
}

static void unhold_page(struct kunit *test, struct page *page)
{
	kunit_release_action(test, put_page_action, page);
}

/* Those of others than the test */
static int page_refs(struct page *page)
{
	return page_ref_count(page) - 1;
}

static struct page *new_page(struct kunit *test)
{
	return hold_page(test, balloon_page_alloc());
}

static struct page *inflate(struct kunit *test, struct test_balloon *b)
{
	struct page *page = new_page(test);

	balloon_page_enqueue(&b->info, page);
	return page;
}

static size_t deflate(struct test_balloon *b, size_t nr_pages)
{
	struct page *page;
	LIST_HEAD(pages);
	size_t nr;

	nr = balloon_page_list_dequeue(&b->info, &pages, nr_pages);
	while ((page = balloon_page_pop(&pages)))
		put_page(page);
	return nr;
}

static unsigned long list_count(struct test_balloon *b, struct page *page)
{
	unsigned long nr = 0, nr_all = 0;
	struct page *pos;

	list_for_each_entry(pos, &b->info.pages, lru) {
		nr += !page || pos == page;
		if (++nr_all > ALL_PAGES)
			break;
	}
	return nr;
}

static void check_balloon(struct kunit *test, int line, struct test_balloon *b,
			  unsigned long listed, unsigned long isolated)
{
	KUNIT_EXPECT_EQ_MSG(test, list_count(b, NULL), listed, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, b->info.isolated_pages, isolated, "line %d",
			    line);
}

#define expect_balloon(test, b, listed, isolated)			\
	check_balloon(test, __LINE__, b, listed, isolated)

/* In the balloon, on the list or isolated */
static void check_in_balloon(struct kunit *test, int line,
			     struct test_balloon *b, struct page *page,
			     bool isolated)
{
	/* The balloon has a reference, and so has who isolated the page */
	int refs = isolated ? 2 : 1;

	KUNIT_EXPECT_EQ_MSG(test, page_private(page), (unsigned long)&b->info,
			    "line %d", line);
	KUNIT_EXPECT_TRUE_MSG(test, __PageMovable(page), "line %d", line);
	KUNIT_EXPECT_TRUE_MSG(test, PageOffline(page), "line %d", line);
	KUNIT_EXPECT_FALSE_MSG(test, PageLocked(page), "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, PageIsolated(page), isolated, "line %d",
			    line);
	KUNIT_EXPECT_EQ_MSG(test, page_refs(page), refs, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, list_count(b, page), isolated ? 0 : 1,
			    "line %d", line);
}

#define expect_listed(test, b, page)					\
	check_in_balloon(test, __LINE__, b, page, false)
#define expect_isolated(test, b, page)					\
	check_in_balloon(test, __LINE__, b, page, true)

/* Not in a balloon. Only one that was in a balloon is movable. */
static void check_in_no_balloon(struct kunit *test, int line,
				struct page *page, int refs, bool movable)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ_MSG(test, page_private(page), 0, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, !!__PageMovable(page), movable, "line %d",
			    line);
	KUNIT_EXPECT_FALSE_MSG(test, PageOffline(page), "line %d", line);
	KUNIT_EXPECT_FALSE_MSG(test, PageIsolated(page), "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, page_refs(page), refs, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, list_count(&f->a, page), 0, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, list_count(&f->b, page), 0, "line %d", line);
}

#define expect_deflated(test, page, refs)				\
	check_in_no_balloon(test, __LINE__, page, refs, true)
#define expect_untouched(test, page, refs)				\
	check_in_no_balloon(test, __LINE__, page, refs, false)

/* Page migration */

static bool isolate(struct test_balloon *b, struct page *page)
{
	if (!isolate_movable_page(page, ISOLATE_UNEVICTABLE))
		return false;
	list_add_tail(&page->lru, &b->isolated);
	return true;
}

/* Without a list, as the page is on another one if it is not refused. */
#define expect_no_isolation(test, page)					\
	KUNIT_EXPECT_FALSE(test,					\
			   isolate_movable_page(page, ISOLATE_UNEVICTABLE))

static struct page *inflate_and_isolate(struct kunit *test,
					struct test_balloon *b)
{
	struct page *page = inflate(test, b);

	KUNIT_ASSERT_TRUE(test, isolate(b, page));
	return page;
}

static void putback(struct test_balloon *b)
{
	putback_movable_pages(&b->isolated);
}

/* As with every free page, the migration core gets the reference to it. */
static struct page *add_target(struct test_balloon *b, struct page *page)
{
	list_add_tail(&page->lru, &b->targets);
	return page;
}

static struct folio *get_target(struct folio *src, unsigned long private)
{
	struct test_balloon *b = (struct test_balloon *)private;
	struct page *page = balloon_page_pop(&b->targets);

	return page ? page_folio(page) : NULL;
}

static int migrate(struct test_balloon *b)
{
	return migrate_pages(&b->isolated, get_target, NULL, (unsigned long)b,
			     MIGRATE_ASYNC, MR_COMPACTION, NULL);
}

/*
 * Migration of an isolated page by hand. core_migrate() returns with both pages
 * locked, as does move_to_new_folio(), and core_finish() does the rest.
 */
static int core_migrate(struct page *newpage, struct page *page)
{
	int rc;

	lock_page(page);
	lock_page(newpage);
	set_page_private(newpage, 0);
	rc = page_movable_ops(page)->migrate_page(newpage, page, MIGRATE_SYNC);
	if (rc == MIGRATEPAGE_SUCCESS)
		ClearPageIsolated(page);
	return rc;
}

static void core_finish(struct page *newpage, struct page *page, int rc)
{
	unlock_page(newpage);
	put_page(newpage);
	if (rc == MIGRATEPAGE_SUCCESS)
		list_del(&page->lru);
	unlock_page(page);
	if (rc == MIGRATEPAGE_SUCCESS)
		put_page(page);
}

/* Jobs */

static void init_job(struct job *job, work_func_t func)
{
	INIT_WORK(&job->work, func);
	init_completion(&job->started);
	init_completion(&job->done);
}

static void queue_job(struct job *job)
{
	job->queued = true;
	queue_work(system_unbound_wq, &job->work);
}

static bool wait_for_job(struct job *job)
{
	if (!job->queued)
		return true;
	if (!wait_for_completion_timeout(&job->done, TIMEOUT))
		return false;
	flush_work(&job->work);
	return true;
}

static void migrate_job(struct work_struct *work)
{
	struct test_balloon *b = container_of(work, struct test_balloon,
					      migration.work);

	b->migration.rc = migrate(b);
	complete_all(&b->migration.done);
}

static void wait_isolated_job(struct work_struct *work)
{
	struct test_balloon *b = container_of(work, struct test_balloon,
					      wait_isolated.work);

	complete_all(&b->wait_isolated.started);
	balloon_wait_isolated(&b->info);
	complete_all(&b->wait_isolated.done);
}

/* Start a migration, and return when its callback waits for proceed(). */
static void start_migration(struct kunit *test, struct test_balloon *b)
{
	b->wait = true;
	queue_job(&b->migration);
	KUNIT_ASSERT_GT(test, wait_for_completion_timeout(&b->called, TIMEOUT),
			0);
}

static void proceed(struct kunit *test, struct test_balloon *b)
{
	complete_all(&b->proceed);
	KUNIT_ASSERT_TRUE(test, wait_for_job(&b->migration));
}

/* Start balloon_wait_isolated(). It must not return yet. */
static void start_wait_isolated(struct kunit *test, struct test_balloon *b)
{
	struct job *job = &b->wait_isolated;

	queue_job(job);
	KUNIT_ASSERT_GT(test, wait_for_completion_timeout(&job->started,
							  TIMEOUT), 0);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&job->done,
							  GRACE_PERIOD), 0);
}

/* Fixture */

static void init_balloon(struct test_balloon *b)
{
	balloon_devinfo_init(&b->info);
	b->info.migratepage = test_migratepage;
	INIT_LIST_HEAD(&b->isolated);
	INIT_LIST_HEAD(&b->targets);
	migratepage_returns(b, 0);
	init_completion(&b->called);
	init_completion(&b->proceed);
	init_job(&b->migration, migrate_job);
	init_job(&b->wait_isolated, wait_isolated_job);
}

/* Get everything out of the balloon, wherever a test gave up. */
static bool drain_balloon(struct test_balloon *b)
{
	struct page *page;

	complete_all(&b->proceed);
	if (!wait_for_job(&b->migration))
		return false;
	putback(b);
	while ((page = balloon_page_pop(&b->targets)))
		put_page(page);
	deflate(b, ALL_PAGES);
	return list_empty(&b->info.pages) && !b->info.isolated_pages &&
	       wait_for_job(&b->wait_isolated);
}

static int balloon_test_suite_init(struct kunit_suite *suite)
{
	/* Freeing it adds managed pages. */
	wait_for_initramfs();
	return 0;
}

static int balloon_test_init(struct kunit *test)
{
	struct fixture *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	init_balloon(&f->a);
	init_balloon(&f->b);
	read_counts(f, &f->at_start);
	f->last = f->at_start;
	f->bad_page = test_taint(TAINT_BAD_PAGE);
	test->priv = f;
	if (f->at_start.pages)
		kunit_skip(test, "a balloon driver is at work");
	return 0;
}

/* Whatever a test does, all its counts sum up to zero when it is over. */
static void balloon_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct counts now;
	bool drained;

	if (!f)
		return;
	drained = drain_balloon(&f->a);
	drained &= drain_balloon(&f->b);
	KUNIT_EXPECT_TRUE_MSG(test, drained, "a balloon keeps pages");

	read_until(now.pages == f->at_start.pages, read_counts(f, &now));
	KUNIT_EXPECT_EQ(test, now.inflated - f->at_start.inflated,
			now.deflated - f->at_start.deflated);
	KUNIT_EXPECT_EQ(test, now.pages, f->at_start.pages);
	KUNIT_EXPECT_EQ(test, now.managed, f->at_start.managed);
	KUNIT_EXPECT_EQ_MSG(test, test_taint(TAINT_BAD_PAGE), f->bad_page,
			    "the page allocator did not like a page");

	/* Pages that are lost somewhere refer to the balloons in there. */
	if (drained)
		kfree(f);
}

/* Most that is counted is so with and without adjust_managed_pages. */
static const struct managed_param {
	const char *desc;
	bool adjust;
} managed_params[] = {
	{ "managed pages kept", false },
	{ "managed pages adjusted", true },
};

KUNIT_ARRAY_PARAM_DESC(managed, managed_params, desc);

/* Return by how much a page changes the number of managed pages. */
static long set_managed_param(struct kunit *test)
{
	const struct managed_param *param = test->param_value;
	struct fixture *f = test->priv;

	f->a.info.adjust_managed_pages = param->adjust;
	f->b.info.adjust_managed_pages = param->adjust;
	return param->adjust ? 1 : 0;
}

/* Inflation and deflation */

static void new_balloon_is_empty(struct kunit *test)
{
	struct balloon_dev_info info;

	memset(&info, 0xff, sizeof(info));
	balloon_devinfo_init(&info);
	KUNIT_EXPECT_TRUE(test, list_empty(&info.pages));
	KUNIT_EXPECT_EQ(test, info.isolated_pages, 0);
	KUNIT_EXPECT_FALSE(test, info.adjust_managed_pages);
	KUNIT_EXPECT_NULL(test, info.migratepage);
	expect_counted(test);
}

static void inflated_page_is_in_balloon(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page = new_page(test);

	expect_untouched(test, page, 1);
	balloon_page_enqueue(&f->a.info, page);
	expect_listed(test, &f->a, page);
	expect_balloon(test, &f->a, 1, 0);
	expect_balloon(test, &f->b, 0, 0);
	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
}

static void deflated_page_is_in_no_balloon(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page = inflate(test, &f->a);

	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
	KUNIT_ASSERT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	expect_deflated(test, page, 1);
	expect_balloon(test, &f->a, 0, 0);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);
	put_page(page);
}

static void list_enqueue_takes_all_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page[3];
	LIST_HEAD(pages);
	int i;

	KUNIT_EXPECT_EQ(test, balloon_page_list_enqueue(&f->a.info, &pages), 0);
	expect_counted(test);

	for (i = 0; i < ARRAY_SIZE(page); i++) {
		page[i] = new_page(test);
		balloon_page_push(&pages, page[i]);
	}
	KUNIT_EXPECT_EQ(test, balloon_page_list_enqueue(&f->a.info, &pages), 3);
	KUNIT_EXPECT_TRUE(test, list_empty(&pages));
	for (i = 0; i < ARRAY_SIZE(page); i++)
		expect_listed(test, &f->a, page[i]);
	expect_balloon(test, &f->a, 3, 0);
	expect_counted(test, .inflated = 3, .pages = 3, .managed = -3 * adjust);
}

static void list_dequeue_gives_what_there_is(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct balloon_dev_info *info = &f->a.info;
	struct page *page[3];
	LIST_HEAD(pages);
	int i;

	for (i = 0; i < ARRAY_SIZE(page); i++)
		page[i] = inflate(test, &f->a);
	expect_counted(test, .inflated = 3, .pages = 3, .managed = -3 * adjust);

	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 0), 0);
	expect_balloon(test, &f->a, 3, 0);
	expect_counted(test);

	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 2), 2);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&pages), 2);
	expect_balloon(test, &f->a, 1, 0);
	expect_counted(test, .deflated = 2, .pages = -2, .managed = 2 * adjust);

	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 2), 1);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&pages), 3);
	expect_balloon(test, &f->a, 0, 0);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);

	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 2), 0);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&pages), 3);
	expect_counted(test);

	for (i = 0; i < ARRAY_SIZE(page); i++) {
		expect_deflated(test, page[i], 1);
		put_page(page[i]);
	}
}

static void pop_gives_what_was_pushed(struct kunit *test)
{
	struct page *first = new_page(test), *second = new_page(test);
	LIST_HEAD(pages);

	KUNIT_EXPECT_NULL(test, balloon_page_pop(&pages));
	balloon_page_push(&pages, first);
	balloon_page_push(&pages, second);
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_pop(&pages), second);
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_pop(&pages), first);
	KUNIT_EXPECT_NULL(test, balloon_page_pop(&pages));
	expect_untouched(test, first, 1);
	expect_untouched(test, second, 1);
	expect_counted(test);
	put_page(first);
	put_page(second);
}

/* Isolation */

static void isolated_page_is_off_the_list(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	struct page *other = inflate(test, &f->a);

	expect_counted(test, .inflated = 2, .pages = 2);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	expect_isolated(test, &f->a, page);
	expect_listed(test, &f->a, other);
	expect_balloon(test, &f->a, 1, 1);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, other));
	expect_isolated(test, &f->a, page);
	expect_isolated(test, &f->a, other);
	expect_balloon(test, &f->a, 0, 2);
	expect_balloon(test, &f->b, 0, 0);
	/* It is still in the balloon. */
	expect_counted(test);
}

static void isolated_page_is_not_isolated_again(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);

	expect_no_isolation(test, page);
	expect_isolated(test, &f->a, page);
	expect_balloon(test, &f->a, 0, 1);
}

static void isolated_page_is_not_deflated(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *other = inflate(test, &f->a);
	struct page *page = inflate_and_isolate(test, &f->a);

	expect_counted(test, .inflated = 2, .pages = 2);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 1);
	expect_deflated(test, other, 0);
	expect_isolated(test, &f->a, page);
	expect_balloon(test, &f->a, 0, 1);
	expect_counted(test, .deflated = 1, .pages = -1);

	/* Isolated pages come back: this is not the time for a BUG(). */
	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->a.info));
	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 0);
	expect_isolated(test, &f->a, page);
	expect_balloon(test, &f->a, 0, 1);
	expect_counted(test);
}

static void page_put_back_is_on_the_list(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *other = inflate_and_isolate(test, &f->a);
	int i;

	expect_counted(test, .inflated = 2, .pages = 2);
	for (i = 0; i < 2; i++) {
		putback(&f->a);
		expect_listed(test, &f->a, page);
		expect_listed(test, &f->a, other);
		expect_balloon(test, &f->a, 2, 0);
		KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
		expect_balloon(test, &f->a, 1, 1);
		KUNIT_ASSERT_TRUE(test, isolate(&f->a, other));
	}
	putback(&f->a);
	expect_calls(test, &f->a, 0);
	expect_counted(test);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 2);
	expect_deflated(test, page, 0);
	expect_deflated(test, other, 0);
	expect_counted(test, .deflated = 2, .pages = -2);
}

static void page_not_yet_inflated_is_not_isolated(struct kunit *test)
{
	struct page *page = new_page(test);

	expect_no_isolation(test, page);
	expect_untouched(test, page, 1);
	put_page(page);
}

static void deflated_page_is_not_isolated(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page[2], *pos;
	LIST_HEAD(pages);
	int i;

	for (i = 0; i < ARRAY_SIZE(page); i++)
		page[i] = inflate(test, &f->a);

	/* The driver has it on a list of its own, */
	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(&f->a.info, &pages,
							ALL_PAGES), 2);
	for (i = 0; i < ARRAY_SIZE(page); i++) {
		expect_no_isolation(test, page[i]);
		expect_deflated(test, page[i], 1);
	}
	expect_balloon(test, &f->a, 0, 0);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&pages), 2);

	/* or has let go of it, but someone else keeps it from being freed. */
	while ((pos = balloon_page_pop(&pages)))
		put_page(pos);
	for (i = 0; i < ARRAY_SIZE(page); i++) {
		expect_no_isolation(test, page[i]);
		expect_deflated(test, page[i], 0);
	}
	expect_balloon(test, &f->a, 0, 0);
}

/* Not the one that it was in when migration found out that it is movable */
static void isolation_counts_for_the_balloon_of_the_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	bool isolated;

	/* The first half of isolate_movable_page() */
	get_page(page);
	KUNIT_EXPECT_TRUE(test, __PageMovable(page));
	lock_page(page);

	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	balloon_page_enqueue(&f->b.info, page);

	/* The second half */
	isolated = page_movable_ops(page)->isolate_page(page, 0);
	KUNIT_EXPECT_TRUE(test, isolated);
	expect_balloon(test, &f->a, 0, 0);
	expect_balloon(test, &f->b, 0, 1);
	if (isolated)
		SetPageIsolated(page);
	unlock_page(page);
	if (isolated)
		list_add_tail(&page->lru, &f->b.isolated);
	else
		put_page(page);

	expect_isolated(test, &f->b, page);
	putback(&f->b);
	expect_listed(test, &f->b, page);
	expect_balloon(test, &f->a, 0, 0);
	expect_balloon(test, &f->b, 1, 0);
}

static void isolation_frees_deflated_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	const struct movable_operations *mops;
	LIST_HEAD(pages);

	/* The first half of isolate_movable_page() */
	get_page(page);
	KUNIT_EXPECT_TRUE(test, __PageMovable(page));
	lock_page(page);

	KUNIT_EXPECT_EQ(test, deflate(&f->a, 1), 1);
	unhold_page(test, page);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);

	/* The second half: the page has to be fit for both. */
	KUNIT_EXPECT_TRUE(test, PageMovable(page));
	if (__PageMovable(page)) {
		mops = page_movable_ops(page);
		KUNIT_EXPECT_FALSE(test, mops->isolate_page(page, 0));
	}
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	expect_balloon(test, &f->a, 0, 0);
	unlock_page(page);
	put_page(page);
}

/* vmw_balloon does so with pages that the host did not take back. */
static void page_may_be_enqueued_again(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	struct page *target;

	/* In the same balloon, */
	KUNIT_ASSERT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	balloon_page_enqueue(&f->a.info, page);
	expect_listed(test, &f->a, page);
	expect_balloon(test, &f->a, 1, 0);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	putback(&f->a);
	expect_listed(test, &f->a, page);

	/* in another, */
	KUNIT_ASSERT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	balloon_page_enqueue(&f->b.info, page);
	expect_listed(test, &f->b, page);
	expect_balloon(test, &f->a, 0, 0);
	expect_balloon(test, &f->b, 1, 0);
	KUNIT_ASSERT_TRUE(test, isolate(&f->b, page));
	expect_balloon(test, &f->a, 0, 0);
	expect_balloon(test, &f->b, 0, 1);

	/* and from there to another page. */
	target = add_target(&f->b, new_page(test));
	KUNIT_EXPECT_EQ(test, migrate(&f->b), 0);
	expect_calls(test, &f->a, 0);
	expect_calls(test, &f->b, 1);
	expect_listed(test, &f->b, target);
	expect_deflated(test, page, 0);
	expect_counted(test, .inflated = 3, .deflated = 2, .migrated = 1,
		       .pages = 1);
}

/* Balloon code neither takes the page lock nor cares who does. */
static void locked_page_is_deflated_and_inflated(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	LIST_HEAD(pages);

	lock_page(page);
	KUNIT_EXPECT_EQ(test,
			balloon_page_list_dequeue(&f->a.info, &pages, 1), 1);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	expect_deflated(test, page, 1);
	balloon_page_list_enqueue(&f->a.info, &pages);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	/* But migration does. */
	expect_no_isolation(test, page);
	unlock_page(page);
	expect_listed(test, &f->a, page);
	expect_balloon(test, &f->a, 1, 0);
	KUNIT_EXPECT_TRUE(test, isolate(&f->a, page));
	expect_isolated(test, &f->a, page);
}

/* Migration */

static void migration_exchanges_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *other = inflate(test, &f->a);
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	expect_counted(test, .inflated = 2, .pages = 2, .managed = -2 * adjust);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&f->a.isolated));
	expect_calls(test, &f->a, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->a.newpage, target);
	KUNIT_EXPECT_PTR_EQ(test, f->a.page, page);
	KUNIT_EXPECT_EQ(test, f->a.mode, MIGRATE_ASYNC);
	expect_listed(test, &f->a, target);
	expect_listed(test, &f->a, other);
	expect_deflated(test, page, 0);
	expect_balloon(test, &f->a, 2, 0);
	expect_counted(test, .migrated = 1);

	/* The new page is as good as the old one. */
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, target));
	expect_balloon(test, &f->a, 1, 1);
	putback(&f->a);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 2);
	expect_deflated(test, target, 0);
	expect_counted(test, .deflated = 2, .pages = -2,
		       .managed = 2 * adjust);
}

static void refusal_deflates_old_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
	migratepage_returns(&f->a, -ENOENT);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&f->a.isolated));
	expect_calls(test, &f->a, 1);
	expect_deflated(test, page, 0);
	expect_untouched(test, target, 0);
	expect_balloon(test, &f->a, 0, 0);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);

	/* The balloon may be empty now, and then it is. */
	KUNIT_EXPECT_EQ(test, deflate(&f->a, 1), 0);
	expect_counted(test);
}

static void refused_page_is_left_alone(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = new_page(test);
	int rc;

	/* Before migration has put any reference */
	migratepage_returns(&f->a, -ENOENT);
	rc = core_migrate(target, page);
	KUNIT_EXPECT_EQ(test, rc, MIGRATEPAGE_SUCCESS);
	KUNIT_EXPECT_EQ(test, f->a.mode, MIGRATE_SYNC);
	expect_untouched(test, target, 1);
	expect_deflated(test, page, 1);
	core_finish(target, page, rc);
	expect_untouched(test, target, 0);
	expect_deflated(test, page, 0);
}

static void failed_migration_changes_nothing(struct kunit *test)
{
	static const int errors[] = { -EBUSY, -EINVAL, -EAGAIN };
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *other = inflate(test, &f->a);
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target;
	int i;

	expect_counted(test, .inflated = 2, .pages = 2, .managed = -2 * adjust);
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		set_results(&f->a, &errors[i], 1);
		target = add_target(&f->a, new_page(test));
		KUNIT_EXPECT_EQ(test, migrate(&f->a), 1);
		if (errors[i] == -EAGAIN)
			KUNIT_EXPECT_GT(test, f->a.nr_calls, 1);
		else
			KUNIT_EXPECT_EQ(test, f->a.nr_calls, 1);
		expect_isolated(test, &f->a, page);
		expect_listed(test, &f->a, other);
		expect_untouched(test, target, 0);
		expect_balloon(test, &f->a, 1, 1);

		putback(&f->a);
		expect_listed(test, &f->a, page);
		expect_balloon(test, &f->a, 2, 0);
		expect_counted(test);
		KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	}
}

static void migration_is_retried(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	migratepage_returns(&f->a, -EAGAIN, -EAGAIN, 0);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	expect_calls(test, &f->a, 3);
	expect_listed(test, &f->a, target);
	expect_deflated(test, page, 0);
	expect_balloon(test, &f->a, 1, 0);
	expect_counted(test, .inflated = 1, .migrated = 1, .pages = 1);
}

static void migration_takes_each_page_on_its_own(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page[3], *target[3];
	int i;

	for (i = 0; i < ARRAY_SIZE(page); i++) {
		page[i] = inflate_and_isolate(test, &f->a);
		target[i] = add_target(&f->a, new_page(test));
	}
	expect_counted(test, .inflated = 3, .pages = 3, .managed = -3 * adjust);
	migratepage_returns(&f->a, -EBUSY, 0, -ENOENT);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 1);
	expect_calls(test, &f->a, 3);
	expect_isolated(test, &f->a, page[0]);
	expect_untouched(test, target[0], 0);
	expect_deflated(test, page[1], 0);
	expect_listed(test, &f->a, target[1]);
	expect_deflated(test, page[2], 0);
	expect_untouched(test, target[2], 0);
	expect_balloon(test, &f->a, 1, 1);
	expect_counted(test, .migrated = 1, .deflated = 1, .pages = -1,
		       .managed = adjust);

	putback(&f->a);
	expect_listed(test, &f->a, page[0]);
	expect_balloon(test, &f->a, 2, 0);
	expect_counted(test);
}

static struct page *page_on_node(struct kunit *test, int nid)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NORETRY |
		    __GFP_NOWARN;

	return hold_page(test, alloc_pages_node(nid, gfp, 0));
}

/* Return a page on one node in the balloon, and a new page on another. */
static struct page *inflate_on_node(struct kunit *test, struct test_balloon *b,
				    struct page **target)
{
	int from = first_node(node_states[N_MEMORY]);
	int to = next_node(from, node_states[N_MEMORY]);
	struct page *page;

	if (to >= MAX_NUMNODES)
		kunit_skip(test, "needs two nodes with memory");
	page = page_on_node(test, from);
	*target = page_on_node(test, to);
	balloon_page_enqueue(&b->info, page);
	return page;
}

static void counter_follows_page_to_node(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *target;
	struct page *page = inflate_on_node(test, &f->a, &target);
	long nr_from = read_balloon_pages(page_to_nid(page)) - 1;
	long nr_to = read_balloon_pages(page_to_nid(target));

	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	add_target(&f->a, target);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	expect_listed(test, &f->a, target);
	expect_deflated(test, page, 0);
	expect_balloon_pages(test, page_to_nid(page), nr_from);
	expect_balloon_pages(test, page_to_nid(target), nr_to + 1);
	expect_counted(test, .migrated = 1);

	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 1);
	expect_balloon_pages(test, page_to_nid(page), nr_from);
	expect_balloon_pages(test, page_to_nid(target), nr_to);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);
}

static void refused_page_counts_on_no_node(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *target;
	struct page *page = inflate_on_node(test, &f->a, &target);
	long nr_from = read_balloon_pages(page_to_nid(page)) - 1;
	long nr_to = read_balloon_pages(page_to_nid(target));

	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	add_target(&f->a, target);
	migratepage_returns(&f->a, -ENOENT);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	expect_balloon_pages(test, page_to_nid(page), nr_from);
	expect_balloon_pages(test, page_to_nid(target), nr_to);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);
}

static struct page *page_in_other_zone(struct kunit *test, struct page *page)
{
	static const gfp_t gfp[] = { GFP_KERNEL, GFP_DMA32, GFP_DMA };
	struct page *other;
	int i;

	for (i = 0; i < ARRAY_SIZE(gfp); i++) {
		other = alloc_page(gfp[i] | __GFP_NORETRY | __GFP_NOWARN);
		if (other && page_zone(other) != page_zone(page))
			return hold_page(test, other);
		if (other)
			__free_page(other);
	}
	kunit_skip(test, "needs two zones with free memory");
}

static void managed_pages_follow_page_to_zone(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page = inflate(test, &f->a);
	struct page *target = page_in_other_zone(test, page);
	struct zone *from = page_zone(page), *to = page_zone(target);
	long nr_from = zone_managed_pages(from) + adjust;
	long nr_to = zone_managed_pages(to);

	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	add_target(&f->a, target);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	expect_listed(test, &f->a, target);
	expect_deflated(test, page, 0);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(from), nr_from);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(to), nr_to - adjust);
	expect_counted(test, .migrated = 1);

	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 1);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(from), nr_from);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(to), nr_to);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);
}

static void refused_page_stays_managed_in_its_zone(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct page *page = inflate(test, &f->a);
	struct page *target = page_in_other_zone(test, page);
	struct zone *from = page_zone(page), *to = page_zone(target);
	long nr_from = zone_managed_pages(from) + adjust;
	long nr_to = zone_managed_pages(to);

	expect_counted(test, .inflated = 1, .pages = 1, .managed = -adjust);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	add_target(&f->a, target);
	migratepage_returns(&f->a, -ENOENT);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(from), nr_from);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(to), nr_to);
	expect_counted(test, .deflated = 1, .pages = -1, .managed = adjust);
}

/* Migration and the balloon at the same time */

static void balloon_is_usable_while_callback_waits(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *other = inflate(test, &f->a);
	struct page *another = inflate(test, &f->a);
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));
	struct page *late;

	expect_counted(test, .inflated = 3, .pages = 3);
	start_migration(test, &f->a);

	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 2);
	expect_deflated(test, other, 0);
	expect_deflated(test, another, 0);
	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->a.info));
	KUNIT_EXPECT_EQ(test, page_private(page), (unsigned long)&f->a.info);
	KUNIT_EXPECT_TRUE(test, PageOffline(page));
	KUNIT_EXPECT_EQ(test, page_private(target), 0);
	KUNIT_EXPECT_FALSE(test, PageOffline(target));
	late = inflate(test, &f->a);
	expect_balloon(test, &f->a, 1, 1);
	expect_counted(test, .inflated = 1, .deflated = 2, .pages = -1);

	proceed(test, &f->a);
	KUNIT_EXPECT_EQ(test, f->a.migration.rc, 0);
	expect_calls(test, &f->a, 1);
	expect_listed(test, &f->a, late);
	expect_listed(test, &f->a, target);
	expect_deflated(test, page, 0);
	expect_balloon(test, &f->a, 2, 0);
	expect_counted(test, .migrated = 1);
}

static void other_balloon_works_while_callback_waits(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page_a = inflate_and_isolate(test, &f->a);
	struct page *target_a = add_target(&f->a, new_page(test));
	struct page *other_a = inflate(test, &f->a);
	struct page *page_b, *target_b;

	start_migration(test, &f->a);
	expect_counted(test, .inflated = 2, .pages = 2);

	/* All of this is about the other balloon, ... */
	inflate(test, &f->b);
	KUNIT_EXPECT_EQ(test, deflate(&f->b, ALL_PAGES), 1);
	page_b = inflate_and_isolate(test, &f->b);
	expect_balloon(test, &f->b, 0, 1);
	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->b.info));
	target_b = add_target(&f->b, new_page(test));
	KUNIT_EXPECT_EQ(test, migrate(&f->b), 0);
	expect_calls(test, &f->b, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->b.newpage, target_b);
	KUNIT_EXPECT_PTR_EQ(test, f->b.page, page_b);
	expect_deflated(test, page_b, 0);
	expect_listed(test, &f->b, target_b);
	expect_balloon(test, &f->b, 1, 0);
	expect_counted(test, .inflated = 2, .deflated = 1, .migrated = 1,
		       .pages = 1);

	/* ... so nothing changed here. */
	expect_listed(test, &f->a, other_a);
	expect_balloon(test, &f->a, 1, 1);
	proceed(test, &f->a);
	KUNIT_EXPECT_EQ(test, f->a.migration.rc, 0);
	expect_calls(test, &f->a, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->a.newpage, target_a);
	KUNIT_EXPECT_PTR_EQ(test, f->a.page, page_a);
	expect_deflated(test, page_a, 0);
	expect_listed(test, &f->a, target_a);
	expect_balloon(test, &f->a, 2, 0);
	expect_balloon(test, &f->b, 1, 0);
	expect_counted(test, .migrated = 1);
}

static void new_page_is_deflated_before_migration_unlocks_it(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = new_page(test);
	int rc;

	rc = core_migrate(target, page);
	KUNIT_EXPECT_EQ(test, rc, MIGRATEPAGE_SUCCESS);
	expect_deflated(test, page, 1);
	expect_balloon(test, &f->a, 1, 0);
	/* The references of migration and balloon */
	KUNIT_EXPECT_EQ(test, page_refs(target), 2);

	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 1);
	KUNIT_EXPECT_TRUE(test, PageLocked(target));
	expect_deflated(test, target, 1);
	expect_counted(test, .inflated = 1, .deflated = 1, .migrated = 1);

	core_finish(target, page, rc);
	expect_deflated(test, target, 0);
	expect_deflated(test, page, 0);
	expect_no_isolation(test, target);
	expect_balloon(test, &f->a, 0, 0);
}

/* Nobody but the core has a reference when it is done with the pages. */
static void migration_frees_both_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = new_page(test);
	int rc;

	rc = core_migrate(target, page);
	KUNIT_EXPECT_EQ(test, rc, MIGRATEPAGE_SUCCESS);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 1);
	unhold_page(test, page);
	unhold_page(test, target);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(target), 1);
	core_finish(target, page, rc);
	expect_balloon(test, &f->a, 0, 0);
}

static void page_is_deflated_before_putback_unlocks_it(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);

	/* The first half of putback_movable_pages() */
	list_del(&page->lru);
	lock_page(page);
	page_movable_ops(page)->putback_page(page);
	expect_balloon(test, &f->a, 1, 0);

	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	balloon_page_enqueue(&f->b.info, page);
	KUNIT_EXPECT_EQ(test, page_private(page), (unsigned long)&f->b.info);
	/* The page is not in the hands of migration, but looks like it. */
	expect_no_isolation(test, page);

	/* The second half */
	ClearPageIsolated(page);
	unlock_page(page);
	put_page(page);

	expect_listed(test, &f->b, page);
	expect_balloon(test, &f->a, 0, 0);
	expect_balloon(test, &f->b, 1, 0);
	KUNIT_EXPECT_TRUE(test, isolate(&f->b, page));
	expect_isolated(test, &f->b, page);
	expect_balloon(test, &f->b, 0, 1);
	expect_counted(test, .inflated = 2, .deflated = 1, .pages = 1);
}

/* balloon_wait_isolated() */

static void wait_isolated_returns_if_none_is(struct kunit *test)
{
	struct fixture *f = test->priv;

	inflate(test, &f->a);
	inflate_and_isolate(test, &f->b);
	queue_job(&f->a.wait_isolated);
	KUNIT_EXPECT_TRUE(test, wait_for_job(&f->a.wait_isolated));
	expect_balloon(test, &f->a, 1, 0);
	expect_balloon(test, &f->b, 0, 1);
}

static void wait_isolated_waits_for_putback(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);

	start_wait_isolated(test, &f->a);
	putback(&f->a);
	KUNIT_ASSERT_TRUE(test, wait_for_job(&f->a.wait_isolated));
	expect_listed(test, &f->a, page);
	expect_balloon(test, &f->a, 1, 0);
}

static void wait_isolated_waits_for_migration(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	start_migration(test, &f->a);
	start_wait_isolated(test, &f->a);
	complete_all(&f->a.proceed);
	KUNIT_ASSERT_TRUE(test, wait_for_job(&f->a.wait_isolated));
	expect_balloon(test, &f->a, 1, 0);
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	KUNIT_EXPECT_EQ(test, page_private(target), (unsigned long)&f->a.info);

	proceed(test, &f->a);
	KUNIT_EXPECT_EQ(test, f->a.migration.rc, 0);
	expect_deflated(test, page, 0);
	expect_listed(test, &f->a, target);
}

static void wait_isolated_waits_for_refusal(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	expect_counted(test, .inflated = 1, .pages = 1);
	migratepage_returns(&f->a, -ENOENT);
	start_migration(test, &f->a);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 0);
	start_wait_isolated(test, &f->a);
	complete_all(&f->a.proceed);
	KUNIT_ASSERT_TRUE(test, wait_for_job(&f->a.wait_isolated));
	/* The balloon may go now: no page refers to it, all is counted. */
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	expect_balloon(test, &f->a, 0, 0);
	expect_counted(test, .deflated = 1, .pages = -1);

	proceed(test, &f->a);
	KUNIT_EXPECT_EQ(test, f->a.migration.rc, 0);
	expect_deflated(test, page, 0);
	expect_untouched(test, target, 0);
}

/* All together, with pages that are freed as soon as nobody wants them */

static void counts_sum_up_to_zero(struct kunit *test)
{
	struct fixture *f = test->priv;
	long adjust = set_managed_param(test);
	struct test_balloon *balloons[] = { &f->a, &f->b }, *b;
	struct page *page;
	int i, j, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 8; i++) {
			b = balloons[i % 2];
			page = inflate(test, b);
			if (i / 2 < 3)
				KUNIT_ASSERT_TRUE(test, isolate(b, page));
			unhold_page(test, page);
		}
		expect_balloon(test, &f->a, 1, 3);
		expect_balloon(test, &f->b, 1, 3);
		expect_counted(test, .inflated = 8, .pages = 8,
			       .managed = -8 * adjust);

		for (i = 0; i < 2; i++) {
			b = balloons[i];
			for (j = 0; j < 3; j++) {
				page = add_target(b, new_page(test));
				unhold_page(test, page);
			}
			migratepage_returns(b, 0, -EBUSY, -ENOENT);
			KUNIT_EXPECT_EQ(test, migrate(b), 1);
			expect_calls(test, b, 3);
			expect_balloon(test, b, 2, 1);
		}
		expect_counted(test, .deflated = 2, .migrated = 2, .pages = -2,
			       .managed = 2 * adjust);

		KUNIT_EXPECT_EQ(test, deflate(&f->a, 1), 1);
		putback(&f->a);
		KUNIT_EXPECT_EQ(test, deflate(&f->a, ALL_PAGES), 2);
		putback(&f->b);
		KUNIT_EXPECT_EQ(test, deflate(&f->b, ALL_PAGES), 3);
		expect_balloon(test, &f->a, 0, 0);
		expect_balloon(test, &f->b, 0, 0);
		expect_counted(test, .deflated = 6, .pages = -6,
			       .managed = 6 * adjust);
	}
}

static struct kunit_case balloon_test_cases[] = {
	KUNIT_CASE(new_balloon_is_empty),
	KUNIT_CASE_PARAM(inflated_page_is_in_balloon, managed_gen_params),
	KUNIT_CASE_PARAM(deflated_page_is_in_no_balloon, managed_gen_params),
	KUNIT_CASE_PARAM(list_enqueue_takes_all_pages, managed_gen_params),
	KUNIT_CASE_PARAM(list_dequeue_gives_what_there_is, managed_gen_params),
	KUNIT_CASE(pop_gives_what_was_pushed),
	KUNIT_CASE(isolated_page_is_off_the_list),
	KUNIT_CASE(isolated_page_is_not_isolated_again),
	KUNIT_CASE(isolated_page_is_not_deflated),
	KUNIT_CASE(page_put_back_is_on_the_list),
	KUNIT_CASE(page_not_yet_inflated_is_not_isolated),
	KUNIT_CASE(deflated_page_is_not_isolated),
	KUNIT_CASE(isolation_counts_for_the_balloon_of_the_page),
	KUNIT_CASE(isolation_frees_deflated_page),
	KUNIT_CASE(page_may_be_enqueued_again),
	KUNIT_CASE(locked_page_is_deflated_and_inflated),
	KUNIT_CASE_PARAM(migration_exchanges_pages, managed_gen_params),
	KUNIT_CASE_PARAM(refusal_deflates_old_page, managed_gen_params),
	KUNIT_CASE(refused_page_is_left_alone),
	KUNIT_CASE_PARAM(failed_migration_changes_nothing, managed_gen_params),
	KUNIT_CASE(migration_is_retried),
	KUNIT_CASE_PARAM(migration_takes_each_page_on_its_own,
			 managed_gen_params),
	KUNIT_CASE_PARAM(counter_follows_page_to_node, managed_gen_params),
	KUNIT_CASE_PARAM(refused_page_counts_on_no_node, managed_gen_params),
	KUNIT_CASE_PARAM(managed_pages_follow_page_to_zone, managed_gen_params),
	KUNIT_CASE_PARAM(refused_page_stays_managed_in_its_zone,
			 managed_gen_params),
	KUNIT_CASE(balloon_is_usable_while_callback_waits),
	KUNIT_CASE(other_balloon_works_while_callback_waits),
	KUNIT_CASE(new_page_is_deflated_before_migration_unlocks_it),
	KUNIT_CASE(migration_frees_both_pages),
	KUNIT_CASE(page_is_deflated_before_putback_unlocks_it),
	KUNIT_CASE(wait_isolated_returns_if_none_is),
	KUNIT_CASE(wait_isolated_waits_for_putback),
	KUNIT_CASE(wait_isolated_waits_for_migration),
	KUNIT_CASE(wait_isolated_waits_for_refusal),
	KUNIT_CASE_PARAM(counts_sum_up_to_zero, managed_gen_params),
	{}
};

static struct kunit_suite balloon_test_suite = {
	.name = "balloon_compaction",
	.suite_init = balloon_test_suite_init,
	.init = balloon_test_init,
	.exit = balloon_test_exit,
	.test_cases = balloon_test_cases,
};

kunit_test_suite(balloon_test_suite);
