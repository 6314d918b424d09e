/* SPDX-License-Identifier: GPL-2.0 */
/* The balloon core, which has one of two names. */
#ifndef FAKEHOST_BALLOON_H
#define FAKEHOST_BALLOON_H

#if __has_include(<linux/balloon.h>)
#include <linux/balloon.h>
#else
#include <linux/balloon_compaction.h>
#endif

#if defined(CONFIG_BALLOON_MIGRATION) || defined(CONFIG_BALLOON_COMPACTION)
#define BALLOON_PAGES_MIGRATE
#endif

#endif
