/* SPDX-License-Identifier: GPL-2.0 */
/* Kernel modules and their parameters, for the programs beside this one. */
#ifndef MODULES_H
#define MODULES_H

#include <sys/syscall.h>
#include <sys/wait.h>

#include "files.h"

/* How long others may use a module that is to go, and how long until it is stuck. */
#define UNLOAD_SECONDS 40
#define USE_SECONDS 2

/* Returns 0, or the error as a negative number. Commas may separate parameters. */
static inline int load(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	char words[256];

	if (fd < 0)
		return -errno;
	snprintf(words, sizeof(words), "%s", parameters ? parameters : "");
	for (char *comma = words; (comma = strchr(comma, ',')); )
		*comma = ' ';
	ret = syscall(SYS_finit_module, fd, words, 0) ? -errno : 0;
	close(fd);
	return ret;
}

/* Returns 0, or the error as a positive number. */
static inline int delete_module(const char *module)
{
	double end = now() + USE_SECONDS;

	while (syscall(SYS_delete_module, module, O_NONBLOCK)) {
		if (errno != EWOULDBLOCK || now() > end)
			return errno;
		usleep(1000);
	}
	return 0;
}

/* The kernel cannot be kept from trying for ever, so this is left to a child. */
static inline int unload(const char *module)
{
	double end = now() + UNLOAD_SECONDS;
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(delete_module(module));
	while (!waitpid(pid, &status, WNOHANG)) {
		if (now() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* As before, but for a module that may be in use for longer. Counts refusals, if asked to. */
static inline int unload_when_unused(const char *module, long *refused)
{
	double end = now() + UNLOAD_SECONDS;
	int ret;

	while ((ret = unload(module)) == -EWOULDBLOCK && now() < end) {
		if (refused)
			++*refused;
		usleep(1000);
	}
	return ret;
}

static inline long read_parameter(const char *module, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	return read_number(path);
}

static inline int write_parameter(const char *module, const char *name, long value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	return write_number(path, value);
}

#endif
