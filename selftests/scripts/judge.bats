#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	cd -- "$BATS_TEST_TMPDIR" || return
	printf '[    0.000000] Linux version 6.16\n[   50.1] reboot: Power down\n' >console.log
	echo '{"end": "guest-shutdown", "accelerator": "tcg", "cycles": 20, "cycles_wanted": 20}' >outcome.json
	{
		counters before 0
		echo ready
		echo alive balloon_migrate 7
		counters after 100000
		echo success
	} >channel.log
}

# counters WHEN COUNT
counters() {
	printf "$1 %s\n" "balloon_inflate $2" "balloon_deflate $2" "balloon_migrate $2" \
		"nr_balloon_pages 0" "free_pages 1000" \
		"managed_pages 2000" "MemTotal 8000"
}

verdict() {
	run "$scripts/judge" "$BATS_TEST_TMPDIR"
	[ "${lines[0]}" = "$1" ]
	if [ "$1" = pass ]; then
		[ "$status" -eq 0 ]
	else
		[ "$status" -ne 0 ]
	fi
}

@test "all is well" {
	verdict pass
}

@test "too few migrations" {
	sed -i 's/^after balloon_migrate .*/after balloon_migrate 99999/' channel.log
	verdict fail
}

@test "too few cycles" {
	sed -i 's/"cycles": 20/"cycles": 19/' outcome.json
	verdict fail
}

@test "an outcome that does not tell the cycles" {
	sed -i 's/"cycles": 20, //' outcome.json
	verdict truncated
}

@test "lockdep that was switched off" {
	sed -i '1a [   10.1] Disabling lock debugging due to kernel taint' console.log
	verdict splat
}

@test "no console" {
	rm console.log
	verdict truncated
}

@test "a quiet console" {
	sed -i '/Linux version/d' console.log
	verdict truncated
}

@test "a page inflated and not deflated" {
	sed -i 's/^after balloon_inflate .*/after balloon_inflate 100001/' channel.log
	verdict fail
}

@test "a workload that ended by itself" {
	sed -i 's/^success/failed compact exit 1/' channel.log
	verdict fail
}

@test "memory that does not come back" {
	sed -i 's/^after managed_pages .*/after managed_pages 1999/' channel.log
	verdict fail
}

@test "a missing counter" {
	sed -i '/^after nr_balloon_pages/d' channel.log
	verdict truncated
}

@test "no word of success" {
	sed -i '/^success/d' channel.log
	verdict truncated
}

@test "a word of success that was cut short" {
	truncate --size=-1 channel.log
	verdict truncated
}

@test "nothing at all" {
	rm console.log channel.log outcome.json
	verdict truncated
}

@test "a lockdep report that nothing else noticed" {
	echo '[   30.1] WARNING: possible circular locking dependency detected' >>console.log
	verdict splat
}

@test "a WARN that became a panic" {
	printf '%s\n' '[ 30.1] WARNING: CPU: 0 PID: 1 at mm/a.c:1 f+0x1/0x2' \
		'[ 30.2] Kernel panic - not syncing: kernel: panic_on_warn set ...' >>console.log
	echo '{"end": "guest-reset"}' >outcome.json
	verdict splat
}

@test "a panic" {
	echo '[ 30.2] Kernel panic - not syncing: sysrq triggered crash' >>console.log
	echo '{"end": "guest-reset"}' >outcome.json
	verdict crash
}

@test "a hung task" {
	printf '%s\n' '[ 30.1] INFO: task compact:40 blocked for more than 60 seconds.' \
		'[ 30.2] Kernel panic - not syncing: hung_task: blocked tasks' >>console.log
	verdict hang
}

@test "silence" {
	echo '{"end": "silence"}' >outcome.json
	verdict hang
}
