// SPDX-License-Identifier: GPL-2.0
/*
 * Memory goes away, one block after the other, and the balloon's pages in it go to
 * another block, zone or node. Then it comes back to the zone that it was in.
 */
#include <glob.h>

#include "blocks.h"
#include "../kselftest_harness.h"

/* The least number of rounds, and the most, if too little has moved by then. */
#define ROUNDS 5
#define MAX_ROUNDS 20
#define MAX_NODES 2
/* Seconds after which a block stays where it is. */
#define LIMIT 8

static int node_of(const char *block)
{
	char path[128];
	glob_t nodes;
	int node = 0;

	snprintf(path, sizeof(path), "%s/node[0-9]*", block);
	if (glob(path, 0, NULL, &nodes))
		return 0;
	sscanf(strrchr(nodes.gl_pathv[0], '/'), "/node%d", &node);
	globfree(&nodes);
	return node;
}

FIXTURE(memory)
{
	glob_t blocks;
	long migrated;
};

FIXTURE_SETUP(memory)
{
	ASSERT_EQ(0, glob(BLOCKS, 0, NULL, &self->blocks));
	self->migrated = vmstat("balloon_migrate");
}

/* Whether as many pages have migrated, and blocks gone away, as the scenario needs. */
static bool enough(long before, const long n[MAX_NODES])
{
	char name[32];

	for (int node = 0; node < MAX_NODES; node++) {
		snprintf(name, sizeof(name), "blocks_offline_node%d", node);
		if (n[node] < parameter_or(name, 0))
			return false;
	}
	return vmstat("balloon_migrate") - before >= parameter_or("migrated_meanwhile", 0);
}

FIXTURE_TEARDOWN(memory)
{
	globfree(&self->blocks);
}

TEST_F_TIMEOUT(memory, goes_away, NO_LIMIT)
{
	long n[MAX_NODES] = { };

	for (int round = 0;
	     round < ROUNDS || (round < MAX_ROUNDS && !enough(self->migrated, n)); round++) {
		/* Let pages come to where there are none after the last round. */
		sleep(2);
		/* The kernel itself is in the first one. */
		for (size_t i = 1; i < self->blocks.gl_pathc; i++) {
			const char *block = self->blocks.gl_pathv[i];
			const char *back = is_movable(block) ? "online_movable" : "online_kernel";
			int ret, node = node_of(block);

			ASSERT_GT(MAX_NODES, node);

			ret = offline(block, LIMIT);
			TH_LOG("%s: %s", strrchr(block, '/') + 1, ret ? strerror(-ret) : "away");
			if (ret)
				continue;
			n[node]++;
			ASSERT_EQ(0, set_state(block, back))
				TH_LOG("%s does not come back", block);
		}
	}
	for (int node = 0; node < MAX_NODES; node++)
		printf("# figure blocks_offline_node%d %ld\n", node, n[node]);
	printf("# figure migrated_meanwhile %ld\n", vmstat("balloon_migrate") - self->migrated);
}

TEST_HARNESS_MAIN
