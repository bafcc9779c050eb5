#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real worker on the virtual GPU through some hundred evaluations: its memory and descriptors must not grow.

   worker_memory_test.py --program KERNELITES --data ROOT --real-worker WORKER [--shim SO] [--candidates N] [--seed N]

Kernels differ in their code: honest ones, some that do not compile, compute something else or write out of bounds.
The worker must be one process from the first to the last; its children are counted, too.
"""
import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import endurance_rig as rig  # noqa: E402

GROWTH_KIB_MAX = 8 * 1024  # from the first quarter to the last
CHILDREN_GROWTH_MAX = 2


def variants(naive, count, draw):
    """Sources of kernels, each with code of its own."""
    output = "__bfloat162float(x[n]) * factor * __bfloat162float(w[n])"
    for number in range(count):
        kind = draw.choices(("honest", "wrong", "broken", "beyond"), (70, 10, 10, 10))[0]
        extra = f"  if (N == {100003 + number}) sum += {number}.5f;\n"
        source = naive.replace("  partial[tid] = sum;\n", extra + "  partial[tid] = sum;\n")
        if kind == "wrong":
            source = source.replace(output, f"1.{number:04d}f + {output}")
        elif kind == "broken":
            source = source.replace("const float factor", f"const flout{number} factor")
        elif kind == "beyond":
            source = source.replace("y[n] =", f"y[n + {1 << 20} * (n == {number % 64})] =")
        yield kind, source


def write_replies(folder, naive, count, draw):
    calls, kinds = [], Counter()
    for number, (kind, source) in enumerate(variants(naive, count, draw)):
        kinds[kind] += 1
        calls.append({"id": f"{number}-0", "ordinal": number, "digest": "0" * 64, "model": "scripted",
                      "text": f"SUMMARY: variant {number}\n```cuda\n{source}```\n",
                      "usage": {"input_tokens": 100, "output_tokens": 50}})
    (folder / "replies.json").write_text(json.dumps({"version": 1, "calls": calls}))
    endpoint = folder / "endpoint.json"
    endpoint.write_text(json.dumps({"kind": "replay", "recording": "replies.json", "match": "cycle"}))
    return endpoint, kinds


def number_in_status(pid, key):
    for line in (Path("/proc") / str(pid) / "status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def sample(controller):
    """(worker, its RSS in KiB, its descriptors, its children, their RSS), or None between two workers."""
    workers = [child for child in rig.children_of(controller.pid) if child[1].startswith("kernelites-work")]
    if not workers:
        return None
    worker, children = workers[0][0], [child[0] for child in workers[1:] if child[2] != "Z"]
    try:
        rss = number_in_status(worker, "VmRSS")
        descriptors = len(list((Path("/proc") / str(worker) / "fd").iterdir()))
    except OSError:
        return None
    theirs = 0
    for child in children:
        try:
            theirs += number_in_status(child, "VmRSS")
        except OSError:
            pass
    return worker, rss, descriptors, len(children), theirs


def mean(values):
    return sum(values) / max(1, len(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--real-worker", type=Path, required=True)
    parser.add_argument("--shim", type=Path, help="not used: nothing is broken here")
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, problems, rows = random.Random(options.seed), [], []
    with tempfile.TemporaryDirectory(prefix="kernelites_memory_") as name:
        folder = Path(name)
        naive = (options.data / "kernels_seed" / "rmsnorm" / "naive.cu").read_text()
        endpoint, kinds = write_replies(folder, naive, options.candidates, draw)
        run = folder / "run"
        controller = rig.Controller(
            options.program, run, ["--task", "rmsnorm", "--data", options.data, "--device", "vgpu", "--worker",
                                   options.real_worker, "--endpoint", endpoint, "--budget-candidates",
                                   options.candidates, "--patience", 0, "--in-flight", 4, "--operators", "refine"],
            folder / "log")
        start = time.monotonic()
        while controller.wait(0.5) is None and time.monotonic() - start < options.seconds:
            if row := sample(controller):
                rows.append(row)
        code = controller.wait(0)
        controller.kill()
        if not (run / "run.db").exists():
            raise SystemExit((folder / "log").read_text()[-2000:])
        told, evaluations, failed = rig.rows_of(
            run, "SELECT (SELECT count(*) FROM candidate WHERE told IS NOT NULL), (SELECT count(*) FROM evaluation "
            "WHERE state = 'answered'), (SELECT count(*) FROM evaluation WHERE state = 'failed')")[0]
        outcomes = dict(rig.rows_of(run, "SELECT outcome, count(*) FROM candidate GROUP BY outcome"))
        seconds = time.monotonic() - start
    quarter = max(1, len(rows) // 4)
    first, last = rows[quarter // 2:quarter + quarter // 2], rows[-quarter:]
    growth = mean([row[1] for row in last]) - mean([row[1] for row in first])
    print(f"{told} candidates ({dict(kinds)}), {evaluations} evaluations in {seconds:.0f} s: {outcomes}")
    quarters = " ".join(f"{mean([row[1] for row in rows[i * quarter:(i + 1) * quarter]]):.0f}" for i in range(4))
    print(f"worker RSS {mean([row[1] for row in first]):.0f} -> {mean([row[1] for row in last]):.0f} KiB, quarter by "
          f"quarter {quarters}, at most "
          f"{max(row[1] for row in rows)}; descriptors at most {max(row[2] for row in first)} -> "
          f"{max(row[2] for row in last)}; children at most {max(row[3] for row in first)} -> "
          f"{max(row[3] for row in last)}, of {max(row[4] for row in rows)} KiB together; {len(rows)} looks")
    for is_good, what in (
            (code in (0, None), f"exit code {code}"), (failed == 0, f"{failed} evaluations were given up"),
            (len({row[0] for row in rows}) == 1, "the worker was started more than once"),
            (told >= min(options.candidates, 20), f"only {told} candidates"), (len(rows) >= 8, "too few looks"),
            (growth < GROWTH_KIB_MAX, f"the worker grew by {growth:.0f} KiB"),
            (max(row[2] for row in last) <= max(row[2] for row in first) + 4, "descriptors grow"),
            (max(row[3] for row in last) <= max(row[3] for row in first) + CHILDREN_GROWTH_MAX, "children stay")):
        if not is_good:
            problems.append(what)
    for problem in problems:
        print(problem)
    print("0 passed, 1 failed" if problems else "1 passed, 0 failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
