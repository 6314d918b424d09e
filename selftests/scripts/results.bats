#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

# KUNIT_TREE is a tree that has kunit.py: scripts/test scripts sets it.

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	cd -- "$BATS_TEST_TMPDIR" || return
}

# says EXPRESSION: what Python finds in results.json, and in results.xml
says() {
	python3 - "$1" <<-'END'
		import json, sys, xml.etree.ElementTree as xml
		root = xml.parse("results.xml").getroot()
		print(eval(sys.argv[1], {"found": json.load(open("results.json")), "root": root}))
	END
}

# ktap_says: what kunit.py finds in results.ktap
ktap_says() {
	"${KUNIT_TREE:?is not set}/tools/testing/kunit/kunit.py" parse <results.ktap
}

@test "all is as expected" {
	printf '%-20s%s\n' series /a/b "compiler, x86_64" "clang 19" "compiler, x86_64" "gcc 12" >made-of
	booted patched pass
	booted unpatched fail "  a page was lost"
	run -0 "$scripts/results" .
	[ "$(says 'found["verdict"]')" = pass ]
	[ "$(says 'found["made_of"]["compiler, x86_64"]')" = "clang 19; gcc 12" ]
	[ "$(says '[b["verdict"] for b in found["boots"]]')" = "['pass', 'fail']" ]
	[ "$(says 'found["boots"][0]["counters"]["after"]["balloon_migrate"]')" = 8 ]
	[ "$(says 'found["boots"][1]["qemu"]')" = "QEMU 7.2" ]
	[ "$(says '[(s.get("tests"), s.get("failures"), s.get("skipped")) for s in root]')" = \
		"[('3', '0', '1'), ('1', '0', '0')]" ]
	run -0 ktap_says
	[[ $output = *"passed: 3, skipped: 1"* ]]
}

@test "the series fails, and a console says what XML may not" {
	booted patched crash $'  BUG: \e[31m at <mm/balloon.c>\x01'
	run -0 "$scripts/results" .
	[ "$(says 'found["verdict"]')" = fail ]
	[[ $(says 'root[0][0][0].get("message")') = *"crash: BUG: ?[31m at <mm/balloon.c>?, expected: pass" ]]
	run -1 ktap_says
	[[ $output = *"failed: 1"* ]]
}

@test "nothing could be booted" {
	echo "patched virtio" >plan
	run -0 "$scripts/results" .
	[ "$(says 'found["verdict"]')" = "not tested" ]
	[ "$(says 'root[0].get("failures")')" = 1 ]
}

@test "a directory that is no run's" {
	run -1 "$scripts/results" .
	[[ $output = "results: . holds no plan of scripts/run" ]]
}
