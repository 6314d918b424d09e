#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: ledger.py <TRACE

Print the ledger of QEMU's virtio balloon: the pages that a guest has given to it. For
scripts/boot, which reads the trace while the guest runs.

QEMU's trace tells which queue is about to be read, and each page that is named on
it: queue 0 gives pages to the host, queue 1 takes them back. It also tells what the
driver says about the balloon's size, and when it resets the device.
"""

import fcntl
import json
import os
import sys
import threading

EVENTS = ("virtio_balloon_handle_output", "virtio_balloon_bad_addr", "virtio_balloon_set_config",
          "virtio_queue_notify", "virtio_set_status")
INFLATE, DEFLATE = b"0", b"1"
MAX_EXAMPLES = 5
PIPE_SIZE = 1 << 20


class Ledger:
    """What is in the balloon, and what went wrong on the way there."""

    def __init__(self):
        self._pages = set()
        self._queue = self._device = self._balloon = None
        self._given = self._taken = self._resets = self._at_reset = self._violations = 0
        self._examples = []
        # How many pages the ledger had more, or less, than the driver said.
        self._ahead = self._behind = 0
        # What the driver said last, and the fewest pages since then.
        self._said = self._fewest = None

    def _violation(self, what):
        self._violations += 1
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(what)

    def _name(self, address):
        self._balloon = self._device
        if self._queue == INFLATE:
            self._given += 1
            if address in self._pages:
                self._violation(f"page {address:#x} was given twice")
            self._pages.add(address)
        elif self._queue == DEFLATE:
            self._taken += 1
            if address not in self._pages:
                self._violation(f"page {address:#x} was taken back and not given")
            self._pages.discard(address)
            if self._said is not None:
                self._fewest = min(self._fewest, len(self._pages))
        else:
            self._violation(f"page {address:#x} was named on queue {self._queue}")

    def _status(self, device, value):
        if device != self._balloon or value != b"0":
            return
        # QEMU tells of a reset more than once. The next one follows after a name.
        self._balloon = None
        self._resets += 1
        self._at_reset += len(self._pages)
        self._pages.clear()
        self._said = None

    def _size(self, said):
        now = len(self._pages)
        self._ahead = max(self._ahead, now - said)
        self._behind = max(self._behind, said - now)
        if self._said is not None:
            # In between, the driver went from the one size to the other.
            self._behind = max(self._behind, min(said, self._said) - self._fewest)
        self._said, self._fewest = said, now

    def read(self, line):
        """One line of the trace."""
        event, *words = line.split()
        if event == b"virtio_balloon_handle_output":
            self._name(int(words[-1], 16))
        elif event == b"virtio_queue_notify":
            self._device, self._queue = words[1], words[3]
        elif event == b"virtio_balloon_bad_addr":
            self._violation(f"no memory is at {words[-1].decode()}")
        elif event == b"virtio_balloon_set_config":
            self._size(int(words[1]))
        elif event == b"virtio_set_status":
            self._status(words[1], words[3])

    def result(self):
        return {"given": self._given, "taken": self._taken, "left": len(self._pages),
                "ahead": self._ahead, "behind": self._behind, "resets": self._resets,
                "at_reset": self._at_reset, "violations": self._violations,
                "examples": self._examples}


class Reader(threading.Thread):
    """Keeps a ledger of the trace that QEMU writes into a pipe."""

    def __init__(self):
        super().__init__(daemon=True)
        self._pipe, self.write_end = os.pipe()
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._ledger = Ledger()

    def options(self):
        """What QEMU has to be called with, and to inherit the write end."""
        traced = [word for event in EVENTS for word in ("-trace", event)]
        return [*traced, "-D", f"/dev/fd/{self.write_end}"]

    def begin(self):
        """QEMU has the write end, so that its end is the end of the trace."""
        os.close(self.write_end)
        self.start()

    def run(self):
        with open(self._pipe, "rb") as trace:
            for line in trace:
                self._ledger.read(line)

    def result(self):
        """The ledger, once QEMU has ended."""
        self.join()
        return self._ledger.result()


def main():
    if sys.argv[1:] == ["--help"]:
        print(__doc__.rstrip())
        return
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    ledger = Ledger()
    for line in sys.stdin.buffer:
        ledger.read(line)
    print(json.dumps(ledger.result()))


if __name__ == "__main__":
    main()
