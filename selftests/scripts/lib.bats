#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

# What the scripts do with bad calls, and with what is not theirs.

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
}

# in_lib COMMANDS: run by a shell that has lib.sh
in_lib() {
	bash -c "set -euo pipefail; . \"\$scripts/lib.sh\"; $1"
}

@test "every program has --help" {
	for program in "$scripts"/* "$scripts"/gates/*; do
		[[ -f $program && -x $program ]] || continue
		run -0 --separate-stderr "$program" --help
		[[ $output = *"usage: "* ]] || { echo "$program: $output"; return 1; }
	done
}

@test "checkout-tree refuses a directory that is not its own" {
	make_clone_and_series
	mkdir "$BATS_TEST_TMPDIR/precious"
	echo text >"$BATS_TEST_TMPDIR/precious/file"
	run -1 "$scripts/checkout-tree" "$clone" v0.1 "$BATS_TEST_TMPDIR/precious"
	[[ $output = *"was not made by checkout-tree"* ]]
	[ "$(cat "$BATS_TEST_TMPDIR/precious/file")" = text ]
}

@test "checkout-tree does not touch the repository's own worktree" {
	make_clone_and_series
	echo edited >"$clone/file"
	run -1 "$scripts/checkout-tree" "$clone" v0.1 "$clone"
	[ "$(cat "$clone/file")" = edited ]
}

@test "checkout-tree with a wrong repository keeps the directory" {
	make_clone_and_series
	tree=$BATS_TEST_TMPDIR/tree
	"$scripts/checkout-tree" "$clone" v0.1 "$tree"
	run -1 "$scripts/checkout-tree" "$BATS_TEST_TMPDIR/nothing" v0.1 "$tree"
	[[ $output = *"does not have the commit v0.1"* ]]
	[ -e "$tree/file" ]
}

@test "a cache that cannot be used stops the program" {
	make_clone_and_series
	: >"$BATS_TEST_TMPDIR/plain"
	# shellcheck disable=SC2030,SC2031 # each test has its own
	export XDG_CACHE_HOME=$BATS_TEST_TMPDIR/plain/cache
	run -1 "$scripts/apply-series" --series "$series" "$clone" v0.1
	[[ $output = *"cannot create the cache directory"* ]]
	LINUX=$clone run -1 in_lib "locate_base $series; echo survived"
	[[ $output != *survived* ]]
	run -1 in_lib 'new_run_dir; echo survived'
	[[ $output != *survived* ]]
	[[ ! -e /runs && ! -e /trees ]]
}

@test "an error in a command substitution is one" {
	# shellcheck disable=SC2016 # the other shell expands this
	run -1 in_lib 'found=$(false; echo found); echo "$found"'
	[ -z "$output" ]
}

@test "runs: a directory each, and the old ones go that nobody holds" {
	# shellcheck disable=SC2031 # each test has its own
	runs=$XDG_CACHE_HOME/balloon-series/runs
	mkdir -p "$runs"
	for i in {01..24}; do
		mkdir "$runs/20000101-0000$i-1"
	done
	exec 5>"$runs/20000101-000002-1/lock"
	flock 5
	in_lib new_run_dir
	exec 5>&-
	[ "$(find "$runs" -mindepth 1 -maxdepth 1 | wc -l)" -eq 21 ]
	[ -e "$runs/20000101-000002-1" ]
	[ ! -e "$runs/20000101-000001-1" ]
	[ -e "$runs/20000101-000024-1" ]
}

@test "two runs at the same time have two names" {
	# shellcheck disable=SC2016 # the other shell expands this
	name='new_run_dir; echo "$run_dir"'
	[ "$(in_lib "$name")" != "$(in_lib "$name")" ]
}

@test "flock is missing, and no other run is waited for" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	for tool in dirname awk date mkdir mktemp; do
		ln -s "$(command -v "$tool")" "$BATS_TEST_TMPDIR/bin"
	done
	# shellcheck disable=SC2016 # the other shell expands this
	PATH=$BATS_TEST_TMPDIR/bin run -1 "$(command -v bash)" -c \
		'set -euo pipefail; . "$scripts/lib.sh"; lock "$BATS_TEST_TMPDIR/lock" it'
	[[ $output = *"flock is missing: it is in the package util-linux"* ]]
}

@test "install-packages: a purpose that is unknown" {
	run -1 "$scripts/install-packages" nonsense
	[[ $output = *"unknown purpose 'nonsense'; available: run, "* ]]
}

@test "install-packages --no-install names what is missing" {
	mkdir -p "$BATS_TEST_TMPDIR/copy"
	cp -r -- "$scripts" "$BATS_TEST_TMPDIR/copy"
	printf 'run\t%s\tsomething\n' no-such-tool gcc:no/such/header.h >>"$BATS_TEST_TMPDIR/copy/scripts/packages"
	run -1 "$BATS_TEST_TMPDIR/copy/scripts/install-packages" --no-install run
	[[ $output = *"packages are missing: "*something* ]]
}

@test "run: python3 is installed before it is called" {
	mkdir "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/copy"
	ln -s /usr/bin/* "$BATS_TEST_TMPDIR/bin"
	rm -f "$BATS_TEST_TMPDIR"/bin/python*
	cp -r -- "$scripts" "$scripts/../BASE" "$BATS_TEST_TMPDIR/copy"
	printf '%s\n' '#!/bin/sh' 'echo "asked for $*"' 'exit 1' \
		>"$BATS_TEST_TMPDIR/copy/scripts/install-packages"
	PATH=$BATS_TEST_TMPDIR/bin run -125 "$BATS_TEST_TMPDIR/copy/scripts/run" --no-install
	[[ $output = *"asked for --no-install run"* ]]
}

@test "a Python without tomllib" {
	mkdir "$BATS_TEST_TMPDIR/python"
	echo 'raise ModuleNotFoundError' >"$BATS_TEST_TMPDIR/python/tomllib.py"
	PYTHONPATH=$BATS_TEST_TMPDIR/python run -1 "$scripts/scenarios.py"
	[ "$output" = "scenarios: Python 3.11 or newer is needed to read selftests/scenarios/" ]
}

@test "run: options that exclude each other" {
	run -2 "$scripts/run" --base --both
	[[ $output = *"--base and --both exclude each other"* ]]
	run -2 "$scripts/run" --all --scenario virtio
	[[ $output = *"--all takes every scenario"* ]]
	run -2 "$scripts/run" --scenario virtio --scenario virtio
	[[ $output = *"--scenario virtio is there twice"* ]]
	run -2 "$scripts/run" --accel turbo
	[[ $output = *"--accel takes auto, kvm or tcg"* ]]
	run -2 "$scripts/run" --debug --base
	[[ $output = *"--debug only boots kernels with the series"*"leave --base out"* ]]
	for jobs in -j0 "-j 0" -jx; do
		# shellcheck disable=SC2086 # one word or two
		run -2 "$scripts/run" $jobs
		[[ $output = *"--jobs needs a number"* ]]
	done
	run -2 "$scripts/run" --limit-factor 0
	[[ $output = *"--limit-factor needs a number, not '0'"* ]]
	run -2 "$scripts/run" --scenario three
	[[ $output = *"unknown scenario 'three'"* ]]
	run -2 "$scripts/run" --series "$BATS_TEST_TMPDIR"
	[[ $output = *"there is no BASE"* ]]
}

@test "test: a gate that is not there" {
	for gate in '' ../run nonsense; do
		run -1 "$scripts/test" "$gate"
		[[ $output = *"unknown gate '$gate'; available: "* ]]
	done
}

@test "test: which gates of which series" {
	copy=$BATS_TEST_TMPDIR/copy
	mkdir -p "$copy/more/fixes" "$copy/more/tests"
	cp -r "$scripts" "$copy"
	cp "$scripts/../BASE" "$copy"
	cp "$scripts/../BASE" "$copy/more/fixes"
	echo ON=../fixes >"$copy/more/tests/BASE"
	# shellcheck disable=SC2016 # the stub expands this
	for program in "$copy/scripts/install-packages" "$copy"/scripts/gates/*; do
		printf '%s\n' '#!/bin/bash' 'echo "$(basename "$0") of $(basename "$1")"' >"$program"
	done
	mkdir -p "$copy/.cache/old"
	cp "$scripts/../BASE" "$copy/.cache/old"
	run -0 "$copy/scripts/test"
	[ "${lines[-1]}" = "38 passed, 0 failed" ]
	for gate in "run of copy" "warnings of copy" "scripts of copy" "mail of fixes" "mail of tests" "run of tests"; do
		[[ $output = *$'\n'"$gate"$'\n'* ]]
	done
	for gate in "run of fixes" "warnings of tests" "scripts of tests"; do
		[[ $output != *$'\n'"$gate"$'\n'* ]]
	done
	run -0 "$copy/scripts/test" --all-series
	[ "${lines[-1]}" = "58 passed, 0 failed" ]
	run -0 "$copy/scripts/test" --series "$copy/more/fixes"
	[ "${lines[-1]}" = "22 passed, 0 failed" ]
	run -0 "$copy/scripts/test" run mail
	[ "${lines[-1]}" = "2 passed, 0 failed" ]
}

@test "test: gates that fail, and what each says in one piece" {
	mkdir "$BATS_TEST_TMPDIR/copy"
	cd "$BATS_TEST_TMPDIR/copy"
	cp -r "$scripts" "$scripts/../BASE" .
	printf '%s\n' '#!/bin/bash' >scripts/install-packages
	# shellcheck disable=SC2016 # the stub expands this
	for gate in shell python spdx run; do
		printf '%s\n' '#!/bin/bash' 'echo begin' 'sleep 0.2' 'echo end >&2' \
			'[[ $0 = */spdx || $0 = */shell ]]' >"scripts/gates/$gate"
	done
	run -1 scripts/test shell python spdx run
	[ "${lines[-1]}" = "2 passed, 2 failed" ]
	[[ $output = *$'\n'"failed: python"$'\n'* ]]
	[[ $output = *$'\n'"failed: run"$'\n'* ]]
	for gate in "shell: passed" "python: FAILED" "spdx: passed" "run: FAILED"; do
		[[ $output = *"== gate ${gate%:*}"$'\n'begin$'\n'end$'\n'"== gate $gate, "* ]]
	done
	# A gate that was killed is not one that has failed.
	# shellcheck disable=SC2016 # the stub expands this
	printf '%s\n' '#!/bin/bash' 'kill $PPID' >scripts/gates/run
	run -123 scripts/test run
	[[ $output != *passed,* ]]
}

@test "as many guests as the CPUs allow, and more time for more" {
	cp -r "$scripts" "$BATS_TEST_TMPDIR/scripts"
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' '#!/bin/bash' 'echo "$@" >>arguments' >scripts/boot
	mkdir bin
	for cpus in 1 2 8; do
		printf '%s\n' '#!/bin/bash' "echo $cpus" >bin/nproc
		chmod +x bin/nproc
		# shellcheck disable=SC2016 # the other shell expands this
		PATH=$PWD/bin:$PATH bash -c 'set -euo pipefail; . scripts/lib.sh; booted() { :; }
			jobs_that_fit; boot_all 3 <<<"scenario kernel initramfs run" 2>&1' >>said
	done
	[ "$(xargs <said)" = "1 1 4" ]
	[ "$(grep -o -e '--limit-factor [0-9]*' arguments | xargs)" = "--limit-factor 3 --limit-factor 3 --limit-factor 1" ]
}

@test "bash forgets the guest that it waits for" {
	cp -r "$scripts" "$BATS_TEST_TMPDIR/scripts"
	cd "$BATS_TEST_TMPDIR"
	# shellcheck disable=SC2016 # written as it is
	printf '%s\n' '#!/bin/bash' 'exit "$2"' >scripts/boot
	# shellcheck disable=SC2016 # the other shell expands this
	run -0 --separate-stderr bash -c 'set -euo pipefail; . scripts/lib.sh
		wait() { [ "$1" != -n ] || return 127; builtin wait "$@"; }
		booted() { echo "$1 $2"; }
		boot_all 2 < <(printf "%s kernel initramfs %s\n" 3 first 0 second 4 third)'
	[ "$(printf '%s\n' "${lines[@]}" | sort | xargs)" = "first 3 second 0 third 4" ]
}

@test "a script that is terminated waits for its child" {
	cd "$BATS_TEST_TMPDIR"
	# shellcheck disable=SC2016 # the other shell expands this
	bash -c '. "$scripts/lib.sh"; trap "echo end >>log" EXIT
		bash -c ": >up; sleep 1; echo child >>log"; echo next >>log' &
	until [ -e up ]; do
		sleep 0.1
	done
	kill -TERM $!
	status=0
	wait $! || status=$?
	[ "$status" -eq 143 ]
	[ "$(xargs <log)" = "child end" ]
}

@test "a gate without a directory takes the root" {
	run -0 "$scripts/gates/series-files"
	[[ $output = *" patches" ]]
}

@test "a gate with a directory that holds no series" {
	run -1 "$scripts/gates/git-am" "$BATS_TEST_TMPDIR"
	[[ $output = *"holds no series: there is no BASE"* ]]
}

@test "a patch that is a directory" {
	make_clone_and_series
	rm "$series"/patches/*
	mkdir "$series/patches/$(cat "$series/series")"
	run -1 "$scripts/apply-series" --series "$series" "$clone" v0.1
	[[ $output = *"cannot be read"* ]]
}

@test "mutants: a path" {
	run -1 "$scripts/mutants" --list ../x
	[[ $output = *"a mutant has a name, not a path"* ]]
}

@test "boot: what cannot be" {
	for option in --limit=-5 --limit=0 --silence=x --accel=turbo; do
		run -2 "$scripts/boot" --kernel k --initramfs i --run-dir d "$option"
	done
	: >"$BATS_TEST_TMPDIR/file"
	run -1 "$scripts/boot" --kernel "$BATS_TEST_TMPDIR/none" --initramfs i --run-dir d
	[[ $output = *"none cannot be read" ]]
}

@test "boot: a run directory that is a file" {
	command -v qemu-system-x86_64 >/dev/null || skip "there is no qemu-system-x86_64"
	: >"$BATS_TEST_TMPDIR/file"
	run -1 "$scripts/boot" --kernel "$BATS_TEST_TMPDIR/file" \
		--initramfs "$BATS_TEST_TMPDIR/file" --run-dir "$BATS_TEST_TMPDIR/file"
	[[ $output = *"--run-dir $BATS_TEST_TMPDIR/file: "* ]]
}

@test "boot: QEMU never makes its sockets" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '%s\n' '#!/bin/sh' 'exec sleep 60' >"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64"
	chmod +x "$BATS_TEST_TMPDIR/bin/qemu-system-x86_64"
	cp -r -- "$scripts" "$BATS_TEST_TMPDIR/scripts"
	mkdir "$BATS_TEST_TMPDIR/selftests"
	cp -r -- "$scripts/../selftests/scenarios" "$BATS_TEST_TMPDIR/selftests"
	sed -i 's/^SOCKETS = .*/SOCKETS = 1/' "$BATS_TEST_TMPDIR/scripts/boot"
	: >"$BATS_TEST_TMPDIR/file"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH run -1 "$BATS_TEST_TMPDIR/scripts/boot" \
		--scenario vmware-churn --kernel "$BATS_TEST_TMPDIR/file" \
		--initramfs "$BATS_TEST_TMPDIR/file" --run-dir "$BATS_TEST_TMPDIR/run"
	[[ $output = *"QEMU did not start: channel.sock was not there after 1 s"* ]]
}

@test "judge and report: a file, and what is not what they read" {
	: >"$BATS_TEST_TMPDIR/file"
	run -1 "$scripts/judge" "$BATS_TEST_TMPDIR/file"
	[[ $output = "judge: "*"is no directory" ]]
	mkdir "$BATS_TEST_TMPDIR/run"
	cd -- "$BATS_TEST_TMPDIR/run" || return
	for outcome in '[]' '7' '{"scenario": 7}' '{"scenario": {"tests": 7}, "end": []}' '{'; do
		echo "$outcome" >outcome.json
		run -1 "$scripts/judge" --tree . .
		[[ $output != *Traceback* ]]
	done
	echo patched >plan
	run -1 "$scripts/report" .
	[[ $output = *"plan has a line that is no kernel and scenario: patched" ]]
	run -1 "$scripts/report" "$BATS_TEST_TMPDIR/file"
	[[ $output = *"holds no plan"* ]]
}
