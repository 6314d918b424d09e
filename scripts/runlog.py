# SPDX-License-Identifier: GPL-2.0
"""What a run directory says. For the programs beside this one."""

import collections
import json
import pathlib
import re

import ktap

NO_VERDICT = "no verdict"
# What a whole run comes to, and the status that tells it.
PASS, FAIL, NOT_TESTED = "pass", "fail", "not tested"
STATUS = {PASS: 0, FAIL: 1, NOT_TESTED: 125}


def read_text(run_dir, name):
    """A log's text: an absent log says nothing, and a console may say anything."""
    try:
        text = (pathlib.Path(run_dir) / name).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return text.replace("\r", "")


def read_json(run_dir, name):
    """An object; what is none says nothing."""
    try:
        found = json.loads(read_text(run_dir, name) or "{}")
    except (json.JSONDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_outcome(run_dir):
    """How the run went as seen from outside the guest."""
    return read_json(run_dir, "outcome.json")


def read_figures(run_dir):
    """What the tests measured, which they print as lines of KTAP's diagnosis, and what
    the host did."""
    return dict(re.findall(r"^#\s*figure (\S+) (.*)$", read_text(run_dir, "ktap.log"), re.M),
                **read_outcome(run_dir).get("figures", {}))


def read_plan(run_dir):
    """What scripts/run has booted, or wants to: pairs of a kernel and a scenario."""
    plan = []
    for line in read_text(run_dir, "plan").splitlines():
        words = line.split()
        if len(words) != 2 or words[0] not in ("patched", "unpatched"):
            raise ValueError(f"{run_dir}/plan has a line that is no kernel and scenario: {line}")
        plan.append((words[0], words[1]))
    if not plan:
        raise ValueError(f"{run_dir} holds no plan of scripts/run")
    return plan


Judged = collections.namedtuple("Judged", "verdict reasons shows wrong")


def judged(run_dir, kernel, scenario):
    """The verdict on a boot, and its reasons without the kernel's time stamps; that which
    its signature looks for; and what is wrong, or None if the scenario expects that."""
    boot = pathlib.Path(run_dir) / kernel / scenario
    verdict, *reasons = read_text(boot, "verdict").splitlines() or [NO_VERDICT]
    reasons = [ktap.STAMP.sub("", line.strip()) for line in reasons]
    said = read_outcome(boot).get("scenario", {})
    expected = said.get(kernel, {"verdict": "pass"} if kernel == "patched" else {})
    wanted, signature = expected.get("verdict", ""), expected.get("signature", "")
    shows = next(filter(None, (re.search(signature, reason) for reason in reasons)), None)
    shows = shows[0] if signature and shows else None
    # What is used after it was freed may show in more than one way.
    if re.fullmatch(wanted, verdict) and (shows or not signature):
        return Judged(verdict, reasons, shows, None)
    word = "with" if kernel == "patched" else "without"
    wanted += f": {signature}" if signature else ""
    return Judged(verdict, reasons, shows, f"{word} the series: {verdict}: "
                  f"{'; '.join(reasons[:3])}, expected: {wanted}")


def overall(wrong):
    """What a run comes to, of the verdicts that are not as they should be."""
    wrong = set(wrong)
    if not wrong:
        return PASS
    return NOT_TESTED if wrong == {NO_VERDICT} else FAIL


class Channel:
    """What the guest's init said on its channel."""

    def __init__(self, run_dir):
        # A line that was cut short says nothing.
        lines = read_text(run_dir, "channel.log").split("\n")[:-1]
        self.succeeded = bool(lines) and lines[-1] == "success"
        ended = re.compile(r"(?:failed .*|exit \S+ [1-9]\d*|signal .*)")
        self.failures = [line for line in lines if ended.fullmatch(line)]
        # The tests that came to an end of their own, and the seconds that any took.
        self.exited = {line.split()[1] for line in lines if line.startswith("exit ")}
        self.seconds = {match[1]: float(match[2]) for match in
                        map(re.compile(r"seconds (\S+) ([\d.]+)").fullmatch, lines) if match}
        self.before = self._counters(lines, "before")
        self.middle = self._counters(lines, "middle")
        self.after = self._counters(lines, "after")

    @staticmethod
    def _counters(lines, when):
        counter = re.compile(rf"{when} (\S+) (\d+)")
        return {match[1]: int(match[2]) for match in map(counter.fullmatch, lines) if match}
