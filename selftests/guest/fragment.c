// SPDX-License-Identifier: GPL-2.0
/*
 * Fragments memory, so that compaction finds something to do: punches holes of
 * single pages at random into anonymous memory, and fills them again. Whatever the
 * kernel and the host do with other pages meanwhile, these keep what was written.
 */
#include <err.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (64UL << 20)

int main(void)
{
	const size_t page_size = sysconf(_SC_PAGESIZE), words = page_size / sizeof(unsigned long);
	const size_t n_pages = SIZE / page_size;
	unsigned long round, *rounds = calloc(n_pages, sizeof(*rounds));
	unsigned long *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || !rounds)
		err(1, "no memory");
	for (round = 1;; round++) {
		for (size_t i = 0; i < n_pages; i++) {
			unsigned long *page = memory + i * words;
			/* Its first and last words tell the page and the round, or it is a hole. */
			unsigned long expected = rounds[i] ? rounds[i] << 32 | i : 0;

			for (size_t word = 0; word < words; word += words - 1) {
				if (page[word] != expected)
					errx(1, "%p holds %#lx, not %#lx", page + word,
					     page[word], expected);
				page[word] = round << 32 | i;
			}
			rounds[i] = round;
		}
		for (size_t i = 0; i < n_pages; i++) {
			if (random() % 2)
				continue;
			if (madvise(memory + i * words, page_size, MADV_DONTNEED))
				err(1, "madvise");
			rounds[i] = 0;
		}
	}
}
