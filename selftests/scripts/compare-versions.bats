#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

# A repository with the scripts and two versions of a series: the first is a commit,
# the second is only in the working tree.
setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
	export LINUX=$clone
	repository=$BATS_TEST_TMPDIR/repository
	git init --quiet "$repository"
	cp -r "$scripts" "$series/BASE" "$series/series" "$series/patches" "$repository"
	sed -i '/^REROLL=/d' "$repository/BASE"
	echo 'the story' >"$repository/cover-letter.txt"
	git -C "$repository" add .
	git -C "$repository" commit --quiet --message=v1
	printf '# a comment\nv1\t%s\n' "$(git -C "$repository" rev-parse HEAD)" >"$repository/versions"
	echo REROLL=2 >>"$repository/BASE"
	sed -i 's/^+ten$/+TEN/' "$repository"/patches/*
	compare=$repository/scripts/compare-versions
}

@test "two versions are compared" {
	run -0 "$compare" v1 v2
	[[ $output = *"1:"*"! 1:"*"numbers: spell ten"* ]]
	[[ $output = *"-+ten"* ]]
	[[ $output = *"++TEN"* ]]
	[ "$(git -C "$clone" worktree list | wc -l)" -eq 1 ]
}

@test "a version is equal to itself" {
	run -0 "$compare" v1 v1
	[[ $output = *"1:"*"= 1:"* ]]
}

@test "options go to git range-diff" {
	run -0 "$compare" v1 v2 --no-patch
	[[ $output = *"! 1:"* ]]
	[[ $output != *TEN* ]]
}

@test "a commit of the file goes before the working tree" {
	printf 'v2\t%s\n' "$(git -C "$repository" rev-parse HEAD)" >>"$repository/versions"
	run -0 "$compare" v1 v2
	[[ $output = *"= 1:"* ]]
}

@test "an unknown version is named, and which there are" {
	run -1 "$compare" v1 v7
	[[ $output = *"unknown version 'v7'"*"available: v1 v2"* ]]
}

@test "a commit that the repository does not have" {
	printf 'v1\t%040d\n' 1 >"$repository/versions"
	run -1 "$compare" v1 v2
	[[ $output = *"has no commit 0000"*"where v1 stands"* ]]
}

@test "two versions are needed, and --b4 takes no option" {
	run -1 "$compare" v1
	[[ $output = *"takes two versions"* ]]
	run -1 "$compare" --b5 v1 v2
	[[ $output = *"takes two versions"* ]]
	run -1 "$compare" --b4 v1 v2 --no-patch
	[[ $output = *"--b4 leaves no place for --no-patch"* ]]
}

@test "compare-versions --help" {
	run -0 "$compare" --help
	[[ $output = "usage: "*"compare-versions"* ]]
}
