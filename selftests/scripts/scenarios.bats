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
	{ minimal_scenario && printf '%s\n' '[unpatched]' 'verdict = "pass"'; } >one.toml
}

@test "every scenario of the repository can be read, and some series has use for it" {
	for base in "$BATS_TEST_DIRNAME"/../../{,mainline/*/}BASE; do
		"$scripts/scenarios.py" --series "$(dirname -- "$base")" --list scenarios >>all
	done
	[ "$(sort -u all | wc -l)" -eq \
		"$(find "$BATS_TEST_DIRNAME/../scenarios" -name '*.toml' | wc -l)" ]
}

@test "what a scenario does not say is taken from another" {
	printf '%s\n' 'like = "one"' 'build = "pseries"' >two.toml
	run -0 "$list" two
	[ "$output" = "two pseries yes" ]
}

@test "a scenario that another program runs is not one of all" {
	printf '%s\n' 'like = "one"' 'run_by = "bench"' >two.toml
	run -0 "$list"
	[ "$output" = "one pc yes" ]
	run -0 "$list" two
	[ "$output" = "two pc yes" ]
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
	grep -v '^tests' one.toml >two.toml
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

@test "a scenario without a key that boot needs, or with another type" {
	grep -v '^kept_pages' one.toml >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has no kept_pages"* ]]
	printf '%s\n' 'like = "one"' 'limit = 60' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has a limit of the wrong type"* ]]
	printf '%s\n' 'like = "one"' 'limit = { tcg = 60 }' >two.toml
	run -1 "$list"
	[[ $output = *"two.toml has a limit without a number for each of kvm and tcg"* ]]
}

@test "a series says something else, and leaves scenarios out" {
	printf '%s\n' 'like = "one"' >two.toml
	mkdir ../../lower ../../upper
	printf '%s\n' 'scenarios = ["one"]' '[one.unpatched]' 'verdict = "crash"' >../../lower/scenarios.toml
	echo ON=../lower >../../upper/BASE
	run -0 "$list" --series ../../upper
	[ "$output" = "one pc yes" ]
	run -1 "$list" --series ../../upper two
	[[ $output = *"the series has no use for the scenario 'two'; available: one"* ]]
	# shellcheck disable=SC2016 # Python has no such thing
	for below in False:crash True:pass; do
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

# say_debug LINE...: of the debug kernel slow
say_debug() {
	printf '%s\n' '[slow]' "$@" >../debug-kernels.toml
}

# said_of SCENARIO KEY
said_of() {
	PYTHONPATH=../../scripts python3 -B -c 'import scenarios, sys
print(scenarios.read(sys.argv[1], "../..")[sys.argv[2]])' "$@"
}

@test "a debug kernel adds to what a scenario says" {
	printf '%s\n' 'like = "one"' 'append = "a"' 'limit = { kvm = 9, tcg = 10 }' 'must_print = ["m"]' \
		'environment = { seconds = "5" }' >two.toml
	say_debug 'limit_factor = 3' 'append = "b"' 'must_print = ["n"]' 'kept_pages = 7' \
		'[slow.two]' 'workloads = ["w"]'
	run -0 "$list" --debug two
	[ "$output" = "two+slow pc+slow no" ]
	while IFS='|' read -r key value; do
		run -0 said_of two+slow "$key"
		[ "$output" = "$value" ]
	done <<-'END'
		append|a b
		limit|{'kvm': 27, 'tcg': 30}
		must_print|['m', 'n']
		environment|{'seconds': '15'}
		kept_pages|7
		workloads|['w']
	END
}

@test "which scenarios are booted with debug kernels" {
	echo 'debug = ["one"]' >../../scenarios.toml
	say_debug 'builds = ["pseries"]' '[fast]'
	run -0 "$list" --series ../.. --debug
	[ "$output" = "one+fast pc+fast no" ]
	echo 'gate = ["one+fast"]' >../../scenarios.toml
	run -0 "$list" --series ../.. --list gate
	[ "$output" = one+fast ]
	run -0 "$list" --series ../.. --debug
	[ -z "$output" ]
}

@test "a debug kernel that is not there, or not for this build" {
	say_debug 'builds = ["pseries"]' '[fast]'
	for name in one+quick one+slow; do
		run -1 "$list" $name
		[[ $output = *"there is no debug kernel '${name#*+}' of pc; available: fast"* ]]
	done
	run -1 "$list" two+fast
	[[ $output = *"unknown scenario 'two'"* ]]
}

@test "a debug kernel with a key that is misspelt" {
	say_debug 'apend = "b"'
	run -1 "$list" --debug one
	[[ $output = *"debug-kernels.toml: slow has a key without meaning: apend"* ]]
	say_debug '[slow.oen]' 'append = "b"'
	run -1 "$list" --debug one
	[[ $output = *"debug-kernels.toml: slow has a key without meaning: oen"* ]]
}
