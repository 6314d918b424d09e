// SPDX-License-Identifier: GPL-2.0
/*
 * The hypervisor of pSeries' cmm, played inside the guest, for an unmodified cmm.ko.
 *
 * The driver asks its hypervisor for the target by h_get_mpp(), and loans and
 * activates frames by plpar_hcall_norets(). A module calls a function of the kernel by
 * a stub that has the function's address. When the driver is loaded, the stubs of the
 * two get the addresses of functions of this module. The same is done to the pointer
 * to the driver's migratepage, to know which calls migrate a page. Nobody else notices.
 * This module has to be loaded before the driver, and stays until the driver is gone.
 * The kernel's configuration must not protect the text of modules.
 *
 * The host keeps a ledger of the loaned frames, and a pattern in each of them: nobody
 * may write there until the frame is active again. A frame has the size that the
 * hypervisor counts in, and a page consists of one or more. What the host does is up
 * to the parameters that can be written; what it did and saw is in those that can only
 * be read.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "names.h"
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/vmalloc.h>

#include <asm/firmware.h>
#include <asm/hvcall.h>

#define DRIVER		"cmm"
#define REFUSED		H_RESOURCE

/* arch/powerpc/platforms/pseries/pseries.h has it, which modules cannot include. */
extern unsigned long CMO_PageSize;

/*
 * A frame that the host refused to activate is kept: the driver does not ask again,
 * and frees the page. If the host refuses a frame in the middle of a page, the driver
 * has to undo what it asked for before, one of the last two.
 */
enum { ACTIVE, LOANED, KEPT, LOANED_TO_UNDO, ACTIVE_TO_UNDO };

/*
 * The size of a frame, the size of the balloon that the host wants, and how long a
 * migration takes at least, in microseconds.
 */
static unsigned long frame_size = 4096, target_kb, migration_us;
module_param(frame_size, ulong, 0444);
module_param(target_kb, ulong, 0644);
module_param(migration_us, ulong, 0644);

/*
 * One of so many frames of a kind is refused, by chance, unless the number is 0: of
 * those that inflation and deflation name, of those of the new page of a migration,
 * and of those of the old one. The others are done; of a page that is refused, no
 * frame is.
 */
struct kind {
	unsigned int refuse;
	u32 chance;
	unsigned long refused, done, kept;
};

static struct kind inflation, deflation, new_page, old_page;
module_param_named(refuse_loan, inflation.refuse, uint, 0644);
module_param_named(refuse_active, deflation.refuse, uint, 0644);
module_param_named(refuse_new, new_page.refuse, uint, 0644);
module_param_named(refuse_old, old_page.refuse, uint, 0644);
module_param_named(refused_loan, inflation.refused, ulong, 0444);
module_param_named(refused_active, deflation.refused, ulong, 0444);
module_param_named(refused_new, new_page.refused, ulong, 0444);
module_param_named(refused_old, old_page.refused, ulong, 0444);
module_param_named(inflated, inflation.done, ulong, 0444);
module_param_named(deflated, deflation.done, ulong, 0444);
module_param_named(migrated_new, new_page.done, ulong, 0444);
module_param_named(migrated_old, old_page.done, ulong, 0444);
module_param_named(kept_active, deflation.kept, ulong, 0444);
module_param_named(kept_old, old_page.kept, ulong, 0444);

/*
 * Frames: loaned now, and to be undone. Refusals in the middle of a page. Migrations
 * that succeeded.
 */
static unsigned long loaned, to_undo, undone_loan, undone_active, migrated;
module_param(loaned, ulong, 0444);
module_param(to_undo, ulong, 0444);
module_param(undone_loan, ulong, 0444);
module_param(undone_active, ulong, 0444);
module_param(migrated, ulong, 0444);

/*
 * What the guest must not do: loan a frame twice, activate one that is not loaned,
 * name one that is no memory or that nobody has allocated, write to one that is
 * loaned, and migrate a page without telling, or not in the order new page, old page.
 */
static unsigned long bad_loan, bad_active, bad_address, bad_page, bad_content, bad_migration;
module_param(bad_loan, ulong, 0444);
module_param(bad_active, ulong, 0444);
module_param(bad_address, ulong, 0444);
module_param(bad_page, ulong, 0444);
module_param(bad_content, ulong, 0444);
module_param(bad_migration, ulong, 0444);

/* Protects what is below, and the counters. */
static DEFINE_SPINLOCK(host_lock);
/* The state of each frame. Memory that is added later is not in the ledger. */
static u8 *ledger;
static unsigned long n_frames, frames_per_page;
/* The first frames of the two pages, and how many were loaned and activated. */
static struct migration {
	struct task_struct *task;
	unsigned long new, old, loaned, activated;
} migrations[16];
/* What is placed between them and the balloon core. */
static struct module *driver;
static typeof(((struct balloon_dev_info *)NULL)->migratepage) driver_migratepage;

static u64 *first_word(unsigned long frame)
{
	return __va(frame * frame_size);
}

static u64 *last_word(unsigned long frame)
{
	return first_word(frame + 1) - 1;
}

static u64 pattern(unsigned long frame, u64 *word)
{
	return (frame + 1) * GOLDEN_RATIO_64 + (unsigned long)word;
}

static void fill(unsigned long frame)
{
	*first_word(frame) = pattern(frame, first_word(frame));
	*last_word(frame) = pattern(frame, last_word(frame));
}

static void verify(unsigned long frame)
{
	if (*first_word(frame) != pattern(frame, first_word(frame)) ||
	    *last_word(frame) != pattern(frame, last_word(frame)))
		bad_content++;
}

static struct migration *find_migration(struct task_struct *task)
{
	for (size_t i = 0; i < ARRAY_SIZE(migrations); i++)
		if (migrations[i].task == task)
			return &migrations[i];
	return NULL;
}

/* The frames of the page before the refused one are to be given back as they were. */
static void expect_undo(unsigned long page, unsigned long frame, u8 state)
{
	for (unsigned long i = page; i < frame; i++) {
		ledger[i] = state;
		to_undo++;
	}
}

static bool refuses(struct kind *kind)
{
	if (!kind->refuse)
		return false;
	kind->chance = next_chance(kind->chance);
	if (reciprocal_scale(kind->chance, kind->refuse))
		return false;
	kind->refused++;
	return true;
}

static long loan(unsigned long frame, struct migration *migration)
{
	unsigned long page = round_down(frame, frames_per_page);
	struct kind *kind = migration ? &new_page : &inflation;

	switch (ledger[frame]) {
	case LOANED:
	case LOANED_TO_UNDO:
		bad_loan++;
		return H_PARAMETER;
	case ACTIVE_TO_UNDO:
		to_undo--;
		ledger[frame] = KEPT;
		return H_SUCCESS;
	}
	if (migration && page != migration->new)
		bad_migration++;
	if (refuses(kind)) {
		expect_undo(page, frame, LOANED_TO_UNDO);
		undone_loan += frame != page;
		kind->done -= frame - page;
		return REFUSED;
	}
	ledger[frame] = LOANED;
	fill(frame);
	loaned++;
	kind->done++;
	if (migration)
		migration->loaned++;
	return H_SUCCESS;
}

static long activate(unsigned long frame, struct migration *migration)
{
	unsigned long page = round_down(frame, frames_per_page);
	struct kind *kind = migration ? &old_page : &deflation;
	bool undo = ledger[frame] == LOANED_TO_UNDO;

	if (ledger[frame] != LOANED && !undo) {
		bad_active++;
		return H_PARAMETER;
	}
	if (migration && undo) {
		migration->loaned--;
	} else if (migration) {
		if (page != migration->old || migration->loaned != frames_per_page)
			bad_migration++;
		migration->activated++;
	}
	if (!undo && refuses(kind)) {
		for (unsigned long i = frame; i < page + frames_per_page; i++) {
			ledger[i] = KEPT;
			loaned--;
		}
		expect_undo(page, frame, ACTIVE_TO_UNDO);
		undone_active += frame != page;
		kind->done -= frame - page;
		kind->kept += frames_per_page;
		if (migration)
			migration->activated = frames_per_page;
		return REFUSED;
	}
	verify(frame);
	ledger[frame] = ACTIVE;
	loaned--;
	if (undo)
		to_undo--;
	else
		kind->done++;
	return H_SUCCESS;
}

static long exchange(unsigned long flags, unsigned long address)
{
	unsigned long frame = address / frame_size;

	if (address % frame_size || frame >= n_frames || !pfn_valid(PHYS_PFN(address))) {
		bad_address++;
		return H_PARAMETER;
	}
	if (!page_count(pfn_to_page(PHYS_PFN(address)))) {
		bad_page++;
		return H_PARAMETER;
	}
	if (flags == H_PAGE_SET_LOANED)
		return loan(frame, find_migration(current));
	return activate(frame, find_migration(current));
}

static long our_hcall(unsigned long opcode, unsigned long flags, unsigned long address,
		      unsigned long zero)
{
	long status;

	if (opcode != H_PAGE_INIT || (flags != H_PAGE_SET_LOANED && flags != H_PAGE_SET_ACTIVE))
		return plpar_hcall_norets(opcode, flags, address, zero);
	spin_lock(&host_lock);
	status = exchange(flags, address);
	spin_unlock(&host_lock);
	return status;
}

#ifdef BALLOON_PAGES_MIGRATE
static int our_migratepage(struct balloon_dev_info *balloon, struct page *new_page,
			   struct page *old_page, enum migrate_mode mode)
{
	struct migration *migration;
	unsigned long wanted;
	int ret;

	spin_lock(&host_lock);
	migration = find_migration(NULL);
	if (migration)
		*migration = (struct migration) {
			.task = current,
			.new = page_to_pfn(new_page) * frames_per_page,
			.old = page_to_pfn(old_page) * frames_per_page,
		};
	spin_unlock(&host_lock);
	/* So many at once do not happen. */
	if (WARN_ON(!migration))
		return -EAGAIN;

	if (migration_us)
		usleep_range(migration_us, 2 * migration_us);
	ret = driver_migratepage(balloon, new_page, old_page, mode);

	spin_lock(&host_lock);
	wanted = ret ? 0 : frames_per_page;
	if (migration->loaned != wanted || migration->activated != wanted)
		bad_migration++;
	migrated += !ret;
	migration->task = NULL;
	spin_unlock(&host_lock);
	return ret;
}

/* Pointers to it are in the driver's balloon_dev_info, and where the code finds it. */
static void replace_migratepage(void)
{
	typeof(driver_migratepage) *word = driver->mem[MOD_DATA].base;
	void *end = driver->mem[MOD_DATA].base + driver->mem[MOD_DATA].size;
	char name[64];

	for (; (void *)(word + 1) <= end; word++) {
		if (!within_module((unsigned long)*word, driver))
			continue;
		snprintf(name, sizeof(name), "%ps", *word);
		if (strcmp(name, "cmm_migratepage [cmm]"))
			continue;
		driver_migratepage = *word;
		*word = our_migratepage;
	}
	if (!driver_migratepage)
		pr_err("%s has no migratepage\n", DRIVER);
}
#else
static void replace_migratepage(void)
{
}
#endif

static long our_get_mpp(struct hvcall_mpp_data *data)
{
	/* The driver has started, and has not loaned anything yet. */
	if (!driver_migratepage)
		replace_migratepage();
	*data = (struct hvcall_mpp_data) {
		.loan_request = (target_kb << 10) - READ_ONCE(loaned) * frame_size,
	};
	return H_SUCCESS;
}

/* Whether there is a stub that has the address. */
static bool replace_stubs(const void *address, const void *ours)
{
	const void **word = driver->mem[MOD_TEXT].base;
	const void *end = driver->mem[MOD_TEXT].base + driver->mem[MOD_TEXT].size;
	bool found = false;

	for (; (const void *)(word + 1) <= end; word++) {
		if (*word == address) {
			*word = ours;
			found = true;
		}
	}
	return found;
}

static int driver_comes(void)
{
	driver_migratepage = NULL;
	if (replace_stubs(plpar_hcall_norets, our_hcall) && replace_stubs(h_get_mpp, our_get_mpp))
		return 0;
	pr_err("%s has no place that talks to the host\n", DRIVER);
	return -ENOENT;
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
		error = driver_comes();
		if (error) {
			driver = NULL;
			module_put(THIS_MODULE);
		}
		return notifier_from_errno(error);
	}
	if (state == MODULE_STATE_GOING && driver) {
		driver = NULL;
		module_put(THIS_MODULE);
	}
	return NOTIFY_OK;
}

static struct notifier_block driver_notifier = { .notifier_call = driver_changes };

static int guest_restarts(struct notifier_block *nb, unsigned long action, void *data)
{
	if (action == SYS_RESTART)
		pr_info("%lu frames are loaned at the restart, after %lu loans\n",
			loaned, inflation.done);
	return NOTIFY_DONE;
}

/* Called after the driver's. */
static struct notifier_block reboot_notifier = {
	.notifier_call = guest_restarts,
	.priority = INT_MIN,
};

/* Whatever is written, looks into all frames that are loaned now. */
static int check(const char *value, const struct kernel_param *param)
{
	spin_lock(&host_lock);
	for (unsigned long frame = 0; frame < n_frames; frame++)
		if (ledger[frame] == LOANED)
			verify(frame);
	spin_unlock(&host_lock);
	return 0;
}

static const struct kernel_param_ops check_ops = { .set = check };
module_param_cb(check, &check_ops, NULL, 0200);

static int __init cmmhost_init(void)
{
	int error;

	if (!is_power_of_2(frame_size) || frame_size > PAGE_SIZE || frame_size < 4096)
		return -EINVAL;
	frames_per_page = PAGE_SIZE / frame_size;
	n_frames = (__pa(high_memory - 1) / PAGE_SIZE + 1) * frames_per_page;
	ledger = vzalloc(n_frames);
	if (!ledger)
		return -ENOMEM;
	error = register_module_notifier(&driver_notifier);
	if (error)
		goto free;
	error = register_reboot_notifier(&reboot_notifier);
	if (error)
		goto unnotify;
	CMO_PageSize = frame_size;
	powerpc_firmware_features |= FW_FEATURE_CMO;
	return 0;
unnotify:
	unregister_module_notifier(&driver_notifier);
free:
	vfree(ledger);
	return error;
}
module_init(cmmhost_init);

static void __exit cmmhost_exit(void)
{
	powerpc_firmware_features &= ~FW_FEATURE_CMO;
	unregister_reboot_notifier(&reboot_notifier);
	unregister_module_notifier(&driver_notifier);
	vfree(ledger);
}
module_exit(cmmhost_exit);

MODULE_DESCRIPTION("A hypervisor for pSeries' cmm, for tests");
MODULE_LICENSE("GPL");
