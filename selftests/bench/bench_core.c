// SPDX-License-Identifier: GPL-2.0
/*
 * What the balloon core costs in instructions.
 *
 * Writing "PAGES/BALLOONS" to the parameter run fills so many balloons with so many
 * pages together and empties them, in each way that a driver may choose, in batches of
 * 256 pages. Reading it gives a line for each row: its name, PAGES/BALLOONS, the mean of
 * the batches, their median and their maximum, all in hundredths of an instruction a page,
 * and how many batches there were. The mean tells more: some batches refill the lists of
 * the CPU, from which all others take their pages. The maximum of what is done with
 * interrupts off bounds how long they are.
 *
 * There are no interrupts during a batch, so nothing may reclaim memory: there has to be
 * enough. Two or three instructions of a page are the loop's here.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "names.h"
#include "clock.h"
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#define BATCH		256U
#define MAX_BALLOONS	16
/* What the balloons hold is taken in and out until there are so many batches. */
#define MIN_BATCHES	64
/* Pages that have to stay free: 256 MiB. */
#define RESERVE		(SZ_256M / PAGE_SIZE)
#define GFP_BALLOON	(GFP_HIGHUSER_MOVABLE | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN)

enum step { ALLOCATE, ENQUEUE, DEQUEUE, FREE, ISOLATE, PUTBACK, MIGRATE, LIMIT, STEPS };

/* What is done, and the rows that it gives. */
struct kind {
	bool list, managed, move, limit;
	const char *rows[STEPS];
};

static const struct kind kinds[] = {
	{ .rows = { [ALLOCATE] = "allocate", [ENQUEUE] = "enqueue",
		    [DEQUEUE] = "dequeue", [FREE] = "free" } },
	{ .managed = true,
	  .rows = { [ENQUEUE] = "enqueue-managed", [DEQUEUE] = "dequeue-managed" } },
	{ .list = true, .rows = { [ENQUEUE] = "list-enqueue", [DEQUEUE] = "list-dequeue" } },
	{ .list = true, .managed = true,
	  .rows = { [ENQUEUE] = "list-enqueue-managed", [DEQUEUE] = "list-dequeue-managed" } },
	{ .list = true, .move = true,
	  .rows = { [ISOLATE] = "isolate", [PUTBACK] = "putback", [MIGRATE] = "migrate" } },
	{ .limit = true, .rows = { [LIMIT] = "limit" } },
};

struct samples {
	u32 *taken;
	unsigned int n;
};

static struct balloon_dev_info balloons[MAX_BALLOONS];
static struct samples samples[STEPS];
static unsigned int max_samples;
static char results[PAGE_SIZE];
static unsigned long n_pages;
static unsigned int n_balloons;

/* The batch, as an array or as a list, and what its pages migrate to. */
static struct page *pages[BATCH];
static LIST_HEAD(list);
static LIST_HEAD(fresh);
static unsigned long pfns[BATCH];
static const struct kind *kind;

/* What the kernel does not export. */
static bool (*isolate_page)(struct page *page, isolate_mode_t mode);
static typeof(putback_movable_pages) *putback_pages;
static typeof(migrate_pages) *migrate;

static void *find(const char *name)
{
	struct kprobe probe = { .symbol_name = name };

	if (register_kprobe(&probe))
		return NULL;
	unregister_kprobe(&probe);
	return probe.addr;
}

static void adjust(struct page *page, long n)
{
#ifndef CORE_ADJUSTS
	if (kind->managed)
		adjust_managed_page_count(page, n);
#endif
}

static int migratepage(struct balloon_dev_info *balloon, struct page *newpage,
		       struct page *page, enum migrate_mode mode)
{
#ifndef CORE_ADJUSTS
	unsigned long flags;

	/* As v6.16's virtio_balloon does it around its two messages to the host. */
	get_page(newpage);
	spin_lock_irqsave(&balloon->pages_lock, flags);
	balloon_page_insert(balloon, newpage);
	balloon->isolated_pages--;
	__count_vm_event(BALLOON_MIGRATE);
	spin_unlock_irqrestore(&balloon->pages_lock, flags);
	spin_lock_irqsave(&balloon->pages_lock, flags);
	balloon_page_delete(page);
	spin_unlock_irqrestore(&balloon->pages_lock, flags);
	put_page(page);
#endif
	return 0;
}

static struct folio *take_fresh(struct folio *old, unsigned long private)
{
	struct page *page = list_first_entry_or_null(&fresh, struct page, lru);

	if (!page)
		return NULL;
	list_del(&page->lru);
	return page_folio(page);
}

/*
 * The steps, each of a whole batch. They return how many pages they did.
 */
static unsigned int allocate(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		pages[i] = balloon_page_alloc();
		if (!pages[i])
			break;
	}
	return i;
}

static unsigned int enqueue(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		balloon_page_enqueue(balloon, pages[i]);
		adjust(pages[i], -1);
	}
	return n;
}

static unsigned int dequeue(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		pages[i] = balloon_page_dequeue(balloon);
		if (!pages[i])
			break;
		adjust(pages[i], 1);
	}
	return i;
}

static void adjust_list(long n)
{
#ifndef CORE_ADJUSTS
	struct page *page;

	if (kind->managed)
		list_for_each_entry(page, &list, lru)
			adjust_managed_page_count(page, n);
#endif
}

static unsigned int list_enqueue(struct balloon_dev_info *balloon, unsigned int n)
{
	adjust_list(-1);
	return balloon_page_list_enqueue(balloon, &list);
}

static unsigned int list_dequeue(struct balloon_dev_info *balloon, unsigned int n)
{
	n = balloon_page_list_dequeue(balloon, &list, n);
	adjust_list(1);
	return n;
}

static unsigned int release(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		put_page(pages[i]);
	return n;
}

static unsigned int isolate(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i, done = 0;

	for (i = 0; i < n; i++) {
		if (!isolate_page(pages[i], ISOLATE_UNEVICTABLE))
			continue;
		list_add_tail(&pages[i]->lru, &list);
		done++;
	}
	return done;
}

static unsigned int putback(struct balloon_dev_info *balloon, unsigned int n)
{
	putback_pages(&list);
	return n;
}

/* With all that migration does, but for the allocation of the new page. */
static unsigned int move(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int done = 0;

	migrate(&list, take_fresh, NULL, 0, MIGRATE_SYNC, MR_COMPACTION, &done);
	return done;
}

/* The least that inflation has to do: take a page, keep it and name it. */
static unsigned int limit(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;

	n = alloc_pages_bulk(GFP_BALLOON, n, pages);
	for (i = 0; i < n; i++) {
		list_add(&pages[i]->lru, &list);
		pfns[i] = page_to_pfn(pages[i]);
	}
	return n;
}

static int measure(enum step step,
		   unsigned int (*function)(struct balloon_dev_info *, unsigned int),
		   struct balloon_dev_info *balloon, unsigned int n)
{
	struct samples *s = &samples[step];
	unsigned long flags;
	unsigned int done;
	u64 begin, end;

	local_irq_save(flags);
	begin = instructions();
	done = function(balloon, n);
	end = instructions();
	local_irq_restore(flags);
	if (done != n) {
		pr_err("step %d did %u of %u pages\n", step, done, n);
		return -EAGAIN;
	}
	if (n == BATCH && s->n < max_samples)
		s->taken[s->n++] = end - begin;
	return 0;
}

static void list_to_pages(struct list_head *from)
{
	struct page *page, *next;
	unsigned int i = 0;

	list_for_each_entry_safe(page, next, from, lru) {
		list_del(&page->lru);
		pages[i++] = page;
	}
}

static int fill(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;
	int ret;

	ret = measure(ALLOCATE, allocate, balloon, n);
	if (ret)
		return ret;
	if (!kind->list)
		return measure(ENQUEUE, enqueue, balloon, n);
	for (i = 0; i < n; i++)
		list_add(&pages[i]->lru, &list);
	return measure(ENQUEUE, list_enqueue, balloon, n);
}

static int empty(struct balloon_dev_info *balloon, unsigned int n)
{
	int ret;

	if (kind->list) {
		ret = measure(DEQUEUE, list_dequeue, balloon, n);
		list_to_pages(&list);
	} else {
		ret = measure(DEQUEUE, dequeue, balloon, n);
	}
	return ret ?: measure(FREE, release, balloon, n);
}

/* Pages come back at the head of the list, so those at its tail are the next. */
static void look_up(struct balloon_dev_info *balloon, unsigned int n)
{
	struct page *page;
	unsigned int i = 0;

	list_for_each_entry_reverse(page, &balloon->pages, lru) {
		if (i == n)
			break;
		pages[i++] = page;
	}
}

static int go_and_return(struct balloon_dev_info *balloon, unsigned int n)
{
	look_up(balloon, n);
	return measure(ISOLATE, isolate, balloon, n) ?:
	       measure(PUTBACK, putback, balloon, n);
}

static int go_away(struct balloon_dev_info *balloon, unsigned int n)
{
	unsigned int i;
	int ret;

	for (i = 0; i < n; i++) {
		struct page *page = balloon_page_alloc();

		if (!page)
			return -ENOMEM;
		list_add(&page->lru, &fresh);
	}
	look_up(balloon, n);
	ret = measure(ISOLATE, isolate, balloon, n) ?: measure(MIGRATE, move, balloon, n);
	return ret;
}

static int take_and_release(struct balloon_dev_info *balloon, unsigned int n)
{
	int ret;

	memset(pages, 0, sizeof(pages));
	ret = measure(LIMIT, limit, balloon, n);
	if (ret)
		return ret;
	list_to_pages(&list);
	return measure(FREE, release, balloon, n);
}

static int for_each_batch(int (*function)(struct balloon_dev_info *, unsigned int))
{
	unsigned long done = 0;
	unsigned int n, i = 0;
	int ret = 0;

	for (; !ret && done < n_pages; done += n) {
		n = min(n_pages - done, BATCH);
		ret = function(&balloons[i++ % n_balloons], n);
	}
	return ret;
}

static int run_once(void)
{
	int ret;

	if (kind->limit)
		return for_each_batch(take_and_release);
	ret = for_each_batch(fill);
	if (!ret && kind->move)
		ret = for_each_batch(go_and_return) ?:
		      for_each_batch(go_away);
	return ret ?: for_each_batch(empty);
}

static int compare(const void *a, const void *b)
{
	return cmp_int(*(const u32 *)a, *(const u32 *)b);
}

static void tell(const char *row, struct samples *s)
{
	size_t length = strlen(results);
	u64 sum = 0;
	unsigned int i;

	sort(s->taken, s->n, sizeof(*s->taken), compare, NULL);
	for (i = 0; i < s->n; i++)
		sum += s->taken[i];
	snprintf(results + length, sizeof(results) - length, "%s %lu/%u %llu %llu %llu %u\n",
		 row, n_pages, n_balloons, sum * 100 / s->n / BATCH,
		 s->taken[s->n / 2] * 100ULL / BATCH,
		 s->taken[s->n - 1] * 100ULL / BATCH, s->n);
}

static int run_kind(void)
{
	unsigned int i, rounds = 1 + MIN_BATCHES / (n_pages / BATCH);
	int ret = 0;

	for (i = 0; i < n_balloons; i++) {
		balloon_devinfo_init(&balloons[i]);
#ifdef CORE_ADJUSTS
		balloons[i].adjust_managed_page_count = kind->managed;
#endif
#ifdef BALLOON_PAGES_MIGRATE
		balloons[i].migratepage = migratepage;
#endif
	}
	for (i = 0; i < STEPS; i++)
		samples[i].n = 0;
	while (!ret && rounds--)
		ret = run_once();
	for (i = 0; !ret && i < STEPS; i++)
		if (kind->rows[i] && samples[i].n)
			tell(kind->rows[i], &samples[i]);
	return ret;
}

static int set_run(const char *value, const struct kernel_param *param)
{
	unsigned int i;
	int ret = 0;

	if (sscanf(value, "%lu/%u", &n_pages, &n_balloons) != 2 || n_pages < BATCH ||
	    !n_balloons || n_balloons > MAX_BALLOONS)
		return -EINVAL;
	if (n_pages + RESERVE > global_zone_page_state(NR_FREE_PAGES))
		return -ENOMEM;
	/* Pages that migrate are isolated twice. */
	max_samples = 2 * (n_pages / BATCH + MIN_BATCHES + 1);
	for (i = 0; i < STEPS; i++) {
		samples[i].taken = vmalloc_array(max_samples, sizeof(*samples[i].taken));
		if (!samples[i].taken)
			ret = -ENOMEM;
	}
	results[0] = 0;
	for (i = 0; !ret && i < ARRAY_SIZE(kinds); i++) {
		kind = &kinds[i];
		ret = run_kind();
	}
	for (i = 0; i < STEPS; i++)
		vfree(samples[i].taken);
	return ret;
}

static int get_run(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s", results);
}

static const struct kernel_param_ops run_ops = { .set = set_run, .get = get_run };
module_param_cb(run, &run_ops, NULL, 0600);
MODULE_PARM_DESC(run, "PAGES/BALLOONS to measure; what that gave");

static int __init bench_core_init(void)
{
	isolate_page = find("isolate_movable_ops_page") ?: find("isolate_movable_page");
	putback_pages = find("putback_movable_pages");
	migrate = find("migrate_pages");
	if (!isolate_page || !putback_pages || !migrate) {
		pr_err("the kernel has another name for what moves pages\n");
		return -ENOENT;
	}
	return check_clock();
}
module_init(bench_core_init);

/* An error leaves pages in balloons, which must not go away then. */
MODULE_DESCRIPTION("What the balloon core costs in instructions");
MODULE_LICENSE("GPL");
