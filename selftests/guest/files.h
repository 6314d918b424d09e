/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's files, for the programs beside this one. */
#ifndef FILES_H
#define FILES_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Seconds for a test that ends with the run at the latest, whose limit can be multiplied. */
#define NO_LIMIT 100000

/* Returns 0, or the error as a negative number. */
static inline int write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static inline int write_number(const char *path, long number)
{
	char value[24];

	snprintf(value, sizeof(value), "%ld", number);
	return write_file(path, value);
}

/* Returns what the file says after the key, or -1 if it does not. */
static inline long read_value(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	long value, found = -1;
	char line[256], word[64];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %ld", word, &value) == 2 && !strcmp(word, key))
			found = value;
	fclose(file);
	return found;
}

/* Returns the number that the file holds, or -1 if it holds none. */
static inline long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

/* Returns a counter of /proc/vmstat, free of what is on its way on a CPU. */
static inline long vmstat(const char *key)
{
	write_file("/proc/sys/vm/stat_refresh", "1");
	return read_value("/proc/vmstat", key);
}

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Returns a number that the kernel command line gives, or another. */
static inline long parameter_or(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value ? strtol(value, NULL, 0) : otherwise;
}

/*
 * Waits until the balloon has as many pages as the kernel command line says by pages=N.
 * Returns whether it has, which is no if that takes longer.
 */
static inline bool balloon_fills(unsigned int seconds)
{
	double end = now() + seconds;

	while (vmstat("nr_balloon_pages") < parameter_or("pages", 1)) {
		if (now() > end)
			return false;
		usleep(50000);
	}
	return true;
}

#endif
