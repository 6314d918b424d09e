#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	# A tree of its own, with one scenario and whatever a test adds.
	mkdir -p "$BATS_TEST_TMPDIR/scripts" "$BATS_TEST_TMPDIR/selftests/scenarios"
	cp -- "$scripts/scenarios.py" "$BATS_TEST_TMPDIR/scripts"
	cd -- "$BATS_TEST_TMPDIR/selftests/scenarios" || return
	list=$BATS_TEST_TMPDIR/scripts/scenarios.py
	printf '%s\n' 'build = "pc"' 'tests = ["a"]' '[unpatched]' 'verdict = "pass"' >one.toml
}

@test "every scenario of the repository can be read" {
	run -0 "$scripts/scenarios.py"
	[ ${#lines[@]} -eq "$(find "$BATS_TEST_DIRNAME/../scenarios" -name '*.toml' | wc -l)" ]
}

@test "what a scenario does not say is taken from another" {
	printf '%s\n' 'like = "one"' 'build = "pseries"' >two.toml
	run -0 "$list" two
	[ "$output" = "two pseries yes" ]
}

@test "a scenario that is not there" {
	run -1 "$list" three
	[[ $output = *"unknown scenario 'three'; available: one"* ]]
}

@test "a key that is misspelt" {
	printf '%s\n' 'like = "one"' '[minimun]' 'a = 1' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has a key without meaning: minimun"* ]]
}

@test "a scenario that tests nothing" {
	echo 'build = "pc"' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml tests nothing"* ]]
}
