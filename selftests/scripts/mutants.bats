#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
	# A tree of its own, with one scenario and one mutant, and whatever a test adds.
	copy=$BATS_TEST_TMPDIR/copy
	mkdir -p "$series/selftests/mutants" "$copy/selftests/scenarios"
	cp -r -- "$scripts" "$scripts/../kconfig-fragments" "$copy"
	minimal_scenario >"$copy/selftests/scenarios/one.toml"
	cp -- "$series/BASE" "$copy"
	cd -- "$series/selftests/mutants" || return
	mutant good "Nobody counts." "" "Scenario: one" "Reason: ^[0-9]+ is wrong"
}

# mutant NAME LINE...: one with that header, for a file of the series
mutant() {
	{
		printf '%s\n' "${@:2}" "" "diff --git a/file b/file" "--- a/file" "+++ b/file" \
			"@@ -9,3 +9,3 @@" " 9" "-ten" "+eleven" " 11"
	} >"$1.patch"
}

mutants() {
	LINUX=$clone "$copy/scripts/mutants" --series "$series" "$@"
}

# refused NAME TEXT: that mutant is refused before anything is built, with the text
refused() {
	run -1 mutants
	[[ $output = *"mutants: $1: $2"* ]]
	[[ $output = *"1 mutants are wrong"* ]]
	[ ! -e "$XDG_CACHE_HOME/balloon-series/trees" ]
}

@test "every mutant of the repository says what catches it" {
	run -0 "$scripts/mutants" --list
	[ ${#lines[@]} -eq $((1 + $(find "$BATS_TEST_DIRNAME/../mutants" -name '*.patch' | wc -l))) ]
}

@test "the list tells scenario and kernel" {
	run -0 mutants --list
	[[ ${lines[1]} =~ ^good\ +one\ +pc$ ]]
}

@test "no reason why a reviewer might let it pass" {
	mutant bad "Scenario: one" "Reason: wrong"
	refused bad "the header does not say why"
}

@test "no scenario" {
	mutant bad "Nobody counts." "Reason: wrong"
	refused bad "the header needs one line Scenario: NAME"
}

@test "two scenarios" {
	mutant bad "Nobody counts." "Scenario: one" "Scenario: one" "Reason: wrong"
	refused bad "the header needs one line Scenario: NAME"
}

@test "a scenario that is not there" {
	mutant bad "Nobody counts." "Scenario: two" "Reason: wrong"
	refused bad "unknown scenario 'two'; available: one"
}

@test "no reason that has to be said" {
	mutant bad "Nobody counts." "Scenario: one"
	refused bad "the header needs one line Reason: REGEX"
}

@test "a reason that is no regular expression" {
	mutant bad "Nobody counts." "Scenario: one" "Reason: (wrong"
	refused bad "the reason is no regular expression"
}

@test "a reason that matches whatever is said" {
	mutant bad "Nobody counts." "Scenario: one" "Reason: .*"
	refused bad "the reason is no regular expression, or matches whatever is said"
}

@test "a patch that does not apply" {
	mutant bad "Nobody counts." "Scenario: one" "Reason: wrong"
	sed -i 's/^-ten/-10/' bad.patch
	refused bad "the patch does not apply to the series"
}

@test "all that is wrong is told at once" {
	mutant bad "Scenario: one" "Reason: wrong"
	mutant worse "Nobody counts." "Reason: wrong"
	run -1 mutants
	[[ $output = *"mutants: bad: "*"mutants: worse: "*"2 mutants are wrong"* ]]
}

@test "a mutant that is not there" {
	run -1 mutants better
	[[ $output = *"mutants: better: selftests/mutants has no such patch"* ]]
}

@test "a path for a mutant" {
	run -1 mutants selftests/mutants/good.patch
	[[ $output = *"a mutant has a name, not a path"* ]]
}

@test "a number of runs that is none" {
	run -1 mutants --runs 0
	[[ $output = *"--runs needs a number, not '0'"* ]]
}

# says LINE...: what the judge says of the mutant, where nothing is built or booted
says() {
	printf '%s\n' '#!/bin/sh' "mkdir -p \"\$8\"" >"$copy/scripts/boot"
	printf '%s\n' '#!/bin/sh' >"$copy/scripts/build-guest"
	printf '%s\n' "$@" >"$copy/said"
	printf '%s\n' "${control:-pass}" >"$copy/said-of-control"
	cat >"$copy/scripts/judge" <<-END
		#!/bin/sh
		case \$1 in
		*/control-*) cat "$copy/said-of-control" ;;
		*) cat "$copy/said" ;;
		esac
	END
}

@test "a mutant is caught for its reason, which need not be the first" {
	says fail "  too late" "  [    1.234567] 7 is wrong"
	run -0 mutants
	[[ $output = *"caught: 7 is wrong"*"caught 1 of 1" ]]
}

@test "a mutant has to be caught each time" {
	says fail "  7 is wrong"
	run -0 mutants --runs 3
	[[ $output = *"caught 3 of 3" ]]
}

@test "guests may be booted at the same time" {
	says fail "  7 is wrong"
	run -0 mutants --runs 3 --jobs 2
	[[ $output = *"caught 3 of 3" ]]
}

@test "a guest that cannot be booted" {
	says fail "  7 is wrong"
	printf '%s\n' '#!/bin/sh' 'exit 1' >"$copy/scripts/boot"
	run -1 mutants --runs 3 --jobs 2
	[[ $output = *"control-one could not be booted"* ]]
}

@test "a mutant survives" {
	says pass
	run -1 mutants
	[[ $output = *"survived"*"caught 0 of 1" ]]
}

@test "a mutant dies of something else" {
	says crash "  Kernel panic"
	run -1 mutants
	[[ $output = *"died of something else: Kernel panic"*"caught 0 of 1" ]]
}

@test "what was cut short is not caught" {
	says truncated "  7 is wrong"
	run -1 mutants
	[[ $output = *"died of something else: truncated: 7 is wrong"* ]]
}

@test "what took too long is not caught" {
	mutant good "Nobody counts." "Scenario: one" "Reason: ended"
	says hang "  the run was ended for limit"
	run -1 mutants
	[[ $output = *"died of something else: the run was ended for limit"* ]]
}

@test "the scenario does not pass without a mutant" {
	control=hang says fail "  7 is wrong"
	run -1 mutants
	[[ $output = *"one does not pass without a mutant: hang"*"caught 0 of 1" ]]
}

@test "the gate leaves out a series without mutants for the KUnit suite" {
	run -0 "$scripts/gates/mutants" "$BATS_TEST_DIRNAME/../../mainline/fixes"
	[[ $output = *"the series has no mutants for the KUnit suite" ]]
}
