// SPDX-License-Identifier: GPL-2.0
/*
 * What a whole operation of a balloon driver costs in instructions, without the time in
 * which its host answers.
 *
 * The clock runs from the start of the function operation to its end or, if the driver has
 * no such function, from the end of the function after to the start of the function before.
 * It does not run from the start of doorbell, which tells the host, to the end of answer,
 * which returns what the host said. Without zero_answers, a result of 0 is no answer.
 * Probes start and stop the clock. What they cost themselves is measured with functions of
 * this module, and subtracted.
 *
 * Operations count that inflate 256 pages or more, or deflate them, and not both. Reading
 * rows gives a line for each size of the balloon in sizes and each direction: what was
 * done, the size and the number of balloons, the mean, the median and the maximum in
 * hundredths of an instruction a page, and the number of operations. A balloon has a size
 * if its pages are no more than that when it is fullest, and more than the size before. An
 * operation that the timer interrupts does not count.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "names.h"
#include "clock.h"
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sort.h>
#include <linux/vmstat.h>

#define FULL		256
#define MAX_SAMPLES	16384
#define MAX_SIZES	8
/* So often what the probes cost is measured. */
#define ROUNDS		64

enum way { INFLATE, DEFLATE, WAYS };

/* Names of functions. */
struct places {
	char *operation, *after, *before, *doorbell, *answer;
};

static struct places driver;
module_param_named(operation, driver.operation, charp, 0400);
MODULE_PARM_DESC(operation, "function that inflates or deflates");
module_param_named(after, driver.after, charp, 0400);
MODULE_PARM_DESC(after, "function that ends when an operation starts");
module_param_named(before, driver.before, charp, 0400);
MODULE_PARM_DESC(before, "function that starts when an operation ends");
module_param_named(doorbell, driver.doorbell, charp, 0400);
MODULE_PARM_DESC(doorbell, "function that tells the host");
module_param_named(answer, driver.answer, charp, 0400);
MODULE_PARM_DESC(answer, "function that returns what the host said");
static bool zero_answers = true;
module_param(zero_answers, bool, 0400);
MODULE_PARM_DESC(zero_answers, "whether it is an answer if that is 0");
static unsigned int sizes[MAX_SIZES];
static unsigned int n_sizes;
module_param_array(sizes, uint, &n_sizes, 0600);
MODULE_PARM_DESC(sizes, "of the balloon in pages, the smallest first");

struct sample {
	u32 hundredths;
	u32 size;
};

static struct sample samples[WAYS][MAX_SAMPLES];
static unsigned int n_samples[WAYS];
static u32 sorted[MAX_SAMPLES];

/* The operation that is going on: one CPU and one balloon have one at a time. */
static struct task_struct *worker;
static bool running, disturbed;
static unsigned long tick;
static u64 since, sum;
static unsigned int parts;
static long inflated, deflated;
/* What the probes add to a part of an operation. */
static u64 overhead;

static long events(enum vm_event_item item)
{
	return raw_cpu_read(vm_event_states.event[item]);
}

static void stop(u64 now)
{
	if (!running)
		return;
	running = false;
	sum += now - since;
	parts++;
	if (tick != jiffies)
		disturbed = true;
}

static void start(void)
{
	running = true;
	tick = jiffies;
	since = instructions();
}

static void begin(void)
{
	worker = current;
	inflated = events(BALLOON_INFLATE);
	deflated = events(BALLOON_DEFLATE);
	sum = 0;
	parts = 0;
	disturbed = false;
	start();
}

static int doorbell_rings(struct kprobe *probe, struct pt_regs *regs)
{
	u64 now = instructions();

	if (worker == current)
		stop(now);
	return 0;
}

static int host_answers(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (worker == current && !running && (zero_answers || regs_return_value(regs)))
		start();
	return 0;
}

static void end(u64 now)
{
	long n, size;
	enum way way;

	if (worker != current)
		return;
	stop(now);
	worker = NULL;
	size = inflated - deflated;
	inflated = events(BALLOON_INFLATE) - inflated;
	deflated = events(BALLOON_DEFLATE) - deflated;
	way = inflated ? INFLATE : DEFLATE;
	n = inflated + deflated;
	if (disturbed || n < FULL || (inflated && deflated) || n_samples[way] == MAX_SAMPLES)
		return;
	samples[way][n_samples[way]++] = (struct sample) {
		.hundredths = (sum - min(sum, parts * overhead)) * 100 / n,
		.size = size + inflated,
	};
}

static int operation_starts(struct kprobe *probe, struct pt_regs *regs)
{
	begin();
	return 0;
}

static int operation_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	end(instructions());
	return 0;
}

static int after_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	begin();
	return 0;
}

static int before_starts(struct kprobe *probe, struct pt_regs *regs)
{
	end(instructions());
	return 0;
}

static struct kprobe starts, rings;
static struct kretprobe ends, answers;

static void unregister_probes(void)
{
	unregister_kprobe(&starts);
	unregister_kretprobe(&ends);
	unregister_kprobe(&rings);
	unregister_kretprobe(&answers);
}

/* The last to be registered is the first to run: what stops the clock, not what starts it. */
static int register_probes(const struct places *at)
{
	bool whole = at->operation;
	int ret;

	starts = (struct kprobe) {
		.symbol_name = whole ? at->operation : at->before,
		.pre_handler = whole ? operation_starts : before_starts,
	};
	ends = (struct kretprobe) {
		.kp.symbol_name = whole ? at->operation : at->after,
		.handler = whole ? operation_ends : after_ends,
		.maxactive = 8,
	};
	rings = (struct kprobe) {
		.symbol_name = at->doorbell,
		.pre_handler = doorbell_rings,
	};
	answers = (struct kretprobe) {
		.kp.symbol_name = at->answer,
		.handler = host_answers,
		.maxactive = 8,
	};
	ret = register_kprobe(&starts);
	if (ret)
		goto out;
	ret = register_kretprobe(&ends);
	if (ret)
		goto out_starts;
	ret = register_kretprobe(&answers);
	if (ret)
		goto out_ends;
	ret = register_kprobe(&rings);
	if (!ret)
		return 0;
	unregister_kretprobe(&answers);
out_ends:
	unregister_kretprobe(&ends);
out_starts:
	unregister_kprobe(&starts);
out:
	pr_err("%s, %s, %s or %s cannot be probed: %d\n", starts.symbol_name,
	       ends.kp.symbol_name, at->doorbell, at->answer, ret);
	return ret;
}

/* An operation that does nothing between its two talks to a host. */
noinline void bench_doorbell(void);
noinline void bench_doorbell(void)
{
	barrier();
}

noinline bool bench_answer(void);
noinline bool bench_answer(void)
{
	barrier();
	return true;
}

noinline void bench_operation(void);
noinline void bench_operation(void)
{
	for (int i = 0; i < 2; i++) {
		bench_doorbell();
		bench_answer();
	}
	barrier();
}

static int measure_overhead(void)
{
	static const struct places nothing = {
		.operation = "bench_operation",
		.doorbell = "bench_doorbell",
		.answer = "bench_answer",
	};
	u64 least = U64_MAX;
	int ret = register_probes(&nothing);

	if (ret)
		return ret;
	for (int i = 0; i < ROUNDS; i++) {
		bench_operation();
		if (!worker && parts)
			least = min(least, sum / parts);
	}
	unregister_probes();
	if (least == U64_MAX)
		return -EIO;
	overhead = least;
	pr_info("the probes cost %llu instructions a part\n", overhead);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return cmp_int(*(const u32 *)a, *(const u32 *)b);
}

static int tell(char *buffer, int at, enum way way, unsigned int above, unsigned int size)
{
	unsigned int i, n = 0;
	u64 total = 0;

	for (i = 0; i < n_samples[way]; i++) {
		if (samples[way][i].size <= above || samples[way][i].size > size)
			continue;
		sorted[n++] = samples[way][i].hundredths;
		total += samples[way][i].hundredths;
	}
	if (!n)
		return 0;
	sort(sorted, n, sizeof(*sorted), compare, NULL);
	return sysfs_emit_at(buffer, at, "%s %u/1 %u %u %u %u\n",
			     way == INFLATE ? "inflate" : "deflate", size,
			     (u32)(total / n), sorted[n / 2], sorted[n - 1], n);
}

static int get_rows(char *buffer, const struct kernel_param *param)
{
	int at = 0;

	for (enum way way = INFLATE; way < WAYS; way++)
		for (unsigned int i = 0; i < n_sizes; i++)
			at += tell(buffer, at, way, i ? sizes[i - 1] : 0, sizes[i]);
	return at;
}

static const struct kernel_param_ops rows_ops = { .get = get_rows };
module_param_cb(rows, &rows_ops, NULL, 0400);
MODULE_PARM_DESC(rows, "what was measured");

static int __init bench_driver_init(void)
{
	int ret;

	if (!(driver.operation || (driver.after && driver.before)) || !driver.doorbell ||
	    !driver.answer) {
		pr_err("operation=, or after= and before=, doorbell= and answer= are needed\n");
		return -EINVAL;
	}
	ret = check_clock() ?: measure_overhead();
	return ret ?: register_probes(&driver);
}
module_init(bench_driver_init);

static void __exit bench_driver_exit(void)
{
	unregister_probes();
}
module_exit(bench_driver_exit);

MODULE_DESCRIPTION("What a balloon driver's operations cost in instructions");
MODULE_LICENSE("GPL");
