#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0

setup() {
	# shellcheck source=common.bash
	. "$BATS_TEST_DIRNAME/common.bash"
	cd -- "$BATS_TEST_TMPDIR" || return
}

# give PAGE..., take PAGE...: the messages of a balloon, as QEMU traces them
give() {
	message 0 "$@"
}

take() {
	message 1 "$@"
}

message() {
	echo "virtio_queue_notify vdev 0xb n $1 vq 0xd$1"
	shift
	printf 'virtio_balloon_handle_output section name: pc.ram gpa: %s\n' "$@"
}

# says PAGES: the driver tells the size of its balloon
says() {
	echo "virtio_balloon_set_config actual: $1 oldactual: 7"
}

reset() {
	echo "virtio_set_status vdev $1 val 0"
}

# ledger KEY VALUE...: what the ledger says
ledger() {
	run -0 "$scripts/ledger.py" <trace
	while [ $# -gt 0 ]; do
		[[ $output = *"\"$1\": $2"[,\}]* ]]
		shift 2
	done
}

@test "pages are given, migrate and are taken back" {
	{
		give 0x1000 0x2000
		says 2
		give 0x3000
		take 0x1000
		take 0x2000 0x3000
		says 0
	} >trace
	ledger given 3 taken 3 left 0 ahead 0 behind 0 violations 0
}

@test "the driver speaks in the middle of a migration" {
	{
		give 0x1000
		give 0x3000
		says 1
		take 0x1000
		says 1
	} >trace
	ledger left 1 ahead 1 behind 0 violations 0
}

@test "a migration takes the old page back first" {
	{
		give 0x1000
		take 0x1000
		says 1
		give 0x3000
	} >trace
	ledger ahead 0 behind 1 violations 0
}

@test "a migration takes the old page back first, and the driver speaks later" {
	{
		give 0x1000 0x2000
		says 2
		take 0x1000
		give 0x3000
		give 0x4000
		says 3
	} >trace
	ledger ahead 0 behind 1 violations 0
}

@test "the driver deflates, and inflates again" {
	{
		give 0x1000 0x2000
		says 2
		take 0x1000
		says 1
		give 0x3000
		take 0x2000
		give 0x4000
		says 2
		reset 0xb
		give 0x1000
		take 0x1000
		says 0
	} >trace
	ledger ahead 0 behind 0 violations 0
}

@test "a page is given twice" {
	give 0x1000 0x1000 >trace
	ledger left 1 violations 1 examples '["page 0x1000 was given twice"]'
}

@test "a page is taken back that was not given" {
	take 0x1000 >trace
	ledger left 0 violations 1
}

@test "a page is named on a queue that is not for pages" {
	message 2 0x1000 >trace
	ledger given 0 violations 1
}

@test "a page that the machine does not have" {
	echo "virtio_balloon_bad_addr 0xffffffff000" >trace
	ledger violations 1
}

@test "a reset with pages in the balloon" {
	{
		give 0x1000
		reset 0xb
	} >trace
	ledger left 0 resets 1 at_reset 1 violations 0
}

@test "a reset of an empty balloon, and of another device" {
	{
		reset 0xb
		give 0x1000
		reset 0xc
		take 0x1000
		reset 0xb
		reset 0xb
	} >trace
	ledger left 0 resets 1 at_reset 0 violations 0
}

@test "what other devices do" {
	{
		give 0x1000
		echo "virtio_queue_notify vdev 0xc n 1 vq 0xe"
		take 0x1000
	} >trace
	ledger left 0 violations 0
}

@test "nothing at all" {
	: >trace
	ledger given 0 left 0 violations 0
}
