#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the ctest labels in order, each within its budget, and adds up what ran.

A label that overruns its budget, or that has a folder under tests/ but no test in it, counts as one failure. Cases
are counted where a program says how many it ran (Catch2, or a line "N passed, N failed"); any other test is one case.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree
from pathlib import Path

# label: minutes. Order is cheapest news first.
LABELS = {"unit": 3, "fuzz": 1, "escapes": 1, "vgpu": 4, "tasks": 6, "golden": 4, "exploits": 4, "web": 2, "style": 2,
          "endurance": 2}
LONG_LABELS = {"gpu": 10, "llm": 20, "soak": 60, "cluster": 10}

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

CATCH_ALL_PASSED = re.compile(r"All tests passed \(\d+ assertions? in (\d+) test cases?\)")
CATCH_SOME_FAILED = re.compile(r"^test cases:\s*\d+(.*)$", re.MULTILINE)
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed", re.MULTILINE)


def count_cases(output, is_passed):
    """(passed, failed) cases of one ctest entry, from its output and its outcome."""
    passed = failed = 0
    for match in CATCH_ALL_PASSED.finditer(output):
        passed += int(match[1])
    for match in CATCH_SOME_FAILED.finditer(output):
        for number, word in re.findall(r"(\d+) (passed|failed)", match[1]):
            passed, failed = (passed + int(number), failed) if word == "passed" else (passed, failed + int(number))
    for match in PLAIN.finditer(output):
        passed, failed = passed + int(match[1]), failed + int(match[2])
    if is_passed:
        if passed + failed == 0 and "No tests ran" not in output:
            passed = 1
        return (passed, failed) if passed + failed else (0, 1)
    return passed, max(failed, 1)


def read_report(file):
    """(passed, failed) over a JUnit file written by ctest."""
    totals = [0, 0]
    for case in xml.etree.ElementTree.parse(file).getroot().iter("testcase"):
        if case.get("status") == "disabled":
            continue
        output = case.findtext("system-out") or ""
        for index, number in enumerate(count_cases(output, case.get("status") == "run")):
            totals[index] += number
    return tuple(totals)


def run_label(label, build, minutes, jobs, quiet=False):
    """(passed, failed, note) of one label."""
    report = build / f"junit_{label}.xml"
    report.unlink(missing_ok=True)
    command = ["ctest", "--test-dir", str(build), "-L", f"^{label}$", "-j", str(jobs), "--output-on-failure",
               "--no-tests=error", "--output-junit", str(report), "--test-output-size-passed", "1000000",
               "--test-output-size-failed", "1000000"]
    output = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        code = process.wait(timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return 0, 1, f"stopped: over its budget of {minutes:g} min"
    if not report.exists():
        return 0, 1, "ctest wrote no report" if code else "no tests"
    passed, failed = read_report(report)
    if passed + failed == 0:
        return 0, 1, "no tests"
    if code != 0 and failed == 0:
        return passed, 1, f"ctest exited with {code}"
    return passed, failed, ""


def chosen_labels(options, tests):
    """label -> minutes, of the labels that were asked for and that have a folder."""
    known = LABELS | LONG_LABELS
    if options.label:
        return {label: known[label] for label in options.label}
    labels = dict(known) if options.all else dict(LABELS)
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        labels.pop("gpu", None)
    if not any(map(shutil.which, BROWSERS)):
        print("web        left out: no Chromium here (on Debian tools/setup installs it)", flush=True)
        labels.pop("web", None)
    if "cluster" in labels and not (os.geteuid() == 0 and shutil.which("slurmctld") and shutil.which("sshd")):
        print("cluster    left out: needs root, Slurm's daemons and sshd (tools/setup --cluster)", flush=True)
        labels.pop("cluster")
    return {label: minutes for label, minutes in labels.items() if (tests / label / "CMakeLists.txt").exists()}


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tools/test", description=__doc__.splitlines()[0],
        usage="tools/test [--all] [--label LABEL]... [--preset NAME] [--patience FACTOR]")
    parser.add_argument("--build", type=Path, required=True, help="build folder")
    parser.add_argument("--all", action="store_true", help="with the long labels: " + " ".join(LONG_LABELS))
    parser.add_argument("--label", action="append", default=[], choices=[*LABELS, *LONG_LABELS],
                        metavar="LABEL", help="only this label (repeatable)")
    parser.add_argument("--patience", type=float, default=1, help="multiplies every budget, for a busy machine")
    parser.add_argument("--parse-only", action="store_true", help="only say whether the options are right")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    if options.parse_only:
        return 0
    build = options.build.resolve()
    jobs = (os.cpu_count() or 1) + 1  # tests that wait for a server or a deadline leave a processor to others
    rows = []
    for label, minutes in chosen_labels(options, Path(__file__).parent).items():
        start = time.monotonic()
        passed, failed, note = run_label(label, build, minutes * options.patience, jobs)
        seconds = time.monotonic() - start
        rows.append((passed, failed))
        print(f"{label:10} {passed:5} passed {failed:4} failed {seconds:7.1f} s of {minutes} min  {note}", flush=True)

    passed, failed = (sum(column) for column in zip(*rows)) if rows else (0, 0)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
