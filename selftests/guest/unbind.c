// SPDX-License-Identifier: GPL-2.0
/*
 * The virtio balloon loses its driver as soon as its device was shut down: while the
 * guest restarts, but for whoever is still running.
 */
#include <err.h>
#include <glob.h>

#include "files.h"

#define DRIVER "/sys/bus/virtio/drivers/virtio_balloon/"

/* What the driver has told the device, and nothing once the device was reset. */
static unsigned int status(const char *device)
{
	unsigned int value = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), DRIVER "%s/status", device);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%x", &value) != 1)
		err(1, "%s", path);
	fclose(file);
	return value;
}

int main(void)
{
	const char *device;
	glob_t devices;

	if (glob(DRIVER "virtio*", 0, NULL, &devices))
		errx(1, "there is no virtio balloon");
	device = strrchr(devices.gl_pathv[0], '/') + 1;
	while (status(device))
		usleep(1000);
	if (write_file(DRIVER "unbind", device))
		errx(1, "the driver does not go");
	pause();
}
