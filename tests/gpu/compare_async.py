#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The planted asynchronous bugs on this machine's GPU: 300 plain runs of each, and one under each of three tools of
compute-sanitizer, beside their honest twins.

  compare_async.py run --out FOLDER [--seconds 95] [--jobs 12]   writes FOLDER/async.json
  compare_async.py table FOLDER/async.json                       the table of docs/planted_bugs.md, on standard output
"""
import argparse
import concurrent.futures
import json
import re
import time
from pathlib import Path

import compare_sanitizers as base

RUNS = 300
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
    output, seconds, is_over = base.run_limited(command, 12)
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
    tasks = [(kernel, tool, is_mended) for tool in ["none", *TOOLS] for is_mended in (False, True)
             for kernel in kernels]
    start, results = time.monotonic(), []

    def guarded(task):
        if time.monotonic() - start > arguments.seconds:
            return None
        return run_one(out, launcher, *task)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(guarded, tasks):
            if result is not None:
                results.append(result)
    (out / "async.json").write_text(json.dumps({"kernels": kernels, "runs": results}))
    for file in [*out.glob("*.cubin"), launcher]:
        file.unlink()
    print(f"{len(results)} of {len(tasks)} runs in {time.monotonic() - start:.0f} s")


def plain_word(planted, mended):
    if planted is None:
        return "not run"
    if planted["last"] == "error":
        return f"fails in run {planted['done'] + 1}"
    if planted["last"] == "timeout" or not planted["is_over"]:
        return f"hangs in run {planted['done'] + 1}"
    right = set(mended["digests"]) if mended else set()
    wrong = set(planted["digests"]) - right
    if not wrong:
        return ""
    return "wrong, and not always the same" if len(planted["digests"]) > 1 else "wrong"


def tool_word(planted, mended, lines):
    if planted is None:
        return "not run"
    if planted["reports"]:
        if mended and mended["reports"]:
            return "twin too"
        return "line" if set(planted["lines"]) & set(lines) else "found"
    return "hangs" if planted["last"] == "timeout" or not planted["is_over"] else ""


def table(arguments):
    data = json.loads(Path(arguments.results).read_text())
    by_key = {(r["kernel"], r["tool"], r["mended"]): r for r in data["runs"]}
    columns = ["none", *TOOLS]
    found = dict.fromkeys([*columns, "any"], 0)
    rows = []
    for kernel in data["kernels"]:
        pairs = {tool: (by_key.get((kernel["name"], tool, False)), by_key.get((kernel["name"], tool, True)))
                 for tool in columns}
        words = [plain_word(*pairs["none"]), *[tool_word(*pairs[tool], kernel["lines"]) for tool in TOOLS]]
        for tool, word in zip(columns, words):
            found[tool] += word not in ("", "not run", "twin too") and (tool == "none" or word != "hangs")
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
    one.set_defaults(function=run)
    one = commands.add_parser("table")
    one.add_argument("results")
    one.set_defaults(function=table)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
