// SPDX-License-Identifier: GPL-2.0
/* Compacts all of memory again and again. */
#include <err.h>
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	const char *file = "/proc/sys/vm/compact_memory";
	int fd = open(file, O_WRONLY);

	if (fd < 0)
		err(1, "%s", file);
	for (;;)
		if (pwrite(fd, "1", 1, 0) != 1)
			err(1, "%s", file);
}
