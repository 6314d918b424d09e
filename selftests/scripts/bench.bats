#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	series=$BATS_TEST_TMPDIR/series dir=$BATS_TEST_TMPDIR/run
	mkdir -p "$series" "$dir"
	printf 'one\t%s\n' "$series" >"$dir/measured"
	measured unpatched enqueue/1000/1 30000 enqueue/1000000/1 30300 free/1000/1 29100
	measured patched enqueue/1000/1 15000 enqueue/1000000/1 15300 free/1000/1 29100
}

# measured KERNEL [NAME HUNDREDTHS]...
measured() {
	local boot=$dir/one/$1/bench
	mkdir -p "$boot"
	echo '{"scenario": {}}' >"$boot/outcome.json"
	printf '# figure %s %s\n' "${@:2}" >"$boot/ktap.log"
	{
		printf '# figure %s/median %s\n' "${@:2}"
		printf '# figure %s/max %s0\n' "${@:2}"
		printf '# figure %s/n 66\n' "${@:2:1}"
	} >>"$boot/ktap.log"
}

targets() {
	printf '%s\n' "$@" >"$series/bench.toml"
}

@test "kernels stand side by side, with the ratio" {
	run -0 "$scripts/bench-report" "$dir"
	[[ ${lines[1]} =~ ^enqueue\ +1000\ +1\ +300\.0\ +150\.0\ +0\.500$ ]]
	[[ ${lines[3]} =~ ^free\ +1000\ +1\ +291\.0\ +291\.0\ +1\.000$ ]]
	[ "$(head -n 2 "$dir/bench.csv" | tail -n 1)" = "one/unpatched,enqueue,instructions a page,1000,1,300.0,300.0,3000.0,66," ]
	python3 -m json.tool "$dir/bench.json" >/dev/null
}

@test "maxima in place of means" {
	run -0 "$scripts/bench-report" --max "$dir"
	[[ ${lines[1]} =~ ^enqueue\ +1000\ +1\ +3000\.0\ +1500\.0\ +0\.500$ ]]
}

@test "only some rows" {
	run -0 "$scripts/bench-report" --rows free "$dir"
	[[ ${#lines[@]} -eq 2 && ${lines[1]} = free* ]]
}

@test "targets that are met" {
	targets '[maximum]' '"enqueue/*" = 0.51' '"*" = 1' '[flat]' '"enqueue/*" = 0.05'
	run -0 "$scripts/bench-report" --check "$dir"
	[[ $output = *"all targets are met" ]]
}

@test "a ratio that is too high" {
	targets '[maximum]' '"enqueue/1000/*" = 0.49'
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"the mean of enqueue/1000/1 has the ratio 0.500, 0.49 is wanted" ]]
}

@test "a row that is not flat" {
	targets '[flat]' '"enqueue/*" = 0.01'
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"enqueue takes from 150.0 to 153.0, more than 1% apart" ]]
}

@test "a row that was not measured meets no target" {
	targets '[median]' '"dequeue/*" = 0.9'
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"there is no dequeue/*" ]]
	targets '[flat]' '"dequeue/*" = 0.9'
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"there is no dequeue/*" ]]
}

@test "a row that the release does not have meets no target" {
	measured patched enqueue/2000/1 1
	targets '[maximum]' '"*" = 0.9'
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"enqueue/2000/1 was not measured without the series" ]]
}

@test "a target of no meaning" {
	targets '[maximun]' '"*" = 0.9'
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"bench.toml has a key without meaning: maximun" ]]
}

@test "no targets, no figures, no directory of a bench" {
	run -1 "$scripts/bench-report" --check "$dir"
	[[ $output = *"has no bench.toml, so nothing says what to check" ]]
	rm "$dir/one/patched/bench/ktap.log"
	run -1 "$scripts/bench-report" "$dir"
	[[ $output = *"one/patched has no figures" ]]
	run -1 "$scripts/bench-report" "$series"
	[[ $output = *"is not a directory of scripts/bench" ]]
}

@test "the gate passes over a series that promises nothing, and says so" {
	run -0 "$scripts/gates/bench" "$series"
	[[ $output = *"skipped: $series has no bench.toml" ]]
}

@test "what bench does not understand" {
	run -1 "$scripts/bench" --pages many
	[[ $output = *"--pages takes numbers with commas between them, not 'many'"* ]]
	run -1 "$scripts/bench" --commit a --series "$series" --below
	[[ $output = *"--commit and --below exclude each other"* ]]
	run -2 "$scripts/bench" --fast
}
