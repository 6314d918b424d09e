# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the tests of the scripts share.

bats_require_minimum_version 1.5.0

scripts=$BATS_TEST_DIRNAME/../../scripts
export scripts XDG_CACHE_HOME=$BATS_TEST_TMPDIR/cache
unset LINUX

# write_base DIRECTORY LINE...: of a release that is made up, without a network
write_base() {
	printf '%s\n' VERSION=0.1 TAG=v0.1 RELEASED=2020-01-01 "${@:2}" >"$1/BASE"
}

# A clone that has nothing but a file and a tag, and a series of one patch.
make_clone_and_series() {
	clone=$BATS_TEST_TMPDIR/clone series=$BATS_TEST_TMPDIR/series
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@localhost
	export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@localhost
	git init --quiet "$clone"
	seq 20 >"$clone/file"
	mkdir "$clone/lib"
	: >"$clone/lib/old"
	git -C "$clone" add file lib
	git -C "$clone" commit --quiet --message=base
	git -C "$clone" tag v0.1
	sed -i 's/^10$/ten/' "$clone/file"
	git -C "$clone" commit --quiet --all --message='numbers: spell ten'
	mkdir "$series"
	write_base "$series"
	git -C "$clone" format-patch --quiet -o "$series/patches" v0.1
	ls "$series/patches" >"$series/series"
	git -C "$clone" reset --quiet --hard v0.1
}

# booted KERNEL VERDICT [REASON]: a run of a scenario that expects a lost page without the
# series, and of its two tests
booted() {
	mkdir -p "$1/cmm-churn"
	echo "$1 cmm-churn" >>plan
	printf '%s\n' "$2" "${@:3}" >"$1/cmm-churn/verdict"
	cat >"$1/cmm-churn/outcome.json" <<-END
		{"scenario": {"unpatched": {"verdict": "fail", "signature": "page .* lost"}},
		 "seconds": 12.3, "accelerator": "tcg", "qemu": "QEMU 7.2"}
	END
	echo '{"cmm": {"tests": [["churn", "PASS"], ["empty", "SKIP"]]}}' >"$1/cmm-churn/tests.json"
	printf '%s\n' "before balloon_migrate 1" "after balloon_migrate 8" >"$1/cmm-churn/channel.log"
	echo "# figure refused 17" >"$1/cmm-churn/ktap.log"
}

# minimal_scenario: what scripts/scenarios.py accepts
minimal_scenario() {
	printf '%s\n' 'build = "pc"' 'qemu = ["qemu"]' 'append = ""' 'kept_pages = 0' \
		'limit = { kvm = 1, tcg = 1 }' 'tests = ["a"]'
}
