#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

# Guests on other machines, which are directories here: ssh is a stub that changes into
# one of them, and boot one that copies the kernel.

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	cd -- "$BATS_TEST_TMPDIR" || return
	mkdir -p bin machines/a machines/b top/selftests/scenarios run/patched
	export machines=$PWD/machines PATH=$PWD/bin:$PATH
	cp -r -- "$scripts" "$scripts/../BASE" top
	cat >bin/ssh <<-'END'
		#!/bin/bash
		# ssh [-o OPTION]... HOST [--] COMMAND...
		while [[ $1 = -* ]]; do
			[ "$1" != -o ] || shift
			shift
		done
		cd "$machines/$1" && [ ! -e down ] || exit 255
		shift
		[ "$1" != -- ] || shift
		# What kills ssh does not reach the other machine.
		HOME=$PWD SHELL=/bin/bash setsid bash -c "$*"
		status=$?
		[ ! -e down ] || exit 255
		exit "$status"
	END
	cat >top/scripts/boot <<-'END'
		#!/bin/bash
		# --scenario SCENARIO --kernel KERNEL --initramfs INITRAMFS --run-dir DIRECTORY
		set -e
		cd "${PWD%/tree}"
		echo "boots $2 on $(basename "$HOME")"
		echo "$2" >>"$HOME/booted"
		case $2 in
		fatal) mkdir "$machines/hit" 2>/dev/null && : >"$HOME/down" && exit 1 ;;
		not-at-all) exit 1 ;;
		long) sleep 60 & echo $! >"$HOME/long"; wait ;;
		esac
		mkdir -p "$8"
		cp "$4" "$8/kernel"
		echo "exec qemu -kernel $4" >"$8/qemu-command"
	END
	printf '%s\n' '#!/bin/sh' >bin/qemu-system-x86_64
	chmod +x bin/* top/scripts/boot
	echo words >run/patched/pc.kernel
	: >run/patched/pc.initramfs
	printf '2/%s\n' a b >hosts
}

# boot SCENARIO...: boots these, as boot_all does
boot() {
	local dir=$PWD/run/patched scenario
	for scenario; do
		echo "$scenario $dir/pc.kernel $dir/pc.initramfs $dir/$scenario"
	done |
		top/scripts/boot-on-hosts hosts "$PWD/run/hosts.log" "${options[@]}" 2>said
}

@test "a list of hosts that is wrong" {
	: >empty
	run -2 "$scripts/run" --hosts none
	[[ $output = *"the list of hosts none cannot be read"* ]]
	run -2 "$scripts/run" --hosts empty
	[[ $output = *"empty lists no host"* ]]
	for line in 'ssh -p 22 host' : 4/host -oProxyCommand=x; do
		echo "$line" >wrong
		run -2 "$scripts/run" --hosts wrong
		[[ $output = *"wrong has a line that is no login: $line"* ]]
		run -1 "$scripts/mutants" --hosts wrong
		[[ $output = *"wrong has a line that is no login: $line"* ]]
	done
	run -2 "$scripts/run" --hosts hosts --jobs 2
	[[ $output = *"--jobs is for this machine"* ]]
}

@test "parallel is missing" {
	mkdir few
	for tool in bash dirname sed sort awk; do
		ln -s "$(command -v "$tool")" few
	done
	echo a >logins
	PATH=$PWD/few run -1 "$scripts/check-hosts" logins qemu-system-x86_64
	[[ $output = *"parallel is missing: it is in the package parallel"* ]]
}

@test "a host that cannot boot is not used" {
	printf '%s\n' '# mine' a b '' c >logins
	: >machines/b/down
	run -0 --separate-stderr top/scripts/check-hosts logins qemu-system-x86_64
	[ "$output" = "$(nproc)/a" ]
	# shellcheck disable=SC2154 # bats sets it
	[[ $stderr = *"b is not used: it does not answer"*"c is not used: it does not answer"* ]]
	run -1 top/scripts/check-hosts logins qemu-system-x86_64 qemu-system-none
	[[ $output = *"a is not used: lacks qemu-system-none"*"no host can be used"* ]]
}

@test "all guests come back, and nothing stays on the hosts" {
	options=(--append "a  b")
	run -0 boot one two three
	[ "$(sort <<<"$output" | cut -d ' ' -f 2 | xargs)" = "0 0 0" ]
	for name in one two three; do
		[ "$(cat "run/patched/$name/kernel")" = words ]
		[[ $(cat "run/patched/$name.log") = "boots $name on "[ab] ]]
		[ "$(cat "run/patched/$name/qemu-command")" = "exec qemu -kernel $PWD/run/patched/pc.kernel" ]
	done
	[ "$(cat machines/[ab]/booted | sort | xargs)" = "one three two" ]
	[ "$(find machines -name '*balloon*')" = "" ]
	[ "$(wc -l <run/hosts.log)" -eq 3 ]
}

@test "a host goes down, and its guests are booted on the other one" {
	run -0 boot fatal one two three four
	[ "$(cut -d ' ' -f 2 <<<"$output" | xargs)" = "0 0 0 0 0" ]
	down=(machines/*/down)
	[ ${#down[@]} -eq 1 ]
	for name in fatal one two three four; do
		[ "$(cat "run/patched/$name/kernel")" = words ]
	done
	[[ ${down[0]} != "machines/$(cut -d ' ' -f 4 <run/patched/fatal.log)/down" ]]
}

@test "what no host can boot has no verdict" {
	run -0 boot not-at-all one
	[[ $output = *"/one 0 "* ]]
	[[ $output = *"/not-at-all 1 0"* ]]
	[ ! -e run/patched/not-at-all ]
	[ "$(cat machines/[ab]/booted | sort | uniq -c | xargs)" = "2 not-at-all 1 one" ]
	grep -q "boots not-at-all on [ab]" said
}

@test "a run that is terminated leaves no guest" {
	# shellcheck disable=SC2016 # the other shell expands this
	bash -c 'set -euo pipefail; . top/scripts/lib.sh; booted() { :; }
		hosts=$PWD/hosts run_dir=$PWD/run
		boot_all 1 <<<"long $PWD/run/patched/pc.kernel $PWD/run/patched/pc.initramfs $PWD/run/patched/long"' &
	shell=$!
	for ((i = 0; i < 300; i++)); do
		[[ ! -s machines/a/long && ! -s machines/b/long ]] || break
		sleep 0.1
	done
	guest=$(cat machines/[ab]/long)
	[ -e "/proc/$guest" ]
	kill "$shell"
	status=0
	wait "$shell" || status=$?
	[ "$status" -eq 143 ]
	for ((i = 0; i < 100; i++)); do
		[[ ! -e /proc/$guest && -z $(find machines -name '*balloon*') ]] && return
		sleep 0.1
	done
	false
}
