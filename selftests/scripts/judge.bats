#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

# KUNIT_TREE is a tree that has kunit.py: scripts/test scripts sets it.

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	logs=$BATS_TEST_DIRNAME/../logs
	cd -- "$BATS_TEST_TMPDIR" || return
	printf '[    0.000000] Linux version 6.16\n[   50.1] reboot: Power down\n' >console.log
	outcome virtio guest-shutdown
	{
		counters before 0
		echo ready
		echo alive balloon_migrate 7
		middle 153600
		counters after 100000
		echo success
	} >channel.log
}

# counters WHEN COUNT
counters() {
	printf "$1 %s\n" "balloon_inflate $2" "balloon_deflate $2" "balloon_migrate $2" \
		"nr_balloon_pages 0" "free_pages 1000" \
		"managed_pages 338944" "MemTotal 1355776"
}

# middle MANAGED: counters with the balloon at its lowest target
middle() {
	printf 'middle %s\n' "nr_balloon_pages 185344" "managed_pages $1" "MemTotal $(($1 * 4))"
}

# outcome SCENARIO END
outcome() {
	PYTHONPATH=$scripts python3 -c '
import json, scenarios, sys
ledger = {"given": 200000, "taken": 200000, "left": 0, "ahead": 1, "behind": 0,
          "at_reset": 0, "violations": 0, "examples": []}
print(json.dumps({"scenario": scenarios.read(sys.argv[1]), "end": sys.argv[2],
                  "ledger": ledger, "cycles": 25}))' "$1" "$2" >outcome.json
}

# ledger KEY VALUE: something else that the ledger says
ledger() {
	sed -i "s/\"$1\": [^,}]*/\"$1\": $2/" outcome.json
}

# kunit NAME: a run of the scenario with that canned console
kunit() {
	outcome kunit guest-shutdown
	cp -- "$logs/kunit-$1" console.log
}

# kselftest NAME [STATUS]: a run of the scenario with that canned KTAP, and the
# program's exit status
kselftest() {
	outcome kselftest guest-shutdown
	cp -- "$logs/kselftest-$1" ktap.log
	sed -i "/^ready/a seconds balloon-tests 12.3\nexit balloon-tests ${2:-0}" channel.log
	[ "${2:-0}" -eq 0 ] || sed -i '/^success/d' channel.log
}

verdict() {
	run "$scripts/judge" --tree "${KUNIT_TREE:?is not set}" "$BATS_TEST_TMPDIR"
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

@test "a page is counted on a node" {
	sed -i -e 's|^ready|before node1/nr_balloon_pages 0\n&|' \
		-e 's|^success|after node1/nr_balloon_pages 1\n&|' channel.log
	verdict fail
	[[ $output = *"node1/nr_balloon_pages is 1"* ]]
}

@test "a managed page has changed its zone" {
	sed -i -e 's|^ready|before node0/Normal/managed_pages 7\n&|' \
		-e 's|^success|after node0/Normal/managed_pages 6\n&|' channel.log
	verdict fail
}

@test "a node's counter is missing" {
	sed -i 's|^ready|before node1/nr_balloon_pages 0\n&|' channel.log
	verdict truncated
}

@test "a figure that has its minimum" {
	outcome virtio-reporting guest-shutdown
	echo "# figure reports 5" >ktap.log
	verdict pass
}

@test "a figure that is too low" {
	outcome virtio-reporting guest-shutdown
	echo "# figure reports 4" >ktap.log
	verdict fail
	[[ $output = *"reports is 4, 5 are needed"* ]]
}

@test "a figure that is missing" {
	outcome virtio-reporting guest-shutdown
	verdict truncated
}

@test "a line that the scenario may print" {
	local line='Out of memory: Killed process 46 (pressure) total-vm:1kB'
	sed -i "1a $line" console.log
	verdict splat
	outcome cmm-oom-empty guest-shutdown
	# It tells of no test, but of nothing else either.
	verdict truncated
}

@test "too few cycles" {
	sed -i 's/"cycles": 25}$/"cycles": 24}/' outcome.json
	verdict fail
}

@test "an outcome that does not tell the cycles" {
	sed -i 's/, "cycles": 25}$/}/' outcome.json
	verdict truncated
}

@test "lockdep that was switched off" {
	sed -i '1a [   10.1] Disabling lock debugging due to kernel taint' console.log
	verdict splat
}

@test "pages that are left in the ledger" {
	ledger left 1
	verdict fail
	[[ ${lines[1]} = "  1 pages are left in the ledger" ]]
}

@test "a violation of the ledger" {
	ledger violations 7
	ledger examples '["page 0x1000 was given twice"]'
	verdict fail
	[[ ${lines[2]} = "  page 0x1000 was given twice" ]]
}

@test "pages that are in the balloon at a reset" {
	ledger at_reset 2
	verdict fail
	[[ ${lines[1]} = "  2 pages were in the balloon at a reset" ]]
}

@test "a driver that takes back before it gives" {
	ledger behind 1
	verdict fail
	[[ ${lines[1]} = "  the ledger was 1 pages behind, 0 are allowed"* ]]
}

@test "a page that the driver counts and does not name" {
	ledger given 199999
	verdict fail
	[[ ${lines[1]} = "  199999 pages were given, the counters say 200000" ]]
}

@test "a trace that names no page" {
	ledger given 0
	verdict truncated
}

@test "no ledger" {
	sed -i 's/"ledger"/"no-ledger"/' outcome.json
	verdict truncated
	[[ $output = *"there is no ledger"* ]]
}

@test "managed pages that are not adjusted" {
	sed -i '/^middle/d' channel.log
	sed -i "/^ready/a $(middle 338944 | sed ':a;N;s/\n/\\n/;ta')" channel.log
	verdict fail
	[[ ${lines[1]} = "  managed_pages was 338944 and is 338944 with 185344 pages"*"153600 is right" ]]
}

@test "managed pages that are adjusted, but are the guest's to manage" {
	sed -i 's/"managed": "adjusted"/"managed": "unadjusted"/' outcome.json
	verdict fail
	[[ $output = *"338944 is right"* ]]
}

@test "another number of pages in the middle" {
	sed -i 's/^middle nr_balloon_pages .*/middle nr_balloon_pages 185343/' channel.log
	verdict fail
}

@test "no counters in the middle" {
	sed -i '/^middle MemTotal/d' channel.log
	verdict truncated
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
	sed -i 's/^after managed_pages .*/after managed_pages 338943/' channel.log
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
	outcome virtio guest-reset
	verdict splat
}

@test "a panic" {
	echo '[ 30.2] Kernel panic - not syncing: sysrq triggered crash' >>console.log
	outcome virtio guest-reset
	verdict crash
}

@test "a hung task" {
	printf '%s\n' '[ 30.1] INFO: task compact:40 blocked for more than 60 seconds.' \
		'[ 30.2] Kernel panic - not syncing: hung_task: blocked tasks' >>console.log
	verdict hang
}

@test "silence" {
	outcome virtio silence
	verdict hang
}

@test "KUnit passes" {
	kunit pass
	verdict pass
}

@test "KUnit fails, and the test is named with what it expected" {
	kunit fail
	verdict fail
	[[ $output = *"FAIL balloon_compaction.balloon_test_isolate"* ]]
	[[ $output = *"balloon->isolated_pages == 0 (0x0)"* ]]
	[[ $output != *balloon_test_enqueue* ]]
}

@test "a suite fails and none of its tests" {
	kunit pass
	sed -i 's/ ok 1 balloon_compaction$/ not&/' console.log
	verdict fail
}

@test "KUnit skips a test" {
	kunit one-skipped
	verdict fail
	[[ $output = *"SKIP balloon_compaction.balloon_test_isolate"* ]]
}

@test "KUnit skips a test that may be skipped" {
	kunit one-skipped
	sed -i 's/"may_skip": \[/&"balloon_compaction.balloon_test_isolate"/' outcome.json
	verdict pass
}

@test "KUnit skips all tests, even if each may be skipped" {
	kunit all-skipped
	verdict fail
	sed -i 's/"may_skip": \[/&"balloon_compaction.balloon_test_enqueue", \
		"balloon_compaction.balloon_test_isolate", \
		"balloon_compaction.balloon_test_migrate"/' outcome.json
	verdict fail
}

@test "KUnit stops in the middle" {
	kunit cut-short
	verdict truncated
}

@test "KUnit without a plan" {
	kunit no-plan
	verdict truncated
}

@test "KUnit runs another suite" {
	kunit other-suite
	verdict truncated
	[[ $output = *"the suite balloon_compaction did not run"* ]]
}

@test "KUnit is not there" {
	kunit not-there
	verdict truncated
}

@test "a panic in KUnit" {
	kunit panic
	outcome kunit guest-reset
	verdict crash
}

@test "a WARN in KUnit" {
	kunit warn
	outcome kunit guest-reset
	verdict splat
}

@test "a lockdep report in KUnit, which passes" {
	kunit lockdep
	verdict splat
}

@test "KUnit is silent for good" {
	kunit cut-short
	outcome kunit silence
	verdict hang
}

@test "the kselftest passes" {
	kselftest pass
	verdict pass
}

@test "the kselftest fails, and the test is named with what it expected" {
	kselftest fail 1
	verdict fail
	[[ $output = *"FAIL balloon.compact"* ]]
	[[ $output = *"Expected stats.owned (4095) == 4096 (4096)"* ]]
}

@test "the kselftest fails and does not say so at its end" {
	kselftest fail 0
	verdict fail
}

@test "the kselftest passes and says otherwise at its end" {
	kselftest pass 1
	verdict fail
}

@test "the kselftest skips a test" {
	kselftest one-skipped
	verdict fail
}

@test "the kselftest skips a test that may be skipped" {
	kselftest one-skipped
	sed -i 's/"may_skip": \[/&"balloon.offline"/' outcome.json
	verdict pass
}

@test "the kselftest skips all tests" {
	kselftest all-skipped
	verdict fail
}

@test "the kselftest without a plan" {
	kselftest no-plan
	verdict truncated
}

@test "the kselftest stops in the middle" {
	kselftest cut-short
	verdict truncated
}

@test "the kselftest is killed" {
	kselftest cut-short
	sed -i -e 's/^exit balloon-tests 0/signal balloon-tests 9/' -e '/^success/d' channel.log
	verdict truncated
	[[ $output = *"signal balloon-tests 9"* ]]
}

@test "the kselftest prints nothing" {
	kselftest pass
	: >ktap.log
	verdict truncated
}

@test "the kselftest never ends" {
	kselftest cut-short
	outcome kselftest limit
	sed -i '/^ready/q' channel.log
	verdict hang
}

@test "a panic in the kselftest" {
	kselftest cut-short
	outcome kselftest guest-reset
	cp -- "$logs/kunit-panic" console.log
	verdict crash
}

@test "a WARN in the kselftest" {
	kselftest cut-short
	outcome kselftest guest-reset
	cp -- "$logs/kunit-warn" console.log
	verdict splat
}

@test "a lockdep report in the kselftest, which passes" {
	kselftest pass
	cp -- "$logs/kunit-lockdep" console.log
	verdict splat
}

@test "a kselftest that leaves pages in the balloon" {
	kselftest pass
	sed -i 's/^after nr_balloon_pages .*/after nr_balloon_pages 1/' channel.log
	verdict fail
}

@test "no tree to read the results with" {
	kselftest pass
	run -1 "$scripts/judge" "$BATS_TEST_TMPDIR"
	[[ $output = *"kunit.py is missing: --tree"* ]]
}

# restart LINE END: a guest that restarted, and whose console says the line
restart() {
	outcome cmm-reboot "$2"
	printf '%s\n' '[    0.000000] Linux version 6.16' "[   50.0] $1" \
		'[   50.1] reboot: Restarting system' >console.log
	sed -i '/^after/d' channel.log
	sed -i '/^ready/a seconds cmm:-t:fill 1.2\nexit cmm:-t:fill 0' channel.log
	printf '%s\n' 'TAP version 13' '1..1' 'ok 1 cmm.fill' >ktap.log
}

@test "a guest that is to restart" {
	restart "cmmhost: 0 frames are loaned at the restart, after 131072 loans" guest-reset
	verdict pass
}

@test "a guest that is to restart turns itself off" {
	restart "cmmhost: 0 frames are loaned at the restart, after 131072 loans" guest-shutdown
	verdict truncated
}

@test "a guest that restarts does not say what it has to" {
	restart "cmmhost: 16 frames are loaned at the restart, after 131072 loans" guest-reset
	verdict fail
	[[ ${lines[1]} = *'does not say "cmmhost: 0 frames'* ]]
}

@test "a guest panics on its way to the restart" {
	restart "Kernel panic - not syncing: Fatal exception" guest-reset
	verdict crash
}

@test "a guest restarts, and its console is cut short" {
	restart "cmmhost: 0 frames are loaned at the restart, after 131072 loans" guest-reset
	sed -i '$d' console.log
	verdict truncated
}
