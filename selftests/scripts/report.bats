#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	cd -- "$BATS_TEST_TMPDIR" || return
}

@test "the series passes and shows its pages" {
	booted patched pass
	run -0 "$scripts/report" .
	[[ ${lines[1]} =~ ^cmm-churn\ +pass\ +-\ +-\ +7\ +17\ +12\ +not\ run$ ]]
}

@test "the series fails" {
	booted patched fail "  a page was lost"
	run -1 "$scripts/report" .
	[[ $output = *"wrong: with the series: fail: a page was lost"* ]]
}

@test "the unpatched kernel fails as expected" {
	booted patched pass
	booted unpatched fail "  too late" "  [    1.234567] page 7 was lost"
	run -0 "$scripts/report" .
	[[ ${lines[1]} = *"  fail: page 7 was lost" ]]
}

@test "the unpatched kernel fails for another reason" {
	booted unpatched fail "  too late"
	run -1 "$scripts/report" .
	[[ $output = *"wrong: without the series: fail: too late, expected: fail: page .* lost"* ]]
}

@test "the unpatched kernel crashes and should have failed" {
	booted unpatched crash "  page 7 was lost"
	run -1 "$scripts/report" .
}

@test "the unpatched kernel shows the bug in one of several ways" {
	booted unpatched crash "  page 7 was lost"
	sed -i 's/"fail"/"splat|crash"/' unpatched/cmm-churn/outcome.json
	run -0 "$scripts/report" .
	sed -i 's/"splat|crash"/"splat|cras"/' unpatched/cmm-churn/outcome.json
	run -1 "$scripts/report" .
}

@test "the unpatched kernel passes and should have failed" {
	booted patched pass
	booted unpatched pass
	run -1 "$scripts/report" .
}

@test "a run that was not finished" {
	booted patched pass
	echo "patched virtio" >>plan
	run -125 "$scripts/report" .
	[[ $output = *"wrong: with the series: no verdict"* ]]
}

@test "a verdict that is empty" {
	booted patched pass
	booted unpatched fail "  page 7 was lost"
	: >unpatched/cmm-churn/verdict
	run -125 "$scripts/report" .
}

@test "nothing was to be booted" {
	run -1 "$scripts/report" .
	[[ $output = *"holds no plan"* ]]
}
