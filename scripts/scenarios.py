#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: scenarios.py [--series DIR] [--below] [--debug] [--list KEY] [NAME]...

Print one line for each NAME: the name, its kernel of kconfig-fragments/builds, and whether
it can run without the series, as yes or no. Without NAME, print all scenarios of the
series, except those that set run_by, because another program runs them. With --list, print
the names that the series lists under that key instead: default (for scripts/run), gate (for
scripts/test) or debug (for scripts/run --debug). All scenarios are checked, whichever are
named.

NAME+KERNEL is the scenario NAME with a debug kernel of selftests/debug-kernels.toml. With
--debug, print NAME+KERNEL for each NAME and each of its debug kernels. Without NAME, use the
list debug.

A scenario is in selftests/scenarios/. What it says otherwise with one series
is in scenarios.toml of that series, as a table of that name; there, "scenarios"
names those that the series has use for besides what it stands on, if not all, or
"without" those that it has no use for. What a series stands on is asked first. With
--below, the unpatched kernel is what the series stands on, and has to pass.
"""

import argparse
import pathlib
import re
import sys

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit("scenarios: Python 3.11 or newer is needed to read selftests/scenarios/")

TOP = pathlib.Path(__file__).resolve().parent.parent
DIRECTORY = TOP / "selftests/scenarios"
DEBUG_KERNELS = TOP / "selftests/debug-kernels.toml"
KEYS = {"accelerator", "append", "build", "churn", "cpu", "environment", "kept_pages",
        "kunit", "ledger", "like", "limit", "managed", "maximum", "may_print", "may_skip",
        "minimum", "must_print", "patched", "qemu", "queues", "restart", "run_by", "target",
        "targets", "tests", "unpatched", "workloads"}
LISTS = {"debug", "default", "gate", "scenarios", "without"}
CHURN = {"low", "high", "memory", "cycles"}
NEEDED = {"build": str, "qemu": list, "append": str, "limit": dict, "kept_pages": int}


class Unusable(Exception):
    """A scenario is not there, or says what has no meaning."""


def load(path):
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise Unusable(f"{path.name} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise Unusable(f"{path.name}: {error}") from None


def stack(series):
    """The series and what it stands on, the lowest first."""
    found = []
    directory = pathlib.Path(series or TOP).resolve()
    while directory not in found:
        found.insert(0, directory)
        try:
            text = (directory / "BASE").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            break
        on = re.search(r"^ON=(\S+)$", text, re.M)
        if not on:
            break
        directory = (directory / on[1]).resolve()
    return found


def overrides(series):
    """What the series say in their scenarios.toml, the last of a stack over the others."""
    found = {}
    for directory in stack(series):
        path = directory / "scenarios.toml"
        for key, value in (load(path) if path.exists() else {}).items():
            if not isinstance(value, list if key in LISTS else dict):
                raise Unusable(f"{path}: {key} is neither a list of scenarios nor one of them")
            if key == "scenarios":
                value = found.get(key, []) + value
            found[key] = found.get(key, {}) | value if isinstance(value, dict) else value
    return found


def every_name():
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def names(series=None):
    """Those that the series has use for."""
    said = overrides(series)
    for name in {name for key in LISTS & set(said) for name in said[key]} | set(said) - LISTS:
        if name.partition("+")[0] not in every_name():
            raise Unusable(f"scenarios.toml names the unknown scenario '{name}'")
    return sorted(set(said.get("scenarios", every_name())) - set(said.get("without", [])))


def builds(series):
    found = set()
    for directory in {*stack(series), TOP}:
        path = directory / "kconfig-fragments/builds"
        if path.exists():
            found |= set(re.findall(r"^([^\s#]\S*)", path.read_text(encoding="utf-8"), re.M))
    return found


def merged(name, said, seen=()):
    """The scenario; each key that it does not have is taken from the one that it is like."""
    if name not in every_name():
        raise Unusable(f"unknown scenario '{name}'; available: {', '.join(every_name())}")
    if name in seen:
        raise Unusable(f"{name}.toml is like itself: {', '.join(seen)}")
    scenario = load(DIRECTORY / f"{name}.toml") | said.get(name, {})
    if set(scenario) - KEYS:
        raise Unusable(f"{name}.toml has a key without meaning: "
                       f"{', '.join(sorted(set(scenario) - KEYS))}")
    if "like" in scenario:
        like = scenario.pop("like")
        scenario = merged(like, said, (*seen, name)) | scenario
    return scenario


def debug_kernels(build):
    """The tables of the debug kernels for one build."""
    found = load(DEBUG_KERNELS) if DEBUG_KERNELS.exists() else {}
    return {kernel: said for kernel, said in found.items()
            if build in said.get("builds", [build])}


def with_limit_factor(scenario, factor):
    """The scenario with its time limits multiplied, also in the guest."""
    longer = {"limit": {accelerator: seconds * factor
                        for accelerator, seconds in scenario.get("limit", {}).items()}}
    environment = scenario.get("environment", {})
    if "seconds" in environment:
        seconds = int(environment["seconds"]) * factor
        longer["environment"] = environment | {"seconds": str(seconds)}
    return scenario | longer


def with_debug_kernel(name, scenario, kernel):
    """The scenario with that kernel. It has no "unpatched", because it is not known what a
    debug kernel shows without the series."""
    build, known = scenario["build"], debug_kernels(scenario["build"])
    if kernel not in known:
        raise Unusable(f"there is no debug kernel '{kernel}' of {build}; available: "
                       f"{', '.join(known)}")
    scenario = {key: value for key, value in scenario.items() if key != "unpatched"}
    for said in known[kernel], known[kernel].get(name, {}):
        for key, value in said.items():
            if key == "limit_factor":
                scenario = with_limit_factor(scenario, value)
            elif key == "append":
                scenario[key] = f"{scenario.get(key, '')} {value}".strip()
            elif key in ("may_print", "must_print", "workloads"):
                scenario[key] = scenario.get(key, []) + value
            elif key in ("churn", "environment", "minimum"):
                scenario[key] = scenario.get(key, {}) | value
            elif key == "kept_pages":
                scenario[key] = max(scenario.get(key, 0), value)
            elif key not in ("builds", *every_name()):
                raise Unusable(f"{DEBUG_KERNELS.name}: {kernel} has a key without meaning: {key}")
    return scenario | {"build": f"{build}+{kernel}"}


def check(name, scenario, known_builds):
    def wrong(what):
        raise Unusable(f"{name}.toml {what}")

    for key, kind in NEEDED.items():
        if not isinstance(scenario.get(key), kind):
            wrong(f"has no {key}" if key not in scenario else f"has a {key} of the wrong type")
    if set(scenario["limit"]) != {"kvm", "tcg"} or \
            not all(isinstance(seconds, int) for seconds in scenario["limit"].values()):
        wrong("has a limit without a number for each of kvm and tcg")
    if known_builds and scenario["build"] not in known_builds:
        wrong(f"has the unknown build '{scenario['build']}'; "
              f"available: {', '.join(sorted(known_builds))}")
    if not {"churn", "kunit", "tests"} & set(scenario):
        wrong("tests nothing")
    if "churn" in scenario:
        churn = scenario["churn"]
        if not isinstance(churn, dict) or set(churn) != CHURN or \
                not all(isinstance(value, int) for value in churn.values()):
            wrong(f"has a churn without a number for each of {', '.join(sorted(CHURN))}")
        if scenario.get("managed") not in ("adjusted", "unadjusted"):
            wrong("does not say whether managed pages are adjusted")
    if not isinstance(scenario.get("target", 0), int):
        wrong("has a target that is not a number")
    if not all(isinstance(target, int) for target in scenario.get("targets", [])):
        wrong("has targets that are not numbers")
    rules = [*scenario.get("may_print", []), *scenario.get("must_print", [])]
    for kernel in "patched", "unpatched":
        expected = scenario.get(kernel, {"verdict": "pass"})
        if not isinstance(expected, dict) or "verdict" not in expected:
            wrong(f"says of the {kernel} kernel no verdict")
        rules += [expected["verdict"], expected.get("signature", "")]
    for rule in rules:
        try:
            re.compile(rule)
        except (re.error, TypeError) as error:
            wrong(f"has no regular expression in '{rule}': {error}")


def read(name, series=None, below=False):
    """A scenario as the series has it."""
    said = overrides(series)
    name, _, kernel = name.partition("+")
    scenario = merged(name, said)
    if name not in names(series):
        raise Unusable(f"the series has no use for the scenario '{name}'; available: "
                       f"{', '.join(names(series))}")
    known_builds = builds(series)
    check(name, scenario, known_builds)
    if kernel:
        scenario = with_debug_kernel(name, scenario, kernel)
    if below and "unpatched" in scenario:
        scenario["unpatched"] = {"verdict": "pass"}
    return scenario


def has_virtio_balloon(scenario):
    return any(option.startswith("virtio-balloon") for option in scenario["qemu"])


def has_ledger(scenario):
    """Whether it is known which pages the host was told about; that takes its time."""
    return has_virtio_balloon(scenario) and scenario.get("ledger") is not False


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[2],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", metavar="DIR", help="default: the root")
    parser.add_argument("--below", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--list", choices=sorted(LISTS), metavar="KEY")
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    try:
        known = {name: read(name, args.series, args.below) for name in names(args.series)}
        if args.list:
            print(*overrides(args.series).get(args.list, known), sep="\n")
            return
        wanted = args.names or [name for name in known if "run_by" not in known[name]]
        if args.debug:
            wanted = [f"{name}+{kernel}"
                      for name in args.names or overrides(args.series).get("debug", [])
                      for kernel in debug_kernels(read(name, args.series)["build"])]
        for name in wanted:
            scenario = known.get(name) or read(name, args.series, args.below)
            print(name, scenario["build"], "yes" if "unpatched" in scenario else "no")
    except Unusable as error:
        sys.exit(f"scenarios: {error}")


if __name__ == "__main__":
    main()
