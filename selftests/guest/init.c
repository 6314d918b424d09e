// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's first process. It does what the kernel command line says:
 *
 *   workloads=NAME,NAME	run these programs all at once as long as anything else runs
 *   tests=NAME,NAME		run these programs one after the other to their ends
 *   host=yes			wait after them until the host says stop
 *   restart=yes		then restart the machine while the workloads run
 *   printk_delay=MS		delay each message of the kernel by MS milliseconds at the end
 *   leaks=yes			look for memory leaks at the end, unless restart=yes
 *   channel=DEVICE		a virtio port, to tell what became of them
 *   ktap=DEVICE		another one, for what the tests print
 *
 * and then powers the machine off, if it does not restart it. The kernel hands these parameters on in init's
 * environment, as it does not know them, and init hands them on to the programs,
 * whose arguments follow their names with a colon before each.
 *
 * What the guest says, a line each:
 *
 *   before KEY VALUE	a counter before anything runs
 *   ready		what is to run is about to start
 *   alive KEY VALUE	a counter, every second, -1 if there is none
 *   failed NAME HOW	a workload ended, which none may do by itself
 *   exit NAME STATUS	a test ended,
 *   signal NAME NUMBER	or was killed, and before that:
 *   seconds NAME TIME	how long it ran
 *   middle KEY VALUE	a counter when the host says look, while no workload runs
 *   looked		these were all
 *   after KEY VALUE	a counter after all of them have ended
 *   success		the last word: all of the above went as planned
 *   failure		or it did not
 *
 * What the host says: look, when the balloon has reached a target; stop, when the host
 * has had enough; and off, when it has heard the last word: what is on its way when
 * the machine is turned off gets lost.
 */
#include <err.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "files.h"

#define MAX_WORKLOADS 16
#define MAX_ARGUMENTS 8
/* Where the tests find the module that they load themselves. */
#define MODULE "/lib/test_balloon.ko"
#define KMEMLEAK "/sys/kernel/debug/kmemleak"
#define FAULTS_LEFT "/sys/kernel/debug/fail_page_alloc/times"
#define PRINTK_DELAY "/proc/sys/kernel/printk_delay"
#define MAX_FAULTS 1000000000

struct workload {
	const char *name;
	pid_t pid;
};

static struct workload workloads[MAX_WORKLOADS];
static int n_workloads;
static bool all_well = true;
static bool looked;
static FILE *channel;

static FILE *open_file(const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file)
		err(1, "%s", path);
	return file;
}

static void mount_filesystems(void)
{
	static const struct { const char *type, *where; } mounts[] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL))
			err(1, "mount %s", mounts[i].where);
	}
	/* Only some kernels have it, and only some tests miss it. */
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
}

static const char *parameter(const char *name)
{
	const char *value = getenv(name);

	if (!value)
		errx(1, "%s= is missing on the kernel command line", name);
	return value;
}

static void open_channel(void)
{
	const char *device = parameter("channel");

	channel = fopen(device, "r+");
	if (!channel)
		err(1, "%s", device);
	/* A line a write: what a guest said before it died is complete. */
	setvbuf(channel, NULL, _IOLBF, 0);
}

/*
 * Free pages wander between the buddy allocator and the per-CPU lists, so both
 * are taken from one reading of one file.
 */
static void report_zones(const char *when)
{
	FILE *file = open_file("/proc/zoneinfo");
	unsigned long value, free = 0, managed = 0;
	char line[256], zone[32] = "";
	int node = -1;

	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "Node %d, zone %31s", &node, zone);
		if (sscanf(line, " pages free %lu", &value) == 1 ||
		    sscanf(line, " count: %lu", &value) == 1) {
			free += value;
		} else if (sscanf(line, " managed %lu", &value) == 1) {
			managed += value;
			fprintf(channel, "%s node%d/%s/managed_pages %lu\n",
				when, node, zone, value);
		}
	}
	fclose(file);
	fprintf(channel, "%s free_pages %lu\n", when, free);
	fprintf(channel, "%s managed_pages %lu\n", when, managed);
}

static void report_file(const char *when, const char *path, const char *format)
{
	FILE *file = open_file(path);
	unsigned long value;
	char line[256], key[64];

	while (fgets(line, sizeof(line), file))
		if (sscanf(line, format, key, &value) == 2)
			fprintf(channel, "%s %s %lu\n", when, key, value);
	fclose(file);
}

static void report_nodes(const char *when)
{
	unsigned long value;
	glob_t files;

	if (glob("/sys/devices/system/node/node*/vmstat", 0, NULL, &files))
		return;
	for (size_t i = 0; i < files.gl_pathc; i++) {
		FILE *file = open_file(files.gl_pathv[i]);
		char line[256];
		int node = -1;

		sscanf(files.gl_pathv[i], "/sys/devices/system/node/node%d", &node);
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "nr_balloon_pages %lu", &value) == 1)
				fprintf(channel, "%s node%d/nr_balloon_pages %lu\n",
					when, node, value);
		fclose(file);
	}
	globfree(&files);
}

/* How many page allocations fault injection made fail, if the kernel has it. */
static void report_faults(const char *when)
{
	long left = read_number(FAULTS_LEFT);

	if (left >= 0)
		fprintf(channel, "%s failed_page_allocs %ld\n", when, MAX_FAULTS - left);
}

static void report_counters(const char *when)
{
	/* Until they are folded, per-CPU differences blur the counters. */
	if (write_file("/proc/sys/vm/stat_refresh", "1"))
		errx(1, "the counters cannot be folded");
	report_file(when, "/proc/vmstat", "%63s %lu");
	report_file(when, "/proc/meminfo", "%63[A-Za-z]: %lu");
	report_zones(when);
	report_nodes(when);
	report_faults(when);
}

static void report_progress(void)
{
	fprintf(channel, "alive balloon_migrate %ld\n",
		read_value("/proc/vmstat", "balloon_migrate"));
}

/*
 * Starts what is called NAME:ARGUMENT:ARGUMENT, with its output on the device if
 * there is one.
 */
static pid_t start(const char *call, const char *output)
{
	char words[256], path[64], *arguments[MAX_ARGUMENTS + 1] = { };
	int n = 0;
	pid_t pid;
	int fd;

	if (snprintf(words, sizeof(words), "%s", call) >= (int)sizeof(words))
		errx(1, "%s is too long", call);
	for (char *rest = words; rest; n++) {
		if (n == MAX_ARGUMENTS)
			errx(1, "%s has too many arguments", call);
		arguments[n] = strsep(&rest, ":");
	}
	snprintf(path, sizeof(path), "/bin/%s", arguments[0]);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;
	if (output) {
		fd = open(output, O_WRONLY);
		if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
			err(1, "%s", output);
		close(fd);
	}
	execv(path, arguments);
	err(127, "%s", path);
}

static void start_workloads(char *names)
{
	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		struct workload *w = &workloads[n_workloads];

		if (n_workloads++ == MAX_WORKLOADS)
			errx(1, "too many workloads");
		w->name = name;
		w->pid = start(name, NULL);
	}
}

static void reap_workloads(void)
{
	int status;

	for (int i = 0; i < n_workloads; i++) {
		if (workloads[i].pid && waitpid(workloads[i].pid, &status, WNOHANG) > 0) {
			workloads[i].pid = 0;
			all_well = false;
			fprintf(channel, "failed %s %s %d\n", workloads[i].name,
				WIFEXITED(status) ? "exit" : "signal",
				WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		}
	}
}

/* A test may have left children behind, which end as well. */
static void stop_workloads(void)
{
	reap_workloads();
	kill(-1, SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

static void signal_workloads(int signal)
{
	for (int i = 0; i < n_workloads; i++)
		if (workloads[i].pid)
			kill(workloads[i].pid, signal);
}

/* Counters are exact only while nothing migrates. */
static void look(void)
{
	siginfo_t info;

	signal_workloads(SIGSTOP);
	/* One that has ended is left to be reaped. */
	for (int i = 0; i < n_workloads; i++)
		if (workloads[i].pid)
			waitid(P_PID, workloads[i].pid, &info, WSTOPPED | WEXITED | WNOWAIT);
	report_counters("middle");
	fprintf(channel, "looked\n");
	signal_workloads(SIGCONT);
	looked = true;
}

/* Waits for a second for the host to say the word, a line like the guest's. */
static bool host_says(const char *word)
{
	static char said[32];
	static size_t length;
	struct pollfd host = { .fd = fileno(channel), .events = POLLIN };
	ssize_t n;

	if (poll(&host, 1, 1000) <= 0)
		return false;
	n = read(host.fd, said + length, sizeof(said) - 1 - length);
	if (n <= 0)
		errx(1, "the host hung up, or talks nonsense");
	length += n;
	if (!looked && strstr(said, "look\n"))
		look();
	return strstr(said, word);
}

static void wait_for_host(void)
{
	while (!host_says("stop\n")) {
		reap_workloads();
		report_progress();
	}
}

static void run_test(const char *name, const char *output)
{
	double begin = now();
	pid_t pid = start(name, output);
	struct pollfd test = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	int status;

	if (test.fd < 0)
		err(1, "pidfd_open");
	while (poll(&test, 1, 1000) <= 0) {
		reap_workloads();
		report_progress();
	}
	if (waitpid(pid, &status, 0) != pid)
		err(1, "waitpid");
	close(test.fd);
	fprintf(channel, "seconds %s %.1f\n", name, now() - begin);
	fprintf(channel, "%s %s %d\n", WIFEXITED(status) ? "exit" : "signal", name,
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		all_well = false;
}

static void run_tests(char *names)
{
	setenv("TEST_BALLOON_KO", MODULE, 1);
	for (char *name = strtok(names, ","); name; name = strtok(NULL, ","))
		run_test(name, parameter("ktap"));
}

/*
 * Prints leaks to the console. Scan twice, because an object that waits for RCU or moves
 * between lists can look leaked in one scan. Sleep first, because kmemleak does not report
 * objects younger than 5 seconds.
 */
static void look_for_leaks(void)
{
	char line[256];
	FILE *file;

	for (int i = 0; i < 2; i++) {
		sleep(6);
		if (write_file(KMEMLEAK, "scan"))
			errx(1, "there is no kmemleak");
	}
	file = open_file(KMEMLEAK);
	while (fgets(line, sizeof(line), file))
		fputs(line, stderr);
	fclose(file);
	fprintf(stderr, "kmemleak scan done\n");
}

int main(void)
{
	char *names;

	mount_filesystems();
	open_channel();
	/* Do not limit how many allocations the workload called faults makes fail. */
	write_number(FAULTS_LEFT, MAX_FAULTS);
	report_counters("before");
	fprintf(channel, "ready\n");
	names = getenv("workloads");
	if (names)
		start_workloads(names);
	names = getenv("tests");
	if (names)
		run_tests(names);
	if (getenv("host"))
		wait_for_host();
	if (getenv("restart")) {
		reap_workloads();
	} else {
		stop_workloads();
		report_counters("after");
		if (getenv("leaks"))
			look_for_leaks();
	}
	fprintf(channel, all_well ? "success\n" : "failure\n");
	while (!host_says("off\n"))
		;
	/* Only now: earlier, the host would take the slow guest for a hung one. */
	if (getenv("printk_delay") && write_file(PRINTK_DELAY, getenv("printk_delay")))
		errx(1, "%s cannot be set", PRINTK_DELAY);
	reboot(getenv("restart") ? RB_AUTOBOOT : RB_POWER_OFF);
	err(1, "reboot");
}
