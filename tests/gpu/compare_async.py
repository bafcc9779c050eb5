#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The planted asynchronous bugs on this machine's GPU: 300 plain runs of each, and one under each of three tools of
compute-sanitizer, beside their honest twins.

  compare_async.py run --out FOLDER [--seconds 95] [--jobs 12] [--go-on FILE...]   writes FOLDER/async.json; with
                                   --go-on only what none of these results has
  compare_async.py table FILE...   the table of docs/planted_bugs.md, on standard output: the plain runs of all files
                                   together, of a tool's runs the latest
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
SHOWS = ("hangs", "fails", "wrong", "sometimes wrong")  # of plain runs
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


def is_whole(run):
    """Nothing more to learn from this process?"""
    return run["is_over"] and (run["tool"] != "none" or run["done"] >= RUNS or run["last"] in ("error", "timeout"))


def run(arguments):
    out = Path(arguments.out)
    known = {key: run for key, run in merged(arguments.go_on).items() if is_whole(run)}
    out.mkdir(parents=True, exist_ok=True)
    base.FILES, base.HONEST = base.ASYNC_FILES, []
    launcher = base.build(out)
    kernels = base.read_kernels(base.ASYNC_FILES)
    tools = ["none", *TOOLS]
    # What hangs takes the device's time slices from all others: last.
    planted = [(kernel, tool, False) for tool in tools for kernel in kernels]
    planted.sort(key=lambda task: task[0]["name"].startswith("deadlock"))
    start, results = time.monotonic(), []

    def guarded(task):
        kernel, tool, is_mended = task
        if (kernel["name"], tool, is_mended) in known or time.monotonic() - start > arguments.seconds:
            return None
        return run_one(out, launcher, *task)

    def run_all(tasks):
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            results.extend(result for result in pool.map(guarded, tasks) if result is not None)

    run_all(planted)
    reported = {(r["kernel"], r["tool"]) for r in [*results, *known.values()] if r["reports"]}
    # A twin tells what is right, and whether a tool's report means anything.
    mended = [(kernel, tool, True) for kernel, tool, _ in planted
              if tool == "none" or (kernel["name"], tool) in reported]
    run_all(mended)
    (out / "async.json").write_text(json.dumps({"kernels": kernels, "runs": results}))
    for file in [*out.glob("*.cubin"), launcher]:
        file.unlink()
    missing = sum((kernel["name"], tool, is_mended) not in known for kernel, tool, is_mended in planted + mended)
    print(f"{len(results)} of {missing} runs in {time.monotonic() - start:.0f} s")


def merged(names):
    """(kernel, tool, is it the twin) -> run. Plain runs add up; of a tool's two runs the later one counts."""
    runs = {}
    for name in names:
        data = json.loads(Path(name).read_text())
        marked = {kernel["name"]: set(kernel["lines"]) for kernel in data["kernels"]}  # as they were then
        for run in data["runs"]:
            key = run["kernel"], run["tool"], run["mended"]
            run["is_at_mark"] = bool(marked[run["kernel"]] & set(run["lines"]))
            if run["tool"] == "none" and key in runs:
                run = {**run, "done": runs[key]["done"] + run["done"],
                       "digests": sorted({*runs[key]["digests"], *run["digests"]})}
            runs[key] = run
    return runs


def plain_word(planted, mended):
    if planted is None:
        return "not run"
    if planted["last"] == "error":
        return f"fails in run {planted['done'] + 1}"
    if planted["last"] == "timeout":
        return f"hangs in run {planted['done'] + 1}"
    so_far = f" ({planted['done']} runs)" if planted["done"] < RUNS else ""
    if mended is None or not mended["digests"]:
        return "twin not run"
    right = set(mended["digests"])
    wrong = set(planted["digests"]) - right
    if not wrong:
        return "right" + so_far
    if right & set(planted["digests"]):
        return "sometimes wrong" + so_far
    return ("wrong" if len(wrong) == 1 else "wrong, not always the same") + so_far


def tool_word(planted, mended):
    if planted is None:
        return "not run"
    if planted["reports"]:
        if mended is None:
            return "twin not run"
        if mended["reports"]:
            return "twin too"
        return "line" if planted["is_at_mark"] else "found"
    if planted["last"] == "timeout":
        return "hangs"
    return "" if planted["is_over"] else "time up"


def table(arguments):
    by_key = merged(arguments.results)
    kernels = json.loads(Path(arguments.results[-1]).read_text())["kernels"]
    columns = ["none", *TOOLS]
    found = dict.fromkeys([*columns, "any"], 0)
    rows = []
    for kernel in kernels:
        pairs = {tool: (by_key.get((kernel["name"], tool, False)), by_key.get((kernel["name"], tool, True)))
                 for tool in columns}
        words = [plain_word(*pairs["none"]), *[tool_word(*pairs[tool]) for tool in TOOLS]]
        for tool, word in zip(columns, words):
            found[tool] += word.startswith(SHOWS if tool == "none" else ("line", "found"))
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
    one.add_argument("--go-on", nargs="*", default=[])
    one.set_defaults(function=run)
    one = commands.add_parser("table")
    one.add_argument("results", nargs="+")
    one.set_defaults(function=table)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
