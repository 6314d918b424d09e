# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the tests of the scripts share.

bats_require_minimum_version 1.5.0

scripts=$BATS_TEST_DIRNAME/../../scripts
export scripts XDG_CACHE_HOME=$BATS_TEST_TMPDIR/cache
unset LINUX

# A clone that has nothing of the kernel but the tag, and a series of one patch.
make_clone_and_series() {
	clone=$BATS_TEST_TMPDIR/clone series=$BATS_TEST_TMPDIR/series
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost
	export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost
	git init --quiet "$clone"
	seq 20 >"$clone/file"
	git -C "$clone" add file
	git -C "$clone" commit --quiet --message=base
	git -C "$clone" tag v6.16
	sed -i 's/^10$/ten/' "$clone/file"
	git -C "$clone" commit --quiet --all --message='numbers: spell ten'
	mkdir "$series"
	cp "$scripts/../BASE" "$series"
	git -C "$clone" format-patch --quiet -o "$series/patches" v6.16
	ls "$series/patches" >"$series/series"
	git -C "$clone" reset --quiet --hard v6.16
}
