#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
}

@test "the same series gives the same commit, and touches no checkout" {
	run -0 "$scripts/apply-series" --series "$series" "$clone" v0.1
	first=$output
	[ "$(git -C "$clone" show "$first:file" | sed -n 10p)" = ten ]
	GIT_COMMITTER_NAME=other run -0 "$scripts/apply-series" --series "$series" "$clone" v0.1
	[ "$output" = "$first" ]
	[ -z "$(git -C "$clone" status --porcelain)" ]
	[ "$(git -C "$clone" worktree list | wc -l)" -eq 1 ]
}

@test "a patch that does not apply is named" {
	sed -i 's/^-10$/-ten thousand/' "$series"/patches/0001-*
	run -1 "$scripts/apply-series" --series "$series" "$clone" v0.1
	[[ $output = *"0001-numbers-spell-ten.patch does not apply"* ]]
	[ "$(git -C "$clone" worktree list | wc -l)" -eq 1 ]
}

@test "a patch that is listed and not there is named" {
	echo 0002-missing.patch >>"$series/series"
	run -1 "$scripts/apply-series" --series "$series" "$clone" v0.1
	[[ $output = *"0002-missing.patch"* ]]
}

@test "no patch at all leaves the base" {
	: >"$series/series"
	run -0 "$scripts/apply-series" --series "$series" "$clone" v0.1
	[ "$output" = "$(git -C "$clone" rev-parse v0.1)" ]
}

@test "a worktree follows, and writes no file that does not differ" {
	tree=$BATS_TEST_TMPDIR/tree
	tip=$("$scripts/apply-series" --series "$series" "$clone" v0.1)
	"$scripts/checkout-tree" "$clone" "$tip" "$tree"
	[ "$(sed -n 10p "$tree/file")" = ten ]
	written=$(stat --format=%z "$tree/file")
	"$scripts/checkout-tree" "$clone" "$tip" "$tree"
	[ "$(stat --format=%z "$tree/file")" = "$written" ]
	echo changed >"$tree/file"
	"$scripts/checkout-tree" "$clone" v0.1 "$tree"
	[ "$(sed -n 10p "$tree/file")" = 10 ]
}

@test "a patch that is there and not listed is named" {
	cp "$series"/patches/0001-* "$series/patches/0002-again.patch"
	LINUX=$clone run -1 "$scripts/gates/series-files" "$series"
	[[ $output = *"0002-again.patch"* ]]
}
