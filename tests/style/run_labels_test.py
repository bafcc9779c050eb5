#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests what tools/test says: how cases are counted, and that nothing run, nothing found or too late is a failure."""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from run_labels import count_cases, parse, run_label  # noqa: E402

COUNTS = [  # (output, passed, counted)
    ("All tests passed (9 assertions in 3 test cases)", True, (3, 0)),
    ("test cases: 5 | 3 passed | 2 failed\n", False, (3, 2)),
    ("test cases:  4 |  3 passed | 1 skipped\n", True, (3, 0)),
    ("4 passed, 1 failed\n", False, (4, 1)),
    ("No tests ran\n", True, (0, 1)),
    ("whatever\n", True, (1, 0)),
    ("Segmentation fault\n", False, (0, 1)),
]

LABELS = [  # (commands of the label's tests, minutes, counted, part of the note)
    (["echo All tests passed '(9 assertions in 3 test cases)'", "true"], 1, (4, 0), ""),
    (["echo 3 passed, 1 failed; false", "true"], 1, (4, 1), ""),
    (["true", "kill -SEGV $$"], 1, (1, 1), ""),
    (["true", "sleep 60"], 0.02, (0, 1), "over its budget"),
    ([], 1, (0, 1), "no tests"),
]

OPTIONS = [  # (arguments, exit code)
    (["--label", "unit", "--label", "soak", "--parse-only"], 0),
    (["--label", "unti"], 2),
    (["--lable", "unit"], 2),
    (["unit"], 2),
]


def run_commands(commands, minutes):
    """run_label over a build folder whose label `unit` has one test for each shell command."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f'add_test(t{number} sh -c [=[{command}]=])\nset_tests_properties(t{number} PROPERTIES LABELS unit)'
                 for number, command in enumerate(commands)]
        Path(folder, "CTestTestfile.cmake").write_text("\n".join(lines) + "\n")
        return run_label("unit", Path(folder), minutes, 1, quiet=True)


def exit_code(arguments):
    """Of the options alone, which are read before anything is built."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            parse(["--build", "x", *arguments])
    except SystemExit as end:
        return end.code
    return 0


def main():
    passed = failed = 0
    results = [(f"cases in {output.strip()!r}", counted, count_cases(output, is_passed))
               for output, is_passed, counted in COUNTS]
    for commands, minutes, counted, note in LABELS:
        *found, said = run_commands(commands, minutes)
        results.append((f"label of {commands}", (counted, True), (tuple(found), note in said)))
    for arguments, expected in OPTIONS:
        results.append((f"options {arguments}", expected, exit_code(arguments)))
    for name, expected, found in results:
        passed, failed = (passed + 1, failed) if expected == found else (passed, failed + 1)
        if expected != found:
            print(f"{name}: expected {expected}, found {found}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
