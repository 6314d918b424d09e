/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Balloon pages and page migration. README.md says what is left out.
 *
 * By default, isolation is decided by an atomic test-and-set, as in mainline/page-lock.
 * With -DPAGE_LOCK, it is decided under the page lock, as in the series on v6.16, where
 * isolate_movable_ops_page() is isolate_movable_page(), putback_movable_ops_page() is in
 * putback_movable_pages(), and migrate_movable_ops_page() is in move_to_new_folio().
 *
 * What is atomic here is one hold of balloon_pages_lock, one atomic instruction or one
 * access to memory, with what only the task itself can see. Anybody else may run between
 * two of these.
 *
 * -DWRONG_NAME makes the mistake of that name in the file variants.
 */
#define PAGES 3	/* two in balloons, and one that migration moves them to */

/* wrong(NAME): 1 with -DWRONG_NAME, or else 0, in the way of IS_ENABLED() */
#define wrong(name) is_1(WRONG_##name)
#define is_1(value) is_1_(value)
#define is_1_(value) is_1__(COMMA_##value)
#define COMMA_1 0,
#define is_1__(comma_or_not) second(comma_or_not 1, 0,)
#define second(first, value, ...) value
#define right(name) (1 - wrong(name))

#define LISTS "violated: lists: a page is on one list at a time\n"
#define FREED "violated: freed: a free page is on no list, in no balloon, not isolated, not locked\n"
#define USED "violated: used: a page is not used after it was freed\n"
#define GONE "violated: gone: a balloon is not used after its driver has gone\n"
#define FLAG "violated: flag: the flag is set while a task has the page isolated, and only then\n"
#define MOVABLE "violated: movable: a page keeps its movable_ops until it is freed\n"
#define PRIVATE "violated: private: private is set while a page is on its balloon's list or isolated, and only then\n"
#define ISOLATED "violated: isolated: isolated_pages is the number of isolated pages\n"
#define BALLOON "violated: balloon: nr_balloon_pages is the number of pages in balloons\n"
#define REFERENCES "violated: references: one of the owner, and one of the task that has the page isolated\n"

#define SUCCESS 0
#define ENOENT 1
#define EAGAIN 2
#define EBUSY 3

#define must(condition, rule) \
	if :: (condition) :: else -> printf(rule); assert(false) fi
#define say(text, page) printf(text, me, page)

/* struct page */
byte refs[PAGES];	/* page_count(), 0 if the page is free */
byte list[PAGES];	/* whose list page->lru is in: a balloon's, a task's, or 0 */
byte private[PAGES];	/* page_private(): the balloon, or 0 */
bool movable[PAGES];	/* page_has_movable_ops() */
bool flag[PAGES];	/* PageMovableOpsIsolated() */
#ifdef PAGE_LOCK
bool locked[PAGES];	/* PageLocked() */
#define is_locked(page) locked[page]
#else
#define is_locked(page) false
#endif

/* struct balloon_dev_info of the balloons 1 and 2 */
byte isolated_pages[3];
bool asleep[3];		/* its driver, in balloon_isolated_wait */
bool gone[3];		/* freed */
byte nr_balloon_pages;

/* Not in the kernel: who has a page isolated, how many tasks are in the core's functions */
byte isolated_by[PAGES];
byte in_core;

inline list_add(page, to) {
	must(list[page] == 0, LISTS);
	list[page] = to
}

inline list_del(page, from) {
	must(list[page] == from, LISTS);
	list[page] = 0
}

/* alloc_page(): free pages are alike, so the first one stands for all of them. */
#define can_alloc (refs[0] == 0 || refs[1] == 0 || refs[2] == 0)
inline alloc_page(page) {
	page = (refs[0] == 0 -> 0 : (refs[1] == 0 -> 1 : 2));
	refs[page] = 1
}

inline folio_get(page) {
	refs[page]++;
	in_core++;
	say("%c isolate_movable_ops_page(page %d): folio_get_nontail_page()\n", page)
}

/* put_page(), folio_put(), __free_page(): whoever drops the last reference frees it. */
inline put_page(page) {
	must(refs[page] > 0, USED);
	refs[page]--;
	if
	:: refs[page] == 0 ->
		say("%c put_page(page %d): freed\n", page);
		must(!list[page] && !private[page] && !flag[page] && !is_locked(page), FREED);
		movable[page] = false
	:: else
	fi
}

/* mm/balloon.c */

inline balloon_page_insert(balloon, page) {
	must(!gone[balloon], GONE);
	must(refs[page] > 0, USED);
	movable[page] = true;
	private[page] = balloon;
	list_add(page, balloon)
}

inline balloon_page_finalize(page) {
	private[page] = private[page] * wrong(private_not_cleared);
	movable[page] = movable[page] * right(movable_cleared_on_deflation)
}

inline balloon_end_isolation(balloon) {
	must(!gone[balloon], GONE);
	must(isolated_pages[balloon] > 0, ISOLATED);
	isolated_pages[balloon]--;
	asleep[1] = asleep[1] * wrong(isolation_ends_unheard);
	asleep[2] = asleep[2] * wrong(isolation_ends_unheard)
}

/* Sets b to the balloon if the page is isolated, or else to 0. */
inline balloon_page_isolate(page) {
#ifdef WRONG_lookup_before_lock
	d_step { b = private[page]; say("%c balloon_page_device(page %d), without the lock\n", page) };
	d_step {
#else
	d_step {
		b = private[page];
#endif
		must(movable[page], MOVABLE);
		if
		:: b || wrong(isolation_of_deflated_page) ->
			say("%c balloon_page_isolate(page %d): list_del()\n", page);
			must(b, PRIVATE);
			must(!gone[b], GONE);
			if
			:: wrong(isolation_keeps_page_on_list)
			:: else -> list_del(page, b)
			fi;
			isolated_pages[b] = isolated_pages[b] + right(isolation_not_counted);
			isolated_by[page] = me
		:: else ->
			say("%c balloon_page_isolate(page %d): is in no balloon\n", page)
		fi
	}
}

/* Putback and migration read private without the lock: nobody else changes it now. */
inline balloon_page_device(page) {
	d_step { b = private[page]; must(b, PRIVATE) }
}

inline balloon_page_putback(page) {
	balloon_page_device(page);
	d_step {
		say("%c balloon_page_putback(page %d)\n", page);
		if
		:: wrong(putback_loses_page)
		:: else -> list_add(page, b)
		fi;
		balloon_end_isolation(b);
		isolated_by[page] = 0;
		b = 0
	}
}

/* b_dev_info->migratepage(): what the host says. No lock is held. */
#define migratepage(page, result, text) d_step { \
		must(!gone[b], GONE); \
		rc = result; \
		say(text, page) \
	}

/* Sets rc to what it returns. */
inline balloon_page_migrate(newpage, page) {
	balloon_page_device(page);
	if
	:: migratepage(page, SUCCESS, "%c migratepage(page %d): 0\n")
	:: migratepage(page, ENOENT, "%c migratepage(page %d): -ENOENT\n")
	:: migratepage(page, EAGAIN, "%c migratepage(page %d): -EAGAIN\n")
	:: migratepage(page, EBUSY, "%c migratepage(page %d): -EBUSY\n")
	fi;
	if
	:: d_step {
		rc == SUCCESS || rc == ENOENT ->
		if
		:: rc == SUCCESS ->
			refs[newpage] = refs[newpage] + right(new_page_reference_missing);
			balloon_page_insert(b, newpage);
			say("%c balloon_page_migrate(): page %d is in the balloon\n", newpage)
		:: else -> nr_balloon_pages = nr_balloon_pages - right(refusal_node_count_stays)
		fi;
		if
		:: wrong(migration_not_uncounted)
		:: else -> balloon_end_isolation(b)
		fi;
		if
		:: rc == ENOENT && wrong(refused_page_not_finalized)
		:: else -> balloon_page_finalize(page)
		fi;
		isolated_by[page] = 0;
		say("%c balloon_page_migrate(): page %d is deflated\n", page)
	};
		d_step {
			if
			:: wrong(old_page_reference_kept)
			:: rc == ENOENT && wrong(old_page_reference_dropped_at_success_only)
			:: else -> put_page(page)
			fi;
			b = 0; rc = SUCCESS
		}
	:: else
	fi;
#ifdef WRONG_failure_puts_back_twice
	if
	:: rc == EBUSY -> balloon_page_putback(page)
	:: else
	fi
#endif
}

/* mm/migrate.c: A or B, a task that migrates pages */
proctype task(byte me) {
	byte page, dst, b, rc;

scan:	/* isolate_movable_ops_page(): get, test, isolate */
	if
	:: d_step { refs[0] > 0 -> page = 0; folio_get(page) }
	:: d_step { refs[1] > 0 -> page = 1; folio_get(page) }
	:: d_step { refs[2] > 0 -> page = 2; folio_get(page) }
	:: goto stop
	fi;
#define clear_flag(page) atomic { flag[page] = false; \
		say("%c ClearPageMovableOpsIsolated(page %d)\n", page) }
#define refused(page) (flag[page] && right(mm_isolated_page_isolated_again))
#ifdef PAGE_LOCK
	if
	:: d_step {
			movable[page] && !locked[page] -> locked[page] = true;
			say("%c folio_trylock(page %d)\n", page)
		}
	:: else -> goto out_put
	fi;
	if
	:: refused(page) -> goto out_unlock
	:: else
	fi;
#elif !defined(WRONG_mm_flag_set_after_callback)
	if
#ifdef WRONG_mm_test_and_set_not_atomic
	:: d_step {
			movable[page] && !refused(page) ->
			say("%c PageMovableOpsIsolated(page %d): no\n", page)
		};
		flag[page] = true
#else
	:: d_step { movable[page] && !refused(page) ->
			flag[page] = true;
			say("%c TestSetPageMovableOpsIsolated(page %d)\n", page)
		}
#endif
#ifdef WRONG_mm_failed_test_clears_flag
	:: else -> goto out_refused
#else
	:: else -> goto out_put
#endif
	fi;
#else
	if
	:: movable[page] && !flag[page]
	:: else -> goto out_put
	fi;
#endif
	balloon_page_isolate(page);
	if
	:: b == 0 -> goto out_refused
	:: else
	fi;
#ifdef WRONG_mm_isolation_keeps_no_reference
	d_step { put_page(page) };
#endif
#ifdef PAGE_LOCK
	flag[page] = true;
	locked[page] = false;
#endif
#ifdef WRONG_mm_flag_set_after_callback
	flag[page] = true;
#endif
	d_step {
		list_add(page, me);
		b = 0;
		in_core--
	}

isolated:
	if
	:: goto putback
	:: d_step { can_alloc -> alloc_page(dst); in_core++ }
	fi;
	/* migrate_folio_unmap() */
#ifdef PAGE_LOCK
	if
	:: d_step { !locked[page] -> locked[page] = true }
	:: locked[page] -> goto undo_dst	/* -EAGAIN, if the mode is MIGRATE_ASYNC */
	fi;
	d_step { must(!locked[dst], FREED); locked[dst] = true };
#endif

move:	/* migrate_folio_move(), migrate_movable_ops_page() */
#ifdef WRONG_mm_flag_cleared_before_migration
	clear_flag(page);
#endif
	balloon_page_migrate(dst, page);
	if
	:: d_step { rc == EAGAIN -> rc = 0; b = 0 }; goto move
	:: d_step { rc == EAGAIN || rc == EBUSY -> rc = 0; b = 0 }; goto undo
	:: else
	fi;
	clear_flag(page);
#ifdef PAGE_LOCK
	locked[dst] = false;
#endif
	d_step { put_page(dst); dst = 0 };
	d_step { list_del(page, me) };
	goto out_unlock;

undo:
#ifdef PAGE_LOCK
	locked[page] = false;
	locked[dst] = false;
#endif
undo_dst:
	atomic { d_step { put_page(dst); dst = 0; in_core-- } };
	goto isolated;

putback:	/* putback_movable_pages(), putback_movable_ops_page() */
	atomic { d_step { in_core++; list_del(page, me); must(flag[page], FLAG) } };
#ifdef PAGE_LOCK
	d_step { !locked[page] -> locked[page] = true };
#endif
#ifdef WRONG_mm_flag_cleared_before_putback
	clear_flag(page);
	balloon_page_putback(page);
#else
	balloon_page_putback(page);
#ifndef WRONG_mm_isolated_flag_survives_putback
#ifndef WRONG_mm_flag_cleared_after_reference
	clear_flag(page);
#endif
#endif
#endif
#ifdef WRONG_mm_putback_keeps_reference
	refs[page]++;
#endif
	goto out_unlock;

out_refused:
#ifndef PAGE_LOCK
#ifndef WRONG_mm_refused_isolation_keeps_flag
	clear_flag(page);
#endif
#endif
out_unlock:
#ifdef PAGE_LOCK
	locked[page] = false;
#endif
out_put:
	atomic { d_step { put_page(page); page = 0; in_core-- } };
	goto scan;

stop:	skip
}

/* Drivers and their hosts: virtio_balloon, vmw_balloon, cmm */

inline balloon_page_dequeue(which) {
	page = which;
	say("%c balloon_page_dequeue(): page %d\n", page);
	list_del(page, balloon);
#ifndef WRONG_finalize_after_unlock
	balloon_page_finalize(page);
#endif
	nr_balloon_pages--;
	list_add(page, me)
}
inline balloon_page_enqueue() {
	d_step {
		say("%c balloon_page_enqueue(page %d)\n", page);
		list_del(page, me);
		balloon_page_insert(balloon, page);
		nr_balloon_pages++;
		page = 0
	}
}
#define is_empty(balloon) (list[0] != balloon && list[1] != balloon && list[2] != balloon)
#define is_idle(balloon) (isolated_pages[balloon] == 0 || wrong(wait_for_the_list_only))

proctype driver(byte balloon; byte me) {
	byte page;
	bool leaving;

	do
	:: d_step { !leaving && nr_balloon_pages < 2 && can_alloc ->
			alloc_page(page); list_add(page, me)
		};
		balloon_page_enqueue()
	:: if
		:: d_step { list[0] == balloon -> balloon_page_dequeue(0) }
		:: d_step { list[1] == balloon -> balloon_page_dequeue(1) }
		:: d_step { list[2] == balloon -> balloon_page_dequeue(2) }
		fi;
#ifdef WRONG_finalize_after_unlock
		d_step { balloon_page_finalize(page) };
#endif
		if
		:: d_step { say("%c releases page %d\n", page); list_del(page, me); put_page(page); page = 0 }
		/* vmw_balloon: the host does not give the page back. */
		:: !leaving -> balloon_page_enqueue()
		fi
	:: !leaving -> leaving = true
	/* balloon_wait_isolated() */
	:: d_step { leaving && is_empty(balloon) && !is_idle(balloon) ->
			asleep[balloon] = true;
			say("%c balloon_wait_isolated(balloon %d): sleeps\n", balloon)
		};
		!asleep[balloon]
	:: leaving && is_empty(balloon) && is_idle(balloon) -> break
	od;
	atomic { gone[balloon] = true; say("%c kfree(balloon %d)\n", balloon) }
}

/* What holds between any two steps */
#define in_balloon(page) (private[page] != 0)
#define is_isolated(page) (isolated_by[page] != 0)
#define private_is_right(page) \
	((list[page] == 0 || list[page] > 2 || list[page] == private[page]) && \
	 (in_balloon(page) && list[page] == private[page]) + is_isolated(page) == in_balloon(page))
#define flag_is_right(page) (flag[page] == is_isolated(page))
#define refs_are_right(page) (refs[page] == (is_isolated(page) -> 2 : (list[page] != 0)))
#define isolated_from(page, balloon) (private[page] == balloon && is_isolated(page))

init {
	atomic {
		run driver(1, '1');
		run driver(2, '2');
		run task('A');
		run task('B')
	};
	do
	:: !(private_is_right(0) && private_is_right(1) && private_is_right(2)) ->
		must(false, PRIVATE)
	:: in_core == 0 && !(flag_is_right(0) && flag_is_right(1) && flag_is_right(2)) ->
		must(false, FLAG)
	:: in_core == 0 && !(refs_are_right(0) && refs_are_right(1) && refs_are_right(2)) ->
		must(false, REFERENCES)
	:: isolated_pages[1] != isolated_from(0, 1) + isolated_from(1, 1) + isolated_from(2, 1) ||
	   isolated_pages[2] != isolated_from(0, 2) + isolated_from(1, 2) + isolated_from(2, 2) ->
		must(false, ISOLATED)
	:: nr_balloon_pages != in_balloon(0) + in_balloon(1) + in_balloon(2) ->
		must(false, BALLOON)
	:: _nr_pr == 1 -> break
	od;
	must(refs[0] + refs[1] + refs[2] == 0, REFERENCES)
}
