#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
}

@test "LINUX= that is no git tree" {
	mkdir "$BATS_TEST_TMPDIR/plain"
	LINUX=$BATS_TEST_TMPDIR/plain run -1 "$scripts/get-base"
	[[ $output = *"is no git tree"* ]]
}

@test "LINUX= that lacks the release" {
	git init --quiet "$BATS_TEST_TMPDIR/empty"
	LINUX=$BATS_TEST_TMPDIR/empty run -1 "$scripts/get-base"
	[[ $output = *"does not have v6.16"* ]]
}

@test "LINUX= that has the release" {
	make_clone_and_series
	LINUX=$clone run -0 "$scripts/get-base"
	[[ $output = *"$clone"* ]]
}

@test "no network" {
	export http_proxy=http://127.0.0.1:1 https_proxy=http://127.0.0.1:1
	run -1 "$scripts/get-base"
	[[ $output = *"there is no source of 6.16"* ]]
	[ "$(ls "$XDG_CACHE_HOME/balloon-series/base")" = lock ]
}

@test "wrong checksum" {
	make_clone_and_series
	# shellcheck source=../../BASE
	. "$series/BASE"
	mkdir -p "$XDG_CACHE_HOME/balloon-series/base"
	package=$XDG_CACHE_HOME/balloon-series/base/${PACKAGE_FILE##*/}
	echo nonsense >"$package"
	run -1 "$scripts/get-base" "$series"
	[[ $output = *"wrong checksum of ${PACKAGE_FILE##*/}"* ]]
	[ ! -e "$package" ]
}
