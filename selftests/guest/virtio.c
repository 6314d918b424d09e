// SPDX-License-Identifier: GPL-2.0
/*
 * The virtio balloon gets the size that its host asks for. Its device may be taken away
 * then, with whatever is in the balloon or on its way to another place.
 *
 * Environment:
 *
 *   pages=N	that are in the balloon before anything else happens
 */
#include <glob.h>
#include <limits.h>
#include <signal.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif
#include <sys/wait.h>

#include "files.h"
#include "../kselftest_harness.h"

#define DEVICES "/sys/bus/virtio/drivers/virtio_balloon/virtio*"
/*
 * The ACPI ports of QEMU's "pc" where the guest selects a bus, and ejects the devices in
 * slots of it. QEMU does not ask whether it had told the guest to do so.
 */
#define SELECT_BUS 0xae10
#define EJECT 0xae08
/* Seconds in which a balloon is filled, and in which a device is removed. */
#define LIMIT 40

FIXTURE(balloon)
{
	char device[PATH_MAX];
	unsigned int slot;
};

/* Finds the PCI device, and waits until there is something in the balloon. */
FIXTURE_SETUP(balloon)
{
	glob_t devices;

	ASSERT_EQ(0, glob(DEVICES, 0, NULL, &devices))
		TH_LOG("there is no virtio balloon");
	ASSERT_NE(NULL, realpath(devices.gl_pathv[0], self->device));
	globfree(&devices);
	*strrchr(self->device, '/') = 0;
	ASSERT_EQ(1, sscanf(strrchr(self->device, '/'), "/%*x:%*x:%x", &self->slot));
	ASSERT_TRUE(balloon_fills(LIMIT))
		TH_LOG("%ld pages are in the balloon", vmstat("nr_balloon_pages"));
}

FIXTURE_TEARDOWN(balloon)
{
}

/* For what comes after it. */
TEST_F_TIMEOUT(balloon, is_full, 60)
{
	EXPECT_LE(parameter_or("pages", 1), vmstat("nr_balloon_pages"));
}

/* Returns 0, or -1 if this machine has no such ports. */
static int eject(unsigned int slot)
{
#ifdef __x86_64__
	if (iopl(3))
		return -1;
	outl(0, SELECT_BUS);
	outl(1u << slot, EJECT);
	return 0;
#else
	return -1;
#endif
}

/* The device is gone before its driver hears of it, and answers nobody any more. */
TEST_F_TIMEOUT(balloon, loses_its_device, 120)
{
	long migrated = vmstat("balloon_migrate");
	char path[PATH_MAX + 8];
	pid_t pid, ended = 0;
	double end;
	int status;

	while (vmstat("balloon_migrate") < migrated + 1000)
		usleep(10000);
	ASSERT_EQ(0, eject(self->slot));
	/* Let compaction come upon that. */
	sleep(1);

	snprintf(path, sizeof(path), "%s/remove", self->device);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(write_file(path, "1") ? 1 : 0);
	for (end = now() + LIMIT; !ended && now() < end; usleep(10000))
		ended = waitpid(pid, &status, WNOHANG);
	ASSERT_EQ(pid, ended)
		TH_LOG("the device is not removed after %d s", LIMIT);
	EXPECT_EQ(0, status);
	EXPECT_NE(0, access(self->device, F_OK));
	EXPECT_EQ(0, vmstat("nr_balloon_pages"));
}

TEST_HARNESS_MAIN
