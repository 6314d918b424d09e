/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lib/test_balloon.c needs of the balloon core, for a kernel without the
 * series: there it is the drivers who complete a migration, count it and adjust
 * the managed pages. What stands here is what v6.16's virtio_balloon does for a
 * success, and its vmw_balloon for a refusal. To be included before the module.
 */
#ifndef _COMPAT_H
#define _COMPAT_H

#include <linux/balloon_compaction.h>
#include <linux/delay.h>
#include <linux/mm.h>

/* The core's descriptor with the fields that the series adds to it. */
struct compat_dev_info {
	union {
		struct balloon_dev_info core;
		struct {
			unsigned long isolated_pages;
			spinlock_t pages_lock;
			struct list_head pages;
		};
	};
	bool adjust_managed_page_count;
	int (*migratepage)(struct compat_dev_info *dev_info,
			   struct page *newpage, struct page *page,
			   enum migrate_mode mode);
};

static_assert(offsetof(struct compat_dev_info, pages) ==
	      offsetof(struct balloon_dev_info, pages));

static inline void compat_adjust(struct compat_dev_info *dev_info,
				 struct page *page, long n)
{
	if (dev_info->adjust_managed_page_count)
		adjust_managed_page_count(page, n);
}

#ifdef CONFIG_BALLOON_COMPACTION
static int compat_migratepage(struct balloon_dev_info *core,
			      struct page *newpage, struct page *page,
			      enum migrate_mode mode)
{
	struct compat_dev_info *dev_info = container_of(core,
							struct compat_dev_info,
							core);
	int rc = dev_info->migratepage(dev_info, newpage, page, mode);
	unsigned long flags;

	if (rc && rc != -ENOENT)
		return rc;

	if (!rc) {
		get_page(newpage);
		if (page_zone(page) != page_zone(newpage)) {
			compat_adjust(dev_info, page, 1);
			compat_adjust(dev_info, newpage, -1);
		}
	}
	spin_lock_irqsave(&core->pages_lock, flags);
	if (!rc) {
		balloon_page_insert(core, newpage);
		__count_vm_event(BALLOON_MIGRATE);
	}
	core->isolated_pages--;
	balloon_page_delete(page);
	spin_unlock_irqrestore(&core->pages_lock, flags);
	put_page(page);
	return rc ? -EBUSY : MIGRATEPAGE_SUCCESS;
}
#endif

static inline void compat_devinfo_init(struct compat_dev_info *dev_info)
{
	balloon_devinfo_init(&dev_info->core);
	dev_info->adjust_managed_page_count = false;
#ifdef CONFIG_BALLOON_COMPACTION
	dev_info->core.migratepage = compat_migratepage;
#endif
}

static inline void compat_enqueue(struct compat_dev_info *dev_info,
				  struct page *page)
{
	compat_adjust(dev_info, page, -1);
	balloon_page_enqueue(&dev_info->core, page);
}

static inline size_t compat_list_enqueue(struct compat_dev_info *dev_info,
					 struct list_head *pages)
{
	struct page *page;

	list_for_each_entry(page, pages, lru)
		compat_adjust(dev_info, page, -1);
	return balloon_page_list_enqueue(&dev_info->core, pages);
}

static inline size_t compat_list_dequeue(struct compat_dev_info *dev_info,
					 struct list_head *pages, size_t n)
{
	size_t n_done = balloon_page_list_dequeue(&dev_info->core, pages, n);
	struct page *page;

	list_for_each_entry(page, pages, lru)
		compat_adjust(dev_info, page, 1);
	return n_done;
}

/* A single page the same way: there, balloon_page_dequeue() has a BUG(). */
static inline struct page *compat_dequeue(struct compat_dev_info *dev_info)
{
	LIST_HEAD(pages);

	compat_list_dequeue(dev_info, &pages, 1);
	return list_first_entry_or_null(&pages, struct page, lru);
}

static inline bool compat_wait_isolated(struct compat_dev_info *dev_info, long timeout)
{
	while (list_empty(&dev_info->pages) && READ_ONCE(dev_info->isolated_pages) &&
	       timeout-- > 0)
		schedule_timeout_uninterruptible(1);
	return !list_empty(&dev_info->pages);
}

#define balloon_dev_info		compat_dev_info
#define balloon_devinfo_init		compat_devinfo_init
#define balloon_page_enqueue		compat_enqueue
#define balloon_page_list_enqueue	compat_list_enqueue
#define balloon_page_dequeue		compat_dequeue
#define balloon_page_list_dequeue	compat_list_dequeue
#define balloon_wait_isolated		compat_wait_isolated

#endif /* _COMPAT_H */
