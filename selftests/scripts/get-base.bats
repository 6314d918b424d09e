#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
}

@test "LINUX= that is no git tree" {
	mkdir "$BATS_TEST_TMPDIR/plain"
	LINUX=$BATS_TEST_TMPDIR/plain run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"is no git tree"* ]]
}

@test "LINUX= that lacks the release" {
	git init --quiet "$BATS_TEST_TMPDIR/empty"
	LINUX=$BATS_TEST_TMPDIR/empty run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"does not have v0.1"* ]]
}

@test "LINUX= that has the release" {
	LINUX=$clone run -0 "$scripts/get-base" --series "$series"
	[[ $output = *"$clone"* ]]
}

# files_of DIRECTORY: what is in it
files_of() {
	find "$1" -type f -exec sha256sum {} + | sort
}

@test "LINUX= is only read, if it is shallow, too" {
	git clone --quiet --depth 1 --branch v0.1 "file://$clone" "$BATS_TEST_TMPDIR/shallow" 2>/dev/null
	for LINUX in "$clone" "$BATS_TEST_TMPDIR/shallow"; do
		export LINUX
		before=$(files_of "$LINUX")
		# shellcheck disable=SC2016 # the other shell expands this
		run -0 bash -c 'set -euo pipefail; . "$scripts/lib.sh"; locate_series "$1"
			"$scripts/checkout-tree" "$repository" "$tip" "$2"' sh "$series" "$BATS_TEST_TMPDIR/tree"
		[ "$(sed -n 10p "$BATS_TEST_TMPDIR/tree/file")" = ten ]
		[ "$(files_of "$LINUX")" = "$before" ]
	done
}

@test "no network" {
	export http_proxy=http://127.0.0.1:1 https_proxy=http://127.0.0.1:1
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"there is no source of 0.1"* ]]
	[ "$(ls "$XDG_CACHE_HOME/balloon-series/base")" = lock ]
}

@test "wrong checksum" {
	command -v dpkg-deb >/dev/null || skip "there are no packages without dpkg-deb"
	write_base "$series" PACKAGE=a PACKAGE_VERSION=1 PACKAGE_FILE=pool/a.deb PACKAGE_SHA256=0
	mkdir -p "$XDG_CACHE_HOME/balloon-series/base"
	package=$XDG_CACHE_HOME/balloon-series/base/a.deb
	echo nonsense >"$package"
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"wrong checksum of a.deb"* ]]
	[ ! -e "$package" ]
}

# tarball: one of a release in a place of its own, with its checksum
tarball() {
	mkdir -p "$BATS_TEST_TMPDIR/linux-0.1"
	echo text >"$BATS_TEST_TMPDIR/linux-0.1/file"
	tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/linux-0.1.tar.xz" linux-0.1
	sum=$(sha256sum "$BATS_TEST_TMPDIR/linux-0.1.tar.xz")
	url=file://$BATS_TEST_TMPDIR/linux-0.1.tar.xz
}

@test "a tarball with the checksum that BASE has" {
	tarball
	write_base "$series" "TARBALL_URL=$url" "TARBALL_SHA256=${sum%% *}"
	run -0 --separate-stderr "$scripts/get-base" --series "$series"
	[ "${lines[2]}" = "linux-0.1.tar.xz (release tarball)" ]
	[ "$(git -C "${lines[0]}" show "${lines[1]}:file")" = text ]
}

@test "a tarball whose checksum BASE does not have" {
	tarball
	write_base "$series" "TARBALL_URL=$url" TARBALL_SHA256=0
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"wrong checksum of linux-0.1.tar.xz"* ]]
}

@test "one commit of a git remote" {
	git -C "$clone" config uploadpack.allowAnySHA1InWant true
	commit=$(git -C "$clone" rev-parse v0.1)
	write_base "$series" "GIT_URL=file://$clone" "COMMIT=$commit"
	run -0 --separate-stderr "$scripts/get-base" --series "$series"
	[ "${lines[1]}" = "$commit" ]
	[ "$(git -C "${lines[0]}" rev-list --count --all)" -eq 1 ]
}

@test "garbage instead of a tarball" {
	# shellcheck disable=SC2016 # the other shell expands this
	run -1 bash -c 'head -c 4096 /dev/zero | tr "\0" x | "$scripts/import-tar" a "0 +0000" 2>&1 >/dev/null'
	[[ $output = "import-tar: standard input is no tarball: "* ]]
}
