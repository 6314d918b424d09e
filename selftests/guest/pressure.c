// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out: balloons that can give pages back do so before somebody is
 * killed, and somebody is killed when there are none left.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "files.h"
#include "../kselftest_harness.h"

#define ROUNDS 2
#define CHUNK (1 << 20)

static void eat(void)
{
	write_file("/proc/self/oom_score_adj", "1000");
	for (;;) {
		char *memory = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			_exit(1);
		memset(memory, 1, CHUNK);
	}
}

FIXTURE(memory)
{
	long kills, deflated;
};

FIXTURE_SETUP(memory)
{
	self->kills = vmstat("oom_kill");
	self->deflated = vmstat("balloon_deflate");
}

FIXTURE_TEARDOWN(memory)
{
}

TEST_F_TIMEOUT(memory, runs_out, NO_LIMIT)
{
	for (int i = 0; i < ROUNDS; i++) {
		pid_t eater = fork();
		int status;

		ASSERT_LE(0, eater);
		if (!eater)
			eat();
		ASSERT_EQ(eater, waitpid(eater, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("memory did not run out: status 0x%x", status);
		TH_LOG("memory ran out %d times, %ld pages deflated meanwhile", i + 1,
		       vmstat("balloon_deflate") - self->deflated);
	}
	EXPECT_EQ(ROUNDS, vmstat("oom_kill") - self->kills);
	printf("# figure deflated_under_pressure %ld\n",
	       vmstat("balloon_deflate") - self->deflated);
}

TEST_HARNESS_MAIN
