// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's first process. It runs the programs that the kernel command line
 * names (workloads=NAME,NAME) until the host says stop, and tells on a channel
 * of its own (channel=DEVICE, a virtio port) what became of them. The kernel
 * hands both parameters on in init's environment, as it does not know them.
 *
 * What the guest says, a line each:
 *
 *   before KEY VALUE	a counter before the workloads start
 *   ready		the workloads run
 *   alive KEY VALUE	a counter, every second
 *   failed NAME HOW	a workload ended, which none may do by itself
 *   after KEY VALUE	a counter after the workloads were stopped
 *   success		the last word: all of the above went as planned
 *
 * What the host says: stop.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORKLOADS 16

struct workload {
	const char *name;
	pid_t pid;
};

static struct workload workloads[MAX_WORKLOADS];
static int n_workloads;
static bool all_well = true;
static FILE *channel;

static FILE *open_file(const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file)
		err(1, "%s", path);
	return file;
}

static void write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		err(1, "%s", path);
	close(fd);
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
}

static void open_channel(void)
{
	const char *device = getenv("channel");

	if (!device)
		errx(1, "channel= is missing on the kernel command line");
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
	char line[256];

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " pages free %lu", &value) == 1 ||
		    sscanf(line, " count: %lu", &value) == 1)
			free += value;
		else if (sscanf(line, " managed %lu", &value) == 1)
			managed += value;
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

static void report_counters(const char *when)
{
	/* Until they are folded, per-CPU differences blur the counters. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	report_file(when, "/proc/vmstat", "%63s %lu");
	report_file(when, "/proc/meminfo", "%63[A-Za-z]: %lu");
	report_zones(when);
}

static void report_progress(void)
{
	FILE *file = open_file("/proc/vmstat");
	unsigned long value;
	char line[256];

	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "balloon_migrate %lu", &value) == 1)
			fprintf(channel, "alive balloon_migrate %lu\n", value);
	fclose(file);
}

static void start_workloads(void)
{
	char *names = getenv("workloads");

	for (char *name = names ? strtok(names, ",") : NULL; name; name = strtok(NULL, ",")) {
		struct workload *w = &workloads[n_workloads++];
		char path[64];

		if (n_workloads == MAX_WORKLOADS)
			errx(1, "too many workloads");
		snprintf(path, sizeof(path), "/bin/%s", name);
		w->name = name;
		w->pid = fork();
		if (w->pid < 0)
			err(1, "fork");
		if (!w->pid) {
			execl(path, path, NULL);
			err(1, "%s", path);
		}
	}
}

static void reap_workloads(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < n_workloads; i++) {
			if (workloads[i].pid != pid)
				continue;
			workloads[i].pid = 0;
			all_well = false;
			fprintf(channel, "failed %s %s %d\n", workloads[i].name,
				WIFEXITED(status) ? "exit" : "signal",
				WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		}
	}
}

static void stop_workloads(void)
{
	for (int i = 0; i < n_workloads; i++)
		if (workloads[i].pid)
			kill(workloads[i].pid, SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

static bool host_says_stop(void)
{
	static char said[16];
	static size_t length;
	struct pollfd host = { .fd = fileno(channel), .events = POLLIN };
	ssize_t n;

	if (poll(&host, 1, 1000) <= 0)
		return false;
	n = read(host.fd, said + length, sizeof(said) - 1 - length);
	if (n <= 0)
		errx(1, "the host hung up, or talks nonsense");
	length += n;
	return strstr(said, "stop\n");
}

int main(void)
{
	mount_filesystems();
	open_channel();
	report_counters("before");
	start_workloads();
	fprintf(channel, "ready\n");
	while (!host_says_stop()) {
		reap_workloads();
		report_progress();
	}
	reap_workloads();
	stop_workloads();
	report_counters("after");
	if (all_well)
		fprintf(channel, "success\n");
	reboot(RB_POWER_OFF);
	err(1, "reboot");
}
