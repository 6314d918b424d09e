#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# KUNIT_TREE is a tree that has get_maintainer.pl: scripts/test scripts sets it.

# A clone with two maintained files, and a series of two patches.
setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
	mkdir "$clone/scripts"
	cp "${KUNIT_TREE:?is not set}/scripts/get_maintainer.pl" "$clone/scripts"
	cat >"$clone/MAINTAINERS" <<-'END'
		Maintainers List
		----------------

		LETTERS
		M:	Ann Other <ann@letters.example>
		L:	letters@lists.example
		S:	Maintained
		F:	letters

		NUMBERS
		M:	Zoë Nine <zoe@numbers.example>
		R:	Ann Other <ann@letters.example>
		L:	numbers@lists.example
		S:	Maintained
		F:	file
	END
	seq 20 >"$clone/letters"
	git -C "$clone" add .
	git -C "$clone" commit --quiet --message='more of the base'
	git -C "$clone" tag --force v0.1 >/dev/null
	sed -i 's/^10$/ten/' "$clone/file"
	git -C "$clone" commit --quiet --all \
		--message='numbers: a subject that git has to fold because it is much longer than a line'
	sed -i 's/^1$/one/' "$clone/letters"
	git -C "$clone" commit --quiet --all --message='letters: spell one'
	rm -r "$series/patches" "$series/series"
	write_base "$series" REROLL=2
	git -C "$clone" format-patch --quiet --cover-letter -v 2 --zero-commit --no-signature \
		-o "$series/patches" v0.1
	(cd "$series/patches" && for patch in v2-*; do mv "$patch" "${patch#v2-}"; done)
	mv "$series/patches/0000-cover-letter.patch" "$series/cover-letter.txt"
	ls "$series/patches" >"$series/series"
	git -C "$clone" reset --quiet --hard v0.1
	export LINUX=$clone
	mails=$BATS_TEST_TMPDIR/mails
}

# mail_header NAME FILE
mail_header() {
	sed -n "/^$/q;s/^$1: //p" "$2"
}

# A refusal leaves nothing behind.
refuses() {
	run -1 "$scripts/make-mail" --series "$series" "$mails"
	[[ $output = *"$1"* ]]
	[ ! -e "$mails" ]
	[ -z "$(find "$BATS_TEST_TMPDIR" -maxdepth 1 -name 'mail.*')" ]
}

@test "each patch goes to whom it concerns, the cover letter to all" {
	zoe="=?utf-8?b?Wm/DqyBOaW5l?="
	"$scripts/make-mail" --series "$series" "$mails"
	[ "$(mail_header To "$mails"/0001-*)" = "$zoe <zoe@numbers.example>" ]
	[ "$(mail_header Cc "$mails"/0001-*)" = "numbers@lists.example, Ann Other <ann@letters.example>" ]
	[ "$(mail_header To "$mails"/0002-*)" = "Ann Other <ann@letters.example>" ]
	[ "$(mail_header Cc "$mails"/0002-*)" = "letters@lists.example" ]
	[ "$(mail_header To "$mails"/0000-*)" = \
		"Ann Other <ann@letters.example>, $zoe <zoe@numbers.example>" ]
	[ "$(mail_header Cc "$mails"/0000-*)" = "letters@lists.example, numbers@lists.example" ]
}

@test "the patches answer the cover letter, and no subject is folded" {
	"$scripts/make-mail" --series "$series" "$mails"
	id=$(mail_header Message-Id "$mails"/0000-*)
	[[ $id = "<"*"-v2-0-"*"@localhost>" ]]
	for mail in "$mails"/000[12]-*; do
		[ "$(mail_header In-Reply-To "$mail")" = "$id" ]
		[ "$(mail_header References "$mail")" = "$id" ]
	done
	[[ $(mail_header Subject "$mails"/0001-*) = *"much longer than a line" ]]
	[ "$(grep -c '^From 0' "$mails/series.mbox")" -eq 3 ]
}

@test "the same series gives the same mails, a changed one other ids" {
	"$scripts/make-mail" --series "$series" "$mails"
	"$scripts/make-mail" --series "$series" "$mails.again"
	diff -r "$mails" "$mails.again"
	sed -i 's/spell one/spell 1/' "$series"/patches/0002-*
	"$scripts/make-mail" --series "$series" "$mails.other"
	[ "$(mail_header Message-Id "$mails"/0001-*)" != "$(mail_header Message-Id "$mails.other"/0001-*)" ]
}

@test "a .get_maintainer.conf of the user changes nothing" {
	"$scripts/make-mail" --series "$series" "$mails"
	mkdir "$BATS_TEST_TMPDIR/home"
	echo --nol >"$BATS_TEST_TMPDIR/home/.get_maintainer.conf"
	HOME=$BATS_TEST_TMPDIR/home "$scripts/make-mail" --series "$series" "$mails.again"
	diff -r "$mails" "$mails.again"
}

@test "what is there already is not touched" {
	mkdir "$mails"
	run -1 "$scripts/make-mail" --series "$series" "$mails"
	[[ $output = *"$mails is there already"* ]]
	[ -z "$(ls -A "$mails")" ]
}

@test "a directory to write to is needed" {
	run -2 "$scripts/make-mail" --series "$series"
	[[ $output = "usage: "* ]]
	run -1 "$scripts/make-mail" --sereis "$series"
	[[ $output = *"no option --sereis"* ]]
	run -1 "$scripts/make-mail" --series
	[[ $output = *"--series needs a value"* ]]
}

@test "a series without a cover letter" {
	rm "$series/cover-letter.txt"
	refuses "has no cover-letter.txt"
}

@test "subjects of another version than BASE has" {
	sed -i 's/^REROLL=.*/REROLL=3/' "$series/BASE"
	refuses "does not say PATCH v3 0/2"
}

@test "a patch that is not the number its subject says" {
	sed -i 's,PATCH v2 2/2,PATCH v2 1/2,' "$series"/patches/0002-*
	refuses "does not say PATCH v2 2/2"
}

@test "a patch of files that nobody maintains" {
	sed -i 's/^F:.*letters$/F:	words/' "$clone/MAINTAINERS"
	git -C "$clone" commit --quiet --all --message='nobody for letters'
	git -C "$clone" tag --force v0.1 >/dev/null
	refuses "MAINTAINERS names nobody for 0002-letters-spell-one.patch"
}

@test "a tree without get_maintainer.pl" {
	git -C "$clone" rm --quiet scripts/get_maintainer.pl
	git -C "$clone" commit --quiet --message='no script'
	git -C "$clone" tag --force v0.1 >/dev/null
	refuses "has no scripts/get_maintainer.pl"
}

@test "make-mail --help" {
	run -0 "$scripts/make-mail" --help
	[[ $output = "usage: "*"make-mail"* ]]
}
