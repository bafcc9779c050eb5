#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests what a fuzz campaign says of its parsers: an unknown name is an error, and one without seconds is told."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = [  # (seconds wanted, parsers on the command line, whether it runs, part of what is said)
    ({"env": 0, "reply": 0}, [], True, "0 findings"),
    ({"env": 0, "reply": 0, "replay": 60}, [], False, "unknown parser replay; known: env reply"),
    ({"env": 0}, ["evn"], False, "unknown parser evn"),
    ({"env": 0}, [], True, "not in wanted.json, so not fuzzed: reply"),
]


def campaign(wanted, parsers):
    """Whether it runs to its end and what it says, where the known parsers are env and reply."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for parser in ("env", "reply"):
            (folder / "seeds" / parser).mkdir(parents=True)
        (folder / "wanted.json").write_text(json.dumps(wanted))
        run = subprocess.run([sys.executable, "-B", str(Path(__file__).with_name("fuzz_campaign.py")),
                              "--program", "/bin/false", "--seeds", str(folder / "seeds"), "--seconds", "5",
                              "--work", str(folder / "work"), "--wanted", str(folder / "wanted.json"), *parsers],
                             capture_output=True, text=True, check=False)
    return run.returncode == 0, run.stdout + run.stderr


def main():
    failed = 0
    for wanted, parsers, runs, words in CASES:
        found, said = campaign(wanted, parsers)
        if found != runs or words not in said:
            failed += 1
            print(f"{wanted} {parsers}: expected {words!r}, found {said!r}")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
