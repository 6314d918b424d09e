#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
	git -C "$clone" am --quiet "$series/patches/"*
	sed -i 's/^11$/eleven/' "$clone/file"
	git -C "$clone" commit --quiet --all --message='numbers: spell eleven'
	git -C "$clone" format-patch --quiet -o "$series/patches" v0.1
	(cd "$series/patches" && ls) >"$series/series"
	git -C "$clone" reset --quiet --hard v0.1
	cp "$BATS_TEST_DIRNAME/../../scenarios.toml" "$series"
	export LINUX=$clone

	# The script with neither a compiler nor a guest.
	top=$BATS_TEST_TMPDIR/top
	mkdir "$top"
	cp -r "$BATS_TEST_DIRNAME/../../scripts" "$BATS_TEST_DIRNAME/../../kconfig-fragments" "$top"
	mkdir "$top/selftests"
	cp -r "$BATS_TEST_DIRNAME/../scenarios" "$top/selftests"
	# shellcheck disable=SC2016 # the stub expands these
	stub build-guest 'mkdir -p "$3"; touch "$3/vmlinux" "$5"'
	# shellcheck disable=SC2016
	stub boot 'while [ "$1" != --run-dir ]; do shift; done; mkdir "$2"
		printf %s "{\"scenario\": {\"unpatched\": {\"verdict\": \"fail\", \"signature\": \"^a bug\"}}}" >"$2/outcome.json"'
}

# stub PROGRAM SHELL: puts that in its place
stub() {
	printf '#!/bin/bash\n%s\n' "$2" >"$top/scripts/$1"
}

# judged VERDICT...: what judge says of one boot after the other
judged() {
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/verdicts"
	stub judge "[ -e \"\$1/../tree/file\" ] || exit 1; head -n 1 '$BATS_TEST_TMPDIR/verdicts' | tr / '\n'; sed -i 1d '$BATS_TEST_TMPDIR/verdicts'; false"
}

@test "numbers that are none" {
	for option in --from --to --cycles --migrations --jobs; do
		run -1 "$scripts/boot-each-patch" "$option" 0
		[[ $output = *"$option needs a number"* ]]
		run -1 "$scripts/boot-each-patch" "$option"
		[[ $output = *"$option needs a number"* ]]
	done
}

@test "patches that are not there" {
	run -1 "$scripts/boot-each-patch" --series "$series" --to 3
	[[ $output = *"there are no patches 1 to 3"*"has 2"* ]]
	run -1 "$scripts/boot-each-patch" --series "$series" --from 2 --to 1
	[[ $output = *"there are no patches 2 to 1"* ]]
}

@test "unknown options, scenarios and series" {
	run -1 "$scripts/boot-each-patch" --resume
	[[ $output = *"no option --resume"* ]]
	run -1 "$scripts/boot-each-patch" nope
	[[ $output = *"nope"* ]]
	run -1 "$scripts/boot-each-patch" --series "$BATS_TEST_TMPDIR"
	[[ $output = *"holds no series"* ]]
}

@test "a scenario of the series' own tests" {
	run -1 "$scripts/boot-each-patch" kunit
	[[ $output = *"need all of the series"* ]]
}

@test "what the unpatched kernel shows, until a patch mends it" {
	judged "fail/  test 1 failed/  a bug is there" pass
	run -0 "$top/scripts/boot-each-patch" --series "$series" virtio
	[[ $output = *"virtio "*"known: fail: a bug is there"*"virtio "*"pass"* ]]
}

@test "what the unpatched kernel shows, after it was mended" {
	judged pass "fail/  a bug is there"
	run -1 "$top/scripts/boot-each-patch" --series "$series" virtio
	[[ $output = *"FAIL: passed at 1, now fail: a bug is there"*"1 steps failed"* ]]
}

@test "something else than the unpatched kernel shows, another verdict, or none" {
	for verdict in "fail/  another bug" "crash/  a bug is there" fail ""; do
		judged "$verdict"
		run -1 "$top/scripts/boot-each-patch" --series "$series" --to 1 virtio
		[[ $output = *"virtio "*"FAIL:"* ]]
	done
}

@test "a patch that does not build, a guest that does not boot" {
	judged pass pass
	stub boot 'false'
	run -1 "$top/scripts/boot-each-patch" --series "$series" --from 2 virtio
	[[ $output = *"FAIL: could not be booted"*"1 steps failed"* ]]
	stub build-guest 'false'
	run -1 "$top/scripts/boot-each-patch" --series "$series" virtio
	[[ $output = *"FAIL: does not build"*"2 steps failed"* ]]
}
