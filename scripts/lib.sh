# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the shell scripts share. To be sourced.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this file
readonly top scripts=$top/scripts

# What tools say is looked at, so it has to be in one language.
export LC_ALL=C.UTF-8

# A child that dies of the same interrupt is no failure to be told or passed over.
trap 'exit 130' INT

say() {
	printf '%s\n' "$*" >&2
}

# die WHAT [WAY_OUT]...
die() {
	printf '\n%s: %s\n' "${0##*/}" "$1" >&2
	shift
	[ $# -eq 0 ] || printf '  %s\n' "$@" >&2
	exit 1
}

# step WHAT COMMAND...: says what is being done, and how long it took
step() {
	local what=$1 start=$SECONDS
	shift
	say "== $what"
	"$@"
	say "== $what: $((SECONDS - start)) s"
}

# The cache survives between runs, and runs may share it.
cache_dir() {
	local dir=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/balloon-series

	dir=$(realpath --canonicalize-missing -- "$dir")
	[[ $dir != *[[:space:]:]* ]] || die "the kernel cannot be built in $dir" \
		"set XDG_CACHE_HOME to a directory without blanks and colons in its name"
	mkdir -p -- "$dir" || die "cannot create the cache directory $dir" \
		"set XDG_CACHE_HOME to a directory that can be written"
	printf '%s\n' "$dir"
}

# new_run_dir: makes a directory for a run, and removes those of old runs
new_run_dir() {
	local runs dir
	runs=$(cache_dir)/runs
	dir=$runs/$(date +%Y%m%d-%H%M%S)-$$
	mkdir -p -- "$dir"
	# Their names are in the order of time.
	(cd -- "$runs" && printf '%s\n' * | sort -r | tail -n +21 | xargs -r rm -rf --)
	printf '%s\n' "$dir"
}

# lock FILE WHAT: until unlock, or the end of this shell and what it started
lock() {
	exec 9>"$1"
	flock --nonblock 9 && return
	say "waiting for another run that uses $2"
	flock 9
}

unlock() {
	exec 9>&-
}

# need_space DIRECTORY MEGABYTES WHAT
need_space() {
	local free
	free=$(df --output=avail -BM -- "$1" | tail -n 1)
	free=${free//[!0-9]/}
	[ "$free" -ge "$2" ] || die "$3 needs $2 MB in $1, which has $free MB free" \
		"make room, or set XDG_CACHE_HOME to a directory on a larger disk"
}

# need TOOL...: never a quiet pass for want of a tool
need() {
	local tool
	for tool; do
		command -v -- "$tool" >/dev/null ||
			die "$tool is missing: it is in the package $(
				awk -v t="$tool" '$2 == t { print $3; exit }' \
					"$scripts/packages")"
	done
}

# need_series DIRECTORY: a series that is not there is not an empty one
need_series() {
	[ -r "$1/series" ] || die "$1 holds no series: there is no file series"
}

# read_series DIRECTORY: the names of its patches, in order
read_series() {
	sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' -- "$1/series"
}

# locate_base DIRECTORY: obtains the base of a series. Sets the repository, the
# commit base, what it is, and the directory tree, where it is checked out and
# built.
# shellcheck disable=SC2034 # used by the scripts that source this file
locate_base() {
	local found
	found=$("$scripts/get-base" "$1")
	{ read -r repository; read -r base; read -r base_name; } <<<"$found"
	tree=$(cache_dir)/trees/$(printf '%s %s' "$repository" "$base" | sha256sum | cut -c 1-12)
}

# locate_series DIRECTORY: also applies the series. Sets the commit tip.
# shellcheck disable=SC2034 # used by the scripts that source this file
locate_series() {
	locate_base "$1"
	tip=$("$scripts/apply-series" "$repository" "$base" "$1")
}

# touched PATHSPEC...: the files that the series touches and the tree has
touched() {
	local file
	git -C "$repository" diff --name-only --diff-filter=MA "$base" "$tip" -- "$@" |
		while read -r file; do
			[ ! -e "$tree/linux/$file" ] || printf '%s\n' "$file"
		done
}

lock_tree() {
	mkdir -p -- "$tree"
	lock "$tree/lock" "the kernel tree $tree"
}

# read_build NAME: sets arch, targets and fragments as kconfig-fragments/builds
# has them.
# shellcheck disable=SC2034 # used by the scripts that source this file
read_build() {
	local name found
	while read -r name arch targets fragments; do
		[ "$name" = "$1" ] || continue
		IFS=, read -r -a targets <<<"$targets"
		read -r -a fragments <<<"$fragments"
		return
	done <"$top/kconfig-fragments/builds"
	die "kconfig-fragments/builds has no build called $1"
}

# boot_all JOBS [OPTION]...: boots what it reads, lines of a scenario, a kernel, an
# initramfs and a run directory, so many at a time. When one has ended, it calls the
# caller's function booted with the directory, the status and the seconds. What boot
# prints goes to a file beside the directory, and is shown if there is one at a time.
# The guests are children of this shell itself, which they do not outlive.
boot_all() {
	local jobs=$1 scenario kernel initramfs dir out
	local -A directory_of=() start_of=()
	shift
	while read -r scenario kernel initramfs dir; do
		[ ${#directory_of[@]} -lt "$jobs" ] || wait_for_boot
		if [ "$jobs" -eq 1 ]; then
			exec {out}> >(tee -- "$dir.log")
		else
			exec {out}>"$dir.log"
		fi
		"$scripts/boot" --scenario "$scenario" --kernel "$kernel" \
			--initramfs "$initramfs" --run-dir "$dir" "$@" >&"$out" &
		exec {out}>&-
		directory_of[$!]=$dir start_of[$!]=$SECONDS
	done
	while [ ${#directory_of[@]} -gt 0 ]; do
		wait_for_boot
	done
}

# wait_for_boot: until one of those that boot_all has started ends
wait_for_boot() {
	local pid status=0
	wait -n -p pid "${!directory_of[@]}" || status=$?
	booted "${directory_of[$pid]}" "$status" $((SECONDS - start_of[$pid]))
	unset "directory_of[$pid]"
}

# Git, whatever the user's configuration says about line ends, hooks and
# signatures.
plain_git() {
	git -c core.autocrlf=false -c core.hooksPath=/dev/null \
		-c commit.gpgSign=false -c am.threeWay=false \
		-c apply.whitespace=nowarn -c apply.ignoreWhitespace=no \
		-c advice.detachedHead=false -c gc.auto=0 "$@"
}

# cross ARCH: the prefix of its compiler
cross() {
	case $1 in
	"$(uname -m)") ;;
	powerpc) echo powerpc64le-linux-gnu- ;;
	x86_64) echo x86_64-linux-gnu- ;;
	*) die "no compiler is known for $1" ;;
	esac
}

# kernel_make ARCH SOURCE OUTPUT ARGUMENT...
# Fixed names and dates let ccache serve every tree, and an empty LOCALVERSION
# keeps the commit out of the release, which would rebuild what a checkout did
# not touch.
kernel_make() {
	local arch=$1 source=$2 output=$3 prefix
	shift 3
	prefix=$(cross "$arch")
	make -C "$source" O="$output" ARCH="$arch" CROSS_COMPILE="$prefix" \
		CC="ccache ${prefix}gcc" HOSTCC="ccache gcc" LOCALVERSION= \
		KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_USER=series \
		KBUILD_BUILD_HOST=balloon --no-print-directory -j"$(nproc)" "$@"
}
