/* SPDX-License-Identifier: GPL-2.0 */
/* What not every kernel has, or has under this name. */
#ifndef FAKEHOST_NAMES_H
#define FAKEHOST_NAMES_H

#include <linux/types.h>

#if __has_include(<linux/balloon.h>)
#include <linux/balloon.h>
#else
#include <linux/balloon_compaction.h>
#endif

#if defined(CONFIG_BALLOON_MIGRATION) || defined(CONFIG_BALLOON_COMPACTION)
#define BALLOON_PAGES_MIGRATE
#endif

static inline u32 next_chance(u32 chance)
{
	return chance * 1664525 + 1013904223;
}

#endif
