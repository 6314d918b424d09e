/* SPDX-License-Identifier: GPL-2.0 */
/* Memory blocks that go away and come back, for the programs beside this one. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <signal.h>
#include <stdbool.h>

#include "files.h"

#define BLOCKS "/sys/devices/system/memory/memory[0-9]*"

static inline int set_state(const char *block, const char *state)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state", block);
	return write_file(path, state);
}

/* Whether the block is in the zone of what can be moved. */
static inline bool is_movable(const char *block)
{
	char path[128], zones[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/valid_zones", block);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(zones, sizeof(zones), file))
		zones[0] = 0;
	fclose(file);
	return !strncmp(zones, "Movable", strlen("Movable"));
}

static inline void interrupted(int signal)
{
	(void)signal;
}

/*
 * What cannot be moved is tried again for ever, until a signal comes. Returns 0, or the
 * error as a negative number.
 */
static inline int offline(const char *block, unsigned int seconds)
{
	const struct sigaction action = { .sa_handler = interrupted };
	int ret;

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
	ret = set_state(block, "offline");
	alarm(0);
	return ret;
}

#endif
