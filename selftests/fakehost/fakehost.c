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

#include "names.h"
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/vmw_vmci_defs.h>

#define DRIVER		"vmw_balloon"
#define MAGIC		0x456c6d6f
#define PORT		0x5670
#define INL		0xed
/* Of a page, which is also how many entries a batch can have. */
#define WORDS		(PAGE_SIZE / sizeof(u64))
/* So many tasks may migrate a page at the same time. */
#define MIGRATORS	32
/* Milliseconds that a migration takes to end if the driver should wait for it. */
#define LINGER		1000
/* And that it is held at most where the driver may get ahead of it; so often at a time. */
#define HELD		100
#define HOLDS		10

enum {
	START, GET_TARGET, LOCK, UNLOCK, GUEST_ID,
	BATCHED_LOCK = 6, BATCHED_UNLOCK, HUGE_LOCK, HUGE_UNLOCK, DOORBELL_SET,
};

enum {
	SUCCESS, CMD_INVALID, PPN_INVALID, PPN_LOCKED, PPN_UNLOCKED, PPN_PINNED,
	RESET = 7, SUCCESS_WITH_CAPABILITIES = 0x03000000,
};

enum { BASIC = BIT(1), BATCHED = BIT(2), BATCHED_2M = BIT(3), WAKEUP = BIT(4) };

/*
 * What the host is to do: the size of the balloon that it wants, in frames; the
 * capabilities that it offers, and those that it grants even if nobody asks for them;
 * and to reset the balloon when the target is asked for, or at the n-th command from
 * now that locks or unlocks.
 */
static unsigned long target, caps = BASIC | BATCHED, always, reset_in;
static bool reset;
module_param(target, ulong, 0644);
module_param(caps, ulong, 0644);
module_param(always, ulong, 0644);
module_param(reset, bool, 0644);
module_param(reset_in, ulong, 0644);

/*
 * Pages are refused if they are the n-th of their kind, unless n is 0: the new page
 * of a migration, the old one, and those that inflation and deflation name. So is the
 * new page of the last migration before the driver goes, which it has to wait for.
 */
struct kind {
	unsigned int refuse;
	unsigned long asked, refused, done;
};

static struct kind new_page, old_page, lock_4k, unlock_4k, lock_2m, unlock_2m;
module_param_named(refuse_new, new_page.refuse, uint, 0644);
module_param_named(refuse_old, old_page.refuse, uint, 0644);
module_param_named(refuse_lock, lock_4k.refuse, uint, 0644);
module_param_named(refuse_unlock, unlock_4k.refuse, uint, 0644);
module_param_named(refuse_huge_lock, lock_2m.refuse, uint, 0644);
module_param_named(refuse_huge_unlock, unlock_2m.refuse, uint, 0644);
module_param_named(refused_new, new_page.refused, ulong, 0444);
module_param_named(refused_old, old_page.refused, ulong, 0444);
module_param_named(refused_lock, lock_4k.refused, ulong, 0444);
module_param_named(refused_unlock, unlock_4k.refused, ulong, 0444);
module_param_named(refused_huge_lock, lock_2m.refused, ulong, 0444);
module_param_named(refused_huge_unlock, unlock_2m.refused, ulong, 0444);
module_param_named(migrated, new_page.done, ulong, 0444);
module_param_named(locks, lock_4k.done, ulong, 0444);
module_param_named(unlocks, unlock_4k.done, ulong, 0444);
module_param_named(huge_locks, lock_2m.done, ulong, 0444);
module_param_named(huge_unlocks, unlock_2m.done, ulong, 0444);

/*
 * Where the driver is held when it goes, so that something else gets in between: a
 * migration between its two commands, one that is about to count a command, a reset that
 * has destroyed the doorbell; so many milliseconds at most, the exit itself, which waits
 * for one of these. And how often it was held, but for the last.
 */
static bool slow_migration, slow_count, slow_reset;
static unsigned int slow_exit;
static unsigned long holds;
module_param(slow_migration, bool, 0644);
module_param(slow_count, bool, 0444);
module_param(slow_reset, bool, 0444);
module_param(slow_exit, uint, 0644);
module_param(holds, ulong, 0444);

/*
 * Frames: held now, and those of them in huge pages; that deflation did not get; that
 * the guest got back at a start or a reset; and that a migration gave back without a
 * new page in their place.
 */
static unsigned long locked, locked_huge, kept, dropped, lost;
module_param(locked, ulong, 0444);
module_param(locked_huge, ulong, 0444);
module_param(kept, ulong, 0444);
module_param(dropped, ulong, 0444);
module_param(lost, ulong, 0444);
static unsigned long starts, resets;
module_param(starts, ulong, 0444);
module_param(resets, ulong, 0444);
/* The driver wants to hear the doorbell. */
static int doorbell;
module_param(doorbell, int, 0444);

/*
 * What the guest must not do: lock a page twice, unlock one that is not locked,
 * name one that nobody has allocated, write to one that is locked, send what makes
 * no sense or was not offered, talk about pages in the middle of a reset, unload the
 * driver in the middle of a migration or with a doorbell that would still ring, and lose
 * the page that it sends batches in.
 */
static unsigned long bad_lock, bad_unlock, bad_pfn, bad_content, bad_command;
static unsigned long bad_time, bad_exit, bad_doorbell, leaked;
module_param(bad_lock, ulong, 0444);
module_param(bad_unlock, ulong, 0444);
module_param(bad_pfn, ulong, 0444);
module_param(bad_content, ulong, 0444);
module_param(bad_command, ulong, 0444);
module_param(bad_time, ulong, 0444);
module_param(bad_exit, ulong, 0444);
module_param(bad_doorbell, ulong, 0444);
module_param(leaked, ulong, 0444);

/*
 * Protects what is below, and the counters. Commands come from several CPUs, and
 * the handler of a kprobe counts as an NMI, where lockdep wants no other lock.
 */
static arch_spinlock_t host_lock = __ARCH_SPIN_LOCK_UNLOCKED;
/* Memory that is added later is not in the ledger. */
static unsigned long *ledger, n_frames;
/* What was agreed on at the last start; none from a reset on. */
static unsigned long granted;
/* These migrate. Whoever else sends pages inflates or deflates. */
static struct task_struct *migrators[MIGRATORS];
/* Has unlocked the old page of a migration and not yet locked the new one. */
static struct task_struct *migrating;
/* The driver resets: it has released the doorbell and not yet sent the guest's id. */
static int resetting;
module_param(resetting, int, 0444);
/* The driver goes: it has released the doorbell, and has sent its last start. */
static bool leaving, left;
/* Since then. */
static unsigned int held;
/* Where batches are, and where they were. The host has references. */
static struct page *batch_page;
static LIST_HEAD(old_batch_pages);

static struct module *driver;
/* The driver's, known from the first migration on. */
static struct balloon_dev_info *balloon;
static struct kprobe probes[32], count_probes[64], *placed_count_probes[64];
static int n_probes, n_count_probes, n_return_probes;

static bool is_allocated(unsigned long pfn)
{
	return pfn < n_frames && pfn_valid(pfn) && page_count(pfn_to_page(pfn));
}

static u64 pattern(unsigned long pfn, unsigned int i)
{
	return (pfn + 1) * GOLDEN_RATIO_64 + i;
}

/* Marks the first and the last word of each frame. */
static void fill(unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++) {
		u64 *words = pfn_to_kaddr(pfn);

		words[0] = pattern(pfn, 0);
		words[WORDS - 1] = pattern(pfn, WORDS - 1);
	}
}

/* Looks for the marks in those of the frames that are locked. */
static void verify(unsigned long pfn, unsigned long end)
{
	for_each_set_bit_from(pfn, ledger, end) {
		u64 *words = pfn_to_kaddr(pfn);

		if (words[0] != pattern(pfn, 0) ||
		    words[WORDS - 1] != pattern(pfn, WORDS - 1))
			bad_content++;
	}
}

/* From here on the guest frees what the host had, and does not tell. */
static void drop_all(void)
{
	verify(0, n_frames);
	bitmap_zero(ledger, n_frames);
	dropped += locked;
	locked = 0;
	locked_huge = 0;
}

static unsigned int reset_guest(void)
{
	drop_all();
	granted = 0;
	resets++;
	return RESET;
}

/*
 * If the driver has freed the page, then nobody else has it. To free it is left for
 * later, as the page allocator does not expect to be called in an NMI.
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
	if (batch_page != pfn_to_page(pfn)) {
		retire_batch_page();
		batch_page = pfn_to_page(pfn);
		get_page(batch_page);
	}
	return pfn_to_kaddr(pfn);
}

/* Puts one task in the place of another, if that one is there. */
static bool replace_migrator(struct task_struct *old, struct task_struct *new)
{
	for (unsigned int i = 0; i < MIGRATORS; i++) {
		if (migrators[i] != old)
			continue;
		migrators[i] = new;
		return true;
	}
	return false;
}

/*
 * Holds a migration until the driver has sent its last start, or as long as it may take
 * if that waits for the migration.
 */
static void hold(void)
{
	if (driver->state != MODULE_STATE_GOING || READ_ONCE(left) || held == HOLDS)
		return;
	arch_spin_lock(&host_lock);
	held++;
	holds++;
	arch_spin_unlock(&host_lock);
	for (unsigned int i = 0; i < HELD && !READ_ONCE(left); i++)
		mdelay(1);
}

/* The driver is about to go, and no other page of the balloon is isolated. */
static bool is_last_migration(void)
{
	return driver->state == MODULE_STATE_GOING && READ_ONCE(balloon->isolated_pages) == 1;
}

static unsigned int exchange(unsigned long pfn, unsigned long frames, bool lock,
			     struct kind *kind)
{
	unsigned long end = pfn + frames;

	/* Of a huge page, only the first frame is known to be allocated. */
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
	if (kind->refuse && (!(++kind->asked % kind->refuse) ||
			     (kind == &new_page && is_last_migration()))) {
		kind->refused++;
		return PPN_PINNED;
	}
	if (lock) {
		bitmap_set(ledger, pfn, frames);
		locked += frames;
		locked_huge += frames > 1 ? frames : 0;
		fill(pfn, end);
	} else {
		verify(pfn, end);
		bitmap_clear(ledger, pfn, frames);
		locked -= frames;
		locked_huge -= frames > 1 ? frames : 0;
	}
	kind->done++;
	return SUCCESS;
}

/* Locks or unlocks one page, or n pages whose numbers are in the page of that pfn. */
static unsigned int exchange_pages(unsigned long cmd, unsigned long pfn, unsigned long n)
{
	bool lock = cmd == LOCK || cmd == BATCHED_LOCK || cmd == HUGE_LOCK;
	bool batched = cmd >= BATCHED_LOCK, huge = cmd >= HUGE_LOCK;
	bool migrates = replace_migrator(current, current);
	unsigned long capability = huge ? BATCHED_2M : batched ? BATCHED : BASIC;
	unsigned long frames = huge ? PTRS_PER_PMD : 1;
	unsigned int all = SUCCESS, status = SUCCESS;
	u64 single = PFN_PHYS(pfn), *entries = &single;
	struct kind *kind;

	if (migrates)
		kind = lock ? &new_page : &old_page;
	else if (huge)
		kind = lock ? &lock_2m : &unlock_2m;
	else
		kind = lock ? &lock_4k : &unlock_4k;

	if (!n || n > (batched ? WORDS : 1) || (batched && !is_allocated(pfn)) ||
	    (granted && !(granted & capability)) ||
	    (migrates && (n > 1 || huge)) ||
	    (kind == &new_page && migrating != current)) {
		bad_command++;
		return CMD_INVALID;
	}
	if (resetting)
		bad_time++;
	if (!granted)
		all = RESET;
	else if (reset_in && !--reset_in)
		all = reset_guest();
	if (batched)
		entries = use_batch_page(pfn);

	for (unsigned long i = 0; i < n; i++) {
		status = all;
		if (!status) {
			status = exchange(PHYS_PFN(entries[i]), frames, lock, kind);
			entries[i] |= status;
		}
		/* The guest makes the same of all that fails, whatever the reason. */
		if (status && kind == &new_page)
			lost++;
		else if (status && (kind == &unlock_4k || kind == &unlock_2m))
			kept += frames;
	}
	migrating = kind == &old_page && !status ? current : NULL;
	return batched ? all : status;
}

static unsigned int get_target(void)
{
	if (!granted)
		return RESET;
	if (!reset)
		return SUCCESS;
	reset = false;
	return reset_guest();
}

static int handle_inl(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long cmd = regs->cx;
	bool going = driver->state == MODULE_STATE_GOING, half_migrated;

	if ((u32)regs->ax != MAGIC || (u16)regs->dx != PORT)
		return 0;

	arch_spin_lock(&host_lock);
	switch (cmd) {
	case START:
		starts++;
		drop_all();
		/* The driver says good-bye by asking for no capabilities. */
		granted = (caps & regs->bx) | always;
		WRITE_ONCE(left, going && !regs->bx);
		regs->ax = SUCCESS_WITH_CAPABILITIES;
		regs->cx = granted;
		break;
	case GET_TARGET:
		regs->ax = get_target();
		regs->bx = target;
		break;
	case LOCK:
	case UNLOCK:
	case BATCHED_LOCK:
	case BATCHED_UNLOCK:
	case HUGE_LOCK:
	case HUGE_UNLOCK:
		regs->ax = exchange_pages(cmd, regs->bx, regs->si);
		regs->bx = target;
		break;
	case GUEST_ID:
		resetting = 0;
		regs->ax = granted ? SUCCESS : RESET;
		break;
	case DOORBELL_SET:
		doorbell = (u32)regs->bx != VMCI_INVALID_ID;
		/* It does so as well when it goes, and then need not keep others out. */
		if (!doorbell && going)
			WRITE_ONCE(leaving, true);
		else if (!doorbell)
			resetting = driver->state == MODULE_STATE_LIVE;
		regs->ax = granted & WAKEUP ? SUCCESS : granted ? CMD_INVALID : RESET;
		break;
	default:
		regs->ax = granted ? CMD_INVALID : RESET;
	}
	half_migrated = migrating == current;
	arch_spin_unlock(&host_lock);
	if (half_migrated && slow_migration)
		hold();

	/* Over the instruction, and do not single-step it. */
	regs->ip = (unsigned long)probe->addr + 1;
	return 1;
}

/* With it the probe is not optimised into a jump, which ignores what handle_inl did. */
static void after_inl(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static int migration_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	arch_spin_lock(&host_lock);
	balloon = (struct balloon_dev_info *)regs->di;
	replace_migrator(NULL, current);
	arch_spin_unlock(&host_lock);
	return 0;
}

/*
 * The driver has done its part, and the balloon core has not. If nothing else keeps the
 * driver, give it time to go too early.
 */
static int migration_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if ((int)regs_return_value(regs) == -ENOENT && is_last_migration())
		mdelay(LINGER);
	arch_spin_lock(&host_lock);
	replace_migrator(current, NULL);
	arch_spin_unlock(&host_lock);
	return 0;
}

/* The driver has seen that it should count, and has not done it yet. */
static int handle_count(struct kprobe *probe, struct pt_regs *regs)
{
	bool migrates;

	arch_spin_lock(&host_lock);
	migrates = replace_migrator(current, current);
	arch_spin_unlock(&host_lock);
	if (migrates)
		hold();
	return 0;
}

/* The first that the driver does when it goes, whether it has a shrinker or not. */
static int shrinker_is_freed(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (driver->state != MODULE_STATE_GOING)
		return 0;
	for (unsigned int i = 0; i < slow_exit && !READ_ONCE(held); i++)
		mdelay(1);
	return 0;
}

/* In a reset, which a driver that goes has to wait for: give it time not to. */
static int doorbell_is_destroyed(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (!slow_reset || driver->state != MODULE_STATE_LIVE)
		return 0;
	holds++;
	for (unsigned int i = 0; i < LINGER && !READ_ONCE(leaving); i++)
		mdelay(1);
	return 0;
}

/* The last two are only there to hold the driver. */
static const struct kretprobe return_probe_types[] = {
	{
		.kp.symbol_name = DRIVER ":vmballoon_migratepage",
		.entry_handler = migration_begins,
		.handler = migration_ends,
		.maxactive = MIGRATORS,
	},
	{ .kp.symbol_name = "shrinker_free", .handler = shrinker_is_freed },
	{ .kp.symbol_name = "vmci_doorbell_destroy", .handler = doorbell_is_destroyed },
};

static struct kretprobe return_probes[ARRAY_SIZE(return_probe_types)];

static void remove_probes(void)
{
	while (n_return_probes)
		unregister_kretprobe(&return_probes[--n_return_probes]);
	/* All at once, as each time takes a while. */
	unregister_kprobes(placed_count_probes, n_count_probes);
	n_count_probes = 0;
	while (n_probes)
		unregister_kprobe(&probes[--n_probes]);
}

/* Wherever the driver has a lock incq, which is where it counts. */
static void place_count_probes(const u8 *text, unsigned int size)
{
	for (unsigned int i = 0; i + 3 < size && n_count_probes < ARRAY_SIZE(count_probes); i++) {
		struct kprobe *probe = &count_probes[n_count_probes];

		if (text[i] != 0xf0 || text[i + 1] != 0x48 || text[i + 2] != 0xff ||
		    text[i + 3] & 0x38)
			continue;
		*probe = (struct kprobe) {
			.addr = (kprobe_opcode_t *)text + i,
			.pre_handler = handle_count,
			.post_handler = after_inl,
		};
		if (!register_kprobe(probe))
			placed_count_probes[n_count_probes++] = probe;
	}
}

static int place_return_probes(void)
{
	int wanted = slow_exit || slow_reset ? ARRAY_SIZE(return_probes) : 1;

	for (; n_return_probes < wanted; n_return_probes++) {
		struct kretprobe *probe = &return_probes[n_return_probes];
		int error;

		*probe = return_probe_types[n_return_probes];
		error = register_kretprobe(probe);
		if (error) {
			pr_err("no probe can be placed on %s: %d\n", probe->kp.symbol_name, error);
			return error;
		}
	}
	return 0;
}

static int place_probes(void)
{
	u8 *text = driver->mem[MOD_TEXT].base;
	int error;

	/* Where the byte is a part of another instruction, no probe can be placed. */
	for (unsigned int i = 0; i < driver->mem[MOD_TEXT].size; i++) {
		struct kprobe *probe = &probes[n_probes];

		if (text[i] != INL)
			continue;
		if (n_probes == ARRAY_SIZE(probes)) {
			pr_err("too many places in %s may talk to the host\n", DRIVER);
			remove_probes();
			return -ENOSPC;
		}
		*probe = (struct kprobe) {
			.addr = text + i,
			.pre_handler = handle_inl,
			.post_handler = after_inl,
		};
		if (!register_kprobe(probe))
			n_probes++;
	}
	if (!n_probes) {
		pr_err("%s has no place that talks to the host\n", DRIVER);
		return -ENOENT;
	}
	if (slow_count) {
		place_count_probes(text, driver->mem[MOD_TEXT].size);
		if (!n_count_probes) {
			pr_err("%s has no place that counts\n", DRIVER);
			remove_probes();
			return -ENOENT;
		}
	}

	error = place_return_probes();
	if (error)
		remove_probes();
	return error;
}

static void driver_is_gone(void)
{
	struct page *page, *next;

	for (unsigned int i = 0; i < MIGRATORS; i++)
		bad_exit += !!READ_ONCE(migrators[i]);
	bad_doorbell += doorbell;
	remove_probes();
	retire_batch_page();
	list_for_each_entry_safe(page, next, &old_batch_pages, lru) {
		list_del(&page->lru);
		put_page(page);
	}
}

static int driver_changes(struct notifier_block *nb, unsigned long state, void *data)
{
	struct module *module = data;
	int error;

	if (strcmp(module->name, DRIVER))
		return NOTIFY_DONE;
	if (state == MODULE_STATE_COMING) {
		if (!try_module_get(THIS_MODULE))
			return notifier_from_errno(-ENODEV);
		driver = module;
		doorbell = 0;
		leaving = false;
		left = false;
		held = 0;
		error = place_probes();
		if (error)
			module_put(THIS_MODULE);
		return notifier_from_errno(error);
	}
	/* A driver that was there before has no probes. */
	if (state == MODULE_STATE_GOING && n_probes) {
		driver_is_gone();
		module_put(THIS_MODULE);
	}
	return NOTIFY_OK;
}

/* Before the kprobes' own, which may have to wait for their optimizer. */
static struct notifier_block driver_notifier = {
	.notifier_call = driver_changes,
	.priority = 1,
};

/* Whatever is written, looks into all pages that are locked now. */
static int check(const char *value, const struct kernel_param *param)
{
	unsigned long flags;

	local_irq_save(flags);
	arch_spin_lock(&host_lock);
	verify(0, n_frames);
	arch_spin_unlock(&host_lock);
	local_irq_restore(flags);
	return 0;
}

static const struct kernel_param_ops check_ops = { .set = check };
module_param_cb(check, &check_ops, NULL, 0200);

static int __init fakehost_init(void)
{
	int error;

	n_frames = PHYS_PFN(__pa(high_memory - 1)) + 1;
	ledger = bitmap_zalloc(n_frames, GFP_KERNEL);
	if (!ledger)
		return -ENOMEM;
	error = register_module_notifier(&driver_notifier);
	if (error)
		bitmap_free(ledger);
	return error;
}
module_init(fakehost_init);

static void __exit fakehost_exit(void)
{
	unregister_module_notifier(&driver_notifier);
	bitmap_free(ledger);
}
module_exit(fakehost_exit);

MODULE_DESCRIPTION("A host for the VMware balloon, for tests");
MODULE_LICENSE("GPL");
