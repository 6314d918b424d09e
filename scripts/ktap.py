# SPDX-License-Identifier: GPL-2.0
"""Test results, as the kernel's own kunit.py reads them. For the programs beside this one."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# What a console puts before a line.
STAMP = re.compile(r"^\[ *(\d+\.\d+)\](?:\[ *[TC]\d+\])? ?")


class NoParser(Exception):
    """There is no kernel tree that has kunit.py."""


class Results:
    """What kunit.py parse says about one program's or one kernel's KTAP.

    tests is a list of pairs, a test's full name and PASS, FAIL, SKIP or ERROR;
    groups the names of those that are made of others, such as suites; faults
    what kunit.py objects to, with the lines of the log that belong to it.
    """

    def __init__(self, tree, text):
        tool = pathlib.Path(tree) / "tools/testing/kunit/kunit.py"
        if not tool.is_file():
            raise NoParser(f"{tool} is missing: --tree names a kernel's tree")
        with tempfile.TemporaryDirectory() as scratch:
            said = subprocess.run(
                [sys.executable, "-B", tool.resolve(), "parse", f"--json={scratch}/json"],
                input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                encoding="utf-8", env=os.environ | {"PYTHONUTF8": "1"})
            try:
                with open(f"{scratch}/json", encoding="utf-8") as file:
                    found = json.load(file)
            except FileNotFoundError:
                raise NoParser(f"{tool} failed:\n{said.stdout}") from None
        self.tests, self.groups = [], []
        self._collect(found, "")
        lines = [re.sub(r"^\[[\d:]+\] ", "", line) for line in said.stdout.splitlines()]
        self.faults = [STAMP.sub("", line) for line in lines
                       if line.strip() and not re.match(r"\[PASSED\]|\[SKIPPED\]|=|Test", line)]
        self.failed = [f"{status} {name}" for name, status in self.tests
                       if status in ("FAIL", "ERROR")]
        lines = [STAMP.sub("", line) for line in text.splitlines()]
        # kunit.py passes a suite that fails though none of its tests does, a log
        # without a plan, and one with errors beside a success.
        if not self.failed:
            self.failed = [line for line in lines if re.match(r"\s*not ok ", line)]
        self.incomplete = []
        if not self.tests:
            self.incomplete.append("there are no results")
        elif not any(re.match(r"1\.\.[1-9]", line) for line in lines):
            self.incomplete.append("there is no plan")
        if found["misc"]["errors"] or found["misc"]["crashed"]:
            self.incomplete.append("results are missing")
        self.passed = said.returncode == 0 and not self.failed and not self.incomplete

    def _collect(self, group, prefix):
        for case in group["test_cases"]:
            # What kunit.py misses has no name.
            if case["name"]:
                self.tests.append((prefix + case["name"], case["status"]))
        for inner in group["sub_groups"]:
            self.groups.append(prefix + inner["name"])
            self._collect(inner, f"{prefix}{inner['name']}.")


def kunit_seconds(console):
    """The time from the first line of KTAP in a console to the last result."""
    stamps = [float(match[1]) for match in map(re.compile(
        STAMP.pattern + r"\s*(?:KTAP version|(?:not )?ok) ", re.M).match, console.splitlines())
              if match]
    return stamps[-1] - stamps[0] if stamps else 0


def split_programs(text):
    """The KTAP of each of the programs that printed one after the other."""
    return re.split(r"^(?=K?TAP version)", text, flags=re.M)[1:]
