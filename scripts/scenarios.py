#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: scenarios.py [NAME]...

Print a line for each of the scenarios, or of all in selftests/scenarios/: its
name, the kernel of kconfig-fragments/builds that it boots, and whether it can run
without the series, as yes or no.
"""

import pathlib
import sys
import tomllib

DIRECTORY = pathlib.Path(__file__).resolve().parent.parent / "selftests/scenarios"
KEYS = {"accelerator", "append", "build", "churn", "cpu", "environment", "kept_pages", "kunit",
        "ledger", "like", "limit", "managed", "maximum", "may_print", "may_skip", "minimum",
        "must_print", "qemu", "queues", "restart", "tests", "unpatched", "workloads"}


class Unusable(Exception):
    """A scenario is not there, or says what has no meaning."""


def names():
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def read(name):
    """A scenario; each key that it does not have is taken from the one that it is like."""
    if name not in names():
        raise Unusable(f"there is no scenario called {name}, but {', '.join(names())}")
    try:
        scenario = tomllib.loads((DIRECTORY / f"{name}.toml").read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Unusable(f"{name}.toml: {error}") from None
    if set(scenario) - KEYS:
        raise Unusable(f"{name}.toml has a key without meaning: {', '.join(set(scenario) - KEYS)}")
    if "like" in scenario:
        scenario = read(scenario.pop("like")) | scenario
    if not {"churn", "kunit", "tests"} & set(scenario):
        raise Unusable(f"{name}.toml tests nothing")
    if "churn" in scenario and scenario.get("managed") not in ("adjusted", "unadjusted"):
        raise Unusable(f"{name}.toml does not say whether managed pages are adjusted")
    return scenario


def has_virtio_balloon(scenario):
    return any(option.startswith("virtio-balloon") for option in scenario["qemu"])


def main():
    try:
        for name in sys.argv[1:] or names():
            scenario = read(name)
            print(name, scenario["build"], "yes" if "unpatched" in scenario else "no")
    except Unusable as error:
        sys.exit(f"scenarios: {error}")


if __name__ == "__main__":
    main()
