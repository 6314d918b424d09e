# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the shell scripts share. To be sourced.

# The clang that is used in addition to gcc.
# shellcheck disable=SC2034 # used by the scripts that source this file
readonly clang=clang-19

# An error inside $(...) is one.
shopt -s inherit_errexit

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this file
readonly top scripts=$top/scripts

# What tools say is looked at, so it has to be in one language.
export LC_ALL=C.UTF-8

# A child that dies of the same interrupt is no failure to be told or passed over.
trap 'exit 130' INT
# A script that is killed without its child only ends after that child: no make may go
# on in a tree that the trap for EXIT, or the next run, is about to change.
trap 'exit 143' TERM
trap 'exit 129' HUP

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

# usage: the header comment of the program, which every program has
usage() {
	sed -n -e '1,/^# SPDX/d' -e '/^#/!q' -e 's/^# \{0,1\}//p' -- "$0"
}

# arguments MINIMUM MAXIMUM ARGUMENT...: sets series to the value of --series DIR, by
# default the root, and args to the other arguments, whose number has to be between MINIMUM
# and MAXIMUM.
# shellcheck disable=SC2034 # used by the scripts that source this file
arguments() {
	local minimum=$1 maximum=$2
	shift 2
	series=$top args=()
	while [ $# -gt 0 ]; do
		case $1 in
		--series)
			[ -n "${2:-}" ] || die "--series needs a value"
			series=$2
			shift
			;;
		-*) die "there is no option $1" "see ${0##*/} --help" ;;
		*) args+=("$1") ;;
		esac
		shift
	done
	[[ ${#args[@]} -ge $minimum && ${#args[@]} -le $maximum ]] || {
		usage >&2
		exit 2
	}
}

# use_cache: sets cache to the directory that survives between runs, which may share it
use_cache() {
	[ -z "${cache:-}" ] || return 0
	cache=$(realpath --canonicalize-missing -- \
		"${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/balloon-series")
	[[ $cache != *[[:space:]:]* ]] || die "the kernel cannot be built in $cache" \
		"set XDG_CACHE_HOME to a directory without blanks and colons in its name"
	[[ -d $cache && -w $cache ]] || mkdir -p -- "$cache" ||
		die "cannot create the cache directory $cache" \
			"set XDG_CACHE_HOME to a directory that can be written"
}

# new_run_dir [DIRECTORY]: makes a directory for a run: the one named, or one in the
# cache. This shell and its children hold the latter, and directories of old runs there
# that nobody holds are removed. Sets run_dir.
new_run_dir() {
	local old
	if [ -n "${1:-}" ]; then
		mkdir -p -- "$1" || die "cannot create $1" "the reason is above"
		run_dir=$(realpath -- "$1")
		return
	fi
	use_cache
	need flock
	mkdir -p -- "$cache/runs"
	run_dir=$(mktemp -d -- "$cache/runs/$(date +%Y%m%d-%H%M%S)-XXXXXX")
	exec 8>"$run_dir/lock"
	flock 8
	# Their names are in the order of time.
	find "$cache/runs" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n +21 |
		while read -r old; do
			(flock --nonblock 7 && rm -rf -- "$old") 7>"$old/lock" || true
		done
}

# lock FILE WHAT: until unlock, or the end of this shell and what it started
lock() {
	need flock
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

# need TOOL...: never a quiet pass because a tool is missing
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

# What BASE can say: ON names another series, all from VERSION on describe a release.
readonly base_keys=(REROLL ON VERSION TAG COMMIT RELEASED PACKAGE PACKAGE_VERSION
	PACKAGE_FILE PACKAGE_SHA256 TARBALL_URL TARBALL_SHA256 GIT_URL)

# read_base DIRECTORY: sets what BASE says there, and what it does not say to nothing
read_base() {
	local file=$1/BASE line key number=0
	[ -r "$file" ] || die "$1 holds no series: there is no BASE"
	for key in "${base_keys[@]}"; do
		printf -v "$key" ''
	done
	while read -r line || [ -n "$line" ]; do
		number=$((number + 1))
		[[ -n $line && $line != \#* ]] || continue
		[[ $line =~ ^([A-Z0-9_]+)=([A-Za-z0-9_.,:/~+-]*)$ ]] ||
			die "line $number of $file is not NAME=VALUE: $line" "BASE is not a script"
		key=${BASH_REMATCH[1]}
		[[ " ${base_keys[*]} " = *" $key "* ]] ||
			die "line $number of $file has the unknown name $key" \
				"known names: ${base_keys[*]}"
		printf -v "$key" %s "${BASH_REMATCH[2]}"
	done <"$file"
	[ -n "$ON" ] || for key in VERSION TAG RELEASED; do
		[ -n "${!key}" ] || die "$file does not say $key" \
			"name a release, or another series with ON=DIRECTORY"
	done
}

# read_stack DIRECTORY: sets stack to the series that this one stands on, the lowest
# first, and this one, and what BASE says about the release below all of them
read_stack() {
	local dir reroll
	dir=$(realpath -- "$1")
	read_base "$dir"
	reroll=$REROLL stack=("$dir")
	while [ -n "$ON" ]; do
		dir=$(realpath --canonicalize-missing -- "$dir/$ON")
		[[ " ${stack[*]} " != *" $dir "* ]] || die "$1 stands on itself: ${stack[*]}"
		stack=("$dir" "${stack[@]}")
		read_base "$dir"
	done
	REROLL=$reroll
}

# stand: sets base to the commit of the repository that the series stands on, from the
# release below the stack
stand() {
	local dir
	base=$release
	for dir in "${stack[@]:0:${#stack[@]}-1}"; do
		base=$("$scripts/apply-series" --series "$dir" "$repository" "$base")
	done
}

# find_release: sets release to the commit of the release in the repository of a user,
# which has its tag, or what get-base made of it.
find_release() {
	release=$(git -C "$repository" rev-parse --verify --quiet "$TAG^{commit}") ||
		release=$(git -C "$repository" for-each-ref --format='%(objectname) %(subject)' |
			awk -v package="$PACKAGE $PACKAGE_VERSION " -v tarball="${TARBALL_URL##*/} " '
				{ subject = substr($0, index($0, " ") + 1) }
				index(subject, package) == 1 || index(subject, tarball) == 1 {
					if (!found++) print $1 }')
	[ -n "$release" ] || die "$repository does not have $TAG" \
		"fetch it there, or what scripts/get-base obtains"
}

# locate_base DIRECTORY: obtains what a series stands on. Sets the repository, the
# commit release, what it is, the commit base, which is another one if the series
# stands on a series, and the directory tree, where it is checked out and built. Each
# series has a tree of its own.
# shellcheck disable=SC2034 # used by the scripts that source this file
locate_base() {
	local found
	read_stack "$1"
	export SERIES=${stack[-1]}
	use_cache
	found=$("$scripts/get-base" --series "$SERIES")
	{ read -r repository; read -r release; read -r base_name; } <<<"$found"
	stand
	use_tree "$release"
}

# locate_commit DIRECTORY REVISION: the same of a commit of the clone in LINUX=, which is
# tested as it is with the scenarios of the series. Sets the repository, the commit tip,
# what it is, and the directory tree.
# shellcheck disable=SC2034 # used by the scripts that source this file
locate_commit() {
	local found
	read_stack "$1"
	export SERIES=${stack[-1]}
	use_cache
	found=$("$scripts/get-base" --series "$SERIES" "$2")
	{ read -r repository; read -r tip; read -r base_name; } <<<"$found"
	use_tree "any commit"
}

# use_tree OF_WHAT: sets the directory tree
use_tree() {
	tree=$cache/trees/$(printf '%s %s%s' "$repository" "$1" "${SERIES#"$top"}" |
		sha256sum | cut -c 1-12)
}

# locate_series DIRECTORY: also applies the series. Sets the commit tip.
# shellcheck disable=SC2034 # used by the scripts that source this file
locate_series() {
	locate_base "$1"
	tip=$("$scripts/apply-series" --series "$SERIES" "$repository" "$base")
}

# places NAME: the files of that name of the series in SERIES, of what it stands on,
# and of the root, the nearest first
places() {
	local i
	read_stack "${SERIES:-$top}"
	for ((i = ${#stack[@]} - 1; i >= 0; i--)); do
		[ ! -e "${stack[i]}/$1" ] || printf '%s\n' "${stack[i]}/$1"
	done
	[[ ${stack[0]} = "$top" || ! -e $top/$1 ]] || printf '%s\n' "$top/$1"
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
	# What has this name in the cache is ours, also if it was made before there were marks.
	[ ! -e "$tree/linux" ] || : >>"$tree/linux.made-by-checkout-tree"
}

# read_build NAME[+DEBUG]: sets arch, targets and fragments as kconfig-fragments/builds has
# them, that of the series before the shared one, and CLANG as kernel_make wants it. DEBUG is
# one of kconfig-fragments/debug/, whose fragment goes over the others.
# shellcheck disable=SC2034 # used by the scripts that source this file
read_build() {
	local name found line fragment inner made_of="${made_of:-} $1"
	found=$(places kconfig-fragments/builds | xargs -d '\n' cat --)
	export CLANG=
	while read -r name arch targets line; do
		[ "$name" = "${1%%+*}" ] || continue
		IFS=, read -r -a targets <<<"$targets"
		fragments=()
		read -r -a line <<<"$line"
		for fragment in "${line[@]}"; do
			[[ " $made_of " != *" $fragment "* ]] ||
				die "kconfig-fragments/builds makes $fragment of itself"
			inner=$fragment
			[[ $fragment = *.config* ]] ||
				inner=$(read_build "$fragment" && echo "${fragments[@]}") || exit
			read -r -a inner <<<"$inner"
			fragments+=("${inner[@]}")
		done
		[[ $1 != *+* ]] || fragments+=("debug/${1#*+}.config")
		[[ $1 != *+clang ]] || CLANG=$clang
		return
	done <<<"$found"
	die "kconfig-fragments/builds has no build called $1"
}

# read_fragments SOURCE FRAGMENT...: sets fragment_files, where a later one goes over an
# earlier one. A fragment with a question mark is left out if the source does not know
# all of its symbols.
# shellcheck disable=SC2034 # used by the scripts that source this file
read_fragments() {
	local source=$1 name found fragment
	shift
	fragment_files=()
	for name; do
		found=$(places "kconfig-fragments/${name%\?}" | tac)
		[ -n "$found" ] || die "kconfig-fragments has no ${name%\?}"
		[[ $name != *\? ]] || knows_symbols "$source" "${found##*$'\n'}" || continue
		while read -r fragment; do
			fragment_files+=("$fragment")
		done <<<"$found"
	done
}

# request_config SOURCE DIRECTORY: makes requested.config there of fragment_files
request_config() {
	(cd -- "$2" && KCONFIG_CONFIG=requested.config \
		"$1/scripts/kconfig/merge_config.sh" -m -Q "${fragment_files[@]}")
}

# knows_symbols SOURCE FRAGMENT: whether the source has all symbols that it turns on
knows_symbols() {
	[ -z "$(comm -23 \
		<(sed -n -E 's/^CONFIG_([A-Za-z0-9_]+)=.*/\1/p' -- "$2" | sort -u) \
		<(find "$1/" -name '.?*' -prune -o -name '*Kconfig*' -type f -print0 |
			xargs -0 grep -hE '^[[:space:]]*(menu)?config ' |
			awk '{ print $2 }' | sort -u))" ]
}

# jobs_that_fit: how many guests at a time the CPUs allow; each has two
jobs_that_fit() {
	local fit=$(($(nproc) / 2))
	echo $((fit > 0 ? fit : 1))
}

# boot_all JOBS [OPTION]...: boots what it reads, lines of a scenario, a kernel, an
# initramfs and a run directory, JOBS at a time. When one has ended, it calls the
# caller's function booted with the directory, the status and the seconds. If more guests
# run than fit, each gets more time. What boot prints goes to a file beside the
# directory, and is shown if guests run one at a time.
# The guests are children of this shell itself, which they do not outlive.
# If there is a file $hosts, the hosts that it lists do the same, each as its CPUs allow.
boot_all() {
	local jobs=$1 fit scenario kernel initramfs dir status seconds out
	local -A directory_of=() start_of=()
	shift
	if [ -n "${hosts:-}" ]; then
		while read -r dir status seconds; do
			booted "$dir" "$status" "$seconds"
		done < <(exec setpriv --pdeathsig TERM \
			"$scripts/boot-on-hosts" "$hosts" "$run_dir/hosts.log" "$@")
		return
	fi
	fit=$(jobs_that_fit)
	set -- --limit-factor $(((jobs + fit - 1) / fit)) "$@"
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
	# Once in thousands of times, wait -n of bash 5.2 says that no child is left, as it
	# missed the end of the last one. wait still knows how that one ended.
	if [ -z "${pid:-}" ]; then
		pid=${!directory_of[*]}
		pid=${pid%% *} status=0
		wait "$pid" || status=$?
	fi
	booted "${directory_of[$pid]}" "$status" $((SECONDS - start_of[$pid]))
	unset "directory_of[$pid]"
}

# read_logins FILE: sets logins to the hosts that a user lists, a login on each line
read_logins() {
	local login
	[ -r "$1" ] || die "the list of hosts $1 cannot be read" "name a file with a login for ssh on each line"
	mapfile -t logins < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' -- "$1" | sort -u)
	[ ${#logins[@]} -gt 0 ] || die "$1 lists no host" "it needs a login for ssh on each line"
	for login in "${logins[@]}"; do
		[[ $login =~ ^[A-Za-z0-9_][A-Za-z0-9_.@-]*$ ]] || die "$1 has a line that is no login: $login" \
			"write HOST or USER@HOST; ports and options belong into ~/.ssh/config"
	done
}

# find_hosts FILE BUILDS: makes a file of those that can boot all of the builds, which stand
# in one word, and sets hosts to its name. From then on, boot_all boots there.
find_hosts() {
	local build qemus=()
	for build in $2; do
		read_build "$build"
		qemus+=("$(qemu_of "$arch")")
	done
	"$scripts/check-hosts" "$1" "${qemus[@]}" >"$run_dir/hosts"
	hosts=$run_dir/hosts
}

# GNU parallel on hosts, whatever the user's profile says. One that does not answer any
# more is given up, and nobody is asked for a password.
# shellcheck disable=SC2034 # used by the scripts that source this file
readonly on_hosts=(parallel --plain --ssh
	"ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15")

# wait_for_all PID...: for children of this shell, so that none of them goes on when one
# has failed
wait_for_all() {
	local pid status=0
	for pid; do
		wait "$pid" || status=1
	done
	return "$status"
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

# qemu_of ARCH: what boots its kernels
qemu_of() {
	case $1 in
	powerpc) echo qemu-system-ppc64 ;;
	*) echo "qemu-system-$1" ;;
	esac
}

# python_of TOOL: the interpreter that has the modules of a tool written in Python,
# which need not be the first python3 of the PATH
python_of() {
	sed -n -e '1s/^#! *//p' -- "$(command -v -- "$1")"
}

# kernel_make ARCH SOURCE OUTPUT ARGUMENT...
# The compiler is gcc, or the clang that CLANG= names, such as clang-19. An empty
# LOCALVERSION keeps the commit out of the release, which would rebuild what a checkout
# did not touch. Fixed names and dates let ccache serve every tree. So do names that are
# relative to where make runs, which ccache puts in place of the absolute ones; the kernel's
# own map of absolute names then matches nothing, and a relative one does its work.
kernel_make() {
	local arch=$1 source=$2 output=$3 prefix toolchain relative
	shift 3
	relative=$(realpath --relative-to="$output" -- "$source")
	prefix=$(cross "$arch")
	toolchain=(CROSS_COMPILE="$prefix" CC="ccache ${prefix}gcc")
	[ -z "${CLANG:-}" ] || toolchain=(LLVM="${CLANG#clang}" CC="ccache $CLANG")
	CCACHE_BASEDIR=$(dirname -- "$(realpath -- "$source")") CCACHE_ABSSTDERR=true \
		CCACHE_IGNOREOPTIONS='-fmacro-prefix-map=*' \
		make -C "$source" O="$output" ARCH="$arch" "${toolchain[@]}" \
		HOSTCC="ccache gcc" LOCALVERSION= \
		KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_USER=series \
		KBUILD_BUILD_HOST=balloon KCPPFLAGS="-fmacro-prefix-map=$relative/=" \
		--no-print-directory -j"$(nproc)" "$@"
}

[ "${1:-}" != --help ] || {
	usage
	exit
}
# A gate takes the directory of a series, by default the root.
if [[ $0 = */gates/* ]]; then
	arguments 0 1 "$@"
	[ ${#args[@]} -eq 0 ] || series=${args[0]}
	set -- "$(realpath -- "$series")"
fi
