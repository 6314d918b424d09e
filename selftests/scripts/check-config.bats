#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	cd -- "$BATS_TEST_TMPDIR" || return
	printf '%s\n' CONFIG_A=y CONFIG_B=m CONFIG_C=17 'CONFIG_S="a b"' \
		'# CONFIG_D is not set' >requested
	cp requested final
}

@test "everything as requested" {
	run -0 "$scripts/check-config" requested final
}

@test "an absent symbol is as good as one that is off" {
	sed -i /CONFIG_D/d final
	run -0 "$scripts/check-config" requested final
}

@test "a lost symbol is named, and no other" {
	sed -i /CONFIG_A/d final
	run -1 "$scripts/check-config" requested final
	[[ $output = *CONFIG_A=y* && $output != *CONFIG_B* ]]
}

@test "a symbol that is not off is named" {
	sed -i 's/.*CONFIG_D.*/CONFIG_D=y/' final
	run -1 "$scripts/check-config" requested final
	[[ $output = *CONFIG_D=n* ]]
}

@test "another value is not the value" {
	sed -i s/=17/=18/ final
	run -1 "$scripts/check-config" requested final
	[[ $output = *CONFIG_C=17* ]]
}

@test "no request is no success" {
	: >requested
	run -1 "$scripts/check-config" requested final
}
