// SPDX-License-Identifier: GPL-2.0
/*
 * The host of the VMware balloon, played inside the guest, for an unmodified
 * vmw_balloon.ko.
 *
 * The driver talks to its host by one instruction, inl, on a port that QEMU does
 * not have. When the driver is loaded, a kprobe is placed on that instruction,
 * whose handler answers the command in the registers, as a hypervisor would, and
 * steps over the instruction. This module has to be loaded before the driver, and
 * stays until the driver is gone.
 *
 * The host keeps a ledger of the pages that it was given, and a pattern in each of
 * them: nobody may write there until the page is given back. What it does is up to
 * the parameters, which can be written at any time; what it did and saw is in those
 * that can only be read.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#define DRIVER		"vmw_balloon"
#define MAGIC		0x456c6d6f
#define PORT		0x5670
#define INL		0xed

enum {
	START, GET_TARGET, LOCK, UNLOCK, GUEST_ID,
	BATCHED_LOCK = 6, BATCHED_UNLOCK, HUGE_LOCK, HUGE_UNLOCK,
};

enum {
	SUCCESS, CMD_INVALID, PPN_INVALID, PPN_LOCKED, PPN_UNLOCKED, PPN_PINNED,
	RESET = 7, SUCCESS_WITH_CAPABILITIES = 0x03000000,
};

enum { BASIC = BIT(1), BATCHED = BIT(2), BATCHED_2M = BIT(3) };

/* What the host is to do. */
static unsigned long target, caps = BASIC | BATCHED, reset_in;
static unsigned int refuse_status = PPN_PINNED, new_delay_us;
static bool reset;
module_param(target, ulong, 0644);
MODULE_PARM_DESC(target, "frames that the balloon should have");
module_param(caps, ulong, 0644);
MODULE_PARM_DESC(caps, "capabilities that are offered");
module_param(reset, bool, 0644);
MODULE_PARM_DESC(reset, "reset the balloon when the target is asked for");
module_param(reset_in, ulong, 0644);
MODULE_PARM_DESC(reset_in, "reset the balloon at the n-th lock or unlock from now");
module_param(refuse_status, uint, 0644);
MODULE_PARM_DESC(refuse_status, "status of pages that are refused");
module_param(new_delay_us, uint, 0644);
MODULE_PARM_DESC(new_delay_us, "time between the two halves of a migration");

/* Every so many pages are refused, none if that is 0. */
struct refusal {
	unsigned int every;
	unsigned long asked, done;
};

static struct refusal new_page, old_page, lock_4k, unlock_4k, lock_2m, unlock_2m;
module_param_named(refuse_new, new_page.every, uint, 0644);
MODULE_PARM_DESC(refuse_new, "refuse every n-th new page of a migration");
module_param_named(refuse_old, old_page.every, uint, 0644);
MODULE_PARM_DESC(refuse_old, "refuse to give back every n-th old page of one");
module_param_named(refuse_lock, lock_4k.every, uint, 0644);
MODULE_PARM_DESC(refuse_lock, "refuse every n-th page of inflation");
module_param_named(refuse_unlock, unlock_4k.every, uint, 0644);
MODULE_PARM_DESC(refuse_unlock, "refuse to give back every n-th page to deflation");
module_param_named(refuse_huge_lock, lock_2m.every, uint, 0644);
module_param_named(refuse_huge_unlock, unlock_2m.every, uint, 0644);
module_param_named(refused_new, new_page.done, ulong, 0444);
module_param_named(refused_old, old_page.done, ulong, 0444);
module_param_named(refused_lock, lock_4k.done, ulong, 0444);
module_param_named(refused_unlock, unlock_4k.done, ulong, 0444);
module_param_named(refused_huge_lock, lock_2m.done, ulong, 0444);
module_param_named(refused_huge_unlock, unlock_2m.done, ulong, 0444);

/* Frames that the host holds now. */
static unsigned long locked;
module_param(locked, ulong, 0444);
/* Pages that inflation locked and deflation unlocked. */
static unsigned long locks, unlocks, huge_locks, huge_unlocks;
module_param(locks, ulong, 0444);
module_param(unlocks, ulong, 0444);
module_param(huge_locks, ulong, 0444);
module_param(huge_unlocks, ulong, 0444);
/* Frames that deflation did not get, and those that it gets without asking. */
static unsigned long kept, dropped;
module_param(kept, ulong, 0444);
module_param(dropped, ulong, 0444);
/* Migrations that exchanged a page, and those that gave one back for nothing. */
static unsigned long migrated, lost;
module_param(migrated, ulong, 0444);
module_param(lost, ulong, 0444);
static unsigned long starts, resets, polls;
module_param(starts, ulong, 0444);
module_param(resets, ulong, 0444);
module_param(polls, ulong, 0444);

/*
 * What the guest must not do: lock a page twice, unlock one that is not locked,
 * give away one that nobody has allocated, write to one that is locked, or send
 * what makes no sense or was not offered.
 */
static unsigned long bad_lock, bad_unlock, bad_pfn, bad_content, bad_command;
module_param(bad_lock, ulong, 0444);
module_param(bad_unlock, ulong, 0444);
module_param(bad_pfn, ulong, 0444);
module_param(bad_content, ulong, 0444);
module_param(bad_command, ulong, 0444);
/* Pages for batches that the driver has lost without freeing them. */
static unsigned long leaked;
module_param(leaked, ulong, 0444);

/*
 * Protects all that is below and the counters. Commands come from several CPUs, and
 * the handler of a kprobe counts as an NMI, where lockdep accepts no other lock.
 */
static arch_spinlock_t host_lock = __ARCH_SPIN_LOCK_UNLOCKED;
static unsigned long *ledger, n_frames;
/* What was agreed on at the last START; 0 from a reset on. */
static unsigned long granted;
/* The task that inflates and deflates; if it is any other, it migrates a page. */
static struct task_struct *worker;
/* The one that has unlocked the old page of a migration, but not locked the new. */
static struct task_struct *migrating;
/* The page that holds the batches, and those that did. The host has a reference. */
static struct page *batch_page;
static LIST_HEAD(old_batch_pages);

static struct kprobe probes[8];
static unsigned int n_probes;

static bool refuse(struct refusal *refusal)
{
	if (!refusal->every || ++refusal->asked % refusal->every)
		return false;
	refusal->done++;
	return true;
}

static bool is_allocated(unsigned long pfn)
{
	return pfn < n_frames && pfn_valid(pfn) && page_count(pfn_to_page(pfn));
}

/* The first word of a frame and its last one. */
#define for_each_mark(i) for ((i) = 0; (i) < WORDS; (i) += WORDS - 1)

static u64 pattern(unsigned long pfn, unsigned int i)
{
	return (pfn + 1) * GOLDEN_RATIO_64 + i;
}

static void fill(unsigned long pfn, unsigned long end)
{
	unsigned int i;
	u64 *words;

	for (; pfn < end; pfn++) {
		words = pfn_to_kaddr(pfn);
		for_each_mark(i)
			words[i] = pattern(pfn, i);
	}
}

/* Looks into those of the frames that are locked. */
static void verify(unsigned long pfn, unsigned long end)
{
	unsigned int i;
	u64 *words;

	for_each_set_bit_from(pfn, ledger, end) {
		words = pfn_to_kaddr(pfn);
		for_each_mark(i)
			if (words[i] != pattern(pfn, i))
				bad_content++;
	}
}

/* From here on the guest may take back what it has given away, and does not tell. */
static void drop_all(void)
{
	verify(0, n_frames);
	bitmap_zero(ledger, n_frames);
	dropped += locked;
	locked = 0;
}

static unsigned int reset_guest(void)
{
	drop_all();
	granted = 0;
	resets++;
	return RESET;
}

/*
 * A page that the driver has freed is the host's alone. The page allocator does not
 * expect to get it back in an NMI, so that is left for later.
 */
static void retire_batch_page(void)
{
	if (!batch_page)
		return;
	if (page_count(batch_page) > 1)
		leaked++;
	else
		list_add(&batch_page->lru, &old_batch_pages);
	batch_page = NULL;
}

static u64 *use_batch_page(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	if (page != batch_page) {
		retire_batch_page();
		get_page(page);
		batch_page = page;
	}
	return pfn_to_kaddr(pfn);
}

static unsigned int exchange(unsigned long pfn, unsigned long frames, bool lock,
			     struct refusal *refusal)
{
	unsigned long end = pfn + frames;

	/* Only the first frame of a huge page has a count. */
	if (!is_allocated(pfn) || end > n_frames || !IS_ALIGNED(pfn, frames)) {
		bad_pfn++;
		return PPN_INVALID;
	}
	if (lock && find_next_bit(ledger, end, pfn) < end) {
		bad_lock++;
		return PPN_LOCKED;
	}
	if (!lock && find_next_zero_bit(ledger, end, pfn) < end) {
		bad_unlock++;
		return PPN_UNLOCKED;
	}
	if (refuse(refusal))
		return refuse_status;
	if (lock) {
		bitmap_set(ledger, pfn, frames);
		locked += frames;
		fill(pfn, end);
	} else {
		verify(pfn, end);
		bitmap_clear(ledger, pfn, frames);
		locked -= frames;
	}
	return SUCCESS;
}

/* LOCK and UNLOCK of one page, of n pages in a batch, or of n huge ones. */
static unsigned int exchange_pages(unsigned long cmd, unsigned long pfn, unsigned long n)
{
	bool lock = cmd == LOCK || cmd == BATCHED_LOCK || cmd == HUGE_LOCK;
	bool batched = cmd >= BATCHED_LOCK, huge = cmd >= HUGE_LOCK;
	unsigned long need = huge ? BATCHED_2M : batched ? BATCHED : BASIC;
	unsigned long frames = huge ? PTRS_PER_PMD : 1, *done;
	bool migration = current != worker;
	u64 single = PFN_PHYS(pfn), *entries = &single;
	unsigned int all = SUCCESS, status = SUCCESS;
	struct refusal *refusal;

	if (migration) {
		refusal = lock ? &new_page : &old_page;
		done = NULL;
	} else if (huge) {
		refusal = lock ? &lock_2m : &unlock_2m;
		done = lock ? &huge_locks : &huge_unlocks;
	} else {
		refusal = lock ? &lock_4k : &unlock_4k;
		done = lock ? &locks : &unlocks;
	}
	if (!n || n > (batched ? WORDS : 1) || batched && !is_allocated(pfn) ||
	    migration && (n > 1 || huge || lock && migrating != current)) {
		bad_command++;
		return CMD_INVALID;
	}
