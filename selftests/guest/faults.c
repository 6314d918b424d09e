// SPDX-License-Identifier: GPL-2.0
/*
 * A workload: page allocations fail where a balloon is inflated.
 *
 *   faults:INTERVAL:FUNCTION
 *
 * Every INTERVAL-th page allocation in FUNCTION or its callees fails. FUNCTION may be one of
 * a module that comes and goes.
 */
#include <err.h>
#include <limits.h>

#include "files.h"

#define ATTRIBUTES "/sys/kernel/debug/fail_page_alloc/"

struct range {
	unsigned long start, end;
};

/* The range of addresses of the function, which is empty if it is not there. */
static struct range range_of(const char *function)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	struct range found = { 0, 0 };
	unsigned long address;
	char line[256], name[128];

	if (!file)
		err(1, "kallsyms");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx %*c %127s", &address, name) != 2)
			continue;
		if (!strcmp(name, function))
			found = (struct range){ address, ULONG_MAX };
	}
	/* Modules' symbols are in no order. */
	rewind(file);
	while (found.start && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx %*c %127s", &address, name) == 2 &&
		    address > found.start && address < found.end)
			found.end = address;
	}
	fclose(file);
	return found;
}

static void set(const char *attribute, unsigned long value)
{
	char path[128], number[24];
	int ret;

	snprintf(path, sizeof(path), ATTRIBUTES "%s", attribute);
	snprintf(number, sizeof(number), "%lu", value);
	ret = write_file(path, number);
	if (ret)
		errx(1, "%s: %s", attribute, strerror(-ret));
}

/*
 * Sets make-it-fail for all tasks except init. New kernel threads inherit it from kthreadd.
 * The task filter avoids the stack walk in all other tasks.
 */
static void let_tasks_fail(void)
{
	char path[64];

	for (int pid = 2; pid < getpid(); pid++) {
		snprintf(path, sizeof(path), "/proc/%d/make-it-fail", pid);
		write_file(path, "1");
	}
}

int main(int argc, char **argv)
{
	struct range where, last = { 0, 0 };

	if (argc != 3)
		errx(1, "there is no interval, or no function");
	let_tasks_fail();
	set("min-order", 0);
	set("ignore-gfp-wait", 0);
	set("ignore-gfp-highmem", 0);
	set("task-filter", 1);
	set("verbose", 0);
	set("interval", strtoul(argv[1], NULL, 0));
	for (;; last = where) {
		where = range_of(argv[2]);
		if (where.start != last.start) {
			set("probability", 0);
			set("require-start", where.start);
			set("require-end", where.end);
			set("probability", where.start ? 100 : 0);
		}
		sleep(1);
	}
}
