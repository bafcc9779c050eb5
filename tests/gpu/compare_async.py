#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The planted asynchronous bugs on this machine's GPU: 300 plain runs of each, and one under each of three tools of
compute-sanitizer, beside their honest twins.

  compare_async.py run --out FOLDER [--seconds 95] [--jobs 12] [--tools none,memcheck,...]   writes FOLDER/async.json
  compare_async.py table FILE...   the table of docs/planted_bugs.md, on standard output; of two results the later one
"""
import argparse
import concurrent.futures
import json
import re
import time
from pathlib import Path

import compare_sanitizers as base

RUNS = 300
LIMIT_SECONDS = {"none": 30}  # of a process; a tool has 12 s
TOOLS = {"memcheck": ["--padding", "256"], "racecheck": [], "synccheck": []}


def command_of(tool, launcher, cubin, jobs):
    plain = [str(launcher), str(cubin), "2", *jobs]
    if tool == "none":
        return plain
    return [base.find_cuda_program("compute-sanitizer"), "--tool", tool, "--report-api-errors", "no", "--print-limit",
            "4", *TOOLS[tool], *plain]


def run_one(out, launcher, kernel, tool, is_mended):
    """One process: 300 launches without a tool, one with."""
    jobs = [kernel["job"]] * (RUNS if tool == "none" else 1)
    command = command_of(tool, launcher, base.cubin_of(out, kernel["file"], is_mended), jobs)
    output, seconds, is_over = base.run_limited(command, LIMIT_SECONDS.get(tool, 12))
    ends = re.findall(r"^end \S+ (\w+) ?(\w*)$", output, re.MULTILINE)
    return {"kernel": kernel["name"], "tool": tool, "mended": is_mended, "seconds": round(seconds, 2),
            "is_over": is_over, "done": sum(what == "done" for what, _ in ends),
            "digests": sorted({digest for what, digest in ends if what == "done"})[:8],
            "last": ends[-1][0] if ends else "", "reports": base.reports(output),
            "lines": sorted(base.lines_reported(output)), "log": output[-1200:] if tool != "none" else ""}


def run(arguments):
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    base.FILES, base.HONEST = base.ASYNC_FILES, []
    launcher = base.build(out)
    kernels = base.read_kernels(base.ASYNC_FILES)
    tools = arguments.tools.split(",")
    # What hangs takes the device's time slices from all others: last.
    planted = [(kernel, tool, False) for tool in tools for kernel in kernels]
    planted.sort(key=lambda task: task[0]["name"].startswith("deadlock"))
    start, results = time.monotonic(), []

    def guarded(task):
        if time.monotonic() - start > arguments.seconds:
            return None
        return run_one(out, launcher, *task)

    def run_all(tasks):
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            results.extend(result for result in pool.map(guarded, tasks) if result is not None)

    run_all(planted)
    reported = {(r["kernel"], r["tool"]) for r in results if r["reports"]}
    # A twin tells what is right, and whether a tool's report means anything.
    mended = [(kernel, tool, True) for kernel, tool, _ in planted
              if tool == "none" or (kernel["name"], tool) in reported]
    run_all(mended)
    (out / "async.json").write_text(json.dumps({"kernels": kernels, "runs": results}))
    for file in [*out.glob("*.cubin"), launcher]:
        file.unlink()
    print(f"{len(results)} of {len(planted) + len(mended)} runs in {time.monotonic() - start:.0f} s")


def plain_word(planted, mended):
    if planted is None:
        return "not run"
    if planted["last"] == "error":
        return f"fails in run {planted['done'] + 1}"
    if planted["last"] == "timeout":
        return f"hangs in run {planted['done'] + 1}"
    so_far = f" ({planted['done']} runs)" if planted["done"] < RUNS else ""
    wrong = set(planted["digests"]) - (set(mended["digests"]) if mended else set())
    if not wrong:
        return "right" + so_far
    return ("wrong" if len(planted["digests"]) == 1 else "wrong, not always the same") + so_far


def tool_word(planted, mended, lines):
    if planted is None:
        return "not run"
    if planted["reports"]:
        if mended and mended["reports"]:
            return "twin too"
        return "line" if set(planted["lines"]) & set(lines) else "found"
    if planted["last"] == "timeout":
        return "hangs"
    return "" if planted["is_over"] else "time up"


def table(arguments):
    files = [json.loads(Path(name).read_text()) for name in arguments.results]
    by_key = {(r["kernel"], r["tool"], r["mended"]): r for data in files for r in data["runs"]}
    columns = ["none", *TOOLS]
    found = dict.fromkeys([*columns, "any"], 0)
    rows = []
    for kernel in files[0]["kernels"]:
        pairs = {tool: (by_key.get((kernel["name"], tool, False)), by_key.get((kernel["name"], tool, True)))
                 for tool in columns}
        words = [plain_word(*pairs["none"]), *[tool_word(*pairs[tool], kernel["lines"]) for tool in TOOLS]]
        for tool, word in zip(columns, words):
            found[tool] += word.startswith(("hangs", "fails", "wrong")) if tool == "none" else word in ("line", "found")
        found["any"] += any(word in ("line", "found") for word in words[1:])
        rows.append(f"| {kernel['name']} | {' | '.join(words)} |")
    print("| kernel | 300 plain runs | memcheck | racecheck | synccheck |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    print(f"| all {len(rows)} | {found['none']} | {found['memcheck']} | {found['racecheck']} | {found['synccheck']} |")
    print(f"\nany tool: {found['any']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run")
    one.add_argument("--out", required=True)
    one.add_argument("--seconds", type=float, default=95)
    one.add_argument("--jobs", type=int, default=12)
    one.add_argument("--tools", default=",".join(["none", *TOOLS]))
    one.set_defaults(function=run)
    one = commands.add_parser("table")
    one.add_argument("results", nargs="+")
    one.set_defaults(function=table)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
