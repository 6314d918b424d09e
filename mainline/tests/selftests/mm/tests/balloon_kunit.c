// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for memory balloons under page migration. The rules that they
 * check are in include/linux/balloon.h.
 *
 * Tests isolate, migrate and put back pages with the functions that compaction
 * uses. To act in the middle of such a function, a test does its steps itself.
 *
 * Counters are global, so the tests are skipped if a balloon driver has pages.
 */
#include <kunit/test.h>
#include <linux/balloon.h>
#include <linux/initrd.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

/* More than any test needs, and a limit for lists that are corrupted */
#define MAX_PAGES	15

struct test_balloon {
	struct balloon_dev_info info;
	struct kunit *test;
	/* Pages for migrate_pages(), and those that it migrates to */
	struct list_head isolated;
	struct list_head targets;
	struct delayed_work end_isolation;

	/* What migratepage() returns for the first calls, and from then on */
	const int *results;
	unsigned int nr_results;
	int result;
	/* migratepage() calls this, if it is set */
	void (*during_migration)(struct kunit *test);
	/* How migratepage() was called */
	unsigned int nr_calls;
	struct page *newpage;
	struct page *page;
};

struct node_counts {
	long balloon_pages;
	long managed[MAX_NR_ZONES];
};

struct fixture {
	/* Only the first one adjusts the number of managed pages */
	struct test_balloon a;
	struct test_balloon b;
	/* All pages of the test, see hold_page() */
	struct page *pages[MAX_PAGES];
	unsigned int nr_pages;
	bool old_bad_page;
	unsigned long events[NR_VM_EVENT_ITEMS];
	unsigned long old_events[NR_VM_EVENT_ITEMS];
	struct node_counts old_counts[];
};

/* What tests that failed have left in NR_BALLOON_PAGES */
static long old_balloon_pages;

static int test_migratepage(struct balloon_dev_info *info,
			    struct page *newpage, struct page *page,
			    enum migrate_mode mode)
{
	struct test_balloon *b = container_of(info, struct test_balloon, info);
	unsigned int call = b->nr_calls++;

	KUNIT_EXPECT_TRUE(b->test, PageLocked(newpage));
	KUNIT_EXPECT_TRUE(b->test, PageLocked(page));
	/* balloon_pages_lock is not held. */
	KUNIT_EXPECT_FALSE(b->test, irqs_disabled());
	b->newpage = newpage;
	b->page = page;
	if (b->during_migration && !irqs_disabled())
		b->during_migration(b->test);
	return call < b->nr_results ? b->results[call] : b->result;
}

/* Takes a reference for the test, which looks at pages after deflation */
static struct page *hold_page(struct kunit *test, struct page *page)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_LT(test, f->nr_pages, MAX_PAGES);
	get_page(page);
	f->pages[f->nr_pages++] = page;
	return page;
}

static struct page *pop_page(struct list_head *pages)
{
	struct page *page = list_first_entry_or_null(pages, struct page, lru);

	if (page)
		list_del(&page->lru);
	return page;
}

static void unhold_pages(struct fixture *f)
{
	while (f->nr_pages)
		put_page(f->pages[--f->nr_pages]);
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
	LIST_HEAD(pages);
	size_t nr = balloon_page_list_dequeue(&b->info, &pages, nr_pages);
	struct page *page;

	while ((page = pop_page(&pages)))
		put_page(page);
	return nr;
}

static bool isolate(struct test_balloon *b, struct page *page)
{
	if (!isolate_movable_ops_page(page, ISOLATE_UNEVICTABLE))
		return false;
	list_add_tail(&page->lru, &b->isolated);
	return true;
}

static struct page *inflate_and_isolate(struct kunit *test,
					struct test_balloon *b)
{
	struct page *page = inflate(test, b);

	KUNIT_ASSERT_TRUE(test, isolate(b, page));
	return page;
}

static struct page *add_target(struct test_balloon *b, struct page *page)
{
	list_add_tail(&page->lru, &b->targets);
	return page;
}

static struct folio *get_target(struct folio *src, unsigned long private)
{
	struct test_balloon *b = (struct test_balloon *)private;
	struct page *page = pop_page(&b->targets);

	return page ? page_folio(page) : NULL;
}

static int migrate(struct test_balloon *b)
{
	return migrate_pages(&b->isolated, get_target, NULL, (unsigned long)b,
			     MIGRATE_ASYNC, MR_COMPACTION, NULL);
}

static void end_isolation_work(struct work_struct *work)
{
	struct test_balloon *b = container_of(work, struct test_balloon,
					      end_isolation.work);

	migrate(b);
	putback_movable_pages(&b->isolated);
}

/* The first half of isolate_movable_ops_page(), and the second one */
static void begin_isolation(struct page *page)
{
	get_page(page);
	lock_page(page);
}

static bool end_isolation(struct test_balloon *b, struct page *page)
{
	bool isolated = page_has_movable_ops(page) &&
			balloon_mops.isolate_page(page, 0);

	if (isolated) {
		SetPageMovableOpsIsolated(page);
		list_add_tail(&page->lru, &b->isolated);
	}
	unlock_page(page);
	if (!isolated)
		put_page(page);
	return isolated;
}

/* How often a page is on the list, or the length of the list for NULL */
static unsigned long list_count(struct test_balloon *b, struct page *page)
{
	unsigned long nr = 0, length = 0;
	struct page *pos;

	list_for_each_entry(pos, &b->info.pages, lru) {
		nr += !page || pos == page;
		if (++length >= MAX_PAGES)
			break;
	}
	return nr;
}

/* A page's state, with the number of references in the last digit */
#define ON_LIST_A	0x000010
#define ON_LIST_B	0x000100
#define IN_A		0x001000
#define IN_B		0x002000
#define OFFLINE		0x010000
#define MOVABLE		0x020000
#define ISOLATED	0x040000

/* One reference is the balloon's, the other one the migration core's. */
#define LISTED_A	(OFFLINE | MOVABLE | IN_A | ON_LIST_A | 1)
#define LISTED_B	(OFFLINE | MOVABLE | IN_B | ON_LIST_B | 1)
#define ISOLATED_A	(OFFLINE | MOVABLE | IN_A | ISOLATED | 2)
#define ISOLATED_B	(OFFLINE | MOVABLE | IN_B | ISOLATED | 2)
/* Until it is freed, a page stays what it was, but for its balloon. */
#define DEFLATED(refs)	(OFFLINE | MOVABLE | (refs))
/* It was never in a balloon. */
#define NEW(refs)	(refs)

static unsigned long page_state(struct fixture *f, struct page *page)
{
	unsigned long private = page_private(page);

	return (page_ref_count(page) - 1) | /* without the test's own */
	       list_count(&f->a, page) * ON_LIST_A |
	       list_count(&f->b, page) * ON_LIST_B |
	       (private == (unsigned long)&f->a.info ? IN_A : 0) |
	       (private == (unsigned long)&f->b.info ? IN_B : 0) |
	       (PageOffline(page) ? OFFLINE : 0) |
	       (page_has_movable_ops(page) ? MOVABLE : 0) |
	       (PageMovableOpsIsolated(page) ? ISOLATED : 0);
}

static long count_event(struct fixture *f, enum vm_event_item item)
{
	all_vm_events(f->events);
	return f->events[item] - f->old_events[item];
}

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

static void check_node(struct kunit *test, int line, int nid)
{
	struct fixture *f = test->priv;
	struct node_counts expected = f->old_counts[nid];
	struct zone *zones = NODE_DATA(nid)->node_zones;
	int i, tries = 20;

	for (i = 0; i < f->nr_pages; i++) {
		struct page *page = f->pages[i];

		if (!page_private(page) || page_to_nid(page) != nid)
			continue;
		expected.balloon_pages++;
		if (page_private(page) == (unsigned long)&f->a.info)
			expected.managed[page_zonenum(page)]--;
	}
	/* A CPU may be about to add its part to the counter of the node. */
	while (read_balloon_pages(nid) != expected.balloon_pages && tries--)
		schedule_timeout_uninterruptible(1);
	KUNIT_EXPECT_EQ_MSG(test, read_balloon_pages(nid),
			    expected.balloon_pages, "node %d, line %d", nid,
			    line);
	for (i = 0; i < MAX_NR_ZONES; i++)
		KUNIT_EXPECT_EQ_MSG(test, (long)zone_managed_pages(&zones[i]),
				    expected.managed[i],
				    "node %d zone %s, line %d", nid,
				    zones[i].name, line);
}

/* All counters have to agree with these events and the pages of the test. */
static void check_counts(struct kunit *test, int line, long inflated,
			 long deflated, long migrated)
{
	struct fixture *f = test->priv;
	long in_balloons = 0;
	int i;

	KUNIT_EXPECT_EQ_MSG(test, count_event(f, BALLOON_INFLATE), inflated,
			    "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, count_event(f, BALLOON_DEFLATE), deflated,
			    "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, count_event(f, BALLOON_MIGRATE), migrated,
			    "line %d", line);
	for (i = 0; i < f->nr_pages; i++)
		in_balloons += !!page_private(f->pages[i]);
	KUNIT_EXPECT_EQ_MSG(test, in_balloons, inflated - deflated, "line %d",
			    line);
	KUNIT_EXPECT_EQ_MSG(test, list_count(&f->a, NULL) +
			    list_count(&f->b, NULL) + f->a.info.isolated_pages +
			    f->b.info.isolated_pages, in_balloons, "line %d",
			    line);
	for_each_online_node(i)
		check_node(test, line, i);
}

#define expect_counts(test, inflated, deflated, migrated)		\
	check_counts(test, __LINE__, inflated, deflated, migrated)

static void enqueue_and_dequeue(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = new_page(test);

	KUNIT_EXPECT_EQ(test, page_state(f, page), NEW(1));
	balloon_page_enqueue(&f->a.info, page);
	KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_A);
	expect_counts(test, 1, 0, 0);
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(1));
	expect_counts(test, 1, 1, 0);

	/* vmw_balloon does this if the host does not take a page back. */
	balloon_page_enqueue(&f->a.info, page);
	KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_A);
	expect_counts(test, 2, 1, 0);
}

static void list_enqueue_and_dequeue(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct balloon_dev_info *info = &f->a.info;
	struct page *page;
	LIST_HEAD(pages);
	int i;

	for (i = 0; i < 3; i++)
		list_add(&new_page(test)->lru, &pages);
	KUNIT_EXPECT_EQ(test, balloon_page_list_enqueue(info, &pages), 3);
	KUNIT_EXPECT_TRUE(test, list_empty(&pages));
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, page_state(f, f->pages[i]), LISTED_A);
	expect_counts(test, 3, 0, 0);

	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 0), 0);
	expect_counts(test, 3, 0, 0);
	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 2), 2);
	expect_counts(test, 3, 2, 0);
	KUNIT_EXPECT_EQ(test, balloon_page_list_dequeue(info, &pages, 2), 1);
	expect_counts(test, 3, 3, 0);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&pages), 3);
	while ((page = pop_page(&pages))) {
		KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(1));
		put_page(page);
	}
}

static void dequeue_and_enqueue_locked_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);

	lock_page(page);
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	balloon_page_enqueue(&f->a.info, page);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_A);
}

static void isolate_and_putback(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	struct page *other = inflate(test, &f->a);

	KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), ISOLATED_A);
	KUNIT_EXPECT_EQ(test, page_state(f, other), LISTED_A);
	expect_counts(test, 2, 0, 0);
	KUNIT_ASSERT_TRUE(test, isolate(&f->a, other));
	KUNIT_EXPECT_EQ(test, page_state(f, other), ISOLATED_A);
	expect_counts(test, 2, 0, 0);
	putback_movable_pages(&f->a.isolated);
	KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_A);
	KUNIT_EXPECT_EQ(test, page_state(f, other), LISTED_A);
	expect_counts(test, 2, 0, 0);
	KUNIT_EXPECT_TRUE(test, isolate(&f->a, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), ISOLATED_A);
	expect_counts(test, 2, 0, 0);
}

static void isolate_isolated_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);

	KUNIT_EXPECT_FALSE(test, isolate(&f->a, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), ISOLATED_A);
	expect_counts(test, 1, 0, 0);
}

static void isolate_page_in_no_balloon(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = new_page(test);

	KUNIT_EXPECT_FALSE(test, isolate(&f->a, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), NEW(1));
	balloon_page_enqueue(&f->a.info, page);
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	KUNIT_EXPECT_FALSE(test, isolate(&f->a, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(1));
	/* The driver has put it, but it is not freed yet. */
	put_page(page);
	KUNIT_EXPECT_FALSE(test, isolate(&f->a, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(0));
	expect_counts(test, 1, 1, 0);
}

static void dequeue_isolated_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);

	inflate(test, &f->a);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, MAX_PAGES), 1);
	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->a.info));
	KUNIT_EXPECT_EQ(test, page_state(f, page), ISOLATED_A);
	expect_counts(test, 2, 1, 0);
}

static void isolation_meets_deflation(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);

	begin_isolation(page);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, 1), 1);
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(1));
	/* Now isolation has the last reference. */
	unhold_pages(f);
	KUNIT_EXPECT_FALSE(test, end_isolation(&f->a, page));
	expect_counts(test, 1, 1, 0);
}

static void isolation_meets_other_balloon(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);

	begin_isolation(page);
	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	balloon_page_enqueue(&f->b.info, page);
	KUNIT_ASSERT_TRUE(test, end_isolation(&f->b, page));
	KUNIT_EXPECT_EQ(test, page_state(f, page), ISOLATED_B);
	KUNIT_EXPECT_EQ(test, f->b.info.isolated_pages, 1);
	putback_movable_pages(&f->b.isolated);
	KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_B);
	expect_counts(test, 2, 1, 0);
}

static void putback_meets_deflation(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);

	/* The first half of putback_movable_pages() */
	list_del(&page->lru);
	lock_page(page);
	balloon_mops.putback_page(page);

	KUNIT_EXPECT_PTR_EQ(test, balloon_page_dequeue(&f->a.info), page);
	balloon_page_enqueue(&f->b.info, page);

	/* The second half */
	ClearPageMovableOpsIsolated(page);
	unlock_page(page);
	put_page(page);

	KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_B);
	KUNIT_EXPECT_TRUE(test, isolate(&f->b, page));
	expect_counts(test, 2, 1, 0);
}

static void migrate_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *other = inflate(test, &f->a);
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	KUNIT_EXPECT_EQ(test, f->a.nr_calls, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->a.newpage, target);
	KUNIT_EXPECT_PTR_EQ(test, f->a.page, page);
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(0));
	KUNIT_EXPECT_EQ(test, page_state(f, target), LISTED_A);
	KUNIT_EXPECT_EQ(test, page_state(f, other), LISTED_A);
	KUNIT_EXPECT_TRUE(test, isolate(&f->a, target));
	expect_counts(test, 2, 0, 1);
}

static void migrate_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	f->a.result = -ENOENT;
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(0));
	KUNIT_EXPECT_EQ(test, page_state(f, target), NEW(0));
	expect_counts(test, 1, 1, 0);
}

static void migrate_fails(struct kunit *test)
{
	static const int errors[] = { -EAGAIN, -EBUSY, -EINVAL };
	struct fixture *f = test->priv;
	struct page *page = inflate(test, &f->a);
	struct page *target;
	int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		KUNIT_ASSERT_TRUE(test, isolate(&f->a, page));
		target = add_target(&f->a, new_page(test));
		f->a.result = errors[i];
		KUNIT_EXPECT_EQ(test, migrate(&f->a), 1);
		KUNIT_EXPECT_EQ(test, page_state(f, page), ISOLATED_A);
		KUNIT_EXPECT_EQ(test, page_state(f, target), NEW(0));
		expect_counts(test, 1, 0, 0);
		putback_movable_pages(&f->a.isolated);
		KUNIT_EXPECT_EQ(test, page_state(f, page), LISTED_A);
		expect_counts(test, 1, 0, 0);
	}
}

static void migrate_list(struct kunit *test)
{
	/* The fourth call is for the second page again. */
	static const int results[] = { -EBUSY, -EAGAIN, -ENOENT, 0 };
	struct fixture *f = test->priv;
	struct page *page[3], *target[3];
	int i;

	for (i = 0; i < 3; i++) {
		page[i] = inflate_and_isolate(test, &f->a);
		target[i] = add_target(&f->a, new_page(test));
	}
	f->a.results = results;
	f->a.nr_results = ARRAY_SIZE(results);
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 1);
	KUNIT_EXPECT_EQ(test, f->a.nr_calls, 4);
	KUNIT_EXPECT_EQ(test, page_state(f, page[0]), ISOLATED_A);
	KUNIT_EXPECT_EQ(test, page_state(f, target[0]), NEW(0));
	KUNIT_EXPECT_EQ(test, page_state(f, page[1]), DEFLATED(0));
	KUNIT_EXPECT_EQ(test, page_state(f, target[1]), LISTED_A);
	KUNIT_EXPECT_EQ(test, page_state(f, page[2]), DEFLATED(0));
	KUNIT_EXPECT_EQ(test, page_state(f, target[2]), NEW(0));
	expect_counts(test, 3, 1, 1);
}

static struct page *alloc_elsewhere(struct page *page, bool other_node)
{
	static const gfp_t zones[] = { GFP_HIGHUSER_MOVABLE, GFP_KERNEL,
				       GFP_DMA32, GFP_DMA };
	int i, nid = page_to_nid(page);
	struct page *other;

	if (other_node)
		nid = next_node_in(nid, node_states[N_MEMORY]);
	for (i = 0; i < ARRAY_SIZE(zones); i++) {
		other = alloc_pages_node(nid, zones[i] | __GFP_THISNODE |
					 __GFP_NORETRY | __GFP_NOWARN, 0);
		if (other && page_zone(other) != page_zone(page))
			return other;
		if (other)
			__free_page(other);
	}
	return NULL;
}

static const struct elsewhere_param {
	const char *desc;
	bool other_node;
	int result;
} elsewhere_params[] = {
	{ "migrate to other node", true, 0 },
	{ "migrate to other zone", false, 0 },
	{ "refuse on other node", true, -ENOENT },
	{ "refuse in other zone", false, -ENOENT },
};

KUNIT_ARRAY_PARAM_DESC(elsewhere, elsewhere_params, desc);

static void migrate_elsewhere(struct kunit *test)
{
	const struct elsewhere_param *param = test->param_value;
	struct fixture *f = test->priv;
	struct test_balloon *b[] = { &f->a, &f->b };
	struct page *page[2], *target;
	int i, nr_refused = 0;

	/* No expectation comes before this, because a skip would hide it. */
	for (i = 0; i < ARRAY_SIZE(b); i++) {
		page[i] = inflate(test, b[i]);
		target = alloc_elsewhere(page[i], param->other_node);
		if (!target)
			kunit_skip(test, "needs two %s with free memory",
				   param->other_node ? "nodes" : "zones");
		add_target(b[i], hold_page(test, target));
	}
	for (i = 0; i < ARRAY_SIZE(b); i++) {
		KUNIT_ASSERT_TRUE(test, isolate(b[i], page[i]));
		b[i]->result = param->result;
		KUNIT_EXPECT_EQ(test, migrate(b[i]), 0);
		nr_refused += param->result == -ENOENT;
		expect_counts(test, 2, nr_refused, i + 1 - nr_refused);
	}
}

static void use_balloons(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page, *target;

	KUNIT_EXPECT_EQ(test, deflate(&f->a, MAX_PAGES), 1);
	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->a.info));
	KUNIT_EXPECT_EQ(test, page_state(f, f->a.page), ISOLATED_A);
	KUNIT_EXPECT_EQ(test, page_state(f, f->a.newpage), NEW(1));
	inflate(test, &f->a);
	expect_counts(test, 3, 1, 0);

	page = inflate(test, &f->b);
	target = add_target(&f->b, new_page(test));
	KUNIT_EXPECT_TRUE(test, isolate(&f->b, page));
	KUNIT_EXPECT_EQ(test, migrate(&f->b), 0);
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(0));
	KUNIT_EXPECT_EQ(test, page_state(f, target), LISTED_B);
	expect_counts(test, 4, 1, 1);
}

static void use_balloons_during_migration(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = add_target(&f->a, new_page(test));

	inflate(test, &f->a);
	f->a.during_migration = use_balloons;
	KUNIT_EXPECT_EQ(test, migrate(&f->a), 0);
	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(0));
	KUNIT_EXPECT_EQ(test, page_state(f, target), LISTED_A);
	expect_counts(test, 4, 1, 2);
}

static void migration_meets_deflation(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page = inflate_and_isolate(test, &f->a);
	struct page *target = new_page(test);

	/* The first half of migrate_pages(), up to move_to_new_folio() */
	lock_page(page);
	lock_page(target);
	KUNIT_EXPECT_EQ(test, 0,
			balloon_mops.migrate_page(target, page, MIGRATE_SYNC));
	ClearPageMovableOpsIsolated(page);

	KUNIT_EXPECT_EQ(test, page_state(f, page), DEFLATED(1));
	/* The balloon's reference, and that of the migration core */
	KUNIT_EXPECT_EQ(test, page_state(f, target), LISTED_A + 1);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, 1), 1);
	KUNIT_EXPECT_EQ(test, page_state(f, target), DEFLATED(1));
	expect_counts(test, 1, 1, 1);

	/* The second half has the last references. */
	unhold_pages(f);
	unlock_page(target);
	put_page(target);
	list_del(&page->lru);
	unlock_page(page);
	put_page(page);
}

static void wait_isolated(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct balloon_dev_info *info = &f->a.info;

	/* The isolated page of another balloon does not matter. */
	inflate_and_isolate(test, &f->b);
	balloon_wait_isolated(info);
	/* Nor does one of this balloon, as long as there is another one. */
	inflate_and_isolate(test, &f->a);
	inflate(test, &f->a);
	balloon_wait_isolated(info);
	KUNIT_EXPECT_EQ(test, info->isolated_pages, 1);

	expect_counts(test, 3, 0, 0);
}

static void wait_for_isolated_page(struct kunit *test)
{
	static const int results[] = { 0, -ENOENT, -EBUSY };
	struct fixture *f = test->priv;
	struct balloon_dev_info *info = &f->a.info;
	struct page *page;
	int i;

	for (i = 0; i < ARRAY_SIZE(results); i++) {
		page = inflate_and_isolate(test, &f->a);
		add_target(&f->a, new_page(test));
		f->a.result = results[i];
		schedule_delayed_work(&f->a.end_isolation, HZ / 20 + 1);
		balloon_wait_isolated(info);
		KUNIT_EXPECT_EQ(test, info->isolated_pages, 0);
		KUNIT_EXPECT_EQ(test, list_empty(&info->pages),
				results[i] == -ENOENT);
		/* Only a page that was put back is still in the balloon. */
		KUNIT_EXPECT_EQ(test, !!page_private(page),
				results[i] == -EBUSY);
		flush_delayed_work(&f->a.end_isolation);
		deflate(&f->a, MAX_PAGES);
	}
	expect_counts(test, 3, 3, 1);
}

static void dequeue_from_empty_balloon(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->a.info));
	inflate(test, &f->a);
	KUNIT_EXPECT_EQ(test, deflate(&f->a, 1), 1);
	KUNIT_EXPECT_NULL(test, balloon_page_dequeue(&f->a.info));
	expect_counts(test, 1, 1, 0);
}

static void init_balloon(struct kunit *test, struct test_balloon *b)
{
	balloon_devinfo_init(&b->info);
	b->info.migratepage = test_migratepage;
	b->test = test;
	INIT_LIST_HEAD(&b->isolated);
	INIT_LIST_HEAD(&b->targets);
	INIT_DELAYED_WORK(&b->end_isolation, end_isolation_work);
}

/* Get all pages out of the balloon, wherever the test stopped. */
static bool drain_balloon(struct test_balloon *b)
{
	struct page *page;

	flush_delayed_work(&b->end_isolation);
	putback_movable_pages(&b->isolated);
	while ((page = pop_page(&b->targets)))
		put_page(page);
	deflate(b, MAX_PAGES);
	return list_empty(&b->info.pages) && !b->info.isolated_pages;
}

static long sum_balloon_pages(void)
{
	long sum = 0;
	int nid;

	for_each_online_node(nid)
		sum += read_balloon_pages(nid);
	return sum;
}

static int balloon_test_init(struct kunit *test)
{
	long balloon_pages = sum_balloon_pages();
	struct fixture *f;
	struct zone *zone;
	int nid;

	/* Without a fixture, balloon_test_exit() checks nothing. */
	if (balloon_pages != old_balloon_pages)
		kunit_skip(test, "balloons have %ld pages", balloon_pages);
	f = kzalloc_flex(*f, old_counts, nr_node_ids);
	test->priv = f;
	if (!f)
		return -ENOMEM;
	/* When the initramfs is freed, there are more managed pages. */
	wait_for_initramfs();
	init_balloon(test, &f->a);
	init_balloon(test, &f->b);
	f->a.info.adjust_managed_page_count = true;
	f->old_bad_page = test_taint(TAINT_BAD_PAGE);
	all_vm_events(f->old_events);
	for_each_online_node(nid)
		f->old_counts[nid].balloon_pages = read_balloon_pages(nid);
	for_each_populated_zone(zone)
		f->old_counts[zone_to_nid(zone)].managed[zone_idx(zone)] =
			zone_managed_pages(zone);
	return 0;
}

static void balloon_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	bool drained;
	long nr;

	if (!f)
		return;
	drained = drain_balloon(&f->a);
	drained &= drain_balloon(&f->b);
	KUNIT_EXPECT_TRUE_MSG(test, drained, "a balloon keeps pages");
	nr = count_event(f, BALLOON_INFLATE);
	expect_counts(test, nr, nr, count_event(f, BALLOON_MIGRATE));
	unhold_pages(f);
	KUNIT_EXPECT_EQ_MSG(test, test_taint(TAINT_BAD_PAGE), f->old_bad_page,
			    "a page was freed in a bad state");
	/* Pages that are still in a balloon refer to it. */
	if (drained) {
		old_balloon_pages = sum_balloon_pages();
		kfree(f);
	}
}

static struct kunit_case balloon_test_cases[] = {
	KUNIT_CASE(enqueue_and_dequeue),
	KUNIT_CASE(list_enqueue_and_dequeue),
	KUNIT_CASE(dequeue_and_enqueue_locked_page),
	KUNIT_CASE(isolate_and_putback),
	KUNIT_CASE(isolate_isolated_page),
	KUNIT_CASE(isolate_page_in_no_balloon),
	KUNIT_CASE(dequeue_isolated_page),
	KUNIT_CASE(isolation_meets_deflation),
	KUNIT_CASE(isolation_meets_other_balloon),
	KUNIT_CASE(putback_meets_deflation),
	KUNIT_CASE(migrate_page),
	KUNIT_CASE(migrate_refused),
	KUNIT_CASE(migrate_fails),
	KUNIT_CASE(migrate_list),
	KUNIT_CASE_PARAM(migrate_elsewhere, elsewhere_gen_params),
	KUNIT_CASE(use_balloons_during_migration),
	KUNIT_CASE(migration_meets_deflation),
	KUNIT_CASE(wait_isolated),
	KUNIT_CASE(wait_for_isolated_page),
	/* Kernels that do not expect this stop here. */
	KUNIT_CASE(dequeue_from_empty_balloon),
	{}
};

static struct kunit_suite balloon_test_suite = {
	.name = "balloon",
	.init = balloon_test_init,
	.exit = balloon_test_exit,
	.test_cases = balloon_test_cases,
};

kunit_test_suite(balloon_test_suite);
