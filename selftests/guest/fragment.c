// SPDX-License-Identifier: GPL-2.0
/*
 * Fragments memory, so that compaction finds something to do: punches holes of
 * single pages at random into anonymous memory, and fills them again.
 */
#include <err.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (64UL << 20)

int main(void)
{
	const size_t page_size = sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (;;) {
		for (size_t i = 0; i < SIZE; i += page_size)
			memory[i] = 1;
		for (size_t i = 0; i < SIZE; i += page_size)
			if (random() % 2 &&
			    madvise(memory + i, page_size, MADV_DONTNEED))
				err(1, "madvise");
	}
}
