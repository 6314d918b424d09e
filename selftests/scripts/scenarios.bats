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

@test "every scenario of the repository can be read, and some series has use for it" {
	for base in "$BATS_TEST_DIRNAME"/../../{,mainline/*/}BASE; do
		"$scripts/scenarios.py" --series "$(dirname -- "$base")" >>all
	done
	[ "$(cut -d ' ' -f 1 all | sort -u | wc -l)" -eq \
		"$(find "$BATS_TEST_DIRNAME/../scenarios" -name '*.toml' | wc -l)" ]
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

@test "a loop of scenarios that are like each other" {
	echo 'like = "three"' >two.toml
	echo 'like = "two"' >three.toml
	run -1 "$list"
	[[ $output = *"is like itself: "* ]]
}

@test "a scenario without a build" {
	echo 'tests = ["a"]' >two.toml
	run -1 "$list" one
	[[ $output = *"two.toml has no build"* ]]
}

@test "a build that is unknown" {
	mkdir ../../kconfig-fragments
	echo 'pc x86_64 vmlinux guest.config' >../../kconfig-fragments/builds
	printf '%s\n' 'like = "one"' 'build = "pd"' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has the unknown build 'pd'; available: pc"* ]]
}

@test "text that is not UTF-8" {
	printf 'build = "\377"\n' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml is not UTF-8"* ]]
}

@test "a bad regular expression" {
	printf '%s\n' 'like = "one"' 'may_print = ["(a"]' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has no regular expression in '(a'"* ]]
}

@test "a churn without its keys" {
	printf '%s\n' 'like = "one"' 'managed = "adjusted"' '[churn]' 'low = 1' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has a churn without a number for each of cycles, high, low, memory"* ]]
}

@test "a series says something else, and leaves scenarios out" {
	printf '%s\n' 'like = "one"' >two.toml
	mkdir ../../lower ../../upper
	printf '%s\n' 'scenarios = ["one"]' '[one.unpatched]' 'verdict = "crash"' >../../lower/scenarios.toml
	echo ON=../lower >../../upper/BASE
	echo '[one.below]' >../../upper/scenarios.toml
	echo 'verdict = "hang"' >>../../upper/scenarios.toml
	run -0 "$list" --series ../../upper
	[ "$output" = "one pc yes" ]
	run -1 "$list" --series ../../upper two
	[[ $output = *"the series has no use for the scenario 'two'; available: one"* ]]
	# shellcheck disable=SC2016 # Python has no such thing
	for below in False:crash True:hang; do
		run -0 python3 -B -c "import sys; sys.path.insert(0, '../../scripts'); import scenarios
print(scenarios.read('one', '../../upper', ${below%:*})['unpatched']['verdict'])"
		[ "$output" = "${below#*:}" ]
	done
}

@test "a series speaks of a scenario that is not there" {
	echo '[three.unpatched]' >../../scenarios.toml
	run -1 "$list"
	[[ $output = *"scenarios.toml names the unknown scenario 'three'"* ]]
}

@test "a target that is not a number" {
	printf '%s\n' 'like = "one"' 'target = "400"' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has a target that is not a number"* ]]
}

@test "a series has no use for a scenario" {
	echo 'like = "one"' >two.toml
	mkdir ../../series
	echo 'without = ["two"]' >../../series/scenarios.toml
	run -0 "$list" --series ../../series
	[ "$output" = "one pc yes" ]
}

@test "what a series has use for, and what it stands on" {
	echo 'like = "one"' >two.toml
	echo 'like = "one"' >three.toml
	mkdir -p ../../lower ../../upper
	echo 'scenarios = ["two"]' >../../lower/scenarios.toml
	echo 'scenarios = ["three"]' >../../upper/scenarios.toml
	echo 'ON=../lower' >../../upper/BASE
	run -0 "$list" --series ../../upper
	[ "$output" = "three pc yes"$'\n'"two pc yes" ]
}
