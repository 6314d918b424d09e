#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

# Series in directories, one on another, in a repository that is made up.

# Each test has variables of its own.
# shellcheck disable=SC2030,SC2031

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	make_clone_and_series
	write_base "$series" "COMMIT=$(git -C "$clone" rev-parse v0.1)"
	export LINUX=$clone
}

# describe BRANCH: as scripts/make-series needs it
describe() {
	git -C "$clone" config "branch.$1.description" $'numbers: words\n\nWords are better.'
}

# make_second: a series in second/ on the one in series/
make_second() {
	second=$BATS_TEST_TMPDIR/second
	mkdir "$second"
	echo ON=../series >"$second/BASE"
	git -C "$clone" switch --quiet --create second \
		"$("$scripts/apply-series" --series "$series" "$clone" v0.1)"
	sed -i 's/^11$/eleven/' "$clone/file"
	echo text >"$clone/lib/new"
	git -C "$clone" add lib
	git -C "$clone" commit --quiet --all --message='numbers: spell eleven'
	git -C "$clone" switch --quiet --detach v0.1
	describe second
	run -0 "$scripts/make-series" --series "$second" "$clone" second
}

# located DIRECTORY: what lib.sh finds
located() {
	# shellcheck disable=SC2016 # the other shell expands this
	bash -c 'set -euo pipefail; . "$scripts/lib.sh"; locate_series "$1"
		printf "%s\n" "$release" "$base" "$tip" "$repository" "$tree"' located "$1"
}

@test "a series that stands on another one has its own patches alone" {
	make_second
	[ "$(cat "$second/series")" = 0001-numbers-spell-eleven.patch ]
	[ "$(cat "$second/selftests/lib/new")" = text ]
	grep -q '^prerequisite-patch-id: ' "$second/cover-letter.txt"
	run -0 located "$second"
	[ "${lines[0]}" = "$(git -C "$clone" rev-parse v0.1)" ]
	[ "${lines[1]}" = "$(git -C "$clone" rev-parse second^)" ]
	[ "$(git -C "${lines[3]}" show "${lines[2]}:file" | sed -n 10,11p | xargs)" = "ten eleven" ]
}

@test "a branch of it and the way back" {
	make_second
	run -0 "$scripts/make-branch" --series "$second" "$clone" again
	[ "$(git -C "$clone" rev-list --count v0.1..again)" -eq 2 ]
	cp -r "$second" "$second-old"
	run -0 "$scripts/make-series" --series "$second" "$clone" again
	diff -r "$second-old" "$second"
}

@test "two series have two trees, and the same series one" {
	make_second
	first=$(located "$series" | tail -n 1)
	[ "$(located "$second" | tail -n 1)" != "$first" ]
	[ "$(cd "$series" && located . | tail -n 1)" = "$first" ]
}

@test "a series that stands on itself" {
	mkdir "$series/inner"
	echo ON=.. >"$series/inner/BASE"
	echo ON=inner >"$series/BASE"
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"stands on itself"* ]]
}

@test "a series on a directory that holds none" {
	echo ON=../nothing >"$series/BASE"
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"/nothing holds no series: there is no BASE"* ]]
}

@test "BASE is no script" {
	# shellcheck disable=SC2016 # it must not be expanded
	echo 'TAG=$(touch '"$BATS_TEST_TMPDIR/touched"')' >>"$series/BASE"
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"line 5 of $series/BASE is not NAME=VALUE"* ]]
	[ ! -e "$BATS_TEST_TMPDIR/touched" ]
}

@test "BASE is empty" {
	: >"$series/BASE"
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"$series/BASE does not say VERSION"* ]]
}

@test "BASE has a name that nothing reads" {
	echo PATH=/nowhere >>"$series/BASE"
	run -1 "$scripts/get-base" --series "$series"
	[[ $output = *"has the unknown name PATH"* ]]
}

@test "a relative directory, and nothing else in the clone" {
	git -C "$clone" switch --quiet --create work
	git -C "$clone" am --quiet "$series"/patches/*
	describe work
	cd -- "$BATS_TEST_TMPDIR" || return
	run -0 "$scripts/make-series" --series series clone work
	[ "$(cat series/series)" = 0001-numbers-spell-ten.patch ]
	[ -z "$(git -C "$clone" status --porcelain)" ]
	[ -z "$(find . -name 'new.*')" ]
}

@test "make-branch leaves no branch when it fails" {
	run -1 "$scripts/make-branch" --series "$series" "$clone" fresh
	[[ $output = *"cover-letter.txt cannot be read"* ]]
	: >"$series/cover-letter.txt"
	run -1 "$scripts/make-branch" --series "$series" "$clone" fresh
	[[ $output = *"has no subject"* ]]
	printf '%s\n' 'Subject: [PATCH 0/1] a' '' 'text' >"$series/cover-letter.txt"
	: >"$clone/.git/config.lock"
	run -1 "$scripts/make-branch" --series "$series" "$clone" fresh
	rm "$clone/.git/config.lock"
	run -1 git -C "$clone" rev-parse --verify --quiet refs/heads/fresh
}

@test "a fragment of the series goes over the shared one, and a build before it" {
	mkdir "$series/kconfig-fragments"
	echo '# CONFIG_COMPACTION is not set' >"$series/kconfig-fragments/balloon.config"
	echo 'pc x86_64 mm/a.o balloon.config' >"$series/kconfig-fragments/builds"
	# shellcheck disable=SC2016 # the other shell expands this
	SERIES=$series run -0 bash -c 'set -euo pipefail; . "$scripts/lib.sh"
		places kconfig-fragments/balloon.config; read_build pc; echo "${targets[*]}"
		read_build off; echo "$arch"'
	[ "${lines[0]}" = "$series/kconfig-fragments/balloon.config" ]
	[ "$(realpath "${lines[1]}")" = "$(realpath "$scripts/../kconfig-fragments/balloon.config")" ]
	[ "${lines[2]}" = mm/a.o ]
	[ "${lines[3]}" = x86_64 ]
}

@test "a build stands for its fragments in another one, which may come first" {
	mkdir "$series/kconfig-fragments"
	printf '%s\n' 'more x86_64 vmlinux less b.config' 'less powerpc a.o a.config? c.config' \
		'one x86_64 a.o two' 'two x86_64 a.o a.config one' >"$series/kconfig-fragments/builds"
	# shellcheck disable=SC2016 # the other shell expands this
	SERIES=$series run -0 bash -c 'set -euo pipefail; . "$scripts/lib.sh"
		read_build more; echo "$arch ${targets[*]} ${fragments[*]}"'
	[ "$output" = "x86_64 vmlinux a.config? c.config b.config" ]
	# shellcheck disable=SC2016 # the other shell expands this
	SERIES=$series run -1 bash -c 'set -euo pipefail; . "$scripts/lib.sh"; read_build one'
	[[ $output = *"makes one of itself"* ]]
}

@test "a debug kernel is a build with one more fragment, and its compiler" {
	# shellcheck disable=SC2016 # the other shell expands this
	run -0 bash -c 'set -euo pipefail; . "$scripts/lib.sh"
		for name in off off+clang off+rt; do
			read_build "$name"
			echo "$arch ${fragments[-1]} CLANG=$CLANG"
		done'
	[ "${lines[0]}" = "x86_64 no-balloon-compaction.config CLANG=" ]
	[[ ${lines[1]} = "x86_64 debug/clang.config CLANG=clang-"* ]]
	[ "${lines[2]}" = "x86_64 debug/rt.config CLANG=" ]
}

# make_copy: of scripts/run, which builds and boots nothing
make_copy() {
	copy=$BATS_TEST_TMPDIR/copy
	mkdir -p "$copy/selftests/scenarios"
	cp -r -- "$scripts" "$scripts/../kconfig-fragments" "$scripts/../BASE" "$copy"
	minimal_scenario >"$copy/selftests/scenarios/one.toml"
	printf '%s\n' '[one.unpatched]' 'verdict = "crash"' >"$series/scenarios.toml"
	echo 'exit 0' >"$copy/scripts/install-packages"
	# shellcheck disable=SC2016 # the other shells expand these
	{
		printf '%s\n' 'mkdir -p "$3"; : >"$5"' 'cp "$2/file" "$3/vmlinux" && : >"$3/.config"' >"$copy/scripts/build-guest"
		# What is seen depends on the kernel: on the words in its file.
		printf '%s\n' 'mkdir -p "$8"' 'cp "$4" "$8/kernel"' \
			'PYTHONPATH=${0%/*} python3 -B -c "import json, scenarios, sys
arguments = sys.argv[1:]
series = next(a[9:] for a in arguments if a.startswith(\"--series=\"))
print(json.dumps({\"scenario\": scenarios.read(\"one\", series, \"--below\" in arguments)}))" "$@" >"$8/outcome.json"' \
			>"$copy/scripts/boot"
		printf '%s\n' 'grep -q ten "$1/kernel" && echo pass || echo crash' >"$copy/scripts/judge"
	}
	sed -i '1i #!/bin/bash' "$copy"/scripts/{install-packages,build-guest,boot,judge}
}

# run_both OPTION...: scripts/run for the series second/
run_both() {
	make_copy
	run -0 "$copy/scripts/run" --series "$second" --both "$@"
	[[ $output = *"verdict             pass" ]]
}

@test "unpatched is the release below the stack" {
	make_second
	run_both
	[[ $output = *"stands on           $series"* ]]
	[[ $output =~ one\ +pass\ .*\ crash ]]
}

@test "unpatched is what the series stands on, on request" {
	make_second
	run_both --below
	[[ $output =~ one\ +pass\ .*\ pass ]]
}

@test "two series at once" {
	make_second
	run_both
	"$copy/scripts/run" --series "$second" >"$BATS_TEST_TMPDIR/a" 2>&1 &
	run -0 "$copy/scripts/run" --series "$series"
	wait $!
	[ "$(tail -n 1 "$BATS_TEST_TMPDIR/a")" = "verdict             pass" ]
}

@test "a run in a directory of its own has all that it was made of" {
	make_second
	out=$BATS_TEST_TMPDIR/out
	run_both --output "$out"
	[ -z "$(find "$out" -type l)" ]
	for file in made-of results.json results.xml results.ktap \
		{patched,unpatched}/{commit,pc.kernel,pc.config,pc.initramfs,one/verdict}; do
		[ -e "$out/$file" ]
	done
	[[ $(cat "$out/patched/commit") = *" numbers: spell eleven" ]]
	[ ! -e "$XDG_CACHE_HOME/balloon-series/runs" ]
	run -2 "$copy/scripts/run" --series "$second" --output "$out"
	[[ $output = *"$out is not empty"* ]]
}

@test "a commit is tested as it is, and git bisect run understands the status" {
	make_second
	make_copy
	sed -i 's/^10$/ten/' "$clone/file"
	git -C "$clone" commit --quiet --all --message=good
	good=$(git -C "$clone" rev-parse HEAD)
	rm "$clone/file"
	git -C "$clone" commit --quiet --all --message="does not build"
	seq 20 >"$clone/file"
	git -C "$clone" add file
	git -C "$clone" commit --quiet --message=bad
	git -C "$clone" commit --quiet --allow-empty --message=later
	later=$(git -C "$clone" rev-parse HEAD)
	run -0 "$copy/scripts/run" --series "$series" --commit "$good"
	[[ $output = *"commit              $good of $clone: ${good:0:7}"*" good"* ]]
	[ "${lines[-1]}" = "verdict             pass" ]
	run -1 "$copy/scripts/run" --series "$series" --commit HEAD
	[ "${lines[-1]}" = "verdict             fail" ]
	run -125 "$copy/scripts/run" --series "$series" --commit HEAD~2
	[[ $output = *"verdict             not tested"* ]]
	run -125 "$copy/scripts/run" --series "$series" --commit nonsense
	[[ $output = *"does not have nonsense"* ]]
	run -2 "$copy/scripts/run" --series "$series" --commit HEAD --base
	[[ $output = *"--commit tests one kernel, --base names another"* ]]

	cd "$clone"
	git bisect start HEAD "$good" >/dev/null
	# shellcheck disable=SC2016 # the other shell expands this
	run git bisect run bash -c '"$1" --series "$2" --commit "$(git rev-parse HEAD)"' sh \
		"$copy/scripts/run" "$series"
	# It is that which does not build, or the next one.
	[[ $output = *"only 'skip'ped commits left"* ]]
	[ "$(git rev-parse refs/bisect/bad)" = "$(git rev-parse "$later^")" ]
}

@test "a kernel that somebody else has built" {
	make_second
	make_copy
	built=$BATS_TEST_TMPDIR/built
	mkdir -p "$built/scripts/kconfig"
	run -125 "$copy/scripts/run" --series "$series" --build "$built"
	[[ $output = *"$built has no vmlinux and .config"*"not tested"* ]]
	run -2 "$copy/scripts/run" --series "$series" --build "$built" --base
	[[ $output = *"--build tests one kernel, --base names another"* ]]

	echo ten >"$built/vmlinux"
	echo 'CONFIG_COMPACTION=y' >"$built/.config"
	# shellcheck disable=SC2016 # the other shells expand these
	printf '%s\n' '#!/bin/bash' 'cat "${@:3}" >"$KCONFIG_CONFIG"' >"$built/scripts/kconfig/merge_config.sh"
	# shellcheck disable=SC2016
	printf '%s\n' '#!/bin/bash' ': >"$6"' >"$copy/scripts/pack-guest"
	chmod +x "$built/scripts/kconfig/merge_config.sh"
	mkdir -p "$series/kconfig-fragments"
	echo 'pc x86_64 vmlinux one.config' >"$series/kconfig-fragments/builds"
	echo 'CONFIG_COMPACTION=y' >"$series/kconfig-fragments/one.config"
	before=$(find "$built" -newer "$copy/scripts/pack-guest")
	run -0 "$copy/scripts/run" --series "$series" --build "$built"
	[[ $output = *"build               $built"*"verdict             pass" ]]
	[ "$(find "$built" -newer "$copy/scripts/pack-guest")" = "$before" ]
	echo 'CONFIG_BALLOON=y' >>"$series/kconfig-fragments/one.config"
	run -125 "$copy/scripts/run" --series "$series" --build "$built"
	[[ $output = *"lacks what was requested"*CONFIG_BALLOON* ]]
}
